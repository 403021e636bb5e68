//! What is kept of a conversation, and its history.

use super::{Client, Platform};
use crate::{
    Code, Error, Identity, Result, Timestamp,
    chat::{Body, Group, Message, MessageId},
    json::{MAX_INTEGER, Members, Value},
};
use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

const CONVERSATIONS: &str = "conversations";
const SHOWN: &str = "shown";
/// How many entries of a history one record has.
const CHUNK: u64 = 64;

pub(super) fn key_package_name(id: &str) -> String {
    format!("key-package/{id}")
}

fn name(conversation: &str) -> String {
    format!("conversation/{conversation}")
}

/// Where the tree of an epoch is, which is stored apart: messages leave it as it is.
fn tree_name(conversation: &str, epoch: u64) -> String {
    format!("tree/{conversation}/{epoch}")
}

fn history_name(conversation: &str, chunk: u64) -> String {
    format!("history/{conversation}/{chunk}")
}

pub(super) fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(MAX_INTEGER))
}

pub(super) fn number(m: &mut Members<'_>, name: &str) -> Result<u64> {
    let n = m.optional_int(name)?.ok_or_else(|| Error::about(Code::MemberMissing, name))?;
    u64::try_from(n).map_err(|_| Error::about(Code::MemberType, name))
}

pub(super) fn version(m: &mut Members<'_>) -> Result<()> {
    if number(m, "version")? == 1 { Ok(()) } else { Err(Code::VersionUnknown.into()) }
}

/// Texts or names as an array; [`texts`] and [`identities`] read it.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    Value::Array(items.into_iter().map(Value::from).collect())
}

pub(super) fn texts(values: &[Value]) -> Result<Vec<String>> {
    let text = |v: &Value| v.as_str().map(ToOwned::to_owned).ok_or(Code::MemberType.into());
    values.iter().map(text).collect()
}

pub(super) fn identities(values: &[Value]) -> Result<Vec<Identity>> {
    values.iter().map(|v| Identity::from_canonical(v.as_str().unwrap_or_default())).collect()
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    Value::String(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

pub(super) fn unbase64(m: &mut Members<'_>, name: &str) -> Result<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(m.text(name)?);
    bytes.map_err(|_| Error::about(Code::MemberType, name))
}

/// An object with `null` for what it has not.
pub(super) fn with_nulls(value: Value, names: &[&str]) -> Value {
    let missing = names.iter().filter(|name| value.get(name).is_none());
    let mut members: Vec<_> = missing.map(|name| ((*name).to_owned(), Value::Null)).collect();
    if let Value::Object(there) = value {
        members.extend(there);
    }
    Value::object(members)
}

/// Where a conversation stands for this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One takes part.
    Active,
    /// Somebody whom one never wrote to has begun it.
    Request,
    /// This device was removed, or its owner has left.
    Removed,
}

impl State {
    /// The name in records and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Request => "request",
            Self::Removed => "removed",
        }
    }
}

/// What waits to be posted, or to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// The name of the entry for the server, 32 hex digits.
    pub(super) id: String,
    /// The epoch in which it was encrypted.
    pub(super) epoch: u64,
    /// The ciphertext or the commit.
    pub(super) body: Vec<u8>,
    /// Whether the server has it, so that it only has to come back.
    pub(super) posted: bool,
    pub(super) what: What,
}

