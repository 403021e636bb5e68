//! Where sigchains are found, and how the copies from several sources become one history
//! (SPEC.md, "Sources").

use super::{History, Known};
use crate::{
    Chain, Code, Endpoints, Envelope, Error, Event, Head, Identity, Key, NOSTR_KIND, ObjectId,
    Result, Scheme, SignedClaim, Timestamp,
    channel::{Fetched, chain_authors, chain_failure, chain_request, further_filters},
    event::{self, chain_path},
    fork::{MAX_FORK, Merge, merge, read_evidence},
    json::Value,
    log::SigServer,
    map::Map,
    transport::{Body, Failure, Redirects, RelayAnswer, Request},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};

/// Where a server has a primary's chain.
fn path(primary: &Identity) -> String {
    format!("/v1/sigchains/{primary}")
}

/// The request for a server's copy, with proof that the log, which had so many entries when it
/// was last seen, contains its head.
pub(super) fn from_server(server: &SigServer, primary: &Identity, size: u64) -> Request {
    Request::bundle(format!("{}{}?log={size}", server.url, path(primary)))
}

/// The request for what a sigchain server has of other histories of a chain
/// ([`crate::fork::read_evidence`]). `server` is the server's URL without a slash at its end.
#[must_use]
pub fn evidence_request(server: &str, primary: &Identity) -> Request {
    let url = format!("{server}{}/fork", path(primary));
    let (accept, redirects) = ("application/jsonl", Redirects::SameHost);
    Request::Http { url, accept, limit: MAX_FORK, truncate: false, redirects }
}

/// A source to ask.
#[derive(Clone, PartialEq)]
pub(super) enum Asked {
    /// A URL or relay that the user, the claim or the configuration names.
    Named(Request),
    /// The well-known place of a claimed domain.
    WellKnown(Request),
    /// A relay that may have the chain, of which more than half must answer.
    Relay(Request),
    /// A sigchain server, whose log is to prove the chain.
    Server(Box<(SigServer, Identity)>),
    /// A sigchain server's evidence of a fork.
    Evidence(Request),
    /// A relay that was asked before, for events by keys that its answer named.
    Again(Request),
}

/// The sources that may have a primary's chain.
pub(super) fn requests(
    primary: &Identity,
    claims: &[&SignedClaim],
    domains: &[String],
    named: &[String],
    endpoints: &Endpoints,
) -> Vec<Asked> {
    let mut servers: Vec<SigServer> = endpoints.sig_servers.clone();
    let mut all: Vec<Asked> = Vec::new();
    for url in named.iter().chain(claims.iter().flat_map(|c| &c.claim().sources)) {
        let known = |url: &str| servers.iter().any(|server| server.url == url);
        match url.strip_suffix(&path(primary)) {
            Some(base) if known(base) => {}
            Some(base) => servers.push(SigServer { url: base.into(), key: None }),
            None if url.starts_with("ws:") || url.starts_with("wss:") => {
                all.push(Asked::Named(relay(primary, url)));
            }
            None => all.push(Asked::Named(Request::bundle(url.clone()))),
        }
    }
    for server in servers {
        let evidence = evidence_request(&server.url, primary);
        all.push(Asked::Server(Box::new((server, primary.clone()))));
        all.push(Asked::Evidence(evidence));
    }
    for domain in domains {
        let url = format!("https://{domain}/.well-known/kez/{}.jsonl", chain_path(primary));
        all.push(Asked::WellKnown(Request::bundle(url)));
    }
    if primary.scheme() == Scheme::Nostr {
        all.extend(endpoints.relays.iter().map(|url| Asked::Relay(relay(primary, url))));
    }
    let mut unique: Vec<Asked> = Vec::new();
    for asked in all {
        let request = asked.request();
        if request.is_none() || !unique.iter().any(|other| other.request() == request) {
            unique.push(asked);
        }
    }
    unique
}

