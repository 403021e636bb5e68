//! `kez auth`: tokens and passwords, each in a file that one of the user's keys encrypts.

use crate::{
    args::AuthCommand,
    cache::unhex,
    claim,
    home::storage,
    host::{Access, Net, Redirect as _, Stream},
    keystore::Entry,
    output::{Out, clean},
    run::Context,
};
use kez_core::{
    Code, Error, Identity, ObjectId, Result, SecretKey,
    channel::CredentialKind,
    chat::Vault,
    hex,
    publish::{App, AuthorizationRequest, Client, Credential, DeviceCode, Publisher, bunker},
    transport::Failure,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file of a token, in bytes.
const MAX_FILE: usize = 16 * 1024;

/// For how many seconds the user has the time to allow it in a browser.
const VISIT: u32 = 600;
/// What the browser shows when it comes back.
const BACK: &str = "<!doctype html><meta charset=\"utf-8\"><title>KEZ</title><p>You can close this page, and go on in the terminal.";

/// A file of a credential.
#[derive(Serialize, Deserialize)]
struct File {
    kez_auth: u32,
    account: String,
    /// The key that opens it; none if the system's keyring has it.
    key: Option<String>,
    /// In hex.
    sealed: Option<String>,
}

/// What is stored of a credential.
struct Stored {
    account: Identity,
    kept: Kept,
}

/// Where a credential is.
enum Kept {
    /// In the file, encrypted by this key.
    Sealed { key: Identity, sealed: Vec<u8> },
    /// In the system's keyring.
    Keyring,
}

/// What keeps a credential.
enum Keeper {
    Key { identity: Identity, vault: Vault },
    Keyring,
}

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: AuthCommand,
) -> Result<u8> {
    match command {
        AuthCommand::Add { account, token_file, server, client, browser, key, keyring } => {
            let way = Way { file: token_file.as_deref(), server, client, browser };
            let key =
                (!keyring).then(|| claim::signing_key(context, key.as_deref())).transpose()?;
            add(context, out, account, way, key).await?;
        }
        AuthCommand::List => {
            for Stored { account, kept } in list(context)? {
                let key = match &kept {
                    Kept::Sealed { key, .. } => Some(key),
                    Kept::Keyring => None,
                };
                let place = key.map_or("keyring", Identity::as_str);
                out.result(&shown(&account, key), &format!("{account}  {place}"));
            }
        }
        AuthCommand::Revoke { account } => revoke(context, out, &account).await?,
    }
    Ok(0)
}

/// A credential in the output; without a key, the system's keyring has it.
fn shown(account: &Identity, key: Option<&Identity>) -> serde_json::Value {
    serde_json::json!({
        "schema": "kez.credential/1",
        "account": account,
        "key": key,
        "keyring": key.is_none(),
    })
}

/// What publishes, in this context.
pub(super) fn publisher<'a, N: Net>(
    context: &'a Context<'_, N>,
    endpoints: &'a kez_core::Endpoints,
    dry_run: bool,
    visit: &'a dyn Fn(&str),
) -> Publisher<'a, N> {
    Publisher { web: &context.net.net, endpoints, now: context.host.now(), dry_run, visit }
}

/// Asks the user to allow something at a page.
pub(super) fn visit(out: &Out<'_>, url: &str) {
    if out.json {
        out.json_line(&serde_json::json!({ "schema": "kez.authorize/1", "url": url }));
    } else {
        out.hint_lines(&format!("Open this page, and allow it:\n\n  {}\n", clean(url)));
    }
}

fn path(context: &Context<'_, impl Net>, account: &Identity) -> PathBuf {
    let name = ObjectId::digest("auth", account.as_str().as_bytes());
    context.home.path(&format!("auth/{name}.json"))
}

fn list(context: &Context<'_, impl Net>) -> Result<Vec<Stored>> {
    let dir = context.home.path("auth");
    let mut all = Vec::new();
    for name in context.home.list(&dir)? {
        if name.ends_with(".json") {
            all.push(read(context, &dir.join(name))?);
        }
    }
    all.sort_by(|a, b| a.account.cmp(&b.account));
    Ok(all)
}

