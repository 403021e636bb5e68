//! The real server, as a process on a free port, people with devices, and streams.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod client;
pub mod several;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kez_core::{
    Chain, Event, Identity, Op, Reason, Scheme, SecretKey, Target, Timestamp,
    chat::{
        Bundle, CAPABILITY, HandleRecord, SEALED_KEY,
        auth::{Binds, Credentials, Request},
    },
    commitment, hex,
};
use kez_server::testing::{Process, nats_url};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use ureq::Agent;

/// The limits that tests raise, so that they meet only those that they set themselves.
pub const RATES: [&str; 6] = [
    "--address-rate",
    "--address-bytes",
    "--device-rate",
    "--read-rate",
    "--claim-rate",
    "--commit-rate",
];

pub struct Server(pub Process);

impl Server {
    pub fn start(data: &Path, options: &[&str]) -> Self {
        Self::listening(data, "127.0.0.1:0", options)
    }

    /// Starts at an address, such as that of one that is gone, so that its origin is the same.
    pub fn listening(data: &Path, at: &str, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-chat-server"));
        command.args(["--listen", at, "--data"]).arg(data);
        command.envs(nats_url(data).map(|url| ("NATS_URL", url)));
        for rate in RATES {
            if !options.contains(&rate) {
                command.args([rate, "1000000000"]);
            }
        }
        Self(Process::start(command.args(options).stderr(Stdio::null())))
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub fn address(&self) -> &str {
        self.url().strip_prefix("http://").unwrap()
    }

    /// A request that nobody signs.
    pub fn plain(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        send(method, &format!("{}{path}", self.url()), None, body.map(Value::to_string))
    }
}

/// Status and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer(pub u16, pub Value);

impl Answer {
    /// The code of a problem.
    pub fn code(&self) -> &str {
        assert_eq!(self.1["status"], self.0, "{self:?}");
        self.1["code"].as_str().unwrap()
    }
}

pub fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    let config = config.allow_non_standard_methods(true);
    config.timeout_global(Some(Duration::from_secs(30))).build().into()
}

pub fn send(method: &str, url: &str, auth: Option<&str>, body: Option<String>) -> Answer {
    try_send(&agent(), method, url, auth, body).unwrap()
}

