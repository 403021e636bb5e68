//! Verdicts: every step of `judge`.

use super::*;

const SUBJECT: &str = "github:jason";
const ACCOUNT: &str = "12345";

/// A row: name, rules, proof, history, further members of the input (they replace those of the
/// same name), the expected reason or `ok`, and a comment.
type Row<'a> = (&'a str, &'a [&'a str], &'a str, &'a Json, Json, &'a str, &'a str);

/// The histories and keys that the rows share.
struct Cast {
    owner: SecretKey,
    next: SecretKey,
    /// An empty chain of the owner.
    empty: Writer,
    /// A claim that is dated before the chain.
    plain: SignedClaim,
    /// The chain that lists `plain`.
    listed: Writer,
}

/// A claim of the account, dated so many seconds after the clock.
fn claim_at(at: i64) -> Result<Claim> {
    Ok(Claim::new(id(SUBJECT)?, name(&key(Scheme::Nostr, 1)), now().plus(at)))
}

fn compact(signed: &SignedClaim) -> String {
    proof::to_compact(signed.envelope())
}

/// A claim by the owner with changed members, as a compact form.
fn signed(at: i64, change: impl FnOnce(&mut Claim)) -> Result<String> {
    let mut claim = claim_at(at)?;
    change(&mut claim);
    Ok(compact(&sign_claim(&claim, &key(Scheme::Nostr, 1))?))
}

fn revoke(target: Target) -> Op {
    Op::Revoke { target, reason: Reason::Retired, text: None }
}

impl Cast {
    fn new() -> Result<Self> {
        let owner = key(Scheme::Nostr, 1);
        let plain = sign_claim(&claim_at(-4000)?, &owner)?;
        let empty = Writer::new(key(Scheme::Nostr, 1))?;
        let mut listed = empty.clone();
        listed.add(&plain)?;
        Ok(Self { owner, next: key(Scheme::Nostr, 5), empty, plain, listed })
    }

    fn with(&self, ops: Vec<Op>) -> Result<Writer> {
        let mut w = self.listed.clone();
        for op in ops {
            w.op(op)?;
        }
        Ok(w)
    }

    /// The chain after a rotation to the next key.
    fn rotated(&self, w: &Writer, since: Option<u64>) -> Result<Writer> {
        let mut w = w.clone();
        let reason = if since.is_some() { Reason::Compromised } else { Reason::Superseded };
        let to = self.next.public().clone();
        let event = w.event(Op::Rotate { to, reason, compromised_since: since });
        w.push(&event, &[&self.owner, &self.next])?;
        Ok(w)
    }
}

fn bundle(w: &Writer) -> Json {
    w.chain.to_bundle().into()
}

fn emit(v: &mut Vectors, rows: Vec<Row<'_>>) {
    for (name, rules, proof, history, more, expect, comment) in rows {
        let mut input =
            json!({ "proof": proof, "subject": SUBJECT, "account": ACCOUNT, "history": history });
        for (member, value) in more.as_object().into_iter().flatten() {
            input[member] = value.clone();
        }
        v.add(name, rules, "judge", input, expect, comment);
    }
}

pub(super) fn verdicts(v: &mut Vectors) -> Result<()> {
    v.group = "judge";
    let cast = Cast::new()?;
    owners(v, &cast)?;
    histories(v, &cast)?;
    revocations(v, &cast)?;
    rotations(v, &cast)?;
    doubts(v, &cast)?;
    pointers(v, &cast)
}

