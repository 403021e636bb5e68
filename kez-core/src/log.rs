//! The transparency log of a sigchain server, as its readers see it: checkpoints, and the proof
//! that a chain's head is in the log (SPEC.md, "Transparency log"). The formats are C2SP's
//! signed-note, tlog-checkpoint and tlog-cosignature; the trees are those of RFC 6962.

use crate::{
    Chain, Code, Error, Head, Identity, Key, Memory, Result, Scheme, SecretKey, Suite, Timestamp,
    hex,
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use core::fmt;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::{Digest as _, Sha256};

/// A node of the tree.
pub type Hash = [u8; 32];

/// The largest size of a tree: the largest integer that every JSON reader keeps.
pub const MAX_SIZE: u64 = (1 << 53) - 1;
/// How many signatures a checkpoint may carry.
const MAX_SIGNATURES: usize = 64;

fn refused(what: impl fmt::Display) -> Error {
    Error::about(Code::LogRefused, what)
}

fn unbase64<const N: usize>(text: &str) -> Result<[u8; N]> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| refused("base64"))
}

/// The entry of the log that stands for a chain's head: the canonical bytes of a leaf.
///
/// ```
/// use kez_core::{Head, Identity, ObjectId, log};
/// let chain = Identity::parse(
///     "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
/// )?;
/// let head = Head { seq: 3, id: ObjectId::digest("event", b"{}") };
/// let entry = log::entry(&chain, head);
/// assert!(entry.starts_with(r#"{"chain":"ed25519:d75a"#) && entry.ends_with(r#""seq":3}"#));
/// # Ok::<(), kez_core::Error>(())
/// ```
#[must_use]
pub fn entry(chain: &Identity, head: Head) -> String {
    // Key identities need no escapes.
    format!(r#"{{"chain":"{chain}","id":"{}","seq":{}}}"#, head.id, head.seq)
}

/// Whose signature a note carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The log itself: plain Ed25519 over the text.
    Log,
    /// A witness: a timestamped cosignature.
    Witness,
}

/// The public key of a log or a witness, in C2SP's text form `name+id+key`.
///
/// ```
/// use kez_core::{Scheme, SecretKey, log::{NoteKey, Signer}};
/// let secret = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let key = NoteKey::new("sig.example/log", Signer::Log, secret.public())?;
/// assert_eq!(NoteKey::parse(&key.to_string())?, key);
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    text: String,
    name: usize,
    id: [u8; 4],
    signer: Signer,
    key: Key,
}

impl NoteKey {
    /// A key with its name: of printable ASCII without `+`.
    ///
    /// # Errors
    /// `log_refused` for another name or a key that is not an Ed25519 one.
    pub fn new(name: &str, signer: Signer, key: &Key) -> Result<Self> {
        let mut typed = Vec::from([algorithm(signer)]);
        typed.extend(key.to_bytes());
        let id = hex::encode(&key_id(name, &typed));
        let made = Self::parse(&format!("{name}+{id}+{}", STANDARD.encode(typed)))?;
        if made.key == *key { Ok(made) } else { Err(refused("an Ed25519 key is wanted")) }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `log_refused`, `key_refused`.
    pub fn parse(vkey: &str) -> Result<Self> {
        let (name, rest) = vkey.split_once('+').ok_or_else(|| refused("a key"))?;
        let (id, key) = rest.split_once('+').ok_or_else(|| refused("a key"))?;
        let typed: [u8; 33] = unbase64(key)?;
        let [kind, key @ ..] = typed;
        let signer = match kind {
            1 => Signer::Log,
            4 => Signer::Witness,
            _ => return Err(refused("a key")),
        };
        // White space outside of ASCII is beyond what names are made of.
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        let wanted = key_id(name, &typed);
        if name.is_empty() || !plain || hex::decode(id) != Some(wanted) {
            return Err(refused("a key"));
        }
        let key = Key::from_bytes(Scheme::Ed25519, &key)?;
        Ok(Self { text: vkey.to_owned(), name: name.len(), id: wanted, signer, key })
    }

    /// Reads the key of a witness.
    ///
    /// # Errors
    /// As [`NoteKey::parse`], and for the key of a log.
    pub fn parse_witness(vkey: &str) -> Result<Self> {
        let key = Self::parse(vkey)?;
        if key.signer == Signer::Witness { Ok(key) } else { Err(refused("a key")) }
    }

    /// The name; a log's is the origin of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.name]
    }
}

