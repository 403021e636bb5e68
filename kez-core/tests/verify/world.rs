//! A network in memory, and people on it.

use futures_util::{FutureExt as _, future::pending};
use kez_core::{
    Chain, Claim, Code, Endpoints, Event, Identity, Memory, NostrEvent, ObjectId, Op, Reason,
    Report, Scheme, SecretKey, SignedClaim, Target, Timestamp, Transport, Verifier, channel,
    commitment,
    json::Value,
    log::SigServer,
    proof,
    transport::{Answer, Body, Failure, RelayAnswer, Request, Via},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

pub(crate) const NOW: i64 = 1_795_262_400;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds)
}

/// A secret key that several hold.
pub(crate) type Secret = Rc<SecretKey>;

pub(crate) fn key(scheme: Scheme, n: u8) -> Secret {
    Rc::new(SecretKey::from_bytes(scheme, [n; 32]).unwrap())
}

pub(crate) fn name(key: &SecretKey) -> Identity {
    key.public().identity().clone()
}

pub(crate) fn id(text: &str) -> Identity {
    Identity::from_canonical(text).unwrap()
}

pub(crate) fn sign(claim: &Claim, key: &SecretKey) -> SignedClaim {
    let mut envelope = claim.to_envelope().unwrap();
    envelope.sign(key, &[0; 32]).unwrap();
    SignedClaim::verify(envelope).unwrap()
}

pub(crate) fn compact(signed: &SignedClaim) -> String {
    proof::to_compact(signed.envelope())
}

/// The owner of an identity, who writes a chain.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) key: Secret,
    pub(crate) chain: Chain,
}

impl Owner {
    pub(crate) fn new(scheme: Scheme, n: u8) -> Self {
        let key = key(scheme, n);
        Self { chain: Chain::new(key.public().identity()).unwrap(), key }
    }

    pub(crate) fn primary(&self) -> Identity {
        self.chain.name().clone()
    }

    /// A claim of an account, an hour old.
    pub(crate) fn claim(&self, subject: &str) -> Claim {
        Claim::new(id(subject), self.primary(), at(-3600))
    }

    pub(crate) fn signed(&self, subject: &str) -> SignedClaim {
        sign(&self.claim(subject), &self.key)
    }

    pub(crate) fn event(&mut self, op: Op, next: Option<&SecretKey>, signers: &[&SecretKey]) {
        let seq = self.chain.events().len() as i64;
        let mut event = Event::new(self.primary(), self.chain.head(), at(seq - 3000), op);
        event.next = next.map(|key| commitment(key.public().identity()));
        let mut envelope = event.to_envelope().unwrap();
        for key in signers {
            envelope.sign(key, &[0; 32]).unwrap();
        }
        self.chain.append(&envelope, at(0)).unwrap();
    }

    pub(crate) fn op(&mut self, op: Op) {
        let key = self.key.clone();
        self.event(op, None, &[&key]);
    }

    pub(crate) fn add(&mut self, signed: &SignedClaim) {
        let claim = signed.claim();
        let (subject, account) = (claim.subject.clone(), claim.account.clone());
        self.op(Op::Add { subject, claim: signed.id(), account, url: None });
    }

    /// Lists something, so that the chain is longer.
    pub(crate) fn fill(&mut self, text: &str) {
        let claim = ObjectId::digest("claim", text.as_bytes());
        self.op(Op::Add { subject: id("dns:filler.example"), claim, account: None, url: None });
    }

    pub(crate) fn revoke(&mut self, signed: &SignedClaim) {
        let target = Target::Claim(signed.id());
        self.op(Op::Revoke { target, reason: Reason::Compromised, text: None });
    }

    pub(crate) fn rotate(&mut self, to: &Secret, compromised_since: Option<u64>) {
        let reason = match compromised_since {
            Some(_) => Reason::Compromised,
            None => Reason::Retired,
        };
        let committed = self.chain.next() == Some(commitment(to.public().identity()));
        let op = Op::Rotate { to: to.public().clone(), reason, compromised_since };
        let old = self.key.clone();
        let signers: &[&SecretKey] = if committed { &[to] } else { &[&old, to] };
        self.event(op, None, signers);
        self.key = to.clone();
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.chain.to_bundle().into_bytes()
    }

    /// The nostr events that carry the chain, signed by this key.
    pub(crate) fn carriers(&self, author: &SecretKey) -> Vec<Value> {
        let lines = self.chain.lines().iter().zip(1..);
        let event = |(line, seq): (&String, u64)| {
            let at = self.chain.events()[usize::try_from(seq).unwrap() - 1].created_at;
            let id = self.chain.id_at(seq).unwrap();
            signed_event(&channel::chain_carrier(self.chain.name(), id, line, at), author)
        };
        lines.map(event).collect()
    }
}

