//! The native transport: HTTP over rustls, DNS over HTTPS or plain DNS, nostr relays over
//! WebSocket. It keeps the core's policy, address checks included.

mod dns;
mod http;
mod redirect;
mod relay;

use kez_cli::{Net, Settings};
use kez_core::{
    Code, Transport,
    publish::Web,
    relay::Next,
    transport::{
        Answer, CHAIN_SECONDS, CONNECT_SECONDS, Call, Failure, REQUEST_SECONDS, Request, check_url,
        is_public,
    },
};
use relay::converse;
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The native transport.
pub struct Native {
    stack: OnceLock<Stack>,
    settings: Settings,
    seconds: u64,
}

/// What speaks to the network; made when something is first fetched.
struct Stack {
    /// Keeps connections.
    http: reqwest::Client,
    /// Keeps none.
    once: reqwest::Client,
    tls: Arc<rustls::ClientConfig>,
}

impl Stack {
    fn new(loopback: bool) -> Result<Self, String> {
        use rustls_platform_verifier::BuilderVerifierExt;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|e| e.to_string())?
            .with_no_client_auth();
        let client = || {
            reqwest::Client::builder()
                .user_agent(concat!("kez/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
                .no_proxy()
                .dns_resolver(Arc::new(http::Resolver { loopback }))
                .tls_backend_preconfigured(tls.clone())
        };
        let http = client().build().map_err(|e| e.to_string())?;
        let once = client().pool_max_idle_per_host(0).build().map_err(|e| e.to_string())?;
        Ok(Self { http, once, tls: Arc::new(tls) })
    }
}

impl Native {
    /// A transport with these settings. Nothing is connected yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { stack: OnceLock::new(), settings, seconds: u64::MAX }
    }

    fn stack(&self) -> Result<&Stack, Failure> {
        if self.stack.get().is_none() {
            let stack = Stack::new(self.settings.danger_allow_loopback)
                .map_err(|e| Failure::new(Code::TlsFailed, e))?;
            let _ = self.stack.set(stack);
        }
        self.stack.get().ok_or_else(|| Failure::new(Code::TlsFailed, "no network stack"))
    }

    /// Tests only: a lower limit to the time of a request.
    #[must_use]
    pub const fn with_seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    async fn within<T>(
        &self,
        seconds: u64,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let seconds = seconds.min(self.seconds);
        tokio::time::timeout(Duration::from_secs(seconds), work)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::Timeout, format!("after {seconds} s"))))
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        resolve(host, port, self.settings.danger_allow_loopback).await
    }

    fn checked(&self, url: &str) -> Result<url::Url, Failure> {
        let mut url = check_url(url, self.settings.danger_allow_loopback)?;
        // Tests serve public names on loopback.
        if let Some(base) = url.host_str().and_then(|host| self.settings.hosts.get(host)) {
            let base = check_url(base, true)?;
            let parts = url.set_scheme(base.scheme());
            let host = url.set_host(base.host_str());
            let port = url.set_port(base.port());
            if parts.is_err() || host.is_err() || port.is_err() {
                return Err(Failure::new(Code::AddressRefused, base.as_str()));
            }
        }
        Ok(url)
    }
}

/// Resolves by the system and keeps public addresses only, so that a name that leads inside is
/// never connected to, however often its answer changes.
async fn resolve(host: &str, port: u16, loopback: bool) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| Failure::new(Code::DnsFailed, format!("{host}: {e}")))?;
    let all: Vec<SocketAddr> = found.collect();
    let ok = |a: &SocketAddr| is_public(a.ip()) || (loopback && a.ip().is_loopback());
    let public: Vec<SocketAddr> = all.iter().copied().filter(ok).collect();
    if public.is_empty() && !all.is_empty() {
        return Err(Failure::new(Code::AddressRefused, format!("{host} is at {}", all[0].ip())));
    }
    Ok(public)
}

impl Transport for Native {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        self.fetch_if(request, None).await
    }

    async fn pause(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
}

impl Net for Native {
    type Events = http::Stream;

    async fn fetch_if(&self, request: &Request, etag: Option<&str>) -> Result<Answer, Failure> {
        let seconds = request.seconds();
        match request {
            Request::Http { url, accept, limit, truncate, redirects } => {
                let (limit, truncate, redirects) = (*limit, *truncate, *redirects);
                let get = http::Get { url, accept, limit, truncate, redirects, etag };
                self.within(seconds, self.get(&get, false)).await
            }
            Request::Txt { name } => self.within(seconds, self.txt(name)).await,
            Request::Relay { url, filters } => self.relay(url, filters, seconds).await,
        }
    }

    async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        let client = &self.stack()?.http;
        self.within(CHAIN_SECONDS, self.send(client, call)).await
    }

    async fn listen(&self, url: &str) -> Result<http::Stream, Failure> {
        self.within(CHAIN_SECONDS, self.events(url)).await
    }

    type Redirect = redirect::Redirect;

    async fn redirect(&self, page: &'static str) -> Result<redirect::Redirect, Failure> {
        redirect::Redirect::new(page).await
    }
}

impl Web for Native {
    fn random(&self) -> kez_core::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        crate::fill_random(&mut bytes)?;
        Ok(bytes)
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let client = &self.stack()?.once;
        self.within(CHAIN_SECONDS, self.send(client, call)).await
    }

    async fn exchange(&self, server: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.within(REQUEST_SECONDS, self.exchange_with(server, message)).await
    }

    async fn talk<T>(
        &self,
        url: &str,
        seconds: u64,
        first: Vec<String>,
        receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> Result<T, Failure> {
        self.within(seconds, async { converse(self.connect(url).await?, first, receive).await })
            .await
    }
}
