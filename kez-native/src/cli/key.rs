//! `kez key`.

use super::{
    Context,
    args::{KeyCommand, KeyType},
    output::{Out, hint},
    read_input,
};
use kez_core::{Code, Error, Result, Scheme, SecretKey, commitment};
use kez_native::{home::write_private, keystore::Entry};
use std::io::IsTerminal as _;
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

pub(super) fn run(context: &Context, out: &Out, command: KeyCommand) -> Result<u8> {
    match command {
        KeyCommand::New { kind, next: true, .. } => return new_next(context, out, kind),
        KeyCommand::New { kind, name, no_passphrase, .. } => {
            let key = generate(kind.into())?;
            store(context, out, &name, &key, no_passphrase)?;
        }
        KeyCommand::List => {
            let entries = context.keys().list()?;
            if entries.is_empty() && !out.json {
                hint("kez: no keys yet; make one with `kez key new`");
            }
            for entry in &entries {
                show(out, entry);
            }
        }
        KeyCommand::Show { name } => show(out, &context.keys().entry(&name)?),
        KeyCommand::Import { file, kind, name, no_passphrase } => {
            let text = read_secret(&file)?;
            let key = SecretKey::from_text(kind.into(), &text)?;
            store(context, out, &name, &key, no_passphrase)?;
        }
        KeyCommand::Export { name } => {
            let key = context.open(&name)?;
            hint("kez: warning: who has this text can act as you");
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

pub(super) fn generate(scheme: Scheme) -> Result<SecretKey> {
    SecretKey::from_bytes(scheme, kez_native::random()?)
}

/// Reads a secret from a file or stdin, or from the terminal without echo.
pub(super) fn read_secret(file: &std::path::Path) -> Result<Zeroizing<String>> {
    if file == std::path::Path::new("-") && std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Secret key: ")
            .map(Zeroizing::new)
            .map_err(|e| Error::about(Code::StorageFailed, e));
    }
    let bytes = Zeroizing::new(read_input(file, 4096)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::from(Code::KeyRefused))?;
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) fn store(
    context: &Context,
    out: &Out,
    name: &str,
    key: &SecretKey,
    no_passphrase: bool,
) -> Result<Entry> {
    let passphrase = if no_passphrase { None } else { Some(context.new_passphrase()?) };
    let entry = context.keys().add(name, key, passphrase.as_ref().map(|p| p.as_str()))?;
    show(out, &entry);
    if no_passphrase {
        hint("kez: warning: the key is stored unencrypted");
    }
    Ok(entry)
}

fn show(out: &Out, entry: &Entry) {
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
fn new_next(context: &Context, out: &Out, kind: KeyType) -> Result<u8> {
    let key = generate(kind.into())?;
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
    if std::io::stdin().is_terminal() {
        let prompt = "Read it back from the paper (it is not shown): ";
        let copy = rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|e| Error::about(Code::StorageFailed, e))?;
        let copy = SecretKey::from_text(kind.into(), &copy).ok();
        if copy.is_none_or(|copy| copy.public() != key.public()) {
            return Err(Error::about(
                Code::KeyRefused,
                "that is another key; nothing was committed",
            ));
        }
    }
    write_private(&context.home.path(NEXT), commitment.to_string().as_bytes())?;
    hint("kez: your chain commits to it with its next event; then only this key can take over");
    hint("kez: to use it: kez sigchain rotate");
    Ok(0)
}
