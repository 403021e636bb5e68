//! Reports: one form for every surface (SPEC.md, "Report").

use super::{Verdict, judge::Facts};
use crate::{
    Code, Encoding, Error, Head, Identity, ObjectId, Reason, Timestamp,
    chain::{Listing, Revocation},
    transport::{Place, Via},
};
use alloc::{string::String, vec::Vec};
use core::cmp::Reverse;

/// How a verification ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Status {
    /// The proof holds.
    Valid,
    /// The proof is there and wrong, or definitely not there.
    Invalid,
    /// The owner took it back.
    Revoked,
    /// Its time is over.
    Expired,
    /// It cannot be checked now.
    Unreachable,
    /// The owner's history has two branches.
    Fork,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Valid, Self::Invalid, Self::Revoked, Self::Expired, Self::Unreachable, Self::Fork];

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unreachable => "unreachable",
            Self::Fork => "fork",
        }
    }

    /// The exit code of a command whose result this is. 2 is reserved for wrong usage.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Revoked => 3,
            Self::Expired => 4,
            Self::Unreachable => 5,
            Self::Fork => 6,
        }
    }
}

/// Something worth knowing that does not change the status. Reports have them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Note {
    /// The sigchain does not list the claim; its current key signed it.
    Unlisted,
    /// Proven by a pointer and the sigchain's listing.
    Pointer,
    /// No sigchain exists for the primary.
    NoChain,
    /// No source of the sigchain was asked, so a revocation would not be seen.
    HistoryUnchecked,
    /// The committed key settled a fork.
    ForkSettled,
    /// The sigchain has events that this version skipped as allowed.
    EventsSkipped,
    /// The proof does not pin the platform's stable account id.
    AccountUnpinned,
    /// Another primary has a valid proof of the same account.
    Contested,
    /// The proof has another name of the same account.
    Renamed,
    /// The account's owner says that it has moved.
    Moved,
    /// A sigchain server was not believed, since its log does not prove what it serves.
    ServerRefused,
}

impl Note {
    /// Every note.
    pub const ALL: [Self; 11] = [
        Self::Unlisted,
        Self::Pointer,
        Self::NoChain,
        Self::HistoryUnchecked,
        Self::ForkSettled,
        Self::EventsSkipped,
        Self::AccountUnpinned,
        Self::Contested,
        Self::Renamed,
        Self::Moved,
        Self::ServerRefused,
    ];

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contested => "contested",
            Self::Renamed => "renamed",
            Self::Moved => "moved",
            Self::HistoryUnchecked => "history_unchecked",
            Self::NoChain => "no_chain",
            Self::Unlisted => "unlisted",
            Self::Pointer => "pointer",
            Self::AccountUnpinned => "account_unpinned",
            Self::ForkSettled => "fork_settled",
            Self::EventsSkipped => "events_skipped",
            Self::ServerRefused => "server_refused",
        }
    }

    /// The note in words.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Contested => "another owner has a valid proof of this account too",
            Self::Renamed => "the account was renamed after the proof was signed",
            Self::Moved => "the account has moved",
            Self::HistoryUnchecked => "revocations were not checked",
            Self::NoChain => "no sigchain",
            Self::Unlisted => "not listed on the sigchain",
            Self::Pointer => "proven by a pointer and the sigchain",
            Self::AccountUnpinned => "the proof does not pin the account's stable id",
            Self::ForkSettled => "a fork was settled by the committed key",
            Self::EventsSkipped => "the sigchain has newer events that were skipped",
            Self::ServerRefused => "a sigchain server's log does not prove what it serves",
        }
    }
}

/// What was found out about one subject. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Report {
    /// `kez.report/1`.
    pub schema: &'static str,
    /// What was verified.
    pub subject: Identity,
    /// The identity that the proof names.
    pub primary: Option<Identity>,
    /// How it ended.
    pub status: Status,
    /// Why, on every report that is not valid.
    pub reason: Option<Code>,
    /// The reason in more detail.
    pub detail: Option<String>,
    /// Further facts.
    pub notes: Vec<Note>,
    /// The form of the proof.
    pub encoding: Option<Encoding>,
    /// The claim's id.
    pub claim: Option<ObjectId>,
    /// The name that the claim has for the account, where it is another one.
    pub claimed_as: Option<Identity>,
    /// The platform's stable id of the account.
    pub account: Option<String>,
    /// Where the account has moved to, by its owner's word.
    pub moved_to: Option<String>,
    /// Where the proof was found or looked for.
    pub place: Option<Place>,
    /// How the answer was had.
    pub via: Option<Via>,
    /// Whether the resolver reports that DNSSEC validated the answer.
    pub dnssec: Option<bool>,
    /// When the answer was fetched.
    pub checked_at: Timestamp,
    /// When the claim was signed, or the listing was added.
    pub signed_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The revocation's reason.
    pub revocation: Option<Reason>,
    /// The head of the chain that the verdict rests on.
    pub head: Option<Head>,
    /// The head that the claim itself names.
    pub beacon: Option<Head>,
    /// When to try again.
    pub retry_at: Option<Timestamp>,
}

