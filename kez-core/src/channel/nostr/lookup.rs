//! `nostr:` — an addressable event of kind 30078 with `d` = `kez`, or the profile's `about`.
//! Relays are never trusted: ids and signatures are checked here.

use crate::channel::{Fetched, Finding, Lookup, Miss, Step, Text, failed};
use crate::{
    Code, Identity, Key, NOSTR_KIND, NostrEvent, Result, Timestamp, hex,
    json::Value,
    map::Map,
    transport::Place,
    transport::{Body, Endpoints, Request, Via},
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
#[cfg(any(feature = "import", feature = "publish"))]
use futures_util::future::join_all;

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

/// A user's own list of relays (NIP-65).
pub(crate) const RELAY_LIST: u16 = 10_002;
/// A key's external identities (NIP-39).
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) const EXTERNAL_IDENTITIES: u16 = 10_011;
/// How many relays of a user's list are asked beside the configured ones.
const MAX_FURTHER: usize = 3;

pub(crate) struct NostrLookup {
    subject: Identity,
    key: Key,
    endpoints: Endpoints,
    now: Timestamp,
    answers: Vec<Fetched>,
    further: bool,
}

impl NostrLookup {
    pub(crate) fn new(subject: &Identity, endpoints: &Endpoints, now: Timestamp) -> Result<Self> {
        Ok(Self {
            subject: subject.clone(),
            key: Key::from_identity(subject)?,
            endpoints: endpoints.clone(),
            now,
            answers: Vec::new(),
            further: false,
        })
    }

    fn ask(&self, relays: &[String]) -> Step {
        let filters = proof_filters(&self.key);
        let request = |url: &String| Request::Relay { url: url.clone(), filters: filters.clone() };
        Step::Ask(relays.iter().map(request).collect())
    }
}

/// The filters that find a key's proofs, its profile and its list of relays.
pub(crate) fn proof_filters(key: &Key) -> Vec<Value> {
    let proofs = Value::object([
        ("authors", authors(key)),
        ("kinds", kinds(NOSTR_KIND)),
        ("#d", Value::Array(vec!["kez".into()])),
    ]);
    vec![proofs, newest(key, 0), newest(key, RELAY_LIST)]
}

/// Whether an event carries proofs of its author's account.
pub(crate) fn is_proof(event: &NostrEvent) -> bool {
    event.kind == NOSTR_KIND && event.tag("d") == Some("kez")
}

/// The newest of a key's events among these, of those that are wanted, with its JSON.
#[cfg(feature = "publish")]
pub(crate) fn newest_own<'a>(
    key: &Key,
    events: &'a [Value],
    wanted: impl Fn(&NostrEvent) -> bool,
) -> Option<(NostrEvent, &'a Value)> {
    let own = events.iter().filter_map(|json| {
        let (author, event) = NostrEvent::from_json(json).ok()?;
        (author == *key && wanted(&event)).then_some((event, json))
    });
    own.max_by_key(|(event, _)| (event.created_at, core::cmp::Reverse(event.id(key))))
}

fn authors(key: &Key) -> Value {
    Value::Array(vec![Value::String(hex::encode(&key.to_bytes()))])
}

fn kinds(kind: u16) -> Value {
    Value::Array(vec![Value::Int(i64::from(kind))])
}

/// The filter of an author's one event of a replaceable kind.
pub(crate) fn newest(key: &Key, kind: u16) -> Value {
    Value::object([("authors", authors(key)), ("kinds", kinds(kind)), ("limit", Value::Int(1))])
}

