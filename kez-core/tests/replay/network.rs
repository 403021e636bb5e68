//! A network whose answers a vector lists.

use super::{Got, head_json, report_json, text, texts, without_detail};
use futures_util::{FutureExt as _, future::pending};
use kez_core::{
    Chain, Code, Endpoints, History, Identity, Input, Memory, Proof, Question, Report, SignedClaim,
    Timestamp, Transport, Verifier,
    json::Value,
    log::{NoteKey, SigServer},
    proof, resolve,
    transport::{Answer, Body, Failure, RelayAnswer, Request, Via},
};
use serde_json::{Value as Json, json};
use std::{cell::RefCell, collections::BTreeMap};

/// The answers of a vector, as a transport with a memory.
struct Recorded<'a> {
    input: &'a Json,
    clock: Timestamp,
    answers: BTreeMap<String, &'a Json>,
    /// How often each place was asked, for places that have several answers.
    asked: RefCell<BTreeMap<String, usize>>,
    memory: RefCell<BTreeMap<String, Vec<u8>>>,
}

/// A place as it is compared: the parameters of a query in order and without escapes.
fn normal(place: &str) -> String {
    let Some((path, query)) = place.split_once('?') else { return place.to_owned() };
    let mut parts: Vec<String> = query.split('&').map(unescaped).collect();
    parts.sort();
    format!("{path}?{}", parts.join("&"))
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn code(name: &str) -> Code {
    Code::from_name(name).unwrap_or(Code::Usage)
}

fn body(answer: &Json) -> Vec<u8> {
    match (&answer["body"], &answer["json"]) {
        (Json::String(text), _) => text.clone().into_bytes(),
        (other, Json::Null) => {
            let hex = other["hex"].as_str().unwrap_or_default();
            let pairs = hex.as_bytes().chunks_exact(2);
            let byte = |pair: &[u8]| {
                let pair = str::from_utf8(pair).unwrap_or_default();
                u8::from_str_radix(pair, 16).unwrap_or_default()
            };
            pairs.map(byte).collect()
        }
        (_, value) => value.to_string().into_bytes(),
    }
}

impl<'a> Recorded<'a> {
    fn new(input: &'a Json, clock: Timestamp) -> Self {
        let answers = input["answers"].as_object().into_iter().flatten();
        let memory = input["remembered"].as_str().map(|bundle| {
            let line = bundle.lines().next().unwrap_or_default();
            let line: Json = serde_json::from_str(line).unwrap_or_default();
            let name = text(&line["payload"], "chain").to_owned();
            (name, bundle.as_bytes().to_vec())
        });
        Self {
            input,
            clock,
            answers: answers.map(|(place, answer)| (normal(place), answer)).collect(),
            asked: RefCell::default(),
            memory: RefCell::new(memory.into_iter().collect()),
        }
    }

    fn verifier(&self) -> Verifier<'_, Self, Self> {
        let servers = texts(self.input, "servers");
        let witnesses = texts(self.input, "witnesses");
        let at = self.input["at"].as_str().and_then(|at| at.parse().ok());
        Verifier {
            transport: self,
            memory: self,
            endpoints: Endpoints {
                relays: texts(self.input, "relays"),
                sig_servers: servers.iter().filter_map(|s| SigServer::parse(s).ok()).collect(),
                witnesses: witnesses.iter().filter_map(|w| NoteKey::parse(w).ok()).collect(),
                ..Endpoints::default()
            },
            sources: texts(self.input, "sources"),
            bundles: texts(self.input, "chains").into_iter().map(String::into_bytes).collect(),
            now: at.unwrap_or(self.clock),
            clock: self.clock,
            progress: &|_| {},
            budget: None,
        }
    }

    /// The answer to a request, the next one of several; nothing where the vector lists none.
    fn answer(&self, place: &str) -> Option<&'a Json> {
        let place = normal(place);
        let answer = *self.answers.get(&place)?;
        let Some(all) = answer.as_array() else { return Some(answer) };
        let mut asked = self.asked.borrow_mut();
        let count = asked.entry(place).or_default();
        *count += 1;
        all.get(*count - 1).or(all.last())
    }
}

/// Whether an event fits a filter of NIP-01.
fn fits(event: &Json, filter: &Json) -> bool {
    filter.as_object().into_iter().flatten().all(|(name, wanted)| {
        let any = |value: &Json| wanted.as_array().is_some_and(|all| all.contains(value));
        match name.as_str() {
            "ids" => any(&event["id"]),
            "authors" => any(&event["pubkey"]),
            "kinds" => any(&event["kind"]),
            "since" => event["created_at"].as_i64() >= wanted.as_i64(),
            "until" => event["created_at"].as_i64() <= wanted.as_i64(),
            "limit" => true,
            tag => {
                let mut tags = event["tags"].as_array().into_iter().flatten();
                tags.any(|t| t[0].as_str() == tag.strip_prefix('#') && any(&t[1]))
            }
        }
    })
}

