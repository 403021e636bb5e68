//! The one shape of everything that is signed (SPEC.md, "Signed objects").

use crate::{
    Code, Error, Key, NostrEvent, ObjectId, Result, SecretKey, Suite, Timestamp, hex,
    json::{Members, Value},
};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

/// The kind of the nostr event that the `nostr-event` suite signs, and of the events that carry
/// proofs and chain lines: an addressable kind (NIP-01) that no NIP assigns.
pub const NOSTR_KIND: u16 = 30_539;

/// A payload with its id and signatures. Signatures are checked only by the typed objects
/// ([`crate::SignedClaim`], [`crate::Chain`]), which know who must have signed.
///
/// A signer that signs nothing but nostr events (NIP-07, NIP-46) signs the derived one:
///
/// ```
/// use kez_core::{Claim, Identity, Scheme, SecretKey, SignedClaim, Suite, Timestamp, hex, json::Value};
/// let key = SecretKey::from_bytes(Scheme::Nostr, [7; 32])?;
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let subject = Identity::parse("github:jason")?;
/// let mut claim = Claim::new(subject, key.public().identity().clone(), now).to_envelope()?;
/// // What `window.nostr.signEvent` would give back:
/// let event = key.sign_nostr_event(&claim.nostr_event()?, &[0; 32])?;
/// let event = Value::parse_foreign(event.as_bytes())?;
/// let sig = event.get("sig").and_then(Value::as_str).and_then(hex::decode).expect("64 bytes");
/// claim.attach(key.public(), Suite::NostrEvent, sig);
/// assert!(SignedClaim::verify(claim).is_ok());
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    kind: String,
    payload: Value,
    id: ObjectId,
    sigs: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The canonical key identity, as it stands in the envelope.
    pub key: String,
    /// How it was made.
    pub suite: Suite,
    /// The 64 bytes.
    pub bytes: [u8; 64],
}

impl Envelope {
    /// Wraps a payload that nobody has signed yet.
    ///
    /// # Errors
    /// `member_missing` or `member_type` if the payload is no object with a text `type`.
    pub fn unsigned(payload: Value) -> Result<Self> {
        let kind = kind_of(&payload)?;
        let id = ObjectId::digest(&kind, payload.to_canonical().as_bytes());
        Ok(Self { kind, payload, id, sigs: Vec::new() })
    }

    /// Reads an envelope from parsed JSON.
    ///
    /// # Errors
    /// `member_*`, `version_unknown`, `signature_syntax`, `signature_set`, `suite_mismatch`.
    pub fn from_value(value: Value) -> Result<Self> {
        let sigs = Self::check(&value)?;
        let mut envelope = Self::unsigned(take_payload(value)?)?;
        envelope.sigs = sigs;
        Ok(envelope)
    }

    /// Reads a canonical envelope. Its id is the hash of the payload's own bytes.
    pub(crate) fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let value = Value::parse_canonical(bytes)?;
        let sigs = Self::check(&value)?;
        let payload = take_payload(value)?;
        // The members are kez, payload and sigs, in that order. Inside sigs there are objects of
        // texts only, whose quotes are escaped, so the last occurrence is the member's name.
        let (start, mark) = (br#"{"kez":1,"payload":"#.len(), br#","sigs":["#);
        let end = bytes.windows(mark.len()).rposition(|w| w == mark);
        let span = end.and_then(|end| bytes.get(start..end)).ok_or(Code::JsonNotCanonical)?;
        let kind = kind_of(&payload)?;
        let id = ObjectId::digest(&kind, span);
        Ok(Self { kind, payload, id, sigs })
    }

    /// Checks an envelope's members and reads its signatures.
    fn check(value: &Value) -> Result<Vec<Signature>> {
        let mut members = Members::of(value)?;
        match members.required("kez")? {
            Value::Int(1) => {}
            Value::Int(n) => return Err(Error::about(Code::VersionUnknown, n)),
            _ => return Err(Error::about(Code::MemberType, "kez")),
        }
        kind_of(members.required("payload")?)?;
        let sigs = members.array("sigs")?;
        members.finish()?;
        if sigs.is_empty() || sigs.len() > 2 {
            return Err(Error::about(
                Code::SignatureSet,
                format_args!("{} signatures", sigs.len()),
            ));
        }
        let read = |sig| {
            let mut members = Members::of(sig)?;
            let key = members.text("key")?.to_owned();
            let suite = Suite::from_name(members.text("suite")?)?;
            let bytes = hex::decode(members.text("sig")?).ok_or(Code::SignatureSyntax)?;
            members.finish()?;
            Ok(Signature { key, suite, bytes })
        };
        sigs.iter().map(read).collect()
    }

