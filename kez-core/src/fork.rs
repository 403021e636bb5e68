//! Forks: two histories of one chain, as an object that anybody can check offline
//! (SPEC.md, "Forks").

use crate::{
    Chain, Code, Envelope, Error, Identity, Result, Timestamp, batch, event,
    json::{Members, Value},
    map::Map,
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// The largest fork object in bytes: two bundles.
pub const MAX_FORK: usize = 2 * crate::chain::MAX_BUNDLE;
/// The most fork objects in one server's evidence.
pub const MAX_OBJECTS: usize = 64;
/// The most bytes of the branches that one server's evidence has, each branch from its first event.
const MAX_BRANCHES: usize = 2 * MAX_FORK;

/// What copies of one chain are together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// One chain, the longest that continues all others.
    Same(Box<Chain>),
    /// One chain: the copies diverge, and the committed key settles every divergence.
    Settled(Box<Chain>),
    /// Two histories, and nothing that settles between them.
    Fork(Box<Fork>),
}

/// Two branches of one chain that both verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    seq: u64,
    a: Chain,
    b: Chain,
    settled: Option<bool>,
}

/// Merges copies of one chain. The result depends on the set of events alone: neither on the
/// order of the copies nor on their number (SPEC.md, "Forks").
///
/// # Errors
/// `chain_id` if they are of different chains, `chain_empty` if there is none.
///
/// ```
/// use kez_core::{Chain, Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp, fork};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let chain = |domain: &str| {
///     let mut chain = Chain::new(key.public().identity())?;
///     let op = Op::Add {
///         subject: Identity::parse(domain)?,
///         claim: ObjectId::digest("claim", domain.as_bytes()),
///         account: None,
///         url: None,
///     };
///     let mut event = Event::new(chain.name().clone(), None, now, op).to_envelope()?;
///     event.sign(&key, &[0; 32])?;
///     chain.append(&event, now)?;
///     Ok::<_, kez_core::Error>(chain)
/// };
/// let copies = vec![chain("a.example")?, chain("b.example")?];
/// let fork::Merge::Fork(fork) = fork::merge(copies)? else {
///     panic!("they differ from the first event on")
/// };
/// assert_eq!((fork.seq(), fork.is_settled()), (1, false));
/// // Anyone can check it offline.
/// assert_eq!(fork::Fork::from_json(fork.to_canonical().as_bytes(), now)?, *fork);
/// # Ok::<(), kez_core::Error>(())
/// ```
pub fn merge(copies: Vec<Chain>) -> Result<Merge> {
    let name = copies.first().ok_or(Code::ChainEmpty)?.name().clone();
    if let Some(other) = copies.iter().find(|copy| *copy.name() != name) {
        return Err(Error::about(Code::ChainId, other.name()));
    }
    let mut branches = maximal(copies);
    let mut settled = false;
    while branches.len() > 1 {
        let (seq, groups) = diverge(&branches);
        let Some(winner) = settle(&groups, seq) else {
            return Ok(Merge::Fork(Box::new(Fork::between(seq, &groups))));
        };
        settled = true;
        branches = groups[winner].iter().map(|branch| (*branch).clone()).collect();
    }
    let chain = branches.pop().map(Box::new).ok_or(Code::ChainEmpty)?;
    Ok(if settled { Merge::Settled(chain) } else { Merge::Same(chain) })
}

/// The copies that no other copy continues, each once.
fn maximal(copies: Vec<Chain>) -> Vec<Chain> {
    let mut branches: Vec<Chain> = Vec::new();
    for copy in copies {
        if branches.iter().any(|branch| continues(branch, &copy)) {
            continue;
        }
        branches.retain(|branch| !continues(&copy, branch));
        branches.push(copy);
    }
    branches
}

/// Whether one copy has all events of another. An id fixes everything before it.
fn continues(longer: &Chain, shorter: &Chain) -> bool {
    shorter.head().is_none_or(|head| longer.id_at(head.seq) == Some(head.id))
}

