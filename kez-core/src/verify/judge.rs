//! The judgement on one proof (SPEC.md, "Judge").
//!
//! Every check takes the token of the check before it and returns its own. Only the last one
//! returns [`Proven`], which a valid verdict is made of, so a check that is left out does not
//! compile.

use super::{History, Known, Note, Status};
use crate::{
    Chain, Code, Error, Head, Identity, ObjectId, Proof, Reason, Result, SignedClaim, Standing,
    Timestamp,
    chain::{Listing, Revocation},
};
use alloc::vec::Vec;

/// What is judged: a proof whose signature verifies, and the account that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The account that was asked.
    pub subject: &'a Identity,
    /// The platform's stable id of that account, if it reports one.
    pub account: Option<&'a str>,
    /// The proof that the account shows.
    pub proof: &'a Proof,
    /// The history of the proof's primary.
    pub history: &'a History,
    /// The time as of which is judged.
    pub now: Timestamp,
}

/// The result of [`judge`], which alone makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    outcome: Result<Proven>,
    pub(super) facts: Facts,
}

/// What a proof and a chain say, whatever the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) notes: Vec<Note>,
    pub(super) claim: Option<ObjectId>,
    pub(super) claimed_as: Option<Identity>,
    pub(super) signed_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) revocation: Option<Revocation>,
    pub(super) head: Option<Head>,
    pub(super) beacon: Option<Head>,
}

/// All checks passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proven(());

/// The proof is about the account that shows it.
struct Owned(());
/// And its date has come.
struct Dated(());
/// And there is one history, with which its beacon agrees.
struct Consistent(());
/// And the chain does not speak against it.
struct Stands(());
/// And it has not expired.
struct InForce(());

impl Verdict {
    /// How it ended.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.outcome {
            Ok(Proven(())) => Status::Valid,
            Err(error) => error.code().status(),
        }
    }

    /// Why it is not valid.
    #[must_use]
    pub fn reason(&self) -> Option<&Error> {
        self.outcome.as_ref().err()
    }

    /// Further facts, in the order of SPEC.md's table.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.facts.notes
    }

    /// Why the claim is revoked.
    #[must_use]
    pub fn revocation(&self) -> Option<Reason> {
        self.facts.revocation.map(|revocation| revocation.reason)
    }
}

/// Judges a proof, in the order of SPEC.md: whose it is, its date, forks, what the chain says, a
/// rollback, expiry, and what could not be checked.
///
/// ```
/// use kez_core::{
///     Case, Claim, History, Identity, Note, Proof, Scheme, SecretKey, SignedClaim, Status,
///     Timestamp, judge,
/// };
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let subject = Identity::parse("example.com")?;
/// let mut claim =
///     Claim::new(subject.clone(), key.public().identity().clone(), now).to_envelope()?;
/// claim.sign(&key, &[0; 32])?;
/// let proof = Proof::Claim(SignedClaim::verify(claim)?);
/// let history = History::Absent;
/// let case = Case { subject: &subject, account: None, proof: &proof, history: &history, now };
/// let verdict = judge(&case);
/// assert_eq!(verdict.status(), Status::Valid);
/// assert_eq!(verdict.notes(), [Note::NoChain]);
/// # Ok::<(), kez_core::Error>(())
/// ```
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let mut facts = Facts { head: case.history.chain().and_then(Chain::head), ..Facts::default() };
    if let History::Known(known) = case.history {
        let told = known.refused.is_some() && known.refused != known.doubt;
        facts.notes.extend(told.then_some(Note::ServerRefused));
        facts.notes.extend(known.settled.then_some(Note::ForkSettled));
        facts.notes.extend((!known.chain.skipped().is_empty()).then_some(Note::EventsSkipped));
    }
    let outcome = match case.proof {
        Proof::Claim(signed) => claim(case, signed, &mut facts),
        Proof::Pointer(_) => pointer(case, &mut facts),
    };
    facts.notes.sort_unstable();
    Verdict { outcome, facts }
}

