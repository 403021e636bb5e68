//! Secret keys on disk: one file a key, readable by the user only, encrypted with a passphrase
//! (Argon2id, then XChaCha20-Poly1305) unless the user opted out.

use crate::{
    home::{Home, storage},
    host::{Access, Host},
};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use kez_core::{Code, Error, Identity, Result, Scheme, SecretKey};
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};
use zeroize::Zeroizing;

/// The largest key file that is read.
const MAX_FILE: usize = 64 * 1024;
/// Argon2id as RFC 9106 recommends for little memory: 64 MiB, 3 passes, 4 lanes.
const ARGON: (u32, u32, u32) = (64 * 1024, 3, 4);

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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kez_key: u8,
    public: String,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Secret {
    Plain(String),
    Encrypted {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: String,
        nonce: String,
        data: String,
    },
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
        let identity = Identity::from_canonical(&file.public)
            .map_err(|_| Error::about(Code::KeyFile, name))?;
        let encrypted = matches!(file.secret, Secret::Encrypted { .. });
        Ok(Entry { name: name.to_owned(), identity, encrypted })
    }

    fn read(&self, name: &str) -> Result<File> {
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
        let file: File = serde_json::from_slice(&text)
            .map_err(|_| Error::about(Code::KeyFile, path.display()))?;
        if file.kez_key == 1 { Ok(file) } else { Err(Error::about(Code::KeyFile, "its version")) }
    }

    /// Stores a key under a new name. `None` for the passphrase stores it unencrypted.
    ///
    /// # Errors
    /// `key_exists`, `storage_failed`.
    pub fn add(&self, name: &str, key: &SecretKey, passphrase: Option<&str>) -> Result<Entry> {
        let path = self.path(name)?;
        let identity = key.public().identity().clone();
        if self.list()?.iter().any(|e| e.name == name || e.identity == identity) {
            return Err(Error::about(Code::KeyExists, name));
        }
        let secret = match passphrase {
            None => Secret::Plain(kez_core::hex::encode(key.expose_bytes())),
            Some(passphrase) => encrypt(self.home.host, key, passphrase)?,
        };
        let file = File { kez_key: 1, public: identity.as_str().into(), secret };
        let text = serde_json::to_vec_pretty(&file).map(Zeroizing::new);
        let text = text.map_err(|_| Error::from(Code::KeyFile))?;
        match self.home.host.write(&path, &text, Access::Private, false) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::about(Code::KeyExists, name));
            }
            other => other.map_err(storage(&path))?,
        }
        Ok(Entry { name: name.to_owned(), identity, encrypted: passphrase.is_some() })
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
        let bad = || Error::about(Code::KeyFile, name);
        let bytes = match &file.secret {
            Secret::Plain(hex) => Zeroizing::new(kez_core::hex::decode(hex).ok_or_else(bad)?),
            secret @ Secret::Encrypted { .. } => decrypt(secret, &file.public, &passphrase()?)?,
        };
        let scheme =
            if file.public.starts_with("nostr:") { Scheme::Nostr } else { Scheme::Ed25519 };
        let key = SecretKey::from_bytes(scheme, *bytes).map_err(|_| bad())?;
        if key.public().identity().as_str() == file.public { Ok(key) } else { Err(bad()) }
    }
}

fn stretch(passphrase: &str, salt: &[u8], costs: (u32, u32, u32)) -> Result<Zeroizing<[u8; 32]>> {
    let refused = |_| Error::from(Code::KeyFile);
    // A damaged file must not make us allocate without bound.
    if costs.0 > 1 << 20 || costs.1 > 64 || costs.2 > 64 {
        return Err(Code::KeyFile.into());
    }
    let params = argon2::Params::new(costs.0, costs.1, costs.2, Some(32)).map_err(refused)?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon.hash_password_into(passphrase.as_bytes(), salt, &mut key[..]).map_err(refused)?;
    Ok(key)
}

fn encrypt(host: &dyn Host, key: &SecretKey, passphrase: &str) -> Result<Secret> {
    let (salt, random) = (host.random()?, host.random()?);
    let stretched = stretch(passphrase, &salt, ARGON)?;
    let cipher = XChaCha20Poly1305::new((&*stretched).into());
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&random[..24]);
    let aad = key.public().identity().as_str().as_bytes();
    let data = cipher
        .encrypt(&nonce.into(), Payload { msg: key.expose_bytes(), aad })
        .map_err(|_| Code::KeyFile)?;
    Ok(Secret::Encrypted {
        memory_kib: ARGON.0,
        passes: ARGON.1,
        lanes: ARGON.2,
        salt: kez_core::hex::encode(&salt),
        nonce: kez_core::hex::encode(&nonce),
        data: kez_core::hex::encode(&data),
    })
}

fn decrypt(secret: &Secret, public: &str, passphrase: &str) -> Result<Zeroizing<[u8; 32]>> {
    let bad = || Error::from(Code::KeyFile);
    let Secret::Encrypted { memory_kib, passes, lanes, salt, nonce, data } = secret else {
        return Err(bad());
    };
    let salt: [u8; 32] = kez_core::hex::decode(salt).ok_or_else(bad)?;
    let nonce: [u8; 24] = kez_core::hex::decode(nonce).ok_or_else(bad)?;
    let data: [u8; 48] = kez_core::hex::decode(data).ok_or_else(bad)?;
    let stretched = stretch(passphrase, &salt, (*memory_kib, *passes, *lanes))?;
    let cipher = XChaCha20Poly1305::new((&*stretched).into());
    let plain = cipher
        .decrypt(&nonce.into(), Payload { msg: &data, aad: public.as_bytes() })
        .map(Zeroizing::new)
        .map_err(|_| Code::PassphraseWrong)?;
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(plain.get(..32).ok_or_else(bad)?);
    Ok(bytes)
}
