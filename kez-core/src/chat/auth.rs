//! Signed requests of devices to a chat server (SPEC.md, "Signed requests").

use crate::{Code, Error, Key, Result, Scheme, SecretKey, Suite, hex};
use alloc::{
    format,
    string::{String, ToString},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// How far a request's time may be from the server's, in milliseconds; a signature counts once
/// within it.
pub const WINDOW_MS: u64 = 60_000;

/// What a signature binds besides the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds<'a> {
    /// Nothing: a stream, or a read without parameters.
    Nothing,
    /// The position from which an inbox or a log is read.
    Since(u64),
    /// The body of the request.
    Body(&'a [u8]),
}

/// A request as it is signed.
///
/// ```
/// use kez_core::{Code, Scheme, SecretKey, chat::auth::{Binds, Credentials, Request}};
/// let device = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let poll = Request {
///     origin: "https://chat.example",
///     method: "GET",
///     path: "/v1/inbox/alice",
///     binds: Binds::Since(12),
///     at_ms: 1_795_262_400_000,
/// };
/// let credentials = poll.sign(&device)?;
/// credentials.verify(&poll, 1_795_262_430_000)?;
/// // What was signed for a poll is no signature of anything else.
/// let other = Request { binds: Binds::Nothing, ..poll };
/// assert_eq!(credentials.verify(&other, poll.at_ms).unwrap_err().code(), Code::AuthRefused);
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The server's origin: scheme, host, and port where it is not the scheme's own.
    pub origin: &'a str,
    /// The method, upper-case.
    pub method: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// What else is bound.
    pub binds: Binds<'a>,
    /// Milliseconds since 1970, never twice the same for a device.
    pub at_ms: u64,
}

/// The method of what a device signs to connect to the server's NATS (SPEC.md, KEZ-AUTH-04).
pub const NATS: &str = "NATS";

/// The path of that: it binds the signature to one connection, by the nonce that NATS gave it.
///
/// # Errors
/// `auth_refused` for a nonce that is not 1 to 64 characters of base64url: whoever asks for
/// signatures of other texts wants something else.
pub fn nats_path(nonce: &str) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if (1..=64).contains(&nonce.len()) && nonce.bytes().all(plain) {
        return Ok(format!("/{nonce}"));
    }
    Err(Error::about(Code::AuthRefused, "no nonce of NATS"))
}

/// What a client of the server's NATS sends as its `sig`. It is good for that connection alone,
/// and must not be logged. `origin` is that of the chat server.
///
/// ```
/// use kez_core::{Code, Scheme, SecretKey, chat::auth::{Credentials, nats_signature}};
/// let device = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let sign = |nonce| nats_signature(&device, "https://chat.example", nonce, 1_795_262_400_000);
/// let sig = sign("pX0x9vTkq8LzY2w")?;
/// assert_eq!(Credentials::from_nats(&sig)?.at_ms, 1_795_262_400_000);
/// assert_eq!(sign("KEZ1-AUTH\n").unwrap_err().code(), Code::AuthRefused);
/// # Ok::<(), kez_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`nats_path`] and of [`Request::sign`].
pub fn nats_signature(device: &SecretKey, origin: &str, nonce: &str, at_ms: u64) -> Result<String> {
    let path = &nats_path(nonce)?;
    let request = Request { origin, method: NATS, path, binds: Binds::Nothing, at_ms };
    Ok(request.sign(device)?.to_nats())
}

impl Request<'_> {
    /// The text that is signed: one item a line.
    fn text(&self) -> String {
        let bound = match self.binds {
            Binds::Nothing => String::new(),
            Binds::Since(n) => format!("since={n}\n"),
            Binds::Body(body) => format!("sha256={}\n", hex::encode(&Sha256::digest(body))),
        };
        let Self { origin, method, path, at_ms, .. } = self;
        format!("KEZ1-AUTH\n{origin}\n{method}\n{path}\n{bound}{at_ms}")
    }

    /// Signs with a device's key.
    ///
    /// # Errors
    /// `key_expected` for a key that is not Ed25519.
    pub fn sign(&self, device: &SecretKey) -> Result<Credentials> {
        if device.public().identity().scheme() != Scheme::Ed25519 {
            return Err(Error::about(Code::KeyExpected, "a device has an ed25519 key"));
        }
        let (_, sig) = device.sign(self.text().as_bytes(), &[0; 32])?;
        Ok(Credentials { device: device.public().clone(), at_ms: self.at_ms, sig })
    }
}

