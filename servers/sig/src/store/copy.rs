//! Copies of the data: a backup of all of it while the server runs, and the chains by themselves.

use super::{FILE, Refusal, SCHEMA, Store, Unlimited, lines};
use crate::log::{self, KEY_FILE, LogKey};
use kez_core::{Chain, Identity, Timestamp};
use kez_server::sqlite::{self, Failure, open_reader};
use rusqlite::Connection;
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
};

/// Copies the data of a server, which may be running, to a new folder, the log's key included.
///
/// # Errors
/// What the file system or SQLite says. What was begun is then removed.
pub fn backup(data: &Path, to: &Path) -> Result<(), Refusal> {
    Ok(sqlite::backup(data, to, FILE, &[KEY_FILE])?)
}

/// Makes a data folder from a backup whose file, chains and log hold together.
///
/// # Errors
/// What does not hold; a data folder that is there already.
pub fn restore(from: &Path, data: &Path) -> Result<(), Refusal> {
    let source = open_reader(&from.join(FILE))?;
    verify(&source)?;
    let key = from.join(KEY_FILE);
    fs::metadata(&key).map_err(Failure::of(&key))?;
    LogKey::open(from, None)?;
    drop(source);
    backup(from, data)
}

/// Whether a file is whole: its pages, every chain and the log.
fn verify(db: &Connection) -> Result<(), Refusal> {
    let broken = |what: &dyn std::fmt::Display| Refusal::storage(format!("the backup: {what}"));
    SCHEMA.check(db)?;
    log::size(db)?;
    each(db, |name, bundle| {
        Chain::replay(bundle.as_bytes(), Some(name), Timestamp::from_seconds(i64::MAX))
            .map(drop)
            .map_err(|e| broken(&format_args!("{name}: {e}")))
    })
}

/// Goes through the chains in the order of their age.
fn each(
    db: &Connection,
    mut work: impl FnMut(&Identity, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut query = db.prepare("SELECT id, name FROM chains WHERE removed IS NULL ORDER BY id")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let name = Identity::from_canonical(&row.get::<_, String>(1)?)?;
        work(&name, &lines(db, row.get(0)?)?)?;
    }
    Ok(())
}

/// Writes every chain, one after the other: bundles, which anybody can check.
///
/// # Errors
/// What the file system or SQLite says.
pub fn export(data: &Path, out: &mut impl Write) -> Result<(), Refusal> {
    let db = open_reader(&data.join(FILE))?;
    let state = db.unchecked_transaction()?;
    let written = |e: io::Error| Refusal::storage(format!("the export: {e}"));
    each(&state, |_, bundle| out.write_all(bundle.as_bytes()).map_err(written))?;
    out.flush().map_err(written)
}

/// Appends what was exported, chain by chain. Gives the number of chains, and those that were
/// refused with the reasons.
///
/// # Errors
/// What cannot be read, or what the storage says.
pub async fn import(
    store: &Store,
    from: impl Read,
) -> Result<(u64, Vec<(Identity, Refusal)>), Refusal> {
    let mut input = BufReader::new(from);
    let (mut chains, mut refused) = (0, Vec::new());
    let mut bundle: Vec<u8> = Vec::new();
    let mut name: Option<Identity> = None;
    loop {
        let mut line = Vec::new();
        let limit = kez_core::MAX_EVENT as u64 + 2;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|e| Refusal::storage(format!("the import: {e}")))?;
        let its = if line.is_empty() {
            None
        } else {
            Some(kez_core::Event::take(&mut line.as_slice())?.1.chain)
        };
        if its != name {
            if let Some(name) = name {
                chains += 1;
                let body = std::mem::take(&mut bundle).into();
                match store.append(name.clone(), body, kez_server::now(), &Unlimited).await {
                    Ok(_) => {}
                    Err(full @ Refusal::Failed(_)) => return Err(full),
                    Err(why) => refused.push((name, why)),
                }
            }
            bundle.clear();
            name = its;
        }
        if line.is_empty() {
            return Ok((chains, refused));
        }
        bundle.extend(line);
    }
}
