//! Identities: `scheme:value`, one canonical string each, compared as bytes
//! (SPEC.md, "Identities").

use crate::{Code, Error, Key, Result, hex, key};
use alloc::{borrow::ToOwned, format, string::String};
use core::fmt;

/// The closed list of schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// A nostr key: `nostr:npub1…`.
    Nostr,
    /// An Ed25519 key: `ed25519:<64 hex>`.
    Ed25519,
    /// A domain: `dns:example.com`.
    Dns,
    /// A GitHub account: `github:jason`.
    Github,
    /// A Bluesky (atproto) account: `bluesky:alice.example.com`, `bluesky:did:plc:…`.
    Bluesky,
    /// A fediverse account: `ap:user@host`.
    Ap,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 6] =
        [Self::Nostr, Self::Ed25519, Self::Dns, Self::Github, Self::Bluesky, Self::Ap];

    /// The text before the colon.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nostr => "nostr",
            Self::Ed25519 => "ed25519",
            Self::Dns => "dns",
            Self::Github => "github",
            Self::Bluesky => "bluesky",
            Self::Ap => "ap",
        }
    }

    /// Whether identities of this scheme are keys, which can sign and be a primary.
    #[must_use]
    pub const fn is_key(self) -> bool {
        matches!(self, Self::Nostr | Self::Ed25519)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }
}

/// A canonical identity.
///
/// ```
/// use kez_core::Identity;
/// let id = Identity::parse("https://github.com/Jason/").unwrap();
/// assert_eq!(id.as_str(), "github:jason");
/// assert_eq!(Identity::parse("@Alice@Bücher.Example").unwrap().as_str(),
///            "ap:alice@xn--bcher-kva.example");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(type = "string"))]
pub struct Identity {
    text: String,
}

/// Gives the A-labels of a domain name, or nothing for what is none.
pub type ToAscii<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// UTS 46 (non-transitional) with tables of our own.
///
/// ```
/// assert_eq!(kez_core::to_ascii("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
/// ```
#[cfg(feature = "url")]
#[must_use]
pub fn to_ascii(name: &str) -> Option<String> {
    idna::domain_to_ascii(name).ok()
}

