//! The only place that throws: a `kez_core::Error` becomes an `Error` whose message is the code, and
//! whose name its kind, with `detail`.
//! The facade makes its own classes of them, and has the sentences.

use js_sys::{Error, Reflect};
use wasm_bindgen::JsValue;

/// The JavaScript error for a failure of the core.
pub(crate) fn thrown(error: &kez_core::Error) -> JsValue {
    let thrown = Error::new(error.code().as_str());
    thrown.set_name(error.code().kind().as_str());
    let detail = error.context().map_or(JsValue::UNDEFINED, JsValue::from);
    // Setting a member of a fresh Error cannot fail.
    let _ = Reflect::set(&thrown, &"detail".into(), &detail);
    thrown.into()
}

/// Throws what the core refuses.
pub(crate) fn or_throw<T>(result: kez_core::Result<T>) -> Result<T, JsValue> {
    result.map_err(|error| thrown(&error))
}
