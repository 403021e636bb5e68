//! A copy, in a server's own SQLite file, of what several servers write to one stream of NATS.
//! What is written goes into the stream first; every server applies the stream's messages to its
//! copy in their order, and the one that wrote answers then.

use crate::{
    nats::{Client, Entry, Log, Message, Refused},
    problem::Problem,
    sqlite::{Failure, Schema},
};
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// Names a request, for the server that waits for what becomes of it.
const REQUEST: &str = "Kez-Request";
/// For how long a copy may be behind.
const LIMIT: Duration = Duration::from_secs(5);

/// Up to where the stream is applied.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS stream (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    created TEXT NOT NULL,
    seq INTEGER NOT NULL,
    posts INTEGER NOT NULL DEFAULT 0
) STRICT;
";

/// Whether a file is a copy of a stream: nothing may be written to it but what the stream has.
///
/// # Errors
/// What SQLite says.
pub fn is_copy(db: &Connection) -> Result<bool, Failure> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'stream'";
    Ok(db.query_row(sql, [], |row| row.get::<_, u64>(0))? > 0)
}

/// Refuses a file that is a copy of a stream.
///
/// # Errors
/// A sentence that says so; what SQLite says.
pub fn refuse_copy(db: &Connection, file: &str) -> Result<(), Failure> {
    if !is_copy(db)? {
        return Ok(());
    }
    let why = "is a copy of a NATS stream: NATS_URL has to say where that is";
    Err(Failure::Storage(format!("{file} {why}")))
}

/// Opens a file as a copy of a stream, and makes it if it is missing: one that has nothing in its
/// `table` is a new copy. `own` are the server's own tables of the stream. Gives up to where the
/// copy has the stream, too.
///
/// # Errors
/// Why the file is not a copy of this stream; what SQLite says.
pub fn open(
    schema: &Schema,
    path: &Path,
    log: &Log,
    table: &str,
    own: &str,
) -> Result<(Connection, u64), Failure> {
    let db = schema.open(path, None)?;
    // What this file loses, the stream gives again.
    db.execute_batch("PRAGMA synchronous = NORMAL")?;
    let refused = |why: &str| Err(Failure::Storage(format!("{} {why}", path.display())));
    let rest = "what one of them has would be lost; move the file away to copy the stream anew";
    if !is_copy(&db)? {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        if db.query_row(&sql, [], |row| row.get(0))? {
            return refused("has what is not in the stream: the command `migrate` puts it there");
        }
    }
    db.execute_batch(TABLE)?;
    db.execute_batch(own)?;
    let found = db.query_row("SELECT created, seq FROM stream", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?))
    });
    let seq = match found.optional()? {
        Some((created, _)) if created != log.created => {
            return refused(&format!("is a copy of another stream: {rest}"));
        }
        Some((_, seq)) if seq > log.last => {
            return refused(&format!("has more than the stream: {rest}"));
        }
        Some((_, seq)) => seq,
        None => {
            let sql = "INSERT INTO stream (one, created, seq) VALUES (1, ?, 0)";
            db.execute(sql, [&log.created])?;
            0
        }
    };
    Ok((db, seq))
}

/// Notes, in the transaction that applies it, that a message is applied, and whether somebody
/// posted it.
///
/// # Errors
/// What SQLite says.
pub fn note(db: &Connection, seq: u64, post: bool) -> Result<(), Failure> {
    db.prepare_cached("UPDATE stream SET seq = ?1, posts = posts + ?2")?
        .execute(params![seq, post])?;
    Ok(())
}

/// Whether nobody has posted to the stream: what a migration says is taken until then.
///
/// # Errors
/// What SQLite says.
pub fn is_new(db: &Connection) -> Result<bool, Failure> {
    Ok(db.query_row("SELECT posts = 0 FROM stream", [], |row| row.get(0))?)
}

