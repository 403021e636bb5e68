//! Errors as RFC 9457 problems that carry the core's codes.

use crate::store::Refusal;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kez_core::{Code, Error, Head, Kind};
use serde_json::{Value, json};

/// What a client is told instead of an answer.
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: Option<String>,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
    /// Further members.
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: Some(detail.into()), retry_after: None, more: Vec::new() }
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// There is no such chain here.
    pub(crate) fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::ChainEmpty, "this server has no such chain")
    }
}

/// A head as it stands in answers.
pub(crate) fn head_json(head: Option<Head>) -> Value {
    head.map_or(Value::Null, |head| json!({ "seq": head.seq, "id": head.id.to_string() }))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match (error.code(), error.code().kind()) {
            (Code::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Kind::Format | Kind::Input) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = error.context().map(String::from);
        Self { status, code: error.code(), detail, retry_after: None, more: Vec::new() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(error) => error.into(),
            Refusal::Conflict { head, fork } => {
                let code = if fork { Code::Forked } else { Code::HeadConflict };
                let mut problem = Self {
                    status: StatusCode::CONFLICT,
                    code,
                    detail: None,
                    retry_after: None,
                    more: Vec::new(),
                };
                problem.more.push(("head", head_json(head)));
                problem
            }
            Refusal::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                Code::StorageFailed,
                "this server's storage is full",
            ),
            Refusal::Busy => {
                let busy = "too many requests wait already";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, busy).retry_after(1)
            }
            Refusal::Storage(why) => {
                // The words may name paths: they are the operator's, not the client's.
                eprintln!("kez-sig-server: storage: {why}");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, Code::StorageFailed, "the storage failed")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "title": self.code.summary(),
            "status": self.status.as_u16(),
            "code": self.code.as_str(),
        });
        let detail = self.detail.map(|detail| ("detail", Value::String(detail)));
        for (name, value) in self.more.into_iter().chain(detail) {
            body[name] = value;
        }
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