fn claim(case: &Case<'_>, signed: &SignedClaim, facts: &mut Facts) -> Result<Proven> {
    let claim = signed.claim();
    facts.claim = Some(signed.id());
    facts.signed_at = Some(claim.created_at);
    facts.expires_at = claim.expires_at;
    facts.beacon = claim.head;
    // The owner may have pinned the account in either place.
    let listing = case.history.chain().and_then(|chain| chain.listing(signed.id()));
    let pinned = claim.account.as_deref().or_else(|| listing.and_then(|l| l.account.as_deref()));
    let token = check_owner(case, &claim.subject, pinned, facts)?;
    let token = check_date(token, claim.created_at, case.now)?;
    let token = check_history(token, case.history, claim.head)?;
    let token = check_standing(token, case.history, signed, facts)?;
    let token = check_rollback(token, case.history, claim.head)?;
    let token = check_expiry(token, claim.expires_at, case.now)?;
    check_doubt(token, case.history, signed, facts)
}

/// The proof must be about the account that shows it; a stable id tells a new name from another
/// account.
fn check_owner(
    case: &Case<'_>,
    named: &Identity,
    pinned: Option<&str>,
    facts: &mut Facts,
) -> Result<Owned> {
    let same_account = pinned.is_some() && pinned == case.account;
    if named != case.subject {
        if !same_account || named.scheme() != case.subject.scheme() {
            return Err(Error::about(Code::WrongOwner, format_args!("it names {named}")));
        }
        facts.claimed_as = Some(named.clone());
        facts.notes.push(Note::Renamed);
    }
    match (pinned, case.account) {
        (Some(pinned), Some(account)) if pinned != account => Err(Error::about(
            Code::AccountChanged,
            format_args!("the proof is for the account {pinned}, the platform reports {account}"),
        )),
        (None, Some(_)) => {
            facts.notes.push(Note::AccountUnpinned);
            Ok(Owned(()))
        }
        _ => Ok(Owned(())),
    }
}

fn check_date(_: Owned, created_at: Timestamp, now: Timestamp) -> Result<Dated> {
    if created_at.is_future(now) {
        return Err(Code::NotYetValid.into());
    }
    Ok(Dated(()))
}

/// There must be one history, and the claim's beacon must lie on it.
fn check_history(_: Dated, history: &History, beacon: Option<Head>) -> Result<Consistent> {
    if let (History::Forked(_), Some(error)) = (history, history.doubt()) {
        return Err(error);
    }
    let chain = history.chain();
    let differs =
        |head: &Head| chain.and_then(|chain| chain.id_at(head.seq)).is_some_and(|id| id != head.id);
    match beacon.filter(differs) {
        Some(head) => {
            Err(Error::about(Code::BeaconMismatch, format_args!("at event {}", head.seq)))
        }
        None => Ok(Consistent(())),
    }
}

fn check_standing(
    _: Consistent,
    history: &History,
    signed: &SignedClaim,
    facts: &mut Facts,
) -> Result<Stands> {
    let Some(chain) = history.chain() else { return Ok(Stands(())) };
    match chain.standing(signed) {
        Standing::Listed(_) => Ok(Stands(())),
        Standing::Unlisted => {
            facts.notes.push(Note::Unlisted);
            Ok(Stands(()))
        }
        // A key of a period that could not be read may have signed it.
        Standing::Refused(Code::ChainSigner) if !chain.had_key(signed.signer().identity()) => {
            Err(unread(history).unwrap_or_else(|| Code::ChainSigner.into()))
        }
        Standing::Refused(code) => Err(code.into()),
        Standing::Revoked(revocation) => Err(revoked(revocation, facts)),
    }
}

/// Why the end of a chain may be missing.
fn unread(history: &History) -> Option<Error> {
    let unchecked = matches!(history, History::Known(known) if known.unchecked);
    history.doubt().or_else(|| unchecked.then(|| Code::ChainUnreachable.into()))
}

fn revoked(revocation: Revocation, facts: &mut Facts) -> Error {
    facts.revocation = Some(revocation);
    Code::Revoked.into()
}

/// Sources that withhold events are found out before the claim's end is looked at: the withheld
/// events may revoke it.
fn check_rollback(token: Stands, history: &History, beacon: Option<Head>) -> Result<Stands> {
    let doubt = history.doubt().filter(|error| error.code() == Code::Rollback);
    let short = beacon.filter(|head| match history {
        History::Known(known) => known.chain.id_at(head.seq).is_none(),
        History::Absent => true,
        _ => false,
    });
    match (doubt, short) {
        (Some(error), _) => Err(error),
        (None, Some(head)) => Err(Error::about(
            Code::Rollback,
            format_args!("the claim names event {}, which no source serves", head.seq),
        )),
        (None, None) => Ok(token),
    }
}

