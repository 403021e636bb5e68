//! The report on a vector of the kind `judge`: for the test of the vectors, and for what makes them.

use kez_core::{Chain, Code, History, Identity, Report, Result, Timestamp, fork, judge, proof};
use serde_json::Value as Json;

/// Judges the input of a vector.
pub(super) fn report(input: &Json, now: Timestamp) -> Result<Report> {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let chain =
        |bundle: &Json| Chain::replay(bundle.as_str().unwrap_or_default().as_bytes(), None, now);
    let history = match &input["history"] {
        Json::Array(branches) => match fork::merge(chain(&branches[0])?, chain(&branches[1])?)? {
            fork::Merge::Fork(fork) => History::Forked(fork),
            // Two histories stand in a vector only if they differ.
            fork::Merge::Same(_) => return Err(Code::ForkRefused.into()),
        },
        Json::String(word) if word == "absent" => History::Absent,
        Json::String(word) if word == "unknown" => History::Unknown(None),
        bundle => History::Known {
            chain: Box::new(chain(bundle)?),
            rolled_back: input["rolled_back"] == true,
            remembered: false,
            settled: false,
            refused: None,
        },
    };
    let (encoding, proof) = proof::from_text(text("proof"))?;
    let mut report = Report::new(Identity::from_canonical(text("subject"))?, now);
    report.account = input["account"].as_str().map(String::from);
    report.encoding = Some(encoding);
    judge(&mut report, &proof, &history, now);
    Ok(report)
}