fn read(context: &Context<'_, impl Net>, path: &Path) -> Result<Stored> {
    let text = context.home.read(path, MAX_FILE)?;
    let stored = || {
        let file: File = serde_json::from_slice(&text).ok().filter(|f: &File| f.kez_auth == 1)?;
        let kept = match (file.key, file.sealed) {
            (Some(key), Some(sealed)) => {
                Kept::Sealed { key: Identity::from_canonical(&key).ok()?, sealed: unhex(&sealed)? }
            }
            (None, None) => Kept::Keyring,
            _ => return None,
        };
        Some(Stored { account: Identity::from_canonical(&file.account).ok()?, kept })
    };
    stored().ok_or_else(|| Error::about(Code::StateRefused, path.display()))
}

/// The accounts whose credentials are stored.
pub(super) fn accounts(context: &Context<'_, impl Net>) -> Result<Vec<Identity>> {
    Ok(list(context)?.into_iter().map(|stored| stored.account).collect())
}

/// A record's name, to which its encryption is bound, and under which a keyring has it.
fn record(account: &Identity) -> String {
    format!("auth/{account}")
}

/// What a keyring's words mean.
fn of_keyring(error: &std::io::Error) -> Error {
    Error::about(Code::KeyringFailed, error)
}

impl Keeper {
    /// Stores a credential in the place of what is there.
    fn keep(&self, context: &Context<'_, impl Net>, credential: &Credential) -> Result<()> {
        let account = credential.account();
        let (name, text) = (record(account), credential.to_text());
        let (key, sealed) = match self {
            Self::Key { identity, vault } => {
                let sealed = vault.seal(&name, text.as_bytes())?;
                (Some(identity.to_string()), Some(hex::encode(&sealed)))
            }
            Self::Keyring => {
                context.host.keyring_set(&name, Some(&text)).map_err(|e| of_keyring(&e))?;
                (None, None)
            }
        };
        let file = File { kez_auth: 1, account: account.to_string(), key, sealed };
        let text = serde_json::to_vec(&file).map_err(|_| Code::StateRefused)?;
        context.home.write(&path(context, account), &text, Access::Private)
    }
}

/// The stored credential of an account, and what keeps it. `open` is a key that is open already.
fn stored(
    context: &Context<'_, impl Net>,
    account: &Identity,
    open: Option<&SecretKey>,
) -> Result<Option<(Credential, Keeper)>> {
    let path = path(context, account);
    if context.home.look_up(&path, MAX_FILE)?.is_none() {
        return Ok(None);
    }
    let name = record(account);
    let (text, keeper) = match read(context, &path)?.kept {
        Kept::Sealed { key, sealed } => {
            let vault = |key: &SecretKey| Vault::of(key, context.host.randomness());
            let vault = match open.filter(|open| *open.public().identity() == key) {
                Some(open) => vault(open),
                None => vault(&context.open_key_of(&key)?),
            };
            (vault.open(&name, &sealed)?, Keeper::Key { identity: key, vault })
        }
        Kept::Keyring => {
            let text = context.host.keyring_get(&name).map_err(|e| of_keyring(&e))?;
            let Some(text) = text else { return Ok(None) };
            (Zeroizing::new(text.as_bytes().to_vec()), Keeper::Keyring)
        }
    };
    let credential =
        Credential::from_text(&text).map_err(|_| Error::about(Code::StateRefused, path.display()));
    credential.map(|credential| Some((credential, keeper)))
}

