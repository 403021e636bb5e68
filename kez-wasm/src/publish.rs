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
    publish::{App, Author, Change, Credential, Publisher, Web},
    transport::{Answer, CHAIN_SECONDS, Call, Failure},
};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;
use zeroize::Zeroizing;

impl Web for Browser {
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

    async fn publish_events(&self, url: &str, events: &[String]) -> Result<(), Failure> {
        self.send_events(url, events, &self.within(CHAIN_SECONDS)).await
    }
}

/// A nostr key that signs outside of this module.
struct Elsewhere {
    key: Key,
    sign: Function,
}

impl Author for Elsewhere {
    fn key(&self) -> &Key {
        &self.key
    }

    async fn sign(&self, event: &NostrEvent) -> Outcome<String> {
        let asked = async || {
            let promise = self.sign.call1(&JsValue::UNDEFINED, &template(event.clone())?)?;
            JsFuture::from(Promise::resolve(&promise)).await
        };
        let declined = |thrown: JsValue| Error::about(Code::PublishRefused, words(&thrown));
        let signature = asked().await.map_err(declined)?;
        let signature = signature.as_string().and_then(|digits| hex::decode(&digits));
        let signature = signature.ok_or(Code::SignatureSyntax)?;
        Ok(event.to_json(&self.key, &event.id(&self.key), &signature))
    }
}

#[derive(serde::Serialize)]
struct Placed {
    change: Change,
    url: Option<String>,
    warnings: Vec<String>,
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
    /// Puts a claim's proof into its place: `{change, url, warnings}`.
    ///
    /// # Errors
    /// Those of `Publisher::place`, from the task.
    pub fn publish(
        &self,
        claim: &Claim,
        secret: Option<String>,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Task {
        let subject = &claim.inner.claim().subject;
        let credential = secret.map(|secret| credential(subject.clone(), secret));
        self.place(claim, credential, None::<kez_core::SecretKey>, dry_run, signal, wake)
    }

    /// As [`Verifier::publish`], of a nostr account, with its key.
    ///
    /// # Errors
    /// None of its own; those of `Publisher::place` from the task.
    #[wasm_bindgen(js_name = publishEvent)]
    pub fn publish_event(
        &self,
        claim: &Claim,
        key: &SecretKey,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        // The task outlives the call, and the key stays the caller's.
        let scheme = key.inner.public().identity().scheme();
        let key = kez_core::SecretKey::from_bytes(scheme, *key.inner.expose_bytes());
        Ok(self.place(claim, None, Some(or_throw(key)?), dry_run, signal, wake))
    }

    /// As [`Verifier::publish`], of a nostr account whose key signs elsewhere: `sign` gets an event
    /// without its author, and promises the signature in hex.
    ///
    /// # Errors
    /// Those of `Key::from_identity`; those of `Publisher::place` from the task.
    #[wasm_bindgen(js_name = publishSigned)]
    pub fn publish_signed(
        &self,
        claim: &Claim,
        account: &str,
        sign: Function,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let account = or_throw(Identity::from_canonical(account))?;
        let author = Elsewhere { key: or_throw(Key::from_identity(&account))?, sign };
        Ok(self.place(claim, None, Some(author), dry_run, signal, wake))
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

    /// Begins to ask for leave at a fediverse server. The task gives an [`Authorization`].
    ///
    /// # Errors
    /// As [`Verifier::sign_in`]; `storage_failed` if the host has no randomness.
    pub fn authorize(
        &self,
        account: &str,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let account = or_throw(Identity::from_canonical(account))?;
        let proof_key = Zeroizing::new(or_throw(crate::random())?);
        Ok(self.publisher(false, signal, wake, async move |publisher| {
            let app = or_throw(App::register(publisher, &account).await)?;
            Ok(Authorization { app, account, proof_key }.into())
        }))
    }

    /// Takes the code that the user was shown. The task gives the secret that opens the account.
    ///
    /// # Errors
    /// Those of `App::redeem`, from the task.
    pub fn redeem(
        &self,
        authorization: &Authorization,
        code: String,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Task {
        let Authorization { app, account, proof_key } = authorization.clone();
        self.publisher(false, signal, wake, async move |publisher| {
            let credential = or_throw(app.redeem(publisher, &account, &code, &proof_key).await)?;
            or_throw(publisher.sign_in(&credential).await)?;
            Ok(credential.to_text().as_str().into())
        })
    }
}

/// A fediverse server that was asked for leave.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Authorization {
    app: App,
    account: Identity,
    proof_key: Zeroizing<[u8; 32]>,
}

#[wasm_bindgen]
impl Authorization {
    /// Where the user allows it, and is shown a code.
    #[wasm_bindgen(getter)]
    pub fn url(&self) -> String {
        self.app.authorize_url(&self.proof_key)
    }
}

impl Verifier {
    fn place(
        &self,
        claim: &Claim,
        credential: Option<Credential>,
        author: Option<impl Author + 'static>,
        dry_run: bool,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Task {
        let signed = claim.inner.clone();
        self.publisher(dry_run, signal, wake, async move |publisher| {
            let placed = publisher.place(&signed, credential.as_ref(), author.as_ref()).await;
            let kez_core::publish::Placed { change, url, warnings } = or_throw(placed)?;
            plain(&Placed { change, url, warnings })
        })
    }

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
            work(&Publisher { web, endpoints: &verifier.endpoints, now, dry_run }).await
        })
    }
}
