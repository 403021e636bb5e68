//! The one cipher suite of conversations, as MLS asks for it: X-Wing (ML-KEM-768 with X25519),
//! HKDF-SHA-256, AES-128-GCM and Ed25519 (draft-ietf-mls-pq-ciphersuites, 0x004F), over `hpke`
//! and `ed25519-dalek`. What MLS here never asks for, PSKs and external commits, is refused.

use crate::Code;
use aes_gcm::{
    Aes128Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};
use alloc::{sync::Arc, vec, vec::Vec};
use core::{convert::Infallible, fmt, marker::PhantomData};
use ed25519_dalek::Signer as _;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _, aead::AesGcm128, kdf::HkdfSha256,
    rand_core,
};
use mls_rs::{
    CipherSuite, CipherSuiteProvider, CryptoProvider,
    crypto::{
        HpkeCiphertext, HpkeContextR, HpkeContextS, HpkePsk, HpkePublicKey, HpkeSecretKey,
        SignaturePublicKey, SignatureSecretKey,
    },
    error::IntoAnyError,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Fills a buffer with the system's randomness; the core has none of its own. A failure fails
/// whatever needed it.
pub type Random = Arc<dyn Fn(&mut [u8]) -> crate::Result<()> + Send + Sync>;

/// What the suite could not do. MLS wants no more detail, and nobody shall get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl IntoAnyError for Refused {}

impl From<crate::Error> for Refused {
    fn from(_: crate::Error) -> Self {
        Self
    }
}

impl From<hpke::HpkeError> for Refused {
    fn from(_: hpke::HpkeError) -> Self {
        Self
    }
}

/// The KEM of a suite, with the suite's number among MLS's.
pub trait Kem: hpke::Kem + 'static {
    /// The number.
    const SUITE: u16;
}

pub use hpke::kem::XWing;

/// draft-ietf-mls-pq-ciphersuites, treated as private until it is an RFC.
impl Kem for XWing {
    const SUITE: u16 = 0x004f;
}

/// Suite 1 of RFC 9420, which every implementation has: for tests of interoperation.
#[cfg(feature = "interop")]
impl Kem for hpke::kem::X25519HkdfSha256 {
    const SUITE: u16 = 1;
}

/// A suite over some KEM.
pub(super) struct Suite<K> {
    random: Random,
    kem: PhantomData<fn() -> K>,
}

impl<K> Clone for Suite<K> {
    fn clone(&self) -> Self {
        Self { random: self.random.clone(), kem: PhantomData }
    }
}

impl<K: Kem> fmt::Debug for Suite<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite({})", K::SUITE)
    }
}

impl<K> Suite<K> {
    pub(super) const fn new(random: Random) -> Self {
        Self { random, kem: PhantomData }
    }
}

/// hpke wants a generator that cannot fail. A failure is kept, and whoever draws looks at it
/// before the output is used.
pub(super) struct Draw<'a> {
    random: &'a Random,
    failure: Option<crate::Error>,
}

impl<'a> Draw<'a> {
    pub(super) const fn of(random: &'a Random) -> Self {
        Self { random, failure: None }
    }

