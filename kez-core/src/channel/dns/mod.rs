//! The channel `dns`: domains.

mod lookup;
mod near;

pub(crate) use lookup::*;
#[cfg(feature = "publish")]
pub(crate) use near::diagnose;

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
use core::fmt;

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
            example: "example.com",
            // The address of a whole site is its domain: see `crate::parse_input`.
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
        let name = RecordName::of(value);
        format!("Publish it: add a TXT record with the compact form as its value. {name}")
    }

    fn lookup(&self, subject: &Identity, _: &Context<'_>) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(DnsLookup::new(subject)))
    }
}

/// The name of the TXT record with a domain's proofs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RecordName {
    /// In full, without a trailing dot.
    pub full: String,
    /// The zone in which the record probably is, a guess from the domain alone.
    pub zone: String,
    /// As the form of a DNS provider for that zone wants it, which appends the zone's name.
    pub relative: String,
}

impl RecordName {
    /// The name for a domain.
    ///
    /// ```
    /// use kez_core::channel::dns::RecordName;
    /// let name = RecordName::of("blog.example.org");
    /// assert_eq!(name.full, "_kez.blog.example.org");
    /// assert_eq!((&name.relative[..], &name.zone[..]), ("_kez.blog", "example.org"));
    /// ```
    #[must_use]
    pub fn of(domain: &str) -> Self {
        let zone = likely_zone(domain);
        let relative = match domain.strip_suffix(zone).map(|below| below.trim_end_matches('.')) {
            Some(below) if !below.is_empty() => format!("_kez.{below}"),
            _ => "_kez".into(),
        };
        Self { full: format!("_kez.{domain}"), zone: zone.into(), relative }
    }
}

/// In sentences for the owner.
impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { full, zone, relative } = self;
        write!(
            f,
            "The record's full name is {full}. In a provider's form for the zone {zone}, the name is {relative} (a guess: if your provider shows another zone, leave that zone's name off the full name)."
        )
    }
}

/// The zone in which a domain probably is: its last two labels, or three where the last two look
/// like a registry's own (`co.uk`, `com.au`).
fn likely_zone(domain: &str) -> &str {
    const SECOND_LEVEL: [&str; 10] =
        ["ac", "co", "com", "edu", "gov", "gob", "ne", "net", "or", "org"];
    let mut labels = domain.rsplit('.');
    let (last, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let registry = last.len() == 2 && SECOND_LEVEL.contains(&second);
    let count = if registry { 3 } else { 2 };
    let start = domain.rmatch_indices('.').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &domain[start..]
}

#[cfg(test)]
mod tests {
    use super::RecordName;

    /// KEZ-DNS-05
    #[test]
    fn the_name_in_the_zone() {
        for (domain, zone, relative) in [
            ("example.org", "example.org", "_kez"),
            ("blog.example.org", "example.org", "_kez.blog"),
            ("a.b.example.org", "example.org", "_kez.a.b"),
            ("example.co.uk", "example.co.uk", "_kez"),
            ("www.example.co.uk", "example.co.uk", "_kez.www"),
            ("co.uk", "co.uk", "_kez"),
        ] {
            let name = RecordName::of(domain);
            assert_eq!((&name.zone[..], &name.relative[..]), (zone, relative), "{domain}");
        }
    }
}
