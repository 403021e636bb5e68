//! Changes of several files that happen together or not at all, even if the process is killed or
//! the power fails between two of them.
//!
//! A transaction with more than one change is written to a journal first: one file, synced with its
//! directory. From then on the changes are certain. They are applied one by one, and the journal is
//! removed. If the process ends in between, the next command that holds the lock applies the journal
//! again, which gives the same files.

use crate::{
    home::{Home, storage},
    host::Access,
};
use kez_core::{Code, Error, Result, chain::MAX_BUNDLE};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Component, Path, PathBuf},
};
use zeroize::{Zeroize, Zeroizing};

/// The journal's file name in the home directory.
const JOURNAL: &str = "journal.json";
/// The largest journal in bytes: the largest chain, escaped, and some small files.
const MAX_JOURNAL: usize = 3 * MAX_BUNDLE;

/// Changes of files below the home directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transaction {
    kez_journal: u8,
    changes: Vec<Change>,
}

/// One file and its new content.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    /// The path below the home directory, with `/` between its parts.
    path: String,
    /// The new text. `None` removes the file.
    content: Option<String>,
}

impl Drop for Change {
    fn drop(&mut self) {
        // It may be an unencrypted key.
        self.content.zeroize();
    }
}

impl Transaction {
    /// A transaction without changes.
    pub(crate) const fn new() -> Self {
        Self { kez_journal: 1, changes: Vec::new() }
    }

    /// Adds the new content of a file. `path` is relative to the home directory.
    pub(crate) fn write(&mut self, path: String, content: String) {
        self.changes.push(Change { path, content: Some(content) });
    }

    /// Adds the removal of a file. A file that does not exist is no error.
    pub(crate) fn remove(&mut self, path: String) {
        self.changes.push(Change { path, content: None });
    }

    /// Makes all changes. The caller holds the lock of the home directory.
    ///
    /// # Errors
    /// `storage_failed`. Then either nothing has changed, or the next command completes the changes.
    pub(crate) fn commit(self, home: &Home<'_>) -> Result<()> {
        // A journal that an earlier failure left must not be replaced before it is applied.
        recover(home)?;
        if self.changes.len() > 1 {
            let text = Zeroizing::new(serde_json::to_vec(&self).map_err(|_| Code::StorageFailed)?);
            home.write(&home.path(JOURNAL), &text, Access::Private)?;
        }
        self.apply(home)
    }

    fn apply(&self, home: &Home<'_>) -> Result<()> {
        for change in &self.changes {
            let path = home.path(&change.path);
            match &change.content {
                Some(text) => home.write(&path, text.as_bytes(), Access::Private)?,
                None => remove(home, &path)?,
            }
        }
        if self.changes.len() > 1 { remove(home, &home.path(JOURNAL)) } else { Ok(()) }
    }

    /// Whether every path stays below the home directory.
    fn is_contained(&self) -> bool {
        let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        self.kez_journal == 1
            && self.changes.iter().all(|change| Path::new(&change.path).components().all(normal))
    }
}

/// Whether a journal waits to be applied.
pub(crate) fn is_pending(home: &Home<'_>) -> bool {
    home.host.stat(&home.path(JOURNAL)).is_ok()
}

/// Applies the journal of a command that did not end. The caller holds the lock.
///
/// # Errors
/// `storage_failed`.
pub(crate) fn recover(home: &Home<'_>) -> Result<()> {
    let path: PathBuf = home.path(JOURNAL);
    let Some(text) = home.look_up(&path, MAX_JOURNAL)?.map(Zeroizing::new) else { return Ok(()) };
    let journal: Option<Transaction> = serde_json::from_slice(&text).ok();
    let journal = journal.filter(Transaction::is_contained);
    journal
        .ok_or_else(|| Error::about(Code::StorageFailed, format!("{} is damaged", path.display())))?
        .apply(home)
}

fn remove(home: &Home<'_>, path: &Path) -> Result<()> {
    match home.host.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(storage(path)),
    }
}
