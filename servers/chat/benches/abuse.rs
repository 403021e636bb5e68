//! Attacks on the real server by one address, and what two people at another address see
//! meanwhile: a message is sent, and received from the inbox.
//!
//!     cargo xtask bench abuse chat [seconds for each attack]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Person, Server, agent, base64, id};
use kez_server::testing::attack::{Attack, COLUMNS, attack};
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn request(method: &str, path: &str, headers: &str, length: usize, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(10));
    let dir = TempDir::new().unwrap();
    // The limits as they are, but for the honest clients, who write more often than people do.
    let limits = ["--address-rate", "240", "--device-rate", "100000", "--claim-rate", "60"];
    let server = Server::start(dir.path(), &limits);
    let [alice, bob] = ["alice", "bob"].map(|handle| Person::join(handle, &server));
    let conversation = alice.converse(&server, &[&bob]);
    assert_eq!(bob.message(&server, &conversation, "hello").0, 201);
    let mallory = Person::join("mallory", &server);
    let stranger = mallory.converse(&server, &[&bob]);

    let health = request("GET", "/healthz", "", 0, "");
    let read = request("GET", "/v1/handles/alice", "", 0, "");
    let unsigned = "authorization: KEZ device=x\r\n";
    let commits = format!("/v1/conversations/{conversation}/commits");
    let registration = |number: u64| {
        let person = Person::new(&format!("m{number}"));
        let body = person.registration(&server).to_string();
        request("POST", "/v1/handles", "", body.len(), &body)
    };
    let message = |_: u64| {
        let body = json!({ "conversation": stranger, "id": id(16), "body": base64(&[1; 40_000]) });
        let body = body.to_string();
        let auth = mallory.credentials(
            &server,
            0,
            "POST",
            "/v1/messages",
            kez_core::chat::auth::Binds::Body(body.as_bytes()),
        );
        let auth = format!("authorization: {}\r\n", auth.to_header());
        request("POST", "/v1/messages", &auth, body.len(), &body)
    };
    let stream = |_: u64| {
        let path = format!("/v1/inbox/{}/stream", mallory.handle);
        let auth =
            mallory.credentials(&server, 0, "GET", &path, kez_core::chat::auth::Binds::Nothing);
        request("GET", &format!("{path}?{}", auth.to_query()), "", 0, "")
    };
    let pause = Duration::from_millis(20);
    let quick = Duration::from_millis(1);
    let attacks = [
        Attack { name: "none", connections: 0, first: &|_| Vec::new(), more: b"", reads: 0, pause },
        Attack {
            name: "5,000 idle connections",
            connections: 5_000,
            first: &|_| health.clone(),
            more: b"",
            reads: 4096,
            pause,
        },
        Attack {
            name: "streams of one device",
            connections: 1_000,
            first: &stream,
            more: b"",
            reads: 4096,
            pause,
        },
        Attack {
            name: "unsigned bodies that do not end",
            connections: 1_000,
            first: &|_| request("POST", &commits, unsigned, 1_000_000, "{"),
            more: &[b' '; 4096],
            reads: 4096,
            pause,
        },
        Attack {
            name: "unsigned reads",
            connections: 64,
            first: &|_| read.clone(),
            more: &read,
            reads: 65_536,
            pause: quick,
        },
        Attack {
            name: "registrations",
            connections: 32,
            first: &registration,
            more: b"",
            reads: 1,
            pause,
        },
        Attack {
            name: "a stranger's messages of 40 KB to bob",
            connections: 32,
            first: &message,
            more: b"",
            reads: 1,
            pause,
        },
    ];
    println!("{COLUMNS}");
    let mut worst = 0.0_f64;
    let mut since = bob.poll(&server, 0).last().map_or(0, |item| item["seq"].as_u64().unwrap());
    let mut count = 0_u32;
    for one in &attacks {
        let seen = attack(&server.0, dir.path(), one, time, |note| {
            count += 1;
            let text = format!("message {count}");
            let start = Instant::now();
            let agent = agent();
            let sent = alice.try_message(&server, &conversation, &text);
            note(start.elapsed());
            if sent.as_ref().map(|answer| answer.0).ok() != Some(201) {
                return Err(format!("a message: {sent:?}"));
            }
            let start = Instant::now();
            loop {
                let path = format!("/v1/inbox/bob?since={since}");
                let page = bob.try_send(&agent, &server, 0, "GET", &path, None);
                let page = page.map_err(|e| e.to_string())?.1;
                let items = page["items"].as_array().cloned().unwrap_or_default();
                let Some(last) = items.last() else { return Err("the message is gone".into()) };
                since = last["seq"].as_u64().unwrap();
                if common::texts(&items).contains(&text) {
                    note(start.elapsed());
                    let ack = json!({ "seq": since });
                    bob.send(&server, "POST", "/v1/inbox/bob/ack", Some(&ack));
                    return Ok(());
                }
            }
        });
        println!("{seen}");
        worst = worst.max(seen.p99());
    }
    println!("the worst p99: {worst:.0} ms");
}
