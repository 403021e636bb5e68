//! What the answers of the sources of a chain are together: `gather`.

use super::*;

const NAMED: &str = "https://chains.example/me.jsonl";
const SERVER: &str = "https://sig.example";

/// The owner's chain at several lengths.
struct Story {
    owner: SecretKey,
    primary: Identity,
    /// One, two and three events.
    one: Writer,
    two: Writer,
    three: Writer,
}

impl Story {
    fn new(scheme: Scheme) -> Result<Self> {
        let owner = key(scheme, 1);
        let mut one = Writer::new(key(scheme, 1))?;
        one.op(some_claim("github:jason", 1))?;
        let mut two = one.clone();
        two.op(some_claim("github:jane", 2))?;
        let mut three = two.clone();
        three.op(some_claim("github:june", 3))?;
        Ok(Self { primary: name(&owner), owner, one, two, three })
    }

    /// A question with one named source.
    fn named(&self) -> Net {
        Net::of(&self.primary).set("sources", json!([NAMED]))
    }

    /// A question with one sigchain server without evidence of a fork.
    fn server(&self) -> Net {
        let net = Net::of(&self.primary).set("servers", json!([SERVER]));
        net.status(&format!("{}/fork", self.at()), 404)
    }

    fn at(&self) -> String {
        format!("{SERVER}/v1/sigchains/{}", self.primary)
    }

    fn first_request(&self) -> String {
        format!("{}?log=0", self.at())
    }

    fn well_known(&self) -> String {
        let (scheme, value) = (self.primary.scheme(), self.primary.value());
        format!("https://example.com/.well-known/kez/{scheme}/{value}.jsonl")
    }

    /// The nostr events that carry a chain.
    fn carriers(&self, w: &Writer, author: &SecretKey) -> Result<Vec<Json>> {
        let lines = w.chain.lines().iter().zip(w.chain.events());
        let carrier = |(line, event): (&String, &Event)| -> Result<Json> {
            let id = w.chain.id_at(event.seq).ok_or("an event has an id")?;
            let carrier = kez_core::channel::chain_carrier(&self.primary, id, line, event.created_at);
            let json = author.sign_nostr_event(&carrier, &[0; 32])?;
            Ok(serde_json::from_str(&json)?)
        };
        lines.map(carrier).collect()
    }
}

fn text(w: &Writer) -> String {
    w.chain.to_bundle()
}

pub(super) fn sources(v: &mut Vectors) -> Result<()> {
    v.group = "sources";
    let ed = Story::new(Scheme::Ed25519)?;
    one_source(v, &ed)?;
    copies(v, &ed)?;
    remembered(v, &ed)?;
    forks(v)?;
    relays(v, &Story::new(Scheme::Nostr)?)
}

