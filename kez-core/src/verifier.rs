//! The road from an identity to its verdict, written once for every platform. It drives the
//! sans-I/O parts with a [`Transport`] that is handed in.

use crate::{
    Chain, Code, Endpoints, Error, History, Identity, Proof, Report, Scheme, Status, Timestamp,
    chain::{Device, Era},
    channel::{self, Fetched, Finding, Miss, Step},
    judge, log,
    map::Map,
    proof,
    source::{self, Asked, Gathered},
    transport::{Answer, Body, MAX_CONCURRENCY, Request, Transport, Via},
    verdict::compare_beacons,
};
use alloc::{format, string::String, vec::Vec};
use futures_util::{StreamExt as _, future::join_all, stream};

/// What a verifier remembers between runs: of each primary the longest chain that was seen, under
/// the primary's name, and of each sigchain server the key and head of its log, under `log:` and
/// the server's URL.
pub trait Memory {
    /// What was remembered last under that name.
    fn recall(&self, name: &str) -> Option<Vec<u8>>;
    /// Remembers. Losing it costs the detection of rollbacks, so an error may be swallowed here.
    fn remember(&self, name: &str, text: &str);
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn recall(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn remember(&self, _: &str, _: &str) {}
}

/// A step of a verification, for live logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A request starts.
    Asking(&'a Request),
    /// A request ended; with the failure's code, if it failed.
    Answered(&'a Request, Option<Code>),
    /// A subject was judged.
    Judged(&'a Report),
}

/// A verifier: configuration and the handed-in parts.
///
/// ```
/// use futures_util::FutureExt as _;
/// use kez_core::{
///     Claim, Endpoints, Identity, NoMemory, Scheme, SecretKey, SignedClaim, Status, Timestamp,
///     Transport, Verifier, proof,
///     transport::{Answer, Body, Failure, Request, Via},
/// };
///
/// /// A network on which only one TXT record exists.
/// struct OneRecord(String);
/// impl Transport for OneRecord {
///     async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
///         let records = match request {
///             Request::Txt { name } if name == "_kez.example.com" => vec![self.0.clone().into_bytes()],
///             _ => return Err(Failure::new(kez_core::Code::ConnectFailed, "no such network")),
///         };
///         let body = Body::Txt { rcode: 0, records, authentic: true, ttl: None };
///         Ok(Answer { body, via: Via::Direct, fetched_at: Timestamp::from_seconds(1_795_262_400) })
///     }
///     async fn pause(&self, _: u32) {}
/// }
///
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let subject = Identity::parse("example.com")?;
/// let mut claim =
///     Claim::new(subject.clone(), key.public().identity().clone(), now).to_envelope()?;
/// claim.sign(&key, &[0; 32])?;
/// let transport = OneRecord(proof::to_compact(&claim));
/// let verifier = Verifier {
///     transport: &transport,
///     memory: &NoMemory,
///     endpoints: Endpoints::default(),
///     sources: vec![],
///     bundles: vec![],
///     now,
///     clock: now,
///     progress: &|_| {},
/// };
/// let reports = verifier.verify(&subject).now_or_never().unwrap();
/// assert_eq!(reports[0].status, Status::Valid);
/// assert_eq!(reports[0].dnssec, Some(true));
/// # Ok::<(), kez_core::Error>(())
/// ```
pub struct Verifier<'a, T, M> {
    /// Fetches.
    pub transport: &'a T,
    /// Remembers.
    pub memory: &'a M,
    /// Where the platforms are.
    pub endpoints: Endpoints,
    /// Further sources of chains: https URLs of bundles, wss URLs of relays.
    pub sources: Vec<String>,
    /// Copies of chains at hand, as bundles; those of other primaries are passed over.
    pub bundles: Vec<Vec<u8>>,
    /// The time as of which is judged: the clock's, or an earlier or later one.
    pub now: Timestamp,
    /// The clock's time.
    pub clock: Timestamp,
    /// Is told of every step.
    pub progress: &'a dyn Fn(Progress<'_>),
}

/// An identity with all its edges. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Graph {
    /// `kez.graph/1`.
    pub schema: &'static str,
    /// What was asked for.
    pub query: Identity,
    /// The identity's name, if one was found.
    pub primary: Option<Identity>,
    /// `known`, `absent`, `unknown` or `fork`.
    pub chain: &'static str,
    /// Why that may not be the chain, or not all of it.
    pub reason: Option<Code>,
    /// The reason in more detail.
    pub detail: Option<String>,
    /// The chain's head.
    pub head: Option<crate::Head>,
    /// The keys that were current, in order.
    pub keys: Vec<Era>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Whether the next key is committed to.
    pub pre_rotation: bool,
    /// One report an edge.
    pub edges: Vec<Report>,
    /// When this was made.
    pub checked_at: Timestamp,
}

