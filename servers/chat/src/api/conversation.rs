//! Conversations and what is posted to them.

use super::{
    App,
    auth::{caller, signed},
    hex_id,
    inbox::ItemBody,
    unbase64,
};
use crate::store::{Commit, NewEntry, Posted, Welcome};
use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::{StatusCode, request::Parts},
};
use kez_core::{
    Code, Error, Identity,
    chat::{Handle, MAX_BODY, auth::Binds},
};
use kez_server::problem::{Problem, ProblemBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most recipients of a conversation.
const RECIPIENTS: usize = 256;
/// The most invitations of a commit.
const WELCOMES: usize = 64;

/// A conversation to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConversation {
    /// Its name: 32 random bytes, 64 hex digits.
    id: String,
}

/// Where a conversation stands.
#[derive(Serialize, ToSchema)]
pub(super) struct ConversationBody {
    /// The position of the last entry, 0 if there is none.
    position: u64,
    /// The position of the last commit, 0 if there was none.
    changed: u64,
    /// The handles to which it is delivered.
    recipients: Vec<String>,
}

/// Where an entry stands.
#[derive(Serialize, ToSchema)]
pub(super) struct PostedBody {
    /// Its position in the conversation.
    position: u64,
    /// Recipients whose inboxes take no more from the sender, and who did not get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    full: Vec<String>,
}

fn posted(posted: Posted) -> (StatusCode, Json<PostedBody>) {
    let status = if posted.new { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(PostedBody { position: posted.position, full: posted.full }))
}

/// Begins a conversation, of the caller alone. Doing so twice is doing it once.
#[utoipa::path(post, path = "/v1/conversations", tag = "conversations",
    request_body = NewConversation,
    responses(
        (status = 200, body = ConversationBody, description = "It was begun before"),
        (status = 201, body = ConversationBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn create(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<ConversationBody>), Problem> {
    let (body, caller) = signed::<NewConversation>(&app, request).await?;
    let id = hex_id(&body.id, 64)?;
    let new = app.store.create(id.clone(), caller.handle.clone()).await?;
    let (position, changed, recipients) = app.store.conversation(id, caller.handle).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ConversationBody { position, changed, recipients })))
}

