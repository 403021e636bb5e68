//! What each answer of the DNS means.

use super::*;

const SUBJECT: &str = "dns:example.com";
const NAME: &str = "_kez.example.com";
const PLACE: &str = "dns:_kez.example.com?type=TXT";

pub(super) fn dns(v: &mut Vectors) -> Result<()> {
    v.group = "dns";
    let good = proof_of(SUBJECT)?;
    let other = proof_of("dns:other.example")?;
    let (head, tail) = good.split_at(255);
    let zone = |records: &[&str]| Net::about(SUBJECT).txt(NAME, 0, records);
    let place = |net: Net, member: &str, value: Json| {
        let mut net = net;
        net.0["answers"][PLACE][member] = value;
        net
    };
    let valid = "valid+no_chain";
    let bad = "proof_malformed";
    let records: &[&str] = &["DNS-01"];
    let near: &[&str] = &["DNS-01", "CNL-09"];
    let mut rows: Vec<Row<'_>> = vec![
        ("proof", records, zone(&[&good]), valid, "a proof"),
        ("beside", records, zone(&["v=spf1 -all", &good, "kez-site=1"]), valid, "beside records without a marker"),
        ("other-owner", &["DNS-01", "CNL-01"], zone(&[&other]), "wrong_owner", "a proof of another domain"),
        ("empty", &["DNS-01"], zone(&[]), "proof_not_found", "code 0 without records"),
        ("other-records", records, zone(&["v=spf1 -all", "mykez:z1:x", "kez: hello"]), "proof_not_found", "no marker"),
        ("no-such-name", &["DNS-02"], Net::about(SUBJECT).txt(NAME, 3, &[]), "proof_not_found", "code 3"),
        ("authentic", &["DNS-03"], place(zone(&[&good]), "authentic", true.into()), valid, "the AD bit is set"),
        ("lasts", &["DNS-04"], place(zone(&[]), "ttl", 300.into()), "proof_not_found", "how long the absence lasts"),
        ("two-texts", &["DNS-01", "ENC-06"], zone(&[head, tail]), bad, "two records are never joined"),
        ("quoted", near, zone(&[&format!("\"{good}\"")]), bad, "quotation marks"),
        ("quoted-strings", near, zone(&[&format!("\"{head}\" \"{tail}\"")]), bad, "quotation marks around each string"),
        ("space-before", near, zone(&[&format!(" {good}")]), bad, "a space before it"),
        ("tab-before", near, zone(&[&format!("\t{good}")]), bad, "a tab before it"),
        ("text-before", near, zone(&[&format!("KEZ {good}")]), bad, "other text before it"),
        ("wrapped", near, zone(&[&format!("{head} {tail}")]), bad, "broken by white space"),
        ("upper", near, zone(&[&good.to_uppercase()]), bad, "upper case"),
        ("lower", near, zone(&[&good.to_lowercase()]), bad, "lower case"),
        ("cut", near, zone(&[head]), bad, "cut after 255 characters"),
        ("near-and-good", &["CNL-04", "CNL-09"], zone(&[&format!("\"{good}\""), &good]), valid, "the good one stands"),
    ];
    for (name, rcode) in [("format", 1), ("failure", 2), ("not-implemented", 4), ("refused", 5), ("odd", 9)] {
        let net = Net::about(SUBJECT).txt(NAME, rcode, &[&good]);
        v.outcome(&format!("rcode-{name}"), &["DNS-02", "CNL-03"], "channel", net.0, "dns_failed", "another code");
    }
    for code in ["timeout", "connect_failed", "dns_failed", "response_refused"] {
        let net = Net::about(SUBJECT).fail(PLACE, code);
        let name = format!("fails-{}", code.replace('_', "-"));
        v.outcome(&name, &["CNL-03", "DNS-02"], "channel", net.0, code, "a transport failure");
    }
    for (name, wrong) in [("apex", "example.com"), ("no-underscore", "kez.example.com"), ("doubled", "_kez.example.com.example.com")] {
        for (form, record, summary) in [
            ("good", good.clone(), bad),
            ("quoted", format!("\"{good}\""), bad),
            ("other", other.clone(), "proof_not_found"),
        ] {
            let net = zone(&[]).txt(wrong, 0, &["v=spf1 -all", &record]);
            v.outcome(&format!("misplaced-{name}-{form}"), near, "channel", net.0, summary, "a record at a wrong name");
        }
        let net = zone(&[]).fail(&format!("dns:{wrong}?type=TXT"), "timeout");
        v.outcome(&format!("misplaced-{name}-fails"), near, "channel", net.0, "proof_not_found", "a failure there has no effect");
    }
    let below = |record: &str| {
        Net::about("dns:blog.example.com").txt("_kez.blog.example.com", 3, &[]).txt(NAME, 0, &[record])
    };
    let blog = proof_of("dns:blog.example.com")?;
    rows.extend([
        ("parent-own", near, below(&blog), bad, "a claim of this domain at the parent's name"),
        ("parent-other", near, below(&good), "proof_not_found", "the parent's own proof"),
        ("misplaced-and-good", near, zone(&[&good]).txt("example.com", 0, &[&good]), valid, "the right name has a marker"),
    ]);
    emit(v, "channel", rows);
    Ok(())
}
