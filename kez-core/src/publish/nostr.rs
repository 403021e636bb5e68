//! A nostr key's own replaceable events, on the configured relays and those of the user's own list:
//! the one of kind 30539 with `d` = `kez`, and the external identities of NIP-39.

use super::{
    accounts::{Author, Change, Credential, Placed, Publisher, Web, merge},
    github,
};
use crate::{
    Code, Error, NostrEvent, Result, SignedClaim,
    channel::{
        self, EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, carrier, is_proof, newest, newest_own,
        proof_filters,
    },
    json::Value,
    proof::Form,
    transport::{Answer, Body, Failure, RelayAnswer},
};
use alloc::{format, string::String, vec::Vec};

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    author: &impl Author,
) -> Result<Placed> {
    if *author.key().identity() != signed.claim().subject {
        return Err(Error::about(Code::CredentialOther, author.key()));
    }
    let filters = proof_filters(author.key());
    replace(publisher, author, &filters, is_proof, |old| {
        let text = merge(old.map_or("", |event| &event.content), signed, Form::Compact)?;
        Some(carrier(&text, publisher.now))
    })
    .await
}

/// Adds accounts to the key's external identities (NIP-39), where old clients read them.
pub(super) async fn place_identities(
    publisher: &Publisher<'_, impl Web>,
    author: &impl Author,
    credentials: &[Credential],
) -> Result<Placed> {
    let npub = author.key().identity().value();
    let sentence = format!("Verifying that I control the following Nostr public key: {npub}");
    let mut tags: Vec<[String; 2]> = Vec::new();
    for credential in credentials.iter().filter(|c| c.account().scheme() == channel::github::SCHEME)
    {
        let gist = github::place_sentence(publisher, &sentence, credential).await?;
        tags.push([credential.account().as_str().into(), gist.unwrap_or_default()]);
    }
    let filters = [EXTERNAL_IDENTITIES, RELAY_LIST].map(|kind| newest(author.key(), kind));
    let wanted = |event: &NostrEvent| event.kind == EXTERNAL_IDENTITIES;
    replace(publisher, author, &filters, wanted, |old| {
        let mut event = NostrEvent {
            created_at: publisher.now.seconds(),
            kind: EXTERNAL_IDENTITIES,
            tags: old.map(|old| old.tags.clone()).unwrap_or_default(),
            content: old.map(|old| old.content.clone()).unwrap_or_default(),
        };
        for [account, proof] in tags {
            let tag = Vec::from([String::from("i"), account, proof]);
            let same = |old: &&mut Vec<String>| {
                old.first() == tag.first()
                    && old.get(1).is_some_and(|name| name.eq_ignore_ascii_case(&tag[1]))
            };
            match event.tags.iter_mut().find(same) {
                Some(old) => *old = tag,
                None => event.tags.push(tag),
            }
        }
        let unchanged = old.map_or(event.tags.is_empty(), |old| old.tags == event.tags);
        (!unchanged).then_some(event)
    })
    .await
}

/// The events of the first filter, which is for the event to replace. An event that came counts,
/// though the relay did not end its answer: it is the one event of its kind.
fn first_filter(answer: Answer) -> core::result::Result<Vec<Value>, Failure> {
    let Body::Relay { answers } = answer.body else { return Ok(Vec::new()) };
    match answers.into_iter().next() {
        Some(RelayAnswer { events, failure: Some(failure) }) if events.is_empty() => Err(failure),
        first => Ok(first.map(|first| first.events).unwrap_or_default()),
    }
}

/// Replaces one of the key's events by what `write` makes of the newest (nothing to leave it), and
/// brings the newest to every relay that lacks it.
async fn replace(
    publisher: &Publisher<'_, impl Web>,
    author: &impl Author,
    filters: &[Value],
    wanted: impl Fn(&NostrEvent) -> bool + Copy,
    write: impl FnOnce(Option<&NostrEvent>) -> Option<NostrEvent>,
) -> Result<Placed> {
    let answers = ask_relays(publisher.web, publisher.endpoints, author.key(), filters).await;
    let mut warnings = Vec::new();
    let mut failed = None;
    let mut newest: Option<(NostrEvent, String)> = None;
    let mut relays: Vec<(String, Option<[u8; 32]>)> = Vec::new();
    for (request, answer) in answers {
        let url = request.place();
        let events = match answer.and_then(first_filter) {
            Ok(events) => events,
            // A relay that cannot be read is not written to: it may have something newer.
            Err(failure) => {
                failed.get_or_insert(failure.code);
                let detail = failure.detail.unwrap_or_default();
                warnings.push(format!("{url}: {}: {detail}", failure.code));
                continue;
            }
        };
        let found = newest_own(author.key(), &events, wanted);
        relays.push((url, found.as_ref().map(|(event, _)| event.id(author.key()))));
        if let Some((event, json)) = found
            && newest.as_ref().is_none_or(|(old, _)| old.created_at < event.created_at)
        {
            newest = Some((event, Value::to_canonical(json)));
        }
    }
    if relays.is_empty() {
        let code = failed.unwrap_or(Code::ConnectFailed);
        return Err(Error::about(code, warnings.join("; ")));
    }
    let (change, id, json) = match (write(newest.as_ref().map(|(event, _)| event)), newest) {
        (None, None) => return Ok(Placed { change: Change::Unchanged, url: None, warnings }),
        (None, Some((event, json))) => (Change::Unchanged, event.id(author.key()), json),
        (Some(mut event), old) => {
            // A relay keeps the newest of a kind, so that it must be newer than the one that is there.
            let after = old.as_ref().map_or(0, |(event, _)| event.created_at + 1);
            event.created_at = event.created_at.max(after);
            let change = if old.is_some() { Change::Updated } else { Change::Created };
            let json = author.sign(&event).await?;
            // A signer elsewhere may have another key by now.
            let (by, signed) = NostrEvent::from_json(&Value::parse_foreign(json.as_bytes())?)?;
            if by != *author.key() {
                return Err(Error::about(Code::CredentialOther, by));
            }
            (change, signed.id(author.key()), json)
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
