//! What the operator can watch: Prometheus metrics. They name routes, never chains or addresses.

use crate::store::Store;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

/// The type and version of the text (OpenMetrics 1.0).
const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

fn durations() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0])
}

/// The metrics of one server. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    log_size: Gauge<u64, AtomicU64>,
    waiting: Gauge<u64, AtomicU64>,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Open streams of new heads.
    pub(crate) streams: Gauge,
    /// Cosignatures that witnesses gave.
    pub(crate) cosignatures: Counter,
    /// Witnesses that gave none when asked.
    pub(crate) witness_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kez_sig");
        let seconds = Family::new_with_constructor(durations as fn() -> Histogram);
        let requests = Family::default();
        let (log_size, waiting): (Gauge<u64, AtomicU64>, Gauge<u64, AtomicU64>) =
            Default::default();
        let (connections, streams) = (Gauge::default(), Gauge::default());
        let (cosignatures, witness_failures) = (Counter::default(), Counter::default());
        registry.register("http_requests", "Answered requests", Family::clone(&requests));
        registry.register_with_unit(
            "http_request_duration",
            "Time until the answer's head",
            Unit::Seconds,
            Family::clone(&seconds),
        );
        registry.register("log_entries", "Heads in the log", log_size.clone());
        registry.register("waiting_appends", "Appends that wait for the disk", waiting.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("streams", "Open streams of new heads", streams.clone());
        registry.register("cosignatures", "Cosignatures by witnesses", cosignatures.clone());
        registry.register(
            "witness_failures",
            "Requests to witnesses without cosignature",
            witness_failures.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            seconds,
            log_size,
            waiting,
            connections,
            streams,
            cosignatures,
            witness_failures,
        }
    }
}

impl Metrics {
    /// The text that a scraper gets.
    fn text(&self, store: &Store) -> String {
        self.log_size.set(store.checkpoints().borrow().size());
        self.waiting.set(store.waiting());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts one request.
pub(crate) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let start = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    metrics
        .seconds
        .get_or_create(&Route { route: route.clone() })
        .observe(start.elapsed().as_secs_f64());
    metrics.requests.get_or_create(&Answered { method, route, status }).inc();
    response
}

/// What the metrics' own listener serves.
pub(crate) fn router(metrics: Metrics, store: Store) -> Router {
    let text = async move || ([(header::CONTENT_TYPE, KIND)], metrics.text(&store)).into_response();
    Router::new().route("/metrics", get(text))
}

/// Counts something open until it is dropped.
pub(crate) struct Open(Gauge);

impl Open {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
