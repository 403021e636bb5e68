//! What users type and paste: canonical strings, handles, names, addresses of the web, bare npubs
//! and domains. The schemes and URL forms are those of the registry.

#[cfg(test)]
mod tests;

use crate::{
    Code, Error, Result,
    channel::{self, CHANNELS, Channel, ap, bluesky, dns, github, nostr},
    identity::{
        Identity, ToAscii,
        domain::{canonical_domain, is_bidi},
    },
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// The longest input in bytes.
const MAX_INPUT: usize = 2048;
/// How many bech32 characters after `nsec1` make a secret.
const SECRET_CHARS: usize = 20;

/// What a user typed, as far as it can be told without the network. [`crate::resolve`] turns each
/// kind into an identity.
///
/// ```
/// use kez_core::Input;
/// let Input::Name { user, host } = Input::parse("alice@example.org")? else { panic!() };
/// assert_eq!((&user[..], &host[..]), ("alice", "example.org"));
/// let Input::Page { host, .. } = Input::parse("https://lemmy.example/u/alice")? else { panic!() };
/// assert_eq!(host, "lemmy.example");
/// # Ok::<(), kez_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An identity.
    Account {
        /// The identity.
        identity: Identity,
        /// The user's name as typed, where only upper and lower case differ.
        spelling: Option<String>,
    },
    /// `user@host`: a fediverse account, or a nostr name (NIP-05).
    Name {
        /// The user's name as typed.
        user: String,
        /// The host, a canonical domain.
        host: String,
    },
    /// `nostr:user@host`: a nostr name (NIP-05).
    Nip05 {
        /// The user's name in lower case.
        user: String,
        /// The host, a canonical domain.
        host: String,
    },
    /// An address of the web that no URL form covers, and that is more than a host.
    Page {
        /// The address with `https`, without fragment.
        url: String,
        /// Its host, a canonical domain.
        host: String,
    },
}

impl Input {
    /// Reads what a user typed. Never guesses between two readings.
    ///
    /// # Errors
    /// `secret_refused` for a text with a secret key, which is not repeated; `scheme_unknown`,
    /// `identity_refused`, `key_refused`.
    #[cfg(feature = "url")]
    pub fn parse(text: &str) -> Result<Self> {
        parse_input(text, &crate::identity::to_ascii)
    }

    /// The identity, if the input determines it without the network. A name is read as a
    /// fediverse account.
    ///
    /// # Errors
    /// `identity_refused` for a nostr name and a page, with what can be typed instead.
    pub fn into_identity(self) -> Result<Identity> {
        match self {
            Self::Account { identity, .. } => Ok(identity),
            Self::Name { user, host } => Identity::from_canonical(&format!(
                "{}:{}@{host}",
                ap::SCHEME,
                user.to_ascii_lowercase()
            )),
            Self::Nip05 { user, host } => Err(Error::about(
                Code::IdentityRefused,
                format!(
                    "{user}@{host} is a nostr name, which {host} has to be asked about: type the key, nostr:npub1…"
                ),
            )),
            Self::Page { url, host } => Err(page_refused(&url, &host)),
        }
    }
}

/// A text that reads as this input again: the identity, if it is known without the network.
///
/// ```
/// use kez_core::Input;
/// assert_eq!(Input::parse("https://GitHub.com/Jason")?.to_string(), "github:jason");
/// assert_eq!(Input::parse("@alice@Example.org")?.to_string(), "alice@example.org");
/// # Ok::<(), kez_core::Error>(())
/// ```
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { identity, .. } => identity.fmt(f),
            Self::Name { user, host } => write!(f, "{user}@{host}"),
            Self::Nip05 { user, host } => write!(f, "{}:{user}@{host}", nostr::SCHEME),
            Self::Page { url, .. } => f.write_str(url),
        }
    }
}

/// The refusal of a page, with what the user can type instead.
pub(crate) fn page_refused(url: &str, host: &str) -> Error {
    let known = CHANNELS.iter().find(|c| c.facts().urls.iter().any(|form| form.names_host(host)));
    let example = match known.map(|channel| channel.facts()) {
        Some(facts) => format!("{}:{}", facts.scheme, facts.example),
        None => format!("{}:name@{host}", ap::SCHEME),
    };
    let why = format!(
        "{url} is a page of {host} and not the address of an account that KEZ knows: type the account itself, as in {example}, or dns:{host} for the whole domain"
    );
    Error::about(Code::IdentityRefused, why)
}

impl Identity {
    /// As [`Input::parse`], for what determines an identity without the network.
    ///
    /// # Errors
    /// As [`Input::parse`] and [`Input::into_identity`].
    #[cfg(feature = "url")]
    pub fn parse(input: &str) -> Result<Self> {
        Self::parse_with(input, &crate::identity::to_ascii)
    }

