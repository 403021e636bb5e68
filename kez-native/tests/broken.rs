//! Real servers that are broken for real: stopped, and cut off in the middle of their answers. What
//! could not be read is never reported as absent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    User,
    testnet::{self, fresh, user},
};
use kez_core::{NostrEvent, Scheme, SecretKey, channel};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use xtask::testnet::{SOCIAL, Testnet};

fn main() {
    testnet::run(
        "broken",
        &[
            ("resolvers", resolvers),
            ("relays", relays),
            ("personal_data_servers", personal_data_servers),
            ("fediverse_servers", fediverse_servers),
        ],
    );
}

/// Connections to a server that end after so many bytes of its answer.
struct Cut {
    url: String,
    bytes: Arc<AtomicUsize>,
}

impl Cut {
    /// In front of a server, given by `scheme://host:port`.
    fn before(base: &str) -> Self {
        let (scheme, address) = base.split_once("://").unwrap();
        let address = address.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let bytes = Arc::new(AtomicUsize::new(usize::MAX));
        let limit = bytes.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, address, limit) = (client.unwrap(), address.clone(), limit.clone());
                thread::spawn(move || pass(client, &address, limit.load(Ordering::Relaxed)));
            }
        });
        Self { url, bytes }
    }
}

/// Passes a connection on, and ends it after so many bytes of the server's.
fn pass(client: TcpStream, address: &str, mut left: usize) {
    let Ok(server) = TcpStream::connect(address) else { return };
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut server, mut client) = (server, client);
    let mut buffer = [0; 4096];
    while left > 0 {
        let Ok(count) = server.read(&mut buffer) else { break };
        let count = count.min(left);
        if count == 0 || client.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count;
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

/// Where answers are cut off.
const CUTS: [usize; 6] = [0, 1, 20, 120, 200, 400];

/// Nobody can say that there is no proof, or a wrong one.
fn unread(user: &User, subject: &str, what: &str) -> Value {
    let run = user.verify(subject, &[]);
    let report = run.json();
    assert_eq!(report["status"], "unreachable", "{what}: {report}");
    assert_eq!(run.code, 5, "{what}");
    report
}

/// A user whose configuration has one server behind another address.
fn behind(net: &Testnet, real: &str, other: &str) -> User {
    let config = net.config();
    assert!(config.contains(real), "{real} is in the configuration");
    User::new(&fresh("behind"), &config.replace(real, other))
}

/// Takes an account, whose proof is valid, through a server that stops and one that breaks off.
fn breaks(net: &Testnet, subject: &str, stopped: &[&str], base: &str) {
    let reader = user(net, "reader");
    reader.verify(subject, &[]).expect(0, "valid", None);
    for server in stopped {
        let paused = net.pause(server).unwrap();
        unread(&reader, subject, server);
        drop(paused);
        reader.verify(subject, &[]).expect(0, "valid", None);
    }
    let cut = Cut::before(base);
    let reader = behind(net, base, &cut.url);
    reader.verify(subject, &[]).expect(0, "valid", None);
    for bytes in CUTS {
        cut.bytes.store(bytes, Ordering::Relaxed);
        unread(&reader, subject, &format!("cut after {bytes} bytes"));
    }
    cut.bytes.store(usize::MAX, Ordering::Relaxed);
    reader.verify(subject, &[]).expect(0, "valid", None);
}

/// KEZ-DNS-02, KEZ-CNL-03
fn resolvers(net: &Testnet) {
    let me = user(net, "owner");
    me.key("me", "ed25519");
    net.load_zone_line("example.com", &me.claim("dns:example.com", "dns", &[])).unwrap();
    let base = net.config().lines().find_map(|line| {
        let url = line.strip_prefix("dns = [\"")?.strip_suffix("/dns-query\"]")?;
        Some(url.to_owned())
    });
    breaks(net, "dns:example.com", &["unbound", "dnsdist"], &base.unwrap());
}

/// KEZ-NOS-03, KEZ-SRC-09: one silent relay of three is not waited for, and the only one is.
fn relays(net: &Testnet) {
    let me = user(net, "owner");
    let subject = me.key("me", "nostr");
    let secret = me.ok(&["key", "export", "me"])["secret"].as_str().unwrap().to_owned();
    let key = SecretKey::from_text(Scheme::Nostr, &secret).unwrap();
    let proof = me.claim(&subject, "compact", &[]);
    let event: NostrEvent = channel::carrier(proof.trim(), kez_native::now());
    testnet::send_event(net, &key.sign_nostr_event(&event, &[0; 32]).unwrap()).unwrap();
    breaks(net, &subject, &["relay"], net.relay());
    // Two relays that answer, and one that accepts the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Cut::before(net.relay());
    let relays = format!(
        "\"{}\", \"{}\", \"ws://{}\"",
        net.relay(),
        second.url,
        silent.local_addr().unwrap()
    );
    let config = net.config().replace(&format!("\"{}\"", net.relay()), &relays);
    let reader = User::new(&fresh("three"), &config);
    let start = std::time::Instant::now();
    reader.verify(&subject, &[]).expect(0, "valid", None);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

/// KEZ-BSK-03, KEZ-CNL-03
fn personal_data_servers(net: &Testnet) {
    let me = user(net, "owner");
    me.key("me", "ed25519");
    let proof = me.claim("bluesky:alice.test", "compact", &[]);
    net.set_bluesky("alice.test", Some(proof.trim())).unwrap();
    let reader = user(net, "reader");
    reader.verify("bluesky:alice.test", &[]).expect(0, "valid", None);
    let paused = net.pause("pds").unwrap();
    unread(&reader, "bluesky:alice.test", "pds");
    drop(paused);
    reader.verify("bluesky:alice.test", &[]).expect(0, "valid", None);
}

/// KEZ-AP-01, KEZ-CNL-03
fn fediverse_servers(net: &Testnet) {
    let me = user(net, "owner");
    me.key("me", "ed25519");
    let subject = format!("ap:jason@{SOCIAL}");
    net.set_field(me.claim(&subject, "compact", &[]).trim()).unwrap();
    let base = net.config().lines().find_map(|line| {
        let url = line.strip_prefix(&format!("\"{SOCIAL}\" = \""))?.strip_suffix('"')?;
        Some(url.to_owned())
    });
    breaks(net, &subject, &["snac"], &base.unwrap());
}
