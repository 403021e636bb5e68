//! The rel=me links of a page, by the HTML standard's own tokens.

use alloc::{string::String, vec::Vec};
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// The absolute links that a page marks with rel=me, in their order.
pub(super) fn links(page: &[u8]) -> Vec<String> {
    let mut emitter = DefaultEmitter::default();
    // What looks like a tag in a script or a style is none.
    emitter.naively_switch_states(true);
    let mut links: Vec<String> = Vec::new();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        let Some(link) = marked(&tag) else { continue };
        if !links.contains(&link) {
            links.push(link);
        }
    }
    links
}

fn marked(tag: &StartTag<()>) -> Option<String> {
    if !matches!(&tag.name[..], b"a" | b"link" | b"area") {
        return None;
    }
    let attribute = |name: &[u8]| {
        let value = tag.attributes.get(name)?;
        core::str::from_utf8(value).ok().map(str::trim)
    };
    let me = attribute(b"rel")?.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("me"));
    let href = attribute(b"href").filter(|href| me && href.contains("://"))?;
    Some(href.into())
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn only_what_the_page_marks() {
        let page = br#"<!doctype html><!-- <a rel="me" href="https://comment.example/"> -->
            <title><a rel=me href=https://title.example></title>
            <script>document.write('<a rel="me" href="https://script.example/">')</script>
            <style><a rel=me href=https://style.example></style>
            <textarea><a rel=me href=https://text.example></textarea>
            <link href='https://one.example/' REL='alternate Me'>
            <a data-rel="me" href="https://none.example/">no</a>
            <a rel="nofollow me" href="https://two.example/?a=1&amp;b=2">yes</a>
            <a href=https://three.example/ rel=me>yes</a><a rel=me href=/here>here</a>
            <a rel=me href=https://three.example/>again</a>
            <a rel=men href=https://men.example>no</a>"#;
        let found = links(page);
        let two = "https://two.example/?a=1&b=2";
        assert_eq!(found, ["https://one.example/", two, "https://three.example/"]);
    }
}
