//! A profile field by the Mastodon API, and its OAuth (RFC 6749, RFC 7636).

use super::{
    accounts::{Change, Credential, FORM, Placed, Publisher, Web, form, good},
    oauth::{challenge, verifier},
};
use crate::{
    Code, Error, Identity, Result, SignedClaim,
    channel::{actor_host, html_to_text},
    json::{Members, Value},
    proof,
};
use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use zeroize::Zeroizing;

/// The redirect that shows the code to the user, for programs without a page of their own.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
/// What is asked for: to read the own profile, and to write it.
const SCOPES: &str = "read:accounts write:accounts";
/// What Mastodon allows where a server does not say.
const MAX_FIELDS: i64 = 4;

/// A program that a server of the Mastodon API knows by a name and a secret of its own.
#[derive(Clone)]
pub struct App {
    host: String,
    id: String,
    secret: Zeroizing<String>,
}

/// Without the secret.
impl core::fmt::Debug for App {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "App({})", self.host)
    }
}

impl App {
    /// Makes itself known to an account's server.
    ///
    /// # Errors
    /// What the server says, or why it could not be asked.
    pub async fn register(publisher: &Publisher<'_, impl Web>, account: &Identity) -> Result<Self> {
        let host = host(publisher, account).await?;
        let body = form(&[
            ("client_name", "KEZ"),
            ("redirect_uris", OUT_OF_BAND),
            ("scopes", SCOPES),
            ("website", "https://github.com/kez-id/kez"),
        ]);
        let url = format!("https://{host}/api/v1/apps");
        let http = publisher.send("POST", &url, None, Some((FORM, body))).await?;
        let app = good(&http, "")?;
        let text = |name| {
            let text = app.get(name).and_then(Value::as_str);
            text.map(String::from).ok_or_else(|| Error::about(Code::ResponseRefused, &url))
        };
        Ok(Self { host, id: text("client_id")?, secret: Zeroizing::new(text("client_secret")?) })
    }

    /// Where the user allows it, by a proof key of 32 random bytes (RFC 7636, section 4).
    #[must_use]
    pub fn authorize_url(&self, proof_key: &[u8; 32]) -> String {
        let challenge = challenge(&verifier(proof_key));
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", OUT_OF_BAND),
            ("scope", SCOPES),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        format!("https://{}/oauth/authorize?{query}", self.host)
    }

    /// Takes the code that the user was shown, and gives the credential.
    ///
    /// # Errors
    /// `credential_refused` for a wrong or old code.
    pub async fn redeem(
        self,
        publisher: &Publisher<'_, impl Web>,
        account: &Identity,
        code: &str,
        proof_key: &[u8; 32],
    ) -> Result<Credential> {
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("code", code.trim()),
            ("client_id", &self.id),
            ("client_secret", &self.secret),
            ("redirect_uri", OUT_OF_BAND),
            ("code_verifier", &verifier(proof_key)),
        ]);
        let url = format!("https://{}/oauth/token", self.host);
        let http = publisher.send("POST", &url, None, Some((FORM, body))).await?;
        // RFC 6749, section 5.2: a code that is not accepted is a bad request.
        if matches!(http.status, 400 | 401) {
            return Err(Error::about(Code::CredentialRefused, "the code"));
        }
        let token = good(&http, &self.secret)?;
        let token = token.get("access_token").and_then(Value::as_str);
        let token = token.ok_or_else(|| Error::about(Code::ResponseRefused, &url))?;
        let secret = Zeroizing::new(String::from(token));
        Ok(Credential::of_app(account.clone(), secret, self))
    }

    pub(super) fn to_value(&self) -> Value {
        Value::object([
            ("host", Value::String(self.host.clone())),
            ("id", Value::String(self.id.clone())),
            ("secret", Value::String(self.secret.to_string())),
        ])
    }

    pub(super) fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let text = |text: Result<&str>| text.map(String::from);
        let app = Self {
            host: text(m.text("host"))?,
            id: text(m.text("id"))?,
            secret: Zeroizing::new(text(m.text("secret"))?),
        };
        m.finish()?;
        Ok(app)
    }
}

/// The server that has the account, which may not be the domain of its name.
async fn host(publisher: &Publisher<'_, impl Web>, account: &Identity) -> Result<String> {
    let actor = publisher.look_up(account).await?.account.unwrap_or_default();
    let host = actor_host(&actor).ok_or_else(|| Error::about(Code::ResponseRefused, account))?;
    Ok(host.into())
}

