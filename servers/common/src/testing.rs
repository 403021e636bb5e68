//! Servers as processes, for tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

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
