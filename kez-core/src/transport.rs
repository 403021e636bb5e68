//! What a channel may ask for, what comes back, and the policy that every transport keeps
//! (SPEC.md, "Transport").

use crate::{
    Code, Error, Timestamp,
    json::Value,
    log::{NoteKey, SigServer},
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest body of a platform's answer in bytes.
pub const MAX_BODY: usize = 256 * 1024;
/// Seconds that one request may take in all.
pub const REQUEST_SECONDS: u64 = 10;
/// Seconds that fetching a whole chain may take.
pub const CHAIN_SECONDS: u64 = 30;
/// Seconds that fetching a chain from a relay may take.
pub const RELAY_CHAIN_SECONDS: u64 = 20;
/// Seconds that connecting may take, within the request's own.
pub const CONNECT_SECONDS: u64 = 5;
/// How many requests run side by side.
pub const MAX_CONCURRENCY: usize = 8;
/// How many redirects are followed.
pub const MAX_REDIRECTS: usize = 3;
/// How many events a relay may send in answer to one REQ.
pub const MAX_RELAY_EVENTS: usize = 1200;

/// One thing to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An HTTP GET. No header but `Accept` is set, so that browsers need no preflight.
    Http {
        /// The absolute URL.
        url: String,
        /// The `Accept` header.
        accept: &'static str,
        /// The largest body in bytes, after decompression.
        limit: usize,
        /// Whether a larger body is cut at the limit. Otherwise it is an error.
        truncate: bool,
        /// Which redirects may be followed.
        redirects: Redirects,
    },
    /// The TXT records of a name.
    Txt {
        /// The name, without trailing dot.
        name: String,
    },
    /// Events of a nostr relay (NIP-01). Each filter is a REQ of its own, paged by itself.
    Relay {
        /// The relay's ws or wss URL.
        url: String,
        /// The filters, each asked for in a REQ of its own.
        filters: Vec<Value>,
    },
}

/// Which redirects a GET may follow, at most [`MAX_REDIRECTS`] of them (SPEC.md, "Redirects").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Within the same scheme, host and port: for APIs whose host is the authority.
    SameHost,
    /// From https to https on any public host, each address checked anew: for content that
    /// authenticates itself, and for protocols whose specifications allow it.
    Public,
}

impl Request {
    /// A GET of at most [`MAX_BODY`] that stays on its host.
    #[must_use]
    pub const fn get(url: String, accept: &'static str) -> Self {
        let (limit, redirects) = (MAX_BODY, Redirects::SameHost);
        Self::Http { url, accept, limit, truncate: false, redirects }
    }

    /// A GET of at most [`MAX_BODY`] that follows redirects to other public hosts.
    #[must_use]
    pub const fn get_public(url: String, accept: &'static str) -> Self {
        let (limit, redirects) = (MAX_BODY, Redirects::Public);
        Self::Http { url, accept, limit, truncate: false, redirects }
    }

    /// A GET that follows redirects to other public hosts and reads only the first bytes of the
    /// body: for pages of which the head counts.
    #[must_use]
    pub const fn head_of(url: String, accept: &'static str, limit: usize) -> Self {
        Self::Http { url, accept, limit, truncate: true, redirects: Redirects::Public }
    }

    /// A GET of a sigchain bundle, which authenticates itself.
    #[must_use]
    pub const fn bundle(url: String) -> Self {
        let (limit, redirects) = (crate::chain::MAX_BUNDLE, Redirects::Public);
        Self::Http { url, accept: "*/*", limit, truncate: false, redirects }
    }

    /// How many seconds it may take.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        match self {
            Self::Http { limit, .. } if *limit > MAX_BODY => CHAIN_SECONDS,
            Self::Relay { filters, .. } if filters.iter().any(|f| f.get("#i").is_some()) => {
                RELAY_CHAIN_SECONDS
            }
            _ => REQUEST_SECONDS,
        }
    }

    /// What tells it from other requests, for caches: two requests for a chain that differ only
    /// in how much of the server's log was seen before are one.
    #[must_use]
    pub fn cache_key(&self) -> String {
        match self {
            Self::Http { url, accept, truncate, .. } => {
                let (url, _) = url.split_once("?log=").unwrap_or((url, ""));
                let part = if *truncate { "head of " } else { "" };
                alloc::format!("{accept} {part}{url}")
            }
            other => alloc::format!("{other:?}"),
        }
    }

    /// Where it goes, as reports show it.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Http { url, .. } | Self::Relay { url, .. } => url.clone(),
            Self::Txt { name } => alloc::format!("dns:{name}?type=TXT"),
        }
    }
}

