//! `kez publish`: a proof into its place, read back by the verifier's own road; then the event on
//! the sigchain, and the sigchain to where verifiers look for it. Whatever was done already is left
//! alone, so that a run that was cut short is simply run again.

use crate::{
    args::{PublishArgs, Service},
    auth, claim, clock,
    host::Net,
    output::{Out, clean, report_text},
    places::Places,
    run::Context,
    sigchain,
    transaction::Transaction,
};
use kez_core::{
    Chain, Code, Error, Identity, ObjectId, Op, Proof, Question, Reason, Report, Result, Scheme,
    SecretKey, SignedClaim, Standing, Status, Target, Timestamp,
    channel::{self, CredentialKind, Miss},
    proof::{self, Form},
    publish::{Change, Credential, Placed},
};
use std::path::PathBuf;

/// How long what a platform has taken may need until it is seen, in seconds: GitHub's lists are a
/// minute old at times.
const WAIT: i64 = 90;
/// A claim that ends within so many seconds is renewed.
pub(super) const SOON: i64 = 30 * 86_400;

/// How proofs are to be published.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) dry_run: bool,
    pub(super) token_file: Option<PathBuf>,
    pub(super) expires: Option<i64>,
    pub(super) wait: Option<i64>,
}

/// A proof in its place.
pub(super) struct Published {
    pub(super) subject: Identity,
    claim: ObjectId,
    change: Change,
    url: Option<String>,
    /// The seq of the event that lists it, if that is new.
    event: Option<u64>,
}

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    args: PublishArgs,
) -> Result<u8> {
    if context.global.offline {
        return Err(Code::Offline.into());
    }
    let _lock = context.home.lock()?;
    let mut chain = match sigchain::own_chain(context, &args.own) {
        Err(error) if error.code() == Code::ChainEmpty => {
            Chain::new(&claim::signing_key(context, args.key.as_deref())?.identity)?
        }
        other => other?,
    };
    let mut places = Places::configured(context, &chain)?;
    places.dir = args.dir.clone().or(places.dir);
    if !args.server.is_empty() {
        places.servers.clone_from(&args.server);
    }
    match args.service {
        Service::WellKnown if places.dir.is_none() => {
            let why = "name the directory with --dir, or as well_known in config.toml";
            return Err(Error::about(Code::Usage, why));
        }
        Service::Sigserver if places.servers.is_empty() => {
            let why = "name a server with --server, or as sig_servers in config.toml";
            return Err(Error::about(Code::Usage, why));
        }
        Service::WellKnown => places = Places { dir: places.dir, ..Places::default() },
        Service::Sigserver => places = Places { servers: places.servers, ..Places::default() },
        _ => {}
    }
    if !args.dry_run {
        places.agree(context, &chain).await?;
    }
    if args.nip39 && !matches!(args.service, Service::Nostr | Service::All) {
        return Err(Error::about(Code::Usage, "--nip39 is for nostr"));
    }
    // The key that the chain belongs to needs no claim of itself.
    let current = chain.current_key().identity().clone();
    let named = args.account.as_ref().is_none_or(|account| *account == current);
    let own = args.nip39 && named && current.scheme() == Scheme::Nostr;
    let subjects = match subjects(context, &chain, args.service, args.account.as_ref()) {
        Ok(subjects) => subjects.into_iter().filter(|s| !own || *s != current).collect(),
        Err(_) if own => Vec::new(),
        Err(error) => return Err(error),
    };
    let wish = Wish {
        dry_run: args.dry_run,
        token_file: args.token_file,
        expires: args.expires,
        wait: args.wait,
    };
    let mut published = Vec::new();
    let mut failed = None;
    let mut open = None;
    let mut identities = Vec::new();
    if !subjects.is_empty() || own {
        let owner = sigchain::current_key(context, &chain)?;
        for subject in subjects {
            // One that fails keeps none of the others from their places.
            match place(context, out, &mut chain, &owner, &places, &subject, &wish).await {
                Ok(done) => published.push(done),
                Err(error) if args.service == Service::All => {
                    out.hint(&format!("kez: {subject}: {error}"));
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if args.nip39 {
            let published = published.iter().map(|done| &done.subject);
            let mut keys: Vec<&Identity> =
                published.filter(|s| s.scheme() == Scheme::Nostr).collect();
            keys.extend(own.then_some(&current));
            for key in keys {
                let change = name_accounts(context, out, &chain, &owner, key, &wish).await?;
                identities.push((key.clone(), change));
            }
        }
        open = Some(owner);
    }
    if published.is_empty() && chain.head().is_none() {
        return Err(failed.unwrap_or_else(|| Code::ChainEmpty.into()));
    }
    let copies = if args.dry_run {
        Vec::new()
    } else {
        places.publish_most(context, out, &chain, open.as_ref()).await?
    };
    if published.is_empty() {
        tell_chain(out, &chain, &copies, args.dry_run);
    }
    let mut code = 0;
    for done in &published {
        let report = if args.dry_run {
            None
        } else {
            let report = last_look(context, out, &done.subject, chain.name()).await?;
            code = code.max(report.status.exit_code());
            Some(report)
        };
        tell(context, out, done, report.as_ref(), &copies, args.dry_run);
    }
    for (account, change) in &identities {
        tell_identities(out, account, *change, args.dry_run);
    }
    if copies.is_empty() && !args.dry_run {
        out.hint("kez: note: your sigchain is published nowhere: name sigchain servers in config.toml, so that others see what you revoke");
    }
    failed.map_or(Ok(code), Err)
}

/// Whose proofs are to be published.
fn subjects(
    context: &Context<'_, impl Net>,
    chain: &Chain,
    service: Service,
    account: Option<&Identity>,
) -> Result<Vec<Identity>> {
    let listed = in_force(chain);
    let Some(scheme) = service.scheme() else {
        let all = service == Service::All;
        let publishable = |subject: &Identity| all && Service::of(subject).is_some();
        return Ok(listed.into_iter().filter(publishable).collect());
    };
    if let Some(account) = account {
        if account.scheme() == scheme {
            return Ok(vec![account.clone()]);
        }
        let why = format!("{account} is no account of that service");
        return Err(Error::about(Code::Usage, why));
    }
    let mut all = listed;
    all.extend(auth::accounts(context)?);
    all.retain(|subject| subject.scheme() == scheme);
    all.sort();
    all.dedup();
    if all.is_empty() {
        return Err(Error::about(Code::Usage, "name the account"));
    }
    Ok(all)
}

/// The subjects that a chain lists and did not revoke.
pub(super) fn in_force(chain: &Chain) -> Vec<Identity> {
    let listings = chain.listings();
    let listings = listings.into_iter().filter(|(_, revoked)| revoked.is_none());
    let mut subjects: Vec<Identity> = listings.map(|(l, _)| l.subject.clone()).collect();
    subjects.sort();
    subjects.dedup();
    subjects
}

/// Puts a subject's proof where it belongs, and lists it.
pub(super) async fn place(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    owner: &SecretKey,
    places: &Places,
    subject: &Identity,
    wish: &Wish,
) -> Result<Published> {
    let by_pointer = is_by_pointer(subject);
    if by_pointer && places.is_empty() {
        let why = "a profile field only points to your sigchain: name a sigchain server in config.toml, or --dir";
        return Err(Error::about(Code::Usage, why));
    }
    // Whoever cannot sign in has made no claim.
    let credential = credential(context, subject, owner, wish).await?;
    let signed = current_claim(context, out, chain, owner, places, subject, wish).await?;
    let opened = if subject.scheme() == Scheme::Nostr && credential.is_none() {
        nostr_key(context, owner, subject)?
    } else {
        None
    };
    let key = opened.as_ref().or_else(|| (subject.scheme() == Scheme::Nostr).then_some(owner));
    let endpoints = context.config.endpoints()?;
    let visit = |url: &str| auth::visit(out, url);
    let publisher = auth::publisher(context, &endpoints, wish.dry_run, &visit);
    let placed = publisher.place(&signed, credential.as_ref(), key).await?;
    tell_warnings(out, &placed);
    let mut published = Published {
        subject: subject.clone(),
        claim: signed.id(),
        change: placed.change,
        url: placed.url,
        event: None,
    };
    if wish.dry_run {
        return Ok(published);
    }
    let manual = placed.change == Change::Manual;
    let shown = Shown { claim: signed.id(), primary: chain.name() };
    let mut missing = shown.missing(context, subject).await?;
    let seen = missing.is_none();
    if manual && seen {
        published.change = Change::Unchanged;
    } else if manual {
        tell_record(out, &signed);
    }
    if !seen {
        let wait = wish.wait.unwrap_or(if manual { 0 } else { WAIT });
        missing = shown.within(context, subject, wait, missing).await?;
        if let Some(why) = missing {
            return Err(Error::about(Code::NotVisible, format!("{subject}{why}")));
        }
    }
    published.event = list(context, out, chain, owner, &signed, published.url.as_deref())?;
    Ok(published)
}

/// Whether proofs of such an account are pointers to the chain.
fn is_by_pointer(subject: &Identity) -> bool {
    subject.channel().is_some_and(|channel| channel.facts().form == Form::Pointer)
}

fn tell_warnings(out: &Out<'_>, placed: &Placed) {
    for warning in &placed.warnings {
        out.hint(&format!("kez: warning: {warning}"));
    }
}

/// The stored key of a nostr account; nothing if it is the one that is open.
fn nostr_key(
    context: &Context<'_, impl Net>,
    owner: &SecretKey,
    account: &Identity,
) -> Result<Option<SecretKey>> {
    let other = owner.public().identity() != account;
    other.then(|| context.open_key_of(account)).transpose()
}

/// Names the GitHub accounts of a chain on a nostr key, for clients that do not know KEZ (NIP-39).
async fn name_accounts(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    owner: &SecretKey,
    account: &Identity,
    wish: &Wish,
) -> Result<Change> {
    let mut credentials = Vec::new();
    for github in in_force(chain).into_iter().filter(|s| s.scheme() == channel::github::SCHEME) {
        match auth::fresh(context, &github, Some(owner)).await? {
            Some(credential) => credentials.push(credential),
            None => out.hint(&format!(
                "kez: warning: {github} is left out of the NIP-39 tags: run `kez auth add {github}`"
            )),
        }
    }
    let endpoints = context.config.endpoints()?;
    let visit = |url: &str| auth::visit(out, url);
    let publisher = auth::publisher(context, &endpoints, wish.dry_run, &visit);
    let placed = match auth::fresh(context, account, Some(owner)).await? {
        Some(signer) => {
            publisher.place_identities(&publisher.remote(&signer)?, &credentials).await?
        }
        None => {
            let key = nostr_key(context, owner, account)?;
            publisher.place_identities(key.as_ref().unwrap_or(owner), &credentials).await?
        }
    };
    tell_warnings(out, &placed);
    Ok(placed.change)
}

/// The claim that is to be published: the newest that stands and does not end soon, or a new one.
async fn current_claim(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    owner: &SecretKey,
    places: &Places,
    subject: &Identity,
    wish: &Wish,
) -> Result<SignedClaim> {
    let now = context.host.now();
    for signed in claim::all(context, subject)? {
        if is_current(chain, &signed, now) {
            return Ok(signed);
        }
    }
    let mut new = claim::draft(context, out, subject, chain).await?;
    // A revocation ends all that was signed until its second.
    if let Some(revoked) = chain.subject_revocation(subject) {
        new.created_at = new.created_at.max(revoked.at.plus(1));
    }
    // What takes the place of a claim lasts as long as that one did.
    let before = claim::all(context, subject)?.into_iter().map(|old| old.claim().clone());
    let mut before = before.filter(|old| old.primary == *chain.name());
    let lifetime = before
        .next()
        .and_then(|old| old.expires_at.map(|end| end.seconds() - old.created_at.seconds()));
    new.expires_at = wish.expires.or(lifetime).map(|seconds| new.created_at.plus(seconds));
    // Strangers ask no sources but those that the claim names.
    new.sources = places.sources(context, chain);
    clock::signing_time(context)?;
    let mut envelope = new.to_envelope()?;
    envelope.sign(owner, &context.host.random()?)?;
    let signed = SignedClaim::verify(envelope)?;
    if !wish.dry_run {
        claim::save(context, &signed)?;
    }
    Ok(signed)
}

/// Whether a claim is one to publish.
fn is_current(chain: &Chain, signed: &SignedClaim, now: Timestamp) -> bool {
    let claim = signed.claim();
    let lasting = claim.expires_at.is_none_or(|end| end.seconds() - now.seconds() > SOON);
    claim.primary == *chain.name()
        && signed.signer() == chain.current_key()
        && lasting
        && matches!(chain.standing(signed), Standing::Listed(_) | Standing::Unlisted)
}

async fn credential(
    context: &Context<'_, impl Net>,
    subject: &Identity,
    owner: &SecretKey,
    wish: &Wish,
) -> Result<Option<Credential>> {
    let needed = subject.channel().and_then(|channel| channel.facts().credential);
    let Some(needed) = needed else { return Ok(None) };
    let file = wish.token_file.as_deref();
    if file.is_none()
        && let Some(credential) = auth::fresh(context, subject, Some(owner)).await?
    {
        return Ok(Some(credential));
    }
    if matches!(needed.kind, CredentialKind::Tsig | CredentialKind::Bunker) {
        return Ok(None);
    }
    if needed.kind == CredentialKind::Code && file.is_none() {
        let why = format!("{subject}: run `kez auth add {subject}`");
        return Err(Error::about(Code::CredentialMissing, why));
    }
    let prompt = format!("Token or app password of {subject}: ");
    let secret = auth::read_secret(context, file, &prompt)?;
    Ok(Some(Credential::new(subject.clone(), secret)))
}

/// What must be seen at an account.
struct Shown<'a> {
    claim: ObjectId,
    primary: &'a Identity,
}

impl Shown<'_> {
    /// Looks the account up as every verifier does. `None` if the proof is there, else the words
    /// that tell what was found instead, which may be none.
    async fn missing(
        &self,
        context: &Context<'_, impl Net>,
        subject: &Identity,
    ) -> Result<Option<String>> {
        let verifier = context.fresh_verifier(&|_| {})?;
        let finding = match verifier.look_up(&Question::about(subject)).await {
            Ok(finding) => finding,
            Err(miss) => return Ok(Some(told(&miss))),
        };
        let ours = |found: proof::Found| match found.proof {
            Ok(Proof::Claim(signed)) => signed.id() == self.claim,
            Ok(Proof::Pointer(primary)) => primary == *self.primary && is_by_pointer(subject),
            Err(_) => false,
        };
        if finding.texts.iter().any(|text| proof::find(&text.text).found.into_iter().any(ours)) {
            return Ok(None);
        }
        Ok(Some(finding.failed.as_ref().map(told).unwrap_or_default()))
    }

    /// As [`Shown::missing`], until that many seconds are over.
    async fn within(
        &self,
        context: &Context<'_, impl Net>,
        subject: &Identity,
        seconds: i64,
        mut missing: Option<String>,
    ) -> Result<Option<String>> {
        let end = context.host.now().plus(seconds);
        let mut pause = 500;
        while context.host.now() < end {
            context.net.net.pause(pause).await;
            missing = self.missing(context, subject).await?;
            if missing.is_none() {
                break;
            }
            pause = (pause * 2).min(8000);
        }
        Ok(missing)
    }
}

/// Why an account could not be read, or what is nearly a proof there.
fn told(miss: &Miss) -> String {
    let summary = miss.code.summary();
    match &miss.detail {
        Some(detail) => format!(": {summary} {detail}"),
        None => format!(": {summary}"),
    }
}

/// Lists a claim, and ends those of the same subject that it takes the place of. Gives the seq.
fn list(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    owner: &SecretKey,
    signed: &SignedClaim,
    url: Option<&str>,
) -> Result<Option<u64>> {
    let claim = signed.claim();
    let mut seq = None;
    if chain.standing(signed) == Standing::Unlisted {
        let op = Op::Add {
            subject: claim.subject.clone(),
            claim: signed.id(),
            account: claim.account.clone(),
            url: url.filter(|url| url.starts_with("https://")).map(String::from),
        };
        sigchain::extend(context, out, chain, op, &[owner], Transaction::new())?;
        seq = chain.head().map(|head| head.seq);
    }
    let older = chain.listings().into_iter().filter(|(listing, revoked)| {
        revoked.is_none() && listing.subject == claim.subject && listing.claim != signed.id()
    });
    let older: Vec<ObjectId> = older.map(|(listing, _)| listing.claim).collect();
    for id in older {
        let op = Op::Revoke { target: Target::Claim(id), reason: Reason::Superseded, text: None };
        sigchain::extend(context, out, chain, op, &[owner], Transaction::new())?;
    }
    Ok(seq)
}

/// What a stranger sees now of this identity's proof.
pub(super) async fn check(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    subject: &Identity,
    primary: &Identity,
) -> Result<Report> {
    check_all(context, out, subject, primary).await.map(|(report, _)| report)
}

/// As [`check`], with the other identities that have a valid proof of the same account.
pub(super) async fn check_all(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    subject: &Identity,
    primary: &Identity,
) -> Result<(Report, Vec<Identity>)> {
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let mut verifier = context.fresh_verifier(&progress)?;
    if context.global.at.is_none() {
        // What this command has just signed is newer than its start.
        verifier.now = verifier.clock;
    }
    let mut reports = verifier.verify(subject).await;
    let valid = reports.iter().filter(|report| report.status == Status::Valid);
    let others = valid.filter_map(|report| report.primary.clone()).filter(|id| id != primary);
    let others = others.collect();
    let own = reports.iter().position(|r| r.primary.as_ref() == Some(primary));
    Ok((reports.swap_remove(own.unwrap_or(0)), others))
}

/// As [`check`], of what was there a moment ago: a network that fails just now is asked again.
async fn last_look(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    subject: &Identity,
    primary: &Identity,
) -> Result<Report> {
    for pause in [500, 2000] {
        let report = check(context, out, subject, primary).await?;
        if report.status != Status::Unreachable || report.retry_at.is_some() {
            return Ok(report);
        }
        context.net.net.pause(pause).await;
    }
    check(context, out, subject, primary).await
}

/// The record that only the user can add, in the forms that providers want.
fn tell_record(out: &Out<'_>, signed: &SignedClaim) {
    let domain = signed.claim().subject.value();
    let name = channel::dns::RecordName::of(domain);
    let compact = proof::to_compact(signed.envelope());
    let line = proof::to_zone_line(domain, &compact);
    let value = serde_json::json!({
        "schema": "kez.record/1",
        "name": name.full,
        "zone_guess": name.zone,
        "name_in_zone": name.relative,
        "type": "TXT",
        "ttl": 300,
        "value": compact,
        "zone": line.trim(),
    });
    let text = format!(
        "Add this TXT record. {name}\n\nIn a zone file:\n\n{line}\nThe value for a provider's form, without quotation marks:\n\n{compact}\n"
    );
    out.result(&value, &text);
}

fn tell_chain(out: &Out<'_>, chain: &Chain, copies: &[String], dry_run: bool) {
    let value = serde_json::json!({
        "schema": "kez.publish/1",
        "chain": chain.name(),
        "head": chain.head(),
        "copies": copies,
        "dry_run": dry_run,
    });
    let text: Vec<String> =
        copies.iter().map(|place| format!("published {}", clean(place))).collect();
    out.result(&value, &text.join("\n"));
}

fn tell_identities(out: &Out<'_>, account: &Identity, change: Change, dry_run: bool) {
    let value = serde_json::json!({
        "schema": "kez.identities/1",
        "account": account,
        "change": change,
        "dry_run": dry_run,
    });
    let what = said(change, dry_run);
    out.result(&value, &format!("{account}: the external identities (NIP-39): {what}"));
}

const fn said(change: Change, dry_run: bool) -> &'static str {
    match (change, dry_run) {
        (Change::Created, false) => "published",
        (Change::Created, true) => "would be published",
        (Change::Updated, false) => "updated",
        (Change::Updated, true) => "would be updated",
        (Change::Unchanged, _) => "is there already",
        (Change::Manual, _) => "is yours to publish",
    }
}

fn tell(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    done: &Published,
    report: Option<&Report>,
    copies: &[String],
    dry_run: bool,
) {
    let value = serde_json::json!({
        "schema": "kez.publish/1",
        "subject": done.subject,
        "claim": done.claim,
        "change": done.change,
        "url": done.url,
        "event": done.event,
        "copies": copies,
        "dry_run": dry_run,
        "status": report.map(|r| r.status),
        "reason": report.and_then(|r| r.reason),
    });
    let what = said(done.change, dry_run);
    let at = done.url.as_ref().map(|url| format!(" at {}", clean(url))).unwrap_or_default();
    let mut text = format!("{} {what}{at}", done.subject);
    if let Some(report) = report.filter(|report| report.status != Status::Valid) {
        text.push_str(&format!("\n{}", report_text(out, report, context.now)));
    }
    out.result(&value, &text);
}
