//! What an append would do to a chain: verified before the writer sees it.

use super::{
    Refusal,
    evidence::{self, Branch},
    find, lines,
};
use kez_core::{
    Chain, Code, Envelope, Error, Event, Head, Identity, ObjectId, Op, Timestamp,
    fork::{self, Merge},
};
use lru::LruCache;
use rusqlite::Connection;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many events of replayed chains are kept in memory.
const CACHED_EVENTS: usize = 20_000;

/// How many refusals are remembered.
const REFUSED: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not 0");

/// Replayed chains, the latest used, so that an append to one of them needs no replay. A chain is
/// taken out while it is worked on.
pub(super) struct Cache(Mutex<(LruCache<Identity, Chain>, usize)>);

impl Default for Cache {
    fn default() -> Self {
        Self(Mutex::new((LruCache::unbounded(), 0)))
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, (LruCache<Identity, Chain>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stored chain out, or replays it, within a transaction. What is stored was verified
    /// when it came.
    pub(super) fn load(&self, db: &Connection, name: &Identity) -> Result<Option<Chain>, Refusal> {
        let Some(row) = find(db, name)? else { return Ok(None) };
        // What is kept may be older than what is stored, or be a branch that lost.
        if let Some(chain) = self.take(name).filter(|chain| chain.head() == Some(row.head)) {
            return Ok(Some(chain));
        }
        let chain = Chain::replay_trusted(lines(db, row.id)?.as_bytes(), name);
        Ok(Some(chain.map_err(|e| Refusal::storage(format!("{name} as stored: {e}")))?))
    }

    fn take(&self, name: &Identity) -> Option<Chain> {
        let mut cache = self.lock();
        let chain = cache.0.pop(name)?;
        cache.1 -= chain.lines().len();
        Some(chain)
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        let mut cache = self.lock();
        cache.0.clear();
        cache.1 = 0;
    }

    /// Keeps a chain.
    pub(super) fn keep(&self, chain: Chain) {
        let mut cache = self.lock();
        cache.1 += chain.lines().len();
        if let Some(old) = cache.0.put(chain.name().clone(), chain) {
            cache.1 -= old.lines().len();
        }
        while cache.1 > CACHED_EVENTS {
            let Some((_, chain)) = cache.0.pop_lru() else { break };
            cache.1 -= chain.lines().len();
        }
    }
}

/// Lines that were refused lately, so that the same lines are not verified again.
pub(super) struct Refused(Mutex<LruCache<ObjectId, (Option<Head>, Error)>>);

impl Default for Refused {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REFUSED)))
    }
}

impl Refused {
    /// The name under which lines for a chain are remembered.
    pub(super) fn id(name: &Identity, body: &[u8]) -> ObjectId {
        ObjectId::digest("refused", &[name.as_str().as_bytes(), b"\0", body].concat())
    }

    /// Why these lines were refused for the chain with this head.
    pub(super) fn get(&self, id: ObjectId, head: Option<Head>) -> Option<Error> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, error) = all.get(&id)?;
        (*before == head).then(|| error.clone())
    }

    /// Remembers a refusal, unless it depends on the clock.
    pub(super) fn note(&self, id: ObjectId, head: Option<Head>, refusal: &Refusal) {
        if let Refusal::Invalid(error) = refusal
            && error.code() != Code::ChainFuture
        {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.put(id, (head, error.clone()));
        }
    }
}

/// One posted line, read but not yet verified against its chain.
struct Posted {
    envelope: Envelope,
    event: Event,
}

impl Posted {
    /// Whether the event does nothing but take power away from keys or claims.
    const fn is_urgent(&self) -> bool {
        matches!(self.event.op, Op::Revoke { .. } | Op::Rotate { .. } | Op::RevokeDevice { .. })
    }
}

/// Reads a body of lines: `chain_empty` for no line, `chain_id` for another chain's, `chain_seq`
/// unless each follows the one before.
fn read_lines(name: &Identity, body: &[u8]) -> Result<Vec<Posted>, Error> {
    let mut all: Vec<Posted> = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (envelope, event, _) = Event::take(&mut rest)?;
        if event.chain != *name {
            return Err(Error::about(Code::ChainId, &event.chain));
        }
        if all.last().is_some_and(|last| event.seq != last.event.seq + 1) {
            return Err(Error::about(Code::ChainSeq, event.seq));
        }
        all.push(Posted { envelope, event });
    }
    if all.is_empty() { Err(Code::ChainEmpty.into()) } else { Ok(all) }
}

/// A change of a chain whose head is `base`, verified.
pub(super) struct Change {
    pub(super) name: Identity,
    pub(super) base: Option<Head>,
    /// A branch to keep as evidence of a fork.
    pub(super) branch: Option<Branch>,
    /// The chain afterwards, if it is another one.
    pub(super) chain: Option<Box<Chain>>,
    /// The chain before, if the other one replaces its end.
    pub(super) replaced: Option<Box<Chain>>,
    /// The position up to which the chain stays as it was.
    pub(super) after: u64,
    /// Whether the new events do nothing but take power away from keys or claims.
    pub(super) urgent: bool,
}