/// What a signature names its key by: the hash of name and key.
fn key_id(name: &str, typed: &[u8]) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name.as_bytes()).chain_update("\n").chain_update(typed);
    let [a, b, c, d, ..]: Hash = hash.finalize().into();
    [a, b, c, d]
}

const fn algorithm(signer: Signer) -> u8 {
    match signer {
        Signer::Log => 1,
        Signer::Witness => 4,
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The signed head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    note: String,
    /// Where the text ends, with its last line feed.
    text: usize,
    size: u64,
    root: Hash,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// Signs the head of a log with the key of that name.
    ///
    /// # Errors
    /// `log_refused`.
    ///
    /// ```
    /// use kez_core::{Scheme, SecretKey, log::{Checkpoint, NoteKey, Signer}};
    /// let secret = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
    /// let key = NoteKey::new("sig.example/log", Signer::Log, secret.public())?;
    /// let checkpoint = Checkpoint::sign(&key, &secret, 1, &[9; 32])?;
    /// Checkpoint::parse(checkpoint.note())?.verify(&key)?;
    /// assert!(checkpoint.note().starts_with("sig.example/log\n1\n"));
    /// # Ok::<(), kez_core::Error>(())
    /// ```
    pub fn sign(key: &NoteKey, secret: &SecretKey, size: u64, root: &Hash) -> Result<Self> {
        let text = format!("{}\n{size}\n{}\n", key.name(), STANDARD.encode(root));
        let (_, signature) = secret.sign(text.as_bytes(), &[0; 32])?;
        let line = signature_line(key, &signature);
        Self::parse(&format!("{text}\n{line}"))
    }

    /// Reads a note whose text is a checkpoint. No signature is verified.
    ///
    /// # Errors
    /// `log_refused`.
    pub fn parse(note: &str) -> Result<Self> {
        let bad = || refused("a checkpoint");
        let ends = note.as_bytes().windows(2).rposition(|pair| pair == b"\n\n");
        let text = ends.ok_or_else(bad)? + 1;
        let mut lines = note[..text].lines();
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or_else(bad);
        line()?;
        let decimal = line()?;
        let size: u64 = decimal.parse().map_err(|_| bad())?;
        if size > MAX_SIZE || decimal != size.to_string() {
            return Err(bad());
        }
        let root = unbase64(line()?)?;
        let mut signatures = Vec::new();
        for line in note[text + 1..].split_inclusive('\n') {
            let line = line.strip_prefix("\u{2014} ").and_then(|line| line.strip_suffix('\n'));
            let (name, bytes) = line.and_then(|line| line.split_once(' ')).ok_or_else(bad)?;
            signatures.push((name.to_owned(), STANDARD.decode(bytes).map_err(|_| bad())?));
        }
        if signatures.is_empty() || signatures.len() > MAX_SIGNATURES {
            return Err(bad());
        }
        Ok(Self { note: note.to_owned(), text, size, root, signatures })
    }

    /// The whole note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// A tag that changes with the text and its signatures.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}-{}", self.size, self.signatures.len())
    }

    /// How many entries the log had.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of its tree.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Verifies that it is of the log of that key.
    ///
    /// # Errors
    /// `log_refused`.
    pub fn verify(&self, key: &NoteKey) -> Result<()> {
        let text = &self.note[..self.text];
        let signed = key.signer == Signer::Log
            && text.lines().next() == Some(key.name())
            && self.of(key).any(|signature| {
                <&[u8; 64]>::try_from(signature)
                    .is_ok_and(|s| key.key.verify(Suite::Ed25519, text.as_bytes(), s).is_ok())
            });
        if signed { Ok(()) } else { Err(refused("signature")) }
    }

    /// When that witness cosigned it, if it did.
    #[must_use]
    pub fn cosigned(&self, witness: &NoteKey) -> Option<Timestamp> {
        self.of(witness).find_map(|bytes| {
            let (time, signature) = bytes.split_first_chunk()?;
            let time = u64::from_be_bytes(*time);
            let message = cosigned_text(time, &self.note[..self.text]);
            let signature = signature.try_into().ok()?;
            witness.key.verify(Suite::Ed25519, message.as_bytes(), signature).ok()?;
            Some(Timestamp::from_seconds(i64::try_from(time).ok()?))
        })
    }

    /// The same checkpoint with a cosignature more.
    ///
    /// # Errors
    /// `log_refused` unless `line` is a signature by that witness.
    pub fn with_cosignature(&self, witness: &NoteKey, line: &str) -> Result<Self> {
        let one = Self::parse(&format!("{}\n{line}", &self.note[..self.text]))?;
        if one.signatures.len() != 1 || one.cosigned(witness).is_none() {
            return Err(refused("a cosignature"));
        }
        Self::parse(&format!("{}{line}", self.note))
    }

    fn of<'a>(&'a self, key: &'a NoteKey) -> impl Iterator<Item = &'a [u8]> {
        let own = |(name, bytes): &'a (String, Vec<u8>)| {
            bytes.strip_prefix(&key.id).filter(|_| name == key.name())
        };
        self.signatures.iter().filter_map(own)
    }

    /// Verifies that the log grew from an older checkpoint to this one and only grew.
    ///
    /// # Errors
    /// `log_inconsistent`.
    pub fn extends(&self, older: &Self, proof: &[Hash]) -> Result<()> {
        let proof = ConsistencyProof::<Sha256>::from_digests(proof.iter().map(Into::into));
        // The library counts the empty tree as no tree; everything extends it.
        let holds =
            older.size == 0 || self.tree().verify_consistency(&older.tree(), &proof).is_ok();
        if holds { Ok(()) } else { Err(Error::about(Code::LogInconsistent, self.size)) }
    }

    /// Verifies that the log has an entry.
    ///
    /// # Errors
    /// `log_refused`.
    pub fn includes(&self, index: u64, entry: &str, proof: &[Hash]) -> Result<()> {
        let proof = InclusionProof::<Sha256>::from_digests(proof.iter().map(Into::into));
        let result = self.tree().verify_inclusion(&entry.as_bytes(), index, &proof);
        result.map_err(|_| refused("inclusion"))
    }

    fn tree(&self) -> RootHash<Sha256> {
        RootHash::new(self.root.into(), self.size)
    }
}

