//! Answers of a sigchain server with a transparency log: `believe`.

use super::*;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use kez_core::log::{Checkpoint, Hash, NoteKey, Proof, Signer, consistency_json, entry};
use sha2::{Digest as _, Sha256};

const SERVER: &str = "https://sig.example";

fn leaf(entry: &str) -> Hash {
    Sha256::new_with_prefix([0]).chain_update(entry).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The largest power of two below a size of two or more.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The root of a tree (RFC 6962, section 2.1).
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The inclusion proof of a leaf (section 2.1.1).
fn inclusion(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (inclusion(left, index), root(right))
    } else {
        (inclusion(right, index - left.len()), root(left))
    };
    path.push(other);
    path
}

/// The consistency proof from a size (section 2.1.2).
fn consistency(leaves: &[Hash], size: usize, whole: bool) -> Vec<Hash> {
    if size == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if size <= left.len() {
        (consistency(left, size, whole), root(right))
    } else {
        (consistency(right, size - left.len(), false), root(left))
    };
    path.push(other);
    path
}

/// A log with its key.
struct Log {
    secret: SecretKey,
    key: NoteKey,
    leaves: Vec<Hash>,
}

impl Log {
    fn new(origin: &str, byte: u8) -> Result<Self> {
        let secret = key(Scheme::Ed25519, byte);
        let key = NoteKey::new(origin, Signer::Log, secret.public())?;
        Ok(Self { secret, key, leaves: Vec::new() })
    }

    fn push(&mut self, entry: &str) -> usize {
        self.leaves.push(leaf(entry));
        self.leaves.len() - 1
    }

    /// The proof of an entry at a size of the log, from the size that was seen before.
    fn proof(&self, index: usize, size: usize, seen: usize) -> Result<Proof> {
        let leaves = &self.leaves[..size];
        let grows = seen > 0 && seen < size;
        Ok(Proof {
            key: self.key.clone(),
            checkpoint: Checkpoint::sign(&self.key, &self.secret, size as u64, &root(leaves))?,
            index: index as u64,
            inclusion: inclusion(leaves, index),
            consistency: if grows { consistency(leaves, seen, true) } else { Vec::new() },
        })
    }
}

/// A witness's cosignature as a line of a note.
fn cosignature(witness: &NoteKey, byte: u8, checkpoint: &Checkpoint) -> Result<String> {
    let text = checkpoint.note().split_once("\n\n").map_or("", |(text, _)| text);
    let time = u64::try_from(NOW)?;
    let message = format!("cosignature/v1\ntime {time}\n{text}\n");
    let secret = ed25519_dalek::SigningKey::from_bytes(&[byte; 32]);
    let signature = secret.sign(message.as_bytes()).to_bytes();
    let vkey = witness.to_string();
    let id = vkey.split('+').nth(1).and_then(|id| u32::from_str_radix(id, 16).ok()).ok_or("an id")?;
    let bytes = [&id.to_be_bytes()[..], &time.to_be_bytes(), &signature].concat();
    Ok(format!("\u{2014} {} {}\n", witness.name(), STANDARD.encode(bytes)))
}

