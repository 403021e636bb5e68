//! What the `kez` command stands on here: the native [`transport`] and the [`host`]. The command
//! itself is `kez-cli`; no rule of the protocol lives here.

pub mod host;
pub mod transport;

use kez_core::Timestamp;

/// The machine's clock; the only place where it is read.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::since_epoch(since.unwrap_or_default())
}

/// 32 bytes from the operating system.
///
/// # Errors
/// `storage_failed` if it has none to give, on which nothing may go on.
pub fn random() -> kez_core::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| {
        kez_core::Error::about(kez_core::Code::StorageFailed, format!("no randomness: {e}"))
    })?;
    Ok(bytes)
}
