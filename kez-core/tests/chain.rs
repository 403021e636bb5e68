//! Chains of some length: batches name the culprit, and the past can be told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kez_core::{
    Chain, Code, Envelope, Event, Identity, ObjectId, Op, Reason, Scheme, SecretKey, Suite, Target,
    Timestamp, json::Value,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_262_400 + seconds)
}

fn key(scheme: Scheme, byte: u8) -> SecretKey {
    SecretKey::from_bytes(scheme, [byte; 32]).unwrap()
}

fn add(n: u64) -> Op {
    Op::Add {
        subject: Identity::from_canonical(&format!("github:user{n}")).unwrap(),
        claim: ObjectId::digest("claim", &n.to_le_bytes()),
        account: None,
        url: None,
    }
}

fn push(chain: &mut Chain, key: &SecretKey, op: Op, time: Timestamp) {
    let mut event = Event::new(chain.name().clone(), chain.head(), time, op).to_envelope().unwrap();
    event.sign(key, &[0; 32]).unwrap();
    chain.append(&event, at(0)).unwrap();
}

fn long_chain(scheme: Scheme, length: u64) -> Chain {
    let key = key(scheme, 7);
    let mut chain = Chain::new(key.public().identity()).unwrap();
    for n in 0..length {
        push(&mut chain, &key, add(n), at(0));
    }
    chain
}

/// The verdict of a batch is that of one by one, with the same culprit.
#[test]
fn the_culprit_is_named() {
    for scheme in [Scheme::Nostr, Scheme::Ed25519] {
        let chain = long_chain(scheme, 300);
        let good = chain.lines().to_vec();
        for culprit in [1_usize, 2, 127, 128, 129, 256, 300] {
            // Another event's signature, which is a valid one of the same key.
            let mut lines = good.clone();
            let other = &good[culprit % 300];
            let sig = |line: &str| line.split(r#""sig":""#).nth(1).unwrap()[..128].to_owned();
            lines[culprit - 1] = lines[culprit - 1].replace(&sig(&good[culprit - 1]), &sig(other));
            let bundle: String = lines.iter().map(|l| format!("{l}\n")).collect();
            let batch = Chain::replay(bundle.as_bytes(), None, at(0)).unwrap_err();
            assert_eq!(batch.code(), Code::SignatureBad);
            assert!(
                batch.context().unwrap().starts_with(&format!("event {culprit}:")),
                "{batch:?}"
            );
            let mut single = Chain::new(chain.name()).unwrap();
            let failed = lines.iter().position(|line| {
                let value = Value::parse_canonical(line.as_bytes()).unwrap();
                single.append(&Envelope::from_value(value).unwrap(), at(0)).is_err()
            });
            assert_eq!(failed, Some(culprit - 1));
        }
    }
}

/// A bad signature before a broken link is what is reported, as it would be one by one.
#[test]
fn the_first_error_wins() {
    let mut lines = long_chain(Scheme::Nostr, 20).lines().to_vec();
    lines[4] = lines[4].replace("github:user4", "github:userx");
    lines.remove(10);
    let bundle: String = lines.iter().map(|l| format!("{l}\n")).collect();
    let error = Chain::replay(bundle.as_bytes(), None, at(0)).unwrap_err();
    // Event 5's content was changed, so its own signature fails before event 6's link does.
    assert_eq!(error.code(), Code::SignatureBad);
    assert!(error.context().unwrap().starts_with("event 5:"));
}

/// A suite that signs nostr events stands in a batch beside the others.
#[test]
fn nostr_events_in_a_chain() {
    let key = key(Scheme::Nostr, 7);
    let mut chain = long_chain(Scheme::Nostr, 3);
    let mut event =
        Event::new(chain.name().clone(), chain.head(), at(0), add(9)).to_envelope().unwrap();
    let signed = key.sign_nostr_event(&event.nostr_event().unwrap(), &[0; 32]).unwrap();
    let signed = Value::parse(signed.as_bytes()).unwrap();
    let sig = kez_core::hex::decode(signed.get("sig").unwrap().as_str().unwrap()).unwrap();
    event.attach(key.public(), Suite::NostrEvent, sig);
    chain.append(&event, at(0)).unwrap();
    let again = Chain::replay(chain.to_bundle().as_bytes(), Some(chain.name()), at(0)).unwrap();
    assert_eq!(again, chain);
}

#[test]
fn the_past_can_be_told() {
    let key = key(Scheme::Ed25519, 7);
    let mut chain = Chain::new(key.public().identity()).unwrap();
    push(&mut chain, &key, add(1), at(-300));
    let claim = ObjectId::digest("claim", &1_u64.to_le_bytes());
    let revoke = Op::Revoke { target: Target::Claim(claim), reason: Reason::Retired, text: None };
    push(&mut chain, &key, revoke, at(-200));
    let subject = Identity::from_canonical("github:user1").unwrap();
    assert!(chain.active(&subject).is_none());
    assert!(chain.as_of(at(-201)).active(&subject).is_some());
    assert_eq!(chain.as_of(at(-200)), chain);
    assert_eq!(chain.as_of(at(-301)).head(), None);
    assert!(matches!(chain.listings()[0].1, Some(r) if r.seq == 2));
}

/// Who holds which keys can do what (SPEC.md, KEZ-CHN-12): with a commitment the paper key wins
/// against a thief of the current key; without one the thief can rotate.
#[test]
fn who_can_take_over() {
    let (owner, thief, paper) =
        (key(Scheme::Nostr, 1), key(Scheme::Nostr, 2), key(Scheme::Nostr, 3));
    for committed in [false, true] {
        let mut chain = Chain::new(owner.public().identity()).unwrap();
        let mut event = Event::new(chain.name().clone(), None, at(0), add(1));
        event.next = committed.then(|| kez_core::commitment(paper.public().identity()));
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&owner, &[0; 32]).unwrap();
        chain.append(&envelope, at(0)).unwrap();
        let rotate = |to: &SecretKey, signers: &[&SecretKey]| {
            let op = Op::Rotate {
                to: to.public().clone(),
                reason: Reason::Superseded,
                compromised_since: None,
            };
            let event = Event::new(chain.name().clone(), chain.head(), at(0), op);
            let mut envelope = event.to_envelope().unwrap();
            for signer in signers {
                envelope.sign(signer, &[0; 32]).unwrap();
            }
            chain.clone().append(&envelope, at(0)).is_ok()
        };
        assert_eq!(rotate(&thief, &[&owner, &thief]), !committed);
        assert_eq!(rotate(&paper, &[&paper]), committed);
        assert_eq!(rotate(&paper, &[&owner, &paper]), !committed);
        assert!(!rotate(&thief, &[&thief]));
    }
}

