//! `dns:` What each answer means.

use super::*;

const NAME: &str = "_kez.example.com";
const PLACE: &str = "dns:_kez.example.com?type=TXT";

fn good() -> String {
    compact("dns:example.com")
}

fn zone(records: &[&str]) -> Recorded {
    Recorded::default().txt(NAME, 0, records)
}

/// KEZ-DNS-01, KEZ-DNS-02
#[test]
fn answers() {
    let good = good();
    let expired = proof::to_compact(
        claim("dns:example.com", |c| {
            c.created_at = now().plus(-100);
            c.expires_at = Some(now().plus(-50));
        })
        .envelope(),
    );
    for (what, answer, wanted) in [
        ("a proof", zone(&[&good]), FOUND),
        ("beside other records", zone(&["v=spf1 -all", &good, "kez-site=1"]), FOUND),
        ("two owners", zone(&[&good, &compact("dns:other.example")]), (2, None)),
        ("one that has expired is for the judge", zone(&[&expired]), FOUND),
        ("nothing", zone(&[]), ABSENT),
        ("other records", zone(&["v=spf1 -all", "mykez:z1:x", "kez: hello"]), ABSENT),
        ("no such name", Recorded::default().txt(NAME, 3, &[]), ABSENT),
        ("no answer", Recorded::default().fail(PLACE, Code::Timeout), failed(Code::Timeout)),
    ] {
        assert_eq!(answer.shows("dns:example.com"), wanted, "{what}");
    }
    for rcode in [1, 2, 4, 5, 9] {
        let answer = Recorded::default().txt(NAME, rcode, &[]);
        assert_eq!(answer.shows("dns:example.com"), failed(Code::DnsFailed), "{rcode}");
    }
    // KEZ-DNS-04: the resolver may say so for as long as its answer lasts.
    let finding = zone(&[]).look_up("dns:example.com", &[], None).unwrap();
    assert_eq!(finding.lasts_until, Some(now().plus(300)));
}

/// A record that is nearly a proof is named as one, and never taken for a proof.
#[test]
fn nearly_right_records() {
    let good = good();
    let (head, tail) = good.split_at(255);
    for (record, words) in [
        (format!("\"{good}\""), "quotation marks"),
        (format!("\"{head}\" \"{tail}\""), "quotation marks"),
        (format!(" {good}"), "a space stands before"),
        (format!("\t{good}"), "a space stands before"),
        (format!("KEZ {good}"), "other text before"),
        (format!("{head} {tail}"), "spaces or line breaks"),
        (format!("{head}\n{tail}"), "spaces or line breaks"),
        (format!("kez: {}", &good[4..]), "spaces or line breaks"),
        (good.to_lowercase(), "capital letters"),
        (good.to_uppercase(), "lower-case letters"),
        (head.into(), "cut after 255"),
        (good[..good.len() - 9].into(), "its end is missing"),
        ("kez:nostr:npub1qqqq".into(), "its end is missing"),
    ] {
        let answer = zone(&["v=spf1 -all", &record]).look_up("dns:example.com", &[], None);
        assert!(detail(answer.clone()).contains(words), "{record}: {}", detail(answer));
        assert_eq!(shown(answer), failed(Code::ProofMalformed), "{record}");
    }
    // With a whole one beside it, it does not matter.
    let both = zone(&[&format!("\"{good}\""), &good]).shows("dns:example.com");
    assert_eq!(both, (1, Some(Code::ProofMalformed)));
}

/// A record at a wrong name, which is asked for only where the right one has none.
#[test]
fn misplaced_records() {
    let good = good();
    for name in ["example.com", "kez.example.com", "_kez.example.com.example.com"] {
        for record in [good.clone(), format!("\"{good}\""), good.to_lowercase()] {
            let answer = zone(&[]).txt(name, 0, &["v=spf1 -all", &record]);
            let found = answer.look_up("dns:example.com", &[], None);
            let said = detail(found.clone());
            assert!(said.contains(name) && said.contains("belongs at _kez.example.com"), "{said}");
            assert_eq!(shown(found), failed(Code::ProofMalformed), "{name}");
        }
        // A failure of a side request changes nothing.
        let silent = Recorded::default().txt(NAME, 3, &[]).txt(name, 2, &[&good]);
        assert_eq!(silent.shows("dns:example.com"), ABSENT, "{name}");
        let other = zone(&[]).txt(name, 0, &[&compact("dns:other.example")]);
        assert_eq!(other.shows("dns:example.com"), ABSENT, "{name}");
    }
    // The domain above has proofs of its own at its name.
    let below = |record: &str| {
        let answers = Recorded::default().txt("_kez.blog.example.com", 3, &[]);
        answers.txt(NAME, 0, &[record]).shows("dns:blog.example.com")
    };
    assert_eq!(below(&good), ABSENT);
    assert_eq!(below(&compact("dns:blog.example.com")), failed(Code::ProofMalformed));
    let found = zone(&[&good]);
    assert_eq!(found.shows("dns:example.com"), FOUND);
    assert_eq!(*found.asked.borrow(), [PLACE]);
}
