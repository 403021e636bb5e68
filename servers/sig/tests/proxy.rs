//! The shipped configurations of reverse proxies, with the real proxies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Server, add, append, key};
use kez_core::{Chain, Scheme};
use kez_server::testing::proxy::{self, CLIENT, Proxy};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SHIPPED: &str = "127.0.0.1:7878";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn nginx(upstream: &str, address: &str) -> Proxy {
    Proxy::nginx(&file("nginx.conf"), SHIPPED, upstream, address)
}

fn caddy(upstream: &str, address: &str) -> Proxy {
    Proxy::caddy(&file("Caddyfile"), ["sig.example.org", SHIPPED], upstream, address)
}

fn behind(proxy: fn(&str, &str) -> Proxy) -> (TempDir, Server, Proxy) {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let upstream = server.url.strip_prefix("http://").unwrap().to_owned();
    let proxy = proxy(&upstream, &proxy::free_address());
    server.url.clone_from(&proxy.url);
    (dir, server, proxy)
}

/// Chains go through, heads come at once, and what is refused has the form that clients know.
fn chains_go_through(proxy: fn(&str, &str) -> Proxy) {
    let (_dir, server, proxy) = behind(proxy);
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    let name = chain.name().clone();
    let first = append(&mut chain, add("github:one"), None, &[&owner]);
    assert_eq!(server.post(&name, &[first]).unwrap().0, 201);
    let host = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET /v1/sigchains/{name}/stream HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(r#""seq":1"#)));
    let second = append(&mut chain, add("github:two"), None, &[&owner]);
    let start = Instant::now();
    assert_eq!(server.post(&name, &[second]).unwrap().0, 201);
    assert!(lines.any(|line| line.contains(r#""seq":2"#)));
    assert!(start.elapsed() < Duration::from_secs(2), "events are held back");
    assert_eq!(server.text(&format!("/v1/sigchains/{name}")), (200, chain.to_bundle()));
    let lines = "content-type: application/jsonl\r\n";
    let path = format!("/v1/sigchains/{name}");
    let large = proxy.ask("POST", &path, lines, &vec![b'x'; (32 << 20) + 1]);
    assert_eq!((large.status, large.problem().as_str()), (413, "too_large"));
    let taken = proxy.ask("POST", &path, lines, &vec![b'x'; 32 << 20]);
    assert!(matches!(taken.status, 400 | 413 | 422), "{taken:?}");
    assert_ne!(taken.body, large.body, "the proxy refused the largest chain");
    let other = proxy.ask("POST", &format!("{path}/head"), lines, &[b'x'; 2000]);
    assert_eq!((other.status, other.problem().as_str()), (413, "too_large"));
    server.kill();
    let gone = proxy.ask("GET", &path, "", b"");
    assert_eq!((gone.status, gone.problem().as_str()), (503, "connect_failed"));
    assert!(gone.headers["retry-after"].parse::<u32>().is_ok());
}

#[test]
fn chains_go_through_nginx() {
    chains_go_through(nginx);
}

#[test]
fn chains_go_through_caddy() {
    chains_go_through(caddy);
}

#[test]
fn the_server_learns_the_clients_address_and_nothing_that_the_client_says() {
    for proxy in [nginx, caddy] {
        let (upstream, address) = (proxy::free_address(), proxy::free_address());
        let head = proxy::one_request(&upstream);
        let proxy = proxy(&upstream, &address);
        let lies = "x-forwarded-for: 192.0.2.1\r\n";
        assert_eq!(proxy.ask("GET", "/v1/log/key", lies, b"").status, 200);
        let head = head.join().unwrap();
        let named: Vec<_> = head.lines().filter(|l| l.starts_with("x-forwarded-for:")).collect();
        assert_eq!(named, ["x-forwarded-for: 127.0.0.1"], "{head}");
    }
}

#[test]
fn appends_and_reads_are_limited_for_each_network() {
    let (_dir, _server, proxy) = behind(nginx);
    let from = |client: String, method: &str, path: &str| {
        proxy.ask(method, path, &format!("{CLIENT}: {client}\r\n"), b"").status
    };
    let passed = |method: &str, path: &str, count: usize, client: fn(usize) -> String| {
        (0..count).filter(|n| from(client(*n), method, path) != 429).count()
    };
    let path = "/v1/sigchains/ed25519:00";
    let one = |_| "203.0.113.1".to_owned();
    let prefix = |n| format!("2001:db8:1:1::{n:x}");
    let many = |n| format!("2001:db8:2:{n:x}::1");
    for client in [one, prefix] {
        let appends = passed("POST", path, 250, client);
        assert!((120..180).contains(&appends), "{appends}");
        // Reads go on meanwhile.
        assert_eq!(passed("GET", path, 100, client), 100);
    }
    assert_eq!(passed("POST", path, 250, many), 250);
    // Methods that the server does not know are no way around.
    assert!(passed("PATCH", path, 250, |_| "203.0.113.2".into()) < 180);
    let reads = passed("GET", "/v1/log/key", 1500, |_| "203.0.113.3".into());
    assert!((1200..1400).contains(&reads), "{reads}");
}
