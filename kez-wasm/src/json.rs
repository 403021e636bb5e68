//! Strict JSON.

use crate::error::or_throw;
use kez_core::json::Value;
use wasm_bindgen::prelude::*;

/// The canonical form of strict JSON. With `canonical`, the bytes must be in that form already.
///
/// # Errors
/// `json_*`.
#[wasm_bindgen]
pub fn canonicalize(bytes: &[u8], canonical: bool) -> Result<String, JsValue> {
    let value = if canonical { Value::parse_canonical(bytes) } else { Value::parse(bytes) };
    or_throw(value).map(|value| value.to_canonical())
}
