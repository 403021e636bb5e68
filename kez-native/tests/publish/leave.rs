//! Where the account's owner has something else than a token: Bluesky's OAuth, a nostr key's
//! remote signer, and the keyring of the system.

use super::{account, change};
use crate::common::{
    User, folder,
    testnet::{fresh, publisher, with_native},
};
use kez_cli::{Net as _, host::Redirect as _};
use kez_core::{
    Code, Scheme, SecretKey,
    chat::Vault,
    json::Value as Json,
    publish::{AuthorizationRequest, Client, Credential, Publisher, Web as _},
    relay::Next,
};
use kez_native::transport::Native;
use nostr_connect::prelude::{
    Event, EventBuilder, JsonUtil as _, Keys, Kind, NostrConnectKeys, NostrConnectRemoteSigner,
    NostrConnectRequest, NostrConnectSignerActions, PublicKey, Tag, ToBech32 as _, nip44,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};
use xtask::{npm::allow, testnet::Testnet};

const PASSWORD: &str = "test-password";

/// What the user does in Chromium, with the page that the command names.
fn by_browser(me: &User, account: &str, allows: bool) -> crate::common::Run {
    me.conversation(&["auth", "add", account, "--browser"], |asked| {
        let page = allow(asked["url"].as_str().unwrap(), PASSWORD, allows).unwrap();
        assert_eq!(page.trim(), "You can close this page, and go on in the terminal.");
        String::new()
    })
}

/// Looks at a grant in the store, and changes it.
fn stored(me: &User, account: &str, change: impl FnOnce(&mut Value)) {
    let key = me.ok(&["key", "export", "me"]);
    let key = SecretKey::from_text(Scheme::Ed25519, key["secret"].as_str().unwrap()).unwrap();
    let vault = Vault::of(&key, Arc::new(kez_native::fill_random));
    let name = format!("auth/{account}");
    let folder = me.home.join("auth");
    let path = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sealed = file["sealed"].as_str().unwrap();
    let digits = (0..sealed.len()).step_by(2).map(|at| &sealed[at..at + 2]);
    let sealed: Vec<u8> = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
    let text = vault.open(&name, &sealed).unwrap();
    let mut credential: Value = serde_json::from_slice(&text).unwrap();
    change(&mut credential["grant"]);
    let sealed = vault.seal(&name, credential.to_string().as_bytes()).unwrap();
    file["sealed"] = kez_core::hex::encode(&sealed).into();
    fs::write(&path, file.to_string()).unwrap();
}

pub(crate) fn bluesky_by_browser(net: &Testnet) {
    let (me, _) = publisher(net, "oauth", "ed25519");
    let subject = "bluesky:alice.test";
    net.set_bluesky("alice.test", None).unwrap();
    by_browser(&me, subject, false).fails(5, "credential_refused");
    let added = by_browser(&me, subject, true);
    assert_eq!(added.code, 0, "{}\n{}", added.stdout, added.stderr);
    let run = me.run(&["publish", "bluesky"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    // The token has ended by the next time: a new one takes its place in the store.
    let ended = json!("2026-01-01T00:00:00Z");
    stored(&me, subject, |grant| grant["expires_at"] = ended.clone());
    let again = me.run(&["publish", "bluesky"]);
    assert_eq!(change(&again), (0, json!("unchanged"), json!("valid")), "{}", again.stderr);
    stored(&me, subject, |grant| assert_ne!(grant["expires_at"], ended));
    let revoked = me.ok(&["auth", "revoke", subject]);
    assert_eq!(revoked["platform_told"], true);
    me.run(&["auth", "add", "github:somebody", "--browser"]).fails(2, "usage");
    me.run(&["auth", "add", "bluesky:nobody.test", "--browser"]).fails(1, "identity_not_found");
    net.set_bluesky("alice.test", None).unwrap();
}

/// A token that has ended is renewed, once.
pub(crate) fn bluesky_renews(net: &Testnet) {
    let config: kez_cli::Config = toml::from_str(&net.config()).unwrap();
    let native = Native::new(config.settings());
    let endpoints = config.endpoints().unwrap();
    let account = kez_core::Identity::parse("bluesky:bob.test").unwrap();
    let now = kez_native::now();
    let publisher =
        Publisher { web: &native, endpoints: &endpoints, now, dry_run: false, visit: &|_| {} };
    // As it is stored, and an hour later: the server keeps its own time.
    let aged = |credential: &Credential| {
        let mut stored: Value = serde_json::from_str(&credential.to_text()).unwrap();
        stored["grant"]["expires_at"] = json!("2026-01-01T00:00:00Z");
        Credential::from_text(stored.to_string().as_bytes()).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // What the browser brings back to a request.
    let grant = |answer: &dyn Fn(String) -> String| {
        runtime.block_on(async {
            let redirect = native.redirect("thanks").await.unwrap();
            let client = Client::on_loopback(redirect.port(), "/");
            let request = AuthorizationRequest::begin(&publisher, &account, client).await.unwrap();
            assert!(!format!("{request:?}").contains("://"), "{request:?}");
            let url = request.url().to_owned();
            let user = tokio::task::spawn_blocking(move || allow(&url, PASSWORD, true).unwrap());
            let query = redirect.query(60).await.unwrap();
            assert_eq!(user.await.unwrap().trim(), "thanks");
            request.redeem(&publisher, &answer(query)).await
        })
    };
    let refused = |result: kez_core::Result<Credential>| {
        assert_eq!(result.unwrap_err().code(), Code::CredentialRefused);
    };
    // The answer to another request, and of another server.
    refused(grant(&|query| query.replace("state=", "state=A")));
    refused(grant(&|query| query.replace("iss=", "iss=x")));
    let first = grant(&|query| query).unwrap();
    runtime.block_on(async {
        assert!(publisher.renew(&first).await.unwrap().is_none());
        let second = publisher.renew(&aged(&first)).await.unwrap().unwrap();
        publisher.sign_in(&second).await.unwrap();
        // A refresh token that is used twice is a stolen one, and ends them all.
        refused(publisher.renew(&aged(&first)).await.map(Option::unwrap));
        refused(publisher.renew(&aged(&second)).await.map(Option::unwrap));
    });
}

/// A remote signer that runs in this process.
pub(crate) struct Signer {
    pub(crate) url: String,
    pub(crate) account: String,
    allows: Arc<AtomicBool>,
}

struct Actions(Arc<AtomicBool>);

impl NostrConnectSignerActions for Actions {
    fn approve(&self, _: &PublicKey, _: &NostrConnectRequest) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) fn signer(net: &Testnet, secret: &str) -> Signer {
    let user = Keys::generate();
    let account = format!("nostr:{}", user.public_key().to_bech32().unwrap());
    let keys = NostrConnectKeys { signer: Keys::generate(), user };
    let allows = Arc::new(AtomicBool::new(true));
    let actions = Actions(allows.clone());
    let relay = net.relay().to_owned();
    let secret = secret.to_owned();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let signer = NostrConnectRemoteSigner::new(keys, [relay], Some(secret), None).unwrap();
            tell.send(signer.bunker_uri().to_string()).unwrap();
            signer.serve(actions).await.unwrap();
        });
    });
    Signer { url: told.recv().unwrap(), account, allows }
}

