//! Fork objects, the merge of copies, and damaged bundles.

use super::*;

/// The histories that the vectors share: all begin with one event, which commits to `next`.
struct Branches {
    owner: SecretKey,
    next: SecretKey,
    root: Writer,
    /// Two more events each, different from the second event on.
    one: Writer,
    two: Writer,
    /// `two` and the rotation to the committed key.
    won: Writer,
    /// `one` and the same rotation.
    also: Writer,
}

impl Branches {
    fn new() -> Result<Self> {
        let (owner, next) = (key(Scheme::Nostr, 1), key(Scheme::Nostr, 5));
        let mut root = Writer::new(key(Scheme::Nostr, 1))?;
        let mut first = root.event(some_claim("github:jason", 1));
        first.next = Some(commitment(&name(&next)));
        root.push(&first, &[&owner])?;
        let grown = |subject: &str, byte: u8| -> Result<Writer> {
            let mut w = root.clone();
            w.op(some_claim(subject, byte))?;
            Ok(w)
        };
        let (one, two) = (grown("dns:a.example", 2)?, grown("dns:b.example", 3)?);
        let (won, also) = (rotated(&two, &next)?, rotated(&one, &next)?);
        Ok(Self { owner, next, root, one, two, won, also })
    }
}

/// A rotation to the committed key, which signs alone.
fn rotated(w: &Writer, next: &SecretKey) -> Result<Writer> {
    let mut w = w.clone();
    let to = next.public().clone();
    let event = w.event(Op::Rotate { to, reason: Reason::Compromised, compromised_since: None });
    w.push(&event, &[next])?;
    Ok(w)
}

fn fork_of(one: &Writer, two: &Writer) -> Result<String> {
    let fork = kez_core::Fork::of(one.chain.clone(), two.chain.clone())?.ok_or("no fork")?;
    Ok(fork.to_canonical())
}

pub(super) fn forks(v: &mut Vectors) -> Result<()> {
    let b = Branches::new()?;
    objects(v, &b)?;
    merges(v, &b)?;
    prefixes(v, &b)
}

fn objects(v: &mut Vectors, b: &Branches) -> Result<()> {
    v.group = "fork";
    let open = fork_of(&b.one, &b.two)?;
    let mut late = b.one.clone();
    late.op(some_claim("dns:c.example", 4))?;
    // An `ext` that makes the event 8 levels deep.
    let mut ext = Value::object([("a", Value::Int(1))]);
    for _ in 0..5 {
        ext = Value::object([("a", ext)]);
    }
    let deep = b.root.with_raw(|m| drop(m.insert("ext".into(), ext)), &[&b.owner])?;
    let deep = Writer {
        chain: Chain::replay(deep.as_bytes(), None, now())?,
        key: b.root.key.clone(),
    };
    for (name, text, output, comment) in [
        ("open", open.clone(), "open", "two histories"),
        ("settled", fork_of(&b.one, &b.won)?, "settled", "one branch rotates to the committed key"),
        ("both-rotate", fork_of(&b.also, &b.won)?, "open", "both do, so neither wins"),
        ("long", fork_of(&late, &b.two)?, "open", "branches of different lengths"),
        ("deep", fork_of(&deep, &b.two)?, "open", "an event of 8 levels is legal in a fork object"),
    ] {
        let rules = ["FRK-01", "FRK-02", "JSON-06"];
        v.yields(name, &rules[..if name == "deep" { 3 } else { 2 }], "fork", text, output, comment);
    }
    let value: Json = serde_json::from_str(&open)?;
    let swap = |f: &mut Json| {
        let (a, b) = (f["a"][1].clone(), f["b"][0].clone());
        f["a"][1] = b;
        f["b"][0] = a;
    };
    let nine = (0..7).fold(json!({}), |deep, _| json!({ "a": deep }));
    /// Name, rules, change, code and comment.
    type Row<'a> = (&'a str, &'a [&'a str], &'a dyn Fn(&mut Json), &'a str, &'a str);
    let rows: &[Row<'_>] = &[
        ("same", &["FRK-01"], &|f| f["b"] = json!([f["a"][1]]), "fork_refused", "both branches are the same"),
        ("no-b", &["FRK-01"], &|f| f["b"] = json!([]), "fork_refused", "no second branch"),
        ("no-a", &["FRK-01", "CHN-02"], &|f| f["a"] = json!([]), "chain_empty", "no first branch"),
        ("a-short", &["FRK-01"], &|f| f["a"] = json!([f["a"][0]]), "fork_refused", "the first branch ends before the other differs"),
        ("gap", &["FRK-01"], &|f| f["a"] = json!([f["b"][0]]), "chain_seq", "the first branch does not begin at 1"),
        ("b-from-start", &["FRK-01"], &|f| f["b"] = json!([f["a"][0], f["b"][0]]), "fork_refused", "b begins with a common event"),
        ("swapped", &["FRK-01"], &swap, "fork_refused", "the branches stand in the wrong order"),
        ("forged", &["FRK-01", "SIG-04"], &|f| f["b"][0]["sigs"][0]["sig"] = json!("1".repeat(128)), "signature_bad", "one branch is forged"),
        ("version", &["OBJ-01", "FRK-01"], &|f| f["kez"] = json!(2), "version_unknown", "another version"),
        ("version-text", &["JSON-09"], &|f| f["kez"] = json!("1"), "member_type", "the version is a string"),
        ("type", &["OBJ-04", "FRK-01"], &|f| f["type"] = json!("spoon"), "type_unknown", "not a fork"),
        ("member", &["JSON-10"], &|f| f["x"] = json!(1), "member_unknown", "a member too many"),
        ("missing", &["JSON-08"], &|f| drop(f.as_object_mut().map(|f| f.remove("a"))), "member_missing", "a member too few"),
        ("b-object", &["JSON-09"], &|f| f["b"] = json!({}), "member_type", "a branch is no array"),
        ("too-deep", &["JSON-06"], &|f| f["b"][0]["payload"]["ext"] = nine.clone(), "json_depth", "an event of 9 levels"),
    ];
    for (name, rules, change, expect, comment) in rows {
        let mut value = value.clone();
        change(&mut value);
        v.add(name, rules, "fork", value.to_string(), expect, comment);
    }
    Ok(())
}

