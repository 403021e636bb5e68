//! Sigchain events: one signed step in an identity's history (SPEC.md, "Sigchain").

use crate::{
    Code, Envelope, Error, Identity, Key, ObjectId, Result, Timestamp,
    claim::{check_account, check_text, check_url, seq_number},
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

/// The largest event in bytes.
pub const MAX_EVENT: usize = 16 * 1024;

/// Why something is revoked or a key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Reason {
    /// Something newer takes its place.
    Superseded,
    /// It is no longer used.
    Retired,
    /// Somebody else got hold of it.
    Compromised,
}

impl Reason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }

    /// From the name on the wire.
    ///
    /// # Errors
    /// `reason_unknown`.
    pub fn from_name(name: &str) -> Result<Self> {
        [Self::Superseded, Self::Retired, Self::Compromised]
            .into_iter()
            .find(|r| r.as_str() == name)
            .ok_or_else(|| Error::about(Code::ReasonUnknown, name))
    }
}

/// What a `revoke` ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One claim.
    Claim(ObjectId),
    /// Every claim of this subject up to the event.
    Subject(Identity),
}

/// What an event does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Lists a claim.
    Add {
        /// The claimed account.
        subject: Identity,
        /// The claim's id.
        claim: ObjectId,
        /// The platform's stable account id.
        account: Option<String>,
        /// Where the proof was published.
        url: Option<String>,
    },
    /// Ends one claim, or all of a subject.
    Revoke {
        /// What ends.
        target: Target,
        /// Why.
        reason: Reason,
        /// In the owner's words.
        text: Option<String>,
    },
    /// Replaces the chain's current key.
    Rotate {
        /// The new key.
        to: Key,
        /// Why.
        reason: Reason,
        /// From this seq on, what the old key signed is void.
        compromised_since: Option<u64>,
    },
    /// Adds a device key.
    AddDevice {
        /// The device's Ed25519 key.
        device: Key,
        /// What it may do, e.g. `chat/1`.
        caps: Vec<String>,
        /// Until when.
        not_after: Option<Timestamp>,
        /// A public name.
        name: Option<String>,
    },
    /// Ends a device for good.
    RevokeDevice {
        /// The device's key.
        device: Identity,
        /// Why.
        reason: Reason,
    },
    /// An operation of a later version, with its name.
    Unknown(String),
}