impl Outgoing {
    /// Whether its author leaves by it.
    pub(super) fn leaves(&self) -> bool {
        let What::Message(plain) = &self.what else { return false };
        Message::read(plain.as_bytes()).is_ok_and(|message| message.body == Body::Leave)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A message, with its plaintext.
    Message(String),
    /// A commit, with the body of its request.
    Commit(String),
}

/// What is kept of a conversation.
pub(super) struct Record {
    /// 64 hex digits.
    pub(super) id: String,
    pub(super) state: State,
    /// The library's state, secret.
    pub(super) snapshot: Zeroizing<Vec<u8>>,
    /// The epoch of the tree that belongs to it.
    tree: u64,
    /// A tree that is not stored yet, and the epoch of the one in whose place it comes.
    new_tree: Option<(Arc<[u8]>, Option<u64>)>,
    /// The position of the last entry that was taken.
    pub(super) position: u64,
    /// The position of the last commit that was taken.
    pub(super) changed: u64,
    /// The position of the last commit that took effect, or of the one that invited this device.
    pub(super) accepted: u64,
    /// How many messages this device wrote.
    pub(super) count: u64,
    /// How many of them when it renewed its keys last, and when that was.
    pub(super) renewed: (u64, Timestamp),
    /// How many entries the history has.
    pub(super) entries: u64,
    /// The last count of each device that wrote.
    pub(super) counts: Vec<(Identity, u64)>,
    /// The people: those in it, and those who shall be.
    pub(super) people: Vec<Identity>,
    /// Those who have said that they leave, and whose devices are in it still.
    pub(super) left: Vec<Identity>,
    pub(super) outbox: Vec<Outgoing>,
}

impl Record {
    pub(super) fn new(
        id: String,
        state: State,
        group: &Group,
        people: Vec<Identity>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            state,
            snapshot: group.snapshot(),
            tree: group.epoch(),
            new_tree: Some((group.tree(), None)),
            position: 0,
            changed: 0,
            accepted: 0,
            count: 0,
            renewed: (0, now),
            entries: 0,
            counts: Vec::new(),
            people,
            left: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Takes the place of a record of the same conversation, whose history goes on.
    pub(super) fn continues(&mut self, other: &Self) {
        self.entries = other.entries;
        // Others know how far this device had counted.
        self.count = other.count;
        self.renewed.0 = other.count;
        if let Some((_, old)) = &mut self.new_tree {
            *old = Some(other.tree);
        }
    }

    /// Ends it for this device. What was not posted has never been.
    pub(super) fn end(&mut self) {
        let unposted = |out: &&Outgoing| !out.posted && matches!(out.what, What::Message(_));
        let unposted = self.outbox.iter().filter(unposted).count() as u64;
        self.count = self.count.saturating_sub(unposted);
        self.outbox.clear();
        self.state = State::Removed;
    }

    /// Takes over what a group has become.
    pub(super) fn keep(&mut self, group: &Group) {
        self.snapshot = group.snapshot();
        if self.tree != group.epoch() {
            let old = self.new_tree.take().map_or(Some(self.tree), |(_, old)| old);
            self.new_tree = Some((group.tree(), old));
            self.tree = group.epoch();
        }
    }

    fn to_value(&self) -> Value {
        let counts = self.counts.iter().map(|(device, count)| {
            Value::object([("device", device.as_str().into()), ("count", int(*count))])
        });
        let outbox = self.outbox.iter().map(|out| {
            let (kind, text) = match &out.what {
                What::Message(text) => ("message", text),
                What::Commit(text) => ("commit", text),
            };
            Value::object([
                ("id", out.id.as_str().into()),
                ("epoch", int(out.epoch)),
                ("body", base64(&out.body)),
                ("posted", Value::Bool(out.posted)),
                (kind, text.as_str().into()),
            ])
        });
        Value::object([
            ("version", Value::Int(1)),
            ("id", self.id.as_str().into()),
            ("state", self.state.as_str().into()),
            ("snapshot", base64(&self.snapshot)),
            ("tree", int(self.tree)),
            ("position", int(self.position)),
            ("changed", int(self.changed)),
            ("accepted", int(self.accepted)),
            ("count", int(self.count)),
            ("renewed", int(self.renewed.0)),
            ("renewed_at", Value::String(self.renewed.1.to_string())),
            ("entries", int(self.entries)),
            ("counts", Value::Array(counts.collect())),
            ("people", list(self.people.iter().map(Identity::as_str))),
            ("left", list(self.left.iter().map(Identity::as_str))),
            ("outbox", Value::Array(outbox.collect())),
        ])
    }

    fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        version(&mut m)?;
        let state = match m.text("state")? {
            "active" => State::Active,
            "request" => State::Request,
            "removed" => State::Removed,
            _ => return Err(Error::about(Code::MemberType, "state")),
        };
        let counts = m.array("counts")?.iter().map(|value| {
            let mut m = Members::of(value)?;
            let device = Identity::from_canonical(m.text("device")?)?;
            let count = number(&mut m, "count")?;
            m.finish()?;
            Ok((device, count))
        });
        let counts = counts.collect::<Result<_>>()?;
        let outbox = m.array("outbox")?.iter().map(|value| {
            let mut m = Members::of(value)?;
            let what = match (m.optional_text("message")?, m.optional_text("commit")?) {
                (Some(text), None) => What::Message(text.to_owned()),
                (None, Some(text)) => What::Commit(text.to_owned()),
                _ => return Err(Error::about(Code::MemberMissing, "message")),
            };
            let out = Outgoing {
                id: m.text("id")?.to_owned(),
                epoch: number(&mut m, "epoch")?,
                body: unbase64(&mut m, "body")?,
                posted: *m.required("posted")? == Value::Bool(true),
                what,
            };
            m.finish()?;
            Ok(out)
        });
        let outbox = outbox.collect::<Result<_>>()?;
        let record = Self {
            id: m.text("id")?.to_owned(),
            state,
            snapshot: Zeroizing::new(unbase64(&mut m, "snapshot")?),
            tree: number(&mut m, "tree")?,
            new_tree: None,
            position: number(&mut m, "position")?,
            changed: number(&mut m, "changed")?,
            accepted: number(&mut m, "accepted")?,
            count: number(&mut m, "count")?,
            renewed: (number(&mut m, "renewed")?, m.text("renewed_at")?.parse()?),
            entries: number(&mut m, "entries")?,
            counts,
            people: identities(m.array("people")?)?,
            left: match m.optional("left").map(Value::as_array) {
                Some(Some(left)) => identities(left)?,
                _ => Vec::new(),
            },
            outbox,
        };
        m.finish()?;
        Ok(record)
    }
}

/// What an entry of a history is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A message's text.
    Text(String),
    /// A message of a kind that this version does not know.
    Unknown(String),
    /// Somebody joined.
    Joined(Identity),
    /// Somebody's device joined or went, or the conversation changed otherwise.
    Changed,
    /// Somebody left, or was removed.
    Left(Identity),
    /// What came could not be taken: why.
    Refused(Code),
}

