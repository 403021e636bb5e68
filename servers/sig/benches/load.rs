//! The real server, a process of its own, under load while its store grows: throughput, latencies,
//! memory and disk. Beside it, in the same run, SQLite with one transaction a request and no
//! network at all, and nginx (where it is installed) serving the same bundles as files. The
//! numbers of one run compare; nothing else does.
//!
//!     cargo xtask bench sig [events in the store]...
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use kez_core::{Chain, Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp};
use std::{
    fs,
    io::{BufRead as _, BufReader as StdReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// Events of each chain before the measurement.
const EVENTS: usize = 10;
/// Requests of one measurement.
const PROBES: usize = 4000;
/// Connections at full load.
const FULL: usize = 64;
/// Connections where latency is looked at.
const FEW: usize = 4;

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Resident memory in MiB, where the system says so.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0u64) / 1024
    }
}

fn server(data: &Path) -> (Running, SocketAddr) {
    let most = u32::MAX.to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"))
        .args(["--listen", "127.0.0.1:0", "--address-rate", &most, "--chain-rate", &most])
        .args(["--read-rate", &most, "--address-bytes", &most, "--address-cpu", &most])
        .args(["--address-connections", &most, "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    StdReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    (Running(child), address)
}

/// The n-th owner: the same in every run.
fn owner(n: usize) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(Scheme::Ed25519, seed).unwrap()
}

fn chain(n: usize, events: usize, now: Timestamp) -> Chain {
    let key = owner(n);
    let mut chain = Chain::new(key.public().identity()).unwrap();
    for _ in 0..events {
        grow(&mut chain, &key, now);
    }
    chain
}

fn grow(chain: &mut Chain, key: &SecretKey, now: Timestamp) {
    let seq = chain.lines().len();
    let subject = format!("github:u{}", &chain.name().as_str()[8..40]);
    let subject = Identity::from_canonical(&subject).unwrap();
    let claim = ObjectId::digest("claim", format!("{subject}{seq}").as_bytes());
    let op = Op::Add { subject, claim, account: None, url: None };
    let event = Event::new(chain.name().clone(), chain.head(), now, op);
    let mut envelope = event.to_envelope().unwrap();
    envelope.sign(key, &[0; 32]).unwrap();
    chain.append(&envelope, now).unwrap();
}

fn post(chain: &Chain, from: usize) -> Vec<u8> {
    let body: String = chain.lines()[from..].iter().map(|line| format!("{line}\n")).collect();
    format!(
        "POST /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
         content-length: {}\r\n\r\n{body}",
        chain.name(),
        body.len()
    )
    .into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
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

/// What a measurement gave.
struct Measured {
    rate: f64,
    times: Vec<Duration>,
}

impl Measured {
    fn at(&self, part: f64) -> f64 {
        self.times[((self.times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0
    }

    fn row(&self, what: &str) {
        println!("| {what} | {:.0} | {:.2} | {:.2} |", self.rate, self.at(0.5), self.at(0.99));
    }
}

/// Sends requests over many connections, each waiting for its answers.
async fn drive(
    address: SocketAddr,
    connections: usize,
    count: usize,
    wanted: u16,
    request: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Measured {
    let (request, next) = (Arc::new(request), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (request, next) = (request.clone(), next.clone());
            tokio::spawn(async move {
                let mut connection = BufReader::new(TcpStream::connect(address).await.unwrap());
                connection.get_ref().set_nodelay(true).unwrap();
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return times;
                    }
                    let request = request(n);
                    let start = Instant::now();
                    assert_eq!(ask(&mut connection, &request).await, wanted);
                    times.push(start.elapsed());
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await.unwrap());
    }
    times.sort_unstable();
    Measured { rate: count as f64 / start.elapsed().as_secs_f64(), times }
}

/// The peer of appends: the same rows, a transaction each, as durable.
fn naive(dir: &Path, now: Timestamp) -> Measured {
    let db = rusqlite::Connection::open(dir.join("naive.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE events (chain TEXT, seq INTEGER, line TEXT, PRIMARY KEY (chain, seq)) WITHOUT ROWID",
    )
    .unwrap();
    let chains: Vec<Chain> = (0..PROBES / EVENTS).map(|n| chain(n, EVENTS, now)).collect();
    let (start, mut times) = (Instant::now(), Vec::new());
    for chain in &chains {
        for (seq, line) in (1_i64..).zip(chain.lines()) {
            let start = Instant::now();
            let sql = "INSERT INTO events VALUES (?, ?, ?)";
            db.execute(sql, (chain.name().as_str(), seq, line)).unwrap();
            times.push(start.elapsed());
        }
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    Measured { rate, times }
}

/// The peer of reads: nginx with the same bundles as files.
async fn nginx(dir: &Path, names: &[(String, String)]) -> Option<Measured> {
    let root = dir.join("files/v1/sigchains");
    fs::create_dir_all(&root).unwrap();
    for (name, bundle) in names {
        fs::write(root.join(name), bundle).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = dir.join("nginx.conf");
    let place = dir.display();
    let text = format!(
        "worker_processes auto; pid {place}/nginx.pid; error_log {place}/nginx.log; daemon off;
         events {{ worker_connections 1024; }}
         http {{ access_log off; default_type application/jsonl; sendfile on; tcp_nopush on;
           keepalive_requests 1000000; open_file_cache max=10000;
           server {{ listen 127.0.0.1:{port}; root {place}/files; }} }}"
    );
    fs::write(&conf, text).unwrap();
    let nginx = Command::new("nginx").arg("-c").arg(&conf).stderr(Stdio::null()).spawn().ok()?;
    let nginx = Running(nginx);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..50 {
        if TcpStream::connect(address).await.is_ok() {
            let paths: Vec<String> =
                names.iter().map(|(name, _)| format!("/v1/sigchains/{name}")).collect();
            let result =
                drive(address, FULL, PROBES, 200, move |n| get(&paths[n % paths.len()])).await;
            // Its workers are not its parent's to kill.
            let _ = Command::new("kill").arg(nginx.0.id().to_string()).status();
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Some(result);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

fn disk(data: &Path) -> u64 {
    let files = ["sigchains.db", "sigchains.db-wal"];
    files.iter().filter_map(|name| Some(data.join(name).metadata().ok()?.len())).sum()
}

#[tokio::main]
async fn main() {
    let mut sizes: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 100_000];
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = Timestamp::since_epoch(since);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (server, address) = server(&data);
    println!("chains of {EVENTS} events; {FULL} connections, but {FEW} where it says few\n");
    println!("| what | a second | p50, ms | p99, ms |\n|---|---|---|---|");
    let peer = naive(dir.path(), now);
    peer.row("peer: rusqlite, a transaction an event");
    let (mut chains, mut lengths, mut first) = (0, Vec::new(), None);
    for size in sizes {
        let wanted = size / EVENTS;
        let base = chains;
        let fill = move |n: usize| post(&chain(base + n, EVENTS, now), 0);
        drive(address, FULL, wanted.saturating_sub(chains), 201, fill).await;
        chains = chains.max(wanted);
        println!(
            "| **{size} events in {chains} chains** | {} MiB memory | {} bytes an event | |",
            server.memory(),
            disk(&data) / size as u64
        );
        // One event for each of these chains, which lie all over the store.
        lengths.resize(chains, EVENTS);
        let all = chains;
        let mut ready = Vec::new();
        for n in (0..PROBES.min(all)).map(|n| n * (all / PROBES.min(all))) {
            ready.push(post(&chain(n, lengths[n] + 1, now), lengths[n]));
            lengths[n] += 1;
        }
        let (count, half) = (ready.len(), ready.len() / 2);
        let ready = Arc::new(ready);
        let these = ready.clone();
        let few = drive(address, FEW, half, 201, move |n| these[n].clone()).await;
        few.row("append, few");
        let full = drive(address, FULL, count - half, 201, move |n| ready[half + n].clone()).await;
        full.row("append");
        let path =
            move |n: usize| format!("/v1/sigchains/{}", owner(n * 7919 % all).public().identity());
        let paths: Arc<Vec<String>> = Arc::new((0..PROBES).map(path).collect());
        for (what, more) in [
            ("read a chain, for the first time or again", ""),
            ("read a chain, again", ""),
            ("… with proof", "?log=0"),
            ("read a head", "/head"),
        ] {
            let paths = paths.clone();
            let read =
                drive(address, FULL, PROBES, 200, move |n| get(&format!("{}{more}", paths[n])));
            read.await.row(what);
        }
        let before = first.get_or_insert((few.at(0.5), full.rate));
        println!(
            "| latency of an append, few, against the first store | {:.2} times | | |",
            few.at(0.5) / before.0
        );
        println!("| appends against the peer | {:.1} times | | |", full.rate / peer.rate);
    }
    let names: Vec<(String, String)> = (0..chains.min(1000))
        .map(|n| {
            let chain = chain(n, EVENTS, now);
            (chain.name().to_string(), chain.to_bundle())
        })
        .collect();
    drive(address, FULL, PROBES, 200, |_| get("/healthz")).await.row("no work at all (/healthz)");
    match nginx(dir.path(), &names).await {
        Some(nginx) => nginx.row("peer: nginx, the bundles as files"),
        None => println!("| peer: nginx is not installed | | | |"),
    }
}
