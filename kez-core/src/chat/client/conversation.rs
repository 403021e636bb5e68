//! Conversations, as people use them: begin, write, add and remove.

use super::{
    Client, Entry, EntryKind, Platform, State,
    gate::Plan,
    record::{self, Outgoing, Record, What},
};
use crate::{
    Code, Error, Identity, Result,
    chat::{About, Body, Change, Group, Handle, Kind, Message, MessageId, seal, suite::fill},
    hex,
    json::Value,
};
use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// How often a change is tried again when others were first.
const MAX_ROUNDS: usize = 20;
/// How many devices one commit invites: each invitation carries the whole tree.
const MAX_INVITED: usize = 8;

/// A conversation, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Its name, 64 hex digits.
    pub id: String,
    /// Where it stands for this device.
    pub state: State,
    /// What it is.
    pub about: About,
    /// The people in it, by primary.
    pub people: Vec<Identity>,
    /// How many devices they have in it.
    pub devices: usize,
    /// How many changes there were.
    pub epoch: u64,
    /// How many entries its history has.
    pub entries: u64,
    /// How many messages wait to be posted.
    pub waiting: usize,
}

impl<P: Platform> Client<P> {
    pub(super) fn group(&self, record: &Record) -> Result<Group> {
        self.device.load(&record.snapshot)
    }

    pub(super) async fn record(&self, conversation: &str) -> Result<Record> {
        let record = self.load_record(conversation).await?;
        record.ok_or_else(|| Error::about(Code::ConversationUnknown, conversation))
    }

    /// The conversations.
    ///
    /// # Errors
    /// `state_refused`, `storage_failed`.
    pub async fn conversations(&self) -> Result<Vec<Overview>> {
        let mut all = Vec::new();
        for id in self.conversation_ids().await? {
            // One that was listed, and whose making was cut off.
            let Some(record) = self.load_record(&id).await? else { continue };
            let group = self.group(&record)?;
            let members = group.members()?;
            let mut people: Vec<Identity> = Vec::new();
            for member in &members {
                if !people.contains(member.primary()) {
                    people.push(member.primary().clone());
                }
            }
            all.push(Overview {
                id,
                state: record.state,
                about: group.about()?,
                people,
                devices: members.len(),
                epoch: group.epoch(),
                entries: record.entries,
                waiting: record.outbox.iter().filter(|out| !out.posted).count(),
            });
        }
        Ok(all)
    }

