//! Clients through the real server: offline first messages, several devices, revocations, groups,
//! crashes at every step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{
    Server,
    client::{Machine, Seat, copy, random, run},
};
use kez_core::{
    Code,
    chat::{
        Vault,
        client::{Client, Entry, EntryKind, Platform as _, State},
    },
};
use tempfile::TempDir;

fn server() -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    (dir, server)
}

fn code<T: std::fmt::Debug>(result: kez_core::Result<T>) -> Code {
    result.unwrap_err().code()
}

/// KEZ-CONV-06
#[test]
fn the_first_message_finds_somebody_offline() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    alice.write("bob", "hello").unwrap();
    alice.write("bob", "are you there?").unwrap();
    assert_eq!(bob.texts(), [""; 0]);
    bob.sync().unwrap();
    assert_eq!(bob.texts(), ["hello", "are you there?"]);
    let conversations = run(bob.client.conversations()).unwrap();
    assert_eq!((conversations.len(), conversations[0].state), (1, State::Request));
    bob.write("alice", "yes").unwrap();
    alice.sync().unwrap();
    assert_eq!(alice.texts(), ["hello", "are you there?", "yes"]);
    assert_eq!(bob.texts(), ["hello", "are you there?", "yes"]);
    let conversations = run(bob.client.conversations()).unwrap();
    assert_eq!((conversations[0].state, conversations[0].devices), (State::Active, 2));
    assert_eq!(bob.refused(), []);
    // Once taken, nothing comes twice, and the server forgets it.
    bob.sync().unwrap();
    bob.reopen();
    bob.sync().unwrap();
    assert_eq!(bob.texts().len(), 3);
}

#[test]
fn both_begin_at_once() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    alice.write("bob", "from alice").unwrap();
    bob.write("alice", "from bob").unwrap();
    for _ in 0..2 {
        alice.sync().unwrap();
        bob.sync().unwrap();
    }
    // From now on both use the same one.
    alice.write("bob", "again alice").unwrap();
    bob.write("alice", "again bob").unwrap();
    alice.sync().unwrap();
    let mut all = alice.texts();
    all.sort();
    assert_eq!(all, ["again alice", "again bob", "from alice", "from bob"]);
    assert_eq!(alice.direct("bob").unwrap(), bob.direct("alice").unwrap());
}

/// KEZ-GATE-01
#[test]
fn a_third_device_joins_and_a_revoked_one_is_out() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, mut laptop) = Seat::join("bob", &server);
    alice.write("bob", "one").unwrap();
    laptop.sync().unwrap();
    let mut tablet = Seat::register(&mut bob, 1, &server);
    // His own device takes it in, with the next thing that it does.
    laptop.write("alice", "two").unwrap();
    alice.sync().unwrap();
    alice.write("bob", "three").unwrap();
    tablet.sync().unwrap();
    laptop.sync().unwrap();
    assert_eq!(laptop.texts(), ["one", "two", "three"]);
    // What was before it came, it does not see.
    assert_eq!(tablet.texts(), ["two", "three"]);
    tablet.write("alice", "four").unwrap();
    laptop.sync().unwrap();
    alice.sync().unwrap();
    assert_eq!(alice.texts(), ["one", "two", "three", "four"]);
    assert_eq!(laptop.texts(), ["one", "two", "three", "four"]);
    // Revoked, it is shut out from the next message on, by whoever writes it.
    bob.revoke(1);
    assert_eq!(bob.put_chain(&server).0, 204);
    alice.write("bob", "five").unwrap();
    laptop.sync().unwrap();
    assert_eq!(laptop.texts(), ["one", "two", "three", "four", "five"]);
    let conversations = run(alice.client.conversations()).unwrap();
    assert_eq!(conversations[0].devices, 2);
    assert_eq!(code(tablet.sync()), Code::DeviceRevoked);
    assert_eq!(code(tablet.write("alice", "six")), Code::DeviceRevoked);
    assert!(alice.refused().is_empty() && laptop.refused().is_empty());
}