/// Steps 1 to 3, and expiry.
fn owners(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let absent = &json!("absent");
    let pin = |account: &'static str| move |c: &mut Claim| c.account = Some(account.into());
    let until = |at: i64| signed(-4000, move |c| c.expires_at = Some(now().plus(at)));
    let other = id("github:mallory")?;
    let renamed = signed(-4000, |c| {
        c.subject = other.clone();
        c.account = Some(ACCOUNT.into());
    })?;
    let unpinned = signed(-4000, |c| c.subject = other.clone())?;
    let elsewhere = signed(-4000, |c| {
        c.subject = Identity::from_canonical("dns:example.com").unwrap_or_else(|e| unreachable_key(&e));
        c.account = Some(ACCOUNT.into());
    })?;
    let other_account = signed(-4000, |c| {
        c.subject = other.clone();
        c.account = Some("999".into());
    })?;
    let mut pinned_listing = cast.empty.clone();
    let mut add_op = add(&cast.plain);
    if let Op::Add { account, .. } = &mut add_op {
        *account = Some("999".into());
    }
    pinned_listing.op(add_op)?;
    let listing_pinned = &bundle(&pinned_listing);
    let plain = compact(&cast.plain);
    let (future, ahead) = (signed(601, |_| {})?, signed(600, |_| {})?);
    let forked = &json!([
        bundle(&cast.with(vec![some_claim("dns:a.example", 2)])?),
        bundle(&cast.with(vec![some_claim("dns:b.example", 3)])?),
    ]);
    emit(v, vec![
        ("wrong-owner", &["CNL-01", "VER-01"], &unpinned, absent, json!({}), "wrong_owner", "it names another account"),
        ("renamed", &["VER-01", "CNL-02"], &renamed, absent, json!({}), "ok", "another name of the same account id"),
        ("renamed-scheme", &["VER-01"], &elsewhere, absent, json!({}), "wrong_owner", "the same id at another platform"),
        ("renamed-account", &["VER-01"], &other_account, absent, json!({}), "wrong_owner", "another name and another id"),
        ("renamed-no-account", &["VER-01"], &renamed, absent, json!({ "account": null }), "wrong_owner", "the platform gives no id"),
        ("account-changed", &["CNL-02"], &signed(-4000, pin("999"))?, absent, json!({}), "account_changed", "the name changed hands"),
        ("account-same", &["CNL-02"], &signed(-4000, pin(ACCOUNT))?, absent, json!({}), "ok", "pinned"),
        ("account-none", &["CNL-02"], &signed(-4000, pin("999"))?, absent, json!({ "account": null }), "ok", "the platform gives no id"),
        ("account-listing", &["VER-01", "CNL-02"], &plain, listing_pinned, json!({}), "account_changed", "the account that only the listing pins"),
        ("future", &["VER-03"], &future, absent, json!({}), "not_yet_valid", "10 minutes and a second ahead"),
        ("future-forked", &["VER-01", "GEN-03"], &future, forked, json!({}), "not_yet_valid", "the date comes before the fork"),
        ("owner-forked", &["VER-01", "GEN-03"], &unpinned, forked, json!({}), "wrong_owner", "the owner comes before the fork"),
        ("clock-ahead", &["VER-03"], &ahead, absent, json!({}), "ok", "10 minutes ahead is allowed"),
        ("not-yet-expired", &["VER-01"], &until(1)?, absent, json!({}), "ok", "a second is left"),
        ("expired", &["VER-01"], &until(0)?, absent, json!({}), "expired", "from that second on"),
    ]);
    Ok(())
}

