//! What each answer of the fediverse means.

use super::*;

const SUBJECT: &str = "ap:jason@social.example";
const FINGER: &str = "https://social.example/.well-known/webfinger?resource=acct:jason@social.example";
const TYPED: &str = "https://social.example/.well-known/webfinger?resource=acct:Jason@social.example";
const META: &str = "https://social.example/.well-known/host-meta";
const META_JSON: &str = "https://social.example/.well-known/host-meta.json";
const ACTOR: &str = "https://social.example/users/jason";
const LOOKUP: &str = "https://social.example/api/v1/accounts/lookup?acct=jason";
const CHALLENGE: &str = "Just a moment...";

/// A WebFinger answer.
fn finger(subject: &str, actor: &str) -> Json {
    json!({
        "subject": subject,
        "links": [
            { "rel": "http://webfinger.net/rel/profile-page", "type": "text/html", "href": "https://social.example/@jason" },
            { "rel": "self", "type": "application/activity+json", "href": actor },
        ],
    })
}

fn actor(field: &str) -> Json {
    json!({
        "id": ACTOR,
        "type": "Person",
        "preferredUsername": "jason",
        "name": "Jason",
        "summary": "<p>hi</p>",
        "attachment": [{ "type": "PropertyValue", "name": "KEZ", "value": field }, { "type": "IdentityProof" }],
    })
}

fn with(mut value: Json, member: &str, other: Json) -> Json {
    value[member] = other;
    value
}

/// An account whose WebFinger answers.
fn named() -> Net {
    Net::about(SUBJECT).json(FINGER, 200, finger("acct:jason@social.example", ACTOR))
}

/// An actor, with the media type of actors.
fn acts(net: Net, url: &str, value: Json) -> Net {
    net.json(url, 200, value).header(url, "content-type", "application/activity+json")
}

const VALID: &str = "valid+history_unchecked+account_unpinned";

pub(super) fn ap(v: &mut Vectors) -> Result<()> {
    v.group = "ap";
    let text = proof_of(SUBJECT)?;
    fingers(v, &text);
    host_meta(v, &text);
    domains(v, &text)?;
    actors(v, &text);
    hidden(v, &text);
    markup(v, &text);
    Ok(())
}

fn fingers(v: &mut Vectors, text: &str) {
    let rules: &[&str] = &["AP-01"];
    let with_finger = |value: Json| acts(Net::about(SUBJECT).json(FINGER, 200, value), ACTOR, actor(text));
    let subject = |subject: &str| with_finger(finger(subject, ACTOR));
    let link = |url: &str| with_finger(finger("acct:jason@social.example", url));
    let typed = |net: Net| net.set("spelling", "Jason");
    let jrd = finger("acct:Jason@social.example", ACTOR);
    emit(v, "channel", vec![
        ("finger", &["AP-01", "AP-03"], subject("acct:jason@social.example"), VALID, "the name as subject"),
        ("finger-no-acct", rules, subject("jason@social.example"), VALID, "without acct:"),
        ("finger-case", rules, subject("ACCT:JASON@Social.Example"), VALID, "in any letter case"),
        ("finger-actor", rules, subject(ACTOR), VALID, "the actor's URL as subject"),
        ("finger-no-subject", rules, with_finger(json!({ "links": finger("", ACTOR)["links"] })), VALID, "no subject"),
        ("finger-type", rules, subject("acct:jason@social.example").header(FINGER, "content-type", "text/html"), VALID, "any media type"),
        ("finger-no-link", rules, with_finger(json!({ "subject": "acct:jason@social.example", "links": [] })), "response_refused", "no actor"),
        ("finger-http", rules, link("http://social.example/users/jason"), "response_refused", "an actor that is not https"),
        ("finger-address", rules, link("https://127.0.0.1/users/jason"), "response_refused", "an actor at an address"),
        ("finger-page", rules, Net::about(SUBJECT).page(FINGER, 200, "Home"), "response_refused", "not JSON"),
        ("finger-500", &["CNL-03"], Net::about(SUBJECT).status(FINGER, 500), "http_status", "a failure"),
        ("finger-401", &["CNL-03"], Net::about(SUBJECT).status(FINGER, 401), "auth_required", "a failure"),
        ("finger-timeout", &["CNL-03"], Net::about(SUBJECT).fail(FINGER, "timeout"), "timeout", "a failure"),
        ("finger-challenge", &["CNL-03"], Net::about(SUBJECT).page(FINGER, 403, CHALLENGE), "challenge", "a bot check"),
        ("typed", rules, typed(acts(Net::about(SUBJECT).status(FINGER, 404).json(TYPED, 200, jrd), ACTOR, actor(text))), VALID, "only as typed"),
        ("typed-lower", rules, typed(acts(named().status(TYPED, 404), ACTOR, actor(text))), VALID, "only in lower case"),
    ]);
}

