//! The sigchain: an append-only, hash-linked history of one identity, replayed into a state
//! (SPEC.md, "Sigchain").

use crate::{
    Code, Envelope, Error, Event, Head, Identity, Key, ObjectId, Op, Reason, Result, SignedClaim,
    Target, Timestamp, batch, commitment, event, map::Map,
};
use alloc::{borrow::ToOwned, string::String, sync::Arc, vec::Vec};
use core::borrow::Borrow;

/// The largest bundle in bytes.
pub const MAX_BUNDLE: usize = 32 * 1024 * 1024;
/// The largest number of events of a chain.
pub const MAX_EVENTS: usize = 10_000;

/// A span of the chain in which one key was the current one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Era {
    /// The key.
    pub key: Identity,
    /// The first seq that it may sign.
    pub from: u64,
    /// The seq of the rotation that ended it.
    pub until: Option<u64>,
    /// From this seq on, what it signed is void.
    pub compromised_since: Option<u64>,
}

/// A claim that the chain lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Listing {
    /// The claim's id.
    pub claim: ObjectId,
    /// The claimed account.
    pub subject: Identity,
    /// The `add` event's seq.
    pub seq: u64,
    /// When it was added.
    pub added_at: Timestamp,
    /// The platform's stable account id.
    pub account: Option<String>,
    /// Where the proof was published.
    pub url: Option<String>,
}

/// An act of revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Revocation {
    /// The `revoke` event's seq.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A device of the identity.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Device {
    /// The device's key.
    pub key: Identity,
    /// The `add_device` event's seq.
    pub seq: u64,
    /// What it may do.
    pub caps: Vec<String>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// Its public name.
    pub name: Option<String>,
    /// Its revocation.
    pub revoked: Option<Revocation>,
}

impl Device {
    /// Whether it was given a capability, such as `chat/1`.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.caps.iter().any(|cap| cap == capability)
    }
}

/// What a chain says, as data. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Summary {
    /// `kez.sigchain/1`.
    pub schema: &'static str,
    /// The identity's name.
    pub chain: Identity,
    /// The last event.
    pub head: Option<Head>,
    /// The key that may sign the next event.
    pub current_key: Identity,
    /// Whether the chain commits to its next key.
    pub next_committed: bool,
    /// The keys that were current, in order.
    pub keys: Vec<Era>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Every listed claim, with its revocation.
    pub claims: Vec<Listed>,
    /// The events, in order.
    pub events: Vec<EventSummary>,
}

/// A listed claim and its revocation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Listed {
    /// The listing.
    pub listing: Listing,
    /// What ended it.
    pub revoked: Option<Revocation>,
}

/// An event in one line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct EventSummary {
    /// The sequence number, from 1.
    pub seq: u64,
    /// The id.
    pub id: Option<ObjectId>,
    /// The operation's name.
    pub op: String,
    /// When it was signed.
    pub created_at: Timestamp,
    /// Whether a later rotation declared it void.
    pub void: bool,
}

/// What a chain says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Listed and in force.
    Listed(u64),
    /// Signed by the current key, but not on the chain.
    Unlisted,
    /// Ended by a revocation.
    Revoked(Revocation),
    /// It does not stand; the code says why.
    Refused(Code),
}

