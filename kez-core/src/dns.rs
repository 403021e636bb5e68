//! DNS messages, as every transport sends them: over HTTPS (RFC 8484) or plain. TXT records are
//! read; of addresses it is only told whether there are any.

use crate::{
    Code,
    transport::{Body, Failure},
};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The media type of DNS messages over HTTPS (RFC 8484).
pub const MEDIA_TYPE: &str = "application/dns-message";
/// The largest DNS message in bytes (RFC 1035).
pub const MAX_MESSAGE: usize = 65_535;

fn failed(why: impl Into<String>) -> Failure {
    Failure::new(Code::DnsFailed, why)
}

/// Type TXT and class IN.
const TXT_IN: [u8; 4] = [0, 16, 0, 1];
const SOA_IN: [u8; 4] = [0, 6, 0, 1];

/// A type of address records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A: IPv4.
    V4,
    /// AAAA: IPv6.
    V6,
}

impl Address {
    const fn kind(self) -> [u8; 4] {
        match self {
            Self::V4 => [0, 1, 0, 1],
            Self::V6 => [0, 28, 0, 1],
        }
    }
}

/// The question for the TXT records of a name. The resolver is asked to recurse and to say
/// whether it validated DNSSEC.
///
/// # Errors
/// `dns_failed` for what is no domain name.
///
/// ```
/// let question = kez_core::dns::query("_kez.example.com", 0).expect("a name");
/// assert_eq!(question.len(), 12 + 18 + 4);
/// ```
pub fn query(name: &str, id: u16) -> Result<Vec<u8>, Failure> {
    question(name, id, TXT_IN)
}

/// The question for the addresses of a host.
///
/// # Errors
/// As [`query`].
pub fn address_query(host: &str, id: u16, kind: Address) -> Result<Vec<u8>, Failure> {
    question(host, id, kind.kind())
}

fn question(name: &str, id: u16, kind: [u8; 4]) -> Result<Vec<u8>, Failure> {
    // One question; recursion desired, and AD: say whether DNSSEC validated (RFC 6840, section 5.7).
    let mut message = Vec::from(id.to_be_bytes());
    message.extend([0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => message.push(length),
            _ => return Err(failed(format!("{name} is no domain name"))),
        }
        message.extend(label.as_bytes());
    }
    message.push(0);
    if message.len() > HEADER + 255 {
        return Err(failed(format!("{name} is too long")));
    }
    message.extend(kind);
    Ok(message)
}

/// The URL of a GET that asks a resolver over HTTPS. The message's id is 0, so that answers can be
/// cached (RFC 8484, section 4.1).
#[must_use]
pub fn doh_url(resolver: &str, message: &[u8]) -> String {
    format!("{resolver}?dns={}", URL_SAFE_NO_PAD.encode(message))
}

/// Reads the answer to [`query`]. The answer section holds the CNAMEs that were followed, which
/// are skipped, and the records at their end.
///
/// # Errors
/// `response_refused` for what is no whole answer to this question.
pub fn read(bytes: &[u8], id: u16, name: &str) -> Result<Body, Failure> {
    let message = Message::read(bytes, &query(name, id)?)?;
    let texts = message.answers.iter().filter(|record| record.kind == TXT_IN);
    let records = texts.map(|record| strings(record.data)).collect::<Option<_>>();
    let records = records.ok_or_else(garbled)?;
    let Message { rcode, authentic, ttl, .. } = message;
    Ok(Body::Txt { rcode, records, authentic, ttl })
}

/// Reads the answer to [`address_query`]: whether the host has an address of that type.
///
/// # Errors
/// `dns_failed` for any response code but 0 and 3 (no such name), `response_refused` as [`read`].
pub fn has_address(bytes: &[u8], id: u16, host: &str, kind: Address) -> Result<bool, Failure> {
    let message = Message::read(bytes, &address_query(host, id, kind)?)?;
    match message.rcode {
        0 => Ok(message.answers.iter().any(|record| record.kind == kind.kind())),
        3 => Ok(false),
        rcode => Err(failed(format!("{host}: DNS response code {rcode}"))),
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(Code::ResponseRefused, why)
}

fn garbled() -> Failure {
    refused("not a DNS message")
}

/// An answer.
struct Message<'a> {
    rcode: u8,
    authentic: bool,
    answers: Vec<Record<'a>>,
    /// For how many seconds the answer lasts.
    ttl: Option<u32>,
}

