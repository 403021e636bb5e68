//! Secret keys as files: encrypted with a passphrase (Argon2id of RFC 9106, then
//! XChaCha20-Poly1305 with the public identity as associated data), or plain. The command keeps
//! its keys in them, and pages export them.

use crate::{
    Code, Error, Identity, Result, Scheme, SecretKey, hex,
    json::{Members, Value},
};
use alloc::{
    format,
    string::{String, ToString as _},
};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 64 * 1024;
/// KiB, passes and lanes, as RFC 9106 recommends for little memory.
const ARGON: Costs = Costs { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
/// A damaged file must not make us allocate or compute without bound.
const MOST: Costs = Costs { memory_kib: 1 << 20, passes: 64, lanes: 64 };

#[derive(Clone, Copy)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A key file. Whether its secret is what it says shows when it is opened.
///
/// ```
/// use kez_core::{Scheme, SecretKey, keyfile::KeyFile};
///
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32]).unwrap();
/// let text = KeyFile::encrypt(&key, "correct horse", &[1; 32], &[2; 24]).unwrap().to_text();
/// let file = KeyFile::read(text.as_bytes()).unwrap();
/// assert!(file.is_encrypted() && !text.contains("0707"));
/// assert_eq!(file.open("correct horse").unwrap().expose_bytes(), key.expose_bytes());
/// assert_eq!(file.open("battery staple").unwrap_err().code().as_str(), "passphrase_wrong");
/// ```
pub struct KeyFile {
    public: Identity,
    secret: Stored,
}

enum Stored {
    Plain(Zeroizing<[u8; 32]>),
    Encrypted { costs: Costs, salt: [u8; 32], nonce: [u8; 24], data: [u8; 48] },
}

impl KeyFile {
    /// A file that anybody can open who can read it.
    #[must_use]
    pub fn plain(key: &SecretKey) -> Self {
        let secret = Stored::Plain(Zeroizing::new(*key.expose_bytes()));
        Self { public: key.public().identity().clone(), secret }
    }

    /// A file that the passphrase opens. Salt and nonce must be fresh and random.
    ///
    /// # Errors
    /// `key_file`, if 64 MiB of memory cannot be had.
    pub fn encrypt(
        key: &SecretKey,
        passphrase: &str,
        salt: &[u8; 32],
        nonce: &[u8; 24],
    ) -> Result<Self> {
        let public = key.public().identity().clone();
        let payload = Payload { msg: key.expose_bytes(), aad: public.as_str().as_bytes() };
        let sealed = cipher(passphrase, salt, ARGON)?.encrypt(&(*nonce).into(), payload);
        let data = sealed.ok().and_then(|data| data.try_into().ok()).ok_or(Code::KeyFile)?;
        let secret = Stored::Encrypted { costs: ARGON, salt: *salt, nonce: *nonce, data };
        Ok(Self { public, secret })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `key_file`.
    pub fn read(text: &[u8]) -> Result<Self> {
        let refused = |what| move |_| Error::about(Code::KeyFile, what);
        if text.len() > MAX_FILE {
            return Err(Error::about(Code::KeyFile, "it is too large"));
        }
        let value = Value::parse(text).map_err(refused("it is no key file"))?;
        Self::from_value(&value).map_err(|e| match e.code() {
            Code::KeyFile => e,
            _ => Error::about(Code::KeyFile, "it is no key file"),
        })
    }

    fn from_value(value: &Value) -> Result<Self> {
        let bad = || Error::from(Code::KeyFile);
        let mut m = Members::of(value)?;
        if m.optional_int("kez_key")? != Some(1) {
            return Err(Error::about(Code::KeyFile, "its version"));
        }
        let public = Identity::from_canonical(m.text("public")?)?;
        let mut form = Members::of(m.required("secret")?)?;
        m.finish()?;
        let secret = match form.optional_text("plain")? {
            Some(digits) => Stored::Plain(Zeroizing::new(hex::decode(digits).ok_or_else(bad)?)),
            None => {
                let mut e = Members::of(form.required("encrypted")?)?;
                let mut number = |name, most| {
                    let number = e.optional_int(name)?.and_then(|n| u32::try_from(n).ok());
                    number.filter(|n| *n <= most).ok_or_else(bad)
                };
                let costs = Costs {
                    memory_kib: number("memory_kib", MOST.memory_kib)?,
                    passes: number("passes", MOST.passes)?,
                    lanes: number("lanes", MOST.lanes)?,
                };
                let salt = hex::decode(e.text("salt")?).ok_or_else(bad)?;
                let nonce = hex::decode(e.text("nonce")?).ok_or_else(bad)?;
                let data = hex::decode(e.text("data")?).ok_or_else(bad)?;
                e.finish()?;
                Stored::Encrypted { costs, salt, nonce, data }
            }
        };
        form.finish()?;
        Ok(Self { public, secret })
    }

    /// Whose key it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.public
    }

    /// Whether a passphrase is needed to open it.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.secret, Stored::Encrypted { .. })
    }

    /// Opens it; the passphrase of a plain file is not looked at.
    ///
    /// # Errors
    /// `passphrase_wrong`; `key_file` if the secret is not the key that the file names.
    pub fn open(&self, passphrase: &str) -> Result<SecretKey> {
        let bad = || Error::about(Code::KeyFile, "its key");
        let bytes = match &self.secret {
            Stored::Plain(bytes) => bytes.clone(),
            Stored::Encrypted { costs, salt, nonce, data } => {
                let payload = Payload { msg: data, aad: self.public.as_str().as_bytes() };
                let plain = cipher(passphrase, salt, *costs)?.decrypt(&(*nonce).into(), payload);
                let plain = Zeroizing::new(plain.map_err(|_| Code::PassphraseWrong)?);
                let mut bytes = Zeroizing::new([0; 32]);
                bytes.copy_from_slice(plain.get(..32).ok_or_else(bad)?);
                bytes
            }
        };
        let nostr = self.public.scheme() == Scheme::Nostr;
        let scheme = if nostr { Scheme::Nostr } else { Scheme::Ed25519 };
        let key = SecretKey::from_bytes(scheme, *bytes).map_err(|_| bad())?;
        if *key.public().identity() == self.public { Ok(key) } else { Err(bad()) }
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = |bytes: &[u8]| Value::String(hex::encode(bytes));
        let secret = match &self.secret {
            Stored::Plain(bytes) => Value::object([("plain", digits(&bytes[..]))]),
            Stored::Encrypted { costs, salt, nonce, data } => {
                let inner = Value::object([
                    ("memory_kib", Value::Int(costs.memory_kib.into())),
                    ("passes", Value::Int(costs.passes.into())),
                    ("lanes", Value::Int(costs.lanes.into())),
                    ("salt", digits(salt)),
                    ("nonce", digits(nonce)),
                    ("data", digits(data)),
                ]);
                Value::object([("encrypted", inner)])
            }
        };
        let public = Value::String(self.public.to_string());
        let file =
            Value::object([("kez_key", Value::Int(1)), ("public", public), ("secret", secret)]);
        Zeroizing::new(format!("{}\n", file.to_canonical()))
    }
}

fn cipher(passphrase: &str, salt: &[u8], costs: Costs) -> Result<XChaCha20Poly1305> {
    let refused = |_| Error::from(Code::KeyFile);
    let Costs { memory_kib, passes, lanes } = costs;
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(refused)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon.hash_password_into(passphrase.as_bytes(), salt, &mut key[..]).map_err(refused)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}
