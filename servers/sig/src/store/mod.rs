//! Chains in one SQLite file, of a server that is alone or of one of several (`stream`). Requests
//! are verified side by side. One thread writes, and commits many of them at once, so that the disk
//! is waited for once a batch and not once a request. A request is acknowledged after its commit
//! with `synchronous=FULL`. Each new head is an entry of the
//! log as well, in the same transaction, and a checkpoint is signed after the commit.

mod answers;
mod append;
pub mod copy;
mod evidence;
pub mod migrate;
pub mod operator;
mod stream;
mod writer;

use crate::log::{self, LogKey};
pub use answers::Stored;
use answers::{Answers, is_large};
use append::{Cache, Change, Prepared, Refused, prepare};
use axum::body::Bytes;
use kez_core::{
    Code, Error, Head, Identity, ObjectId, Timestamp,
    log::{Checkpoint, Proof},
};
use kez_server::{
    folder::{Lock, Room, Space},
    limit::{Allowance, Exhausted, Pool, Share},
    nats,
    replica::{self, Progress, Shared},
    sqlite::{Failure, Readers, Schema, used},
    topics::{Subscription, Topics},
};
use rusqlite::{Connection, params};
use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use stream::Stream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use writer::{Done, Job, Work, Writer};

/// How many requests may wait for the writer before others are told to come back.
const QUEUE: usize = 4096;
/// How often an append is prepared again since its chain grew meanwhile.
const MAX_ROUNDS: usize = 16;
/// The memory in bytes for bundles that are too large for the cache. One client may cause a quarter
/// of it.
const LARGE: usize = 256 << 20;
/// The bytes that a chain may append in a day when only the reserve is left.
const RESERVE: u64 = 32 << 10;
/// The room that a usual append takes.
const USUAL: u64 = 128 << 10;
/// The largest urgent append in bytes.
const URGENT: u64 = 16 << 10;
const DAY: Duration = Duration::from_hours(24);
/// How many entries of one answer about a subject.
pub const MAX_CLAIMANTS: usize = 100;

/// The name of the data's file.
const FILE: &str = "sigchains.db";

/// Its tables.
const SCHEMA: Schema = Schema { version: 2, sql: &[CHAINS, evidence::SCHEMA, log::SCHEMA] };

const CHAINS: &str = "
CREATE TABLE IF NOT EXISTS chains (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    head TEXT NOT NULL,
    leaf INTEGER NOT NULL,
    removed TEXT,
    removed_at INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    chain INTEGER NOT NULL REFERENCES chains (id),
    seq INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subjects (
    subject TEXT NOT NULL,
    chain INTEGER NOT NULL REFERENCES chains (id),
    seq INTEGER NOT NULL,
    claim TEXT NOT NULL,
    PRIMARY KEY (subject, chain)
) STRICT, WITHOUT ROWID;
";

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The core refuses what was posted.
    Invalid(Error),
    /// It does not continue what is here. With `fork`, it is a validly signed other history, and
    /// was kept as evidence.
    Conflict {
        /// The head that is here.
        head: Option<Head>,
        /// Whether evidence of a fork is served.
        fork: bool,
    },
    /// The operator removed the chain.
    Removed,
    /// The client has used up a limit: the seconds to wait.
    Limited(u64),
    /// The quota is reached, and this is nothing that the reserve is for.
    Quota,
    /// The storage does not do it.
    Failed(Failure),
}