    /// As [`Identity::parse`], with another implementation of UTS 46 (non-transitional), as the
    /// host of a WebAssembly module has one.
    ///
    /// # Errors
    /// As [`Identity::parse`].
    pub fn parse_with(input: &str, to_ascii: &ToAscii<'_>) -> Result<Self> {
        parse_input(input, to_ascii)?.into_identity()
    }
}

/// As [`Input::parse`], with another implementation of UTS 46.
///
/// # Errors
/// As [`Input::parse`].
pub fn parse_input(text: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    if holds_secret(text) {
        return Err(Code::SecretRefused.into());
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_bidi(c));
    if text.len() > MAX_INPUT {
        return Err(Error::about(Code::IdentityRefused, "the text is longer than 2,048 bytes"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::about(Code::IdentityRefused, "the text contains white space"));
    }
    let text = strip_prefix(text, "kez:").unwrap_or(text);
    if let Some(rest) = strip_web(text) {
        return from_url(rest, to_ascii);
    }
    if let Some(rest) = strip_prefix(text, "at://") {
        let authority = rest.split('/').next().unwrap_or(rest);
        return from_typed(bluesky::SCHEME, authority, to_ascii);
    }
    if strip_prefix(text, "did:").is_some() {
        return from_typed(bluesky::SCHEME, text, to_ascii);
    }
    if let Some((scheme, value)) = text.split_once(':')
        && !scheme.contains(['.', '/', '?', '#', '@'])
    {
        return from_typed(&scheme.to_ascii_lowercase(), value, to_ascii);
    }
    from_bare(text, to_ascii)
}

/// Reads a text without a scheme.
fn from_bare(text: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    if ["npub1", "nprofile1"].iter().any(|start| strip_prefix(text, start).is_some()) {
        return from_typed(nostr::SCHEME, text, to_ascii);
    }
    if is_address(text) {
        return from_url(text, to_ascii);
    }
    match text.strip_prefix('@') {
        Some(name) if name.contains('@') => name_of(name, to_ascii),
        Some(handle) if handle.contains('.') => from_typed(bluesky::SCHEME, handle, to_ascii),
        Some(login) => from_typed(github::SCHEME, login, to_ascii),
        None if text.contains('@') => name_of(text, to_ascii),
        None if text.contains('.') || !text.is_ascii() => from_typed(dns::SCHEME, text, to_ascii),
        None => Err(Error::about(
            Code::IdentityRefused,
            format!("\"{text}\" has no scheme: type it with one, as in github:name"),
        )),
    }
}

/// Whether a text is an address without `https://`: something follows a part with a dot.
fn is_address(text: &str) -> bool {
    let authority = text.split(['/', '?', '#']).next().unwrap_or(text);
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    (authority.len() < text.len() || !port.is_empty()) && host.contains('.') && !host.contains('@')
}

/// `user@host` without scheme.
fn name_of(text: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    let (user, host) = split_name(text, to_ascii)?;
    Ok(Input::Name { user: user.into(), host })
}

/// The parts of `user@host`: the union of what WebFinger and NIP-05 allow.
fn split_name<'a>(text: &'a str, to_ascii: &ToAscii<'_>) -> Result<(&'a str, String)> {
    let refused = || {
        Error::about(
            Code::IdentityRefused,
            format!("\"{text}\" is not a name, as in user@host.example"),
        )
    };
    let (user, host) = text.split_once('@').ok_or_else(refused)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !(1..=64).contains(&user.len()) || !user.bytes().all(allowed) {
        return Err(refused());
    }
    Ok((user, canonical_domain(host, to_ascii)?))
}

/// A typed value of a typed scheme in lower case.
fn from_typed(scheme: &str, value: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    let unknown = || Error::about(Code::SchemeUnknown, scheme);
    let channel = channel::by_typed_scheme(scheme).ok_or_else(unknown)?;
    let value = value.trim_matches(is_bidi);
    if let Some(rest) = strip_web(value).or_else(|| is_address(value).then_some(value)) {
        return from_url_of(channel, rest, to_ascii);
    }
    if channel.facts().scheme == nostr::SCHEME && value.contains('@') {
        let (user, host) = split_name(value.strip_prefix('@').unwrap_or(value), to_ascii)?;
        return Ok(Input::Nip05 { user: user.to_ascii_lowercase(), host });
    }
    account(channel, value, to_ascii)
}

fn account(channel: &dyn Channel, value: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    let canonical = channel.normalise(value, to_ascii)?;
    let identity = Identity::from_canonical(&format!("{}:{canonical}", channel.facts().scheme))?;
    Ok(Input::Account { identity, spelling: channel.spelling(value).map(String::from) })
}

/// A URL after a scheme, which has to be that of an account of this scheme.
fn from_url_of(channel: &dyn Channel, rest: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    let facts = channel.facts();
    match from_url(rest, to_ascii)? {
        Input::Account { identity, spelling } if identity.scheme() == facts.scheme => {
            Ok(Input::Account { identity, spelling })
        }
        Input::Page { url, host } => Err(page_refused(&url, &host)),
        _ => Err(Error::about(
            Code::IdentityRefused,
            format!("the URL is not that of a {} identity", facts.scheme),
        )),
    }
}

