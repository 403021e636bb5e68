//! Building for targets that this machine's toolchain may not have: `rustup target add` where it
//! works, else Debian's own toolchain, which builds the standard library from source.

use crate::{
    Result,
    setup::{debian, quietly, root},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A microcontroller without an operating system: what `no_std` has to build for.
pub const BARE_METAL: &str = "thumbv7em-none-eabi";
/// The browser.
pub const WASM: &str = "wasm32-unknown-unknown";

/// Builds kez-core alone, without default features, for bare metal and for wasm32.
///
/// # Errors
/// What the compiler says.
pub fn core() -> Result<()> {
    let targets = [BARE_METAL, WASM];
    let build = ["build", "--release", "--package", "kez-core", "--no-default-features"];
    if targets.iter().all(|target| has(target)) {
        for target in targets {
            let mut cargo = Command::new(env!("CARGO"));
            quietly(cargo.current_dir(root()).args(build).args(["--target", target]))?;
        }
        return Ok(());
    }
    debian_toolchain()?;
    let mut cargo = Command::new("/usr/bin/cargo");
    let path = std::env::var("PATH").unwrap_or_default();
    cargo
        .current_dir(root())
        .args(build)
        .args(["-Z", "build-std=core,alloc", "--target-dir", "target/debian"])
        .args(["--target", BARE_METAL, "--target", WASM])
        .env("PATH", format!("/usr/bin:{path}"))
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    quietly(&mut cargo).map(drop)
}

/// Whether the toolchain has a target, after an attempt to add it.
fn has(target: &str) -> bool {
    let sysroot = quietly(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let installed = || Path::new(sysroot.trim()).join("lib/rustlib").join(target).is_dir();
    installed() || (add(target) && installed())
}

/// `rustup target add`, for two minutes at most; where it once failed it is not tried again.
fn add(target: &str) -> bool {
    let stamp = root().join("target/no-rustup-targets");
    if stamp.exists() {
        return false;
    }
    let child = Command::new("rustup")
        .args(["target", "add", target])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let done = child.is_ok_and(|mut child| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(120) {
            match child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => sleep(Duration::from_millis(200)),
                Err(_) => return false,
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    });
    if !done {
        eprintln!("xtask: rustup cannot add {target}; Debian's toolchain is used instead");
        let _ = fs::write(stamp, "");
    }
    done
}

fn debian_toolchain() -> Result<()> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/core").is_dir()
        || fs::read_dir("/usr/src").is_ok_and(|all| {
            all.flatten().any(|e| e.file_name().to_string_lossy().starts_with("rustc"))
        });
    let programs: &[&str] =
        if source && Path::new("/usr/bin/rustc").exists() { &[] } else { &["no-such-program"] };
    debian(programs, &["rustc-web", "cargo-web", "rust-web-src"])
}
