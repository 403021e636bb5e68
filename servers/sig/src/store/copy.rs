//! Copies of the data: a backup of all of it while the server runs, and the chains by themselves.

use super::{FILE, Refusal, Store, VERSION, lines, open_reader};
use crate::log::{self, KEY_FILE, LogKey};
use kez_core::{Chain, Identity, Timestamp};
use rusqlite::{Connection, backup::Backup};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    time::Duration,
};

fn failed(path: &Path) -> impl Fn(io::Error) -> Refusal {
    move |e| Refusal::Storage(format!("{}: {e}", path.display()))
}

/// Copies the data of a server, which may be running, to a new folder, the log's key included.
///
/// # Errors
/// What the file system or SQLite says. What was begun is then removed.
pub fn backup(data: &Path, to: &Path) -> Result<(), Refusal> {
    let source = open_reader(&data.join(FILE))?;
    fs::create_dir(to).map_err(failed(to))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(to, mode).map_err(failed(to))?;
    }
    let done = fill(&source, data, to);
    if done.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_dir_all(to);
    }
    done
}

fn fill(source: &Connection, data: &Path, to: &Path) -> Result<(), Refusal> {
    let mut copy = Connection::open(to.join(FILE))?;
    // All pages in one step are one state; writers go on in the write-ahead log meanwhile.
    Backup::new(source, &mut copy)?.run_to_completion(i32::MAX, Duration::from_millis(50), None)?;
    copy.close().map_err(|(_, e)| e)?;
    fs::File::open(to.join(FILE)).and_then(|file| file.sync_all()).map_err(failed(to))?;
    let key = to.join(KEY_FILE);
    fs::copy(data.join(KEY_FILE), &key).map_err(failed(&key))?;
    fs::File::open(&key).and_then(|file| file.sync_all()).map_err(failed(&key))?;
    #[cfg(unix)]
    fs::File::open(to).and_then(|dir| dir.sync_all()).map_err(failed(to))?;
    Ok(())
}

/// Makes a data folder from a backup whose file, chains and log hold together.
///
/// # Errors
/// What does not hold; a data folder that is there already.
pub fn restore(from: &Path, data: &Path) -> Result<(), Refusal> {
    let source = open_reader(&from.join(FILE))?;
    verify(&source)?;
    let key = from.join(KEY_FILE);
    fs::metadata(&key).map_err(failed(&key))?;
    LogKey::open(from, None)?;
    drop(source);
    backup(from, data)
}

/// Whether a file is whole: its pages, every chain and the log.
fn verify(db: &Connection) -> Result<(), Refusal> {
    let broken = |what: &dyn std::fmt::Display| Refusal::Storage(format!("the backup: {what}"));
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Err(broken(&format_args!("a file of version {version}")));
    }
    let pages: String = db.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    if pages != "ok" {
        return Err(broken(&pages));
    }
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
    let mut query = db.prepare("SELECT id, name FROM chains ORDER BY id")?;
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
    let written = |e: io::Error| Refusal::Storage(format!("the export: {e}"));
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
        read.map_err(|e| Refusal::Storage(format!("the import: {e}")))?;
        let its = if line.is_empty() {
            None
        } else {
            Some(kez_core::Event::take(&mut line.as_slice())?.1.chain)
        };
        if its != name {
            if let Some(name) = name {
                chains += 1;
                let body = std::mem::take(&mut bundle).into();
                match store.append(name.clone(), body, crate::now()).await {
                    Ok(_) => {}
                    Err(full @ (Refusal::Full | Refusal::Storage(_))) => return Err(full),
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
