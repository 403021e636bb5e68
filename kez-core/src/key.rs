//! Keys and the bare signatures of the three suites (SPEC.md, "Keys" and "Suites").

use crate::{
    Code, Error, Identity, Result, Scheme,
    batch::{self, Schnorr},
    hex,
    json::Value,
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};
use core::fmt;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

/// A public key, decoded and checked: canonical, on its curve, and of prime order.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    identity: Identity,
    point: Point,
}

#[derive(Clone, PartialEq, Eq)]
enum Point {
    Ed25519(ed25519_dalek::VerifyingKey),
    Nostr(k256::schnorr::VerifyingKey),
}

impl Key {
    /// The key that a `nostr:` or `ed25519:` identity names.
    ///
    /// # Errors
    /// `key_expected` for the other schemes, `key_refused` for a key that breaks the rules.
    pub fn from_identity(identity: &Identity) -> Result<Self> {
        Self::from_text(identity.as_str())
    }

    /// The key of that canonical text, `nostr:npub1…` or `ed25519:<hex>`.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        let refused = || Error::about(Code::KeyRefused, text);
        let point = if let Some(value) = text.strip_prefix("ed25519:") {
            let bytes = hex::decode(value).ok_or_else(refused)?;
            Point::Ed25519(ed25519_point(&bytes).ok_or_else(refused)?)
        } else if let Some(value) = text.strip_prefix("nostr:") {
            let bytes = npub_decode(value).ok_or_else(refused)?;
            Point::Nostr(k256::schnorr::VerifyingKey::from_slice(&bytes).map_err(|_| refused())?)
        } else {
            return Err(Error::about(Code::KeyExpected, text));
        };
        Ok(Self { identity: Identity::of_checked(text), point })
    }

    /// From 32 raw bytes: an Ed25519 public key, or a nostr (x-only) one.
    ///
    /// # Errors
    /// `key_refused`.
    pub fn from_bytes(scheme: Scheme, bytes: &[u8; 32]) -> Result<Self> {
        match scheme {
            Scheme::Ed25519 => Self::from_text(&format!("ed25519:{}", hex::encode(bytes))),
            Scheme::Nostr => Self::from_text(&format!("nostr:{}", npub_encode(bytes))),
        }
    }

    /// The identity that names this key.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The scheme of its identity.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match &self.point {
            Point::Ed25519(_) => Scheme::Ed25519,
            Point::Nostr(_) => Scheme::Nostr,
        }
    }

    /// The 32 bytes of the key: compressed Edwards point, or x coordinate.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        match &self.point {
            Point::Ed25519(key) => key.to_bytes(),
            Point::Nostr(key) => key.to_bytes().into(),
        }
    }

    /// Verifies a 64-byte signature over a message (KEZ's are digests of 32 bytes) by a suite.
    ///
    /// # Errors
    /// `suite_mismatch` if the suite does not fit the key, else `signature_bad`.
    pub(crate) fn verify(&self, suite: Suite, digest: &[u8], sig: &[u8; 64]) -> Result<()> {
        let ok = match (&self.point, suite) {
            (Point::Ed25519(key), Suite::Ed25519) => {
                key.verify_strict(digest, &ed25519_dalek::Signature::from_bytes(sig)).is_ok()
            }
            (Point::Nostr(key), Suite::Bip340 | Suite::NostrEvent) => {
                batch::all_hold(&[Schnorr { key, message: digest, sig }])
            }
            _ => return Err(Error::about(Code::SuiteMismatch, &self.identity)),
        };
        if ok { Ok(()) } else { Err(Error::about(Code::SignatureBad, &self.identity)) }
    }

    pub(crate) const fn schnorr(&self) -> Option<&k256::schnorr::VerifyingKey> {
        match &self.point {
            Point::Nostr(key) => Some(key),
            Point::Ed25519(_) => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.identity)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

/// Decodes by the strict rules: `verify_strict` alone would let mixed-order keys through.
fn ed25519_point(bytes: &[u8; 32]) -> Option<ed25519_dalek::VerifyingKey> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?;
    let point = key.to_edwards();
    // RFC 8032, section 5.1.3 wants y below p = 2^255 - 19. Its other rule, no sign for x = 0, is
    // about weak keys only.
    let canonical = bytes[0] < 0xed || bytes[1..31] != [0xff; 30] || bytes[31] & 0x7f != 0x7f;
    (canonical && !key.is_weak() && is_torsion_free(&point)).then_some(key)
}

