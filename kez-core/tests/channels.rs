//! Channels against recorded answers: what the real servers of the native tests do not show, such
//! as Mastodon's markup, trimmed actors and split domains. Shapes are those of the platforms'
//! documentation; names and numbers are made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use futures_util::FutureExt as _;
use kez_core::{
    Chain, Claim, Code, Endpoints, Event, Head, Identity, NoMemory, NostrEvent, Note, ObjectId, Op,
    Report, Scheme, SecretKey, SignedClaim, Status, Timestamp, Transport, Verifier,
    channel::carrier,
    json::Value,
    proof,
    transport::{Answer, Body, Failure, RelayAnswer, Request, Via},
};
use serde_json::{Value as Json, json};
use std::{cell::RefCell, collections::BTreeMap};

const NOW: i64 = 1_795_262_400;

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

/// Answers by URL; what is not recorded cannot be reached.
#[derive(Default)]
struct Recorded {
    answers: BTreeMap<String, Body>,
    asked: RefCell<Vec<String>>,
}

impl Recorded {
    fn http(mut self, url: &str, status: u16, kind: &str, body: impl ToString) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let bytes = body.to_string().into_bytes();
        let body = Body::Http { status, headers, bytes, redirected_to: None };
        self.answers.insert(url.to_owned(), body);
        self
    }

    fn json(self, url: &str, body: &Json) -> Self {
        self.http(url, 200, "application/activity+json; charset=utf-8", body)
    }

    fn header(mut self, url: &str, name: &str, value: &str) -> Self {
        if let Some(Body::Http { headers, .. }) = self.answers.get_mut(url) {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn txt(mut self, name: &str, rcode: u8, records: &[&str]) -> Self {
        let records = records.iter().map(|r| r.as_bytes().to_vec()).collect();
        let body = Body::Txt { rcode, records, authentic: false, ttl: Some(300) };
        self.answers.insert(format!("dns:{name}?type=TXT"), body);
        self
    }

    fn relay(mut self, url: &str, events: &[&String]) -> Self {
        let events = events.iter().map(|e| Value::parse_foreign(e.as_bytes()).unwrap()).collect();
        self.answers.insert(
            url.to_owned(),
            Body::Relay { answers: vec![RelayAnswer { events, failure: None }] },
        );
        self
    }

    fn verifier<'a>(&'a self, bundles: Vec<Vec<u8>>) -> Verifier<'a, Self, NoMemory> {
        Verifier {
            transport: self,
            memory: &NoMemory,
            endpoints: Endpoints {
                relays: vec!["wss://one.example".into(), "wss://two.example".into()],
                ..Endpoints::default()
            },
            sources: Vec::new(),
            bundles,
            now: now(),
            clock: now(),
            progress: &|_| {},
        }
    }

    fn verify(&self, subject: &str) -> Vec<Report> {
        let subject = Identity::parse(subject).unwrap();
        self.verifier(Vec::new()).verify(&subject).now_or_never().unwrap()
    }

    #[track_caller]
    fn expect(&self, subject: &str, reason: Option<Code>) -> Report {
        let report = self.verify(subject).remove(0);
        assert_eq!(report.reason, reason, "{report:?}");
        assert_eq!(report.status, reason.map_or(Status::Valid, Code::status));
        report
    }
}

impl Transport for Recorded {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        self.asked.borrow_mut().push(request.place());
        match self.answers.get(&request.place()) {
            Some(body) => Ok(Answer { body: body.clone(), via: Via::Direct, fetched_at: now() }),
            None => Err(Failure { code: Code::ConnectFailed, detail: None }),
        }
    }

    async fn pause(&self, _: u32) {}
}

fn key() -> SecretKey {
    SecretKey::from_bytes(Scheme::Ed25519, [1; 32]).unwrap()
}

fn claim(subject: &str, change: impl FnOnce(&mut Claim)) -> SignedClaim {
    let key = key();
    let subject = Identity::parse(subject).unwrap();
    let mut claim = Claim::new(subject, key.public().identity().clone(), now());
    change(&mut claim);
    let mut envelope = claim.to_envelope().unwrap();
    envelope.sign(&key, &[0; 32]).unwrap();
    SignedClaim::verify(envelope).unwrap()
}

fn compact(subject: &str) -> String {
    proof::to_compact(claim(subject, |_| {}).envelope())
}

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