/// The stored credential of an account, renewed if it has ended. `open` is a key that is open
/// already.
pub(super) async fn fresh(
    context: &Context<'_, impl Net>,
    account: &Identity,
    open: Option<&SecretKey>,
) -> Result<Option<Credential>> {
    let Some((credential, keeper)) = stored(context, account, open)? else { return Ok(None) };
    let endpoints = context.config.endpoints()?;
    let renewed = publisher(context, &endpoints, false, &|_| {}).renew(&credential).await;
    let renewed = renewed.map_err(|error| match error.code() {
        Code::CredentialRefused => {
            let why = error.context().unwrap_or_default().to_owned();
            Error::about(error.code(), format!("{why}: run `kez auth add {account}` again"))
        }
        _ => error,
    })?;
    let Some(renewed) = renewed else { return Ok(Some(credential)) };
    keeper.keep(context, &renewed)?;
    Ok(Some(renewed))
}

/// A token or password: from a file or stdin, else from the terminal.
pub(super) fn read_secret(
    context: &Context<'_, impl Net>,
    file: Option<&Path>,
    prompt: &str,
) -> Result<Zeroizing<String>> {
    let from_terminal = file.is_none() && context.host.is_terminal(Stream::In);
    if from_terminal {
        return context.ask(prompt, Code::CredentialMissing);
    }
    let file = file.ok_or(Code::CredentialMissing)?;
    let bytes = Zeroizing::new(context.read_input(file, MAX_FILE)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned());
    if line.is_empty() { Err(Code::CredentialMissing.into()) } else { Ok(line) }
}

/// How a credential comes.
struct Way<'a> {
    file: Option<&'a Path>,
    /// The name server of a domain.
    server: Option<String>,
    /// The app that GitHub is asked to let in.
    client: Option<String>,
    /// Whether the account's server is asked in a browser.
    browser: bool,
}

async fn add(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    account: Identity,
    Way { file, server, client, browser }: Way<'_>,
    key: Option<Entry>,
) -> Result<()> {
    let needed = account.channel().and_then(|channel| channel.facts().credential);
    let kind = needed.map(|needed| needed.kind);
    let misfit = [
        (client.is_some() && kind != Some(CredentialKind::Token), "--client is for GitHub"),
        (browser && kind != Some(CredentialKind::AppPassword), "--browser is for Bluesky"),
        (
            (kind == Some(CredentialKind::Tsig)) != server.is_some(),
            "--server goes with a domain, and a domain with --server",
        ),
    ];
    if let Some((_, why)) = misfit.into_iter().find(|(misfit, _)| *misfit) {
        return Err(Error::about(Code::Usage, why));
    }
    let endpoints = context.config.endpoints()?;
    let visit = |url: &str| visit(out, url);
    let publisher = publisher(context, &endpoints, false, &visit);
    let github = kind == Some(CredentialKind::Token) && file.is_none();
    // A setting stands behind a token that is handed in, and the option does not.
    let configured = context.config.github_client.clone();
    let configured = configured.filter(|_| context.host.is_terminal(Stream::In));
    let client = client.or(configured).filter(|_| github);
    let file = file.or_else(|| {
        let piped = !context.host.is_terminal(Stream::In);
        piped.then_some(Path::new("-"))
    });
    let credential = match kind {
        Some(CredentialKind::Code) => authorize(context, out, &publisher, &account, file).await?,
        Some(CredentialKind::Token) if let Some(client) = client => {
            by_device(context, out, &publisher, &account, &client).await?
        }
        Some(CredentialKind::AppPassword) if browser => {
            by_browser(context, &publisher, &account).await?
        }
        Some(kind) => {
            let what = needed.map_or("Token", |needed| needed.name);
            let secret = read_secret(context, file, &format!("{what} of {account}: "))?;
            if kind == CredentialKind::Bunker {
                bunker(&publisher, &account, &secret)?
            } else {
                let credential = Credential::new(account.clone(), secret);
                server.into_iter().fold(credential, Credential::with_server)
            }
        }
        None => {
            let why = format!("{account} needs no token");
            return Err(Error::about(Code::Usage, why));
        }
    };
    publisher.sign_in(&credential).await?;
    let keeper = match &key {
        Some(entry) => Keeper::Key {
            identity: entry.identity.clone(),
            vault: Vault::of(&context.open(&entry.name)?, context.host.randomness()),
        },
        None => Keeper::Keyring,
    };
    keeper.keep(context, &credential)?;
    let identity = key.as_ref().map(|entry| &entry.identity);
    out.result(&shown(&account, identity), &format!("stored the token of {account}"));
    if key.is_some_and(|entry| !entry.encrypted) {
        out.hint("kez: warning: the key that encrypts it has no passphrase");
    }
    Ok(())
}

