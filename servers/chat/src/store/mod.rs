//! What the server keeps, in one SQLite file: its own, or a copy of what several share (`stream`).
//! What was acknowledged was committed with `synchronous=FULL` before, or is in the stream;
//! subscribers are told after the commit, in its order.

mod command;
mod conversation;
mod directory;
mod inbox;
mod membership;
pub mod migrate;
mod outbox;
mod share;
mod stream;
mod upkeep;

pub(crate) use directory::life;

pub use conversation::{Commit, NewEntry, Posted, Welcome};
pub use directory::{Claimed, DeviceRow, HandleRow, NewKeyPackage};
pub use inbox::{Item, ItemKind, Page};
pub use outbox::subject;
pub use stream::KEY_FILE;

use crate::broker::{Broker, Local};
use command::{Command, News, Output};
use directory::Growth;
use ed25519_dalek::SigningKey;
use kez_core::{Chain, Code, Error};
use kez_server::{
    folder::{Lock, Room, Space},
    limit::Allowance,
    nats,
    replica::{self, Progress, Shared},
    sqlite::{self, Failure, Readers, Schema, Writer, open_reader},
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use stream::Stream;
use tokio::sync::watch;

/// The name of the data's file.
const FILE: &str = "chat.db";
/// Its tables.
const SCHEMA: Schema = Schema { version: 2, sql: &[TABLES] };

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS handles (
    handle TEXT PRIMARY KEY,
    person TEXT UNIQUE,
    record TEXT,
    created INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    inbox INTEGER NOT NULL DEFAULT 0,
    items INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    request_items INTEGER NOT NULL DEFAULT 0,
    request_bytes INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chains (
    person TEXT PRIMARY KEY,
    bundle TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS devices (
    device TEXT PRIMARY KEY,
    person TEXT NOT NULL,
    active INTEGER NOT NULL,
    not_after INTEGER,
    bundle TEXT,
    acked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS devices_of ON devices (person);
CREATE TABLE IF NOT EXISTS key_packages (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    last_resort INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS key_packages_of ON key_packages (device, last_resort, expires);
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    creator TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversations_of ON conversations (creator);
CREATE TABLE IF NOT EXISTS members (
    conversation TEXT NOT NULL REFERENCES conversations (id),
    handle TEXT NOT NULL,
    elector INTEGER,
    accepted INTEGER NOT NULL,
    posted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, handle)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rosters (
    conversation TEXT NOT NULL REFERENCES conversations (id),
    position INTEGER NOT NULL,
    handles TEXT NOT NULL,
    PRIMARY KEY (conversation, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    conversation TEXT NOT NULL REFERENCES conversations (id),
    position INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (conversation, position),
    UNIQUE (conversation, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_age ON entries (at);
CREATE TABLE IF NOT EXISTS inbox (
    handle TEXT NOT NULL REFERENCES handles (handle),
    seq INTEGER NOT NULL,
    conversation TEXT NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sender TEXT NOT NULL,
    request INTEGER NOT NULL,
    size INTEGER NOT NULL,
    device TEXT,
    body BLOB,
    PRIMARY KEY (handle, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS senders (
    handle TEXT NOT NULL REFERENCES handles (handle),
    sender TEXT NOT NULL,
    request INTEGER NOT NULL,
    items INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (handle, sender, request)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    handle TEXT NOT NULL REFERENCES handles (handle),
    other TEXT NOT NULL,
    PRIMARY KEY (handle, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inbox_of ON inbox (conversation, position);
CREATE INDEX IF NOT EXISTS inbox_by_age ON inbox (at);
";

/// What the operator grants.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Quotas {
    /// How many bytes the file may grow to.
    pub file: Option<u64>,
    /// How many items may wait in an inbox.
    pub items: u64,
    /// How many bytes may wait in an inbox.
    pub bytes: u64,
    /// How many conversations somebody may begin.
    pub conversations: u64,
    /// For how long what nobody fetches is kept, in seconds.
    pub retention: i64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            file: None,
            items: 20_000,
            bytes: 64 * 1024 * 1024,
            conversations: 1000,
            retention: 30 * 86_400,
        }
    }
}

/// After how many written bytes the server looks how much room there is, at the latest.
const LOOK: u64 = 1 << 20;

/// The most bytes of revocations and rotations that one request may add to the reserve.
const URGENT: u64 = 16 << 10;
/// The bytes of them that a handle may add to the reserve in a day.
const URGENT_A_DAY: u64 = 64 << 10;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The core refuses it, or the directory does.
    Invalid(Error),
    /// There is nothing of that name, or nothing that this device may see.
    Absent(Error),
    /// Somebody else's.
    Taken(Error),
    /// A change was made for another state of the conversation; this is the one that is.
    Conflict {
        /// The position of the last entry.
        position: u64,
        /// The position of the last change.
        changed: u64,
    },
    /// A quota is used up: whose.
    Quota(String),
    /// The storage does not do it.
    Failed(Failure),
}

impl Refusal {
    /// A command was answered as another one is.
    fn mixed_up() -> Self {
        Failure::Storage("an answer is another command's".into()).into()
    }

    fn absent(code: Code, about: impl fmt::Display) -> Self {
        Self::Absent(Error::about(code, about))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) | Self::Absent(error) | Self::Taken(error) => error.fmt(f),
            Self::Conflict { .. } => f.write_str(Code::CommitConflict.summary()),
            Self::Quota(whose) => write!(f, "the quota is used up: {whose}"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    readers: Arc<Readers>,
    broker: Arc<dyn Broker>,
    quotas: Quotas,
    stream: Option<Arc<Stream>>,
    /// The data folder is this process's as long as the store is used.
    _lock: Arc<Lock>,
    dir: Arc<Path>,
    space: Arc<Space>,
    /// How much room there was when it was looked at last.
    room: Arc<watch::Sender<Room>>,
    /// The bytes that were written since then, about.
    unseen: Arc<AtomicU64>,
    /// The bytes of revocations and rotations that each handle may still add to the reserve.
    urgent: Arc<Allowance<String>>,
}

impl Store {
    /// Opens or creates the file `chat.db` in a folder. The thread ends when the last clone of
    /// the store is gone.
    ///
    /// # Errors
    /// What the file system or SQLite says.
    pub fn open(dir: &Path, quotas: Quotas) -> Result<(Self, JoinHandle<()>), Failure> {
        let lock = Lock::acquire(dir)?;
        let connection = SCHEMA.open(&dir.join(FILE), quotas.file)?;
        replica::refuse_copy(&connection, FILE)?;
        Self::start(dir, (lock, connection), quotas)
    }

    /// Opens a store that is one of several on the operator's NATS: the stream there is what is
    /// kept, and the folder has a copy of it, which is made again if it is gone, and `cluster.key`,
    /// which all of them share. The quota of bytes is the stream's. What comes into an inbox is
    /// published on its [`subject`], too.
    ///
    /// # Errors
    /// What the file system, SQLite or NATS says; a copy of another stream; another key.
    pub async fn join(
        dir: &Path,
        quotas: Quotas,
        settings: &nats::Settings,
    ) -> Result<(Self, JoinHandle<()>), Failure> {
        Stream::join(dir, quotas, settings, true).await
    }

    /// The way to the other servers, if there may be any, and the key by which they know each other.
    pub(crate) fn others(&self) -> Option<(nats::Client, SigningKey)> {
        self.stream.as_ref().map(|stream| stream.others())
    }

    fn start(
        dir: &Path,
        (lock, connection): (Lock, Connection),
        quotas: Quotas,
    ) -> Result<(Self, JoinHandle<()>), Failure> {
        let (writer, thread) = Writer::start(connection)?;
        let (readers, broker) = (Readers::new(dir.join(FILE)), Arc::new(Local::default()));
        let store = Self {
            writer,
            readers,
            broker,
            quotas,
            stream: None,
            _lock: Arc::new(lock),
            dir: dir.into(),
            space: Arc::new(Space::new(dir, quotas.file)),
            room: Arc::new(watch::Sender::new(Room::Plenty)),
            unseen: Arc::default(),
            urgent: Arc::new(Allowance::new(URGENT_A_DAY, Duration::from_hours(24))),
        };
        Ok((store, thread))
    }

    /// The folder of the data.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who is told of what comes in.
    #[must_use]
    pub fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    /// How many writes wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.writer.waiting()
    }

    /// Looks how much room there is, for the writes until it is looked at again.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn look_for_room(&self) -> Result<Room, Refusal> {
        self.unseen.store(0, Ordering::Relaxed);
        let room = self.space.room_now(self.read(|db| Ok(sqlite::used(db)?)).await?);
        if self.room.send_replace(room) != room {
            tracing::warn!("room for data: {room:?}");
        }
        Ok(room)
    }

    /// Keeps the reserve for what takes power from devices or frees space.
    async fn check_room(&self, command: &Command) -> Result<(), Refusal> {
        if command.frees() {
            return Ok(());
        }
        let size = command.size();
        let unseen = self.unseen.fetch_add(size, Ordering::Relaxed) + size;
        let often = self.quotas.file.map_or(LOOK, |quota| (quota / 64).min(LOOK));
        let room = if unseen > often { self.look_for_room().await? } else { *self.room.borrow() };
        if room == Room::Plenty {
            Ok(())
        } else if room == Room::Reserve {
            if let Command::UpdateChain { handle, chain } = command
                && self.take_urgent(handle, chain).await?
            {
                return Ok(());
            }
            let why = "of the server: it takes revocations and rotations alone";
            Err(Refusal::Quota(why.into()))
        } else {
            Err(Failure::Full.into())
        }
    }

    /// Whether what a chain adds to the stored one is for the reserve: revocations and rotations,
    /// few of them at once, and within what each handle may add in a day. They count for that.
    ///
    /// # Errors
    /// As [`Store::update_chain`].
    pub(crate) async fn take_urgent(&self, handle: &str, chain: &Chain) -> Result<bool, Refusal> {
        let (owner, chain) = (handle.to_owned(), chain.clone());
        let bytes = match self.read(move |db| directory::growth(db, &owner, &chain)).await? {
            Growth::None => return Ok(true),
            Growth::Urgent(bytes) if bytes <= URGENT => bytes,
            Growth::Urgent(_) | Growth::Other => return Ok(false),
        };
        let (handle, now) = (handle.to_owned(), Instant::now());
        let left = self.urgent.check(&handle, now).is_ok();
        if left {
            self.urgent.charge(&handle, bytes, now);
        }
        Ok(left)
    }

    /// Does what a command says; subscribers are told after the commit, in its order.
    async fn write(&self, command: Command) -> Result<Output, Refusal> {
        self.check_room(&command).await?;
        if let Some(stream) = &self.stream {
            return stream.order(command).await;
        }
        let broker = self.broker.clone();
        let work = move |db: &Connection| {
            let mut news = Vec::new();
            Ok((command.apply(db, &mut news)?, news))
        };
        let tell = move |(_, news): &(Output, News)| command::tell(&*broker, news);
        let done: Result<_, Refusal> = self.writer.write(work, tell).await;
        done.map(|(output, _)| output)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.readers.read(work).await
    }

    /// Whether the file can be read.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn check(&self) -> Result<(), Refusal> {
        self.read(|db| Ok(db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?))
            .await
    }
}

impl Shared for Store {
    fn progress(&self) -> Option<&Progress> {
        self.stream.as_ref().map(|stream| stream.progress())
    }
}

/// Copies the data of a server, which may be running, to a new folder.
///
/// # Errors
/// What the file system or SQLite says. What was begun is then removed.
pub fn backup(data: &Path, to: &Path) -> Result<(), Failure> {
    sqlite::backup(data, to, FILE, &[])
}

/// Makes a data folder from a backup whose file is whole.
///
/// # Errors
/// What does not hold; a data folder that is there already.
pub fn restore(from: &Path, data: &Path) -> Result<(), Failure> {
    SCHEMA.check(&open_reader(&from.join(FILE))?)?;
    backup(from, data)
}