/// Where a conversation stands, for its members.
#[utoipa::path(get, path = "/v1/conversations/{conversation}", tag = "conversations",
    params(("conversation" = String, Path, description = "64 hex digits")),
    responses(
        (status = 200, body = ConversationBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn show(
    State(app): State<App>,
    Path(conversation): Path<String>,
    parts: Parts,
) -> Result<Json<ConversationBody>, Problem> {
    let id = hex_id(&conversation, 64)?;
    let caller = caller(&app, &parts, Binds::Nothing).await?;
    let (position, changed, recipients) = app.store.conversation(id, caller.handle).await?;
    Ok(Json(ConversationBody { position, changed, recipients }))
}

/// The parameter `since`.
#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default, deserialize_with = "super::position")]
    pub(super) since: u64,
}

/// Entries of a conversation.
#[derive(Serialize, ToSchema)]
pub(super) struct LogBody {
    items: Vec<ItemBody>,
}

/// The entries of a conversation after a position that are still kept: at most 100, and 1 MiB of bodies
/// beyond the first. No items means that there are no more.
#[utoipa::path(get, path = "/v1/conversations/{conversation}/log", tag = "conversations",
    params(
        ("conversation" = String, Path, description = "64 hex digits"),
        ("since" = u64, Query, maximum = 9007199254740991_u64),
    ),
    responses(
        (status = 200, body = LogBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn log(
    State(app): State<App>,
    Path(conversation): Path<String>,
    query: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
    parts: Parts,
) -> Result<Json<LogBody>, Problem> {
    let since = since(query)?;
    let id = hex_id(&conversation, 64)?;
    let caller = caller(&app, &parts, Binds::Since(since)).await?;
    let items = app.store.log(id, caller.handle, since).await?;
    Ok(Json(LogBody { items: items.iter().map(ItemBody::of).collect() }))
}

/// A position of the query, exact.
pub(super) fn since(
    query: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
) -> Result<u64, Problem> {
    let refused = || {
        let why = "since is a number from 0 to 9007199254740991, once";
        Problem::new(StatusCode::BAD_REQUEST, Code::Usage, why)
    };
    Ok(query.map_err(|_| refused())?.0.since)
}

/// A message to post.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// The conversation, 64 hex digits.
    conversation: String,
    /// The sender's name for it: 16 random bytes, 32 hex digits. Posting the same twice is posting
    /// it once.
    id: String,
    /// The ciphertext in base64url, at most 64 KiB before that.
    body: String,
}

fn small(body: Vec<u8>) -> Result<Vec<u8>, Problem> {
    if body.len() > MAX_BODY {
        return Err(Error::about(Code::TooLarge, "a message has at most 64 KiB").into());
    }
    Ok(body)
}

/// Posts a message: durably stored, then pushed to every member, the sender included.
#[utoipa::path(post, path = "/v1/messages", tag = "conversations",
    request_body = NewMessage,
    responses(
        (status = 200, body = PostedBody, description = "It was posted before"),
        (status = 201, body = PostedBody),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn message(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<PostedBody>), Problem> {
    let (body, caller) = signed::<NewMessage>(&app, request).await?;
    let entry = NewEntry {
        conversation: hex_id(&body.conversation, 64)?,
        from: caller.handle,
        id: hex_id(&body.id, 32)?,
        body: small(unbase64(&body.body, "body")?)?,
        at: kez_server::now(),
    };
    Ok(posted(app.store.post(entry, None).await?))
}

/// An invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWelcome {
    /// The handle of the device's owner.
    handle: String,
    /// The device's key.
    device: String,
    /// The sealed welcome in base64url.
    body: String,
}

/// A commit to post.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCommit {
    /// The position of the last commit that the sender knows, 0 for none.
    #[serde(deserialize_with = "super::position")]
    #[schema(maximum = 9007199254740991_u64)]
    expect: u64,
    /// The sender's name for it, 32 hex digits.
    id: String,
    /// The commit in base64url.
    body: String,
    /// For devices that join: at most 64, one for each device.
    #[serde(default)]
    welcomes: Vec<NewWelcome>,
    /// The handles to which the conversation is delivered, as the sender sees it.
    recipients: Vec<String>,
}

/// Posts a commit, if `expect` is still the position of the last one.
#[utoipa::path(post, path = "/v1/conversations/{conversation}/commits", tag = "conversations",
    params(("conversation" = String, Path, description = "64 hex digits")),
    request_body = NewCommit,
    responses(
        (status = 200, body = PostedBody, description = "It was posted before"),
        (status = 201, body = PostedBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`changed` is the position of the last commit, `position` that of the last \
                        entry"),
        (status = "4XX", response = ProblemBody), (status = "5XX", response = ProblemBody),
    ))]
pub(super) async fn change(
    State(app): State<App>,
    Path(conversation): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<PostedBody>), Problem> {
    let conversation = hex_id(&conversation, 64)?;
    let (body, caller) = signed::<NewCommit>(&app, request).await?;
    app.limiter.commit(&caller.handle, &conversation).map_err(Problem::too_often)?;
    let id = hex_id(&body.id, 32)?;
    let message = unbase64(&body.body, "body")?;
    if body.welcomes.len() > WELCOMES {
        return Err(Error::about(Code::TooLarge, "at most 64 welcomes").into());
    }
    let mut welcomes = Vec::new();
    for welcome in body.welcomes {
        welcomes.push(Welcome {
            handle: welcome.handle.parse::<Handle>()?.to_string(),
            device: Identity::from_canonical(&welcome.device)?.to_string(),
            body: unbase64(&welcome.body, "welcomes")?,
        });
    }
    if body.recipients.len() > RECIPIENTS {
        return Err(Error::about(Code::TooLarge, "at most 256 recipients").into());
    }
    let recipients = body.recipients.iter().map(|handle| Ok(handle.parse::<Handle>()?.to_string()));
    let recipients = recipients.collect::<Result<Vec<_>, Problem>>()?;
    let commit = Commit { expect: body.expect, welcomes, recipients };
    let at = kez_server::now();
    let entry = NewEntry { conversation, from: caller.handle, id, body: message, at };
    Ok(posted(app.store.post(entry, Some(commit)).await?))
}
