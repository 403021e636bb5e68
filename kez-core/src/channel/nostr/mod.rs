//! The channel `nostr`: nostr keys, and sigchains on nostr relays.

mod chain;
mod events;
mod lookup;

pub use chain::{
    carrier_source, chain_authors, chain_carrier, chain_failure, chain_filters, chain_request,
    further_filters, source_url,
};
pub use events::carrier;
#[cfg(any(feature = "import", feature = "publish"))]
pub(crate) use events::{EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, newest};
#[cfg(feature = "publish")]
pub(crate) use events::{is_proof, newest_own, proof_filters};
pub(crate) use {events::further_relays, lookup::NostrLookup};

use super::{
    Context, Lookup,
    registry::{Channel, Credential, CredentialKind, Facts},
    url_form::UrlForm,
};
use crate::{
    Code, Error, Identity, Key, NOSTR_KIND, Result, hex, identity::ToAscii, key, proof::Form,
};
use alloc::{boxed::Box, format, string::String};

/// The scheme.
pub const SCHEME: &str = "nostr";

/// What the keys of people begin with in the addresses of clients.
const KEYS: &[&str] = &["npub1", "nprofile1"];

/// A form for clients that have the key there.
const fn form(hosts: &'static [&'static str], path: &'static str) -> UrlForm {
    UrlForm { hosts, path, starts: KEYS, ..UrlForm::NEW }
}

/// The channel.
pub(crate) struct Nostr;

impl Channel for Nostr {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &[],
            name: "nostr",
            example: "npub1…",
            urls: const {
                &[
                    form(&["njump.me", "nosta.me", "iris.to", "primal.net"], "/{name}"),
                    form(&["primal.net", "snort.social"], "/p/{name}"),
                    form(&["snort.social"], "/{name}"),
                    form(&["coracle.social"], "/people/{name}"),
                    form(&["nostrudel.ninja"], "/u/{name}"),
                    form(&["jumble.social"], "/users/{name}"),
                ]
            },
            form: Form::Compact,
            form_by_hand: Form::Compact,
            edit_page: None,
            credential: Some(Credential {
                kind: CredentialKind::Bunker,
                name: "bunker:// URL",
                revoke_at: "the signer",
            }),
            endpoints: &["relays"],
            stable_id: false,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        Key::from_text(&format!("{SCHEME}:{value}")).map(|_| ())
    }

    fn normalise(&self, typed: &str, _: &ToAscii<'_>) -> Result<String> {
        let lower = typed.to_ascii_lowercase();
        match hex::decode(&lower) {
            Some(bytes) => Ok(key::npub_encode(&bytes)),
            None if lower.starts_with("nprofile1") => key_of_nprofile(&lower),
            None => Ok(lower),
        }
    }

    fn profile_url(&self, value: &str) -> Option<String> {
        Some(format!("https://njump.me/{value}"))
    }

    fn placing(&self, _: &str) -> String {
        format!(
            "Publish it: with this key, publish an event of kind {NOSTR_KIND} with the tag [\"d\",\"kez\"] and this text as its content; or put the pointer form into your profile's about."
        )
    }

    fn lookup(&self, subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(NostrLookup::new(subject, context.endpoints, context.now)?))
    }
}

/// The key inside a NIP-19 nprofile: the value of its first TLV of type 0.
fn key_of_nprofile(text: &str) -> Result<String> {
    let refused = || Error::about(Code::KeyRefused, text);
    let bytes = key::bech32_bytes(text).ok_or_else(refused)?;
    let mut rest = &bytes[..];
    while let [kind, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len)).ok_or_else(refused)?;
        if *kind == 0 {
            return Ok(key::npub_encode(value.try_into().map_err(|_| refused())?));
        }
        rest = &tail[usize::from(*len)..];
    }
    Err(refused())
}
