//! Properties that hold for every input, checked on generated ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use kez_core::{
    Chain, Claim, Event, Head, Identity, ObjectId, Op, Reason, Scheme, SecretKey, SignedClaim,
    Target, Timestamp, commitment, json::Value, proof,
};
use proptest::prelude::*;

const NOW: i64 = 1_795_262_400;

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

fn key(scheme: Scheme, byte: u8) -> SecretKey {
    SecretKey::from_bytes(scheme, [byte; 32]).unwrap()
}

/// Text without the characters that strict JSON refuses.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|s| {
        s.chars()
            .filter(|c| (*c as u32) & 0xfffe != 0xfffe && !('\u{fdd0}'..='\u{fdef}').contains(c))
            .collect()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::Int),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(text(), inner, 0..5).prop_map(Value::object),
        ]
    })
}

fn subject() -> impl Strategy<Value = Identity> {
    prop_oneof![
        "[a-z][a-z0-9]{0,10}\\.[a-z]{2,6}".prop_map(|s| format!("dns:{s}")),
        "[a-z0-9]{1,12}(-[a-z0-9]{1,5})?".prop_map(|s| format!("github:{s}")),
        "[a-z]{1,9}\\.example".prop_map(|s| format!("bluesky:{s}")),
        "[a-z0-9_]{1,12}@[a-z]{1,9}\\.example".prop_map(|s| format!("ap:{s}")),
    ]
    .prop_map(|s| Identity::from_canonical(&s).unwrap())
}

