//! Several servers on one stream of the operator's NATS: each command goes into it, and every server
//! does all of them, in their order, to its copy of the data. So all copies are one, a conversation
//! and its inboxes change together, and any server may die. The servers sign their commands: who
//! can write to the stream besides can do nothing. The copy is the same file that a server has who
//! is alone.
//!
//! The stream is a key-value bucket of JetStream, too: what concerns a handle or a device stands
//! under its key, and is put there by compare-and-set; the rest has one subject. All of it has one
//! order, which two streams would not have.

use super::{
    FILE, News, Quotas, Refusal, SCHEMA, Store,
    command::{self, Command, Output},
    outbox::{self, Outbox},
};
use crate::broker::Broker;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use kez_core::{Code, Error};
use kez_server::{
    folder::Lock,
    nats::{self, Entry, HeaderMap, Keep, Log, Message, Nats, Refused, Shape},
    replica::{self, Progress, Replica},
    secret,
    sqlite::{Failure, Readers, Writer},
};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{collections::HashMap, fmt, path::Path, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

/// The stream's name, as that of the bucket `KEZ_CHAT`, and what it takes.
const STREAM: &str = "KV_KEZ_CHAT";
const SUBJECTS: &[&str] = &[LOG, "$KV.KEZ_CHAT.>"];
const LOG: &str = "kez.chat.log";
const KEYS: &str = "$KV.KEZ_CHAT.";
/// Has who signed a message, in base64: a version, a nonce, seconds since 1970 in big endian, and a
/// signature over the three, the subject, a zero byte and the body.
const SIGNED: &str = "Kez-Signed";
/// The stream's metadata names the servers' key by this.
const KEY: &str = "kez-cluster";
/// The file of the key that the servers share.
pub const KEY_FILE: &str = "cluster.key";
/// The version of what is in the stream. A server that does not know it stops, since it would do
/// something else than the others.
const VERSION: u8 = 2;
/// How many messages may wait, and how many are applied at once.
const QUEUE: usize = 4096;
const MAX_BATCH: usize = 256;
/// For how long a command is good, in seconds; later it is somebody who sends it once more.
const LIFE: i64 = 60;
/// How long nothing is tried after the disk failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a key is set anew when others were first.
const ATTEMPTS: usize = 5;

/// The commands of the last minutes, and where each key was set last.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS done (
    nonce BLOB PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS done_by_age ON done (at);
CREATE TABLE IF NOT EXISTS keys (
    subject TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";
/// What a copy has beside the data.
pub(super) const TABLES: [&str; 3] = ["done", "keys", "outbox"];

/// What becomes of a command.
type Reply = Result<Output, Refusal>;

/// This server's part in the stream.
pub(super) struct Stream {
    replica: Replica<Reply>,
    key: SigningKey,
    readers: Arc<Readers>,
}

impl Stream {
    /// Opens a copy of the stream in a folder, and makes either if it is missing. With `inboxes`,
    /// what comes into them is published.
    pub(super) async fn join(
        dir: &Path,
        quotas: Quotas,
        settings: &nats::Settings,
        inboxes: bool,
    ) -> Result<(Store, JoinHandle<()>), Failure> {
        let (nats, log, key) = open(dir, quotas, settings).await?;
        let path = dir.join(FILE);
        let tables = [TABLE, outbox::TABLE].concat();
        let lock = Lock::acquire(dir)?;
        let (connection, seq) = replica::open(&SCHEMA, &path, &log, "handles", &tables)?;
        let (mut store, thread) = Store::start(dir, (lock, connection), quotas)?;
        let (applying, applied) = watch::channel(seq);
        let outbox = Outbox::new(inboxes);
        outbox.start(&nats, &store, applied.clone()).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let replica = Replica::follow(log, applied, jobs, |message, reply| (message, reply));
        let (writer, broker, public) =
            (store.writer.clone(), store.broker.clone(), key.verifying_key());
        tokio::spawn(apply(queue, writer, broker, (public, outbox), applying));
        let readers = store.readers.clone();
        store.stream = Some(Arc::new(Self { replica, key, readers }));
        Ok((store, thread))
    }

    /// What reaches the other servers and is kept by none, and the key by which they know each
    /// other.
    pub(super) fn others(&self) -> (nats::Client, SigningKey) {
        (self.replica.progress().client(), self.key.clone())
    }

    /// Puts a command into the stream, and gives what became of it.
    pub(super) async fn order(&self, command: Command) -> Reply {
        for _ in 0..ATTEMPTS {
            let mut entry = entry(&self.key, &command)?;
            if let Some(last) = &mut entry.after {
                let subject = entry.subject.clone();
                *last = self.readers.read(move |db| key_set_at(db, &subject)).await?;
            }
            match self.replica.order(entry).await {
                Ok(reply) => return reply,
                Err(Refused::Failed(failure)) => return Err(failure.into()),
                // What was set meanwhile decides what becomes of this one.
                Err(Refused::Moved) => self.progress().catch_up().await?,
                Err(Refused::TooLarge(most)) => {
                    let why = format!("at once, this server takes {most} bytes");
                    return Err(Error::about(Code::TooLarge, why).into());
                }
            }
        }
        Err(Failure::Busy.into())
    }

    /// How far this server's copy is.
    pub(super) const fn progress(&self) -> &Progress {
        self.replica.progress()
    }
}

/// The stream, made if it is missing, and the key that all who share it have.
pub(super) async fn open(
    dir: &Path,
    quotas: Quotas,
    settings: &nats::Settings,
) -> Result<(Nats, Log, SigningKey), Failure> {
    let nats = Nats::connect(settings, "kez-chat-server").await.map_err(Failure::Storage)?;
    let there = nats.metadata(STREAM).await.map_err(Failure::Storage)?.is_some();
    let path = dir.join(KEY_FILE);
    if there && !path.exists() {
        let why = format!("other servers write to the stream: copy their {KEY_FILE} into");
        return Err(Failure::Storage(format!("{why} {}", dir.display())));
    }
    std::fs::create_dir_all(dir).map_err(Failure::of(dir))?;
    let text = secret::open(&path, || {
        kez_server::random::<32>().map(|seed| kez_core::hex::encode(&seed))
    })?;
    let damaged = || Failure::Storage(format!("{}: the key is damaged", path.display()));
    let seed = kez_core::hex::decode(&text).ok_or_else(damaged)?;
    let key = SigningKey::from_bytes(&seed);
    let public = kez_core::hex::encode(key.verifying_key().as_bytes());
    let shape = Shape {
        name: STREAM,
        subjects: SUBJECTS,
        description: "What KEZ's chat servers do, in one order",
        metadata: HashMap::from([(KEY.to_owned(), public)]),
        bytes: quotas.file,
        keep: Keep::All,
    };
    let log = nats.log(shape).await.map_err(Failure::Storage)?;
    Ok((nats, log, key))
}

/// What a signature is of.
fn signed(head: &[u8; 25], subject: &str, body: &[u8]) -> Vec<u8> {
    [head, subject.as_bytes(), &[0], body].concat()
}

/// A command as it goes into the stream: for a key as JSON, which others may read, behind what its
/// subject has by then, which the caller knows; the rest in fewer bytes, whatever came before.
pub(super) fn entry(key: &SigningKey, command: &Command) -> Result<Entry, Failure> {
    let failed = |e: &dyn fmt::Display| Failure::Storage(e.to_string());
    let (subject, after, body) = match command.key() {
        Some(name) => {
            let body = serde_json::to_vec(command).map_err(|e| failed(&e))?;
            (format!("{KEYS}{name}"), Some(0), body)
        }
        None => (LOG.into(), None, postcard::to_allocvec(command).map_err(|e| failed(&e))?),
    };
    let mut head = [VERSION; 25];
    head[1..17].copy_from_slice(&kez_server::random::<16>()?);
    head[17..].copy_from_slice(&kez_server::now().seconds().to_be_bytes());
    let signature = key.sign(&signed(&head, &subject, &body)).to_bytes();
    let mut headers = HeaderMap::new();
    headers.insert(SIGNED, BASE64.encode([&head[..], &signature].concat()));
    Ok(Entry { subject, after, headers, body: body.into() })
}

/// A command that this server, or one like it, has signed, with its nonce and when it was.
struct Ordered {
    nonce: [u8; 16],
    at: i64,
    command: Command,
}

/// Reads what a server has signed; `None` if none has.
///
/// # Errors
/// `Storage` if it is of a later version.
fn read(key: &VerifyingKey, message: &Message) -> Result<Option<Ordered>, Failure> {
    let Some(text) = message.headers.get(SIGNED) else { return Ok(None) };
    let Ok(text) = BASE64.decode(text.as_str()) else { return Ok(None) };
    let Some((head, signature)) = text.split_first_chunk::<25>() else { return Ok(None) };
    let Ok(signature) = Signature::from_slice(signature) else { return Ok(None) };
    let text = signed(head, &message.subject, &message.body);
    if key.verify_strict(&text, &signature).is_err() {
        return Ok(None);
    }
    let [version, rest @ ..] = head;
    if *version != VERSION {
        let why = "a newer kez-chat-server writes to the stream: this one has to be renewed";
        return Err(Failure::Storage(why.into()));
    }
    let command = if message.subject == LOG {
        postcard::from_bytes(&message.body).ok()
    } else {
        serde_json::from_slice(&message.body).ok()
    };
    let (Some(nonce), Some(at)) = (rest.first_chunk(), rest.last_chunk()) else { return Ok(None) };
    Ok(command.map(|command| Ordered { nonce: *nonce, at: i64::from_be_bytes(*at), command }))
}

/// Where a key was set last, 0 if it never was.
fn key_set_at(db: &Connection, subject: &str) -> Result<u64, Refusal> {
    let mut query = db.prepare_cached("SELECT seq FROM keys WHERE subject = ?")?;
    let found = query.query_row([subject], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// Notes where a key was set, whoever has set it, and whatever becomes of that.
fn note_key(db: &Connection, message: &Message) -> Result<(), Refusal> {
    if message.subject != LOG {
        let sql = "INSERT INTO keys (subject, seq) VALUES (?1, ?2)
                   ON CONFLICT (subject) DO UPDATE SET seq = ?2";
        db.prepare_cached(sql)?.execute(params![message.subject, message.seq])?;
    }
    Ok(())
}

type Job = (Message, Option<oneshot::Sender<Reply>>);

/// Applies the stream, as much at once as is there, for ever.
async fn apply(
    mut queue: mpsc::Receiver<Job>,
    writer: Writer,
    broker: Arc<dyn Broker>,
    how: (VerifyingKey, Outbox),
    applying: watch::Sender<u64>,
) {
    while let Some((message, reply)) = queue.recv().await {
        let (mut batch, mut replies) = (vec![message], vec![reply]);
        while batch.len() < MAX_BATCH {
            let Ok((message, reply)) = queue.try_recv() else { break };
            batch.push(message);
            replies.push(reply);
        }
        let last = batch.last().map_or(0, |message| message.seq);
        let batch = Arc::new(batch);
        let results = loop {
            let (batch, broker, how) = (batch.clone(), broker.clone(), how.clone());
            let work = move |db: &Connection| batch_in(db, &batch, &how);
            let tell = move |done: &Vec<(Reply, News)>| {
                done.iter().for_each(|(_, news)| command::tell(&*broker, news));
            };
            match writer.write(work, tell).await {
                Ok(results) => break results,
                Err::<_, Refusal>(refusal) => {
                    tracing::error!("the stream is not applied: {refusal:?}");
                    // Whoever asked asks again.
                    replies.iter_mut().for_each(|reply| drop(reply.take()));
                    if queue.is_closed() {
                        return;
                    }
                    sleep(PAUSE).await;
                }
            }
        };
        applying.send_replace(last);
        for (reply, (result, _)) in replies.into_iter().zip(results) {
            // Who asked may be gone.
            let _ = reply.map(|reply| reply.send(result));
        }
    }
}

/// Applies some messages within a transaction. What is refused is refused for good; if the storage
/// fails, none of them counts.
fn batch_in(
    db: &Connection,
    batch: &[Message],
    (key, outbox): &(VerifyingKey, Outbox),
) -> Result<Vec<(Reply, News)>, Refusal> {
    if let Some(first) = batch.first() {
        // Whatever is older could not be done again anyway.
        let old = first.at.seconds() - 3 * LIFE;
        db.prepare_cached("DELETE FROM done WHERE at < ?")?.execute([old])?;
    }
    let mut results = Vec::with_capacity(batch.len());
    for message in batch {
        db.prepare_cached("SAVEPOINT command")?.execute([])?;
        let mut news = Vec::new();
        let reply = one(db, message, key, &mut news);
        match &reply {
            Ok(_) => {}
            Err(Refusal::Failed(failure)) if !matches!(failure, Failure::Misfit(_)) => {
                return Err(failure.clone().into());
            }
            Err(_) => {
                news.clear();
                db.prepare_cached("ROLLBACK TO command")?.execute([])?;
            }
        }
        db.prepare_cached("RELEASE command")?.execute([])?;
        let post = matches!(&reply, Ok(output) if !matches!(output, Output::Migrated));
        replica::note(db, message.seq, post)?;
        note_key(db, message)?;
        outbox.note(db, message.seq, &news)?;
        results.push((reply, news));
    }
    Ok(results)
}

fn one(db: &Connection, message: &Message, key: &VerifyingKey, news: &mut News) -> Reply {
    let refused = |why: &str| Err(Error::about(Code::AuthRefused, why).into());
    let Some(Ordered { nonce, at, command }) = read(key, message)? else {
        return refused("not signed by a server");
    };
    let now = message.at.seconds();
    if (now - at).abs() > LIFE {
        return refused("the clocks of the servers and of NATS differ");
    }
    let new = db
        .prepare_cached("INSERT INTO done (nonce, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![nonce, now])?;
    if new == 0 {
        return refused("it was done already");
    }
    command.apply(db, news)
}
