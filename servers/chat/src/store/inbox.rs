//! Inboxes: what waits for a handle, in an order that never changes.

use super::{Command, Quotas, Refusal, Store};
use kez_core::{Identity, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A message of a conversation.
    Message,
    /// A change of a conversation.
    Change,
    /// An invitation to a conversation.
    Welcome,
}

impl ItemKind {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Change => "commit",
            Self::Welcome => "welcome",
        }
    }

    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Message => 0,
            Self::Change => 1,
            Self::Welcome => 2,
        }
    }

    pub(super) const fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Message,
            1 => Self::Change,
            _ => Self::Welcome,
        }
    }
}

/// An item of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its position in the inbox, from 1, without gaps when it was put there.
    pub position: u64,
    /// What it is.
    pub kind: ItemKind,
    /// The conversation, 64 hex digits.
    pub conversation: String,
    /// The position in the conversation; of a welcome, that of the change that invites.
    pub entry: u64,
    /// The sender's name for the entry, 32 hex digits; empty for a welcome.
    pub id: String,
    /// The device that a welcome is for.
    pub device: Option<String>,
    /// When the server took it.
    pub at: Timestamp,
    /// What the server cannot read.
    pub body: Vec<u8>,
}

/// Some items, and whether there are more.
#[derive(Clone, Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// The position of the newest item of the inbox.
    pub last: u64,
}

/// How many items one answer has.
const PAGE: usize = 200;
/// How many bytes of bodies one answer has, beyond the first item.
const PAGE_BYTES: usize = 1024 * 1024;

impl Store {
    /// The items of an inbox after a position.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn inbox(&self, handle: String, since: u64) -> Result<Page, Refusal> {
        self.read(move |db| {
            let tx = db.unchecked_transaction()?;
            let last = last(&tx, &handle)?;
            let mut query = tx.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM inbox LEFT JOIN entries ON {ENTRY}
                 WHERE handle = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ))?;
            let mut rows = query.query(params![handle, since, PAGE as i64])?;
            let (mut items, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let item = read_item(row)?;
                bytes += item.body.len();
                if bytes > PAGE_BYTES && !items.is_empty() {
                    break;
                }
                items.push(item);
            }
            Ok(Page { items, last })
        })
        .await
    }

    /// A device has everything up to a position, durably. What all devices in force have is
    /// dropped.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn acknowledge(
        &self,
        handle: String,
        device: Identity,
        position: u64,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        let (device, now) = (device.to_string(), now.seconds());
        self.write(Command::Acknowledge { handle, device, position, now }).await?.count()
    }
}

/// [`Store::acknowledge`].
pub(super) fn acknowledge(
    db: &Connection,
    handle: &str,
    device: &str,
    position: u64,
    now: i64,
) -> Result<u64, Refusal> {
    let position = position.min(last(db, handle)?);
    db.prepare_cached("UPDATE devices SET acked = max(acked, ?2) WHERE device = ?1")?
        .execute(params![device, position])?;
    let all: u64 = db
        .prepare_cached(
            "SELECT coalesce(min(acked), 0) FROM devices
             JOIN handles ON handles.person = devices.person
             WHERE handle = ?1 AND active = 1
             AND (not_after IS NULL OR not_after > ?2)",
        )?
        .query_row(params![handle, now], |row| row.get(0))?;
    drop_until(db, handle, all)?;
    Ok(position)
}

/// What [`read_item`] reads, of an inbox and the entry that its item points to.
pub(super) const COLUMNS: &str = "inbox.seq, inbox.conversation, inbox.position, inbox.at, \
    inbox.device, inbox.body, entries.kind, entries.id, entries.body";
pub(super) const ENTRY: &str = "inbox.body IS NULL \
    AND entries.conversation = inbox.conversation AND entries.position = inbox.position";

pub(super) fn read_item(row: &Row<'_>) -> Result<Item, rusqlite::Error> {
    let own: Option<Vec<u8>> = row.get(5)?;
    let device: Option<String> = row.get(4)?;
    let (kind, id, body) = match own {
        Some(body) => (ItemKind::Welcome, String::new(), body),
        // An entry goes with the last inbox that points to it.
        None => (
            ItemKind::from_number(row.get::<_, Option<i64>>(6)?.unwrap_or_default()),
            row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            row.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default(),
        ),
    };
    Ok(Item {
        position: row.get(0)?,
        kind,
        conversation: row.get(1)?,
        entry: row.get(2)?,
        id,
        device,
        at: Timestamp::from_seconds(row.get(3)?),
        body,
    })
}

fn last(db: &Connection, handle: &str) -> Result<u64, Refusal> {
    let mut query = db.prepare_cached("SELECT inbox FROM handles WHERE handle = ?")?;
    Ok(query.query_row([handle], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Puts an item into an inbox, at its next position. `None` if the inbox is full, or was given up.
pub(super) fn put(
    db: &Connection,
    handle: String,
    mut item: Item,
    quotas: &Quotas,
) -> Result<Option<(String, Item)>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT inbox, bytes, (SELECT min(seq) FROM inbox WHERE inbox.handle = handles.handle)
         FROM handles WHERE handle = ? AND person IS NOT NULL",
    )?;
    let found = query.query_row([&handle], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?, row.get::<_, Option<u64>>(2)?))
    });
    let Some((last, bytes, oldest)) = found.optional()? else { return Ok(None) };
    let (position, size) = (last + 1, item.body.len() as u64);
    let waiting = oldest.map_or(0, |oldest| position - oldest);
    if bytes + size > quotas.bytes || waiting >= quotas.items {
        return Ok(None);
    }
    db.prepare_cached("UPDATE handles SET inbox = ?2, bytes = bytes + ?3 WHERE handle = ?1")?
        .execute(params![handle, position, size])?;
    let own = (item.kind == ItemKind::Welcome).then_some(&item.body);
    db.prepare_cached(
        "INSERT INTO inbox (handle, seq, conversation, position, at, device, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        handle,
        position,
        item.conversation,
        item.entry,
        item.at.seconds(),
        item.device,
        own
    ])?;
    item.position = position;
    Ok(Some((handle, item)))
}

/// Drops items up to a position, and entries that no inbox points to any more.
pub(super) fn drop_until(db: &Connection, handle: &str, position: u64) -> Result<(), Refusal> {
    let mut query = db.prepare_cached(
        "DELETE FROM inbox WHERE handle = ?1 AND seq <= ?2
         RETURNING conversation, position, length(body)",
    )?;
    let gone: Vec<(String, u64, Option<u64>)> = query
        .query_map(params![handle, position], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut freed = 0;
    for (conversation, entry, own) in gone {
        if let Some(own) = own {
            freed += own;
            continue;
        }
        let size: Option<u64> = db
            .prepare_cached(
                "SELECT length(body) FROM entries WHERE conversation = ?1 AND position = ?2",
            )?
            .query_row(params![conversation, entry], |row| row.get(0))
            .optional()?;
        freed += size.unwrap_or_default();
        db.prepare_cached(
            "DELETE FROM entries WHERE conversation = ?1 AND position = ?2 AND NOT EXISTS
             (SELECT 1 FROM inbox WHERE conversation = ?1 AND position = ?2 AND body IS NULL)",
        )?
        .execute(params![conversation, entry])?;
    }
    db.prepare_cached("UPDATE handles SET bytes = max(0, bytes - ?2) WHERE handle = ?1")?
        .execute(params![handle, freed])?;
    Ok(())
}
