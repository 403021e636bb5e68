//! Identities and keys.

use super::*;

pub(super) fn identities(v: &mut Vectors) -> Result<()> {
    v.group = "id";
    let npub = name(&key(Scheme::Nostr, 1)).value().to_owned();
    let ed = name(&key(Scheme::Ed25519, 1)).value().to_owned();
    for (n, text) in [
        format!("nostr:{npub}"),
        format!("ed25519:{ed}"),
        "dns:example.com".into(),
        "dns:xn--bcher-kva.example".into(),
        "github:octo-cat".into(),
        "github:octo_corp".into(),
        "bluesky:alice.bsky.social".into(),
        "bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz".into(),
        "bluesky:did:web:example.com".into(),
        "ap:jason@social.example".into(),
        "github:-jay--son-".into(),
        "gitlab:Jason/~x".into(),
        format!("abcdefghijklmnop:{}", "x".repeat(255)),
    ]
    .iter()
    .enumerate()
    {
        v.yields(
            &format!("ok-{n}"),
            &["ID-01"],
            "identity",
            text.as_str(),
            text.as_str(),
            "canonical",
        );
    }
    let hexed = kez_core::hex::encode(&key(Scheme::Nostr, 1).public().to_bytes());
    for (n, (input, output)) in [
        (npub.clone(), format!("nostr:{npub}")),
        (npub.to_uppercase(), format!("nostr:{npub}")),
        (format!("nostr:{hexed}"), format!("nostr:{npub}")),
        (format!("ED25519:{}", ed.to_uppercase()), format!("ed25519:{ed}")),
        ("https://Example.COM:443/#about".into(), "dns:example.com".into()),
        ("example.com.".into(), "dns:example.com".into()),
        ("Bücher.example".into(), "dns:xn--bcher-kva.example".into()),
        ("https://github.com/Jason/".into(), "github:jason".into()),
        ("github:@Jason".into(), "github:jason".into()),
        ("https://jason.github.io".into(), "dns:jason.github.io".into()),
        ("github.com/jason".into(), "github:jason".into()),
        ("github:nsec1".into(), "github:nsec1".into()),
        ("kez:github:jason".into(), "github:jason".into()),
        ("https://gist.github.com/jason/c0ffee00".into(), "github:jason".into()),
        ("https://social.example/%40jason/1".into(), "ap:jason@social.example".into()),
        ("https://social.example/users/jason".into(), "ap:jason@social.example".into()),
        (format!("https://njump.me/{npub}"), format!("nostr:{npub}")),
        ("\u{2603}.example".into(), "dns:xn--n3h.example".into()),
        ("stra\u{df}e.example".into(), "dns:xn--strae-oqa.example".into()),
        ("so\u{ad}ft.example".into(), "dns:soft.example".into()),
        ("@alice.bsky.social".into(), "bluesky:alice.bsky.social".into()),
        (
            "https://bsky.app/profile/alice.example.com/post/1".into(),
            "bluesky:alice.example.com".into(),
        ),
        (
            "did:plc:ewvi7nxzyoun6zhxrhs64oiz".into(),
            "bluesky:did:plc:ewvi7nxzyoun6zhxrhs64oiz".into(),
        ),
        ("@Jason@Social.Example".into(), "ap:jason@social.example".into()),
        ("mastodon:jason@social.example".into(), "ap:jason@social.example".into()),
        ("https://social.example/@jason".into(), "ap:jason@social.example".into()),
        ("https://seen.example/@jason@social.example".into(), "ap:jason@social.example".into()),
    ]
    .into_iter()
    .enumerate()
    {
        v.yields(&format!("input-{n}"), &["ID-06"], "input", input, output, "what people type");
    }
    let bad =
        |v: &mut Vectors, name: &str, rule: &str, input: &str, expect: &str, comment: &str| {
            v.add(name, &[rule], "identity", input, expect, comment);
        };
    bad(v, "no-colon", "ID-01", "example.com", "identity_refused", "no scheme");
    bad(v, "scheme-short", "ID-01", "x:jason", "scheme_unknown", "a scheme of one character");
    bad(v, "scheme-hyphen", "ID-01", "git-lab:a", "scheme_unknown", "a hyphen in the scheme");
    bad(v, "unknown-empty", "ID-01", "gitlab:", "identity_refused", "no value");
    bad(v, "unknown-space", "ID-01", "gitlab:a b", "identity_refused", "a space in the value");
    bad(
        v,
        "unknown-long",
        "ID-01",
        &format!("gitlab:{}", "x".repeat(256)),
        "identity_refused",
        "a value of 256",
    );
    bad(v, "upper-scheme", "ID-01", "DNS:example.com", "scheme_unknown", "schemes are lower case");
    bad(v, "upper-domain", "ID-01", "dns:Example.com", "identity_refused", "not canonical");
    bad(v, "trailing-dot", "ID-01", "dns:example.com.", "identity_refused", "not canonical");
    bad(v, "u-label", "ID-01", "dns:bücher.example", "identity_refused", "A-labels only");
    bad(v, "one-label", "ID-01", "dns:localhost", "identity_refused", "one label");
    bad(v, "underscore", "ID-01", "dns:_kez.example.com", "identity_refused", "not a host name");
    bad(
        v,
        "hyphen-first",
        "ID-01",
        "dns:-a.example",
        "identity_refused",
        "a label begins with a hyphen",
    );
    bad(v, "empty-label", "ID-01", "dns:a..example", "identity_refused", "an empty label");
    bad(
        v,
        "long-label",
        "ID-01",
        &format!("dns:{}.example", "a".repeat(64)),
        "identity_refused",
        "a label of 64",
    );
    bad(
        v,
        "long-domain",
        "ID-02",
        &format!("dns:{}example", "abcdefgh.".repeat(28)),
        "identity_refused",
        "no room for _kez.",
    );
    bad(v, "ip-address", "ID-02", "dns:192.0.2.1", "identity_refused", "an address is no domain");
    bad(v, "login-hyphens", "ID-01", "github:--", "identity_refused", "hyphens alone");
    bad(v, "login-path", "ID-01", "github:a/../b", "identity_refused", "a login holds no path");
    bad(
        v,
        "login-long",
        "ID-03",
        &format!("github:{}", "a".repeat(40)),
        "identity_refused",
        "40 characters",
    );
    bad(v, "handle-word", "ID-01", "bluesky:alice", "identity_refused", "a handle is a domain");
    bad(
        v,
        "did-other",
        "ID-01",
        "bluesky:did:key:z6mk",
        "identity_refused",
        "a DID method that is not read",
    );
    bad(
        v,
        "did-upper",
        "ID-01",
        "bluesky:did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ",
        "identity_refused",
        "DIDs are case-sensitive",
    );
    bad(v, "ap-no-host", "ID-01", "ap:jason", "identity_refused", "no host");
    bad(
        v,
        "ap-dot-last",
        "ID-01",
        "ap:jason.@social.example",
        "identity_refused",
        "a user ends with a word character",
    );
    bad(v, "ap-upper", "ID-01", "ap:Jason@social.example", "identity_refused", "not canonical");
    bad(
        v,
        "npub-upper",
        "ID-04",
        &format!("nostr:{}", npub.to_uppercase()),
        "key_refused",
        "not canonical",
    );
    bad(
        v,
        "npub-cut",
        "ID-04",
        &format!("nostr:{}", &npub[..62]),
        "key_refused",
        "the checksum is wrong",
    );
    let hrp = bech32::Hrp::parse("npub")?;
    let of = |data: &[u8]| bech32::encode::<bech32::Bech32>(hrp, data);
    bad(
        v,
        "npub-31-bytes",
        "ID-04",
        &format!("nostr:{}", of(&[1; 31])?),
        "key_refused",
        "31 bytes",
    );
    bad(
        v,
        "npub-33-bytes",
        "ID-04",
        &format!("nostr:{}", of(&[1; 33])?),
        "key_refused",
        "33 bytes",
    );
    let point = key(Scheme::Nostr, 1).public().to_bytes();
    let modified = bech32::encode::<bech32::Bech32m>(hrp, &point)?;
    bad(
        v,
        "npub-bech32m",
        "ID-04",
        &format!("nostr:{modified}"),
        "key_refused",
        "bech32m's checksum",
    );
    bad(
        v,
        "npub-off-curve",
        "KEY-02",
        &format!("nostr:{}", of(&[5; 32])?),
        "key_refused",
        "no point has this x coordinate",
    );
    bad(
        v,
        "npub-above-prime",
        "KEY-02",
        &format!("nostr:{}", of(&[0xff; 32])?),
        "key_refused",
        "x is not below the prime",
    );
    bad(
        v,
        "ed25519-upper",
        "ID-01",
        &format!("ed25519:{}", ed.to_uppercase()),
        "key_refused",
        "not canonical",
    );
    bad(v, "ed25519-short", "ID-01", &format!("ed25519:{}", &ed[2..]), "key_refused", "31 bytes");
    let mut small = [0; 32];
    small[0] = 1;
    bad(
        v,
        "ed25519-identity",
        "KEY-01",
        &format!("ed25519:{}", kez_core::hex::encode(&small)),
        "key_refused",
        "the neutral element",
    );
    bad(
        v,
        "ed25519-order-2",
        "KEY-01",
        "ed25519:ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "key_refused",
        "a point of order 2",
    );
    bad(
        v,
        "ed25519-order-8",
        "KEY-01",
        "ed25519:c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "key_refused",
        "a point of order 8",
    );
    bad(
        v,
        "ed25519-not-canonical",
        "KEY-01",
        "ed25519:eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "key_refused",
        "y is not below the prime",
    );
    let point =
        curve25519_dalek::edwards::CompressedEdwardsY(key(Scheme::Ed25519, 1).public().to_bytes());
    let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
    let mixed = (point.decompress().ok_or("a point")? + torsion).compress().to_bytes();
    bad(
        v,
        "ed25519-mixed-order",
        "KEY-01",
        &format!("ed25519:{}", kez_core::hex::encode(&mixed)),
        "key_refused",
        "a prime-order point plus one of order 8",
    );
    bad(
        v,
        "ed25519-off-curve",
        "KEY-01",
        "ed25519:0200000000000000000000000000000000000000000000000000000000000000",
        "key_refused",
        "no point has this y coordinate",
    );
    let secret = key(Scheme::Nostr, 1).expose_text();
    v.add(
        "nsec",
        &["ID-05"],
        "input",
        secret.as_str(),
        "secret_refused",
        "a secret key, of one repeated byte",
    );
    v.add(
        "nsec-in-url",
        &["ID-05"],
        "input",
        format!("https://njump.me/{secret}"),
        "secret_refused",
        "wherever it stands",
    );
    v.add(
        "bad-a-label",
        &["ID-06"],
        "input",
        "xn--example-.org",
        "identity_refused",
        "no label decodes to this",
    );
    for (name, rule, input, expect, comment) in [
        (
            "page",
            "ID-07",
            "https://lemmy.example/u/alice",
            "identity_refused",
            "a page, not a site",
        ),
        ("query", "ID-07", "https://example.com/?id=a", "identity_refused", "a page, not a site"),
        ("app-page", "ID-07", "https://example.com/#/@a", "identity_refused", "a page of an app"),
        ("pages-project", "ID-07", "https://a.github.io/b", "identity_refused", "a page"),
        ("reserved", "ID-07", "https://github.com/Sponsors/a", "identity_refused", "no login"),
        ("gist-id", "ID-07", "https://gist.github.com/c0ffee", "identity_refused", "a gist's id"),
        ("nostr-name", "ID-07", "nostr:a@example.com", "identity_refused", "a name to look up"),
        ("port", "ID-07", "https://example.com:8443/", "identity_refused", "a port"),
        ("user-info", "ID-07", "https://github.com@a.example/", "identity_refused", "a user name"),
        ("backslash", "ID-07", "https://a.example\\@b.example/", "identity_refused", "a backslash"),
        ("dot-segments", "ID-07", "https://github.com/a/../b", "identity_refused", "dots"),
        ("input-unknown-scheme", "ID-01", "gitlab:jason", "scheme_unknown", "not on the list"),
        ("std3", "ID-06", "a_b.example", "identity_refused", "an underscore"),
        ("joiner", "ID-06", "a\u{200d}b.example", "identity_refused", "CheckJoiners"),
        ("bidi", "ID-06", "\u{5d0}a.example", "identity_refused", "CheckBidi"),
    ] {
        v.add(name, &[rule], "input", input, expect, comment);
    }
    v.add("bare-word", &["ID-07"], "input", "jason", "identity_refused", "which scheme?");
    v.add("bare-hex", &["ID-07"], "input", ed, "identity_refused", "which kind of key?");
    Ok(())
}
