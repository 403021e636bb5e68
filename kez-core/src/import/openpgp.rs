//! Identity claims in an OpenPGP certificate: notations in the self-signatures of its user ids
//! (RFC 9580; <https://docs.keyoxide.org/openpgp-profiles/>). Signatures of Ed25519 and RSA keys are
//! checked; those of others are not, and their claims count as reported only. A whole OpenPGP
//! library would bring some 150 crates for this one reading.

use super::{Said, refused};
use crate::{Code, Error, Result};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use core::ops::RangeInclusive;
use ed25519_dalek::{Signature, VerifyingKey};
use rsa::{BoxedUint, Pkcs1v15Sign, traits::PublicKeyParts as _};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The names of the notations.
const NOTATIONS: [&[u8]; 2] = [b"proof@ariadne.id", b"proof@metacode.biz"];
/// An Ed25519 key in the older form: the curve's object identifier, with its length.
const OID: [u8; 10] = [9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1];

/// The sizes of the RSA keys that are read, in bits.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The fingerprint in lower-case hex.
    pub(super) fingerprint: String,
    /// The first user id.
    pub(super) name: Option<String>,
    /// Whether it came with any user id. Key servers leave those out that nobody confirmed.
    pub(super) has_users: bool,
    /// The claimed URIs, and whether their signature was checked.
    pub(super) claims: Vec<(String, Said)>,
}

impl Certificate {
    /// Reads a certificate, armored or not.
    ///
    /// # Errors
    /// `key_refused`; `revoked` for one that its owner has revoked.
    pub(super) fn read(file: &[u8]) -> Result<Self> {
        let bytes = dearmor(file);
        if crate::channel::is_page(file) {
            return Err(refused("a web page instead of an OpenPGP key"));
        }
        let bad = || Error::about(Code::KeyRefused, "no OpenPGP certificate");
        Self::parse(bytes.as_deref().unwrap_or(file)).ok_or_else(bad)?
    }