/// The table of observations.
fn one_source(v: &mut Vectors, s: &Story) -> Result<()> {
    let rules = &["SRC-06", "SRC-07"];
    let unreachable = "unknown chain_unreachable; remembers nothing";
    let page = "<!doctype html><title>Home</title>";
    let (named, one) = (s.named(), text(&s.one));
    let other = {
        let mut w = Writer::new(key(Scheme::Ed25519, 9))?;
        w.op(some_claim("github:mallory", 9))?;
        text(&w)
    };
    let mut rows: Vec<Row<'_>> = vec![
        ("none", rules, Net::of(&s.primary), "unchecked; remembers nothing", "no source is known"),
        ("served", rules, named.clone().http(NAMED, 200, &one), "known 1; remembers 1", "the whole body replays"),
        ("page", rules, named.clone().http(NAMED, 200, page), unreachable, "a web page"),
        ("empty", rules, named.clone().http(NAMED, 200, ""), unreachable, "an empty body"),
        ("other-chain", rules, named.clone().http(NAMED, 200, &other), unreachable, "another chain"),
        ("damaged", &["SRC-06", "SRC-08"], named.clone().http(NAMED, 200, &format!("{one}junk\n")),
            "known 1 chain_damaged; remembers 1", "the second line breaks"),
        ("host-unknown", rules, named.clone().fail(NAMED, "host_unknown"), unreachable, "a named host without address"),
        ("offline", rules, named.clone().fail(NAMED, "offline"), "unchecked; remembers nothing", "offline by choice"),
        ("chain-file", rules, Net::of(&s.primary).set("chains", json!([one])), "known 1; remembers 1", "a chain that the user hands over"),
        ("chain-file-other", rules, Net::of(&s.primary).set("chains", json!([other])), "unchecked; remembers nothing",
            "a file of another primary is ignored"),
    ];
    let failures = ["timeout", "connect_failed", "tls_failed", "dns_failed", "redirect_refused",
        "body_too_large", "address_refused", "response_refused"];
    for (name, code) in failures.map(|code| (format!("fails-{}", code.replace('_', "-")), code)) {
        v.outcome(&name, rules, "sources", named.clone().fail(NAMED, code).0, unreachable, "a failure");
    }
    for status in [301, 400, 401, 403, 429, 500, 503] {
        let net = named.clone().status(NAMED, status).0;
        v.outcome(&format!("status-{status}"), rules, "sources", net, unreachable, "another status");
    }
    for status in [404, 410] {
        let net = named.clone().status(NAMED, status).0;
        let absent = "absent; remembers nothing";
        v.outcome(&format!("status-{status}"), rules, "sources", net, absent, "a definite absence");
    }
    let well_known = Net::of(&s.primary).set("subject", "dns:example.com");
    let place = s.well_known();
    rows.extend([
        ("well-known-no-host", rules as &[&str], well_known.clone(), "absent; remembers nothing", "a host without address has no chain"),
        ("well-known-served", rules, well_known.clone().http(&place, 200, &one), "known 1; remembers 1", "served there"),
        ("well-known-fails", rules, well_known.clone().fail(&place, "timeout"), unreachable, "it does not answer"),
        ("well-known-offline", rules, well_known.fail(&place, "offline"), "unchecked; remembers nothing", "offline by choice"),
        ("server-absent", rules, s.server().status(&s.first_request(), 404), "absent; remembers nothing", "a server without the chain"),
        ("server-served", &["SRC-06", "SRC-18"], s.server().http(&s.first_request(), 200, &one), "known 1; remembers 1", "a server with it"),
        ("server-fails", rules, s.server().status(&s.first_request(), 500), unreachable, "a server that fails"),
        ("two-absent", rules, s.server().status(&s.first_request(), 404).set("sources", json!([NAMED])).status(NAMED, 404),
            "absent; remembers nothing", "both answer that there is none"),
        ("absent-and-fails", rules, s.server().status(&s.first_request(), 404).set("sources", json!([NAMED])).fail(NAMED, "timeout"),
            unreachable, "every named source counts"),
        ("absent-and-offline", rules, s.server().status(&s.first_request(), 404).set("sources", json!([NAMED])).fail(NAMED, "offline"),
            "absent; remembers nothing", "one that was not asked does not count"),
        ("served-and-fails", rules, s.server().http(&s.first_request(), 200, &one).set("sources", json!([NAMED])).fail(NAMED, "timeout"),
            "known 1; remembers 1", "one that served is enough"),
    ]);
    emit(v, "sources", rows);
    Ok(())
}

