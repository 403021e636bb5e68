//! The transport of browsers and of everything that has `fetch` and `WebSocket`: it sets no
//! header but `Accept`, so that no request is preflighted, sends no cookies and no referrer, and
//! asks names through DNS over HTTPS.

pub(crate) mod http;
mod relay;

use http::Get;
use js_sys::{Array, Function, Promise, Reflect, futures::JsFuture};
use kez_core::{
    Code, Timestamp, Transport,
    dns::{self, Address},
    transport::{
        Answer, Body, Failure, Parts, Redirects, Request, Via, is_public, redirect_refused,
    },
};
use std::pin::Pin;
#[cfg(feature = "cli")]
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Url};

/// What the host hands in.
pub struct Browser {
    /// `fetch`, where it is not the global one.
    pub fetch: Option<Function>,
    /// The `WebSocket` class, where it is not the global one.
    pub web_socket: Option<Function>,
    /// Asks a resolver by plain DNS: `(server, message) => Promise<Uint8Array>`.
    #[cfg(feature = "cli")]
    pub exchange: Option<Function>,
    /// Listens for a browser that comes back: `(page) => Promise<{port, query}>`.
    #[cfg(feature = "cli")]
    pub redirect: Option<Function>,
    /// The clock: milliseconds since 1970.
    pub clock: Function,
    /// Ends everything.
    pub signal: Option<AbortSignal>,
    /// Resolvers, asked in order.
    pub resolvers: Vec<String>,
    /// Tests only: allows plain http and addresses in loopback.
    pub loopback: bool,
}

/// Checks a URL as `kez_core::transport::check_url` does, by the host's own parser.
pub(crate) fn check_url(url: &str, loopback: bool) -> Result<Url, Failure> {
    let parsed = Url::new(url).ok().filter(|url| {
        let (scheme, host) = (url.protocol(), url.hostname());
        let credentials = !(url.username() + &url.password()).is_empty();
        let scheme = scheme.trim_end_matches(':');
        Parts { scheme, host: &host, credentials }.allowed(loopback)
    });
    parsed.ok_or_else(|| Failure::new(Code::AddressRefused, url))
}

/// Where a redirect leads, as `kez_core::transport::redirect` says.
fn redirect(
    from: &Url,
    location: &str,
    redirects: Redirects,
    loopback: bool,
) -> Result<Url, Failure> {
    let Ok(next) = Url::new_with_base(location, &from.href()) else {
        return Err(redirect_refused([&from.hostname(), "nowhere"], [""; 2]));
    };
    let public = redirects == Redirects::Public
        && next.protocol() == from.protocol()
        && check_url(&next.href(), loopback).is_ok();
    if public || next.origin() == from.origin() {
        return Ok(next);
    }
    let hosts = [&*from.hostname(), &next.hostname()];
    Err(redirect_refused(hosts, [&from.origin(), &next.origin()]))
}