impl Identity {
    /// For `Key` alone, which has just checked the text.
    pub(crate) fn of_checked_key(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Takes a string that must be canonical already, as it is in signed objects.
    ///
    /// # Errors
    /// `scheme_unknown`, `identity_refused`, `key_refused`.
    pub fn from_canonical(text: &str) -> Result<Self> {
        let (scheme, value) =
            text.split_once(':').ok_or_else(|| Error::about(Code::IdentityRefused, text))?;
        let scheme =
            Scheme::from_name(scheme).ok_or_else(|| Error::about(Code::SchemeUnknown, scheme))?;
        let ok = match scheme {
            Scheme::Nostr | Scheme::Ed25519 => {
                return Key::from_text(text).map(|key| key.identity().clone());
            }
            Scheme::Dns => is_domain(value) && value.len() <= MAX_DNS_VALUE,
            Scheme::Github => is_github_login(value),
            Scheme::Bluesky => is_domain(value) || is_did(value),
            Scheme::Ap => value
                .split_once('@')
                .is_some_and(|(user, host)| is_ap_user(user) && is_domain(host)),
        };
        if ok {
            Ok(Self { text: text.to_owned() })
        } else {
            Err(Error::about(Code::IdentityRefused, text))
        }
    }

    /// Takes what people type or paste: canonical strings, handles, profile URLs, bare npubs and
    /// domains. Never guesses between two readings.
    ///
    /// # Errors
    /// `secret_refused` for an nsec (which is not repeated), `scheme_unknown`,
    /// `identity_refused`, `key_refused`.
    #[cfg(feature = "url")]
    pub fn parse(input: &str) -> Result<Self> {
        Self::parse_with(input, &to_ascii)
    }

    /// As [`Identity::parse`], with another implementation of UTS 46 (non-transitional), as the
    /// host of a WebAssembly module has one: it gives the A-labels of a name, or nothing.
    ///
    /// # Errors
    /// As [`Identity::parse`].
    pub fn parse_with(input: &str, to_ascii: &ToAscii<'_>) -> Result<Self> {
        let text = input.trim_matches(|c: char| c.is_whitespace() || is_bidi(c));
        if text.to_ascii_lowercase().contains("nsec1") {
            return Err(Code::SecretRefused.into());
        }
        let lower = text.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"))
        {
            return from_url(rest, to_ascii);
        }
        if let Some(rest) = lower.strip_prefix("at://") {
            return from_value(Scheme::Bluesky, rest.split('/').next().unwrap_or(rest), to_ascii);
        }
        if lower.starts_with("did:") {
            return from_value(Scheme::Bluesky, &lower, to_ascii);
        }
        if let Some((scheme, value)) = lower.split_once(':') {
            return match scheme {
                "kez" => Self::parse_with(value, to_ascii),
                "acct" | "mastodon" => from_value(Scheme::Ap, value, to_ascii),
                _ => match Scheme::from_name(scheme) {
                    Some(scheme) => from_value(scheme, value, to_ascii),
                    None => Err(Error::about(Code::SchemeUnknown, scheme)),
                },
            };
        }
        if lower.starts_with("npub1") || lower.starts_with("nprofile1") {
            return from_value(Scheme::Nostr, &lower, to_ascii);
        }
        let bare = lower.strip_prefix('@').unwrap_or(&lower);
        if bare.contains('@') {
            from_value(Scheme::Ap, bare, to_ascii)
        } else if bare.len() < lower.len() {
            let scheme = if bare.contains('.') { Scheme::Bluesky } else { Scheme::Github };
            from_value(scheme, bare, to_ascii)
        } else if bare.contains('.') || !bare.is_ascii() {
            from_value(Scheme::Dns, bare, to_ascii)
        } else {
            Err(Error::about(
                Code::IdentityRefused,
                format_args!("\"{bare}\": name its scheme, as in github:name"),
            ))
        }
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        let name = self.text.split(':').next().unwrap_or_default();
        // The text is canonical by construction, so its scheme is always found.
        Scheme::from_name(name).unwrap_or(Scheme::Dns)
    }

    /// What stands after the scheme's colon.
    #[must_use]
    pub fn value(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, value)| value)
    }

    /// The whole canonical string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host of a `dns:` or `ap:` identity.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self.scheme() {
            Scheme::Dns => Some(self.value()),
            Scheme::Ap => self.value().split_once('@').map(|(_, host)| host),
            _ => None,
        }
    }

    /// The public profile page, if the scheme has one.
    #[must_use]
    pub fn profile_url(&self) -> Option<String> {
        let value = self.value();
        match self.scheme() {
            Scheme::Github => Some(format!("https://github.com/{value}")),
            Scheme::Bluesky => Some(format!("https://bsky.app/profile/{value}")),
            Scheme::Dns => Some(format!("https://{value}/")),
            Scheme::Ap => {
                value.split_once('@').map(|(user, host)| format!("https://{host}/@{user}"))
            }
            Scheme::Nostr => Some(format!("https://njump.me/{value}")),
            Scheme::Ed25519 => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.text)
    }
}

impl AsRef<[u8]> for Identity {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl serde::Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

#[cfg(feature = "url")]
impl core::str::FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Normalises a lower-case value of a known scheme, then checks the canonical grammar.
fn from_value(scheme: Scheme, value: &str, to_ascii: &ToAscii<'_>) -> Result<Identity> {
    let value = value.trim_matches(is_bidi);
    if let Some(rest) = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://")) {
        let identity = match scheme {
            Scheme::Dns => from_value(scheme, url_host(rest), to_ascii)?,
            _ => from_url(rest, to_ascii)?,
        };
        let same = identity.scheme() == scheme;
        return if same { Ok(identity) } else { Err(Error::about(Code::IdentityRefused, rest)) };
    }
    let at = value.strip_prefix('@').unwrap_or(value);
    let value = match scheme {
        Scheme::Nostr => match hex::decode(value) {
            Some(bytes) => key::npub_encode(&bytes),
            None if value.starts_with("nprofile1") => nprofile(value)?,
            None => value.to_owned(),
        },
        Scheme::Ed25519 => value.to_owned(),
        Scheme::Dns => ascii_domain(value, to_ascii)?,
        Scheme::Github => at.trim_end_matches('/').to_owned(),
        Scheme::Bluesky if at.starts_with("did:") => at.to_owned(),
        Scheme::Bluesky => ascii_domain(at, to_ascii)?,
        Scheme::Ap => {
            let (user, host) =
                at.split_once('@').ok_or_else(|| Error::about(Code::IdentityRefused, at))?;
            format!("{user}@{}", ascii_domain(host, to_ascii)?)
        }
    };
    Identity::from_canonical(&format!("{}:{value}", scheme.as_str()))
}

