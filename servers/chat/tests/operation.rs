//! Kills, quotas, full disks, slow peers, many streams, backups, metrics, and what the logs say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Person, Server, Stream, agent, base64, id, send, texts};
use kez_core::chat::auth::Binds;
use kez_server::testing::{ask, preflight};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Everything that waits in an inbox.
fn all(person: &Person, server: &Server) -> Vec<String> {
    let (mut since, mut all) = (0, Vec::new());
    loop {
        let items = person.poll(server, since);
        let Some(last) = items.last() else { return all };
        since = last["seq"].as_u64().unwrap();
        all.extend(texts(&items));
    }
}

/// The app's files beside the API: a page for every path that is no file, nothing that is kept too
/// long, and no frame.
#[test]
fn the_app_is_served_beside_the_api() {
    let (dir, app) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let lasting = app.path().join("_app/immutable");
    fs::create_dir_all(&lasting).unwrap();
    fs::create_dir(app.path().join("prove")).unwrap();
    fs::write(app.path().join("404.html"), "<!doctype html>shell").unwrap();
    fs::write(lasting.join("start.js"), "1").unwrap();
    fs::write(lasting.join("start.js.br"), "packed").unwrap();
    let server = Server::start(dir.path(), &["--app", app.path().to_str().unwrap()]);
    let get =
        |path: &str| ask(&format!("{}{path}", server.url()), "GET", "accept-encoding: br\r\n");
    for page in ["/", "/prove", "/github:alice", "/ap:alice@social.example"] {
        let (status, headers) = get(page);
        assert_eq!((status, &*headers["content-type"]), (200, "text/html"), "{page}");
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["content-security-policy"], "frame-ancestors 'none'");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
    let (status, headers) = get("/_app/immutable/start.js");
    assert_eq!((status, &*headers["content-encoding"]), (200, "br"));
    assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    for nothing in ["/v1/nothing", "/_app/immutable/gone.js", "/_app/../../etc/passwd"] {
        assert_ne!(get(nothing).0, 200, "{nothing}");
    }
    assert_eq!(get("/v1/nothing").1["content-type"], "application/problem+json");
    let metadata = server.plain("GET", "/client-metadata.json", None).1;
    assert_eq!(metadata["client_id"], format!("{}/client-metadata.json", server.url()));
    assert_eq!(metadata["redirect_uris"][0], format!("{}/back", server.url()));
    assert_eq!(get("/healthz").0, 200);
    // A page that comes from elsewhere may use the API too.
    let inbox = format!("{}/v1/inbox/alice/ack", server.url());
    let (status, headers) = preflight(&inbox, "POST", "authorization");
    assert_eq!((status, &*headers["access-control-allow-origin"]), (200, "*"));
    assert!(headers["access-control-allow-headers"].contains("authorization"));
}

