//! Output: text or JSON on stdout, hints on stderr.
//!
//! Text from other parties (servers' words, relays' notices, names, messages, file names) must not be
//! able to look like output of the command. Each such text passes through [`clean`], which keeps it on
//! one line, or through [`indented`], which keeps it from beginning a line. JSON passes through
//! [`json_text`].

use crate::host::{Host, Stream};
use kez_core::{Code, Error, Graph, Kind, Note, Progress, Report, Status, Timestamp, human_span};
use serde::Serialize;

/// How to print.
pub(crate) struct Out<'a> {
    host: &'a dyn Host,
    pub(crate) json: bool,
    color: bool,
}

impl<'a> Out<'a> {
    pub(crate) fn new(host: &'a dyn Host, json: bool, no_color: bool) -> Self {
        let quiet = host.env("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { host, json, color: !no_color && !quiet && host.is_terminal(Stream::Out) }
    }

    /// One result: a JSON object, or text.
    pub(crate) fn result(&self, value: &impl Serialize, text: &str) {
        if self.json {
            self.json_line(value);
        } else {
            self.line(text.trim_end_matches('\n'));
        }
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: &str) {
        self.host.print(Stream::Out, &format!("{text}\n"));
    }

    /// Prints one JSON object.
    pub(crate) fn json_line(&self, value: &impl Serialize) {
        self.line(&json_text(value));
    }

    /// Prints one line for people, beside the data. Text from other parties in it is harmless.
    pub(crate) fn hint(&self, text: &str) {
        self.host.print(Stream::Err, &format!("{}\n", clean(text)));
    }

    /// Prints several lines for people. Text from other parties in them passed through [`clean`].
    pub(crate) fn hint_lines(&self, text: &str) {
        text.split('\n').for_each(|line| self.hint(line));
    }

    /// A live log of the verification, if somebody is watching.
    pub(crate) fn progress(&self, event: &Progress<'_>) {
        if !self.host.is_terminal(Stream::Err) {
            return;
        }
        match event {
            // Offline nothing is asked, so there is nothing to tell.
            Progress::Answered(_, Some(Code::Offline)) => {}
            Progress::Answered(request, code) => {
                let what = code.map_or("ok", Code::as_str);
                self.hint(&format!("  {} … {what}", request.place()));
            }
            Progress::Judged(report) => {
                self.hint(&format!("  {} … {}", report.subject, report.status.as_str()));
            }
            _ => {}
        }
    }

    pub(crate) fn color(&self, status: Status) -> (&'static str, &'static str) {
        if !self.color {
            return ("", "");
        }
        let code = match status {
            Status::Valid => "\x1b[32m",
            Status::Invalid | Status::Fork => "\x1b[31m",
            Status::Revoked | Status::Expired => "\x1b[33m",
            Status::Unreachable => "\x1b[36m",
        };
        (code, "\x1b[0m")
    }

    /// A failure of the whole command: JSON on stdout, or text on stderr. Gives the exit code.
    pub(crate) fn failure(&self, error: &Error) -> u8 {
        let code = error.code();
        if self.json {
            let value = serde_json::json!({
                "schema": "kez.error/1",
                "kind": code.kind().as_str(),
                "code": code.as_str(),
                "summary": code.summary(),
                "remedy": code.remedy(),
                "detail": error.context(),
            });
            self.json_line(&value);
        } else {
            self.hint(&format!("kez: error: {error}"));
            self.hint(&format!("kez: hint: {} [{code}]", code.remedy()));
        }
        exit_code(code)
    }
}

/// The exit code of a command that failed with this code.
pub(crate) const fn exit_code(code: Code) -> u8 {
    match code.kind() {
        Kind::Input | Kind::Storage => 2,
        _ => code.status().exit_code(),
    }
}

/// Whether a character could change how other text is shown: controls with line feeds, line and
/// paragraph separators, bidirectional controls, and invisible format characters.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Makes text from another party safe to print within a line: characters that could begin a line or
/// change how other text is shown become `\u{…}`.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`clean`], for text of several lines. All but the first are indented, so that none looks like a
/// line of the command.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n    ")
}

