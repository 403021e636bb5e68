//! `kez verify`, `kez id` and `kez graph`.

use crate::{
    args::{GraphFormat, VerifyCommand},
    graph as draw,
    host::{Access, Net},
    output::{Out, clean, exit_code, graph_text, json_text, report_text, unchecked},
    run::Context,
};
use futures_util::{StreamExt as _, stream};
use kez_core::{
    Budget, Code, Error, Graph, Identity, Input, Question, Report, Result, holds_secret,
    resolve::{self, Resolved},
    transport::MAX_CONCURRENCY,
};
use std::{
    io::{self, BufRead, BufReader},
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

/// The longest line of a list in bytes. No identity or URL that is accepted is longer.
const MAX_LINE: usize = 64 * 1024;
/// How much of a line that cannot be read is repeated, in characters.
const SHOWN: usize = 80;

/// A line of a list that says something: its number, from 1, and its text.
struct Line {
    number: usize,
    text: Result<String, Unread>,
}

/// A line that is no text, or too long: how it begins, and why it is refused.
struct Unread {
    start: String,
    error: Error,
}

/// The lines of a list, without empty ones and comments. No more than one line is in memory. An
/// error of the stream is the last line.
struct Lines<R> {
    reader: R,
    number: usize,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line without its line feed. Of a line that is too long it keeps the start, of
    /// one byte more than the limit. `None` at the end.
    fn next_bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut seen = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok(seen.then_some(line));
            }
            seen = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            line.extend_from_slice(&part[..part.len().min(MAX_LINE + 1 - line.len())]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while !self.failed {
            self.number += 1;
            let bytes = match self.next_bytes() {
                Ok(bytes) => bytes?,
                Err(error) => {
                    self.failed = true;
                    let error = Error::about(Code::StorageFailed, error.kind());
                    let text = Err(Unread { start: String::new(), error });
                    return Some(Line { number: self.number, text });
                }
            };
            let text = read_line(bytes);
            if !text.as_ref().is_ok_and(|text| text.is_empty() || text.starts_with('#')) {
                return Some(Line { number: self.number, text });
            }
        }
        None
    }
}

/// The text of a line, without white space around it.
fn read_line(bytes: Vec<u8>) -> Result<String, Unread> {
    let error = if bytes.len() > MAX_LINE {
        Error::about(Code::TooLarge, "a line of a list has at most 64 KiB")
    } else {
        match String::from_utf8(bytes) {
            Ok(text) => return Ok(text.trim().to_owned()),
            Err(error) => {
                let start = String::from_utf8_lossy(error.as_bytes()).chars().take(SHOWN).collect();
                let error = Error::about(Code::IdentityRefused, "the line is not UTF-8");
                return Err(Unread { start, error });
            }
        }
    };
    let start = String::from_utf8_lossy(&bytes[..SHOWN]).into_owned();
    Err(Unread { start, error })
}

/// Prints why a line has no report. Returns its exit code, which is never 0.
fn print_unread(out: &Out<'_>, number: usize, input: &str, error: &Error) -> u8 {
    let code = error.code();
    let value = serde_json::json!({
        "schema": "kez.error/1",
        "line": number,
        // A secret key is never repeated.
        "input": (code != Code::SecretRefused).then_some(input),
        "kind": code.kind().as_str(),
        "code": code,
        "detail": error.context(),
    });
    out.json_line(&value);
    exit_code(code).max(1)
}

/// Verifies a list, a few at a time, and prints each result as it comes. Every line that is neither
/// empty nor a comment is answered.
async fn list(context: &Context<'_, impl Net>, out: &Out<'_>) -> Result<u8> {
    let quiet = |_: kez_core::Progress<'_>| {};
    let verifier = context.verifier(&quiet)?;
    let lines = Lines { reader: BufReader::new(context.stdin()), number: 0, failed: false };
    let verifier = &verifier;
    let mut results = stream::iter(lines)
        .map(|Line { number, text }| async move {
            let text = text.map_err(|unread| (number, unread.start, unread.error))?;
            match read(context, &text).await {
                Ok(subject) => {
                    Ok(verifier.verify_question(&subject.question()).await.swap_remove(0))
                }
                Err(error) => Err((number, text, error)),
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
            Err((number, input, error)) => print_unread(out, number, &input, &error),
        };
        worst = worst.max(code);
        done += 1;
        out.hint(&format!("kez: {done} verified"));
    }
    Ok(worst)
}

/// How long `kez id` goes on to other owners of the same account, in seconds.
const OTHERS: i64 = 20;

pub(super) async fn id(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    limit: usize,
) -> Result<u8> {
    let start = context.host.now();
    let query = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let mut verifier = context.verifier(&progress)?;
    // All owners share it.
    verifier.budget = Some(Budget::for_accounts(limit));
    let graph = verifier.identity_question(&query.question()).await;
    out.result(&graph, &graph_text(out, &graph, context.now));
    tell_unchecked(out, &graph);
    // Who else has a valid proof of the account is shown as fully.
    for other in &graph.contested_by {
        if context.host.now() > start.plus(OTHERS) {
            out.hint(&format!("kez: not checked: {other}; see `kez id {other}`"));
            continue;
        }
        let question = Question { by: Some(other), ..query.question() };
        let other = verifier.identity_question(&question).await;
        out.result(&other, &graph_text(out, &other, context.now));
        tell_unchecked(out, &other);
    }
    Ok(graph.status().exit_code())
}

/// Says how many accounts were left out, and how to check more.
fn tell_unchecked(out: &Out<'_>, graph: &Graph) {
    let left = unchecked(graph).count();
    if left > 0 {
        out.hint(&format!(
            "kez: {left} of {} accounts were not checked completely: a higher --limit checks more",
            graph.edges.len()
        ));
    }
}

pub(super) async fn graph(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    identity: &str,
    limit: usize,
    format: GraphFormat,
    file: Option<&Path>,
) -> Result<u8> {
    let query = resolve(context, out, identity).await?;
    let progress = |event: kez_core::Progress<'_>| out.progress(&event);
    let mut verifier = context.verifier(&progress)?;
    verifier.budget = Some(Budget::for_accounts(limit));
    let graph = verifier.identity_question(&query.question()).await;
    let format = if out.json { GraphFormat::Json } else { format };
    let text = match format {
        GraphFormat::Dot => draw::dot(&graph),
        GraphFormat::Mermaid => draw::mermaid(&graph),
        GraphFormat::Svg => draw::svg(&graph),
        GraphFormat::Json => json_text(&graph),
    };
    match file {
        Some(path) => context.home.write(path, text.as_bytes(), Access::Public)?,
        None => out.line(text.trim_end()),
    }
    Ok(graph.status().exit_code())
}
