//! The npm package: the WebAssembly module and its glue, TypeScript above them, one tarball.

use crate::{
    Result, check,
    setup::{self, node, quietly, root},
    wasm::{self, Module},
};
use base64::Engine as _;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The folder of the package.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("npm")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()).into())
}

/// A module's place in the package: the folder of its glue, and its file.
type Place = (Module, &'static str, &'static str);

/// The whole package. The largest first: it takes longest to make small.
const WHOLE: [Place; 4] = [
    (Module::Cli, "cli-glue", "kez-cli.wasm"),
    (Module::Verify, "verify-glue", "kez-verify.wasm"),
    (Module::Library, "glue", "kez.wasm"),
    (Module::Import, "import-glue", "kez-import.wasm"),
];

/// Of that, what the web app has: `tsconfig.web.json` leaves out what needs the rest.
const WEB: &[Place] = WHOLE.split_at(2).1;

/// What is split off the library's module.
const CHAT: &str = "kez-chat.wasm";

/// Builds `npm/dist`.
///
/// # Errors
/// What the compilers say.
pub fn build() -> Result<()> {
    build_parts(&WHOLE)
}

fn build_parts(parts: &[Place]) -> Result<()> {
    setup::npm_package()?;
    let npm = folder();
    let dist = npm.join("dist");
    let _ = fs::remove_dir_all(&dist);
    wasm::build(&parts.iter().map(|(module, ..)| *module).collect::<Vec<_>>())?;
    for (module, glue, file) in parts {
        let built = module.folder();
        let source = npm.join("src").join(glue);
        fs::create_dir_all(&source)?;
        fs::create_dir_all(dist.join(glue))?;
        copy(&built.join("kez_wasm.d.ts"), &source.join("kez_wasm.d.ts"))?;
        copy(&built.join("kez_wasm.js"), &dist.join(glue).join("kez_wasm.js"))?;
        copy(&built.join(wasm::FIRST), &dist.join(file))?;
    }
    copy(&Module::Library.folder().join(wasm::PART), &dist.join(CHAT))?;
    let text = base64::engine::general_purpose::STANDARD.encode(fs::read(dist.join("kez.wasm"))?);
    let inline =
        format!("/** The module, in base64. */\nexport const base64: string =\n  '{text}'\n");
    fs::write(npm.join("src/wasm-inline.ts"), inline)?;
    let tsc = npm.join("node_modules/typescript/bin/tsc");
    let project = if parts.len() == WHOLE.len() { "tsconfig.json" } else { "tsconfig.web.json" };
    quietly(Command::new(node()).arg(tsc).args(["--project", project]).current_dir(&npm))?;
    for name in ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&root().join(name), &npm.join(name))?;
    }
    DONE.fetch_max(parts.len(), Ordering::Relaxed);
    fs::write(stamp(), "built")?;
    Ok(())
}

/// The variable that says so where the package was built just before: tests that need it do not
/// build it again, and not under those that run its command.
pub const BUILT: &str = "KEZ_PACKAGE_BUILT";
/// The same within this process: of how many parts.
static DONE: AtomicUsize = AtomicUsize::new(0);

/// When the package was built last: the age of a file.
fn stamp() -> PathBuf {
    root().join("target/npm-built")
}

/// Whether parts of the package are there, and nothing that it is made of is newer than they.
fn fresh(parts: &[Place]) -> Result<bool> {
    let Ok(built) = fs::metadata(stamp()).and_then(|m| m.modified()) else { return Ok(false) };
    let mut sources = vec![root().join("Cargo.lock"), folder().join("package.json")];
    for room in ["kez-core", "kez-cli", "kez-wasm", "npm"] {
        sources.extend(check::sources_in(&root().join(room).join("src"), &[".rs", ".ts"])?);
    }
    let old = |path: &PathBuf| fs::metadata(path)?.modified().map(|changed| changed <= built);
    let mut files = parts.iter().map(|(.., file)| *file).chain([CHAT]);
    let mut all = files.all(|file| folder().join("dist").join(file).is_file());
    for path in &sources {
        all = all && old(path)?;
    }
    Ok(all)
}

/// Builds the package, unless it is there and as new as what it is made of.
///
/// # Errors
/// As for [`build`].
pub fn built() -> Result<()> {
    built_parts(&WHOLE)
}

/// The same for what the web app needs of it.
///
/// # Errors
/// As for [`build`].
pub fn built_for_web() -> Result<()> {
    built_parts(WEB)
}

fn built_parts(parts: &[Place]) -> Result<()> {
    let done = DONE.load(Ordering::Relaxed) >= parts.len() || std::env::var_os(BUILT).is_some();
    if done || fresh(parts)? { Ok(()) } else { build_parts(parts) }
}

