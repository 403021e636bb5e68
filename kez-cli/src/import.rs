//! `kez import`: what people have said of their accounts elsewhere, with a grade of its own, and the
//! offer to make it KEZ proofs.

use crate::{
    args::{ImportArgs, PublishArgs, Service},
    host::Net,
    output::{Out, clean},
    publish,
    run::Context,
};
use kez_core::{
    Code, Error, Identity, Result, Scheme,
    import::{Foreign, Importer, Source, Subject},
    to_ascii,
};
use std::path::Path;

/// The largest file of an OpenPGP key, a profile or Keybase's record, in bytes.
const MAX_FILE: usize = 1 << 20;

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    args: ImportArgs,
) -> Result<u8> {
    let foreign = read(context, args.from.into(), args.what.as_deref()).await?;
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
    source: Source,
    what: Option<&str>,
) -> Result<Foreign> {
    let named = |what: &str| Error::about(Code::Usage, format!("name {what}"));
    let is_file = |path| match source {
        Source::Keybase => true,
        Source::Keyoxide => {
            path == "-" || context.host.stat(Path::new(path)).is_ok_and(|stat| stat.is_file)
        }
        Source::Nip39 | Source::RelMe => false,
    };
    let (file, own);
    let subject = match (source, what) {
        (_, Some(path)) if is_file(path) => {
            file = context.read_input(Path::new(path), MAX_FILE)?;
            Subject::File(&file)
        }
        (_, Some(name)) => Subject::Name(name),
        (Source::Nip39, None) => {
            let keys = context.keys().list()?.into_iter();
            let mut keys = keys.filter(|key| key.identity.scheme() == Scheme::Nostr);
            let (Some(key), None) = (keys.next(), keys.next()) else {
                return Err(named("the nostr key"));
            };
            own = key.identity;
            Subject::Name(own.as_str())
        }
        (Source::RelMe, None) => return Err(named("the page or account")),
        (Source::Keyoxide, None) => return Err(named("the profile or its file")),
        (Source::Keybase, None) => return Err(named("the file")),
    };
    let endpoints = context.config.endpoints()?;
    let (transport, now) = (&context.net, context.host.now());
    let importer = Importer { transport, endpoints: &endpoints, now, to_ascii: &to_ascii };
    importer.read(source, subject).await
}

fn tell(out: &Out<'_>, foreign: &Foreign) {
    let mut text = clean(&foreign.subject);
    if let Some(name) = &foreign.name {
        text.push_str(&format!("  {}", clean(name)));
    }
    for link in &foreign.links {
        let account = link.identity.as_ref().map_or(link.text.as_str(), Identity::as_str);
        text.push_str(&format!("\n  {:<10} {}", link.grade.as_str(), clean(account)));
        if let Some(code) = link.reason {
            let about = link.detail.as_ref().map(|about| format!(": {}", clean(about)));
            text.push_str(&format!("  ({code}{})", about.unwrap_or_default()));
        }
    }
    if let Some(detail) = &foreign.detail {
        text.push_str(&format!("\n  note: {}", clean(detail)));
    }
    out.result(foreign, &text);
}
