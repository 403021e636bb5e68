//! `github:` — a public gist of the account with a file `kez.md`, `kez.json` or `kez.txt`.
//! Owner and forks come from the API, never from a URL.

use crate::channel::{Context, Fetched, Finding, Http, Lookup, Miss, Step, Text};
use crate::{
    Code, Identity,
    json::Value,
    transport::{MAX_CONCURRENCY, Request},
};
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// The media type of GitHub's API.
pub(crate) const ACCEPT: &str = "application/vnd.github+json";
/// The names of files whose text may be a proof, in any letter case; a writer uses the first.
pub(crate) const FILES: [&str; 3] = ["kez.md", "kez.json", "kez.txt"];
/// The most pages of gists that are read.
const MAX_PAGES: usize = 5;
/// How many gists a page has: the most that the API gives, since each page counts for the limit
/// of requests.
const PER_PAGE: usize = 100;
/// How many of an account's newest gists are listed.
#[cfg(feature = "publish")]
pub(crate) const MAX_LISTED: usize = MAX_PAGES * PER_PAGE;
/// The most gists that are read, including forks and deleted ones.
const MAX_GISTS: usize = 64;
/// The most gists that are read because a sigchain names them.
const MAX_HINTS: usize = 4;
/// The largest page or gist in bytes. GitHub truncates each file of a gist at 1 MB, and a gist
/// with a proof may have large other files.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The host of the contents of gists.
const RAW_HOST: &str = "https://gist.githubusercontent.com/";

/// Whether a file of that name may be a proof.
pub(crate) fn is_proof_file(name: &str) -> bool {
    FILES.iter().any(|file| file.eq_ignore_ascii_case(name))
}

/// Whether a name that is no proof's looks as if it should be: `kez.md.txt`, `KEZ`, `kez.markdown`.
fn is_near_miss(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or_default().trim();
    !is_proof_file(&name) && (stem == "kez" || FILES.iter().any(|file| name.contains(file)))
}

pub(crate) struct GithubLookup {
    api: String,
    login: String,
    /// What is still to be asked.
    work: VecDeque<Work>,
    /// What was asked in the last step, in the requests' order.
    asked: Vec<Work>,
    pages: usize,
    /// The gists that were asked for.
    gists: Vec<String>,
    finding: Finding,
}

#[derive(Clone)]
enum Work {
    /// A page of the list of gists.
    Page(String),
    /// A gist by its id, and whether only a sigchain names it.
    Gist(String, bool),
    /// The whole text of a file that the API truncated.
    Raw(String),
    /// The account itself.
    User,
}

impl GithubLookup {
    pub(crate) fn new(subject: &Identity, context: &Context<'_>) -> Self {
        let api = context.endpoints.github.clone();
        let login = String::from(subject.value());
        let mut lookup = Self {
            work: VecDeque::new(),
            asked: Vec::new(),
            pages: 0,
            gists: Vec::new(),
            finding: Finding::default(),
            api,
            login,
        };
        let hinted = context.hints.iter().filter_map(|url| gist_id(url, &lookup.api));
        for id in hinted.take(MAX_HINTS).map(String::from).collect::<Vec<_>>() {
            lookup.want_gist(id, true);
        }
        let first = format!("{}/users/{}/gists?per_page={PER_PAGE}", lookup.api, lookup.login);
        lookup.work.push_back(Work::Page(first));
        lookup
    }

    fn want_gist(&mut self, id: String, hinted: bool) {
        if !self.gists.contains(&id) {
            self.gists.push(id.clone());
            self.work.push_back(Work::Gist(id, hinted));
        }
    }

    /// The requests for the next pieces of work, or the end.
    fn next(&mut self) -> Step {
        let count = self.work.len().min(MAX_CONCURRENCY);
        self.asked = self.work.drain(..count).collect();
        if self.asked.is_empty() {
            let mut finding = core::mem::take(&mut self.finding);
            return match finding.failed.take() {
                Some(miss) if finding.account.is_none() => miss.into(),
                failed => Step::Done(Ok(Finding { failed, ..finding })),
            };
        }
        Step::Ask(self.asked.iter().map(|work| self.request(work)).collect())
    }

