//! The link of an HTML page to its ActivityPub actor.

use alloc::{format, string::String};

/// Elements whose content is text, whatever looks like a tag in it.
const TEXT: [&str; 6] = ["script", "style", "title", "noscript", "template", "textarea"];

/// The URL of the first `<link rel="alternate">` before the body whose type is ActivityPub's. It
/// need not be found by all the rules of HTML, since the actor has to name the page in turn.
pub(super) fn actor_link(html: &str, host: &str) -> Option<String> {
    // ASCII lower case keeps every offset.
    let lower = html.to_ascii_lowercase();
    let mut at = 0;
    while let Some(start) = lower[at..].find('<') {
        at += start + 1;
        if lower[at..].starts_with("!--") {
            at += lower[at..].find("-->")? + 3;
            continue;
        }
        let name = lower[at..].split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        at += name.len();
        if name == "body" {
            return None;
        }
        if TEXT.contains(&name) {
            at += lower[at..].find(&format!("</{name}"))?;
        } else if name == "link"
            && let Some(href) = alternate(&html[at..])
        {
            return absolute(&href, host);
        }
    }
    None
}

/// The target of a link's attributes, if they are those of an actor.
fn alternate(tag: &str) -> Option<String> {
    let (mut rel, mut kind, mut href) = (false, false, None);
    // The attributes of such a link do not contain the start of another tag.
    let mut rest = tag.split('<').next()?;
    while let Some((name, value, tail)) = attribute(rest) {
        match &name.to_ascii_lowercase()[..] {
            "rel" => {
                rel = value.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("alternate"));
            }
            "type" => kind = is_activity(&value.replace("&quot;", "\"")),
            "href" => href = Some(value.trim().replace("&amp;", "&")),
            _ => {}
        }
        rest = tail;
    }
    href.filter(|_| rel && kind)
}

/// The first attribute of a tag with its value, and what follows; nothing at the tag's end.
fn attribute(tag: &str) -> Option<(&str, &str, &str)> {
    let space = |c: char| c.is_ascii_whitespace() || c == '/';
    let tag = tag.trim_start_matches(space);
    let end = tag.find(|c: char| space(c) || matches!(c, '=' | '>')).unwrap_or(tag.len());
    let (name, rest) = tag.split_at(end);
    if name.is_empty() {
        return None;
    }
    let Some(value) = rest.trim_start().strip_prefix('=').map(str::trim_start) else {
        return Some((name, "", rest));
    };
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (value, rest) = value[1..].split_once(quote)?;
        return Some((name, value, rest));
    }
    let end = value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len());
    Some((name, &value[..end], &value[end..]))
}

fn absolute(href: &str, host: &str) -> Option<String> {
    if href.starts_with("https://") {
        return Some(href.into());
    }
    let is_path = href.starts_with('/') && !href.starts_with("//");
    is_path.then(|| format!("https://{host}{href}"))
}

/// Whether a media type is that of ActivityPub objects.
pub(super) fn is_activity(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let bare = kind.split(';').next().unwrap_or_default().trim();
    bare == "application/activity+json"
        || (bare == "application/ld+json" && kind.contains("https://www.w3.org/ns/activitystreams"))
}

/// Whether a page is another one or below it; queries do not matter.
pub(super) fn is_at_or_below(page: &str, other: &str) -> bool {
    let path = |url: &'_ str| -> String {
        url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').into()
    };
    let (page, other) = (path(page), path(other));
    // Everything is below a host, which says nothing.
    let is_site = other.matches('/').count() < 3;
    page == other || (!is_site && page.strip_prefix(&other[..]).is_some_and(|s| s.starts_with('/')))
}
