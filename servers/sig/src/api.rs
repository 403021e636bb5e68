//! The routes.

use crate::{
    limit::{Appender, Limiter},
    metrics::Metrics,
    store::{Refusal, Store, after_line, chain_name},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{self, Sse},
    },
    routing,
};
use futures_util::{Stream, StreamExt as _, stream};
use kez_core::{
    Chain, Code, Error, Event, Identity, MAX_EVENT,
    chain::MAX_BUNDLE,
    log::{MAX_SIZE, consistency_json},
};
use kez_server::{
    body::{self, Rules},
    folder::Room,
    metrics::{self, Open},
    problem::{Problem, ProblemBody},
    replica::{self, Shared as _},
    sqlite::Failure,
};
use serde::Serialize;
use serde_json::json;
use std::{collections::HashMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use tower_http::cors;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

const JSONL: &str = "application/jsonl";
const JSON: &str = "application/json";
/// For how long a stream goes on.
const STREAM: Duration = Duration::from_hours(1);
/// A primary, for the description.
const fn a_primary() -> &'static str {
    "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
}

/// A chain's head.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the core writes heads; this only describes them")]
struct HeadBody {
    /// The last event's position, from 1.
    seq: u64,
    /// Its id, 64 hex digits.
    id: String,
}

/// There is no such chain here.
fn absent() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, Code::ChainEmpty, "this server has no such chain")
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(error) => error.into(),
            Refusal::Conflict { head, fork } => {
                let code = if fork { Code::Forked } else { Code::HeadConflict };
                Self::of(StatusCode::CONFLICT, code).with("head", json!(head))
            }
            Refusal::Removed => {
                let why = "the operator of this server removed the chain";
                Self::new(StatusCode::FORBIDDEN, Code::ChainUnreachable, why)
            }
            Refusal::Limited(seconds) => Self::too_often(seconds),
            Refusal::Quota => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                Code::QuotaExceeded,
                "only revocations and rotations of stored chains are taken",
            ),
            Refusal::Failed(failure) => failure.into(),
        }
    }
}

/// Somebody who claims a subject.
#[derive(Serialize, ToSchema)]
struct ClaimantBody {
    /// The chain.
    primary: String,
    /// The event's position.
    seq: u64,
    /// The claim's id.
    claim: String,
}

/// Who claims a subject.
#[derive(Serialize, ToSchema)]
struct SubjectBody {
    subject: String,
    /// Each chain once, with its latest `add` of the subject.
    claimants: Vec<ClaimantBody>,
    /// If there are more: the value of `after` that continues the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) metrics: Metrics,
}

/// The description of the interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "KEZ sigchain server",
        description = "Keeps sigchains and a transparency log of their heads (SPEC.md, \"Sigchain \
                       server\" and \"Transparency log\"). There are no accounts: an event's own \
                       signature says who may append it."
    ),
    components(schemas(ProblemBody), responses(ProblemBody)),
    paths(log_tile)
)]
struct Description;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(chain, append))
        .routes(routes!(head))
        .routes(routes!(fork))
        .routes(routes!(subject))
        .routes(routes!(log_key))
        .routes(routes!(log_checkpoint))
        .routes(routes!(log_consistency))
        // A description cannot say that a parameter has slashes.
        .route("/v1/log/tile/{*path}", routing::get(log_tile))
        .routes(routes!(stream))
        .routes(routes!(alive))
        .routes(routes!(ready))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

pub(crate) fn router(app: App) -> Router {
    // Nothing here is secret, and nothing is done in anybody's name: any page may ask.
    let cors = cors::CorsLayer::new()
        .allow_origin(cors::Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::IF_NONE_MATCH])
        .expose_headers([header::ETAG, header::RETRY_AFTER]);
    let (router, document) = routes().split_for_parts();
    let document = async move || axum::Json(document);
    let router = router
        .route("/openapi.json", routing::get(document))
        .fallback(async || Problem::no_path())
        .method_not_allowed_fallback(async || Problem::no_method());
    replica::fresh(router, &app.store)
        // After what answers other methods: the question before a page's request is one of them.
        .layer(cors)
        .layer(middleware::from_fn_with_state(app.clone(), limit_reads))
        .layer(middleware::from_fn_with_state(app.metrics.http.clone(), metrics::count))
        .with_state(app)
}