impl Refusal {
    /// The file cannot be read or written.
    pub(crate) fn storage(why: impl Into<String>) -> Self {
        Self::Failed(Failure::Storage(why.into()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Conflict { .. } => f.write_str(Code::HeadConflict.summary()),
            Self::Removed => f.write_str("the operator removed this chain"),
            Self::Limited(seconds) => write!(f, "too much at once; retry in {seconds} s"),
            Self::Quota => {
                f.write_str("the quota is reached: only revocations and rotations are stored")
            }
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

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The head now.
    pub head: Head,
    /// Whether anything was new.
    pub new: bool,
}

/// What a client may do, as its appends are verified and stored.
pub trait Admission: Sync {
    /// Whether lines may be stored, once they are verified.
    ///
    /// # Errors
    /// `Limited`.
    fn admit(&self, addition: Addition) -> Result<(), Refusal>;
    /// Counts the processor time of a verification, also of lines that are refused.
    fn spent(&self, time: Duration);
}

/// The operator may do everything.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Admission for Unlimited {
    fn admit(&self, _: Addition) -> Result<(), Refusal> {
        Ok(())
    }

    fn spent(&self, _: Duration) {}
}

/// A verified append, before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Addition {
    /// The number of bytes.
    pub bytes: u64,
    /// Whether it does nothing but take power away from keys or claims of a stored chain.
    pub urgent: bool,
    /// Whether it is another history of the chain, which is only kept as evidence.
    pub diverges: bool,
}

impl Addition {
    /// Whether the reserve is for it.
    #[must_use]
    pub const fn is_small_and_urgent(&self) -> bool {
        self.urgent && self.bytes <= URGENT
    }
}

/// Somebody who claims a subject, from an `add` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The chain.
    pub primary: String,
    /// The event's position.
    pub seq: u64,
    /// The claim's id.
    pub claim: String,
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    cache: Arc<Cache>,
    refused: Arc<Refused>,
    answers: Arc<Answers>,
    heads: Topics<Head>,
    /// The memory of large bundles that are being read.
    large: Pool,
    /// How many answers with evidence are made at once.
    forks: Arc<Semaphore>,
    space: Arc<Space>,
    /// The bytes of the reserve that each chain may use.
    reserve: Arc<Allowance<Identity>>,
    key: Arc<LogKey>,
    checkpoint: watch::Receiver<Arc<Checkpoint>>,
    cosigned: Arc<watch::Sender<Option<Arc<Checkpoint>>>>,
    stream: Option<Arc<Stream>>,
    /// The data folder is this process's as long as the store is used.
    _lock: Arc<Lock>,
}

/// How a store is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many bytes the file may grow to.
    pub quota: Option<u64>,
    /// The name of the log, if it is a new one.
    pub log_name: Option<String>,
}

