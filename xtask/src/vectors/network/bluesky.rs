//! What each answer of Bluesky means.

use super::*;

const SUBJECT: &str = "bluesky:alice.example.com";
const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const PLC: &str = "https://plc.directory/did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const TXT: &str = "_atproto.alice.example.com";
const WELL_KNOWN: &str = "https://alice.example.com/.well-known/atproto-did";
const RESOLVE: &str =
    "https://public.api.bsky.app/xrpc/com.atproto.identity.resolveHandle?handle=alice.example.com";
const RECORDS: &str = "https://pds.example/xrpc/com.atproto.repo.listRecords?repo=did:plc:ewvi7nxzyoun6zhxrhs64oiz&collection=org.kez.proof&limit=100";
const PROFILE: &str = "https://pds.example/xrpc/com.atproto.repo.getRecord?repo=did:plc:ewvi7nxzyoun6zhxrhs64oiz&collection=app.bsky.actor.profile&rkey=self";

fn document(id: &str, names: Json) -> Json {
    json!({
        "id": id,
        "alsoKnownAs": names,
        "service": [
            { "id": "#other", "type": "Other", "serviceEndpoint": "https://other.example" },
            { "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example" },
        ],
    })
}

fn record(rkey: &str, proof: Json) -> Json {
    json!({ "uri": format!("at://{DID}/org.kez.proof/{rkey}"), "cid": "x", "value": { "$type": "org.kez.proof", "proof": proof } })
}

fn error(name: &str, message: &str) -> Json {
    json!({ "error": name, "message": message })
}