fn host_meta(v: &mut Vectors, text: &str) {
    let there = "https://login.example/wf?resource=acct:jason@social.example";
    let template = "https://login.example/wf?resource={uri}";
    let xml = format!(r#"<XRD><Link rel="lrdd" template="{template}"/></XRD>"#);
    let jrd = json!({ "links": [{ "rel": "lrdd", "template": template }] });
    let none = || {
        let net = Net::about(SUBJECT).status(FINGER, 404).status(META, 404).status(META_JSON, 404);
        acts(net, ACTOR, actor(text)).json(there, 200, finger("acct:jason@social.example", ACTOR))
    };
    let by_xml = || none().http(META, 200, &xml);
    let rules: &[&str] = &["AP-01", "CNL-06"];
    let fails: &[&str] = &["AP-01", "CNL-03"];
    let absent = "identity_not_found";
    emit(v, "channel", vec![
        ("meta-xml", rules, by_xml(), VALID, "XRD"),
        ("meta-json", rules, none().json(META_JSON, 200, jrd), VALID, "JRD"),
        ("meta-xml-json-fails", rules, by_xml().status(META_JSON, 500), VALID, "the other document fails"),
        ("meta-none", rules, none(), absent, "no host-meta"),
        ("meta-gone", rules, none().status(FINGER, 410), absent, "410"),
        ("meta-page", rules, none().page(META, 200, "Home"), absent, "a page is no host-meta"),
        ("meta-403", rules, none().status(META, 403), absent, "403 is no host-meta"),
        ("meta-503", fails, none().status(META, 503), "http_status", "a failure"),
        ("meta-401", fails, none().status(META, 401), "auth_required", "a failure"),
        ("meta-429", fails, none().status(META, 429), "rate_limited", "a failure"),
        ("meta-timeout", fails, none().fail(META, "timeout"), "timeout", "a failure"),
        ("meta-challenge", fails, none().page(META, 403, CHALLENGE), "challenge", "a bot check"),
        ("meta-there-404", rules, by_xml().status(there, 404), absent, "it does not know the name either"),
        ("meta-there-502", fails, by_xml().status(there, 502), "http_status", "a failure there"),
    ]);
}

fn domains(v: &mut Vectors, text: &str) -> Result<()> {
    let there = "https://web.social.example/users/jason";
    let at = |host: &str, name: &str| format!("https://{host}/.well-known/webfinger?resource=acct:{name}");
    let own = &at("web.social.example", "jason@web.social.example");
    let asked = &at("web.social.example", "jason@social.example");
    let good = || finger("acct:jason@social.example", there);
    let first = || {
        let net = Net::about(SUBJECT).json(FINGER, 200, good());
        acts(net, there, with(actor(text), "id", json!(there)))
    };
    let canonical = &at("example.org", "jason@example.org");
    let named_there = || finger("acct:jason@example.org", ACTOR);
    let canon = || acts(Net::about(SUBJECT).json(FINGER, 200, named_there()), ACTOR, actor(&format!("{text} {}", canonical_proof().unwrap_or_default())));
    let bad = "handle_mismatch";
    let rules: &[&str] = &["AP-05"];
    emit(v, "channel", vec![
        ("split", rules, first().json(own, 200, good()), VALID, "the actor's host agrees"),
        ("split-handle", rules, first().status(own, 404).json(asked, 200, good()), VALID, "it knows only the name"),
        ("split-name", rules, first().json(own, 200, finger("acct:jason@web.social.example", there)).status(asked, 404), bad, "it names the account otherwise"),
        ("split-actor", rules, first().json(own, 200, finger("acct:jason@social.example", ACTOR)).status(asked, 404), bad, "it names another actor"),
        ("split-unknown", rules, no_meta(first().status(own, 404).status(asked, 404), "web.social.example"), bad, "it knows no such account"),
        ("split-500", &["AP-05", "CNL-03"], first().status(own, 500).status(asked, 404), "http_status", "a failure"),
        ("canonical", &["AP-01", "VER-05"], canon().json(canonical, 200, named_there()), VALID,
            "another name that its own host confirms: reports are about that name"),
        ("canonical-actor", &["AP-01"], canon().json(canonical, 200, finger("acct:jason@example.org", "https://social.example/users/mallory")), bad, "another actor there"),
        ("canonical-unknown", &["AP-01"], no_meta(canon().status(canonical, 404), "example.org"), bad, "unknown there"),
        ("canonical-none", &["AP-01"], acts(Net::about(SUBJECT).json(FINGER, 200, finger("somebody", ACTOR)), ACTOR, actor(text)), bad, "no name at all"),
    ]);
    Ok(())
}

/// No host-meta there.
fn no_meta(net: Net, host: &str) -> Net {
    let url = |name: &str| format!("https://{host}/.well-known/{name}");
    net.status(&url("host-meta"), 404).status(&url("host-meta.json"), 404)
}

fn canonical_proof() -> Result<String> {
    proof_of("ap:jason@example.org")
}

fn actors(v: &mut Vectors, text: &str) {
    let shows = |value: Json| acts(named(), ACTOR, value);
    let proof = || actor(text);
    let page = "https://social.example/@jason";
    let linked = |id: &str| {
        let net = Net::about(SUBJECT).json(FINGER, 200, finger("acct:jason@social.example", page));
        acts(net, page, with(proof(), "id", json!(id)))
    };
    let rules: &[&str] = &["AP-02"];
    let bad = "handle_mismatch";
    let moved = json!("https://new.example/jason");
    emit(v, "channel", vec![
        ("actor", &["AP-01", "AP-02"], shows(proof()), VALID, "the actor is the link"),
        ("actor-case", rules, shows(with(proof(), "preferredUsername", json!("JASON"))), VALID, "names without regard to case"),
        ("actor-id", rules, acts(linked(ACTOR), ACTOR, proof()), VALID, "its id is another URL of the host, which gives itself"),
        ("actor-circle", rules, acts(linked(ACTOR), ACTOR, with(proof(), "id", json!(page))), bad, "that URL does not give itself"),
        ("actor-id-host", rules, shows(with(proof(), "id", json!("https://evil.example/users/jason"))), bad, "an id at another host"),
        ("actor-name", rules, shows(with(proof(), "preferredUsername", json!("mallory"))), bad, "another user name"),
        ("actor-410", &["CNL-06"], named().status(ACTOR, 410), "identity_not_found", "gone"),
        ("actor-500", &["CNL-03"], named().status(ACTOR, 500), "http_status", "a failure"),
        ("actor-429", &["CNL-03"], named().status(ACTOR, 429), "rate_limited", "a failure"),
        ("actor-page", &["CNL-03"], named().page(ACTOR, 200, "Home"), "response_refused", "not JSON"),
        ("actor-suspended", rules, shows(with(proof(), "suspended", json!(true))), "account_suspended", "suspended"),
        ("actor-moved", &["AP-07"], shows(with(proof(), "movedTo", moved.clone())), &VALID.replace("unpinned", "unpinned+moved"), "the note moved"),
        ("actor-moved-none", &["AP-07"], shows(with(actor(""), "movedTo", moved)), "proof_not_found", "and without a proof"),
        ("actor-json-ld", &["AP-06"], shows(with(proof(), "@context", json!(["https://www.w3.org/ns/activitystreams", { "a": { "@id": "b", "@container": "@list" } }]))),
            VALID, "its context is not read"),
        ("actor-page-alone", &["ID-16"], shows(with(actor(""), "url", json!("https://a.example/me"))), "proof_not_found",
            "a page that it names is no proof"),
        ("actor-floats", &["AP-06"], shows(with(proof(), "icon", json!({ "focalPoint": [0.5, -0.25] }))), VALID, "foreign JSON"),
    ]);
}

fn hidden(v: &mut Vectors, text: &str) {
    let trimmed = json!({ "id": ACTOR, "type": "Person", "preferredUsername": "jason", "inbox": "x" });
    let account = json!({
        "id": "1", "username": "jason", "acct": "jason", "uri": ACTOR, "note": "", "url": "https://social.example/@jason",
        "fields": [{ "name": "KEZ", "value": text, "verified_at": null }],
    });
    let hidden = || acts(named(), ACTOR, trimmed.clone());
    let api = |account: Json| hidden().json(LOOKUP, 200, account);
    let good = || api(account.clone());
    let old = || with(account.clone(), "uri", Json::Null);
    let rules: &[&str] = &["AP-04"];
    let bad = "handle_mismatch";
    emit(v, "channel", vec![
        ("api-trimmed", rules, good(), VALID, "a trimmed actor"),
        ("api-401", rules, good().status(ACTOR, 401), VALID, "an actor that asks for a signature"),
        ("api-403", rules, good().status(ACTOR, 403), VALID, "a forbidden actor"),
        ("api-404", rules, good().status(ACTOR, 404), VALID, "an actor that strangers do not see"),
        ("api-challenge", rules, good().page(ACTOR, 403, CHALLENGE), VALID, "a bot check at the actor"),
        ("api-no-uri", rules, api(old()), VALID, "without uri: the url is at the actor's host"),
        ("api-no-uri-host", rules, api(with(old(), "url", json!("https://evil.example/@jason"))), bad, "the url is elsewhere"),
        ("api-other-uri", rules, api(with(account.clone(), "uri", json!("https://social.example/users/other"))), bad, "another actor"),
        ("api-other-acct", rules, api(with(account.clone(), "acct", json!("jason@evil.example"))), bad, "another account"),
        ("api-refused-401", rules, hidden().status(LOOKUP, 401), "auth_required", "refused too"),
        ("api-refused-404", rules, hidden().status(LOOKUP, 404), "auth_required", "refused too"),
        ("api-refused-403", rules, named().status(ACTOR, 403).status(LOOKUP, 404), "auth_required", "the code of the actor's answer"),
        ("api-refused-challenge", rules, named().page(ACTOR, 403, CHALLENGE).status(LOOKUP, 404), "challenge", "the code of the actor's answer"),
        ("api-500", &["AP-04", "CNL-03"], hidden().status(LOOKUP, 500), "http_status", "a failure"),
        ("api-429", &["AP-04", "CNL-03"], hidden().status(LOOKUP, 429), "rate_limited", "a limit"),
        ("api-both-challenge", &["AP-04"], named().page(ACTOR, 403, CHALLENGE).page(LOOKUP, 403, CHALLENGE), "challenge", "bot checks"),
        ("api-moved", &["AP-04", "AP-07"], api(with(account.clone(), "moved", json!({ "url": "https://new.example/@jason" }))),
            &VALID.replace("unpinned", "unpinned+moved"), "the note moved"),
    ]);
}

/// `html_text`.
fn markup(v: &mut Vectors, text: &str) {
    let (a, b) = text.split_at(50);
    let field = |html: String| acts(named(), ACTOR, actor(&html));
    let rules: &[&str] = &["AP-03"];
    let none = "proof_not_found";
    let mut single = actor("");
    single["attachment"] = json!({ "type": "PropertyValue", "name": "KEZ", "value": text });
    emit(v, "channel", vec![
        ("html-spans", rules, field(format!("<p><span class=\"invisible\">{a}</span><span>{b}</span></p>")), VALID, "other tags join"),
        ("html-br", rules, field(format!("x<br/>{text}<br>y")), VALID, "br breaks"),
        ("html-li", rules, field(format!("<ul><li>x</li><li>{text}</li></ul>")), VALID, "li breaks"),
        ("html-upper", rules, field(format!("x<BR>{text}<P>")), VALID, "tag names in any case"),
        ("html-glued", rules, field(format!("x<b>{text}</b>")), none, "a letter directly before"),
        ("html-href", rules, field(format!("<a class=\"x\" href=\"{text}\">me</a>")), VALID, "a link's target"),
        ("html-entity", rules, field(text.replacen(':', "&#58;", 1).replacen(':', "&#x3a;", 1)), VALID, "entities"),
        ("html-entity-unknown", rules, field(text.replacen(':', "&colon;", 1)), none, "an entity that is not on the list"),
        ("html-nbsp", rules, field(format!("x&nbsp;{text}")), VALID, "a space of its own"),
        ("html-open", rules, field(format!("{text}<a href=")), VALID, "a tag that does not close"),
        ("html-summary", rules, acts(named(), ACTOR, with(actor(""), "summary", json!(format!("<p>hi</p><p>{text}</p>")))), VALID, "the bio"),
        ("html-single", rules, acts(named(), ACTOR, single), VALID, "one attachment that is no array"),
    ]);
}
