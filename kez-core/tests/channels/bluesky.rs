//! `bluesky:` What each answer means.

use super::*;

const HANDLE: &str = "alice.example.com";
const SUBJECT: &str = "bluesky:alice.example.com";
const WELL_KNOWN: &str = "https://alice.example.com/.well-known/atproto-did";
const RESOLVE: &str =
    "https://public.api.bsky.app/xrpc/com.atproto.identity.resolveHandle?handle=alice.example.com";

fn document(handle: &str) -> Json {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": DID,
        "alsoKnownAs": ["https://alice.example", format!("at://{handle}"), "at://old.example"],
        "service": [{ "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example" }],
    })
}

fn list() -> String {
    let did = DID.replace(':', "%3A");
    format!(
        "https://pds.example/xrpc/com.atproto.repo.listRecords?repo={did}&collection=org.kez.proof&limit=100"
    )
}

fn profile() -> String {
    let did = DID.replace(':', "%3A");
    format!(
        "https://pds.example/xrpc/com.atproto.repo.getRecord?repo={did}&collection=app.bsky.actor.profile&rkey=self"
    )
}

fn record(did: &str) -> Json {
    let value = json!({ "$type": "org.kez.proof", "proof": compact(SUBJECT) });
    json!({ "uri": format!("at://{did}/org.kez.proof/self"), "cid": "b", "value": value })
}

fn records() -> Json {
    json!({ "records": [record(DID)] })
}

/// An account whose repository answers so, without a profile.
fn repository(records: &Json) -> Recorded {
    error(Recorded::default(), &profile(), 400, "RecordNotFound", "")
        .json(PLC, &document(HANDLE))
        .json(&list(), records)
}

/// As [`repository`], found by the handle's TXT record.
fn account(records: &Json) -> Recorded {
    repository(records).txt("_atproto.alice.example.com", 0, &[&format!("did={DID}"), "other=x"])
}

fn error(answers: Recorded, url: &str, status: u16, name: &str, message: &str) -> Recorded {
    answers.http(url, status, "application/json", json!({ "error": name, "message": message }))
}

/// KEZ-BSK-01, KEZ-BSK-02, KEZ-BSK-03
#[test]
fn handles_and_repositories() {
    let report = account(&records()).expect("@alice.example.com", None);
    assert_eq!(report.account.as_deref(), Some(DID));
    let txt = || repository(&records()).txt("_atproto.alice.example.com", 3, &[]);
    for (what, answers, wanted) in [
        ("by the file", txt().http(WELL_KNOWN, 200, "text/plain", format!("{DID}\n")), FOUND),
        (
            "by a service",
            txt().status(WELL_KNOWN, 404).json(RESOLVE, &json!({ "did": DID })),
            FOUND,
        ),
        (
            "by a service, the others silent",
            repository(&records()).json(RESOLVE, &json!({ "did": DID })),
            FOUND,
        ),
        (
            "a record of another repository",
            account(&json!({ "records": [record("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")] })),
            ABSENT,
        ),
        ("no record", account(&json!({ "records": [] })), ABSENT),
        (
            "a renamed account",
            account(&records()).json(PLC, &document("new.example")),
            failed(Code::HandleMismatch),
        ),
        (
            "a DID of another method",
            repository(&records()).txt("_atproto.alice.example.com", 0, &["did=did:key:z6Mk"]),
            failed(Code::ResponseRefused),
        ),
        (
            "two accounts",
            repository(&records()).txt(
                "_atproto.alice.example.com",
                0,
                &["did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", &format!("did={DID}")],
            ),
            failed(Code::HandleMismatch),
        ),
        (
            "two owners' proofs",
            account(&json!({ "records": [record(DID), record(DID)] })),
            (2, None),
        ),
        ("no such DID", account(&records()).status(PLC, 404), failed(Code::IdentityNotFound)),
        ("a DID that ended", account(&records()).status(PLC, 410), failed(Code::IdentityNotFound)),
        ("the directory fails", account(&records()).status(PLC, 502), failed(Code::HttpStatus)),
    ] {
        assert_eq!(answers.shows(SUBJECT), wanted, "{what}");
    }
    // Asked by its DID, an account may have any handle.
    let renamed = account(&records()).json(PLC, &document("new.example"));
    assert_eq!(renamed.shows(DID), FOUND);
}