pub(super) fn logs(v: &mut Vectors) -> Result<()> {
    v.group = "log";
    let mut log = Log::new("sig.example/log", 20)?;
    let (mut one, primary) = (Writer::new(owner())?, name(&owner()));
    one.op(some_claim("github:jason", 1))?;
    let mut two = one.clone();
    two.op(some_claim("github:jane", 2))?;
    let line = |w: &Writer| w.chain.head().map_or(String::new(), |head| entry(&primary, head));
    log.push("another entry");
    let first = log.push(&line(&one));
    log.push("a third entry");
    let second = log.push(&line(&two));
    log.push("a fifth entry");
    // Another history of the log, by the same key.
    let mut other = Log::new("sig.example/log", 20)?;
    other.push("something else");
    other.push(&line(&one));
    let mut renamed = Log::new("other.example/log", 20)?;
    renamed.push(&line(&one));
    let mut rekeyed = Log::new("sig.example/log", 21)?;
    rekeyed.push(&line(&one));
    let body = |w: &Writer, line: &str| format!("{}{line}\n", w.chain.to_bundle());
    let answer = |w: &Writer, proof: &Proof, size: u64| json!({ "status": 200, "body": body(w, &proof.to_line()), "size": size });
    let bare = json!({ "status": 200, "body": one.chain.to_bundle() });
    let ask = |answers: Json| Net(json!({ "primary": primary.as_str(), "server": SERVER, "answers": answers }));
    let known = |answers: Json| ask(answers).set("key", log.key.to_string());
    let proof = log.proof(first, 2, 0)?;
    let good = answer(&one, &proof, 0);
    let changed = |change: &dyn Fn(&mut Json)| -> Result<Json> {
        let mut value: Json = serde_json::from_str(&proof.to_line())?;
        change(&mut value);
        let line = Value::parse(value.to_string().as_bytes())?.to_canonical();
        Ok(json!([{ "status": 200, "body": body(&one, &line) }]))
    };
    let grown = |w: &Writer, index: usize, size: usize, seen: usize| -> Result<Json> {
        Ok(answer(w, &log.proof(index, size, seen)?, seen as u64))
    };
    let consistent = |from: usize, to: usize| {
        let body = consistency_json(&consistency(&log.leaves[..to], from, true));
        let mut places = json!({});
        places[format!("from={from}&to={to}")] = json!({ "status": 200, "body": body });
        places
    };
    // Asked for with another size than the one that is remembered: a proof of its own is fetched.
    let no_growth = |index: usize, size: usize| -> Result<Json> {
        let mut proof = log.proof(index, size, 0)?;
        proof.consistency.clear();
        Ok(json!({ "status": 200, "body": body(&two, &proof.to_line()), "size": 2, "via": "cache" }))
    };
    let fetched = no_growth(second, 5)?;
    let later = json!([good, fetched]);
    let witness = |byte: u8| -> Result<(u8, NoteKey)> {
        let secret = key(Scheme::Ed25519, byte);
        let key = NoteKey::new(&format!("witness-{byte}.example"), Signer::Witness, secret.public())?;
        Ok((byte, key))
    };
    let witnesses = [witness(30)?, witness(31)?, witness(32)?];
    let names: Vec<String> = witnesses.iter().map(|(_, key)| key.to_string()).collect();
    let cosigned = |count: usize| -> Result<Json> {
        let mut proof = log.proof(first, 2, 0)?;
        for (byte, key) in &witnesses[..count] {
            let line = cosignature(key, *byte, &proof.checkpoint)?;
            proof.checkpoint = proof.checkpoint.with_cosignature(key, &line)?;
        }
        Ok(json!([answer(&one, &proof, 0)]))
    };
    let with_witnesses = |answers: Json, count: usize| ask(answers).set("witnesses", json!(names[..count]));
    let mut cached = good.clone();
    cached["via"] = "cache".into();
    cached["size"] = 5.into();
    let mut bare_later = bare.clone();
    bare_later["size"] = 2.into();
    let bad_growth = {
        let mut proof = log.proof(second, 5, 2)?;
        proof.consistency.clear();
        answer(&two, &proof, 2)
    };
    let [other_key, other_key_later] = [answer(&one, &rekeyed.proof(0, 1, 0)?, 0), answer(&one, &rekeyed.proof(0, 1, 0)?, 2)];
    let (same, growth) = (grown(&one, first, 2, 2)?, grown(&two, second, 5, 2)?);
    let rewritten = answer(&one, &other.proof(1, 2, 2)?, 2);
    let (large, shrunk) = (grown(&two, second, 5, 0)?, grown(&one, first, 2, 5)?);
    let shrunk_bad = answer(&one, &other.proof(1, 2, 5)?, 5);
    let other_head = json!({ "status": 200, "body": body(&two, &proof.to_line()) });
    let rules: &[&str] = &["LOG-06", "LOG-07"];
    let (ok, refused, inconsistent) = ("ok", "log_refused", "log_inconsistent");
    emit(v, "log", vec![
        ("proven", &["LOG-03", "LOG-06"], ask(json!([good])), ok, "a first answer with its proof"),
        ("proven-key", &["LOG-06"], known(json!([good])), ok, "of the log that the user names"),
        ("none", &["LOG-06", "LOG-09"], ask(json!([bare])), ok, "a server without a log"),
        ("none-key", rules, known(json!([bare])), refused, "the user knows its log"),
        ("none-later", rules, ask(json!([good, bare_later])), refused, "it had a log before"),
        ("other-key", rules, known(json!([other_key])), refused, "another key than the user names"),
        ("other-key-later", rules, ask(json!([good, other_key_later])), refused, "another key than before"),
        ("other-origin", &["LOG-02", "LOG-07"], ask(changed(&|p| p["key"] = renamed.key.to_string().into())?), refused, "the origin is not the key's name"),
        ("unsigned", rules, ask(changed(&|p| {
            let note = p["checkpoint"].as_str().unwrap_or_default().replacen("\n2\n", "\n3\n", 1);
            p["checkpoint"] = note.into();
        })?), refused, "the signature is of another size"),
        ("index", rules, ask(changed(&|p| p["index"] = 0.into())?), refused, "the entry of another position"),
        ("inclusion", rules, ask(changed(&|p| p["inclusion"] = json!([]))?), refused, "no inclusion proof"),
        ("other-head", rules, ask(json!([other_head])), refused, "the entry of an earlier head"),
        ("member-missing", rules, ask(changed(&|p| drop(p.as_object_mut().map(|p| p.remove("index"))))?), "member_missing", "a member too few"),
        ("member-unknown", rules, ask(changed(&|p| p["more"] = 1.into())?), "member_unknown", "a member too many"),
        ("same", &["LOG-06"], ask(json!([good, same])), ok, "the same size again"),
        ("grown", &["LOG-03", "LOG-06"], ask(json!([good, growth])), ok, "it grew"),
        ("grown-bad", rules, ask(json!([good, bad_growth])), inconsistent, "without a consistency proof"),
        ("rewritten", rules, ask(json!([good, rewritten])), inconsistent, "the same size, another root"),
        ("shrunk", &["LOG-04", "LOG-06"], ask(json!([large, shrunk])).set("consistency", consistent(2, 5)), ok,
            "an older checkpoint that the newer one extends"),
        ("shrunk-bad", rules, ask(json!([large, shrunk_bad])).set("consistency", consistent(2, 5)),
            inconsistent, "an older checkpoint of another log"),
        ("fetched", &["LOG-04", "LOG-06"], ask(later.clone()).set("consistency", consistent(2, 5)), ok, "a proof that is fetched"),
        ("fetched-404", rules, ask(later.clone()).set("consistency", json!({ "from=2&to=5": { "status": 404 } })), inconsistent, "that the server does not have"),
        ("fetched-fails", rules, ask(later.clone()).set("consistency", json!({ "from=2&to=5": { "fails": "timeout" } })), refused, "that does not come"),
        ("fetched-bad", rules, ask(later).set("consistency", json!({ "from=2&to=5": { "status": 200, "body": "[]" } })), inconsistent, "that is none"),
        ("cached", &["LOG-06"], ask(json!([good, growth, cached])), ok, "a cached answer whose checkpoint passed before"),
        ("witnesses", &["LOG-05", "LOG-06"], with_witnesses(cosigned(2)?, 3), ok, "two of three cosigned"),
        ("witnesses-half", rules, with_witnesses(cosigned(1)?, 2), "log_unwitnessed", "one of two"),
        ("witnesses-none", rules, with_witnesses(cosigned(0)?, 1), "log_unwitnessed", "none"),
        ("witnesses-not-named", &["LOG-05"], ask(cosigned(1)?), ok, "cosignatures that nobody asks for"),
    ]);
    // What a refused server means for the history.
    v.group = "sources";
    let place = format!("{SERVER}/v1/sigchains/{primary}");
    let named = "https://chains.example/me.jsonl";
    let configured = || {
        let net = Net::of(&primary).set("servers", json!([format!("{SERVER}#{}", log.key)]));
        net.status(&format!("{place}/fork"), 404)
    };
    let refuses = |w: &Writer| configured().http(&format!("{place}?log=0"), 200, &w.chain.to_bundle());
    let named_has = |net: Net, status: u16, w: &Writer| net.set("sources", json!([named])).http(named, status, &w.chain.to_bundle());
    emit(v, "sources", vec![
        ("log-refused", &["LOG-07", "SRC-06"], refuses(&one), "known 1 log_refused; remembers 1", "the only copy is doubted"),
        ("log-refused-absent", &["LOG-07", "SRC-06"], named_has(refuses(&one), 404, &one), "known 1 log_refused; remembers 1", "another source has nothing"),
        ("log-refused-served", &["LOG-08", "LOG-10", "SRC-06"], named_has(refuses(&two), 200, &one), "known 2 refused; remembers 2",
            "another source served the chain, and the events of the refused server count"),
        ("log-refused-empty", &["LOG-07", "SRC-06"], configured().http(&format!("{place}?log=0"), 200, "x\n"), "unknown log_refused; remembers nothing",
            "no proof line comes before no bundle"),
        ("log-404", &["SRC-06"], configured().status(&format!("{place}?log=0"), 404), "absent; remembers nothing", "a server with a log, without the chain"),
    ]);
    Ok(())
}
