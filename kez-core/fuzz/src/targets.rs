//! What must hold for any input: no panic, no endless work, and what was accepted is canonical.

use kez_core::{
    Chain, Endpoints, Fork, Identity, Input, NostrEvent, Timestamp,
    channel::{self, Fetched, Step},
    json::Value,
    proof,
    transport::{Answer, Body, RelayAnswer, Via},
};

/// A check of one input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const ALL: [(&str, Target); 5] = [
    ("json", json),
    ("identity", identity),
    ("proof", proofs),
    ("chain", chain),
    ("channel", lookup),
];

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_262_400)
}

/// Strict JSON: what is accepted is canonical after one round, and the strict forms nest.
pub fn json(data: &[u8]) {
    if let Ok(value) = Value::parse(data) {
        let text = value.to_canonical();
        assert_eq!(Value::parse_canonical(text.as_bytes()).as_ref(), Ok(&value));
        assert_eq!(Value::parse_foreign(data), Ok(value));
    }
    if let Ok(value) = Value::parse_canonical(data) {
        assert_eq!(value.to_canonical().as_bytes(), data);
    }
    if let Ok(value) = Value::parse_foreign(data) {
        let _ = NostrEvent::from_json(&value);
    }
}

/// Identities: what people type becomes canonical, and stays so.
pub fn identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(input) = Input::parse(text) {
        assert_eq!(
            Input::parse(&input.to_string()).map(|again| again.to_string()),
            Ok(input.to_string())
        );
    }
    if let Ok(identity) = Identity::parse(text) {
        assert_eq!(Identity::from_canonical(identity.as_str()), Ok(identity.clone()));
        assert!(identity.as_str().is_ascii());
    }
    if let Ok(identity) = Identity::from_canonical(text) {
        assert_eq!(identity.as_str(), text);
    }
}

/// Proofs in any text and encoding.
pub fn proofs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert!(proof::find(&text).found.len() <= proof::MAX_CANDIDATES);
    let _ = proof::from_text(&text);
    let _ = proof::from_compact(&text);
    if let Ok(signed) = proof::from_json(data) {
        let again = proof::from_compact(&proof::to_compact(signed.envelope()));
        assert_eq!(again.map(|s| s.id()), Ok(signed.id()));
    }
    // Any bytes as a frame: the decoder is bounded, whatever they are.
    use base64_frame::encode;
    let _ = proof::from_compact(&format!("kez:z1:{}", encode(data)));
}

/// base64url, so that the fuzzer reaches the decompressor without knowing the alphabet.
mod base64_frame {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    pub(super) fn encode(data: &[u8]) -> String {
        let mut out = String::new();
        for chunk in data.chunks(3) {
            let n =
                chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                out.push(char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize]));
            }
        }
        out
    }
}

/// Bundles and forks.
pub fn chain(data: &[u8]) {
    if let Ok(chain) = Chain::replay(data, None, now()) {
        assert_eq!(chain.to_bundle().as_bytes(), data);
    }
    let _ = Fork::from_json(data, now());
}

/// Every channel, fed with the same bytes as the answer to everything that it asks.
pub fn lookup(data: &[u8]) {
    for subject in [
        "dns:example.com",
        "github:jason",
        "bluesky:alice.example.com",
        "bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz",
        "ap:jason@social.example",
        "nostr:npub1xtscya34g58tk0z605fvr788k263gsu6cy9x0mhnm87echrgufzsevkk5s",
    ] {
        let Ok(subject) = Identity::from_canonical(subject) else { continue };
        let endpoints = Endpoints::default();
        let context =
            channel::Context { endpoints: &endpoints, now: now(), hints: &[], spelling: None };
        let Ok(mut lookup) = channel::lookup(&subject, &context) else {
            continue;
        };
        let mut answers: Vec<Fetched> = Vec::new();
        for _ in 0..20 {
            match lookup.step(answers) {
                Step::Done(_) => break,
                Step::Ask(requests) => {
                    answers = requests
                        .into_iter()
                        .map(|r| {
                            let a = answer(&r, data);
                            (r, Ok(a))
                        })
                        .collect();
                }
            }
        }
    }
}

fn answer(request: &kez_core::transport::Request, data: &[u8]) -> Answer {
    use kez_core::transport::Request;
    let body = match request {
        Request::Http { .. } => Body::Http {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            bytes: data.to_vec(),
            redirected_to: None,
        },
        Request::Txt { .. } => {
            Body::Txt { rcode: 0, records: vec![data.to_vec()], authentic: false, ttl: None }
        }
        Request::Relay { .. } => {
            let events = Value::parse_foreign(data).into_iter().collect();
            Body::Relay { answers: vec![RelayAnswer { events, failure: None }] }
        }
    };
    Answer { body, via: Via::Direct, fetched_at: now() }
}