/// Whether a point is in the subgroup of prime order l: whether (l - 1) P = -P. The point is
/// public, so the time may vary, and l is sparse: that is faster than `point.is_torsion_free()`.
fn is_torsion_free(point: &EdwardsPoint) -> bool {
    let product =
        EdwardsPoint::vartime_double_scalar_mul_basepoint(&-Scalar::ONE, point, &Scalar::ZERO);
    product == -point
}

const NPUB: Hrp = Hrp::parse_unchecked("npub");

/// The npub text of 32 bytes (NIP-19).
pub(crate) fn npub_encode(bytes: &[u8; 32]) -> String {
    // 32 bytes with a four-letter prefix are far below bech32's length limit.
    bech32::encode_lower::<Bech32>(NPUB, bytes).unwrap_or_default()
}

/// Decodes a canonical npub. The bech32 crate accepts several strings for one key (padding bits,
/// other lengths), hence the comparison with the re-encoded text.
pub(crate) fn npub_decode(text: &str) -> Option<[u8; 32]> {
    let bytes: [u8; 32] = bech32_bytes(text)?.as_slice().try_into().ok()?;
    (npub_encode(&bytes) == text).then_some(bytes)
}

/// The bytes of a bech32 text of any prefix, which the caller has to check. They may be secret.
pub(crate) fn bech32_bytes(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    Some(Zeroizing::new(checked.byte_iter().collect()))
}

/// How a signature was made (SPEC.md, "Suites").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// RFC 8032 over the digest, verified by the strict rules.
    Ed25519,
    /// BIP-340 over the digest.
    Bip340,
    /// BIP-340 over the NIP-01 id of an event that is derived from the payload.
    NostrEvent,
}

impl Suite {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Bip340 => "bip340",
            Self::NostrEvent => "nostr-event",
        }
    }

    /// The suite of that name.
    ///
    /// # Errors
    /// `suite_mismatch` for any other.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "ed25519" => Ok(Self::Ed25519),
            "bip340" => Ok(Self::Bip340),
            "nostr-event" => Ok(Self::NostrEvent),
            _ => Err(Error::about(Code::SuiteMismatch, name)),
        }
    }
}

/// A secret key. It is wiped from memory when dropped and never printed.
///
/// ```
/// use kez_core::{Scheme, SecretKey};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32]).unwrap();
/// assert_eq!(format!("{key:?}"), format!("SecretKey({})", key.public()));
/// ```
pub struct SecretKey {
    public: Key,
    seed: Zeroizing<[u8; 32]>,
}