/// Several copies, damaged ones and the time of judgement.
fn copies(v: &mut Vectors, s: &Story) -> Result<()> {
    let rules: &[&str] = &["SRC-06", "SRC-08"];
    let both = |server: &str, named: &str| {
        let net = s.server().set("sources", json!([NAMED]));
        net.http(&s.first_request(), 200, server).http(NAMED, 200, named)
    };
    let [one, two, three] = [&s.one, &s.two, &s.three].map(text);
    let damaged = format!("{two}junk\n");
    let claimed = claim_by(&s.owner, "github:jason", |c| c.sources = vec![NAMED.into()])?;
    let as_server = claim_by(&s.owner, "github:jason", |c| c.sources = vec![s.at()])?;
    let time = |w: &Writer| w.chain.events().last().map_or(String::new(), |e| e.created_at.to_string());
    emit(v, "sources", vec![
        ("longest", rules, both(&one, &three), "known 3; remembers 3", "copies of one chain"),
        ("damaged-and-shorter", rules, both(&damaged, &one), "known 2 chain_damaged; remembers 2", "a shorter copy proves nothing"),
        ("damaged-and-equal", rules, both(&damaged, &two), "known 2 chain_damaged; remembers 2", "nor does one of the same length"),
        ("damaged-and-longer", rules, both(&damaged, &three), "known 3; remembers 3", "a longer copy that begins with it does"),
        ("claim-source", &["SRC-06", "CLM-03"], Net::of(&s.primary).set("claims", json!([compact(&claimed)])).http(NAMED, 200, &one),
            "known 1; remembers 1", "a source that the claim names"),
        ("claim-source-absent", &["SRC-06", "CLM-03"], Net::of(&s.primary).set("claims", json!([compact(&claimed)])).status(NAMED, 404),
            "absent; remembers nothing", "and that has nothing"),
        ("claim-server", &["SRC-06"], Net::of(&s.primary).set("claims", json!([compact(&as_server)])).status(&format!("{}/fork", s.at()), 404)
            .http(&s.first_request(), 200, &one), "known 1; remembers 1", "the path of a sigchain server makes it one"),
        ("as-of", &["FRK-05", "SRC-06"], both(&three, &one).set("at", time(&s.two)), "known 2; remembers nothing", "cut, and not remembered"),
        ("as-of-before", &["FRK-05", "SRC-06"], s.named().http(NAMED, 200, &one).set("at", "2026-11-21T10:00:00Z"),
            "absent; remembers nothing", "before the first event"),
        ("as-of-damaged", &["FRK-05", "SRC-06"], s.named().http(NAMED, 200, &damaged).set("at", time(&s.one)),
            "known 1 chain_damaged; remembers nothing", "what is missing may be older"),
        ("as-of-damaged-longer", &["FRK-05", "SRC-06"], both(&damaged, &three).set("at", time(&s.one)),
            "known 1; remembers nothing", "compared before the cut"),
    ]);
    Ok(())
}

/// A chain that was seen before.
fn remembered(v: &mut Vectors, s: &Story) -> Result<()> {
    let rules: &[&str] = &["SRC-06", "BCN-02"];
    let [one, two, three] = [&s.one, &s.two, &s.three].map(text);
    let named = s.named().set("remembered", two.as_str());
    let domain = {
        let mut w = Writer::new(owner())?;
        w.op(some_claim("dns:example.com", 4))?;
        text(&w)
    };
    let time = |w: &Writer| w.chain.events().last().map_or(String::new(), |e| e.created_at.to_string());
    emit(v, "sources", vec![
        ("remembered-alone", rules, Net::of(&s.primary).set("remembered", two.as_str()), "known 2 unchecked; remembers 2", "no source is known"),
        ("remembered-offline", rules, named.clone().fail(NAMED, "offline"), "known 2 unchecked; remembers 2", "offline by choice"),
        ("remembered-fails", rules, named.clone().fail(NAMED, "timeout"), "known 2 chain_unreachable; remembers 2", "the source fails"),
        ("remembered-absent", rules, named.clone().status(NAMED, 404), "known 2 rollback; remembers 2", "the source has it no more"),
        ("remembered-shorter", rules, named.clone().http(NAMED, 200, &one), "known 2 rollback; remembers 2", "the source withholds an event"),
        ("remembered-equal", rules, named.clone().http(NAMED, 200, &two), "known 2; remembers 2", "the source has as much"),
        ("remembered-longer", rules, named.clone().http(NAMED, 200, &three), "known 3; remembers 3", "the source has more"),
        ("remembered-damaged", rules, named.clone().http(NAMED, 200, &format!("{two}junk\n")),
            "known 2 chain_damaged; remembers 2", "as long as the damaged copy"),
        ("remembered-damaged-shorter", rules, named.http(NAMED, 200, &format!("{one}junk\n")),
            "known 2 rollback; remembers 2", "a rollback comes before the damage"),
        ("remembered-at", &["SRC-06", "FRK-05"], s.named().set("remembered", three.as_str()).http(NAMED, 200, &two).set("at", time(&s.two)),
            "known 2; remembers 3", "the remembered chain is cut as well"),
        ("remembered-domain", &["SRC-06"], Net::of(&s.primary).set("remembered", domain.as_str()).http(&s.well_known(), 200, &domain),
            "known 1; remembers 1", "a domain that the remembered chain lists is a source"),
        ("remembered-domain-absent", &["SRC-06"], Net::of(&s.primary).set("remembered", domain), "known 1 rollback; remembers 1", "and has it no more"),
    ]);
    Ok(())
}

