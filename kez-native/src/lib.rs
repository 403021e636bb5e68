//! What the `kez` command stands on here: the native [`transport`] and the [`host`]. The command
//! itself is `kez-cli`; no rule of the protocol lives here.

pub mod host;
pub mod transport;

use kez_core::{Code, Error, Timestamp};
use std::time::{Duration, SystemTime};

/// What the machine's clock says has passed since 1970; the only place where it is read.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::since_epoch(since_epoch())
}

/// Fills a buffer with the operating system's randomness.
///
/// # Errors
/// `storage_failed` if it has none to give, on which nothing may go on.
pub fn fill_random(out: &mut [u8]) -> kez_core::Result<()> {
    getrandom::fill(out)
        .map_err(|e| Error::about(Code::StorageFailed, format!("no randomness: {e}")))
}
