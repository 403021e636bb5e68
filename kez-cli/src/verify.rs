//! `kez verify`, `kez id` and `kez graph`.

use crate::{
    args::{GraphFormat, VerifyCommand},
    graph as draw,
    host::{Access, Net},
    output::{Out, graph_text, report_text},
    run::Context,
};
use futures_util::{StreamExt as _, stream};
use kez_core::{Code, Error, Identity, Question, Report, Result, transport::MAX_CONCURRENCY};
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
        VerifyCommand::Id { identity, by } => one(context, out, &identity, by.as_ref()).await,
        VerifyCommand::File { file, shown_by } => {
            self::file(context, out, &file, shown_by.as_ref()).await
        }
        VerifyCommand::List => list(context, out).await,
    }
}

async fn one(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    by: Option<&Identity>,
) -> Result<u8> {
    let subject = Identity::parse(identity)?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let question = Question { by, ..Question::about(&subject) };
    let reports = context.verifier(&progress)?.verify_question(&question).await;
    Ok(print(context, out, &reports))
}

async fn file(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    file: &Path,
    shown_by: Option<&Identity>,
) -> Result<u8> {
    let bytes = context.read_input(file, 256 * 1024)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::from(Code::JsonUtf8));
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let verifier = context.verifier(&progress)?;
    let reports = match text {
        Ok(text) if holds_secret(text) => return Err(Code::SecretRefused.into()),
        Ok(text) => verifier.verify_text(text, shown_by).await,
        Err(error) => Err(error),
    };
    match reports {
        Ok(reports) => Ok(print(context, out, &reports)),
        Err(error) if error.code() == Code::Usage => Err(error),
        // The object is at fault, and not the command.
        Err(error) => {
            out.failure(&error);
            Ok(error.code().status().exit_code())
        }
    }
}

/// Prints reports, the best first, whose status is the command's.
fn print(context: &Context<'_, impl Net>, out: &Out<'_>, reports: &[Report]) -> u8 {
    for report in reports {
        out.result(report, &report_text(out, report, context.now));
    }
    reports.first().map_or(1, |report| report.status.exit_code())
}

/// Whether a text holds a secret nostr key (NIP-19), which must not be handed around.
fn holds_secret(text: &str) -> bool {
    let data = |c: &char| c.is_ascii_alphanumeric();
    text.match_indices("nsec1").any(|(at, _)| text[at + 5..].chars().take_while(data).count() == 58)
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
            match Identity::parse(&name) {
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
                2
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
    let query = Identity::parse(identity)?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let verifier = context.verifier(&progress)?;
    let graph = verifier.identity(&query).await;
    out.result(&graph, &graph_text(out, &graph, context.now));
    // Who else has a valid proof of the account is shown as fully.
    for other in &graph.contested_by {
        let question = Question { by: Some(other), ..Question::about(&query) };
        let other = verifier.identity_question(&question).await;
        out.result(&other, &graph_text(out, &other, context.now));
    }
    Ok(graph.status().exit_code())
}

pub(super) async fn graph(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    format: GraphFormat,
    file: Option<&Path>,
) -> Result<u8> {
    let query = Identity::parse(identity)?;
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
