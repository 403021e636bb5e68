//! Signing in, placing a proof and giving access back: one road for all platforms.

use super::{
    ap,
    ap::App,
    bluesky,
    bunker::{Bunker, Remote},
    dns, github, nostr,
    oauth::Grant,
};
use crate::{
    Code, Endpoints, Error, Identity, Key, NostrEvent, Proof, Result, SecretKey, SignedClaim,
    Timestamp,
    channel::{self, Finding, Http, encode},
    json::{Members, Value},
    proof::{self, Form},
    relay::{Next, Publish},
    transport::{Answer, CHAIN_SECONDS, Call, Failure, Transport},
    verify::{self, Question},
};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use zeroize::Zeroizing;

/// What a publisher needs of its machine, beside fetching.
pub trait Web: Transport {
    /// 32 bytes of the machine's randomness.
    ///
    /// # Errors
    /// `storage_failed` if it has none to give, on which nothing may go on.
    fn random(&self) -> Result<[u8; 32]>;
    /// Sends on a connection of its own, since a server that closes a kept one just then leaves open
    /// whether it has heard, and gives the answer of any status. Redirects are not followed.
    fn call(&self, call: Call) -> impl Future<Output = Result<Answer, Failure>>;
    /// Asks a name server, `address:port`, by plain DNS.
    fn exchange(
        &self,
        server: &str,
        message: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, Failure>>;
    /// Talks to a relay, no longer than so many seconds: sends these texts, and hands over what the
    /// relay says until the conversation is over.
    fn talk<T>(
        &self,
        url: &str,
        seconds: u64,
        first: Vec<String>,
        receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> impl Future<Output = Result<T, Failure>>;
    /// Publishes signed nostr events, in order, and waits for the relay's word on each.
    fn publish_events(
        &self,
        url: &str,
        events: &[String],
    ) -> impl Future<Output = Result<(), Failure>> {
        let mut publish = Publish::new(events.iter().cloned());
        async move {
            let Some(first) = publish.request() else { return Ok(()) };
            let receive = |text: &str| publish.receive(text);
            self.talk(url, CHAIN_SECONDS, Vec::from([first]), receive).await
        }
    }
}

/// Who signs a nostr account's events: its key, or a signer that has it (NIP-07, NIP-46).
pub trait Author {
    /// The account's key.
    fn key(&self) -> &Key;
    /// Signs an event, and gives it whole, as JSON.
    fn sign(&self, event: &NostrEvent) -> impl Future<Output = Result<String>>;
}

impl Author for SecretKey {
    fn key(&self) -> &Key {
        self.public()
    }

    async fn sign(&self, event: &NostrEvent) -> Result<String> {
        self.sign_nostr_event(event, &[0; 32])
    }
}

/// What opens an account for writing: a GitHub token with the scope `gist`, a Bluesky app password
/// or OAuth grant, a token of the Mastodon API, a TSIG key (`hmac-sha256:name:base64`), or a nostr
/// account's remote signer.
pub struct Credential {
    account: Identity,
    secret: Zeroizing<String>,
    with: With,
}

/// What a credential's secret is used with.
enum With {
    /// It stands for itself.
    Nothing,
    /// The app that the token was given to, so that it can be given back.
    App(App),
    /// What the token comes from.
    Grant(Grant),
    /// The name server, `address:port`, that takes the updates.
    Server(String),
    /// The signer that knows us by the secret.
    Bunker(Box<Bunker>),
}

/// Without the secret.
impl core::fmt::Debug for Credential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Credential({})", self.account)
    }
}

impl Credential {
    /// A credential that nobody has tried yet; see [`Publisher::sign_in`].
    #[must_use]
    pub const fn new(account: Identity, secret: Zeroizing<String>) -> Self {
        Self { account, secret, with: With::Nothing }
    }

    pub(super) const fn of_app(account: Identity, secret: Zeroizing<String>, app: App) -> Self {
        Self { account, secret, with: With::App(app) }
    }

    pub(super) const fn of_grant(
        account: Identity,
        secret: Zeroizing<String>,
        grant: Grant,
    ) -> Self {
        Self { account, secret, with: With::Grant(grant) }
    }

    pub(super) fn of_bunker(account: Identity, secret: Zeroizing<String>, bunker: Bunker) -> Self {
        Self { account, secret, with: With::Bunker(Box::new(bunker)) }
    }

    /// With the name server, `address:port`, that takes updates of a domain.
    #[must_use]
    pub fn with_server(self, server: String) -> Self {
        Self { with: With::Server(server), ..self }
    }

    pub(super) fn server(&self) -> Option<&str> {
        if let With::Server(server) = &self.with { Some(server) } else { None }
    }

