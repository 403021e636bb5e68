//! The routes.

use crate::{
    limit::Limiter,
    problem::Problem,
    store::{self, Store},
};
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{self, Sse},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt as _, stream};
use kez_core::{Code, Error, Head, Identity, Timestamp, chain::MAX_BUNDLE};
use serde_json::json;
use std::{
    collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc, time::SystemTime,
};
use tokio::sync::watch;
use tokio_stream::wrappers::BroadcastStream;
use tower_http::{compression::CompressionLayer, cors};

const JSONL: &str = "application/jsonl";

#[derive(Clone)]
struct App {
    store: Store,
    limiter: Arc<Limiter>,
    ended: watch::Receiver<bool>,
}

pub(crate) fn router(store: Store, limiter: Arc<Limiter>, ended: watch::Receiver<bool>) -> Router {
    // Nothing here is secret, and nothing is done in anybody's name: any page may ask.
    let cors = cors::CorsLayer::new()
        .allow_origin(cors::Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::IF_NONE_MATCH])
        .expose_headers([header::ETAG, header::RETRY_AFTER]);
    Router::new()
        .route("/v1/sigchains/{primary}", get(chain).post(append))
        .route("/v1/sigchains/{primary}/head", get(head))
        .route("/v1/sigchains/{primary}/fork", get(fork))
        .route("/v1/subjects/{identity}", get(subject))
        .layer(CompressionLayer::new())
        // Not compressed: an event has to leave at once.
        .route("/v1/sigchains/{primary}/stream", get(stream))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(MAX_BUNDLE))
        .layer(cors)
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, Code::Usage, "there is no such path")
        })
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Problem::new(status, Code::Usage, "the path does not know this method")
        })
        .with_state(App { store, limiter, ended })
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::since_epoch(since.unwrap_or_default())
}

/// A path's key identity.
fn primary(text: &str) -> Result<Identity, Error> {
    let name = Identity::from_canonical(text)?;
    if name.scheme().is_key() { Ok(name) } else { Err(Error::about(Code::KeyExpected, name)) }
}

fn etag(head: Head) -> String {
    format!("\"{}\"", head.id)
}

/// Whether the client has this version already (RFC 9110, section 13.1.2).
fn unchanged(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let all = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(',')).any(|one| one.trim() == "*" || bare(one) == tag)
}

/// An answer that a cache may keep, if it asks each time whether it is still true.
fn versioned(headers: &HeaderMap, head: Head, kind: &str, body: String) -> Response {
    let tag = etag(head);
    let common = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if unchanged(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, kind.to_owned())], body).into_response()
}

async fn chain(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = primary(&name)?;
    let refused = |_| Problem::new(StatusCode::BAD_REQUEST, Code::Usage, "after is no position");
    let after = query.get("after").map(|n| n.parse()).transpose().map_err(refused)?.unwrap_or(0);
    let (head, lines) = app.store.lines(name, after).await?.ok_or_else(Problem::absent)?;
    Ok(versioned(&headers, head, JSONL, lines))
}

async fn head(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let head = app.store.head(primary(&name)?).await?.ok_or_else(Problem::absent)?;
    Ok(versioned(&headers, head, "application/json", json!(head).to_string()))
}

async fn fork(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    let absent = "no fork of this chain was seen here";
    let fork = app.store.fork(primary(&name)?).await?;
    let fork = fork.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, Code::ChainEmpty, absent))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], fork).into_response())
}

async fn subject(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let all = app.store.claimants(Identity::from_canonical(&id)?).await?;
    let all: Vec<_> = all
        .into_iter()
        .map(|c| json!({ "primary": c.primary, "seq": c.seq, "claim": c.claim }))
        .collect();
    let body = json!({ "subject": id, "claimants": all });
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

async fn append(
    State(app): State<App>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let name = primary(&name)?;
    app.limiter.check(peer.ip(), name.as_str()).map_err(|seconds| {
        let why = "too many appends in a short time";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, why).retry_after(seconds)
    })?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if kind.and_then(|kind| kind.split(';').next()).map(str::trim) != Some(JSONL) {
        let why = format!("the body is {JSONL}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Usage, why));
    }
    let body =
        Bytes::from_request(request, &()).await.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Error::about(Code::TooLarge, "a chain has at most 32 MiB").into()
            }
            status => Problem::new(status, Code::Usage, refused.body_text()),
        })?;
    let own = name.clone();
    // Reading much JSON would hold up others here.
    let read = tokio::task::spawn_blocking(move || store::read_lines(&own, &body));
    let posted = read.await.map_err(|e| store::Refusal::Storage(e.to_string()))??;
    let done = app.store.append(name.clone(), posted, now()).await?;
    let status = if done.new { StatusCode::CREATED } else { StatusCode::OK };
    let location: (HeaderName, String) = (header::LOCATION, format!("/v1/sigchains/{name}"));
    let common = [location, (header::ETAG, etag(done.head))];
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((status, common, kind, json!(done.head).to_string()).into_response())
}

/// The head now and every new one: an event `head` with `{"seq","id"}`, its id as the event's.
async fn stream(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let name = primary(&name)?;
    // First subscribed, then read: nothing falls between.
    let news = BroadcastStream::new(app.store.subscribe());
    let first = app.store.head(name.clone()).await?;
    let store = app.store.clone();
    let later = news.filter_map(move |new| {
        let (name, store) = (name.clone(), store.clone());
        async move {
            match new {
                Ok(new) => (new.name == name).then_some(new.head),
                // A slow reader missed some: what counts is the head now.
                Err(_) => store.head(name).await.ok().flatten(),
            }
        }
    });
    let mut ended = app.ended.clone();
    let end = async move { drop(ended.wait_for(|ended| *ended).await) };
    let heads = stream::iter(first).chain(later).take_until(Box::pin(end));
    let events = heads.map(|head| {
        let data = json!(head).to_string();
        Ok(sse::Event::default().event("head").id(head.id.to_string()).data(data))
    });
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::default()))
}

/// Whether requests can be answered: the storage can be read.
async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    app.store.check().await?;
    Ok("ready\n")
}
