//! `nostr:` — an addressable event of kind 30539 with `d` = `kez`, or the profile's `about`.

use super::events::{
    DELETION, DRAFT_KIND, PROFILE, by, deletions, further_relays, is_deleted, is_expired,
    is_needed, proof_filters,
};
use crate::channel::{Fetched, Finding, Lookup, Miss, Step, Text, failed};
use crate::{
    Code, Identity, Key, NOSTR_KIND, NostrEvent, Result, Timestamp, hex,
    json::Value,
    transport::{Body, Endpoints, Place, Request},
};
use alloc::{string::String, vec, vec::Vec};
use core::cmp::Reverse;

/// Relays accept events that are dated a little ahead; beyond this they are not read.
const MAX_AHEAD: i64 = 900;

pub(crate) struct NostrLookup {
    subject: Identity,
    key: Key,
    endpoints: Endpoints,
    now: Timestamp,
    answers: Vec<Fetched>,
    further: bool,
}

/// An event of the account, where it was found.
struct Found {
    event: NostrEvent,
    id: [u8; 32],
    place: Place,
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

    fn ask(&self, relays: &[String]) -> Vec<Request> {
        let filters = proof_filters(&self.key);
        let request = |url: &String| Request::Relay { url: url.clone(), filters: filters.clone() };
        relays.iter().map(request).collect()
    }

    /// The second round: the relays of the key's own list, and the deletions by id of the events
    /// found, at the relays that answered.
    fn second_round(&self) -> Vec<Request> {
        let further = further_relays(&self.subject, &self.endpoints, &self.answers);
        let mut requests = self.ask(&further);
        let found = self.found(&[]);
        let ids = || found.iter().map(|found| hex::encode(&found.id));
        if !found.is_empty() {
            let answered = self.answers.iter().filter(|(_, answer)| answer.is_ok());
            requests.extend(answered.map(|(request, _)| Request::Relay {
                url: request.place(),
                filters: vec![deletions(&self.key, "#e", ids())],
            }));
        }
        requests
    }

    /// The account's events among the answers so far and these.
    fn events(&self, more: &[Fetched]) -> Vec<Found> {
        let mut events = Vec::new();
        for (request, answer) in self.answers.iter().chain(more) {
            let Ok(answer) = answer else { continue };
            let place = answer.place(request);
            for event in answer.body.relay_events().filter_map(|json| by(&self.key, json)) {
                if event.created_at <= self.now.seconds() + MAX_AHEAD {
                    let id = event.id(&self.key);
                    events.push(Found { event, id, place: place.clone() });
                }
            }
        }
        events
    }

    /// The event with proofs and the profile, as far as they are there, in this order.
    ///
    /// Of an addressable or replaceable event the newest counts, and of equal dates the one with
    /// the lowest id (NIP-01); a relay may still have an older one. An event that has expired or
    /// was deleted does not count, and neither does an older one.
    fn found(&self, more: &[Fetched]) -> Vec<Found> {
        let mut events = self.events(more);
        let deletions: Vec<NostrEvent> = events
            .extract_if(.., |found| found.event.kind == DELETION)
            .map(|found| found.event)
            .collect();
        let mut newest = |kind: u16| {
            let wanted = |found: &Found| {
                found.event.kind == kind && (kind == PROFILE || found.event.tag("d") == Some("kez"))
            };
            let newest = events.iter().enumerate().filter(|(_, found)| wanted(found));
            let newest = newest.max_by_key(|(_, f)| (f.event.created_at, Reverse(f.id)));
            newest.map(|(at, _)| at).map(|at| events.swap_remove(at))
        };
        // A proof of the drafts counts only where its author never published a later kind.
        let proof = newest(NOSTR_KIND).or_else(|| newest(DRAFT_KIND));
        let found = proof.into_iter().chain(newest(PROFILE));
        let ended = |found: &Found| {
            is_expired(&found.event, self.now)
                || is_deleted(&self.key, &found.event, &found.id, &deletions)
        };
        found.filter(|found| !ended(found)).collect()
    }

    fn texts(&self, more: &[Fetched]) -> Vec<Text> {
        let text = |Found { event, place, .. }: Found| {
            if event.kind != PROFILE {
                return Some(Text { text: event.content, place });
            }
            let profile = Value::parse_foreign(event.content.as_bytes()).ok()?;
            let about = profile.get("about").and_then(Value::as_str)?;
            Some(Text { text: about.into(), place })
        };
        self.found(more).into_iter().filter_map(text).collect()
    }

    /// The first failure of a relay, or of a filter that was needed. That one relay has nothing
    /// says nothing about another that did not answer.
    fn failure(&self) -> Option<Miss> {
        self.answers.iter().find_map(|(request, answer)| {
            let Request::Relay { filters, .. } = request else { return None };
            if !filters.iter().any(is_needed) {
                return None;
            }
            let failure = match answer {
                Err(failure) => Some(failure),
                Ok(answer) => match &answer.body {
                    Body::Relay { answers } => {
                        let mut needed = filters.iter().zip(answers).filter(|(f, _)| is_needed(f));
                        needed.find_map(|(_, answer)| answer.failure.as_ref())
                    }
                    _ => None,
                },
            };
            Some(failed(request, failure?.clone()))
        })
    }
}

impl Lookup for NostrLookup {
    fn step(&mut self, answers: Vec<Fetched>) -> Step {
        if self.endpoints.relays.is_empty() {
            let detail = Some("no relay is configured".into());
            return Miss { code: Code::ConnectFailed, detail, place: None, retry_at: None }.into();
        }
        if self.answers.is_empty() && answers.is_empty() {
            return Step::Ask(self.ask(&self.endpoints.relays));
        }
        self.answers.extend(answers);
        if !self.further {
            self.further = true;
            let requests = self.second_round();
            if !requests.is_empty() {
                return Step::Ask(requests);
            }
        }
        let mut read = self.answers.iter().filter_map(|(request, answer)| {
            let answer = answer.as_ref().ok()?;
            Some((answer.place(request), (answer.via, answer.fetched_at)))
        });
        let (place, source) = read.next().unzip();
        Step::Done(Ok(Finding {
            texts: self.texts(&[]),
            place,
            source,
            failed: self.failure(),
            ..Finding::default()
        }))
    }

    fn decides(&self, answers: &[Fetched]) -> bool {
        self.texts(answers).iter().any(|text| {
            crate::proof::find(&text.text).found.iter().any(|found| found.proof.is_ok())
        })
    }
}
