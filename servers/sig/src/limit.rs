//! What one client may use. There are no accounts, so a client is an IPv4 address or an IPv6 /64.

use crate::store::{Addition, Admission, Refusal};
use kez_core::Identity;
use kez_server::{
    client::TrustedProxy,
    limit::{Allowance, PerMinute, Pool, network},
    problem::Problem,
};
use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_hours(24);

/// The limits. `docs/operations.md` says what each protects.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Appends a minute of one client. As many at once pass.
    pub per_address: NonZeroU32,
    /// Reads a minute of one client. As many at once pass.
    pub reads: NonZeroU32,
    /// Valid appends a minute to one chain. As many at once pass.
    pub per_chain: NonZeroU32,
    /// Bytes that one client may append in a day.
    pub bytes_a_day: NonZeroU64,
    /// Seconds of processor time a minute that one client's appends may take.
    pub cpu: NonZeroU32,
    /// Bytes of memory for the bodies of requests; one client may use a quarter of it.
    pub memory: NonZeroUsize,
    /// Connections that are open at once.
    pub connections: NonZeroUsize,
    /// Connections of one client; a sixteenth of all without a number.
    pub client_connections: Option<NonZeroUsize>,
    /// Proxies that may name the client.
    pub proxies: Vec<TrustedProxy>,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let size = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            per_address: number(120),
            reads: number(1200),
            per_chain: number(60),
            bytes_a_day: NonZeroU64::new(48 << 20).unwrap_or(NonZeroU64::MIN),
            cpu: number(15),
            memory: size(256 << 20),
            connections: size(10_000),
            client_connections: None,
            proxies: Vec::new(),
        }
    }
}

pub(crate) struct Limiter {
    appends: PerMinute<IpAddr>,
    reads: PerMinute<IpAddr>,
    chains: PerMinute<Identity>,
    /// Other histories of a chain, so that a thief's branches do not use up the owner's rate.
    branches: PerMinute<Identity>,
    bytes: Allowance<IpAddr>,
    /// Bytes of urgent appends when the others are used up.
    urgent: Allowance<IpAddr>,
    /// In milliseconds.
    cpu: Allowance<IpAddr>,
    pub(crate) memory: Pool,
}

impl Limiter {
    /// With a reserve for urgent appends in bytes, of which a client may use a quarter in a day.
    pub(crate) fn new(limits: &Limits, reserve: u64) -> Self {
        let urgent = (reserve / 4).max(64 << 10);
        Self {
            appends: PerMinute::new(limits.per_address),
            reads: PerMinute::new(limits.reads),
            chains: PerMinute::new(limits.per_chain),
            branches: PerMinute::new(limits.per_chain),
            urgent: Allowance::new(urgent, DAY),
            bytes: Allowance::new(limits.bytes_a_day.get(), DAY),
            cpu: Allowance::new(u64::from(limits.cpu.get()) * 1000, MINUTE),
            memory: Pool::new(limits.memory.get(), limits.memory.get() / 4),
        }
    }

    /// Counts a read.
    pub(crate) fn read(&self, client: IpAddr) -> Result<(), Problem> {
        self.reads.check(&network(client)).map_err(Problem::too_often)
    }

    /// Counts an append, before its body is read.
    pub(crate) fn append(&self, client: IpAddr) -> Result<(), Problem> {
        let client = network(client);
        self.appends.check(&client).map_err(Problem::too_often)?;
        self.cpu.check(&client, Instant::now()).map_err(Problem::too_often)
    }
}

/// A client that appends to a chain.
pub(crate) struct Appender<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) client: IpAddr,
    pub(crate) chain: &'a Identity,
}

impl Admission for Appender<'_> {
    /// Lines that are not verified do not count for their chain, so that a stranger cannot use up
    /// what the owner may append.
    fn admit(&self, addition: Addition) -> Result<(), Refusal> {
        let (client, now) = (network(self.client), Instant::now());
        let Limiter { bytes, urgent, chains, branches, .. } = self.limiter;
        let rate = if addition.diverges { branches } else { chains };
        rate.check(self.chain).map_err(Refusal::Limited)?;
        // A small revocation is not refused because of what was appended before: it has an
        // allowance of its own.
        let allowance = if addition.is_small_and_urgent() { urgent } else { bytes };
        allowance.check(&client, now).map_err(Refusal::Limited)?;
        allowance.charge(&client, addition.bytes, now);
        Ok(())
    }

    fn spent(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.limiter.cpu.charge(&network(self.client), milliseconds, Instant::now());
    }
}
