//! The web app's files.

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use kez_server::problem::Problem;
use std::path::Path;
use tower_http::services::{ServeDir, ServeFile};

/// The page for paths that are no files, as static hosts name it: the app finds out what is meant.
const SHELLS: [&str; 2] = ["404.html", "index.html"];
/// Where the app says who it is.
const CLIENT: &str = "/client-metadata.json";
/// Files below it are named after what is in them.
const LASTING: &str = "/_app/immutable/";

/// Serves a folder with the app's files, for every path that is no other route's, and what the
/// servers of Bluesky accounts read of the app when it asks them for leave to post a proof
/// (<https://atproto.com/specs/oauth>, "Client ID Metadata Document").
pub(super) fn serve(dir: &Path, origin: &str) -> Router {
    let client = format!("{origin}{CLIENT}");
    let metadata = serde_json::json!({
        "client_id": client,
        "client_name": "KEZ",
        "client_uri": origin,
        "application_type": "web",
        "redirect_uris": [format!("{origin}/back")],
        "scope": kez_core::BLUESKY_SCOPE,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "dpop_bound_access_tokens": true,
    });
    // A page below a folder of the same name is a page, and no reason to send anybody elsewhere.
    let files = ServeDir::new(dir).append_index_html_on_directories(false);
    let files = files.precompressed_br().precompressed_gzip();
    let [shell, index] = SHELLS.map(|name| dir.join(name));
    let shell = ServeFile::new(if shell.is_file() { shell } else { index });
    let shell = shell.precompressed_br().precompressed_gzip();
    let router = Router::new().route(CLIENT, get(async move || Json(metadata)));
    router.fallback_service(files.fallback(shell)).layer(middleware::from_fn(guard))
}

/// Refuses what is no page, says how long to keep an answer, and lets no other site frame it.
async fn guard(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/v1/") {
        return Problem::no_path().into_response();
    }
    let lasting = path.starts_with(LASTING);
    let mut response = next.run(request).await;
    let html = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/html");
    if path.starts_with("/_app/") && html {
        return Problem::no_path().into_response();
    }
    let keep = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    for (name, value) in [
        (header::CACHE_CONTROL, keep),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (opener, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
