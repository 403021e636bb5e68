//! SPEC.md against its tests: every rule has one keyword of RFC 2119 and is named by a vector or
//! a test, and every code is reached by one. All functions work on strings.

use kez_core::{Code, Kind};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Codes that no vector can reach, each with the reason. A test names each of them.
pub(super) const WITHOUT_VECTOR: &[(&str, &str)] = &[
    ("usage", "comes from a command line or a server's parameters"),
    ("head_conflict", "a server's answer to an append"),
    ("publish_refused", "a platform's answer to a write"),
    ("credential_refused", "a platform's answer to a write"),
    ("credential_other", "a platform's answer to a write"),
    ("scope_missing", "a platform's answer to a write"),
    ("second_factor", "a platform's answer to a write"),
    ("place_full", "a platform's answer to a write"),
    ("place_changed", "a platform's answer to a write"),
    ("not_visible", "a platform's answer to a write"),
    ("offline", "a transport's answer; as a source's answer it has no code of its own"),
    ("handle_taken", "a chat server's answer"),
    ("handle_unknown", "a chat server's answer"),
    ("quota_exceeded", "a chat server's answer"),
    ("key_packages_spent", "a chat server's answer"),
    ("commit_conflict", "a chat server's answer"),
    ("contact_changed", "needs a client that remembers a contact"),
    ("devices_changed", "needs a client that remembers a person's devices"),
    ("key_package_refused", "needs the secret keys of an MLS client"),
    ("welcome_refused", "needs the secret keys of an MLS client"),
    ("commit_refused", "needs the other members of a conversation"),
    ("message_refused", "needs the other members of a conversation"),
    ("message_missing", "needs the other members of a conversation"),
    ("conversation_unknown", "needs the conversations of a client or server"),
];

/// A numbered rule with its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) text: String,
}

/// The rules that a text numbers: list items that begin with a bold id, up to the next line that
/// is not indented.
pub(super) fn rules(spec: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut open = false;
    for line in spec.lines() {
        if let Some(rest) = line.strip_prefix("- **KEZ-")
            && let Some((id, text)) = rest.split_once("**")
        {
            rules.push(Rule { id: format!("KEZ-{id}"), text: text.to_owned() });
            open = true;
        } else if let (true, Some(text), Some(rule)) =
            (open, line.strip_prefix("  "), rules.last_mut())
        {
            rule.text.push(' ');
            rule.text.push_str(text.trim_start());
        } else {
            open = false;
        }
    }
    rules
}

/// How many keywords of RFC 2119 a text has. `MUST NOT` counts once.
fn keywords(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    let all = ["MUST", "SHALL", "SHOULD", "MAY", "REQUIRED", "RECOMMENDED", "OPTIONAL"];
    words.filter(|word| all.contains(word)).count()
}

/// What is wrong with the rules themselves: a second definition, or not exactly one keyword.
pub(super) fn faulty(rules: &[Rule]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for rule in rules {
        if !seen.insert(&rule.id) {
            faults.push(format!("{} is defined twice", rule.id));
        }
        let count = keywords(&rule.text);
        if count != 1 {
            faults.push(format!("{} has {count} keywords of RFC 2119", rule.id));
        }
    }
    faults
}

/// The ids of rules in a text, each as a whole: `KEZ-ENC-140` does not name `KEZ-ENC-14`.
pub(super) fn ids(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c: char| !part(c));
    let is_id = |word: &&str| {
        let mut parts = word.split('-');
        let (kez, area, number) = (parts.next(), parts.next(), parts.next());
        kez == Some("KEZ")
            && area.is_some_and(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_uppercase()))
            && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            && parts.next().is_none()
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// The rules that no vector lists in `rules` and no test names, and names of rules that do not
/// exist.
pub(super) fn untested(rules: &[Rule], vectors: &[Json], tests: &[String]) -> Vec<String> {
    let mut named: BTreeSet<String> = tests.iter().flat_map(|text| ids(text)).collect();
    for vector in vectors {
        let rules = vector["rules"].as_array().into_iter().flatten();
        named.extend(rules.filter_map(Json::as_str).map(str::to_owned));
    }
    let defined: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let missing = defined.iter().filter(|id| !named.contains(**id));
    let unknown = named.iter().filter(|id| !defined.contains(id.as_str()));
    missing
        .map(|id| format!("{id} has no vector and no test"))
        .chain(unknown.map(|id| format!("{id} is named and not defined")))
        .collect()
}

