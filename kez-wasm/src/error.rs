//! The only place that throws: a `kez_core::Error` becomes an `Error` with `code` and `kind`.

use js_sys::{Error, Reflect};
use wasm_bindgen::JsValue;

/// The JavaScript error for a failure of the core.
pub(crate) fn thrown(error: &kez_core::Error) -> JsValue {
    let thrown = Error::new(&error.to_string());
    let set = |name: &str, value: &str| {
        // Setting a member of a fresh Error cannot fail.
        let _ = Reflect::set(&thrown, &name.into(), &value.into());
    };
    thrown.set_name("KezError");
    set("code", error.code().as_str());
    set("kind", error.code().kind().as_str());
    thrown.into()
}

/// Throws what the core refuses.
pub(crate) fn or_throw<T>(result: kez_core::Result<T>) -> Result<T, JsValue> {
    result.map_err(|error| thrown(&error))
}
