//! The command as a user meets it: keys, files, errors and their codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{User, folder, sig_server};
use kez_core::{Chain, Code, Identity};
use serde_json::json;
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

fn tmp(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn keys_are_encrypted_and_private() {
    let me = User::new("cli-keys", "");
    me.run(&["key", "new"]).fails(2, "passphrase_needed");
    let passphrase = tmp("cli-passphrase");
    fs::write(&passphrase, "correct horse\n").unwrap();
    let with = |args: &[&str]| {
        let file = passphrase.to_str().unwrap();
        me.run(&[&["--passphrase-file", file], args].concat())
    };
    let made = with(&["key", "new", "--name", "safe", "--type", "nostr"]);
    assert_eq!((made.code, &made.json()["encrypted"]), (0, &json!(true)));
    let file = me.home.join("keys/safe.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(me.home.join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
    let secret = with(&["key", "export", "safe"]).json()["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("nsec1"));
    let hex = {
        let key = kez_core::SecretKey::from_text(kez_core::Scheme::Nostr, &secret).unwrap();
        kez_core::hex::encode(key.expose_bytes())
    };
    let stored = fs::read_to_string(&file).unwrap();
    assert!(!stored.contains(&hex) && !stored.contains(&secret));
    // Signing asks for the passphrase, and a wrong one is told from a damaged file.
    with(&["claim", "create", "dns:example.com", "--offline"]).json();
    fs::write(&passphrase, "wrong").unwrap();
    with(&["key", "export", "safe"]).fails(2, "passphrase_wrong");
    fs::write(&passphrase, "correct horse").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    with(&["key", "export", "safe"]).fails(2, "key_permissions");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, &stored[..stored.len() / 2]).unwrap();
    with(&["key", "export", "safe"]).fails(2, "key_file");
    fs::write(&file, &stored).unwrap();
    let other = me.key("other", "nostr");
    // A file that asks for endless work is refused at once.
    fs::write(&file, stored.replace("\"memory_kib\":65536", "\"memory_kib\":4000000000")).unwrap();
    with(&["key", "export", "safe"]).fails(2, "key_file");
    // The public name is bound to the secret.
    let own = made.json()["identity"].as_str().unwrap().to_owned();
    fs::write(&file, stored.replace(&own, &other)).unwrap();
    with(&["key", "export", "safe"]).fails(2, "passphrase_wrong");
    me.run(&["key", "export", "nobody"]).fails(2, "key_not_found");
    me.run(&["key", "show", "../x"]).fails(2, "usage");
}

#[test]
fn import_and_export_are_inverse_and_silent() {
    let me = User::new("cli-import", "");
    for (name, kind) in [("a", "ed25519"), ("b", "nostr")] {
        let identity = me.key(name, kind);
        let secret = me.ok(&["key", "export", name])["secret"].as_str().unwrap().to_owned();
        let you = User::new("cli-import-2", "");
        let run = you.run_with(&secret, &["key", "import", "--type", kind, "--no-passphrase"]);
        assert_eq!((run.code, run.json()["identity"].as_str()), (0, Some(identity.as_str())));
        assert!(!run.stdout.contains(secret.trim()) && !run.stderr.contains(secret.trim()));
        let again = you.run_with(
            &secret,
            &["key", "import", "--type", kind, "--name", "x", "--no-passphrase"],
        );
        again.fails(2, "key_exists");
        // A secret where an identity is wanted is refused without being repeated (KEZ-ID-05).
        if kind == "nostr" {
            let run = me.run(&["verify", "id", secret.trim()]);
            run.fails(2, "secret_refused");
            assert!(!run.stdout.contains(secret.trim()) && !run.stderr.contains(secret.trim()));
        }
    }
    me.run_with("nonsense", &["key", "import", "--name", "c", "--no-passphrase"])
        .fails(1, "key_refused");
    let zero = "0".repeat(64);
    me.run_with(&zero, &["key", "import", "--name", "c", "--no-passphrase"])
        .fails(1, "key_refused");
}

#[test]
fn usage_and_configuration() {
    let me = User::new("cli-usage", "");
    me.run(&["verify", "id", "jason"]).fails(2, "identity_refused");
    me.run(&["verify", "id", "gitlab:jason"]).fails(2, "scheme_unknown");
    me.run(&["explain", "nonsense"]).fails(2, "usage");
    assert_eq!(me.run(&["frobnicate"]).code, 2);
    assert_eq!(me.run(&["verify", "id"]).code, 2);
    me.run(&["claim", "create", "dns:example.com", "--offline"]).fails(2, "key_not_found");
    for config in [
        "nonsense",
        "unknown = 1",
        "github = \"http://127.0.0.1:1\"",
        "[hosts]\n\"a.b\" = \"http://127.0.0.1:1\"",
    ] {
        fs::write(me.home.join("config.toml"), config).unwrap();
        me.run(&["key", "list"]).fails(2, "config_refused");
    }
    fs::write(me.home.join("config.toml"), "").unwrap();
    me.run(&[
        "verify",
        "id",
        "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
    ])
    .expect(5, "unreachable", Some("no_channel"));
}

#[test]
fn every_code_is_explained() {
    let me = User::new("cli-explain", "");
    for code in Code::ALL {
        let told = me.ok(&["explain", code.as_str()]);
        assert_eq!(told["summary"], code.summary());
        assert!(!code.remedy().is_empty());
    }
    let all = me.run(&["explain"]);
    assert_eq!(all.stdout.lines().count(), Code::ALL.len());
}

#[test]
fn completions_and_manual() {
    let run = |args: &[&str]| {
        let output = common::kez().args(args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("sigchain"));
    }
    assert!(run(&["man"]).contains(".TH kez"));
    let pages = tmp("cli-man");
    fs::create_dir_all(&pages).unwrap();
    run(&["man", "--dir", pages.to_str().unwrap()]);
    let page = fs::read_to_string(pages.join("kez-sigchain-rotate.1")).unwrap();
    assert!(page.contains("compromised"));
    assert!(run(&["help"]).contains("Exit codes"));
}

/// KEZ-VER-08, KEZ-VER-09, KEZ-VER-10, KEZ-ENC-16
#[test]
fn a_file_in_any_encoding() {
    let me = User::new("cli-file", "");
    me.key("me", "nostr");
    for format in ["json", "compact", "markdown", "dns"] {
        let text = me.claim("dns:example.com", format, &["--offline"]);
        me.run_with(&text, &["verify", "file", "-"]).expect(0, "valid", None);
        // KEZ-CNL-01: shown by somebody else.
        me.run_with(&text, &["verify", "file", "-", "--as", "dns:example.org"]).expect(
            1,
            "invalid",
            Some("wrong_owner"),
        );
    }
    let pointer = me.claim("dns:example.com", "pointer", &["--offline"]);
    me.run_with(&pointer, &["verify", "file", "-"]).fails(2, "usage");
    // KEZ-VER-06: the note is shown in words.
    let words = |text: &str| {
        let mut command = common::kez();
        command.args(["--offline", "verify", "file", "-"]).env("KEZ_HOME", &me.home);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let said = words(&me.claim("dns:example.com", "json", &["--offline"]));
    assert!(said.contains("revocations were not checked"), "{said}");
    me.run_with("nothing here", &["verify", "file", "-"]).fails(1, "proof_not_found");
    me.run(&["verify", "file", "/no/such/file"]).fails(2, "storage_failed");
    // With the chain at hand the history counts, and at another time as well.
    me.ok(&["sigchain", "add", "dns:example.com"]);
    let bundle = me.home.join("bundle");
    let bundle = bundle.to_str().unwrap();
    let export = |out: &str| {
        let output = common::kez()
            .args(["sigchain", "export", "--out", out])
            .env("KEZ_HOME", &me.home)
            .output()
            .unwrap();
        assert!(output.status.success());
    };
    export(bundle);
    me.run_with(&pointer, &["--source", bundle, "verify", "file", "-", "--as", "dns:example.com"])
        .expect(0, "valid", None);
    me.ok(&["sigchain", "revoke", "dns:example.com"]);
    export(bundle);
    let text = me.claim("dns:example.org", "json", &["--offline", "--expires", "1d", "--no-head"]);
    me.run_with(&pointer, &["--source", bundle, "verify", "file", "-", "--as", "dns:example.com"])
        .expect(3, "revoked", Some("revoked"));
    let late = ["--at", "2099-01-01T00:00:00Z", "verify", "file", "-"];
    me.run_with(&text, &late).expect(4, "expired", Some("expired"));
    let early = ["--at", "2020-01-01T00:00:00Z", "verify", "file", "-"];
    me.run_with(&text, &early).expect(1, "invalid", Some("not_yet_valid"));
}

#[test]
fn a_chain_from_the_command_line() {
    let me = User::new("cli-chain", "");
    me.key("me", "ed25519");
    me.run(&["sigchain", "show"]).fails(1, "chain_empty");
    me.run(&["sigchain", "add", "dns:example.com"]).fails(2, "usage");
    me.claim("dns:example.com", "json", &["--offline"]);
    me.ok(&["sigchain", "add", "dns:example.com"]);
    me.run(&["sigchain", "add", "dns:example.com"]).fails(1, "claim_listed");
    // Without a commitment, both keys sign; the chain keeps its name.
    let name = me.ok(&["sigchain", "show"])["chain"].clone();
    me.run(&["sigchain", "rotate"]).fails(2, "usage");
    let new = me.key("new", "ed25519");
    me.ok(&["sigchain", "rotate", "--to", "new"]);
    me.run(&["sigchain", "rotate", "--to", "me"]).fails(1, "key_used");
    let shown = me.ok(&["sigchain", "show"]);
    assert_eq!((&shown["chain"], &shown["current_key"]), (&name, &json!(new)));
    let device = me.key("phone", "ed25519");
    me.ok(&["sigchain", "add-device", "phone", "--cap", "chat/1", "--not-after", "365d"]);
    me.ok(&["sigchain", "revoke-device", &device, "--reason", "compromised"]);
    me.run(&["sigchain", "revoke-device", &device]).fails(1, "device_unknown");
    me.run(&["sigchain", "publish"]).fails(2, "usage");
    // Another machine takes the chain over; two histories are refused.
    let bundle = me.bundle();
    let you = User::new("cli-chain-2", "");
    assert_eq!(you.run_with(&bundle, &["sigchain", "import", "-"]).json()["head"]["seq"], 4);
    you.run_with(&bundle, &["sigchain", "verify", "-"]).json();
    you.run_with(&bundle.replace("superseded", "retired"), &["sigchain", "verify", "-"])
        .fails(1, "signature_bad");
    let twin = me.copy("cli-chain-3");
    for (user, subject) in [(&me, "dns:a.example"), (&twin, "dns:b.example")] {
        user.claim(subject, "json", &["--offline", "--key", "new"]);
        user.ok(&["sigchain", "add", subject]);
    }
    let theirs = twin.bundle();
    me.run_with(&theirs, &["sigchain", "import", "-"]).fails(6, "forked");
    // The fork is an object that anybody can check offline.
    let now = kez_native::now();
    let own = me.bundle();
    let replay = |bundle: &str| Chain::replay(bundle.as_bytes(), None, now).unwrap();
    let Ok(kez_core::fork::Merge::Fork(fork)) =
        kez_core::fork::merge(vec![replay(&own), replay(&theirs)])
    else {
        panic!("no fork")
    };
    let run = you.run_with(&fork.to_canonical(), &["sigchain", "verify", "-"]);
    assert_eq!((run.code, &run.json()["settled"]), (6, &json!(false)));
}

/// Two commands at once never lose an event: they wait for each other.
#[test]
fn concurrent_appends() {
    let me = User::new("cli-concurrent", "");
    me.key("me", "ed25519");
    for n in 0..8 {
        me.claim(&format!("dns:n{n}.example"), "json", &["--offline"]);
    }
    let me = Arc::new(me);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let me = me.clone();
            thread::spawn(move || me.ok(&["sigchain", "add", &format!("dns:n{n}.example")]))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(me.ok(&["sigchain", "show"])["head"]["seq"], 8);
}

/// Names a process as the commands do in the link of their common lock: a process id may be used
/// again, so the start time belongs to the name.
fn process_name(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    format!("{pid}:{start}:{}", boot.trim())
}

/// Waits for a command that is expected to wait for a lock. Returns what it printed until `free` has
/// released the lock.
fn waits_for_lock(me: &User, args: &[&str], free: impl FnOnce()) -> String {
    let mut command = common::kez();
    command.args(args).env("KEZ_HOME", &me.home).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut waiting = command.spawn().unwrap();
    thread::sleep(Duration::from_millis(1800));
    assert!(waiting.try_wait().unwrap().is_none(), "it did not wait");
    free();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// The native command and the package's share a home. A link names the process that holds the lock.
/// Both commands heed it while that process runs, whatever process has its id later. KEZ-STATE-06
#[test]
fn one_lock_for_both_commands() {
    let me = User::new("cli-lock", "");
    me.key("me", "ed25519");
    me.claim("dns:a.example", "json", &["--offline"]);
    let link = me.home.join("lock.node");
    let hold = |owner: &str| std::os::unix::fs::symlink(owner, &link).unwrap();
    hold(&process_name(std::process::id()));
    let printed = waits_for_lock(&me, &["sigchain", "add", "dns:a.example"], || {
        fs::remove_file(&link).unwrap();
    });
    assert!(printed.contains("waiting for another kez command"), "{printed}");
    assert!(!link.is_symlink(), "the lock was not released");
    // Owners that have ended: their ids belong to a running process, or to none, or are no ids.
    let this = std::process::id().to_string();
    let mut gone = Command::new("true").spawn().unwrap();
    let ended = process_name(gone.id());
    let other = format!("{this}:{}", ended.split_once(':').unwrap().1);
    // A process that has ended and was not waited for counts as ended.
    thread::sleep(Duration::from_millis(200));
    for owner in [ended.as_str(), this.as_str(), other.as_str(), "0", "x", "99999999:1:x"] {
        hold(owner);
        me.ok(&["sigchain", "revoke", "dns:a.example"]);
        assert!(!link.is_symlink(), "{owner}");
    }
    gone.wait().unwrap();
}

/// The system's lock ends with its process, and the file of the lock stays without an effect.
#[test]
fn the_lock_ends_with_its_process() {
    if std::env::var_os("KEZ").is_some() {
        return; // Node has no access to the system's locks.
    }
    let me = User::new("cli-system-lock", "");
    me.key("me", "ed25519");
    me.claim("dns:a.example", "json", &["--offline"]);
    let file = fs::File::options().create(true).append(true).open(me.home.join("lock")).unwrap();
    file.lock().unwrap();
    let printed =
        waits_for_lock(&me, &["sigchain", "add", "dns:a.example"], || file.unlock().unwrap());
    assert!(printed.contains("waiting for another kez command"), "{printed}");
    // A process that is killed while it holds the lock.
    let script = "exec 9>>\"$1\"; flock 9; echo locked; exec sleep 60";
    let mut holder = Command::new("bash");
    holder.args(["-c", script, "bash"]).arg(me.home.join("lock")).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"locked");
    waits_for_lock(&me, &["sigchain", "revoke", "dns:a.example"], || holder.kill().unwrap());
    holder.wait().unwrap();
}

/// Runs `kez verify -` on bytes. Returns its exit code and its answers.
fn list(me: &User, lines: &[u8]) -> (i32, Vec<serde_json::Value>) {
    let mut command = me.command(&["--offline", "verify", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&lines));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let answers = answers.map(|line| serde_json::from_slice(line).unwrap()).collect();
    (output.status.code().unwrap(), answers)
}

/// Every line of a list is answered, whatever its bytes are, and the exit code is not 0 if one of
/// them could not be read.
#[test]
fn every_line_of_a_list_is_answered() {
    let me = User::new("cli-list", "");
    let first = "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
    let mut lines = format!("# comment\n\n{first}\n").into_bytes();
    lines.extend(b"\xff\xfe\r\ndns:\x80.example\nnot an identity\n");
    lines.extend([b'a'; 65_537]);
    lines.extend(b"\n  dns:last.example");
    let (exit, answers) = list(&me, &lines);
    assert_ne!(exit, 0);
    let about = |number: u64| {
        let found = answers.iter().find(|answer| answer["line"] == number);
        found.map(|answer| answer["code"].as_str().unwrap()).unwrap_or_default()
    };
    assert_eq!(answers.len(), 6, "{answers:?}");
    let codes = [4, 5, 6, 7].map(about);
    assert_eq!(codes, ["identity_refused", "identity_refused", "identity_refused", "too_large"]);
    for subject in [first, "dns:last.example"] {
        assert!(answers.iter().any(|answer| answer["subject"] == subject), "{answers:?}");
    }
    // The bad line alone fails the list: an empty list is fine, and so are comments.
    assert_eq!(list(&me, b"# nothing\n").0, 0);
    assert_ne!(list(&me, b"\xff").0, 0);
    // KEZ-ID-05: a secret key is refused without being repeated.
    let secret = kez_core::SecretKey::from_bytes(kez_core::Scheme::Nostr, [7; 32]).unwrap();
    let secret = secret.expose_text();
    let (exit, answers) = list(&me, secret.as_bytes());
    assert_eq!((exit, answers[0]["code"].as_str()), (2, Some("secret_refused")));
    assert!(!answers[0].to_string().contains(secret.trim()));
}

/// A line of 64 MB is not held in memory.
#[test]
fn a_long_line_of_a_list_takes_no_memory() {
    if std::env::var_os("KEZ").is_some() {
        return; // Node alone takes more.
    }
    let me = User::new("cli-long-line", "");
    let mut command = me.command(&["--offline", "verify", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..64 {
        stdin.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    // More lines than are verified at once, so that the first ones are answered.
    stdin.write_all(format!("\n{}", "dns:a.example\n".repeat(64)).as_bytes()).unwrap();
    let mut answer = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut answer).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
    drop(stdin);
    std::io::Read::read_to_string(&mut output, &mut answer).unwrap();
    assert!(answer.contains("\"too_large\""), "{answer}");
    assert_eq!(answer.lines().count(), 65);
    assert_ne!(child.wait().unwrap().code(), Some(0));
}

/// A full disk or a directory that cannot be written: an error, and the old file as it was.
#[test]
fn storage_that_fails() {
    let me = User::new("cli-storage", "");
    me.key("me", "ed25519");
    me.claim("dns:a.example", "json", &["--offline"]);
    me.ok(&["sigchain", "add", "dns:a.example"]);
    me.claim("dns:b.example", "json", &["--offline"]);
    let before = me.bundle();
    // A limit on the size of files stands for a disk that is full after a few bytes.
    let kez = common::kez();
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\" --json sigchain add dns:b.example";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "bash"]).arg(kez.get_program()).args(kez.get_args());
    let output = bash.env("KEZ_HOME", &me.home).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("\"storage_failed\""), "{text}");
    assert_eq!(me.bundle(), before);
    me.ok(&["sigchain", "add", "dns:b.example"]);
    let file = me.home.join("a-file");
    fs::write(&file, "").unwrap();
    let inside = User { home: file, native: false };
    inside.run(&["key", "new", "--no-passphrase"]).fails(2, "storage_failed");
}

#[test]
fn publishing_to_a_sigchain_server() {
    let config = "danger_allow_loopback = true\nrelays = []\n";
    let me = User::new("cli-server", config);
    let primary = me.key("me", "ed25519");
    me.claim("dns:a.example", "json", &["--offline"]);
    me.ok(&["sigchain", "add", "dns:a.example"]);
    let (base, _) = sig_server(&folder("cli-server-data"), None);
    me.ok(&["sigchain", "publish", "--server", &base]);
    me.claim("dns:b.example", "json", &["--offline"]);
    me.ok(&["sigchain", "add", "dns:b.example"]);
    // What is published is readable by a web server, and what is kept only by the user.
    let public = me.home.with_file_name("cli-well-known");
    let _ = fs::remove_dir_all(&public);
    let place = me.ok(&["sigchain", "publish", "--dir", public.to_str().unwrap()]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(Path::new(place["place"].as_str().unwrap())), 0o644);
    assert_eq!((mode(&public), mode(&public.join("kez"))), (0o755, 0o755));
    assert_eq!(mode(&me.home.join("sigchains")), 0o700);
    // Only what is new is sent, and a second run changes nothing.
    me.ok(&["sigchain", "publish", "--server", &base]);
    me.ok(&["sigchain", "publish", "--server", &base]);
    let answer = ureq::get(format!("{base}/v1/sigchains/{primary}")).call().unwrap();
    assert_eq!(answer.into_body().read_to_string().unwrap(), me.bundle());
    // A verifier that knows the server finds the chain there.
    let you = User::new("cli-server-2", &format!("{config}sig_servers = [\"{base}\"]\n"));
    let graph = you.run(&["id", &primary]).json();
    assert_eq!((&graph["chain"], &graph["head"]["seq"]), (&json!("known"), &json!(2)));
    // Somebody who has less, or something else, is told.
    let twin = me.copy("cli-server-3");
    twin.claim("dns:c.example", "json", &["--offline"]);
    twin.ok(&["sigchain", "add", "dns:c.example"]);
    twin.ok(&["sigchain", "publish", "--server", &base]);
    me.run(&["sigchain", "publish", "--server", &base]).fails(6, "head_conflict");
    // A server without space for more than a page of each table.
    for n in 0..16 {
        me.claim(&format!("dns:n{n}.example"), "json", &["--offline"]);
        me.ok(&["sigchain", "add", &format!("dns:n{n}.example")]);
    }
    let (full, _) = sig_server(&folder("cli-server-full"), Some(1));
    me.run(&["sigchain", "publish", "--server", &full]).fails(5, "publish_refused");
    me.run(&["sigchain", "publish", "--server", "http://127.0.0.1:1"]).fails(5, "publish_refused");
    // An ed25519 chain needs a nostr key to go to relays.
    me.run(&["sigchain", "publish", "--relay", "ws://127.0.0.1:1"]).fails(2, "usage");
    me.key("n", "nostr");
    me.run(&["sigchain", "publish", "--relay", "ws://127.0.0.1:1", "--nostr-key", "n"])
        .fails(5, "publish_refused");
}

/// Text from elsewhere never reaches a terminal with control characters.
#[test]
fn terminal_escapes_are_shown_as_text() {
    let me = User::new("cli-escapes", "");
    let output = common::kez()
        .args(["verify", "id", "github:\u{1b}]0;owned\u{7}\u{202e}x"])
        .env("KEZ_HOME", &me.home)
        .output()
        .unwrap();
    let json = me.run(&["verify", "id", "github:\u{9b}31m\u{202e}x"]);
    json.fails(2, "identity_refused");
    assert!(
        !json.stdout.contains('\u{9b}') && !json.stdout.contains('\u{202e}'),
        "{}",
        json.stdout
    );
    let all = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(all).unwrap();
    assert!(text.contains("identity_refused"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}'));
}

/// KEZ-CLM-06, KEZ-CLM-07
#[test]
fn claims_pin_what_they_should() {
    let me = User::new("cli-claims", "");
    let key = me.key("me", "nostr");
    // KEZ-CLM-05: the account's stable id goes in when it is given or known.
    let text = me.claim(
        "github:jason",
        "json",
        &["--offline", "--account", "12345", "--chain-url", "https://example.com/c.jsonl"],
    );
    assert!(text.contains(r#""account":"12345""#) && text.contains("https://example.com/c.jsonl"));
    assert!(!text.contains("\"head\""));
    me.ok(&["sigchain", "add", "github:jason"]);
    let text = me.claim("dns:example.com", "json", &["--offline"]);
    assert!(text.contains(r#""head":{"id":"#));
    let pointer = me.claim("dns:example.com", "pointer", &["--offline"]);
    assert_eq!(pointer, format!("kez:{key}"));
    assert!(pointer.len() <= 80);
    // KEZ-ENC-06: the zone line's strings are at most 255 bytes, and join to the compact form.
    let line = me.claim("dns:example.com", "dns", &["--offline", "--expires", "90d"]);
    assert!(line.starts_with("_kez.example.com. 300 IN TXT \"kez:z1:"));
    let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    assert!(strings.len() > 1 && strings.iter().all(|s| s.len() <= 255));
    assert!(kez_core::proof::from_compact(&strings.concat()).is_ok());
    me.run(&["claim", "create", "github:jason", "--offline", "--account", "a b"])
        .fails(1, "text_refused");
    me.run(&["claim", "create", "github:jason", "--offline", "--chain-url", "http://a.example/"])
        .fails(1, "url_refused");
    assert!(Identity::parse(&key).is_ok());
}

/// What the command prints for people: stdout and stderr.
fn printed(me: &User, args: &[&str]) -> String {
    let mut command = common::kez();
    let output = command.args(args).env("KEZ_HOME", &me.home).output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).join("\n")
}

/// A fediverse server whose WebFinger answer names the account in these words. Returns its URL.
fn webfinger_server(words: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let rel = "application/activity+json";
    let link = json!({ "rel": "self", "type": rel, "href": "https://evil.example/u" });
    let body = json!({ "subject": format!("acct:{words}"), "links": [link] }).to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 65_536];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let head = "HTTP/1.1 200 x\r\ncontent-type: application/jrd+json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

/// Words of other parties begin no line of the output, and steer no terminal.
#[test]
fn others_write_no_line_of_the_output() {
    const FORGED: &str = "valid       dns:bank.example";
    let poison = |between: &str| format!("x{between}{FORGED}\u{202e}\u{1b}[2K");
    for between in ["\n", "\r\n", "\r", "\u{2028}", "\u{2029}", "\u{85}", "\u{b}", "\n\n  "] {
        // The name of an operation that this version does not know.
        let key = kez_core::SecretKey::from_bytes(kez_core::Scheme::Ed25519, [9; 32]).unwrap();
        let name = key.public().identity().clone();
        let op = kez_core::Op::Unknown(poison(between));
        let mut event = kez_core::Event::new(name, None, kez_native::now(), op);
        event.critical = Some(false);
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        let bundle = tmp("cli-forged.jsonl");
        fs::write(&bundle, format!("{}\n", envelope.to_canonical())).unwrap();
        let bundle = bundle.to_str().unwrap();
        let server = webfinger_server(&poison(between));
        let hosts = format!("[hosts]\n\"evil.example\" = \"{server}\"\n");
        let config = format!("danger_allow_loopback = true\nrelays = []\n{hosts}");
        let me = User::new("cli-forged", &config);
        let chain = ["sigchain", "verify", bundle];
        let account = ["verify", "id", "ap:joe@evil.example"];
        for args in [&chain[..], &account[..]] {
            let text = printed(&me, args);
            assert!(text.contains(FORGED), "{args:?} {between:?} shows no words: {text}");
            let splits =
                |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{85}' | '\u{2028}' | '\u{2029}');
            assert!(
                !text.split(splits).any(|line| line.trim_start().starts_with("valid")),
                "{text}"
            );
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
            let json = printed(&me, &[&["--json"], args].concat());
            assert!(!json.contains(['\u{202e}', '\u{2028}', '\u{2029}', '\u{85}']), "{json}");
        }
    }
}

/// `kez id` ends although a host of many accounts does not answer, says what it left out, and checks
/// more accounts on request.
#[test]
fn an_identity_with_a_host_that_hangs() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hosts =
        format!("[hosts]\n\"victim.example\" = \"http://{}\"\n", listener.local_addr().unwrap());
    let me = User::new("cli-hang", &format!("danger_allow_loopback = true\nrelays = []\n{hosts}"));
    let primary = me.key("me", "ed25519");
    let key = me.ok(&["key", "export", "me"])["secret"].as_str().unwrap().to_owned();
    let key = kez_core::SecretKey::from_text(kez_core::Scheme::Ed25519, &key).unwrap();
    let mut chain = Chain::new(key.public().identity()).unwrap();
    for n in 0_u8..120 {
        let op = kez_core::Op::Add {
            subject: Identity::from_canonical(&format!("ap:u{n}@victim.example")).unwrap(),
            claim: kez_core::ObjectId::digest("claim", &[n]),
            account: None,
            url: None,
        };
        let event = kez_core::Event::new(chain.name().clone(), chain.head(), kez_native::now(), op);
        let mut event = event.to_envelope().unwrap();
        event.sign(&key, &[0; 32]).unwrap();
        chain.append(&event, kez_native::now()).unwrap();
    }
    let bundle = me.home.join("bundle");
    fs::write(&bundle, chain.to_bundle()).unwrap();
    let id = |limit: &str| {
        let start = std::time::Instant::now();
        let run = me.run(&["--source", bundle.to_str().unwrap(), "id", &primary, "--limit", limit]);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        let graph = run.json();
        let edges = graph["edges"].as_array().unwrap().clone();
        assert_eq!((run.code, edges.len()), (5, 120));
        let left = edges.iter().filter(|edge| edge["reason"] == "search_incomplete").count();
        assert!(
            run.stderr.contains(&format!("{left} of 120 accounts were not checked")),
            "{}",
            run.stderr
        );
        left
    };
    // Without a request for the others, all but a few are asked for at the same host.
    assert!((100..120).contains(&id("100")));
    // Beyond the limit nothing is asked.
    assert_eq!(id("0"), 120);
    drop(listener);
}

/// What sigchain servers have of other histories is exported, and checked offline.
#[test]
fn evidence_is_exported() {
    let (server, _) = sig_server(&folder("cli-evidence-data"), None);
    let (empty, _) = sig_server(&folder("cli-evidence-empty"), None);
    let config = "danger_allow_loopback = true\nrelays = []\n";
    let config = format!("{config}sig_servers = [\"{server}\", \"{empty}\"]\n");
    let me = User::new("cli-evidence", &config);
    let primary = me.key("me", "ed25519");
    for subject in ["dns:a.example", "dns:b.example", "dns:c.example"] {
        me.claim(subject, "json", &["--offline"]);
    }
    me.ok(&["sigchain", "add", "dns:a.example"]);
    let thief = me.copy("cli-evidence-thief");
    thief.ok(&["sigchain", "add", "dns:b.example"]);
    thief.ok(&["sigchain", "publish", "--server", &server]);
    // Nothing was shown to the servers yet.
    let none = me.ok(&["sigchain", "export", "--evidence"]);
    assert_eq!((&none["evidence"], &none["servers"][0]["objects"]), (&json!(""), &json!(0)));
    me.ok(&["sigchain", "add", "dns:c.example"]);
    let publish = ["sigchain", "publish", "--server", &server];
    me.run(&publish).fails(6, "head_conflict");
    let given = me.ok(&[&publish[..], &["--evidence"]].concat());
    assert_eq!(given["evidence"], json!(true));
    let file = me.home.join("evidence.jsonl");
    let export = |more: &[&str]| me.run(&[&["sigchain", "export", "--evidence"], more].concat());
    let found = export(&["--out", file.to_str().unwrap()]);
    assert_eq!((found.code, found.json()["chain"].as_str()), (0, Some(primary.as_str())));
    let counts =
        [&found.json()["servers"][0], &found.json()["servers"][1]].map(|s| s["objects"].clone());
    assert_eq!(counts, [json!(1), json!(0)]);
    let verify = || me.run(&["sigchain", "verify", file.to_str().unwrap()]);
    assert_eq!((verify().code, &verify().json()["settled"]), (6, &json!(false)));
    // Several objects, one a line, each with a result.
    let line = fs::read_to_string(&file).unwrap();
    fs::write(&file, line.repeat(3)).unwrap();
    assert_eq!((verify().code, verify().stdout.lines().count()), (6, 3));
    fs::write(&file, format!("{line}{{}}\n")).unwrap();
    assert_eq!(verify().code, 1);
    // A server that fails is named, and hides nothing of the others.
    let part = export(&["--server", &server, "--server", "http://127.0.0.1:1"]);
    assert_eq!((part.code, part.json()["evidence"].as_str()), (5, Some(line.as_str())));
    assert_eq!(part.json()["servers"][1]["reason"], "connect_failed");
    assert_eq!(export(&["--server", "http://127.0.0.1:1"]).code, 5);
}

/// KEZ-CHN-29. An event that a wrong clock dated in the future locks its owner out of nothing. Events that protect
/// the owner follow it, with its date.
#[test]
fn an_event_of_a_wrong_clock() {
    let me = User::new("cli-future", "");
    me.key("me", "ed25519");
    for subject in ["dns:a.example", "dns:b.example", "dns:c.example"] {
        me.claim(subject, "json", &["--offline"]);
    }
    me.ok(&["sigchain", "add", "dns:a.example"]);
    me.key("second", "ed25519");
    let later = kez_native::now().plus(30 * 86_400).to_string();
    // A typing error does not end the chain.
    me.run(&["--at", "9999-12-31T23:59:59Z", "sigchain", "add", "dns:b.example"])
        .fails(1, "chain_future");
    me.ok(&["--at", &later, "sigchain", "add", "dns:b.example"]);
    let shown = me.run(&["sigchain", "show"]);
    assert_eq!((shown.code, shown.json()["head"]["seq"].as_u64()), (0, Some(2)));
    assert!(shown.stderr.contains(&format!("from event 2 on until {later}")), "{}", shown.stderr);
    // Others refuse it, and the owner's own copy comes back from a backup.
    let bundle = me.bundle();
    me.run_with(&bundle, &["sigchain", "verify", "-"]).fails(1, "chain_future");
    let copy = User::new("cli-future-copy", "");
    assert_eq!(copy.run_with(&bundle, &["sigchain", "import", "-"]).code, 0);
    // Another claim waits until the clock is set, or is dated deliberately.
    let add = ["sigchain", "add", "dns:c.example"];
    let refused = me.run(&add);
    refused.fails(1, "chain_time");
    assert!(refused.json()["detail"].as_str().unwrap().contains("--at"), "{}", refused.stdout);
    let revoke = ["sigchain", "revoke", "dns:a.example", "--reason", "compromised"];
    let revoked = me.run(&revoke);
    assert_eq!(revoked.code, 0, "{}{}", revoked.stdout, revoked.stderr);
    assert!(revoked.stderr.contains(&later), "{}", revoked.stderr);
    me.ok(&["sigchain", "rotate", "--to", "second"]);
    me.claim("dns:c.example", "json", &["--offline", "--key", "second"]);
    me.ok(&["--at", &later, "sigchain", "add", "dns:c.example"]);
    let chain = me.ok(&["sigchain", "show"]);
    let dates: Vec<&str> = chain["events"].as_array().unwrap()[1..]
        .iter()
        .map(|e| e["created_at"].as_str().unwrap())
        .collect();
    assert_eq!(dates, [later.as_str(); 4]);
}

/// A server that has no chain, and whose clock is ahead of this machine's by some seconds.
fn server_with_a_clock(ahead: Arc<std::sync::atomic::AtomicI64>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 65_536];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let seconds =
                kez_native::now().seconds() + ahead.load(std::sync::atomic::Ordering::SeqCst);
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
            let date = httpdate::fmt_http_date(time);
            let head = "HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ndate: {date}\r\n\r\n");
        }
    });
    url
}

