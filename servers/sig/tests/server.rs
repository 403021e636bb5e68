//! The real server, as a process on a free port, and a client that trusts nothing that it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Server, add, agent, append, chain_of, code, key, now};
use kez_core::{Chain, Fork, Identity, Op, Reason, Scheme, commitment};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// KEZ-SRC-03, KEZ-SRC-15, KEZ-SRC-17
#[test]
fn what_was_appended_is_served() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    for scheme in [Scheme::Ed25519, Scheme::Nostr] {
        let key = key(scheme);
        let chain = chain_of(&key, 3);
        let (name, lines) = (chain.name(), chain.lines());
        let path = format!("/v1/sigchains/{name}");
        assert_eq!(server.text(&path).0, 404);
        assert_eq!(server.text(&format!("{path}/head")).0, 404);
        assert_eq!(server.post(name, &lines[..1]).unwrap().0, 201);
        let (status, head) = server.post(name, &lines[1..]).unwrap();
        assert_eq!((status, head["seq"].as_u64()), (201, Some(3)));
        // Once more, all or in part: nothing changes.
        for again in [lines, &lines[..1], &lines[2..]] {
            let (status, head) = server.post(name, again).unwrap();
            assert_eq!((status, head["seq"].as_u64()), (200, Some(3)));
        }
        assert_eq!(server.text(&path), (200, chain.to_bundle()));
        assert_eq!(server.text(&format!("{path}?after=2")), (200, format!("{}\n", lines[2])));
        assert_eq!(server.text(&format!("{path}?after=9")), (200, String::new()));
        assert_eq!(server.text(&format!("{path}?after=-1")).0, 400);
        let head: Value = serde_json::from_str(&server.text(&format!("{path}/head")).1).unwrap();
        assert_eq!(head["id"].as_str().unwrap(), chain.head().unwrap().id.to_string());

        let response = server.get(&path);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("etag"), format!("\"{}\"", chain.head().unwrap().id));
        assert_eq!(header("content-type"), "application/jsonl");
        assert_eq!(header("access-control-allow-origin"), "*");
        let request = agent().get(server.chain_url(name)).header("if-none-match", header("etag"));
        assert_eq!(request.call().unwrap().status(), 304);
        let response = agent().head(server.chain_url(name)).call().unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["etag"].clone().is_empty()),
            (200, false)
        );
        let request = agent().get(server.chain_url(name)).header("accept-encoding", "gzip");
        assert_eq!(request.call().unwrap().headers()["content-encoding"], "gzip");
    }
    let (_, who) = server.text("/v1/subjects/github:user1");
    let who: Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["claimants"].as_array().unwrap().len(), 2);
    assert_eq!(who["claimants"][0]["seq"], 2);
    assert_eq!(server.text("/healthz").0, 200);
    assert_eq!(server.text("/readyz").0, 200);
    server.terminate();
}

/// A page of another site may append: browsers ask before.
/// KEZ-SRC-17
#[test]
fn pages_of_any_site_may_ask_and_append() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let url = format!("{}/v1/sigchains/{}", server.url, key(Scheme::Ed25519).public());
    let (status, headers) = kez_server::testing::preflight(&url, "POST", "content-type");
    assert_eq!((status, &*headers["access-control-allow-origin"]), (200, "*"));
    assert!(headers["access-control-allow-methods"].contains("POST"));
    assert_eq!(headers["access-control-allow-headers"], "content-type,if-none-match");
}

