//! The WebAssembly build: cargo, then wasm-bindgen's library, into `target/wasm`.

use crate::{
    Result,
    cross::{self, WASM},
    setup::{node, quietly, root},
};
use std::{path::PathBuf, process::Command};

/// Builds the module and its bindings. Gives their folder.
///
/// # Errors
/// What the compiler or wasm-bindgen says.
pub fn build() -> Result<PathBuf> {
    let target = cross::cargo_for(WASM, "panic_abort,std", |cargo| {
        cargo.args(["build", "--profile", "wasm-release", "-p", "kez-wasm"]);
    })?;
    let module = target.join(WASM).join("wasm-release/kez_wasm.wasm");
    let out = root().join("target/wasm");
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(module)
        .web(true)?
        .omit_default_module_path(true)
        .typescript(true)
        .generate(&out)?;
    Ok(out)
}

/// Runs the test vectors through it, under Node.
///
/// # Errors
/// Where it answers otherwise than the native build.
pub fn test() -> Result<()> {
    let out = build()?;
    let script = root().join("kez-wasm/tests/vectors.mjs");
    let mut run = Command::new(node());
    let text = quietly(run.arg(script).arg(&out).arg(root().join("kez-core/vectors")))?;
    print!("{text}");
    let size = std::fs::metadata(out.join("kez_wasm_bg.wasm"))?.len();
    eprintln!("xtask: the module has {size} bytes before wasm-opt");
    Ok(())
}