fn signature_line(key: &NoteKey, signature: &[u8]) -> String {
    let bytes = [&key.id, signature].concat();
    format!("\u{2014} {} {}\n", key.name(), STANDARD.encode(bytes))
}

fn cosigned_text(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Proof that a chain's head is in the log, and that the log grew since it was last seen. It
/// stands as the last line of a bundle that was asked for with `?log=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The log's key.
    pub key: NoteKey,
    /// The head of the log.
    pub checkpoint: Checkpoint,
    /// The entry's position, from 0.
    pub index: u64,
    /// From the entry to the root.
    pub inclusion: Vec<Hash>,
    /// From the size that was asked for to the checkpoint; empty if there was none.
    pub consistency: Vec<Hash>,
}

/// How the line begins: no event does.
const MARK: &[u8] = br#"{"checkpoint":"#;

impl Proof {
    /// Takes the line off a bundle's end, if it is there. Returns the bundle and the line.
    #[must_use]
    pub fn split(body: &[u8]) -> (&[u8], Option<&[u8]>) {
        let end = body.strip_suffix(b"\n").unwrap_or(body);
        let at = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end[at..].starts_with(MARK) { (&body[..at], Some(&end[at..])) } else { (body, None) }
    }

    /// Takes the line off a bundle's end, if it is there.
    pub(crate) fn split_off(body: &mut Vec<u8>) -> Option<Vec<u8>> {
        let (bundle, line) = Self::split(body);
        let (length, line) = (bundle.len(), line.map(<[u8]>::to_vec));
        body.truncate(length);
        line
    }