/// Evidence, and copies that differ.
fn forks(v: &mut Vectors) -> Result<()> {
    let s = Story::new(Scheme::Ed25519)?;
    let next = key(Scheme::Ed25519, 5);
    let mut root = Writer::new(owner())?;
    let mut first = root.event(some_claim("github:jason", 1));
    first.next = Some(commitment(&name(&next)));
    root.push(&first, &[&s.owner])?;
    let (mut one, mut two) = (root.clone(), root.clone());
    one.op(some_claim("dns:a.example", 2))?;
    two.op(some_claim("dns:b.example", 3))?;
    let mut long = one.clone();
    long.op(some_claim("dns:c.example", 4))?;
    long.op(some_claim("dns:d.example", 5))?;
    let mut won = two.clone();
    let to = next.public().clone();
    let event = won.event(Op::Rotate { to, reason: Reason::Compromised, compromised_since: None });
    won.push(&event, &[&next])?;
    let object = |a: &Writer, b: &Writer| -> Result<String> {
        Ok(kez_core::Fork::of(a.chain.clone(), b.chain.clone())?.ok_or("they differ")?.to_canonical())
    };
    let (open, settled) = (object(&one, &two)?, object(&one, &won)?);
    let evidence = format!("{}/fork", s.at());
    let server = |bundle: &str| s.server().http(&s.first_request(), 200, bundle);
    let both = server(&text(&one)).set("sources", json!([NAMED]));
    let other = {
        let mut w = Writer::new(key(Scheme::Ed25519, 9))?;
        w.op(some_claim("dns:a.example", 2))?;
        let mut x = Writer::new(key(Scheme::Ed25519, 9))?;
        x.op(some_claim("dns:b.example", 3))?;
        object(&w, &x)?
    };
    let time = |w: &Writer| w.chain.events().last().map_or(String::new(), |e| e.created_at.to_string());
    let rules: &[&str] = &["SRC-06", "FRK-02"];
    emit(v, "sources", vec![
        ("forked", &["SRC-06", "FRK-03"], both.clone().http(NAMED, 200, &text(&two)), "forked 2; remembers nothing", "two sources serve two histories"),
        ("fork-settled", rules, both.clone().http(NAMED, 200, &text(&won)), "known 3 settled; remembers 3", "one rotates to the committed key"),
        ("fork-settled-shorter", rules, both.clone().http(NAMED, 200, &text(&won)).set("remembered", text(&long)), "known 3 settled; remembers 3",
            "settled against what was seen: no rollback, though it is shorter"),
        ("fork-remembered", &["SRC-06", "FRK-03"], s.named().http(NAMED, 200, &text(&two)).set("remembered", text(&one)), "forked 2; remembers 2",
            "what was seen before is a copy"),
        ("fork-at", &["FRK-05"], both.http(NAMED, 200, &text(&two)).set("at", time(&root)), "known 1; remembers nothing", "they differ only later"),
        ("evidence", &["SRC-06", "FRK-01"], server(&text(&one)).http(&evidence, 200, &open), "forked 2; remembers nothing", "a server shows a fork"),
        ("evidence-settled", &["SRC-06", "FRK-01"], server(&text(&won)).http(&evidence, 200, &settled), "known 3 settled; remembers 3", "that is settled"),
        ("evidence-alone", &["SRC-06", "FRK-01"], s.server().status(&s.first_request(), 404).http(&evidence, 200, &open), "forked 2; remembers nothing",
            "without a bundle"),
        ("evidence-lines", &["SRC-06", "FRK-02"], server(&text(&one)).http(&evidence, 200, &format!("{open}\n{settled}\n")), "known 3 settled; remembers 3",
            "of two divergences: all branches are merged together"),
        ("evidence-lines-damaged", &["SRC-06", "FRK-01"], server(&text(&one)).http(&evidence, 200, &format!("{open}\n{{}}\n{settled}\n")),
            "forked 2; remembers nothing", "lines before one that is refused count, and those behind it do not"),
        ("evidence-lines-other", &["SRC-06", "FRK-01"], server(&text(&one)).http(&evidence, 200, &format!("{other}\n{open}\n")),
            "forked 2; remembers nothing", "an object of another chain is passed over"),
        ("evidence-lines-absent", &["SRC-06", "SRC-07"], s.server().status(&s.first_request(), 404).http(&evidence, 200, &format!("{other}\n")),
            "unknown chain_unreachable; remembers nothing", "evidence of another chain says nothing of this one"),
        ("evidence-405", &["SRC-06"], server(&text(&one)).status(&evidence, 405), "known 2; remembers 2", "a server without evidence"),
        ("evidence-410", &["SRC-06"], server(&text(&one)).status(&evidence, 410), "known 2; remembers 2", "a server without evidence"),
        ("evidence-fails", &["SRC-06"], server(&text(&one)).status(&evidence, 500), "known 2; remembers 2", "it fails: the chain still counts as served"),
        ("evidence-bad", &["SRC-06"], server(&text(&one)).http(&evidence, 200, "{}"), "known 2; remembers 2", "it is refused"),
        ("evidence-other", &["SRC-06"], server(&text(&one)).http(&evidence, 200, &other), "known 2; remembers 2", "it is of another chain"),
        ("evidence-fails-absent", &["SRC-06", "SRC-07"], s.server().status(&s.first_request(), 404).status(&evidence, 500),
            "unknown chain_unreachable; remembers nothing", "a server whose evidence failed has not answered that there is none"),
    ]);
    Ok(())
}

