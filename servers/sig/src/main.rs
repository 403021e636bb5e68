//! `kez-sig-server`: configuration around the library.

use clap::Parser;
use kez_sig_server::{Limits, serve, store::Store};
use std::{io::Write as _, net::SocketAddr, num::NonZeroU32, path::PathBuf, process::ExitCode};
use tokio::net::TcpListener;

/// A sigchain server: stores and serves chains whose every event it verified.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "KEZ_SIG_LISTEN", default_value = "127.0.0.1:7878")]
    listen: SocketAddr,
    /// The folder of the data, which is made if it is missing.
    #[arg(long, env = "KEZ_SIG_DATA", default_value = "kez-sig-data")]
    data: PathBuf,
    /// How many bytes the data may grow to; without it, as far as the disk goes.
    #[arg(long, env = "KEZ_SIG_QUOTA")]
    quota: Option<u64>,
    /// Appends a minute that one address may make.
    #[arg(long, env = "KEZ_SIG_ADDRESS_RATE", default_value_t = Limits::default().per_address)]
    address_rate: NonZeroU32,
    /// Appends a minute that one chain may get.
    #[arg(long, env = "KEZ_SIG_CHAIN_RATE", default_value_t = Limits::default().per_chain)]
    chain_rate: NonZeroU32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kez-sig-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let (store, writer) = Store::open(&options.data, options.quota).map_err(|e| e.to_string())?;
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(|e| format!("{}: {e}", options.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let mut out = std::io::stdout();
    // Whoever waits for this line may have gone.
    let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
    let limits = Limits { per_address: options.address_rate, per_chain: options.chain_rate };
    serve(listener, store, limits, shutdown()).await.map_err(|e| e.to_string())?;
    writer.join().map_err(|_| "the writer broke".to_owned())
}

/// Ctrl-C, or what a service manager sends.
async fn shutdown() {
    let interrupt = async { drop(tokio::signal::ctrl_c().await) };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
