//! What the operator of this server can watch besides what all servers count.

use crate::store::Store;
use kez_server::{
    metrics::{Http, text},
    replica::Shared as _,
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use std::sync::{Arc, atomic::AtomicU64};

/// The metrics of one server. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What all servers count; the streams are those of new heads.
    pub(crate) http: Http,
    log_size: Gauge<u64, AtomicU64>,
    waiting: Gauge<u64, AtomicU64>,
    position: Gauge<u64, AtomicU64>,
    /// Cosignatures that witnesses gave.
    pub(crate) cosignatures: Counter,
    /// Witnesses that gave none when asked.
    pub(crate) witness_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kez_sig");
        let http = Http::new(&mut registry);
        let [log_size, waiting, position]: [Gauge<u64, AtomicU64>; 3] = Default::default();
        let (cosignatures, witness_failures) = (Counter::default(), Counter::default());
        registry.register("log_entries", "Heads in the log", log_size.clone());
        registry.register("waiting_appends", "Appends that wait for the disk", waiting.clone());
        let help = "Up to where the stream of NATS is applied, if there is one";
        registry.register("stream_position", help, position.clone());
        registry.register("cosignatures", "Cosignatures by witnesses", cosignatures.clone());
        registry.register(
            "witness_failures",
            "Requests to witnesses without cosignature",
            witness_failures.clone(),
        );
        let registry = Arc::new(registry);
        Self { registry, http, log_size, waiting, position, cosignatures, witness_failures }
    }
}

impl Metrics {
    /// The text that a scraper gets.
    #[must_use]
    pub fn text(&self, store: &Store) -> String {
        self.log_size.set(store.checkpoints().borrow().size());
        self.waiting.set(store.waiting());
        self.position.set(store.applied().unwrap_or_default());
        text(&self.registry)
    }
}
