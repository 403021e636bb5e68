//! A sigchain server that lies, and the command as it is set up by default. Behind it are real
//! servers, whose answers it withholds, cuts, swaps or takes from another history; so what it
//! signs is signed by the real key of its log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{User, folder, sig_server};
use ed25519_dalek::{Signer as _, SigningKey};
use kez_core::{
    Scheme, SecretKey,
    log::{self, NoteKey},
};
use kez_sig_server::store::copy;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

/// What a server answers to a path.
fn get(base: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}

type Lie = Box<dyn Fn(&str) -> (u16, Vec<u8>) + Send>;

/// The liar: what it says can be changed, its address not.
struct Liar {
    url: String,
    lie: Arc<Mutex<Lie>>,
}

impl Liar {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let lie: Arc<Mutex<Lie>> = Arc::new(Mutex::new(Box::new(|_| (404, Vec::new()))));
        let shared = lie.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let path = first.split(' ').nth(1).unwrap().to_owned();
                // The server has seen no fork.
                let (status, body) = if path.ends_with("/fork") {
                    (404, Vec::new())
                } else {
                    shared.lock().unwrap()(&path)
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                // The client may have had enough.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { url, lie }
    }

    fn says(&self, lie: impl Fn(&str) -> (u16, Vec<u8>) + Send + 'static) {
        *self.lie.lock().unwrap() = Box::new(lie);
    }

    fn is(&self, base: &str) {
        let base = base.to_owned();
        self.says(move |path| get(&base, path));
    }
}

const CONFIG: &str = "danger_allow_loopback = true\nrelays = []\ngithub = \"http://127.0.0.1:1\"\n";

/// An owner with a chain of one event on a server; the chain's name, and the server's data.
fn owner(name: &str) -> (User, String, PathBuf) {
    let me = User::new(&format!("evil-{name}"), CONFIG);
    let primary = me.key("me", "ed25519");
    me.claim("github:a", "json", &["--offline"]);
    me.ok(&["sigchain", "add", "github:a"]);
    (me, primary, folder(&format!("evil-{name}-data")))
}

fn grow(me: &User, subject: &str, to: &str) {
    me.claim(subject, "json", &["--offline"]);
    me.ok(&["sigchain", "add", subject]);
    me.ok(&["sigchain", "publish", "--server", to]);
}

/// A reader who asks only the liar.
fn reader(name: &str, liar: &Liar) -> User {
    User::new(
        &format!("evil-{name}-reader"),
        &format!("{CONFIG}sig_servers = [\"{}\"]\n", liar.url),
    )
}

/// What a reader learns of an identity: exit code, state of the chain, its reason, and its seq.
fn learns(user: &User, primary: &str) -> (i32, String, Option<String>, Option<u64>) {
    let run = user.run(&["id", primary]);
    let graph = run.json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (
        run.code,
        text(&graph["chain"]).unwrap(),
        text(&graph["reason"]),
        graph["head"]["seq"].as_u64(),
    )
}

fn caught(reason: &str, seq: u64) -> (i32, String, Option<String>, Option<u64>) {
    (5, "known".into(), Some(reason.into()), Some(seq))
}

/// The accounts cannot be looked up here, so the edges are unreachable.
fn fine(seq: u64) -> (i32, String, Option<String>, Option<u64>) {
    (5, "known".into(), None, Some(seq))
}

/// KEZ-LOG-06, KEZ-LOG-07.
#[test]
fn a_server_that_withholds() {
    let (me, primary, data) = owner("withhold");
    let (server, liar) = (sig_server(&data, None).0, Liar::new());
    grow(&me, "github:b", &server);
    let you = reader("withhold", &liar);
    liar.is(&server);
    assert_eq!(learns(&you, &primary), fine(2));
    // All of it.
    liar.says(|_| (404, Vec::new()));
    assert_eq!(learns(&you, &primary), caught("rollback", 2));
    // The last event, with the proof of the real head.
    let base = server.clone();
    let cut = move |path: &str| {
        let (status, body) = get(&base, path);
        let mut lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        lines.remove(1);
        (status, lines.concat())
    };
    liar.says(cut.clone());
    assert_eq!(learns(&you, &primary), caught("log_refused", 2));
    // Who never asked before is not deceived either.
    let new = reader("withhold-new", &liar);
    assert_eq!(learns(&new, &primary), caught("log_refused", 1));
    // Without any proof, where there was one before.
    liar.says(move |path| {
        let (status, body) = cut(path);
        let first = body.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        (status, first.to_vec())
    });
    assert_eq!(learns(&you, &primary), caught("log_refused", 2));
    // Half of the bytes: there is no proof in them.
    let base = server.clone();
    liar.says(move |path| {
        let (status, body) = get(&base, path);
        (status, body[..body.len() / 4].to_vec())
    });
    assert_eq!(learns(&you, &primary), caught("log_refused", 2));
    liar.is(&server);
    assert_eq!(learns(&you, &primary), fine(2));
}

