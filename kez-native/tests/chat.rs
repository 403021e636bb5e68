//! `kez chat` through the real server. Where `KEZ` names the npm command, it talks with the native
//! one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{User, folder};
use kez_chat_server::{
    Server,
    store::{Quotas, Store},
};
use kez_core::chat::auth::{Binds, Credentials, NATS, Request, nats_path};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const CONFIG: &str = "danger_allow_loopback = true\n";

/// The real server, until the process ends. Gives its URL.
fn server(name: &str) -> String {
    serving(name, None)
}

/// As [`server`], with the files of a page.
fn serving(name: &str, app: Option<PathBuf>) -> String {
    served_as(name, app, None)
}

/// As [`serving`], with another origin than where it listens.
fn served_as(name: &str, app: Option<PathBuf>, origin: Option<String>) -> String {
    let (store, _) = Store::open(&folder(name), Quotas::default()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tell.send(url.clone()).unwrap();
            let server = Server { app, ..Server::new(store, origin.unwrap_or(url)) };
            server.serve(listener, std::future::pending()).await.unwrap();
        });
    });
    told.recv().unwrap()
}

/// Somebody with a key and a handle.
fn join(home: &str, handle: &str, server: &str) -> User {
    let user = User::new(home, CONFIG);
    user.key("default", "ed25519");
    register(&user, handle, server);
    user
}

fn register(user: &User, handle: &str, server: &str) -> Value {
    user.ok(&["chat", "register", handle, "--server", server, "--no-passphrase"])
}

