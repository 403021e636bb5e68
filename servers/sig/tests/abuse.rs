//! Clients that use up what others need, and thieves: what they reach, and what they do not
//! (docs/security-model.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Server, add, agent, append, chain_of, code, key, now};
use kez_core::{
    Chain, Fork, Identity, ObjectId, Op, Reason, Scheme, SecretKey, Target, commitment, fork,
};
use kez_server::testing::attack::{self, ATTACKER as OTHER};
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A connection from another address of this machine.
fn connect_from(from: IpAddr, server: &Server) -> TcpStream {
    let stream = attack::connect(from, server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends a request on a connection, and returns what comes until it is quiet or closed.
fn talk(stream: &mut TcpStream, request: &str) -> String {
    // The server may have closed already; what it sent can still be read.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

fn revoke(subject: &str) -> Op {
    let target = Target::Subject(Identity::from_canonical(subject).unwrap());
    Op::Revoke { target, reason: Reason::Compromised, text: None }
}

/// An `add` of a subject whose claim has this number.
fn add_number(subject: &str, n: usize, url: Option<String>) -> Op {
    let subject = Identity::from_canonical(subject).unwrap();
    let claim = ObjectId::digest("claim", &n.to_be_bytes());
    Op::Add { subject, claim, account: None, url }
}

/// An event of about 1 KB.
fn add_with_url(n: usize) -> Op {
    add_number("dns:a.example", n, Some(format!("https://a.example/{n:0500}")))
}

#[test]
fn one_client_cannot_take_all_connections() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--connections", "256"]);
    let mut held: Vec<TcpStream> = (0..300).map(|_| connect_from(OTHER, &server)).collect();
    let answers: Vec<String> = held.iter_mut().map(|stream| talk(stream, HEALTH)).collect();
    let served = answers.iter().filter(|answer| answer.contains("200 OK")).count();
    assert_eq!(served, 16);
    assert_eq!(server.text("/healthz").0, 200);
}

#[test]
fn the_last_connections_are_for_urgent_requests() {
    let dir = TempDir::new().unwrap();
    let all = ["--connections", "64", "--address-connections", "64"];
    let server = Server::start(dir.path(), &all);
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    let held: Vec<TcpStream> = (0..60).map(|_| connect_from(OTHER, &server)).collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.text(&format!("/v1/sigchains/{}", chain.name())).0, 503);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    assert_eq!(server.text("/healthz").0, 200);
    drop(held);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let dir = TempDir::new().unwrap();
    let options = ["--trusted-proxy", "127.0.0.1", "--chain-rate", "9", "--read-rate", "3"];
    let server = Server::start(dir.path(), &options);
    let status = |from: &str| {
        let request = agent().get(format!("{}/v1/subjects/github:a", server.url));
        request.header("x-forwarded-for", from).call().unwrap().status().as_u16()
    };
    // The client can write what it wants before the address that the proxy appends.
    let all = ["192.0.2.1", "198.51.100.9, 192.0.2.1", "192.0.2.1", "10.0.0.1, 192.0.2.1"];
    assert_eq!(all.map(status), [200, 200, 200, 429]);
    assert_eq!(status("192.0.2.2"), 200);
    let same = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"];
    assert_eq!(same.map(status), [200, 200, 200, 429]);
    // Another address is no proxy, whatever it says.
    let request =
        "GET /v1/subjects/github:a HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.77\r\n\r\n";
    let all: Vec<String> =
        (0..4).map(|_| talk(&mut connect_from(OTHER, &server), request)).collect();
    assert!(all[2].contains("200 OK") && all[3].contains("429"), "{all:?}");
}

#[test]
fn bodies_are_refused_before_they_are_read() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--memory", "4000000"]);
    let name = chain_of(&key(Scheme::Ed25519), 1).name().clone();
    let post = |headers: &str| {
        format!(
            "POST /v1/sigchains/{name} HTTP/1.1\r\nhost: x\r\n\
             content-type: application/jsonl\r\n{headers}\r\n\r\n"
        )
    };
    let start = Instant::now();
    let answer = |request: &str| talk(&mut connect_from(OTHER, &server), request);
    assert!(answer(&post("content-length: 33554433")).contains("413"));
    assert!(answer(&post("content-length: 5\r\ncontent-length: 6")).contains("400"));
    for both in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        assert!(answer(&post(both)).contains("411"));
    }
    // What is no event of the chain, and what is not signed by its key.
    assert!(answer(&(post("content-length: 9000000") + "{}\n")).contains("400"));
    let mut foreign = chain_of(&key(Scheme::Ed25519), 1).to_bundle();
    foreign = foreign
        .replace(foreign.split('"').find(|s| s.starts_with("ed25519:")).unwrap(), name.as_str());
    let refused = answer(&(post("content-length: 9000000") + &foreign));
    assert!(refused.contains("signature_bad") || refused.contains("chain_signer"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(5));
    // A client's unfinished bodies have a quarter of the memory.
    let owner = key(Scheme::Ed25519);
    let first = chain_of(&owner, 1).to_bundle();
    let own =
        post("content-length: 2000000").replace(name.as_str(), owner.public().identity().as_str());
    let start_of_body = own + &first + &"x".repeat(400_000);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect_from(OTHER, &server)).collect();
    for stream in &mut streams {
        // Which of them are refused is the server's to choose, and when.
        let _ = stream.write_all(start_of_body.as_bytes());
    }
    let answers: Vec<String> = streams.iter_mut().map(|stream| talk(stream, "")).collect();
    assert!(answers.iter().any(|answer| answer.contains("429")), "{answers:?}");
    let chain = chain_of(&key(Scheme::Ed25519), 2);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
}

