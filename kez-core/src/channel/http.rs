//! An HTTP answer and its meaning where no channel knows better.

use super::{Fetched, Miss, failed};
use crate::{
    Code, Timestamp,
    json::Value,
    transport::Place,
    transport::{Body, Headers, Via, header, retry_at},
};
use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};

/// How many bytes of a page are searched for the marks of a bot check.
const SNIFFED: usize = 16 * 1024;

/// Texts that only pages of a bot check contain: Cloudflare, DDoS-Guard, Anubis, AWS, hCaptcha.
const CHALLENGE_MARKS: [&str; 12] = [
    "just a moment...",
    "cf-chl-",
    "_cf_chl_opt",
    "/cdn-cgi/challenge-platform/",
    "attention required! | cloudflare",
    "checking your browser",
    "checking if the site connection is secure",
    "ddos-guard",
    "making sure you're not a bot",
    "making sure you&#39;re not a bot",
    "awswafcookiedomainlist",
    "verify you are human",
];

/// An HTTP answer that has arrived, with where it came from.
pub(crate) struct Http {
    pub(crate) status: u16,
    headers: Headers,
    pub(crate) bytes: Vec<u8>,
    pub(crate) place: Place,
    pub(super) source: (Via, Timestamp),
}

impl Http {
    /// Takes an answer; a transport failure becomes a miss.
    pub(crate) fn of((request, answer): Fetched) -> Result<Self, Miss> {
        match answer {
            Ok(answer) => {
                let place = answer.place(&request);
                let source = (answer.via, answer.fetched_at);
                match answer.body {
                    Body::Http { status, headers, bytes, .. } => {
                        Ok(Self { status, headers, bytes, place, source })
                    }
                    _ => Err(Miss::at(Code::ResponseRefused, place)),
                }
            }
            Err(failure) => Err(failed(&request, failure)),
        }
    }

    /// As [`Http::of`], for the answer to a call.
    #[cfg(feature = "publish")]
    pub(crate) fn of_call(url: &str, answer: crate::transport::Answer) -> Result<Self, Miss> {
        Self::of((crate::transport::Request::get(url.into(), "*/*"), Ok(answer)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether a bot check answered instead of the server: by the header with which the known
    /// services mark such answers, or by the page's text.
    pub(crate) fn is_challenge(&self) -> bool {
        let marked = ["cf-mitigated", "x-vercel-mitigated", "x-amzn-waf-action"];
        let action = |name| self.header(name).map(str::to_ascii_lowercase);
        if marked.into_iter().filter_map(action).any(|a| a == "challenge" || a == "captcha") {
            return true;
        }
        let start = &self.bytes[..self.bytes.len().min(SNIFFED)];
        let text = String::from_utf8_lossy(start).to_ascii_lowercase();
        self.is_page() && CHALLENGE_MARKS.iter().any(|mark| text.contains(mark))
    }

    /// Whether the answer is a web page.
    pub(crate) fn is_page(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        kind.contains("html") || is_page(&self.bytes)
    }

    /// Whether a server that limits requests refused this one. GitHub reports its secondary limits
    /// only in the text of a 403, or in the page of the manual that the answer names.
    fn is_limited(&self) -> bool {
        match self.status {
            429 => true,
            403 if self.header("x-ratelimit-remaining") == Some("0") => true,
            403 if self.header("retry-after").is_some() => true,
            403 => Value::parse_foreign(&self.bytes).is_ok_and(|body| {
                let text = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
                let message = text("message").to_ascii_lowercase();
                message.contains("rate limit")
                    || message.contains("abuse detection")
                    || text("documentation_url").contains("rate-limit")
            }),
            _ => false,
        }
    }

    /// When to try again. The reset time of a quota that is not used up says nothing about a
    /// limit of another kind.
    fn retry_at(&self) -> Option<Timestamp> {
        let quota_left = self.header("x-ratelimit-remaining").is_some_and(|left| left != "0");
        if quota_left && self.header("retry-after").is_none() {
            return None;
        }
        retry_at(&self.headers, self.source.1)
    }

    /// The meaning of a status other than 200 where the channel knows nothing more specific. None
    /// says that an account does not exist: which answer is definite depends on the request.
    pub(crate) fn miss(&self) -> Miss {
        let limited = self.is_limited();
        let code = match self.status {
            _ if self.is_challenge() => Code::Challenge,
            _ if limited => Code::RateLimited,
            401 => Code::AuthRequired,
            300..=399 => Code::RedirectRefused,
            _ => Code::HttpStatus,
        };
        let mut miss = Miss::at(code, self.place.clone());
        if limited || self.status == 503 {
            miss.retry_at = self.retry_at();
        }
        miss
    }

    /// As [`Http::miss`], for a request whose 404 or 410 is the server's definite answer that it
    /// has no such account.
    pub(crate) fn miss_or_absent(&self) -> Miss {
        match self.status {
            404 | 410 if !self.is_challenge() => {
                Miss::at(Code::IdentityNotFound, self.place.clone())
            }
            _ => self.miss(),
        }
    }

    /// The JSON of a 200 answer that is labelled as JSON.
    pub(crate) fn json(&self) -> Result<Value, Miss> {
        let kind = self.header("content-type").unwrap_or_default();
        let labelled = kind.to_ascii_lowercase().contains("json");
        if self.status == 200 && !labelled && !self.is_challenge() {
            return Err(self.not_json());
        }
        self.any_json()
    }

    /// The JSON of a 200 answer of any media type, for files that web servers do not know.
    pub(crate) fn any_json(&self) -> Result<Value, Miss> {
        if self.status != 200 || self.is_challenge() {
            return Err(self.miss());
        }
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        Value::parse_foreign(bytes).map_err(|_| self.not_json())
    }

    fn not_json(&self) -> Miss {
        let what = if self.is_page() { "a web page" } else { "not JSON" };
        self.refused(&format!("the answer is {what}"))
    }

    pub(super) fn refused(&self, why: &str) -> Miss {
        Miss::at(Code::ResponseRefused, self.place.clone()).because(why.to_string())
    }
}

/// Whether bytes begin as a web page does.
pub(crate) fn is_page(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    ["<!doctype html", "<html"].iter().any(|start| {
        bytes.get(..start.len()).is_some_and(|b| b.eq_ignore_ascii_case(start.as_bytes()))
    })
}