pub(super) enum Prepared {
    /// All of it is here already.
    Known(Head),
    Change(Box<Change>),
}

/// Verifies lines against the stored chain. Beside the result it gives the stored chain back where
/// that is as it was.
pub(super) fn prepare(
    db: &Connection,
    name: &Identity,
    body: &[u8],
    stored: Option<Chain>,
    now: Timestamp,
) -> (Option<Chain>, Result<Prepared, Refusal>) {
    let posted = match read_lines(name, body) {
        Ok(posted) => posted,
        Err(error) => return (stored, Err(error.into())),
    };
    let base = stored.as_ref().and_then(Chain::head);
    let known =
        |p: &&Posted| stored.as_ref().and_then(|c| c.id_at(p.event.seq)) == Some(p.envelope.id());
    let skip = posted.iter().take_while(known).count();
    let further = &posted[skip..];
    let next = base.map_or(1, |head| head.seq + 1);
    match (further.first().map(|p| p.event.seq), base, stored) {
        (None, Some(head), stored) => (stored, Ok(Prepared::Known(head))),
        (Some(seq), base, stored) if seq == next => extend(name, base, stored, further, now),
        (Some(seq), _, Some(chain)) if seq < next => {
            let change = diverge(db, &chain, seq, further, now);
            (Some(chain), change.map(|change| Prepared::Change(Box::new(change))))
        }
        (_, base, stored) => (stored, Err(Refusal::Conflict { head: base, fork: false })),
    }
}

/// Events at the end.
fn extend(
    name: &Identity,
    base: Option<Head>,
    stored: Option<Chain>,
    further: &[Posted],
    now: Timestamp,
) -> (Option<Chain>, Result<Prepared, Refusal>) {
    let mut chain = match stored.map_or_else(|| Chain::new(name), Ok) {
        Ok(chain) => chain,
        Err(error) => return (None, Err(error.into())),
    };
    for (n, posted) in further.iter().enumerate() {
        let Err(error) = chain.append(&posted.envelope, now) else { continue };
        let refusal = match error.code() {
            Code::ChainPrev if n == 0 => Refusal::Conflict { head: base, fork: false },
            _ => Refusal::Invalid(error),
        };
        // With some of the events in it, the chain is not what is stored.
        return ((n == 0 && base.is_some()).then_some(chain), Err(refusal));
    }
    let change = Change {
        name: name.clone(),
        base,
        branch: None,
        chain: Some(Box::new(chain)),
        replaced: None,
        after: base.map_or(0, |head| head.seq),
        urgent: base.is_some() && further.iter().all(Posted::is_urgent),
    };
    (None, Ok(Prepared::Change(Box::new(change))))
}

/// Another history from `seq` on: kept as evidence if it verifies. If it rotates, the committed
/// key may settle the fork, and another branch may become the chain (SPEC.md, "Forks").
fn diverge(
    db: &Connection,
    stored: &Chain,
    seq: u64,
    further: &[Posted],
    now: Timestamp,
) -> Result<Change, Refusal> {
    let base = stored.head();
    // What comes before was verified when it was stored.
    let mut branch = stored.truncated(usize::try_from(seq - 1).unwrap_or(usize::MAX));
    for (n, posted) in further.iter().enumerate() {
        branch.append(&posted.envelope, now).map_err(|error| match error.code() {
            // Its first event follows another one than ours: nobody can tell a fork.
            Code::ChainPrev if n == 0 => Refusal::Conflict { head: base, fork: false },
            _ => Refusal::Invalid(error),
        })?;
    }
    let rotates = further.iter().any(|posted| matches!(posted.event.op, Op::Rotate { .. }));
    let settled = if rotates { settle(db, stored, &branch)? } else { None };
    let after = settled.as_ref().map_or(seq - 1, |chain| common(stored, chain));
    let settles = settled.as_ref() == Some(&branch);
    Ok(Change {
        name: stored.name().clone(),
        base,
        branch: if settles { None } else { Branch::of(&branch, seq, rotates) },
        replaced: settled.as_ref().map(|_| Box::new(stored.clone())),
        chain: settled.map(Box::new),
        after,
        urgent: further.iter().all(Posted::is_urgent),
    })
}

/// The chain that the committed key chooses among the stored one, a new branch and those that are
/// evidence, if that is not the stored one.
fn settle(db: &Connection, stored: &Chain, branch: &Chain) -> Result<Option<Chain>, Refusal> {
    let mut copies = vec![stored.clone(), branch.clone()];
    if let Some(row) = find(db, stored.name())? {
        for (_, other) in evidence::load(db, row.id)? {
            copies.push(other.onto(stored)?);
        }
    }
    match fork::merge(copies)? {
        Merge::Settled(chain) => Ok(Some(*chain).filter(|chain| chain.head() != stored.head())),
        Merge::Same(_) | Merge::Fork(_) => Ok(None),
    }
}

/// The number of events with which both chains begin.
fn common(one: &Chain, two: &Chain) -> u64 {
    let same = |seq: &u64| one.id_at(*seq).is_some() && one.id_at(*seq) == two.id_at(*seq);
    (1..).take_while(same).count() as u64
}
