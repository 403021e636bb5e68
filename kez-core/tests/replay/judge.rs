//! The report on a vector of the kind `judge`.

use super::text;
use kez_core::{
    Case, Chain, Code, History, Identity, Known, Lookup, Report, Result, Timestamp, fork, judge,
    proof,
};
use serde_json::Value as Json;

fn history(input: &Json, now: Timestamp) -> Result<History> {
    let chain =
        |bundle: &Json| Chain::replay(bundle.as_str().unwrap_or_default().as_bytes(), None, now);
    let (chain, merged) = match &input["history"] {
        Json::String(word) if word == "absent" => return Ok(History::Absent),
        Json::String(word) if word == "unchecked" => return Ok(History::Unchecked),
        Json::String(word) if word == "unknown" => {
            return Ok(History::Unknown(Code::ChainUnreachable.into()));
        }
        Json::Array(branches) => {
            match fork::merge(branches.iter().map(chain).collect::<Result<_>>()?)? {
                fork::Merge::Fork(fork) => return Ok(History::Forked(fork)),
                fork::Merge::Settled(chain) => (*chain, true),
                fork::Merge::Same(chain) => (*chain, false),
            }
        }
        bundle => (chain(bundle)?, false),
    };
    Ok(History::Known(Box::new(Known {
        chain,
        doubt: input["doubt"].as_str().and_then(Code::from_name).map(Into::into),
        unchecked: input["unchecked"] == true,
        settled: merged || input["settled"] == true,
        refused: (input["refused"] == true).then(|| Code::LogRefused.into()),
    })))
}

/// Judges the input of a vector.
pub(super) fn report(input: &Json, now: Timestamp) -> Result<Report> {
    let history = history(input, now)?;
    let (encoding, proof) = proof::from_text(text(input, "proof"))?;
    let mut lookup = Lookup::of(Identity::from_canonical(text(input, "subject"))?, now);
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
