//! HTTP: no redirect to another host, a bounded body, public addresses only.

use super::Native;
use kez_core::{
    Code,
    transport::{Answer, Body, Failure, Headers, MAX_REDIRECTS, Via, redirect},
};
use std::error::Error as _;

/// The resolver of the HTTP client; address literals are checked before, with the URL.
pub(super) struct Resolver {
    pub(super) loopback: bool,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let loopback = self.loopback;
        Box::pin(async move {
            let found = super::resolve(name.as_str(), 0, loopback).await;
            match found {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs),
                Err(failure) => Err(Box::new(Refused(failure)) as Box<_>),
            }
        })
    }
}

/// Carries a failure through the client's error type.
#[derive(Debug)]
struct Refused(Failure);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.code)
    }
}

impl std::error::Error for Refused {}

impl Native {
    pub(super) async fn get(
        &self,
        url: &str,
        accept: &str,
        limit: usize,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut logical =
            url::Url::parse(url).map_err(|_| Failure::new(Code::AddressRefused, url))?;
        let client = &self.stack()?.http;
        for _ in 0..=MAX_REDIRECTS {
            let target = self.checked(logical.as_str())?;
            let mut request = client.get(target.clone()).header("accept", accept);
            if let (true, Some(host)) = (target != logical, logical.host_str()) {
                request = request.header("host", host);
            }
            if let Some(etag) = etag {
                request = request.header("if-none-match", etag);
            }
            // A server may close a kept connection just as it is used again; once more may pass.
            let again = request.try_clone();
            let response = match (request.send().await, again) {
                (Err(error), Some(again)) if error.is_request() && !error.is_connect() => {
                    again.send().await
                }
                (response, _) => response,
            };
            let response = response.map_err(|e| failure(&e))?;
            let status = response.status().as_u16();
            let location = response.headers().get("location").and_then(|v| v.to_str().ok());
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                logical = redirect(&logical, location)?;
                continue;
            }
            return read(response, limit).await;
        }
        Err(Failure::new(Code::RedirectRefused, format!("more than {MAX_REDIRECTS} redirects")))
    }

    pub(super) async fn send(
        &self,
        url: &str,
        kind: &str,
        body: String,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let target = self.checked(url)?;
        let client = &self.stack()?.http;
        let request = client.post(target).header("content-type", kind).body(body);
        let response = request.send().await.map_err(|e| failure(&e))?;
        let status = response.status().as_u16();
        match read(response, kez_core::transport::MAX_BODY).await?.body {
            Body::Http { bytes, .. } => Ok((status, bytes)),
            _ => Ok((status, Vec::new())),
        }
    }
}

async fn read(mut response: reqwest::Response, limit: usize) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers: Headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let too_large = || Failure::new(Code::BodyTooLarge, format!("more than {limit} bytes"));
    if response.content_length().is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| failure(&e))? {
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    let body = Body::Http { status, headers, bytes };
    Ok(Answer { body, via: Via::Direct, fetched_at: crate::now() })
}

/// Names the reason of a client error by its innermost cause.
fn failure(error: &reqwest::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Refused(failure)) = cause.downcast_ref() {
            return failure.clone();
        }
        if is_tls(cause) {
            return Failure::new(Code::TlsFailed, cause.to_string());
        }
        text = cause.to_string();
        source = cause.source();
    }
    let code = if error.is_timeout() {
        Code::Timeout
    } else if error.is_connect() {
        Code::ConnectFailed
    } else {
        Code::ResponseRefused
    };
    Failure::new(code, text)
}

/// Whether an error comes from TLS. I/O errors hide what they wrap from `source`.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|e| is_tls(e))
}
