//! Sealed envelopes: HPKE (RFC 9180) in base mode over X-Wing, for what comes before a
//! conversation (SPEC.md, "Sealed envelopes"). They hide who sealed them, and have no forward
//! secrecy beyond the life of the key: never for messages themselves.

use super::suite::{Draw, Random, fill};
use crate::{Code, Error, Result};
use alloc::vec::Vec;
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _, aead::AesGcm128,
    kdf::HkdfSha256, kem::XWing,
};
use zeroize::Zeroizing;

type PublicKey = <XWing as hpke::Kem>::PublicKey;
type PrivateKey = <XWing as hpke::Kem>::PrivateKey;
type EncappedKey = <XWing as hpke::Kem>::EncappedKey;

/// The length of the encapsulated key, with which an envelope starts.
const ENCAPPED: usize = 1120;
/// The version, the first byte of an envelope.
const VERSION: u8 = 1;

/// The secret key for envelopes that are sealed for a device: 32 bytes.
pub struct SealedKey {
    secret: Zeroizing<[u8; 32]>,
    public: Vec<u8>,
}

impl core::fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealedKey")
    }
}

impl SealedKey {
    /// A fresh key.
    ///
    /// # Errors
    /// That of the randomness.
    pub fn generate(random: &Random) -> Result<Self> {
        Self::from_bytes(&*fill(random)?)
    }

    /// From its 32 bytes.
    ///
    /// # Errors
    /// `key_refused`.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self> {
        let key = PrivateKey::from_bytes(secret).map_err(|_| Code::KeyRefused)?;
        let public = XWing::sk_to_pk(&key).to_bytes().to_vec();
        Ok(Self { secret: Zeroizing::new(*secret), public })
    }

    /// The 32 secret bytes, for storing them encrypted.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The public key, 1,216 bytes.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

/// Seals data for a public key. `purpose` and `to` are bound: an envelope opens for the same
/// purpose and recipient alone.
///
/// # Errors
/// `key_refused`, and that of the randomness.
///
/// ```
/// use kez_core::chat::{Random, SealedKey, open, seal};
/// let random: Random = std::sync::Arc::new(|out: &mut [u8]| { getrandom::fill(out).unwrap(); Ok(()) });
/// let key = SealedKey::generate(&random)?;
/// let envelope = seal(key.public(), "welcome", "ed25519:…", b"come in", &random)?;
/// assert_eq!(&*open(&key, "welcome", "ed25519:…", &envelope)?, b"come in");
/// assert!(open(&key, "link", "ed25519:…", &envelope).is_err());
/// # Ok::<(), kez_core::Error>(())
/// ```
pub fn seal(key: &[u8], purpose: &str, to: &str, data: &[u8], random: &Random) -> Result<Vec<u8>> {
    let key = PublicKey::from_bytes(key).map_err(|_| Code::KeyRefused)?;
    let mut draw = Draw::of(random);
    let (encapped, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, XWing>(
        &OpModeS::Base,
        &key,
        &info(purpose, to),
        data,
        &[],
        &mut draw,
    )
    .map_err(|_| Code::KeyRefused)?;
    draw.check()?;
    let mut out = Vec::with_capacity(1 + ENCAPPED + ciphertext.len());
    out.push(VERSION);
    out.extend_from_slice(&encapped.to_bytes());
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// Opens an envelope that was sealed for this key, purpose and recipient.
///
/// # Errors
/// `sealed_refused`.
pub fn open(
    key: &SealedKey,
    purpose: &str,
    to: &str,
    envelope: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let refused = || Error::from(Code::SealedRefused);
    let [VERSION, rest @ ..] = envelope else { return Err(refused()) };
    let (encapped, ciphertext) = rest.split_at_checked(ENCAPPED).ok_or_else(refused)?;
    let data = hpke::single_shot_open::<AesGcm128, HkdfSha256, XWing>(
        &OpModeR::Base,
        &PrivateKey::from_bytes(&key.secret[..]).map_err(|_| refused())?,
        &EncappedKey::from_bytes(encapped).map_err(|_| refused())?,
        &info(purpose, to),
        ciphertext,
        &[],
    );
    data.map(Zeroizing::new).map_err(|_| refused())
}

fn info(purpose: &str, to: &str) -> Vec<u8> {
    [b"KEZ1\0sealed\0", purpose.as_bytes(), b"\0", to.as_bytes()].concat()
}
