//! Conversations: logs whose order the server fixes, and nothing else.

use super::{
    Command, Item, ItemKind, Quotas, Refusal, Store, command::seconds, directory, inbox,
    membership::Membership, share::Sender,
};
use kez_core::{Code, Error, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most entries of a log in one answer.
const LOG_PAGE: i64 = 100;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its position in the conversation.
    pub position: u64,
    /// Whether it is new, or was posted before.
    pub new: bool,
    /// The members whose inboxes take no more from the sender, and did not get it.
    pub full: Vec<String>,
}

/// An entry to post.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NewEntry {
    /// The conversation, 64 hex digits.
    pub conversation: String,
    /// The handle of who posts it.
    pub from: String,
    /// The sender's name for it, 32 hex digits.
    pub id: String,
    /// What the server cannot read.
    pub body: Vec<u8>,
    /// When it came.
    #[serde(with = "seconds")]
    pub at: Timestamp,
}

/// What makes an entry a commit.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Commit {
    /// The position of the commit that it was made for.
    pub expect: u64,
    /// Its invitations.
    pub welcomes: Vec<Welcome>,
    /// The handles that are in the conversation from then on, as its sender sees it.
    pub recipients: Vec<String>,
}

/// An invitation, sealed for a device.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Welcome {
    /// The handle of its owner.
    pub handle: String,
    /// The device's key.
    pub device: String,
    /// The sealed envelope.
    pub body: Vec<u8>,
}

/// A conversation's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heads {
    position: u64,
    changed: u64,
}

impl Store {
    /// Begins a conversation, of its creator alone. Doing so twice is doing it once.
    ///
    /// # Errors
    /// `Taken` if somebody else has begun it, `Quota`, `Failed`.
    pub async fn create(&self, id: String, creator: String) -> Result<bool, Refusal> {
        let most = self.quotas.conversations;
        self.write(Command::Create { id, creator, most }).await?.flag()
    }

    /// Posts a message, or a commit if the last one is still the one that it was made for. The
    /// entry takes the next position. The entry, a commit's invitations and its recipients are
    /// stored in one step.
    ///
    /// # Errors
    /// `Absent` for those who are not in the conversation, `Conflict`, `Quota`, `Failed`;
    /// `Invalid` with `message_refused` if another entry has its id, and with `welcome_refused`
    /// for an invitation of a device that is not one of its handle's.
    pub async fn post(&self, entry: NewEntry, commit: Option<Commit>) -> Result<Posted, Refusal> {
        let quotas = self.quotas;
        self.write(Command::Post { entry, commit, quotas }).await?.posted()
    }

    /// The heads and the members of a conversation, for one of them.
    ///
    /// # Errors
    /// `Absent`, `Failed`.
    pub async fn conversation(
        &self,
        conversation: String,
        reader: String,
    ) -> Result<(u64, u64, Vec<String>), Refusal> {
        self.read(move |db| {
            let Heads { position, changed } = heads(db, &conversation, &reader)?;
            let mut query = db.prepare_cached(
                "SELECT handle FROM members WHERE conversation = ? ORDER BY handle",
            )?;
            let members = query.query_map([&conversation], |row| row.get(0))?;
            Ok((position, changed, members.collect::<Result<_, _>>()?))
        })
        .await
    }

    /// The entries of a conversation after a position that are still kept, for one of its
    /// members: one page. After the last page comes an empty one.
    ///
    /// # Errors
    /// `Absent`, `Failed`.
    pub async fn log(
        &self,
        conversation: String,
        reader: String,
        since: u64,
    ) -> Result<Vec<Item>, Refusal> {
        self.read(move |db| {
            heads(db, &conversation, &reader)?;
            let mut query = db.prepare_cached(
                "SELECT position, kind, id, at, body FROM entries
                 WHERE conversation = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
            )?;
            let rows = query.query(params![conversation, since, LOG_PAGE])?;
            inbox::page(rows, |row| {
                Ok(Item {
                    position: 0,
                    entry: row.get(0)?,
                    kind: ItemKind::from_number(row.get(1)?),
                    id: row.get(2)?,
                    at: Timestamp::from_seconds(row.get(3)?),
                    body: row.get(4)?,
                    conversation: conversation.clone(),
                    device: None,
                })
            })
        })
        .await
    }
}

