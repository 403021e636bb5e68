//! Replays `kez-core/vectors/`: each file is one case with one expected outcome (SPEC.md, "Test
//! vectors").

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "chat")]
mod chat_vectors;
mod replay;

use kez_core::{Chain, Code, Fork, Identity, Result, Timestamp, json::Value, proof};
use replay::{Got, difference};
use serde_json::{Value as Json, json};
use std::{fs, path::PathBuf};

fn unhex(value: &Json) -> Vec<u8> {
    let hex = value.as_str().unwrap();
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn input(case: &Json) -> Vec<u8> {
    match &case["input"] {
        Json::String(text) => text.clone().into_bytes(),
        other => unhex(&other["hex"]),
    }
}

fn run(case: &Json) -> Got {
    let now = case["now"].as_str().unwrap().parse().unwrap();
    replay::run(case["kind"].as_str().unwrap(), &case["input"], now).unwrap_or_else(|| match value(
        case, now,
    ) {
        Ok(output) => Got { code: "ok".into(), output },
        Err(error) => Got { code: error.code().as_str().into(), output: Json::Null },
    })
}

/// Runs a vector of the kinds that give one value.
fn value(case: &Json, now: Timestamp) -> Result<Json> {
    let kind = case["kind"].as_str().unwrap();
    #[cfg(feature = "chat")]
    if let Some(result) = chat_vectors::run(kind, &case["input"], now) {
        return result;
    }
    let bytes = input(case);
    let text = || String::from_utf8(bytes.clone()).unwrap();
    let id = |signed: kez_core::SignedClaim| json!(signed.id().to_string());
    match kind {
        "json" => Ok(json!(Value::parse(&bytes)?.to_canonical())),
        "canonical" => Ok(json!(Value::parse_canonical(&bytes)?.to_canonical())),
        "identity" => Ok(json!(Identity::from_canonical(&text())?.as_str())),
        "input" => Ok(json!(Identity::parse(&text())?.as_str())),
        "claim" => proof::from_json(&bytes).map(id),
        "compact" => proof::from_compact(&text()).map(id),
        "pointer" => Ok(json!(proof::from_pointer(&text())?.as_str())),
        "bundle" => {
            let chain = Chain::replay(&bytes, None, now)?;
            // The bundle is byte for byte what this implementation writes.
            assert_eq!(chain.to_bundle().as_bytes(), bytes);
            let head = chain.head().unwrap();
            Ok(json!(format!("{} {}", head.seq, head.id)))
        }
        "fork" => {
            let fork = Fork::from_json(&bytes, now)?;
            assert_eq!(fork.to_canonical().as_bytes(), bytes);
            Ok(json!(if fork.is_settled() { "settled" } else { "open" }))
        }
        other => panic!("unknown kind {other}"),
    }
}

/// What is wrong with the outcome of a vector.
fn mismatch(case: &Json, got: &Got) -> Option<String> {
    let expect = case["expect"].as_array().unwrap();
    let member = ["output", "report", "reports"].into_iter().find(|name| case.get(*name).is_some());
    let differs = member.and_then(|name| difference(name, &case[name], &got.output));
    if !expect.iter().any(|code| code == got.code.as_str()) {
        return Some(format!("wanted {}, got {}; {differs:?}", case["expect"], got.code));
    }
    differs
}

fn cases() -> Vec<(String, Json)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut dirs = vec![dir.clone()];
    if cfg!(feature = "chat") {
        dirs.push(dir.join("chat"));
    }
    let mut all: Vec<_> = dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let name = path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn every_vector() {
    let mut wrong = Vec::new();
    for (name, case) in cases() {
        if let Some(what) = mismatch(&case, &run(&case)) {
            wrong.push(format!("{name}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_member_that_differs_is_named() {
    let wanted = json!({ "status": "valid", "notes": ["pointer"], "place": { "url": "a" } });
    let mut got = wanted.clone();
    assert_eq!(difference("report", &wanted, &got), None);
    got["place"]["url"] = "b".into();
    let what = difference("report", &wanted, &got).unwrap();
    assert_eq!(what, r#"report.place.url: wanted "a", got "b""#);
    got = json!({ "status": "valid", "notes": ["pointer"] });
    assert!(difference("report", &wanted, &got).unwrap().starts_with("report.place: wanted {"));
    got = json!({ "status": "valid", "notes": [], "place": { "url": "a" } });
    assert!(difference("report", &wanted, &got).unwrap().starts_with("report.notes: "));
    let any = json!({ "code": { "any": ["a", "b"] } });
    assert_eq!(difference("output", &any, &json!({ "code": "b" })), None);
    assert!(difference("output", &any, &json!({ "code": "c" })).is_some());
    let case = json!({ "expect": ["zstd_refused", "too_large"] });
    let got = |code: &str| Got { code: code.into(), output: Json::Null };
    assert_eq!(mismatch(&case, &got("too_large")), None);
    assert!(mismatch(&case, &got("ok")).is_some());
}

/// `cargo xtask check` finds codes and rules without a vector.
#[test]
fn most_vectors_are_refused() {
    let cases = cases();
    let accepts = |case: &Json| case["expect"].as_array().unwrap().contains(&json!("ok"));
    let negative = cases.iter().filter(|(_, case)| !accepts(case)).count();
    assert!(negative >= 200, "{negative}");
    let known = |code: &Json| {
        code.as_str().is_some_and(|code| code == "ok" || Code::from_name(code).is_some())
    };
    for (name, case) in &cases {
        assert!(case["expect"].as_array().unwrap().iter().all(known), "{name}");
    }
}
