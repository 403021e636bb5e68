//! Verdicts: one report for every surface (SPEC.md, "Verdicts").

use crate::{
    Chain, Code, Encoding, Error, Fork, Head, Identity, ObjectId, Proof, Reason, Standing,
    Timestamp, transport::Via,
};
use alloc::{boxed::Box, string::String, vec::Vec};

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

    /// The exit code of a command whose result this is. 2 is kept for wrong usage.
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

/// Something worth knowing that does not change the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Note {
    /// The chain does not list the claim; its current key signed it.
    Unlisted,
    /// Proven by a pointer and the chain's listing.
    Pointer,
    /// No chain is known to exist for the primary.
    NoChain,
    /// No source of the chain could be asked, so a revocation would not be seen.
    ChainUnknown,
    /// A fork was settled by the committed key.
    ForkSettled,
    /// The chain has events that this version skipped as allowed.
    EventsSkipped,
    /// The claim does not pin the platform's stable account id.
    AccountUnpinned,
    /// A sigchain server was not believed, since its log does not prove what it says.
    ServerRefused,
}

impl Note {
    /// The note in words.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Unlisted => "not listed on the sigchain",
            Self::Pointer => "proven by a pointer and the sigchain",
            Self::NoChain => "no sigchain",
            Self::ChainUnknown => "no source of the sigchain could be asked",
            Self::ForkSettled => "a fork was settled by the committed key",
            Self::EventsSkipped => "the sigchain has newer events that were skipped",
            Self::AccountUnpinned => "the account's stable id is not pinned",
            Self::ServerRefused => "a sigchain server's log does not prove what it says",
        }
    }
}

/// Where something was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Place {
    /// The exact URL that was asked; `dns:<name>?type=TXT` for DNS.
    pub url: String,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub http_status: Option<u16>,
    /// The DNS response code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub rcode: Option<u8>,
    /// The URL that answered, if redirects led to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub redirected_to: Option<String>,
}

/// What was found out about one subject. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
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
    /// The platform's stable id of the account.
    pub account: Option<String>,
    /// Where the proof was found or looked for.
    pub place: Option<Place>,
    /// How the answer was had.
    pub via: Option<Via>,
    /// Whether the resolver says that DNSSEC validated the answer.
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

impl Report {
    /// A report about a subject that says nothing yet.
    #[must_use]
    pub const fn new(subject: Identity, now: Timestamp) -> Self {
        Self {
            schema: "kez.report/1",
            subject,
            primary: None,
            status: Status::Valid,
            reason: None,
            detail: None,
            notes: Vec::new(),
            encoding: None,
            claim: None,
            account: None,
            place: None,
            via: None,
            dnssec: None,
            checked_at: now,
            signed_at: None,
            expires_at: None,
            revoked_at: None,
            revocation: None,
            head: None,
            beacon: None,
            retry_at: None,
        }
    }

    pub(crate) fn fail(&mut self, code: Code, detail: Option<String>) {
        self.status = code.status();
        self.reason = Some(code);
        self.detail = detail;
    }

    pub(crate) fn refuse(&mut self, error: &Error) {
        self.fail(error.code(), error.context().map(String::from));
    }
}

/// What a verifier knows of a primary's sigchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// At least one source answered, and none has such a chain.
    Absent,
    /// No source could be asked, or none that is to be believed; why.
    Unknown(Option<Error>),
    /// The chain, the longest that is known.
    Known {
        /// The chain.
        chain: Box<Chain>,
        /// Whether the sources serve less than was seen before.
        rolled_back: bool,
        /// Whether no source could be asked now, so that this is what was seen before.
        remembered: bool,
        /// Whether a fork was settled in its favour.
        settled: bool,
        /// Why a sigchain server was not believed, if one was not.
        refused: Option<Error>,
    },
    /// Two branches that both verify.
    Forked(Box<Fork>),
}

impl History {
    /// The history as it stood at that time.
    #[must_use]
    pub fn as_of(self, at: Timestamp) -> Self {
        match self {
            Self::Known { chain, rolled_back, remembered, settled, refused } => {
                let chain = Box::new(chain.as_of(at));
                if chain.head().is_none() {
                    return Self::Absent;
                }
                Self::Known { chain, rolled_back, remembered, settled, refused }
            }
            other => other,
        }
    }

    /// Why it may not be the history, or not all of it.
    #[must_use]
    pub fn doubt(&self) -> Option<Error> {
        let unreachable = || Error::from(Code::ChainUnreachable);
        match self {
            Self::Absent => None,
            Self::Unknown(error) => Some(error.clone().unwrap_or_else(unreachable)),
            Self::Known { rolled_back, remembered, refused, .. } if *rolled_back || *remembered => {
                let other = if *rolled_back { Code::Rollback } else { Code::ChainUnreachable };
                Some(refused.clone().unwrap_or_else(|| other.into()))
            }
            Self::Known { .. } => None,
            Self::Forked(fork) => {
                Some(Error::about(Code::Forked, format_args!("from event {} on", fork.seq())))
            }
        }
    }

    /// The chain, if there is one that can be told.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        match self {
            Self::Known { chain, .. } => Some(chain),
            _ => None,
        }
    }
}

