//! `cargo xtask run`: the main job on this machine alone. Real servers on loopback, an identity
//! with claims on them, verified by the real `kez`; one claim revoked, and verified again.

use crate::{
    Result, api, both,
    setup::{self, quietly, root},
    testnet::{SOCIAL, Testnet, free_port},
    web,
};
use serde_json::json;
use std::{
    fs,
    io::IsTerminal as _,
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

/// Builds `kez`, the servers and the relay. Gives the folder of the programs, which has examples in
/// `examples`.
///
/// # Errors
/// What the compiler says.
pub fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    // Together, and with the features of the whole workspace, as its tests are built: otherwise
    // everything below is compiled once more.
    cargo.current_dir(root()).args(["build", "--workspace", "--example", "relay"]);
    cargo.args(["--bin", "kez", "--bin", "kez-sig-server", "--bin", "kez-chat-server"]);
    quietly(&mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    Ok(target.join("debug"))
}

/// Runs the whole.
///
/// # Errors
/// The first step that fails.
pub fn run() -> Result<()> {
    setup::servers()?;
    setup::npm_package()?;
    setup::web()?;
    eprintln!("xtask: building kez and the servers, and beside them what pages load");
    let (programs, pages) = both(build, web::build)?;
    let kez = programs.join("kez");
    let dir = root().join("target/run");
    eprintln!(
        "xtask: starting a name server, a relay, a PDS, a fediverse server, a sigchain server and a gist emulator"
    );
    let net = Testnet::start(&dir.join("net"), &programs.join("examples/relay"))?;
    let (_sig, server) = api::serve("sig", &dir.join("sig"))?;
    let person = |name: &str| -> Result<Demo> {
        let demo = Demo { kez: kez.clone(), home: dir.join(name) };
        let _ = fs::remove_dir_all(&demo.home);
        fs::create_dir_all(&demo.home)?;
        // Settings of tests come in tables, and a table would swallow what follows it.
        let config = format!("sig_servers = [\"{server}\"]\n{}", net.config());
        fs::write(demo.home.join("config.toml"), config)?;
        Ok(demo)
    };
    let (jason, mia) = (person("jason")?, person("mia")?);
    let sample = identity(&jason, &net, &server, &dir)?;
    let app = dir.join("app");
    let mut config = net.web_config();
    config["sigServers"] = json!([server]);
    config["examples"] = json!(["bluesky:alice.test", "github:jason", sample]);
    web::for_loopback(&pages, &app, &config)?;
    let (_chat, chat) = api::serve_app(&dir.join("chat"), &app, free_port()?)?;
    conversation(&jason, &mia, &server, &chat)?;
    page(&chat)
}

/// Two people who talk, through the real chat server.
fn conversation(jason: &Demo, mia: &Demo, sig: &str, chat: &str) -> Result<()> {
    println!("\nTwo people talk, end to end encrypted:\n");
    mia.quiet(&["key", "new", "--name", "me", "--no-passphrase"])?;
    for (person, handle) in [(jason, "jason"), (mia, "mia")] {
        person.show(&["chat", "register", handle, "--server", chat, "--no-passphrase"])?;
        person.quiet(&["sigchain", "publish", "--server", sig])?;
    }
    jason.show(&["chat", "send", "mia", "Hello Mia! Is that you?"])?;
    mia.show(&["chat", "listen", "--once"])?;
    mia.show(&["chat", "send", "jason", "See for yourself: kez chat verify mia"])?;
    jason.show(&["chat", "verify", "mia"])?;
    Ok(())
}

/// The page, until the user has seen enough of it.
fn page(url: &str) -> Result<()> {
    println!("The same for people, with both of them on it: {url}");
    println!("{SOCIAL} is a name on this machine only: browsers say that it cannot be checked.");
    println!(
        "Whom you find there, your browser verifies itself; and you may chat with jason and mia."
    );
    if std::io::stdin().is_terminal() {
        println!("Ctrl-C ends it.");
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// An identity with claims; gives its name.
fn identity(demo: &Demo, net: &Testnet, server: &str, dir: &Path) -> Result<String> {
    println!("An identity, with claims that are published on real servers:\n");
    let key = demo.show(&["key", "new", "--name", "me", "--type", "nostr", "--no-passphrase"])?;
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
    let name = key.split_whitespace().find(|word| word.starts_with("nostr:"));
    Ok(name.ok_or("no key was made")?.to_owned())
}