pub fn try_send(
    agent: &Agent,
    method: &str,
    url: &str,
    auth: Option<&str>,
    body: Option<String>,
) -> Result<Answer, ureq::Error> {
    let (status, text) = exchange(agent, method, url, auth, body)?;
    Ok(Answer(status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Status and text of an answer.
pub fn exchange(
    agent: &Agent,
    method: &str,
    url: &str,
    auth: Option<&str>,
    body: Option<String>,
) -> Result<(u16, String), ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(auth) = auth {
        request = request.header("authorization", auth);
    }
    let mut response = match body {
        Some(body) => {
            let lines = url.ends_with("/chain");
            let kind = if lines { "application/jsonl" } else { "application/json" };
            agent.run(request.header("content-type", kind).body(body).unwrap())?
        }
        None => agent.run(request.body(()).unwrap())?,
    };
    let text = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
    Ok((response.status().as_u16(), text))
}

pub fn now() -> Timestamp {
    Timestamp::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

/// Milliseconds since 1970, never twice the same.
pub fn now_ms() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    LAST.fetch_max(now, Ordering::Relaxed);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A key that no other test has.
pub fn key(scheme: Scheme) -> SecretKey {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    SecretKey::from_bytes(scheme, bytes).unwrap()
}

pub fn id(bytes: usize) -> String {
    let mut all = vec![0; bytes];
    getrandom::fill(&mut all).unwrap();
    hex::encode(&all)
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unbase64(value: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

/// Somebody with a sigchain and devices.
pub struct Person {
    pub handle: String,
    pub key: SecretKey,
    pub chain: Chain,
    pub devices: Vec<SecretKey>,
}

impl Person {
    pub fn new(handle: &str) -> Self {
        let key = key(Scheme::Ed25519);
        let chain = Chain::new(key.public().identity()).unwrap();
        let mut person = Self { handle: handle.into(), key, chain, devices: Vec::new() };
        person.add_device();
        person
    }

    fn append(&mut self, op: Op, also: Option<&SecretKey>) {
        self.append_with(op, also, None);
    }

    /// Appends an event that another key signs, too, and that commits to a next key.
    pub fn append_with(&mut self, op: Op, also: Option<&SecretKey>, next: Option<&SecretKey>) {
        let mut event = Event::new(self.chain.name().clone(), self.chain.head(), now(), op);
        event.next = next.map(|next| commitment(next.public().identity()));
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&self.key, &[0; 32]).unwrap();
        if let Some(also) = also {
            envelope.sign(also, &[0; 32]).unwrap();
        }
        self.chain.append(&envelope, now()).unwrap();
    }

    /// The same keys with their chain, as a thief has them.
    pub fn stolen(&self) -> Self {
        let chain = Chain::replay(self.chain.to_bundle().as_bytes(), None, now()).unwrap();
        let key = client::copy(&self.key);
        let devices = self.devices.iter().map(client::copy).collect();
        Self { handle: self.handle.clone(), key, chain, devices }
    }

    pub fn add_device(&mut self) {
        let device = key(Scheme::Ed25519);
        let op = Op::AddDevice {
            device: device.public().clone(),
            caps: vec![CAPABILITY.into()],
            not_after: None,
            name: None,
        };
        self.append(op, Some(&device));
        self.devices.push(device);
    }

    pub fn revoke(&mut self, device: usize) {
        let device = self.devices[device].public().identity().clone();
        self.append(Op::RevokeDevice { device, reason: Reason::Retired }, None);
    }

    /// Revokes a subject that was never claimed, with a text.
    pub fn end_claim(&mut self, text: String) {
        let target = Target::Subject(Identity::from_canonical("dns:a.example").unwrap());
        self.append(Op::Revoke { target, reason: Reason::Retired, text: Some(text) }, None);
    }

    pub fn record(&self, origin: &str) -> HandleRecord {
        HandleRecord {
            handle: self.handle.parse().unwrap(),
            server: origin.into(),
            primary: self.chain.name().clone(),
            created_at: now(),
            sources: vec![],
        }
    }

    pub fn registration(&self, server: &Server) -> Value {
        self.registration_at(server.url())
    }

    /// A registration at a server that is only known by its origin.
    pub fn registration_at(&self, origin: &str) -> Value {
        let mut record = self.record(origin).to_envelope().unwrap();
        record.sign(&self.key, &[0; 32]).unwrap();
        json!({ "record": record.to_canonical(), "chain": self.chain.to_bundle() })
    }

    /// Registers, and publishes a bundle for the first device.
    pub fn join(handle: &str, server: &Server) -> Self {
        let person = Self::new(handle);
        let answer = server.plain("POST", "/v1/handles", Some(&person.registration(server)));
        assert_eq!(answer.0, 201, "{answer:?}");
        assert_eq!(person.put_bundle(server, 0).0, 204);
        person
    }

    pub fn put_chain(&self, server: &Server) -> Answer {
        let url = format!("{}/v1/handles/{}/chain", server.url(), self.handle);
        send("PUT", &url, None, Some(self.chain.to_bundle()))
    }

    pub fn put_bundle(&self, server: &Server, device: usize) -> Answer {
        let key = &self.devices[device];
        let bundle = Bundle {
            primary: self.chain.name().clone(),
            device: key.public().identity().clone(),
            sealed_key: vec![7; SEALED_KEY],
            created_at: now(),
            expires_at: now().plus(86_400),
        };
        let mut bundle = bundle.to_envelope().unwrap();
        bundle.sign(key, &[0; 32]).unwrap();
        let path = format!("/v1/devices/{}/bundle", key.public().identity().value());
        let body = json!({ "bundle": bundle.to_canonical() });
        self.send_as(server, device, "PUT", &path, Some(&body))
    }

    pub fn device(&self, device: usize) -> &Identity {
        self.devices[device].public().identity()
    }

    pub fn credentials(
        &self,
        server: &Server,
        device: usize,
        method: &str,
        path: &str,
        binds: Binds<'_>,
    ) -> Credentials {
        let at_ms = now_ms();
        let request = Request { origin: server.url(), method, path, binds, at_ms };
        request.sign(&self.devices[device]).unwrap()
    }

    /// A request that a device signs. A `since` in its query is bound.
    pub fn send_as(
        &self,
        server: &Server,
        device: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(&agent(), server, device, method, path, body).unwrap()
    }

    pub fn try_send(
        &self,
        agent: &Agent,
        server: &Server,
        device: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let body = body.map(Value::to_string);
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let since = query.strip_prefix("since=").map(|n| n.parse().unwrap());
        let binds = match (&body, since) {
            (Some(body), _) => Binds::Body(body.as_bytes()),
            (None, Some(since)) => Binds::Since(since),
            (None, None) => Binds::Nothing,
        };
        let auth = self.credentials(server, device, method, bare, binds).to_header();
        try_send(agent, method, &format!("{}{path}", server.url()), Some(&auth), body)
    }

    /// A post to a server that may die meanwhile, by its origin. `None` if there is no answer.
    pub fn post_at(&self, origin: &str, path: &str, body: &Value) -> Option<u16> {
        let (body, at_ms) = (body.to_string(), now_ms());
        let binds = Binds::Body(body.as_bytes());
        let request = Request { origin, method: "POST", path, binds, at_ms };
        let auth = request.sign(&self.devices[0]).unwrap().to_header();
        let url = format!("{origin}{path}");
        Some(try_send(&agent(), "POST", &url, Some(&auth), Some(body)).ok()?.0)
    }

    pub fn send(&self, server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send_as(server, 0, method, path, body)
    }

    /// Begins a conversation with others.
    pub fn converse(&self, server: &Server, others: &[&Self]) -> String {
        let conversation = id(32);
        let begin = json!({ "id": conversation });
        let answer = self.send(server, "POST", "/v1/conversations", Some(&begin));
        assert_eq!(answer.0, 201, "{answer:?}");
        let mut recipients = vec![self.handle.clone()];
        recipients.extend(others.iter().map(|other| other.handle.clone()));
        let commit = json!({
            "expect": 0, "id": id(16), "body": base64(b"commit"), "recipients": recipients,
        });
        let path = format!("/v1/conversations/{conversation}/commits");
        let answer = self.send(server, "POST", &path, Some(&commit));
        assert_eq!(answer.0, 201, "{answer:?}");
        conversation
    }

    /// A message to a server that may be dying.
    pub fn try_message(
        &self,
        server: &Server,
        conversation: &str,
        text: &str,
    ) -> Result<Answer, ureq::Error> {
        let message = json!({
            "conversation": conversation, "id": id(16), "body": base64(text.as_bytes()),
        });
        self.try_send(&agent(), server, 0, "POST", "/v1/messages", Some(&message))
    }

    pub fn message(&self, server: &Server, conversation: &str, text: &str) -> Answer {
        self.try_message(server, conversation, text).unwrap()
    }

    pub fn poll(&self, server: &Server, since: u64) -> Vec<Value> {
        let path = format!("/v1/inbox/{}?since={since}", self.handle);
        let answer = self.send(server, "GET", &path, None);
        assert_eq!(answer.0, 200, "{answer:?}");
        answer.1["items"].as_array().unwrap().clone()
    }

    /// The texts of the messages after a position.
    pub fn texts(&self, server: &Server, since: u64) -> Vec<String> {
        texts(&self.poll(server, since))
    }

    pub fn acknowledge(&self, server: &Server, device: usize, seq: u64) -> Answer {
        let path = format!("/v1/inbox/{}/ack", self.handle);
        self.send_as(server, device, "POST", &path, Some(&json!({ "seq": seq })))
    }

    pub fn stream_query(&self, server: &Server, device: usize) -> String {
        let path = format!("/v1/inbox/{}/stream", self.handle);
        self.credentials(server, device, "GET", &path, Binds::Nothing).to_query()
    }

    pub fn stream(&self, server: &Server, since: u64) -> Stream {
        self.stream_as(server, 0, since)
    }

    pub fn stream_as(&self, server: &Server, device: usize, since: u64) -> Stream {
        let query = self.stream_query(server, device);
        let path = format!("/v1/inbox/{}/stream?{query}&since={since}", self.handle);
        let stream = Stream::open(server, &path, &[]);
        assert_eq!(stream.status, 200);
        stream
    }
}

pub fn texts(items: &[Value]) -> Vec<String> {
    let messages = items.iter().filter(|item| item["kind"] == "message");
    messages.map(|item| String::from_utf8(unbase64(&item["body"])).unwrap()).collect()
}

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub event: String,
    pub id: String,
    pub data: String,
    pub retry: String,
    /// A comment: that the stream lives.
    pub comment: bool,
}

impl Sent {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8(unbase64(&self.json()["body"])).unwrap()
    }
}

/// A stream, read by hand, to see each byte of it.
pub struct Stream {
    pub status: u16,
    pub reader: BufReader<TcpStream>,
    chunk: usize,
}

impl Stream {
    pub fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(server, path, headers).unwrap()
    }

    /// As [`Stream::open`], from a server that may be dying.
    pub fn try_open(
        server: &Server,
        path: &str,
        headers: &[(&str, &str)],
    ) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect(server.address())?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let more: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n")?;
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        while !line.trim().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
        }
        Ok(Self { status, reader, chunk: 0 })
    }

    /// A line of the body, which comes in chunks that end between lines.
    fn line(&mut self) -> Option<String> {
        if self.chunk == 0 {
            let mut size = String::new();
            if self.reader.read_line(&mut size).ok()? == 0 {
                return None;
            }
            self.chunk = usize::from_str_radix(size.trim(), 16).ok()?;
            if self.chunk == 0 {
                return None;
            }
        }
        let mut line = String::new();
        self.chunk -= self.reader.read_line(&mut line).ok()?;
        if self.chunk == 0 {
            self.reader.read_line(&mut String::new()).ok()?;
        }
        Some(line.trim_end_matches('\n').to_owned())
    }

    /// The next event, comments and times to come back included; `None` at the end.
    pub fn next_raw(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("", _) => return Some(sent),
                ("event", value) => sent.event = value.into(),
                ("id", value) => sent.id = value.into(),
                ("data", value) => sent.data = value.into(),
                ("retry", value) => sent.retry = value.into(),
                (":", _) => sent.comment = true,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event.
    pub fn next(&mut self) -> Option<Sent> {
        loop {
            let sent = self.next_raw()?;
            if !sent.event.is_empty() {
                return Some(sent);
            }
        }
    }

    /// The next messages' texts.
    pub fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let sent = self.next().expect("an event");
            assert_eq!(sent.event, "item", "{sent:?}");
            if sent.json()["kind"] == "message" {
                texts.push(sent.text());
            }
        }
        texts
    }

    /// Waits for so long, and sees whether anything comes.
    pub fn is_quiet(&mut self, wait: Duration) -> bool {
        self.reader.get_ref().set_read_timeout(Some(wait)).unwrap();
        let quiet = self.reader.fill_buf().is_err();
        self.reader.get_ref().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        quiet
    }
}
