//! `kez sigchain`.

use crate::{
    args::{Own, ReasonArg, SigchainCommand},
    claim, clock, evidence, home,
    host::{Access, Net},
    key,
    output::{Out, clean},
    places::Places,
    run::Context,
    transaction::Transaction,
};
use kez_core::{
    Chain, Code, Error, Event, Fork, Identity, ObjectId, Op, Reason, Result, Scheme, SecretKey,
    Target, commitment,
    fork::{MAX_FORK, Merge, merge, read_evidence},
    json::Value,
};
use std::path::{Path, PathBuf};

impl From<ReasonArg> for Reason {
    fn from(reason: ReasonArg) -> Self {
        match reason {
            ReasonArg::Superseded => Self::Superseded,
            ReasonArg::Retired => Self::Retired,
            ReasonArg::Compromised => Self::Compromised,
        }
    }
}

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: SigchainCommand,
) -> Result<u8> {
    match command {
        SigchainCommand::Add { claim, url, key, own } => {
            let _lock = context.home.lock()?;
            let signed = claim::find(context, &claim)?;
            let mut chain = match own_chain(context, &own) {
                Err(error) if error.code() == Code::ChainEmpty => {
                    Chain::new(&claim::signing_key(context, key.as_deref())?.identity)?
                }
                other => other?,
            };
            if signed.claim().primary != *chain.name() {
                return Err(Error::about(
                    Code::ChainId,
                    format!("the claim is of {}", signed.claim().primary),
                ));
            }
            let op = Op::Add {
                subject: signed.claim().subject.clone(),
                claim: signed.id(),
                account: signed.claim().account.clone(),
                url,
            };
            append(context, out, &mut chain, op)?;
        }
        SigchainCommand::Revoke { target, reason, text, own } => {
            let _lock = context.home.lock()?;
            let mut chain = own_chain(context, &own)?;
            let target = match ObjectId::parse(&target) {
                Ok(id) => Target::Claim(id),
                // A listed subject may be of a scheme that this version does not know.
                Err(_) => Target::Subject(
                    Identity::from_canonical(&target).or_else(|_| Identity::parse(&target))?,
                ),
            };
            let ends = chain.listings().into_iter().filter(|(l, r)| {
                r.is_none()
                    && match &target {
                        Target::Claim(id) => l.claim == *id,
                        Target::Subject(subject) => l.subject == *subject,
                    }
            });
            if ends.count() == 0 {
                out.hint(
                    "kez: note: your chain lists no such claim in force; the revocation stands for any that turns up",
                );
            }
            append(context, out, &mut chain, Op::Revoke { target, reason: reason.into(), text })?;
        }
        SigchainCommand::Rotate { to, name, reason, compromised_since, no_passphrase, own } => {
            let _lock = context.home.lock()?;
            let mut chain = own_chain(context, &own)?;
            let reason = reason.into();
            rotate(context, out, &mut chain, to.as_deref(), &name, no_passphrase, |to| {
                Op::Rotate { to, reason, compromised_since }
            })?;
        }
        SigchainCommand::AddDevice { device, cap, not_after, name, own } => {
            let _lock = context.home.lock()?;
            let mut chain = own_chain(context, &own)?;
            let secret = context.open(&device)?;
            if let Some(name) = &name {
                out.hint(&format!("kez: note: the name {name:?} becomes public for ever"));
            }
            let op = Op::AddDevice {
                device: secret.public().clone(),
                caps: cap,
                not_after: not_after.map(|s| context.now.plus(s)),
                name,
            };
            let owner = current_key(context, &chain)?;
            let transaction = Transaction::new();
            append_signed(context, out, &mut chain, op, &[&owner, &secret], transaction)?;
        }
        SigchainCommand::RevokeDevice { device, reason, own } => {
            let _lock = context.home.lock()?;
            let mut chain = own_chain(context, &own)?;
            append(context, out, &mut chain, Op::RevokeDevice { device, reason: reason.into() })?;
        }
        SigchainCommand::Show { own } => {
            let chain = own_chain(context, &own)?;
            clock::warn(context, out, &chain);
            show(out, &chain);
        }
        SigchainCommand::Export { out: file, evidence: true, server, own } => {
            let chain = own_chain(context, &own)?;
            return evidence::export(context, out, &chain, server, file.as_deref()).await;
        }
        SigchainCommand::Export { out: file, own, .. } => {
            let chain = own_chain(context, &own)?;
            clock::warn(context, out, &chain);
            let bundle = chain.to_bundle();
            let value = serde_json::json!({
                "schema": "kez.bundle/1",
                "chain": chain.name(),
                "head": chain.head(),
                "bundle": bundle,
            });
            match file {
                Some(path) => {
                    context.home.write(&path, bundle.as_bytes(), Access::Public)?;
                    out.result(&value, &format!("wrote {}", clean(&path.display().to_string())));
                }
                None => out.result(&value, &bundle),
            }
        }
        SigchainCommand::Import { file } => {
            let _lock = context.home.lock()?;
            import(context, out, &file)?;
        }
        SigchainCommand::Verify { file } => return verify(context, out, &file),
        SigchainCommand::Publish { server, evidence: true, own, .. } => {
            let chain = own_chain(context, &own)?;
            return evidence::give(context, out, &chain, server).await;
        }
        SigchainCommand::Publish { dir, relay, server, nostr_key, own, .. } => {
            let chain = own_chain(context, &own)?;
            let places = Places { dir, relays: relay, servers: server, nostr_key };
            if places.is_empty() {
                return Err(Error::about(Code::Usage, "say where: --dir, --relay or --server"));
            }
            for place in places.publish(context, &chain).await? {
                let value = serde_json::json!({
                    "schema": "kez.published/1",
                    "chain": chain.name(),
                    "head": chain.head(),
                    "place": place,
                });
                out.result(&value, &format!("published {}", clean(&place)));
            }
        }
    }
    Ok(0)
}