impl Op {
    /// The name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Add { .. } => "add",
            Self::Revoke { .. } => "revoke",
            Self::Rotate { .. } => "rotate",
            Self::AddDevice { .. } => "add_device",
            Self::RevokeDevice { .. } => "revoke_device",
            Self::Unknown(name) => name,
        }
    }

    /// From the JSON object that stands in events.
    ///
    /// # Errors
    /// What an event with it is refused for; `op_unknown` for one of a later version.
    ///
    /// ```
    /// let op = kez_core::Op::from_json(br#"{"type":"revoke","subject":"github:jason","reason":"retired"}"#);
    /// assert_eq!(op.unwrap().name(), "revoke");
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Self> {
        match Self::from_value(&Value::parse(json)?)? {
            Self::Unknown(name) => Err(Error::about(Code::OpUnknown, name)),
            op => Ok(op),
        }
    }

    fn from_value(value: &Value) -> Result<Self> {
        let mut m = Members::of(value)?;
        let name = m.text("type")?;
        let reason = |m: &mut Members<'_>| Reason::from_name(m.text("reason")?);
        let op = match name {
            "add" => {
                let subject = Identity::from_canonical(m.text("subject")?)?;
                let claim = ObjectId::parse(m.text("claim")?)?;
                let account = m.optional_text("account")?;
                account.map(check_account).transpose()?;
                let url = m.optional_text("url")?;
                url.map(check_url).transpose()?;
                Self::Add {
                    subject,
                    claim,
                    account: account.map(ToOwned::to_owned),
                    url: url.map(ToOwned::to_owned),
                }
            }
            "revoke" => {
                let target = match (m.optional_text("claim")?, m.optional_text("subject")?) {
                    (Some(id), None) => Target::Claim(ObjectId::parse(id)?),
                    (None, Some(subject)) => Target::Subject(Identity::from_canonical(subject)?),
                    _ => return Err(Code::RevokeTarget.into()),
                };
                let reason = reason(&mut m)?;
                let text = m.optional_text("text")?;
                text.map(|t| check_text(t, "text")).transpose()?;
                Self::Revoke { target, reason, text: text.map(ToOwned::to_owned) }
            }
            "rotate" => {
                let to = Key::from_text(m.text("to")?)?;
                let reason = reason(&mut m)?;
                let since = m.optional_int("compromised_since")?;
                let compromised_since =
                    since.map(|n| seq_number(Some(n), "compromised_since")).transpose()?;
                if compromised_since.is_some() && reason != Reason::Compromised {
                    return Err(Error::about(Code::CompromiseRefused, "the reason says otherwise"));
                }
                Self::Rotate { to, reason, compromised_since }
            }
            "add_device" => {
                let device = device_key(m.text("device")?)?;
                let caps =
                    m.optional_array("caps")?.map(read_caps).transpose()?.unwrap_or_default();
                let not_after = m.optional_text("not_after")?.map(|t| t.parse()).transpose()?;
                let name = m.optional_text("name")?;
                name.map(|t| check_text(t, "name")).transpose()?;
                let name = name.map(ToOwned::to_owned);
                Self::AddDevice { device, caps, not_after, name }
            }
            "revoke_device" => {
                let device = device_key(m.text("device")?)?.identity().clone();
                Self::RevokeDevice { device, reason: reason(&mut m)? }
            }
            _ => return Ok(Self::Unknown(name.to_owned())),
        };
        m.finish()?;
        Ok(op)
    }

    fn to_value(&self) -> Value {
        let mut m: Vec<(&str, Value)> = alloc::vec![("type", self.name().into())];
        let text = |s: &String| Value::String(s.clone());
        match self {
            Self::Add { subject, claim, account, url } => {
                m.push(("subject", subject.as_str().into()));
                m.push(("claim", Value::String(claim.to_string())));
                m.extend(account.as_ref().map(|a| ("account", text(a))));
                m.extend(url.as_ref().map(|u| ("url", text(u))));
            }
            Self::Revoke { target, reason, text: note } => {
                m.push(match target {
                    Target::Claim(id) => ("claim", Value::String(id.to_string())),
                    Target::Subject(subject) => ("subject", subject.as_str().into()),
                });
                m.push(("reason", reason.as_str().into()));
                m.extend(note.as_ref().map(|t| ("text", text(t))));
            }
            Self::Rotate { to, reason, compromised_since } => {
                m.push(("to", to.identity().as_str().into()));
                m.push(("reason", reason.as_str().into()));
                m.extend(compromised_since.map(|n| ("compromised_since", int(n))));
            }
            Self::AddDevice { device, caps, not_after, name } => {
                m.push(("device", device.identity().as_str().into()));
                if !caps.is_empty() {
                    m.push(("caps", Value::Array(caps.iter().map(text).collect())));
                }
                m.extend(not_after.map(|t| ("not_after", Value::String(t.to_string()))));
                m.extend(name.as_ref().map(|n| ("name", text(n))));
            }
            Self::RevokeDevice { device, reason } => {
                m.push(("device", device.as_str().into()));
                m.push(("reason", reason.as_str().into()));
            }
            Self::Unknown(_) => {}
        }
        Value::object(m)
    }
}

fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(crate::json::MAX_INTEGER))
}

fn device_key(text: &str) -> Result<Key> {
    let key = Key::from_text(text)?;
    if key.identity().scheme() != crate::Scheme::Ed25519 {
        return Err(Error::about(Code::KeyRefused, "a device has an ed25519 key"));
    }
    Ok(key)
}

/// Up to 16 capabilities like `chat/1`: lower-case name, slash, version.
fn read_caps(values: &[Value]) -> Result<Vec<String>> {
    if values.is_empty() || values.len() > 16 {
        return Err(Error::about(Code::TooLarge, "caps: 1 to 16"));
    }
    let ok = |cap: &str| {
        cap.len() <= 32
            && cap.split_once('/').is_some_and(|(name, version)| {
                !name.is_empty()
                    && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                    && matches!(version.parse::<u16>(), Ok(n) if n.to_string() == version)
            })
    };
    values
        .iter()
        .map(|v| match v {
            Value::String(cap) if ok(cap) => Ok(cap.clone()),
            Value::String(cap) => Err(Error::about(Code::TextRefused, cap)),
            _ => Err(Error::about(Code::MemberType, "caps")),
        })
        .collect()
}

/// The content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The chain's genesis primary, the identity's name through every rotation.
    pub chain: Identity,
    /// The position, from 1.
    pub seq: u64,
    /// The id of the event before; none for the first.
    pub prev: Option<ObjectId>,
    /// When it was signed.
    pub created_at: Timestamp,
    /// What it does.
    pub op: Op,
    /// A commitment to the next key (see [`crate::commitment`]).
    pub next: Option<ObjectId>,
    /// Whether a reader that does not know the operation may skip it (`false`).
    pub critical: Option<bool>,
}

