//! Where an own chain is published: in a directory, on nostr relays, at sigchain servers.

use crate::{
    home::Home,
    host::{Access, Net},
    output::Out,
    run::Context,
    sigchain::current_key,
};
use kez_core::{
    Chain, Code, Error, Identity, Key, NostrEvent, Result, Scheme, SecretKey, Timestamp,
    chain::MAX_BUNDLE,
    chain_path,
    channel::{carrier_source, chain_authors, chain_carrier, further_filters, source_url},
    claim::MAX_SOURCES,
    publish::{appended_at_server, given_as_evidence, missing_at_server, server_url},
    transport::{Body, Call, Failure, Request},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Places for copies of a chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// A `.well-known` directory.
    pub(crate) dir: Option<PathBuf>,
    /// URLs of nostr relays.
    pub(crate) relays: Vec<String>,
    /// URLs of sigchain servers.
    pub(crate) servers: Vec<String>,
    /// The name of the nostr key that signs what carries the chain on relays.
    pub(crate) nostr_key: Option<String>,
}

impl Places {
    pub(crate) fn is_empty(&self) -> bool {
        self.dir.is_none() && self.relays.is_empty() && self.servers.is_empty()
    }

    /// The places that the configuration names: those where a verifier looks for this chain.
    pub(crate) fn configured(context: &Context<'_, impl Net>, chain: &Chain) -> Result<Self> {
        let endpoints = context.config.endpoints()?;
        let mut places = Self {
            dir: context.config.well_known.clone(),
            servers: endpoints.sig_servers.into_iter().map(|server| server.url).collect(),
            ..Self::default()
        };
        let is_nostr = |identity: &Identity| identity.scheme() == Scheme::Nostr;
        if !is_nostr(chain.name()) {
            return Ok(places);
        }
        let own = is_nostr(chain.current_key().identity());
        if !own {
            // Of a chain that has gone on with another kind of key any nostr key may carry the events.
            let mut keys = context.keys().list()?.into_iter();
            places.nostr_key = keys.find(|entry| is_nostr(&entry.identity)).map(|entry| entry.name);
        }
        if own || places.nostr_key.is_some() {
            places.relays = endpoints.relays;
        }
        Ok(places)
    }

    /// The key that signs what carries the chain on relays, if there is one.
    fn signer(&self, context: &Context<'_, impl Net>, chain: &Chain) -> Option<Key> {
        let identity = match &self.nostr_key {
            Some(name) => context.keys().entry(name).ok()?.identity,
            None => chain.current_key().identity().clone(),
        };
        let key = Key::from_identity(&identity).ok()?;
        (identity.scheme() == Scheme::Nostr).then_some(key)
    }

    /// The sources that a claim names, so that strangers find the chain: the sigchain servers and
    /// the relays.
    pub(crate) fn sources(&self, context: &Context<'_, impl Net>, chain: &Chain) -> Vec<String> {
        let mut sources: Vec<String> =
            self.servers.iter().map(|base| server_url(base, chain)).collect();
        if let Some(signer) = self.signer(context, chain) {
            sources.extend(self.relays.iter().map(|url| relay_source(chain, &signer, url)));
        }
        sources.retain(|url| url.starts_with("https://") || url.starts_with("wss://"));
        sources.truncate(MAX_SOURCES);
        sources
    }

    /// Publishes a chain at all of them. Gives where.
    ///
    /// # Errors
    /// That of the first place that fails.
    pub(crate) async fn publish(
        &self,
        context: &Context<'_, impl Net>,
        chain: &Chain,
    ) -> Result<Vec<String>> {
        let each = self.publish_each(context, chain, None).await?;
        each.into_iter().map(|(place, done)| done.map(|()| place)).collect()
    }

