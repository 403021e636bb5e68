//! How often somebody may do something: what keeps one from using up what all share.

use governor::{
    Quota, RateLimiter, clock::Clock as _, clock::DefaultClock, state::keyed::DashMapStateStore,
};
use std::{
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

/// A rate for each key. A burst of a whole minute's at once passes.
pub struct PerMinute<K: Clone + Eq + Hash> {
    rates: RateLimiter<K, DashMapStateStore<K>, DefaultClock>,
    asked: AtomicU32,
}

impl<K: Clone + Eq + Hash> PerMinute<K> {
    /// So many a minute.
    #[must_use]
    pub fn new(many: NonZeroU32) -> Self {
        Self { rates: RateLimiter::keyed(Quota::per_minute(many)), asked: AtomicU32::new(0) }
    }

    /// Counts one.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn check(&self, key: &K) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 {
            self.rates.retain_recent();
        }
        self.rates
            .check_key(key)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
    }
}

/// Whom an address stands for: whoever has one IPv6 address has all of its /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
