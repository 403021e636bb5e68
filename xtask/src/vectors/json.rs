//! Strict JSON.

use super::*;

pub(super) fn json_vectors(v: &mut Vectors) {
    v.group = "json";
    let ok = |v: &mut Vectors, name: &str, rule: &str, input: &str, output: &str, comment: &str| {
        v.yields(name, &[rule], "json", input, output, comment);
    };
    ok(
        v,
        "sorts-members",
        "JSON-07",
        r#"{ "b" : 1, "a" : [true, null] }"#,
        r#"{"a":[true,null],"b":1}"#,
        "white space is free outside canonical forms",
    );
    ok(
        v,
        "utf16-order",
        "JSON-07",
        "{\"\u{fb33}\":1,\"\u{1f600}\":2}",
        "{\"\u{1f600}\":2,\"\u{fb33}\":1}",
        "members are sorted by UTF-16 code units, not by code points",
    );
    ok(
        v,
        "escapes",
        "JSON-07",
        r#""\u0041\/\u001f\b\ud83d\ude00""#,
        "\"A/\\u001f\\b\u{1f600}\"",
        "JCS escapes only what it must",
    );
    ok(
        v,
        "largest-integer",
        "JSON-05",
        "[9007199254740991,-9007199254740991]",
        "[9007199254740991,-9007199254740991]",
        "2^53-1 is allowed",
    );
    ok(v, "depth-8", "JSON-06", "[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]", "8 levels are allowed");
    let bad =
        |v: &mut Vectors, name: &str, rule: &str, input: &str, expect: &str, comment: &str| {
            v.add(name, &[rule], "json", input, expect, comment);
        };
    v.add(
        "not-utf8",
        &["JSON-01"],
        "json",
        bytes(b"\"\xff\""),
        "json_utf8",
        "a byte that UTF-8 does not have",
    );
    v.add(
        "overlong",
        &["JSON-01"],
        "json",
        bytes(b"\"\xc0\xaf\""),
        "json_utf8",
        "an overlong form",
    );
    v.add(
        "utf8-surrogate",
        &["JSON-01"],
        "json",
        bytes(b"\"\xed\xa0\x80\""),
        "json_utf8",
        "a surrogate in UTF-8",
    );
    v.add("bom", &["JSON-01"], "json", bytes(b"\xef\xbb\xbf{}"), "json_utf8", "a byte order mark");
    bad(v, "empty", "JSON-02", "", "json_syntax", "nothing");
    bad(v, "trailing-comma", "JSON-02", r#"{"a":1,}"#, "json_syntax", "a comma too many");
    bad(v, "two-values", "JSON-02", "{}{}", "json_syntax", "a second value");
    bad(v, "single-quotes", "JSON-02", "{'a':1}", "json_syntax", "not JSON");
    bad(v, "comment", "JSON-02", "{/*x*/}", "json_syntax", "not JSON");
    bad(v, "leading-zero", "JSON-02", "01", "json_syntax", "not a JSON number");
    bad(v, "unclosed-string", "JSON-02", "\"abc", "json_syntax", "cut off");
    bad(v, "bad-escape", "JSON-02", r#""\x41""#, "json_syntax", "not a JSON escape");
    bad(v, "nan", "JSON-02", "NaN", "json_syntax", "not JSON");
    bad(v, "duplicate", "JSON-03", r#"{"a":1,"a":1}"#, "json_duplicate", "the same member twice");
    bad(
        v,
        "duplicate-deep",
        "JSON-03",
        r#"{"x":[{"b":1,"a":2,"b":3}]}"#,
        "json_duplicate",
        "at any depth, wherever it stands",
    );
    bad(
        v,
        "duplicate-escaped",
        "JSON-03",
        r#"{"a":1,"\u0061":2}"#,
        "json_duplicate",
        "names are compared after unescaping",
    );
    bad(v, "lone-high-surrogate", "JSON-04", r#""\ud800""#, "json_string", "half a pair");
    bad(v, "lone-low-surrogate", "JSON-04", r#""\udc00""#, "json_string", "the other half");
    bad(
        v,
        "swapped-surrogates",
        "JSON-04",
        r#""\udc00\ud800""#,
        "json_string",
        "the pair the wrong way round",
    );
    bad(v, "noncharacter", "JSON-04", "\"\u{fffe}\"", "json_string", "U+FFFE");
    bad(v, "noncharacter-escaped", "JSON-04", r#""\ufdd0""#, "json_string", "U+FDD0");
    bad(v, "raw-control", "JSON-04", "\"\u{1}\"", "json_string", "an unescaped control character");
    bad(v, "raw-newline", "JSON-04", "\"a\nb\"", "json_string", "an unescaped line feed");
    bad(v, "fraction", "JSON-05", "1.0", "json_number", "a fraction, though a whole one");
    bad(v, "exponent", "JSON-05", "1e3", "json_number", "an exponent");
    bad(v, "minus-zero", "JSON-05", "-0", "json_number", "minus zero");
    bad(v, "two-to-53", "JSON-05", "9007199254740992", "json_number", "2^53 is one too many");
    bad(
        v,
        "minus-two-to-53",
        "JSON-05",
        "-9007199254740992",
        "json_number",
        "and so is its negative",
    );
    bad(
        v,
        "huge-number",
        "JSON-05",
        "100000000000000000000000000000000",
        "json_number",
        "beyond any integer type",
    );
    bad(v, "depth-9", "JSON-06", "[[[[[[[[[]]]]]]]]]", "json_depth", "9 levels");
    bad(v, "depth-10000", "JSON-06", &"[".repeat(10_000), "json_depth", "10,000 open brackets");
    for (name, input, comment) in [
        ("canonical-space", r#"{"a": 1}"#, "white space"),
        ("canonical-newline", "{}\n", "a line feed after it"),
        ("canonical-order", r#"{"b":1,"a":2}"#, "members out of order"),
        ("canonical-escape", r#"{"a":"\u0041"}"#, "an escape that is not needed"),
        ("canonical-solidus", r#"{"a":"\/"}"#, "an escaped solidus"),
        ("canonical-upper-hex", r#"{"a":"\u001F"}"#, "upper-case digits in an escape"),
        ("canonical-long-escape", r#"{"a":"\u0009"}"#, "a long escape where a short one exists"),
    ] {
        v.add(name, &["JSON-07"], "canonical", input, "json_not_canonical", comment);
    }
}
