//! Several real servers on a real NATS JetStream: they are one server, whichever of them dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Server, add, agent, append, chain_of, code, key, now};
use kez_core::{Chain, Head, Op, Reason, Scheme, commitment};
use kez_server::testing::{
    Nats, Process, Trouble, Troubles,
    network::{Place, move_out},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kez-sig-server");

fn command(data: &Path, nats: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    for name in ["--address-rate", "--read-rate", "--chain-rate", "--address-bytes"] {
        command.args([name, "1000000000"]);
    }
    command.env("NATS_URL", nats).stderr(Stdio::null());
    command
}

fn start(data: &Path, nats: &Nats) -> Server {
    Server(Process::start(&mut command(data, &nats.url())))
}

/// Why a server does not start.
fn refusal(command: &mut Command) -> String {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(20), "it starts");
    String::from_utf8(output.stderr).unwrap()
}

/// Data folders of several servers, which share the key of the log.
fn folders(count: usize) -> Vec<TempDir> {
    let all: Vec<_> = (0..count).map(|_| TempDir::new().unwrap()).collect();
    let key = format!("test.example/log+{}\n", "5a".repeat(32));
    all.iter().for_each(|dir| fs::write(dir.path().join("log.key"), &key).unwrap());
    all
}

#[test]
fn several_servers_are_one() {
    let nats = Nats::start(1, "");
    let dirs = folders(3);
    let servers: Vec<_> = dirs.iter().map(|dir| start(dir.path(), &nats)).collect();
    let owner = key(Scheme::Ed25519);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    let path = format!("/v1/sigchains/{}", chain.name());
    for n in 0..30 {
        // What one acknowledged all others have.
        let line = append(&mut chain, add(&format!("github:user{n}")), None, &[&owner]);
        assert_eq!(servers[n % 3].post(chain.name(), &[line]).unwrap().0, 201);
        for server in &servers {
            assert_eq!(server.text(&path), (200, chain.to_bundle()));
        }
    }
    let logs: Vec<_> = servers.iter().map(|s| s.text("/v1/log/checkpoint").1).collect();
    assert!(logs[0].starts_with("test.example/log\n30\n"));
    assert!(logs.iter().all(|log| *log == logs[0]));
    // Of those that append at once, at whichever server, one wins, and the others are evidence.
    let rivals: Vec<_> = (0..9)
        .map(|n| {
            let mut rival = chain.clone();
            let line = append(&mut rival, add(&format!("github:rival{n}")), None, &[&owner]);
            (rival, line)
        })
        .collect();
    let answers: Vec<_> = thread::scope(|scope| {
        let posts = rivals.iter().enumerate().map(|(n, (rival, line))| {
            let server = &servers[n % 3];
            scope.spawn(move || server.post(rival.name(), std::slice::from_ref(line)).unwrap())
        });
        posts.collect::<Vec<_>>().into_iter().map(|post| post.join().unwrap()).collect()
    });
    let winner = answers.iter().position(|(status, _)| *status == 201).expect("somebody won");
    for (n, answer) in answers.into_iter().enumerate() {
        if n != winner {
            assert_eq!(code(answer, 409), "forked");
        }
    }
    for server in &servers {
        assert_eq!(server.text(&path), (200, rivals[winner].0.to_bundle()));
        assert_eq!(server.text(&format!("{path}/fork")), servers[0].text(&format!("{path}/fork")));
    }
    // A server that was away has the rest; one whose copy is gone makes it again.
    let [first, second, third] = <[Server; 3]>::try_from(servers).ok().unwrap();
    second.kill();
    third.terminate();
    fs::remove_file(dirs[2].path().join("sigchains.db")).unwrap();
    let chain = &rivals[winner].0;
    let other = chain_of(&key(Scheme::Nostr), 2);
    assert_eq!(first.post(other.name(), other.lines()).unwrap().0, 201);
    for dir in &dirs[1..] {
        let again = start(dir.path(), &nats);
        assert_eq!(again.text(&path), (200, chain.to_bundle()));
        assert_eq!(again.text("/v1/log/checkpoint"), first.text("/v1/log/checkpoint"));
        let (_, proven) = again.text(&format!("{path}?log=30"));
        assert_eq!(first.text(&format!("{path}?log=30")).1, proven);
    }
    // New heads are told of wherever they come in.
    let second = start(dirs[1].path(), &nats);
    let (name, mut chain) = (chain.name().clone(), chain.clone());
    let response = second.get(&format!("/v1/sigchains/{name}/stream"));
    let mut events = BufReader::new(response.into_body().into_reader()).lines();
    let mut next = || loop {
        let line = events.next().unwrap().unwrap();
        if let Some(id) = line.strip_prefix("id: ") {
            return id.to_owned();
        }
    };
    assert_eq!(next(), chain.head().unwrap().id.to_string());
    let line = append(&mut chain, add("github:later"), None, &[&owner]);
    assert_eq!(first.post(&name, &[line]).unwrap().0, 201);
    assert_eq!(next(), chain.head().unwrap().id.to_string());
}

