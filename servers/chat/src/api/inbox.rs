//! Inboxes: polled, streamed and acknowledged.

use super::{
    App,
    auth::{Caller, caller, signed, streamer},
    conversation::{Since, since},
    hex_id,
};
use crate::{
    broker::{News, Subscription},
    feed::{Feed, Step},
    store::{Item, life},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::stream;
use kez_core::{
    Code, Error, Identity,
    chat::{Handle, auth::Binds},
};
use kez_server::{
    metrics::Open,
    problem::{Problem, ProblemBody},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, Sleep, sleep},
};
use utoipa::ToSchema;

/// After how many seconds a client without a stream may ask again.
const POLL_AFTER: u64 = 20;
/// For how many conversations one acknowledgement names a commit.
const ACCEPTED: usize = 100;

/// An item of an inbox or of a conversation's log.
#[derive(Serialize, ToSchema)]
pub(super) struct ItemBody {
    /// In an inbox, its position there.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// `message`, `commit` or `welcome`.
    kind: &'static str,
    /// 64 hex digits.
    conversation: String,
    /// The position in the conversation; of a welcome, that of the commit that invites.
    position: u64,
    /// The sender's name for it, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The device that a welcome is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// When the server took it, RFC 3339.
    at: String,
    /// What the server cannot read, in base64url.
    body: String,
}

impl ItemBody {
    pub(super) fn of(item: &Item) -> Self {
        Self {
            seq: (item.position > 0).then_some(item.position),
            kind: item.kind.as_str(),
            conversation: item.conversation.clone(),
            position: item.entry,
            id: Some(item.id.clone()).filter(|id| !id.is_empty()),
            device: item.device.clone(),
            at: item.at.to_string(),
            body: BASE64_URL_SAFE_NO_PAD.encode(&item.body),
        }
    }
}

/// An item in JSON.
pub(crate) fn text(item: &Item) -> String {
    // What is made of strings and numbers can always be written.
    serde_json::to_string(&ItemBody::of(item)).unwrap_or_default()
}

/// An item as it is streamed: rendered once for all who listen.
pub(crate) fn frame(item: &Item) -> Bytes {
    format!("event: item\nid: {}\ndata: {}\n\n", item.position, text(item)).into()
}

/// Items of an inbox.
#[derive(Serialize, ToSchema)]
pub(super) struct InboxBody {
    items: Vec<ItemBody>,
    /// The position of the newest item of the inbox; there are more if it is not among these.
    last: u64,
    /// After how many seconds to ask again, without a stream.
    poll_after: u64,
}

/// The items of an inbox after a position, in order: at most 200.
#[utoipa::path(get, path = "/v1/inbox/{handle}", tag = "inbox",
    params(
        ("handle" = String, Path, example = "alice"),
        ("since" = u64, Query, maximum = 9007199254740991_u64),
    ),
    responses(
        (status = 200, body = InboxBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn poll(
    State(app): State<App>,
    Path(handle): Path<String>,
    query: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
    parts: Parts,
) -> Result<Json<InboxBody>, Problem> {
    let handle: Handle = handle.parse()?;
    let since = since(query)?;
    let caller = caller(&app, &parts, Binds::Since(since)).await?;
    caller.must_be(handle.as_str())?;
    let page = app.store.inbox(caller.handle, since).await?;
    let items = page.items.iter().map(ItemBody::of).collect();
    Ok(Json(InboxBody { items, last: page.last, poll_after: POLL_AFTER }))
}

/// Up to where a device has everything.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAck {
    /// The position in the inbox.
    #[serde(deserialize_with = "super::position")]
    #[schema(maximum = 9007199254740991_u64)]
    seq: u64,
    /// The last commit that the device accepted, for each conversation where that has changed: at
    /// most 100.
    #[serde(default)]
    accepted: Vec<Accepted>,
}

/// The last commit of a conversation that a device accepted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// The conversation, 64 hex digits.
    conversation: String,
    /// The position of the commit, or of the commit that invited the device.
    #[serde(deserialize_with = "super::position")]
    #[schema(maximum = 9007199254740991_u64)]
    position: u64,
}

/// Up to where a device has everything.
#[derive(Serialize, ToSchema)]
pub(super) struct AckBody {
    /// The position in the inbox.
    seq: u64,
}

