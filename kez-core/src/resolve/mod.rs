//! From what a user typed to an identity, where that takes the network (SPEC.md, "Input"): names
//! by WebFinger and NIP-05, pages by what they and their host say about themselves. What is found
//! proves nothing by itself: the identity is verified like any other.

mod page;

use crate::{
    Code, Identity, Input, Key, Scheme,
    channel::{ACTIVITY, Fetched, Http, Miss, ap, encode},
    hex,
    input::page_refused,
    json::Value,
    transport::{Place, Request, Transport},
    url::strict_host,
    verify::Question,
};
use alloc::{format, string::String, vec::Vec};

/// An identity, and how a typed text led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The identity, to be verified.
    pub identity: Identity,
    /// The account's name as typed or as the platform writes it, where only upper and lower case
    /// differ.
    pub spelling: Option<String>,
    /// Who said so, in words, if it took the network: "WebFinger at example.org".
    pub via: Option<String>,
}

impl Resolved {
    /// The question whose account this is.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question { spelling: self.spelling.as_deref(), ..Question::about(&self.identity) }
    }

    fn by(identity: Identity, via: String) -> Self {
        Self { identity, spelling: None, via: Some(via) }
    }
}

/// Turns an input into an identity.
///
/// A name is asked about by WebFinger, then by NIP-05. A page is asked about by WebFinger at its
/// host, then read for a link to an ActivityPub actor.
///
/// # Errors
/// `identity_not_found` if the host definitely has no such name; `identity_refused` for a page
/// that names no account, with what can be typed instead; why the host could not be asked.
///
/// ```
/// use futures_util::FutureExt as _;
/// use kez_core::{Input, Transport, resolve, transport::{Answer, Failure, Request}};
/// # struct NoNetwork;
/// # impl Transport for NoNetwork {
/// #     async fn fetch(&self, _: &Request) -> Result<Answer, Failure> {
/// #         Err(Failure::new(kez_core::Code::Offline, "no network"))
/// #     }
/// #     async fn pause(&self, _: u32) {}
/// # }
/// let input = Input::parse("https://github.com/jason")?;
/// let resolved = resolve::resolve(&NoNetwork, input).now_or_never().unwrap().unwrap();
/// assert_eq!(resolved.identity.as_str(), "github:jason");
/// # Ok::<(), kez_core::Error>(())
/// ```
pub async fn resolve(transport: &impl Transport, input: Input) -> Result<Resolved, Miss> {
    match input {
        Input::Account { identity, spelling } => Ok(Resolved { identity, spelling, via: None }),
        Input::Name { user, host } => name(transport, &user, &host).await,
        Input::Nip05 { user, host } => match nostr_name(transport, &user, &host).await {
            Asked::Found(resolved) => Ok(resolved),
            Asked::Absent(place) => Err(not_found(&user, &host, "NIP-05", place)),
            Asked::Failed(miss) => Err(miss),
        },
        Input::Page { url, host } => page(transport, &url, &host).await,
    }
}

/// What a host says to a question.
enum Asked<T> {
    Found(T),
    /// Definitely not, from this place.
    Absent(Place),
    Failed(Miss),
}

async fn ask(transport: &impl Transport, request: Request) -> Asked<Http> {
    let answer = transport.fetch(&request).await;
    let place = Place { url: request.place(), ..Place::default() };
    let fetched: Fetched = (request, answer);
    match Http::of(fetched) {
        Ok(http) if http.status == 200 => Asked::Found(http),
        Ok(http) if matches!(http.status, 404 | 410) => Asked::Absent(http.place),
        Ok(http) => Asked::Failed(http.miss()),
        Err(miss) if miss.code == Code::HostUnknown => Asked::Absent(place),
        Err(miss) => Asked::Failed(miss),
    }
}

async fn name(transport: &impl Transport, user: &str, host: &str) -> Result<Resolved, Miss> {
    let fediverse = fediverse_name(transport, user, host).await;
    if let Asked::Found(resolved) = fediverse {
        return Ok(resolved);
    }
    match (fediverse, nostr_name(transport, &user.to_ascii_lowercase(), host).await) {
        (_, Asked::Found(resolved)) => Ok(resolved),
        (Asked::Failed(miss), _) | (_, Asked::Failed(miss)) => Err(miss),
        (Asked::Absent(place), _) | (Asked::Found(_), Asked::Absent(place)) => {
            Err(not_found(user, host, "WebFinger (fediverse) nor NIP-05 (nostr)", place))
        }
    }
}

