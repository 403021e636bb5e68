//! What users type: `parse_input`, and `resolve` over the network.

use super::*;

/// The secret key of a test, with upper case and an invisible character inside.
const SECRET: &str = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";

fn account(identity: &str, spelling: Option<&str>) -> Json {
    json!({ "account": identity, "spelling": spelling })
}

fn named(user: &str, host: &str) -> Json {
    json!({ "name": { "user": user, "host": host } })
}

fn nip05(user: &str, host: &str) -> Json {
    json!({ "nip05": { "user": user, "host": host } })
}

fn page(url: &str, host: &str) -> Json {
    json!({ "page": { "url": url, "host": host } })
}

/// An nprofile of a key: its only TLV is of type 0.
fn nprofile(key: &SecretKey) -> Result<String> {
    let bytes = [&[0, 32][..], &key.public().to_bytes()].concat();
    let hrp = bech32::Hrp::parse("nprofile")?;
    Ok(bech32::encode::<bech32::Bech32>(hrp, &bytes)?)
}

pub(super) fn inputs(v: &mut Vectors) -> Result<()> {
    v.group = "input";
    accounts(v)?;
    addresses(v);
    refused(v);
    resolve(v)
}

fn accounts(v: &mut Vectors) -> Result<()> {
    let owner = key(Scheme::Nostr, 1);
    let identity = name(&owner);
    let (npub, nostr) = (identity.value(), identity.as_str());
    let hexed = kez_core::hex::encode(&owner.public().to_bytes());
    let ed = name(&key(Scheme::Ed25519, 1));
    let profile = nprofile(&owner)?;
    let did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    let id = |identity: &str| account(identity, None);
    let rows: Vec<(&str, String, Json)> = vec![
        ("canonical", "github:jason".into(), id("github:jason")),
        ("kez", "KEZ:github:jason".into(), id("github:jason")),
        ("kez-pointer", format!("kez:{nostr}"), id(nostr)),
        ("invisible-ends", "\u{feff}\u{200e} github:jason \u{2069}".into(), id("github:jason")),
        ("white-space", "\tgithub:jason\r\n".into(), id("github:jason")),
        ("scheme-case", "GitHub:Jason".into(), id("github:jason")),
        ("github-at", "github:@Jason/".into(), id("github:jason")),
        ("github-nsec1", "github:nsec1".into(), id("github:nsec1")),
        ("at-word", "@Jason".into(), id("github:jason")),
        ("at-domain", "@alice.bsky.social".into(), id("bluesky:alice.bsky.social")),
        ("bluesky-at", "bluesky:@Alice.Bsky.Social.".into(), id("bluesky:alice.bsky.social")),
        ("at-uri", "AT://Alice.Example.com/app.bsky.feed.post/1".into(), id("bluesky:alice.example.com")),
        ("at-uri-did", format!("at://{did}/x"), id(&format!("bluesky:{did}"))),
        ("did", did.to_uppercase().replacen("DID:PLC", "did:plc", 1), id(&format!("bluesky:{did}"))),
        ("did-upper", format!("DID:{}", &did[4..]), id(&format!("bluesky:{did}"))),
        ("did-web", "did:web:Example.com".into(), id("bluesky:did:web:example.com")),
        ("npub", npub.into(), id(nostr)),
        ("npub-upper", npub.to_uppercase(), id(nostr)),
        ("nostr-hex", format!("nostr:{}", hexed.to_uppercase()), id(nostr)),
        ("nprofile", profile.clone(), id(nostr)),
        ("nostr-nprofile", format!("nostr:{}", profile.to_uppercase()), id(nostr)),
        ("ed25519", format!("ED25519:{}", ed.value().to_uppercase()), id(ed.as_str())),
        ("ap", "ap:@Jason@Social.Example".into(), account("ap:jason@social.example", Some("Jason"))),
        ("acct", "acct:jason@social.example".into(), id("ap:jason@social.example")),
        ("mastodon", "mastodon:Jason@social.example".into(), account("ap:jason@social.example", Some("Jason"))),
        ("nip05", "nostr:alice@Example.com".into(), nip05("alice", "example.com")),
        ("nip05-at", "nostr:@alice@example.com".into(), nip05("alice", "example.com")),
        ("name", "Alice@Mastodon.Example".into(), named("Alice", "mastodon.example")),
        ("name-at", "@Alice@mastodon.example".into(), named("Alice", "mastodon.example")),
        ("name-idn", "a@Bücher.example".into(), named("a", "xn--bcher-kva.example")),
        ("dns", "Example.COM.".into(), id("dns:example.com")),
        ("dns-idn", "Bücher.Example.".into(), id("dns:xn--bcher-kva.example")),
        ("dns-sharp-s", "straße.example".into(), id("dns:xn--strae-oqa.example")),
        ("dns-emoji", "☃.example".into(), id("dns:xn--n3h.example")),
        ("dns-soft-hyphen", "so\u{ad}ft.example".into(), id("dns:soft.example")),
        ("dns-wide", "ｅｘａｍｐｌｅ.com".into(), id("dns:example.com")),
        ("dns-hyphens", "r3---sn.example".into(), id("dns:r3---sn.example")),
        ("scheme-url", "github:https://github.com/jason".into(), id("github:jason")),
    ];
    for (name, text, output) in rows {
        v.yields(name, &["ID-06", "ID-12"], "parse-input", text, output, "");
    }
    Ok(())
}

