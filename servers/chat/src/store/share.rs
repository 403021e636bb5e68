//! How much of an inbox one sender may fill.
//!
//! Senders share the inbox by dynamic thresholds (Choudhury and Hahne, 1998): what waits from one
//! sender is at most a fixed part of what is still free. So no number of senders fills an inbox
//! completely: a further sender always gets a share. Requests, the entries and invitations of
//! conversations in which the owner has not posted, share a quarter of the inbox and get a smaller
//! part of it, so that strangers take no room from conversations of the owner's.

use super::{Quotas, Refusal};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Requests share one part in this many of an inbox.
const REQUESTS: u64 = 4;
/// From one sender, requests may take one part in this many of what is free for requests.
const REQUEST_SHARE: u64 = 8;

/// Where an item comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// The handle that posted it.
    pub(super) handle: &'a str,
    /// Whether the owner of the inbox has not posted in that conversation.
    pub(super) request: bool,
}

/// Items and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// Whether all of it is within a limit.
    const fn within(self, limit: Self) -> bool {
        self.items <= limit.items && self.bytes <= limit.bytes
    }

    const fn plus(self, other: Self) -> Self {
        Self { items: self.items + other.items, bytes: self.bytes + other.bytes }
    }

    const fn minus(self, other: Self) -> Self {
        let items = self.items.saturating_sub(other.items);
        Self { items, bytes: self.bytes.saturating_sub(other.bytes) }
    }

    const fn part(self, of: u64) -> Self {
        Self { items: self.items / of, bytes: self.bytes / of }
    }
}

/// What waits in an inbox.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// All of it.
    pub(super) all: Amount,
    /// The requests among it.
    pub(super) requests: Amount,
}

/// Whether an inbox takes an item.
pub(super) fn admits(
    db: &Connection,
    owner: &str,
    from: Sender<'_>,
    size: u64,
    waiting: Waiting,
    quotas: &Quotas,
) -> Result<bool, Refusal> {
    let item = Amount { items: 1, bytes: size };
    let most = Amount { items: quotas.items, bytes: quotas.bytes };
    if !waiting.all.plus(item).within(most) {
        return Ok(false);
    }
    if from.handle == owner {
        return Ok(true);
    }
    let (all, used, share) = if from.request {
        (most.part(REQUESTS), waiting.requests, REQUEST_SHARE)
    } else {
        (most, waiting.all, 1)
    };
    let own = amount(db, owner, from)?.plus(item);
    Ok(own.within(all.minus(used).part(share)))
}

/// What waits from a sender.
fn amount(db: &Connection, owner: &str, from: Sender<'_>) -> Result<Amount, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT items, bytes FROM senders WHERE handle = ?1 AND sender = ?2 AND request = ?3",
    )?;
    let found = query.query_row(params![owner, from.handle, from.request], |row| {
        Ok(Amount { items: row.get(0)?, bytes: row.get(1)? })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// Counts an item that came in.
pub(super) fn add(
    db: &Connection,
    owner: &str,
    from: Sender<'_>,
    size: u64,
) -> Result<(), Refusal> {
    db.prepare_cached(
        "INSERT INTO senders (handle, sender, request, items, bytes) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT DO UPDATE SET items = items + 1, bytes = bytes + ?4",
    )?
    .execute(params![owner, from.handle, from.request, size])?;
    Ok(())
}

/// Counts items that were dropped.
pub(super) fn remove(
    db: &Connection,
    owner: &str,
    from: Sender<'_>,
    dropped: Amount,
) -> Result<(), Refusal> {
    let key = params![owner, from.handle, from.request, dropped.items, dropped.bytes];
    db.prepare_cached(
        "UPDATE senders SET items = items - ?4, bytes = bytes - ?5
         WHERE handle = ?1 AND sender = ?2 AND request = ?3",
    )?
    .execute(key)?;
    db.prepare_cached(
        "DELETE FROM senders WHERE handle = ?1 AND sender = ?2 AND request = ?3 AND items <= 0",
    )?
    .execute(params![owner, from.handle, from.request])?;
    let (items, bytes) = (dropped.items, dropped.bytes);
    let requests = if from.request { dropped } else { Amount::default() };
    db.prepare_cached(
        "UPDATE handles SET items = items - ?2, bytes = bytes - ?3,
         request_items = request_items - ?4, request_bytes = request_bytes - ?5
         WHERE handle = ?1",
    )?
    .execute(params![owner, items, bytes, requests.items, requests.bytes])?;
    Ok(())
}