/// The lines that a command prints.
fn lines(user: &User, args: &[&str]) -> Vec<Value> {
    let run = user.run(args);
    assert_eq!(run.code, 0, "{args:?}\n{}\n{}", run.stdout, run.stderr);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The texts of lines, with their authors.
fn texts(lines: &[Value]) -> Vec<String> {
    let texts = lines.iter().filter(|line| line["kind"] == "text");
    let text = |line: &Value| {
        format!("{}: {}", line["from"].as_str().unwrap(), line["text"].as_str().unwrap())
    };
    texts.map(text).collect()
}

fn history(user: &User, with: &str) -> Vec<String> {
    texts(&lines(user, &["chat", "history", with]))
}

fn received(user: &User) -> Vec<String> {
    texts(&lines(user, &["chat", "listen", "--once"]))
}

/// A command that listens, until it is dropped.
struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    fn start(user: &User) -> Self {
        let mut command = user.command(&["chat", "listen"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It says so when it listens.
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        while !said.next().expect("it ended").unwrap().contains("listening") {}
        thread::spawn(move || said.for_each(drop));
        Self { child, lines }
    }

    fn text(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("a line").unwrap();
            let value: Value = serde_json::from_str(&line).unwrap();
            if let Some(text) = texts(&[value]).pop() {
                return text;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_commands_talk() {
    let server = server("chat-two");
    let alice = join("chat-two-alice", "alice", &server);
    let bob = join("chat-two-bob", "bob", &server).native();
    // The first message finds somebody who is offline.
    alice.ok(&["chat", "send", "bob", "hello"]);
    assert_eq!(alice.run_with("from stdin\n", &["chat", "send", "bob"]).code, 0);
    assert_eq!(received(&bob), ["alice: hello", "alice: from stdin"]);
    assert_eq!(received(&bob), [""; 0]);
    let list = lines(&bob, &["chat", "list"]);
    assert_eq!((&list[0]["state"], &list[0]["kind"]), (&"request".into(), &"direct".into()));
    bob.ok(&["chat", "send", "alice", "hi"]);
    assert_eq!(received(&alice), ["bob: hi"]);
    let all = ["alice: hello", "alice: from stdin", "bob: hi"];
    assert_eq!(
        (history(&alice, "bob"), history(&bob, "alice")),
        (all.map(Into::into).into(), all.map(Into::into).into())
    );
    assert_eq!(texts(&lines(&bob, &["chat", "history", "alice", "--last", "1"])), ["bob: hi"]);
    // Both see the same number, and one of them confirms it.
    let number = |user: &User, other: &str| {
        user.ok(&["chat", "verify", other])["number"].as_str().unwrap().to_owned()
    };
    let safety = number(&alice, "bob");
    assert_eq!(safety, number(&bob, "alice"));
    let verified = bob.ok(&["chat", "verify", "alice", "--number", &safety]);
    assert_eq!(verified["verified"], true);
    // What was confirmed can be taken back.
    assert_eq!(bob.ok(&["chat", "verify", "alice", "--forget"])["verified"], false);
    assert_eq!(bob.ok(&["chat", "verify", "alice", "--number", &safety])["verified"], true);
    bob.run(&["chat", "verify", "alice", "--number", "12345"]).fails(1, "devices_changed");
    let devices = lines(&alice, &["chat", "devices"]);
    assert_eq!((devices.len(), &devices[0]["this"]), (1, &true.into()));
    assert_eq!(lines(&alice, &["chat", "devices", "bob"])[0]["this"], false);
    // Nothing of it stands on the disk or at the server in the clear.
    for home in ["chat-two", "chat-two-alice", "chat-two-bob"] {
        let grep = std::process::Command::new("grep")
            .args(["-rl", "from stdin"])
            .arg(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(home))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "{home}");
    }
}

#[test]
fn what_comes_is_printed_as_it_comes() {
    let server = server("chat-live");
    let alice = join("chat-live-alice", "alice", &server);
    let bob = join("chat-live-bob", "bob", &server).native();
    let mut at_bob = Listener::start(&bob);
    let mut at_alice = Listener::start(&alice);
    for n in 0..3 {
        alice.ok(&["chat", "send", "bob", &format!("ping {n}")]);
        assert_eq!(at_bob.text(), format!("alice: ping {n}"));
        // While one listens, the same account writes.
        bob.ok(&["chat", "send", "alice", &format!("pong {n}")]);
        assert_eq!(at_alice.text(), format!("bob: pong {n}"));
    }
    drop((at_bob, at_alice));
    // Killed at any moment, nothing is lost or there twice.
    let mut sent = history(&alice, "bob");
    for n in 0..8 {
        let mut listener = Listener::start(&bob);
        let text = format!("kill {n}");
        alice.ok(&["chat", "send", "bob", &text]);
        thread::sleep(Duration::from_millis(7 * n));
        listener.child.kill().unwrap();
        sent.push(format!("alice: {text}"));
    }
    received(&bob);
    assert_eq!(history(&bob, "alice"), sent);
    // A sender that is killed loses nothing that it has said to be sent.
    for n in 0..8 {
        let text = format!("cut {n}");
        let mut command = alice.command(&["chat", "send", "bob", &text]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(25 * n));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let kept = history(&alice, "bob").contains(&format!("alice: {text}"));
        assert!(kept || said.is_empty());
        if kept {
            sent.push(format!("alice: {text}"));
        }
    }
    received(&alice);
    received(&bob);
    assert_eq!(history(&bob, "alice"), sent);
    assert_eq!(history(&alice, "bob"), sent);
}

/// KEZ-MSG-10
#[test]
fn a_text_that_does_not_fit_is_refused_before_it_waits() {
    let server = server("chat-size");
    let alice = join("chat-size-alice", "alice", &server);
    let bob = join("chat-size-bob", "bob", &server);
    alice.ok(&["chat", "send", "bob", "hello"]);
    let send = |text: &str| alice.run_with(text, &["chat", "send", "bob"]);
    // JSON writes each of these as six bytes.
    send(&"\u{1}".repeat(16 * 1024)).fails(1, "too_large");
    send(&"x".repeat(16 * 1024 + 1)).fails(1, "too_large");
    let long = "x".repeat(16 * 1024);
    assert_eq!(send(&format!("{long}\n")).code, 0);
    assert_eq!(send(&"\u{1}".repeat(7000)).code, 0);
    // Nothing waits before what is written then.
    alice.ok(&["chat", "send", "bob", "after"]);
    let texts = received(&bob);
    assert_eq!(texts.len(), 4);
    assert_eq!((&*texts[0], &*texts[3]), ("alice: hello", "alice: after"));
    assert_eq!(texts[1].len(), "alice: ".len() + long.len());
}

/// What stands between the clients and the server: while it is broken it answers each request as
/// nginx does when its upstream is gone, and cuts off what was open.
struct Gate {
    url: String,
    broken: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    /// The real server, reached through a gate that is its origin.
    fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = served_as(name, None, Some(url.clone()));
        let to = server.strip_prefix("http://").unwrap().to_owned();
        let (broken, open): (Arc<AtomicBool>, Arc<Mutex<Vec<TcpStream>>>) = Default::default();
        let gate = Self { url, broken: broken.clone(), open: open.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (broken, open, to) = (broken.clone(), open.clone(), to.clone());
                thread::spawn(move || Self::connection(client, &to, &broken, &open));
            }
        });
        gate
    }

    fn connection(
        mut client: TcpStream,
        to: &str,
        broken: &AtomicBool,
        open: &Mutex<Vec<TcpStream>>,
    ) {
        if broken.load(Ordering::Relaxed) {
            let mut head = [0; 4096];
            let _ = client.read(&mut head);
            let html = "<html><head><title>502 Bad Gateway</title></head></html>";
            let length = html.len();
            let _ = write!(
                client,
                "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{html}"
            );
            return;
        }
        let Ok(mut server) = TcpStream::connect(to) else { return };
        open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from, &mut into));
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    }

    fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
        if broken {
            for stream in self.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

#[test]
fn an_answer_in_html_ends_no_listener() {
    let gate = Gate::start("chat-html");
    let alice = join("chat-html-alice", "alice", &gate.url);
    let bob = join("chat-html-bob", "bob", &gate.url);
    alice.ok(&["chat", "send", "bob", "before"]);
    let conversation = alice.ok(&["chat", "list"])["conversation"].as_str().unwrap().to_owned();
    let mut at_bob = Listener::start(&bob);
    assert_eq!(at_bob.text(), "alice: before");
    gate.set_broken(true);
    // A proxy's trouble is the network's, not the user's: the text is kept.
    alice.run(&["chat", "send", &conversation, "meanwhile"]).fails(5, "http_status");
    let once = alice.run(&["chat", "listen", "--once"]);
    assert!(once.code == 5 && once.stdout.contains("http_status"), "{}", once.stdout);
    thread::sleep(Duration::from_secs(1));
    gate.set_broken(false);
    received(&alice);
    assert_eq!(at_bob.text(), "alice: meanwhile");
    alice.ok(&["chat", "send", "bob", "after"]);
    assert_eq!(at_bob.text(), "alice: after");
}

#[test]
fn a_second_machine_and_its_end() {
    let server = server("chat-devices");
    let alice = join("chat-devices-alice", "alice", &server);
    let laptop = join("chat-devices-laptop", "bob", &server).native();
    alice.ok(&["chat", "send", "bob", "one"]);
    assert_eq!(received(&laptop), ["alice: one"]);
    laptop.ok(&["chat", "send", "alice", "I am here"]);
    assert_eq!(received(&alice), ["bob: I am here"]);
    // A second machine with the same key and chain registers itself.
    let tablet = User::new("chat-devices-tablet", CONFIG).native();
    let secret = laptop.run(&["key", "export", "default"]).json()["secret"].clone();
    let import = ["key", "import", "-", "--no-passphrase"];
    assert_eq!(tablet.run_with(secret.as_str().unwrap(), &import).code, 0);
    let chain = laptop.bundle();
    assert_eq!(tablet.run_with(&chain, &["sigchain", "import", "-"]).code, 0);
    let device = register(&tablet, "bob", &server)["device"].as_str().unwrap().to_owned();
    // The first one takes it in as soon as it looks.
    assert!(received(&laptop).is_empty());
    alice.ok(&["chat", "send", "bob", "two"]);
    assert_eq!(received(&tablet), ["alice: two"]);
    tablet.ok(&["chat", "send", "alice", "three"]);
    assert_eq!(received(&alice), ["bob: three"]);
    assert_eq!(received(&laptop), ["alice: two", "bob: three"]);
    assert_eq!(lines(&alice, &["chat", "devices", "bob"]).len(), 2);
    // Revoked on the chain, it is shut out from the next message on.
    let chain = tablet.bundle();
    assert_eq!(laptop.run_with(&chain, &["sigchain", "import", "-"]).code, 0);
    laptop.ok(&["sigchain", "revoke-device", &device]);
    lines(&laptop, &["chat", "list"]);
    alice.ok(&["chat", "send", "bob", "four"]);
    assert_eq!(received(&laptop), ["alice: four"]);
    tablet.run(&["chat", "listen", "--once"]).fails(3, "device_revoked");
    tablet.run(&["chat", "send", "alice", "five"]).fails(3, "device_revoked");
    assert_eq!(lines(&alice, &["chat", "list"])[0]["devices"], 2);
}

#[test]
fn a_device_moves_to_another_machine() {
    let server = server("chat-move");
    let alice = join("chat-move-alice", "alice", &server);
    let bob = join("chat-move-bob", "bob", &server).native();
    bob.ok(&["chat", "send", "alice", "one"]);
    assert_eq!(received(&alice), ["bob: one"]);
    let file = folder("chat-move-file").join("device");
    let path = file.to_str().unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "somebody's").unwrap();
    alice.run_with("words", &["chat", "export", path, "--passphrase-file", "-"]).fails(2, "usage");
    std::fs::remove_file(&file).unwrap();
    alice
        .run_with("", &["chat", "export", path, "--passphrase-file", "-"])
        .fails(2, "passphrase_needed");
    alice.ok(&["chat", "send", "bob", "two"]);

    let export =
        |user: &User| user.run_with("words", &["chat", "export", path, "--passphrase-file", "-"]);
    let run = export(&alice);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["schema"], "kez.chat.moved/1");
    alice.run(&["chat", "send", "bob", "from the grave"]).fails(2, "state_refused");
    alice
        .run(&["chat", "register", "alice", "--server", &server, "--no-passphrase"])
        .fails(2, "state_refused");
    // A file that was lost can be had again.
    let moving: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(moving["key"].as_str().unwrap().contains("\"encrypted\""));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(export(&alice).code, 0);

    bob.ok(&["chat", "send", "alice", "three"]);
    let machine = User::new("chat-move-machine", CONFIG).native();
    let import = |user: &User, words: &str| {
        user.run_with(words, &["chat", "import", path, "--passphrase-file", "-"])
    };
    import(&machine, "other words").fails(2, "passphrase_wrong");
    // Folders are named after what the file says.
    let good = std::fs::read(&file).unwrap();
    for (member, value, code) in [
        ("handle", "../../out", "handle_refused"),
        ("server", "https://x/../../out", "url_refused"),
        ("state", "AAAA", "state_refused"),
    ] {
        let mut forged = moving.clone();
        forged[member] = value.into();
        std::fs::write(&file, forged.to_string()).unwrap();
        let run = import(&machine, "words");
        assert_eq!(run.json()["code"], code, "{}", run.stdout);
    }
    std::fs::write(&file, good).unwrap();
    machine.run(&["chat", "list"]).fails(2, "usage");
    let run = import(&machine, "words");
    assert_eq!(run.code, 0, "{}", run.stderr);
    import(&machine, "words").fails(2, "state_refused");
    import(&alice, "words").fails(2, "state_refused");
    let with_passphrase = |args: &[&str]| {
        let run = machine.run_with("words", &[args, &["--passphrase-file", "-"]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        texts(&run.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect::<Vec<_>>())
    };
    assert_eq!(with_passphrase(&["chat", "listen", "--once"]), ["bob: three"]);
    with_passphrase(&["chat", "send", "bob", "four"]);
    let all = ["bob: one", "alice: two", "bob: three", "alice: four"];
    assert_eq!(with_passphrase(&["chat", "history", "bob"]), all);
    assert_eq!(received(&bob), ["alice: two", "alice: four"]);

    // What is no such file, and what leads out of the folder.
    std::fs::write(&file, "{}").unwrap();
    import(&machine, "words").fails(2, "state_refused");
    std::fs::remove_file(&file).unwrap();
    import(&machine, "words").fails(2, "storage_failed");
}

#[test]
fn a_group() {
    let server = server("chat-group");
    let names = ["alice", "bob", "carol", "dave"];
    let users: Vec<User> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let user = join(&format!("chat-group-{name}"), name, &server);
            if n % 2 == 0 { user } else { user.native() }
        })
        .collect();
    users[0].ok(&["chat", "group", "The Four", "bob", "carol"]);
    users[0].ok(&["chat", "send", "The Four", "welcome"]);
    assert_eq!(received(&users[1]), ["alice: welcome"]);
    // An invitation is accepted by its id: anyone can name a group as they like.
    users[1].run(&["chat", "send", "The Four", "thanks"]).fails(2, "conversation_unknown");
    let id = lines(&users[1], &["chat", "list"])[0]["conversation"].as_str().unwrap().to_owned();
    users[1].ok(&["chat", "send", &id[..12], "thanks"]);
    assert_eq!(received(&users[2]), ["alice: welcome", "bob: thanks"]);
    users[2].ok(&["chat", "send", &id, "thanks"]);
    assert_eq!(received(&users[0]), ["bob: thanks", "carol: thanks"]);
    users[1].run(&["chat", "add", "The Four", "dave"]).fails(1, "commit_refused");
    assert_eq!(users[0].run(&["chat", "add", "The Four", "dave"]).code, 0);
    assert_eq!(users[0].run(&["chat", "remove", "The Four", "bob"]).code, 0);
    received(&users[3]);
    users[3].ok(&["chat", "send", &id, "hello all"]);
    assert_eq!(received(&users[2]), ["dave: hello all"]);
    assert_eq!(received(&users[1]), ["carol: thanks"]);
    users[1].run(&["chat", "send", "The Four", "still here?"]).fails(2, "conversation_unknown");
    // Who leaves is out, with what is written next; the last admin hands on.
    assert_eq!(users[3].run(&["chat", "leave", "The Four"]).code, 0);
    users[3].run(&["chat", "send", "The Four", "no"]).fails(2, "conversation_unknown");
    users[0].ok(&["chat", "send", "The Four", "we two"]);
    assert_eq!(received(&users[2]), ["alice: we two"]);
    assert_eq!(lines(&users[2], &["chat", "list"])[0]["devices"], 2);
    assert_eq!(users[0].run(&["chat", "leave", "The Four"]).code, 0);
    received(&users[2]);
    assert_eq!(users[2].run(&["chat", "add", "The Four", "bob"]).code, 0);
    users[2].ok(&["chat", "send", "The Four", "welcome back"]);
    assert_eq!(received(&users[1]), ["carol: welcome back"]);
}