#[test]
fn ten_people_in_a_group() {
    let (_dir, server) = server();
    let mut seats: Vec<Seat> =
        (0..10).map(|n| Seat::join(&format!("person{n}"), &server).1).collect();
    let others: Vec<_> = (1..9).map(|n| format!("person{n}").parse().unwrap()).collect();
    let group = seats[0].client.create_group("ten", &others);
    let group = run(group).unwrap();
    for (n, seat) in seats.iter_mut().enumerate().take(9) {
        seat.sync().unwrap();
        seat.send(&group, &format!("from {n}")).unwrap();
    }
    // One who is no admin adds nobody; the admin adds the tenth, and removes the fifth.
    let tenth = "person9".parse().unwrap();
    let refused = run(seats[3].client.add(&group, &tenth));
    assert_eq!(code(refused), Code::CommitRefused);
    run(seats[0].client.add(&group, &tenth)).unwrap();
    let fifth = "person5".parse().unwrap();
    run(seats[0].client.remove(&group, &fifth)).unwrap();
    seats[0].send(&group, "without the fifth").unwrap();
    for seat in &mut seats {
        seat.sync().unwrap();
    }
    seats[9].send(&group, "from the tenth").unwrap();
    for (n, seat) in seats.iter_mut().enumerate() {
        seat.sync().unwrap();
        let texts = seat.texts();
        assert!(seat.refused().is_empty(), "{n}: {:?}", seat.refused());
        match n {
            5 => {
                assert_eq!(texts.len(), 9);
                let last = seat.all().pop().unwrap().kind;
                assert!(matches!(last, EntryKind::Left(_)), "{last:?}");
            }
            9 => assert_eq!(texts, ["without the fifth", "from the tenth"]),
            _ => assert_eq!(texts.len(), 11, "{n}: {texts:?}"),
        }
    }
    assert_eq!(code(seats[5].send(&group, "hello?")), Code::ConversationUnknown);
}

/// KEZ-CONV-07, KEZ-CONV-09, KEZ-CONV-10, KEZ-CONV-11, KEZ-CONV-12, KEZ-MSG-09
#[test]
fn who_leaves_a_group_is_out_of_it() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, mut laptop) = Seat::join("bob", &server);
    let mut tablet = Seat::register(&mut bob, 1, &server);
    let (_, mut carol) = Seat::join("carol", &server);
    let (_, mut dave) = Seat::join("dave", &server);
    let name = |seat: &Seat| seat.client.device().certificate().primary().clone();
    let others: Vec<_> = ["bob", "carol", "dave"].map(|h| h.parse().unwrap()).into();
    let group = run(alice.client.create_group("four", &others)).unwrap();
    for seat in [&mut laptop, &mut tablet, &mut carol, &mut dave] {
        seat.sync().unwrap();
    }
    let overview = |seat: &Seat| {
        let all = run(seat.client.conversations()).unwrap();
        all.into_iter().find(|one| one.id == group).unwrap()
    };
    let left = |seat: &Seat| {
        let who = |entry: Entry| match entry.kind {
            EntryKind::Left(who) => Some(who),
            _ => None,
        };
        seat.entries(&group).into_iter().filter_map(who).collect::<Vec<_>>()
    };
    // Out with all devices, at once; who is no admin goes on all the same.
    run(laptop.client.leave(&group)).unwrap();

    carol.send(&group, "is he gone?").unwrap();
    assert_eq!(overview(&carol).devices, 5);
    for seat in [&mut laptop, &mut tablet] {
        seat.sync().unwrap();
        assert_eq!(overview(seat).state, State::Removed);
        assert_eq!(left(seat), [name(seat)]);
        assert_eq!(code(seat.send(&group, "no")), Code::ConversationUnknown);
        assert_eq!(code(run(seat.client.leave(&group))), Code::ConversationUnknown);
    }
    // An admin's client takes the devices out by itself.
    alice.sync().unwrap();
    carol.send(&group, "he is").unwrap();
    dave.sync().unwrap();
    laptop.sync().unwrap();
    for seat in [&alice, &carol, &dave] {
        assert_eq!((overview(seat).devices, left(seat)), (3, vec![name(&laptop)]));
    }
    assert_eq!(dave.texts(), ["is he gone?", "he is"]);
    assert_eq!((laptop.texts(), tablet.texts()), (vec![], vec![]));
    // Whoever was added again is in it again.
    run(alice.client.add(&group, &"bob".parse().unwrap())).unwrap();
    for seat in [&mut laptop, &mut tablet] {
        seat.sync().unwrap();
        assert_eq!(overview(seat).state, State::Active);
    }
    tablet.send(&group, "back").unwrap();
    // The last admin hands on.
    run(alice.client.leave(&group)).unwrap();
    carol.sync().unwrap();
    assert_eq!(overview(&carol).about.people, [name(&laptop)]);
    for seat in [&mut laptop, &mut tablet, &mut carol, &mut dave] {
        seat.sync().unwrap();
    }
    assert_eq!(overview(&dave).devices, 4);
    // Cut off at every step, it is said once.
    for steps in 0.. {
        dave.cut_after(steps);
        let done = run(dave.client.leave(&group));
        dave.reopen();
        if done.is_ok() || overview(&dave).state == State::Removed {
            break;
        }
    }
    for seat in [&mut laptop, &mut carol, &mut dave] {
        seat.sync().unwrap();
    }
    laptop.send(&group, "who is here?").unwrap();
    carol.sync().unwrap();
    assert_eq!(carol.texts(), ["is he gone?", "he is", "back", "who is here?"]);
    for seat in [&carol, &laptop] {
        assert_eq!(left(seat).iter().filter(|who| **who == name(&dave)).count(), 1);
        assert!(seat.refused().is_empty(), "{:?}", seat.refused());
        assert_eq!(overview(seat).devices, 3);
    }
    // Of two people none ever leaves.
    laptop.write("carol", "we two").unwrap();
    let direct = laptop.direct("carol").unwrap();
    assert_eq!(code(run(laptop.client.leave(&direct))), Code::CommitRefused);
}

