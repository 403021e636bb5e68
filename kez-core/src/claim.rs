//! Claims: "this account and this key are the same person" (SPEC.md, "Claims").

use crate::{
    Code, Envelope, Error, Identity, Key, ObjectId, Result, Timestamp,
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

/// The largest claim in bytes, in any form after decompression.
pub const MAX_CLAIM: usize = 8 * 1024;
/// How many `sources` a claim may name.
pub const MAX_SOURCES: usize = 8;

/// A position on a sigchain: what a claim names as the chain's head when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Head {
    /// The sequence number, from 1.
    pub seq: u64,
    /// The id of that event.
    pub id: ObjectId,
}

impl Head {
    pub(crate) fn from_value(value: &Value) -> Result<Self> {
        let mut members = Members::of(value)?;
        let seq = seq_number(members.optional_int("seq")?, "seq")?;
        let id = ObjectId::parse(members.text("id")?)?;
        members.finish()?;
        Ok(Self { seq, id })
    }

    pub(crate) fn to_value(self) -> Value {
        #[expect(clippy::cast_possible_wrap, reason = "a seq is at most 10,000")]
        let seq = self.seq as i64;
        Value::object([("seq", Value::Int(seq)), ("id", Value::String(self.id.to_string()))])
    }
}

pub(crate) fn seq_number(n: Option<i64>, name: &str) -> Result<u64> {
    let n = n.ok_or_else(|| Error::about(Code::MemberMissing, name))?;
    u64::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| Error::about(Code::MemberType, name))
}

/// What a claim says. Build one, then sign it with [`Claim::to_envelope`].
///
/// ```
/// use kez_core::{Claim, Identity, Scheme, SecretKey, SignedClaim, Timestamp};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32]).unwrap();
/// let claim = Claim::new(
///     Identity::parse("github:jason").unwrap(),
///     key.public().identity().clone(),
///     Timestamp::from_seconds(1_795_262_400),
/// );
/// let mut envelope = claim.to_envelope().unwrap();
/// envelope.sign(&key, &[0; 32]).unwrap();
/// let signed = SignedClaim::verify(envelope).unwrap();
/// assert_eq!(signed.claim().subject.as_str(), "github:jason");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The account, domain or key that is claimed.
    pub subject: Identity,
    /// The key that names the claiming identity: its chain's genesis key.
    pub primary: Identity,
    /// When the claim was made.
    pub created_at: Timestamp,
    /// From when on the claim proves nothing.
    pub expires_at: Option<Timestamp>,
    /// The platform's own stable id of the account, 1 to 512 printable ASCII characters.
    pub account: Option<String>,
    /// The sigchain's head when the claim was made.
    pub head: Option<Head>,
    /// Up to 8 https or wss URLs where the chain is served.
    pub sources: Vec<String>,
    /// A signed object that KEZ itself ignores.
    pub ext: Option<Value>,
}

impl Claim {
    /// A claim with the required members only.
    #[must_use]
    pub const fn new(subject: Identity, primary: Identity, created_at: Timestamp) -> Self {
        Self {
            subject,
            primary,
            created_at,
            expires_at: None,
            account: None,
            head: None,
            sources: Vec::new(),
            ext: None,
        }
    }

    /// From the JSON of a payload, as it stands in signed claims.
    ///
    /// # Errors
    /// What a claim with it is refused for.
    pub fn from_payload(json: &[u8]) -> Result<Self> {
        Ok(Self::read(&Value::parse(json)?)?.0)
    }

    /// The unsigned envelope. It is checked by the rules that a reader applies, so that nothing
    /// can be signed that others refuse.
    ///
    /// # Errors
    /// As [`SignedClaim::verify`], without those of signatures.
    pub fn to_envelope(&self) -> Result<Envelope> {
        let time = |t: Timestamp| Value::String(t.to_string());
        let mut members = alloc::vec![
            ("type", Value::from("claim")),
            ("subject", self.subject.as_str().into()),
            ("primary", self.primary.as_str().into()),
            ("created_at", time(self.created_at)),
        ];
        members.extend(self.expires_at.map(|t| ("expires_at", time(t))));
        members.extend(self.account.as_deref().map(|a| ("account", a.into())));
        members.extend(self.head.map(|h| ("head", h.to_value())));
        if !self.sources.is_empty() {
            let urls = self.sources.iter().map(|s| Value::from(&**s));
            members.push(("sources", Value::Array(urls.collect())));
        }
        members.extend(self.ext.clone().map(|e| ("ext", e)));
        let envelope = Envelope::unsigned(Value::object(members))?;
        Self::read(envelope.payload())?;
        Ok(envelope)
    }

