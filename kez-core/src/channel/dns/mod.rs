//! The channel `dns`: domains.

mod lookup;

pub(crate) use lookup::*;

use super::{
    Context, Lookup,
    registry::{Channel, Credential, CredentialKind, Facts, refused},
};
use crate::{
    Identity, Result,
    identity::{
        ToAscii,
        domain::{canonical_domain, is_dns_domain},
    },
    proof::Form,
};
use alloc::{boxed::Box, format, string::String};

/// The scheme.
pub const SCHEME: &str = "dns";

/// The channel.
pub(crate) struct Dns;

impl Channel for Dns {
    fn facts(&self) -> &'static Facts {
        &Facts {
            scheme: SCHEME,
            aliases: &[],
            name: "DNS",
            // The address of a whole site is its domain: see `crate::identity::parse_input`.
            urls: &[],
            form: Form::Dns,
            form_by_hand: Form::Compact,
            edit_page: None,
            credential: Some(Credential {
                kind: CredentialKind::Tsig,
                name: "TSIG key",
                revoke_at: "the name server",
            }),
            endpoints: &[],
            stable_id: false,
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        if is_dns_domain(value) {
            Ok(())
        } else {
            Err(refused(value, "is not a domain name of at most 248 bytes in A-labels"))
        }
    }

    fn normalise(&self, typed: &str, to_ascii: &ToAscii<'_>) -> Result<String> {
        canonical_domain(typed, to_ascii)
    }

    fn profile_url(&self, value: &str) -> Option<String> {
        Some(format!("https://{value}/"))
    }

    fn host<'a>(&self, value: &'a str) -> Option<&'a str> {
        Some(value)
    }

    fn placing(&self, value: &str) -> String {
        format!(
            "Publish it: add a TXT record. {} The value is the compact form.",
            record_name(value)
        )
    }

    fn lookup(&self, subject: &Identity, _: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(DnsLookup::new(subject)))
    }
}

/// Sentences that name the TXT record of a domain: in full, and as the form of a DNS provider
/// wants it, which completes the name with that of the zone.
///
/// ```
/// let text = kez_core::channel::dns::record_name("blog.example.org");
/// assert!(text.contains("_kez.blog.example.org") && text.contains("\"_kez.blog\""));
/// ```
#[must_use]
pub fn record_name(domain: &str) -> String {
    let zone = likely_zone(domain);
    let relative = match domain.strip_suffix(zone).map(|rest| rest.trim_end_matches('.')) {
        Some(below) if !below.is_empty() => format!("_kez.{below}"),
        _ => "_kez".into(),
    };
    format!(
        "Its full name is _kez.{domain}. In a form for the zone {zone} (a guess: check which zone your provider shows), the name is \"{relative}\"."
    )
}

/// The zone in which a domain probably is: its last two labels, or three where the last two look
/// like a registry's own (`co.uk`, `com.au`).
#[must_use]
pub fn likely_zone(domain: &str) -> &str {
    const SECOND_LEVEL: [&str; 10] =
        ["ac", "co", "com", "edu", "gov", "gob", "ne", "net", "or", "org"];
    let mut labels = domain.rsplit('.');
    let (last, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let registry = last.len() == 2 && SECOND_LEVEL.contains(&second);
    let count = if registry { 3 } else { 2 };
    let start = domain.rmatch_indices('.').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &domain[start..]
}
