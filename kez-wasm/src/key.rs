//! Secret keys.

use crate::error::or_throw;
use kez_core::{Code, Scheme, keyfile::KeyFile};
use wasm_bindgen::prelude::*;
use zeroize::Zeroize as _;

/// A secret key, wiped when it is freed.
#[wasm_bindgen]
pub struct SecretKey {
    pub(crate) inner: kez_core::SecretKey,
}

fn scheme(name: &str) -> Result<Scheme, JsValue> {
    or_throw(match name {
        "ed25519" => Ok(Scheme::Ed25519),
        "nostr" => Ok(Scheme::Nostr),
        _ => Err(kez_core::Error::about(Code::KeyExpected, name)),
    })
}

#[wasm_bindgen]
impl SecretKey {
    /// A fresh key, `ed25519` or `nostr`.
    ///
    /// # Errors
    /// `key_expected`; `storage_failed` if the host has no randomness.
    pub fn generate(kind: &str) -> Result<Self, JsValue> {
        let inner = kez_core::SecretKey::from_bytes(scheme(kind)?, or_throw(crate::random())?);
        Ok(Self { inner: or_throw(inner)? })
    }

    /// From 32 secret bytes.
    ///
    /// # Errors
    /// `key_refused`, `key_expected`.
    #[wasm_bindgen(js_name = fromBytes)]
    pub fn from_bytes(kind: &str, mut bytes: Vec<u8>) -> Result<Self, JsValue> {
        let seed = <[u8; 32]>::try_from(&bytes[..]);
        bytes.zeroize();
        let seed = or_throw(seed.map_err(|_| Code::KeyRefused.into()))?;
        or_throw(kez_core::SecretKey::from_bytes(scheme(kind)?, seed)).map(|inner| Self { inner })
    }

    /// From `nsec1…`, or 64 hex digits of that kind of key.
    ///
    /// # Errors
    /// `key_refused`, `key_expected`.
    #[wasm_bindgen(js_name = fromText)]
    pub fn from_text(kind: &str, mut text: String) -> Result<Self, JsValue> {
        let key = kez_core::SecretKey::from_text(scheme(kind)?, &text);
        text.zeroize();
        or_throw(key).map(|inner| Self { inner })
    }

    /// From a key file. That takes 64 MiB of memory and a good second of computing.
    ///
    /// # Errors
    /// `key_file`, `passphrase_wrong`.
    #[wasm_bindgen(js_name = fromFile)]
    pub fn from_file(file: &str, mut passphrase: String) -> Result<Self, JsValue> {
        let file = or_throw(KeyFile::read(file.as_bytes()))?;
        let key = file.open(&passphrase);
        passphrase.zeroize();
        or_throw(key).map(|inner| Self { inner })
    }

    /// A key file that the passphrase opens.
    ///
    /// # Errors
    /// `storage_failed` if the host has no randomness.
    #[wasm_bindgen(js_name = toFile)]
    pub fn to_file(&self, mut passphrase: String) -> Result<String, JsValue> {
        let (salt, mut nonce) = (or_throw(crate::random())?, [0; 24]);
        or_throw(crate::fill_random(&mut nonce))?;
        let file = KeyFile::encrypt(&self.inner, &passphrase, &salt, &nonce);
        passphrase.zeroize();
        Ok(or_throw(file)?.to_text().to_string())
    }

    /// The public identity.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn identity(&self) -> String {
        self.inner.public().identity().to_string()
    }

    /// The secret as people carry it elsewhere.
    #[wasm_bindgen(js_name = exposeText)]
    #[must_use]
    pub fn expose_text(&self) -> String {
        self.inner.expose_text()
    }

    /// The 32 secret bytes.
    #[wasm_bindgen(js_name = exposeBytes)]
    #[must_use]
    pub fn expose_bytes(&self) -> Vec<u8> {
        self.inner.expose_bytes().to_vec()
    }
}

/// Whose key a key file has, and whether it is encrypted, as `[identity, encrypted]`.
///
/// # Errors
/// `key_file`.
#[wasm_bindgen(js_name = keyFile)]
pub fn key_file(file: &str) -> Result<JsValue, JsValue> {
    let file = or_throw(KeyFile::read(file.as_bytes()))?;
    crate::plain(&(file.identity().as_str(), file.is_encrypted()))
}
