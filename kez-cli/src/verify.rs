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
    Code, Error, Identity, Input, Question, Report, Result, holds_secret,
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
        VerifyCommand::Id { identity, by } => one(context, out, &identity, by.as_ref()).await,
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

/// The identity that the user typed. Prints who named it, if it took the network.
async fn resolve(context: &Context<'_, impl Net>, out: &Out<'_>, text: &str) -> Result<Resolved> {
    let resolved = read(context, text).await?;
    if let Some(via) = &resolved.via {
        out.hint(&format!("kez: {} is {}, by {}", clean(text), resolved.identity, clean(via)));
    }
    Ok(resolved)
}

async fn one(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    by: Option<&Identity>,
) -> Result<u8> {
    let subject = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let question = Question { by, ..subject.question() };
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
        Ok(text) => {
            if holds_secret(text) {
                let warning =
                    "the file holds a secret key (nsec1…): if others saw it, rotate that key";
                out.hint(&format!("kez: warning: {warning}"));
            }
            verifier.verify_text(text, shown_by).await
        }
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

/// Verifies a list, a few at a time, and prints each result as it comes.
async fn list(context: &Context<'_, impl Net>, out: &Out<'_>) -> Result<u8> {
    let quiet = |_: kez_core::Progress<'_>| {};
    let verifier = context.verifier(&quiet)?;
    let lines = BufReader::new(context.stdin()).lines().map_while(std::result::Result::ok);
    let names = lines.map(|l| l.trim().to_owned()).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let verifier = &verifier;
    let mut results = stream::iter(names)
        .map(|name| async move {
            match read(context, &name).await {
                Ok(subject) => {
                    Ok(verifier.verify_question(&subject.question()).await.swap_remove(0))
                }
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
    let verifier = context.verifier(&progress)?;
    let graph = verifier.identity_question(&query.question()).await;
    out.result(&graph, &graph_text(out, &graph, context.now));
    // Who else has a valid proof of the account is shown as fully.
    for other in &graph.contested_by {
        let question = Question { by: Some(other), ..query.question() };
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
    let query = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let graph = context.verifier(&progress)?.identity_question(&query.question()).await;
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
