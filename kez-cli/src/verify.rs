//! `kez verify`, `kez id` and `kez graph`.

use crate::{
    args::{GraphFormat, VerifyCommand},
    graph as draw,
    host::{Access, Net},
    output::{Out, clean, exit_code, graph_text, report_text},
    run::Context,
};
use futures_util::{StreamExt as _, stream};
use kez_core::{
    Code, Error, Identity, Input, Proof, Result, holds_secret, proof,
    resolve::{self, Resolved},
    transport::MAX_CONCURRENCY,
};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
};

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    command: VerifyCommand,
) -> Result<u8> {
    match command {
        VerifyCommand::Id { identity } => one(context, out, &identity).await,
        VerifyCommand::File { file, shown_by } => {
            self::file(context, out, &file, shown_by.as_ref()).await
        }
        VerifyCommand::List => list(context, out).await,
    }
}

/// What the user typed, over the network where that is needed.
async fn read(context: &Context<'_, impl Net>, text: &str) -> Result<Resolved> {
    Ok(resolve::resolve(&context.net, Input::parse(text)?).await?)
}

/// The identity that the user typed; says who named it, if it took the network.
async fn resolve(context: &Context<'_, impl Net>, out: &Out<'_>, text: &str) -> Result<Identity> {
    let resolved = read(context, text).await?;
    if let Some(via) = &resolved.via {
        out.hint(&format!("kez: {} is {}, by {}", clean(text), resolved.identity, clean(via)));
    }
    Ok(resolved.identity)
}

async fn one(context: &Context<'_, impl Net>, out: &Out<'_>, identity: &str) -> Result<u8> {
    let subject = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let reports = context.verifier(&progress)?.verify(&subject).await;
    for report in &reports {
        out.result(report, &report_text(out, report, context.now));
    }
    // The best proof decides; it comes first, and there is always one report.
    Ok(reports.first().map_or(1, |r| r.status.exit_code()))
}

async fn file(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    file: &Path,
    shown_by: Option<&Identity>,
) -> Result<u8> {
    let bytes = context.read_input(file, 256 * 1024)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::from(Code::JsonUtf8))?;
    if holds_secret(text) {
        out.hint("kez: warning: the file holds a secret key (nsec1…): if it was published, rotate that key");
    }
    let (encoding, proof) = proof::from_text(text)?;
    let subject = match (shown_by, &proof) {
        (Some(subject), _) => subject.clone(),
        (None, Proof::Claim(signed)) => signed.claim().subject.clone(),
        (None, Proof::Pointer(_)) => {
            return Err(Error::about(
                Code::Usage,
                "a pointer needs --as, the account that shows it",
            ));
        }
    };
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let verifier = context.verifier(&progress)?;
    let mut report = verifier.verify_proof(&proof, &subject).await;
    report.encoding = Some(encoding);
    report.via = Some(kez_core::transport::Via::File);
    out.result(&report, &report_text(out, &report, context.now));
    Ok(report.status.exit_code())
}

/// Verifies a list, a few at a time, and prints each result as it comes.
async fn list(context: &Context<'_, impl Net>, out: &Out<'_>) -> Result<u8> {
    let quiet = |_: kez_core::Progress<'_>| {};
    let verifier = context.verifier(&quiet)?;
    let lines = BufReader::new(context.stdin()).lines().map_while(std::result::Result::ok);
    let names = lines.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let verifier = &verifier;
    let mut results = stream::iter(names)
        .map(|name| async move {
            match read(context, &name).await.map(|resolved| resolved.identity) {
                Ok(subject) => Ok(verifier.verify(&subject).await.swap_remove(0)),
                Err(error) => Err((name, error)),
            }
        })
        .buffer_unordered(MAX_CONCURRENCY);
    let (mut done, mut worst) = (0_usize, 0_u8);
    while let Some(result) = results.next().await {
        let code = match result {
            Ok(report) => {
                out.json_line(&report);
                report.status.exit_code()
            }
            Err((name, error)) => {
                let value = serde_json::json!({
                    "schema": "kez.error/1",
                    "input": name,
                    "kind": error.code().kind().as_str(),
                    "code": error.code(),
                    "detail": error.context(),
                });
                out.json_line(&value);
                exit_code(error.code())
            }
        };
        worst = worst.max(code);
        done += 1;
        out.hint(&format!("kez: {done} verified"));
    }
    Ok(worst)
}

pub(super) async fn id(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
) -> Result<u8> {
    let query = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let graph = context.verifier(&progress)?.identity(&query).await;
    out.result(&graph, &graph_text(out, &graph, context.now));
    Ok(graph.status().exit_code())
}

pub(super) async fn graph(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    format: GraphFormat,
    file: Option<&Path>,
) -> Result<u8> {
    let query = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let graph = context.verifier(&progress)?.identity(&query).await;
    let format = if out.json { GraphFormat::Json } else { format };
    let text = match format {
        GraphFormat::Dot => draw::dot(&graph),
        GraphFormat::Mermaid => draw::mermaid(&graph),
        GraphFormat::Svg => draw::svg(&graph),
        GraphFormat::Json => serde_json::to_string(&graph).unwrap_or_default(),
    };
    match file {
        Some(path) => context.home.write(path, text.as_bytes(), Access::Public)?,
        None => out.line(text.trim_end()),
    }
    Ok(graph.status().exit_code())
}
