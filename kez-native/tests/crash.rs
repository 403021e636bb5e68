//! The command is killed before each system call by which it changes files. Whatever is there then,
//! the user can go on: the command that is run again finishes, or everything is as before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod common;

use common::User;
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// System calls that change files or their names, or print.
const CALLS: &str = "write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,\
                     linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir";

/// A call of a run: its name, and which of the calls of that name it is, from 1.
type Call = (String, usize);

/// Runs the command under strace, in a home. With a call it is killed before that call. Returns the
/// calls that it made.
fn traced(home: &Path, args: &[&str], stdin: &str, kill: Option<&Call>) -> Vec<Call> {
    let log = home.with_extension("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-e", &format!("trace={CALLS}"), "-o"]);
    command.arg(&log);
    if let Some((name, count)) = kill {
        command.args(["-e", &format!("inject={name}:signal=KILL:when={count}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_kez")).arg("--json").args(args).env("KEZ_HOME", home);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("this test needs strace: cargo xtask setup");
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let status = child.wait().unwrap();
    assert_eq!(status.success(), kill.is_none(), "{args:?}, kill {kill:?}");
    let log = fs::read_to_string(log).unwrap();
    let mut calls: Vec<Call> = Vec::new();
    // A line is `pid name(arguments) = result`, or the rest of a call that was interrupted.
    for line in log.lines() {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with('<')) else {
            continue;
        };
        let count = calls.iter().filter(|(other, _)| other == name).count();
        calls.push((name.to_owned(), count + 1));
    }
    calls
}

/// Kills a command before each of its calls. `check` gets the home, and the exit code and the reason
/// code of the command that is run again. Prints the number of kills.
fn kill_everywhere(
    start: &User,
    name: &str,
    args: &[&str],
    stdin: &str,
    check: impl Fn(&User, i32, &str),
) {
    let calls = traced(&start.copy(&format!("crash-{name}-count")).home, args, stdin, None);
    assert!(calls.len() > 4, "{name} changes nothing");
    for kill in &calls {
        let victim = start.copy(&format!("crash-{name}")).native();
        traced(&victim.home, args, stdin, Some(kill));
        // Commands that only read work at once.
        assert_eq!(victim.run(&["key", "list"]).code, 0);
        let shown = victim.run(&["sigchain", "show"]);
        assert!(shown.code == 0 || code_of(&shown) == "chain_empty", "{}", shown.stdout);
        let again = victim.run_with(stdin, args);
        let code = if again.code == 0 { String::new() } else { code_of(&again) };
        check(&victim, again.code, &code);
        assert!(!victim.home.join("journal.json").exists(), "{name}, kill {kill:?}");
    }
    println!("{name}: killed before each of {} system calls", calls.len());
}

fn code_of(run: &common::Run) -> String {
    run.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// A chain with one listed claim, which commits to a key on paper if `committed`; another claim; and
/// a next key that waits. Returns the papers in the order in which they are to be used.
fn owner(name: &str, committed: bool) -> (User, Vec<String>) {
    let me = User::new(name, "").native();
    me.key("me", "ed25519");
    let next = || me.ok(&["key", "new", "--next"])["secret"].as_str().unwrap().to_owned();
    let mut papers = Vec::new();
    if committed {
        papers.push(next());
    }
    for claim in ["dns:a.example", "dns:b.example"] {
        me.claim(claim, "json", &["--offline", "--key", "me"]);
    }
    me.ok(&["sigchain", "add", "dns:a.example"]);
    papers.push(next());
    (me, papers)
}

/// The chain goes on by rotations, with every paper that is left and then with a stored key.
fn rotates(me: &User, papers: &[String]) {
    for (n, paper) in papers.iter().enumerate() {
        let name = format!("paper-{n}");
        let args = ["sigchain", "rotate", "--name", &name, "--no-passphrase"];
        let run = me.run_with(&format!("{paper}\n"), &args);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }
    me.key("stored", "ed25519");
    me.ok(&["sigchain", "rotate", "--to", "stored"]);
    assert!(!me.home.join("next-key").exists());
}

/// The event that takes up a commitment, and the file where the commitment waited, change together.
#[test]
fn an_event_with_a_commitment() {
    let (me, papers) = owner("crash-add-start", false);
    kill_everywhere(&me, "add", &["sigchain", "add", "dns:b.example"], "", |me, exit, code| {
        assert!(exit == 0 || code == "claim_listed", "{exit} {code}");
        assert_eq!(me.ok(&["sigchain", "show"])["head"]["seq"], 2);
        rotates(me, &papers);
    });
}

/// A rotation stores the key from paper, the chain, and removes the next commitment that waited.
#[test]
fn a_rotation_to_paper() {
    let (me, papers) = owner("crash-rotate-start", true);
    let args = ["sigchain", "rotate", "--name", "second", "--no-passphrase"];
    let paper = format!("{}\n", papers[0]);
    kill_everywhere(&me, "rotate", &args, &paper, |me, exit, code| {
        assert!(exit == 0 || code == "next_mismatch", "{exit} {code}");
        assert_eq!(me.ok(&["sigchain", "show"])["head"]["seq"], 2);
        me.ok(&["key", "show", "second"]);
        rotates(me, &papers[1..]);
    });
}

/// Keys, claims, and commitments that wait: one file each.
#[test]
fn single_files() {
    let (me, papers) = owner("crash-files-start", false);
    let new = ["key", "new", "--name", "other", "--no-passphrase"];
    kill_everywhere(&me, "key", &new, "", |me, exit, code| {
        assert!(exit == 0 || code == "key_exists", "{exit} {code}");
        me.ok(&["key", "export", "other"]);
    });
    let create = ["claim", "create", "dns:c.example", "--offline", "--key", "me"];
    kill_everywhere(&me, "claim", &create, "", |me, exit, _| {
        assert_eq!(exit, 0);
        me.ok(&["sigchain", "add", "dns:c.example"]);
    });
    // The command is the second one, so it must not make the first paper void by accident.
    kill_everywhere(&me, "replace", &["key", "new", "--next", "--replace"], "", |me, exit, _| {
        assert_eq!(exit, 0);
        me.ok(&["sigchain", "add", "dns:b.example"]);
        let rotate = ["sigchain", "rotate", "--name", "x", "--no-passphrase"];
        me.run_with(&format!("{}\n", papers[0]), &rotate).fails(1, "next_mismatch");
    });
}

/// A chain from another machine.
#[test]
fn an_import_of_a_chain() {
    let (me, _) = owner("crash-import-start", false);
    let bundle = me.home.join("bundle");
    fs::write(&bundle, me.bundle()).unwrap();
    let other = User::new("crash-import-other", "").native();
    let args = ["sigchain", "import", bundle.to_str().unwrap()];
    kill_everywhere(&other, "import", &args, "", |me, exit, _| {
        assert_eq!(exit, 0);
        assert_eq!(me.ok(&["sigchain", "show"])["head"]["seq"], 1);
    });
}

/// A second next key never makes the first one's paper void, unless the user asks for that.
#[test]
fn a_second_next_key() {
    let (me, papers) = owner("crash-second-next", false);
    me.run(&["key", "new", "--next"]).fails(2, "usage");
    me.ok(&["sigchain", "add", "dns:b.example"]);
    rotates(&me, &papers);
    // A commitment file that a killed command left after the chain had taken it up is no second one.
    let (me, papers) = owner("crash-left-over", false);
    let waiting = fs::read(me.home.join("next-key")).unwrap();
    me.ok(&["sigchain", "add", "dns:b.example"]);
    fs::write(me.home.join("next-key"), waiting).unwrap();
    rotates(&me, &papers);
}