/// The first seq at which branches differ, and the branches in groups by their event there, in the
/// order of the events' ids.
fn diverge(branches: &[Chain]) -> (u64, Vec<Vec<&Chain>>) {
    // No branch continues another, so that all of them go on where the first two differ.
    let differ = |seq: &u64| branches.iter().any(|b| b.id_at(*seq) != branches[0].id_at(*seq));
    let seq = (1..).find(differ).unwrap_or(1);
    let mut sorted: Vec<&Chain> = branches.iter().collect();
    sorted.sort_by_key(|branch| (branch.id_at(seq), branch.head().map(|head| head.id)));
    let groups = sorted.chunk_by(|one, other| one.id_at(seq) == other.id_at(seq));
    (seq, groups.map(<[&Chain]>::to_vec).collect())
}

/// The one group that rotates to the key that was committed to before the divergence.
fn settle(groups: &[Vec<&Chain>], seq: u64) -> Option<usize> {
    let committed = groups.first()?.first()?.commitment_before(seq)?;
    let rotates = |group: &Vec<&Chain>| group.iter().any(|b| b.rotates_to(committed, seq));
    let mut winners = groups.iter().enumerate().filter(|(_, group)| rotates(group));
    let (winner, _) = winners.next()?;
    winners.next().is_none().then_some(winner)
}

impl Fork {
    /// Compares two copies of one chain. `None` if one continues the other.
    ///
    /// # Errors
    /// `chain_id` if they are of different chains.
    pub fn of(one: Chain, two: Chain) -> Result<Option<Self>> {
        if one.name() != two.name() {
            return Err(Error::about(Code::ChainId, two.name()));
        }
        if continues(&one, &two) || continues(&two, &one) {
            return Ok(None);
        }
        let branches = [one, two];
        let (seq, groups) = diverge(&branches);
        let settled = settle(&groups, seq).map(|winner| winner == 0);
        Ok(Some(Self { settled, ..Self::between(seq, &groups) }))
    }

    /// The branch that is the chain, if the committed key settles between the two.
    ///
    /// # Errors
    /// The fork itself, if it is not settled.
    pub fn into_settled(self) -> Result<Chain, Box<Self>> {
        match self.settled {
            Some(true) => Ok(self.a),
            Some(false) => Ok(self.b),
            None => Err(Box::new(self)),
        }
    }

    /// The fork between the first two groups, of which none is empty, each shown by its longest branch.
    fn between(seq: u64, groups: &[Vec<&Chain>]) -> Self {
        let longest = |group: &Vec<&Chain>| {
            let rest = group[1..].iter().copied();
            rest.fold(group[0], |a, b| if b.events().len() > a.events().len() { b } else { a })
                .clone()
        };
        let (a, b) = (longest(&groups[0]), longest(&groups[1]));
        Self { seq, a, b, settled: None }
    }

    /// The first seq at which the branches differ.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Both branches, in the object's order.
    #[must_use]
    pub const fn branches(&self) -> (&Chain, &Chain) {
        (&self.a, &self.b)
    }

    /// Both branches, in the object's order.
    #[must_use]
    pub fn into_branches(self) -> (Chain, Chain) {
        (self.a, self.b)
    }

    /// Whether the fork is settled.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The identity whose chain it is.
    #[must_use]
    pub const fn chain(&self) -> &Identity {
        self.a.name()
    }

