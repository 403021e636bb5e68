//! What comes in: from the inbox, in its order.

use super::{
    Client, Entry, EntryKind, Platform, State,
    conversation::people_of,
    gate::devices,
    record::{self, Record, What},
    server::{Item, ItemKind},
};
use crate::{
    Code, Error, Identity, Result,
    chat::{Body, Group, KeyPackage, Kind, Message, Received, open},
    json::Value,
};
use alloc::vec::Vec;

/// What the gate refuses about one conversation stops no other one: whoever writes there next is
/// told. What cannot be reached now ends the work only after the others had their turn.
fn keep(before: Option<Error>, error: Error) -> Result<Option<Error>> {
    match error.code().kind() {
        crate::Kind::Network => Ok(before.or(Some(error))),
        crate::Kind::Storage => Err(error),
        _ => Ok(before),
    }
}

impl<P: Platform> Client<P> {
    /// Takes everything that waits in the inbox, and posts what waits here. What was taken is
    /// stored, then acknowledged; [`Client::news`] tells it.
    ///
    /// # Errors
    /// Those of the server and of the storage. What was taken before is kept.
    pub async fn sync(&mut self) -> Result<()> {
        loop {
            let (items, last) = self.get_inbox(self.account.cursor).await?;
            let Some(end) = items.last().map(|item| item.seq) else { break };
            if end <= self.account.cursor {
                return Err(Error::about(Code::ResponseRefused, "the inbox goes backwards"));
            }
            for item in &items {
                self.take(item).await?;
            }
            self.advance(end).await?;
            if end >= last {
                break;
            }
        }
        let mut failed = None;
        for id in self.conversation_ids().await? {
            let Some(mut record) = self.load_record(&id).await? else { continue };
            let waits = record.outbox.iter().any(|out| !out.posted);
            if record.state != State::Removed && (waits || !record.left.is_empty()) {
                let group = self.group(&record).await?;
                if !waits && !group.about()?.has_admin(self.me()) {
                    continue;
                }
                match self.settle(&mut record, group).await {
                    Ok(mut group) => self.post_waiting(&mut record, &mut group).await?,
                    Err(error) => failed = keep(failed, error)?,
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Brings devices of one's own that are new on the chain into the conversations, and takes
    /// out those that have ended there, without anything being written.
    ///
    /// # Errors
    /// Those of the server and of the storage.
    pub async fn admit(&mut self) -> Result<()> {
        let own = devices(&self.own_chain().await?, self.now());
        let mut failed = None;
        for id in self.conversation_ids().await? {
            let Some(mut record) = self.load_record(&id).await? else { continue };
            if record.state != State::Active {
                continue;
            }
            let group = self.group(&record).await?;
            let mut there: Vec<Identity> = group
                .members()?
                .into_iter()
                .filter(|member| self.is_me(member.primary()))
                .map(|member| member.device().clone())
                .collect();
            there.sort();
            if there != own
                && let Err(error) = self.settle(&mut record, group).await
            {
                failed = keep(failed, error)?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes an item that the stream pushed: the data of an event `item`. If others are missing
    /// before it, they are fetched.
    ///
    /// # Errors
    /// As [`Client::sync`].
    pub async fn pushed(&mut self, data: &[u8]) -> Result<()> {
        let item = Item::from_value(&Value::parse_foreign(data)?)?;
        if item.seq <= self.account.cursor {
            return Ok(());
        }
        if item.seq > self.account.cursor + 1 {
            return self.sync().await;
        }
        self.take(&item).await?;
        self.advance(item.seq).await
    }

    async fn advance(&mut self, seq: u64) -> Result<()> {
        self.account.cursor = seq;
        self.save_account().await?;
        self.post_ack(seq).await
    }

    /// Remembers for the next acknowledgement which commit of a conversation was accepted last: by
    /// that, the server knows who its members are.
    fn tell_accepted(&mut self, record: &Record, item: &Item) {
        if item.kind != ItemKind::Message && record.accepted > 0 {
            self.accepted.insert(record.id.clone(), record.accepted);
        }
    }

    async fn take(&mut self, item: &Item) -> Result<()> {
        if item.kind == ItemKind::Welcome {
            return self.welcomed(item).await;
        }
        // Of a conversation that another device of the same person is in, and this one is not.
        let Some(mut record) = self.load_record(&item.conversation).await? else { return Ok(()) };
        if record.state == State::Removed || item.position <= record.position {
            // The log had it before the inbox, or a stop came before the acknowledgement.
            self.tell_accepted(&record, item);
            return Ok(());
        }
        let mut group = self.group(&record).await?;
        // What is missing before it may be in the log.
        if item.position > record.position + 1 {
            self.pull(&mut record, &mut group, item.position).await?;
        }
        self.take_entry(&mut record, &mut group, item).await?;
        self.tell_accepted(&record, item);
        Ok(())
    }

    /// Takes one entry of a conversation, and stores what came of it.
    pub(super) async fn take_entry(
        &mut self,
        record: &mut Record,
        group: &mut Group,
        item: &Item,
    ) -> Result<()> {
        // What comes after one has gone is others' business.
        if record.state == State::Removed || item.position <= record.position {
            return Ok(());
        }
        let mut entries = Vec::new();
        if item.position > record.position + 1 {
            entries.push(self.note(EntryKind::Refused(Code::MessageMissing), None));
        }
        let own = record.outbox.iter().position(|out| out.id == item.id && out.body == item.body);
        let message = own.map(|at| matches!(record.outbox[at].what, What::Message(_)));
        if message == Some(true) {
            // What one wrote oneself is in the history already.
            if let Some(at) = own
                && record.outbox.remove(at).leaves()
            {
                record.end();
            }
        } else {
            match group.process(&item.body) {
                Ok(received) => {
                    if let Some(at) = own {
                        record.outbox.remove(at);
                        record.renewed = (record.count, self.now());
                    }
                    if !matches!(received, Received::Message { .. }) {
                        record.accepted = item.position;
                    }
                    self.received(record, group, received, &mut entries).await?;
                }
                Err(error) if error.code() == Code::StateRefused => return Err(error),
                Err(error) => {
                    entries.push(self.note(EntryKind::Refused(error.code()), None));
                }
            }
            // What was prepared for an epoch that is over.
            let epoch = group.epoch();
            let stale =
                |out: &record::Outgoing| matches!(out.what, What::Commit(_)) && out.epoch != epoch;
            record.outbox.retain(|out| !stale(out));
        }
        record.position = item.position;
        // Whether it is valid or not: the server, which cannot tell, counts it.
        if item.kind == ItemKind::Commit {
            record.changed = item.position;
        }
        record.keep(group);
        for (n, entry) in entries.iter_mut().enumerate() {
            entry.index = record.entries + n as u64;
        }
        self.save_record(record, &entries).await
    }

    fn note(&self, kind: EntryKind, from: Option<Identity>) -> Entry {
        Entry { index: 0, at: self.now(), from, device: None, id: None, kind, doubt: None }
    }

    async fn received(
        &mut self,
        record: &mut Record,
        group: &Group,
        received: Received,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        match received {
            Received::Message { from, message } => {
                let _ = self.learn(&record.id, &[from.primary().clone()]).await;
                self.told_head(&from, &message).await?;
                let Message { id, at, count, body, .. } = message;
                let device = from.device().clone();
                let known = record.counts.iter_mut().find(|(other, _)| *other == device);
                match known {
                    // Written anew by its author, who did not know that it had come.
                    Some((_, last)) if count <= *last => return Ok(()),
                    Some((_, last)) => {
                        if count > *last + 1 {
                            let missing = EntryKind::Refused(Code::MessageMissing);
                            entries.push(self.note(missing, Some(from.primary().clone())));
                        }
                        *last = count;
                    }
                    None => record.counts.push((device.clone(), count)),
                }
                let person = from.primary().clone();
                let doubt = self.doubt(&from).await;
                // A device that was taken from somebody speaks for nobody.
                let leaves =
                    body == Body::Leave && doubt.is_none() && group.about()?.kind == Kind::Group;
                if leaves && self.is_me(&person) {
                    record.end();
                } else if leaves && record.left.contains(&person) {
                    return Ok(());
                } else if leaves {
                    record.people.retain(|other| *other != person);
                    record.left.push(person.clone());
                }
                entries.push(Entry {
                    index: 0,
                    at,
                    from: Some(from.primary().clone()),
                    doubt,
                    device: Some(device),
                    id: Some(id),
                    kind: match body {
                        Body::Text(text) => EntryKind::Text(text),
                        Body::Leave if leaves => EntryKind::Left(person),
                        Body::Leave => EntryKind::Unknown("leave".into()),
                        Body::Unknown(kind) => EntryKind::Unknown(kind),
                    },
                });
            }
            Received::Changed { by, added, removed, .. } => {
                let by = Some(by.primary().clone());
                let mut told: Vec<Identity> = Vec::new();
                for certificate in added {
                    let person = certificate.primary();
                    record.left.retain(|other| other != person);
                    if !record.people.contains(person) {
                        record.people.push(person.clone());
                    }
                    if !told.contains(person) {
                        told.push(person.clone());
                        entries.push(self.note(EntryKind::Joined(person.clone()), by.clone()));
                    }
                }
                let staying = group.members()?;
                for member in removed {
                    let person = member.primary().clone();
                    // Of two people none ever leaves: new devices join.
                    let gone = !staying.iter().any(|m| *m.primary() == person);
                    if gone && group.about()?.kind == Kind::Group {
                        record.people.retain(|other| *other != person);
                    }
                    // Whoever has left said so before.
                    let said = record.left.contains(&person);
                    if gone {
                        record.left.retain(|other| *other != person);
                    }
                    if !told.contains(&person) {
                        told.push(person.clone());
                        if !said {
                            entries.push(self.note(EntryKind::Left(person), by.clone()));
                        }
                    }
                }
                if told.is_empty() {
                    entries.push(self.note(EntryKind::Changed, by));
                }
            }
            Received::Removed { by } => {
                record.end();
                let me = EntryKind::Left(self.me().clone());
                entries.push(self.note(me, Some(by.primary().clone())));
            }
        }
        Ok(())
    }

    /// Keeps the newest head of its author's chain that a message tells.
    async fn told_head(&self, from: &crate::chat::Member, message: &Message) -> Result<()> {
        let Some(head) = message.head else { return Ok(()) };
        let Some(mut contact) = self.contact(from.primary()).await? else { return Ok(()) };
        if contact.head.is_none_or(|known| known.seq < head.seq) {
            contact.head = Some(head);
            self.save_contact(contact).await?;
        }
        Ok(())
    }

    /// Takes an invitation.
    async fn welcomed(&mut self, item: &Item) -> Result<()> {
        let own = self.device.secret().public().identity().clone();
        if item.device.as_deref() != Some(own.as_str()) {
            return Ok(());
        }
        let known = self.load_record(&item.conversation).await?;
        if known.as_ref().is_some_and(|record| record.state != State::Removed) {
            return Ok(());
        }
        // One that cannot be opened has no effect.
        let Ok(welcome) = open(&self.sealed, "welcome", own.as_str(), &item.body) else {
            return Ok(());
        };
        let mut joined = None;
        for id in KeyPackage::ids_in(&welcome).unwrap_or_default() {
            let name = record::key_package_name(&id);
            let Some(data) = self.platform.load(&name).await? else { continue };
            let secret = self.vault.open(&name, &data)?;
            if let Ok((group, spent)) = self.device.join(&welcome, (&id, &secret)) {
                joined = Some((group, spent, name));
            }
        }
        let Some((group, spent, name)) = joined else { return Ok(()) };
        if crate::hex::encode(group.id()) != item.conversation {
            return Ok(());
        }
        let members = group.members()?;
        let people = people_of(Vec::new(), &members);
        let _ = self.learn(&item.conversation, &people).await;
        let mut strange = true;
        for overview in self.conversations().await? {
            let met = |person: &Identity| !self.is_me(person) && overview.people.contains(person);
            strange &= !(overview.state == State::Active && people.iter().any(met));
        }
        // By another device of one's own, or with somebody whom one writes to.
        let about = group.about()?;
        let own_device = about.kind == Kind::Direct && people.len() == 1;
        let sibling = members.iter().any(|m| self.is_me(m.primary()) && *m.device() != own);
        let state = if strange && !own_device && !sibling { State::Request } else { State::Active };
        self.list_conversation(&item.conversation).await?;
        let mut record = Record::new(item.conversation.clone(), state, &group, people, self.now());
        record.position = item.position;
        record.changed = item.position;
        record.accepted = item.position;
        self.tell_accepted(&record, item);
        if let Some(known) = &known {
            record.continues(known);
        }
        let mut entry = self.note(EntryKind::Joined(self.me().clone()), None);
        entry.index = record.entries;
        self.save_record(&mut record, core::slice::from_ref(&entry)).await?;
        // A key package of last resort is used again; the others are not, and are taken away
        // when their conversation is stored.
        if spent {
            self.platform.save(&name, None).await?;
        }
        // Who cannot be reached now refills another time.
        let _ = self.refill().await;
        Ok(())
    }
}
