//! A chat server that lies: the real one, with somebody between it and the client who changes what
//! it says. Every lie is found out, with its own code, or makes no difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{
    Person, Server, base64,
    client::{Answer, Seat, run},
    id, key,
};
use kez_core::{
    Code, Scheme,
    chat::{Bundle, CAPABILITY, Certificate, Device, HandleRecord, client::EntryKind},
    transport::Call,
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tempfile::TempDir;

struct Stage {
    _dir: TempDir,
    server: Server,
    alice: Seat,
    bob_person: Person,
    bob: Seat,
}

/// Alice and Bob, who have talked.
fn stage() -> Stage {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (_, mut alice) = Seat::join("alice", &server);
    let (bob_person, mut bob) = Seat::join("bob", &server);
    alice.write("bob", "one").unwrap();
    bob.sync().unwrap();
    bob.write("alice", "two").unwrap();
    alice.sync().unwrap();
    Stage { _dir: dir, server, alice, bob_person, bob }
}

fn code<T: std::fmt::Debug>(result: kez_core::Result<T>) -> Code {
    result.unwrap_err().code()
}

/// Changes the answers of a path, or of those below one.
fn lie(seat: &mut Seat, path: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) {
    seat.between(Arc::new(move |call: &Call, answer: Answer| {
        let (status, body) = answer?;
        let url = call.url.split('?').next().unwrap();
        let below = path.ends_with('/') && url.contains(path);
        if !below && !url.ends_with(path) {
            return Ok((status, body));
        }
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        change(&mut value);
        Ok((status, value.to_string().into_bytes()))
    }));
}

fn record(person: &Person, server: &Server, handle: &str, key: &kez_core::SecretKey) -> String {
    let record = HandleRecord { handle: handle.parse().unwrap(), ..person.record(server.url()) };
    let mut record = record.to_envelope().unwrap();
    record.sign(key, &[0; 32]).unwrap();
    record.to_canonical()
}

/// KEZ-HANDLE-03, KEZ-HANDLE-04, KEZ-HANDLE-08
#[test]
fn a_handle_of_somebody_else() {
    let mut stage = stage();
    let (_, mut carol) = Seat::join("carol", &stage.server);
    let mallory = Person::join("mallory", &stage.server);
    // Bob's identity, signed by Mallory.
    let forged = record(&stage.bob_person, &stage.server, "bob", &mallory.key);
    let swap = move |answer: &mut Value| answer["record"] = forged.clone().into();
    lie(&mut carol, "/v1/handles/bob", swap.clone());
    assert_eq!(code(carol.write("bob", "hello")), Code::HandleUnproven);
    lie(&mut stage.alice, "/v1/handles/bob", swap);
    assert_eq!(code(stage.alice.write("bob", "hello")), Code::HandleUnproven);
    // Another handle's record.
    let other = record(&mallory, &stage.server, "mallory", &mallory.key);
    lie(&mut carol, "/v1/handles/bob", move |answer| answer["record"] = other.clone().into());
    assert_eq!(code(carol.write("bob", "hello")), Code::ChainUnreachable);
    // Mallory under Bob's name: who knows Bob is warned.
    let swapped = record(&mallory, &stage.server, "bob", &mallory.key);
    lie(&mut stage.alice, "/v1/handles/bob", move |answer| {
        answer["record"] = swapped.clone().into();
    });
    assert_eq!(code(stage.alice.write("bob", "hello")), Code::ContactChanged);
}

/// KEZ-SEAL-02, KEZ-CERT-03, KEZ-GATE-01
#[test]
fn devices_of_somebody_else() {
    let mut stage = stage();
    let (_, mut carol) = Seat::join("carol", &stage.server);
    let mallory = Person::join("mallory", &stage.server);
    // Mallory's device, its bundle and its key package, given for one of Bob's.
    let secret = common::client::copy(&mallory.devices[0]);
    let device = mallory.device(0).clone();
    let certificate = Certificate::of(&mallory.chain, &device).unwrap();
    let evil: Device = Device::new(secret, certificate, common::client::random()).unwrap();
    let package = base64(&evil.key_package(false, common::now()).unwrap().public);
    let bundle = |person: &Person, primary: &kez_core::Identity| {
        let bundle = Bundle {
            primary: primary.clone(),
            device: person.device(0).clone(),
            sealed_key: vec![7; 1216],
            created_at: common::now(),
            expires_at: common::now().plus(60),
        };
        let mut bundle = bundle.to_envelope().unwrap();
        bundle.sign(&person.devices[0], &[0; 32]).unwrap();
        bundle.to_canonical()
    };
    let bobs = stage.bob_person.chain.name().clone();
    let own = bundle(&mallory, mallory.chain.name());
    let claimed = bundle(&mallory, &bobs);
    let give = |device: String, bundle: String, package: String| {
        move |answer: &mut Value| {
            answer["packages"] =
                json!([{ "device": device, "bundle": bundle, "key_package": package }]);
        }
    };
    let claim = "/keypackages/claim";
    let write = |carol: &mut Seat| code(carol.write("bob", "hello"));
    lie(&mut carol, claim, give(device.to_string(), own, package.clone()));
    assert_eq!(write(&mut carol), Code::BundleRefused);
    lie(&mut carol, claim, give(device.to_string(), claimed, package.clone()));
    assert_eq!(write(&mut carol), Code::KeyPackageRefused);
    // A device that says it is Bob's, by an event that Bob never signed.
    let event = {
        let op = kez_core::Op::AddDevice {
            device: mallory.devices[0].public().clone(),
            caps: vec![CAPABILITY.into()],
            not_after: None,
            name: None,
        };
        let event = kez_core::Event::new(bobs.clone(), None, common::now(), op);
        let mut event = event.to_envelope().unwrap();
        event.sign(&mallory.key, &[0; 32]).unwrap();
        event.sign(&mallory.devices[0], &[0; 32]).unwrap();
        format!("{}\n", event.to_canonical())
    };
    assert_eq!(code(Certificate::read(event.as_bytes())), Code::CertificateRefused);
    // None at all.
    lie(&mut carol, claim, |answer| answer["packages"] = json!([]));
    assert_eq!(write(&mut carol), Code::KeyPackagesSpent);
    // Nonsense.
    lie(&mut carol, claim, give("x".into(), "{}".into(), "AA".into()));
    carol.write("bob", "nonsense").unwrap_err();
    // What was written while nobody could be reached waits, and was shown to nobody.
    assert_eq!(carol.texts(), ["hello"]);
    carol.between(Arc::new(|_: &Call, answer: Answer| answer));
    carol.sync().unwrap();
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts(), ["one", "two", "hello"]);
    assert!(carol.refused().is_empty() && stage.bob.refused().is_empty());
}

