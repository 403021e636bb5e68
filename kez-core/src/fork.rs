//! Forks: two histories of one chain, as an object that anybody can check offline
//! (SPEC.md, "Forks").

use crate::{
    Chain, Code, Envelope, Error, Identity, Op, Result, Timestamp, commitment, event,
    json::{Members, Value},
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// How two copies of one chain relate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// They agree as far as both go; this is the longer one.
    Same(Box<Chain>),
    /// They diverge.
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

/// Compares two copies of one chain.
///
/// # Errors
/// `chain_id` if they are of different chains.
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
/// let fork::Merge::Fork(fork) = fork::merge(chain("a.example")?, chain("b.example")?)? else {
///     panic!("they differ from the first event on")
/// };
/// assert_eq!((fork.seq(), fork.is_settled()), (1, false));
/// // Anybody can check it offline.
/// assert_eq!(fork::Fork::from_json(fork.to_canonical().as_bytes(), now)?, *fork);
/// # Ok::<(), kez_core::Error>(())
/// ```
pub fn merge(one: Chain, two: Chain) -> Result<Merge> {
    if one.name() != two.name() {
        return Err(Error::about(Code::ChainId, two.name()));
    }
    let ids = |chain: &Chain| chain.head().map_or(0, |h| h.seq);
    let common = ids(&one).min(ids(&two));
    let at = (1..=common).find(|seq| one.id_at(*seq) != two.id_at(*seq));
    let Some(seq) = at else {
        return Ok(Merge::Same(Box::new(if ids(&one) >= ids(&two) { one } else { two })));
    };
    // The branch whose diverging event has the smaller id comes first, so that the same two
    // histories always make the same object.
    let (a, b) = if one.id_at(seq) < two.id_at(seq) { (one, two) } else { (two, one) };
    let settled = settle(&a, &b, seq);
    Ok(Merge::Fork(Box::new(Fork { seq, a, b, settled })))
}

/// Whether exactly one branch rotates to the key that was committed where they diverge:
/// `Some(true)` for `a`, `Some(false)` for `b`.
fn settle(a: &Chain, b: &Chain, seq: u64) -> Option<bool> {
    let mut committed = None;
    let at = usize::try_from(seq - 1).ok()?;
    for event in a.events().iter().take(at) {
        if event.next.is_some() || matches!(event.op, Op::Rotate { .. }) {
            committed = event.next;
        }
    }
    let committed = committed?;
    let rotates = |chain: &Chain| {
        chain.events().iter().skip(at).any(
            |e| matches!(&e.op, Op::Rotate { to, .. } if commitment(to.identity()) == committed),
        )
    };
    match (rotates(a), rotates(b)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

impl Fork {
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

    /// The branch that is the chain, if the fork is settled by the committed key.
    ///
    /// # Errors
    /// The fork itself, if it is not settled.
    pub fn into_settled(self: Box<Self>) -> Result<Chain, Box<Self>> {
        match self.settled {
            Some(true) => Ok(self.a),
            Some(false) => Ok(self.b),
            None => Err(self),
        }
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
        // The lines are canonical JSON already, and "a" < "b" < "kez" < "type".
        alloc::format!(
            r#"{{"a":[{}],"b":[{}],"kez":1,"type":"fork"}}"#,
            self.a.lines().join(","),
            self.b.lines()[from..].join(",")
        )
    }

    /// Reads and verifies a fork object.
    ///
    /// # Errors
    /// `fork_refused` if it shows no fork, and everything that a chain can fail with.
    pub fn from_json(bytes: &[u8], now: Timestamp) -> Result<Self> {
        if bytes.len() > crate::chain::MAX_BUNDLE {
            return Err(Code::TooLarge.into());
        }
        let value = Value::parse(bytes)?;
        let mut m = Members::of(&value)?;
        if m.required("kez")? != &Value::Int(1) {
            return Err(Error::about(Code::VersionUnknown, "a fork object of version 1 is wanted"));
        }
        let kind = m.text("type")?;
        if kind != "fork" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let (a, b) = (m.array("a")?, m.array("b")?);
        m.finish()?;
        let a = bundle(a, "")?;
        let chain_a = Chain::replay(a.as_bytes(), None, now)?;
        let first = b.first().cloned().ok_or(Code::ForkRefused)?;
        let seq = crate::Event::from_payload(Envelope::from_value(first)?.payload())?.seq;
        let from = usize::try_from(seq - 1).unwrap_or(usize::MAX);
        let prefix: Vec<&str> = a.split_inclusive('\n').take(from).collect();
        if prefix.len() != from {
            return Err(Code::ForkRefused.into());
        }
        let b = bundle(b, &prefix.concat())?;
        let chain_b = Chain::replay(b.as_bytes(), Some(chain_a.name()), now)?;
        match merge(chain_a.clone(), chain_b)? {
            Merge::Fork(fork) if fork.seq == seq && fork.a == chain_a => Ok(*fork),
            _ => Err(Code::ForkRefused.into()),
        }
    }
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
