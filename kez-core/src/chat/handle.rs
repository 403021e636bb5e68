//! Handles and device bundles: the signed objects of a chat server's directory (SPEC.md,
//! "Handles" and "Device bundles").

use crate::{
    Chain, Code, Envelope, Error, Identity, Key, Result, Timestamp,
    claim::{MAX_SOURCES, check_account, check_url},
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use core::fmt;

/// Names that no person shall have: those of roles, and those that paths or clients may use.
const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "all",
    "anonymous",
    "api",
    "bot",
    "channel",
    "everyone",
    "help",
    "here",
    "hostmaster",
    "info",
    "kez",
    "me",
    "moderator",
    "noreply",
    "null",
    "official",
    "operator",
    "postmaster",
    "root",
    "security",
    "self",
    "staff",
    "support",
    "system",
    "team",
    "undefined",
    "webmaster",
    "you",
];

/// A name on a chat server: `[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?`, and not a reserved one.
///
/// ```
/// use kez_core::chat::Handle;
/// assert_eq!("alice".parse::<Handle>()?.as_str(), "alice");
/// assert!("Alice".parse::<Handle>().is_err());
/// assert!("admin".parse::<Handle>().is_err());
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

impl Handle {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for Handle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let ok = (1..=32).contains(&bytes.len())
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || matches!(b, b'-' | b'_'))
            && !RESERVED.contains(&text);
        if ok { Ok(Self(text.to_owned())) } else { Err(Error::about(Code::HandleRefused, text)) }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a handle's owner says: this name on this server is that identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleRecord {
    /// The name.
    pub handle: Handle,
    /// The server's origin.
    pub server: String,
    /// The identity.
    pub primary: Identity,
    /// When it was said.
    pub created_at: Timestamp,
    /// Up to 8 https or wss URLs where the sigchain is served.
    pub sources: Vec<String>,
}

impl HandleRecord {
    /// The unsigned envelope, for the key that stands for the identity now.
    ///
    /// # Errors
    /// As [`SignedHandle::read`], without those of signatures.
    pub fn to_envelope(&self) -> Result<Envelope> {
        let mut members = vec![
            ("type", Value::from("handle")),
            ("handle", self.handle.as_str().into()),
            ("server", self.server.as_str().into()),
            ("primary", self.primary.as_str().into()),
            ("created_at", Value::String(self.created_at.to_string())),
        ];
        if !self.sources.is_empty() {
            let urls = self.sources.iter().map(|s| Value::from(&**s));
            members.push(("sources", Value::Array(urls.collect())));
        }
        let envelope = Envelope::unsigned(Value::object(members))?;
        Self::from_payload(envelope.payload())?;
        Ok(envelope)
    }

    fn from_payload(payload: &Value) -> Result<Self> {
        let mut m = Members::of(payload)?;
        let kind = m.text("type")?;
        if kind != "handle" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let handle = m.text("handle")?.parse()?;
        let server = m.text("server")?;
        check_account(server).map_err(|_| Error::about(Code::TextRefused, "server"))?;
        let server = server.to_owned();
        let primary = Key::from_text(m.text("primary")?)?.identity().clone();
        let created_at = m.text("created_at")?.parse()?;
        let urls = m.optional_array("sources")?.unwrap_or_default();
        if urls.len() > MAX_SOURCES {
            return Err(Error::about(Code::TooLarge, "sources: at most 8 URLs"));
        }
        let mut sources = Vec::new();
        for url in urls {
            let url = url.as_str().ok_or_else(|| Error::about(Code::MemberType, "sources"))?;
            check_url(url)?;
            sources.push(url.to_owned());
        }
        m.finish_with_ext()?;
        Ok(Self { handle, server, primary, created_at, sources })
    }
}

/// A handle's record, signed by one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHandle {
    record: HandleRecord,
    signer: Key,
    envelope: Envelope,
}

impl SignedHandle {
    /// Checks payload and signature. Whether the signer stands for the identity, its chain says:
    /// [`SignedHandle::check`].
    ///
    /// # Errors
    /// Format codes, `handle_refused`, `signature_set`, `key_refused`, `signature_bad`.
    pub fn read(envelope: Envelope) -> Result<Self> {
        let record = HandleRecord::from_payload(envelope.payload())?;
        let [sig] = envelope.signatures() else {
            return Err(Error::about(Code::SignatureSet, "a handle has one signature"));
        };
        let signer = Key::from_text(&sig.key)?;
        envelope.verify(&[&signer])?;
        Ok(Self { record, signer, envelope })
    }