fn addresses(v: &mut Vectors) {
    let nostr = name(&key(Scheme::Nostr, 1));
    let npub = nostr.value();
    let id = |identity: &str| account(identity, None);
    let rows: Vec<(&str, String, Json)> = vec![
        ("url-host", "https://Example.COM:443/#about".into(), id("dns:example.com")),
        ("url-host-bare", "example.com/".into(), id("dns:example.com")),
        ("url-host-http", "HTTP://example.com:80".into(), id("dns:example.com")),
        ("url-pages", "https://user.github.io".into(), id("dns:user.github.io")),
        ("url-github", "https://github.com/Jason/".into(), id("github:jason")),
        ("url-github-www", "https://www.github.com/jason/kez/issues?q=1".into(), id("github:jason")),
        ("url-github-bare", "github.com/jason".into(), id("github:jason")),
        ("url-github-slashes", "https://github.com//jason//".into(), id("github:jason")),
        ("url-gist", "https://gist.github.com/jason/c0ffee00".into(), id("github:jason")),
        ("url-bsky", "https://bsky.app/profile/alice.bsky.social/post/1".into(), id("bluesky:alice.bsky.social")),
        ("url-bsky-did", "https://bsky.app/profile/did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz".into(), id("bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz")),
        ("url-njump", format!("https://njump.me/{npub}"), id(nostr.as_str())),
        ("url-primal", format!("https://primal.net/p/{npub}"), id(nostr.as_str())),
        ("url-snort", format!("snort.social/{npub}"), id(nostr.as_str())),
        ("url-coracle", format!("https://coracle.social/people/{npub}"), id(nostr.as_str())),
        ("url-nostrudel", format!("https://nostrudel.ninja/u/{npub}"), id(nostr.as_str())),
        ("url-jumble", format!("https://jumble.social/users/{npub}"), id(nostr.as_str())),
        ("url-ap", "https://social.example/@jason".into(), id("ap:jason@social.example")),
        ("url-ap-escaped", "https://social.example/%40jason/1".into(), id("ap:jason@social.example")),
        ("url-ap-remote", "https://mastodon.example/@bob@other.example".into(), id("ap:bob@other.example")),
        ("url-ap-users", "https://social.example/users/jason".into(), id("ap:jason@social.example")),
        ("url-ap-status", "https://social.example/users/jason/statuses/1".into(), id("ap:jason@social.example")),
        ("url-ap-web", "https://social.example/web/@jason".into(), id("ap:jason@social.example")),
        ("url-ap-no", "https://social.example/users/jason/outbox".into(), page("https://social.example/users/jason/outbox", "social.example")),
        ("url-not-ap", "https://www.youtube.com/@jason".into(), page("https://www.youtube.com/@jason", "www.youtube.com")),
        ("page", "https://example.org/blog/".into(), page("https://example.org/blog/", "example.org")),
        ("page-bare", "example.org/blog#x".into(), page("https://example.org/blog", "example.org")),
        ("page-query", "https://example.com/?id=a".into(), page("https://example.com/?id=a", "example.com")),
        ("page-host", "https://Bücher.example/a".into(), page("https://xn--bcher-kva.example/a", "xn--bcher-kva.example")),
        ("page-project", "https://a.github.io/b".into(), page("https://a.github.io/b", "a.github.io")),
    ];
    for (name, text, output) in rows {
        v.yields(name, &["ID-12", "ID-13"], "parse-input", text, output, "");
    }
    for name in ["about", "Sponsors", "orgs", "settings", "why-github", "login"] {
        let url = format!("https://github.com/{name}/a");
        v.yields(&format!("reserved-{}", name.to_lowercase()), &["ID-12", "ID-13"], "parse-input",
            url.as_str(), page(&url, "github.com"), "a reserved first segment");
    }
    let url = "https://gist.github.com/c0ffee";
    v.yields("gist-id", &["ID-12", "ID-13"], "parse-input", url, page(url, "gist.github.com"), "the id of a gist");
}

