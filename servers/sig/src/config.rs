//! What the operator sets: by option, by environment, or in a file, in this order.

use clap::{Args, Parser, Subcommand};
use kez_server::{nats, process};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
};

/// A sigchain server: stores and serves chains whose every event it verified, and keeps a
/// transparency log of their heads.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Command {
    /// A TOML file with the same settings, without the dashes: `listen = "[::]:7878"`.
    #[arg(long, env = "KEZ_SIG_CONFIG", global = true)]
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
    /// Prints every chain, one event a line.
    Export,
    /// Appends what an export printed, from standard input, and says what was refused.
    Import,
    /// Moves the data folder's chains into a new stream of the NATS at NATS_URL, which several
    /// servers may then share.
    Migrate {
        /// Makes the folder's copy of the stream a file of its own again.
        #[arg(long)]
        back: bool,
        /// With --back: as far as the copy has it, where the stream is lost.
        #[arg(long, requires = "back")]
        as_it_is: bool,
    },
    /// Prints the OpenAPI document.
    Openapi,
}

/// The settings.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7878].
    #[arg(long, env = "KEZ_SIG_LISTEN", global = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// The folder of the data, which is made if it is missing [default: kez-sig-data].
    #[arg(long, env = "KEZ_SIG_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// How many bytes the data may grow to [default: as far as the disk goes].
    #[arg(long, env = "KEZ_SIG_QUOTA")]
    pub(crate) quota: Option<u64>,
    /// Appends a minute that one address may make [default: 120].
    #[arg(long, env = "KEZ_SIG_ADDRESS_RATE")]
    pub(crate) address_rate: Option<NonZeroU32>,
    /// Appends a minute that one chain may get [default: 60].
    #[arg(long, env = "KEZ_SIG_CHAIN_RATE")]
    pub(crate) chain_rate: Option<NonZeroU32>,
    /// Connections that may be open at once [default: 10000].
    #[arg(long, env = "KEZ_SIG_CONNECTIONS")]
    pub(crate) connections: Option<NonZeroUsize>,
    /// Where to serve metrics for Prometheus [default: nowhere].
    #[arg(long, env = "KEZ_SIG_METRICS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// The name of a new log, such as sig.example.org/log; it stays [default: one of its own].
    #[arg(long, env = "KEZ_SIG_LOG_NAME")]
    pub(crate) log_name: Option<String>,
    /// A witness that cosigns the log, as URL#KEY; may be given several times.
    #[arg(long = "witness", env = "KEZ_SIG_WITNESSES", value_delimiter = ' ')]
    #[serde(default)]
    pub(crate) witnesses: Vec<String>,
    /// The operator's NATS, in a file as `[nats]`.
    #[command(flatten)]
    #[serde(default)]
    pub(crate) nats: nats::Settings,
    /// Messages as JSON, one a line.
    #[arg(long, env = "KEZ_SIG_LOG_JSON")]
    #[serde(default)]
    pub(crate) log_json: bool,
}

impl Settings {
    /// These, and what the file says where they say nothing.
    pub(crate) fn with_file(self, path: Option<&Path>) -> Result<Self, String> {
        let file: Self = process::read_settings(path)?;
        let some = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Ok(Self {
            listen: self.listen.or(file.listen),
            data: self.data.or(file.data),
            quota: self.quota.or(file.quota),
            address_rate: self.address_rate.or(file.address_rate),
            chain_rate: self.chain_rate.or(file.chain_rate),
            connections: self.connections.or(file.connections),
            metrics: self.metrics.or(file.metrics),
            log_name: self.log_name.or(file.log_name),
            witnesses: some(self.witnesses, file.witnesses),
            nats: self.nats.or(file.nats),
            log_json: self.log_json || file.log_json,
        })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| "kez-sig-data".into())
    }
}
