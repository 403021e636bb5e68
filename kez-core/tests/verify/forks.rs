//! Forks: the verdict depends on the set of events alone.

use super::world::*;
use kez_core::{
    Chain, Scheme,
    fork::{Fork, Merge, merge},
};
use proptest::prelude::*;

const SERVER: &str = "https://sig.example";

/// An owner who commits to key 5, lists a claim, and the thief's and the owner's ways from there.
struct Histories {
    common: Owner,
    thief: Owner,
    thief_too: Owner,
    owner: Owner,
}

fn histories() -> Histories {
    let mut common = Owner::new(Scheme::Ed25519, 1);
    let (own, next) = (common.key.clone(), key(Scheme::Ed25519, 5));
    let signed = common.signed("dns:example.com");
    let op = kez_core::Op::Add {
        subject: id("dns:example.com"),
        claim: signed.id(),
        account: None,
        url: None,
    };
    common.event(op, Some(&next), &[&own]);
    let (mut thief, mut thief_too, mut owner) = (common.clone(), common.clone(), common.clone());
    thief.fill("a thief's");
    thief_too.fill("another of the thief's");
    owner.rotate(&next, Some(1));
    owner.fill("the owner goes on");
    Histories { common, thief, thief_too, owner }
}

fn state(copies: &[&Owner]) -> String {
    match merge(copies.iter().map(|copy| copy.chain.clone()).collect()).unwrap() {
        Merge::Same(chain) => format!("same {:?}", chain.head()),
        Merge::Settled(chain) => format!("settled {:?}", chain.head()),
        Merge::Fork(fork) => format!("fork {} {}", fork.seq(), fork.to_canonical()),
    }
}

#[test]
fn every_order_gives_one_verdict() {
    let all = histories();
    let copies = [&all.common, &all.thief, &all.thief_too, &all.owner];
    let settled = format!("settled {:?}", all.owner.chain.head());
    for order in permutations(4) {
        let copies: Vec<&Owner> = order.iter().map(|n| copies[*n]).collect();
        assert_eq!(state(&copies), settled, "{order:?}");
    }
    // Without the owner's branch the thief's two are a fork, in every order the same one.
    let open = state(&[&all.thief, &all.thief_too]);
    assert!(open.starts_with("fork 2 "));
    assert_eq!(state(&[&all.thief_too, &all.common, &all.thief]), open);
    assert_eq!(state(&[&all.common, &all.thief]), format!("same {:?}", all.thief.chain.head()));
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(count - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |at| insert(order, at))).collect()
}

/// A commitment that the thief makes after the divergence settles nothing (KEZ-FRK-02).
#[test]
fn only_an_earlier_commitment_settles() {
    let mut common = Owner::new(Scheme::Ed25519, 1);
    common.fill("first");
    let (own, mine) = (common.key.clone(), key(Scheme::Ed25519, 7));
    let (mut thief, mut owner) = (common.clone(), common);
    let claim = kez_core::ObjectId::digest("claim", b"x");
    let op = kez_core::Op::Add { subject: id("dns:x.example"), claim, account: None, url: None };
    thief.event(op, Some(&mine), &[&own]);
    thief.rotate(&mine, None);
    owner.fill("the owner's");
    assert!(state(&[&thief, &owner]).starts_with("fork 2 "));
}

/// Servers keep evidence; readers ask for it with the chain.
#[test]
fn evidence_is_asked_for_and_counts() {
    let all = histories();
    let signed = all.common.signed("dns:example.com");
    let mut world = World::default();
    world.txt("example.com", &[&compact(&signed)]);
    world.servers.push(SERVER.into());
    let fork = |one: &Owner, two: &Owner| {
        Fork::of(one.chain.clone(), two.chain.clone()).unwrap().unwrap().to_canonical()
    };
    let chain = format!("{SERVER}/v1/sigchains/{}", all.common.primary());
    world.set(&format!("{chain}/fork"), http(404, ""));
    world.set(&format!("{chain}?"), http(200, all.thief.bundle()));
    assert_eq!(world.word("dns:example.com"), "valid");
    world.set(&format!("{chain}/fork"), http(200, fork(&all.thief, &all.thief_too)));
    assert_eq!(world.word("dns:example.com"), "forked");
    world.memory.borrow_mut().clear();
    world.set(&format!("{chain}/fork"), http(200, fork(&all.thief, &all.owner)));
    assert_eq!(world.word("dns:example.com"), "key_compromised", "the owner's branch stands");
    // Evidence of several divergences: one object a line, and all branches are merged together.
    let (open, settled) = (fork(&all.thief, &all.thief_too), fork(&all.thief, &all.owner));
    for (lines, wanted) in [
        (format!("{open}\n{settled}\n"), "key_compromised"),
        (format!("{settled}\n{open}"), "key_compromised"),
        (format!("{open}\n{{}}\n{settled}\n"), "forked"),
        (format!("{open}\n\n"), "forked"),
        (format!("{open}\n").repeat(63) + &settled, "key_compromised"),
        (format!("{open}\n").repeat(64) + &settled, "forked"),
    ] {
        world.memory.borrow_mut().clear();
        world.set(&format!("{chain}/fork"), http(200, lines));
        assert_eq!(world.word("dns:example.com"), wanted);
    }
    // A server that cannot answer still serves its chain, and garbage is no evidence.
    for does in [http(500, ""), http(200, "{}"), Does::Fail(kez_core::Code::Timeout)] {
        world.memory.borrow_mut().clear();
        world.set(&format!("{chain}/fork"), does);
        assert_eq!(world.word("dns:example.com"), "valid");
    }
}

