//! The command against real servers on loopback (see `xtask/src/testnet.rs`): every status is
//! reached on every channel where it can happen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    User,
    testnet::{self, fresh, user},
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};
use xtask::testnet::{SECURE, SOCIAL, Testnet};

fn main() {
    testnet::run(
        "testnet",
        &[
            ("dns_every_status", dns_every_status),
            ("dns_over_udp_and_dnssec", dns_over_udp_and_dnssec),
            ("github_every_status", github_every_status),
            ("github_owner_forks_pages_and_limits", github_owner_forks_pages_and_limits),
            ("nostr_every_status", nostr_every_status),
            ("bluesky_every_status", bluesky_every_status),
            ("bluesky_ways_to_an_account", bluesky_ways_to_an_account),
            ("ap_every_status", ap_every_status),
            ("ap_secure_mode", ap_secure_mode),
            ("rotation_and_compromise", rotation_and_compromise),
            ("rollback_is_noticed", rollback_is_noticed),
            ("whole_identity", whole_identity),
            ("whole_identity_in_chromium", whole_identity_in_chromium),
            ("long_chain_on_a_relay", long_chain_on_a_relay),
            ("cache_and_offline", cache_and_offline),
            ("list_from_stdin", list_from_stdin),
        ],
    );
}

/// Takes a channel through the statuses that it shares with the others. `publish` puts a text
/// where only the account can put it (`None` removes it).
fn every_status(net: &Testnet, subject: &str, format: &str, publish: &dyn Fn(Option<&str>)) {
    let me = user(net, "matrix");
    me.key("me", "nostr");
    let relay = net.relay();

    publish(None);
    let report = me.verify(subject, &[]).expect(1, "invalid", Some("proof_not_found"));
    // KEZ-DNS-04: resolvers go on saying so for a while; others do not.
    assert_eq!(report["retry_at"].is_string(), subject.starts_with("dns:"), "{report}");

    publish(Some(&me.claim(subject, format, &[])));
    let report = me.verify(subject, &[]).expect(0, "valid", None);
    assert_eq!(report["subject"], subject);
    assert!(report["place"]["url"].is_string() && report["checked_at"].is_string());

    // Somebody else's proof, copied.
    publish(Some(&me.claim("dns:somebody.example", format, &["--offline"])));
    me.verify(subject, &[]).expect(1, "invalid", Some("wrong_owner"));

    // One digit of the signature changed.
    let text = me.claim(subject, "json", &[]);
    let at = text.find(r#""sig":""#).unwrap() + 100;
    let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    let broken = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
    let broken = kez_core::json::Value::parse(broken.as_bytes()).unwrap();
    let broken = kez_core::Envelope::from_value(broken).unwrap();
    publish(Some(&as_format(&kez_core::proof::to_compact(&broken), subject, format)));
    me.verify(subject, &[]).expect(1, "invalid", Some("signature_bad"));

    // Expired.
    publish(Some(&me.claim(subject, format, &["--expires", "1d"])));
    me.verify(subject, &[]).expect(0, "valid", None);
    me.verify(subject, &["--at", "2099-01-01T00:00:00Z"]).expect(4, "expired", Some("expired"));

    // Listed, then revoked.
    publish(Some(&me.claim(subject, format, &[])));
    me.ok(&["sigchain", "add", subject]);
    me.ok(&["sigchain", "publish", "--relay", relay]);
    let report = me.verify(subject, &[]).expect(0, "valid", None);
    assert_eq!(report["head"]["seq"], 1);
    let twin = me.copy(&fresh("twin"));
    let before = kez_native::now().to_string();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    me.ok(&["sigchain", "revoke", subject, "--reason", "retired"]);
    me.ok(&["sigchain", "publish", "--relay", relay]);
    let report = me.verify(subject, &[]).expect(3, "revoked", Some("revoked"));
    assert_eq!(report["revocation"], "retired");
    // As of the time before, it was not.
    me.verify(subject, &["--at", &before]).expect(0, "valid", None);

    // Another history of the same chain.
    twin.claim("dns:twin.example", "json", &["--offline"]);
    twin.ok(&["sigchain", "add", "dns:twin.example"]);
    twin.ok(&["sigchain", "publish", "--relay", relay]);
    me.verify(subject, &[]).expect(6, "fork", Some("forked"));

    // A claim that relies on a chain which no source has.
    let you = user(net, "unreachable");
    you.key("you", "ed25519");
    let source = ["--chain-url", "https://example.com/no-such-chain.jsonl"];
    publish(Some(&you.claim(subject, format, &source)));
    you.verify(subject, &[]).expect(5, "unreachable", Some("chain_unreachable"));
}

fn as_format(compact: &str, subject: &str, format: &str) -> String {
    match (format, subject.strip_prefix("dns:")) {
        ("dns", Some(domain)) => kez_core::proof::to_zone_line(domain, compact),
        ("markdown", _) => format!("```kez\n{compact}\n```\n"),
        _ => compact.to_owned(),
    }
}

/// KEZ-DNS-01, KEZ-DNS-02, KEZ-CNL-03
fn dns_every_status(net: &Testnet) {
    every_status(net, "dns:example.com", "dns", &|text| match text {
        Some(line) => net.load_zone_line("example.com", line).unwrap(),
        None => net.set_txt("example.com", "_kez.example.com", &[]).unwrap(),
    });
    // A name under another's wildcard, or several records: each is judged alone.
    let me = user(net, "dns");
    me.key("me", "ed25519");
    let line = me.claim("dns:plain.example", "dns", &[]);
    let strings = line.split_once(" TXT ").unwrap().1.trim();
    net.set_txt(
        "plain.example",
        "_kez.plain.example",
        &["\"v=spf1 -all\"", strings, "\"kez:z1:rubbish\""],
    )
    .unwrap();
    let report = me.verify("dns:plain.example", &[]).expect(0, "valid", None);
    assert_eq!((&report["dnssec"], &report["via"]), (&json!(false), &json!("doh")));
    // A bogus signature chain is a failure of the lookup, not a missing proof.
    let report = me.verify("dns:bogus.example", &[]).expect(5, "unreachable", Some("dns_failed"));
    assert_eq!(report["place"]["rcode"], 2);
}

/// KEZ-DNS-03: the AD bit is reported, over DoH and plain DNS
fn dns_over_udp_and_dnssec(net: &Testnet) {
    let config =
        format!("danger_allow_loopback = true\nrelays = []\ndns = [\"{}\"]\n", net.resolver());
    let me = User::new(&fresh("udp"), &config);
    me.key("me", "ed25519");
    net.load_zone_line("example.com", &me.claim("dns:example.com", "dns", &[])).unwrap();
    let report = me.verify("dns:example.com", &[]).expect(0, "valid", None);
    assert_eq!((&report["dnssec"], &report["via"]), (&json!(true), &json!("direct")));
    let dead = User::new(&fresh("udp"), "danger_allow_loopback = true\ndns = [\"127.0.0.1:1\"]\n");
    dead.verify("dns:example.com", &[]).expect(5, "unreachable", Some("dns_failed"));
}

fn gist_user(net: &Testnet, login: &str, id: u64) {
    net.gist(&json!({ "op": "user", "login": login, "id": id })).unwrap();
    net.gist(&json!({ "op": "limit", "remaining": 5000, "kind": "403" })).unwrap();
}

fn post_gist(net: &Testnet, login: &str, name: &str, text: &str) -> String {
    let made = net.gist(&json!({ "op": "gist", "login": login, "files": { name: text } })).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// KEZ-GH-01
fn github_every_status(net: &Testnet) {
    gist_user(net, "Octo-Cat", 1001);
    let last = std::cell::RefCell::new(None::<String>);
    every_status(net, "github:octo-cat", "markdown", &|text| {
        if let Some(id) = last.take() {
            net.gist(&json!({ "op": "drop", "id": id })).unwrap();
        }
        *last.borrow_mut() = text.map(|text| post_gist(net, "octo-cat", "kez.md", text));
    });
}

/// KEZ-GH-01, KEZ-GH-02, KEZ-GH-03, KEZ-GH-04
fn github_owner_forks_pages_and_limits(net: &Testnet) {
    let me = user(net, "gh");
    me.key("me", "ed25519");
    me.verify("github:nobody-here", &[]).expect(1, "invalid", Some("identity_not_found"));

    // The account's numeric id is pinned, and a name that changes hands stops verifying.
    gist_user(net, "mover", 2001);
    let text = me.claim("github:mover", "json", &[]);
    assert!(text.contains(r#""account":"2001""#));
    post_gist(net, "mover", "kez.json", &text);
    me.verify("github:mover", &[]).expect(0, "valid", None);
    net.gist(&json!({ "op": "rename", "login": "mover", "to": "moved" })).unwrap();
    me.verify("github:mover", &[]).expect(1, "invalid", Some("identity_not_found"));
    gist_user(net, "mover", 2002);
    post_gist(net, "mover", "kez.json", &text);
    me.verify("github:mover", &[]).expect(1, "invalid", Some("account_changed"));

    // A fork of the gist proves nothing.
    gist_user(net, "source", 3001);
    gist_user(net, "forker", 3002);
    let id = post_gist(net, "source", "kez.md", &me.claim("github:source", "markdown", &[]));
    let files = json!({ "kez.md": me.claim("github:forker", "markdown", &[]) });
    net.gist(&json!({ "op": "gist", "login": "forker", "fork_of": id, "files": files })).unwrap();
    me.verify("github:forker", &[]).expect(1, "invalid", Some("gist_forked"));

    // The proof is on the second page, and too large to come with the gist itself.
    gist_user(net, "busy", 4001);
    let proof = me.claim("github:busy", "markdown", &[]);
    post_gist(net, "busy", "kez.md", &proof);
    for n in 0..100 {
        post_gist(net, "busy", &format!("note-{n}.txt"), "nothing");
    }
    me.verify("github:busy", &[]).expect(0, "valid", None);
    let padded = format!("{}{proof}", " ".repeat(1_000_001));
    post_gist(net, "busy", "kez.md", &padded);
    // A large file beside it takes nothing away from the one that was found.
    me.verify("github:busy", &[]).expect(0, "valid", None);

    // Every way in which GitHub says "not now".
    for (kind, status) in [("403", 403), ("429", 429), ("secondary", 403)] {
        net.gist(&json!({ "op": "limit", "remaining": 0, "kind": kind })).unwrap();
        let report = me.verify("github:source", &[]).expect(5, "unreachable", Some("rate_limited"));
        assert_eq!(report["place"]["http_status"], status);
        assert!(report["retry_at"].is_string());
    }
    net.gist(&json!({ "op": "limit", "remaining": 5000, "kind": "403" })).unwrap();
    net.gist(&json!({ "op": "down", "status": 503 })).unwrap();
    me.verify("github:source", &[]).expect(5, "unreachable", Some("http_status"));
    net.gist(&json!({ "op": "down", "status": 0 })).unwrap();
}

/// Publishes a nostr event as a client would, with the user's own key.
fn nostr_publish(net: &Testnet, me: &User, kind: u16, tags: &[&[&str]], content: &str) {
    use kez_core::{NostrEvent, Scheme, SecretKey};
    let secret = me.ok(&["key", "export", "subject"])["secret"].as_str().unwrap().to_owned();
    let key = SecretKey::from_text(Scheme::Nostr, &secret).unwrap();
    let tags = tags.iter().map(|t| t.iter().map(|s| (*s).to_owned()).collect()).collect();
    // Replaceable events need rising dates to replace one another.
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    let created_at =
        kez_native::now().seconds() - 5000 + CLOCK.fetch_add(1, Ordering::Relaxed) as i64;
    let event = NostrEvent { created_at, kind, tags, content: content.to_owned() };
    let event = key.sign_nostr_event(&event, &[0; 32]).unwrap();
    testnet::send_event(net, &event).unwrap();
}

/// KEZ-NOS-01, KEZ-NOS-03, KEZ-SRC-01, KEZ-SRC-02
fn nostr_every_status(net: &Testnet) {
    let account = user(net, "nostr-account");
    let subject = account.key("subject", "nostr");
    every_status(net, &subject, "compact", &|text| {
        nostr_publish(net, &account, 30_539, &[&["d", "kez"]], text.unwrap_or(""));
    });
    // In the profile, as a pointer.
    let me = user(net, "nostr");
    let subject = me.key("subject", "nostr");
    me.claim(&subject, "compact", &[]);
    me.ok(&["sigchain", "add", &subject]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    let profile = json!({ "name": "me", "about": format!("hello\nkez:{subject} \u{1f44b}") });
    nostr_publish(net, &me, 0, &[], &profile.to_string());
    let report = me.verify(&subject, &[]).expect(0, "valid", None);
    assert_eq!((&report["encoding"], &report["notes"]), (&json!("pointer"), &json!(["pointer"])));
    // The relay refuses a forged event, and one that does not answer is not "no proof".
    let forged =
        r#"{"id":"00","pubkey":"00","created_at":1,"kind":1,"tags":[],"content":"","sig":"00"}"#;
    assert!(testnet::send_event(net, forged).is_err());
    let dead = User::new(
        &fresh("nostr"),
        "danger_allow_loopback = true\nrelays = [\"ws://127.0.0.1:1\"]\n",
    );
    dead.verify(&subject, &[]).expect(5, "unreachable", Some("connect_failed"));
}

/// KEZ-BSK-03
fn bluesky_every_status(net: &Testnet) {
    every_status(net, "bluesky:alice.test", "compact", &|text| {
        // Deleting a record that is not there is no error on a PDS.
        net.set_bluesky("alice.test", text).unwrap();
    });
}

/// KEZ-BSK-01, KEZ-BSK-02, KEZ-BSK-03
fn bluesky_ways_to_an_account(net: &Testnet) {
    let me = user(net, "bsky");
    me.key("me", "nostr");
    // The handle is found by TXT, the account is pinned by its DID, and a pointer fits a profile.
    let did = net.did("bob.test");
    net.set_txt("test", "_atproto.bob.test", &[&format!("\"did={did}\"")]).unwrap();
    let claim = me.claim("bluesky:bob.test", "json", &[]);
    assert!(claim.contains(&format!(r#""account":"{did}""#)));
    me.ok(&["sigchain", "add", "bluesky:bob.test"]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    net.set_bluesky_profile("bob.test", &me.claim("bluesky:bob.test", "pointer", &[])).unwrap();
    let report = me.verify("bluesky:bob.test", &[]).expect(0, "valid", None);
    assert_eq!(report["account"], did);
    // By its DID it is the same account, which the chain lists by its handle.
    let report = me.verify(&format!("bluesky:{did}"), &[]).expect(0, "valid", None);
    assert_eq!(report["claimed_as"], "bluesky:bob.test");
    // Two accounts in one handle's records, or one that does not name the handle: no proof.
    let alice = net.did("alice.test");
    let both = [format!("\"did={did}\""), format!("\"did={alice}\"")];
    net.set_txt("test", "_atproto.bob.test", &[&both[0], &both[1]]).unwrap();
    me.verify("bluesky:bob.test", &[]).expect(1, "invalid", Some("handle_mismatch"));
    net.set_txt("test", "_atproto.bob.test", &[&both[1]]).unwrap();
    me.verify("bluesky:bob.test", &[]).expect(1, "invalid", Some("handle_mismatch"));
    net.set_txt("test", "_atproto.bob.test", &[]).unwrap();
    // An account that nobody has.
    let nobody = "bluesky:did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    me.verify(nobody, &[]).expect(1, "invalid", Some("identity_not_found"));
}

/// KEZ-AP-01, KEZ-AP-02, KEZ-AP-03
fn ap_every_status(net: &Testnet) {
    let subject = format!("ap:jason@{SOCIAL}");
    every_status(net, &subject, "compact", &|text| {
        net.set_field(text.unwrap_or("no proof here")).unwrap()
    });
    let me = user(net, "ap");
    me.key("me", "nostr");
    let claim = me.claim(&format!("https://{SOCIAL}/@Jason"), "json", &[]);
    assert!(claim.contains(&format!(r#""account":"https://{SOCIAL}/jason""#)), "{claim}");
    me.ok(&["sigchain", "add", &subject]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    net.set_field(&me.claim(&subject, "pointer", &[])).unwrap();
    let report = me.verify(&subject, &[]).expect(0, "valid", None);
    assert_eq!(report["notes"], json!(["pointer"]));
    me.verify(&format!("ap:nobody@{SOCIAL}"), &[]).expect(1, "invalid", Some("identity_not_found"));
}

/// KEZ-AP-04
fn ap_secure_mode(net: &Testnet) {
    // The actor is shown to signed requests only, so its proof is hidden, not missing.
    let me = user(net, "secure");
    me.verify(&format!("ap:carol@{SECURE}"), &[]).expect(5, "unreachable", Some("auth_required"));
}

fn rotation_and_compromise(net: &Testnet) {
    let me = user(net, "rotate");
    me.key("old", "nostr");
    let zone = |line: &str| net.load_zone_line("example.com", line).unwrap();
    let listed = me.claim("dns:example.com", "dns", &["--key", "old"]);
    me.ok(&["sigchain", "add", "dns:example.com", "--key", "old"]);
    // Made by the old key, never listed: after the rotation it counts for nothing.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let unlisted = me.claim("dns:example.com", "dns", &["--key", "old"]);
    zone(&unlisted);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    let report = me.verify("dns:example.com", &[]).expect(0, "valid", None);
    assert_eq!(report["notes"], json!(["unlisted"]));

    // The next key goes to paper; only it can take over, and it needs no help of the old one.
    let paper = me.ok(&["key", "new", "--next", "--type", "nostr"]);
    me.claim("dns:plain.example", "json", &["--key", "old"]);
    let event = me.ok(&["sigchain", "add", "dns:plain.example"]);
    assert_eq!(event["next_committed"], true);
    me.key("thief", "nostr");
    me.run(&["sigchain", "rotate", "--to", "thief"]).fails(1, "next_mismatch");
    fs::remove_file(me.home.join("keys/old.json")).unwrap();
    let secret = paper["secret"].as_str().unwrap();
    let rotate = [
        "sigchain",
        "rotate",
        "--name",
        "fromPaper",
        "--no-passphrase",
        "--reason",
        "compromised",
        "--compromised-since",
        "2",
    ];
    let run = me.run_with(secret, &rotate);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret));
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    me.verify("dns:example.com", &[]).expect(3, "revoked", Some("key_compromised"));
    zone(&listed);
    me.verify("dns:example.com", &[]).expect(0, "valid", None);
    let shown = me.ok(&["sigchain", "show"]);
    assert_eq!(
        (&shown["events"][0]["void"], &shown["events"][1]["void"]),
        (&json!(false), &json!(true))
    );
    // The new key speaks for the same identity.
    zone(&me.claim("dns:example.com", "dns", &["--key", "fromPaper"]));
    me.verify("dns:example.com", &[]).expect(0, "valid", None);
}

fn rollback_is_noticed(net: &Testnet) {
    let me = user(net, "rollback");
    me.key("me", "ed25519");
    // The chain of an ed25519 key is served by the claimed domain.
    fs::create_dir_all(net.well_known()).unwrap();
    let well_known = net.well_known();
    let publish = || me.ok(&["sigchain", "publish", "--dir", well_known.to_str().unwrap()]);
    net.load_zone_line("example.com", &me.claim("dns:example.com", "dns", &[])).unwrap();
    me.ok(&["sigchain", "add", "dns:example.com"]);
    let file = publish()["place"].as_str().unwrap().to_owned();
    let old = fs::read(&file).unwrap();
    me.verify("dns:example.com", &[]).expect(0, "valid", None);
    me.claim("dns:plain.example", "json", &[]);
    me.ok(&["sigchain", "add", "dns:plain.example"]);
    publish();
    me.verify("dns:example.com", &[]).expect(0, "valid", None);
    // The server goes back to the older chain: who has seen the newer one says so.
    fs::write(&file, old).unwrap();
    me.verify("dns:example.com", &[]).expect(5, "unreachable", Some("rollback"));
    // A newcomer is warned by the claim's own head beacon.
    net.load_zone_line("example.com", &me.claim("dns:example.com", "dns", &[])).unwrap();
    let stranger = user(net, "stranger");
    stranger.verify("dns:example.com", &[]).expect(5, "unreachable", Some("rollback"));
    // A beacon that is not on the served chain at all is a fork, found without any server's help.
    let twin = me.copy(&fresh("twin"));
    fs::remove_dir_all(twin.home.join("sigchains")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    twin.ok(&["sigchain", "add", "dns:plain.example"]);
    twin.claim("dns:bogus.example", "json", &["--offline", "--no-head"]);
    twin.ok(&["sigchain", "add", "dns:bogus.example"]);
    net.load_zone_line("example.com", &twin.claim("dns:example.com", "dns", &[])).unwrap();
    publish();
    let other = user(net, "stranger");
    other.verify("dns:example.com", &[]).expect(6, "fork", Some("beacon_mismatch"));
    fs::remove_file(file).unwrap();
}

/// Publishes an identity with one claim on each of four channels, which its chain lists. Gives
/// the user and the primary.
fn publish_whole(net: &Testnet, login: &str) -> (User, String) {
    let me = user(net, login);
    let key = me.key("subject", "nostr");
    gist_user(net, login, 9001 + login.len() as u64);
    let github = format!("github:{login}");
    post_gist(net, login, "kez.md", &me.claim(&github, "markdown", &[]));
    net.load_zone_line("example.com", &me.claim("dns:example.com", "dns", &[])).unwrap();
    net.set_bluesky("bob.test", Some(&me.claim("bluesky:bob.test", "compact", &[]))).unwrap();
    let subject = format!("ap:jason@{SOCIAL}");
    me.claim(&subject, "compact", &[]);
    net.set_field(&me.claim(&subject, "pointer", &[])).unwrap();
    for subject in [&github, "dns:example.com", "bluesky:bob.test", &subject] {
        me.ok(&["sigchain", "add", subject]);
    }
    (me, key)
}

fn whole_identity(net: &Testnet) {
    let (me, key) = publish_whole(net, "whole");
    me.key("phone", "ed25519");
    me.ok(&["sigchain", "add-device", "phone", "--cap", "chat/1"]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    // From any end, by a stranger, the same identity with every edge verified.
    for start in
        [key.as_str(), "@whole", "https://example.com/", "@bob.test", &format!("@jason@{SOCIAL}")]
    {
        let stranger = user(net, "stranger");
        let run = stranger.run(&["id", start]);
        let graph = run.json();
        assert_eq!(
            (run.code, graph["primary"].as_str()),
            (0, Some(key.as_str())),
            "{}",
            run.stdout
        );
        let edges = graph["edges"].as_array().unwrap();
        assert_eq!(edges.len(), 4, "{}", run.stdout);
        assert!(edges.iter().all(|e| e["status"] == "valid"));
        assert_eq!(graph["devices"].as_array().unwrap().len(), 1);
    }
    me.ok(&["sigchain", "revoke", "github:whole"]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    let stranger = user(net, "stranger");
    let run = stranger.run(&["id", &key]);
    let statuses: Vec<Value> =
        run.json()["edges"].as_array().unwrap().iter().map(|e| e["status"].clone()).collect();
    assert_eq!(statuses, ["valid", "valid", "valid", "revoked"].map(Value::from), "{}", run.stdout);
    for format in ["dot", "mermaid", "svg"] {
        let file = me.home.join(format);
        let path = file.to_str().unwrap();
        let drawn = common::kez()
            .args(["graph", &key, "--format", format, "--out", path])
            .env("KEZ_HOME", &me.home)
            .output()
            .unwrap();
        assert!(drawn.status.success());
        assert!(fs::read_to_string(file).unwrap().contains("github:whole"));
    }
}

/// The same identity in a page, with a fifth channel; only the platforms themselves are asked.
fn whole_identity_in_chromium(net: &Testnet) {
    let (me, key) = publish_whole(net, "paged");
    let account = user(net, "paged-account");
    let other = account.key("subject", "nostr");
    nostr_publish(net, &account, 30_539, &[&["d", "kez"]], &me.claim(&other, "compact", &[]));
    me.ok(&["sigchain", "add", &other]);
    me.ok(&["sigchain", "publish", "--relay", net.relay()]);
    let wanted = user(net, "stranger").run(&["id", &key]).json();
    // From the account's key, which has no chain of its own, one gets there too.
    let from_account = user(net, "stranger").run(&["id", &other]).json();
    assert_eq!(
        (&from_account["primary"], &from_account["edges"][0]["status"]),
        (&wanted["primary"], &wanted["edges"][0]["status"]),
        "{from_account}"
    );
    assert_eq!(from_account["edges"].as_array().unwrap().len(), 5, "{from_account}");
    let script = format!(
        "async (kez) => ({{ graph: await kez.identity({}, {{ dangerAllowLoopback: true }}) }})",
        json!(key)
    );
    let seen = xtask::npm::in_chromium(&script, &net.routes()).expect("the page runs");
    assert!(seen["error"].is_null(), "{seen}");
    let edges = |graph: &Value| -> Vec<[Value; 4]> {
        let edge = |e: &Value| ["subject", "status", "claim", "signed_at"].map(|n| e[n].clone());
        graph["edges"].as_array().unwrap().iter().map(edge).collect()
    };
    assert_eq!(edges(&seen["graph"]).len(), 5, "{seen}");
    assert_eq!(edges(&seen["graph"]), edges(&wanted), "{seen}");
    assert!(edges(&wanted).iter().all(|e| e[1] == "valid"), "{wanted}");
    for member in ["primary", "chain", "head", "keys", "devices"] {
        assert_eq!(seen["graph"][member], wanted[member], "{member}");
    }
    // Nobody else was asked, nothing was preflighted, and nothing was told that need not be.
    let platforms: Vec<String> = net.routes().into_iter().map(|(host, _)| host).collect();
    let asked = seen["asked"].as_array().unwrap();
    for request in asked {
        assert_eq!(request["method"], "GET", "{request}");
        let host = request["host"].as_str().unwrap();
        // The handle's own domain may say whose it is (atproto's second method).
        assert!(host == "bob.test" || platforms.iter().any(|p| p == host), "{request}");
        assert!(request["cookie"].is_null() && request["referer"].is_null(), "{request}");
    }
    // A domain's own copy of the chain is asked for where one starts from the domain.
    for host in platforms.iter().filter(|host| *host != "example.com") {
        assert!(asked.iter().any(|r| r["host"] == **host), "{host} was not asked: {seen}");
    }
    // The PDS calls itself localhost, so that the front does not see it.
    let local = seen["local"].as_array().unwrap();
    assert!(local.iter().all(|url| url.as_str().unwrap().contains("/xrpc/")), "{seen}");
}

/// KEZ-SRC-02: more events than a relay sends at once.
fn long_chain_on_a_relay(net: &Testnet) {
    use kez_core::{Chain, Event, ObjectId, Op, Scheme, SecretKey};
    let key = SecretKey::from_bytes(Scheme::Nostr, [77; 32]).unwrap();
    let mut chain = Chain::new(key.public().identity()).unwrap();
    let now = kez_native::now();
    for n in 0..1300_i64 {
        let op = Op::Add {
            subject: kez_core::Identity::from_canonical("dns:example.com").unwrap(),
            claim: ObjectId::digest("claim", &n.to_le_bytes()),
            account: None,
            url: None,
        };
        let event = Event::new(chain.name().clone(), chain.head(), now.plus(n - 2000), op);
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        chain.append(&envelope, now).unwrap();
    }
    testnet::with_native(|native, runtime| {
        let done = kez_cli::places::to_relay(native, &chain, &key, net.relay());
        runtime.block_on(done).unwrap();
    });
    let graph = user(net, "long").run(&["id", chain.name().as_str()]).json();
    assert_eq!(graph["head"]["seq"], 1300, "{}", graph["head"]);
}

fn cache_and_offline(net: &Testnet) {
    let me = user(net, "cache");
    me.key("me", "ed25519");
    gist_user(net, "cached", 9101);
    let id = post_gist(net, "cached", "kez.md", &me.claim("github:cached", "markdown", &[]));
    me.run(&["--offline", "verify", "id", "github:other"]).expect(
        5,
        "unreachable",
        Some("offline"),
    );
    let first = me.verify("github:cached", &[]).expect(0, "valid", None);
    assert_eq!(first["via"], "direct");
    // Young enough answers come from the cache, with the time at which they were true.
    net.gist(&json!({ "op": "drop", "id": id })).unwrap();
    let again =
        me.run(&["--max-age", "1h", "verify", "id", "github:cached"]).expect(0, "valid", None);
    assert_eq!((&again["via"], &again["checked_at"]), (&json!("cache"), &first["checked_at"]));
    me.run(&["--offline", "verify", "id", "github:cached"]).expect(0, "valid", None);
    me.verify("github:cached", &[]).expect(1, "invalid", Some("proof_not_found"));
}

fn list_from_stdin(net: &Testnet) {
    let me = user(net, "list");
    me.key("me", "ed25519");
    gist_user(net, "listed", 9201);
    post_gist(net, "listed", "kez.md", &me.claim("github:listed", "markdown", &[]));
    let run = me.run_with(
        "github:listed\n# a comment\n\nnot an identity\ngithub:nobody-here\n",
        &["verify", "-"],
    );
    let mut codes: Vec<String> = run
        .stdout
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap())
        .map(|v| v["code"].as_str().or(v["status"].as_str()).unwrap().to_owned())
        .collect();
    codes.sort();
    assert_eq!(codes, ["identity_refused", "invalid", "valid"]);
    assert!(run.stderr.contains("3 verified"));
}
