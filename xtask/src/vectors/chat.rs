//! What clients and servers of chat read: handles, certificates, requests, envelopes.

use super::*;
use kez_core::chat::{
    Bundle, CAPABILITY, Certificate, Evidence, Handle, HandleRecord, LIFETIME, Random, SealedKey,
    auth::{Binds, Request, WINDOW_MS},
    safety_number, seal,
};
use std::sync::Arc;

const ORIGIN: &str = "https://chat.example";
/// The clock of requests.
#[allow(clippy::cast_sign_loss, reason = "after 1970")]
const NOW_MS: u64 = NOW as u64 * 1000;

pub(super) fn chats(v: &mut Vectors) -> Result<()> {
    handles(v);
    records(v)?;
    certificates(v)?;
    bundles(v)?;
    requests(v)?;
    safety(v);
    envelopes(v)?;
    messages(v);
    Ok(())
}

fn handles(v: &mut Vectors) {
    v.group = "chat/handle";
    let long = "a".repeat(32);
    for (name, text) in
        [("one", "a"), ("digits", "007"), ("inner", "a-b_c"), ("twice", "a--b"), ("long", &long)]
    {
        v.yields(name, &["HANDLE-01"], "handle", text, text, "well-formed");
    }
    let longer = "a".repeat(33);
    for (name, text, comment) in [
        ("empty", "", "nothing"),
        ("longer", &*longer, "33 characters"),
        ("upper", "Alice", "an upper-case letter"),
        ("hyphen-first", "-a", "starts with a hyphen"),
        ("underscore-last", "a_", "ends with an underscore"),
        ("dot", "a.b", "a full stop"),
        ("accent", "é", "not ASCII"),
        ("reserved", "admin", "reserved"),
    ] {
        v.add(name, &["HANDLE-01"], "handle", text, "handle_refused", comment);
    }
}

fn records(v: &mut Vectors) -> Result<()> {
    v.group = "chat/record";
    let (old, new, thief) = (key(Scheme::Nostr, 1), key(Scheme::Nostr, 2), key(Scheme::Ed25519, 3));
    let rotated = |reason, since| -> Result<String> {
        let mut w = Writer::new(key(Scheme::Nostr, 1))?;
        w.op(some_claim("github:jason", 1))?;
        let to = new.public().clone();
        let event = w.event(Op::Rotate { to, reason, compromised_since: since });
        w.push(&event, &[&old, &new])?;
        Ok(w.chain.to_bundle())
    };
    let chain = rotated(Reason::Superseded, None)?;
    let record = |change: &dyn Fn(&mut HandleRecord), keys: &[&SecretKey]| -> Result<String> {
        let mut record = HandleRecord {
            handle: "alice".parse::<Handle>()?,
            server: ORIGIN.to_owned(),
            primary: name(&old),
            created_at: now().plus(-60),
            sources: vec!["https://keys.example/alice".to_owned()],
        };
        change(&mut record);
        let mut envelope = record.to_envelope()?;
        for key in keys {
            envelope.sign(key, &[0; 32])?;
        }
        Ok(envelope.to_canonical())
    };
    let mut case = |name: &str, record: String, chain: &str, expect: &str, comment: &str| {
        let input = json!({"record": record, "handle": "alice", "server": ORIGIN, "chain": chain});
        v.add(name, &["HANDLE-02", "HANDLE-03"], "handle-record", input, expect, comment);
    };
    let same: &dyn Fn(&mut HandleRecord) = &|_| {};
    case("ok", record(same, &[&new])?, &chain, "ok", "signed by the key that stands now");
    case("before", record(same, &[&old])?, &chain, "ok", "signed by a key that stood once");
    let stolen = rotated(Reason::Compromised, Some(1))?;
    let unproven = "handle_unproven";
    case("compromised", record(same, &[&old])?, &stolen, unproven, "by a key declared compromised");
    case("stranger", record(same, &[&thief])?, &chain, unproven, "by a key not of the chain");
    let bob =
        record(&|r| r.handle = "bob".parse().unwrap_or_else(|e| unreachable_key(&e)), &[&new])?;
    case("handle", bob, &chain, unproven, "of another handle");
    let server = record(&|r| "https://evil.example".clone_into(&mut r.server), &[&new])?;
    case("server", server, &chain, unproven, "of another server");
    let primary = record(&|r| r.primary = name(&thief), &[&thief])?;
    case("primary", primary, &chain, unproven, "of another identity");
    case("twice", record(same, &[&old, &new])?, &chain, "signature_set", "two signatures");
    let flipped = record(same, &[&new])?.replace("keys.example", "keys.exampla");
    case("flipped", flipped, &chain, "signature_bad", "altered after signing");
    Ok(())
}