/// Packs what [`build`] made into the tarball that would be published. Gives its path.
///
/// # Errors
/// What npm says.
pub fn pack() -> Result<PathBuf> {
    let out = root().join("target/npm");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out)?;
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]).arg(&out);
    let name = quietly(npm.current_dir(folder()))?;
    Ok(out.join(name.trim()))
}

/// Builds the package, unless this process did, and runs its own tests, under Node.
///
/// # Errors
/// What fails.
pub fn test() -> Result<()> {
    if DONE.load(Ordering::Relaxed) < WHOLE.len() {
        build()?;
    }
    let mut tests: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder().join("test"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            tests.push(path);
        }
    }
    tests.sort();
    let text = quietly(Command::new(node()).arg("--test").args(tests).current_dir(folder()))?;
    report("npm", &text);
    Ok(())
}

/// Installs the packed tarball of what was built wherever users do, and runs it there.
///
/// # Errors
/// What fails.
pub fn packaging() -> Result<()> {
    setup::browsers()?;
    let tarball = pack()?;
    let mut tests = Command::new(node());
    tests.arg("--test").arg("packaging.test.mjs").env("KEZ_TARBALL", tarball);
    report("packaging", &quietly(tests.current_dir(folder().join("packaging")))?);
    Ok(())
}

/// Runs a script, `async (kez) => ({…})`, in a page in Chromium, with other servers in the place of
/// the public ones. Gives what it gives, or its `error`, and what was `asked` of whom.
///
/// # Errors
/// What fails.
pub fn in_chromium(script: &str, routes: &[(String, String)]) -> Result<serde_json::Value> {
    setup::browsers()?;
    built()?;
    let (certificate, key) = certificate()?;
    let mut page = Command::new(node());
    page.arg("page.mjs").arg(certificate).arg(key);
    page.args(routes.iter().map(|(host, base)| format!("{host}={base}")));
    let text = setup::fed(page.current_dir(folder().join("packaging")), script)?;
    Ok(serde_json::from_str(&text)?)
}

/// Is the user in Chromium who signs in at a Bluesky server with a password, and allows what a
/// program asks for, or denies it. Gives what the page says to which the browser comes back.
///
/// # Errors
/// Where the server's pages are not what they were.
pub fn allow(url: &str, password: &str, allows: bool) -> Result<String> {
    setup::browsers()?;
    let mut user = Command::new(node());
    user.arg("allow.mjs").arg(url).arg(if allows { "allow" } else { "deny" });
    setup::fed(user.current_dir(folder().join("packaging")), password)
}

/// A certificate and its key for servers of tests, which stand for hosts of any name.
///
/// # Errors
/// What openssl says.
pub fn certificate() -> Result<(PathBuf, PathBuf)> {
    let dir = root().join("target/tls");
    fs::create_dir_all(&dir)?;
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let words =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=local";
    let mut openssl = Command::new("openssl");
    openssl.args(words.split(' ')).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    quietly(&mut openssl)?;
    Ok((certificate, key))
}

/// Builds the plain chat page, with the package beside it. Gives its folder, for a chat server to
/// serve.
///
/// # Errors
/// What fails.
pub fn chat_page() -> Result<PathBuf> {
    setup::browsers()?;
    built()?;
    let app = root().join("target/chat-page");
    let _ = fs::remove_dir_all(&app);
    fs::create_dir_all(app.join("kez"))?;
    let from = folder().join("packaging/chat");
    for name in ["index.html", "page.css", "page.js"] {
        copy(&from.join(name), &app.join(name))?;
    }
    copy_folder(&folder().join("dist"), &app.join("kez"))?;
    Ok(app)
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// If it cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            copy(&entry.path(), &to)?;
        }
    }
    Ok(())
}

/// The command that opens a page in Chromium, and does there what its standard input says.
#[must_use]
pub fn driver(url: &str, profile: &Path) -> Command {
    let mut script = Command::new(node());
    script.arg("chat.mjs").arg(url).arg(profile).current_dir(folder().join("packaging"));
    script
}

/// Measures beside the peers in JavaScript.
///
/// # Errors
/// What the build or the measurement says.
pub fn bench() -> Result<()> {
    setup::browsers()?;
    build()?;
    let mut bench = Command::new(node());
    let status = bench.arg("bench.mjs").current_dir(folder().join("packaging")).status()?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

/// What conversations cost, beside other MLS and Olm for JavaScript.
///
/// # Errors
/// If something could not be measured.
pub fn bench_mls() -> Result<()> {
    setup::browsers()?;
    wasm::build(&[Module::Bench])?;
    let mut bench = Command::new(node());
    let status = bench.arg("bench-mls.mjs").current_dir(folder().join("packaging")).status()?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

fn report(name: &str, text: &str) {
    let counts = text.lines().filter(|l| l.starts_with("# pass") || l.starts_with("# fail"));
    eprintln!("xtask: {name}: {}", counts.map(|l| &l[2..]).collect::<Vec<_>>().join(", "));
}
