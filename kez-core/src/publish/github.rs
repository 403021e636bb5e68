//! Gists: the one of the account that has its proof, or a new one.

use super::accounts::{Change, Credential, JSON, Placed, Publisher, Web, good, merge};
use crate::{
    Code, Error, Result, SignedClaim,
    channel::{GIST_FILES, Http, next_link},
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

/// A file that is to be written into a gist that is there.
struct Found {
    gist: String,
    url: String,
    file: String,
    text: String,
}

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Placed> {
    sign_in(publisher, credential).await?;
    let api = &publisher.endpoints.github;
    let found = match find(publisher, signed, credential).await? {
        Search::There(url) => return Ok(Placed::of(Change::Unchanged, Some(url))),
        Search::Older(found) => Some(found),
        Search::None => None,
    };
    let change = if found.is_some() { Change::Updated } else { Change::Created };
    if publisher.dry_run {
        return Ok(Placed::of(change, found.map(|found| found.url)));
    }
    let (method, target, file, text) = match found {
        Some(found) => ("PATCH", format!("{api}/gists/{}", found.gist), found.file, found.text),
        None => {
            let text = crate::proof::write(signed, Form::Markdown);
            ("POST", format!("{api}/gists"), GIST_FILES[0].into(), text)
        }
    };
    let content = Value::object([("content", Value::String(text))]);
    let files = Value::object([(file, content)]);
    let mut body = Vec::from([("files", files)]);
    if method == "POST" {
        body.push(("public", Value::Bool(true)));
        body.push(("description", Value::String("KEZ: this account is mine".into())));
    }
    let body = Some((JSON, Value::object(body).to_canonical()));
    let http = publisher.send(method, &target, Some(&credential.bearer()), body).await?;
    // GitHub says "not found" to a token that may read the account and not write its gists.
    if http.status == 404 {
        return Err(Error::about(Code::ScopeMissing, "gist"));
    }
    let gist = good(&http, credential.secret())?;
    let url = gist.get("html_url").and_then(Value::as_str).map(String::from);
    Ok(Placed::of(change, url))
}

enum Search {
    There(String),
    Older(Found),
    None,
}

/// Looks for the gist that has this proof, or an older one of the same.
async fn find(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Search> {
    let api = &publisher.endpoints.github;
    let mut page = Some(format!("{api}/gists?per_page=100"));
    for _ in 0..MAX_PAGES {
        let Some(url) = page.take() else { break };
        let http = get(publisher, &url, credential).await?;
        let list = good(&http, credential.secret())?;
        for gist in list.as_array().unwrap_or_default() {
            let has_file = match gist.get("files") {
                Some(Value::Object(files)) => {
                    files.iter().any(|(name, _)| GIST_FILES.contains(&name.as_str()))
                }
                _ => false,
            };
            let id = gist.get("id").and_then(Value::as_str).unwrap_or_default();
            let public = gist.get("public") == Some(&Value::Bool(true));
            let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if !(has_file && public && plain) {
                continue;
            }
            let http = get(publisher, &format!("{api}/gists/{id}"), credential).await?;
            if http.status == 404 {
                continue;
            }
            let gist = good(&http, credential.secret())?;
            let url = gist.get("html_url").and_then(Value::as_str).unwrap_or_default();
            let Some(Value::Object(files)) = gist.get("files") else { continue };
            for (name, file) in files.iter().filter(|(n, _)| GIST_FILES.contains(&n.as_str())) {
                let whole = file.get("truncated") != Some(&Value::Bool(true));
                let text = file.get("content").and_then(Value::as_str).filter(|_| whole);
                let Some(text) = text else { continue };
                let Some(merged) = merge(text, signed, Form::Markdown) else {
                    return Ok(Search::There(url.into()));
                };
                // What only got something appended is another's proof, or no proof at all.
                if !merged.starts_with(text.trim_end()) {
                    return Ok(Search::Older(Found {
                        gist: id.into(),
                        url: url.into(),
                        file: name.clone(),
                        text: merged,
                    }));
                }
            }
        }
        page = http.header("link").and_then(next_link).map(String::from);
        page = page.filter(|url| url.starts_with(api.as_str()));
    }
    Ok(Search::None)
}
