//! Replays the vectors whose outcome is more than one value: for the test of the vectors, and for
//! the program that generates them. `kez-core/vectors/README.md` describes the kinds.

mod judge;
mod network;

use kez_core::{
    Chain, Identity, Input, Proof, Report, Result, Timestamp,
    fork::{self, Merge},
    proof,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// What came out of a vector.
#[derive(Debug)]
pub(super) struct Got {
    /// `ok` or a code.
    pub(super) code: String,
    /// What is compared with `output`, `report` or `reports`.
    pub(super) output: Json,
}

impl Got {
    fn new(code: &str, output: Json) -> Self {
        Self { code: code.to_owned(), output }
    }

    fn of(result: Result<Json>) -> Self {
        match result {
            Ok(output) => Self::new("ok", output),
            Err(error) => Self::new(error.code().as_str(), Json::Null),
        }
    }

    /// Reports, the best first: its reason is the outcome.
    fn reports(reports: &[Report]) -> Self {
        let reason = reports.first().and_then(|report| report.reason);
        let code = reason.map_or("ok", |code| code.as_str());
        Self::new(code, reports.iter().map(report_json).collect())
    }
}

/// Where two values differ first, by the path of members. Where an object with the one member
/// `any` is wanted, each of its values will do.
pub(super) fn difference(path: &str, wanted: &Json, got: &Json) -> Option<String> {
    let at = |name: &dyn std::fmt::Display| format!("{path}.{name}");
    if let Some(any) = wanted["any"].as_array() {
        let fits = any.iter().any(|wanted| difference(path, wanted, got).is_none());
        return (!fits).then(|| format!("{path}: wanted {wanted}, got {got}"));
    }
    match (wanted, got) {
        (Json::Object(wanted), Json::Object(got)) => {
            let names: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
            names.into_iter().find_map(|name| {
                let absent = json!("(absent)");
                let (wanted, got) = (wanted.get(name), got.get(name));
                difference(&at(name), wanted.unwrap_or(&absent), got.unwrap_or(&absent))
            })
        }
        (Json::Array(wanted), Json::Array(got)) if wanted.len() == got.len() => {
            let mut pairs = wanted.iter().zip(got).enumerate();
            pairs.find_map(|(n, (wanted, got))| difference(&at(&n), wanted, got))
        }
        _ if wanted == got => None,
        _ => Some(format!("{path}: wanted {wanted}, got {got}")),
    }
}

/// A report without its detail, whose words are not stable.
fn report_json(report: &Report) -> Json {
    without_detail(serde_json::to_value(report).unwrap_or_default())
}

fn without_detail(mut json: Json) -> Json {
    if let Some(members) = json.as_object_mut() {
        members.remove("detail");
    }
    json
}

/// The text of a member; empty without it.
fn text<'a>(input: &'a Json, name: &str) -> &'a str {
    input[name].as_str().unwrap_or_default()
}

/// The texts of a member that is an array.
fn texts(input: &Json, name: &str) -> Vec<String> {
    let all = input[name].as_array().into_iter().flatten();
    all.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn head_json(chain: &Chain) -> Json {
    chain.head().map_or(Json::Null, |head| json!({ "seq": head.seq, "id": head.id.to_string() }))
}

/// Runs a vector; nothing for the kinds that have one value or one code.
pub(super) fn run(kind: &str, input: &Json, now: Timestamp) -> Option<Got> {
    Some(match kind {
        "judge" => match judge::report(input, now) {
            Ok(report) => {
                let output = report_json(&report);
                Got::new(report.reason.map_or("ok", |code| code.as_str()), output)
            }
            Err(error) => Got::of(Err(error)),
        },
        "search" => Got::new("ok", search(input.as_str().unwrap_or_default())),
        "parse-input" => Got::of(parse_input(input.as_str().unwrap_or_default())),
        "resolve" => network::resolve(input, now),
        "prefix" => Got::of(prefix(input, now)),
        "merge" => Got::of(merge(input, now)),
        "verify" | "channel" => Got::reports(&network::verify(input, now)),
        "graph" => network::graph(input, now),
        "sources" => Got::new("ok", network::sources(input, now)),
        "log" => network::log(input, now),
        _ => return None,
    })
}

fn search(text: &str) -> Json {
    let search = proof::find(text);
    let candidate = |found: proof::Found| {
        let mut json = json!({ "encoding": found.encoding });
        let (name, value) = match found.proof {
            Ok(Proof::Claim(signed)) => ("claim", signed.id().to_string()),
            Ok(Proof::Pointer(primary)) => ("primary", primary.to_string()),
            Err(error) => ("code", error.code().as_str().to_owned()),
        };
        json[name] = value.into();
        json
    };
    let found: Vec<Json> = search.found.into_iter().map(candidate).collect();
    json!({ "candidates": found, "incomplete": search.incomplete })
}

fn parse_input(text: &str) -> Result<Json> {
    Ok(match Input::parse(text)? {
        Input::Account { identity, spelling } => {
            json!({ "account": identity.as_str(), "spelling": spelling })
        }
        Input::Name { user, host } => json!({ "name": { "user": user, "host": host } }),
        Input::Nip05 { user, host } => json!({ "nip05": { "user": user, "host": host } }),
        Input::Page { url, host } => json!({ "page": { "url": url, "host": host } }),
    })
}

fn prefix(input: &Json, now: Timestamp) -> Result<Json> {
    let name = Identity::from_canonical(text(input, "primary"))?;
    let (chain, end) = Chain::replay_prefix(text(input, "bundle").as_bytes(), &name, now)?;
    let code = end.map(|error| error.code().as_str());
    Ok(json!({ "events": chain.events().len(), "code": code }))
}

/// Merges copies in every order of up to four, which must give the same.
fn merge(input: &Json, now: Timestamp) -> Result<Json> {
    let at = input["at"].as_str().map(str::parse::<Timestamp>).transpose()?;
    let mut copies = Vec::new();
    for bundle in texts(input, "copies") {
        let chain = Chain::replay(bundle.as_bytes(), None, now)?;
        copies.push(at.map_or(chain.clone(), |at| chain.as_of(at)));
    }
    copies.retain(|chain| chain.head().is_some());
    let mut first = None;
    for order in orders(copies.len()) {
        let copies = order.iter().map(|n| copies[*n].clone()).collect();
        let merged = match fork::merge(copies)? {
            Merge::Same(chain) => json!({ "merge": "same", "head": head_json(&chain) }),
            Merge::Settled(chain) => json!({ "merge": "settled", "head": head_json(&chain) }),
            Merge::Fork(fork) => {
                let (a, b) = fork.branches();
                let heads = json!([head_json(a), head_json(b)]);
                json!({ "merge": "fork", "seq": fork.seq(), "branches": heads })
            }
        };
        if first.get_or_insert_with(|| merged.clone()) != &merged {
            return Ok(json!({ "merge": "depends on the order" }));
        }
    }
    Ok(first.unwrap_or_default())
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for n in 0..count {
        let place = |order: &Vec<usize>| {
            let order = order.clone();
            let at = move |place| {
                let mut order = order.clone();
                order.insert(place, n);
                order
            };
            (0..=n).map(at)
        };
        all = all.iter().flat_map(place).collect();
    }
    all
}