    /// The conversation with somebody; it is begun if there is none. If both sides began one,
    /// both take the one whose name comes first.
    ///
    /// # Errors
    /// As [`Client::resolve`]; `key_packages_spent` if the person has no device yet.
    pub async fn direct(&mut self, handle: &Handle) -> Result<String> {
        let contact = self.resolve(handle).await?;
        let mut found: Option<String> = None;
        for overview in self.conversations().await? {
            let about = &overview.about;
            let same = about.kind == Kind::Direct
                && overview.state != State::Removed
                && about.people.contains(&contact.primary)
                && (about.people.len() == 2 || self.is_me(&contact.primary));
            if same && found.as_ref().is_none_or(|other| overview.id < *other) {
                found = Some(overview.id);
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        let mut people = vec![self.me().clone()];
        if !self.is_me(&contact.primary) {
            people.push(contact.primary.clone());
        }
        let about = About { kind: Kind::Direct, name: None, people: people.clone() };
        self.begin(&about, people).await
    }

    /// Begins a group of these people.
    ///
    /// # Errors
    /// As [`Client::direct`]; `text_refused` for a name that none may have.
    pub async fn create_group(&mut self, name: &str, handles: &[Handle]) -> Result<String> {
        let mut people = vec![self.me().clone()];
        for handle in handles {
            let contact = self.resolve(handle).await?;
            if !people.contains(&contact.primary) {
                people.push(contact.primary);
            }
        }
        self.begin(&About::group(name, self.me().clone()), people).await
    }

    async fn begin(&mut self, about: &About, people: Vec<Identity>) -> Result<String> {
        let id = fill::<32>(&self.random)?;
        let group = self.device.create(*id, about, self.now())?;
        let id = hex::encode(&id[..]);
        self.post_conversation(&id).await?;
        self.list_conversation(&id).await?;
        let mut record = Record::new(id.clone(), State::Active, &group, people);
        self.save_record(&mut record, &[]).await?;
        self.settle(&mut record, group).await?;
        Ok(id)
    }

    /// Writes a text. It is stored before it is posted: if the server cannot be reached, it goes
    /// with the next sending or [`Client::sync`].
    ///
    /// # Errors
    /// Those of the gate: `devices_changed`, `contact_changed`, `forked`, `rollback`,
    /// `chain_unreachable`, `device_revoked`; `conversation_unknown`, `text_refused`, `too_large`;
    /// those of the network, after which the text waits.
    pub async fn send(&mut self, conversation: &str, text: &str) -> Result<MessageId> {
        let mut record = self.record(conversation).await?;
        if record.state == State::Removed {
            return Err(Error::about(Code::ConversationUnknown, conversation));
        }
        let group = self.group(&record)?;
        // What cannot be reached now is no reason not to keep what was written.
        let group = match self.settle(&mut record, group).await {
            Ok(group) => group,
            Err(error) if error.code().kind() == crate::Kind::Network => self.group(&record)?,
            Err(error) => return Err(error),
        };
        let mut group = group;
        let id = MessageId::from_bytes(*fill(&self.random)?);
        let message = Message {
            id,
            at: self.now(),
            count: record.count + 1,
            body: Body::Text(text.into()),
            head: self.own_head().await,
        };
        let plaintext = message.to_plaintext()?;
        // While a change of one's own waits, nothing can be encrypted yet; the flush does it.
        let (body, epoch) =
            if group.waits() { (Vec::new(), 0) } else { (group.encrypt(&message)?, group.epoch()) };
        record.snapshot = group.snapshot();
        record.count += 1;
        // One who answers takes part.
        record.state = State::Active;
        let name = hex::encode(&fill::<16>(&self.random)?[..]);
        let what = What::Message(plaintext);
        record.outbox.push(Outgoing { id: name, epoch, body, posted: false, what });
        let entry = Entry {
            index: record.entries,
            at: message.at,
            from: Some(self.me().clone()),
            device: Some(self.device.secret().public().identity().clone()),
            id: Some(id),
            kind: EntryKind::Text(text.into()),
            doubt: None,
        };
        self.save_record(&mut record, &[entry]).await?;
        self.flush(&mut record, &mut group).await?;
        Ok(id)
    }

    /// Adds somebody to a group.
    ///
    /// # Errors
    /// `commit_refused` if one may not; as [`Client::send`].
    pub async fn add(&mut self, conversation: &str, handle: &Handle) -> Result<()> {
        let contact = self.resolve(handle).await?;
        let mut record = self.record(conversation).await?;
        let group = self.group(&record)?;
        let about = group.about()?;
        if about.kind == Kind::Direct || !about.people.contains(self.me()) {
            return Err(Error::about(Code::CommitRefused, "only admins of groups add people"));
        }
        if !record.people.contains(&contact.primary) {
            record.people.push(contact.primary);
        }
        self.settle(&mut record, group).await.map(drop)
    }

    /// Removes somebody from a group, with all devices.
    ///
    /// # Errors
    /// `commit_refused` if one may not; as [`Client::send`].
    pub async fn remove(&mut self, conversation: &str, handle: &Handle) -> Result<()> {
        let contact = self.contacts().await?.into_iter().find(|c| c.handle == *handle);
        let primary = contact.ok_or_else(|| Error::about(Code::HandleUnknown, handle))?.primary;
        let mut record = self.record(conversation).await?;
        let group = self.group(&record)?;
        let mut group = self.settle(&mut record, group).await?;
        record.people.retain(|person| *person != primary);
        for _ in 0..MAX_ROUNDS {
            let gone = group.members()?.into_iter().filter(|m| *m.primary() == primary);
            let plan =
                Plan { remove: gone.map(|m| m.device().clone()).collect(), ..Plan::default() };
            if plan.remove.is_empty() {
                return Ok(());
            }
            group = self.change(&mut record, group, plan).await?;
        }
        Err(Error::about(Code::CommitConflict, conversation))
    }

    /// Brings a conversation to where it may be written to: takes what is new, posts what waits,
    /// and makes the changes that the gate asks for.
    pub(super) async fn settle(&mut self, record: &mut Record, mut group: Group) -> Result<Group> {
        for _ in 0..MAX_ROUNDS {
            self.pull(record, &mut group).await?;
            self.flush(record, &mut group).await?;
            if record.state == State::Removed {
                return Err(Error::about(Code::ConversationUnknown, &record.id));
            }
            let plan = self.gate(record, &group).await?;
            if plan.remove.is_empty() && plan.add.is_empty() {
                return Ok(group);
            }
            let (epoch, only_own) =
                (group.epoch(), plan.remove.is_empty() && plan.add.iter().all(|p| self.is_me(p)));
            group = self.change(record, group, plan).await?;
            // Devices of one's own that cannot be reached yet join another time.
            if only_own && group.epoch() == epoch && !group.waits() {
                return Ok(group);
            }
        }
        Err(Error::about(Code::CommitConflict, &record.id))
    }

    /// Makes a change: prepared, stored, posted, and in force when it comes back by the log.
    async fn change(&mut self, record: &mut Record, mut group: Group, plan: Plan) -> Result<Group> {
        let mut invited = Vec::new();
        for person in &plan.add {
            let devices = self.invite(person, &group).await?;
            if devices.is_empty() && !self.is_me(person) {
                return Err(Error::about(Code::KeyPackagesSpent, person));
            }
            invited.extend(devices);
            if invited.len() >= MAX_INVITED {
                break;
            }
        }
        invited.truncate(MAX_INVITED);
        if invited.is_empty() && plan.remove.is_empty() {
            return Ok(group);
        }
        let change = Change {
            add: invited.iter().map(|i| i.key_package.clone()).collect(),
            remove: plan.remove,
            about: None,
            evidence: plan.evidence,
        };
        let mut recipients = vec![self.account.handle.to_string()];
        let staying = group.members()?.into_iter().filter(|m| !change.remove.contains(m.device()));
        let mut people: Vec<Identity> = staying.map(|m| m.primary().clone()).collect();
        people.dedup();
        for person in people.iter().filter(|p| !self.is_me(p)) {
            let contact = self.contact(person).await?;
            let unknown = || Error::about(Code::HandleUnproven, person);
            recipients.push(contact.ok_or_else(unknown)?.handle.to_string());
        }
        recipients.extend(invited.iter().map(|i| i.handle.to_string()));
        recipients.sort();
        recipients.dedup();
        let commit = group.commit(&change, self.now())?;
        let mut welcomes = Vec::new();
        if let Some(welcome) = &commit.welcome {
            for one in &invited {
                let to = one.device.as_str();
                let sealed = seal(&one.sealed_key, "welcome", to, welcome, &self.random)?;
                welcomes.push(Value::object([
                    ("handle", Value::from(one.handle.as_str())),
                    ("device", to.into()),
                    ("body", record::base64(&sealed)),
                ]));
            }
        }
        let id = hex::encode(&fill::<16>(&self.random)?[..]);
        let request = Value::object([
            ("expect", record::int(record.changed)),
            ("id", Value::from(id.as_str())),
            ("body", record::base64(&commit.message)),
            ("welcomes", Value::Array(welcomes)),
            ("recipients", Value::Array(recipients.iter().map(|r| r.as_str().into()).collect())),
        ]);
        let out = Outgoing {
            id,
            epoch: group.epoch(),
            body: commit.message,
            posted: false,
            what: What::Commit(request.to_canonical()),
        };
        record.snapshot = group.snapshot();
        // Before anything that waits: it was prepared for this very epoch.
        record.outbox.insert(0, out);
        self.save_record(record, &[]).await?;
        self.flush(record, &mut group).await?;
        Ok(group)
    }

    /// Posts what waits, in order. Doing so twice is doing it once: the server knows the names.
    pub(super) async fn flush(&mut self, record: &mut Record, group: &mut Group) -> Result<()> {
        let (mut at, mut posted) = (0, false);
        while let Some(out) = record.outbox.get(at).cloned() {
            match out.what {
                What::Message(_) if out.posted => at += 1,
                What::Commit(request) => {
                    if !self.post_commit(&record.id, &request).await? {
                        group.abandon()?;
                        record.outbox.retain(|other| other.id != out.id);
                        record.snapshot = group.snapshot();
                        self.save_record(record, &[]).await?;
                    }
                    // It takes effect where it stands in the log.
                    self.pull(record, group).await?;
                    // Whatever became of it, it waits no more, unless the log is behind.
                    if record.outbox.get(at).is_some_and(|other| other.id == out.id) {
                        return Err(Error::about(Code::MessageMissing, &record.id));
                    }
                }
                What::Message(plaintext) => {
                    let mut body = out.body;
                    if out.epoch != group.epoch() {
                        // Who has gone meanwhile shall not read it.
                        let message = Message::read(plaintext.as_bytes())?;
                        body = group.encrypt(&message)?;
                        if let Some(own) = record.outbox.get_mut(at) {
                            own.body.clone_from(&body);
                            own.epoch = group.epoch();
                        }
                        record.snapshot = group.snapshot();
                        self.save_record(record, &[]).await?;
                    }
                    match self.post_message(&record.id, &out.id, &body).await {
                        Ok(()) => {}
                        // It was posted before, in an earlier epoch: it comes back by the log.
                        Err(error) if error.code() == Code::MessageRefused => {}
                        Err(error) => return Err(error),
                    }
                    if let Some(own) = record.outbox.get_mut(at) {
                        own.posted = true;
                    }
                    (at, posted) = (at + 1, true);
                }
            }
        }
        if posted { self.save_record(record, &[]).await } else { Ok(()) }
    }

    /// Takes what is new in a conversation, from its log.
    async fn pull(&mut self, record: &mut Record, group: &mut Group) -> Result<()> {
        loop {
            let items = self.get_log(&record.id, record.position).await?;
            if items.is_empty() {
                return Ok(());
            }
            for item in items {
                self.take_entry(record, group, &item).await?;
            }
        }
    }
}
