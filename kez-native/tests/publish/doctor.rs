//! `kez doctor` and `kez watch`: what is wrong, what ends soon, and what mends itself.

use super::*;

/// The findings of a doctor's run: what about, and which problem.
pub(super) fn findings(run: &Run) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let json = run.json();
    let all = json["findings"].as_array().unwrap_or_else(|| panic!("{}", run.stdout)).clone();
    all.iter().map(|f| (text(&f["about"]), text(&f["problem"]))).collect()
}

pub(super) fn doctor(net: &Testnet) {
    let (me, server) = publisher(net, "ill", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    me.run(&["doctor"]).fails(1, "chain_empty");
    assert_eq!(me.run_with(&token, &["auth", "add", &subject]).code, 0);
    let account = me.key("account", "nostr");
    assert_eq!(me.run(&["publish", "github", &subject, "--key", "me"]).code, 0);
    assert_eq!(me.run(&["publish", "nostr", &account]).code, 0);
    let well = me.run(&["doctor"]);
    assert_eq!((well.code, findings(&well).len()), (0, 1), "{}", well.stdout);
    assert_eq!(findings(&well)[0].1, "next_uncommitted");

    // The proof is overwritten, and the chain goes on without being published.
    let gist = gists(net, &login).remove(0);
    let id = gist["id"].as_str().unwrap();
    ureq::patch(format!("{}/gists/{id}", net.github()))
        .header("authorization", format!("Bearer {token}"))
        .send_json(json!({ "files": { "kez.md": { "content": "nothing" } } }))
        .unwrap();
    me.claim("dns:plain.example", "json", &["--key", "me"]);
    me.ok(&["sigchain", "add", "dns:plain.example"]);
    let ill = me.run(&["doctor"]);
    let found = findings(&ill);
    let has = |about: &str, problem: &str| found.iter().any(|(a, p)| a == about && p == problem);
    assert!(has(&subject, "proof_not_found") && has(&server, "copy_behind"), "{found:?}");
    assert!(has("dns:plain.example", "proof_not_found"));
    assert_eq!(ill.code, 5);

    // What can be mended is; the TXT record is the user's to add.
    let fixed = me.run(&["doctor", "--fix"]);
    let objects: Vec<Value> =
        fixed.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(objects[0]["schema"], "kez.record/1");
    let all = objects[1]["findings"].as_array().unwrap();
    let of = |about: &str| &all.iter().find(|f| f["about"] == about).unwrap()["fixed"];
    assert_eq!((of(&subject), of(&server)), (&json!(true), &json!(true)), "{all:?}");
    assert_eq!(of("dns:plain.example"), &json!(false));
    assert_eq!(fixed.code, 1);
    user(net, "stranger").verify(&subject, &[]).expect(0, "valid", None);
    me.ok(&["sigchain", "revoke", "dns:plain.example"]);
    me.ok(&["publish", "sigserver"]);
    let well = me.run(&["doctor", "--fix"]);
    assert_eq!((well.code, findings(&well).len()), (0, 1), "{}", well.stdout);

    // A renamed account is not something that publishing mends.
    net.gist(&json!({ "op": "rename", "login": login, "to": format!("{login}x") })).unwrap();
    let renamed = me.run(&["doctor", "--fix"]);
    assert_eq!(findings(&renamed)[0], (subject, "identity_not_found".to_owned()));
    assert_eq!(renamed.code, 1);
    // A dead server is told of, and nothing waits for it for ever.
    let config = fs::read_to_string(me.home.join("config.toml")).unwrap();
    let dead = config.replace(&server, "http://127.0.0.1:1");
    fs::write(me.home.join("config.toml"), dead).unwrap();
    let run = me.run(&["doctor"]);
    assert!(findings(&run).contains(&("http://127.0.0.1:1".into(), "publish_refused".into())));
    me.run(&["--offline", "doctor"]).fails(5, "offline");
}

pub(super) fn doctor_renews(net: &Testnet) {
    let (me, _) = publisher(net, "old", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["auth", "add", &subject]).code, 0);
    let run = me.run(&["publish", "github", "--expires", "40d"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(me.run(&["doctor"]).code, 0);
    let soon = me.run(&["doctor", "--within", "50d"]);
    assert_eq!((soon.code, &findings(&soon)[0].1[..]), (0, "expires_soon"));
    // A claim of ten days is one that ends soon already, and its follower lasts as long.
    let (login, token) = account(net, &json!(["gist"]));
    let other = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["auth", "add", &other]).code, 0);
    let short = me.run(&["publish", "github", &other, "--expires", "10d"]);
    assert_eq!(short.code, 0, "{}", short.stderr);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let fixed = me.run(&["doctor", "--fix"]);
    let report = me.verify(&other, &[]).expect(0, "valid", None);
    assert_ne!(report["claim"], short.json()["claim"], "{}", fixed.stdout);
    let text = gists(net, &login)[0]["files"]["kez.md"].as_str().unwrap().to_owned();
    assert_eq!((gists(net, &login).len(), text.matches("kez:z1:").count()), (1, 1));
    let chain = me.ok(&["sigchain", "show"]);
    let claims = chain["claims"].as_array().unwrap();
    let ended = claims.iter().filter(|c| !c["revoked"].is_null()).count();
    assert_eq!((claims.len(), ended), (3, 1), "{chain}");
}

