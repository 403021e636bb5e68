//! Forks and verdicts.

use super::*;

pub(super) fn forks(v: &mut Vectors) -> Result<()> {
    v.group = "fork";
    let owner = key(Scheme::Nostr, 1);
    let next = key(Scheme::Nostr, 5);
    let mut root = Writer::new(key(Scheme::Nostr, 1))?;
    let mut first = root.event(some_claim("github:jason", 1));
    first.next = Some(commitment(&name(&next)));
    root.push(&first, &[&owner])?;
    let (mut one, mut two) = (root.clone(), root.clone());
    one.op(some_claim("dns:a.example", 2))?;
    two.op(some_claim("dns:b.example", 3))?;
    let fork_of = |one: &Writer, two: &Writer| -> Result<kez_core::Fork> {
        Ok(kez_core::Fork::of(one.chain.clone(), two.chain.clone())?.ok_or("no fork")?)
    };
    let open = fork_of(&one, &two)?.to_canonical();
    v.yields("open", &["FRK-01", "FRK-03"], "fork", open.as_str(), "open", "two histories");
    let mut settled = two.clone();
    let event = settled.event(Op::Rotate {
        to: next.public().clone(),
        reason: Reason::Compromised,
        compromised_since: None,
    });
    settled.push(&event, &[&next])?;
    let text = fork_of(&one, &settled)?.to_canonical();
    v.yields(
        "settled",
        &["FRK-02"],
        "fork",
        text,
        "settled",
        "one branch rotates to the committed key",
    );
    let mut both = one.clone();
    let event = both.event(Op::Rotate {
        to: next.public().clone(),
        reason: Reason::Retired,
        compromised_since: None,
    });
    both.push(&event, &[&next])?;
    v.yields(
        "both-rotate",
        &["FRK-02"],
        "fork",
        fork_of(&both, &settled)?.to_canonical(),
        "open",
        "both do, so neither wins",
    );
    let value: Json = serde_json::from_str(&open)?;
    let change = |change: &dyn Fn(&mut Json)| {
        let mut value = value.clone();
        change(&mut value);
        value.to_string()
    };
    v.add(
        "same",
        &["FRK-01"],
        "fork",
        change(&|f| f["b"] = json!([f["a"][1]])),
        "fork_refused",
        "both branches are the same",
    );
    v.add(
        "no-b",
        &["FRK-01"],
        "fork",
        change(&|f| f["b"] = json!([])),
        "fork_refused",
        "one branch",
    );
    v.add(
        "swapped",
        &["FRK-01"],
        "fork",
        change(&|f| {
            let (a, b) = (f["a"][1].clone(), f["b"][0].clone());
            f["a"][1] = b;
            f["b"][0] = a;
        }),
        "fork_refused",
        "the branches stand in the wrong order",
    );
    v.add(
        "forged",
        &["FRK-01"],
        "fork",
        change(&|f| f["b"][0]["sigs"][0]["sig"] = json!("1".repeat(128))),
        "signature_bad",
        "one branch is forged",
    );
    v.add(
        "version",
        &["OBJ-01"],
        "fork",
        change(&|f| f["kez"] = json!(2)),
        "version_unknown",
        "another version",
    );
    v.add(
        "type",
        &["OBJ-04"],
        "fork",
        change(&|f| f["type"] = json!("spoon")),
        "type_unknown",
        "not a fork",
    );
    v.add(
        "member",
        &["JSON-08"],
        "fork",
        change(&|f| f["x"] = json!(1)),
        "member_unknown",
        "a member too many",
    );
    Ok(())
}

