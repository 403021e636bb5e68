//! The thread that writes.

use super::{
    Refusal,
    answers::Answers,
    append::{Cache, Change, Prepared, prepare},
    evidence::{self, Branch},
    find, stream,
};
use crate::log::{self, LogKey};
use axum::body::Bytes;
use kez_core::{Chain, Code, Error, Fork, Head, Identity, Op, Timestamp, log::Checkpoint};
use kez_server::{replica, sqlite::Failure, topics::Topics};
use rusqlite::{Connection, params};
use std::{sync::Arc, thread, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests one commit may hold.
const MAX_BATCH: usize = 256;

/// How long the writer waits before it tries again what the disk did not take.
const PAUSE: Duration = Duration::from_secs(1);

/// Something to do, and whom to tell.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: Option<oneshot::Sender<Result<Done, Refusal>>>,
}

pub(super) enum Work {
    /// A change that was verified.
    Change(Box<Change>),
    /// The next message of the stream: there is no way around it.
    Told(Told),
    /// Looks whether another process changed the file.
    Refresh,
}

/// A message of the stream, which anybody may have put there.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    /// The chain, if the subject names one.
    pub(super) name: Option<Identity>,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
}

/// What a message of the stream says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What somebody posted.
    Post,
    /// Of a migration: events of a chain, which are in the log already.
    Chain,
    /// Of a migration: evidence of a chain's fork.
    Fork,
    /// Of a migration: entries of the log, one a line.
    Entries,
    /// Nothing: whoever wrote it has what was written before when it comes back.
    Barrier,
}

/// What became of it.
pub(super) enum Done {
    /// The chain has this head now.
    Appended(Head),
    /// It had it before.
    Known(Head),
    /// Only evidence was kept; the head is as it was.
    Forked(Option<Head>),
    /// The chain is not the one any more that the change was made for. Nothing was done.
    Moved,
    /// It does not hold. Nothing was done.
    Refused(Refusal),
    /// What a migration says was taken.
    Migrated,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) heads: Topics<Head>,
    pub(super) key: Arc<LogKey>,
    /// How many entries the log has, those of the open transaction included.
    pub(super) size: u64,
    pub(super) checkpoint: watch::Sender<Arc<Checkpoint>>,
    pub(super) answers: Arc<Answers>,
    pub(super) cache: Arc<Cache>,
    /// The chains that the open transaction changed.
    pub(super) changed: Vec<Chain>,
    /// SQLite's version of the file, which other processes' writes change.
    pub(super) version: i64,
    /// Up to where the stream is applied, if there is one.
    pub(super) applied: Option<watch::Sender<u64>>,
}

