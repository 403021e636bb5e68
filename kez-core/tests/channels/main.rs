//! Channels against recorded answers: what the real servers of the native tests do not show, such
//! as Mastodon's markup, trimmed actors and split domains. Shapes are those of the platforms'
//! documentation; names and numbers are made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod ap;
mod bluesky;
mod dns;
mod github;
mod nostr;

use futures_util::FutureExt as _;
use kez_core::{
    Chain, Claim, Code, Endpoints, Event, Head, Identity, NoMemory, NostrEvent, Note, ObjectId, Op,
    Report, Scheme, SecretKey, SignedClaim, Status, Timestamp, Transport, Verifier,
    channel::{self, Context, Finding, Miss, Step, carrier},
    json::Value,
    proof,
    transport::{Answer, Body, Failure, RelayAnswer, Request, Via},
};
use serde_json::{Value as Json, json};
use std::{cell::RefCell, collections::BTreeMap};

const NOW: i64 = 1_795_262_400;
const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const PLC: &str = "https://plc.directory/did:plc:ewvi7nxzyoun6zhxrhs64oiz";

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

/// Answers by URL; what is not recorded cannot be reached.
#[derive(Default)]
struct Recorded {
    answers: BTreeMap<String, Result<Body, Failure>>,
    asked: RefCell<Vec<String>>,
}

impl Recorded {
    fn http(mut self, url: &str, status: u16, kind: &str, body: impl ToString) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let bytes = body.to_string().into_bytes();
        let body = Body::Http { status, headers, bytes, redirected_to: None };
        self.answers.insert(url.to_owned(), Ok(body));
        self
    }

    /// An answer of a status without a body.
    fn status(self, url: &str, status: u16) -> Self {
        self.http(url, status, "text/plain", "")
    }

    /// A page that web servers and firewalls send in the place of an answer.
    fn page(self, url: &str, status: u16, title: &str) -> Self {
        self.http(url, status, "text/html", format!("<!doctype html><title>{title}</title>"))
    }

    fn fail(mut self, url: &str, code: Code) -> Self {
        self.answers.insert(url.to_owned(), Err(Failure { code, detail: None }));
        self
    }

    /// The answer came from another URL, to which the asked one redirects.
    fn moved(mut self, url: &str, to: &str) -> Self {
        if let Some(Ok(Body::Http { redirected_to, .. })) = self.answers.get_mut(url) {
            *redirected_to = Some(to.to_owned());
        }
        self
    }

    fn json(self, url: &str, body: &Json) -> Self {
        self.http(url, 200, "application/activity+json; charset=utf-8", body)
    }

    fn header(mut self, url: &str, name: &str, value: &str) -> Self {
        if let Some(Ok(Body::Http { headers, .. })) = self.answers.get_mut(url) {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn txt(mut self, name: &str, rcode: u8, records: &[&str]) -> Self {
        let records = records.iter().map(|r| r.as_bytes().to_vec()).collect();
        let body = Body::Txt { rcode, records, authentic: false, ttl: Some(300) };
        self.answers.insert(format!("dns:{name}?type=TXT"), Ok(body));
        self
    }

    fn relay(mut self, url: &str, events: &[&String]) -> Self {
        let events = events.iter().map(|e| Value::parse_foreign(e.as_bytes()).unwrap()).collect();
        self.answers.insert(
            url.to_owned(),
            Ok(Body::Relay { answers: vec![RelayAnswer { events, failure: None }] }),
        );
        self
    }

    fn verifier<'a>(&'a self, bundles: Vec<Vec<u8>>) -> Verifier<'a, Self, NoMemory> {
        Verifier {
            transport: self,
            memory: &NoMemory,
            endpoints: Endpoints {
                relays: vec!["wss://one.example".into(), "wss://two.example".into()],
                ..Endpoints::default()
            },
            sources: Vec::new(),
            bundles,
            now: now(),
            clock: now(),
            progress: &|_| {},
            budget: None,
        }
    }

    fn verify(&self, subject: &str) -> Vec<Report> {
        let subject = Identity::parse(subject).unwrap();
        self.verifier(Vec::new()).verify(&subject).now_or_never().unwrap()
    }

    /// What the lookup alone finds, with hints and the name as the user typed it.
    fn look_up(
        &self,
        subject: &str,
        hints: &[&str],
        spelling: Option<&str>,
    ) -> Result<Finding, Miss> {
        let hints: Vec<String> = hints.iter().map(|hint| (*hint).to_owned()).collect();
        let endpoints = &Endpoints::default();
        let context = Context { endpoints, now: now(), hints: &hints, spelling };
        let mut lookup = channel::lookup(&Identity::parse(subject).unwrap(), &context).unwrap();
        let mut answers = Vec::new();
        // The verifier allows as many steps.
        for _ in 0..16 {
            match lookup.step(answers) {
                Step::Done(result) => return result,
                Step::Ask(requests) => {
                    let fetch = |request: Request| {
                        let answer = self.fetch(&request).now_or_never().unwrap();
                        (request, answer)
                    };
                    answers = requests.into_iter().map(fetch).collect();
                }
            }
        }
        panic!("the lookup of {subject} does not end");
    }

    /// How many proofs an account shows, and what decides if there are none.
    fn shows(&self, subject: &str) -> Shown {
        shown(self.look_up(subject, &[], None))
    }

    #[track_caller]
    fn expect(&self, subject: &str, reason: Option<Code>) -> Report {
        let report = self.verify(subject).remove(0);
        assert_eq!(report.reason, reason, "{report:?}");
        assert_eq!(report.status, reason.map_or(Status::Valid, Code::status));
        report
    }
}

