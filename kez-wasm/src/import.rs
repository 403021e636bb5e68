//! Reading what people have said of their accounts elsewhere.

use crate::{error::or_throw, identity::to_ascii, plain, task::Task, verifier::Verifier};
use js_sys::Function;
use kez_core::{
    Code, Error,
    import::{Importer, Source, Subject},
};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

#[wasm_bindgen]
impl Verifier {
    /// What a source says of somebody, by name or in a file, and whether the accounts agree: a
    /// `kez.foreign/1`.
    ///
    /// # Errors
    /// `usage` for a source that there is not; those of `Importer::read` from the task.
    #[wasm_bindgen(js_name = importFrom)]
    pub fn import_from(
        &self,
        source: &str,
        name: Option<String>,
        file: Option<Vec<u8>>,
        signal: Option<AbortSignal>,
        wake: Function,
    ) -> Result<Task, JsValue> {
        let known = Source::from_name(source).ok_or_else(|| Error::about(Code::Usage, source));
        let source = or_throw(known)?;
        Ok(self.task(signal, wake, async move |verifier| {
            let (transport, now) = (verifier.transport, verifier.clock);
            let importer =
                Importer { transport, endpoints: &verifier.endpoints, now, to_ascii: &to_ascii };
            let subject = match &file {
                Some(file) => Subject::File(file),
                None => Subject::Name(name.as_deref().unwrap_or_default()),
            };
            plain(&or_throw(importer.read(source, subject).await)?)
        }))
    }
}
