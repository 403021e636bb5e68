//! The event of kind 30078 with `d` = `kez`, on the configured relays and those of the user's own
//! list.

use super::accounts::{Change, Placed, Publisher, Web, merge};
use crate::{
    Code, Error, NostrEvent, Result, SecretKey, SignedClaim, Timestamp,
    channel::{Fetched, carrier, further_relays, newest_proof, proof_filters},
    json::Value,
    proof::Form,
    transport::{Body, Request},
};
use alloc::{format, string::String, vec::Vec};

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    key: &SecretKey,
) -> Result<Placed> {
    let subject = &signed.claim().subject;
    if key.public().identity() != subject {
        return Err(Error::about(Code::CredentialOther, key.public()));
    }
    let filters = proof_filters(key.public());
    let ask = async |url: &String| -> Fetched {
        let request = Request::Relay { url: url.clone(), filters: filters.clone() };
        let answer = publisher.web.fetch(&request).await;
        (request, answer)
    };
    let mut answers = Vec::new();
    for url in &publisher.endpoints.relays {
        answers.push(ask(url).await);
    }
    for url in &further_relays(subject, publisher.endpoints, &answers) {
        answers.push(ask(url).await);
    }
    let mut warnings = Vec::new();
    let mut newest: Option<(NostrEvent, String)> = None;
    let mut relays: Vec<(String, Option<[u8; 32]>)> = Vec::new();
    for (request, answer) in answers {
        let url = request.place();
        let events = match answer.map(|answer| answer.body) {
            Ok(Body::Relay { events }) => events,
            Ok(_) => continue,
            // What cannot be read is not written: it may have something newer.
            Err(failure) => {
                warnings.push(format!("{url}: {}", failure.code));
                continue;
            }
        };
        let found = newest_proof(key.public(), &events);
        relays.push((url, found.as_ref().map(|(event, _)| event.id(key.public()))));
        if let Some((event, json)) = found
            && newest.as_ref().is_none_or(|(old, _)| old.created_at < event.created_at)
        {
            newest = Some((event, Value::to_canonical(json)));
        }
    }
    if relays.is_empty() {
        return Err(Error::about(Code::ConnectFailed, warnings.join("; ")));
    }
    let old = newest.as_ref().map(|(event, _)| event);
    let text = merge(old.map_or("", |event| &event.content), signed, Form::Compact);
    let (change, id, json) = match (text, newest) {
        (None, Some((event, json))) => (Change::Unchanged, event.id(key.public()), json),
        (text, old) => {
            // A relay keeps the newest of a kind, so that it must be newer than the one that is there.
            let after = old.as_ref().map_or(0, |(event, _)| event.created_at + 1);
            let at = Timestamp::from_seconds(publisher.now.seconds().max(after));
            let event = carrier(&text.unwrap_or_default(), at);
            let change = if old.is_some() { Change::Updated } else { Change::Created };
            let json = key.sign_nostr_event(&event, &[0; 32])?;
            (change, event.id(key.public()), json)
        }
    };
    let lacking = relays.iter().filter(|(_, has)| *has != Some(id));
    let lacking: Vec<&String> = lacking.map(|(url, _)| url).collect();
    let change = match change {
        Change::Unchanged if !lacking.is_empty() => Change::Updated,
        change => change,
    };
    if publisher.dry_run {
        return Ok(Placed { change, url: None, warnings });
    }
    let mut taken = relays.len() - lacking.len();
    for url in lacking {
        match publisher.web.publish_events(url, core::slice::from_ref(&json)).await {
            Ok(()) => taken += 1,
            Err(failure) => {
                let detail = failure.detail.unwrap_or_default();
                warnings.push(format!("{url}: {}: {detail}", failure.code));
            }
        }
    }
    if taken == 0 {
        return Err(Error::about(Code::PublishRefused, warnings.join("; ")));
    }
    Ok(Placed { change, url: None, warnings })
}
