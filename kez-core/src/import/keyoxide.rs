//! Keyoxide profiles: an OpenPGP certificate with notations, or an Ariadne signature profile, a JWS
//! (<https://ariadne.id/ariadne-signature-profile-0/>).

use super::{
    Foreign, Importer, Link, Said, Source, account,
    back::Proof,
    not_a_page,
    openpgp::{self, Certificate},
    refused,
};
use crate::{Code, Error, Result, json::Value, transport::Transport};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::{self, signature::hazmat::PrehashVerifier as _};
use sha2::{Digest as _, Sha256, Sha512};

/// The keyserver that is asked for OpenPGP keys by their fingerprint: it gives away only addresses
/// that their owners have confirmed.
const KEYSERVER: &str = "https://keys.openpgp.org";

impl<T: Transport> Importer<'_, T> {
    /// A Keyoxide profile by its name: `aspe:host:ID`, an OpenPGP fingerprint (`openpgp4fpr:…`), a
    /// mail address with a web key directory, or a URL of `keyoxide.org`.
    pub(super) async fn keyoxide(&self, profile: &str) -> Result<Foreign> {
        let profile = profile.trim();
        let name = profile.strip_prefix("https://keyoxide.org/").unwrap_or(profile);
        let name = name.strip_prefix("hkp/").or_else(|| name.strip_prefix("wkd/")).unwrap_or(name);
        if let Some(rest) = name.strip_prefix("aspe:") {
            let bad = || Error::about(Code::IdentityRefused, profile);
            let (host, id) = rest.split_once(':').ok_or_else(bad)?;
            let id = id.to_ascii_uppercase();
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(bad());
            }
            let url = format!("https://{host}/.well-known/aspe/id/{id}");
            let jws = self.get_good(&url, "application/asp+jwt").await?;
            let profile = Profile::read(&jws)?;
            return if profile.id == id {
                Ok(self.of_profile(profile, Some(host)).await)
            } else {
                Err(refused("another profile than the one that was asked for"))
            };
        }
        if let Some(fingerprint) = openpgp::fingerprint(name) {
            let wanted = fingerprint.to_ascii_uppercase();
            let url = format!("{KEYSERVER}/vks/v1/by-fingerprint/{wanted}");
            let file = self.get_good(&url, "application/pgp-keys").await?;
            let certificate = openpgp::expect(Certificate::read(&file)?, &fingerprint)?;
            return Ok(self.of_certificate(certificate).await);
        }
        let [advanced, direct] = openpgp::web_key_directory(name)?;
        // Where the subdomain is not there, the domain itself is asked (draft, section 3.1).
        let file = match self.get_good(&advanced, "*/*").await {
            Err(error) if error.code() != Code::RateLimited => {
                self.get_good(&direct, "*/*").await?
            }
            file => file?,
        };
        Ok(self.of_certificate(Certificate::read(&file)?).await)
    }

    /// A Keyoxide profile in a file: an OpenPGP certificate, or an Ariadne signature profile.
    pub(super) async fn keyoxide_file(&self, file: &[u8]) -> Result<Foreign> {
        not_a_page(file, "an OpenPGP key or an Ariadne signature profile")?;
        // A JWS begins with the base64url of `{"`.
        if file.trim_ascii_start().starts_with(b"eyJ") {
            return Ok(self.of_profile(Profile::read(file)?, None).await);
        }
        Ok(self.of_certificate(Certificate::read(file)?).await)
    }

    async fn of_certificate(&self, certificate: Certificate) -> Foreign {
        let fingerprint = &certificate.fingerprint;
        let subject = format!("openpgp4fpr:{fingerprint}");
        // Keyoxide takes the address of the profile for a proof as well.
        let words = Vec::from([
            subject.clone(),
            format!("https://keyoxide.org/{fingerprint}"),
            format!("https://keyoxide.org/hkp/{fingerprint}"),
        ]);
        let bare = !certificate.has_users;
        let mut foreign =
            self.of_claims(subject, certificate.name, certificate.claims, &words).await;
        foreign.detail = bare.then(|| {
            "the key came without user ids, which hold the claims: a key server gives them only \
             once the owner has confirmed the mail address, so ask the owner for the key's file"
                .into()
        });
        foreign
    }

    async fn of_profile(&self, profile: Profile, host: Option<&str>) -> Foreign {
        let subject = format!("aspe:{}:{}", host.unwrap_or_default(), profile.id);
        // Of a file it is not known where it is published: accounts name that place too.
        let words = match host {
            None => Vec::from([profile.id.clone()]),
            Some(_) => Vec::from([subject.clone(), format!("https://keyoxide.org/{subject}")]),
        };
        let claims = profile.claims.into_iter().map(|claim| (claim, Said::Signed)).collect();
        self.of_claims(subject, profile.name, claims, &words).await
    }

    async fn of_claims(
        &self,
        subject: String,
        name: Option<String>,
        claims: Vec<(String, Said)>,
        words: &[String],
    ) -> Foreign {
        let draft = |(uri, said): (String, Said)| {
            let identity = account(&uri, self.to_ascii);
            let proof = Proof::of(identity.as_ref(), &uri);
            (Link::new(&uri, identity, None, said), proof, Vec::from(words))
        };
        let links = self.checked(claims.into_iter().map(draft).collect()).await;
        Foreign::new(Source::Keyoxide, subject, name, links)
    }
}

