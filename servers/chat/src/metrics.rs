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
    /// What all servers count; the streams are those of inboxes.
    pub(crate) http: Http,
    waiting: Gauge<u64, AtomicU64>,
    inboxes: Gauge<u64, AtomicU64>,
    position: Gauge<u64, AtomicU64>,
    /// Streams that were told of too much at once, and read on from the storage.
    pub(crate) resyncs: Counter,
    /// Requests whose signature was refused.
    pub(crate) refused: Counter,
    /// Devices that were let into NATS.
    pub(crate) admitted: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kez_chat");
        let http = Http::new(&mut registry);
        let [waiting, inboxes, position]: [Gauge<u64, AtomicU64>; 3] = Default::default();
        let [resyncs, refused, admitted]: [Counter; 3] = Default::default();
        registry.register("waiting_writes", "Writes that wait for the disk", waiting.clone());
        registry.register("inboxes", "Inboxes that somebody listens to", inboxes.clone());
        let help = "Up to where the stream of NATS is applied, if there is one";
        registry.register("stream_position", help, position.clone());
        registry.register("resyncs", "Streams that read on from the storage", resyncs.clone());
        registry.register("auth_refused", "Requests with a refused signature", refused.clone());
        registry.register("nats_admitted", "Devices that were let into NATS", admitted.clone());
        let registry = Arc::new(registry);
        Self { registry, http, waiting, inboxes, position, resyncs, refused, admitted }
    }
}

impl Metrics {
    /// The text that a scraper gets.
    #[must_use]
    pub fn text(&self, store: &Store) -> String {
        self.waiting.set(store.waiting());
        self.inboxes.set(store.broker().inboxes() as u64);
        self.position.set(store.applied().unwrap_or_default());
        text(&self.registry)
    }
}
