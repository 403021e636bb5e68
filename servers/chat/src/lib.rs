//! A chat server: handles, key packages, conversations and inboxes. It fixes the order of what is
//! posted, keeps it until it is fetched, and pushes it at once; it can read no word of it, and
//! nothing that it says has to be believed (SPEC.md, "Chat server"). A library that takes a
//! listener and a future that ends it; `main.rs` is configuration.

mod api;
pub mod broker;
pub mod callout;
pub mod feed;
mod journal;
mod limit;
pub mod metrics;
mod seen;
pub mod store;

pub use api::openapi;
pub use limit::Limits;

use callout::Callout;
use kez_server::{
    connection::{self, Bounds},
    limit::Pool,
};
use metrics::Metrics;
use seen::Seen;
use std::{future::Future, io, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};
use store::Store;
use tokio::net::TcpListener;

/// How often what is old is looked for.
const UPKEEP: Duration = Duration::from_secs(60);

/// A server.
pub struct Server {
    /// What it keeps.
    pub store: Store,
    /// What it allows.
    pub limits: Limits,
    /// What it counts.
    pub metrics: Metrics,
    /// Where its clients find it: scheme, host and port. Requests are signed for it.
    pub origin: String,
    /// The web app's files, if they are there.
    pub app: Option<PathBuf>,
    /// Who is let into the operator's NATS, if anybody is.
    pub callout: Option<Callout>,
}

impl Server {
    /// A server with the usual limits.
    #[must_use]
    pub fn new(store: Store, origin: String) -> Self {
        let (limits, metrics) = Default::default();
        Self { store, limits, metrics, origin, app: None, callout: None }
    }

    /// Serves until `shutdown` is done: then streams end with a hint when to come back, and
    /// requests in progress are answered.
    ///
    /// # Errors
    /// What the listener says.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let (ending, ended) = tokio::sync::watch::channel(false);
        let app = Arc::new(api::Shared {
            store: self.store.clone(),
            limiter: limit::Limiter::new(&self.limits),
            memory: Pool::new(self.limits.memory.get(), self.limits.memory.get() / 4),
            seen: Seen::of(&self.store)?,
            streams: api::Streams::default(),
            metrics: self.metrics.clone(),
            origin: self.origin,
            limits: self.limits.clone(),
            ended,
        });
        let router = api::router(app.clone(), self.app.as_deref());
        let bounds = Bounds {
            most: self.limits.connections.get(),
            per_client: self.limits.address_connections.map(NonZeroUsize::get),
            // Ten thousand idle streams shall not cost more than they need to.
            buffer: 8192,
            proxies: self.limits.proxies,
            urgent: api::is_urgent,
            // A peer that takes a byte now and then keeps a stream's own end from coming.
            life: Some(2 * self.limits.stream_life),
        };
        let shutdown = async move {
            shutdown.await;
            let _ = ending.send(true);
        };
        let open = self.metrics.http.connections.clone();
        let serving = connection::serve(listener, router, bounds, &open, shutdown);
        tokio::select! {
            done = serving => done,
            () = upkeep(self.store) => Ok(()),
            () = callout(self.callout, app.clone()) => Ok(()),
            () = app.seen.listen() => Ok(()),
        }
    }
}

async fn callout(callout: Option<Callout>, app: Arc<api::Shared>) {
    if let Some(callout) = callout {
        callout.serve(app).await;
    }
    // Without it, HTTP is served all the same.
    std::future::pending().await
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    u64::try_from(kez_server::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

async fn upkeep(store: Store) {
    loop {
        match store.upkeep(kez_server::now()).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(refusal) => tracing::error!("upkeep: {refusal:?}"),
        }
        tokio::time::sleep(UPKEEP).await;
    }
}
