//! The real client on a machine that can be cut off at any step: its disk is a map, its network is
//! the real server.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use super::{Person, Server, exchange, key, now, now_ms};
use futures_util::FutureExt as _;
use kez_core::{
    Chain, Code, Error, History, Identity, Known, Result, Scheme, SecretKey,
    chat::{
        Random, SignedHandle,
        client::{Client, Entry, EntryKind, Platform},
    },
    transport::{Call, Failure},
};
use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
};

pub type Disk = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
/// What stands between a client and the server: gets the call, and gives what the client sees.
pub type Between = Arc<dyn Fn(&Call, Answer) -> Answer + Send + Sync>;
pub type Answer = std::result::Result<(u16, Vec<u8>), Failure>;

pub fn random() -> Random {
    Arc::new(|out: &mut [u8]| {
        getrandom::fill(out).unwrap();
        Ok(())
    })
}

/// Everything that the client does is done at once.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("nothing waits")
}

#[derive(Clone, Default)]
pub struct Machine {
    pub disk: Disk,
    /// After how many steps the machine is cut off.
    pub cut: Arc<Mutex<Option<u64>>>,
    /// The time at which its clock stands still.
    pub frozen: Arc<Mutex<Option<u64>>>,
    pub between: Option<Between>,
    agent: Agent,
}

#[derive(Clone)]
struct Agent(ureq::Agent);

impl Default for Agent {
    fn default() -> Self {
        Self(super::agent())
    }
}

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

impl Machine {
    /// Whether the machine is cut off before this step.
    fn is_cut(&self) -> bool {
        STEPS.set(STEPS.get() + 1);
        let mut cut = self.cut.lock().unwrap();
        match &mut *cut {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn ask(&self, call: &Call) -> Answer {
        let body = call.body.as_ref().map(|(_, body)| body.clone());
        let auth = call.authorization.as_deref();
        match exchange(&self.agent.0, call.method, &call.url, auth, body) {
            Ok((status, text)) => Ok((status, text.into_bytes())),
            Err(error) => Err(Failure::new(Code::ConnectFailed, error.to_string())),
        }
    }
}

impl Platform for Machine {
    async fn call(&self, call: Call) -> Answer {
        let cut = || Failure::new(Code::ConnectFailed, "cut off");
        if self.is_cut() {
            return Err(cut());
        }
        let answer = self.ask(&call);
        // The server has it, and the client does not know.
        if self.is_cut() {
            return Err(cut());
        }
        match &self.between {
            Some(between) => between(&call, answer),
            None => answer,
        }
    }

    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.disk.lock().unwrap().get(name).cloned())
    }

