//! Sigchains and forks.

use crate::{error::or_throw, plain, time};
#[cfg(feature = "sign")]
use kez_core::publish;
use kez_core::{Fork, Identity};
use wasm_bindgen::prelude::*;

/// A replayed sigchain.
#[wasm_bindgen]
pub struct Chain {
    pub(crate) inner: kez_core::Chain,
}

#[wasm_bindgen]
impl Chain {
    /// A chain without events, which the primary's first event will start.
    ///
    /// # Errors
    /// Those of `Chain::new`.
    pub fn start(primary: &str) -> Result<Self, JsValue> {
        let primary = or_throw(Identity::from_canonical(primary))?;
        or_throw(kez_core::Chain::new(&primary)).map(|inner| Self { inner })
    }

    /// Replays a bundle. With `name`, the chain must be that primary's.
    ///
    /// # Errors
    /// Those of `Chain::replay`.
    pub fn replay(bundle: &[u8], name: Option<String>, now: f64) -> Result<Self, JsValue> {
        let name = name.map(|name| or_throw(Identity::from_canonical(&name))).transpose()?;
        let inner = or_throw(kez_core::Chain::replay(bundle, name.as_ref(), time(now)))?;
        Ok(Self { inner })
    }

    /// The identity's name.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.name().to_string()
    }

    /// The head, as `{seq, id}`.
    ///
    /// # Errors
    /// Never.
    #[wasm_bindgen(getter)]
    pub fn head(&self) -> Result<JsValue, JsValue> {
        plain(&self.inner.head())
    }

    /// The key that may sign the next event.
    #[wasm_bindgen(getter, js_name = currentKey)]
    #[must_use]
    pub fn current_key(&self) -> String {
        self.inner.current_key().to_string()
    }

    /// What the chain says, as plain data: the same as `kez sigchain show --json`.
    ///
    /// # Errors
    /// Never.
    pub fn summary(&self) -> Result<JsValue, JsValue> {
        plain(&self.inner.summary())
    }

    /// The bundle, the same bytes from every implementation.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.inner.to_bundle()
    }
}

/// Publishing is for those who sign.
#[cfg(feature = "sign")]
#[wasm_bindgen]
impl Chain {
    /// Where a sigchain server has it.
    #[wasm_bindgen(js_name = serverUrl)]
    #[must_use]
    pub fn server_url(&self, base: &str) -> String {
        publish::server_url(base, &self.inner)
    }

    /// The lines that a sigchain server lacks, by its answer to a `GET`.
    ///
    /// # Errors
    /// Those of `publish::missing_at_server`.
    #[wasm_bindgen(js_name = missingAtServer)]
    pub fn missing_at_server(&self, status: u16, body: &[u8], now: f64) -> Result<String, JsValue> {
        or_throw(publish::missing_at_server(&self.inner, status, body, time(now)))
    }
}

/// Verifies a fork object; whether the committed key settles it.
///
/// # Errors
/// Those of `Fork::from_json`.
#[wasm_bindgen(js_name = forkIsSettled)]
pub fn fork_is_settled(bytes: &[u8], now: f64) -> Result<bool, JsValue> {
    or_throw(Fork::from_json(bytes, time(now))).map(|fork| fork.is_settled())
}

/// What a sigchain server's answer to a `POST` means.
///
/// # Errors
/// `head_conflict`, `publish_refused`.
#[cfg(feature = "sign")]
#[wasm_bindgen(js_name = appendedAtServer)]
pub fn appended_at_server(status: u16, body: &[u8]) -> Result<(), JsValue> {
    or_throw(publish::appended_at_server(status, body))
}
