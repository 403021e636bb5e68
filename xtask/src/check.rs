//! Checks that no compiler makes: dependencies between rooms, the size of files, and that every
//! rule of SPEC.md and every reason code has a test.

mod coverage;

use crate::{Result, setup::root};
use kez_core::Code;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files below the root that git would carry, with one of these endings.
fn sources(endings: &[&str]) -> Result<Vec<PathBuf>> {
    sources_in(&root(), endings)
}

/// As [`sources`], below a folder.
pub(crate) fn sources_in(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    fn walk(dir: &Path, endings: &[&str], out: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() {
                let skip = name.starts_with("target") || name == "node_modules" || name == ".git";
                if !skip {
                    walk(&path, endings, out)?;
                }
            } else if endings.iter().any(|e| name.ends_with(e)) {
                out.push(path);
            }
        }
        Ok(())
    }
    let mut out = Vec::new();
    walk(dir, endings, &mut out)?;
    out.sort();
    Ok(out)
}

/// Runs every check.
///
/// # Errors
/// What does not hold.
pub fn run() -> Result<()> {
    boundaries()?;
    lines()?;
    tested()
}

/// The core does no I/O, reads no clock and no environment, and depends on none of the others.
fn boundaries() -> Result<()> {
    let manifest = fs::read_to_string(root().join("kez-core/Cargo.toml"))?;
    let runtime = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for name in ["tokio", "reqwest", "kez-native", "xtask", "getrandom", "std::"] {
        if runtime.contains(name) {
            return Err(format!("kez-core must not depend on {name}").into());
        }
    }
    let strangers = [
        ("kez-native", "kez-wasm"),
        ("kez-wasm", "kez-native"),
        ("kez-cli", "kez-wasm"),
        ("kez-cli", "kez-native"),
        ("servers/chat", "kez-native"),
        ("servers/chat", "kez-wasm"),
        ("servers/chat", "kez-cli"),
        ("servers/chat", "kez-sig-server"),
        ("servers/common", "kez-cli"),
        ("servers/common", "kez-chat-server"),
        ("servers/common", "kez-sig-server"),
        ("servers/sig", "kez-chat-server"),
        ("servers/sig", "kez-native"),
        ("servers/sig", "kez-wasm"),
        ("servers/sig", "kez-cli"),
    ];
    for (room, other) in strangers {
        let manifest = fs::read_to_string(root().join(room).join("Cargo.toml"))?;
        if manifest.contains(other) {
            return Err(format!("{room} must not know {other}").into());
        }
    }
    for path in sources(&[".rs"])? {
        let text = fs::read_to_string(&path)?;
        let core =
            path.starts_with(root().join("kez-core/src")) && !path.ends_with("public_vectors.rs");
        let banned: &[&str] = if core {
            &[
                "std::fs",
                "std::net",
                "std::env",
                "std::time",
                "Instant",
                "SystemTime",
                "println!",
                "unsafe ",
            ]
        } else if path.starts_with(root().join("kez-native/src")) {
            &["ed25519_dalek", "k256", "ruzstd", "unsafe "]
        } else {
            &[]
        };
        for word in banned {
            let found = text.lines().any(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            if found {
                return Err(format!("{} uses {word}", path.display()).into());
            }
        }
    }
    Ok(())
}

/// A file of more than 1,000 lines is due for a redesign.
fn lines() -> Result<()> {
    for path in sources(&[".rs", ".ts", ".mjs", ".svelte"])? {
        let count = fs::read_to_string(&path)?.lines().count();
        if count > 1000 {
            return Err(format!("{} has {count} lines", path.display()).into());
        }
    }
    Ok(())
}

/// What SPEC.md says, and what tests it (see [`coverage`]).
fn tested() -> Result<()> {
    let spec = fs::read_to_string(root().join("SPEC.md"))?;
    let (mut vectors, mut tests) = (Vec::new(), Vec::new());
    for path in sources_in(&root().join("kez-core/vectors"), &[".json"])? {
        vectors.push(serde_json::from_slice(&fs::read(path)?)?);
    }
    for path in sources(&[".rs", ".ts", ".mjs", ".svelte"])? {
        let below = path.strip_prefix(root())?.to_string_lossy().into_owned();
        // The unit tests of these checks name rules that do not exist.
        if below.starts_with("xtask/src/check") {
            continue;
        }
        tests.push(coverage::test_part(&below, &fs::read_to_string(&path)?).to_owned());
    }
    let rules = coverage::rules(&spec);
    let mut faults = coverage::faulty(&rules);
    faults.extend(coverage::untested(&rules, &vectors, &tests));
    let codes = coverage::codes();
    faults.extend(coverage::unreached(&codes, coverage::WITHOUT_VECTOR, &vectors, &tests));
    let unexplained = Code::ALL.iter().filter(|code| !spec.contains(&format!("`{code}`")));
    faults.extend(unexplained.map(|code| format!("SPEC.md does not name {code}")));
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}
