//! The reverse proxies that operators use, with the configuration that is shipped.

use super::port;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A request with this header comes from the address in it, for nginx.
pub const CLIENT: &str = "x-test-client";

/// A proxy that runs, until this is dropped.
pub struct Proxy {
    child: Child,
    /// Where it listens.
    pub url: String,
    _dir: TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The code of a problem, whose form has to be that of RFC 9457.
    #[must_use]
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.headers["access-control-allow-origin"], "*", "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert!(body["title"].is_string(), "{self:?}");
        body["code"].as_str().unwrap().to_owned()
    }
}

/// An address that nothing listens at.
#[must_use]
pub fn free_address() -> String {
    format!("127.0.0.1:{}", port())
}

impl Proxy {
    /// nginx with a configuration for an upstream, at an address, without TLS.
    ///
    /// # Panics
    /// If nginx is not installed (`cargo xtask setup`), or refuses the configuration.
    #[must_use]
    pub fn nginx(config: &Path, shipped: &str, upstream: &str, address: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let here = dir.path().display();
        let mut text = String::new();
        for line in fs::read_to_string(config).unwrap().lines() {
            match line.trim() {
                line if line.starts_with("ssl_") || line.starts_with("listen [") => continue,
                line if line.starts_with("listen ") => text += &format!("listen {address};"),
                _ => text += line,
            }
            text.push('\n');
        }
        let text = text.replace(shipped, upstream).replace("/var/log/nginx", &here.to_string());
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths: String = paths.map(|name| format!("{name}_temp_path {here}/{name};\n")).concat();
        let main = format!(
            "worker_processes 1;\npid {here}/pid;\nerror_log {here}/error;\ndaemon off;\n\
             events {{ worker_connections 1000; }}\nhttp {{\naccess_log off;\n{paths}\
             set_real_ip_from 127.0.0.1;\nreal_ip_header {CLIENT};\n{text}}}\n"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, main).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", &format!("{here}/error"), "-c"]).arg(file);
        Self::start(&mut command, address, dir)
    }

    /// Caddy with a configuration for an upstream, at an address, without TLS.
    ///
    /// # Panics
    /// If Caddy is not installed (`cargo xtask setup`), or refuses the configuration.
    #[must_use]
    pub fn caddy(config: &Path, shipped: [&str; 2], upstream: &str, address: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let [site, server] = shipped;
        let text = fs::read_to_string(config).unwrap();
        // For any name of a host, since clients in tests use several.
        let (_, port) = address.split_once(':').unwrap();
        let text = text.replace(&format!("{site} {{"), &format!("http://:{port} {{"));
        let text = text.replace(server, upstream);
        let file = dir.path().join("Caddyfile");
        fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{text}")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
        command.env("XDG_CONFIG_HOME", dir.path());
        Self::start(&mut command, address, dir)
    }

    fn start(command: &mut Command, address: &str, dir: TempDir) -> Self {
        let name = command.get_program().to_owned();
        let log = fs::File::create(dir.path().join("output")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|e| panic!("{name:?}: {e}: run `cargo xtask setup`"));
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let output = || fs::read_to_string(dir.path().join("output")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "{}", output());
            assert!(start.elapsed() < Duration::from_secs(10), "{}", output());
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, url: format!("http://{address}"), _dir: dir }
    }

    /// A request with its header lines and body.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
        ask(&self.url, method, path, lines, body)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx ends its workers by this signal; a kill would leave them.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.child.wait();
    }
}

fn ask(url: &str, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-length: {length}\r\n{lines}\r\n"
    )
    .unwrap();
    // A refusal may come before the body was sent.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

/// Listens at an address, and gives the head of one request.
///
/// # Panics
/// If the address is taken.
#[must_use]
pub fn one_request(address: &str) -> thread::JoinHandle<String> {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while reader.read_line(&mut head).unwrap() > 2 {}
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        head.to_lowercase()
    })
}
