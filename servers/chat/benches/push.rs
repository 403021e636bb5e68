//! The real server, a process of its own: from a POST to every open stream, durably stored in
//! between; a flood; what idle streams cost. Beside it, in the same run, nginx with nchan and
//! nats-server (where they are installed), which store nothing. The numbers of one run compare;
//! nothing else does.
//!
//!     cargo xtask bench chat [subscribers] [idle streams]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Person, Server, base64, id};
use kez_core::chat::auth::{Binds, Request};
use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Messages of a paced measurement, and the pause between two.
const PACED: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// For how long the flood lasts.
const FLOOD: Duration = Duration::from_secs(3);
/// What stands at the start of each text that is sent: its number follows.
const MARK: &str = "bench-";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's workers are not its parent's to kill.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory of a process and its children in KiB.
fn memory(id: u32) -> u64 {
    let of = |id: u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
    };
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    of(id) + children.split_whitespace().filter_map(|child| child.parse().ok()).map(of).sum::<u64>()
}

/// When the message of a number was sent, and when it came.
struct Clock {
    start: Instant,
    sent: Vec<AtomicU64>,
    delays: Mutex<Vec<u32>>,
    deliveries: AtomicU64,
    paced: AtomicBool,
}

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            sent: (0..PACED).map(|_| AtomicU64::new(0)).collect(),
            delays: Mutex::default(),
            deliveries: AtomicU64::new(0),
            paced: AtomicBool::new(true),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }
}

