//! Hashed proofs of Keyoxide: the hash of the profile's name, so that the proof does not reveal to
//! which key an account belongs (<https://docs.keyoxide.org/hashed-proofs/>).

use crate::{Code, Error, Result};
use alloc::{format, string::String, vec::Vec};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// The most memory that one hash may take, in KiB.
const MAX_MEMORY: u32 = 64 * 1024;
/// The most memory times passes, in KiB: some seconds of a browser.
const MAX_WORK: u32 = 256 * 1024;
/// How many hashes of one account are tried.
const MAX_HASHES: usize = 4;

/// Whether one of these texts has a hash of the word.
///
/// # Errors
/// `no_channel` if none does, and one is of a kind that is not read here.
pub(super) fn any(texts: &[String], word: &str) -> Result<bool> {
    let word = word.to_ascii_lowercase();
    let mut unread = None;
    let mut tried = 0;
    for token in texts.iter().flat_map(|text| tokens(text)) {
        let Some(hash) = Argon2Hash::read(token).filter(|_| tried < MAX_HASHES) else {
            unread.get_or_insert(token);
            continue;
        };
        tried += 1;
        if hash.matches(&word) {
            return Ok(true);
        }
    }
    match unread.and_then(|token| token.split('$').nth(1)) {
        Some(kind) => {
            let kind = if kind.starts_with('2') { "bcrypt" } else { kind };
            let why = format!("the account has a proof hashed by {kind}, which is not read here");
            Err(Error::about(Code::NoChannel, why))
        }
        None => Ok(false),
    }
}

/// The hashes in a text: of argon2 as in the PHC string format, and of bcrypt.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let digit = |c: char| c.is_ascii_alphanumeric() || "$+/.,=-".contains(c);
    let words = text.split(move |c| !digit(c)).filter_map(|word| {
        let at = word.find('$')?;
        Some(word[at..].trim_end_matches(['.', ',']))
    });
    words.filter(|word| {
        let kind = word.split('$').nth(1).unwrap_or_default();
        kind.starts_with("argon2") || matches!(kind, "2a" | "2b" | "2y")
    })
}

struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// Reads a hash, unless it is malformed or takes too much to check.
    fn read(token: &str) -> Option<Self> {
        let parts: Vec<&str> = token.split('$').collect();
        let ["", algorithm, version, params, salt, hash] = parts[..] else { return None };
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        let (mut memory, mut passes, mut lanes) = (0, 0, 0);
        for param in params.split(',') {
            let (name, value) = param.split_once('=')?;
            let value: u32 = value.parse().ok()?;
            match name {
                "m" => memory = value,
                "t" => passes = value,
                "p" => lanes = value,
                _ => return None,
            }
        }
        if memory > MAX_MEMORY || memory.checked_mul(passes)? > MAX_WORK || lanes > 16 {
            return None;
        }
        Some(Self {
            algorithm: match algorithm {
                "argon2d" => Algorithm::Argon2d,
                "argon2i" => Algorithm::Argon2i,
                "argon2id" => Algorithm::Argon2id,
                _ => return None,
            },
            version: match version {
                "v=16" => Version::V0x10,
                "v=19" => Version::V0x13,
                _ => return None,
            },
            params: Params::new(memory, passes, lanes, Some(hash.len())).ok()?,
            salt: STANDARD_NO_PAD.decode(salt).ok()?,
            hash,
        })
    }

    fn matches(&self, word: &str) -> bool {
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let mut hash = alloc::vec![0; self.hash.len()];
        let hashed = argon2.hash_password_into(word.as_bytes(), &self.salt, &mut hash);
        hashed.is_ok() && hash == self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "openpgp4fpr:0123456789abcdef0123456789abcdef01234567";

    fn hash(word: &str) -> String {
        let params = Params::new(64, 1, 1, Some(32)).unwrap();
        let mut out = [0; 32];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(word.as_bytes(), b"some salt", &mut out).unwrap();
        let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        format!("$argon2id$v=19$m=64,t=1,p=1${}${}", encode(b"some salt"), encode(&out))
    }

    #[test]
    fn hashes_of_the_word_and_of_others() {
        let any = |text: String| any(&[text], WORD).map_err(|e| e.code());
        assert_eq!(any(format!("My proof: {}.", hash(WORD))), Ok(true));
        assert_eq!(any(format!("{} and {}", hash("other"), hash(WORD))), Ok(true));
        assert_eq!(any(hash("other")), Ok(false));
        assert_eq!(any("costs $5, $argon".into()), Ok(false));
        for unread in [
            "$2a$08$KezCasesKezCasesKezCaurS4ZyUBDPZHby.jhnienX3wya9eve2e",
            "$argon2id$v=19$m=4000000,t=3,p=2$c29tZSBzYWx0$AAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=512,t=4294967295,p=2$c29tZSBzYWx0$AAAAAAAAAAAAAAAA",
            "$argon2id$broken",
        ] {
            assert_eq!(any(unread.into()), Err(Code::NoChannel), "{unread}");
            assert_eq!(any(format!("{unread} {}", hash(WORD))), Ok(true), "{unread}");
        }
    }
}
