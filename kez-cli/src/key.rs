//! `kez key`.

use crate::{
    args::{KeyCommand, KeyType},
    host::{Net, Stream},
    keystore::Entry,
    output::Out,
    run::Context,
    transaction::Transaction,
};
use kez_core::{Chain, Code, Error, ObjectId, Result, Scheme, SecretKey, commitment};
use std::path::Path;
use zeroize::Zeroizing;

/// The file with the commitment to the next key, which waits for the chain's next event.
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
        KeyCommand::New { kind, next: true, replace, .. } => {
            return new_next(context, out, kind, replace);
        }
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

/// Stores a key, and nothing else.
fn store(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    name: &str,
    key: &SecretKey,
    no_passphrase: bool,
) -> Result<()> {
    let passphrase = new_passphrase(context, no_passphrase)?;
    let _lock = context.home.lock()?;
    let mut transaction = Transaction::new();
    let passphrase = passphrase.as_ref().map(|p| p.as_str());
    let entry = context.keys().add(&mut transaction, name, key, passphrase)?;
    transaction.commit(context.home)?;
    show_stored(out, &entry);
    Ok(())
}

/// The passphrase for a new key; none if it is to be stored unencrypted.
pub(super) fn new_passphrase(
    context: &Context<'_, impl Net>,
    no_passphrase: bool,
) -> Result<Option<Zeroizing<String>>> {
    (!no_passphrase).then(|| context.new_passphrase()).transpose()
}

/// Shows a key that was just stored.
pub(super) fn show_stored(out: &Out<'_>, entry: &Entry) {
    show(out, entry);
    if !entry.encrypted {
        out.hint("kez: warning: the key is stored unencrypted");
    }
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

/// The commitment of an earlier `kez key new --next` that no chain has taken up yet.
pub(super) fn waiting(context: &Context<'_, impl Net>) -> Result<Option<ObjectId>> {
    let path = context.home.path(NEXT);
    let Some(text) = context.home.look_up(&path, 256)? else { return Ok(None) };
    let text = std::str::from_utf8(&text).ok().map(str::trim);
    let commitment = text.and_then(|text| ObjectId::parse(text).ok());
    let damaged = || {
        let why = format!("{} is damaged: remove it, then make a new next key", path.display());
        Error::about(Code::StorageFailed, why)
    };
    commitment.map(Some).ok_or_else(damaged)
}

/// Whether an event of the chain has taken up the commitment. Then the file is only a leftover.
pub(super) fn is_taken_up(chain: &Chain, commitment: ObjectId) -> bool {
    chain.events().iter().any(|event| event.next == Some(commitment))
}

/// Prints a next key for paper. Only its commitment is stored, and on a terminal only after the user
/// has read the paper copy back.
fn new_next(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    kind: KeyType,
    replace: bool,
) -> Result<u8> {
    let _lock = context.home.lock()?;
    refuse_second(context, replace)?;
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
    let mut transaction = Transaction::new();
    transaction.write(NEXT.to_owned(), commitment.to_string());
    transaction.commit(context.home)?;
    out.hint("kez: your chain commits to it with its next event; then only this key can take over");
    out.hint("kez: to use it: kez sigchain rotate");
    Ok(0)
}

/// Refuses to make the paper of an earlier next key void, unless the user asks for it.
fn refuse_second(context: &Context<'_, impl Net>, replace: bool) -> Result<()> {
    let Some(commitment) = waiting(context)? else { return Ok(()) };
    let chains = context.home.chains()?;
    if replace || chains.iter().any(|chain| is_taken_up(chain, commitment)) {
        return Ok(());
    }
    let why = "a next key on paper waits for your chain's next event already; \
               `--replace` makes that paper void";
    Err(Error::about(Code::Usage, why))
}