    fn parse(mut rest: &[u8]) -> Option<Result<Self>> {
        let (6, body) = packet(&mut rest)? else { return None };
        let key = Primary::read(body)?;
        let mut users: Vec<User<'_>> = Vec::new();
        let mut subkeys = false;
        while !rest.is_empty() {
            match packet(&mut rest)? {
                (13, id) => users.push(User { id, newest: None, revoked: false }),
                // Other packets with signatures of their own: attributes and subkeys.
                (17 | 14, _) => subkeys = true,
                (2, body) if !subkeys => {
                    let Some(signature) = Sig::read(body) else { continue };
                    let user = users.last_mut();
                    let Some(checked) = signature.by(&key, user.as_ref().map(|user| user.id))
                    else {
                        continue;
                    };
                    match (signature.kind, user) {
                        (0x20, None) => {
                            return Some(Err(Error::about(Code::Revoked, "the OpenPGP key")));
                        }
                        (0x30, Some(user)) => user.revoked = true,
                        (0x10..=0x13, Some(user))
                            if user
                                .newest
                                .as_ref()
                                .is_none_or(|(old, _)| old.at < signature.at) =>
                        {
                            user.newest = Some((signature, checked));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let mut claims: Vec<(String, Said)> = Vec::new();
        for user in users.iter().filter(|user| !user.revoked) {
            let Some((signature, said)) = &user.newest else { continue };
            for notation in &signature.notations {
                if !claims.iter().any(|(known, _)| known == notation) {
                    claims.push((notation.clone(), *said));
                }
            }
        }
        let name = users.iter().find(|user| !user.revoked);
        let name = name.map(|user| String::from_utf8_lossy(user.id).into_owned());
        let has_users = !users.is_empty();
        Some(Ok(Self { fingerprint: key.fingerprint, name, has_users, claims }))
    }
}

struct User<'a> {
    id: &'a [u8],
    newest: Option<(Sig<'a>, Said)>,
    revoked: bool,
}

/// A certificate's primary key.
struct Primary<'a> {
    body: &'a [u8],
    version: u8,
    fingerprint: String,
    /// None of another algorithm.
    material: Option<Material>,
}

enum Material {
    Ed25519(VerifyingKey),
    Rsa(rsa::PublicKey),
}

impl Material {
    /// Of an algorithm's number (RFC 9580, section 9.1).
    fn read(algorithm: u8, mut bytes: &[u8]) -> Option<Self> {
        match algorithm {
            1 | 3 => {
                let mut number = || {
                    let bytes = mpi(&mut bytes)?;
                    let bits = u32::try_from(8 * bytes.len()).ok()?;
                    BoxedUint::from_be_slice(bytes, bits).ok()
                };
                let (modulus, exponent) = (number()?, number()?);
                let key = rsa::PublicKey::new_with_size_limits(modulus, exponent, RSA_BITS);
                key.ok().map(Self::Rsa)
            }
            22 => Self::edwards(bytes.strip_prefix(&OID)?.get(2..)?.strip_prefix(&[0x40])?),
            27 => Self::edwards(bytes),
            _ => None,
        }
    }

    fn edwards(point: &[u8]) -> Option<Self> {
        VerifyingKey::try_from(point).ok().map(Self::Ed25519)
    }

    /// Nothing unless a signature over a digest is by this key; `padding` is how RSA signs such
    /// digests (RFC 8017, section 9.2).
    fn verify(&self, signature: &Sig<'_>, digest: &[u8], padding: Pkcs1v15Sign) -> Option<()> {
        let mut rest = signature.value;
        match (self, signature.algorithm) {
            (Self::Rsa(key), 1 | 3) => {
                let mut value = alloc::vec![0; key.size()];
                mpi_into(&mut rest, &mut value)?;
                key.verify(padding, digest, &value).ok()
            }
            (Self::Ed25519(key), 22) => {
                let mut bytes = [0; 64];
                for half in bytes.chunks_exact_mut(32) {
                    mpi_into(&mut rest, half)?;
                }
                key.verify_strict(digest, &Signature::from_bytes(&bytes)).ok()
            }
            (Self::Ed25519(key), 27) => {
                key.verify_strict(digest, &Signature::from_slice(rest).ok()?).ok()
            }
            _ => None,
        }
    }
}

impl<'a> Primary<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let version = *body.first()?;
        let mut out = Self { body, version, fingerprint: String::new(), material: None };
        let hashed = out.hashed();
        out.fingerprint = match version {
            4 => crate::hex::encode(&Sha1::digest(&hashed)),
            6 => crate::hex::encode(&Sha256::digest(&hashed)),
            _ => return None,
        };
        // Version 6 has the length of the material before it.
        let material = body.get(if version == 6 { 10.. } else { 6.. })?;
        out.material = Material::read(*body.get(5)?, material);
        Some(out)
    }

    /// As it is hashed: with its length before it.
    fn hashed(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).unwrap_or_default().to_be_bytes();
        let (mark, length) =
            if self.version == 6 { (0x9b, &length[..]) } else { (0x99, &length[2..]) };
        [&[mark], length, self.body].concat()
    }
}

/// A signature.
struct Sig<'a> {
    version: u8,
    kind: u8,
    algorithm: u8,
    hash: u8,
    /// All that is signed of it.
    hashed: &'a [u8],
    salt: &'a [u8],
    value: &'a [u8],
    at: u32,
    notations: Vec<String>,
}