impl<'a> Message<'a> {
    /// Reads the answer to a question.
    fn read(bytes: &'a [u8], question: &[u8]) -> Result<Self, Failure> {
        let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or_else(garbled)?;
        let [flags, codes] = [header[2], header[3]];
        // QR, a standard query, and not truncated.
        if header[..2] != question[..2] || flags & 0b1111_1010 != 0x80 {
            return Err(refused("not an answer to the question"));
        }
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        match count(4) {
            // Some resolvers do not repeat the question.
            0 => {}
            1 => {
                let own = take(&mut rest, question.len() - HEADER).ok_or_else(garbled)?;
                if !own.eq_ignore_ascii_case(&question[HEADER..]) {
                    return Err(refused("not an answer to the question"));
                }
            }
            _ => return Err(garbled()),
        }
        let (mut answers, mut ttl) = (Vec::new(), u32::MAX);
        for n in 0..count(6).saturating_add(count(8)) {
            let Some(record) = Record::read(&mut rest) else {
                if n < count(6) {
                    return Err(garbled());
                }
                // The answer is there, and how long it lasts may stay unknown.
                break;
            };
            if n < count(6) {
                ttl = ttl.min(record.ttl);
                answers.push(record);
            } else if record.kind == SOA_IN
                && let Some(minimum) = record.data.last_chunk()
            {
                // How long a name is known to have none.
                ttl = ttl.min(record.ttl).min(u32::from_be_bytes(*minimum));
            }
        }
        let ttl = (ttl != u32::MAX).then_some(ttl);
        Ok(Self { rcode: codes & 0xf, authentic: codes & 0x20 != 0, answers, ttl })
    }
}

/// The bytes of a message's header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (part, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(part)
}

/// A resource record (RFC 1035, section 4.1.3).
struct Record<'a> {
    /// Its type and class.
    kind: [u8; 4],
    /// In seconds.
    ttl: u32,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        // Its name ends with an empty label, or with a pointer to an earlier name.
        loop {
            match take(rest, 1)?[0] {
                0 => break,
                length @ 1..=63 => take(rest, length.into())?,
                0xc0.. => {
                    take(rest, 1)?;
                    break;
                }
                _ => return None,
            };
        }
        let [kind @ .., t0, t1, t2, t3, l0, l1] = *take(rest, 10)?.first_chunk::<10>()?;
        let ttl = u32::from_be_bytes([t0, t1, t2, t3]);
        let data = take(rest, u16::from_be_bytes([l0, l1]).into())?;
        // What has the highest bit is none (RFC 2181, section 8).
        Some(Self { kind, ttl: if ttl >> 31 == 0 { ttl } else { 0 }, data })
    }
}