/// KEZ-CHN-28. Nothing is signed by a clock that the configured servers contradict. Other servers' dates, which a
/// stranger may choose, do not count.
#[test]
fn a_clock_that_servers_contradict() {
    use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
    let (ahead, lies) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(86_400)));
    let (server, stranger) = (server_with_a_clock(ahead.clone()), server_with_a_clock(lies));
    let config = "danger_allow_loopback = true\nrelays = []\n";
    let me = User::new("cli-clock", &format!("{config}sig_servers = [\"{server}\"]\n"));
    let primary = me.key("me", "ed25519");
    let look =
        || me.run(&["--max-age", "0s", "--source", &format!("{stranger}/x"), "id", &primary]);
    let claim = || me.run(&["claim", "create", "dns:a.example", "--offline", "--format", "json"]);
    look();
    assert_eq!(claim().code, 0);
    me.ok(&["sigchain", "add", "dns:a.example"]);
    let revoke = ["sigchain", "revoke", "dns:a.example"];
    for (seconds, code) in [(-86_400, "chain_future"), (86_400, "chain_time")] {
        ahead.store(seconds, SeqCst);
        look();
        claim().fails(1, code);
        let refused = me.run(&revoke);
        refused.fails(1, code);
        assert!(
            refused.json()["detail"].as_str().unwrap().contains("set the clock"),
            "{}",
            refused.stdout
        );
        // The user knows better.
        let now = kez_native::now().to_string();
        me.ok(&[&["--at", &now], &revoke[..]].concat());
    }
    // Once the clock agrees again, or nearly, everything goes on.
    ahead.store(590, SeqCst);
    look();
    assert_eq!(claim().code, 0);
    me.ok(&revoke);
}

