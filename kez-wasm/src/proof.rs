//! Proofs in every encoding.

use crate::error::{or_throw, thrown};
use kez_core::{Encoding, Proof, proof};
use wasm_bindgen::prelude::*;

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

/// Reads a claim from JSON; gives its id.
///
/// # Errors
/// Those of `proof::from_json`.
#[wasm_bindgen(js_name = claimFromJson)]
pub fn claim_from_json(bytes: &[u8]) -> Result<String, JsValue> {
    or_throw(proof::from_json(bytes)).map(|signed| signed.id().to_string())
}

/// Reads a claim from its compact form; gives its id.
///
/// # Errors
/// Those of `proof::from_compact`.
#[wasm_bindgen(js_name = claimFromCompact)]
pub fn claim_from_compact(text: &str) -> Result<String, JsValue> {
    or_throw(proof::from_compact(text)).map(|signed| signed.id().to_string())
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
    for item in proof::find(text) {
        list.push(&match item.proof {
            Ok(proof) => serde_wasm_bindgen::to_value(&found(item.encoding, &proof))?,
            Err(error) => thrown(&error),
        });
    }
    Ok(list)
}