    async fn save(&self, name: &str, data: Option<&[u8]>) -> Result<()> {
        if self.is_cut() {
            return Err(Error::about(Code::StorageFailed, "cut off"));
        }
        let mut disk = self.disk.lock().unwrap();
        match data {
            Some(data) => drop(disk.insert(name.to_owned(), data.to_vec())),
            None => drop(disk.remove(name)),
        }
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>> {
        // Chains are beside what the client stores.
        let disk = self.disk.lock().unwrap();
        Ok(disk.keys().filter(|name| !name.contains(':')).cloned().collect())
    }

    async fn history(&self, primary: &Identity, sources: &[String]) -> History {
        let url = sources.last().unwrap().clone();
        let call = Call { method: "GET", url, authorization: None, dpop: None, body: None };
        let answer = self.ask(&call);
        let answer = match &self.between {
            Some(between) => between(&call, answer),
            None => answer,
        };
        let known = self.load(primary.as_str()).await.unwrap();
        let known = known.and_then(|b| Chain::replay(&b, Some(primary), now()).ok());
        let told = match answer {
            Ok((200, bundle)) => Chain::replay(&bundle, Some(primary), now()).ok(),
            _ => None,
        };
        let remembered = told.is_none();
        let longest = told.into_iter().chain(known).max_by_key(|chain| chain.events().len());
        let Some(chain) = longest else { return History::Unchecked };
        let bundle = chain.to_bundle().into_bytes();
        self.disk.lock().unwrap().insert(primary.to_string(), bundle);
        let unchecked = remembered;
        let known = Known { chain, doubt: None, unchecked, settled: false, refused: None };
        History::Known(Box::new(known))
    }

    fn now_ms(&self) -> u64 {
        let frozen = *self.frozen.lock().unwrap();
        frozen.unwrap_or_else(now_ms)
    }
}

/// A device with its client, which can be killed and taken up again.
pub struct Seat {
    pub person: String,
    pub secret: SecretKey,
    pub machine: Machine,
    pub client: Client<Machine>,
}

pub fn copy(key: &SecretKey) -> SecretKey {
    SecretKey::from_bytes(key.public().scheme(), *key.expose_bytes()).unwrap()
}

impl Seat {
    /// Registers a person's device, by its number; it is added to the chain first.
    pub fn register(person: &mut Person, device: usize, server: &Server) -> Self {
        while person.devices.len() <= device {
            person.add_device();
        }
        let mut record = person.record(server.url()).to_envelope().unwrap();
        record.sign(&person.key, &[0; 32]).unwrap();
        let record = SignedHandle::read(record).unwrap();
        let secret = copy(&person.devices[device]);
        let machine = Machine::default();
        let client =
            Client::register(machine.clone(), copy(&secret), random(), &person.chain, &record);
        let client = run(client).unwrap();
        Self { person: person.handle.clone(), secret, machine, client }
    }

    /// Somebody new with one device.
    pub fn join(handle: &str, server: &Server) -> (Person, Self) {
        let mut person = Person::new(handle);
        let seat = Self::register(&mut person, 0, server);
        (person, seat)
    }

    /// Takes the device up again from its disk, as after a crash.
    pub fn reopen(&mut self) {
        *self.machine.cut.lock().unwrap() = None;
        let client = Client::open(self.machine.clone(), copy(&self.secret), random());
        self.client = run(client).unwrap();
    }

    /// Cuts the machine off after so many steps.
    pub fn cut_after(&mut self, steps: u64) {
        *self.machine.cut.lock().unwrap() = Some(steps);
    }

    /// Puts something between the client and the server.
    pub fn between(&mut self, between: Between) {
        self.machine.between = Some(between);
        self.reopen();
    }

    pub fn sync(&mut self) -> Result<()> {
        run(self.client.sync())
    }

    pub fn direct(&mut self, handle: &str) -> Result<String> {
        run(self.client.direct(&handle.parse().unwrap()))
    }

    pub fn send(&mut self, conversation: &str, text: &str) -> Result<()> {
        run(self.client.send(conversation, text)).map(drop)
    }

    /// Writes to somebody, as the command does.
    pub fn write(&mut self, handle: &str, text: &str) -> Result<()> {
        let conversation = self.direct(handle)?;
        self.send(&conversation, text)
    }

    pub fn entries(&self, conversation: &str) -> Vec<Entry> {
        run(self.client.entries(conversation, 0, usize::MAX)).unwrap()
    }

    /// All conversations' entries.
    pub fn all(&self) -> Vec<Entry> {
        let conversations = run(self.client.conversations()).unwrap();
        conversations.iter().flat_map(|c| self.entries(&c.id)).collect()
    }

    /// The texts of all conversations.
    pub fn texts(&self) -> Vec<String> {
        texts(&self.all())
    }

    /// The codes of what was refused.
    pub fn refused(&self) -> Vec<Code> {
        let refused = |entry: &Entry| match entry.kind {
            EntryKind::Refused(code) => Some(code),
            _ => None,
        };
        self.all().iter().filter_map(refused).collect()
    }
}

pub fn texts(entries: &[Entry]) -> Vec<String> {
    let text = |entry: &Entry| match &entry.kind {
        EntryKind::Text(text) => Some(text.clone()),
        _ => None,
    };
    entries.iter().filter_map(text).collect()
}

pub fn stranger() -> SecretKey {
    key(Scheme::Ed25519)
}
