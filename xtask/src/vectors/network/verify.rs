//! Accounts with several proofs and owners, and the graph of an identity.

use super::*;

const SUBJECT: &str = "dns:example.com";
const NAME: &str = "_kez.example.com";

fn zone(records: &[&str]) -> Net {
    Net::about(SUBJECT).txt(NAME, 0, records)
}

pub(super) fn verifications(v: &mut Vectors) -> Result<()> {
    v.group = "verify";
    let (alice, bob) = (owner(), key(Scheme::Ed25519, 2));
    let one = |key: &SecretKey, change: &dyn Fn(&mut Claim)| -> Result<String> {
        Ok(compact(&claim_by(key, SUBJECT, change)?))
    };
    let good = one(&alice, &|_| {})?;
    let newer = one(&alice, &|c| c.created_at = now().plus(-60))?;
    let over = one(&alice, &|c| c.expires_at = Some(now().plus(-1)))?;
    let bobs = one(&bob, &|_| {})?;
    let bobs_over = one(&bob, &|c| c.expires_at = Some(now().plus(-1)))?;
    let stolen = compact(&claim_by(&bob, "dns:example.net", |_| {})?);
    let early = one(&alice, &|c| c.created_at = now().plus(601))?;
    let forged = |by: i64| -> Result<String> {
        let signed = claim_by(&alice, SUBJECT, |c| c.created_at = now().plus(-by))?;
        let json = signed.envelope().to_canonical();
        let at = json.find("\"sig\":\"").ok_or("a signature")? + 7;
        let json = format!("{}{}{}", &json[..at], "0".repeat(128), &json[at + 128..]);
        Ok(proof::to_compact(&Envelope::from_value(Value::parse(json.as_bytes())?)?))
    };
    let (broken, broken_too) = (&*forged(1)?, &*forged(2)?);
    let pointer = proof::to_pointer(&name(&alice));
    let place = |key: &SecretKey| {
        format!("https://example.com/.well-known/kez/ed25519/{}.jsonl", name(key).value())
    };
    let mut listed = Writer::new(owner())?;
    listed.op(some_claim(SUBJECT, 1))?;
    let bundle = listed.chain.to_bundle();
    let (mut a, mut b) = (listed.clone(), listed.clone());
    a.op(some_claim("dns:a.example", 2))?;
    b.op(some_claim("dns:b.example", 3))?;
    let forked = |records: &[&str]| {
        let net = zone(records).http("https://c.example/a", 200, &a.chain.to_bundle());
        net.http(&place(&alice), 200, &b.chain.to_bundle()).status(&place(&bob), 404)
    };
    let two_places = one(&alice, &|c| c.sources = vec!["https://c.example/a".into()])?;
    let five: Vec<String> = (1..=5)
        .map(|n| Ok(compact(&claim_by(&key(Scheme::Ed25519, n), SUBJECT, |c| c.created_at = now().plus(-i64::from(n)))?)))
        .collect::<Result<_>>()?;
    let five: Vec<&str> = five.iter().map(String::as_str).collect();
    let many: Vec<String> = (0..17)
        .map(|n| one(&alice, &|c| {
            c.created_at = now().plus(-n - 60);
            c.expires_at = Some(now());
        }))
        .collect::<Result<_>>()?;
    let many = many.join(" ");
    let by = |key: &SecretKey| name(key).to_string();
    let rules: &[&str] = &["VER-05"];
    let absent = "valid+no_chain";
    let both = "valid+no_chain+contested valid+no_chain+contested";
    emit(v, "verify", vec![
        ("one", rules, zone(&[&good]), absent, "one proof"),
        ("none", rules, zone(&[]), "proof_not_found", "no proof"),
        ("best", rules, zone(&[&over, &good]), absent, "one report a primary: the best"),
        ("newest", rules, zone(&[&good, &newer]), absent, "among equals the newest"),
        ("expired-or-early", rules, zone(&[&early, &over]), "expired", "expired is better than invalid"),
        ("contested", &["VER-05", "VER-07"], zone(&[&good, &bobs]), both, "two owners"),
        ("contested-once", rules, zone(&[&good, &bobs_over]), "valid+no_chain expired", "only one of them is valid"),
        ("stolen", rules, zone(&[&stolen, &good]), "valid+no_chain wrong_owner", "a claim of another account beside it"),
        ("broken-beside", rules, zone(&[broken, &good]), absent, "what does not decode has no report where one is valid"),
        ("broken-alone", rules, zone(&[broken]), "signature_bad", "nothing else: primary is null"),
        ("broken-and-stolen", rules, zone(&[broken, &stolen]), "wrong_owner signature_bad", "no report is valid"),
        ("broken-twice", rules, zone(&[broken, broken_too]), "signature_bad", "only the first one is reported"),
        ("broken-and-expired", rules, zone(&[broken, &over]), "expired signature_bad", "and so here"),
        ("failed-alone", &["VER-05", "CNL-04"], zone(&[&good.to_lowercase()]), "proof_malformed", "failed is set, and nothing else was found"),
        ("failed-beside", &["VER-05", "CNL-04"], zone(&[&good.to_lowercase(), &good]), absent, "found texts stand"),
        ("failed-and-expired", &["VER-05", "CNL-04"], zone(&[&good.to_lowercase(), &over]), "expired", "not every report is invalid"),
        ("failed-and-stolen", &["VER-05", "CNL-04"], zone(&[&good.to_lowercase(), &stolen]), "wrong_owner proof_malformed",
            "every report is invalid: one more for failed"),
        ("failed-and-broken", &["VER-05"], zone(&[&good.to_lowercase(), broken]), "proof_malformed", "it takes the place of the one that does not decode"),
        ("incomplete", &["VER-05", "ENC-15", "CNL-05"], zone(&[&format!("{many} {good}")]), "expired", "a text with more proofs than are read"),
        ("incomplete-invalid", &["VER-05", "ENC-15"], zone(&[&vec![stolen.as_str(); 65].join(" ")]), "search_incomplete wrong_owner",
            "65 candidates, all invalid"),
        ("by", rules, zone(&[&good, &bobs]).set("by", by(&bob)), absent, "for one owner: not contested"),
        ("by-other", rules, zone(&[&good]).set("by", by(&bob)), "proof_not_found", "that owner has no proof here"),
        ("by-broken", rules, zone(&[&good, broken]).set("by", by(&bob)), "proof_not_found", "what does not decode does not count then"),
        ("by-failed", rules, zone(&[&good.to_lowercase()]).set("by", by(&bob)), "proof_malformed", "what could not be read does"),
        ("lookup-failed", rules, Net::about(SUBJECT).fail("dns:_kez.example.com?type=TXT", "timeout"), "timeout", "the lookup fails"),
        ("lookup-refused", rules, Net::about("github:jason").status("https://api.github.com/users/jason/gists?per_page=100", 404),
            "identity_not_found", "a definite answer"),
        ("pointer", &["VER-04", "VER-05"], zone(&[&pointer]).http(&place(&alice), 200, &bundle), "valid+pointer", "a pointer and the chain that lists it"),
        ("pointer-absent", &["VER-04"], zone(&[&pointer]), "not_on_chain", "a pointer without a chain"),
        ("forked", &["FRK-03", "VER-05"], forked(&[&two_places]), "forked", "a forked chain"),
        ("forked-wrong-owner", &["FRK-03", "VER-05"], forked(&[&two_places, &compact(&claim_by(&alice, "dns:example.net", |_| {})?)]), "forked",
            "fork comes first for its primary"),
        ("forked-beside", &["FRK-03", "VER-05"], forked(&[&two_places, &bobs]), "valid+no_chain forked", "and after valid among all"),
        ("five-owners", rules, zone(&five[..4]), "valid+no_chain+contested valid+no_chain+contested valid+no_chain+contested valid+no_chain+contested",
            "four primaries are gathered"),
        ("too-many-owners", rules, zone(&five), "valid+no_chain+contested valid+no_chain+contested valid+no_chain+contested valid+no_chain+contested chain_unreachable",
            "the fifth is unknown"),
        ("no-channel-ed25519", &["ID-09"], Net::about(&by(&alice)), "no_channel", "an ed25519 key has no channel"),
        ("no-channel", &["ID-08", "ID-09"], Net::about("gitlab:jason"), "no_channel", "an unknown scheme has no channel"),
    ]);
    graphs(v)
}

