//! The conversations with a nostr relay (NIP-01), without the socket: what to send, and what the
//! relay's messages mean.

use crate::{
    Code,
    json::Value,
    map::Map,
    transport::{Failure, MAX_RELAY_EVENTS},
};
use alloc::{borrow::ToOwned, collections::VecDeque, format, string::String, vec, vec::Vec};

/// The largest message of a relay that is read, in bytes.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// The most that one relay may send in all, in bytes.
const MAX_TOTAL: usize = 32 * 1024 * 1024;
/// How many pages of events are asked for.
const MAX_PAGES: usize = 40;
/// Pages with fewer events were clearly not cut.
const SMALL_PAGE: usize = 20;

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

/// Asks for everything that matches the filters, page by page until EOSE.
///
/// ```
/// use kez_core::{json::Value, relay::{Next, Query}};
/// let mut query = Query::new(vec![Value::object([("kinds", Value::Array(vec![0.into()]))])]);
/// assert_eq!(query.request(), r#"["REQ","kez",{"kinds":[0]}]"#);
/// assert!(matches!(query.receive(r#"["NOTICE","hello"]"#), Ok(Next::Wait)));
/// let Ok(Next::Done(events)) = query.receive(r#"["EOSE","kez"]"#) else { panic!() };
/// assert!(events.is_empty());
/// ```
#[derive(Debug)]
pub struct Query {
    filters: Vec<Value>,
    /// The `until` of the page that is being read.
    until: Option<i64>,
    page: Vec<Value>,
    pages: usize,
    events: Vec<Value>,
    seen: Map<()>,
    total: usize,
}

impl Query {
    /// A conversation about these filters.
    #[must_use]
    pub fn new(filters: Vec<Value>) -> Self {
        Self {
            filters,
            until: None,
            page: Vec::new(),
            pages: 0,
            events: Vec::new(),
            seen: Map::default(),
            total: 0,
        }
    }

    /// The text that asks for the next page; to be sent when the socket is open.
    #[must_use]
    pub fn request(&self) -> String {
        let mut message = vec![Value::from("REQ"), Value::from("kez")];
        for filter in &self.filters {
            let Value::Object(members) = filter else { continue };
            let until = self.until.map(|t| ("until".to_owned(), Value::Int(t)));
            message.push(Value::object(members.iter().cloned().chain(until)));
        }
        Value::Array(message).to_canonical()
    }

    /// Takes a message of the relay. What is none of our business is passed over.
    ///
    /// # Errors
    /// `body_too_large`; `auth_required`, `rate_limited` or `relay_refused` in the relay's words.
    pub fn receive(&mut self, text: &str) -> Result<Next<Vec<Value>>, Failure> {
        match &array(text)[..] {
            [Value::String(kind), sub, event, ..]
                if kind == "EVENT" && sub.as_str() == Some("kez") =>
            {
                self.total += event.to_canonical().len();
                if self.total > MAX_TOTAL || self.page.len() >= MAX_RELAY_EVENTS {
                    return Err(Failure::new(Code::BodyTooLarge, "the relay sends too much"));
                }
                self.page.push(event.clone());
                Ok(Next::Wait)
            }
            [Value::String(kind), sub, ..] if kind == "EOSE" && sub.as_str() == Some("kez") => {
                Ok(self.turn())
            }
            [Value::String(kind), _, why, ..] if kind == "CLOSED" => Err(closed(why)),
            _ => Ok(Next::Wait),
        }
    }

    /// A relay clamps how much it sends, often without saying so; what is older is asked for
    /// again from there on, unless the page was clearly not full.
    fn turn(&mut self) -> Next<Vec<Value>> {
        let page = core::mem::take(&mut self.page);
        let created_at = |event: &Value| event.get("created_at").and_then(Value::as_int);
        let (count, oldest) = (page.len(), page.iter().filter_map(created_at).min());
        let before = self.events.len();
        for event in page {
            let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
            if self.seen.insert(id, ()).is_none() {
                self.events.push(event);
            }
        }
        self.pages += 1;
        let full = count >= SMALL_PAGE && self.events.len() > before && oldest.is_some();
        if !full || self.pages >= MAX_PAGES {
            return Next::Done(core::mem::take(&mut self.events));
        }
        self.until = oldest;
        Next::Send(vec![r#"["CLOSE","kez"]"#.to_owned(), self.request()])
    }
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
        [Value::String(kind), _, why, ..] if kind == "CLOSED" => Err(closed(why)),
        _ => Ok(None),
    }
}

/// Why a relay has ended a subscription.
fn closed(why: &Value) -> Failure {
    let why = why.as_str().unwrap_or_default();
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

    fn event(n: i64) -> String {
        format!(r#"["EVENT","kez",{{"created_at":{n},"id":"{n}"}}]"#)
    }

    #[test]
    fn a_full_page_asks_for_the_next() {
        let mut query = Query::new(vec![Value::object([("kinds", Value::Array(vec![]))])]);
        for n in 100..120 {
            assert!(matches!(query.receive(&event(n)), Ok(Next::Wait)));
        }
        let Ok(Next::Send(texts)) = query.receive(r#"["EOSE","kez"]"#) else { panic!() };
        assert_eq!(texts[1], r#"["REQ","kez",{"kinds":[],"until":100}]"#);
        // The page overlaps by the oldest event, which is counted once.
        query.receive(&event(100)).unwrap();
        query.receive(&event(99)).unwrap();
        query.receive(r#"["EVENT","other",{"id":"x"}]"#).unwrap();
        let Ok(Next::Done(events)) = query.receive(r#"["EOSE","kez"]"#) else { panic!() };
        assert_eq!(events.len(), 21);
    }

    #[test]
    fn a_relay_that_never_ends_is_stopped() {
        let mut query = Query::new(vec![]);
        let failure = (0..).find_map(|n| query.receive(&event(n)).err()).unwrap();
        assert_eq!(failure.code, Code::BodyTooLarge);
        assert_eq!(query.page.len(), MAX_RELAY_EVENTS);
        let mut query = Query::new(vec![]);
        let mut pages = 0;
        let events = loop {
            for n in 0..20 {
                query.receive(&event(1_000_000 - pages * 20 - n)).unwrap();
            }
            pages += 1;
            if let Next::Done(events) = query.receive(r#"["EOSE","kez"]"#).unwrap() {
                break events;
            }
        };
        assert_eq!(events.len(), MAX_PAGES * 20);
    }

    #[test]
    fn refusals_have_codes() {
        let code = |why: &str| {
            let text = format!(r#"["CLOSED","kez","{why}"]"#);
            Query::new(vec![]).receive(&text).unwrap_err().code
        };
        assert_eq!(code("auth-required: sign in"), Code::AuthRequired);
        assert_eq!(code("rate-limited: slow down"), Code::RateLimited);
        assert_eq!(code("error: no"), Code::RelayRefused);
        let mut publish = Publish::new([r#"{"id":"a"}"#.to_owned(), r#"{"id":"b"}"#.to_owned()]);
        assert!(matches!(publish.receive(r#"["OK","b",true,""]"#), Ok(Next::Wait)), "not yet");
        let sent = publish.receive(r#"["OK","a",false,"duplicate: old"]"#);
        assert!(matches!(sent, Ok(Next::Send(texts)) if texts == [r#"["EVENT",{"id":"b"}]"#]));
        let refused = publish.receive(r#"["OK","b",false,"blocked: no"]"#).unwrap_err();
        assert_eq!(refused.code, Code::RelayRefused);
    }
}
