//! Events of a nostr key and the filters that find them. Relays are never trusted: ids and
//! signatures are checked here.

use crate::{
    Identity, Key, NOSTR_KIND, NostrEvent, Timestamp,
    channel::Fetched,
    hex,
    json::Value,
    transport::{Body, Endpoints},
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
#[cfg(any(feature = "import", feature = "publish"))]
use {crate::transport::Request, futures_util::future::join_all};

/// A key's profile (NIP-01).
pub(super) const PROFILE: u16 = 0;
/// Requests of a key to delete its events (NIP-09).
pub(super) const DELETION: u16 = 5;
/// A user's own list of relays (NIP-65).
pub(crate) const RELAY_LIST: u16 = 10_002;
/// A key's external identities (NIP-39).
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) const EXTERNAL_IDENTITIES: u16 = 10_011;
/// The kind of proofs in the drafts of KEZ. Many relays serve it to its author only.
pub(super) const DRAFT_KIND: u16 = 30_078;
/// How many relays of a user's list are asked beside the configured ones.
const MAX_FURTHER: usize = 3;
/// Events are asked for in pages of at most this many.
pub(super) const PAGE: i64 = 500;

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

/// The filters that find a key's proofs, its profile, its list of relays and its deletions.
pub(crate) fn proof_filters(key: &Key) -> Vec<Value> {
    let addresses = [address(key, NOSTR_KIND, "kez"), address(key, PROFILE, "")];
    vec![
        proofs(key, NOSTR_KIND),
        newest(key, PROFILE),
        newest(key, RELAY_LIST),
        deletions(key, "#a", addresses.into_iter()),
        proofs(key, DRAFT_KIND),
    ]
}

fn proofs(key: &Key, kind: u16) -> Value {
    Value::object([
        ("authors", authors(core::slice::from_ref(key))),
        ("kinds", kinds(kind)),
        ("#d", strings(["kez".to_owned()])),
        ("limit", Value::Int(1)),
    ])
}

/// The filter of an author's one event of a replaceable kind.
pub(crate) fn newest(key: &Key, kind: u16) -> Value {
    Value::object([
        ("authors", authors(core::slice::from_ref(key))),
        ("kinds", kinds(kind)),
        ("limit", Value::Int(1)),
    ])
}

/// The filter of an author's deletions that name one of these events by such a tag.
pub(super) fn deletions(key: &Key, tag: &str, events: impl Iterator<Item = String>) -> Value {
    Value::object([
        ("authors", authors(core::slice::from_ref(key))),
        ("kinds", kinds(DELETION)),
        (tag, strings(events)),
        ("limit", Value::Int(PAGE)),
    ])
}

pub(super) fn strings(texts: impl IntoIterator<Item = String>) -> Value {
    Value::Array(texts.into_iter().map(Value::String).collect())
}

pub(super) fn authors(keys: &[Key]) -> Value {
    strings(keys.iter().map(|key| hex::encode(&key.to_bytes())))
}

pub(super) fn kinds(kind: u16) -> Value {
    Value::Array(vec![Value::Int(i64::from(kind))])
}

/// Whether a filter is for proofs, the profile or the list of relays: without them an account has
/// not been read.
pub(super) fn is_needed(filter: &Value) -> bool {
    let optional = |kind| filter.get("kinds") == Some(&kinds(kind));
    !optional(DELETION) && !optional(DRAFT_KIND)
}

/// Whether an event carries proofs of its author's account.
#[cfg(feature = "publish")]
pub(crate) fn is_proof(event: &NostrEvent) -> bool {
    event.kind == NOSTR_KIND && event.tag("d") == Some("kez")
}

/// The address of a replaceable or addressable event (NIP-01), as tags `a` name it.
fn address(author: &Key, kind: u16, d: &str) -> String {
    format!("{kind}:{}:{d}", hex::encode(&author.to_bytes()))
}

