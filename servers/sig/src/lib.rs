//! A sigchain server: it stores and serves chains whose every event it verified with `kez-core`,
//! and keeps a transparency log of their heads. A library that takes a listener and a future that
//! ends it; `main.rs` is configuration.
//!
//! It has no accounts, and nothing that it says has to be believed: a verifier replays what it
//! serves, and its log shows everybody the same history (SPEC.md, "Sigchain server" and
//! "Transparency log").

mod api;
mod limit;
pub mod log;
pub mod metrics;
pub mod store;
mod witness;

pub use api::openapi;
pub use limit::Limits;
pub use witness::Witness;

use kez_server::connection::{self, Bounds};
use metrics::Metrics;
use std::{future::Future, io, num::NonZeroUsize, sync::Arc, time::Duration};
use store::Store;
use tokio::net::TcpListener;

/// How often the server looks for changes by the operator's command.
const REFRESH: Duration = Duration::from_secs(2);

/// A server.
#[derive(Clone)]
pub struct Server {
    /// What it keeps.
    pub store: Store,
    /// What it allows.
    pub limits: Limits,
    /// What it counts.
    pub metrics: Metrics,
    /// Who cosigns its log.
    pub witnesses: Vec<Witness>,
}

impl Server {
    /// A server with the usual limits.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (limits, metrics, witnesses) = Default::default();
        Self { store, limits, metrics, witnesses }
    }

    /// Serves until `shutdown` is done, then lets the requests in progress end.
    ///
    /// # Errors
    /// What the listener says.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let (ending, ended) = tokio::sync::watch::channel(false);
        let limiter = Arc::new(limit::Limiter::new(&self.limits, self.store.reserve()));
        let app =
            api::App { store: self.store.clone(), limiter, ended, metrics: self.metrics.clone() };
        let router = api::router(app);
        let shutdown = async move {
            shutdown.await;
            // Streams would keep the server open for ever.
            let _ = ending.send(true);
        };
        let bounds = Bounds {
            most: self.limits.connections.get(),
            per_client: self.limits.client_connections.map(NonZeroUsize::get),
            proxies: self.limits.proxies,
            urgent: api::is_urgent,
            ..Bounds::default()
        };
        let open = self.metrics.http.connections.clone();
        let serving = connection::serve(listener, router, bounds, &open, shutdown);
        let store = self.store.clone();
        let refresh = async move {
            loop {
                tokio::time::sleep(REFRESH).await;
                store.refresh();
            }
        };
        if self.witnesses.is_empty() {
            return tokio::select! { result = serving => result, () = refresh => Ok(()) };
        }
        tokio::select! {
            result = serving => result,
            () = refresh => Ok(()),
            () = witness::run(self.store, self.witnesses, self.metrics) => {
                Err(io::Error::other("the witnesses cannot be asked"))
            }
        }
    }
}