/// What is known of the chain: steps 4, 5, 10 and 11.
fn histories(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let plain = compact(&cast.plain);
    let listed = &bundle(&cast.listed);
    let [absent, unchecked, unknown] = &["absent", "unchecked", "unknown"].map(|word| json!(word));
    let fork = |more: &[Op]| -> Result<Json> {
        let mut a = cast.with(more.to_vec())?;
        let mut b = a.clone();
        a.op(some_claim("dns:a.example", 2))?;
        b.op(some_claim("dns:b.example", 3))?;
        Ok(json!([bundle(&a), bundle(&b)]))
    };
    let forked = &fork(&[])?;
    let revoked_then_forked = &fork(&[revoke(Target::Claim(cast.plain.id()))])?;
    let relies = signed(-4000, |c| c.sources = vec!["https://example.com/c".into()])?;
    let stranger = compact(&sign_claim(&claim_at(-30)?, &key(Scheme::Nostr, 3))?);
    let with_head = |seq: u64, at: i64| {
        signed(at, move |c| c.head = Some(Head { seq, id: ObjectId::digest("event", b"another") }))
    };
    let (other_head, later_head) = (with_head(1, -30)?, with_head(9, -30)?);
    let right_head = signed(-30, |c| c.head = cast.listed.chain.head())?;
    emit(v, vec![
        ("listed", &["CHN-18", "VER-01"], &plain, listed, json!({}), "ok", "listed and in force"),
        ("unlisted", &["CHN-21"], &signed(-30, |_| {})?, listed, json!({}), "ok", "the current key signed it"),
        ("no-chain", &["VER-01"], &plain, absent, json!({}), "ok", "there is no chain"),
        ("chain-unknown", &["VER-02"], &plain, unknown, json!({}), "chain_unreachable", "a revocation may exist"),
        ("chain-unchecked", &["VER-02"], &plain, unchecked, json!({}), "ok", "no source was asked: a note says so"),
        ("relies-unknown", &["VER-02"], &relies, unknown, json!({}), "chain_unreachable", "it names a source that could not be asked"),
        ("relies-absent", &["VER-01"], &relies, absent, json!({}), "chain_unreachable", "it names sources, and they have nothing"),
        ("stranger", &["CHN-18", "CLM-04"], &stranger, listed, json!({}), "chain_signer", "signed by a key that was never current"),
        ("stranger-no-chain", &["VER-02", "CLM-04"], &stranger, absent, json!({}), "chain_unreachable", "another key than the primary needs the chain"),
        ("stranger-unchecked", &["VER-02"], &stranger, unchecked, json!({}), "chain_unreachable", "and an unchecked one is not enough"),
        ("stranger-remembered", &["VER-02"], &stranger, listed, json!({ "unchecked": true }), "chain_unreachable", "the key may be in force since"),
        ("forked", &["FRK-03", "FRK-04", "VER-01"], &plain, forked, json!({}), "forked", "two histories: neither is chosen"),
        ("forked-revoked", &["FRK-03", "VER-01"], &plain, revoked_then_forked, json!({}), "forked", "the fork comes before a revocation that both have"),
        ("forked-beacon", &["VER-01"], &other_head, forked, json!({}), "forked", "and before the beacon"),
        ("beacon", &["BCN-01"], &other_head, listed, json!({}), "beacon_mismatch", "it names another history"),
        ("beacon-right", &["BCN-01"], &right_head, listed, json!({}), "ok", "it names the head"),
        ("beacon-short", &["BCN-01"], &later_head, listed, json!({}), "rollback", "the sources withhold events"),
        ("beacon-short-damaged", &["BCN-01"], &later_head, listed, json!({ "doubt": "chain_damaged" }), "rollback", "whatever the doubt was"),
        ("beacon-absent", &["BCN-01", "VER-01"], &later_head, absent, json!({}), "rollback", "the chain that it names is withheld"),
        ("beacon-unknown", &["BCN-01"], &later_head, unknown, json!({}), "chain_unreachable", "nothing to compare it with"),
        ("beacon-unchecked", &["BCN-01"], &later_head, unchecked, json!({}), "ok", "nothing to compare it with"),
    ]);
    Ok(())
}