/// KEZ-DELIVER-02, KEZ-DELIVER-03, KEZ-DELIVER-09
#[test]
fn killed_a_hundred_times_under_load_it_keeps_what_it_acknowledged() {
    let dir = TempDir::new().unwrap();
    let first = Server::start(dir.path(), &[]);
    let address = first.address().to_owned();
    let (alice, bob) = (Person::join("alice", &first), Person::join("bob", &first));
    let conversation = alice.converse(&first, &[&bob]);
    first.0.kill();
    let (acknowledged, unsure) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    for round in 0..100 {
        let server = Server::listening(dir.path(), &address, &[]);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..4 {
                let (alice, bob, stop, server) = (&alice, &bob, &stop, &server);
                let (acknowledged, unsure) = (&acknowledged, &unsure);
                let conversation = &conversation;
                scope.spawn(move || {
                    let person = if writer % 2 == 0 { alice } else { bob };
                    let agent = agent();
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        let text = format!("{round}/{writer}/{n}");
                        let body = json!({
                            "conversation": conversation, "id": id(16),
                            "body": base64(text.as_bytes()),
                        });
                        let path = "/v1/messages";
                        match person.try_send(&agent, server, 0, "POST", path, Some(&body)) {
                            Ok(answer) if answer.0 == 201 => {
                                acknowledged.lock().unwrap().push(text);
                            }
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => {
                                unsure.lock().unwrap().push((writer, body));
                                return;
                            }
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(20 + round % 7 * 15));
            let id = server.0.child.id().to_string();
            assert!(Command::new("kill").args(["-9", &id]).status().unwrap().success());
            stop.store(true, Ordering::Relaxed);
        });
    }
    let server = Server::listening(dir.path(), &address, &["--inbox-items", "1000000"]);
    // Who got no answer asks again, and it is there once.
    for (writer, body) in unsure.lock().unwrap().iter() {
        let person = if writer % 2 == 0 { &alice } else { &bob };
        let answer = person.send(&server, "POST", "/v1/messages", Some(body));
        assert!(matches!(answer.0, 200 | 201), "{answer:?}");
        let text = common::unbase64(&body["body"]);
        acknowledged.lock().unwrap().push(String::from_utf8(text).unwrap());
    }
    let sent = acknowledged.into_inner().unwrap();
    for person in [&alice, &bob] {
        let got = all(person, &server);
        let unique: BTreeSet<&String> = got.iter().collect();
        assert_eq!(unique.len(), got.len(), "one came twice");
        assert!(sent.iter().all(|text| unique.contains(text)), "one was lost");
        assert_eq!(got.len(), sent.len());
    }
    assert!(sent.len() > 300, "{}", sent.len());
}

/// KEZ-AUTH-03, KEZ-AUTH-07, KEZ-AUTH-08
#[test]
fn a_used_signature_is_refused_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    let address = server.address().to_owned();
    let bob = Person::join("bob", &server);
    let mut used = Vec::new();
    for round in 0..4 {
        let url = format!("{}/v1/keypackages", server.url());
        let ask = |auth: &str| send("GET", &url, Some(auth), None);
        let credentials = bob.credentials(&server, 0, "GET", "/v1/keypackages", Binds::Nothing);
        used.push(credentials.to_header());
        assert_eq!(ask(used.last().unwrap()).0, 200);
        let query = bob.stream_query(&server, 0);
        let path = format!("/v1/inbox/bob/stream?{query}");
        assert_eq!(Stream::open(&server, &path, &[]).status, 200);
        if round % 2 == 0 {
            server.0.kill();
        } else {
            server.0.terminate();
            // A clean end outlives the machine's.
            assert!(fs::read(dir.path().join("seen.0")).unwrap().starts_with(b"clean"));
        }
        server = Server::listening(dir.path(), &address, &[]);
        for auth in &used {
            let again = ask(auth);
            assert_eq!((again.0, again.code()), (401, "auth_refused"));
        }
        assert_eq!(Stream::open(&server, &path, &[]).status, 401);
        // New ones are good at once, by polls and streams.
        assert_eq!(bob.poll(&server, 0).len(), 0);
        bob.stream(&server, 0);
    }
    // The machine stopped: nobody knows what was used. Clients are told when to come back.
    server.0.kill();
    let mut file = fs::read(dir.path().join("seen.1")).unwrap();
    file[..36].copy_from_slice(&[b'x'; 36]);
    fs::write(dir.path().join("seen.1"), file).unwrap();
    let mut server = Server::listening(dir.path(), &address, &[]);
    for clean in [true, false, true] {
        // Another restart does not make it forget.
        let answer = bob.send(&server, "GET", "/v1/keypackages", None);
        assert_eq!((answer.0, answer.code()), (503, "rate_limited"));
        if clean {
            server.0.terminate();
        } else {
            server.0.kill();
        }
        server = Server::listening(dir.path(), &address, &[]);
    }
    let answer = bob.send(&server, "GET", "/v1/keypackages", None);
    assert_eq!((answer.0, answer.code()), (503, "rate_limited"));
    assert_eq!(server.plain("GET", "/v1/handles/bob", None).0, 200);
}