impl Event {
    /// An event that follows a chain's head; `head` is `None` for the first.
    #[must_use]
    pub fn new(chain: Identity, head: Option<crate::Head>, created_at: Timestamp, op: Op) -> Self {
        Self {
            chain,
            seq: head.map_or(1, |h| h.seq + 1),
            prev: head.map(|h| h.id),
            created_at,
            op,
            next: None,
            critical: None,
        }
    }

    /// The unsigned envelope.
    ///
    /// # Errors
    /// As when reading an event: nothing can be signed that others refuse.
    pub fn to_envelope(&self) -> Result<Envelope> {
        let mut m = alloc::vec![
            ("type", Value::from("event")),
            ("chain", self.chain.as_str().into()),
            ("seq", int(self.seq)),
            ("prev", self.prev.map_or(Value::Null, |id| Value::String(id.to_string()))),
            ("created_at", Value::String(self.created_at.to_string())),
            ("op", self.op.to_value()),
        ];
        m.extend(self.next.map(|id| ("next", Value::String(id.to_string()))));
        m.extend(self.critical.map(|c| ("critical", Value::Bool(c))));
        let envelope = Envelope::unsigned(Value::object(m))?;
        Self::from_payload(envelope.payload())?;
        Ok(envelope)
    }

    /// Takes the first line off a bundle: the signed object, what it says, and the line without
    /// its line feed. Signatures, and whether the event may follow a chain, are for
    /// [`crate::Chain`] to say.
    ///
    /// # Errors
    /// `line_syntax`, `too_large`, `json_*`, and the format codes of an object or event that
    /// breaks the rules.
    ///
    /// ```
    /// use kez_core::{Code, Event};
    /// let mut bundle: &[u8] = b"{}\n{}";
    /// assert_eq!(Event::take(&mut bundle).unwrap_err().code(), Code::MemberMissing);
    /// assert_eq!(Event::take(&mut bundle).unwrap_err().code(), Code::LineSyntax);
    /// ```
    pub fn take<'a>(bundle: &mut &'a [u8]) -> Result<(Envelope, Self, &'a [u8])> {
        let end = bundle.iter().position(|b| *b == b'\n').ok_or(Code::LineSyntax)?;
        let line = &bundle[..end];
        *bundle = &bundle[end + 1..];
        if line.is_empty() || line.ends_with(b"\r") {
            return Err(Code::LineSyntax.into());
        }
        let envelope = read_line(line)?;
        let event = Self::from_payload(envelope.payload())?;
        Ok((envelope, event, line))
    }

    /// Reads a payload. Whether the event may follow a chain is for [`crate::Chain`] to say.
    pub(crate) fn from_payload(payload: &Value) -> Result<Self> {
        let mut m = Members::of(payload)?;
        let kind = m.text("type")?;
        if kind != "event" {
            return Err(Error::about(Code::TypeUnknown, kind));
        }
        let chain = m.text("chain")?;
        let seq = seq_number(m.optional_int("seq")?, "seq")?;
        let prev = match m.required("prev")? {
            Value::Null => None,
            Value::String(id) => Some(ObjectId::parse(id)?),
            _ => return Err(Error::about(Code::MemberType, "prev")),
        };
        let created_at = m.text("created_at")?.parse()?;
        let op = Op::from_value(m.required("op")?)?;
        let next = m.optional_text("next")?.map(ObjectId::parse).transpose()?;
        let critical = match m.optional("critical") {
            None => None,
            Some(Value::Bool(critical)) => Some(*critical),
            Some(_) => return Err(Error::about(Code::MemberType, "critical")),
        };
        m.finish_with_ext()?;
        if !chain.starts_with("nostr:") && !chain.starts_with("ed25519:") {
            return Err(Error::about(Code::KeyExpected, "chain"));
        }
        // The chain checks its own name once, and every event's name against it.
        let chain = Identity::of_checked(chain);
        Ok(Self { chain, seq, prev, created_at, op, next, critical })
    }
}

/// Reads one chain line without its line feed, which must be canonical.
///
/// # Errors
/// `too_large`, `json_*` and those of [`Envelope::from_value`].
pub(crate) fn read_line(line: &[u8]) -> Result<Envelope> {
    if line.len() > MAX_EVENT {
        return Err(Error::about(Code::TooLarge, "an event has at most 16 KiB"));
    }
    Envelope::from_canonical(line)
}

/// The name of an identity as part of a path or file: `nostr/npub1…`, without extension.
#[must_use]
pub fn chain_path(chain: &Identity) -> String {
    chain.as_str().replacen(':', "/", 1).to_owned()
}
