//! Asking: several servers side by side, and the sources of a chain.

use super::{
    History, Memory, Progress, Verifier,
    sources::{self, Asked, Gathered},
};
use crate::{
    Chain, Code, Error, Identity, Result, SignedClaim,
    channel::{self, Fetched},
    log,
    transport::{Answer, Body, Failure, Request, Transport, Via},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream::FuturesUnordered,
};

/// How often the sources of a chain are asked, for further keys and relays.
const MAX_ROUNDS: usize = 16;
/// How many domains are asked for a chain: the owner of the chain decides which ones it lists.
const MAX_DOMAINS: usize = 16;
/// For how many milliseconds slow servers are waited for once the others have decided.
const GRACE: u32 = 1000;

/// The answer of a source: what came, and whether a server's log proves it.
pub(super) type Heard = (Fetched, Result<()>);

/// The domains that may serve the chain: the one that is verified, and the newest ones that a
/// remembered chain lists.
fn domains(subject: Option<&Identity>, remembered: Option<&Chain>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    let listings = remembered.map(Chain::listings).unwrap_or_default();
    let listed = listings.into_iter().rev().map(|(listing, _)| &listing.subject);
    for id in subject.into_iter().chain(listed) {
        let domain = id.value().into();
        if id.scheme() == "dns" && !domains.contains(&domain) && domains.len() < MAX_DOMAINS {
            domains.push(domain);
        }
    }
    domains
}

