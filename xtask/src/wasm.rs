//! The WebAssembly build: cargo, then wasm-bindgen's library, then wasm-opt, into `target/wasm`.

use crate::{
    Result,
    cross::{self, WASM},
    setup::{self, node, quietly, root},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// What every engine that KEZ runs on has (Node 20, Chromium 110, Firefox 110, Safari 16.4).
/// `--all-features` would give modules that they refuse.
const FEATURES: [&str; 6] = [
    "bulk-memory",
    "multivalue",
    "mutable-globals",
    "nontrapping-float-to-int",
    "reference-types",
    "sign-ext",
];

/// What is compiled for size where a page waits for the module.
const SMALL: [&str; 2] = ["k256", "curve25519-dalek"];

/// The modules: the library, whole and without what signs; what is apart from it; and the command for Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// The whole library.
    Library,
    /// What pages verify with.
    Verify,
    /// What `npx kez` runs.
    Cli,
    /// What reads other proofs than ours.
    Import,
    /// Chat.
    Chat,
    /// Chat, and what measures it.
    Bench,
}

impl Module {
    /// The folder of its bindings: `kez_wasm.js` and `kez_wasm_bg.wasm`.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        root().join(match self {
            Self::Library => "target/wasm",
            Self::Verify => "target/wasm-verify",
            Self::Cli => "target/wasm-cli",
            Self::Import => "target/wasm-import",
            Self::Chat => "target/wasm-chat",
            Self::Bench => "target/wasm-bench",
        })
    }
}

/// Builds modules and their bindings into their folders. One is made small while the next is
/// compiled: neither uses more than one core to its end.
///
/// # Errors
/// What the compiler, wasm-bindgen or wasm-opt says.
pub fn build(modules: &[Module]) -> Result<()> {
    thread::scope(|scope| {
        let mut bound = Vec::new();
        for module in modules {
            eprintln!("xtask: building the module {module:?}, which takes a minute or more");
            let built = compile(*module)?;
            // A thread gives its error's words alone.
            let bind = move || bind(&built, &module.folder(), false).map_err(|e| e.to_string());
            bound.push(scope.spawn(bind));
        }
        for bound in bound {
            bound.join().map_err(|_| "wasm-bindgen broke")??;
        }
        Ok(())
    })
}

/// Builds a module once more, with the names of its functions. Gives its path.
///
/// # Errors
/// As for [`build`].
pub fn named(which: Module) -> Result<PathBuf> {
    let out = root().join(if which == Module::Chat {
        "target/wasm-chat-names"
    } else {
        "target/wasm-names"
    });
    bind(&compile(which)?, &out, true)
}

/// What cargo builds.
fn compile(which: Module) -> Result<Vec<u8>> {
    setup::npm_package()?;
    let target = cross::wasm(which == Module::Cli, |cargo| {
        cargo.args(["build", "--profile", "wasm-release", "-p", "kez-wasm"]);
        let features = match which {
            Module::Library => "sign",
            Module::Verify => "verify",
            Module::Cli => "cli",
            Module::Import => "import",
            Module::Chat => "chat",
            Module::Bench => "bench",
        };
        cargo.args(["--no-default-features", "--features", features]);
        if !matches!(which, Module::Library | Module::Cli) {
            // A page that waits for the module checks a few claims.
            for part in SMALL {
                let small = format!("profile.wasm-release.package.{part}.opt-level=\"s\"");
                cargo.args(["--config", &small]);
            }
        }
    })?;
    Ok(fs::read(target.join(WASM).join("wasm-release/kez_wasm.wasm"))?)
}

/// Makes the glue and the optimised module of what cargo built, unless that is done already.
fn bind(built: &[u8], out: &Path, names: bool) -> Result<PathBuf> {
    let bound = out.join("kez_wasm_bg.wasm");
    let stamp = out.join(".bound");
    if fs::read(&stamp).is_ok_and(|old| old == built) {
        return Ok(bound);
    }
    let _ = fs::remove_file(&stamp);
    wasm_bindgen_cli_support::Bindgen::new()
        .input_bytes("kez_wasm", built.to_vec())
        .web(true)?
        .omit_default_module_path(true)
        .typescript(true)
        .reset_state_function(true)
        .remove_name_section(!names)
        .remove_producers_section(true)
        .generate(out)?;
    let mut opt = Command::new(node());
    opt.arg(root().join("npm/node_modules/binaryen/bin/wasm-opt"));
    // The first round leaves what only a look at the whole module finds.
    opt.args(["-Oz", "--gufa-optimizing", "-Oz", "--converge"]);
    // The stack comes first in memory, and nothing lies in its last kilobyte.
    opt.arg("--low-memory-unused");
    opt.args(FEATURES.map(|feature| format!("--enable-{feature}")));
    opt.args(names.then_some("-g"));
    quietly(opt.arg(&bound).arg("-o").arg(&bound))?;
    if !names {
        shorten(&bound, &out.join("kez_wasm.js"))?;
    }
    fs::write(stamp, built)?;
    Ok(bound)
}

/// Gives what module and glue call each other by names of one or two letters: pages load both.
fn shorten(module: &Path, glue: &Path) -> Result<()> {
    let mut opt = Command::new(node());
    opt.arg(root().join("npm/node_modules/binaryen/bin/wasm-opt"));
    opt.args(FEATURES.map(|feature| format!("--enable-{feature}")));
    opt.arg("--minify-imports-and-exports-and-modules");
    let told: Value = serde_json::from_str(&quietly(opt.arg(module).arg("-o").arg(module))?)?;
    let pairs = |side: &str| -> Vec<(String, String)> {
        let pair = |entry: &Value| {
            let [.., old, new] = &entry.as_array()?[..] else { return None };
            Some((old.as_str()?.to_owned(), new.as_str()?.to_owned()))
        };
        told[side].as_array().into_iter().flatten().filter_map(pair).collect()
    };
    let mut text = fs::read_to_string(glue)?.replace("\"./kez_wasm_bg.js\"", "\"a\"");
    for (old, new) in pairs("imports") {
        text = text.replace(&format!(" {old}: function"), &format!(" {new}: function"));
    }
    let exports: HashMap<_, _> = pairs("exports").into_iter().collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut short, mut rest) = (String::with_capacity(text.len()), &text[..]);
    while let Some(at) = rest.find("wasm.") {
        let (before, after) = rest.split_at(at + "wasm.".len());
        short.push_str(before);
        rest = after;
        // Of the module, not of a file's name.
        if !before[..at].ends_with(word) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let old = &rest[..end];
            short.push_str(exports.get(old).ok_or_else(|| format!("there is no export {old}"))?);
            rest = &rest[end..];
        }
    }
    short.push_str(rest);
    Ok(fs::write(glue, short)?)
}
