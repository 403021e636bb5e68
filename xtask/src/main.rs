//! `cargo xtask <command>`: everything that is done to this repository.

use std::{
    process::{Command, ExitCode},
    time::Instant,
};
use xtask::{Result, check, cross, demo, generate, setup, wasm};

const USAGE: &str = "usage: cargo xtask <command>
  run             set up, build, and show the main job on local servers
  test            set up what the tests need, and run them all (as CI does)
  setup           only set up
  gen [--check]   write the generated files (or say which are stale)
  check           boundaries, file sizes, coverage of rules and codes
  crosstest       hold the two implementations of SPEC.md against each other
  cross           build kez-core for bare metal and wasm32
  wasm            build kez-wasm, and run the vectors through it under Node
  bench           verification costs, beside the bare signatures";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result: Result<()> = match words[..] {
        ["run"] => demo::run(),
        ["test"] => test(),
        ["setup"] => setup::all(),
        ["gen"] => generate::run(false),
        ["gen", "--check"] => generate::run(true),
        ["check"] => check::run(),
        ["crosstest"] => setup::npm().and_then(|()| setup::crosstest()).and_then(|()| crosstest()),
        ["cross"] => cross::core(),
        ["wasm"] => setup::npm().and_then(|()| wasm::test()),
        ["bench"] => cargo(&["bench", "-p", "kez-core"]),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO")).current_dir(setup::root()).args(args).status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", args.join(" ")).into()) }
}

/// What one implementation writes the other reads, with the same ids, verdicts and bytes.
fn crosstest() -> Result<()> {
    let (kez, _) = demo::build()?;
    let script = setup::root().join("crosstest.sh");
    let status = Command::new(script).arg(kez).arg(setup::node()).status()?;
    if status.success() { Ok(()) } else { Err("the two implementations differ".into()) }
}

/// Everything that CI runs, the quick checks first.
fn test() -> Result<()> {
    type Step = (&'static str, fn() -> Result<()>);
    let steps: [Step; 10] = [
        ("formatting", || cargo(&["fmt", "--all", "--check"])),
        ("generated files", || generate::run(true)),
        ("boundaries and coverage", check::run),
        ("set-up", setup::all),
        ("lints", || {
            cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
        }),
        ("documentation", || {
            let mut doc = Command::new(env!("CARGO"));
            doc.args(["doc", "--quiet", "--workspace", "--no-deps"]);
            doc.current_dir(setup::root()).env("RUSTDOCFLAGS", "-D warnings");
            setup::quietly(&mut doc).map(drop)
        }),
        ("kez-core for bare metal and wasm32", cross::core),
        ("the vectors in WebAssembly", wasm::test),
        ("two implementations", crosstest),
        ("tests", || cargo(&["test", "--quiet", "--workspace"])),
    ];
    for (name, step) in steps {
        let start = Instant::now();
        eprintln!("xtask: {name}");
        step()?;
        eprintln!("xtask: {name}: {} s", start.elapsed().as_secs());
    }
    Ok(())
}
