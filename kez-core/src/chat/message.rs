//! What stands inside a message's ciphertext (SPEC.md, "Messages").

use crate::{
    Code, Error, Head, Result, Timestamp, hex,
    json::{Members, Value},
};
use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec,
};
use core::fmt;

/// The largest text of a message in bytes.
pub const MAX_TEXT: usize = 16 * 1024;
/// The largest plaintext of a message that is written, in bytes. With padding (an eighth at most) and
/// what MLS adds, it fits into the body of an entry.
const MAX_PLAINTEXT: usize = 48 * 1024;

/// A message's name: 16 random bytes of its author, 32 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// From 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From 32 lower-case hex digits.
    ///
    /// # Errors
    /// `id_refused`.
    pub fn parse(text: &str) -> Result<Self> {
        hex::decode(text).map(Self).ok_or_else(|| Error::about(Code::IdRefused, text))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A text, 1 byte to 16 KiB.
    Text(String),
    /// Its author leaves the group, with all devices.
    Leave,
    /// A kind of a later version, with its name; to be shown as such.
    Unknown(String),
}

/// A message before encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// When its author wrote it, by the author's clock.
    pub at: Timestamp,
    /// The author's count of messages in this conversation by this device, from 1: what is
    /// missing shows.
    pub count: u64,
    /// What it says.
    pub body: Body,
    /// The head of the author's sigchain: who is shown another chain by some server finds out.
    pub head: Option<Head>,
}

impl Message {
    /// The plaintext: canonical JSON.
    ///
    /// # Errors
    /// `text_refused`, `too_large`, as [`Message::read`].
    pub fn to_plaintext(&self) -> Result<String> {
        let count = i64::try_from(self.count).unwrap_or(crate::json::MAX_INTEGER);
        let mut members = vec![
            ("id", Value::String(self.id.to_string())),
            ("at", Value::String(self.at.to_string())),
            ("count", Value::Int(count)),
        ];
        match &self.body {
            Body::Text(text) => {
                members.push(("type", "text".into()));
                members.push(("text", text.as_str().into()));
            }
            Body::Leave => members.push(("type", "leave".into())),
            Body::Unknown(name) => return Err(Error::about(Code::TypeUnknown, name)),
        }
        members.extend(self.head.map(|head| ("head", head.to_value())));
        let text = Value::object(members).to_canonical();
        Self::read(text.as_bytes())?;
        if text.len() > MAX_PLAINTEXT {
            let why = "the text has too many characters that JSON escapes";
            return Err(Error::about(Code::TooLarge, why));
        }
        Ok(text)
    }

    /// Reads a plaintext. Members of later versions are passed over in messages of unknown types
    /// alone.
    ///
    /// # Errors
    /// `json_*`, `member_*`, `time_refused`, `id_refused`, `text_refused`, `too_large`.
    pub fn read(plaintext: &[u8]) -> Result<Self> {
        let value = Value::parse_canonical(plaintext)?;
        let mut m = Members::of(&value)?;
        let id = MessageId::parse(m.text("id")?)?;
        let at = m.text("at")?.parse()?;
        let count = crate::claim::seq_number(m.optional_int("count")?, "count")?;
        let head = m.optional("head").map(Head::from_value).transpose()?;
        let body = match m.text("type")? {
            "text" => {
                let text = m.text("text")?;
                m.finish_with_ext()?;
                if text.is_empty() {
                    return Err(Error::about(Code::TextRefused, "text"));
                }
                if text.len() > MAX_TEXT {
                    return Err(Error::about(Code::TooLarge, "a text has at most 16 KiB"));
                }
                Body::Text(text.to_owned())
            }
            "leave" => {
                m.finish_with_ext()?;
                Body::Leave
            }
            other => Body::Unknown(other.to_owned()),
        };
        Ok(Self { id, at, count, body, head })
    }
}
