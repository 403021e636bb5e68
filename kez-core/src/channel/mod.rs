//! Channels: which requests to make to find an account's proofs, and how to read the answers,
//! without doing I/O (SPEC.md, "Channels"). A channel is one file and one line in [`lookup`].

mod ap;
mod bluesky;
mod dns;
mod github;
mod nostr;

pub use bluesky::SCOPE as BLUESKY_SCOPE;
pub(crate) use nostr::further_relays;
pub use nostr::{
    carrier, carrier_source, chain_authors, chain_carrier, chain_failure, chain_filters,
    chain_request, further_filters, source_url,
};
#[cfg(feature = "import")]
pub(crate) use {ap::ACTIVITY, github::ACCEPT as GITHUB};
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) use {
    ap::html::to_text as html_to_text,
    nostr::{EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, newest},
};
#[cfg(feature = "publish")]
pub(crate) use {
    bluesky::COLLECTION as BLUESKY_COLLECTION,
    github::{FILES as GIST_FILES, next_link},
    nostr::{is_proof, newest_own, proof_filters},
};

use crate::{
    Code, Error, Identity, Result, Scheme, Timestamp,
    json::Value,
    transport::{Answer, Body, Endpoints, Failure, Headers, Request, Via, header, retry_at},
    verdict::Place,
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

#[cfg(any(feature = "import", feature = "publish"))]
impl From<Miss> for Error {
    fn from(miss: Miss) -> Self {
        let place = miss.place.map(|place| place.url).unwrap_or_default();
        match miss.detail {
            Some(detail) => Self::about(miss.code, alloc::format!("{place}: {detail}")),
            None => Self::about(miss.code, place),
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
    let (endpoints, now) = (context.endpoints, context.now);
    Ok(match subject.scheme() {
        Scheme::Dns => Box::new(dns::DnsLookup::new(subject)),
        Scheme::Github => Box::new(github::GithubLookup::new(subject, endpoints)),
        Scheme::Nostr => Box::new(nostr::NostrLookup::new(subject, endpoints, now)?),
        Scheme::Bluesky => Box::new(bluesky::BlueskyLookup::new(subject, endpoints)),
        Scheme::Ap => Box::new(ap::ApLookup::new(subject)),
        Scheme::Ed25519 => return Err(Error::about(Code::NoChannel, subject)),
    })
}

/// An HTTP answer that has arrived, with where it came from.
pub(crate) struct Http {
    pub(crate) status: u16,
    headers: Headers,
    pub(crate) bytes: Vec<u8>,
    pub(crate) place: Place,
    source: (Via, Timestamp),
}

impl Http {
    /// Takes an answer; a transport failure becomes a miss.
    pub(crate) fn of((request, answer): Fetched) -> Result<Self, Miss> {
        match answer {
            Ok(answer) => {
                let place = answer.place(&request);
                let source = (answer.via, answer.fetched_at);
                match answer.body {
                    Body::Http { status, headers, bytes, .. } => {
                        Ok(Self { status, headers, bytes, place, source })
                    }
                    _ => Err(Miss::at(Code::ResponseRefused, place)),
                }
            }
            Err(failure) => Err(failed(&request, failure)),
        }
    }

    /// As [`Http::of`], for the answer to a call.
    #[cfg(feature = "publish")]
    pub(crate) fn of_call(url: &str, answer: Answer) -> Result<Self, Miss> {
        Self::of((Request::get(url.into(), "*/*"), Ok(answer)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// What a status other than 200 means where nothing more specific is known.
    pub(crate) fn miss(&self) -> Miss {
        let limited = self.status == 429
            || (self.status == 403
                && (self.header("x-ratelimit-remaining") == Some("0")
                    || self.header("retry-after").is_some()));
        let code = match self.status {
            _ if limited => Code::RateLimited,
            401 => Code::AuthRequired,
            404 | 410 => Code::IdentityNotFound,
            300..=399 => Code::RedirectRefused,
            _ => Code::HttpStatus,
        };
        let mut miss = Miss::at(code, self.place.clone());
        if limited || self.status == 503 {
            miss.retry_at = retry_at(&self.headers, self.source.1);
        }
        miss
    }

    /// The JSON of a 200 answer.
    pub(crate) fn json(&self) -> Result<Value, Miss> {
        if self.status != 200 {
            return Err(self.miss());
        }
        let refused = |why: &str| Miss::at(Code::ResponseRefused, self.place.clone()).because(why);
        let kind = self.header("content-type").unwrap_or_default();
        if !kind.contains("json") {
            return Err(refused("the answer is not JSON"));
        }
        Value::parse_foreign(&self.bytes).map_err(|_| refused("the answer is not JSON"))
    }

    fn refused(&self, why: &str) -> Miss {
        Miss::at(Code::ResponseRefused, self.place.clone()).because(why)
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