/// The owner's rotation to the key on paper takes a thief's place at a server.
#[test]
fn a_settled_fork_is_published() {
    let (server, _) = sig_server(&folder("cli-settled-data"), None);
    let config = "danger_allow_loopback = true\nrelays = []\n";
    let me = User::new("cli-settled", &format!("{config}sig_servers = [\"{server}\"]\n"));
    let primary = me.key("me", "ed25519");
    let paper = me.ok(&["key", "new", "--next"])["secret"].as_str().unwrap().to_owned();
    for subject in ["dns:a.example", "dns:b.example"] {
        me.claim(subject, "json", &["--offline"]);
    }
    me.ok(&["sigchain", "add", "dns:a.example"]);
    let thief = me.copy("cli-settled-thief");
    thief.ok(&["sigchain", "add", "dns:b.example"]);
    thief.ok(&["sigchain", "publish", "--server", &server]);
    let args =
        ["sigchain", "rotate", "--name", "second", "--no-passphrase", "--reason", "compromised"];
    assert_eq!(me.run_with(&format!("{paper}\n"), &args).code, 0);
    me.ok(&["sigchain", "publish", "--server", &server]);
    // A second run changes nothing, and the thief's history is no longer taken.
    me.ok(&["sigchain", "publish", "--server", &server]);
    thief.run(&["sigchain", "publish", "--server", &server]).fails(6, "head_conflict");
    let served = ureq::get(format!("{server}/v1/sigchains/{primary}")).call().unwrap();
    assert_eq!(served.into_body().read_to_string().unwrap(), me.bundle());
}
