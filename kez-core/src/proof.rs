//! The encodings of a proof, and finding proofs in what platforms show
//! (SPEC.md, "Encodings").

use crate::{
    Code, Envelope, Error, Identity, Key, Result, SignedClaim, claim::MAX_CLAIM, json::Value, zstd,
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The largest compact text in bytes.
pub const MAX_COMPACT: usize = 12 * 1024;
/// How many proofs one text may hold; further ones are not read.
pub const MAX_PROOFS: usize = 16;
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

/// A proof, or why something that looks like one is none, and the form it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The form.
    pub encoding: Encoding,
    /// The proof itself.
    pub proof: Result<Proof>,
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

/// Finds every proof in a text: a whole JSON document, `kez` fences, compact forms and pointers.
/// At most [`MAX_PROOFS`]; each is judged on its own, and two that are equal count once.
///
/// ```
/// use kez_core::{Encoding, proof};
/// let bio = "crab \u{1f980}, see kez:ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737!";
/// let found = proof::find(bio);
/// assert_eq!(found[0].encoding, Encoding::Pointer);
/// assert!(found[0].proof.is_ok());
/// ```
#[must_use]
pub fn find(text: &str) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut add = |encoding, proof| {
        let item = Found { encoding, proof };
        if found.len() < MAX_PROOFS && !found.contains(&item) {
            found.push(item);
        }
    };
    if text.trim_start().starts_with('{') {
        add(Encoding::Json, from_json(text.trim().as_bytes()).map(Proof::Claim));
        return found;
    }
    let (outside, fences) = split_fences(text);
    for body in fences {
        if body.trim_start().starts_with('{') {
            add(Encoding::Markdown, from_json(body.trim().as_bytes()).map(Proof::Claim));
        } else {
            tokens(&body, &mut add);
        }
    }
    tokens(&outside, &mut add);
    found
}

/// Takes the `kez` fences (CommonMark rules: three or more backticks or tildes, at most three
/// spaces before, closed by at least as many of the same) out of a text. An unclosed fence is none.
fn split_fences(text: &str) -> (String, Vec<String>) {
    let mut outside = String::new();
    let mut fences = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((mark, len, info)) = fence_line(line) else {
            outside.push_str(line);
            outside.push('\n');
            continue;
        };
        let mut body = String::new();
        let mut closed = false;
        let rest = lines.clone();
        for line in lines.by_ref() {
            if fence_line(line).is_some_and(|(m, l, i)| m == mark && l >= len && i.is_empty()) {
                closed = true;
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        if !closed {
            lines = rest;
        } else if info.split_whitespace().next() == Some("kez") {
            fences.push(body);
        }
    }
    (outside, fences)
}

fn fence_line(line: &str) -> Option<(char, usize, &str)> {
    let line = line.trim_end();
    let start = line.trim_start_matches(' ');
    let mark = start.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = start.trim_start_matches(mark);
    let len = start.len() - info.len();
    let plain = mark == '~' || !info.contains('`');
    (line.len() - start.len() <= 3 && len >= 3 && plain).then_some((mark, len, info.trim()))
}

/// Finds `kez:z1:…` and `kez:<key>` where no word runs into them; a token ends at the first
/// character that cannot be part of it, and nothing is ever repaired.
fn tokens(text: &str, add: &mut impl FnMut(Encoding, Result<Proof>)) {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    for (at, _) in text.match_indices("kez:") {
        if text[..at].chars().next_back().is_some_and(in_word) {
            continue;
        }
        let rest = &text[at..];
        let run = |from: usize, part: fn(char) -> bool| {
            rest[from..].find(|c| !part(c)).map_or(rest, |end| &rest[..from + end])
        };
        if rest.starts_with(COMPACT_PREFIX) {
            let token =
                run(COMPACT_PREFIX.len(), |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            add(Encoding::Compact, from_compact(token).map(Proof::Claim));
        } else if rest.starts_with("kez:nostr:npub1") || rest.starts_with("kez:ed25519:") {
            let token =
                run(rest[4..].find(':').map_or(4, |i| i + 5), |c| c.is_ascii_alphanumeric());
            add(Encoding::Pointer, from_pointer(token).map(Proof::Pointer));
        }
    }
}

/// Reads the text of a file or of standard input, in any encoding: one proof.
///
/// # Errors
/// `proof_not_found` if there is none, otherwise the error of the first that is broken, unless
/// another one is whole.
pub fn from_text(text: &str) -> Result<(Encoding, Proof)> {
    let joined = join_zone_strings(text);
    let mut found = find(joined.as_deref().unwrap_or(text));
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
