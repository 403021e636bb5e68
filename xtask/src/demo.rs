//! `cargo xtask run`: the main job on this machine alone. Real servers on loopback, an identity
//! with claims on them, verified by the real `kez`; one claim revoked, and verified again.

use crate::{
    Result, api,
    setup::{self, quietly, root},
    testnet::{SOCIAL, Testnet},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

struct Demo {
    kez: PathBuf,
    home: PathBuf,
}

impl Demo {
    /// Runs `kez` and shows it as a user would see it.
    fn show(&self, args: &[&str]) -> Result<String> {
        println!("$ kez {}", args.join(" "));
        let output = Command::new(&self.kez).args(args).env("KEZ_HOME", &self.home).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{}", text.trim_end());
        let code = output.status.code().unwrap_or(-1);
        println!("[exit code {code}]\n");
        if matches!(code, 0 | 3) {
            return Ok(text);
        }
        Err(format!("kez failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Runs `kez` without showing it.
    fn quiet(&self, args: &[&str]) -> Result<String> {
        let mut kez = Command::new(&self.kez);
        Ok(quietly(kez.args(args).env("KEZ_HOME", &self.home))?.trim_end().to_owned())
    }
}

/// Builds `kez` and the relay. Gives their paths.
///
/// # Errors
/// What the compiler says.
pub fn build() -> Result<(PathBuf, PathBuf)> {
    eprintln!("xtask: building kez");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args([
        "build",
        "-p",
        "kez-native",
        "--bin",
        "kez",
        "--example",
        "relay",
    ]);
    quietly(&mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    Ok((target.join("debug/kez"), target.join("debug/examples/relay")))
}

/// Runs the whole.
///
/// # Errors
/// The first step that fails.
pub fn run() -> Result<()> {
    setup::all()?;
    let (kez, relay) = build()?;
    let dir = root().join("target/run");
    eprintln!(
        "xtask: starting a name server, a relay, a PDS, a fediverse server, a sigchain server and a gist emulator"
    );
    let net = Testnet::start(&dir.join("net"), &relay)?;
    let demo = Demo { kez, home: dir.join("home") };
    let _ = fs::remove_dir_all(&demo.home);
    fs::create_dir_all(&demo.home)?;
    let (_server, server) = api::serve("sig", &dir.join("sig"))?;
    // Settings of tests come in tables, and a table would swallow what follows it.
    let config = format!("sig_servers = [\"{server}\"]\n{}", net.config());
    fs::write(demo.home.join("config.toml"), config)?;
    identity(&demo, &net, &server, &dir)
}

fn identity(demo: &Demo, net: &Testnet, server: &str, dir: &Path) -> Result<()> {
    println!("An identity, with claims that are published on real servers:\n");
    demo.show(&["key", "new", "--name", "me", "--type", "nostr", "--no-passphrase"])?;
    net.gist(&json!({ "op": "user", "login": "jason", "id": 12_345 }))?;
    let social = format!("ap:jason@{SOCIAL}");
    let claim = |subject: &str, format: &str| {
        println!("$ kez claim create {subject} --format {format}");
        demo.quiet(&["claim", "create", subject, "--format", format])
    };
    net.load_zone_line("example.com", &claim("dns:example.com", "dns")?)?;
    let files = json!({ "kez.md": claim("github:jason", "markdown")? });
    net.gist(&json!({ "op": "gist", "login": "jason", "files": files }))?;
    net.set_bluesky("alice.test", Some(&claim("bluesky:alice.test", "compact")?))?;
    demo.quiet(&["claim", "create", &social])?;
    net.set_field(&claim(&social, "pointer")?)?;
    for subject in ["dns:example.com", "github:jason", "bluesky:alice.test", &social] {
        demo.quiet(&["sigchain", "add", subject])?;
    }
    println!();
    demo.show(&["sigchain", "publish", "--relay", net.relay()])?;
    demo.show(&["sigchain", "publish", "--server", server])?;

    println!("Anybody verifies it, from any end:\n");
    demo.show(&["verify", "id", "dns:example.com"])?;
    demo.show(&["id", "@alice.test"])?;
    demo.show(&["graph", "@alice.test", "--format", "mermaid"])?;

    println!("One claim is revoked, and verified again:\n");
    demo.show(&["sigchain", "revoke", "github:jason", "--reason", "retired"])?;
    demo.show(&["sigchain", "publish", "--relay", net.relay()])?;
    demo.show(&["sigchain", "publish", "--server", server])?;
    demo.show(&["verify", "id", "github:jason"])?;
    demo.show(&["id", "@alice.test"])?;
    demo.show(&["graph", "@alice.test", "--format", "mermaid"])?;
    let drawing = dir.join("identity.svg");
    demo.quiet(&[
        "graph",
        "@alice.test",
        "--format",
        "svg",
        "--out",
        &drawing.display().to_string(),
    ])?;
    println!("The same as a picture: {}", drawing.display());
    Ok(())
}
