//! `nostr:` — an addressable event of kind 30078 with `d` = `kez`, or the profile's `about`.
//! Relays are never trusted: ids and signatures are checked here.

use super::{Fetched, Finding, Lookup, Miss, Step, Text, failed};
use crate::{
    Code, Identity, Key, NOSTR_KIND, NostrEvent, Result, Timestamp, hex,
    json::Value,
    transport::{Body, Endpoints, Request, Via},
    verdict::Place,
};
use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec, vec::Vec};

/// Relays accept events that are dated a little ahead; beyond this they are not read.
const MAX_AHEAD: i64 = 900;

/// The nostr event that carries proofs of a nostr account: sign it with the account's key.
#[must_use]
pub fn carrier(proof: &str, created_at: Timestamp) -> NostrEvent {
    NostrEvent {
        created_at: created_at.seconds(),
        kind: NOSTR_KIND,
        tags: vec![vec!["d".to_owned(), "kez".to_owned()]],
        content: proof.to_owned(),
    }
}

pub(super) struct NostrLookup {
    key: Key,
    relays: Vec<String>,
    now: Timestamp,
}

impl NostrLookup {
    pub(super) fn new(subject: &Identity, endpoints: &Endpoints, now: Timestamp) -> Result<Self> {
        Ok(Self { key: Key::from_identity(subject)?, relays: endpoints.relays.clone(), now })
    }

    fn ask(&self) -> Step {
        let author = || Value::Array(vec![Value::String(hex::encode(&self.key.to_bytes()))]);
        let kind = |n: u16| Value::Array(vec![Value::Int(i64::from(n))]);
        let proofs = Value::object([
            ("authors", author()),
            ("kinds", kind(NOSTR_KIND)),
            ("#d", Value::Array(vec!["kez".into()])),
        ]);
        let profile =
            Value::object([("authors", author()), ("kinds", kind(0)), ("limit", Value::Int(1))]);
        let request = |url: &String| Request::Relay {
            url: url.clone(),
            filters: vec![proofs.clone(), profile.clone()],
        };
        Step::Ask(self.relays.iter().map(request).collect())
    }
}

impl Lookup for NostrLookup {
    fn step(&mut self, answers: Vec<Fetched>) -> Step {
        if self.relays.is_empty() {
            let place = Place { url: "nostr relays".into(), http_status: None, rcode: None };
            return Miss::at(Code::ConnectFailed, place).because("no relay is configured").into();
        }
        if answers.is_empty() {
            return self.ask();
        }
        // Of an addressable or replaceable event the newest wins, and of equal dates the lowest
        // id (NIP-01); a stale relay may still have an older one.
        let mut newest: BTreeMap<u16, (NostrEvent, [u8; 32], Place)> = BTreeMap::new();
        let mut miss = None;
        let mut place = None;
        let mut source: Option<(Via, Timestamp)> = None;
        for (request, answer) in answers {
            let answer = match answer {
                Ok(answer) => answer,
                Err(failure) => {
                    miss = miss.or_else(|| Some(failed(&request, failure)));
                    continue;
                }
            };
            let at = answer.place(&request);
            source = source.or(Some((answer.via, answer.fetched_at)));
            let Body::Relay { events } = answer.body else { continue };
            for json in &events {
                let Ok((author, event)) = NostrEvent::from_json(json) else { continue };
                let wanted = match event.kind {
                    NOSTR_KIND => event.tag("d") == Some("kez"),
                    kind => kind == 0,
                };
                if author != self.key
                    || !wanted
                    || event.created_at > self.now.seconds() + MAX_AHEAD
                {
                    continue;
                }
                let id = event.id(&author);
                let older = newest.get(&event.kind).is_none_or(|(old, old_id, _)| {
                    (old.created_at, core::cmp::Reverse(*old_id))
                        < (event.created_at, core::cmp::Reverse(id))
                });
                if older {
                    newest.insert(event.kind, (event, id, at.clone()));
                }
            }
            place = place.or(Some(at));
        }
        let mut texts = Vec::new();
        if let Some((event, _, place)) = newest.remove(&NOSTR_KIND) {
            texts.push(Text { text: event.content, place });
        }
        if let Some((event, _, place)) = newest.remove(&0) {
            let profile = Value::parse_foreign(event.content.as_bytes()).ok();
            let about = profile.as_ref().and_then(|p| p.get("about")).and_then(Value::as_str);
            texts.extend(about.map(|text| Text { text: text.into(), place }));
        }
        let proof = texts.iter().any(|t| !crate::proof::find(&t.text).is_empty());
        match miss {
            // That a relay has nothing says nothing about the one that did not answer.
            Some(miss) if !proof => miss.into(),
            _ => Step::Done(Ok(Finding { account: None, texts, place, dnssec: None, source })),
        }
    }
}

/// The filters that find a chain's events on a relay, and how to read them
/// (SPEC.md, "Chains on nostr relays").
pub(crate) fn chain_filters(chain: &Identity) -> Vec<Value> {
    let kinds = || Value::Array(vec![Value::Int(i64::from(NOSTR_KIND))]);
    let tag = || Value::Array(vec![chain.as_str().into()]);
    let mut filters = Vec::new();
    // The genesis key's own events come first, so that a stranger's cannot crowd them out.
    if let Ok(key) = Key::from_identity(chain)
        && chain.scheme() == crate::Scheme::Nostr
    {
        let author = Value::String(hex::encode(&key.to_bytes()));
        filters.push(Value::object([
            ("authors", Value::Array(vec![author])),
            ("kinds", kinds()),
            ("#i", tag()),
        ]));
    }
    filters.push(Value::object([("kinds", kinds()), ("#i", tag())]));
    filters
}

/// The nostr event that carries one chain line on relays. Any nostr key may sign it, since the
/// line proves itself.
#[must_use]
pub fn chain_carrier(
    chain: &Identity,
    id: crate::ObjectId,
    line: &str,
    at: Timestamp,
) -> NostrEvent {
    NostrEvent {
        created_at: at.seconds(),
        kind: NOSTR_KIND,
        tags: vec![
            vec!["d".to_owned(), format!("kez:{id}")],
            vec!["i".to_owned(), chain.as_str().to_owned()],
        ],
        content: line.to_owned(),
    }
}