/// [`Store::create`], if somebody may have `most` of them.
pub(super) fn create(db: &Connection, id: &str, creator: &str, most: u64) -> Result<bool, Refusal> {
    let mut query = db.prepare_cached("SELECT creator FROM conversations WHERE id = ?")?;
    let owner: Option<String> = query.query_row([id], |row| row.get(0)).optional()?;
    if let Some(owner) = owner {
        if owner == creator {
            return Ok(false);
        }
        return Err(Refusal::Taken(Error::about(Code::ConversationUnknown, id)));
    }
    let count: u64 = db
        .prepare_cached("SELECT count(*) FROM conversations WHERE creator = ?")?
        .query_row([creator], |row| row.get(0))?;
    if count >= most {
        return Err(Refusal::Quota("of conversations".into()));
    }
    db.prepare_cached(
        "INSERT INTO conversations (id, position, changed, creator)
         VALUES (?1, 0, 0, ?2)",
    )?
    .execute([id, creator])?;
    db.prepare_cached(
        "INSERT INTO members (conversation, handle, elector, accepted, posted)
         VALUES (?, ?, 0, 0, 1)",
    )?
    .execute([id, creator])?;
    Ok(true)
}

/// [`Store::post`]. Gives what was put into which inbox, too.
pub(super) fn post(
    db: &Connection,
    entry: &NewEntry,
    commit: Option<Commit>,
    quotas: &Quotas,
) -> Result<(Posted, Put), Refusal> {
    let heads = heads(db, &entry.conversation, &entry.from)?;
    if let Some(posted) = again(db, entry)? {
        return Ok((posted, Vec::new()));
    }
    if commit.as_ref().is_some_and(|commit| commit.expect != heads.changed) {
        let Heads { position, changed } = heads;
        return Err(Refusal::Conflict { position, changed });
    }
    let kind = if commit.is_some() { ItemKind::Change } else { ItemKind::Message };
    let position = heads.position + 1;
    write(db, entry, kind, position)?;
    // A member that posts takes part: from now on, the conversation is no request to it.
    db.prepare_cached(
        "UPDATE members SET posted = 1 WHERE conversation = ? AND handle = ? AND posted = 0",
    )?
    .execute([&entry.conversation, &entry.from])?;
    // Members that this commit removes receive it, too.
    let (mut items, full) = deliver(db, entry, kind, position, quotas)?;
    if let Some(commit) = commit {
        items.extend(commit.apply(db, entry, position, heads.changed, quotas)?);
    }
    Ok((Posted { position, new: true, full }, items))
}

/// The heads of a conversation, for one of its members.
fn heads(db: &Connection, conversation: &str, member: &str) -> Result<Heads, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT position, changed FROM conversations JOIN members ON conversation = id
         WHERE id = ?1 AND handle = ?2",
    )?;
    let found = query.query_row([conversation, member], |row| {
        Ok(Heads { position: row.get(0)?, changed: row.get(1)? })
    });
    // Whether there is such a conversation, only its members may know.
    found.optional()?.ok_or_else(|| Refusal::absent(Code::ConversationUnknown, conversation))
}

/// An entry that was posted before, by its id.
fn again(db: &Connection, entry: &NewEntry) -> Result<Option<Posted>, Refusal> {
    let NewEntry { conversation, id, body, .. } = entry;
    let mut query = db.prepare_cached(
        "SELECT position, body = ?3 FROM entries WHERE conversation = ?1 AND id = ?2",
    )?;
    let found = query.query_row(params![conversation, id, body], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, bool>(1)?))
    });
    match found.optional()? {
        None => Ok(None),
        Some((position, true)) => Ok(Some(Posted { position, new: false, full: Vec::new() })),
        Some((_, false)) => {
            Err(Error::about(Code::MessageRefused, "another entry has this id").into())
        }
    }
}

/// What was put into which inbox.
pub(super) type Put = Vec<(String, Item)>;