impl Graph {
    /// The graph's own status: `fork` if the chain has one, else the worst of what its sources
    /// were caught at and of the edges that the owner did not revoke.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.chain == "fork" {
            return Status::Fork;
        }
        let caught = self.reason.filter(|reason| *reason != Code::ChainUnreachable);
        let caught = caught.map(Code::status);
        let rank = |s: &Status| match s {
            Status::Revoked => 0,
            Status::Valid => 1,
            Status::Expired => 2,
            Status::Unreachable => 3,
            Status::Invalid => 4,
            Status::Fork => 5,
        };
        let worst = self.edges.iter().map(|e| e.status).chain(caught).max_by_key(rank);
        worst.unwrap_or(if self.chain == "known" { Status::Valid } else { Status::Unreachable })
    }
}

/// What an account shows now, without chains and without a memory.
///
/// # Errors
/// Why that cannot be told.
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) async fn look_up(
    transport: &impl Transport,
    endpoints: &Endpoints,
    now: Timestamp,
    account: &Identity,
) -> crate::Result<Finding> {
    let verifier = Verifier {
        transport,
        memory: &NoMemory,
        endpoints: endpoints.clone(),
        sources: Vec::new(),
        bundles: Vec::new(),
        now,
        clock: now,
        progress: &|_| {},
    };
    Ok(verifier.look_up(account).await?)
}