fn refused(v: &mut Vectors) {
    let wide = format!("a.{}", "b".repeat(2048));
    let hidden = format!("{}\u{200b}{}", &SECRET[..20], &SECRET[20..]);
    let upper = format!("my key is {} ok?", SECRET.to_uppercase());
    let in_url = format!("https://example.com/?k={SECRET}");
    let hex = "a".repeat(64);
    let rows: &[(&str, &[&str], &str, &str, &str)] = &[
        ("secret", &["ID-05", "ID-11"], SECRET, "secret_refused", "a secret key"),
        ("secret-upper", &["ID-05"], &upper, "secret_refused", "in upper case, in a sentence"),
        ("secret-hidden", &["ID-05"], &hidden, "secret_refused", "with an invisible character inside"),
        ("secret-url", &["ID-05"], &in_url, "secret_refused", "in a URL"),
        ("long", &["ID-12"], &wide, "identity_refused", "more than 2,048 bytes"),
        ("space-inside", &["ID-12"], "github: jason", "identity_refused", "white space inside"),
        ("control", &["ID-12"], "github:ja\u{7}son", "identity_refused", "a control character"),
        ("word", &["ID-07"], "jason", "identity_refused", "a bare word"),
        ("hex", &["ID-07"], &hex, "identity_refused", "bare hex digits"),
        ("empty", &["ID-12"], "", "identity_refused", "nothing"),
        ("unknown-scheme", &["ID-12"], "gitlab:jason", "scheme_unknown", "a scheme that is not one of the six"),
        ("scheme-url-other", &["ID-12"], "github:https://bsky.app/profile/alice.example", "identity_refused", "a URL of another scheme"),
        ("scheme-url-page", &["ID-12"], "dns:https://example.com/a", "identity_refused", "a page is no account"),
        ("npub-bad", &["ID-12"], "npub1aaaa", "key_refused", "an npub that does not decode"),
        ("ed25519-short", &["ID-12"], "ed25519:abcd", "key_refused", "a short key"),
        ("name-user", &["ID-12"], "a!b@example.com", "identity_refused", "a character that is not in a name"),
        ("name-host", &["ID-12"], "a@localhost", "identity_refused", "a host of one label"),
        ("credentials", &["ID-12"], "https://github.com@a.example/", "identity_refused", "@ in the authority"),
        ("backslash", &["ID-12"], "https://a.example\\@b.example/", "identity_refused", "a backslash"),
        ("port", &["ID-12"], "https://example.com:8443/", "identity_refused", "a port"),
        ("dot-segments", &["ID-12"], "https://github.com/a/../b", "identity_refused", "a segment .."),
        ("dot-escaped", &["ID-12"], "https://github.com/a/%2e%2E/b", "identity_refused", "escaped"),
        ("address", &["ID-12"], "https://192.0.2.1/@a", "identity_refused", "an IP address"),
        ("address-6", &["ID-12"], "https://[2001:db8::1]/", "identity_refused", "an IPv6 address"),
        ("page-app", &["ID-13"], "https://example.com/#/@a", "identity_refused", "a page of an app, which no server sees"),
        ("one-label", &["ID-12"], "https://localhost/@a", "identity_refused", "one label"),
        ("host-value", &["ID-12"], "https://github.com/a--_/x", "identity_refused", "a row names the host, and the channel refuses the value"),
        ("std3", &["ID-06"], "a_b.example", "identity_refused", "UseSTD3ASCIIRules"),
        ("joiner", &["ID-06"], "a\u{200d}b.example", "identity_refused", "CheckJoiners"),
        ("bidi", &["ID-06"], "\u{5d0}a.example", "identity_refused", "CheckBidi"),
        ("a-label", &["ID-06"], "xn--example-.org", "identity_refused", "no label decodes to this"),
        ("label-long", &["ID-06"], &format!("{}.example", "a".repeat(64)), "identity_refused", "VerifyDnsLength"),
    ];
    for (name, rules, text, expect, comment) in rows {
        v.add(&format!("bad-{name}"), rules, "parse-input", *text, expect, comment);
    }
}

