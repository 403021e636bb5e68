//! Proofs in text: every step of `find_proofs`.

use super::{claim::base_claim, *};

/// A claim in all its forms, and what a search yields for it.
struct Forms {
    id: String,
    json: String,
    compact: String,
    pointer: String,
    primary: String,
}

/// A row: name, rules, text, the candidates in short and a comment. A candidate is its encoding,
/// then `claim`, `primary` or a code. `…` at the end means that the search is incomplete.
type Row<'a> = (&'a str, &'a [&'a str], String, &'a [&'a str], &'a str);

impl Forms {
    fn new() -> Result<Self> {
        let (owner, claim) = base_claim()?;
        let signed = sign_claim(&claim, &owner)?;
        Ok(Self {
            id: signed.id().to_string(),
            json: signed.envelope().to_canonical(),
            compact: proof::to_compact(signed.envelope()),
            pointer: proof::to_pointer(&signed.claim().primary),
            primary: signed.claim().primary.to_string(),
        })
    }

    fn output(&self, candidates: &[&str]) -> Json {
        let incomplete = candidates.last() == Some(&"…");
        let candidates = candidates.iter().filter(|text| **text != "…").map(|text| {
            let (encoding, what) = text.split_once(' ').unwrap_or((text, ""));
            match what {
                "claim" => json!({ "encoding": encoding, "claim": self.id }),
                "primary" => json!({ "encoding": encoding, "primary": self.primary }),
                code => json!({ "encoding": encoding, "code": code }),
            }
        });
        json!({ "candidates": candidates.collect::<Vec<_>>(), "incomplete": incomplete })
    }

