//! What is pushed, to whom, and when, by the real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Person, Server, Stream, base64, id, send};
use kez_core::{
    Op, Scheme,
    chat::{
        CAPABILITY,
        auth::{Binds, Request, WINDOW_MS},
    },
};
use serde_json::json;
use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

fn server(options: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), options);
    (dir, server)
}

/// KEZ-DELIVER-04
#[test]
fn a_message_is_pushed_at_once() {
    let (_dir, server) = server(&[]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let mut stream = bob.stream(&server, 0);
    assert!(!stream.next_raw().unwrap().retry.is_empty());
    for n in 0..20 {
        let start = Instant::now();
        let posted = alice.message(&server, &conversation, &format!("hello {n}"));
        assert_eq!((posted.0, posted.1["position"].as_u64()), (201, Some(n + 2)));
        assert_eq!(stream.texts(1), [format!("hello {n}")]);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    // It is durable, and comes by polling too, with the same positions.
    let items = bob.poll(&server, 0);
    assert_eq!(items.len(), 20);
    assert_eq!(items[19]["seq"], 20);
    assert_eq!(bob.texts(&server, 18), ["hello 18", "hello 19"]);
    // The sender's other devices see it as well.
    assert_eq!(alice.texts(&server, 0).len(), 20);
}

/// KEZ-AUTH-03, KEZ-DELIVER-06, KEZ-DELIVER-10
#[test]
fn nobody_gets_what_is_for_others() {
    let (_dir, server) = server(&[]);
    let alice = Person::join("alice", &server);
    let (bob, carol) = (Person::join("bob", &server), Person::join("carol", &server));
    let (for_bob, for_carol) =
        (alice.converse(&server, &[&bob]), alice.converse(&server, &[&carol]));
    let (mut bobs, mut carols) = (bob.stream(&server, 0), carol.stream(&server, 0));
    bobs.next_raw();
    carols.next_raw();
    alice.message(&server, &for_bob, "for bob");
    assert_eq!(bobs.texts(1), ["for bob"]);
    assert!(carols.is_quiet(Duration::from_millis(500)));
    alice.message(&server, &for_carol, "for carol");
    assert_eq!(carols.texts(1), ["for carol"]);
    assert!(bobs.is_quiet(Duration::from_millis(500)));
    assert_eq!(carol.texts(&server, 0), ["for carol"]);
    // Nor may one read or write where one is no member, or at somebody else's inbox.
    let message = carol.message(&server, &for_bob, "hello");
    assert_eq!((message.0, message.code()), (404, "conversation_unknown"));
    let path = format!("/v1/conversations/{for_bob}/log?since=0");
    assert_eq!(carol.send(&server, "GET", &path, None).code(), "conversation_unknown");
    let others = carol.send(&server, "GET", "/v1/inbox/bob?since=0", None);
    assert_eq!((others.0, others.code()), (403, "auth_refused"));
    let query = {
        let path = "/v1/inbox/bob/stream";
        carol.credentials(&server, 0, "GET", path, Binds::Nothing).to_query()
    };
    assert_eq!(Stream::open(&server, &format!("/v1/inbox/bob/stream?{query}"), &[]).status, 403);
    let ack = carol.send(&server, "POST", "/v1/inbox/bob/ack", Some(&json!({ "seq": 1 })));
    assert_eq!((ack.0, ack.code()), (403, "auth_refused"));
}

/// KEZ-DELIVER-04
#[test]
fn all_who_listen_to_a_handle_are_told() {
    let (_dir, server) = server(&[]);
    let (alice, mut bob) = (Person::join("alice", &server), Person::join("bob", &server));
    bob.add_device();
    assert_eq!(bob.put_chain(&server).0, 204);
    let conversation = alice.converse(&server, &[&bob]);
    let mut streams: Vec<Stream> = (0..3).map(|_| bob.stream(&server, 0)).collect();
    streams.extend((0..3).map(|_| bob.stream_as(&server, 1, 0)));
    alice.message(&server, &conversation, "to all");
    for stream in &mut streams {
        assert_eq!(stream.texts(1), ["to all"]);
    }
    // Without anybody who listens it is kept, and no error.
    drop(streams);
    assert_eq!(alice.message(&server, &conversation, "to none").0, 201);
    assert_eq!(bob.stream(&server, 0).texts(2), ["to all", "to none"]);
    // From a position, by parameter or as browsers come back.
    assert_eq!(bob.stream(&server, 1).texts(1), ["to none"]);
    let path = format!("/v1/inbox/bob/stream?{}&since=0", bob.stream_query(&server, 0));
    let mut again = Stream::open(&server, &path, &[("last-event-id", "1")]);
    assert_eq!(again.texts(1), ["to none"]);
}

#[test]
fn the_oldest_of_too_many_streams_goes() {
    let (_dir, server) = server(&["--streams", "2"]);
    let bob = Person::join("bob", &server);
    let mut first = bob.stream(&server, 0);
    let _second = bob.stream(&server, 0);
    let _third = bob.stream(&server, 0);
    let end = first.next().unwrap();
    assert_eq!((end.event.as_str(), end.json()), ("end", json!({ "reason": "replaced" })));
    assert!(first.next().is_none());
}

/// KEZ-DELIVER-04
#[test]
fn who_is_slow_reads_on_from_the_storage() {
    let (_dir, server) = server(&[]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    // Bob takes part: so much of a stranger's would not be taken.
    assert_eq!(bob.message(&server, &conversation, "hello").0, 201);
    let mut stream = bob.stream(&server, 1);
    stream.next_raw();
    // More than fits into the sockets and the channel, while the stream is not read.
    let text = "x".repeat(48 * 1024);
    let count = 400;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..count / 4 {
                    assert_eq!(alice.message(&server, &conversation, &text).0, 201);
                }
            });
        }
    });
    let (mut expected, mut resyncs) = (2, 0);
    while expected <= count + 1 {
        let sent = stream.next().expect("an event");
        if sent.event == "resync" {
            assert_eq!(sent.json()["since"], expected - 1);
            resyncs += 1;
            continue;
        }
        assert_eq!(sent.id, expected.to_string());
        expected += 1;
    }
    assert!(resyncs > 0, "it was never too slow");
    // It is up to date again.
    alice.message(&server, &conversation, "live");
    assert_eq!(stream.texts(1), ["live"]);
}