/// KEZ-DELIVER-05, KEZ-DELIVER-13
#[test]
fn what_all_devices_have_is_dropped() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (alice, mut bob) = (Person::join("alice", &server), Person::join("bob", &server));
    bob.add_device();
    bob.put_chain(&server);
    let conversation = alice.converse(&server, &[&bob]);
    for n in 0..5 {
        alice.message(&server, &conversation, &n.to_string());
    }
    let log = format!("/v1/conversations/{conversation}/log?since=0");
    let entries = |person: &Person| {
        person.send(&server, "GET", &log, None).1["items"].as_array().unwrap().len()
    };
    assert_eq!(bob.acknowledge(&server, 0, 3).1, json!({ "seq": 3 }));
    assert_eq!(bob.texts(&server, 0).len(), 5);
    // No more can be acknowledged than there is, and never less than before.
    assert_eq!(bob.acknowledge(&server, 1, 99).1, json!({ "seq": 5 }));
    assert_eq!(bob.texts(&server, 0), ["3", "4"]);
    bob.acknowledge(&server, 0, 1);
    assert_eq!(bob.texts(&server, 0), ["3", "4"]);
    // The log keeps what somebody still waits for: Alice's devices have acknowledged nothing.
    assert_eq!(entries(&alice), 6);
    alice.acknowledge(&server, 0, 6);
    assert_eq!((entries(&alice), alice.poll(&server, 0).len()), (2, 0));
    // A revoked device keeps nothing back.
    bob.revoke(0);
    bob.put_chain(&server);
    let answer = bob.acknowledge(&server, 1, 5);
    assert_eq!(answer.1, json!({ "seq": 5 }));
    assert_eq!(entries(&alice), 0);
    // Positions go on, they do not begin anew.
    assert_eq!(alice.message(&server, &conversation, "next").1["position"], 7);
    let path = "/v1/inbox/bob?since=0";
    let inbox = bob.send_as(&server, 1, "GET", path, None).1;
    assert_eq!((&inbox["last"], &inbox["items"][0]["seq"]), (&json!(6), &json!(6)));
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--quota", "400000"]);
    let address = server.address().to_owned();
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let dave = Person::join("dave", &server);
    let conversation = alice.converse(&server, &[&bob]);
    let text = "x".repeat(20_000);
    let mut taken = 0;
    let refused = loop {
        let answer = alice.message(&server, &conversation, &text);
        if answer.0 != 201 {
            break answer;
        }
        taken += 1;
        assert!(taken < 100);
    };
    assert_eq!((refused.0, refused.code()), (507, "quota_exceeded"));
    assert!(taken > 5);
    let ready = agent().get(format!("{}/readyz", server.url())).call().unwrap();
    let (status, text) = (ready.status(), ready.into_body().read_to_string().unwrap());
    assert!(status == 200 && text.contains("quota reached"), "{text}");
    // A stolen device can still be revoked; new handles are refused.
    let carol = Person::new("carol");
    let answer = server.plain("POST", "/v1/handles", Some(&carol.registration(&server)));
    assert_eq!((answer.0, answer.code()), (507, "quota_exceeded"));
    let mut dave = dave;
    dave.revoke(0);
    assert_eq!(dave.put_chain(&server).0, 204);
    assert_eq!(dave.send(&server, "GET", "/v1/keypackages", None).code(), "device_revoked");
    // What is there can be read and streamed, and after making room it goes on.
    assert_eq!(bob.texts(&server, 0).len(), taken);
    assert_eq!(bob.stream(&server, 0).texts(taken).len(), taken);
    server.0.terminate();
    let server = Server::listening(dir.path(), &address, &["--quota", "4000000"]);
    assert_eq!(alice.message(&server, &conversation, "again").0, 201);
    assert_eq!(all(&bob, &server).len(), taken + 1);
}