/// KEZ-SRC-24
#[test]
fn garbage_for_a_chain_does_not_stop_its_owner() {
    let dir = TempDir::new().unwrap();
    let options = ["--chain-rate", "5", "--address-rate", "1000"];
    let server = Server::start(dir.path(), &options);
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 1);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    let stranger = key(Scheme::Ed25519);
    for n in 0..20 {
        // Signed, but not by the chain's key.
        let mut event =
            kez_core::Event::new(chain.name().clone(), chain.head(), now(), add("github:x"));
        event.seq += n % 2;
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&stranger, &[0; 32]).unwrap();
        assert!(server.post(chain.name(), &[envelope.to_canonical()]).unwrap().0 >= 400);
    }
    let line = append(&mut chain, revoke("github:user0"), None, &[&owner]);
    assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
}

/// KEZ-SRC-23
#[test]
fn revocations_have_room_when_strangers_have_filled_the_quota() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--quota", "2000000"]);
    let (owner, next) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut chain = chain_of(&owner, 1);
    append(&mut chain, add("github:b"), Some(commitment(next.public().identity())), &[&owner]);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    assert_eq!(server.text("/readyz"), (200, "ready\n".into()));
    let (strangers, refused) = loop {
        let stranger = key(Scheme::Ed25519);
        let mut strangers = Chain::new(stranger.public().identity()).unwrap();
        for n in 0..50 {
            append(&mut strangers, add_with_url(n), None, &[&stranger]);
        }
        let answer = server.post(strangers.name(), strangers.lines()).unwrap();
        if answer.0 != 201 {
            break (strangers, answer);
        }
    };
    assert_eq!(code(refused, 507), "quota_exceeded");
    assert_eq!(server.text(&format!("/v1/sigchains/{}", strangers.name())).0, 404);
    let (status, text) = server.text("/readyz");
    assert!(status == 200 && text.contains("quota reached"), "{text}");
    let line = append(&mut chain, revoke("github:b"), None, &[&owner]);
    assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
    let to = next.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    let line = append(&mut chain, rotate, None, &[&next]);
    assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
}