/// The relays to which the key's owner writes, by its newest list, beyond the configured ones.
pub(crate) fn further_relays(
    key: &Identity,
    endpoints: &Endpoints,
    answers: &[Fetched],
) -> Vec<String> {
    let bodies = answers.iter().filter_map(|(_, answer)| Some(&answer.as_ref().ok()?.body));
    let lists =
        bodies.flat_map(Body::relay_events).filter_map(|json| NostrEvent::from_json(json).ok());
    let own = lists.filter(|(author, e)| author.identity() == key && e.kind == RELAY_LIST);
    let Some((_, list)) = own.max_by_key(|(_, e)| e.created_at) else { return Vec::new() };
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

/// What the configured relays have, and those to which the key's owner writes by its newest list, for
/// which one of the filters asks.
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

impl Lookup for NostrLookup {
    fn step(&mut self, answers: Vec<Fetched>) -> Step {
        if self.endpoints.relays.is_empty() {
            let place = Place { url: "nostr relays".into(), ..Place::default() };
            return Miss::at(Code::ConnectFailed, place).because("no relay is configured").into();
        }
        if self.answers.is_empty() && answers.is_empty() {
            return self.ask(&self.endpoints.relays);
        }
        self.answers.extend(answers);
        if !self.further {
            self.further = true;
            let further = further_relays(&self.subject, &self.endpoints, &self.answers);
            if !further.is_empty() {
                return self.ask(&further);
            }
        }
        let answers = core::mem::take(&mut self.answers);
        // Of an addressable or replaceable event the newest wins, and of equal dates the lowest
        // id (NIP-01); a stale relay may still have an older one.
        let mut newest: Map<(NostrEvent, [u8; 32], Place)> = Map::default();
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
            for json in answer.body.relay_events() {
                let Ok((author, event)) = NostrEvent::from_json(json) else { continue };
                let wanted = is_proof(&event) || event.kind == 0;
                if author != self.key
                    || !wanted
                    || event.created_at > self.now.seconds() + MAX_AHEAD
                {
                    continue;
                }
                let id = event.id(&author);
                let older = newest.get(event.kind.to_be_bytes()).is_none_or(|(old, old_id, _)| {
                    (old.created_at, core::cmp::Reverse(*old_id))
                        < (event.created_at, core::cmp::Reverse(id))
                });
                if older {
                    newest.insert(event.kind.to_be_bytes(), (event, id, at.clone()));
                }
            }
            place = place.or(Some(at));
        }
        let mut texts = Vec::new();
        if let Some((event, _, place)) = newest.remove(NOSTR_KIND.to_be_bytes()) {
            texts.push(Text { text: event.content, place });
        }
        if let Some((event, _, place)) = newest.remove(0_u16.to_be_bytes()) {
            let profile = Value::parse_foreign(event.content.as_bytes()).ok();
            let about = profile.as_ref().and_then(|p| p.get("about")).and_then(Value::as_str);
            texts.extend(about.map(|text| Text { text: text.into(), place }));
        }
        let proof = texts.iter().any(|t| !crate::proof::find(&t.text).found.is_empty());
        match miss {
            // That a relay has nothing says nothing about the one that did not answer.
            Some(miss) if !proof => miss.into(),
            _ => Step::Done(Ok(Finding {
                account: None,
                texts,
                place,
                dnssec: None,
                source,
                ..Finding::default()
            })),
        }
    }
}

/// The filters that find a chain's events on a relay (SPEC.md, "Chains on nostr relays"), and the
/// relay list of a nostr key.
#[must_use]
pub fn chain_filters(chain: &Identity) -> Vec<Value> {
    let tag = || Value::Array(vec![chain.as_str().into()]);
    let mut filters = Vec::new();
    // The genesis key's own events come first, so that a stranger's cannot crowd them out.
    if let Ok(key) = Key::from_identity(chain)
        && chain.scheme() == crate::Scheme::Nostr
    {
        filters.push(Value::object([
            ("authors", authors(&key)),
            ("kinds", kinds(NOSTR_KIND)),
            ("#i", tag()),
            ("limit", Value::Int(500)),
        ]));
        filters.push(newest(&key, RELAY_LIST));
    }
    filters.push(Value::object([
        ("kinds", kinds(NOSTR_KIND)),
        ("#i", tag()),
        ("limit", Value::Int(500)),
    ]));
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
