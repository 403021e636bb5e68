//! Strict JSON (SPEC.md, "Strict JSON"): I-JSON (RFC 7493) narrowed to integers, and its
//! canonical bytes by RFC 8785 (JCS).
//!
//! serde's data model accepts what KEZ must refuse (duplicate members, 2^53+1, an array for a
//! struct), hence a codec of our own; the tests hold it against `serde_jcs`.

use crate::{Code, Error, Result};
use alloc::{string::String, vec::Vec};
use core::cmp::Ordering;

/// How deeply arrays and objects may be nested.
pub const MAX_DEPTH: usize = 8;
/// How deeply a platform's answer may be nested.
pub const MAX_FOREIGN_DEPTH: usize = 64;
/// The largest magnitude of an integer, 2^53 − 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A JSON value as KEZ allows it. Object members are kept in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer within ±[`MAX_INTEGER`].
    Int(i64),
    /// A string without lone surrogates or noncharacters.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object: members sorted by the UTF-16 code units of their names, no name twice.
    Object(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl Value {
    /// Builds an object, sorting its members.
    ///
    /// ```
    /// use kez_core::json::Value;
    /// let v = Value::object([("b", 2.into()), ("a", "x".into())]);
    /// assert_eq!(v.to_canonical(), r#"{"a":"x","b":2}"#);
    /// ```
    #[must_use]
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::sorted(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    // Apart, so that it is compiled once.
    fn sorted(mut members: Vec<(String, Self)>) -> Self {
        members.sort_by(|a, b| utf16_order(&a.0, &b.0));
        Self::Object(members)
    }

    /// Parses strict JSON with any whitespace.
    ///
    /// # Errors
    /// `json_*` codes, by the first rule that is broken.
    ///
    /// ```
    /// use kez_core::{json::Value, Code};
    /// assert_eq!(Value::parse(br#"{"a":1,"a":2}"#).unwrap_err().code(), Code::JsonDuplicate);
    /// assert_eq!(Value::parse(b"1.0").unwrap_err().code(), Code::JsonNumber);
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Parser::new(bytes, Rules::Strict)?.document()
    }

    /// As [`Value::parse`], for an object whose arrays hold envelopes: depth counts from each
    /// envelope's own top, which is two levels down.
    pub(crate) fn parse_around_envelopes(bytes: &[u8]) -> Result<Self> {
        let mut parser = Parser::new(bytes, Rules::Strict)?;
        parser.depth += 2;
        parser.document()
    }

    /// Parses bytes that must be canonical: `JCS(parse(bytes)) = bytes`, checked in one pass.
    ///
    /// # Errors
    /// As [`Value::parse`], and `json_not_canonical`.
    pub fn parse_canonical(bytes: &[u8]) -> Result<Self> {
        Parser::new(bytes, Rules::Canonical)?.document()
    }

    /// Parses what a platform answers, which KEZ did not write: numbers that are not integers
    /// become `null`, of two members with one name the last wins, a lone surrogate becomes U+FFFD.
    /// Never for anything that is signed.
    ///
    /// # Errors
    /// `json_utf8`, `json_syntax` and `json_depth` (deeper than [`MAX_FOREIGN_DEPTH`]).
    pub fn parse_foreign(bytes: &[u8]) -> Result<Self> {
        Parser::new(bytes, Rules::Foreign)?.document()
    }

    /// The canonical bytes (RFC 8785) as text.
    #[must_use]
    pub fn to_canonical(&self) -> String {
        let mut out = String::with_capacity(256);
        self.write(&mut out);
        out
    }

    /// The member of that name, if this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|m| m.0 == name).map(|m| &m.1),
            _ => None,
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The items, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(n) => {
                // Writing to a String cannot fail.
                let _ = core::fmt::Write::write_fmt(out, format_args!("{n}"));
            }
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                out.push_str("\\u00");
                out.push(if c >= '\u{10}' { '1' } else { '0' });
                out.push(char::from_digit(c as u32 & 15, 16).unwrap_or('0'));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The order of RFC 8785: by UTF-16 code units, which differs from UTF-8 above U+FFFF.
fn utf16_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// RFC 7493 forbids noncharacters as well as surrogates in strings.
const fn is_noncharacter(c: char) -> bool {
    (c as u32) & 0xfffe == 0xfffe || (c as u32 >= 0xfdd0 && c as u32 <= 0xfdef)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Strict,
    Canonical,
    Foreign,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    rules: Rules,
    /// How deeply arrays and objects may be nested.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8], rules: Rules) -> Result<Self> {
        let text = core::str::from_utf8(bytes).map_err(|_| Code::JsonUtf8)?;
        if text.starts_with('\u{feff}') {
            return Err(Code::JsonUtf8.into());
        }
        let depth = if rules == Rules::Foreign { MAX_FOREIGN_DEPTH } else { MAX_DEPTH };
        Ok(Self { text, at: 0, rules, depth })
    }

    fn document(mut self) -> Result<Value> {
        self.space()?;
        let value = self.value(0)?;
        self.space()?;
        if self.at == self.text.len() { Ok(value) } else { Err(self.syntax()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn syntax(&self) -> Error {
        Error::about(Code::JsonSyntax, format_args!("at byte {}", self.at))
    }

    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn space(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        if self.rules == Rules::Canonical && self.at > start {
            return Err(Code::JsonNotCanonical.into());
        }
        Ok(())
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.syntax())
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn descend(&mut self, depth: usize) -> Result<()> {
        if depth > self.depth {
            return Err(Code::JsonDepth.into());
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.descend(depth)?;
        let mut items = Vec::new();
        self.space()?;
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.space()?;
            items.push(self.value(depth)?);
            self.space()?;
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            if !self.eat(b',') {
                return Err(self.syntax());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.descend(depth)?;
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut sorted = true;
        self.space()?;
        if self.eat(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space()?;
            if self.peek() != Some(b'"') {
                return Err(self.syntax());
            }
            let name = self.string()?;
            self.space()?;
            if !self.eat(b':') {
                return Err(self.syntax());
            }
            self.space()?;
            let value = self.value(depth)?;
            if let Some(last) = members.last() {
                match utf16_order(&last.0, &name) {
                    Ordering::Less => {}
                    Ordering::Equal if self.rules != Rules::Foreign => {
                        return Err(Error::about(Code::JsonDuplicate, name));
                    }
                    _ => sorted = false,
                }
            }
            members.push((name, value));
            self.space()?;
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.syntax());
            }
        }
        if !sorted {
            members.sort_by(|a, b| utf16_order(&a.0, &b.0));
            if self.rules == Rules::Foreign {
                // The sort is stable: of equal names the last read comes first from the end.
                members.reverse();
                members.dedup_by(|b, a| a.0 == b.0);
                members.reverse();
            } else if let Some(twice) = members.windows(2).find(|w| w[0].0 == w[1].0) {
                return Err(Error::about(Code::JsonDuplicate, &twice[0].0));
            }
            if self.rules == Rules::Canonical {
                return Err(Code::JsonNotCanonical.into());
            }
        }
        Ok(Value::Object(members))
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        self.eat(b'-');
        let digits = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let refused = || Error::about(Code::JsonNumber, format_args!("at byte {start}"));
        if self.at == digits {
            return Err(self.syntax());
        }
        if self.at - digits > 1 && self.text.as_bytes()[digits] == b'0' {
            return Err(self.syntax());
        }
        if self.rules == Rules::Foreign {
            let integer = text.parse::<i64>().ok().filter(|n| n.abs() <= MAX_INTEGER);
            while matches!(self.peek(), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                self.at += 1;
            }
            let whole = self.at == start + text.len();
            return Ok(integer.filter(|_| whole).map_or(Value::Null, Value::Int));
        }
        if text == "-0" || matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(refused());
        }
        match text.parse::<i64>() {
            Ok(n) if n.abs() <= MAX_INTEGER => Ok(Value::Int(n)),
            _ => Err(refused()),
        }
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .bytes()
                .position(|b| b == b'"' || b == b'\\' || !(b' '..0x80).contains(&b))
                .ok_or_else(|| self.syntax())?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            let c = rest[plain..].chars().next().ok_or_else(|| self.syntax())?;
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => {
                    let start = self.at;
                    let before = out.len();
                    let c = self.escape()?;
                    out.push(c);
                    if self.rules == Rules::Canonical {
                        let mut again = String::new();
                        write_string(&out[before..], &mut again);
                        if again[1..again.len() - 1] != self.text[start..self.at] {
                            return Err(Code::JsonNotCanonical.into());
                        }
                    }
                }
                c if c < ' ' || (self.rules != Rules::Foreign && is_noncharacter(c)) => {
                    return Err(Error::about(
                        Code::JsonString,
                        format_args!("at byte {}", self.at),
                    ));
                }
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek().ok_or_else(|| self.syntax())? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let high = self.hex4()?;
                let mut scalar = high;
                if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        scalar = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = back;
                    }
                }
                let c = char::from_u32(scalar).filter(|c| !is_noncharacter(*c));
                if self.rules == Rules::Foreign {
                    return Ok(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                return c.ok_or_else(|| {
                    Error::about(Code::JsonString, format_args!("at byte {start}"))
                });
            }
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.syntax())?;
        let mut n = 0;
        for &d in digits {
            n = n * 16 + char::from(d).to_digit(16).ok_or_else(|| self.syntax())?;
        }
        self.at += 4;
        Ok(n)
    }
}

/// Takes an object's members one by one and refuses what is left over.
pub(crate) struct Members<'a> {
    members: &'a [(String, Value)],
    taken: u64,
}

