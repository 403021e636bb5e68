//! Identities.

use crate::error::{or_throw, thrown};
use kez_core::{Code, Error, Identity, Input, channel::dns, parse_input};
use wasm_bindgen::prelude::*;

/// What people type, as a canonical identity. Names that are not ASCII are the host's to convert:
/// every engine has the tables of UTS 46 for its URLs, and they would be a third of this module.
///
/// # Errors
/// Those of `Identity::parse`.
#[wasm_bindgen(js_name = parseIdentity)]
pub fn parse_identity(text: &str) -> Result<String, JsValue> {
    or_throw(parse(text)).map(|id| id.as_str().to_owned())
}

/// As `Identity::parse`, by the host's URLs.
pub(crate) fn parse(text: &str) -> kez_core::Result<Identity> {
    Identity::parse_with(text, &to_ascii)
}

/// What a user typed, in a text that reads as the same: the identity, if it is known without the
/// network; else the name or the page that `verify` and `identity` resolve.
///
/// # Errors
/// Those of `Input::parse`.
#[wasm_bindgen(js_name = readInput)]
pub fn read_input(text: &str) -> Result<String, JsValue> {
    or_throw(input(text)).map(|input| input.to_string())
}

/// What a user typed, by the host's URLs.
pub(crate) fn input(text: &str) -> kez_core::Result<Input> {
    parse_input(text, &to_ascii)
}

/// UTS 46 by the host's `URL`. The URL standard's ToASCII differs from the core's: it does not set
/// UseSTD3ASCIIRules and VerifyDnsLength, decodes percent escapes and normalises IPv4 addresses.
/// The core checks the name before and after (`kez-core/src/identity/domain.rs`), so that both
/// builds accept the same names, up to the version of Unicode.
pub(crate) fn to_ascii(name: &str) -> Option<String> {
    web_sys::Url::new(&format!("https://{name}/")).ok().map(|url| url.hostname())
}

/// A string that must be canonical already.
///
/// # Errors
/// Those of `Identity::from_canonical`.
#[wasm_bindgen(js_name = canonicalIdentity)]
pub fn canonical_identity(text: &str) -> Result<String, JsValue> {
    or_throw(Identity::from_canonical(text)).map(|id| id.as_str().to_owned())
}

/// Where people look at the account, if it has such a page.
///
/// # Errors
/// Those of `Identity::from_canonical`.
#[wasm_bindgen(js_name = profileUrl)]
pub fn profile_url(text: &str) -> Result<Option<String>, JsValue> {
    or_throw(Identity::from_canonical(text)).map(|id| id.profile_url())
}

/// The name of the TXT record with a domain's proofs: `{full, zone, relative}`.
///
/// # Errors
/// `identity_refused` if it is not a `dns` identity.
#[wasm_bindgen(js_name = dnsRecord)]
pub fn dns_record(text: &str) -> Result<JsValue, JsValue> {
    let identity = or_throw(Identity::from_canonical(text))?;
    if identity.scheme() != dns::SCHEME {
        return Err(thrown(&Error::about(Code::IdentityRefused, "not a dns identity")));
    }
    crate::plain(&dns::RecordName::of(identity.value()))
}

/// The commitment to a next key, by its identity.
///
/// # Errors
/// Those of `Key::from_identity`.
#[wasm_bindgen]
pub fn commitment(identity: &str) -> Result<String, JsValue> {
    let identity = or_throw(Identity::from_canonical(identity))?;
    let key = or_throw(kez_core::Key::from_identity(&identity))?;
    Ok(kez_core::commitment(key.identity()).to_string())
}
