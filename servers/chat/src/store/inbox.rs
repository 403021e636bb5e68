//! Inboxes: what waits for a handle, in an order that never changes.

use super::{
    Command, Quotas, Refusal, Store, conversation,
    share::{self, Amount, Sender, Waiting},
};
use kez_core::{Identity, Timestamp, chat::Handle};
use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params};
use std::collections::BTreeMap;

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

/// The first rows that fit into one answer: at least one, if there is one.
pub(super) fn page(
    mut rows: Rows<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Item>,
) -> Result<Vec<Item>, Refusal> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let item = read(row)?;
        bytes += item.body.len();
        if bytes > PAGE_BYTES && !items.is_empty() {
            break;
        }
        items.push(item);
    }
    Ok(items)
}

/// How many handles one owner may block.
const BLOCKS: u64 = 1000;

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
            let rows = query.query(params![handle, since, PAGE as i64])?;
            Ok(Page { items: page(rows, read_item)?, last })
        })
        .await
    }

    /// A device has everything up to a position, durably. What all devices in force have is
    /// dropped. `accepted` says which commit its owner accepted last, by conversation.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn acknowledge(
        &self,
        handle: String,
        device: Identity,
        position: u64,
        accepted: Vec<(String, u64)>,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        let since = now.plus(-self.quotas.retention).seconds();
        let (device, now) = (device.to_string(), now.seconds());
        let command = Command::Acknowledge { handle, device, position, accepted, now, since };
        self.write(command).await?.count()
    }

    /// Blocks a handle for the owner of an inbox, or ends that.
    ///
    /// # Errors
    /// `Quota` if there are too many, `Failed`.
    pub async fn block(&self, handle: String, other: Handle, on: bool) -> Result<(), Refusal> {
        let other = other.to_string();
        self.write(Command::Block { handle, other, on }).await.map(drop)
    }

    /// The handles that the owner of an inbox has blocked, sorted.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn blocks(&self, handle: String) -> Result<Vec<String>, Refusal> {
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT other FROM blocks WHERE handle = ? ORDER BY other")?;
            let rows = query.query_map([&handle], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// [`Store::block`].
pub(super) fn block(db: &Connection, handle: &str, other: &str, on: bool) -> Result<(), Refusal> {
    if !on {
        db.prepare_cached("DELETE FROM blocks WHERE handle = ?1 AND other = ?2")?
            .execute([handle, other])?;
        return Ok(());
    }
    db.prepare_cached("INSERT INTO blocks (handle, other) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute([handle, other])?;
    let count: u64 = db
        .prepare_cached("SELECT count(*) FROM blocks WHERE handle = ?")?
        .query_row([handle], |row| row.get(0))?;
    if count > BLOCKS {
        return Err(Refusal::Quota("of blocked handles".into()));
    }
    Ok(())
}

fn is_blocked(db: &Connection, owner: &str, sender: &str) -> Result<bool, Refusal> {
    let mut query = db.prepare_cached("SELECT 1 FROM blocks WHERE handle = ?1 AND other = ?2")?;
    Ok(query.exists([owner, sender])?)
}

/// What a device tells with an acknowledgement.
pub(super) struct Acknowledgement<'a> {
    pub(super) handle: &'a str,
    pub(super) device: &'a str,
    pub(super) position: u64,
    pub(super) accepted: &'a [(String, u64)],
    pub(super) now: i64,
    /// Members that were last here before that time do not vote.
    pub(super) since: i64,
}

/// [`Store::acknowledge`].
pub(super) fn acknowledge(db: &Connection, ack: &Acknowledgement<'_>) -> Result<u64, Refusal> {
    let Acknowledgement { handle, device, now, .. } = *ack;
    let position = ack.position.min(last(db, handle)?);
    db.prepare_cached("UPDATE handles SET seen = max(seen, ?2) WHERE handle = ?1")?
        .execute(params![handle, now])?;
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
    for (conversation, position) in ack.accepted {
        conversation::accept(db, handle, conversation, *position, ack.since)?;
    }
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

/// Puts an item into an inbox, at its next position. `None` if the inbox takes no more from the
/// sender: it is full, its owner has blocked the sender, or the handle was released.
pub(super) fn put(
    db: &Connection,
    handle: String,
    mut item: Item,
    from: Sender<'_>,
    quotas: &Quotas,
) -> Result<Option<(String, Item)>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT inbox, items, bytes, request_items, request_bytes
         FROM handles WHERE handle = ? AND person IS NOT NULL",
    )?;
    let found = query.query_row([&handle], |row| {
        let all = Amount { items: row.get(1)?, bytes: row.get(2)? };
        let requests = Amount { items: row.get(3)?, bytes: row.get(4)? };
        Ok((row.get::<_, u64>(0)?, Waiting { all, requests }))
    });
    let Some((last, waiting)) = found.optional()? else { return Ok(None) };
    let (position, size) = (last + 1, item.body.len() as u64);
    if !share::admits(db, &handle, from, size, waiting, quotas)?
        || (handle != from.handle && is_blocked(db, &handle, from.handle)?)
    {
        return Ok(None);
    }
    db.prepare_cached(
        "UPDATE handles SET inbox = ?2, items = items + 1, bytes = bytes + ?3,
         request_items = request_items + ?4, request_bytes = request_bytes + ?4 * ?3,
         seen = iif(handle = ?5, max(seen, ?6), seen) WHERE handle = ?1",
    )?
    .execute(params![handle, position, size, from.request, from.handle, item.at.seconds()])?;
    share::add(db, &handle, from, size)?;
    let own = (item.kind == ItemKind::Welcome).then_some(&item.body);
    db.prepare_cached(
        "INSERT INTO inbox
         (handle, seq, conversation, position, at, sender, request, size, device, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        handle,
        position,
        item.conversation,
        item.entry,
        item.at.seconds(),
        from.handle,
        from.request,
        size,
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
         RETURNING conversation, position, body IS NOT NULL, size, sender, request",
    )?;
    let mut rows = query.query(params![handle, position])?;
    let (mut entries, mut freed) = (Vec::new(), BTreeMap::<(String, bool), Amount>::new());
    while let Some(row) = rows.next()? {
        if !row.get::<_, bool>(2)? {
            entries.push((row.get::<_, String>(0)?, row.get::<_, u64>(1)?));
        }
        let amount = freed.entry((row.get(4)?, row.get(5)?)).or_default();
        amount.items += 1;
        amount.bytes += row.get::<_, u64>(3)?;
    }
    for (conversation, entry) in entries {
        db.prepare_cached(
            "DELETE FROM entries WHERE conversation = ?1 AND position = ?2 AND NOT EXISTS
             (SELECT 1 FROM inbox WHERE conversation = ?1 AND position = ?2 AND body IS NULL)",
        )?
        .execute(params![conversation, entry])?;
    }
    for ((sender, request), amount) in freed {
        share::remove(db, handle, Sender { handle: &sender, request }, amount)?;
    }
    Ok(())
}