fn not_found(user: &str, host: &str, asked: &str, place: Place) -> Miss {
    let neither = if asked.contains(" nor ") { "neither " } else { "not " };
    let detail = format!("{host} knows {user}@{host} by {neither}{asked}");
    Miss { code: Code::IdentityNotFound, detail: Some(detail), place: Some(place), retry_at: None }
}

/// By WebFinger, the name as typed first, then in lower case. Whether the answer is right is for
/// the lookup to say.
async fn fediverse_name(transport: &impl Transport, user: &str, host: &str) -> Asked<Resolved> {
    let lower = user.to_ascii_lowercase();
    let nowhere = Place { url: format!("https://{host}/"), ..Place::default() };
    let Ok(identity) = Identity::from_canonical(&format!("{}:{lower}@{host}", ap::SCHEME)) else {
        return Asked::Absent(nowhere);
    };
    let spelling = Some(String::from(user)).filter(|user| *user != lower);
    let found = |via: &str| {
        let via = Some(format!("{via} at {host}"));
        Asked::Found(Resolved { identity: identity.clone(), spelling: spelling.clone(), via })
    };
    let mut place = nowhere;
    let both = [Some(user), spelling.is_some().then_some(&lower[..])];
    for user in both.into_iter().flatten() {
        match webfinger(transport, host, &format!("acct:{user}@{host}")).await {
            Asked::Found(_) => return found("WebFinger"),
            Asked::Absent(at) => place = at,
            Asked::Failed(miss) => return Asked::Failed(miss),
        }
    }
    // A host without WebFinger may name another one that has it; the lookup follows it there.
    let host_meta = format!("https://{host}/.well-known/host-meta");
    match ask(transport, Request::get_public(host_meta, "application/xrd+xml")).await {
        Asked::Found(http) if String::from_utf8_lossy(&http.bytes).contains("lrdd") => {
            found("host-meta")
        }
        _ => Asked::Absent(place),
    }
}

/// The WebFinger document (RFC 7033) about a resource.
async fn webfinger(transport: &impl Transport, host: &str, resource: &str) -> Asked<Value> {
    let url = format!("https://{host}/.well-known/webfinger?resource={}", encode(resource));
    match ask(transport, Request::get_public(url, "application/jrd+json")).await {
        // Static servers send it with any content type.
        Asked::Found(http) => match Value::parse_foreign(&http.bytes) {
            Ok(jrd) if jrd.get("subject").is_some() || jrd.get("links").is_some() => {
                Asked::Found(jrd)
            }
            _ => Asked::Failed(refused(http.place, "the answer is not a WebFinger document")),
        },
        Asked::Absent(place) => Asked::Absent(place),
        Asked::Failed(miss) => Asked::Failed(miss),
    }
}

fn refused(place: Place, why: &str) -> Miss {
    let detail = Some(why.into());
    Miss { code: Code::ResponseRefused, detail, place: Some(place), retry_at: None }
}

/// By `nostr.json` (NIP-05).
async fn nostr_name(transport: &impl Transport, user: &str, host: &str) -> Asked<Resolved> {
    let url = format!("https://{host}/.well-known/nostr.json?name={}", encode(user));
    let http = match ask(transport, Request::get(url, "application/json")).await {
        Asked::Found(http) => http,
        Asked::Absent(place) => return Asked::Absent(place),
        Asked::Failed(miss) => return Asked::Failed(miss),
    };
    if http.place.redirected_to.is_some() {
        let detail = Some("NIP-05 forbids redirects".into());
        let place = Some(http.place);
        return Asked::Failed(Miss { code: Code::RedirectRefused, detail, place, retry_at: None });
    }
    // A web page in the place of the file: the host does not offer such names.
    let names = Value::parse_foreign(&http.bytes).ok();
    let names = names.as_ref().and_then(|json| json.get("names"));
    let Some(key) = names.and_then(|names| names.get(user)) else {
        return Asked::Absent(http.place);
    };
    let key = key.as_str().and_then(hex::decode);
    match key.and_then(|key| Key::from_bytes(Scheme::Nostr, &key).ok()) {
        Some(key) => {
            Asked::Found(Resolved::by(key.identity().clone(), format!("NIP-05 at {host}")))
        }
        None => Asked::Failed(refused(http.place, "the name's key is not a nostr key")),
    }
}

