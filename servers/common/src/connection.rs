//! Connections: how many, and how long they may keep others waiting. `axum::serve` bounds
//! neither.

use crate::metrics::Open;
use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use prometheus_client::metrics::gauge::Gauge;
use socket2::SockRef;
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt as _;

/// For how long a head of a request may take, and a connection be idle.
const HEAD: Duration = Duration::from_secs(10);
/// For how long a peer may take nothing of what was sent to it.
const STALL: Duration = Duration::from_secs(30);
/// For how long requests in progress may go on when the server ends.
const ENDING: Duration = Duration::from_secs(30);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many may be open at once.
    pub most: usize,
    /// The buffer of each in bytes, from 8,192 on; without one, it grows with what comes.
    pub buffer: Option<usize>,
    /// For how long each may live.
    pub life: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { most: 10_000, buffer: None, life: None }
    }
}

/// Serves until `shutdown` is done, then lets the requests in progress end.
///
/// # Errors
/// None that a server could do something about by itself: they are logged.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    open: &Gauge,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(bounds.most));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // Who comes when all places are taken waits in the system's queue.
        let accept = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            both = accept => both,
        };
        let (stream, peer) = match accepted {
            Ok(both) => both,
            Err(e) if is_peers(&e) => continue,
            Err(e) => {
                // No file handle is left, for one: some are freed in a moment.
                tracing::error!("accepting: {e}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        prepare(&stream);
        let open = Open::new(open);
        let router = router.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
            router.clone().oneshot(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        if let Some(bytes) = bounds.buffer {
            builder.max_buf_size(bytes.max(8192));
        }
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let life = bounds.life;
        tokio::spawn(async move {
            // A peer that goes away is no news.
            match life {
                Some(life) => drop(tokio::time::timeout(life, connection).await),
                None => drop(connection.await),
            }
            drop((place, open));
        });
    }
    drop(listener);
    if tokio::time::timeout(ENDING, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

fn is_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A peer that reads nothing keeps a stream's task asleep, so the system has to end it.
fn prepare(stream: &TcpStream) {
    // A socket that the peer has closed already refuses; the next read says so.
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(STALL));
}