/// A handle names no account only if all three ways say so.
#[test]
fn handles_that_name_no_account() {
    let no = |answers: Recorded| {
        error(answers, RESOLVE, 400, "InvalidRequest", "Unable to resolve handle")
    };
    let txt = |rcode| Recorded::default().txt("_atproto.alice.example.com", rcode, &[]);
    let absent = || no(txt(3).status(WELL_KNOWN, 404));
    for (what, answers, wanted) in [
        ("all three", absent(), Code::IdentityNotFound),
        ("no such host", absent().fail(WELL_KNOWN, Code::HostUnknown), Code::IdentityNotFound),
        (
            "a newer service",
            error(absent(), RESOLVE, 400, "HandleNotFound", ""),
            Code::IdentityNotFound,
        ),
        ("SERVFAIL", no(txt(2).status(WELL_KNOWN, 404)), Code::DnsFailed),
        ("no name server", no(Recorded::default().status(WELL_KNOWN, 404)), Code::ConnectFailed),
        ("a web server fails", absent().status(WELL_KNOWN, 502), Code::HttpStatus),
        ("a page for every path", absent().page(WELL_KNOWN, 200, "Home"), Code::ResponseRefused),
        ("a bot check", absent().page(WELL_KNOWN, 403, "Just a moment..."), Code::Challenge),
        ("a redirect", absent().fail(WELL_KNOWN, Code::RedirectRefused), Code::RedirectRefused),
        ("the service fails", absent().status(RESOLVE, 500), Code::HttpStatus),
        ("a limit", error(absent(), RESOLVE, 429, "RateLimitExceeded", ""), Code::RateLimited),
        (
            "another fault",
            error(absent(), RESOLVE, 400, "InvalidRequest", "bad cursor"),
            Code::HttpStatus,
        ),
        (
            "it is taken down",
            error(absent(), RESOLVE, 400, "AccountTakedown", ""),
            Code::AccountSuspended,
        ),
    ] {
        assert_eq!(answers.shows(SUBJECT), failed(wanted), "{what}");
    }
}

/// The names of errors decide, not the status.
#[test]
fn errors_of_the_repository() {
    for (status, name, message, wanted) in [
        (400, "RepoNotFound", "", Code::IdentityNotFound),
        (404, "AccountNotFound", "", Code::IdentityNotFound),
        (400, "InvalidRequest", "Could not find repo: x", Code::IdentityNotFound),
        (400, "RepoDeactivated", "", Code::AccountSuspended),
        (400, "RepoSuspended", "", Code::AccountSuspended),
        (400, "RepoTakendown", "", Code::AccountSuspended),
        (400, "AccountDeactivated", "", Code::AccountSuspended),
        (400, "AccountTakedown", "", Code::AccountSuspended),
        (400, "InvalidRequest", "a record has a bad CID", Code::HttpStatus),
        (400, "SomethingNew", "", Code::HttpStatus),
        (404, "", "", Code::HttpStatus),
        (501, "MethodNotImplemented", "", Code::HttpStatus),
        (401, "AuthRequired", "", Code::AuthRequired),
        (429, "RateLimitExceeded", "", Code::RateLimited),
        (503, "UpstreamTimeout", "", Code::HttpStatus),
    ] {
        let answers = error(account(&records()), &list(), status, name, message);
        assert_eq!(answers.shows(SUBJECT), failed(wanted), "{name} {message}");
        let said = detail(answers.look_up(SUBJECT, &[], None));
        assert!(wanted != Code::AccountSuspended || !said.contains(name), "plain words: {said}");
    }
    let empty = error(account(&records()), &list(), 400, "RecordNotFound", "");
    assert_eq!(empty.shows(SUBJECT), ABSENT);
    let silent = account(&records()).fail(&list(), Code::Timeout);
    assert_eq!(silent.shows(SUBJECT), failed(Code::Timeout));
    let strange = account(&json!({ "cursor": "x" }));
    assert_eq!(strange.shows(SUBJECT), failed(Code::ResponseRefused));
    let malformed = json!({ "records": [{ "uri": format!("at://{DID}/org.kez.proof/self"), "value": { "text": "x" } }] });
    assert_eq!(account(&malformed).shows(SUBJECT), failed(Code::ProofMalformed));
}