/// Large appends stop before the reserve, and strangers cannot use it up with their own chains.
#[test]
fn the_reserve_is_for_owners() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--quota", "8000000"]);
    let owners: Vec<(SecretKey, Chain)> = (0..20)
        .map(|_| {
            let owner = key(Scheme::Ed25519);
            let chain = chain_of(&owner, 1);
            assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
            (owner, chain)
        })
        .collect();
    let padded = |subject: &str| {
        let Op::Revoke { target, reason, .. } = revoke(subject) else { return revoke(subject) };
        Op::Revoke { target, reason, text: Some("x".repeat(100)) }
    };
    // A stranger prepares chains, then fills the server, with an append that is large.
    let mut strangers: Vec<(SecretKey, Chain)> = (0..60)
        .map(|_| {
            let stranger = key(Scheme::Ed25519);
            let mut chain = Chain::new(stranger.public().identity()).unwrap();
            for n in 0..10 {
                append(
                    &mut chain,
                    add_number(&format!("github:s{n}"), n, None),
                    None,
                    &[&stranger],
                );
            }
            assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
            (stranger, chain)
        })
        .collect();
    loop {
        let stranger = key(Scheme::Ed25519);
        let mut chain = Chain::new(stranger.public().identity()).unwrap();
        for n in 0..900 {
            append(&mut chain, add_with_url(n), None, &[&stranger]);
        }
        if server.post(chain.name(), chain.lines()).unwrap().0 != 201 {
            break;
        }
    }
    // The server is in its reserve when smaller appends are refused, too.
    loop {
        let stranger = key(Scheme::Ed25519);
        let mut chain = Chain::new(stranger.public().identity()).unwrap();
        for n in 0..20 {
            append(&mut chain, add_with_url(n), None, &[&stranger]);
        }
        if server.post(chain.name(), chain.lines()).unwrap().0 != 201 {
            break;
        }
    }
    let mut taken = 0;
    for (stranger, chain) in &mut strangers {
        let from = chain.lines().len();
        for n in 0..10 {
            append(chain, padded(&format!("github:s{n}")), None, &[stranger]);
        }
        let lines = &chain.lines()[from..];
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let request = format!(
            "POST /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
             content-length: {}\r\n\r\n{body}",
            chain.name(),
            body.len()
        );
        let answer = talk(&mut connect_from(OTHER, &server), &request);
        taken += usize::from(answer.contains("201 Created"));
    }
    assert!(taken < 40, "{taken} of 60 padded appends were taken");
    for (owner, mut chain) in owners {
        let line = append(&mut chain, revoke("github:user0"), None, &[&owner]);
        assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
    }
}

#[test]
fn a_thiefs_branches_do_not_stop_the_owner() {
    let dir = TempDir::new().unwrap();
    let options = ["--chain-rate", "5", "--address-rate", "1000"];
    let server = Server::start(dir.path(), &options);
    let (owner, next) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    let commits = Some(commitment(next.public().identity()));
    append(&mut chain, add("github:owner"), commits, &[&owner]);
    let base = chain.clone();
    let to = next.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut chain, rotate, None, &[&next]);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    for n in 0..30 {
        let mut branch = base.clone();
        append(&mut branch, add(&format!("github:x{n}")), None, &[&owner]);
        assert!(server.post(base.name(), &branch.lines()[1..]).unwrap().0 >= 400);
    }
    let line = append(&mut chain, revoke("github:owner"), None, &[&next]);
    assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
}

/// Also revocations are bounded, by an allowance of their own.
#[test]
fn revocations_do_not_get_around_the_share_of_the_disk() {
    let dir = TempDir::new().unwrap();
    let options = ["--chain-rate", "1000", "--address-bytes", "20000", "--address-rate", "1000"];
    let server = Server::start(dir.path(), &options);
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    for n in 0..60 {
        append(&mut chain, add_number("github:a", n, None), None, &[&owner]);
    }
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    let from = chain.lines().len();
    for n in 0..60_usize {
        let target = Target::Claim(ObjectId::digest("claim", &n.to_be_bytes()));
        let reason = Reason::Compromised;
        append(&mut chain, Op::Revoke { target, reason, text: None }, None, &[&owner]);
    }
    // At once they are too large for the allowance of urgent appends.
    assert_eq!(
        code(server.post(chain.name(), &chain.lines()[from..]).unwrap(), 429),
        "rate_limited"
    );
    for line in &chain.lines()[from..from + 3] {
        assert_eq!(server.post(chain.name(), std::slice::from_ref(line)).unwrap().0, 201);
    }
}