impl SecretKey {
    /// From the 32 secret bytes: an Ed25519 seed, or a secp256k1 scalar.
    ///
    /// # Errors
    /// `key_refused` for all-zero bytes or a scalar out of range.
    pub fn from_bytes(scheme: Scheme, mut bytes: [u8; 32]) -> Result<Self> {
        let seed = Zeroizing::new(bytes);
        bytes.zeroize();
        if *seed == [0; 32] {
            return Err(Code::KeyRefused.into());
        }
        let public = match scheme {
            Scheme::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(&seed);
                Key::from_bytes(scheme, key.verifying_key().as_bytes())?
            }
            Scheme::Nostr => {
                let key = k256::schnorr::SigningKey::from_slice(&seed[..])
                    .map_err(|_| Code::KeyRefused)?;
                Key::from_bytes(scheme, &key.verifying_key().to_bytes().into())?
            }
        };
        Ok(Self { public, seed })
    }

    /// From `nsec1…` (NIP-19) or 64 hex digits, as people export keys.
    ///
    /// # Errors
    /// `key_refused` without any of the text.
    pub fn from_text(scheme: Scheme, text: &str) -> Result<Self> {
        let text = text.trim();
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        if lower.starts_with("nsec1") {
            let bytes = bech32_bytes(&lower).ok_or(Code::KeyRefused)?;
            let bytes = bytes.as_slice().try_into().map_err(|_| Code::KeyRefused)?;
            return Self::from_bytes(Scheme::Nostr, bytes);
        }
        Self::from_bytes(scheme, hex::decode(&lower).ok_or(Code::KeyRefused)?)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &Key {
        &self.public
    }

    /// The secret as people carry it elsewhere: `nsec1…`, or 64 hex digits for Ed25519.
    #[must_use]
    pub fn expose_text(&self) -> String {
        match self.public.scheme() {
            Scheme::Nostr => {
                bech32::encode_lower::<Bech32>(Hrp::parse_unchecked("nsec"), &self.seed[..])
                    .unwrap_or_default()
            }
            Scheme::Ed25519 => hex::encode(&self.seed[..]),
        }
    }

    /// The 32 secret bytes, for storing them encrypted.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Signs a message (KEZ's are digests of 32 bytes) with the key's own suite. `aux` is 32 fresh random bytes for BIP-340; all
    /// zeros are allowed and make the signature deterministic. Ed25519 ignores it.
    ///
    /// # Errors
    /// `key_refused` if the curve library refuses, which valid keys never meet.
    pub(crate) fn sign(&self, digest: &[u8], aux: &[u8; 32]) -> Result<(Suite, [u8; 64])> {
        use ed25519_dalek::Signer as _;
        match self.public.scheme() {
            Scheme::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(&self.seed);
                Ok((Suite::Ed25519, key.sign(digest).to_bytes()))
            }
            Scheme::Nostr => {
                let key = k256::schnorr::SigningKey::from_slice(&self.seed[..])
                    .map_err(|_| Code::KeyRefused)?;
                let sig = key.sign_raw(digest, aux).map_err(|_| Code::KeyRefused)?;
                Ok((Suite::Bip340, sig.to_bytes()))
            }
        }
    }

    /// Signs a nostr event (NIP-01) with a nostr key, for carrying proofs on relays.
    ///
    /// # Errors
    /// `key_expected` if this is not a nostr key.
    pub fn sign_nostr_event(&self, event: &NostrEvent, aux: &[u8; 32]) -> Result<String> {
        if self.public.scheme() != Scheme::Nostr {
            return Err(Error::about(Code::KeyExpected, "a nostr key is wanted"));
        }
        let id = event.id(&self.public);
        let (_, sig) = self.sign(&id, aux)?;
        Ok(event.to_json(&self.public, &id, &sig))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public)
    }
}

/// The parts of a NIP-01 event that its author chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NostrEvent {
    /// Seconds since 1970.
    pub created_at: i64,
    /// The NIP-01 kind.
    pub kind: u16,
    /// The tags, each a list of strings.
    pub tags: Vec<Vec<String>>,
    /// The content.
    pub content: String,
}

impl NostrEvent {
    fn tags_value(&self) -> Value {
        let tag = |t: &Vec<String>| Value::Array(t.iter().map(|s| Value::from(&**s)).collect());
        Value::Array(self.tags.iter().map(tag).collect())
    }

    /// The event id: SHA-256 of `[0,pubkey,created_at,kind,tags,content]` (NIP-01).
    #[must_use]
    pub fn id(&self, author: &Key) -> [u8; 32] {
        // NIP-01 escapes exactly as JCS does, but for control characters, which JCS writes as
        // \u00XX and NIP-01 leaves raw; the content that KEZ signs has none.
        let serial = Value::Array(alloc::vec![
            Value::Int(0),
            Value::String(hex::encode(&author.to_bytes())),
            Value::Int(self.created_at),
            Value::Int(i64::from(self.kind)),
            self.tags_value(),
            Value::String(self.content.clone()),
        ]);
        Sha256::digest(serial.to_canonical().as_bytes()).into()
    }

