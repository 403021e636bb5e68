//! Devices on the operator's NATS: NATS asks this server who may connect (auth callout, ADR-26 of
//! NATS), and it lets a device in that signed the connection's nonce, to hear of its own inbox and
//! of nothing else. If no server answers, nobody comes in.

use crate::{
    api::{self, Caller, Shared},
    store::{self, Store, subject},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use kez_core::chat::auth::{Binds, Credentials, NATS, nats_path};
use kez_server::{
    nats::{self, Subscriber},
    problem::Problem,
    replica::Shared as _,
    secret,
    sqlite::Failure,
};
use nkeys::{KeyPair, KeyPairType, XKey};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt, net::IpAddr, path::Path, sync::Arc, time::Duration};

/// Where NATS asks.
const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// Of several servers one answers.
const QUEUE: &str = "kez-chat-server";
/// Whom a request is for.
const AUDIENCE: &str = "nats-authorization-request";
/// The header with the key that a request is encrypted by.
const XKEY: &str = "Nats-Server-Xkey";
/// How long a request may be, in bytes: it has what a client said of itself.
const MOST: usize = 64 * 1024;
/// How many are answered at once.
const AT_ONCE: usize = 64;
/// For how long an answer counts, and how far the clocks may differ, in seconds.
const ANSWER: i64 = 30;
/// For how long a device is let in at most, in seconds: one that was revoked stays no longer.
const LIFE: u64 = 300;
/// Subscriptions of one connection.
const SUBSCRIPTIONS: u32 = 8;

/// The keys of the callout: its issuer is an account's, its user is who this server connects as,
/// and its curve key is what NATS encrypts requests for.
pub struct Keys {
    issuer: KeyPair,
    user: KeyPair,
    curve: XKey,
}

/// Without the keys.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Reads the keys from a file, or makes it with new ones.
    ///
    /// # Errors
    /// What the file system says; a file with something else.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let text = secret::open(path, || {
            let key = |kind| -> Result<String, Failure> {
                let key = KeyPair::new_from_raw(kind, kez_server::random()?);
                key.and_then(|key| key.seed()).map_err(|e| Failure::Storage(e.to_string()))
            };
            let (issuer, user) = (key(KeyPairType::Account)?, key(KeyPairType::User)?);
            let curve = XKey::new_from_raw(kez_server::random()?).seed();
            let curve = curve.map_err(|e| Failure::Storage(e.to_string()))?;
            Ok::<_, Failure>(format!("{issuer} {user} {curve}"))
        })?;
        let damaged = || Failure::Storage(format!("{}: the keys are damaged", path.display()));
        let [issuer, user, curve] =
            text.split(' ').collect::<Vec<_>>().try_into().map_err(|_| damaged())?;
        let key = |text: &str, kind| {
            let key = KeyPair::from_seed(text).ok().filter(|key| key.key_pair_type() == kind);
            key.ok_or_else(damaged)
        };
        Ok(Self {
            issuer: key(issuer, KeyPairType::Account)?,
            user: key(user, KeyPairType::User)?,
            curve: XKey::from_seed(curve).map_err(|_| damaged())?,
        })
    }

    /// What the operator's `nats.conf` has to say for them.
    #[must_use]
    pub fn config(&self) -> String {
        let (issuer, user) = (self.issuer.public_key(), self.user.public_key());
        let curve = self.curve.public_key();
        format!(
            "accounts {{
  # Only kez-chat-server is in this account.
  KEZ_CALLOUT {{ users: [ {{ nkey: {user} }} ] }}
}}
authorization {{
  auth_callout {{
    account: KEZ_CALLOUT
    issuer: {issuer}
    xkey: {curve}
    # And all users of this file who shall log in as before: that of NATS_URL, and the operator's.
    auth_users: [ {user} ]
  }}
}}"
        )
    }

    /// The seed of the user.
    fn seed(&self) -> Result<String, String> {
        self.user.seed().map_err(|e| e.to_string())
    }
}