fn check_expiry(_: Stands, expires_at: Option<Timestamp>, now: Timestamp) -> Result<InForce> {
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Code::Expired.into());
    }
    Ok(InForce(()))
}

/// The last check: nothing is assumed about a chain that could not be read.
fn check_doubt(
    _: InForce,
    history: &History,
    signed: &SignedClaim,
    facts: &mut Facts,
) -> Result<Proven> {
    let own = signed.signer().identity() == &signed.claim().primary;
    let needs_chain = || {
        let why = "another key signed the claim, and only the sigchain could vouch for it";
        Error::about(Code::ChainUnreachable, why)
    };
    match history {
        History::Unknown(error) => Err(error.clone()),
        History::Known(known) => undoubted(known, facts).map(|()| Proven(())),
        History::Absent | History::Unchecked if !own => Err(needs_chain()),
        // Its owner says that there is a chain.
        History::Absent if !signed.claim().sources.is_empty() => {
            let why = "the claim names sources of a sigchain, and they have none";
            Err(Error::about(Code::ChainUnreachable, why))
        }
        History::Absent => {
            facts.notes.push(Note::NoChain);
            Ok(Proven(()))
        }
        History::Unchecked => {
            facts.notes.push(Note::HistoryUnchecked);
            Ok(Proven(()))
        }
        // Not met: check_history refuses a fork.
        History::Forked(_) => Err(Code::Forked.into()),
    }
}

/// A pointer proves what its chain lists.
fn pointer(case: &Case<'_>, facts: &mut Facts) -> Result<Proven> {
    facts.notes.push(Note::Pointer);
    if let (History::Forked(_), Some(error)) = (case.history, case.history.doubt()) {
        return Err(error);
    }
    let known = match case.history {
        History::Known(known) => known,
        History::Absent => {
            return Err(Error::about(Code::NotOnChain, "there is no such sigchain"));
        }
        History::Unchecked | History::Forked(_) => {
            let why = "a pointer proves nothing without its sigchain";
            return Err(Error::about(Code::ChainUnreachable, why));
        }
        History::Unknown(error) => return Err(error.clone()),
    };
    let Some(listing) = listed(&known.chain, case) else {
        if let Some(revocation) = known.chain.subject_revocation(case.subject) {
            return Err(revoked(revocation, facts));
        }
        // An event that is missing at the chain's end may list it.
        return Err(known.doubt.clone().unwrap_or_else(|| Code::NotOnChain.into()));
    };
    facts.claim = Some(listing.claim);
    facts.signed_at = Some(listing.added_at);
    let token = check_owner(case, &listing.subject, listing.account.as_deref(), facts)?;
    vouched(token, known, facts)
}

/// The listing in force of the account, by its name or else by its stable id.
fn listed<'a>(chain: &'a Chain, case: &Case<'_>) -> Option<&'a Listing> {
    let by_id = || {
        let account = case.account?;
        let same = |l: &Listing| {
            l.account.as_deref() == Some(account) && l.subject.scheme() == case.subject.scheme()
        };
        let in_force = chain.listings().into_iter().filter(|(_, revoked)| revoked.is_none());
        in_force.map(|(listing, _)| listing).rfind(|l| same(l))
    };
    chain.active(case.subject).or_else(by_id)
}

/// The last check on a pointer.
fn vouched(_: Owned, known: &Known, facts: &mut Facts) -> Result<Proven> {
    undoubted(known, facts).map(|()| Proven(()))
}

/// Nothing may be missing at the chain's end.
fn undoubted(known: &Known, facts: &mut Facts) -> Result<()> {
    match &known.doubt {
        Some(error) => Err(error.clone()),
        None => {
            facts.notes.extend(known.unchecked.then_some(Note::HistoryUnchecked));
            Ok(())
        }
    }
}

impl Facts {
    /// Adds what several verdicts on one account say together.
    pub(super) fn note(&mut self, note: Note) {
        if let Err(at) = self.notes.binary_search(&note) {
            self.notes.insert(at, note);
        }
    }
}

impl Verdict {
    /// The name that the claim has for the account, if that is another one.
    #[must_use]
    pub const fn claimed_as(&self) -> Option<&Identity> {
        self.facts.claimed_as.as_ref()
    }
}