/// Names and pages over the network.
fn resolve(v: &mut Vectors) -> Result<()> {
    v.group = "resolve";
    let owner = key(Scheme::Nostr, 1);
    let nostr = name(&owner);
    let hexed = kez_core::hex::encode(&owner.public().to_bytes());
    let finger = "https://a.example/.well-known/webfinger?resource=acct:alice@a.example";
    let names = "https://a.example/.well-known/nostr.json?name=alice";
    let page = "https://a.example/blog/alice";
    let page_finger = "https://a.example/.well-known/webfinger?resource=https://a.example/blog/alice";
    let actor = "https://a.example/users/alice";
    let far = "https://b.example/users/alice";
    let http = |status: u16, body: &str| json!({ "status": status, "body": body });
    let value = |value: Json| json!({ "status": 200, "headers": { "content-type": "application/json" }, "json": value });
    let acts = |value: Json| json!({ "status": 200, "headers": { "content-type": "application/activity+json" }, "json": value });
    let jrd = |href: &str| value(json!({ "subject": "acct:alice@a.example",
        "links": [{ "rel": "self", "type": "application/activity+json", "href": href }] }));
    let person = |id: &str, url: &str| acts(json!({ "id": id, "url": url, "preferredUsername": "Alice" }));
    let key_of = || value(json!({ "names": { "alice": hexed } }));
    let link = |href: &str| http(200, &format!("<html><head><link rel=\"alternate\" type=\"application/activity+json\" href=\"{href}\"></head><body>x"));
    let late = http(200, &format!("<html><body><link rel=\"alternate\" type=\"application/activity+json\" href=\"{actor}\">"));
    let absent = http(404, "");
    let none = ["host-meta", "host-meta.json"].map(|name| format!("https://a.example/.well-known/{name}"));
    let found = |identity: &str, protocol: Option<&str>| json!({ "identity": identity, "protocol": protocol });
    let ap = || Ok(found("ap:alice@a.example", Some("WebFinger")));
    let key = || Ok(found(nostr.as_str(), Some("NIP-05")));
    let paged = || Ok(found("ap:alice@a.example", None));
    type Row<'a> = (&'a str, &'a str, Vec<(&'a str, Json)>, std::result::Result<Json, &'a str>, &'a str);
    let rows: Vec<Row<'_>> = vec![
        ("name-webfinger", "alice@a.example", vec![(finger, jrd(actor)), (names, key_of())], ap(), "WebFinger comes first"),
        ("name-nip05", "@alice@a.example", vec![(finger, absent.clone()), (names, key_of())], key(), "WebFinger has no such name"),
        ("name-nip05-no-host", "alice@a.example", vec![(finger, json!({ "fails": "host_unknown" })), (names, key_of())], key(), "an absence"),
        ("name-nip05-fails", "alice@a.example", vec![(finger, http(500, "")), (names, key_of())], key(), "NIP-05 gives a key though WebFinger fails"),
        ("name-none", "alice@a.example", vec![(finger, absent.clone()), (names, absent.clone())], Err("identity_not_found"), "both are absent"),
        ("name-none-member", "alice@a.example", vec![(finger, absent.clone()), (names, value(json!({ "names": {} })))], Err("identity_not_found"), "no such member"),
        ("name-webfinger-500", "alice@a.example", vec![(finger, http(500, "")), (names, absent.clone())], Err("http_status"), "WebFinger fails"),
        ("name-nip05-500", "alice@a.example", vec![(finger, absent.clone()), (names, http(503, ""))], Err("http_status"), "NIP-05 fails"),
        ("name-webfinger-page", "alice@a.example", vec![(finger, http(200, "<html>")), (names, absent.clone())], Err("response_refused"), "not JSON"),
        ("name-nip05-page", "alice@a.example", vec![(finger, absent.clone()), (names, http(200, "<html>"))], Err("identity_not_found"), "a page: no such names"),
        ("name-nip05-bad", "alice@a.example", vec![(finger, absent.clone()), (names, value(json!({ "names": { "alice": "npub1" } })))],
            Err("response_refused"), "not 64 hex digits of a key"),
        ("nip05", "nostr:alice@a.example", vec![(finger, jrd(actor)), (names, key_of())], key(), "only NIP-05"),
        ("nip05-none", "nostr:alice@a.example", vec![(names, http(410, ""))], Err("identity_not_found"), "410"),
        ("nip05-redirect", "nostr:alice@a.example", vec![(names, json!({ "fails": "redirect_refused" }))], Err("redirect_refused"), "a redirect"),
        ("page-webfinger", page, vec![(page_finger, jrd(actor)), (actor, person(actor, page))], Ok(found("ap:alice@a.example", None)), "by WebFinger"),
        ("page-link", page, vec![(page_finger, absent.clone()), (page, link(actor)), (actor, person(actor, page))], paged(), "by its link"),
        ("page-link-prefix", page, vec![(page_finger, absent.clone()), (page, link(far)), (far, person(far, "https://a.example/blog"))],
            Err("identity_refused"), "the actor's url is at another host"),
        ("page-link-other", page, vec![(page_finger, absent.clone()), (page, link(far)), (far, person(far, "https://b.example/@alice"))],
            Err("identity_refused"), "the actor names another page"),
        ("page-webfinger-host", page, vec![(page_finger, jrd(far)), (far, person(far, page))], paged(), "the name in the answer is enough"),
        ("page-link-body", page, vec![(page_finger, absent.clone()), (page, late)], Err("identity_refused"), "a link in the body does not count"),
        ("page-none", page, vec![(page_finger, absent.clone()), (page, http(200, "<html><head></head>"))], Err("identity_refused"), "no actor"),
        ("page-id", page, vec![(page_finger, jrd(actor)), (actor, person(far, page))], paged(), "the actor is not asked then"),
    ];
    for (name, typed, answers, outcome, comment) in rows {
        let mut input = json!({ "typed": typed, "answers": {} });
        for (place, answer) in answers.into_iter().chain(none.iter().map(|url| (url.as_str(), absent.clone()))) {
            input["answers"][place] = answer;
        }
        let rules = ["ID-14", "ID-15", "ID-16"];
        let rules = if name.starts_with("page") { &rules[..1] } else { &rules[..2] };
        match outcome {
            Ok(output) => v.yields(name, rules, "resolve", input, output, comment),
            Err(code) => v.add(name, rules, "resolve", input, code, comment),
        }
    }
    Ok(())
}
