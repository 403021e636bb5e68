//! The cache of answers: one file for each request, with the time of fetching and the ETag. It
//! stores what the platform said, absences included, and never a failure: the newest answer
//! replaces an older one, so that a proof that was removed does not come back from here.

use crate::{
    clock,
    home::Home,
    host::{Access, Net},
};
use kez_core::{
    Code, ObjectId, Timestamp, Transport, hex,
    json::Value,
    transport::{Answer, Body, Failure, Headers, RelayAnswer, Request, Via, header},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The greatest age in seconds of an answer that is used without asking again.
    pub max_age: i64,
    /// Whether nothing may be fetched, so that any cached answer serves.
    pub offline: bool,
}

/// A network behind the cache.
pub struct Cached<'a, N> {
    /// The network itself.
    pub net: N,
    home: &'a Home<'a>,
    policy: CachePolicy,
    /// URLs of the servers whose dates are hints for the right time.
    clocks: Vec<String>,
}

/// What the cache has for a request.
enum Look {
    /// An answer to use.
    Fresh(Answer),
    /// The host had no address.
    Absent(Failure),
    /// Nothing, and nothing may be fetched.
    Offline,
    /// Fetch; with this ETag, if there is one.
    Stale(Option<String>),
}

impl<N: Net> Transport for Cached<'_, N> {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        match self.look(request) {
            Look::Fresh(answer) => Ok(answer),
            Look::Absent(failure) => Err(failure),
            Look::Offline => Err(Failure { code: Code::Offline, detail: None }),
            Look::Stale(etag) => {
                let answer = self.net.fetch_if(request, etag.as_deref()).await;
                match answer {
                    Ok(answer) => {
                        clock::observe(self.home, &self.clocks, request, &answer);
                        Ok(self.store(request, answer))
                    }
                    Err(failure) => {
                        if failure.code == Code::HostUnknown {
                            self.store_unknown_host(request);
                        }
                        Err(failure)
                    }
                }
            }
        }
    }

    async fn pause(&self, milliseconds: u32) {
        self.net.pause(milliseconds).await;
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    fetched_at: i64,
    said: Said,
}

/// What the platform said.
#[derive(Serialize, Deserialize)]
enum Said {
    Http {
        status: u16,
        headers: Headers,
        redirected_to: Option<String>,
        body: String,
    },
    Txt {
        rcode: u8,
        records: Vec<String>,
        authentic: bool,
    },
    /// The events of each filter, as JSON; none for a filter that failed.
    Relay(Vec<Option<Vec<String>>>),
    /// DNS has no address for the host.
    UnknownHost,
}

impl<'a, N> Cached<'a, N> {
    /// A network, behind the cache of a home.
    pub const fn new(net: N, home: &'a Home<'a>, policy: CachePolicy) -> Self {
        Self { net, home, policy, clocks: Vec::new() }
    }

    /// Takes the dates of answers below these URLs for hints, against which the clock is checked
    /// before something is signed.
    #[must_use]
    pub fn with_clocks(self, clocks: Vec<String>) -> Self {
        Self { clocks, ..self }
    }

    fn path(&self, request: &Request) -> PathBuf {
        let name = ObjectId::digest("cache", request.cache_key().as_bytes());
        self.home.path("cache").join(name.to_string())
    }

