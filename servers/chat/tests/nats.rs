//! Several real servers on a real NATS JetStream, behind one address: they are one server, whichever
//! of them dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use ::base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD};
use common::{
    Person, Server, Stream, agent, base64, id, now, send,
    several::{Front, command, folders},
    texts,
};
use ed25519_dalek::Signer as _;
use kez_server::testing::{
    Nats, Process, Trouble, Troubles,
    network::{Place, move_out},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[test]
fn several_servers_are_one() {
    let (nats, front, dirs, mut servers) = together(3);
    let start = |dir: &TempDir| front.start(dir.path(), &nats, &[]).unwrap();
    let server = &front.server;
    let (alice, mut bob) = (Person::join("alice", server), Person::join("bob", server));
    let conversation = alice.converse(server, &[&bob]);
    // As many as there are servers, and one more: the connections go round.
    let mut streams: Vec<_> = (0..4).map(|_| bob.stream(server, 0)).collect();
    let sent: Vec<_> = (0..30).map(|n| format!("message {n}")).collect();
    for text in &sent {
        assert_eq!(alice.message(server, &conversation, text).0, 201);
        // What one acknowledged all others have.
        assert_eq!(alice.texts(server, 0).last(), Some(text));
    }
    for stream in &mut streams {
        assert_eq!(stream.texts(30), sent);
    }
    // A key package is given once, whoever is asked.
    let package = |n: u8| json!({ "id": id(32), "body": base64(&[n; 9]), "last_resort": false });
    let packages: Vec<_> = (0..6).map(package).collect();
    let put = json!({ "packages": packages });
    assert_eq!(bob.send(server, "POST", "/v1/keypackages", Some(&put)).1["count"], 6);
    let given: BTreeSet<String> = thread::scope(|scope| {
        let claim = || {
            let path = "/v1/handles/bob/keypackages/claim";
            alice.send(server, "POST", path, Some(&json!({}))).1["packages"][0].to_string()
        };
        let all: Vec<_> = (0..6).map(|_| scope.spawn(claim)).collect();
        all.into_iter().map(|claim| claim.join().unwrap()).collect()
    });
    assert_eq!(given.len(), 6);
    // One dies; its stream ends, and is read on elsewhere.
    servers.remove(0).0.kill();
    front.lead_to(&servers);
    assert_eq!(alice.message(server, &conversation, "later").0, 201);
    let ended = streams.iter_mut().map(Stream::next).filter(Option::is_none).count();
    assert!((1..=2).contains(&ended), "{ended}");
    let last = bob.poll(server, 0).last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(bob.stream(server, last - 1).texts(1), ["later"]);
    // It comes back, without its copy, and has all.
    fs::remove_file(dirs[0].path().join("chat.db")).unwrap();
    servers.push(start(&dirs[0]));
    front.lead_to(&servers[2..]);
    assert_eq!(bob.texts(server, 0).len(), 31);
    front.lead_to(&servers);
    // A device that is revoked at one of them is out at all.
    let mut streams: Vec<_> = (0..3).map(|_| bob.stream(server, last)).collect();
    bob.revoke(0);
    assert_eq!(bob.put_chain(server).0, 204);
    for stream in &mut streams {
        while let Some(sent) = stream.next() {
            assert_ne!(sent.event, "item", "{sent:?}");
        }
    }
}

fn headers(signed: &str) -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Kez-Signed", signed);
    headers
}

/// Publishes as a server does.
async fn publish_signed(
    context: &async_nats::jetstream::Context,
    key: &ed25519_dalek::SigningKey,
    version: u8,
    body: Vec<u8>,
) {
    let head = [&[version][..], &[7; 16], &now().seconds().to_be_bytes()].concat();
    let text = [&head[..], b"kez.chat.log\0", &body].concat();
    let signed = STANDARD_NO_PAD.encode([&head[..], &key.sign(&text).to_bytes()].concat());
    let sent = context.publish_with_headers("kez.chat.log", headers(&signed), body.into());
    sent.await.unwrap().await.unwrap();
}