/// KEZ-DELIVER-04
#[test]
fn a_quiet_stream_says_that_it_lives() {
    let (_dir, server) = server(&[]);
    let bob = Person::join("bob", &server);
    let mut stream = bob.stream(&server, 0);
    stream.next_raw();
    let start = Instant::now();
    assert!(stream.next_raw().unwrap().comment);
    let waited = start.elapsed().as_secs_f64();
    assert!((14.0..17.0).contains(&waited), "{waited}");
}

#[test]
fn a_stream_ends_by_its_age() {
    let (_dir, server) = server(&["--stream-life", "1"]);
    let bob = Person::join("bob", &server);
    let mut stream = bob.stream(&server, 0);
    let end = stream.next().unwrap();
    assert_eq!((end.event.as_str(), end.json()), ("end", json!({ "reason": "age" })));
    assert!((500..=5000).contains(&end.retry.parse::<u64>().unwrap()));
    assert!(stream.next().is_none());
}

/// KEZ-DELIVER-04
#[test]
fn the_end_of_the_server_is_told() {
    let (_dir, server) = server(&[]);
    let bob = Person::join("bob", &server);
    let mut stream = bob.stream(&server, 0);
    stream.next_raw();
    server.0.terminate();
    let end = stream.next().unwrap();
    assert_eq!((end.event.as_str(), end.json()), ("end", json!({ "reason": "shutdown" })));
    assert!((500..=5000).contains(&end.retry.parse::<u64>().unwrap()));
    assert!(stream.next().is_none());
}

/// KEZ-AUTH-03, KEZ-DELIVER-06
#[test]
fn a_revoked_device_is_out() {
    let (_dir, server) = server(&[]);
    let (alice, mut bob) = (Person::join("alice", &server), Person::join("bob", &server));
    bob.add_device();
    bob.put_chain(&server);
    let conversation = alice.converse(&server, &[&bob]);
    let (mut kept, mut gone) = (bob.stream(&server, 0), bob.stream_as(&server, 1, 0));
    alice.message(&server, &conversation, "both");
    assert_eq!((kept.texts(1), gone.texts(1)), (vec!["both".into()], vec!["both".into()]));
    bob.revoke(1);
    assert_eq!(bob.put_chain(&server).0, 204);
    let end = gone.next().unwrap();
    assert_eq!((end.event.as_str(), end.json()), ("end", json!({ "reason": "revoked" })));
    assert!(gone.next().is_none());
    alice.message(&server, &conversation, "one");
    assert_eq!(kept.texts(1), ["one"]);
    let poll = bob.send_as(&server, 1, "GET", "/v1/inbox/bob?since=0", None);
    assert_eq!((poll.0, poll.code()), (401, "device_revoked"));
    let path = format!("/v1/inbox/bob/stream?{}", bob.stream_query(&server, 1));
    assert_eq!(Stream::open(&server, &path, &[]).status, 401);
}

