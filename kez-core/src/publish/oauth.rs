//! The OAuth profile of atproto (<https://atproto.com/specs/oauth>), as a public client: pushed
//! authorization requests (RFC 9126), proof keys for the code (RFC 7636) and for what it buys
//! (DPoP, RFC 9449).

use super::{
    accounts::{Credential, FORM, Publisher, Web, form, form_value, good, said},
    bluesky::Home,
};
use crate::{
    BLUESKY_SCOPE, Code, Error, Identity, Result, Timestamp,
    channel::Http,
    json::{Members, Value},
};
use alloc::{
    format,
    string::{String, ToString as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// A token that ends within so many seconds is renewed first.
const SOON: i64 = 60;

/// A code verifier of 32 random bytes (RFC 7636, section 4.1).
pub(super) fn verifier(random: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(random))
}

/// What the server is shown of a code verifier first (RFC 7636, section 4.2).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// The program that asks, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    id: String,
    redirect: String,
}

impl Client {
    /// A program to which the browser comes back at this port and path of loopback, under the id
    /// that every atproto server knows for such.
    ///
    /// ```
    /// let client = kez_core::publish::Client::on_loopback(8765, "/");
    /// assert_eq!(client.redirect(), "http://127.0.0.1:8765/");
    /// ```
    #[must_use]
    pub fn on_loopback(port: u16, path: &str) -> Self {
        // The port is no part of what is known.
        let redirect = format!("http://127.0.0.1{path}");
        let id = form(&[("redirect_uri", &*redirect), ("scope", BLUESKY_SCOPE)]);
        Self {
            id: format!("http://localhost?{id}"),
            redirect: format!("http://127.0.0.1:{port}{path}"),
        }
    }

    /// A program that has published a document of itself, whose URL is its id.
    #[must_use]
    pub const fn published(id: String, redirect: String) -> Self {
        Self { id, redirect }
    }

    /// Where the browser comes back to.
    #[must_use]
    pub fn redirect(&self) -> &str {
        &self.redirect
    }
}

/// A server's leave to write, bound to a key of ours. The token itself is the credential's secret.
#[derive(Clone)]
pub(super) struct Grant {
    client: String,
    token_url: String,
    /// Where it is given back.
    revoke_url: Option<String>,
    refresh: Zeroizing<String>,
    expires_at: Timestamp,
    key: ProofKey,
}

impl Grant {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: &str| Value::String(text.into());
        Value::object(
            [
                ("client", Some(text(&self.client))),
                ("token_url", Some(text(&self.token_url))),
                ("revoke_url", self.revoke_url.as_deref().map(text)),
                ("refresh", Some(text(&self.refresh))),
                ("expires_at", Some(text(&self.expires_at.to_string()))),
                ("key", Some(text(&URL_SAFE_NO_PAD.encode(self.key.0.to_bytes())))),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
        )
    }

    pub(super) fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let key = URL_SAFE_NO_PAD.decode(m.text("key")?).map(Zeroizing::new).ok();
        let key = key.and_then(|bytes| SigningKey::from_slice(&bytes).ok());
        let grant = Self {
            client: m.text("client")?.into(),
            token_url: m.text("token_url")?.into(),
            revoke_url: m.optional_text("revoke_url")?.map(String::from),
            refresh: Zeroizing::new(m.text("refresh")?.into()),
            expires_at: m.text("expires_at")?.parse()?,
            key: key.map(ProofKey).ok_or(Code::KeyRefused)?,
        };
        m.finish()?;
        Ok(grant)
    }

    /// Sends a request with a token that this grant gave.
    pub(super) async fn send(
        &self,
        publisher: &Publisher<'_, impl Web>,
        method: &'static str,
        url: &str,
        token: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<Http> {
        self.key.send(publisher, method, url, Some(token), body).await
    }

    /// A new token in the place of one that has ended, or nothing while it lasts. The old refresh
    /// token ends with it: the result must be kept before it is used.
    pub(super) async fn renew(
        &self,
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
    ) -> Result<Option<Credential>> {
        if self.expires_at.seconds() - publisher.now.seconds() > SOON {
            return Ok(None);
        }
        let body = form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &*self.refresh),
            ("client_id", &self.client),
        ]);
        let answer = self.key.ask(publisher, &self.token_url, body, &self.refresh).await?;
        let renewed = self.clone().filled(publisher, account, &answer)?;
        Ok(Some(renewed))
    }

    /// With the tokens of an answer.
    fn filled(
        self,
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
        answer: &Value,
    ) -> Result<Credential> {
        let text = |name| answer.get(name).and_then(Value::as_str);
        let (Some(access), Some(refresh), Some(seconds)) = (
            text("access_token"),
            text("refresh_token"),
            answer.get("expires_in").and_then(Value::as_int),
        ) else {
            return Err(Error::about(Code::ResponseRefused, &self.token_url));
        };
        let refresh = Zeroizing::new(String::from(refresh));
        let expires_at = publisher.now.plus(seconds);
        let secret = Zeroizing::new(String::from(access));
        Ok(Credential::of_grant(account.clone(), secret, Self { refresh, expires_at, ..self }))
    }

    /// Ends the grant, with all its tokens.
    pub(super) async fn give_back(&self, publisher: &Publisher<'_, impl Web>) -> Result<bool> {
        let Some(url) = &self.revoke_url else { return Ok(false) };
        let body = form(&[("token", &*self.refresh), ("client_id", &self.client)]);
        let http = self.key.send(publisher, "POST", url, None, Some((FORM, body))).await?;
        good(&http, &self.refresh).map(|_| true)
    }
}

