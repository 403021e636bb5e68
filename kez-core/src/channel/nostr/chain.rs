//! Sigchains on relays (SPEC.md, "Chains on nostr relays").

use super::events::{PAGE, RELAY_LIST, authors, kinds, newest, strings};
use crate::{
    Chain, Identity, Key, NOSTR_KIND, NostrEvent, ObjectId, Scheme, Timestamp, hex,
    json::Value,
    transport::{Failure, RelayAnswer, Request},
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

/// The filters that find a chain's events on a relay: those by these authors, the relay list of a
/// nostr chain's first key, and last the events by strangers.
///
/// A line proves itself, and its carrier does not matter. But strangers can publish any number of events with
/// a chain's tag, so that only the authors' filter can be read to its end.
#[must_use]
pub fn chain_filters(chain: &Identity, authors: &[Key]) -> Vec<Value> {
    let mut filters = further_filters(chain, authors);
    if let Some(key) = authors.iter().find(|key| key.identity() == chain) {
        filters.push(newest(key, RELAY_LIST));
    }
    filters.push(carriers(chain, None));
    filters
}

/// The filters of a further round: the events by authors whom the events found so far named.
#[must_use]
pub fn further_filters(chain: &Identity, authors: &[Key]) -> Vec<Value> {
    if authors.is_empty() { Vec::new() } else { vec![carriers(chain, Some(authors))] }
}

fn carriers(chain: &Identity, by: Option<&[Key]>) -> Value {
    let by = by.map(|keys| ("authors", authors(keys)));
    let rest = [
        ("kinds", kinds(NOSTR_KIND)),
        ("#i", strings([chain.as_str().to_owned()])),
        ("limit", Value::Int(PAGE)),
    ];
    Value::object(by.into_iter().chain(rest))
}

/// The first request for a chain on a relay, by the URL of a source: [`chain_filters`] with the
/// chain's first key, if it is a nostr key, and the source's carrier key.
#[must_use]
pub fn chain_request(chain: &Identity, source: &str) -> Request {
    let (url, carrier) = carrier_source(source);
    let mut authors: Vec<Key> = Vec::new();
    if chain.scheme() == Scheme::Nostr {
        authors.extend(Key::from_identity(chain));
    }
    authors.extend(carrier.filter(|key| key.identity() != chain));
    Request::Relay { url: url.to_owned(), filters: chain_filters(chain, &authors) }
}

/// The nostr keys by which a chain was continued: the authors of its events on relays. A reader
/// asks by [`further_filters`] for those that it has not asked for, until a round names no new
/// one.
#[must_use]
pub fn chain_authors(chains: &[Chain]) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for period in chains.iter().flat_map(Chain::eras) {
        let known = keys.iter().any(|key| *key.identity() == period.key);
        if !known && period.key.scheme() == Scheme::Nostr {
            keys.extend(Key::from_identity(&period.key));
        }
    }
    keys
}

/// Why a relay did not answer completely for a chain. The filters by authors decide, and that for
/// strangers only where no author is known.
#[must_use]
pub fn chain_failure<'a>(request: &Request, answers: &'a [RelayAnswer]) -> Option<&'a Failure> {
    let Request::Relay { filters, .. } = request else { return None };
    let by_authors = |f: &Value| f.get("authors").is_some() && f.get("#i").is_some();
    let named = filters.iter().any(by_authors);
    let mut deciding = filters.iter().zip(answers).filter(|(f, _)| !named || by_authors(f));
    deciding.find_map(|(_, answer)| answer.failure.as_ref())
}

/// The URL of the relay that a source names, and the key of the carriers there: a source
/// `wss://relay.example/?carrier=<64 hex digits>` names both.
///
/// ```
/// let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// let source = format!("wss://relay.example/?carrier={key}");
/// let (url, carrier) = kez_core::channel::carrier_source(&source);
/// assert_eq!(url, "wss://relay.example");
/// assert_eq!(kez_core::channel::source_url(url, carrier.as_ref()), source);
/// ```
#[must_use]
pub fn carrier_source(source: &str) -> (&str, Option<Key>) {
    let Some((url, query)) = source.split_once('?') else { return (without_root(source), None) };
    let mut digits = query.split('&').filter_map(|pair| pair.strip_prefix("carrier="));
    let bytes = digits.next().and_then(hex::decode::<32>);
    match bytes.and_then(|bytes| Key::from_bytes(Scheme::Nostr, &bytes).ok()) {
        Some(key) => (without_root(url), Some(key)),
        None => (source, None),
    }
}