    /// Reads a payload. Gives the primary's decoded key too, which most claims are signed with.
    fn read(payload: &Value) -> Result<(Self, Key)> {
        let ext = payload.get("ext").cloned();
        let mut members = Members::of(payload)?;
        let kind = members.text("type")?;
        if kind != "claim" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let subject = Identity::from_canonical(members.text("subject")?)?;
        let key = Key::from_text(members.text("primary")?)?;
        let primary = key.identity().clone();
        let created_at: Timestamp = members.text("created_at")?.parse()?;
        let expires_at: Option<Timestamp> =
            members.optional_text("expires_at")?.map(|t| t.parse()).transpose()?;
        if expires_at.is_some_and(|t| t <= created_at) {
            return Err(Code::ExpiryRefused.into());
        }
        let account = members.optional_text("account")?;
        account.map(check_account).transpose()?;
        let account = account.map(ToOwned::to_owned);
        let head = members.optional("head").map(Head::from_value).transpose()?;
        let mut sources = Vec::new();
        if let Some(urls) = members.optional_array("sources")? {
            if urls.is_empty() || urls.len() > MAX_SOURCES {
                return Err(Error::about(Code::TooLarge, "sources: 1 to 8 URLs"));
            }
            for url in urls {
                let url = url.as_str().ok_or_else(|| Error::about(Code::MemberType, "sources"))?;
                check_url(url)?;
                sources.push(url.to_owned());
            }
        }
        members.finish_with_ext()?;
        let claim = Self { subject, primary, created_at, expires_at, account, head, sources, ext };
        Ok((claim, key))
    }
}

/// The platform's stable id: 1 to 512 printable ASCII characters without spaces.
pub(crate) fn check_account(text: &str) -> Result<()> {
    let ok = (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if ok { Ok(()) } else { Err(Error::about(Code::TextRefused, "account")) }
}

/// Free text that people see: 1 to 128 characters, no control or bidirectional ones.
pub(crate) fn check_text(text: &str, name: &str) -> Result<()> {
    let bad = |c: char| c.is_control() || crate::identity::domain::is_bidi(c);
    if text.is_empty() || text.chars().count() > 128 || text.chars().any(bad) {
        return Err(Error::about(Code::TextRefused, name));
    }
    Ok(())
}

/// A URL in the spelling of signed objects.
pub(crate) fn check_url(text: &str) -> Result<()> {
    let refused = || Error::about(Code::UrlRefused, text);
    crate::url::strict_host(text).map(drop).ok_or_else(refused)
}

/// A claim whose one signature verifies. Whether its signer speaks for the primary, and whether
/// it still holds, is for [`crate::judge`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedClaim {
    claim: Claim,
    signer: Key,
    envelope: Envelope,
}

impl SignedClaim {
    /// Checks payload and signature.
    ///
    /// # Errors
    /// Format codes for a payload that breaks the rules; `signature_set` unless there is exactly
    /// one signature; `key_refused`, `suite_mismatch`, `signature_bad`.
    pub fn verify(envelope: Envelope) -> Result<Self> {
        let (claim, primary) = Claim::read(envelope.payload())?;
        let [sig] = envelope.signatures() else {
            return Err(Error::about(Code::SignatureSet, "a claim has one signature"));
        };
        let own = sig.key == claim.primary.as_str();
        let signer = if own { primary } else { Key::from_text(&sig.key)? };
        envelope.verify(&[&signer])?;
        Ok(Self { claim, signer, envelope })
    }

    /// What the claim says.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The key that signed: the primary, or one that stands for it on its chain.
    #[must_use]
    pub const fn signer(&self) -> &Key {
        &self.signer
    }

    /// The claim's id.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.envelope.id()
    }

    /// The signed object.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}