    pub(super) fn check(self) -> crate::Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

impl rand_core::TryRng for Draw<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if let Err(error) = (self.random)(out) {
            self.failure = Some(error);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Draw<'_> {}

/// Key derivation by HKDF-SHA-256 (RFC 5869).
pub(super) fn derive<const N: usize>(secret: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    // Only a length beyond 8,160 bytes is refused.
    let _ = Hkdf::<Sha256>::new(None, secret).expand(info, &mut out[..]);
    out
}

pub(super) fn seal(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, aes_gcm::Error> {
    let cipher = Aes128Gcm::new_from_slice(key).map_err(|_| aes_gcm::Error)?;
    let nonce = nonce.try_into().map_err(|_| aes_gcm::Error)?;
    cipher.encrypt(nonce, Payload { msg: data, aad })
}

pub(super) fn open(
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, aes_gcm::Error> {
    let cipher = Aes128Gcm::new_from_slice(key).map_err(|_| aes_gcm::Error)?;
    let nonce = nonce.try_into().map_err(|_| aes_gcm::Error)?;
    cipher.decrypt(nonce, Payload { msg: data, aad }).map(Zeroizing::new)
}

impl<K: Kem> CryptoProvider for Suite<K>
where
    Self: Send + Sync,
{
    type CipherSuiteProvider = Self;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![CipherSuite::new(K::SUITE)]
    }

    fn cipher_suite_provider(&self, number: CipherSuite) -> Option<Self> {
        (*number == K::SUITE).then(|| self.clone())
    }
}

/// The contexts of external commits, of which there are none.
pub(super) enum NoContext {}

impl HpkeContextS for NoContext {
    type Error = Refused;

    fn seal(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, Refused> {
        match *self {}
    }

    fn export(&self, _: &[u8], _: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
        match *self {}
    }
}

impl HpkeContextR for NoContext {
    type Error = Refused;

    fn open(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        match *self {}
    }

    fn export(&self, _: &[u8], _: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
        match *self {}
    }
}

impl<K: Kem> CipherSuiteProvider for Suite<K> {
    type Error = Refused;
    type HpkeContextS = NoContext;
    type HpkeContextR = NoContext;

    fn cipher_suite(&self) -> CipherSuite {
        CipherSuite::new(K::SUITE)
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(Sha256::digest(data).to_vec())
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Refused> {
        let mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Refused)?;
        Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
    }

    fn aead_seal(
        &self,
        key: &[u8],
        data: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        seal(key, nonce, aad.unwrap_or_default(), data).map_err(|_| Refused)
    }

    fn aead_open(
        &self,
        key: &[u8],
        data: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        open(key, nonce, aad.unwrap_or_default(), data).map_err(|_| Refused)
    }

    fn aead_key_size(&self) -> usize {
        16
    }

    fn aead_nonce_size(&self) -> usize {
        12
    }

    fn kdf_extract(&self, salt: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        Ok(Zeroizing::new(Hkdf::<Sha256>::extract(Some(salt), secret).0.to_vec()))
    }

    fn kdf_expand(
        &self,
        key: &[u8],
        info: &[u8],
        len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let mut out = Zeroizing::new(vec![0; len]);
        let key = Hkdf::<Sha256>::from_prk(key).map_err(|_| Refused)?;
        key.expand(info, &mut out).map_err(|_| Refused)?;
        Ok(out)
    }

    fn kdf_extract_size(&self) -> usize {
        32
    }

    fn hpke_seal(
        &self,
        to: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        data: &[u8],
    ) -> Result<HpkeCiphertext, Refused> {
        let to = K::PublicKey::from_bytes(to)?;
        let mut draw = Draw::of(&self.random);
        let (kem, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, K>(
            &OpModeS::Base,
            &to,
            info,
            data,
            aad.unwrap_or_default(),
            &mut draw,
        )?;
        draw.check()?;
        Ok(HpkeCiphertext { kem_output: kem.to_bytes().to_vec(), ciphertext })
    }

    fn hpke_open(
        &self,
        sealed: &HpkeCiphertext,
        secret: &HpkeSecretKey,
        _: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let data = hpke::single_shot_open::<AesGcm128, HkdfSha256, K>(
            &OpModeR::Base,
            &K::PrivateKey::from_bytes(secret)?,
            &K::EncappedKey::from_bytes(&sealed.kem_output)?,
            info,
            &sealed.ciphertext,
            aad.unwrap_or_default(),
        )?;
        Ok(Zeroizing::new(data))
    }

    fn hpke_seal_psk(
        &self,
        _: &HpkePublicKey,
        _: &[u8],
        _: Option<&[u8]>,
        _: &[u8],
        _: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext, Refused> {
        Err(Refused)
    }

    fn hpke_open_psk(
        &self,
        _: &HpkeCiphertext,
        _: &HpkeSecretKey,
        _: &HpkePublicKey,
        _: &[u8],
        _: Option<&[u8]>,
        _: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        Err(Refused)
    }

    fn hpke_setup_s(&self, _: &HpkePublicKey, _: &[u8]) -> Result<(Vec<u8>, NoContext), Refused> {
        Err(Refused)
    }

    fn hpke_setup_r(
        &self,
        _: &[u8],
        _: &HpkeSecretKey,
        _: &HpkePublicKey,
        _: &[u8],
    ) -> Result<NoContext, Refused> {
        Err(Refused)
    }

    fn kem_derive(&self, secret: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), Refused> {
        let (secret, public) = K::derive_keypair(secret);
        Ok((secret.to_bytes().to_vec().into(), public.to_bytes().to_vec().into()))
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), Refused> {
        let mut seed = Zeroizing::new([0; 32]);
        (self.random)(&mut seed[..])?;
        self.kem_derive(&seed[..])
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<(), Refused> {
        K::PublicKey::from_bytes(key)?;
        Ok(())
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<(), Refused> {
        Ok((self.random)(out)?)
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey), Refused> {
        // Devices sign with the keys that their sigchains name.
        Err(Refused)
    }

    fn signature_key_derive_public(
        &self,
        secret: &SignatureSecretKey,
    ) -> Result<SignaturePublicKey, Refused> {
        Ok(signing_key(secret)?.verifying_key().as_bytes().to_vec().into())
    }

    fn sign(&self, secret: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(signing_key(secret)?.sign(data).to_bytes().to_vec())
    }

    fn verify(
        &self,
        key: &SignaturePublicKey,
        signature: &[u8],
        data: &[u8],
    ) -> Result<(), Refused> {
        let key: &[u8; 32] = key.as_bytes().try_into().map_err(|_| Refused)?;
        let signature = signature.try_into().map_err(|_| Refused)?;
        let key = crate::Key::from_bytes(crate::Scheme::Ed25519, key)?;
        Ok(key.verify(crate::Suite::Ed25519, data, signature)?)
    }
}

fn signing_key(secret: &SignatureSecretKey) -> Result<ed25519_dalek::SigningKey, Refused> {
    let seed = secret.as_bytes().try_into().map_err(|_| Refused)?;
    Ok(ed25519_dalek::SigningKey::from_bytes(seed))
}

/// Randomness that failed, in the words of the caller.
pub(super) fn fill<const N: usize>(random: &Random) -> crate::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    random(&mut bytes[..])?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(crate::Error::about(
            Code::StorageFailed,
            "the system's randomness is all zeros",
        ));
    }
    Ok(bytes)
}
