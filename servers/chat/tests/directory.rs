//! Handles, chains, bundles, key packages, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Person, Server, agent, base64, id, key, now, send};
use kez_core::{Identity, ObjectId, Op, Reason, Scheme};
use serde_json::{Value, json};
use std::thread;
use tempfile::TempDir;

fn server(options: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), options);
    (dir, server)
}

/// KEZ-HANDLE-05, KEZ-HANDLE-06, KEZ-HANDLE-07
#[test]
fn a_handle_is_of_one_identity_for_ever() {
    let (_dir, server) = server(&[]);
    let alice = Person::join("alice", &server);
    let answer = server.plain("GET", "/v1/handles/alice", None);
    assert_eq!(answer.0, 200);
    assert_eq!(answer.1["primary"], alice.chain.name().as_str());
    assert_eq!(answer.1["devices"][0]["device"], alice.device(0).as_str());
    let chain = server.plain("GET", "/v1/handles/alice/chain", None);
    assert_eq!(chain.1, serde_json::from_str::<Value>(&alice.chain.to_bundle()).unwrap());
    // The same again is no news; somebody else's, and a second one, are refused.
    let again = server.plain("POST", "/v1/handles", Some(&alice.registration(&server)));
    assert_eq!(again.0, 200);
    let mut older = alice.record(server.url());
    older.created_at = older.created_at.plus(-3600);
    let mut envelope = older.to_envelope().unwrap();
    envelope.sign(&alice.key, &[0; 32]).unwrap();
    let mut body = alice.registration(&server);
    body["record"] = json!(envelope.to_canonical());
    let late = server.plain("POST", "/v1/handles", Some(&body));
    assert_eq!((late.0, late.code()), (409, "handle_taken"));
    let mallory = Person::new("alice");
    let taken = server.plain("POST", "/v1/handles", Some(&mallory.registration(&server)));
    assert_eq!((taken.0, taken.code()), (409, "handle_taken"));
    let mut second = Person { handle: "alice2".into(), ..alice };
    let other = server.plain("POST", "/v1/handles", Some(&second.registration(&server)));
    assert_eq!((other.0, other.code()), (409, "handle_taken"));
    second.handle = "alice".into();
    // Given up, it comes to nobody, not even its former owner.
    let alice = second;
    assert_eq!(alice.send(&server, "DELETE", "/v1/handles/alice", None).0, 204);
    assert_eq!(server.plain("GET", "/v1/handles/alice", None).code(), "handle_unknown");
    for person in [&mallory, &alice] {
        let taken = server.plain("POST", "/v1/handles", Some(&person.registration(&server)));
        assert_eq!((taken.0, taken.code()), (409, "handle_taken"));
    }
    assert_eq!(alice.send(&server, "GET", "/v1/inbox/alice?since=0", None).0, 401);
}

#[test]
fn of_many_who_want_a_handle_one_gets_it() {
    let (_dir, server) = server(&[]);
    let people: Vec<Person> = (0..8).map(|_| Person::new("popular")).collect();
    let got: usize = thread::scope(|scope| {
        let server = &server;
        let ask = |person: &Person| {
            server.plain("POST", "/v1/handles", Some(&person.registration(server))).0
        };
        let all: Vec<_> = people.iter().map(|person| scope.spawn(move || ask(person))).collect();
        all.into_iter().map(|one| usize::from(one.join().unwrap() == 201)).sum()
    });
    assert_eq!(got, 1);
}

