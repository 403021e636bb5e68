//! `kez publish` and `kez auth` against real servers on loopback: every proof into its place,
//! nothing of others' lost, and a second run that changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod doctor;
mod leave;

use common::{
    Run, User,
    testnet::{self, fresh, publisher, user},
};
use kez_core::{
    Code, SignedClaim,
    publish::{Change, Credential, Placed, Publisher, Web},
    relay::Next,
    transport::{Answer, Body, Call, Failure, Request, Via},
};
use kez_native::transport::Native;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};
use xtask::testnet::{SOCIAL, TSIG_SECRET, Testnet};

fn main() {
    testnet::run(
        "publishing",
        &[
            ("github", github),
            ("github_emulator_keeps_the_contract", github_emulator_keeps_the_contract),
            ("github_by_a_short_code", github_by_a_short_code),
            ("github_refusals", github_refusals),
            ("github_shows_it_late", github_shows_it_late),
            ("bluesky", bluesky),
            ("bluesky_by_browser", leave::bluesky_by_browser),
            ("bluesky_renews", leave::bluesky_renews),
            ("fediverse", fediverse),
            ("nostr", nostr),
            ("nostr_for_old_clients", nostr_for_old_clients),
            ("nostr_by_bunker", leave::nostr_by_bunker),
            ("nostr_by_a_page", leave::nostr_by_a_page),
            ("keyring", leave::keyring),
            ("a_page_publishes", a_page_publishes),
            ("dns", dns),
            ("dns_update", dns_update),
            ("everything_and_the_chain", everything_and_the_chain),
            ("what_was_cut_short_goes_on", what_was_cut_short_goes_on),
            ("two_machines", two_machines),
            ("lost_races", lost_races),
            ("what_only_large_servers_say", what_only_large_servers_say),
            ("doctor", doctor::doctor),
            ("doctor_renews", doctor::doctor_renews),
            ("watch", doctor::watch),
            ("secrets_stay_where_they_belong", secrets_stay_where_they_belong),
        ],
    );
}

/// A new GitHub account, and a token of it.
fn account(net: &Testnet, scopes: &Value) -> (String, String) {
    let login = fresh("writer");
    let token = format!("test-token-{login}");
    net.gist(&json!({ "op": "user", "login": login, "id": 7000 + login.len() })).unwrap();
    net.gist(&json!({ "op": "token", "token": token, "login": login, "scopes": scopes })).unwrap();
    (login, token)
}

fn gists(net: &Testnet, login: &str) -> Vec<Value> {
    net.gist(&json!({ "op": "gists", "login": login })).unwrap().as_array().unwrap().clone()
}

fn change(run: &Run) -> (i32, Value, Value) {
    let json = run.json();
    if run.code != 0 {
        // The reason is in there.
        eprintln!("{}", run.stdout);
    }
    (run.code, json["change"].clone(), json["status"].clone())
}