/// KEZ-GATE-04
#[test]
fn a_changed_device_of_a_verified_person_stops_the_next_message() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, mut laptop) = Seat::join("bob", &server);
    let bobs = "bob".parse().unwrap();
    let alices = "alice".parse().unwrap();
    let (number, verified) = run(alice.client.safety_number(&bobs)).unwrap();
    assert!(!verified);
    assert_eq!(number, run(laptop.client.safety_number(&alices)).unwrap().0);
    let wrong = run(alice.client.verify(&bobs, &"0".repeat(60)));
    assert_eq!(code(wrong), Code::DevicesChanged);
    run(alice.client.verify(&bobs, &number)).unwrap();
    assert!(run(alice.client.safety_number(&bobs)).unwrap().1);
    alice.write("bob", "one").unwrap();
    bob.add_device();
    bob.put_chain(&server);
    assert_eq!(code(alice.write("bob", "two")), Code::DevicesChanged);
    let (again, verified) = run(alice.client.safety_number(&bobs)).unwrap();
    assert!(!verified && again != number);
    run(alice.client.verify(&bobs, &again)).unwrap();
    alice.write("bob", "two").unwrap();
    laptop.sync().unwrap();
    assert_eq!(laptop.texts(), ["one", "two"]);
    // The same for somebody who no longer vouches for him.
    bob.add_device();
    bob.put_chain(&server);
    assert_eq!(code(alice.write("bob", "three")), Code::DevicesChanged);
    run(alice.client.unverify(&bobs)).unwrap();
    alice.write("bob", "three").unwrap();
    // Without having verified, a new device is a quiet matter.
    laptop.write("alice", "four").unwrap();
}

/// KEZ-STATE-05, KEZ-GATE-06
#[test]
fn what_is_written_without_a_server_goes_later() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let address = server.address().to_owned();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut person, mut bob) = Seat::join("bob", &server);
    alice.write("bob", "one").unwrap();
    bob.sync().unwrap();
    bob.write("alice", "zero").unwrap();
    alice.sync().unwrap();
    server.0.kill();
    let conversation = {
        let conversations = run(alice.client.conversations()).unwrap();
        conversations[0].id.clone()
    };
    for text in ["two", "three"] {
        assert_eq!(code(alice.send(&conversation, text)), Code::ConnectFailed);
    }
    let waiting = run(alice.client.conversations()).unwrap()[0].waiting;
    assert_eq!(waiting, 2);
    alice.reopen();
    let server = Server::listening(dir.path(), &address, &[]);
    // The epoch changes before they are posted: who is new reads them.
    let mut tablet = Seat::register(&mut person, 1, &server);
    run(bob.client.admit()).unwrap();
    alice.sync().unwrap();
    bob.sync().unwrap();
    tablet.sync().unwrap();
    assert_eq!(bob.texts(), ["one", "zero", "two", "three"]);
    assert_eq!(alice.texts(), ["one", "zero", "two", "three"]);
    assert_eq!(tablet.texts(), ["two", "three"]);
}

#[test]
fn a_new_device_comes_in_without_a_word() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, mut laptop) = Seat::join("bob", &server);
    alice.write("bob", "one").unwrap();
    laptop.sync().unwrap();
    let mut tablet = Seat::register(&mut bob, 1, &server);
    // Whom he has not answered, does not learn of his devices.
    let devices = |seat: &Seat| run(seat.client.conversations()).unwrap()[0].devices;
    run(laptop.client.admit()).unwrap();
    assert_eq!(devices(&laptop), 2);
    laptop.write("alice", "two").unwrap();
    let _phone = Seat::register(&mut bob, 2, &server);
    run(laptop.client.admit()).unwrap();
    assert_eq!(devices(&laptop), 4);
    alice.write("bob", "three").unwrap();
    tablet.sync().unwrap();
    assert_eq!(tablet.texts(), ["two", "three"]);
    // And one that has ended goes as quietly.
    bob.revoke(2);
    bob.put_chain(&server);
    run(laptop.client.admit()).unwrap();
    assert_eq!(devices(&laptop), 3);
}

