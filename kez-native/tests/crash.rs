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

use common::{User, folder};
use kez_chat_server::{
    Server,
    store::{Quotas, Store},
};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// System calls that change files or their names, or print. A kill before `fsync` leaves the same files
/// as one before the call after it.
const CALLS: &str = "write,pwrite64,writev,ftruncate,rename,renameat,renameat2,link,\
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
    let begin =
        |name: &str| (start.copy(name).native(), args.iter().map(|a| (*a).into()).collect());
    kill_each(name, begin, stdin, check);
}

/// As [`kill_everywhere`], of a command that is begun anew each time: `begin` makes a home of a name,
/// and the arguments.
fn kill_each(
    name: &str,
    begin: impl Fn(&str) -> (User, Vec<String>),
    stdin: &str,
    check: impl Fn(&User, i32, &str),
) {
    let (counted, args) = begin(&format!("crash-{name}-count"));
    let calls = traced(&counted.home, &words(&args), stdin, None);
    assert!(calls.len() > 2, "{name} changes nothing");
    for kill in &calls {
        let (victim, args) = begin(&format!("crash-{name}"));
        let args = &words(&args);
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

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
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

/// The real chat server, until the process ends. Returns its URL.
fn chat_server(name: &str) -> String {
    let (store, _) = Store::open(&folder(name), Quotas::default()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tell.send(url.clone()).unwrap();
            let mut server = Server::new(store, url);
            server.limits.per_address = std::num::NonZeroU32::MAX;
            server.serve(listener, std::future::pending()).await.unwrap();
        });
    });
    told.recv().unwrap()
}

const CHAT: &str = "danger_allow_loopback = true\nrelays = []\n";

/// A registration makes a device's key, an event, and an account here and at the server. Run again it
/// goes on with the same device.
#[test]
fn a_registration() {
    let server = chat_server("crash-chat-data");
    let count = AtomicUsize::new(0);
    let begin = |name: &str| {
        let user = User::new(name, CHAT).native();
        user.key("default", "ed25519");
        let handle = format!("u{}", count.fetch_add(1, Ordering::SeqCst));
        let args = ["chat", "register", &handle, "--server", &server, "--no-passphrase"];
        (user, args.map(str::to_owned).to_vec())
    };
    kill_each("register", begin, "", |user, exit, code| {
        assert_eq!(exit, 0, "{code}");
        let devices = user.run(&["chat", "devices"]);
        assert_eq!((devices.code, devices.stdout.lines().count()), (0, 1), "{}", devices.stdout);
        assert_eq!(user.ok(&["sigchain", "show"])["head"]["seq"], 1);
    });
}

/// A user with a device, and a file with a passphrase for its way to another machine.
struct Mover {
    user: User,
    passphrase: String,
}

impl Mover {
    fn new(name: &str) -> Self {
        let server = chat_server(&format!("{name}-data"));
        let user = User::new(name, CHAT).native();
        user.key("default", "ed25519");
        user.ok(&["chat", "register", "alice", "--server", &server, "--no-passphrase"]);
        let passphrase = user.home.join("passphrase");
        fs::write(&passphrase, "correct horse").unwrap();
        Self { user, passphrase: passphrase.to_str().unwrap().to_owned() }
    }

    fn with(&self, args: &[&str]) -> Vec<String> {
        let all = [&["--passphrase-file", self.passphrase.as_str()], args].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// A copy of the user, the file that the device goes into, and the command.
    fn export(&self, name: &str) -> (User, String, Vec<String>) {
        let user = self.user.copy(name).native();
        let file = user.home.join("device").to_str().unwrap().to_owned();
        let args = self.with(&["chat", "export", &file]);
        (user, file, args)
    }

    fn import(&self, file: &str) -> Vec<String> {
        self.with(&["chat", "import", file, "--device", "moved", "--no-passphrase"])
    }
}

/// A device that leaves is here or in the file, with its key and all records.
#[test]
fn a_device_that_leaves() {
    let mover = Mover::new("crash-leaving");
    let begin = |name: &str| {
        let (user, _, args) = mover.export(name);
        (user, args)
    };
    kill_each("export", begin, "", |user, exit, code| {
        // The file may have been written before the command was killed.
        assert!(exit == 0 || code == "usage", "{exit} {code}");
        let other = User::new("crash-export-other", CHAT).native();
        let file = user.home.join("device");
        let taken = other.run(&words(&mover.import(file.to_str().unwrap())));
        assert_eq!(taken.code, 0, "{}{}", taken.stdout, taken.stderr);
        other.ok(&["chat", "devices"]);
        assert_ne!(user.run(&["chat", "list"]).code, 0, "the device lives twice");
    });
}

/// A device that arrives is there as a whole, once.
#[test]
fn a_device_that_arrives() {
    let mover = Mover::new("crash-arriving");
    let (gone, file, args) = mover.export("crash-arriving-from");
    assert_eq!(gone.run(&words(&args)).code, 0);
    let begin = |name: &str| (User::new(name, CHAT).native(), mover.import(&file));
    kill_each("import-device", begin, "", |user, exit, code| {
        // The command may have been done when it was killed.
        assert!(exit == 0 || code == "state_refused", "{exit} {code}");
        user.ok(&["chat", "devices"]);
    });
}

/// Every new name of a file is synced before the next one changes, so that a power failure leaves the
/// steps in their order.
#[test]
fn names_are_synced_in_order() {
    let (me, papers) = owner("crash-sync", true);
    let log = me.home.with_extension("strace");
    let mut command = Command::new("strace");
    let calls = "trace=rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync";
    command.args(["-f", "-qq", "-y", "-e", "signal=none", "-e", calls, "-o"]).arg(&log);
    command.args([env!("CARGO_BIN_EXE_kez"), "sigchain", "rotate", "--name", "second"]);
    command.arg("--no-passphrase").env("KEZ_HOME", &me.home).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", papers[0]).unwrap();
    assert!(child.wait().unwrap().success());
    let log = fs::read_to_string(log).unwrap();
    // The link that names the owner of the lock means nothing after a restart.
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("lock.node")).collect();
    let changes = |line: &str| line.contains("rename") || line.contains("unlink");
    let places: Vec<usize> = (0..lines.len()).filter(|n| changes(lines[*n])).collect();
    // The journal, the key, the chain, the commitment that waited, and the journal again.
    assert_eq!(places.len(), 5, "{log}");
    for place in places {
        let path = lines[place].split('"').rfind(|part| part.starts_with('/')).unwrap();
        let dir = format!("<{}>", Path::new(path).parent().unwrap().display());
        let next = lines.get(place + 1).copied().unwrap_or_default();
        assert!(next.contains("fsync") && next.contains(&dir), "{}\n{next}", lines[place]);
    }
}