    /// Whose it is.
    #[must_use]
    pub const fn account(&self) -> &Identity {
        &self.account
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) const fn app(&self) -> Option<&App> {
        if let With::App(app) = &self.with { Some(app) } else { None }
    }

    pub(super) const fn grant(&self) -> Option<&Grant> {
        if let With::Grant(grant) = &self.with { Some(grant) } else { None }
    }

    pub(super) fn bunker(&self) -> Option<&Bunker> {
        if let With::Bunker(bunker) = &self.with { Some(bunker) } else { None }
    }

    pub(super) fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.secret()))
    }

    /// The form in which it is kept, to be encrypted.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let text = |text: &str| Value::String(text.into());
        let mut members =
            Vec::from([("account", text(self.account.as_str())), ("secret", text(&self.secret))]);
        members.extend(match &self.with {
            With::Nothing => None,
            With::App(app) => Some(("app", app.to_value())),
            With::Grant(grant) => Some(("grant", grant.to_value())),
            With::Server(server) => Some(("server", text(server))),
            With::Bunker(bunker) => Some(("bunker", bunker.to_value())),
        });
        Zeroizing::new(Value::object(members).to_canonical())
    }

    /// Reads [`Credential::to_text`].
    ///
    /// # Errors
    /// Those of JSON and of members.
    pub fn from_text(text: &[u8]) -> Result<Self> {
        let value = Value::parse(text)?;
        let mut m = Members::of(&value)?;
        let account = Identity::from_canonical(m.text("account")?)?;
        let secret = Zeroizing::new(String::from(m.text("secret")?));
        let with = if let Some(app) = m.optional("app") {
            With::App(App::from_value(app)?)
        } else if let Some(grant) = m.optional("grant") {
            With::Grant(Grant::from_value(grant)?)
        } else if let Some(bunker) = m.optional("bunker") {
            With::Bunker(Box::new(Bunker::from_value(bunker)?))
        } else {
            m.optional_text("server")?.map_or(With::Nothing, |server| With::Server(server.into()))
        };
        m.finish()?;
        Ok(Self { account, secret, with })
    }
}

/// What publishing did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The proof has a new place of its own.
    Created,
    /// A place that was there has the proof now.
    Updated,
    /// The proof was there already.
    Unchanged,
    /// Only the owner can put the proof there, by hand.
    Manual,
}

/// A proof in its place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Placed {
    /// What was done.
    pub change: Change,
    /// Where the proof is, if it has a URL for people.
    pub url: Option<String>,
    /// What went wrong beside it, in words: a relay that was not reached.
    pub warnings: Vec<String>,
}

impl Placed {
    pub(super) const fn of(change: Change, url: Option<String>) -> Self {
        Self { change, url, warnings: Vec::new() }
    }
}

/// Publishes proofs on their platforms.
pub struct Publisher<'a, W> {
    /// The network.
    pub web: &'a W,
    /// Where the platforms are.
    pub endpoints: &'a Endpoints,
    /// The clock's time.
    pub now: Timestamp,
    /// Whether nothing is written, and only told what would be.
    pub dry_run: bool,
    /// Shows the user a page where a remote signer wants their leave first.
    pub visit: &'a dyn Fn(&str),
}

