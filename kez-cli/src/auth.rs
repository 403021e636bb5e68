//! `kez auth`: tokens and passwords, each in a file that one of the user's keys encrypts.

use crate::{
    args::AuthCommand,
    cache::unhex,
    claim,
    home::storage,
    host::{Access, Net, Stream},
    output::{Out, clean},
    run::Context,
};
use kez_core::{
    Code, Error, Identity, ObjectId, Result, Scheme, SecretKey,
    chat::Vault,
    hex,
    publish::{App, Credential, DeviceCode, Publisher},
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file of a token, in bytes.
const MAX_FILE: usize = 16 * 1024;

/// A file of a credential.
#[derive(Serialize, Deserialize)]
struct File {
    kez_auth: u32,
    account: String,
    key: String,
    /// In hex.
    sealed: String,
}

/// What is stored of a credential.
struct Stored {
    account: Identity,
    /// The key that opens it.
    key: Identity,
    sealed: Vec<u8>,
}

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: AuthCommand,
) -> Result<u8> {
    match command {
        AuthCommand::Add { account, token_file, server, client, key } => {
            let way = Way { file: token_file.as_deref(), server, client };
            add(context, out, account, way, key.as_deref()).await?;
        }
        AuthCommand::List => {
            for stored in list(context)? {
                let value = serde_json::json!({
                    "schema": "kez.credential/1",
                    "account": stored.account,
                    "key": stored.key,
                });
                out.result(&value, &format!("{}  {}", stored.account, stored.key));
            }
        }
        AuthCommand::Revoke { account } => revoke(context, out, &account).await?,
    }
    Ok(0)
}

/// What publishes, in this context.
pub(super) fn publisher<'a, N: Net>(
    context: &'a Context<'_, N>,
    endpoints: &'a kez_core::Endpoints,
    dry_run: bool,
) -> Publisher<'a, N> {
    Publisher { web: &context.net.net, endpoints, now: context.host.now(), dry_run }
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
        Some(Stored {
            account: Identity::from_canonical(&file.account).ok()?,
            key: Identity::from_canonical(&file.key).ok()?,
            sealed: unhex(&file.sealed)?,
        })
    };
    stored().ok_or_else(|| Error::about(Code::StateRefused, path.display()))
}

/// The accounts whose credentials are stored.
pub(super) fn accounts(context: &Context<'_, impl Net>) -> Result<Vec<Identity>> {
    Ok(list(context)?.into_iter().map(|stored| stored.account).collect())
}

/// A record's name, to which its encryption is bound.
fn record(account: &Identity) -> String {
    format!("auth/{account}")
}

/// The stored credential of an account. `open` is a key that is open already.
pub(super) fn stored(
    context: &Context<'_, impl Net>,
    account: &Identity,
    open: Option<&SecretKey>,
) -> Result<Option<Credential>> {
    let path = path(context, account);
    if context.home.look_up(&path, MAX_FILE)?.is_none() {
        return Ok(None);
    }
    let stored = read(context, &path)?;
    let vault = |key: &SecretKey| Vault::of(key, context.host.randomness());
    let vault = match open.filter(|key| *key.public().identity() == stored.key) {
        Some(key) => vault(key),
        None => vault(&context.open_key_of(&stored.key)?),
    };
    let text = vault.open(&record(account), &stored.sealed)?;
    let credential = Credential::from_text(&text);
    credential.map(Some).map_err(|_| Error::about(Code::StateRefused, path.display()))
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
}

async fn add(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    account: Identity,
    Way { file, server, client }: Way<'_>,
    key: Option<&str>,
) -> Result<()> {
    if client.is_some() && account.scheme() != Scheme::Github {
        return Err(Error::about(Code::Usage, "--client is for GitHub"));
    }
    if (account.scheme() == Scheme::Dns) != server.is_some() {
        let why = "--server goes with a domain, and a domain with --server";
        return Err(Error::about(Code::Usage, why));
    }
    let endpoints = context.config.endpoints()?;
    let publisher = publisher(context, &endpoints, false);
    let entry = claim::signing_key(context, key)?;
    let github = account.scheme() == Scheme::Github && file.is_none();
    // A setting stands behind a token that is handed in, and the option does not.
    let configured = context.config.github_client.clone();
    let configured = configured.filter(|_| context.host.is_terminal(Stream::In));
    let client = client.or(configured).filter(|_| github);
    let file = file.or_else(|| {
        let piped = !context.host.is_terminal(Stream::In);
        piped.then_some(Path::new("-"))
    });
    let credential = match account.scheme() {
        Scheme::Ap => authorize(context, out, &publisher, &account, file).await?,
        Scheme::Github if let Some(client) = client => {
            by_device(context, out, &publisher, &account, &client).await?
        }
        Scheme::Github | Scheme::Bluesky | Scheme::Dns => {
            let what = match account.scheme() {
                Scheme::Github => "Token",
                Scheme::Bluesky => "App password",
                _ => "TSIG key",
            };
            let secret = read_secret(context, file, &format!("{what} of {account}: "))?;
            let credential = Credential::new(account.clone(), secret);
            server.into_iter().fold(credential, Credential::with_server)
        }
        Scheme::Nostr | Scheme::Ed25519 => {
            let why = format!("{account} needs no token");
            return Err(Error::about(Code::Usage, why));
        }
    };
    publisher.sign_in(&credential).await?;
    let vault = Vault::of(&context.open(&entry.name)?, context.host.randomness());
    let sealed = vault.seal(&record(&account), credential.to_text().as_bytes())?;
    let file = File {
        kez_auth: 1,
        account: account.to_string(),
        key: entry.identity.to_string(),
        sealed: hex::encode(&sealed),
    };
    let text = serde_json::to_vec(&file).map_err(|_| Code::StateRefused)?;
    context.home.write(&path(context, &account), &text, Access::Private)?;
    let value = serde_json::json!({
        "schema": "kez.credential/1",
        "account": account,
        "key": entry.identity,
    });
    out.result(&value, &format!("stored the token of {account}"));
    if !entry.encrypted {
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
        out.hint(&format!("Open this page, allow it, and copy the code:\n\n  {}\n", clean(&url)));
    }
    let code = read_secret(context, file, "Code: ")?;
    app.redeem(publisher, account, &code, &proof_key).await
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
        out.hint(&format!("Open this page, and type the code {code}:\n\n  {url}\n"));
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
    let credential = stored(context, account, None)?;
    let credential = credential.ok_or_else(|| Error::about(Code::CredentialMissing, account))?;
    let endpoints = context.config.endpoints()?;
    let told = match publisher(context, &endpoints, false).give_back(&credential).await {
        Ok(told) => told,
        Err(error) => {
            out.hint(&format!("kez: warning: the platform was not told: {error}"));
            false
        }
    };
    let path = path(context, account);
    context.host.remove(&path).map_err(storage(&path))?;
    let value = serde_json::json!({
        "schema": "kez.revoked/1",
        "account": account,
        "platform_told": told,
    });
    out.result(&value, &format!("removed the token of {account}"));
    if !told {
        let page = match account.scheme() {
            Scheme::Github => "https://github.com/settings/tokens",
            Scheme::Bluesky => "https://bsky.app/settings/app-passwords",
            Scheme::Dns => "the name server",
            _ => "the account's settings",
        };
        out.hint(&format!("kez: it still counts until you delete it at {page}"));
    }
    Ok(())
}