/// One JSON object in one line. Characters that [`clean`] escapes are escaped in its strings, too.
pub(crate) fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            out.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// One line about an edge: status, subject, reason and age.
pub(crate) fn edge_line(out: &Out<'_>, report: &Report, now: Timestamp) -> String {
    let (on, off) = out.color(report.status);
    let status = format!("{on}{:<11}{off}", report.status.as_str());
    let mut text = report.subject.to_string();
    let mut facts: Vec<String> = Vec::new();
    if let Some(reason) = report.reason.filter(|r| r.as_str() != report.status.as_str()) {
        facts.push(reason.as_str().to_owned());
    }
    if let Some(at) = report.signed_at {
        facts.push(format!("signed {} ago", human_span(now.seconds() - at.seconds())));
    }
    if let Some(at) = report.revoked_at {
        facts.push(format!("revoked {at}"));
    }
    if let Some(at) = report.expires_at {
        let left = at.seconds() - now.seconds();
        facts.push(if left > 0 {
            format!("expires in {}", human_span(left))
        } else {
            format!("expired {at}")
        });
    }
    if let Some(at) = report.retry_at {
        facts.push(format!("retry at {at}"));
    }
    let notes = report.notes.iter().filter(|note| **note != Note::AccountUnpinned);
    facts.extend(notes.map(|note| note_text(report, *note)));
    if let Some(detail) = &report.detail {
        facts.push(detail.clone());
    }
    if !facts.is_empty() {
        text.push_str(&format!("  ({})", facts.join(", ")));
    }
    // The colours are the command's own; the rest may hold text of other parties.
    format!("{status} {}", clean(&text))
}

/// A note in words, with what it is about.
fn note_text(report: &Report, note: Note) -> String {
    let about = match note {
        Note::Renamed => report.claimed_as.as_ref().map(|name| format!("; the proof names {name}")),
        Note::Moved => report.moved_to.as_ref().map(|place| format!(" to {place}")),
        _ => None,
    };
    format!("{}{}", note.summary(), about.unwrap_or_default())
}

/// A count with its noun.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The whole report in lines.
pub(crate) fn report_text(out: &Out<'_>, report: &Report, now: Timestamp) -> String {
    let (on, off) = out.color(report.status);
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<9} {}", clean(&value)));
    if let Some(primary) = &report.primary {
        row("owner", primary.to_string());
    }
    if let Some(reason) = report.reason {
        let detail = report.detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
        row("reason", format!("{reason}: {}{detail}", reason.summary()));
        row("to do", reason.remedy().to_owned());
    }
    if let Some(place) = &report.place {
        let mut text = place.url.clone();
        if let Some(status) = place.http_status {
            text.push_str(&format!(" [HTTP {status}]"));
        }
        if let Some(rcode) = place.rcode {
            text.push_str(&format!(" [rcode {rcode}]"));
        }
        if let Some(other) = &place.redirected_to {
            text.push_str(&format!(" (redirected to {other})"));
        }
        row("at", text);
    }
    if let Some(account) = &report.account {
        row("account", account.clone());
    }
    if let Some(at) = report.signed_at {
        row("signed", format!("{at} ({} ago)", human_span(now.seconds() - at.seconds())));
    }
    if let Some(at) = report.expires_at {
        row("expires", at.to_string());
    }
    if let Some(at) = report.revoked_at {
        row("revoked", at.to_string());
    }
    if let Some(at) = report.retry_at {
        row("retry at", at.to_string());
    }
    if let Some(head) = &report.head {
        row("chain", format!("event {} ({})", head.seq, head.id.short()));
    }
    if let Some(dnssec) = report.dnssec {
        row(
            "dnssec",
            if dnssec { "validated by the resolver" } else { "not validated" }.to_owned(),
        );
    }
    for note in &report.notes {
        row("note", note_text(report, *note));
    }
    row("checked", report.checked_at.to_string());
    format!("{on}{}{off}  {}\n{}", report.status.as_str(), report.subject, lines.join("\n"))
}

