//! Attacks on the real server by one address, and what a client at another address sees
//! meanwhile.
//!
//!     cargo xtask bench abuse sig [seconds for each attack]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{add, agent, append, chain_of, key};
use kez_core::{Chain, Identity, ObjectId, Op, Scheme, SecretKey};
use kez_server::testing::{
    Process,
    attack::{Attack, COLUMNS, attack},
};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

fn post(chain: &str, length: usize, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/sigchains/{chain} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n").into_bytes()
}

/// An `add` of a claim that no other has.
fn numbered(count: &mut u32) -> Op {
    *count += 1;
    Op::Add {
        subject: Identity::from_canonical("github:mine").unwrap(),
        claim: ObjectId::digest("claim", &count.to_be_bytes()),
        account: None,
        url: None,
    }
}

/// A chain of events of about 2 KB, and its key.
fn large(events: usize) -> (SecretKey, Chain) {
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    for n in 0..events {
        let op = Op::Add {
            subject: Identity::from_canonical("dns:a.example").unwrap(),
            claim: ObjectId::digest("claim", &n.to_be_bytes()),
            account: None,
            url: Some(format!("https://a.example/{n:01900}")),
        };
        append(&mut chain, op, None, &[&owner]);
    }
    (owner, chain)
}

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next();
    let time = Duration::from_secs(seconds.unwrap_or(10));
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(dir.path());
    // The honest client of this bench asks more often than people do.
    command.args(["--chain-rate", "1000000", "--read-rate", "100000", "--address-rate", "3000"]);
    command.env_remove("NATS_URL");
    let server = Process::start(command.stderr(Stdio::null()));

    let (_, big) = large(9000);
    let url = |name: &Identity| format!("{}/v1/sigchains/{name}", server.url);
    let send = |chain: &Identity, body: String| {
        let request = agent().post(url(chain)).content_type("application/jsonl");
        request.send(body).map(|response| response.status().as_u16()).map_err(|e| e.to_string())
    };
    assert_eq!(send(big.name(), big.to_bundle()), Ok(201));
    let (thief, victim) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let stolen = chain_of(&thief, 5000);
    assert_eq!(send(stolen.name(), stolen.to_bundle()), Ok(201));
    let watched = chain_of(&victim, 1);
    assert_eq!(send(watched.name(), watched.to_bundle()), Ok(201));
    let diverging = |number: u64| {
        let at = 4999 - (number % 4000) as usize;
        let mut branch = stolen.truncated(at);
        let line = append(&mut branch, add(&format!("github:x{number}")), None, &[&thief]);
        post(stolen.name().as_str(), line.len() + 1, &format!("{line}\n"))
    };
    let fresh = |number: u64| {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let key = SecretKey::from_bytes(Scheme::Ed25519, seed).unwrap();
        let body = chain_of(&key, 100).to_bundle();
        post(key.public().identity().as_str(), body.len(), &body)
    };
    let first = watched.to_bundle();
    let garbage = post(watched.name().as_str(), 3, "{}\n");
    let (health, read) = (get("/healthz"), get(&format!("/v1/sigchains/{}", watched.name())));
    let big_path = format!("/v1/sigchains/{}", big.name());
    let stream = get(&format!("/v1/sigchains/{}/stream", watched.name()));
    let pause = Duration::from_millis(20);
    let attacks = [
        Attack { name: "none", connections: 0, first: &|_| Vec::new(), more: b"", reads: 0, pause },
        Attack {
            name: "5,000 idle connections",
            connections: 5_000,
            first: &|_| health.clone(),
            more: b"",
            reads: 4096,
            pause,
        },
        Attack {
            name: "5,000 streams",
            connections: 5_000,
            first: &|_| stream.clone(),
            more: b"",
            reads: 4096,
            pause,
        },
        Attack {
            name: "bodies that do not end",
            connections: 480,
            first: &|_| post(watched.name().as_str(), 33_000_000, &first),
            more: &[b'x'; 16_384],
            reads: 4096,
            pause,
        },
        Attack {
            name: "slow readers of a chain of 20 MB",
            connections: 600,
            first: &|_| get(&big_path),
            more: b"",
            reads: 64,
            pause: Duration::from_millis(200),
        },
        Attack {
            name: "slow readers without gzip",
            connections: 600,
            first: &|_| format!("GET {big_path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes(),
            more: b"",
            reads: 64,
            pause: Duration::from_millis(200),
        },
        Attack {
            name: "events that diverge from a chain of 5,000",
            connections: 32,
            first: &diverging,
            more: b"",
            reads: 4096,
            pause,
        },
        Attack {
            name: "garbage for the honest client's chain",
            connections: 64,
            first: &|_| garbage.clone(),
            more: &garbage,
            reads: 4096,
            pause: Duration::from_millis(1),
        },
        Attack {
            name: "reads",
            connections: 64,
            first: &|_| read.clone(),
            more: &read,
            reads: 65_536,
            pause: Duration::from_millis(1),
        },
        Attack {
            name: "new chains of 100 events",
            connections: 32,
            first: &fresh,
            more: b"",
            reads: 4096,
            pause,
        },
    ];
    println!("{COLUMNS}");
    let mut worst = 0.0_f64;
    let (mut mine, mut count) = (watched.clone(), 0_u32);
    for one in &attacks {
        let seen = attack(&server, dir.path(), one, time, |note| {
            let start = Instant::now();
            let line = append(&mut mine, numbered(&mut count), None, &[&victim]);
            let status = send(mine.name(), format!("{line}\n"))?;
            note(start.elapsed());
            if status != 201 {
                return Err(format!("an append: {status}"));
            }
            let start = Instant::now();
            let answer = agent().get(format!("{}?log=0", url(mine.name()))).call();
            let body = answer.and_then(|mut answer| answer.body_mut().read_to_vec());
            let body = body.map_err(|e| e.to_string())?;
            note(start.elapsed());
            let (bundle, _) = kez_core::log::Proof::split(&body);
            if bundle.len() != mine.to_bundle().len() {
                return Err("another chain".into());
            }
            let start = Instant::now();
            let health = agent().get(format!("{}/healthz", server.url)).call();
            note(start.elapsed());
            health.map(drop).map_err(|e| e.to_string())
        });
        println!("{seen}");
        worst = worst.max(seen.p99());
    }
    println!("the worst p99: {worst:.0} ms");
}