/// The quorum of relays, and what they carry.
fn relays(v: &mut Vectors, s: &Story) -> Result<()> {
    let url = |n: usize| format!("wss://relay-{n}.example");
    let none = || json!([]);
    let authors = |code: &str| {
        json!([{ "filter": { "kinds": [30539], "authors": [kez_core::hex::encode(&s.owner.public().to_bytes())] }, "code": code }])
    };
    let strangers = |code: &str| json!([{ "filter": { "kinds": [30539], "authors": null }, "code": code }]);
    let rules: &[&str] = &["SRC-06", "SRC-07"];
    let absent = "absent; remembers nothing";
    let unreachable = "unknown chain_unreachable; remembers nothing";
    let quorum: [(&str, &[&str], &str, &str); 9] = [
        ("one", &["whole"], absent, "the only relay"),
        ("one-fails", &["fails"], unreachable, "the only relay fails"),
        ("half", &["whole", "fails"], unreachable, "half is not more than half"),
        ("two-of-three", &["whole", "whole", "fails"], absent, "more than half"),
        ("one-of-three", &["whole", "fails", "fails"], unreachable, "less than half"),
        ("silent", &["whole", "whole", "silent"], absent, "a silent relay is not waited for"),
        ("silent-half", &["whole", "silent"], unreachable, "and has failed then"),
        ("limit", &["limit", "limit", "whole"], unreachable, "a limit before any event came"),
        ("closed", &["closed", "whole", "whole"], absent, "closed before any event came"),
    ];
    for (name, kinds, summary, comment) in quorum {
        let mut net = Net::of(&s.primary);
        for (n, kind) in kinds.iter().enumerate() {
            let url = url(n);
            net = match *kind {
                "whole" => net.relay(&url, &[], none()),
                "limit" => net.relay(&url, &[], authors("search_incomplete")),
                "closed" => net.relay(&url, &[], authors("auth_required")),
                "silent" => net.named(&url).fail(&url, "never"),
                _ => net.named(&url).fail(&url, "connect_failed"),
            };
        }
        let rules: &[&str] = if name.starts_with("silent") { &["SRC-09", "SRC-06"] } else { rules };
        v.outcome(&format!("quorum-{name}"), rules, "sources", net.0, summary, comment);
    }
    carriers(v)?;
    let (one, two) = (s.carriers(&s.one, &s.owner)?, s.carriers(&s.two, &s.owner)?);
    let by_stranger = s.carriers(&s.two, &key(Scheme::Nostr, 9))?;
    let gap = vec![two[1].clone()];
    let of = || Net::of(&s.primary);
    let (a, b) = (url(0), url(1));
    emit(v, "sources", vec![
        ("relay", &["SRC-01", "SRC-02", "SRC-06"], of().relay(&a, &two, none()), "known 2; remembers 2", "a relay with the chain"),
        ("relay-two", &["SRC-02"], of().relay(&a, &one, none()).relay(&b, &two, none()), "known 2; remembers 2", "the longer one"),
        ("relay-stranger", &["SRC-02", "SRC-10"], of().relay(&a, &by_stranger, none()), "known 2; remembers 2", "a stranger may carry the lines"),
        ("relay-stranger-adds", &["SRC-02", "SRC-10"], of().relay(&a, &[one[0].clone(), by_stranger[1].clone()], none()), "known 2; remembers 2",
            "and add a line"),
        ("relay-strangers-limit", &["SRC-02"], of().relay(&a, &[], strangers("search_incomplete")), absent, "a limit of the strangers' filter never counts"),
        ("relay-partial", &["SRC-06", "SRC-02"], of().relay(&a, &one, authors("search_incomplete")), "known 1 chain_unreachable; remembers 1",
            "a chain whose deciding filter failed"),
        ("relay-partial-and-whole", &["SRC-06", "SRC-02"], of().relay(&a, &one, authors("timeout")).relay(&b, &one, none()), "known 1; remembers 1",
            "another relay has all that it had"),
        ("relay-gap", &["SRC-02"], of().relay(&a, &gap, none()), unreachable, "the first event is missing: the relay has some of the chain"),
        ("relay-and-named", &["SRC-06"], of().set("sources", json!([NAMED])).http(NAMED, 200, &text(&s.one)).relay(&a, &two, none()),
            "known 2; remembers 2", "all sources are merged"),
        ("relay-absent-named-fails", rules, of().set("sources", json!([NAMED])).fail(NAMED, "timeout").relay(&a, &[], none()), unreachable,
            "every named source counts"),
        ("relay-fails-named-absent", rules, of().set("sources", json!([NAMED])).status(NAMED, 404).named(&a).fail(&a, "timeout"), unreachable,
            "and so does the quorum"),
    ]);
    Ok(())
}