/// An identity in lines: the primary, its chain, one line an edge.
pub(crate) fn graph_text(out: &Out<'_>, graph: &Graph, now: Timestamp) -> String {
    let mut text = String::new();
    match &graph.primary {
        Some(primary) => text.push_str(&format!("{primary}\n")),
        None => text.push_str(&format!("{}: no identity found\n", graph.query)),
    }
    for other in &graph.contested_by {
        text.push_str(&format!("  CONTESTED: {other} has a valid proof of {} too\n", graph.query));
    }
    let chain = match (graph.chain, &graph.head) {
        ("fork", _) => "sigchain: two histories, both validly signed".to_owned(),
        (_, Some(head)) => {
            let next = if graph.pre_rotation { ", next key committed" } else { "" };
            let keys = if graph.keys.len() > 1 {
                format!(", {}", count(graph.keys.len() as u64 - 1, "rotation"))
            } else {
                String::new()
            };
            format!("sigchain: {}, head {}{keys}{next}", count(head.seq, "event"), head.id.short())
        }
        ("absent", _) => "sigchain: none".to_owned(),
        ("unchecked", _) => "sigchain: not looked up, so revocations were not checked".to_owned(),
        _ => "sigchain: could not be read".to_owned(),
    };
    text.push_str(&format!("  {chain}\n"));
    if let Some(reason) = graph.reason.filter(|_| matches!(graph.chain, "known" | "unknown")) {
        let detail = graph.detail.as_ref().map(|d| format!(" ({})", clean(d))).unwrap_or_default();
        text.push_str(&format!("  {} {}{detail}\n", reason, reason.summary()));
    }
    for device in &graph.devices {
        let state = if device.revoked.is_some() { "revoked" } else { "active" };
        text.push_str(&format!("  device {} {state}\n", device.key));
    }
    // A stranger's chain may list thousands of accounts.
    let hidden = unchecked(graph).count().saturating_sub(SHOWN_UNCHECKED);
    let mut left = SHOWN_UNCHECKED;
    for edge in &graph.edges {
        if is_unchecked(edge) {
            if left == 0 {
                continue;
            }
            left -= 1;
        }
        text.push_str(&format!("  {}\n", edge_line(out, edge, now)));
    }
    if hidden > 0 {
        text.push_str(&format!(
            "  … and {} that were not checked\n",
            count(hidden as u64, "account")
        ));
    }
    text
}

/// How many accounts that were not checked are shown in text. JSON has all of them.
const SHOWN_UNCHECKED: usize = 10;

/// The accounts of an identity that a limit kept from being checked.
pub(crate) fn unchecked(graph: &Graph) -> impl Iterator<Item = &Report> {
    graph.edges.iter().filter(|edge| is_unchecked(edge))
}

fn is_unchecked(report: &Report) -> bool {
    report.reason == Some(Code::SearchIncomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the text, it stays within its line, and nothing in it steers a terminal.
    #[test]
    fn text_of_others_stays_in_its_place() {
        let steering = [
            "\n",
            "\r\n",
            "\r",
            "\u{b}",
            "\u{c}",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\u{1b}[2K",
            "\u{9b}2K",
            "\u{8}",
            "\0",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\u{200d}",
            "\u{feff}",
            "\u{ad}",
            "\u{180e}",
            "\u{fff9}",
            "\u{e0041}",
            "\u{61c}",
        ];
        for between in steering {
            let text = format!("x{between}valid  dns:bank.example");
            let line = clean(&text);
            assert!(!line.chars().any(is_steering), "{line:?}");
            assert!(line.contains("\\u{"), "{line:?}");
            let lines = indented(&text);
            let later: Vec<&str> = lines.split('\n').skip(1).collect();
            assert!(later.iter().all(|line| line.starts_with("    ")), "{lines:?}");
            assert!(!lines.chars().any(|c| is_steering(c) && c != '\n'), "{lines:?}");
            // JSON keeps the text, in other characters.
            let json = json_text(&text);
            assert!(!json.chars().any(is_steering), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).ok(), Some(text));
        }
        assert_eq!(clean("Zoë שלום 👍 a\tb"), "Zoë שלום 👍 a\\u{9}b");
        assert_eq!(indented("one\r\ntwo\n\nthree"), "one\n    two\n    \n    three");
    }
}