/// What waits for somebody whose devices changed keeps nothing of others from coming and going.
#[test]
fn one_conversation_that_is_stopped_stops_no_other() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let address = server.address().to_owned();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, _laptop) = Seat::join("bob", &server);
    let (_, mut carol) = Seat::join("carol", &server);
    let bobs = "bob".parse().unwrap();
    let with_bob = alice.direct("bob").unwrap();
    let with_carol = alice.direct("carol").unwrap();
    for conversation in [&with_bob, &with_carol] {
        alice.send(conversation, "one").unwrap();
    }
    let (number, _) = run(alice.client.safety_number(&bobs)).unwrap();
    run(alice.client.verify(&bobs, &number)).unwrap();
    server.0.kill();
    for conversation in [&with_bob, &with_carol] {
        assert_eq!(code(alice.send(conversation, "two")), Code::ConnectFailed);
    }
    let server = Server::listening(dir.path(), &address, &[]);
    bob.add_device();
    bob.put_chain(&server);
    alice.sync().unwrap();
    run(alice.client.admit()).unwrap();
    carol.sync().unwrap();
    assert_eq!(carol.texts(), ["one", "two"]);
    let waits = |id: &str| {
        let all = run(alice.client.conversations()).unwrap();
        all.iter().find(|c| c.id == id).unwrap().waiting
    };
    assert_eq!((waits(&with_bob), waits(&with_carol)), (1, 0));
    assert_eq!(code(alice.send(&with_bob, "three")), Code::DevicesChanged);
}

/// KEZ-AUTH-05: the server refuses a signature that it has seen, and the client counts on.
#[test]
fn a_clock_that_stands_still() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    *alice.machine.frozen.lock().unwrap() = Some(common::now_ms());
    for text in ["one", "two"] {
        alice.write("bob", text).unwrap();
        alice.sync().unwrap();
        alice.sync().unwrap();
    }
    bob.sync().unwrap();
    assert_eq!(bob.texts(), ["one", "two"]);
}

/// KEZ-STATE-01: everything is cut off at every step once, and goes on from the disk.
/// KEZ-MSG-06, KEZ-STATE-04, KEZ-STATE-05
#[test]
fn a_crash_at_any_step_loses_and_doubles_nothing() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    let mut sent = Vec::new();
    for step in 0..60 {
        let text = format!("alice {step}");
        alice.cut_after(step % 30);
        let done = alice.write("bob", &text);
        alice.reopen();
        // If it was kept, it goes with what follows; else it is written again.
        let kept = alice.texts().contains(&text);
        assert!(kept || done.is_err());
        if !kept {
            alice.write("bob", &text).unwrap();
        }
        sent.push(text);
        bob.cut_after(step % 25);
        let _ = bob.sync();
        bob.reopen();
    }
    alice.sync().unwrap();
    bob.sync().unwrap();
    assert_eq!(bob.texts(), sent);
    assert_eq!(alice.texts(), sent);
    assert!(bob.refused().is_empty(), "{:?}", bob.refused());
}

