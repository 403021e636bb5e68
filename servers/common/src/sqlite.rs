//! SQLite files: how they are opened, read side by side, and copied.

use rusqlite::{Connection, ErrorCode, OpenFlags, backup::Backup};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Why the storage did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no space left, or none that the operator grants.
    Full,
    /// Too much waits already.
    Busy,
    /// The operator's NATS does not answer. What was asked for may have been done.
    Unreachable,
    /// The file cannot be read or written. The words are the operator's.
    Storage(String),
    /// What was to be done does not fit what is there, and never will. The words are the operator's.
    Misfit(String),
}

impl Failure {
    /// Something about a file.
    pub fn of(path: &Path) -> impl Fn(io::Error) -> Self + use<'_> {
        move |e| Self::Storage(format!("{}: {e}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the storage is full"),
            Self::Busy => f.write_str("too many requests wait already"),
            Self::Unreachable => f.write_str("the storage cannot be reached now"),
            Self::Storage(why) | Self::Misfit(why) => write!(f, "the storage failed: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // SQLite calls errors of the statement unknown; those without a code are the library's.
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown)
            | None => Self::Misfit(error.to_string()),
            Some(_) => Self::Storage(error.to_string()),
        }
    }
}

/// How many statements a connection keeps ready: more than a server has. Preparing one anew takes
/// longer than what most of them do.
const STATEMENTS: usize = 128;

/// The tables of a file and their version.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// What makes them, where they are not there yet.
    pub sql: &'static [&'static str],
    /// Their version.
    pub version: i64,
}

impl Schema {
    /// Opens a file for writing, and makes it if it is missing: a write-ahead log, synced with
    /// every commit. With a quota, it grows to so many bytes at most.
    ///
    /// # Errors
    /// What the file system or SQLite says; a file of another version.
    pub fn open(&self, path: &Path, quota: Option<u64>) -> Result<Connection, Failure> {
        let Self { sql, version } = self;
        let dir = path.parent().unwrap_or(path);
        fs::create_dir_all(dir).map_err(Failure::of(dir))?;
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
             PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864;",
        )?;
        match self.version_of(&connection)? {
            0 => connection.execute_batch(&format!(
                "BEGIN; {} PRAGMA user_version = {version}; COMMIT;",
                sql.concat()
            ))?,
            found if found == *version => {}
            other => {
                let why = format!("{}: a file of version {other}", path.display());
                return Err(Failure::Storage(why));
            }
        }
        if let Some(quota) = quota {
            let size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            // What is there already stays, even above the quota; 0 would mean no limit.
            let pages = (quota / size.max(1)).max(1);
            connection.pragma_update(None, "max_page_count", pages)?;
        }
        Ok(connection)
    }

    fn version_of(&self, db: &Connection) -> Result<i64, Failure> {
        Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
    }

    /// Whether a backup is of this version and its pages are whole.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, db: &Connection) -> Result<(), Failure> {
        let broken = |what: &dyn fmt::Display| Failure::Storage(format!("the backup: {what}"));
        let version = self.version_of(db)?;
        if version != self.version {
            return Err(broken(&format_args!("a file of version {version}")));
        }
        let pages: String = db.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
        if pages == "ok" { Ok(()) } else { Err(broken(&pages)) }
    }
}

/// A connection to a file, which has to be there, for reading.
///
/// # Errors
/// What SQLite says.
pub fn open_reader(path: &Path) -> Result<Connection, Failure> {
    // Readers of a write-ahead log write to its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let named = |e: rusqlite::Error| Failure::Storage(format!("{}: {e}", path.display()));
    let connection = Connection::open_with_flags(path, flags).map_err(named)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON")?;
    Ok(connection)
}

/// The bytes of a file that are in use, pages that are free for reuse not included.
///
/// # Errors
/// What SQLite says.
pub fn used(db: &Connection) -> Result<u64, Failure> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages * pragma("page_size")?)
}

/// Connections for reading: as many as work side by side.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Readers of a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        let permits = Arc::new(Semaphore::new(2 * cores));
        Arc::new(Self { path, idle: Mutex::default(), permits })
    }

    /// Does something with a connection, away from the threads that answer.
    ///
    /// # Errors
    /// Those of the work, and of opening.
    pub async fn read<T: Send + 'static, E: From<Failure> + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let gone = |_| Failure::Storage("the readers are gone".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(gone)?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => open_reader(&readers.path)?,
            };
            let result = work(&connection);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        task.await.unwrap_or_else(|e| Err(Failure::Storage(e.to_string()).into()))
    }
}

