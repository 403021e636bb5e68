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
        cargo_for(target, "core,alloc", |cargo| {
            cargo.args(["build", "--release", "--package", "kez-core", "--no-default-features"]);
        })?;
    }
    Ok(())
}

/// Runs cargo for a target, with `std` as the parts of the standard library to build where they
/// do not come with the toolchain. Gives the target directory.
///
/// # Errors
/// What cargo says.
pub fn cargo_for(target: &str, std: &str, arguments: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let own = has(target);
    let dir = root().join(if own { "target" } else { "target/debian" });
    let mut cargo = Command::new(if own { env!("CARGO") } else { "/usr/bin/cargo" });
    cargo.current_dir(root());
    arguments(&mut cargo);
    cargo.args(["--target", target, "--target-dir"]).arg(&dir);
    if !own {
        let linker = debian_toolchain()?;
        let path = std::env::var("PATH").unwrap_or_default();
        cargo
            .args(["-Z", &format!("build-std={std}")])
            .env("PATH", format!("/usr/bin:{path}"))
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO");
    }
    quietly(&mut cargo)?;
    Ok(dir)
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