/// A replayed chain. Events are verified as they are appended; every state is derived from
/// verified events alone.
///
/// ```
/// use kez_core::{Chain, Event, Identity, Op, Scheme, SecretKey, Timestamp, ObjectId};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32]).unwrap();
/// let me = key.public().identity().clone();
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let mut chain = Chain::new(&me).unwrap();
/// let op = Op::Add {
///     subject: Identity::parse("github:jason").unwrap(),
///     claim: ObjectId::digest("claim", b"{}"),
///     account: None,
///     url: None,
/// };
/// let mut event = Event::new(me.clone(), chain.head(), now, op).to_envelope().unwrap();
/// event.sign(&key, &[0; 32]).unwrap();
/// chain.append(&event, now).unwrap();
/// let again = Chain::replay(chain.to_bundle().as_bytes(), Some(&me), now).unwrap();
/// assert_eq!(again.head(), chain.head());
/// ```
#[derive(Clone, Debug)]
pub struct Chain {
    name: Identity,
    current: Arc<Key>,
    events: Vec<Event>,
    lines: Vec<String>,
    ids: Vec<ObjectId>,
    eras: Vec<Era>,
    next: Option<ObjectId>,
    listings: Map<Listing>,
    by_subject: Map<Vec<ObjectId>>,
    revoked_claims: Map<Vec<Revocation>>,
    revoked_subjects: Map<Vec<Revocation>>,
    devices: Map<Device>,
    void_claims: Map<()>,
    /// The commitments to all keys and devices that were ever part of the chain.
    used_keys: Map<()>,
    skipped: Vec<u64>,
}

/// Chains are equal that have the same events: the rest is derived from them.
impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.lines == other.lines
    }
}

impl Eq for Chain {}

/// Who signs a rotation (KEZ-CHN-12): where a key was committed to, that key alone.
pub(crate) fn rotation_signers<K: Borrow<Key>>(
    current: K,
    to: K,
    next: Option<ObjectId>,
) -> Result<Vec<K>> {
    match next {
        Some(next) if commitment(to.borrow().identity()) != next => Err(Code::NextMismatch.into()),
        Some(_) => Ok(alloc::vec![to]),
        None => Ok(alloc::vec![current, to]),
    }
}

impl Chain {
    /// An empty chain of that genesis primary.
    ///
    /// # Errors
    /// `key_expected`, `key_refused`.
    pub fn new(primary: &Identity) -> Result<Self> {
        let key = Key::from_identity(primary)?;
        let mut used_keys = Map::default();
        used_keys.insert(commitment(primary), ());
        let era = Era { key: primary.clone(), from: 1, until: None, compromised_since: None };
        Ok(Self {
            name: primary.clone(),
            current: Arc::new(key),
            events: Vec::new(),
            lines: Vec::new(),
            ids: Vec::new(),
            eras: alloc::vec![era],
            next: None,
            listings: Map::default(),
            by_subject: Map::default(),
            revoked_claims: Map::default(),
            revoked_subjects: Map::default(),
            devices: Map::default(),
            void_claims: Map::default(),
            used_keys,
            skipped: Vec::new(),
        })
    }

    /// Replays a bundle: one canonical event a line, LF after every line, in seq order. If
    /// `name` is given, the chain must have it.
    ///
    /// # Errors
    /// The first broken rule, with the line's number; `chain_empty`, `too_large`.
    pub fn replay(bundle: &[u8], name: Option<&Identity>, now: Timestamp) -> Result<Self> {
        Self::whole(Self::replay_lines(bundle, name, now, batch::verify)?)
    }

    /// Replays as much of a bundle as verifies. Returns the events before the first line that
    /// breaks a rule, and that line's error.
    ///
    /// # Errors
    /// As [`Chain::replay`], if not even the first event verifies.
    pub fn replay_prefix(
        bundle: &[u8],
        name: &Identity,
        now: Timestamp,
    ) -> Result<(Self, Option<Error>)> {
        let (chain, error) = Self::replay_lines(bundle, Some(name), now, batch::verify)?;
        match (chain.filter(|chain| !chain.events.is_empty()), error) {
            (Some(chain), error) => Ok((chain, error)),
            (None, error) => Err(error.unwrap_or_else(|| Code::ChainEmpty.into())),
        }
    }

    /// As [`Chain::replay`], but no signature is verified: for a bundle that the caller verified
    /// and kept where nobody else writes, such as a server's own storage. All other rules hold,
    /// whatever their dates.
    ///
    /// # Errors
    /// As [`Chain::replay`], but for `signature_bad` and `chain_future`.
    pub fn replay_trusted(bundle: &[u8], name: &Identity) -> Result<Self> {
        let far = Timestamp::from_seconds(i64::MAX);
        Self::whole(Self::replay_lines(bundle, Some(name), far, |_| Ok(()))?)
    }

