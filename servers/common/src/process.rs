//! How a server starts and ends.

use crate::{connection, metrics};
use serde::de::DeserializeOwned;
use std::{
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};
use tokio::{net::TcpListener, sync::watch};
use utoipa::openapi::OpenApi;

/// How a process ends: an error's words go to standard error, after its name.
pub fn exit(name: &str, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints an OpenAPI document.
///
/// # Errors
/// If nobody takes it.
pub fn print_openapi(document: &OpenApi) -> Result<(), String> {
    print(&document.to_pretty_json().map_err(|e| e.to_string())?)
}

/// Prints what was asked for.
///
/// # Errors
/// If nobody takes it.
pub fn print(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|e| e.to_string())
}

/// Sends messages to standard error, as text or as JSON, one a line.
pub fn init_log(json: bool) {
    let messages = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
    if json {
        messages.json().init();
    } else {
        messages.with_ansi(false).init();
    }
}

/// Reads a file of settings, if one is named.
///
/// # Errors
/// What is wrong with it, with its name.
pub fn read_settings<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, String> {
    let Some(path) = path else { return Ok(T::default()) };
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    toml::from_str(&text).map_err(|e| failed(&e))
}

/// Raises the number of files that the process may open as far as the system permits, and returns
/// it. Each connection takes one.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // If it cannot be raised, what is there counts.
        let _ = setrlimit(Resource::Nofile, raised);
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

/// The number of connections that the process can have open, of those that the operator wants. It
/// keeps some files for its data.
#[must_use]
pub fn possible_connections(wanted: usize) -> usize {
    const FILES: usize = 128;
    let files = raise_file_limit().and_then(|files| usize::try_from(files).ok());
    let possible = files.map_or(wanted, |files| files.saturating_sub(FILES).max(16));
    if possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            "the limit of open files is too low for all connections: raise LimitNOFILE"
        );
    }
    possible.min(wanted)
}

/// Listens, and gives the address with the port that was taken.
///
/// # Errors
/// What the system says, with the address.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |e: io::Error| format!("{address}: {e}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Says where the server listens, on standard output, for whoever started it; serves the metrics
/// beside it; and gives both an end when the system asks for one.
///
/// # Errors
/// What the listeners say.
pub async fn run<F: Future<Output = io::Result<()>>>(
    address: SocketAddr,
    metrics_at: Option<SocketAddr>,
    text: impl Fn() -> String + Clone + Send + Sync + 'static,
    serve: impl FnOnce(watch::Receiver<()>) -> F,
) -> Result<(), String> {
    let metrics = match metrics_at {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    // Whoever reads where it listens may end it at once.
    let shutdown = shutdown().map_err(|e| e.to_string())?;
    // Whoever waits for these lines may have gone.
    let mut out = io::stdout();
    let _ = writeln!(out, "listening on http://{address}");
    if let Some((_, address)) = &metrics {
        let _ = writeln!(out, "metrics on http://{address}/metrics");
    }
    let _ = out.flush();
    tracing::info!(%address, "listening");
    let (ending, ended) = watch::channel(());
    tokio::spawn(async move {
        shutdown.await;
        drop(ending);
    });
    let serving = serve(ended.clone());
    let done = match metrics {
        Some((listener, _)) => {
            let router = metrics::router(text);
            let bounds = connection::Bounds {
                most: 64,
                per_client: Some(32),
                ..connection::Bounds::default()
            };
            let uncounted = Default::default();
            let metrics = connection::serve(listener, router, bounds, &uncounted, end(ended));
            tokio::try_join!(serving, metrics).map(drop)
        }
        None => serving.await,
    };
    done.map_err(|e| e.to_string())?;
    tracing::info!("ended");
    Ok(())
}

/// Done when the other side of the channel is gone.
pub async fn end(mut ended: watch::Receiver<()>) {
    while ended.changed().await.is_ok() {}
}

/// Ctrl-C, or what a service manager sends, from now on.
#[cfg(unix)]
fn shutdown() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-C.
#[cfg(not(unix))]
fn shutdown() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
