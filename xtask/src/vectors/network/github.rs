//! What each answer of GitHub means.

use super::*;

const SUBJECT: &str = "github:jason";
const LIST: &str = "https://api.github.com/users/jason/gists?per_page=100";
const USER: &str = "https://api.github.com/users/jason";
const GIST: &str = "https://api.github.com/gists/aa01";
const RAW: &str = "https://gist.githubusercontent.com/jason/aa01/raw/kez.md";

fn owner_json(login: &str) -> Json {
    json!({ "login": login, "id": 12345 })
}

/// A listed gist with a file of that name.
fn listed(file: &str) -> Json {
    json!({ "id": "aa01", "public": true, "owner": owner_json("Jason"), "files": { file: { "filename": file } } })
}

/// A gist with a file.
fn gist(file: &str, content: Json) -> Json {
    json!({ "id": "aa01", "public": true, "owner": owner_json("jason"), "fork_of": null, "files": { file: content } })
}

fn with(mut value: Json, member: &str, other: Json) -> Json {
    value[member] = other;
    value
}

pub(super) fn github(v: &mut Vectors) -> Result<()> {
    v.group = "github";
    let text = proof_of(SUBJECT)?;
    let whole = |file: &str| gist(file, json!({ "content": text, "truncated": false }));
    let cut = |raw: &str| gist("kez.md", json!({ "content": "kez", "truncated": true, "raw_url": raw }));
    let net = || Net::about(SUBJECT);
    let list = |gists: Json| net().json(LIST, 200, gists);
    let one = || list(json!([listed("kez.md")]));
    let good = || one().json(GIST, 200, whole("kez.md"));
    let next = |net: Net, url: &str| net.header(LIST, "link", &format!("<{url}>; rel=\"next\""));
    let valid = "valid+history_unchecked+account_unpinned";
    let second = "https://api.github.com/user/12345/gists?per_page=100&page=2";
    let hint = |url: &str| list(json!([])).set("hints", json!([url])).json(USER, 200, owner_json("jason"));
    let page_of = |n: usize| format!("https://api.github.com/user/12345/gists?per_page=100&page={n}");
    let mut pages = next(list(json!([listed("notes.md")])), &page_of(2));
    for n in 2..=5 {
        pages = pages.json(&page_of(n), 200, json!([listed("notes.md")]));
        pages = pages.header(&page_of(n), "link", &format!("<{}>; rel=\"next\"", page_of(n + 1)));
    }
    let mut limited = net().json(LIST, 403, json!({ "message": "no" }));
    limited = limited.header(LIST, "x-ratelimit-remaining", "0").header(LIST, "x-ratelimit-reset", "1795263000");
    for code in ["tls_failed", "redirect_refused", "address_refused", "body_too_large", "host_unknown", "connect_failed", "dns_failed"] {
        let name = format!("fails-{}", code.replace('_', "-"));
        v.outcome(&name, &["CNL-03"], "channel", net().fail(LIST, code).0, code, "a transport failure");
    }
    let gh: &[&str] = &["GH-01"];
    emit(v, "channel", vec![
        ("proof", gh, good(), valid, "a proof in a gist"),
        ("owner-case", &["GH-02"], one().json(GIST, 200, with(whole("kez.md"), "owner", owner_json("JASON"))), valid, "logins without regard to case"),
        ("no-account", &["CNL-06", "GH-01"], net().json(LIST, 404, json!({ "message": "Not Found" })), "identity_not_found", "404"),
        ("gone", &["CNL-06"], net().status(LIST, 410), "identity_not_found", "410"),
        ("list-owner", &["GH-02"], list(json!([with(listed("kez.md"), "owner", owner_json("mallory"))])), "wrong_owner", "an owner with another login"),
        ("list-500", &["CNL-03"], net().status(LIST, 500), "http_status", "a failure"),
        ("list-401", &["CNL-03"], net().status(LIST, 401), "auth_required", "a failure"),
        ("list-timeout", &["CNL-03"], net().fail(LIST, "timeout"), "timeout", "a failure"),
        ("list-page", &["CNL-03"], net().page(LIST, 200, "Home"), "response_refused", "a web page"),
        ("list-challenge", &["CNL-03"], net().page(LIST, 403, "Just a moment...").header(LIST, "cf-mitigated", "challenge"), "challenge", "a bot check"),
        ("rate-limited", &["GH-04"], limited, "rate_limited", "403 with nothing left"),
        ("rate-limited-later", &["GH-04"], net().json(LIST, 429, json!({})).header(LIST, "retry-after", "60"), "rate_limited", "429 with a time"),
        ("rate-limited-secondary", &["GH-04"], net().json(LIST, 403, json!({ "message": "You have exceeded a secondary rate limit." })),
            "rate_limited", "a secondary limit"),
        ("forbidden", &["CNL-03"], net().json(LIST, 403, json!({ "message": "no" })), "http_status", "403 without a limit"),
        ("no-gists", gh, list(json!([])).json(USER, 200, owner_json("jason")), "proof_not_found", "no gist: the account itself is asked"),
        ("no-gists-no-account", &["CNL-06"], list(json!([])).status(USER, 404), "identity_not_found", "and does not exist"),
        ("file-json", gh, list(json!([listed("kez.json")])).json(GIST, 200, whole("kez.json")), valid, "kez.json"),
        ("file-txt", gh, list(json!([listed("kez.txt")])).json(GIST, 200, whole("kez.txt")), valid, "kez.txt"),
        ("file-upper", &["GH-05"], list(json!([listed("KEZ.MD")])).json(GIST, 200, whole("KEZ.MD")), valid, "in any letter case"),
        ("file-other", gh, list(json!([listed("notes.md")])), "proof_not_found", "another file"),
        ("broken-compact", &["VER-05", "CNL-09"], one().json(GIST, 200, gist("kez.md", json!({ "content": format!("{}\n{}", &text[..100], &text[100..]) }))),
            "proof_malformed", "a compact form that is wrapped"),
        ("broken-pointer", &["VER-05"], one().json(GIST, 200, gist("kez.md", json!({ "content": "kez:nostr:npub1qqqq" }))), "proof_malformed",
            "a pointer that is cut"),
        ("broken-json", &["VER-05"], one().json(GIST, 200, gist("kez.json", json!({ "content": "{\"kez\":1,\"payload\":{}" }))), "proof_malformed",
            "JSON that is cut"),
        ("file-near", &["CNL-09"], list(json!([listed("kez.md.txt")])), "proof_malformed", "a similar name"),
        ("file-near-markdown", &["CNL-09"], list(json!([listed("kez.markdown")])), "proof_malformed", "a similar name"),
        ("file-near-bare", &["CNL-09"], list(json!([listed("KEZ")])), "proof_malformed", "a similar name"),
        ("list-truncated", &["CNL-05"], list(json!([with(listed("a"), "truncated", true.into())])), "search_incomplete", "not all files are listed"),
        ("gist-deleted", gh, one().status(GIST, 404), "proof_not_found", "deleted since"),
        ("gist-owner", &["GH-02"], one().json(GIST, 200, with(whole("kez.md"), "owner", owner_json("mallory"))), "wrong_owner", "an owner with another login"),
        ("gist-forked", &["GH-03"], one().json(GIST, 200, with(whole("kez.md"), "fork_of", json!({ "id": "bb" }))), "gist_forked", "a fork"),
        ("gist-500", &["CNL-03"], one().status(GIST, 500), "http_status", "a failure"),
        ("gist-timeout", &["CNL-03"], one().fail(GIST, "timeout"), "timeout", "a failure"),
        ("gist-no-content", gh, one().json(GIST, 200, gist("kez.md", json!({}))), "proof_not_found", "a file without content"),
        ("raw", &["GH-06"], one().json(GIST, 200, cut(RAW)).http(RAW, 200, &text), valid, "a truncated file"),
        ("raw-elsewhere", &["GH-06"], one().json(GIST, 200, cut("https://evil.example/kez.md")), "response_refused", "at another host"),
        ("raw-404", &["GH-06"], one().json(GIST, 200, cut(RAW)).status(RAW, 404), "proof_not_found", "deleted since"),
        ("raw-500", &["GH-06"], one().json(GIST, 200, cut(RAW)).status(RAW, 500), "http_status", "a failure"),
        ("next", gh, next(list(json!([listed("notes.md")])), second).json(second, 200, json!([listed("kez.md")])).json(GIST, 200, whole("kez.md")),
            valid, "the next page"),
        ("next-elsewhere", &["GH-01"], next(list(json!([listed("notes.md")])), "https://evil.example/gists"), "response_refused", "at another host"),
        ("next-fails", &["CNL-04"], next(good(), second).status(second, 500), valid, "found texts stand"),
        ("next-fails-alone", &["CNL-03"], next(list(json!([listed("notes.md")])), second).status(second, 500), "http_status", "nothing was found"),
        ("next-too-many", &["CNL-05"], pages, "search_incomplete", "more than five pages"),
        ("hint", &["CNL-07", "CNL-08"], hint("https://gist.github.com/jason/aa01").json(GIST, 200, whole("kez.md")), valid, "a hinted gist"),
        ("hint-api", &["CNL-07"], hint(GIST).json(GIST, 200, whole("kez.md")), valid, "by its URL at the API"),
        ("hint-owner", &["CNL-08"], hint("https://gist.github.com/aa01").json(GIST, 200, with(whole("kez.md"), "owner", owner_json("mallory"))),
            "proof_not_found", "a hinted gist of another owner"),
        ("hint-secret", &["CNL-08"], hint("https://gist.github.com/aa01").json(GIST, 200, with(whole("kez.md"), "public", false.into())),
            "proof_not_found", "a hinted gist that is not public"),
        ("hint-404", &["CNL-08"], hint("https://gist.github.com/aa01").status(GIST, 404), "proof_not_found", "deleted since"),
        ("hint-500", &["CNL-08"], hint("https://gist.github.com/aa01").status(GIST, 500), "http_status", "a failure"),
        ("hint-elsewhere", &["CNL-08"], hint("https://evil.example/aa01"), "proof_not_found", "no gist"),
    ]);
    Ok(())
}