impl<T: Transport, M: Memory> Verifier<'_, T, M> {
    pub(super) async fn fetch(&self, request: Request) -> Fetched {
        if let Some(Err(failure)) = self.budget.as_ref().map(|budget| budget.take(&request)) {
            return (request, Err(failure));
        }
        (self.progress)(Progress::Asking(&request));
        let answer = self.transport.fetch(&request).await;
        if let Some(budget) = &self.budget {
            budget.answered(&request, &answer);
        }
        (self.progress)(Progress::Answered(&request, answer.as_ref().err().map(|f| f.code)));
        (request, answer)
    }

    /// Asks side by side. Once what has come decides, the rest has only a moment more.
    pub(super) async fn ask_all<A>(
        &self,
        requests: &[A],
        ask: impl AsyncFn(&A) -> Heard,
        place: impl Fn(&A) -> Request,
        decides: impl Fn(&[Option<Heard>]) -> bool,
    ) -> Vec<Heard> {
        let mut heard: Vec<Option<Heard>> = requests.iter().map(|_| None).collect();
        let ask = &ask;
        let open =
            requests.iter().enumerate().map(|(n, request)| async move { (n, ask(request).await) });
        let mut open: FuturesUnordered<_> = open.collect();
        let mut pause = None;
        loop {
            if pause.is_none() && decides(&heard) {
                pause = Some(Box::pin(self.transport.pause(GRACE)));
            }
            let next = match &mut pause {
                None => open.next().await,
                Some(pause) => match select(open.next(), pause).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => None,
                },
            };
            let Some((n, answer)) = next else { break };
            heard[n] = Some(answer);
        }
        drop(open);
        let slow = |request: &A| {
            let request = place(request);
            (self.progress)(Progress::Answered(&request, Some(Code::Timeout)));
            let why = "others have answered, and this one was not waited for any longer";
            ((request, Err(Failure::new(Code::Timeout, why))), Ok(()))
        };
        requests.iter().zip(heard).map(|(r, h)| h.unwrap_or_else(|| slow(r))).collect()
    }

    /// The history of a primary: from its sources, joined with what was seen before. Claims name
    /// further sources, and a domain that is claimed may serve the chain.
    pub async fn history(
        &self,
        primary: &Identity,
        claims: &[&SignedClaim],
        subject: Option<&Identity>,
    ) -> History {
        let remembered = self
            .memory
            .recall(primary.as_str())
            .and_then(|bundle| Chain::replay(&bundle, Some(primary), self.clock).ok());
        let domains = domains(subject, remembered.as_ref());
        let mut asked =
            sources::requests(primary, claims, &domains, &self.sources, &self.endpoints);
        let mut gathered = Gathered::default();
        for bundle in &self.bundles {
            gathered.add(bundle, primary, self.clock);
        }
        // Answers name further relays and further keys of the chain.
        for round in 0..MAX_ROUNDS {
            let answers = self.ask_sources(&asked).await;
            let fetched: Vec<Fetched> =
                answers.iter().map(|(fetched, _)| fetched.clone()).collect();
            for (asked, (fetched, believed)) in asked.iter().zip(answers) {
                gathered.read(primary, asked, fetched, believed, self.clock);
            }
            asked = gathered.further(primary, self.clock);
            if round == 0 {
                let further = channel::further_relays(primary, &self.endpoints, &fetched);
                let further = further.iter().map(|url| sources::relay(primary, url));
                asked.extend(further.map(Asked::Relay));
            }
            if asked.is_empty() {
                break;
            }
        }
        if !asked.is_empty() {
            gathered.cut_off();
        }
        let clock = self.clock;
        let history = gathered.history(primary, remembered, clock, self.now.min(clock));
        if let (Some(chain), false) = (history.chain(), self.now < self.clock) {
            self.memory.remember(primary.as_str(), &chain.to_bundle());
        }
        history
    }

    /// Asks the sources of a chain. A relay is not waited for once another one was read and all
    /// other sources have answered.
    async fn ask_sources(&self, asked: &[Asked]) -> Vec<Heard> {
        let place = |asked: &Asked| match asked {
            Asked::Server(server) => sources::from_server(&server.0, &server.1, 0),
            other => other.request().cloned().unwrap_or_else(|| Request::get(String::new(), "*/*")),
        };
        let decides = |heard: &[Option<Heard>]| {
            let open = |n: usize| heard[n].is_none();
            let relay = |n: usize| matches!(asked[n], Asked::Relay(_) | Asked::Again(_));
            let read = |n: usize| {
                let answer = heard[n].as_ref().and_then(|((_, answer), _)| answer.as_ref().ok());
                answer.is_some_and(|answer| match &answer.body {
                    Body::Relay { answers } => {
                        answers.first().is_some_and(|answer| answer.failure.is_none())
                    }
                    _ => false,
                })
            };
            let mut all = 0..heard.len();
            all.clone().all(|n| !open(n) || relay(n)) && all.any(|n| relay(n) && read(n))
        };
        self.ask_all(asked, async |asked: &Asked| self.ask(asked).await, place, decides).await
    }

    /// What a source says, and whether the log of a server, whose proof line is taken off, proves it.
    async fn ask(&self, asked: &Asked) -> Heard {
        let Asked::Server(server) = asked else {
            let request = asked.request().cloned();
            let request = request.unwrap_or_else(|| Request::get(String::new(), "*/*"));
            return (self.fetch(request).await, Ok(()));
        };
        let (server, chain) = &**server;
        let size = server.seen(self.memory).map_or(0, |seen| seen.checkpoint.size());
        let request = sources::from_server(server, chain, size);
        let (request, mut answer) = self.fetch(request).await;
        let mut believed = Ok(());
        if let Ok(Answer { body: Body::Http { status: 200, bytes, .. }, via, .. }) = &mut answer {
            let line = log::Proof::split_off(bytes);
            let answered = log::Answered {
                server,
                witnesses: &self.endpoints.witnesses,
                chain,
                bundle: bytes,
                line: line.as_deref(),
                size: (*via != Via::Cache).then_some(size),
            };
            believed = self.believe(&answered).await.map_err(|e| {
                let context = e.context().unwrap_or_default();
                Error::about(e.code(), format!("{}: {context}", request.place()))
            });
        }
        ((request, answer), believed)
    }

    /// Whether an answer is to be believed; fetches the proof that may be wanting.
    async fn believe(&self, answered: &log::Answered<'_>) -> Result<()> {
        let mut growth = None;
        // While a proof is fetched, another answer of this server may be believed.
        for _ in 0..4 {
            let Some((old, new)) = answered.believe(self.memory, growth)? else { return Ok(()) };
            let url = &answered.server.url;
            let url = format!("{url}/v1/log/consistency?from={old}&to={new}");
            let proof = match self.fetch(Request::get(url, "application/json")).await.1 {
                Ok(Answer { body: Body::Http { status: 200, bytes, .. }, .. }) => {
                    log::parse_consistency(&bytes)?
                }
                Ok(_) => return Err(Error::about(Code::LogInconsistent, new)),
                Err(failure) => return Err(Error::about(Code::LogRefused, failure.code)),
            };
            growth = Some(log::Growth { old, new, proof });
        }
        Err(Error::about(Code::LogRefused, "no end"))
    }
}