fn github(net: &Testnet) {
    let (me, _) = publisher(net, "gist", "ed25519");
    let (login, token) = account(net, &json!(["gist", "repo"]));
    let subject = format!("github:{login}");
    // Somebody's own gist, and one that has nothing of KEZ in a file of that name.
    net.gist(&json!({ "op": "gist", "login": login, "files": { "notes.txt": "mine" } })).unwrap();
    net.gist(&json!({ "op": "gist", "login": login, "files": { "kez.md": "my cat" } })).unwrap();

    me.run(&["publish", "github", &subject]).fails(2, "credential_missing");
    let added = me.run_with(&format!("{token}\n"), &["auth", "add", &subject]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    assert_eq!(me.ok(&["auth", "list"])["account"], json!(subject));

    let dry = me.run(&["publish", "github", "--dry-run"]);
    assert_eq!(change(&dry), (0, json!("created"), Value::Null), "{}", dry.stderr);
    assert_eq!(gists(net, &login).len(), 2);
    assert!(!me.home.join("claims").exists());

    let run = me.run(&["publish", "github"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    let json = run.json();
    assert_eq!(json["event"], 1);
    let url = json["url"].as_str().unwrap();
    assert!(url.starts_with("https://gist.github.com/"), "{url}");
    // By a stranger, who knows neither the key nor the claim, and by a second run.
    let other = user(net, "stranger");
    let report = other.verify(&subject, &[]).expect(0, "valid", None);
    assert_eq!(report["claim"], json["claim"]);
    let chain = me.bundle();
    let again = me.run(&["publish", "github"]);
    assert_eq!(change(&again), (0, json!("unchanged"), json!("valid")));
    assert_eq!((me.bundle(), gists(net, &login).len()), (chain, 3));

    // Changed by hand: only the proof comes back, beside what was written there.
    let gist = gists(net, &login).remove(0);
    let (id, text) = (&gist["id"], gist["files"]["kez.md"].as_str().unwrap());
    let body = json!({ "files": { "kez.md": { "content": format!("About me.\n\n{text}") } } });
    let api = net.github();
    ureq::patch(format!("{api}/gists/{}", id.as_str().unwrap()))
        .header("authorization", format!("Bearer {token}"))
        .send_json(&body)
        .unwrap();
    me.ok(&["sigchain", "revoke", &subject, "--reason", "superseded"]);
    let renewed = me.run(&["publish", "github", &subject]);
    assert_eq!(change(&renewed), (0, json!("updated"), json!("valid")), "{}", renewed.stdout);
    assert_ne!(renewed.json()["claim"], json["claim"]);
    let now = gists(net, &login);
    assert_eq!((now.len(), &now[0]["id"]), (3, id));
    let text = now[0]["files"]["kez.md"].as_str().unwrap();
    assert!(text.starts_with("About me.\n\n") && text.matches("kez:z1:").count() == 1, "{text}");

    // The token is in no file and in no output, and gone when it is revoked.
    for entry in walk(&me.home) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(token.len()).any(|w| w == token.as_bytes()), "{entry:?}");
    }
    assert!(!run.stdout.contains(&token) && !run.stderr.contains(&token));
    let revoked = me.ok(&["auth", "revoke", &subject]);
    assert_eq!(revoked["platform_told"], false);
    me.run(&["publish", "github"]).fails(2, "credential_missing");
    me.run(&["auth", "revoke", &subject]).fails(2, "credential_missing");
}

/// Every file below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

/// The emulator of gists answers as GitHub's OpenAPI document says.
fn github_emulator_keeps_the_contract(net: &Testnet) {
    let mut node = Command::new(xtask::setup::node());
    let script = xtask::setup::services().join("contract.mjs");
    let output = node.arg(script).arg(net.github()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// The device flow: what the command asks the user to type, and what the user then does.
fn github_by_a_short_code(net: &Testnet) {
    let (me, _) = publisher(net, "device", "ed25519");
    let (login, _) = account(net, &json!([]));
    let subject = format!("github:{login}");
    let client = fresh("client");
    let app = |interval: u32, lasts: u32| {
        let app = json!({ "op": "app", "client": client, "interval": interval, "lasts": lasts });
        net.gist(&app).unwrap();
    };
    // What the user does, by the code that is shown; nothing, for one who is gone.
    let add = |act: &dyn Fn(&str)| {
        me.conversation(&["auth", "add", &subject, "--client", &client], |asked| {
            assert_eq!(asked["url"], "https://github.com/login/device");
            act(asked["code"].as_str().unwrap());
            String::new()
        })
    };
    let device = |code: &str, login: Value| {
        net.gist(&json!({ "op": "device", "code": code, "login": login })).unwrap();
    };
    add(&|_| {}).fails(5, "credential_refused");
    app(1, 900);
    add(&|code| device(code, Value::Null)).fails(5, "credential_refused");
    // Somebody else's account.
    let (other, _) = account(net, &json!([]));
    add(&|code| device(code, json!(other))).fails(2, "credential_other");
    app(1, 2);
    add(&|_| {}).fails(5, "credential_refused");
    app(1, 900);
    let added = add(&|code| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        device(code, json!(login));
    });
    assert_eq!(added.code, 0, "{}\n{}", added.stdout, added.stderr);
    let run = me.run(&["publish", "github"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    me.run(&["auth", "add", "bluesky:alice.test", "--client", "x"]).fails(2, "usage");
}

fn github_refusals(net: &Testnet) {
    let (me, _) = publisher(net, "refused", "ed25519");
    let (login, token) = account(net, &json!(["repo"]));
    let (_, other) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    let publish =
        |token: &str| me.run_with(token, &["publish", "github", &subject, "--token-file", "-"]);
    publish(&token).fails(5, "scope_missing");
    publish(&other).fails(2, "credential_other");
    publish("test-token-of-nobody").fails(5, "credential_refused");
    publish("").fails(2, "credential_missing");
    me.run_with(&token, &["auth", "add", "dns:example.com"]).fails(2, "usage");
    me.run_with(&token, &["publish", "github", "dns:example.com"]).fails(2, "usage");
    me.run(&["publish", "nostr"]).fails(2, "usage");
    me.run(&["publish", "all"]).fails(1, "chain_empty");
    // A fine-grained token does not say what it may; the first write tells.
    net.gist(&json!({ "op": "token", "token": token, "login": login, "scopes": null })).unwrap();
    net.gist(&json!({ "op": "limit", "remaining": 0, "kind": "403" })).unwrap();
    let limited = publish(&token);
    limited.fails(5, "rate_limited");
    assert!(limited.json()["detail"].as_str().unwrap().contains("until 20"));
    net.gist(&json!({ "op": "limit", "remaining": 5000, "kind": "403" })).unwrap();
    net.gist(&json!({ "op": "down", "status": 503 })).unwrap();
    publish(&token).fails(5, "http_status");
    net.gist(&json!({ "op": "down", "status": 0 })).unwrap();
    assert_eq!(gists(net, &login).len(), 0);
    assert_eq!(publish(&token).code, 0);
}

fn github_shows_it_late(net: &Testnet) {
    let (me, _) = publisher(net, "late", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    net.gist(&json!({ "op": "stale", "seconds": 3 })).unwrap();
    let args = ["publish", "github", &subject, "--token-file", "-"];
    let hurried = me.run_with(&token, &[&args[..], &["--wait", "0"]].concat());
    hurried.fails(5, "not_visible");
    // Nothing is listed before it can be seen, and nothing is published twice.
    me.run(&["sigchain", "show"]).fails(1, "chain_empty");
    let run = me.run_with(&token, &args);
    net.gist(&json!({ "op": "stale", "seconds": 0 })).unwrap();
    assert_eq!(change(&run), (0, json!("unchanged"), json!("valid")), "{}", run.stderr);
    assert_eq!(gists(net, &login).len(), 1);
}

fn bluesky(net: &Testnet) {
    let (me, _) = publisher(net, "sky", "nostr");
    net.set_bluesky("alice.test", None).unwrap();
    let subject = "bluesky:alice.test";
    let password = net.app_password("alice.test", "kez").unwrap();
    let publish = |password: &str| {
        me.run_with(password, &["publish", "bluesky", subject, "--token-file", "-"])
    };
    publish("wrong-wrong-wrong").fails(5, "credential_refused");
    // The account's own password is refused: it may do everything.
    let own = publish("test-password");
    own.fails(5, "credential_refused");
    assert!(own.json()["detail"].as_str().unwrap().contains("app password"));

    let run = publish(&password);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    let again = publish(&password);
    assert_eq!(change(&again), (0, json!("unchanged"), json!("valid")), "{}", again.stderr);

    // Somebody else's proof in the record stays beside ours.
    let (friend, _) = publisher(net, "friend", "ed25519");
    let theirs = friend.claim(subject, "compact", &[]);
    net.set_bluesky("alice.test", Some(&theirs)).unwrap();
    assert_eq!(change(&publish(&password)), (0, json!("updated"), json!("valid")));
    let status = friend.verify(subject, &[]);
    assert_eq!(status.stdout.lines().count(), 2, "{}", status.stdout);

    // The PDS takes an app password back; the session was closed before.
    net.revoke_app_password("alice.test", "kez").unwrap();
    net.set_bluesky("alice.test", None).unwrap();
    publish(&password).fails(5, "credential_refused");
}

/// Signs in at the fediverse server, as in a browser beside the terminal.
fn allow(net: &Testnet, me: &User, subject: &str, code: Option<&str>) -> Run {
    let mut url = String::new();
    let run = me.conversation(&["auth", "add", subject], |asked| {
        url = asked["url"].as_str().unwrap().to_owned();
        let client = url.split("client_id=").nth(1).unwrap().split('&').next().unwrap();
        code.map_or_else(|| net.allow(client).unwrap(), str::to_owned)
    });
    assert!(url.contains("code_challenge_method=S256"), "{}", run.stdout);
    run
}

fn fediverse(net: &Testnet) {
    let (me, _) = publisher(net, "fedi", "ed25519");
    let subject = format!("ap:jason@{SOCIAL}");
    me.run(&["publish", "ap", &subject]).fails(2, "credential_missing");
    allow(net, &me, &subject, Some("no-such-code")).fails(5, "credential_refused");
    let added = allow(net, &me, &subject, None);
    assert_eq!(added.code, 0, "{}\n{}", added.stdout, added.stderr);

    // A field that was there stays, in its place.
    net.set_fields(&[("Home", "https://jason.example"), ("Pronouns", "he & him")]).unwrap();
    let before = net.fields().unwrap();
    let run = me.run(&["publish", "ap"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    let fields = net.fields().unwrap();
    assert_eq!((&fields[..2], fields.len()), (&before[..], 3), "{fields:?}");
    assert_eq!(fields[2].0, "KEZ");
    let again = me.run(&["publish", "ap"]);
    assert_eq!(change(&again), (0, json!("unchanged"), json!("valid")), "{}", again.stderr);
    assert_eq!(net.fields().unwrap(), fields);

    // Another identity has no place of its own, but in a field of another name.
    let full = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    net.set_fields(&full).unwrap();
    me.run(&["publish", "ap"]).fails(5, "place_full");
    assert_eq!(net.fields().unwrap(), full.map(|(a, b)| (a.to_owned(), b.to_owned())));

    // Without a place for the chain a pointer would prove nothing.
    let lonely = user(net, "lonely");
    lonely.key("me", "ed25519");
    lonely.run(&["publish", "ap", &subject]).fails(2, "usage");

    let revoked = me.run(&["auth", "revoke", &subject]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert_eq!(revoked.json()["platform_told"], true, "{}", revoked.stderr);
}

fn nostr(net: &Testnet) {
    let (me, _) = publisher(net, "note", "ed25519");
    let subject = me.key("account", "nostr");
    // Another identity's proof is on the relay already, in the one place that there is.
    let (other, _) = publisher(net, "before", "ed25519");
    let home = me.home.join("keys/account.json");
    fs::copy(&home, other.home.join("keys/account.json")).unwrap();
    let run = other.run(&["publish", "nostr", &subject, "--key", "me"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);

    let args = ["publish", "nostr", &subject, "--key", "me"];
    let run = me.run(&args);
    assert_eq!(change(&run), (0, json!("updated"), json!("valid")), "{}", run.stderr);
    assert_eq!(change(&me.run(&args)), (0, json!("unchanged"), json!("valid")));
    // Both are there.
    let both = other.verify(&subject, &[]);
    let statuses: Vec<Value> =
        both.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(statuses.len(), 2, "{}", both.stdout);
    // A relay that is gone is told of, and stops nothing.
    let config = fs::read_to_string(me.home.join("config.toml")).unwrap();
    let config = config.replace("relays = [", "relays = [\"ws://127.0.0.1:1\", ");
    fs::write(me.home.join("config.toml"), config).unwrap();
    let run = me.run(&args);
    assert!(
        run.stderr.contains("ws://127.0.0.1:1/") || run.stderr.contains("ws://127.0.0.1:1:"),
        "{}",
        run.stderr
    );
    assert_eq!(change(&run).1, json!("unchanged"));
    let stranger = user(net, "nobody");
    stranger.key("me", "ed25519");
    stranger.run(&args).fails(2, "key_not_found");
}

/// NIP-39: the accounts where clients look for them that do not know KEZ; read back as an import.
fn nostr_for_old_clients(net: &Testnet) {
    let (me, _) = publisher(net, "nip39", "nostr");
    let npub = me.ok(&["key", "list"])["identity"].as_str().unwrap().to_owned();
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    me.run(&["publish", "github", &subject, "--nip39"]).fails(2, "usage");
    // What is there of other clients stays.
    let secret = me.ok(&["key", "export", "me"])["secret"].as_str().unwrap().to_owned();
    let key = kez_core::SecretKey::from_text(kez_core::Scheme::Nostr, &secret).unwrap();
    let tag = |words: [&str; 3]| words.map(String::from).to_vec();
    let event = kez_core::NostrEvent {
        created_at: kez_native::now().seconds() + 60,
        kind: 10_011,
        tags: vec![tag(["i", "twitter:me", "7"]), tag(["i", &format!("GitHub:{login}"), "old"])],
        content: "mine".into(),
    };
    testnet::send_event(net, &key.sign_nostr_event(&event, &[0; 32]).unwrap()).unwrap();

    assert_eq!(me.run_with(&token, &["auth", "add", &subject]).code, 0);
    assert_eq!(me.run(&["publish", "github", &subject]).code, 0);
    let count = gists(net, &login).len();
    let identities = |args: &[&str]| {
        let run = me.run(&[&["publish", "nostr", "--nip39"], args].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        let mut lines = run.stdout.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        let found = lines.find(|line| line["schema"] == "kez.identities/1").unwrap();
        assert_eq!(found["account"], json!(npub));
        found["change"].clone()
    };
    assert_eq!(identities(&["--dry-run"]), "updated");
    assert_eq!(gists(net, &login).len(), count);
    assert_eq!(identities(&[]), "updated");
    assert_eq!(identities(&[]), "unchanged");
    let gist = gists(net, &login).remove(0);
    let value = npub.strip_prefix("nostr:").unwrap();
    let sentence = format!("Verifying that I control the following Nostr public key: {value}");
    assert_eq!(
        (gists(net, &login).len(), &gist["files"]),
        (count + 1, &json!({ "nostr.txt": sentence }))
    );
    let found = user(net, "reader").ok(&["import", "nip39", &npub]);
    let links: Vec<_> = found["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| (link["text"].as_str().unwrap(), link["grade"].as_str().unwrap()))
        .collect();
    assert_eq!(links, [("twitter:me", "unchecked"), (subject.as_str(), "mutual")]);
    // Without a token there is no gist to make, and the account is left out.
    assert_eq!(me.run(&["auth", "revoke", &subject]).code, 0);
    let run = me.run(&["publish", "nostr", "--nip39"]);
    assert!(run.stderr.contains(&format!("{subject} is left out")), "{}", run.stderr);
}

/// The npm package in a page in Chromium: every platform that lets pages write.
fn a_page_publishes(net: &Testnet) {
    let (login, token) = account(net, &json!(["gist"]));
    let (_, other) = account(net, &json!(["gist"]));
    let password = net.app_password("bob.test", &fresh("page")).unwrap();
    net.set_bluesky("bob.test", None).unwrap();
    net.set_fields(&[("Home", "https://jason.example")]).unwrap();
    let script = format!(
        r#"async (kez) => {{
            const local = {{ dangerAllowLoopback: true }}
            const [key, note] = [kez.SecretKey.generate(), kez.SecretKey.generate('nostr')]
            const all = {{}}
            const run = async (subject, how) => {{
                const claim = await kez.Claim.create({{ subject, signer: key }})
                const dry = await kez.publish(claim, {{ ...local, ...how, dryRun: true }})
                const first = await kez.publish(claim, {{ ...local, ...how }})
                const again = await kez.publish(claim, {{ ...local, ...how }})
                const [report] = await kez.verify(subject, local)
                all[subject] = [dry.change, first.change, again.change, report.status, report.reason]
            }}
            const refused = async (work) => {{
                try {{ return await work }} catch (error) {{ return `${{error.code}} ${{error.message}}` }}
            }}
            const [github, bluesky, fediverse] = {subjects}
            await kez.signIn(github, {token})
            await run(github, {{ token: {token} }})
            await run(bluesky, {{ token: {password} }})
            await run(note.identity, {{ key: note }})
            await run(fediverse, {{ token: {fediverse} }})
            const domain = await kez.Claim.create({{ subject: 'dns:example.com', signer: key }})
            const manual = await kez.publish(domain, local)
            const authorization = await kez.authorize(fediverse, local)
            const claim = await kez.Claim.create({{ subject: github, signer: key }})
            return {{
                all: Object.values(all),
                manual: manual.change,
                leave: authorization.url,
                none: await refused(kez.publish(claim, local)),
                other: await refused(kez.publish(claim, {{ ...local, token: {other} }})),
                wrong: await refused(kez.signIn(github, 'wrong-wrong-wrong', local)),
                text: await refused(kez.publish('a claim', local)),
                code: await refused(authorization.redeem('no-such-code', local)),
            }}
        }}"#,
        subjects =
            json!([format!("github:{login}"), "bluesky:bob.test", format!("ap:jason@{SOCIAL}")]),
        token = json!(token),
        password = json!(password),
        fediverse = json!(net.fediverse_token()),
        other = json!(other),
    );
    let page = xtask::npm::in_chromium(&script, &net.routes()).expect("the page runs");
    let row =
        |status: &str, reason: Value| json!(["created", "created", "unchanged", status, reason]);
    let valid = row("valid", Value::Null);
    // A field only points to the sigchain, which is nowhere here.
    let pointer = row("unreachable", json!("chain_unreachable"));
    assert_eq!(page["all"], json!([valid, valid, valid, pointer]), "{page}");
    assert_eq!(page["manual"], "manual");
    // No platform learns on which page that was.
    let asked = page["asked"].as_array().unwrap();
    assert!(asked.iter().all(|r| r["referer"].is_null() && r["cookie"].is_null()), "{page}");
    let leave = page["leave"].as_str().unwrap();
    assert!(leave.starts_with(&format!("https://{SOCIAL}/oauth/authorize?")), "{leave}");
    for (name, code) in [
        ("none", "credential_missing"),
        ("other", "credential_other"),
        ("wrong", "credential_refused"),
        ("text", "argument"),
        ("code", "credential_refused"),
    ] {
        let told = page[name].as_str().unwrap_or_default();
        assert!(told.starts_with(code) && !told.contains("wrong-wrong"), "{name}: {page}");
    }
}

fn dns(net: &Testnet) {
    let (me, _) = publisher(net, "zone", "nostr");
    let subject = "dns:plain.example";
    net.set_txt("plain.example", "_kez.plain.example", &[]).unwrap();
    let run = me.run(&["publish", "dns", subject]);
    let mut lines = run.stdout.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let record = lines.next().unwrap();
    assert_eq!(record["name"], "_kez.plain.example");
    assert_eq!(lines.next().unwrap()["code"], "not_visible");
    assert_eq!(run.code, 5);
    net.load_zone_line("plain.example", record["zone"].as_str().unwrap()).unwrap();
    let run = me.run(&["publish", "dns", subject, "--wait", "20s"]);
    assert_eq!(change(&run), (0, json!("unchanged"), json!("valid")), "{}", run.stderr);
    assert_eq!(run.json()["event"], 1);
    net.set_txt("plain.example", "_kez.plain.example", &[]).unwrap();
}

/// By a dynamic update that a TSIG key signs, at the real name server.
fn dns_update(net: &Testnet) {
    let (me, _) = publisher(net, "tsig", "nostr");
    let (subject, server) = ("dns:keyed.example", net.name_server());
    let add =
        |subject: &str, key: &str| me.run_with(key, &["auth", "add", subject, "--server", &server]);
    let key = format!("hmac-sha256:kez-test:{TSIG_SECRET}");
    me.run_with(&key, &["auth", "add", subject]).fails(2, "usage");
    add(subject, "no key at all").fails(5, "credential_refused");
    add(subject, "hmac-sha256:other:AAAA").fails(5, "credential_refused");
    add(subject, "hmac-sha256:kez-test:AAAA").fails(5, "credential_refused");
    // A zone that is not the key's, and one that is not there.
    add("dns:plain.example", &key).fails(5, "credential_refused");
    add("dns:nowhere.example", &key).fails(5, "scope_missing");
    assert_eq!(add(subject, &key).code, 0);

    let dry = me.run(&["publish", "dns", "--dry-run"]);
    assert_eq!(change(&dry), (0, json!("created"), Value::Null), "{}", dry.stderr);
    let run = me.run(&["publish", "dns"]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
    assert_eq!(change(&me.run(&["publish", "dns"])).1, json!("unchanged"));

    // Somebody else's record stays at the same name, and an older one of ours goes.
    let (friend, _) = publisher(net, "zonemate", "ed25519");
    assert_eq!(friend.run_with(&key, &["auth", "add", subject, "--server", &server]).code, 0);
    let theirs = friend.run(&["publish", "dns", subject]);
    assert_eq!(change(&theirs), (0, json!("created"), json!("valid")), "{}", theirs.stderr);
    me.ok(&["sigchain", "revoke", subject]);
    let renewed = me.run(&["publish", "dns"]);
    assert_eq!(change(&renewed), (0, json!("updated"), json!("valid")), "{}", renewed.stderr);
    let both = friend.verify(subject, &[]);
    assert_eq!(both.stdout.lines().count(), 2, "{}", both.stdout);
    // A name below the zone, whose zone is found by going up.
    let below = "dns:www.keyed.example";
    assert_eq!(add(below, &key).code, 0);
    let run = me.run(&["publish", "dns", below]);
    assert_eq!(change(&run), (0, json!("created"), json!("valid")), "{}", run.stderr);
}

fn everything_and_the_chain(net: &Testnet) {
    let (me, server) = publisher(net, "whole", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["auth", "add", &subject]).code, 0);
    let account = me.key("account", "nostr");
    assert_eq!(me.run(&["publish", "github", &subject, "--key", "me"]).code, 0);
    assert_eq!(me.run(&["publish", "nostr", &account]).code, 0);
    // The gist is gone; one command brings all back.
    let gist = gists(net, &login).remove(0);
    net.gist(&json!({ "op": "drop", "id": gist["id"] })).unwrap();
    me.verify(&subject, &[]).expect(1, "invalid", Some("proof_not_found"));
    let run = me.run(&["publish", "all"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told: Vec<Value> = run.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of =
        |subject: &str| told.iter().find(|t| t["subject"] == subject).unwrap()["change"].clone();
    assert_eq!((of(&subject), of(&account)), (json!("created"), json!("unchanged")));
    assert_eq!(told[0]["copies"], json!([server]));

    // The chain alone, where the user says and where a verifier looks.
    let dir = me.home.join("www/.well-known");
    let path = dir.display().to_string();
    me.run(&["publish", "well-known"]).fails(2, "usage");
    let run = me.ok(&["publish", "well-known", "--dir", &path]);
    let file = run["copies"][0].as_str().unwrap();
    assert_eq!(fs::read_to_string(file).unwrap(), me.bundle());
    assert_eq!(me.ok(&["publish", "sigserver"])["copies"], json!([server]));
    let without = user(net, "without");
    without.key("me", "ed25519");
    without.claim("dns:example.net", "json", &["--offline"]);
    without.ok(&["sigchain", "add", "dns:example.net"]);
    without.run(&["publish", "sigserver"]).fails(2, "usage");
    without.run(&["--offline", "publish", "all"]).fails(5, "offline");
    // A server that is gone is told of, as long as another one has the chain; all of them are not.
    let config = fs::read_to_string(me.home.join("config.toml")).unwrap();
    let more = config.replace("sig_servers = [", "sig_servers = [\"http://127.0.0.1:1\", ");
    fs::write(me.home.join("config.toml"), more).unwrap();
    let run = me.run(&["publish", "sigserver"]);
    assert_eq!((run.code, &run.json()["copies"]), (0, &json!([server])), "{}", run.stderr);
    assert!(run.stderr.contains("http://127.0.0.1:1/"), "{}", run.stderr);
    me.run(&["publish", "sigserver", "--server", "http://127.0.0.1:1"]).fails(5, "publish_refused");
    fs::write(me.home.join("config.toml"), config).unwrap();
    // One that fails keeps none of the others from their places, and says so.
    net.gist(&json!({ "op": "untoken", "token": token })).unwrap();
    let run = me.run(&["publish", "all"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(run.stderr.contains(&subject), "{}", run.stderr);
    assert!(run.stdout.contains(&account) && run.stdout.contains("credential_refused"));
}

/// What another machine has published is not forked by this one.
fn two_machines(net: &Testnet) {
    let (me, _) = publisher(net, "laptop", "ed25519");
    let account = me.key("account", "nostr");
    assert_eq!(me.run(&["publish", "nostr", &account, "--key", "me"]).code, 0);
    let twin = me.copy(&fresh("phone"));
    let (login, token) = self::account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    let args = ["publish", "github", &subject, "--token-file", "-"];
    assert_eq!(me.run_with(&token, &args).code, 0);
    let before = twin.bundle();
    let other = twin.key("other", "nostr");
    twin.run(&["publish", "nostr", &other]).fails(6, "head_conflict");
    assert_eq!(twin.bundle(), before);
    let ill = twin.run(&["doctor", "--fix"]);
    assert!(
        ill.code == 6
            && doctor::findings(&ill).iter().any(|(_, problem)| problem == "head_conflict")
    );
    assert_eq!(twin.bundle(), before);
    let bundle = me.home.join("bundle.jsonl");
    fs::write(&bundle, me.bundle()).unwrap();
    twin.ok(&["sigchain", "import", &bundle.display().to_string()]);
    assert_eq!(twin.run(&["publish", "nostr", &other]).code, 0);
}

/// Killed between any two requests, it goes on where it was: one gist, one event.
fn what_was_cut_short_goes_on(net: &Testnet) {
    let (me, _) = publisher(net, "killed", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["auth", "add", &subject]).code, 0);
    for milliseconds in (5..).step_by(15).take(12) {
        let mut child = me
            .command(&["publish", "github"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let run = me.run(&["publish", "github"]);
    assert_eq!((run.code, &run.json()["status"]), (0, &json!("valid")), "{}", run.stderr);
    assert_eq!(gists(net, &login).len(), 1);
    assert_eq!(me.ok(&["sigchain", "show"])["head"]["seq"], 1);
}

/// The network, with something that happens before a call; or in its place.
struct Between<'a> {
    native: &'a Native,
    before: &'a dyn Fn(&Call) -> Option<Answer>,
}

impl kez_core::Transport for Between<'_> {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        self.native.fetch(request).await
    }

    async fn pause(&self, milliseconds: u32) {
        self.native.pause(milliseconds).await;
    }
}

impl Web for Between<'_> {
    fn random(&self) -> kez_core::Result<[u8; 32]> {
        self.native.random()
    }

    async fn call(&self, call: Call) -> Result<Answer, Failure> {
        match (self.before)(&call) {
            Some(answer) => Ok(answer),
            None => self.native.call(call).await,
        }
    }

    async fn exchange(&self, server: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
        self.native.exchange(server, message).await
    }

    async fn talk<T>(
        &self,
        url: &str,
        seconds: u64,
        first: Vec<String>,
        receive: impl FnMut(&str) -> Result<Next<T>, Failure>,
    ) -> Result<T, Failure> {
        self.native.talk(url, seconds, first, receive).await
    }
}

/// Publishes a claim at its Bluesky account.
fn place(
    net: &Testnet,
    signed: &SignedClaim,
    password: &str,
    before: &dyn Fn(&Call) -> Option<Answer>,
) -> kez_core::Result<Placed> {
    let config: kez_cli::Config = toml::from_str(&net.config()).unwrap();
    let native = Native::new(config.settings());
    let endpoints = config.endpoints().unwrap();
    let credential = Credential::new(signed.claim().subject.clone(), password.to_owned().into());
    let web = Between { native: &native, before };
    let now = kez_native::now();
    let publisher =
        Publisher { web: &web, endpoints: &endpoints, now, dry_run: false, visit: &|_| {} };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(publisher.place(signed, Some(&credential), None::<&kez_core::SecretKey>))
}

/// Whoever writes a Bluesky record at the same time loses nothing by it.
fn lost_races(net: &Testnet) {
    let (me, _) = publisher(net, "race", "ed25519");
    net.set_bluesky("bob.test", None).unwrap();
    let claim = me.claim("bluesky:bob.test", "json", &[]);
    let signed = kez_core::proof::from_json(claim.as_bytes()).unwrap();
    let password = net.app_password("bob.test", "race").unwrap();
    let racing = |times| {
        let left = std::cell::Cell::new(times);
        place(net, &signed, &password, &|call| {
            if call.url.ends_with("putRecord") && left.get() > 0 {
                left.set(left.get() - 1);
                let theirs = format!("somebody else's text {}", left.get());
                net.set_bluesky("bob.test", Some(&theirs)).unwrap();
            }
            None
        })
    };
    assert_eq!(racing(9).unwrap_err().code(), Code::PlaceChanged);
    assert_eq!(racing(2).unwrap().change, Change::Updated);
    let text = net.bluesky("bob.test").unwrap();
    assert!(text.starts_with("somebody else's text 0\n\nkez:z1:"), "{text}");
    net.set_bluesky("bob.test", None).unwrap();
}

/// What a PDS of one's own does not do: the answers of Bluesky's own servers to a password where
/// the account has a second factor, and to too many.
fn what_only_large_servers_say(net: &Testnet) {
    let (me, _) = publisher(net, "large", "ed25519");
    let claim = me.claim("bluesky:bob.test", "json", &[]);
    let signed = kez_core::proof::from_json(claim.as_bytes()).unwrap();
    let said = |status, body: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let bytes = body.as_bytes().to_vec();
        let body = Body::Http { status, headers, bytes, redirected_to: None };
        let answer = Answer { body, via: Via::Direct, fetched_at: kez_native::now() };
        place(net, &signed, "secret-password", &|call| {
            call.url.ends_with("createSession").then(|| answer.clone())
        })
        .unwrap_err()
    };
    let factor = r#"{"error":"AuthFactorTokenRequired","message":"A sign in code has been sent to your email address"}"#;
    assert_eq!(said(401, factor, &[]).code(), Code::SecondFactor);
    let many = r#"{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}"#;
    let error = said(429, many, &[("ratelimit-reset", "1795290232")]);
    assert_eq!(error.code(), Code::RateLimited);
    assert!(error.context().unwrap().contains("until 2026-11-21T"), "{error:?}");
    // A server that repeats the password does not have us print it.
    let echo = r#"{"error":"InvalidRequest","message":"bad password: secret-password"}"#;
    let error = said(400, echo, &[]);
    assert_eq!(error.code(), Code::PublishRefused);
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    // Nor the half of it where its words are cut.
    let filler = "x".repeat(193);
    let echo = format!(r#"{{"error":"InvalidRequest","message":"{filler}secret-password"}}"#);
    let error = said(400, &echo, &[]);
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

/// Whether a line of strace shows bytes that go to a socket, or come from standard input or one.
fn is_its_way(line: &str) -> bool {
    is_sent(line) || line.starts_with("read(0<")
}

fn is_sent(line: &str) -> bool {
    ["<TCP:", "<socket:", "<TCPv6:"].iter().any(|to| line.contains(to))
}

/// No token, password or key is in an argument, a file, the environment of a child, or an output,
/// whatever is asked of a logger: it comes by stdin, and goes to its platform.
fn secrets_stay_where_they_belong(net: &Testnet) {
    xtask::setup::strace().unwrap();
    let (me, _) = publisher(net, "spied", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    let password = net.app_password("alice.test", &fresh("spied")).unwrap();
    net.set_bluesky("alice.test", None).unwrap();
    let logs = me.home.join("strace");
    let spied = |secret: &str, args: &[&str], ends: i32, sent: bool| {
        let command = me.command(args);
        let mut strace = Command::new("strace");
        fs::create_dir(&logs).unwrap();
        // A file for each thread, so that no call is cut in two.
        strace.args(["-ff", "-yy", "-s", "1000000", "-o"]).arg(logs.join("log"));
        strace.arg("-v").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        // Not NODE_DEBUG, with which Node itself prints whatever is sent.
        strace.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")]);
        let mut child = strace
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{secret}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(ends), "{}", String::from_utf8_lossy(&output.stdout));
        let files =
            fs::read_dir(&logs).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        let trace: Vec<u8> = files.flatten().collect();
        let trace = String::from_utf8_lossy(&trace).into_owned();
        fs::remove_dir_all(&logs).unwrap();
        let with: Vec<&str> = trace.lines().filter(|line| line.contains(secret)).collect();
        assert_eq!(with.iter().any(|line| is_sent(line)), sent, "{args:?}");
        for line in with {
            assert!(is_its_way(line), "{}", line.chars().take(300).collect::<String>());
        }
    };
    spied(&token, &["auth", "add", &subject], 0, true);
    spied(&token, &["publish", "github", &subject, "--token-file", "-"], 0, true);
    spied(&password, &["auth", "add", "bluesky:alice.test"], 0, true);
    spied("wrong-wrong-wrong-wrong", &["auth", "add", "bluesky:alice.test"], 5, true);
    let key = format!("hmac-sha256:kez-test:{TSIG_SECRET}");
    let server = net.name_server();
    // The secret itself goes nowhere, not even to the name server.
    spied(&key, &["auth", "add", "dns:keyed.example", "--server", &server], 0, false);
    // Nor does a signer's: it is encrypted for the signer.
    let signer = leave::signer(net, "a-secret-of-a-test");
    spied(&signer.url, &["auth", "add", &signer.account], 0, false);
}