/// Every string in what a vector expects.
fn outcomes(vector: &Json) -> BTreeSet<&str> {
    fn walk<'a>(value: &'a Json, out: &mut BTreeSet<&'a str>) {
        match value {
            Json::String(text) => drop(out.insert(text)),
            Json::Array(all) => all.iter().for_each(|value| walk(value, out)),
            Json::Object(all) => all.values().for_each(|value| walk(value, out)),
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    for member in ["expect", "output", "report", "reports"] {
        walk(&vector[member], &mut out);
    }
    out
}

/// The codes that no vector reaches and that are not excused, and excused codes that no test names.
pub(super) fn unreached(
    codes: &[(&str, Kind, String)],
    excused: &[(&str, &str)],
    vectors: &[Json],
    tests: &[String],
) -> Vec<String> {
    let reached: BTreeSet<&str> = vectors.iter().flat_map(outcomes).collect();
    let mut faults = Vec::new();
    for (code, kind, variant) in codes {
        let excuse = excused.iter().any(|(excuse, _)| excuse == code);
        if reached.contains(code) {
            if excuse {
                faults.push(format!("a vector reaches {code}, and it is excused"));
            }
            continue;
        }
        if *kind != Kind::Storage && !excuse {
            faults.push(format!("no vector reaches {code}"));
        }
        let names = [format!("\"{code}\""), format!("'{code}'"), format!("Code::{variant}")];
        if !tests.iter().any(|text| names.iter().any(|name| text.contains(name))) {
            faults.push(format!("no test names {code}"));
        }
    }
    faults
}

/// The codes of this build, with their kinds and their names in Rust.
pub(super) fn codes() -> Vec<(&'static str, Kind, String)> {
    Code::ALL.iter().map(|code| (code.as_str(), code.kind(), format!("{code:?}"))).collect()
}

/// The part of a source file that is a test: all of it in a folder of tests, else its module of
/// tests.
pub(super) fn test_part<'a>(path: &str, text: &'a str) -> &'a str {
    let folder = path.split('/').any(|part| matches!(part, "tests" | "test"));
    let name = path.rsplit('/').next().unwrap_or_default();
    if folder || name == "tests.rs" || name.contains(".test.") || name.contains(".spec.") {
        return text;
    }
    let module = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "];
    let at = module.iter().filter_map(|mark| text.find(mark)).min();
    at.map_or("", |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPEC: &str = "\
Text.

- **KEZ-AB-01** A reader MUST refuse it
  (`code`).
- **KEZ-AB-02** A reader MUST NOT do that.
- **KEZ-AB-14** A reader accepts it.
- **KEZ-AB-15** A reader MUST do it, and a writer MAY.

  MUST is no part of a rule here.
";

    #[test]
    fn a_rule_has_exactly_one_keyword() {
        let rules = rules(SPEC);
        assert_eq!(rules.len(), 4);
        assert_eq!(rules[0].text, " A reader MUST refuse it (`code`).");
        let faults = faulty(&rules);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("KEZ-AB-14 has 0"), "{faults:?}");
        assert!(faults[1].contains("KEZ-AB-15 has 2"), "{faults:?}");
        let twice = super::rules("- **KEZ-AB-01** A MUST\n- **KEZ-AB-01** A MUST\n");
        assert_eq!(faulty(&twice), ["KEZ-AB-01 is defined twice"]);
    }

    #[test]
    fn only_exact_ids_count() {
        let rules = rules(SPEC);
        let vectors = [json!({ "rules": ["KEZ-AB-01"] }), json!({ "comment": "KEZ-AB-15" })];
        let tests = ["// KEZ-AB-140, KEZ-AB-1 and xKEZ-AB-14".to_owned(), "\"KEZ-AB-02\"".into()];
        let faults = untested(&rules, &vectors, &tests);
        let wanted = [
            "KEZ-AB-14 has no vector and no test",
            "KEZ-AB-15 has no vector and no test",
            "KEZ-AB-1 is named and not defined",
            "KEZ-AB-140 is named and not defined",
        ];
        assert_eq!(faults, wanted);
    }

    #[test]
    fn a_code_needs_a_vector_or_an_excuse_and_a_test() {
        let code = |name, kind| (name, kind, String::from("Name"));
        let codes = [
            code("in_expect", Kind::Chain),
            code("in_report", Kind::Network),
            code("nowhere", Kind::Proof),
            code("in_input", Kind::Proof),
            code("excused", Kind::Network),
            code("stored", Kind::Storage),
        ];
        let vectors = [
            json!({ "expect": ["in_expect"], "input": "in_input" }),
            json!({ "expect": ["x"], "reports": [{ "reason": "in_report" }] }),
        ];
        let tests = ["\"nowhere\" 'in_input' \"stored\"".to_owned()];
        let excuses = [("excused", "a reason"), ("in_expect", "no reason")];
        let faults = unreached(&codes, &excuses, &vectors, &tests);
        let wanted = [
            "a vector reaches in_expect, and it is excused",
            "no vector reaches nowhere",
            "no vector reaches in_input",
            "no test names excused",
        ];
        assert_eq!(faults, wanted);
    }

    #[test]
    fn tests_are_told_from_code() {
        let text = "// KEZ-AB-01\n#[cfg(test)]\nmod tests {\n// KEZ-AB-02\n}";
        assert!(!test_part("a/src/b.rs", text).contains("KEZ-AB-01"));
        assert!(test_part("a/src/b.rs", text).contains("KEZ-AB-02"));
        assert_eq!(test_part("a/tests/b.rs", text), text);
        assert_eq!(test_part("a/src/c.rs", "// KEZ-AB-01"), "");
    }
}
