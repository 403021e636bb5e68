//! Where sigchains are found, and how the copies from several sources become one history
//! (SPEC.md, "Chain sources").

use crate::{
    Chain, Code, Endpoints, Envelope, Error, Event, History, Identity, NOSTR_KIND, ObjectId,
    Scheme, SignedClaim, Timestamp,
    channel::{Fetched, chain_request},
    event::{self, chain_path},
    fork::{Merge, merge},
    json::Value,
    log::SigServer,
    map::Map,
    transport::{Body, Request},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};

/// Where a server has a primary's chain.
fn path(primary: &Identity) -> String {
    format!("/v1/sigchains/{primary}")
}

/// The request for a server's copy, with proof that the log, which had so many entries when it
/// was last seen, contains its head.
pub(crate) fn from_server(server: &SigServer, primary: &Identity, size: u64) -> Request {
    bundle(format!("{}{}?log={size}", server.url, path(primary)))
}

fn bundle(url: String) -> Request {
    Request::bundle(url)
}

/// A source to ask.
#[derive(PartialEq)]
pub(crate) enum Asked {
    /// One that serves what it has.
    Source(Request),
    /// A sigchain server that is asked for that chain, which its log is to prove.
    Server(Box<(SigServer, Identity)>),
}

/// The sources that may have a primary's chain: the configured servers first, then named ones, the
/// claim's, the claimed domains' well-known path, and the relays of a nostr key.
pub(crate) fn requests(
    primary: &Identity,
    claim: Option<&SignedClaim>,
    domains: &[String],
    named: &[String],
    endpoints: &Endpoints,
) -> Vec<Asked> {
    let relay = |url: &String| Asked::Source(relay(primary, url));
    let server = |server: SigServer| Asked::Server(Box::new((server, primary.clone())));
    let mut all: Vec<Asked> = endpoints.sig_servers.iter().cloned().map(server).collect();
    for url in named.iter().chain(claim.iter().flat_map(|c| &c.claim().sources)) {
        let is_relay = url.starts_with("ws:") || url.starts_with("wss:");
        let known = |url: &str| endpoints.sig_servers.iter().any(|server| server.url == url);
        match url.strip_suffix(&path(primary)) {
            Some(base) if known(base) => {}
            Some(base) => all.push(server(SigServer { url: base.into(), key: None })),
            None if is_relay => all.push(relay(url)),
            None => all.push(Asked::Source(bundle(url.clone()))),
        }
    }
    for domain in domains {
        let url = format!("https://{domain}/.well-known/kez/{}.jsonl", chain_path(primary));
        all.push(Asked::Source(bundle(url)));
    }
    if primary.scheme() == Scheme::Nostr {
        all.extend(endpoints.relays.iter().map(relay));
    }
    let mut unique: Vec<Asked> = Vec::new();
    for asked in all {
        if !unique.contains(&asked) {
            unique.push(asked);
        }
    }
    unique
}

/// The request that finds a primary's chain on a relay.
pub(crate) fn relay(primary: &Identity, url: &str) -> Request {
    chain_request(primary, url)
}

/// What the sources together say.
#[derive(Default)]
pub(crate) struct Gathered {
    chains: Vec<Chain>,
    absent: bool,
    failure: Option<String>,
    /// Copies of servers whose logs do not prove them, and why not. Their events are signed by
    /// their owner all the same; that there are no others is not to be believed.
    doubted: Vec<Chain>,
    refused: Option<Error>,
}

impl Gathered {
    /// Takes a copy at hand.
    pub(crate) fn add(&mut self, copy: crate::Result<Chain>) {
        match copy {
            Ok(chain) => self.chains.push(chain),
            // A bundle of another identity says nothing about this one.
            Err(error) if error.code() == Code::ChainId => {}
            Err(error) => {
                self.failure.get_or_insert(format!("the copy at hand: {}", error.brief()));
            }
        }
    }