    /// As [`Chain::replay`], with another check of the signatures: it gets all of them, each with the
    /// number of its line, and returns the place of the first bad one.
    pub(crate) fn replay_checked(
        bundle: &[u8],
        name: Option<&Identity>,
        now: Timestamp,
        check: impl FnOnce(&[(usize, batch::Pending)]) -> Result<(), (usize, Error)>,
    ) -> Result<Self> {
        Self::whole(Self::replay_lines(bundle, name, now, check)?)
    }

    fn whole((chain, error): (Option<Self>, Option<Error>)) -> Result<Self> {
        match error {
            Some(error) => Err(error),
            None => chain.filter(|c| !c.events.is_empty()).ok_or_else(|| Code::ChainEmpty.into()),
        }
    }

    /// Replays line by line. Returns the events before the first line that breaks a rule, and that
    /// line's error.
    fn replay_lines(
        bundle: &[u8],
        name: Option<&Identity>,
        now: Timestamp,
        check: impl FnOnce(&[(usize, batch::Pending)]) -> Result<(), (usize, Error)>,
    ) -> Result<(Option<Self>, Option<Error>)> {
        if bundle.len() > MAX_BUNDLE {
            return Err(Error::about(Code::TooLarge, "a chain has at most 32 MiB"));
        }
        let mut chain: Option<Self> = name.map(Self::new).transpose()?;
        let mut pending = Vec::new();
        let mut rest = bundle;
        let mut broken = None;
        while !rest.is_empty() && broken.is_none() {
            let number = chain.as_ref().map_or(1, |c| c.events.len() + 1);
            let result = Event::take(&mut rest).and_then(|(envelope, event, line)| {
                let chain = match &mut chain {
                    Some(chain) => chain,
                    None => chain.insert(Self::new(&event.chain)?),
                };
                chain.admit(&envelope, &event, now, &mut pending)?;
                // read_line has checked that the line is UTF-8.
                let line = core::str::from_utf8(line).map_err(|_| Code::JsonUtf8)?.to_owned();
                chain.apply(event, envelope.id(), line);
                Ok(())
            });
            broken = result.err().map(|error| at_line(number, &error));
        }
        // A bad signature comes before the line that broke another rule, as it would one by one.
        if let Err((at, error)) = check(&pending) {
            let number = pending[at].0;
            chain = chain.map(|chain| chain.truncated(number - 1));
            broken = Some(at_line(number, &error));
        }
        Ok((chain, broken))
    }

    /// The chain of the first `count` events.
    #[must_use]
    pub fn truncated(&self, count: usize) -> Self {
        // The name was a valid key when this chain was made.
        let Ok(mut past) = Self::new(&self.name) else { return self.clone() };
        for seq in 0..count.min(self.events.len()) {
            past.apply(self.events[seq].clone(), self.ids[seq], self.lines[seq].clone());
        }
        past
    }

