//! The web app: built, served by the chat server beside real servers, and driven in browsers.

use crate::{
    Result, api, demo, npm,
    setup::{self, node, quietly, root},
    testnet::{Testnet, free_port},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn folder() -> PathBuf {
    root().join("web")
}

/// Runs a script of the folder.
fn script(path: &str, args: &[&str]) -> Result<String> {
    quietly(Command::new(node()).arg(folder().join(path)).args(args).current_dir(folder()))
}
const VITE: &str = "node_modules/vite/bin/vite.js";
const SVELTE_CHECK: &str = "node_modules/svelte-check/bin/svelte-check";

/// Builds the app from the npm package that is there, and checks its types. Gives the folder of its files.
///
/// # Errors
/// What the compilers say.
pub fn build() -> Result<PathBuf> {
    npm::built_for_web()?;
    setup::web()?;
    script(VITE, &["build", "--logLevel", "warn"])?;
    script(SVELTE_CHECK, &["--fail-on-warnings", "--tsconfig", "./tsconfig.json"])?;
    Ok(folder().join("build"))
}

/// How large the packed extension may be, in bytes.
const EXTENSION: u64 = 400 * 1024;

/// Builds the browser extension, after the app, and checks its types; packs it as for the stores,
/// and has `web-ext` look it over. Gives its folder.
///
/// # Errors
/// What the compilers say; two builds that differ; what the stores would refuse.
pub fn extension() -> Result<PathBuf> {
    // It verifies by `kez/verify`, which the app does not need.
    npm::built()?;
    let checking = ["--fail-on-warnings", "--tsconfig", "./extension/tsconfig.json"];
    script(SVELTE_CHECK, &checking)?;
    let out = root().join("target/web");
    fs::create_dir_all(&out)?;
    let packed = |built: &Path, name: &str| -> Result<PathBuf> {
        let built = built.display().to_string();
        for mode in ["production", "content"] {
            let config = ["build", "--config", "extension/vite.config.ts", "--logLevel", "warn"];
            script(VITE, &[&config[..], &["--mode", mode, "--outDir", &built]].concat())?;
        }
        let zip = out.join(name);
        script("extension/pack.mjs", &[&built, &zip.display().to_string()])?;
        Ok(zip)
    };
    let dist = folder().join("extension/dist");
    let zip = packed(&dist, "kez-extension.zip")?;
    if fs::read(&zip)? != fs::read(packed(&out.join("extension-again"), "again.zip")?)? {
        return Err("two builds of the extension differ".into());
    }
    let size = fs::metadata(&zip)?.len();
    eprintln!("xtask: {}: {size} bytes, {EXTENSION} allowed", zip.display());
    if size > EXTENSION {
        return Err("the extension is too large".into());
    }
    let source = dist.display().to_string();
    let lint = ["lint", "--output", "json", "--source-dir", &source];
    let found: Value =
        serde_json::from_str(&script("node_modules/web-ext/bin/web-ext.js", &lint)?)?;
    // One manifest for both browsers: Firefox says that it ignores Chromium's way to name the worker.
    let known = |one: &Value| one["code"] == "BACKGROUND_SERVICE_WORKER_IGNORED";
    let lists = ["errors", "warnings", "notices"].map(|kind| found[kind].as_array().cloned());
    let told: Vec<Value> =
        lists.into_iter().flatten().flatten().filter(|one| !known(one)).collect();
    if !told.is_empty() {
        return Err(format!("web-ext lint: {told:#?}").into());
    }
    Ok(dist)
}

/// Copies the built app or the extension for servers on this machine: its policy lets it ask them
/// without TLS, and its `config.json` says where they are.
///
/// # Errors
/// If it cannot be copied.
pub fn for_loopback(from: &Path, to: &Path, config: &Value) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    npm::copy_folder(from, to)?;
    let local = "http://localhost:* http://127.0.0.1:* ws://127.0.0.1:*";
    let mut policies = 0;
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        // What was packed before is the public form of it.
        if path.extension().is_some_and(|e| e == "br" || e == "gz") {
            fs::remove_file(path)?;
        } else if path.extension().is_some_and(|e| e == "html" || e == "json") {
            let page = fs::read_to_string(&path)?;
            let from = "connect-src 'self' https: wss:";
            policies += page.matches(from).count();
            fs::write(&path, page.replace(from, &format!("{from} {local}")))?;
        }
    }
    if policies == 0 {
        return Err(format!("{} has no such policy", from.display()).into());
    }
    fs::write(to.join("config.json"), config.to_string())?;
    Ok(())
}

