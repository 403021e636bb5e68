//! Identities: `scheme:value`, one canonical string each, compared as bytes
//! (SPEC.md, "Identities"). The grammar of a scheme's values is in that scheme's channel.

pub(crate) mod domain;

pub use domain::ToAscii;
#[cfg(feature = "url")]
pub use domain::to_ascii;

use crate::{Code, Error, Result};
use alloc::{borrow::ToOwned, string::String};
use core::fmt;

/// The two schemes whose identities are keys: they sign, and a primary is one of them.
///
/// Every other scheme is a text: see [`Identity::scheme`] and [`crate::channel::by_scheme`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// A nostr key: `nostr:npub1…`.
    Nostr,
    /// An Ed25519 key: `ed25519:<64 hex>`.
    Ed25519,
}

impl Scheme {
    /// Both schemes.
    pub const ALL: [Self; 2] = [Self::Nostr, Self::Ed25519];

    /// The text before the colon.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nostr => "nostr",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// So that `identity.scheme() == Scheme::Nostr` can be written.
impl PartialEq<Scheme> for &str {
    fn eq(&self, other: &Scheme) -> bool {
        *self == other.as_str()
    }
}

/// A canonical identity. Its scheme may be one that this version does not know: such an identity
/// is accepted in signed objects and compared as bytes, and no channel can look it up.
///
/// ```
/// use kez_core::Identity;
/// let id = Identity::parse("https://github.com/Jason/").unwrap();
/// assert_eq!(id.as_str(), "github:jason");
/// assert_eq!(Identity::parse("@Alice@Bücher.Example").unwrap().as_str(),
///            "ap:alice@xn--bcher-kva.example");
/// assert!(Identity::from_canonical("gitlab:Jason").unwrap().channel().is_none());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(type = "string"))]
pub struct Identity {
    text: String,
}

impl Identity {
    /// An identity whose text the caller has checked: a key, or the registry of channels.
    pub(crate) fn of_checked(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// The scheme: what stands before the colon. It may be one that this version does not know.
    ///
    /// ```
    /// use kez_core::{Identity, Scheme};
    /// assert_eq!(Identity::parse("example.com")?.scheme(), "dns");
    /// # Ok::<(), kez_core::Error>(())
    /// ```
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// The scheme of a key; `None` for every other identity.
    #[must_use]
    pub fn key_scheme(&self) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|scheme| self.scheme() == *scheme)
    }

    /// Whether this is a key, which can sign and be a primary.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.key_scheme().is_some()
    }

    /// What stands after the scheme's colon.
    #[must_use]
    pub fn value(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, value)| value)
    }

    /// The whole canonical string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Checks an identity of a scheme that no channel has: `[a-z][a-z0-9]{1,15}`, a colon, and 1 to
/// 255 printable ASCII characters without space.
///
/// # Errors
/// `scheme_unknown` if the scheme is not of that form, `identity_refused` for the value.
pub(crate) fn check_unknown(scheme: &str, value: &str) -> Result<()> {
    let lower = |b: &u8| b.is_ascii_lowercase();
    let well_formed = (2..=16).contains(&scheme.len())
        && scheme.as_bytes().first().is_some_and(lower)
        && scheme.bytes().all(|b| lower(&b) || b.is_ascii_digit());
    if !well_formed {
        return Err(Error::about(Code::SchemeUnknown, scheme));
    }
    if (1..=255).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Error::about(
            Code::IdentityRefused,
            "a value has 1 to 255 printable ASCII characters without space",
        ))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.text)
    }
}

impl AsRef<[u8]> for Identity {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl serde::Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

#[cfg(feature = "url")]
impl core::str::FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