/// The expected result of a merge.
fn settled(w: &Writer) -> Json {
    json!({ "merge": "settled", "head": head(w) })
}

fn same(w: &Writer) -> Json {
    json!({ "merge": "same", "head": head(w) })
}

fn open(seq: u64, one: &Writer, two: &Writer) -> Json {
    let at = usize::try_from(seq).unwrap_or(1);
    let key = |w: &Writer| w.chain.id_at(at as u64).map(|id| id.to_string());
    let (a, b) = if key(one) < key(two) { (one, two) } else { (two, one) };
    json!({ "merge": "fork", "seq": seq, "branches": [head(a), head(b)] })
}

fn head(w: &Writer) -> Json {
    w.chain.head().map_or(Json::Null, |head| json!({ "seq": head.seq, "id": head.id.to_string() }))
}

fn merges(v: &mut Vectors, b: &Branches) -> Result<()> {
    v.group = "merge";
    let grow = |w: &Writer, subject: &str, byte: u8| -> Result<Writer> {
        let mut w = w.clone();
        w.op(some_claim(subject, byte))?;
        Ok(w)
    };
    let long = grow(&b.one, "dns:c.example", 4)?;
    // Both sides of a later divergence within the branch that wins the first one.
    let by_next = |w: &Writer, subject: &str, byte: u8| -> Result<Writer> {
        let mut w = w.clone();
        let event = w.event(some_claim(subject, byte));
        w.push(&event, &[&b.next])?;
        Ok(w)
    };
    let (won_a, won_b) = (by_next(&b.won, "dns:d.example", 5)?, by_next(&b.won, "dns:e.example", 6)?);
    // A commitment that one branch makes after the divergence does not count.
    let third = key(Scheme::Nostr, 6);
    let plain_root = {
        let mut w = Writer::new(key(Scheme::Nostr, 1))?;
        w.op(some_claim("github:jason", 1))?;
        w
    };
    let (plain_one, plain_two) =
        (grow(&plain_root, "dns:a.example", 2)?, grow(&plain_root, "dns:b.example", 3)?);
    let late_commitment = {
        let mut w = plain_root.clone();
        let mut event = w.event(some_claim("dns:f.example", 7));
        event.next = Some(commitment(&name(&third)));
        w.push(&event, &[&b.owner])?;
        rotated(&w, &third)?
    };
    // The committed key's rotation stands right at the divergence.
    let at_once = rotated(&b.root, &b.next)?;
    let three = grow(&b.root, "dns:g.example", 8)?;
    let first_a = grow(&Writer::new(key(Scheme::Nostr, 1))?, "dns:a.example", 2)?;
    let time = |w: &Writer| w.chain.events().last().map_or(String::new(), |e| e.created_at.to_string());
    /// Name, rules, copies, the time of judgement, result and comment.
    type Row<'a> = (&'a str, &'a [&'a str], Vec<&'a Writer>, Option<String>, Json, &'a str);
    let rows: Vec<Row<'_>> = vec![
        ("one", &["FRK-02"], vec![&b.one], None, same(&b.one), "one copy"),
        ("prefix", &["FRK-02"], vec![&b.root, &long, &b.one], None, same(&long), "copies that are prefixes"),
        ("equal", &["FRK-02"], vec![&b.one, &b.one], None, same(&b.one), "equal copies"),
        ("open", &["FRK-02", "FRK-04"], vec![&b.one, &b.two], None, open(2, &b.one, &b.two), "no rotation"),
        ("no-commitment", &["FRK-02"], vec![&plain_one, &plain_two], None, open(2, &plain_one, &plain_two), "no commitment"),
        ("first-event", &["FRK-02"], vec![&first_a, &plain_root], None, open(1, &first_a, &plain_root), "they differ from the first event on"),
        ("settled", &["FRK-02"], vec![&b.one, &b.won], None, settled(&b.won), "one branch rotates to the committed key"),
        ("settled-shorter", &["FRK-02"], vec![&long, &b.won, &b.one], None, settled(&b.won), "length does not count"),
        ("settled-at-once", &["FRK-02"], vec![&at_once, &b.one, &b.two], None, settled(&at_once), "the rotation is the first event that differs"),
        ("both", &["FRK-02"], vec![&b.also, &b.won], None, open(2, &b.also, &b.won), "two branches rotate: neither wins"),
        ("three", &["FRK-02"], vec![&b.one, &b.won, &three], None, settled(&b.won), "three branches, one rotates"),
        ("late-commitment", &["FRK-02"], vec![&plain_one, &late_commitment], None, open(2, &plain_one, &late_commitment), "a commitment after the divergence has no effect"),
        ("wins-then-forks", &["FRK-02", "FRK-04"], vec![&b.one, &won_a, &won_b], None, open(4, &won_a, &won_b), "the winner forks again"),
        ("cut-before", &["FRK-05"], vec![&b.one, &b.two], Some(time(&b.root)), same(&b.root), "they differ only after the time of judgement"),
        ("cut-settlement", &["FRK-05"], vec![&b.one, &b.won], Some(time(&b.two)), open(2, &b.one, &b.two), "settled only after the time of judgement"),
        ("cut-between", &["FRK-05"], vec![&b.one, &won_a, &won_b], Some(time(&b.won)), settled(&b.won), "the second fork is after it"),
    ];
    for (name, rules, copies, at, output, comment) in rows {
        let copies: Vec<String> = copies.iter().map(|w| w.chain.to_bundle()).collect();
        let input = json!({ "copies": copies, "at": at });
        v.yields(name, rules, "merge", input, output, comment);
    }
    Ok(())
}

