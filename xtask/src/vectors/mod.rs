//! Makes the test vectors of `kez-core/vectors/`: one case a file, one failure a case. All keys
//! are made of one repeated byte, and all signatures are deterministic.

mod chain;
mod chat;
mod claim;
mod encoding;
#[rustfmt::skip] // Tables have one row a line.
mod forks;
mod identity;
#[rustfmt::skip]
mod input;
mod json;
#[rustfmt::skip]
mod network;
mod op;
#[path = "../../../kez-core/tests/replay/mod.rs"]
mod replay;
#[rustfmt::skip]
mod search;
mod signature;
#[rustfmt::skip]
mod verdict;

use crate::Result;
use base64::Engine as _;
use kez_core::{
    Chain, Claim, Envelope, Event, Head, Identity, ObjectId, Op, Reason, Scheme, SecretKey,
    SignedClaim, Suite, Target, Timestamp, commitment, json::Value, proof,
};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The clock of all vectors: 2026-11-21T12:00:00Z.
pub const NOW: i64 = 1_795_262_400;

/// The vectors by file name.
#[derive(Default)]
pub struct Vectors {
    files: BTreeMap<String, Json>,
    group: &'static str,
}

impl Vectors {
    /// A case with its outcome: `ok` or a code, or several codes separated by `|` where SPEC.md
    /// leaves a choice.
    fn add(
        &mut self,
        name: &str,
        rules: &[&str],
        kind: &str,
        input: impl Into<Json>,
        expect: &str,
        comment: &str,
    ) {
        let rules: Vec<String> = rules.iter().map(|r| format!("KEZ-{r}")).collect();
        let case = json!({
            "comment": comment,
            "rules": rules,
            "kind": kind,
            "now": Timestamp::from_seconds(NOW).to_string(),
            "input": input.into(),
            "expect": expect.split('|').collect::<Vec<_>>(),
        });
        let file = format!("{}-{name}.json", self.group);
        assert!(self.files.insert(file, case).is_none(), "two vectors are named {name}");
    }

    /// A case whose outcome is more than a code. `summary` is the outcome in short, as SPEC.md has
    /// it (see [`summary`]); the whole outcome is stored if its summary is this one.
    fn outcome(
        &mut self,
        name: &str,
        rules: &[&str],
        kind: &str,
        input: Json,
        summary: &str,
        comment: &str,
    ) {
        self.add(name, rules, kind, input, "ok", comment);
        if let Some(case) = self.files.get_mut(&format!("{}-{name}.json", self.group)) {
            case["summary"] = summary.into();
        }
    }

    /// Replays what has a whole outcome, and stores it.
    ///
    /// # Errors
    /// The vectors for which this implementation has another outcome than SPEC.md.
    fn replayed(&mut self) -> Result<()> {
        let mut wrong = Vec::new();
        for (file, case) in &mut self.files {
            let kind = case["kind"].as_str().unwrap_or_default().to_owned();
            let pending = PENDING.iter().any(|(name, _)| format!("{name}.json") == *file);
            let Some(got) = replay::run(&kind, &case["input"], now()) else {
                if pending {
                    case["kind"] = "pending".into();
                }
                continue;
            };
            let member = match &*kind {
                "judge" => "report",
                "verify" | "channel" => "reports",
                "log" => "nothing",
                _ => "output",
            };
            let differs = match case.as_object_mut().and_then(|case| case.remove("summary")) {
                Some(wanted) => {
                    let short = summary(&kind, &got);
                    case["expect"] = json!([got.code]);
                    (wanted != short).then(|| format!("{file}: wanted {wanted}, got {short}"))
                }
                None => {
                    let known = case["expect"]
                        .as_array()
                        .is_some_and(|all| all.iter().any(|code| code == got.code.as_str()));
                    let differs = case
                        .get(member)
                        .and_then(|output| replay::difference(member, output, &got.output));
                    let code = || format!("{file}: wanted {}, got {}", case["expect"], got.code);
                    match differs {
                        Some(what) => Some(format!("{file}: {what}")),
                        None => (!known).then(code),
                    }
                }
            };
            match (differs, pending) {
                (Some(_), true) => case["kind"] = "pending".into(),
                (None, true) => wrong.push(format!("{file}: it agrees, and is not pending")),
                (Some(what), false) => wrong.push(what),
                (None, false) if member == "nothing" || case.get(member).is_some() => {}
                (None, false) => case[member] = got.output,
            }
        }
        self.files.retain(|_, case| case["kind"] != "pending");
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
    }