#[test]
fn registrations_that_prove_nothing() {
    let (_dir, server) = server(&[]);
    let post = |body: &Value| server.plain("POST", "/v1/handles", Some(body));
    let alice = Person::new("alice");
    let good = alice.registration(&server);
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    assert_eq!(post(&with("more", json!(1))).code(), "usage");
    assert_eq!(post(&with("record", json!("{}"))).code(), "member_missing");
    assert_eq!(post(&with("record", json!("no"))).code(), "json_syntax");
    assert_eq!(post(&with("chain", json!(""))).code(), "chain_empty");
    let other = Person::new("alice");
    assert_eq!(post(&with("chain", json!(other.chain.to_bundle()))).code(), "handle_unproven");
    let sign = |record: kez_core::chat::HandleRecord, key: &kez_core::SecretKey| {
        let mut envelope = record.to_envelope().unwrap();
        envelope.sign(key, &[0; 32]).unwrap();
        with("record", json!(envelope.to_canonical()))
    };
    let record = alice.record(server.url());
    assert_eq!(post(&sign(record.clone(), &other.key)).code(), "handle_unproven");
    let elsewhere = kez_core::chat::HandleRecord { server: "https://x.example".into(), ..record };
    assert_eq!(post(&sign(elsewhere.clone(), &alice.key)).code(), "handle_unproven");
    let later = kez_core::chat::HandleRecord {
        server: server.url().into(),
        created_at: now().plus(3600),
        ..elsewhere
    };
    assert_eq!(post(&sign(later, &alice.key)).code(), "not_yet_valid");
    let text = good["record"].as_str().unwrap().replace("\"alice\"", "\"admin\"");
    assert_eq!(post(&with("record", json!(text))).code(), "handle_refused");
    let text = good["record"].as_str().unwrap().replace("\"alice\"", "\"alicia\"");
    assert_eq!(post(&with("record", json!(text))).code(), "signature_bad");
    let plain = send("POST", &format!("{}/v1/handles", server.url()), None, Some("[".into()));
    assert_eq!((plain.0, plain.code()), (400, "usage"));
    for handle in ["admin", "Alice", "a%20b", "%2e%2e", "a.b"] {
        let answer = server.plain("GET", &format!("/v1/handles/{handle}"), None);
        assert_eq!((answer.0, answer.code()), (400, "handle_refused"), "{handle}");
    }
    assert_eq!(post(&good).0, 201);
}

/// KEZ-DELIVER-15
#[test]
fn chains_grow_and_never_change() {
    let (_dir, server) = server(&[]);
    let mut bob = Person::join("bob", &server);
    let short = bob.chain.to_bundle();
    bob.add_device();
    assert_eq!(bob.put_chain(&server).0, 204);
    assert_eq!(bob.put_bundle(&server, 1).0, 204);
    let devices = |server: &Server| {
        let answer = server.plain("GET", "/v1/handles/bob", None);
        answer.1["devices"].as_array().unwrap().len()
    };
    assert_eq!(devices(&server), 2);
    // A shorter one is no news, another one is a fork, somebody else's is refused.
    let url = format!("{}/v1/handles/bob/chain", server.url());
    assert_eq!(send("PUT", &url, None, Some(short.clone())).0, 204);
    assert_eq!(devices(&server), 2);
    let mut fork = Person {
        handle: "bob".into(),
        key: kez_core::SecretKey::from_bytes(Scheme::Ed25519, *bob.key.expose_bytes()).unwrap(),
        chain: kez_core::Chain::replay(short.as_bytes(), None, now()).unwrap(),
        devices: vec![],
    };
    fork.add_device();
    let answer = fork.put_chain(&server);
    assert_eq!((answer.0, answer.code()), (409, "forked"));
    let other = Person::new("bob").put_chain(&server);
    assert_eq!((other.0, other.code()), (422, "chain_id"));
    let bad = send("PUT", &url, None, Some(short.replace("chat/1", "chat/2")));
    assert_eq!((bad.0, bad.code()), (422, "signature_bad"));
    let unknown = Person::new("nobody").put_chain(&server);
    assert_eq!((unknown.0, unknown.code()), (404, "handle_unknown"));
    // A revoked device is gone from the directory, and its bundle is not taken any more.
    bob.revoke(1);
    assert_eq!(bob.put_chain(&server).0, 204);
    assert_eq!(devices(&server), 1);
    assert_eq!(bob.put_bundle(&server, 1).code(), "device_revoked");
    assert!(
        bob.chain
            .events()
            .iter()
            .any(|event| matches!(event.op, Op::RevokeDevice { reason: Reason::Retired, .. }))
    );
}