    /// The whole event as JSON.
    #[must_use]
    pub fn to_json(&self, author: &Key, id: &[u8; 32], sig: &[u8; 64]) -> String {
        let signed = [("id", hex::encode(id)), ("sig", hex::encode(sig))];
        let signed = signed.map(|(name, digits)| (name, Value::String(digits)));
        Value::object(self.members(author).into_iter().chain(signed)).to_canonical()
    }

    fn members(&self, author: &Key) -> [(&'static str, Value); 5] {
        [
            ("pubkey", Value::String(hex::encode(&author.to_bytes()))),
            ("created_at", Value::Int(self.created_at)),
            ("kind", Value::Int(i64::from(self.kind))),
            ("tags", self.tags_value()),
            ("content", Value::String(self.content.clone())),
        ]
    }

    /// The event without id and signature, as JSON, for its author's remote signer (NIP-46).
    #[must_use]
    pub fn to_unsigned(&self, author: &Key) -> String {
        Value::object(self.members(author)).to_canonical()
    }

    /// Reads an event from a relay: recomputes its id and verifies its signature.
    ///
    /// # Errors
    /// `response_refused` if it is not a NIP-01 event, `signature_bad` if it is forged.
    pub fn from_json(json: &Value) -> Result<(Key, Self)> {
        let refused = || Error::about(Code::ResponseRefused, "not a NIP-01 event");
        let text = |name| json.get(name).and_then(Value::as_str).ok_or_else(refused);
        let int = |name| json.get(name).and_then(Value::as_int).ok_or_else(refused);
        let strings = |tag: &Value| -> Option<Vec<String>> {
            tag.as_array()?.iter().map(|s| s.as_str().map(ToOwned::to_owned)).collect()
        };
        let pubkey = hex::decode(text("pubkey")?).ok_or_else(refused)?;
        let author = Key::from_bytes(Scheme::Nostr, &pubkey)?;
        let tags = json.get("tags").and_then(Value::as_array).ok_or_else(refused)?;
        let event = Self {
            created_at: int("created_at")?,
            kind: u16::try_from(int("kind")?).map_err(|_| refused())?,
            tags: tags.iter().map(strings).collect::<Option<_>>().ok_or_else(refused)?,
            content: text("content")?.to_owned(),
        };
        let id = event.id(&author);
        let sig = hex::decode(text("sig")?).ok_or_else(refused)?;
        if hex::encode(&id) != text("id")? {
            return Err(Error::about(Code::SignatureBad, "the event's id is not its hash"));
        }
        author.verify(Suite::Bip340, &id, &sig)?;
        Ok((author, event))
    }

    /// The first value of a tag of that name.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|t| t.first().is_some_and(|n| n == name))?.get(1).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};

    /// The same points as by the library's own, slower functions.
    #[test]
    fn only_points_of_prime_order() {
        for n in [1_u64, 2, 3, 0xdead_beef, u64::MAX] {
            for torsion in EIGHT_TORSION {
                let point = ED25519_BASEPOINT_POINT * Scalar::from(n) + torsion;
                assert_eq!(is_torsion_free(&point), point.is_torsion_free());
                let key = ed25519_point(&point.compress().to_bytes());
                assert_eq!(key.is_some(), point.is_torsion_free(), "{n}");
            }
        }
        for low in 0..=0xff_u8 {
            for sign in [0x7f, 0xff] {
                // y from 2^255 - 256 on, of which 19 are not below p.
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, sign);
                let point = curve25519_dalek::edwards::CompressedEdwardsY(bytes).decompress();
                let good = point.is_some_and(|p| {
                    p.compress().to_bytes() == bytes && !p.is_small_order() && p.is_torsion_free()
                });
                assert_eq!(ed25519_point(&bytes).is_some(), good, "{low} {sign}");
            }
        }
    }
}
