//! `ap:` — the profile fields and bio of a fediverse actor, found by WebFinger (RFC 7033), or by
//! the Mastodon API where the server shows actors only to signed requests.

use super::{
    finger::{Finger, Named, Next, authority, spellings},
    html,
    name::Name,
};
use crate::channel::{Fetched, Finding, Http, Lookup, Miss, Step, Text, encode};
use crate::{
    Code, Identity,
    json::Value,
    transport::{Place, Request},
    url::strict_host,
};
use alloc::{
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

/// The media type of actors and posts (ActivityPub, section 3.2).
pub(crate) const ACTIVITY: &str = "application/activity+json";

pub(crate) struct ApLookup {
    asked: Name,
    /// The name that the server gives the account.
    name: Name,
    actor: String,
    /// The actor's host, with its port if it has one.
    host: String,
    /// Whether the actor's host itself names the account so.
    agreed: bool,
    stage: Stage,
    finger: Finger,
    finding: Finding,
    /// Why the actor could not be read, if the fallback does not help either.
    restricted: Option<Miss>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// WebFinger of the name that was asked for.
    Asked,
    /// WebFinger of the name that the first answer gives.
    Canonical,
    /// WebFinger of the actor's host.
    Server,
    /// The actor by the link of WebFinger.
    Link,
    /// The actor by the id that it gives itself.
    Id,
    /// The account by the Mastodon API.
    Account,
}

impl ApLookup {
    pub(crate) fn new(subject: &Identity, spelling: Option<&str>) -> Self {
        let (user, host) = subject.value().split_once('@').unwrap_or_default();
        let asked = Name { user: user.into(), host: host.into() };
        // Servers that tell upper from lower case know only the spelling that people use.
        let typed = spelling.filter(|typed| typed.eq_ignore_ascii_case(user));
        let typed = typed.map(|user| Name { user: user.into(), host: host.into() });
        let finger = Finger::new(host, &spellings(typed.as_ref(), &asked));
        Self {
            name: asked.clone(),
            asked,
            actor: String::new(),
            host: String::new(),
            agreed: false,
            stage: Stage::Asked,
            finger,
            finding: Finding::default(),
            restricted: None,
        }
    }

    fn fingered(&mut self, answers: Vec<Fetched>) -> Result<Step, Miss> {
        let (found, failed) = match (self.finger.step(answers), self.stage) {
            (Ok(Next::Ask(requests)), _) => return Ok(Step::Ask(requests)),
            (Ok(Next::Found(found, failed)), _) => (found, failed),
            // The first host named an account that the second does not have.
            (Err(miss), Stage::Canonical | Stage::Server)
                if miss.code == Code::IdentityNotFound =>
            {
                return Err(mismatch(miss.place.unwrap_or_default(), "it has no such account"));
            }
            (Err(miss), _) => return Err(miss),
        };
        let step = match self.stage {
            Stage::Asked => self.named(found),
            Stage::Canonical => self.confirmed(found),
            _ => self.server_agrees(found),
        };
        match (step, failed) {
            // The answer that did not come might have agreed.
            (Err(miss), Some(failed)) if miss.code == Code::HandleMismatch => Err(failed),
            (step, _) => step,
        }
    }

    /// Reads the answer for the name that was asked for.
    fn named(&mut self, found: Vec<Named>) -> Result<Step, Miss> {
        let Some(named) = found.into_iter().next() else {
            return Err(Miss::at(Code::ResponseRefused, Place::default()));
        };
        let refused = |why: &str| Miss::at(Code::ResponseRefused, named.place.clone()).because(why);
        let host = actor_host(&named.actor);
        self.host = host.ok_or_else(|| refused("the actor is no plain https URL"))?.into();
        self.actor.clone_from(&named.actor);
        self.agreed = named.by == self.host;
        match &named.subject {
            // The answer is about the resource that was asked for.
            None => return Ok(self.ask_server()),
            Some(subject) if same_url(subject, &self.actor) => return Ok(self.ask_server()),
            Some(subject) => {
                let name = Name::read(subject);
                let wrong = || mismatch(named.place.clone(), &format!("the server says {subject}"));
                self.name = name.ok_or_else(wrong)?;
            }
        }
        if self.name == self.asked {
            return Ok(self.ask_server());
        }
        let user = self.name.user.to_ascii_lowercase();
        let canonical = Identity::from_canonical(&format!("ap:{user}@{}", self.name.host));
        let canonical = canonical.map_err(|_| refused("the server gives a name that is none"))?;
        self.finding.subject = Some(canonical);
        self.stage = Stage::Canonical;
        self.finger = Finger::new(&self.name.host, &[&self.name]);
        self.fingered(Vec::new())
    }

    /// Reads the answer of the domain of the name that the first answer gives.
    fn confirmed(&mut self, found: Vec<Named>) -> Result<Step, Miss> {
        let place = found.first().map(|named| named.place.clone()).unwrap_or_default();
        let same = found.into_iter().find(|named| self.is_same(named));
        let Some(named) = same else {
            let why = format!("{} is another account there", self.name.resource());
            return Err(mismatch(place, &why));
        };
        self.agreed |= named.by == self.host;
        Ok(self.ask_server())
    }

    fn is_same(&self, named: &Named) -> bool {
        let name = named.subject.as_deref().and_then(Name::read);
        name.is_some_and(|name| name == self.name) && same_url(&named.actor, &self.actor)
    }

    /// Where the domain of the name is not the actor's host, that host must agree.
    fn ask_server(&mut self) -> Step {
        if self.agreed || self.host == self.name.host {
            return self.ask_actor(Stage::Link);
        }
        self.stage = Stage::Server;
        let there = Name { user: self.name.user.clone(), host: self.host.clone() };
        self.finger = Finger::new(&self.host, &[&there, &self.name]);
        self.fingered(Vec::new()).unwrap_or_else(Step::from)
    }

    fn server_agrees(&mut self, found: Vec<Named>) -> Result<Step, Miss> {
        if found.iter().any(|named| self.is_same(named)) {
            return Ok(self.ask_actor(Stage::Link));
        }
        let place = found.into_iter().next().map(|named| named.place).unwrap_or_default();
        Err(mismatch(place, "the two servers name different accounts"))
    }

    fn ask_actor(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        Step::Ask(vec![Request::get(self.actor.clone(), ACTIVITY)])
    }

    fn read_actor(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        if http.status == 410 && !http.is_challenge() {
            return Err(http.miss_or_absent());
        }
        let miss = http.miss();
        if http.is_challenge()
            || (matches!(http.status, 401 | 403 | 404) && miss.code != Code::RateLimited)
        {
            return Ok(self.fall_back(miss));
        }
        let actor = http.json()?;
        let text = |name| actor.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = text("id");
        if id != self.actor {
            // The link may be another URL of the actor. The id counts, if it leads to the actor.
            if matches!(self.stage, Stage::Link) && actor_host(id) == Some(&self.host) {
                self.actor = id.into();
                return Ok(self.ask_actor(Stage::Id));
            }
            return Err(mismatch(http.place, "the actor has another id"));
        }
        if !text("preferredUsername").eq_ignore_ascii_case(&self.name.user) {
            let why = format!("the actor calls itself {}", text("preferredUsername"));
            return Err(mismatch(http.place, &why));
        }
        refuse_suspended(&actor, &http)?;
        self.finding.moved_to = actor.get("movedTo").and_then(url_of);
        // Secure mode answers unsigned requests with a trimmed actor: that is no missing proof.
        let trimmed = ["attachment", "summary", "name"].iter().all(|m| actor.get(m).is_none());
        if trimmed {
            return Ok(self.fall_back(Miss::at(Code::AuthRequired, http.place)));
        }
        let single;
        let fields = match actor.get("attachment") {
            Some(Value::Array(items)) => &items[..],
            Some(item) => {
                single = [item.clone()];
                &single
            }
            None => &[],
        };
        let values = fields
            .iter()
            .filter(|f| f.get("type").and_then(Value::as_str) == Some("PropertyValue"))
            .filter_map(|f| f.get("value").and_then(Value::as_str));
        let all: Vec<&str> = values.chain([text("summary")]).collect();
        Ok(self.done(&all, &http))
    }

    /// Asks the Mastodon API, which shows accounts to strangers where actors are for servers only.
    fn fall_back(&mut self, mut why: Miss) -> Step {
        if matches!(why.place.as_ref().and_then(|p| p.http_status), Some(401 | 403))
            && why.code == Code::HttpStatus
        {
            why.code = Code::AuthRequired;
        }
        self.restricted = Some(why);
        self.stage = Stage::Account;
        let user = encode(&self.name.user);
        let url = format!("https://{}/api/v1/accounts/lookup?acct={user}", self.host);
        Step::Ask(vec![Request::get(url, "application/json")])
    }

    fn read_account(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        let restricted = self.restricted.take();
        if http.status != 200 || http.is_challenge() {
            let miss = http.miss();
            let temporary =
                matches!(miss.code, Code::RateLimited | Code::Challenge) || http.status >= 500;
            return Err(restricted.filter(|_| !temporary).unwrap_or(miss));
        }
        let account = http.json()?;
        let text = |name| account.get(name).and_then(Value::as_str).unwrap_or_default();
        // Servers before Mastodon 4.2 do not name the actor. A local account's name has no host.
        let same = match text("uri") {
            "" => actor_host(text("url")) == Some(&self.host),
            uri => same_url(uri, &self.actor),
        };
        if !same || !text("acct").eq_ignore_ascii_case(&self.name.user) {
            return Err(mismatch(http.place, "the API shows another account of that name"));
        }
        if !text("uri").is_empty() {
            self.actor = text("uri").into();
        }
        refuse_suspended(&account, &http)?;
        if let Some(moved) = account.get("moved") {
            let url = |name| moved.get(name).and_then(Value::as_str).map(String::from);
            self.finding.moved_to = url("uri").or_else(|| url("url"));
        }
        let fields = account.get("fields").and_then(Value::as_array).unwrap_or_default();
        let values = fields.iter().filter_map(|f| f.get("value").and_then(Value::as_str));
        let all: Vec<&str> = values.chain([text("note")]).collect();
        Ok(self.done(&all, &http))
    }

    fn done(&mut self, htmls: &[&str], http: &Http) -> Step {
        let mut finding = core::mem::take(&mut self.finding);
        finding.account = Some(self.actor.clone());
        finding.place = Some(http.place.clone());
        finding.source = Some(http.source);
        finding.texts = htmls
            .iter()
            .map(|html| Text { text: html::to_text(html), place: http.place.clone() })
            .collect();
        Step::Done(Ok(finding))
    }
}

impl Lookup for ApLookup {
    fn step(&mut self, mut answers: Vec<Fetched>) -> Step {
        let result = match self.stage {
            Stage::Asked | Stage::Canonical | Stage::Server => self.fingered(answers),
            Stage::Link | Stage::Id => self.read_actor(answers.remove(0)),
            Stage::Account => self.read_account(answers.remove(0)),
        };
        result.unwrap_or_else(Step::from)
    }
}

fn mismatch(place: Place, why: &str) -> Miss {
    Miss::at(Code::HandleMismatch, place).because(why)
}

/// Mastodon and others mark accounts that they no longer show.
fn refuse_suspended(account: &Value, http: &Http) -> Result<(), Miss> {
    if account.get("suspended") == Some(&Value::Bool(true)) {
        let why = "the server has suspended the account";
        return Err(Miss::at(Code::AccountSuspended, http.place.clone()).because(why));
    }
    Ok(())
}

/// The URL of an object that is named or included.
fn url_of(value: &Value) -> Option<String> {
    let url = value.as_str().or_else(|| value.get("id").and_then(Value::as_str));
    url.filter(|url| !url.is_empty()).map(String::from)
}

/// The host of an actor's URL, with its port if it has one: a plain https URL, whose path may be
/// left out.
pub(crate) fn actor_host(url: &str) -> Option<&str> {
    let host = authority(url)?;
    let bare = url.len() == "https://".len() + host.len();
    let whole = if bare { format!("{url}/") } else { url.to_string() };
    strict_host(&whole).map(|_| host)
}

/// Whether two URLs differ by no more than a slash at the end.
fn same_url(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
