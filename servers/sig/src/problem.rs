//! Errors as RFC 9457 problems that carry the core's codes.

use crate::store::Refusal;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kez_core::{Code, Error, Head, Kind};
use serde::Serialize;
use utoipa::{ToResponse, ToSchema};

/// A chain's head, for the description.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the core writes heads; this only describes them")]
pub(crate) struct HeadBody {
    /// The last event's position, from 1.
    seq: u64,
    /// Its id, 64 hex digits.
    id: String,
}

/// A problem by RFC 9457.
#[derive(Serialize, ToResponse, ToSchema)]
#[response(description = "A problem by RFC 9457", content_type = "application/problem+json")]
pub(crate) struct ProblemBody {
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A code of SPEC.md's appendix A.
    code: &'static str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// In a conflict, the chain's head, or null if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HeadBody>)]
    head: Option<Option<Head>>,
}

/// What a client is told instead of an answer.
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: Option<String>,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
    /// In a conflict, the chain's head, or that it has none.
    head: Option<Option<Head>>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::of(status, code) }
    }

    const fn of(status: StatusCode, code: Code) -> Self {
        Self { status, code, detail: None, retry_after: None, head: None }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// There is no such chain here.
    pub(crate) fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::ChainEmpty, "this server has no such chain")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match (error.code(), error.code().kind()) {
            (Code::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Kind::Format | Kind::Input) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { detail: error.context().map(String::from), ..Self::of(status, error.code()) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::Invalid(error) => error.into(),
            Refusal::Conflict { head, fork } => {
                let code = if fork { Code::Forked } else { Code::HeadConflict };
                Self { head: Some(head), ..Self::of(StatusCode::CONFLICT, code) }
            }
            Refusal::Full => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::StorageFailed, words)
            }
            Refusal::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, words).retry_after(1)
            }
            Refusal::Storage(_) => {
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
            head: self.head,
        };
        let mut response = (self.status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
