//! `kez-core` for JavaScript, and the transport that fetches as a page may. One file a type, and
//! no rule of the protocol; bytes are `Uint8Array`s, times are seconds since 1970 that the caller
//! supplies. The npm package's facade stands between this and users, and checks what they pass.

#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "verify")]
pub mod chain;
#[cfg(feature = "chat")]
pub mod chat;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "sign")]
pub mod draft;
mod error;
#[cfg(feature = "verify")]
pub mod identity;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "verify")]
pub mod json;
#[cfg(feature = "sign")]
pub mod key;
#[cfg(feature = "verify")]
pub mod proof;
#[cfg(feature = "sign")]
pub mod publish;
pub mod task;
#[cfg(feature = "verify")]
pub mod transport;
#[cfg(feature = "verify")]
pub mod verdict;
#[cfg(feature = "verify")]
pub mod verifier;

#[cfg(feature = "verify")]
use kez_core::Timestamp;
#[cfg(feature = "verify")]
use serde::Serialize;
#[cfg(feature = "verify")]
use wasm_bindgen::JsValue;

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// A time from JavaScript: whole seconds since 1970.
#[cfg(feature = "verify")]
#[expect(clippy::cast_possible_truncation, reason = "seconds fit, and others are clamped")]
fn time(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds as i64)
}

/// Data as plain JavaScript values that `JSON.stringify` writes as the native build does.
#[cfg(feature = "verify")]
fn plain(value: &impl Serialize) -> Result<JsValue, JsValue> {
    Ok(value.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?)
}

/// 32 fresh random bytes from the host.
///
/// # Errors
/// `storage_failed` if it has none to give, on which nothing may go on.
#[cfg(feature = "sign")]
pub fn random() -> kez_core::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

/// Fills a buffer with the host's randomness.
///
/// # Errors
/// `storage_failed` if it has none to give, on which nothing may go on.
#[cfg(any(feature = "chat", feature = "sign"))]
pub fn fill_random(out: &mut [u8]) -> kez_core::Result<()> {
    getrandom::fill(out).map_err(|e| {
        kez_core::Error::about(kez_core::Code::StorageFailed, format!("no randomness: {e}"))
    })
}
