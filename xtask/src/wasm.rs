//! The WebAssembly build: cargo, then wasm-bindgen's library, then wasm-opt, into `target/wasm`.

use crate::{
    Result,
    cross::{self, WASM},
    setup::{self, node, quietly, root},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
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

/// Builds a module and its bindings. Gives their folder, with `kez_wasm.js` and
/// `kez_wasm_bg.wasm` in it.
///
/// # Errors
/// What the compiler, wasm-bindgen or wasm-opt says.
pub fn build(which: Module) -> Result<PathBuf> {
    let out = root().join(match which {
        Module::Library => "target/wasm",
        Module::Verify => "target/wasm-verify",
        Module::Cli => "target/wasm-cli",
        Module::Import => "target/wasm-import",
        Module::Chat => "target/wasm-chat",
        Module::Bench => "target/wasm-bench",
    });
    bind(&compile(which)?, &out, false)?;
    Ok(out)
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

fn compile(which: Module) -> Result<PathBuf> {
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
    Ok(target.join(WASM).join("wasm-release/kez_wasm.wasm"))
}

/// Makes the glue and the optimised module of what cargo built, unless that is done already.
fn bind(module: &Path, out: &Path, names: bool) -> Result<PathBuf> {
    let name = module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bound = out.join(format!("{name}_bg.wasm"));
    let built = fs::read(module)?;
    let stamp = out.join(".built");
    if fs::read(&stamp).is_ok_and(|old| old == built) {
        return Ok(bound);
    }
    let _ = fs::remove_file(&stamp);
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(module)
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
    fs::write(stamp, built)?;
    Ok(bound)
}
