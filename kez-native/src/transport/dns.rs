//! DNS over HTTPS in wire format over GET (RFC 8484), or plain DNS to a named server: TXT records,
//! and whether a host has an address. The resolver's AD bit is asked for and reported.

use super::{Native, http::Get};
use kez_core::{
    Code,
    dns::{self, Address},
    transport::{Answer, Body, Failure, Redirects, Via},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

impl Native {
    pub(super) async fn txt(&self, name: &str) -> Result<Answer, Failure> {
        let mut last = Failure::new(Code::DnsFailed, "no resolver is configured");
        for resolver in &self.settings.resolvers {
            let question = |id| dns::query(name, id);
            match self.ask(resolver, question, |bytes, id| dns::read(bytes, id, name)).await {
                Ok(body) => {
                    let via = if is_doh(resolver) { Via::Doh } else { Via::Direct };
                    return Ok(Answer { body, via, fetched_at: crate::now() });
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// What the failure to resolve a host means: `host_unknown` if DNS says that it has no address.
    ///
    /// The configured resolvers decide, since the system's does not say it alike everywhere. Its word
    /// counts only where none is configured: a resolver that fails is no answer.
    pub(super) async fn without_address(&self, host: &str, failure: Failure) -> Failure {
        for resolver in &self.settings.resolvers {
            let has = async |kind| {
                let question = |id| dns::address_query(host, id, kind);
                let read = |bytes: &[u8], id| dns::has_address(bytes, id, host, kind);
                self.ask(resolver, question, read).await
            };
            match (has(Address::V4).await, has(Address::V6).await) {
                (Ok(false), Ok(false)) => return unknown(host),
                (Ok(_), Ok(_)) => return failure,
                _ => {}
            }
        }
        let words = failure.detail.as_deref().unwrap_or_default();
        let by_system = self.settings.resolvers.is_empty() && says_unknown(words);
        if by_system { unknown(host) } else { failure }
    }

    /// Asks a resolver one question, which is given an id.
    async fn ask<T>(
        &self,
        resolver: &str,
        question: impl Fn(u16) -> Result<Vec<u8>, Failure>,
        read: impl Fn(&[u8], u16) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if is_doh(resolver) {
            // A cached DoH answer must not depend on a random id (RFC 8484, section 4.1).
            let get = Get {
                url: &dns::doh_url(resolver, &question(0)?),
                accept: dns::MEDIA_TYPE,
                limit: dns::MAX_MESSAGE,
                truncate: false,
                redirects: Redirects::SameHost,
                etag: None,
            };
            return match Box::pin(self.get(&get, true)).await?.body {
                Body::Http { status: 200, bytes, .. } => read(&bytes, 0),
                Body::Http { status, .. } => {
                    let why = format!("{resolver} answered with status {status}");
                    Err(Failure::new(Code::DnsFailed, why))
                }
                _ => Err(Failure::new(Code::DnsFailed, resolver)),
            };
        }
        let server: SocketAddr = resolver
            .parse()
            .map_err(|_| Failure::new(Code::DnsFailed, format!("{resolver}: address:port")))?;
        let id = random_id()?;
        let bytes = plain(server, &question(id)?)
            .await
            .map_err(|e| Failure::new(Code::DnsFailed, format!("{resolver}: {e}")))?;
        read(&bytes, id)
    }
}

fn is_doh(resolver: &str) -> bool {
    resolver.starts_with("http")
}

fn unknown(host: &str) -> Failure {
    Failure::new(Code::HostUnknown, format!("{host} has no address"))
}

/// Whether the system's resolver says that a name has no address, in the words of glibc, musl, the
/// BSDs with macOS, and Windows. The standard library does not give the code.
fn says_unknown(words: &str) -> bool {
    [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
        "Name has no usable address",
        "nodename nor servname provided, or not known",
        "os error 11001",
        "os error 11004",
    ]
    .iter()
    .any(|known| words.contains(known))
}

impl Native {
    /// Asks a name server that the user names.
    pub(super) async fn exchange_with(
        &self,
        server: &str,
        message: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let failed = |why: String| Failure::new(Code::DnsFailed, format!("{server}: {why}"));
        let address: SocketAddr = server.parse().map_err(|_| failed("address:port".into()))?;
        plain(address, message).await.map_err(|e| failed(e.to_string()))
    }
}

fn random_id() -> Result<u16, Failure> {
    let mut bytes = [0; 2];
    crate::fill_random(&mut bytes).map_err(|e| Failure::new(e.code(), e.to_string()))?;
    Ok(u16::from_le_bytes(bytes))
}

async fn plain(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let local: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    let mut buffer = vec![0; 4096];
    for _ in 0..3 {
        socket.send(query).await?;
        let wait = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer));
        let Ok(received) = wait.await else { continue };
        let length = received?;
        // Bit 1 of the third byte is TC: the answer did not fit, so ask again over TCP.
        if length > 3 && buffer[..2] == query[..2] && buffer[2] & 2 == 0 {
            buffer.truncate(length);
            return Ok(buffer);
        }
        break;
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(query).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
