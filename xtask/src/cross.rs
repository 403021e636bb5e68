//! Building for targets that this machine's toolchain may not have: `rustup target add` where it
//! works, else Debian's own toolchain, which builds the standard library from source.

use crate::{
    Result,
    setup::{debian, quietly, root},
};
use std::{
    fs,
    path::{Path, PathBuf},
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
    for target in [BARE_METAL, WASM] {
        let build = |cargo: &mut Command| {
            cargo.args(["build", "--release", "--package", "kez-core", "--no-default-features"]);
        };
        if has_target(target) {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.current_dir(root());
            build(&mut cargo);
            quietly(cargo.args(["--target", target]))?;
        } else {
            let (mut cargo, _) = from_source(target, "core,alloc", build)?;
            quietly(&mut cargo)?;
        }
    }
    Ok(())
}

/// Builds for wasm32 as small as it gets: the standard library is built along, for size and with
/// panics that trap at once (the npm package poisons the instance then). Without `debug`, nothing
/// that is formatted by `{:?}` may reach a user: it is left out. Gives the target directory.
///
/// # Errors
/// What the compiler says.
pub fn wasm(debug: bool, arguments: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let (mut cargo, dir) = from_source(WASM, "std,panic_abort", arguments)?;
    // WebAssembly has no wide multiplication, which k256's 64-bit arithmetic lives on: with 32-bit
    // limbs it is 2.6 times as fast.
    let mut flags = String::from("--cfg cpubits=\"32\" --cfg sha2_backend_soft=\"compact\"");
    flags += " -Zunstable-options -Cpanic=immediate-abort -Zinline-mir=no -Zlocation-detail=none";
    if !debug {
        flags += " -Zfmt-debug=none";
    }
    cargo.args(["-Z", "build-std-features=optimize_for_size"]).env("RUSTFLAGS", flags);
    quietly(&mut cargo)?;
    Ok(dir)
}

/// A cargo that builds the standard library too, from rustup's `rust-src` or by Debian's
/// toolchain, and its target directory.
fn from_source(
    target: &str,
    std: &str,
    arguments: impl FnOnce(&mut Command),
) -> Result<(Command, PathBuf)> {
    let own = has_source();
    let dir = root().join(if own { "target/std" } else { "target/debian" });
    let mut cargo = Command::new(if own { env!("CARGO") } else { "/usr/bin/cargo" });
    cargo.current_dir(root());
    arguments(&mut cargo);
    cargo.args(["-Z", &format!("build-std={std}"), "--target", target, "--target-dir"]).arg(&dir);
    // Building std is an unstable feature of cargo, of which only the flags may change.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    if !own {
        let linker = debian_toolchain()?;
        let path = std::env::var("PATH").unwrap_or_default();
        cargo
            .env("PATH", format!("/usr/bin:{path}"))
            .env("RUSTC", "/usr/bin/rustc")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO");
    }
    Ok((cargo, dir))
}

/// Whether the toolchain has a target, after an attempt to add it.
fn has_target(target: &str) -> bool {
    rustup(&["target", "add", target], &format!("lib/rustlib/{target}"))
}

/// Whether the toolchain has the source of the standard library, after an attempt to add it.
fn has_source() -> bool {
    rustup(&["component", "add", "rust-src"], "lib/rustlib/src/rust/library")
}

/// Whether the toolchain has a folder, which `rustup` with these words brings; it is given two
/// minutes, and where it once failed it is not asked again.
fn rustup(words: &[&str], folder: &str) -> bool {
    let sysroot = quietly(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let there = || Path::new(sysroot.trim()).join(folder).is_dir();
    let stamp = root().join("target/no-rustup");
    if there() || stamp.exists() {
        return there();
    }
    let child = Command::new("rustup")
        .args(words)
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
        let words = words.join(" ");
        eprintln!("xtask: `rustup {words}` fails here; Debian's toolchain is used instead");
        let _ = fs::write(stamp, "");
    }
    there()
}

/// Installs Debian's toolchain and gives the name of its wasm linker, which has to be of the same
/// LLVM as the compiler.
fn debian_toolchain() -> Result<String> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/core").is_dir()
        || fs::read_dir("/usr/src").is_ok_and(|all| {
            all.flatten().any(|e| e.file_name().to_string_lossy().starts_with("rustc"))
        });
    let there =
        source && Path::new("/usr/bin/rustc").exists() && Path::new("/usr/bin/cargo").exists();
    let programs: &[&str] = if there { &[] } else { &["no-such-program"] };
    debian(programs, &["rustc-web", "cargo-web", "rust-web-src"])?;
    let version = quietly(Command::new("/usr/bin/rustc").arg("-vV"))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|v| v.split('.').next()).ok_or("rustc names no LLVM version")?;
    let linker = format!("wasm-ld-{major}");
    debian(&[&linker], &[&format!("lld-{major}")])?;
    Ok(linker)
}
