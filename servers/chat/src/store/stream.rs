//! Several servers on one stream of the operator's NATS: each command goes into it, and every server
//! does all of them, in their order, to its copy of the data. So all copies are one, a conversation
//! and its inboxes change together, and any server may die. The servers sign their commands: who
//! can write to the stream besides can do nothing. The copy is the same file that a server has who
//! is alone.

use super::{
    FILE, News, Quotas, Refusal, SCHEMA, Store,
    command::{self, Command, Output},
    outbox::{self, Outbox},
};
use crate::broker::Broker;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use kez_core::{Code, Error};
use kez_server::{
    nats::{self, Entry, HeaderMap, Keep, Log, Message, Nats, Refused, Shape},
    replica::{self, Progress, Replica},
    secret,
    sqlite::{Failure, Writer},
};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::Path, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

/// The stream's name.
const STREAM: &str = "KEZ_CHAT";
const SUBJECT: &str = "kez.chat.log";
/// The stream's metadata names the servers' key by this.
const KEY: &str = "kez-cluster";
/// The file of the key that the servers share.
pub const KEY_FILE: &str = "cluster.key";
/// The version of what is in the stream. A server that does not know it stops, since it would do
/// something else than the others.
const VERSION: u8 = 1;
/// How many messages may wait, and how many are applied at once.
const QUEUE: usize = 4096;
const MAX_BATCH: usize = 256;
/// For how long a command is good, in seconds; later it is somebody who sends it once more.
const LIFE: i64 = 60;
/// How long nothing is tried after the disk failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The commands of the last minutes.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS done (
    nonce BLOB PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS done_by_age ON done (at);
";

/// What becomes of a command.
type Reply = Result<Output, Refusal>;

/// This server's part in the stream.
pub(super) struct Stream {
    replica: Replica<Reply>,
    key: SigningKey,
}

/// What is signed, with the version before it.
#[derive(Deserialize, Serialize)]
struct Signed {
    nonce: [u8; 16],
    /// Seconds since 1970.
    at: i64,
    command: Command,
}

impl Stream {
    /// Opens a copy of the stream in a folder, and makes either if it is missing.
    pub(super) async fn join(
        dir: &Path,
        quotas: Quotas,
        settings: &nats::Settings,
        inboxes: bool,
    ) -> Result<(Store, JoinHandle<()>), Failure> {
        let (nats, log, key) = open(dir, quotas, settings).await?;
        let path = dir.join(FILE);
        let tables = [TABLE, outbox::TABLE].concat();
        let (connection, seq) = replica::open(&SCHEMA, &path, &log, "handles", &tables)?;
        let (mut store, thread) = Store::start(dir, connection, quotas)?;
        let (applying, applied) = watch::channel(seq);
        let outbox = Outbox::new(inboxes);
        outbox.start(&nats, &store, applied.clone()).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let replica = Replica::follow(log, applied, jobs, |message, reply| (message, reply));
        let (writer, broker, public) =
            (store.writer.clone(), store.broker.clone(), key.verifying_key());
        tokio::spawn(apply(queue, writer, broker, (public, outbox), applying));
        store.stream = Some(Arc::new(Self { replica, key }));
        Ok((store, thread))
    }

    /// What reaches the other servers and is kept by none, and the key by which they know each
    /// other.
    pub(super) fn others(&self) -> (nats::Client, SigningKey) {
        (self.replica.progress().client(), self.key.clone())
    }

    /// Puts a command into the stream, and gives what became of it.
    pub(super) async fn order(&self, command: Command) -> Reply {
        match self.replica.order(entry(&self.key, command)?).await {
            Ok(reply) => reply,
            Err(Refused::Failed(failure)) => Err(failure.into()),
            Err(Refused::Moved) => Err(Failure::Busy.into()),
            Err(Refused::TooLarge(most)) => {
                let why = format!("at once, this server takes {most} bytes");
                Err(Error::about(Code::TooLarge, why).into())
            }
        }
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
        subjects: SUBJECT,
        description: "What KEZ's chat servers do, in one order",
        metadata: HashMap::from([(KEY.to_owned(), public)]),
        bytes: quotas.file,
        keep: Keep::All,
    };
    let log = nats.log(shape).await.map_err(Failure::Storage)?;
    Ok((nats, log, key))
}

/// A command as it goes into the stream: a signature of 64 bytes, and what it signs, which are the
/// version and the command.
pub(super) fn entry(key: &SigningKey, command: Command) -> Result<Entry, Failure> {
    let nonce = kez_server::random()?;
    let signed = Signed { nonce, at: kez_server::now().seconds(), command };
    let text = postcard::to_extend(&signed, vec![VERSION]);
    let text = text.map_err(|e| Failure::Storage(e.to_string()))?;
    let body = [&key.sign(&text).to_bytes()[..], &text].concat().into();
    // Whatever came before: the order is that of their coming.
    Ok(Entry { subject: SUBJECT.into(), after: None, headers: HeaderMap::new(), body })
}

/// Reads what this server, or one like it, has signed; `None` if none has.
///
/// # Errors
/// `Storage` if it is of a later version.
fn read(key: &VerifyingKey, body: &[u8]) -> Result<Option<Signed>, Failure> {
    let Some((signature, text)) = body.split_first_chunk() else { return Ok(None) };
    if key.verify_strict(text, &Signature::from_bytes(signature)).is_err() {
        return Ok(None);
    }
    match text {
        [VERSION, command @ ..] => Ok(postcard::from_bytes(command).ok()),
        _ => {
            let why = "a newer kez-chat-server writes to the stream: this one has to be renewed";
            Err(Failure::Storage(why.into()))
        }
    }
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
        outbox.note(db, message.seq, &news)?;
        results.push((reply, news));
    }
    Ok(results)
}

fn one(db: &Connection, message: &Message, key: &VerifyingKey, news: &mut News) -> Reply {
    let refused = |why: &str| Err(Error::about(Code::AuthRefused, why).into());
    let Some(Signed { nonce, at, command }) = read(key, &message.body)? else {
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