impl<'a> Members<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(members) if members.len() <= 64 => Ok(Self { members, taken: 0 }),
            Value::Object(_) => Err(Error::about(Code::MemberUnknown, "more than 64 members")),
            _ => Err(Error::about(Code::MemberType, "an object is wanted")),
        }
    }

    pub(crate) fn optional(&mut self, name: &str) -> Option<&'a Value> {
        let at = self.members.iter().position(|m| m.0 == name)?;
        self.taken |= 1 << at;
        Some(&self.members[at].1)
    }

    pub(crate) fn required(&mut self, name: &str) -> Result<&'a Value> {
        self.optional(name).ok_or_else(|| Error::about(Code::MemberMissing, name))
    }

    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<&'a str>> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::about(Code::MemberType, name)),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<&'a str> {
        self.optional_text(name)?.ok_or_else(|| Error::about(Code::MemberMissing, name))
    }

    pub(crate) fn optional_int(&mut self, name: &str) -> Result<Option<i64>> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::Int(n)) => Ok(Some(*n)),
            Some(_) => Err(Error::about(Code::MemberType, name)),
        }
    }

    pub(crate) fn optional_array(&mut self, name: &str) -> Result<Option<&'a [Value]>> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(Error::about(Code::MemberType, name)),
        }
    }

    pub(crate) fn array(&mut self, name: &str) -> Result<&'a [Value]> {
        self.optional_array(name)?.ok_or_else(|| Error::about(Code::MemberMissing, name))
    }

    /// Takes `ext`, which is signed, kept and otherwise ignored, then refuses any leftover.
    pub(crate) fn finish_with_ext(mut self) -> Result<()> {
        match self.optional("ext") {
            None | Some(Value::Object(_)) => self.finish(),
            Some(_) => Err(Error::about(Code::MemberType, "ext")),
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        let left = self.members.iter().enumerate().find(|(at, _)| self.taken & 1 << at == 0);
        match left {
            None => Ok(()),
            Some((_, (name, _))) => Err(Error::about(Code::MemberUnknown, name)),
        }
    }
}
