//! Runs tests that share the local servers of the platforms.

use super::{User, sig_server};
use libtest_mimic::{Arguments, Trial};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use xtask::testnet::Testnet;

/// A test by its name.
pub type Named = (&'static str, fn(&Testnet));

/// Runs them one by one, with servers below a folder of that name.
pub fn run(folder: &str, all: &[Named]) {
    let mut arguments = Arguments::from_args();
    // The tests share the servers and their zones.
    arguments.test_threads = Some(1);
    if arguments.list {
        libtest_mimic::run(&arguments, trials(all, None)).exit();
    }
    xtask::setup::all().expect("the servers could not be set up");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let programs = xtask::demo::build().expect("the relay does not build");
    let relay = programs.join("examples/relay");
    let net = Arc::new(Testnet::start(&dir, &relay).expect("the servers did not start"));
    let conclusion = libtest_mimic::run(&arguments, trials(all, Some(&net)));
    // `exit` runs no destructors, and the servers must end.
    drop(net);
    conclusion.exit();
}

fn trials(all: &[Named], net: Option<&Arc<Testnet>>) -> Vec<Trial> {
    let trial = |(name, test): &Named| {
        let (net, test) = (net.cloned(), *test);
        Trial::test(*name, move || {
            if let Some(net) = &net {
                test(net);
            }
            Ok(())
        })
    };
    all.iter().map(trial).collect()
}

/// A name that no other test uses.
pub fn fresh(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A user who knows only these servers.
pub fn user(net: &Testnet, name: &str) -> User {
    User::new(&fresh(name), &net.config())
}

/// A user with a key and a sigchain server of their own.
pub fn publisher(net: &Testnet, name: &str, kind: &str) -> (User, String) {
    let name = fresh(name);
    let me = User::new(&name, &net.config());
    let (server, _) = sig_server(&me.home.join("server"), None);
    let config = format!("sig_servers = [\"{server}\"]\n{}", net.config());
    fs::write(me.home.join("config.toml"), config).unwrap();
    me.key("me", kind);
    (me, server)
}

/// Does something with the native transport.
pub fn with_native<T>(
    work: impl FnOnce(&kez_native::transport::Native, &tokio::runtime::Runtime) -> T,
) -> T {
    let settings = kez_cli::Settings { danger_allow_loopback: true, ..Default::default() };
    let native = kez_native::transport::Native::new(settings);
    work(&native, &tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

/// Sends a signed nostr event to the relay.
pub fn send_event(net: &Testnet, event: &str) -> Result<(), String> {
    let events = [event.to_owned()];
    with_native(|native, runtime| {
        let sent = kez_core::publish::Web::publish_events(native, net.relay(), &events);
        runtime.block_on(sent).map_err(|f| format!("{} {:?}", f.code, f.detail))
    })
}