/// KEZ-SRC-04, KEZ-SRC-16
#[test]
fn what_does_not_verify_is_refused() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let key = key(Scheme::Ed25519);
    let chain = chain_of(&key, 3);
    let (name, lines) = (chain.name(), chain.lines());
    let sig = lines[0].find("\"sig\":\"").unwrap() + 7;
    let mut forged = lines[0].clone();
    let digit = if forged.as_bytes()[sig + 70] == b'0' { "1" } else { "0" };
    forged.replace_range(sig + 70..sig + 71, digit);
    let post = |name: &Identity, lines: &[String]| server.post(name, lines).unwrap();
    assert_eq!(code(post(name, &[forged]), 422), "signature_bad");
    assert_eq!(code(post(name, &["{}".into()]), 400), "member_missing");
    assert_eq!(code(post(name, &["nonsense".into()]), 400), "json_syntax");
    assert_eq!(code(post(name, &[]), 422), "chain_empty");
    assert_eq!(code(post(name, &[String::new()]), 400), "line_syntax");
    assert_eq!(code(post(name, &["{\"kez\": 1}".into()]), 400), "json_not_canonical");
    let other = Identity::from_canonical("dns:example.com").unwrap();
    assert_eq!(code(post(&other, lines), 400), "key_expected");
    let stranger = common::key(Scheme::Ed25519);
    assert_eq!(code(post(stranger.public().identity(), lines), 422), "chain_id");
    assert_eq!(code(post(name, &[lines[0].clone(), lines[2].clone()]), 422), "chain_seq");
    // Events that follow one that is not here.
    assert_eq!(code(post(name, &lines[1..]), 409), "head_conflict");
    let long = "x".repeat(16 * 1024 + 1);
    assert_eq!(code(post(name, &[long]), 413), "too_large");
    // All or nothing.
    let mut bad = lines[2].clone();
    let at = bad.find("\"sig\":\"").unwrap() + 77;
    let digit = if bad.as_bytes()[at] == b'0' { "1" } else { "0" };
    bad.replace_range(at..=at, digit);
    assert_eq!(code(post(name, &[lines[0].clone(), lines[1].clone(), bad]), 422), "signature_bad");
    assert_eq!(server.text(&format!("/v1/sigchains/{name}")).0, 404);
    let request = agent().post(server.chain_url(name)).content_type("text/plain");
    assert_eq!(request.send("x").unwrap().status(), 415);
    assert_eq!(agent().put(server.chain_url(name)).send("x").unwrap().status(), 405);
    assert_eq!(server.text("/nothing").0, 404);
    assert_eq!(server.text("/v1/sigchains/nonsense").0, 400);
    assert_eq!(post(name, lines).0, 201);
}

/// KEZ-SRC-05.
#[test]
fn of_many_that_append_at_once_one_wins_and_the_others_are_evidence() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let key = key(Scheme::Nostr);
    let base = chain_of(&key, 2);
    let name = base.name();
    assert_eq!(server.post(name, base.lines()).unwrap().0, 201);
    let answers: Vec<(u16, Value)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (mut chain, key, server) = (base.clone(), &key, &server);
                scope.spawn(move || {
                    let line = append(&mut chain, add(&format!("github:other{n}")), None, &[key]);
                    server.post(chain.name(), &[line]).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    for (status, problem) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!(
            (*status, &problem["code"], &problem["head"]["seq"]),
            (409, &"forked".into(), &3.into())
        );
    }
    // Anybody can check the evidence.
    let (_, evidence) = server.text(&format!("/v1/sigchains/{name}/fork"));
    assert!(evidence.lines().count() > 1, "each branch is evidence");
    for line in evidence.lines() {
        let fork = Fork::from_json(line.as_bytes(), now()).unwrap();
        assert_eq!((fork.chain(), fork.seq(), fork.is_settled()), (name, 3, false));
    }
    // It outlives the process, and so does the chain.
    server.terminate();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.text(&format!("/v1/sigchains/{name}/fork")).1, evidence);
    let bundle = server.text(&format!("/v1/sigchains/{name}")).1;
    assert_eq!(Chain::replay(bundle.as_bytes(), Some(name), now()).unwrap().head().unwrap().seq, 3);
}

#[test]
fn the_committed_key_settles_a_fork() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (old, new) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut base = Chain::new(old.public().identity()).unwrap();
    let commits = Some(commitment(new.public().identity()));
    append(&mut base, add("github:owner"), commits, &[&old]);
    let (mut owners, mut thiefs) = (base.clone(), base.clone());
    append(&mut thiefs, add("github:thief"), None, &[&old]);
    let to = new.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut owners, rotate, None, &[&new]);
    let name = base.name();
    assert_eq!(server.post(name, thiefs.lines()).unwrap().0, 201);
    assert_eq!(server.post(name, &owners.lines()[1..]).unwrap().0, 201);
    assert_eq!(server.text(&format!("/v1/sigchains/{name}")), (200, owners.to_bundle()));
    // What the thief listed is not found any more, and the thief cannot come back.
    let found = server.text("/v1/subjects/github:thief").1;
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap()["claimants"], serde_json::json!([]));
    assert_eq!(code(server.post(name, &thiefs.lines()[1..]).unwrap(), 409), "forked");
    let evidence = server.text(&format!("/v1/sigchains/{name}/fork")).1;
    assert!(Fork::from_json(evidence.as_bytes(), now()).unwrap().is_settled());
    // The chain goes on.
    let line = append(&mut owners, add("github:owner2"), None, &[&new]);
    assert_eq!(server.post(name, &[line]).unwrap().0, 201);
}

