//! What each answer of each source means for a claim.

use super::world::*;
use kez_core::{Code, Scheme, transport::Failure};

const WELL_KNOWN: &str = "https://example.com/.well-known/kez/";
const SERVER: &str = "https://sig.example";

/// The owner of example.com, whose proof is in the DNS, and the world around.
fn domain() -> (Owner, World) {
    let owner = Owner::new(Scheme::Ed25519, 1);
    let mut world = World::default();
    world.txt("example.com", &[&compact(&owner.signed("dns:example.com"))]);
    (owner, world)
}

/// Limit reached, temporary and permanent failures, nearly right: for each kind of source (KEZ-SRC).
#[test]
fn absence_needs_a_definite_answer_of_every_named_source() {
    let page = || http(200, "<!doctype html><title>Home</title>");
    let answers = [
        (http(404, ""), "valid+no_chain"),
        (http(410, ""), "valid+no_chain"),
        (http(403, ""), "chain_unreachable"),
        (http(429, ""), "chain_unreachable"),
        (http(500, ""), "chain_unreachable"),
        (http(503, ""), "chain_unreachable"),
        (http(200, ""), "chain_unreachable"),
        (page(), "chain_unreachable"),
        (Does::Fail(Code::Timeout), "chain_unreachable"),
        (Does::Fail(Code::ConnectFailed), "chain_unreachable"),
        (Does::Fail(Code::TlsFailed), "chain_unreachable"),
        (Does::Fail(Code::DnsFailed), "chain_unreachable"),
        (Does::Fail(Code::RedirectRefused), "chain_unreachable"),
        (Does::Fail(Code::BodyTooLarge), "chain_unreachable"),
        (Does::Fail(Code::Offline), "valid+history_unchecked"),
    ];
    for (does, expected) in &answers {
        let (_, mut world) = domain();
        world.set(WELL_KNOWN, does.clone());
        assert_eq!(world.word("dns:example.com"), *expected, "the well-known place");
        let (_, mut world) = domain();
        world.servers.push(SERVER.into());
        // Offline, the domain's place is not asked either.
        let other = if *expected == "valid+history_unchecked" {
            Does::Fail(Code::Offline)
        } else {
            http(404, "")
        };
        world.set(WELL_KNOWN, other.clone()).set(SERVER, does.clone());
        assert_eq!(world.word("dns:example.com"), *expected, "a server");
        let (_, mut world) = domain();
        world.sources.push("https://chains.example/me.jsonl".into());
        world.set(WELL_KNOWN, other).set("https://chains.example/", does.clone());
        assert_eq!(world.word("dns:example.com"), *expected, "a named source");
    }
    // A host without address has no chain; a named host without address has gone.
    let (_, mut world) = domain();
    world.set(WELL_KNOWN, Does::Fail(Code::HostUnknown));
    assert_eq!(world.word("dns:example.com"), "valid+no_chain");
    world.sources.push("https://chains.example/me.jsonl".into());
    assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    let report = &world.verify("dns:example.com")[0];
    assert!(report.detail.as_deref().unwrap().contains("chains.example"), "{report:?}");
}

#[test]
fn more_than_half_of_the_relays_must_answer() {
    let cut = |code| Some(Failure::new(code, "as set up"));
    let owner = Owner::new(Scheme::Nostr, 1);
    let rows: [(&[&str], &str); 9] = [
        (&["whole"], "valid+no_chain"),
        (&["fails"], "chain_unreachable"),
        (&["whole", "fails"], "chain_unreachable"),
        (&["whole", "whole", "fails"], "valid+no_chain"),
        (&["whole", "whole", "hangs"], "valid+no_chain"),
        (&["whole", "fails", "fails"], "chain_unreachable"),
        (&["whole", "hangs"], "chain_unreachable"),
        (&["capped", "capped", "whole"], "chain_unreachable"),
        (&["closed", "whole", "whole"], "valid+no_chain"),
    ];
    for (relays, expected) in rows {
        let mut world = World::default();
        world.txt("example.com", &[&compact(&owner.signed("dns:example.com"))]);
        for (n, does) in relays.iter().enumerate() {
            let url = format!("wss://relay-{n}.example");
            match *does {
                "whole" => drop(world.relay(&url, vec![])),
                "capped" => drop(world.relay_cut(&url, vec![], cut(Code::SearchIncomplete))),
                "closed" => drop(world.relay_cut(&url, vec![], cut(Code::AuthRequired))),
                "hangs" => drop(world.relay(&url, vec![]).set(&url, Does::Hang)),
                _ => drop(world.relay(&url, vec![]).set(&url, Does::Fail(Code::ConnectFailed))),
            }
        }
        assert_eq!(world.word("dns:example.com"), expected, "{relays:?}");
    }
}