/// Makes a copy a file of its own; the server's own `tables` of the stream go with it.
///
/// # Errors
/// What SQLite says; a file that is no copy.
pub fn leave(db: &Connection, tables: &[&str]) -> Result<(), Failure> {
    if !is_copy(db)? {
        return Err(Failure::Storage("the data is no copy of a NATS stream".into()));
    }
    let drops: String =
        tables.iter().map(|table| format!("DROP TABLE IF EXISTS {table};")).collect();
    Ok(db.execute_batch(&format!("BEGIN; DROP TABLE stream; {drops} COMMIT"))?)
}

/// Moves a file into a new stream: `publish` puts there what the file has, and `copy` makes a copy
/// of the stream in its place and says what that has. The old file stays beside, named
/// `….migrated`. If the copy has something else than `before`, all is as it was.
///
/// # Errors
/// A file that is a copy already, a stream that has messages already, a server that writes to the
/// file; those of `publish` and `copy`.
pub async fn move_in<T: PartialEq, E: From<Failure>>(
    (dir, name): (&Path, &str),
    db: Connection,
    log: Log,
    before: impl FnOnce(&Connection) -> Result<T, E>,
    publish: impl AsyncFnOnce(&Connection, &Log) -> Result<(), E>,
    copy: impl AsyncFnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let (file, old) = (dir.join(name), dir.join(format!("{name}.migrated")));
    let refused = |why: &str| Err(Failure::Storage(why.to_owned()).into());
    if is_copy(&db)? {
        return refused("the data is a copy of a NATS stream already");
    }
    if log.last > 0 {
        return refused("the stream has messages already; delete it to begin anew");
    }
    // Whoever writes now is refused, and we are if somebody does.
    db.execute_batch("BEGIN IMMEDIATE").map_err(Failure::from)?;
    let before = before(&db)?;
    publish(&db, &log).await?;
    db.execute_batch("ROLLBACK").map_err(Failure::from)?;
    db.close().map_err(|(_, e)| Failure::from(e))?;
    fs::rename(&file, &old).map_err(Failure::of(&old))?;
    drop(log);
    match copy().await {
        Ok(after) if after == before => Ok(after),
        result => {
            fs::rename(&old, &file).map_err(Failure::of(&file))?;
            result.and_then(|_| refused("the stream gives something else than the file has"))
        }
    }
}

/// Appends a message of a migration after the last one of its subject. Gives its position.
///
/// # Errors
/// A server that writes to the stream, a message that is too large, what NATS says.
pub async fn send(log: &Log, entry: Entry) -> Result<u64, Failure> {
    log.append(entry).await.map_err(|refused| match refused {
        Refused::Moved => Failure::Storage("a server writes to the stream".into()),
        Refused::TooLarge(most) => {
            Failure::Storage(format!("the NATS server takes {most} bytes at once"))
        }
        Refused::Failed(failure) => failure,
    })
}

/// A store that may be one of several.
pub trait Shared: Clone + Send + Sync + 'static {
    /// How far its copy of the stream is, if there is one.
    fn progress(&self) -> Option<&Progress>;

    /// Up to where the stream is applied, if there is one.
    fn applied(&self) -> Option<u64> {
        self.progress().map(Progress::applied)
    }

    /// Waits until the store has what was acknowledged before, by any of those that share the
    /// stream. One that is alone has it.
    ///
    /// # Errors
    /// `Unreachable` if NATS does not say how far the stream is, or this store is behind.
    fn current(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async {
            match self.progress() {
                Some(progress) => progress.catch_up().await,
                None => Ok(()),
            }
        }
    }

    /// As [`Shared::current`], as long as it takes and something happens: a new copy is long in the
    /// making.
    ///
    /// # Errors
    /// `Unreachable`.
    fn copied(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async {
            loop {
                let before = self.applied();
                match self.current().await {
                    Err(_) if self.applied() > before => {
                        tracing::info!(applied = self.applied(), "copying the stream");
                    }
                    result => return result,
                }
            }
        }
    }
}