#[test]
fn without_nats_nothing_is_told_and_nothing_lost() {
    let mut nats = Nats::start(1, "");
    let dirs = folders(1);
    let server = start(dirs[0].path(), &nats);
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 2);
    let path = format!("/v1/sigchains/{}", chain.name());
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    nats.kill(0);
    let line = append(&mut chain, add("github:later"), None, &[&owner]);
    // Others may go on: what this server has is perhaps not what they acknowledged.
    let refused = |path: &str| {
        let mut response = server.get(path);
        assert_eq!(response.headers()["retry-after"], "5");
        let body = response.body_mut().read_json().unwrap();
        assert_eq!(code((response.status().as_u16(), body), 503), "storage_failed");
    };
    thread::scope(|scope| {
        for path in [&path, &format!("{path}/head"), "/v1/log/checkpoint", "/readyz"] {
            let path = path.to_owned();
            scope.spawn(move || refused(&path));
        }
        let answer = server.post(chain.name(), std::slice::from_ref(&line)).unwrap();
        assert_eq!(code(answer, 503), "storage_failed");
    });
    assert_eq!(server.text("/healthz").0, 200);
    nats.restart(0);
    let begun = Instant::now();
    while server.text("/readyz").0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        thread::sleep(Duration::from_millis(100));
    }
    assert!([200, 201].contains(&server.post(chain.name(), &[line]).unwrap().0));
    assert_eq!(server.text(&path), (200, chain.to_bundle()));
    server.terminate();
}

#[test]
fn what_does_not_belong_together_is_not_put_together() {
    let nats = Nats::start(1, "");
    let dirs = folders(1);
    let dir = dirs[0].path();
    let server = start(dir, &nats);
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    server.terminate();
    let says = |command: &mut Command, why: &str| {
        let said = refusal(command);
        assert!(said.contains(why), "{said}");
    };
    // Another NATS, this one without its stream, or none.
    let other = Nats::start(1, "");
    says(&mut command(dir, &other.url()), "is a copy of another stream");
    says(command(dir, &nats.url()).env_remove("NATS_URL"), "is a copy of a NATS stream");
    says(&mut command(dir, "nats://127.0.0.1:1"), "NATS at 127.0.0.1:1:");
    // A log has one key.
    let new = TempDir::new().unwrap();
    says(&mut command(new.path(), &nats.url()), "the stream's log is signed by test.example/log+");
    fs::write(new.path().join("log.key"), format!("test.example/log+{}\n", "5b".repeat(32)))
        .unwrap();
    says(&mut command(new.path(), &nats.url()), "the stream belongs to another server");
    // Chains that are not in the stream would be lost.
    let alone = TempDir::new().unwrap();
    let server = Server::start(alone.path(), &[]);
    if std::env::var_os("KEZ_STORAGE").is_none() {
        assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
        server.terminate();
        let third = Nats::start(1, "");
        says(&mut command(alone.path(), &third.url()), "has what is not in the stream");
    }
    // One server of NATS cannot keep three copies.
    says(command(dir, &nats.url()).env("NATS_REPLICAS", "3"), "KEZ_SIGCHAINS: ");
    let missing = dir.join("missing");
    says(command(dir, &nats.url()).env("NATS_CREDS", &missing), "missing: ");
    says(command(dir, &nats.url()).env("NATS_CREDS", dir.join("log.key")), "no credentials");
    let without = TempDir::new().unwrap();
    says(&mut command(without.path(), "http://user:hidden@host"), "NATS_URL is no address of NATS");
}