/// What the chain says: revocations.
fn revocations(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let plain = compact(&cast.plain);
    let by_id = cast.with(vec![revoke(Target::Claim(cast.plain.id()))])?;
    let by_subject = cast.with(vec![revoke(Target::Subject(id(SUBJECT)?))])?;
    let twice = cast.with(vec![
        revoke(Target::Subject(id(SUBJECT)?)),
        Op::Revoke { target: Target::Claim(cast.plain.id()), reason: Reason::Compromised, text: None },
    ])?;
    let before = sign_claim(&claim_at(-3541)?, &cast.owner)?;
    let after = signed(-3539, |_| {})?;
    let fresh = sign_claim(&claim_at(-20)?, &cast.owner)?;
    let mut again = by_subject.clone();
    again.add(&fresh)?;
    let mut early = cast.empty.clone();
    early.op(revoke(Target::Claim(cast.plain.id())))?;
    let early_unlisted = early.clone();
    early.add(&cast.plain)?;
    let mut subject_first = cast.empty.clone();
    subject_first.op(revoke(Target::Subject(id(SUBJECT)?)))?;
    subject_first.add(&cast.plain)?;
    let ended = {
        let mut claim = claim_at(-4000)?;
        claim.expires_at = Some(now().plus(-1));
        sign_claim(&claim, &cast.owner)?
    };
    let mut both = cast.empty.clone();
    both.add(&ended)?;
    both.op(revoke(Target::Claim(ended.id())))?;
    let mut wrong = cast.listed.clone();
    let mut event = wrong.event(add(&before));
    if let Op::Add { subject, .. } = &mut event.op {
        *subject = id("dns:example.com")?;
    }
    wrong.push(&event, &[&cast.owner])?;
    let wrong_listing = wrong.clone();
    wrong.op(revoke(Target::Claim(before.id())))?;
    let beacon_revoked = {
        let mut claim = claim_at(-3000)?;
        claim.head = Some(Head { seq: 9, id: ObjectId::digest("event", b"later") });
        sign_claim(&claim, &cast.owner)?
    };
    let mut withheld = cast.listed.clone();
    withheld.op(revoke(Target::Claim(beacon_revoked.id())))?;
    let [by_id, by_subject, twice, again, early, early_unlisted, subject_first, both, wrong_listing, wrong, withheld] =
        &[by_id, by_subject, twice, again, early, early_unlisted, subject_first, both, wrong_listing, wrong, withheld]
            .map(|w| bundle(&w));
    emit(v, vec![
        ("revoked-by-id", &["CHN-19"], &plain, by_id, json!({}), "revoked", "by its id"),
        ("revoked-by-subject", &["CHN-19"], &plain, by_subject, json!({}), "revoked", "by its subject"),
        ("revoked-twice", &["CHN-19"], &plain, twice, json!({}), "revoked", "the first revocation counts"),
        ("revoked-early", &["CHN-19"], &plain, early, json!({}), "revoked", "revoked by its id before it was listed"),
        ("revoked-early-unlisted", &["CHN-19"], &plain, early_unlisted, json!({}), "revoked", "revoked by its id and never listed"),
        ("subject-revoked-early", &["CHN-19"], &plain, subject_first, json!({}), "ok", "its subject was revoked before it was listed"),
        ("unlisted-revoked", &["CHN-19"], &compact(&before), by_subject, json!({}), "revoked", "not listed, and not later than the revocation"),
        ("unlisted-later", &["CHN-19", "CHN-21"], &after, by_subject, json!({}), "ok", "not listed, and later than the revocation"),
        ("added-again", &["CHN-19"], &compact(&fresh), again, json!({}), "ok", "a later add starts anew"),
        ("not-added-again", &["CHN-19"], &plain, again, json!({}), "revoked", "but not for the old claim"),
        ("revoked-and-expired", &["VER-01"], &compact(&ended), both, json!({}), "revoked", "revoked comes before expired"),
        ("revoked-rollback", &["VER-01"], &compact(&beacon_revoked), withheld, json!({}), "revoked", "and before a rollback"),
        ("revoked-damaged", &["VER-01", "SRC-08"], &plain, by_id, json!({ "doubt": "chain_damaged" }), "revoked", "and before any doubt"),
        ("revoked-unchecked", &["VER-01"], &plain, by_id, json!({ "unchecked": true }), "revoked", "a remembered revocation"),
        ("revoked-owner", &["VER-01"], &plain, by_id, json!({ "subject": "github:mallory" }), "wrong_owner", "the owner comes first"),
        ("listing", &["CHN-18"], &compact(&before), wrong_listing, json!({}), "listing_mismatch", "listed for another subject"),
        ("listing-revoked", &["CHN-18"], &compact(&before), wrong, json!({}), "listing_mismatch", "the subject comes before the revocation"),
    ]);
    Ok(())
}

