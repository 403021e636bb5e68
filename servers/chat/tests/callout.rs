//! Devices on the operator's NATS itself: a real nats-server asks a real chat server whom to let in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use common::{
    Person, Server, base64,
    client::{Seat, run},
    now_ms,
    several::{Front, command, folders},
    unbase64,
};
use futures_util::StreamExt as _;
use kez_chat_server::{callout::Keys, store::subject};
use kez_core::chat::{
    Handle,
    auth::{Binds, NATS, Request, nats_path, nats_signature},
};
use kez_server::testing::{Nats, port};
use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A NATS whose operator lets devices in, and where its keys are.
struct Operator {
    nats: Nats,
    keys: PathBuf,
    websocket: u16,
    _dir: TempDir,
}

impl Operator {
    /// With what `kez-chat-server callout` says, as an operator puts it into `nats.conf`.
    fn start() -> Self {
        Self::with(|config| config)
    }

    /// With that, and what becomes of it.
    fn with(change: impl Fn(String) -> String) -> Self {
        let dir = TempDir::new().unwrap();
        let keys = dir.path().join("callout.keys");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        let output = command.arg("callout").env("NATS_CALLOUT", &keys).output().unwrap();
        assert!(output.status.success());
        let config = String::from_utf8(output.stdout).unwrap();
        assert_eq!(config.trim_end(), Keys::open(&keys).unwrap().config());
        let own =
            "accounts {\n  KEZ { jetstream: enabled, users: [ { user: kez, password: kez } ] }";
        let config = config.replacen("accounts {", own, 1);
        let config = config.replacen("auth_users: [ ", "auth_users: [ kez, ", 1);
        let (config, websocket) = (change(config), port());
        let more =
            format!("{config}websocket {{ listen: \"127.0.0.1:{websocket}\", no_tls: true }}\n");
        let mut nats = Nats::start(1, &more);
        nats.login = "kez:kez@";
        Self { nats, keys, websocket, _dir: dir }
    }

    /// Starts a chat server that lets devices in.
    fn server(&self, front: &Front, data: &TempDir) -> Server {
        self.server_with(front, data, &[])
    }

    fn server_with(&self, front: &Front, data: &TempDir, options: &[&str]) -> Server {
        let keys = self.keys.display().to_string();
        let options = [&["--nats-callout", &keys], options].concat();
        front.start(data.path(), &self.nats, &options).unwrap()
    }

    fn dial(&self) -> Wire<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.nats.port(0))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Wire::greet(stream)
    }

    /// Connects a device.
    fn enter(&self, server: &Server, person: &Person, device: usize) -> Wire<TcpStream> {
        let mut wire = self.dial();
        let token = token(server, person, device, &wire.nonce);
        assert_eq!(wire.connect(&token), Ok(()));
        wire
    }

    /// Who administrates NATS, or has a user of his own there.
    async fn admin(&self) -> async_nats::Client {
        let options =
            async_nats::ConnectOptions::with_user_and_password("kez".into(), "kez".into());
        options.connect(self.nats.url()).await.unwrap()
    }
}

/// What a device sends for a nonce.
fn token(server: &Server, person: &Person, device: usize, nonce: &str) -> String {
    let path = nats_path(nonce).unwrap();
    person.credentials(server, device, NATS, &path, Binds::Nothing).to_nats()
}

/// A connection to NATS, byte by byte.
struct Wire<S> {
    stream: BufReader<S>,
    nonce: String,
}