impl Store {
    /// Opens or creates the file `sigchains.db` and the key of the log in a folder. The thread
    /// ends when the last clone of the store is gone.
    ///
    /// # Errors
    /// What the file system or SQLite says.
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, JoinHandle<()>), Refusal> {
        let lock = Lock::acquire(dir)?;
        let connection = SCHEMA.open(&dir.join(FILE), options.quota)?;
        replica::refuse_copy(&connection, FILE)?;
        let size = log::size(&connection)?;
        if size > 0 && !dir.join(log::KEY_FILE).exists() {
            let why = "the log has entries and its key is missing: restore it from a backup";
            return Err(Refusal::storage(format!("{}: {why}", log::KEY_FILE)));
        }
        let key = LogKey::open(dir, options.log_name.as_deref())?;
        Self::start(dir, options, (lock, connection), key, None)
    }

    /// Opens a store that is one of several on the operator's NATS: the stream there is what is
    /// kept, and the folder has a copy of it, which is made again if it is gone, and the log's key,
    /// which all of them share. The quota is the stream's.
    ///
    /// # Errors
    /// What the file system, SQLite or NATS says; a copy of another stream; another log's key.
    pub async fn join(
        dir: &Path,
        options: &Options,
        settings: &nats::Settings,
    ) -> Result<(Self, JoinHandle<()>), Refusal> {
        Stream::join(dir, options, settings).await
    }

    /// Starts the writer, which tells how far it is if it applies a stream.
    fn start(
        dir: &Path,
        options: &Options,
        (lock, connection): (Lock, Connection),
        key: LogKey,
        applied: Option<watch::Sender<u64>>,
    ) -> Result<(Self, JoinHandle<()>), Refusal> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let heads = Topics::new(16);
        let (answers, cache): (Arc<Answers>, Arc<Cache>) = Default::default();
        let key = Arc::new(key);
        let size = log::size(&connection)?;
        let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        let first = Arc::new(key.checkpoint(&connection, size)?);
        let (signed, checkpoint) = watch::channel(first);
        let writer = Writer {
            connection,
            heads: heads.clone(),
            key: key.clone(),
            size,
            checkpoint: signed,
            answers: answers.clone(),
            cache: cache.clone(),
            changed: Vec::new(),
            version,
            applied,
        };
        let thread = std::thread::Builder::new().name("writer".into());
        let thread = thread.spawn(move || writer.run(queue)).map_err(Failure::of(dir))?;
        let cosigned = Arc::new(watch::channel(None).0);
        let readers = Readers::new(dir.join(FILE));
        let store = Self {
            jobs,
            readers,
            cache,
            refused: Arc::default(),
            answers,
            heads,
            large: Pool::new(LARGE, LARGE / 4),
            forks: Arc::new(Semaphore::new(2)),
            space: Arc::new(Space::new(dir, options.quota)),
            reserve: Arc::new(Allowance::new(RESERVE, DAY)),
            key,
            checkpoint,
            cosigned,
            stream: None,
            _lock: Arc::new(lock),
        };
        Ok((store, thread))
    }

    /// Verifies lines and appends them; events that are stored already are passed over. All lines
    /// are stored, or none. When this returns, the disk has them. `client` is asked once the lines
    /// are verified, and can refuse them.
    ///
    /// # Errors
    /// Why nothing was appended.
    pub async fn append(
        &self,
        name: Identity,
        body: Bytes,
        now: Timestamp,
        client: &dyn Admission,
    ) -> Result<Appended, Refusal> {
        // The signatures are verified here, by as many as there are cores; the writer only looks
        // whether the chain is still what they were verified against.
        let mut sure = self.stream.is_none();
        for _ in 0..MAX_ROUNDS {
            let (cache, own, lines) = (self.cache.clone(), name.clone(), body.clone());
            let refused = self.refused.clone();
            let shared = self.stream.is_some();
            let verified = self.read(move |db| {
                Ok(kez_server::measure(|| {
                    // First: if the chain grows between the two, the stream refuses what follows.
                    let after = if shared { stream::last(db, &own)? } else { 0 };
                    let (id, tx) = (Refused::id(&own, &lines), db.unchecked_transaction()?);
                    let head = find(&tx, &own)?.map(|row| row.head);
                    if let Some(error) = refused.get(id, head) {
                        return Err(error.into());
                    }
                    let stored = cache.load(&tx, &own)?;
                    let (unchanged, prepared) = prepare(db, &own, &lines, stored, now);
                    unchanged.into_iter().for_each(|chain| cache.keep(chain));
                    let prepared =
                        prepared.inspect_err(|refusal| refused.note(id, head, refusal))?;
                    Ok((prepared, after, used(db)?))
                }))
            });
            let (prepared, time) = verified.await?;
            client.spent(time);
            let (change, after) = match (prepared, &self.stream) {
                (Ok((Prepared::Change(change), after, used)), _) => {
                    let addition = Addition {
                        bytes: body.len() as u64,
                        urgent: change.urgent,
                        diverges: change.chain.is_none(),
                    };
                    client.admit(addition)?;
                    self.check_room(&name, addition, used)?;
                    (change, after)
                }
                (Ok((Prepared::Known(head), ..)), _) => {
                    return Ok(Appended { head, new: false });
                }
                // Nobody is told so by a server that may be behind.
                (Err(Refusal::Conflict { .. }), Some(stream)) if !sure => {
                    stream.barrier().await?;
                    sure = true;
                    continue;
                }
                (Err(refusal), _) => return Err(refusal),
            };
            let done = match &self.stream {
                Some(stream) => stream.order(&name, after, body.clone()).await?,
                None => self.write(change).await?,
            };
            match done {
                Done::Moved | Done::Migrated => {}
                Done::Appended(head) => return Ok(Appended { head, new: true }),
                Done::Known(head) => return Ok(Appended { head, new: false }),
                Done::Forked(head) => return Err(Refusal::Conflict { head, fork: true }),
                Done::Refused(refusal) => return Err(refusal),
            }
        }
        Err(Failure::Busy.into())
    }

    /// Whether there is room for an append, itself included. The reserve is for small urgent
    /// appends to stored chains, some for each chain; `client` bounds them for each client.
    fn check_room(&self, name: &Identity, addition: Addition, used: u64) -> Result<(), Refusal> {
        // An event takes more in the file than its bytes: indexes, the log and half-full pages.
        match self.space.room(used + 2 * addition.bytes) {
            Room::Plenty => Ok(()),
            _ if !addition.is_small_and_urgent() => Err(Refusal::Quota),
            Room::None if self.space.room(used) == Room::None => Err(Failure::Full.into()),
            _ => {
                let now = Instant::now();
                self.reserve.check(name, now).map_err(Refusal::Limited)?;
                self.reserve.charge(name, addition.bytes, now);
                Ok(())
            }
        }
    }

    /// The bytes that are kept for urgent appends when the quota is reached.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.space.reserve()
    }

    /// How much room there is for further events, by an append of usual size.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn room(&self) -> Result<Room, Refusal> {
        let used = self.read(|db| Ok(used(db)?)).await?;
        let usual = USUAL.min(self.space.reserve() / 2);
        Ok(match self.space.room_now(used) {
            Room::Plenty => self.space.room(used + usual).max(Room::Reserve),
            less => less,
        })
    }

    async fn write(&self, change: Box<Change>) -> Result<Done, Refusal> {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Change(change), reply: Some(reply) };
        self.jobs.try_send(job).map_err(|_| Failure::Busy)?;
        answer.await.unwrap_or_else(|_| Err(Refusal::storage("the writer is gone")))
    }

    /// A chain's new heads from now on.
    #[must_use]
    pub fn subscribe(&self, name: &Identity) -> Subscription<Head> {
        self.heads.subscribe(name.as_str())
    }

    /// Notices what the operator's command changed in the file.
    pub(crate) fn refresh(&self) {
        // A full queue means that the next one does.
        let _ = self.jobs.try_send(Job { work: Work::Refresh, reply: None });
    }

    /// How many appends wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        (QUEUE - self.jobs.capacity()) as u64
    }

    /// The log's key.
    #[must_use]
    pub fn log_key(&self) -> &LogKey {
        &self.key
    }

    /// The newest checkpoint, and each later one.
    #[must_use]
    pub fn checkpoints(&self) -> watch::Receiver<Arc<Checkpoint>> {
        self.checkpoint.clone()
    }

    /// The checkpoint to publish: the newest that witnesses cosigned, or else the newest.
    #[must_use]
    pub fn checkpoint(&self) -> Arc<Checkpoint> {
        let cosigned = self.cosigned.borrow().clone();
        cosigned.unwrap_or_else(|| self.checkpoint.borrow().clone())
    }

    /// Publishes a checkpoint that witnesses cosigned.
    pub fn publish(&self, cosigned: Checkpoint) {
        self.cosigned.send_replace(Some(Arc::new(cosigned)));
    }

    /// Proof that the log's tree of one size grew from that of another.
    ///
    /// # Errors
    /// `Invalid` with `usage` if there is no such tree, `Storage`.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<[u8; 32]>, Refusal> {
        if from > to || to > self.checkpoint.borrow().size() {
            return Err(Error::about(Code::Usage, "there is no such tree").into());
        }
        self.read(move |db| log::consistency(db, from, to)).await
    }

    /// A tile of the log, by its path in C2SP's layout.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn tile(&self, path: String) -> Result<Option<Vec<u8>>, Refusal> {
        let size = self.checkpoint.borrow().size();
        self.read(move |db| log::tile(db, &path, size)).await
    }

    /// The proof that a chain's head is in the log, for a reader that last saw the log with `size`
    /// entries.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn prove(&self, stored: &Stored, size: u64) -> Result<Arc<Proof>, Refusal> {
        let leaf = stored.leaf;
        let published = self.checkpoint();
        let checkpoint = if published.size() > leaf && published.size() >= size {
            published
        } else {
            // What was committed just now is signed in a moment.
            let mut newest = self.checkpoint.clone();
            let newest = newest.wait_for(|checkpoint| checkpoint.size() > leaf).await;
            newest.map_err(|_| Refusal::storage("the writer is gone"))?.clone()
        };
        let last = stored.proof.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((from, proof)) = last
            && from == size
            && proof.checkpoint == *checkpoint
        {
            return Ok(proof);
        }
        let to = checkpoint.size();
        let proofs = self
            .read(move |db| Ok((log::inclusion(db, to, leaf)?, log::consistency(db, size, to)?)));
        let (inclusion, consistency) = proofs.await?;
        let (key, checkpoint) = (self.key.public().clone(), (*checkpoint).clone());
        let proof = Arc::new(Proof { key, checkpoint, index: leaf, inclusion, consistency });
        *stored.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some((size, proof.clone()));
        Ok(proof)
    }

    /// A chain, from memory or from the file, for a client.
    ///
    /// # Errors
    /// `Storage`; `Invalid` for a name that is none; `Limited` if the client reads too many large
    /// chains at once.
    pub async fn chain(&self, name: &str, client: IpAddr) -> Result<Option<Arc<Stored>>, Refusal> {
        // Checking a key costs more than finding the chain by its name.
        if let Some(stored) = self.answers.get(name) {
            return Ok(Some(stored));
        }
        let own = chain_name(name)?;
        let (ticket, reading) = self.answers.ticket(name);
        // One reader asks the storage, and the others share what it gets.
        let _reading = reading.lock().await;
        if let Some(stored) = self.answers.get(name) {
            return Ok(Some(stored));
        }
        let large = self.large.clone();
        let found = self.read(move |db| {
            let tx = db.unchecked_transaction()?;
            let Some(row) = find(&tx, &own)? else { return Ok(None) };
            let bytes = size_of_bundle(&tx, row.id)?;
            let share = if is_large(bytes) {
                Some(large.take(client, bytes).map_err(too_large)?)
            } else {
                None
            };
            let bundle = lines(&tx, row.id)?.into();
            Ok(Some(Arc::new(Stored::new(row.head, row.leaf, bundle, share))))
        });
        let found = found.await?;
        if let Some(stored) = &found {
            self.answers.keep(name, ticket, stored);
        }
        Ok(found)
    }

    /// Whether the file can be read.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn check(&self) -> Result<(), Refusal> {
        self.read(|db| Ok(db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?))
            .await
    }

    /// A chain's head.
    ///
    /// # Errors
    /// `Storage`; `Invalid` for a name that is none.
    pub async fn head(&self, name: &str) -> Result<Option<Head>, Refusal> {
        if let Some(stored) = self.answers.get(name) {
            return Ok(Some(stored.head));
        }
        let name = chain_name(name)?;
        self.read(move |db| Ok(find(db, &name)?.map(|row| row.head))).await
    }

    /// The evidence of a chain's forks: fork objects, one a line, with the memory that they take.
    /// Few are made at once, so that other readers go on.
    ///
    /// # Errors
    /// `Storage`; `Limited` if the client reads too much at once.
    pub async fn fork(
        &self,
        name: Identity,
        client: IpAddr,
    ) -> Result<Option<(String, Share)>, Refusal> {
        let mut share = self.large.take(client, 0).map_err(too_large)?;
        let gone = |_| Refusal::storage("the store is gone");
        let _turn = self.forks.acquire().await.map_err(gone)?;
        self.read(move |db| {
            let tx = db.unchecked_transaction()?;
            let Some(row) = find(&tx, &name)? else { return Ok(None) };
            let objects = evidence::objects(&tx, row.id, evidence::MAX_ANSWER, &mut share, || {
                lines(&tx, row.id)
            })?;
            Ok(objects.map(|objects| (objects, share)))
        })
        .await
    }

    /// Who claims a subject: up to [`MAX_CLAIMANTS`] chains, each once with its latest `add`, in the
    /// order of their age, and the row after which there are more.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn claimants(
        &self,
        subject: Identity,
        after: u64,
    ) -> Result<(Vec<Claimant>, Option<u64>), Refusal> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT chains.name, subjects.seq, subjects.claim, chains.id FROM subjects
                 JOIN chains ON chains.id = subjects.chain
                 WHERE subject = ?1 AND subjects.chain > ?2 ORDER BY subjects.chain LIMIT ?3",
            )?;
            let most = MAX_CLAIMANTS as u64 + 1;
            let rows = query.query_map(params![subject.as_str(), after, most], |row| {
                let claimant =
                    Claimant { primary: row.get(0)?, seq: row.get(1)?, claim: row.get(2)? };
                Ok((claimant, row.get(3)?))
            })?;
            let mut all: Vec<(Claimant, u64)> = rows.collect::<Result<_, _>>()?;
            let more = all.len() > MAX_CLAIMANTS;
            all.truncate(MAX_CLAIMANTS);
            let next = all.last().map(|(_, row)| *row).filter(|_| more);
            Ok((all.into_iter().map(|(claimant, _)| claimant).collect(), next))
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.readers.read(work).await
    }
}

