//! Publishing proofs, as their accounts' owner.

use crate::{
    draft::template,
    error::or_throw,
    key::SecretKey,
    plain,
    proof::Claim,
    task::Task,
    transport::{Browser, words},
    verifier::Verifier,
};
use js_sys::{Function, Promise, futures::JsFuture};
use kez_core::{
    Code, Error, Identity, Key, NostrEvent, Result as Outcome, hex,
    publish::{App, Author, AuthorizationRequest, Client, Credential, Placed, Publisher, Web},
    relay::Next,
    transport::{Answer, CHAIN_SECONDS, Call, Failure},
};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;
use zeroize::Zeroizing;

impl Web for Browser {
    fn random(&self) -> Outcome<[u8; 32]> {
        crate::random()
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        self.send_call(call, &self.within(CHAIN_SECONDS)).await
    }

    #[cfg(feature = "cli")]
    async fn exchange(&self, server: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let limit = self.within(kez_core::transport::REQUEST_SECONDS);
        self.ask_name_server(server, message, &limit).await
    }

    #[cfg(not(feature = "cli"))]
    async fn exchange(&self, server: &str, _: &[u8]) -> Result<Vec<u8>, Failure> {
        Err(Failure::new(Code::DnsFailed, format!("{server}: no plain DNS here")))
    }

    async fn talk<T>(
        &self,
        url: &str,
        seconds: u64,
        first: Vec<String>,
        receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> Result<T, Failure> {
        self.converse(url, first, &self.within(seconds), receive).await
    }
}

/// A nostr key that signs the events which carry proofs.
#[wasm_bindgen]
#[derive(Clone)]
pub struct EventAuthor {
    key: Key,
    by: Signer,
}

#[derive(Clone)]
enum Signer {
    /// By this module.
    Here(Rc<kez_core::SecretKey>),
    /// By a function that gets an event without its author, and promises the signature in hex.
    Elsewhere(Function),
}

#[wasm_bindgen]
impl EventAuthor {
    /// A key at hand. It stays the caller's: what is published with it outlives the call.
    ///
    /// # Errors
    /// Those of `SecretKey::from_bytes`.
    #[wasm_bindgen(js_name = fromKey)]
    pub fn from_key(key: &SecretKey) -> Result<Self, JsValue> {
        let public = key.inner.public().clone();
        let scheme = public.scheme();
        let key = kez_core::SecretKey::from_bytes(scheme, *key.inner.expose_bytes());
        Ok(Self { key: public, by: Signer::Here(Rc::new(or_throw(key)?)) })
    }

    /// A key that signs elsewhere: `sign` gets an event without its author, and promises the
    /// signature in hex.
    ///
    /// # Errors
    /// Those of `Key::from_identity`.
    #[wasm_bindgen(js_name = fromSigner)]
    pub fn from_signer(account: &str, sign: Function) -> Result<Self, JsValue> {
        let account = or_throw(Identity::from_canonical(account))?;
        let key = or_throw(Key::from_identity(&account))?;
        Ok(Self { key, by: Signer::Elsewhere(sign) })
    }
}

impl Author for EventAuthor {
    fn key(&self) -> &Key {
        &self.key
    }