impl<S: std::io::Read + std::io::Write> Wire<S> {
    fn greet(stream: S) -> Self {
        let mut wire = Self { stream: BufReader::new(stream), nonce: String::new() };
        let line = wire.line();
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        wire.nonce = info["nonce"].as_str().expect("a nonce").to_owned();
        wire
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Whether NATS lets this in.
    fn connect(&mut self, token: &str) -> Result<(), String> {
        let options = json!({
            "verbose": false, "pedantic": false, "lang": "test", "version": "1", "protocol": 1,
            "sig": token,
        });
        self.say(&format!("CONNECT {options}\r\nPING\r\n"));
        self.pong()
    }

    /// Waits for everything that was said to be done.
    fn pong(&mut self) -> Result<(), String> {
        loop {
            match &*self.line() {
                "PONG" => return Ok(()),
                // What the server has to say about itself.
                line if line.starts_with("INFO ") => {}
                "PING" => self.say("PONG\r\n"),
                line => return Err(line.to_owned()),
            }
        }
    }

    /// What happens on a line of the protocol.
    fn attempt(&mut self, line: &str) -> Result<(), String> {
        self.say(&format!("{line}\r\nPING\r\n"));
        let result = self.pong();
        if result.is_err() {
            self.pong().unwrap();
        }
        result
    }

    /// The next message.
    fn message(&mut self) -> Value {
        loop {
            let line = self.line();
            if line == "PING" {
                self.say("PONG\r\n");
                continue;
            }
            let (_, size) = line.strip_prefix("MSG ").expect(&line).rsplit_once(' ').unwrap();
            let mut body = vec![0; size.parse::<usize>().unwrap() + 2];
            self.stream.read_exact(&mut body).unwrap();
            return serde_json::from_slice(&body).unwrap();
        }
    }
}

fn text(item: &Value) -> String {
    String::from_utf8(unbase64(&item["body"])).unwrap()
}

/// KEZ-AUTH-04
#[test]
fn a_device_hears_of_its_own_inbox_and_does_nothing_else() {
    let operator = Operator::start();
    let (front, data) = (Front::new(), &folders(1)[0]);
    let server = operator.server(&front, data);
    front.lead_to([&server]);
    let server = &front.server;
    let (alice, bob) = (Person::join("alice", server), Person::join("bob", server));
    let conversation = alice.converse(server, &[&bob]);

    let mut wire = operator.enter(server, &bob, 0);
    assert_eq!(wire.attempt("SUB kez.chat.inbox.bob 1"), Ok(()));
    for n in 0..30 {
        assert_eq!(alice.message(server, &conversation, &format!("message {n}")).0, 201);
    }
    // What he hears is what the inbox has.
    let items = bob.poll(server, 0);
    assert_eq!(items.len(), 30);
    for item in &items {
        assert_eq!(&wire.message(), item);
    }

    // Hers in a browser's way.
    let socket = tungstenite::connect(format!("ws://127.0.0.1:{}", operator.websocket)).unwrap().0;
    let mut page = Wire::greet(Frames { socket, read: Vec::new() });
    let nonce = page.nonce.clone();
    assert_eq!(page.connect(&token(server, &alice, 0, &nonce)), Ok(()));
    assert_eq!(page.attempt("SUB kez.chat.inbox.alice 1"), Ok(()));
    assert_eq!(bob.message(server, &conversation, "in a page").0, 201);
    assert_eq!(text(&page.message()), "in a page");
    assert_eq!(text(&wire.message()), "in a page");

    for subject in [
        "kez.chat.inbox.alice",
        "kez.chat.inbox.*",
        "kez.chat.inbox.>",
        "kez.chat.inbox",
        "kez.chat.*.bob",
        "kez.chat.log",
        "$KV.KEZ_CHAT.handle.bob",
        "kez.chat.seen",
        "kez.>",
        ">",
        "*",
        "_INBOX.>",
        "_INBOX.x",
        "$SYS.>",
        "$SYS.REQ.USER.AUTH",
        "$JS.EVENT.>",
        "$JS.API.>",
    ] {
        let refused = wire.attempt(&format!("SUB {subject} 2")).unwrap_err();
        assert!(refused.contains("Permissions Violation for Subscription"), "{subject}: {refused}");
    }
    for subject in [
        "kez.chat.inbox.bob",
        "kez.chat.inbox.alice",
        "kez.chat.log",
        "$KV.KEZ_CHAT.handle.bob",
        "kez.chat.seen",
        "_INBOX.x",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.USER.INFO",
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.KEZ_INBOX",
        "$JS.API.CONSUMER.CREATE.KV_KEZ_CHAT",
        "$JS.API.DIRECT.GET.KEZ_INBOX",
    ] {
        let refused = wire.attempt(&format!("PUB {subject} 2\r\n{{}}")).unwrap_err();
        assert!(refused.contains("Permissions Violation for Publish"), "{subject}: {refused}");
    }
    // And all of it left the connection as it was.
    assert_eq!(alice.message(server, &conversation, "still there").0, 201);
    assert_eq!(text(&wire.message()), "still there");
}

/// What comes by NATS a client takes as it does what a stream pushes.
#[test]
fn a_client_chats_by_what_it_hears() {
    let operator = Operator::start();
    let (front, data) = (Front::new(), &folders(1)[0]);
    let running = operator.server(&front, data);
    front.lead_to([&running]);
    let (_, mut alice) = Seat::join("alice", &front.server);
    let (_, mut bob) = Seat::join("bob", &front.server);
    let mut wire = operator.dial();
    let (device, origin) = (bob.client.device().secret(), &bob.client.account().server);
    let signature = nats_signature(device, origin, &wire.nonce, now_ms()).unwrap();
    assert_eq!(wire.connect(&signature), Ok(()));
    assert_eq!(wire.attempt(&format!("SUB {} 1", subject("bob"))), Ok(()));
    for text in ["hello", "are you there?"] {
        alice.write("bob", text).unwrap();
    }
    while bob.texts().len() < 2 {
        run(bob.client.pushed(wire.message().to_string().as_bytes())).unwrap();
    }
    assert_eq!(bob.texts(), ["hello", "are you there?"]);
    assert_eq!(bob.refused(), []);
}

/// A client as others have it, which comes back by itself when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_and_comes_back_with_a_new_signature() {
    let operator = Operator::start();
    let (front, data) = (Front::new(), &folders(1)[0]);
    let running = operator.server_with(&front, data, &["--stream-life", "2"]);
    front.lead_to([&running]);
    let server = &front.server;
    let mut bob = Person::join("bob", server);
    bob.add_device();
    assert_eq!(bob.put_chain(server).0, 204);
    let conversation = bob.converse(server, &[]);
    let mut wire = operator.enter(server, &bob, 0);