impl Shared for Store {
    fn progress(&self) -> Option<&Progress> {
        self.stream.as_ref().map(|stream| stream.progress())
    }
}

/// What a client is told that reads too much at once.
fn too_large(why: Exhausted) -> Refusal {
    match why {
        Exhausted::Client => Refusal::Limited(5),
        Exhausted::Total => Failure::Busy.into(),
    }
}

/// A chain's row.
struct Row {
    id: i64,
    head: Head,
    /// The head's entry in the log.
    leaf: u64,
}

fn find(db: &Connection, name: &Identity) -> Result<Option<Row>, Refusal> {
    let mut query =
        db.prepare_cached("SELECT id, seq, head, leaf, removed FROM chains WHERE name = ?")?;
    let mut rows = query.query([name.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?.is_some() {
        return Err(Refusal::Removed);
    }
    let head = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    let head = ObjectId::parse(head).map_err(|e| Refusal::storage(format!("a head: {e}")))?;
    let head = Head { seq: row.get(1)?, id: head };
    Ok(Some(Row { id: row.get(0)?, head, leaf: row.get(3)? }))
}

/// The key identity of that text.
///
/// # Errors
/// `key_expected`, and those of [`Identity::from_canonical`].
pub fn chain_name(text: &str) -> Result<Identity, Error> {
    let name = Identity::from_canonical(text)?;
    if name.is_key() { Ok(name) } else { Err(Error::about(Code::KeyExpected, name)) }
}

/// What of a bundle follows a position: a line is an event.
#[must_use]
pub fn after_line(bundle: &Bytes, after: u64) -> Bytes {
    let mut ends = bundle.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let from = match usize::try_from(after) {
        Ok(0) => 0,
        Ok(after) => ends.nth(after - 1).map_or(bundle.len(), |(at, _)| at + 1),
        Err(_) => bundle.len(),
    };
    bundle.slice(from..)
}

fn size_of_bundle(db: &Connection, chain: i64) -> Result<usize, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT coalesce(sum(octet_length(line) + 1), 0) FROM events WHERE chain = ?",
    )?;
    Ok(query.query_row([chain], |row| row.get(0))?)
}

fn lines(db: &Connection, chain: i64) -> Result<String, Refusal> {
    let mut query = db.prepare_cached("SELECT line FROM events WHERE chain = ? ORDER BY seq")?;
    let mut rows = query.query([chain])?;
    let mut out = String::new();
    while let Some(row) = rows.next()? {
        out.push_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
        out.push('\n');
    }
    Ok(out)
}
