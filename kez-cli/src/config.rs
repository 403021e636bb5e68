//! `config.toml` in the user's directory, and the test switches.

use crate::{
    home::{Home, storage},
    host::Settings,
};
use kez_core::{Code, Endpoints, Error, Result, transport::NamedEndpoints};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// The configuration; every setting is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the key that signs where none is named.
    pub default_key: Option<String>,
    /// Resolvers, asked in order: `https://…/dns-query` (DNS over HTTPS) or `address:port`.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Relays, instead of the built-in ones.
    pub relays: Option<Vec<String>>,
    /// Sigchain servers, each with its log's key after a `#` where that is known.
    #[serde(default)]
    pub sig_servers: Vec<String>,
    /// Keys of the witnesses that must have cosigned the servers' logs, more than half of them.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// A `.well-known` directory that a web server serves, for copies of your chain.
    pub well_known: Option<PathBuf>,
    /// The client id of an OAuth app of GitHub with the device flow, for `kez auth add`.
    pub github_client: Option<String>,
    /// GitHub's API.
    pub github: Option<String>,
    /// The PLC directory.
    pub plc: Option<String>,
    /// The service that resolves Bluesky handles.
    pub bluesky: Option<String>,
    /// Tests only: hosts that are served elsewhere, by base URL.
    #[serde(default)]
    pub hosts: BTreeMap<String, String>,
    /// Tests only: allows plain http and addresses in loopback.
    #[serde(default)]
    pub danger_allow_loopback: bool,
}

impl Config {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// `config_refused`, `storage_failed`.
    pub fn load(home: &Home<'_>, danger_allow_loopback: bool) -> Result<Self> {
        let path = home.path("config.toml");
        let bytes = match home.host.read(&path, 1 << 20) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(storage(&path))?,
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::about(Code::ConfigRefused, "the file is not text"))?;
        let mut config: Self = toml::from_str(text)
            .map_err(|e| Error::about(Code::ConfigRefused, e.to_string().trim()))?;
        config.danger_allow_loopback |= danger_allow_loopback;
        let endpoints = config.endpoints()?;
        let servers = endpoints.sig_servers.iter().map(|server| &server.url);
        let urls = servers.chain(config.relays.iter().flatten());
        for url in urls.chain(&config.github).chain(&config.plc).chain(&config.bluesky) {
            kez_core::transport::check_url(url, config.danger_allow_loopback)
                .map_err(|_| Error::about(Code::ConfigRefused, format!("the URL {url}")))?;
        }
        if !config.hosts.is_empty() && !config.danger_allow_loopback {
            return Err(Error::about(Code::ConfigRefused, "hosts needs danger_allow_loopback"));
        }
        Ok(config)
    }

    /// Where the platforms are.
    ///
    /// # Errors
    /// `config_refused` for a key of a log or witness that is none.
    pub fn endpoints(&self) -> Result<Endpoints> {
        let endpoints = Endpoints::named(&NamedEndpoints {
            github: self.github.as_deref(),
            plc: self.plc.as_deref(),
            bluesky: self.bluesky.as_deref(),
            relays: self.relays.as_deref(),
            sig_servers: &self.sig_servers,
            witnesses: &self.witnesses,
        });
        endpoints.map_err(|_| Error::about(Code::ConfigRefused, "the key of a log or witness"))
    }

    /// What the network is made with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let resolvers = if self.dns.is_empty() {
            kez_core::transport::RESOLVERS.map(String::from).to_vec()
        } else {
            self.dns.clone()
        };
        let danger_allow_loopback = self.danger_allow_loopback;
        Settings { resolvers, hosts: self.hosts.clone(), danger_allow_loopback }
    }
}