/// What the chain says: keys.
fn rotations(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let plain = compact(&cast.plain);
    let unlisted = sign_claim(&claim_at(-30)?, &cast.owner)?;
    let by_next = sign_claim(&claim_at(-30)?, &cast.next)?;
    let next_early = sign_claim(&claim_at(-3900)?, &cast.next)?;
    let rotated = cast.rotated(&cast.listed, None)?;
    let void = cast.rotated(&cast.listed, Some(1))?;
    let revoked = cast.with(vec![revoke(Target::Claim(cast.plain.id()))])?;
    let undone = cast.rotated(&revoked, Some(2))?;
    let void_then_revoked = {
        let mut w = cast.rotated(&cast.listed, Some(1))?;
        let event = w.event(revoke(Target::Claim(cast.plain.id())));
        w.push(&event, &[&cast.next])?;
        w
    };
    let mut old_listed_after = rotated.clone();
    let event = old_listed_after.event(add(&unlisted));
    old_listed_after.push(&event, &[&cast.next])?;
    let mut relisted = void.clone();
    let event = relisted.event(add(&cast.plain));
    relisted.push(&event, &[&cast.next])?;
    let mut too_early = cast.listed.clone();
    too_early.add(&next_early)?;
    let too_early = cast.rotated(&too_early, None)?;
    let kept = cast.with(vec![some_claim("dns:a.example", 2)])?;
    let kept = cast.rotated(&kept, Some(2))?;
    let [rotated, void, undone, void_then_revoked, old_listed_after, relisted, too_early, kept] =
        &[rotated, void, undone, void_then_revoked, old_listed_after, relisted, too_early, kept].map(|w| bundle(&w));
    let (unlisted, by_next, next_early) = (compact(&unlisted), compact(&by_next), compact(&next_early));
    emit(v, vec![
        ("rotated-out", &["CHN-20"], &unlisted, rotated, json!({}), "key_rotated", "by the old key, and not listed before the rotation"),
        ("listed-before-rotation", &["CHN-20"], &plain, rotated, json!({}), "ok", "what was listed before stands"),
        ("listed-after-rotation", &["CHN-20"], &unlisted, old_listed_after, json!({}), "key_rotated", "listed after the rotation of its signer"),
        ("new-key", &["CHN-21"], &by_next, rotated, json!({}), "ok", "the new key speaks for the same primary"),
        ("new-key-listed-early", &["CHN-18"], &next_early, too_early, json!({}), "chain_signer", "listed before its signer became current"),
        ("new-key-listed-early-doubt", &["VER-01"], &next_early, too_early, json!({ "doubt": "chain_damaged" }), "chain_signer", "that no later event can change"),
        ("compromised", &["CHN-14", "CHN-20"], &plain, void, json!({}), "key_compromised", "its listing is void"),
        ("compromised-unlisted", &["CHN-20"], &unlisted, void, json!({}), "key_compromised", "by a key that was compromised"),
        ("compromised-revoked", &["CHN-19", "VER-01"], &plain, void_then_revoked, json!({}), "revoked", "a revocation comes before void listings"),
        ("compromised-later", &["CHN-20"], &plain, kept, json!({}), "ok", "listed before the compromise"),
        ("compromised-listed-again", &["CHN-09", "CHN-20"], &plain, relisted, json!({}), "key_rotated", "a void claim may be listed again, but its signer has gone"),
        ("void-revocation", &["CHN-14"], &plain, undone, json!({}), "ok", "the thief's revocation is void"),
    ]);
    Ok(())
}

