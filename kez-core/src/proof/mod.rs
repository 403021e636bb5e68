//! The encodings of a proof, and finding proofs in what platforms show
//! (SPEC.md, "Encodings").

mod find;
pub(crate) mod zstd;

pub use find::{Found, MAX_CANDIDATES, MAX_PROOFS, Search, find};

use crate::{
    Code, Envelope, Error, Identity, Key, Result, SignedClaim, claim::MAX_CLAIM, json::Value,
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The largest compact text in bytes.
pub const MAX_COMPACT: usize = 12 * 1024;
/// The prefix of the compact form.
pub const COMPACT_PREFIX: &str = "kez:z1:";

/// In which form a proof was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub enum Encoding {
    /// The envelope as JSON.
    Json,
    /// `kez:z1:…`
    Compact,
    /// A Markdown fence around JSON.
    Markdown,
    /// `kez:` and a key: "look for me on that key's sigchain".
    Pointer,
}

/// A proof as it was found in a text.
#[expect(clippy::large_enum_variant, reason = "a few live at a time")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A signed claim.
    Claim(SignedClaim),
    /// A pointer to the sigchain of this primary.
    Pointer(Identity),
}

impl Proof {
    /// The identity that the proof names as its owner.
    #[must_use]
    pub const fn primary(&self) -> &Identity {
        match self {
            Self::Claim(signed) => &signed.claim().primary,
            Self::Pointer(primary) => primary,
        }
    }

    /// The account that the proof itself names; a pointer names none.
    #[must_use]
    pub const fn subject(&self) -> Option<&Identity> {
        match self {
            Self::Claim(signed) => Some(&signed.claim().subject),
            Self::Pointer(_) => None,
        }
    }
}

/// A form in which a claim can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The envelope as canonical JSON.
    Json,
    /// `kez:z1:…`
    Compact,
    /// A sentence for people and a fence around the compact form.
    Markdown,
    /// A zone-file line; the character-strings alone where the subject is no domain.
    Dns,
    /// `kez:` and the primary.
    Pointer,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 5] =
        [Self::Json, Self::Compact, Self::Markdown, Self::Dns, Self::Pointer];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Compact => "compact",
            Self::Markdown => "markdown",
            Self::Dns => "dns",
            Self::Pointer => "pointer",
        }
    }

    /// The form of that name.
    ///
    /// # Errors
    /// `usage`.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|form| form.as_str() == name);
        found.ok_or_else(|| Error::about(Code::Usage, format!("there is no form {name}")))
    }
}

/// Writes a claim in a form.
///
/// ```
/// use kez_core::{Claim, Identity, Scheme, SecretKey, SignedClaim, Timestamp, proof, proof::Form};
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32])?;
/// let subject = Identity::parse("example.com")?;
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let mut claim = Claim::new(subject, key.public().identity().clone(), now).to_envelope()?;
/// claim.sign(&key, &[0; 32])?;
/// let signed = SignedClaim::verify(claim)?;
/// assert!(proof::write(&signed, Form::Dns).starts_with("_kez.example.com. 300 IN TXT \"kez:z1:"));
/// # Ok::<(), kez_core::Error>(())
/// ```
#[must_use]
pub fn write(signed: &SignedClaim, form: Form) -> String {
    let compact = || to_compact(signed.envelope());
    match form {
        Form::Json => signed.envelope().to_canonical(),
        Form::Compact => compact(),
        Form::Markdown => to_markdown(signed),
        Form::Dns => match signed.claim().subject.scheme() {
            "dns" => to_zone_line(signed.claim().subject.value(), &compact()),
            // For other subjects only the character-strings make sense.
            _ => to_txt_strings(&compact()).iter().map(|s| format!("\"{s}\" ")).collect(),
        },
        Form::Pointer => to_pointer(&signed.claim().primary),
    }
}

/// Reads a claim from JSON with any whitespace.
///
/// # Errors
/// `too_large`, `json_*` and those of [`SignedClaim::verify`].
pub fn from_json(text: &[u8]) -> Result<SignedClaim> {
    if text.len() > MAX_CLAIM {
        return Err(Error::about(Code::TooLarge, "a claim has at most 8 KiB"));
    }
    SignedClaim::verify(Envelope::from_value(Value::parse(text)?)?)
}