/// From a lower-case profile URL without its `https://`.
fn from_url(rest: &str, to_ascii: &ToAscii<'_>) -> Result<Identity> {
    let host = url_host(rest);
    let path = rest[host.len()..].split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/').filter(|p| !p.is_empty());
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (host, first) {
        ("github.com" | "www.github.com" | "gist.github.com", user) if !user.is_empty() => {
            from_value(Scheme::Github, user, to_ascii)
        }
        ("bsky.app", "profile") => from_value(Scheme::Bluesky, second, to_ascii),
        ("njump.me", key) if key.starts_with('n') => from_value(Scheme::Nostr, key, to_ascii),
        ("primal.net", "p") | ("snort.social", "p") => from_value(Scheme::Nostr, second, to_ascii),
        (host, user) if user.starts_with('@') => {
            let user = &user[1..];
            match user.split_once('@') {
                // A profile of another server, seen on this one.
                Some(_) => from_value(Scheme::Ap, user, to_ascii),
                None => from_value(Scheme::Ap, &format!("{user}@{host}"), to_ascii),
            }
        }
        (host, "users") if !second.is_empty() => {
            from_value(Scheme::Ap, &format!("{second}@{host}"), to_ascii)
        }
        (host, _) => match host.strip_suffix(".github.io") {
            Some(user) => from_value(Scheme::Github, user, to_ascii),
            None => from_value(Scheme::Dns, host, to_ascii),
        },
    }
}

fn url_host(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// The key inside a NIP-19 nprofile: the value of its first TLV of type 0.
fn nprofile(text: &str) -> Result<String> {
    let refused = || Error::about(Code::KeyRefused, text);
    let bytes = key::bech32_bytes(text).ok_or_else(refused)?;
    let mut rest = &bytes[..];
    while let [kind, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len)).ok_or_else(refused)?;
        if *kind == 0 {
            return Ok(key::npub_encode(value.try_into().map_err(|_| refused())?));
        }
        rest = &tail[usize::from(*len)..];
    }
    Err(refused())
}

fn ascii_domain(name: &str, to_ascii: &ToAscii<'_>) -> Result<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    // Hosts would read ports, escapes and more out of other ASCII characters.
    let plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ascii = if name.chars().all(plain) { to_ascii(name) } else { None };
    ascii.ok_or_else(|| Error::about(Code::IdentityRefused, name))
}

/// Bidirectional and zero-width characters, which copy buttons add to handles.
pub(crate) const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

/// The longest value of a `dns` identity in bytes: `_kez.` before it makes 253.
pub(crate) const MAX_DNS_VALUE: usize = 248;

/// Lower-case LDH labels, at least two, and a last label that no IP address can have.
pub(crate) fn is_domain(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(label)
        && !last.starts_with(|c: char| c.is_ascii_digit())
}

fn is_did(value: &str) -> bool {
    if let Some(id) = value.strip_prefix("did:plc:") {
        return id.len() == 24 && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    }
    value.strip_prefix("did:web:").is_some_and(is_domain)
}

fn is_github_login(value: &str) -> bool {
    let (login, short) = match value.split_once('_') {
        Some((login, short)) => (login, Some(short)),
        None => (value, None),
    };
    let plain =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    value.len() <= 39 && login.split('-').all(plain) && short.is_none_or(plain)
}

fn is_ap_user(user: &str) -> bool {
    let word = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let bytes = user.as_bytes();
    bytes.len() <= 64
        && bytes.first().copied().is_some_and(word)
        && bytes.last().copied().is_some_and(word)
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}