/// KEZ-AUTH-01, KEZ-AUTH-02, KEZ-AUTH-03
#[test]
fn signatures_are_for_one_place_and_one_use() {
    let (_dir, server) = server(&[]);
    let bob = Person::join("bob", &server);
    let url = |path: &str| format!("{}{path}", server.url());
    let (inbox, stream) = ("/v1/inbox/bob", "/v1/inbox/bob/stream");
    let get = |path: &str, auth: Option<&str>| send("GET", &url(path), auth, None);
    // None at all.
    let none = get("/v1/inbox/bob?since=0", None);
    assert_eq!((none.0, none.code()), (400, "auth_missing"));
    assert_eq!(get("/v1/inbox/bob?since=0", Some("Bearer x")).code(), "auth_missing");
    for query in ["", "?since=0", "?device=00", "?auth=1:00"] {
        let none = get(&format!("{stream}{query}"), None);
        assert_eq!((none.0, none.code()), (400, "auth_missing"), "{query}");
    }
    // Not well-formed.
    let bad = get("/v1/inbox/bob?since=0", Some("KEZ x"));
    assert_eq!((bad.0, bad.code()), (401, "auth_refused"));
    let bad = get(&format!("{stream}?device=00&auth=1:00"), None);
    assert_eq!((bad.0, bad.code()), (401, "auth_refused"));
    // A poll's signature at the stream, and the reverse.
    let poll = bob.credentials(&server, 0, "GET", inbox, Binds::Since(0));
    let refused = get(&format!("{stream}?{}", poll.to_query()), None);
    assert_eq!((refused.0, refused.code()), (401, "auth_refused"));
    let streams = bob.credentials(&server, 0, "GET", stream, Binds::Nothing);
    let refused = get("/v1/inbox/bob?since=0", Some(&streams.to_header()));
    assert_eq!((refused.0, refused.code()), (401, "auth_refused"));
    // Of another position, method or body.
    for path in ["/v1/inbox/bob?since=1", "/v1/inbox/bob?since=01"] {
        let poll = bob.credentials(&server, 0, "GET", inbox, Binds::Since(0));
        assert_eq!(get(path, Some(&poll.to_header())).0, 401, "{path}");
    }
    let twice = bob.credentials(&server, 0, "GET", inbox, Binds::Since(0)).to_header();
    let answer = get("/v1/inbox/bob?since=0&since=1", Some(&twice));
    assert_eq!((answer.0, answer.code()), (400, "usage"));
    let ack = bob.credentials(&server, 0, "POST", "/v1/inbox/bob/ack", Binds::Body(b"{\"seq\":1}"));
    let other = Some("{\"seq\":2}".to_owned());
    assert_eq!(send("POST", &url("/v1/inbox/bob/ack"), Some(&ack.to_header()), other).0, 401);
    // The same twice: in the header, in the query, and from one to the other.
    let poll = bob.credentials(&server, 0, "GET", inbox, Binds::Since(0)).to_header();
    assert_eq!(get("/v1/inbox/bob?since=0", Some(&poll)).0, 200);
    let again = get("/v1/inbox/bob?since=0", Some(&poll));
    assert_eq!((again.0, again.code()), (401, "auth_refused"));
    let query = bob.stream_query(&server, 0);
    let path = format!("{stream}?{query}");
    assert_eq!(Stream::open(&server, &path, &[]).status, 200);
    assert_eq!(Stream::open(&server, &path, &[]).status, 401);
    // By sixteen at once, one of them counts.
    let poll = bob.credentials(&server, 0, "GET", inbox, Binds::Since(0)).to_header();
    let barrier = Barrier::new(16);
    let ask = || {
        barrier.wait();
        get("/v1/inbox/bob?since=0", Some(&poll)).0
    };
    let good: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| usize::from(one.join().unwrap() == 200)).sum()
    });
    assert_eq!(good, 1);
    // Before and after the window, and for another server.
    let now = common::now_ms();
    for at_ms in [now - WINDOW_MS - 5000, now + WINDOW_MS + 5000] {
        let request = Request {
            origin: server.url(),
            method: "GET",
            path: inbox,
            binds: Binds::Since(0),
            at_ms,
        };
        let auth = request.sign(&bob.devices[0]).unwrap().to_header();
        let answer = get("/v1/inbox/bob?since=0", Some(&auth));
        assert_eq!((answer.0, answer.code()), (401, "auth_refused"));
    }
    let elsewhere = Request {
        origin: "https://evil.example",
        method: "GET",
        path: inbox,
        binds: Binds::Since(0),
        at_ms: now,
    };
    let auth = elsewhere.sign(&bob.devices[0]).unwrap().to_header();
    assert_eq!(get("/v1/inbox/bob?since=0", Some(&auth)).0, 401);
    // A device of nobody here.
    let stranger = Person::new("stranger");
    let unknown = stranger.send(&server, "GET", "/v1/inbox/stranger?since=0", None);
    assert_eq!((unknown.0, unknown.code()), (401, "auth_refused"));
}

