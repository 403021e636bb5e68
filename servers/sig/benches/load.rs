//! Appends and reads over loopback, many at once: throughput and latencies, beside SQLite with one
//! transaction a request and no network at all. The numbers of one run compare; nothing else does.
//!
//!     cargo xtask bench sig [chains] [events of each]
#![allow(clippy::unwrap_used, missing_docs)]

use kez_core::{Chain, Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp};
use kez_sig_server::{
    Limits, Server,
    store::{Options, Store},
};
use std::{
    num::NonZeroU32,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const CONNECTIONS: usize = 64;

fn chain(n: usize, events: usize, now: Timestamp) -> Chain {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let key = SecretKey::from_bytes(Scheme::Ed25519, seed).unwrap();
    let mut chain = Chain::new(key.public().identity()).unwrap();
    for event in 0..events {
        let subject = Identity::from_canonical(&format!("github:user{n}-{event}")).unwrap();
        let claim = ObjectId::digest("claim", subject.as_str().as_bytes());
        let op = Op::Add { subject, claim, account: None, url: None };
        let event = Event::new(chain.name().clone(), chain.head(), now, op);
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        chain.append(&envelope, now).unwrap();
    }
    chain
}

/// One request on a connection that stays open; gives the status.
async fn ask(connection: &mut BufReader<TcpStream>, request: &[u8]) -> u16 {
    connection.write_all(request).await.unwrap();
    let (mut status, mut length) = (0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        connection.read_line(&mut line).await.unwrap();
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(n) = text.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = n.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.unwrap();
    status
}

/// Sends requests over many connections, each waiting for its answers; prints what it took.
async fn drive(
    what: &str,
    address: std::net::SocketAddr,
    groups: Vec<Vec<Vec<u8>>>,
    wanted: u16,
) -> f64 {
    let count: usize = groups.iter().map(Vec::len).sum();
    let (groups, next) = (Arc::new(groups), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (groups, next) = (groups.clone(), next.clone());
            tokio::spawn(async move {
                let mut connection = BufReader::new(TcpStream::connect(address).await.unwrap());
                connection.get_ref().set_nodelay(true).unwrap();
                let mut times = Vec::new();
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for request in group {
                        let start = Instant::now();
                        assert_eq!(ask(&mut connection, request).await, wanted);
                        times.push(start.elapsed());
                    }
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await.unwrap());
    }
    report(what, count, start.elapsed(), times)
}

fn report(what: &str, count: usize, took: Duration, mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let rate = count as f64 / took.as_secs_f64();
    println!("| {what} | {count} | {rate:.0} | {:.2} | {:.2} |", at(0.5), at(0.99));
    rate
}

/// The peer: the same rows, a transaction each, as durable.
fn naive(dir: &Path, chains: &[Chain]) -> f64 {
    let db = rusqlite::Connection::open(dir.join("naive.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE events (chain TEXT, seq INTEGER, line TEXT, PRIMARY KEY (chain, seq)) WITHOUT ROWID",
    )
    .unwrap();
    let (start, mut times) = (Instant::now(), Vec::new());
    for chain in chains {
        for (seq, line) in (1_i64..).zip(chain.lines()) {
            let start = Instant::now();
            let sql = "INSERT INTO events VALUES (?, ?, ?)";
            db.execute(sql, (chain.name().as_str(), seq, line)).unwrap();
            times.push(start.elapsed());
        }
    }
    report("peer: rusqlite, a transaction each", times.len(), start.elapsed(), times)
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let (count, events) =
        (numbers.first().copied().unwrap_or(2000), numbers.get(1).copied().unwrap_or(5));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = Timestamp::since_epoch(since);
    let chains: Vec<Chain> = (0..count).map(|n| chain(n, events, now)).collect();
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path(), &Options::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (per_address, per_chain) = (NonZeroU32::MAX, NonZeroU32::MAX);
    let limits = Limits { per_address, per_chain, ..Limits::default() };
    let server = Server { limits, ..Server::new(store) };
    tokio::spawn(server.serve(listener, std::future::pending()));

    let post = |chain: &Chain| -> Vec<Vec<u8>> {
        let head = format!(
            "POST /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl",
            chain.name()
        );
        let one = |line: &String| {
            format!("{head}\r\ncontent-length: {}\r\n\r\n{line}\n", line.len() + 1).into_bytes()
        };
        chain.lines().iter().map(one).collect()
    };
    println!("{count} chains of {events} events, {CONNECTIONS} connections\n");
    println!("| what | requests | a second | p50, ms | p99, ms |\n|---|---|---|---|---|");
    let peer = naive(dir.path(), &chains);
    let own = drive("append, durable", address, chains.iter().map(post).collect(), 201).await;
    let gets = |path: &str| -> Vec<Vec<Vec<u8>>> {
        let one = |c: &Chain| {
            format!("GET /v1/sigchains/{}{path} HTTP/1.1\r\nhost: x\r\n\r\n", c.name()).into_bytes()
        };
        chains.iter().map(|chain| vec![one(chain); 5]).collect()
    };
    drive("read a chain", address, gets(""), 200).await;
    drive("read a chain with proof", address, gets("?log=0"), 200).await;
    drive("read a head", address, gets("/head"), 200).await;
    let bytes: u64 = ["sigchains.db", "sigchains.db-wal"]
        .iter()
        .filter_map(|name| Some(dir.path().join(name).metadata().ok()?.len()))
        .sum();
    println!(
        "\nappends against the peer: {:.1} times; on disk: {} bytes an event",
        own / peer,
        bytes / (count * events) as u64
    );
}
