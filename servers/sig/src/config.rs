//! What the operator sets: by option, by environment, or in a file, in this order.

use clap::{Args, Parser, Subcommand, ValueEnum};
use kez_server::{client::TrustedProxy, nats, process};
use kez_sig_server::{Limits, store::operator::Order};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
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
    /// Lists, shows or removes chains, also while the server runs.
    #[command(subcommand)]
    Chain(ChainJob),
    /// Prints the OpenAPI document.
    Openapi,
}

/// What to do with chains.
#[derive(Subcommand)]
pub(crate) enum ChainJob {
    /// Lists chains with what each takes, separated by tabs.
    List {
        /// The order: largest or newest first.
        #[arg(long, default_value = "bytes")]
        by: By,
        /// How many to list.
        #[arg(long, default_value_t = 20)]
        most: u32,
    },
    /// Prints a chain's events, one a line: position, date, operation, subject.
    Show {
        /// The chain's name, such as ed25519:….
        chain: String,
    },
    /// Removes a chain and refuses it from then on. Readers are told that it cannot be read here,
    /// not that it does not exist. The reason is stored and logged.
    Remove {
        /// The chain's name, such as ed25519:….
        chain: String,
        /// Why it is removed.
        #[arg(long)]
        reason: String,
    },
}

/// An order of chains.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum By {
    Bytes,
    Events,
    Evidence,
    Newest,
}

impl From<By> for Order {
    fn from(by: By) -> Self {
        match by {
            By::Bytes => Self::Bytes,
            By::Events => Self::Events,
            By::Evidence => Self::Evidence,
            By::Newest => Self::Newest,
        }
    }
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
    /// How many bytes the data may grow to. The last eighth, at most 64 MiB, is for revocations and
    /// rotations of stored chains only [default: as far as the disk goes].
    #[arg(long, env = "KEZ_SIG_QUOTA")]
    pub(crate) quota: Option<u64>,
    /// Appends a minute from one address (IPv6: one /64) [default: 120].
    #[arg(long, env = "KEZ_SIG_ADDRESS_RATE")]
    pub(crate) address_rate: Option<NonZeroU32>,
    /// Reads a minute from one address [default: 1200].
    #[arg(long, env = "KEZ_SIG_READ_RATE")]
    pub(crate) read_rate: Option<NonZeroU32>,
    /// Bytes a day that one address may append [default: 50331648].
    #[arg(long, env = "KEZ_SIG_ADDRESS_BYTES")]
    pub(crate) address_bytes: Option<NonZeroU64>,
    /// Seconds of processor time a minute for the appends of one address [default: 15].
    #[arg(long, env = "KEZ_SIG_ADDRESS_CPU")]
    pub(crate) address_cpu: Option<NonZeroU32>,
    /// Valid appends a minute to one chain [default: 60].
    #[arg(long, env = "KEZ_SIG_CHAIN_RATE")]
    pub(crate) chain_rate: Option<NonZeroU32>,
    /// Bytes of memory for requests that are being read; one address may use a quarter of it
    /// [default: 268435456].
    #[arg(long, env = "KEZ_SIG_MEMORY")]
    pub(crate) memory: Option<NonZeroUsize>,
    /// Connections that may be open at once. A sixteenth is kept for appends and health requests
    /// [default: 10000].
    #[arg(long, env = "KEZ_SIG_CONNECTIONS")]
    pub(crate) connections: Option<NonZeroUsize>,
    /// Connections of one address that may be open at once [default: a sixteenth of all].
    #[arg(long, env = "KEZ_SIG_ADDRESS_CONNECTIONS")]
    pub(crate) address_connections: Option<NonZeroUsize>,
    /// The address or network (CIDR) of a reverse proxy whose X-Forwarded-For header names the
    /// client; may be given several times [default: none].
    #[arg(long = "trusted-proxy", env = "KEZ_SIG_TRUSTED_PROXIES", value_delimiter = ' ')]
    #[serde(default, rename = "trusted-proxies")]
    pub(crate) trusted_proxies: Vec<TrustedProxy>,
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
        Ok(Self {
            listen: self.listen.or(file.listen),
            data: self.data.or(file.data),
            quota: self.quota.or(file.quota),
            address_rate: self.address_rate.or(file.address_rate),
            read_rate: self.read_rate.or(file.read_rate),
            address_bytes: self.address_bytes.or(file.address_bytes),
            address_cpu: self.address_cpu.or(file.address_cpu),
            chain_rate: self.chain_rate.or(file.chain_rate),
            memory: self.memory.or(file.memory),
            connections: self.connections.or(file.connections),
            address_connections: self.address_connections.or(file.address_connections),
            trusted_proxies: some(self.trusted_proxies, file.trusted_proxies),
            metrics: self.metrics.or(file.metrics),
            log_name: self.log_name.or(file.log_name),
            witnesses: some(self.witnesses, file.witnesses),
            nats: self.nats.or(file.nats),
            log_json: self.log_json || file.log_json,
        })
    }

    /// The limits that these settings name, and the usual ones.
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            per_address: self.address_rate.unwrap_or(usual.per_address),
            reads: self.read_rate.unwrap_or(usual.reads),
            per_chain: self.chain_rate.unwrap_or(usual.per_chain),
            bytes_a_day: self.address_bytes.unwrap_or(usual.bytes_a_day),
            cpu: self.address_cpu.unwrap_or(usual.cpu),
            memory: self.memory.unwrap_or(usual.memory),
            connections: self.connections.unwrap_or(usual.connections),
            client_connections: self.address_connections,
            proxies: self.trusted_proxies.clone(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| "kez-sig-data".into())
    }
}

/// A list of the command line, or else that of the file.
fn some<T>(own: Vec<T>, other: Vec<T>) -> Vec<T> {
    if own.is_empty() { other } else { own }
}