#[test]
fn an_actor_that_is_somebody_else() {
    let field = compact("ap:jason@social.example");
    let with = |name: &str, value: &str| {
        let mut actor = actor(&field);
        actor[name] = json!(value);
        mastodon().json(ACTOR, &actor).expect("@jason@social.example", Some(Code::HandleMismatch));
    };
    with("id", "https://social.example/users/mallory");
    with("id", "https://evil.example/users/jason");
    with("preferredUsername", "mallory");
    let other =
        Recorded::default().http(FINGER, 200, JRD, finger("acct:mallory@social.example", ACTOR));
    other.expect("@jason@social.example", Some(Code::HandleMismatch));
    let html = mastodon().http(ACTOR, 200, "text/html", actor(&field));
    html.expect("@jason@social.example", Some(Code::ResponseRefused));
    let gone = Recorded::default().http(FINGER, 410, "text/plain", "");
    gone.expect("@jason@social.example", Some(Code::IdentityNotFound));
}

/// KEZ-AP-01: the name's domain and the server's are not the same.
#[test]
fn split_domains() {
    let there = "https://web.social.example/users/jason";
    let back = "https://web.social.example/.well-known/webfinger?resource=acct%3Ajason%40web.social.example";
    let mut actor = actor(&compact("ap:jason@social.example"));
    actor["id"] = json!(there);
    let split = |answer: &Json| {
        Recorded::default()
            .http(FINGER, 200, JRD, finger("acct:jason@social.example", there))
            .http(back, 200, JRD, answer)
            .json(there, &actor)
    };
    split(&finger("acct:jason@social.example", there)).expect("@jason@social.example", None);
    // The server does not agree that this is its user.
    split(&finger("acct:jason@web.social.example", there))
        .expect("@jason@social.example", Some(Code::HandleMismatch));
    split(&finger("acct:jason@social.example", ACTOR))
        .expect("@jason@social.example", Some(Code::HandleMismatch));
}

/// KEZ-AP-04
#[test]
fn secure_mode() {
    let lookup = "https://social.example/api/v1/accounts/lookup?acct=jason";
    let trimmed =
        json!({ "id": ACTOR, "type": "Person", "preferredUsername": "jason", "inbox": "x" });
    let account = json!({
        "id": "1", "username": "jason", "acct": "jason", "uri": ACTOR, "note": "",
        "fields": [{ "name": "KEZ", "value": compact("ap:jason@social.example"), "verified_at": null }],
    });
    mastodon().json(ACTOR, &trimmed).json(lookup, &account).expect("@jason@social.example", None);
    mastodon()
        .http(ACTOR, 401, "text/plain", "")
        .json(lookup, &account)
        .expect("@jason@social.example", None);
    // Hidden there too: that is no missing proof.
    for status in [401, 403, 404] {
        mastodon()
            .json(ACTOR, &trimmed)
            .http(lookup, status, "application/json", "{}")
            .expect("@jason@social.example", Some(Code::AuthRequired));
    }
    mastodon()
        .json(ACTOR, &trimmed)
        .http(lookup, 429, "application/json", "{}")
        .header(lookup, "x-ratelimit-reset", "2026-11-21T12:05:00.000Z")
        .expect("@jason@social.example", Some(Code::RateLimited));
    let mut other = account;
    other["uri"] = json!("https://social.example/users/other");
    mastodon()
        .json(ACTOR, &trimmed)
        .json(lookup, &other)
        .expect("@jason@social.example", Some(Code::HandleMismatch));
}

#[test]
fn retry_times_of_every_family() {
    let url = "https://api.github.com/users/a/gists?per_page=50";
    for (name, value, wanted) in [
        ("retry-after", "120", NOW + 120),
        ("x-ratelimit-reset", "1795262700", 1_795_262_700),
        ("x-ratelimit-reset", "2026-11-21T12:05:00.000Z", NOW + 300),
        ("ratelimit-reset", "30", NOW + 30),
    ] {
        let limited =
            Recorded::default().http(url, 429, "application/json", "{}").header(url, name, value);
        let report = limited.expect("github:a", Some(Code::RateLimited));
        assert_eq!(report.retry_at, Some(Timestamp::from_seconds(wanted)), "{name}");
    }
    // A 403 without the signs of a limit is none.
    let plain = Recorded::default().http(url, 403, "application/json", "{}");
    plain.expect("github:a", Some(Code::HttpStatus));
}

