//! `cargo xtask <command>`: everything that is done to this repository.

use std::{
    process::{Command, ExitCode},
    time::Instant,
};
use xtask::{Result, api, both, check, cross, demo, generate, npm, setup, size, web};

const USAGE: &str = "usage: cargo xtask <command>
  run             set up, build, and show the main job on local servers
  test            set up what the tests need, and run them all (as CI does)
  setup           only set up
  gen [--check]   write the generated files (or say which are stale)
  check           boundaries, file sizes, coverage of rules and codes
  crosstest [-v]  hold the three implementations against each other
  cross           build kez-core for bare metal and wasm32
  npm             build and pack the npm package
  web [app|looks|firefox|extension|extension-firefox]
                  build the web app and the browser extension, and live a life in them in real browsers
  extension       build the browser extension, as a folder to load and as the zip for the stores
  nats            both servers' tests once more with NATS under them, one and three nodes of it, and
                  several servers while all of it is killed and cut off at random
  api             hold the servers against their OpenAPI documents
  size [chat]     how large the WebAssembly modules are, against their budgets, and what each crate costs
  bench [npm]     verification costs, beside the bare signatures (npm: beside what JavaScript has)
  bench abuse sig|chat [seconds]
                  attacks by one address, and what an honest client sees during each
  bench chat [subscribers] [idle streams]
                  from a POST to every open stream, beside nchan and NATS; what idle streams cost
  bench nats [subscribers]...
                  one to three chat servers on one NATS JetStream, beside NATS alone
  bench mls       conversations in WebAssembly, beside other MLS and Olm for JavaScript
  bench sig [events]...
                  the sigchain server under load as its store grows, beside SQLite with a transaction
                  a request, and nginx with files";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result: Result<()> = match words[..] {
        ["run"] => demo::run(),
        ["test"] => test(),
        ["setup"] => setup::all(),
        ["gen"] => generate::run(false),
        ["gen", "--check"] => generate::run(true),
        ["check"] => check::run(),
        ["crosstest", ref options @ ..] => setup::npm()
            .and_then(|()| setup::crosstest())
            .and_then(|()| npm::test())
            .and_then(|()| crosstest(options)),
        ["cross"] => cross::core(),
        ["npm"] => setup::npm()
            .and_then(|()| npm::build())
            .and_then(|()| npm::pack())
            .map(|path| println!("{}", path.display())),
        ["web", ref only @ ..] => web::test(only),
        ["extension"] => setup::npm()
            .and_then(|()| web::build())
            .and_then(|_| web::extension())
            .map(|folder| println!("load this folder, or install the zip: {}", folder.display())),
        ["nats"] => setup::nats().and_then(|_| {
            cargo(&["test", "--quiet", "--workspace", "--test", "nats", "--", "--nocapture"])?;
            several(1)?;
            several(3)
        }),
        ["api"] => api::run(),
        ["bench"] => cargo(&["bench", "-p", "kez-core"]),
        ["bench", "sig", ref numbers @ ..] => {
            setup::debian(&["nginx"], &["nginx-light"]).and_then(|()| {
                let words = ["bench", "-p", "kez-sig-server", "--bench", "load", "--"];
                cargo(&[&words[..], numbers].concat())
            })
        }
        ["bench", "abuse", which @ ("sig" | "chat"), ref seconds @ ..] => {
            let package = format!("kez-{which}-server");
            let words = ["bench", "-p", &package, "--bench", "abuse", "--"];
            cargo(&[&words[..], seconds].concat())
        }
        ["bench", "chat", ref numbers @ ..] => {
            let programs = ["nginx", "nats-server"];
            let packages = ["nginx-light", "libnginx-mod-nchan", "nats-server"];
            setup::debian(&programs, &packages).and_then(|()| {
                let words = ["bench", "-p", "kez-chat-server", "--bench", "push", "--"];
                cargo(&[&words[..], numbers].concat())
            })
        }
        ["bench", "nats", ref numbers @ ..] => setup::nats().and_then(|_| {
            let words = ["bench", "-p", "kez-chat-server", "--bench", "push", "--", "nats"];
            cargo(&[&words[..], numbers].concat())
        }),
        ["bench", "mls"] => npm::bench_mls(),
        ["bench", "npm"] => setup::npm().and_then(|()| npm::bench()),
        ["size", "chat"] => setup::npm().and_then(|()| size::chat()),
        ["size"] => setup::npm().and_then(|()| size::run()),
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

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO")).current_dir(setup::root()).args(args).status()?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", args.join(" ")).into()) }
}