    fn entry(&self, request: &Request) -> Option<Entry> {
        // An entry is hex, and a body has 32 MiB at most.
        let bytes = self.home.host.read(&self.path(request), 80 << 20).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn look(&self, request: &Request) -> Look {
        let entry = self.entry(request);
        let offline = self.policy.offline;
        match entry {
            Some(entry) => {
                let age = self.home.host.now().seconds() - entry.fetched_at;
                let young = (0..=self.policy.max_age).contains(&age) && self.policy.max_age > 0;
                if offline || (young && entry.is_whole()) {
                    return match entry.into_answer(request) {
                        Some(Ok(answer)) => Look::Fresh(answer),
                        Some(Err(failure)) => Look::Absent(failure),
                        None if offline => Look::Offline,
                        None => Look::Stale(None),
                    };
                }
                Look::Stale(entry.etag())
            }
            None if offline => Look::Offline,
            None => Look::Stale(None),
        }
    }

    /// Stores an answer. A 304 refreshes the stored one and returns its body.
    fn store(&self, request: &Request, answer: Answer) -> Answer {
        if let Body::Http { status: 304, headers, .. } = &answer.body {
            let Some(mut entry) = self.entry(request) else { return answer };
            entry.refresh(answer.fetched_at, headers);
            self.write(request, &entry);
            return match entry.into_answer(request) {
                Some(Ok(stored)) => Answer { via: Via::Direct, ..stored },
                _ => answer,
            };
        }
        if let Some(entry) = Entry::of(&answer) {
            self.write(request, &entry);
        }
        answer
    }

    fn store_unknown_host(&self, request: &Request) {
        let fetched_at = self.home.host.now().seconds();
        self.write(request, &Entry { fetched_at, said: Said::UnknownHost });
    }

    fn write(&self, request: &Request, entry: &Entry) {
        // A cache that cannot be written costs time, not truth.
        if let Ok(text) = serde_json::to_vec(entry) {
            let _ = self.home.write(&self.path(request), &text, Access::Private);
        }
    }
}

impl Entry {
    /// An answer that says what is there or that nothing is; none for one that may be another
    /// the next time.
    fn of(answer: &Answer) -> Option<Self> {
        let said = match &answer.body {
            Body::Http { status, headers, bytes, redirected_to }
                if matches!(status, 200 | 404 | 410) =>
            {
                let (headers, redirected_to) = (headers.clone(), redirected_to.clone());
                Said::Http { status: *status, headers, redirected_to, body: hex::encode(bytes) }
            }
            Body::Txt { rcode: rcode @ (0 | 3), records, authentic, .. } => {
                let records = records.iter().map(|record| hex::encode(record)).collect();
                Said::Txt { rcode: *rcode, records, authentic: *authentic }
            }
            // The first filter is the one that matters.
            Body::Relay { answers } if answers.first().is_some_and(|a| a.failure.is_none()) => {
                let events = |answer: &RelayAnswer| {
                    let events = answer.events.iter().map(Value::to_canonical).collect();
                    answer.failure.is_none().then_some(events)
                };
                Said::Relay(answers.iter().map(events).collect())
            }
            _ => return None,
        };
        Some(Self { fetched_at: answer.fetched_at.seconds(), said })
    }

    /// Whether nothing is missing that asking again may bring.
    fn is_whole(&self) -> bool {
        match &self.said {
            Said::Relay(filters) => filters.iter().all(Option::is_some),
            _ => true,
        }
    }

    fn etag(&self) -> Option<String> {
        match &self.said {
            Said::Http { status: 200, headers, .. } => header(headers, "etag").map(str::to_owned),
            _ => None,
        }
    }

    /// Takes over the headers and the time of a 304.
    fn refresh(&mut self, at: Timestamp, newer: &Headers) {
        self.fetched_at = at.seconds();
        if let Said::Http { headers, .. } = &mut self.said {
            headers.retain(|(name, _)| header(newer, name).is_none());
            headers.extend(newer.iter().cloned());
        }
    }

    /// The answer, or the failure of a host without address. None for an entry of another kind.
    fn into_answer(self, request: &Request) -> Option<Result<Answer, Failure>> {
        let body = match (self.said, request) {
            (Said::UnknownHost, _) => {
                return Some(Err(Failure { code: Code::HostUnknown, detail: None }));
            }
            (Said::Http { status, headers, redirected_to, body }, Request::Http { .. }) => {
                Body::Http { status, headers, bytes: unhex(&body)?, redirected_to }
            }
            (Said::Txt { rcode, records, authentic }, Request::Txt { .. }) => {
                let records = records.iter().map(|record| unhex(record)).collect::<Option<_>>()?;
                Body::Txt { rcode, records, authentic, ttl: None }
            }
            (Said::Relay(filters), Request::Relay { .. }) => {
                let event = |json: &String| Value::parse_foreign(json.as_bytes()).ok();
                let answer = |events: &Option<Vec<String>>| {
                    let Some(events) = events else {
                        let failure = Some(Failure { code: Code::Offline, detail: None });
                        return Some(RelayAnswer { events: Vec::new(), failure });
                    };
                    let events = events.iter().map(event).collect::<Option<_>>()?;
                    Some(RelayAnswer { events, failure: None })
                };
                Body::Relay { answers: filters.iter().map(answer).collect::<Option<_>>()? }
            }
            _ => return None,
        };
        let fetched_at = Timestamp::from_seconds(self.fetched_at);
        Some(Ok(Answer { body, via: Via::Cache, fetched_at }))
    }
}

/// Bytes from hex digits of either case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