impl<'a> Sig<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let [version @ (4 | 6), kind, algorithm, hash, ..] = *body else { return None };
        let mut at = 4;
        let wide = version == 6;
        let length = |at: &mut usize| {
            let bytes = body.get(*at..*at + if wide { 4 } else { 2 })?;
            *at += bytes.len();
            Some(bytes.iter().fold(0_usize, |all, b| all << 8 | usize::from(*b)))
        };
        let size = length(&mut at)?;
        let subpackets = body.get(at..at.checked_add(size)?)?;
        at += size;
        let hashed = &body[..at];
        let size = length(&mut at)?;
        // The unhashed part is anybody's.
        at = at.checked_add(size)?.checked_add(2)?;
        let mut salt: &[u8] = &[];
        if wide {
            let size = usize::from(*body.get(at)?);
            salt = body.get(at + 1..at + 1 + size)?;
            at += 1 + size;
        }
        let value = body.get(at..)?;
        let mut out = Self {
            version,
            kind,
            algorithm,
            hash,
            hashed,
            salt,
            value,
            at: 0,
            notations: Vec::new(),
        };
        let mut rest = subpackets;
        while !rest.is_empty() {
            let size = new_length(&mut rest)?;
            let (subpacket, tail) = rest.split_at_checked(size)?;
            rest = tail;
            match subpacket {
                [2 | 0x82, time @ ..] => out.at = u32::from_be_bytes(time.try_into().ok()?),
                [20 | 0x94, _, _, _, _, a, b, c, d, data @ ..] => {
                    let name = usize::from(u16::from_be_bytes([*a, *b]));
                    let value = usize::from(u16::from_be_bytes([*c, *d]));
                    let (name, data) = data.split_at_checked(name)?;
                    let value = data.get(..value)?;
                    if NOTATIONS.contains(&name) {
                        out.notations.push(String::from_utf8(value.into()).ok()?);
                    }
                }
                _ => {}
            }
        }
        Some(out)
    }

    /// Whether the key made it, for that user id; nothing if it did not.
    fn by(&self, key: &Primary<'_>, user: Option<&[u8]>) -> Option<Said> {
        let Some(material) = &key.material else { return Some(Said::Reported) };
        let mut data = Vec::from(self.salt);
        data.extend(key.hashed());
        if let Some(user) = user {
            data.push(0xb4);
            data.extend(u32::try_from(user.len()).ok()?.to_be_bytes());
            data.extend(user);
        }
        data.extend(self.hashed);
        data.extend([self.version, 0xff]);
        data.extend(u32::try_from(self.hashed.len()).ok()?.to_be_bytes());
        let (digest, padding) = match self.hash {
            8 => (Sha256::digest(&data).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
            9 => (Sha384::digest(&data).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
            10 => (Sha512::digest(&data).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
            _ => return None,
        };
        material.verify(self, &digest, padding).map(|()| Said::Signed)
    }
}

/// A multiprecision integer: its length in bits, and its bytes.
fn mpi<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bits, tail) = rest.split_first_chunk()?;
    let (number, tail) =
        tail.split_at_checked(usize::from(u16::from_be_bytes(*bits)).div_ceil(8))?;
    *rest = tail;
    Some(number)
}

/// As [`mpi`], with the zeros that such numbers are written without.
fn mpi_into(rest: &mut &[u8], out: &mut [u8]) -> Option<()> {
    let number = mpi(rest)?;
    let zeros = out.len().checked_sub(number.len())?;
    out[zeros..].copy_from_slice(number);
    Some(())
}

/// The next packet's type and body.
fn packet<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, tail) = rest.split_first()?;
    *rest = tail;
    let (kind, size) = if tag & 0xc0 == 0xc0 {
        (tag & 0x3f, new_length(rest)?)
    } else {
        let width = match tag & 0xc3 {
            0x80 => 1,
            0x81 => 2,
            0x82 => 4,
            // Without a length only the data of messages comes.
            _ => return None,
        };
        let (bytes, tail) = rest.split_at_checked(width)?;
        *rest = tail;
        (tag >> 2 & 0xf, bytes.iter().fold(0, |all, b| all << 8 | usize::from(*b)))
    };
    let (body, tail) = rest.split_at_checked(size)?;
    *rest = tail;
    Some((kind, body))
}

/// The length of a packet or subpacket in the newer form.
fn new_length(rest: &mut &[u8]) -> Option<usize> {
    let (first, tail) = rest.split_first()?;
    let (size, tail) = match (*first, tail) {
        (0..=191, tail) => (usize::from(*first), tail),
        (192..=254, [second, tail @ ..]) => {
            ((usize::from(*first) - 192) * 256 + usize::from(*second) + 192, tail)
        }
        (255, [a, b, c, d, tail @ ..]) => {
            (usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?, tail)
        }
        _ => return None,
    };
    *rest = tail;
    Some(size)
}