fn gauge(server: &Server, name: &str) -> i64 {
    let url = server.0.metrics.as_ref().unwrap();
    let text = agent().get(url).call().unwrap().into_body().read_to_string().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

fn wait_for(limit: Duration, what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn peers_that_do_not_read_are_reaped() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--metrics", "127.0.0.1:0", "--stream-life", "2"]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    // Bob takes part: so much of a stranger's would not be taken.
    assert_eq!(bob.message(&server, &conversation, "hello").0, 201);
    let text = "x".repeat(48_000);
    for _ in 0..300 {
        assert_eq!(alice.message(&server, &conversation, &text).0, 201);
    }
    // They ask for 19 MB; some read nothing, some a byte now and then.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut stalled = Vec::new();
        for n in 0..8 {
            let path = format!("/v1/inbox/bob/stream?{}&since=0", bob.stream_query(&server, 0));
            let mut socket = TcpStream::connect(server.address()).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            if n % 2 == 0 {
                stalled.push(socket);
                continue;
            }
            let stop = &stop;
            scope.spawn(move || {
                let mut byte = [0];
                while !stop.load(Ordering::Relaxed) && socket.read(&mut byte).is_ok_and(|n| n > 0) {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let streams = || gauge(&server, "kez_chat_streams");
        wait_for(Duration::from_secs(5), "they are open", || streams() == 8);
        wait_for(Duration::from_secs(10), "they are gone", || streams() == 0);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(alice.message(&server, &conversation, "goes on").0, 201);
}

#[test]
fn idle_streams_cost_little() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--metrics", "127.0.0.1:0", "--streams", "100000"]);
    let memory = || -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", server.0.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    };
    let people: Vec<Person> =
        (0..20).map(|n| Person::join(&format!("person{n}"), &server)).collect();
    let open = |count: usize| -> Vec<Stream> {
        (0..count).map(|n| people[n % 20].stream(&server, 0)).collect()
    };
    let mut first = open(100);
    let before = memory();
    let mut streams = open(400);
    wait_for(Duration::from_secs(5), "they are open", || gauge(&server, "kez_chat_streams") == 500);
    let each = memory().saturating_sub(before) as f64 / 400.0;
    eprintln!("{each:.1} KiB a stream");
    assert!(each < 20.0, "{each} KiB a stream");
    // All of them work.
    let conversation = people[0].converse(&server, &[&people[1]]);
    people[0].message(&server, &conversation, "to all of one");
    for stream in streams.iter_mut().chain(&mut first).filter(|_| true).step_by(20).take(5) {
        assert_eq!(stream.texts(1), ["to all of one"]);
    }
    drop((streams, first));
    wait_for(Duration::from_secs(10), "they are gone", || gauge(&server, "kez_chat_streams") == 0);
    assert_eq!(gauge(&server, "kez_chat_inboxes"), 0);
}

#[test]
fn backups_are_whole_and_come_back() {
    let dir = TempDir::new().unwrap();
    let (data, copy, back) =
        (dir.path().join("data"), dir.path().join("copy"), dir.path().join("back"));
    let server = Server::start(&data, &[]);
    let address = server.address().to_owned();
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    alice.message(&server, &conversation, "before");
    let command = |data: &Path, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        let output = command.arg("--data").arg(data).args(words).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let copied = command(&data, &["backup", copy.to_str().unwrap()]);
    assert!(copied.0, "{}", copied.1);
    alice.message(&server, &conversation, "after");
    server.0.kill();
    assert!(command(&back, &["restore", copy.to_str().unwrap()]).0);
    let server = Server::listening(&back, &address, &[]);
    assert_eq!(all(&bob, &server), ["before"]);
    server.0.terminate();
    // Not over what is there, and not from what is broken.
    let (done, why) = command(&back, &["restore", copy.to_str().unwrap()]);
    assert!(!done && why.contains("exists"), "{why}");
    let file = copy.join("chat.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..8192].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let (done, why) = command(&dir.path().join("new"), &["restore", copy.to_str().unwrap()]);
    assert!(!done && why.contains("backup"), "{why}");
}

/// KEZ-AUTH-06
#[test]
fn settings_and_what_the_messages_say() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("chat.toml");
    let start = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("x"));
        let output = command.args(words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(start(&["--origin", "https://chat.example/path"]).contains("origin"));
    assert!(start(&["--origin", "chat.example"]).contains("origin"));
    fs::write(&file, "unknown = 1\n").unwrap();
    assert!(start(&["--config", file.to_str().unwrap()]).contains("unknown"));
    // With a folder for the app, its files are served; and an origin of one's own.
    let app = dir.path().join("app");
    fs::create_dir(&app).unwrap();
    fs::write(app.join("index.html"), "<title>app</title>").unwrap();
    let said = dir.path().join("messages");
    let text = format!("origin = \"https://chat.example\"\napp = {:?}\n", app.to_str().unwrap());
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
    command.args(["--listen", "127.0.0.1:0", "--log-json", "--config"]).arg(&file);
    command.arg("--data").arg(dir.path().join("data"));
    command.stderr(Stdio::from(fs::File::create(&said).unwrap()));
    let server = Server(kez_server::testing::Process::start(&mut command));
    assert_eq!(server.plain("GET", "/", None).1, "<title>app</title>");
    let person = Person::new("alice");
    let refused = server.plain("POST", "/v1/handles", Some(&person.registration(&server)));
    assert_eq!(refused.code(), "handle_unproven");
    let query = person.stream_query(&server, 0);
    assert_eq!(Stream::open(&server, &format!("/v1/inbox/alice/stream?{query}"), &[]).status, 401);
    server.0.terminate();
    // JSON, one a line, and no word of who asked for what.
    let said = fs::read_to_string(&said).unwrap();
    for line in said.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(said.contains("listening"));
    for secret in ["alice", query.rsplit(':').next().unwrap(), person.device(0).value()] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

/// Strangers cannot use up the room that is kept for owners who revoke a device.
#[test]
fn the_reserve_is_for_revocations() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--quota", "2000000"]);
    let [mut alice, bob, mut mallory, mut eve] =
        ["alice", "bob", "mallory", "eve"].map(|name| Person::join(name, &server));
    let conversation = bob.converse(&server, &[&alice]);
    let full = (0..100).any(|_| bob.message(&server, &conversation, &"x".repeat(60_000)).0 == 507);
    assert!(full);
    // Chains grow by revocations and rotations alone.
    let mut adding = mallory.stolen();
    adding.add_device();
    let answer = adding.put_chain(&server);
    assert_eq!((answer.0, answer.code()), (507, "quota_exceeded"));
    adding.revoke(0);
    assert_eq!(adding.put_chain(&server).0, 507);
    let grow = |person: &mut Person, events: usize| {
        for _ in 0..events {
            person.end_claim("x".repeat(100));
        }
        person.put_chain(&server).0
    };
    // At most 16 KiB at once, and what is refused does not count.
    assert_eq!(grow(&mut mallory.stolen(), 40), 507);
    assert_eq!(grow(&mut mallory, 15), 204);
    assert_eq!(mallory.put_chain(&server).0, 204);
    // And 64 KiB a handle and day.
    let taken = (0..30).take_while(|_| grow(&mut eve, 15) == 204).count();
    assert!((4..=12).contains(&taken), "{taken}");
    // Neither a stranger nor another history uses up what the owner may add.
    let mut thief = mallory.stolen();
    thief.handle = "alice".into();
    assert_eq!(grow(&mut thief, 1), 422);
    alice.revoke(0);
    assert_eq!(alice.put_chain(&server).0, 204);
    assert_eq!(alice.send(&server, "GET", "/v1/keypackages", None).code(), "device_revoked");
}