    /// The fork object as canonical JSON: `a` is the first branch from seq 1, `b` the second one
    /// from the divergence on.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        let from = usize::try_from(self.seq - 1).unwrap_or_default();
        to_object(&self.a.lines().join(","), &self.b.lines()[from..].join(","))
    }

    /// Reads and verifies a fork object.
    ///
    /// # Errors
    /// `fork_refused` if it shows no fork, and everything that a chain can fail with.
    pub fn from_json(bytes: &[u8], now: Timestamp) -> Result<Self> {
        if bytes.len() > MAX_FORK {
            return Err(Code::TooLarge.into());
        }
        Self::read(bytes, now, &mut Verified::default())
    }

    fn read(bytes: &[u8], now: Timestamp, verified: &mut Verified) -> Result<Self> {
        let value = Value::parse_around_envelopes(bytes)?;
        let mut m = Members::of(&value)?;
        match m.required("kez")? {
            Value::Int(1) => {}
            Value::Int(n) => return Err(Error::about(Code::VersionUnknown, n)),
            _ => return Err(Error::about(Code::MemberType, "kez")),
        }
        let kind = m.text("type")?;
        if kind != "fork" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let (a, b) = (m.array("a")?, m.array("b")?);
        m.finish()?;
        let a = bundle(a, "")?;
        let chain_a = verified.replay(&a, None, now)?;
        let first = b.first().cloned().ok_or(Code::ForkRefused)?;
        let seq = crate::Event::from_payload(Envelope::from_value(first)?.payload())?.seq;
        let from = usize::try_from(seq - 1).unwrap_or(usize::MAX);
        let prefix: Vec<&str> = a.split_inclusive('\n').take(from).collect();
        if prefix.len() != from {
            return Err(Code::ForkRefused.into());
        }
        let b = bundle(b, &prefix.concat())?;
        let chain_b = verified.replay(&b, Some(chain_a.name()), now)?;
        match Self::of(chain_a.clone(), chain_b)? {
            Some(fork) if fork.seq == seq && fork.a == chain_a => Ok(fork),
            _ => Err(Code::ForkRefused.into()),
        }
    }
}

/// What was verified already of several fork objects. They share most of their events.
#[derive(Default)]
struct Verified {
    signatures: Map<()>,
    bytes: usize,
}

impl Verified {
    fn replay(&mut self, bundle: &str, name: Option<&Identity>, now: Timestamp) -> Result<Chain> {
        self.bytes += bundle.len();
        if self.bytes > MAX_BRANCHES {
            return Err(Error::about(Code::TooLarge, "all branches together"));
        }
        Chain::replay_checked(bundle.as_bytes(), name, now, |pending| {
            let new = |(_, one): &&(usize, batch::Pending)| !self.signatures.contains(one.name());
            let fresh: Vec<(usize, batch::Pending)> = pending.iter().filter(new).cloned().collect();
            batch::verify(&fresh).map_err(|(at, error)| {
                let number = fresh[at].0;
                (pending.iter().position(|(n, _)| *n == number).unwrap_or_default(), error)
            })?;
            for (_, one) in &fresh {
                self.signatures.insert(one.name(), ());
            }
            Ok(())
        })
    }
}

/// Reads a sigchain server's evidence: fork objects, one a line. Objects behind one that is refused
/// are not read; those before it count.
///
/// Returns the objects, and why reading ended early. There are at most [`MAX_OBJECTS`], in at most
/// [`MAX_FORK`] bytes.
#[must_use]
pub fn read_evidence(bytes: &[u8], now: Timestamp) -> (Vec<Fork>, Option<Error>) {
    let mut forks = Vec::new();
    if bytes.len() > MAX_FORK {
        return (forks, Some(Code::TooLarge.into()));
    }
    let mut verified = Verified::default();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if n == MAX_OBJECTS {
            let error = Error::about(Code::TooLarge, "more than 64 fork objects");
            return (forks, Some(error));
        }
        match Fork::read(line, now, &mut verified) {
            Ok(fork) => forks.push(fork),
            Err(error) => return (forks, Some(error)),
        }
    }
    (forks, None)
}

/// A fork object of canonical events: all of the first branch, and the second one from the
/// divergence on, each joined by commas. The first branch is the one whose event at the divergence
/// has the smaller id. Nothing is verified.
#[must_use]
pub fn to_object(a: &str, b: &str) -> String {
    // The events are canonical JSON already, and "a" < "b" < "kez" < "type".
    alloc::format!(r#"{{"a":[{a}],"b":[{b}],"kez":1,"type":"fork"}}"#)
}

fn bundle(events: &[Value], prefix: &str) -> Result<String> {
    let mut out = String::from(prefix);
    for value in events {
        let line = value.to_canonical();
        if line.len() > event::MAX_EVENT {
            return Err(Code::TooLarge.into());
        }
        out.push_str(&line);
        out.push('\n');
    }
    Ok(out)
}
