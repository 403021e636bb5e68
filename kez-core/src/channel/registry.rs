//! What a channel is: facts, functions and the table of its URL forms. The registry itself is in
//! the parent module.

use super::{CHANNELS, Context, Lookup, url_form::UrlForm};
use crate::{
    Code, Error, Result,
    identity::{Identity, ToAscii, check_unknown},
    proof::Form,
};
use alloc::{boxed::Box, format, string::String};

/// One kind of identity, with everything that is specific to it.
///
/// ```
/// use kez_core::channel;
/// let github = channel::by_scheme("github").unwrap();
/// assert_eq!(github.facts().name, "GitHub");
/// assert_eq!(github.profile_url("jason").as_deref(), Some("https://github.com/jason"));
/// ```
pub trait Channel: Sync {
    /// What does not depend on the account.
    fn facts(&self) -> &'static Facts;

    /// Checks the value of a canonical identity.
    ///
    /// # Errors
    /// `identity_refused`, with what is wrong; `key_refused` for a key.
    fn check(&self, value: &str) -> Result<()>;

    /// Turns a typed value (without its scheme) into a canonical value, which is then checked.
    ///
    /// # Errors
    /// `identity_refused`, `key_refused`.
    fn normalise(&self, typed: &str, to_ascii: &ToAscii<'_>) -> Result<String>;

    /// The user's name in a typed value, in its own upper and lower case, for platforms whose
    /// servers may tell the two apart.
    fn spelling<'a>(&self, _typed: &'a str) -> Option<&'a str> {
        None
    }

    /// The page where people look at the account.
    fn profile_url(&self, _value: &str) -> Option<String> {
        None
    }

    /// The host that has authority over the account, if its name holds one.
    fn host<'a>(&self, _value: &'a str) -> Option<&'a str> {
        None
    }

    /// Where the account's owner puts the proof, in sentences for the owner.
    fn placing(&self, value: &str) -> String;

    /// Starts the lookup of the account's proofs.
    ///
    /// # Errors
    /// `no_channel` if nothing shows proofs of such identities.
    fn lookup(&self, subject: &Identity, context: &Context<'_>) -> Result<Box<dyn Lookup>>;
}

/// What is specific to a channel and does not depend on the account.
#[derive(Debug)]
pub struct Facts {
    /// The scheme of its identities.
    pub scheme: &'static str,
    /// Other schemes that users type for it.
    pub aliases: &'static [&'static str],
    /// The platform's name for people.
    pub name: &'static str,
    /// An example of a value, for hints.
    pub example: &'static str,
    /// The URLs that lead to accounts. The first form that fits decides.
    pub urls: &'static [UrlForm],
    /// The form of a proof that suits the place where it is published.
    pub form: Form,
    /// The form that suits a place which the owner edits by hand, if that is another one.
    pub form_by_hand: Form,
    /// The page where the owner puts a proof by hand, with `{value}`, `{name}` and `{host}`.
    pub edit_page: Option<&'static str>,
    /// What publishing needs, if KEZ can publish there.
    pub credential: Option<Credential>,
    /// The members of [`crate::Endpoints`] that its lookup uses.
    pub endpoints: &'static [&'static str],
    /// Whether the platform reports a stable id of an account, which a claim then pins.
    pub stable_id: bool,
}

/// What lets KEZ publish as an account's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its kind.
    pub kind: CredentialKind,
    /// What it is called on the platform.
    pub name: &'static str,
    /// Where the owner withdraws it.
    pub revoke_at: &'static str,
}

/// How an owner gives KEZ access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A token, made by hand or by a device code.
    Token,
    /// An app password, or a grant that a browser brings back.
    AppPassword,
    /// A code that the server shows after the owner allowed it.
    Code,
    /// A TSIG key of the zone's name server.
    Tsig,
    /// A remote signer (NIP-46).
    Bunker,
}

/// The channel of a scheme.
///
/// ```
/// assert!(kez_core::channel::by_scheme("dns").is_some());
/// assert!(kez_core::channel::by_scheme("gitlab").is_none());
/// ```
#[must_use]
pub fn by_scheme(scheme: &str) -> Option<&'static dyn Channel> {
    CHANNELS.iter().copied().find(|channel| channel.facts().scheme == scheme)
}

/// The channel of a scheme as users type it, by its own name or an alias.
pub(crate) fn by_typed_scheme(scheme: &str) -> Option<&'static dyn Channel> {
    let aliased = |channel: &&dyn Channel| channel.facts().aliases.contains(&scheme);
    by_scheme(scheme).or_else(|| CHANNELS.iter().copied().find(aliased))
}

impl Identity {
    /// Takes a string that must be canonical already, as it is in signed objects. An identity of
    /// an unknown scheme is accepted: it is data that this version cannot look up.
    ///
    /// # Errors
    /// `scheme_unknown` if the text before the colon cannot be a scheme, `identity_refused`,
    /// `key_refused`.
    pub fn from_canonical(text: &str) -> Result<Self> {
        let no_scheme = || Error::about(Code::IdentityRefused, format!("\"{text}\" has no scheme"));
        let (scheme, value) = text.split_once(':').ok_or_else(no_scheme)?;
        match by_scheme(scheme) {
            Some(channel) => channel.check(value)?,
            None => check_unknown(scheme, value)?,
        }
        Ok(Self::of_checked(text))
    }

    /// The channel of this identity; `None` for a scheme that this version does not know.
    #[must_use]
    pub fn channel(&self) -> Option<&'static dyn Channel> {
        by_scheme(self.scheme())
    }

    /// The host that has authority over the account: that of a `dns:` or `ap:` identity.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.channel()?.host(self.value())
    }

    /// The public profile page, if the scheme has one.
    #[must_use]
    pub fn profile_url(&self) -> Option<String> {
        self.channel()?.profile_url(self.value())
    }
}

/// The refusal of a value, with what is wrong.
pub(crate) fn refused(value: &str, why: &str) -> Error {
    Error::about(Code::IdentityRefused, format!("\"{value}\" {why}"))
}
