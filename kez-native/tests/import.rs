//! `kez import`: what real servers and real keys say elsewhere, each with its grade.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{
    User,
    testnet::{self, fresh, publisher, user},
};
use kez_core::{
    NostrEvent, Scheme, SecretKey,
    import::{Importer, Link, Said, Source, Subject},
};
use serde_json::{Value, json};
use std::fs;
use xtask::testnet::{SECURE, Testnet};

fn main() {
    testnet::run(
        "import",
        &[
            ("nip39", nip39),
            ("rel_me", rel_me),
            ("keyoxide", keyoxide),
            ("keyoxide_refusals", keyoxide_refusals),
            ("keybase", keybase),
            ("publishes_what_it_found", publishes_what_it_found),
            ("nobody_there", nobody_there),
        ],
    );
}

/// A new GitHub account that shows these links, and a gist of it.
fn account(net: &Testnet, links: &[&str], gist: &str) -> (String, String) {
    let login = fresh("import");
    let user = json!({ "op": "user", "login": login, "id": 9000 + login.len(), "social": links });
    net.gist(&user).unwrap();
    let gist = json!({ "op": "gist", "login": login, "files": { "proof.md": gist } });
    let id = net.gist(&gist).unwrap()["id"].as_str().unwrap().to_owned();
    (login, id)
}

/// The account, grade and way of saying of each link.
fn links(found: &Value) -> Vec<(String, String, String)> {
    let text = |link: &Value, name: &str| link[name].as_str().unwrap_or_default().to_owned();
    let links = found["links"].as_array().unwrap().iter();
    let account = |link: &Value| {
        let account = text(link, "identity");
        if account.is_empty() { text(link, "text") } else { account }
    };
    links.map(|link| (account(link), text(link, "grade"), text(link, "said"))).collect()
}

fn row(account: &str, grade: &str, said: &str) -> (String, String, String) {
    (account.into(), grade.into(), said.into())
}

/// Signs an event with a stored key, and sends it to the relay.
fn post(net: &Testnet, secret: u8, event: &NostrEvent) {
    let key = SecretKey::from_bytes(Scheme::Nostr, [secret; 32]).unwrap();
    let json = key.sign_nostr_event(event, &[0; 32]).unwrap();
    testnet::send_event(net, &json).unwrap();
}

fn tags(all: &[[&str; 3]]) -> Vec<Vec<String>> {
    all.iter().map(|tag| tag.iter().map(|word| (*word).to_owned()).collect()).collect()
}

