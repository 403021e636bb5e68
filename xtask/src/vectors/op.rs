//! The operations of a chain.

use super::*;

pub(super) fn more_chains(v: &mut Vectors) -> Result<()> {
    v.group = "op";
    let owner = key(Scheme::Nostr, 1);
    let device = key(Scheme::Ed25519, 4);
    let next = key(Scheme::Nostr, 5);
    let mut w = Writer::new(key(Scheme::Nostr, 1))?;
    w.op(some_claim("github:jason", 1))?;
    let op = |w: &Writer, members: &[(&str, Value)], keys: &[&SecretKey]| {
        let op = Value::object(members.iter().cloned());
        w.with_raw(
            |m| {
                m.insert("op".into(), op);
            },
            keys,
        )
    };
    let t = |text: &str| Value::from(text);
    let known = ObjectId::digest("claim", &[1]).to_string();
    let dev = name(&device).as_str().to_owned();
    let to = name(&next).as_str().to_owned();
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, Value)>, Vec<&'a SecretKey>, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            "add-listed",
            "CHN-09",
            vec![("type", t("add")), ("subject", t("github:jason")), ("claim", t(&known))],
            vec![&owner],
            "claim_listed",
            "the claim is listed already",
        ),
        (
            "add-no-claim",
            "JSON-08",
            vec![("type", t("add")), ("subject", t("github:jason"))],
            vec![&owner],
            "member_missing",
            "which claim?",
        ),
        (
            "add-url",
            "VAL-04",
            vec![
                ("type", t("add")),
                ("subject", t("dns:a.example")),
                ("claim", t(&"1".repeat(64))),
                ("url", t("ftp://a.example/")),
            ],
            vec![&owner],
            "url_refused",
            "not https",
        ),
        (
            "add-account",
            "VAL-03",
            vec![
                ("type", t("add")),
                ("subject", t("dns:a.example")),
                ("claim", t(&"1".repeat(64))),
                ("account", t("\u{e9}")),
            ],
            vec![&owner],
            "text_refused",
            "not ASCII",
        ),
        (
            "revoke-both",
            "CHN-10",
            vec![
                ("type", t("revoke")),
                ("subject", t("github:jason")),
                ("claim", t(&known)),
                ("reason", t("retired")),
            ],
            vec![&owner],
            "revoke_target",
            "a claim and a subject",
        ),
        (
            "revoke-nothing",
            "CHN-10",
            vec![("type", t("revoke")), ("reason", t("retired"))],
            vec![&owner],
            "revoke_target",
            "neither",
        ),
        (
            "revoke-reason",
            "CHN-08",
            vec![("type", t("revoke")), ("subject", t("github:jason")), ("reason", t("bored"))],
            vec![&owner],
            "reason_unknown",
            "no such reason",
        ),
        (
            "revoke-text-bidi",
            "VAL-02",
            vec![
                ("type", t("revoke")),
                ("subject", t("github:jason")),
                ("reason", t("retired")),
                ("text", t("a\u{202e}b")),
            ],
            vec![&owner],
            "text_refused",
            "a bidirectional control",
        ),
        (
            "revoke-text-long",
            "VAL-02",
            vec![
                ("type", t("revoke")),
                ("subject", t("github:jason")),
                ("reason", t("retired")),
                ("text", t(&"a".repeat(129))),
            ],
            vec![&owner],
            "text_refused",
            "129 characters",
        ),
        (
            "revoke-text-control",
            "VAL-02",
            vec![
                ("type", t("revoke")),
                ("subject", t("github:jason")),
                ("reason", t("retired")),
                ("text", t("a\u{7}")),
            ],
            vec![&owner],
            "text_refused",
            "a control character",
        ),
        (
            "unknown",
            "CHN-17",
            vec![("type", t("dance"))],
            vec![&owner],
            "op_unknown",
            "an operation of a later version",
        ),
        (
            "rotate-alone",
            "CHN-12",
            vec![("type", t("rotate")), ("to", t(&to)), ("reason", t("superseded"))],
            vec![&owner],
            "chain_signer",
            "the new key has not signed",
        ),
        (
            "rotate-new-only",
            "CHN-12",
            vec![("type", t("rotate")), ("to", t(&to)), ("reason", t("superseded"))],
            vec![&next],
            "chain_signer",
            "no commitment, so the old key signs too",
        ),
        (
            "rotate-order",
            "CHN-12",
            vec![("type", t("rotate")), ("to", t(&to)), ("reason", t("superseded"))],
            vec![&next, &owner],
            "chain_signer",
            "the wrong order",
        ),
        (
            "rotate-to-itself",
            "CHN-13",
            vec![
                ("type", t("rotate")),
                ("to", t(name(&owner).as_str())),
                ("reason", t("superseded")),
            ],
            vec![&owner, &owner],
            "key_used",
            "the key is current",
        ),
        (
            "rotate-since-reason",
            "CHN-14",
            vec![
                ("type", t("rotate")),
                ("to", t(&to)),
                ("reason", t("retired")),
                ("compromised_since", Value::Int(1)),
            ],
            vec![&owner, &next],
            "compromise_refused",
            "the reason says otherwise",
        ),
        (
            "rotate-since-late",
            "CHN-14",
            vec![
                ("type", t("rotate")),
                ("to", t(&to)),
                ("reason", t("compromised")),
                ("compromised_since", Value::Int(2)),
            ],
            vec![&owner, &next],
            "compromise_refused",
            "not before the rotation",
        ),
        (
            "device-alone",
            "CHN-07",
            vec![("type", t("add_device")), ("device", t(&dev))],
            vec![&owner],
            "chain_signer",
            "the device has not signed",
        ),
        (
            "device-nostr",
            "CHN-23",
            vec![("type", t("add_device")), ("device", t(&to))],
            vec![&owner, &next],
            "key_refused",
            "a device has an ed25519 key",
        ),
        (
            "device-caps-none",
            "CHN-16",
            vec![("type", t("add_device")), ("device", t(&dev)), ("caps", Value::Array(vec![]))],
            vec![&owner, &device],
            "too_large",
            "an empty list",
        ),
        (
            "device-caps-form",
            "CHN-16",
            vec![
                ("type", t("add_device")),
                ("device", t(&dev)),
                ("caps", Value::Array(vec![t("chat")])),
            ],
            vec![&owner, &device],
            "text_refused",
            "no version",
        ),
        (
            "device-caps-zero",
            "CHN-16",
            vec![
                ("type", t("add_device")),
                ("device", t(&dev)),
                ("caps", Value::Array(vec![t("chat/01")])),
            ],
            vec![&owner, &device],
            "text_refused",
            "a leading zero",
        ),
        (
            "device-name",
            "VAL-02",
            vec![("type", t("add_device")), ("device", t(&dev)), ("name", t(""))],
            vec![&owner, &device],
            "text_refused",
            "an empty name",
        ),
        (
            "device-unknown",
            "CHN-15",
            vec![("type", t("revoke_device")), ("device", t(&dev)), ("reason", t("retired"))],
            vec![&owner],
            "device_unknown",
            "no such device",
        ),
    ];
    for (name, rule, members, keys, expect, comment) in cases {
        v.add(name, &[rule], "bundle", op(&w, &members, &keys)?, expect, comment);
    }
    let skipped = {
        let op = Value::object([("type", t("dance")), ("steps", Value::Int(3))]);
        w.with_raw(
            |m| {
                m.insert("op".into(), op);
                m.insert("critical".into(), Value::Bool(false));
            },
            &[&owner],
        )?
    };
    v.add(
        "unknown-skipped",
        &["CHN-17"],
        "bundle",
        skipped.as_str(),
        "ok",
        "not critical, so skipped",
    );
    let forged = {
        let op = Value::object([("type", t("dance"))]);
        w.with_raw(
            |m| {
                m.insert("op".into(), op);
                m.insert("critical".into(), Value::Bool(false));
            },
            &[&next],
        )?
    };
    v.add(
        "unknown-forged",
        &["CHN-17"],
        "bundle",
        forged,
        "chain_signer",
        "its signature is checked all the same",
    );

    // Devices come and go, and never come back.
    let mut d = w.clone();
    let event = d.event(Op::AddDevice {
        device: device.public().clone(),
        caps: vec!["chat/1".into()],
        not_after: None,
        name: None,
    });
    d.push(&event, &[&owner, &device])?;
    v.add(
        "device",
        &["CHN-07", "CHN-16"],
        "bundle",
        d.chain.to_bundle(),
        "ok",
        "a device that signed along",
    );
    d.op(Op::RevokeDevice { device: name(&device), reason: Reason::Retired })?;
    let again = d.event(Op::AddDevice {
        device: device.public().clone(),
        caps: vec![],
        not_after: None,
        name: None,
    });
    let mut envelope = again.to_envelope()?;
    envelope.sign(&owner, &[0; 32])?;
    envelope.sign(&device, &[0; 32])?;
    v.add(
        "device-again",
        &["CHN-13"],
        "bundle",
        d.with(&envelope),
        "key_used",
        "a revoked device never comes back",
    );
    let members = [("type", t("revoke_device")), ("device", t(&dev)), ("reason", t("retired"))];
    v.add(
        "device-revoked-twice",
        &["CHN-15"],
        "bundle",
        op(&d, &members, &[&owner])?,
        "device_unknown",
        "it is not active",
    );

    // Pre-rotation.
    let mut p = w.clone();
    let mut event = p.event(some_claim("dns:a.example", 3));
    event.next = Some(commitment(&name(&next)));
    p.push(&event, &[&owner])?;
    let mut twice = p.event(some_claim("dns:b.example", 4));
    twice.next = event.next;
    let mut envelope = twice.to_envelope()?;
    envelope.sign(&owner, &[0; 32])?;
    v.add(
        "next-twice",
        &["CHN-11"],
        "bundle",
        p.with(&envelope),
        "next_refused",
        "a commitment is set already",
    );
    let thief = key(Scheme::Nostr, 6);
    let stolen =
        [("type", t("rotate")), ("to", t(name(&thief).as_str())), ("reason", t("superseded"))];
    v.add(
        "next-thief",
        &["CHN-12"],
        "bundle",
        op(&p, &stolen, &[&owner, &thief])?,
        "next_mismatch",
        "the thief of the current key cannot take over",
    );
    let rotate = [("type", t("rotate")), ("to", t(&to)), ("reason", t("superseded"))];
    v.add(
        "next-both",
        &["CHN-12"],
        "bundle",
        op(&p, &rotate, &[&owner, &next])?,
        "chain_signer",
        "the committed key signs alone",
    );
    v.add(
        "next-rotate",
        &["CHN-11", "CHN-12"],
        "bundle",
        op(&p, &rotate, &[&next])?,
        "ok",
        "the committed key takes over alone",
    );
    let mut r = p.clone();
    let event = r.event(Op::Rotate {
        to: next.public().clone(),
        reason: Reason::Superseded,
        compromised_since: None,
    });
    r.push(&event, &[&next])?;
    v.add(
        "old-key",
        &["CHN-20"],
        "bundle",
        r.with_raw(|_| {}, &[&owner])?,
        "chain_signer",
        "the old key signs nothing new",
    );
    let back =
        [("type", t("rotate")), ("to", t(name(&owner).as_str())), ("reason", t("superseded"))];
    v.add(
        "old-key-back",
        &["CHN-13"],
        "bundle",
        op(&r, &back, &[&next, &owner])?,
        "key_used",
        "it never comes back",
    );
    let since = [
        ("type", t("rotate")),
        ("to", t(name(&thief).as_str())),
        ("reason", t("compromised")),
        ("compromised_since", Value::Int(2)),
    ];
    v.add(
        "since-early",
        &["CHN-14"],
        "bundle",
        op(&r, &since, &[&next, &thief])?,
        "compromise_refused",
        "the old key was not current then",
    );
    dead_commitments(v, &w, &d, &r)
}