prop_compose! {
    fn signed()(
        subject in subject(),
        byte in 1..200_u8,
        nostr in any::<bool>(),
        expires in prop::option::of(1..1_000_000_i64),
        account in prop::option::of("[!-~]{1,40}"),
        head in prop::option::of((1..10_000_u64, any::<[u8; 4]>())),
        ext in prop::option::of(text()),
    ) -> (SecretKey, SignedClaim) {
        let key = key(if nostr { Scheme::Nostr } else { Scheme::Ed25519 }, byte);
        let mut claim = Claim::new(subject, key.public().identity().clone(), now());
        claim.expires_at = expires.map(|s| now().plus(s));
        claim.account = account;
        claim.head = head.map(|(seq, data)| Head { seq, id: ObjectId::digest("event", &data) });
        claim.ext = ext.map(|t| Value::object([("x", Value::String(t))]));
        let mut envelope = claim.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        (key, SignedClaim::verify(envelope).unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// Canonical bytes are those of serde_jcs, and reading them gives the value back.
    #[test]
    fn json_round_trip(value in value()) {
        let canonical = value.to_canonical();
        let oracle: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        prop_assert_eq!(serde_jcs::to_string(&oracle).unwrap(), canonical.clone());
        prop_assert_eq!(Value::parse_canonical(canonical.as_bytes()).unwrap(), value.clone());
        let pretty = serde_json::to_string_pretty(&oracle).unwrap();
        prop_assert_eq!(Value::parse(pretty.as_bytes()).unwrap(), value);
    }

    /// A member that stands twice, anywhere, is refused.
    #[test]
    fn duplicates_are_found(members in prop::collection::btree_map("[a-c]{1,3}", 0..9_i64, 1..6), at in any::<prop::sample::Index>()) {
        let names: Vec<&String> = members.keys().collect();
        let twice = names[at.index(names.len())];
        let mut parts: Vec<String> = members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        parts.insert(at.index(parts.len() + 1), format!("\"{twice}\":1"));
        let text = format!("[{{{}}}]", parts.join(","));
        prop_assert!(Value::parse(text.as_bytes()).is_err());
    }

    /// Every encoding gives the same claim back, and writing it again the same text.
    #[test]
    fn encodings_round_trip((_, signed) in signed()) {
        let envelope = signed.envelope();
        let json = envelope.to_canonical();
        prop_assert_eq!(&proof::from_json(json.as_bytes()).unwrap(), &signed);
        let compact = proof::to_compact(envelope);
        let again = proof::from_compact(&compact).unwrap();
        prop_assert_eq!(&again, &signed);
        prop_assert_eq!(proof::to_compact(again.envelope()), compact.clone());
        let zone = proof::to_zone_line("example.com", &compact);
        for text in [&json, &compact, &proof::to_markdown(&signed), &zone] {
            let (_, found) = proof::from_text(text).unwrap();
            prop_assert_eq!(&found, &kez_core::Proof::Claim(signed.clone()));
        }
        let pointer = proof::to_pointer(&signed.claim().primary);
        prop_assert_eq!(&proof::from_pointer(&pointer).unwrap(), &signed.claim().primary);
    }

    /// One flipped bit anywhere in the canonical bytes never verifies as this key's claim.
    #[test]
    fn one_flipped_bit((key, signed) in signed(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = signed.envelope().to_canonical().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let forged = proof::from_json(&bytes).is_ok_and(|s| s.signer() == key.public());
        prop_assert!(!forged, "bit {bit} of byte {at}");
    }

    /// What people type leads to a canonical identity, or to an error, and never elsewhere.
    #[test]
    fn identities_are_stable(input in "\\PC{0,40}") {
        if let Ok(identity) = Identity::parse(&input) {
            prop_assert_eq!(Identity::parse(identity.as_str()).unwrap(), identity);
        }
    }

    /// A chain replayed in any split gives the same state, and the same bytes.
    #[test]
    fn any_split_of_a_chain(steps in prop::collection::vec((0..6_u8, 1..40_u8), 1..25), at in any::<prop::sample::Index>()) {
        let chain = random_chain(&steps);
        let bundle = chain.to_bundle();
        let whole = Chain::replay(bundle.as_bytes(), Some(chain.name()), now()).unwrap();
        prop_assert_eq!(&whole, &chain);
        let lines: Vec<&str> = bundle.split_inclusive('\n').collect();
        let cut = at.index(lines.len() + 1);
        let mut parts = Chain::new(chain.name()).unwrap();
        if cut > 0 {
            parts = Chain::replay(lines[..cut].concat().as_bytes(), Some(chain.name()), now()).unwrap();
        }
        for line in &lines[cut..] {
            let value = Value::parse_canonical(line.trim_end().as_bytes()).unwrap();
            parts.append(&kez_core::Envelope::from_value(value).unwrap(), now()).unwrap();
        }
        prop_assert_eq!(parts, whole);
    }

    /// One flipped bit anywhere in a bundle is refused, batch or not.
    #[test]
    fn a_flipped_bit_in_a_chain(steps in prop::collection::vec((0..6_u8, 1..40_u8), 1..12), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let chain = random_chain(&steps);
        let mut bytes = chain.to_bundle().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Chain::replay(&bytes, Some(chain.name()), now()).is_err(), "bit {bit} of byte {at}");
    }
}

/// A chain by a list of choices; what the rules refuse at that point is left out.
fn random_chain(steps: &[(u8, u8)]) -> Chain {
    let mut current = key(Scheme::Nostr, 250);
    let mut chain = Chain::new(current.public().identity()).unwrap();
    let mut next: Option<SecretKey> = None;
    let mut fresh = 0;
    let append = |chain: &mut Chain, event: &Event, keys: &[&SecretKey]| {
        let mut envelope = event.to_envelope().unwrap();
        for key in keys {
            envelope.sign(key, &[0; 32]).unwrap();
        }
        chain.append(&envelope, now())
    };
    let first = Op::Add {
        subject: Identity::from_canonical("dns:first.example").unwrap(),
        claim: ObjectId::digest("claim", b"first"),
        account: None,
        url: None,
    };
    let event = Event::new(chain.name().clone(), None, now(), first);
    append(&mut chain, &event, &[&current]).unwrap();
    for (kind, byte) in steps {
        let subject = Identity::from_canonical(&format!("dns:s{}.example", byte % 4)).unwrap();
        let claim = ObjectId::digest("claim", &[*byte]);
        let device = key(Scheme::Ed25519, byte % 5 + 1);
        let reason = Reason::Retired;
        let event = |op| Event::new(chain.name().clone(), chain.head(), now(), op);
        // Refusals are part of the game: the state must be the same without them.
        let _ = match kind {
            0 => {
                let event = event(Op::Add { subject, claim, account: None, url: None });
                append(&mut chain, &event, &[&current])
            }
            1 => {
                let target =
                    if byte % 2 == 0 { Target::Claim(claim) } else { Target::Subject(subject) };
                let event = event(Op::Revoke { target, reason, text: None });
                append(&mut chain, &event, &[&current])
            }
            2 => {
                let event = event(Op::AddDevice {
                    device: device.public().clone(),
                    caps: vec![],
                    not_after: None,
                    name: None,
                });
                append(&mut chain, &event, &[&current, &device])
            }
            3 => {
                let device = device.public().identity().clone();
                let event = event(Op::RevokeDevice { device, reason });
                append(&mut chain, &event, &[&current])
            }
            4 => {
                fresh += 1;
                let key = key(Scheme::Nostr, 60 + fresh);
                let mut event = event(Op::Add {
                    subject,
                    claim: ObjectId::digest("next", &[*byte, fresh]),
                    account: None,
                    url: None,
                });
                event.next = Some(commitment(key.public().identity()));
                let done = append(&mut chain, &event, &[&current]);
                if done.is_ok() {
                    next = Some(key);
                }
                done
            }
            _ => {
                let committed = next.take();
                let alone = committed.is_some();
                fresh += 1;
                let to = committed.unwrap_or_else(|| key(Scheme::Nostr, 60 + fresh));
                let since = u64::from(*byte) % chain.head().map_or(1, |h| h.seq) + 1;
                let from = chain.eras().last().map_or(1, |e| e.from);
                let valid = since >= from && since <= chain.head().map_or(0, |h| h.seq);
                let event = event(Op::Rotate {
                    to: to.public().clone(),
                    reason: Reason::Compromised,
                    compromised_since: valid.then_some(since),
                });
                let keys: &[&SecretKey] = if alone { &[&to] } else { &[&current, &to] };
                let done = append(&mut chain, &event, keys);
                if done.is_ok() {
                    current = to;
                }
                done
            }
        };
    }
    chain
}
