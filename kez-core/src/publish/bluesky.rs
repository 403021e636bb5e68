//! The record `self` of the collection `org.kez.proof` in the account's repository, written with
//! compare-and-swap.

use super::{
    accounts::{Change, Credential, JSON, Placed, Publisher, Web, good, merge, refused},
    oauth::Grant,
};
use crate::{
    Code, Error, Identity, Result, SignedClaim,
    channel::{BLUESKY_COLLECTION, Http, encode},
    json::Value,
    proof::Form,
};
use alloc::{
    format,
    string::{String, ToString as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// How often a lost race is run again.
const RACES: usize = 3;

/// The account's server, and its DID.
pub(super) struct Home {
    pub(super) server: String,
    pub(super) did: String,
}

impl Home {
    pub(super) async fn of(
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
    ) -> Result<Self> {
        let finding = publisher.look_up(account).await?;
        let place = finding.place.map(|place| place.url).unwrap_or_default();
        let found = place.split_once("/xrpc/").zip(finding.account);
        let ((server, _), did) =
            found.ok_or_else(|| Error::about(Code::ResponseRefused, account))?;
        Ok(Self { server: server.into(), did })
    }

    fn url(&self, method: &str) -> String {
        format!("{}/xrpc/com.atproto.{method}", self.server)
    }
}

/// What is written by.
enum Session<'a> {
    /// What an app password opened, to be closed.
    Opened { access: Zeroizing<String>, refresh: Zeroizing<String> },
    /// Leave that lasts.
    Granted { token: &'a str, grant: &'a Grant },
}

impl Session<'_> {
    async fn send(
        &self,
        publisher: &Publisher<'_, impl Web>,
        method: &'static str,
        url: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<Http> {
        match self {
            Self::Opened { access, .. } => {
                let bearer = Zeroizing::new(format!("Bearer {}", &**access));
                publisher.send(method, url, Some(&bearer), body).await
            }
            Self::Granted { token, grant } => grant.send(publisher, method, url, token, body).await,
        }
    }

    /// What no error may tell.
    fn secret(&self) -> &str {
        match self {
            Self::Opened { access, .. } => access,
            Self::Granted { token, .. } => token,
        }
    }

    /// Ends it. One that stays open ends by itself.
    async fn close(&self, publisher: &Publisher<'_, impl Web>, home: &Home) {
        if let Self::Opened { refresh, .. } = self {
            let bearer = Zeroizing::new(format!("Bearer {}", &**refresh));
            let url = home.url("server.deleteSession");
            let _ = publisher.send("POST", &url, Some(&bearer), None).await;
        }
    }
}

async fn open<'a>(
    publisher: &Publisher<'_, impl Web>,
    home: &Home,
    credential: &'a Credential,
) -> Result<Session<'a>> {
    if let Some(grant) = credential.grant() {
        return Ok(Session::Granted { token: credential.secret(), grant });
    }
    let url = home.url("server.createSession");
    let body = Value::object([
        ("identifier", Value::String(home.did.clone())),
        ("password", Value::String(credential.secret().into())),
    ]);
    let http = publisher.send("POST", &url, None, Some((JSON, body.to_canonical()))).await?;
    let answer = Value::parse_foreign(&http.bytes).unwrap_or(Value::Null);
    if answer.get("error").and_then(Value::as_str) == Some("AuthFactorTokenRequired") {
        return Err(Error::about(Code::SecondFactor, credential.account()));
    }
    let answer = good(&http, credential.secret())?;
    let text = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let session = Session::Opened {
        access: Zeroizing::new(text("accessJwt")),
        refresh: Zeroizing::new(text("refreshJwt")),
    };
    // The account's own password may do everything; it is not ours to keep.
    if scope(session.secret()).as_deref() == Some("com.atproto.access") {
        session.close(publisher, home).await;
        let why = "that is the account's own password: make an app password in its settings";
        return Err(Error::about(Code::CredentialRefused, why));
    }
    Ok(session)
}

/// What an access token says of itself (RFC 7519). The server checks it; this only reads it.
fn scope(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims = Value::parse_foreign(&claims).ok()?;
    claims.get("scope").and_then(Value::as_str).map(String::from)
}

pub(super) async fn sign_in(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<()> {
    let home = Home::of(publisher, credential.account()).await?;
    let session = open(publisher, &home, credential).await?;
    let http = session.send(publisher, "GET", &home.url("server.getSession"), None).await?;
    session.close(publisher, &home).await;
    good(&http, session.secret()).map(drop)
}

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Placed> {
    let home = Home::of(publisher, credential.account()).await?;
    let mut session = None;
    for _ in 0..RACES {
        let (old, cid) = read(publisher, &home).await?;
        let proof = old.as_ref().and_then(|r| r.get("proof")).and_then(Value::as_str);
        let Some(text) = merge(proof.unwrap_or_default(), signed, Form::Compact) else {
            return Ok(Placed::of(Change::Unchanged, None));
        };
        let change = if old.is_some() { Change::Updated } else { Change::Created };
        if publisher.dry_run {
            return Ok(Placed::of(change, None));
        }
        let session = match &session {
            Some(session) => session,
            None => session.insert(open(publisher, &home, credential).await?),
        };
        let http = write(publisher, &home, session, old, cid, text).await?;
        let answer = Value::parse_foreign(&http.bytes).unwrap_or(Value::Null);
        if answer.get("error").and_then(Value::as_str) == Some("InvalidSwap") {
            continue;
        }
        session.close(publisher, &home).await;
        good(&http, session.secret())?;
        return Ok(Placed::of(change, None));
    }
    if let Some(session) = &session {
        session.close(publisher, &home).await;
    }
    Err(Error::about(Code::PlaceChanged, credential.account()))
}

/// The record that is there, and its CID.
async fn read(
    publisher: &Publisher<'_, impl Web>,
    home: &Home,
) -> Result<(Option<Value>, Option<String>)> {
    let url = format!(
        "{}?repo={}&collection={BLUESKY_COLLECTION}&rkey=self",
        home.url("repo.getRecord"),
        encode(&home.did)
    );
    let http = publisher.send("GET", &url, None, None).await?;
    if http.status == 400 {
        let answer = Value::parse_foreign(&http.bytes).unwrap_or(Value::Null);
        return match answer.get("error").and_then(Value::as_str) {
            Some("RecordNotFound") => Ok((None, None)),
            _ => Err(refused(&http, "")),
        };
    }
    let answer = good(&http, "")?;
    let cid = answer.get("cid").and_then(Value::as_str).map(String::from);
    Ok((answer.get("value").cloned(), cid))
}

/// Writes the record, if the one that is there is still the one that was read.
async fn write(
    publisher: &Publisher<'_, impl Web>,
    home: &Home,
    session: &Session<'_>,
    old: Option<Value>,
    cid: Option<String>,
    text: String,
) -> Result<Http> {
    let mut record = match old {
        Some(Value::Object(members)) => members,
        _ => alloc::vec![("$type".into(), Value::String(BLUESKY_COLLECTION.into()))],
    };
    record.retain(|(name, _)| name != "proof");
    record.push(("proof".into(), Value::String(text)));
    let body = Value::object([
        ("repo", Value::String(home.did.clone())),
        ("collection", Value::String(BLUESKY_COLLECTION.into())),
        ("rkey", Value::String("self".into())),
        ("record", Value::object(record)),
        ("swapRecord", cid.map_or(Value::Null, Value::String)),
    ]);
    let body = Some((JSON, body.to_canonical()));
    session.send(publisher, "POST", &home.url("repo.putRecord"), body).await
}