/// The profile is a second place, which may be missing or fail.
#[test]
fn profiles() {
    let bio = json!({ "value": { "description": format!("me: {}", compact(SUBJECT)) } });
    let none = || account(&json!({ "records": [] }));
    assert_eq!(none().json(&profile(), &bio).shows(SUBJECT), FOUND);
    assert_eq!(account(&records()).json(&profile(), &json!({ "value": {} })).shows(SUBJECT), FOUND);
    // The other way round: the list fails, and the profile has a proof.
    let silent = none().fail(&list(), Code::Timeout).json(&profile(), &bio);
    assert_eq!(silent.shows(SUBJECT), (1, Some(Code::Timeout)));
    for (status, name, side) in [
        (400, "RecordNotFound", None),
        (404, "RecordNotFound", None),
        (404, "", Some(Code::HttpStatus)),
        (500, "InternalServerError", Some(Code::HttpStatus)),
        (429, "RateLimitExceeded", Some(Code::RateLimited)),
    ] {
        let found = error(account(&records()), &profile(), status, name, "");
        assert_eq!(found.shows(SUBJECT), (1, side), "{status} {name}");
        let nothing = error(none(), &profile(), status, name, "");
        assert_eq!(nothing.shows(SUBJECT), (0, side), "{status} {name}");
    }
    let page = account(&records()).page(&profile(), 200, "Home");
    assert_eq!(page.shows(SUBJECT), (1, Some(Code::ResponseRefused)));
}

#[test]
fn pages() {
    let page = |n: usize| format!("{}&cursor=c{n}", list());
    let other = |n: usize| json!({ "records": [], "cursor": format!("c{n}") });
    let mut answers = account(&other(2));
    for n in 2..5 {
        answers = answers.json(&page(n), &other(n + 1));
    }
    let last = answers.json(&page(5), &records());
    assert_eq!(last.shows(SUBJECT), FOUND);
    let beyond = last.json(&page(5), &other(6));
    assert_eq!(beyond.shows(SUBJECT), failed(Code::SearchIncomplete));
    let fails = beyond.status(&page(3), 500);
    assert_eq!(fails.shows(SUBJECT), failed(Code::HttpStatus));
    // A server that gives the same page again and again.
    let circle = account(&other(2)).json(&page(2), &other(2));
    assert_eq!(circle.shows(SUBJECT), failed(Code::SearchIncomplete));
    assert_eq!(circle.asked.borrow().len(), 5);
}

#[test]
fn did_web() {
    let url = "https://carol.example/.well-known/did.json";
    let mut document = document("carol.example");
    document["id"] = json!("did:web:carol.example");
    let mut found = Recorded::default().http(url, 200, "application/octet-stream", &document);
    found = found.moved(url, "https://www.carol.example/.well-known/did.json");
    assert_eq!(found.shows("did:web:carol.example"), failed(Code::ConnectFailed));
    assert!(found.asked.borrow()[1].starts_with("https://pds.example/xrpc/"));
    document["id"] = json!("did:web:mallory.example");
    let other = Recorded::default().json(url, &document);
    assert_eq!(other.shows("did:web:carol.example"), failed(Code::ResponseRefused));
}
