//! TXT lookups: DNS over HTTPS in wire format over GET (RFC 8484), or plain DNS to a named
//! server. The resolver's AD bit is asked for and reported.

use super::Native;
use kez_core::{
    Code, dns,
    transport::{Answer, Body, Failure, Via},
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
            match self.ask(resolver, name).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn ask(&self, resolver: &str, name: &str) -> Result<Answer, Failure> {
        let doh = resolver.starts_with("http");
        // A cached DoH answer must not depend on a random id (RFC 8484, section 4.1).
        let id = if doh { 0 } else { random_id()? };
        let bytes = if doh {
            let url = dns::doh_url(resolver, name)?;
            let answer = self.get(&url, dns::MEDIA_TYPE, dns::MAX_MESSAGE, None).await?;
            match answer.body {
                Body::Http { status: 200, bytes, .. } => bytes,
                Body::Http { status, .. } => {
                    let why = format!("{resolver} answered with status {status}");
                    return Err(Failure::new(Code::DnsFailed, why));
                }
                _ => return Err(Failure::new(Code::DnsFailed, resolver)),
            }
        } else {
            let server: SocketAddr = resolver
                .parse()
                .map_err(|_| Failure::new(Code::DnsFailed, format!("{resolver}: address:port")))?;
            plain(server, &dns::query(name, id)?)
                .await
                .map_err(|e| Failure::new(Code::DnsFailed, format!("{resolver}: {e}")))?
        };
        let body = dns::read(&bytes, id, name)?;
        let via = if doh { Via::Doh } else { Via::Direct };
        Ok(Answer { body, via, fetched_at: crate::now() })
    }
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