/// Counts reads for their client, but for questions about the server's health.
async fn limit_reads(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if reads && !is_health(request.uri().path()) {
        app.limiter.read(peer.ip())?;
    }
    Ok(next.run(request).await)
}

fn is_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Whether a request is answered when only the reserve of connections is left: an append, which is
/// signed, or a question about the server's health.
pub(crate) fn is_urgent(parts: &Parts) -> bool {
    parts.method == Method::POST || is_health(parts.uri.path())
}

/// Whether the client has this version already (RFC 9110, section 13.1.2).
fn unchanged(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let all = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(',')).any(|one| one.trim() == "*" || bare(one) == tag)
}

/// Whether the client reads gzip (RFC 9110, section 12.5.3).
fn reads_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = matches!(parts.next(), Some("gzip" | "x-gzip" | "*"));
        let refused = |part: &str| {
            part.strip_prefix("q=").is_some_and(|q| q.parse().is_ok_and(|q: f32| q == 0.0))
        };
        named && !parts.any(refused)
    })
}

/// An answer that a cache may keep, if it asks each time whether it is still true.
fn versioned(headers: &HeaderMap, version: &str, kind: &str, parts: Vec<Bytes>) -> Response {
    let tag = format!("\"{version}\"");
    let common = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if unchanged(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let length = parts.iter().map(Bytes::len).sum::<usize>().to_string();
    // In parts, so that a large bundle is sent from the one copy in memory.
    let body = Body::from_stream(stream::iter(parts.into_iter().map(Ok::<_, Infallible>)));
    let about = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, length)];
    (common, about, body).into_response()
}

/// A number in the query, 0 if it is not there.
fn number(query: &HashMap<String, String>, name: &str) -> Result<u64, Problem> {
    let refused = || {
        let why = format!("{name} is a number from 0 to {MAX_SIZE}");
        Problem::new(StatusCode::BAD_REQUEST, Code::Usage, why)
    };
    let Some(text) = query.get(name) else { return Ok(0) };
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| plain && *n <= MAX_SIZE);
    number.ok_or_else(refused)
}

/// The bundle of a chain.
///
/// With `log`, its last line proves that the head is in the log, and that the log grew from the
/// size that is named.
#[utoipa::path(get, path = "/v1/sigchains/{primary}", tag = "sigchains",
    params(
        ("primary" = String, Path, description = "A nostr: or ed25519: identity", example = a_primary),
        ("after" = Option<u64>, Query, maximum = 9007199254740991_u64,
         description = "Only what follows this position"),
        ("log" = Option<u64>, Query, maximum = 9007199254740991_u64,
         description = "Adds a proof line; the size of the log when it was last seen, or 0"),
    ),
    responses(
        (status = 200, content_type = "application/jsonl", body = String,
         headers(("etag" = String, description = "The head's id; with `log`, sizes follow"))),
        (status = 304, description = "The reader has it already"),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn chain(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (after, size) = (number(&query, "after")?, number(&query, "log")?);
    let stored = app.store.chain(&name, peer.ip()).await?.ok_or_else(absent)?;
    let mut version = stored.head.id.to_string();
    let mut last = Vec::new();
    if query.contains_key("log") {
        let proof = app.store.prove(&stored, size).await?;
        version += &format!(".{size}.{}", proof.checkpoint.tag());
        last = format!("{}\n", proof.to_line()).into_bytes();
    }
    // The end of a chain is short: only whole chains are compressed, each once for all readers.
    if after > 0 || !reads_gzip(&headers) {
        let lines = hold(after_line(&stored.bundle, after), stored.clone());
        return Ok(vary(versioned(&headers, &version, JSONL, vec![lines, last.into()])));
    }
    // The bytes differ, so the tag does (RFC 9110, section 8.8.1).
    version += ".gzip";
    let parts = stored.gzip(&last).await?.map(|part| hold(part, stored.clone())).into();
    let mut response = vary(versioned(&headers, &version, JSONL, parts));
    if response.status() == StatusCode::OK {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

/// Bytes that are being sent, with what counts or is shared as long as they are.
fn hold<T: Send + Sync + 'static>(bytes: Bytes, with: T) -> Bytes {
    struct Held<T>(
        Bytes,
        #[allow(dead_code, reason = "never read: it lives as long as the bytes are sent")] T,
    );
    impl<T> AsRef<[u8]> for Held<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, with))
}

