//! Channels: which requests to make to find an account's proofs, and how to read the answers,
//! without doing I/O (SPEC.md, "Channels"). A channel is one folder, its `mod` line, and one line
//! in [`CHANNELS`].

pub mod ap;
pub mod bluesky;
pub mod dns;
pub mod ed25519;
pub mod github;
mod http;
pub mod nostr;
mod registry;
mod url_form;

/// Every channel.
pub static CHANNELS: &[&dyn Channel] =
    &[&nostr::Nostr, &ed25519::Ed25519, &dns::Dns, &github::Github, &bluesky::Bluesky, &ap::Ap];

pub(crate) use registry::by_typed_scheme;
pub use registry::{Channel, Credential, CredentialKind, Facts, by_scheme};
pub use url_form::UrlForm;

pub(crate) use ap::ACTIVITY;
pub use bluesky::SCOPE as BLUESKY_SCOPE;
#[cfg(feature = "import")]
pub(crate) use github::ACCEPT as GITHUB;
pub(crate) use http::Http;
#[cfg(feature = "import")]
pub(crate) use http::is_page;
pub(crate) use nostr::further_relays;
pub use nostr::{
    carrier, carrier_source, chain_authors, chain_carrier, chain_failure, chain_filters,
    chain_request, further_filters, source_url,
};
#[cfg(feature = "publish")]
pub(crate) use {
    ap::actor_host,
    bluesky::COLLECTION as BLUESKY_COLLECTION,
    dns::diagnose,
    github::{FILES as GIST_FILES, MAX_LISTED, next_link},
    nostr::{is_proof, newest_own, proof_filters},
};
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) use {
    ap::html::to_text as html_to_text,
    nostr::{EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, newest},
};

use crate::{
    Code, Error, Identity, Result, Status, Timestamp,
    transport::{Answer, Endpoints, Failure, Place, Request, Via},
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// What a lookup starts from, beside the subject.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where the platforms are.
    pub endpoints: &'a Endpoints,
    /// The clock's time.
    pub now: Timestamp,
    /// URLs where the owner's sigchain says that proofs were published. They shorten the search;
    /// what is found there is checked like anything else.
    pub hints: &'a [String],
    /// The account's name as the user typed it, where only upper and lower case differ.
    pub spelling: Option<&'a str>,
}

/// A lookup in progress: a state machine that is fed with answers.
pub trait Lookup {
    /// Takes the answers to the last step's requests, in their order (none at the start), and
    /// returns what to do next.
    fn step(&mut self, answers: Vec<Fetched>) -> Step;

    /// Whether these answers to the current step decide, so that the others need not be waited
    /// for any longer than a moment. The default waits for all.
    fn decides(&self, _answers: &[Fetched]) -> bool {
        false
    }
}

/// A request with what came of it.
pub type Fetched = (Request, Result<Answer, Failure>);

/// What a lookup wants next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a lookup has one at a time, and none is stored")]
pub enum Step {
    /// These requests, side by side.
    Ask(Vec<Request>),
    /// Nothing more: what the account shows, or why that cannot be told.
    Done(Result<Finding, Miss>),
}

/// What an account shows, by the platform's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The platform's stable id of the account.
    pub account: Option<String>,
    /// The texts that only the account's owner can write, best first.
    pub texts: Vec<Text>,
    /// Where it was looked, for the case that there is no text.
    pub place: Option<Place>,
    /// Whether the resolver says that DNSSEC validated the answer.
    pub dnssec: Option<bool>,
    /// How the answer was had, and when.
    pub source: Option<(Via, Timestamp)>,
    /// Until when the resolver may repeat this answer, whatever has changed.
    pub lasts_until: Option<Timestamp>,
    /// What could not be read: the first failure, or `search_incomplete`. It counts only if the
    /// texts hold no proof.
    pub failed: Option<Miss>,
    /// The account to which the owner says that this one has moved.
    pub moved_to: Option<String>,
    /// The account's name, where the platform gives another one than the lookup asked for and the
    /// channel has checked that it belongs to the same account (KEZ-AP: a canonical subject).
    pub subject: Option<Identity>,
}

impl Finding {
    /// Records what could not be read. A failure that leaves the answer open outranks one that is
    /// a finding of its own (`proof_malformed`, `gist_forked`): with it, absence is unknown.
    pub(crate) fn fail(&mut self, miss: Miss) {
        let open = |miss: &Miss| miss.code.status() == Status::Unreachable;
        if self.failed.as_ref().is_none_or(|known| open(&miss) && !open(known)) {
            self.failed = Some(miss);
        }
    }
}

/// A text of the account's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where it was found.
    pub place: Place,
}

/// Why it cannot be told what an account shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The reason.
    pub code: Code,
    /// In more detail.
    pub detail: Option<String>,
    /// Where it was looked.
    pub place: Option<Place>,
    /// When to try again.
    pub retry_at: Option<Timestamp>,
}

impl Miss {
    fn at(code: Code, place: Place) -> Self {
        Self { code, detail: None, place: Some(place), retry_at: None }
    }

    fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl From<Miss> for Error {
    fn from(miss: Miss) -> Self {
        match (miss.place, miss.detail) {
            (Some(place), Some(detail)) => {
                Self::about(miss.code, alloc::format!("{}: {detail}", place.url))
            }
            (Some(place), None) => Self::about(miss.code, place.url),
            (None, Some(detail)) => Self::about(miss.code, detail),
            (None, None) => miss.code.into(),
        }
    }
}

impl From<Miss> for Step {
    fn from(miss: Miss) -> Self {
        Self::Done(Err(miss))
    }
}

/// Starts the lookup of a subject's proofs.
///
/// # Errors
/// `no_channel` for a scheme without one.
///
/// ```
/// use kez_core::{
///     Endpoints, Identity, Timestamp,
///     channel::{Context, Step, lookup},
///     transport::Request,
/// };
/// let subject = Identity::parse("dns:example.com")?;
/// let endpoints = Endpoints::default();
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let context = Context { endpoints: &endpoints, now, hints: &[], spelling: None };
/// let mut lookup = lookup(&subject, &context)?;
/// let Step::Ask(requests) = lookup.step(vec![]) else { panic!("it has to ask") };
/// assert_eq!(requests, [Request::Txt { name: "_kez.example.com".into() }]);
/// # Ok::<(), kez_core::Error>(())
/// ```
pub fn lookup(subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>> {
    match subject.channel() {
        Some(channel) => channel.lookup(subject, context),
        None => Err(Error::about(Code::NoChannel, subject)),
    }
}

fn failed(request: &Request, failure: Failure) -> Miss {
    let place = Place { url: request.place(), ..Place::default() };
    Miss { code: failure.code, detail: failure.detail, place: Some(place), retry_at: None }
}

/// Percent-encodes one value of a query or one segment of a path.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push_str(&crate::hex::encode(&[b]).to_ascii_uppercase());
        }
    }
    out
}