/// KEZ-CNL-03
#[test]
fn no_answer_is_never_no_proof() {
    for subject in ["dns:example.com", "github:a", "bluesky:a.example", "ap:a@b.example"] {
        let report = Recorded::default().expect(subject, Some(Code::ConnectFailed));
        assert_eq!(report.status, Status::Unreachable);
    }
    for rcode in [1, 2, 4, 5] {
        let failing = Recorded::default().txt("_kez.example.com", rcode, &[]);
        failing.expect("dns:example.com", Some(Code::DnsFailed));
    }
    for rcode in [0, 3] {
        let none = Recorded::default().txt("_kez.example.com", rcode, &["v=spf1 -all"]);
        let report = none.expect("dns:example.com", Some(Code::ProofNotFound));
        // KEZ-DNS-04: the resolver may say so for as long as its answer lasts.
        assert_eq!(report.retry_at, Some(now().plus(300)));
    }
}

#[test]
fn each_record_is_judged_alone_and_the_best_comes_first() {
    let good = compact("dns:example.com");
    let copied = compact("dns:other.example");
    let expired = proof::to_compact(
        claim("dns:example.com", |c| {
            c.created_at = now().plus(-100);
            c.expires_at = Some(now().plus(-50));
        })
        .envelope(),
    );
    let all =
        Recorded::default().txt("_kez.example.com", 0, &[&copied, &expired, "kez:z1:AAAA", &good]);
    let reports = all.verify("dns:example.com");
    let statuses: Vec<Status> = reports.iter().map(|r| r.status).collect();
    assert_eq!(statuses, [Status::Valid, Status::Expired, Status::Invalid, Status::Invalid]);
}

const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

fn document(handle: &str) -> Json {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": DID,
        "alsoKnownAs": [format!("at://{handle}")],
        "service": [{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example" }],
    })
}

fn bluesky(records: &Json) -> Recorded {
    let list = format!(
        "https://pds.example/xrpc/com.atproto.repo.listRecords?repo={}&collection=org.kez.proof&limit=100",
        DID.replace(':', "%3A")
    );
    let profile = format!(
        "https://pds.example/xrpc/com.atproto.repo.getRecord?repo={}&collection=app.bsky.actor.profile&rkey=self",
        DID.replace(':', "%3A")
    );
    Recorded::default()
        .json(&format!("https://plc.directory/{DID}"), &document("alice.example.com"))
        .json(&list, records)
        .http(&profile, 400, "application/json", json!({ "error": "RecordNotFound" }))
}

/// KEZ-BSK-01, KEZ-BSK-02, KEZ-BSK-03
#[test]
fn bluesky_handles_and_repositories() {
    let record = |did: &str| {
        let value =
            json!({ "$type": "org.kez.proof", "proof": compact("bluesky:alice.example.com") });
        json!({ "records": [{ "uri": format!("at://{did}/org.kez.proof/self"), "cid": "b", "value": value }] })
    };
    let txt =
        |r: Recorded| r.txt("_atproto.alice.example.com", 0, &[&format!("did={DID}"), "other=x"]);
    let report = txt(bluesky(&record(DID))).expect("@alice.example.com", None);
    assert_eq!(report.account.as_deref(), Some(DID));
    // By the well-known file, and by a service that resolves handles.
    bluesky(&record(DID))
        .txt("_atproto.alice.example.com", 3, &[])
        .http(
            "https://alice.example.com/.well-known/atproto-did",
            200,
            "text/plain",
            format!("{DID}\n"),
        )
        .expect("@alice.example.com", None);
    bluesky(&record(DID))
        .json("https://public.api.bsky.app/xrpc/com.atproto.identity.resolveHandle?handle=alice.example.com", &json!({ "did": DID }))
        .expect("@alice.example.com", None);
    // A record that a server proxies from another repository is not this account's.
    txt(bluesky(&record("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")))
        .expect("@alice.example.com", Some(Code::ProofNotFound));
    // The account calls itself something else.
    let other = bluesky(&record(DID)).txt("_atproto.bob.example.com", 0, &[&format!("did={DID}")]);
    other.expect("@bob.example.com", Some(Code::HandleMismatch));
    // A DID of a method that KEZ does not read.
    let strange = bluesky(&record(DID)).txt("_atproto.alice.example.com", 0, &["did=did:key:z6Mk"]);
    strange.expect("@alice.example.com", Some(Code::ResponseRefused));
}

#[test]
fn bluesky_did_web() {
    let mut document = document("carol.example");
    document["id"] = json!("did:web:carol.example");
    let found = Recorded::default().json("https://carol.example/.well-known/did.json", &document);
    let report = found.expect("did:web:carol.example", Some(Code::ConnectFailed));
    assert!(report.place.unwrap().url.starts_with("https://pds.example/xrpc/"));
    document["id"] = json!("did:web:mallory.example");
    let other = Recorded::default().json("https://carol.example/.well-known/did.json", &document);
    other.expect("did:web:carol.example", Some(Code::ResponseRefused));
}