    /// The payload's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The object's id: the digest that is signed.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &Value {
        &self.payload
    }

    /// The signatures, in order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.sigs
    }

    /// Adds a signature with a key at hand. `aux`: see BIP-340; 32 fresh random bytes, or zeros.
    ///
    /// # Errors
    /// Those of the signing key.
    pub fn sign(&mut self, key: &SecretKey, aux: &[u8; 32]) -> Result<()> {
        let (suite, bytes) = key.sign(self.id.as_bytes(), aux)?;
        self.attach(key.public(), suite, bytes);
        Ok(())
    }

    /// Adds a signature that was made elsewhere: by an extension, a bunker, a hardware key.
    pub fn attach(&mut self, key: &Key, suite: Suite, bytes: [u8; 64]) {
        self.sigs.push(Signature { key: key.identity().as_str().to_owned(), suite, bytes });
    }

    /// The one nostr event that the `nostr-event` suite signs for this payload.
    ///
    /// # Errors
    /// `member_missing` or `time_refused` if the payload has no proper `created_at`.
    pub fn nostr_event(&self) -> Result<NostrEvent> {
        let created_at: Timestamp = match self.payload.get("created_at") {
            Some(Value::String(text)) => text.parse()?,
            _ => return Err(Error::about(Code::MemberMissing, "created_at")),
        };
        Ok(NostrEvent {
            created_at: created_at.seconds(),
            kind: NOSTR_KIND,
            tags: vec![vec!["d".to_owned(), format!("kez:{}", self.id)]],
            content: self.payload.to_canonical(),
        })
    }

    /// The 32 bytes that a key signs by a suite: the id, or the nostr event's id.
    pub(crate) fn message(&self, key: &Key, suite: Suite) -> Result<[u8; 32]> {
        match suite {
            Suite::Ed25519 | Suite::Bip340 => Ok(*self.id.as_bytes()),
            Suite::NostrEvent => Ok(self.nostr_event()?.id(key)),
        }
    }

    /// Checks that exactly these keys have signed, in this order, and verifies each.
    pub(crate) fn verify(&self, keys: &[&Key]) -> Result<()> {
        self.check_set(keys)?;
        for (sig, key) in self.sigs.iter().zip(keys) {
            key.verify(sig.suite, &self.message(key, sig.suite)?, &sig.bytes)?;
        }
        Ok(())
    }

    pub(crate) fn check_set(&self, keys: &[&Key]) -> Result<()> {
        let same = self.sigs.len() == keys.len()
            && self.sigs.iter().zip(keys).all(|(sig, key)| sig.key == key.identity().as_str());
        if same {
            return Ok(());
        }
        let wanted: Vec<&str> = keys.iter().map(|k| k.identity().as_str()).collect();
        Err(Error::about(Code::SignatureSet, format_args!("wanted: {}", wanted.join(", "))))
    }

    /// As JSON value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let sigs = self.sigs.iter().map(|sig| {
            Value::object([
                ("key", Value::String(sig.key.clone())),
                ("sig", Value::String(hex::encode(&sig.bytes))),
                ("suite", sig.suite.as_str().into()),
            ])
        });
        Value::object([
            ("kez", Value::Int(1)),
            ("payload", self.payload.clone()),
            ("sigs", Value::Array(sigs.collect())),
        ])
    }

    /// The canonical JSON (JCS) of the whole envelope.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        self.to_value().to_canonical()
    }
}

fn kind_of(payload: &Value) -> Result<String> {
    if !matches!(payload, Value::Object(_)) {
        return Err(Error::about(Code::MemberType, "payload"));
    }
    match payload.get("type") {
        Some(Value::String(kind)) => Ok(kind.clone()),
        Some(_) => Err(Error::about(Code::MemberType, "type")),
        None => Err(Error::about(Code::MemberMissing, "type")),
    }
}

fn take_payload(value: Value) -> Result<Value> {
    let members = match value {
        Value::Object(members) => members,
        _ => Vec::new(),
    };
    let payload = members.into_iter().find(|m| m.0 == "payload");
    payload.map(|m| m.1).ok_or_else(|| Error::about(Code::MemberMissing, "payload"))
}