/// What a relay sends for one filter: the newest events that fit, and why there may be more.
fn relay_answer(answer: &Json, filter: &Json) -> RelayAnswer {
    let events = answer["events"].as_array().into_iter().flatten();
    let mut events: Vec<&Json> = events.filter(|event| fits(event, filter)).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event["created_at"].as_i64()));
    events.truncate(filter["limit"].as_u64().map_or(usize::MAX, |n| n.try_into().unwrap_or(0)));
    let events = events.iter().filter_map(|e| Value::parse_foreign(e.to_string().as_bytes()).ok());
    let mut failed = answer["failed"].as_array().into_iter().flatten();
    let failed = failed.find(|failed| {
        let wanted = failed["filter"].as_object().into_iter().flatten();
        wanted.into_iter().all(|(name, value)| filter[name] == *value)
    });
    let failure = failed.map(|failed| Failure::new(code(text(failed, "code")), "recorded"));
    RelayAnswer { events: events.collect(), failure }
}

impl Transport for Recorded<'_> {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        let answered = |body, via| Answer { body, via, fetched_at: self.clock };
        let Some(answer) = self.answer(&request.place()) else {
            return match request {
                Request::Txt { .. } => {
                    let body = Body::Txt { rcode: 3, records: vec![], authentic: false, ttl: None };
                    Ok(answered(body, Via::Direct))
                }
                _ => Err(Failure::new(Code::HostUnknown, request.place())),
            };
        };
        match answer["fails"].as_str() {
            Some("never") => return pending().await,
            Some(name) => return Err(Failure::new(code(name), "recorded")),
            None => {}
        }
        let body = match request {
            Request::Http { .. } => {
                let headers = answer["headers"].as_object().into_iter().flatten();
                let headers =
                    headers.map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned()));
                Body::Http {
                    status: answer["status"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
                    headers: headers.collect(),
                    bytes: body(answer),
                    redirected_to: answer["redirected_to"].as_str().map(str::to_owned),
                }
            }
            Request::Txt { .. } => Body::Txt {
                rcode: answer["rcode"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
                records: texts(answer, "records").into_iter().map(String::into_bytes).collect(),
                authentic: answer["authentic"] == true,
                ttl: answer["ttl"].as_u64().and_then(|n| n.try_into().ok()),
            },
            Request::Relay { filters, .. } => {
                let filter =
                    |f: &Value| serde_json::from_str(&f.to_canonical()).unwrap_or_default();
                let answers = filters.iter().map(|f| relay_answer(answer, &filter(f)));
                Body::Relay { answers: answers.collect() }
            }
        };
        let via = if answer["via"] == "cache" { Via::Cache } else { Via::Direct };
        Ok(answered(body, via))
    }

    /// Time passes only when nothing else happens.
    async fn pause(&self, _: u32) {}
}

impl Memory for Recorded<'_> {
    fn recall(&self, name: &str) -> Option<Vec<u8>> {
        self.memory.borrow().get(name).cloned()
    }

    fn remember(&self, name: &str, text: &str) {
        self.memory.borrow_mut().insert(name.to_owned(), text.as_bytes().to_vec());
    }
}

fn identity(text: &str) -> Option<Identity> {
    Identity::from_canonical(text).ok()
}

/// The answer of something that waits for nothing.
fn now<T: Default>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap_or_default()
}

fn with_question<T: Default>(
    input: &Json,
    clock: Timestamp,
    ask: impl AsyncFnOnce(&Verifier<'_, Recorded<'_>, Recorded<'_>>, &Question<'_>) -> T,
) -> T {
    let world = Recorded::new(input, clock);
    let Some(subject) = identity(text(input, "subject")) else { return T::default() };
    let by = identity(text(input, "by"));
    let question = Question {
        subject: &subject,
        by: by.as_ref(),
        spelling: input["spelling"].as_str(),
        hints: texts(input, "hints"),
    };
    let verifier = world.verifier();
    now(ask(&verifier, &question))
}

/// The reports on an account.
pub(super) fn verify(input: &Json, clock: Timestamp) -> Vec<Report> {
    with_question(input, clock, async |verifier, question| verifier.verify_question(question).await)
}

/// The identity that a typed text leads to, and the protocol that named it.
pub(super) fn resolve(input: &Json, clock: Timestamp) -> Got {
    let world = Recorded::new(input, clock);
    let resolved = match Input::parse(text(input, "typed")) {
        Ok(typed) => resolve::resolve(&world, typed).now_or_never(),
        Err(error) => return Got::of(Err(error)),
    };
    match resolved {
        Some(Ok(resolved)) => {
            let via = resolved.via.unwrap_or_default();
            let protocols = ["WebFinger", "NIP-05"];
            let is_name = !text(input, "typed").contains("//");
            let protocol = protocols.iter().find(|name| is_name && via.starts_with(**name));
            let identity = resolved.identity.as_str();
            Got::new("ok", json!({ "identity": identity, "protocol": protocol }))
        }
        Some(Err(miss)) => Got::new(miss.code.as_str(), Json::Null),
        None => Got::new("no answer", Json::Null),
    }
}

