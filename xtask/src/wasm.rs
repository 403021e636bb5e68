//! The WebAssembly build: cargo, then wasm-bindgen's library, then wasm-opt, into `target/wasm`.
//! Chat is split off the library's module after all that, so that both were made small as one.

use crate::{
    Result,
    cross::{self, WASM},
    order::by_likeness,
    setup::{self, node, quietly, root},
    split::{LINK, split},
};
use kez_core::ObjectId;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
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

/// What makes a module small as it travels. wasm-opt counts bytes as they are: what it inlines where it
/// is called once, and what it keeps in locals, compression has more work with.
const SMALLER: [&str; 4] = [
    "-Oz",
    "--always-inline-max-function-size=4",
    "--one-caller-inline-max-function-size=16",
    "--skip-pass=local-cse",
];

/// The modules: the library, whole and without what signs; what is apart from it; and the command for
/// Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// The whole library, with chat as a part that is loaded later.
    Library,
    /// What pages verify with.
    Verify,
    /// What `npx kez` runs.
    Cli,
    /// What reads other proofs than ours.
    Import,
    /// Chat alone, and what measures it.
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
        for (n, module) in modules.iter().enumerate() {
            eprintln!(
                "xtask: building the module {module:?}, {} of {}; a few minutes each",
                n + 1,
                modules.len()
            );
            let built = compile(*module)?;
            // A thread gives its error's words alone.
            let bind =
                move || bind(*module, &built, &module.folder(), false).map_err(|e| e.to_string());
            bound.push(scope.spawn(bind));
        }
        for bound in bound {
            bound.join().map_err(|_| "wasm-bindgen broke")??;
        }
        Ok(())
    })
}

/// Builds a module once more, with the names of its functions. Gives its folder.
///
/// # Errors
/// As for [`build`].
pub fn named(which: Module) -> Result<PathBuf> {
    let out = root().join(if which == Module::Library {
        "target/wasm-library-names"
    } else {
        "target/wasm-names"
    });
    bind(which, &compile(which)?, &out, true)?;
    Ok(out)
}

