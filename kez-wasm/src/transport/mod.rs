//! The transport of browsers and of everything that has `fetch` and `WebSocket`: it sets no
//! header but `Accept`, so that no request is preflighted, sends no cookies and no referrer, and
//! asks names through DNS over HTTPS.

pub(crate) mod http;
mod relay;

use js_sys::{Array, Function, Promise, Reflect, futures::JsFuture};
use kez_core::{
    Code, Timestamp, Transport, dns,
    transport::{Answer, Body, Failure, Parts, Request, Via, is_public},
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
fn redirect(from: &Url, location: &str) -> Result<Url, Failure> {
    let next = Url::new_with_base(location, &from.href()).ok();
    let next = next.filter(|next| next.origin() == from.origin());
    next.ok_or_else(|| Failure::new(Code::RedirectRefused, location))
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
            match self.ask(resolver, name, limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn ask(&self, resolver: &str, name: &str, limit: &Limit) -> Result<Answer, Failure> {
        let failed = |why: String| Failure::new(Code::DnsFailed, why);
        if resolver.starts_with("http") {
            let url = dns::doh_url(resolver, name)?;
            let answer = self.get(&url, dns::MEDIA_TYPE, dns::MAX_MESSAGE, limit, None).await?;
            let Body::Http { status, bytes, .. } = answer.body else {
                return Err(failed(resolver.to_owned()));
            };
            if status != 200 {
                return Err(failed(format!("{resolver} answered with status {status}")));
            }
            let body = dns::read(&bytes, 0, name)?;
            return Ok(Answer { body, via: Via::Doh, fetched_at: answer.fetched_at });
        }
        #[cfg(feature = "cli")]
        if self.exchange.is_some() {
            return self.ask_plain(resolver, name, limit).await;
        }
        Err(failed(format!("{resolver}: only https resolvers can be asked from here")))
    }

    /// Asks a resolver by the host's UDP or TCP.
    #[cfg(feature = "cli")]
    async fn ask_plain(
        &self,
        resolver: &str,
        name: &str,
        limit: &Limit,
    ) -> Result<Answer, Failure> {
        let random =
            crate::random().map_err(|e| Failure::new(e.code(), e.context().unwrap_or_default()))?;
        let id = u16::from_le_bytes([random[0], random[1]]);
        let bytes = self.ask_name_server(resolver, &dns::query(name, id)?, limit).await?;
        let body = dns::read(&bytes, id, name)?;
        Ok(Answer { body, via: Via::Direct, fetched_at: self.now() })
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

impl Transport for Browser {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        let limit = self.within(request.seconds());
        match request {
            Request::Http { url, accept, limit: size, .. } => {
                self.get(url, accept, *size, &limit, None).await
            }
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