impl<W: Web> Publisher<'_, W> {
    /// Tries a credential: it must be of that account, and may do what publishing needs.
    ///
    /// # Errors
    /// `credential_refused`, `credential_other`, `scope_missing`, `second_factor`, `rate_limited`,
    /// and why the platform could not be asked; `no_channel` for an account without a password.
    pub async fn sign_in(&self, credential: &Credential) -> Result<()> {
        match credential.account.scheme() {
            channel::github::SCHEME => github::sign_in(self, credential).await,
            channel::bluesky::SCHEME => bluesky::sign_in(self, credential).await,
            channel::ap::SCHEME => ap::sign_in(self, credential).await,
            channel::dns::SCHEME => dns::sign_in(self, credential).await,
            channel::nostr::SCHEME => self.remote(credential)?.sign_in().await,
            _ => Err(Error::about(Code::NoChannel, &credential.account)),
        }
    }

    /// Who signs with a nostr account's remote signer.
    ///
    /// # Errors
    /// `credential_refused` for a credential that names none.
    pub fn remote<'a>(&'a self, credential: &'a Credential) -> Result<Remote<'a, W>> {
        Remote::of(self, credential)
    }

    /// What takes the place of a credential that has ended by now; nothing while it lasts. It
    /// must be kept before it is used, since the old one is worth nothing from then on.
    ///
    /// # Errors
    /// `credential_refused` if the platform does not renew it: the user signs in again.
    pub async fn renew(&self, credential: &Credential) -> Result<Option<Credential>> {
        match credential.grant() {
            Some(grant) => grant.renew(self, &credential.account).await,
            None => Ok(None),
        }
    }

    /// Gives access back, where the platform lets a token do so. Says whether it did.
    ///
    /// # Errors
    /// As [`Publisher::sign_in`].
    pub async fn give_back(&self, credential: &Credential) -> Result<bool> {
        match (credential.account.scheme(), credential.grant()) {
            (channel::ap::SCHEME, _) => ap::give_back(self, credential).await,
            (channel::bluesky::SCHEME, Some(grant)) => grant.give_back(self).await,
            _ => Ok(false),
        }
    }

    /// Puts a claim's proof where its subject's owner can: what else is there stays, an older
    /// proof of the same is replaced, and one that is there already is left alone.
    ///
    /// A nostr key signs itself, if no credential names its remote signer, and a TXT record may be
    /// the owner's to add; the others need a credential.
    ///
    /// # Errors
    /// As [`Publisher::sign_in`]; `publish_refused`, `place_full`, `place_changed`,
    /// `credential_missing`.
    pub async fn place(
        &self,
        signed: &SignedClaim,
        credential: Option<&Credential>,
        author: Option<&impl Author>,
    ) -> Result<Placed> {
        let subject = &signed.claim().subject;
        let missing = || Error::about(Code::CredentialMissing, subject);
        if let Some(credential) = credential.filter(|c| c.account != *subject) {
            return Err(Error::about(Code::CredentialOther, credential.account()));
        }
        if subject.scheme() == channel::dns::SCHEME && credential.is_none() {
            return Ok(Placed::of(Change::Manual, None));
        }
        let credential = credential.ok_or_else(missing);
        match subject.scheme() {
            channel::github::SCHEME => github::place(self, signed, credential?).await,
            channel::bluesky::SCHEME => bluesky::place(self, signed, credential?).await,
            channel::ap::SCHEME => ap::place(self, signed, credential?).await,
            channel::nostr::SCHEME => match credential {
                Ok(credential) => nostr::place(self, signed, &self.remote(credential)?).await,
                Err(_) => nostr::place(self, signed, author.ok_or_else(missing)?).await,
            },
            channel::dns::SCHEME => dns::place(self, signed, credential?).await,
            _ => Err(Error::about(Code::NoChannel, subject)),
        }
    }

    /// Adds the GitHub accounts of these credentials to the external identities of a nostr key
    /// (NIP-39), each with a gist in that form, so that clients gain which do not know KEZ. The
    /// tags that are there stay.
    ///
    /// # Errors
    /// As [`Publisher::place`].
    pub async fn place_identities(
        &self,
        author: &impl Author,
        credentials: &[Credential],
    ) -> Result<Placed> {
        nostr::place_identities(self, author, credentials).await
    }

    /// What an account shows now, by the verifier's own road.
    pub(super) async fn look_up(&self, account: &Identity) -> Result<Finding> {
        verify::look_up(self.web, self.endpoints, self.now, &Question::about(account)).await
    }

    /// Sends a request as somebody, and gives the answer of any status.
    pub(super) async fn send(
        &self,
        method: &'static str,
        url: &str,
        authorization: Option<&str>,
        body: Option<(&'static str, String)>,
    ) -> Result<Http> {
        self.send_with_proof(method, url, authorization, None, body).await
    }

    /// As [`Publisher::send`], with a proof that the token is ours (RFC 9449).
    pub(super) async fn send_with_proof(
        &self,
        method: &'static str,
        url: &str,
        authorization: Option<&str>,
        dpop: Option<String>,
        body: Option<(&'static str, String)>,
    ) -> Result<Http> {
        let authorization = authorization.map(String::from);
        let call = Call { method, url: url.into(), authorization, dpop, body };
        match self.web.call(call).await {
            Ok(answer) => Http::of_call(url, answer).map_err(|miss| Error::about(miss.code, url)),
            Err(failure) => Err(failure.at(url)),
        }
    }
}

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";
/// The media type of forms.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn form<T: AsRef<str>>(pairs: &[(T, &str)]) -> String {
    let pairs =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name.as_ref()), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A member of a form.
pub(super) fn form_value(form: &str, wanted: &str) -> Option<String> {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| *name == wanted)?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// An answer's own words, but for what is secret.
pub(super) fn said(http: &Http, secret: &str) -> String {
    let body = Value::parse_foreign(&http.bytes).unwrap_or(Value::Null);
    let said = ["message", "error_description", "error"]
        .into_iter()
        .find_map(|name| body.get(name).and_then(Value::as_str))
        .unwrap_or_default();
    // Before it is cut: half a secret is one too.
    let said = if secret.is_empty() { said.into() } else { said.replace(secret, "…") };
    said.chars().take(200).collect()
}