/// What others read of a bucket: the value of a key as JSON.
async fn value(url: &str, key: &str) -> Option<serde_json::Value> {
    let context = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
    let bucket = context.get_key_value("KEZ_CHAT").await.unwrap();
    let value = bucket.get(key).await.unwrap()?;
    Some(serde_json::from_slice(&value).unwrap())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// So many servers on one NATS, behind one address.
fn together(count: usize) -> (Nats, Front, Vec<TempDir>, Vec<Server>) {
    let (nats, front, dirs) = (Nats::start(1, ""), Front::new(), folders(count));
    let start = |dir: &TempDir| front.start(dir.path(), &nats, &[]).unwrap();
    let servers: Vec<_> = dirs.iter().map(start).collect();
    front.lead_to(&servers);
    (nats, front, dirs, servers)
}

/// Handles and devices are in a key-value bucket of JetStream, for whoever reads one.
#[test]
fn the_directory_is_a_bucket() {
    let (nats, front, _dirs, servers) = together(2);
    let server = &front.server;
    let (mut alice, _bob) = (Person::join("alice", server), Person::join("bob", server));
    let value = |key: &str| block_on(value(&nats.url(), key));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let inner = |value: &serde_json::Value| -> serde_json::Value {
        serde_json::from_str(value.as_str().unwrap()).unwrap()
    };
    let set = value("handle.alice").unwrap();
    let served = server.plain("GET", "/v1/handles/alice", None).1;
    assert_eq!(set["register"]["handle"], served["record"]);
    assert_eq!(text(&set["register"]["chain"][0]), alice.chain.name().as_str());
    let device = value(&format!("device.{}", alice.device(0).value())).unwrap();
    assert_eq!(text(&device["put_bundle"]["device"]), alice.device(0).as_str());
    assert_eq!(inner(&device["put_bundle"]["bundle"])["payload"]["type"], "device_bundle");
    alice.add_device();
    assert_eq!(alice.put_chain(server).0, 204);
    let chain = value("chain.alice").unwrap();
    assert_eq!(text(&chain["update_chain"]["chain"][1]), alice.chain.to_bundle());
    assert_eq!(alice.send(server, "DELETE", "/v1/handles/alice", None).0, 204);
    assert_eq!(value("handle.alice").unwrap(), json!({ "release": { "handle": "alice" } }));
    assert_eq!(value("handle.carol"), None);

    // Two who want one name, at two servers at once: one gets it, and each set what it knew.
    for n in 0..12 {
        let name = format!("wanted{n}");
        let two = [Person::new(&name), Person::new(&name)];
        let got: Vec<_> = thread::scope(|scope| {
            let ask = |(person, at): (&Person, &Server)| {
                let body = person.registration(server);
                let url = format!("{}/v1/handles", at.url());
                scope.spawn(move || send("POST", &url, None, Some(body.to_string())))
            };
            let asking: Vec<_> = two.iter().zip(&servers).map(ask).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let first = got.iter().position(|answer| answer.0 == 201).unwrap();
        let other = &got[1 - first];
        assert_eq!((other.0, other.code()), (409, "handle_taken"), "{got:?}");
        let record = &two[first].record(server).primary;
        let served = server.plain("GET", &format!("/v1/handles/{name}"), None).1;
        assert_eq!(inner(&served["record"])["payload"]["primary"], record.as_str());
    }
    let compared = block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let stream = context.get_stream("KV_KEZ_CHAT").await.unwrap();
        let (mut last, mut compared) = (BTreeMap::new(), 0);
        for seq in 1..=stream.get_info().await.unwrap().state.last_sequence {
            let message = stream.get_raw_message(seq).await.unwrap();
            let expected = message.headers.get("Nats-Expected-Last-Subject-Sequence");
            assert_eq!(expected.is_some(), message.subject.starts_with("$KV."));
            let before = last.insert(message.subject.to_string(), seq).unwrap_or(0);
            if let Some(expected) = expected {
                assert_eq!(expected.as_str(), before.to_string());
                compared += usize::from(before > 0);
            }
        }
        compared
    });
    // Hers that was released, and the second one's of each name.
    assert_eq!(compared, 13);
}

/// What comes into an inbox is in a stream, for whoever reads one from a position on.
#[test]
fn inboxes_are_in_a_stream() {
    let (nats, front, _dirs, _servers) = together(2);
    let server = &front.server;
    let (alice, bob) = (Person::join("alice", server), Person::join("bob", server));
    let conversation = alice.converse(server, &[&bob]);
    for n in 0..20 {
        assert_eq!(alice.message(server, &conversation, &format!("{n}")).0, 201);
    }
    let items = bob.poll(server, 0);
    block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let stream = context.get_stream("KEZ_INBOX").await.unwrap();
        let mut from = 1;
        for item in items {
            let message = loop {
                let next = stream.get_first_raw_message_by_subject("kez.chat.inbox.bob", from);
                match next.await {
                    Ok(message) => break message,
                    // It is published after it was answered.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            from = message.sequence + 1;
            let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(body, item);
            let id = message.headers.get("Nats-Msg-Id").unwrap().as_str();
            assert_eq!(id, format!("bob/{}", item["seq"]));
        }
    });
}

/// What another user of the operator's NATS could do.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_signed_is_not_done() {
    let nats = Nats::start(1, "");
    let (url, dirs) = (nats.url(), folders(1));
    let client = async_nats::connect(&url).await.unwrap();
    let context = async_nats::jetstream::new(client.clone());
    let (dir, before) = tokio::task::spawn_blocking(move || {
        let front = Front::new();
        let dir = dirs.into_iter().next().unwrap();
        let first = front.start(dir.path(), &nats, &[]).unwrap();
        front.lead_to([&first]);
        let (alice, bob) =
            (Person::join("alice", &front.server), Person::join("bob", &front.server));
        let conversation = alice.converse(&front.server, &[&bob]);
        assert_eq!(alice.message(&front.server, &conversation, "once").0, 201);
        ((dir, nats, front, first, bob), 1)
    })
    .await
    .unwrap();
    let stream = context.get_stream("KV_KEZ_CHAT").await.unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let nothing = async_nats::HeaderMap::new();
    let log = || "kez.chat.log".to_owned();
    let bodies = [Vec::new(), b"nonsense".to_vec(), vec![1; 200]];
    let mut all = Vec::from(bodies.map(|body| (log(), nothing.clone(), body)));
    for head in ["", "=", "AQ", &STANDARD_NO_PAD.encode([1; 89]), &STANDARD_NO_PAD.encode([1; 90])]
    {
        all.push((log(), headers(head), b"nonsense".to_vec()));
    }
    for seq in 1..=last {
        // What a server signed, once more: as it is, a little changed, and elsewhere.
        let message = stream.get_raw_message(seq).await.unwrap();
        let (subject, body) = (message.subject.to_string(), message.payload.to_vec());
        let head = message.headers.get("Kez-Signed").unwrap().as_str();
        let mut changed = body.clone();
        *changed.last_mut().unwrap() ^= 1;
        let elsewhere = if subject == log() { "$KV.KEZ_CHAT.handle.carol" } else { "kez.chat.log" };
        all.push((elsewhere.into(), headers(head), body.clone()));
        all.push((subject.clone(), headers(head), changed));
        all.push((subject.clone(), nothing.clone(), body.clone()));
        all.push((subject, headers(head), body));
    }
    for (subject, headers, body) in all {
        let sent = context.publish_with_headers(subject, headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
    tokio::task::spawn_blocking(move || {
        let (_dir, _nats, front, _first, bob) = dir;
        let server = &front.server;
        assert_eq!(bob.texts(server, 0).len(), before);
        assert_eq!(server.plain("GET", "/readyz", None).0, 200);
        // Who has put something under a key keeps nobody from it.
        assert_eq!(server.plain("GET", "/v1/handles/carol", None).0, 404);
        Person::join("carol", server);
    })
    .await
    .unwrap();
}

/// What would never be done does not keep the rest from being done.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_fit_stops_nothing() {
    let nats = Nats::start(1, "");
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let (front, dirs) = (Front::new(), folders(1));
    let server = front.start(dirs[0].path(), &nats, &[]).unwrap();
    front.lead_to([&server]);
    let key = ed25519_dalek::SigningKey::from_bytes(&[0x5a; 32]);
    // A row of one value for a table of more: the eleventh command, table, rows.
    let body = postcard::to_allocvec(&(10_u32, "handles", vec![vec![0_u32]])).unwrap();
    publish_signed(&context, &key, 2, body).await;
    tokio::task::block_in_place(|| {
        assert_eq!(server.plain("GET", "/readyz", None).0, 200);
        Person::join("alice", &front.server);
    });
}

/// One of an older version would do something else than the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_stops() {
    let nats = Nats::start(1, "");
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let (front, dirs) = (Front::new(), folders(1));
    let server = front.start(dirs[0].path(), &nats, &[]).unwrap();
    assert_eq!(tokio::task::block_in_place(|| server.plain("GET", "/readyz", None)).0, 200);
    let key = ed25519_dalek::SigningKey::from_bytes(&[0x5a; 32]);
    publish_signed(&context, &key, 3, vec![1, 2, 3]).await;
    let answer = tokio::task::block_in_place(|| server.plain("GET", "/readyz", None));
    assert_eq!((answer.0, answer.code()), (503, "storage_failed"));
}

