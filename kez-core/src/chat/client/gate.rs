//! The gate before every sending: the one place where *now* is asked (SPEC.md, "The gate").

use super::{Client, Contact, Platform, conversation::people_of, record::Record, server::Claimed};
use crate::{
    Chain, Code, Envelope, Error, History, Identity, Result,
    chat::{
        About, CAPABILITY, Certificate, Evidence, Group, Handle, KeyPackage, Member, SignedBundle,
        safety_number,
    },
    json::Value,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// For how long an existing conversation goes on without anybody's word on a chain, in seconds.
const GRACE: i64 = 7 * 86_400;
/// How new the word on a chain has to be for something new, in seconds.
const FRESH: i64 = 86_400;

/// What has to happen to a conversation before anything is written to it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) remove: Vec<Identity>,
    pub(super) evidence: Vec<Evidence>,
    /// The people whose devices join: those without any, and one's own further devices.
    pub(super) add: Vec<Identity>,
    /// What the conversation becomes.
    pub(super) about: Option<About>,
    /// Whether this device renews its keys in any case.
    pub(super) renew: bool,
}

/// A device that can be invited.
pub(super) struct Invited {
    pub(super) device: Identity,
    pub(super) handle: Handle,
    pub(super) sealed_key: Vec<u8>,
    pub(super) key_package: Vec<u8>,
}

impl<P: Platform> Client<P> {
    /// Who a handle is: its record, checked against the identity's sigchain, and held against what
    /// was known before.
    ///
    /// # Errors
    /// `handle_unknown`, `handle_unproven`, `contact_changed`, `chain_unreachable`, `forked` and
    /// others of the chain.
    pub async fn resolve(&self, handle: &Handle) -> Result<Contact> {
        let signed = self.get_handle(handle.as_str()).await?;
        let record = signed.record();
        let known = self.contacts().await?.into_iter().find(|c| c.handle == *handle);
        if let Some(known) = &known
            && known.primary != record.primary
        {
            let text = format!("{handle} was {}, and is {} now", known.primary, record.primary);
            return Err(Error::about(Code::ContactChanged, text));
        }
        let now = self.now();
        let contact = known.unwrap_or_else(|| Contact {
            primary: record.primary.clone(),
            handle: handle.clone(),
            sources: record.sources.clone(),
            devices: Vec::new(),
            verified: None,
            checked_at: now.plus(-GRACE),
            head: None,
        });
        let (chain, contact) = self.look(contact, FRESH).await?;
        signed.check(handle, &self.account.server, &chain)?;
        self.save_contact(contact.clone()).await?;
        Ok(contact)
    }

    /// A chain, by the word of its sources and of the server. Also whether nobody could be asked,
    /// so that it is what was seen before.
    async fn ask(
        &self,
        primary: &Identity,
        sources: &[String],
        handle: &Handle,
    ) -> Result<(Chain, bool)> {
        let mut sources = sources.to_vec();
        sources.push(self.chain_url(handle.as_str()));
        match self.platform.history(primary, &sources).await {
            History::Known(known) => {
                let remembered = known.is_remembered();
                Ok((known.chain, remembered))
            }
            History::Forked(_) => Err(Error::about(Code::Forked, primary)),
            History::Unknown(error) => Err(error),
            History::Unchecked | History::Absent => {
                Err(Error::about(Code::ChainUnreachable, primary))
            }
        }
    }

    /// The chain of a contact, with what it tells, if it is new enough and no older than what was
    /// heard of it.
    async fn look(&self, mut contact: Contact, most: i64) -> Result<(Chain, Contact)> {
        let (chain, remembered) =
            self.ask(&contact.primary, &contact.sources, &contact.handle).await?;
        let now = self.now();
        if remembered && now.seconds() - contact.checked_at.seconds() > most {
            return Err(Error::about(Code::ChainUnreachable, &contact.primary));
        }
        if let Some(told) = contact.head {
            match chain.id_at(told.seq) {
                Some(id) if id == told.id => {}
                Some(_) => return Err(Error::about(Code::BeaconMismatch, &contact.primary)),
                None => return Err(Error::about(Code::Rollback, &contact.primary)),
            }
        }
        if !remembered {
            contact.checked_at = now;
        }
        contact.devices = devices(&chain, now);
        Ok((chain, contact))
    }