#[test]
fn a_group_cannot_take_a_persons_name() {
    let server = server("chat-names");
    let [alice, bob, mallory] = ["alice", "bob", "mallory"]
        .map(|handle| join(&format!("chat-names-{handle}"), handle, &server));
    for name in ["bob", "nobody"] {
        let group = mallory.ok(&["chat", "group", name, "alice"]);
        mallory.ok(&["chat", "send", group["conversation"].as_str().unwrap(), "welcome"]);
    }
    assert_eq!(received(&alice), ["mallory: welcome", "mallory: welcome"]);
    // With and without a conversation with bob.
    for n in 0..2 {
        let sent = alice.ok(&["chat", "send", "bob", &format!("secret {n}")]);
        assert_eq!((&sent["kind"], &sent["to"]), (&"direct".into(), &"bob".into()));
    }
    assert_eq!(received(&bob), ["alice: secret 0", "alice: secret 1"]);
    assert_eq!(received(&mallory), [""; 0]);
    assert_eq!(history(&alice, "bob"), ["alice: secret 0", "alice: secret 1"]);
    // A group that is only an invitation is not meant by its name, not even by one that is free.
    alice.run(&["chat", "send", "nobody", "?"]).fails(2, "conversation_unknown");
    let all = lines(&alice, &["chat", "list"]);
    let group = all.iter().find(|c| c["name"] == "nobody").unwrap();
    let sent = alice.ok(&["chat", "send", group["conversation"].as_str().unwrap(), "yes"]);
    assert_eq!((&sent["kind"], &sent["to"]), (&"group".into(), &"nobody".into()));
    let sent = alice.ok(&["chat", "send", "nobody", "again"]);
    assert_eq!(sent["to"], "nobody");
}

