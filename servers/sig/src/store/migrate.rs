//! From a file of one server to a stream that several share, and back.

use super::{FILE, Options, Refusal, SCHEMA, Store, evidence, stream};
use crate::log;
use axum::body::Bytes;
use kez_core::Identity;
use kez_server::{
    folder::Lock,
    limit::Pool,
    nats::{self, Entry, HeaderMap, Log},
    replica::{self, Shared as _},
    sqlite::Failure,
};
use rusqlite::Connection;
use std::{fs, path::Path};

/// How many bytes one message has at most, beyond its first line.
const MESSAGE: usize = 256 * 1024;
/// How many entries of the log are read at once.
const ENTRIES: usize = 1000;

/// Puts what a folder has into a new stream, checks that the stream gives the same, and makes the
/// folder a copy of it. The old file stays beside, as `sigchains.db.migrated`. No server may use
/// the folder meanwhile. Gives the number of chains.
///
/// # Errors
/// What the file system, SQLite or NATS says; a stream that has messages already; a server that
/// writes to the file. The folder is then as it was.
pub async fn to_nats(
    dir: &Path,
    options: &Options,
    settings: &nats::Settings,
) -> Result<u64, Refusal> {
    let file = dir.join(FILE);
    // No server uses the folder now. The lock is taken again for the copy.
    drop(Lock::acquire(dir)?);
    fs::metadata(&file).map_err(Failure::of(&file))?;
    let db = SCHEMA.open(&file, None)?;
    let (log, _) = stream::open(dir, options, settings).await?;
    let copy = async || copied(dir, options, settings).await;
    let moved = replica::move_in((dir, FILE), db, log, totals, publish, copy).await?;
    Ok(moved.0)
}

/// Makes the copy of a stream that a folder has, brought up to its end, a file of its own. No
/// server may use the stream from then on. Gives the number of chains.
///
/// # Errors
/// What the file system, SQLite or NATS says.
pub async fn to_file(
    dir: &Path,
    options: &Options,
    settings: &nats::Settings,
) -> Result<u64, Refusal> {
    let (chains, ..) = copied(dir, options, settings).await?;
    leave(dir)?;
    Ok(chains)
}

/// Makes the copy of a stream that a folder has a file of its own, as it is.
///
/// # Errors
/// What the file system or SQLite says; a file that is no copy.
pub fn leave(dir: &Path) -> Result<(), Refusal> {
    replica::leave(&SCHEMA.open(&dir.join(FILE), None)?, &["written"])?;
    Ok(())
}

/// Copies the stream, up to its end.
async fn copied(
    dir: &Path,
    options: &Options,
    settings: &nats::Settings,
) -> Result<Totals, Refusal> {
    let (store, writer) = Store::join(dir, options, settings).await?;
    store.copied().await?;
    let all = store.read(totals).await?;
    drop(store);
    let joined = tokio::task::spawn_blocking(|| writer.join()).await;
    joined.ok().and_then(Result::ok).ok_or_else(|| Refusal::storage("the writer broke"))?;
    Ok(all)
}

/// How many chains, events and pieces of evidence there are, and the nodes of the log's tree.
type Totals = (u64, u64, u64, Vec<[u8; 32]>);

fn totals(db: &Connection) -> Result<Totals, Refusal> {
    let count = |sql| db.query_row(sql, [], |row| row.get(0));
    let mut query = db.prepare("SELECT hash FROM nodes ORDER BY node DESC LIMIT 64")?;
    let nodes = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((
        count("SELECT count(*) FROM chains")?,
        count("SELECT count(*) FROM events")?,
        count("SELECT count(*) FROM branches")?,
        nodes,
    ))
}

async fn publish(db: &Connection, log: &Log) -> Result<(), Refusal> {
    let mut query = db.prepare("SELECT id, name FROM chains WHERE removed IS NULL ORDER BY id")?;
    let mut chains = query.query([])?;
    while let Some(row) = chains.next()? {
        let name = Identity::from_canonical(&row.get::<_, String>(1)?)?;
        let lines = super::lines(db, row.get(0)?)?;
        let mut memory = Pool::new(usize::MAX, usize::MAX).take([127, 0, 0, 1].into(), 0);
        let memory = memory.as_mut().map_err(|_| Failure::Busy)?;
        let forks = evidence::objects(db, row.get(0)?, usize::MAX, memory, || Ok(lines.clone()))?;
        chain(log, &name, &lines, &forks.unwrap_or_default()).await?;
    }
    let (size, mut last) = (log::size(db)?, 0);
    for from in (0..size).step_by(ENTRIES) {
        let entries = log::entries(db, from, (from + ENTRIES as u64).min(size))?;
        let body = entries.join("\n").into();
        last = send(log, "entries", stream::LOG_SUBJECT.into(), last, body).await?;
    }
    Ok(())
}

/// A chain's events and the evidence of its forks.
async fn chain(log: &Log, name: &Identity, lines: &str, forks: &str) -> Result<(), Refusal> {
    let subject = stream::subject(name);
    let (mut body, mut last) = (String::new(), 0);
    for line in lines.split_inclusive('\n') {
        if body.len() + line.len() > MESSAGE && !body.is_empty() {
            let full = std::mem::take(&mut body).into();
            last = send(log, "chain", subject.clone(), last, full).await?;
        }
        body += line;
    }
    last = send(log, "chain", subject.clone(), last, body.into()).await?;
    for fork in forks.lines() {
        last = send(log, "fork", subject.clone(), last, fork.to_owned().into()).await?;
    }
    Ok(())
}

async fn send(
    log: &Log,
    kind: &str,
    subject: String,
    after: u64,
    body: Bytes,
) -> Result<u64, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(stream::KIND, kind);
    replica::send(log, Entry { subject, after: Some(after), headers, body }).await
}
