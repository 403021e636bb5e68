//! `kez key`.

use crate::{
    args::{KeyCommand, KeyType},
    host::{Access, Net, Stream},
    keystore::Entry,
    output::Out,
    run::Context,
};
use kez_core::{Code, Error, Result, Scheme, SecretKey, commitment};
use std::path::Path;
use zeroize::Zeroizing;

/// Where the commitment to the next key waits for the chain's next event.
pub(crate) const NEXT: &str = "next-key";

impl From<KeyType> for Scheme {
    fn from(kind: KeyType) -> Self {
        match kind {
            KeyType::Ed25519 => Self::Ed25519,
            KeyType::Nostr => Self::Nostr,
        }
    }
}

pub(super) fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: KeyCommand,
) -> Result<u8> {
    match command {
        KeyCommand::New { kind, next: true, .. } => return new_next(context, out, kind),
        KeyCommand::New { kind, name, no_passphrase, .. } => {
            let key = generate(context, kind.into())?;
            store(context, out, &name, &key, no_passphrase)?;
        }
        KeyCommand::List => {
            let entries = context.keys().list()?;
            if entries.is_empty() && !out.json {
                out.hint("kez: no keys yet; make one with `kez key new`");
            }
            for entry in &entries {
                show(out, entry);
            }
        }
        KeyCommand::Show { name } => show(out, &context.keys().entry(&name)?),
        KeyCommand::Import { file, kind, name, no_passphrase } => {
            let text = read_secret(context, &file)?;
            let key = SecretKey::from_text(kind.into(), &text)?;
            store(context, out, &name, &key, no_passphrase)?;
        }
        KeyCommand::Export { name } => {
            let key = context.open(&name)?;
            out.hint("kez: warning: who has this text can act as you");
            let secret = Zeroizing::new(key.expose_text());
            let value = serde_json::json!({
                "schema": "kez.secret/1",
                "name": name,
                "identity": key.public().identity(),
                "secret": &*secret,
            });
            out.result(&value, &secret);
        }
    }
    Ok(0)
}

fn generate(context: &Context<'_, impl Net>, scheme: Scheme) -> Result<SecretKey> {
    SecretKey::from_bytes(scheme, context.host.random()?)
}

/// Reads a secret from a file or stdin, or from the terminal without echo.
pub(super) fn read_secret(
    context: &Context<'_, impl Net>,
    file: &Path,
) -> Result<Zeroizing<String>> {
    if file == Path::new("-") && context.host.is_terminal(Stream::In) {
        return context.ask("Secret key: ", Code::StorageFailed);
    }
    let bytes = Zeroizing::new(context.read_input(file, 4096)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::from(Code::KeyRefused))?;
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) fn store(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    name: &str,
    key: &SecretKey,
    no_passphrase: bool,
) -> Result<Entry> {
    let passphrase = if no_passphrase { None } else { Some(context.new_passphrase()?) };
    let entry = context.keys().add(name, key, passphrase.as_ref().map(|p| p.as_str()))?;
    show(out, &entry);
    if no_passphrase {
        out.hint("kez: warning: the key is stored unencrypted");
    }
    Ok(entry)
}

fn show(out: &Out<'_>, entry: &Entry) {
    let state = if entry.encrypted { "encrypted" } else { "unencrypted" };
    let value = serde_json::json!({
        "schema": "kez.key/1",
        "name": entry.name,
        "identity": entry.identity,
        "encrypted": entry.encrypted,
    });
    out.result(&value, &format!("{}  {}  {state}", entry.name, entry.identity));
}

/// The next key goes to paper and nowhere else; only its commitment is kept, and only once the
/// paper copy has been read back, where somebody is there to do so.
fn new_next(context: &Context<'_, impl Net>, out: &Out<'_>, kind: KeyType) -> Result<u8> {
    let key = generate(context, kind.into())?;
    let commitment = commitment(key.public().identity());
    let secret = Zeroizing::new(key.expose_text());
    let value = serde_json::json!({
        "schema": "kez.next/1",
        "identity": key.public().identity(),
        "secret": &*secret,
        "commitment": commitment,
    });
    let text = format!(
        "Your next key. Write it on paper now; it is shown this once and not stored:\n\n    {}\n\nIt is {}.",
        &*secret,
        key.public()
    );
    out.result(&value, &text);
    if context.host.is_terminal(Stream::In) {
        let prompt = "Read it back from the paper (it is not shown): ";
        let copy = context.ask(prompt, Code::StorageFailed)?;
        let copy = SecretKey::from_text(kind.into(), &copy).ok();
        if copy.is_none_or(|copy| copy.public() != key.public()) {
            return Err(Error::about(
                Code::KeyRefused,
                "that is another key; nothing was committed",
            ));
        }
    }
    context.home.write(
        &context.home.path(NEXT),
        commitment.to_string().as_bytes(),
        Access::Private,
    )?;
    out.hint("kez: your chain commits to it with its next event; then only this key can take over");
    out.hint("kez: to use it: kez sigchain rotate");
    Ok(0)
}