#[test]
fn a_blocked_handle_is_not_heard() {
    let server = server("block-server");
    let alice = join("block-alice", "alice", &server);
    let eve = join("block-eve", "eve", &server).native();
    alice.ok(&["chat", "send", "eve", "hello"]);
    assert_eq!(received(&eve), ["alice: hello"]);
    assert_eq!(alice.run(&["chat", "block", "eve"]).code, 0);
    assert_eq!(alice.ok(&["chat", "block"])["blocked"], json!(["eve"]));
    eve.run(&["chat", "send", "alice", "buy this"]).fails(5, "quota_exceeded");
    assert_eq!(received(&alice), [""; 0]);
    assert_eq!(alice.run(&["chat", "unblock", "eve"]).code, 0);
    assert_eq!(alice.ok(&["chat", "block"])["blocked"], json!([]));
    eve.ok(&["chat", "send", "alice", "sorry"]);
    assert!(received(&alice).contains(&"eve: sorry".to_owned()));
}

#[test]
fn what_goes_wrong_is_told() {
    let server = server("chat-errors");
    let alice = join("chat-errors-alice", "alice", &server);
    let nobody = User::new("chat-errors-nobody", CONFIG);
    nobody.run(&["chat", "send", "alice", "hello"]).fails(2, "usage");
    nobody.key("default", "nostr");
    let taken = ["chat", "register", "alice", "--server", &server, "--no-passphrase"];
    nobody.run(&taken).fails(2, "handle_taken");
    assert_eq!(nobody.run(&["chat", "register", "Alice!", "--server", &server]).code, 2);
    alice.run(&["chat", "send", "stranger", "hello"]).fails(1, "handle_unknown");
    alice.run(&["chat", "history", "stranger"]).fails(2, "conversation_unknown");
    alice.run(&["chat", "send", "alice2!", "hello"]).fails(2, "handle_refused");
    // A server that is not there: what is written to a conversation waits.
    let gone = ["chat", "register", "x", "--server", "http://127.0.0.1:1", "--no-passphrase"];
    let lost = User::new("chat-errors-lost", CONFIG);
    lost.key("default", "ed25519");
    lost.run(&gone).fails(5, "connect_failed");
    // Run again where there is one, it goes on with the same device.
    let gone = lost.run(&["sigchain", "show"]).json();
    register(&lost, "lost", &server);
    let now = lost.run(&["sigchain", "show"]).json();
    assert_eq!(gone["devices"], now["devices"]);
}