    /// Publishes a chain wherever that goes, since relays come and go, and tells of the others.
    /// Gives where. `open` is a key that is open already.
    ///
    /// # Errors
    /// `head_conflict`; that of the first place, if all of them fail.
    pub(crate) async fn publish_most(
        &self,
        context: &Context<'_, impl Net>,
        out: &Out<'_>,
        chain: &Chain,
        open: Option<&SecretKey>,
    ) -> Result<Vec<String>> {
        let mut taken = Vec::new();
        let mut failed = None;
        for (place, done) in self.publish_each(context, chain, open).await? {
            match done {
                Ok(()) => taken.push(place),
                Err(error) if error.code() == Code::HeadConflict => return Err(error),
                Err(error) => {
                    out.hint(&format!("kez: warning: {error}"));
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) if taken.is_empty() => Err(error),
            _ => Ok(taken),
        }
    }

    /// Publishes a chain at every place, and tells how that ended.
    async fn publish_each(
        &self,
        context: &Context<'_, impl Net>,
        chain: &Chain,
        open: Option<&SecretKey>,
    ) -> Result<Vec<(String, Result<()>)>> {
        let mut done = Vec::new();
        if let Some(dir) = &self.dir {
            let written = to_directory(context.home, chain, dir);
            done.push((file(chain, dir).display().to_string(), written.map(drop)));
        }
        let net = &context.net.net;
        if !self.relays.is_empty() {
            let opened;
            let open = open.filter(|key| key.public().identity().scheme() == Scheme::Nostr);
            let key = match (&self.nostr_key, open) {
                (None, Some(key)) => key,
                (Some(name), _) => {
                    opened = context.open(name)?;
                    &opened
                }
                (None, None) if chain.current_key().identity().scheme() == Scheme::Nostr => {
                    opened = current_key(context, chain)?;
                    &opened
                }
                (None, None) => {
                    let why = "relays take events of nostr keys only: name one with --nostr-key";
                    return Err(Error::about(Code::Usage, why));
                }
            };
            for url in &self.relays {
                let sent = to_relay(net, chain, key, url).await;
                done.push((sent.as_ref().unwrap_or(url).clone(), sent.map(drop)));
            }
        }
        for url in &self.servers {
            let sent = to_server(net, chain, url, context.host.now()).await;
            done.push((url.clone(), sent));
        }
        Ok(done)
    }
}

impl Places {
    /// Sees that no place has events that another machine has published, which the next one here
    /// would fork.
    ///
    /// # Errors
    /// `head_conflict`.
    pub(crate) async fn agree(&self, context: &Context<'_, impl Net>, chain: &Chain) -> Result<()> {
        let found = self.missing(context, chain).await;
        let mut errors = found.into_iter().filter_map(|(_, missing)| missing.err());
        errors.find(|error| error.code() == Code::HeadConflict).map_or(Ok(()), Err)
    }