/// What NATS asks, with whom it is about.
#[derive(Deserialize)]
struct Request {
    server_id: ServerId,
    user_nkey: String,
    client_info: ClientInfo,
    connect_opts: ConnectOptions,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ServerId {
    id: String,
    xkey: Option<String>,
}

#[derive(Deserialize)]
struct ClientInfo {
    host: Option<String>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct ConnectOptions {
    sig: Option<String>,
}

/// A JSON web token of NATS.
#[derive(Deserialize)]
struct Token {
    iss: String,
    aud: String,
    iat: i64,
    exp: Option<i64>,
    nats: Request,
}

/// This server's part in the callout.
pub struct Callout {
    answers: Answers,
    client: nats::Client,
    requests: Subscriber,
}

impl fmt::Debug for Callout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callout").field("account", &self.answers.account).finish_non_exhaustive()
    }
}

impl Callout {
    /// Begins to listen. Devices will be of the account that the store's user of NATS is of.
    ///
    /// # Errors
    /// What NATS says; a store that is alone.
    pub async fn start(
        settings: &nats::Settings,
        store: &Store,
        keys: Keys,
    ) -> Result<Self, String> {
        let (usual, _) = store.others().ok_or("--nats-callout is for the NATS at NATS_URL")?;
        let account = nats::account(&usual).await?;
        let name = "kez-chat-server (auth callout)";
        let connected = nats::connect(settings, name, Some(keys.seed()?)).await;
        let (client, hosts) =
            connected.map_err(|e| format!("{e}; `kez-chat-server callout` says what it needs"))?;
        let requests = client.queue_subscribe(SUBJECT, QUEUE.into()).await;
        let requests = requests.map_err(|e| format!("NATS at {hosts}: {SUBJECT}: {e}"))?;
        client.flush().await.map_err(|e| format!("NATS at {hosts}: {e}"))?;
        Ok(Self { answers: Answers { keys, account }, client, requests })
    }

    /// Answers, for ever.
    pub(crate) async fn serve(self, app: Arc<Shared>) {
        let Self { answers, client, requests } = self;
        let answered = requests.for_each_concurrent(AT_ONCE, |message| {
            let (app, client, answers) = (&app, &client, &answers);
            async move {
                let Some(reply) = message.reply.clone() else { return };
                match answers.answer(app, &message).await {
                    Ok(answer) => drop(client.publish(reply, answer.into()).await),
                    // Not even who asks is certain: NATS lets nobody in then.
                    Err(why) => tracing::warn!("an auth callout is not answered: {why}"),
                }
            }
        });
        answered.await;
    }
}

/// What it takes to answer.
struct Answers {
    keys: Keys,
    account: String,
}

impl Answers {
    /// The answer, for the server that asks alone.
    async fn answer(&self, app: &Shared, message: &nats::Incoming) -> Result<Vec<u8>, String> {
        let header = message.headers.as_ref().and_then(|headers| headers.get(XKEY));
        let xkey = header.ok_or("it is not encrypted: auth_callout names no xkey")?.as_str();
        let sender = XKey::from_public_key(xkey).map_err(|e| e.to_string())?;
        if message.payload.len() > MOST {
            return Err("it is too large".into());
        }
        let text = self.keys.curve.open(&message.payload, &sender).map_err(|e| e.to_string())?;
        let token = read(&text)?;
        let (request, now) = (token.nats, kez_server::now().seconds());
        let wrong = [
            (token.aud != AUDIENCE || request.kind != "authorization_request", "it is no request"),
            (token.iss != request.server_id.id, "it is of another server"),
            (request.server_id.xkey.as_deref() != Some(xkey), "it is encrypted by another"),
            (token.exp.is_some_and(|exp| exp <= now), "it is too old"),
            ((now - token.iat).abs() > ANSWER, "the clocks of NATS and this server differ"),
        ];
        if let Some((_, why)) = wrong.iter().find(|(wrong, _)| *wrong) {
            return Err((*why).into());
        }
        // It goes into what is signed: nothing but a user's key may stand there.
        let user = KeyPair::from_public_key(&request.user_nkey).ok();
        user.filter(|key| key.key_pair_type() == KeyPairType::User).ok_or("it names no user")?;
        let mut nats = json!({ "type": "authorization_response", "version": 2 });
        match admitted(app, &request).await {
            Ok(Caller { handle, not_after, .. }) => {
                app.metrics.admitted.inc();
                let most = Duration::from_secs(LIFE).min(app.limits.stream_life);
                let life = store::life(not_after, most).as_secs();
                let permissions = self.permissions(&request.user_nkey, &handle, now, life);
                nats["jwt"] = self.sign(permissions)?.into();
            }
            Err(problem) => nats["error"] = problem.code().as_str().into(),
        }
        let answer = self.sign(json!({
            "sub": request.user_nkey,
            "aud": request.server_id.id,
            "exp": now + ANSWER,
            "nats": nats,
        }))?;
        self.keys.curve.seal(answer.as_bytes(), &sender).map_err(|e| e.to_string())
    }