/// A page in Chromium, until it is dropped.
struct Page {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Page {
    fn open(url: &str, profile: &str) -> Self {
        let mut driver = xtask::npm::driver(url, &folder(profile));
        let mut child = driver.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut page = Self { child, input, lines };
        assert_eq!(page.answer(), "ready");
        page
    }

    fn answer(&mut self) -> Value {
        let line = self.lines.next().expect("the page is gone").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Does something on the page, and gives its value.
    fn run(&mut self, expression: &str) -> Value {
        writeln!(self.input, "{expression}").unwrap();
        let value = self.answer();
        assert!(value["failed"].is_null(), "{expression}: {value}");
        value
    }

    fn waits_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.run("page.shown()").as_array().unwrap().contains(&text.into()) {
            let late = start.elapsed() > Duration::from_secs(20);
            assert!(!late, "{text} does not come; the page: {}", self.run("page.states()"));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_page_in_chromium_talks_with_the_commands() {
    let server = serving("chat-page", Some(xtask::npm::chat_page().unwrap()));
    let alice = join("chat-page-alice", "alice", &server);
    let bob = join("chat-page-bob", "bob", &server).native();
    let mut page = Page::open(&server, "chat-page-profile");
    assert_eq!(page.run("page.open('carol')"), true);
    assert_eq!(page.run("page.register('carol')")["handle"], "carol");
    // The first message comes while the page does not listen.
    alice.ok(&["chat", "send", "carol", "hello"]);
    page.run("page.listen()");
    page.waits_for("hello");
    page.run("page.send('alice', 'hi from the page')");
    assert_eq!(received(&alice), ["carol: hi from the page"]);
    // Both directions at once, pushed.
    let mut listener = Listener::start(&bob);
    page.run("page.send('bob', 'from the page')");
    bob.ok(&["chat", "send", "carol", "from the terminal"]);
    assert_eq!(listener.text(), "carol: from the page");
    page.waits_for("from the terminal");
    drop(listener);
    // It was pushed, over the one stream that the page opened.
    assert_eq!(page.run("page.states()"), json!(["open"]));
    // All three in a group that the page begins.
    let group = page.run("page.group('three', ['alice', 'bob'])");
    let write = |text: &str| format!("page.write({group}, '{text}')");
    page.run(&write("to both"));
    for user in [&alice, &bob] {
        assert!(received(user).contains(&"carol: to both".into()));
        user.ok(&["chat", "send", "three", "thanks"]);
    }
    let start = Instant::now();
    let thanks = |page: &mut Page| {
        let shown = page.run("page.shown()");
        shown.as_array().unwrap().iter().filter(|text| **text == "thanks").count()
    };
    while thanks(&mut page) < 2 {
        let late = start.elapsed() > Duration::from_secs(20);
        assert!(!late, "the thanks do not come; the page: {}", page.run("page.states()"));
        thread::sleep(Duration::from_millis(50));
    }
    let image = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chat-page.png");
    page.run(&format!("screenshot {}", image.display()));
    assert!(std::fs::metadata(&image).unwrap().len() > 5000);
    // The same safety number on both sides.
    let number = page.run("page.safety('alice')")["number"].clone();
    assert_eq!(alice.ok(&["chat", "verify", "carol"])["number"], number);
    // Loaded anew at any moment, nothing is lost or there twice.
    for n in 0..5 {
        alice.ok(&["chat", "send", "carol", &format!("reload {n}")]);
        thread::sleep(Duration::from_millis(20 * n));
        page.run("reload");
        assert_eq!(page.run("page.open('carol')"), false);
        page.run("page.listen()");
    }
    // Moved, it goes on with all that it had, and is over where it was.
    page.run("reload");
    page.run("page.open('carol')");
    let moved = page.run("page.move('carol-moved')");
    assert_eq!(moved, json!([["moved"], "state_refused"]));
    page.run("page.listen()");
    // While the client is at work, what is signed at once is.
    let signed = page.run(&format!("[{}, page.nats('pX0x9vTkq8LzY2w')][1]", write("after all")));
    let signed = Credentials::from_nats(signed.as_str().unwrap()).unwrap();
    let connection = Request {
        origin: &server,
        method: NATS,
        path: &nats_path("pX0x9vTkq8LzY2w").unwrap(),
        binds: Binds::Nothing,
        at_ms: signed.at_ms,
    };
    assert_eq!(signed.verify(&connection, signed.at_ms), Ok(()));
    page.waits_for("after all");
    let mut texts: Vec<String> = serde_json::from_value(page.run("page.texts()")).unwrap();
    let mut expected: Vec<String> = (0..5).map(|n| format!("reload {n}")).collect();
    for text in [
        "hello",
        "hi from the page",
        "from the page",
        "from the terminal",
        "to both",
        "thanks",
        "thanks",
        "after all",
    ] {
        expected.push(text.into());
    }
    texts.sort();
    expected.sort();
    assert_eq!(texts, expected);
    // What lies on the page's disk is encrypted.
    let dump = page.run("page.dump()");
    let dump = dump.as_str().unwrap();
    assert!(dump.len() > 10_000);
    for text in ["hello", "from the page", "alice"] {
        assert!(!dump.contains(text), "{text}");
    }
}