pub(super) fn verdicts(v: &mut Vectors) -> Result<()> {
    v.group = "judge";
    let owner = key(Scheme::Nostr, 1);
    let next = key(Scheme::Nostr, 5);
    let subject = "github:jason";
    let claim_at =
        |at: i64| -> Result<Claim> { Ok(Claim::new(id(subject)?, name(&owner), now().plus(at))) };
    let sign = |claim: &Claim| sign_claim(claim, &owner);
    let plain = sign(&claim_at(-4000)?)?;
    let case = |proof: &str, history: Json| json!({ "proof": proof, "subject": subject, "account": "12345", "history": history });
    let text = |signed: &SignedClaim| proof::to_compact(signed.envelope());
    let mut w = Writer::new(key(Scheme::Nostr, 1))?;
    w.add(&plain)?;
    let listed = json!(w.chain.to_bundle());
    let mut ok = |name: &str, rules: &[&str], input: Json, comment: &str| {
        v.add(name, rules, "judge", input, "ok", comment)
    };
    ok("listed", &["CHN-18"], case(&text(&plain), listed.clone()), "listed and in force");
    ok("no-chain", &["VER-02"], case(&text(&plain), json!("absent")), "there is no chain");
    ok(
        "chain-unknown",
        &["VER-02"],
        case(&text(&plain), json!("unknown")),
        "no source could be asked",
    );
    let unlisted = sign(&claim_at(-30)?)?;
    ok(
        "unlisted",
        &["CHN-21"],
        case(&text(&unlisted), listed.clone()),
        "the current key signed it",
    );
    let pointer = proof::to_pointer(&name(&owner));
    ok("pointer", &["ENC-07"], case(&pointer, listed.clone()), "a pointer and its listing");
    let mut expires = claim_at(-4000)?;
    expires.expires_at = Some(now().plus(1));
    ok(
        "not-yet-expired",
        &["VER-03"],
        case(&text(&sign(&expires)?), json!("absent")),
        "a second is left",
    );
    ok(
        "clock-ahead",
        &["VER-03"],
        case(&text(&sign(&claim_at(600)?)?), json!("absent")),
        "10 minutes ahead is allowed",
    );

    let mut bad = |name: &str, rules: &[&str], input: Json, expect: &str, comment: &str| {
        v.add(name, rules, "judge", input, expect, comment)
    };
    let mut other = claim_at(-4000)?;
    other.subject = id("github:mallory")?;
    bad(
        "wrong-owner",
        &["CNL-01"],
        case(&text(&sign(&other)?), json!("absent")),
        "wrong_owner",
        "it names another account",
    );
    let mut pinned = claim_at(-4000)?;
    pinned.account = Some("999".into());
    bad(
        "account-changed",
        &["CNL-02"],
        case(&text(&sign(&pinned)?), json!("absent")),
        "account_changed",
        "the name changed hands",
    );
    bad(
        "future",
        &["VER-03"],
        case(&text(&sign(&claim_at(601)?)?), json!("absent")),
        "not_yet_valid",
        "10 minutes and a second ahead",
    );
    expires.expires_at = Some(now());
    bad(
        "expired",
        &["VER-03"],
        case(&text(&sign(&expires)?), json!("absent")),
        "expired",
        "from that second on",
    );
    let mut relies = claim_at(-4000)?;
    relies.sources = vec!["https://example.com/c".into()];
    bad(
        "relies-unknown",
        &["VER-02"],
        case(&text(&sign(&relies)?), json!("unknown")),
        "chain_unreachable",
        "it names a source that could not be asked",
    );
    bad(
        "relies-absent",
        &["VER-02"],
        case(&text(&sign(&relies)?), json!("absent")),
        "chain_unreachable",
        "it names a source that has nothing",
    );
    bad(
        "pointer-unknown",
        &["VER-04"],
        case(&pointer, json!("unknown")),
        "chain_unreachable",
        "a pointer needs the chain",
    );
    let mut elsewhere = case(&pointer, listed.clone());
    elsewhere["subject"] = json!("github:mallory");
    bad(
        "pointer-not-listed",
        &["ENC-07", "VER-04"],
        elsewhere,
        "not_on_chain",
        "the chain does not list this account",
    );
    let mut beacon = claim_at(-30)?;
    beacon.head = Some(Head { seq: 1, id: ObjectId::digest("event", b"another") });
    bad(
        "beacon",
        &["BCN-01"],
        case(&text(&sign(&beacon)?), listed.clone()),
        "beacon_mismatch",
        "it names another history",
    );
    beacon.head = Some(Head { seq: 9, id: ObjectId::digest("event", b"later") });
    bad(
        "beacon-short",
        &["BCN-01"],
        case(&text(&sign(&beacon)?), listed.clone()),
        "rollback",
        "the source withholds events",
    );
    let mut older = case(&text(&plain), listed.clone());
    older["rolled_back"] = json!(true);
    bad("rolled-back", &["BCN-02"], older, "rollback", "a longer chain was seen before");
    let foreign = sign_claim(&claim_at(-30)?, &key(Scheme::Nostr, 3))?;
    bad(
        "stranger",
        &["CHN-18"],
        case(&text(&foreign), listed.clone()),
        "chain_signer",
        "signed by a key that was never current",
    );
    bad(
        "stranger-no-chain",
        &["VER-02"],
        case(&text(&foreign), json!("absent")),
        "chain_unreachable",
        "another key than the primary needs the chain",
    );

    let mut revoked = w.clone();
    revoked.op(Op::Revoke {
        target: Target::Claim(plain.id()),
        reason: Reason::Retired,
        text: None,
    })?;
    bad(
        "revoked-by-id",
        &["CHN-19"],
        case(&text(&plain), json!(revoked.chain.to_bundle())),
        "revoked",
        "by its id",
    );
    bad(
        "pointer-revoked",
        &["VER-04"],
        case(&pointer, json!(revoked.chain.to_bundle())),
        "revoked",
        "and so the pointer",
    );
    let mut gone = w.clone();
    gone.op(Op::Revoke {
        target: Target::Subject(id(subject)?),
        reason: Reason::Superseded,
        text: None,
    })?;
    let bundle = json!(gone.chain.to_bundle());
    bad(
        "revoked-by-subject",
        &["CHN-10", "CHN-19"],
        case(&text(&plain), bundle.clone()),
        "revoked",
        "by its subject",
    );
    let before = sign(&claim_at(-3541)?)?;
    bad(
        "unlisted-revoked",
        &["CHN-19"],
        case(&text(&before), bundle),
        "revoked",
        "not listed, and not later than the revocation",
    );
    expires.expires_at = Some(now().plus(-1));
    let ended = sign(&expires)?;
    let mut both = Writer::new(key(Scheme::Nostr, 1))?;
    both.add(&ended)?;
    both.op(Op::Revoke { target: Target::Claim(ended.id()), reason: Reason::Retired, text: None })?;
    bad(
        "revoked-and-expired",
        &["VER-01"],
        case(&text(&ended), json!(both.chain.to_bundle())),
        "revoked",
        "revoked comes before expired",
    );
    let mut wrong = w.clone();
    let mut event = wrong.event(add(&before));
    if let Op::Add { subject, .. } = &mut event.op {
        *subject = id("dns:example.com")?;
    }
    wrong.push(&event, &[&owner])?;
    bad(
        "listing",
        &["CHN-18"],
        case(&text(&before), json!(wrong.chain.to_bundle())),
        "listing_mismatch",
        "listed for another subject",
    );

    let rotate = |w: &Writer, since: Option<u64>| -> Result<Writer> {
        let mut w = w.clone();
        let reason = if since.is_some() { Reason::Compromised } else { Reason::Superseded };
        let event =
            w.event(Op::Rotate { to: next.public().clone(), reason, compromised_since: since });
        w.push(&event, &[&owner, &next])?;
        Ok(w)
    };
    let rotated = json!(rotate(&w, None)?.chain.to_bundle());
    bad(
        "rotated-out",
        &["CHN-20"],
        case(&text(&unlisted), rotated.clone()),
        "key_rotated",
        "by the old key, and not listed before the rotation",
    );
    let void = json!(rotate(&w, Some(1))?.chain.to_bundle());
    bad(
        "compromised",
        &["CHN-14", "CHN-20"],
        case(&text(&plain), void.clone()),
        "key_compromised",
        "its listing is void",
    );
    bad(
        "compromised-unlisted",
        &["CHN-20"],
        case(&text(&unlisted), void),
        "key_compromised",
        "by a key that was compromised",
    );
    let mut undone = revoked.clone();
    undone = rotate(&undone, Some(2))?;
    let by_next = sign_claim(&claim_at(-30)?, &next)?;
    v.add(
        "listed-before-rotation",
        &["CHN-20"],
        "judge",
        case(&text(&plain), rotated.clone()),
        "ok",
        "what was listed before stands",
    );
    v.add(
        "new-key",
        &["CHN-21"],
        "judge",
        case(&text(&by_next), rotated),
        "ok",
        "the new key speaks for the same primary",
    );
    v.add(
        "void-revocation",
        &["CHN-14"],
        "judge",
        case(&text(&plain), json!(undone.chain.to_bundle())),
        "ok",
        "the thief's revocation is void",
    );
    let mut again = gone.clone();
    let fresh = sign(&claim_at(-20)?)?;
    again.add(&fresh)?;
    v.add(
        "added-again",
        &["CHN-10"],
        "judge",
        case(&text(&fresh), json!(again.chain.to_bundle())),
        "ok",
        "a later add starts anew",
    );
    v.add(
        "pointer-again",
        &["CHN-10"],
        "judge",
        case(&pointer, json!(again.chain.to_bundle())),
        "ok",
        "and the pointer with it",
    );
    let mut a = w.clone();
    let mut b = w.clone();
    a.op(some_claim("dns:a.example", 2))?;
    b.op(some_claim("dns:b.example", 3))?;
    let fork = json!([a.chain.to_bundle(), b.chain.to_bundle()]);
    v.add(
        "forked",
        &["FRK-03", "VER-01"],
        "judge",
        case(&text(&plain), fork),
        "forked",
        "two histories: neither is chosen",
    );
    Ok(())
}