    /// A case whose success yields something.
    fn yields(
        &mut self,
        name: &str,
        rules: &[&str],
        kind: &str,
        input: impl Into<Json>,
        output: impl Into<Json>,
        comment: &str,
    ) {
        self.add(name, rules, kind, input, "ok", comment);
        if let Some(case) = self.files.get_mut(&format!("{}-{name}.json", self.group)) {
            case["output"] = output.into();
        }
    }
}

/// An outcome in short: `valid` with its notes or the reason of each report; what is known of a
/// chain, and how much of it is remembered.
fn summary(kind: &str, got: &replay::Got) -> String {
    let output = &got.output;
    let seq = |head: &Json| head["seq"].as_u64().map_or("nothing".into(), |n| n.to_string());
    match kind {
        "verify" | "channel" => {
            let word = |report: &Json| match report["reason"].as_str() {
                Some(reason) => reason.to_owned(),
                None => {
                    let notes = report["notes"].as_array().into_iter().flatten();
                    let notes = notes.filter_map(Json::as_str).map(|note| format!("+{note}"));
                    format!("valid{}", notes.collect::<String>())
                }
            };
            let words = output.as_array().into_iter().flatten().map(word);
            words.collect::<Vec<_>>().join(" ")
        }
        "sources" => {
            let mut words = vec![output["history"].as_str().unwrap_or_default().to_owned()];
            match &*words[0] {
                "unknown" => words.extend(output["code"].as_str().map(str::to_owned)),
                "forked" => words.push(output["seq"].to_string()),
                "known" => {
                    words.push(seq(&output["head"]));
                    words.extend(output["doubt"].as_str().map(str::to_owned));
                    let flags = ["unchecked", "settled", "refused"];
                    let set = flags.iter().filter(|flag| output[**flag] == true);
                    words.extend(set.map(|flag| (*flag).to_owned()));
                }
                _ => {}
            }
            format!("{}; remembers {}", words.join(" "), seq(&output["remembered"]))
        }
        "graph" => {
            let graph = &output["graph"];
            let edges = graph["edges"].as_array().map_or(0, Vec::len);
            format!("{} {} {edges} edges", output["status"], graph["chain"]).replace('"', "")
        }
        _ => got.code.clone(),
    }
}

/// Vectors that this implementation does not pass yet, with the reason. They are not written.
const PENDING: &[(&str, &str)] = &[];

fn bytes(data: &[u8]) -> Json {
    json!({ "hex": kez_core::hex::encode(data) })
}

/// A key of one repeated byte.
#[must_use]
pub fn key(scheme: Scheme, byte: u8) -> SecretKey {
    SecretKey::from_bytes(scheme, [byte; 32]).unwrap_or_else(|e| unreachable_key(&e))
}

fn unreachable_key(error: &kez_core::Error) -> ! {
    eprintln!("a repeated byte is a valid key: {error}");
    std::process::exit(1)
}

fn name(key: &SecretKey) -> Identity {
    key.public().identity().clone()
}

fn id(text: &str) -> Result<Identity> {
    Ok(Identity::from_canonical(text)?)
}

/// The clock of the vectors.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

/// Signs a claim.
///
/// # Errors
/// Those of the core.
pub fn sign_claim(claim: &Claim, key: &SecretKey) -> Result<SignedClaim> {
    let mut envelope = claim.to_envelope()?;
    envelope.sign(key, &[0; 32])?;
    Ok(SignedClaim::verify(envelope)?)
}

/// An identity that writes a chain, one event a minute.
#[derive(Clone)]
pub struct Writer {
    /// The chain so far.
    pub chain: Chain,
    key: std::rc::Rc<SecretKey>,
}