fn prefixes(v: &mut Vectors, b: &Branches) -> Result<()> {
    v.group = "prefix";
    let bundle = b.one.chain.to_bundle();
    let mut lines: Vec<String> = bundle.lines().map(str::to_owned).collect();
    let junk = |text: &str| format!("{bundle}{text}");
    let at = lines[1].find("\"sig\":\"").map_or(0, |at| at + 7);
    let digit = if lines[1].as_bytes().get(at) == Some(&b'0') { "1" } else { "0" };
    lines[1].replace_range(at..=at, digit);
    let forged = format!("{}\n{}\n", lines[0], lines[1]);
    let future = b.one.with_raw(
        |m| drop(m.insert("created_at".into(), "2026-11-21T12:10:01Z".into())),
        &[&b.owner],
    )?;
    let unknown = b.one.with_raw(
        |m| drop(m.insert("op".into(), Value::object([("type", Value::from("future"))]))),
        &[&b.owner],
    )?;
    /// Name, rules, bundle, events before the break, its code and a comment.
    type Row<'a> = (&'a str, &'a [&'a str], String, u64, Option<&'a str>, &'a str);
    let rows: Vec<Row<'_>> = vec![
        ("whole", &["CHN-24"], bundle.clone(), 2, None, "nothing is damaged"),
        ("junk", &["SRC-08", "CHN-24"], junk("junk\n"), 2, Some("json_syntax"), "a line that is no JSON"),
        ("no-line-end", &["SRC-08"], junk("junk"), 2, Some("line_syntax"), "a last line without its line feed"),
        ("empty-line", &["SRC-08"], junk("\n"), 2, Some("line_syntax"), "an empty line"),
        ("cut", &["SRC-08"], bundle[..bundle.len() - 40].into(), 1, Some("line_syntax"), "the last line was cut"),
        ("forged", &["SRC-08", "SIG-04", "CHN-25"], forged, 1, Some("signature_bad"), "a bad signature in the second line"),
        ("repeated", &["SRC-08", "CHN-04"], junk(&format!("{}\n", lines[0])), 2, Some("chain_seq"), "the first event again"),
        ("future", &["SRC-08", "CHN-22"], future, 2, Some("chain_future"), "an event more than 10 minutes ahead"),
        ("unknown", &["SRC-08", "CHN-17"], unknown, 2, Some("op_unknown"), "an operation that may not be skipped"),
    ];
    let primary = name(&b.owner);
    for (case, rules, bundle, events, code, comment) in rows {
        let input = json!({ "primary": primary.as_str(), "bundle": bundle });
        v.yields(case, rules, "prefix", input, json!({ "events": events, "code": code }), comment);
    }
    let fails = [
        ("page", "<html>\n".to_owned(), "json_syntax", "the first line breaks"),
        ("empty", String::new(), "chain_empty", "no line"),
    ];
    for (case, bundle, code, comment) in fails {
        let input = json!({ "primary": primary.as_str(), "bundle": bundle });
        v.add(case, &["SRC-08"], "prefix", input, code, comment);
    }
    let other = name(&key(Scheme::Nostr, 2));
    let input = json!({ "primary": other.as_str(), "bundle": bundle });
    v.add("other", &["CHN-03"], "prefix", input, "chain_id", "the chain of another key");
    Ok(())
}