impl Asked {
    /// The request, but for that to a server, which depends on what is remembered of its log.
    pub(super) const fn request(&self) -> Option<&Request> {
        match self {
            Self::Named(request)
            | Self::WellKnown(request)
            | Self::Relay(request)
            | Self::Evidence(request)
            | Self::Again(request) => Some(request),
            Self::Server(_) => None,
        }
    }
}

/// The request that finds a primary's chain on a relay.
pub(super) fn relay(primary: &Identity, url: &str) -> Request {
    chain_request(primary, url)
}

/// How many sources of a kind answered what.
#[derive(Default)]
struct Tally {
    served: usize,
    absent: usize,
    failed: usize,
}

/// What one source says of a chain.
enum Reply {
    Served,
    Absent,
    Failed(String),
    /// The user works offline, and nothing is cached.
    Unasked,
}

/// A copy that ends before its source does.
struct Partial {
    /// The last event that was read.
    head: Head,
    /// Whether there is something behind it, which no whole copy may lack.
    more: bool,
    error: Error,
}

impl Partial {
    /// Whether a whole copy has what this one lacks.
    fn continued_by(&self, whole: &Chain) -> bool {
        let begins = whole.id_at(self.head.seq) == Some(self.head.id);
        begins && (!self.more || length(whole) > self.head.seq)
    }
}

/// What one relay sent, in all rounds.
struct RelayRead {
    url: String,
    named: bool,
    events: Vec<Value>,
    /// Why it was not read to its end.
    cut: Option<Failure>,
    /// Whether it sent events in answer to the filter that decides.
    answered: bool,
    /// Whether one of those is an event of the chain, so that the relay has some of it.
    lines: bool,
    /// The keys that it was asked for.
    authors: Vec<Key>,
}

/// What the sources together say.
#[derive(Default)]
pub(super) struct Gathered {
    read: Vec<RelayRead>,
    /// Copies as whole as their sources have them.
    whole: Vec<Chain>,
    /// Copies that end too early.
    copies: Vec<Chain>,
    partial: Vec<Partial>,
    /// Named sources, servers and well-known places.
    named: Tally,
    relays: Tally,
    /// Why the first source failed that failed.
    failure: Option<String>,
    /// Copies of servers whose logs do not prove them. Their events are signed by their owner, but
    /// that there are no others is not to be believed.
    doubted: Vec<Chain>,
    /// Why the first server was not believed that was not.
    refused: Option<Error>,
}

fn length(chain: &Chain) -> u64 {
    chain.head().map_or(0, |head| head.seq)
}

impl Gathered {
    /// Takes a copy that the user has.
    pub(super) fn add(&mut self, bundle: &[u8], primary: &Identity, now: Timestamp) {
        let event = Event::take(&mut &*bundle);
        // A bundle of another identity says nothing about this one.
        if event.is_ok_and(|(_, event, _)| event.chain != *primary) {
            return;
        }
        let reply = self.bundle("the copy at hand", bundle, primary, now);
        self.count(false, reply);
    }

    /// The requests for events by keys that the relays' answers named, so that a rotated key's
    /// events are found, too.
    pub(super) fn further(&mut self, primary: &Identity, now: Timestamp) -> Vec<Asked> {
        if primary.scheme() != Scheme::Nostr {
            return Vec::new();
        }
        let events: Vec<&Value> = self.read.iter().flat_map(|relay| &relay.events).collect();
        let mut chains = assemble(primary, &events, now);
        chains.extend(self.whole.iter().chain(&self.copies).cloned());
        let keys = chain_authors(&chains);
        let mut requests = Vec::new();
        for relay in &mut self.read {
            let new = keys.iter().filter(|key| !relay.authors.contains(key)).cloned();
            let new: Vec<Key> = new.collect();
            if !new.is_empty() {
                let filters = further_filters(primary, &new);
                requests.push(Asked::Again(Request::Relay { url: relay.url.clone(), filters }));
                relay.authors.extend(new);
            }
        }
        requests
    }