    let (device, origin) = (bob.devices.remove(1), server.url().to_owned());
    let signed = Arc::new(AtomicUsize::new(0));
    let count = signed.clone();
    let options = async_nats::ConnectOptions::with_auth_callback(move |nonce| {
        count.fetch_add(1, Ordering::Relaxed);
        let path = nats_path(str::from_utf8(&nonce).unwrap()).unwrap();
        let at_ms = now_ms();
        let request =
            Request { origin: &origin, method: NATS, path: &path, binds: Binds::Nothing, at_ms };
        let mut auth = async_nats::Auth::new();
        auth.signature = Some(request.sign(&device).unwrap().to_header().into());
        async { Ok(auth) }
    });
    let client = options.connect(operator.nats.url()).await.unwrap();
    let mut inbox = client.subscribe(subject("bob")).await.unwrap();
    client.flush().await.unwrap();
    let start = Instant::now();
    let (mut sent, mut heard) = (0, 0);
    while start.elapsed() < Duration::from_secs(9) {
        assert_eq!(bob.message(server, &conversation, "hello").0, 201);
        sent += 1;
        let next = tokio::time::timeout(Duration::from_millis(100), inbox.next()).await;
        heard += usize::from(next.is_ok());
    }
    let signed = signed.load(Ordering::Relaxed);
    assert!((3..=6).contains(&signed), "{signed} signatures");
    assert!(heard > sent / 2, "{heard} of {sent}");
    let ended = wire.pong().unwrap_err();
    assert_eq!(ended, "-ERR 'User Authentication Expired'");
}