/// The bytes of an ASCII-armored block.
fn dearmor(file: &[u8]) -> Option<Vec<u8>> {
    let text = core::str::from_utf8(file).ok()?;
    let start = text.find("-----BEGIN PGP PUBLIC KEY BLOCK-----")?;
    let mut lines = text[start..].lines().skip(1);
    // Headers end at the first empty line.
    lines.find(|line| line.trim().is_empty())?;
    let data: String =
        lines.map(str::trim).take_while(|line| !line.starts_with(['=', '-'])).collect();
    STANDARD.decode(data).ok()
}

/// Where a certificate is asked for by its owner's mail address (draft-koch-openpgp-webkey-service):
/// the advanced method, and the direct one.
pub(super) fn web_key_directory(address: &str) -> Result<[String; 2]> {
    const DIGITS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let bad = || Error::about(Code::IdentityRefused, address);
    let (local, domain) = address.rsplit_once('@').ok_or_else(bad)?;
    let domain = domain.to_ascii_lowercase();
    if local.is_empty() || !crate::identity::domain::is_domain(&domain) {
        return Err(bad());
    }
    let hash = Sha1::digest(local.to_ascii_lowercase());
    let mut name = String::new();
    for five in hash.chunks_exact(5) {
        let bits = five.iter().fold(0_u64, |all, b| all << 8 | u64::from(*b));
        for digit in (0..8).rev() {
            let digit = usize::try_from(bits >> (5 * digit) & 31).unwrap_or_default();
            name.push(char::from(DIGITS[digit]));
        }
    }
    let local = crate::channel::encode(local);
    Ok([
        format!("https://openpgpkey.{domain}/.well-known/openpgpkey/{domain}/hu/{name}?l={local}"),
        format!("https://{domain}/.well-known/openpgpkey/hu/{name}?l={local}"),
    ])
}

/// A fingerprint in lower-case hex, as people write it.
pub(super) fn fingerprint(text: &str) -> Option<String> {
    let text =
        text.strip_prefix("openpgp4fpr:").or_else(|| text.strip_prefix("0x")).unwrap_or(text);
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = digits.to_ascii_lowercase();
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && matches!(digits.len(), 40 | 64)).then_some(digits)
}

/// Refuses another certificate than the one that was asked for.
pub(super) fn expect(certificate: Certificate, fingerprint: &str) -> Result<Certificate> {
    if certificate.fingerprint == fingerprint {
        Ok(certificate)
    } else {
        Err(refused("another key than the one that was asked for"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Certificate, fingerprint, web_key_directory};

    #[test]
    fn addresses_of_the_draft() {
        let [advanced, direct] = web_key_directory("Joe.Doe@Example.ORG").unwrap();
        let name = "iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe";
        assert_eq!(
            advanced,
            alloc::format!(
                "https://openpgpkey.example.org/.well-known/openpgpkey/example.org/hu/{name}"
            )
        );
        assert_eq!(direct, alloc::format!("https://example.org/.well-known/openpgpkey/hu/{name}"));
        for bad in ["joe", "@example.org", "joe@example", "joe@exa/mple.org"] {
            assert!(web_key_directory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_as_people_write_them() {
        let plain = "0123456789abcdef0123456789abcdef01234567";
        for good in [
            "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
            "openpgp4fpr:0123456789abcdef0123456789abcdef01234567",
            "0x0123456789ABCDEF0123456789ABCDEF01234567",
        ] {
            assert_eq!(fingerprint(good).as_deref(), Some(plain), "{good}");
        }
        assert_eq!(fingerprint("0123456789abcdef"), None);
    }

    #[test]
    fn rubbish_is_refused() {
        let armor =
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxsBN\n-----END PGP PUBLIC KEY BLOCK-----";
        let cases: [&[u8]; 5] =
            [b"", b"hello", &[0xc6, 0xff, 0xff], &[0x98, 1, 9], armor.as_bytes()];
        for bad in cases {
            let error = Certificate::read(bad).map(|_| ()).unwrap_err();
            assert_eq!(error.code(), crate::Code::KeyRefused, "{bad:?}");
        }
    }
}
