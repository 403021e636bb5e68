//! Running it: settings, backups, metrics, and peers that are slow, too many or gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{Server, add, agent, append, chain_of, code, key, now};
use kez_core::{Chain, Scheme};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Runs a job of the program.
fn job(data: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"))
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Some chains on a server.
fn fill(server: &Server, count: usize) -> Vec<Chain> {
    let all: Vec<Chain> = (0..count).map(|_| chain_of(&key(Scheme::Ed25519), 3)).collect();
    for chain in &all {
        assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    }
    all
}

fn has_all(server: &Server, chains: &[Chain]) {
    for chain in chains {
        let served = server.text(&format!("/v1/sigchains/{}", chain.name()));
        assert_eq!(served, (200, chain.to_bundle()));
    }
}

#[test]
fn a_backup_of_a_running_server_can_be_restored() {
    let dir = TempDir::new().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let server = Server::start(&data, &[]);
    let mut chains = fill(&server, 20);
    let name = copy.to_str().unwrap();
    let done = job(&data, &["backup", name], b"");
    assert!(done.status.success(), "{}", says(&done));
    let log = server.text("/v1/log/checkpoint").1;
    // What comes later is not in it, and does not harm it.
    let later = fill(&server, 5);
    // A folder that is there is not written over.
    let again = job(&data, &["backup", name], b"");
    assert!(!again.status.success() && says(&again).contains(name), "{}", says(&again));
    server.kill();
    let new = dir.path().join("new");
    let restored = job(&new, &["restore", name], b"");
    assert!(restored.status.success(), "{}", says(&restored));
    assert!(!job(&data, &["restore", name], b"").status.success());
    let server = Server::start(&new, &[]);
    has_all(&server, &chains);
    assert_eq!(server.text("/v1/log/checkpoint").1, log);
    assert_eq!(server.text(&format!("/v1/sigchains/{}", later[0].name())).0, 404);
    chains.extend(fill(&server, 2));
    has_all(&server, &chains);
    #[cfg(unix)]
    for path in [copy.join("log.key"), new.join("log.key"), data.join("log.key")] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let dir = TempDir::new().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let server = Server::start(&data, &[]);
    let chains = fill(&server, 30);
    server.terminate();
    assert!(job(&data, &["backup", copy.to_str().unwrap()], b"").status.success());
    let file = copy.join("sigchains.db");
    let whole = fs::read(&file).unwrap();
    let refused = |why: &str| {
        let target = dir.path().join("target");
        let output = job(&target, &["restore", copy.to_str().unwrap()], b"");
        assert!(!output.status.success() && !target.exists(), "{why}");
    };
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused("half of the file");
    // One digit of one stored signature.
    let line = &chains[7].lines()[1];
    let at = whole.windows(line.len()).position(|w| w == line.as_bytes()).unwrap();
    let mut other = whole.clone();
    let digit = at + line.find("\"sig\":\"").unwrap() + 20;
    other[digit] = if other[digit] == b'0' { b'1' } else { b'0' };
    fs::write(&file, &other).unwrap();
    refused("a changed signature");
    fs::write(&file, b"nonsense").unwrap();
    refused("no database");
    fs::write(&file, &whole).unwrap();
    let key = copy.join("log.key");
    let text = fs::read(&key).unwrap();
    fs::write(&key, "nonsense").unwrap();
    refused("no key");
    fs::remove_file(&key).unwrap();
    refused("no key at all");
    fs::write(&key, text).unwrap();
    let target = dir.path().join("target");
    assert!(job(&target, &["restore", copy.to_str().unwrap()], b"").status.success());
}

#[test]
fn what_is_exported_can_be_imported_elsewhere() {
    let dir = TempDir::new().unwrap();
    let (data, new) = (dir.path().join("data"), dir.path().join("new"));
    let server = Server::start(&data, &[]);
    let chains = fill(&server, 12);
    let export = job(&data, &["export"], b"");
    assert!(export.status.success());
    let bundles: String = chains.iter().map(Chain::to_bundle).collect();
    assert_eq!(String::from_utf8(export.stdout).unwrap(), bundles);
    let import = job(&new, &["import"], bundles.as_bytes());
    assert!(import.status.success() && says(&import).contains("12 chains"), "{}", says(&import));
    // A second time changes nothing, and what does not verify is named and passed over.
    let broken = bundles.replacen(&chains[3].lines()[0], &chains[3].lines()[1], 1);
    let import = job(&new, &["import"], broken.as_bytes());
    assert!(!import.status.success() && says(&import).contains(chains[3].name().as_str()));
    let import = job(&new, &["import"], b"nonsense\n");
    assert!(!import.status.success(), "{}", says(&import));
    let other = Server::start(&new, &[]);
    has_all(&other, &chains);
    let log =
        |server: &Server| server.text("/v1/log/checkpoint").1.lines().nth(1).unwrap().to_owned();
    assert_eq!(log(&other), "12");
}

#[test]
fn settings_come_from_options_the_environment_and_a_file() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("sig.toml");
    let data = dir.path().join("data");
    fs::write(&file, "chain-rate = 2\nlog-name = \"from.example/file\"\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let server = Server::start(&data, &[&config[..], &["--chain-rate", "3"]].concat());
    assert!(server.text("/v1/log/key").1.starts_with("from.example/file+"));
    let chain = chain_of(&key(Scheme::Ed25519), 4);
    for n in 0..4 {
        let (status, _) = server.post(chain.name(), &chain.lines()[n..=n]).unwrap();
        assert_eq!(status, if n < 3 { 201 } else { 429 });
    }
    server.terminate();
    // A log keeps its name.
    let failed = |args: &[&str], env: Option<(&str, &str)>, words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&data).args(args).envs(env);
        let output = command.output().unwrap();
        assert!(!output.status.success() && says(&output).contains(words), "{}", says(&output));
    };
    failed(&["--log-name", "other.example"], None, "from.example/file");
    failed(&[], Some(("KEZ_SIG_LOG_NAME", "other.example")), "from.example/file");
    failed(&["--witness", "http://127.0.0.1:1"], None, "URL#KEY");
    failed(&["--metrics", "192.0.2.1:1"], None, "192.0.2.1:1");
    fs::write(&file, "unknown = 1\n").unwrap();
    failed(&config, None, "unknown");
    fs::remove_file(&file).unwrap();
    failed(&config, None, "sig.toml");
    fs::write(data.join("log.key"), "nonsense\n").unwrap();
    failed(&[], None, "the log's key is damaged");
    // A file of a later version is left alone.
    let db = rusqlite::Connection::open(data.join("sigchains.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    failed(&[], None, "a file of version 99");
}

#[test]
fn messages_are_structured_and_name_nobody() {
    let dir = TempDir::new().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"))
        .args(["--listen", "127.0.0.1:0", "--log-json", "--data"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    while !said.ends_with('\n') {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        said.push(byte[0].into());
    }
    let url = said.trim().strip_prefix("listening on ").unwrap();
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    let to = format!("{url}/v1/sigchains/{}", chain.name());
    agent().post(&to).content_type("application/jsonl").send(chain.to_bundle()).unwrap();
    agent().get(&to).call().unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["fields"]["message"] == "listening"));
    assert!(!said.contains(chain.name().as_str()), "{said}");
    let secret = fs::read_to_string(dir.path().join("log.key")).unwrap();
    assert!(!said.contains(secret.trim().split_once('+').unwrap().1));
}

#[test]
fn metrics_have_their_own_listener() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--metrics", "127.0.0.1:0"]);
    let chains = fill(&server, 3);
    has_all(&server, &chains);
    server.text("/nowhere");
    assert_eq!(server.text("/metrics").0, 404);
    let response = agent().get(server.metrics.as_ref().unwrap()).call().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = response.into_body().read_to_string().unwrap();
    for line in [
        r#"kez_sig_http_requests_total{method="POST",route="/v1/sigchains/{primary}",status="201"} 3"#,
        r#"kez_sig_http_requests_total{method="GET",route="/v1/sigchains/{primary}",status="200"} 3"#,
        r#"kez_sig_http_requests_total{method="GET",route="none",status="404"} 2"#,
        r#"kez_sig_http_request_duration_seconds_count{route="/v1/sigchains/{primary}"} 6"#,
        "kez_sig_log_entries 3",
        "kez_sig_streams 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains(chains[0].name().as_str()));
}

/// A connection to a server.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// How long a connection lives on which this is sent, and what comes.
fn until_closed(server: &Server, sent: &str) -> (Duration, String) {
    let start = Instant::now();
    let mut stream = connect(server);
    stream.write_all(sent.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut answer);
    (start.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn who_is_slow_is_sent_away() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let chain = chain_of(&key(Scheme::Ed25519), 1);
    let post = format!(
        "POST /v1/sigchains/{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\n\
         content-length: 100\r\n\r\n{{",
        chain.name()
    );
    std::thread::scope(|scope| {
        for sent in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
            let server = &server;
            scope.spawn(move || {
                let (took, _) = until_closed(server, sent);
                assert!((5..20).contains(&took.as_secs()), "{sent:?}: {took:?}");
            });
        }
        // Idle after a request.
        scope.spawn(|| {
            let (took, answer) = until_closed(&server, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(answer.contains("200 OK"));
            assert!((5..20).contains(&took.as_secs()), "{took:?}");
        });
        // A body that does not come.
        scope.spawn(|| {
            let (took, answer) = until_closed(&server, &post);
            assert!(answer.contains("408") && answer.contains("\"timeout\""), "{answer}");
            assert!((5..20).contains(&took.as_secs()), "{took:?}");
        });
        // Meanwhile others are served.
        assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    });
}

#[test]
fn connections_are_bounded_and_their_places_come_back() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &["--connections", "4"]);
    let held: Vec<TcpStream> = (0..4).map(|_| connect(&server)).collect();
    std::thread::sleep(Duration::from_millis(100));
    let health = || agent().get(format!("{}/healthz", server.url)).call().unwrap();
    let refused = health();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    drop(held);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(health().status(), 200);
}

