//! The `i` tags of a nostr key (NIP-39): of its event of kind 10011, and of its profile, where they
//! stood before.

use super::{Foreign, Importer, Link, Said, Source, account, back::Proof};
use crate::{
    Identity, Key, NostrEvent, Result, ToAscii,
    channel::{EXTERNAL_IDENTITIES, RELAY_LIST, ask_relays, newest},
    json::Value,
    transport::{Body, Transport},
};
use alloc::{format, string::String, vec::Vec};

impl<T: Transport> Importer<'_, T> {
    /// What a nostr key says of other accounts, on the configured relays and its own.
    pub(super) async fn nip39(&self, key: &Identity) -> Result<Foreign> {
        let key = Key::from_identity(key)?;
        let filters = [0, EXTERNAL_IDENTITIES, RELAY_LIST].map(|kind| newest(&key, kind));
        let answers = ask_relays(self.transport, self.endpoints, &key, &filters).await;
        let mut failure = None;
        let mut found: Vec<NostrEvent> = Vec::new();
        let mut read = false;
        for (request, answer) in answers {
            match answer {
                Ok(answer) => {
                    let Body::Relay { answers } = &answer.body else { continue };
                    // The relay list is not needed to read the two that may have accounts.
                    let missing = answers.iter().take(2).find_map(|a| a.failure.as_ref());
                    read |= missing.is_none();
                    let missing = missing.map(|f| crate::Error::about(f.code, request.place()));
                    failure = failure.or(missing);
                    let events = answer.body.relay_events();
                    let events = events.filter_map(|e| NostrEvent::from_json(e).ok());
                    found.extend(events.filter(|(by, _)| *by == key).map(|(_, event)| event));
                }
                Err(f) => failure = failure.or(Some(crate::Error::about(f.code, request.place()))),
            }
        }
        if let (false, true, Some(error)) = (read, found.is_empty(), failure) {
            return Err(error);
        }
        let newest = |kind| {
            let events = found.iter().filter(|event| event.kind == kind);
            events.max_by_key(|event| event.created_at)
        };
        let mut links: Vec<Link> = Vec::new();
        for event in [newest(EXTERNAL_IDENTITIES), newest(0)].into_iter().flatten() {
            for link in event.tags.iter().filter_map(|tag| from_tag(tag, self.to_ascii)) {
                if !links.iter().any(|known| known.text == link.text) {
                    links.push(link);
                }
            }
        }
        let subject: String = key.identity().value().into();
        let words = Vec::from([subject.clone()]);
        let draft = |link: Link| {
            let proof = link.proof.as_deref().unwrap_or_default();
            let proof = Proof::of(link.identity.as_ref(), proof);
            (link, proof, words.clone())
        };
        let links = self.checked(links.into_iter().map(draft).collect()).await;
        let profile = newest(0).and_then(|e| Value::parse_foreign(e.content.as_bytes()).ok());
        let name = profile.as_ref().and_then(|p| p.get("name")).and_then(Value::as_str);
        Ok(Foreign::new(Source::Nip39, subject, name.map(String::from), links))
    }
}

/// `["i", "platform:identity", "proof"]`.
fn from_tag(tag: &[String], to_ascii: &ToAscii<'_>) -> Option<Link> {
    let [kind, text, rest @ ..] = tag else { return None };
    if kind != "i" {
        return None;
    }
    let (platform, name) = text.split_once(':')?;
    let proof = rest.first().filter(|proof| !proof.is_empty());
    let (identity, at) = match platform {
        "github" => {
            (Identity::parse_with(text, to_ascii).ok(), format!("https://gist.github.com/{name}/"))
        }
        "mastodon" => (account(&format!("https://{name}"), to_ascii), format!("https://{name}/")),
        "twitter" => (None, format!("https://twitter.com/{name}/status/")),
        "telegram" => (None, "https://t.me/".into()),
        _ => (None, String::new()),
    };
    Some(Link::new(text, identity, proof.map(|proof| format!("{at}{proof}")), Said::Signed))
}

#[cfg(test)]
mod tests {
    use super::from_tag;
    use alloc::{string::String, vec::Vec};

    #[test]
    fn tags_of_the_nip() {
        let read = |words: &[&str]| {
            let tag: Vec<String> = words.iter().map(|word| (*word).into()).collect();
            let link = from_tag(&tag, &|name| Some(name.into()))?;
            Some((link.identity.map(|i| String::from(i.as_str())), link.proof))
        };
        let some = |text: &str| Some(String::from(text));
        assert_eq!(
            read(&["i", "github:Semisol", "9721ce4ee4fceb91c9711ca2a6c9a5ab"]),
            Some((
                some("github:semisol"),
                some("https://gist.github.com/Semisol/9721ce4ee4fceb91c9711ca2a6c9a5ab")
            ))
        );
        assert_eq!(
            read(&["i", "mastodon:bitcoinhackers.org/@semisol", "109775066355589974"]),
            Some((
                some("ap:semisol@bitcoinhackers.org"),
                some("https://bitcoinhackers.org/@semisol/109775066355589974")
            ))
        );
        let tweet = some("https://twitter.com/semisol_public/status/1619358434134196225");
        let twitter = ["i", "twitter:semisol_public", "1619358434134196225"];
        assert_eq!(read(&twitter), Some((None, tweet)));
        assert_eq!(read(&["i", "github:someone"]), Some((some("github:someone"), None)));
        assert_eq!(read(&["e", "github:someone"]), None);
        assert_eq!(read(&["i", "nonsense"]), None);
    }
}