/// Judges a proof whose signature verifies, that stands on the account `account` of the report's
/// subject, against the history of its primary. Fills the report in.
///
/// The order of the rules is that of SPEC.md: wrong, forked, revoked, expired, then whatever
/// could not be checked.
pub fn judge(report: &mut Report, proof: &Proof, history: &History, now: Timestamp) {
    report.primary = Some(proof.primary().clone());
    report.head = history.chain().and_then(Chain::head);
    if let History::Known { refused: Some(_), remembered: false, .. } = history {
        report.notes.push(Note::ServerRefused);
    }
    let wrong = match proof {
        Proof::Claim(signed) => {
            let claim = signed.claim();
            report.claim = Some(signed.id());
            report.signed_at = Some(claim.created_at);
            report.expires_at = claim.expires_at;
            report.beacon = claim.head;
            let pinned = claim.account.as_deref();
            let changed = matches!((pinned, &report.account), (Some(a), Some(b)) if a != b);
            if claim.subject != report.subject {
                Some((Code::WrongOwner, Some(alloc::format!("it names {}", claim.subject))))
            } else if changed {
                let pinned = pinned.unwrap_or_default();
                Some((
                    Code::AccountChanged,
                    Some(alloc::format!("the claim names account {pinned}")),
                ))
            } else if claim.created_at.is_future(now) {
                Some((Code::NotYetValid, None))
            } else {
                if pinned.is_none() && report.account.is_some() {
                    report.notes.push(Note::AccountUnpinned);
                }
                None
            }
        }
        Proof::Pointer(_) => {
            report.notes.push(Note::Pointer);
            None
        }
    };
    if let Some((code, detail)) = wrong {
        return report.fail(code, detail);
    }
    let doubt = history.doubt();
    if let (History::Forked(_), Some(error)) = (history, &doubt) {
        return report.refuse(error);
    }
    let expired = report.expires_at.is_some_and(|at| at <= now);
    match proof {
        Proof::Claim(signed) => {
            let relies = signed.claim().head.is_some() || !signed.claim().sources.is_empty();
            let own = signed.signer().identity() == &signed.claim().primary;
            let unasked = doubt.as_ref().is_some_and(|e| e.code() == Code::ChainUnreachable);
            let trouble = match history {
                History::Known { chain, remembered, settled, .. } => {
                    stand(report, signed, chain);
                    if report.reason.is_some() {
                        return;
                    }
                    if *settled {
                        report.notes.push(Note::ForkSettled);
                    }
                    if *remembered {
                        report.notes.push(Note::ChainUnknown);
                    }
                    let short = signed.claim().head.is_some_and(|h| chain.id_at(h.seq).is_none());
                    let unasked =
                        doubt.as_ref().is_some_and(|e| e.code() == Code::ChainUnreachable);
                    match doubt {
                        _ if short => Some(Code::Rollback.into()),
                        _ if unasked && !relies => None,
                        doubt => doubt,
                    }
                }
                History::Absent if own && !relies => {
                    report.notes.push(Note::NoChain);
                    None
                }
                History::Unknown(_) if own && !relies && unasked => {
                    report.notes.push(Note::ChainUnknown);
                    None
                }
                _ => Some(doubt.unwrap_or_else(|| Code::ChainUnreachable.into())),
            };
            if expired {
                return report.fail(Code::Expired, None);
            }
            if let Some(error) = trouble {
                report.refuse(&error);
            }
        }
        Proof::Pointer(_) => point(report, history),
    }
}

/// Compares the heads that an identity's claims name on different platforms: two that differ at
/// one place are a fork, found without any server's help (SPEC.md, KEZ-BCN-03).
pub(crate) fn compare_beacons(reports: &mut [Report]) {
    let told = |r: &Report| r.beacon.filter(|_| r.status != Status::Invalid);
    let heads: Vec<Head> = reports.iter().filter_map(told).collect();
    for report in reports {
        let Some(own) = told(report) else { continue };
        if heads.iter().any(|other| other.seq == own.seq && other.id != own.id) {
            let detail = alloc::format!("two claims name different events {}", own.seq);
            report.fail(Code::BeaconMismatch, Some(detail));
        }
    }
}

/// What the chain says of a claim.
fn stand(report: &mut Report, signed: &crate::SignedClaim, chain: &Chain) {
    if let Some(head) = signed.claim().head
        && chain.id_at(head.seq).is_some_and(|id| id != head.id)
    {
        return report.fail(Code::BeaconMismatch, Some(alloc::format!("at event {}", head.seq)));
    }
    if !chain.skipped().is_empty() {
        report.notes.push(Note::EventsSkipped);
    }
    match chain.standing(signed) {
        Standing::Listed(_) => {}
        Standing::Unlisted => report.notes.push(Note::Unlisted),
        Standing::Refused(code) => report.fail(code, None),
        Standing::Revoked(revocation) => {
            report.revoked_at = Some(revocation.at);
            report.revocation = Some(revocation.reason);
            report.fail(Code::Revoked, None);
        }
    }
}

/// What the chain says of a subject that points to it.
fn point(report: &mut Report, history: &History) {
    let doubt = history.doubt();
    let History::Known { chain, settled, .. } = history else {
        return report.refuse(&doubt.unwrap_or_else(|| Code::ChainUnreachable.into()));
    };
    if *settled {
        report.notes.push(Note::ForkSettled);
    }
    if let Some(listing) = chain.active(&report.subject) {
        report.claim = Some(listing.claim);
        report.signed_at = Some(listing.added_at);
        let changed = matches!((&listing.account, &report.account), (Some(a), Some(b)) if a != b);
        if changed {
            report.fail(Code::AccountChanged, None);
        } else if let Some(error) = doubt {
            report.refuse(&error);
        }
    } else if let Some(revocation) = chain.subject_revocation(&report.subject) {
        report.revoked_at = Some(revocation.at);
        report.revocation = Some(revocation.reason);
        report.fail(Code::Revoked, None);
    } else {
        report.fail(Code::NotOnChain, None);
    }
}