/// KEZ-FRK-02, KEZ-DELIVER-06, KEZ-DELIVER-15
#[test]
fn the_committed_key_settles_a_fork() {
    let (_dir, server) = server(&[]);
    let mut owner = Person::new("bob");
    let (paper, account) =
        (key(Scheme::Ed25519), Identity::from_canonical("dns:bob.example").unwrap());
    let claim = ObjectId::digest("claim", b"");
    let add = Op::Add { subject: account, claim, account: None, url: None };
    owner.append_with(add, None, Some(&paper));
    let answer = server.plain("POST", "/v1/handles", Some(&owner.registration(&server)));
    assert_eq!(answer.0, 201, "{answer:?}");
    // The thief has all keys but the one on paper, and is first.
    let (mut thief, mut other) = (owner.stolen(), owner.stolen());
    thief.add_device();
    assert_eq!((thief.put_chain(&server).0, thief.put_bundle(&server, 1).0), (204, 204));
    let mut stream = thief.stream_as(&server, 1, 0);
    other.add_device();
    other.add_device();
    assert_eq!(other.put_chain(&server).code(), "forked");
    // The owner's branch takes its place, and the thief's device and streams end.
    let to = paper.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    owner.key = paper;
    owner.append_with(rotate, None, None);
    owner.add_device();
    assert_eq!((owner.put_chain(&server).0, owner.put_bundle(&server, 1).0), (204, 204));
    let inbox = "/v1/inbox/bob?since=0";
    assert_eq!(owner.send_as(&server, 1, "GET", inbox, None).0, 200);
    assert_eq!(thief.send_as(&server, 1, "GET", inbox, None).code(), "device_revoked");
    assert_eq!(thief.put_bundle(&server, 1).code(), "device_revoked");
    assert_eq!(stream.next().unwrap().json(), json!({ "reason": "revoked" }));
    let shown = server.plain("GET", "/v1/handles/bob", None).1;
    let shown: Vec<_> = shown["devices"].as_array().unwrap().iter().map(|d| &d["device"]).collect();
    assert_eq!(shown, [owner.device(1).as_str()]);
    // The thief cannot come back, by any branch and any route.
    for branch in [&thief, &other] {
        assert_eq!(branch.put_chain(&server).code(), "forked");
        let again = server.plain("POST", "/v1/handles", Some(&branch.registration(&server)));
        assert_eq!((again.0, again.code()), (409, "forked"));
    }
    // The chain goes on.
    owner.add_device();
    assert_eq!(owner.put_chain(&server).0, 204);
    assert_eq!(owner.send_as(&server, 2, "GET", inbox, None).0, 200);
}

