//! Reading what people have said of their accounts elsewhere: NIP-39 tags of a nostr key, rel=me
//! links, Keyoxide profiles and Keybase proofs. None of it is a KEZ proof: it is shown with a grade
//! of its own, and tells for which accounts claims are worth making.

mod back;
mod hashed;
mod html;
mod keybase;
mod keyoxide;
mod nip39;
mod openpgp;
mod relme;

use crate::{
    Code, Endpoints, Error, Identity, Result, Timestamp, ToAscii,
    channel::{Finding, Http, is_page},
    json::Value,
    transport::{MAX_BODY, MAX_CONCURRENCY, Request, Transport},
    verify::{self, Question},
};
use alloc::{format, string::String, vec::Vec};
use back::Proof;
use futures_util::{StreamExt as _, stream};

/// Where links come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
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

impl Source {
    /// By its name, as in `rel-me`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "nip39" => Self::Nip39,
            "rel-me" => Self::RelMe,
            "keyoxide" => Self::Keyoxide,
            "keybase" => Self::Keybase,
            _ => return None,
        })
    }
}

/// What is read of a source.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Whom it is asked for, as people write it: a nostr key; a URL, a domain, or an account of the
    /// fediverse or GitHub (rel=me); `aspe:host:ID`, an OpenPGP fingerprint, a mail address with a
    /// web key directory or a URL of `keyoxide.org` (Keyoxide).
    Name(&'a str),
    /// What its owner has of it: an OpenPGP certificate or an Ariadne signature profile (Keyoxide),
    /// what `https://keybase.io/_/api/1.0/user/lookup.json?usernames=NAME` gives (Keybase).
    File(&'a [u8]),
}

/// How a source says that an account is the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
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
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
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
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
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
    const fn of(said: Said, back: Back) -> Self {
        match (said, back) {
            (Said::Reported, _) => Self::Reported,
            (_, Back::Shown) => Self::Mutual,
            (_, Back::Absent) => Self::OneWay,
            (_, Back::Unknown) => Self::Unchecked,
        }
    }

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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(rename = "ForeignLink"))]
pub struct Link {
    /// The account in the source's words.
    pub text: String,
    /// The account, if KEZ has such.
    pub identity: Option<Identity>,
    /// Where the account names the source, if the source says so.
    pub proof: Option<String>,
    /// How the source says it.
    #[cfg_attr(feature = "types", ts(inline))]
    pub said: Said,
    /// Whether the account agrees.
    #[cfg_attr(feature = "types", ts(inline))]
    pub back: Back,
    /// What it is worth.
    #[cfg_attr(feature = "types", ts(inline))]
    pub grade: Grade,
    /// Why it is not known whether the account agrees.
    pub reason: Option<Code>,
    /// The reason in more detail.
    pub detail: Option<String>,
}

impl Link {
    /// One that was not checked yet.
    fn new(text: &str, identity: Option<Identity>, proof: Option<String>, said: Said) -> Self {
        let (back, grade) = (Back::Unknown, Grade::of(said, Back::Unknown));
        Self { text: text.into(), identity, proof, said, back, grade, reason: None, detail: None }
    }
}

/// What a source says. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
pub struct Foreign {
    /// `kez.foreign/1`.
    pub schema: &'static str,
    /// The kind of source.
    #[cfg_attr(feature = "types", ts(inline))]
    pub source: Source,
    /// Of whom: a key, a page or a user name, in the source's own form.
    pub subject: String,
    /// The name that it gives to the person.
    pub name: Option<String>,
    /// What it links to.
    pub links: Vec<Link>,
    /// Why there may be more links than these.
    pub detail: Option<String>,
}

impl Foreign {
    const fn new(source: Source, subject: String, name: Option<String>, links: Vec<Link>) -> Self {
        Self { schema: "kez.foreign/1", source, subject, name, links, detail: None }
    }
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
/// #     async fn pause(&self, _: u32) {}
/// # }
/// use kez_core::{Endpoints, Timestamp, import::{Grade, Importer, Source, Subject}};
/// # let block_on = futures_util::FutureExt::now_or_never;
/// # let transport = Offline;
/// let endpoints = Endpoints::default();
/// let now = Timestamp::from_seconds(1_795_262_400);
/// let to_ascii = &|name: &str| name.is_ascii().then(|| name.into());
/// let importer = Importer { transport: &transport, endpoints: &endpoints, now, to_ascii };
/// let file = br#"{"them": [{"basics": {"username": "alice"}, "proofs_summary": {"all": [
///     {"proof_type": "github", "nametag": "alice", "state": 1}]}}]}"#;
/// let found = block_on(importer.read(Source::Keybase, Subject::File(file))).unwrap()?;
/// assert_eq!(found.links[0].identity.as_ref().unwrap().as_str(), "github:alice");
/// assert_eq!(found.links[0].grade, Grade::Reported);
/// # Ok::<(), kez_core::Error>(())
/// ```
pub struct Importer<'a, T> {
    /// The network.
    pub transport: &'a T,
    /// Where the platforms are.
    pub endpoints: &'a Endpoints,
    /// The clock's time.
    pub now: Timestamp,
    /// UTS 46, for names of domains.
    pub to_ascii: &'a ToAscii<'a>,
}