    /// The head that a bundle's last line says it has. Nothing is verified but the line's form.
    pub(crate) fn last(bundle: &[u8]) -> Option<Head> {
        let end = bundle.strip_suffix(b"\n")?;
        let mut line =
            &bundle[end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)..];
        let (envelope, event, _) = Event::take(&mut line).ok()?;
        Some(Head { seq: event.seq, id: envelope.id() })
    }

    /// Appends one signed event. On an error the chain is as before.
    ///
    /// # Errors
    /// `chain_*` and the other codes of the rule that is broken; `signature_bad`.
    pub fn append(&mut self, envelope: &Envelope, now: Timestamp) -> Result<()> {
        let (event, line) = self.check(envelope, now)?;
        self.apply(event, envelope.id(), line);
        Ok(())
    }

    /// Whether an event may follow, its signatures included.
    pub(crate) fn check(&self, envelope: &Envelope, now: Timestamp) -> Result<(Event, String)> {
        let line = envelope.to_canonical();
        if line.len() > event::MAX_EVENT {
            return Err(Error::about(Code::TooLarge, "an event has at most 16 KiB"));
        }
        let event = Event::from_payload(envelope.payload())?;
        let mut pending = Vec::new();
        self.admit(envelope, &event, now, &mut pending)?;
        batch::verify(&pending).map_err(|(_, error)| error)?;
        Ok((event, line))
    }

    /// Checks everything but the signatures themselves, which are put into `pending`.
    fn admit(
        &self,
        envelope: &Envelope,
        event: &Event,
        now: Timestamp,
        pending: &mut Vec<(usize, batch::Pending)>,
    ) -> Result<()> {
        if event.chain != self.name {
            return Err(Error::about(Code::ChainId, &event.chain));
        }
        if self.events.len() >= MAX_EVENTS {
            return Err(Error::about(Code::TooLarge, "a chain has at most 10,000 events"));
        }
        if event.seq != self.events.len() as u64 + 1 {
            return Err(Error::about(Code::ChainSeq, event.seq));
        }
        if event.prev != self.ids.last().copied() {
            return Err(Code::ChainPrev.into());
        }
        if self.events.last().is_some_and(|last| event.created_at < last.created_at) {
            return Err(Error::about(Code::ChainTime, event.created_at));
        }
        if event.created_at.is_future(now) {
            return Err(Error::about(Code::ChainFuture, event.created_at));
        }
        let signers = self.signers(event)?;
        self.check_commitment(event)?;
        let keys: Vec<&Key> = signers.iter().map(|k| &**k).collect();
        envelope
            .check_set(&keys)
            .map_err(|e| Error::about(Code::ChainSigner, e.context().unwrap_or_default()))?;
        for (sig, key) in envelope.signatures().iter().zip(signers) {
            let message = envelope.message(&key, sig.suite)?;
            let sig = batch::Pending { key, suite: sig.suite, message, sig: sig.bytes };
            pending.push((self.events.len() + 1, sig));
        }
        Ok(())
    }

    /// Refuses an event after which the chain would commit to a key that was part of it. Such a key
    /// is never rotated to (KEZ-CHN-13), so the chain could not rotate again.
    fn check_commitment(&self, event: &Event) -> Result<()> {
        let (next, added) = match &event.op {
            Op::Rotate { to, .. } => (event.next, Some(to)),
            Op::AddDevice { device, .. } => (event.next.or(self.next), Some(device)),
            _ => (event.next, None),
        };
        let Some(next) = next else { return Ok(()) };
        let is_added = added.is_some_and(|key| commitment(key.identity()) == next);
        if is_added || self.used_keys.contains(next) {
            return Err(Error::about(Code::KeyUsed, "the committed next key is part of the chain"));
        }
        Ok(())
    }

    /// Who must sign the event, in order; checks the operation's own rules on the way.
    fn signers(&self, event: &Event) -> Result<Vec<Arc<Key>>> {
        let current = || alloc::vec![self.current.clone()];
        let fresh = |key: &Key| {
            if self.used_keys.contains(commitment(key.identity())) {
                return Err(Error::about(Code::KeyUsed, key));
            }
            Ok(Arc::new(key.clone()))
        };
        if event.next.is_some() && self.next.is_some() && !matches!(event.op, Op::Rotate { .. }) {
            return Err(Code::NextRefused.into());
        }
        match &event.op {
            Op::Add { claim, .. } if self.listings.contains(claim) => {
                Err(Error::about(Code::ClaimListed, claim))
            }
            Op::Add { .. } | Op::Revoke { .. } => Ok(current()),
            Op::Rotate { to, compromised_since, .. } => {
                let to = fresh(to)?;
                let from = self.eras.last().map_or(1, |era| era.from);
                if compromised_since.is_some_and(|s| s < from || s >= event.seq) {
                    return Err(Error::about(
                        Code::CompromiseRefused,
                        format_args!("from {from} on"),
                    ));
                }
                rotation_signers(self.current.clone(), to, self.next)
            }
            Op::AddDevice { device, .. } => Ok(alloc::vec![self.current.clone(), fresh(device)?]),
            Op::RevokeDevice { device, .. } => match self.devices.get(device) {
                Some(d) if d.revoked.is_none() => Ok(current()),
                _ => Err(Error::about(Code::DeviceUnknown, device)),
            },
            Op::Unknown(_) if event.critical == Some(false) => Ok(current()),
            Op::Unknown(name) => Err(Error::about(Code::OpUnknown, name)),
        }
    }

    /// Applies an event that was admitted and whose signatures verify (or will be checked).
    fn apply(&mut self, event: Event, id: ObjectId, line: String) {
        let (seq, at) = (event.seq, event.created_at);
        if event.next.is_some() {
            self.next = event.next;
        }
        match &event.op {
            Op::Add { subject, claim, account, url } => {
                self.by_subject.push(subject, *claim);
                self.void_claims.remove(claim);
                let listing = Listing {
                    claim: *claim,
                    subject: subject.clone(),
                    seq,
                    added_at: at,
                    account: account.clone(),
                    url: url.clone(),
                };
                self.listings.insert(claim, listing);
            }
            Op::Revoke { target, reason, .. } => {
                let revocation = Revocation { seq, at, reason: *reason };
                match target {
                    Target::Claim(id) => self.revoked_claims.push(id, revocation),
                    Target::Subject(s) => self.revoked_subjects.push(s, revocation),
                }
            }
            Op::Rotate { to, compromised_since, .. } => {
                if let Some(era) = self.eras.last_mut() {
                    era.until = Some(seq);
                    era.compromised_since = *compromised_since;
                }
                self.eras.push(Era {
                    key: to.identity().clone(),
                    from: seq + 1,
                    until: None,
                    compromised_since: None,
                });
                self.used_keys.insert(commitment(to.identity()), ());
                self.current = Arc::new(to.clone());
                self.next = event.next;
                if let Some(since) = *compromised_since {
                    self.void(since);
                }
            }
            Op::AddDevice { device, caps, not_after, name } => {
                let key = device.identity();
                self.used_keys.insert(commitment(key), ());
                let device = Device {
                    key: key.clone(),
                    seq,
                    caps: caps.clone(),
                    not_after: *not_after,
                    name: name.clone(),
                    revoked: None,
                };
                self.devices.insert(device.key.clone(), device);
            }
            Op::RevokeDevice { device, reason } => {
                if let Some(device) = self.devices.get_mut(device) {
                    device.revoked = Some(Revocation { seq, at, reason: *reason });
                }
            }
            Op::Unknown(_) => self.skipped.push(seq),
        }
        self.events.push(event);
        self.ids.push(id);
        self.lines.push(line);
    }

    /// Undoes what the events from `since` on have done. Eras do not overlap, so over the whole
    /// chain every event is undone at most once.
    fn void(&mut self, since: u64) {
        let from = usize::try_from(since - 1).unwrap_or(self.events.len());
        for event in &self.events[from..] {
            let seq = event.seq;
            match &event.op {
                Op::Add { claim, subject, .. } => {
                    self.listings.remove(claim);
                    self.void_claims.insert(claim, ());
                    if let Some(ids) = self.by_subject.get_mut(subject) {
                        ids.retain(|id| id != claim);
                    }
                }
                Op::Revoke { target: Target::Claim(id), .. } => {
                    if let Some(list) = self.revoked_claims.get_mut(id) {
                        list.retain(|r| r.seq != seq);
                    }
                }
                Op::Revoke { target: Target::Subject(subject), .. } => {
                    if let Some(list) = self.revoked_subjects.get_mut(subject) {
                        list.retain(|r| r.seq != seq);
                    }
                }
                Op::AddDevice { device, .. } => {
                    self.devices.remove(device.identity());
                }
                Op::RevokeDevice { device, .. } => {
                    if let Some(device) = self.devices.get_mut(device) {
                        device.revoked = None;
                    }
                }
                Op::Rotate { .. } | Op::Unknown(_) => {}
            }
        }
    }

    /// The identity's name: its genesis primary.
    #[must_use]
    pub const fn name(&self) -> &Identity {
        &self.name
    }

    /// The key that may sign now.
    #[must_use]
    pub fn current_key(&self) -> &Key {
        &self.current
    }

    /// The commitment to the next key, if one is set.
    #[must_use]
    pub const fn next(&self) -> Option<ObjectId> {
        self.next
    }

    /// The last event's position and id.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.ids.last().map(|id| Head { seq: self.ids.len() as u64, id: *id })
    }

    /// The id of the event at that seq.
    #[must_use]
    pub fn id_at(&self, seq: u64) -> Option<ObjectId> {
        self.ids.get(usize::try_from(seq).ok()?.checked_sub(1)?).copied()
    }

    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The canonical lines, without line feeds, in order.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The keys that were current, in order.
    #[must_use]
    pub fn eras(&self) -> &[Era] {
        &self.eras
    }

    /// Whether this was the current key at some time.
    pub(crate) fn had_key(&self, key: &Identity) -> bool {
        self.eras.iter().any(|era| era.key == *key)
    }

    /// The devices, revoked ones included.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// The seqs of events of unknown operations that were skipped.
    #[must_use]
    pub fn skipped(&self) -> &[u64] {
        &self.skipped
    }

    /// Whether an event is void because its key was compromised by then.
    #[must_use]
    pub fn is_void(&self, seq: u64) -> bool {
        self.eras.iter().any(|era| {
            era.compromised_since.is_some_and(|s| s <= seq) && era.until.is_some_and(|u| seq < u)
        })
    }

    /// The claims that were added, in order of their seq, each with its revocation.
    #[must_use]
    pub fn listings(&self) -> Vec<(&Listing, Option<Revocation>)> {
        let revocation = |l: &Listing| self.revocation(&l.claim, &l.subject, l.seq);
        self.listings.values().map(|l| (l, revocation(l))).collect()
    }

    /// The listing of a claim, revoked or not.
    #[must_use]
    pub fn listing(&self, claim: ObjectId) -> Option<&Listing> {
        self.listings.get(claim)
    }

    /// The newest listing of a subject that is not revoked: what a pointer proves.
    #[must_use]
    pub fn active(&self, subject: &Identity) -> Option<&Listing> {
        let ids = self.by_subject.get(subject)?;
        let mut newest = ids.iter().rev().filter_map(|id| self.listings.get(id));
        newest.find(|l| self.revocation(&l.claim, &l.subject, l.seq).is_none())
    }

    /// The latest revocation that ended a subject's claims.
    #[must_use]
    pub fn subject_revocation(&self, subject: &Identity) -> Option<Revocation> {
        let listed = self.by_subject.get(subject).into_iter().flatten();
        let by_claim = listed.filter_map(|id| {
            let listing = self.listings.get(id)?;
            self.revocation(id, subject, listing.seq)
        });
        by_claim.max_by_key(|r| r.seq)
    }

    fn revocation(&self, claim: &ObjectId, subject: &Identity, seq: u64) -> Option<Revocation> {
        let by_id = self.revoked_claims.get(claim).and_then(|l| l.first());
        let by_subject = self.revoked_subjects.get(subject).and_then(|list| {
            // The list is in seq order; the first after the listing ended it.
            list.get(list.partition_point(|r| r.seq < seq))
        });
        by_id.into_iter().chain(by_subject).min_by_key(|r| r.seq).copied()
    }

    /// What the chain says of a claim that names it as its primary.
    #[must_use]
    pub fn standing(&self, signed: &SignedClaim) -> Standing {
        let claim = signed.claim();
        let id = signed.id();
        let signer = signed.signer().identity();
        let Some(era) = self.eras.iter().find(|era| era.key == *signer) else {
            return Standing::Refused(Code::ChainSigner);
        };
        if let Some(listing) = self.listings.get(id) {
            if listing.subject != claim.subject {
                return Standing::Refused(Code::ListingMismatch);
            }
            if let Some(revocation) = self.revocation(&id, &listing.subject, listing.seq) {
                return Standing::Revoked(revocation);
            }
            // The id does not cover the signature: a later key may sign the same payload.
            if listing.seq < era.from {
                return Standing::Refused(Code::ChainSigner);
            }
            return match era.until {
                Some(until) if listing.seq >= until => Standing::Refused(Code::KeyRotated),
                _ => Standing::Listed(listing.seq),
            };
        }
        if let Some(revocation) = self.revoked_claims.get(id).and_then(|l| l.first()) {
            return Standing::Revoked(*revocation);
        }
        // The claim's place on the chain is unknown, so its own date decides.
        let subject = self.revoked_subjects.get(&claim.subject);
        if let Some(r) = subject.and_then(|l| l.iter().rev().find(|r| claim.created_at <= r.at)) {
            return Standing::Revoked(*r);
        }
        if self.void_claims.contains(id) {
            return Standing::Refused(Code::KeyCompromised);
        }
        match (era.until, era.compromised_since) {
            (None, _) => Standing::Unlisted,
            (Some(_), None) => Standing::Refused(Code::KeyRotated),
            (Some(_), Some(_)) => Standing::Refused(Code::KeyCompromised),
        }
    }

    /// The chain as it stood at that time: without the events that were signed later.
    #[must_use]
    pub fn as_of(&self, at: Timestamp) -> Self {
        self.truncated(self.events.partition_point(|event| event.created_at <= at))
    }

    /// The commitment to the next key that is in force before the event of that seq.
    pub(crate) fn commitment_before(&self, seq: u64) -> Option<ObjectId> {
        let mut committed = None;
        for event in self.events.iter().take_while(|event| event.seq < seq) {
            if event.next.is_some() || matches!(event.op, Op::Rotate { .. }) {
                committed = event.next;
            }
        }
        committed
    }

    /// Whether an event rotates to the key that the chain has committed to.
    pub(crate) fn is_committed_rotation(&self, envelope: &Envelope) -> bool {
        let event = Event::from_payload(envelope.payload());
        let to_it = |to: &Key| self.next.is_some_and(|next| commitment(to.identity()) == next);
        event.is_ok_and(|event| matches!(&event.op, Op::Rotate { to, .. } if to_it(to)))
    }

    /// Whether an event from that seq on rotates to the key with this commitment.
    pub(crate) fn rotates_to(&self, committed: ObjectId, seq: u64) -> bool {
        let to_it =
            |op: &Op| matches!(op, Op::Rotate { to, .. } if commitment(to.identity()) == committed);
        self.events.iter().any(|event| event.seq >= seq && to_it(&event.op))
    }

    /// What the chain says, as data.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let listed = |(listing, revoked): (&Listing, Option<Revocation>)| Listed {
            listing: listing.clone(),
            revoked,
        };
        let event = |event: &Event| EventSummary {
            seq: event.seq,
            id: self.id_at(event.seq),
            op: event.op.name().into(),
            created_at: event.created_at,
            void: self.is_void(event.seq),
        };
        Summary {
            schema: "kez.sigchain/1",
            chain: self.name().clone(),
            head: self.head(),
            current_key: self.current_key().identity().clone(),
            next_committed: self.next().is_some(),
            keys: self.eras().to_vec(),
            devices: self.devices().cloned().collect(),
            claims: self.listings().into_iter().map(listed).collect(),
            events: self.events().iter().map(event).collect(),
        }
    }

    /// The bundle: every event as one canonical line with a line feed. The same chain gives the
    /// same bytes everywhere.
    #[must_use]
    pub fn to_bundle(&self) -> String {
        let mut out = String::with_capacity(self.lines.iter().map(|l| l.len() + 1).sum());
        for line in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

fn at_line(number: usize, error: &Error) -> Error {
    match error.context() {
        Some(context) => Error::about(error.code(), format_args!("event {number}: {context}")),
        None => Error::about(error.code(), format_args!("event {number}")),
    }
}