/// Doubts about a chain that is known: steps 6, 7, 9 and 12.
fn doubts(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let plain = compact(&cast.plain);
    let listed = &bundle(&cast.listed);
    let stranger = compact(&sign_claim(&claim_at(-30)?, &key(Scheme::Nostr, 3))?);
    let expired = {
        let mut claim = claim_at(-4000)?;
        claim.expires_at = Some(now());
        sign_claim(&claim, &cast.owner)?
    };
    let mut over = cast.empty.clone();
    over.add(&expired)?;
    let over = &bundle(&over);
    let expired = compact(&expired);
    let skipping = &{
        let op = Value::object([("type", Value::from("future"))]);
        let bundle = cast.listed.with_raw(
            |m| {
                m.insert("op".into(), op);
                m.insert("critical".into(), Value::Bool(false));
            },
            &[&cast.owner],
        )?;
        json!(bundle)
    };
    let doubt = |code: &str| json!({ "doubt": code });
    let all = json!({ "refused": true, "settled": true });
    emit(v, vec![
        ("rolled-back", &["BCN-02", "VER-01"], &plain, listed, doubt("rollback"), "rollback", "a longer chain was seen before"),
        ("rolled-back-expired", &["VER-01"], &expired, over, doubt("rollback"), "rollback", "a rollback comes before expiry"),
        ("damaged", &["VER-01", "VER-02"], &plain, listed, doubt("chain_damaged"), "chain_damaged", "events may be missing"),
        ("damaged-expired", &["VER-01"], &expired, over, doubt("chain_damaged"), "expired", "expiry comes before other doubts"),
        ("unknown-expired", &["VER-01"], &expired, &json!("unknown"), json!({}), "expired", "and before an unknown chain"),
        ("unreachable", &["VER-01", "VER-02"], &plain, listed, doubt("chain_unreachable"), "chain_unreachable", "only a remembered chain"),
        ("log-refused", &["VER-01", "LOG-07"], &plain, listed, doubt("log_refused"), "log_refused", "only a doubted copy"),
        ("log-inconsistent", &["VER-01", "LOG-07"], &plain, listed, doubt("log_inconsistent"), "log_inconsistent", "only a doubted copy"),
        ("log-unwitnessed", &["VER-01", "LOG-07"], &plain, listed, doubt("log_unwitnessed"), "log_unwitnessed", "only a doubted copy"),
        ("stranger-damaged", &["VER-01"], &stranger, listed, doubt("chain_damaged"), "chain_damaged", "a key in the part that is missing may have signed it"),
        ("stranger-rolled-back", &["VER-01"], &stranger, listed, doubt("rollback"), "rollback", "or one in the withheld part"),
        ("remembered", &["VER-01", "VER-02"], &plain, listed, json!({ "unchecked": true }), "ok", "offline by choice"),
        ("skipped", &["CHN-17", "VER-01"], &plain, skipping, json!({}), "ok", "the note events_skipped"),
        ("server-refused", &["LOG-10"], &plain, listed, json!({ "refused": true }), "ok", "another source served the chain"),
        ("settled", &["FRK-02", "VER-01"], &plain, listed, json!({ "settled": true }), "ok", "the note fork_settled"),
        ("notes-in-order", &["VER-01"], &plain, skipping, all, "ok", "in the order of the table"),
    ]);
    Ok(())
}