    fn request(&self, work: &Work) -> Request {
        let (url, accept) = match work {
            Work::Page(url) => (url.clone(), ACCEPT),
            Work::Gist(id, _) => (format!("{}/gists/{id}", self.api), ACCEPT),
            Work::Raw(url) => (url.clone(), "*/*"),
            Work::User => (format!("{}/users/{}", self.api, self.login), ACCEPT),
        };
        let mut request = Request::get(url, accept);
        if let Request::Http { limit, .. } = &mut request {
            *limit = MAX_ANSWER;
        }
        request
    }

    /// The id of a gist's owner, who must be the account that was asked for.
    fn owner(&self, owner: Option<&Value>, http: &Http) -> Result<String, Miss> {
        let owner = owner.ok_or_else(|| http.refused("an object without owner"))?;
        let login = owner.get("login").and_then(Value::as_str).unwrap_or_default();
        if !login.eq_ignore_ascii_case(&self.login) {
            return Err(Miss::at(Code::WrongOwner, http.place.clone())
                .because(format!("the owner is {login}")));
        }
        let id = owner.get("id").and_then(Value::as_int);
        let id = id.ok_or_else(|| http.refused("an owner without id"))?.to_string();
        match &self.finding.account {
            Some(known) if *known != id => {
                Err(http.refused("two answers give the account different ids"))
            }
            _ => Ok(id),
        }
    }

    /// Reads one page. Only the first one tells whether the account exists.
    fn page(&mut self, http: &Http) -> Result<(), Miss> {
        if http.status != 200 && self.pages == 0 {
            return Err(http.miss_or_absent());
        }
        let value = http.json()?;
        let gists = value.as_array().ok_or_else(|| http.refused("the answer is no list"))?;
        self.pages += 1;
        self.finding.place.get_or_insert_with(|| http.place.clone());
        self.finding.source = Some(http.source);
        for gist in gists {
            self.finding.account = Some(self.owner(gist.get("owner"), http)?);
            self.listed(gist, http);
        }
        match http.header("link").and_then(next_link) {
            // GitHub rewrites the path, so the link is followed as it stands, within the API.
            Some(url) if self.pages < MAX_PAGES && self.is_api(url) => {
                self.work.push_front(Work::Page(url.into()));
            }
            Some(url) if self.is_api(url) => {
                let read = MAX_PAGES * PER_PAGE;
                let why = format!("only the {read} newest gists were read");
                self.finding
                    .fail(Miss::at(Code::SearchIncomplete, http.place.clone()).because(why));
            }
            Some(_) => self.finding.fail(http.refused("the next page is not at the API")),
            // Without a gist no owner gives the account's id.
            None if self.finding.account.is_none() => self.work.push_back(Work::User),
            None => {}
        }
        Ok(())
    }