/// A torn write: the write-ahead log ends anywhere within what was not acknowledged.
#[test]
fn a_torn_last_page_costs_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let owner = key(Scheme::Ed25519);
    let mut chain = chain_of(&owner, 5);
    server.post(chain.name(), chain.lines()).unwrap();
    let wal = data.join("sigchains.db-wal");
    let acknowledged = fs::metadata(&wal).unwrap().len() as usize;
    let before = chain.clone();
    let line = append(&mut chain, add("github:torn"), None, &[&owner]);
    server.post(chain.name(), &[line]).unwrap();
    server.kill();
    let (file, log) = (fs::read(data.join("sigchains.db")).unwrap(), fs::read(&wal).unwrap());
    assert!(log.len() > acknowledged);
    let secret = fs::read(data.join("log.key")).unwrap();
    let step = (log.len() - acknowledged).div_ceil(24);
    for (round, end) in (acknowledged..=log.len()).step_by(step).enumerate() {
        let torn = dir.path().join(format!("torn{round}"));
        fs::create_dir(&torn).unwrap();
        fs::write(torn.join("sigchains.db"), &file).unwrap();
        fs::write(torn.join("log.key"), &secret).unwrap();
        let mut rest = log[..end].to_vec();
        if round % 2 == 1 {
            // What was in the sector before.
            rest.resize(log.len(), 0xa5);
        }
        fs::write(torn.join("sigchains.db-wal"), rest).unwrap();
        let server = Server::start(&torn, &[]);
        let (status, bundle) = server.text(&format!("/v1/sigchains/{}?log=0", chain.name()));
        assert_eq!(status, 200);
        let (bundle, line) = kez_core::log::Proof::split(bundle.as_bytes());
        let served = Chain::replay(bundle, Some(chain.name()), now()).unwrap();
        assert!(served == before || served == chain, "round {round}");
        let proof = kez_core::log::Proof::parse(line.unwrap()).unwrap();
        let entry = kez_core::log::entry(chain.name(), served.head().unwrap());
        proof.checkpoint.includes(proof.index, &entry, &proof.inclusion).unwrap();
        // It goes on.
        let (status, _) = server.post(chain.name(), chain.lines()).unwrap();
        assert!([200, 201].contains(&status));
    }
}

/// A real file system that is full, where the test may mount one.
#[test]
fn a_full_file_system_is_said_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let mount = |args: &[&str]| {
        let output = Command::new("mount").args(args).arg(dir.path()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=1m", "none"]) {
        eprintln!("not run: a file system can be mounted only by root");
        return;
    }
    let server = Server::start(dir.path(), &[]);
    let mut stored = Vec::new();
    let refused = loop {
        let chain = chain_of(&key(Scheme::Ed25519), 20);
        let answer = server.post(chain.name(), chain.lines()).unwrap();
        if answer.0 != 201 {
            break (chain, answer);
        }
        stored.push(chain);
        assert!(stored.len() < 200, "it is never full");
    };
    let (chain, answer) = refused;
    let code = code(answer, 507);
    assert!(["quota_exceeded", "storage_failed"].contains(&&*code), "{code}");
    has_all(&server, &stored);
    let (status, text) = server.text("/readyz");
    assert!(status == 507 || text.contains("quota reached"), "{status} {text}");
    // With more space it goes on by itself.
    assert!(mount(&["-o", "remount,size=8m"]));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.post(chain.name(), chain.lines()).unwrap().0, 201);
    has_all(&server, &stored);
    server.terminate();
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
}