pub(crate) fn nostr_by_bunker(net: &Testnet) {
    let (me, _) = publisher(net, "bunker", "ed25519");
    let Signer { url, account: subject, allows } = signer(net, "a-secret-of-a-test");
    let add = |url: &str, subject: &str| me.run_with(url, &["auth", "add", subject]);
    add("nonsense", &subject).fails(5, "credential_refused");
    add(&url.replace("a-secret", "another"), &subject).fails(5, "credential_refused");
    let stranger = signer(net, "another-secret");
    add(&url, &stranger.account).fails(2, "credential_other");
    let dead = url.split_once('?').unwrap().0.to_owned() + "?relay=ws://127.0.0.1:9&secret=x";
    add(&dead, &subject).fails(5, "connect_failed");
    let added = add(&url, &subject);
    assert_eq!(added.code, 0, "{}\n{}", added.stdout, added.stderr);
    assert!(!added.stdout.contains("a-secret") && !added.stderr.contains("a-secret"));

    let dry = me.run(&["publish", "nostr", "--dry-run"]);
    assert_eq!(change(&dry), (0, json!("created"), Value::Null), "{}", dry.stderr);
    allows.store(false, Ordering::Relaxed);
    me.run(&["publish", "nostr"]).fails(5, "credential_refused");
    allows.store(true, Ordering::Relaxed);
    let run = me.run(&["publish", "nostr"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    let again = me.run(&["publish", "nostr"]);
    assert_eq!(change(&again), (0, json!("unchanged"), json!("valid")), "{}", again.stderr);
    let (login, token) = account(net, &json!(["gist"]));
    let github = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["auth", "add", &github]).code, 0);
    assert_eq!(me.run(&["publish", "github"]).code, 0);
    let tagged = me.run(&["publish", "nostr", "--nip39"]);
    assert_eq!(tagged.code, 0, "{}\n{}", tagged.stdout, tagged.stderr);
    assert!(tagged.stdout.contains("kez.identities/1"), "{}", tagged.stdout);
    assert_eq!(me.ok(&["auth", "revoke", &subject])["platform_told"], false);
    me.run(&["publish", "nostr", &subject]).fails(2, "key_not_found");
}