fn certificates(v: &mut Vectors) -> Result<()> {
    v.group = "chat/certificate";
    let (old, new, last) = (key(Scheme::Nostr, 1), key(Scheme::Ed25519, 2), key(Scheme::Nostr, 5));
    let (device, other) = (key(Scheme::Ed25519, 4), key(Scheme::Ed25519, 6));
    let adds = |device: &SecretKey, caps: &[&str], not_after| Op::AddDevice {
        device: device.public().clone(),
        caps: caps.iter().map(|cap| (*cap).to_owned()).collect(),
        not_after,
        name: None,
    };
    let ends =
        |device: &SecretKey| Op::RevokeDevice { device: name(device), reason: Reason::Retired };
    let to = |key: &SecretKey| Op::Rotate {
        to: key.public().clone(),
        reason: Reason::Superseded,
        compromised_since: None,
    };
    // A claim, a commitment, a rotation by it, a plain rotation, the device, another, its end.
    let mut w = Writer::new(key(Scheme::Nostr, 1))?;
    w.op(some_claim("github:jason", 1))?;
    let mut event = w.event(some_claim("dns:a.example", 2));
    event.next = Some(commitment(&name(&new)));
    w.push(&event, &[&old])?;
    w.push(&w.event(to(&new)), &[&new])?;
    w.push(&w.event(to(&last)), &[&new, &last])?;
    w.push(&w.event(adds(&device, &[CAPABILITY], None)), &[&last, &device])?;
    w.push(&w.event(adds(&other, &["sync/1"], None)), &[&last, &other])?;
    let before = w.chain.to_bundle();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let good = text(Certificate::of(&w.chain, &name(&device))?.as_bytes());
    w.push(&w.event(ends(&device)), &[&last])?;
    let after = w.chain.to_bundle();
    let evidence = text(Evidence::of(&w.chain, &name(&device))?.as_bytes());

    let said = format!("{} {} 5", name(&old), name(&device));
    v.yields(
        "ok",
        &["CERT-01", "CERT-02"],
        "certificate",
        &*good,
        said,
        "a commitment, two rotations, the device",
    );
    v.yields(
        "evidence",
        &["CERT-04"],
        "evidence",
        &*evidence,
        format!("{} {}", name(&old), name(&device)),
        "the device's end",
    );
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let without = |n: usize| -> String {
        lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, line)| *line).collect()
    };
    let swapped: String = [1, 0, 2, 3].iter().filter_map(|i| lines.get(*i)).copied().collect();
    let line = |text: &str, n: usize| text.split_inclusive('\n').nth(n).unwrap_or("").to_owned();
    let rotations: String = lines.iter().take(3).copied().collect();
    let refused = "certificate_refused";
    for (name, kind, text, comment) in [
        ("empty", "certificate", String::new(), "no events"),
        ("no-rotation", "certificate", without(2), "the last rotation is missing"),
        ("no-commitment", "certificate", without(0), "the commitment is missing"),
        ("no-device", "certificate", without(3), "the last event adds no device"),
        ("swapped", "certificate", swapped, "not in the order of seq"),
        ("cut", "certificate", good.trim_end().to_owned(), "no line feed at the end"),
        ("flipped", "certificate", good.replace("11:04:00Z", "11:04:01Z"), "altered after signing"),
        (
            "capability",
            "certificate",
            format!("{rotations}{}", line(&before, 5)),
            "a device that may not chat",
        ),
        ("twice", "certificate", format!("{good}{}", line(&good, 3)), "an event twice"),
        ("is-evidence", "certificate", evidence.clone(), "a revocation is no certificate"),
        ("no-evidence", "evidence", good.clone(), "a certificate is no revocation"),
    ] {
        v.add(name, &["CERT-01", "CERT-02"], kind, text, refused, comment);
    }

    v.group = "chat/device";
    let mut case = |name: &str, certificate: &str, chain: &str, expect: &str, comment: &str| {
        let input = json!({"certificate": certificate, "chain": chain});
        v.add(name, &["GATE-01", "MSG-03"], "device", input, expect, comment);
    };
    case("ok", &good, &before, "ok", "in force");
    case("revoked", &good, &after, "device_revoked", "revoked on its owner's chain");
    let genesis = line(&before, 0);
    case("not-listed", &good, &genesis, refused, "not on the chain that is known");
    let mut w = Writer::new(key(Scheme::Nostr, 1))?;
    let until = now().plus(-1);
    w.push(&w.event(adds(&device, &[CAPABILITY], Some(until))), &[&old, &device])?;
    let over = w.chain.to_bundle();
    case("over", &over, &over, "device_revoked", "its time is over");
    Ok(())
}

