//! The shipped configurations of reverse proxies, with the real proxies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Person, Server};
use kez_core::chat::auth::Binds;
use kez_server::testing::proxy::{self, Answer, CLIENT, Proxy};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SHIPPED: &str = "127.0.0.1:7979";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn nginx(upstream: &str, address: &str) -> Proxy {
    Proxy::nginx(&file("nginx.conf"), SHIPPED, upstream, address)
}

fn caddy(upstream: &str, address: &str) -> Proxy {
    Proxy::caddy(&file("Caddyfile"), ["chat.example.org", SHIPPED], upstream, address)
}

/// A server with a proxy before it: clients know the proxy's address.
fn behind(proxy: fn(&str, &str) -> Proxy) -> (TempDir, Server, Proxy) {
    let dir = TempDir::new().unwrap();
    let address = proxy::free_address();
    let mut server = Server::start(dir.path(), &["--origin", &format!("http://{address}")]);
    let proxy = proxy(server.address(), &address);
    server.0.url.clone_from(&proxy.url);
    (dir, server, proxy)
}

/// Chat goes through, events come at once, and what is refused has the form that clients know.
fn chat_goes_through(proxy: fn(&str, &str) -> Proxy) {
    let (_dir, server, proxy) = behind(proxy);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let mut stream = bob.stream(&server, 0);
    stream.next_raw();
    for text in ["one", "two"] {
        let start = Instant::now();
        assert_eq!(alice.message(&server, &conversation, text).0, 201);
        assert_eq!(stream.texts(1), [text]);
        assert!(start.elapsed() < Duration::from_secs(2), "events are held back");
    }
    // The largest bodies of each route pass, and no larger ones.
    let json = "content-type: application/json\r\n";
    for (path, most) in [
        ("/v1/messages", 96 << 10),
        ("/v1/inbox/bob/ack", 96 << 10),
        ("/v1/handles", 1 << 20),
        ("/v1/keypackages", 1 << 20),
        (&format!("/v1/conversations/{conversation}/commits"), 1 << 20),
    ] {
        let large = proxy.ask("POST", path, json, &vec![b'x'; most + 1]);
        assert_eq!((large.status, large.problem().as_str()), (413, "too_large"), "{path}");
        // Without a device's signature the server would not read it.
        let body = vec![b'x'; most];
        let auth = bob.credentials(&server, 0, "POST", path, Binds::Body(&body)).to_header();
        let taken = proxy.ask("POST", path, &format!("{json}authorization: {auth}\r\n"), &body);
        assert_eq!((taken.status, taken.problem().as_str()), (400, "usage"), "{path}");
    }
    server.0.kill();
    let gone = proxy.ask("GET", "/v1/handles/bob", "", b"");
    assert_eq!((gone.status, gone.problem().as_str()), (503, "connect_failed"));
    assert!(gone.headers["retry-after"].parse::<u32>().is_ok());
}

#[test]
fn chat_goes_through_nginx() {
    chat_goes_through(nginx);
}

#[test]
fn chat_goes_through_caddy() {
    chat_goes_through(caddy);
}

#[test]
fn the_server_learns_the_clients_address_and_nothing_that_the_client_says() {
    for proxy in [nginx, caddy] {
        let (upstream, address) = (proxy::free_address(), proxy::free_address());
        let head = proxy::one_request(&upstream);
        let proxy = proxy(&upstream, &address);
        let lies = "x-forwarded-for: 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\n";
        assert_eq!(proxy.ask("GET", "/v1/handles/bob", lies, b"").status, 200);
        let head = head.join().unwrap();
        let named: Vec<_> = head.lines().filter(|l| l.starts_with("x-forwarded-for:")).collect();
        assert_eq!(named, ["x-forwarded-for: 127.0.0.1"], "{head}");
    }
}

#[test]
fn the_servers_own_limits_count_the_clients_of_a_trusted_proxy() {
    let dir = TempDir::new().unwrap();
    let server =
        Server::start(dir.path(), &["--address-rate", "20", "--trusted-proxy", "127.0.0.1"]);
    let proxy = nginx(server.address(), &proxy::free_address());
    let passed = |client: fn(usize) -> String| {
        let from = |n| {
            let lines = format!("{CLIENT}: {}\r\n", client(n));
            proxy.ask("GET", "/v1/handles/u", &lines, b"").status
        };
        (0..40).filter(|n| from(*n) == 404).count()
    };
    let one = passed(|_| "203.0.113.1".into());
    assert!((20..25).contains(&one), "{one}");
    let prefix = passed(|n| format!("2001:db8:1:1::{n:x}"));
    assert!((20..25).contains(&prefix), "{prefix}");
    assert_eq!(passed(|n| format!("2001:db8:2:{n:x}::1")), 40);
}

#[test]
fn limits_hold_whatever_a_request_says() {
    let (_dir, _server, proxy) = behind(nginx);
    let from = |client: &str, method: &str, path: &str, more: &str| {
        proxy.ask(method, path, &format!("{CLIENT}: {client}\r\n{more}"), b"")
    };
    let limited = |answers: &mut dyn Iterator<Item = Answer>| {
        let answers: Vec<Answer> = answers.collect();
        let (passed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status != 429);
        for answer in &refused {
            assert_eq!(answer.problem(), "rate_limited");
            assert!(answer.headers["retry-after"].parse::<u32>().is_ok());
        }
        (passed.len(), refused.len())
    };
    let signed = "authorization: KEZ x\r\n";
    let asked = |client: fn(usize) -> String, path: fn(usize) -> String| {
        limited(&mut (0..400).map(|n| from(&client(n), "GET", &path(n), signed)))
    };
    // Neither a header nor another spelling of the path lifts the limit.
    let handle = |n: usize| format!("/v1/handles/u{n}");
    let spelt =
        |n: usize| format!("/v1/%68andles/u{n}{}", if n.is_multiple_of(2) { "" } else { "/chain" });
    for (client, path) in [
        ((|_| "203.0.113.1".into()) as fn(usize) -> String, handle as fn(usize) -> String),
        (|_| "203.0.113.2".into(), spelt),
        (|n| format!("2001:db8:1:1::{n:x}"), handle),
        (|n| format!("2001:db8:0a0a:0a0a:{n:x}:a0a:a0a:1"), handle),
    ] {
        let (passed, refused) = asked(client, path);
        assert!((240..330).contains(&passed) && refused > 70, "{passed} passed, {refused} refused");
    }
    // Others are not concerned: the next /64, another address, and requests that devices sign.
    assert_eq!(from("2001:db8:1:2::1", "GET", "/v1/handles/u", "").status, 404);
    assert_eq!(from("203.0.113.3", "GET", "/v1/handles/u", "").status, 404);
    assert_eq!(from("203.0.113.1", "GET", "/v1/inbox/u?since=0", signed).status, 401);
    // Each network of its own counts by itself.
    let all = |n: usize| format!("2001:db8:2:{n:x}::1");
    assert_eq!(asked(all, handle), (400, 0));
}
