//! `ap:` What each answer means.

use super::*;

const SUBJECT: &str = "ap:jason@social.example";
const ACTIVITY: &str = "application/activity+json";
const JRD: &str = "application/jrd+json";
const FINGER: &str =
    "https://social.example/.well-known/webfinger?resource=acct%3Ajason%40social.example";
const ACTOR: &str = "https://social.example/users/jason";

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
        "@context": ["https://www.w3.org/ns/activitystreams", { "focalPoint": { "@container": "@list", "@id": "toot:focalPoint" } }],
        "id": ACTOR,
        "type": "Person",
        "preferredUsername": "Jason",
        "name": "Jason",
        "summary": "<p>hi</p>",
        "icon": { "type": "Image", "focalPoint": [0.5, -0.25] },
        "attachment": [{ "type": "PropertyValue", "name": "KEZ", "value": field }, { "type": "IdentityProof" }],
    })
}

fn webfinger(host: &str, name: &str) -> String {
    let name = name.replace('@', "%40");
    format!("https://{host}/.well-known/webfinger?resource=acct%3A{name}")
}

/// A server with an account that has a proof.
fn server() -> Recorded {
    mastodon().json(ACTOR, &actor(&compact(SUBJECT)))
}

fn with(mut value: Json, name: &str, other: Json) -> Json {
    value[name] = other;
    value
}

fn mastodon() -> Recorded {
    Recorded::default().http(FINGER, 200, JRD, finger("acct:Jason@social.example", ACTOR))
}

/// KEZ-AP-01, KEZ-AP-02, KEZ-AP-03
#[test]
fn mastodon_markup_and_floats() {
    let text = compact("ap:jason@social.example");
    let html = format!(
        "<p><span class=\"invisible\">{}</span><span class=\"ellipsis\">{}</span></p>",
        &text[..50],
        &text[50..]
    );
    let report = mastodon().json(ACTOR, &actor(&html)).expect("@jason@social.example", None);
    assert_eq!(report.account.as_deref(), Some(ACTOR));
    assert!(report.notes.contains(&Note::AccountUnpinned));
    // A single field is not always a list.
    let mut single = actor("");
    single["attachment"] = json!({ "type": "PropertyValue", "name": "KEZ", "value": text });
    mastodon().json(ACTOR, &single).expect("@jason@social.example", None);
    // A link's target counts as well as its text.
    let mut bio = actor("");
    bio["summary"] = json!(format!("<a href=\"{text}\">me</a>"));
    mastodon().json(ACTOR, &bio).expect("@jason@social.example", None);
}

/// KEZ-AP-01: what the network's servers send, and what other software takes.
#[test]
fn webfinger_as_it_is() {
    let proof = || actor(&compact(SUBJECT));
    let at = |kind: &str, subject: &str| server().http(FINGER, 200, kind, finger(subject, ACTOR));
    for kind in [JRD, "application/json", "text/plain", "application/octet-stream", "text/html"] {
        assert_eq!(at(kind, "acct:jason@social.example").shows(SUBJECT), FOUND, "{kind}");
    }
    for subject in
        ["jason@social.example", "@jason@social.example", "ACCT:JASON@Social.Example", ACTOR]
    {
        assert_eq!(at(JRD, subject).shows(SUBJECT), FOUND, "{subject}");
    }
    let without = json!({ "links": finger("", ACTOR)["links"] });
    assert_eq!(server().http(FINGER, 200, JRD, &without).shows(SUBJECT), FOUND);
    let marked = format!("\u{feff}{}", finger("acct:jason@social.example", ACTOR));
    assert_eq!(server().http(FINGER, 200, JRD, marked).shows(SUBJECT), FOUND);
    // A host in Unicode, as its server writes it.
    let (name, host) = ("jason@xn--bcher-kva.example", "xn--bcher-kva.example");
    let id = format!("https://{host}/users/jason");
    let unicode = Recorded::default()
        .http(&webfinger(host, name), 200, JRD, finger("acct:jason@b\u{fc}cher.example", &id))
        .json(&id, &with(proof(), "id", json!(id)));
    assert_eq!(unicode.shows(&format!("ap:{name}")), FOUND);
    let no_actor = json!({ "subject": "acct:jason@social.example", "links": [] });
    let refused = failed(Code::ResponseRefused);
    assert_eq!(server().http(FINGER, 200, JRD, &no_actor).shows(SUBJECT), refused);
    for link in
        ["http://social.example/users/jason", "https://127.0.0.1/users/jason", "javascript:x"]
    {
        let odd = server().http(FINGER, 200, JRD, finger("acct:jason@social.example", link));
        assert_eq!(odd.shows(SUBJECT), refused, "{link}");
    }
}

