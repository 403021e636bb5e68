//! What every storage of the sigchain server must do: SQLite, and with `KEZ_STORAGE=nats` a stream
//! of NATS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{add, append, chain_of, key, now};
use kez_core::{Chain, Code, Fork, Identity, Op, Reason, Scheme, commitment};
use kez_server::{nats::Settings, replica::Shared as _, testing::nats_url};
use kez_sig_server::store::{Appended, Options, Refusal, Store, Unlimited, after_line};
use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn open(dir: &Path) -> Store {
    let options = Options::default();
    let Some(url) = nats_url(dir) else { return Store::open(dir, &options).unwrap().0 };
    let settings = Settings { url: Some(url), ..Settings::default() };
    let store = Store::join(dir, &options, &settings).await.unwrap().0;
    store.current().await.unwrap();
    store
}

async fn post(store: &Store, chain: &Chain, from: usize) -> Result<Appended, Refusal> {
    let body: String = chain.lines()[from..].iter().map(|line| format!("{line}\n")).collect();
    store.append(chain.name().clone(), body.into(), now(), &Unlimited).await
}

async fn served(store: &Store, chain: &Chain) -> Option<String> {
    let found = store.chain(chain.name().as_str(), CLIENT).await.unwrap();
    found.map(|stored| String::from_utf8(stored.bundle.to_vec()).unwrap())
}

#[tokio::test]
async fn what_was_appended_is_there_and_stays() {
    let dir = TempDir::new().unwrap();
    let owner = key(Scheme::Nostr);
    let chain = chain_of(&owner, 3);
    {
        let store = open(dir.path()).await;
        assert_eq!(served(&store, &chain).await, None);
        assert_eq!(store.head(chain.name().as_str()).await.unwrap(), None);
        let mut news = store.subscribe(chain.name());
        let head = chain.head().unwrap();
        assert_eq!(post(&store, &chain, 0).await.unwrap(), Appended { head, new: true });
        assert_eq!(news.next().await, Some(head));
        // Again, whole or in part, changes nothing and is told to nobody.
        for from in 0..3 {
            assert_eq!(post(&store, &chain, from).await.unwrap(), Appended { head, new: false });
        }
        let more = tokio::time::timeout(Duration::from_millis(50), news.next()).await;
        assert!(more.is_err());
        assert_eq!(store.checkpoint().size(), 1);
        let claimants =
            store.claimants(Identity::from_canonical("github:user1").unwrap(), 0).await.unwrap().0;
        assert_eq!((claimants[0].primary.as_str(), claimants[0].seq), (chain.name().as_str(), 2));
    }
    let store = open(dir.path()).await;
    assert_eq!(served(&store, &chain).await.unwrap(), chain.to_bundle());
    let stored = store.chain(chain.name().as_str(), CLIENT).await.unwrap().unwrap();
    assert_eq!(after_line(&stored.bundle, 2), format!("{}\n", chain.lines()[2]));
    assert_eq!(after_line(&stored.bundle, u64::MAX), "");
    assert_eq!(store.checkpoint().size(), 1);
}

#[tokio::test]
async fn what_does_not_follow_is_refused_whole() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let owner = key(Scheme::Ed25519);
    let chain = chain_of(&owner, 4);
    let conflict = |head| Err(Refusal::Conflict { head, fork: false });
    assert_eq!(post(&store, &chain, 1).await, conflict(None));
    let body = format!("{}\n{}\n", chain.lines()[0], chain.lines()[2]);
    let refused = store.append(chain.name().clone(), body.into(), now(), &Unlimited).await;
    assert!(matches!(refused, Err(Refusal::Invalid(e)) if e.code() == Code::ChainSeq));
    assert_eq!(served(&store, &chain).await, None);
    post(&store, &chain, 0).await.unwrap();
    assert_eq!(store.checkpoint().size(), 1);
    let refused = store.append(chain.name().clone(), "x\n".into(), now(), &Unlimited).await;
    assert!(matches!(refused, Err(Refusal::Invalid(e)) if e.code() == Code::JsonSyntax));
    assert_eq!(served(&store, &chain).await.unwrap(), chain.to_bundle());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_one_place_one_wins_and_evidence_is_kept() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let owner = Arc::new(key(Scheme::Ed25519));
    let base = chain_of(&owner, 2);
    post(&store, &base, 0).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (store, mut chain, owner) = (store.clone(), base.clone(), owner.clone());
            tokio::spawn(async move {
                append(&mut chain, add(&format!("github:other{n}")), None, &[&owner]);
                (post(&store, &chain, 2).await, chain)
            })
        })
        .collect();
    let mut winner = None;
    for task in tasks {
        match task.await.unwrap() {
            (Ok(done), chain) => {
                assert!(done.new && winner.is_none());
                winner = Some(chain);
            }
            (Err(Refusal::Conflict { head, fork }), _) => assert!(fork && head.unwrap().seq == 3),
            (Err(other), _) => panic!("{other}"),
        }
    }
    let winner = winner.expect("somebody won");
    assert_eq!(served(&store, &winner).await.unwrap(), winner.to_bundle());
    let evidence = store.fork(base.name().clone(), CLIENT).await.unwrap().unwrap().0;
    assert!(evidence.lines().count() > 1, "each branch is evidence");
    for line in evidence.lines() {
        let fork = Fork::from_json(line.as_bytes(), now()).unwrap();
        assert_eq!((fork.chain(), fork.seq()), (base.name(), 3));
    }
    // The head that was accepted is in the log, the others are not.
    assert_eq!(store.checkpoint().size(), 2);
}

