//! Secret keys on disk: one file a key, readable by the user only, encrypted with a passphrase
//! (Argon2id, then XChaCha20-Poly1305) unless the user opted out.

use crate::{
    home::{Home, storage},
    transaction::Transaction,
};
use kez_core::{
    Code, Error, Identity, Result, SecretKey,
    keyfile::{KeyFile, MAX_FILE},
};
use serde::Serialize;
use std::{io, path::PathBuf};
use zeroize::Zeroizing;

/// A stored key without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The public identity.
    pub identity: Identity,
    /// Whether a passphrase protects it.
    pub encrypted: bool,
}

/// The keys of a [`Home`].
pub struct Keystore<'a> {
    home: &'a Home<'a>,
    dir: PathBuf,
}

impl<'a> Keystore<'a> {
    /// The store of a home.
    #[must_use]
    pub fn of(home: &'a Home<'a>) -> Self {
        Self { home, dir: home.path("keys") }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let ok = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if ok {
            return Ok(self.dir.join(format!("{name}.json")));
        }
        Err(Error::about(Code::Usage, "a key's name has letters, digits, - and _ only"))
    }

    /// Every key, by name.
    ///
    /// # Errors
    /// `storage_failed`, `key_file`, `key_permissions`.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        for name in self.home.list(&self.dir)? {
            if let Some(name) = name.strip_suffix(".json") {
                all.push(self.entry(name)?);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One key, without its secret.
    ///
    /// # Errors
    /// `key_not_found`, `key_file`, `key_permissions`, `storage_failed`.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        let file = self.read(name)?;
        let (identity, encrypted) = (file.identity().clone(), file.is_encrypted());
        Ok(Entry { name: name.to_owned(), identity, encrypted })
    }

    fn read(&self, name: &str) -> Result<KeyFile> {
        let path = self.path(name)?;
        let stat = match self.home.host.stat(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::about(Code::KeyNotFound, name));
            }
            other => other.map_err(storage(&path))?,
        };
        if !stat.is_file || stat.len > MAX_FILE as u64 {
            return Err(Error::about(Code::KeyFile, path.display()));
        }
        if stat.mode.is_some_and(|mode| mode & 0o077 != 0) {
            return Err(Error::about(Code::KeyPermissions, path.display()));
        }
        let text = Zeroizing::new(self.home.read(&path, MAX_FILE)?);
        KeyFile::read(&text).map_err(|_| Error::about(Code::KeyFile, path.display()))
    }

    /// Adds a key under a new name to a transaction, which stores it. `None` for the passphrase
    /// stores it unencrypted. The caller holds the lock, so that no other command takes the name.
    ///
    /// # Errors
    /// `key_exists`, `storage_failed`.
    pub(crate) fn add(
        &self,
        transaction: &mut Transaction,
        name: &str,
        key: &SecretKey,
        passphrase: Option<&str>,
    ) -> Result<Entry> {
        self.path(name)?;
        let identity = key.public().identity().clone();
        if self.list()?.iter().any(|e| e.name == name || e.identity == identity) {
            return Err(Error::about(Code::KeyExists, name));
        }
        let file = match passphrase {
            None => KeyFile::plain(key),
            Some(passphrase) => self.seal(key, passphrase)?,
        };
        transaction.write(format!("keys/{name}.json"), file.to_text().to_string());
        Ok(Entry { name: name.to_owned(), identity, encrypted: passphrase.is_some() })
    }

    /// A key file that the passphrase opens; it is not stored.
    ///
    /// # Errors
    /// `storage_failed` without randomness.
    pub(crate) fn seal(&self, key: &SecretKey, passphrase: &str) -> Result<KeyFile> {
        let (salt, random) = (self.home.host.random()?, self.home.host.random()?);
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&random[..24]);
        KeyFile::encrypt(key, passphrase, &salt, &nonce)
    }

    /// Opens a key. The passphrase is asked for only if one is needed.
    ///
    /// # Errors
    /// Those of [`Keystore::entry`], of `passphrase`, and `passphrase_wrong`.
    pub fn open(
        &self,
        name: &str,
        passphrase: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<SecretKey> {
        let file = self.read(name)?;
        let passphrase = if file.is_encrypted() { passphrase()? } else { Zeroizing::default() };
        file.open(&passphrase)
    }
}
