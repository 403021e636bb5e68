//! `bluesky:` — records of the collection `org.kez.proof` in the account's repository, or the
//! profile's description. The repository is found through the DID document, and handle and DID
//! must name each other.

use super::xrpc;
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
/// The most pages of a hundred records that are read.
const MAX_PAGES: usize = 5;
const JSON: &str = "application/json";

pub(crate) struct BlueskyLookup {
    endpoints: Endpoints,
    handle: Option<String>,
    did: String,
    pds: String,
    stage: Stage,
    pages: usize,
    /// Why it is unknown whether the handle names an account; none if every answer was definite.
    miss: Option<Miss>,
    /// Where the last page of records began.
    cursor: Option<String>,
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
            cursor: None,
            finding: Finding::default(),
        }
    }

    fn unsure(&mut self, miss: Miss) {
        self.miss.get_or_insert(miss);
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
                let Body::Txt { rcode, records, .. } = answer.body else {
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
                if rcode != 0 && rcode != 3 {
                    let why = format!("rcode {rcode}");
                    self.unsure(Miss::at(Code::DnsFailed, place).because(why));
                }
            }
            Err(failure) => self.unsure(failed(&request, failure)),
        }
        self.stage = Stage::WellKnown;
        let url = format!("https://{}/.well-known/atproto-did", self.handle());
        Ok(Step::Ask(vec![Request::get_public(url, "text/plain")]))
    }

    fn well_known(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        match Http::of(fetched) {
            Ok(http) if http.status == 200 && !http.is_challenge() => {
                let did = String::from(String::from_utf8_lossy(&http.bytes).trim());
                if is_did(&did) {
                    return self.found_did(&did, http.place);
                }
                self.unsure(http.refused("the answer is no DID"));
            }
            // These say that the handle is not proven in this way; the next way decides.
            Ok(http) if matches!(http.status, 404 | 410) && !http.is_challenge() => {}
            Err(miss) if miss.code == Code::HostUnknown => {}
            Ok(http) => self.unsure(http.miss()),
            Err(miss) => self.unsure(miss),
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
        let known = self.miss.take();
        let http = Http::of(fetched).map_err(|miss| known.clone().unwrap_or(miss))?;
        if http.status != 200 {
            let miss = match xrpc::error(&http) {
                // A service answers in one of these ways for a handle that it cannot resolve.
                Some((name, said))
                    if name == "HandleNotFound"
                        || (name == "InvalidRequest" && said.to_lowercase().contains("handle")) =>
                {
                    Miss::at(Code::IdentityNotFound, http.place)
                }
                _ => xrpc::miss(&http),
            };
            return Err(known.unwrap_or(miss));
        }
        let value = http.json()?;
        let did = value.get("did").and_then(Value::as_str).unwrap_or_default();
        self.found_did(did, http.place)
    }

    fn found_did(&mut self, did: &str, place: Place) -> Result<Step, Miss> {
        if !is_did(did) {
            return Err(Miss::at(Code::ResponseRefused, place).because("not a DID that KEZ reads"));
        }
        self.did = did.into();
        Ok(self.document())
    }

    fn document(&mut self) -> Step {
        self.stage = Stage::Document;
        let url = match self.did.strip_prefix("did:web:") {
            Some(host) => {
                let url = format!("https://{host}/.well-known/did.json");
                return Step::Ask(vec![Request::get_public(url, JSON)]);
            }
            None => format!("{}/{}", self.endpoints.plc, self.did),
        };
        Step::Ask(vec![Request::get(url, JSON)])
    }

    fn read_document(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        if http.status != 200 {
            // The PLC directory answers 404 for a DID that was never made, 410 for one that ended.
            return Err(http.miss_or_absent());
        }
        // A did:web document is a file, which web servers label as they like.
        let document =
            if self.did.starts_with("did:web:") { http.any_json() } else { http.json() }?;
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
        let page = answers.next().map_or(Ok(None), |list| self.page(list));
        let cursor = match page {
            Err(miss) if is_definite(miss.code) => return Err(miss),
            Err(miss) => {
                self.finding.fail(miss);
                None
            }
            Ok(cursor) => cursor,
        };
        if let Some(profile) = answers.next()
            && let Err(miss) = self.profile(profile)
        {
            self.finding.fail(miss);
        }
        match cursor {
            Some(cursor) if self.pages < MAX_PAGES && self.cursor.as_ref() != Some(&cursor) => {
                let request = self.list(Some(&cursor));
                self.cursor = Some(cursor);
                return Ok(Step::Ask(vec![request]));
            }
            Some(_) => {
                let place = self.finding.place.clone().unwrap_or_default();
                let why = format!("only {} pages of records were read", self.pages);
                self.finding.fail(Miss::at(Code::SearchIncomplete, place).because(why));
            }
            None => {}
        }
        Ok(Step::Done(Ok(core::mem::take(&mut self.finding))))
    }

    /// Reads a page of records and returns where the next one begins.
    fn page(&mut self, list: Fetched) -> Result<Option<String>, Miss> {
        let place = Place { url: list.0.place(), ..Place::default() };
        self.finding.place.get_or_insert(place);
        let http = Http::of(list)?;
        if self.pages == 0 {
            self.finding.place = Some(http.place.clone());
        }
        if http.status != 200 {
            return match xrpc::error(&http) {
                Some((name, _)) if name == "RecordNotFound" => Ok(None),
                _ => Err(xrpc::miss(&http)),
            };
        }
        let page = http.json()?;
        let records = page.get("records").and_then(Value::as_array);
        let records = records.ok_or_else(|| http.refused("the answer has no list of records"))?;
        let prefix = format!("at://{}/{COLLECTION}/", self.did);
        for record in records {
            let uri = record.get("uri").and_then(Value::as_str).unwrap_or_default();
            if !uri.starts_with(&prefix) {
                continue;
            }
            match record.get("value").and_then(|v| v.get("proof")).and_then(Value::as_str) {
                Some(text) => {
                    let text = Text { text: text.into(), place: http.place.clone() };
                    self.finding.texts.push(text);
                }
                None => {
                    let why = format!("the record {uri} has no text `proof`");
                    let miss = Miss::at(Code::ProofMalformed, http.place.clone()).because(why);
                    self.finding.fail(miss);
                }
            }
        }
        self.pages += 1;
        let cursor = page.get("cursor").and_then(Value::as_str);
        Ok(cursor.filter(|c| !c.is_empty()).map(String::from))
    }

    /// Reads the profile, a second place for a proof, which an account may not have.
    fn profile(&mut self, fetched: Fetched) -> Result<(), Miss> {
        let http = Http::of(fetched)?;
        if http.status != 200 {
            return match xrpc::error(&http) {
                Some((name, said))
                    if name == "RecordNotFound"
                        || said.to_lowercase().contains("could not locate record") =>
                {
                    Ok(())
                }
                _ => Err(xrpc::miss(&http)),
            };
        }
        let record = http.json()?;
        let text = record.get("value").and_then(|v| v.get("description"));
        if let Some(text) = text.and_then(Value::as_str) {
            self.finding.texts.push(Text { text: text.into(), place: http.place });
        }
        Ok(())
    }
}

/// Whether a server's answer is about the whole account.
const fn is_definite(code: Code) -> bool {
    matches!(code, Code::IdentityNotFound | Code::AccountSuspended)
}

/// Whether a text is a DID of a method that KEZ reads.
fn is_did(text: &str) -> bool {
    text.starts_with("did:") && Identity::from_canonical(&format!("bluesky:{text}")).is_ok()
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