#[test]
fn a_stream_tells_of_new_heads_at_once_and_ends_with_the_server() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let key = key(Scheme::Ed25519);
    let mut chain = chain_of(&key, 1);
    let name = chain.name().clone();
    server.post(&name, chain.lines()).unwrap();
    let response = agent().get(format!("{}/stream", server.chain_url(&name))).call().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut lines = BufReader::new(response.into_body().into_reader()).lines();
    let mut next = || -> Value {
        loop {
            let line = lines.next().expect("an event").unwrap();
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    };
    assert_eq!(next()["seq"], 1);
    // Another chain's news is not told.
    let other = chain_of(&common::key(Scheme::Ed25519), 1);
    server.post(other.name(), other.lines()).unwrap();
    let line = append(&mut chain, add("github:new"), None, &[&key]);
    let start = Instant::now();
    server.post(&name, &[line]).unwrap();
    let head = next();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(head["id"].as_str().unwrap(), chain.head().unwrap().id.to_string());
    server.terminate();
}

/// KEZ-SRC-14
#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged: Vec<Chain> = Vec::new();
    for round in 0..12_u64 {
        let server = Server::start(dir.path(), &[]);
        // Everything from before is there, whole and verifiable.
        for chain in &acknowledged {
            let (status, bundle) = server.text(&format!("/v1/sigchains/{}", chain.name()));
            assert_eq!(status, 200);
            let served = Chain::replay(bundle.as_bytes(), Some(chain.name()), now()).unwrap();
            assert!(served.lines().starts_with(chain.lines()), "an acknowledged event is gone");
        }
        let url = &server.url;
        let writers = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        let key = key(Scheme::Ed25519);
                        let mut chain = Chain::new(key.public().identity()).unwrap();
                        let mut done = chain.clone();
                        for n in 0.. {
                            let line =
                                append(&mut chain, add(&format!("github:u{n}")), None, &[&key]);
                            let to = format!("{url}/v1/sigchains/{}", chain.name());
                            let request = agent().post(to).content_type("application/jsonl");
                            match request.send(format!("{line}\n")) {
                                Ok(response) => assert_eq!(response.status(), 201),
                                Err(_) => break,
                            }
                            done = chain.clone();
                        }
                        done
                    })
                })
                .collect();
            // Another moment in each round.
            thread::sleep(Duration::from_millis(60 + round * 37 % 200));
            let id = server.child.id().to_string();
            Command::new("kill").args(["-9", &id]).status().unwrap();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        acknowledged.extend(writers.into_iter().filter(|chain| chain.head().is_some()));
        server.kill();
    }
    let count: usize = acknowledged.iter().map(|chain| chain.lines().len()).sum();
    assert!(count > 100, "only {count} events were acknowledged at all");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--quota", "300000"]);
    let mut stored = Vec::new();
    let refused = loop {
        let chain = chain_of(&key(Scheme::Ed25519), 40);
        let (status, problem) = server.post(chain.name(), chain.lines()).unwrap();
        if status != 201 {
            break (chain, status, problem);
        }
        stored.push(chain);
        assert!(stored.len() < 100, "the quota is not kept");
    };
    let (chain, status, problem) = refused;
    assert_eq!((status, &problem["code"]), (507, &"quota_exceeded".into()));
    assert_eq!(server.text(&format!("/v1/sigchains/{}", chain.name())).0, 404);
    assert!(!stored.is_empty());
    let whole = |server: &Server| {
        for chain in &stored {
            let served = server.text(&format!("/v1/sigchains/{}", chain.name()));
            assert_eq!(served, (200, chain.to_bundle()));
        }
    };
    whole(&server);
    server.terminate();
    // With more space it goes on.
    let server = Server::start(dir.path(), &["--quota", "3000000"]);
    whole(&server);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
    let output = command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.starts_with("kez-sig-server: the storage failed: "), "{said}");
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--chain-rate", "3", "--address-rate", "5"]);
    let one = chain_of(&key(Scheme::Ed25519), 4);
    for n in 0..3 {
        assert_eq!(server.post(one.name(), &one.lines()[n..=n]).unwrap().0, 201);
    }
    let request = agent().post(server.chain_url(one.name())).content_type("application/jsonl");
    let mut response = request.send(format!("{}\n", one.lines()[3])).unwrap();
    assert_eq!(response.status(), 429);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=21).contains(&seconds), "{seconds}");
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).unwrap();
    assert!(text.contains("rate_limited"), "{text}");
    // Another chain from the same address: one more, and then the address has had enough.
    let two = chain_of(&key(Scheme::Ed25519), 2);
    assert_eq!(server.post(two.name(), &two.lines()[..1]).unwrap().0, 201);
    assert_eq!(server.post(two.name(), &two.lines()[1..]).unwrap().0, 429);
    assert_eq!(server.text(&format!("/v1/sigchains/{}", one.name())).0, 200);
}