/// An old NATS cannot be had everywhere: this says what one says first, and is no more than that.
#[test]
fn a_nats_with_known_holes_is_refused() {
    for (version, why) in [("2.9.10", "it has no auth callout"), ("2.10.20", "CVE-2025-30215")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let info = format!(
                "INFO {{\"server_id\":\"N\",\"version\":\"{version}\",\"max_payload\":1048576,\
                 \"headers\":true,\"jetstream\":true}}\r\n"
            );
            stream.write_all(info.as_bytes()).unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if line == "PING" {
                    stream.write_all(b"PONG\r\n").unwrap();
                }
            }
        });
        let said = refusal(&mut command(TempDir::new().unwrap().path(), &url));
        assert!(said.contains(why) && said.contains(version), "{said}");
    }
}

/// A user without JetStream.
#[test]
fn a_nats_without_jetstream_is_refused() {
    let accounts = "accounts { A { users: [ { user: a, password: a } ] } }";
    let nats = Nats::start(1, accounts);
    let url = nats.url().replace("nats://", "nats://a:a@");
    let said = refusal(&mut command(TempDir::new().unwrap().path(), &url));
    assert!(said.contains("JetStream is not enabled") && !said.contains("a:a"), "{said}");
}

/// The operator's user, over TLS by the operator's own certificate.
#[test]
fn the_servers_name_and_the_users_password_are_checked() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let openssl = |words: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.current_dir(dir.path()).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = ["-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test"];
    openssl(&[&["req", "-x509"], &fresh[..], &authority].concat());
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    openssl(&[&["req"], &fresh[..], &["-keyout", "key.pem", "-out", "csr.pem"], &name].concat());
    let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-copy_extensions", "copy"];
    openssl(&[&["x509", "-req", "-in", "csr.pem", "-out", "cert.pem"], &by[..]].concat());
    let nats = Nats::start(
        1,
        &format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ user: kez, password: hidden }}",
            path("cert.pem"),
            path("key.pem")
        ),
    );
    let port = nats.url().rsplit(':').next().unwrap().to_owned();
    let at = |user: &str, host: &str| format!("tls://{user}@{host}:{port}");
    let with = |url: &str| {
        let mut command = command(&dir.path().join("data"), url);
        command.env("NATS_CA", path("ca.pem"));
        command
    };
    let server = Server(Process::start(&mut with(&at("kez:hidden", "localhost"))));
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    server.terminate();
    for mut command in [
        with(&at("kez:hidden", "127.0.0.1")),
        with(&at("kez:other", "localhost")),
        command(&dir.path().join("data"), &at("kez:hidden", "localhost")),
    ] {
        let said = refusal(&mut command);
        assert!(said.contains("NATS at ") && !said.contains("hidden"), "{said}");
    }
}

/// A NATS in operator mode: its users prove a key, and their accounts say that it is theirs.
#[test]
fn a_user_has_credentials() {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    use nkeys::KeyPair;
    let (operator, system, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let token = |by: &KeyPair, of: &KeyPair, mut nats: Value| {
        nats["version"] = json!(2);
        let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let claims = json!({
            "iss": by.public_key(), "sub": of.public_key(), "name": "test", "jti": "test",
            "iat": now().seconds(), "nats": nats,
        });
        let text = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
        format!("{text}.{}", BASE64.encode(by.sign(text.as_bytes()).unwrap()))
    };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let users_account = json!({ "type": "account", "limits": limits });
    let nats = Nats::start(
        1,
        &format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{ {}: {}, {}: {} }}",
            token(&operator, &operator, json!({ "type": "operator" })),
            system.public_key(),
            system.public_key(),
            token(&operator, &system, json!({ "type": "account" })),
            account.public_key(),
            token(&operator, &account, users_account),
        ),
    );
    let user_claims = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
    let credentials = |name: &str, by: &KeyPair| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(by, &user, user_claims.clone()),
            user.seed().unwrap()
        );
        fs::write(&path, text).unwrap();
        (dir, path)
    };
    let data = TempDir::new().unwrap();
    let with = |path: Option<&Path>| {
        let mut command = command(data.path(), &nats.url());
        command.envs(path.map(|path| ("NATS_CREDS", path)));
        command
    };
    let (_right, right) = credentials("right.creds", &account);
    let (_wrong, wrong) = credentials("wrong.creds", &KeyPair::new_account());
    let server = Server(Process::start(&mut with(Some(&right))));
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    server.terminate();
    for path in [Some(&*wrong), None] {
        let said = refusal(&mut with(path));
        assert!(said.contains("authorization violation"), "{said}");
        assert!(!said.contains(&user.seed().unwrap()), "{said}");
    }
}