#[test]
fn a_client_has_a_share_of_the_disk() {
    let dir = TempDir::new().unwrap();
    let options = ["--chain-rate", "100", "--address-bytes", "20000"];
    let server = Server::start(dir.path(), &options);
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 60);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    let other = chain_of(&key(Scheme::Ed25519), 1);
    assert_eq!(code(server.post(other.name(), other.lines()).unwrap(), 429), "rate_limited");
    // A revocation is taken, and another client's chain is.
    let line = append(&mut chain, revoke("github:user0"), None, &[&owner]);
    assert_eq!(server.post(chain.name(), &[line]).unwrap().0, 201);
    let body = other.to_bundle();
    let request = format!(
        "POST /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
         content-length: {}\r\n\r\n{body}",
        other.name(),
        body.len()
    );
    assert!(talk(&mut connect_from(OTHER, &server), &request).contains("201 Created"));
}

/// All lines of evidence, and what they and the stored chain are together.
fn evidence(server: &Server, chain: &Chain) -> (String, fork::Merge) {
    let path = format!("/v1/sigchains/{}", chain.name());
    let stored = server.text(&path).1;
    let mut copies = vec![Chain::replay(stored.as_bytes(), None, now()).unwrap()];
    let (status, lines) = server.text(&format!("{path}/fork"));
    assert_eq!(status, 200);
    for line in lines.lines() {
        let fork = Fork::from_json(line.as_bytes(), now()).unwrap();
        copies.extend([fork.branches().0.clone(), fork.branches().1.clone()]);
    }
    (lines, fork::merge(copies).unwrap())
}

/// KEZ-SRC-05, KEZ-SRC-21, KEZ-SRC-22
#[test]
fn a_thief_cannot_erase_the_owners_branch() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (owner, hidden) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let base = chain_of(&owner, 1);
    // The thief has the owner's key, appends first, and commits to a key of their own.
    let commits = Some(commitment(hidden.public().identity()));
    let mut thiefs = base.clone();
    append(&mut thiefs, add("github:thief"), commits, &[&owner]);
    assert_eq!(server.post(base.name(), thiefs.lines()).unwrap().0, 201);
    let mut owners = base.clone();
    append(&mut owners, revoke("github:user0"), None, &[&owner]);
    assert_eq!(code(server.post(base.name(), &owners.lines()[1..]).unwrap(), 409), "forked");
    // Forks between the thief's own branches, the last of which would settle them alone.
    for n in 0..80 {
        let mut branch = thiefs.clone();
        append(&mut branch, add(&format!("github:x{n}")), None, &[&owner]);
        server.post(base.name(), &branch.lines()[2..]).unwrap();
    }
    let mut settling = thiefs.clone();
    let to = hidden.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut settling, rotate, None, &[&hidden]);
    assert_eq!(server.post(base.name(), &settling.lines()[2..]).unwrap().0, 409);
    let (lines, merged) = evidence(&server, &base);
    assert!(lines.contains("\"revoke\""), "the owner's branch is gone");
    assert!(matches!(merged, fork::Merge::Fork(fork) if fork.seq() == 2));
    // The evidence outlives the process.
    server.terminate();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(evidence(&server, &base).0, lines);
}

/// KEZ-SRC-28
#[test]
fn evidence_that_is_cut_is_not_taken_for_complete() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    for n in 0..3500 {
        append(&mut chain, add_with_url(n), None, &[&owner]);
    }
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    for n in 0..4 {
        let mut branch = chain.truncated(3499 - n);
        append(&mut branch, add("github:other"), None, &[&owner]);
        let from = 3499 - n;
        assert_eq!(server.post(chain.name(), &branch.lines()[from..]).unwrap().0, 409);
    }
    let lines = server.get(&format!("/v1/sigchains/{}/fork", chain.name()));
    let lines = lines.into_body().into_with_config().limit(64 << 20).read_to_string().unwrap();
    let (forks, error) = fork::read_evidence(lines.as_bytes(), now());
    assert!((1..4).contains(&forks.len()), "{}", forks.len());
    assert!(error.is_some(), "it seems to be complete");
}

