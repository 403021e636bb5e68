//! `ap:` — the profile fields and bio of a fediverse actor, found by WebFinger (RFC 7033), or by
//! the Mastodon API where the server shows actors only to signed requests.

use super::html;
use crate::channel::{Fetched, Finding, Http, Lookup, Miss, Step, Text, encode};
use crate::{Code, Identity, json::Value, transport::Place, transport::Request, url::strict_host};
use alloc::{format, string::String, vec, vec::Vec};

/// The media type of actors and posts (ActivityPub, section 3.2).
pub(crate) const ACTIVITY: &str = "application/activity+json";

pub(crate) struct ApLookup {
    user: String,
    host: String,
    actor: String,
    stage: Stage,
    finding: Finding,
    /// Why the actor could not be read, if the fallback does not help either.
    restricted: Option<Miss>,
}

#[derive(Clone, Copy)]
enum Stage {
    Start,
    Webfinger,
    Reverse,
    Actor,
    Account,
}

impl ApLookup {
    pub(crate) fn new(subject: &Identity) -> Self {
        let (user, host) = subject.value().split_once('@').unwrap_or_default();
        Self {
            user: user.into(),
            host: host.into(),
            actor: String::new(),
            stage: Stage::Start,
            finding: Finding::default(),
            restricted: None,
        }
    }

    fn webfinger(&self, host: &str) -> Step {
        let resource = encode(&format!("acct:{}@{host}", self.user));
        let url = format!("https://{host}/.well-known/webfinger?resource={resource}");
        Step::Ask(vec![Request::get(url, "application/jrd+json")])
    }

    /// The actor's URL, if the answer is about the account that was asked for.
    fn read_webfinger(&self, http: &Http) -> Result<String, Miss> {
        let jrd = http.json()?;
        let subject = jrd.get("subject").and_then(Value::as_str).unwrap_or_default();
        let wanted = format!("acct:{}@{}", self.user, self.host);
        if !subject.eq_ignore_ascii_case(&wanted) {
            return Err(Miss::at(Code::HandleMismatch, http.place.clone())
                .because(format!("the server says {subject}")));
        }
        let links = jrd.get("links").and_then(Value::as_array).unwrap_or_default();
        let text =
            |link: &Value, name| link.get(name).and_then(Value::as_str).unwrap_or_default().into();
        let found = links.iter().find_map(|link| {
            let (rel, kind, href): (String, String, String) =
                (text(link, "rel"), text(link, "type"), text(link, "href"));
            let activity = kind == ACTIVITY
                || (kind.starts_with("application/ld+json") && kind.contains("activitystreams"));
            (rel == "self" && activity).then_some(href)
        });
        found.ok_or_else(|| http.refused("no actor in the WebFinger answer"))
    }

    fn found_actor(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        self.actor = self.read_webfinger(&http)?;
        let Some(host) = strict_host(&self.actor) else {
            return Err(http.refused("the actor is no plain https URL"));
        };
        if host != self.host {
            // The domain of the name is not that of the server: the server must agree.
            self.stage = Stage::Reverse;
            return Ok(self.webfinger(host));
        }
        Ok(self.ask_actor())
    }

    fn reverse(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        if self.read_webfinger(&http)? != self.actor {
            return Err(Miss::at(Code::HandleMismatch, http.place)
                .because("the two servers name different actors"));
        }
        Ok(self.ask_actor())
    }

    fn ask_actor(&mut self) -> Step {
        self.stage = Stage::Actor;
        Step::Ask(vec![Request::get(self.actor.clone(), ACTIVITY)])
    }

    fn read_actor(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        if matches!(http.status, 401 | 403) && http.miss().code != Code::RateLimited {
            return Ok(self.fall_back(http.place));
        }
        let actor = http.json()?;
        let text = |name| actor.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("id") != self.actor {
            return Err(
                Miss::at(Code::HandleMismatch, http.place).because("the actor has another id")
            );
        }
        if !text("preferredUsername").eq_ignore_ascii_case(&self.user) {
            return Err(Miss::at(Code::HandleMismatch, http.place)
                .because(format!("the actor calls itself {}", text("preferredUsername"))));
        }
        // Secure mode answers unsigned requests with a trimmed actor: that is no missing proof.
        let trimmed = ["attachment", "summary", "name"].iter().all(|m| actor.get(m).is_none());
        if trimmed {
            return Ok(self.fall_back(http.place));
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

    fn fall_back(&mut self, place: Place) -> Step {
        self.restricted = Some(Miss::at(Code::AuthRequired, place));
        self.stage = Stage::Account;
        let url = format!(
            "https://{}/api/v1/accounts/lookup?acct={}",
            strict_host(&self.actor).unwrap_or_default(),
            encode(&self.user)
        );
        Step::Ask(vec![Request::get(url, "application/json")])
    }

    fn read_account(&mut self, fetched: Fetched) -> Result<Step, Miss> {
        let http = Http::of(fetched)?;
        let restricted = self.restricted.take();
        if http.status != 200 {
            let miss = http.miss();
            let temporary = miss.code == Code::RateLimited || http.status >= 500;
            return Err(restricted.filter(|_| !temporary).unwrap_or(miss));
        }
        let account = http.json()?;
        let text = |name| account.get(name).and_then(Value::as_str).unwrap_or_default();
        let same = text("acct").eq_ignore_ascii_case(&self.user) && text("uri") == self.actor;
        if !same {
            return Err(Miss::at(Code::HandleMismatch, http.place));
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
            Stage::Start => {
                self.stage = Stage::Webfinger;
                Ok(self.webfinger(&self.host))
            }
            Stage::Webfinger => self.found_actor(answers.remove(0)),
            Stage::Reverse => self.reverse(answers.remove(0)),
            Stage::Actor => self.read_actor(answers.remove(0)),
            Stage::Account => self.read_account(answers.remove(0)),
        };
        result.unwrap_or_else(Step::from)
    }
}