#[tokio::test]
async fn the_committed_key_takes_the_chain_back() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let (old, new) = (key(Scheme::Ed25519), key(Scheme::Nostr));
    let mut base = Chain::new(old.public().identity()).unwrap();
    append(&mut base, add("github:owner"), Some(commitment(new.public().identity())), &[&old]);
    let (mut owners, mut thiefs) = (base.clone(), base.clone());
    append(&mut thiefs, add("github:thief"), None, &[&old]);
    append(&mut thiefs, add("github:thief2"), None, &[&old]);
    let to = new.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut owners, rotate, None, &[&new]);
    post(&store, &thiefs, 0).await.unwrap();
    // Whoever had read it before does not get it again.
    assert_eq!(served(&store, &thiefs).await.unwrap(), thiefs.to_bundle());
    assert!(post(&store, &owners, 1).await.unwrap().new);
    assert_eq!(served(&store, &owners).await.unwrap(), owners.to_bundle());
    assert_eq!(
        store.claimants(Identity::from_canonical("github:thief2").unwrap(), 0).await.unwrap(),
        (Vec::new(), None)
    );
    let refused = post(&store, &thiefs, 1).await;
    assert!(matches!(refused, Err(Refusal::Conflict { fork: true, .. })));
    append(&mut owners, add("github:owner2"), None, &[&new]);
    post(&store, &owners, 2).await.unwrap();
    // Two heads of the thief's or owner's, and one more: each accepted one is in the log.
    let stored = store.chain(base.name().as_str(), CLIENT).await.unwrap().unwrap();
    let proof = store.prove(&stored, 0).await.unwrap();
    assert_eq!((proof.index, proof.checkpoint.size()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_states_while_others_write() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let owner = key(Scheme::Ed25519);
    let chain = chain_of(&owner, 60);
    let name = chain.name().clone();
    let (writing, reader) = (store.clone(), store.clone());
    let whole = chain.clone();
    let writer = tokio::spawn(async move {
        for n in 0..whole.lines().len() {
            let body = format!("{}\n", whole.lines()[n]);
            writing.append(whole.name().clone(), body.into(), now(), &Unlimited).await.unwrap();
            // What was acknowledged is what is read from then on.
            let head = writing.head(whole.name().as_str()).await.unwrap().unwrap();
            assert_eq!(head.seq, n as u64 + 1);
        }
    });
    let mut last = 0;
    while !writer.is_finished() {
        let Some(stored) = reader.chain(name.as_str(), CLIENT).await.unwrap() else {
            continue;
        };
        let (head, proof) = (stored.head, reader.prove(&stored, 0).await.unwrap());
        assert!(head.seq >= last, "it went back");
        last = head.seq;
        let read = Chain::replay(&stored.bundle, Some(&name), now()).unwrap();
        assert_eq!(read.head(), Some(head));
        let entry = kez_core::log::entry(&name, head);
        proof.checkpoint.includes(proof.index, &entry, &proof.inclusion).unwrap();
    }
    writer.await.unwrap();
    assert_eq!(served(&store, &chain).await.unwrap(), chain.to_bundle());
}