/// The largest answer to a call in bytes.
pub const MAX_CALL: usize = 8 * 1024 * 1024;

/// A request that may change something, or that is made as somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// The URL.
    pub url: String,
    /// The value of `Authorization`, a secret.
    pub authorization: Option<String>,
    /// The value of `DPoP` (RFC 9449).
    pub dpop: Option<String>,
    /// The media type and the body.
    pub body: Option<(&'static str, String)>,
}

/// Without what is secret.
impl core::fmt::Debug for Call {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Call({} {})", self.method, self.url)
    }
}

/// Where something was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Place {
    /// The exact URL that was asked; `dns:<name>?type=TXT` for DNS.
    pub url: String,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub http_status: Option<u16>,
    /// The DNS response code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub rcode: Option<u8>,
    /// The URL that answered, if redirects led to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "types", ts(optional))]
    pub redirected_to: Option<String>,
}

/// How an answer was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Via {
    /// From the platform itself.
    Direct,
    /// Through a DNS-over-HTTPS resolver.
    Doh,
    /// From the local cache.
    Cache,
    /// From a file.
    File,
}

/// A fetched answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What came.
    pub body: Body,
    /// How.
    pub via: Via,
    /// When it was fetched from the platform.
    pub fetched_at: Timestamp,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An HTTP answer of any status.
    Http {
        /// The status code.
        status: u16,
        /// Headers with lower-case names.
        headers: Headers,
        /// The body.
        bytes: Vec<u8>,
        /// The URL that answered, if redirects led to another one.
        redirected_to: Option<String>,
    },
    /// TXT records, each with its character-strings joined.
    Txt {
        /// The DNS response code (RFC 1035: 0 no error, 2 failure, 3 no such name).
        rcode: u8,
        /// The records.
        records: Vec<Vec<u8>>,
        /// The resolver's AD bit: it says that it validated DNSSEC.
        authentic: bool,
        /// For how many seconds it may give this answer again (RFC 2181, section 8, and of an
        /// absence RFC 2308, section 5), if it says so.
        ttl: Option<u32>,
    },
    /// What a relay sent, unverified: one entry for each filter, in the filters' order.
    Relay {
        /// The entries.
        answers: Vec<RelayAnswer>,
    },
}

/// What a relay sent in answer to one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAnswer {
    /// The events, each once.
    pub events: Vec<Value>,
    /// Why these may not be all matching events of the relay; `None` if they are.
    pub failure: Option<Failure>,
}

impl Body {
    /// Every event that a relay sent; none for other answers.
    pub fn relay_events(&self) -> impl Iterator<Item = &Value> {
        let answers = match self {
            Self::Relay { answers } => &answers[..],
            _ => &[],
        };
        answers.iter().flat_map(|answer| &answer.events)
    }
}

/// Names and values of HTTP headers.
pub type Headers = Vec<(String, String)>;

/// The value of a header, by its lower-case name.
#[must_use]
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Why no answer was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A code of kind network.
    pub code: Code,
    /// In the transport's words.
    pub detail: Option<String>,
}

impl Failure {
    /// A failure with words.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: Some(detail.into()) }
    }

    /// As an error about the place that was asked.
    #[must_use]
    pub fn at(self, place: &str) -> Error {
        Error::about(self.code, alloc::format!("{place}: {}", self.detail.unwrap_or_default()))
    }
}

/// Fetches for the verifier. Implementations keep the policy of this module and hold no rule of
/// the protocol.
pub trait Transport {
    /// Fetches one answer.
    fn fetch(&self, request: &Request) -> impl Future<Output = Result<Answer, Failure>>;

    /// Waits. The verifier uses it to stop waiting for slow servers once others have answered.
    fn pause(&self, milliseconds: u32) -> impl Future<Output = ()>;
}

/// Where the platforms are. The defaults are the public services; tests name their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// GitHub's REST API.
    pub github: String,
    /// The PLC directory.
    pub plc: String,
    /// An atproto service that resolves handles.
    pub bluesky: String,
    /// Relays that are asked for nostr keys.
    pub relays: Vec<String>,
    /// Sigchain servers.
    pub sig_servers: Vec<SigServer>,
    /// Witnesses of their logs. More than half of them must have cosigned a checkpoint.
    pub witnesses: Vec<NoteKey>,
}