    fn is_api(&self, url: &str) -> bool {
        url.strip_prefix(self.api.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether a URL is at the API's host, on any port: servers of tests have one for the texts.
    fn is_api_host(&self, url: &str) -> bool {
        host(url).is_some_and(|found| host(&self.api) == Some(found))
    }

    /// Takes note of a gist in a list, which names its files without their contents.
    fn listed(&mut self, gist: &Value, http: &Http) {
        let Some(Value::Object(files)) = gist.get("files") else { return };
        let id = gist.get("id").and_then(Value::as_str).unwrap_or_default();
        if files.iter().any(|(name, _)| is_proof_file(name)) && is_gist_id(id) {
            if self.gists.len() < MAX_GISTS || self.gists.iter().any(|known| known == id) {
                self.want_gist(id.into(), false);
                return;
            }
            let why = format!("only {MAX_GISTS} of the gists with such a file were read");
            self.finding.fail(Miss::at(Code::SearchIncomplete, http.place.clone()).because(why));
        } else if let Some((name, _)) = files.iter().find(|(name, _)| is_near_miss(name)) {
            self.finding.fail(misnamed(gist, name, http));
        } else if gist.get("truncated") == Some(&Value::Bool(true)) {
            // A gist with more than 300 files is listed without the others.
            let why = "a gist has more files than the API lists";
            self.finding.fail(Miss::at(Code::SearchIncomplete, http.place.clone()).because(why));
        }
    }

    fn gist(&mut self, http: &Http, hinted: bool) -> Result<(), Miss> {
        if matches!(http.status, 404 | 410) && !http.is_challenge() {
            // Deleted since the list was made, or since the sigchain named it.
            return Ok(());
        }
        let gist = http.json()?;
        let account = match self.owner(gist.get("owner"), http) {
            // Anyone may name any gist in a sigchain.
            Err(_) if hinted => return Ok(()),
            account => account?,
        };
        // Only what the account shows to everyone counts.
        if hinted && gist.get("public") == Some(&Value::Bool(false)) {
            return Ok(());
        }
        self.finding.account = Some(account);
        if !matches!(gist.get("fork_of"), None | Some(Value::Null)) {
            self.finding.fail(Miss::at(Code::GistForked, http.place.clone()));
            return Ok(());
        }
        let Some(Value::Object(files)) = gist.get("files") else { return Ok(()) };
        for (_, file) in files.iter().filter(|(name, _)| is_proof_file(name)) {
            let text = |name| file.get(name).and_then(Value::as_str);
            if file.get("truncated") == Some(&Value::Bool(true)) {
                let url = text("raw_url").unwrap_or_default();
                if !(url.starts_with(RAW_HOST) || self.is_api_host(url)) {
                    return Err(http.refused("the file's text is at a host that is not GitHub's"));
                }
                self.work.push_back(Work::Raw(url.into()));
            } else if let Some(text) = text("content") {
                let text = Text { text: text.into(), place: http.place.clone() };
                self.finding.texts.push(text);
            }
        }
        Ok(())
    }

    fn raw(&mut self, http: Http) -> Result<(), Miss> {
        match http.status {
            200 => {
                let text = String::from_utf8_lossy(&http.bytes).into_owned();
                self.finding.texts.push(Text { text, place: http.place });
                Ok(())
            }
            404 | 410 if !http.is_challenge() => Ok(()),
            _ => Err(http.miss()),
        }
    }

    fn user(&mut self, http: &Http) -> Result<(), Miss> {
        if http.status != 200 {
            return Err(http.miss_or_absent());
        }
        let user = http.json()?;
        self.finding.account = Some(self.owner(Some(&user), http)?);
        Ok(())
    }

    fn read(&mut self, work: Work, fetched: Fetched) -> Result<(), Miss> {
        let http = Http::of(fetched)?;
        match work {
            Work::Page(_) => self.page(&http),
            Work::Gist(_, hinted) => self.gist(&http, hinted),
            Work::Raw(_) => self.raw(http),
            Work::User => self.user(&http),
        }
    }
}

impl Lookup for GithubLookup {
    fn step(&mut self, answers: Vec<Fetched>) -> Step {
        let asked = core::mem::take(&mut self.asked);
        for (work, fetched) in asked.into_iter().zip(answers) {
            match self.read(work, fetched) {
                Ok(()) => {}
                Err(miss) if miss.code == Code::IdentityNotFound => return miss.into(),
                // What was read elsewhere stands.
                Err(miss) => self.finding.fail(miss),
            }
        }
        self.next()
    }
}

/// The scheme and the host name of a URL without user info.
fn host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    (!authority.contains('@')).then_some((scheme, name))
}

fn misnamed(gist: &Value, name: &str, http: &Http) -> Miss {
    let url = gist.get("html_url").and_then(Value::as_str).unwrap_or_default();
    Miss::at(Code::ProofMalformed, http.place.clone()).because(format!(
        "the file {name} of the gist {url} does not count: rename it to {}",
        FILES[0]
    ))
}

fn is_gist_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The id of a gist in its URL: of the page, with or without a login, or of the API.
pub(crate) fn gist_id<'a>(url: &'a str, api: &str) -> Option<&'a str> {
    let path = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/');
    let id = match path.strip_prefix("https://gist.github.com/") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_, id)| id),
        None => path.strip_prefix(api)?.strip_prefix("/gists/")?,
    };
    is_gist_id(id).then_some(id)
}

/// The URL of `rel="next"` (RFC 8288).
pub(crate) fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (url, params) = link.split_once(';')?;
        let next = params.split(';').any(|p| p.trim() == r#"rel="next""#);
        next.then(|| url.trim().trim_start_matches('<').trim_end_matches('>'))
    })
}