/// The user's chain that is meant.
pub(super) fn own_chain(context: &Context<'_, impl Net>, own: &Own) -> Result<Chain> {
    let mut chains = context.home.chains()?;
    if let Some(name) = &own.chain {
        chains.retain(|c| c.name() == name);
    }
    match chains.len() {
        0 => Err(Error::about(Code::ChainEmpty, "no chain yet: start it with `kez sigchain add`")),
        1 => Ok(chains.remove(0)),
        _ => Err(Error::about(Code::Usage, "several chains: name one with --chain")),
    }
}

/// Opens the stored key that may sign for the chain now.
pub(super) fn current_key(context: &Context<'_, impl Net>, chain: &Chain) -> Result<SecretKey> {
    context.open_key_of(chain.current_key().identity())
}

fn append(context: &Context<'_, impl Net>, out: &Out<'_>, chain: &mut Chain, op: Op) -> Result<()> {
    let key = current_key(context, chain)?;
    append_signed(context, out, chain, op, &[&key], Transaction::new())
}

fn append_signed(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    op: Op,
    signers: &[&SecretKey],
    transaction: Transaction,
) -> Result<()> {
    let (value, text) = extend(context, out, chain, op, signers, transaction)?;
    out.result(&value, &text);
    out.hint("kez: publish it: kez sigchain publish");
    Ok(())
}

/// Signs an event, appends it to a chain, and stores the chain, together with what else is in the
/// transaction. On an error the chain is as before. Returns what to print.
pub(super) fn extend(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    op: Op,
    signers: &[&SecretKey],
    mut transaction: Transaction,
) -> Result<(serde_json::Value, String)> {
    // Another command may have held the lock for a while, so the clock is read now.
    let now = clock::event_time(context, out, chain, &op)?;
    let rotates = matches!(op, Op::Rotate { .. });
    let waiting = key::waiting(context)?;
    // The file may outlive the event that took the commitment up.
    let left_over = waiting.is_some_and(|next| key::is_taken_up(chain, next));
    let mut event = Event::new(chain.name().clone(), chain.head(), now, op);
    // A commitment that waits goes in with the first event that may carry it.
    event.next = waiting.filter(|_| !left_over && (rotates || chain.next().is_none()));
    let mut envelope = event.to_envelope()?;
    for signer in signers {
        envelope.sign(signer, &context.host.random()?)?;
    }
    let mut longer = chain.clone();
    longer.append(&envelope, now)?;
    let path = home::own_chain(longer.name());
    let file: PathBuf = context.home.path(&path);
    transaction.write(path, longer.to_bundle());
    if event.next.is_some() || left_over {
        transaction.remove(key::NEXT.to_owned());
    }
    transaction.commit(context.home)?;
    *chain = longer;
    if event.next.is_some() {
        out.hint("kez: the chain now commits to your next key");
    }
    let id = envelope.id();
    let value = serde_json::json!({
        "schema": "kez.event/1",
        "chain": chain.name(),
        "seq": event.seq,
        "id": id,
        "op": event.op.name(),
        "next_committed": chain.next().is_some(),
        "file": file,
    });
    Ok((value, format!("event {} {} {}", event.seq, event.op.name(), id)))
}