fn graphs(v: &mut Vectors) -> Result<()> {
    v.group = "graph";
    let owner = owner();
    let claim = claim_by(&owner, SUBJECT, |_| {})?;
    let mut w = Writer::new(super::owner())?;
    w.add(&claim)?;
    w.op(some_claim("github:gone", 2))?;
    w.op(Op::Revoke { target: Target::Subject(id("github:gone")?), reason: Reason::Retired, text: None })?;
    let place = format!("https://example.com/.well-known/kez/ed25519/{}.jsonl", name(&owner).value());
    let text = compact(&claim);
    let world = || zone(&[&text]).http(&place, 200, &w.chain.to_bundle());
    let head = |byte: u8| Head { seq: 1, id: ObjectId::digest("event", &[byte]) };
    let beacon = |subject: &str, byte: u8| claim_by(&owner, subject, |c| c.head = Some(head(byte)));
    let (first, second) = (beacon(SUBJECT, 1)?, beacon("dns:example.net", 1)?);
    let other = beacon("dns:example.net", 2)?;
    // The chain lists the second domain, and no source of it answers: the beacons are compared.
    let mut lists = Writer::new(super::owner())?;
    lists.op(some_claim("dns:example.net", 3))?;
    let two = |first: &SignedClaim, second: &SignedClaim| {
        zone(&[&compact(first)])
            .txt("_kez.example.net", 0, &[&compact(second)])
            .set("chains", json!([lists.chain.to_bundle()]))
    };
    let bob = compact(&claim_by(&key(Scheme::Ed25519, 2), SUBJECT, |_| {})?);
    emit(v, "graph", vec![
        ("account", &["VER-05"], world(), "valid known 2 edges", "an account and what its owner's chain lists"),
        ("key", &["VER-05"], Net(json!({ "subject": name(&owner).as_str(), "chains": [w.chain.to_bundle()],
            "answers": world().0["answers"] })), "valid known 2 edges", "from the key"),
        ("contested", &["VER-05"], zone(&[&text, &bob]), "valid absent 1 edges", "two owners: the first report's"),
        ("unknown-key", &["ID-09"], Net::about(name(&owner).as_str()), "unreachable unchecked 0 edges", "a key without sources"),
        ("nothing", &["VER-05"], zone(&[]), "invalid unknown 1 edges", "no proof"),
        ("beacons", &["BCN-03"], two(&first, &other), "fork known 2 edges", "two heads with the same seq and different ids"),
        ("beacons-equal", &["BCN-03"], two(&first, &second), "fork known 2 edges", "equal heads that the chain contradicts"),
    ]);
    Ok(())
}