pub(crate) fn signed_event(event: &NostrEvent, author: &SecretKey) -> Value {
    let json = author.sign_nostr_event(event, &[0; 32]).unwrap();
    Value::parse_foreign(json.as_bytes()).unwrap()
}

/// What a place does when it is asked.
#[derive(Clone)]
pub(crate) enum Does {
    Answer(Body),
    Fail(Code),
    /// It never answers.
    Hang,
}

pub(crate) fn http(status: u16, bytes: impl Into<Vec<u8>>) -> Does {
    let bytes = bytes.into();
    Does::Answer(Body::Http { status, headers: Vec::new(), bytes, redirected_to: None })
}

/// A network: places by the beginning of their URL, the first that fits.
#[derive(Default)]
pub(crate) struct World {
    places: Vec<(String, Does)>,
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) memory: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(crate) sources: Vec<String>,
    pub(crate) bundles: Vec<Vec<u8>>,
    pub(crate) relays: Vec<String>,
    pub(crate) servers: Vec<String>,
    pub(crate) as_of: Option<Timestamp>,
}

impl World {
    pub(crate) fn set(&mut self, place: &str, does: Does) -> &mut Self {
        self.places.retain(|(other, _)| other != place);
        self.places.push((place.to_owned(), does));
        self
    }

    pub(crate) fn txt(&mut self, domain: &str, records: &[&str]) -> &mut Self {
        let records = records.iter().map(|record| record.as_bytes().to_vec()).collect();
        let body = Body::Txt { rcode: 0, records, authentic: false, ttl: None };
        self.set(&format!("dns:_kez.{domain}?"), Does::Answer(body))
    }

    /// A relay that has these events and reads every filter to its end.
    pub(crate) fn relay(&mut self, url: &str, events: Vec<Value>) -> &mut Self {
        self.relay_cut(url, events, None)
    }

    /// A relay whose answers end early for a reason.
    pub(crate) fn relay_cut(
        &mut self,
        url: &str,
        events: Vec<Value>,
        failure: Option<Failure>,
    ) -> &mut Self {
        if !self.relays.iter().any(|relay| relay == url) {
            self.relays.push(url.to_owned());
        }
        let answers = vec![RelayAnswer { events, failure }];
        self.set(url, Does::Answer(Body::Relay { answers }))
    }

    pub(crate) fn verifier(&self) -> Verifier<'_, Self, Self> {
        let servers = self.servers.iter().map(|url| SigServer::parse(url).unwrap());
        Verifier {
            transport: self,
            memory: self,
            endpoints: Endpoints {
                relays: self.relays.clone(),
                sig_servers: servers.collect(),
                ..Endpoints::default()
            },
            sources: self.sources.clone(),
            bundles: self.bundles.clone(),
            now: self.as_of.unwrap_or(at(0)),
            clock: at(0),
            progress: &|_| {},
            budget: None,
        }
    }

    pub(crate) fn verify(&self, subject: &str) -> Vec<Report> {
        self.verifier().verify(&id(subject)).now_or_never().expect("it must not wait")
    }

    /// The best report's status and reason, as one word.
    pub(crate) fn word(&self, subject: &str) -> String {
        word(&self.verify(subject)[0])
    }
}

/// `valid`, `valid+note`, or the reason.
pub(crate) fn word(report: &Report) -> String {
    match report.reason {
        Some(reason) => {
            assert_eq!(report.status, reason.status(), "{report:?}");
            reason.as_str().to_owned()
        }
        None => {
            let notes = report.notes.iter().map(|note| format!("+{}", note.as_str()));
            format!("valid{}", notes.collect::<String>())
        }
    }
}

impl Transport for World {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        let place = request.place();
        self.asked.borrow_mut().push(place.clone());
        let found = self.places.iter().find(|(start, _)| place.starts_with(start.as_str()));
        match found.map(|(_, does)| does) {
            Some(Does::Answer(body)) => {
                let mut body = body.clone();
                if let (Body::Relay { answers }, Request::Relay { filters, .. }) =
                    (&mut body, request)
                {
                    answers.resize(filters.len().max(1), answers[0].clone());
                }
                Ok(Answer { body, via: Via::Direct, fetched_at: at(0) })
            }
            Some(Does::Fail(code)) => Err(Failure::new(*code, "as set up")),
            Some(Does::Hang) => pending().await,
            None => Err(Failure::new(Code::HostUnknown, place)),
        }
    }

    async fn pause(&self, milliseconds: u32) {
        // The time for all accounts of an identity, and for servers after others have answered.
        assert!(milliseconds == 20_000 || milliseconds <= 2000, "no longer than 2 s");
    }
}

impl Memory for World {
    fn recall(&self, name: &str) -> Option<Vec<u8>> {
        self.memory.borrow().get(name).cloned()
    }

    fn remember(&self, name: &str, text: &str) {
        self.memory.borrow_mut().insert(name.to_owned(), text.as_bytes().to_vec());
    }
}