    /// What a device may do: hear what comes into its owner's inbox.
    fn permissions(&self, user: &str, handle: &str, now: i64, life: u64) -> Value {
        json!({
            "sub": user,
            "aud": self.account,
            "name": handle,
            "exp": now.saturating_add_unsigned(life),
            "nats": {
                "type": "user",
                "version": 2,
                "sub": { "allow": [subject(handle)] },
                "pub": { "deny": [">"] },
                "subs": SUBSCRIPTIONS,
                "data": -1,
                "payload": -1,
                "allowed_connection_types": ["STANDARD", "WEBSOCKET"],
            },
        })
    }

    /// Signs claims as the issuer.
    fn sign(&self, mut claims: Value) -> Result<String, String> {
        let id = kez_server::random::<16>().map_err(|e| e.to_string())?;
        claims["jti"] = kez_core::hex::encode(&id).into();
        claims["iss"] = self.keys.issuer.public_key().into();
        claims["iat"] = kez_server::now().seconds().into();
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let text = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.keys.issuer.sign(text.as_bytes()).map_err(|e| e.to_string())?;
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Reads a token that a server of NATS has signed.
fn read(text: &[u8]) -> Result<Token, String> {
    let text = str::from_utf8(text).map_err(|e| e.to_string())?;
    let (signed, signature) = text.rsplit_once('.').ok_or("it is no token")?;
    let (header, claims) = signed.split_once('.').ok_or("it is no token")?;
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "it is no base64url");
    let header: Value = serde_json::from_slice(&decode(header)?).map_err(|e| e.to_string())?;
    if header["alg"] != "ed25519-nkey" {
        return Err("it is signed in another way".into());
    }
    let token: Token = serde_json::from_slice(&decode(claims)?).map_err(|e| e.to_string())?;
    let issuer = KeyPair::from_public_key(&token.iss).ok();
    let issuer = issuer.filter(|key| key.key_pair_type() == KeyPairType::Server);
    let issuer = issuer.ok_or("its issuer is no server")?;
    let verified = issuer.verify(signed.as_bytes(), &decode(signature)?);
    verified.map_err(|_| "its signature does not verify")?;
    Ok(token)
}

/// The device that wants in.
async fn admitted(app: &Shared, request: &Request) -> Result<Caller, Problem> {
    let address: Option<IpAddr> = request.client_info.host.as_ref().and_then(|h| h.parse().ok());
    if let Some(address) = address {
        app.limiter.address(address).map_err(Problem::too_often)?;
    }
    // With this alone NATS names the nonce; and it shows it to nobody, as it would a user's name.
    let credentials = Credentials::from_nats(request.connect_opts.sig.as_deref().unwrap_or(""))?;
    let path = nats_path(request.client_info.nonce.as_deref().unwrap_or_default())?;
    // What another server acknowledged before, a revocation for one, counts.
    app.store.current().await?;
    api::enter(app, credentials, NATS, &path, Binds::Nothing).await
}
