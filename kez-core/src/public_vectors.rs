//! The public test vectors that apply to KEZ. They are not part of this repository; where the
//! folder `../shared/vectors` beside it (or `KEZ_VECTORS`) is absent, each test says so.

use crate::{Code, Identity, Key, Scheme, SecretKey, Suite, hex, json::Value, proof::zstd};
use serde_json::Value as Json;
use std::{
    eprintln, format, fs,
    path::PathBuf,
    string::{String, ToString},
    vec::Vec,
};

fn folder(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests may be told where the vectors are")]
    let root = std::env::var("KEZ_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"));
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: the public vectors {name} are not here");
    None
}

fn json(path: PathBuf) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn ed25519_accepts(key: &[u8], message: &[u8], sig: &[u8]) -> bool {
    let (Ok(key), Ok(sig)) = (key.try_into(), sig.try_into()) else { return false };
    Key::from_bytes(Scheme::Ed25519, &key)
        .is_ok_and(|key| key.verify(Suite::Ed25519, message, &sig).is_ok())
}

#[test]
fn bip340() {
    let Some(folder) = folder("bip340") else { return };
    let text = fs::read_to_string(folder.join("test-vectors.csv")).unwrap();
    let mut count = 0;
    for line in text.lines().skip(1) {
        let f: Vec<String> = line.split(',').map(str::to_ascii_lowercase).collect();
        let (message, sig) = (unhex(&f[4]), unhex(&f[5]));
        let key = hex::decode(&f[2]).and_then(|b| Key::from_bytes(Scheme::Nostr, &b).ok());
        let ok = key.is_some_and(|key| {
            key.verify(Suite::Bip340, &message, &sig.clone().try_into().unwrap()).is_ok()
        });
        assert_eq!(ok, f[6] == "true", "{line}");
        if let (Some(secret), Ok(digest)) =
            (hex::decode(&f[1]), <[u8; 32]>::try_from(message.clone()))
        {
            let secret = SecretKey::from_bytes(Scheme::Nostr, secret).unwrap();
            let made = secret.sign(&digest, &hex::decode(&f[3]).unwrap()).unwrap().1;
            assert_eq!(made.to_vec(), sig, "{line}");
        }
        count += 1;
    }
    assert_eq!(count, 19);
}

#[test]
fn rfc8032() {
    let Some(folder) = folder("rfc8032") else { return };
    let text = fs::read_to_string(folder.join("TESTVECTORS")).unwrap();
    let mut count = 0;
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let f: Vec<Vec<u8>> = line.split(':').map(unhex).collect();
        assert!(ed25519_accepts(&f[1], &f[2], &f[3][..64]), "{line}");
        let seed = f[0][..32].try_into().unwrap();
        let secret = SecretKey::from_bytes(Scheme::Ed25519, seed).unwrap();
        assert_eq!(secret.public().to_bytes().to_vec(), f[1]);
        count += 1;
    }
    assert!(count >= 128, "{count}");
}

#[test]
fn speccheck_accepts_none() {
    let Some(folder) = folder("ed25519-speccheck") else { return };
    for case in json(folder.join("cases.json")).as_array().unwrap() {
        let f = |name: &str| unhex(case[name].as_str().unwrap());
        assert!(!ed25519_accepts(&f("pub_key"), &f("message"), &f("signature")), "{case}");
    }
}

#[test]
fn cctv_accepts_exactly_one() {
    let Some(folder) = folder("cctv-ed25519") else { return };
    let path = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let path = path.into_iter().find(|p| p.extension().is_some_and(|e| e == "json")).unwrap();
    let cases = json(path);
    let accepted = cases.as_array().unwrap().iter().filter(|case| {
        let key = unhex(case["key"].as_str().unwrap());
        let sig = unhex(case["sig"].as_str().unwrap());
        ed25519_accepts(&key, case["msg"].as_str().unwrap().as_bytes(), &sig)
    });
    assert_eq!(accepted.count(), 1);
}