/// The own account, as its owner sees it, and the server that has it.
async fn own(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<(Value, String)> {
    // A token may come from the server's own settings, without an app of ours.
    let host = match credential.app() {
        Some(app) => app.host.clone(),
        None => host(publisher, credential.account()).await?,
    };
    let url = format!("https://{host}/api/v1/accounts/verify_credentials");
    let http = publisher.send("GET", &url, Some(&credential.bearer()), None).await?;
    // Mastodon says so to a token that is nobody's, and others to any that they do not know.
    if http.status == 422 {
        return Err(Error::about(Code::CredentialRefused, credential.account()));
    }
    let account = good(&http, credential.secret())?;
    let (user, _) = credential.account().value().split_once('@').unwrap_or_default();
    let acct = account.get("acct").and_then(Value::as_str).unwrap_or_default();
    if !acct.eq_ignore_ascii_case(user) {
        return Err(Error::about(Code::CredentialOther, acct));
    }
    Ok((account, host))
}

pub(super) async fn sign_in(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<()> {
    own(publisher, credential).await.map(drop)
}

pub(super) async fn give_back(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<bool> {
    let Some(app) = credential.app() else { return Ok(false) };
    let body = form(&[
        ("client_id", &app.id),
        ("client_secret", &app.secret),
        ("token", credential.secret()),
    ]);
    let url = format!("https://{}/oauth/revoke", app.host);
    let http = publisher.send("POST", &url, None, Some((FORM, body))).await?;
    good(&http, credential.secret()).map(|_| true)
}

/// Names and values of the profile's fields, as their owner wrote them.
fn fields(account: &Value) -> Vec<(String, String)> {
    let list = |value: Option<&Value>| {
        let fields = value.and_then(|v| v.get("fields")).and_then(Value::as_array);
        let text = |field: &Value, name| {
            field.get(name).and_then(Value::as_str).unwrap_or_default().to_string()
        };
        let pairs = fields.unwrap_or_default().iter().map(|f| (text(f, "name"), text(f, "value")));
        pairs.collect::<Vec<_>>()
    };
    let plain = list(account.get("source"));
    let shown = list(Some(account));
    // Some servers give them as they are shown only.
    if plain.len() >= shown.len() {
        return plain;
    }
    shown.into_iter().map(|(name, value)| (name, html_to_text(&value))).collect()
}

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Placed> {
    let (account, host) = own(publisher, credential).await?;
    let url = account.get("url").and_then(Value::as_str).map(String::from);
    let mut fields = fields(&account);
    let pointer = proof::to_pointer(&signed.claim().primary);
    let shows = |value: &str| proof::find(value).found.iter().any(|found| found.proof.is_ok());
    let points = |value: &str| value.split_whitespace().any(|word| word == pointer);
    if fields.iter().any(|(_, value)| points(value)) {
        return Ok(Placed::of(Change::Unchanged, url));
    }
    let ours = |(name, value): &&mut (String, String)| {
        name.eq_ignore_ascii_case("kez") && (value.trim().is_empty() || shows(value))
    };
    let change = if let Some((_, value)) = fields.iter_mut().find(ours) {
        *value = pointer;
        Change::Updated
    } else {
        let most = most_fields(publisher, &host).await;
        if fields.len() >= usize::try_from(most).unwrap_or_default() {
            return Err(Error::about(Code::PlaceFull, format!("{most} fields")));
        }
        fields.push(("KEZ".into(), pointer));
        Change::Created
    };
    if publisher.dry_run {
        return Ok(Placed::of(change, url));
    }
    let mut pairs: Vec<(String, &str)> = Vec::new();
    for (n, (name, value)) in fields.iter().enumerate() {
        pairs.push((format!("fields_attributes[{n}][name]"), name));
        pairs.push((format!("fields_attributes[{n}][value]"), value));
    }
    let target = format!("https://{host}/api/v1/accounts/update_credentials");
    let body = Some((FORM, form(&pairs)));
    let http = publisher.send("PATCH", &target, Some(&credential.bearer()), body).await?;
    good(&http, credential.secret())?;
    Ok(Placed::of(change, url))
}

/// How many fields a profile may have.
async fn most_fields(publisher: &Publisher<'_, impl Web>, host: &str) -> i64 {
    let url = format!("https://{host}/api/v2/instance");
    let Ok(http) = publisher.send("GET", &url, None, None).await else { return MAX_FIELDS };
    let instance = good(&http, "").unwrap_or(Value::Null);
    let accounts = instance.get("configuration").and_then(|c| c.get("accounts"));
    accounts.and_then(|a| a.get("max_profile_fields")).and_then(Value::as_int).unwrap_or(MAX_FIELDS)
}
