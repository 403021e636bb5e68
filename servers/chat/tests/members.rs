//! One member against the others, and a stranger against an inbox: the server cannot verify what
//! they post, and bounds what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{
    Answer, Person, Server, base64,
    client::{Seat, run},
    id, texts,
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn server(options: &[&str]) -> (TempDir, Server) {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), options);
    (dir, server)
}

fn people<const N: usize>(server: &Server, names: [&str; N]) -> [Person; N] {
    names.map(|name| Person::join(name, server))
}

/// Where a conversation stands.
fn stand(person: &Person, server: &Server, conversation: &str) -> Answer {
    person.send(server, "GET", &format!("/v1/conversations/{conversation}"), None)
}

/// Posts a commit for where the conversation stands.
fn commit_with(
    person: &Person,
    server: &Server,
    conversation: &str,
    recipients: &[&str],
    welcomes: &Value,
) -> Answer {
    let expect = stand(person, server, conversation).1["changed"].clone();
    let body = json!({
        "expect": expect, "id": id(16), "body": base64(b"garbage"), "recipients": recipients,
        "welcomes": welcomes,
    });
    let path = format!("/v1/conversations/{conversation}/commits");
    person.send(server, "POST", &path, Some(&body))
}

fn commit(person: &Person, server: &Server, conversation: &str, recipients: &[&str]) -> u64 {
    let answer = commit_with(person, server, conversation, recipients, &json!([]));
    assert_eq!(answer.0, 201, "{answer:?}");
    answer.1["position"].as_u64().unwrap()
}

/// Says which commit a person accepted.
fn accept(person: &Person, server: &Server, conversation: &str, position: u64) {
    let path = format!("/v1/inbox/{}/ack", person.handle);
    let accepted = json!([{ "conversation": conversation, "position": position }]);
    let body = json!({ "seq": 0, "accepted": accepted });
    assert_eq!(person.send(server, "POST", &path, Some(&body)).0, 200);
}

fn invite(guest: &Person) -> Value {
    json!([{ "handle": guest.handle, "device": guest.device(0).as_str(), "body": base64(&[7; 2000]) }])
}

/// KEZ-MEMBER-01, KEZ-MEMBER-02, KEZ-MEMBER-03
#[test]
fn a_member_cannot_take_a_group_from_the_others() {
    let (_dir, server) = server(&[]);
    let [alice, bob, mallory, puppet] = people(&server, ["alice", "bob", "mallory", "puppet"]);
    let group = alice.converse(&server, &[&bob, &mallory]);
    for names in [&["mallory"][..], &["alice", "mallory"], &["mallory", "puppet"], &[]] {
        commit(&mallory, &server, &group, names);
        if names.contains(&"puppet") {
            let at = commit(&puppet, &server, &group, &["mallory", "puppet"]);
            accept(&puppet, &server, &group, at);
            accept(&mallory, &server, &group, at);
        }
        let answer = alice.message(&server, &group, "still here");
        assert_eq!((answer.0, answer.1.get("full")), (201, None), "{names:?}");
        assert_eq!(bob.texts(&server, 0).last().unwrap(), "still here");
        assert_eq!(bob.message(&server, &group, "so am I").0, 201, "{names:?}");
        assert_eq!(alice.texts(&server, 0).last().unwrap(), "so am I");
    }
    // By leaving itself out, Mallory has left; the handle that only Mallory named is out, too.
    let recipients = stand(&alice, &server, &group).1["recipients"].clone();
    assert_eq!(recipients, json!(["alice", "bob"]));
    let gone = puppet.message(&server, &group, "hello");
    assert_eq!((gone.0, gone.code()), (404, "conversation_unknown"));
}

