//! Handles, sigchains, bundles and key packages.

use super::{
    App, JSONL,
    auth::{caller, signed},
    envelope, hex_id, read_body, read_json, unbase64,
};
use crate::store::NewKeyPackage;
use axum::{
    Json,
    extract::{ConnectInfo, Path, Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kez_core::{
    Chain, Code, Error, Timestamp,
    chat::{Handle, LIFETIME, SignedBundle, SignedHandle, auth::Binds},
};
use kez_server::problem::{Problem, ProblemBody};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use utoipa::ToSchema;

/// The most key packages that one request may bring.
const PACKAGES: usize = 32;
/// The largest key package in bytes: a certificate of many rotations is in it.
const PACKAGE: usize = 48 * 1024;

const fn a_handle() -> &'static str {
    "alice"
}

/// A handle to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// The signed handle record (SPEC.md, "Handles"), as a string of JSON.
    record: String,
    /// The sigchain of its identity: canonical events, one a line.
    chain: String,
}

/// A device of a handle.
#[derive(Serialize, ToSchema)]
struct DeviceBody {
    /// The device's key, an ed25519 identity.
    device: String,
    /// The device's signed bundle (SPEC.md, "Device bundles"), as a string of JSON.
    bundle: String,
}

/// A handle.
#[derive(Serialize, ToSchema)]
pub(super) struct HandleBody {
    handle: String,
    /// The identity.
    primary: String,
    /// The signed record, as a string of JSON.
    record: String,
    /// The devices in force that can be reached.
    devices: Vec<DeviceBody>,
}

/// Registers a handle, or a newer record of the same identity.
#[utoipa::path(post, path = "/v1/handles", tag = "directory",
    request_body = Registration,
    responses(
        (status = 200, body = HandleBody, description = "The identity had the handle"),
        (status = 201, body = HandleBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn register(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    app.limiter.address(peer.ip()).map_err(Problem::too_often)?;
    let (body, bytes) = read_json::<Registration>(&app, request).await?;
    let now = kez_server::now();
    let handle = SignedHandle::read(envelope(&body.record)?)?;
    let record = handle.record().clone();
    if record.created_at.is_future(now) {
        return Err(Error::about(Code::NotYetValid, record.created_at).into());
    }
    let chain = replay(body.chain.into(), now).await?;
    handle.check(&record.handle, &app.origin, &chain)?;
    app.limiter.bytes(peer.ip(), bytes.len()).map_err(Problem::too_often)?;
    let new = app.store.register(handle, chain).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(show(&app, record.handle).await?)).into_response())
}

/// Signatures are verified away from the threads that answer.
async fn replay(bundle: Vec<u8>, now: Timestamp) -> Result<Chain, Problem> {
    let replay = move || Chain::replay(&bundle, None, now);
    let done = tokio::task::spawn_blocking(replay).await;
    done.map_err(|_| Problem::of(StatusCode::INTERNAL_SERVER_ERROR, Code::StorageFailed))?
        .map_err(Problem::from)
}

async fn show(app: &App, handle: Handle) -> Result<HandleBody, Problem> {
    let found = app.store.handle(handle.clone(), kez_server::now()).await?;
    let devices = found.devices.into_iter();
    Ok(HandleBody {
        handle: handle.to_string(),
        primary: found.person,
        record: found.record,
        devices: devices.map(|(device, bundle)| DeviceBody { device, bundle }).collect(),
    })
}