/// What an answer that is no success means; in its own words, but for what is secret.
pub(super) fn refused(http: &Http, secret: &str) -> Error {
    let miss = http.miss();
    let said = said(http, secret);
    let place = &http.place.url;
    let code = match (miss.code, http.status) {
        (Code::RateLimited, _) => {
            let until = miss.retry_at.map(|at| format!(", until {at}")).unwrap_or_default();
            return Error::about(Code::RateLimited, format!("{place}: {said}{until}"));
        }
        (_, 401) => Code::CredentialRefused,
        (_, 403) => Code::ScopeMissing,
        (_, 500..) => Code::HttpStatus,
        _ => Code::PublishRefused,
    };
    Error::about(code, format!("{place}: HTTP status {}: {said}", http.status))
}

/// The JSON of an answer that is a success.
pub(super) fn good(http: &Http, secret: &str) -> Result<Value> {
    if !(200..300).contains(&http.status) {
        return Err(refused(http, secret));
    }
    Value::parse_foreign(&http.bytes)
        .map_err(|_| Error::about(Code::ResponseRefused, &http.place.url))
}

/// A text with a claim's proof in it: in the place of an older proof of the same subject by the
/// same identity, else after what is there. Nothing where it is in it already.
///
/// ```
/// use kez_core::{Claim, Identity, Scheme, SecretKey, SignedClaim, Timestamp, proof::Form, publish};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let signed = |seconds| {
///     let now = Timestamp::from_seconds(seconds);
///     let subject = Identity::parse("github:alice")?;
///     let mut claim = Claim::new(subject, key.public().identity().clone(), now).to_envelope()?;
///     claim.sign(&key, &[0; 32])?;
///     SignedClaim::verify(claim)
/// };
/// let (old, new) = (signed(1_795_262_400)?, signed(1_795_262_500)?);
/// let first = publish::merge("Hello.", &old, Form::Compact).unwrap();
/// let second = publish::merge(&first, &new, Form::Compact).unwrap();
/// assert!(second.starts_with("Hello.\n\nkez:z1:") && second.matches("kez:z1:").count() == 1);
/// assert_eq!(publish::merge(&second, &new, Form::Compact), None);
/// # Ok::<(), kez_core::Error>(())
/// ```
#[must_use]
pub fn merge(text: &str, signed: &SignedClaim, form: Form) -> Option<String> {
    const PREFIX: &str = "kez:z1:";
    let claim = signed.claim();
    let mut out = String::new();
    let mut rest = text;
    let mut replaced = false;
    while let Some(at) = rest.find(PREFIX) {
        let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let tail = &rest.as_bytes()[at + PREFIX.len()..];
        let end = at + PREFIX.len() + tail.iter().take_while(|b| digit(**b)).count();
        let token = &rest[at..end];
        out.push_str(&rest[..at]);
        rest = &rest[end..];
        match proof::from_compact(token) {
            Ok(old) if old.id() == signed.id() => return None,
            Ok(old)
                if old.claim().subject == claim.subject && old.claim().primary == claim.primary =>
            {
                replaced = true;
                out.push_str(&proof::to_compact(signed.envelope()));
            }
            _ => out.push_str(token),
        }
    }
    out.push_str(rest);
    // Other forms of the same are left where they are.
    let has = |found: &proof::Found| matches!(&found.proof, Ok(Proof::Claim(there)) if there.id() == signed.id());
    if !replaced {
        if proof::find(text).found.iter().any(has) {
            return None;
        }
        let proof = proof::write(signed, form);
        out = match text.trim_end() {
            "" => proof,
            before => format!("{before}\n\n{proof}"),
        };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{form, form_value};

    #[test]
    fn forms_are_read_as_they_are_written() {
        let written = form(&[("a", "1 + 1 = 2 & more"), ("grüße", "ß%")]);
        assert_eq!(form_value(&written, "a").as_deref(), Some("1 + 1 = 2 & more"));
        assert_eq!(form_value("x=a+b%2Bc&y=", "x").as_deref(), Some("a b+c"));
        assert_eq!(form_value("x=a+b%2Bc&y=", "y").as_deref(), Some(""));
        for none in ["", "x", "y=1", "x=%", "x=%4", "x=%zz", "x=%ff", "x=%é1"] {
            assert_eq!(form_value(none, "x"), None, "{none}");
        }
    }
}
