//! What two nostr keys say to each other, encrypted (NIP-44, version 2).

use crate::{Code, Error, Key, Result, SecretKey};
use alloc::{string::String, vec, vec::Vec};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::{PublicKey, ecdh::diffie_hellman};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 2;
/// Version, nonce, the shortest padded text with its length, and the tag.
const MIN_PAYLOAD: usize = 1 + 32 + 2 + 32 + 32;

/// What two keys share, in both directions.
pub(super) struct Conversation(Hkdf<Sha256>);

struct MessageKeys {
    cipher: ChaCha20,
    mac: Hmac<Sha256>,
}

impl Conversation {
    /// Between a key of ours and somebody's nostr key.
    pub(super) fn new(ours: &SecretKey, theirs: &Key) -> Result<Self> {
        let refused = |_| Error::about(Code::KeyRefused, theirs);
        let scalar = k256::SecretKey::from_slice(ours.expose_bytes()).map_err(refused)?;
        // BIP-340: a key of 32 bytes is the point of that x with an even y.
        let point = [&[2][..], &theirs.to_bytes()].concat();
        let point = PublicKey::from_sec1_bytes(&point).map_err(refused)?;
        let shared = diffie_hellman(scalar.to_nonzero_scalar(), point.as_affine());
        Ok(Self(Hkdf::extract(Some(b"nip44-v2"), shared.raw_secret_bytes()).1))
    }

    fn keys(&self, nonce: &[u8]) -> Result<MessageKeys> {
        let mut bytes = Zeroizing::new([0; 76]);
        self.0.expand(nonce, &mut bytes[..]).map_err(|_| Code::KeyRefused)?;
        let cipher = ChaCha20::new_from_slices(&bytes[..32], &bytes[32..44]);
        let mac = Hmac::new_from_slice(&bytes[44..]).map_err(|_| Code::KeyRefused)?;
        Ok(MessageKeys { cipher: cipher.map_err(|_| Code::KeyRefused)?, mac })
    }

    /// Encrypts, with a nonce of fresh randomness.
    pub(super) fn seal(&self, plain: &str, nonce: &[u8; 32]) -> Result<String> {
        let length = u16::try_from(plain.len()).map_err(|_| Code::TooLarge)?;
        let mut text = Zeroizing::new(vec![0; 2 + padded(plain.len())]);
        text[..2].copy_from_slice(&length.to_be_bytes());
        text[2..2 + plain.len()].copy_from_slice(plain.as_bytes());
        let MessageKeys { mut cipher, mut mac } = self.keys(nonce)?;
        cipher.apply_keystream(&mut text);
        mac.update(nonce);
        mac.update(&text);
        let tag = mac.finalize().into_bytes();
        Ok(STANDARD.encode([&[VERSION][..], nonce, &text, &tag].concat()))
    }

    /// Decrypts.
    pub(super) fn open(&self, payload: &str) -> Result<Zeroizing<String>> {
        let refused = || Error::about(Code::ResponseRefused, "an encrypted answer (NIP-44)");
        let bytes = STANDARD.decode(payload).map_err(|_| refused())?;
        if bytes.len() < MIN_PAYLOAD || bytes[0] != VERSION {
            return Err(refused());
        }
        let (head, tag) = bytes.split_at(bytes.len() - 32);
        let (nonce, text) = head[1..].split_at(32);
        let MessageKeys { mut cipher, mut mac } = self.keys(nonce)?;
        mac.update(nonce);
        mac.update(text);
        mac.verify_slice(tag).map_err(|_| refused())?;
        let mut text = Zeroizing::new(Vec::from(text));
        cipher.apply_keystream(&mut text);
        let length = usize::from(u16::from_be_bytes([text[0], text[1]]));
        if length == 0 || text.len() != 2 + padded(length) {
            return Err(refused());
        }
        let plain = String::from_utf8(Vec::from(&text[2..2 + length]));
        plain.map(Zeroizing::new).map_err(|_| refused())
    }
}

/// The length to which a plaintext of 1 to 65,535 bytes is padded.
const fn padded(length: usize) -> usize {
    if length <= 32 {
        return 32;
    }
    let power = length.next_power_of_two();
    let chunk = if power <= 256 { 32 } else { power / 8 };
    length.div_ceil(chunk) * chunk
}

#[cfg(test)]
mod tests {
    use super::{Conversation, padded};
    use crate::{Scheme, SecretKey};
    use alloc::string::String;

    fn key(last: u8) -> SecretKey {
        let mut bytes = [0; 32];
        bytes[31] = last;
        SecretKey::from_bytes(Scheme::Nostr, bytes).unwrap()
    }

    /// The first vector of NIP-44.
    #[test]
    fn others_read_it() {
        let payload = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABee0G5VSK0/9YypIObAtDKfYEAjD35uVkHyB0F4DwrcNaCXlCWZKaArsGrY6M9wnuTMxWfp1RTN9Xga8no+kF5Vsb";
        let (one, two) = (key(1), key(2));
        let sealed = Conversation::new(&one, two.public()).unwrap();
        let mut nonce = [0; 32];
        nonce[31] = 1;
        assert_eq!(sealed.seal("a", &nonce).unwrap(), payload);
        let opened = Conversation::new(&two, one.public()).unwrap();
        assert_eq!(opened.open(payload).unwrap().as_str(), "a");
        // Another version, a text that was changed, and one that was cut.
        let version = payload.replacen("Ag", "AQ", 1);
        for changed in [version, payload.replace("e0G5", "e0G6"), payload[..128].into()] {
            assert!(opened.open(&changed).is_err(), "{changed}");
        }
        assert!(Conversation::new(&key(3), one.public()).unwrap().open(payload).is_err());
    }

    /// The table of padded lengths of NIP-44.
    #[test]
    fn lengths_are_hidden() {
        let table =
            [(16, 32), (32, 32), (33, 64), (37, 64), (45, 64), (49, 64), (64, 64), (65, 96)];
        let more = [(100, 128), (111, 128), (200, 224), (250, 256), (320, 320), (383, 384)];
        let large = [(384, 384), (400, 448), (500, 512), (512, 512), (515, 640), (700, 768)];
        let larger = [(800, 896), (900, 1024), (1020, 1024), (65_535, 65_536)];
        for (length, want) in table.into_iter().chain(more).chain(large).chain(larger) {
            assert_eq!(padded(length), want, "{length}");
        }
        let there = Conversation::new(&key(5), key(6).public()).unwrap();
        for length in [1, 32, 33, 1000, 65_535] {
            let text = "ü".repeat(length / 2) + &"x".repeat(length % 2);
            let sealed = there.seal(&text, &[9; 32]).unwrap();
            assert_eq!(there.open(&sealed).unwrap().as_str(), text);
        }
        assert!(there.seal(&String::from("x").repeat(65_536), &[9; 32]).is_err());
    }
}
