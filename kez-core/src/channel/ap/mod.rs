//! The channel `ap`: fediverse accounts.

mod finger;
mod host_meta;
pub(crate) mod html;
mod lookup;
mod name;

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
pub const SCHEME: &str = "ap";

/// Sites whose `/@name` is not an account of the fediverse.
const OTHERS: &[&str] = &[
    "hackmd.io",
    "medium.com",
    "npmjs.com",
    "odysee.com",
    "rumble.com",
    "substack.com",
    "threads.com",
    "threads.net",
    "tiktok.com",
    "www.npmjs.com",
    "www.threads.com",
    "www.threads.net",
    "www.tiktok.com",
    "www.youtube.com",
    "youtube.com",
];

/// A form on every host.
const fn form(path: &'static str) -> UrlForm {
    UrlForm { except: OTHERS, path, at_host: true, ..UrlForm::NEW }
}

/// The channel.
pub(crate) struct Ap;

impl Channel for Ap {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &["acct", "mastodon"],
            name: "Fediverse",
            example: "name@example.com",
            urls: const {
                &[
                    form("/@{name}/*"),
                    form("/users/{name}"),
                    form("/users/{name}/statuses/*"),
                    form("/web/@{name}/*"),
                ]
            },
            form: Form::Pointer,
            form_by_hand: Form::Pointer,
            edit_page: Some("https://{host}/settings/profile"),
            credential: Some(Credential {
                kind: CredentialKind::Code,
                name: "Code",
                revoke_at: "the account's settings",
            }),
            endpoints: &[],
            stable_id: true,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        match value.split_once('@') {
            Some((user, host)) if is_user(user) && is_domain(host) => Ok(()),
            _ => Err(refused(value, "is not a fediverse account, as in user@host.example")),
        }
    }

    fn normalise(&self, typed: &str, to_ascii: &ToAscii<'_>) -> Result<String> {
        let account = typed.strip_prefix('@').unwrap_or(typed);
        let (user, host) = account
            .split_once('@')
            .ok_or_else(|| refused(account, "names no server, as in user@host.example"))?;
        Ok(format!("{}@{}", user.to_ascii_lowercase(), canonical_domain(host, to_ascii)?))
    }

    fn spelling<'a>(&self, typed: &'a str) -> Option<&'a str> {
        let (user, _) = typed.strip_prefix('@').unwrap_or(typed).split_once('@')?;
        user.bytes().any(|b| b.is_ascii_uppercase()).then_some(user)
    }

    fn profile_url(&self, value: &str) -> Option<String> {
        value.split_once('@').map(|(user, host)| format!("https://{host}/@{user}"))
    }

    fn host<'a>(&self, value: &'a str) -> Option<&'a str> {
        value.split_once('@').map(|(_, host)| host)
    }

    fn placing(&self, value: &str) -> String {
        format!(
            "Publish it: at https://{}/, edit your profile and add a field named KEZ with this text.",
            self.host(value).unwrap_or_default()
        )
    }

    fn lookup(&self, subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(ApLookup::new(subject, context.spelling)))
    }
}

/// Whether a text is the user of an account: word characters, with dots and hyphens inside.
pub(crate) fn is_user(user: &str) -> bool {
    let word = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let bytes = user.as_bytes();
    bytes.len() <= 64
        && bytes.first().copied().is_some_and(word)
        && bytes.last().copied().is_some_and(word)
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}