    /// Takes that the relays were not asked for all keys that their answers named.
    pub(super) fn cut_off(&mut self) {
        for relay in &mut self.read {
            let why = || Failure::new(Code::SearchIncomplete, "the chain has too many keys");
            relay.cut.get_or_insert_with(why);
        }
    }

    fn count(&mut self, relay: bool, reply: Reply) {
        let tally = if relay { &mut self.relays } else { &mut self.named };
        match reply {
            Reply::Served => tally.served += 1,
            Reply::Absent => tally.absent += 1,
            Reply::Failed(why) => {
                tally.failed += 1;
                self.failure.get_or_insert(why);
            }
            Reply::Unasked => {}
        }
    }

    /// Reads one source's answer, which may be a server's whose log does not prove it.
    pub(super) fn read(
        &mut self,
        primary: &Identity,
        asked: &Asked,
        (request, answer): Fetched,
        believed: Result<()>,
        now: Timestamp,
    ) {
        let place = request.place();
        let reply = match answer.map(|answer| answer.body) {
            Ok(Body::Http { status: 200, bytes, .. }) if matches!(asked, Asked::Evidence(_)) => {
                return self.evidence(&place, primary, &bytes, now);
            }
            Ok(Body::Http { status: 404 | 405 | 410, .. })
                if matches!(asked, Asked::Evidence(_)) =>
            {
                return;
            }
            Err(failure) if matches!(asked, Asked::Again(_)) => {
                if let Some(relay) = self.read.iter_mut().find(|relay| relay.url == place) {
                    relay.cut.get_or_insert(failure);
                }
                return;
            }
            Err(failure) if failure.code == Code::Offline => Reply::Unasked,
            Err(failure) => match (asked, failure.code) {
                (Asked::WellKnown(_), Code::HostUnknown) => Reply::Absent,
                _ => Reply::Failed(failure.at(&place).brief()),
            },
            Ok(Body::Http { status: 200, bytes, .. }) => match believed {
                Ok(()) => self.bundle(&place, &bytes, primary, now),
                Err(error) => {
                    self.doubted.extend(Chain::replay(&bytes, Some(primary), now));
                    let why = error.brief();
                    self.refused.get_or_insert(error);
                    Reply::Failed(why)
                }
            },
            Ok(Body::Http { status: 404 | 410, .. }) => Reply::Absent,
            Ok(Body::Http { status, .. }) => {
                Reply::Failed(format!("{place}: HTTP status {status}"))
            }
            Ok(Body::Relay { answers }) => {
                let named = matches!(asked, Asked::Named(_));
                return self.relay(&request, answers, named, primary);
            }
            Ok(Body::Txt { .. }) => Reply::Failed(format!("{place}: {}", Code::ResponseRefused)),
        };
        self.count(matches!(asked, Asked::Relay(_)), reply);
    }

    /// Reads fork objects, one a line. Branches that verify are events of the chain, wherever they
    /// come from.
    fn evidence(&mut self, place: &str, primary: &Identity, bytes: &[u8], now: Timestamp) {
        let (forks, error) = read_evidence(bytes, now);
        let mut why = error.map(|error| error.brief());
        for fork in forks {
            if fork.chain() == primary {
                let (a, b) = fork.into_branches();
                // The first branch is mostly the same one in every object.
                for branch in [a, b] {
                    if !self.copies.contains(&branch) {
                        self.copies.push(branch);
                    }
                }
            } else {
                why.get_or_insert("evidence of another chain".into());
            }
        }
        if let Some(why) = why {
            self.count(false, Reply::Failed(format!("{place}: {why}")));
        }
    }

    /// Reads a bundle. Of one that breaks off the events before count.
    fn bundle(&mut self, place: &str, bytes: &[u8], primary: &Identity, now: Timestamp) -> Reply {
        match Chain::replay_prefix(bytes, primary, now) {
            Ok((chain, None)) => {
                self.whole.push(chain);
                Reply::Served
            }
            Ok((chain, Some(error))) => {
                let error =
                    Error::about(Code::ChainDamaged, format_args!("{place}: {}", error.brief()));
                let end = chain.head();
                self.partial.extend(end.map(|head| Partial { head, more: true, error }));
                self.copies.push(chain);
                Reply::Served
            }
            // A source that serves something else is one that has failed.
            Err(error) => Reply::Failed(format!("{place}: {}", error.brief())),
        }
    }

