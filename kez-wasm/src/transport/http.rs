//! GET through `fetch`: no header but `Accept`, only redirects that the request allows, a bounded
//! body. `fetch` undoes content codings.

use super::{Browser, Limit, check_url, redirect, words};
#[cfg(feature = "sign")]
use gloo_net::http::Method;
use gloo_net::http::{Request, RequestBuilder, Response};
use js_sys::{Promise, Reflect, Uint8Array, futures::JsFuture};
#[cfg(feature = "cli")]
use kez_cli::host::{Events, SILENCE};
#[cfg(feature = "sign")]
use kez_core::transport::{Call, MAX_CALL};
use kez_core::{
    Code, Kind,
    transport::{
        Answer, Body, Failure, MAX_REDIRECTS, Redirects, Request as Wanted, Via, too_many_redirects,
    },
};
#[cfg(feature = "cli")]
use kez_core::{
    chat::{EventReader, StreamEvent},
    transport::CHAIN_SECONDS,
};
#[cfg(feature = "cli")]
use std::collections::VecDeque;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    ReadableStreamDefaultReader, ReferrerPolicy, RequestCache, RequestCredentials, RequestRedirect,
    ResponseType,
};

/// A GET.
pub(super) struct Get<'a> {
    pub(super) url: &'a str,
    pub(super) accept: &'a str,
    /// The largest body in bytes.
    pub(super) size: usize,
    pub(super) truncate: bool,
    pub(super) redirects: Redirects,
    pub(super) etag: Option<&'a str>,
}

impl Browser {
    /// Fetches a page. Of a host that is not reached it is found out whether its name is known.
    pub(crate) async fn get(
        &self,
        request: &Wanted,
        limit: &Limit,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let Wanted::Http { url, accept, limit: size, truncate, redirects } = request else {
            return Err(Failure::new(Code::ResponseRefused, "not an HTTP request"));
        };
        let (size, truncate, redirects) = (*size, *truncate, *redirects);
        let get = Get { url, accept, size, truncate, redirects, etag };
        match self.follow(&get, limit).await {
            Err(failure)
                // After an abort, no resolver is asked.
                if !limit.either.aborted()
                    && matches!(
                        failure.code,
                        Code::ConnectFailed | Code::DnsFailed | Code::HostUnknown
                    ) =>
            {
                Err(self.without_address(url, failure, limit).await)
            }
            answer => answer,
        }
    }

    /// Follows the redirects that a GET allows.
    pub(super) async fn follow(&self, get: &Get<'_>, limit: &Limit) -> Result<Answer, Failure> {
        let mut target = check_url(get.url, self.loopback)?;
        for hop in 0..=MAX_REDIRECTS {
            let request = |redirect| {
                let request = RequestBuilder::new(&target.href());
                // Only where nothing preflights: pages leave this to the HTTP cache.
                let request = match get.etag {
                    Some(etag) => request.header("if-none-match", etag),
                    None => request,
                };
                request
                    .header("accept", get.accept)
                    // The HTTP cache may hold the body, but the server is asked whether it is new.
                    .cache(RequestCache::NoCache)
                    .credentials(RequestCredentials::Omit)
                    .referrer_policy(ReferrerPolicy::NoReferrer)
                    .redirect(redirect)
                    .abort_signal(Some(&limit.either))
            };
            let mut moved = hop > 0;
            let mut response = self.send(request(RequestRedirect::Manual).build(), limit).await?;
            // Pages may not see where a redirect leads before it is followed; others may.
            if response.type_() == ResponseType::Opaqueredirect {
                response = self.send(request(RequestRedirect::Follow).build(), limit).await?;
                target = redirect(&target, &response.url(), get.redirects, self.loopback)?;
                moved = true;
            }
            let location = response.headers().get("location");
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (response.status(), location) {
                target = redirect(&target, &location, get.redirects, self.loopback)?;
                continue;
            }
            let mut answer = self.read(response, get.size, get.truncate, limit).await?;
            if let (Body::Http { redirected_to, .. }, true) = (&mut answer.body, moved) {
                *redirected_to = Some(target.href());
            }
            return Ok(answer);
        }
        Err(too_many_redirects(&target.hostname()))
    }

    /// Sends what may change something.
    #[cfg(feature = "sign")]
    pub(crate) async fn send_call(&self, call: Call, limit: &Limit) -> Result<Answer, Failure> {
        let target = check_url(&call.url, self.loopback)?;
        let method = match call.method {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => Method::GET,
        };
        let mut request = RequestBuilder::new(&target.href())
            .method(method)
            .credentials(RequestCredentials::Omit)
            .referrer_policy(ReferrerPolicy::NoReferrer)
            .abort_signal(Some(&limit.either));
        if let Some(authorization) = &call.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(proof) = &call.dpop {
            request = request.header("dpop", proof);
        }
        let request = match call.body {
            Some((kind, body)) => request.header("content-type", kind).body(body),
            None => request.build(),
        };
        let response = self.send(request, limit).await?;
        self.read(response, MAX_CALL, false, limit).await
    }