/// How many proofs there are, and the code of what could not be read or of the definite answer.
type Shown = (usize, Option<Code>);

const FOUND: Shown = (1, None);
const ABSENT: Shown = (0, None);

const fn failed(code: Code) -> Shown {
    (0, Some(code))
}

fn shown(result: Result<Finding, Miss>) -> Shown {
    match result {
        Err(miss) => (0, Some(miss.code)),
        Ok(finding) => {
            let found = finding.texts.iter().flat_map(|text| proof::find(&text.text).found);
            (
                found.filter(|found| found.proof.is_ok()).count(),
                finding.failed.map(|miss| miss.code),
            )
        }
    }
}

/// The words of what decides.
fn detail(result: Result<Finding, Miss>) -> String {
    let miss = match result {
        Err(miss) => Some(miss),
        Ok(finding) => finding.failed,
    };
    miss.and_then(|miss| miss.detail).unwrap_or_default()
}

impl Transport for Recorded {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        self.asked.borrow_mut().push(request.place());
        match self.answers.get(&request.place()) {
            Some(Ok(body)) => {
                Ok(Answer { body: body.clone(), via: Via::Direct, fetched_at: now() })
            }
            Some(Err(failure)) => Err(failure.clone()),
            // No domain has a sigchain.
            None if request.place().contains("/.well-known/kez/") => {
                let body = Body::Http {
                    status: 404,
                    headers: Vec::new(),
                    bytes: Vec::new(),
                    redirected_to: None,
                };
                Ok(Answer { body, via: Via::Direct, fetched_at: now() })
            }
            None => Err(Failure { code: Code::ConnectFailed, detail: None }),
        }
    }

    async fn pause(&self, _: u32) {}
}

fn key() -> SecretKey {
    SecretKey::from_bytes(Scheme::Ed25519, [1; 32]).unwrap()
}

fn claim(subject: &str, change: impl FnOnce(&mut Claim)) -> SignedClaim {
    let key = key();
    let subject = Identity::parse(subject).unwrap();
    let mut claim = Claim::new(subject, key.public().identity().clone(), now());
    change(&mut claim);
    let mut envelope = claim.to_envelope().unwrap();
    envelope.sign(&key, &[0; 32]).unwrap();
    SignedClaim::verify(envelope).unwrap()
}

fn compact(subject: &str) -> String {
    proof::to_compact(claim(subject, |_| {}).envelope())
}