/// KEZ-MSG-02, KEZ-MSG-04, KEZ-MSG-05
#[test]
fn messages_that_are_left_out() {
    let mut stage = stage();
    for text in ["three", "four", "five"] {
        stage.alice.write("bob", text).unwrap();
    }
    let drop = |answer: &mut Value| {
        let items = answer["items"].as_array_mut().unwrap();
        items.retain(|item| item["position"] != 5);
    };
    lie(&mut stage.bob, "/v1/", move |answer| {
        if answer["items"].is_array() {
            drop(answer);
        }
    });
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts(), ["one", "two", "three", "five"]);
    let missing = vec![Code::MessageMissing; 2];
    // By the gap in the positions, and by the author's count.
    assert_eq!(stage.bob.refused(), missing);
    // A server that numbers anew is found out by the author's count.
    let mut stage = self::stage();
    for text in ["three", "four", "five"] {
        stage.alice.write("bob", text).unwrap();
    }
    lie(&mut stage.bob, "/v1/", move |answer| {
        if let Some(items) = answer["items"].as_array_mut() {
            items.retain(|item| item["position"] != 5);
            for item in items {
                if item["position"] == 6 {
                    item["position"] = 5.into();
                }
            }
        }
    });
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts(), ["one", "two", "three", "five"]);
    assert_eq!(stage.bob.refused(), [Code::MessageMissing]);
}