fn bundles(v: &mut Vectors) -> Result<()> {
    v.group = "chat/bundle";
    let (owner, device) = (key(Scheme::Nostr, 1), key(Scheme::Ed25519, 4));
    let sealed_key = SealedKey::from_bytes(&[9; 32])?.public().to_vec();
    let bundle = |from: i64, key: &SecretKey| -> Result<String> {
        let bundle = Bundle {
            primary: name(&owner),
            device: name(&device),
            sealed_key: sealed_key.clone(),
            created_at: now().plus(from),
            expires_at: now().plus(from + LIFETIME),
        };
        let mut envelope = bundle.to_envelope()?;
        envelope.sign(key, &[0; 32])?;
        Ok(envelope.to_canonical())
    };
    let good = bundle(-60, &device)?;
    let kind = "device-bundle";
    let rules = &["SEAL-02"];
    v.yields("ok", rules, kind, &*good, name(&device).as_str(), "in force");
    let refused = "bundle_refused";
    v.add(
        "owner",
        rules,
        kind,
        bundle(-60, &owner)?,
        refused,
        "signed by the owner, not the device",
    );
    v.add("over", rules, kind, bundle(-LIFETIME, &device)?, refused, "its time is over");
    v.add("future", rules, kind, bundle(601, &device)?, refused, "from the future");
    let short = good.replacen("\"sealed_key\":\"", "\"sealed_key\":\"AA", 1);
    v.add("key-length", rules, kind, short, refused, "a key of 1,217 bytes or more");
    let longer = good.replace("2026-12-21", "2026-12-22");
    v.add("too-long", rules, kind, longer, "expiry_refused", "for more than 30 days");
    Ok(())
}

