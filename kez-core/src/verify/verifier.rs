//! The road from an identity to its verdict, written once for every platform. It drives the
//! sans-I/O parts with a [`Transport`] that is handed in.

use super::{Budget, Case, History, Lookup, Report, Status, ask::Heard, judge};
use crate::{
    Code, Endpoints, Error, Identity, Proof, Result, SignedClaim, Timestamp,
    channel::{self, Fetched, Finding, Miss, Step},
    map::Map,
    proof::{self, Encoding, Found},
    transport::{Place, Request, Transport, Via},
};
use alloc::{format, string::String, vec::Vec};
use core::cmp::Reverse;
use futures_util::future::join_all;

/// Of how many primaries that one account shows the chains are fetched.
const MAX_PRIMARIES: usize = 4;
/// How many steps one lookup may take. No channel needs as many.
const MAX_STEPS: usize = 24;

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
///             _ => return Err(Failure::new(kez_core::Code::HostUnknown, "no such host")),
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
///     budget: None,
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
    /// What all requests together may cost. Without one, a question about an identity gets the
    /// default; the lookup of a single account is bounded by its channel.
    pub budget: Option<Budget>,
}

/// What is verified, and how.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The account.
    pub subject: &'a Identity,
    /// The owner for whom it is verified; proofs by others are ignored.
    pub by: Option<&'a Identity>,
    /// The account's name as the user typed it, where only upper and lower case differ.
    pub spelling: Option<&'a str>,
    /// Where the owner's sigchain says that proofs were published.
    pub hints: Vec<String>,
}

impl<'a> Question<'a> {
    /// Whose account is this?
    #[must_use]
    pub const fn about(subject: &'a Identity) -> Self {
        Self { subject, by: None, spelling: None, hints: Vec::new() }
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
    question: &Question<'_>,
) -> Result<Finding> {
    let verifier = Verifier {
        transport,
        memory: &NoMemory,
        endpoints: endpoints.clone(),
        sources: Vec::new(),
        bundles: Vec::new(),
        now,
        clock: now,
        progress: &|_| {},
        budget: None,
    };
    Ok(verifier.look_up(question).await?)
}

/// A proof that an account shows.
struct Shown {
    place: Option<Place>,
    encoding: Encoding,
    proof: Proof,
}

/// The proofs of an account, and what stands in the way of finding more.
#[derive(Default)]
struct Proofs {
    shown: Vec<Shown>,
    /// The first candidate that does not decode.
    broken: Option<(Option<Place>, Encoding, Error)>,
    incomplete: bool,
}

/// What the owner of an account is told about text that does not decode.
fn malformed(error: &Error) -> Error {
    match error.code() {
        Code::CompactSyntax
        | Code::ZstdRefused
        | Code::PointerSyntax
        | Code::JsonUtf8
        | Code::JsonSyntax
        | Code::JsonNotCanonical => {
            let why = error.context().unwrap_or_else(|| error.code().summary());
            Error::about(Code::ProofMalformed, format_args!("{}: {why}", error.code()))
        }
        _ => error.clone(),
    }
}

impl Proofs {
    fn read(&mut self, text: &str, place: Option<&Place>) {
        let search = proof::find(text);
        self.take(search, place);
    }

    fn take(&mut self, search: proof::Search, place: Option<&Place>) {
        self.incomplete |= search.incomplete;
        for Found { encoding, proof } in search.found {
            let place = place.cloned();
            match proof {
                Ok(proof) if self.shown.iter().any(|shown| shown.proof == proof) => {}
                Ok(proof) => self.shown.push(Shown { place, encoding, proof }),
                Err(error) => {
                    self.broken.get_or_insert((place, encoding, error));
                }
            }
        }
    }

    /// The primaries that they name, each once, in order.
    fn primaries(&self, by: Option<&Identity>) -> Vec<Identity> {
        let mut primaries: Vec<Identity> = Vec::new();
        for primary in self.shown.iter().map(|shown| shown.proof.primary()) {
            if by.is_none_or(|by| by == primary) && !primaries.contains(primary) {
                primaries.push(primary.clone());
            }
        }
        primaries
    }

