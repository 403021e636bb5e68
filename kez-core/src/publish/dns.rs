//! The TXT record at `_kez`, by a dynamic update (RFC 2136) that a key signs (TSIG, RFC 8945). An
//! update names single records, so that others' at the same name are not touched.
//!
//! Written here, since the crates that know TSIG bring a C library along, which WebAssembly has not.

use super::accounts::{Change, Credential, Placed, Publisher, Web, merge};
use crate::{
    Code, Error, ObjectId, Proof, Result, SignedClaim, Timestamp,
    channel::diagnose,
    dns,
    proof::{self, Form},
    transport::Body,
};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

const TYPE_SOA: u16 = 6;
const TYPE_TXT: u16 = 16;
const TYPE_TSIG: u16 = 250;
const CLASS_IN: u16 = 1;
const CLASS_NONE: u16 = 254;
const CLASS_ANY: u16 = 255;
/// Seconds that a resolver may keep the record.
const TTL: u32 = 300;
/// Seconds by which the two clocks may differ.
const FUDGE: u16 = 300;

/// The TSIG error of a key that is not known.
const BAD_KEY: u8 = 17;

/// The opcode of an update, in the header's third byte (RFC 2136, section 2.2).
const UPDATE: u8 = 5 << 3;

#[derive(Clone, Copy)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A key that a name server knows by its name, as `nsupdate -y` takes it:
/// `hmac-sha256:name:base64`.
struct TsigKey {
    algorithm: Algorithm,
    name: String,
    secret: Zeroizing<Vec<u8>>,
}

impl TsigKey {
    fn parse(text: &str) -> Result<Self> {
        let bad = || Error::about(Code::CredentialRefused, "hmac-sha256:name:base64 is wanted");
        let mut parts = text.splitn(3, ':');
        let (Some(algorithm), Some(name), Some(secret)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let algorithm = match algorithm.to_ascii_lowercase().trim_end_matches('.') {
            "hmac-sha256" => Algorithm::Sha256,
            "hmac-sha384" => Algorithm::Sha384,
            "hmac-sha512" => Algorithm::Sha512,
            _ => return Err(bad()),
        };
        let secret = Zeroizing::new(STANDARD.decode(secret).map_err(|_| bad())?);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        Ok(Self { algorithm, name, secret })
    }

    const fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Sha256 => "hmac-sha256",
            Algorithm::Sha384 => "hmac-sha384",
            Algorithm::Sha512 => "hmac-sha512",
        }
    }

    fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        fn by<M: Mac + hmac::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            // HMAC takes keys of any length.
            let Ok(mut mac) = <M as hmac::KeyInit>::new_from_slice(key) else { return Vec::new() };
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        match self.algorithm {
            Algorithm::Sha256 => by::<Hmac<Sha256>>(&self.secret, parts),
            Algorithm::Sha384 => by::<Hmac<Sha384>>(&self.secret, parts),
            Algorithm::Sha512 => by::<Hmac<Sha512>>(&self.secret, parts),
        }
    }

    /// What is signed beside the message (RFC 8945, section 4.3.3).
    fn variables(&self, time: u64, fudge: u16, error: u16, other: &[u8]) -> Result<Vec<u8>> {
        let mut out = name(&self.name)?;
        out.extend(CLASS_ANY.to_be_bytes());
        out.extend(0_u32.to_be_bytes());
        out.extend(name(self.algorithm_name())?);
        out.extend(&time.to_be_bytes()[2..]);
        out.extend(fudge.to_be_bytes());
        out.extend(error.to_be_bytes());
        out.extend(length(other)?);
        out.extend(other);
        Ok(out)
    }

    /// Signs a message. Gives it whole, and the MAC, to which the answer is bound.
    fn sign(&self, mut message: Vec<u8>, now: Timestamp) -> Result<(Vec<u8>, Vec<u8>)> {
        let time = u64::try_from(now.seconds()).unwrap_or_default();
        let mac = self.mac(&[&message, &self.variables(time, FUDGE, 0, &[])?]);
        let mut data = name(self.algorithm_name())?;
        data.extend(&time.to_be_bytes()[2..]);
        data.extend(FUDGE.to_be_bytes());
        data.extend(length(&mac)?);
        data.extend(&mac);
        data.extend(&message[..2]);
        data.extend([0; 4]);
        message.extend(name(&self.name)?);
        message.extend(TYPE_TSIG.to_be_bytes());
        message.extend(CLASS_ANY.to_be_bytes());
        message.extend(0_u32.to_be_bytes());
        message.extend(length(&data)?);
        message.extend(data);
        // One record is in the additional section.
        message[11] = 1;
        Ok((message, mac))
    }

    /// The response code of an answer that this key signed, over the request's MAC.
    fn open(&self, answer: &[u8], request: &[u8], mac: &[u8]) -> Result<u8> {
        let refused = || Error::about(Code::ResponseRefused, "the answer to the update");
        let header = answer.get(..12).ok_or_else(refused)?;
        if header[..2] != request[..2] || header[2] & 0xf8 != 0x80 | UPDATE {
            return Err(refused());
        }
        let rcode = header[3] & 0xf;
        let Some(tsig) = Tsig::last_of(answer) else {
            // A server that does not know the key cannot sign; neither can who pretends to be it.
            return if rcode == 0 { Err(refused()) } else { Ok(rcode) };
        };
        let why = match tsig.error {
            16 => "the name server has another secret of that key",
            // Some servers say so of a key that they know, for a zone that is not there or not its.
            17 => return Ok(BAD_KEY),
            18 => "the clocks differ by more than 5 minutes",
            _ => "",
        };
        if rcode != 0 && !why.is_empty() {
            return Err(Error::about(Code::CredentialRefused, why));
        }
        let mut unsigned = answer[..tsig.start].to_vec();
        unsigned[10..12].copy_from_slice(&(tsig.additional - 1).to_be_bytes());
        let length = length(mac)?;
        let variables = self.variables(tsig.time, tsig.fudge, tsig.error, tsig.other)?;
        let own = self.mac(&[&length, mac, &unsigned, &variables]);
        if own == tsig.mac { Ok(rcode) } else { Err(refused()) }
    }
}