/// KEZ-MSG-02
#[test]
fn messages_that_are_repeated_cut_changed_or_moved() {
    let mut stage = stage();
    let (_, mut carol) = Seat::join("carol", &stage.server);
    carol.write("bob", "from carol").unwrap();
    stage.alice.write("bob", "three").unwrap();
    stage.bob.sync().unwrap();
    let seen = stage.bob.texts();
    let with_alice = stage.bob.direct("alice").unwrap();
    let with_carol = stage.bob.direct("carol").unwrap();
    assert_ne!(with_alice, with_carol);
    stage.alice.write("bob", "four").unwrap();
    // The item that comes is given four times more: as it is, cut, changed, and as of another
    // conversation.
    let moved = with_carol.clone();
    lie(&mut stage.bob, "/v1/inbox/bob", move |answer| {
        let Some(item) = answer["items"].as_array().unwrap().first().cloned() else { return };
        let (seq, position) = (item["seq"].as_u64().unwrap(), item["position"].as_u64().unwrap());
        let body = common::unbase64(&item["body"]);
        let mut changed = body.clone();
        changed[40] ^= 1;
        let copy = |n: u64, body: &[u8]| {
            let mut copy = item.clone();
            copy["seq"] = (seq + n).into();
            copy["position"] = (position + n).into();
            copy["id"] = id(16).into();
            copy["body"] = base64(body).into();
            copy
        };
        let mut elsewhere = copy(4, &body);
        elsewhere["conversation"] = moved.clone().into();
        elsewhere["position"] = 3.into();
        let items = vec![
            copy(0, &changed),
            copy(1, &body[..body.len() - 9]),
            copy(2, &body),
            copy(3, &body),
            elsewhere,
        ];
        answer["items"] = items.into();
        answer["last"] = (seq + 4).into();
    });
    // The server would not know the positions that it never gave.
    stage.bob.sync().unwrap();
    let mut expected = seen;
    let carols = expected.iter().position(|text| text == "from carol").unwrap();
    expected.insert(if carols == 0 { expected.len() } else { carols }, "four".into());
    let mut got = stage.bob.texts();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(stage.bob.refused(), vec![Code::MessageRefused; 4]);
    for conversation in [with_alice, with_carol] {
        let entries = stage.bob.entries(&conversation);
        assert!(entries.iter().any(|e| matches!(e.kind, EntryKind::Refused(_))));
    }
}

/// KEZ-CONV-02, KEZ-CONV-03, KEZ-CONV-05, KEZ-CONV-08
#[test]
fn commits_that_are_forged() {
    let mut stage = stage();
    let conversation = stage.alice.direct("bob").unwrap();
    let path = format!("/v1/conversations/{conversation}/commits");
    // Bob's device posts garbage as commits, which the server cannot tell from real ones.
    for (n, body) in [&b"garbage"[..], &[0; 500], &[]].into_iter().enumerate() {
        let stand = stage.bob_person.send(
            &stage.server,
            "GET",
            &format!("/v1/conversations/{conversation}"),
            None,
        );
        let body = json!({
            "expect": stand.1["changed"], "id": id(16), "body": base64(body),
            "recipients": ["alice", "bob"],
        });
        let answer = stage.bob_person.send(&stage.server, "POST", &path, Some(&body));
        assert_eq!(answer.0, 201, "{n}");
    }
    stage.alice.write("bob", "three").unwrap();
    // A real change still finds its place.
    run(stage.alice.client.renew(&conversation)).unwrap();
    stage.alice.write("bob", "four").unwrap();
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts(), ["one", "two", "three", "four"]);
    assert_eq!(stage.alice.refused(), vec![Code::MessageRefused; 3]);
    assert_eq!(stage.bob.refused(), vec![Code::MessageRefused; 3]);
}

/// KEZ-GATE-01, KEZ-GATE-03
#[test]
fn a_chain_that_is_held_back() {
    let mut stage = stage();
    let mut tablet = Seat::register(&mut stage.bob_person, 1, &stage.server);
    stage.bob.write("alice", "three").unwrap();
    let old = stage.bob_person.chain.to_bundle();
    stage.bob_person.revoke(1);
    assert_eq!(stage.bob_person.put_chain(&stage.server).0, 204);
    // The server shows Alice the chain from before the revocation.
    let withhold = Arc::new(AtomicBool::new(true));
    let holds = withhold.clone();
    stage.alice.between(Arc::new(move |call: &Call, answer: Answer| {
        if call.url.ends_with("/v1/handles/bob/chain") && holds.load(Ordering::Relaxed) {
            return Ok((200, old.clone().into_bytes()));
        }
        answer
    }));
    // Bob's other device has heard of it, and its next message tells.
    stage.bob.write("alice", "four").unwrap();
    stage.alice.sync().unwrap();
    assert_eq!(code(stage.alice.write("bob", "five")), Code::Rollback);
    assert_eq!(stage.alice.texts(), ["one", "two", "three", "four"]);
    withhold.store(false, Ordering::Relaxed);
    stage.alice.write("bob", "five").unwrap();
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts().last().unwrap(), "five");
    assert_eq!(code(tablet.sync()), Code::DeviceRevoked);
}