    /// One's own chain, which this device has to be on.
    pub(super) async fn own_chain(&self) -> Result<Chain> {
        let (chain, _) = self.ask(self.me(), &self.account.sources, &self.account.handle).await?;
        self.device.certificate().check(&chain, self.now())?;
        self.head.set(chain.head());
        Ok(chain)
    }

    /// The head of one's own chain, for others to hear of: as the gate has seen it just now, or by
    /// asking.
    pub(super) async fn own_head(&self) -> Option<crate::Head> {
        match self.head.take() {
            Some(head) => Some(head),
            None => self.own_chain().await.ok().and_then(|chain| chain.head()),
        }
    }

    /// Learns who the people of a conversation are whom one has no contact of: the server tells
    /// handles, and their records and chains tell the rest.
    pub(super) async fn learn(&self, conversation: &str, people: &[Identity]) -> Result<()> {
        let known = self.contacts().await?;
        let strange =
            |p: &&Identity| !self.is_me(p) && !known.iter().any(|contact| contact.primary == **p);
        if !people.iter().any(|p| strange(&p)) {
            return Ok(());
        }
        for handle in self.get_recipients(conversation).await? {
            let Ok(handle) = handle.parse::<Handle>() else { continue };
            if handle != self.account.handle && !known.iter().any(|c| c.handle == handle) {
                // One who cannot be proven is found missing below.
                let _ = self.resolve(&handle).await;
            }
        }
        Ok(())
    }