/// How many requests may wait for the writer before others are told to come back.
const QUEUE: usize = 4096;
/// How many requests one commit may hold.
const MAX_BATCH: usize = 256;

/// What is called after the commit, with how it went.
type After = Box<dyn FnOnce(Result<(), Failure>) + Send>;
/// Is called without a connection if the batch has failed already.
type Job = Box<dyn FnOnce(Option<&Connection>) -> (bool, After) + Send>;

/// The one thread that writes: it commits many requests at once, so that the disk is waited for
/// once a batch and not once a request. Clones share it; it ends when the last one is gone.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(connection: Connection) -> Result<(Self, JoinHandle<()>), Failure> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("writer".into());
        let thread = thread.spawn(move || run(&connection, queue));
        Ok((Self(jobs), thread.map_err(|e| Failure::Storage(e.to_string()))?))
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        (QUEUE - self.0.capacity()) as u64
    }

    /// Does some work, all of it or, if it fails, none. When this returns, the disk has it.
    /// `publish` is called after the commit and before the answer, in the order of the commits.
    ///
    /// # Errors
    /// Those of the work and of the storage; `Busy`.
    pub async fn write<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        publish: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let done = db.map(work);
            let keep = matches!(done, Some(Ok(_)));
            let after: After = Box::new(move |committed| {
                let done = match (done, committed) {
                    (Some(Ok(done)), Ok(())) => {
                        publish(&done);
                        Ok(done)
                    }
                    (Some(Err(error)), _) => Err(error),
                    (_, Err(failure)) => Err(failure.into()),
                    (None, Ok(())) => Err(Failure::Busy.into()),
                };
                // Who asked may be gone.
                let _ = reply.send(done);
            });
            (keep, after)
        });
        self.0.try_send(job).map_err(|_| Failure::Busy)?;
        let gone = |_| Err(Failure::Storage("the writer is gone".into()).into());
        answer.await.unwrap_or_else(gone)
    }
}

fn run(db: &Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            let Ok(job) = queue.try_recv() else { break };
            batch.push(job);
        }
        let mut afters = Vec::with_capacity(batch.len());
        let done = commit(db, batch, &mut afters);
        if done.is_err() {
            // It may be rolled back already.
            let _ = db.execute_batch("ROLLBACK");
        }
        for after in afters {
            after(done.clone());
        }
    }
}

fn commit(db: &Connection, batch: Vec<Job>, afters: &mut Vec<After>) -> Result<(), Failure> {
    let mut done = db.execute_batch("BEGIN IMMEDIATE").map_err(Failure::from);
    for job in batch {
        if done.is_ok() {
            done = db.execute_batch("SAVEPOINT job").map_err(Failure::from);
        }
        // What follows a failure is not tried, but it has to be answered.
        let (keep, after) = job(done.is_ok().then_some(db));
        afters.push(after);
        // SQLite may have given up the whole transaction: none of it counts then.
        if done.is_ok() && db.is_autocommit() {
            done = Err(Failure::Full);
        }
        if done.is_ok() {
            let end = if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
            done = db.execute_batch(end).map_err(Failure::from);
        }
    }
    done.and_then(|()| Ok(db.execute_batch("COMMIT")?))
}

/// Copies a file that others may be writing to into a new folder, and files beside it.
///
/// # Errors
/// What the file system or SQLite says. What was begun is then removed.
pub fn backup(data: &Path, to: &Path, file: &str, beside: &[&str]) -> Result<(), Failure> {
    let source = open_reader(&data.join(file))?;
    fs::create_dir(to).map_err(Failure::of(to))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(to, mode).map_err(Failure::of(to))?;
    }
    let done = fill(&source, data, to, file, beside);
    if done.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_dir_all(to);
    }
    done
}

fn fill(
    source: &Connection,
    data: &Path,
    to: &Path,
    file: &str,
    beside: &[&str],
) -> Result<(), Failure> {
    let mut copy = Connection::open(to.join(file))?;
    // All pages in one step are one state; writers go on in the write-ahead log meanwhile.
    Backup::new(source, &mut copy)?.run_to_completion(i32::MAX, Duration::from_millis(50), None)?;
    copy.close().map_err(|(_, e)| e)?;
    let sync = |path: &Path| fs::File::open(path).and_then(|f| f.sync_all());
    sync(&to.join(file)).map_err(Failure::of(to))?;
    for name in beside {
        let path = to.join(name);
        fs::copy(data.join(name), &path).map_err(Failure::of(&path))?;
        sync(&path).map_err(Failure::of(&path))?;
    }
    #[cfg(unix)]
    sync(to).map_err(Failure::of(to))?;
    Ok(())
}
