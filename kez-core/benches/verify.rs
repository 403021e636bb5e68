//! What verification costs, beside the bare signatures that it cannot do without.
//!
//!     cargo bench -p kez-core
//!
//! `claim/*`: compact text to verified claim. `chain/*`: bundle to replayed chain. `append`: one
//! event onto a replayed chain. `bare/*`: the signature library alone, one by one, key decoded once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kez_core::{
    Chain, Claim, Event, Identity, ObjectId, Op, Scheme, SecretKey, SignedClaim, Timestamp, proof,
};
use std::hint::black_box;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_262_400)
}

fn key(scheme: Scheme) -> SecretKey {
    SecretKey::from_bytes(scheme, [7; 32]).expect("a repeated byte is a key")
}

fn chain(scheme: Scheme, length: u64) -> Chain {
    let key = key(scheme);
    let mut chain = Chain::new(key.public().identity()).expect("a key");
    for n in 0..length {
        add(&mut chain, &key, n);
    }
    chain
}

fn add(chain: &mut Chain, key: &SecretKey, n: u64) {
    let op = Op::Add {
        subject: Identity::from_canonical(&format!("github:user{n}")).expect("a login"),
        claim: ObjectId::digest("claim", &n.to_le_bytes()),
        account: Some(format!("{}", 1_000_000 + n)),
        url: Some("https://gist.github.com/jason/aa5a315d61ae9438b18d".into()),
    };
    let mut event =
        Event::new(chain.name().clone(), chain.head(), now(), op).to_envelope().expect("an event");
    event.sign(key, &[0; 32]).expect("a signature");
    chain.append(&event, now()).expect("an append");
}

fn claims(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim");
    for scheme in [Scheme::Nostr, Scheme::Ed25519] {
        let key = key(scheme);
        let subject = Identity::from_canonical("github:jason").expect("a login");
        let claim = Claim::new(subject, key.public().identity().clone(), now());
        let mut envelope = claim.to_envelope().expect("a claim");
        envelope.sign(&key, &[0; 32]).expect("a signature");
        let signed = SignedClaim::verify(envelope).expect("it verifies");
        let text = proof::to_compact(signed.envelope());
        group.bench_function(scheme.as_str(), |b| {
            b.iter(|| proof::from_compact(black_box(&text)).expect("it verifies"));
        });
    }
    group.finish();
}

fn bare(c: &mut Criterion) {
    use ed25519_dalek::Signer as _;
    let mut group = c.benchmark_group("bare");
    let message = [9; 32];
    let ed = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let (public, sig) = (ed.verifying_key(), ed.sign(&message));
    group.bench_function("ed25519", |b| {
        b.iter(|| public.verify_strict(black_box(&message), &sig).expect("it verifies"));
    });
    let k = k256::schnorr::SigningKey::from_slice(&[7; 32]).expect("a key");
    let sig = k.sign_raw(&message, &[0; 32]).expect("a signature");
    let public = *k.verifying_key();
    group.bench_function("nostr", |b| {
        b.iter(|| public.verify_raw(black_box(&message), &sig).expect("it verifies"));
    });
    group.finish();
}

fn chains(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain");
    group.sample_size(10);
    for scheme in [Scheme::Nostr, Scheme::Ed25519] {
        for length in [10, 1000, 10_000] {
            let bundle = chain(scheme, length).to_bundle();
            group.throughput(Throughput::Elements(length));
            let id = BenchmarkId::new(scheme.as_str(), length);
            group.bench_with_input(id, &bundle, |b, bundle| {
                b.iter(|| {
                    Chain::replay(black_box(bundle).as_bytes(), None, now()).expect("it verifies")
                });
            });
        }
    }
    group.finish();
}

/// The cost of one append does not grow with the chain.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    let key = key(Scheme::Nostr);
    for length in [10, 1000, 9000] {
        let base = chain(Scheme::Nostr, length);
        let mut longer = base.clone();
        add(&mut longer, &key, 888_888);
        add(&mut longer, &key, 999_999);
        let line = longer.lines().last().expect("an event").clone();
        let event = || {
            let value = kez_core::json::Value::parse_canonical(line.as_bytes()).expect("a line");
            kez_core::Envelope::from_value(value).expect("an envelope")
        };
        group.bench_with_input(BenchmarkId::from_parameter(length), &base, |b, base| {
            b.iter_batched_ref(
                || {
                    // A copy has no room to grow; the first append makes some, as in a replay.
                    let mut chain = base.clone();
                    add(&mut chain, &key, 888_888);
                    chain
                },
                |chain| chain.append(&event(), now()).expect("an append"),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, claims, bare, chains, append);
criterion_main!(benches);
