//! A sigchain server: it stores and serves chains whose every event it verified with `kez-core`.
//! A library that takes a listener and a future that ends it; `main.rs` is configuration.
//!
//! It has no accounts, and nothing that it says has to be believed: a verifier replays what it
//! serves (SPEC.md, "Sigchain server").

mod api;
mod limit;
mod problem;
pub mod store;

pub use limit::Limits;

use std::{future::Future, io, net::SocketAddr, sync::Arc};
use store::Store;
use tokio::net::TcpListener;

/// Serves until `shutdown` is done, then lets the requests in progress end.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ending, ended) = tokio::sync::watch::channel(false);
    let router = api::router(store, Arc::new(limit::Limiter::new(limits)), ended);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let shutdown = async move {
        shutdown.await;
        // Streams would keep the server open for ever.
        let _ = ending.send(true);
    };
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}
