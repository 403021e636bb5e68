//! `bluesky:` — records of the collection `org.kez.proof` in the account's repository, or the
//! profile's description. The repository is found through the DID document, and handle and DID
//! must name each other.

use crate::channel::{Fetched, Finding, Http, Lookup, Miss, Step, Text, encode, failed};
use crate::{
    Code, Identity,
    json::Value,
    transport::Place,
    transport::{Body, Endpoints, Request},
};
use alloc::{format, string::String, vec, vec::Vec};

/// The collection of the records that are proofs.
pub(crate) const COLLECTION: &str = "org.kez.proof";
/// What leave to post a proof is asked for with (atproto's OAuth): the proof's record, to create and
/// to update it.
pub const SCOPE: &str = "atproto repo:org.kez.proof?action=create&action=update";
const MAX_PAGES: usize = 3;
const JSON: &str = "application/json";

pub(crate) struct BlueskyLookup {
    endpoints: Endpoints,
    handle: Option<String>,
    did: String,
    pds: String,
    stage: Stage,
    pages: usize,
    /// A failure on the way to the DID, reported if no other way leads to it.
    miss: Option<Miss>,
    finding: Finding,
}

#[derive(Clone, Copy)]
enum Stage {
    Start,
    Txt,
    WellKnown,
    Resolve,
    Document,
    Records,
}

impl BlueskyLookup {
    pub(crate) fn new(subject: &Identity, endpoints: &Endpoints) -> Self {
        let value = String::from(subject.value());
        let is_did = value.starts_with("did:");
        Self {
            endpoints: endpoints.clone(),
            handle: (!is_did).then(|| value.clone()),
            did: if is_did { value } else { String::new() },
            pds: String::new(),
            stage: Stage::Start,
            pages: 0,
            miss: None,
            finding: Finding::default(),
        }
    }

    fn handle(&self) -> &str {
        self.handle.as_deref().unwrap_or_default()
    }

    fn start(&mut self) -> Step {
        if self.handle.is_none() {
            return self.document();
        }
        self.stage = Stage::Txt;
        Step::Ask(vec![Request::Txt { name: format!("_atproto.{}", self.handle()) }])
    }

    fn txt(&mut self, (request, answer): Fetched) -> Result<Step, Miss> {
        match answer {
            Ok(answer) => {
                let place = answer.place(&request);
                let Body::Txt { records, .. } = answer.body else {
                    return Err(Miss::at(Code::ResponseRefused, place));
                };
                let mut dids: Vec<String> = records
                    .iter()
                    .filter_map(|r| core::str::from_utf8(r).ok()?.strip_prefix("did="))
                    .map(String::from)
                    .collect();
                if dids.iter().any(|did| *did != dids[0]) {
                    return Err(Miss::at(Code::HandleMismatch, place)
                        .because("the handle's TXT records name several accounts"));
                }
                if let Some(did) = dids.pop() {
                    return self.found_did(&did, place);
                }
            }
            Err(failure) => self.miss = Some(failed(&request, failure)),
        }
        self.stage = Stage::WellKnown;
        let url = format!("https://{}/.well-known/atproto-did", self.handle());
        Ok(Step::Ask(vec![Request::get(url, "text/plain")]))
    }

    fn well_known(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        match Http::of(fetched) {
            Ok(http) if http.status == 200 => {
                let did = String::from(String::from_utf8_lossy(&http.bytes).trim());
                if Identity::from_canonical(&format!("bluesky:{did}")).is_ok() {
                    return self.found_did(&did, http.place);
                }
            }
            // A host that serves no such file is no failure: the next way decides.
            Ok(_) => {}
            Err(miss) => self.miss = self.miss.take().or(Some(miss)),
        }
        self.stage = Stage::Resolve;
        let url = format!(
            "{}/xrpc/com.atproto.identity.resolveHandle?handle={}",
            self.endpoints.bluesky,
            encode(self.handle())
        );
        Ok(Step::Ask(vec![Request::get(url, JSON)]))
    }