/// What cargo builds.
fn compile(which: Module) -> Result<Vec<u8>> {
    setup::npm_package()?;
    let target = cross::wasm(which == Module::Cli, |cargo| {
        cargo.args(["build", "--profile", "wasm-release", "-p", "kez-wasm"]);
        let features = match which {
            Module::Library => "chat,sign",
            Module::Verify => "verify",
            Module::Cli => "cli",
            Module::Import => "import",
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
fn bind(which: Module, built: &[u8], out: &Path, names: bool) -> Result<()> {
    let how: [&[u8]; 3] =
        [include_bytes!("wasm.rs"), include_bytes!("split.rs"), include_bytes!("order.rs")];
    let how = [built, &how.concat()].concat();
    let made = ObjectId::digest("made", &how).to_string();
    let stamp = out.join(".made");
    if fs::read_to_string(&stamp).is_ok_and(|old| old == made) {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    // A module is split by the names of its functions.
    let in_two = which == Module::Library;
    wasm_bindgen_cli_support::Bindgen::new()
        .input_bytes("kez_wasm", built.to_vec())
        .web(true)?
        .omit_default_module_path(true)
        .typescript(true)
        .reset_state_function(true)
        .remove_name_section(!names && !in_two)
        .remove_producers_section(true)
        .generate(out)?;
    let (bound, keep_names) = (out.join(FIRST), names || in_two);
    // The first round leaves what only a look at the whole module finds.
    let again = ["--gufa-optimizing", "-Oz", "--converge"];
    optimise(&bound, keep_names, &[&SMALLER[..], &again].concat())?;
    let glue = out.join("kez_wasm.js");
    let mut text = fs::read_to_string(&glue)?;
    let mut chat = HashSet::new();
    if !names {
        let exports = shorten(&bound, keep_names, &mut text)?;
        chat.extend(exports.into_iter().filter(|(name, _)| is_of_chat(name)).map(|(_, now)| now));
    }
    if in_two {
        let goes = |export: &str| if names { is_of_chat(export) } else { chat.contains(export) };
        take_apart(out, goes, names)?;
        text.push_str(&EXTEND.replace("LINK", LINK));
    }
    // What is weighed by its names does not travel.
    if !names {
        reorder(&bound)?;
        if in_two {
            reorder(&out.join(PART))?;
        }
    }
    fs::write(&glue, text)?;
    fs::write(stamp, made)?;
    Ok(())
}

fn reorder(module: &Path) -> Result<()> {
    Ok(fs::write(module, by_likeness(&fs::read(module)?)?)?)
}

/// Splits chat off a bound module, in its folder.
fn take_apart(out: &Path, goes: impl Fn(&str) -> bool, names: bool) -> Result<()> {
    let split = split(&fs::read(out.join(FIRST))?, goes, is_only_of_chat, names)?;
    for (file, module) in [(FIRST, split.first), (PART, split.part)] {
        let file = out.join(file);
        fs::write(&file, module)?;
        optimise(&file, names, &SMALLER)?;
    }
    let types = out.join("kez_wasm.d.ts");
    fs::write(&types, fs::read_to_string(&types)? + EXTEND_TYPES)?;
    Ok(())
}

/// A bound module, in its folder.
pub const FIRST: &str = "kez_wasm_bg.wasm";
/// What is split off it.
pub const PART: &str = "kez_wasm_part.wasm";

/// Whether an export is of a class of kez-wasm's `chat.rs`.
fn is_of_chat(export: &str) -> bool {
    let export = export.strip_prefix("__wbg_").unwrap_or(export);
    ["chat_", "events_"].iter().any(|class| export.starts_with(class))
}

/// Whether a function that is called through the table runs for chat alone: what polls and drops the
/// tasks of its class. They hold a client, so no other task's code can be the same.
fn is_only_of_chat(function: &str) -> bool {
    function.contains("<kez_wasm[") && function.contains("]::chat::Chat>::")
}

/// Loads a part into the module's instance, from then on.
const EXTEND: &str = "
export async function extend(source) {
    const own = wasm;
    const from = source instanceof URL || typeof source === 'string' || source instanceof Request ? fetch(source) : source;
    const { instance } = await __wbg_load(await from, { ...__wbg_get_imports(), LINK: own });
    if (own !== wasm) throw new Error('the instance is gone');
    wasm = { __proto__: null, ...own, ...instance.exports };
}
";
const EXTEND_TYPES: &str = "
export function extend(source: InitInput): Promise<void>;
";

/// Runs wasm-opt on a module, in its place. Gives what it prints.
fn optimise(module: &Path, keep_names: bool, options: &[&str]) -> Result<String> {
    let mut opt = Command::new(node());
    opt.arg(root().join("npm/node_modules/binaryen/bin/wasm-opt")).args(options);
    opt.args(keep_names.then_some("-g"));
    opt.args(FEATURES.map(|feature| format!("--enable-{feature}")));
    // The stack comes first in memory, and nothing lies in its last kilobyte.
    opt.arg("--low-memory-unused");
    quietly(opt.arg(module).arg("-o").arg(module))
}

/// Gives what module and glue call each other by names of one or two letters: pages load both.
/// Gives each export's name before and now.
fn shorten(module: &Path, keep_names: bool, glue: &mut String) -> Result<HashMap<String, String>> {
    let options = ["--minify-imports-and-exports-and-modules"];
    let told: Value = serde_json::from_str(&optimise(module, keep_names, &options)?)?;
    let pairs = |side: &str| -> Vec<(String, String)> {
        let pair = |entry: &Value| {
            let [.., old, new] = &entry.as_array()?[..] else { return None };
            Some((old.as_str()?.to_owned(), new.as_str()?.to_owned()))
        };
        told[side].as_array().into_iter().flatten().filter_map(pair).collect()
    };
    *glue = glue.replace("\"./kez_wasm_bg.js\"", "\"a\"");
    for (old, new) in pairs("imports") {
        *glue = glue.replace(&format!(" {old}: function"), &format!(" {new}: function"));
    }
    let exports: HashMap<_, _> = pairs("exports").into_iter().collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut short, mut rest) = (String::with_capacity(glue.len()), &glue[..]);
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
    *glue = short;
    Ok(exports)
}