/// The graph of an identity.
pub(super) fn graph(input: &Json, clock: Timestamp) -> Got {
    let graph = with_question(input, clock, async |verifier, question| {
        Some(verifier.identity_question(question).await)
    });
    let Some(graph) = graph else { return Got::new("no answer", Json::Null) };
    let status = graph.status().as_str();
    let edges: Json = graph.edges.iter().map(report_json).collect();
    let mut json = without_detail(serde_json::to_value(&graph).unwrap_or_default());
    json["edges"] = edges;
    Got::new("ok", json!({ "graph": json, "status": status }))
}

/// The history of a primary, and the chain that is remembered then.
pub(super) fn sources(input: &Json, clock: Timestamp) -> Json {
    let world = Recorded::new(input, clock);
    let Some(primary) = identity(text(input, "primary")) else { return Json::Null };
    let claims: Vec<SignedClaim> = texts(input, "claims")
        .iter()
        .filter_map(|text| match proof::from_text(text).ok()?.1 {
            Proof::Claim(signed) => Some(signed),
            Proof::Pointer(_) => None,
        })
        .collect();
    let claims: Vec<&SignedClaim> = claims.iter().collect();
    let subject = identity(text(input, "subject"));
    let history = {
        let verifier = world.verifier();
        let history = verifier.history(&primary, &claims, subject.as_ref());
        history.now_or_never()
    };
    let mut json = history.as_ref().map_or(json!({ "history": "no answer" }), history_json);
    let remembered = world.recall(primary.as_str());
    let chain = remembered.and_then(|b| Chain::replay(&b, Some(&primary), clock).ok());
    json["remembered"] = chain.as_ref().map_or(Json::Null, head_json);
    json
}

fn history_json(history: &History) -> Json {
    match history {
        History::Absent => json!({ "history": "absent" }),
        History::Unchecked => json!({ "history": "unchecked" }),
        History::Unknown(error) => {
            json!({ "history": "unknown", "code": error.code().as_str() })
        }
        History::Forked(fork) => json!({ "history": "forked", "seq": fork.seq() }),
        History::Known(known) => json!({
            "history": "known",
            "head": head_json(&known.chain),
            "doubt": known.doubt.as_ref().map(|error| error.code().as_str()),
            "unchecked": known.unchecked,
            "settled": known.settled,
            "refused": known.refused.is_some() && known.refused != known.doubt,
        }),
    }
}

/// Whether the last answer of a sigchain server with a log is believed, after the ones before.
pub(super) fn log(input: &Json, clock: Timestamp) -> Got {
    let Some(primary) = identity(text(input, "primary")) else {
        return Got::new("no primary", Json::Null);
    };
    let url = text(input, "server");
    let key = input["key"].as_str().map(|key| format!("#{key}")).unwrap_or_default();
    let empty = vec![];
    let answers = input["answers"].as_array().unwrap_or(&empty);
    let memory = RefCell::new(BTreeMap::new());
    let mut outcome = "ok";
    for (n, answer) in answers.iter().enumerate() {
        let size = answer["size"].as_u64().unwrap_or(0);
        let place = format!("{url}/v1/sigchains/{primary}");
        let mut places = json!({
            format!("{place}?log={size}"): answer,
            format!("{place}/fork"): { "status": 404 },
        });
        for (query, answer) in input["consistency"].as_object().into_iter().flatten() {
            places[format!("{url}/v1/log/consistency?{query}")] = answer.clone();
        }
        let world = json!({
            "servers": [format!("{url}{key}")],
            "witnesses": input["witnesses"],
            "answers": places,
        });
        let mut world = Recorded::new(&world, clock);
        world.memory = memory.clone();
        let history = world.verifier().history(&primary, &[], None).now_or_never();
        let error = match history {
            Some(History::Known(known)) => known.refused.or(known.doubt),
            Some(History::Unknown(error)) => Some(error),
            _ => Some(Code::Usage.into()),
        };
        outcome = error.map_or("ok", |error| error.code().as_str());
        if outcome != "ok" && n + 1 < answers.len() {
            return Got::new("an earlier answer is refused", Json::Null);
        }
        memory.borrow_mut().clone_from(&world.memory.borrow());
        // The chain that is remembered has no effect on the log.
        memory.borrow_mut().remove(primary.as_str());
    }
    Got::new(outcome, Json::Null)
}
