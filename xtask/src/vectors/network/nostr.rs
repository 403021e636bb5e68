//! What each answer of a relay means.

use super::*;
use kez_core::NostrEvent;

const ONE: &str = "wss://one.example";
const TWO: &str = "wss://two.example";
const LISTED: &str = "wss://listed.example";

/// The owner of the account, whose claim names another primary: no relay is asked for its chain.
fn author() -> SecretKey {
    key(Scheme::Nostr, 7)
}

/// An event by a key, so many seconds after the clock.
fn event(by: &SecretKey, kind: u16, at: i64, tags: &[&[&str]], content: &str) -> Result<Json> {
    let tags = tags.iter().map(|tag| tag.iter().map(|part| (*part).to_owned()).collect()).collect();
    let event = NostrEvent { kind, created_at: NOW + at, tags, content: content.into() };
    Ok(serde_json::from_str(&by.sign_nostr_event(&event, &[0; 32])?)?)
}

fn id_of(event: &Json) -> String {
    event["id"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn nostr(v: &mut Vectors) -> Result<()> {
    v.group = "nostr";
    let by = author();
    let subject = name(&by).to_string();
    let hexed = kez_core::hex::encode(&by.public().to_bytes());
    let text = proof_of(&subject)?;
    let older = compact(&claim_by(&owner(), &subject, |c| c.expires_at = Some(now()))?);
    let d: &[&str] = &["d", "kez"];
    let proof = |at: i64, text: &str| event(&by, 30539, at, &[d], text);
    let profile = |at: i64, about: &str| event(&by, 0, at, &[], &json!({ "about": about }).to_string());
    let good = proof(-100, &text)?;
    let about = profile(-100, &format!("me: {text}"))?;
    let ended = event(&by, 30539, -100, &[d, &["expiration", "1795262400"]], &text)?;
    let lasting = event(&by, 30539, -100, &[d, &["expiration", "1795262401"]], &text)?;
    let id = id_of(&good);
    let delete = |by: &SecretKey, at: i64, tag: &[&str]| event(by, 5, at, &[tag], "");
    let address = format!("30539:{hexed}:kez");
    let by_id = delete(&by, -90, &["e", &id])?;
    let by_stranger = delete(&key(Scheme::Nostr, 9), -90, &["e", &id])?;
    let by_address = delete(&by, -90, &["a", &address])?;
    let by_older = delete(&by, -110, &["a", &address])?;
    let no_profile = delete(&by, -90, &["a", &format!("0:{hexed}:")])?;
    let list = event(&by, 10002, -100, &[&["r", LISTED], &["r", "wss://read.example", "read"]], "")?;
    let mut forged = good.clone();
    forged["content"] = older.as_str().into();
    let mut bad_sig = good.clone();
    bad_sig["sig"] = "0".repeat(128).into();
    let future = proof(901, &text)?;
    let near = proof(900, &text)?;
    let old = event(&by, 30078, -50, &[d], &text)?;
    let other_d = event(&by, 30539, -50, &[&["d", "kez:x"]], &text)?;
    let same_date = [proof(-100, "one")?, proof(-100, &text)?];
    // Of equal dates the lowest id counts.
    let lowest = if id_of(&same_date[0]) < id_of(&same_date[1]) { "proof_not_found" } else { VALID };
    let one = |events: &[&Json], failed: Json| {
        let events: Vec<Json> = events.iter().map(|event| (*event).clone()).collect();
        Net::about(&subject).relay(ONE, &events, failed)
    };
    let none = || json!([]);
    let fails = |kind: i64, code: &str| json!([{ "filter": { "kinds": [kind] }, "code": code }]);
    let all = |code: &str| json!([{ "filter": {}, "code": code }]);
    let pointer = proof::to_pointer(&name(&owner()));
    let (absent, not_listed) = ("proof_not_found", "chain_unreachable");
    let newest: &[&str] = &["NOS-04"];
    let gone: &[&str] = &["NOS-05"];
    let failed: &[&str] = &["NOS-03", "CNL-03"];
    emit(v, "channel", vec![
        ("proof", &["NOS-01", "NOS-06"], one(&[&good], none()), VALID, "the proof event"),
        ("profile", &["NOS-01"], one(&[&about], none()), VALID, "the profile's about"),
        ("both", &["NOS-01"], one(&[&good, &about], none()), VALID, "the same proof twice"),
        ("pointer", &["NOS-01"], one(&[&proof(-100, &pointer)?], none()), not_listed, "a pointer, whose chain has no source"),
        ("none", &["NOS-01"], one(&[], none()), absent, "a relay without events"),
        ("no-relays", &["NOS-01"], Net::about(&subject).set("relays", json!([])), "connect_failed", "no configured relay"),
        ("other-d", &["NOS-01"], one(&[&other_d], none()), absent, "another d tag"),
        ("forged", &["NOS-02"], one(&[&forged], none()), absent, "an id that is not of the event"),
        ("signature", &["NOS-02"], one(&[&bad_sig], none()), absent, "a bad signature"),
        ("future", &["NOS-02"], one(&[&future], none()), absent, "more than 15 minutes ahead"),
        ("near-future", &["NOS-02"], one(&[&near], none()), VALID, "15 minutes ahead"),
        ("newest", newest, one(&[&proof(-200, &older)?], none()).relay(TWO, std::slice::from_ref(&good), none()), VALID, "the newest of two relays"),
        ("newest-none", newest, one(&[&good], none()).relay(TWO, &[proof(-50, "gone")?], none()), absent, "the newest has no proof"),
        ("same-date", newest, one(&[&same_date[0]], none()).relay(TWO, &same_date[1..], none()), lowest, "of equal dates the lowest id"),
        ("expired", gone, one(&[&ended], none()), absent, "its expiration is the clock's time"),
        ("not-expired", gone, one(&[&lasting], none()), VALID, "a second is left"),
        ("expired-older", gone, one(&[&ended], none()).relay(TWO, &[proof(-200, &text)?], none()), absent, "an older one does not return"),
        ("deleted-id", gone, one(&[&good, &by_id], none()), absent, "deleted by its id"),
        ("deleted-address", gone, one(&[&good, &by_address], none()), absent, "deleted by its address"),
        ("deleted-before", gone, one(&[&good, &by_older], none()), VALID, "a deletion by address that is older"),
        ("deleted-stranger", gone, one(&[&good, &by_stranger], none()), VALID, "a stranger's deletion"),
        ("deleted-profile", gone, one(&[&about, &no_profile], none()), absent, "a deleted profile"),
        ("deleted-elsewhere", gone, one(&[&good], none()).relay(TWO, std::slice::from_ref(&by_id), none()), absent, "another relay has the deletion"),
        ("list", &["NOS-01"], one(&[&list], none()).answer(LISTED, json!({ "events": [good], "failed": [] })), VALID, "a relay of the key's list"),
        ("list-fails", &["NOS-01", "NOS-03"], one(&[&list], none()).fail(LISTED, "timeout"), "timeout", "a relay of the list fails"),
        ("fails", failed, Net::about(&subject).named(ONE).fail(ONE, "connect_failed"), "connect_failed", "the only relay fails"),
        ("one-fails", failed, one(&[], none()).named(TWO).fail(TWO, "timeout"), "timeout", "one of two relays fails"),
        ("one-fails-found", &["CNL-04", "NOS-03"], one(&[&good], none()).named(TWO).fail(TWO, "timeout"), VALID, "found texts stand"),
        ("silent", &["NOS-07"], one(&[&good], none()).named(TWO).fail(TWO, "never"), VALID, "a silent relay is not waited for"),
        ("closed-proof", failed, one(&[], fails(30539, "auth_required")), "auth_required", "the filter for proofs is closed"),
        ("closed-profile", failed, one(&[], fails(0, "relay_refused")), "relay_refused", "the filter for profiles is closed"),
        ("closed-list", failed, one(&[], fails(10002, "rate_limited")), "rate_limited", "the filter for relay lists is closed"),
        ("closed-deletions", &["NOS-03"], one(&[], fails(5, "relay_refused")), absent, "the filter for deletions never counts"),
        ("closed-found", &["NOS-03", "CNL-04"], one(&[&good], fails(30539, "timeout")), VALID, "events count as soon as they came"),
        ("limit", &["NOS-03", "CNL-05"], one(&[], fails(30539, "search_incomplete")), "search_incomplete", "a limit"),
        ("old-kind-ended", &["NOS-08", "NOS-05"], one(&[&ended, &old], none()), absent, "an old proof beside an ended one does not count"),
        ("old-kind-beside", &["NOS-08"], one(&[&proof(-200, "gone")?, &old], none()), absent, "nor beside one without a proof"),
        ("old-kind-fails", &["NOS-08"], one(&[], fails(30078, "timeout")), absent, "its filter never counts"),
        ("closed-all", failed, one(&[], all("rate_limited")), "rate_limited", "every filter is closed"),
    ]);
    Ok(())
}

const VALID: &str = "valid+history_unchecked";