/// Has the user allow it at their server, in a browser.
async fn authorize(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    publisher: &Publisher<'_, impl Net>,
    account: &Identity,
    file: Option<&Path>,
) -> Result<Credential> {
    let app = App::register(publisher, account).await?;
    let proof_key = context.host.random()?;
    let url = app.authorize_url(&proof_key);
    if out.json {
        out.json_line(&serde_json::json!({ "schema": "kez.authorize/1", "url": url }));
    } else {
        out.hint_lines(&format!(
            "Open this page, allow it, and copy the code:\n\n  {}\n",
            clean(&url)
        ));
    }
    let code = read_secret(context, file, "Code: ")?;
    app.redeem(publisher, account, &code, &proof_key).await
}

/// Has the user allow it at their server, in a browser that comes back by itself.
async fn by_browser(
    context: &Context<'_, impl Net>,
    publisher: &Publisher<'_, impl Net>,
    account: &Identity,
) -> Result<Credential> {
    let failed = |failure: Failure| Error::about(failure.code, failure.detail.unwrap_or_default());
    let redirect = context.net.net.redirect(BACK).await.map_err(failed)?;
    let client = Client::on_loopback(redirect.port(), "/");
    let request = AuthorizationRequest::begin(publisher, account, client).await?;
    (publisher.visit)(request.url());
    let query = redirect.query(VISIT).await.map_err(failed)?;
    request.redeem(publisher, &query).await
}

/// Has the user allow it at GitHub, in any browser, by a short code.
async fn by_device(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    publisher: &Publisher<'_, impl Net>,
    account: &Identity,
    client: &str,
) -> Result<Credential> {
    let mut device = DeviceCode::request(publisher, client).await?;
    if out.json {
        out.json_line(&serde_json::json!({
            "schema": "kez.authorize/1",
            "url": device.url,
            "code": device.user_code,
        }));
    } else {
        let (url, code) = (clean(&device.url), clean(&device.user_code));
        out.hint_lines(&format!("Open this page, and type the code {code}:\n\n  {url}\n"));
    }
    while context.host.now() < device.expires_at {
        context.net.net.pause(device.interval.saturating_mul(1000)).await;
        if let Some(credential) = device.poll(publisher, account).await? {
            return Ok(credential);
        }
    }
    Err(Error::about(Code::CredentialRefused, "the code was not used in time"))
}

async fn revoke(context: &Context<'_, impl Net>, out: &Out<'_>, account: &Identity) -> Result<()> {
    let missing = || Error::about(Code::CredentialMissing, account);
    let (credential, keeper) = stored(context, account, None)?.ok_or_else(missing)?;
    let endpoints = context.config.endpoints()?;
    let told = match publisher(context, &endpoints, false, &|_| {}).give_back(&credential).await {
        Ok(told) => told,
        Err(error) => {
            out.hint(&format!("kez: warning: the platform was not told: {error}"));
            false
        }
    };
    if matches!(keeper, Keeper::Keyring) {
        context.host.keyring_set(&record(account), None).map_err(|e| of_keyring(&e))?;
    }
    let path = path(context, account);
    context.host.remove(&path).map_err(storage(&path))?;
    let value = serde_json::json!({
        "schema": "kez.revoked/1",
        "account": account,
        "platform_told": told,
    });
    out.result(&value, &format!("removed the token of {account}"));
    if !told {
        let needed = account.channel().and_then(|channel| channel.facts().credential);
        let page = needed.map_or("the account's settings", |needed| needed.revoke_at);
        out.hint(&format!("kez: it still counts until you delete it at {page}"));
    }
    Ok(())
}
