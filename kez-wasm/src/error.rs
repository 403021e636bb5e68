//! The only place that throws: a `kez_core::Error` becomes an `Error` with `code` and `detail`.
//! The facade makes its own classes of them, and has the sentences.

use js_sys::{Error, Reflect};
use wasm_bindgen::JsValue;

/// The JavaScript error for a failure of the core.
pub(crate) fn thrown(error: &kez_core::Error) -> JsValue {
    let code = error.code().as_str();
    let thrown = Error::new(code);
    let set = |name: &str, value: &JsValue| {
        // Setting a member of a fresh Error cannot fail.
        let _ = Reflect::set(&thrown, &name.into(), value);
    };
    thrown.set_name("KezError");
    set("code", &code.into());
    set("detail", &error.context().map_or(JsValue::UNDEFINED, JsValue::from));
    thrown.into()
}

/// Throws what the core refuses.
pub(crate) fn or_throw<T>(result: kez_core::Result<T>) -> Result<T, JsValue> {
    result.map_err(|error| thrown(&error))
}