/// What another user of the operator's NATS could do to the stream.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_is_in_the_stream_changes_nothing() {
    let nats = Nats::start(1, "");
    let dirs = folders(2);
    let servers: Vec<_> = dirs.iter().map(|dir| start(dir.path(), &nats)).collect();
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 2);
    assert_eq!(servers[0].post(chain.name(), chain.lines()).unwrap().0, 201);
    let stranger = key(Scheme::Ed25519);
    let forged = {
        let mut other = chain_of(&stranger, 2);
        append(&mut other, add("github:thief"), None, &[&stranger])
    };
    let client = async_nats::connect(nats.url()).await.unwrap();
    let subject = format!("kez.sig.chain.{}", chain.name().as_str().replace(':', "."));
    let entry = kez_core::log::entry(chain.name(), chain.head().unwrap());
    for (subject, kind, body) in [
        (&*subject, None, "nonsense"),
        (&*subject, None, &*forged),
        (&*subject, None, ""),
        (&*subject, Some("chain"), &*chain.to_bundle()),
        (&*subject, Some("fork"), "{}"),
        ("kez.sig.log", Some("entries"), &*entry),
        ("kez.sig.log", None, &*entry),
        ("kez.sig.chain.ed25519.nonsense", None, &*forged),
        ("kez.sig.chain.dns.example.com", None, &*forged),
        ("kez.sig.other", Some("other"), "x"),
    ] {
        let mut headers = async_nats::HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("Kez-Kind", kind);
        }
        headers.insert("Kez-Request", "0");
        client
            .publish_with_headers(subject.to_owned(), headers, body.to_owned().into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let line = append(&mut chain, add("github:later"), None, &[&owner]);
    tokio::task::spawn_blocking(move || {
        assert_eq!(servers[1].post(chain.name(), &[line]).unwrap().0, 201);
        let path = format!("/v1/sigchains/{}", chain.name());
        for server in &servers {
            assert_eq!(server.text(&path), (200, chain.to_bundle()));
            assert_eq!(server.text(&format!("{path}/fork")).0, 404);
            let log = server.text("/v1/log/checkpoint").1;
            assert_eq!(log.lines().nth(1), Some("2"));
        }
    })
    .await
    .unwrap();
}