    async fn sign(&self, event: &NostrEvent) -> Outcome<String> {
        let sign = match &self.by {
            Signer::Here(key) => return Author::sign(&**key, event).await,
            Signer::Elsewhere(sign) => sign,
        };
        let asked = async || {
            let promise = sign.call1(&JsValue::UNDEFINED, &template(event.clone())?)?;
            JsFuture::from(Promise::resolve(&promise)).await
        };
        let declined = |thrown: JsValue| Error::about(Code::PublishRefused, words(&thrown));
        let signature = asked().await.map_err(declined)?;
        let signature = signature.as_string().and_then(|digits| hex::decode(&digits));
        let signature = signature.ok_or(Code::SignatureSyntax)?;
        Ok(event.to_json(&self.key, &event.id(&self.key), &signature))
    }
}

fn placed(placed: Outcome<Placed>) -> Result<JsValue, JsValue> {
    plain(&or_throw(placed)?)
}

/// What opens an account: `secret` as the user has it, or as [`Authorization::redeem`] gave it.
fn credential(account: Identity, secret: String) -> Credential {
    let secret = Zeroizing::new(secret);
    match Credential::from_text(secret.as_bytes()) {
        Ok(credential) if *credential.account() == account => credential,
        _ => Credential::new(account, secret),
    }
}

#[wasm_bindgen]
impl Verifier {
    /// Puts a claim's proof into its place: `{change, url, warnings}`. A nostr account needs its
    /// author, and others a secret.
    ///
    /// # Errors
    /// Those of `Publisher::place`, from the task.
    pub fn publish(
        &self,
        claim: &Claim,
        secret: Option<String>,
        author: Option<EventAuthor>,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Task {
        let signed = claim.inner.clone();
        let secret = secret.map(|secret| credential(signed.claim().subject.clone(), secret));
        self.publisher(dry_run, signal, wake, async move |publisher| {
            placed(publisher.place(&signed, secret.as_ref(), author.as_ref()).await)
        })
    }

    /// Names GitHub accounts in the external identities of a nostr key, with the secret of each:
    /// `{change, url, warnings}`.
    ///
    /// # Errors
    /// Those of `Identity::from_canonical`; those of `Publisher::place_identities` from the task.
    #[wasm_bindgen(js_name = publishIdentities)]
    pub fn publish_identities(
        &self,
        author: EventAuthor,
        accounts: Vec<String>,
        secrets: Vec<String>,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let mut credentials = Vec::with_capacity(accounts.len());
        for (account, secret) in accounts.iter().zip(secrets) {
            credentials.push(credential(or_throw(Identity::from_canonical(account))?, secret));
        }
        Ok(self.publisher(dry_run, signal, wake, async move |publisher| {
            placed(publisher.place_identities(&author, &credentials).await)
        }))
    }

    /// Tries a token or password.
    ///
    /// # Errors
    /// Those of `Identity::from_canonical`; those of `Publisher::sign_in` from the task.
    #[wasm_bindgen(js_name = signIn)]
    pub fn sign_in(
        &self,
        account: &str,
        secret: String,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let credential = credential(or_throw(Identity::from_canonical(account))?, secret);
        Ok(self.publisher(false, signal, wake, async move |publisher| {
            or_throw(publisher.sign_in(&credential).await).map(|()| JsValue::UNDEFINED)
        }))
    }

    /// Gives a token back. The task says whether the platform lets it.
    ///
    /// # Errors
    /// As [`Verifier::sign_in`].
    #[wasm_bindgen(js_name = giveBack)]
    pub fn give_back(
        &self,
        account: &str,
        secret: String,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let credential = credential(or_throw(Identity::from_canonical(account))?, secret);
        Ok(self.publisher(false, signal, wake, async move |publisher| {
            or_throw(publisher.give_back(&credential).await).map(JsValue::from)
        }))
    }

    /// Begins to ask for leave at a fediverse server, or at a Bluesky server: there the browser
    /// comes back to `redirect`, and `client` is who asks, if that is not on loopback. The task gives
    /// an [`Authorization`].
    ///
    /// # Errors
    /// As [`Verifier::sign_in`]; `storage_failed` if the host has no randomness; `usage` for a
    /// redirect that does not go with the client.
    pub fn authorize(
        &self,
        account: &str,
        client: Option<String>,
        redirect: Option<String>,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let account = or_throw(Identity::from_canonical(account))?;
        if account.scheme() == kez_core::channel::bluesky::SCHEME {
            let client = or_throw(bluesky_client(client, redirect.unwrap_or_default()))?;
            return Ok(self.publisher(false, signal, wake, async move |publisher| {
                let begun = AuthorizationRequest::begin(publisher, &account, client).await;
                Ok(Authorization(Asked::ToComeBack(Box::new(or_throw(begun)?))).into())
            }));
        }
        let proof_key = Zeroizing::new(or_throw(crate::random())?);
        Ok(self.publisher(false, signal, wake, async move |publisher| {
            let app = or_throw(App::register(publisher, &account).await)?;
            Ok(Authorization(Asked::ForCode { app, account, proof_key }).into())
        }))
    }

    /// Takes the code that the user was shown, or the query that the browser brought back. The
    /// task gives the secret that opens the account.
    ///
    /// # Errors
    /// Those of `App::redeem` and of `AuthorizationRequest::redeem`, from the task.
    pub fn redeem(
        &self,
        authorization: &Authorization,
        answer: String,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Task {
        let asked = authorization.0.clone();
        self.publisher(false, signal, wake, async move |publisher| {
            let credential = or_throw(match asked {
                Asked::ForCode { app, account, proof_key } => {
                    app.redeem(publisher, &account, &answer, &proof_key).await
                }
                Asked::ToComeBack(request) => {
                    request.redeem(publisher, answer.trim_start_matches('?')).await
                }
            })?;
            or_throw(publisher.sign_in(&credential).await)?;
            Ok(credential.to_text().as_str().into())
        })
    }

    /// A credential in the place of one that has ended, or nothing while it lasts.
    ///
    /// # Errors
    /// As [`Verifier::sign_in`]; those of `Publisher::renew` from the task.
    pub fn renew(
        &self,
        account: &str,
        secret: String,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let credential = credential(or_throw(Identity::from_canonical(account))?, secret);
        Ok(self.publisher(false, signal, wake, async move |publisher| {
            let renewed = or_throw(publisher.renew(&credential).await)?;
            Ok(renewed.map_or(JsValue::UNDEFINED, |new| new.to_text().as_str().into()))
        }))
    }
}

/// Who asks a Bluesky server.
fn bluesky_client(client: Option<String>, redirect: String) -> Outcome<Client> {
    if let Some(id) = client {
        return Ok(Client::published(id, redirect));
    }
    let local = redirect.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split_once('/'));
    let local = local.and_then(|(port, path)| Some((port.parse().ok()?, path)));
    let (port, path) = local.ok_or_else(|| Error::about(Code::Usage, &redirect))?;
    Ok(Client::on_loopback(port, &format!("/{path}")))
}

/// A server that was asked for leave.
#[wasm_bindgen]
pub struct Authorization(Asked);

#[derive(Clone)]
enum Asked {
    /// By the Mastodon API: the user is shown a code.
    ForCode { app: App, account: Identity, proof_key: Zeroizing<[u8; 32]> },
    /// By atproto's OAuth: the browser brings a query back.
    ToComeBack(Box<AuthorizationRequest>),
}

#[wasm_bindgen]
impl Authorization {
    /// Where the user allows it.
    #[wasm_bindgen(getter)]
    pub fn url(&self) -> String {
        match &self.0 {
            Asked::ForCode { app, proof_key, .. } => app.authorize_url(proof_key),
            Asked::ToComeBack(request) => request.url().into(),
        }
    }

    /// Whether the query with which a browser came back is to this.
    #[wasm_bindgen(js_name = isAnsweredBy)]
    pub fn is_answered_by(&self, query: &str) -> bool {
        match &self.0 {
            Asked::ForCode { .. } => false,
            Asked::ToComeBack(request) => request.is_answered_by(query.trim_start_matches('?')),
        }
    }
}

impl Verifier {
    fn publisher<F>(
        &self,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
        work: F,
    ) -> Task
    where
        F: AsyncFnOnce(&Publisher<'_, Browser>) -> Result<JsValue, JsValue> + 'static,
    {
        self.task(signal, wake, async move |verifier| {
            let (web, now) = (verifier.transport, verifier.clock);
            let endpoints = &verifier.endpoints;
            // Remote signers are the page's own business, as NIP-07 providers are.
            work(&Publisher { web, endpoints, now, dry_run, visit: &|_| {} }).await
        })
    }
}
