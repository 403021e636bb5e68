//! Limits per client, so that one client cannot use up what all clients share.
//!
//! A client is an IPv4 address or an IPv6 /64 ([`network`]): a user with one IPv6 address usually
//! controls the whole prefix.

use governor::{
    Quota, RateLimiter, clock::Clock as _, clock::DefaultClock, state::keyed::DashMapStateStore,
};
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// A request rate for each key. A whole minute's requests may come at once.
pub struct PerMinute<K: Clone + Eq + Hash> {
    rates: RateLimiter<K, DashMapStateStore<K>, DefaultClock>,
    asked: AtomicU32,
}

impl<K: Clone + Eq + Hash> PerMinute<K> {
    /// Allows this many requests a minute for each key.
    #[must_use]
    pub fn new(many: NonZeroU32) -> Self {
        Self { rates: RateLimiter::keyed(Quota::per_minute(many)), asked: AtomicU32::new(0) }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// The number of seconds to wait.
    pub fn check(&self, key: &K) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 {
            self.rates.retain_recent();
        }
        self.rates
            .check_key(key)
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
    }
}

/// The client that an address belongs to: the IPv4 address, or the IPv6 /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An allowance for each key of something whose cost is known only afterwards, such as CPU time:
/// a leaky bucket that holds `capacity` and drains within `period`.
///
/// ```
/// use kez_server::limit::Allowance;
/// use std::time::{Duration, Instant};
/// let (bytes, start) = (Allowance::new(1000, Duration::from_secs(100)), Instant::now());
/// bytes.charge(&"alice", 1500, start);
/// // 500 too many, at 10 a second.
/// assert_eq!(bytes.check(&"alice", start), Err(51));
/// assert_eq!(bytes.check(&"bob", start), Ok(()));
/// assert_eq!(bytes.check(&"alice", start + Duration::from_secs(51)), Ok(()));
/// ```
pub struct Allowance<K> {
    capacity: f64,
    /// Units that drain each second.
    rate: f64,
    used: Mutex<HashMap<K, (Instant, f64)>>,
}

/// The number of keys from which on an [`Allowance`] removes those that are drained.
const SWEEP: usize = 10_000;

impl<K: Clone + Eq + Hash> Allowance<K> {
    /// Allows `capacity` units in each `period`, and all of them at once.
    #[must_use]
    pub fn new(capacity: u64, period: Duration) -> Self {
        let capacity = capacity as f64;
        Self { capacity, rate: capacity / period.as_secs_f64().max(1.0), used: Mutex::default() }
    }

    /// Whether the key has any of its allowance left.
    ///
    /// # Errors
    /// The number of seconds to wait.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), u64> {
        let level = lock(&self.used).get(key).map_or(0.0, |used| self.drained(*used, now));
        if level < self.capacity {
            return Ok(());
        }
        Err(((level - self.capacity) / self.rate).ceil() as u64 + 1)
    }

    /// Uses up this many units of the key's allowance, even if that is more than is left.
    pub fn charge(&self, key: &K, units: u64, now: Instant) {
        let mut all = lock(&self.used);
        if all.len() >= SWEEP && !all.contains_key(key) {
            all.retain(|_, used| self.drained(*used, now) > 0.0);
        }
        let used = all.entry(key.clone()).or_insert((now, 0.0));
        *used = (now, self.drained(*used, now) + units as f64);
    }

    fn drained(&self, (at, level): (Instant, f64), now: Instant) -> f64 {
        (level - now.saturating_duration_since(at).as_secs_f64() * self.rate).max(0.0)
    }
}

/// Something that a server has a fixed amount of, such as connections or bytes of memory, and that
/// clients hold for a time. Each client can hold a part of it. Clones share it.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    total: usize,
    per_client: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// Why a [`Pool`] gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The client holds its whole share.
    Client,
    /// All clients together hold everything.
    Total,
}

impl Pool {
    /// A pool of `total` units, of which one client can hold `per_client`.
    ///
    /// ```
    /// use kez_server::limit::{Exhausted, Pool};
    /// let pool = Pool::new(3, 2);
    /// let [alice, bob] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    /// let mut share = pool.take(alice, 2).unwrap();
    /// assert_eq!(share.grow(1), Err(Exhausted::Client));
    /// let other = pool.take(bob, 1).unwrap();
    /// assert_eq!(pool.take(bob, 1).err(), Some(Exhausted::Total));
    /// drop(share);
    /// assert_eq!(pool.held(), 1);
    /// # drop(other);
    /// ```
    #[must_use]
    pub fn new(total: usize, per_client: usize) -> Self {
        Self(Arc::new(Shared { total, per_client, held: Mutex::default() }))
    }

    /// Takes units for a client, until the share is dropped.
    ///
    /// # Errors
    /// [`Exhausted`]; then nothing was taken.
    pub fn take(&self, client: IpAddr, units: usize) -> Result<Share, Exhausted> {
        let mut share = Share { pool: self.clone(), client: network(client), units: 0 };
        share.grow(units)?;
        Ok(share)
    }

    /// The number of units that a client holds.
    #[must_use]
    pub fn held_by(&self, client: IpAddr) -> usize {
        lock(&self.0.held).by_client.get(&network(client)).copied().unwrap_or_default()
    }

    /// The number of units that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.0.held).total
    }
}

/// What a client holds of a [`Pool`], until it is dropped.
pub struct Share {
    pool: Pool,
    client: IpAddr,
    units: usize,
}

impl Share {
    /// Takes more units.
    ///
    /// # Errors
    /// [`Exhausted`]; then the share is as before.
    pub fn grow(&mut self, units: usize) -> Result<(), Exhausted> {
        let shared = &self.pool.0;
        let mut held = lock(&shared.held);
        let own = held.by_client.get(&self.client).copied().unwrap_or_default();
        if own + units > shared.per_client {
            return Err(Exhausted::Client);
        }
        if held.total + units > shared.total {
            return Err(Exhausted::Total);
        }
        held.total += units;
        held.by_client.insert(self.client, own + units);
        self.units += units;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = lock(&self.pool.0.held);
        held.total -= self.units;
        if let Some(own) = held.by_client.get_mut(&self.client) {
            *own -= self.units;
            if *own == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_prefix_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        let pool = Pool::new(10, 1);
        let _one = pool.take("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert_eq!(pool.take("2001:db8::2".parse().unwrap(), 1).err(), Some(Exhausted::Client));
        assert!(pool.take("2001:db8:0:1::1".parse().unwrap(), 1).is_ok());
    }

    #[test]
    fn a_share_is_given_back_whole() {
        let pool = Pool::new(100, 60);
        let client = [192, 0, 2, 1].into();
        let mut share = pool.take(client, 10).unwrap();
        share.grow(50).unwrap();
        assert_eq!(share.grow(1), Err(Exhausted::Client));
        assert_eq!(pool.held(), 60);
        drop(share);
        assert_eq!(pool.held(), 0);
        assert!(lock(&pool.0.held).by_client.is_empty());
    }

    #[test]
    fn drained_keys_are_removed() {
        let (allowance, start) = (Allowance::new(10, Duration::from_secs(10)), Instant::now());
        for key in 0..SWEEP {
            allowance.charge(&key, 1, start);
        }
        allowance.charge(&SWEEP, 1, start + Duration::from_secs(2));
        assert_eq!(lock(&allowance.used).len(), 1);
    }
}
