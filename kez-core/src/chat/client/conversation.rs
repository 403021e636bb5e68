//! Conversations, as people use them: begin, write, add and remove.

use super::{
    Client, Entry, EntryKind, Platform, State,
    gate::Plan,
    record::{self, Outgoing, Record, What, with_nulls},
};
use crate::{
    Code, Error, Identity, Result,
    chat::{
        About, Body, Change, Group, Handle, Kind, Member, Message, MessageId, seal, suite::fill,
    },
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
/// After how many messages of one's own, and how many seconds, a device renews its keys: then
/// whoever had stolen its state can read no further.
const RENEW_MESSAGES: u64 = 200;
const RENEW_SECONDS: i64 = 86_400;
/// The epoch of what was not encrypted yet.
const NEVER: u64 = crate::json::MAX_INTEGER.unsigned_abs();
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

impl Overview {
    /// As JSON, for pages.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::object([
            ("id", Value::from(self.id.as_str())),
            ("state", self.state.as_str().into()),
            ("about", with_nulls(self.about.to_value(), &["name"])),
            ("people", record::list(self.people.iter().map(Identity::as_str))),
            ("devices", record::int(self.devices as u64)),
            ("epoch", record::int(self.epoch)),
            ("entries", record::int(self.entries)),
            ("waiting", record::int(self.waiting as u64)),
        ])
    }
}

/// These people, and whose devices the members are.
pub(super) fn people_of<'a>(
    mut people: Vec<Identity>,
    members: impl IntoIterator<Item = &'a Member>,
) -> Vec<Identity> {
    for member in members {
        if !people.contains(member.primary()) {
            people.push(member.primary().clone());
        }
    }
    people
}