    /// How many events each place has not, or why that cannot be told.
    pub(crate) async fn missing(
        &self,
        context: &Context<'_, impl Net>,
        chain: &Chain,
    ) -> Vec<(String, Result<usize>)> {
        let net = &context.net.net;
        let mut found = Vec::new();
        if let Some(dir) = &self.dir {
            let path = file(chain, dir);
            let there = context.home.look_up(&path, MAX_BUNDLE).map(Option::unwrap_or_default);
            let mine = chain.to_bundle();
            let lines = |bundle: &[u8]| bundle.iter().filter(|b| **b == b'\n').count();
            let missing = there.map(|there| {
                let same = mine.as_bytes().starts_with(&there);
                lines(mine.as_bytes()) - if same { lines(&there) } else { 0 }
            });
            found.push((path.display().to_string(), missing));
        }
        let signer = self.signer(context, chain);
        for url in &self.relays {
            let missing = missing_on_relay(net, chain, signer.as_ref(), url).await;
            found.push((url.clone(), missing.map(|seqs| seqs.len())));
        }
        for base in &self.servers {
            let url = server_url(base, chain);
            let missing = missing_on_server(net, chain, &url, context.host.now()).await;
            found.push((base.clone(), missing.map(|lines| lines.lines().count())));
        }
        found
    }
}

/// Where a chain's bundle is below a `.well-known` directory.
fn file(chain: &Chain, dir: &Path) -> PathBuf {
    dir.join(format!("kez/{}.jsonl", chain_path(chain.name())))
}

fn refused(place: &str) -> impl Fn(Failure) -> Error {
    move |failure| {
        let detail = failure.detail.unwrap_or_default();
        Error::about(Code::PublishRefused, format!("{place}: {}: {detail}", failure.code))
    }
}

/// Writes the bundle below a `.well-known` directory. Returns the file.
///
/// # Errors
/// `storage_failed`; a file that was there before is then as it was.
pub fn to_directory(home: &Home<'_>, chain: &Chain, dir: &Path) -> Result<PathBuf> {
    let path = file(chain, dir);
    home.write(&path, chain.to_bundle().as_bytes(), Access::Public)?;
    Ok(path)
}

/// The seqs of a chain's events that a relay does not have by the chain's authors: its own nostr
/// keys, and the key that signs the carriers of other chains.
async fn missing_on_relay(
    net: &impl Net,
    chain: &Chain,
    signer: Option<&Key>,
    source: &str,
) -> Result<Vec<u64>> {
    let (url, named) = carrier_source(source);
    let mut authors = chain_authors(std::slice::from_ref(chain));
    for key in signer.into_iter().chain(&named) {
        if !authors.contains(key) {
            authors.push(key.clone());
        }
    }
    let filters = further_filters(chain.name(), &authors);
    let ask = Request::Relay { url: url.to_owned(), filters };
    let answer = net.fetch_if(&ask, None).await.map_err(refused(url))?;
    let tag = |json| {
        let (author, event) = NostrEvent::from_json(json).ok()?;
        authors.contains(&author).then(|| event.tag("d").map(str::to_owned))?
    };
    let have: BTreeSet<String> = answer.body.relay_events().filter_map(tag).collect();
    let seqs = (1..).zip(chain.events()).map(|(seq, _)| seq);
    let lacks =
        |seq: &u64| chain.id_at(*seq).is_some_and(|id| !have.contains(&format!("kez:{id}")));
    Ok(seqs.filter(lacks).collect())
}

/// Sends to a relay what it does not have, each event carried by a nostr event that `key` signs.
/// Returns the source that names the relay, and the carriers' author unless the chain names it.
/// A second run changes nothing, and one that was cut short goes on where it stopped.
///
/// # Errors
/// `publish_refused`, `key_expected` if `key` is not a nostr key.
pub async fn to_relay(net: &impl Net, chain: &Chain, key: &SecretKey, url: &str) -> Result<String> {
    let (url, _) = carrier_source(url);
    let missing = missing_on_relay(net, chain, Some(key.public()), url).await?;
    let mut carriers = Vec::new();
    for ((event, line), seq) in chain.events().iter().zip(chain.lines()).zip(1..) {
        if let (true, Some(id)) = (missing.contains(&seq), chain.id_at(seq)) {
            let carrier = chain_carrier(chain.name(), id, line, event.created_at);
            carriers.push(key.sign_nostr_event(&carrier, &[0; 32])?);
        }
    }
    net.publish_events(url, &carriers).await.map_err(refused(url))?;
    Ok(relay_source(chain, key.public(), url))
}

/// The source that names a relay: with the carriers' author, unless readers find it on the chain.
fn relay_source(chain: &Chain, signer: &Key, url: &str) -> String {
    let own = chain_authors(std::slice::from_ref(chain)).contains(signer);
    source_url(url, Some(signer).filter(|_| !own))
}

fn at(url: &str) -> impl Fn(Error) -> Error {
    move |e| {
        let detail = e.context().map(|c| format!(": {c}")).unwrap_or_default();
        Error::about(e.code(), format!("{url}{detail}"))
    }
}

/// The lines of a chain that a sigchain server does not have.
async fn missing_on_server(
    net: &impl Net,
    chain: &Chain,
    url: &str,
    now: Timestamp,
) -> Result<String> {
    let request = Request::bundle(url.to_owned());
    let answer = net.fetch_if(&request, None).await.map_err(refused(url))?;
    let Body::Http { status, bytes, .. } = answer.body else { return Ok(String::new()) };
    missing_at_server(chain, status, &bytes, now).map_err(at(url))
}

/// Appends to a sigchain server what it does not have (SPEC.md, "Sigchain server").
///
/// # Errors
/// `head_conflict` if the server has other or newer events, `publish_refused`.
pub async fn to_server(net: &impl Net, chain: &Chain, base: &str, now: Timestamp) -> Result<()> {
    let url = server_url(base, chain);
    let lines = missing_on_server(net, chain, &url, now).await?;
    if lines.is_empty() {
        return Ok(());
    }
    let (status, bytes) = post(net, &url, lines).await?;
    appended_at_server(status, &bytes).map_err(at(&url))
}

/// Gives a sigchain server the whole chain, although it may have another history. Returns whether the
/// server took it as evidence of a fork, and not as the chain.
///
/// # Errors
/// `publish_refused`.
pub(crate) async fn give_evidence(net: &impl Net, chain: &Chain, base: &str) -> Result<bool> {
    let url = server_url(base, chain);
    let (status, bytes) = post(net, &url, chain.to_bundle()).await?;
    given_as_evidence(status, &bytes).map_err(at(&url))
}

/// Posts lines of a chain. Returns the status and the body of the answer.
async fn post(net: &impl Net, url: &str, lines: String) -> Result<(u16, Vec<u8>)> {
    let body = Some(("application/jsonl", lines));
    let url = url.to_owned();
    let call = Call { method: "POST", url: url.clone(), authorization: None, dpop: None, body };
    match net.call(call).await.map_err(refused(&url))?.body {
        Body::Http { status, bytes, .. } => Ok((status, bytes)),
        _ => Err(Error::about(Code::PublishRefused, format!("{url}: no HTTP answer"))),
    }
}