    /// What has to change before anything is written, or why nothing may be.
    pub(super) async fn gate(&self, record: &Record, group: &Group) -> Result<Plan> {
        let members = group.members()?;
        let people = people_of(record.people.clone(), &members);
        self.learn(&record.id, &people).await?;
        let mut plan = Plan::default();
        let admin = group.about()?.has_admin(self.me());
        for person in people {
            let own: Vec<&Member> = members.iter().filter(|m| *m.primary() == person).collect();
            if admin && record.left.contains(&person) {
                plan.remove.extend(own.iter().map(|member| member.device().clone()));
                continue;
            }
            let chain = if self.is_me(&person) {
                let chain = self.own_chain().await?;
                let missing = devices(&chain, self.now());
                if missing.iter().any(|device| !own.iter().any(|m| m.device() == device)) {
                    plan.add.push(person.clone());
                }
                chain
            } else {
                let contact = self.contact(&person).await?;
                let unknown = || Error::about(Code::HandleUnproven, &person);
                let (chain, contact) = self.look(contact.ok_or_else(unknown)?, GRACE).await?;
                let changed =
                    contact.verified.as_ref().is_some_and(|seen| *seen != contact.devices);
                self.save_contact(contact).await?;
                if changed {
                    return Err(Error::about(Code::DevicesChanged, &person));
                }
                if own.is_empty() {
                    plan.add.push(person.clone());
                }
                chain
            };
            for member in own {
                match member.certificate.check(&chain, self.now()) {
                    Ok(()) => {}
                    Err(error) if error.code() == Code::DeviceRevoked => {
                        plan.remove.push(member.device().clone());
                        // One whose time is over needs none.
                        plan.evidence.extend(Evidence::of(&chain, member.device()).ok());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(plan)
    }

    /// The devices of somebody that can be invited, each checked against the chain.
    pub(super) async fn invite(&self, person: &Identity, group: &Group) -> Result<Vec<Invited>> {
        let members = group.members()?;
        let (chain, handle) = if self.is_me(person) {
            (self.own_chain().await?, self.account.handle.clone())
        } else {
            let contact = self.contact(person).await?.ok_or(Code::HandleUnknown)?;
            let (chain, contact) = self.look(contact, FRESH).await?;
            let handle = contact.handle.clone();
            self.save_contact(contact).await?;
            (chain, handle)
        };
        let mut invited = Vec::new();
        for claimed in self.claim(handle.as_str()).await? {
            if members.iter().any(|m| m.device().as_str() == claimed.device) {
                continue;
            }
            invited.push(self.check_claimed(claimed, &chain, &handle)?);
        }
        Ok(invited)
    }

    /// A server that exchanges a device, a bundle or a key package is found out here.
    fn check_claimed(&self, claimed: Claimed, chain: &Chain, handle: &Handle) -> Result<Invited> {
        let now = self.now();
        let device = Identity::from_canonical(&claimed.device)?;
        let bundle = Value::parse(claimed.bundle.as_bytes())?;
        let bundle = SignedBundle::read(Envelope::from_value(bundle)?, now)?;
        let bundle = bundle.bundle();
        if bundle.device != device || bundle.primary != *chain.name() {
            return Err(Error::about(Code::BundleRefused, "it is of another device"));
        }
        let (owner, _) = KeyPackage::owner(&claimed.key_package, &self.random)?;
        if *owner.device().identity() != device || owner.primary() != chain.name() {
            return Err(Error::about(Code::KeyPackageRefused, "it is of another device"));
        }
        Certificate::read(owner.as_bytes())?.check(chain, now)?;
        let (sealed_key, handle) = (bundle.sealed_key.clone(), handle.clone());
        Ok(Invited { device, handle, sealed_key, key_package: claimed.key_package })
    }

    /// The safety number with somebody, and whether it is the one that was verified.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn safety_number(&self, handle: &Handle) -> Result<(String, bool)> {
        let contact = self.resolve(handle).await?;
        let own = devices(&self.own_chain().await?, self.now());
        let verified = contact.verified.as_ref() == Some(&contact.devices);
        let number = safety_number(&(self.me().clone(), own), &(contact.primary, contact.devices));
        Ok((number, verified))
    }

    /// The user has compared the safety number: from now on a change of the person's devices has
    /// to be confirmed before anything is written to them.
    ///
    /// # Errors
    /// As [`Client::resolve`]; `devices_changed` if `number` is not the one that is shown now.
    pub async fn verify(&self, handle: &Handle, number: &str) -> Result<()> {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let (now, _) = self.safety_number(handle).await?;
        if digits(&now) != digits(number) {
            return Err(Error::about(Code::DevicesChanged, handle.to_string()));
        }
        let mut contact = self.resolve(handle).await?;
        contact.verified = Some(contact.devices.clone());
        self.save_contact(contact).await
    }

    /// The user no longer vouches for the number: changes of the person's devices are told, and
    /// stop nothing.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn unverify(&self, handle: &Handle) -> Result<()> {
        let mut contact = self.resolve(handle).await?;
        contact.verified = None;
        self.save_contact(contact).await
    }

    /// Why a message is not to be trusted, if it is not: its device was revoked, as far as is
    /// known.
    pub(super) async fn doubt(&self, from: &Member) -> Option<Code> {
        let chain = if self.is_me(from.primary()) {
            self.own_chain().await
        } else {
            let contact = self.contact(from.primary()).await.ok()??;
            if contact.devices.contains(from.device()) {
                return None;
            }
            let looked = self.look(contact, i64::MAX).await;
            if let Ok((_, contact)) = &looked {
                let _ = self.save_contact(contact.clone()).await;
            }
            looked.map(|(chain, _)| chain)
        };
        // Without a chain nothing is known against it; the gate asks again before one answers.
        from.certificate.check(&chain.ok()?, self.now()).err().map(|error| error.code())
    }
}

/// The devices of a chain that are in force and chat, in order.
pub(super) fn devices(chain: &Chain, now: crate::Timestamp) -> Vec<Identity> {
    let mut all: Vec<Identity> = chain
        .devices()
        .filter(|d| d.revoked.is_none() && d.not_after.is_none_or(|until| until > now))
        .filter(|d| d.can(CAPABILITY))
        .map(|d| d.key.clone())
        .collect();
    all.sort();
    all
}