impl<P: Platform> Client<P> {
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
            let group = self.group(&record).await?;
            let members = group.members()?;
            all.push(Overview {
                id,
                state: record.state,
                about: group.about()?,
                people: people_of(Vec::new(), &members),
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
        let mut record = Record::new(id.clone(), State::Active, &group, people, self.now());
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
        let group = self.group(&record).await?;
        // What cannot be reached now is no reason not to keep what was written. But nothing is
        // encrypted, let alone posted, before the gate was passed.
        self.head.set(None);
        let settled = match self.settle(&mut record, group).await {
            Err(error) if error.code().kind() != crate::Kind::Network => return Err(error),
            other => other,
        };
        let (id, _) = self.write(&mut record, settled, Body::Text(text.into())).await?;
        Ok(id)
    }

    /// Stores a message, then posts it.
    async fn write(
        &mut self,
        record: &mut Record,
        settled: Result<Group>,
        body: Body,
    ) -> Result<(MessageId, Group)> {
        let kind = match &body {
            Body::Text(text) => EntryKind::Text(text.clone()),
            Body::Leave => EntryKind::Left(self.me().clone()),
            Body::Unknown(name) => return Err(Error::about(Code::TypeUnknown, name)),
        };
        let id = MessageId::from_bytes(*fill(&self.random)?);
        let message = Message {
            id,
            at: self.now(),
            count: record.count + 1,
            body,
            head: self.own_head().await,
        };
        let what = What::Message(message.to_plaintext()?);
        record.count += 1;
        // One who answers takes part.
        record.state = State::Active;
        let name = hex::encode(&fill::<16>(&self.random)?[..]);
        let (body, epoch) = (Vec::new(), NEVER);
        record.outbox.push(Outgoing { id: name, epoch, body, posted: false, what });
        let entry = Entry {
            index: record.entries,
            at: message.at,
            from: Some(self.me().clone()),
            device: Some(self.device.secret().public().identity().clone()),
            id: Some(id),
            kind,
            doubt: None,
        };
        self.save_record(record, &[entry]).await?;
        let mut group = settled?;
        self.post_waiting(record, &mut group).await?;
        Ok((id, group))
    }

    /// Leaves a group, with all devices. Its last admin makes the first of the others one before.
    ///
    /// # Errors
    /// `commit_refused` for a conversation of two people; as [`Client::send`].
    pub async fn leave(&mut self, conversation: &str) -> Result<()> {
        let mut record = self.record(conversation).await?;
        let mut group = self.group(&record).await?;
        if group.about()?.kind == Kind::Direct {
            return Err(Error::about(Code::CommitRefused, "of two people none ever leaves"));
        }
        self.head.set(None);
        for _ in 0..MAX_ROUNDS {
            group = self.settle(&mut record, group).await?;
            let mut about = group.about()?;
            let others = people_of(Vec::new(), &group.members()?);
            let mut others = others.into_iter().filter(|person| !self.is_me(person));
            about.people.retain(|person| !self.is_me(person));
            if about.people.is_empty() {
                about.people.extend(others.next());
            }
            if about.people.is_empty() || !group.about()?.has_admin(self.me()) {
                // One who was cut off has said it already.
                if record.outbox.iter().any(Outgoing::leaves) {
                    self.post_waiting(&mut record, &mut group).await?;
                } else {
                    (_, group) = self.write(&mut record, Ok(group), Body::Leave).await?;
                }
                // One has left when one's word stands in the log.
                return self.pull(&mut record, &mut group, u64::MAX).await;
            }
            let plan = Plan { about: Some(about), ..Plan::default() };
            group = self.change(&mut record, group, plan).await?;
        }
        Err(Error::about(Code::CommitConflict, conversation))
    }

    /// Adds somebody to a group.
    ///
    /// # Errors
    /// `commit_refused` if one may not; as [`Client::send`].
    pub async fn add(&mut self, conversation: &str, handle: &Handle) -> Result<()> {
        let contact = self.resolve(handle).await?;
        let mut record = self.record(conversation).await?;
        let group = self.group(&record).await?;
        if !group.about()?.has_admin(self.me()) {
            return Err(Error::about(Code::CommitRefused, "only admins of groups add people"));
        }
        if !record.people.contains(&contact.primary) {
            record.people.push(contact.primary);
        }
        self.settle(&mut record, group).await.map(drop)
    }

    /// Renews this device's keys in a conversation, which happens by itself from time to time.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn renew(&mut self, conversation: &str) -> Result<()> {
        let mut record = self.record(conversation).await?;
        let mut group = self.group(&record).await?;
        for _ in 0..MAX_ROUNDS {
            group = self.settle(&mut record, group).await?;
            let before = record.renewed;
            group =
                self.change(&mut record, group, Plan { renew: true, ..Plan::default() }).await?;
            if record.renewed != before {
                return Ok(());
            }
        }
        Err(Error::about(Code::CommitConflict, conversation))
    }

