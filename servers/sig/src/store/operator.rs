//! What the operator sees and removes: chains by their size, and a chain that is abusive.
//!
//! These work on the file of a running server, too: it notices within seconds.

use super::{FILE, Refusal, SCHEMA, find, lines};
use kez_core::{Chain, Code, Error, Event, Identity, Op, Timestamp};
use kez_server::{replica, sqlite::open_reader};
use rusqlite::params;
use std::{fmt, path::Path};

/// By what chains are listed, the largest or newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Bytes of events and evidence.
    #[default]
    Bytes,
    /// The number of events.
    Events,
    /// Bytes of evidence of forks.
    Evidence,
    /// The newest chain first.
    Newest,
}

impl Order {
    const fn column(self) -> &'static str {
        match self {
            Self::Bytes => "bytes + evidence",
            Self::Events => "seq",
            Self::Evidence => "evidence",
            Self::Newest => "id",
        }
    }
}

/// What a chain takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The chain.
    pub name: String,
    /// The number of its events.
    pub events: u64,
    /// The bytes of its events.
    pub bytes: u64,
    /// The bytes of branches that are kept as evidence of forks.
    pub evidence: u64,
    /// Why the operator removed it, and when (seconds since 1970).
    pub removed: Option<(String, i64)>,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, events, bytes, evidence, removed } = self;
        write!(f, "{bytes}\t{evidence}\t{events}\t{name}")?;
        match removed {
            Some((reason, at)) => {
                write!(f, "\tremoved {}: {reason:?}", Timestamp::from_seconds(*at))
            }
            None => Ok(()),
        }
    }
}

/// The names of the fields of a [`Usage`] as it is printed.
pub const FIELDS: &str = "bytes\tevidence\tevents\tchain";

/// The first `most` chains.
///
/// # Errors
/// `Failed`.
pub fn list(data: &Path, order: Order, most: u32) -> Result<Vec<Usage>, Refusal> {
    let db = open_reader(&data.join(FILE))?;
    let mut query = db.prepare(&format!(
        "SELECT name, seq, removed, removed_at,
            (SELECT coalesce(sum(octet_length(line) + 1), 0) FROM events WHERE chain = chains.id)
                AS bytes,
            (SELECT coalesce(sum(octet_length(lines)), 0) FROM branches WHERE chain = chains.id)
                AS evidence
         FROM chains ORDER BY {} DESC, id LIMIT ?",
        order.column()
    ))?;
    let rows = query.query_map([most], |row| {
        let removed: Option<String> = row.get(2)?;
        let at: Option<i64> = row.get(3)?;
        Ok(Usage {
            name: row.get(0)?,
            events: row.get(1)?,
            bytes: row.get(4)?,
            evidence: row.get(5)?,
            removed: removed.zip(at),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A chain's events in short: position, date, operation and subject, one event a line.
///
/// # Errors
/// `Invalid` with `chain_empty` if there is no such chain, `Removed`, `Failed`.
pub fn show(data: &Path, name: &Identity) -> Result<Vec<String>, Refusal> {
    let db = open_reader(&data.join(FILE))?;
    let row = find(&db, name)?.ok_or_else(|| Error::about(Code::ChainEmpty, name))?;
    let chain = Chain::replay_trusted(lines(&db, row.id)?.as_bytes(), name)?;
    let line = |event: &Event| {
        let about = match &event.op {
            Op::Add { subject, .. } => subject.to_string(),
            Op::Rotate { to, .. } => to.identity().to_string(),
            Op::AddDevice { device, .. } => device.identity().to_string(),
            Op::RevokeDevice { device, .. } => device.to_string(),
            _ => String::new(),
        };
        // An unknown operation has any name that its author chose.
        let name = event.op.name().escape_debug();
        format!("{}\t{}\t{name}\t{about}", event.seq, event.created_at)
    };
    Ok(chain.events().iter().map(line).collect())
}

/// Removes a chain's events and evidence, and refuses the chain from then on. Its heads stay in the
/// transparency log. Returns the number of removed events.
///
/// # Errors
/// `Invalid` with `chain_empty` if there is no such chain, `Removed` if it is removed already,
/// `Failed`, also for a copy of a NATS stream.
pub fn remove(data: &Path, name: &Identity, reason: &str, now: Timestamp) -> Result<u64, Refusal> {
    drop(open_reader(&data.join(FILE))?);
    let mut db = SCHEMA.open(&data.join(FILE), None)?;
    replica::refuse_copy(&db, FILE)?;
    let tx = db.transaction()?;
    let row = find(&tx, name)?.ok_or_else(|| Error::about(Code::ChainEmpty, name))?;
    let events = tx.execute("DELETE FROM events WHERE chain = ?", [row.id])?;
    tx.execute("DELETE FROM subjects WHERE chain = ?", [row.id])?;
    tx.execute("DELETE FROM branches WHERE chain = ?", [row.id])?;
    tx.execute(
        "UPDATE chains SET removed = ?2, removed_at = ?3 WHERE id = ?1",
        params![row.id, reason, now.seconds()],
    )?;
    tx.commit()?;
    Ok(events as u64)
}