#[test]
fn a_revocation_on_any_relay_counts() {
    let mut owner = Owner::new(Scheme::Nostr, 1);
    let signed = owner.signed("dns:example.com");
    owner.add(&signed);
    let before = owner.clone();
    owner.revoke(&signed);
    let mut world = World::default();
    world.txt("example.com", &[&compact(&signed)]);
    world.relay("wss://old.example", before.carriers(&before.key));
    world.relay("wss://new.example", owner.carriers(&owner.key));
    assert_eq!(world.word("dns:example.com"), "revoked");
    // Strangers may carry the lines, too.
    let mut world = World::default();
    world.txt("example.com", &[&compact(&signed)]);
    world.relay("wss://new.example", owner.carriers(&key(Scheme::Nostr, 9)));
    assert_eq!(world.word("dns:example.com"), "revoked");
    // A relay that was cut off may have had more.
    let mut world = World::default();
    world.txt("example.com", &[&compact(&signed)]);
    let cut = Some(Failure::new(Code::SearchIncomplete, "a page cap"));
    world.relay_cut("wss://cut.example", before.carriers(&before.key), cut);
    assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    // What it had is all that a whole copy has.
    world.set(WELL_KNOWN, http(200, before.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid");
}

/// A relay that has only later events of a chain, or was cut off before the first ones came, has
/// not said that there is none.
#[test]
fn events_without_the_first_are_no_absence() {
    let mut owner = Owner::new(Scheme::Nostr, 1);
    let signed = owner.signed("dns:example.com");
    owner.add(&signed);
    owner.revoke(&signed);
    let last = owner.carriers(&owner.key).split_off(1);
    for failure in [None, Some(Failure::new(Code::Timeout, "as set up"))] {
        let mut world = World::default();
        world.txt("example.com", &[&compact(&signed)]);
        world.relay_cut("wss://relay.example", last.clone(), failure);
        assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    }
}

/// KEZ-SRC: the verified prefix of a damaged copy counts, and what is behind it may revoke.
#[test]
fn a_damaged_copy_is_not_an_absent_one() {
    let (mut owner, mut world) = domain();
    let signed = owner.signed("dns:example.com");
    owner.add(&signed);
    owner.fill("more");
    let listed = owner.clone();
    owner.revoke(&signed);
    let mut damaged = owner.bundle();
    damaged.extend_from_slice(b"junk\n");
    world.set(WELL_KNOWN, http(200, damaged));
    assert_eq!(world.word("dns:example.com"), "revoked");
    for junk in [&b"junk\n"[..], b"junk", b"\n", b"<html>"] {
        world.memory.borrow_mut().clear();
        let mut damaged = listed.bundle();
        damaged.extend_from_slice(junk);
        world.set(WELL_KNOWN, http(200, damaged));
        assert_eq!(world.word("dns:example.com"), "chain_damaged");
    }
    // A copy that is no longer than the prefix proves nothing about what is behind it.
    world.sources.push("https://chains.example/me.jsonl".into());
    world.set("https://chains.example/", http(200, listed.bundle()));
    assert_eq!(world.word("dns:example.com"), "chain_damaged");
    let mut longer = listed.clone();
    longer.fill("still more");
    world.set("https://chains.example/", http(200, longer.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid");
    world.memory.borrow_mut().clear();
    world.set("https://chains.example/", http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "revoked");
    // A bad signature in the middle cuts there.
    world.memory.borrow_mut().clear();
    let mut lines: Vec<String> = owner.chain.lines().to_vec();
    let at = lines[2].find("\"sig\":\"").unwrap() + 7;
    let other = if lines[2].as_bytes()[at] == b'0' { "1" } else { "0" };
    lines[2].replace_range(at..=at, other);
    world.set("https://chains.example/", http(404, ""));
    world.set(WELL_KNOWN, http(200, lines.join("\n") + "\n"));
    assert_eq!(world.word("dns:example.com"), "chain_damaged");
}

/// KEZ-BCN: what was seen before is held against what is served now.
#[test]
fn what_was_seen_before_counts() {
    let (mut owner, mut world) = domain();
    let signed = owner.signed("dns:example.com");
    owner.add(&signed);
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid");
    assert!(world.memory.borrow().contains_key(owner.primary().as_str()));
    for (does, expected) in [
        (http(404, ""), "rollback"),
        (http(500, ""), "chain_unreachable"),
        (Does::Fail(Code::Timeout), "chain_unreachable"),
        (Does::Fail(Code::Offline), "valid+history_unchecked"),
    ] {
        world.set(WELL_KNOWN, does);
        assert_eq!(world.word("dns:example.com"), expected);
    }
    // Offline, a revocation that was seen still counts.
    owner.revoke(&signed);
    world.set(WELL_KNOWN, http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "revoked");
    world.set(WELL_KNOWN, Does::Fail(Code::Offline));
    assert_eq!(world.word("dns:example.com"), "revoked");
    let mut shorter = Owner::new(Scheme::Ed25519, 1);
    shorter.add(&signed);
    world.set(WELL_KNOWN, http(200, shorter.bundle()));
    assert_eq!(world.word("dns:example.com"), "revoked", "the longer chain is remembered");
}

#[test]
fn a_claim_names_where_its_chain_is() {
    let (mut owner, mut world) = domain();
    owner.fill("first");
    let mut claim = owner.claim("dns:example.com");
    claim.head = owner.chain.head();
    claim.sources = vec!["https://chains.example/me.jsonl".into()];
    let signed = sign(&claim, &owner.key);
    world.txt("example.com", &[&compact(&signed)]);
    world.set(WELL_KNOWN, http(404, ""));
    world.set("https://chains.example/", http(404, ""));
    assert_eq!(world.word("dns:example.com"), "rollback", "the named event is served nowhere");
    world.set("https://chains.example/", http(503, ""));
    assert_eq!(world.word("dns:example.com"), "chain_unreachable");
    world.set("https://chains.example/", http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid+unlisted");
    owner.revoke(&signed);
    world.set("https://chains.example/", http(200, owner.bundle()));
    assert_eq!(world.word("dns:example.com"), "revoked");
    let other = Owner::new(Scheme::Ed25519, 1);
    let mut other = other;
    other.fill("another first event");
    world.memory.borrow_mut().clear();
    world.set("https://chains.example/", http(200, other.bundle()));
    assert_eq!(world.word("dns:example.com"), "beacon_mismatch");
}

/// A copy that the user has is a source, and one of another identity says nothing.
#[test]
fn copies_at_hand() {
    let (mut owner, mut world) = domain();
    let signed = owner.signed("dns:example.com");
    let mut stranger = Owner::new(Scheme::Ed25519, 2);
    stranger.fill("a stranger's");
    world.bundles.push(stranger.bundle());
    world.set(WELL_KNOWN, Does::Fail(Code::Offline));
    assert_eq!(world.word("dns:example.com"), "valid+history_unchecked");
    owner.add(&signed);
    world.bundles.push(owner.bundle());
    assert_eq!(world.word("dns:example.com"), "valid");
    owner.revoke(&signed);
    world.bundles.push(owner.bundle());
    assert_eq!(world.word("dns:example.com"), "revoked");
}

/// A server that hangs costs nothing while a relay is asked, and the other way round.
#[test]
fn a_silent_relay_is_not_waited_for() {
    let owner = Owner::new(Scheme::Nostr, 1);
    let mut world = World::default();
    world.txt("example.com", &[&compact(&owner.signed("dns:example.com"))]);
    world.relay("wss://a.example", vec![]).relay("wss://b.example", vec![]);
    world.relay("wss://silent.example", vec![]).set("wss://silent.example", Does::Hang);
    assert_eq!(world.word("dns:example.com"), "valid+no_chain");
    let report = &world.verify("dns:example.com")[0];
    assert_eq!(report.detail, None);
    // KEZ-SRC-19: no verdict asks who claims a subject.
    assert!(!world.asked.borrow().iter().any(|place| place.contains("/v1/subjects")));
}