/// KEZ-CHN-27: no event makes a chain commit to a key that it can never rotate to. A refused event
/// leaves the chain as it was, and a commitment to a fresh key still fits in its place.
#[test]
fn a_commitment_to_a_used_key_is_refused() {
    let first = key(Scheme::Ed25519, 1);
    let (second, third) = (key(Scheme::Ed25519, 2), key(Scheme::Nostr, 3));
    let (device, void, fresh) =
        (key(Scheme::Ed25519, 4), key(Scheme::Ed25519, 5), key(Scheme::Ed25519, 6));
    let attempt = |chain: &mut Chain, op: Op, next: Option<&SecretKey>, by: &[&SecretKey]| {
        let mut event = Event::new(chain.name().clone(), chain.head(), at(0), op);
        event.next = next.map(|key| kez_core::commitment(key.public().identity()));
        let mut envelope = event.to_envelope().unwrap();
        for signer in by {
            envelope.sign(signer, &[0; 32]).unwrap();
        }
        chain.append(&envelope, at(0)).map_err(|error| error.code())
    };
    let rotate = |to: &SecretKey, compromised_since| Op::Rotate {
        to: to.public().clone(),
        reason: Reason::Compromised,
        compromised_since,
    };
    let device_op = |key: &SecretKey| Op::AddDevice {
        device: key.public().clone(),
        caps: vec![],
        not_after: None,
        name: None,
    };
    let mut chain = Chain::new(first.public().identity()).unwrap();
    attempt(&mut chain, device_op(&device), None, &[&first, &device]).unwrap();
    attempt(&mut chain, device_op(&void), None, &[&first, &void]).unwrap();
    attempt(&mut chain, rotate(&second, Some(2)), None, &[&first, &second]).unwrap();
    let before = chain.clone();
    for used in [&first, &second, &device, &void] {
        let refused = Err(Code::KeyUsed);
        assert_eq!(attempt(&mut chain, add(1), Some(used), &[&second]), refused);
        let rotation = attempt(&mut chain, rotate(&third, None), Some(used), &[&second, &third]);
        assert_eq!(rotation, refused);
        assert_eq!(chain, before);
    }
    let itself = attempt(&mut chain, rotate(&third, None), Some(&third), &[&second, &third]);
    assert_eq!(itself, Err(Code::KeyUsed));
    attempt(&mut chain, add(1), Some(&fresh), &[&second]).unwrap();
    // A device never takes the committed key, or the rotation to it would be refused.
    let taken = attempt(&mut chain, device_op(&fresh), None, &[&second, &fresh]);
    assert_eq!(taken, Err(Code::KeyUsed));
    attempt(&mut chain, rotate(&fresh, None), Some(&third), &[&fresh]).unwrap();
    attempt(&mut chain, rotate(&third, None), None, &[&third]).unwrap();
    let again = Chain::replay(chain.to_bundle().as_bytes(), None, at(0)).unwrap();
    assert_eq!(again, chain);
}