#[test]
fn bundles_are_of_the_device_that_brings_them() {
    let (_dir, server) = server(&[]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let bundle = server.plain("GET", "/v1/handles/alice", None).1["devices"][0]["bundle"].clone();
    let path = format!("/v1/devices/{}/bundle", bob.device(0).value());
    let body = json!({ "bundle": bundle });
    let stolen = bob.send(&server, "PUT", &path, Some(&body));
    assert_eq!((stolen.0, stolen.code()), (422, "bundle_refused"));
    let path = format!("/v1/devices/{}/bundle", alice.device(0).value());
    assert_eq!(bob.send(&server, "PUT", &path, Some(&body)).code(), "bundle_refused");
    let bad = alice.send(&server, "PUT", "/v1/devices/zz/bundle", Some(&body));
    assert_eq!((bad.0, bad.code()), (400, "id_refused"));
}

#[test]
fn key_packages_are_given_once() {
    let (_dir, server) = server(&["--claim-rate", "40"]);
    let (alice, mut bob) = (Person::join("alice", &server), Person::join("bob", &server));
    bob.add_device();
    bob.put_chain(&server);
    bob.put_bundle(&server, 1);
    let package = |name: &str, last_resort: bool| json!({ "id": id(32), "body": base64(name.as_bytes()), "last_resort": last_resort });
    let put = |device: usize, packages: Vec<Value>| {
        let body = json!({ "packages": packages });
        bob.send_as(&server, device, "POST", "/v1/keypackages", Some(&body))
    };
    let claim = || {
        let path = "/v1/handles/bob/keypackages/claim";
        alice.send(&server, "POST", path, Some(&json!({})))
    };
    // Nothing to be had is no error; who asks sees that nobody can be reached.
    assert_eq!(claim().1, json!({ "packages": [] }));
    let first = (0..3).map(|n| package(&format!("a{n}"), false)).chain([package("last", true)]);
    assert_eq!(put(0, first.collect()).1, json!({ "count": 3 }));
    assert_eq!(put(1, vec![package("b0", false)]).1["count"], 1);
    let mut all: Vec<String> = Vec::new();
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..6).map(|_| scope.spawn(claim)).collect();
        for task in tasks {
            for package in task.join().unwrap().1["packages"].as_array().unwrap() {
                let body = common::unbase64(&package["key_package"]);
                all.push(String::from_utf8(body).unwrap());
            }
        }
    });
    all.sort();
    // Each once, and the one of last resort as often as it is needed.
    assert_eq!(all, ["a0", "a1", "a2", "b0", "last", "last", "last"]);
    assert_eq!(bob.send(&server, "GET", "/v1/keypackages", None).1, json!({ "count": 0 }));
    // Not more than there may be.
    let many = (0..21).map(|n| package(&n.to_string(), false)).collect();
    let quota = put(0, many);
    assert_eq!((quota.0, quota.code()), (507, "quota_exceeded"));
    assert_eq!(put(0, vec![json!({ "id": "xy", "body": "" })]).code(), "id_refused");
    assert_eq!(put(0, vec![json!({ "id": id(32), "body": "=" })]).code(), "usage");
    let large = put(0, vec![json!({ "id": id(32), "body": base64(&[0; 49 * 1024]) })]);
    assert_eq!((large.0, large.code()), (413, "too_large"));
    // A revoked device's are gone.
    put(1, vec![package("gone", false)]);
    bob.revoke(1);
    bob.put_chain(&server);
    assert_eq!(claim().1["packages"].as_array().unwrap().len(), 1);
    // And nobody empties the store.
    let limited = (0..60).map(|_| claim()).find(|answer| answer.0 != 200).unwrap();
    assert_eq!((limited.0, limited.code()), (429, "rate_limited"));
}