fn nip39(net: &Testnet) {
    let key = SecretKey::from_bytes(Scheme::Nostr, [81; 32]).unwrap();
    let npub = key.public().identity().value().to_owned();
    let sentence = format!("Verifying that I control the following Nostr public key: {npub}");
    let (login, gist) = account(net, &[], &sentence);
    let (_, other) = account(net, &[], &sentence);
    let (silent, cat) = account(net, &[], "my cat");
    net.dave("profile", "nothing").unwrap();
    net.dave("7", &format!("<p>{sentence}</p>")).unwrap();
    let now = kez_native::now().seconds();
    let old = tags(&[["i", "twitter:alice_too", "12"]]);
    let event = NostrEvent { created_at: now - 5, kind: 10_011, tags: old, content: String::new() };
    post(net, 81, &event);
    let dave = format!("mastodon:{SECURE}/@dave");
    let own = tags(&[
        ["i", &format!("github:{login}"), &gist],
        ["i", &format!("github:{silent}"), &cat],
        ["i", "github:thief", &other],
        ["i", &dave, "7"],
        ["i", "twitter:alice", "1619358434134196225"],
        ["x", "github:none", ""],
    ]);
    let event = NostrEvent { created_at: now, kind: 10_011, tags: own, content: String::new() };
    post(net, 81, &event);
    // Where the tags stood before; what the newer event has counts once.
    let profile = NostrEvent {
        created_at: now,
        kind: 0,
        tags: tags(&[["i", &dave, "7"], ["i", "telegram:1087295469", "nostr/770"]]),
        content: json!({ "name": "alice" }).to_string(),
    };
    post(net, 81, &profile);

    let me = user(net, "nip39");
    let found = me.ok(&["import", "nip39", &npub]);
    assert_eq!(found["name"], "alice");
    assert_eq!(
        links(&found),
        [
            row(&format!("github:{login}"), "mutual", "signed"),
            row(&format!("github:{silent}"), "one_way", "signed"),
            // The gist is of somebody else.
            row("github:thief", "unchecked", "signed"),
            row(&format!("ap:dave@{SECURE}"), "mutual", "signed"),
            row("twitter:alice", "unchecked", "signed"),
            row("telegram:1087295469", "unchecked", "signed"),
        ]
    );
    let reasons: Vec<&Value> =
        found["links"].as_array().unwrap().iter().map(|link| &link["reason"]).collect();
    let no_channel = &json!("no_channel");
    let (none, other) = (&Value::Null, &json!("wrong_owner"));
    assert_eq!(reasons, [none, none, other, none, no_channel, no_channel], "{found}");

    // The own key needs no name; a key that is none of nostr cannot have tags.
    me.run(&["import", "nip39"]).fails(2, "usage");
    let nsec = key.expose_text();
    let taken = me.run_with(&nsec, &["key", "import", "--name", "mine", "--no-passphrase"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let run = me.run(&["import", "nip39"]);
    assert_eq!(links(&run.json()), links(&found));
    assert!(run.stderr.contains(&format!("kez publish github github:{login}")), "{}", run.stderr);
    me.run(&["import", "nip39", "github:alice"]).fails(2, "key_expected");
}

fn rel_me(net: &Testnet) {
    let (login, _) = account(net, &["https://example.com/"], "");
    let (silent, _) = account(net, &[], "");
    net.dave("profile", r#"<a href="https://example.com" rel="me">me</a> <a href="https://secure.example/tags/cats">#cats</a>"#)
        .unwrap();
    let page = format!(
        r#"<!doctype html><title>Me</title>
        <link rel="me" href="https://github.com/{login}">
        <a rel='nofollow me' href='https://github.com/{silent}'>other</a>
        <a rel=me href=https://{SECURE}/@dave>dave</a>
        <a rel="me" href="https://example.com/back.html">a page</a>
        <a rel="me" href="https://example.com/none.html">no page</a>
        <!-- <a rel="me" href="https://github.com/nobody"> -->"#
    );
    net.page("index.html", page.as_bytes()).unwrap();
    net.page("back.html", b"<a rel=me href=https://example.com>home</a>").unwrap();
    let me = user(net, "relme");
    let found = me.ok(&["import", "rel-me", "example.com"]);
    let wanted = [
        row(&format!("github:{login}"), "mutual", "published"),
        row(&format!("github:{silent}"), "one_way", "published"),
        row(&format!("ap:dave@{SECURE}"), "mutual", "published"),
        row("https://example.com/back.html", "mutual", "published"),
        row("https://example.com/none.html", "unchecked", "published"),
    ];
    assert_eq!(links(&found), wanted);
    assert_eq!(links(&me.ok(&["import", "rel-me", "https://example.com/"])), wanted);
    // From the other side.
    let found = me.ok(&["import", "rel-me", &format!("github:{login}")]);
    assert_eq!(links(&found), [row("dns:example.com", "mutual", "published")]);
    let found = me.ok(&["import", "rel-me", &format!("https://{SECURE}/@dave")]);
    assert_eq!(links(&found), [row("dns:example.com", "mutual", "published")]);
    me.run(&["import", "rel-me", "https://example.com/none.html"]).fails(1, "identity_not_found");
    me.run(&["import", "rel-me", "bluesky:alice.test"]).fails(5, "no_channel");
    me.run(&["import", "rel-me"]).fails(2, "usage");
}

fn keyoxide(net: &Testnet) {
    // What accounts say names keys that are not made yet, so they are made first.
    let (login, gist) = account(net, &[], "to come");
    let (silent, cat) = account(net, &[], "my cat");
    let own = format!("https://gist.github.com/{login}/{gist}");
    let other = format!("https://gist.github.com/{silent}/{cat}");
    let dave = format!("https://{SECURE}/@dave");
    let claims = [&own, &other, "dns:plain.example?type=TXT", &dave, "https://lobste.rs/u/alice"];
    let made = net.keyoxide(&claims).unwrap();
    let keys = &made["openpgp"];
    let names = ["legacy", "v6", "rsa", "p256"].map(|kind| {
        format!("openpgp4fpr:{}", keys[kind]["fingerprint"].as_str().unwrap().to_uppercase())
    });
    let profiles = ["EdDSA", "ES256"]
        .map(|alg| format!("aspe:example.com:{}", made["aspe"][alg]["id"].as_str().unwrap()));
    let all = [&names[..], &profiles[..]].concat();
    let words = all.join(" ");
    net.gist(&json!({ "op": "edit", "id": gist, "files": { "openpgp.md": words } })).unwrap();
    let quoted: Vec<String> = all.iter().map(|name| format!("\"{name}\"")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    net.set_txt("plain.example", "plain.example", &quoted).unwrap();
    net.dave("profile", &format!("<p>{words}</p>")).unwrap();
    for (alg, profile) in ["EdDSA", "ES256"].iter().zip(&profiles) {
        let id = profile.rsplit(':').next().unwrap();
        let jws = made["aspe"][alg]["jws"].as_str().unwrap();
        net.page(&format!(".well-known/aspe/id/{id}"), jws.as_bytes()).unwrap();
    }

    let me = user(net, "keyoxide");
    let wanted = |said: &str| {
        let grade = |grade: &'static str| if said == "reported" { "reported" } else { grade };
        vec![
            row(&format!("github:{login}"), grade("mutual"), said),
            row(&format!("github:{silent}"), grade("one_way"), said),
            row("dns:plain.example", grade("mutual"), said),
            row(&format!("ap:dave@{SECURE}"), grade("mutual"), said),
            row("https://lobste.rs/u/alice", grade("unchecked"), said),
        ]
    };
    for (kind, said) in
        [("legacy", "signed"), ("v6", "signed"), ("rsa", "signed"), ("p256", "reported")]
    {
        let file = me.home.join(format!("{kind}.asc"));
        fs::write(&file, keys[kind]["armored"].as_str().unwrap()).unwrap();
        let found = me.ok(&["import", "keyoxide", file.to_str().unwrap()]);
        assert_eq!(links(&found), wanted(said), "{kind}");
        assert_eq!(found["name"], "Alice <alice@example.com>");
        // That the account agrees is told of those too.
        assert_eq!(found["links"][0]["back"], "shown");
    }
    for (alg, profile) in ["EdDSA", "ES256"].iter().zip(&profiles) {
        let found = me.ok(&["import", "keyoxide", profile]);
        assert_eq!((links(&found), &found["name"]), (wanted("signed"), &json!("Alice")), "{alg}");
        let jws = made["aspe"][alg]["jws"].as_str().unwrap();
        let run = me.run_with(jws, &["import", "keyoxide", "-"]);
        assert_eq!(links(&run.json()), wanted("signed"), "{}", run.stderr);
    }
    // From a keyserver, and by mail address: from the subdomain, or else the domain.
    let binary = STANDARD.decode(keys["legacy"]["binary"].as_str().unwrap()).unwrap();
    let armored = keys["legacy"]["armored"].as_str().unwrap();
    let fingerprint = keys["legacy"]["fingerprint"].as_str().unwrap().to_uppercase();
    net.page(&format!("vks/v1/by-fingerprint/{fingerprint}"), armored.as_bytes()).unwrap();
    let hu = made["hu"].as_str().unwrap();
    let direct = format!(".well-known/openpgpkey/hu/{hu}");
    let advanced = format!(".well-known/openpgpkey/example.com/hu/{hu}");
    net.page(&direct, &binary).unwrap();
    let by_url = format!("https://keyoxide.org/{fingerprint}");
    let by_address = "https://keyoxide.org/wkd/alice@example.com";
    for name in [&names[0], &fingerprint, &by_url, by_address, "Alice@example.com"] {
        assert_eq!(links(&me.ok(&["import", "keyoxide", name])), wanted("signed"), "{name}");
    }
    net.page(&advanced, keys["v6"]["armored"].as_str().unwrap().as_bytes()).unwrap();
    let found = me.ok(&["import", "keyoxide", "alice@example.com"]);
    assert_eq!(found["subject"], json!(names[1].to_lowercase()));
}

fn keyoxide_refusals(net: &Testnet) {
    let claim = "dns:plain.example?type=TXT";
    let made = net.keyoxide(&[claim]).unwrap();
    let me = user(net, "refusals");
    let import = |bytes: &[u8]| {
        let file = me.home.join("profile");
        fs::write(&file, bytes).unwrap();
        me.run(&["import", "keyoxide", file.to_str().unwrap()])
    };
    let key = |kind: &str| made["openpgp"][kind]["armored"].as_str().unwrap().to_owned();
    let binary = STANDARD.decode(made["openpgp"]["legacy"]["binary"].as_str().unwrap()).unwrap();
    // What another key has signed over the same name does not count; what its owner dropped
    // counts no more, with the name.
    for forged in ["forged", "forgedRsa"] {
        let found = links(&import(key(forged).as_bytes()).json());
        assert_eq!(found, [row("dns:plain.example", "one_way", "signed")], "{forged}");
    }
    assert_eq!(links(&import(key("dropped").as_bytes()).json()), []);
    import(key("revoked").as_bytes()).fails(3, "revoked");
    import(b"hello").fails(1, "key_refused");
    import(&vec![b'x'; (1 << 20) + 1]).fails(1, "too_large");
    // No change of any byte, and no cut, makes a claim that was not signed.
    let read = |source, subject: Subject<'_>| {
        let endpoints = kez_core::Endpoints::default();
        let (now, to_ascii) = (kez_native::now(), &kez_core::to_ascii);
        testnet::with_native(|transport, runtime| {
            let importer = Importer { transport, endpoints: &endpoints, now, to_ascii };
            runtime.block_on(importer.read(source, subject))
        })
    };
    let core = |file: &[u8]| read(Source::Keyoxide, Subject::File(file));
    for (source, subject) in [
        (Source::Nip39, Subject::File(&binary)),
        (Source::RelMe, Subject::File(&binary)),
        (Source::Keybase, Subject::Name("alice")),
    ] {
        assert_eq!(read(source, subject).unwrap_err().code().as_str(), "usage");
    }
    let at = binary.windows(claim.len()).position(|w| w == claim.as_bytes()).unwrap();
    let mut changed = binary.clone();
    changed[at + 4] ^= 1;
    let links_of = |file: &[u8]| core(file).map(|found| found.links).unwrap_or_default();
    let texts = |file: &[u8]| -> Vec<String> {
        let signed = |link: &Link| link.said == Said::Signed;
        links_of(file).iter().filter(|l| signed(l)).map(|link| link.text.clone()).collect()
    };
    // The older signature is then the newest that holds.
    assert_eq!(texts(&changed), ["https://old.example/"]);
    for end in 0..binary.len() {
        for text in texts(&binary[..end]) {
            assert!([claim, "https://old.example/"].contains(&text.as_str()), "{end}: {text}");
        }
    }

    let jws = made["aspe"]["EdDSA"]["jws"].as_str().unwrap();
    let id = made["aspe"]["EdDSA"]["id"].as_str().unwrap();
    let (head, signature) = jws.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    import(format!("{head}.{first}{}", &signature[1..]).as_bytes()).fails(1, "signature_bad");
    import(b"eyJhbGciOiJub25lIn0.e30.").fails(1, "key_refused");
    import(b"eyJ.eyJ").fails(5, "response_refused");
    // Another profile, or another key, than the one that was asked for.
    let other = id.replace(|c: char| c.is_ascii_digit(), "A");
    let other = if other == id { id.replace('A', "B") } else { other };
    net.page(&format!(".well-known/aspe/id/{other}"), jws.as_bytes()).unwrap();
    let asked = me.run(&["import", "keyoxide", &format!("aspe:example.com:{other}")]);
    asked.fails(5, "response_refused");
    let wrong = "0".repeat(40);
    net.page(&format!("vks/v1/by-fingerprint/{wrong}"), key("legacy").as_bytes()).unwrap();
    me.run(&["import", "keyoxide", &wrong]).fails(5, "response_refused");
    me.run(&["import", "keyoxide", &"1".repeat(40)]).fails(1, "identity_not_found");
    me.run(&["import", "keyoxide", "nobody@example.com"]).fails(1, "identity_not_found");
    me.run(&["import", "keyoxide", "nonsense"]).fails(2, "identity_refused");
    me.run(&["import", "keyoxide", "aspe:example.com:../x"]).fails(2, "identity_refused");
    me.run(&["import", "keyoxide"]).fails(2, "usage");
}

fn keybase(net: &Testnet) {
    let (login, gist) =
        account(net, &[], "  * I am [alice_kb](https://keybase.io/alice_kb) on keybase.");
    let (silent, cat) = account(net, &[], "I am https://keybase.io/alice_kb_too");
    net.page(".well-known/keybase.txt", b"    * I am an admin of https://example.com\n    * I am alice_kb (https://keybase.io/alice_kb) on keybase.\n").unwrap();
    let sig = format!("{}0f", "ab".repeat(32));
    let word = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xab; 32]);
    let record = format!("\"keybase-site-verification={word}\"");
    net.set_txt("plain.example", "_keybase.plain.example", &[&record]).unwrap();
    let proof = |kind: &str, tag: &str, url: &str, service: &str, sig: &str| {
        json!({ "proof_type": kind, "nametag": tag, "state": 1, "proof_url": url,
            "service_url": service, "sig_id": sig, "presentation_group": kind })
    };
    let gist_url = |id: &str| format!("https://gist.github.com/{id}");
    let proofs = json!([
        proof("github", &login, &gist_url(&gist), &format!("https://github.com/{login}"), &sig),
        proof("github", &silent, &gist_url(&cat), &format!("https://github.com/{silent}"), &sig),
        proof("dns", "plain.example", "https://keybase.io/alice_kb/sigchain#1", "", &sig),
        proof(
            "generic_web_site",
            "example.com",
            "https://example.com/.well-known/keybase.txt",
            "",
            &sig
        ),
        proof(
            "twitter",
            "alice",
            "https://twitter.com/alice/status/1",
            "https://twitter.com/alice",
            &sig
        ),
    ]);
    let user_record = json!({
        "basics": { "username": "alice_kb" },
        "profile": { "full_name": "Alice" },
        "proofs_summary": { "all": proofs },
    });
    let me = user(net, "keybase");
    let file = me.home.join("lookup.json");
    for them in [json!([user_record]), user_record] {
        let lookup = json!({ "status": { "code": 0 }, "them": them }).to_string();
        fs::write(&file, &lookup).unwrap();
        let found = me.ok(&["import", "keybase", file.to_str().unwrap()]);
        let backs: Vec<&str> = found["links"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["back"].as_str().unwrap())
            .collect();
        assert_eq!(backs, ["shown", "absent", "shown", "shown", "unknown"], "{found}");
        let all = links(&found);
        assert!(all.iter().all(|(_, grade, said)| grade == "reported" && said == "reported"));
        let accounts: Vec<&str> = all.iter().map(|(account, ..)| account.as_str()).collect();
        let first = format!("github:{login}");
        let second = format!("github:{silent}");
        let wanted = [&first, &second, "dns:plain.example", "dns:example.com", "twitter:alice"];
        assert_eq!(accounts, wanted);
        assert_eq!((&found["subject"], &found["name"]), (&json!("alice_kb"), &json!("Alice")));
    }
    for (text, code) in
        [("{", "json_syntax"), ("{}", "member_missing"), (r#"{"them":[{}]}"#, "member_missing")]
    {
        fs::write(&file, text).unwrap();
        let run = me.run(&["import", "keybase", file.to_str().unwrap()]);
        run.fails(run.code, code);
        assert_ne!(run.code, 0);
    }
    me.run(&["import", "keybase", "/nowhere/at/all"]).fails(2, "storage_failed");
    me.run(&["import", "keybase"]).fails(2, "usage");
}

fn publishes_what_it_found(net: &Testnet) {
    let (login, _) = account(net, &["https://example.com/"], "");
    let (other, _) = account(net, &[], "");
    let token = format!("test-token-{login}");
    net.gist(&json!({ "op": "token", "token": token, "login": login, "scopes": ["gist"] }))
        .unwrap();
    let page = format!(
        r#"<a rel="me" href="https://github.com/{login}"></a><a rel="me" href="https://github.com/{other}"></a>"#
    );
    net.page("index.html", page.as_bytes()).unwrap();
    let (me, _) = publisher(net, "offer", "ed25519");
    let subject = format!("github:{login}");
    let added = me.run_with(&format!("{token}\n"), &["auth", "add", &subject]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    // One account has a token; that the other has none keeps nothing from the first.
    let run = me.run(&["import", "rel-me", "example.com", "--publish"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    let lines: Vec<Value> = run.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{}", run.stdout);
    assert_eq!((&lines[1]["change"], &lines[1]["status"]), (&json!("created"), &json!("valid")));
    assert_eq!(lines[2]["code"], "credential_missing");
    user(net, "witness").verify(&subject, &[]).expect(0, "valid", None);
}

fn nobody_there(net: &Testnet) {
    let config = "danger_allow_loopback = true\nrelays = [\"ws://127.0.0.1:1\"]\n";
    let me = User::new(&fresh("alone"), config);
    let key = SecretKey::from_bytes(Scheme::Nostr, [82; 32]).unwrap();
    let npub = key.public().identity().value();
    me.run(&["import", "nip39", npub]).fails(5, "connect_failed");
    let me = user(net, "empty");
    let run = me.run(&["import", "nip39", npub]);
    assert_eq!((run.code, links(&run.json())), (0, vec![]), "{}", run.stderr);
    assert!(run.stderr.contains("nothing here"), "{}", run.stderr);
    me.run(&["--offline", "import", "rel-me", "https://example.com/"]).fails(5, "offline");
}
