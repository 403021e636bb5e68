//! rel=me links (<https://microformats.org/wiki/rel-me>): those of a page, of a fediverse profile's
//! fields and of a GitHub profile.

use super::{Foreign, Importer, Link, Said, Source, account, back::Proof, html};
use crate::{
    Code, Error, Identity, Result,
    channel::{ap, dns, github},
    transport::Transport,
};
use alloc::{format, string::String, vec::Vec};

impl<T: Transport> Importer<'_, T> {
    /// The rel=me links of a page (an https URL), a domain's front page, a fediverse account or a
    /// GitHub account.
    pub(super) async fn rel_me(&self, page: &str) -> Result<Foreign> {
        let (subject, own, links) = self.links_of(page).await?;
        let mut drafts = Vec::new();
        for url in links {
            let identity = account(&url, self.to_ascii);
            let proof = match &identity {
                Some(identity) if identity.scheme() != dns::SCHEME => {
                    Proof::of(Some(identity), &url)
                }
                _ => Proof::Page(url.clone()),
            };
            drafts.push((Link::new(&url, identity, None, Said::Published), proof, own.clone()));
        }
        let links = self.checked(drafts).await;
        Ok(Foreign::new(Source::RelMe, subject, None, links))
    }

    /// The name of a page, the URLs that others know it by, and its links.
    async fn links_of(&self, page: &str) -> Result<(String, Vec<String>, Vec<String>)> {
        let page = page.trim();
        let identity = match account(page, self.to_ascii) {
            None if page.starts_with("https://") || page.starts_with("http://") => None,
            None => Some(Identity::parse_with(page, self.to_ascii)?),
            // A page's own address is kept as it is.
            some => some.filter(|identity| identity.scheme() != dns::SCHEME),
        };
        let Some(identity) = identity else {
            let links = html::links(&self.page(page).await?);
            return Ok((page.into(), Vec::from([page.into()]), links));
        };
        let subject = identity.as_str().into();
        let profile = identity.profile_url().unwrap_or_default();
        match identity.scheme() {
            dns::SCHEME => {
                let links = html::links(&self.page(&profile).await?);
                Ok((subject, Vec::from([profile]), links))
            }
            github::SCHEME => {
                Ok((subject, Vec::from([profile]), self.github_profile(&identity).await?))
            }
            ap::SCHEME => {
                let finding = self.look_up(&identity).await?;
                let host = format!("//{}/", identity.host().unwrap_or_default());
                let mut links: Vec<String> = Vec::new();
                for word in finding.texts.iter().flat_map(|text| text.text.split_whitespace()) {
                    // Those to the own server are mentions and tags.
                    let outside = word.starts_with("https://") && !word.contains(&host);
                    if outside && !links.iter().any(|known| known == word) {
                        links.push(word.into());
                    }
                }
                let own = [Some(profile), finding.account].into_iter().flatten().collect();
                Ok((subject, own, links))
            }
            _ => Err(Error::about(Code::NoChannel, identity)),
        }
    }
}
