//! What KEZ's servers share. Nothing here knows what they are for.

pub mod body;
pub mod client;
pub mod connection;
pub mod folder;
pub mod limit;
pub mod metrics;
pub mod nats;
pub mod problem;
pub mod process;
pub mod replica;
pub mod secret;
pub mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topics;

use kez_core::Timestamp;
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

/// Bytes that nobody can guess.
///
/// # Errors
/// If the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], sqlite::Failure> {
    let mut bytes = [0; N];
    let failed = |e| sqlite::Failure::Storage(format!("no randomness: {e}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Does some work, and measures the processor time that it takes on this thread.
#[cfg(unix)]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    use rustix::time::{ClockId, clock_gettime};
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    };
    let start = now();
    let done = work();
    (done, now().saturating_sub(start))
}

/// Does some work, and measures the time that it takes.
#[cfg(not(unix))]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    (work(), start.elapsed())
}