/// A request for leave that waits for the user.
#[derive(Clone)]
pub struct AuthorizationRequest {
    account: Identity,
    did: String,
    issuer: String,
    client: Client,
    token_url: String,
    revoke_url: Option<String>,
    verifier: Zeroizing<String>,
    state: String,
    key: ProofKey,
    url: String,
}

/// Without what is secret.
impl core::fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AuthorizationRequest({})", self.account)
    }
}

impl AuthorizationRequest {
    /// Asks the server of a Bluesky account for leave to write the proof's record, and nothing
    /// else.
    ///
    /// # Errors
    /// `response_refused` for a server that is none of this profile; `credential_refused` in its
    /// words; why it could not be asked.
    pub async fn begin(
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
        client: Client,
    ) -> Result<Self> {
        let home = Home::of(publisher, account).await?;
        let resource = document(publisher, &home.server, "oauth-protected-resource").await?;
        let issuer = resource.get("authorization_servers").and_then(Value::as_array);
        let issuer = issuer.and_then(|all| all.first()).and_then(Value::as_str);
        let refused = || Error::about(Code::ResponseRefused, &home.server);
        let issuer = String::from(issuer.ok_or_else(refused)?);
        let server = document(publisher, &issuer, "oauth-authorization-server").await?;
        let text = |name| server.get(name).and_then(Value::as_str).map(String::from);
        let (Some(push), Some(page), Some(token_url)) = (
            text("pushed_authorization_request_endpoint"),
            text("authorization_endpoint"),
            text("token_endpoint"),
        ) else {
            return Err(refused());
        };
        // RFC 8414, section 3.3.
        if text("issuer").as_deref() != Some(&*issuer) {
            return Err(Error::about(Code::ResponseRefused, &issuer));
        }
        let key = Zeroizing::new(publisher.web.random()?);
        let key = SigningKey::from_slice(&key[..]).map_err(|_| Code::KeyRefused)?;
        let mut request = Self {
            account: account.clone(),
            did: home.did,
            issuer,
            client,
            token_url,
            revoke_url: text("revocation_endpoint"),
            verifier: verifier(&Zeroizing::new(publisher.web.random()?)),
            state: URL_SAFE_NO_PAD.encode(publisher.web.random()?),
            key: ProofKey(key),
            url: String::new(),
        };
        let body = form(&[
            ("client_id", &*request.client.id),
            ("response_type", "code"),
            ("redirect_uri", &request.client.redirect),
            ("scope", BLUESKY_SCOPE),
            ("state", &request.state),
            ("code_challenge", &challenge(&request.verifier)),
            ("code_challenge_method", "S256"),
            ("login_hint", &request.did),
        ]);
        let answer = request.key.ask(publisher, &push, body, "").await?;
        let pushed = answer.get("request_uri").and_then(Value::as_str);
        let pushed = pushed.ok_or_else(|| Error::about(Code::ResponseRefused, &push))?;
        let query = form(&[("client_id", &*request.client.id), ("request_uri", pushed)]);
        request.url = format!("{page}?{query}");
        Ok(request)
    }

    /// The page where the user allows it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the query with which a browser comes back is to this request, and not to another's.
    #[must_use]
    pub fn is_answered_by(&self, query: &str) -> bool {
        form_value(query, "state").as_ref() == Some(&self.state)
    }