    fn emit(&self, v: &mut Vectors, rows: &[Row<'_>]) {
        for (name, rules, text, candidates, comment) in rows {
            v.yields(name, rules, "search", text.as_str(), self.output(candidates), comment);
        }
    }
}

pub(super) fn searches(v: &mut Vectors) -> Result<()> {
    v.group = "search";
    let forms = Forms::new()?;
    whole_texts(v, &forms);
    fences(v, &forms);
    comments(v, &forms);
    tokens(v, &forms)?;
    limits(v, &forms)
}

/// Steps 1, 2 and 4c: the whole text is JSON, or was.
fn whole_texts(v: &mut Vectors, forms: &Forms) {
    let Forms { json, compact, pointer, .. } = forms;
    let deep = format!("{{\"kez\":{}{}}}", "[".repeat(62), "]".repeat(62));
    let rows: &[Row<'_>] = &[
        ("bom", &["ENC-08"], format!("\u{feff}{pointer}"), &["pointer primary"], "a byte order mark"),
        ("bom-json", &["ENC-08", "JSON-01"], format!("\u{feff}{json}"), &["json json_utf8"], "before JSON"),
        ("json", &["ENC-01", "ENC-08"], format!("\n {json} \n"), &["json claim"], "the text is the claim"),
        ("json-spaced", &["ENC-01"], json.replace(",\"", " ,\r\n\t\""), &["json claim"], "any JSON white space"),
        ("json-with-token", &["ENC-08"], format!(r#"{{"kez":1,"payload":{{"x":"{compact}"}},"sigs":[]}}"#),
            &["json member_missing"], "an envelope is the only candidate"),
        ("json-kez-alone", &["ENC-08"], r#"{"kez":1}"#.into(), &["json member_missing"], "the member kez alone"),
        ("json-payload-alone", &["ENC-08"], r#"{"payload":{}}"#.into(), &["json member_missing"], "the member payload alone"),
        ("json-deep", &["ENC-08", "JSON-06"], deep, &["json json_depth"], "63 levels are JSON; 9 are too deep for a claim"),
        ("json-other", &["ENC-08"], format!(r#"{{"bio":"{compact}"}}"#), &["compact claim"], "other JSON is text"),
        ("json-array", &["ENC-08"], format!(r#"["{pointer}"]"#), &["pointer primary"], "an array is text"),
        ("json-in-string", &["ENC-08"], format!(r#"{{"sigs":"{pointer}"}}"#), &["pointer primary"], "sigs alone does not make an envelope"),
        ("json-trailing", &["ENC-08"], format!("{json} {pointer}"), &["pointer primary"], "text after JSON: not one object"),
        ("braces", &["ENC-08"], format!("{{dev}} {pointer}"), &["pointer primary"], "a bio that begins with a brace"),
        ("cut", &["ENC-08", "JSON-02"], json[..json.len() - 9].into(), &["json json_syntax"], "an envelope that was cut"),
        ("cut-with-token", &["ENC-08"], format!("{}\n{pointer}", &json[..json.len() - 9]),
            &["pointer primary"], "a cut envelope counts only without other candidates"),
        ("cut-early", &["ENC-08"], json[..30].into(), &["json json_syntax"], "kez and payload are enough"),
        ("cut-no-payload", &["ENC-08"], r#"{"kez":1,"sigs":["#.into(), &[], "without payload it is text"),
        ("nothing", &["ENC-08"], "kez is nice: see kez:help".into(), &[], "no proof"),
        ("empty", &["ENC-08"], String::new(), &[], "an empty text"),
    ];
    forms.emit(v, rows);
}

/// Step 3b and 4a: fences.
fn fences(v: &mut Vectors, forms: &Forms) {
    let Forms { json, compact, pointer, .. } = forms;
    let fence = |open: &str, body: &str, close: &str| format!("{open}\n{body}\n{close}\n");
    let rows: &[Row<'_>] = &[
        ("fence-json", &["ENC-01", "ENC-05", "ENC-08"], fence("hi\n```kez", json, "```\nbye"), &["markdown claim"], "JSON in a fence"),
        ("fence-compact", &["ENC-05", "ENC-08"], fence("```kez", compact, "```"), &["compact claim"], "a compact form in a fence"),
        ("fence-tilde", &["ENC-08"], fence("~~~~ kez proof", &format!("{json}\n~~~"), "~~~~"), &["markdown json_syntax"],
            "a shorter fence does not close: the content is not JSON"),
        ("fence-tilde-json", &["ENC-08"], fence("~~~~ kez proof", json, "~~~~~"), &["markdown claim"], "tildes, a longer closing line"),
        ("fence-tilde-info", &["ENC-08"], fence("~~~ kez `a`", json, "~~~"), &["markdown claim"], "with tildes the info may have backticks"),
        ("fence-tick-info", &["ENC-08"], fence("``` kez `a`", json, "```"), &[], "with backticks it may not"),
        ("fence-mixed", &["ENC-08"], fence("```kez", json, "~~~"), &[], "another character does not close"),
        ("fence-indented", &["ENC-08"], fence("   ```kez", json, "   ```"), &["markdown claim"], "three spaces"),
        ("fence-four-spaces", &["ENC-08"], fence("    ```kez", json, "    ```"), &[], "four spaces"),
        ("fence-close-four", &["ENC-08"], fence("```kez", json, "    ```"), &[], "four spaces before the closing line"),
        ("fence-tab", &["ENC-08"], fence("\t```kez", json, "```"), &[], "a tab is not a space"),
        ("fence-crlf", &["ENC-08"], format!("```kez\r\n{json}\r\n```\r\n"), &["markdown claim"], "CRLF"),
        ("fence-cr", &["ENC-08"], format!("```kez\r{json}\r```\r"), &["markdown claim"], "CR alone"),
        ("fence-no-last-line-end", &["ENC-08"], format!("```kez\n{json}\n```"), &["markdown claim"], "the closing line is the last"),
        ("fence-close-blank", &["ENC-08"], fence("```kez", json, "``` \t"), &["markdown claim"], "blanks after the closing fence"),
        ("fence-close-text", &["ENC-08"], fence("```kez", json, "``` x"), &[], "text after it: not closed"),
        ("fence-unclosed", &["ENC-08"], format!("```kez\n{json}\n{pointer}\n"), &["pointer primary"], "not closed: ordinary lines"),
        ("fence-unclosed-then", &["ENC-08"], format!("~~~x\n```kez\n{json}\n```\n"), &["markdown claim"],
            "a line that nothing closes is ordinary, and the next one opens a fence"),
        ("fence-two-ticks", &["ENC-08"], fence("``kez", json, "``"), &[], "two backticks"),
        ("fence-other", &["ENC-08"], fence("```json", json, "```"), &[], "another info string"),
        ("fence-other-token", &["ENC-08"], fence("```text", compact, "```"), &["compact claim"], "tokens count in every fence"),
        ("fence-word", &["ENC-08"], fence("```kezx", json, "```"), &[], "another word"),
        ("fence-upper", &["ENC-08"], fence("```KEZ", json, "```"), &[], "another case"),
        ("fence-words", &["ENC-08"], fence("```\tkez\tproof", json, "```"), &["markdown claim"], "the first word decides"),
        ("fence-space-info", &["ENC-08"], fence("```  kez", json, "```"), &["markdown claim"], "blanks before the info string"),
        ("fence-nested", &["ENC-08"], fence("````md", &format!("```kez\n{json}\n```"), "````"), &[], "a fence within a fence is its text"),
        ("fence-quoted", &["ENC-08"], format!("> ```kez\n> {compact}\n> ```\n"), &["compact claim"], "in a block quote: ordinary lines"),
        ("fence-quoted-json", &["ENC-08"], format!("> ```kez\n> {json}\n> ```\n"), &[], "so JSON there is not found"),
        ("fence-listed", &["ENC-08"], format!("- ```kez\n  {compact}\n  ```\n"), &["compact claim"], "in a list"),
        ("fence-not-json", &["ENC-08"], fence("```kez", &format!("{{ {compact}"), "```"), &["compact claim"],
            "not JSON but with a marker: like any other fence"),
        ("fence-cut-json", &["ENC-08"], fence("```kez", &json[..200], "```"), &["markdown json_syntax"], "not JSON, no marker"),
        ("fence-json-token", &["ENC-08"], fence("```kez", &format!(r#"{{"a":"{compact}"}}"#), "```"), &["markdown member_missing"],
            "JSON holds no other candidate"),
        ("fence-blank-content", &["ENC-08"], fence("```kez", &format!("\n \t{json}\n"), "```"), &["markdown claim"], "white space around"),
        ("fence-empty", &["ENC-08"], "```kez\n```\n".into(), &[], "an empty fence"),
        ("fence-two", &["ENC-09"], format!("{}{}", fence("```kez", "{}", "```"), fence("```kez", json, "```")),
            &["markdown member_missing", "markdown claim"], "each proof is judged separately"),
        ("fence-order", &["ENC-08"], format!("{}{pointer}\n", fence("```kez", json, "```")), &["markdown claim", "pointer primary"], "in order of position"),
    ];
    forms.emit(v, rows);
}

/// Step 3a: comments.
fn comments(v: &mut Vectors, forms: &Forms) {
    let Forms { json, compact, pointer, .. } = forms;
    let fenced = format!("```kez\n{json}\n```\n");
    let rows: &[Row<'_>] = &[
        ("comment", &["ENC-08"], format!("<!--\n{fenced}-->\n"), &[], "no line of a comment opens a fence"),
        ("comment-token", &["ENC-08"], format!("<!-- {pointer} -->"), &["pointer primary"], "tokens count in comments"),
        ("comment-one-line", &["ENC-08"], format!("<!-- a -->\n{fenced}"), &["markdown claim"], "it ends on its first line"),
        ("comment-open", &["ENC-08"], format!("<!-- a\n{fenced}"), &[], "it reaches to the end of the text"),
        ("comment-indented", &["ENC-08"], format!("   <!--\n{fenced}-->\n"), &[], "three spaces"),
        ("comment-four-spaces", &["ENC-08"], format!("    <!--\n{fenced}-->\n"), &["markdown claim"], "four spaces: no comment"),
        ("comment-inline", &["ENC-08"], format!("a <!--\n{fenced}-->\n"), &["markdown claim"], "not at the start of the line: no comment"),
        ("comment-in-fence", &["ENC-08"], format!("```\n<!--\n```\n{fenced}"), &["markdown claim"], "a fence has no comments inside"),
        ("comment-end-line", &["ENC-08"], format!("<!--\na --> ```kez\n{json}\n```\n"), &[], "the line that ends it is part of it"),
        ("comment-then-token", &["ENC-09"], format!("<!-- x -->\n{compact}"), &["compact claim"], "and then text"),
    ];
    forms.emit(v, rows);
}

/// Step 4b: markers.
fn tokens(v: &mut Vectors, forms: &Forms) -> Result<()> {
    let Forms { compact, pointer, json, .. } = forms;
    let ed = proof::to_pointer(&name(&key(Scheme::Ed25519, 1)));
    let (head, tail) = compact.split_at(100);
    let last = compact.len() - 1;
    let altered = format!("{}{}", &compact[..last - 30], "A".repeat(31));
    let rows: &[Row<'_>] = &[
        ("sentence", &["ENC-08"], format!("me ({compact}), on KEZ"), &["compact claim"], "it ends before the parenthesis"),
        ("bio", &["ENC-08"], format!("🦀 {pointer}, hello"), &["pointer primary"], "a pointer in a bio"),
        ("pointer-dot", &["ENC-08"], format!("{pointer}."), &["pointer primary"], "it ends before the full stop"),
        ("pointer-underscore", &["ENC-08"], format!("{pointer}_x"), &["pointer primary"], "an underscore is not part of a pointer"),
        ("before-letter", &["ENC-08"], format!("x{pointer}"), &[], "a letter directly before"),
        ("before-digit", &["ENC-08"], format!("1{pointer}"), &[], "a digit directly before"),
        ("before-underscore", &["ENC-08"], format!("_{pointer}"), &[], "an underscore directly before"),
        ("before-hyphen", &["ENC-08"], format!("-{pointer}"), &[], "a hyphen directly before"),
        ("before-colon", &["ENC-08"], format!("a:{pointer}"), &[], "a colon directly before"),
        ("before-umlaut", &["ENC-08"], format!("ü{pointer}"), &["pointer primary"], "other letters do not matter"),
        ("before-slash", &["ENC-08"], format!("/{pointer}"), &["pointer primary"], "a slash directly before"),
        ("equal", &["ENC-08"], format!("{pointer} {compact} {pointer} {compact}"), &["pointer primary", "compact claim"], "each once"),
        ("equal-forms", &["ENC-08", "ENC-13"], format!("{compact}\n```kez\n{json}\n```\n"), &["compact claim"], "the same claim in another form"),
        ("wrapped", &["ENC-12"], format!("{head}\n{tail}"), &["compact compact_syntax"], "a line break is not repaired"),
        ("zero-width", &["ENC-12"], format!("{head}\u{200b}{tail}"), &["compact compact_syntax"], "a zero-width space is not removed"),
        ("pointer-cut", &["ENC-07", "ENC-08"], pointer[..40].to_owned(), &["pointer pointer_syntax"], "a pointer that was cut"),
        ("pointer-upper-key", &["ENC-07", "ENC-12"], format!("kez:ed25519:{}", ed[12..].to_uppercase()), &["pointer pointer_syntax"], "upper case is not changed"),
        ("marker-upper", &["ENC-12", "ENC-14"], compact.replacen("kez:z1:", "KEZ:Z1:", 1), &["compact proof_malformed"], "a marker in upper case"),
        ("marker-mixed", &["ENC-14"], compact.replacen("kez:z1:", "Kez:z1:", 1), &["compact proof_malformed"], "a marker in mixed case"),
        ("marker-nostr-upper", &["ENC-14"], pointer.to_uppercase(), &["pointer proof_malformed"], "a pointer in upper case"),
        ("marker-ed-mixed", &["ENC-14"], ed.replacen("kez:e", "kez:E", 1), &["pointer proof_malformed"], "a mixed scheme"),
        ("marker-no-npub", &["ENC-14"], format!("kez:nostr:{}", &ed[12..]), &["pointer proof_malformed"], "hex where an npub belongs"),
        ("marker-short", &["ENC-14"], "KEZ:Z1:x kez:nostr:x".into(), &[], "fewer than 20 characters after it"),
        ("marker-lower-token", &["ENC-12"], compact.to_lowercase(), &["compact compact_syntax|zstd_refused"], "a token in lower case has the code of its decoder"),
        ("token-cut", &["ENC-12"], compact[..255].into(), &["compact compact_syntax|zstd_refused"], "a token that was cut has the code of its decoder"),
        ("marker-npub-alone", &["ENC-14"], pointer.replacen("nostr:", "", 1), &["pointer proof_malformed"], "without its scheme"),
        ("marker-space", &["ENC-14"], compact.replacen("kez:", "kez: ", 1), &["compact proof_malformed"], "a space inside"),
        ("marker-other-version", &["ENC-08"], compact.replacen("kez:z1:", "kez:z2:", 1), &[], "another version is no marker"),
        ("signature", &["ENC-08", "ENC-09"], format!("{altered} {pointer}"), &["compact zstd_refused|json_syntax|json_not_canonical|too_large", "pointer primary"],
            "a broken proof does not hide the next one"),
    ];
    for (name, rules, text, candidates, comment) in rows {
        // Where several codes fit, the vector lists them.
        let choice = candidates.iter().any(|c| c.contains('|'));
        if !choice {
            forms.emit(v, &[(name, rules, text.clone(), candidates, comment)]);
            continue;
        }
        let mut output = forms.output(candidates);
        for candidate in output["candidates"].as_array_mut().into_iter().flatten() {
            if let Some(codes) = candidate["code"].as_str() {
                let codes: Vec<&str> = codes.split('|').collect();
                candidate["code"] = if codes.len() > 1 { json!({ "any": codes }) } else { json!(codes[0]) };
            }
        }
        v.yields(name, rules, "search", text.as_str(), output, comment);
    }
    Ok(())
}

/// Step 5: at most 64 candidates, at most 16 proofs.
fn limits(v: &mut Vectors, forms: &Forms) -> Result<()> {
    let (owner, claim) = base_claim()?;
    let mut different = Vec::new();
    for n in 0..17 {
        let mut claim = claim.clone();
        claim.created_at = claim.created_at.plus(n);
        different.push(sign_claim(&claim, &owner)?);
    }
    let texts = |count: usize| -> String {
        let all = different[..count].iter();
        all.map(|signed| format!("{}\n", proof::to_compact(signed.envelope()))).collect()
    };
    let found = |count: usize, incomplete: bool| {
        let all = different[..count].iter();
        let all = all.map(|s| json!({ "encoding": "compact", "claim": s.id().to_string() }));
        json!({ "candidates": all.collect::<Vec<_>>(), "incomplete": incomplete })
    };
    let rules = ["ENC-08", "ENC-15"];
    v.yields("16-proofs", &rules, "search", texts(16), found(16, false), "the most that is read");
    v.yields("17-proofs", &rules, "search", texts(17), found(16, true), "one more");
    let equal = format!("{}{}", texts(16), texts(16));
    v.yields("16-proofs-again", &rules, "search", equal, found(16, true), "further candidates, though equal");
    let broken = |count: usize| -> String { "kez:nostr:npub1x ".repeat(count) };
    let bad = json!({ "encoding": "pointer", "code": "pointer_syntax" });
    let rows = [
        ("63-broken", 63, true, false, "the 64th candidate is the proof"),
        ("64-broken", 64, false, true, "the 65th candidate is the proof"),
        ("64-broken-alone", 64, false, false, "no further candidate"),
    ];
    for (name, count, proof, incomplete, comment) in rows {
        let text = match (proof, incomplete) {
            (false, false) => broken(count),
            _ => format!("{}{}", broken(count), forms.pointer),
        };
        let mut candidates = vec![bad.clone(); count];
        if proof {
            candidates.push(json!({ "encoding": "pointer", "primary": forms.primary }));
        }
        let output = json!({ "candidates": candidates, "incomplete": incomplete });
        v.yields(name, &rules, "search", text, output, comment);
    }
    Ok(())
}
