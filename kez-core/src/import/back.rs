//! Whether an account names the source in turn, read where only its owner can write.

use super::{Importer, hashed, html, refused};
use crate::{
    Code, Error, Identity, Result,
    channel::{ACTIVITY, GITHUB, ap, dns, github, html_to_text, nostr},
    json::Value,
    transport::{Body, Request, Transport},
};
use alloc::{format, string::String, vec::Vec};

/// Where an account would name the source.
pub(super) enum Proof {
    /// In a gist of that GitHub account.
    Gist(Identity, String),
    /// In a GitHub account's profile.
    Github(Identity),
    /// In a TXT record at one of these names.
    Txt(Vec<String>),
    /// In a post of a fediverse account.
    Post(Identity, String),
    /// In what a fediverse or nostr account shows.
    Profile(Identity),
    /// Among the rel=me links of a page.
    Page(String),
    /// In a file of a web server.
    File(String),
    /// Nowhere that is read here.
    Nowhere,
}

impl Proof {
    /// By the account, and the URL that the source gives for its proof.
    pub(super) fn of(account: Option<&Identity>, url: &str) -> Self {
        let Some(account) = account else { return Self::Nowhere };
        let path = url.split("://").nth(1).unwrap_or_default();
        let path: Vec<&str> = path.split(['/', '?', '#']).filter(|part| !part.is_empty()).collect();
        match (account.scheme(), &path[..]) {
            (github::SCHEME, ["gist.github.com", _, id] | ["gist.github.com", id])
                if id.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Self::Gist(account.clone(), (*id).into())
            }
            (github::SCHEME, _) => Self::Github(account.clone()),
            (dns::SCHEME, _) if url.starts_with("dns:") => {
                Self::Txt(Vec::from([account.value().into()]))
            }
            (dns::SCHEME, _) => Self::Page(url.into()),
            (ap::SCHEME, [_, "users", _, _, ..]) => Self::Post(account.clone(), url.into()),
            (ap::SCHEME, [_, user, _, ..]) if user.starts_with('@') => {
                Self::Post(account.clone(), url.into())
            }
            (ap::SCHEME | nostr::SCHEME, _) => Self::Profile(account.clone()),
            _ => Self::Nowhere,
        }
    }
}

impl<T: Transport> Importer<'_, T> {
    /// Whether one of these words stands in a proof.
    pub(super) async fn shows(&self, proof: &Proof, words: &[String]) -> Result<bool> {
        let texts = match proof {
            Proof::Gist(account, id) => self.gist(account, id).await?,
            Proof::Github(account) => self.github_profile(account).await?,
            Proof::Txt(names) => self.txt(names).await?,
            Proof::Post(account, url) => Vec::from([self.post(account, url).await?]),
            Proof::Profile(account) => {
                let finding = self.look_up(account).await?;
                let texts = finding.texts.into_iter().map(|text| text.text);
                let texts: Vec<String> = texts.collect();
                // What was not read may name the source.
                match finding.failed.filter(|_| !names(&texts, words)) {
                    Some(miss) => return Err(miss.into()),
                    None => texts,
                }
            }
            Proof::Page(url) => html::links(&self.page(url).await?),
            Proof::File(url) => {
                let file = self.get_good(url, "text/plain").await?;
                Vec::from([String::from_utf8_lossy(&file).into_owned()])
            }
            Proof::Nowhere => return Err(Code::NoChannel.into()),
        };
        if names(&texts, words) {
            return Ok(true);
        }
        // Keyoxide's proofs may be hashed, so that nobody finds the accounts of a key.
        match words.first().filter(|word| is_of_keyoxide(word)) {
            Some(word) => hashed::any(&texts, word),
            None => Ok(false),
        }
    }

    async fn gist(&self, account: &Identity, id: &str) -> Result<Vec<String>> {
        let url = format!("{}/gists/{id}", self.endpoints.github);
        let gist = self.get_json(&url, GITHUB).await?;
        let login = gist.get("owner").and_then(|owner| owner.get("login"));
        let login = login.and_then(Value::as_str).unwrap_or_default();
        if !login.eq_ignore_ascii_case(account.value()) {
            return Err(Error::about(Code::WrongOwner, format!("the gist is of {login}")));
        }
        let Some(Value::Object(files)) = gist.get("files") else { return Ok(Vec::new()) };
        let text = |file: &Value| file.get("content").and_then(Value::as_str).map(String::from);
        Ok(files.iter().filter_map(|(_, file)| text(file)).collect())
    }

    /// The links of a GitHub account's profile.
    pub(super) async fn github_profile(&self, account: &Identity) -> Result<Vec<String>> {
        let url = format!("{}/users/{}", self.endpoints.github, account.value());
        let user = self.get_json(&url, GITHUB).await?;
        let text = |value: &Value, name| {
            let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
            Some(String::from(text)).filter(|text| !text.is_empty())
        };
        let mut links: Vec<String> = text(&user, "blog").into_iter().collect();
        // People write the address of their page with or without its scheme.
        for link in &mut links {
            if !link.contains("://") {
                *link = format!("https://{link}");
            }
        }
        let social = self.get_json(&format!("{url}/social_accounts"), GITHUB).await?;
        let social = social.as_array().unwrap_or_default();
        links.extend(social.iter().filter_map(|account| text(account, "url")));
        Ok(links)
    }

    async fn txt(&self, names: &[String]) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for name in names {
            let request = Request::Txt { name: name.clone() };
            let answer = self.transport.fetch(&request).await;
            let answer = answer.map_err(|failure| Error::about(failure.code, request.place()))?;
            let Body::Txt { rcode, records, .. } = answer.body else {
                return Err(refused(&request.place()));
            };
            if rcode != 0 && rcode != 3 {
                return Err(Error::about(Code::DnsFailed, request.place()));
            }
            texts.extend(records.into_iter().filter_map(|record| String::from_utf8(record).ok()));
        }
        Ok(texts)
    }

    /// The text of a post, which must be by the account.
    async fn post(&self, account: &Identity, url: &str) -> Result<String> {
        let actor = self.look_up(account).await?.account.unwrap_or_default();
        let post = self.get_json(url, ACTIVITY).await?;
        let author = match post.get("attributedTo") {
            Some(Value::String(author)) => author.as_str(),
            Some(author) => author.get("id").and_then(Value::as_str).unwrap_or_default(),
            None => "",
        };
        if author != actor {
            return Err(Error::about(Code::WrongOwner, format!("the post is by {author}")));
        }
        Ok(html_to_text(post.get("content").and_then(Value::as_str).unwrap_or_default()))
    }
}

