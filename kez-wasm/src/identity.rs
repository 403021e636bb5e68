//! Identities.

use crate::error::or_throw;
use kez_core::Identity;
use wasm_bindgen::prelude::*;

/// What people type, as a canonical identity.
///
/// # Errors
/// Those of `Identity::parse`.
#[wasm_bindgen(js_name = parseIdentity)]
pub fn parse_identity(text: &str) -> Result<String, JsValue> {
    or_throw(Identity::parse(text)).map(|id| id.as_str().to_owned())
}

/// A string that must be canonical already.
///
/// # Errors
/// Those of `Identity::from_canonical`.
#[wasm_bindgen(js_name = canonicalIdentity)]
pub fn canonical_identity(text: &str) -> Result<String, JsValue> {
    or_throw(Identity::from_canonical(text)).map(|id| id.as_str().to_owned())
}
