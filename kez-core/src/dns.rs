//! DNS messages for TXT lookups, as every transport sends them: over HTTPS (RFC 8484) or plain.

use crate::{
    Code,
    transport::{Body, Failure},
};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use core::str::FromStr as _;
use domain::{
    base::{Message, MessageBuilder, Name, Rtype, name::ToName as _},
    rdata::Txt,
};

/// The media type of DNS messages over HTTPS (RFC 8484).
pub const MEDIA_TYPE: &str = "application/dns-message";
/// The largest DNS message in bytes (RFC 1035).
pub const MAX_MESSAGE: usize = 65_535;

fn failed(why: impl Into<String>) -> Failure {
    Failure::new(Code::DnsFailed, why)
}

fn parse_name(name: &str) -> Result<Name<Vec<u8>>, Failure> {
    Name::from_str(name).map_err(|_| failed(format!("{name} is no domain name")))
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
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    builder.header_mut().set_ad(true);
    let mut builder = builder.question();
    let refused = |_| failed(format!("{name} is too long"));
    builder.push((parse_name(name)?, Rtype::TXT)).map_err(refused)?;
    Ok(builder.finish())
}

/// The URL of a GET that asks a resolver over HTTPS. Its id is 0, so that answers can be cached
/// (RFC 8484, section 4.1).
///
/// # Errors
/// As [`query`].
pub fn doh_url(resolver: &str, name: &str) -> Result<String, Failure> {
    Ok(format!("{resolver}?dns={}", URL_SAFE_NO_PAD.encode(query(name, 0)?)))
}

/// Reads the answer to [`query`]. The answer section holds the CNAMEs that were followed, which
/// are skipped, and the records at their end.
///
/// # Errors
/// `response_refused` for what is no whole answer to this question.
pub fn read(bytes: &[u8], id: u16, name: &str) -> Result<Body, Failure> {
    let refused = |why: &str| Failure::new(Code::ResponseRefused, why);
    let garbled = || refused("not a DNS message");
    let message = Message::from_octets(bytes).map_err(|_| garbled())?;
    let header = message.header();
    if header.id() != id || !header.qr() || header.tc() {
        return Err(refused("not an answer to the question"));
    }
    let wanted = parse_name(name)?;
    if !message.first_question().is_none_or(|q| q.qname().name_eq(&wanted)) {
        return Err(refused("the answer is to another question"));
    }
    let mut records = Vec::new();
    for record in message.answer().map_err(|_| garbled())?.limit_to::<Txt<_>>() {
        let record = record.map_err(|_| garbled())?;
        records.push(record.data().iter().collect::<Vec<&[u8]>>().concat());
    }
    let rcode = header.rcode().to_int();
    Ok(Body::Txt { rcode, records, authentic: header.ad() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(body, Body::Txt { rcode: 0, records, authentic: true });
        let unsigned = read(&answer([0x81, 0x83], &["x"]), 7, "_kez.example.com").unwrap();
        assert!(matches!(unsigned, Body::Txt { rcode: 3, authentic: false, .. }));
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
}