/// Whether an event has expired by its own tag (NIP-40).
pub(super) fn is_expired(event: &NostrEvent, now: Timestamp) -> bool {
    let end = event.tag("expiration").and_then(|end| end.parse::<i64>().ok());
    end.is_some_and(|end| end <= now.seconds())
}

/// Whether one of its author's deletions deletes an event (NIP-09): by its id, or by its address
/// if it is not newer than the deletion.
pub(super) fn is_deleted(
    author: &Key,
    event: &NostrEvent,
    id: &[u8; 32],
    deletions: &[NostrEvent],
) -> bool {
    let d = event.tag("d").unwrap_or_default();
    let (id, address) = (hex::encode(id), address(author, event.kind, d));
    let names = |deletion: &NostrEvent| {
        deletion.tags.iter().any(|tag| match &tag[..] {
            [name, value, ..] if name == "e" => *value == id,
            [name, value, ..] if name == "a" => {
                *value == address && event.created_at <= deletion.created_at
            }
            _ => false,
        })
    };
    deletions.iter().any(|deletion| deletion.kind == DELETION && names(deletion))
}

/// An event, if its author is the key and its signature is right.
pub(super) fn by(key: &Key, json: &Value) -> Option<NostrEvent> {
    // Strangers' events are passed over before their signatures cost time.
    let author = json.get("pubkey").and_then(Value::as_str)?;
    if author != hex::encode(&key.to_bytes()) {
        return None;
    }
    NostrEvent::from_json(json).ok().map(|(_, event)| event)
}

/// The newest of a key's events among these, of those that are wanted, with its JSON.
#[cfg(feature = "publish")]
pub(crate) fn newest_own<'a>(
    key: &Key,
    events: &'a [Value],
    wanted: impl Fn(&NostrEvent) -> bool,
) -> Option<(NostrEvent, &'a Value)> {
    let own = events.iter().filter_map(|json| Some((by(key, json)?, json)));
    let own = own.filter(|(event, _)| wanted(event));
    own.max_by_key(|(event, _)| (event.created_at, core::cmp::Reverse(event.id(key))))
}

/// The relays to which the key's owner writes, by its newest list, beyond the configured ones.
pub(crate) fn further_relays(
    key: &Identity,
    endpoints: &Endpoints,
    answers: &[Fetched],
) -> Vec<String> {
    let Ok(key) = Key::from_identity(key) else { return Vec::new() };
    let bodies = answers.iter().filter_map(|(_, answer)| Some(&answer.as_ref().ok()?.body));
    let lists = bodies.flat_map(Body::relay_events).filter_map(|json| by(&key, json));
    let lists = lists.filter(|event| event.kind == RELAY_LIST);
    let Some(list) = lists.max_by_key(|list| list.created_at) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for tag in &list.tags {
        // A tag without a third member, or with "write", names a relay that the owner writes to.
        let write = tag.get(2).is_none_or(|mark| mark == "write");
        let url = tag.get(1).filter(|_| tag.first().is_some_and(|t| t == "r") && write);
        let Some(url) = url.map(|u| u.trim_end_matches('/').to_owned()) else { continue };
        let known = endpoints.relays.iter().any(|r| r.trim_end_matches('/') == url);
        if !known && !found.contains(&url) && url.starts_with("ws") && found.len() < MAX_FURTHER {
            found.push(url);
        }
    }
    found
}

/// The answers of the configured relays, and of those to which the key's owner writes by its
/// newest list, for which one of the filters asks.
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) async fn ask_relays(
    transport: &impl crate::Transport,
    endpoints: &Endpoints,
    key: &Key,
    filters: &[Value],
) -> Vec<Fetched> {
    let ask = async |url: &String| -> Fetched {
        let request = Request::Relay { url: url.clone(), filters: filters.to_vec() };
        let answer = transport.fetch(&request).await;
        (request, answer)
    };
    let mut answers = join_all(endpoints.relays.iter().map(ask)).await;
    let further = further_relays(key.identity(), endpoints, &answers);
    answers.extend(join_all(further.iter().map(ask)).await);
    answers
}
