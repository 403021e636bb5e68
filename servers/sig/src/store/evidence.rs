//! Evidence of forks: branches of a chain that are validly signed and are not the chain.
//!
//! Evidence is append-only: a later fork does not replace an earlier one, so that a thief cannot
//! erase the owner's branch. Its size is bounded. What is kept first: branches that diverge
//! earlier, then those that rotate to another key (they may settle the fork), then older ones.

use super::Refusal;
use kez_core::{Chain, Error, Event, ObjectId, fork};
use kez_server::limit::Share;
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// Branches in the order in which they came. `seq` is the first position that differs from the
/// stored chain, `lines` are the branch's events from there on.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS branches (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL REFERENCES chains (id),
    seq INTEGER NOT NULL,
    first TEXT NOT NULL,
    rotates INTEGER NOT NULL,
    lines TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS branches_of ON branches (chain);
";

/// The most bytes of one branch. A longer branch is kept up to there.
const MAX_BRANCH: usize = 1 << 20;
/// The most bytes of an answer with more than one fork object.
pub(super) const MAX_ANSWER: usize = 8 << 20;
/// The last line of an answer that leaves objects out. It is no fork object, so that readers do not
/// take the answer for complete.
const CUT: &str = "{\"cut\":true}\n";
/// The most bytes of all branches of a chain.
const MAX_BYTES: usize = 16 << 20;
/// The most branches of a chain.
const MAX_BRANCHES: usize = 64;
/// The most branches that begin with the same event.
const MAX_SIBLINGS: usize = 4;
/// The most different events at one divergence.
const MAX_EVENTS: usize = 4;

/// A branch of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// The first position that differs from the stored chain.
    pub(super) seq: u64,
    /// The id of the event there.
    pub(super) first: ObjectId,
    /// Whether it rotates to another key: it may settle the fork.
    pub(super) rotates: bool,
    /// Its events from there on, one a line.
    pub(super) lines: String,
}

impl Branch {
    /// What of a chain differs from another one that is the same up to `seq`. Bounded.
    pub(super) fn of(chain: &Chain, seq: u64, rotates: bool) -> Option<Self> {
        let mut lines = String::new();
        for line in chain.lines().get(index(seq)..)? {
            if lines.len() + line.len() >= MAX_BRANCH {
                break;
            }
            lines += line;
            lines.push('\n');
        }
        Some(Self { seq, first: chain.id_at(seq)?, rotates, lines })
    }

    /// The whole chain that ends with this branch.
    pub(super) fn onto(&self, stored: &Chain) -> Result<Chain, Error> {
        let mut bundle: String =
            stored.lines().iter().take(index(self.seq)).map(terminated).collect();
        bundle += &self.lines;
        Chain::replay_trusted(bundle.as_bytes(), stored.name())
    }

    /// What of this branch differs from other events from the same position on. `None` if the
    /// others continue it.
    fn against(self, others: &[String]) -> Result<Option<Self>, Error> {
        let lines = self.lines.split_inclusive('\n');
        let same = lines.zip(others).take_while(|(line, other)| line.trim_end() == **other);
        let (count, bytes) = same.fold((0, 0), |(n, bytes), (line, _)| (n + 1, bytes + line.len()));
        let lines = self.lines[bytes..].to_owned();
        if lines.is_empty() {
            return Ok(None);
        }
        let first = id_of_first(&lines)?;
        Ok(Some(Self { seq: self.seq + count, first, lines, ..self }))
    }

    /// Whether this branch is the other one, or goes on from it.
    fn continues(&self, other: &Self) -> bool {
        self.seq == other.seq && self.lines.starts_with(&other.lines)
    }
}

fn id_of_first(lines: &str) -> Result<ObjectId, Error> {
    Ok(Event::take(&mut lines.as_bytes())?.0.id())
}

fn terminated(line: &String) -> String {
    format!("{line}\n")
}

/// The branches of a chain, the oldest first, with their rows' ids.
pub(super) fn load(db: &Connection, chain: i64) -> Result<Vec<(i64, Branch)>, Refusal> {
    let mut query = db.prepare_cached(
        "SELECT id, seq, first, rotates, lines FROM branches WHERE chain = ? ORDER BY id",
    )?;
    let mut rows = query.query([chain])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let first = ObjectId::parse(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
        let branch = Branch { seq: row.get(1)?, first, rotates: row.get(3)?, lines: row.get(4)? };
        all.push((row.get(0)?, branch));
    }
    Ok(all)
}

/// Adds a branch, and removes those that are then too many.
pub(super) fn add(db: &Connection, chain: i64, branch: Branch) -> Result<(), Refusal> {
    let all = load(db, chain)?;
    if all.iter().any(|(_, old)| old.continues(&branch)) {
        return Ok(());
    }
    match all.iter().find(|(_, old)| branch.continues(old)) {
        Some((id, _)) => {
            db.prepare_cached("UPDATE branches SET rotates = ?2, lines = ?3 WHERE id = ?1")?
                .execute(params![id, branch.rotates, branch.lines])?;
        }
        None => insert(db, chain, &branch)?,
    }
    trim(db, chain)
}