/// An operator, or somebody else, made the stream by hand.
#[tokio::test]
async fn a_stream_that_would_lose_something_is_refused() {
    use async_nats::jetstream::{self, stream::Config};
    let nats = Nats::start(1, "");
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(client);
    let name = "KEZ_SIGCHAINS".to_owned();
    let subjects = vec!["kez.sig.>".to_owned()];
    let day = Duration::from_hours(24);
    let shape = Config { name, subjects, ..Config::default() };
    for (shape, why) in [
        (Config { subjects: vec!["other".into()], ..shape.clone() }, "the stream is of other"),
        (Config { max_age: day, ..shape.clone() }, "the stream would lose what it took"),
        (Config { max_messages: 5, ..shape.clone() }, "the stream would lose what it took"),
        (shape, "the stream would lose what it took"),
    ] {
        // NATS may still be deleting the files of the one before.
        let begun = Instant::now();
        while let Err(error) = context.create_stream(shape.clone()).await {
            assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let dir = TempDir::new().unwrap();
        let mut command = command(dir.path(), &nats.url());
        let said = tokio::task::spawn_blocking(move || refusal(&mut command)).await.unwrap();
        assert!(said.contains(why), "{said}");
        context.delete_stream("KEZ_SIGCHAINS").await.unwrap();
    }
}

/// A community's server grows, and goes back.
#[test]
fn a_server_moves_to_nats_and_back() {
    let dir = TempDir::new().unwrap();
    let alone = || {
        let mut command = command(dir.path(), "");
        Server(Process::start(command.env_remove("NATS_URL")))
    };
    let migrate = |nats: &Nats, options: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["migrate", "--data"]).arg(dir.path()).args(options);
        command.env("NATS_URL", nats.url());
        command
    };
    let done = |command: &mut Command, says: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(says), "{said}");
    };
    let nats = Nats::start(1, "");
    let server = alone();
    // A long chain, some short ones, and one that was taken back: its log has heads that lost.
    let mut chains = vec![chain_of(&key(Scheme::Ed25519), 900)];
    chains.extend((0..5).map(|_| chain_of(&key(Scheme::Nostr), 3)));
    for chain in &chains {
        assert_eq!(server.post(chain.name(), &chain.lines()[..1]).unwrap().0, 201);
        assert_eq!(server.post(chain.name(), &chain.lines()[1..]).unwrap().0, 201);
    }
    let (old, new) = (key(Scheme::Ed25519), key(Scheme::Ed25519));
    let mut base = Chain::new(old.public().identity()).unwrap();
    append(&mut base, add("github:owner"), Some(commitment(new.public().identity())), &[&old]);
    let (mut owners, mut thiefs) = (base.clone(), base);
    append(&mut thiefs, add("github:thief"), None, &[&old]);
    let to = new.public().clone();
    let rotate = Op::Rotate { to, reason: Reason::Compromised, compromised_since: None };
    append(&mut owners, rotate, None, &[&new]);
    assert_eq!(server.post(thiefs.name(), thiefs.lines()).unwrap().0, 201);
    assert_eq!(server.post(owners.name(), &owners.lines()[1..]).unwrap().0, 201);
    chains.push(owners);
    let fork = format!("/v1/sigchains/{}/fork", thiefs.name());
    let state = |server: &Server| {
        let mut all = vec![server.text("/v1/log/checkpoint"), server.text(&fork)];
        for chain in &chains {
            // The proof's way through the log, too.
            all.push(server.text(&format!("/v1/sigchains/{}?log=1", chain.name())));
        }
        assert!(all.iter().all(|(status, _)| *status == 200));
        all
    };
    let before = state(&server);
    server.terminate();

    done(&mut migrate(&nats, &[]), "7 chains");
    assert!(dir.path().join("sigchains.db.migrated").exists());
    let server = start(dir.path(), &nats);
    assert_eq!(state(&server), before);
    let other = TempDir::new().unwrap();
    fs::copy(dir.path().join("log.key"), other.path().join("log.key")).unwrap();
    let second = start(other.path(), &nats);
    assert_eq!(state(&second), before);
    let later = chain_of(&key(Scheme::Ed25519), 1);
    assert_eq!(second.post(later.name(), later.lines()).unwrap().0, 201);
    second.terminate();
    server.terminate();
    for (nats, options, why) in [
        (&nats, &[][..], "is a copy of"),
        (&Nats::start(1, ""), &["--back"], "is a copy of another stream"),
    ] {
        let said = refusal(&mut migrate(nats, options));
        assert!(said.contains(why), "{said}");
    }
    assert!(refusal(migrate(&nats, &[]).env_remove("NATS_URL")).contains("NATS_URL says where"));

    done(&mut migrate(&nats, &["--back"]), "8 chains");
    let server = alone();
    let path = format!("/v1/sigchains/{}", later.name());
    assert_eq!(server.text(&path), (200, later.to_bundle()));
    assert_eq!(state(&server)[1..2], before[1..2]);
    server.terminate();
    let said = refusal(&mut migrate(&nats, &["--back", "--as-it-is"]));
    assert!(said.contains("is no copy of a NATS stream"), "{said}");
    // There the old stream is.
    let said = refusal(&mut migrate(&nats, &[]));
    assert!(said.contains("the stream has messages already"), "{said}");
    let server = alone();
    assert_eq!(server.text(&path), (200, later.to_bundle()));
}

/// One of the writers: an event after the other, at whichever server, until it is acknowledged.
fn write(n: usize, urls: &Mutex<Vec<String>>, end: &AtomicBool, retries: &AtomicU64) -> Written {
    let scheme = if n.is_multiple_of(2) { Scheme::Ed25519 } else { Scheme::Nostr };
    let owner = key(scheme);
    let mut chain = Chain::new(owner.public().identity()).unwrap();
    let mut acknowledged = Vec::new();
    let mut at = n;
    while !end.load(Ordering::Relaxed) {
        let line = append(&mut chain, add(&format!("github:user{at}")), None, &[&owner]);
        loop {
            let url = {
                let urls = urls.lock().unwrap();
                urls[at % urls.len()].clone()
            };
            let request = agent().post(format!("{url}/v1/sigchains/{}", chain.name()));
            let answer = request.content_type("application/jsonl").send(format!("{line}\n"));
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(200 | 201) => break,
                Ok(503) | Err(_) => retries.fetch_add(1, Ordering::Relaxed),
                Ok(other) => panic!("{other}"),
            };
            at += 1;
            thread::sleep(Duration::from_millis(50));
        }
        acknowledged.push(chain.head().unwrap());
        at += 1;
    }
    Written { chain, acknowledged }
}