impl Writer {
    /// An empty chain of that key.
    ///
    /// # Errors
    /// Those of the core.
    pub fn new(key: SecretKey) -> Result<Self> {
        Ok(Self { chain: Chain::new(key.public().identity())?, key: key.into() })
    }

    /// The next event, dated a minute after the one before.
    #[must_use]
    pub fn event(&self, op: Op) -> Event {
        let at = now().plus(-3600 + 60 * i64::try_from(self.chain.events().len()).unwrap_or(0));
        Event::new(self.chain.name().clone(), self.chain.head(), at, op)
    }

    /// Appends an event that these keys sign.
    ///
    /// # Errors
    /// Those of the core.
    pub fn push(&mut self, event: &Event, keys: &[&SecretKey]) -> Result<()> {
        let mut envelope = event.to_envelope()?;
        for key in keys {
            envelope.sign(key, &[0; 32])?;
        }
        Ok(self.chain.append(&envelope, now())?)
    }

    /// Appends an operation that the owner signs alone.
    ///
    /// # Errors
    /// Those of the core.
    pub fn op(&mut self, op: Op) -> Result<()> {
        let key = self.key.clone();
        self.push(&self.event(op), &[&key])
    }

    /// Lists a claim.
    ///
    /// # Errors
    /// Those of the core.
    pub fn add(&mut self, signed: &SignedClaim) -> Result<()> {
        self.op(add(signed))
    }

    /// The bundle with one more line, signed but not checked.
    fn with(&self, envelope: &Envelope) -> String {
        format!("{}{}\n", self.chain.to_bundle(), envelope.to_canonical())
    }

    /// The bundle with one more event, built from raw members.
    fn with_raw(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Value>),
        keys: &[&SecretKey],
    ) -> Result<String> {
        let op = Value::object([
            ("type", Value::from("revoke")),
            ("subject", "dns:example.com".into()),
            ("reason", "retired".into()),
        ]);
        let head = self.chain.head();
        let mut members = BTreeMap::from([
            ("type".to_owned(), Value::from("event")),
            ("chain".to_owned(), self.chain.name().as_str().into()),
            ("seq".to_owned(), Value::Int(i64::try_from(head.map_or(1, |h| h.seq + 1))?)),
            ("prev".to_owned(), head.map_or(Value::Null, |h| Value::String(h.id.to_string()))),
            ("created_at".to_owned(), "2026-11-21T11:59:00Z".into()),
            ("op".to_owned(), op),
        ]);
        change(&mut members);
        let mut envelope = Envelope::unsigned(Value::object(members))?;
        for key in keys {
            envelope.sign(key, &[0; 32])?;
        }
        Ok(self.with(&envelope))
    }
}

fn add(signed: &SignedClaim) -> Op {
    let claim = signed.claim();
    Op::Add {
        subject: claim.subject.clone(),
        claim: signed.id(),
        account: claim.account.clone(),
        url: None,
    }
}

/// The listing of a claim that exists in name only.
#[must_use]
pub fn some_claim(subject: &str, byte: u8) -> Op {
    let subject = Identity::from_canonical(subject).unwrap_or_else(|e| unreachable_key(&e));
    Op::Add { subject, claim: ObjectId::digest("claim", &[byte]), account: None, url: None }
}

/// Everything, from the same input always the same.
///
/// # Errors
/// If the core refuses to make what it should.
pub fn all() -> Result<BTreeMap<String, Json>> {
    let mut v = Vectors::default();
    json::json_vectors(&mut v);
    identity::identities(&mut v)?;
    input::inputs(&mut v)?;
    claim::claims(&mut v)?;
    signature::signatures(&mut v)?;
    encoding::encodings(&mut v)?;
    search::searches(&mut v)?;
    chain::chains(&mut v)?;
    op::more_chains(&mut v)?;
    forks::forks(&mut v)?;
    verdict::verdicts(&mut v)?;
    network::networks(&mut v)?;
    chat::chats(&mut v)?;
    v.replayed()?;
    Ok(v.files)
}