/// Who signed a request, when, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The device's key.
    pub device: Key,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    sig: [u8; 64],
}

/// Without the signature, which must not reach a log.
impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Credentials({} at {})", self.device, self.at_ms)
    }
}

impl Credentials {
    /// The value of the header `Authorization`.
    #[must_use]
    pub fn to_header(&self) -> String {
        let device = hex::encode(&self.device.to_bytes());
        format!("KEZ device={device},ts={},sig={}", self.at_ms, hex::encode(&self.sig))
    }

    /// The query of a stream, for which browsers send no headers: `device=…&auth=<ts>:<sig>`.
    #[must_use]
    pub fn to_query(&self) -> String {
        let device = hex::encode(&self.device.to_bytes());
        format!("device={device}&auth={}:{}", self.at_ms, hex::encode(&self.sig))
    }

    /// What a client of NATS sends as its `sig`: that header in base64url.
    #[must_use]
    pub fn to_nats(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.to_header())
    }

    /// From the `sig` of a client of NATS.
    ///
    /// # Errors
    /// `auth_missing` if there is none, `auth_refused` for one that is not well-formed.
    pub fn from_nats(sig: &str) -> Result<Self> {
        let header = BASE64_URL_SAFE_NO_PAD.decode(sig).map_err(|_| malformed())?;
        Self::from_header(&String::from_utf8(header).map_err(|_| malformed())?)
    }

    /// From the value of the header `Authorization`.
    ///
    /// # Errors
    /// `auth_missing` for another scheme, `auth_refused` for one that is not well-formed.
    pub fn from_header(value: &str) -> Result<Self> {
        let parts = value.strip_prefix("KEZ ").ok_or(Code::AuthMissing)?;
        let mut parts = parts.split(',').map(str::trim);
        let mut next = |name: &str| {
            parts.next().and_then(|part| part.strip_prefix(name)).ok_or_else(malformed)
        };
        let (device, at, sig) = (next("device=")?, next("ts=")?, next("sig=")?);
        if parts.next().is_some() {
            return Err(malformed());
        }
        Self::from_parts(device, at, sig)
    }

    /// From the values of `device` and `auth` in a stream's query.
    ///
    /// # Errors
    /// `auth_refused` if they are not well-formed.
    pub fn from_query(device: &str, auth: &str) -> Result<Self> {
        let (at, sig) = auth.split_once(':').ok_or_else(malformed)?;
        Self::from_parts(device, at, sig)
    }

    fn from_parts(device: &str, at: &str, sig: &str) -> Result<Self> {
        let device = hex::decode(device).ok_or_else(malformed)?;
        let device = Key::from_bytes(Scheme::Ed25519, &device).map_err(|_| malformed())?;
        let at_ms: u64 = at.parse().map_err(|_| malformed())?;
        if at_ms.to_string() != at {
            return Err(malformed());
        }
        Ok(Self { device, at_ms, sig: hex::decode(sig).ok_or_else(malformed)? })
    }

    /// Whether the request was signed so, within the window. That no signature counts twice is
    /// for the server to see to: by [`Credentials::nonce`].
    ///
    /// # Errors
    /// `auth_refused`.
    pub fn verify(&self, request: &Request<'_>, now_ms: u64) -> Result<()> {
        if self.at_ms.abs_diff(now_ms) > WINDOW_MS {
            let text = format!("signed at {}, and it is {now_ms}", self.at_ms);
            return Err(Error::about(Code::AuthRefused, text));
        }
        let request = Request { at_ms: self.at_ms, ..*request };
        self.device
            .verify(Suite::Ed25519, request.text().as_bytes(), &self.sig)
            .map_err(|_| Error::about(Code::AuthRefused, "the signature does not verify"))
    }

    /// What must not come twice within the window.
    #[must_use]
    pub fn nonce(&self) -> [u8; 32] {
        let hash = Sha256::new_with_prefix(self.device.to_bytes());
        hash.chain_update(self.sig).finalize().into()
    }
}

fn malformed() -> Error {
    Error::about(Code::AuthRefused, "not well-formed")
}