    /// Whether it is of that handle and server, and signed by a key of that chain: the current
    /// one, or one that was current until a rotation that did not declare it compromised by then.
    ///
    /// # Errors
    /// `handle_unproven`.
    pub fn check(&self, handle: &Handle, server: &str, chain: &Chain) -> Result<()> {
        let unproven = |about: &str| Err(Error::about(Code::HandleUnproven, about));
        if self.record.handle != *handle || self.record.server != server {
            return unproven("it is of another handle or server");
        }
        if self.record.primary != *chain.name() {
            return unproven("it is of another identity");
        }
        let era = chain.eras().iter().find(|era| era.key == *self.signer.identity());
        match era {
            Some(era) if era.compromised_since.is_none() => Ok(()),
            _ => unproven("its key does not stand for the identity"),
        }
    }

    /// What it says.
    #[must_use]
    pub const fn record(&self) -> &HandleRecord {
        &self.record
    }

    /// The signed object.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

/// What a device publishes so that envelopes can be sealed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The identity.
    pub primary: Identity,
    /// The device's key.
    pub device: Identity,
    /// The public key of X-Wing for sealed envelopes, 1,216 bytes.
    pub sealed_key: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it may be used.
    pub expires_at: Timestamp,
}

/// The length of a bundle's key in bytes.
pub const SEALED_KEY: usize = 1216;

impl Bundle {
    /// The unsigned envelope, for the device's key.
    ///
    /// # Errors
    /// As [`SignedBundle::read`], without those of signatures.
    pub fn to_envelope(&self) -> Result<Envelope> {
        let time = |t: Timestamp| Value::String(t.to_string());
        let envelope = Envelope::unsigned(Value::object([
            ("type", Value::from("device_bundle")),
            ("primary", self.primary.as_str().into()),
            ("device", self.device.as_str().into()),
            ("sealed_key", Value::String(BASE64_URL_SAFE_NO_PAD.encode(&self.sealed_key))),
            ("created_at", time(self.created_at)),
            ("expires_at", time(self.expires_at)),
        ]))?;
        Self::from_payload(envelope.payload())?;
        Ok(envelope)
    }

    fn from_payload(payload: &Value) -> Result<(Self, Key)> {
        let mut m = Members::of(payload)?;
        let kind = m.text("type")?;
        if kind != "device_bundle" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let primary = Key::from_text(m.text("primary")?)?.identity().clone();
        let device = Key::from_text(m.text("device")?)?;
        let sealed_key = BASE64_URL_SAFE_NO_PAD
            .decode(m.text("sealed_key")?)
            .ok()
            .filter(|key| key.len() == SEALED_KEY)
            .ok_or_else(|| Error::about(Code::BundleRefused, "sealed_key"))?;
        let created_at: Timestamp = m.text("created_at")?.parse()?;
        let expires_at: Timestamp = m.text("expires_at")?.parse()?;
        if expires_at <= created_at || expires_at > created_at.plus(super::LIFETIME) {
            return Err(Code::ExpiryRefused.into());
        }
        m.finish_with_ext()?;
        let key = device.identity().clone();
        Ok((Self { primary, device: key, sealed_key, created_at, expires_at }, device))
    }
}

/// A device's bundle, signed by the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    bundle: Bundle,
    envelope: Envelope,
}

impl SignedBundle {
    /// Checks payload, time and signature.
    ///
    /// # Errors
    /// Format codes, `expiry_refused`, `bundle_refused` if it is not signed by its device or is
    /// out of date.
    pub fn read(envelope: Envelope, now: Timestamp) -> Result<Self> {
        let (bundle, device) = Bundle::from_payload(envelope.payload())?;
        let refused = |about| Error::about(Code::BundleRefused, about);
        envelope.verify(&[&device]).map_err(|_| refused("it is not signed by its device"))?;
        if bundle.created_at.is_future(now) || bundle.expires_at <= now {
            return Err(refused("it is out of date"));
        }
        Ok(Self { bundle, envelope })
    }

    /// What it says.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The signed object.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}
