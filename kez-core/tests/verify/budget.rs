//! A stranger's chain decides which accounts it lists, and the reader how much work that makes.

use crate::world::{Does, Owner, World, http, word};
use futures_util::FutureExt as _;
use kez_core::{Budget, Code, Graph, Scheme, Status};

/// An owner whose chain lists this many accounts at one host, and a world that has the chain.
fn crowd(accounts: usize, host: Does) -> (Owner, World) {
    let mut owner = Owner::new(Scheme::Ed25519, 1);
    for n in 0..accounts {
        let claim = owner.signed(&format!("ap:u{n}@victim.example"));
        owner.add(&claim);
    }
    let mut world = World::default();
    world.bundles.push(owner.bundle());
    world.set("https://victim.example/", host);
    (owner, world)
}

fn identity(world: &World, owner: &Owner, budget: Option<Budget>) -> Graph {
    let mut verifier = world.verifier();
    verifier.budget = budget;
    verifier.identity(&owner.primary()).now_or_never().expect("it must end")
}

fn requests(world: &World, host: &str) -> usize {
    world.asked.borrow().iter().filter(|url| url.contains(host)).count()
}

fn unchecked(graph: &Graph) -> usize {
    let edges = graph.edges.iter();
    let left = edges.filter(|edge| edge.reason == Some(Code::SearchIncomplete));
    left.inspect(|edge| assert_eq!(edge.status, Status::Unreachable)).count()
}

/// KEZ-GRF-01, KEZ-GRF-04: one host is not asked more than 256 times, and every account has its edge.
#[test]
fn one_host_is_asked_a_bounded_number_of_times() {
    let (owner, world) = crowd(1000, http(404, ""));
    let graph = identity(&world, &owner, None);
    assert_eq!(graph.edges.len(), 1000);
    assert!((900..1000).contains(&unchecked(&graph)), "{}", unchecked(&graph));
    assert!((100..=256).contains(&requests(&world, "victim.example")));
    // On request more are checked, with as many more requests.
    let (owner, world) = crowd(1000, http(404, ""));
    let graph = identity(&world, &owner, Some(Budget::for_accounts(500)));
    assert!((500..600).contains(&unchecked(&graph)), "{}", unchecked(&graph));
    assert!(requests(&world, "victim.example") <= 5 * 256);
    // A budget that is used up stays used up.
    let (owner, world) = crowd(100, http(500, ""));
    let mut verifier = world.verifier();
    verifier.budget = Some(Budget::default());
    for _ in 0..4 {
        verifier.identity(&owner.primary()).now_or_never().expect("it must end");
    }
    assert!(requests(&world, "victim.example") <= 256);
}

/// KEZ-GRF-02: a host that does not answer is asked no further; other hosts are.
#[test]
fn a_host_that_does_not_answer_is_asked_no_further() {
    let (mut owner, mut world) = crowd(80, Does::Fail(Code::Timeout));
    let claim = owner.signed("dns:a.example");
    owner.add(&claim);
    world.bundles = vec![owner.bundle()];
    world.txt("a.example", &[&crate::world::compact(&claim)]);
    let graph = identity(&world, &owner, None);
    // Up to eight lookups are under way when the first request has failed.
    assert!(requests(&world, "victim.example") <= 8, "{}", requests(&world, "victim.example"));
    assert!(unchecked(&graph) >= 64, "{}", unchecked(&graph));
    let other = graph.edges.iter().find(|edge| edge.subject.as_str() == "dns:a.example");
    assert_eq!(word(other.unwrap()), "valid");
}

/// KEZ-GRF-03: a host that hangs does not keep the answer from coming.
#[test]
fn the_time_is_bounded() {
    let (owner, world) = crowd(80, Does::Hang);
    let graph = identity(&world, &owner, None);
    assert_eq!((graph.edges.len(), unchecked(&graph)), (80, 80));
}
