//! What the WebAssembly module weighs: as it travels, against its budget, and by crate.

use crate::{
    Result, npm, order,
    setup::{node, quietly},
    wasm::{self, Module},
};
use rustc_demangle::demangle;
use serde_json::Value;
use std::{collections::BTreeMap, fs, ops::Range, process::Command};
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// How large modules may become that pages wait for, compressed by brotli as a CDN does.
const BUDGETS: [(&str, u64); 2] =
    [("dist/kez-verify.wasm", 200_000), ("dist/kez-chat.wasm", 180_000)];

const FILES: [&str; 8] = [
    "dist/kez-verify.wasm",
    "dist/verify-glue/kez_wasm.js",
    "dist/kez.wasm",
    "dist/glue/kez_wasm.js",
    "dist/kez-cli.wasm",
    "dist/kez-import.wasm",
    "dist/import-glue/kez_wasm.js",
    "dist/kez-chat.wasm",
];

/// What a module's functions of one crate weigh, and its constants.
struct Weights {
    crates: Vec<(String, usize)>,
    functions: Vec<(String, usize)>,
    data: usize,
}

/// Refuses a module above its budget, of what [`npm::build`] made.
///
/// # Errors
/// A sentence with both sizes.
pub fn check() -> Result<()> {
    for (size, (file, budget)) in measure(&BUDGETS.map(|(file, _)| file))?.iter().zip(BUDGETS) {
        let brotli = size["brotli"].as_u64().unwrap_or(u64::MAX);
        if brotli > budget {
            return Err(format!("{file} has {brotli} bytes in brotli, of {budget} at most").into());
        }
    }
    Ok(())
}

/// Prints how large the package's parts are, what each crate costs, and the largest functions.
///
/// # Errors
/// What the build says, or a module above its budget.
pub fn run() -> Result<()> {
    npm::build()?;
    println!("{:<30} {:>9} {:>9} {:>9}", "bytes", "raw", "gzip", "brotli");
    for file in measure(&FILES)? {
        let name = file["name"].as_str().unwrap_or_default();
        println!("{name:<30} {:>9} {:>9} {:>9}", file["raw"], file["gzip"], file["brotli"]);
    }
    weights(Module::Verify, wasm::FIRST, "kez-verify")?;
    weights(Module::Library, wasm::PART, "kez-chat")?;
    check()
}

/// Builds the library's module alone, and prints what it costs, and what chat does.
///
/// # Errors
/// What the build says.
pub fn chat() -> Result<()> {
    wasm::build(&[Module::Library])?;
    for file in [wasm::FIRST, wasm::PART] {
        let module = Module::Library.folder().join(file);
        println!("{}", measure(&[&module.to_string_lossy()])?[0]);
    }
    weights(Module::Library, wasm::PART, "kez-chat")
}

fn weights(module: Module, file: &str, name: &str) -> Result<()> {
    let weights = weigh(&fs::read(wasm::named(module)?.join(file))?)?;
    println!("\n{name}.wasm by crate, raw ({} of constants besides):", weights.data);
    let total: usize = weights.crates.iter().map(|(_, size)| size).sum();
    for (name, size) in &weights.crates {
        println!("{size:>9} {:>5.1} %  {name}", *size as f64 / total as f64 * 100.0);
    }
    println!("\nits largest functions:");
    for (name, size) in weights.functions.iter().take(40) {
        println!("{size:>9}  {name}");
    }
    Ok(())
}

/// The sizes of files of the package.
fn measure(files: &[&str]) -> Result<Vec<Value>> {
    let script = "const zlib = require('node:zlib'), { readFileSync } = require('node:fs')
console.log(JSON.stringify(process.argv.slice(1).map((name) => {
  const data = readFileSync(name), text = name.endsWith('.js')
  const mode = zlib.constants[text ? 'BROTLI_MODE_TEXT' : 'BROTLI_MODE_GENERIC']
  const brotli = zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_MODE]: mode } })
  return { name, raw: data.length, gzip: zlib.gzipSync(data, { level: 9 }).length, brotli: brotli.length }
})))";
    let mut sizes = Command::new(node());
    sizes.args(["-e", script, "--"]).args(files).current_dir(npm::folder());
    Ok(serde_json::from_str(&quietly(&mut sizes)?)?)
}

/// What the functions of a module with names weigh.
fn weigh(module: &[u8]) -> Result<Weights> {
    let (imports, bodies) = order::functions(module)?;
    let mut data = 0;
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::DataSection(section) => data = section.range().len(),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(section) = section.as_known() {
                    for part in section {
                        if let Name::Function(map) = part? {
                            for naming in map {
                                let naming = naming?;
                                names.insert(naming.index, format!("{:#}", demangle(naming.name)));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let mut crates = BTreeMap::<String, usize>::new();
    let mut functions = Vec::new();
    for (index, size) in (imports..).zip(bodies.iter().map(Range::len)) {
        let name = names.remove(&index).unwrap_or_default();
        *crates.entry(crate_of(&name)).or_default() += size;
        functions.push((name, size));
    }
    let mut crates: Vec<_> = crates.into_iter().collect();
    crates.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    functions.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    Ok(Weights { crates, functions, data })
}

/// The crate that a function's name begins with: `<&[kez_core::Key] as …>` is kez_core's. What has
/// no path is an export, and so a binding.
fn crate_of(name: &str) -> String {
    let path = name.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let path = path.strip_prefix("dyn ").or_else(|| path.strip_prefix("mut ")).unwrap_or(path);
    if !path.contains("::") {
        return "kez_wasm (exports)".to_owned();
    }
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    path[..end].to_owned()
}
