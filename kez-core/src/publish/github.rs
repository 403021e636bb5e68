//! Gists: the one of the account that has its proof, or a new one.

use super::accounts::{Change, Credential, JSON, Placed, Publisher, Web, good, merge};
use crate::{
    Code, Error, Result, SignedClaim,
    channel::{GIST_FILES, Http, MAX_LISTED, next_link},
    json::Value,
    proof::Form,
};
use alloc::{format, string::String, vec::Vec};

/// How many pages of a hundred gists are looked through.
const MAX_PAGES: usize = 10;

async fn get(
    publisher: &Publisher<'_, impl Web>,
    url: &str,
    credential: &Credential,
) -> Result<Http> {
    publisher.send("GET", url, Some(&credential.bearer()), None).await
}

pub(super) async fn sign_in(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<()> {
    let url = format!("{}/user", publisher.endpoints.github);
    let http = get(publisher, &url, credential).await?;
    let user = good(&http, credential.secret())?;
    let login = user.get("login").and_then(Value::as_str).unwrap_or_default();
    if !login.eq_ignore_ascii_case(credential.account().value()) {
        return Err(Error::about(Code::CredentialOther, format!("github:{login}")));
    }
    // Only classic tokens say what they may; of the others the first write tells.
    match http.header("x-oauth-scopes") {
        Some(scopes) if !scopes.split(',').any(|s| s.trim() == "gist") => {
            Err(Error::about(Code::ScopeMissing, "gist"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Placed> {
    sign_in(publisher, credential).await?;
    let mut older = None;
    // A gist behind those that readers read shows nothing to them: a new one does.
    'gists: for gist in own_gists(publisher, credential, &GIST_FILES, MAX_LISTED).await? {
        for (name, text) in gist.files {
            let Some(merged) = merge(&text, signed, Form::Markdown) else {
                return Ok(Placed::of(Change::Unchanged, Some(gist.url)));
            };
            // What only got something appended is another's proof, or no proof at all.
            if !merged.starts_with(text.trim_end()) {
                older = Some((gist.id, gist.url, name, merged));
                break 'gists;
            }
        }
    }
    let change = if older.is_some() { Change::Updated } else { Change::Created };
    if publisher.dry_run {
        return Ok(Placed::of(change, older.map(|(_, url, ..)| url)));
    }
    let written = match older {
        Some((id, _, name, text)) => {
            let body = Value::object([("files", files(name, text))]);
            write(publisher, credential, "PATCH", &format!("/{id}"), &body).await?
        }
        None => {
            let text = crate::proof::write(signed, Form::Markdown);
            let about = "KEZ: this account is mine";
            create(publisher, credential, about, GIST_FILES[0], text).await?
        }
    };
    Ok(Placed::of(change, Some(written.url)))
}

/// The file of a gist in the form of NIP-39.
const NOSTR_FILE: &str = "nostr.txt";

/// The id of a gist that says this sentence and nothing else: one that is there, or a new one.
/// Nothing if it would be new, and nothing is to be written.
pub(super) async fn place_sentence(
    publisher: &Publisher<'_, impl Web>,
    sentence: &str,
    credential: &Credential,
) -> Result<Option<String>> {
    sign_in(publisher, credential).await?;
    let gists = own_gists(publisher, credential, &[NOSTR_FILE], usize::MAX).await?;
    let says = |gist: &&Gist| gist.files.len() == 1 && gist.files[0].1.trim() == sentence;
    if let Some(gist) = gists.iter().find(says) {
        return Ok(Some(gist.id.clone()));
    }
    if publisher.dry_run {
        return Ok(None);
    }
    let about = "Nostr: this account is mine";
    let made = create(publisher, credential, about, NOSTR_FILE, sentence.into()).await?;
    Ok(Some(made.id))
}

/// A gist, with those of its files that were asked for and are whole.
struct Gist {
    id: String,
    url: String,
    files: Vec<(String, String)>,
}

impl Gist {
    fn read(gist: &Value, names: &[&str]) -> Self {
        let text = |name| gist.get(name).and_then(Value::as_str).unwrap_or_default().into();
        let files = match gist.get("files") {
            Some(Value::Object(files)) => &files[..],
            _ => &[],
        };
        let wanted = files.iter().filter(|(name, _)| is_one_of(names, name));
        let whole = wanted.filter(|(_, file)| file.get("truncated") != Some(&Value::Bool(true)));
        let content = |file: &Value| file.get("content").and_then(Value::as_str).map(String::from);
        Self {
            id: text("id"),
            url: text("html_url"),
            files: whole.filter_map(|(name, file)| Some((name.clone(), content(file)?))).collect(),
        }
    }
}

/// The gists among the account's newest `most` public ones that have a file of such a name.
async fn own_gists(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
    names: &[&str],
    most: usize,
) -> Result<Vec<Gist>> {
    let api = &publisher.endpoints.github;
    let mut public_gists = 0_usize;
    let mut page = Some(format!("{api}/gists?per_page=100"));
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(url) = page.take() else { break };
        let http = get(publisher, &url, credential).await?;
        let list = good(&http, credential.secret())?;
        for gist in list.as_array().unwrap_or_default() {
            let public = gist.get("public") == Some(&Value::Bool(true));
            public_gists += usize::from(public);
            if public_gists > most {
                return Ok(found);
            }
            let has_file = match gist.get("files") {
                Some(Value::Object(files)) => files.iter().any(|(name, _)| is_one_of(names, name)),
                _ => false,
            };
            let id = gist.get("id").and_then(Value::as_str).unwrap_or_default();
            let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if !(has_file && public && plain) {
                continue;
            }
            let http = get(publisher, &format!("{api}/gists/{id}"), credential).await?;
            // Deleted since the list was made.
            if http.status != 404 {
                found.push(Gist::read(&good(&http, credential.secret())?, names));
            }
        }
        page = http.header("link").and_then(next_link).map(String::from);
        page = page.filter(|url| url.starts_with(api.as_str()));
    }
    Ok(found)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

fn files(name: String, text: String) -> Value {
    Value::object([(name, Value::object([("content", Value::String(text))]))])
}

async fn create(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
    about: &str,
    name: &str,
    text: String,
) -> Result<Gist> {
    let body = Value::object([
        ("files", files(name.into(), text)),
        ("public", Value::Bool(true)),
        ("description", Value::String(about.into())),
    ]);
    write(publisher, credential, "POST", "", &body).await
}

async fn write(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
    method: &'static str,
    path: &str,
    body: &Value,
) -> Result<Gist> {
    let url = format!("{}/gists{path}", publisher.endpoints.github);
    let body = Some((JSON, body.to_canonical()));
    let http = publisher.send(method, &url, Some(&credential.bearer()), body).await?;
    // GitHub says "not found" to a token that may read the account and not write its gists.
    if http.status == 404 {
        return Err(Error::about(Code::ScopeMissing, "gist"));
    }
    Ok(Gist::read(&good(&http, credential.secret())?, &[]))
}
