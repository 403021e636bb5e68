//! The text of the small HTML that fediverse servers put into fields and bios. Tags are dropped,
//! link targets are read as well, and nothing is ever rendered.

use alloc::string::String;

/// The text, with each link's target on a line of its own after it.
pub(crate) fn to_text(html: &str) -> String {
    let mut out = String::new();
    let mut links = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        decode(&rest[..at], &mut out);
        let tag = &rest[at..];
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        let (tag, tail) = tag.split_at(end);
        let name = tag[1..].trim_start_matches('/');
        if ["br", "p", "/p", "div", "li"].iter().any(|n| is_tag(name, n)) {
            out.push('\n');
        }
        if let Some(href) = attribute(tag, "href") {
            links.push_str(&href);
            links.push('\n');
        }
        rest = tail;
    }
    decode(rest, &mut out);
    out.push('\n');
    out.push_str(&links);
    out
}

fn is_tag(name: &str, wanted: &str) -> bool {
    name.get(..wanted.len()).is_some_and(|n| n.eq_ignore_ascii_case(wanted))
        && !name[wanted.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The decoded value of a tag's attribute, in quotation marks of either kind.
pub(super) fn attribute(tag: &str, name: &str) -> Option<String> {
    let starts = tag.match_indices(name).filter(|(at, _)| {
        tag[..*at].chars().next_back().is_some_and(|c| c.is_whitespace() || matches!(c, '"' | '\''))
    });
    let value = starts.into_iter().find_map(|(at, _)| {
        let rest = tag[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    })?;
    let mut out = String::new();
    decode(value, &mut out);
    Some(out)
}

fn decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end <= 8);
        let decoded = end.and_then(|end| entity(&rest[1..end]));
        match (decoded, end) {
            (Some(c), Some(end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn joins_what_mastodon_splits() {
        let html = r#"<p>me: <a href="https://x.example/?a=1&amp;b=2" rel="nofollow"><span class="invisible">https://</span><span>x.example</span></a></p>"#;
        let text = to_text(html);
        assert!(text.contains("https://x.example\n"));
        assert!(text.contains("https://x.example/?a=1&b=2\n"));
    }

    #[test]
    fn hostile_markup_is_only_text() {
        assert_eq!(to_text("<scr<b>ipt>kez:x&#x26;&unknown;").trim(), "ipt>kez:x&&unknown;");
        assert_eq!(to_text("a<b").trim(), "a");
    }
}
