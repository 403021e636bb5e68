//! Request bodies: of one media type, within a size, not too slow, and within each client's share
//! of the memory.

use crate::{
    limit::{Exhausted, Pool, Share},
    problem::Problem,
};
use axum::{
    body::{Bytes, HttpBody as _},
    extract::Request,
    http::{StatusCode, header},
};
use futures_util::StreamExt as _;
use kez_core::{Code, Error};
use std::{net::IpAddr, time::Duration};
use tokio::time::{Instant, timeout_at};

/// In this time a body has to end or to bring [`STEP`] bytes.
const WINDOW: Duration = Duration::from_secs(10);
/// See [`WINDOW`].
const STEP: usize = 64 * 1024;

/// The largest body of a route in bytes, for a layer of [`axum::Extension`].
#[derive(Clone, Copy, Debug)]
pub struct MaxBody(pub usize);

/// How a body is read.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Its media type.
    pub kind: &'static str,
    /// Its largest size in bytes.
    pub most: usize,
    /// The memory for all bodies.
    pub memory: &'a Pool,
    /// Looks at the bytes so far, each time that there are more, and can end the request early.
    pub check: &'a (dyn Fn(&[u8]) -> Result<(), Problem> + Sync),
}

impl<'a> Rules<'a> {
    /// Rules that look at nothing but type, size and memory.
    #[must_use]
    pub fn new(kind: &'static str, most: usize, memory: &'a Pool) -> Self {
        Self { kind, most, memory, check: &|_| Ok(()) }
    }
}

/// Reads a body. Its memory is the client's until the share is dropped.
///
/// # Errors
/// 415 for another type, 413 at once for a length that is too large, 408 for a slow body, 429 if
/// the client's other bodies need too much memory, 503 if those of all clients do.
pub async fn read(
    request: Request,
    client: IpAddr,
    rules: Rules<'_>,
) -> Result<(Bytes, Share), Problem> {
    let Rules { kind, most, memory, check } = rules;
    let found = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if found.and_then(|found| found.split(';').next()).map(str::trim) != Some(kind) {
        let why = format!("the body is not {kind}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Usage, why));
    }
    let too_large = || Error::about(Code::TooLarge, format!("a body of at most {most} bytes"));
    let body = request.into_body();
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::from(too_large()).closing());
    }
    let mut share = memory.take(client, 0).map_err(exhausted)?;
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let (mut end, mut goal) = (Instant::now() + WINDOW, STEP);
    loop {
        let chunk = timeout_at(end, chunks.next()).await.map_err(|_| slow())?;
        let Some(chunk) = chunk else { return Ok((bytes.into(), share)) };
        let chunk = chunk.map_err(|e| {
            Problem::new(StatusCode::BAD_REQUEST, Code::Usage, format!("the body: {e}"))
        })?;
        if bytes.len() + chunk.len() > most {
            return Err(Problem::from(too_large()).closing());
        }
        share.grow(chunk.len()).map_err(exhausted)?;
        bytes.extend_from_slice(&chunk);
        check(&bytes).map_err(Problem::closing)?;
        if bytes.len() >= goal {
            (end, goal) = (Instant::now() + WINDOW, bytes.len() + STEP);
        }
    }
}

fn slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, "the body is too slow").closing()
}

/// The problem of a client whose requests need too much memory at once.
#[must_use]
pub fn exhausted(why: Exhausted) -> Problem {
    let problem = match why {
        Exhausted::Client => Problem::too_often(5),
        Exhausted::Total => {
            let why = "too many requests are in progress";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, why).retry_after(5)
        }
    };
    problem.closing()
}