/// A handle, with the devices that can be reached. Whoever reads it checks the record against the
/// identity's sigchain.
#[utoipa::path(get, path = "/v1/handles/{handle}", tag = "directory",
    params(("handle" = String, Path, example = a_handle)),
    responses(
        (status = 200, body = HandleBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn handle(
    State(app): State<App>,
    Path(handle): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<Json<HandleBody>, Problem> {
    app.limiter.address(peer.ip()).map_err(Problem::too_often)?;
    Ok(Json(show(&app, handle.parse()?).await?))
}

/// Gives a handle up. Nobody gets it again.
#[utoipa::path(delete, path = "/v1/handles/{handle}", tag = "directory",
    params(("handle" = String, Path, example = a_handle)),
    responses(
        (status = 204),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn release(
    State(app): State<App>,
    Path(handle): Path<String>,
    parts: Parts,
) -> Result<StatusCode, Problem> {
    let handle: Handle = handle.parse()?;
    let caller = caller(&app, &parts, Binds::Nothing).await?;
    caller.must_be(handle.as_str())?;
    app.store.release(caller.handle).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The sigchain of a handle's owner, as the server knows it.
#[utoipa::path(get, path = "/v1/handles/{handle}/chain", tag = "directory",
    params(("handle" = String, Path, example = a_handle)),
    responses(
        (status = 200, content_type = "application/jsonl", body = String),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn chain(
    State(app): State<App>,
    Path(handle): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<Response, Problem> {
    app.limiter.address(peer.ip()).map_err(Problem::too_often)?;
    let bundle = app.store.chain(handle.parse()?).await?;
    Ok(([(header::CONTENT_TYPE, JSONL)], bundle).into_response())
}

/// Brings the sigchain of a handle's owner up to date: with it devices come and go. Anybody may,
/// since it proves itself.
#[utoipa::path(put, path = "/v1/handles/{handle}/chain", tag = "directory",
    params(("handle" = String, Path, example = a_handle)),
    request_body(content = String, content_type = "application/jsonl",
        description = "The whole chain: canonical events, one a line"),
    responses(
        (status = 204),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn put_chain(
    State(app): State<App>,
    Path(handle): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<StatusCode, Problem> {
    app.limiter.address(peer.ip()).map_err(Problem::too_often)?;
    let handle: Handle = handle.parse()?;
    let (body, _memory) = read_body(&app, request, JSONL).await?;
    let chain = replay(body.to_vec(), kez_server::now()).await?;
    // However much others at this address have sent, an owner can revoke a key or a device.
    if let Err(seconds) = app.limiter.bytes(peer.ip(), body.len())
        && !app.store.take_urgent(handle.as_str(), &chain).await?
    {
        return Err(Problem::too_often(seconds));
    }
    app.store.update_chain(handle, chain).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A device's bundle.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleBody {
    /// The signed bundle (SPEC.md, "Device bundles"), as a string of JSON.
    bundle: String,
}

/// Publishes a device's bundle.
#[utoipa::path(put, path = "/v1/devices/{device}/bundle", tag = "directory",
    params(("device" = String, Path, description = "The device's key, 64 hex digits")),
    request_body = BundleBody,
    responses(
        (status = 204),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn put_bundle(
    State(app): State<App>,
    Path(device): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let device = hex_id(&device, 64)?;
    let (body, caller) = signed::<BundleBody>(&app, request).await?;
    let new = SignedBundle::read(envelope(&body.bundle)?, kez_server::now())?;
    let bundle = new.bundle();
    let own = caller.device.value() == device
        && bundle.device == caller.device
        && bundle.primary.as_str() == caller.person;
    if !own {
        return Err(Error::about(Code::BundleRefused, "it is of another device").into());
    }
    app.store.put_bundle(new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key package to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PackageBody {
    /// Its name: the reference of MLS, 64 hex digits.
    id: String,
    /// The key package in base64url.
    body: String,
    /// Whether it is the one of last resort.
    #[serde(default)]
    last_resort: bool,
}

/// Key packages to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PackagesBody {
    packages: Vec<PackageBody>,
}

/// How many key packages for single use a device has here.
#[derive(Serialize, ToSchema)]
pub(super) struct CountBody {
    count: u64,
}

/// Publishes key packages of the device that asks: at most 20 for single use at a time, and one of
/// last resort.
#[utoipa::path(post, path = "/v1/keypackages", tag = "directory",
    request_body = PackagesBody,
    responses(
        (status = 200, body = CountBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn put_key_packages(
    State(app): State<App>,
    request: Request,
) -> Result<Json<CountBody>, Problem> {
    let (body, caller) = signed::<PackagesBody>(&app, request).await?;
    let too_large = |why| Problem::from(Error::about(Code::TooLarge, why));
    if body.packages.len() > PACKAGES {
        return Err(too_large("at most 32 key packages"));
    }
    let mut packages = Vec::new();
    for package in body.packages {
        let new = NewKeyPackage {
            id: hex_id(&package.id, 64)?,
            body: unbase64(&package.body, "body")?,
            last_resort: package.last_resort,
        };
        if new.body.len() > PACKAGE {
            return Err(too_large("a key package has at most 48 KiB"));
        }
        packages.push(new);
    }
    // They are dated back by an hour.
    let expires = kez_server::now().plus(LIFETIME - 2 * 3600);
    let count = app.store.put_key_packages(caller.device, packages, expires).await?;
    Ok(Json(CountBody { count }))
}

/// How many key packages for single use the device that asks has left.
#[utoipa::path(get, path = "/v1/keypackages", tag = "directory",
    responses(
        (status = 200, body = CountBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn key_packages(
    State(app): State<App>,
    parts: Parts,
) -> Result<Json<CountBody>, Problem> {
    let caller = caller(&app, &parts, Binds::Nothing).await?;
    Ok(Json(CountBody { count: app.store.key_packages(caller.device).await? }))
}

/// A key package that was taken out.
#[derive(Serialize, ToSchema)]
struct ClaimedBody {
    /// The device's key.
    device: String,
    /// Its signed bundle, as a string of JSON.
    bundle: String,
    /// The key package in base64url.
    key_package: String,
}

/// Key packages that were taken out.
#[derive(Serialize, ToSchema)]
pub(super) struct ClaimBody {
    packages: Vec<ClaimedBody>,
}

/// Takes one key package of every device of a handle, to invite them.
#[utoipa::path(post, path = "/v1/handles/{handle}/keypackages/claim", tag = "directory",
    params(("handle" = String, Path, example = a_handle)),
    request_body(content = serde_json::Value, description = "An empty object"),
    responses(
        (status = 200, body = ClaimBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn claim(
    State(app): State<App>,
    Path(handle): Path<String>,
    request: Request,
) -> Result<Json<ClaimBody>, Problem> {
    let handle: Handle = handle.parse()?;
    let (_, caller) = signed::<serde_json::Value>(&app, request).await?;
    app.limiter.claim(caller.device.as_str()).map_err(Problem::too_often)?;
    let claimed = app.store.claim(handle, kez_server::now()).await?;
    let packages = claimed
        .into_iter()
        .map(|claimed| ClaimedBody {
            device: claimed.device,
            bundle: claimed.bundle,
            key_package: BASE64_URL_SAFE_NO_PAD.encode(claimed.body),
        })
        .collect();
    Ok(Json(ClaimBody { packages }))
}