fn pointers(v: &mut Vectors, cast: &Cast) -> Result<()> {
    let pointer = proof::to_pointer(&name(&cast.owner));
    let listed = &bundle(&cast.listed);
    let [absent, unchecked, unknown] = &["absent", "unchecked", "unknown"].map(|word| json!(word));
    let lists = |subject: &str, pin: Option<&str>, byte: u8| -> Result<Op> {
        let claim = ObjectId::digest("claim", &[byte]);
        Ok(Op::Add { subject: id(subject)?, claim, account: pin.map(str::to_owned), url: None })
    };
    let with = |ops: Vec<Op>| -> Result<Json> {
        let mut w = cast.empty.clone();
        for op in ops {
            w.op(op)?;
        }
        Ok(bundle(&w))
    };
    let revoke_subject = || -> Result<Op> { Ok(revoke(Target::Subject(id(SUBJECT)?))) };
    let pinned = &with(vec![lists(SUBJECT, Some(ACCOUNT), 1)?])?;
    let changed = &with(vec![lists(SUBJECT, Some("999"), 1)?])?;
    let renamed = &with(vec![lists("github:old", Some(ACCOUNT), 1)?])?;
    let scheme = &with(vec![lists("dns:example.com", Some(ACCOUNT), 1)?])?;
    let both = &with(vec![lists(SUBJECT, Some("999"), 1)?, lists("github:old", Some(ACCOUNT), 2)?])?;
    let newest = &with(vec![lists(SUBJECT, Some("999"), 1)?, lists(SUBJECT, Some(ACCOUNT), 2)?])?;
    let second_gone = &with(vec![
        lists(SUBJECT, None, 1)?,
        lists(SUBJECT, None, 2)?,
        revoke(Target::Claim(ObjectId::digest("claim", &[2]))),
    ])?;
    let gone = &with(vec![lists(SUBJECT, None, 1)?, revoke_subject()?])?;
    let again = &with(vec![lists(SUBJECT, None, 1)?, revoke_subject()?, lists(SUBJECT, None, 2)?])?;
    let gone_renamed = &with(vec![
        lists(SUBJECT, None, 1)?,
        revoke_subject()?,
        lists("github:old", Some(ACCOUNT), 2)?,
    ])?;
    let never = &with(vec![revoke_subject()?])?;
    let forked = &json!([
        bundle(&cast.with(vec![some_claim("dns:a.example", 2)])?),
        bundle(&cast.with(vec![some_claim("dns:b.example", 3)])?),
    ]);
    let elsewhere = json!({ "subject": "github:mallory", "account": "999" });
    let mut missing = elsewhere.clone();
    missing["doubt"] = "chain_damaged".into();
    let doubt = |code: &str| json!({ "doubt": code });
    let p = &*pointer;
    emit(v, vec![
        ("pointer", &["ENC-07", "VER-04"], p, listed, json!({}), "ok", "a pointer and its listing"),
        ("pointer-pinned", &["VER-04"], p, pinned, json!({}), "ok", "the listing pins the account"),
        ("pointer-account", &["VER-04", "CNL-02"], p, changed, json!({}), "account_changed", "it pins another one"),
        ("pointer-renamed", &["VER-04"], p, renamed, json!({}), "ok", "another name of the same account id"),
        ("pointer-renamed-scheme", &["VER-04"], p, scheme, json!({}), "not_on_chain", "the same id at another platform"),
        ("pointer-name-first", &["VER-04"], p, both, json!({}), "account_changed", "the name comes before the account id"),
        ("pointer-newest", &["VER-04"], p, newest, json!({}), "ok", "the newest listing in force counts"),
        ("pointer-newest-revoked", &["VER-04"], p, second_gone, json!({}), "ok", "an older listing that is in force"),
        ("pointer-revoked", &["VER-04"], p, gone, json!({}), "revoked", "the listing is revoked"),
        ("pointer-revoked-renamed", &["VER-04"], p, gone_renamed, json!({}), "ok", "a listing in force of the account id comes before that"),
        ("pointer-again", &["VER-04", "CHN-19"], p, again, json!({}), "ok", "listed again after the revocation"),
        ("pointer-never-listed", &["VER-04"], p, never, json!({}), "not_on_chain", "a revoked subject that was never listed"),
        ("pointer-not-listed", &["VER-04"], p, listed, elsewhere, "not_on_chain", "the chain does not list this account"),
        ("pointer-not-listed-damaged", &["VER-04"], p, listed, missing, "chain_damaged", "the missing part may list it"),
        ("pointer-damaged", &["VER-04"], p, listed, doubt("chain_damaged"), "chain_damaged", "the missing part may revoke it"),
        ("pointer-rolled-back", &["VER-04"], p, listed, doubt("rollback"), "rollback", "or the withheld one"),
        ("pointer-revoked-damaged", &["VER-04"], p, gone, doubt("chain_damaged"), "revoked", "a revocation comes before a doubt"),
        ("pointer-remembered", &["VER-04"], p, listed, json!({ "unchecked": true }), "ok", "offline by choice"),
        ("pointer-absent", &["VER-04"], p, absent, json!({}), "not_on_chain", "there is no chain"),
        ("pointer-unchecked", &["VER-04"], p, unchecked, json!({}), "chain_unreachable", "a pointer needs the chain"),
        ("pointer-unknown", &["VER-04"], p, unknown, json!({}), "chain_unreachable", "a pointer needs the chain"),
        ("pointer-forked", &["FRK-03", "VER-04"], p, forked, json!({}), "forked", "of a fork nothing counts"),
    ]);
    Ok(())
}