/// Reads a stream of any of the servers: every mark in it is a delivery.
async fn subscribe(
    address: SocketAddr,
    hello: Vec<u8>,
    marks: Arc<Vec<Vec<u8>>>,
    clock: Arc<Clock>,
) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&hello).await.unwrap();
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = socket.read(&mut buffer).await {
        if read == 0 {
            return;
        }
        let now = clock.now();
        kept.extend_from_slice(&buffer[..read]);
        let (mut at, mut delays) = (0, Vec::new());
        for mark in marks.iter() {
            while let Some(found) = find(&kept[at..], mark) {
                let from = at + found + mark.len();
                // The number has four digits, or what they are in base64.
                let Some(number) = kept.get(from..from + 4) else { break };
                at = from + 4;
                clock.deliveries.fetch_add(1, Ordering::Relaxed);
                let number = std::str::from_utf8(number).ok().and_then(|n| n.parse::<usize>().ok());
                if let Some(number) = number
                    && clock.paced.load(Ordering::Relaxed)
                    && let Some(sent) = clock.sent.get(number)
                {
                    let delay = now.saturating_sub(sent.load(Ordering::Relaxed));
                    delays.push(u32::try_from(delay).unwrap());
                }
            }
        }
        clock.delays.lock().unwrap().append(&mut delays);
        // A mark may be cut in two.
        let keep = kept.len().saturating_sub(32).max(at);
        kept.drain(..keep);
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

/// A text of 300 bytes with its number.
fn text(number: usize) -> String {
    format!("{MARK}{:04}{}", number % 10_000, "x".repeat(290))
}

/// How a message is posted: gives back when it was taken.
trait Publisher {
    async fn publish(&mut self, number: usize);
}

/// Posts by HTTP over one connection.
struct Http<F>(TcpStream, F);

impl<F: FnMut(usize) -> Vec<u8>> Publisher for Http<F> {
    async fn publish(&mut self, number: usize) {
        let request = (self.1)(number);
        self.0.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        let mut byte = [0; 4096];
        // Head and body, by its length.
        loop {
            let read = self.0.read(&mut byte).await.unwrap();
            assert!(read > 0, "the server hung up");
            answer.extend_from_slice(&byte[..read]);
            let Some(head) = find(&answer, b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |n| n.trim().parse().unwrap());
            if answer.len() >= head + 4 + length {
                let status = &answer[9..12];
                assert!(status.starts_with(b"2"), "{}", String::from_utf8_lossy(&answer));
                return;
            }
        }
    }
}

struct Nats(TcpStream);

impl Publisher for Nats {
    async fn publish(&mut self, number: usize) {
        let text = text(number);
        let message = format!("PUB bench {}\r\n{text}\r\n", text.len());
        self.0.write_all(message.as_bytes()).await.unwrap();
    }
}

/// What came of one server.
struct Measured {
    p50: f64,
    p99: f64,
    flood: f64,
}

async fn measure(clock: Arc<Clock>, subscribers: usize, mut publisher: impl Publisher) -> Measured {
    for number in 0..PACED {
        clock.sent[number].store(clock.now(), Ordering::Relaxed);
        publisher.publish(number).await;
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    clock.paced.store(false, Ordering::Relaxed);
    let mut delays = std::mem::take(&mut *clock.delays.lock().unwrap());
    delays.sort_unstable();
    let all = PACED * subscribers;
    if delays.len() != all {
        println!("  ({} of {all} deliveries were seen)", delays.len());
    }
    let at = |part: f64| -> f64 {
        let last = delays.len().saturating_sub(1);
        delays.get((last as f64 * part) as usize).map_or(f64::NAN, |n| f64::from(*n) / 1000.0)
    };
    let (before, start) = (clock.deliveries.load(Ordering::Relaxed), Instant::now());
    let mut number = PACED;
    while start.elapsed() < FLOOD {
        publisher.publish(number).await;
        number += 1;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let flood = (clock.deliveries.load(Ordering::Relaxed) - before) as f64;
    Measured { p50: at(0.5), p99: at(0.99), flood: flood / start.elapsed().as_secs_f64() }
}

fn show(name: &str, measured: &Measured, note: &str) {
    let Measured { p50, p99, flood } = measured;
    println!("{name:<28} {p50:>8.1} {p99:>8.1} {flood:>12.0}   {note}");
}

fn ours(runtime: &tokio::runtime::Runtime, subscribers: usize) -> (Measured, String) {
    let dir = TempDir::new().unwrap();
    let many = ["--streams", "1000000", "--connections", "100000", "--inbox-items", "10000000"];
    let server = Server::start(dir.path(), &many);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let address: SocketAddr = server.address().parse().unwrap();
    let clock = Clock::new();
    let origin = server.url().to_owned();
    let device = common::client::copy(&alice.devices[0]);
    let post = move |number: usize| {
        // The text is not plain to see, so its number stands in the entry's name.
        let name = format!("{number:04}{}", &id(14));
        let body = json!({
            "conversation": conversation, "id": name, "body": base64(text(number).as_bytes()),
        })
        .to_string();
        let (path, at_ms) = ("/v1/messages", common::now_ms());
        let binds = Binds::Body(body.as_bytes());
        let request = Request { origin: &origin, method: "POST", path, binds, at_ms };
        let auth = request.sign(&device).unwrap().to_header();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             authorization: {auth}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    // The entry's name begins with the number: that is what is looked for.
    let marks = Arc::new(vec![b"\"id\":\"".to_vec()]);
    let hellos: Vec<Vec<u8>> = (0..subscribers)
        .map(|_| {
            let query = bob.stream_query(&server, 0);
            format!("GET /v1/inbox/bob/stream?{query} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
        })
        .collect();
    let before = memory(server.0.child.id());
    let measured = runtime.block_on(async {
        for hello in hellos {
            tokio::spawn(subscribe(address, hello, marks.clone(), clock.clone()));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let socket = TcpStream::connect(address).await.unwrap();
        measure(clock, subscribers, Http(socket, post)).await
    });
    let grown = memory(server.0.child.id()).saturating_sub(before);
    (measured, format!("durable; {:.1} KiB a subscriber", grown as f64 / subscribers as f64))
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait(address: SocketAddr) -> bool {
    (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        std::net::TcpStream::connect(address).is_ok()
    })
}

fn nchan(runtime: &tokio::runtime::Runtime, dir: &Path, subscribers: usize) -> Option<Measured> {
    let module = Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so");
    if !module.exists() {
        return None;
    }
    let (port, place) = (port(), dir.display());
    let conf = format!(
        "load_module {}; worker_processes auto; worker_rlimit_nofile 20000;
         pid {place}/nginx.pid; error_log {place}/nginx.log; daemon off;
         events {{ worker_connections 20000; }}
         http {{ access_log off;
           client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
           uwsgi_temp_path {place}; scgi_temp_path {place};
           server {{ listen 127.0.0.1:{port}; keepalive_requests 10000000;
             location /pub {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 10; }}
             location /sub {{ nchan_subscriber eventsource; nchan_channel_id bench;
                              nchan_subscriber_first_message newest; }} }} }}",
        module.display()
    );
    fs::write(dir.join("nginx.conf"), conf).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(dir.join("nginx.conf")).stderr(Stdio::null());
    let nginx = Running(nginx.spawn().ok()?);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if !wait(address) {
        return None;
    }
    let clock = Clock::new();
    let marks = Arc::new(vec![MARK.as_bytes().to_vec()]);
    let post = |number: usize| {
        let body = text(number);
        format!(
            "POST /pub HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let measured = runtime.block_on(async {
        for _ in 0..subscribers {
            let hello =
                b"GET /sub HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n".to_vec();
            tokio::spawn(subscribe(address, hello, marks.clone(), clock.clone()));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let socket = TcpStream::connect(address).await.unwrap();
        measure(clock, subscribers, Http(socket, post)).await
    });
    drop(nginx);
    Some(measured)
}

fn nats(runtime: &tokio::runtime::Runtime, subscribers: usize) -> Option<Measured> {
    let port = port();
    let mut server = Command::new("nats-server");
    server.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
    let server = Running(server.stderr(Stdio::null()).stdout(Stdio::null()).spawn().ok()?);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if !wait(address) {
        return None;
    }
    let clock = Clock::new();
    let marks = Arc::new(vec![MARK.as_bytes().to_vec()]);
    let connect = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    let measured = runtime.block_on(async {
        for _ in 0..subscribers {
            let hello = [&connect[..], b"SUB bench 1\r\n"].concat();
            tokio::spawn(subscribe(address, hello, marks.clone(), clock.clone()));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(connect).await.unwrap();
        measure(clock, subscribers, Nats(socket)).await
    });
    drop(server);
    Some(measured)
}

/// Opens streams that nobody writes to, each on an inbox of its own or a few.
fn idle(count: usize) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--streams", "1000000", "--connections", "100000"]);
    let people: Vec<Person> =
        (0..100).map(|n| Person::join(&format!("person{n}"), &server)).collect();
    let before = memory(server.0.child.id());
    let mut sockets = Vec::with_capacity(count);
    for n in 0..count {
        let person = &people[n % people.len()];
        let query = person.stream_query(&server, 0);
        let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
        let hello =
            format!("GET /v1/inbox/{}/stream?{query} HTTP/1.1\r\nhost: x\r\n\r\n", person.handle);
        std::io::Write::write_all(&mut socket, hello.as_bytes()).unwrap();
        sockets.push(socket);
    }
    std::thread::sleep(Duration::from_secs(17));
    let after = memory(server.0.child.id());
    println!(
        "{count} idle streams: {:.1} MiB in all, {:.1} KiB each",
        after as f64 / 1024.0,
        after.saturating_sub(before) as f64 / count as f64
    );
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let subscribers = numbers.first().copied().unwrap_or(1000);
    let idle_streams = numbers.get(1).copied().unwrap_or(8000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = TempDir::new().unwrap();
    println!("{subscribers} subscribers of one channel, 300 bytes a message");
    println!("{:<28} {:>8} {:>8} {:>12}", "", "p50 ms", "p99 ms", "flood /s");
    let (measured, note) = ours(&runtime, subscribers);
    show("kez-chat-server", &measured, &note);
    match nchan(&runtime, dir.path(), subscribers) {
        Some(peer) => {
            show("nginx + nchan", &peer, "in memory");
            println!(
                "{:<28} {:>8.2} {:>8.2} {:>12.2}   ours to nchan's",
                "ratio",
                measured.p50 / peer.p50,
                measured.p99 / peer.p99,
                measured.flood / peer.flood
            );
        }
        None => println!("nginx + nchan: not installed"),
    }
    match nats(&runtime, subscribers) {
        Some(peer) => show("nats-server", &peer, "in memory"),
        None => println!("nats-server: not installed"),
    }
    drop(runtime);
    idle(idle_streams);
}