fn insert(db: &Connection, chain: i64, branch: &Branch) -> Result<(), Refusal> {
    let Branch { seq, first, rotates, lines } = branch;
    db.prepare_cached(
        "INSERT INTO branches (chain, seq, first, rotates, lines) VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![chain, seq, first.to_string(), rotates, lines])?;
    Ok(())
}

/// The stored chain `old` was replaced by `new` from position `seq` on: its own end is a branch
/// now, and every branch is stored anew as what differs from the new chain.
pub(super) fn replace(
    db: &Connection,
    chain: i64,
    (old, new): (&Chain, &Chain),
    seq: u64,
) -> Result<(), Refusal> {
    let all = load(db, chain)?;
    db.prepare_cached("DELETE FROM branches WHERE chain = ?")?.execute([chain])?;
    let from = index(seq);
    let mut branches: Vec<Branch> = Branch::of(old, seq, false).into_iter().collect();
    for (_, branch) in all {
        if branch.seq <= seq {
            branches.push(branch);
            continue;
        }
        // It left the old chain after the new one did.
        let between = old.lines().get(from..index(branch.seq)).unwrap_or_default();
        let mut lines: String = between.iter().map(terminated).collect();
        lines += &branch.lines;
        let first = old.id_at(seq).unwrap_or(branch.first);
        branches.push(Branch { seq, first, rotates: branch.rotates, lines });
    }
    let own = new.lines().get(from..).unwrap_or_default();
    for branch in branches {
        if let Some(branch) = if branch.seq == seq { branch.against(own)? } else { Some(branch) } {
            insert(db, chain, &branch)?;
        }
    }
    trim(db, chain)
}

/// The index of the event at a position.
fn index(seq: u64) -> usize {
    usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn trim(db: &Connection, chain: i64) -> Result<(), Refusal> {
    for id in surplus(load(db, chain)?) {
        db.prepare_cached("DELETE FROM branches WHERE id = ?")?.execute([id])?;
    }
    Ok(())
}

/// The rows beyond the limits.
fn surplus(mut all: Vec<(i64, Branch)>) -> Vec<i64> {
    all.sort_by_key(|(id, branch)| (branch.seq, !branch.rotates, *id));
    let mut siblings: HashMap<(u64, ObjectId), usize> = HashMap::new();
    let mut events: HashMap<u64, usize> = HashMap::new();
    let (mut count, mut bytes) = (0, 0);
    let mut gone = Vec::new();
    for (id, branch) in all {
        let place = (branch.seq, branch.first);
        let known = siblings.get(&place).copied().unwrap_or_default();
        let different = events.get(&branch.seq).copied().unwrap_or_default();
        let fits = known < MAX_SIBLINGS
            && (known > 0 || different < MAX_EVENTS)
            && count < MAX_BRANCHES
            && bytes + branch.lines.len() <= MAX_BYTES;
        if !fits {
            gone.push(id);
            continue;
        }
        (count, bytes) = (count + 1, bytes + branch.lines.len());
        siblings.insert(place, known + 1);
        if known == 0 {
            events.insert(branch.seq, different + 1);
        }
    }
    gone
}

/// The evidence as fork objects, one a line, each of the stored chain and a branch. Those that
/// diverge earlier come first, up to `most` bytes, but
/// at least one. `None` if there is no evidence. `memory` grows
/// with the answer.
pub(super) fn objects(
    db: &Connection,
    chain: i64,
    most: usize,
    memory: &mut Share,
    stored: impl FnOnce() -> Result<String, Refusal>,
) -> Result<Option<String>, Refusal> {
    let mut all = load(db, chain)?;
    if all.is_empty() {
        return Ok(None);
    }
    let stored = stored()?;
    memory.grow(stored.len()).map_err(super::too_large)?;
    let stored: Vec<&str> = stored.split_inclusive('\n').collect();
    let joined = |parts: &[&str]| parts.concat().trim_end().replace('\n', ",");
    let mut out = String::new();
    all.sort_by_key(|(id, branch)| (branch.seq, !branch.rotates, *id));
    for (_, branch) in all {
        let (common, own) = stored.split_at_checked(index(branch.seq)).unwrap_or_default();
        let Some(next) = own.first() else { continue };
        let size = stored.iter().map(|line| line.len()).sum::<usize>() + branch.lines.len();
        if !out.is_empty() && out.len() + size > most {
            out += CUT;
            break;
        }
        memory.grow(size).map_err(super::too_large)?;
        let object = if id_of_first(next)? < branch.first {
            fork::to_object(&joined(&stored), &joined(&[&branch.lines]))
        } else {
            let a = [common, &[&*branch.lines]].concat();
            fork::to_object(&joined(&a), &joined(own))
        };
        out += &object;
        out.push('\n');
    }
    Ok(Some(out).filter(|out| !out.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(seq: u64, first: u8, rotates: bool, bytes: usize) -> Branch {
        let first = ObjectId::digest("event", &[first]);
        Branch { seq, first, rotates, lines: "x".repeat(bytes) }
    }

    fn kept(all: Vec<Branch>) -> Vec<usize> {
        let gone = surplus((0..).zip(all.clone()).collect());
        (0..all.len()).filter(|n| !gone.contains(&(*n as i64))).collect()
    }

    #[test]
    fn early_old_and_settling_branches_are_kept() {
        // Many branches from one event: the oldest, and the one that rotates.
        let mut all: Vec<Branch> = (0..6).map(|n| branch(5, 1, n == 5, 10)).collect();
        assert_eq!(kept(all.clone()), [0, 1, 2, 5]);
        // Other events at the same place have their own room.
        all.push(branch(5, 2, false, 10));
        assert!(kept(all.clone()).contains(&6));
        // A flood of later divergences does not push out an earlier one.
        let mut flood: Vec<Branch> = (0..100).map(|n| branch(10 + n, 1, true, 10)).collect();
        flood.push(branch(9, 1, false, 10));
        let kept = kept(flood);
        assert_eq!(kept.len(), MAX_BRANCHES);
        assert!(kept.contains(&100));
    }

    /// KEZ-SRC-26
    #[test]
    fn bytes_are_bounded() {
        let all: Vec<Branch> = (0..20).map(|n| branch(n, 1, false, MAX_BRANCH)).collect();
        assert_eq!(kept(all), (0..16).collect::<Vec<_>>());
    }
}