struct Written {
    chain: Chain,
    acknowledged: Vec<Head>,
}

/// Three servers on a cluster of three, both killed, stopped and cut off at random while many
/// write: no acknowledged event is lost, no chain forks, and all end with one log.
/// `KEZ_FAULT_SECONDS` makes it longer.
#[test]
fn nothing_acknowledged_is_lost_whoever_dies() {
    let place = move_out("nothing_acknowledged_is_lost_whoever_dies");
    if place == Place::Elsewhere {
        return;
    }
    let seconds = std::env::var("KEZ_FAULT_SECONDS").map_or(20, |text| text.parse().unwrap());
    let seed = now().seconds().unsigned_abs();
    let mut troubles = Troubles::new(seed);
    let mut nats = Nats::start_in(place, 3, "");
    let dirs = folders(3);
    let begun = Instant::now();
    let ready = |server: &Server| {
        while server.text("/readyz").0 != 200 {
            assert!(begun.elapsed() < Duration::from_secs(seconds + 90), "it does not get ready");
            thread::sleep(Duration::from_millis(100));
        }
    };
    let start = |dir: &TempDir, nats: &Nats| loop {
        // A cluster needs a moment until it has a leader.
        let said = dir.path().join("messages");
        let mut command = command(dir.path(), &nats.url());
        command.env("NATS_REPLICAS", "3").stderr(fs::File::create(&said).unwrap());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if let Some(url) = line.trim().strip_prefix("listening on ") {
            return Server(Process { child, url: url.to_owned(), metrics: None });
        }
        child.wait().unwrap();
        let waited = begun.elapsed() < Duration::from_secs(seconds + 90);
        assert!(waited, "it does not start: {}{nats}", fs::read_to_string(said).unwrap());
    };
    let mut servers: Vec<_> = dirs.iter().map(|dir| Some(start(dir, &nats))).collect();
    let all = |servers: &[Option<Server>]| -> Vec<String> {
        servers.iter().flatten().map(|server| server.url.clone()).collect()
    };
    let urls = Mutex::new(all(&servers));
    let (end, retries) = (AtomicBool::new(false), AtomicU64::new(0));
    let writing = Instant::now();
    let written: Vec<Written> = thread::scope(|scope| {
        let (urls, end, retries) = (&urls, &end, &retries);
        let writers: Vec<_> =
            (0..12).map(|n| scope.spawn(move || write(n, urls, end, retries))).collect();
        while writing.elapsed() < Duration::from_secs(seconds) {
            if let Trouble::Server(one) = troubles.next(&mut nats) {
                servers[one].take().unwrap().kill();
                servers[one] = Some(start(&dirs[one], &nats));
                *urls.lock().unwrap() = all(&servers);
            }
        }
        for server in servers.iter().flatten() {
            ready(server);
        }
        end.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    // NATS may still be electing.
    let settled = |server: &Server, path: &str| loop {
        match server.text(path) {
            (503, _) => ready(server),
            answer => return answer,
        }
    };
    let mut events = 0;
    for Written { chain, acknowledged } in &written {
        let path = format!("/v1/sigchains/{}", chain.name());
        for server in servers.iter().flatten() {
            assert_eq!(settled(server, &path), (200, chain.to_bundle()), "seed {seed}");
            assert_eq!(settled(server, &format!("{path}/fork")).0, 404, "seed {seed}");
        }
        for head in acknowledged {
            assert_eq!(chain.id_at(head.seq), Some(head.id), "seed {seed}");
        }
        events += acknowledged.len();
    }
    let logs: Vec<_> =
        servers.iter().flatten().map(|server| settled(server, "/v1/log/checkpoint").1).collect();
    assert!(logs.iter().all(|log| *log == logs[0]), "seed {seed}: {logs:?}");
    // Each event came alone, and is one entry: none twice.
    assert_eq!(logs[0].lines().nth(1).unwrap(), events.to_string(), "seed {seed}");
    println!(
        "{events} events acknowledged in {} s and none lost; {troubles}; {} requests tried again",
        writing.elapsed().as_secs(),
        retries.load(Ordering::Relaxed)
    );
}