    /// Takes what a relay sent in one round.
    fn relay(
        &mut self,
        request: &Request,
        answers: Vec<RelayAnswer>,
        named: bool,
        primary: &Identity,
    ) {
        let url = request.place();
        let cut = chain_failure(request, &answers).cloned();
        let deciding = answers.first().map_or(&[][..], |answer| &answer.events);
        let answered = !deciding.is_empty();
        let lines = deciding.iter().any(|json| line_of(primary, json).is_some());
        let events = answers.into_iter().flat_map(|answer| answer.events);
        match self.read.iter_mut().find(|relay| relay.url == url) {
            Some(relay) => {
                relay.events.extend(events);
                relay.cut = relay.cut.take().or(cut);
                relay.answered |= answered;
                relay.lines |= lines;
                relay.named |= named;
            }
            None => {
                let authors = Key::from_identity(primary).into_iter().collect();
                let events = events.collect();
                self.read.push(RelayRead { url, named, events, cut, answered, lines, authors });
            }
        }
    }

    /// Puts the chains of the relays together: of each by itself, and of all.
    fn read_relays(&mut self, primary: &Identity, now: Timestamp) {
        let read = core::mem::take(&mut self.read);
        if read.len() > 1 {
            let events: Vec<&Value> = read.iter().flat_map(|relay| &relay.events).collect();
            self.copies.extend(assemble(primary, &events, now));
        }
        for relay in read {
            let events: Vec<&Value> = relay.events.iter().collect();
            let found = assemble(primary, &events, now);
            let failed = |failure: Failure| failure.at(&relay.url).brief();
            let reply = match relay.cut {
                // Some of the chain is there, and what it says cannot be read: that is no absence.
                None if found.is_empty() && relay.lines => Reply::Failed(format!(
                    "{}: events of the chain without its first ones",
                    relay.url
                )),
                None if found.is_empty() => Reply::Absent,
                None => {
                    self.whole.extend(found);
                    Reply::Served
                }
                // Other events than those that were asked for: it answers, in its own way.
                Some(failure)
                    if found.is_empty()
                        && relay.answered
                        && !relay.lines
                        && failure.code != Code::SearchIncomplete =>
                {
                    Reply::Absent
                }
                Some(failure) if found.is_empty() => Reply::Failed(failed(failure)),
                Some(failure) => {
                    let error = Error::about(Code::ChainUnreachable, failed(failure));
                    let cut = |head| Partial { head, more: false, error: error.clone() };
                    self.partial.extend(found.iter().filter_map(Chain::head).map(cut));
                    self.copies.extend(found);
                    Reply::Served
                }
            };
            self.count(!relay.named, reply);
        }
    }

