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

/// Runs a program of the app's packages.
fn tool(path: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(node());
    command.arg(folder().join("node_modules").join(path)).args(args).current_dir(folder());
    quietly(&mut command)
}

/// Builds the app from the npm package that is there, and checks its types. Gives the folder of its files.
///
/// # Errors
/// What the compilers say.
pub fn build() -> Result<PathBuf> {
    npm::built()?;
    setup::web()?;
    tool("vite/bin/vite.js", &["build", "--logLevel", "warn"])?;
    tool(
        "svelte-check/bin/svelte-check",
        &["--fail-on-warnings", "--tsconfig", "./tsconfig.json"],
    )?;
    Ok(folder().join("build"))
}

/// Copies the app for servers on this machine: its policy lets it ask them without TLS, and its
/// `config.json` says where they are.
///
/// # Errors
/// If it cannot be copied.
pub fn for_loopback(to: &Path, config: &Value) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    npm::copy_folder(&folder().join("build"), to)?;
    let local = "http://localhost:* http://127.0.0.1:* ws://127.0.0.1:*";
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        // What was packed before is the public form of it.
        if path.extension().is_some_and(|e| e == "br" || e == "gz") {
            fs::remove_file(path)?;
        } else if path.extension().is_some_and(|e| e == "html") {
            let page = fs::read_to_string(&path)?;
            let from = "connect-src 'self' https: wss:";
            if !page.contains(from) {
                return Err(format!("{} has no such policy", path.display()).into());
            }
            fs::write(&path, page.replace(from, &format!("{from} {local}")))?;
        }
    }
    fs::write(to.join("config.json"), config.to_string())?;
    Ok(())
}

/// Builds the app and lives a whole life in it, in real browsers, with real servers; or runs only
/// those of its tests that are named.
///
/// # Errors
/// What fails.
pub fn test(only: &[&str]) -> Result<()> {
    setup::browsers()?;
    build()?;
    let (_, relay) = demo::build()?;
    let dir = root().join("target/web");
    let net = Testnet::start(&dir.join("net"), &relay)?;
    let (_sig, sig) = api::serve("sig", &dir.join("sig"))?;
    let app = dir.join("app");
    let config = json!({
        "sigServers": ["https://sig.example"],
        "verify": { "dangerAllowLoopback": true },
    });
    for_loopback(&app, &config)?;
    let (_chat, chat) = api::serve_app(&dir.join("chat"), &app, free_port()?)?;
    let mut routes = net.routes();
    routes.push(("sig.example".to_owned(), sig));
    let (certificate, key) = npm::certificate()?;
    let setting = json!({
        "app": chat, "routes": routes, "certificate": certificate, "key": key,
        "pictures": dir.join("pictures"),
    });
    fs::create_dir_all(dir.join("pictures"))?;
    for name in ["app", "looks", "firefox"] {
        if only.is_empty() || only.contains(&name) {
            play(&net, &format!("tests/{name}.test.mjs"), &setting.to_string())?;
        }
    }
    Ok(())
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
        other => Err(format!("nobody can {other}").into()),
    }
}