/// Answers requests below `/v1/` when the store is as new as what was acknowledged before. For a
/// store that is alone nothing is added to what a request costs.
pub fn fresh<T: Clone + Send + Sync + 'static>(
    router: Router<T>,
    store: &impl Shared,
) -> Router<T> {
    if store.progress().is_none() {
        return router;
    }
    let store = store.clone();
    let layer = move |request: Request, next: Next| {
        let store = store.clone();
        async move {
            if request.uri().path().starts_with("/v1/") {
                store.current().await?;
            }
            Ok::<_, Problem>(next.run(request).await)
        }
    };
    router.layer(middleware::from_fn(layer))
}

type Waiting<R> = Arc<Mutex<HashMap<String, oneshot::Sender<R>>>>;

/// How far a copy is.
pub struct Progress {
    log: Arc<Log>,
    applied: watch::Receiver<u64>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Progress {
    /// Up to where the stream is applied.
    fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// The connection, for what nobody keeps.
    #[must_use]
    pub fn client(&self) -> Client {
        self.log.client()
    }

    /// Waits until what was in the stream when this was called is applied.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn catch_up(&self) -> Result<(), Failure> {
        let end = self.log.end().await?;
        let mut applied = self.applied.clone();
        match timeout(LIMIT, applied.wait_for(|seq| *seq >= end)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::Unreachable),
        }
    }
}

/// A server's part in a stream. `R` is what becomes of a request.
pub struct Replica<R> {
    progress: Progress,
    waiting: Waiting<R>,
    follower: JoinHandle<()>,
}

impl<R> fmt::Debug for Replica<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl<R> Drop for Replica<R> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl<R: Send + 'static> Replica<R> {
    /// Follows a stream after a position: `make` makes a job of each message, and of whom to tell
    /// what became of it. Whoever does the jobs says how far it is by `applied`.
    #[must_use]
    pub fn follow<T: Send + 'static>(
        log: Log,
        applied: watch::Receiver<u64>,
        jobs: mpsc::Sender<T>,
        make: impl Fn(Message, Option<oneshot::Sender<R>>) -> T + Send + Sync + 'static,
    ) -> Self {
        let (log, waiting) = (Arc::new(log), Waiting::default());
        let after = *applied.borrow();
        let (following, asked) = (log.clone(), Arc::clone(&waiting));
        let follower = tokio::spawn(async move {
            let make = |message: Message| {
                let request = message.headers.get(REQUEST).map(ToString::to_string);
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let reply = request.and_then(|name| asked.remove(&name));
                drop(asked);
                make(message, reply)
            };
            following.follow(after, jobs, make).await;
        });
        Self { progress: Progress { log, applied }, waiting, follower }
    }

    /// Appends an entry, and gives what became of it when this copy had it.
    ///
    /// # Errors
    /// Why it was not appended; with `Unreachable` it may have been.
    pub async fn order(&self, mut entry: Entry) -> Result<R, Refused> {
        let request = Asked::new(&self.waiting).map_err(Refused::Failed)?;
        entry.headers.insert(REQUEST, request.name.as_str());
        self.progress.log.append(entry).await?;
        request.answer().await.ok_or(Refused::Failed(Failure::Unreachable))
    }

    /// How far this server's copy is.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// A request that waits for its message to come back.
struct Asked<'a, R> {
    name: String,
    answer: oneshot::Receiver<R>,
    waiting: &'a Waiting<R>,
}

impl<'a, R> Asked<'a, R> {
    fn new(waiting: &'a Waiting<R>) -> Result<Self, Failure> {
        let name = kez_core::hex::encode(&crate::random::<16>()?);
        let (reply, answer) = oneshot::channel();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), reply);
        Ok(Self { name, answer, waiting })
    }

    async fn answer(mut self) -> Option<R> {
        timeout(LIMIT, &mut self.answer).await.ok()?.ok()
    }
}

impl<R> Drop for Asked<'_, R> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
