//! The thread that writes.

use super::{Appended, Job, NewHead, Posted, Refusal, find, lines};
use crate::log::{self, LogKey};
use kez_core::{
    Chain, Code, Error, Identity, Op, Timestamp,
    fork::{Merge, merge},
    log::Checkpoint,
};
use lru::LruCache;
use rusqlite::{Connection, params};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, watch};

/// How many requests one commit may hold.
const MAX_BATCH: usize = 256;
/// How many events of replayed chains are kept in memory.
const CACHED_EVENTS: usize = 50_000;

pub(super) struct Writer {
    connection: Connection,
    cache: LruCache<Identity, Chain>,
    cached_events: usize,
    heads: broadcast::Sender<NewHead>,
    key: Arc<LogKey>,
    /// How many entries the log has, those of the open transaction included.
    size: u64,
    checkpoint: watch::Sender<Arc<Checkpoint>>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        heads: broadcast::Sender<NewHead>,
        key: Arc<LogKey>,
    ) -> Result<(Self, watch::Receiver<Arc<Checkpoint>>), Refusal> {
        let size = log::size(&connection)?;
        let (checkpoint, checkpoints) =
            watch::channel(Arc::new(key.checkpoint(&connection, size)?));
        let cache = LruCache::unbounded();
        let writer = Self { connection, cache, cached_events: 0, heads, key, size, checkpoint };
        Ok((writer, checkpoints))
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
