//! Chains and their links.

use super::*;

pub(super) fn chains(v: &mut Vectors) -> Result<()> {
    v.group = "chain";
    let owner = || key(Scheme::Nostr, 1);
    let other = key(Scheme::Ed25519, 2);
    let mut w = Writer::new(owner())?;
    w.op(some_claim("github:jason", 1))?;
    w.op(some_claim("dns:example.com", 2))?;
    let head = |w: &Writer| w.chain.head().map_or(String::new(), |h| format!("{} {}", h.seq, h.id));
    let good = w.chain.to_bundle();
    v.yields(
        "ok",
        &["CHN-01", "CHN-04", "CHN-05", "CHN-26"],
        "bundle",
        good.as_str(),
        head(&w),
        "two events",
    );
    let bad =
        |v: &mut Vectors, name: &str, rule: &str, input: String, expect: &str, comment: &str| {
            v.add(name, &[rule], "bundle", input, expect, comment);
        };
    let lines: Vec<&str> = good.lines().collect();
    bad(v, "empty", "CHN-02", String::new(), "chain_empty", "no event");
    bad(
        v,
        "no-last-line-feed",
        "CHN-01",
        good.trim_end().to_owned(),
        "line_syntax",
        "no line feed at the end",
    );
    bad(v, "crlf", "CHN-01", good.replace('\n', "\r\n"), "line_syntax", "carriage returns");
    bad(
        v,
        "empty-line",
        "CHN-01",
        format!("{}\n\n{}\n", lines[0], lines[1]),
        "line_syntax",
        "an empty line",
    );
    bad(v, "leading-space", "CHN-01", format!(" {good}"), "json_not_canonical", "a space");
    bad(
        v,
        "member-order",
        "CHN-01",
        good.replacen(r#"{"kez":1,"#, "{", 1).replacen("}]}", r#"}],"kez":1}"#, 1),
        "json_not_canonical",
        "members out of order",
    );
    bad(
        v,
        "only-second",
        "CHN-04",
        format!("{}\n", lines[1]),
        "chain_seq",
        "the first event is missing",
    );
    bad(v, "twice", "CHN-04", format!("{good}{}\n", lines[1]), "chain_seq", "an event twice");
    bad(
        v,
        "swapped",
        "CHN-04",
        format!("{}\n{}\n", lines[1], lines[0]),
        "chain_seq",
        "the wrong order",
    );
    let mut foreign = w.clone();
    foreign.op(some_claim("gitlab:Jason/~x", 7))?;
    v.yields(
        "unknown-scheme",
        &["ID-01"],
        "bundle",
        foreign.chain.to_bundle(),
        head(&foreign),
        "it lists an account of a scheme that this version does not know",
    );
    let stranger = Writer::new(key(Scheme::Nostr, 3))?;
    let mut theirs = stranger.clone();
    theirs.op(some_claim("github:mallory", 9))?;
    theirs.op(some_claim("github:mallory", 8))?;
    let their_second = theirs.chain.lines()[1].clone();
    bad(
        v,
        "spliced",
        "CHN-03",
        format!("{}\n{their_second}\n", lines[0]),
        "chain_id",
        "an event of another chain",
    );
    let k = owner();
    let raw = |w: &Writer,
               rule: &str,
               name: &str,
               member: &'static str,
               value: Value,
               expect: &str,
               comment: &str,
               v: &mut Vectors|
     -> Result<()> {
        let text = w.with_raw(
            |m| {
                m.insert(member.to_owned(), value);
            },
            &[&owner()],
        )?;
        v.add(name, &[rule], "bundle", text, expect, comment);
        Ok(())
    };
    raw(&w, "CHN-04", "seq-gap", "seq", Value::Int(4), "chain_seq", "a number was skipped", v)?;
    raw(&w, "JSON-09", "seq-zero", "seq", Value::Int(0), "member_type", "seq starts at 1", v)?;
    raw(&w, "CHN-05", "prev-null", "prev", Value::Null, "chain_prev", "no link", v)?;
    raw(
        &w,
        "CHN-05",
        "prev-other",
        "prev",
        "0".repeat(64).as_str().into(),
        "chain_prev",
        "a link to nothing",
        v,
    )?;
    raw(&w, "VAL-05", "prev-short", "prev", "abc".into(), "id_refused", "a shortened link", v)?;
    raw(
        &w,
        "CHN-06",
        "back-dated",
        "created_at",
        "2026-11-21T10:59:59Z".into(),
        "chain_time",
        "dated before the event before",
        v,
    )?;
    raw(
        &w,
        "CHN-22",
        "future",
        "created_at",
        "2026-11-21T12:10:01Z".into(),
        "chain_future",
        "10 minutes and a second ahead",
        v,
    )?;
    raw(
        &w,
        "JSON-10",
        "member",
        "note",
        "x".into(),
        "member_unknown",
        "a member of no version",
        v,
    )?;
    raw(
        &w,
        "JSON-09",
        "critical-text",
        "critical",
        "false".into(),
        "member_type",
        "a text for a boolean",
        v,
    )?;
    raw(&w, "OBJ-04", "type-claim", "type", "claim".into(), "type_unknown", "not an event", v)?;
    raw(
        &w,
        "CHN-03",
        "chain-domain",
        "chain",
        "dns:example.com".into(),
        "key_expected",
        "a domain has no chain",
        v,
    )?;
    let near = w.with_raw(
        |m| {
            m.insert("created_at".into(), "2026-11-21T12:10:00Z".into());
        },
        &[&k],
    )?;
    v.add("near-future", &["CHN-22"], "bundle", near, "ok", "10 minutes ahead is allowed");
    bad(
        v,
        "unsigned-by-owner",
        "CHN-07",
        w.with_raw(|_| {}, &[&other])?,
        "chain_signer",
        "signed by a stranger",
    );
    bad(
        v,
        "signed-twice",
        "CHN-07",
        w.with_raw(|_| {}, &[&k, &other])?,
        "chain_signer",
        "a signature too many",
    );
    let mut envelope = Envelope::unsigned(
        w.event(some_claim("dns:a.example", 5)).to_envelope()?.payload().clone(),
    )?;
    envelope.attach(k.public(), Suite::Bip340, [7; 64]);
    bad(
        v,
        "bad-signature",
        "CHN-07",
        w.with(&envelope),
        "signature_bad",
        "rubbish for a signature",
    );
    let long = w.with_raw(
        |m| {
            m.insert("ext".into(), Value::object([("x", "a".repeat(17_000).as_str().into())]));
        },
        &[&k],
    )?;
    bad(v, "large-event", "OBJ-06", long, "too_large", "an event of more than 16 KiB");
    Ok(())
}