    /// Joins the copies with what was seen before, as of a time.
    pub(super) fn history(
        mut self,
        primary: &Identity,
        remembered: Option<Chain>,
        clock: Timestamp,
        at: Timestamp,
    ) -> History {
        self.read_relays(primary, clock);
        let Self { whole, copies, partial, named, relays, failure, doubted, refused, .. } = self;
        let served = named.served + relays.served;
        let asked = served + named.absent + named.failed + relays.absent + relays.failed;
        let unreachable = || {
            let refused = refused.clone();
            let why = || Error::about(Code::ChainUnreachable, failure.clone().unwrap_or_default());
            refused.unwrap_or_else(why)
        };
        let asked_relays = relays.served + relays.absent + relays.failed;
        let quorum = asked_relays == 0 || relays.absent * 2 > asked_relays;
        let absent = asked > 0 && served == 0 && named.failed == 0 && quorum;
        // What was served, and what was seen before, as of that time.
        let past = |chain: &Chain| chain.as_of(at);
        let length_of = |chains: &[Chain]| chains.iter().map(length).max().unwrap_or_default();
        let copies: Vec<Chain> = whole.iter().chain(&copies).map(past).collect();
        let remembered = remembered.as_ref().map(past);
        let (now_served, seen) = (length_of(&copies), remembered.as_ref().map_or(0, length));
        let all = copies.into_iter().chain(remembered).chain(doubted.iter().map(past));
        let all: Vec<Chain> = all.filter(|chain| chain.head().is_some()).collect();
        if all.is_empty() {
            return match () {
                () if served > 0 || absent => History::Absent,
                () if asked == 0 => History::Unchecked,
                () => History::Unknown(unreachable()),
            };
        }
        let (chain, settled) = match merge(all) {
            Ok(Merge::Same(chain)) => (*chain, false),
            Ok(Merge::Settled(chain)) => (*chain, true),
            Ok(Merge::Fork(fork)) => return History::Forked(fork),
            // Not met: all copies were replayed under the one name that was asked for.
            Err(error) => return History::Unknown(error),
        };
        let doubt = match () {
            () if asked == 0 => None,
            () if served == 0 && !absent => Some(unreachable()),
            () if now_served < seen && !settled => {
                let why = format!("the sources serve {now_served} events, {seen} were seen before");
                Some(Error::about(Code::Rollback, why))
            }
            () => {
                let open = |p: &Partial| !whole.iter().any(|whole| p.continued_by(whole));
                partial.into_iter().find(open).map(|p| p.error)
            }
        };
        History::Known(Box::new(Known { chain, doubt, unchecked: asked == 0, settled, refused }))
    }
}

/// The event of a chain that a nostr event carries.
fn line_of(primary: &Identity, json: &Value) -> Option<(Envelope, Event)> {
    if json.get("kind").and_then(Value::as_int) != Some(i64::from(NOSTR_KIND)) {
        return None;
    }
    let line = json.get("content").and_then(Value::as_str)?;
    let envelope = event::read_line(line.as_bytes()).ok()?;
    let event = Event::from_payload(envelope.payload()).ok()?;
    (event.chain == *primary).then_some((envelope, event))
}

/// How many branches of one chain are followed.
const MAX_BRANCHES: usize = 16;

/// Puts a chain together from the nostr events that carry its lines. The lines prove themselves,
/// so the carriers' authors do not matter; strangers' lines lead nowhere.
fn assemble(primary: &Identity, events: &[&Value], now: Timestamp) -> Vec<Chain> {
    let prev_key = |prev: Option<ObjectId>| prev.map_or([0; 32], |id| *id.as_bytes());
    let mut by_prev: Map<Vec<Envelope>> = Map::default();
    for json in events {
        let Some((envelope, event)) = line_of(primary, json) else { continue };
        let prev = prev_key(event.prev);
        let known =
            by_prev.get(prev).is_some_and(|all| all.iter().any(|e| e.id() == envelope.id()));
        if !known {
            by_prev.push(prev, envelope);
        }
    }
    let mut done = Vec::new();
    let Ok(empty) = Chain::new(primary) else { return done };
    let mut open = alloc::vec![empty];
    while let Some(mut chain) = open.pop() {
        let children = by_prev.get(prev_key(chain.head().map(|h| h.id)));
        let fits = |envelope: &&Envelope| chain.check(envelope, now).is_ok();
        let mut fitting: Vec<&Envelope> = children.into_iter().flatten().filter(fits).collect();
        // The order must not depend on who answered first, for the case that the limit cuts.
        fitting.sort_by_cached_key(|event| (!chain.is_committed_rotation(event), event.id()));
        let Some((first, others)) = fitting.split_first() else {
            if chain.head().is_some() {
                done.push(chain);
            }
            continue;
        };
        // Only a real fork costs a copy.
        let room = MAX_BRANCHES.saturating_sub(open.len() + done.len() + 1);
        for other in others.iter().take(room) {
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
