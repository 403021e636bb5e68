//! Keybase's public record of a user, from a file: what
//! `https://keybase.io/_/api/1.0/user/lookup.json?usernames=NAME` gives. Keybase's own word for a
//! link is not checked; whether the account still names the Keybase user is.

use super::{Foreign, Importer, Link, Said, Source, account, back::Proof, not_a_page};
use crate::{Code, Error, Identity, Result, hex, json::Value, transport::Transport};
use alloc::{format, string::String, vec::Vec};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

impl<T: Transport> Importer<'_, T> {
    /// What Keybase has of a user.
    pub(super) async fn keybase(&self, file: &[u8]) -> Result<Foreign> {
        not_a_page(
            file,
            "Keybase's record of a user: save what https://keybase.io/_/api/1.0/user/lookup.json?usernames=NAME gives",
        )?;
        let file = Value::parse_foreign(file)?;
        let user = user(&file)?;
        let name = text(user.get("basics"), "username");
        if name.is_empty() {
            return Err(Error::about(Code::MemberMissing, "username"));
        }
        let proofs = user.get("proofs_summary").and_then(|proofs| proofs.get("all"));
        let mut drafts = Vec::new();
        for proof in proofs.and_then(Value::as_array).unwrap_or_default() {
            let (kind, tag) = (text(Some(proof), "proof_type"), text(Some(proof), "nametag"));
            let url = text(Some(proof), "proof_url");
            let identity = match kind {
                "github" => Identity::parse_with(&format!("github:{tag}"), self.to_ascii).ok(),
                "dns" | "generic_web_site" => {
                    Identity::parse_with(&format!("dns:{tag}"), self.to_ascii).ok()
                }
                _ => account(text(Some(proof), "service_url"), self.to_ascii),
            };
            let mut words = Vec::from([format!("keybase.io/{name}")]);
            let at = match (kind, &identity) {
                ("dns", Some(domain)) => {
                    words.extend(site_verification(text(Some(proof), "sig_id")));
                    let domain = domain.value();
                    Proof::Txt(Vec::from([domain.into(), format!("_keybase.{domain}")]))
                }
                ("generic_web_site", Some(_)) => Proof::File(url.into()),
                _ => Proof::of(identity.as_ref(), url),
            };
            let url = Some(String::from(url)).filter(|url| !url.is_empty());
            drafts.push((
                Link::new(&format!("{kind}:{tag}"), identity, url, Said::Reported),
                at,
                words,
            ));
        }
        let links = self.checked(drafts).await;
        let full = text(user.get("profile"), "full_name");
        let full = Some(full).filter(|name| !name.is_empty()).map(String::from);
        Ok(Foreign::new(Source::Keybase, name.into(), full, links))
    }
}

/// The record of the user who was asked for.
fn user(file: &Value) -> Result<&Value> {
    let status = file.get("status");
    let code = status.and_then(|status| status.get("code")).and_then(Value::as_int);
    if code.is_some_and(|code| code != 0) {
        let said = [text(status, "desc"), text(status, "name")];
        let said = said.into_iter().find(|said| !said.is_empty()).unwrap_or("an error");
        return Err(Error::about(Code::ResponseRefused, format!("Keybase says: {said}")));
    }
    // Asked for one user name, Keybase gives an object; for several, a list.
    let them = file.get("them").ok_or_else(|| Error::about(Code::MemberMissing, "them"))?;
    let user = match them {
        Value::Array(users) => users.first(),
        user => Some(user),
    };
    // For a name that Keybase does not have, the entry is null or left out.
    let unknown = || Error::about(Code::IdentityNotFound, "Keybase has no such user");
    user.filter(|user| !matches!(user, Value::Null)).ok_or_else(unknown)
}

fn text<'a>(value: Option<&'a Value>, name: &str) -> &'a str {
    value.and_then(|value| value.get(name)).and_then(Value::as_str).unwrap_or_default()
}

/// The TXT record of a domain's proof: the signature's id without its last byte, the kind.
fn site_verification(sig_id: &str) -> Option<String> {
    let id = hex::decode::<33>(sig_id)?;
    Some(format!("keybase-site-verification={}", URL_SAFE_NO_PAD.encode(&id[..32])))
}
