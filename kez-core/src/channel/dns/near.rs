//! TXT records that are nearly proofs: what is wrong with each, in words for the owner.

use crate::{Code, Identity, proof};
use alloc::{
    format,
    string::{String, ToString as _},
};

/// The most bytes of one character-string (RFC 1035, section 3.3).
const STRING: usize = 255;

/// What is wrong with a record that has a KEZ marker and cannot be read as a proof. `None` for a
/// record that can, or that has no marker.
pub(crate) fn diagnose(record: &str) -> Option<String> {
    let at = marker(record)?;
    let bare: String = record.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let bare = marker(&bare).and_then(|at| bare.get(at..)).unwrap_or_default();
    let also = if is_proof(bare) { "" } else { ", and what is left is no whole proof either" };
    let before = &record[..at];
    let why = if record.contains('"') {
        format!(
            "the record holds quotation marks as text: enter the text without them, since the DNS \
             provider adds its own{also}"
        )
    } else if before.trim().is_empty() && !before.is_empty() {
        format!("a space stands before `kez:`: remove it{also}")
    } else if !before.is_empty() {
        format!("the record has other text before `kez:`: use a record of its own{also}")
    } else if is_proof(record) {
        return None;
    } else if record.trim().contains(char::is_whitespace) {
        format!("the record is broken by spaces or line breaks: enter it as one line{also}")
    } else {
        damage(record)
    };
    Some(why)
}

/// What happened to a record that begins with a marker and is one word.
fn damage(record: &str) -> String {
    let lower = !record.chars().any(|c| c.is_ascii_uppercase());
    let exact = record.starts_with("kez:");
    if !exact {
        return "`kez:` is written in lower-case letters: upper-case and lower-case letters differ"
            .to_string();
    }
    if record.starts_with(proof::COMPACT_PREFIX) && lower && record.len() > 60 {
        return "the record has lost its capital letters: upper-case and lower-case letters \
                differ, so enter the text exactly as it was given"
            .to_string();
    }
    if record.len().is_multiple_of(STRING) {
        return format!(
            "the record is cut after {} characters: enter the whole text, as several \
             character-strings of at most {STRING} characters in one record if the form demands it",
            record.len()
        );
    }
    "the record was changed, or its end is missing: enter the text exactly as it was given"
        .to_string()
}

/// Where the first KEZ marker begins, in any letter case: `kez:` and what a proof goes on with.
fn marker(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    let mut places = lower.match_indices("kez:").map(|(at, _)| at);
    places.find(|at| {
        let rest = lower[at + 4..].trim_start_matches(|c: char| c.is_whitespace() || c == '"');
        ["z1:", "nostr:", "ed25519:"].iter().any(|kind| rest.starts_with(kind))
            && !lower[..*at].chars().next_back().is_some_and(word)
    })
}

/// Whether a text begins with a proof that decodes. One that decodes and is not valid, for its
/// signature say, is for the judge.
fn is_proof(text: &str) -> bool {
    text.starts_with("kez:")
        && proof::find(text).found.iter().any(|found| {
            found.proof.as_ref().err().is_none_or(|error| {
                use Code::{
                    CompactSyntax, JsonNotCanonical, JsonSyntax, JsonUtf8, PointerSyntax,
                    ProofMalformed, ZstdRefused,
                };
                !matches!(
                    error.code(),
                    CompactSyntax
                        | ZstdRefused
                        | PointerSyntax
                        | ProofMalformed
                        | JsonSyntax
                        | JsonUtf8
                        | JsonNotCanonical
                )
            })
        })
}

/// Whether a record at another name was meant for this domain: a claim of it, or, unless the name
/// is the right one of another domain, anything with a marker but a claim of another subject.
pub(crate) fn is_of(record: &str, subject: &Identity, others: bool) -> bool {
    if marker(record).is_none() {
        return false;
    }
    let found = proof::find(record).found;
    let mut claims =
        found.iter().filter_map(|found| found.proof.as_ref().ok()?.subject()).peekable();
    let unnamed = !others && claims.peek().is_none();
    unnamed || claims.any(|claimed| claimed == subject)
}