/// From the address of a page without its `https://`.
fn from_url(rest: &str, to_ascii: &ToAscii<'_>) -> Result<Input> {
    let address = Address::read(rest, to_ascii)?;
    let Address { host, segments, .. } = &address;
    let forms = || CHANNELS.iter().flat_map(|c| c.facts().urls.iter().map(move |form| (*c, form)));
    let named = forms().any(|(_, form)| form.names_host(host));
    for (channel, form) in forms() {
        if !form.names_host(host) && (named || !form.hosts.is_empty()) {
            continue;
        }
        let Some(value) = form.value_at(host, segments) else { continue };
        match account(channel, &value, to_ascii) {
            // What looks like an account on any host may be another page there.
            Err(_) if form.hosts.is_empty() => {}
            read => return read,
        }
    }
    match address.extent {
        Extent::Site => account(&dns::Dns, host, to_ascii),
        Extent::App => Err(page_refused(&format!("https://{rest}"), host)),
        Extent::Page => Ok(Input::Page { url: address.to_url(), host: address.host }),
    }
}

/// The parts of an address that decide whose it is.
struct Address<'a> {
    host: String,
    /// The segments of the path that are not empty, without needless escapes.
    segments: Vec<String>,
    /// Path and query as typed.
    tail: &'a str,
    extent: Extent,
}

/// How much of a host an address means.
#[derive(Clone, Copy)]
enum Extent {
    /// All of it.
    Site,
    /// A page that an app shows by its fragment, which the server never sees.
    App,
    /// Another page.
    Page,
}

impl<'a> Address<'a> {
    fn read(rest: &'a str, to_ascii: &ToAscii<'_>) -> Result<Self> {
        let refused = |why: &str| Error::about(Code::IdentityRefused, format!("\"{rest}\" {why}"));
        if rest.contains('\\') {
            return Err(refused("contains a backslash"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(refused("has a user name before its host"));
        }
        let host = match authority.split_once(':') {
            None | Some((_, "" | "80" | "443")) => authority.split(':').next().unwrap_or_default(),
            Some(_) => return Err(refused("has a port, which no identity has")),
        };
        let host = canonical_domain(host, to_ascii)?;
        let after = &rest[authority.len()..];
        let (tail, fragment) = after.split_once('#').unwrap_or((after, ""));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(unescape).collect();
        if segments.iter().any(|segment| matches!(&segment[..], "." | "..")) {
            return Err(refused("has dots for a segment of its path"));
        }
        let extent = if !segments.is_empty() || !query.is_empty() {
            Extent::Page
        } else if fragment.starts_with(['/', '!']) {
            Extent::App
        } else {
            Extent::Site
        };
        Ok(Self { host, segments, tail, extent })
    }

    /// The address that servers are asked about.
    fn to_url(&self) -> String {
        let mut url = format!("https://{}", self.host);
        if !self.tail.starts_with('/') {
            url.push('/');
        }
        for b in self.tail.bytes() {
            if b.is_ascii_graphic() && !b"\"<>^`{|}".contains(&b) {
                url.push(char::from(b));
            } else {
                url.push_str(&format!("%{b:02X}"));
            }
        }
        url
    }
}

/// Without the escapes of characters that need none, which browsers copy into addresses.
fn unescape(segment: &str) -> String {
    let mut out = String::new();
    let mut rest = segment;
    while let Some((before, escape)) = rest.split_once('%') {
        out.push_str(before);
        let byte = escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~@:".contains(b);
        rest = match (byte.filter(plain), escape.get(2..)) {
            (Some(byte), Some(tail)) => {
                out.push(char::from(byte));
                tail
            }
            _ => {
                out.push('%');
                escape
            }
        };
    }
    out.push_str(rest);
    out
}

/// Whether a text holds a nostr secret key: `nsec1` and at least 20 bech32 characters after it, in
/// any case, whatever invisible characters stand between. Such a text is never repeated.
///
/// ```
/// assert!(kez_core::holds_secret("nsec1qqqqqqqqqqqqqqqqqqqqqqqq"));
/// assert!(!kez_core::holds_secret("github:nsec1"));
/// ```
#[must_use]
pub fn holds_secret(text: &str) -> bool {
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let visible = text.chars().filter(|c| !is_bidi(*c));
    let lower: String = visible.map(|c| c.to_ascii_lowercase()).collect();
    lower.match_indices("nsec1").any(|(at, start)| {
        let rest = lower[at + start.len()..].chars();
        rest.take_while(|c| BECH32.contains(*c)).count() >= SECRET_CHARS
    })
}

/// The text after a prefix of ASCII characters in any case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn strip_web(text: &str) -> Option<&str> {
    strip_prefix(text, "https://").or_else(|| strip_prefix(text, "http://"))
}
