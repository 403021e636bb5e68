//! Secret keys.

use crate::error::or_throw;
use kez_core::{Code, Scheme};
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