#[test]
fn retry_times_of_every_family() {
    let url = "https://api.github.com/users/a/gists?per_page=100";
    for (name, value, wanted) in [
        ("retry-after", "120", NOW + 120),
        ("x-ratelimit-reset", "1795262700", 1_795_262_700),
        ("x-ratelimit-reset", "2026-11-21T12:05:00.000Z", NOW + 300),
        ("ratelimit-reset", "30", NOW + 30),
    ] {
        let limited =
            Recorded::default().http(url, 429, "application/json", "{}").header(url, name, value);
        let report = limited.expect("github:a", Some(Code::RateLimited));
        assert_eq!(report.retry_at, Some(Timestamp::from_seconds(wanted)), "{name}");
    }
    // A 403 without the signs of a limit is none.
    let plain = Recorded::default().http(url, 403, "application/json", "{}");
    plain.expect("github:a", Some(Code::HttpStatus));
}

/// KEZ-CNL-03
#[test]
fn no_answer_is_never_no_proof() {
    for subject in ["dns:example.com", "github:a", "bluesky:a.example", "ap:a@b.example"] {
        let shown = Recorded::default().shows(subject);
        assert_eq!(shown, failed(Code::ConnectFailed), "{subject}");
    }
}

/// What any answer means at the first request of any channel that speaks HTTP.
#[test]
fn failures_mean_the_same_everywhere() {
    let firsts = [
        ("github:a", "https://api.github.com/users/a/gists?per_page=100"),
        ("ap:a@b.example", "https://b.example/.well-known/webfinger?resource=acct%3Aa%40b.example"),
        (DID, PLC),
    ];
    for (subject, url) in firsts {
        for (status, code) in [
            (400, Code::HttpStatus),
            (408, Code::HttpStatus),
            (425, Code::HttpStatus),
            (429, Code::RateLimited),
            (500, Code::HttpStatus),
            (503, Code::HttpStatus),
            (301, Code::RedirectRefused),
            (401, Code::AuthRequired),
        ] {
            let answer = Recorded::default().status(url, status);
            assert_eq!(answer.shows(subject), failed(code), "{subject} {status}");
        }
        for code in [Code::Timeout, Code::TlsFailed, Code::HostUnknown, Code::BodyTooLarge] {
            let answer = Recorded::default().fail(url, code);
            assert_eq!(answer.shows(subject), failed(code), "{subject}");
        }
        let page = Recorded::default().page(url, 200, "Home");
        assert_eq!(page.shows(subject), failed(Code::ResponseRefused), "{subject}");
        for (status, title) in [(403, "Just a moment..."), (200, "Making sure you're not a bot!")] {
            let check = Recorded::default().page(url, status, title);
            assert_eq!(check.shows(subject), failed(Code::Challenge), "{subject} {title}");
        }
        for header in ["cf-mitigated", "x-amzn-waf-action", "x-vercel-mitigated"] {
            for status in [202, 403, 404, 503] {
                let check =
                    Recorded::default().page(url, status, "One").header(url, header, "challenge");
                assert_eq!(check.shows(subject), failed(Code::Challenge), "{subject} {status}");
            }
        }
    }
}

/// KEZ-BCN-03: two claims that name different histories are a fork, though neither is served.
#[test]
fn beacons_on_two_platforms() {
    let key = key();
    let mut chain = Chain::new(key.public().identity()).unwrap();
    let with = |name: &[u8]| {
        let head = Head { seq: 9, id: ObjectId::digest("event", name) };
        move |c: &mut Claim| c.head = Some(head)
    };
    let subjects = ["dns:a.example", "dns:b.example"];
    let claims = [claim(subjects[0], with(b"one")), claim(subjects[1], with(b"two"))];
    for signed in &claims {
        let op = Op::Add {
            subject: signed.claim().subject.clone(),
            claim: signed.id(),
            account: None,
            url: None,
        };
        let event = Event::new(chain.name().clone(), chain.head(), now(), op);
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        chain.append(&envelope, now()).unwrap();
    }
    let text = |n: usize| proof::to_compact(claims[n].envelope());
    let shows = Recorded::default().txt("_kez.a.example", 0, &[&text(0)]).txt(
        "_kez.b.example",
        0,
        &[&text(1)],
    );
    let verifier = shows.verifier(vec![chain.to_bundle().into_bytes()]);
    let graph = verifier.identity(chain.name()).now_or_never().unwrap();
    assert_eq!(graph.edges.len(), 2);
    for edge in &graph.edges {
        assert_eq!(edge.reason, Some(Code::BeaconMismatch), "{edge:?}");
    }
    assert_eq!(graph.status(), Status::Fork);
}