    fn resolve(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched).map_err(|miss| self.miss.take().unwrap_or(miss))?;
        if http.status == 400 {
            return Err(Miss::at(Code::IdentityNotFound, http.place));
        }
        let value = http.json()?;
        let did = value.get("did").and_then(Value::as_str).unwrap_or_default();
        self.found_did(did, http.place)
    }

    fn found_did(&mut self, did: &str, place: Place) -> Result<Step, Miss> {
        if !did.starts_with("did:") || Identity::from_canonical(&format!("bluesky:{did}")).is_err()
        {
            return Err(Miss::at(Code::ResponseRefused, place).because("not a DID that KEZ reads"));
        }
        self.did = did.into();
        Ok(self.document())
    }

    fn document(&mut self) -> Step {
        self.stage = Stage::Document;
        let url = match self.did.strip_prefix("did:web:") {
            Some(host) => format!("https://{host}/.well-known/did.json"),
            None => format!("{}/{}", self.endpoints.plc, self.did),
        };
        Step::Ask(vec![Request::get(url, JSON)])
    }

    fn read_document(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        let document = http.json()?;
        if document.get("id").and_then(Value::as_str) != Some(&self.did) {
            return Err(http.refused("the document is of another DID"));
        }
        if let Some(handle) = &self.handle {
            let names = document.get("alsoKnownAs").and_then(Value::as_array).unwrap_or_default();
            let first =
                names.iter().filter_map(Value::as_str).find_map(|n| n.strip_prefix("at://"));
            if first.map(str::to_ascii_lowercase).as_ref() != Some(handle) {
                return Err(Miss::at(Code::HandleMismatch, http.place).because(format!(
                    "the account says that its handle is {}",
                    first.unwrap_or("none")
                )));
            }
        }
        let services = document.get("service").and_then(Value::as_array).unwrap_or_default();
        let pds = services.iter().find(|s| {
            let id = s.get("id").and_then(Value::as_str).unwrap_or_default();
            id.ends_with("#atproto_pds")
        });
        let pds = pds.and_then(|s| s.get("serviceEndpoint")).and_then(Value::as_str);
        self.pds =
            pds.ok_or_else(|| http.refused("no PDS in the document"))?.trim_end_matches('/').into();
        self.finding.account = Some(self.did.clone());
        self.finding.source = Some(http.source);
        self.stage = Stage::Records;
        let profile = format!(
            "{}/xrpc/com.atproto.repo.getRecord?repo={}&collection=app.bsky.actor.profile&rkey=self",
            self.pds,
            encode(&self.did)
        );
        Ok(Step::Ask(vec![self.list(None), Request::get(profile, JSON)]))
    }

    fn list(&self, cursor: Option<&str>) -> Request {
        let mut url = format!(
            "{}/xrpc/com.atproto.repo.listRecords?repo={}&collection={COLLECTION}&limit=100",
            self.pds,
            encode(&self.did)
        );
        if let Some(cursor) = cursor {
            url.push_str("&cursor=");
            url.push_str(&encode(cursor));
        }
        Request::get(url, JSON)
    }

    fn records(&mut self, answers: Vec<Fetched>) -> Result<Step, Miss> {
        let mut answers = answers.into_iter();
        let Some(list) = answers.next() else {
            return Ok(Step::Done(Ok(core::mem::take(&mut self.finding))));
        };
        let http = Http::of(list)?;
        // An atproto server says "no such account" with status 400.
        if http.status == 400 {
            let name = Value::parse_foreign(&http.bytes).ok();
            let name = name.as_ref().and_then(|v| v.get("error")).and_then(Value::as_str);
            return Err(Miss::at(Code::IdentityNotFound, http.place.clone())
                .because(name.unwrap_or("InvalidRequest")));
        }
        let page = http.json()?;
        self.finding.place = self.finding.place.take().or_else(|| Some(http.place.clone()));
        let prefix = format!("at://{}/{COLLECTION}/", self.did);
        for record in page.get("records").and_then(Value::as_array).unwrap_or_default() {
            let uri = record.get("uri").and_then(Value::as_str).unwrap_or_default();
            let proof = record.get("value").and_then(|v| v.get("proof")).and_then(Value::as_str);
            if let (true, Some(text)) = (uri.starts_with(&prefix), proof) {
                self.finding.texts.push(Text { text: text.into(), place: http.place.clone() });
            }
        }
        if let Some(profile) = answers.next() {
            let http = Http::of(profile)?;
            // RecordNotFound is a 400 as well: an account without a profile.
            if http.status == 200 {
                let record = http.json()?;
                let text = record.get("value").and_then(|v| v.get("description"));
                if let Some(text) = text.and_then(Value::as_str) {
                    self.finding.texts.push(Text { text: text.into(), place: http.place });
                }
            } else if http.status != 400 {
                return Err(http.miss());
            }
        }
        self.pages += 1;
        let cursor = page.get("cursor").and_then(Value::as_str).filter(|c| !c.is_empty());
        match cursor {
            Some(cursor) if self.pages < MAX_PAGES => Ok(Step::Ask(vec![self.list(Some(cursor))])),
            _ => Ok(Step::Done(Ok(core::mem::take(&mut self.finding)))),
        }
    }
}

impl Lookup for BlueskyLookup {
    fn step(&mut self, mut answers: Vec<Fetched>) -> Step {
        let result = match self.stage {
            Stage::Start => Ok(self.start()),
            Stage::Txt => self.txt(answers.remove(0)),
            Stage::WellKnown => self.well_known(answers.remove(0)),
            Stage::Resolve => self.resolve(answers.remove(0)),
            Stage::Document => self.read_document(answers.remove(0)),
            Stage::Records => self.records(answers),
        };
        result.unwrap_or_else(Step::from)
    }
}
