//! Encryption at rest: records by AES-128-GCM, each with a key of its own (SPEC.md, "State").

use super::suite::{Random, derive, fill, open, seal};
use crate::{Code, Error, Result, SecretKey};
use alloc::vec::Vec;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const SALT: usize = 16;

/// Encrypts and decrypts records under one key. A record is bound to its name, so that no two
/// can be exchanged; that an older copy of it is not put back, the place where it lies must see to.
pub struct Vault {
    key: Zeroizing<[u8; 32]>,
    random: Random,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// The vault of a device: its key is derived from the device's.
    #[must_use]
    pub fn of(device: &SecretKey, random: Random) -> Self {
        Self { key: derive(device.expose_bytes(), b"KEZ1\0vault"), random }
    }

    /// A vault with a key of 32 random bytes, such as one that a browser keeps or a passphrase
    /// was stretched to.
    #[must_use]
    pub const fn with_key(key: Zeroizing<[u8; 32]>, random: Random) -> Self {
        Self { key, random }
    }

    /// Encrypts a record: a version, a salt of 16 bytes, ciphertext and tag.
    ///
    /// # Errors
    /// That of the randomness.
    pub fn seal(&self, name: &str, data: &[u8]) -> Result<Vec<u8>> {
        let salt: Zeroizing<[u8; SALT]> = fill(&self.random)?;
        let key = self.record_key(&salt[..]);
        let sealed = seal(&key[..], &[0; 12], name.as_bytes(), data)
            .map_err(|_| Error::about(Code::StateRefused, name))?;
        let mut out = Vec::with_capacity(1 + SALT + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&salt[..]);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Decrypts the record of that name.
    ///
    /// # Errors
    /// `state_refused`.
    pub fn open(&self, name: &str, record: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let refused = || Error::about(Code::StateRefused, name);
        let [VERSION, rest @ ..] = record else { return Err(refused()) };
        let (salt, sealed) = rest.split_at_checked(SALT).ok_or_else(refused)?;
        let key = self.record_key(salt);
        open(&key[..], &[0; 12], name.as_bytes(), sealed).map_err(|_| refused())
    }

    fn record_key(&self, salt: &[u8]) -> Zeroizing<[u8; 16]> {
        let mut input = Zeroizing::new(self.key.to_vec());
        input.extend_from_slice(salt);
        derive(&input, b"KEZ1\0record")
    }
}