    /// Reads one source's answer, which may be a server's whose log does not prove it.
    pub(crate) fn read(
        &mut self,
        primary: &Identity,
        (request, answer): Fetched,
        believed: crate::Result<()>,
        now: Timestamp,
    ) {
        let place = request.place();
        let mut fail = |why: String| {
            self.failure.get_or_insert(format!("{place}: {why}"));
        };
        match answer {
            Err(failure) => fail(format!("{}", failure.code)),
            Ok(answer) => match answer.body {
                Body::Http { bytes, .. } if believed.is_err() => {
                    self.doubted.extend(Chain::replay(&bytes, Some(primary), now));
                    self.refused = self.refused.take().or(believed.err());
                }
                Body::Http { status: 200, bytes, .. } => {
                    match Chain::replay(&bytes, Some(primary), now) {
                        Ok(chain) => self.chains.push(chain),
                        // A source that serves rubbish is one that cannot be had.
                        Err(error) => fail(error.brief()),
                    }
                }
                Body::Http { status: 404 | 410, .. } => self.absent = true,
                Body::Http { status, .. } => fail(format!("HTTP status {status}")),
                body @ Body::Relay { .. } => {
                    let events: Vec<Value> = body.relay_events().cloned().collect();
                    let found = assemble(primary, &events, now);
                    self.absent |= found.is_empty();
                    self.chains.extend(found);
                }
                Body::Txt { .. } => fail(format!("{}", Code::ResponseRefused)),
            },
        }
    }

    /// Joins the copies with what was seen before.
    pub(crate) fn history(self, remembered: Option<Chain>) -> History {
        // That one source has nothing says nothing about those that could not be asked.
        let answered = !self.chains.is_empty() || (self.absent && self.failure.is_none());
        let seen = remembered.as_ref().and_then(Chain::head).map_or(0, |h| h.seq);
        let served = self.chains.iter().filter_map(Chain::head).map(|h| h.seq).max().unwrap_or(0);
        let mut settled = false;
        let mut copies = remembered.into_iter().chain(self.chains).chain(self.doubted);
        let mut best = copies.next();
        for copy in copies {
            let Some(other) = best.take() else { break };
            best = match merge(other, copy) {
                Ok(Merge::Same(chain)) => Some(*chain),
                Ok(Merge::Fork(fork)) => match fork.into_settled() {
                    Ok(chain) => {
                        settled = true;
                        Some(chain)
                    }
                    Err(fork) => return History::Forked(fork),
                },
                // Not met: all copies were replayed under the one name that was asked for.
                Err(error) => return History::Unknown(Some(error)),
            };
        }
        match best {
            Some(chain) => History::Known {
                chain: Box::new(chain),
                rolled_back: answered && served < seen && !settled,
                remembered: !answered,
                settled,
                refused: self.refused,
            },
            None if self.absent => History::Absent,
            None => History::Unknown(self.refused.or_else(|| {
                self.failure.map(|failure| Error::about(Code::ChainUnreachable, failure))
            })),
        }
    }
}

/// Puts a chain together from the nostr events that carry its lines. The lines prove themselves,
/// so the carriers' authors do not matter; strangers' lines lead nowhere.
fn assemble(primary: &Identity, events: &[Value], now: Timestamp) -> Vec<Chain> {
    let prev_key = |prev: Option<ObjectId>| prev.map_or([0; 32], |id| *id.as_bytes());
    let mut by_prev: Map<Vec<Envelope>> = Map::default();
    for json in events {
        let text = |name| json.get(name).and_then(Value::as_str);
        if json.get("kind").and_then(Value::as_int) != Some(i64::from(NOSTR_KIND)) {
            continue;
        }
        let Some(line) = text("content") else { continue };
        let Ok(envelope) = event::read_line(line.as_bytes()) else { continue };
        let Ok(event) = Event::from_payload(envelope.payload()) else { continue };
        if event.chain == *primary {
            let prev = prev_key(event.prev);
            let known =
                by_prev.get(prev).is_some_and(|all| all.iter().any(|e| e.id() == envelope.id()));
            if !known {
                by_prev.push(prev, envelope);
            }
        }
    }
    let mut done = Vec::new();
    let Ok(empty) = Chain::new(primary) else { return done };
    let mut open = alloc::vec![empty];
    while let Some(mut chain) = open.pop() {
        let children = by_prev.get(prev_key(chain.head().map(|h| h.id)));
        let fits = |envelope: &&Envelope| chain.check(envelope, now).is_ok();
        let fitting: Vec<&Envelope> = children.into_iter().flatten().filter(fits).collect();
        let Some((first, others)) = fitting.split_first() else {
            if chain.head().is_some() {
                done.push(chain);
            }
            continue;
        };
        // Only a real fork costs a copy. Two branches make one; more add nothing to it.
        for other in others.iter().take(3 - open.len().min(3)) {
            let mut branch = chain.clone();
            if branch.append(other, now).is_ok() {
                open.push(branch);
            }
        }
        if chain.append(first, now).is_ok() {
            open.push(chain);
        }
    }
    done
}
