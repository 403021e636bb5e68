//! What the operator can watch: Prometheus metrics. They name routes, never people or addresses.

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::time::Instant;

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

/// A histogram of seconds.
#[must_use]
pub fn durations() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0])
}

/// What every server counts. Clones share it.
#[derive(Clone)]
pub struct Http {
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    /// Open connections.
    pub connections: Gauge,
    /// Open streams.
    pub streams: Gauge,
}

impl Http {
    /// Registers it.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(durations as fn() -> Histogram);
        let requests = Family::default();
        let (connections, streams) = (Gauge::default(), Gauge::default());
        registry.register("http_requests", "Answered requests", Family::clone(&requests));
        registry.register_with_unit(
            "http_request_duration",
            "Time until the answer's head",
            Unit::Seconds,
            Family::clone(&seconds),
        );
        registry.register("connections", "Open connections", connections.clone());
        registry.register("streams", "Open streams", streams.clone());
        Self { requests, seconds, connections, streams }
    }
}

/// Counts one request.
pub async fn count(State(metrics): State<Http>, request: Request, next: Next) -> Response {
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

/// The text that a scraper gets.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// What the metrics' own listener serves.
pub fn router(text: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let text = async move || ([(header::CONTENT_TYPE, KIND)], text()).into_response();
    Router::new().route("/metrics", get(text))
}

/// Counts something open until it is dropped.
pub struct Open(Gauge);

impl Open {
    /// One more is open.
    #[must_use]
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
