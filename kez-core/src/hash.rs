//! Object ids and the commitment to a next key: SHA-256 with one domain prefix per purpose.

use crate::{Code, Error, Identity, Result, hex};
use alloc::string::String;
use core::fmt;
use sha2::{Digest as _, Sha256};

/// An object's id: the digest that is signed, 64 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(type = "string"))]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// `SHA-256("KEZ1" ‖ 0x00 ‖ kind ‖ 0x00 ‖ data)`.
    #[must_use]
    pub fn digest(kind: &str, data: &[u8]) -> Self {
        let hash = Sha256::new_with_prefix(b"KEZ1\0")
            .chain_update(kind.as_bytes())
            .chain_update([0])
            .chain_update(data);
        Self(hash.finalize().into())
    }

    /// From 64 lower-case hex digits.
    ///
    /// # Errors
    /// `id_refused`.
    pub fn parse(text: &str) -> Result<Self> {
        hex::decode(text).map(Self).ok_or_else(|| Error::about(Code::IdRefused, text))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 digits, for people; never for comparison.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl AsRef<[u8]> for ObjectId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl serde::Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The commitment to a key that a later `rotate` must go to (SPEC.md, "Pre-rotation").
#[must_use]
pub fn commitment(next: &Identity) -> ObjectId {
    ObjectId::digest("next", next.as_str().as_bytes())
}
