//! Objects that wait for their signatures: from a key at hand, or from one that lives elsewhere.

use crate::{chain::Chain, error::or_throw, key::SecretKey, proof::Claim, time};
use kez_core::{
    Code, Envelope, Error, Event, Identity, Key, ObjectId, Op, SignedClaim, Suite,
    chat::HandleRecord, hex, json::Value,
};
use wasm_bindgen::prelude::*;

/// An unsigned claim or event.
#[wasm_bindgen]
pub struct Draft {
    inner: Envelope,
}

/// A nostr event without its author, as NIP-07 takes it.
pub(crate) fn template(event: kez_core::NostrEvent) -> Result<JsValue, JsValue> {
    #[derive(serde::Serialize)]
    struct Template {
        created_at: i64,
        kind: u16,
        tags: Vec<Vec<String>>,
        content: String,
    }
    let kez_core::NostrEvent { created_at, kind, tags, content } = event;
    crate::plain(&Template { created_at, kind, tags, content })
}

#[wasm_bindgen]
impl Draft {
    /// A claim, from the JSON of its payload.
    ///
    /// # Errors
    /// Those of `Claim::from_payload`.
    pub fn claim(payload: &[u8]) -> Result<Self, JsValue> {
        let claim = or_throw(kez_core::Claim::from_payload(payload))?;
        or_throw(claim.to_envelope()).map(|inner| Self { inner })
    }

    /// The next event of a chain, from the JSON of its operation; with `next`, it commits to the
    /// next key.
    ///
    /// # Errors
    /// Those of `Op::from_json`, `id_refused` for the commitment.
    pub fn event(
        chain: &Chain,
        op: &[u8],
        next: Option<String>,
        created_at: f64,
    ) -> Result<Self, JsValue> {
        let make = || {
            let (chain, op) = (&chain.inner, Op::from_json(op)?);
            let mut event = Event::new(chain.name().clone(), chain.head(), time(created_at), op);
            event.next = next.as_deref().map(ObjectId::parse).transpose()?;
            event.to_envelope()
        };
        or_throw(make()).map(|inner| Self { inner })
    }

    /// The record of a handle at a chat server.
    ///
    /// # Errors
    /// `handle_refused`, `url_refused`, and other format codes.
    pub fn handle(
        handle: &str,
        server: &str,
        primary: &str,
        sources: Vec<String>,
        created_at: f64,
    ) -> Result<Self, JsValue> {
        let make = || {
            let record = HandleRecord {
                handle: handle.parse()?,
                server: server.to_owned(),
                primary: Identity::from_canonical(primary)?,
                created_at: time(created_at),
                sources,
            };
            record.to_envelope()
        };
        or_throw(make()).map(|inner| Self { inner })
    }

    /// What somebody else has begun to sign.
    ///
    /// # Errors
    /// Those of `Envelope::from_value`.
    #[wasm_bindgen(js_name = fromText)]
    pub fn from_text(text: &[u8]) -> Result<Self, JsValue> {
        or_throw(Value::parse(text).and_then(Envelope::from_value)).map(|inner| Self { inner })
    }

    /// The signed object as canonical JSON.
    #[must_use]
    pub fn text(&self) -> String {
        self.inner.to_canonical()
    }

    /// The object's id: 32 bytes that the suites `ed25519` and `bip340` sign.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        self.inner.id().as_bytes().to_vec()
    }

    /// The nostr event that the suite `nostr-event` signs, as JSON without author and signature.
    ///
    /// # Errors
    /// Those of `Envelope::nostr_event`.
    #[wasm_bindgen(js_name = nostrEvent)]
    pub fn nostr_event(&self) -> Result<JsValue, JsValue> {
        template(or_throw(self.inner.nostr_event())?)
    }

    /// Signs with a key at hand.
    ///
    /// # Errors
    /// `storage_failed` if the host has no randomness.
    pub fn sign(&mut self, key: &SecretKey) -> Result<(), JsValue> {
        let aux = or_throw(crate::random())?;
        or_throw(self.inner.sign(&key.inner, &aux))
    }

    /// Adds a signature that was made elsewhere.
    ///
    /// # Errors
    /// `key_*` for what is no key, `suite_mismatch`, `signature_syntax`.
    pub fn attach(&mut self, key: &str, suite: &str, signature: &[u8]) -> Result<(), JsValue> {
        let make = || {
            let key = Key::from_identity(&Identity::from_canonical(key)?)?;
            let bytes = signature.try_into().map_err(|_| Code::SignatureSyntax)?;
            Ok((key, Suite::from_name(suite)?, bytes))
        };
        let (key, suite, bytes) = or_throw(make())?;
        self.inner.attach(&key, suite, bytes);
        Ok(())
    }

    /// The signed claim, verified.
    ///
    /// # Errors
    /// Those of `SignedClaim::verify`.
    #[wasm_bindgen(js_name = intoClaim)]
    pub fn into_claim(self) -> Result<Claim, JsValue> {
        or_throw(SignedClaim::verify(self.inner)).map(|inner| Claim { inner })
    }

    /// Appends the signed event to the chain that it was made for.
    ///
    /// # Errors
    /// Those of the core's `Chain::append`; the chain is then as it was.
    #[wasm_bindgen(js_name = appendTo)]
    pub fn append_to(self, chain: &mut Chain, now: f64) -> Result<(), JsValue> {
        or_throw(chain.inner.append(&self.inner, time(now)))
    }
}

/// The signature and author of a nostr event that a signer gave back, as 96 bytes: 32 of the
/// author's key, 64 of the signature.
///
/// # Errors
/// `response_refused` if it is none.
#[wasm_bindgen(js_name = nostrSignature)]
pub fn nostr_signature(json: &str) -> Result<Vec<u8>, JsValue> {
    let read = || {
        let event = Value::parse_foreign(json.as_bytes())?;
        let text = |name| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let refused = || Error::about(Code::ResponseRefused, "the signer gave no nostr event");
        let author: [u8; 32] = hex::decode(text("pubkey")).ok_or_else(refused)?;
        let sig: [u8; 64] = hex::decode(text("sig")).ok_or_else(refused)?;
        Ok([&author[..], &sig[..]].concat())
    };
    or_throw(read())
}

/// The identity of a nostr key from its hex digits, as NIP-07's `getPublicKey` gives them.
///
/// # Errors
/// `key_refused`.
#[wasm_bindgen(js_name = nostrIdentity)]
pub fn nostr_identity(digits: &str) -> Result<String, JsValue> {
    let bytes = hex::decode(digits).ok_or(Code::KeyRefused);
    let bytes = or_throw(bytes.map_err(Error::from))?;
    or_throw(Key::from_bytes(kez_core::Scheme::Nostr, &bytes)).map(|k| k.to_string())
}