#[test]
fn the_branch_that_settles_is_found_among_all() {
    let (owner, paper) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut base = Chain::new(owner.public().identity()).unwrap();
    let commits = Some(commitment(paper.public().identity()));
    append(&mut base, add("github:owner"), commits, &[&owner]);
    let rotate = || {
        let to = paper.public().clone();
        Op::Rotate { to, reason: Reason::Compromised, compromised_since: None }
    };
    let mut owners = base.clone();
    append(&mut owners, rotate(), None, &[&paper]);
    append(&mut owners, add("github:owner2"), None, &[&paper]);
    let thiefs: Vec<Chain> = (0..3)
        .map(|n| {
            let mut thiefs = base.clone();
            append(&mut thiefs, add(&format!("github:thief{n}")), None, &[&owner]);
            append(&mut thiefs, add("github:more"), None, &[&owner]);
            thiefs
        })
        .collect();
    for place in 0..4 {
        let dir = TempDir::new().unwrap();
        let server = Server::start(dir.path(), &[]);
        let mut all = thiefs.clone();
        all.insert(place, owners.clone());
        for branch in &all {
            server.post(base.name(), branch.lines()).unwrap();
        }
        let served = server.text(&format!("/v1/sigchains/{}", base.name())).1;
        assert_eq!(served, owners.to_bundle(), "the owner came as number {place}");
        let (lines, merged) = evidence(&server, &base);
        assert!(matches!(merged, fork::Merge::Settled(chain) if *chain == owners));
        assert_eq!(lines.lines().count(), 3);
    }
}

#[test]
fn a_chain_counts_once_for_a_subject() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let crowd = key(Scheme::Ed25519);
    let mut chain = Chain::new(crowd.public().identity()).unwrap();
    for n in 0..110 {
        append(&mut chain, add_number("github:jason", n, None), None, &[&crowd]);
    }
    server.post(chain.name(), chain.lines()).unwrap();
    let mut names = vec![chain.name().to_string()];
    for _ in 0..104 {
        let key = key(Scheme::Ed25519);
        let mut chain = Chain::new(key.public().identity()).unwrap();
        append(&mut chain, add("github:jason"), None, &[&key]);
        assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
        names.push(chain.name().to_string());
    }
    let page = |after: u64| -> (Vec<String>, Option<u64>, u64) {
        let text = server.text(&format!("/v1/subjects/github:jason?after={after}")).1;
        let page: Value = serde_json::from_str(&text).unwrap();
        let all = page["claimants"].as_array().unwrap();
        let names = all.iter().map(|c| c["primary"].as_str().unwrap().to_owned()).collect();
        (names, page["next"].as_u64(), all[0]["seq"].as_u64().unwrap())
    };
    let (mut found, next, seq) = page(0);
    assert_eq!((found.len(), seq), (100, 110));
    let (rest, end, _) = page(next.unwrap());
    found.extend(rest);
    assert_eq!((found, end), (names, None));
}

/// KEZ-SRC-15, KEZ-SRC-27
#[test]
fn encodings_have_tags_of_their_own() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let chain = chain_of(&key(Scheme::Ed25519), 20);
    server.post(chain.name(), chain.lines()).unwrap();
    for query in ["", "?log=0"] {
        let url = format!("{}{query}", server.chain_url(chain.name()));
        let get = |encoding: &str, tag: &str| {
            let request = agent().get(&url).header("accept-encoding", encoding);
            request.header("if-none-match", tag).call().unwrap()
        };
        let (mut plain, mut packed) = (get("identity", ""), get("gzip", ""));
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert_eq!(packed.headers()["vary"].to_str().unwrap().to_lowercase(), "accept-encoding");
        let tag = |headers: &ureq::http::HeaderMap| headers["etag"].to_str().unwrap().to_owned();
        let (one, two) = (tag(plain.headers()), tag(packed.headers()));
        assert_ne!(one, two);
        let mut text = String::new();
        let body = packed.body_mut().as_reader();
        flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
        assert_eq!(plain.body_mut().read_to_string().unwrap(), text);
        assert_eq!(get("identity", &one).status(), 304);
        assert_eq!(get("gzip", &two).status(), 304);
        assert_eq!(get("gzip;q=0", &one).status(), 304);
        assert_eq!(get("gzip", &one).status(), 200);
    }
}