/// KEZ-DELIVER-01, KEZ-DELIVER-02
#[test]
fn positions_have_no_gaps_whoever_writes() {
    let (_dir, server) = server(&[]);
    let people: Vec<Person> =
        (0..6).map(|n| Person::join(&format!("person{n}"), &server)).collect();
    let others: Vec<&Person> = people.iter().skip(1).collect();
    let conversation = people[0].converse(&server, &others);
    let mut streams: Vec<Stream> = people.iter().map(|p| p.stream(&server, 0)).collect();
    thread::scope(|scope| {
        for person in &people {
            let (server, conversation) = (&server, &conversation);
            scope.spawn(move || {
                for n in 0..25 {
                    person.message(server, conversation, &format!("{} {n}", person.handle));
                }
            });
        }
    });
    let mut orders = Vec::new();
    for stream in &mut streams {
        let mut order = Vec::new();
        let mut entry = None;
        while order.len() < 150 {
            let sent = stream.next().unwrap();
            let item = sent.json();
            if item["kind"] == "message" {
                let position = item["position"].as_u64().unwrap();
                assert!(entry.is_none_or(|before| position == before + 1));
                entry = Some(position);
                order.push(sent.text());
            }
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

/// KEZ-DELIVER-01, KEZ-DELIVER-07
#[test]
fn of_two_commits_one_wins() {
    let (_dir, server) = server(&[]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let path = format!("/v1/conversations/{conversation}/commits");
    let recipients = ["alice", "bob"];
    let mut expect = 1;
    for round in 0..20 {
        // Messages take positions of their own, and are no conflict.
        alice.message(&server, &conversation, "between");
        let barrier = Barrier::new(8);
        let post = |person: &Person, n: usize| {
            let body = json!({
                "expect": expect, "id": id(16), "body": base64(&[n as u8]),
                "recipients": recipients,
            });
            barrier.wait();
            person.send(&server, "POST", &path, Some(&body))
        };
        let answers: Vec<_> = thread::scope(|scope| {
            let post = &post;
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let person = if n % 2 == 0 { &alice } else { &bob };
                    scope.spawn(move || post(person, n))
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter(|answer| answer.0 == 201).collect();
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        let position = won[0].1["position"].as_u64().unwrap();
        for answer in answers.iter().filter(|answer| answer.0 != 201) {
            assert_eq!((answer.0, answer.code()), (409, "commit_conflict"));
            assert_eq!(answer.1["changed"], position);
        }
        expect = position;
    }
}

#[test]
fn a_stream_ends_with_its_devices_time() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut bob = Person::join("bob", &server);
    let device = common::key(Scheme::Ed25519);
    let op = Op::AddDevice {
        device: device.public().clone(),
        caps: vec![CAPABILITY.into()],
        not_after: Some(common::now().plus(4)),
        name: None,
    };
    bob.append_with(op, Some(&device), None);
    bob.devices.push(device);
    assert_eq!(bob.put_chain(&server).0, 204);
    let (mut lasting, mut limited) = (bob.stream_as(&server, 0, 0), bob.stream_as(&server, 1, 0));
    // News of the devices do not lengthen it.
    bob.add_device();
    assert_eq!(bob.put_chain(&server).0, 204);
    let end = limited.next().unwrap();
    assert_eq!((&*end.event, &*end.data), ("end", r#"{"reason":"age"}"#));
    assert!(limited.next().is_none());
    let query = bob.stream_query(&server, 1);
    let path = format!("/v1/inbox/bob/stream?{query}");
    assert_eq!(Stream::open(&server, &path, &[]).status, 401);
    assert_eq!(lasting.next_raw().unwrap().retry, "1000");
    assert!(lasting.is_quiet(Duration::from_millis(100)));
}
