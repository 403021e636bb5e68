//! Names and pages, with a network in memory.

use super::{page, resolve};
use crate::{
    Code, Input, Timestamp,
    transport::{Answer, Body, Failure, Request, Transport, Via},
};
use alloc::{format, string::String, vec::Vec};
use futures_util::FutureExt as _;

const HEX: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const ALICE: &str = r#"{"id":"https://a.example/u/alice","preferredUsername":"Alice"}"#;

/// What each URL answers: a status and a body. Every other URL is 404.
struct Web<'a>(&'a [(&'a str, u16, &'a str)]);

impl Transport for Web<'_> {
    async fn fetch(&self, request: &Request) -> Result<Answer, Failure> {
        let Request::Http { url, .. } = request else {
            return Err(Failure::new(Code::ConnectFailed, "not a web request"));
        };
        if url.starts_with("https://nowhere.example/") {
            return Err(Failure::new(Code::HostUnknown, "NXDOMAIN"));
        }
        let found = self.0.iter().find(|(known, ..)| url == known);
        let (status, text) = found.map_or((404, ""), |(_, status, text)| (*status, text));
        let headers = Vec::from([("content-type".into(), "application/activity+json".into())]);
        let bytes = text.as_bytes().into();
        let body = Body::Http { status, headers, bytes, redirected_to: None };
        Ok(Answer { body, via: Via::Direct, fetched_at: Timestamp::from_seconds(1_795_262_400) })
    }

    async fn pause(&self, _: u32) {}
}

fn run(web: &[(&str, u16, &str)], input: &str) -> Result<String, Code> {
    let input = Input::parse(input).map_err(|error| error.code())?;
    let resolved = resolve(&Web(web), input).now_or_never().unwrap();
    resolved.map(|r| r.identity.as_str().into()).map_err(|miss| miss.code)
}

#[test]
fn names() {
    let finger = "https://a.example/.well-known/webfinger?resource=acct%3Aalice%40a.example";
    let nostr = "https://a.example/.well-known/nostr.json?name=alice";
    let jrd = r#"{"subject":"acct:alice@a.example"}"#;
    let names = &format!(r#"{{"names":{{"alice":"{HEX}"}}}}"#)[..];
    let ap = Ok("ap:alice@a.example".into());
    let npub = Ok("nostr:npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d".into());
    let both = [(finger, 200, jrd), (nostr, 200, names)];
    assert_eq!(run(&both, "alice@a.example"), ap);
    assert_eq!(run(&both, "Alice@a.example"), ap);
    assert_eq!(run(&both, "nostr:alice@a.example"), npub);
    assert_eq!(run(&both[1..], "alice@a.example"), npub);
    assert_eq!(run(&[(finger, 500, ""), (nostr, 200, names)], "alice@a.example"), npub);
    assert_eq!(run(&[(finger, 500, "")], "alice@a.example"), Err(Code::HttpStatus));
    assert_eq!(run(&[(nostr, 503, "")], "alice@a.example"), Err(Code::HttpStatus));
    assert_eq!(run(&[(finger, 200, "<html>")], "alice@a.example"), Err(Code::ResponseRefused));
    assert_eq!(run(&[(nostr, 200, "<html>")], "alice@a.example"), Err(Code::IdentityNotFound));
    assert_eq!(run(&[], "alice@a.example"), Err(Code::IdentityNotFound));
    assert_eq!(run(&[], "alice@nowhere.example"), Err(Code::IdentityNotFound));
    assert_eq!(run(&[], "nostr:alice@a.example"), Err(Code::IdentityNotFound));
    let other = [(nostr, 200, r#"{"names":{"alice":"npub1"}}"#)];
    assert_eq!(run(&other, "alice@a.example"), Err(Code::ResponseRefused));
    let meta = [("https://a.example/.well-known/host-meta", 200, r#"<Link rel="lrdd"/>"#)];
    assert_eq!(run(&meta, "alice@a.example"), ap);
}

#[test]
fn pages() {
    let url = "https://a.example/u/alice";
    let finger =
        "https://a.example/.well-known/webfinger?resource=https%3A%2F%2Fa.example%2Fu%2Falice";
    let ap = Ok("ap:alice@a.example".into());
    let link = r#"<link rel=alternate type="application/activity+json" href="/u/alice">"#;
    assert_eq!(run(&[(finger, 200, r#"{"subject":"acct:Alice@a.example"}"#)], url), ap);
    assert_eq!(
        run(&[(finger, 200, r#"{"subject":"acct:admin@other.example"}"#)], url),
        Err(Code::IdentityRefused)
    );
    // The page and its actor are one URL here.
    assert_eq!(
        run(
            &[("https://a.example/u/alice?x", 200, link), (url, 200, ALICE)],
            "https://a.example/u/alice?x"
        ),
        ap
    );
    assert_eq!(
        run(
            &[("https://a.example/u/alice/posts", 200, link), (url, 200, ALICE)],
            "https://a.example/u/alice/posts"
        ),
        ap
    );
    // An actor that does not call the page its own.
    assert_eq!(
        run(
            &[("https://a.example/u/mallory", 200, link), (url, 200, ALICE)],
            "https://a.example/u/mallory"
        ),
        Err(Code::IdentityRefused)
    );
    let foreign = r#"<link rel="alternate" type="application/activity+json" href="https://a.example/u/alice">"#;
    assert_eq!(
        run(
            &[("https://evil.example/x", 200, foreign), (url, 200, ALICE)],
            "https://evil.example/x"
        ),
        Err(Code::IdentityRefused)
    );
    assert_eq!(run(&[], url), Err(Code::IdentityRefused));
    assert_eq!(run(&[(url, 503, "")], url), Err(Code::IdentityRefused));
}

#[test]
fn links_of_pages() {
    let found = |html: &str| page::actor_link(html, "a.example");
    let activity = "application/activity+json";
    let link = |href: &str| format!("<LINK href='{href}' type='{activity}' rel='me Alternate'/>");
    assert_eq!(found(&link("/a?b&amp;c")).as_deref(), Some("https://a.example/a?b&c"));
    assert_eq!(found(&link("https://b.example/")).as_deref(), Some("https://b.example/"));
    for html in [
        link("//evil.example/"),
        link("a"),
        format!("<!-- {} -->", link("/a")),
        format!("<!-- {}", link("/a")),
        format!("<script>{}</script>", link("/a")),
        format!("<title>{}", link("/a")),
        format!("<body>{}", link("/a")),
        format!("<link rel=alternate href=/a><link type={activity} href=/a>"),
        "<link rel=\"alternate".into(),
        "<".repeat(100_000),
        "<link ".repeat(20_000),
    ] {
        assert_eq!(found(&html), None, "{}", html.get(..80).unwrap_or(&html));
    }
    let ld = r#"<link rel=alternate type='application/ld+json; profile="https://www.w3.org/ns/activitystreams"' href=/a>"#;
    assert!(found(ld).is_some());
}
