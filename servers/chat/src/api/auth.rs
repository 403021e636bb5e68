//! Who asks: devices sign their requests.

use super::{App, Shared, read_json};
use crate::{now_ms, store::DeviceRow};
use axum::{
    extract,
    http::{Extensions, Method, StatusCode, Uri, header, request::Parts},
};
use kez_core::{
    Code, Identity, Timestamp,
    chat::auth::{Binds, Credentials, Request},
};
use kez_server::{client, problem::Problem};
use serde::de::DeserializeOwned;

/// Who asks.
pub(crate) struct Caller {
    /// The device's key.
    pub(crate) device: Identity,
    /// The handle of its owner.
    pub(crate) handle: String,
    /// Its owner.
    pub(crate) person: String,
    /// When the device's time is over, if it is limited.
    pub(crate) not_after: Option<Timestamp>,
}

impl Caller {
    /// Only the handle's owner may go on.
    pub(super) fn must_be(&self, handle: &str) -> Result<(), Problem> {
        if self.handle == handle {
            return Ok(());
        }
        let why = "the device is somebody else's";
        Err(Problem::new(StatusCode::FORBIDDEN, Code::AuthRefused, why))
    }
}

/// The device that signed a request in its header.
pub(super) async fn caller(app: &App, parts: &Parts, binds: Binds<'_>) -> Result<Caller, Problem> {
    let credentials = match credentials(app, parts) {
        Ok(credentials) => credentials,
        Err(problem) => return Err(counted(app, &parts.extensions, problem)),
    };
    let done = admit(app, credentials, &parts.method, &parts.uri, binds).await;
    done.map_err(|problem| counted(app, &parts.extensions, problem))
}

fn credentials(app: &Shared, parts: &Parts) -> Result<Credentials, Problem> {
    let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    Credentials::from_header(value.ok_or_else(missing)?).map_err(|e| refuse(app, e.into()))
}

/// A request whose signature is refused counts as one that is not signed.
fn counted(app: &Shared, extensions: &Extensions, problem: Problem) -> Problem {
    match app.limiter.address(client::of_request(extensions)) {
        Ok(()) => problem,
        Err(seconds) => Problem::too_often(seconds),
    }
}

/// A body of JSON, and the device that signed the request with it. The body is read only if the
/// device that is named is one of this server.
pub(super) async fn signed<T: DeserializeOwned>(
    app: &App,
    request: extract::Request,
) -> Result<(T, Caller), Problem> {
    let (parts, body) = request.into_parts();
    let named = async {
        let device = credentials(app, &parts)?.device.identity().clone();
        active(app, &device).await.map(drop)
    };
    if let Err(problem) = named.await {
        return Err(counted(app, &parts.extensions, problem).closing());
    }
    let request = extract::Request::from_parts(parts.clone(), body);
    let (value, bytes) = read_json(app, request).await?;
    Ok((value, caller(app, &parts, Binds::Body(&bytes)).await?))
}

/// The device that signed a stream in its query.
pub(super) async fn streamer(
    app: &App,
    query: &[(String, String)],
    uri: &Uri,
) -> Result<Caller, Problem> {
    let all = |name: &str| {
        let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next().ok_or_else(missing)?;
        match values.next() {
            None => Ok(first),
            Some(_) => {
                let why = format!("{name} is there twice");
                Err(Problem::new(StatusCode::BAD_REQUEST, Code::Usage, why))
            }
        }
    };
    let (auth, device) = (all("auth")?, all("device")?);
    let credentials = Credentials::from_query(device, auth).map_err(|e| refuse(app, e.into()))?;
    admit(app, credentials, &Method::GET, uri, Binds::Nothing).await
}

fn missing() -> Problem {
    Problem::of(StatusCode::BAD_REQUEST, Code::AuthMissing)
}

fn refuse(app: &Shared, problem: Problem) -> Problem {
    if problem.code() == Code::AuthRefused {
        app.metrics.refused.inc();
    }
    problem
}

async fn admit(
    app: &App,
    credentials: Credentials,
    method: &Method,
    uri: &Uri,
    binds: Binds<'_>,
) -> Result<Caller, Problem> {
    let caller = enter(app, credentials, method.as_str(), uri.path(), binds).await?;
    let device = caller.device.as_str();
    let counted = match binds {
        Binds::Body(_) => app.limiter.device(device),
        Binds::Nothing | Binds::Since(_) => app.limiter.read(device),
    };
    counted.map_err(Problem::too_often)?;
    Ok(caller)
}

/// The device that signed something, once.
pub(crate) async fn enter(
    app: &Shared,
    credentials: Credentials,
    method: &str,
    path: &str,
    binds: Binds<'_>,
) -> Result<Caller, Problem> {
    let request = Request { origin: &app.origin, method, path, binds, at_ms: credentials.at_ms };
    let now = now_ms();
    credentials.verify(&request, now).map_err(|e| refuse(app, e.into()))?;
    let device = credentials.device.identity().clone();
    let found = active(app, &device).await?;
    if let Some(seconds) = app.seen.wait(credentials.at_ms, now) {
        let why = "the server stopped without warning: signatures of before may have been used";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, why)
            .retry_after(seconds));
    }
    // Only what verifies is remembered: others cannot fill the memory.
    if !app.seen.insert(credentials.nonce(), now).await {
        return Err(unauthorized(app, Code::AuthRefused, "the signature was used already"));
    }
    let DeviceRow { handle, person, not_after, .. } = found;
    Ok(Caller { device, handle, person, not_after })
}

fn unauthorized(app: &Shared, code: Code, why: &str) -> Problem {
    refuse(app, Problem::new(StatusCode::UNAUTHORIZED, code, why))
}

/// A device of a handle of this server, if it is in force.
async fn active(app: &Shared, device: &Identity) -> Result<DeviceRow, Problem> {
    let found = app.store.device(device.clone(), kez_server::now()).await?;
    let found = found.ok_or_else(|| {
        let why = "the device is of no handle of this server";
        unauthorized(app, Code::AuthRefused, why)
    })?;
    if found.active {
        return Ok(found);
    }
    let why = "the device was revoked, or its time is over";
    Err(unauthorized(app, Code::DeviceRevoked, why))
}
