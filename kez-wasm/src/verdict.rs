//! Verdicts on what is at hand.

use crate::{chain::Chain, error::or_throw, time};
use kez_core::{
    Case, Code, History, Identity, Known, Lookup,
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

    /// No source was asked.
    #[must_use]
    pub fn unchecked() -> Self {
        Self { inner: History::Unchecked }
    }

    /// Sources were asked, and it could not be established whether there is a chain.
    #[must_use]
    pub fn unknown() -> Self {
        Self { inner: History::Unknown(Code::ChainUnreachable.into()) }
    }

    /// One copy, or two that are compared. With `rolled_back`, a longer chain was seen before.
    ///
    /// # Errors
    /// `chain_id` if the copies are of different chains.
    pub fn known(one: &Chain, two: Option<Chain>, rolled_back: bool) -> Result<Self, JsValue> {
        let copies = [Some(one.inner.clone()), two.map(|two| two.inner)];
        let (chain, settled) = match or_throw(merge(copies.into_iter().flatten().collect()))? {
            Merge::Same(chain) => (*chain, false),
            Merge::Settled(chain) => (*chain, true),
            Merge::Fork(fork) => return Ok(Self { inner: History::Forked(fork) }),
        };
        let doubt = rolled_back.then(|| Code::Rollback.into());
        let known = Known { chain, doubt, unchecked: false, settled, refused: None };
        Ok(Self { inner: History::Known(Box::new(known)) })
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
    let mut lookup = Lookup::of(or_throw(Identity::from_canonical(subject))?, time(now));
    lookup.account = account;
    lookup.encoding = Some(encoding);
    let case = Case {
        subject: &lookup.subject,
        account: lookup.account.as_deref(),
        proof: &proof,
        history: &history.inner,
        now: time(now),
    };
    crate::plain(&lookup.report(proof.primary(), &judge(&case)))
}
