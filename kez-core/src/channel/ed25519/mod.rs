//! The channel `ed25519`: bare Ed25519 keys. No platform shows them, so nothing is looked up.

use super::{
    Context, Lookup,
    registry::{Channel, Facts},
};
use crate::{Code, Error, Identity, Key, Result, identity::ToAscii, proof::Form};
use alloc::{boxed::Box, format, string::String};

/// The scheme.
pub const SCHEME: &str = "ed25519";

/// The channel.
pub(crate) struct Ed25519;

impl Channel for Ed25519 {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &[],
            name: "Ed25519",
            example: "<64 hex digits>",
            urls: &[],
            form: Form::Compact,
            form_by_hand: Form::Compact,
            edit_page: None,
            credential: None,
            endpoints: &[],
            stable_id: false,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        Key::from_text(&format!("{SCHEME}:{value}")).map(|_| ())
    }

    fn normalise(&self, typed: &str, _: &ToAscii<'_>) -> Result<String> {
        Ok(typed.to_ascii_lowercase())
    }

    fn placing(&self, _: &str) -> String {
        "No platform shows an ed25519 key; list it with `kez sigchain add`.".into()
    }

    fn lookup(&self, subject: &Identity, _: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Err(Error::about(Code::NoChannel, subject))
    }
}