    /// Reads the line, and verifies that it is of the log with that key, if one is known, that
    /// more than half of the witnesses have cosigned it, and that the log has that head.
    pub(crate) fn verified(
        line: &[u8],
        key: Option<&NoteKey>,
        witnesses: &[NoteKey],
        chain: &Identity,
        head: Head,
    ) -> Result<Self> {
        let proof = Self::parse(line)?;
        if key.is_some_and(|key| *key != proof.key) {
            return Err(refused("another key"));
        }
        proof.checkpoint.verify(&proof.key)?;
        let cosigned = witnesses.iter().filter(|w| proof.checkpoint.cosigned(w).is_some()).count();
        if !witnesses.is_empty() && cosigned * 2 <= witnesses.len() {
            return Err(Error::about(Code::LogUnwitnessed, cosigned));
        }
        proof.checkpoint.includes(proof.index, &entry(chain, head), &proof.inclusion)?;
        Ok(proof)
    }

    /// Reads the line.
    ///
    /// # Errors
    /// `log_refused`, and the codes of JSON.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let value = Value::parse(line)?;
        let mut m = Members::of(&value)?;
        let index = m.required("index")?.as_int().and_then(|n| u64::try_from(n).ok());
        let proof = Self {
            key: NoteKey::parse(m.text("key")?)?,
            checkpoint: Checkpoint::parse(m.text("checkpoint")?)?,
            index: index.ok_or_else(|| refused("index"))?,
            inclusion: hashes(m.array("inclusion")?)?,
            consistency: hashes(m.array("consistency")?)?,
        };
        m.finish()?;
        Ok(proof)
    }

    /// The line, without line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let text = |text: &dyn fmt::Display| Value::String(text.to_string());
        // An index is below 2^53.
        let index = i64::try_from(self.index).unwrap_or_default();
        let members = [
            ("checkpoint", text(&self.checkpoint.note)),
            ("consistency", array(&self.consistency)),
            ("inclusion", array(&self.inclusion)),
            ("index", Value::Int(index)),
            ("key", text(&self.key)),
        ];
        Value::object(members).to_canonical()
    }
}

/// Reads a consistency proof by itself: a JSON array of hashes in base64.
///
/// # Errors
/// `log_refused`, and the codes of JSON.
pub fn parse_consistency(json: &[u8]) -> Result<Vec<Hash>> {
    hashes(Value::parse(json)?.as_array().ok_or_else(|| refused("consistency"))?)
}

/// A consistency proof by itself.
#[must_use]
pub fn consistency_json(proof: &[Hash]) -> String {
    array(proof).to_canonical()
}

fn hashes(values: &[Value]) -> Result<Vec<Hash>> {
    let mut hashes = Vec::new();
    for value in values {
        hashes.push(unbase64(value.as_str().unwrap_or_default())?);
    }
    Ok(hashes)
}

/// Hashes as C2SP's texts have them.
#[must_use]
pub fn to_base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn array(hashes: &[Hash]) -> Value {
    Value::Array(to_base64(hashes).into_iter().map(Value::String).collect())
}

/// A sigchain server as it is configured: its URL, and after a `#` its log's key, if the user
/// knows it. Without it the first key that is seen is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigServer {
    /// The base URL, without slash at the end.
    pub url: String,
    /// The log's key.
    pub key: Option<NoteKey>,
}

impl SigServer {
    /// Reads it.
    ///
    /// # Errors
    /// `log_refused` for a key that is none.
    ///
    /// ```
    /// use kez_core::log::SigServer;
    /// assert_eq!(SigServer::parse("https://sig.example/")?.url, "https://sig.example");
    /// assert!(SigServer::parse("https://sig.example#key").is_err());
    /// # Ok::<(), kez_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let (url, key) = match text.split_once('#') {
            Some((url, key)) => (url, Some(NoteKey::parse(key)?)),
            None => (text, None),
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key })
    }

    /// Under what name its log is remembered.
    fn memory_name(&self) -> String {
        format!("log:{}", self.url)
    }

    /// What is remembered of its log.
    pub(crate) fn seen(&self, memory: &dyn Memory) -> Option<Seen> {
        Seen::parse(&memory.recall(&self.memory_name())?)
    }
}

/// A proof that a log grew from one size to another.
pub(crate) struct Growth {
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) proof: Vec<Hash>,
}