impl Browser {
    /// The clock's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.call0(&JsValue::UNDEFINED).ok().and_then(|now| now.as_f64());
        crate::time(now.unwrap_or_default() / 1000.0)
    }

    /// The signal of one request: the user's, or the end of its time.
    pub(crate) fn within(&self, seconds: u64) -> Limit {
        let millis = u32::try_from(seconds * 1000).unwrap_or(u32::MAX);
        Limit::of(self.signal.as_ref(), millis)
    }

    async fn txt(&self, name: &str, limit: &Limit) -> Result<Answer, Failure> {
        let mut last = Failure::new(Code::DnsFailed, "no resolver is configured");
        for resolver in &self.resolvers {
            let question = |id| dns::query(name, id);
            let read = |bytes: &[u8], id| dns::read(bytes, id, name);
            match self.ask(resolver, question, read, limit).await {
                Ok(body) => {
                    let via = if is_doh(resolver) { Via::Doh } else { Via::Direct };
                    return Ok(Answer { body, via, fetched_at: self.now() });
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// What the failure to reach a URL's host means: `host_unknown` if DNS says that it has no
    /// address. `fetch` and `WebSocket` do not say why they fail.
    async fn without_address(&self, url: &str, failure: Failure, limit: &Limit) -> Failure {
        let Ok(host) = Url::new(url).map(|url| url.hostname()) else { return failure };
        let name = host.as_str();
        // Addresses, and names that only this machine knows.
        let literal = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
        if literal || !name.contains('.') || name.ends_with(".localhost") {
            return failure;
        }
        for resolver in &self.resolvers {
            let has = async |kind| {
                let question = |id| dns::address_query(name, id, kind);
                let read = |bytes: &[u8], id| dns::has_address(bytes, id, name, kind);
                self.ask(resolver, question, read, limit).await
            };
            match (has(Address::V4).await, has(Address::V6).await) {
                (Ok(false), Ok(false)) => {
                    return Failure::new(Code::HostUnknown, format!("{name} has no address"));
                }
                // The system's resolver does not know a name that others know.
                (Ok(_), Ok(_)) if failure.code == Code::HostUnknown => {
                    return Failure { code: Code::DnsFailed, ..failure };
                }
                (Ok(_), Ok(_)) => return failure,
                _ => {}
            }
        }
        failure
    }

    /// Asks a resolver one question, which is given an id.
    async fn ask<T>(
        &self,
        resolver: &str,
        question: impl Fn(u16) -> Result<Vec<u8>, Failure>,
        read: impl Fn(&[u8], u16) -> Result<T, Failure>,
        limit: &Limit,
    ) -> Result<T, Failure> {
        let failed = |why: String| Failure::new(Code::DnsFailed, why);
        if is_doh(resolver) {
            // A cached DoH answer must not depend on a random id (RFC 8484, section 4.1).
            let get = Get {
                url: &dns::doh_url(resolver, &question(0)?),
                accept: dns::MEDIA_TYPE,
                size: dns::MAX_MESSAGE,
                truncate: false,
                redirects: Redirects::SameHost,
                etag: None,
            };
            return match self.follow(&get, limit).await?.body {
                Body::Http { status: 200, bytes, .. } => read(&bytes, 0),
                Body::Http { status, .. } => {
                    Err(failed(format!("{resolver} answered with status {status}")))
                }
                _ => Err(failed(resolver.to_owned())),
            };
        }
        #[cfg(feature = "cli")]
        if self.exchange.is_some() {
            // Asked by the host's UDP or TCP.
            let random = crate::random()
                .map_err(|e| Failure::new(e.code(), e.context().unwrap_or_default()))?;
            let id = u16::from_le_bytes([random[0], random[1]]);
            return read(&self.ask_name_server(resolver, &question(id)?, limit).await?, id);
        }
        Err(failed(format!("{resolver}: only https resolvers can be asked from here")))
    }

    /// Sends a DNS message by the host's UDP or TCP, and gives the answer.
    #[cfg(feature = "cli")]
    pub(crate) async fn ask_name_server(
        &self,
        server: &str,
        message: &[u8],
        limit: &Limit,
    ) -> Result<Vec<u8>, Failure> {
        let failed = |why: String| Failure::new(Code::DnsFailed, format!("{server}: {why}"));
        let exchange = self.exchange.as_ref().ok_or_else(|| failed("no plain DNS here".into()))?;
        let message = js_sys::Uint8Array::from(message);
        let asked = exchange.call2(&JsValue::UNDEFINED, &server.into(), &message);
        let bytes = match asked {
            Ok(promise) => limit.end(promise.unchecked_into()).await?,
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|e| failed(words(&e)))?;
        Ok(js_sys::Uint8Array::new(&bytes).to_vec())
    }
}

fn is_doh(resolver: &str) -> bool {
    resolver.starts_with("http")
}

impl Transport for Browser {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        let limit = self.within(request.seconds());
        match request {
            Request::Http { .. } => self.get(request, &limit, None).await,
            Request::Txt { name } => self.txt(name, &limit).await,
            Request::Relay { url, filters } => self.relay(url, filters, &limit).await,
        }
    }

    async fn pause(&self, milliseconds: u32) {
        Limit::of(None, milliseconds).aborted().await;
    }
}

/// Whether an address may be connected to, for a `fetch` that resolves names itself.
#[wasm_bindgen(js_name = isPublicAddress)]
#[must_use]
pub fn is_public_address(text: &str) -> bool {
    text.parse().is_ok_and(is_public)
}

/// The time that one request has.
pub(crate) struct Limit {
    either: AbortSignal,
    timeout: AbortSignal,
    seconds: u64,
}

impl Limit {
    /// The end of so many milliseconds, or of the user's patience.
    pub(crate) fn of(signal: Option<&AbortSignal>, millis: u32) -> Self {
        let timeout = AbortSignal::timeout_with_u32(millis);
        let either = match signal {
            Some(signal) => AbortSignal::any(&Array::of2(signal, &timeout)),
            None => timeout.clone(),
        };
        Self { either, timeout, seconds: (millis / 1000).into() }
    }

    /// `timeout`, if that is why something failed.
    fn timeout(&self) -> Option<Failure> {
        let over = || Failure::new(Code::Timeout, format!("after {} s", self.seconds));
        self.timeout.aborted().then(over)
    }

    /// Waits for a promise that knows nothing of signals, no longer than there is time.
    #[cfg(feature = "cli")]
    pub(crate) async fn end(&self, promise: Promise) -> Result<Result<JsValue, JsValue>, Failure> {
        let aborted = self.aborted();
        let either = futures_util::future::select(JsFuture::from(promise), aborted).await;
        match either {
            futures_util::future::Either::Left((result, _)) => Ok(result),
            futures_util::future::Either::Right((failure, _)) => Err(failure),
        }
    }

    /// Waits until the time is over, or the user gives up.
    fn aborted(&self) -> Pin<Box<dyn Future<Output = Failure>>> {
        let signal = self.either.clone();
        let promise = Promise::new(&mut |resolve, _| {
            if signal.aborted() {
                let _ = resolve.call0(&JsValue::UNDEFINED);
            } else {
                signal.set_onabort(Some(&resolve));
            }
        });
        let over = Failure::new(Code::Timeout, format!("after {} s", self.seconds));
        Box::pin(async move {
            let _ = JsFuture::from(promise).await;
            over
        })
    }
}

/// What a thrown value says.
pub(crate) fn words(thrown: &JsValue) -> String {
    let member = |value: &JsValue, name: &str| {
        Reflect::get(value, &name.into()).ok().filter(|v| !v.is_undefined())
    };
    let text = |value: &JsValue| member(value, "message").and_then(|m| m.as_string());
    let cause = member(thrown, "cause").and_then(|cause| text(&cause));
    cause.or_else(|| text(thrown)).or_else(|| thrown.as_string()).unwrap_or_default()
}
