//! A browser that comes back to this machine (RFC 8252, section 7.3): one GET with a query.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use kez_core::{Code, transport::Failure};
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The longest head of a request, in bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// Browsers open connections that they may never use.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on 127.0.0.1.
pub struct Redirect {
    listener: TcpListener,
    port: u16,
    page: &'static str,
}

impl Redirect {
    pub(super) async fn new(page: &'static str) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::new(Code::ConnectFailed, e.to_string());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port, page })
    }

    async fn listen(&self) -> String {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                // A connection that broke before it was taken is none of our business.
                Ok((stream, _)) = self.listener.accept() => {
                    open.push(timeout(PATIENCE, self.answer(stream)));
                }
                Some(answered) = open.next(), if !open.is_empty() => {
                    if let Ok(Some(query)) = answered {
                        return query;
                    }
                }
            }
        }
    }

    /// Answers a request, and gives the query that it brings.
    async fn answer(&self, stream: TcpStream) -> Option<String> {
        let mut stream = BufReader::new(stream);
        let mut lines = (&mut stream).take(MAX_HEAD).lines();
        let first = lines.next_line().await.ok()??;
        // A connection that is closed with something unread is reset, and the browser shows no page.
        while !lines.next_line().await.ok()??.is_empty() {}
        let query = first.strip_prefix("GET /?").and_then(|rest| rest.split(' ').next());
        let (status, page) = match query {
            Some(_) => ("200 OK", self.page),
            None => ("404 Not Found", ""),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
        let sent = stream.get_mut().write_all(answer.as_bytes()).await;
        let _ = stream.get_mut().shutdown().await;
        query.filter(|_| sent.is_ok()).map(str::to_owned)
    }
}

impl kez_cli::host::Redirect for Redirect {
    fn port(&self) -> u16 {
        self.port
    }

    async fn query(self, seconds: u32) -> Result<String, Failure> {
        let waited = timeout(Duration::from_secs(seconds.into()), self.listen()).await;
        waited.map_err(|_| Failure::new(Code::Timeout, format!("after {seconds} s")))
    }
}
