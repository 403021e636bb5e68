//! The search for proofs in a text (SPEC.md, "Proof search").

use super::{COMPACT_PREFIX, Encoding, Proof, from_compact, from_json, from_pointer};
use crate::{Code, Error, Result, json::Value};
use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// How many proofs of one text are read; the search ends with the last of them.
pub const MAX_PROOFS: usize = 16;
/// How many candidates of one text are tried.
pub const MAX_CANDIDATES: usize = 64;

/// A proof, or why something that looks like a proof is none, and the form it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The form.
    pub encoding: Encoding,
    /// The proof itself.
    pub proof: Result<Proof>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The candidates in their order, each once.
    pub found: Vec<Found>,
    /// Whether a limit ended the search, so that the text may hold further proofs.
    pub incomplete: bool,
    /// How many candidates were tried, equal ones included.
    tried: usize,
}

impl Search {
    /// Adds a candidate. Returns whether the search goes on.
    fn add(&mut self, encoding: Encoding, proof: Result<Proof>) -> bool {
        let decoded = self.found.iter().filter(|found| found.proof.is_ok()).count();
        if self.tried >= MAX_CANDIDATES || decoded >= MAX_PROOFS {
            self.incomplete = true;
            return false;
        }
        self.tried += 1;
        // Equal proofs count once; what does not decode stays.
        if proof.is_err() || !self.found.iter().any(|found| found.proof == proof) {
            self.found.push(Found { encoding, proof });
        }
        true
    }
}

/// Finds every proof in a text: a whole JSON envelope, JSON in `kez` fences, compact forms and
/// pointers. Each is judged on its own, and equal ones count once.
///
/// ```
/// use kez_core::{Encoding, proof};
/// let bio = "crab \u{1f980}, see kez:ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737!";
/// let found = proof::find(bio).found;
/// assert_eq!(found[0].encoding, Encoding::Pointer);
/// assert!(found[0].proof.is_ok());
/// ```
#[must_use]
pub fn find(text: &str) -> Search {
    let mut search = Search::default();
    let unmarked = text.strip_prefix('\u{feff}');
    let text = unmarked.unwrap_or(text);
    let whole = text.trim();
    if whole.starts_with('{') && is_envelope(whole) {
        // A byte order mark makes JSON text invalid (KEZ-JSON-01), other text not.
        let proof = match unmarked {
            Some(_) => Err(Code::JsonUtf8.into()),
            None => from_json(whole.as_bytes()).map(Proof::Claim),
        };
        search.add(Encoding::Json, proof);
        return search;
    }
    for part in parts(text) {
        let go_on = match part {
            Part::Text(text) => tokens(text, &mut search),
            Part::Fence(body) => fence(body, &mut search),
        };
        if !go_on {
            break;
        }
    }
    if search.found.is_empty() && whole.starts_with('{') && is_cut_envelope(whole) {
        search.add(Encoding::Json, from_json(whole.as_bytes()).map(Proof::Claim));
    }
    search
}

/// Whether a text is a JSON object with a member of an envelope.
fn is_envelope(text: &str) -> bool {
    Value::parse_foreign(text.as_bytes())
        .is_ok_and(|value| ["kez", "payload"].iter().any(|m| value.get(m).is_some()))
}

/// Whether a text that is no JSON was an envelope before it was cut or edited.
fn is_cut_envelope(text: &str) -> bool {
    text.contains("\"payload\"") && (text.contains("\"sigs\"") || text.contains("\"kez\""))
}

/// The body of a `kez` fence: an envelope, or text like any other.
fn fence(body: &str, search: &mut Search) -> bool {
    let whole = body.trim();
    if !whole.starts_with('{') {
        return tokens(body, search);
    }
    if Value::parse_foreign(whole.as_bytes()).is_err() {
        let before = search.tried;
        let go_on = tokens(body, search);
        if !go_on || search.tried > before {
            return go_on;
        }
    }
    search.add(Encoding::Markdown, from_json(whole.as_bytes()).map(Proof::Claim))
}

/// A part of a text.
enum Part<'a> {
    Text(&'a str),
    /// The lines between the lines that open and close a `kez` fence.
    Fence(&'a str),
}

/// Cuts the `kez` fences out of a text. All other fences are text.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let lines = lines(text);
    let (mut from, mut n) = (0, 0);
    while let Some(&(_, line)) = lines.get(n) {
        n += 1;
        if opens_comment(line) {
            // Within an HTML comment no line opens a fence.
            while !lines[n - 1].1.contains("-->") && n < lines.len() {
                n += 1;
            }
            continue;
        }
        let Some((mark, length, info)) = fence_line(line) else { continue };
        let closes = |line: &str| {
            fence_line(line).is_some_and(|(m, l, i)| m == mark && l >= length && i.is_empty())
        };
        let Some(close) = lines[n..].iter().position(|(_, line)| closes(line)) else { continue };
        let body = n;
        n += close + 1;
        if info.split([' ', '\t']).next() == Some("kez") {
            // The lines that open and close it are text.
            let (start, end) = (lines[body].0, lines[body + close].0);
            parts.push(Part::Text(&text[from..start]));
            parts.push(Part::Fence(&text[start..end]));
            from = end;
        }
    }
    parts.push(Part::Text(&text[from..]));
    parts
}