/// How many links of one source are looked at.
const MAX_LINKS: usize = 100;

impl<T: Transport> Importer<'_, T> {
    /// What a source says, and whether the accounts agree.
    ///
    /// # Errors
    /// `usage` where a source has no such subject: only Keyoxide and Keybase have files, and
    /// Keybase has nothing else; `identity_refused` and the others of [`Identity::parse_with`];
    /// `key_expected` for what is no nostr key (NIP-39); `identity_not_found`, `key_refused`,
    /// `revoked`, `signature_bad` of keys and profiles (Keyoxide); those of JSON, `member_missing`
    /// and `identity_not_found` of records that name no user (Keybase); `type_unknown` for a web
    /// page in the place of a file; and why the source could not be read.
    pub async fn read(&self, source: Source, subject: Subject<'_>) -> Result<Foreign> {
        match (source, subject) {
            (Source::Nip39, Subject::Name(key)) => {
                self.nip39(&Identity::parse_with(key, self.to_ascii)?).await
            }
            (Source::RelMe, Subject::Name(page)) => self.rel_me(page).await,
            (Source::Keyoxide, Subject::Name(profile)) => self.keyoxide(profile).await,
            (Source::Keyoxide, Subject::File(file)) => self.keyoxide_file(file).await,
            (Source::Keybase, Subject::File(file)) => self.keybase(file).await,
            (Source::Nip39 | Source::RelMe, Subject::File(_)) => {
                Err(Error::about(Code::Usage, "this source has no files"))
            }
            (Source::Keybase, Subject::Name(_)) => {
                Err(Error::about(Code::Usage, "Keybase is read from a file"))
            }
        }
    }

    async fn get(&self, url: &str, accept: &'static str) -> Result<Http> {
        let request = Request::get(url.into(), accept);
        let answer = self.transport.fetch(&request).await;
        Ok(Http::of((request, answer))?)
    }

    /// The JSON of a 200 answer.
    async fn get_json(&self, url: &str, accept: &'static str) -> Result<Value> {
        let http = self.get(url, accept).await?;
        match http.status {
            404 | 410 => Err(http.miss_or_absent().into()),
            _ => Ok(http.json()?),
        }
    }

    /// The body of a 200 answer.
    async fn get_good(&self, url: &str, accept: &'static str) -> Result<Vec<u8>> {
        let http = self.get(url, accept).await?;
        if http.status == 200 { Ok(http.bytes) } else { Err(http.miss_or_absent().into()) }
    }

    /// The head of a web page, where its links to other profiles are. Sites move between hosts, and
    /// some refuse clients that take HTML only.
    async fn page(&self, url: &str) -> Result<Vec<u8>> {
        let request = Request::head_of(url.into(), "text/html, */*;q=0.1", MAX_BODY);
        let answer = self.transport.fetch(&request).await;
        let http = Http::of((request, answer))?;
        if http.status == 200 { Ok(http.bytes) } else { Err(http.miss_or_absent().into()) }
    }

    async fn look_up(&self, account: &Identity) -> Result<Finding> {
        verify::look_up(self.transport, self.endpoints, self.now, &Question::about(account)).await
    }

    /// The links, with whether their accounts name the source in turn: by one of these words, where
    /// their proof is.
    async fn checked(&self, drafts: Vec<(Link, Proof, Vec<String>)>) -> Vec<Link> {
        let check = |(mut link, proof, words): (Link, Proof, Vec<String>)| async move {
            match self.shows(&proof, &words).await {
                Ok(shown) => link.back = if shown { Back::Shown } else { Back::Absent },
                Err(error) => {
                    link.reason = Some(error.code());
                    link.detail = error.context().map(String::from);
                }
            }
            link.grade = Grade::of(link.said, link.back);
            link
        };
        let drafts = drafts.into_iter().take(MAX_LINKS).map(check);
        stream::iter(drafts).buffered(MAX_CONCURRENCY).collect().await
    }
}

/// The account that a link leads to.
fn account(link: &str, to_ascii: &ToAscii<'_>) -> Option<Identity> {
    if let Some(rest) = link.strip_prefix("dns:") {
        return Identity::parse_with(rest.split('?').next().unwrap_or(rest), to_ascii).ok();
    }
    let is_url = link.starts_with("https://") || link.starts_with("http://");
    if is_url { Identity::parse_with(link, to_ascii).ok() } else { None }
}

fn refused(what: &str) -> Error {
    Error::about(Code::ResponseRefused, what)
}

/// Refuses a saved web page, which people store in the place of the file that it links to.
fn not_a_page(file: &[u8], wanted: &str) -> Result<()> {
    if is_page(file) {
        return Err(Error::about(Code::TypeUnknown, format!("this is a web page, not {wanted}")));
    }
    Ok(())
}
