//! `github:` — a public gist of the account with a file `kez.md`, `kez.json` or `kez.txt`.
//! Owner and forks come from the API, never from a URL.

use crate::channel::{Fetched, Finding, Http, Lookup, Miss, Step, Text};
use crate::{
    Code, Identity,
    json::Value,
    transport::{Endpoints, Request},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// The media type of GitHub's API.
pub(crate) const ACCEPT: &str = "application/vnd.github+json";
/// The names of files whose text may be a proof, the one that is written first.
pub(crate) const FILES: [&str; 3] = ["kez.md", "kez.json", "kez.txt"];
/// 50 gists stay below the limit of a body, which 100 would not.
const MAX_PAGES: usize = 4;
const MAX_GISTS: usize = 4;

pub(crate) struct GithubLookup {
    api: String,
    login: String,
    pages: usize,
    stage: Stage,
    finding: Finding,
    forked: Option<Miss>,
}

enum Stage {
    Start,
    List,
    Gists,
    Raw,
    User,
}

impl GithubLookup {
    pub(crate) fn new(subject: &Identity, endpoints: &Endpoints) -> Self {
        Self {
            api: endpoints.github.clone(),
            login: subject.value().into(),
            pages: 0,
            stage: Stage::Start,
            finding: Finding::default(),
            forked: None,
        }
    }

    /// The id of a gist's owner, who must be the one that was asked for.
    fn gist_owner(&self, gist: &Value, http: &Http) -> Result<String, Miss> {
        let owner = gist.get("owner").ok_or_else(|| http.refused("a gist without owner"))?;
        self.owner(owner, http)
    }

    fn owner(&self, owner: &Value, http: &Http) -> Result<String, Miss> {
        let login = owner.get("login").and_then(Value::as_str).unwrap_or_default();
        if login.to_ascii_lowercase() != self.login {
            return Err(Miss::at(Code::WrongOwner, http.place.clone())
                .because(format!("the owner is {login}")));
        }
        let id = owner.get("id").and_then(Value::as_int);
        id.map(|id| id.to_string()).ok_or_else(|| http.refused("an owner without id"))
    }

    fn list(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        let value = http.json()?;
        let gists = value.as_array().ok_or_else(|| http.refused("a list of gists is wanted"))?;
        self.pages += 1;
        self.finding.place = Some(http.place.clone());
        self.finding.source = Some(http.source);
        let mut urls = Vec::new();
        for gist in gists {
            self.finding.account = Some(self.gist_owner(gist, &http)?);
            let Some(Value::Object(files)) = gist.get("files") else { continue };
            let proof = files.iter().any(|(name, _)| FILES.contains(&name.as_str()));
            let id = gist.get("id").and_then(Value::as_str).unwrap_or_default();
            if proof && !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                urls.push(format!("{}/gists/{id}", self.api));
            }
        }
        urls.truncate(MAX_GISTS);
        if !urls.is_empty() {
            self.stage = Stage::Gists;
            return Ok(Step::Ask(urls.into_iter().map(|u| Request::get(u, ACCEPT)).collect()));
        }
        match http.header("link").and_then(next_link) {
            // GitHub rewrites the path, so the link is followed as it stands; the transport
            // keeps it on its host.
            Some(url) if self.pages < MAX_PAGES && url.starts_with(&self.api) => {
                Ok(Step::Ask(vec![Request::get(url.into(), ACCEPT)]))
            }
            // Without a gist there is no owner to read the account's id from.
            _ if self.finding.account.is_none() => {
                self.stage = Stage::User;
                let url = format!("{}/users/{}", self.api, self.login);
                Ok(Step::Ask(vec![Request::get(url, ACCEPT)]))
            }
            _ => Ok(Step::Done(Ok(core::mem::take(&mut self.finding)))),
        }
    }

    fn user(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        let user = http.json()?;
        self.finding.account = Some(self.owner(&user, &http)?);
        Ok(Step::Done(Ok(core::mem::take(&mut self.finding))))
    }

    fn gists(&mut self, answers: Vec<Fetched>) -> Result<Step, Miss> {
        let mut raw = Vec::new();
        for fetched in answers {
            let http = Http::of(fetched)?;
            if http.status == 404 {
                // Deleted since the list was made.
                continue;
            }
            let gist = http.json()?;
            let account = self.gist_owner(&gist, &http)?;
            if self.finding.account.as_ref() != Some(&account) {
                return Err(Miss::at(Code::WrongOwner, http.place));
            }
            if !matches!(gist.get("fork_of"), None | Some(Value::Null)) {
                self.forked = Some(Miss::at(Code::GistForked, http.place));
                continue;
            }
            let Some(Value::Object(files)) = gist.get("files") else { continue };
            for (_, file) in files.iter().filter(|(name, _)| FILES.contains(&name.as_str())) {
                if file.get("truncated") == Some(&Value::Bool(true)) {
                    let url = file.get("raw_url").and_then(Value::as_str).unwrap_or_default();
                    raw.push(Request::get(url.into(), "*/*"));
                } else if let Some(text) = file.get("content").and_then(Value::as_str) {
                    let text = Text { text: text.into(), place: http.place.clone() };
                    self.finding.texts.push(text);
                }
            }
        }
        if raw.is_empty() {
            return self.finish();
        }
        self.stage = Stage::Raw;
        Ok(Step::Ask(raw))
    }

    fn raw(&mut self, answers: Vec<Fetched>) -> Result<Step, Miss> {
        for fetched in answers {
            let http = Http::of(fetched)?;
            if http.status != 200 {
                return Err(http.miss());
            }
            let text = String::from_utf8_lossy(&http.bytes).into_owned();
            self.finding.texts.push(Text { text, place: http.place });
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<Step, Miss> {
        match self.forked.take() {
            Some(miss) if self.finding.texts.is_empty() => Err(miss),
            _ => Ok(Step::Done(Ok(core::mem::take(&mut self.finding)))),
        }
    }
}

impl Lookup for GithubLookup {
    fn step(&mut self, mut answers: Vec<Fetched>) -> Step {
        let result = match self.stage {
            Stage::Start => {
                self.stage = Stage::List;
                let url = format!("{}/users/{}/gists?per_page=50", self.api, self.login);
                Ok(Step::Ask(vec![Request::get(url, ACCEPT)]))
            }
            Stage::List => self.list(answers.remove(0)),
            Stage::Gists => self.gists(answers),
            Stage::Raw => self.raw(answers),
            Stage::User => self.user(answers.remove(0)),
        };
        result.unwrap_or_else(Step::from)
    }
}

/// The URL of `rel="next"` (RFC 8288).
pub(crate) fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (url, params) = link.split_once(';')?;
        let next = params.split(';').any(|p| p.trim() == r#"rel="next""#);
        next.then(|| url.trim().trim_start_matches('<').trim_end_matches('>'))
    })
}