/// What a WebSocket carries, as a stream.
struct Frames {
    socket: tungstenite::WebSocket<tungstenite::stream::MaybeTlsStream<TcpStream>>,
    read: Vec<u8>,
}

impl std::io::Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.read.is_empty() {
            let message = self.socket.read().map_err(std::io::Error::other)?;
            self.read = message.into_data().to_vec();
        }
        let size = buffer.len().min(self.read.len());
        buffer[..size].copy_from_slice(&self.read[..size]);
        self.read.drain(..size);
        Ok(size)
    }
}

impl std::io::Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let message = tungstenite::Message::binary(bytes.to_vec());
        self.socket.send(message).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// No handle makes more of a subject than its last token.
#[test]
fn a_subject_has_one_token_of_a_handle() {
    for text in
        [">", "*", "a.b", "a b", "a\tb", "", ".", "a.>", "bob.*", "BOB", "b\u{f6}b", "a\r\nb"]
    {
        assert!(text.parse::<Handle>().is_err(), "{text:?}");
    }
    let plain = ('a'..='z').chain('0'..='9').chain(['-', '_']);
    let handles = plain.flat_map(|c| [format!("a{c}a"), format!("{c}aa"), format!("aa{c}")]);
    let handles: Vec<Handle> = handles.filter_map(|text| text.parse().ok()).collect();
    assert!(handles.len() > 100);
    for handle in handles {
        let subject = subject(handle.as_str());
        assert_eq!(subject.split('.').collect::<Vec<_>>()[..3], ["kez", "chat", "inbox"]);
        assert_eq!(subject.split('.').count(), 4);
        assert!(!subject.contains(['*', '>', ' ']), "{subject}");
    }
}

/// KEZ-AUTH-03, KEZ-AUTH-04
#[test]
fn whoever_is_no_device_stays_out() {
    let operator = Operator::start();
    let front = Front::new();
    let dirs = folders(2);
    let servers: Vec<_> = dirs.iter().map(|data| operator.server(&front, data)).collect();
    front.lead_to(&servers);
    let server = &front.server;
    let mut bob = Person::join("bob", server);
    bob.add_device();
    assert_eq!(bob.put_chain(server).0, 204);
    let mut wire = operator.enter(server, &bob, 1);
    assert_eq!(wire.attempt("SUB kez.chat.inbox.bob 1"), Ok(()));

    let refused = |token: &dyn Fn(&str) -> String| {
        let mut wire = operator.dial();
        let token = token(&wire.nonce.clone());
        let refused = wire.connect(&token).unwrap_err();
        assert_eq!(refused, "-ERR 'Authorization Violation'", "{token}");
    };
    // Used at another connection: that has another nonce.
    let mut first = operator.dial();
    let used = token(server, &bob, 0, &first.nonce);
    assert_eq!(first.connect(&used), Ok(()));
    refused(&|_| used.clone());
    refused(&|_| String::new());
    refused(&|_| base64(b"KEZ device=00,ts=1,sig=00"));
    refused(&|_| base64(b"Bearer x"));
    // Nobody's device.
    let stranger = Person::new("bob");
    refused(&|nonce| token(server, &stranger, 0, nonce));
    // Signed for something else.
    let sign = |method, path: &str| bob.credentials(server, 0, method, path, Binds::Nothing);
    refused(&|nonce| sign("GET", &format!("/{nonce}")).to_nats());
    refused(&|_| sign("GET", "/v1/inbox/bob/stream").to_nats());
    // What it is for a header.
    refused(&|nonce| sign(NATS, &format!("/{nonce}")).to_header());
    // And for this, it is good for nothing else.
    let url = format!("{}/v1/keypackages", server.url());
    let header = sign(NATS, "/v1/keypackages").to_header();
    assert_eq!(common::send("GET", &url, Some(&header), None).code(), "auth_refused");
    // A hostile NATS gets no other text signed.
    for nonce in ["", "a\nb", "KEZ1-AUTH\n", "a/b", &"a".repeat(65)] {
        assert_eq!(nats_path(nonce).unwrap_err().code(), kez_core::Code::AuthRefused);
    }

    // Revoked at one server, shut out by the other at once.
    bob.revoke(1);
    assert_eq!(bob.put_chain(server).0, 204);
    for _ in 0..6 {
        refused(&|nonce| token(server, &bob, 1, nonce));
    }
    drop(operator.enter(server, &bob, 0));
}