#[test]
fn a_server_that_rolls_back() {
    let (me, primary, data) = owner("rollback");
    let (server, liar) = (sig_server(&data, None).0, Liar::new());
    me.ok(&["sigchain", "publish", "--server", &server]);
    let backup = folder("evil-rollback-backup");
    copy::backup(&data, &backup).unwrap();
    let you = reader("rollback", &liar);
    liar.is(&server);
    assert_eq!(learns(&you, &primary), fine(1));
    grow(&me, "github:b", &server);
    assert_eq!(learns(&you, &primary), fine(2));
    // A server from an old backup: its log is smaller than the one that was seen.
    let old = sig_server(&backup, None).0;
    liar.is(&old);
    assert_eq!(learns(&you, &primary), caught("log_inconsistent", 2));
    // The old head and its old, true proof, in a log that goes on: only memory helps.
    let (chain, base) = (get(&old, &format!("/v1/sigchains/{primary}?log=0")).1, server.clone());
    liar.says(move |path| match path.contains("/v1/log/") {
        true => get(&base, path),
        false => (200, chain.clone()),
    });
    assert_eq!(learns(&you, &primary), caught("rollback", 2));
}

#[test]
fn a_server_with_two_histories() {
    let (me, primary, data) = owner("split");
    let (one, liar) = (sig_server(&data, None).0, Liar::new());
    me.ok(&["sigchain", "publish", "--server", &one]);
    let backup = folder("evil-split-twin");
    copy::backup(&data, &backup).unwrap();
    let two = sig_server(&backup, None).0;
    let thief = me.copy("evil-split-thief");
    let (you, new) = (reader("split", &liar), reader("split-new", &liar));
    liar.is(&one);
    assert_eq!(learns(&you, &primary), fine(1));
    // Both logs grow, by other people's heads; the chain itself is the same in both.
    for (n, server) in [&one, &two].into_iter().enumerate() {
        let (other, ..) = owner(&format!("split-other-{n}"));
        other.ok(&["sigchain", "publish", "--server", server]);
    }
    assert_eq!(learns(&you, &primary), fine(1));
    liar.is(&two);
    assert_eq!(learns(&you, &primary), caught("log_inconsistent", 1));
    // A larger log that did not grow from what was seen is no better.
    let (other, ..) = owner("split-other-3");
    other.ok(&["sigchain", "publish", "--server", &two]);
    assert_eq!(learns(&you, &primary), caught("log_inconsistent", 1));
    // What is new to the reader cannot be told, until two readers compare, or one has both.
    assert_eq!(learns(&new, &primary), fine(1));
    // Two heads of one chain: a fork, by whoever has seen both.
    grow(&me, "github:owner", &one);
    grow(&thief, "github:thief", &two);
    liar.is(&one);
    assert_eq!(learns(&you, &primary), fine(2));
    liar.is(&two);
    let (code, chain, reason, _) = learns(&you, &primary);
    assert_eq!((code, chain.as_str(), reason.as_deref()), (6, "fork", Some("forked")));
    // Two servers that are both configured are compared at once.
    let config = format!("{CONFIG}sig_servers = [\"{one}\", \"{two}\"]\n");
    let both = User::new("evil-split-both", &config);
    let (code, chain, reason, _) = learns(&both, &primary);
    assert_eq!((code, chain.as_str(), reason.as_deref()), (6, "fork", Some("forked")));
}