impl Default for Endpoints {
    fn default() -> Self {
        let relays = ["wss://relay.damus.io", "wss://nos.lol", "wss://relay.primal.net"];
        Self {
            github: "https://api.github.com".to_owned(),
            plc: "https://plc.directory".to_owned(),
            bluesky: "https://public.api.bsky.app".to_owned(),
            relays: relays.map(ToOwned::to_owned).to_vec(),
            sig_servers: Vec::new(),
            witnesses: Vec::new(),
        }
    }
}

/// Endpoints that a user names instead of the defaults. Base URLs may end with a slash.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedEndpoints<'a> {
    /// GitHub's REST API.
    pub github: Option<&'a str>,
    /// The PLC directory.
    pub plc: Option<&'a str>,
    /// An atproto service that resolves handles.
    pub bluesky: Option<&'a str>,
    /// Relays, instead of the default ones.
    pub relays: Option<&'a [String]>,
    /// Sigchain servers; each may carry its log's key ([`SigServer`]).
    pub sig_servers: &'a [String],
    /// Keys of witnesses.
    pub witnesses: &'a [String],
}

impl Endpoints {
    /// The default endpoints, except where the user names others.
    ///
    /// # Errors
    /// `log_refused` for an invalid key of a log or witness.
    ///
    /// ```
    /// use kez_core::{Endpoints, transport::NamedEndpoints};
    /// let named = NamedEndpoints { github: Some("https://ghe.example/"), ..Default::default() };
    /// assert_eq!(Endpoints::named(&named)?.github, "https://ghe.example");
    /// # Ok::<(), kez_core::Error>(())
    /// ```
    pub fn named(named: &NamedEndpoints<'_>) -> crate::Result<Self> {
        let mut endpoints = Self::default();
        let set = |own: &mut String, other: Option<&str>| {
            if let Some(url) = other {
                *own = url.trim_end_matches('/').to_owned();
            }
        };
        set(&mut endpoints.github, named.github);
        set(&mut endpoints.plc, named.plc);
        set(&mut endpoints.bluesky, named.bluesky);
        if let Some(relays) = named.relays {
            endpoints.relays = relays.to_vec();
        }
        for text in named.sig_servers {
            endpoints.sig_servers.push(SigServer::parse(text)?);
        }
        for vkey in named.witnesses {
            endpoints.witnesses.push(NoteKey::parse_witness(vkey)?);
        }
        Ok(endpoints)
    }
}

/// The public resolvers that are asked where the user names none (DNS over HTTPS).
pub const RESOLVERS: [&str; 2] =
    ["https://cloudflare-dns.com/dns-query", "https://dns.google/dns-query"];

/// Checks a URL before it is asked: https or wss, no credentials, and no literal of an address
/// that is not public. With `loopback` (tests only), http and ws to loopback pass as well.
///
/// # Errors
/// `address_refused`.
///
/// ```
/// use kez_core::transport::check_url;
/// assert!(check_url("https://example.com/", false).is_ok());
/// assert!(check_url("https://0x7f.1/", false).is_err());
/// ```
#[cfg(feature = "url")]
pub fn check_url(url: &str, loopback: bool) -> Result<url::Url, Failure> {
    let parsed = url::Url::parse(url).ok().filter(|url| {
        let parts = Parts {
            scheme: url.scheme(),
            host: url.host_str().unwrap_or_default(),
            credentials: !url.username().is_empty() || url.password().is_some(),
        };
        parts.allowed(loopback)
    });
    parsed.ok_or_else(|| Failure::new(Code::AddressRefused, url))
}

/// Where a redirect leads, if it may be followed ([`Redirects`]).
///
/// # Errors
/// `redirect_refused`, with both hosts.
///
/// ```
/// use kez_core::transport::{Redirects, check_url, redirect};
/// let from = check_url("https://example.com/a", false).unwrap();
/// let follow = |to, policy| redirect(&from, to, policy, false).map(String::from);
/// assert_eq!(follow("/b", Redirects::SameHost).unwrap(), "https://example.com/b");
/// let other = "https://example.net/b";
/// assert_eq!(follow(other, Redirects::Public).unwrap(), other);
/// let refused = follow(other, Redirects::SameHost).unwrap_err();
/// assert_eq!(refused.detail.unwrap(), "example.com redirects to example.net");
/// assert!(follow("https://10.0.0.1/", Redirects::Public).is_err());
/// assert!(follow("http://example.net/b", Redirects::Public).is_err());
/// ```
#[cfg(feature = "url")]
pub fn redirect(
    from: &url::Url,
    location: &str,
    redirects: Redirects,
    loopback: bool,
) -> Result<url::Url, Failure> {
    let Ok(next) = from.join(location) else {
        let host = from.host_str().unwrap_or_default();
        return Err(Failure::new(
            Code::RedirectRefused,
            alloc::format!("{host} redirects nowhere"),
        ));
    };
    let public = redirects == Redirects::Public
        && next.scheme() == from.scheme()
        && check_url(next.as_str(), loopback).is_ok();
    if public || next.origin() == from.origin() {
        return Ok(next);
    }
    let name = |url: &url::Url| url.host_str().map(ToOwned::to_owned).unwrap_or_default();
    let origin = |url: &url::Url| url.origin().ascii_serialization();
    Err(redirect_refused([&name(from), &name(&next)], [&origin(from), &origin(&next)]))
}

