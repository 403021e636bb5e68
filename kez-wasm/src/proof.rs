//! Proofs in every encoding.

use crate::error::{or_throw, thrown};
use kez_core::{Code, Encoding, Identity, Proof, SignedClaim, proof};
use wasm_bindgen::prelude::*;

/// A signed claim, verified.
#[wasm_bindgen]
pub struct Claim {
    pub(crate) inner: SignedClaim,
}

#[derive(serde::Serialize)]
struct Members<'a> {
    id: String,
    subject: &'a Identity,
    primary: &'a Identity,
    signer: &'a Identity,
    created_at: kez_core::Timestamp,
    expires_at: Option<kez_core::Timestamp>,
    account: Option<&'a str>,
    sources: &'a [String],
    head: Option<kez_core::Head>,
}

#[wasm_bindgen]
impl Claim {
    /// Reads a claim from JSON.
    ///
    /// # Errors
    /// Those of `proof::from_json`.
    #[wasm_bindgen(js_name = fromJson)]
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsValue> {
        or_throw(proof::from_json(bytes)).map(|inner| Self { inner })
    }

    /// Reads a claim from its compact form.
    ///
    /// # Errors
    /// Those of `proof::from_compact`.
    #[wasm_bindgen(js_name = fromCompact)]
    pub fn from_compact(text: &str) -> Result<Self, JsValue> {
        or_throw(proof::from_compact(text)).map(|inner| Self { inner })
    }

    /// Reads the first claim in a text of any encoding.
    ///
    /// # Errors
    /// Those of `proof::from_text`; `type_unknown` for a pointer.
    #[wasm_bindgen(js_name = fromText)]
    pub fn from_text(text: &str) -> Result<Self, JsValue> {
        match or_throw(proof::from_text(text))?.1 {
            Proof::Claim(inner) => Ok(Self { inner }),
            Proof::Pointer(_) => Err(thrown(&kez_core::Error::about(
                Code::TypeUnknown,
                "a claim is wanted, not a pointer",
            ))),
        }
    }

    /// The claim's id.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn id(&self) -> String {
        self.inner.id().to_string()
    }

    /// Everything that it says, as plain data.
    ///
    /// # Errors
    /// Never.
    pub fn members(&self) -> Result<JsValue, JsValue> {
        let claim = self.inner.claim();
        crate::plain(&Members {
            id: self.id(),
            subject: &claim.subject,
            primary: &claim.primary,
            signer: self.inner.signer().identity(),
            created_at: claim.created_at,
            expires_at: claim.expires_at,
            account: claim.account.as_deref(),
            sources: &claim.sources,
            head: claim.head,
        })
    }

    /// The claim in one of the encodings `json`, `compact`, `markdown`, `dns`, `pointer`.
    ///
    /// # Errors
    /// `usage` for any other name.
    #[cfg(feature = "sign")]
    pub fn encode(&self, encoding: &str) -> Result<String, JsValue> {
        or_throw(proof::Form::from_name(encoding)).map(|form| proof::write(&self.inner, form))
    }
}

/// A proof that was found in a text.
#[derive(serde::Serialize)]
struct Found {
    encoding: Encoding,
    /// The claim's id; none for a pointer.
    claim: Option<String>,
    subject: Option<String>,
    primary: String,
}

fn found(encoding: Encoding, proof: &Proof) -> Found {
    let claim = match proof {
        Proof::Claim(signed) => Some(signed),
        Proof::Pointer(_) => None,
    };
    Found {
        encoding,
        claim: claim.map(|signed| signed.id().to_string()),
        subject: claim.map(|signed| signed.claim().subject.to_string()),
        primary: proof.primary().to_string(),
    }
}

/// Reads a pointer; gives the primary.
///
/// # Errors
/// `pointer_syntax`.
#[wasm_bindgen(js_name = primaryFromPointer)]
pub fn primary_from_pointer(text: &str) -> Result<String, JsValue> {
    or_throw(proof::from_pointer(text)).map(|primary| primary.to_string())
}

/// Finds every proof in a text: a list of `{encoding, claim, subject, primary}`, with an `Error`
/// in the place of what looks like a proof and is none.
///
/// # Errors
/// Never for what a text holds.
#[wasm_bindgen(js_name = findProofs)]
pub fn find_proofs(text: &str) -> Result<js_sys::Array, JsValue> {
    let list = js_sys::Array::new();
    for item in proof::find(text).found {
        list.push(&match item.proof {
            Ok(proof) => crate::plain(&found(item.encoding, &proof))?,
            Err(error) => thrown(&error),
        });
    }
    Ok(list)
}
