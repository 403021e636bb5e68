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
mod judge;

use kez_core::{Chain, Code, Fork, Identity, Proof, Result, Status, Timestamp, json::Value, proof};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, fs, path::PathBuf};

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

fn run(case: &Json) -> Result<Json> {
    let now: Timestamp = case["now"].as_str().unwrap().parse()?;
    let kind = case["kind"].as_str().unwrap();
    if kind == "judge" {
        return judged(case, now);
    }
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
        "text" => {
            let found = proof::find(&text()).found.into_iter().map(|found| {
                let form = json!(found.encoding);
                let what = match found.proof? {
                    Proof::Claim(signed) => signed.id().to_string(),
                    Proof::Pointer(primary) => primary.to_string(),
                };
                Ok(format!("{} {what}", form.as_str().unwrap()))
            });
            Ok(json!(found.collect::<Result<Vec<String>>>()?))
        }
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

fn judged(case: &Json, now: Timestamp) -> Result<Json> {
    let report = judge::report(&case["input"], now)?;
    assert_eq!(serde_json::to_string(&report).unwrap(), case["report"].as_str().unwrap());
    match report.reason {
        None => {
            assert_eq!(report.status, Status::Valid);
            Ok(Json::Null)
        }
        Some(code) => {
            assert_eq!(report.status, code.status());
            Err(code.into())
        }
    }
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
        let expect = case["expect"].as_str().unwrap();
        let got = run(&case);
        let ok = match &got {
            Ok(output) => expect == "ok" && (case["output"].is_null() || case["output"] == *output),
            Err(error) => error.code().as_str() == expect,
        };
        if !ok {
            wrong.push(format!("{name}: wanted {expect} {}, got {got:?}", case["output"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_and_they_cover_the_codes() {
    let cases = cases();
    let negative = cases.iter().filter(|(_, c)| c["expect"] != "ok").count();
    assert!(negative >= 120, "{negative}");
    let seen: BTreeSet<&str> = cases.iter().filter_map(|(_, c)| c["expect"].as_str()).collect();
    // The other kinds need a network or the user's files; `cargo xtask check` finds their tests.
    use kez_core::Kind;
    let needs_platform = [
        Code::ProofNotFound,
        Code::IdentityNotFound,
        Code::HandleMismatch,
        Code::GistForked,
        Code::NoChannel,
        Code::LogRefused,
        Code::LogInconsistent,
        Code::LogUnwitnessed,
        Code::Usage,
        #[cfg(feature = "publish")]
        Code::CredentialOther,
        // These need a server or other members.
        #[cfg(feature = "chat")]
        Code::HandleTaken,
        #[cfg(feature = "chat")]
        Code::HandleUnknown,
        #[cfg(feature = "chat")]
        Code::ContactChanged,
        #[cfg(feature = "chat")]
        Code::DevicesChanged,
        #[cfg(feature = "chat")]
        Code::KeyPackageRefused,
        #[cfg(feature = "chat")]
        Code::WelcomeRefused,
        #[cfg(feature = "chat")]
        Code::CommitRefused,
        #[cfg(feature = "chat")]
        Code::MessageRefused,
        #[cfg(feature = "chat")]
        Code::ConversationUnknown,
    ];
    for code in Code::ALL {
        let offline = !matches!(code.kind(), Kind::Network | Kind::Storage);
        if offline && !needs_platform.contains(code) {
            assert!(seen.contains(code.as_str()), "no vector for {code}");
        }
    }
}
