//! The conversations with a nostr relay (NIP-01), without the socket: what to send, and what the
//! relay's messages mean.

mod paging;
mod query;

pub use query::{Query, answered};

use crate::{Code, json::Value, transport::Failure};
use alloc::{collections::VecDeque, format, string::String, vec, vec::Vec};

/// The largest message of a relay that is read, in bytes.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// What to do after a message of the relay.
#[derive(Debug)]
pub enum Next<T> {
    /// Wait for the next message.
    Wait,
    /// Send these texts, and wait.
    Send(Vec<String>),
    /// The conversation is over.
    Done(T),
}

/// Publishes signed events in order, each once the relay has acknowledged the one before, so
/// that a conversation that is cut short leaves no gap.
///
/// ```
/// use kez_core::relay::{Next, Publish};
/// let mut publish = Publish::new([r#"{"id":"ab","kind":1}"#.to_owned()]);
/// assert_eq!(publish.request().unwrap(), r#"["EVENT",{"id":"ab","kind":1}]"#);
/// assert!(matches!(publish.receive(r#"["OK","ab",true,""]"#), Ok(Next::Done(()))));
/// ```
#[derive(Debug)]
pub struct Publish {
    /// What the relay has not acknowledged.
    open: VecDeque<String>,
}

impl Publish {
    /// A conversation about these events, each as JSON.
    #[must_use]
    pub fn new(events: impl IntoIterator<Item = String>) -> Self {
        Self { open: events.into_iter().collect() }
    }

    /// The text to send when the socket is open; none if there is nothing to publish.
    #[must_use]
    pub fn request(&self) -> Option<String> {
        self.open.front().map(|event| format!("[\"EVENT\",{event}]"))
    }

    /// Takes a message of the relay.
    ///
    /// # Errors
    /// `relay_refused` in the relay's words.
    pub fn receive(&mut self, text: &str) -> Result<Next<()>, Failure> {
        let event = self.open.front().and_then(|e| Value::parse_foreign(e.as_bytes()).ok());
        let waiting = event.as_ref().and_then(|e| e.get("id")).and_then(Value::as_str);
        let [Value::String(kind), id, ok, rest @ ..] = &array(text)[..] else {
            return Ok(Next::Wait);
        };
        if kind != "OK" || id.as_str() != waiting {
            return Ok(Next::Wait);
        }
        let why = rest.first().and_then(Value::as_str).unwrap_or_default();
        if *ok != Value::Bool(true) && !why.starts_with("duplicate:") {
            return Err(Failure::new(Code::RelayRefused, why));
        }
        self.open.pop_front();
        Ok(self.request().map_or(Next::Done(()), |text| Next::Send(vec![text])))
    }
}

/// An event of the subscription `kez`, from a relay's message; nothing if it is another message.
///
/// # Errors
/// `auth_required`, `rate_limited` or `relay_refused` in the relay's words.
#[cfg(feature = "publish")]
pub(crate) fn subscribed(text: &str) -> Result<Option<Value>, Failure> {
    match &array(text)[..] {
        [Value::String(kind), sub, event] if kind == "EVENT" && sub.as_str() == Some("kez") => {
            Ok(Some(event.clone()))
        }
        [Value::String(kind), _, why @ ..] if kind == "CLOSED" => Err(closed(why.first())),
        _ => Ok(None),
    }
}

/// Why a relay has ended a subscription, in its own words where it has any.
fn closed(why: Option<&Value>) -> Failure {
    let why = why.and_then(Value::as_str).filter(|why| !why.trim().is_empty());
    let why = why.unwrap_or("the relay ended the request without saying why");
    let code = match why.split(':').next() {
        Some("auth-required" | "restricted") => Code::AuthRequired,
        Some("rate-limited") => Code::RateLimited,
        _ => Code::RelayRefused,
    };
    Failure::new(code, why)
}

/// A relay's message; empty for what is no JSON array.
fn array(text: &str) -> Vec<Value> {
    match Value::parse_foreign(text.as_bytes()) {
        Ok(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_after_another() {
        let mut publish = Publish::new([r#"{"id":"a"}"#.into(), r#"{"id":"b"}"#.into()]);
        assert!(matches!(publish.receive(r#"["OK","b",true,""]"#), Ok(Next::Wait)), "not yet");
        let sent = publish.receive(r#"["OK","a",false,"duplicate: old"]"#);
        assert!(matches!(sent, Ok(Next::Send(texts)) if texts == [r#"["EVENT",{"id":"b"}]"#]));
        let refused = publish.receive(r#"["OK","b",false,"blocked: no"]"#).unwrap_err();
        assert_eq!(refused.code, Code::RelayRefused);
    }
}