/// KEZ-DELIVER-01, KEZ-DELIVER-02, KEZ-DELIVER-03, KEZ-DELIVER-08, KEZ-DELIVER-11
#[test]
fn posts_that_are_refused() {
    let (_dir, server) = server(&[]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let message = |conversation: &str, id: &str, body: &str| {
        let body = json!({ "conversation": conversation, "id": id, "body": body });
        alice.send(&server, "POST", "/v1/messages", Some(&body))
    };
    assert_eq!(message("zz", &id(16), "").code(), "id_refused");
    assert_eq!(message(&conversation, "zz", "").code(), "id_refused");
    assert_eq!(message(&conversation, &id(16), "a=").code(), "usage");
    let unknown = message(&id(32), &id(16), "");
    assert_eq!((unknown.0, unknown.code()), (404, "conversation_unknown"));
    let large = message(&conversation, &id(16), &base64(&vec![0; 64 * 1024 + 1]));
    assert_eq!((large.0, large.code()), (413, "too_large"));
    // The server may hang up while more than it takes is being sent.
    let huge = json!({ "conversation": conversation, "id": id(16), "body": "A".repeat(200_000) });
    let huge = alice.try_send(&agent(), &server, 0, "POST", "/v1/messages", Some(&huge));
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.code() == "too_large"));
    assert_eq!(message(&conversation, &id(16), &base64(&vec![0; 64 * 1024])).0, 201);
    // The same twice is once; the same name for something else is refused.
    let name = id(16);
    let first = message(&conversation, &name, "AA");
    assert_eq!((first.0, message(&conversation, &name, "AA")), (201, common::Answer(200, first.1)));
    assert_eq!(message(&conversation, &name, "AQ").code(), "message_refused");
    assert_eq!(bob.poll(&server, 0).len(), 2);
    // A conversation is begun once, by one.
    let begin = |person: &Person| {
        person.send(&server, "POST", "/v1/conversations", Some(&json!({ "id": conversation }))).0
    };
    assert_eq!((begin(&alice), begin(&bob)), (200, 409));
    let path = format!("/v1/conversations/{conversation}");
    let stand = bob.send(&server, "GET", &path, None).1;
    assert_eq!(stand, json!({ "position": 3, "changed": 1, "recipients": ["alice", "bob"] }));
    // Commits for people who are not here, or with welcomes for others.
    let path = format!("/v1/conversations/{conversation}/commits");
    let commit = |recipients: Value, welcomes: Value| {
        let body = json!({
            "expect": 1, "id": id(16), "body": "AA", "recipients": recipients,
            "welcomes": welcomes,
        });
        alice.send(&server, "POST", &path, Some(&body))
    };
    let device = bob.device(0).as_str();
    let nobody = commit(json!(["alice", "nobody"]), json!([]));
    assert_eq!((nobody.0, nobody.code()), (404, "handle_unknown"));
    let welcome = json!([{ "handle": "bob", "device": device, "body": "AA" }]);
    assert_eq!(commit(json!(["alice"]), welcome.clone()).code(), "welcome_refused");
    // Welcomes are for devices of their handle, one for each.
    let foreign = json!([{ "handle": "bob", "device": alice.device(0).as_str(), "body": "AA" }]);
    assert_eq!(commit(json!(["alice", "bob"]), foreign).code(), "welcome_refused");
    let no_device = json!([{ "handle": "bob", "device": "dns:a.example", "body": "AA" }]);
    assert_eq!(commit(json!(["alice", "bob"]), no_device).code(), "welcome_refused");
    let twice = json!([welcome[0], welcome[0]]);
    assert_eq!(commit(json!(["alice", "bob"]), twice).code(), "welcome_refused");
    let many = json!(vec![welcome[0].clone(); 65]);
    let many = commit(json!(["alice", "bob"]), many);
    assert_eq!((many.0, many.code()), (413, "too_large"));
    // All or nothing: what was refused left no trace.
    assert_eq!(bob.poll(&server, 0).len(), 2);
    assert_eq!(commit(json!(["alice", "bob"]), welcome).0, 201);
    let items = bob.poll(&server, 2);
    assert_eq!((&items[0]["kind"], &items[1]["kind"]), (&json!("commit"), &json!("welcome")));
    assert_eq!((&items[1]["device"], &items[1]["position"]), (&json!(device), &json!(4)));
    // A handle that was released stops no commit, and gets nothing.
    let carol = Person::join("carol", &server);
    let commit = |expect: u64, recipients: Value| {
        let body =
            json!({ "expect": expect, "id": id(16), "body": "AA", "recipients": recipients });
        alice.send(&server, "POST", &path, Some(&body)).0
    };
    assert_eq!(commit(4, json!(["alice", "bob", "carol"])), 201);
    assert_eq!(carol.send(&server, "DELETE", "/v1/handles/carol", None).0, 204);
    assert_eq!(commit(5, json!(["alice", "bob", "carol"])), 201);
    let stand = bob.send(&server, "GET", &format!("/v1/conversations/{conversation}"), None).1;
    assert_eq!(stand["recipients"], json!(["alice", "bob"]));
    // Paths and methods that there are not.
    let none = server.plain("GET", "/v1/nothing", None);
    assert_eq!((none.0, none.code()), (404, "usage"));
    assert_eq!(server.plain("PUT", "/v1/handles", Some(&json!({}))).0, 405);
}