    fn claims_of(&self, primary: &Identity) -> Vec<&SignedClaim> {
        let proofs = self.shown.iter().map(|shown| &shown.proof);
        let claims = proofs.filter_map(|proof| match proof {
            Proof::Claim(signed) => Some(signed),
            Proof::Pointer(_) => None,
        });
        claims.filter(|signed| signed.claim().primary == *primary).collect()
    }
}

impl<T: Transport, M: Memory> Verifier<'_, T, M> {
    /// What an account shows, by its platform's word.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub async fn look_up(&self, question: &Question<'_>) -> Result<Finding, Miss> {
        let context = channel::Context {
            endpoints: &self.endpoints,
            now: self.clock,
            hints: &question.hints,
            spelling: question.spelling,
        };
        let mut lookup = channel::lookup(question.subject, &context).map_err(|error| Miss {
            code: error.code(),
            detail: None,
            place: None,
            retry_at: None,
        })?;
        let mut answers = Vec::new();
        for _ in 0..MAX_STEPS {
            match lookup.step(answers) {
                Step::Ask(requests) => {
                    let ask = async |request: &Request| (self.fetch(request.clone()).await, Ok(()));
                    let decides = |heard: &[Option<Heard>]| {
                        let come: Vec<Fetched> =
                            heard.iter().flatten().map(|(fetched, _)| fetched.clone()).collect();
                        !come.is_empty() && come.len() < heard.len() && lookup.decides(&come)
                    };
                    let heard = self.ask_all(&requests, ask, Request::clone, decides).await;
                    answers = heard.into_iter().map(|(fetched, _)| fetched).collect();
                }
                Step::Done(result) => return result,
            }
        }
        // A platform that pages without an end.
        Err(Miss { code: Code::SearchIncomplete, detail: None, place: None, retry_at: None })
    }

    /// Verifies what an account shows: one report for each owner whose proof it shows, the best
    /// first. Never empty.
    pub async fn verify(&self, subject: &Identity) -> Vec<Report> {
        self.verify_question(&Question::about(subject)).await
    }

    /// As [`Verifier::verify`], for one owner or with further facts.
    pub async fn verify_question(&self, question: &Question<'_>) -> Vec<Report> {
        self.verify_with(question, &mut Map::default()).await
    }

    /// As [`Verifier::verify_question`], with histories that are known already.
    pub(super) async fn verify_with(
        &self,
        question: &Question<'_>,
        histories: &mut Map<History>,
    ) -> Vec<Report> {
        let mut lookup = Lookup::of(question.subject.clone(), self.now);
        let finding = match self.look_up(question).await {
            Ok(finding) => finding,
            Err(miss) => return alloc::vec![self.missed(lookup, miss)],
        };
        // The platform's own name for the account, where that is another spelling.
        lookup.subject = finding.subject.unwrap_or(lookup.subject);
        lookup.account = finding.account;
        lookup.dnssec = finding.dnssec;
        lookup.place = finding.place;
        lookup.moved_to = finding.moved_to;
        if let Some((via, at)) = finding.source {
            lookup.via = Some(via);
            lookup.checked_at = at;
        }
        let mut proofs = Proofs::default();
        for text in &finding.texts {
            proofs.read(&text.text, Some(&text.place));
        }
        let mut reports = self.judge_all(&lookup, &proofs, question.by, histories).await;
        let incomplete = || {
            let why = "the account shows more proofs than are read";
            Miss {
                code: Code::SearchIncomplete,
                detail: Some(why.into()),
                place: None,
                retry_at: None,
            }
        };
        let failed = finding.failed.or_else(|| proofs.incomplete.then(incomplete));
        let only_invalid = reports.iter().all(|report| report.status == Status::Invalid);
        if let (true, Some(miss)) = (only_invalid, failed) {
            reports.push(self.missed(lookup.clone(), miss));
        } else if let Some((place, encoding, error)) = &proofs.broken
            && question.by.is_none()
            && !reports.iter().any(|report| report.status == Status::Valid)
        {
            let encoding = Some(*encoding);
            let broken = Lookup { place: place.clone(), encoding, ..lookup.clone() };
            reports.push(broken.failed(&malformed(error)));
        }
        if reports.is_empty() {
            lookup.retry_at = finding.lasts_until;
            let other = proofs.primaries(None).pop();
            let why = other.map(|other| format!("it shows a proof by {other}"));
            let error = why.map_or_else(
                || Error::from(Code::ProofNotFound),
                |why| Error::about(Code::ProofNotFound, why),
            );
            reports.push(lookup.failed(&error));
        }
        Report::sort(&mut reports);
        (self.progress)(Progress::Judged(&reports[0]));
        reports
    }

    /// The report on an account that could not be read.
    fn missed(&self, mut lookup: Lookup, miss: Miss) -> Report {
        lookup.place = miss.place.or(lookup.place);
        lookup.retry_at = miss.retry_at;
        let error = match miss.detail {
            Some(detail) => Error::about(miss.code, detail),
            None => miss.code.into(),
        };
        let report = lookup.failed(&error);
        (self.progress)(Progress::Judged(&report));
        report
    }

    /// One report for each primary: `fork` if its chain is forked, else the best of its proofs.
    async fn judge_all(
        &self,
        lookup: &Lookup,
        proofs: &Proofs,
        by: Option<&Identity>,
        histories: &mut Map<History>,
    ) -> Vec<Report> {
        let primaries = proofs.primaries(by);
        let wanted = primaries.iter().filter(|primary| !histories.contains(primary));
        let wanted: Vec<&Identity> = wanted.take(MAX_PRIMARIES).collect();
        let fetched = join_all(wanted.iter().map(|primary| {
            let claims = proofs.claims_of(primary);
            async move { self.history(primary, &claims, Some(&lookup.subject)).await }
        }));
        for (primary, history) in wanted.iter().zip(fetched.await) {
            histories.insert(*primary, history);
        }
        let many = History::Unknown(Error::about(Code::ChainUnreachable, "too many owners"));
        let mut reports = Vec::new();
        for primary in &primaries {
            let own = proofs.shown.iter().filter(|shown| shown.proof.primary() == primary);
            let judged = own.map(|shown| {
                let mut lookup = lookup.clone();
                lookup.place = shown.place.clone().or(lookup.place);
                lookup.encoding = Some(shown.encoding);
                let case = Case {
                    subject: &lookup.subject,
                    account: lookup.account.as_deref(),
                    proof: &shown.proof,
                    history: histories.get(primary).unwrap_or(&many),
                    now: self.now,
                };
                lookup.report(primary, &judge(&case))
            });
            let fork_first = |report: &Report| (report.status != Status::Fork, report.rank());
            let best = judged.min_by_key(|r| (fork_first(r), Reverse(r.signed_at)));
            reports.extend(best);
        }
        Report::mark_contested(&mut reports);
        reports
    }

    /// Verifies every proof in the text of a file: offline but for the chains. With `shown_by`,
    /// each proof is judged as one that this account shows; else each for the account that it
    /// names. One report for each account and owner, the best first.
    ///
    /// # Errors
    /// `proof_not_found`; the error of the first candidate, if none decodes; `usage` for a pointer
    /// without `shown_by`.
    pub async fn verify_text(
        &self,
        text: &str,
        shown_by: Option<&Identity>,
    ) -> Result<Vec<Report>> {
        let mut proofs = Proofs::default();
        proofs.take(proof::find_in_file(text), None);
        let mut subjects: Vec<Identity> = Vec::new();
        for shown in &proofs.shown {
            let subject = shown_by.or_else(|| shown.proof.subject());
            if let Some(subject) = subject.filter(|subject| !subjects.contains(subject)) {
                subjects.push(subject.clone());
            }
        }
        if subjects.is_empty() {
            return Err(match proofs.broken.take() {
                _ if !proofs.shown.is_empty() => {
                    Error::about(Code::Usage, "a pointer needs --as, the account that shows it")
                }
                Some((_, _, error)) => error,
                None => Code::ProofNotFound.into(),
            });
        }
        let mut histories = Map::default();
        let mut reports = Vec::new();
        for subject in subjects {
            let named =
                |shown: &Shown| shown_by.is_some() || shown.proof.subject() == Some(&subject);
            let (own, others) = proofs.shown.into_iter().partition(named);
            proofs.shown = own;
            let mut lookup = Lookup::of(subject, self.now);
            lookup.via = Some(Via::File);
            reports.extend(self.judge_all(&lookup, &proofs, None, &mut histories).await);
            proofs.shown = others;
        }
        Report::sort(&mut reports);
        Ok(reports)
    }
}
