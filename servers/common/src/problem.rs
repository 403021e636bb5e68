//! Errors as RFC 9457 problems that carry the core's codes.

use crate::sqlite::Failure;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kez_core::{Code, Error, Kind};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{ToResponse, ToSchema};

/// A problem by RFC 9457.
#[derive(Serialize, ToResponse, ToSchema)]
#[response(description = "A problem by RFC 9457", content_type = "application/problem+json")]
pub struct ProblemBody {
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A code of SPEC.md's appendix A.
    code: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// In a conflict, what is there.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What a client is told instead of an answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    detail: Option<String>,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
    /// Whether the connection ends, because the rest of the request is not read.
    closing: bool,
    more: Map<String, Value>,
}

impl Problem {
    /// A problem in the server's own words.
    pub fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::of(status, code) }
    }

    /// A problem that its code says all of.
    #[must_use]
    pub fn of(status: StatusCode, code: Code) -> Self {
        Self { status, code, detail: None, retry_after: None, closing: false, more: Map::new() }
    }

    /// It may be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The connection ends after this answer, because the rest of the request is not read.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { closing: true, ..self }
    }

    /// One more member, for a conflict.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is answered for paths and methods that there are not.
    #[must_use]
    pub fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::Usage, "there is no such path")
    }

    /// As [`Problem::no_path`], for a method.
    #[must_use]
    pub fn no_method() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, Code::Usage, "the path does not know this method")
    }

    /// Somebody did something too often.
    #[must_use]
    pub fn too_often(seconds: u64) -> Self {
        let why = "too many requests in a short time";
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, why).retry_after(seconds)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match (error.code(), error.code().kind()) {
            (Code::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Code::AuthRefused, _) => StatusCode::UNAUTHORIZED,
            (_, Kind::Format | Kind::Input) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { detail: error.context().map(String::from), ..Self::of(status, error.code()) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let words = failure.to_string();
        match failure {
            Failure::Full => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::StorageFailed, words)
            }
            Failure::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, words).retry_after(1)
            }
            Failure::Unreachable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::StorageFailed, words)
                    .retry_after(5)
            }
            Failure::Storage(_) | Failure::Misfit(_) => {
                // The words may name paths: they are the operator's, not the client's.
                tracing::error!("{words}");
                Self::of(StatusCode::INTERNAL_SERVER_ERROR, Code::StorageFailed)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            title: self.code.summary(),
            status: self.status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail,
            more: self.more,
        };
        let mut response = (self.status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.closing {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