    /// Opens a stream of events.
    #[cfg(feature = "cli")]
    pub(crate) async fn open_events(&self, url: &str) -> Result<Stream, Failure> {
        // The URL has a signature in it, which no failure tells.
        let target = check_url(url, self.loopback).map_err(|f| Failure { detail: None, ..f })?;
        let request = RequestBuilder::new(&target.href())
            .header("accept", "text/event-stream")
            .credentials(RequestCredentials::Omit)
            .referrer_policy(ReferrerPolicy::NoReferrer)
            .cache(RequestCache::NoStore);
        let limit = self.within(CHAIN_SECONDS);
        let response = self.send(request.build(), &limit).await?;
        match (response.status(), response.body()) {
            (200, Some(body)) => Ok(Stream {
                body: body.get_reader().unchecked_into(),
                reader: EventReader::default(),
                ready: VecDeque::new(),
            }),
            (status, _) => Err(Failure::new(Code::HttpStatus, status.to_string())),
        }
    }

    async fn send(
        &self,
        request: Result<Request, gloo_net::Error>,
        limit: &Limit,
    ) -> Result<Response, Failure> {
        let failed =
            |why: String| limit.timeout().unwrap_or_else(|| Failure::new(Code::ConnectFailed, why));
        let request = request.map_err(|e| failed(e.to_string()))?;
        let Some(fetch) = &self.fetch else {
            return request.send().await.map_err(|e| failed(e.to_string()));
        };
        // A `fetch` that knows more than "failed" says so by one of our codes.
        let thrown = |error: JsValue| match network_code(&error) {
            Some(code) => Failure::new(code, words(&error)),
            None => failed(words(&error)),
        };
        let request: web_sys::Request = request.into();
        let promise = fetch.call1(&JsValue::UNDEFINED, &request);
        let promise: Promise = promise.map_err(thrown)?.unchecked_into();
        let response = JsFuture::from(promise).await.map_err(thrown)?;
        let response: web_sys::Response = response.unchecked_into();
        Ok(response.into())
    }

    async fn read(
        &self,
        response: Response,
        size: usize,
        truncate: bool,
        limit: &Limit,
    ) -> Result<Answer, Failure> {
        let status = response.status();
        let headers = response.headers().entries().collect();
        let mut bytes = Vec::new();
        if let Some(body) = response.body() {
            let cut = |e: JsValue| {
                let why = words(&e);
                limit.timeout().unwrap_or_else(|| Failure::new(Code::ResponseRefused, why))
            };
            let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
            loop {
                let step = JsFuture::from(reader.read()).await.map_err(cut)?;
                if Reflect::get(&step, &"done".into()).is_ok_and(|done| done.is_truthy()) {
                    break;
                }
                let chunk = Reflect::get(&step, &"value".into()).map_err(cut)?;
                let chunk = Uint8Array::new(&chunk);
                let room = size - bytes.len();
                if chunk.length() as usize > room {
                    let _ = reader.cancel();
                    if truncate {
                        bytes.extend(chunk.to_vec().into_iter().take(room));
                        break;
                    }
                    let why = format!("more than {size} bytes");
                    return Err(Failure::new(Code::BodyTooLarge, why));
                }
                bytes.extend(chunk.to_vec());
            }
        }
        let body = Body::Http { status, headers, bytes, redirected_to: None };
        Ok(Answer { body, via: Via::Direct, fetched_at: self.now() })
    }
}

/// A stream of events.
#[cfg(feature = "cli")]
pub struct Stream {
    body: ReadableStreamDefaultReader,
    reader: EventReader,
    ready: VecDeque<StreamEvent>,
}

#[cfg(feature = "cli")]
impl Events for Stream {
    async fn next(&mut self) -> Result<Option<StreamEvent>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let silence = Limit::of(None, SILENCE * 1000);
            let Ok(step) = silence.end(self.body.read()).await else {
                let _ = self.body.cancel();
                return Ok(None);
            };
            let cut = |e: JsValue| Failure::new(Code::ResponseRefused, words(&e));
            let step = step.map_err(cut)?;
            if Reflect::get(&step, &"done".into()).is_ok_and(|done| done.is_truthy()) {
                return Ok(None);
            }
            let chunk = Reflect::get(&step, &"value".into()).map_err(cut)?;
            let refused = |e: kez_core::Error| Failure::new(e.code(), "a stream's event");
            let events = self.reader.push(&Uint8Array::new(&chunk).to_vec()).map_err(refused)?;
            self.ready.extend(events);
        }
    }
}

/// The code of kind network that a thrown value carries.
fn network_code(thrown: &JsValue) -> Option<Code> {
    let name = Reflect::get(thrown, &"code".into()).ok()?.as_string()?;
    Code::from_name(&name).filter(|code| code.kind() == Kind::Network)
}
