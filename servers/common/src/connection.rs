//! Connections: how many there are, from which clients, and how long each may keep the server
//! waiting. `axum::serve` bounds none of this.

use crate::{
    client::{self, TrustedProxy},
    limit::{Exhausted, Pool, Share},
    metrics::Open,
    problem::Problem,
    process,
};
use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use kez_core::Code;
use prometheus_client::metrics::gauge::Gauge;
use socket2::SockRef;
use std::{
    convert::Infallible,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};
use tower::ServiceExt as _;

/// The time for the head of a request, and for an idle connection.
const HEAD: Duration = Duration::from_secs(10);
/// The time after which the system closes a connection whose peer acknowledges nothing.
const STALL: Duration = Duration::from_secs(30);
/// While an answer waits for its reader, the reader has to take [`STEP`] bytes in this time.
const WINDOW: Duration = Duration::from_secs(20);
/// See [`WINDOW`].
const STEP: usize = 64 * 1024;
/// How long a closed connection is read from.
const LINGER: Duration = Duration::from_secs(1);
/// The time that requests in progress have when the server ends.
const ENDING: Duration = Duration::from_secs(30);
/// One of this many connections is kept for urgent requests.
const RESERVE: usize = 16;
/// The time between two answers 429 to one client.
const REFUSAL: Duration = Duration::from_millis(2);
/// What a client gets instead of a connection.
const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// What connections may cost.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How many may be open at once. A sixteenth of them is kept for urgent requests.
    pub most: usize,
    /// How many of them one client may have; without a number, a sixteenth of `most`,
    /// but at least 8.
    pub per_client: Option<usize>,
    /// The read buffer of each in bytes, at least 8,192.
    pub buffer: usize,
    /// How long each may live.
    pub life: Option<Duration>,
    /// The reverse proxies that are trusted to name clients. Their own connections are not counted
    /// for one client; the requests that they forward are.
    pub proxies: Vec<TrustedProxy>,
    /// Whether a request is answered even when only the reserve is left.
    pub urgent: fn(&axum::http::request::Parts) -> bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            most: 10_000,
            per_client: None,
            buffer: 64 * 1024,
            life: None,
            proxies: Vec::new(),
            urgent: |_| true,
        }
    }
}

/// What all connections of a listener share.
struct Shared {
    router: Router,
    bounds: Bounds,
    /// Connections of clients.
    clients: Pool,
    /// Connections of trusted proxies.
    proxies: Pool,
    /// Requests that trusted proxies forward.
    forwarded: Pool,
}

impl Shared {
    fn new(router: Router, bounds: Bounds) -> Self {
        let most = bounds.most;
        let per_client = bounds.per_client.unwrap_or((most / RESERVE).max(8)).min(most);
        let (clients, proxies) = (Pool::new(most, per_client), Pool::new(most, most));
        let forwarded = Pool::new(most, per_client);
        Self { router, bounds, clients, proxies, forwarded }
    }

    /// A place for a connection, and whether it is one of the reserve.
    fn place(&self, peer: SocketAddr) -> Result<(Share, bool), Exhausted> {
        if client::is_trusted(&self.bounds.proxies, peer.ip()) {
            return Ok((self.proxies.take(peer.ip(), 1)?, false));
        }
        let place = self.clients.take(peer.ip(), 1)?;
        let reserved = self.clients.held() > self.bounds.most - self.bounds.most / RESERVE;
        Ok((place, reserved))
    }

    /// Answers one request.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        reserved: bool,
    ) -> Response {
        let (parts, body) = request.into_parts();
        if let Err(problem) = check_framing(&parts.headers) {
            return closing(problem.into_response());
        }
        if reserved && !(self.bounds.urgent)(&parts) {
            return closing(too_many().into_response());
        }
        let client = client::of(peer.ip(), &parts.headers, &self.bounds.proxies);
        let share = if client == peer.ip() {
            None
        } else {
            match self.forwarded.take(client, 1) {
                Ok(share) => Some(share),
                Err(_) => return too_many().into_response(),
            }
        };
        let mut request = hyper::Request::from_parts(parts, Body::new(body));
        let from = SocketAddr::new(client, peer.port());
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(from));
        let Ok(response) = self.router.clone().oneshot(request).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            // One refusal costs little, but a flood of them does: a client gets so many a second,
            // however many connections it has.
            let open = self.clients.held_by(client).max(self.forwarded.held_by(client)).max(1);
            sleep(REFUSAL * u32::try_from(open).unwrap_or(u32::MAX)).await;
        }
        let response = match share {
            Some(_share) => response.map(|body| Body::new(Held { body, _share })),
            None => response,
        };
        if reserved { closing(response) } else { response }
    }
}