/// KEZ-LOG-07, KEZ-LOG-08.
#[test]
fn a_server_that_answers_with_another_chain_or_log() {
    let (me, primary, data) = owner("other");
    let (server, liar) = (sig_server(&data, None).0, Liar::new());
    me.ok(&["sigchain", "publish", "--server", &server]);
    let (other, stranger, data) = owner("other-stranger");
    other.ok(&["sigchain", "publish", "--server", &server]);
    let you = reader("other", &liar);
    liar.is(&server);
    assert_eq!(learns(&you, &primary), fine(1));
    // Another chain, with its own proof.
    let base = server.clone();
    let (ours, theirs) = (primary.clone(), stranger.clone());
    liar.says(move |path| get(&base, &path.replace(&ours, &theirs)));
    let run = you.run(&["id", &primary]).json();
    assert!(
        run["detail"].as_str().unwrap_or_default().contains("log_refused")
            || run["reason"] == "log_refused",
        "{run}"
    );
    let new = reader("other-new", &liar);
    let run = new.run(&["id", &primary]);
    assert_eq!(
        (run.code, &run.json()["chain"], &run.json()["reason"]),
        (5, &"unknown".into(), &"log_refused".into())
    );
    // The proof of another head.
    let base = server.clone();
    let theirs = stranger.clone();
    let ours = primary.clone();
    liar.says(move |path| {
        let (status, body) = get(&base, path);
        let other = get(&base, &path.replace(&ours, &theirs)).1;
        let line = |body: &[u8]| {
            body.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let (own, other) = (line(&body), line(&other));
        (status, [own[0].clone(), other[1].clone()].concat())
    });
    assert_eq!(learns(&you, &primary), caught("log_refused", 1));
    // The log of another server, under a key of its own.
    let foreign = sig_server(&data, None).0;
    me.ok(&["sigchain", "publish", "--server", &foreign]);
    liar.is(&foreign);
    assert_eq!(learns(&you, &primary), caught("log_refused", 1));
    // A key that the reader knows beforehand counts from the first time on.
    let key = String::from_utf8(get(&server, "/v1/log/key").1).unwrap();
    let pinned = format!("{CONFIG}sig_servers = [\"{}#{}\"]\n", liar.url, key.trim());
    let pinned = User::new("evil-other-pinned", &pinned);
    assert_eq!(learns(&pinned, &primary), caught("log_refused", 1));
    // An honest server beside it: the chain is known, and the liar is named.
    let config = format!("{CONFIG}sig_servers = [\"{}#{}\", \"{server}\"]\n", liar.url, key.trim());
    let both = User::new("evil-other-both", &config);
    assert_eq!(learns(&both, &primary), fine(1));
    let claim = me.claim("github:c", "json", &["--offline"]);
    let file = folder("evil-other-claim.json");
    fs::write(&file, claim).unwrap();
    let report = both.run(&["verify", "file", file.to_str().unwrap()]).json();
    let notes = report["notes"].as_array().unwrap();
    assert!(notes.contains(&"server_refused".into()), "{report}");
    // Nonsense in the configuration is refused.
    fs::write(both.home.join("config.toml"), "sig_servers = [\"https://a.example#key\"]").unwrap();
    both.run(&["id", &primary]).fails(2, "config_refused");
}

/// A witness's cosignature (C2SP's tlog-cosignature), by other code than ours.
fn cosignature(seed: u8, name: &str, note: &str) -> (String, String) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let secret = SecretKey::from_bytes(Scheme::Ed25519, [seed; 32]).unwrap();
    let vkey = NoteKey::new(name, log::Signer::Witness, secret.public()).unwrap().to_string();
    let text = &note[..=note.find("\n\n").unwrap()];
    let time = 1_795_262_400_u64;
    let signature = key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let id: [u8; 4] = kez_core::hex::decode(vkey.split('+').nth(1).unwrap()).unwrap();
    let bytes = [&id[..], &time.to_be_bytes(), &signature.to_bytes()].concat();
    (vkey, format!("\u{2014} {name} {}\n", STANDARD.encode(bytes)))
}

/// KEZ-LOG-07.
#[test]
fn a_server_whose_log_nobody_witnessed() {
    let (me, primary, data) = owner("witness");
    let (server, liar) = (sig_server(&data, None).0, Liar::new());
    me.ok(&["sigchain", "publish", "--server", &server]);
    // Of three witnesses so many cosign, the last of them for another log.
    let by = move |count: u8, wrong: bool, base: String| {
        move |path: &str| {
            let (status, body) = get(&base, path);
            let (bundle, Some(line)) = log::Proof::split(&body) else { return (status, body) };
            let mut proof = log::Proof::parse(line).unwrap();
            let mut note = proof.checkpoint.note().to_owned();
            for seed in 1..=count {
                let signed = if wrong { format!("x{note}") } else { note.clone() };
                note += &cosignature(seed, &format!("witness.example/{seed}"), &signed).1;
            }
            proof.checkpoint = log::Checkpoint::parse(&note).unwrap();
            (status, [bundle, proof.to_line().as_bytes(), b"\n"].concat())
        }
    };
    let vkeys: Vec<String> = (1..=3)
        .map(|seed| cosignature(seed, &format!("witness.example/{seed}"), "x\n\n").0)
        .collect();
    let config = format!("{CONFIG}sig_servers = [\"{}\"]\nwitnesses = {vkeys:?}\n", liar.url);
    let you = User::new("evil-witness-reader", &config);
    for (count, wrong, expected) in [
        (0, false, caught("log_unwitnessed", 1)),
        (1, false, caught("log_unwitnessed", 1)),
        (3, true, caught("log_unwitnessed", 1)),
        (2, false, fine(1)),
        (3, false, fine(1)),
    ] {
        liar.says(by(count, wrong, server.clone()));
        assert_eq!(learns(&you, &primary), expected, "{count} {wrong}");
    }
}
