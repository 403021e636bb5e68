//! The web app's files.

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use kez_server::problem::Problem;
use std::path::Path;
use tower_http::services::{ServeDir, ServeFile};

/// The page for paths that are no files, as static hosts name it: the app finds out what is meant.
const SHELLS: [&str; 2] = ["404.html", "index.html"];
/// Files below it are named after what is in them.
const LASTING: &str = "/_app/immutable/";

/// Serves a folder with the app's files, for every path that is no other route's.
pub(super) fn serve(dir: &Path) -> Router {
    // A page below a folder of the same name is a page, and no reason to send anybody elsewhere.
    let files = ServeDir::new(dir).append_index_html_on_directories(false);
    let files = files.precompressed_br().precompressed_gzip();
    let [shell, index] = SHELLS.map(|name| dir.join(name));
    let shell = ServeFile::new(if shell.is_file() { shell } else { index });
    let shell = shell.precompressed_br().precompressed_gzip();
    Router::new().fallback_service(files.fallback(shell)).layer(middleware::from_fn(guard))
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
