//! The real server, a process of its own: from a POST to every open stream, durably stored in
//! between; a flood; what idle streams cost. Beside it, in the same run, nginx with nchan and
//! nats-server (where they are installed), which store nothing. The numbers of one run compare;
//! nothing else does.
//!
//!     cargo xtask bench chat [subscribers] [idle streams]
//!
//! And one, two and three servers on one nats-server with JetStream, beside that nats-server alone:
//!
//!     cargo xtask bench nats [subscribers]...
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{
    Person, Server, base64, id,
    several::{Front, command, folders},
};
use kez_core::{
    SecretKey,
    chat::auth::{Binds, Request},
};
use kez_server::testing;
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
/// What each subscriber of several servers needs of it.
const PART: Duration = Duration::from_micros(50);
/// How many write at once, to see how many messages are taken a second.
const WRITERS: usize = 32;
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

async fn measure(
    clock: Arc<Clock>,
    subscribers: usize,
    pause: Duration,
    mut publisher: impl Publisher,
) -> Measured {
    for number in 0..PACED {
        clock.sent[number].store(clock.now(), Ordering::Relaxed);
        publisher.publish(number).await;
        tokio::time::sleep(pause).await;
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

/// Requests of somebody who posts a text of a number.
fn post(
    server: &Server,
    writer: &Person,
    conversation: String,
) -> impl FnMut(usize) -> Vec<u8> + use<> {
    let origin = server.url().to_owned();
    let device: SecretKey = common::client::copy(&writer.devices[0]);
    move |number: usize| {
        // The text is not plain to see, so its number stands in the entry's name.
        let name = format!("{:04}{}", number % 10_000, &id(14));
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
    }
}

/// The entry's name begins with the number: that is what is looked for.
fn marks() -> Arc<Vec<Vec<u8>>> {
    Arc::new(vec![b"\"id\":\"".to_vec()])
}

/// What opens a stream of somebody's inbox.
fn hello(server: &Server, reader: &Person) -> Vec<u8> {
    let query = reader.stream_query(server, 0);
    let handle = &reader.handle;
    format!("GET /v1/inbox/{handle}/stream?{query} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

const MANY: [&str; 8] = [
    "--streams",
    "1000000",
    "--connections",
    "100000",
    "--inbox-items",
    "10000000",
    "--inbox-bytes",
    "10000000000",
];

/// How long to wait between two messages, so that all subscribers keep up.
fn pace(subscribers: usize) -> Duration {
    PAUSE.max(PART * u32::try_from(subscribers).unwrap())
}

/// So many servers on one NATS; 0 for one on a file. Gives how many messages a second they took, too.
fn several(runtime: &tokio::runtime::Runtime, count: usize, subscribers: usize) -> (Measured, f64) {
    let nats = testing::Nats::start(1, "");
    let (front, dirs) = (Front::new(), folders(count.max(1)));
    let start = |dir: &TempDir| {
        let mut command = command(dir.path(), &nats.url());
        if count == 0 {
            command.env_remove("NATS_URL");
        }
        front.run(command, &MANY).unwrap()
    };
    let servers: Vec<_> = dirs.iter().map(start).collect();
    front.lead_to(&servers);
    let server = &front.server;
    let addresses: Vec<SocketAddr> =
        servers.iter().map(|server| server.address().parse().unwrap()).collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let writer = Person::join(&format!("writer{n}"), server);
            let conversation = writer.converse(server, &[]);
            post(server, &writer, conversation)
        })
        .collect();
    let taken = runtime.block_on(async {
        let taken = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let writers = writers.into_iter().enumerate().map(|(n, post)| {
            let (taken, address) = (taken.clone(), addresses[n % servers.len()]);
            tokio::spawn(async move {
                let mut http = Http(TcpStream::connect(address).await.unwrap(), post);
                for number in 0.. {
                    if start.elapsed() > FLOOD {
                        return;
                    }
                    http.publish(number).await;
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        taken.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
    });
    let (alice, bob) = (Person::join("alice", server), Person::join("bob", server));
    let conversation = alice.converse(server, &[&bob]);
    // Bob takes part: so much of a stranger's would not be taken.
    bob.message(server, &conversation, "hello");
    let post = post(server, &alice, conversation);
    let hellos: Vec<_> = (0..subscribers).map(|_| hello(server, &bob)).collect();
    let (clock, marks) = (Clock::new(), marks());
    let measured = runtime.block_on(async {
        for (n, hello) in hellos.into_iter().enumerate() {
            tokio::spawn(subscribe(
                addresses[n % addresses.len()],
                hello,
                marks.clone(),
                clock.clone(),
            ));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let socket = TcpStream::connect(addresses[0]).await.unwrap();
        measure(clock, subscribers, pace(subscribers), Http(socket, post)).await
    });
    (measured, taken)
}

/// How many messages a second a stream of NATS takes, each written by one of as many as write to the
/// servers, who waits until it is taken.
fn stream(runtime: &tokio::runtime::Runtime) -> f64 {
    let nats = testing::Nats::start(1, "");
    runtime.block_on(async {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let config = async_nats::jetstream::stream::Config {
            name: "BENCH".into(),
            subjects: vec!["bench".into()],
            ..Default::default()
        };
        jetstream.create_stream(config).await.unwrap();
        let (taken, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let writers = (0..WRITERS).map(|_| {
            let (jetstream, taken) = (jetstream.clone(), taken.clone());
            tokio::spawn(async move {
                while start.elapsed() < FLOOD {
                    let sent = jetstream.publish("bench", text(0).into()).await.unwrap();
                    sent.await.unwrap();
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        taken.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
    })
}

/// One, two and three servers, with so many subscribers.
fn scale(runtime: &tokio::runtime::Runtime, subscribers: &[usize]) {
    println!("300 bytes a message; all of it on the same processors");
    println!("{:<28} {:>8} {:>8} {:>12}   {:>8}", "", "p50 ms", "p99 ms", "flood /s", "taken /s");
    let limit = stream(runtime);
    let program = testing::nats_server();
    for subscribers in subscribers {
        println!("{subscribers} subscribers");
        let names = ["one on a file", "one on NATS", "two on NATS", "three on NATS"];
        for (count, name) in names.iter().enumerate() {
            let (measured, taken) = several(runtime, count, *subscribers);
            show(&format!("  {name}"), &measured, &format!("{taken:>6.0}"));
        }
        if let Some(measured) = nats(runtime, &program, *subscribers, pace(*subscribers)) {
            show("  nats-server", &measured, &format!("{limit:>6.0}"));
        }
    }
}

fn ours(runtime: &tokio::runtime::Runtime, subscribers: usize) -> (Measured, String) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &MANY);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    // Bob takes part: so much of a stranger's would not be taken.
    bob.message(&server, &conversation, "hello");
    let address: SocketAddr = server.address().parse().unwrap();
    let clock = Clock::new();
    let post = post(&server, &alice, conversation);
    let marks = marks();
    let hellos: Vec<_> = (0..subscribers).map(|_| hello(&server, &bob)).collect();
    let before = memory(server.0.child.id());
    let measured = runtime.block_on(async {
        for hello in hellos {
            tokio::spawn(subscribe(address, hello, marks.clone(), clock.clone()));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let socket = TcpStream::connect(address).await.unwrap();
        measure(clock, subscribers, PAUSE, Http(socket, post)).await
    });
    let grown = memory(server.0.child.id()).saturating_sub(before);
    (measured, format!("durable; {:.1} KiB a subscriber", grown as f64 / subscribers as f64))
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
    let (port, place) = (testing::port(), dir.display());
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
        measure(clock, subscribers, PAUSE, Http(socket, post)).await
    });
    drop(nginx);
    Some(measured)
}

fn nats(
    runtime: &tokio::runtime::Runtime,
    program: &Path,
    subscribers: usize,
    pause: Duration,
) -> Option<Measured> {
    let port = testing::port();
    let mut server = Command::new(program);
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
        measure(clock, subscribers, pause, Nats(socket)).await
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
        let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
        std::io::Write::write_all(&mut socket, &hello(&server, person)).unwrap();
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
    if std::env::args().any(|word| word == "nats") {
        let usual = [1000, 5000, 10_000];
        return scale(&runtime, if numbers.is_empty() { &usual } else { &numbers });
    }
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
    match nats(&runtime, Path::new("nats-server"), subscribers, PAUSE) {
        Some(peer) => show("nats-server", &peer, "in memory"),
        None => println!("nats-server: not installed"),
    }
    drop(runtime);
    idle(idle_streams);
}