pub(super) fn watch(net: &Testnet) {
    let (me, _) = publisher(net, "watch", "ed25519");
    let (login, token) = account(net, &json!(["gist"]));
    let subject = format!("github:{login}");
    assert_eq!(me.run_with(&token, &["publish", "github", &subject, "--token-file", "-"]).code, 0);
    // Nothing is wrong, and nothing has changed.
    let calm = me.run(&["watch", "--once"]);
    assert_eq!((calm.code, calm.stdout.as_str()), (0, ""), "{}", calm.stderr);
    // A platform that is down for a moment is no news; the second time it is.
    net.gist(&json!({ "op": "down", "status": 503 })).unwrap();
    assert_eq!(me.run(&["watch", "--once"]).code, 0);
    let second = me.run(&["watch", "--once"]);
    assert_eq!((second.code, &findings(&second)[0].1[..]), (5, "http_status"));
    net.gist(&json!({ "op": "down", "status": 0 })).unwrap();
    assert_eq!(me.run(&["watch", "--once"]).code, 0);
    // It runs on, tells a program, and ends with a change where there is none.
    let told = me.home.join("told.json");
    let hook = me.home.join("hook.sh");
    fs::write(&hook, format!("#!/bin/sh\ncat >> {}\n", told.display())).unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let hook = hook.display().to_string();
    let mut child = me
        .command(&["watch", "--every", "1s", "--hook", &hook])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let gist = gists(net, &login).remove(0);
    net.gist(&json!({ "op": "drop", "id": gist["id"] })).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let text = loop {
        let text = fs::read_to_string(&told).unwrap_or_default();
        if text.contains("proof_not_found") || std::time::Instant::now() > end {
            break text;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(text.contains(&subject) && text.contains("proof_not_found"), "{text}");
    assert_eq!(me.run_with(&token, &["publish", "github", &subject, "--token-file", "-"]).code, 0);
    let back = me.run(&["watch", "--every", "1s"]);
    assert_eq!(back.code, 0, "{}", back.stdout);
    net.gist(&json!({ "op": "untoken", "token": token })).unwrap();
    let gist = gists(net, &login).remove(0);
    net.gist(&json!({ "op": "drop", "id": gist["id"] })).unwrap();
    let run = me.run(&["watch", "--once", "--hook", "/no/such/program"]);
    assert!(run.stdout.contains("storage_failed"), "{}", run.stdout);
}
