//! The routes.

mod auth;
mod conversation;
mod directory;
mod inbox;
mod pages;

pub(crate) use auth::{Caller, enter};
pub(crate) use inbox::{Streams, frame, text};

use crate::{
    Limits,
    limit::Limiter,
    metrics::Metrics,
    seen::Seen,
    store::{Refusal, Store},
};
use axum::{
    Router,
    body::Bytes,
    extract::{Extension, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware,
    response::Response,
    routing,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kez_core::{
    Code, Envelope, Error,
    json::{MAX_INTEGER, Value},
};
use kez_server::{
    body::{self, MaxBody, Rules},
    client,
    folder::Room,
    limit::{Pool, Share},
    metrics,
    problem::{Problem, ProblemBody},
    replica::{self, Shared as _},
    sqlite::Failure,
};
use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use std::{path::Path, sync::Arc};
use tokio::sync::watch;
use tower_http::cors;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

const JSON: &str = "application/json";
const JSONL: &str = "application/jsonl";
/// The largest body of a message, with what stands around it in JSON and base64.
const MESSAGE: usize = 96 * 1024;
/// The largest body of a change with its invitations, and of a sigchain here.
const CHANGE: usize = 1024 * 1024;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) limiter: Limiter,
    /// The memory for the bodies of requests.
    pub(crate) memory: Pool,
    pub(crate) seen: Seen,
    pub(crate) streams: Streams,
    pub(crate) metrics: Metrics,
    pub(crate) origin: String,
    pub(crate) limits: Limits,
    pub(crate) ended: watch::Receiver<bool>,
}

type App = Arc<Shared>;

/// The description of the interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "KEZ chat server",
        description = "Keeps and pushes what people send each other, and reads no word of it \
                       (SPEC.md, \"Chat server\"). Requests are signed by devices: the header \
                       `Authorization: KEZ device=…,ts=…,sig=…`, or `device` and `auth` in the \
                       query of a stream (SPEC.md, \"Signed requests\")."
    ),
    components(schemas(ProblemBody), responses(ProblemBody))
)]
struct Description;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(conversation::message))
        .routes(routes!(inbox::poll))
        .routes(routes!(inbox::stream))
        .routes(routes!(inbox::acknowledge))
        .routes(routes!(inbox::blocks))
        .routes(routes!(inbox::block, inbox::unblock))
        .routes(routes!(conversation::create))
        .routes(routes!(conversation::show))
        .routes(routes!(conversation::log))
        .routes(routes!(directory::put_bundle))
        .routes(routes!(directory::claim))
        .layer(Extension(MaxBody(MESSAGE)))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(conversation::change))
                .routes(routes!(directory::register))
                .routes(routes!(directory::handle, directory::release))
                .routes(routes!(directory::chain, directory::put_chain))
                .routes(routes!(directory::put_key_packages, directory::key_packages))
                .layer(Extension(MaxBody(CHANGE))),
        )
        .routes(routes!(alive))
        .routes(routes!(ready))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

pub(crate) fn router(app: App, files: Option<&Path>) -> Router {
    // A signature is no cookie: what a page may do, its own device's key allows.
    let cors = cors::CorsLayer::new()
        .allow_origin(cors::Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::DATE, header::RETRY_AFTER]);
    let (router, document) = routes().split_for_parts();
    let document = async move || axum::Json(document);
    let router = router
        .route("/openapi.json", routing::get(document))
        .layer(middleware::map_response(private))
        .method_not_allowed_fallback(async || Problem::no_method());
    let router = replica::fresh(router, &app.store)
        // After what answers other methods: the question before a page's request is one of them.
        .layer(cors);
    let router = match files {
        Some(dir) => router.fallback_service(pages::serve(dir, &app.origin)),
        None => router.fallback(async || Problem::no_path()),
    };
    router
        .layer(middleware::from_fn_with_state(app.metrics.http.clone(), metrics::count))
        .with_state(app)
}

/// What a signature opened, no cache keeps; and no other site learns a URL that has one in it.
async fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let about = |status, error: &Error| match error.context() {
            Some(context) => Self::new(status, error.code(), context),
            None => Self::of(status, error.code()),
        };
        match refusal {
            Refusal::Invalid(error) if error.code() == Code::Forked => {
                about(StatusCode::CONFLICT, &error)
            }
            Refusal::Invalid(error) => error.into(),
            Refusal::Absent(error) => about(StatusCode::NOT_FOUND, &error),
            Refusal::Taken(error) => about(StatusCode::CONFLICT, &error),
            Refusal::Conflict { position, changed } => {
                Self::of(StatusCode::CONFLICT, Code::CommitConflict)
                    .with("position", position)
                    .with("changed", changed)
            }
            Refusal::Quota(whose) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::QuotaExceeded, whose)
            }
            Refusal::Failed(failure) => failure.into(),
        }
    }
}

/// Reads a body of a media type, of the size that its route allows.
async fn read_body(
    app: &Shared,
    request: Request,
    kind: &'static str,
) -> Result<(Bytes, Share), Problem> {
    let client = client::of_request(request.extensions());
    let most = request.extensions().get::<MaxBody>().map_or(MESSAGE, |most| most.0);
    body::read(request, client, Rules::new(kind, most, &app.memory)).await
}

/// Reads a body of JSON, and gives its bytes too, which the signature binds.
async fn read_json<T: DeserializeOwned>(
    app: &Shared,
    request: Request,
) -> Result<(T, Bytes), Problem> {
    let (bytes, _memory) = read_body(app, request, JSON).await?;
    let value = serde_json::from_slice(&bytes).map_err(|e| {
        // The words of serde name members and positions, never values of strings.
        Problem::new(StatusCode::BAD_REQUEST, Code::Usage, format!("{:?} JSON", e.classify()))
    })?;
    Ok((value, bytes))
}

/// A position: a number that every JSON reader keeps, up to 2^53 - 1.
fn position<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > MAX_INTEGER as u64 {
        return Err(D::Error::custom("a number up to 2^53 - 1"));
    }
    Ok(number)
}

/// Bytes in base64url without padding.
fn unbase64(text: &str, name: &str) -> Result<Vec<u8>, Problem> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, Code::Usage, format!("{name}: not base64url"))
    })
}

/// A name of so many lower-case hex digits.
fn hex_id(text: &str, digits: usize) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    if text.len() == digits && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Error::about(Code::IdRefused, text).into())
}

/// A signed object in a string.
fn envelope(text: &str) -> Result<Envelope, Problem> {
    Ok(Envelope::from_value(Value::parse(text.as_bytes())?)?)
}

/// Whether a request is answered when only the reserve of connections is left: one that a device
/// signed, one that brings a sigchain, or a question about the server's health. A stream is none: it
/// would hold its connection.
pub(crate) fn is_urgent(parts: &Parts) -> bool {
    let path = parts.uri.path();
    matches!(path, "/healthz" | "/readyz")
        || parts.headers.contains_key(header::AUTHORIZATION)
        || (parts.method == Method::PUT && path.ends_with("/chain"))
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
    match app.store.look_for_room().await? {
        Room::Plenty => Ok("ready\n"),
        Room::Reserve => Ok("ready, quota reached: no more messages are stored\n"),
        Room::None => Err(Refusal::Failed(Failure::Full).into()),
    }
}
