//! WebFinger (RFC 7033) at one host, or where its host-meta says (RFC 6415).

use super::{ACTIVITY, host_meta, name::Name};
use crate::{
    Code,
    channel::{Fetched, Http, Miss, encode},
    json::Value,
    transport::Place,
    transport::Request,
};
use alloc::{format, string::String, vec, vec::Vec};

const JRD: &str = "application/jrd+json, application/json;q=0.9";
const XRD: &str = "application/xrd+xml, application/jrd+json;q=0.9, */*;q=0.1";

/// One host's WebFinger, asked for one or more resources.
pub(super) struct Finger {
    host: String,
    /// The best first.
    resources: Vec<String>,
    stage: Stage,
    /// The URLs that were asked before host-meta.
    urls: Vec<String>,
    /// Where the host said that it has no such resource.
    absent: Option<Miss>,
}

enum Stage {
    Start,
    Host,
    HostMeta,
    Template,
}

/// What WebFinger says about an account.
pub(super) struct Named {
    /// The name that the server gives it.
    pub(super) subject: Option<String>,
    /// Its actor.
    pub(super) actor: String,
    /// The host that answered, after redirects.
    pub(super) by: String,
    pub(super) place: Place,
}

pub(super) enum Next {
    Ask(Vec<Request>),
    /// One for each resource that the host knows, at least one, and why others stay unknown.
    Found(Vec<Named>, Option<Miss>),
}

impl Finger {
    pub(super) fn new(host: &str, names: &[&Name]) -> Self {
        let mut resources: Vec<String> = Vec::new();
        for resource in names.iter().map(|name| name.resource()) {
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        Self { host: host.into(), resources, stage: Stage::Start, urls: Vec::new(), absent: None }
    }

    /// Takes the answers to the last requests. `identity_not_found` is the host's definite answer.
    pub(super) fn step(&mut self, answers: Vec<Fetched>) -> Result<Next, Miss> {
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Host;
                let base = format!("https://{}/.well-known/webfinger?resource=", self.host);
                let urls = self.resources.iter().map(|r| format!("{base}{}", encode(r)));
                self.urls = urls.collect();
                Ok(Next::Ask(ask(&self.urls, JRD)))
            }
            Stage::Host => {
                let (found, failed) = self.read(answers)?;
                if !found.is_empty() {
                    return Ok(Next::Found(found, failed));
                }
                self.stage = Stage::HostMeta;
                let base = format!("https://{}/.well-known/host-meta", self.host);
                Ok(Next::Ask(ask(&[base.clone(), format!("{base}.json")], XRD)))
            }
            Stage::HostMeta => {
                let urls = self.read_host_meta(answers)?;
                if urls.is_empty() {
                    return Err(self.not_found());
                }
                self.stage = Stage::Template;
                Ok(Next::Ask(ask(&urls, JRD)))
            }
            Stage::Template => {
                let (found, failed) = self.read(answers)?;
                if found.is_empty() {
                    Err(self.not_found())
                } else {
                    Ok(Next::Found(found, failed))
                }
            }
        }
    }

    fn not_found(&mut self) -> Miss {
        let place = self.absent.take().and_then(|miss| miss.place).unwrap_or_default();
        Miss::at(Code::IdentityNotFound, place)
    }

    /// The answers that name an account. Empty if the host says for each resource that it has
    /// none; an error if that stays unknown for one of them.
    fn read(&mut self, answers: Vec<Fetched>) -> Result<(Vec<Named>, Option<Miss>), Miss> {
        let mut found = Vec::new();
        let mut failed = None;
        for fetched in answers {
            match Http::of(fetched).and_then(|http| Named::read(&http)) {
                Ok(named) => found.push(named),
                Err(miss) if miss.code == Code::IdentityNotFound => {
                    self.absent.get_or_insert(miss);
                }
                Err(miss) => {
                    failed.get_or_insert(miss);
                }
            }
        }
        match failed {
            Some(miss) if found.is_empty() => Err(miss),
            failed => Ok((found, failed)),
        }
    }

    /// The URLs that host-meta names and that were not asked yet. A host without host-meta, or
    /// with a page in its place, has none; an error if that is unknown.
    fn read_host_meta(&self, answers: Vec<Fetched>) -> Result<Vec<String>, Miss> {
        let mut urls: Vec<String> = Vec::new();
        let mut failed = None;
        for fetched in answers {
            match Http::of(fetched) {
                Ok(http) if http.status == 200 && !http.is_challenge() => {
                    for resource in &self.resources {
                        urls.extend(host_meta::urls(&http.bytes, resource));
                    }
                }
                Ok(http) => {
                    let miss = http.miss();
                    // A client error says that there is no such file.
                    if http.status >= 500 || miss.code != Code::HttpStatus {
                        failed.get_or_insert(miss);
                    }
                }
                Err(miss) => {
                    failed.get_or_insert(miss);
                }
            }
        }
        urls.retain(|url| !self.urls.contains(url));
        let mut unique: Vec<String> = Vec::new();
        for url in urls {
            if unique.len() < 2 && !unique.contains(&url) {
                unique.push(url);
            }
        }
        match failed {
            Some(miss) if unique.is_empty() => Err(miss),
            _ => Ok(unique),
        }
    }
}

fn ask(urls: &[String], accept: &'static str) -> Vec<Request> {
    urls.iter().map(|url| Request::get_public(url.clone(), accept)).collect()
}

impl Named {
    /// Reads an answer of any media type: many hosts have WebFinger as a file, and web servers do
    /// not know its type.
    fn read(http: &Http) -> Result<Self, Miss> {
        if http.status != 200 {
            return Err(http.miss_or_absent());
        }
        let jrd = http.any_json()?;
        let links = jrd.get("links").and_then(Value::as_array).unwrap_or_default();
        let actor = links.iter().find_map(|link| {
            let text = |name| link.get(name).and_then(Value::as_str).unwrap_or_default();
            let kind = text("type").to_ascii_lowercase();
            let activity = kind == ACTIVITY
                || (kind.starts_with("application/ld+json") && kind.contains("activitystreams"));
            (text("rel") == "self" && activity).then(|| String::from(text("href")))
        });
        let actor = actor.ok_or_else(|| http.refused("no actor in the WebFinger answer"))?;
        let url = http.place.redirected_to.as_ref().unwrap_or(&http.place.url);
        Ok(Self {
            subject: jrd.get("subject").and_then(Value::as_str).map(String::from),
            actor,
            by: authority(url).unwrap_or_default().into(),
            place: http.place.clone(),
        })
    }
}

/// The host of an https URL, with its port if it has one.
pub(super) fn authority(url: &str) -> Option<&str> {
    url.strip_prefix("https://")?.split(['/', '?', '#']).next()
}

/// Two accounts of the same name, in the order in which they are asked for.
pub(super) fn spellings<'a>(typed: Option<&'a Name>, name: &'a Name) -> Vec<&'a Name> {
    typed.into_iter().chain(vec![name]).collect()
}