fn event(key: &SecretKey, text: &str, at: i64) -> String {
    key.sign_nostr_event(&carrier(text, Timestamp::from_seconds(at)), &[0; 32]).unwrap()
}

/// KEZ-NOS-01, KEZ-NOS-02, KEZ-NOS-03
#[test]
fn relays_are_never_trusted() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let mallory = SecretKey::from_bytes(Scheme::Nostr, [3; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let good = event(&owner, &compact(&subject), NOW - 10);
    let (one, two) = ("wss://one.example", "wss://two.example");
    let both = |a: &[&String], b: &[&String]| Recorded::default().relay(one, a).relay(two, b);
    both(&[&good], &[]).expect(&subject, None);
    Recorded::default().relay(two, &[&good]).expect(&subject, None);
    // Another author's event, a forged signature, and one whose content was changed.
    let theirs = event(&mallory, &compact(&subject), NOW);
    both(&[&theirs], &[]).expect(&subject, Some(Code::ProofNotFound));
    let changed = good.replace("kez:z1:", "kez:z1:A");
    both(&[&changed], &[]).expect(&subject, Some(Code::ProofNotFound));
    // The newest wins, wherever it is; what is dated far ahead does not count.
    let removed = event(&owner, "nothing any more", NOW - 5);
    both(&[&good], &[&removed]).expect(&subject, Some(Code::ProofNotFound));
    let ahead = event(&owner, "from the future", NOW + 901);
    both(&[&good, &ahead], &[]).expect(&subject, None);
    // One relay has nothing and the other does not answer: that is not "no proof".
    Recorded::default().relay(one, &[]).expect(&subject, Some(Code::ConnectFailed));
    both(&[], &[]).expect(&subject, Some(Code::ProofNotFound));
    // Of equal dates the lowest id wins, on every relay the same.
    let other = event(&owner, "another text", NOW - 10);
    let id = |e: &str| {
        NostrEvent::from_json(&Value::parse_foreign(e.as_bytes()).unwrap())
            .map(|(k, e)| e.id(&k))
            .unwrap()
    };
    let wanted = if id(&good) < id(&other) { None } else { Some(Code::ProofNotFound) };
    both(&[&good, &other], &[]).expect(&subject, wanted);
    both(&[&other], &[&good]).expect(&subject, wanted);
}

/// NIP-09, NIP-40: what its author has ended does not count, and neither does an older event.
#[test]
fn events_that_their_author_ended() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let mallory = SecretKey::from_bytes(Scheme::Nostr, [3; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let text = compact(&subject);
    let signed = |key: &SecretKey, kind, at, content: &str, tags: &[[&str; 2]]| {
        let tags = tags.iter().map(|tag| tag.map(str::to_owned).to_vec()).collect();
        let event = NostrEvent { created_at: at, kind, tags, content: content.to_owned() };
        (event.id(key.public()), key.sign_nostr_event(&event, &[0; 32]).unwrap())
    };
    let proof = |at, tags: &[[&str; 2]]| {
        let tags: Vec<_> = [["d", "kez"]].iter().chain(tags).copied().collect();
        signed(&owner, kez_core::NOSTR_KIND, at, &text, &tags)
    };
    let expect = |events: &[&String], reason| {
        let both = Recorded::default().relay("wss://one.example", events);
        both.relay("wss://two.example", &[]).expect(&subject, reason);
    };
    let gone = Some(Code::ProofNotFound);
    let (past, soon) = ((NOW - 1).to_string(), (NOW + 60).to_string());
    expect(&[&proof(NOW - 10, &[["expiration", &soon]]).1], None);
    expect(&[&proof(NOW - 10, &[["expiration", "never"]]).1], None);
    let expired = proof(NOW - 10, &[["expiration", &past]]).1;
    expect(&[&expired], gone);
    expect(&[&expired, &proof(NOW - 20, &[]).1], gone);
    // Deleted by its id or by its address; what came after a deletion counts.
    let (id, event) = proof(NOW - 10, &[]);
    let id = kez_core::hex::encode(&id);
    let author = kez_core::hex::encode(&owner.public().to_bytes());
    let address = format!("{}:{author}:kez", kez_core::NOSTR_KIND);
    let delete = |key, at, tag| signed(key, 5, at, "", &[tag]).1;
    expect(&[&event, &delete(&owner, NOW - 5, ["e", &id])], gone);
    expect(&[&event, &delete(&owner, NOW - 5, ["a", &address])], gone);
    expect(&[&event, &delete(&owner, NOW - 15, ["a", &address])], None);
    expect(&[&event, &delete(&mallory, NOW - 5, ["e", &id])], None);
    expect(&[&event, &delete(&mallory, NOW - 5, ["a", &address])], None);
    // Events of the kind of the drafts count where there is no later one.
    let draft = signed(&owner, 30_078, NOW - 10, &text, &[["d", "kez"]]).1;
    expect(&[&draft], None);
    expect(&[&draft, &expired], gone);
}

/// NIP-65: the relays that the key's owner writes to are asked as well.
#[test]
fn relays_of_the_key() {
    let owner = SecretKey::from_bytes(Scheme::Nostr, [2; 32]).unwrap();
    let subject = owner.public().identity().to_string();
    let list = |relays: &[(&str, &str)]| {
        let tag = |(url, mark): &(&str, &str)| {
            let words = ["r", url, mark];
            words.iter().filter(|w| !w.is_empty()).map(|w| (*w).to_owned()).collect()
        };
        let tags = relays.iter().map(tag).collect();
        let event = NostrEvent { created_at: NOW - 9, kind: 10_002, tags, content: String::new() };
        owner.sign_nostr_event(&event, &[0; 32]).unwrap()
    };
    let proof = event(&owner, &compact(&subject), NOW - 10);
    let home = "wss://home.example";
    let listed =
        list(&[("wss://read.example", "read"), (home, ""), ("wss://one.example/", "write")]);
    let found = Recorded::default()
        .relay("wss://one.example", &[&listed])
        .relay("wss://two.example", &[])
        .relay(home, &[&proof]);
    found.expect(&subject, None);
    assert!(!found.asked.borrow().iter().any(|url| url.contains("read.example")));
}

#[test]
fn github_asks_only_what_it_should() {
    let url = "https://api.github.com/users/a/gists?per_page=50";
    let gist = |login: &str, id: &str| {
        json!({
            "id": id, "owner": { "login": login, "id": 7 }, "fork_of": null,
            "files": { "kez.md": { "content": compact("github:a"), "truncated": false } },
        })
    };
    let with = |list: &Json, one: &Json| {
        Recorded::default().json(url, list).json("https://api.github.com/gists/abc", one)
    };
    with(&json!([gist("A", "abc")]), &gist("A", "abc")).expect("github:a", None);
    // The gist's own answer names another owner than the list did.
    with(&json!([gist("a", "abc")]), &gist("b", "abc")).expect("github:a", Some(Code::WrongOwner));
    // An id that would lead elsewhere is not asked for.
    let evil = with(&json!([gist("a", "../users/b")]), &gist("a", "abc"));
    evil.expect("github:a", Some(Code::ProofNotFound));
    assert_eq!(*evil.asked.borrow(), [url]);
    // A next page on another host is not followed.
    let elsewhere = Recorded::default().json(url, &json!([gist("a", "..")])).header(
        url,
        "link",
        "<https://evil.example/gists>; rel=\"next\"",
    );
    elsewhere.expect("github:a", Some(Code::ProofNotFound));
    assert_eq!(*elsewhere.asked.borrow(), [url]);
}

/// KEZ-BCN-03: two claims that name different histories are a fork, though neither is served.
#[test]
fn beacons_on_two_platforms() {
    let key = key();
    let mut chain = Chain::new(key.public().identity()).unwrap();
    let with = |name: &[u8]| {
        let head = Head { seq: 9, id: ObjectId::digest("event", name) };
        move |c: &mut Claim| c.head = Some(head)
    };
    let subjects = ["dns:a.example", "dns:b.example"];
    let claims = [claim(subjects[0], with(b"one")), claim(subjects[1], with(b"two"))];
    for signed in &claims {
        let op = Op::Add {
            subject: signed.claim().subject.clone(),
            claim: signed.id(),
            account: None,
            url: None,
        };
        let event = Event::new(chain.name().clone(), chain.head(), now(), op);
        let mut envelope = event.to_envelope().unwrap();
        envelope.sign(&key, &[0; 32]).unwrap();
        chain.append(&envelope, now()).unwrap();
    }
    let text = |n: usize| proof::to_compact(claims[n].envelope());
    let shown = Recorded::default().txt("_kez.a.example", 0, &[&text(0)]).txt(
        "_kez.b.example",
        0,
        &[&text(1)],
    );
    let verifier = shown.verifier(vec![chain.to_bundle().into_bytes()]);
    let graph = verifier.identity(chain.name()).now_or_never().unwrap();
    assert_eq!(graph.edges.len(), 2);
    for edge in &graph.edges {
        assert_eq!(edge.reason, Some(Code::BeaconMismatch), "{edge:?}");
    }
    assert_eq!(graph.status(), Status::Fork);
}
