//! Inboxes on NATS, for devices that connect to it themselves: what came into an inbox is published
//! once on `kez.chat.inbox.<handle>`, in the order of the stream. What has to be published stands in
//! the copy with what it is of (a transactional outbox), so that no server's death loses any. One
//! server does it; each message names the end that it was made for, so that no second one can do it
//! at the same time; the others see that it goes on, and one of them takes over if it does not.

use super::{Item, Refusal, Store, command::News, inbox};
use crate::api;
use kez_server::{
    nats::{Entry, HeaderMap, Keep, Log, Nats, Refused, Shape},
    sqlite::{Failure, Readers, Writer},
};
use rusqlite::{Connection, params};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// The stream's name, and what it takes.
const STREAM: &str = "KEZ_INBOX";
const SUBJECTS: &[&str] = &["kez.chat.inbox.*"];
/// Names a message's place in the stream of commands.
const PLACE: &str = "Kez-Place";

/// What has to be published: the n-th item of what a message of the stream did.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    handle TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;
";

/// How many items, and how many bytes of them, are on their way at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How many items that were published are kept at most: forgetting each at once would be a
/// transaction more for every message.
const KEPT: usize = 1024;
/// How much of a message is not its body.
const HEAD: usize = 1024;
/// How many messages of others are passed over at the end of the stream.
const FOREIGN: usize = 1000;
/// How often a server looks whether another one publishes, and takes over if it did not.
const WATCH: Duration = Duration::from_secs(1);
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// The subject of an inbox: what its owner's devices may subscribe to. A handle has no dot, space or
/// wildcard.
#[must_use]
pub fn subject(handle: &str) -> String {
    format!("kez.chat.inbox.{handle}")
}

/// Whether anything is published, and up to which message of the stream it was.
#[derive(Clone, Default)]
pub(super) struct Outbox(Option<Arc<AtomicU64>>);

impl Outbox {
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(Arc::default))
    }

    /// Notes what a message of the stream put into inboxes, in the transaction that applies it.
    pub(super) fn note(&self, db: &Connection, seq: u64, news: &News) -> Result<(), Refusal> {
        let wanted = self.0.as_ref().is_some_and(|done| seq >= done.load(Ordering::Relaxed));
        let items = news.iter().filter_map(|(handle, item)| Some((handle, item.as_ref()?)));
        for (n, (handle, item)) in items.enumerate().take_while(|_| wanted) {
            db.prepare_cached(
                "INSERT INTO outbox (seq, n, handle, position) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![seq, n, handle, item.position])?;
        }
        Ok(())
    }

    /// Publishes for as long as the copy is kept, if it is wanted.
    pub(super) async fn start(
        &self,
        nats: &Nats,
        store: &Store,
        applied: watch::Receiver<u64>,
    ) -> Result<(), Failure> {
        let Some(done) = &self.0 else { return Ok(()) };
        let shape = Shape {
            name: STREAM,
            subjects: SUBJECTS,
            description: "What comes into the inboxes of KEZ's chat servers",
            metadata: HashMap::new(),
            bytes: store.quotas.file,
            keep: Keep::For(Duration::from_secs(store.quotas.retention.unsigned_abs())),
        };
        let log = nats.log(shape).await.map_err(Failure::Storage)?;
        let (writer, readers) = (store.writer.clone(), store.readers.clone());
        let done = done.clone();
        let publisher = Publisher { log, writer, readers, applied, done, kept: 0 };
        // So that a copy that is made anew notes nothing that was published long ago.
        publisher.end().await?;
        tokio::spawn(publisher.run());
        Ok(())
    }
}

/// A place in the stream of commands: a message, and which of its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, u64);

impl Place {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let (seq, n) = headers.get(PLACE)?.as_str().split_once('/')?;
        Some(Self(seq.parse().ok()?, n.parse().ok()?))
    }
}

/// Where the inboxes' stream ends: its position, and the place of what is there.
#[derive(Clone, Copy, Debug)]
struct End {
    seq: u64,
    place: Place,
}

struct Row {
    place: Place,
    handle: String,
    position: u64,
    /// `None` if all devices have it already.
    item: Option<Item>,
}

struct Publisher {
    log: Log,
    writer: Writer,
    readers: Arc<Readers>,
    applied: watch::Receiver<u64>,
    done: Arc<AtomicU64>,
    /// How many items were published, and not forgotten yet.
    kept: usize,
}

impl Publisher {
    async fn run(mut self) {
        // Where the stream ends, if this server published last.
        let mut mine = None;
        // What waited when it was last looked at, while another one shall publish it.
        let mut waited = None;
        // Nobody applies any more: the store is gone.
        while self.applied.has_changed().is_ok() {
            mine = match self.round(mine, &mut waited).await {
                Ok(end) => end,
                Err(refusal) => {
                    tracing::warn!("inboxes are not published: {refusal:?}");
                    sleep(PAUSE).await;
                    None
                }
            };
        }
    }