/// An emulator of a signer that has the user allow it at a page first, which the signers that run
/// here do not: it answers `auth_url` to each request, and what was asked for after that.
pub(crate) fn nostr_by_a_page(net: &Testnet) {
    let keys = Keys::generate();
    let subject = format!("nostr:{}", keys.public_key().to_bech32().unwrap());
    let hex = keys.public_key().to_hex();
    let relay = net.relay().to_owned();
    let url = format!("bunker://{hex}?relay={relay}&secret=s");
    std::thread::spawn(move || {
        with_native(|native, runtime| {
            loop {
                let request =
                    format!(r##"["REQ","kez",{{"kinds":[24133],"#p":["{hex}"],"limit":0}}]"##);
                let asked = runtime.block_on(native.talk(&relay, 600, vec![request], |said| {
                    let said = Json::parse_foreign(said.as_bytes()).unwrap();
                    let event = said.as_array().filter(|said| said[0].as_str() == Some("EVENT"));
                    Ok(event.map_or(Next::Wait, |said| Next::Done(said[2].to_canonical())))
                }));
                let Ok(asked) = asked else { return };
                let asked = Event::from_json(asked).unwrap();
                let words =
                    nip44::decrypt(keys.secret_key(), &asked.pubkey, &asked.content).unwrap();
                let words: Value = serde_json::from_str(&words).unwrap();
                let result = match words["method"].as_str().unwrap() {
                    "connect" => "ack".to_owned(),
                    "get_public_key" => hex.clone(),
                    _ => "not asked for here".to_owned(),
                };
                let id = &words["id"];
                let answers = [
                    json!({ "id": id, "result": "auth_url", "error": "https://signer.example/allow" }),
                    json!({ "id": id, "result": result, "error": null }),
                ];
                let answers = answers.map(|answer| {
                    let text = answer.to_string();
                    let version = nip44::Version::default();
                    let text =
                        nip44::encrypt(keys.secret_key(), &asked.pubkey, text, version).unwrap();
                    let event = EventBuilder::new(Kind::NostrConnect, text);
                    let event = event.tag(Tag::public_key(asked.pubkey)).sign_with_keys(&keys);
                    event.unwrap().as_json()
                });
                runtime.block_on(native.publish_events(&relay, &answers)).unwrap();
            }
        });
    });
    let (me, _) = publisher(net, "page", "ed25519");
    let mut added = me.run_with(&url, &["auth", "add", &subject]);
    let asked = added.json();
    assert_eq!(asked["schema"], "kez.authorize/1", "{}\n{}", added.stdout, added.stderr);
    assert_eq!(asked["url"], "https://signer.example/allow");
    added.stdout = added.stdout.lines().last().unwrap().to_owned();
    assert_eq!((added.code, &added.json()["account"]), (0, &json!(subject)), "{}", added.stderr);
}

/// The keyring of a desktop, on a bus of its own.
struct Keyring {
    bus: Child,
    daemon: Child,
    address: String,
}

impl Keyring {
    fn start() -> Self {
        xtask::setup::keyring().unwrap();
        let home = folder(&fresh("desktop"));
        fs::create_dir_all(&home).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address"]);
        let mut bus = bus.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let mut daemon = Command::new("gnome-keyring-daemon");
        daemon.args(["--foreground", "--unlock", "--components=secrets"]);
        daemon.env("DBUS_SESSION_BUS_ADDRESS", &address);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            daemon.env(name, &home);
        }
        let quiet = daemon.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut daemon = quiet.spawn().unwrap();
        daemon.stdin.take().unwrap().write_all(b"the password of a desktop").unwrap();
        // It says where it listens when it is up.
        let mut up = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut up).unwrap();
        Self { bus, daemon, address }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn keyring(net: &Testnet) {
    let (me, _) = publisher(net, "keyring", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    // The native command reads what the package's has stored.
    let native = User { home: me.home.clone(), native: true };
    let run_as = |me: &User, bus: Option<&str>, input: &str, args: &[&str]| {
        me.run_in(input, args, |command| {
            match bus {
                Some(bus) => command.env("DBUS_SESSION_BUS_ADDRESS", bus),
                None => command.env_remove("DBUS_SESSION_BUS_ADDRESS"),
            };
            command.env_remove("XDG_RUNTIME_DIR");
        })
    };
    let run = |bus, input: &str, args: &[&str]| run_as(&me, bus, input, args);
    let add = ["auth", "add", &subject, "--keyring"];
    run(None, &token, &add).fails(2, "keyring_failed");
    me.run(&["publish", "github", &subject]).fails(2, "credential_missing");

    let desktop = Keyring::start();
    let bus = Some(desktop.address.as_str());
    let added = run(bus, &token, &add);
    assert_eq!(added.code, 0, "{}\n{}", added.stdout, added.stderr);
    assert_eq!(
        added.json(),
        json!({ "schema": "kez.credential/1", "account": subject, "key": null, "keyring": true })
    );
    assert_eq!(me.ok(&["auth", "list"]), added.json());
    let published = run_as(&native, bus, "", &["publish", "github"]);
    assert_eq!(change(&published), (0, json!("created"), json!("valid")), "{}", published.stderr);
    // The desktop is gone: nothing else has the token.
    run(None, "", &["publish", "github"]).fails(2, "keyring_failed");
    let revoked = run(bus, "", &["auth", "revoke", &subject]);
    assert_eq!(revoked.code, 0, "{}\n{}", revoked.stdout, revoked.stderr);
    run(bus, "", &["publish", "github"]).fails(2, "credential_missing");
    let both = me.run_with(&token, &["auth", "add", &subject, "--keyring", "--key", "me"]);
    assert_eq!(both.code, 2, "{}", both.stdout);
}
