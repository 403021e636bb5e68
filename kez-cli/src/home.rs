//! The user's directory: keys, own chains, remembered chains, cache and configuration.

use crate::{
    host::{Access, Host, Stream},
    output::clean,
    transaction,
};
use kez_core::{
    Chain, Code, Error, Identity, Memory, ObjectId, Result, Timestamp, chain::MAX_BUNDLE,
    chain_path,
};
use std::{
    any::Any,
    io,
    path::{Path, PathBuf},
};

/// `KEZ_HOME`, or the platform's configuration directory for `kez`.
#[derive(Clone)]
pub struct Home<'a> {
    pub(crate) host: &'a dyn Host,
    root: PathBuf,
}

/// A lock that this process holds until the value is dropped. It also ends with the process.
pub struct Lock {
    _held: Box<dyn Any>,
}

/// A clock by which no date is in the future, for the user's own chains.
pub(crate) const ANY_DATE: Timestamp = Timestamp::from_seconds(i64::MAX);
/// The time between two attempts to take a lock, in milliseconds.
const POLL: u32 = 20;
/// The time in milliseconds after which a command says that it waits for a lock.
const NOTICE: u32 = 1000;

/// The path of an own chain below the directory.
pub(crate) fn own_chain(chain: &Identity) -> String {
    format!("sigchains/{}.jsonl", chain_path(chain))
}

/// Turns an I/O error into `storage_failed` with the path. Its words are those of the kind of
/// error, which are the same on every host.
pub fn storage(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::about(Code::StorageFailed, format!("{}: {}", path.display(), e.kind()))
}

impl<'a> Home<'a> {
    /// Finds the directory; it is made when something is first written.
    ///
    /// # Errors
    /// `storage_failed` if neither `KEZ_HOME` nor the user's home is known.
    pub fn find(host: &'a dyn Host) -> Result<Self> {
        let named = host.env("KEZ_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = named.or_else(|| host.config_dir());
        root.map(|root| Self { host, root })
            .ok_or_else(|| Error::about(Code::StorageFailed, "no home directory: set KEZ_HOME"))
    }

    /// A directory at that path.
    #[must_use]
    pub const fn at(host: &'a dyn Host, root: PathBuf) -> Self {
        Self { host, root }
    }

    /// A path below the directory.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn own_chain(&self, chain: &Identity) -> PathBuf {
        self.path(&own_chain(chain))
    }

    /// Where that is remembered: a chain by its name, a server's log by a digest of its URL.
    fn seen(&self, name: &str) -> PathBuf {
        self.path(&match Identity::from_canonical(name) {
            Ok(chain) => format!("seen/{}.jsonl", chain_path(&chain)),
            Err(_) => format!("seen/log/{}", ObjectId::digest("log", name.as_bytes())),
        })
    }

    /// The user's own chains, replayed. Dates in the future are accepted: they are the user's, who
    /// must be able to read, export and revoke.
    ///
    /// # Errors
    /// `storage_failed`, or what a damaged chain file fails with.
    pub fn chains(&self) -> Result<Vec<Chain>> {
        let mut chains = Vec::new();
        for scheme in ["nostr", "ed25519"] {
            let dir = self.path(&format!("sigchains/{scheme}"));
            for name in self.list(&dir)? {
                if name.ends_with(".jsonl") {
                    let path = dir.join(name);
                    let bundle = self.read(&path, MAX_BUNDLE)?;
                    chains.push(Chain::replay(&bundle, None, ANY_DATE)?);
                }
            }
        }
        chains.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(chains)
    }

    /// The user's own chain of that name, replayed.
    ///
    /// # Errors
    /// As [`Home::chains`].
    pub fn chain(&self, name: &Identity) -> Result<Option<Chain>> {
        let bundle = self.look_up(&self.own_chain(name), MAX_BUNDLE)?;
        bundle.map(|bundle| Chain::replay(&bundle, Some(name), ANY_DATE)).transpose()
    }

    /// Writes an own chain, whole or not at all.
    ///
    /// # Errors
    /// `storage_failed`; the old file is then as it was.
    pub fn save_chain(&self, chain: &Chain) -> Result<PathBuf> {
        let path = self.own_chain(chain.name());
        self.write(&path, chain.to_bundle().as_bytes(), Access::Private)?;
        Ok(path)
    }

    /// Takes the lock of the whole directory, and holds it until the result is dropped, so that two
    /// commands do not append to one chain at once. Then completes the changes of a command that was
    /// killed in the middle of them.
    ///
    /// # Errors
    /// `storage_failed`.
    pub fn lock(&self) -> Result<Lock> {
        let lock = self.lock_file(&self.path("lock"))?;
        transaction::recover(self)?;
        Ok(lock)
    }

    /// Completes the changes of a command that was killed in the middle of them, if there are any.
    ///
    /// # Errors
    /// As [`Home::lock`].
    pub fn recover(&self) -> Result<()> {
        if transaction::is_pending(self) { self.lock().map(drop) } else { Ok(()) }
    }

    /// Takes the lock of one file. If another command holds it for a second, prints what this one
    /// waits for.
    pub(crate) fn lock_file(&self, path: &Path) -> Result<Lock> {
        let mut waited = 0;
        loop {
            if let Some(held) = self.host.try_lock(path).map_err(storage(path))? {
                return Ok(Lock { _held: held });
            }
            if waited == NOTICE {
                let text = format!(
                    "kez: waiting for another kez command, which holds the lock {}\n",
                    clean(&path.display().to_string())
                );
                self.host.print(Stream::Err, &text);
            }
            self.host.sleep(POLL);
            waited += POLL;
        }
    }

    /// The names in a directory; none if it does not exist. Names that begin with a dot are left
    /// out: they are temporary files of commands that were killed.
    pub(crate) fn list(&self, dir: &Path) -> Result<Vec<String>> {
        match self.host.list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => {
                let mut names = other.map_err(storage(dir))?;
                names.retain(|name| !name.starts_with('.'));
                Ok(names)
            }
        }
    }

    /// Reads a file up to a limit.
    pub(crate) fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        bounded(self.host.read(path, limit).map_err(storage(path))?, limit)
    }

    /// As [`Home::read`], if the file is there.
    pub(crate) fn look_up(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
        match self.host.read(path, limit) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => bounded(other.map_err(storage(path))?, limit).map(Some),
        }
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], access: Access) -> Result<()> {
        self.host.write(path, bytes, access, true).map_err(storage(path))
    }
}

fn bounded(bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>> {
    if bytes.len() > limit {
        return Err(Error::about(Code::TooLarge, format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

impl Memory for Home<'_> {
    fn recall(&self, name: &str) -> Option<Vec<u8>> {
        self.host.read(&self.seen(name), MAX_BUNDLE).ok()
    }

    fn remember(&self, name: &str, text: &str) {
        if self.recall(name).is_some_and(|old| old == text.as_bytes()) {
            return;
        }
        if let Err(error) = self.write(&self.seen(name), text.as_bytes(), Access::Private) {
            let error = clean(&error.to_string());
            let text = format!("kez: warning: what was seen could not be remembered: {error}\n");
            self.host.print(Stream::Err, &text);
        }
    }
}
