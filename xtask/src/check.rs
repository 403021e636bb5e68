//! Checks that no compiler makes: dependencies between rooms, the size of files, and that every
//! rule of SPEC.md and every reason code has a test.

use crate::{Result, setup::root};
use kez_core::Code;
use std::{
    collections::BTreeSet,
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
    coverage()
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

/// The rules that SPEC.md numbers.
fn rules() -> Result<BTreeSet<String>> {
    let spec = fs::read_to_string(root().join("SPEC.md"))?;
    let defined = spec.split("**KEZ-").skip(1);
    Ok(defined.filter_map(|rest| rest.split("**").next()).map(|id| format!("KEZ-{id}")).collect())
}

/// Every rule is named by a vector or a test, and every code is expected by one.
fn coverage() -> Result<()> {
    let mut text = String::new();
    for path in sources(&[".rs", ".json"])? {
        let inside = |part: &str| path.components().any(|c| c.as_os_str() == part);
        if inside("vectors") || inside("tests") {
            text.push_str(&fs::read_to_string(&path)?);
        }
    }
    let untested: Vec<String> =
        rules()?.into_iter().filter(|rule| !text.contains(rule.as_str())).collect();
    if !untested.is_empty() {
        return Err(format!("rules without a test: {untested:?}").into());
    }
    let unreached: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| {
            !text.contains(&format!("\"{code}\"")) && !text.contains(&format!("Code::{code:?}"))
        })
        .map(|code| code.as_str())
        .collect();
    if !unreached.is_empty() {
        return Err(format!("codes without a test: {unreached:?}").into());
    }
    let spec = fs::read_to_string(root().join("SPEC.md"))?;
    let unexplained = Code::ALL.iter().find(|c| !spec.contains(&format!("`{c}`")));
    match unexplained {
        Some(code) => Err(format!("SPEC.md does not name {code}").into()),
        None => Ok(()),
    }
}