    /// Publishes what waits, or waits itself. Gives where the stream ends then, if this server
    /// publishes.
    async fn round(
        &mut self,
        mine: Option<End>,
        waited: &mut Option<Place>,
    ) -> Result<Option<End>, Refusal> {
        self.applied.borrow_and_update();
        let after = mine.map_or(Place::default(), |end| end.place);
        let rows = self.readers.read(move |db| rows(db, after)).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            tokio::select! {
                // Or it is over.
                _ = self.applied.changed() => {}
                () = sleep(WATCH), if self.kept > 0 => self.forget(after).await?,
            }
            return Ok(mine);
        };
        let (first, last) = (first.place, last.place);
        let end = match mine {
            Some(end) => end,
            None => self.end().await?,
        };
        if first <= end.place {
            self.forget(end.place).await?;
            return Ok(mine);
        }
        if mine.is_none() && *waited != Some(first) {
            *waited = Some(first);
            sleep(WATCH).await;
            return Ok(None);
        }
        let count = rows.len();
        let seq = end.seq + count as u64;
        let entries = rows.into_iter().map(|row| self.entry(row)).collect();
        match self.log.append_behind(end.seq, entries).await {
            Ok(()) => {
                self.kept += count;
                if self.kept >= KEPT {
                    self.forget(last).await?;
                }
                Ok(Some(End { seq, place: last }))
            }
            // Another server publishes.
            Err(Refused::Moved) => Ok(None),
            Err(Refused::Failed(failure)) => Err(failure.into()),
            Err(refused) => Err(Failure::Storage(format!("{refused:?}")).into()),
        }
    }

    /// What was published needs not be any more.
    async fn forget(&mut self, place: Place) -> Result<(), Refusal> {
        let Place(seq, n) = place;
        self.kept = 0;
        self.done.fetch_max(seq, Ordering::Relaxed);
        let forget = move |db: &Connection| {
            let sql = "DELETE FROM outbox WHERE (seq, n) <= (?1, ?2)";
            Ok::<_, Refusal>(db.prepare_cached(sql)?.execute([seq, n])?)
        };
        self.writer.write(forget, |_| ()).await.map(drop)
    }

    async fn end(&self) -> Result<End, Failure> {
        let seq = self.log.end().await?;
        let mut place = Place::default();
        // What others may have published there has no place.
        for seq in (1..=seq).rev().take(FOREIGN) {
            let headers = self.log.headers(seq).await?;
            if let Some(found) = headers.as_ref().and_then(Place::read) {
                place = found;
                break;
            }
        }
        self.done.fetch_max(place.0, Ordering::Relaxed);
        Ok(End { seq, place })
    }

    fn entry(&self, row: Row) -> (String, Entry) {
        let Row { place: Place(seq, n), handle, position, item } = row;
        let most = self.log.client().max_payload().saturating_sub(HEAD);
        let body = item.map(|item| api::text(&item)).filter(|body| body.len() <= most);
        // Whoever is told of an item alone asks the server for it.
        let body = body.unwrap_or_else(|| format!("{{\"seq\":{position}}}"));
        let mut headers = HeaderMap::new();
        headers.insert(PLACE, format!("{seq}/{n}"));
        let entry = Entry { subject: subject(&handle), after: None, headers, body: body.into() };
        (format!("{handle}/{position}"), entry)
    }
}

/// What waits after a place, the oldest first.
fn rows(db: &Connection, Place(seq, n): Place) -> Result<Vec<Row>, Refusal> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {}, outbox.seq, outbox.n, outbox.handle, outbox.position
         FROM outbox LEFT JOIN inbox
              ON inbox.handle = outbox.handle AND inbox.seq = outbox.position
         LEFT JOIN entries ON {}
         WHERE (outbox.seq, outbox.n) > (?1, ?2)
         ORDER BY outbox.seq, outbox.n LIMIT {BATCH}",
        inbox::COLUMNS,
        inbox::ENTRY
    ))?;
    let mut found = query.query([seq, n])?;
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let item = match row.get::<_, Option<u64>>(0)? {
            Some(_) => Some(inbox::read_item(row)?),
            None => None,
        };
        bytes += item.as_ref().map_or(0, |item| item.body.len());
        if bytes > BATCH_BYTES && !all.is_empty() {
            break;
        }
        let place = Place(row.get(9)?, row.get(10)?);
        all.push(Row { place, handle: row.get(11)?, position: row.get(12)?, item });
    }
    Ok(all)
}
