//! The thread that writes.

use super::{NewHead, Refusal, answers::Answers, append::Change, find};
use crate::log::{self, LogKey};
use kez_core::{Chain, Head, Op, log::Checkpoint};
use rusqlite::{Connection, params};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// How many requests one commit may hold.
const MAX_BATCH: usize = 256;

/// A change to make, and whom to tell.
pub(super) struct Job {
    pub(super) change: Box<Change>,
    pub(super) reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// What became of a change.
pub(super) enum Done {
    /// The chain is this one now.
    Appended(Box<Chain>),
    /// Only evidence was kept; the head is as it was.
    Forked(Option<Head>),
    /// The chain is not the one any more that the change was made for. Nothing was done.
    Moved,
}

pub(super) struct Writer {
    connection: Connection,
    heads: broadcast::Sender<NewHead>,
    key: Arc<LogKey>,
    /// How many entries the log has, those of the open transaction included.
    size: u64,
    checkpoint: watch::Sender<Arc<Checkpoint>>,
    answers: Arc<Answers>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        heads: broadcast::Sender<NewHead>,
        key: Arc<LogKey>,
        answers: Arc<Answers>,
    ) -> Result<(Self, watch::Receiver<Arc<Checkpoint>>), Refusal> {
        let size = log::size(&connection)?;
        let first = Arc::new(key.checkpoint(&connection, size)?);
        let (checkpoint, checkpoints) = watch::channel(first);
        Ok((Self { connection, heads, key, size, checkpoint, answers }, checkpoints))
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
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
        for Job { change, reply } in batch {
            let result = match &done {
                Ok(()) => self.make(*change),
                Err(failure) => Err(failure.clone()),
            };
            // SQLite may have given up the whole transaction: none of it counts then.
            if let Err(failure) = &result {
                done = Err(failure.clone());
            }
            results.push((reply, result));
        }
        done = done.and_then(|()| Ok(self.connection.execute_batch("COMMIT")?));
        for (_, result) in &results {
            if let Ok(Done::Appended(chain)) = result {
                self.answers.forget(chain.name().as_str());
            }
        }
        let before = self.checkpoint.borrow().size();
        if done.is_err() {
            // It may be rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.size = before;
        } else if self.size > before {
            match self.key.checkpoint(&self.connection, self.size) {
                Ok(checkpoint) => drop(self.checkpoint.send_replace(Arc::new(checkpoint))),
                // The next batch signs it.
                Err(failure) => tracing::error!("no checkpoint: {failure}"),
            }
        }
        for (reply, result) in results {
            let result = match &done {
                Ok(()) => result,
                Err(failure) => Err(failure.clone()),
            };
            if let Ok(Done::Appended(chain)) = &result
                && let Some(head) = chain.head()
            {
                // Nobody may be listening.
                let _ = self.heads.send(NewHead { name: chain.name().clone(), head });
            }
            // Who asked may be gone.
            let _ = reply.send(result);
        }
    }

    /// Makes one change, if the chain is still the one that it was made for.
    fn make(&mut self, change: Change) -> Result<Done, Refusal> {
        let stored = find(&self.connection, &change.name)?;
        if stored.map(|row| row.head) != change.base {
            return Ok(Done::Moved);
        }
        if let Some(fork) = &change.fork {
            self.connection
                .prepare_cached("UPDATE chains SET fork = ?2 WHERE name = ?1")?
                .execute(params![change.name.as_str(), fork])?;
        }
        let Some(chain) = change.chain else { return Ok(Done::Forked(change.base)) };
        self.save(&chain, change.after, change.fork.is_some())?;
        Ok(Done::Appended(chain))
    }

    /// Writes a chain's events after a position. With `replace`, others are there and go.
    fn save(&mut self, chain: &Chain, after: u64, replace: bool) -> Result<(), Refusal> {
        let db = &self.connection;
        let Some(head) = chain.head() else { return Ok(()) };
        let id: i64 = db
            .prepare_cached(
                "INSERT INTO chains (name, seq, head, leaf) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET seq = ?2, head = ?3, leaf = ?4 RETURNING id",
            )?
            .query_row(
                params![chain.name().as_str(), head.seq, head.id.to_string(), self.size],
                |row| row.get(0),
            )?;
        log::add(db, self.size, id, chain.name(), head)?;
        self.size += 1;
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
