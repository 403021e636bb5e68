//! Nostr relays (NIP-01): asking for events, and publishing them.

use super::Native;
use futures_util::{SinkExt as _, StreamExt as _};
use kez_core::{
    Code,
    json::Value,
    relay::{MAX_MESSAGE, Next, Query, answered},
    transport::{Answer, CONNECT_SECONDS, Failure, Via},
};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Native {
    pub(super) async fn connect(&self, url: &str) -> Result<Socket, Failure> {
        self.within(CONNECT_SECONDS, self.open(url)).await
    }

    async fn open(&self, url: &str) -> Result<Socket, Failure> {
        let target = self.checked(url)?;
        let host = target.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = target.port_or_known_default().unwrap_or(443);
        let addresses = match self.addresses(&host, port).await {
            Err(failure) if failure.code == Code::DnsFailed => {
                return Err(self.without_address(&host, failure).await);
            }
            addresses => addresses?,
        };
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

    /// Asks for everything that matches the filters. What came before a failure is an answer too.
    pub(super) async fn relay(
        &self,
        url: &str,
        filters: &[Value],
        seconds: u64,
    ) -> Result<Answer, Failure> {
        let start = Instant::now();
        let socket = self.connect(url).await?;
        let mut query = Query::new(filters.to_vec());
        let first = query.start();
        let left = seconds.saturating_sub(start.elapsed().as_secs());
        let talk = converse(socket, first, |text| Ok(query.receive(text)));
        let talked = self.within(left, talk).await;
        let answers = talked.unwrap_or_else(|failure| query.stop(&failure));
        Ok(Answer { body: answered(answers)?, via: Via::Direct, fetched_at: crate::now() })
    }
}

/// Sends, and hands over what comes, until the conversation is over.
pub(super) async fn converse<T>(
    mut socket: Socket,
    first: Vec<String>,
    mut receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
) -> Result<T, Failure> {
    let closed = |e: &dyn std::fmt::Display| Failure::new(Code::RelayRefused, e.to_string());
    let mut sending = first;
    loop {
        for text in sending.drain(..) {
            socket.send(Message::text(text)).await.map_err(|e| closed(&e))?;
        }
        let message = match socket.next().await {
            Some(message) => message.map_err(|e| closed(&e))?,
            None => return Err(closed(&"the relay closed the connection")),
        };
        let Message::Text(text) = message else { continue };
        match receive(&text)? {
            Next::Wait => {}
            Next::Send(texts) => sending = texts,
            Next::Done(result) => {
                let _ = socket.close(None).await;
                return Ok(result);
            }
        }
    }
}
