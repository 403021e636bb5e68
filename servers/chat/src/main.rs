//! `kez-chat-server`: configuration around the library.

mod config;

use clap::Parser as _;
use config::{Command, Job, Settings};
use kez_chat_server::{
    Limits, Server,
    callout::{Callout, Keys},
    openapi,
    store::{self, Quotas, Store, migrate},
};
use kez_server::process;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

fn main() -> ExitCode {
    process::exit("kez-chat-server", run(Command::parse()))
}

fn run(command: Command) -> Result<(), String> {
    let settings = command.settings.with_file(command.config.as_deref())?;
    process::init_log(settings.log_json);
    let data = settings.data();
    match command.job {
        None => serve(settings, &data),
        Some(Job::Backup { to }) => store::backup(&data, &to).map_err(|e| e.to_string()),
        Some(Job::Restore { from }) => store::restore(&from, &data).map_err(|e| e.to_string()),
        Some(Job::Migrate { as_it_is: true, .. }) => {
            migrate::leave(&data).map_err(|e| e.to_string())
        }
        Some(Job::Migrate { back, .. }) => move_data(&settings, &data, back),
        Some(Job::Callout) => {
            let path =
                settings.nats_callout.ok_or("--nats-callout says which file has the keys")?;
            let keys = Keys::open(&path).map_err(|e| e.to_string())?;
            process::print(&keys.config())
        }
        Some(Job::Openapi) => process::print_openapi(&openapi()),
    }
}

/// An origin has a scheme and a host, and nothing after them: clients sign it as it stands.
fn check_origin(origin: &str) -> Result<(), String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(plain) => Ok(()),
        _ => Err(format!("{origin}: an origin is https:// and a host in lower case")),
    }
}

fn quotas(settings: &Settings) -> Quotas {
    let usual = Quotas::default();
    Quotas {
        file: settings.quota,
        items: settings.inbox_items.unwrap_or(usual.items),
        bytes: settings.inbox_bytes.unwrap_or(usual.bytes),
        retention: settings
            .retention
            .map_or(usual.retention, |days| i64::from(days.get()) * 86_400),
        ..usual
    }
}

#[tokio::main]
async fn move_data(settings: &Settings, data: &Path, back: bool) -> Result<(), String> {
    if settings.nats.url.is_none() {
        return Err("NATS_URL says where the stream is".into());
    }
    let quotas = quotas(settings);
    let moved = if back {
        migrate::to_file(data, quotas, &settings.nats).await
    } else {
        migrate::to_nats(data, quotas, &settings.nats).await
    };
    let handles = moved.map_err(|e| e.to_string())?;
    eprintln!("kez-chat-server: {handles} handles");
    Ok(())
}

#[tokio::main]
async fn serve(settings: Settings, data: &Path) -> Result<(), String> {
    let quotas = quotas(&settings);
    let (nats, keys) = (&settings.nats, settings.nats_callout.as_deref());
    let opened = match nats.url {
        Some(_) => Store::join(data, quotas, nats).await,
        None => Store::open(data, quotas),
    };
    let (store, writer) = opened.map_err(|e| e.to_string())?;
    let callout = match keys {
        Some(path) => {
            let keys = Keys::open(path).map_err(|e| e.to_string())?;
            Some(Callout::start(nats, &store, keys).await?)
        }
        None => None,
    };
    let usual = Limits::default();
    let life = settings.stream_life.map(|seconds| Duration::from_secs(seconds.get().into()));
    let limits = Limits {
        per_address: settings.address_rate.unwrap_or(usual.per_address),
        address_bytes: settings.address_bytes.unwrap_or(usual.address_bytes),
        per_device: settings.device_rate.unwrap_or(usual.per_device),
        reads: settings.read_rate.unwrap_or(usual.reads),
        claims: settings.claim_rate.unwrap_or(usual.claims),
        commits: settings.commit_rate.unwrap_or(usual.commits),
        connections: settings.connections.unwrap_or(usual.connections),
        address_connections: settings.address_connections,
        memory: settings.memory.unwrap_or(usual.memory),
        proxies: settings.trusted_proxies.clone(),
        streams: settings.streams.unwrap_or(usual.streams),
        stream_life: life.unwrap_or(usual.stream_life),
        ..usual
    };
    let usual = SocketAddr::from(([127, 0, 0, 1], 7979));
    let (listener, address) = process::listen(settings.listen.unwrap_or(usual)).await?;
    let origin = settings.origin.unwrap_or_else(|| format!("http://{address}"));
    check_origin(&origin)?;
    let found = || Some(PathBuf::from("kez-web")).filter(|dir| dir.is_dir());
    let app = settings.app.or_else(found);
    let server = Server { limits, app, callout, ..Server::new(store, origin) };
    let (metrics, store) = (server.metrics.clone(), server.store.clone());
    let text = move || metrics.text(&store);
    let serve = |ended| server.serve(listener, process::end(ended));
    process::run(address, settings.metrics, text, serve).await?;
    writer.join().map_err(|_| "the writer broke".to_owned())
}
