//! Runs the fuzz targets over their corpora, over all test vectors, and over damaged forms of
//! both, so that a crash once found stays fixed without a fuzzer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "the fuzz crate shares the file")]
mod targets;

use std::{fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn vectors() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("vectors")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let case: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let input = case["input"].as_str().or(case["input"]["proof"].as_str());
        all.extend(input.map(|text| text.as_bytes().to_vec()));
    }
    all
}

#[test]
fn corpora() {
    for (name, target) in targets::ALL {
        let dir = root().join("fuzz/corpus").join(name);
        let mut count = 0;
        for entry in fs::read_dir(&dir).unwrap() {
            target(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

#[test]
fn vectors_and_their_ruins() {
    let vectors = vectors();
    assert!(vectors.len() > 200);
    for (name, target) in targets::ALL {
        for (n, vector) in vectors.iter().enumerate() {
            target(vector);
            if vector.len() > 3000 {
                continue;
            }
            // Cut off, one byte changed, one byte doubled, at places that differ by vector.
            let at = (n * 7919) % vector.len().max(1);
            target(&vector[..at.min(vector.len())]);
            let mut ruin = vector.clone();
            if let Some(byte) = ruin.get_mut(at) {
                *byte ^= 1 << (n % 8);
            }
            target(&ruin);
            ruin.insert(at.min(ruin.len()), b'"');
            target(&ruin);
        }
        eprintln!("{name}: {} vectors", vectors.len());
    }
}