#[test]
fn a_log_comes_in_pages_of_bounded_size() {
    let (_dir, server) = server(&["--inbox-bytes", "1000000000"]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    let conversation = alice.converse(&server, &[&bob]);
    let path = format!("/v1/conversations/{conversation}/commits");
    for expect in 1..7 {
        let commit = json!({
            "expect": expect, "id": id(16), "body": base64(&vec![7; 600_000]),
            "recipients": ["alice", "bob"],
        });
        assert_eq!(alice.send(&server, "POST", &path, Some(&commit)).0, 201);
    }
    // At least one, and no second one beyond 1 MiB; the pages have everything, in order.
    let (mut since, mut sizes) = (0, Vec::new());
    loop {
        let path = format!("/v1/conversations/{conversation}/log?since={since}");
        let page = alice.send(&server, "GET", &path, None).1;
        let items = page["items"].as_array().unwrap();
        if items.is_empty() {
            break;
        }
        sizes.push(items.len());
        for item in items {
            assert_eq!(item["position"], since + 1);
            since += 1;
        }
    }
    assert_eq!((since, sizes), (7, vec![2, 1, 1, 1, 1, 1]));
}

#[test]
fn a_device_reads_at_a_bounded_rate() {
    let (_dir, server) = server(&["--read-rate", "10"]);
    let (alice, bob) = (Person::join("alice", &server), Person::join("bob", &server));
    for _ in 0..9 {
        assert_eq!(alice.poll(&server, 0).len(), 0);
    }
    // A stream counts, too.
    alice.stream(&server, 0);
    let answer = alice.send(&server, "GET", "/v1/inbox/alice?since=0", None);
    assert_eq!((answer.0, answer.code()), (429, "rate_limited"));
    let query = alice.stream_query(&server, 0);
    let path = format!("/v1/inbox/alice/stream?{query}");
    assert_eq!(common::Stream::open(&server, &path, &[]).status, 429);
    // Posts and other devices are counted apart.
    alice.converse(&server, &[&bob]);
    bob.poll(&server, 0);
}

/// One address cannot fill the disk with handles and chains, and an owner behind it can still
/// revoke.
#[test]
fn an_address_brings_a_bounded_number_of_bytes() {
    let (_dir, server) = server(&["--address-bytes", "40000"]);
    let mut alice = Person::join("alice", &server);
    // What does not verify does not count, however large it is.
    let mut stranger = Person::join("stranger", &server);
    for _ in 0..20 {
        stranger.end_claim("x".repeat(100));
    }
    let url = format!("{}/v1/handles/stranger/chain", server.url());
    for _ in 0..10 {
        let cut = stranger.chain.to_bundle().replacen("\"sig", "\"gis", 1);
        let refused = send("PUT", &url, None, Some(cut));
        assert!((400..429).contains(&refused.0), "{refused:?}");
    }
    let mut taken = 0;
    let refused = loop {
        stranger.add_device();
        let answer = stranger.put_chain(&server);
        if answer.0 != 204 {
            break answer;
        }
        taken += stranger.chain.to_bundle().len();
    };
    assert_eq!((refused.0, refused.code()), (429, "rate_limited"));
    assert!((20_000..55_000).contains(&taken), "{taken}");
    let carol = Person::new("carol");
    let answer = server.plain("POST", "/v1/handles", Some(&carol.registration(&server)));
    assert_eq!((answer.0, answer.code()), (429, "rate_limited"));
    alice.revoke(0);
    assert_eq!(alice.put_chain(&server).0, 204);
    assert_eq!(alice.send(&server, "GET", "/v1/keypackages", None).code(), "device_revoked");
    // With something else, it is no revocation.
    alice.add_device();
    assert_eq!(alice.put_chain(&server).0, 429);
}