/// An Ariadne signature profile whose signature holds.
struct Profile {
    id: String,
    name: Option<String>,
    claims: Vec<String>,
}

impl Profile {
    fn read(jws: &[u8]) -> Result<Self> {
        let text = core::str::from_utf8(jws).map_err(|_| refused("the profile is no JWS"))?.trim();
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let (Some(header), Some(payload), Some(signature)) = (part(), part(), part()) else {
            return Err(refused("the profile is no JWS"));
        };
        let header = Value::parse_foreign(&header)?;
        let payload = Value::parse_foreign(&payload)?;
        let field = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().into()
        };
        let jwk = header.get("jwk").unwrap_or(&Value::Null);
        let (algorithm, id): (String, String) = (field(&header, "alg"), field(&header, "kid"));
        let (x, y): (String, String) = (field(jwk, "x"), field(jwk, "y"));
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let signed = text.rsplit_once('.').map_or("", |(signed, _)| signed).as_bytes();
        let (holds, members) = match algorithm.as_str() {
            "EdDSA" => {
                let key = VerifyingKey::try_from(&decode(&x)[..]).ok();
                let signature = ed25519_dalek::Signature::from_slice(&signature).ok();
                let holds = key.zip(signature).map(|(k, s)| k.verify_strict(signed, &s).is_ok());
                (holds, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
            }
            "ES256" => {
                let point = [&[4][..], &decode(&x), &decode(&y)].concat();
                let key = ecdsa::VerifyingKey::from_sec1_bytes(&point).ok();
                let signature = ecdsa::Signature::from_slice(&signature).ok();
                let digest = Sha256::digest(signed);
                let holds = key.zip(signature).map(|(k, s)| k.verify_prehash(&digest, &s).is_ok());
                (holds, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
            }
            other => return Err(Error::about(Code::KeyRefused, other)),
        };
        if holds != Some(true) || id != name_of(&members) {
            return Err(Error::about(Code::SignatureBad, "the Ariadne signature profile"));
        }
        let kind: String = field(&payload, "http://ariadne.id/type");
        if kind != "profile" {
            return Err(refused("the JWS is no profile"));
        }
        let claims = payload.get("http://ariadne.id/claims").and_then(Value::as_array);
        let claims = claims.unwrap_or_default().iter().filter_map(Value::as_str);
        let name: String = field(&payload, "http://ariadne.id/name");
        Ok(Self {
            id,
            name: Some(name).filter(|name| !name.is_empty()),
            claims: claims.map(String::from).collect(),
        })
    }
}

/// A profile's name: the first 16 bytes of its key's thumbprint (RFC 7638) by SHA-512, in base32.
fn name_of(jwk: &str) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha512::digest(jwk);
    // 26 digits: 128 bits, and two zeros.
    let (mut out, mut bits, mut count) = (String::new(), 0_u32, 0);
    for byte in hash[..16].iter().chain(&[0]) {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 && out.len() < 26 {
            count -= 5;
            out.push(char::from(DIGITS[(bits >> count & 31) as usize]));
        }
        bits &= 0xff;
    }
    out
}