/// Tells caches that the answer depends on the encodings that the client reads.
fn vary(mut response: Response) -> Response {
    let by = HeaderValue::from_static("accept-encoding");
    response.headers_mut().append(header::VARY, by);
    response
}

/// The head of a chain.
#[utoipa::path(get, path = "/v1/sigchains/{primary}/head", tag = "sigchains",
    params(("primary" = String, Path, example = a_primary)),
    responses(
        (status = 200, body = HeadBody, headers(("etag" = String, description = "The head's id"))),
        (status = 304, description = "The reader has it already"),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn head(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let head = app.store.head(&name).await?.ok_or_else(absent)?;
    Ok(versioned(&headers, &head.id.to_string(), JSON, vec![json!(head).to_string().into()]))
}

/// Evidence of other histories of a chain, if this server was shown any: fork objects, one a line,
/// each of the stored chain and another branch. Evidence is never replaced by later evidence.
#[utoipa::path(get, path = "/v1/sigchains/{primary}/fork", tag = "sigchains",
    params(("primary" = String, Path, example = a_primary)),
    responses(
        (status = 200, content_type = "application/jsonl", body = String),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn fork(
    State(app): State<App>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<Response, Problem> {
    let absent = "no fork of this chain was seen here";
    let fork = app.store.fork(chain_name(&name)?, peer.ip()).await?;
    let fork = fork.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, Code::ChainEmpty, absent))?;
    Ok(([(header::CONTENT_TYPE, JSONL)], hold(fork.0.into(), fork.1)).into_response())
}

/// Which chains list this subject: at most 100 at once, and `next` if there are more.
#[utoipa::path(get, path = "/v1/subjects/{identity}", tag = "sigchains",
    params(
        ("identity" = String, Path, example = "github:jason"),
        ("after" = Option<u64>, Query, maximum = 9007199254740991_u64,
         description = "`next` of the answer before"),
    ),
    responses(
        (status = 200, body = SubjectBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn subject(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let after = number(&query, "after")?;
    let (all, next) = app.store.claimants(Identity::from_canonical(&id)?, after).await?;
    let claimants = all
        .into_iter()
        .map(|c| ClaimantBody { primary: c.primary, seq: c.seq, claim: c.claim })
        .collect();
    Ok(axum::Json(SubjectBody { subject: id, claimants, next }).into_response())
}

/// The public key of the log, in C2SP's form.
#[utoipa::path(get, path = "/v1/log/key", tag = "log",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn log_key(State(app): State<App>) -> String {
    format!("{}\n", app.store.log_key().public())
}

/// The checkpoint of the log (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/v1/log/checkpoint", tag = "log",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn log_checkpoint(State(app): State<App>) -> Response {
    let fresh = [(header::CACHE_CONTROL, "no-cache")];
    (fresh, app.store.checkpoint().note().to_owned()).into_response()
}

/// Proof that the log grew from one size to another: hashes in base64.
#[utoipa::path(get, path = "/v1/log/consistency", tag = "log",
    params(
        ("from" = u64, Query, maximum = 9007199254740991_u64, example = 0),
        ("to" = u64, Query, maximum = 9007199254740991_u64, example = 0),
    ),
    responses(
        (status = 200, body = Vec<String>),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn log_consistency(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    if !query.contains_key("from") || !query.contains_key("to") {
        let why = "from and to are wanted";
        return Err(Problem::new(StatusCode::BAD_REQUEST, Code::Usage, why));
    }
    let proof = app.store.consistency(number(&query, "from")?, number(&query, "to")?).await?;
    Ok(([(header::CONTENT_TYPE, JSON)], consistency_json(&proof)).into_response())
}

/// A tile of the log (C2SP tlog-tiles): `0/x001/234`, `entries/000.p/5`.
#[utoipa::path(get, path = "/v1/log/tile/{path}", tag = "log",
    params(("path" = String, Path, example = "0/000.p/1")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = String),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn log_tile(State(app): State<App>, Path(path): Path<String>) -> Result<Response, Problem> {
    let absent = || {
        let why = "the log has no such tile";
        Problem::new(StatusCode::NOT_FOUND, Code::Usage, why)
    };
    let tile = app.store.tile(path).await?.ok_or_else(absent)?;
    // A tile of so many hashes never changes.
    let kept = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((kept, tile).into_response())
}

/// Appends events, all or none. What is here already is passed over.
#[utoipa::path(post, path = "/v1/sigchains/{primary}", tag = "sigchains",
    params(("primary" = String, Path, example = a_primary)),
    request_body(content = String, content_type = "application/jsonl",
        description = "Canonical events, one a line, in order"),
    responses(
        (status = 200, body = HeadBody, description = "All of it was here already"),
        (status = 201, body = HeadBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "It does not continue what is here; `head` says what that is"),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn append(
    State(app): State<App>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let (name, client, limiter) = (chain_name(&name)?, peer.ip(), &*app.limiter);
    limiter.append(client)?;
    let check = |bytes: &[u8]| check_first_line(&name, bytes);
    let rules = Rules { check: &check, ..Rules::new(JSONL, MAX_BUNDLE, &limiter.memory) };
    let (body, _memory) = body::read(request, client, rules).await?;
    let appender = Appender { limiter, client, chain: &name };
    let done = app.store.append(name.clone(), body, kez_server::now(), &appender).await?;
    let status = if done.new { StatusCode::CREATED } else { StatusCode::OK };
    let location: (HeaderName, String) = (header::LOCATION, format!("/v1/sigchains/{name}"));
    let common = [location, (header::ETAG, format!("\"{}\"", done.head.id))];
    let kind = [(header::CONTENT_TYPE, JSON)];
    Ok((status, common, kind, json!(done.head).to_string()).into_response())
}

/// Refuses a body whose first line is no event of the chain, before the rest is read. The first
/// event of a chain has to be signed by its key, too.
fn check_first_line(name: &Identity, body: &[u8]) -> Result<(), Problem> {
    // The check runs for each part of the body; the first line is read once.
    let Some(end) = body.iter().take(MAX_EVENT + 1).position(|byte| *byte == b'\n') else {
        let too_long = body.len() > MAX_EVENT;
        return if too_long { Err(Error::from(Code::TooLarge).into()) } else { Ok(()) };
    };
    let (envelope, event, _) = Event::take(&mut &body[..=end])?;
    if event.chain != *name {
        return Err(Error::about(Code::ChainId, event.chain).into());
    }
    if event.seq == 1 {
        Chain::new(name)?.append(&envelope, kez_server::now())?;
    }
    Ok(())
}

/// The head now and every new one: an event `head` with `{"seq","id"}`, its id as the event's.
///
/// The stream ends after an hour; whoever still listens asks again.
#[utoipa::path(get, path = "/v1/sigchains/{primary}/stream", tag = "sigchains",
    params(("primary" = String, Path, example = a_primary)),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
async fn stream(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let name = chain_name(&name)?;
    // First subscribed, then read: nothing falls between.
    let news = app.store.subscribe(&name);
    let first = app.store.head(name.as_str()).await?;
    let store = app.store.clone();
    let later = stream::unfold((news, name, store), async |(mut news, name, store)| {
        let head = match news.next().await {
            Some(head) => Some(head),
            // A slow reader missed some: what counts is the head now.
            None => store.head(name.as_str()).await.ok().flatten(),
        };
        Some((stream::iter(head), (news, name, store)))
    });
    let later = later.flatten();
    let mut ended = app.ended.clone();
    let end = async move {
        let ended = ended.wait_for(|ended| *ended);
        drop(timeout(STREAM, ended).await);
    };
    let heads = stream::iter(first).chain(later).take_until(Box::pin(end));
    let open = Open::new(&app.metrics.http.streams);
    let events = heads.map(move |head| {
        let _ = &open;
        let data = json!(head).to_string();
        Ok(sse::Event::default().event("head").id(head.id.to_string()).data(data))
    });
    Ok(Sse::new(events).keep_alive(sse::KeepAlive::default()))
}

/// That the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn alive() -> &'static str {
    "ok\n"
}

/// Whether requests can be answered: the storage can be read, and NATS, if it is used. The text
/// says whether the quota is reached; 507 says that nothing more can be stored.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, content_type = "text/plain", body = String),
        (status = "5XX", response = ProblemBody),
    ))]
async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    app.store.check().await?;
    app.store.current().await?;
    match app.store.room().await? {
        Room::Plenty => Ok("ready\n"),
        Room::Reserve => Ok("ready, quota reached: only revocations and rotations are stored\n"),
        Room::None => Err(Failure::Full.into()),
    }
}