/// The extension as people have it, as those have it who let it ask everybody at once, and in
/// Arabic, since Debian's Chromium speaks English alone; each for servers on this machine, and as if
/// the user had allowed one more site.
fn copies(extension: &Path, dir: &Path, mut config: Value) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for (name, ask) in [("platform", "platform"), ("all", "all"), ("arabic", "all")] {
        let copy = dir.join(format!("extension-{name}"));
        config["ask"] = json!(ask);
        for_loopback(extension, &copy, &config)?;
        let manifest = fs::read_to_string(copy.join("manifest.json"))?;
        let (named, added) = ("\"https://github.com/*\",", "\"https://example.com/*\",");
        let first = manifest.find(named).ok_or("the manifest names no site")?;
        let (before, after) = manifest.split_at(first);
        fs::write(copy.join("manifest.json"), format!("{before}{added}{after}"))?;
        if name == "arabic" {
            let texts = |language: &str| copy.join(format!("_locales/{language}/messages.json"));
            fs::copy(texts("ar"), texts("en"))?;
        }
        made.push(copy);
    }
    Ok(made)
}

/// Builds the app and lives a whole life in it, in real browsers, with real servers; or runs only
/// those of its tests that are named.
///
/// # Errors
/// What fails.
pub fn test(only: &[&str]) -> Result<()> {
    setup::browsers()?;
    let (pages, extension) = (build()?, extension()?);
    for pure in ["profiles", "verdict", "words"] {
        script(&format!("tests/{pure}.test.mjs"), &[])?;
    }
    for name in ["app", "looks", "owners", "firefox", "extension", "extension-firefox"] {
        if only.is_empty() || only.contains(&name) {
            live(name, &pages, &extension)?;
        }
    }
    Ok(())
}

/// Runs one test file beside servers of its own: proofs that another file left would make accounts
/// contested.
fn live(name: &str, pages: &Path, extension: &Path) -> Result<()> {
    let relay = demo::build()?.join("examples/relay");
    let dir = root().join("target/web");
    let net = Testnet::start(&dir.join("net"), &relay)?;
    let (_sig, sig) = api::serve("sig", &dir.join("sig"))?;
    let app = dir.join("app");
    let mut config = json!({
        "sigServers": ["https://sig.example"],
        "verify": { "dangerAllowLoopback": true },
    });
    for_loopback(pages, &app, &config)?;
    let (_chat, chat) = api::serve_app(&dir.join("chat"), &app, free_port()?)?;
    let mut routes = net.routes();
    routes.push(("sig.example".to_owned(), sig));
    config["app"] = json!(chat);
    let extensions = copies(extension, &dir, config)?;
    let (certificate, key) = npm::certificate()?;
    let setting = json!({
        "app": chat, "folder": app, "extensions": extensions, "routes": routes, "certificate": certificate, "key": key,
        "pictures": dir.join("pictures"),
    });
    fs::create_dir_all(dir.join("pictures"))?;
    play(&net, &format!("tests/{name}.test.mjs"), &setting.to_string())
}

/// Runs a script, and does for it what it wishes for.
fn play(net: &Testnet, script: &str, setting: &str) -> Result<()> {
    let mut node = Command::new(node());
    node.arg(script).current_dir(folder()).env("KEZ_WEB", setting);
    let mut running = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut answers = running.stdin.take().ok_or("no stdin")?;
    let said = BufReader::new(running.stdout.take().ok_or("no stdout")?);
    for line in said.lines() {
        let line = line?;
        // Wishes stand between the lines of the test runner.
        let Some(wish) = line.strip_prefix("wish ") else {
            eprintln!("{line}");
            continue;
        };
        let granted = serde_json::from_str(wish).map_err(Into::into).and_then(|w| grant(net, &w));
        let answer = granted.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(answers, "{answer}")?;
    }
    if running.wait()?.success() { Ok(()) } else { Err(format!("{script} failed").into()) }
}

/// Does to the world outside what a person would do on the platforms' own pages.
fn grant(net: &Testnet, wish: &Value) -> Result<Value> {
    let text = |name: &str| wish[name].as_str().ok_or(format!("{wish} has no {name}"));
    match text("op")? {
        "gist" => net.gist(&wish["message"]),
        "txt" => {
            // A string of DNS has at most 255 bytes.
            let strings = text("value")?.as_bytes().chunks(255).map(String::from_utf8_lossy);
            let strings: Vec<String> = strings.map(|s| format!("\"{s}\"")).collect();
            net.set_txt(text("zone")?, text("name")?, &[&strings.join(" ")]).map(|()| Value::Null)
        }
        "bluesky" => net.set_bluesky_profile(text("handle")?, text("value")?).map(|()| Value::Null),
        "field" => net.set_field(text("value")?).map(|()| Value::Null),
        "password" => Ok(json!(net.app_password(text("handle")?, text("name")?)?)),
        // What somebody does who allows it on the server's own page, and copies the code.
        "leave" => {
            let query = text("url")?.split(['?', '&']);
            let client = query.filter_map(|pair| pair.strip_prefix("client_id=")).next();
            Ok(json!(net.allow(client.ok_or("no client_id")?)?))
        }
        other => Err(format!("nobody can {other}").into()),
    }
}
