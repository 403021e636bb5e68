//! Chains in one SQLite file. One thread writes: it verifies, and commits many requests at once,
//! so that the disk is waited for once a batch and not once a request. What was acknowledged was
//! committed with `synchronous=FULL` before.

use kez_core::{
    Chain, Code, Envelope, Error, Event, Head, Identity, ObjectId, Op, Timestamp,
    fork::{Merge, merge},
};
use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};
use tokio::sync::{broadcast, mpsc, oneshot};

/// How many requests one commit may hold.
const MAX_BATCH: usize = 256;
/// How many requests may wait for the writer before others are told to come back.
const QUEUE: usize = 4096;
/// How many events of replayed chains the writer keeps in memory.
const CACHED_EVENTS: usize = 50_000;
/// How many entries of one answer about a subject.
pub const MAX_CLAIMANTS: usize = 100;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS chains (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL,
    head TEXT NOT NULL,
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
    /// There is no space left, or none that the operator grants.
    Full,
    /// Too much waits already.
    Busy,
    /// The file cannot be read or written.
    Storage(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Conflict { .. } => f.write_str(Code::HeadConflict.summary()),
            Self::Full => f.write_str("the storage is full"),
            Self::Busy => f.write_str("too many requests wait already"),
            Self::Storage(why) => write!(f, "the storage failed: {why}"),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Storage(error.to_string()),
        }
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

/// One posted line, read but not yet verified against its chain.
#[derive(Clone, Debug)]
pub struct Posted {
    envelope: Envelope,
    event: Event,
}

/// Reads a body of lines.
///
/// # Errors
/// The format codes of the core; `chain_empty` for no line, `chain_id` for another chain's,
/// `chain_seq` unless each follows the one before.
pub fn read_lines(name: &Identity, body: &[u8]) -> Result<Vec<Posted>, Error> {
    let mut all: Vec<Posted> = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (envelope, event, _) = Event::take(&mut rest)?;
        if event.chain != *name {
            return Err(Error::about(Code::ChainId, &event.chain));
        }
        if all.last().is_some_and(|last| event.seq != last.event.seq + 1) {
            return Err(Error::about(Code::ChainSeq, event.seq));
        }
        all.push(Posted { envelope, event });
    }
    if all.is_empty() { Err(Code::ChainEmpty.into()) } else { Ok(all) }
}

struct Job {
    name: Identity,
    posted: Vec<Posted>,
    now: Timestamp,
    reply: oneshot::Sender<Result<Appended, Refusal>>,
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
    path: Arc<PathBuf>,
    readers: Arc<Mutex<Vec<Connection>>>,
    heads: broadcast::Sender<NewHead>,
}