    /// Removes somebody from a group, with all devices.
    ///
    /// # Errors
    /// `commit_refused` if one may not; as [`Client::send`].
    pub async fn remove(&mut self, conversation: &str, handle: &Handle) -> Result<()> {
        let contact = self.contacts().await?.into_iter().find(|c| c.handle == *handle);
        let primary = contact.ok_or_else(|| Error::about(Code::HandleUnknown, handle))?.primary;
        let mut record = self.record(conversation).await?;
        let group = self.group(&record).await?;
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

    /// Brings a conversation to where it may be written to: takes what is new, and makes the
    /// changes that the gate asks for.
    pub(super) async fn settle(&mut self, record: &mut Record, mut group: Group) -> Result<Group> {
        for _ in 0..MAX_ROUNDS {
            self.pull(record, &mut group, u64::MAX).await?;
            self.post_commit_that_waits(record, &mut group).await?;
            if record.state == State::Removed {
                return Err(Error::about(Code::ConversationUnknown, &record.id));
            }
            let plan = self.gate(record, &group).await?;
            if plan.remove.is_empty() && plan.add.is_empty() {
                let (count, at) = record.renewed;
                let old = self.now().seconds() - at.seconds() > RENEW_SECONDS;
                if record.count - count < RENEW_MESSAGES && (!old || record.count == count) {
                    return Ok(group);
                }
                let plan = Plan { renew: true, ..plan };
                group = self.change(record, group, plan).await?;
                continue;
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
        if invited.is_empty() && plan.remove.is_empty() && plan.about.is_none() && !plan.renew {
            return Ok(group);
        }
        let change = Change {
            add: invited.iter().map(|i| i.key_package.clone()).collect(),
            remove: plan.remove,
            about: plan.about,
            evidence: plan.evidence,
        };
        let mut recipients = vec![self.account.handle.to_string()];
        let members = group.members()?;
        let staying = members.iter().filter(|m| !change.remove.contains(m.device()));
        let people = people_of(Vec::new(), staying);
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
            ("recipients", record::list(recipients.iter().map(String::as_str))),
        ]);
        let out = Outgoing {
            id,
            epoch: group.epoch(),
            body: commit.message,
            posted: false,
            what: What::Commit(request.to_canonical()),
        };
        record.keep(&group);
        record.outbox.push(out);
        self.save_record(record, &[]).await?;
        self.post_commit_that_waits(record, &mut group).await?;
        Ok(group)
    }

    /// Posts a commit that was stored. Doing so twice is doing it once: the server knows its name.
    async fn post_commit_that_waits(
        &mut self,
        record: &mut Record,
        group: &mut Group,
    ) -> Result<()> {
        let commit = record.outbox.iter().find_map(|out| match &out.what {
            What::Commit(request) => Some((out.id.clone(), request.clone())),
            What::Message(_) => None,
        });
        let Some((id, request)) = commit else { return Ok(()) };
        if !self.post_commit(&record.id, &request).await? {
            group.abandon()?;
            record.outbox.retain(|out| out.id != id);
            record.keep(group);
            self.save_record(record, &[]).await?;
        }
        // It takes effect where it stands in the log.
        self.pull(record, group, u64::MAX).await?;
        if record.outbox.iter().any(|out| out.id == id) {
            return Err(Error::about(Code::MessageMissing, &record.id));
        }
        Ok(())
    }

    /// Encrypts and posts the messages that wait, in order, once the gate was passed.
    pub(super) async fn post_waiting(
        &mut self,
        record: &mut Record,
        group: &mut Group,
    ) -> Result<()> {
        let epoch = group.epoch();
        for at in 0..record.outbox.len() {
            let Some(Outgoing { id, epoch: then, body, posted: false, what: What::Message(plain) }) =
                record.outbox.get(at).cloned()
            else {
                continue;
            };
            let mut body = body;
            // Who has gone meanwhile shall not read it, and who has come shall.
            if then != epoch {
                body = group.encrypt(&Message::read(plain.as_bytes())?)?;
                if let Some(own) = record.outbox.get_mut(at) {
                    own.body.clone_from(&body);
                    own.epoch = epoch;
                }
                record.keep(group);
                self.save_record(record, &[]).await?;
            }
            match self.post_message(&record.id, &id, &body).await {
                Ok(()) => {}
                // It was posted before, in an earlier epoch: it comes back by the log.
                Err(error) if error.code() == Code::MessageRefused => {}
                Err(error) => return Err(error),
            }
            if let Some(own) = record.outbox.get_mut(at) {
                own.posted = true;
            }
        }
        self.save_record(record, &[]).await
    }

    /// Takes what is new in a conversation before a position, from its log. A page of the log can
    /// have fewer entries than the server has; it ends with a page that has nothing new.
    pub(super) async fn pull(
        &mut self,
        record: &mut Record,
        group: &mut Group,
        before: u64,
    ) -> Result<()> {
        while record.state != State::Removed && record.position + 1 < before {
            let position = record.position;
            for item in self.get_log(&record.id, position).await? {
                if item.position < before {
                    self.take_entry(record, group, &item).await?;
                }
            }
            if record.position == position {
                break;
            }
        }
        Ok(())
    }
}
