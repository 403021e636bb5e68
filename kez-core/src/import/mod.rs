//! Reading what people have said of their accounts elsewhere: NIP-39 tags of a nostr key, rel=me
//! links, Keyoxide profiles and Keybase proofs. None of it is a KEZ proof: it is shown with a grade
//! of its own, and tells for which accounts claims are worth making.

mod back;
mod html;
mod keybase;
mod keyoxide;
mod nip39;
mod openpgp;
mod relme;

use crate::{
    Code, Endpoints, Error, Identity, Result, Scheme, Timestamp,
    channel::{Finding, Http},
    transport::{MAX_CONCURRENCY, Request, Transport},
    verifier,
};
use alloc::{string::String, vec::Vec};
use back::Proof;
use futures_util::{StreamExt as _, stream};

/// Where links come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The `i` tags of a nostr key (NIP-39).
    Nip39,
    /// The rel=me links of a page or profile.
    RelMe,
    /// A Keyoxide profile: the notations of an OpenPGP key, or an Ariadne signature profile.
    Keyoxide,
    /// Keybase's public record of a user.
    Keybase,
}

/// How a source says that an account is the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The key that the source is about signed it, and the signature was checked.
    Signed,
    /// It stands where only the source's owner writes.
    Published,
    /// Somebody else says so, or the signature could not be checked.
    Reported,
}

/// Whether the account names the source in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Back {
    /// It does, as read just now.
    Shown,
    /// It was read, and does not.
    Absent,
    /// It could not be read, or KEZ does not read such accounts.
    Unknown,
}

/// What a link is worth, from best to least. None counts for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Each side names the other.
    Mutual,
    /// Only the source names the account.
    OneWay,
    /// The account was not read.
    Unchecked,
    /// Neither the source nor its key vouches for the link.
    Reported,
}

impl Grade {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutual => "mutual",
            Self::OneWay => "one_way",
            Self::Unchecked => "unchecked",
            Self::Reported => "reported",
        }
    }
}

/// A link from a source to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The account in the source's words.
    pub text: String,
    /// The account, if KEZ has such.
    pub identity: Option<Identity>,
    /// Where the account names the source, if the source says so.
    pub proof: Option<String>,
    /// How the source says it.
    pub said: Said,
    /// Whether the account agrees.
    pub back: Back,
    /// Why that is not known.
    pub why: Option<Error>,
}

impl Link {
    /// What it is worth.
    #[must_use]
    pub const fn grade(&self) -> Grade {
        match (self.said, self.back) {
            (Said::Reported, _) => Grade::Reported,
            (_, Back::Shown) => Grade::Mutual,
            (_, Back::Absent) => Grade::OneWay,
            (_, Back::Unknown) => Grade::Unchecked,
        }
    }
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The kind of source.
    pub source: Source,
    /// Of whom: a key, a page or a user name, in the source's own form.
    pub subject: String,
    /// The name that it gives to the person.
    pub name: Option<String>,
    /// What it links to.
    pub links: Vec<Link>,
}

/// Reads foreign sources.
///
/// ```
/// # use kez_core::{transport::{Answer, Failure, Request, Transport}, Code};
/// # struct Offline;
/// # impl Transport for Offline {
/// #     async fn fetch(&self, _: &Request) -> Result<Answer, Failure> {
/// #         Err(Failure { code: Code::Offline, detail: None })
/// #     }
/// # }
/// use kez_core::{Endpoints, Timestamp, import::{Grade, Importer}};
/// # let block_on = futures_util::FutureExt::now_or_never;
/// # let transport = Offline;
/// let endpoints = Endpoints::default();
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let importer = Importer { transport: &transport, endpoints: &endpoints, now };
/// let file = br#"{"them": [{"basics": {"username": "alice"}, "proofs_summary": {"all": [
///     {"proof_type": "github", "nametag": "alice", "state": 1}]}}]}"#;
/// let found = block_on(importer.keybase(file)).unwrap()?;
/// assert_eq!(found.links[0].identity.as_ref().unwrap().as_str(), "github:alice");
/// assert_eq!(found.links[0].grade(), Grade::Reported);
/// # Ok::<(), kez_core::Error>(())
/// ```
pub struct Importer<'a, T> {
    /// The network.
    pub transport: &'a T,
    /// Where the platforms are.
    pub endpoints: &'a Endpoints,
    /// The clock's time.
    pub now: Timestamp,
}

/// How many links of one source are looked at.
const MAX_LINKS: usize = 100;

impl<T: Transport> Importer<'_, T> {
    async fn get(&self, url: &str, accept: &'static str) -> Result<Http> {
        let request = Request::get(url.into(), accept);
        let answer = self.transport.fetch(&request).await;
        Ok(Http::of((request, answer))?)
    }

    /// The body of a 200 answer.
    async fn get_good(&self, url: &str, accept: &'static str) -> Result<Vec<u8>> {
        let http = self.get(url, accept).await?;
        if http.status == 200 { Ok(http.bytes) } else { Err(http.miss().into()) }
    }

    async fn look_up(&self, account: &Identity) -> Result<Finding> {
        verifier::look_up(self.transport, self.endpoints, self.now, account).await
    }

    /// The links, with whether their accounts name the source in turn: by one of these words, where
    /// their proof is.
    async fn checked(&self, drafts: Vec<(Link, Proof, Vec<String>)>) -> Vec<Link> {
        let check = |(mut link, proof, words): (Link, Proof, Vec<String>)| async move {
            (link.back, link.why) = match self.shows(&proof, &words).await {
                Ok(true) => (Back::Shown, None),
                Ok(false) => (Back::Absent, None),
                Err(error) => (Back::Unknown, Some(error)),
            };
            link
        };
        let drafts = drafts.into_iter().take(MAX_LINKS).map(check);
        stream::iter(drafts).buffered(MAX_CONCURRENCY).collect().await
    }
}

/// A link that was not checked yet.
fn link(text: &str, identity: Option<Identity>, proof: Option<String>, said: Said) -> Link {
    Link { text: text.into(), identity, proof, said, back: Back::Unknown, why: None }
}

/// The account that a link leads to. A page below a domain is not the domain.
fn account(link: &str) -> Option<Identity> {
    if let Some(rest) = link.strip_prefix("dns:") {
        return Identity::parse(rest.split('?').next().unwrap_or(rest)).ok();
    }
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"))?;
    let identity = Identity::parse(link).ok()?;
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let root = path.split(['?', '#']).next().unwrap_or_default().is_empty();
    (root || identity.scheme() != Scheme::Dns).then_some(identity)
}

fn refused(what: &str) -> Error {
    Error::about(Code::ResponseRefused, what)
}
