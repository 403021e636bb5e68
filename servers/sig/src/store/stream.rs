//! Several servers on one stream of the operator's NATS. A post is verified against this server's
//! copy of the chains, and goes into the stream if the copy has the last message of its chain: no
//! two servers fork a chain by accident. Every server applies each message to its copy, and
//! verifies it again, so that all copies are one, the log in them included, and what else is in the
//! stream is refused by all alike. The copy is the same file that a server has who is alone.

use super::{
    FILE, Options, Refusal, SCHEMA, Store, chain_name,
    writer::{Done, Job, Kind, Told, Work},
};
use crate::log::{KEY_FILE, LogKey};
use axum::body::Bytes;
use kez_core::{Code, Error, Identity};
use kez_server::{
    folder::Lock,
    nats::{self, Entry, HeaderMap, Keep, Log, Message, Nats, Refused, Shape},
    replica::{self, Progress, Replica},
    sqlite::Failure,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{collections::HashMap, path::Path, thread::JoinHandle};
use tokio::sync::{oneshot, watch};

/// The stream's name.
const STREAM: &str = "KEZ_SIGCHAINS";
const SUBJECTS: &[&str] = &["kez.sig.>"];
/// A chain's subject is this and its name, with a dot for the colon.
const PREFIX: &str = "kez.sig.chain.";
/// What a migration says of the log has this one.
pub(super) const LOG_SUBJECT: &str = "kez.sig.log";
/// The stream's metadata names the log's key by this.
const LOG_KEY: &str = "kez-log";
/// What a message is, if it is no post.
pub(super) const KIND: &str = "Kez-Kind";

const BARRIER: &str = "barrier";

/// The last message of each chain.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS written (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What becomes of a post.
type Reply = Result<Done, Refusal>;

/// This server's part in the stream.
pub(super) struct Stream(Replica<Reply>);

impl Stream {
    /// Opens a copy of the stream in a folder, and makes either if it is missing.
    pub(super) async fn join(
        dir: &Path,
        options: &Options,
        settings: &nats::Settings,
    ) -> Result<(Store, JoinHandle<()>), Refusal> {
        let lock = Lock::acquire(dir)?;
        let (log, key) = open(dir, options, settings).await?;
        let path = dir.join(FILE);
        let (connection, seq) = replica::open(&SCHEMA, &path, &log, "chains", TABLE)?;
        let (applying, applied) = watch::channel(seq);
        let (mut store, thread) =
            Store::start(dir, options, (lock, connection), key, Some(applying))?;
        let replica = Replica::follow(log, applied, store.jobs.clone(), job);
        store.stream = Some(Self(replica).into());
        Ok((store, thread))
    }

    /// Waits until this server has all that any has acknowledged before: most nodes of NATS take a
    /// message, and it comes back.
    pub(super) async fn barrier(&self) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(KIND, BARRIER);
        let subject = "kez.sig.barrier".into();
        let entry = Entry { subject, after: None, headers, body: Bytes::new() };
        let done = self.0.order(entry).await.map_err(|refused| match refused {
            Refused::Failed(failure) => failure,
            _ => Failure::Busy,
        });
        done?.map(drop)
    }

    /// Puts a post into the stream, after the chain's last message, and gives what became of it.
    pub(super) async fn order(&self, name: &Identity, after: u64, body: Bytes) -> Reply {
        let (subject, headers) = (subject(name), HeaderMap::new());
        let entry = Entry { subject, after: Some(after), headers, body };
        match self.0.order(entry).await {
            Ok(reply) => reply,
            Err(Refused::Moved) => {
                self.0.progress().catch_up().await?;
                Ok(Done::Moved)
            }
            Err(Refused::TooLarge(most)) => {
                let why = format!("at once, this server takes {most} bytes");
                Err(Error::about(Code::TooLarge, why).into())
            }
            Err(Refused::Failed(failure)) => Err(failure.into()),
        }
    }

    /// How far this server's copy is.
    pub(super) const fn progress(&self) -> &Progress {
        self.0.progress()
    }
}

/// The stream, made if it is missing, and the key of its log, which all that share it have.
pub(super) async fn open(
    dir: &Path,
    options: &Options,
    settings: &nats::Settings,
) -> Result<(Log, LogKey), Refusal> {
    let nats = Nats::connect(settings, "kez-sig-server").await.map_err(Refusal::storage)?;
    let there = nats.metadata(STREAM).await.map_err(Refusal::storage)?;
    if let Some(public) = there.as_ref().and_then(|all| all.get(LOG_KEY))
        && !dir.join(KEY_FILE).exists()
    {
        return Err(Refusal::storage(format!(
            "the stream's log is signed by {public}: copy its {KEY_FILE} into {}",
            dir.display()
        )));
    }
    std::fs::create_dir_all(dir).map_err(Failure::of(dir))?;
    let key = LogKey::open(dir, options.log_name.as_deref())?;
    let shape = Shape {
        name: STREAM,
        subjects: SUBJECTS,
        description: "Sigchains of KEZ, and the order of their log",
        metadata: HashMap::from([(LOG_KEY.to_owned(), key.public().to_string())]),
        bytes: options.quota,
        keep: Keep::All,
    };
    Ok((nats.log(shape).await.map_err(Refusal::storage)?, key))
}

/// What the writer has to do about a message.
fn job(message: Message, reply: Option<oneshot::Sender<Reply>>) -> Job {
    let Message { seq, at, subject, headers, body } = message;
    let kind = match headers.get(KIND).map(|value| value.as_str()) {
        None => Kind::Post,
        Some("chain") => Kind::Chain,
        Some("fork") => Kind::Fork,
        Some(BARRIER) => Kind::Barrier,
        Some(_) => Kind::Entries,
    };
    let name = subject.strip_prefix(PREFIX).map(|rest| rest.replacen('.', ":", 1));
    let name = name.and_then(|name| chain_name(&name).ok());
    Job { work: Work::Told(Told { seq, at, name, kind, body }), reply }
}

/// The subject of a chain.
pub(super) fn subject(name: &Identity) -> String {
    format!("{PREFIX}{}", name.as_str().replacen(':', ".", 1))
}

/// The position of a chain's last message, 0 if it has none.
pub(super) fn last(db: &Connection, name: &Identity) -> Result<u64, Refusal> {
    let mut query = db.prepare_cached("SELECT seq FROM written WHERE name = ?")?;
    Ok(query.query_row([name.as_str()], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Notes that a message is applied.
pub(super) fn note(db: &Connection, told: &Told) -> Result<(), Refusal> {
    replica::note(db, told.seq, told.kind == Kind::Post)?;
    if let Some(name) = &told.name {
        let sql = "INSERT INTO written (name, seq) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET seq = ?2";
        db.prepare_cached(sql)?.execute(params![name.as_str(), told.seq])?;
    }
    Ok(())
}