impl Store {
    /// Opens or creates the file `sigchains.db` in a folder. With `quota`, the file grows to that
    /// many bytes at most. The thread ends when the last clone of the store is gone.
    ///
    /// # Errors
    /// What the file system or SQLite says.
    pub fn open(dir: &Path, quota: Option<u64>) -> Result<(Self, JoinHandle<()>), Refusal> {
        let failed = |e: std::io::Error| Refusal::Storage(format!("{}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let path = dir.join("sigchains.db");
        let connection = Connection::open(&path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
             PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864;",
        )?;
        connection.execute_batch(SCHEMA)?;
        if let Some(quota) = quota {
            let size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            // What is there already stays, even above the quota; 0 would mean no limit.
            let pages = (quota / size.max(1)).max(1);
            connection.pragma_update(None, "max_page_count", pages)?;
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (heads, _) = broadcast::channel(4096);
        let writer = Writer {
            connection,
            cache: LruCache::unbounded(),
            cached_events: 0,
            heads: heads.clone(),
        };
        let thread = std::thread::Builder::new().name("writer".into());
        let thread = thread.spawn(move || writer.run(queue)).map_err(failed)?;
        let store = Self { jobs, path: Arc::new(path), readers: Arc::default(), heads };
        Ok((store, thread))
    }

    /// Verifies and appends; what is here already is passed over. All of it is stored, or none.
    /// When this returns, the disk has it.
    ///
    /// # Errors
    /// Why nothing was appended.
    pub async fn append(
        &self,
        name: Identity,
        posted: Vec<Posted>,
        now: Timestamp,
    ) -> Result<Appended, Refusal> {
        let (reply, answer) = oneshot::channel();
        let job = Job { name, posted, now, reply };
        self.jobs.try_send(job).map_err(|_| Refusal::Busy)?;
        answer.await.unwrap_or_else(|_| Err(Refusal::Storage("the writer is gone".into())))
    }

    /// New heads from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<NewHead> {
        self.heads.subscribe()
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
    /// `Storage`.
    pub async fn head(&self, name: Identity) -> Result<Option<Head>, Refusal> {
        self.read(move |db| Ok(find(db, &name)?.map(|(_, head)| head))).await
    }

    /// A chain's head, and its lines after a position, from one state of the chain.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn lines(
        &self,
        name: Identity,
        after: u64,
    ) -> Result<Option<(Head, String)>, Refusal> {
        self.read(move |db| {
            let tx = db.unchecked_transaction()?;
            let Some((id, head)) = find(&tx, &name)? else { return Ok(None) };
            Ok(Some((head, lines(&tx, id, after)?)))
        })
        .await
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
        let (path, readers) = (self.path.clone(), self.readers.clone());
        let task = tokio::task::spawn_blocking(move || {
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => {
                    let connection = Connection::open(&*path)?;
                    connection
                        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON")?;
                    connection
                }
            };
            let result = work(&connection);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        task.await.unwrap_or_else(|e| Err(Refusal::Storage(e.to_string())))
    }
}

fn find(db: &Connection, name: &Identity) -> Result<Option<(i64, Head)>, Refusal> {
    let mut query = db.prepare_cached("SELECT id, seq, head FROM chains WHERE name = ?")?;
    let row = query.query_row([name.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, String>(2)?))
    });
    let Some((id, seq, head)) = row.optional()? else { return Ok(None) };
    let head = ObjectId::parse(&head).map_err(|e| Refusal::Storage(format!("a head: {e}")))?;
    Ok(Some((id, Head { seq, id: head })))
}

fn lines(db: &Connection, chain: i64, after: u64) -> Result<String, Refusal> {
    let mut query =
        db.prepare_cached("SELECT line FROM events WHERE chain = ? AND seq > ? ORDER BY seq")?;
    let mut rows = query.query(params![chain, i64::try_from(after).unwrap_or(i64::MAX)])?;
    let mut out = String::new();
    while let Some(row) = rows.next()? {
        out.push_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
        out.push('\n');
    }
    Ok(out)
}

struct Writer {
    connection: Connection,
    cache: LruCache<Identity, Chain>,
    cached_events: usize,
    heads: broadcast::Sender<NewHead>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                let Ok(job) = queue.try_recv() else { break };
                batch.push(job);
            }
            self.batch(batch);
        }
    }

    fn batch(&mut self, batch: Vec<Job>) {
        let mut results = Vec::new();
        let mut done = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Refusal::from);
        for job in &batch {
            let result = match &done {
                Ok(()) => self.append(job),
                Err(failure) => Err(failure.clone()),
            };
            // SQLite may have given up the whole transaction: none of it counts then.
            if let Err(failure @ (Refusal::Full | Refusal::Storage(_))) = &result {
                done = Err(failure.clone());
            }
            results.push(result);
        }
        done = done.and_then(|()| Ok(self.connection.execute_batch("COMMIT")?));
        if done.is_err() {
            // It may be rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        for (job, mut result) in batch.into_iter().zip(results) {
            if let Err(failure) = &done {
                self.forget(&job.name);
                if result.is_ok() || matches!(result, Err(Refusal::Conflict { fork: true, .. })) {
                    result = Err(failure.clone());
                }
            }
            if let Ok(Appended { head, new: true }) = result {
                // Nobody may be listening.
                let _ = self.heads.send(NewHead { name: job.name, head });
            }
            // Who asked may be gone.
            let _ = job.reply.send(result);
        }
        while self.cached_events > CACHED_EVENTS {
            let Some((_, chain)) = self.cache.pop_lru() else { break };
            self.cached_events -= chain.lines().len();
        }
    }

    fn forget(&mut self, name: &Identity) {
        if let Some(chain) = self.cache.pop(name) {
            self.cached_events -= chain.lines().len();
        }
    }

    /// The stored chain, taken out of the cache or replayed.
    fn take(&mut self, job: &Job) -> Result<Option<Chain>, Refusal> {
        if let Some(chain) = self.cache.pop(&job.name) {
            self.cached_events -= chain.lines().len();
            return Ok(Some(chain));
        }
        let Some((id, _)) = find(&self.connection, &job.name)? else { return Ok(None) };
        let bundle = lines(&self.connection, id, 0)?;
        // What is here was within the clock's tolerance when it came.
        let far = Timestamp::from_seconds(i64::MAX);
        let chain = Chain::replay(bundle.as_bytes(), Some(&job.name), far);
        Ok(Some(chain.map_err(|e| Refusal::Storage(format!("{} as stored: {e}", job.name)))?))
    }

    fn keep(&mut self, chain: Chain) {
        self.cached_events += chain.lines().len();
        self.cache.put(chain.name().clone(), chain);
    }

    fn append(&mut self, job: &Job) -> Result<Appended, Refusal> {
        let stored = self.take(job)?;
        let head = stored.as_ref().and_then(Chain::head);
        let known = |p: &&Posted| {
            stored.as_ref().and_then(|c| c.id_at(p.event.seq)) == Some(p.envelope.id())
        };
        let skip = job.posted.iter().take_while(known).count();
        let further = &job.posted[skip..];
        let next = head.map_or(1, |head| head.seq + 1);
        match (further.first().map(|p| p.event.seq), stored) {
            (None, Some(chain)) => {
                self.keep(chain);
                let head = head.ok_or_else(|| Refusal::Storage("a chain without head".into()))?;
                Ok(Appended { head, new: false })
            }
            (Some(seq), stored) if seq == next => self.extend(job, stored, further),
            (Some(seq), Some(chain)) if seq < next => self.diverge(job, chain, seq, further),
            (_, stored) => {
                stored.into_iter().for_each(|chain| self.keep(chain));
                Err(Refusal::Conflict { head, fork: false })
            }
        }
    }

    /// Appends events at the end.
    fn extend(
        &mut self,
        job: &Job,
        stored: Option<Chain>,
        further: &[Posted],
    ) -> Result<Appended, Refusal> {
        let before = stored.as_ref().and_then(Chain::head);
        let mut chain = match stored {
            Some(chain) => chain,
            None => Chain::new(&job.name)?,
        };
        for (n, posted) in further.iter().enumerate() {
            let Err(error) = chain.append(&posted.envelope, job.now) else { continue };
            // With some of the events in it, the chain is not what is stored.
            if n == 0 && before.is_some() {
                self.keep(chain);
            }
            return Err(match error.code() {
                Code::ChainPrev if n == 0 => Refusal::Conflict { head: before, fork: false },
                _ => Refusal::Invalid(error),
            });
        }
        self.save(&chain, before.map_or(0, |head| head.seq), false)?;
        let head = chain.head().ok_or(Code::ChainEmpty).map_err(Error::from)?;
        self.keep(chain);
        Ok(Appended { head, new: true })
    }

    /// Another history from `seq` on: kept as evidence if it verifies, and taken for the chain if
    /// only it rotates to the committed key.
    fn diverge(
        &mut self,
        job: &Job,
        chain: Chain,
        seq: u64,
        further: &[Posted],
    ) -> Result<Appended, Refusal> {
        let head = chain.head();
        let common = usize::try_from(seq - 1).unwrap_or(usize::MAX);
        let mut bundle: String =
            chain.lines().iter().take(common).map(|l| format!("{l}\n")).collect();
        for posted in further {
            bundle += &posted.envelope.to_canonical();
            bundle.push('\n');
        }
        let branch = match Chain::replay(bundle.as_bytes(), Some(&job.name), job.now) {
            Ok(branch) => branch,
            Err(error) => {
                self.keep(chain);
                return Err(match error.code() {
                    // Its first event follows another one than ours: nobody can tell a fork.
                    Code::ChainPrev => Refusal::Conflict { head, fork: false },
                    _ => Refusal::Invalid(error),
                });
            }
        };
        let Merge::Fork(fork) = merge(chain.clone(), branch.clone())? else {
            self.keep(chain);
            return Err(Refusal::Conflict { head, fork: false });
        };
        self.connection
            .prepare_cached("UPDATE chains SET fork = ?2 WHERE name = ?1")?
            .execute(params![job.name.as_str(), fork.to_canonical()])?;
        match fork.into_settled() {
            Ok(settled) if settled == branch => {
                self.save(&branch, seq - 1, true)?;
                let head = branch.head().ok_or(Code::ChainEmpty).map_err(Error::from)?;
                self.keep(branch);
                Ok(Appended { head, new: true })
            }
            _ => {
                self.keep(chain);
                Err(Refusal::Conflict { head, fork: true })
            }
        }
    }

    /// Writes a chain's events after a position. With `replace`, others are there and go.
    fn save(&self, chain: &Chain, after: u64, replace: bool) -> Result<(), Refusal> {
        let db = &self.connection;
        let Some(head) = chain.head() else { return Ok(()) };
        let id: i64 = db
            .prepare_cached(
                "INSERT INTO chains (name, seq, head) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET seq = ?2, head = ?3 RETURNING id",
            )?
            .query_row(params![chain.name().as_str(), head.seq, head.id.to_string()], |row| {
                row.get(0)
            })?;
        if replace {
            for table in ["events", "subjects"] {
                let sql = format!("DELETE FROM {table} WHERE chain = ? AND seq > ?");
                db.execute(&sql, params![id, after])?;
            }
        }
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let mut events =
            db.prepare_cached("INSERT INTO events (chain, seq, line) VALUES (?, ?, ?)")?;
        let mut subjects = db.prepare_cached(
            "INSERT INTO subjects (subject, chain, seq, claim) VALUES (?, ?, ?, ?)",
        )?;
        for (event, line) in chain.events().iter().zip(chain.lines()).skip(skip) {
            events.execute(params![id, event.seq, line])?;
            if let Op::Add { subject, claim, .. } = &event.op {
                subjects.execute(params![subject.as_str(), id, event.seq, claim.to_string()])?;
            }
        }
        Ok(())
    }
}