/// The lines of a text with their positions, without what ends them: LF, CRLF, or CR.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
        lines.push((start, &rest[..length]));
        let end = if rest[length..].starts_with("\r\n") { 2 } else { 1 };
        start += length + end;
    }
    lines
}

fn opens_comment(line: &str) -> bool {
    let start = line.trim_start_matches(' ');
    line.len() - start.len() <= 3 && start.starts_with("<!--")
}

/// The mark, its length and the info string of a line that can open a fence.
fn fence_line(line: &str) -> Option<(char, usize, &str)> {
    let line = line.trim_end_matches([' ', '\t']);
    let start = line.trim_start_matches(' ');
    let mark = start.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = start.trim_start_matches(mark);
    let length = start.len() - info.len();
    let plain = mark == '~' || !info.contains('`');
    let ok = line.len() - start.len() <= 3 && length >= 3 && plain;
    ok.then_some((mark, length, info.trim_matches([' ', '\t'])))
}

const fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Finds `kez:z1:…` and `kez:<key>` where no word runs into them. A token ends at the first
/// character that cannot be part of it, and nothing is repaired.
fn tokens(text: &str, search: &mut Search) -> bool {
    let in_word = |c: char| is_base64url(c) || c == ':';
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices("kez:") {
        if text[..at].chars().next_back().is_some_and(in_word) {
            continue;
        }
        let rest = &text[at..];
        let run = |from: usize, part: fn(char) -> bool| {
            rest[from..].find(|c| !part(c)).map_or(rest, |end| &rest[..from + end])
        };
        let go_on = if rest.starts_with(COMPACT_PREFIX) {
            let token = run(COMPACT_PREFIX.len(), is_base64url);
            let proof = from_compact(token).map_err(|error| explain(error, token, rest));
            search.add(Encoding::Compact, proof.map(Proof::Claim))
        } else if rest.starts_with("kez:nostr:npub1") || rest.starts_with("kez:ed25519:") {
            let from = rest[4..].find(':').map_or(4, |i| i + 5);
            let token = run(from, |c| c.is_ascii_alphanumeric());
            search.add(Encoding::Pointer, from_pointer(token).map(Proof::Pointer))
        } else if let Some((encoding, why)) = nearly(&lower[at + 4..], rest) {
            search.add(encoding, Err(Error::about(Code::ProofMalformed, why)))
        } else {
            true
        };
        if !go_on {
            return false;
        }
    }
    true
}

/// What is wrong with a marker that is nearly one, by the text after `kez:` in lower case.
fn nearly(lower: &str, rest: &str) -> Option<(Encoding, String)> {
    let near = lower.trim_start_matches([' ', '\t', '\u{a0}']);
    let forms = [
        ("z1:", Encoding::Compact, "kez:z1:…"),
        ("nostr:", Encoding::Pointer, "kez:nostr:npub1…"),
        ("npub1", Encoding::Pointer, "kez:nostr:npub1…"),
        ("ed25519:", Encoding::Pointer, "kez:ed25519:…"),
    ];
    let (prefix, encoding, form) = forms.into_iter().find(|form| near.starts_with(form.0))?;
    let tail = near[prefix.len()..].trim_start_matches([' ', '\t']);
    // A few words after such a mark are only words.
    if tail.chars().take_while(|c| is_base64url(*c)).count() < 20 {
        return None;
    }
    let spaced = near.len() < lower.len() || near.len() - prefix.len() > tail.len();
    if prefix == "npub1" {
        let why = String::from("the key lacks its scheme: write kez:nostr:npub1…");
        return Some((encoding, why));
    }
    let why = if spaced { "there is a space inside it" } else { "letters changed their case" };
    let shown: String = rest.chars().take(12).collect();
    Some((encoding, alloc::format!("it begins with \"{shown}\" where {form} belongs: {why}")))
}

/// Adds to an error what has happened to a compact form, where that can be told.
fn explain(error: Error, token: &str, rest: &str) -> Error {
    if !matches!(error.code(), Code::CompactSyntax | Code::ZstdRefused) {
        return error;
    }
    let data = &token[COMPACT_PREFIX.len()..];
    let why = if data.len() >= 40 && !data.bytes().any(|b| b.is_ascii_uppercase()) {
        "the capital letters are lost: something turned the text into lower case".to_owned()
    } else if continues(&rest[token.len()..]) {
        "the text is wrapped: a space or line break cuts it in two; it must be one run of characters"
            .to_owned()
    } else if is_truncated(data) {
        let cut = if token.len() == 255 { " at 255 characters" } else { "" };
        alloc::format!(
            "the text is cut off{cut}: its end is missing; in DNS it needs several strings of at most 255 characters in one record"
        )
    } else {
        return error;
    };
    Error::about(error.code(), why)
}

/// Whether text goes on after white space with what looks like the rest of a compact form.
fn continues(after: &str) -> bool {
    let next = after.trim_start_matches([' ', '\t', '\r', '\n', '\u{a0}']);
    let word: String = next.chars().take_while(|c| is_base64url(*c)).collect();
    let mixed = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    next.len() < after.len() && word.len() >= 12 && mixed
}

/// Whether the decoded bytes begin a zstd frame that ends too early.
fn is_truncated(data: &str) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // A cut anywhere may leave one to three characters that decode to nothing.
    let whole = &data[..data.len() - data.len() % 4];
    URL_SAFE_NO_PAD.decode(whole).is_ok_and(|frame| super::zstd::is_truncated(&frame))
}
