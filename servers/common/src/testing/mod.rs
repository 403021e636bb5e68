//! Servers as processes, for tests: ours, and NATS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod attack;
pub mod crash;
pub mod network;
pub mod proxy;

use network::{Network, Place};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A server that runs, until this is dropped.
pub struct Process {
    /// The process.
    pub child: Child,
    /// Where it listens.
    pub url: String,
    /// Where metrics are served, if they are.
    pub metrics: Option<String>,
}

impl Process {
    /// Starts a command, and waits until it says where it listens.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let metrics = command.get_args().any(|argument| argument == "--metrics");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = |start: &str| {
            let line = lines.next().expect("a line").unwrap();
            line.strip_prefix(start).expect("an address").to_owned()
        };
        let url = line("listening on ");
        let metrics = metrics.then(|| line("metrics on "));
        Self { child, url, metrics }
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it does.
    pub fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a browser asks before a page of another site may do something. Gives the status and the
/// headers of the answer.
#[must_use]
pub fn preflight(url: &str, method: &str, header: &str) -> (u16, BTreeMap<String, String>) {
    ask(
        url,
        "OPTIONS",
        &format!(
            "origin: https://page.example\r\naccess-control-request-method: {method}\r\n\
             access-control-request-headers: {header}\r\n"
        ),
    )
}

/// A request as it stands, with its header lines. Gives the status and the headers of the answer.
#[must_use]
pub fn ask(url: &str, method: &str, lines: &str) -> (u16, BTreeMap<String, String>) {
    let rest = url.strip_prefix("http://").unwrap();
    let at = rest.find('/').unwrap();
    let (host, path) = rest.split_at(at);
    let mut stream = TcpStream::connect(host).unwrap();
    let close = "connection: close\r\n\r\n";
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}{close}").unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    (status, lines.filter_map(header).collect())
}

/// A port that is free, below those that the system gives to clients.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(103);
    let place = |_| first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 8000;
    let mut ports = (0..8000).map(place).map(|place| 12_000 + u16::try_from(place).unwrap());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The program of NATS that `cargo xtask` unpacks.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn nats_server() -> PathBuf {
    let own = "../../target/services/debs/root/usr/sbin/nats-server";
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(own);
    assert!(program.is_file(), "no nats-server: `cargo xtask nats` brings it");
    program
}

/// A node of NATS.
struct Node {
    host: String,
    port: u16,
    /// What goes before its program's words.
    enter: Vec<String>,
    config: PathBuf,
    child: Option<Child>,
}

impl Node {
    fn start(&mut self) {
        let program = nats_server();
        // It ends with the test.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(&self.enter);
        command.arg(program).arg("-c").arg(&self.config);
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect((&*self.host, self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "NATS does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The operator's NATS: one server, or a cluster of them. It ends with the value.
pub struct Nats {
    nodes: Vec<Node>,
    /// Who servers are there, as it stands in a URL: `user:password@`.
    pub login: &'static str,
    network: Option<Network>,
    _dir: TempDir,
}

/// What its nodes have said.
impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let said = fs::read_to_string(node.log()).unwrap_or_default();
            write!(f, "\n{}\n{said}", node.config.display())?;
        }
        Ok(())
    }
}

impl Nats {
    /// Starts so many nodes, which are told apart by their numbers from 0. What `more` says comes
    /// into their configuration.
    #[must_use]
    pub fn start(count: usize, more: &str) -> Self {
        Self::start_in(Place::Here, count, more)
    }

