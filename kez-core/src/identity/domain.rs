//! Domain names: their one spelling in identities, and how typed names become it.

use crate::{Code, Error, Result};
use alloc::string::String;

/// The longest name in DNS, in bytes.
const MAX_NAME: usize = 253;
/// The longest domain of a `dns` identity, in bytes: `_kez.` has to fit before it.
const MAX_DOMAIN: usize = MAX_NAME - "_kez.".len();

/// Converts a typed domain name to A-labels; `None` if it is not a domain name.
pub type ToAscii<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// UTS 46 ToASCII, non-transitional, with CheckHyphens=false, CheckBidi=true, CheckJoiners=true,
/// UseSTD3ASCIIRules=true and VerifyDnsLength=true.
///
/// ```
/// assert_eq!(kez_core::to_ascii("Bücher.example").as_deref(), Some("xn--bcher-kva.example"));
/// assert_eq!(kez_core::to_ascii("a_b.example"), None);
/// ```
#[cfg(feature = "url")]
#[must_use]
pub fn to_ascii(name: &str) -> Option<String> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    // CheckBidi and CheckJoiners are always on in this implementation, and transitional
    // processing does not exist in it.
    Uts46::new()
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify)
        .ok()
        .map(alloc::borrow::Cow::into_owned)
}

/// The canonical form of a typed domain name: A-labels in lower case, without a trailing dot.
///
/// The WebAssembly build uses the `URL` class of its host for `to_ascii`. The URL standard sets
/// UseSTD3ASCIIRules=false and VerifyDnsLength=false, decodes percent escapes and reads IPv4
/// addresses in several notations. The checks before and after the conversion refuse what the
/// core's own conversion refuses: other ASCII characters than letters, digits, hyphens and dots,
/// labels and names of a wrong length, and names that end in a number.
pub(crate) fn canonical_domain(name: &str, to_ascii: &ToAscii<'_>) -> Result<String> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ascii = if bare.chars().all(plain) { to_ascii(bare) } else { None };
    ascii.filter(|ascii| is_domain(ascii)).ok_or_else(|| {
        Error::about(Code::IdentityRefused, alloc::format!("\"{name}\" is not a domain name"))
    })
}

/// Bidirectional and zero-width characters, which copy buttons add to handles.
pub(crate) const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

/// Lower-case LDH labels, at least two, at most 253 bytes in all, and a last label that no IP
/// address can have.
pub(crate) fn is_domain(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= MAX_NAME
        && name.contains('.')
        && name.split('.').all(label)
        && !last.starts_with(|c: char| c.is_ascii_digit())
}

/// A domain of a `dns` identity or of a URL in a signed object: at most 248 bytes.
pub(crate) fn is_dns_domain(name: &str) -> bool {
    name.len() <= MAX_DOMAIN && is_domain(name)
}
