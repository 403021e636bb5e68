//! What one may do in a minute, so that all can.

use kez_server::{
    client::TrustedProxy,
    limit::{Allowance, PerMinute, network},
};
use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::{Duration, Instant},
};

const DAY: Duration = Duration::from_hours(24);

/// What is allowed. A burst of a whole minute's at once passes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests a minute that are not signed by a device, from one address (IPv6: one /64).
    pub per_address: NonZeroU32,
    /// Bytes of registrations and sigchains in a day from one address (IPv6: one /64).
    pub address_bytes: NonZeroU64,
    /// Posts a minute of one device.
    pub per_device: NonZeroU32,
    /// Signed requests without a body a minute of one device: reads and streams.
    pub reads: NonZeroU32,
    /// Key packages of others that one device may claim a minute, by handle.
    pub claims: NonZeroU32,
    /// Commits a minute of one handle in one conversation.
    pub commits: NonZeroU32,
    /// Connections that are open at once.
    pub connections: NonZeroUsize,
    /// Connections of one address; a sixteenth of all without a number.
    pub address_connections: Option<NonZeroUsize>,
    /// Bytes of memory for the bodies of requests; one address may use a quarter of it.
    pub memory: NonZeroUsize,
    /// Proxies that may name the client.
    pub proxies: Vec<TrustedProxy>,
    /// Streams of one device that are open at once; the oldest goes.
    pub streams: NonZeroUsize,
    /// For how long a stream goes on.
    pub stream_life: Duration,
    /// After what time without news a stream says that it lives.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let size = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            per_address: number(240),
            address_bytes: NonZeroU64::new(16 << 20).unwrap_or(NonZeroU64::MIN),
            per_device: number(600),
            reads: number(1200),
            claims: number(60),
            commits: number(60),
            connections: size(20_000),
            address_connections: None,
            memory: size(128 << 20),
            proxies: Vec::new(),
            streams: size(8),
            stream_life: Duration::from_hours(1),
            keep_alive: Duration::from_secs(15),
        }
    }
}

pub(crate) struct Limiter {
    addresses: PerMinute<IpAddr>,
    bytes: Allowance<IpAddr>,
    devices: PerMinute<String>,
    reads: PerMinute<String>,
    claims: PerMinute<String>,
    commits: PerMinute<String>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            addresses: PerMinute::new(limits.per_address),
            bytes: Allowance::new(limits.address_bytes.get(), DAY),
            devices: PerMinute::new(limits.per_device),
            reads: PerMinute::new(limits.reads),
            claims: PerMinute::new(limits.claims),
            commits: PerMinute::new(limits.commits),
        }
    }

    /// Counts a request that nobody signed.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), u64> {
        self.addresses.check(&network(address))
    }

    /// Counts the bytes of a registration or a sigchain that verified, and was not signed by a
    /// device. What is refused does not count.
    pub(crate) fn bytes(&self, address: IpAddr, bytes: usize) -> Result<(), u64> {
        let (address, now) = (network(address), Instant::now());
        self.bytes.check(&address, now)?;
        self.bytes.charge(&address, bytes as u64, now);
        Ok(())
    }

    /// Counts a post.
    pub(crate) fn device(&self, device: &str) -> Result<(), u64> {
        self.devices.check(&device.to_owned())
    }

    /// Counts a signed request without a body.
    pub(crate) fn read(&self, device: &str) -> Result<(), u64> {
        self.reads.check(&device.to_owned())
    }

    /// Counts a claim.
    pub(crate) fn claim(&self, device: &str) -> Result<(), u64> {
        self.claims.check(&device.to_owned())
    }

    /// Counts a commit: a member that posts them all the time would keep the others from posting
    /// theirs.
    pub(crate) fn commit(&self, handle: &str, conversation: &str) -> Result<(), u64> {
        self.commits.check(&format!("{handle} {conversation}"))
    }
}
