//! GET through `fetch`: no header but `Accept`, no redirect to another host, a bounded body.

use super::{Browser, Limit, check_url, redirect, words};
use gloo_net::http::{Request, RequestBuilder, Response};
use js_sys::{Promise, Reflect, Uint8Array, futures::JsFuture};
use kez_core::{
    Code, Kind,
    transport::{Answer, Body, Failure, MAX_REDIRECTS, Via},
};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    ReadableStreamDefaultReader, ReferrerPolicy, RequestCache, RequestCredentials, RequestRedirect,
    ResponseType,
};

impl Browser {
    pub(crate) async fn get(
        &self,
        url: &str,
        accept: &str,
        size: usize,
        limit: &Limit,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut target = check_url(url, self.loopback)?;
        for _ in 0..=MAX_REDIRECTS {
            let get = |redirect| {
                let request = RequestBuilder::new(&target.href());
                // Only where nothing preflights: pages leave this to the HTTP cache.
                let request = match etag {
                    Some(etag) => request.header("if-none-match", etag),
                    None => request,
                };
                request
                    .header("accept", accept)
                    // The HTTP cache may hold the body, but the server is asked whether it is new.
                    .cache(RequestCache::NoCache)
                    .credentials(RequestCredentials::Omit)
                    .referrer_policy(ReferrerPolicy::NoReferrer)
                    .redirect(redirect)
                    .abort_signal(Some(&limit.either))
            };
            let mut response = self.send(get(RequestRedirect::Manual).build(), limit).await?;
            // Pages may not see where a redirect leads before it is followed; others may.
            if response.type_() == ResponseType::Opaqueredirect {
                response = self.send(get(RequestRedirect::Follow).build(), limit).await?;
                redirect(&target, &response.url())?;
            }
            let location = response.headers().get("location");
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (response.status(), location) {
                target = redirect(&target, &location)?;
                continue;
            }
            return self.read(response, size, limit).await;
        }
        Err(Failure::new(Code::RedirectRefused, format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Posts to a server that takes chains. Gives status and body.
    #[cfg(feature = "cli")]
    pub(crate) async fn send_post(
        &self,
        url: &str,
        kind: &str,
        body: &str,
        limit: &Limit,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let target = check_url(url, self.loopback)?;
        let request = RequestBuilder::new(&target.href())
            .method(gloo_net::http::Method::POST)
            .header("content-type", kind)
            .credentials(RequestCredentials::Omit)
            .abort_signal(Some(&limit.either))
            .body(body);
        let response = self.send(request, limit).await?;
        let answer = self.read(response, kez_core::transport::MAX_BODY, limit).await?;
        match answer.body {
            Body::Http { status, bytes, .. } => Ok((status, bytes)),
            _ => Ok((0, Vec::new())),
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
                if bytes.len() + chunk.length() as usize > size {
                    let _ = reader.cancel();
                    let why = format!("more than {size} bytes");
                    return Err(Failure::new(Code::BodyTooLarge, why));
                }
                bytes.extend(chunk.to_vec());
            }
        }
        let body = Body::Http { status, headers, bytes };
        Ok(Answer { body, via: Via::Direct, fetched_at: self.now() })
    }
}

/// The code of kind network that a thrown value carries.
fn network_code(thrown: &JsValue) -> Option<Code> {
    let name = Reflect::get(thrown, &"code".into()).ok()?.as_string()?;
    Code::from_name(&name).filter(|code| code.kind() == Kind::Network)
}
