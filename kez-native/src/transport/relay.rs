//! Nostr relays (NIP-01): one REQ until EOSE, and publishing events.

use super::Native;
use futures_util::{SinkExt as _, StreamExt as _};
use kez_core::{
    Code,
    json::Value,
    transport::{Answer, Body, Failure, MAX_RELAY_EVENTS, Via},
};
use std::collections::BTreeSet;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// The largest message of a relay in bytes.
const MAX_MESSAGE: usize = 256 * 1024;
/// The most that one relay may send in all.
const MAX_TOTAL: usize = 32 * 1024 * 1024;
/// How many pages of events are asked for.
const MAX_PAGES: usize = 40;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Native {
    async fn connect(&self, url: &str) -> Result<Socket, Failure> {
        let target = self.checked(url)?;
        let host = target.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = target.port_or_known_default().unwrap_or(443);
        let addresses = self.addresses(&host, port).await?;
        let failed = |e: &dyn std::fmt::Display| Failure::new(Code::ConnectFailed, e.to_string());
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|e| failed(&e))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let connector = Connector::Rustls(self.stack()?.tls.clone());
        let connecting =
            client_async_tls_with_config(target.as_str(), stream, Some(limits), Some(connector));
        connecting.await.map(|(socket, _)| socket).map_err(|e| failed(&e))
    }

    pub(super) async fn relay(&self, url: &str, filters: &[Value]) -> Result<Answer, Failure> {
        let mut socket = self.connect(url).await?;
        let mut events: Vec<Value> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut until = None;
        let mut total = 0;
        for _ in 0..MAX_PAGES {
            let page = request(&mut socket, filters, until, &mut total).await?;
            let (count, oldest) = (page.len(), page.iter().filter_map(created_at).min());
            let before = events.len();
            for event in page {
                if seen.insert(event.get("id").and_then(Value::as_str).map(str::to_owned)) {
                    events.push(event);
                }
            }
            // A relay clamps how much it sends, often without saying so; what is older is asked
            // for again from there on, unless the page was clearly not full.
            if count < 20 || events.len() == before || oldest.is_none() {
                break;
            }
            until = oldest;
        }
        let _ = socket.close(None).await;
        Ok(Answer { body: Body::Relay { events }, via: Via::Direct, fetched_at: crate::now() })
    }

    /// Publishes signed events and waits for the relay's word on each.
    ///
    /// # Errors
    /// `relay_refused` in the relay's words, or why it could not be asked.
    pub async fn publish_events(&self, url: &str, events: &[String]) -> Result<(), Failure> {
        let seconds = std::time::Duration::from_secs(self.seconds);
        let work = async {
            let mut socket = self.connect(url).await?;
            for event in events {
                let message = Message::text(format!("[\"EVENT\",{event}]"));
                socket.send(message).await.map_err(|e| closed(&e))?;
                // Answers may come out of order, so each is matched by its event's id.
                let id = Value::parse_foreign(event.as_bytes()).ok();
                let id = id.as_ref().and_then(|e| e.get("id")).and_then(Value::as_str);
                loop {
                    let reply = next(&mut socket).await?;
                    let [Value::String(kind), reply_id, ok, rest @ ..] = &reply[..] else {
                        continue;
                    };
                    if kind != "OK" || reply_id.as_str() != id {
                        continue;
                    }
                    let why = rest.first().and_then(Value::as_str).unwrap_or_default();
                    if *ok == Value::Bool(true) || why.starts_with("duplicate:") {
                        break;
                    }
                    return Err(Failure::new(Code::RelayRefused, why));
                }
            }
            let _ = socket.close(None).await;
            Ok(())
        };
        tokio::time::timeout(seconds, work)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::Timeout, "the relay did not answer")))
    }
}

fn created_at(event: &Value) -> Option<i64> {
    event.get("created_at").and_then(Value::as_int)
}

/// One REQ until EOSE.
async fn request(
    socket: &mut Socket,
    filters: &[Value],
    until: Option<i64>,
    total: &mut usize,
) -> Result<Vec<Value>, Failure> {
    let mut message = vec![Value::from("REQ"), Value::from("kez")];
    for filter in filters {
        let Value::Object(members) = filter else { continue };
        let until = until.map(|t| ("until".to_owned(), Value::Int(t)));
        message.push(Value::object(members.iter().cloned().chain(until)));
    }
    let text = Value::Array(message).to_canonical();
    socket.send(Message::text(text)).await.map_err(|e| closed(&e))?;
    let mut events = Vec::new();
    loop {
        let reply = next(socket).await?;
        match &reply[..] {
            [Value::String(kind), sub, event, ..]
                if kind == "EVENT" && sub.as_str() == Some("kez") =>
            {
                *total += event.to_canonical().len();
                if *total > MAX_TOTAL || events.len() >= MAX_RELAY_EVENTS {
                    return Err(Failure::new(Code::BodyTooLarge, "the relay sends too much"));
                }
                events.push(event.clone());
            }
            [Value::String(kind), ..] if kind == "EOSE" => {
                let close = Message::text(r#"["CLOSE","kez"]"#);
                socket.send(close).await.map_err(|e| closed(&e))?;
                return Ok(events);
            }
            [Value::String(kind), _, why, ..] if kind == "CLOSED" => {
                let why = why.as_str().unwrap_or_default();
                let code = match why.split(':').next() {
                    Some("auth-required" | "restricted") => Code::AuthRequired,
                    Some("rate-limited") => Code::RateLimited,
                    _ => Code::RelayRefused,
                };
                return Err(Failure::new(code, why));
            }
            _ => {}
        }
    }
}

/// The next JSON array; what is none of our business is skipped.
async fn next(socket: &mut Socket) -> Result<Vec<Value>, Failure> {
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(closed(&error)),
            None => {
                return Err(Failure::new(Code::RelayRefused, "the relay closed the connection"));
            }
        };
        if let Message::Text(text) = message
            && let Ok(Value::Array(items)) = Value::parse_foreign(text.as_bytes())
        {
            return Ok(items);
        }
    }
}

fn closed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::RelayRefused, error.to_string())
}