#[test]
fn what_does_not_belong_together_is_not_put_together() {
    let nats = Nats::start(1, "");
    let front = Front::new();
    let dirs = folders(1);
    let dir = dirs[0].path();
    front.start(dir, &nats, &[]).unwrap().0.terminate();
    let says = |command: &mut Command, why: &str| {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(said.contains(why), "{said}");
    };
    let other = Nats::start(1, "");
    says(&mut command(dir, &other.url()), "is a copy of another stream");
    says(command(dir, &nats.url()).env_remove("NATS_URL"), "is a copy of a NATS stream");
    let new = TempDir::new().unwrap();
    says(&mut command(new.path(), &nats.url()), "other servers write to the stream");
    fs::write(new.path().join("cluster.key"), "5b".repeat(32)).unwrap();
    says(&mut command(new.path(), &nats.url()), "the stream belongs to another server");
    fs::write(new.path().join("cluster.key"), "5b").unwrap();
    says(&mut command(new.path(), &nats.url()), "the key is damaged");
}

/// A community's server grows, and goes back.
#[test]
fn a_server_moves_to_nats_and_back() {
    let dir = TempDir::new().unwrap();
    let nats = Nats::start(1, "");
    let front = Front::new();
    let alone = || {
        let mut command = command(dir.path(), "");
        command.args(["--origin", front.server.url()]).env_remove("NATS_URL");
        let server = Server(Process::start(&mut command));
        front.lead_to([&server]);
        server
    };
    let migrate = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        command.args(["migrate", "--data"]).arg(dir.path()).args(options);
        let output = command.env("NATS_URL", nats.url()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let first = alone();
    let server = &front.server;
    let people: Vec<_> =
        ["alice", "bob", "carol"].map(|name| Person::join(name, server)).into_iter().collect();
    let [alice, bob, carol] = &people[..] else { panic!() };
    let conversation = alice.converse(server, &[bob, carol]);
    let package = json!({ "id": id(32), "body": base64(&[9; 99]), "last_resort": false });
    let put = json!({ "packages": [package] });
    assert_eq!(bob.send(server, "POST", "/v1/keypackages", Some(&put)).1["count"], 1);
    for n in 0..300 {
        // More than one message of the stream holds.
        let text = format!("{n} {}", "x".repeat(2000));
        assert_eq!(alice.message(server, &conversation, &text).0, 201);
    }
    assert_eq!(bob.acknowledge(server, 0, 100).0, 200);
    let state = || -> Vec<String> {
        let poll = |person: &Person| format!("{:?}", person.poll(server, 0));
        let mut all: Vec<_> = people.iter().map(poll).collect();
        let shown = format!("/v1/conversations/{conversation}");
        all.push(format!("{:?}", alice.send(server, "GET", &shown, None)));
        all.push(format!("{:?}", bob.send(server, "GET", "/v1/keypackages", None)));
        all
    };
    let before = state();
    first.0.terminate();
    let (done, said) = migrate(&[]);
    assert!(done && said.contains("3 handles"), "{said}");
    let one = front.start(dir.path(), &nats, &[]).unwrap();
    front.lead_to([&one]);
    assert_eq!(state(), before);
    for (person, name) in people.iter().zip(["alice", "bob", "carol"]) {
        let set = block_on(value(&nats.url(), &format!("handle.{name}"))).unwrap();
        assert_eq!(set["register"]["chain"][0], person.chain.name().as_str());
        let device = format!("device.{}", person.device(0).value());
        assert!(block_on(value(&nats.url(), &device)).unwrap()["put_bundle"].is_object());
    }
    let other = TempDir::new().unwrap();
    fs::copy(dir.path().join("cluster.key"), other.path().join("cluster.key")).unwrap();
    let two = front.start(other.path(), &nats, &[]).unwrap();
    front.lead_to([&two]);
    assert_eq!(state(), before);
    assert_eq!(bob.message(server, &conversation, "later").0, 201);
    let grown = state();
    two.0.terminate();
    one.0.terminate();
    assert!(migrate(&[]).1.contains("is a copy of a NATS stream already"));
    let (done, said) = migrate(&["--back"]);
    assert!(done && said.contains("3 handles"), "{said}");
    let first = alone();
    assert_eq!(state(), grown);
    first.0.terminate();
    // Of the other copy, without the stream.
    let mut lost = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
    lost.args(["migrate", "--back", "--as-it-is", "--data"]).arg(other.path());
    assert!(lost.status().unwrap().success());
    let mut lost = command(other.path(), "");
    lost.args(["--origin", front.server.url()]).env_remove("NATS_URL");
    let lost = Server(Process::start(&mut lost));
    front.lead_to([&lost]);
    assert_eq!(state(), grown);
    assert!(migrate(&[]).1.contains("the stream has messages already"));
}

/// Posts one message after the other, each until it is acknowledged.
fn write(
    person: &Person,
    server: &Server,
    conversation: &str,
    end: &AtomicBool,
) -> (Vec<String>, u64) {
    let (agent, mut sent, mut again) = (agent(), Vec::new(), 0);
    while !end.load(Ordering::Relaxed) {
        let text = format!("{} {}", person.handle, sent.len());
        let body = json!({
            "conversation": conversation, "id": id(16), "body": base64(text.as_bytes()),
        });
        loop {
            match person.try_send(&agent, server, 0, "POST", "/v1/messages", Some(&body)) {
                Ok(answer) if matches!(answer.0, 200 | 201) => break,
                Ok(answer) if answer.0 == 503 => again += 1,
                Ok(answer) => panic!("{answer:?}"),
                Err(_) => again += 1,
            }
            thread::sleep(Duration::from_millis(50));
        }
        sent.push(text);
        thread::sleep(Duration::from_millis(20));
    }
    (sent, again)
}

/// Listens to an inbox, again and again, until it has so much; what it got, in order.
fn listen(person: &Person, server: &Server, end: &AtomicBool, got: &AtomicU64) -> Vec<String> {
    let (mut since, mut all) = (0, Vec::new());
    while !end.load(Ordering::Relaxed) {
        let query = person.stream_query(server, 0);
        let path = format!("/v1/inbox/{}/stream?{query}&since={since}", person.handle);
        let opened = Stream::try_open(server, &path, &[]);
        let Some(mut stream) = opened.ok().filter(|stream| stream.status == 200) else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        // Silent ones are looked after: the server's signs of life come every 15 s.
        while let Some(sent) = stream.next_raw() {
            if sent.event == "item" {
                let item = sent.json();
                let position = item["seq"].as_u64().unwrap();
                assert!(position > since, "{position} after {since}");
                since = position;
                if item["kind"] == "message" {
                    all.push(sent.text());
                    got.fetch_add(1, Ordering::Relaxed);
                }
            }
            if end.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    all
}

/// Three servers on a cluster of three, both killed, stopped and cut off at random while clients
/// post and listen: every acknowledged message comes to everybody once and in order.
/// `KEZ_FAULT_SECONDS` and `KEZ_FAULT_CLIENTS` make it longer and wider.
#[test]
fn nothing_acknowledged_is_lost_whoever_dies() {
    let place = move_out("nothing_acknowledged_is_lost_whoever_dies");
    if place == Place::Elsewhere {
        return;
    }
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |n| n.parse().unwrap());
    let (seconds, clients) = (number("KEZ_FAULT_SECONDS", 20), number("KEZ_FAULT_CLIENTS", 24));
    let seed = now().seconds().unsigned_abs();
    let mut troubles = Troubles::new(seed);
    let mut nats = Nats::start_in(place, 3, "");
    let (front, dirs) = (Front::new(), folders(3));
    let begun = Instant::now();
    let late = || {
        if begun.elapsed() > Duration::from_secs(seconds + 60) {
            for dir in &dirs {
                eprintln!("{}", fs::read_to_string(dir.path().join("messages")).unwrap());
            }
            panic!("seed {seed}: late");
        }
    };
    let start = |dir: &TempDir, nats: &Nats| loop {
        // A cluster needs a moment until it has a leader.
        late();
        let server = front.start(dir.path(), nats, &["--nats-replicas", "3"]);
        if let Some(server) = server {
            return server;
        }
        thread::sleep(Duration::from_millis(200));
    };
    let mut servers: Vec<_> = dirs.iter().map(|dir| start(dir, &nats)).collect();
    front.lead_to(&servers);
    let server = &front.server;
    while server.plain("GET", "/readyz", None).0 != 200 {
        late();
        thread::sleep(Duration::from_millis(100));
    }
    // Half of them write; each writes to a group of four, and all listen.
    let people: Vec<_> =
        (0..clients / 2).map(|n| Person::join(&format!("person{n}"), server)).collect();
    let groups: Vec<_> = people
        .chunks(4)
        .map(|group| group[0].converse(server, &group[1..].iter().collect::<Vec<_>>()))
        .collect();
    let (stop, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let counts: Vec<_> = people.iter().map(|_| AtomicU64::new(0)).collect();
    let writing = Instant::now();
    thread::scope(|scope| {
        let (stop, end) = (&stop, &end);
        let listeners: Vec<_> = people
            .iter()
            .zip(&counts)
            .map(|(person, count)| scope.spawn(move || listen(person, server, end, count)))
            .collect();
        let writers: Vec<_> = people
            .iter()
            .enumerate()
            .map(|(n, person)| {
                let group = &groups[n / 4];
                scope.spawn(move || write(person, server, group, stop))
            })
            .collect();
        while writing.elapsed() < Duration::from_secs(seconds) {
            if let Trouble::Server(one) = troubles.next(&mut nats) {
                servers.remove(one).0.kill();
                front.lead_to(&servers);
                thread::sleep(Duration::from_secs(1));
                servers.insert(one, start(&dirs[one], &nats));
                front.lead_to(&servers);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (mut sent, mut again): (Vec<Vec<String>>, u64) = (Vec::new(), 0);
        for writer in writers {
            let (texts, retries) = writer.join().unwrap();
            sent.push(texts);
            again += retries;
        }
        let expected = |n: usize| -> u64 {
            let from = n / 4 * 4;
            sent[from..(from + 4).min(sent.len())].iter().map(|texts| texts.len() as u64).sum()
        };
        let all_there = || {
            let mut counts = counts.iter().enumerate();
            counts.all(|(n, count)| count.load(Ordering::Relaxed) >= expected(n))
        };
        while !all_there() {
            if begun.elapsed() > Duration::from_secs(seconds + 60) {
                end.store(true, Ordering::Relaxed);
                let state = |server: &Server| server.plain("GET", "/readyz", None).0;
                let states: Vec<_> = servers.iter().map(state).collect();
                let missing =
                    |(n, count): (usize, &AtomicU64)| (expected(n), count.load(Ordering::Relaxed));
                let counts: Vec<_> = counts.iter().enumerate().map(missing).collect();
                drop(std::mem::take(&mut servers));
                panic!("seed {seed}: lost: {counts:?}, {states:?}");
            }
            thread::sleep(Duration::from_millis(200));
        }
        end.store(true, Ordering::Relaxed);
        // One more message wakes those who listen. The last trouble may be over for clients before
        // it is for each server.
        for (group, people) in groups.iter().zip(people.chunks(4)) {
            while people[0].message(server, group, "end").0 != 201 {
                late();
                thread::sleep(Duration::from_millis(100));
            }
        }
        let mut delivered = 0;
        for (n, listener) in listeners.into_iter().enumerate() {
            let got = listener.join().unwrap();
            let mut by_sender: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
            for text in got.iter().filter(|text| *text != "end") {
                by_sender.entry(text.split(' ').next().unwrap()).or_default().push(text);
            }
            let from = n / 4 * 4;
            for (person, texts) in people[from..].iter().zip(&sent[from..]).take(4) {
                let came = by_sender.remove(&*person.handle).unwrap_or_default();
                assert!(came.into_iter().eq(texts), "seed {seed}: {} at {n}", person.handle);
                delivered += texts.len();
            }
            assert!(by_sender.is_empty(), "seed {seed}");
        }
        let acknowledged: usize = sent.iter().map(Vec::len).sum();
        println!(
            "{acknowledged} messages of {clients} clients acknowledged in {} s, {delivered} \
             deliveries, each once and in order; {troubles}; {again} requests tried again",
            writing.elapsed().as_secs(),
        );
    });
    // What is read by position is what was pushed.
    let inbox = texts(&people[0].poll(server, 0));
    assert!(!inbox.is_empty());
}