    /// The same, each on a host of its own where there is a network for that.
    #[must_use]
    pub fn start_in(place: Place, count: usize, more: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let network = (place == Place::OwnNetwork).then(|| Network::new(count));
        let host = |n| network.as_ref().map_or("127.0.0.1".into(), |_| Network::address(n));
        let ports: Vec<_> = (0..count).map(|_| (port(), port())).collect();
        let route =
            |(n, (_, cluster)): (usize, &(u16, u16))| format!("nats://{}:{cluster}", host(n));
        let routes = ports.iter().enumerate().map(route).collect::<Vec<_>>().join(", ");
        let node = |(n, (port, cluster)): (usize, &(u16, u16))| {
            let (host, store) = (host(n), dir.path().join(format!("node{n}")));
            let mut text = format!(
                "listen: \"{host}:{port}\"\nserver_name: node{n}\nmax_payload: 36MB\n\
                 jetstream {{ store_dir: {store:?} }}\n{more}\n"
            );
            if count > 1 {
                text += &format!(
                    "cluster {{ name: test, listen: \"{host}:{cluster}\", routes: [{routes}] }}\n"
                );
            }
            let config = dir.path().join(format!("node{n}.conf"));
            fs::write(&config, text).unwrap();
            let enter = network.as_ref().map_or_else(Vec::new, |network| network.enter(n));
            let mut node = Node { host, port: *port, enter, config, child: None };
            node.start();
            node
        };
        let nodes = ports.iter().enumerate().map(node).collect();
        let mut nats = Self { nodes, login: "", network, _dir: dir };
        let start = Instant::now();
        while count > 1 && !nats.is_whole() {
            assert!(start.elapsed() < Duration::from_secs(90), "no cluster comes about{nats}");
            nats.begin_anew();
        }
        nats
    }

    /// Whether its nodes keep a stream together, which they have to elect a leader for.
    fn is_whole(&self) -> bool {
        let start = Instant::now();
        let create = format!(
            r#"{{"name":"PROBE","subjects":["probe"],"num_replicas":{}}}"#,
            self.nodes.len()
        );
        while self.request("$JS.API.STREAM.CREATE.PROBE", &create).is_none() {
            if start.elapsed() > Duration::from_secs(15) {
                return false;
            }
            thread::sleep(Duration::from_millis(100));
        }
        self.request("$JS.API.STREAM.DELETE.PROBE", "").is_some()
    }

    /// Starts all nodes again as if they had never been there. On a busy machine about one new cluster
    /// of NATS 2.10 in thirty never gets a leader, or one that knows all nodes.
    fn begin_anew(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.kill(node));
        for node in &mut self.nodes {
            let _ = fs::remove_dir_all(node.config.with_extension(""));
            node.start();
        }
    }

    /// Asks JetStream for something; none if it refuses, or says nothing for a while.
    fn request(&self, subject: &str, body: &str) -> Option<String> {
        let node = &self.nodes[0];
        let mut stream = TcpStream::connect((&*node.host, node.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let (to, length) = ("probe.answer", body.len());
        let lines =
            format!("CONNECT {{}}\r\nSUB {to} 1\r\nPUB {subject} {to} {length}\r\n{body}\r\n");
        stream.write_all(lines.as_bytes()).ok()?;
        let mut said = BufReader::new(stream).lines().map_while(Result::ok);
        said.find(|line| line.starts_with('{')).filter(|answer| !answer.contains("\"error\""))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let url = |node: &Node| format!("nats://{}{}:{}", self.login, node.host, node.port);
        let all = self.nodes.iter().map(url);
        all.collect::<Vec<_>>().join(",")
    }

    /// The port of a node.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].port
    }

    /// Kills a node, as `kill -9` does.
    pub fn kill(&mut self, node: usize) {
        if let Some(mut child) = self.nodes[node].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a node that was killed.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].start();
    }

    /// Sends a signal to a node: `STOP`, `CONT`.
    fn signal(&self, node: usize, signal: &str) {
        if let Some(child) = &self.nodes[node].child {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        }
    }
}