/// KEZ-MEMBER-01, KEZ-MEMBER-04
#[test]
fn a_removed_member_is_out_when_most_of_the_others_accept() {
    let (_dir, server) = server(&[]);
    let [alice, bob, carol, mallory] = people(&server, ["alice", "bob", "carol", "mallory"]);
    let group = alice.converse(&server, &[&bob, &carol, &mallory]);
    let at = commit(&alice, &server, &group, &["alice", "bob", "carol"]);
    // The removal itself reaches Mallory, and until others accept it, the group does.
    let seen = mallory.poll(&server, 0);
    assert_eq!(seen.last().unwrap()["position"], at);
    assert_eq!(mallory.message(&server, &group, "no").0, 201);
    // Nonsense is not counted: a position without a commit, one that is to come, another conversation.
    for position in [0, at - 1, at + 1, at + 100] {
        accept(&bob, &server, &group, position);
    }
    accept(&bob, &server, &id(32), at);
    assert_eq!(mallory.message(&server, &group, "no").0, 201);
    accept(&bob, &server, &group, at);
    let gone = mallory.message(&server, &group, "no");
    assert_eq!((gone.0, gone.code()), (404, "conversation_unknown"));
    assert_eq!(stand(&mallory, &server, &group).0, 404);
    let before = mallory.poll(&server, 0).len();
    alice.message(&server, &group, "without mallory");
    assert_eq!(mallory.poll(&server, 0).len(), before);
    assert_eq!(carol.texts(&server, 0).last().unwrap(), "without mallory");
    // A member that agrees to its removal is out at once.
    let at = commit(&alice, &server, &group, &["alice", "bob"]);
    accept(&carol, &server, &group, at);
    assert_eq!(stand(&carol, &server, &group).0, 404);
}

/// KEZ-MEMBER-05
#[test]
fn commits_are_limited_for_each_member() {
    let (_dir, server) = server(&["--commit-rate", "5"]);
    let [alice, bob] = people(&server, ["alice", "bob"]);
    let group = alice.converse(&server, &[&bob]);
    let answers: Vec<u16> = (0..8)
        .map(|_| commit_with(&bob, &server, &group, &["alice", "bob"], &json!([])).0)
        .collect();
    assert!(answers.starts_with(&[201; 5]) && answers.contains(&429), "{answers:?}");
    commit(&alice, &server, &group, &["alice", "bob"]);
}

/// KEZ-MEMBER-01, KEZ-MEMBER-06, KEZ-CONV-03: the same with real clients.
#[test]
fn clients_go_on_after_garbage_and_end_a_removal() {
    let (_dir, server) = server(&[]);
    let (_, mut alice) = Seat::join("alice", &server);
    let (_, mut bob) = Seat::join("bob", &server);
    let (mallory, mut mallorys) = Seat::join("mallory", &server);
    let handles = ["bob".parse().unwrap(), "mallory".parse().unwrap()];
    let group = run(alice.client.create_group("Team", &handles)).unwrap();
    for seat in [&mut bob, &mut mallorys] {
        seat.sync().unwrap();
    }
    for names in [&["mallory"][..], &["alice", "mallory"]] {
        commit(&mallory, &server, &group, names);
        alice.send(&group, "to bob").unwrap();
        bob.sync().unwrap();
        bob.send(&group, "to alice").unwrap();
        alice.sync().unwrap();
    }
    assert_eq!(alice.texts(), ["to bob", "to alice", "to bob", "to alice"]);
    assert_eq!(bob.texts(), alice.texts());
    // A change finds its place, too.
    run(bob.client.renew(&group)).unwrap();
    // A real removal ends the delivery as soon as Bob's client has it.
    alice.sync().unwrap();
    run(alice.client.remove(&group, &"mallory".parse().unwrap())).unwrap();
    alice.sync().unwrap();
    assert_eq!(mallory.message(&server, &group, "no").0, 201);
    bob.sync().unwrap();
    assert_eq!(mallory.message(&server, &group, "no").0, 404);
    alice.send(&group, "two of us").unwrap();
    bob.sync().unwrap();
    assert_eq!(bob.texts().last().unwrap(), "two of us");
}