impl Writer {
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                let Ok(job) = queue.try_recv() else { break };
                batch.push(job);
            }
            let mut again = self.batch(batch);
            while !again.is_empty() && !queue.is_closed() {
                thread::sleep(PAUSE);
                again = self.batch(again);
            }
        }
    }

    /// Does some jobs, all of them or none. Gives those that have to be done all the same.
    fn batch(&mut self, batch: Vec<Job>) -> Vec<Job> {
        let (mut results, mut told) = (Vec::new(), Vec::new());
        let mut done = self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Refusal::from);
        for Job { work, reply } in batch {
            if let Work::Told(message) = &work {
                told.push(message.clone());
            }
            let result = match &done {
                Ok(()) => self.work(work),
                Err(failure) => Err(failure.clone()),
            };
            // SQLite may have given up the whole transaction: none of it counts then.
            if let Err(failure) = &result {
                done = Err(failure.clone());
            }
            results.push((reply, result));
        }
        done = done.and_then(|()| Ok(self.connection.execute_batch("COMMIT")?));
        let changed = std::mem::take(&mut self.changed);
        for chain in &changed {
            self.answers.forget(chain.name().as_str());
        }
        let before = self.checkpoint.borrow().size();
        if let Err(failure) = &done {
            if !told.is_empty() {
                tracing::error!("the stream is not applied: {failure}");
            }
            // It may be rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.size = before;
        } else {
            if self.size > before {
                match self.key.checkpoint(&self.connection, self.size) {
                    Ok(checkpoint) => drop(self.checkpoint.send_replace(Arc::new(checkpoint))),
                    // The next batch signs it.
                    Err(failure) => tracing::error!("no checkpoint: {failure}"),
                }
            }
            if let (Some(applied), Some(last)) = (&self.applied, told.last()) {
                applied.send_replace(last.seq);
            }
            for chain in changed {
                if let Some(head) = chain.head() {
                    self.heads.publish(chain.name().as_str(), head);
                }
                self.cache.keep(chain);
            }
        }
        for (reply, result) in results {
            let result = done.clone().and(result);
            // Who asked may be gone.
            let _ = reply.map(|reply| reply.send(result));
        }
        if done.is_ok() {
            told.clear();
        }
        told.into_iter().map(|told| Job { work: Work::Told(told), reply: None }).collect()
    }

    /// Does one job.
    fn work(&mut self, work: Work) -> Result<Done, Refusal> {
        match work {
            Work::Change(change) => self.make(*change, true),
            Work::Refresh => self.refresh(),
            Work::Told(told) => {
                stream::note(&self.connection, &told)?;
                self.connection.execute_batch("SAVEPOINT message")?;
                let (size, changed) = (self.size, self.changed.len());
                let done = self.apply(&told);
                if let Err(misfit @ Refusal::Failed(Failure::Misfit(_))) = done {
                    self.connection.execute_batch("ROLLBACK TO message; RELEASE message")?;
                    self.size = size;
                    self.changed.truncate(changed);
                    return Ok(Done::Refused(misfit));
                }
                self.connection.execute_batch("RELEASE message")?;
                done
            }
        }
    }

    /// Clears the caches if another process changed the file.
    fn refresh(&mut self) -> Result<Done, Refusal> {
        let version = self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if std::mem::replace(&mut self.version, version) != version {
            self.answers.clear();
            self.cache.clear();
        }
        Ok(Done::Moved)
    }

    /// Applies a message of the stream. What does not hold is refused; only the storage fails.
    fn apply(&mut self, told: &Told) -> Result<Done, Refusal> {
        let refused = |code: Code| Ok(Done::Refused(Error::from(code).into()));
        if told.kind == Kind::Barrier {
            return Ok(Done::Moved);
        }
        if told.kind != Kind::Post && !replica::is_new(&self.connection)? {
            return refused(Code::HeadConflict);
        }
        if told.kind == Kind::Entries {
            return self.enter(&told.body);
        }
        let Some(name) = &told.name else { return refused(Code::KeyExpected) };
        if told.kind == Kind::Fork {
            return self.keep_fork(name, told);
        }
        let stored = self.cache.load(&self.connection, name)?;
        let (unchanged, prepared) = prepare(&self.connection, name, &told.body, stored, told.at);
        unchanged.into_iter().for_each(|chain| self.cache.keep(chain));
        match prepared {
            // A chain that is moved has one history.
            Ok(Prepared::Change(change)) if told.kind == Kind::Chain && change.branch.is_some() => {
                refused(Code::HeadConflict)
            }
            Ok(Prepared::Change(change)) => self.make(*change, told.kind == Kind::Post),
            Ok(Prepared::Known(head)) => Ok(Done::Known(head)),
            Err(Refusal::Failed(failure)) => Err(failure.into()),
            Err(refusal) => Ok(Done::Refused(refusal)),
        }
    }

    /// Makes one change, if the chain is still the one that it was made for. With `enter`, its head
    /// becomes an entry of the log.
    fn make(&mut self, change: Change, enter: bool) -> Result<Done, Refusal> {
        let stored = find(&self.connection, &change.name)?;
        if stored.as_ref().map(|row| row.head) != change.base {
            return Ok(Done::Moved);
        }
        if let (Some(row), Some(branch)) = (&stored, change.branch) {
            evidence::add(&self.connection, row.id, branch)?;
        }
        let Some(chain) = change.chain else { return Ok(Done::Forked(change.base)) };
        let head = chain.head().ok_or(Code::ChainEmpty).map_err(Error::from)?;
        let id = self.save(&chain, head, change.after, change.replaced.is_some())?;
        if let Some(old) = change.replaced {
            evidence::replace(&self.connection, id, (&old, &chain), change.after + 1)?;
        }
        if enter {
            log::add(&self.connection, self.size, id, chain.name(), head)?;
            self.size += 1;
        }
        self.changed.push(*chain);
        Ok(Done::Appended(head))
    }

    /// Of a migration: keeps the branch that a fork object shows beside the stored chain.
    fn keep_fork(&self, name: &Identity, told: &Told) -> Result<Done, Refusal> {
        let db = &self.connection;
        let fork = Fork::from_json(&told.body, told.at).ok().filter(|fork| fork.chain() == name);
        let (Some(fork), Some(row)) = (fork, find(db, name)?) else {
            return Ok(Done::Refused(Error::from(Code::Forked).into()));
        };
        let Some(stored) = self.cache.load(db, name)? else { return Ok(Done::Moved) };
        let seq = fork.seq();
        let (a, b) = fork.branches();
        let other = if a.id_at(seq) == stored.id_at(seq) { b } else { a };
        let rotates =
            other.events().iter().any(|e| e.seq >= seq && matches!(e.op, Op::Rotate { .. }));
        if let Some(branch) = Branch::of(other, seq, rotates) {
            evidence::add(db, row.id, branch)?;
        }
        self.cache.keep(stored);
        Ok(Done::Migrated)
    }

    /// Enters heads into the log, as it was elsewhere; some of them are of branches that lost.
    fn enter(&mut self, lines: &[u8]) -> Result<Done, Refusal> {
        let db = &self.connection;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry = log::read_entry(line);
            let row = match &entry {
                Ok((name, _)) => find(db, name)?,
                Err(_) => None,
            };
            let (Ok((name, head)), Some(row)) = (entry, row) else {
                return Ok(Done::Refused(Error::from(Code::ChainEmpty).into()));
            };
            log::add(db, self.size, row.id, &name, head)?;
            db.prepare_cached("UPDATE chains SET leaf = ?2 WHERE id = ?1 AND head = ?3")?
                .execute(params![row.id, self.size, head.id.to_string()])?;
            self.size += 1;
        }
        Ok(Done::Migrated)
    }

    /// Writes a chain's events after a position. With `replace`, others are there and go. Gives the
    /// row. Its entry of the log is the next one.
    fn save(&self, chain: &Chain, head: Head, after: u64, replace: bool) -> Result<i64, Refusal> {
        let db = &self.connection;
        let id: i64 = db
            .prepare_cached(
                "INSERT INTO chains (name, seq, head, leaf) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET seq = ?2, head = ?3, leaf = ?4 RETURNING id",
            )?
            .query_row(
                params![chain.name().as_str(), head.seq, head.id.to_string(), self.size],
                |row| row.get(0),
            )?;
        if replace {
            db.execute("DELETE FROM events WHERE chain = ? AND seq > ?", params![id, after])?;
            db.execute("DELETE FROM subjects WHERE chain = ?", [id])?;
        }
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let mut events =
            db.prepare_cached("INSERT INTO events (chain, seq, line) VALUES (?, ?, ?)")?;
        for (event, line) in chain.events().iter().zip(chain.lines()).skip(skip) {
            events.execute(params![id, event.seq, line])?;
        }
        // A chain counts once for a subject, however often it adds it.
        let mut subjects = db.prepare_cached(
            "INSERT INTO subjects (subject, chain, seq, claim) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (subject, chain) DO UPDATE SET seq = ?3, claim = ?4",
        )?;
        for event in chain.events().iter().skip(if replace { 0 } else { skip }) {
            if let Op::Add { subject, claim, .. } = &event.op {
                subjects.execute(params![subject.as_str(), id, event.seq, claim.to_string()])?;
            }
        }
        Ok(id)
    }
}