/// Servers that tell upper from lower case know only the spelling that people use.
#[test]
fn spellings() {
    let typed = webfinger("social.example", "Jason@social.example");
    let look = |answers: &Recorded| shown(answers.look_up(SUBJECT, &[], Some("Jason")));
    let jrd = finger("acct:Jason@social.example", ACTOR);
    let strict = server().status(FINGER, 404).http(&typed, 200, JRD, &jrd);
    assert_eq!(look(&strict), FOUND);
    let lower = server().status(&typed, 404);
    assert_eq!(look(&lower), FOUND);
    assert_eq!(lower.asked.borrow()[..2], [typed.clone(), FINGER.into()]);
    // One of the two stays unknown, and the other is absent.
    assert_eq!(look(&server().status(FINGER, 404).status(&typed, 500)), failed(Code::HttpStatus));
    // A name that differs in more than its letters' case is not asked for.
    let other = server();
    assert_eq!(shown(other.look_up(SUBJECT, &[], Some("mallory@social.example"))), FOUND);
    assert_eq!(other.asked.borrow()[..], [FINGER, ACTOR]);
}

#[test]
fn host_meta() {
    const META: &str = "https://social.example/.well-known/host-meta";
    const META_JSON: &str = "https://social.example/.well-known/host-meta.json";
    const THERE: &str = "https://login.example/wf?resource=acct%3Ajason%40social.example";
    let template = "https://login.example/wf?resource={uri}";
    let xml = format!(r#"<XRD><Link rel="lrdd" template="{template}"/></XRD>"#);
    let json = json!({ "links": [{ "rel": "lrdd", "template": template }] });
    let none = || server().status(FINGER, 404).status(META, 404).status(META_JSON, 404);
    let there = |answers: Recorded| {
        answers.http(THERE, 200, "text/plain", finger("acct:jason@social.example", ACTOR))
    };
    let with_xml = || there(none()).http(META, 200, "application/xrd+xml", &xml);
    for (what, answers, wanted) in [
        ("XML", with_xml(), FOUND),
        ("XML without its media type", there(none()).http(META, 200, "text/plain", &xml), FOUND),
        ("JSON", there(none()).http(META_JSON, 200, JRD, &json), FOUND),
        ("XML, and the other fails", with_xml().status(META_JSON, 500), FOUND),
        ("nothing", none(), failed(Code::IdentityNotFound)),
        ("gone", none().status(FINGER, 410), failed(Code::IdentityNotFound)),
        ("a page", none().page(META, 200, "Home"), failed(Code::IdentityNotFound)),
        ("forbidden", none().status(META, 403), failed(Code::IdentityNotFound)),
        ("a failure", none().status(META, 503), failed(Code::HttpStatus)),
        ("silence", none().fail(META, Code::Timeout), failed(Code::Timeout)),
        ("a bot check", none().page(META, 403, "Just a moment..."), failed(Code::Challenge)),
        ("not there either", with_xml().status(THERE, 404), failed(Code::IdentityNotFound)),
        ("a failure there", with_xml().status(THERE, 502), failed(Code::HttpStatus)),
    ] {
        assert_eq!(answers.shows(SUBJECT), wanted, "{what}");
    }
}

/// KEZ-AP-01: the name's domain and the server's are not the same.
#[test]
fn split_domains() {
    let there = "https://web.social.example/users/jason";
    let own = webfinger("web.social.example", "jason@web.social.example");
    let asked = webfinger("web.social.example", "jason@social.example");
    let actor = with(actor(&compact(SUBJECT)), "id", json!(there));
    let good = finger("acct:jason@social.example", there);
    let first = || Recorded::default().http(FINGER, 200, JRD, &good).json(there, &actor);
    let mismatch = failed(Code::HandleMismatch);
    for (what, answers, wanted) in [
        ("the server agrees", first().http(&own, 200, JRD, &good), FOUND),
        (
            "it knows only the handle",
            first().status(&own, 404).http(&asked, 200, JRD, &good),
            FOUND,
        ),
        (
            "it answered itself",
            first().moved(FINGER, "https://web.social.example/.well-known/webfinger?resource=x"),
            FOUND,
        ),
        (
            "another host answered",
            first().moved(FINGER, "https://evil.example/"),
            failed(Code::ConnectFailed),
        ),
        (
            "the server names the account otherwise",
            first()
                .http(&own, 200, JRD, finger("acct:jason@web.social.example", there))
                .status(&asked, 404),
            mismatch,
        ),
        (
            "the server names another actor",
            first()
                .http(&own, 200, JRD, finger("acct:jason@social.example", ACTOR))
                .status(&asked, 404),
            mismatch,
        ),
        (
            "one of its answers does not come",
            first().http(&own, 200, JRD, finger("acct:jason@web.social.example", there)),
            failed(Code::ConnectFailed),
        ),
        (
            "the server fails",
            first().status(&own, 500).status(&asked, 404),
            failed(Code::HttpStatus),
        ),
    ] {
        assert_eq!(answers.shows(SUBJECT), wanted, "{what}");
    }
    let unknown = first()
        .status(&own, 404)
        .status(&asked, 404)
        .status("https://web.social.example/.well-known/host-meta", 404)
        .status("https://web.social.example/.well-known/host-meta.json", 404);
    assert_eq!(unknown.shows(SUBJECT), mismatch, "the server knows no such account");
}

/// A server may name the account otherwise than it was asked for, if that name's domain agrees.
#[test]
fn canonical_names() {
    let page = "ap:jason@social.example";
    let canonical = webfinger("example.org", "jason@example.org");
    let good = finger("acct:jason@example.org", ACTOR);
    let first = || server().http(FINGER, 200, JRD, &good);
    let found = first().http(&canonical, 200, JRD, &good);
    let finding = found.look_up(page, &[], None).unwrap();
    assert_eq!(finding.subject, Some(Identity::parse("ap:jason@example.org").unwrap()));
    assert_eq!(finding.account.as_deref(), Some(ACTOR));
    assert_eq!(found.asked.borrow()[..], [FINGER.into(), canonical.clone(), ACTOR.to_owned()]);
    assert_eq!(server().look_up(page, &[], None).unwrap().subject, None);
    let mismatch = failed(Code::HandleMismatch);
    let stolen = "https://social.example/users/mallory";
    for (what, answers, wanted) in [
        (
            "a redirect back",
            first().http(&canonical, 200, JRD, &good).moved(&canonical, FINGER),
            FOUND,
        ),
        (
            "another actor there",
            first().http(&canonical, 200, JRD, finger("acct:jason@example.org", stolen)),
            mismatch,
        ),
        (
            "another name there",
            first().http(&canonical, 200, JRD, finger("acct:jason@other.example", ACTOR)),
            mismatch,
        ),
        (
            "unknown there",
            first()
                .status(&canonical, 404)
                .status("https://example.org/.well-known/host-meta", 404)
                .status("https://example.org/.well-known/host-meta.json", 404),
            mismatch,
        ),
        ("silence there", first(), failed(Code::ConnectFailed)),
        ("no name at all", server().http(FINGER, 200, JRD, finger("somebody", ACTOR)), mismatch),
        (
            "another user's actor",
            first().http(FINGER, 200, JRD, finger("acct:mallory@social.example", ACTOR)).http(
                &webfinger("social.example", "mallory@social.example"),
                200,
                JRD,
                finger("acct:mallory@social.example", ACTOR),
            ),
            mismatch,
        ),
    ] {
        assert_eq!(answers.shows(page), wanted, "{what}");
    }
}

/// KEZ-AP-02
#[test]
fn actors() {
    let proof = || actor(&compact(SUBJECT));
    let shows = |actor: &Json| mastodon().json(ACTOR, actor).shows(SUBJECT);
    let (mallory, elsewhere) =
        ("https://social.example/users/mallory", "https://evil.example/users/jason");
    let theirs = with(with(proof(), "id", json!(mallory)), "preferredUsername", json!("mallory"));
    let stolen = mastodon().json(ACTOR, &theirs).json(mallory, &theirs);
    assert_eq!(stolen.shows(SUBJECT), failed(Code::HandleMismatch));
    assert_eq!(shows(&with(proof(), "id", json!(elsewhere))), failed(Code::HandleMismatch));
    assert_eq!(
        shows(&with(proof(), "preferredUsername", json!("mallory"))),
        failed(Code::HandleMismatch)
    );
    assert_eq!(shows(&with(proof(), "suspended", json!(true))), failed(Code::AccountSuspended));
    assert_eq!(shows(&with(proof(), "attachment", json!([]))), ABSENT);
    for (status, wanted) in
        [(410, Code::IdentityNotFound), (500, Code::HttpStatus), (429, Code::RateLimited)]
    {
        assert_eq!(mastodon().status(ACTOR, status).shows(SUBJECT), failed(wanted), "{status}");
    }
    let unlabelled = mastodon().http(ACTOR, 200, "text/plain", proof());
    assert_eq!(unlabelled.shows(SUBJECT), failed(Code::ResponseRefused), "a file of a user");
    for moved in [json!("https://new.example/jason"), json!({ "id": "https://new.example/jason" })]
    {
        let finding =
            mastodon().json(ACTOR, &with(proof(), "movedTo", moved)).look_up(SUBJECT, &[], None);
        assert_eq!(finding.unwrap().moved_to.as_deref(), Some("https://new.example/jason"));
    }
}

/// The link of WebFinger may be another URL of the actor.
#[test]
fn links_and_ids() {
    let linked = |link: &str, id: &str, text: &str| {
        let document = with(actor(text), "id", json!(id));
        Recorded::default()
            .http(FINGER, 200, JRD, finger("acct:jason@social.example", link))
            .http(link, 200, ACTIVITY, &document)
            .http(id, 200, ACTIVITY, &document)
    };
    let text = compact(SUBJECT);
    for (link, id) in [
        ("https://social.example/users/jason/", ACTOR),
        (ACTOR, "https://social.example/users/jason/"),
        ("https://social.example/@jason", ACTOR),
        ("https://social.example", "https://social.example"),
        ("https://social.example/", "https://social.example"),
        ("https://social.example/?author=1", "https://social.example/?author=1"),
    ] {
        let finding = linked(link, id, &text).look_up(SUBJECT, &[], None).unwrap();
        assert_eq!(finding.account.as_deref(), Some(id), "{link}");
        assert_eq!(shown(Ok(finding)), FOUND, "{link}");
    }
    // The id does not lead to the same actor.
    let page = "https://social.example/@jason";
    let circle = linked(page, ACTOR, &text).json(ACTOR, &with(actor(&text), "id", json!(page)));
    assert_eq!(circle.shows(SUBJECT), failed(Code::HandleMismatch));
    assert_eq!(
        linked(page, ACTOR, &text).status(ACTOR, 500).shows(SUBJECT),
        failed(Code::HttpStatus)
    );
    // Another port is another server.
    let port = "https://social.example:8443/users/jason";
    assert_eq!(linked(port, port, &text).shows(SUBJECT), failed(Code::ConnectFailed));
}

/// KEZ-AP-04
#[test]
fn secure_mode() {
    const LOOKUP: &str = "https://social.example/api/v1/accounts/lookup?acct=Jason";
    let trimmed =
        json!({ "id": ACTOR, "type": "Person", "preferredUsername": "jason", "inbox": "x" });
    let account = json!({
        "id": "1", "username": "jason", "acct": "jason", "uri": ACTOR, "note": "",
        "url": "https://social.example/@jason",
        "fields": [{ "name": "KEZ", "value": compact(SUBJECT), "verified_at": null }],
    });
    let old = with(account.clone(), "uri", Json::Null);
    let api = |account: &Json| mastodon().json(ACTOR, &trimmed).json(LOOKUP, account);
    let hidden = || mastodon().json(ACTOR, &trimmed);
    for (what, answers, wanted) in [
        ("a trimmed actor", api(&account), FOUND),
        ("no actor without a signature", api(&account).status(ACTOR, 401), FOUND),
        ("a forbidden actor", api(&account).status(ACTOR, 403), FOUND),
        ("an actor that strangers do not see", api(&account).status(ACTOR, 404), FOUND),
        ("a bot check at the actor", api(&account).page(ACTOR, 403, "Just a moment..."), FOUND),
        ("before Mastodon 4.2", api(&old), FOUND),
        (
            "another server's page",
            api(&with(old.clone(), "url", json!("https://evil.example/@jason"))),
            failed(Code::HandleMismatch),
        ),
        (
            "another actor",
            api(&with(account.clone(), "uri", json!("https://social.example/users/other"))),
            failed(Code::HandleMismatch),
        ),
        (
            "another account",
            api(&with(account.clone(), "acct", json!("jason@evil.example"))),
            failed(Code::HandleMismatch),
        ),
        (
            "suspended",
            api(&with(account.clone(), "suspended", json!(true))),
            failed(Code::AccountSuspended),
        ),
        ("hidden, 401", hidden().status(LOOKUP, 401), failed(Code::AuthRequired)),
        ("hidden, 403", hidden().status(LOOKUP, 403), failed(Code::AuthRequired)),
        ("hidden, 404", hidden().status(LOOKUP, 404), failed(Code::AuthRequired)),
        (
            "no actor, no API",
            mastodon().status(ACTOR, 404).status(LOOKUP, 404),
            failed(Code::HttpStatus),
        ),
        (
            "bot checks",
            mastodon().page(ACTOR, 403, "Just a moment...").page(LOOKUP, 403, "Just a moment..."),
            failed(Code::Challenge),
        ),
        (
            "a bot check, no API",
            mastodon().page(ACTOR, 403, "Just a moment...").status(LOOKUP, 404),
            failed(Code::Challenge),
        ),
        ("the API fails", hidden().status(LOOKUP, 500), failed(Code::HttpStatus)),
        ("the API is silent", hidden().fail(LOOKUP, Code::Timeout), failed(Code::Timeout)),
        ("a limit", hidden().status(LOOKUP, 429), failed(Code::RateLimited)),
    ] {
        assert_eq!(answers.shows(SUBJECT), wanted, "{what}");
    }
    let moved = api(&with(account, "moved", json!({ "url": "https://new.example/@jason" })));
    let finding = moved.look_up(SUBJECT, &[], None).unwrap();
    assert_eq!(finding.moved_to.as_deref(), Some("https://new.example/@jason"));
}

#[test]
fn two_owners() {
    let one = compact(SUBJECT);
    let two = with(actor(&one), "summary", json!(format!("<p> {}</p>", compact("ap:a@b.example"))));
    assert_eq!(mastodon().json(ACTOR, &two).shows(SUBJECT), (2, None));
}
