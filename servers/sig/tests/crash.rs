//! Kills before system calls: what was acknowledged is there afterwards, and the chain goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![cfg(target_os = "linux")]

mod common;

use common::{Server, add, agent, append, key, now};
use kez_core::{Chain, Op, Reason, Scheme, commitment};
use kez_server::testing::{Process, crash::kill_at_every_call};
use std::process::Command;
use tempfile::TempDir;

/// KEZ-SRC-14
#[test]
fn killed_before_any_call_it_keeps_what_it_acknowledged() {
    let dir = TempDir::new().unwrap();
    let (owner, next) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut base = Chain::new(owner.public().identity()).unwrap();
    let commits = Some(commitment(next.public().identity()));
    append(&mut base, add("github:first"), commits, &[&owner]);
    let (mut owners, mut thiefs) = (base.clone(), base.clone());
    append(&mut owners, add("github:owner"), None, &[&owner]);
    let common = owners.clone();
    let to = next.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut owners, rotate, None, &[&next]);
    append(&mut thiefs, add("github:thief"), None, &[&owner]);
    let mut late = common.clone();
    append(&mut late, add("github:late"), None, &[&owner]);
    // Appends, evidence, and a branch that takes the place of another.
    let posts = [
        (base.lines().to_vec(), Some(&base)),
        (common.lines()[1..].to_vec(), Some(&common)),
        (thiefs.lines()[1..].to_vec(), None),
        (late.lines()[2..].to_vec(), Some(&late)),
        (owners.lines()[2..].to_vec(), Some(&owners)),
    ];
    let url = |server: &str| format!("{server}/v1/sigchains/{}", base.name());
    let script = |server: Option<&Process>| {
        let mut acknowledged = (None, false);
        let Some(server) = server else { return acknowledged };
        for (lines, chain) in &posts {
            let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let request = agent().post(url(&server.url)).content_type("application/jsonl");
            match request.send(body).map(|response| response.status().as_u16()) {
                Ok(201) => acknowledged.0 = *chain,
                Ok(409) => acknowledged.1 = true,
                Ok(status) => assert!([200, 500, 507].contains(&status), "{status}"),
                Err(_) => break,
            }
        }
        acknowledged
    };
    let check = |data: &std::path::Path, (chain, evidence): (Option<&Chain>, bool), what: &str| {
        let server = Server::start(data, &[]);
        let (status, bundle) = server.text(&format!("/v1/sigchains/{}", base.name()));
        if let Some(chain) = chain {
            assert_eq!(status, 200, "{what}");
            let served = Chain::replay(bundle.as_bytes(), None, now()).unwrap();
            // The next event may have been stored and not acknowledged.
            let seq = chain.head().unwrap().seq;
            let goes_on = served.id_at(seq) == chain.id_at(seq);
            assert!(goes_on || served == owners, "{what}: {bundle}");
        }
        if evidence {
            let path = format!("/v1/sigchains/{}/fork", base.name());
            assert!(server.text(&path).1.contains("github:thief"), "{what}");
        }
        // The same posts complete the job.
        for (lines, _) in &posts {
            server.post(base.name(), lines).unwrap();
        }
        let end = server.text(&format!("/v1/sigchains/{}", base.name())).1;
        assert_eq!(end, owners.to_bundle(), "{what}");
        let size = server.text("/v1/log/checkpoint").1;
        assert_eq!(size.lines().nth(1), Some("4"), "{what}");
    };
    let command = |data: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.env_remove("NATS_URL");
        command
    };
    let kills = kill_at_every_call(dir.path(), command, script, check);
    println!("{kills} kills");
}