/// The body of an answer, which counts for its client until it is sent.
struct Held {
    body: Body,
    _share: Share,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_many() -> Problem {
    let why = "too many connections";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, why).retry_after(5)
}

fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Refuses a body whose length is not known beforehand. With it goes every request that a proxy and
/// this server could read as different ones (RFC 9112, section 6.3).
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    let why = "a body needs a content-length";
    Err(Problem::new(StatusCode::LENGTH_REQUIRED, Code::Usage, why))
}

/// Serves until `shutdown` is done, then lets the requests in progress end.
///
/// # Errors
/// None: an error of a connection ends that connection, and one of the listener is logged.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    open: &Gauge,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let most = process::possible_connections(bounds.most);
    let shared = Arc::new(Shared::new(router, Bounds { most, ..bounds }));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(both) => both,
            Err(e) if is_peers(&e) => continue,
            Err(e) => {
                // Usually no file descriptor is left. Some are freed in a moment.
                tracing::error!("accept: {e}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok((place, reserved)) = shared.place(peer) else {
            refuse(stream);
            continue;
        };
        prepare(&stream);
        let open = Open::new(open);
        let own = shared.clone();
        let service = service_fn(move |request| {
            let own = own.clone();
            async move { Ok::<_, Infallible>(own.answer(request, peer, reserved).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        builder.max_buf_size(shared.bounds.buffer.max(8192));
        let connection = builder.serve_connection(TokioIo::new(Paced::new(stream)), service);
        let connection = graceful.watch(connection);
        let life = shared.bounds.life;
        tokio::spawn(async move {
            // A connection that breaks is the peer's affair.
            match life {
                Some(life) => drop(tokio::time::timeout(life, connection).await),
                None => drop(connection.await),
            }
            drop((place, open));
        });
    }
    drop(listener);
    if tokio::time::timeout(ENDING, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

fn is_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Sends [`REFUSED`] without waiting, and closes.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // The answer is a courtesy: the socket's buffer is empty, and a peer may be gone.
        let _ = stream.write(REFUSED);
    }
}

/// A peer that acknowledges nothing keeps a stream's task asleep, so the system has to end it.
fn prepare(stream: &TcpStream) {
    // An error here means that the peer has closed already; the next read reports it.
    let _ = stream.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(STALL));
}

/// A connection that ends if its peer reads too slowly what is sent to it.
struct Paced<S> {
    stream: S,
    /// When the current window ends, while something waits to be sent.
    window: Option<Pin<Box<Sleep>>>,
    /// The bytes that the peer took in the current window.
    taken: usize,
    /// When a connection that is closing ends at the latest.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    const fn new(stream: S) -> Self {
        Self { stream, window: None, taken: 0, linger: None }
    }

    /// Called when the peer does not take more for now.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let window = self.window.get_or_insert_with(|| Box::pin(sleep(WINDOW)));
            ready!(window.as_mut().poll(cx));
            if self.taken < STEP {
                let why = "the peer reads too slowly";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            self.taken = 0;
            window.as_mut().reset(Instant::now() + WINDOW);
        }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.taken += bytes;
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => self.wait(cx).map(Err),
            error => error,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            // All is sent: the next wait is a new one.
            (self.window, self.taken) = (None, 0);
        }
        result
    }

    /// Sends the end, and then reads until the peer's end, for a moment: if bytes of a refused body
    /// were left unread, the system would reset the connection, and the peer might lose the answer
    /// (RFC 9112, section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    /// Writes 4 MiB to a peer that reads `step` bytes every second.
    async fn write_to_reader_of(step: usize) -> io::Result<()> {
        let (server, mut peer) = duplex(1024);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; step];
            while peer.read_exact(&mut buffer).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let mut paced = Paced::new(server);
        let written = paced.write_all(&vec![0; 4 << 20]).await;
        drop(paced);
        reader.await.unwrap();
        written
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_cut_off_and_a_steady_one_is_not() {
        let slow = write_to_reader_of(1000).await.unwrap_err();
        assert_eq!(slow.kind(), io::ErrorKind::TimedOut);
        write_to_reader_of(16 * 1024).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_little_to_send_lives() {
        let (server, mut peer) = duplex(64);
        let mut paced = Paced::new(server);
        let mut buffer = [0; 64];
        for _ in 0..100 {
            paced.write_all(&buffer).await.unwrap();
            paced.flush().await.unwrap();
            sleep(Duration::from_secs(15)).await;
            peer.read_exact(&mut buffer).await.unwrap();
        }
    }
}
