//! Chains in one SQLite file, of a server that is alone or of one of several (`stream`). Requests are verified side by side; one thread writes, and commits
//! many of them at once, so that the disk is waited for once a batch and not once a request. What
//! was acknowledged was committed with `synchronous=FULL` before. Each new head is an entry of the
//! log as well, in the same transaction, and a checkpoint is signed after the commit.

mod answers;
mod append;
pub mod copy;
pub mod migrate;
mod stream;
mod writer;

use crate::log::{self, LogKey};
use answers::{Answers, Stored};
use append::{Cache, Change, Prepared, prepare};
use axum::body::Bytes;
use kez_core::{
    Code, Error, Head, Identity, ObjectId, Timestamp,
    log::{Checkpoint, Proof},
};
use kez_server::{
    nats,
    replica::{self, Progress, Shared},
    sqlite::{Failure, Readers, Schema},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError},
    thread::JoinHandle,
};
use stream::Stream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use writer::{Done, Job, Work, Writer};

/// How many requests may wait for the writer before others are told to come back.
const QUEUE: usize = 4096;
/// How often an append is prepared again since its chain grew meanwhile.
const MAX_ROUNDS: usize = 16;
/// How many entries of one answer about a subject.
pub const MAX_CLAIMANTS: usize = 100;

/// The name of the data's file.
const FILE: &str = "sigchains.db";

/// Its tables.
const SCHEMA: Schema = Schema { version: 1, sql: &[CHAINS, log::SCHEMA] };

