//! What the operator sets: by option, by environment, or in a file, in this order.

use clap::{Args, Parser, Subcommand};
use kez_server::{client::TrustedProxy, nats, process};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

/// A chat server: keeps and pushes what people send each other, and reads no word of it.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Command {
    /// A TOML file with the same settings, without the dashes: `listen = "[::]:7979"`.
    #[arg(long, env = "KEZ_CHAT_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) job: Option<Job>,
}

/// What to do instead of serving.
#[derive(Subcommand)]
pub(crate) enum Job {
    /// Copies the data to a new folder while the server runs.
    Backup {
        /// The folder, which must not be there yet.
        to: PathBuf,
    },
    /// Makes the data folder from a backup, after checking it.
    Restore {
        /// The backup's folder.
        from: PathBuf,
    },
    /// Moves what the data folder has into a new stream of the NATS at NATS_URL, which several
    /// servers may then share.
    Migrate {
        /// Makes the folder's copy of the stream a file of its own again.
        #[arg(long)]
        back: bool,
        /// With --back: as far as the copy has it, where the stream is lost.
        #[arg(long, requires = "back")]
        as_it_is: bool,
    },
    /// Prints what nats.conf needs for the keys of --nats-callout, and makes them if they are
    /// missing.
    Callout,
    /// Prints the OpenAPI document.
    Openapi,
}

/// The settings.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7979].
    #[arg(long, env = "KEZ_CHAT_LISTEN", global = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// The folder of the data, which is made if it is missing [default: kez-chat-data].
    #[arg(long, env = "KEZ_CHAT_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// Where clients find the server, such as https://chat.example: requests are signed for it
    /// [default: http:// and where it listens].
    #[arg(long, env = "KEZ_CHAT_ORIGIN")]
    pub(crate) origin: Option<String>,
    /// The folder of the web app's files [default: kez-web, if it is there].
    #[arg(long, env = "KEZ_CHAT_APP")]
    pub(crate) app: Option<PathBuf>,
    /// How many bytes the data may grow to [default: as far as the disk goes].
    #[arg(long, env = "KEZ_CHAT_QUOTA")]
    pub(crate) quota: Option<u64>,
    /// How many items may wait in an inbox [default: 20000].
    #[arg(long, env = "KEZ_CHAT_INBOX_ITEMS")]
    pub(crate) inbox_items: Option<u64>,
    /// How many bytes may wait in an inbox [default: 67108864].
    #[arg(long, env = "KEZ_CHAT_INBOX_BYTES")]
    pub(crate) inbox_bytes: Option<u64>,
    /// For how many days what nobody fetches is kept [default: 30].
    #[arg(long, env = "KEZ_CHAT_RETENTION")]
    pub(crate) retention: Option<NonZeroU32>,
    /// Requests a minute that one address may make without a device's signature [default: 240].
    #[arg(long, env = "KEZ_CHAT_ADDRESS_RATE")]
    pub(crate) address_rate: Option<NonZeroU32>,
    /// Bytes of registrations and sigchains that one address may bring in a day
    /// [default: 16777216].
    #[arg(long, env = "KEZ_CHAT_ADDRESS_BYTES")]
    pub(crate) address_bytes: Option<NonZeroU64>,
    /// Posts a minute that one device may make [default: 600].
    #[arg(long, env = "KEZ_CHAT_DEVICE_RATE")]
    pub(crate) device_rate: Option<NonZeroU32>,
    /// Signed requests without a body, such as reads, a minute that one device may make
    /// [default: 1200].
    #[arg(long, env = "KEZ_CHAT_READ_RATE")]
    pub(crate) read_rate: Option<NonZeroU32>,
    /// Handles a minute whose key packages one device may claim [default: 60].
    #[arg(long, env = "KEZ_CHAT_CLAIM_RATE")]
    pub(crate) claim_rate: Option<NonZeroU32>,
    /// Commits a minute that one handle may post to one conversation [default: 60].
    #[arg(long, env = "KEZ_CHAT_COMMIT_RATE")]
    pub(crate) commit_rate: Option<NonZeroU32>,
    /// Connections that may be open at once. A sixteenth is kept for signed and health requests
    /// [default: 20000].
    #[arg(long, env = "KEZ_CHAT_CONNECTIONS")]
    pub(crate) connections: Option<NonZeroUsize>,
    /// Connections of one address that may be open at once [default: a sixteenth of all].
    #[arg(long, env = "KEZ_CHAT_ADDRESS_CONNECTIONS")]
    pub(crate) address_connections: Option<NonZeroUsize>,
    /// Bytes of memory for requests that are being read; one address may use a quarter of it
    /// [default: 134217728].
    #[arg(long, env = "KEZ_CHAT_MEMORY")]
    pub(crate) memory: Option<NonZeroUsize>,
    /// The address or network (CIDR) of a reverse proxy whose X-Forwarded-For header names the
    /// client; may be given several times [default: none].
    #[arg(long = "trusted-proxy", env = "KEZ_CHAT_TRUSTED_PROXIES", value_delimiter = ' ')]
    #[serde(default, rename = "trusted-proxies")]
    pub(crate) trusted_proxies: Vec<TrustedProxy>,
    /// Streams of one device that may be open at once [default: 8].
    #[arg(long, env = "KEZ_CHAT_STREAMS")]
    pub(crate) streams: Option<NonZeroUsize>,
    /// For how many seconds a stream goes on [default: 3600].
    #[arg(long, env = "KEZ_CHAT_STREAM_LIFE")]
    pub(crate) stream_life: Option<NonZeroU32>,
    /// Where to serve metrics for Prometheus [default: nowhere].
    #[arg(long, env = "KEZ_CHAT_METRICS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// A file with the keys by which this server lets devices connect to the NATS at NATS_URL, each
    /// to its own inbox; it is made if it is missing [default: no device is let in].
    #[arg(long, env = "NATS_CALLOUT", global = true)]
    pub(crate) nats_callout: Option<PathBuf>,
    /// The operator's NATS, in a file as `[nats]`.
    #[command(flatten)]
    #[serde(default)]
    pub(crate) nats: nats::Settings,
    /// Messages as JSON, one a line.
    #[arg(long, env = "KEZ_CHAT_LOG_JSON")]
    #[serde(default)]
    pub(crate) log_json: bool,
}