/// The TSIG record at a message's end.
struct Tsig<'a> {
    start: usize,
    additional: u16,
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    error: u16,
    other: &'a [u8],
}

impl<'a> Tsig<'a> {
    fn last_of(message: &'a [u8]) -> Option<Self> {
        let count =
            |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let additional = count(10)?;
        let mut at = 12;
        for _ in 0..count(4)? {
            at = skip_name(message, at)? + 4;
        }
        let records = usize::from(count(6)?) + usize::from(count(8)?) + usize::from(additional);
        for _ in 1..records {
            let fixed = skip_name(message, at)?;
            at = fixed + 10 + usize::from(count(fixed + 8)?);
        }
        let fixed = skip_name(message, at)?;
        if additional == 0 || count(fixed)? != TYPE_TSIG {
            return None;
        }
        let data = skip_name(message, fixed + 10)?;
        let time = message.get(data..data + 6)?;
        let time = time.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let fudge = count(data + 6)?;
        let size = usize::from(count(data + 8)?);
        let mac = message.get(data + 10..data + 10 + size)?;
        // The original id is before the error.
        let error = data + 10 + size + 2;
        let other = message.get(error + 4..error + 4 + usize::from(count(error + 2)?))?;
        Some(Self { start: at, additional, time, fudge, mac, error: count(error)?, other })
    }
}

/// Where a name ends (RFC 1035, section 4.1.4).
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// A name on the wire.
fn name(text: &str) -> Result<Vec<u8>> {
    let question = dns::query(text, 0).map_err(|f| Error::about(f.code, text))?;
    // Header, name, type and class.
    Ok(question[12..question.len() - 4].to_vec())
}

fn length(data: &[u8]) -> Result<[u8; 2]> {
    let length = u16::try_from(data.len());
    length.map(u16::to_be_bytes).map_err(|_| Error::about(Code::TooLarge, data.len()))
}