/// The failure of a redirect that is not followed. It names the hosts, or, if they are the same,
/// what else differs.
#[must_use]
pub fn redirect_refused(hosts: [&str; 2], origins: [&str; 2]) -> Failure {
    let [from, to] = if hosts[0] == hosts[1] || hosts[1].is_empty() { origins } else { hosts };
    Failure::new(Code::RedirectRefused, alloc::format!("{from} redirects to {to}"))
}

/// The failure of too many redirects.
#[must_use]
pub fn too_many_redirects(host: &str) -> Failure {
    let why = alloc::format!("{host} redirects more than {MAX_REDIRECTS} times");
    Failure::new(Code::RedirectRefused, why)
}

/// The parts of a URL that decide whether it may be asked, as a parser by the URL standard gives
/// them: that of the crate `url`, or the one of a WebAssembly module's host.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `https`, say.
    pub scheme: &'a str,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// Whether a user or a password is named.
    pub credentials: bool,
}

impl Parts<'_> {
    /// Whether such a URL may be asked, by the policy of [`check_url`].
    #[must_use]
    pub fn allowed(&self, loopback: bool) -> bool {
        let name = self.host;
        let bare = name.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let local = name == "localhost" || name.ends_with(".localhost");
        let address = match bare.unwrap_or(name).parse::<IpAddr>() {
            Err(_) if local => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            address => address.ok(),
        };
        let secure = matches!(self.scheme, "https" | "wss");
        let plain = matches!(self.scheme, "http" | "ws");
        let ok = match address {
            Some(ip) if loopback && ip.is_loopback() => secure || plain,
            Some(ip) => secure && is_public(ip),
            None => secure,
        };
        ok && !name.is_empty() && !self.credentials
    }
}

/// Whether an address is public unicast. Loopback, private, link-local, shared, multicast,
/// documentation and translated ranges are not.
///
/// ```
/// use kez_core::transport::is_public;
/// assert!(is_public("9.9.9.9".parse().unwrap()));
/// assert!(!is_public("::ffff:127.0.0.1".parse().unwrap()));
/// ```
#[must_use]
pub const fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

const fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 224)
}

const fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Only global unicast (2000::/3), without the ranges inside it that lead elsewhere:
    // 2001::/23 (Teredo and other special uses), 2001:db8::/32, 2002::/16 (6to4), 3fff::/20.
    s[0] & 0xe000 == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && s[0] != 0x2002
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

/// When a platform that limits requests says that it may be asked again: `Retry-After` in
/// seconds, or the reset time of the three header families in use, as epoch or RFC 3339.
pub(crate) fn retry_at(headers: &[(String, String)], fetched_at: Timestamp) -> Option<Timestamp> {
    if let Some(seconds) = header(headers, "retry-after").and_then(|v| v.parse::<i64>().ok()) {
        return Some(fetched_at.plus(seconds));
    }
    let reset =
        header(headers, "x-ratelimit-reset").or_else(|| header(headers, "ratelimit-reset"))?;
    if let Ok(n) = reset.parse::<i64>() {
        // The standard draft counts seconds from now, the older headers give an epoch.
        return Some(if n < 1_000_000_000 {
            fetched_at.plus(n)
        } else {
            Timestamp::from_seconds(n)
        });
    }
    let whole = reset.get(..19)?;
    alloc::format!("{whole}Z").parse().ok()
}

impl Answer {
    pub(crate) fn place(&self, request: &Request) -> Place {
        let mut place = Place { url: request.place(), ..Place::default() };
        match &self.body {
            Body::Http { status, redirected_to, .. } => {
                place.http_status = Some(*status);
                place.redirected_to.clone_from(redirected_to);
            }
            Body::Txt { rcode, .. } => place.rcode = Some(*rcode),
            Body::Relay { .. } => {}
        }
        place
    }
}