impl EntryKind {
    /// Its name in records and output, and what it is about.
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Text(text) => ("text", Some(text)),
            Self::Unknown(kind) => ("unknown", Some(kind)),
            Self::Joined(who) => ("joined", Some(who.as_str())),
            Self::Changed => ("changed", None),
            Self::Left(who) => ("left", Some(who.as_str())),
            Self::Refused(code) => ("refused", Some(code.as_str())),
        }
    }
}

/// An entry of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// When its author wrote it, by the author's clock; or when it was taken.
    pub at: Timestamp,
    /// Who wrote it.
    pub from: Option<Identity>,
    /// With which device.
    pub device: Option<Identity>,
    /// The message's name.
    pub id: Option<MessageId>,
    /// What it is.
    pub kind: EntryKind,
    /// Why it is not to be trusted, if it is not: its device was revoked by then.
    pub doubt: Option<Code>,
}

impl Entry {
    /// What records and output have in common: all but the place and the kind.
    fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = vec![("at", Value::String(self.at.to_string()))];
        members.extend(self.from.as_ref().map(|i| ("from", i.as_str().into())));
        members.extend(self.device.as_ref().map(|i| ("device", i.as_str().into())));
        members.extend(self.id.map(|id| ("id", Value::String(id.to_string()))));
        members.extend(self.doubt.map(|code| ("doubt", code.as_str().into())));
        members
    }

    fn to_value(&self) -> Value {
        let (kind, about) = self.kind.parts();
        let mut members = self.members();
        members.push((kind, about.map_or(Value::Bool(true), Value::from)));
        Value::object(members)
    }

    /// As JSON, for pages: the kind in `kind`, and what it is about, if it is about something, in
    /// `about`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (kind, about) = self.kind.parts();
        let mut members = self.members();
        members.extend([("index", int(self.index)), ("kind", kind.into())]);
        members.extend(about.map(|about| ("about", about.into())));
        with_nulls(Value::object(members), &["from", "device", "id", "doubt"])
    }

    fn from_value(index: u64, value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let identity = |m: &mut Members<'_>, name: &str| {
            m.optional_text(name)?.map(Identity::from_canonical).transpose()
        };
        let code = |m: &mut Members<'_>, name: &str| -> Result<Option<Code>> {
            let text = m.optional_text(name)?;
            text.map(|t| Code::from_name(t).ok_or(Code::MemberType.into())).transpose()
        };
        let (from, device) = (identity(&mut m, "from")?, identity(&mut m, "device")?);
        let kind = if let Some(text) = m.optional_text("text")? {
            EntryKind::Text(text.to_owned())
        } else if let Some(kind) = m.optional_text("unknown")? {
            EntryKind::Unknown(kind.to_owned())
        } else if let Some(who) = identity(&mut m, "joined")? {
            EntryKind::Joined(who)
        } else if let Some(who) = identity(&mut m, "left")? {
            EntryKind::Left(who)
        } else if let Some(code) = code(&mut m, "refused")? {
            EntryKind::Refused(code)
        } else {
            m.required("changed")?;
            EntryKind::Changed
        };
        let entry = Self {
            index,
            at: m.text("at")?.parse()?,
            from,
            device,
            id: m.optional_text("id")?.map(MessageId::parse).transpose()?,
            kind,
            doubt: code(&mut m, "doubt")?,
        };
        m.finish()?;
        Ok(entry)
    }
}

impl<P: Platform> Client<P> {
    /// The names of the conversations.
    pub(super) async fn conversation_ids(&self) -> Result<Vec<String>> {
        let Some(value) = self.load(CONVERSATIONS).await? else { return Ok(Vec::new()) };
        texts(value.as_array().ok_or(Code::StateRefused)?)
    }