/// What happens to those who run several servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A server dies.
    Server(usize),
    /// A node of NATS dies, and comes back.
    Node(usize),
    /// A node of NATS stands still for a while.
    Pause(usize),
    /// Two nodes die: without a majority nothing is acknowledged.
    Majority(usize),
    /// A node of NATS is cut off for a while from the others and from all servers.
    Cut(usize),
    /// A node of NATS is cut off from the others, and servers still reach it.
    Split(usize),
    /// The way to a node of NATS is slow for a while.
    Slow(usize),
}

/// Troubles of a cluster of three, by a seed, with some time in between; how many there were.
pub struct Troubles {
    random: u64,
    counts: [usize; 7],
}

impl Troubles {
    /// Troubles that are the same for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { random: seed, counts: [0; 7] }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % most
    }

    /// Waits, and lets the next one happen, but for the death of a server: whoever has it kills it.
    pub fn next(&mut self, nats: &mut Nats) -> Trouble {
        thread::sleep(Duration::from_millis(300 + self.below(1500)));
        let one = usize::try_from(self.below(3)).unwrap();
        let pause = Duration::from_millis(500 + self.below(3000));
        let kinds: &[fn(usize) -> Trouble] = &[
            Trouble::Server,
            Trouble::Node,
            Trouble::Pause,
            Trouble::Majority,
            Trouble::Cut,
            Trouble::Split,
            Trouble::Slow,
        ];
        // The last three need a network.
        let kinds = if nats.network.is_some() { kinds } else { &kinds[..4] };
        let kind = usize::try_from(self.below(kinds.len() as u64)).unwrap();
        self.counts[kind] += 1;
        let trouble = kinds[kind](one);
        let nodes = match trouble {
            Trouble::Node(node) => vec![node],
            Trouble::Majority(node) => vec![node, (node + 1) % 3],
            _ => vec![],
        };
        nodes.iter().for_each(|node| nats.kill(*node));
        // Long enough for the others to give up on it.
        let away = |network: &Network, node| {
            thread::sleep(pause * 3);
            network.heal(node);
        };
        match (trouble, &nats.network) {
            (Trouble::Node(_) | Trouble::Majority(_), _) => thread::sleep(pause),
            (Trouble::Pause(node), _) => {
                nats.signal(node, "STOP");
                thread::sleep(pause);
                nats.signal(node, "CONT");
            }
            (Trouble::Cut(node), Some(network)) => {
                network.cut(node);
                away(network, node);
            }
            (Trouble::Split(node), Some(network)) => {
                network.split(node);
                away(network, node);
            }
            (Trouble::Slow(node), Some(network)) => {
                network.slow(node);
                away(network, node);
            }
            (Trouble::Server(_) | Trouble::Cut(_) | Trouble::Split(_) | Trouble::Slow(_), _) => {}
        }
        nodes.iter().for_each(|node| nats.restart(*node));
        trouble
    }
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [servers, nodes, pauses, majorities, cuts, splits, slow] = self.counts;
        write!(
            f,
            "{servers} servers killed, {nodes} nodes killed, {pauses} stopped, {majorities} times \
             no majority, {cuts} nodes cut off, {splits} from the others alone, {slow} slow"
        )
    }
}

/// Where NATS is for a server with this data, in a run in which servers keep their data there:
/// `KEZ_STORAGE=nats`. Each folder has a NATS of its own, until the test ends: a cluster of as many
/// nodes as `NATS_REPLICAS` says, which the server keeps to.
#[must_use]
pub fn nats_url(data: &Path) -> Option<String> {
    thread_local! {
        static ALL: RefCell<HashMap<PathBuf, Nats>> = RefCell::default();
    }
    if std::env::var_os("KEZ_STORAGE").is_none_or(|storage| storage != "nats") {
        return None;
    }
    ALL.with_borrow_mut(|all| {
        let nodes = std::env::var("NATS_REPLICAS").map_or(1, |nodes| nodes.parse().unwrap());
        let nats = all.entry(data.to_owned()).or_insert_with(|| Nats::start(nodes, ""));
        Some(nats.url())
    })
}
