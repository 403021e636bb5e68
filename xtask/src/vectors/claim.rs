//! Claims.

use super::*;

pub(super) fn base_claim() -> Result<(SecretKey, Claim)> {
    let key = key(Scheme::Nostr, 1);
    let claim = Claim::new(id("github:jason")?, name(&key), now().plus(-60));
    Ok((key, claim))
}

/// A signed JSON claim with a payload that was changed before it was signed.
fn forged(change: impl FnOnce(&mut BTreeMap<String, Value>)) -> Result<String> {
    let (key, claim) = base_claim()?;
    let Value::Object(members) = claim.to_envelope()?.payload().clone() else {
        return Err("a payload is an object".into());
    };
    let mut members: BTreeMap<String, Value> = members.into_iter().collect();
    change(&mut members);
    let mut envelope = Envelope::unsigned(Value::object(members))?;
    envelope.sign(&key, &[0; 32])?;
    Ok(envelope.to_canonical())
}

pub(super) fn claims(v: &mut Vectors) -> Result<()> {
    v.group = "claim";
    let (owner, claim) = base_claim()?;
    let signed = sign_claim(&claim, &owner)?;
    let text = signed.envelope().to_canonical();
    v.yields(
        "ok",
        &["OBJ-02", "ENC-01"],
        "claim",
        text.as_str(),
        signed.id().to_string(),
        "a claim by a nostr key",
    );
    let spaced = text.replace("\":", "\" :\n");
    v.yields(
        "ok-spaced",
        &["ENC-01", "OBJ-02"],
        "claim",
        spaced,
        signed.id().to_string(),
        "white space changes neither id nor verdict",
    );
    v.add(
        "two-faults",
        &["GEN-01", "GEN-02"],
        "claim",
        forged(|m| {
            m.remove("created_at");
            m.insert("subject".into(), "dns:Example.com".into());
            m.insert("account".into(), "a b".into());
        })?,
        "member_missing|identity_refused|text_refused",
        "several rules are broken, and no algorithm gives an order",
    );
    let other = key(Scheme::Ed25519, 1);
    let mut full = Claim::new(id("ap:jason@social.example")?, name(&other), now().plus(-60));
    full.expires_at = Some(now().plus(86_400));
    full.account = Some("https://social.example/users/jason".into());
    full.head = Some(Head { seq: 3, id: ObjectId::digest("event", b"x") });
    full.sources = vec!["https://example.com/chain.jsonl".into(), "wss://relay.example/".into()];
    full.ext = Some(Value::object([("note", Value::from("kept and ignored"))]));
    let signed_full = sign_claim(&full, &other)?;
    v.yields(
        "ok-full",
        &["OBJ-02", "OBJ-07", "CLM-03", "JSON-11"],
        "claim",
        signed_full.envelope().to_canonical(),
        signed_full.id().to_string(),
        "every member, by an ed25519 key",
    );

    let mut odd = full;
    let plain = "https://a-b.example:8443/~x/@y/%C3%A9;z?q=1&r=(*)/?$+,!:";
    odd.sources = vec!["https://xn--99zzzzzzzz.example/".into(), plain.into()];
    let signed_odd = sign_claim(&odd, &other)?;
    v.yields(
        "ok-source-a-label",
        &["VAL-04"],
        "claim",
        signed_odd.envelope().to_canonical(),
        signed_odd.id().to_string(),
        "an A-label that decodes to nothing, and every kind of character",
    );
    odd.subject = Identity::from_canonical("gitlab:Jason/~x")?;
    let foreign = sign_claim(&odd, &other)?;
    v.yields(
        "ok-unknown-scheme",
        &["ID-01"],
        "claim",
        foreign.envelope().to_canonical(),
        foreign.id().to_string(),
        "a subject of a scheme that this version does not know",
    );

    let set = |name: &'static str, value: Value| {
        move |m: &mut BTreeMap<String, Value>| {
            m.insert(name.to_owned(), value);
        }
    };
    let many: Vec<Value> =
        (0..9).map(|n| Value::String(format!("https://example.com/{n}"))).collect();
    let long_url = format!("https://example.com/{}", "a".repeat(2048));
    let head = |seq: i64, id: &str| Value::object([("seq", Value::Int(seq)), ("id", id.into())]);
    let zeros = "0".repeat(64);
    let cases: Vec<(&str, &str, Value, &str, &str, &str)> = vec![
        (
            "unknown-member",
            "note",
            "x".into(),
            "JSON-10",
            "member_unknown",
            "a member of no version",
        ),
        (
            "subject-number",
            "subject",
            Value::Int(1),
            "JSON-09",
            "member_type",
            "a number for a text",
        ),
        (
            "subject-array",
            "subject",
            Value::Array(vec!["dns:a.example".into()]),
            "JSON-09",
            "member_type",
            "a list for a text",
        ),
        ("ext-text", "ext", "x".into(), "JSON-09", "member_type", "ext is an object"),
        (
            "subject-not-canonical",
            "subject",
            "github:Jason".into(),
            "ID-01",
            "identity_refused",
            "upper case",
        ),
        (
            "subject-unknown-scheme",
            "subject",
            "git-lab:jason".into(),
            "ID-01",
            "scheme_unknown",
            "no version can have this scheme",
        ),
        (
            "primary-no-key",
            "primary",
            "dns:example.com".into(),
            "CLM-01",
            "key_expected",
            "a domain cannot sign",
        ),
        (
            "primary-weak",
            "primary",
            format!("ed25519:01{}", "0".repeat(62)).as_str().into(),
            "KEY-01",
            "key_refused",
            "a weak key",
        ),
        (
            "time-offset",
            "created_at",
            "2026-11-21T12:00:00+00:00".into(),
            "VAL-01",
            "time_refused",
            "an offset",
        ),
        (
            "time-fraction",
            "created_at",
            "2026-11-21T12:00:00.0Z".into(),
            "VAL-01",
            "time_refused",
            "fractions of seconds",
        ),
        (
            "time-lower",
            "created_at",
            "2026-11-21t12:00:00z".into(),
            "VAL-01",
            "time_refused",
            "lower case",
        ),
        (
            "time-no-such-day",
            "created_at",
            "2026-02-29T12:00:00Z".into(),
            "VAL-01",
            "time_refused",
            "no leap year",
        ),
        (
            "time-leap-second",
            "created_at",
            "2016-12-31T23:59:60Z".into(),
            "VAL-01",
            "time_refused",
            "a leap second",
        ),
        (
            "time-1969",
            "created_at",
            "1969-12-31T23:59:59Z".into(),
            "VAL-01",
            "time_refused",
            "before 1970",
        ),
        (
            "time-24",
            "created_at",
            "2026-11-21T24:00:00Z".into(),
            "VAL-01",
            "time_refused",
            "hour 24",
        ),
        (
            "time-month-13",
            "created_at",
            "2026-13-01T00:00:00Z".into(),
            "VAL-01",
            "time_refused",
            "month 13",
        ),
        (
            "expires-before",
            "expires_at",
            "2026-11-21T11:58:59Z".into(),
            "CLM-02",
            "expiry_refused",
            "expires before it was created",
        ),
        (
            "expires-same",
            "expires_at",
            "2026-11-21T11:59:00Z".into(),
            "CLM-02",
            "expiry_refused",
            "expires when it was created",
        ),
        ("account-empty", "account", "".into(), "VAL-03", "text_refused", "an empty account id"),
        ("account-space", "account", "a b".into(), "VAL-03", "text_refused", "a space"),
        (
            "account-long",
            "account",
            "a".repeat(513).as_str().into(),
            "VAL-03",
            "text_refused",
            "513 characters",
        ),
        (
            "account-number",
            "account",
            Value::Int(12345),
            "JSON-09",
            "member_type",
            "a number for a text",
        ),
        ("head-zero", "head", head(0, &zeros), "JSON-09", "member_type", "seq starts at 1"),
        (
            "head-short-id",
            "head",
            head(1, "abc"),
            "VAL-05",
            "id_refused",
            "ids are never shortened",
        ),
        ("head-upper-id", "head", head(1, &"A".repeat(64)), "VAL-05", "id_refused", "upper case"),
        ("sources-empty", "sources", Value::Array(vec![]), "CLM-03", "too_large", "no source"),
        ("sources-nine", "sources", Value::Array(many), "CLM-03", "too_large", "nine sources"),
    ];
    for (name, member, value, rule, expect, comment) in cases {
        v.add(name, &[rule], "claim", forged(set(member, value))?, expect, comment);
    }
    let urls = [
        ("source-http", "http://example.com/", "plain http"),
        ("source-credentials", "https://u:p@example.com/", "credentials"),
        ("source-fragment", "https://example.com/#x", "a fragment"),
        ("source-upper", "https://EXAMPLE.com/", "not as serialized"),
        ("source-address", "https://127.0.0.1/", "an address"),
        ("source-no-path", "https://example.com", "no path"),
        ("source-default-port", "https://example.com:443/", "the default port"),
        ("source-port", "https://example.com:65536/", "no such port"),
        ("source-dots", "https://example.com/a/../b", "a segment that parsers take away"),
        ("source-escaped-dots", "https://example.com/%2e%2E/b", "the same, escaped"),
        ("source-quote", "https://example.com/?'", "a character that parsers escape"),
        ("source-escape", "https://example.com/%4", "half an escape"),
        ("source-relative", "/chain", "not absolute"),
        ("source-long", &long_url, "longer than 2,048 bytes"),
    ];
    for (name, url, comment) in urls {
        let text = forged(set("sources", Value::Array(vec![url.into()])))?;
        v.add(name, &["VAL-04"], "claim", text, "url_refused", comment);
    }
    for member in ["subject", "primary", "created_at"] {
        let text = forged(|m| {
            m.remove(member);
        })?;
        v.add(
            &format!("no-{member}"),
            &["JSON-08"],
            "claim",
            text,
            "member_missing",
            "a required member is missing",
        );
    }
    v.add(
        "type-event",
        &["OBJ-04"],
        "claim",
        forged(set("type", "event".into()))?,
        "type_unknown",
        "not a claim",
    );
    let envelope: Json = serde_json::from_str(&text)?;
    let change = |change: &dyn Fn(&mut Json)| {
        let mut envelope = envelope.clone();
        change(&mut envelope);
        envelope.to_string()
    };
    v.add(
        "version-2",
        &["OBJ-01"],
        "claim",
        change(&|e| e["kez"] = json!(2)),
        "version_unknown",
        "a later version",
    );
    v.add(
        "version-text",
        &["JSON-09"],
        "claim",
        change(&|e| e["kez"] = json!("1")),
        "member_type",
        "a text for a number",
    );
    v.add(
        "envelope-member",
        &["JSON-10"],
        "claim",
        change(&|e| e["x"] = json!(1)),
        "member_unknown",
        "a member too many",
    );
    v.add(
        "array",
        &["JSON-09"],
        "claim",
        format!("[{text}]"),
        "member_type",
        "a list for an object",
    );
    v.add(
        "payload-null",
        &["JSON-09"],
        "claim",
        change(&|e| e["payload"] = json!(null)),
        "member_type",
        "null for an object",
    );
    v.add(
        "payload-text",
        &["JSON-09"],
        "claim",
        change(&|e| e["payload"] = json!("x")),
        "member_type",
        "a string for an object",
    );
    v.add(
        "payload-missing",
        &["JSON-08"],
        "claim",
        change(&|e| drop(e.as_object_mut().map(|e| e.remove("payload")))),
        "member_missing",
        "no payload",
    );
    v.add(
        "type-number",
        &["JSON-09"],
        "claim",
        change(&|e| e["payload"]["type"] = json!(1)),
        "member_type",
        "a number for a text",
    );
    v.add(
        "too-large",
        &["OBJ-06"],
        "claim",
        format!("{}{text}", " ".repeat(8192)),
        "too_large",
        "more than 8 KiB, white space counted",
    );
    Ok(())
}
