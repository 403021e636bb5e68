//! The cache of answers: one file a request, with the time of fetching and the ETag. Only what
//! the platform said is kept, never a failure.

use crate::{
    home::Home,
    host::{Access, Net},
};
use kez_core::{
    Code, ObjectId, Timestamp, Transport,
    json::Value,
    transport::{Answer, Body, Failure, RelayAnswer, Request, Via},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

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
}

/// What the cache has for a request.
enum Look {
    /// An answer to use.
    Fresh(Answer),
    /// Nothing, and nothing may be fetched.
    Offline,
    /// Fetch; with this ETag, if there is one.
    Stale(Option<String>),
}

impl<N: Net> Transport for Cached<'_, N> {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        match self.look(request) {
            Look::Fresh(answer) => Ok(answer),
            Look::Offline => Err(Failure { code: Code::Offline, detail: None }),
            Look::Stale(etag) => {
                let answer = self.net.fetch_if(request, etag.as_deref()).await?;
                Ok(self.keep(request, answer))
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
    status: u16,
    headers: BTreeMap<String, String>,
    /// Hex of each body: one for HTTP, one a record for TXT, one an event for relays.
    parts: Vec<String>,
    authentic: bool,
}

impl<'a, N> Cached<'a, N> {
    /// A network, behind the cache of a home.
    pub const fn new(net: N, home: &'a Home<'a>, policy: CachePolicy) -> Self {
        Self { net, home, policy }
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
                if offline || (0..=self.policy.max_age).contains(&age) && self.policy.max_age > 0 {
                    return match entry.into_answer(request) {
                        Some(answer) => Look::Fresh(answer),
                        None if offline => Look::Offline,
                        None => Look::Stale(None),
                    };
                }
                Look::Stale(entry.headers.get("etag").cloned())
            }
            None if offline => Look::Offline,
            None => Look::Stale(None),
        }
    }

    /// Keeps an answer. A 304 refreshes the kept one and gives its body.
    fn keep(&self, request: &Request, answer: Answer) -> Answer {
        if let Body::Http { status: 304, headers, .. } = &answer.body {
            let Some(mut entry) = self.entry(request) else { return answer };
            entry.fetched_at = answer.fetched_at.seconds();
            entry.headers.extend(headers.clone());
            self.write(request, &entry);
            let kept = entry.into_answer(request);
            return kept.map_or(answer, |kept| Answer { via: Via::Direct, ..kept });
        }
        if let Some(entry) = Entry::of(&answer) {
            self.write(request, &entry);
        }
        answer
    }

    fn write(&self, request: &Request, entry: &Entry) {
        // A cache that cannot be written costs time, not truth.
        if let Ok(text) = serde_json::to_vec(entry) {
            let _ = self.home.write(&self.path(request), &text, Access::Private);
        }
    }
}

impl Entry {
    /// What is worth keeping: success, and never an absence.
    fn of(answer: &Answer) -> Option<Self> {
        let hex = |bytes: &[u8]| kez_core::hex::encode(bytes);
        let (status, headers, parts, authentic) = match &answer.body {
            Body::Http { status: 200, headers, bytes, .. } => {
                (200, headers.iter().cloned().collect(), vec![hex(bytes)], false)
            }
            Body::Txt { rcode: 0, records, authentic, .. } if !records.is_empty() => {
                (0, BTreeMap::new(), records.iter().map(|r| hex(r)).collect(), *authentic)
            }
            body @ Body::Relay { .. } if body.relay_events().next().is_some() => {
                let parts = body.relay_events().map(|e| hex(e.to_canonical().as_bytes())).collect();
                (0, BTreeMap::new(), parts, false)
            }
            _ => return None,
        };
        Some(Self { fetched_at: answer.fetched_at.seconds(), status, headers, parts, authentic })
    }

    fn into_answer(self, request: &Request) -> Option<Answer> {
        let mut parts = self.parts.iter().map(|part| unhex(part)).collect::<Option<Vec<_>>>()?;
        let body = match request {
            Request::Http { .. } => Body::Http {
                status: self.status,
                headers: self.headers.into_iter().collect(),
                bytes: parts.pop()?,
                redirected_to: None,
            },
            Request::Txt { .. } => {
                Body::Txt { rcode: 0, records: parts, authentic: self.authentic, ttl: None }
            }
            Request::Relay { .. } => {
                let events = parts.iter().map(|p| Value::parse_foreign(p).ok());
                let events = events.collect::<Option<_>>()?;
                Body::Relay { answers: vec![RelayAnswer { events, failure: None }] }
            }
        };
        let fetched_at = Timestamp::from_seconds(self.fetched_at);
        Some(Answer { body, via: Via::Cache, fetched_at })
    }
}

/// Bytes from hex digits of either case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