/// A TXT record's data: the character-strings.
fn txt_data(compact: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for part in proof::to_txt_strings(compact) {
        data.push(u8::try_from(part.len()).unwrap_or_default());
        data.extend(part.as_bytes());
    }
    data
}

/// A record to be added (class IN), or removed (class NONE).
fn record(owner: &str, class: u16, data: &[u8]) -> Result<Vec<u8>> {
    let mut out = name(owner)?;
    out.extend(TYPE_TXT.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(if class == CLASS_IN { TTL } else { 0 }.to_be_bytes());
    out.extend(length(data)?);
    out.extend(data);
    Ok(out)
}

/// An update of a zone (RFC 2136, section 2).
fn update(zone: &str, records: &[Vec<u8>], id: [u8; 2]) -> Result<Vec<u8>> {
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    let mut out = Vec::from(id);
    out.extend([UPDATE, 0, 0, 1, 0, 0]);
    out.extend(count.to_be_bytes());
    out.extend([0, 0]);
    out.extend(name(zone)?);
    out.extend(TYPE_SOA.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(records.iter().flatten());
    Ok(out)
}

/// Sends an update to the zone that has the domain: the domain's own, or that of one above it.
async fn send(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
    records: &[Vec<u8>],
) -> Result<()> {
    let server = server(credential)?;
    let key = TsigKey::parse(credential.secret())?;
    let domain = credential.account().value();
    let mut zone = domain;
    loop {
        let seed = format!("{zone} {}", publisher.now.seconds());
        let digest = ObjectId::digest("dns", seed.as_bytes());
        let [a, b, ..] = *digest.as_bytes();
        let (request, mac) = key.sign(update(zone, records, [a, b])?, publisher.now)?;
        let answer = publisher.web.exchange(server, &request).await;
        let answer = answer.map_err(|f| f.at(server))?;
        let rcode = key.open(&answer, &request, &mac)?;
        match (rcode, zone.split_once('.')) {
            (0, _) => return Ok(()),
            // Not the name of a zone here: one above it may be.
            (9 | 10 | BAD_KEY, Some((_, above))) if above.contains('.') => zone = above,
            (BAD_KEY, _) => {
                let why = format!("{server}: it does not know the key, or not for {domain}");
                return Err(Error::about(Code::CredentialRefused, why));
            }
            (5 | 9, _) => {
                let why = format!("{server}: the key may not change {domain}");
                return Err(Error::about(Code::ScopeMissing, why));
            }
            _ => {
                let why = format!("{server}: response code {rcode}");
                return Err(Error::about(Code::PublishRefused, why));
            }
        }
    }
}

fn server(credential: &Credential) -> Result<&str> {
    let missing = || Error::about(Code::CredentialRefused, "no name server is named");
    credential.server().ok_or_else(missing)
}

pub(super) async fn sign_in(
    publisher: &Publisher<'_, impl Web>,
    credential: &Credential,
) -> Result<()> {
    // An update of nothing: the server looks at the key all the same.
    send(publisher, credential, &[]).await
}

pub(super) async fn place(
    publisher: &Publisher<'_, impl Web>,
    signed: &SignedClaim,
    credential: &Credential,
) -> Result<Placed> {
    let server = server(credential)?;
    let owner = format!("_kez.{}", credential.account().value());
    // The server itself is asked: a resolver may have what was there before.
    let failed = |f: crate::transport::Failure| f.at(server);
    let question = dns::query(&owner, 0).map_err(failed)?;
    let answer = publisher.web.exchange(server, &question).await.map_err(failed)?;
    let Body::Txt { records, .. } = dns::read(&answer, 0, &owner).map_err(failed)? else {
        return Err(Error::about(Code::ResponseRefused, server));
    };
    let mut changes = Vec::new();
    let mut warnings = Vec::new();
    for there in records.iter().filter_map(|record| core::str::from_utf8(record).ok()) {
        if let Some(why) = diagnose(there) {
            if is_ours(there, signed) {
                changes.push(record(&owner, CLASS_NONE, &txt_data(there))?);
            } else {
                warnings.push(format!("{owner} has a record that is nearly a proof: {why}"));
            }
            continue;
        }
        match merge(there, signed, Form::Compact) {
            None => return Ok(Placed::of(Change::Unchanged, None)),
            // An older one of the same is one that merging replaces as a whole.
            Some(merged) if !merged.starts_with(there) => {
                changes.push(record(&owner, CLASS_NONE, &txt_data(there))?);
            }
            Some(_) => {}
        }
    }
    let change = if changes.is_empty() { Change::Created } else { Change::Updated };
    if publisher.dry_run {
        return Ok(Placed { change, url: None, warnings });
    }
    let compact = proof::to_compact(signed.envelope());
    changes.push(record(&owner, CLASS_IN, &txt_data(&compact))?);
    send(publisher, credential, &changes).await?;
    Ok(Placed { change, url: None, warnings })
}

/// Whether a text has a claim of the same subject by the same identity.
fn is_ours(text: &str, signed: &SignedClaim) -> bool {
    let (subject, primary) = (&signed.claim().subject, &signed.claim().primary);
    let mut found = proof::find(text).found.into_iter().filter_map(|found| found.proof.ok());
    found.any(|proof| match proof {
        Proof::Claim(old) => old.claim().subject == *subject && old.claim().primary == *primary,
        Proof::Pointer(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TsigKey {
        TsigKey::parse("hmac-sha256:kez-test:c2VjcmV0").unwrap()
    }

    /// A request, its authenticator, the signed answer to it as a server would make it (RFC 8945,
    /// section 5.3), and where its record begins.
    fn answered() -> (Vec<u8>, Vec<u8>, Vec<u8>, usize) {
        let now = Timestamp::from_seconds(1_795_262_400);
        let zone = update("example.com", &[], [1, 2]).unwrap();
        let (request, mac) = key().sign(zone.clone(), now).unwrap();
        let mut answer = zone;
        answer[2] |= 0x80;
        let time = 1_795_262_401_u64;
        let variables = key().variables(time, 600, 0, &[]).unwrap();
        let own = key().mac(&[&length(&mac).unwrap(), &mac, &answer, &variables]);
        answer[11] = 1;
        let record = answer.len();
        answer.extend(name("kez-test").unwrap());
        answer.extend([0, 250, 0, 255, 0, 0, 0, 0]);
        let mut data = name("hmac-sha256").unwrap();
        data.extend(&time.to_be_bytes()[2..]);
        data.extend([2, 88, 0, 32]);
        data.extend(own);
        data.extend([1, 2, 0, 0, 0, 0]);
        answer.extend(length(&data).unwrap());
        answer.extend(data);
        (request, mac, answer, record)
    }

    #[test]
    fn only_the_servers_own_answer_counts() {
        let (request, mac, answer, record) = answered();
        assert_eq!(key().open(&answer, &request, &mac), Ok(0));
        assert!(key().open(&answer, &request, &[0; 32]).is_err(), "to another request");
        for end in 0..answer.len() {
            let cut = key().open(&answer[..end], &request, &mac);
            assert_ne!(cut, Ok(0), "{end} bytes");
        }
        for (at, bit) in (0..answer.len()).flat_map(|at| (0..8).map(move |bit| (at, 1 << bit))) {
            let mut changed = answer.clone();
            changed[at] ^= bit;
            // Of the record, the names count as the key has them, and the original id repeats ours.
            let data = record + name("kez-test").unwrap().len() + 10;
            let names = record..data + name("hmac-sha256").unwrap().len();
            let original = answer.len() - 6..answer.len() - 4;
            let told = key().open(&changed, &request, &mac);
            let signed = !names.contains(&at) && !original.contains(&at);
            assert!(told != Ok(0) || !signed, "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn keys_are_those_of_nsupdate() {
        for good in ["HMAC-SHA512.:Key.Example.:AAAA", "hmac-sha384:k:AAAA"] {
            assert!(TsigKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "hmac-sha256:k", "hmac-md5:k:AAAA", "hmac-sha256:k:!", "k:AAAA"] {
            let code = TsigKey::parse(bad).map(drop).unwrap_err().code();
            assert_eq!(code, Code::CredentialRefused, "{bad}");
        }
    }
}