/// KEZ-DELIVER-02, KEZ-DELIVER-12, KEZ-DELIVER-14
#[test]
fn a_full_inbox_keeps_nobody_else_from_talking() {
    let (_dir, server) = server(&["--inbox-items", "10"]);
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]);
    let group = alice.converse(&server, &[&bob, &carol]);
    let direct = alice.converse(&server, &[&bob]);
    let empty = |person: &Person| {
        let seq = person.poll(&server, 0).last().map(|item| item["seq"].as_u64().unwrap());
        seq.map(|seq| person.acknowledge(&server, 0, seq));
    };
    // All take part in what they are in.
    for (person, conversation) in [(&bob, &group), (&bob, &direct), (&carol, &group)] {
        assert_eq!(person.message(&server, conversation, "here").0, 201);
    }
    for person in [&alice, &bob, &carol] {
        empty(person);
    }
    for n in 0..5 {
        let answer = alice.message(&server, &group, &n.to_string());
        assert_eq!((answer.0, answer.1.get("full")), (201, None));
        empty(&alice);
        empty(&carol);
    }
    // Bob's inbox takes no more from Alice: the group goes on, and she is told.
    let answer = alice.message(&server, &group, "5");
    assert_eq!((answer.0, &answer.1["full"]), (201, &json!(["bob"])));
    empty(&alice);
    assert_eq!(carol.texts(&server, 0), ["5"]);
    // Where he is the only other one, it is refused, and nothing is left of it.
    let refused = alice.message(&server, &direct, "hello");
    assert_eq!((refused.0, refused.code()), (507, "quota_exceeded"));
    assert_eq!(alice.poll(&server, 0).len(), 0);
    // Carol still has room.
    let answer = carol.message(&server, &group, "6");
    assert_eq!((answer.0, answer.1.get("full")), (201, None));
    // He gets the rest by the log, once he is back.
    assert_eq!(bob.texts(&server, 0), ["0", "1", "2", "3", "4", "6"]);
    let log = bob.send(&server, "GET", &format!("/v1/conversations/{group}/log?since=8"), None);
    assert_eq!(texts(log.1["items"].as_array().unwrap()), ["5", "6"]);
    empty(&bob);
    assert_eq!(alice.message(&server, &direct, "hello").0, 201);
}

/// KEZ-INBOX-01, KEZ-INBOX-02, KEZ-INBOX-03
#[test]
fn strangers_take_no_room_from_each_other_or_from_friends() {
    let (_dir, server) = server(&["--inbox-items", "400", "--inbox-bytes", "4000000"]);
    let [alice, bob, carol] = people(&server, ["alice", "bob", "carol"]);
    let talk = alice.converse(&server, &[&bob]);
    assert_eq!(bob.message(&server, &talk, "welcome").0, 201);
    let mut taken = Vec::new();
    for n in 0..20 {
        let eve = Person::join(&format!("eve{n}"), &server);
        let made = eve.converse(&server, &[&bob]);
        let small =
            (0..50).map_while(|_| (eve.message(&server, &made, "x").0 == 201).then_some(()));
        let small = small.count();
        // Neither more conversations nor welcomes get more.
        let other = eve.send(&server, "POST", "/v1/conversations", Some(&json!({ "id": id(32) })));
        assert_eq!(other.0, 201);
        let answer = commit_with(&eve, &server, &made, &[&eve.handle, "bob"], &invite(&bob));
        assert_eq!((answer.0, answer.code()), (507, "quota_exceeded"));
        taken.push(small);
    }
    // One gets a ninth of the hundred; twenty leave room for more.
    assert!(taken[0] <= 12 && taken[19] >= 1 && taken.is_sorted_by(|a, b| a >= b), "{taken:?}");
    let made = carol.converse(&server, &[]);
    let answer = commit_with(&carol, &server, &made, &["carol", "bob"], &invite(&bob));
    assert_eq!(answer.0, 201, "{answer:?}");
    for n in 0..100 {
        let answer = alice.message(&server, &talk, &n.to_string());
        assert_eq!((answer.0, answer.1.get("full")), (201, None), "{n}");
    }
    // What was fetched makes room again.
    while let Some(last) = bob.poll(&server, 0).last() {
        bob.acknowledge(&server, 0, last["seq"].as_u64().unwrap());
    }
    let eve = Person::join("eve", &server);
    let made = eve.converse(&server, &[&bob]);
    let again = (0..50).map_while(|_| (eve.message(&server, &made, "x").0 == 201).then_some(()));
    assert_eq!(again.count(), taken[0]);
}

