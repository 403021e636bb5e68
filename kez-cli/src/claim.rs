//! `kez claim`.

use crate::{
    args::ClaimCommand,
    clock,
    host::{Access, Net},
    keystore::Entry,
    output::{Out, clean},
    run::Context,
};
use kez_core::{
    Chain, Claim, Code, Error, Identity, ObjectId, Result, SignedClaim,
    proof::{self, Form},
};
use std::path::{Path, PathBuf};

/// The largest file with a claim that is read, in bytes.
const MAX_FILE: usize = 64 * 1024;

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: ClaimCommand,
) -> Result<u8> {
    let ClaimCommand::Create {
        subject,
        expires,
        format,
        out: file,
        account,
        chain_url,
        no_head,
        key,
    } = command;
    let entry = signing_key(context, key.as_deref())?;
    let chains = context.home.chains()?;
    let chain = chains.into_iter().find(|c| c.current_key().identity() == &entry.identity);
    let chain = chain.map_or_else(|| Chain::new(&entry.identity), Ok)?;
    let primary = chain.name().clone();
    let mut claim = match account {
        Some(_) => blank(context, &subject, &chain),
        None => draft(context, out, &subject, &chain).await?,
    };
    claim.account = account.or(claim.account);
    claim.expires_at = expires.map(|s| context.now.plus(s));
    claim.sources = chain_url;
    claim.head = claim.head.filter(|_| !no_head);
    // The look-up may have found out that the clock is wrong.
    clock::signing_time(context)?;
    let mut envelope = claim.to_envelope()?;
    envelope.sign(&context.open(&entry.name)?, &context.host.random()?)?;
    let signed = SignedClaim::verify(envelope)?;
    save(context, &signed)?;

    let form = format.map_or_else(|| default_form(&subject), Form::from);
    let text = proof::write(&signed, form);
    let steps = instruction(&subject, form, signed.id());
    let value = serde_json::json!({
        "schema": "kez.claim/1",
        "id": signed.id(),
        "subject": subject,
        "primary": primary,
        "format": form.as_str(),
        "text": text,
        "instruction": steps,
    });
    match &file {
        Some(path) => {
            context.home.write(path, text.as_bytes(), Access::Public)?;
            out.result(&value, &format!("wrote {}", clean(&path.display().to_string())));
        }
        None => out.result(&value, &text),
    }
    if !out.json {
        out.hint_lines(&format!("\n{steps}"));
    }
    Ok(0)
}

/// A claim that says nothing yet but whose it is, and of which chain.
fn blank(context: &Context<'_, impl Net>, subject: &Identity, chain: &Chain) -> Claim {
    let mut claim = Claim::new(subject.clone(), chain.name().clone(), context.now);
    claim.head = chain.head();
    claim
}

/// A claim of an account, with the platform's own id of it.
pub(super) async fn draft(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    subject: &Identity,
    chain: &Chain,
) -> Result<Claim> {
    let mut claim = blank(context, subject, chain);
    claim.account = look_up_account(context, out, subject).await?;
    Ok(claim)
}

/// The form that suits the place where accounts like this publish.
fn default_form(subject: &Identity) -> Form {
    subject.channel().map_or(Form::Compact, |channel| channel.facts().form)
}

/// Where to paste the proof, per channel.
fn instruction(subject: &Identity, form: Form, id: ObjectId) -> String {
    let place = subject.channel().map(|channel| channel.placing(subject.value()));
    let place = place.unwrap_or_default();
    let chain = if form == Form::Pointer {
        "The pointer proves nothing until your published sigchain lists the claim:"
    } else {
        "Then list it on your sigchain, so that you can revoke it:"
    };
    format!(
        "{place}\n{chain} kez sigchain add {subject}\nCheck it: kez verify id {subject}\nClaim id: {id}"
    )
}

/// The platform's stable id, so that a name that somebody else re-registers stops verifying.
async fn look_up_account(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    subject: &Identity,
) -> Result<Option<String>> {
    let stable_id = subject.channel().is_some_and(|channel| channel.facts().stable_id);
    if !stable_id || context.global.offline {
        return Ok(None);
    }
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let verifier = context.verifier(&progress)?;
    match verifier.look_up(&kez_core::Question::about(subject)).await {
        Ok(finding) => Ok(finding.account),
        Err(miss) if miss.code == Code::IdentityNotFound => Err(Error::about(miss.code, subject)),
        Err(miss) => {
            out.hint(&format!(
                "kez: warning: the account's stable id could not be looked up ({}); the claim does not pin it",
                miss.code
            ));
            Ok(None)
        }
    }
}

/// The key to sign with: the one named, the configured one, or the only one.
pub(super) fn signing_key(context: &Context<'_, impl Net>, name: Option<&str>) -> Result<Entry> {
    let keys = context.keys();
    if let Some(name) = name.or(context.config.default_key.as_deref()) {
        return keys.entry(name);
    }
    let mut all = keys.list()?;
    match all.len() {
        0 => Err(Error::about(Code::KeyNotFound, "make one with `kez key new`")),
        1 => Ok(all.remove(0)),
        _ => all
            .into_iter()
            .find(|e| e.name == "default")
            .ok_or_else(|| Error::about(Code::Usage, "several keys: name one with --key")),
    }
}

fn path(context: &Context<'_, impl Net>, id: ObjectId) -> PathBuf {
    context.home.path(&format!("claims/{id}.json"))
}

/// Keeps a claim.
pub(super) fn save(context: &Context<'_, impl Net>, signed: &SignedClaim) -> Result<()> {
    let text = signed.envelope().to_canonical();
    context.home.write(&path(context, signed.id()), text.as_bytes(), Access::Private)
}

/// The user's claim that is meant: by subject (the newest), by id, or from a file.
pub(super) fn find(context: &Context<'_, impl Net>, what: &str) -> Result<SignedClaim> {
    if let Ok(id) = ObjectId::parse(what) {
        let path = path(context, id);
        return proof::from_json(&context.home.read(&path, MAX_FILE)?);
    }
    if what == "-" || context.host.stat(Path::new(what)).is_ok() {
        let text = context.read_input(what.as_ref(), MAX_FILE)?;
        return match proof::from_text(&String::from_utf8_lossy(&text))? {
            (_, kez_core::Proof::Claim(signed)) => Ok(signed),
            _ => Err(Error::about(Code::TypeUnknown, "a claim is wanted, not a pointer")),
        };
    }
    let subject = Identity::parse(what)?;
    let newest = all(context, &subject)?.into_iter().next();
    newest.ok_or_else(|| {
        Error::about(Code::Usage, format!("no claim of {subject} yet: kez claim create {subject}"))
    })
}

/// The user's claims of a subject, the newest first. Files that are damaged are passed over.
pub(super) fn all(context: &Context<'_, impl Net>, subject: &Identity) -> Result<Vec<SignedClaim>> {
    let dir = context.home.path("claims");
    let mut found = Vec::new();
    for name in context.home.list(&dir)? {
        if let Ok(signed) = proof::from_json(&context.home.read(&dir.join(name), MAX_FILE)?)
            && signed.claim().subject == *subject
        {
            found.push(signed);
        }
    }
    found.sort_by_key(|signed| std::cmp::Reverse(signed.claim().created_at));
    Ok(found)
}
