//! Names of fediverse accounts, `user@host`, as servers write them.

use alloc::{format, string::String, vec::Vec};

/// An account's name: the user as written, and the host in its ASCII form.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) user: String,
    pub(super) host: String,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.user.eq_ignore_ascii_case(&other.user) && self.host == other.host
    }
}

impl Name {
    /// Reads the subject of a WebFinger answer: with or without `acct:` and a leading `@`, in any
    /// letter case, the host as U-labels or A-labels.
    pub(super) fn read(text: &str) -> Option<Self> {
        let scheme = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("acct:"));
        let text = if scheme { &text[5..] } else { text };
        let (user, host) = text.strip_prefix('@').unwrap_or(text).rsplit_once('@')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=%".contains(c);
        let host = to_ascii(host)?;
        let ok = !user.is_empty() && user.chars().all(plain) && host.contains('.');
        ok.then(|| Self { user: user.into(), host })
    }

    /// The resource that WebFinger is asked for (RFC 7565).
    pub(super) fn resource(&self) -> String {
        format!("acct:{}@{}", self.user, self.host)
    }
}

/// A host in lower case, its U-labels as A-labels. Without the mapping of UTS 46: what that would
/// change stays another name, which never equals the one that was asked for.
fn to_ascii(host: &str) -> Option<String> {
    let labels = host.trim_end_matches('.').split(['.', '\u{3002}']);
    let ascii = labels.map(|label| {
        let lower: String = label.chars().flat_map(char::to_lowercase).collect();
        if lower.is_ascii() { Some(lower) } else { Some(format!("xn--{}", punycode(&lower)?)) }
    });
    Some(ascii.collect::<Option<Vec<_>>>()?.join("."))
}

/// Encodes a label (RFC 3492, section 6.3). `None` for one that is far too long.
fn punycode(label: &str) -> Option<String> {
    const BASE: u32 = 36;
    let chars: Vec<u32> = label.chars().map(u32::from).collect();
    if chars.len() > 63 {
        return None;
    }
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(out.len()).ok()?;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128_u32, 0_u32, 72_u32, basic);
    while usize::try_from(handled).ok()? < chars.len() {
        let next = chars.iter().copied().filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in chars.iter().copied() {
            if c < n {
                delta = delta.checked_add(1)?;
            } else if c == n {
                let mut rest = delta;
                let mut k = BASE;
                loop {
                    let threshold = k.saturating_sub(bias).clamp(1, 26);
                    if rest < threshold {
                        break;
                    }
                    out.push(digit(threshold + (rest - threshold) % (BASE - threshold))?);
                    rest = (rest - threshold) / (BASE - threshold);
                    k += BASE;
                }
                out.push(digit(rest)?);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    Some(out)
}

fn digit(value: u32) -> Option<char> {
    let value = u8::try_from(value).ok().filter(|value| *value < 36)?;
    Some(char::from(if value < 26 { b'a' + value } else { b'0' + value - 26 }))
}

const fn adapt(delta: u32, count: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / count;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn one_name_in_many_spellings() {
        let name = Name::read("acct:jason@xn--bcher-kva.example");
        assert!(name.is_some());
        for text in ["jason@bücher.example", "ACCT:@Jason@BÜCHER.example", "@jason@Bücher.EXAMPLE."]
        {
            assert_eq!(Name::read(text), name, "{text}");
        }
        for text in ["jason", "acct:", "@example.com", "a b@example.com", "jason@", "https://a.b/c"]
        {
            assert_eq!(Name::read(text), None, "{text}");
        }
    }

    /// The ASCII forms that the crate `idna` gives.
    #[test]
    #[cfg(feature = "url")]
    fn hosts_as_another_implementation_encodes_them() {
        for host in
            ["bücher.example", "例え.テスト", "ñandú.example", "mañana-über.example", "яндекс.рф"]
        {
            let wanted = idna::domain_to_ascii(host).unwrap();
            assert_eq!(super::to_ascii(host), Some(wanted), "{host}");
        }
    }
}
