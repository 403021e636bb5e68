//! What is dropped by its age.

use super::{Command, Refusal, Store, inbox};
use kez_core::Timestamp;
use rusqlite::{Connection, params};

/// How many inboxes one step looks at.
const STEP: i64 = 100;

impl Store {
    /// Drops what nobody fetched in time, and key packages that are out of date. Gives whether
    /// there may be more.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn upkeep(&self, now: Timestamp) -> Result<bool, Refusal> {
        let (now, before) = (now.seconds(), now.plus(-self.quotas.retention).seconds());
        self.write(Command::Upkeep { now, before }).await?.flag()
    }
}

/// [`Store::upkeep`]: what came before a time is old.
pub(super) fn upkeep(db: &Connection, now: i64, before: i64) -> Result<bool, Refusal> {
    db.execute("DELETE FROM key_packages WHERE expires <= ?", [now])?;
    let mut query = db.prepare_cached(
        "SELECT handle, max(seq) FROM inbox WHERE at < ?1 GROUP BY handle LIMIT ?2",
    )?;
    let old: Vec<(String, u64)> = query
        .query_map(params![before, STEP], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (handle, position) in &old {
        inbox::drop_until(db, handle, *position)?;
    }
    // Of conversations that everybody left.
    db.execute(
        "DELETE FROM entries WHERE at < ?1 AND NOT EXISTS
         (SELECT 1 FROM inbox WHERE inbox.conversation = entries.conversation
          AND inbox.position = entries.position)",
        [before],
    )?;
    Ok(old.len() as i64 == STEP)
}