impl<T: Transport, M: Memory> Verifier<'_, T, M> {
    async fn fetch(&self, request: Request) -> Fetched {
        (self.progress)(Progress::Asking(&request));
        let answer = self.transport.fetch(&request).await;
        (self.progress)(Progress::Answered(&request, answer.as_ref().err().map(|f| f.code)));
        (request, answer)
    }

    async fn ask_all(&self, asked: Vec<Asked>) -> Vec<(Fetched, crate::Result<()>)> {
        join_all(asked.into_iter().map(|asked| self.ask(asked))).await
    }

    /// What a subject shows, by its platform's word.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub async fn look_up(&self, subject: &Identity) -> Result<Finding, Miss> {
        let context = channel::Context {
            endpoints: &self.endpoints,
            now: self.clock,
            hints: &[],
            spelling: None,
        };
        let mut lookup = channel::lookup(subject, &context).map_err(|error| Miss {
            code: error.code(),
            detail: None,
            place: None,
            retry_at: None,
        })?;
        let mut answers = Vec::new();
        // No channel needs as many steps; a platform that pages for ever is stopped.
        for _ in 0..16 {
            match lookup.step(answers) {
                Step::Ask(requests) => {
                    let asked = requests.into_iter().map(Asked::Source).collect();
                    answers = self.ask_all(asked).await.into_iter().map(|(f, _)| f).collect();
                }
                Step::Done(result) => return result,
            }
        }
        Err(Miss { code: Code::ResponseRefused, detail: None, place: None, retry_at: None })
    }

    /// The history of a primary: from its sources, joined with what was seen before.
    pub async fn history(
        &self,
        primary: &Identity,
        proof: Option<&Proof>,
        subject: Option<&Identity>,
    ) -> History {
        let claim = match proof {
            Some(Proof::Claim(signed)) => Some(signed),
            _ => None,
        };
        let remembered = self
            .memory
            .recall(primary.as_str())
            .and_then(|bundle| Chain::replay(&bundle, Some(primary), self.clock).ok());
        // The domains that are claimed may serve the chain: the one at hand and those listed.
        let mut domains: Vec<String> = Vec::new();
        let listed = remembered.iter().flat_map(|c| c.listings()).map(|(l, _)| l.subject.clone());
        for id in subject.cloned().into_iter().chain(listed) {
            let domain = id.value().into();
            if id.scheme() == "dns" && !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        let mut asked = source::requests(primary, claim, &domains, &self.sources, &self.endpoints);
        let mut gathered = Gathered::default();
        for bundle in &self.bundles {
            gathered.add(Chain::replay(bundle, Some(primary), self.clock));
        }
        // The relays that answers name are asked in a second round.
        for _ in 0..2 {
            let (answers, believed): (Vec<_>, Vec<_>) =
                self.ask_all(asked).await.into_iter().unzip();
            let further = channel::further_relays(primary, &self.endpoints, &answers);
            let further = further.iter().map(|url| source::relay(primary, url));
            asked = further.map(Asked::Source).collect();
            for (fetched, believed) in answers.into_iter().zip(believed) {
                gathered.read(primary, fetched, believed, self.clock);
            }
        }
        let history = gathered.history(remembered);
        if let Some(chain) = history.chain() {
            self.memory.remember(primary.as_str(), &chain.to_bundle());
        }
        if self.now < self.clock { history.as_of(self.now) } else { history }
    }

    /// What a source says, and whether the log of a server, whose proof line is taken off, proves it.
    async fn ask(&self, asked: Asked) -> (Fetched, crate::Result<()>) {
        let (request, server, size) = match asked {
            Asked::Source(request) => (request, None, 0),
            Asked::Server(server) => {
                let size = server.0.seen(self.memory).map_or(0, |seen| seen.checkpoint.size());
                (source::from_server(&server.0, &server.1, size), Some(server), size)
            }
        };
        let (request, mut answer) = self.fetch(request).await;
        let mut believed = Ok(());
        if let Some(server) = server
            && let Ok(Answer { body: Body::Http { status: 200, bytes, .. }, via, .. }) = &mut answer
        {
            let line = log::Proof::split_off(bytes);
            let answered = log::Answered {
                server: &server.0,
                witnesses: &self.endpoints.witnesses,
                chain: &server.1,
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
    async fn believe(&self, answered: &log::Answered<'_>) -> crate::Result<()> {
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

    /// Verifies what a subject shows: one report for every proof found there, the best first.
    /// Never empty.
    pub async fn verify(&self, subject: &Identity) -> Vec<Report> {
        let mut histories = Map::default();
        self.verify_with(subject, None, &mut histories).await
    }

    /// As [`Verifier::verify`], with histories that are known already. With `expected`, proofs
    /// that name another primary are reported as somebody else's.
    async fn verify_with(
        &self,
        subject: &Identity,
        expected: Option<&Identity>,
        histories: &mut Map<History>,
    ) -> Vec<Report> {
        let mut blank = Report::new(subject.clone(), self.now);
        let finding = match self.look_up(subject).await {
            Ok(finding) => finding,
            Err(miss) => {
                blank.fail(miss.code, miss.detail);
                blank.place = miss.place;
                blank.retry_at = miss.retry_at;
                (self.progress)(Progress::Judged(&blank));
                return alloc::vec![blank];
            }
        };
        blank.account = finding.account;
        blank.dnssec = finding.dnssec;
        blank.place = finding.place;
        if let Some((via, at)) = finding.source {
            blank.via = Some(via);
            blank.checked_at = at;
        }
        let mut reports = Vec::new();
        for text in &finding.texts {
            for found in proof::find(&text.text) {
                let mut report = blank.clone();
                report.place = Some(text.place.clone());
                report.encoding = Some(found.encoding);
                match found.proof {
                    Ok(proof) => self.conclude(&mut report, &proof, expected, histories).await,
                    Err(error) => report.fail(error.code(), error.context().map(String::from)),
                }
                if !reports.contains(&report) {
                    reports.push(report);
                }
            }
        }
        if reports.is_empty() {
            blank.fail(Code::ProofNotFound, None);
            blank.retry_at = finding.lasts_until;
            reports.push(blank);
        }
        reports.sort_by_key(|r| {
            let rank = match r.status {
                Status::Valid => 0,
                Status::Fork => 1,
                Status::Revoked => 2,
                Status::Expired => 3,
                Status::Unreachable => 4,
                Status::Invalid => 5,
            };
            (rank, core::cmp::Reverse(r.signed_at))
        });
        (self.progress)(Progress::Judged(&reports[0]));
        reports
    }

    async fn conclude(
        &self,
        report: &mut Report,
        proof: &Proof,
        expected: Option<&Identity>,
        histories: &mut Map<History>,
    ) {
        let primary = proof.primary();
        if expected.is_some_and(|e| e != primary) {
            report.primary = Some(primary.clone());
            return report.fail(Code::WrongOwner, Some(format!("it names {primary}")));
        }
        // One account may show many primaries; each history is fetched once, and only a few.
        if !histories.contains(primary) && histories.len() < 4 {
            let history = self.history(primary, Some(proof), Some(&report.subject)).await;
            histories.insert(primary, history);
        }
        match histories.get(primary) {
            Some(history) => judge(report, proof, history, self.now),
            None => report.fail(Code::ChainUnreachable, Some("too many primaries".into())),
        }
    }

    /// Verifies a proof that is at hand, as if `subject` showed it: offline but for the chain.
    pub async fn verify_proof(&self, proof: &Proof, subject: &Identity) -> Report {
        let mut report = Report::new(subject.clone(), self.now);
        let mut histories = Map::default();
        self.conclude(&mut report, proof, None, &mut histories).await;
        report
    }

    /// The whole identity behind anything: its primary, its chain, and every claim verified.
    pub async fn identity(&self, query: &Identity) -> Graph {
        let mut histories = Map::default();
        let mut edges = Vec::new();
        let mut primary = None;
        if query.is_key() {
            let history = self.history(query, None, None).await;
            // A nostr key without a chain of its own may be an account of somebody else's.
            let account = query.scheme() == Scheme::Nostr
                && matches!(history, History::Absent | History::Unknown(_));
            histories.insert(query, history);
            primary = (!account).then(|| query.clone());
        }
        if primary.is_none() {
            let mut reports = self.verify_with(query, None, &mut histories).await;
            let best = reports.swap_remove(0);
            primary = best.primary.clone();
            if primary.is_some() || !query.is_key() {
                edges.push(best);
            } else {
                primary = Some(query.clone());
            }
        }
        let mut graph = Graph {
            schema: "kez.graph/1",
            query: query.clone(),
            primary: primary.clone(),
            chain: "unknown",
            reason: None,
            detail: None,
            head: None,
            keys: Vec::new(),
            devices: Vec::new(),
            pre_rotation: false,
            edges,
            checked_at: self.now,
        };
        let Some(primary) = primary else { return graph };
        let history = histories.remove(&primary).unwrap_or(History::Unknown(None));
        graph.chain = match &history {
            History::Known { .. } => "known",
            History::Absent => "absent",
            History::Unknown(_) => "unknown",
            History::Forked(_) => "fork",
        };
        if let Some(error) = history.doubt() {
            graph.reason = Some(error.code());
            graph.detail = error.context().map(String::from);
        }
        // Of a fork the first branch is shown, so that its edges can be named at all.
        let chain = match &history {
            History::Forked(fork) => Some(fork.branches().0),
            other => other.chain(),
        };
        if let Some(chain) = chain {
            graph.head = chain.head();
            graph.keys = chain.eras().to_vec();
            graph.devices = chain.devices().cloned().collect();
            graph.pre_rotation = chain.next().is_some();
        }
        let (live, mut dead) = self.listed(chain, &primary, &graph.edges);
        let primary_ref = &primary;
        let mut found: Vec<Report> = stream::iter(live)
            .map(|subject| {
                let mut known = Map::default();
                known.insert(primary_ref, history.clone());
                async move {
                    let mut reports =
                        self.verify_with(&subject, Some(primary_ref), &mut known).await;
                    reports.swap_remove(0)
                }
            })
            .buffer_unordered(MAX_CONCURRENCY)
            .collect()
            .await;
        graph.edges.append(&mut found);
        compare_beacons(&mut graph.edges);
        graph.edges.append(&mut dead);
        graph.edges.sort_by(|a, b| a.subject.cmp(&b.subject));
        graph
    }

    /// The listed subjects that are still in force, to be looked up, and reports on those that
    /// the owner revoked, which need no look. Subjects that are verified already are left out.
    fn listed(
        &self,
        chain: Option<&Chain>,
        primary: &Identity,
        done: &[Report],
    ) -> (Vec<Identity>, Vec<Report>) {
        let mut live: Vec<Identity> = Vec::new();
        let mut dead: Vec<Report> = Vec::new();
        let listings = chain.map(Chain::listings).unwrap_or_default();
        for (listing, revocation) in listings.into_iter().rev() {
            let subject = &listing.subject;
            let seen = live.contains(subject)
                || dead.iter().chain(done).any(|report| report.subject == *subject);
            if seen {
                continue;
            }
            let Some(revocation) = revocation else {
                live.push(subject.clone());
                continue;
            };
            let mut report = Report::new(subject.clone(), self.now);
            report.primary = Some(primary.clone());
            report.claim = Some(listing.claim);
            report.account.clone_from(&listing.account);
            report.signed_at = Some(listing.added_at);
            report.head = chain.and_then(Chain::head);
            report.revoked_at = Some(revocation.at);
            report.revocation = Some(revocation.reason);
            report.fail(Code::Revoked, None);
            dead.push(report);
        }
        (live, dead)
    }
}
