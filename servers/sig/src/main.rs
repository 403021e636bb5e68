//! `kez-sig-server`: configuration around the library.

mod config;

use clap::Parser as _;
use config::{Command, Job, Settings};
use kez_sig_server::{
    Limits, Server, Witness, openapi,
    store::{Options, Store, copy},
};
use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};
use tokio::{net::TcpListener, sync::watch};

fn main() -> ExitCode {
    let command = Command::parse();
    let settings = match command.settings.with_file(command.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return failure(&error),
    };
    let messages = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false);
    if settings.log_json {
        messages.json().init();
    } else {
        messages.with_ansi(false).init();
    }
    let data = settings.data();
    let done = match command.job {
        None => serve(settings, &data),
        Some(Job::Backup { to }) => copy::backup(&data, &to).map_err(|e| e.to_string()),
        Some(Job::Restore { from }) => copy::restore(&from, &data).map_err(|e| e.to_string()),
        Some(Job::Export) => {
            copy::export(&data, &mut io::stdout().lock()).map_err(|e| e.to_string())
        }
        Some(Job::Import) => import(&settings, &data),
        Some(Job::Openapi) => print_openapi(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn failure(error: &str) -> ExitCode {
    eprintln!("kez-sig-server: {error}");
    ExitCode::FAILURE
}

fn print_openapi() -> Result<(), String> {
    let text = openapi().to_pretty_json().map_err(|e| e.to_string())?;
    writeln!(io::stdout(), "{text}").map_err(|e| e.to_string())
}

fn options(settings: &Settings) -> Options {
    Options { quota: settings.quota, log_name: settings.log_name.clone() }
}

fn import(settings: &Settings, data: &Path) -> Result<(), String> {
    let (store, writer) = Store::open(data, &options(settings)).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    let result = runtime.block_on(copy::import(&store, io::stdin().lock()));
    drop(store);
    writer.join().map_err(|_| "the writer broke".to_owned())?;
    let (chains, refused) = result.map_err(|e| e.to_string())?;
    for (name, why) in &refused {
        eprintln!("kez-sig-server: {name}: {why}");
    }
    eprintln!("kez-sig-server: {chains} chains");
    if refused.is_empty() { Ok(()) } else { Err(format!("{} chains were refused", refused.len())) }
}

#[tokio::main]
async fn serve(settings: Settings, data: &Path) -> Result<(), String> {
    // Witnesses may be asked over TLS. A provider that is there already serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let witnesses = settings.witnesses.iter().map(|text| Witness::parse(text));
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
    let (store, writer) = Store::open(data, &options(&settings)).map_err(|e| e.to_string())?;
    let usual = Limits::default();
    let server = Server {
        limits: Limits {
            per_address: settings.address_rate.unwrap_or(usual.per_address),
            per_chain: settings.chain_rate.unwrap_or(usual.per_chain),
            connections: settings.connections.unwrap_or(usual.connections),
        },
        witnesses,
        ..Server::new(store)
    };
    let usual = SocketAddr::from(([127, 0, 0, 1], 7878));
    let (listener, address) = listen(settings.listen.unwrap_or(usual)).await?;
    let metrics = match settings.metrics {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    // Whoever waits for these lines may have gone.
    let mut out = io::stdout();
    let _ = writeln!(out, "listening on http://{address}");
    if let Some((_, address)) = &metrics {
        let _ = writeln!(out, "metrics on http://{address}/metrics");
    }
    let _ = out.flush();
    tracing::info!(%address, log = %server.store.log_key().public(), "listening");
    let (ending, ended) = watch::channel(());
    tokio::spawn(async move {
        shutdown().await;
        drop(ending);
    });
    let end = |mut ended: watch::Receiver<()>| async move { drop(ended.changed().await) };
    let serving = server.clone().serve(listener, end(ended.clone()));
    let done = match metrics {
        Some((listener, _)) => {
            tokio::try_join!(serving, server.serve_metrics(listener, end(ended))).map(drop)
        }
        None => {
            drop(server);
            serving.await
        }
    };
    done.map_err(|e| e.to_string())?;
    writer.join().map_err(|_| "the writer broke".to_owned())?;
    tracing::info!("ended");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |e: io::Error| format!("{address}: {e}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
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
