//! The bodies of requests: of one type, and not slower than they may be.

use crate::problem::Problem;
use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request},
    http::{StatusCode, header},
};
use kez_core::{Code, Error};
use std::time::Duration;

/// For how long the body of a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads a body of a media type. The router's limit of its size holds; `too_large` says what it
/// is.
///
/// # Errors
/// 415, 408, 413 and what else may be wrong with a body.
pub async fn read(request: Request, kind: &str, too_large: &str) -> Result<Bytes, Problem> {
    let found = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if found.and_then(|found| found.split(';').next()).map(str::trim) != Some(kind) {
        let why = format!("the body is {kind}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Usage, why));
    }
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, "the body is slow");
    let body =
        tokio::time::timeout(LIMIT, Bytes::from_request(request, &())).await.map_err(slow)?;
    body.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::about(Code::TooLarge, too_large).into(),
        status => Problem::new(status, Code::Usage, refused.body_text()),
    })
}
