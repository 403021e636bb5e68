//! host-meta (RFC 6415): where a host has its WebFinger, in XML or JSON.

use super::html::attribute;
use crate::{channel::encode, json::Value};
use alloc::{string::String, vec::Vec};

/// The URLs that answer for a resource, by the document's `lrdd` templates.
pub(super) fn urls(document: &[u8], resource: &str) -> Vec<String> {
    let mut templates = Vec::new();
    if let Ok(json) = Value::parse_foreign(document) {
        for link in json.get("links").and_then(Value::as_array).unwrap_or_default() {
            let text = |name| link.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("rel") == "lrdd" {
                templates.push(String::from(text("template")));
            }
        }
    } else {
        let text = String::from_utf8_lossy(document);
        for tag in text.split('<').filter(|tag| is_link(tag)) {
            let tag = tag.split('>').next().unwrap_or_default();
            if attribute(tag, "rel").as_deref() == Some("lrdd") {
                templates.extend(attribute(tag, "template"));
            }
        }
    }
    templates.retain(|template| template.starts_with("https://") && template.contains("{uri}"));
    templates.into_iter().map(|template| template.replace("{uri}", &encode(resource))).collect()
}

/// Whether a tag is `Link`, in any namespace.
fn is_link(tag: &str) -> bool {
    let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
    name.rsplit(':').next() == Some("Link")
}

#[cfg(test)]
mod tests {
    use super::urls;

    #[test]
    fn templates_in_both_forms() {
        let wanted = ["https://a.example/wf?x=1&resource=acct%3Aa%40b.example"];
        for document in [
            r#"<?xml version="1.0"?><XRD><Link rel="other" template="https://no.example/{uri}"/>
               <Link rel='lrdd' type="x" template='https://a.example/wf?x=1&amp;resource={uri}'/></XRD>"#,
            r#"<hm:XRD xmlns:hm="x"><hm:Link
               template="https://a.example/wf?x=1&amp;resource={uri}" rel="lrdd"></hm:Link>"#,
            r#"{"links": [{"rel": "lrdd", "template": "https://a.example/wf?x=1&resource={uri}"}]}"#,
        ] {
            assert_eq!(urls(document.as_bytes(), "acct:a@b.example"), wanted, "{document}");
        }
        for document in [
            r#"<Link rel="lrdd" template="http://a.example/{uri}"/>"#,
            r#"<Link rel="lrdd" template="https://a.example/"/>"#,
            r#"{"links": [{"rel": "lrdd"}]}"#,
            "<!doctype html><title>Home</title>",
        ] {
            assert!(urls(document.as_bytes(), "acct:a@b.example").is_empty(), "{document}");
        }
    }
}
