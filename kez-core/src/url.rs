//! The one spelling that a URL has in signed objects (SPEC.md KEZ-VAL-04), and its host. Any parser
//! of URLs, by RFC 3986 or by the URL standard, reads such a URL alike and writes it as it is, so
//! that no parser decides whether an object is valid.

use crate::identity::domain::is_dns_domain;

/// The host of a URL that is spelled by the rule: `https` or `wss`, a domain, a port that is not
/// the default, and a path, with nothing that a parser would change.
pub(crate) fn strict_host(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("wss://"))?;
    let (authority, tail) = rest.split_at(rest.find('/')?);
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let ok = text.len() <= 2048 && is_dns_domain(host) && port.is_none_or(is_port) && is_tail(tail);
    ok.then_some(host)
}

fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    digits && text != "443" && text.parse::<u16>().is_ok()
}

/// Path and query.
fn is_tail(text: &str) -> bool {
    let path = text.split('?').next().unwrap_or_default();
    let plain = text.bytes().all(|b| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'/' | b'?' | b'%')
            || b"-._~!$&()*+,;=:@".contains(&b)
    });
    let escapes = text.split('%').skip(1).all(|escape| {
        let digits = escape.as_bytes().get(..2);
        // An escaped dot makes a segment that parsers take away.
        digits
            .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit) && !d.eq_ignore_ascii_case(b"2e"))
    });
    plain && escapes && path.split('/').all(|segment| !matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString as _};
    use proptest::prelude::*;

    #[test]
    fn examples() {
        for (url, host) in [
            ("https://example.com/", "example.com"),
            ("wss://relay.example:7777/", "relay.example"),
            ("https://a.example/x/~y/@z?a=b&c=/d?%C3%A9", "a.example"),
            ("https://xn--99zzzzzzzz.example/", "xn--99zzzzzzzz.example"),
        ] {
            assert_eq!(strict_host(url), Some(host), "{url}");
        }
        for url in [
            "https://example.com",
            "https://example.com:443/",
            "https://example.com:070/",
            "https://example.com:65536/",
            "https://example.com:/",
            "https://example.com./",
            "https://EXAMPLE.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
            "https://u@example.com/",
            "https://example.com/#",
            "https://example.com/a/../b",
            "https://example.com/%2E/b",
            "https://example.com/%zz",
            "https://example.com/%4",
            "https://example.com/a\\b",
            "https://example.com/?'",
            "https://example.com/\u{e9}",
            "http://example.com/",
            "HTTPS://example.com/",
        ] {
            assert_eq!(strict_host(url), None, "{url}");
        }
    }

    proptest! {
        /// What passes is read by the URL standard's parser with the same host, and written alike.
        #[test]
        fn parsers_agree(text in "(https|wss)://([a-c0-9.-]{1,9}\\.)?[a-z]{2,3}(:[0-9]{1,5})?/[a-zA-Z0-9/?%.~!$&()*+,;=:@'2e_-]{0,20}") {
            if let Some(host) = strict_host(&text) {
                let url = url::Url::parse(&text).map(|url| (url.to_string(), url.host_str().map(String::from)));
                prop_assert_eq!(url, Ok((text.clone(), Some(host.into()))));
            }
        }
    }
}
