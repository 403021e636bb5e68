//! How often one address may append, and one chain be appended to: without accounts, this is what
//! keeps one of them from using up what all share.

use governor::{
    Quota, RateLimiter, clock::Clock as _, clock::DefaultClock, state::keyed::DashMapStateStore,
};
use std::{
    hash::Hash,
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::atomic::{AtomicU32, Ordering},
};

/// What is allowed. A burst of as much at once passes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Appends a minute from one address (IPv6: from one /64).
    pub per_address: NonZeroU32,
    /// Appends a minute to one chain.
    pub per_chain: NonZeroU32,
    /// Connections that are open at once.
    pub connections: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let connections = NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN);
        Self { per_address: number(120), per_chain: number(60), connections }
    }
}

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

pub(crate) struct Limiter {
    addresses: Keyed<IpAddr>,
    chains: Keyed<String>,
    asked: AtomicU32,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            addresses: RateLimiter::keyed(Quota::per_minute(limits.per_address)),
            chains: RateLimiter::keyed(Quota::per_minute(limits.per_chain)),
            asked: AtomicU32::new(0),
        }
    }

    /// Counts one append.
    ///
    /// # Errors
    /// The seconds to wait.
    pub(crate) fn check(&self, address: IpAddr, chain: &str) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 {
            self.addresses.retain_recent();
            self.chains.retain_recent();
        }
        ask(&self.addresses, &network(address))?;
        ask(&self.chains, &chain.to_owned())
    }
}

fn ask<K: Clone + Eq + Hash>(limiter: &Keyed<K>, key: &K) -> Result<(), u64> {
    limiter
        .check_key(key)
        .map_err(|until| until.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
}

/// Whoever has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}
