//! Several proofs, several owners, names and pins (KEZ-VER, KEZ-CNL).

use super::world::*;
use kez_core::{Question, Scheme, Status};

const WELL_KNOWN: &str = "https://example.com/.well-known/kez/";

fn world(records: &[&str]) -> World {
    let mut world = World::default();
    world.txt("example.com", records).set(WELL_KNOWN, http(404, ""));
    world
}

fn words(world: &World, subject: &str) -> Vec<String> {
    world.verify(subject).iter().map(word).collect()
}

#[test]
fn one_report_an_owner_the_best_first() {
    let (alice, bob) = (Owner::new(Scheme::Ed25519, 1), Owner::new(Scheme::Ed25519, 2));
    let good = alice.signed("dns:example.com");
    let mut over = alice.claim("dns:example.com");
    over.expires_at = Some(at(-1));
    let over = sign(&over, &alice.key);
    let stolen = bob.signed("dns:example.net");
    let texts = [compact(&over), compact(&good), compact(&stolen), "kez:z1:broken".into()];
    let records: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(words(&world(&records), "dns:example.com"), ["valid+no_chain", "wrong_owner"]);
    assert_eq!(
        words(&world(&[&texts[0], &texts[2]]), "dns:example.com"),
        ["expired", "wrong_owner"]
    );
    // What does not decode is told where nothing is valid.
    let reports = world(&[&texts[2], "kez:z1:broken"]).verify("dns:example.com");
    assert_eq!(reports.iter().map(word).collect::<Vec<_>>(), ["wrong_owner", "proof_malformed"]);
    assert_eq!(reports[1].primary, None);
    assert_eq!(words(&world(&[]), "dns:example.com"), ["proof_not_found"]);
}

#[test]
fn two_owners_are_both_named() {
    let (alice, bob) = (Owner::new(Scheme::Ed25519, 1), Owner::new(Scheme::Nostr, 2));
    let texts =
        [compact(&alice.signed("dns:example.com")), compact(&bob.signed("dns:example.com"))];
    let mut world = world(&[&texts[0], &texts[1]]);
    world.relay("wss://relay.example", vec![]);
    let reports = world.verify("dns:example.com");
    let both = ["valid+no_chain+contested", "valid+no_chain+contested"];
    assert_eq!(reports.iter().map(word).collect::<Vec<_>>(), both);
    let subject = id("dns:example.com");
    let (a, b) = (alice.primary(), bob.primary());
    for by in [&a, &b] {
        let question = Question { by: Some(by), ..Question::about(&subject) };
        let verifier = world.verifier();
        let reports = futures_util::FutureExt::now_or_never(verifier.verify_question(&question));
        let reports = reports.unwrap();
        assert_eq!(reports.iter().map(word).collect::<Vec<_>>(), ["valid+no_chain"]);
        assert_eq!(reports[0].primary.as_ref(), Some(by));
        let graph = futures_util::FutureExt::now_or_never(verifier.identity_question(&question));
        assert_eq!(graph.unwrap().primary.as_ref(), Some(by));
    }
    let graph = futures_util::FutureExt::now_or_never(world.verifier().identity(&subject)).unwrap();
    assert_eq!(graph.contested_by.len(), 1);
    let stranger = Owner::new(Scheme::Ed25519, 3).primary();
    let question = Question { by: Some(&stranger), ..Question::about(&subject) };
    let verifier = world.verifier();
    let reports =
        futures_util::FutureExt::now_or_never(verifier.verify_question(&question)).unwrap();
    assert_eq!(word(&reports[0]), "proof_not_found");
}

/// The id of an object does not cover its signature: a later key may sign what was listed.
#[test]
fn a_later_key_does_not_inherit_a_listing() {
    let mut owner = Owner::new(Scheme::Ed25519, 1);
    let signed = owner.signed("dns:example.com");
    owner.add(&signed);
    let thief = key(Scheme::Ed25519, 2);
    owner.rotate(&thief, None);
    let again = sign(signed.claim(), &thief);
    assert_eq!(again.id(), signed.id());
    let mut world = world(&[&compact(&again)]);
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "chain_signer");
    world.txt("example.com", &[&compact(&signed)]);
    assert_eq!(world.word("dns:example.com"), "valid");
    // A key of which no copy knows may be one that a missing event makes current.
    let unknown = sign(&owner.claim("dns:example.com"), &key(Scheme::Ed25519, 3));
    world.txt("example.com", &[&compact(&unknown)]);
    assert_eq!(world.word("dns:example.com"), "chain_signer");
    let mut damaged = owner.bundle();
    damaged.extend_from_slice(b"cut");
    world.set(WELL_KNOWN, http(200, damaged));
    assert_eq!(world.word("dns:example.com"), "chain_damaged");
}

/// The order of judge (KEZ-VER-01): each reason before those below it.
#[test]
fn the_order_of_the_checks() {
    let mut owner = Owner::new(Scheme::Ed25519, 1);
    owner.fill("first");
    let mut claim = owner.claim("dns:example.net");
    claim.account = Some("pinned".into());
    claim.created_at = at(601);
    claim.expires_at = Some(at(602));
    let mut shown = world(&[&compact(&sign(&claim, &owner.key))]);
    assert_eq!(shown.word("dns:example.com"), "wrong_owner");
    claim.subject = id("dns:example.com");
    shown.txt("example.com", &[&compact(&sign(&claim, &owner.key))]);
    assert_eq!(shown.word("dns:example.com"), "not_yet_valid");
    claim.created_at = at(-10);
    claim.expires_at = Some(at(-5));
    claim.head = Some(kez_core::Head { seq: 9, id: kez_core::ObjectId::digest("event", b"x") });
    shown.txt("example.com", &[&compact(&sign(&claim, &owner.key))]);
    shown.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(shown.word("dns:example.com"), "rollback");
    claim.head = None;
    shown.txt("example.com", &[&compact(&sign(&claim, &owner.key))]);
    assert_eq!(shown.word("dns:example.com"), "expired");
    shown.memory.borrow_mut().clear();
    shown.set(WELL_KNOWN, http(500, ""));
    assert_eq!(shown.word("dns:example.com"), "expired", "it is over, whatever the chain says");
    claim.expires_at = None;
    shown.txt("example.com", &[&compact(&sign(&claim, &owner.key))]);
    assert_eq!(shown.word("dns:example.com"), "chain_unreachable");
    let report = &shown.verify("dns:example.com")[0];
    assert_eq!(report.status, Status::Unreachable);
}

/// A pointer proves what its chain lists, and no more than could be read.
#[test]
fn pointers() {
    let mut owner = Owner::new(Scheme::Ed25519, 1);
    let pointer = kez_core::proof::to_pointer(&owner.primary());
    let signed = owner.signed("dns:example.com");
    let mut world = world(&[&pointer]);
    assert_eq!(world.word("dns:example.com"), "not_on_chain", "there is no chain");
    world.set(WELL_KNOWN, http(500, ""));
    assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    world.set(WELL_KNOWN, Does::Fail(kez_core::Code::Offline));
    assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    owner.fill("first");
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "not_on_chain");
    let mut damaged = owner.bundle();
    damaged.extend_from_slice(b"cut");
    world.set(WELL_KNOWN, http(200, damaged));
    assert_eq!(world.word("dns:example.com"), "chain_damaged", "the rest may list it");
    owner.add(&signed);
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid+pointer");
    owner.revoke(&signed);
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "revoked");
}