/// A URL without a path that is `/` only, so that two spellings of a relay are one.
fn without_root(url: &str) -> &str {
    let bare = url.strip_suffix('/').unwrap_or(url);
    let authority = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    if authority.contains('/') { url } else { bare }
}

/// The source that names a relay, and the key of the carriers there unless the chain names it.
#[must_use]
pub fn source_url(relay: &str, carrier: Option<&Key>) -> String {
    let (relay, _) = carrier_source(relay);
    // A source's URL has a path.
    let slash = if without_root(&format!("{relay}/")) == relay { "/" } else { "" };
    match carrier {
        Some(key) => {
            let (relay, _) = relay.split_once('?').unwrap_or((relay, ""));
            format!("{relay}{slash}?carrier={}", hex::encode(&key.to_bytes()))
        }
        None => format!("{relay}{slash}"),
    }
}

/// The nostr event that carries one chain line on relays. The chain's current key signs it if it
/// is a nostr key, otherwise one nostr key that the source's URL names ([`source_url`]).
#[must_use]
pub fn chain_carrier(chain: &Identity, id: ObjectId, line: &str, at: Timestamp) -> NostrEvent {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, SecretKey};

    fn key(n: u8) -> Key {
        SecretKey::from_bytes(Scheme::Nostr, [n; 32]).unwrap().public().clone()
    }

    #[test]
    fn strangers_come_last() {
        let (first, second) = (key(1), key(2));
        let filters = chain_filters(first.identity(), &[first.clone(), second]);
        let names = |f: &Value, n| f.get(n).and_then(Value::as_array).map_or(0, <[Value]>::len);
        let counts: Vec<_> =
            filters.iter().map(|f| (names(f, "authors"), names(f, "#i"))).collect();
        assert_eq!(counts, [(2, 1), (1, 0), (0, 1)]);
        let ed25519 = Identity::parse(
            "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        )
        .unwrap();
        assert_eq!(chain_filters(&ed25519, &[]).len(), 1);
        let source = source_url("wss://relay.example", Some(&first));
        let Request::Relay { url, filters } = chain_request(&ed25519, &source) else { panic!() };
        assert_eq!((&*url, filters.len()), ("wss://relay.example", 2));
    }

    #[test]
    fn only_the_authors_filter_counts() {
        let full = |failed: bool| RelayAnswer {
            events: Vec::new(),
            failure: failed.then(|| Failure::new(Code::SearchIncomplete, "")),
        };
        let chain = key(1);
        let request = chain_request(chain.identity(), "wss://relay.example/");
        assert!(chain_failure(&request, &[full(false), full(false), full(true)]).is_none());
        assert!(chain_failure(&request, &[full(true), full(false), full(false)]).is_some());
        let alone =
            Request::Relay { url: String::new(), filters: chain_filters(chain.identity(), &[]) };
        assert!(chain_failure(&alone, &[full(true)]).is_some());
    }

    #[test]
    fn carriers_of_sources() {
        assert_eq!(carrier_source("wss://relay.example/"), ("wss://relay.example", None));
        for (relay, source) in [
            ("wss://relay.example", "wss://relay.example/"),
            ("wss://relay.example/", "wss://relay.example/"),
            ("wss://relay.example/a", "wss://relay.example/a"),
            ("wss://relay.example/a/", "wss://relay.example/a/"),
        ] {
            assert_eq!(source_url(relay, None), source);
        }
        for plain in [
            "wss://relay.example/a/",
            "wss://relay.example/?token=1",
            "wss://relay.example/?carrier=abc",
            "wss://relay.example/?carrier=ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            assert_eq!(carrier_source(plain), (plain, None));
        }
    }
}