#[test]
fn wycheproof_ed25519() {
    let Some(folder) = folder("wycheproof") else { return };
    let all = json(folder.join("ed25519_test.json"));
    let mut count = 0;
    for group in all["testGroups"].as_array().unwrap() {
        let key = unhex(group["publicKey"]["pk"].as_str().unwrap());
        for test in group["tests"].as_array().unwrap() {
            let f = |name: &str| unhex(test[name].as_str().unwrap());
            let ok = ed25519_accepts(&key, &f("msg"), &f("sig"));
            assert_eq!(ok, test["result"] == "valid", "{test}");
            count += 1;
        }
    }
    assert_eq!(count, 151);
}

#[test]
fn rfc8785() {
    let Some(folder) = folder("jcs") else { return };
    let mut integers_only = 0;
    for entry in fs::read_dir(folder.join("input")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let wanted = fs::read_to_string(folder.join("output").join(&name)).unwrap();
        match Value::parse(&fs::read(&path).unwrap()) {
            Ok(value) => {
                assert_eq!(value.to_canonical(), wanted.trim_end_matches('\n'), "{name}");
                integers_only += 1;
            }
            // Fractions and exponents are valid JSON, which KEZ does not speak.
            Err(error) => assert_eq!(error.code(), Code::JsonNumber, "{name}"),
        }
    }
    assert!(integers_only >= 3, "{integers_only}");
    let numbers = fs::read_to_string(folder.join("es6numbers-10000.txt")).unwrap();
    let mut integers = 0;
    for line in numbers.lines() {
        let (bits, text) = line.split_once(',').unwrap();
        let double = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        let integer = double.fract() == 0.0 && double.abs() <= crate::json::MAX_INTEGER as f64;
        match Value::parse(text.as_bytes()) {
            Ok(value) => {
                assert!(integer, "{line}");
                assert_eq!(value.to_canonical(), text);
                integers += 1;
            }
            Err(error) => assert!(!integer && error.code() == Code::JsonNumber, "{line}"),
        }
    }
    assert!(integers > 0);
}

#[test]
fn jsontestsuite() {
    let Some(folder) = folder("jsontestsuite") else { return };
    let mut counts = [0; 2];
    for entry in fs::read_dir(folder.join("test_parsing")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let result = Value::parse(&fs::read(&path).unwrap());
        match name.as_bytes()[0] {
            b'n' => {
                assert!(result.is_err(), "{name}");
                counts[0] += 1;
            }
            b'y' => {
                // What I-JSON and KEZ refuse although it is JSON.
                if let Err(error) = result {
                    let narrowed = [Code::JsonNumber, Code::JsonDuplicate, Code::JsonString];
                    assert!(narrowed.contains(&error.code()), "{name}: {error:?}");
                }
                counts[1] += 1;
            }
            // Left to the implementation; we refuse all of them.
            _ => assert!(result.is_err(), "{name}"),
        }
        // Whatever it is, a platform's answer never makes the lenient reader panic.
        let _ = Value::parse_foreign(&fs::read(&path).unwrap());
    }
    assert_eq!(counts, [188, 95]);
}

#[test]
fn nip19() {
    let Some(folder) = folder("nip19") else { return };
    let all = json(folder.join("nip19.json"));
    let text =
        |case: &Json| case["bech32"].as_str().or(case.as_str()).unwrap_or_default().to_string();
    for case in all["valid"].as_array().unwrap() {
        let text = text(case);
        let parsed = Identity::parse(&text);
        if text.to_lowercase().starts_with("nsec") {
            assert_eq!(parsed.unwrap_err().code(), Code::SecretRefused);
            let secret = SecretKey::from_text(Scheme::Nostr, &text).unwrap();
            assert_eq!(hex::encode(secret.expose_bytes()), case["hex"].as_str().unwrap());
        } else {
            let key = Key::from_identity(&parsed.unwrap()).unwrap();
            assert_eq!(hex::encode(&key.to_bytes()), case["hex"].as_str().unwrap());
        }
    }
    for case in all["invalid"].as_array().unwrap() {
        let text = text(case);
        assert!(Identity::from_canonical(&format!("nostr:{text}")).is_err(), "{case}");
    }
}