/// As of a time before the branches part there is no fork.
#[test]
fn a_later_fork_is_none_before_it() {
    let all = histories();
    let signed = all.common.signed("dns:example.com");
    let mut world = World::default();
    world.txt("example.com", &[&compact(&signed)]);
    world.bundles = vec![all.thief.bundle(), all.thief_too.bundle()];
    assert_eq!(world.word("dns:example.com"), "forked");
    world.as_of = Some(at(-3000));
    assert_eq!(world.word("dns:example.com"), "valid");
    world.as_of = Some(at(-2999));
    assert_eq!(world.word("dns:example.com"), "forked", "the first second of the branches");
}

/// An event may be 8 deep, also where a fork object is around it.
#[test]
fn depth_counts_from_each_event() {
    let mut common = Owner::new(Scheme::Ed25519, 1);
    common.fill("first");
    let (mut one, mut two) = (common.clone(), common);
    let deep = (0..5).fold(kez_core::json::Value::Null, |value, _| {
        kez_core::json::Value::object([("a", value)])
    });
    for (n, owner) in [&mut one, &mut two].into_iter().enumerate() {
        let claim = kez_core::ObjectId::digest("claim", &[n as u8]);
        let op =
            kez_core::Op::Add { subject: id("dns:x.example"), claim, account: None, url: None };
        let event = kez_core::Event::new(owner.primary(), owner.chain.head(), at(0), op);
        let envelope = event.to_envelope().unwrap();
        let kez_core::json::Value::Object(mut members) = envelope.payload().clone() else {
            panic!()
        };
        members.push(("ext".into(), deep.clone()));
        let payload = kez_core::json::Value::object(members);
        let mut envelope = kez_core::Envelope::unsigned(payload).unwrap();
        envelope.sign(&owner.key, &[0; 32]).unwrap();
        owner.chain.append(&envelope, at(0)).unwrap();
    }
    let fork = Fork::of(one.chain, two.chain).unwrap().unwrap();
    assert_eq!(Fork::from_json(fork.to_canonical().as_bytes(), at(0)).unwrap(), fork);
}

/// Histories that grow from random cuts of each other, by the owner and by thieves.
fn random_histories(steps: &[(u8, u8, u8)]) -> Vec<Chain> {
    let keys: Vec<Secret> = (1..=4).map(|n| key(Scheme::Ed25519, n)).collect();
    let mut owners = vec![Owner { key: keys[0].clone(), ..Owner::new(Scheme::Ed25519, 1) }];
    for (n, &(from, what, salt)) in steps.iter().enumerate() {
        let mut branch = owners[usize::from(from) % owners.len()].clone();
        let own = branch.key.clone();
        let to = &keys[1 + usize::from(what) % 3];
        let used = branch.chain.eras().iter().any(|era| era.key == name(to));
        let committed = branch.chain.next();
        let fits = committed.is_none_or(|next| next == kez_core::commitment(&name(to)));
        match what % 4 {
            0 if !used && fits => branch.rotate(to, None),
            1 if committed.is_none() && !used => {
                let claim = kez_core::ObjectId::digest("claim", &[n as u8, salt]);
                let subject = id("dns:x.example");
                let op = kez_core::Op::Add { subject, claim, account: None, url: None };
                branch.event(op, Some(to), &[&own]);
            }
            _ => branch.fill(&format!("{n} {salt}")),
        }
        owners.push(branch);
    }
    owners.into_iter().map(|owner| owner.chain).filter(|chain| chain.head().is_some()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order, any repetition, and any cut of a copy that another one continues: one result.
    #[test]
    fn the_set_of_events_decides(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), 0..2_u8), 1..9),
        order in any::<prop::sample::Index>(),
        twice in any::<prop::sample::Index>(),
    ) {
        let chains = random_histories(&steps);
        let expected = merge(chains.clone()).unwrap();
        let mut other = chains.clone();
        let at = order.index(other.len());
        other.rotate_left(at);
        other.push(chains[twice.index(chains.len())].clone());
        other.reverse();
        prop_assert_eq!(&merge(other).unwrap(), &expected);
        if let Merge::Fork(fork) = &expected {
            let (a, b) = fork.branches();
            prop_assert_ne!(a.id_at(fork.seq()), b.id_at(fork.seq()));
        }
    }
}