/// What a lookup says of its subject, whatever is judged of the proofs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What was looked up.
    pub subject: Identity,
    /// The form of the proof.
    pub encoding: Option<Encoding>,
    /// The platform's stable id of the account.
    pub account: Option<String>,
    /// Where the proof was found or looked for.
    pub place: Option<Place>,
    /// How the answer was had.
    pub via: Option<Via>,
    /// Whether the resolver reports that DNSSEC validated the answer.
    pub dnssec: Option<bool>,
    /// Where the account has moved to, by its owner's word.
    pub moved_to: Option<String>,
    /// When the answer was fetched.
    pub checked_at: Timestamp,
    /// When to try again.
    pub retry_at: Option<Timestamp>,
}

impl Lookup {
    /// A lookup that found nothing yet.
    #[must_use]
    pub const fn of(subject: Identity, checked_at: Timestamp) -> Self {
        Self {
            subject,
            encoding: None,
            account: None,
            place: None,
            via: None,
            dnssec: None,
            moved_to: None,
            checked_at,
            retry_at: None,
        }
    }

    /// The report on a proof that was judged. A time to try again belongs to failures alone.
    #[must_use]
    pub fn report(&self, primary: &Identity, verdict: &Verdict) -> Report {
        let facts = verdict.facts.clone();
        self.assemble(Some(primary.clone()), verdict.status(), verdict.reason(), facts)
    }

    /// The report where there is no proof to judge.
    #[must_use]
    pub fn failed(&self, error: &Error) -> Report {
        self.assemble(None, error.code().status(), Some(error), Facts::default())
    }

    /// The report on a listed account that its owner revoked, which needs no look.
    pub(super) fn revoked(
        &self,
        primary: &Identity,
        listing: &Listing,
        revocation: Revocation,
        head: Option<Head>,
    ) -> Report {
        let facts = Facts {
            claim: Some(listing.claim),
            signed_at: Some(listing.added_at),
            revocation: Some(revocation),
            head,
            ..Facts::default()
        };
        let error = Error::from(Code::Revoked);
        self.assemble(Some(primary.clone()), error.code().status(), Some(&error), facts)
    }

    /// The one place where reports are made.
    fn assemble(
        &self,
        primary: Option<Identity>,
        status: Status,
        reason: Option<&Error>,
        mut facts: Facts,
    ) -> Report {
        if self.moved_to.is_some() {
            facts.note(Note::Moved);
        }
        Report {
            schema: "kez.report/1",
            subject: self.subject.clone(),
            primary,
            status,
            reason: reason.map(Error::code),
            detail: reason.and_then(Error::context).map(String::from),
            notes: facts.notes,
            encoding: self.encoding,
            claim: facts.claim,
            claimed_as: facts.claimed_as,
            account: self.account.clone(),
            moved_to: self.moved_to.clone(),
            place: self.place.clone(),
            via: self.via,
            dnssec: self.dnssec,
            checked_at: self.checked_at,
            signed_at: facts.signed_at,
            expires_at: facts.expires_at,
            revoked_at: facts.revocation.map(|revocation| revocation.at),
            revocation: facts.revocation.map(|revocation| revocation.reason),
            head: facts.head,
            beacon: facts.beacon,
            retry_at: self.retry_at,
        }
    }
}

impl Report {
    /// Marks the reports of an account for which several owners have a valid proof.
    pub(super) fn mark_contested(reports: &mut [Self]) {
        let valid = reports.iter().filter(|report| report.status == Status::Valid).count();
        if valid < 2 {
            return;
        }
        for report in reports.iter_mut().filter(|report| report.status == Status::Valid) {
            report.notes.push(Note::Contested);
            report.notes.sort_unstable();
        }
    }

    /// Puts the best first; of equal ones the newest, and what has no date or owner last.
    pub(super) fn sort(reports: &mut [Self]) {
        reports.sort_by_cached_key(|report| {
            let owner = (report.primary.is_none(), report.primary.clone());
            (report.rank(), Reverse(report.signed_at), owner)
        });
    }

    /// Lowers a report that several claims together refute.
    pub(super) fn refute(&mut self, error: &Error) {
        self.status = error.code().status();
        self.reason = Some(error.code());
        self.detail = error.context().map(String::from);
    }

    /// How good it is, the best first.
    pub(super) fn rank(&self) -> u8 {
        match self.status {
            Status::Valid => 0,
            Status::Fork => 1,
            Status::Unreachable => 2,
            Status::Revoked => 3,
            Status::Expired => 4,
            Status::Invalid => 5,
        }
    }
}

/// Compares the heads that an identity's claims name on different platforms: two that differ at
/// one place are a fork, found without any server's help (SPEC.md, KEZ-BCN-03).
pub(super) fn compare_beacons(reports: &mut [Report]) {
    let told = |r: &Report| r.beacon.filter(|_| r.status != Status::Invalid);
    let heads: Vec<Head> = reports.iter().filter_map(told).collect();
    for report in reports {
        let Some(own) = told(report) else { continue };
        if heads.iter().any(|other| other.seq == own.seq && other.id != own.id) {
            let detail = alloc::format!("two claims name different events {}", own.seq);
            report.refute(&Error::about(Code::BeaconMismatch, detail));
        }
    }
}