#[test]
fn bech32_strings_are_no_keys() {
    let Some(folder) = folder("bech32") else { return };
    let all = json(folder.join("bech32.json"));
    for family in ["bech32", "bech32m"] {
        for case in all[family]["valid"].as_array().into_iter().flatten() {
            let text = case.as_str().unwrap_or_default();
            assert!(Identity::from_canonical(&format!("nostr:{text}")).is_err(), "{text}");
        }
        for case in all[family]["invalid"].as_array().into_iter().flatten() {
            let bytes = unhex(case["hex"].as_str().unwrap_or_default());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(Identity::from_canonical(&format!("nostr:{text}")).is_err(), "{text}");
        }
    }
}

#[test]
fn zstd_hostile() {
    let Some(folder) = folder("zstd-hostile") else { return };
    let manifest = json(folder.join("manifest.json"));
    let mut accepted = Vec::new();
    for (name, case) in manifest.as_object().unwrap() {
        let Ok(frame) = fs::read(folder.join(name)) else { continue };
        let expect = case["expect"].as_str().unwrap();
        match zstd::decompress(&frame, 8 * 1024) {
            Ok(out) => {
                assert!(expect.starts_with("ok"), "{name} was accepted: {expect}");
                if let Some(wanted) = expect.strip_prefix("ok:") {
                    assert_eq!(out, wanted.as_bytes(), "{name}");
                }
                accepted.push(name.clone());
            }
            Err(_) => assert!(!expect.starts_with("ok:"), "{name} was refused"),
        }
    }
    assert!(
        accepted.contains(&"ok.zst".to_string())
            && accepted.contains(&"ok_checksum.zst".to_string())
    );
}

#[test]
fn zstd_plain_frames() {
    let Some(folder) = folder("zstd-decodecorpus") else { return };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "zst") {
            continue;
        }
        let plain = fs::read(path.with_extension(""))
            .or_else(|_| fs::read(path.to_str().unwrap().trim_end_matches(".zst")));
        // Refused are only the frames that are beyond KEZ's limits; the others decode right.
        match zstd::decompress(&fs::read(&path).unwrap(), 32 << 20) {
            Ok(out) => assert!(out == plain.unwrap(), "{path:?}"),
            Err(e) => assert!(matches!(e.code(), Code::ZstdRefused | Code::TooLarge), "{path:?}"),
        }
    }
    let Some(folder) = self::folder("zstd-golden") else { return };
    for entry in fs::read_dir(folder.join("golden-decompression-errors")).unwrap() {
        let path = entry.unwrap().path();
        assert!(zstd::decompress(&fs::read(&path).unwrap(), 32 << 20).is_err(), "{path:?}");
    }
}

#[test]
fn atproto_syntax() {
    let Some(folder) = folder("atproto") else { return };
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(String::from).collect()
    };
    for handle in lines("handle_syntax_valid.txt") {
        // Handles are case-insensitive; the canonical form is lower-case.
        let canonical = format!("bluesky:{}", handle.to_ascii_lowercase());
        assert!(Identity::from_canonical(&canonical).is_ok(), "{handle}");
    }
    for handle in lines("handle_syntax_invalid.txt") {
        let parsed = Identity::from_canonical(&format!("bluesky:{handle}"));
        assert!(parsed.is_err(), "{handle}");
    }
    for did in lines("did_syntax_invalid.txt").into_iter().filter(|d| d.contains(':')) {
        assert!(Identity::from_canonical(&format!("bluesky:{did}")).is_err(), "{did}");
    }
}