fn requests(v: &mut Vectors) -> Result<()> {
    v.group = "chat/auth";
    let device = key(Scheme::Ed25519, 4);
    let poll = Request {
        origin: ORIGIN,
        method: "GET",
        path: "/v1/inbox/alice",
        binds: Binds::Since(12),
        at_ms: NOW_MS,
    };
    let body = r#"{"seq":12}"#;
    let post = Request {
        method: "POST",
        path: "/v1/inbox/alice/ack",
        binds: Binds::Body(body.as_bytes()),
        ..poll
    };
    let stream = Request { path: "/v1/inbox/alice/stream", binds: Binds::Nothing, ..poll };
    let signed = |request: &Request<'_>| request.sign(&device).map(|c| c.to_header());
    let (poll_header, post_header) = (signed(&poll)?, signed(&post)?);
    let stream_query = stream.sign(&device)?.to_query();
    let get = |path: &str| json!({"origin": ORIGIN, "method": "GET", "path": path, "at": NOW_MS});
    let with = |base: &Json, members: &[(&str, Json)]| {
        let mut base = base.clone();
        for (name, value) in members {
            base[*name] = value.clone();
        }
        base
    };
    let poll = with(&get(poll.path), &[("since", json!(12)), ("header", json!(poll_header))]);
    let post = with(
        &get(post.path),
        &[("method", json!("POST")), ("body", json!(body)), ("header", json!(post_header))],
    );
    let query = with(&get(stream.path), &[("query", json!(stream_query))]);
    let (refused, missing) = ("auth_refused", "auth_missing");
    let (past, future) = (NOW_MS - WINDOW_MS, NOW_MS + WINDOW_MS);
    for (name, input, expect, comment) in [
        ("poll", poll.clone(), "ok", "a read with a parameter"),
        ("post", post.clone(), "ok", "a request with a body"),
        ("stream", query.clone(), "ok", "a stream, signed in the query"),
        ("latest", with(&poll, &[("at", json!(future))]), "ok", "60 seconds ago"),
        ("late", with(&poll, &[("at", json!(future + 1))]), refused, "longer ago"),
        ("early", with(&poll, &[("at", json!(past - 1))]), refused, "from the future"),
        ("since", with(&poll, &[("since", json!(13))]), refused, "another parameter"),
        ("body", with(&post, &[("body", json!(r#"{"seq":13}"#))]), refused, "another body"),
        ("method", with(&poll, &[("method", json!("HEAD"))]), refused, "another method"),
        ("path", with(&poll, &[("path", json!("/v1/inbox/bob"))]), refused, "another path"),
        ("origin", with(&poll, &[("origin", json!("http://chat.example"))]), refused, "elsewhere"),
        (
            "poll-as-stream",
            with(
                &query,
                &[(
                    "query",
                    json!(
                        poll_header
                            .replace("KEZ ", "")
                            .replace(",ts=", "&auth=")
                            .replace(",sig=", ":")
                    ),
                )],
            ),
            refused,
            "what was signed for a poll opens no stream",
        ),
        (
            "upper",
            with(&poll, &[("header", json!(poll_header.replace("device=", "device=A")))]),
            refused,
            "not hex",
        ),
        (
            "zero",
            with(&poll, &[("header", json!(poll_header.replace("ts=", "ts=0")))]),
            refused,
            "a leading zero",
        ),
        ("bearer", with(&poll, &[("header", json!("Bearer x"))]), missing, "another scheme"),
    ] {
        v.add(name, &["AUTH-01", "AUTH-02", "AUTH-03"], "auth", input, expect, comment);
    }
    Ok(())
}

fn safety(v: &mut Vectors) {
    v.group = "chat/safety";
    let person = |scheme, n, devices: &[u8]| {
        let devices = devices.iter().map(|d| name(&key(Scheme::Ed25519, *d))).collect();
        (name(&key(scheme, n)), devices)
    };
    let (a, b) = (person(Scheme::Nostr, 1, &[6, 4]), person(Scheme::Ed25519, 2, &[5]));
    let side = |(primary, devices): &(Identity, Vec<Identity>)| {
        let devices: Vec<&str> = devices.iter().map(Identity::as_str).collect();
        json!({"primary": primary.as_str(), "devices": devices})
    };
    let number = safety_number(&a, &b);
    let rules = &["SAFE-01"];
    for (name, first, second) in [("one", &a, &b), ("other", &b, &a)] {
        let input = json!([side(first), side(second)]);
        v.yields(name, rules, "safety", input, &*number, "both sides see the same");
    }
    let fewer = person(Scheme::Nostr, 1, &[4]);
    let input = json!([side(&fewer), side(&b)]);
    v.yields("fewer", rules, "safety", input, safety_number(&fewer, &b), "one device fewer");
}

fn envelopes(v: &mut Vectors) -> Result<()> {
    v.group = "chat/sealed";
    let sealed = SealedKey::from_bytes(&[9; 32])?;
    let random: Random = Arc::new(|out: &mut [u8]| {
        out.fill(7);
        Ok(())
    });
    let to = name(&key(Scheme::Ed25519, 4));
    let envelope = seal(sealed.public(), "welcome", to.as_str(), b"come in", &random)?;
    let input = |purpose: &str, to: &str, envelope: &[u8]| {
        json!({
            "secret": kez_core::hex::encode(sealed.expose_bytes()),
            "purpose": purpose,
            "to": to,
            "envelope": kez_core::hex::encode(envelope),
        })
    };
    let rules = &["SEAL-01"];
    let good = input("welcome", to.as_str(), &envelope);
    v.yields("ok", rules, "sealed", good, "come in", "opens");
    let changed = |at: usize| {
        let mut bytes = envelope.clone();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        bytes
    };
    let own = to.as_str();
    let other = name(&key(Scheme::Ed25519, 6));
    for (name, input, comment) in [
        ("purpose", input("link", own, &envelope), "for another purpose"),
        ("recipient", input("welcome", other.as_str(), &envelope), "for another device"),
        ("version", input("welcome", own, &changed(0)), "another version"),
        ("encapped", input("welcome", own, &changed(1)), "another encapsulated key"),
        ("flipped", input("welcome", own, &changed(1121)), "an altered ciphertext"),
        ("cut", input("welcome", own, envelope.get(..1120).unwrap_or_default()), "cut short"),
        ("empty", input("welcome", own, &[]), "nothing"),
    ] {
        v.add(name, rules, "sealed", input, "sealed_refused", comment);
    }
    Ok(())
}

fn messages(v: &mut Vectors) {
    v.group = "chat/message";
    let plaintext = |change: &dyn Fn(&mut Json)| {
        let mut message = json!({
            "id": "5".repeat(32),
            "at": "2026-11-21T12:00:00Z",
            "count": 1,
            "type": "text",
            "text": "good morning",
        });
        change(&mut message);
        // serde_json sorts members, and nothing here needs more of RFC 8785.
        message.to_string()
    };
    let rules = &["MSG-01"];
    let kind = "message";
    v.yields("ok", rules, kind, plaintext(&|_| {}), "text good morning", "a text");
    let later = plaintext(&|m| {
        m["type"] = "reaction".into();
        m["to"] = "4".repeat(32).into();
    });
    v.yields("unknown", rules, kind, later, "unknown reaction", "a type of a later version");
    let leave = |more: &dyn Fn(&mut Json)| {
        plaintext(&|m| {
            m["type"] = "leave".into();
            m.as_object_mut().map(|m| m.remove("text"));
            more(m);
        })
    };
    v.yields("leave", rules, kind, leave(&|_| {}), "leave", "its author leaves");
    let more = leave(&|m| m["text"] = "bye".into());
    v.add("leave-member", rules, kind, more, "member_unknown", "one leaves without words");
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Json), &'a str, &'a str);
    let cases: [Case<'_>; 6] = [
        ("empty", &|m| m["text"] = "".into(), "text_refused", "no text"),
        ("long", &|m| m["text"] = "a".repeat(16 * 1024 + 1).into(), "too_large", "over 16 KiB"),
        ("count", &|m| m["count"] = 0.into(), "member_type", "counts start at 1"),
        ("id", &|m| m["id"] = "5".into(), "id_refused", "16 bytes are 32 digits"),
        ("time", &|m| m["at"] = "now".into(), "time_refused", "not a time"),
        ("member", &|m| m["more"] = 1.into(), "member_unknown", "a member that a text has not"),
    ];
    for (name, change, expect, comment) in cases {
        v.add(name, rules, kind, plaintext(change), expect, comment);
    }
}
