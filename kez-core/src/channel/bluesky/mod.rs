//! The channel `bluesky`: Bluesky (atproto) accounts.

mod lookup;
mod xrpc;

pub use lookup::SCOPE;
pub(crate) use lookup::*;

use super::{
    Context, Lookup,
    registry::{Channel, Credential, CredentialKind, Facts, refused},
    url_form::UrlForm,
};
use crate::{
    Identity, Result,
    identity::{
        ToAscii,
        domain::{canonical_domain, is_domain},
    },
    proof::Form,
};
use alloc::{boxed::Box, format, string::String};

/// The scheme.
pub const SCHEME: &str = "bluesky";

/// The channel.
pub(crate) struct Bluesky;

impl Channel for Bluesky {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &[],
            name: "Bluesky",
            example: "name.bsky.social",
            urls: &[UrlForm {
                hosts: &["bsky.app", "www.bsky.app"],
                path: "/profile/{name}/*",
                ..UrlForm::NEW
            }],
            form: Form::Compact,
            form_by_hand: Form::Pointer,
            edit_page: Some("https://bsky.app/profile/{value}"),
            credential: Some(Credential {
                kind: CredentialKind::AppPassword,
                name: "App password",
                revoke_at: "https://bsky.app/settings/app-passwords",
            }),
            endpoints: &["bluesky", "plc"],
            stable_id: true,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        if is_domain(value) || is_did(value) {
            Ok(())
        } else {
            Err(refused(value, "is neither a handle (a domain name) nor a did:plc or did:web"))
        }
    }

    fn normalise(&self, typed: &str, to_ascii: &ToAscii<'_>) -> Result<String> {
        let typed = typed.strip_prefix('@').unwrap_or(typed);
        // The parts of a DID that name its method are compared as typed; a did:plc is lower case.
        let lower = typed.to_ascii_lowercase();
        if lower.starts_with("did:") { Ok(lower) } else { canonical_domain(typed, to_ascii) }
    }

    fn profile_url(&self, value: &str) -> Option<String> {
        Some(format!("https://bsky.app/profile/{value}"))
    }

    fn placing(&self, _: &str) -> String {
        "Publish it: put the pointer form (--format pointer) into your profile's description; or write a record of the collection org.kez.proof with {\"$type\":\"org.kez.proof\",\"proof\":\"<this text>\"}.".into()
    }

    fn lookup(&self, subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(BlueskyLookup::new(subject, context.endpoints)))
    }
}

fn is_did(value: &str) -> bool {
    if let Some(id) = value.strip_prefix("did:plc:") {
        return id.len() == 24 && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    }
    value.strip_prefix("did:web:").is_some_and(is_domain)
}
