//! `kez import`: what people have said of their accounts elsewhere, with a grade of its own, and the
//! offer to make it KEZ proofs.

use crate::{
    args::{Elsewhere, ImportArgs, PublishArgs, Service},
    host::Net,
    output::{Out, clean},
    publish,
    run::Context,
};
use kez_core::{
    Code, Error, Identity, Result, Scheme,
    import::{Foreign, Importer},
};
use std::path::Path;

/// The largest file of an OpenPGP key, a profile or Keybase's record, in bytes.
const MAX_FILE: usize = 1 << 20;

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    args: ImportArgs,
) -> Result<u8> {
    let foreign = read(context, args.from, args.what.as_deref()).await?;
    tell(out, &foreign);
    let mut accounts: Vec<(Service, Identity)> = Vec::new();
    for identity in foreign.links.iter().filter_map(|link| link.identity.as_ref()) {
        let Some(service) = Service::of(identity) else { continue };
        if !accounts.iter().any(|(_, known)| known == identity) {
            accounts.push((service, identity.clone()));
        }
    }
    if accounts.is_empty() {
        out.hint("kez: note: nothing here can be made a KEZ proof");
    } else if !args.publish {
        out.hint("kez: hint: make KEZ proofs of them, one by one, or all with --publish:");
        for (service, account) in &accounts {
            let service = clap::ValueEnum::to_possible_value(service);
            let service = service.as_ref().map_or("", |value| value.get_name());
            out.hint(&format!("  kez publish {service} {account}"));
        }
    }
    let mut code = 0;
    for (service, account) in accounts.into_iter().filter(|_| args.publish) {
        let wish = PublishArgs::of(service, account.clone(), args.own.clone());
        // One that fails keeps none of the others from their places.
        match publish::run(context, out, wish).await {
            Ok(other) => code = code.max(other),
            Err(error) => {
                out.hint(&format!("kez: {account}:"));
                code = code.max(out.failure(&error));
            }
        }
    }
    Ok(code)
}

async fn read(
    context: &Context<'_, impl Net>,
    source: Elsewhere,
    what: Option<&str>,
) -> Result<Foreign> {
    let endpoints = context.config.endpoints()?;
    let importer =
        Importer { transport: &context.net, endpoints: &endpoints, now: context.host.now() };
    let named = |what: &str| Error::about(Code::Usage, format!("name {what}"));
    match (source, what) {
        (Elsewhere::Nip39, Some(key)) => importer.nip39(&Identity::parse(key)?).await,
        (Elsewhere::Nip39, None) => {
            let keys = context.keys().list()?.into_iter();
            let mut keys = keys.filter(|key| key.identity.scheme() == Scheme::Nostr);
            match (keys.next(), keys.next()) {
                (Some(key), None) => importer.nip39(&key.identity).await,
                _ => Err(named("the nostr key")),
            }
        }
        (Elsewhere::RelMe, Some(page)) => importer.rel_me(page).await,
        (Elsewhere::RelMe, None) => Err(named("the page or account")),
        (Elsewhere::Keyoxide, Some(profile)) => {
            let path = Path::new(profile);
            if profile == "-" || context.host.stat(path).is_ok_and(|stat| stat.is_file) {
                return importer.keyoxide_file(&context.read_input(path, MAX_FILE)?).await;
            }
            importer.keyoxide(profile).await
        }
        (Elsewhere::Keyoxide, None) => Err(named("the profile or its file")),
        (Elsewhere::Keybase, Some(file)) => {
            importer.keybase(&context.read_input(Path::new(file), MAX_FILE)?).await
        }
        (Elsewhere::Keybase, None) => Err(named("the file")),
    }
}

fn tell(out: &Out<'_>, foreign: &Foreign) {
    let links = foreign.links.iter().map(|link| {
        serde_json::json!({
            "text": link.text,
            "identity": link.identity,
            "proof": link.proof,
            "said": link.said,
            "back": link.back,
            "grade": link.grade(),
            "reason": link.why.as_ref().map(|why| why.code().as_str()),
            "detail": link.why.as_ref().and_then(Error::context),
        })
    });
    let value = serde_json::json!({
        "schema": "kez.foreign/1",
        "source": foreign.source,
        "subject": foreign.subject,
        "name": foreign.name,
        "links": links.collect::<Vec<_>>(),
    });
    let mut text = clean(&foreign.subject);
    if let Some(name) = &foreign.name {
        text.push_str(&format!("  {}", clean(name)));
    }
    for link in &foreign.links {
        let account = link.identity.as_ref().map_or(link.text.as_str(), Identity::as_str);
        text.push_str(&format!("\n  {:<10} {}", link.grade().as_str(), clean(account)));
        if let Some(why) = &link.why {
            let about = why.context().map(|about| format!(": {}", clean(about)));
            text.push_str(&format!("  ({}{})", why.code(), about.unwrap_or_default()));
        }
    }
    out.result(&value, &text);
}
