//! The real server, as a process on a free port, and chains for it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use kez_core::{Chain, Event, Identity, ObjectId, Op, Scheme, SecretKey, Timestamp};
use kez_server::testing::{Process, nats_url};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use ureq::{Agent, Body, http::Response};

pub struct Server(pub Process);

impl std::ops::Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl std::ops::DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

impl Server {
    pub fn start(data: &Path, options: &[&str]) -> Self {
        let rates = ["--address-rate", "--read-rate", "--chain-rate", "--address-bytes"];
        let rates = rates.iter().flat_map(|name| [name, "1000000000"]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kez-sig-server"));
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.envs(nats_url(data).map(|url| ("NATS_URL", url)));
        if !options.contains(&"--chain-rate") {
            command.args(rates);
        }
        Self(Process::start(command.args(options).stderr(Stdio::null())))
    }

    pub fn chain_url(&self, name: &Identity) -> String {
        format!("{}/v1/sigchains/{name}", self.url)
    }

    pub fn get(&self, path: &str) -> Response<Body> {
        agent().get(format!("{}{path}", self.url)).call().unwrap()
    }

    pub fn text(&self, path: &str) -> (u16, String) {
        let mut response = self.get(path);
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub fn post(&self, name: &Identity, lines: &[String]) -> Result<(u16, Value), ureq::Error> {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let request = agent().post(self.chain_url(name)).content_type("application/jsonl");
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json().unwrap_or_default()))
    }

    pub fn kill(self) {
        self.0.kill();
    }

    pub fn terminate(self) {
        self.0.terminate();
    }
}

pub fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(20))).build().into()
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::since_epoch(since)
}

/// A key that no other test has.
pub fn key(scheme: Scheme) -> SecretKey {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    SecretKey::from_bytes(scheme, bytes).unwrap()
}

pub fn add(subject: &str) -> Op {
    Op::Add {
        subject: Identity::from_canonical(subject).unwrap(),
        claim: ObjectId::digest("claim", subject.as_bytes()),
        account: None,
        url: None,
    }
}

/// Appends an event that these keys sign; gives its line.
pub fn append(chain: &mut Chain, op: Op, next: Option<ObjectId>, keys: &[&SecretKey]) -> String {
    let mut event = Event::new(chain.name().clone(), chain.head(), now(), op);
    event.next = next;
    let mut envelope = event.to_envelope().unwrap();
    keys.iter().for_each(|key| envelope.sign(key, &[0; 32]).unwrap());
    chain.append(&envelope, now()).unwrap();
    chain.lines().last().unwrap().clone()
}

pub fn chain_of(key: &SecretKey, count: usize) -> Chain {
    let mut chain = Chain::new(key.public().identity()).unwrap();
    for n in 0..count {
        append(&mut chain, add(&format!("github:user{n}")), None, &[key]);
    }
    chain
}

pub fn code(answer: (u16, Value), status: u16) -> String {
    assert_eq!(
        (answer.0, answer.1["status"].as_u64()),
        (status, Some(status.into())),
        "{answer:?}"
    );
    answer.1["code"].as_str().unwrap().to_owned()
}