/// KEZ-INBOX-02
#[test]
fn large_entries_of_a_stranger_leave_room() {
    let (_dir, server) = server(&["--inbox-bytes", "4000000"]);
    let [eve, bob, carol] = people(&server, ["eve", "bob", "carol"]);
    let made = eve.converse(&server, &[&bob]);
    let waits = || {
        let items = bob.poll(&server, 0);
        items.iter().map(|item| common::unbase64(&item["body"]).len()).sum::<usize>()
    };
    for size in [60_000, 30_000, 3000, 300] {
        while eve.message(&server, &made, &"x".repeat(size)).0 == 201 {}
    }
    assert!((90_000..=125_000).contains(&waits()), "{}", waits());
    let made = carol.converse(&server, &[]);
    let answer = commit_with(&carol, &server, &made, &["carol", "bob"], &invite(&bob));
    assert_eq!(answer.0, 201, "{answer:?}");
}

/// KEZ-INBOX-04, KEZ-INBOX-05
#[test]
fn a_blocked_handle_reaches_no_inbox_and_is_not_told() {
    let (_dir, server) = server(&[]);
    let [bob, eve, carol] = people(&server, ["bob", "eve", "carol"]);
    let direct = eve.converse(&server, &[&bob]);
    let group = eve.converse(&server, &[&bob, &carol]);
    bob.message(&server, &direct, "hello");
    let blocks = "/v1/inbox/bob/blocks";
    let eves = "/v1/inbox/bob/blocks/eve";
    let empty = json!({});
    assert_eq!(eve.send(&server, "PUT", "/v1/inbox/bob/blocks/bob", Some(&empty)).0, 403);
    assert_eq!(eve.send(&server, "DELETE", "/v1/inbox/bob/blocks/bob", None).0, 403);
    assert_eq!(eve.send(&server, "GET", blocks, None).0, 403);
    assert_eq!(server.plain("PUT", eves, Some(&empty)).code(), "auth_missing");
    let refused = bob.send(&server, "PUT", "/v1/inbox/bob/blocks/E", Some(&empty));
    assert_eq!(refused.code(), "handle_refused");
    for _ in 0..2 {
        assert_eq!(bob.send(&server, "PUT", eves, Some(&empty)).0, 204);
    }
    assert_eq!(bob.send(&server, "GET", blocks, None).1, json!({ "blocks": ["eve"] }));
    let before = bob.poll(&server, 0).len();
    // As with a full inbox: alone with him it is refused, in a group he is named.
    let refused = eve.message(&server, &direct, "x");
    assert_eq!((refused.0, refused.code()), (507, "quota_exceeded"));
    let answer = eve.message(&server, &group, "x");
    assert_eq!((answer.0, &answer.1["full"]), (201, &json!(["bob"])));
    let answer = commit_with(&eve, &server, &group, &["bob", "carol", "eve"], &invite(&bob));
    assert_eq!((answer.0, answer.code()), (507, "quota_exceeded"));
    let made = eve.converse(&server, &[]);
    let answer = commit_with(&eve, &server, &made, &["bob", "eve"], &invite(&bob));
    assert_eq!((answer.0, answer.code()), (507, "quota_exceeded"));
    assert_eq!(bob.poll(&server, 0).len(), before);
    // Others go on reaching him, and he may write himself.
    assert_eq!(carol.message(&server, &group, "x").1.get("full"), None);
    assert_eq!(bob.message(&server, &direct, "x").0, 201);
    assert_eq!(bob.poll(&server, 0).len(), before + 2);
    for _ in 0..2 {
        assert_eq!(bob.send(&server, "DELETE", eves, None).0, 204);
    }
    assert_eq!(eve.message(&server, &direct, "x").0, 201);
    assert_eq!(bob.send(&server, "GET", blocks, None).1, json!({ "blocks": [] }));
}