async fn page(transport: &impl Transport, url: &str, host: &str) -> Result<Resolved, Miss> {
    let mut why = String::new();
    match webfinger(transport, host, url).await {
        Asked::Found(jrd) => {
            if let Some(resolved) = page_by_webfinger(transport, &jrd, host).await {
                return Ok(resolved);
            }
        }
        Asked::Absent(_) => {}
        Asked::Failed(miss) => why = format!(" (WebFinger failed: {})", miss.code),
    }
    match ask(transport, Request::get_public(url.into(), "text/html")).await {
        Asked::Found(http) => {
            if let Some(resolved) = page_by_link(transport, &http, url, host).await {
                return Ok(resolved);
            }
        }
        Asked::Absent(_) => {}
        Asked::Failed(miss) => why = format!(" (the page could not be read: {})", miss.code),
    }
    let error = page_refused(url, host);
    let detail = format!("{}{why}", error.context().unwrap_or_default());
    Err(Miss { code: error.code(), detail: Some(detail), place: None, retry_at: None })
}

/// The account that a host's WebFinger names for a page of the host: one of that host.
async fn page_by_webfinger(
    transport: &impl Transport,
    jrd: &Value,
    host: &str,
) -> Option<Resolved> {
    let subject = jrd.get("subject").and_then(Value::as_str).unwrap_or_default();
    let via = format!("WebFinger at {host}");
    let account = subject.strip_prefix("acct:").and_then(|account| account.split_once('@'));
    if let Some((user, at)) = account
        && at.eq_ignore_ascii_case(host)
    {
        return resolved(user, host, via);
    }
    let links = jrd.get("links").and_then(Value::as_array).unwrap_or_default();
    let text = |link: &Value, name| link.get(name).and_then(Value::as_str).map(String::from);
    let own = |link: &&Value| text(link, "rel").is_some_and(|rel| rel == "self");
    let link = links.iter().filter(own).find_map(|link| {
        let is_actor = page::is_activity(&text(link, "type")?);
        text(link, "href").filter(|_| is_actor)
    })?;
    if strict_host(&link)? != host {
        return None;
    }
    let actor = actor(transport, &link).await?;
    resolved(&actor.user, host, via)
}

/// The account whose actor a page links to, if the actor calls the page its own.
async fn page_by_link(
    transport: &impl Transport,
    http: &Http,
    url: &str,
    host: &str,
) -> Option<Resolved> {
    let moved = http.place.redirected_to.as_deref();
    let base = moved.and_then(strict_host).unwrap_or(host);
    let link = page::actor_link(&String::from_utf8_lossy(&http.bytes), base)?;
    let actor_host = strict_host(&link)?;
    let actor = actor(transport, &link).await?;
    let own = |page: &str| actor.pages.iter().any(|own| page::is_at_or_below(page, own));
    if own(url) || moved.is_some_and(own) {
        resolved(&actor.user, actor_host, format!("the page's link to {link}"))
    } else {
        None
    }
}

fn resolved(user: &str, host: &str, via: String) -> Option<Resolved> {
    let lower = user.to_ascii_lowercase();
    let identity = Identity::from_canonical(&format!("{}:{lower}@{host}", ap::SCHEME)).ok()?;
    let spelling = Some(String::from(user)).filter(|user| *user != lower);
    Some(Resolved { identity, spelling, via: Some(via) })
}

/// What an actor says about itself.
struct Actor {
    user: String,
    /// Its id and its pages for people.
    pages: Vec<String>,
}

async fn actor(transport: &impl Transport, link: &str) -> Option<Actor> {
    let Asked::Found(http) = ask(transport, Request::get(link.into(), ACTIVITY)).await else {
        return None;
    };
    let actor = http.json().ok()?;
    let user = actor.get("preferredUsername").and_then(Value::as_str)?.into();
    let id = actor.get("id").and_then(Value::as_str)?;
    if id.trim_end_matches('/') != link.trim_end_matches('/') {
        return None;
    }
    let mut pages = Vec::from([String::from(id)]);
    let href = |link: &Value| {
        let text = link.as_str().or_else(|| link.get("href").and_then(Value::as_str));
        text.map(String::from)
    };
    match actor.get("url") {
        Some(Value::Array(links)) => pages.extend(links.iter().filter_map(href)),
        Some(link) => pages.extend(href(link)),
        None => {}
    }
    // An actor speaks for the pages of its own host only.
    let host = strict_host(link)?;
    pages.retain(|page| strict_host(page) == Some(host));
    Some(Actor { user, pages })
}

#[cfg(test)]
mod tests;
