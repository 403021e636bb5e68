//! Publishing an own chain: to a directory, to nostr relays, to a sigchain server.

use crate::{
    home::Home,
    host::{Access, Net},
};
use kez_core::{
    Chain, Code, Error, NostrEvent, Result, SecretKey, Timestamp,
    chain::MAX_BUNDLE,
    chain_path,
    channel::{chain_carrier, chain_filters},
    chat::client::Call,
    publish::{appended_at_server, missing_at_server, server_url},
    transport::{Body, Failure, Request},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn refused(place: &str) -> impl Fn(Failure) -> Error {
    move |failure| {
        let detail = failure.detail.unwrap_or_default();
        Error::about(Code::PublishRefused, format!("{place}: {}: {detail}", failure.code))
    }
}

/// Writes the bundle below a `.well-known` directory. Returns the file.
///
/// # Errors
/// `storage_failed`; a file that was there before is then as it was.
pub fn to_directory(home: &Home<'_>, chain: &Chain, dir: &Path) -> Result<PathBuf> {
    let path = dir.join(format!("kez/{}.jsonl", chain_path(chain.name())));
    home.write(&path, chain.to_bundle().as_bytes(), Access::Public)?;
    Ok(path)
}

/// Sends to a relay what it does not have, each event carried by a nostr event that `key` signs.
/// A second run changes nothing, and one that was cut short goes on where it stopped.
///
/// # Errors
/// `publish_refused`, `key_expected` if `key` is not a nostr key.
pub async fn to_relay(net: &impl Net, chain: &Chain, key: &SecretKey, url: &str) -> Result<()> {
    let ask = Request::Relay { url: url.to_owned(), filters: chain_filters(chain.name()) };
    let answer = net.fetch_if(&ask, None).await.map_err(refused(url))?;
    let Body::Relay { events } = answer.body else { return Ok(()) };
    let tag = |json| NostrEvent::from_json(json).ok()?.1.tag("d").map(str::to_owned);
    let have: BTreeSet<String> = events.iter().filter_map(tag).collect();
    let mut carriers = Vec::new();
    for ((event, line), seq) in chain.events().iter().zip(chain.lines()).zip(1..) {
        let Some(id) = chain.id_at(seq) else { continue };
        let carrier = chain_carrier(chain.name(), id, line, event.created_at);
        if !carrier.tag("d").is_some_and(|d| have.contains(d)) {
            carriers.push(key.sign_nostr_event(&carrier, &[0; 32])?);
        }
    }
    net.publish_events(url, &carriers).await.map_err(refused(url))
}

/// Appends to a sigchain server what it does not have (SPEC.md, "Sigchain server").
///
/// # Errors
/// `head_conflict` if the server has other or newer events, `publish_refused`.
pub async fn to_server(net: &impl Net, chain: &Chain, base: &str, now: Timestamp) -> Result<()> {
    let url = server_url(base, chain);
    let request = Request::Http { url: url.clone(), accept: "*/*", limit: MAX_BUNDLE };
    let answer = net.fetch_if(&request, None).await.map_err(refused(&url))?;
    let Body::Http { status, bytes, .. } = answer.body else { return Ok(()) };
    let at = |e: Error| {
        let detail = e.context().map(|c| format!(": {c}")).unwrap_or_default();
        Error::about(e.code(), format!("{url}{detail}"))
    };
    let lines = missing_at_server(chain, status, &bytes, now).map_err(at)?;
    if lines.is_empty() {
        return Ok(());
    }
    let body = Some(("application/jsonl", lines));
    let call = Call { method: "POST", url: url.clone(), authorization: None, body };
    let (status, body) = net.call(call).await.map_err(refused(&url))?;
    appended_at_server(status, &body).map_err(at)
}
