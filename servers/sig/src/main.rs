//! `kez-sig-server`: configuration around the library.

mod config;

use clap::Parser as _;
use config::{ChainJob, Command, Job, Settings};
use kez_server::process;
use kez_sig_server::{
    Server, Witness, openapi,
    store::{Options, Refusal, Store, chain_name, copy, migrate, operator},
};
use std::{io, net::SocketAddr, path::Path, process::ExitCode, thread::JoinHandle};

fn main() -> ExitCode {
    process::exit("kez-sig-server", run(Command::parse()))
}

fn run(command: Command) -> Result<(), String> {
    let settings = command.settings.with_file(command.config.as_deref())?;
    process::init_log(settings.log_json);
    let data = settings.data();
    match command.job {
        None => serve(settings, &data),
        Some(Job::Backup { to }) => copy::backup(&data, &to).map_err(|e| e.to_string()),
        Some(Job::Restore { from }) => copy::restore(&from, &data).map_err(|e| e.to_string()),
        Some(Job::Export) => {
            copy::export(&data, &mut io::stdout().lock()).map_err(|e| e.to_string())
        }
        Some(Job::Import) => import(&settings, &data),
        Some(Job::Migrate { as_it_is: true, .. }) => {
            migrate::leave(&data).map_err(|e| e.to_string())
        }
        Some(Job::Migrate { back, .. }) => move_data(&settings, &data, back),
        Some(Job::Chain(job)) => chain(&data, job),
        Some(Job::Openapi) => process::print_openapi(&openapi()),
    }
}

/// Lists, shows or removes chains.
fn chain(data: &Path, job: ChainJob) -> Result<(), String> {
    let failed = |e: Refusal| e.to_string();
    let name = |text: &str| chain_name(text).map_err(|e| e.to_string());
    match job {
        ChainJob::List { by, most } => {
            process::print(operator::FIELDS)?;
            for usage in operator::list(data, by.into(), most).map_err(failed)? {
                process::print(&usage.to_string())?;
            }
            Ok(())
        }
        ChainJob::Show { chain } => {
            for line in operator::show(data, &name(&chain)?).map_err(failed)? {
                process::print(&line)?;
            }
            Ok(())
        }
        ChainJob::Remove { chain, reason } => {
            let name = name(&chain)?;
            let events =
                operator::remove(data, &name, &reason, kez_server::now()).map_err(failed)?;
            tracing::warn!(chain = %name, events, ?reason, "removed a chain");
            Ok(())
        }
    }
}

fn options(settings: &Settings) -> Options {
    Options { quota: settings.quota, log_name: settings.log_name.clone() }
}

/// Opens the store: this server's own, or its part of what several share.
async fn open(settings: &Settings, data: &Path) -> Result<(Store, JoinHandle<()>), String> {
    let options = options(settings);
    let opened = match settings.nats.url {
        Some(_) => Store::join(data, &options, &settings.nats).await,
        None => Store::open(data, &options),
    };
    opened.map_err(|e| e.to_string())
}

#[tokio::main]
async fn import(settings: &Settings, data: &Path) -> Result<(), String> {
    let (store, writer) = open(settings, data).await?;
    let result = copy::import(&store, io::stdin().lock()).await;
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
async fn move_data(settings: &Settings, data: &Path, back: bool) -> Result<(), String> {
    if settings.nats.url.is_none() {
        return Err("NATS_URL says where the stream is".into());
    }
    let options = options(settings);
    let moved = if back {
        migrate::to_file(data, &options, &settings.nats).await
    } else {
        migrate::to_nats(data, &options, &settings.nats).await
    };
    let chains = moved.map_err(|e| e.to_string())?;
    eprintln!("kez-sig-server: {chains} chains");
    Ok(())
}

#[tokio::main]
async fn serve(settings: Settings, data: &Path) -> Result<(), String> {
    // Witnesses may be asked over TLS. A provider that is there already serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let witnesses = settings.witnesses.iter().map(|text| Witness::parse(text));
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
    let (store, writer) = open(&settings, data).await?;
    let server = Server { limits: settings.limits(), witnesses, ..Server::new(store) };
    let usual = SocketAddr::from(([127, 0, 0, 1], 7878));
    let (listener, address) = process::listen(settings.listen.unwrap_or(usual)).await?;
    tracing::info!(log = %server.store.log_key().public(), "the log's key");
    let (metrics, store) = (server.metrics.clone(), server.store.clone());
    let text = move || metrics.text(&store);
    let serve = |ended| server.serve(listener, process::end(ended));
    process::run(address, settings.metrics, text, serve).await?;
    writer.join().map_err(|_| "the writer broke".to_owned())
}
