//! The report on a vector of the kind `judge`: for the test of the vectors, and for what makes them.

use kez_core::{
    Case, Chain, Code, History, Identity, Known, Lookup, Report, Result, Timestamp, fork, judge,
    proof,
};
use serde_json::Value as Json;

/// Judges the input of a vector.
pub(super) fn report(input: &Json, now: Timestamp) -> Result<Report> {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let chain =
        |bundle: &Json| Chain::replay(bundle.as_str().unwrap_or_default().as_bytes(), None, now);
    let history = match &input["history"] {
        Json::Array(branches) => {
            match fork::merge(branches.iter().map(chain).collect::<Result<_>>()?)? {
                fork::Merge::Fork(fork) => History::Forked(fork),
                fork::Merge::Settled(chain) => {
                    let doubt = None;
                    let chain = *chain;
                    let known =
                        Known { chain, doubt, unchecked: false, settled: true, refused: None };
                    History::Known(Box::new(known))
                }
                fork::Merge::Same(chain) => History::from(*chain),
            }
        }
        Json::String(word) if word == "absent" => History::Absent,
        Json::String(word) if word == "unchecked" => History::Unchecked,
        Json::String(word) if word == "unknown" => History::Unknown(Code::ChainUnreachable.into()),
        bundle => {
            let doubt = (input["rolled_back"] == true).then(|| Code::Rollback.into());
            let chain = chain(bundle)?;
            let known = Known { chain, doubt, unchecked: false, settled: false, refused: None };
            History::Known(Box::new(known))
        }
    };
    let (encoding, proof) = proof::from_text(text("proof"))?;
    let mut lookup = Lookup::of(Identity::from_canonical(text("subject"))?, now);
    lookup.account = input["account"].as_str().map(String::from);
    lookup.encoding = Some(encoding);
    let case = Case {
        subject: &lookup.subject,
        account: lookup.account.as_deref(),
        proof: &proof,
        history: &history,
        now,
    };
    Ok(lookup.report(proof.primary(), &judge(&case)))
}
