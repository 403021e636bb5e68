//! Verdicts on what is at hand.

use crate::{chain::Chain, error::or_throw, time};
use kez_core::{
    History, Identity, Report,
    fork::{Merge, merge},
    judge, proof,
};
use wasm_bindgen::prelude::*;

/// What is known of a primary's chain, as the caller gathered it.
#[wasm_bindgen]
pub struct KnownHistory {
    inner: History,
}

#[wasm_bindgen]
impl KnownHistory {
    /// A source answered, and there is no chain.
    #[must_use]
    pub fn absent() -> Self {
        Self { inner: History::Absent }
    }

    /// No source could be asked.
    #[must_use]
    pub fn unknown() -> Self {
        Self { inner: History::Unknown(None) }
    }

    /// One copy, or two that are compared. With `rolled_back`, a longer chain was seen before.
    ///
    /// # Errors
    /// `chain_id` if the copies are of different chains.
    pub fn known(one: &Chain, two: Option<Chain>, rolled_back: bool) -> Result<Self, JsValue> {
        let known = |chain, settled| History::Known {
            chain: Box::new(chain),
            rolled_back,
            remembered: false,
            settled,
            refused: None,
        };
        let Some(two) = two else { return Ok(Self { inner: known(one.inner.clone(), false) }) };
        let inner = match or_throw(merge(one.inner.clone(), two.inner))? {
            Merge::Same(chain) => known(*chain, false),
            Merge::Fork(fork) => match fork.into_settled() {
                Ok(chain) => known(chain, true),
                Err(fork) => History::Forked(fork),
            },
        };
        Ok(Self { inner })
    }
}

/// Judges the first proof in a text as if `subject` showed it; gives the report.
///
/// # Errors
/// What the proof itself is refused for.
#[wasm_bindgen(js_name = judgeText)]
pub fn judge_text(
    text: &str,
    subject: &str,
    account: Option<String>,
    history: &KnownHistory,
    now: f64,
) -> Result<JsValue, JsValue> {
    let (encoding, proof) = or_throw(proof::from_text(text))?;
    let mut report = Report::new(or_throw(Identity::from_canonical(subject))?, time(now));
    report.account = account;
    report.encoding = Some(encoding);
    judge(&mut report, &proof, &history.inner, time(now));
    crate::plain(&report)
}