/// Reads a claim from its compact form.
///
/// # Errors
/// `compact_syntax`, `zstd_refused`, `too_large`, `json_not_canonical` and those of
/// [`SignedClaim::verify`].
///
/// ```
/// use kez_core::{proof, Code};
/// assert_eq!(proof::from_compact("kez:z1:Zh").unwrap_err().code(), Code::CompactSyntax);
/// ```
pub fn from_compact(text: &str) -> Result<SignedClaim> {
    if text.len() > MAX_COMPACT {
        return Err(Error::about(Code::TooLarge, "a compact claim has at most 12 KiB"));
    }
    let data = text.strip_prefix(COMPACT_PREFIX).ok_or(Code::CompactSyntax)?;
    let frame = URL_SAFE_NO_PAD.decode(data).map_err(|_| Code::CompactSyntax)?;
    let json = zstd::decompress(&frame, MAX_CLAIM)?;
    SignedClaim::verify(Envelope::from_canonical(&json)?)
}

/// Reads a pointer, `kez:` and a canonical key identity.
///
/// # Errors
/// `pointer_syntax`.
pub fn from_pointer(text: &str) -> Result<Identity> {
    let key = text.strip_prefix("kez:").ok_or(Code::PointerSyntax)?;
    match Key::from_text(key) {
        Ok(key) => Ok(key.identity().clone()),
        Err(_) => Err(Error::about(Code::PointerSyntax, text)),
    }
}

/// The compact form of an envelope.
#[must_use]
pub fn to_compact(envelope: &Envelope) -> String {
    let frame = zstd::compress(envelope.to_canonical().as_bytes());
    format!("{COMPACT_PREFIX}{}", URL_SAFE_NO_PAD.encode(frame))
}

/// The Markdown form: a sentence for people, then a fence around the compact form.
#[must_use]
pub fn to_markdown(signed: &SignedClaim) -> String {
    let claim = signed.claim();
    format!(
        "I claim that `{}` is mine. My key is `{}`.\n\n```kez\n{}\n```\n",
        claim.subject,
        claim.primary,
        to_compact(signed.envelope())
    )
}

/// The character-strings of a TXT record: the compact form in pieces of at most 255 bytes.
#[must_use]
pub fn to_txt_strings(compact: &str) -> Vec<&str> {
    let mut rest = compact;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        // The compact form is ASCII, so any place is a boundary.
        let (head, tail) = rest.split_at(rest.len().min(255));
        parts.push(head);
        rest = tail;
    }
    parts
}

/// A zone-file line for `_kez.<domain>`.
#[must_use]
pub fn to_zone_line(domain: &str, compact: &str) -> String {
    let strings: Vec<String> =
        to_txt_strings(compact).iter().map(|part| format!("\"{part}\"")).collect();
    format!("_kez.{domain}. 300 IN TXT {}\n", strings.join(" "))
}

/// The pointer form, short enough for a profile field.
#[must_use]
pub fn to_pointer(primary: &Identity) -> String {
    format!("kez:{primary}")
}

/// Searches the text of a file or of standard input, which may also be a zone-file line.
#[must_use]
pub fn find_in_file(text: &str) -> Search {
    find(join_zone_strings(text).as_deref().unwrap_or(text))
}

/// Reads one proof from the text of a file, in any encoding.
///
/// # Errors
/// `proof_not_found` if there is none, otherwise the error of the first that does not decode,
/// unless another one does.
pub fn from_text(text: &str) -> Result<(Encoding, Proof)> {
    let mut found = find_in_file(text).found;
    let at = found.iter().position(|f| f.proof.is_ok()).unwrap_or(0);
    if found.is_empty() {
        return Err(Code::ProofNotFound.into());
    }
    let Found { encoding, proof } = found.swap_remove(at);
    Ok((encoding, proof?))
}

/// Joins the quoted strings of a zone-file line, if the text is one.
fn join_zone_strings(text: &str) -> Option<String> {
    let (_, strings) = text.split_once(" TXT ")?;
    strings.trim_start().starts_with('"').then(|| {
        let parts: Vec<&str> = strings.split('"').skip(1).step_by(2).collect();
        parts.concat().to_owned()
    })
}
