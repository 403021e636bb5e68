//! `cargo xtask <command>`: everything that is done to this repository.

use std::process::ExitCode;
use xtask::{Result, check, generate};

const USAGE: &str = "usage: cargo xtask <command>
  gen [--check]   write the generated files (or say which are stale)
  check           boundaries, file sizes, coverage of rules and codes";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result: Result<()> = match words[..] {
        ["gen"] => generate::run(false),
        ["gen", "--check"] => generate::run(true),
        ["check"] => check::run(),
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