/// KEZ-GATE-03
#[test]
fn another_history_of_a_chain() {
    let mut stage = stage();
    // The server shows Alice another chain of Bob's than Bob's messages tell of: one that Bob's
    // stolen key could have signed.
    let mut fork = Person::new("bob");
    fork.key = common::client::copy(&stage.bob_person.key);
    fork.chain = kez_core::Chain::new(stage.bob_person.chain.name()).unwrap();
    fork.add_device();
    fork.add_device();
    let other = fork.chain.to_bundle();
    let disk = stage.alice.machine.disk.clone();
    disk.lock().unwrap().remove(stage.bob_person.chain.name().as_str());
    stage.alice.between(Arc::new(move |call: &Call, answer: Answer| {
        if call.url.ends_with("/v1/handles/bob/chain") {
            return Ok((200, other.clone().into_bytes()));
        }
        answer
    }));
    assert_eq!(code(stage.alice.write("bob", "three")), Code::BeaconMismatch);
}

/// KEZ-GATE-02
#[test]
fn a_chain_that_nobody_tells() {
    let mut stage = stage();
    stage.alice.between(Arc::new(|call: &Call, answer: Answer| {
        if call.url.ends_with("/chain") { Ok((500, Vec::new())) } else { answer }
    }));
    // For a while an old conversation goes on with what was seen last.
    stage.alice.write("bob", "three").unwrap();
    // A new one does not begin without.
    let (_, mut carol) = Seat::join("carol", &stage.server);
    carol.between(Arc::new(|call: &Call, answer: Answer| {
        if call.url.ends_with("/v1/handles/bob/chain") { Ok((404, Vec::new())) } else { answer }
    }));
    assert_eq!(code(carol.write("bob", "hello")), Code::ChainUnreachable);
}

#[test]
fn answers_that_make_no_sense() {
    let mut stage = stage();
    // For ever a conflict.
    let conversation = stage.alice.direct("bob").unwrap();
    stage.alice.between(Arc::new(|call: &Call, answer: Answer| {
        if call.url.ends_with("/commits") {
            let problem = json!({ "code": "commit_conflict", "changed": 9, "position": 9 });
            return Ok((409, problem.to_string().into_bytes()));
        }
        answer
    }));
    assert_eq!(code(run(stage.alice.client.renew(&conversation))), Code::CommitConflict);
    // An inbox that goes backwards, and one of other shapes.
    stage.bob.sync().unwrap();
    stage.alice.between(Arc::new(|_: &Call, answer: Answer| answer));
    stage.alice.write("bob", "three").unwrap();
    let (backwards, seq) = (Arc::new(AtomicBool::new(true)), json!(1));
    let back = backwards.clone();
    lie(&mut stage.bob, "/v1/inbox/bob", move |answer| {
        if back.load(Ordering::Relaxed) {
            for item in answer["items"].as_array_mut().unwrap() {
                item["seq"] = seq.clone();
            }
        }
    });
    assert_eq!(code(stage.bob.sync()), Code::ResponseRefused);
    backwards.store(false, Ordering::Relaxed);
    stage.bob.sync().unwrap();
    assert_eq!(stage.bob.texts(), ["one", "two", "three"]);
    for body in ["[]", "{}", "{\"items\":3,\"last\":1}", "{\"items\":[{}],\"last\":1}", "x"] {
        stage.bob.between(Arc::new(move |call: &Call, answer: Answer| {
            if call.url.contains("/v1/inbox/") { Ok((200, body.into())) } else { answer }
        }));
        stage.bob.sync().unwrap_err();
    }
    assert_eq!(key(Scheme::Ed25519).public().identity().scheme(), Scheme::Ed25519);
}

/// What the inbox lacks comes from the log, however few entries one page of it has.
#[test]
fn a_log_in_short_pages() {
    let mut stage = stage();
    for text in ["three", "four", "five", "six"] {
        stage.alice.write("bob", text).unwrap();
    }
    let log = Arc::new(AtomicBool::new(false));
    let asked = log.clone();
    stage.bob.between(Arc::new(move |call: &Call, answer: Answer| {
        let (status, body) = answer?;
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        let Some(items) = value["items"].as_array_mut() else { return Ok((status, body)) };
        if call.url.contains("/log?") {
            log.store(true, Ordering::Relaxed);
            items.truncate(1);
        } else {
            items.retain(|item| item["position"] == 7);
        }
        Ok((status, value.to_string().into_bytes()))
    }));
    stage.bob.sync().unwrap();
    assert!(asked.load(Ordering::Relaxed));
    assert_eq!(stage.bob.texts(), ["one", "two", "three", "four", "five", "six"]);
    assert!(stage.bob.refused().is_empty());
}