fn is_of_keyoxide(word: &str) -> bool {
    word.starts_with(FINGERPRINT) || word.starts_with("aspe:")
}

fn names(texts: &[String], words: &[String]) -> bool {
    words.iter().any(|word| texts.iter().any(|text| says(text, word)))
}

/// What stands before the fingerprint of an OpenPGP key.
const FINGERPRINT: &str = "openpgp4fpr:";

/// Whether a text has this fingerprint, in groups or not.
fn has_fingerprint(text: &str, fingerprint: &str) -> bool {
    text.match_indices(FINGERPRINT).any(|(at, _)| {
        let mut rest = text[at + FINGERPRINT.len()..].chars();
        let same =
            fingerprint.chars().all(|digit| rest.find(|c| !c.is_whitespace()) == Some(digit));
        same && rest.next().is_none_or(|c| !c.is_alphanumeric())
    })
}

/// Whether a text has a word in it, and not only the beginning of a longer one; of URLs, whether
/// it has that one.
pub(super) fn says(text: &str, word: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let word = word.to_ascii_lowercase();
    if word.contains("://") {
        let mut tokens = text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'));
        return tokens.any(|token| {
            // A sentence may end after a URL, and Markdown puts it into brackets.
            let start = token.find("https://").or_else(|| token.find("http://")).unwrap_or(0);
            let (before, url) = token.split_at(start);
            let bracket = before.is_empty() || before.ends_with(['(', '[', '\'']);
            let ends = ['.', ',', ';', ')', ']', '\''];
            bracket && (same_url(url, &word) || same_url(url.trim_end_matches(ends), &word))
        });
    }
    if let Some(fingerprint) = word.strip_prefix(FINGERPRINT) {
        return has_fingerprint(&text, fingerprint);
    }
    let ends = |at: usize| {
        let next = text[at + word.len()..].chars().next();
        next.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    };
    text.match_indices(&word).any(|(at, _)| ends(at))
}

/// Whether two URLs lead to the same page: their schemes and a last slash do not matter.
fn same_url(one: &str, other: &str) -> bool {
    fn bare(url: &str) -> Option<&str> {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
        Some(rest.split('#').next().unwrap_or(rest).trim_end_matches('/'))
    }
    bare(one).is_some_and(|bare_one| Some(bare_one) == bare(other))
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn a_longer_word_is_another() {
        assert!(says("I am NPUB1abc.", "npub1abc"));
        assert!(!says("npub1abcd", "npub1abc"));
        assert!(says("see <https://Example.com> .", "http://example.com/"));
        assert!(!says("https://example.com.evil.example/", "https://example.com"));
        assert!(!says("https://evil.example/?https://example.com", "https://example.com"));
        assert!(!says("keybase.io/alice_too", "keybase.io/alice"));
        assert!(says("[me](https://example.com/), and", "https://example.com"));
        assert!(says("It is https://example.com.", "https://example.com"));
        assert!(!says("evil:https://example.com", "https://example.com"));
    }

    #[test]
    fn fingerprints_in_groups() {
        let word = "openpgp4fpr:0123456789abcdef0123456789abcdef01234567";
        for text in [
            "openpgp4fpr:0123456789ABCDEF0123456789ABCDEF01234567",
            "OPENPGP4FPR: 0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567, and more",
            "a openpgp4fpr:0123 openpgp4fpr:0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(says(text, word), "{text}");
        }
        for text in [
            "openpgp4fpr:0123456789abcdef0123456789abcdef012345678",
            "openpgp4fpr:0123456789abcdef0123456789abcdef0123456",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(!says(text, word), "{text}");
        }
    }
}