/// The joined character-strings of a TXT record.
fn strings(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while let [length, ..] = data {
        text.extend(take(&mut data, usize::from(*length) + 1)?.get(1..)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{base::Message, rdata::Txt};
    use proptest::prelude::*;

    /// An answer with these flags and TXT strings, with a CNAME before them.
    fn answer(flags: [u8; 2], strings: &[&str]) -> Vec<u8> {
        let mut bytes = query("_kez.example.com", 7).unwrap();
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = 2; // answers
        // A CNAME of the question's name to itself, then its TXT record.
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]);
        let length: usize = strings.iter().map(|s| s.len() + 1).sum();
        bytes.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, u8::try_from(length).unwrap()]);
        for text in strings {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn strings_of_a_record_are_joined() {
        let bytes = answer([0x81, 0xa0], &["kez:", "z1:abc"]);
        let body = read(&bytes, 7, "_KEZ.example.com").unwrap();
        let records = alloc::vec![b"kez:z1:abc".to_vec()];
        assert_eq!(body, Body::Txt { rcode: 0, records, authentic: true, ttl: Some(60) });
        let unsigned = read(&answer([0x81, 0x83], &["x"]), 7, "_kez.example.com").unwrap();
        assert!(matches!(unsigned, Body::Txt { rcode: 3, authentic: false, .. }));
    }

    #[test]
    fn an_answer_lasts_as_long_as_its_shortest_part() {
        let ttl = |bytes: &[u8]| match read(bytes, 7, "_kez.example.com") {
            Ok(Body::Txt { ttl, .. }) => ttl,
            other => panic!("{other:?}"),
        };
        let mut found = answer([0x81, 0x80], &["x"]);
        let at = found.len() - 6;
        found[at..at + 2].copy_from_slice(&[0, 30]);
        assert_eq!(ttl(&found), Some(30));
        found[at - 2] = 0x80;
        assert_eq!(ttl(&found), Some(0), "a time with the highest bit");
        // No such name, with the zone's SOA: its own time, or its MINIMUM if that is shorter.
        let absent = |of_record: u32, minimum: u32| {
            let mut bytes = query("_kez.example.com", 7).unwrap();
            bytes[2..4].copy_from_slice(&[0x81, 0x83]);
            bytes[9] = 1; // authority
            bytes.extend([0xc0, 17, 0, 6, 0, 1]);
            bytes.extend(of_record.to_be_bytes());
            bytes.extend([0, 24, 0xc0, 17, 0xc0, 17]);
            for number in [1, 2, 3, 4, minimum] {
                bytes.extend(number.to_be_bytes());
            }
            bytes
        };
        assert_eq!(ttl(&absent(900, 300)), Some(300));
        assert_eq!(ttl(&absent(120, 300)), Some(120));
        let cut = &absent(120, 300)[..60];
        assert_eq!(ttl(cut), None, "what cannot be read says nothing");
        let mut bare = query("_kez.example.com", 7).unwrap();
        bare[2] = 0x81;
        assert_eq!(ttl(&bare), None);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let good = answer([0x81, 0x80], &["x"]);
        let code = |bytes: &[u8], id, name| read(bytes, id, name).map_err(|f| f.code);
        let refused = Err(Code::ResponseRefused);
        assert_eq!(code(&good, 8, "_kez.example.com"), refused, "another id");
        assert_eq!(code(&good, 7, "_kez.example.org"), refused, "another name");
        assert_eq!(code(&answer([1, 0], &["x"]), 7, "_kez.example.com"), refused, "a question");
        assert_eq!(code(&answer([0x83, 0], &["x"]), 7, "_kez.example.com"), refused, "truncated");
        for end in 0..good.len() {
            assert_eq!(code(&good[..end], 7, "_kez.example.com"), refused, "{end} bytes");
        }
        assert_eq!(query("a..b", 0).map_err(|f| f.code), Err(Code::DnsFailed));
    }

    /// What another reader of DNS says of the same bytes.
    fn by_domain(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let message = Message::from_octets(bytes).ok()?;
        let answers = message.answer().ok()?;
        let texts = answers
            .limit_to_in::<Txt<_>>()
            .map(|record| Some(record.ok()?.data().iter().collect::<Vec<&[u8]>>().concat()));
        texts.collect()
    }

    proptest! {
        /// What both readers can read of changed bytes they read alike.
        #[test]
        fn readers_agree(strings in prop::collection::vec("[a-z0-9]{0,20}", 1..4), at in 12..60_usize, byte: u8) {
            let texts: Vec<&str> = strings.iter().map(String::as_str).collect();
            let mut bytes = answer([0x81, 0x80], &texts);
            prop_assert_eq!(by_domain(&bytes), Some(alloc::vec![strings.concat().into_bytes()]));
            let at = at % bytes.len();
            bytes[at] = byte;
            let own = read(&bytes, 7, "_kez.example.com");
            if let (Ok(Body::Txt { records, .. }), Some(others)) = (own, by_domain(&bytes)) {
                prop_assert_eq!(records, others);
            }
        }
    }
}
