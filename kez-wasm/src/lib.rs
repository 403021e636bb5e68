//! `kez-core` for JavaScript. One file a type, and no rule of the protocol; bytes are
//! `Uint8Array`s, times are seconds since 1970 that the caller supplies.

pub mod chain;
mod error;
pub mod identity;
pub mod json;
pub mod proof;
pub mod verdict;

use kez_core::Timestamp;

/// A time from JavaScript: whole seconds since 1970.
#[expect(clippy::cast_possible_truncation, reason = "seconds fit, and others are clamped")]
fn time(seconds: f64) -> Timestamp {
    Timestamp::from_seconds(seconds as i64)
}