pub(super) fn bluesky(v: &mut Vectors) -> Result<()> {
    v.group = "bluesky";
    let text = proof_of(SUBJECT)?;
    let by_txt = || Net::about(SUBJECT).txt(TXT, 0, &[&format!("did={DID}")]);
    let doc = |net: Net| net.json(PLC, 200, document(DID, json!(["at://alice.example.com"])));
    let no_profile = |net: Net| net.json(PROFILE, 400, error("RecordNotFound", "Could not locate record"));
    let shows = |net: Net| no_profile(doc(net)).json(RECORDS, 200, json!({ "records": [record("1", json!(text))] }));
    let records = |status: u16, body: Json| no_profile(doc(by_txt())).json(RECORDS, status, body);
    let profile = |status: u16, body: Json| doc(by_txt()).json(RECORDS, 200, json!({ "records": [] })).json(PROFILE, status, body);
    let refused = |net: Net, status: u16, name: &str| net.json(RESOLVE, status, error(name, "Unable to resolve handle"));
    let valid = "valid+history_unchecked+account_unpinned";
    let bsk1: &[&str] = &["BSK-01"];
    let third = || Net::about(SUBJECT).status(WELL_KNOWN, 404);
    let mut rows: Vec<Row<'_>> = vec![
        ("txt", bsk1, shows(by_txt()), valid, "one did= record"),
        ("txt-beside", bsk1, shows(Net::about(SUBJECT).txt(TXT, 0, &["x", &format!("did={DID}"), &format!("did={DID}")])), valid, "others, and the same twice"),
        ("txt-two", &["BSK-04"], shows(Net::about(SUBJECT).txt(TXT, 0, &[&format!("did={DID}"), "did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"])),
            "handle_mismatch", "two different ones"),
        ("well-known", bsk1, shows(Net::about(SUBJECT).http(WELL_KNOWN, 200, &format!("{DID}\n"))), valid, "the DID in a file"),
        ("well-known-no-host", bsk1, shows(Net::about(SUBJECT).json(RESOLVE, 200, json!({ "did": DID }))), valid, "a host without address: next"),
        ("resolve", bsk1, shows(third().json(RESOLVE, 200, json!({ "did": DID }))), valid, "resolveHandle"),
        ("resolve-not-found", &["BSK-01", "CNL-06", "BSK-07"], refused(third(), 400, "HandleNotFound"), "identity_not_found", "both before were definite"),
        ("resolve-invalid", &["BSK-01", "CNL-06", "BSK-07"], refused(third(), 400, "InvalidRequest"), "identity_not_found", "the message names the handle"),
        ("resolve-txt-unknown", &["BSK-01", "CNL-03"], refused(third().txt(TXT, 2, &[]), 400, "HandleNotFound"), "dns_failed", "the DNS was unknown"),
        ("resolve-file-unknown", &["BSK-01", "CNL-03"], refused(Net::about(SUBJECT).status(WELL_KNOWN, 500), 400, "HandleNotFound"), "http_status",
            "the file was unknown"),
        ("resolve-file-page", &["BSK-01", "CNL-03"], refused(Net::about(SUBJECT).page(WELL_KNOWN, 200, "Home"), 400, "HandleNotFound"), "response_refused",
            "a page in its place is unknown"),
        ("resolve-500", &["BSK-07", "CNL-03"], third().status(RESOLVE, 500), "http_status", "anything else"),
        ("resolve-timeout", &["CNL-03"], third().fail(RESOLVE, "timeout"), "timeout", "a failure"),
        ("document-404", &["CNL-06"], by_txt().status(PLC, 404), "identity_not_found", "no such DID"),
        ("document-410", &["CNL-06"], by_txt().status(PLC, 410), "identity_not_found", "it has ended"),
        ("document-500", &["CNL-03"], by_txt().status(PLC, 500), "http_status", "a failure"),
        ("document-other", &["BSK-05"], by_txt().json(PLC, 200, document("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", json!(["at://alice.example.com"]))),
            "response_refused", "of another DID"),
        ("document-no-pds", &["BSK-06"], by_txt().json(PLC, 200, json!({ "id": DID, "alsoKnownAs": ["at://alice.example.com"], "service": [] })),
            "response_refused", "no server"),
        ("document-name", &["BSK-02"], by_txt().json(PLC, 200, document(DID, json!(["at://other.example.com"]))), "handle_mismatch", "another name"),
        ("document-second", &["BSK-02"], by_txt().json(PLC, 200, document(DID, json!(["https://x.example", "at://other.example.com", "at://alice.example.com"]))),
            "handle_mismatch", "the first at:// name counts"),
        ("record-other-repo", &["BSK-03"], records(200, json!({ "records": [{ "uri": "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/org.kez.proof/1", "value": { "proof": text } }] })),
            "proof_not_found", "in another repository"),
        ("record-other-collection", &["BSK-03"], records(200, json!({ "records": [{ "uri": format!("at://{DID}/app.bsky.feed.post/1"), "value": { "proof": text } }] })),
            "proof_not_found", "in another collection"),
        ("record-no-proof", &["CNL-09"], records(200, json!({ "records": [record("1", json!(null))] })), "proof_malformed", "a record without a proof"),
        ("records-none", &["BSK-07"], records(200, json!({ "records": [] })), "proof_not_found", "no records"),
        ("records-not-found", &["BSK-07"], records(400, error("RecordNotFound", "x")), "proof_not_found", "no records"),
        ("records-no-repo", &["BSK-07", "CNL-06"], records(400, error("InvalidRequest", "Could not find repo: x")), "identity_not_found", "no such repository"),
        ("records-limit", &["BSK-07"], records(429, error("RateLimitExceeded", "x")), "rate_limited", "a limit"),
        ("records-auth", &["BSK-07"], records(401, error("AuthMissing", "x")), "auth_required", "a login"),
        ("records-unknown", &["BSK-07", "CNL-03"], records(404, error("SomethingElse", "x")), "http_status", "an unknown name: the status decides nothing"),
        ("records-no-name", &["BSK-07", "CNL-03"], records(404, json!({})), "http_status", "no name"),
        ("records-invalid", &["BSK-07", "CNL-03"], records(400, error("InvalidRequest", "x")), "http_status", "another message"),
        ("records-timeout", &["CNL-03"], no_profile(doc(by_txt())).fail(RECORDS, "timeout"), "timeout", "a failure"),
        ("cursor-twice", &["CNL-05"], {
            let url = format!("{RECORDS}&cursor=a");
            records(200, json!({ "records": [], "cursor": "a" })).json(&url, 200, json!({ "records": [], "cursor": "a" }))
        }, "search_incomplete", "the same cursor twice"),
        ("cursor", &["BSK-03"], {
            let url = format!("{RECORDS}&cursor=a");
            records(200, json!({ "records": [], "cursor": "a" })).json(&url, 200, json!({ "records": [record("1", json!(text))] }))
        }, valid, "the next page"),
        ("profile", &["BSK-07"], profile(200, json!({ "uri": "x", "value": { "description": format!("me: {text}") } })), valid, "a proof in the description"),
        ("profile-none", &["BSK-07"], profile(400, error("RecordNotFound", "x")), "proof_not_found", "no profile"),
        ("profile-could-not", &["BSK-07"], profile(400, error("InvalidRequest", "Could not locate record: x")), "proof_not_found", "no profile"),
        ("profile-500", &["BSK-07", "CNL-03"], profile(500, json!({})), "http_status", "a failure, and nothing was found"),
        ("profile-500-found", &["CNL-04"], shows(by_txt()).json(PROFILE, 500, json!({})), valid, "found texts stand"),
    ];
    for name in ["RepoNotFound", "AccountNotFound", "ActorNotFound"] {
        let net = records(400, error(name, "x"));
        v.outcome(&format!("records-{name}"), &["BSK-07", "CNL-06"], "channel", net.0, "identity_not_found", "an absence");
    }
    for name in ["RepoDeactivated", "RepoSuspended", "RepoTakendown", "AccountDeactivated", "AccountSuspended", "AccountTakedown"] {
        let net = records(400, error(name, "x"));
        v.outcome(&format!("records-{name}"), &["BSK-07"], "channel", net.0, "account_suspended", "it may come back");
    }
    let did = format!("bluesky:{DID}");
    let by_did = compact(&claim_by(&owner(), &did, |c| c.account = Some(DID.into()))?);
    let asked = Net::about(&did).json(PLC, 200, document(DID, json!(["at://other.example.com"])));
    rows.push(("did", &["BSK-02"], no_profile(asked).json(RECORDS, 200, json!({ "records": [record("1", json!(by_did))] })),
        "valid+history_unchecked", "a DID: no handle is compared"));
    let named = compact(&claim_by(&owner(), "bluesky:old.example.com", |c| c.account = Some(DID.into()))?);
    rows.push(("renamed", &["CNL-02", "VER-01"], records(200, json!({ "records": [record("1", json!(named))] })),
        "valid+history_unchecked+renamed", "the handle has changed"));
    emit(v, "channel", rows);
    Ok(())
}