const CHAINS: &str = "
CREATE TABLE IF NOT EXISTS chains (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    head TEXT NOT NULL,
    leaf INTEGER NOT NULL,
    fork TEXT
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
    PRIMARY KEY (subject, chain, seq)
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

/// A chain's new head, for those who listen.
#[derive(Clone, Debug)]
pub struct NewHead {
    /// Whose.
    pub name: Identity,
    /// The head.
    pub head: Head,
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
    answers: Arc<Answers>,
    heads: broadcast::Sender<NewHead>,
    key: Arc<LogKey>,
    checkpoint: watch::Receiver<Arc<Checkpoint>>,
    cosigned: Arc<watch::Sender<Option<Arc<Checkpoint>>>>,
    stream: Option<Arc<Stream>>,
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
        let connection = SCHEMA.open(&dir.join(FILE), options.quota)?;
        replica::refuse_copy(&connection, FILE)?;
        let key = LogKey::open(dir, options.log_name.as_deref())?;
        Self::start(dir, connection, key, None)
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
        connection: Connection,
        key: LogKey,
        applied: Option<watch::Sender<u64>>,
    ) -> Result<(Self, JoinHandle<()>), Refusal> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (heads, _) = broadcast::channel(4096);
        let (answers, cache): (Arc<Answers>, Arc<Cache>) = Default::default();
        let key = Arc::new(key);
        let size = log::size(&connection)?;
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
            applied,
        };
        let thread = std::thread::Builder::new().name("writer".into());
        let thread = thread.spawn(move || writer.run(queue)).map_err(Failure::of(dir))?;
        let cosigned = Arc::new(watch::channel(None).0);
        let readers = Readers::new(dir.join(FILE));
        let stream = None;
        let store =
            Self { jobs, readers, cache, answers, heads, key, checkpoint, cosigned, stream };
        Ok((store, thread))
    }

    /// Verifies lines and appends them; what is here already is passed over. All of it is stored,
    /// or none. When this returns, the disk has it.
    ///
    /// # Errors
    /// Why nothing was appended.
    pub async fn append(
        &self,
        name: Identity,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Appended, Refusal> {
        // The signatures are verified here, by as many as there are cores; the writer only looks
        // whether the chain is still what they were verified against.
        let mut sure = self.stream.is_none();
        for _ in 0..MAX_ROUNDS {
            let (cache, own, lines) = (self.cache.clone(), name.clone(), body.clone());
            let shared = self.stream.is_some();
            let prepared = self.read(move |db| {
                // First: if the chain grows between the two, the stream refuses what follows.
                let after = if shared { stream::last(db, &own)? } else { 0 };
                let stored = cache.load(&*db.unchecked_transaction()?, &own)?;
                let (unchanged, prepared) = prepare(&own, &lines, stored, now);
                unchanged.into_iter().for_each(|chain| cache.keep(chain));
                Ok((prepared?, after))
            });
            let (change, after) = match (prepared.await, &self.stream) {
                (Ok((Prepared::Change(change), after)), _) => (change, after),
                (Ok((Prepared::Known(head), _)), _) => {
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

    async fn write(&self, change: Box<Change>) -> Result<Done, Refusal> {
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Change(change), reply: Some(reply) };
        self.jobs.try_send(job).map_err(|_| Failure::Busy)?;
        answer.await.unwrap_or_else(|_| Err(Refusal::storage("the writer is gone")))
    }

    /// New heads from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<NewHead> {
        self.heads.subscribe()
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

    /// A chain's lines after a position with the proof that its head is in the log, which the
    /// reader last saw with `size` entries.
    ///
    /// # Errors
    /// `Storage`; `Invalid` for a name that is none.
    pub async fn proven(
        &self,
        name: &str,
        after: u64,
        size: u64,
    ) -> Result<Option<(Head, Bytes, Arc<Proof>)>, Refusal> {
        let Some(stored) = self.stored(name).await? else { return Ok(None) };
        let (head, lines) = (stored.head, after_line(&stored.bundle, after));
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
            return Ok(Some((head, lines, proof)));
        }
        let to = checkpoint.size();
        let proofs = self
            .read(move |db| Ok((log::inclusion(db, to, leaf)?, log::consistency(db, size, to)?)));
        let (inclusion, consistency) = proofs.await?;
        let (key, checkpoint) = (self.key.public().clone(), (*checkpoint).clone());
        let proof = Arc::new(Proof { key, checkpoint, index: leaf, inclusion, consistency });
        *stored.proof.lock().unwrap_or_else(PoisonError::into_inner) = Some((size, proof.clone()));
        Ok(Some((head, lines, proof)))
    }

    /// A chain, from memory or from the file.
    async fn stored(&self, name: &str) -> Result<Option<Arc<Stored>>, Refusal> {
        // Checking a key costs more than finding what is kept under its name.
        if let Some(stored) = self.answers.get(name) {
            return Ok(Some(stored));
        }
        let own = chain_name(name)?;
        let ticket = self.answers.ticket(name);
        let found = self.read(move |db| {
            let tx = db.unchecked_transaction()?;
            let Some(row) = find(&tx, &own)? else { return Ok(None) };
            Ok(Some(Arc::new(Stored::new(row.head, row.leaf, lines(&tx, row.id)?.into()))))
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
        Ok(self.stored(name).await?.map(|stored| stored.head))
    }

    /// A chain's head, and its lines after a position, from one state of the chain.
    ///
    /// # Errors
    /// `Storage`; `Invalid` for a name that is none.
    pub async fn lines(&self, name: &str, after: u64) -> Result<Option<(Head, Bytes)>, Refusal> {
        let stored = self.stored(name).await?;
        Ok(stored.map(|stored| (stored.head, after_line(&stored.bundle, after))))
    }

    /// The evidence of a chain's fork.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn fork(&self, name: Identity) -> Result<Option<String>, Refusal> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT fork FROM chains WHERE name = ?")?;
            Ok(query.query_row([name.as_str()], |row| row.get(0)).optional()?.flatten())
        })
        .await
    }

    /// Who claims a subject: the first [`MAX_CLAIMANTS`], in the order of their chains' age.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn claimants(&self, subject: Identity) -> Result<Vec<Claimant>, Refusal> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT chains.name, subjects.seq, subjects.claim FROM subjects
                 JOIN chains ON chains.id = subjects.chain
                 WHERE subject = ? ORDER BY subjects.chain, subjects.seq LIMIT ?",
            )?;
            let rows = query.query_map(params![subject.as_str(), MAX_CLAIMANTS as i64], |row| {
                Ok(Claimant { primary: row.get(0)?, seq: row.get(1)?, claim: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
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

/// A chain's row.
struct Row {
    id: i64,
    head: Head,
    /// The head's entry in the log.
    leaf: u64,
}

fn find(db: &Connection, name: &Identity) -> Result<Option<Row>, Refusal> {
    let mut query = db.prepare_cached("SELECT id, seq, head, leaf FROM chains WHERE name = ?")?;
    let row = query.query_row([name.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?))
    });
    let Some((id, seq, head, leaf)) = row.optional()? else { return Ok(None) };
    let head = ObjectId::parse(&head).map_err(|e| Refusal::storage(format!("a head: {e}")))?;
    Ok(Some(Row { id, head: Head { seq, id: head }, leaf }))
}

/// The key identity of that text.
///
/// # Errors
/// `key_expected`, and those of [`Identity::from_canonical`].
pub fn chain_name(text: &str) -> Result<Identity, Error> {
    let name = Identity::from_canonical(text)?;
    if name.is_key() { Ok(name) } else { Err(Error::about(Code::KeyExpected, name)) }
}

/// What follows a position: a line is an event.
fn after_line(bundle: &Bytes, after: u64) -> Bytes {
    let mut ends = bundle.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let from = match usize::try_from(after) {
        Ok(0) => 0,
        Ok(after) => ends.nth(after - 1).map_or(bundle.len(), |(at, _)| at + 1),
        Err(_) => bundle.len(),
    };
    bundle.slice(from..)
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
