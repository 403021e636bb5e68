//! HTTP: only redirects that the request allows, a bounded body, public addresses only.

use super::Native;
use kez_cli::host::{Events, SILENCE};
use kez_core::{
    Code,
    chat::{EventReader, StreamEvent},
    transport::{
        Answer, Body, Call, Failure, Headers, MAX_CALL, MAX_REDIRECTS, Redirects, Via, redirect,
        too_many_redirects,
    },
};
use std::{collections::VecDeque, error::Error as _, io::Read as _};

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

/// A GET.
pub(super) struct Get<'a> {
    pub(super) url: &'a str,
    pub(super) accept: &'a str,
    pub(super) limit: usize,
    pub(super) truncate: bool,
    pub(super) redirects: Redirects,
    pub(super) etag: Option<&'a str>,
}

impl Native {
    /// Follows the redirects that the request allows, each of whose hosts is checked like the first.
    /// Of a host without address it is found out whether the name is known at all, unless it is a
    /// resolver's.
    pub(super) async fn get(&self, get: &Get<'_>, resolver: bool) -> Result<Answer, Failure> {
        let mut logical =
            url::Url::parse(get.url).map_err(|_| Failure::new(Code::AddressRefused, get.url))?;
        for hop in 0..=MAX_REDIRECTS {
            let response = match self.send_get(&logical, get).await {
                Err(failure) if failure.code == Code::DnsFailed && !resolver => {
                    let host = logical.host_str().unwrap_or_default();
                    return Err(self.without_address(host, failure).await);
                }
                response => response?,
            };
            let status = response.status().as_u16();
            let location = response.headers().get("location").and_then(|v| v.to_str().ok());
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
                let loopback = self.settings.danger_allow_loopback;
                logical = redirect(&logical, location, get.redirects, loopback)?;
                continue;
            }
            let mut answer = read(response, get.limit, get.truncate).await?;
            if let (Body::Http { redirected_to, .. }, true) = (&mut answer.body, hop > 0) {
                *redirected_to = Some(logical.into());
            }
            return Ok(answer);
        }
        Err(too_many_redirects(logical.host_str().unwrap_or_default()))
    }

    async fn send_get(
        &self,
        logical: &url::Url,
        get: &Get<'_>,
    ) -> Result<reqwest::Response, Failure> {
        let (target, host) = self.checked_with_host(logical.as_str())?;
        let mut request = self.stack()?.http.get(target).header("accept", get.accept);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        if let Some(etag) = get.etag {
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
        response.map_err(|e| failure(&e))
    }

    pub(super) async fn send(
        &self,
        client: &reqwest::Client,
        call: Call,
    ) -> Result<Answer, Failure> {
        let (target, host) = self.checked_with_host(&call.url)?;
        let method = reqwest::Method::from_bytes(call.method.as_bytes())
            .map_err(|_| Failure::new(Code::Usage, call.method))?;
        let mut request = client.request(method, target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        if let Some((kind, body)) = call.body {
            request = request.header("content-type", kind).body(body);
        }
        if let Some(authorization) = call.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(proof) = call.dpop {
            request = request.header("dpop", proof);
        }
        let response = request.send().await.map_err(|e| failure(&e))?;
        read(response, MAX_CALL, false).await
    }

    /// What is connected to, and the name that is asked for where that is another.
    fn checked_with_host(&self, url: &str) -> Result<(url::Url, Option<String>), Failure> {
        let target = self.checked(url)?;
        let logical = url::Url::parse(url).map_err(|_| Failure::new(Code::AddressRefused, url))?;
        let host = logical.host_str().filter(|_| target != logical).map(str::to_owned);
        Ok((target, host))
    }

    pub(super) async fn events(&self, url: &str) -> Result<Stream, Failure> {
        let target = self.checked(url).map_err(|f| Failure { detail: None, ..f })?;
        let request = self.stack()?.http.get(target).header("accept", "text/event-stream");
        // The URL has a signature in it.
        let response = request.send().await.map_err(|e| failure(&e.without_url()))?;
        match response.status().as_u16() {
            200 => Ok(Stream { response, reader: EventReader::default(), ready: VecDeque::new() }),
            status => Err(Failure::new(Code::HttpStatus, status.to_string())),
        }
    }
}

/// A stream of events.
pub struct Stream {
    response: reqwest::Response,
    reader: EventReader,
    ready: VecDeque<StreamEvent>,
}

impl Events for Stream {
    async fn next(&mut self) -> Result<Option<StreamEvent>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let silence = std::time::Duration::from_secs(SILENCE.into());
            let Ok(chunk) = tokio::time::timeout(silence, self.response.chunk()).await else {
                return Ok(None);
            };
            let Some(chunk) = chunk.map_err(|e| failure(&e.without_url()))? else {
                return Ok(None);
            };
            let refused = |e: kez_core::Error| Failure::new(e.code(), "a stream's event");
            self.ready.extend(self.reader.push(&chunk).map_err(refused)?);
        }
    }
}

async fn read(
    mut response: reqwest::Response,
    limit: usize,
    truncate: bool,
) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers: Headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    if !truncate && response.content_length().is_some_and(|n| n > limit as u64) {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| failure(&e))? {
        let room = limit - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            if truncate {
                break;
            }
            return Err(too_large(limit));
        }
    }
    let bytes = decoded(bytes, &headers, limit, truncate)?;
    let body = Body::Http { status, headers, bytes, redirected_to: None };
    Ok(Answer { body, via: Via::Direct, fetched_at: crate::now() })
}

fn too_large(limit: usize) -> Failure {
    Failure::new(Code::BodyTooLarge, format!("more than {limit} bytes"))
}

/// Undoes a content coding. None is asked for, but some servers compress for every client.
fn decoded(
    bytes: Vec<u8>,
    headers: &Headers,
    limit: usize,
    truncate: bool,
) -> Result<Vec<u8>, Failure> {
    let coding = kez_core::transport::header(headers, "content-encoding").unwrap_or_default();
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => return Ok(bytes),
        "gzip" | "x-gzip" => {}
        other => {
            let why = format!("the body has the content coding {other}, which was not asked for");
            return Err(Failure::new(Code::ResponseRefused, why));
        }
    }
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
    match decoder.take(limit as u64 + 1).read_to_end(&mut plain) {
        Ok(_) if plain.len() <= limit => Ok(plain),
        Ok(_) if !truncate => Err(too_large(limit)),
        // Only the end of a body that was cut may be missing.
        Err(error) if !truncate || error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Failure::new(Code::ResponseRefused, format!("not gzip: {error}")))
        }
        _ => {
            plain.truncate(limit);
            Ok(plain)
        }
    }
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