    /// Before its record is stored, so that none is ever lost sight of.
    pub(super) async fn list_conversation(&self, id: &str) -> Result<()> {
        let mut all = self.conversation_ids().await?;
        if all.iter().any(|other| other == id) {
            return Ok(());
        }
        all.push(id.to_owned());
        self.save(CONVERSATIONS, &list(all.iter().map(String::as_str))).await
    }

    pub(super) async fn load_record(&self, id: &str) -> Result<Option<Record>> {
        let name = name(id);
        let Some(value) = self.load(&name).await? else { return Ok(None) };
        let refused = |_| Error::about(Code::StateRefused, &name);
        Record::from_value(&value).map(Some).map_err(refused)
    }

    /// Stores a conversation, its history first: what the record does not count does not exist.
    pub(super) async fn save_record(&self, record: &mut Record, new: &[Entry]) -> Result<()> {
        let mut entries = new.iter();
        let mut next = entries.next();
        while next.is_some() {
            let chunk = record.entries / CHUNK;
            let mut list = self.load_chunk(&record.id, chunk).await?;
            list.truncate(usize::try_from(record.entries % CHUNK).unwrap_or(0));
            while let Some(entry) = next.filter(|_| (list.len() as u64) < CHUNK) {
                list.push(entry.to_value());
                record.entries += 1;
                next = entries.next();
            }
            self.save(&history_name(&record.id, chunk), &Value::Array(list)).await?;
        }
        if let Some((tree, _)) = &record.new_tree {
            self.save_bytes(&tree_name(&record.id, record.tree), tree).await?;
        }
        self.save(&name(&record.id), &record.to_value()).await?;
        // What it was is of no use any more. Where this is cut off, it stays, and harms nobody.
        if let Some((_, Some(old))) =
            record.new_tree.take().filter(|(_, old)| *old != Some(record.tree))
        {
            self.platform.save(&tree_name(&record.id, old), None).await?;
        }
        Ok(())
    }

    pub(super) async fn group(&self, record: &Record) -> Result<Group> {
        let name = tree_name(&record.id, record.tree);
        let tree = self.load_bytes(&name).await?;
        let tree = tree.ok_or_else(|| Error::about(Code::StateRefused, &name))?;
        self.device.load(&record.snapshot, &tree)
    }

    async fn load_chunk(&self, id: &str, chunk: u64) -> Result<Vec<Value>> {
        match self.load(&history_name(id, chunk)).await? {
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(Error::about(Code::StateRefused, "history")),
            None => Ok(Vec::new()),
        }
    }

    /// Entries of a history from a place on, at most so many.
    ///
    /// # Errors
    /// `conversation_unknown`, `state_refused`, `storage_failed`.
    pub async fn entries(&self, conversation: &str, from: u64, most: usize) -> Result<Vec<Entry>> {
        let record = self.load_record(conversation).await?;
        let record = record.ok_or_else(|| Error::about(Code::ConversationUnknown, conversation))?;
        let mut all = Vec::new();
        let mut index = from;
        while index < record.entries && all.len() < most {
            let chunk = self.load_chunk(conversation, index / CHUNK).await?;
            let skip = usize::try_from(index % CHUNK).unwrap_or(0);
            let left = usize::try_from(record.entries - index).unwrap_or(usize::MAX);
            let want = left.min(most - all.len());
            let before = index;
            for value in chunk.iter().skip(skip).take(want) {
                all.push(Entry::from_value(index, value)?);
                index += 1;
            }
            if index == before {
                return Err(Error::about(Code::StateRefused, "history"));
            }
        }
        Ok(all)
    }

    /// What the user was not shown yet, by conversation: neither by this process nor by another.
    ///
    /// # Errors
    /// `state_refused`, `storage_failed`.
    pub async fn news(&self) -> Result<Vec<(String, Vec<Entry>)>> {
        let shown = self.load(SHOWN).await?;
        let mut all = Vec::new();
        for id in self.conversation_ids().await? {
            let Some(record) = self.load_record(&id).await? else { continue };
            let from = shown.as_ref().and_then(|s| s.get(&id)).and_then(Value::as_int);
            let from = from.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
            if from < record.entries {
                all.push((id.clone(), self.entries(&id, from, usize::MAX).await?));
            }
        }
        Ok(all)
    }

    /// The user was shown a conversation's history up to before this place.
    ///
    /// # Errors
    /// `state_refused`, `storage_failed`.
    pub async fn shown(&self, conversation: &str, until: u64) -> Result<()> {
        let mut members = match self.load(SHOWN).await? {
            Some(Value::Object(members)) => members,
            _ => Vec::new(),
        };
        members.retain(|(id, _)| id != conversation);
        members.push((conversation.into(), int(until)));
        self.save(SHOWN, &Value::object(members)).await
    }
}