/// KEZ-STATE-02, KEZ-STATE-03: a device moves with all that it has, cut off at every step.
/// KEZ-STATE-07
#[test]
fn a_device_moves_and_lives_once() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    alice.write("bob", "one").unwrap();
    bob.sync().unwrap();
    let (secret, old) = (copy(&bob.secret), bob.machine.clone());
    let other = copy(&alice.secret);
    let export = |key| run(Client::export(&old, key, random()));
    assert_eq!(code(export(&other)), Code::StateRefused);
    // Nothing was ended by that.
    bob.reopen();
    bob.write("alice", "two").unwrap();

    let mut blob = None;
    for step in 0.. {
        *old.cut.lock().unwrap() = Some(step);
        let done = export(&secret);
        *old.cut.lock().unwrap() = None;
        let opened = run(Client::open(old.clone(), copy(&secret), random()));
        match done {
            // It lives here until the blob is stored, and never after.
            Err(error) => {
                assert_eq!((error.code(), opened.is_ok()), (Code::StorageFailed, step == 0));
            }
            Ok(done) => {
                assert_eq!(code(opened), Code::StateRefused);
                blob = Some(done);
                break;
            }
        }
    }
    let blob = blob.unwrap();
    assert_eq!(export(&secret).unwrap(), blob);
    assert_eq!(code(export(&other)), Code::StateRefused);
    let left: Vec<String> = run(old.names()).unwrap();
    assert_eq!(left, ["moved"]);
    let back = Client::import(old.clone(), copy(&secret), random(), &blob);
    assert_eq!(code(run(back)), Code::StateRefused);

    // Meanwhile somebody writes, and a key package waits for somebody new.
    alice.write("bob", "three").unwrap();
    let (_, mut carol) = Seat::join("carol", &server);
    carol.write("bob", "hello").unwrap();
    let new = Machine::default();
    let import = |key, blob: &[u8]| run(Client::import(new.clone(), copy(key), random(), blob));
    assert_eq!(code(import(&other, &blob)), Code::StateRefused);
    let mut changed = blob.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(code(import(&secret, &changed)), Code::StateRefused);
    // Whoever has the key can write what he likes into it: no name leads out of the storage.
    let vault = Vault::of(&secret, random());
    for name in ["../out", "/out", "a//b", "a/", ""] {
        let text = format!(r#"{{"records":{{"{name}":""}},"version":1}}"#);
        let blob = vault.seal("moved", text.as_bytes()).unwrap();
        assert_eq!(code(import(&secret, &blob)), Code::StateRefused, "{name}");
    }
    assert!(new.disk.lock().unwrap().is_empty());
    bob.machine = new.clone();
    for step in 0.. {
        *new.cut.lock().unwrap() = Some(step);
        let done = import(&secret, &blob);
        *new.cut.lock().unwrap() = None;
        if let Ok(client) = done {
            bob.client = client;
            break;
        }
        let opened = run(Client::open(new.clone(), copy(&secret), random()));
        assert_eq!(code(opened), Code::StateRefused);
    }
    assert_eq!(code(import(&secret, &blob)), Code::StateRefused);
    bob.sync().unwrap();
    bob.write("alice", "four").unwrap();
    alice.sync().unwrap();
    assert_eq!(alice.texts(), ["one", "two", "three", "four"]);
    let mut texts = bob.texts();
    texts.sort();
    assert_eq!(texts, ["four", "hello", "one", "three", "two"]);
    assert!(bob.refused().is_empty() && alice.refused().is_empty());
}

/// KEZ-MSG-03, KEZ-CONV-11, KEZ-MSG-08
#[test]
fn what_a_revoked_device_wrote_is_not_trusted() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (mut bob, mut laptop) = Seat::join("bob", &server);
    let mut tablet = Seat::register(&mut bob, 1, &server);
    alice.write("bob", "one").unwrap();
    let group = run(alice.client.create_group("all", &["bob".parse().unwrap()])).unwrap();
    laptop.sync().unwrap();
    tablet.sync().unwrap();
    run(tablet.client.leave(&group)).unwrap();
    tablet.write("alice", "from the thief").unwrap();
    bob.revoke(1);
    bob.put_chain(&server);
    // She has heard of the revocation before she takes the message.
    run(alice.client.resolve(&"bob".parse().unwrap())).unwrap();
    alice.sync().unwrap();
    let direct = alice.direct("bob").unwrap();
    let last = |seat: &Seat, conversation| seat.entries(conversation).pop().unwrap();
    let entry = last(&alice, &direct);
    assert_eq!(entry.kind, EntryKind::Text("from the thief".into()));
    assert_eq!(entry.doubt, Some(Code::DeviceRevoked));
    laptop.write("alice", "from bob").unwrap();
    alice.sync().unwrap();
    assert_eq!(last(&alice, &direct).doubt, None);
    // Nor does it take its owner out of a group.
    assert_eq!(last(&alice, &group).kind, EntryKind::Unknown("leave".into()));
    laptop.send(&group, "I am here").unwrap();
    alice.sync().unwrap();
    assert_eq!(last(&alice, &group).kind, EntryKind::Text("I am here".into()));
}

/// KEZ-GATE-05
#[test]
fn keys_are_renewed_from_time_to_time() {
    let (_dir, server) = server();
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    let conversation = alice.direct("bob").unwrap();
    let epoch = |seat: &Seat| run(seat.client.conversations()).unwrap()[0].epoch;
    alice.send(&conversation, "0").unwrap();
    let before = epoch(&alice);
    for n in 1..=200 {
        alice.send(&conversation, &n.to_string()).unwrap();
        assert_eq!(epoch(&alice), if n < 200 { before } else { before + 1 }, "{n}");
    }
    bob.sync().unwrap();
    assert_eq!((bob.texts().len(), epoch(&bob)), (201, before + 1));
    assert!(bob.refused().is_empty());
}