impl Settings {
    /// These, and what the file says where they say nothing.
    pub(crate) fn with_file(self, path: Option<&Path>) -> Result<Self, String> {
        let file: Self = process::read_settings(path)?;
        Ok(Self {
            listen: self.listen.or(file.listen),
            data: self.data.or(file.data),
            origin: self.origin.or(file.origin),
            app: self.app.or(file.app),
            quota: self.quota.or(file.quota),
            inbox_items: self.inbox_items.or(file.inbox_items),
            inbox_bytes: self.inbox_bytes.or(file.inbox_bytes),
            retention: self.retention.or(file.retention),
            address_rate: self.address_rate.or(file.address_rate),
            address_bytes: self.address_bytes.or(file.address_bytes),
            device_rate: self.device_rate.or(file.device_rate),
            read_rate: self.read_rate.or(file.read_rate),
            claim_rate: self.claim_rate.or(file.claim_rate),
            commit_rate: self.commit_rate.or(file.commit_rate),
            connections: self.connections.or(file.connections),
            address_connections: self.address_connections.or(file.address_connections),
            memory: self.memory.or(file.memory),
            trusted_proxies: if self.trusted_proxies.is_empty() {
                file.trusted_proxies
            } else {
                self.trusted_proxies
            },
            streams: self.streams.or(file.streams),
            stream_life: self.stream_life.or(file.stream_life),
            metrics: self.metrics.or(file.metrics),
            nats_callout: self.nats_callout.or(file.nats_callout),
            nats: self.nats.or(file.nats),
            log_json: self.log_json || file.log_json,
        })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| "kez-chat-data".into())
    }
}
