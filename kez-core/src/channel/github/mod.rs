//! The channel `github`: GitHub accounts.

mod lookup;

pub(crate) use lookup::*;

use super::{
    Context, Lookup,
    registry::{Channel, Credential, CredentialKind, Facts, refused},
    url_form::UrlForm,
};
use crate::{Identity, Result, identity::ToAscii, proof::Form};
use alloc::{boxed::Box, format, string::String};

/// The scheme.
pub const SCHEME: &str = "github";

/// First path segments of github.com that are pages of GitHub and no logins.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "apps",
    "blog",
    "business",
    "codespaces",
    "collections",
    "contact",
    "copilot",
    "customer-stories",
    "dashboard",
    "discussions",
    "enterprise",
    "events",
    "explore",
    "features",
    "gist",
    "gists",
    "git-guides",
    "home",
    "images",
    "issues",
    "join",
    "learn",
    "login",
    "logout",
    "marketplace",
    "mobile",
    "models",
    "new",
    "nonprofit",
    "notifications",
    "open-source",
    "organizations",
    "orgs",
    "partners",
    "pricing",
    "pulls",
    "readme",
    "resources",
    "search",
    "security",
    "sessions",
    "settings",
    "showcases",
    "signup",
    "site",
    "solutions",
    "sponsors",
    "stars",
    "status",
    "team",
    "teams",
    "topics",
    "trending",
    "users",
    "watching",
    "why-github",
    "wiki",
];

/// The channel.
pub(crate) struct Github;

impl Channel for Github {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &[],
            name: "GitHub",
            example: "name",
            urls: &[
                UrlForm {
                    hosts: &["github.com", "www.github.com"],
                    path: "/{name}/*",
                    reserved: RESERVED,
                    ..UrlForm::NEW
                },
                UrlForm {
                    hosts: &["gist.github.com"],
                    path: "/{name}/*",
                    reserved: &["discover", "forked", "search", "starred"],
                    hex_is_id: true,
                    ..UrlForm::NEW
                },
            ],
            form: Form::Markdown,
            form_by_hand: Form::Markdown,
            edit_page: Some("https://gist.github.com/"),
            credential: Some(Credential {
                kind: CredentialKind::Token,
                name: "Token",
                revoke_at: "https://github.com/settings/tokens",
            }),
            endpoints: &["github"],
            stable_id: true,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        if is_login(value) {
            Ok(())
        } else {
            Err(refused(value, "is not a GitHub login: 1 to 39 letters, digits and hyphens"))
        }
    }

    fn normalise(&self, typed: &str, _: &ToAscii<'_>) -> Result<String> {
        let login = typed.strip_prefix('@').unwrap_or(typed);
        Ok(login.strip_suffix('/').unwrap_or(login).to_ascii_lowercase())
    }

    fn profile_url(&self, value: &str) -> Option<String> {
        Some(format!("https://github.com/{value}"))
    }

    fn placing(&self, value: &str) -> String {
        format!(
            "Publish it: as {value}, make a public gist at https://gist.github.com/ with a file named kez.md and this text."
        )
    }

    fn lookup(&self, subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(GithubLookup::new(subject, context)))
    }
}

/// Letters, digits and hyphens, not hyphens alone, and perhaps `_` with the short code of an
/// enterprise. Old logins begin or end with a hyphen, or have two in a row.
fn is_login(value: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (login, short) = match value.split_once('_') {
        Some((login, short)) => (login, Some(short)),
        None => (value, None),
    };
    value.len() <= 39
        && login.bytes().any(alphanumeric)
        && login.bytes().all(|b| alphanumeric(b) || b == b'-')
        && short.is_none_or(|short| !short.is_empty() && short.bytes().all(alphanumeric))
}