/// What one implementation writes the others read, with the same ids, verdicts and bytes.
fn crosstest(options: &[&str]) -> Result<()> {
    // The other two run the vectors in the script and in the package's tests.
    cargo(&["test", "--quiet", "--workspace", "--test", "vectors"])?;
    let kez = demo::build()?.join("kez");
    let script = setup::root().join("crosstest.sh");
    let status = Command::new(script).args(options).arg(kez).arg(setup::node()).status()?;
    if status.success() { Ok(()) } else { Err("the implementations differ".into()) }
}

/// The tests of the native command, with the package's command in its place.
fn npm_command() -> Result<()> {
    let cli = npm::folder().join("dist/cli.js");
    let mut tests = Command::new(env!("CARGO"));
    // As the workspace's tests were built. Others' of the same name do not mind.
    tests.current_dir(setup::root()).args(["test", "--quiet", "--workspace"]);
    tests.args(["--test", "chat", "--test", "cli", "--test", "evil", "--test", "network"]);
    tests.args(["--test", "import", "--test", "publish"]);
    tests.env("KEZ", format!("{} {}", setup::node().display(), cli.display()));
    let status = tests.env(npm::BUILT, "1").status()?;
    if status.success() { Ok(()) } else { Err("the package's command differs".into()) }
}

/// The tests of the workspace, to the last one, so that one run names all that fail. The package is
/// there by then.
fn workspace() -> Result<()> {
    let mut tests = Command::new(env!("CARGO"));
    tests.current_dir(setup::root()).args(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    let status = tests.env(npm::BUILT, "1").status()?;
    if status.success() { Ok(()) } else { Err("cargo test --workspace failed".into()) }
}

/// What holds for one server on a file holds for one of several on NATS, of so many nodes.
fn several(nodes: usize) -> Result<()> {
    let tests = |rest: &[&str]| -> Result<()> {
        let mut tests = Command::new(env!("CARGO"));
        tests.current_dir(setup::root()).args(["test", "--quiet", "--workspace"]).args(rest);
        tests.env("KEZ_STORAGE", "nats").env("NATS_REPLICAS", nodes.to_string());
        let status = tests.env(npm::BUILT, "1").status()?;
        if status.success() { Ok(()) } else { Err("the servers differ on NATS".into()) }
    };
    let suites = ["contract", "server", "log", "push", "directory", "clients", "members"];
    tests(&suites.map(|suite| ["--test", suite]).concat())?;
    // The rest there is of files.
    let inboxes = ["killed", "what_all_devices_have", "a_used_signature"];
    tests(&[&["--test", "operation", "--"][..], &inboxes].concat())
}

/// What is done, in words, and what does it.
type Step = (&'static str, fn() -> Result<()>);

/// Steps, one after the other.
fn steps(all: &[Step]) -> Result<()> {
    for (name, step) in all {
        let start = Instant::now();
        eprintln!("xtask: {name}");
        step()?;
        eprintln!("xtask: {name}: {} s", start.elapsed().as_secs());
    }
    Ok(())
}

/// What cargo builds for the machine itself, without running it.
const NATIVE: [Step; 3] = [
    ("lints", || {
        cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
        // Without what signs, and the modules beside it.
        for feature in ["verify", "import", "chat"] {
            let words = ["clippy", "-q", "-p", "kez-wasm", "--no-default-features"];
            let rest = ["--features", feature, "--", "-D", "warnings"];
            cargo(&[&words[..], &rest].concat())?;
        }
        Ok(())
    }),
    ("documentation", || {
        let mut doc = Command::new(env!("CARGO"));
        doc.args(["doc", "--quiet", "--workspace", "--no-deps"]);
        doc.current_dir(setup::root()).env("RUSTDOCFLAGS", "-D warnings");
        setup::quietly(&mut doc).map(drop)
    }),
    ("compiling the tests", || cargo(&["test", "--quiet", "--workspace", "--no-run"])),
];

/// What is built for others, in target directories of its own.
const FOREIGN: [Step; 3] = [
    ("the modules of the npm package", npm::build),
    ("the size of what pages load", size::check),
    ("kez-core for bare metal and wasm32", cross::core),
];

/// Everything that CI runs, the quick checks first.
fn test() -> Result<()> {
    steps(&[
        ("formatting", || cargo(&["fmt", "--all", "--check"])),
        ("generated files", || generate::run(true)),
        ("boundaries and coverage", check::run),
        ("set-up", setup::all),
    ])?;
    both(|| steps(&FOREIGN), || steps(&NATIVE))?;
    steps(&[
        ("the npm package", npm::test),
        ("the npm package where users have it", npm::packaging),
        ("the web app", || web::test(&[])),
        ("three implementations", || crosstest(&[])),
        ("the servers against their descriptions", api::run),
        ("tests", workspace),
        ("servers on NATS", || several(1)),
        ("the package's command", npm_command),
    ])
}