#[test]
fn a_data_folder_has_one_server() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let second = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(dir.path());
        command.env_remove("NATS_URL").output().unwrap()
    };
    let output = second();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("another process uses"), "{text}");
    assert_eq!(server.text("/healthz").0, 200);
    // The lock of a killed server is gone.
    server.kill();
    Server::start(dir.path(), &[]).terminate();
}

/// KEZ-SRC-25
#[test]
fn the_operator_removes_a_chain() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let owner: SecretKey = key(Scheme::Ed25519);
    let (chain, other) = (chain_of(&owner, 30), chain_of(&key(Scheme::Ed25519), 2));
    for chain in [&chain, &other] {
        server.post(chain.name(), chain.lines()).unwrap();
        assert_eq!(server.text(&format!("/v1/sigchains/{}", chain.name())).0, 200);
    }
    let operator = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
        let output = command.arg("--data").arg(&data).args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let (_, list) = operator(&["chain", "list"]);
    let names: Vec<&str> = list.lines().map(|line| line.split('\t').nth(3).unwrap()).collect();
    assert_eq!(names, ["chain", chain.name().as_str(), other.name().as_str()]);
    let (_, events) = operator(&["chain", "show", other.name().as_str()]);
    assert!(!events.contains('\u{1b}'));
    assert_eq!(events.lines().count(), 2);
    assert!(events.ends_with("\tadd\tgithub:user1\n"), "{events}");
    let remove = ["chain", "remove", chain.name().as_str(), "--reason", "spam\nof links"];
    let (done, text) = operator(&remove);
    assert!(done && text.contains(r"spam\nof links"), "{text}");
    let path = format!("/v1/sigchains/{}", chain.name());
    let end = Instant::now() + Duration::from_secs(10);
    while server.text(&path).0 == 200 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    // Not absent: a revocation in it cannot be read here.
    assert_eq!(server.text(&path).0, 403);
    assert_eq!(code(server.post(chain.name(), chain.lines()).unwrap(), 403), "chain_unreachable");
    assert_eq!(server.text(&format!("/v1/sigchains/{}", other.name())).1, other.to_bundle());
    assert_eq!(server.text("/v1/log/checkpoint").1.lines().nth(1), Some("2"));
    assert!(!operator(&remove).0);
    assert!(operator(&["chain", "list"]).1.contains("removed 2"));
    // It stays removed in a backup.
    let (backup, restored) = (dir.path().join("backup"), dir.path().join("restored"));
    assert!(operator(&["backup", backup.to_str().unwrap()]).0);
    server.terminate();
    fs::remove_dir_all(&data).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
    command.arg("--data").arg(&restored).arg("restore").arg(&backup);
    assert!(command.status().unwrap().success());
    let server = Server::start(&restored, &[]);
    assert_eq!(server.text(&path).0, 403);
    assert_eq!(server.text("/v1/log/checkpoint").1.lines().nth(1), Some("2"));
}

#[cfg(target_os = "linux")]
#[test]
fn slow_readers_share_a_large_chain() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--address-connections", "200"]);
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    for n in 0..3500 {
        append(&mut chain, add_with_url(n), None, &[&owner]);
    }
    let bundle = chain.to_bundle();
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    let before = attack::memory(&server);
    for encoding in ["identity", "gzip"] {
        let request = format!(
            "GET /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\naccept-encoding: {encoding}\r\n\r\n",
            chain.name()
        );
        let mut readers: Vec<TcpStream> = (0..40).map(|_| connect_from(OTHER, &server)).collect();
        for reader in &mut readers {
            assert!(talk(reader, &request).contains("200 OK"));
        }
        let more = attack::memory(&server).saturating_sub(before);
        let copies = more as usize * (1 << 20) / bundle.len();
        assert!(copies < 15, "{encoding}: {more} MiB for 40 readers");
        assert_eq!(server.text("/healthz").0, 200);
    }
}
