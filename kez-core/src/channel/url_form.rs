//! The URL forms of channels: which addresses of the web are an account's, as data. The web app
//! and the extension read the same table, generated.

use alloc::{string::String, vec::Vec};

/// A form of URLs that lead to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlForm {
    /// The hosts; none of them means every host that no form names.
    pub hosts: &'static [&'static str],
    /// Hosts that a form for every host does not apply to.
    pub except: &'static [&'static str],
    /// The path in segments: a literal; `{name}`, perhaps after literal characters; or a last `*`,
    /// which stands for any further segments.
    pub path: &'static str,
    /// Names that are pages of the platform and no accounts.
    pub reserved: &'static [&'static str],
    /// What a name begins with, if it does not begin with just anything.
    pub starts: &'static [&'static str],
    /// Whether a name of hexadecimal digits alone is the id of a document and no account.
    pub hex_is_id: bool,
    /// Whether the account's value is `name@host`. A name with its own `@host` keeps it.
    pub at_host: bool,
}

impl UrlForm {
    /// A form with defaults for constant expressions: every host, any name.
    pub const NEW: Self = Self {
        hosts: &[],
        except: &[],
        path: "",
        reserved: &[],
        starts: &[],
        hex_is_id: false,
        at_host: false,
    };

    /// Whether the form names this host.
    pub(crate) fn names_host(&self, host: &str) -> bool {
        self.hosts.contains(&host)
    }

    /// The typed value of the account to which these path segments of a host lead.
    pub(crate) fn value_at(&self, host: &str, segments: &[String]) -> Option<String> {
        if self.except.contains(&host) {
            return None;
        }
        let pattern: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        let pattern = match pattern.split_last() {
            Some((&"*", fixed)) if segments.len() >= fixed.len() => fixed,
            _ if segments.len() == pattern.len() => &pattern[..],
            _ => return None,
        };
        let mut name = None;
        for (part, segment) in pattern.iter().zip(segments) {
            match part.split_once("{name}") {
                Some((before, _)) => name = Some(segment.strip_prefix(before)?),
                None if *part == segment => {}
                None => return None,
            }
        }
        let name = name.filter(|name| self.is_name(name))?;
        let own_host = name.contains('@');
        Some(if self.at_host && !own_host { alloc::format!("{name}@{host}") } else { name.into() })
    }

    fn is_name(&self, name: &str) -> bool {
        let lower = name.to_ascii_lowercase();
        let is_id = self.hex_is_id && lower.bytes().all(|b| b.is_ascii_hexdigit());
        let is_page = is_id || self.reserved.contains(&&lower[..]);
        let begins =
            self.starts.is_empty() || self.starts.iter().any(|start| lower.starts_with(start));
        !name.is_empty() && !is_page && begins
    }
}
