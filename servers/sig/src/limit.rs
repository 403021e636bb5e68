//! How often one address may append, and one chain be appended to: there are no accounts.

use kez_server::limit::{PerMinute, network};
use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
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

pub(crate) struct Limiter {
    addresses: PerMinute<IpAddr>,
    chains: PerMinute<String>,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        let chains = PerMinute::new(limits.per_chain);
        Self { addresses: PerMinute::new(limits.per_address), chains }
    }

    /// Counts one append.
    ///
    /// # Errors
    /// The seconds to wait.
    pub(crate) fn check(&self, address: IpAddr, chain: &str) -> Result<(), u64> {
        self.addresses.check(&network(address))?;
        self.chains.check(&chain.to_owned())
    }
}
