//! Kills before system calls: what was acknowledged is there afterwards, and the rest of the work
//! can be done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![cfg(target_os = "linux")]

mod common;

use common::{Person, Server, agent, base64, id};
use kez_server::testing::{Process, crash::kill_at_every_call, port};
use serde_json::{Value, json};
use std::{path::Path, process::Command, sync::Mutex, time::Duration};
use tempfile::TempDir;

/// Two people, what they post, how many are registered, and how many posts are acknowledged.
type Done = ([Person; 2], Vec<(usize, String, Value)>, usize, usize);

/// KEZ-DELIVER-02, KEZ-DELIVER-03
#[test]
fn killed_before_any_call_it_keeps_what_it_acknowledged() {
    let dir = TempDir::new().unwrap();
    let at = format!("127.0.0.1:{}", port());
    let server_at = |data: &Path| {
        // The port of a process that was killed is free in a moment.
        for _ in 0..100 {
            if std::net::TcpListener::bind(&at).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Server::listening(data, &at, &[])
    };
    let command = |data: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        command.args(["--listen", &at, "--data"]).arg(data);
        command.env_remove("NATS_URL");
        command
    };
    // Two people and a conversation, made anew for each run; each request is sent once, and once
    // more afterwards, with another signature.
    let steps = |people: &[Person; 2], conversation: &str| {
        let [alice, bob] = [0, 1].map(|n| people[n].handle.clone());
        let commits = format!("/v1/conversations/{conversation}/commits");
        let messages = [0, 1].map(
            |n| json!({ "conversation": conversation, "id": id(16), "body": base64(&[n; 2000]) }),
        );
        vec![
            (0, "/v1/conversations".to_owned(), json!({ "id": conversation })),
            (
                0,
                commits,
                json!({ "expect": 0, "id": id(16), "body": base64(b"commit"), "recipients": [alice, bob] }),
            ),
            (0, "/v1/messages".to_owned(), messages[0].clone()),
            (1, "/v1/messages".to_owned(), messages[1].clone()),
            (1, format!("/v1/inbox/{bob}/ack"), json!({ "seq": 2 })),
        ]
    };
    let runs = Mutex::new(());
    let script = |process: Option<&Process>| {
        let _one = runs.lock().unwrap();
        let people = ["alice", "bob"].map(Person::new);
        let conversation = id(32);
        let steps = steps(&people, &conversation);
        let mut done = (people, steps, 0, 0);
        let Some(process) = process else { return done };
        for person in &done.0 {
            let body = person.registration_at(&process.url).to_string();
            let request = agent().post(format!("{}/v1/handles", process.url));
            let sent = request.content_type("application/json").send(body);
            match sent.map(|response| response.status().as_u16()) {
                Ok(201) => done.2 += 1,
                _ => return done,
            }
        }
        for (who, path, body) in &done.1 {
            let status = done.0[*who].post_at(&process.url, path, body);
            if !matches!(status, Some(200 | 201)) {
                break;
            }
            done.3 += 1;
        }
        done
    };
    let check = |data: &Path, done: Done, what: &str| {
        let (people, steps, registered, acknowledged) = done;
        let server = server_at(data);
        for (n, person) in people.iter().enumerate() {
            let known = server.plain("GET", &format!("/v1/handles/{}", person.handle), None).0;
            assert!(known == 200 || n >= registered, "{what}: {} is gone", person.handle);
            let again = server.plain("POST", "/v1/handles", Some(&person.registration(&server)));
            assert!([200, 201].contains(&again.0), "{what}: {again:?}");
        }
        // Acknowledged requests are known: the same request answers 200, not 201.
        for (n, (who, path, body)) in steps.iter().enumerate() {
            let answer = people[*who].send(&server, "POST", path, Some(body));
            let expected: &[u16] = if n < acknowledged { &[200] } else { &[200, 201] };
            assert!(expected.contains(&answer.0), "{what}: {path}: {answer:?}");
        }
        let items = people[0].poll(&server, 0);
        assert_eq!(items.len(), 3, "{what}: {items:?}");
    };
    let kills = kill_at_every_call(dir.path(), command, script, check);
    println!("{kills} kills");
}