/// Acknowledges: the device that asks has stored everything up to a position. What all devices in
/// force have acknowledged is dropped.
#[utoipa::path(post, path = "/v1/inbox/{handle}/ack", tag = "inbox",
    params(("handle" = String, Path, example = "alice")),
    request_body = NewAck,
    responses(
        (status = 200, body = AckBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn acknowledge(
    State(app): State<App>,
    Path(handle): Path<String>,
    request: Request,
) -> Result<Json<AckBody>, Problem> {
    let handle: Handle = handle.parse()?;
    let (body, caller) = signed::<NewAck>(&app, request).await?;
    caller.must_be(handle.as_str())?;
    if body.accepted.len() > ACCEPTED {
        return Err(Error::about(Code::TooLarge, "at most 100 accepted commits").into());
    }
    let accepted = body.accepted.into_iter();
    let accepted = accepted.map(|one| Ok((hex_id(&one.conversation, 64)?, one.position)));
    let accepted = accepted.collect::<Result<_, Problem>>()?;
    let (now, Caller { handle, device, .. }) = (kez_server::now(), caller);
    let seq = app.store.acknowledge(handle, device, body.seq, accepted, now).await?;
    Ok(Json(AckBody { seq }))
}

/// Handles that the owner of an inbox has blocked.
#[derive(Serialize, ToSchema)]
pub(super) struct BlocksBody {
    /// Sorted.
    blocks: Vec<String>,
}

/// The handles that the owner of an inbox has blocked.
#[utoipa::path(get, path = "/v1/inbox/{handle}/blocks", tag = "inbox",
    params(("handle" = String, Path, example = "alice")),
    responses(
        (status = 200, body = BlocksBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn blocks(
    State(app): State<App>,
    Path(handle): Path<String>,
    parts: Parts,
) -> Result<Json<BlocksBody>, Problem> {
    let handle: Handle = handle.parse()?;
    let caller = caller(&app, &parts, Binds::Nothing).await?;
    caller.must_be(handle.as_str())?;
    Ok(Json(BlocksBody { blocks: app.store.blocks(caller.handle).await? }))
}

/// Blocks a handle: nothing that it posts comes into the inbox any more. It sees no difference to
/// an inbox that is full.
#[utoipa::path(put, path = "/v1/inbox/{handle}/blocks/{other}", tag = "inbox",
    params(
        ("handle" = String, Path, example = "alice"),
        ("other" = String, Path, example = "mallory"),
    ),
    request_body(content = serde_json::Value, description = "An empty object"),
    responses(
        (status = 204),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn block(
    State(app): State<App>,
    Path((handle, other)): Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (handle, other): (Handle, Handle) = (handle.parse()?, other.parse()?);
    let (_, caller) = signed::<serde_json::Value>(&app, request).await?;
    caller.must_be(handle.as_str())?;
    app.store.block(caller.handle, other, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the block of a handle. What it posted meanwhile does not come into the inbox.
#[utoipa::path(delete, path = "/v1/inbox/{handle}/blocks/{other}", tag = "inbox",
    params(
        ("handle" = String, Path, example = "alice"),
        ("other" = String, Path, example = "mallory"),
    ),
    responses(
        (status = 204),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn unblock(
    State(app): State<App>,
    Path((handle, other)): Path<(String, String)>,
    parts: Parts,
) -> Result<StatusCode, Problem> {
    let (handle, other): (Handle, Handle) = (handle.parse()?, other.parse()?);
    let caller = caller(&app, &parts, Binds::Nothing).await?;
    caller.must_be(handle.as_str())?;
    app.limiter.device(caller.device.as_str()).map_err(Problem::too_often)?;
    app.store.block(caller.handle, other, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The items of an inbox after a position, and every new one: events `item`, with the position as
/// their id.
///
/// An event `resync` says that the stream reads on from the storage; `end` that the client shall
/// come back, after the time that `retry` told.
#[utoipa::path(get, path = "/v1/inbox/{handle}/stream", tag = "inbox",
    params(
        ("handle" = String, Path, example = "alice"),
        ("device" = String, Query, description = "The device's key, 64 hex digits"),
        ("auth" = String, Query, description = "`<ts>:<sig>` (SPEC.md, \"Signed requests\")"),
        ("since" = Option<u64>, Query, maximum = 9007199254740991_u64),
        ("last-event-id" = Option<u64>, Header, description = "Instead of `since`"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn stream(
    State(app): State<App>,
    Path(handle): Path<String>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
    parts: Parts,
) -> Result<Response, Problem> {
    let handle: Handle = handle.parse()?;
    let bad = |why: &str| Problem::new(StatusCode::BAD_REQUEST, Code::Usage, why);
    let Query(query) = query.map_err(|_| bad("the query"))?;
    let caller = streamer(&app, &query, &parts.uri).await?;
    caller.must_be(handle.as_str())?;
    let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let asked = query.iter().find(|(key, _)| key == "since").map(|(_, value)| value.as_str());
    let since = match last.or(asked) {
        None => 0,
        Some(text) => text.parse().map_err(|_| bad("since is a number"))?,
    };
    // First subscribed, then read: nothing falls between.
    let news = app.store.broker().subscribe(&caller.handle);
    let until = Instant::now() + app.limits.stream_life;
    let streaming = Streaming {
        news,
        feed: Feed::since(since),
        behind: true,
        queue: VecDeque::from([Bytes::from_static(b"retry: 1000\n\n")]),
        over: false,
        ended: app.ended.clone(),
        evicted: app.streams.enter(&caller.device, app.limits.streams.get()),
        quiet: Box::pin(sleep(app.limits.keep_alive)),
        life: Box::pin(sleep(life(caller.not_after, app.limits.stream_life))),
        until,
        handle: caller.handle,
        device: caller.device,
        _open: Open::new(&app.metrics.http.streams),
        app,
    };
    let frames = stream::unfold(Box::new(streaming), async |mut streaming| {
        let frame = streaming.next().await?;
        Some((Ok::<_, Infallible>(frame), streaming))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would keep events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// What a stream waited for.
enum Woken {
    End(&'static str),
    /// `None`: some were lost.
    News(Option<News>),
}

/// One stream.
struct Streaming {
    app: App,
    handle: String,
    device: Identity,
    news: Subscription,
    feed: Feed,
    /// Whether the storage has to be read before anything else is sent.
    behind: bool,
    queue: VecDeque<Bytes>,
    over: bool,
    ended: watch::Receiver<bool>,
    evicted: Place,
    quiet: Pin<Box<Sleep>>,
    /// Until then it goes on, within the device's time.
    life: Pin<Box<Sleep>>,
    /// The end of a stream of a device whose time is not limited.
    until: Instant,
    _open: Open,
}

impl Streaming {
    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let frame = self.wait().await?;
        self.quiet.as_mut().reset(Instant::now() + self.app.limits.keep_alive);
        Some(frame)
    }

    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.queue.pop_front() {
                return Some(frame);
            }
            if self.over {
                return None;
            }
            if self.life.deadline() <= Instant::now() {
                self.end("age");
                continue;
            }
            if self.behind {
                self.read().await?;
                continue;
            }
            let (ended, evicted) = (&mut self.ended, &self.evicted.notify);
            let woken = tokio::select! {
                biased;
                () = async { drop(ended.wait_for(|ended| *ended).await) } => Woken::End("shutdown"),
                () = &mut self.life => Woken::End("age"),
                () = evicted.notified() => Woken::End("replaced"),
                news = self.news.next() => Woken::News(news),
                () = &mut self.quiet => return Some(Bytes::from_static(b":\n\n")),
            };
            match woken {
                Woken::End(reason) => self.end(reason),
                Woken::News(Some(News::Item { position, frame })) => {
                    match self.feed.told(position) {
                        Step::Send => return Some(frame),
                        Step::Skip => {}
                        Step::Read => self.behind = true,
                    }
                }
                Woken::News(Some(News::Devices)) => self.check_device().await?,
                Woken::News(None) => {
                    self.app.metrics.resyncs.inc();
                    let position = self.feed.position();
                    let data = format!("event: resync\ndata: {{\"since\":{position}}}\n\n");
                    self.queue.push_back(data.into());
                    self.behind = true;
                }
            }
        }
    }

    /// Ends with the device, or with its time, which may be another one now.
    async fn check_device(&mut self) -> Option<()> {
        let now = kez_server::now();
        match self.app.store.device(self.device.clone(), now).await.ok()? {
            Some(device) if device.active => {
                let left = self.until.saturating_duration_since(Instant::now());
                self.life.as_mut().reset(Instant::now() + life(device.not_after, left));
            }
            _ => self.end("revoked"),
        }
        Some(())
    }

    /// Reads a page from the storage. `None` if it cannot be read: the client comes back.
    async fn read(&mut self) -> Option<()> {
        let position = self.feed.position();
        let page = self.app.store.inbox(self.handle.clone(), position).await.ok()?;
        let complete = page.items.last().is_none_or(|item| item.position >= page.last);
        for item in &page.items {
            if self.feed.read(item.position) {
                self.queue.push_back(frame(item));
            }
        }
        if complete {
            self.feed.complete(page.last);
            self.behind = false;
        }
        Some(())
    }

    /// Says why the stream ends, and when to come back: not all at the same moment.
    fn end(&mut self, reason: &str) {
        let mut jitter = [0; 2];
        // Without randomness they come back together, which is no harm but to the server.
        let _ = getrandom::fill(&mut jitter);
        let retry = 500 + u64::from(u16::from_le_bytes(jitter)) % 4500;
        let frame = format!("retry: {retry}\nevent: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
        self.queue.push_back(frame.into());
        self.over = true;
    }
}

/// The open streams of each device.
#[derive(Default)]
pub(crate) struct Streams(Arc<Mutex<ByDevice>>);

type ByDevice = HashMap<String, VecDeque<Arc<Notify>>>;

/// A stream's place among those of its device, until it is dropped.
struct Place {
    notify: Arc<Notify>,
    device: Box<str>,
    streams: Arc<Mutex<ByDevice>>,
}

impl Streams {
    /// One more stream of a device; if there are too many, the oldest is told to go.
    fn enter(&self, device: &Identity, most: usize) -> Place {
        let notify = Arc::new(Notify::new());
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = streams.entry(device.to_string()).or_default();
        own.push_back(notify.clone());
        if own.len() > most
            && let Some(oldest) = own.pop_front()
        {
            oldest.notify_one();
        }
        Place { notify, device: device.as_str().into(), streams: self.0.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = streams.get_mut(&*self.device) {
            own.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if own.is_empty() {
                streams.remove(&*self.device);
            }
        }
    }
}
