//! Signatures.

use super::{claim::base_claim, *};

pub(super) fn signatures(v: &mut Vectors) -> Result<()> {
    v.group = "sig";
    let (owner, claim) = base_claim()?;
    let text = sign_claim(&claim, &owner)?.envelope().to_canonical();
    let envelope: Json = serde_json::from_str(&text)?;
    let sig = envelope["sigs"][0]["sig"].as_str().unwrap_or_default().to_owned();
    let mut add =
        |name: &str, rule: &str, change: &dyn Fn(&mut Json), expect: &str, comment: &str| {
            let mut envelope = envelope.clone();
            change(&mut envelope);
            v.add(name, &[rule], "claim", envelope.to_string(), expect, comment);
        };
    add("none", "OBJ-03", &|e| e["sigs"] = json!([]), "signature_set", "no signature");
    add(
        "twice",
        "CLM-04",
        &|e| e["sigs"] = json!([e["sigs"][0], e["sigs"][0]]),
        "signature_set",
        "the same signature twice",
    );
    add(
        "thrice",
        "OBJ-03",
        &|e| e["sigs"] = json!([e["sigs"][0], e["sigs"][0], e["sigs"][0]]),
        "signature_set",
        "three signatures",
    );
    add(
        "member",
        "JSON-10",
        &|e| e["sigs"][0]["x"] = json!(1),
        "member_unknown",
        "a member too many",
    );
    add(
        "upper",
        "OBJ-05",
        &|e| e["sigs"][0]["sig"] = json!(sig.to_uppercase()),
        "signature_syntax",
        "upper-case digits",
    );
    add(
        "short",
        "OBJ-05",
        &|e| e["sigs"][0]["sig"] = json!(&sig[2..]),
        "signature_syntax",
        "63 bytes",
    );
    add(
        "unknown-suite",
        "SIG-01",
        &|e| e["sigs"][0]["suite"] = json!("rsa"),
        "suite_mismatch",
        "a suite of no version",
    );
    add(
        "other-suite",
        "SIG-01",
        &|e| e["sigs"][0]["suite"] = json!("ed25519"),
        "suite_mismatch",
        "an ed25519 suite for a nostr key",
    );
    add(
        "event-suite",
        "SIG-05",
        &|e| e["sigs"][0]["suite"] = json!("nostr-event"),
        "signature_bad",
        "bip340 is not nostr-event",
    );
    add(
        "payload",
        "SIG-04",
        &|e| e["payload"]["subject"] = json!("github:other"),
        "signature_bad",
        "the payload was changed",
    );
    let mut flipped = sig.clone().into_bytes();
    flipped[100] ^= 1;
    let flipped = String::from_utf8(flipped)?;
    add("flipped", "SIG-04", &|e| e["sigs"][0]["sig"] = json!(flipped), "signature_bad", "one bit");
    add(
        "zero",
        "SIG-04",
        &|e| e["sigs"][0]["sig"] = json!("0".repeat(128)),
        "signature_bad",
        "all zeros",
    );
    add(
        "s-order",
        "SIG-04",
        &|e| {
            let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
            e["sigs"][0]["sig"] = json!(format!("{}{order}", &sig[..64]));
        },
        "signature_bad",
        "s is the order of the group",
    );
    let stranger = name(&key(Scheme::Nostr, 2)).as_str().to_owned();
    add(
        "other-key",
        "SIG-04",
        &|e| e["sigs"][0]["key"] = json!(stranger),
        "signature_bad",
        "another key's name",
    );
    add(
        "domain-key",
        "ID-10",
        &|e| e["sigs"][0]["key"] = json!("dns:example.com"),
        "key_expected",
        "a domain cannot sign",
    );
    let mut nostr = claim.to_envelope()?;
    let event = nostr.nostr_event()?;
    let signed_event = Value::parse(owner.sign_nostr_event(&event, &[0; 32])?.as_bytes())?;
    let sig = signed_event
        .get("sig")
        .and_then(Value::as_str)
        .and_then(kez_core::hex::decode)
        .ok_or("no sig")?;
    nostr.attach(owner.public(), Suite::NostrEvent, sig);
    v.yields(
        "nostr-event",
        &["SIG-05"],
        "claim",
        nostr.to_canonical(),
        nostr.id().to_string(),
        "signed as a nostr event",
    );
    let mut as_bip340 = claim.to_envelope()?;
    as_bip340.attach(owner.public(), Suite::Bip340, sig);
    v.add(
        "event-as-bip340",
        &["SIG-04"],
        "claim",
        as_bip340.to_canonical(),
        "signature_bad",
        "an event's signature is none over the id",
    );

    let other = key(Scheme::Ed25519, 1);
    let claim = Claim::new(id("dns:example.com")?, name(&other), now().plus(-60));
    let signed = sign_claim(&claim, &other)?;
    let good = signed.envelope().signatures()[0].bytes;
    let mut with = |name: &str, bytes: [u8; 64], comment: &str| -> Result<()> {
        let mut envelope = claim.to_envelope()?;
        envelope.attach(other.public(), Suite::Ed25519, bytes);
        v.add(
            name,
            &["SIG-02", "SIG-03"],
            "claim",
            envelope.to_canonical(),
            "signature_bad",
            comment,
        );
        Ok(())
    };
    let mut bytes = good;
    bytes[5] ^= 1;
    with("ed25519-flipped", bytes, "one bit")?;
    // S + L: the same equation holds, which strict verification must refuse.
    let order: [u8; 32] =
        kez_core::hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
            .ok_or("hex")?;
    let mut bytes = good;
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    with("ed25519-s-plus-order", bytes, "S is not below the group's order")?;
    let mut bytes = [0; 64];
    bytes[0] = 1;
    with("ed25519-small-order-r", bytes, "R is the neutral element")?;
    Ok(())
}