    /// Takes the query with which the browser came back, and gives the credential.
    ///
    /// # Errors
    /// `credential_refused` if the user declined, or the query answers another request;
    /// `credential_other` if somebody else has signed in.
    pub async fn redeem(
        &self,
        publisher: &Publisher<'_, impl Web>,
        query: &str,
    ) -> Result<Credential> {
        let value = |name| form_value(query, name);
        let refused = |why: &str| Error::about(Code::CredentialRefused, why);
        // RFC 9207, against the code of one server that is carried to another.
        if !self.is_answered_by(query) || value("iss").as_ref() != Some(&self.issuer) {
            return Err(refused("the answer is to another request"));
        }
        let Some(code) = value("code").map(Zeroizing::new) else {
            let said = value("error_description").or_else(|| value("error"));
            return Err(refused(&said.unwrap_or_default()));
        };
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("code_verifier", &self.verifier),
            ("redirect_uri", &self.client.redirect),
            ("client_id", &self.client.id),
        ]);
        let answer = self.key.ask(publisher, &self.token_url, body, &code).await?;
        let sub = answer.get("sub").and_then(Value::as_str).unwrap_or_default();
        if sub != self.did {
            return Err(Error::about(Code::CredentialOther, sub));
        }
        let grant = Grant {
            client: self.client.id.clone(),
            token_url: self.token_url.clone(),
            revoke_url: self.revoke_url.clone(),
            refresh: Zeroizing::default(),
            expires_at: publisher.now,
            key: self.key.clone(),
        };
        grant.filled(publisher, &self.account, &answer)
    }
}

/// One of a server's well-known documents.
async fn document(publisher: &Publisher<'_, impl Web>, server: &str, name: &str) -> Result<Value> {
    let url = format!("{}/.well-known/{name}", server.trim_end_matches('/'));
    good(&publisher.send("GET", &url, None, None).await?, "")
}

/// A key that proves who holds a token (ES256, which every atproto server knows).
#[derive(Clone)]
struct ProofKey(SigningKey);

impl ProofKey {
    /// Asks an authorization server, and gives what it grants. No error tells the secret that the
    /// body has.
    async fn ask(
        &self,
        publisher: &Publisher<'_, impl Web>,
        url: &str,
        body: String,
        secret: &str,
    ) -> Result<Value> {
        let http = self.send(publisher, "POST", url, None, Some((FORM, body))).await?;
        // RFC 6749, section 5.2: a code, token or client that is not accepted is a bad request.
        if matches!(http.status, 400 | 401) {
            let why = format!("{url}: {}", said(&http, secret));
            return Err(Error::about(Code::CredentialRefused, why));
        }
        good(&http, secret)
    }

    /// Sends a request with a proof, and once more with the nonce that the server wants in it.
    async fn send(
        &self,
        publisher: &Publisher<'_, impl Web>,
        method: &'static str,
        url: &str,
        token: Option<&str>,
        body: Option<(&'static str, String)>,
    ) -> Result<Http> {
        let authorization = token.map(|token| Zeroizing::new(format!("DPoP {token}")));
        let authorization = authorization.as_ref().map(|text| text.as_str());
        let mut nonce: Option<String> = None;
        loop {
            let id = publisher.web.random()?;
            let proof = self.prove(method, url, token, nonce.as_deref(), publisher.now, &id);
            let sent =
                publisher.send_with_proof(method, url, authorization, Some(proof), body.clone());
            let http = sent.await?;
            let answer = Value::parse_foreign(&http.bytes).unwrap_or(Value::Null);
            let wanted = answer.get("error").and_then(Value::as_str) == Some("use_dpop_nonce");
            match http.header("dpop-nonce") {
                Some(new) if nonce.is_none() && wanted && matches!(http.status, 400 | 401) => {
                    nonce = Some(new.into());
                }
                _ => return Ok(http),
            }
        }
    }

    /// A proof for one request (RFC 9449, section 4.2).
    fn prove(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        nonce: Option<&str>,
        now: Timestamp,
        id: &[u8],
    ) -> String {
        let text = |text: &str| Value::String(text.into());
        let digits = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.0.verifying_key().to_sec1_point(false);
        let coordinate = |bytes: Option<&p256::FieldBytes>| {
            Value::String(digits(bytes.map(|b| &b[..]).unwrap_or_default()))
        };
        let jwk = Value::object([
            ("crv", text("P-256")),
            ("kty", text("EC")),
            ("x", coordinate(point.x())),
            ("y", coordinate(point.y())),
        ]);
        let header =
            Value::object([("alg", text("ES256")), ("jwk", jwk), ("typ", text("dpop+jwt"))]);
        let target = url.split(['?', '#']).next().unwrap_or_default();
        let hash = |token: &str| Value::String(digits(&Sha256::digest(token.as_bytes())));
        let payload = [
            ("ath", token.map(hash)),
            ("htm", Some(text(method))),
            ("htu", Some(text(target))),
            ("iat", Some(Value::Int(now.seconds()))),
            ("jti", Some(Value::String(digits(id)))),
            ("nonce", nonce.map(text)),
        ];
        let payload = payload.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let payload = Value::object(payload);
        let part = |value: &Value| digits(value.to_canonical().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&payload));
        let digest = Sha256::digest(signed.as_bytes());
        // Deterministic (RFC 6979): it fails for no digest of 32 bytes.
        let signature: Option<Signature> = self.0.sign_prehash(&digest).ok();
        let signature = signature.map(|s| digits(&s.to_bytes())).unwrap_or_default();
        format!("{signed}.{signature}")
    }
}