/// Rotates in the way that the chain asks for: with a commitment only the committed key will do,
/// and it signs alone; without one the old and the new key sign.
fn rotate(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    to: Option<&str>,
    name: &str,
    no_passphrase: bool,
    op: impl FnOnce(kez_core::Key) -> Op,
) -> Result<()> {
    let stored = to.map(|name| context.open(name)).transpose()?;
    let mut transaction = Transaction::new();
    match chain.next() {
        Some(next) => {
            let (new, fresh) = match stored {
                Some(key) => (key, false),
                None => {
                    let text = key::read_secret(context, Path::new("-"))?;
                    // The text says which kind it is: nsec for nostr, digits for Ed25519 or nostr.
                    let fits = |scheme| {
                        SecretKey::from_text(scheme, &text)
                            .ok()
                            .filter(|k| commitment(k.public().identity()) == next)
                    };
                    let key = fits(Scheme::Ed25519).or_else(|| fits(Scheme::Nostr));
                    (key.ok_or(Code::NextMismatch)?, true)
                }
            };
            if commitment(new.public().identity()) != next {
                return Err(Code::NextMismatch.into());
            }
            // Stored together with the chain: a chain whose key is lost could never go on.
            let added = fresh.then(|| {
                let passphrase = key::new_passphrase(context, no_passphrase)?;
                let passphrase = passphrase.as_ref().map(|p| p.as_str());
                context.keys().add(&mut transaction, name, &new, passphrase)
            });
            let added = added.transpose()?;
            append_signed(context, out, chain, op(new.public().clone()), &[&new], transaction)?;
            if let Some(entry) = added {
                key::show_stored(out, &entry);
            }
        }
        None => {
            let new = stored.ok_or_else(|| {
                Error::about(Code::Usage, "name the new key with --to (make it with `kez key new`)")
            })?;
            let old = current_key(context, chain)?;
            let op = op(new.public().clone());
            append_signed(context, out, chain, op, &[&old, &new], transaction)?;
        }
    }
    if chain.next().is_none() {
        out.hint("kez: note: no next key is committed; make one with `kez key new --next`");
    }
    Ok(())
}

fn show(out: &Out<'_>, chain: &Chain) {
    let mut text = format!("{}\n", chain.name());
    if chain.current_key().identity() != chain.name() {
        text.push_str(&format!("  current key {}\n", chain.current_key()));
    }
    let next = if chain.next().is_some() { "committed" } else { "not committed" };
    text.push_str(&format!("  next key {next}\n"));
    for event in chain.events() {
        let what = match &event.op {
            Op::Add { subject, .. } => subject.to_string(),
            Op::Revoke { target: Target::Claim(id), reason, .. } => {
                format!("claim {} ({})", id.short(), reason.as_str())
            }
            Op::Revoke { target: Target::Subject(s), reason, .. } => {
                format!("{s} ({})", reason.as_str())
            }
            Op::Rotate { to, reason, .. } => format!("{to} ({})", reason.as_str()),
            Op::AddDevice { device, .. } => device.to_string(),
            Op::RevokeDevice { device, reason } => format!("{device} ({})", reason.as_str()),
            _ => "unknown to this version".to_owned(),
        };
        let void = if chain.is_void(event.seq) { "  void" } else { "" };
        text.push_str(&format!(
            "  {:>4}  {}  {:<13} {what}{void}\n",
            event.seq,
            event.created_at,
            clean(event.op.name())
        ));
    }
    out.result(&chain.summary(), &text);
}

fn import(context: &Context<'_, impl Net>, out: &Out<'_>, file: &Path) -> Result<()> {
    let bundle = context.read_input(file, kez_core::chain::MAX_BUNDLE)?;
    // It becomes the user's own, which may be dated in the future.
    let theirs = Chain::replay(&bundle, None, home::ANY_DATE)?;
    let mine = context.home.chain(theirs.name())?;
    let merged = match mine {
        None => theirs,
        Some(mine) => match merge(vec![mine, theirs])? {
            Merge::Same(chain) | Merge::Settled(chain) => *chain,
            Merge::Fork(fork) => {
                let seq = fork.seq();
                return Err(Error::about(Code::Forked, format!("from event {seq} on")));
            }
        },
    };
    let path = context.home.save_chain(&merged)?;
    let value = serde_json::json!({
        "schema": "kez.import/1",
        "chain": merged.name(),
        "head": merged.head(),
        "file": path,
    });
    let seq = merged.head().map_or(0, |h| h.seq);
    out.result(&value, &format!("{}: {seq} events", merged.name()));
    Ok(())
}

fn verify(context: &Context<'_, impl Net>, out: &Out<'_>, file: &Path) -> Result<u8> {
    let bytes = context.read_input(file, MAX_FORK)?;
    // A fork object is one JSON object with a type; a bundle's lines have a payload.
    let is_fork = Value::parse(&bytes).is_ok_and(|v| v.get("type") == Some(&"fork".into()))
        || bytes.starts_with(br#"{"a":"#);
    if is_fork {
        let (forks, error) = read_evidence(&bytes, context.now);
        // One object may have several lines of its own.
        let forks = match error {
            Some(_) if forks.is_empty() => vec![Fork::from_json(&bytes, context.now)?],
            Some(error) => return Err(error),
            None => forks,
        };
        return Ok(forks.iter().map(|fork| show_fork(out, fork)).max().unwrap_or_default());
    }
    show(out, &Chain::replay(&bytes, None, context.now)?);
    Ok(0)
}

/// Shows a verified fork object. Returns its exit code.
fn show_fork(out: &Out<'_>, fork: &Fork) -> u8 {
    let settled = fork.is_settled();
    let value = serde_json::json!({
        "schema": "kez.fork/1",
        "chain": fork.chain(),
        "seq": fork.seq(),
        "settled": settled,
    });
    let state = if settled { "settled by the committed key" } else { "not settled" };
    let text = format!("fork of {} from event {} on, {state}", fork.chain(), fork.seq());
    out.result(&value, &text);
    if settled { 0 } else { 6 }
}
