//! The cache of answers: one file a request, with the time of fetching and the ETag. Only what
//! the platform said is kept, never a failure.

use kez_core::{
    ObjectId, Timestamp,
    json::Value,
    transport::{Answer, Body, Request, Via},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// The greatest age in seconds of an answer that is used without asking again.
    pub max_age: i64,
    /// Whether nothing may be fetched, so that any cached answer serves.
    pub offline: bool,
}

pub(super) struct Cache {
    dir: PathBuf,
    policy: CachePolicy,
}

/// What the cache has for a request.
pub(super) enum Look {
    /// An answer to use.
    Fresh(Answer),
    /// Nothing, and nothing may be fetched.
    Offline,
    /// Fetch; with this ETag, if there is one.
    Stale(Option<String>),
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

impl Cache {
    pub(super) const fn new(dir: PathBuf, policy: CachePolicy) -> Self {
        Self { dir, policy }
    }

    fn path(&self, request: &Request) -> PathBuf {
        let name = ObjectId::digest("cache", format!("{request:?}").as_bytes());
        self.dir.join(name.to_string())
    }

    fn entry(&self, request: &Request) -> Option<Entry> {
        serde_json::from_slice(&fs::read(self.path(request)).ok()?).ok()
    }

    pub(super) fn look(&self, request: &Request) -> Look {
        let entry = self.entry(request);
        let offline = self.policy.offline;
        match entry {
            Some(entry) => {
                let age = crate::now().seconds() - entry.fetched_at;
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
    pub(super) fn keep(&self, request: &Request, answer: Answer) -> Answer {
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
            let _ = crate::home::write_private(&self.path(request), &text);
        }
    }
}

impl Entry {
    /// What is worth keeping: success, and never an absence.
    fn of(answer: &Answer) -> Option<Self> {
        let hex = |bytes: &[u8]| kez_core::hex::encode(bytes);
        let (status, headers, parts, authentic) = match &answer.body {
            Body::Http { status: 200, headers, bytes } => {
                (200, headers.clone(), vec![hex(bytes)], false)
            }
            Body::Txt { rcode: 0, records, authentic } if !records.is_empty() => {
                (0, BTreeMap::new(), records.iter().map(|r| hex(r)).collect(), *authentic)
            }
            Body::Relay { events } if !events.is_empty() => {
                let parts = events.iter().map(|e| hex(e.to_canonical().as_bytes())).collect();
                (0, BTreeMap::new(), parts, false)
            }
            _ => return None,
        };
        Some(Self { fetched_at: answer.fetched_at.seconds(), status, headers, parts, authentic })
    }

    fn into_answer(self, request: &Request) -> Option<Answer> {
        let mut parts = self.parts.iter().map(|part| unhex(part)).collect::<Option<Vec<_>>>()?;
        let body = match request {
            Request::Http { .. } => {
                Body::Http { status: self.status, headers: self.headers, bytes: parts.pop()? }
            }
            Request::Txt { .. } => {
                Body::Txt { rcode: 0, records: parts, authentic: self.authentic }
            }
            Request::Relay { .. } => {
                let events = parts.iter().map(|p| Value::parse_foreign(p).ok());
                Body::Relay { events: events.collect::<Option<_>>()? }
            }
        };
        let fetched_at = Timestamp::from_seconds(self.fetched_at);
        Some(Answer { body, via: Via::Cache, fetched_at })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