#[test]
fn a_signature_counts_once_at_all_servers() {
    let operator = Operator::start();
    let front = Front::new();
    let dirs = folders(3);
    let servers: Vec<_> = dirs.iter().map(|data| operator.server(&front, data)).collect();
    front.lead_to(&servers);
    let bob = Person::join("bob", &front.server);
    let path = "/v1/keypackages";
    let sign = || bob.credentials(&front.server, 0, "GET", path, Binds::Nothing).to_header();
    let used = sign();
    let send = |n: usize, auth: &str| {
        common::send("GET", &format!("{}{path}", servers[n].url()), Some(auth), None)
    };
    assert_eq!(send(0, &used).0, 200);
    // What the first tells the others is on its way.
    thread::sleep(Duration::from_millis(500));
    for n in 0..3 {
        assert_eq!(send(n, &used).code(), "auth_refused");
        assert_eq!(send(n, &sign()).0, 200);
    }
}

#[test]
fn without_an_answer_nobody_comes_in() {
    let operator = Operator::start();
    let front = Front::new();
    let dirs = folders(2);
    let mut servers: Vec<_> = dirs.iter().map(|data| operator.server(&front, data)).collect();
    front.lead_to(&servers);
    let bob = Person::join("bob", &front.server);
    drop(operator.enter(&front.server, &bob, 0));
    let shut = || {
        let start = Instant::now();
        let mut wire = operator.dial();
        let token = token(&front.server, &bob, 0, &wire.nonce);
        let refused = wire.connect(&token).unwrap_err();
        assert!(refused.starts_with("-ERR 'Auth"), "{refused}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    };
    // One of two is enough.
    servers.pop().unwrap().0.kill();
    front.lead_to(&servers);
    // Who asks in the moment of its death asks again.
    let again = || {
        let start = Instant::now();
        loop {
            let mut wire = operator.dial();
            let token = token(&front.server, &bob, 0, &wire.nonce);
            if wire.connect(&token).is_ok() {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "nobody is let in");
            thread::sleep(Duration::from_millis(200));
        }
    };
    again();
    for _ in 0..4 {
        drop(operator.enter(&front.server, &bob, 0));
    }
    // It stands still, and then it is gone.
    let id = servers[0].0.child.id().to_string();
    let signal =
        |name| assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    signal("STOP");
    shut();
    signal("CONT");
    again();
    servers.pop().unwrap().0.kill();
    shut();
    let server = operator.server(&front, &dirs[0]);
    front.lead_to([&server]);
    drop(operator.enter(&front.server, &bob, 0));
}

/// What NATS asks, made by hand.
struct Asker {
    server: KeyPair,
    curve: XKey,
    user: KeyPair,
    callout: XKey,
}

impl Asker {
    fn claims(&self, token: &str, nonce: &str) -> Value {
        let now = common::now().seconds();
        json!({
            "iss": self.server.public_key(),
            "sub": "KEZ_CALLOUT",
            "aud": "nats-authorization-request",
            "iat": now,
            "exp": now + 2,
            "nats": {
                "server_id": { "id": self.server.public_key(), "xkey": self.curve.public_key() },
                "user_nkey": self.user.public_key(),
                "client_info": { "host": "127.0.0.1", "nonce": nonce },
                "connect_opts": { "sig": token },
                "type": "authorization_request",
                "version": 2,
            },
        })
    }

    /// Encrypted, and signed by a key.
    fn request(&self, claims: &Value, key: &KeyPair) -> Vec<u8> {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let text = format!("{}.{}", encode(&header), encode(claims));
        let text = format!("{text}.{}", base64(&key.sign(text.as_bytes()).unwrap()));
        self.curve.seal(text.as_bytes(), &self.callout).unwrap()
    }
}

/// The claims of a token of this issuer.
fn claims(token: &str, issuer: &str) -> Value {
    let (text, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    KeyPair::from_public_key(issuer).unwrap().verify(text.as_bytes(), &signature).unwrap();
    let (_, claims) = text.split_once('.').unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], issuer);
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_questions_get_no_answer_and_answers_are_for_one_question() {
    // NATS lets nobody ask in its place. Here it asks nobody, and others may.
    let operator = Operator::with(|config| {
        let (accounts, _) = config.split_once("authorization").unwrap();
        accounts.to_owned()
    });
    let (front, data) = (Front::new(), &folders(1)[0]);
    let server = operator.server(&front, data);
    front.lead_to([&server]);
    let server = &front.server;
    let bob = Person::join("bob", server);

    let seeds = fs::read_to_string(&operator.keys).unwrap();
    let [issuer, user, curve] = seeds.trim().split(' ').collect::<Vec<_>>().try_into().unwrap();
    let issuer = KeyPair::from_seed(issuer).unwrap().public_key();
    let callout = XKey::from_public_key(&XKey::from_seed(curve).unwrap().public_key()).unwrap();
    let new = || Asker {
        server: KeyPair::new_server(),
        curve: XKey::new(),
        user: KeyPair::new_user(),
        callout: callout.clone(),
    };
    let asker = new();
    // As somebody who has come into the callout's own account, where it is decided.
    let inside = async_nats::ConnectOptions::with_nkey(user.to_owned());
    let inside = inside.connect(operator.nats.url()).await.unwrap();
    let ask = async |client: &async_nats::Client, xkey: Option<&str>, body: Vec<u8>| {
        let mut headers = async_nats::HeaderMap::new();
        if let Some(xkey) = xkey {
            headers.insert("Nats-Server-Xkey", xkey);
        }
        let subject = "$SYS.REQ.USER.AUTH";
        let request = client.request_with_headers(subject, headers, body.into());
        let answer = tokio::time::timeout(Duration::from_millis(400), request).await;
        answer.ok().and_then(Result::ok).map(|message| message.payload.to_vec())
    };
    let xkey = asker.curve.public_key();
    let good = || asker.claims(&token(server, &bob, 0, "nonce"), "nonce");

    // From the account of others there is no way to it.
    let outside = operator.admin().await;
    let question = asker.request(&good(), &asker.server);
    assert_eq!(ask(&outside, Some(&xkey), question.clone()).await, None);
    // It is a good one, which the rest is measured by.
    let answer = ask(&inside, Some(&xkey), question.clone()).await.expect("an answer");
    let text = asker.curve.open(&answer, &callout).unwrap();
    let answer = claims(str::from_utf8(&text).unwrap(), &issuer);
    let now = common::now().seconds();
    assert_eq!(answer["sub"], asker.user.public_key());
    assert_eq!(answer["aud"], asker.server.public_key());
    let ends = |token: &Value| token["exp"].as_i64().unwrap() - now;
    assert!((0..=30).contains(&ends(&answer)));
    assert_eq!(answer["nats"]["error"], Value::Null);
    let admitted = claims(answer["nats"]["jwt"].as_str().unwrap(), &issuer);
    assert_eq!(admitted["sub"], asker.user.public_key());
    assert_eq!((&admitted["aud"], &admitted["name"]), (&json!("KEZ"), &json!("bob")));
    assert!((0..=300).contains(&ends(&admitted)));
    assert_ne!(answer["jti"], admitted["jti"]);
    assert_eq!(admitted["nats"]["sub"], json!({ "allow": ["kez.chat.inbox.bob"] }));
    assert_eq!(admitted["nats"]["pub"], json!({ "deny": [">"] }));
    assert_eq!(admitted["nats"]["resp"], Value::Null);
    // Nobody else reads it, and it is not the same twice.
    assert!(new().curve.open(&text, &callout).is_err());
    let again = ask(&inside, Some(&xkey), question.clone()).await.expect("an answer");
    let again = asker.curve.open(&again, &callout).unwrap();
    let again = claims(str::from_utf8(&again).unwrap(), &issuer);
    assert_eq!(again["nats"]["error"], "auth_refused", "the device's signature was used");
    assert_eq!(again["nats"]["jwt"], Value::Null);

    // Not encrypted, not for this key, not by the one who is named.
    assert_eq!(ask(&inside, None, question.clone()).await, None);
    let plain = asker.request(&good(), &asker.server);
    let plain = XKey::from_seed(curve).unwrap().open(&plain, &asker.curve).unwrap();
    assert_eq!(ask(&inside, None, plain.clone()).await, None);
    assert_eq!(ask(&inside, Some(&xkey), plain).await, None);
    let other = new();
    assert_eq!(ask(&inside, Some(&other.curve.public_key()), question.clone()).await, None);
    let stolen = other.request(&good(), &asker.server);
    assert_eq!(ask(&inside, Some(&other.curve.public_key()), stolen).await, None);
    assert_eq!(ask(&inside, Some(&xkey), Vec::new()).await, None);
    assert_eq!(ask(&inside, Some(&xkey), vec![0; 100_000]).await, None);
    // Signed by another server, or by a key of another kind.
    let forged = asker.request(&good(), &other.server);
    assert_eq!(ask(&inside, Some(&xkey), forged).await, None);
    let account = KeyPair::new_account();
    let mut by_account = good();
    by_account["iss"] = account.public_key().into();
    by_account["nats"]["server_id"]["id"] = account.public_key().into();
    let forged = asker.request(&by_account, &account);
    assert_eq!(ask(&inside, Some(&xkey), forged).await, None);
    // Something else than is asked, of another time, about nobody.
    let changes: [(&[&str], Value); 9] = [
        (&["aud"], "nats-authorization-response".into()),
        (&["iss"], other.server.public_key().into()),
        (&["exp"], (now - 1).into()),
        (&["iat"], (now - 3600).into()),
        (&["iat"], (now + 3600).into()),
        (&["nats", "type"], "user".into()),
        (&["nats", "server_id", "id"], other.server.public_key().into()),
        (&["nats", "user_nkey"], account.public_key().into()),
        (&["nats", "user_nkey"], "kez.>".into()),
    ];
    for (path, value) in changes {
        let mut changed = good();
        let member = path.iter().fold(&mut changed, |value, name| &mut value[*name]);
        *member = value;
        let forged = asker.request(&changed, &asker.server);
        assert_eq!(ask(&inside, Some(&xkey), forged).await, None, "{changed}");
    }
    // And it still answers.
    let question = asker.request(&good(), &asker.server);
    assert!(ask(&inside, Some(&xkey), question).await.is_some());
}

/// What came into inboxes is published once, in order, whichever server dies, and whatever others
/// publish there.
#[tokio::test(flavor = "multi_thread")]
async fn inboxes_are_published_once_and_in_order() {
    let operator = Operator::start();
    let front = Front::new();
    let dirs = folders(3);
    let mut servers: Vec<_> = dirs.iter().map(|data| Some(operator.server(&front, data))).collect();
    front.lead_to(servers.iter().flatten());
    let server = &front.server;
    let people: Vec<_> = (0..4).map(|n| Person::join(&format!("person{n}"), server)).collect();
    let others: Vec<_> = people[1..].iter().collect();
    let conversation = people[0].converse(server, &others);
    let admin = operator.admin().await;
    let jetstream = async_nats::jetstream::new(admin.clone());
    let (liar, over) = (admin.clone(), Arc::new(AtomicBool::new(false)));
    let told = over.clone();
    let lies = tokio::spawn(async move {
        let mut lies = 0;
        while !told.load(Ordering::Relaxed) {
            liar.publish(subject("person1"), "a lie".into()).await.unwrap();
            lies += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        liar.flush().await.unwrap();
        lies
    });
    for round in 0..6 {
        for n in 0..20 {
            let text = format!("{round}/{n}");
            // Who is asked while it dies does not answer; the conversation has it once or not.
            let _ = people[0].try_message(server, &conversation, &text);
        }
        let gone = round % 3;
        servers[gone].take().unwrap().0.kill();
        front.lead_to(servers.iter().flatten());
        servers[gone] = Some(operator.server(&front, &dirs[gone]));
        front.lead_to(servers.iter().flatten());
    }
    // A copy that is made anew publishes nothing again.
    let anew = TempDir::new().unwrap();
    fs::copy(dirs[0].path().join("cluster.key"), anew.path().join("cluster.key")).unwrap();
    let fourth = operator.server(&front, &anew);
    front.lead_to([&fourth]);
    over.store(true, Ordering::Relaxed);
    let lies = lies.await.unwrap();
    assert_eq!(people[0].message(server, &conversation, "the last one").0, 201);

    let last = people[0].texts(server, 0);
    assert!(last.len() > 90, "{}", last.len());
    let wanted: BTreeMap<_, _> =
        people.iter().map(|person| (person.handle.clone(), person.poll(server, 0))).collect();
    let count: usize = wanted.values().map(Vec::len).sum();
    let all = count + lies;
    let start = Instant::now();
    let stream = loop {
        let mut stream = jetstream.get_stream("KEZ_INBOX").await.unwrap();
        if stream.info().await.unwrap().state.messages >= all as u64 {
            break stream;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", stream.cached_info().state);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // Long enough for whoever would do it again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default())
        .await
        .unwrap();
    let mut messages = consumer.messages().await.unwrap().take(all);
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        if message.payload == "a lie" {
            continue;
        }
        let handle = message.subject.rsplit_once('.').unwrap().1.to_owned();
        found.entry(handle).or_default().push(serde_json::from_slice(&message.payload).unwrap());
    }
    let info = stream.get_info().await.unwrap();
    assert_eq!(info.state.messages, all as u64);
    assert_eq!(found, wanted);
    println!("{count} items published, each once, among {lies} lies; 6 times a server was killed");
}

/// What cannot be is said at the start.
#[test]
fn what_is_missing_is_named() {
    let operator = Operator::start();
    let dir = &folders(1)[0];
    let said = |nats: &str, keys: &std::path::Path| {
        let mut command = command(dir.path(), nats);
        command.env("NATS_CALLOUT", keys).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let damaged = dir.path().join("damaged");
    for text in ["", "SUAA", "SAAA SUAA SXAA"] {
        fs::write(&damaged, text).unwrap();
        assert!(said(&operator.nats.url(), &damaged).contains("the keys are damaged"));
    }
    // Other keys than nats.conf has.
    let others = said(&operator.nats.url(), &dir.path().join("new"));
    assert!(others.contains("`kez-chat-server callout` says what it needs"), "{others}");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
    alone.args(["--data"]).arg(dir.path().join("alone")).env_remove("NATS_URL");
    let alone = alone.env("NATS_CALLOUT", &operator.keys).output().unwrap();
    let alone = String::from_utf8(alone.stderr).unwrap();
    assert!(alone.contains("--nats-callout is for the NATS at NATS_URL"), "{alone}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&operator.keys).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