/// Carrier keys, and the keys that rotations reach.
fn carriers(v: &mut Vectors) -> Result<()> {
    const RELAY: &str = "wss://relay.example/x";
    let ed = Story::new(Scheme::Ed25519)?;
    let carrier = key(Scheme::Nostr, 8);
    let hexed = kez_core::hex::encode(&carrier.public().to_bytes());
    let source = |query: &str| json!([format!("{RELAY}{query}")]);
    let by_carrier = ed.carriers(&ed.two, &carrier)?;
    let strangers = json!([{ "filter": { "kinds": [30539], "authors": null }, "code": "search_incomplete" }]);
    let authors = json!([{ "filter": { "kinds": [30539], "authors": [hexed] }, "code": "search_incomplete" }]);
    let at = |events: &[Json], failed: Json| json!({ "events": events, "failed": failed });
    let of = |query: &str, answer: Json| Net::of(&ed.primary).set("sources", source(query)).answer(RELAY, answer);
    let with_carrier = format!("?carrier={hexed}");
    // A nostr chain that goes on with another key, which carries its own events.
    let s = Story::new(Scheme::Nostr)?;
    let next = key(Scheme::Nostr, 5);
    let mut rotated = s.two.clone();
    let to = next.public().clone();
    let event = rotated.event(Op::Rotate { to, reason: Reason::Retired, compromised_since: None });
    rotated.push(&event, &[&s.owner, &next])?;
    let mut after = rotated.clone();
    let event = after.event(some_claim("dns:after.example", 9));
    after.push(&event, &[&next])?;
    let mut events = s.carriers(&rotated, &s.owner)?;
    events.extend(s.carriers(&after, &next)?.into_iter().skip(3));
    let by_next = kez_core::hex::encode(&next.public().to_bytes());
    let next_fails = json!([{ "filter": { "kinds": [30539], "authors": [by_next] }, "code": "timeout" }]);
    let no_strangers = json!([{ "filter": { "kinds": [30539], "authors": null }, "code": "timeout" }]);
    // Carriers that are deleted or have expired count.
    let mut deleted = s.carriers(&s.two, &s.owner)?;
    let id = deleted[1]["id"].as_str().unwrap_or_default().to_owned();
    let deletion = kez_core::NostrEvent { kind: 5, created_at: NOW, tags: vec![vec!["e".into(), id]], content: String::new() };
    deleted.push(serde_json::from_str(&s.owner.sign_nostr_event(&deletion, &[0; 32])?)?);
    let first = s.two.chain.id_at(1).ok_or("a first event")?;
    let line = &s.two.chain.lines()[0];
    let mut expiring = kez_core::channel::chain_carrier(&s.primary, first, line, now().plus(-3600));
    expiring.tags.push(vec!["expiration".into(), "1".into()]);
    let expired = vec![
        serde_json::from_str(&s.owner.sign_nostr_event(&expiring, &[0; 32])?)?,
        s.carriers(&s.two, &s.owner)?[1].clone(),
    ];
    let mut forged = s.carriers(&s.one, &s.owner)?;
    forged[0]["sig"] = "0".repeat(128).into();
    let configured = |events: &[Json], failed: Json| Net::of(&s.primary).relay(RELAY, events, failed);
    emit(v, "sources", vec![
        ("carrier", &["SRC-11", "SRC-12", "SRC-13"], of(&with_carrier, at(&by_carrier, strangers.clone())), "known 2; remembers 2",
            "a carrier key in the source's URL, which is not part of the relay's"),
        ("carrier-later-pair", &["SRC-13"], of(&format!("?a=b&carrier={hexed}"), at(&by_carrier, strangers.clone())), "known 2; remembers 2",
            "not the first pair"),
        ("carrier-fails", &["SRC-13"], of(&with_carrier, at(&by_carrier, authors.clone())), "known 2 chain_unreachable; remembers 2", "its filter decides"),
        ("carrier-absent", &["SRC-13"], of(&with_carrier, at(&[], strangers.clone())), "absent; remembers nothing", "and may be empty"),
        ("carrier-bad", &["SRC-13"], Net::of(&ed.primary).set("sources", source("?carrier=00")).answer(&format!("{RELAY}?carrier=00"), at(&by_carrier, json!([]))),
            "known 2; remembers 2", "no valid key: the URL is used as it is"),
        ("no-carrier", &["SRC-02"], of("", at(&by_carrier, json!([]))), "known 2; remembers 2", "without an author the strangers' filter decides"),
        ("no-carrier-limit", &["SRC-02"], of("", at(&by_carrier, strangers)), "known 2 chain_unreachable; remembers 2", "and its limit counts"),
        ("rotated", &["SRC-02"], configured(&events, no_strangers), "known 4; remembers 4", "the next key's events are asked for"),
        ("rotated-fails", &["SRC-02"], configured(&events[..3], next_fails), "known 3 chain_unreachable; remembers 3", "and that filter decides as well"),
        ("carrier-deleted", &["SRC-20"], configured(&deleted, json!([])), "known 2; remembers 2", "a deleted carrier counts"),
        ("carrier-expired", &["SRC-20"], configured(&expired, json!([])), "known 2; remembers 2", "an expired carrier counts"),
        ("carrier-signature", &["SRC-10"], configured(&forged, json!([])), "known 1; remembers 1", "the carrier's signature does not matter"),
    ]);
    Ok(())
}