/// A server's answer, to be believed or not.
pub(crate) struct Answered<'a> {
    pub(crate) server: &'a SigServer,
    pub(crate) witnesses: &'a [NoteKey],
    pub(crate) chain: &'a Identity,
    pub(crate) bundle: &'a [u8],
    /// The proof line.
    pub(crate) line: Option<&'a [u8]>,
    /// How much of the log had been seen when this was asked for. A kept answer was asked for when
    /// something else had been seen.
    pub(crate) size: Option<u64>,
}

impl Answered<'_> {
    /// Whether the server's log proves the bundle's head and is the log that was seen before, which
    /// is then remembered. Where that takes a proof that is not at hand, the sizes that it is
    /// wanted for.
    pub(crate) fn believe(
        &self,
        memory: &dyn Memory,
        growth: Option<Growth>,
    ) -> Result<Option<(u64, u64)>> {
        let seen = self.server.seen(memory);
        let key = self.server.key.as_ref().or(seen.as_ref().map(|seen| &seen.key));
        let Some(line) = self.line else {
            let why = "no proof";
            return key.map_or(Ok(None), |_| Err(refused(why)));
        };
        // A bundle that is none is refused elsewhere.
        let Some(head) = Chain::last(self.bundle) else { return Ok(None) };
        let proof = Proof::verified(line, key, self.witnesses, self.chain, head)?;
        let checkpoint = proof.checkpoint;
        let growth = growth.unwrap_or(Growth {
            old: self.size.unwrap_or_default(),
            new: checkpoint.size,
            proof: proof.consistency,
        });
        if let Some(seen) = &seen {
            if self.size.is_none() && seen.knows(&checkpoint) {
                return Ok(None);
            }
            let (old, new) = if seen.checkpoint.size <= checkpoint.size {
                (&seen.checkpoint, &checkpoint)
            } else {
                (&checkpoint, &seen.checkpoint)
            };
            if old.size == new.size {
                new.extends(old, &[])?;
            } else if (old.size, new.size) == (growth.old, growth.new) {
                new.extends(old, &growth.proof)?;
            } else {
                return Ok(Some((old.size, new.size)));
            }
        }
        let seen = Seen::with(seen, proof.key, checkpoint);
        memory.remember(&self.server.memory_name(), &seen.to_text());
        Ok(None)
    }
}

/// How many checkpoints are remembered beside the largest.
const MAX_BELIEVED: usize = 64;

/// What is remembered of a log: its key, the largest checkpoint, and others that were found to be
/// of the same log, so that a kept answer is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) key: NoteKey,
    pub(crate) checkpoint: Checkpoint,
    /// Sizes and roots.
    believed: Vec<String>,
}

impl Seen {
    /// In a line each: the key, what is believed, and after an empty line the note.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = core::str::from_utf8(bytes).ok()?;
        let mut line = || {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            Some(line)
        };
        let key = NoteKey::parse(line()?).ok()?;
        let mut believed = Vec::new();
        loop {
            match line()? {
                "" => break,
                known => believed.push(known.to_owned()),
            }
        }
        Some(Self { key, believed, checkpoint: Checkpoint::parse(rest).ok()? })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = self.key.to_string();
        for line in &self.believed {
            text.push('\n');
            text.push_str(line);
        }
        text + "\n\n" + &self.checkpoint.note
    }

    /// Whether this checkpoint was found to be of the log before.
    pub(crate) fn knows(&self, checkpoint: &Checkpoint) -> bool {
        self.believed.contains(&brief(checkpoint))
    }

    /// What is remembered once a checkpoint was found to be of the same log.
    pub(crate) fn with(before: Option<Self>, key: NoteKey, checkpoint: Checkpoint) -> Self {
        let line = brief(&checkpoint);
        let Some(mut seen) = before else {
            return Self { key, checkpoint, believed: alloc::vec![line] };
        };
        if !seen.believed.contains(&line) {
            if seen.believed.len() >= MAX_BELIEVED {
                seen.believed.remove(0);
            }
            seen.believed.push(line);
        }
        if seen.checkpoint.size < checkpoint.size {
            seen.checkpoint = checkpoint;
        }
        seen
    }
}

fn brief(checkpoint: &Checkpoint) -> String {
    format!("{} {}", checkpoint.size, hex::encode(&checkpoint.root))
}