/// Commitments to keys that the chain can never rotate to. `devices` has a revoked device, and
/// `rotated` went from key 1 to key 5.
fn dead_commitments(
    v: &mut Vectors,
    chain: &Writer,
    devices: &Writer,
    rotated: &Writer,
) -> Result<()> {
    let (owner, device) = (key(Scheme::Nostr, 1), key(Scheme::Ed25519, 4));
    let next = key(Scheme::Nostr, 5);
    let rotate = |to: &SecretKey| Op::Rotate {
        to: to.public().clone(),
        reason: Reason::Superseded,
        compromised_since: None,
    };
    let add_device = || Op::AddDevice {
        device: device.public().clone(),
        caps: vec![],
        not_after: None,
        name: None,
    };
    let committed = |w: &Writer, op: Op, to: Option<&SecretKey>, keys: &[&SecretKey]| {
        let mut event = w.event(op);
        event.next = to.map(|key| commitment(&name(key)));
        let mut envelope = event.to_envelope()?;
        for key in keys {
            envelope.sign(key, &[0; 32])?;
        }
        Ok::<_, Box<dyn std::error::Error>>((event, w.with(&envelope)))
    };
    let mut waiting = chain.clone();
    let (event, fresh) =
        committed(chain, some_claim("dns:a.example", 3), Some(&device), &[&owner])?;
    waiting.push(&event, &[&owner])?;
    v.add("next-fresh", &["CHN-27"], "bundle", fresh, "ok", "it commits to a key of no chain");
    let add = || some_claim("dns:b.example", 7);
    let third = key(Scheme::Nostr, 6);
    type Case<'a> = (&'a str, &'a Writer, Op, Option<&'a SecretKey>, Vec<&'a SecretKey>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("next-current", chain, add(), Some(&owner), vec![&owner], "to the current key"),
        ("next-earlier", rotated, add(), Some(&owner), vec![&next], "to an earlier key"),
        ("next-device", devices, add(), Some(&device), vec![&owner], "to a revoked device"),
        (
            "next-own-rotation",
            chain,
            rotate(&third),
            Some(&third),
            vec![&owner, &third],
            "to the key that the event rotates to",
        ),
        (
            "next-own-device",
            chain,
            add_device(),
            Some(&device),
            vec![&owner, &device],
            "to the device that the event adds",
        ),
        (
            "next-made-a-device",
            &waiting,
            add_device(),
            None,
            vec![&owner, &device],
            "the committed key becomes a device",
        ),
    ];
    for (case, writer, op, to, keys, comment) in cases {
        let (_, text) = committed(writer, op, to, &keys)?;
        v.add(case, &["CHN-27"], "bundle", text, "key_used", comment);
    }
    Ok(())
}
