//! The input table of SPEC.md, row by row, and hostile inputs.

use super::Input;
use crate::{Code, Identity, Scheme, channel};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use proptest::prelude::*;

const NPUB: &str = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d";
const HEX: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn account(input: &str) -> String {
    match Input::parse(input) {
        Ok(Input::Account { identity, .. }) => identity.as_str().into(),
        other => format!("{other:?}"),
    }
}

fn refusal(input: &str) -> Code {
    match Input::parse(input) {
        Err(error) => error.code(),
        Ok(read) => panic!("{input}: {read:?}"),
    }
}

fn page(input: &str) -> String {
    match Input::parse(input) {
        Ok(Input::Page { url, .. }) => url,
        other => panic!("{input}: {other:?}"),
    }
}

#[test]
fn accounts() {
    let npub = &format!("nostr:{NPUB}")[..];
    for (input, identity) in [
        // Schemes, their aliases, and kez:.
        ("github:Jason", "github:jason"),
        ("GitHub:@jason/", "github:jason"),
        ("github:nsec1", "github:nsec1"),
        ("github:sponsors", "github:sponsors"),
        ("github:jay--son", "github:jay--son"),
        ("github:jason-", "github:jason-"),
        ("github:-jason", "github:-jason"),
        ("github:octo_corp", "github:octo_corp"),
        ("kez:github:jason", "github:jason"),
        ("mastodon:Jason@social.example", "ap:jason@social.example"),
        ("acct:jason@social.example", "ap:jason@social.example"),
        ("ap:@jason@social.example", "ap:jason@social.example"),
        ("did:plc:ewvi7nxzyoun6zhxrhs64oiz", "bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
        ("at://alice.example/app.bsky.feed.post/3k", "bluesky:alice.example"),
        ("  \u{200e}github:jason\u{200b}\n", "github:jason"),
        // Bare texts.
        ("@jason", "github:jason"),
        ("@alice.example", "bluesky:alice.example"),
        ("example.com", "dns:example.com"),
        ("Example.COM.", "dns:example.com"),
        (NPUB, npub),
        ("nostr:79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", npub),
        // Addresses.
        ("https://github.com/Jason", "github:jason"),
        ("github.com/jason", "github:jason"),
        ("HTTP://WWW.GITHUB.COM/jason?tab=repositories#x", "github:jason"),
        ("https://github.com/jason/project/issues/1", "github:jason"),
        ("https://gist.github.com/jason/c0ffee00c0ffee00c0ff", "github:jason"),
        ("github:https://github.com/jason", "github:jason"),
        ("github:github.com/jason", "github:jason"),
        ("dns:example.com/", "dns:example.com"),
        ("ap:social.example/@jason", "ap:jason@social.example"),
        ("https://user.github.io", "dns:user.github.io"),
        ("https://user.github.io/", "dns:user.github.io"),
        ("https://github.com/", "dns:github.com"),
        ("https://example.com:443/", "dns:example.com"),
        ("https://example.com/#about", "dns:example.com"),
        ("example.com/", "dns:example.com"),
        ("https://bsky.app/profile/alice.example/post/1", "bluesky:alice.example"),
        (
            "https://bsky.app/profile/did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz",
            "bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz",
        ),
        ("https://social.example/@jason", "ap:jason@social.example"),
        ("https://social.example/%40jason", "ap:jason@social.example"),
        ("social.example/@jason/1234", "ap:jason@social.example"),
        ("https://seen.example/@jason@social.example", "ap:jason@social.example"),
        ("https://social.example/users/jason", "ap:jason@social.example"),
        ("https://social.example/users/jason/statuses/1", "ap:jason@social.example"),
        ("https://social.example/web/@jason", "ap:jason@social.example"),
        ("https://bücher.example/@jason", "ap:jason@xn--bcher-kva.example"),
    ] {
        assert_eq!(account(input), identity, "{input}");
    }
    for host in ["njump.me/", "primal.net/p/", "snort.social/p/", "coracle.social/people/"] {
        assert_eq!(account(&format!("https://{host}{NPUB}")), npub, "{host}");
    }
}

#[test]
fn names() {
    let name = |user: &str, host: &str| Ok(Input::Name { user: user.into(), host: host.into() });
    for input in ["Alice@Example.ORG", "@Alice@example.org", "kez:@Alice@example.org."] {
        assert_eq!(Input::parse(input), name("Alice", "example.org"), "{input}");
        assert_eq!(Identity::parse(input).unwrap().as_str(), "ap:alice@example.org");
    }
    assert_eq!(Input::parse("_@bücher.example"), name("_", "xn--bcher-kva.example"));
    let nip05 = Ok(Input::Nip05 { user: "alice".into(), host: "example.org".into() });
    assert_eq!(Input::parse("nostr:Alice@Example.org"), nip05);
    assert_eq!(Input::parse("nostr:@alice@example.org"), nip05);
    let error = Identity::parse("nostr:alice@example.org").unwrap_err();
    assert_eq!(error.code(), Code::IdentityRefused);
    assert!(error.context().unwrap().contains("nostr:npub1"), "{error}");
}

#[test]
fn pages_are_never_their_domain() {
    for (input, url) in [
        ("https://lemmy.example/u/alice", "https://lemmy.example/u/alice"),
        ("lemmy.example/u/Alice#x", "https://lemmy.example/u/Alice"),
        ("http://news.example/user?id=alice", "https://news.example/user?id=alice"),
        ("https://news.example?id=alice", "https://news.example/?id=alice"),
        ("https://app.example/x#/@alice", "https://app.example/x"),
        ("https://user.github.io/project", "https://user.github.io/project"),
        ("https://github.com/sponsors/jason", "https://github.com/sponsors/jason"),
        ("https://github.com/ORGS/rust-lang/people", "https://github.com/ORGS/rust-lang/people"),
        ("https://github.com/%6Frgs/rust-lang", "https://github.com/%6Frgs/rust-lang"),
        (
            "https://gist.github.com/c0ffee00c0ffee00c0ff",
            "https://gist.github.com/c0ffee00c0ffee00c0ff",
        ),
        ("https://bsky.app/search", "https://bsky.app/search"),
        ("https://njump.me/nevent1qqq", "https://njump.me/nevent1qqq"),
        ("https://medium.com/@jason", "https://medium.com/@jason"),
        (
            "https://deer.example/profile/alice.example",
            "https://deer.example/profile/alice.example",
        ),
        ("https://example.com/\u{fc}ber?\"", "https://example.com/%C3%BCber?%22"),
        ("https://social.example/@jas%2Fon", "https://social.example/@jas%2Fon"),
    ] {
        assert_eq!(page(input), url, "{input}");
    }
    for (input, word) in [
        ("https://lemmy.example/u/alice", "ap:name@lemmy.example"),
        ("https://lemmy.example/u/alice", "dns:lemmy.example"),
        ("https://github.com/orgs/x", "github:name"),
    ] {
        let error = Identity::parse(input).unwrap_err();
        assert_eq!(error.code(), Code::IdentityRefused, "{input}");
        assert!(error.context().unwrap().contains(word), "{error}");
    }
}

#[test]
fn refused() {
    for input in [
        "",
        "@",
        "jason",
        "localhost",
        HEX,
        "alice @example.org",
        "alice@",
        "a@b@c.example",
        "al!ce@example.org",
        "alice@localhost",
        "github:",
        "github:---",
        "github:a b",
        "github:a/b",
        "github:example.com/jason",
        "dns:example.com/path",
        "bluesky:alice.example/post",
        "github:https://example.com",
        "dns:https://example.com/path",
        "dns:192.0.2.1",
        "0x7f.1",
        "dns:example.com:8080",
        "example.com:8080",
        "https://example.com:8080/@jason",
        "https://github.com@evil.example/jason",
        "https://github.com:x@evil.example/jason",
        "https://github.com\\@evil.example/jason",
        "https://github.com/../jason",
        "https://github.com/%2e%2e/jason",
        "https://192.0.2.1/@jason",
        "https://[::1]/@jason",
        "https:///github.com/jason",
        "https://github.com/some.file",
        "https://example.com%2f@evil.example/",
        "//github.com/jason",
        "https://app.example/#/@alice",
        "https://app.example/#!/alice",
        "a\u{0}b.example",
        "a_b.example",
        "-a.example",
        "a..example",
        "example.\u{ff11}\u{ff12}",
        "\u{5d0}1\u{661}.example",
        "a\u{200d}b.example",
        "xn--example-.org",
        "a\u{202e}moc.elpmaxe",
        "https://m\u{ad}",
    ] {
        assert_eq!(refusal(input), Code::IdentityRefused, "{input:?}");
    }
    for input in ["gitlab:jason", "javascript:alert(1)", "file:///etc/passwd", "kez:kez:github:a"] {
        assert_eq!(refusal(input), Code::SchemeUnknown, "{input}");
    }
    assert_eq!(refusal(&format!("nostr:{}", &NPUB[..50])), Code::KeyRefused);
    assert_eq!(refusal("nostr:alice"), Code::KeyRefused);
    // Long and repetitive inputs end soon, and without a deep stack.
    assert_eq!(refusal(&"kez:".repeat(1 << 18)), Code::IdentityRefused);
    assert_eq!(refusal(&"a.".repeat(1 << 18)), Code::IdentityRefused);
    assert_eq!(refusal(&"nsec1".repeat(1 << 16)), Code::IdentityRefused);
}

#[test]
fn secrets_are_never_repeated() {
    let key = "qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0jqscx0ml";
    let secret = format!("nsec1{key}");
    for input in [
        secret.clone(),
        secret.to_uppercase(),
        format!("github:{secret}"),
        format!("https://example.com/?key={secret}"),
        format!("nostr:{secret}@example.org"),
        format!("x y {secret} z"),
        format!("nsec1{}\u{200b}{}", &key[..10], &key[10..]),
        format!("nsec1{}", &key[..20]),
    ] {
        let error = Input::parse(&input).unwrap_err();
        assert_eq!(error.code(), Code::SecretRefused, "{input}");
        assert!(!format!("{error} {error:?}").contains("qqqsyq"));
    }
    assert_eq!(
        account(&format!("github:nsec1{}", &key[..19])),
        format!("github:nsec1{}", &key[..19])
    );
}

#[test]
fn internationalised_names() {
    for (input, domain) in [
        ("Bücher.example", "xn--bcher-kva.example"),
        ("stra\u{df}e.example", "xn--strae-oqa.example"),
        ("\u{2603}.example", "xn--n3h.example"),
        ("so\u{ad}ft.example", "soft.example"),
        ("ze\u{200b}ro.example", "zero.example"),
        ("\u{ff45}xample.com", "example.com"),
        ("bücher\u{3002}example", "xn--bcher-kva.example"),
        ("r3---sn.example", "r3---sn.example"),
    ] {
        assert_eq!(account(input), format!("dns:{domain}"), "{input}");
    }
    let long = |n: usize| format!("{}.example", ["a"; 200].join(".").get(..n).unwrap_or_default());
    assert_eq!(refusal(&long(242)), Code::IdentityRefused);
    assert!(Input::parse(&long(239)).is_ok());
    assert!(Input::parse(&format!("ap:a@{}", long(243))).is_ok());
}

#[test]
fn spelling_is_kept_where_case_may_matter() {
    let spelling = |input: &str| match Input::parse(input) {
        Ok(Input::Account { spelling, .. }) => spelling,
        other => panic!("{input}: {other:?}"),
    };
    assert_eq!(spelling("ap:Jason@Social.Example").as_deref(), Some("Jason"));
    assert_eq!(spelling("https://social.example/@Jason").as_deref(), Some("Jason"));
    assert_eq!(spelling("ap:jason@Social.Example"), None);
    assert_eq!(spelling("github:Jason"), None);
}

#[test]
fn unknown_schemes_are_data() {
    for text in ["gitlab:Jason", "x9:!", "abcdefghijklmnop:~", "tel:+4930123"] {
        let identity = Identity::from_canonical(text).unwrap();
        assert_eq!(identity.as_str(), text);
        assert!(identity.channel().is_none() && !identity.is_key());
        assert_eq!((identity.profile_url(), identity.host()), (None, None));
    }
    let long = format!("gitlab:{}", "x".repeat(255));
    assert!(Identity::from_canonical(&long).is_ok());
    for (text, code) in [
        (format!("{long}x"), Code::IdentityRefused),
        ("gitlab:".into(), Code::IdentityRefused),
        ("gitlab:a b".into(), Code::IdentityRefused),
        ("gitlab:\u{e9}".into(), Code::IdentityRefused),
        ("gitlab:a\u{7f}".into(), Code::IdentityRefused),
        ("gitlab".into(), Code::IdentityRefused),
        ("x:a".into(), Code::SchemeUnknown),
        ("9x:a".into(), Code::SchemeUnknown),
        ("GitLab:a".into(), Code::SchemeUnknown),
        ("git-lab:a".into(), Code::SchemeUnknown),
        ("abcdefghijklmnopq:a".into(), Code::SchemeUnknown),
        ("github:Jason".into(), Code::IdentityRefused),
    ] {
        assert_eq!(Identity::from_canonical(&text).unwrap_err().code(), code, "{text}");
    }
}

#[test]
fn the_registry_is_consistent() {
    let mut schemes: Vec<&str> =
        channel::CHANNELS.iter().map(|channel| channel.facts().scheme).collect();
    for scheme in Scheme::ALL {
        assert!(schemes.contains(&scheme.as_str()));
    }
    let aliases = channel::CHANNELS.iter().flat_map(|channel| channel.facts().aliases);
    schemes.extend(aliases);
    schemes.sort_unstable();
    assert!(schemes.windows(2).all(|pair| pair[0] != pair[1]), "{schemes:?}");
    for channel in channel::CHANNELS {
        let known = ["bluesky", "github", "plc", "relays"];
        assert!(channel.facts().endpoints.iter().all(|name| known.contains(name)));
        for form in channel.facts().urls {
            assert!(form.reserved.is_sorted() && form.except.is_sorted(), "{form:?}");
            assert!(form.path.starts_with('/') && form.path.contains("{name}"), "{form:?}");
        }
    }
}

proptest! {
    /// Whatever is typed, the text that stands for it reads as the same again, and a page never
    /// becomes its domain.
    #[test]
    fn inputs_are_stable(
        text in "(https?://|github:|nostr:|ap:|dns:|@|kez:)?[a-cA-C0-9é@:/?#%._-]{0,12}(\\.[a-z]{2,3})?[a-c@:/?#%!._\u{ad}-]{0,8}",
    ) {
        if let Ok(input) = Input::parse(&text) {
            let again = Input::parse(&input.to_string());
            match (&input, &again) {
                (Input::Account { identity, .. }, Ok(Input::Account { identity: other, .. })) => {
                    prop_assert_eq!(identity, other);
                    prop_assert_eq!(Identity::from_canonical(identity.as_str()), Ok(identity.clone()));
                }
                (_, Ok(other)) => prop_assert_eq!(&input, other),
                (_, Err(error)) => prop_assert!(false, "{text}: {input:?}: {error}"),
            }
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,40}") {
        let _ = Input::parse(&text);
        let _ = Identity::from_canonical(&text);
    }
}