fn write(db: &Connection, entry: &NewEntry, kind: ItemKind, position: u64) -> Result<(), Refusal> {
    let NewEntry { conversation, id, body, at, .. } = entry;
    db.prepare_cached(
        "INSERT INTO entries (conversation, position, kind, id, at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![conversation, position, kind.number(), id, at.seconds(), body])?;
    db.prepare_cached("UPDATE conversations SET position = ?2 WHERE id = ?1")?
        .execute(params![conversation, position])?;
    Ok(())
}

/// Puts an entry into the inbox of every member, and gives whose are full. One whose inbox is full
/// must not keep the others from talking; but if nobody else gets it, it is not taken.
fn deliver(
    db: &Connection,
    entry: &NewEntry,
    kind: ItemKind,
    position: u64,
    quotas: &Quotas,
) -> Result<(Put, Vec<String>), Refusal> {
    let mut query =
        db.prepare_cached("SELECT handle, posted FROM members WHERE conversation = ?")?;
    let members: Vec<(String, bool)> = query
        .query_map([&entry.conversation], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut items, mut full) = (Vec::with_capacity(members.len()), Vec::new());
    for (handle, posted) in members {
        let item = Item {
            position: 0,
            kind,
            conversation: entry.conversation.clone(),
            entry: position,
            id: entry.id.clone(),
            device: None,
            at: entry.at,
            body: entry.body.clone(),
        };
        let from = Sender { handle: &entry.from, request: !posted };
        match inbox::put(db, handle.clone(), item, from, quotas)? {
            Some(put) => items.push(put),
            None => full.push(handle),
        }
    }
    let reached = items.iter().any(|(handle, _)| *handle != entry.from);
    if full.contains(&entry.from) || (!full.is_empty() && !reached) {
        return Err(Refusal::Quota(format!("of the inbox of {}", full.join(", "))));
    }
    Ok((items, full))
}

impl Commit {
    /// Counts the commit as its sender's opinion of who the recipients are, and delivers the
    /// invitations.
    fn apply(
        self,
        db: &Connection,
        entry: &NewEntry,
        position: u64,
        changed: u64,
        quotas: &Quotas,
    ) -> Result<Put, Refusal> {
        let conversation = &entry.conversation;
        db.prepare_cached("UPDATE conversations SET changed = ?2 WHERE id = ?1")?
            .execute(params![conversation, position])?;
        let mut recipients = BTreeSet::new();
        for handle in self.recipients {
            match directory::has_owner(db, &handle)? {
                Some(true) => {
                    recipients.insert(handle);
                }
                // A handle that its owner released receives nothing, and stops no commit.
                Some(false) => {}
                None => return Err(Refusal::absent(Code::HandleUnknown, handle)),
            }
        }
        let since = entry.at.plus(-quotas.retention).seconds();
        let mut members = Membership::load(db, conversation, changed, since)?;
        members.commit(&entry.from, position, recipients.clone());
        members.settle();
        members.save(db, conversation)?;
        let mut items = Vec::with_capacity(self.welcomes.len());
        let mut invited = BTreeSet::new();
        for Welcome { handle, device, body } in self.welcomes {
            let refused = |why: &str| Err(Error::about(Code::WelcomeRefused, why).into());
            if !recipients.contains(&handle) {
                return refused("it is for a handle that is no recipient");
            }
            if !invited.insert(device.clone()) {
                return refused("there are two for one device");
            }
            match directory::is_in_force(db, &handle, &device, entry.at)? {
                Some(true) => {}
                // Revoked since the sender claimed its key package: it cannot read the welcome.
                Some(false) => continue,
                None => return refused("it is for a device of another handle"),
            }
            let posted = has_posted(db, conversation, &handle)?;
            let item = Item {
                position: 0,
                kind: ItemKind::Welcome,
                conversation: conversation.clone(),
                entry: position,
                id: String::new(),
                device: Some(device),
                at: entry.at,
                body,
            };
            let from = Sender { handle: &entry.from, request: !posted };
            let full = || Refusal::Quota(format!("of the inbox of {handle}"));
            let put = inbox::put(db, handle.clone(), item, from, quotas)?;
            items.push(put.ok_or_else(full)?);
        }
        Ok(items)
    }
}

/// Whether a member has posted to a conversation.
fn has_posted(db: &Connection, conversation: &str, handle: &str) -> Result<bool, Refusal> {
    let mut query =
        db.prepare_cached("SELECT posted FROM members WHERE conversation = ?1 AND handle = ?2")?;
    let found = query.query_row([conversation, handle], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// A member says which commit of a conversation it accepted last.
pub(super) fn accept(
    db: &Connection,
    handle: &str,
    conversation: &str,
    position: u64,
    since: i64,
) -> Result<(), Refusal> {
    // A handle that is no member has no opinion, and learns nothing.
    let Ok(Heads { changed, .. }) = heads(db, conversation, handle) else { return Ok(()) };
    let mut members = Membership::load(db, conversation, changed, since)?;
    if members.accept(handle, position) {
        members.settle();
        members.save(db, conversation)?;
    }
    Ok(())
}
