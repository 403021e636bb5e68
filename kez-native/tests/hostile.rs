//! Servers that lie, drip, redirect and never answer: a clear error within the limits, and
//! memory that stays bounded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::User;
use kez_cli::Settings;
use kez_core::{
    Code, Transport as _,
    json::Value,
    transport::{Body, Failure, Request},
};
use kez_native::transport::Native;
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// A server that answers every connection by a function, on a free port.
fn serve(answer: impl Fn(TcpStream, String) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, mut stream) = (answer.clone(), stream.unwrap());
            thread::spawn(move || {
                let mut head = [0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                answer(stream, String::from_utf8_lossy(&head[..length]).into_owned());
            });
        }
    });
    port
}

/// A server that sends these bytes and closes.
fn says(text: impl Into<Vec<u8>>) -> u16 {
    let text = text.into();
    serve(move |mut stream, _| {
        let _ = stream.write_all(&text);
    })
}

fn ok(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn native(loopback: bool) -> Native {
    native_with(Settings { danger_allow_loopback: loopback, ..Settings::default() })
}

fn native_with(settings: Settings) -> Native {
    Native::new(settings).with_seconds(2)
}

fn fetch(native: &Native, request: &Request) -> Result<kez_core::transport::Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(native.fetch(request))
}

fn get(native: &Native, url: impl Into<String>) -> Result<Body, Code> {
    let result = fetch(native, &Request::get(url.into(), "application/json"));
    result.map(|answer| answer.body).map_err(|failure| failure.code)
}

/// A request for one event.
fn from_relay(port: u16) -> Request {
    let filters = vec![Value::object([("limit", Value::Int(1))])];
    Request::Relay { url: format!("ws://127.0.0.1:{port}"), filters }
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// KEZ-TRN-04
#[test]
fn one_byte_a_second() {
    let port = serve(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(300));
        }
    });
    let start = Instant::now();
    assert_eq!(get(&native(true), local(port)), Err(Code::Timeout));
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn never_answers() {
    let port = serve(|stream, _| {
        thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    assert_eq!(get(&native(true), local(port)), Err(Code::Timeout));
    let relay = from_relay(port);
    assert_eq!(fetch(&native(true), &relay).unwrap_err().code, Code::Timeout);
}

/// KEZ-TRN-04
#[test]
fn an_endless_body() {
    let port = serve(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        let chunk = vec![b' '; 1 << 16];
        while stream.write_all(&chunk).is_ok() {}
    });
    let before = peak_kib();
    assert_eq!(get(&native(true), local(port)), Err(Code::BodyTooLarge));
    assert!(peak_kib() - before < 32 * 1024, "memory is bounded");
    let declared = says("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n");
    assert_eq!(get(&native(true), local(declared)), Err(Code::BodyTooLarge));
}

/// A server that redirects everything.
fn redirect(to: &str) -> u16 {
    says(format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ))
}

/// KEZ-TRN-03
#[test]
fn redirects() {
    let target = says(ok("application/json", "{}"));
    // Another port is another server, and so is another host or scheme.
    for to in [
        local(target),
        "https://example.com/".into(),
        "file:///etc/passwd".into(),
        "//127.0.0.1:1/".into(),
    ] {
        let port = redirect(&to);
        assert_eq!(get(&native(true), local(port)), Err(Code::RedirectRefused));
    }
    let looping = redirect("/again");
    assert_eq!(get(&native(true), local(looping)), Err(Code::RedirectRefused));
    // On the same server it is followed.
    let port = serve(|mut stream, head| {
        let text = if head.starts_with("GET /there") {
            ok("application/json", "[]")
        } else {
            "HTTP/1.1 301 Moved\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()
        };
        let _ = stream.write_all(text.as_bytes());
    });
    let there = format!("{}there", local(port));
    let body = get(&native(true), local(port)).unwrap();
    assert!(matches!(&body, Body::Http { status: 200, .. }));
    assert!(matches!(body, Body::Http { redirected_to: Some(to), .. } if to == there));
}

/// KEZ-TRN-03: content that authenticates itself may be elsewhere, but only at public addresses.
#[test]
fn public_redirects() {
    let target = says(ok("application/json", "{}"));
    let hosts = [("one.example", redirect("https://two.example/x")), ("two.example", target)]
        .map(|(host, port)| (host.to_owned(), local(port)));
    let settings = |more: &[(&str, u16)]| Settings {
        danger_allow_loopback: true,
        hosts: hosts
            .iter()
            .cloned()
            .chain(more.iter().map(|(host, port)| ((*host).to_owned(), local(*port))))
            .collect(),
        ..Settings::default()
    };
    let ask = |settings: Settings, url: &str, public: bool| {
        let request = if public { Request::get_public } else { Request::get };
        fetch(&native_with(settings), &request(url.into(), "*/*")).map(|answer| answer.body)
    };
    let body = ask(settings(&[]), "https://one.example/", true).unwrap();
    let Body::Http { status, redirected_to, .. } = body else { panic!() };
    assert_eq!((status, redirected_to.as_deref()), (200, Some("https://two.example/x")));
    let refused = ask(settings(&[]), "https://one.example/", false).unwrap_err();
    assert_eq!(refused.code, Code::RedirectRefused);
    assert_eq!(refused.detail.unwrap(), "one.example redirects to two.example");
    for to in
        ["http://two.example/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "file:///x"]
    {
        let more = [("bad.example", redirect(to))];
        let refused = ask(settings(&more), "https://bad.example/", true).unwrap_err();
        assert_eq!(refused.code, Code::RedirectRefused, "{to}");
    }
    let looping = [
        ("loop.example", redirect("https://pool.example/")),
        ("pool.example", redirect("https://loop.example/")),
    ];
    let refused = ask(settings(&looping), "https://loop.example/", true).unwrap_err();
    assert_eq!(refused.code, Code::RedirectRefused);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Some servers compress for every client.
#[test]
fn bodies_that_are_always_compressed() {
    let serve = |coding: &str, body: &[u8]| {
        let mut all = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        all.extend(body);
        says(all)
    };
    let body = |port| match get(&native(true), local(port)) {
        Ok(Body::Http { bytes, .. }) => Ok(bytes),
        Ok(_) => panic!("not HTTP"),
        Err(code) => Err(code),
    };
    assert_eq!(body(serve("gzip", &gzip(b"{}"))).unwrap(), b"{}");
    assert_eq!(body(serve("X-GZIP", &gzip(b"{}"))).unwrap(), b"{}");
    assert_eq!(body(serve("gzip", b"{}")), Err(Code::ResponseRefused));
    assert_eq!(body(serve("br", b"{}")), Err(Code::ResponseRefused));
    let cut = gzip(&[7; 1000]);
    assert_eq!(body(serve("gzip", &cut[..cut.len() - 9])), Err(Code::ResponseRefused));
    // The limit holds after decompression.
    let bomb = gzip(&vec![0; 64 << 20]);
    let before = peak_kib();
    assert_eq!(body(serve("gzip", &bomb)), Err(Code::BodyTooLarge));
    assert!(peak_kib() - before < 32 * 1024, "memory is bounded");
}

/// Of some pages only the head counts.
#[test]
fn the_head_of_a_page() {
    let page = "x".repeat(300 * 1024);
    let head = |port, limit| {
        let request = Request::head_of(local(port), "text/html", limit);
        match fetch(&native(true), &request).map(|answer| answer.body) {
            Ok(Body::Http { bytes, .. }) => bytes.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(head(says(ok("text/html", &page)), 1000), 1000);
    assert_eq!(head(says(ok("text/html", "short")), 1000), 5);
    let zipped = gzip(page.as_bytes());
    let mut all =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n".to_vec();
    all.extend(&zipped);
    assert_eq!(head(says(all.clone()), 1000), 1000);
    assert!(head(says(all), 200) <= 200, "the compressed body is cut too");
}

/// A host without address is not one that cannot be reached.
/// KEZ-TRN-07, KEZ-TRN-08
#[test]
fn hosts_without_address() {
    // A resolver that answers every question by a header with this response code.
    let resolver = |rcode: u8| {
        serve(move |mut stream, head| {
            use base64::Engine as _;
            let query = head.split("dns=").nth(1).and_then(|rest| rest.split(' ').next());
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let mut answer = engine.decode(query.unwrap()).unwrap();
            (answer[2], answer[3]) = (0x81, 0x80 | rcode);
            let mut all = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/dns-message\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            )
            .into_bytes();
            all.extend(answer);
            let _ = stream.write_all(&all);
        })
    };
    let ask = |rcode, request: &Request| {
        let settings = Settings {
            danger_allow_loopback: true,
            resolvers: vec![local(resolver(rcode))],
            ..Settings::default()
        };
        fetch(&native_with(settings), request).unwrap_err().code
    };
    let page = Request::get("https://nothing.invalid/".into(), "*/*");
    assert_eq!(ask(3, &page), Code::HostUnknown);
    assert_eq!(ask(0, &page), Code::HostUnknown);
    for rcode in [1, 2, 5] {
        assert_eq!(ask(rcode, &page), Code::DnsFailed, "{rcode}");
    }
    let filters = vec![Value::object([("limit", Value::Int(1))])];
    let relay = Request::Relay { url: "wss://nothing.invalid/".into(), filters };
    assert_eq!(ask(3, &relay), Code::HostUnknown);
}

/// KEZ-TRN-01, KEZ-TRN-02
#[test]
fn addresses_inside() {
    let port = says(ok("application/json", "{}"));
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "localhost",
        "a.localhost",
        "\u{2460}\u{2461}\u{2466}.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:db8::1]",
        "[2001::1]",
        "user:pw@example.com",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            assert_eq!(get(&native(false), url.as_str()), Err(Code::AddressRefused), "{url}");
        }
    }
    assert_eq!(get(&native(false), "http://example.com/"), Err(Code::AddressRefused));
    assert_eq!(get(&native(false), "file:///etc/passwd"), Err(Code::AddressRefused));
    let relay = Request::Relay { url: format!("ws://127.0.0.1:{port}"), filters: vec![] };
    assert_eq!(fetch(&native(false), &relay).unwrap_err().code, Code::AddressRefused);
    // A name that leads inside is refused after it was resolved: this machine's own name does.
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = name.trim();
    let leads_inside = std::net::ToSocketAddrs::to_socket_addrs(&(name, port))
        .is_ok_and(|mut found| found.all(|a| !kez_core::transport::is_public(a.ip())));
    if !name.is_empty() && leads_inside {
        let url = format!("https://{name}:{port}/");
        assert_eq!(get(&native(false), url), Err(Code::AddressRefused));
    }
}

#[test]
fn nothing_there_and_no_tls() {
    assert_eq!(get(&native(true), "http://127.0.0.1:1/"), Err(Code::ConnectFailed));
    let plain = says(ok("application/json", "{}"));
    let url = format!("https://127.0.0.1:{plain}/");
    assert_eq!(get(&native(true), url), Err(Code::TlsFailed));
    let rubbish = says("SSH-2.0-OpenSSH_9.9\r\n");
    assert_eq!(get(&native(true), local(rubbish)), Err(Code::ResponseRefused));
}

/// KEZ-TRN-05: a read is a GET with `Accept` and nothing that a browser would ask leave for.
/// KEZ-TRN-06
#[test]
fn what_a_request_looks_like() {
    let (send, receive) = std::sync::mpsc::channel();
    let port = serve(move |mut stream, head| {
        send.send(head).unwrap();
        let _ = stream.write_all(ok("application/json", "{}").as_bytes());
    });
    get(&native(true), local(port)).unwrap();
    let head = receive.recv().unwrap().to_lowercase();
    assert!(head.starts_with("get / http/1.1\r\n"), "{head}");
    let names: Vec<&str> =
        head.lines().skip(1).filter_map(|l| l.split_once(':')).map(|l| l.0).collect();
    assert!(names.iter().all(|n| ["accept", "user-agent", "host"].contains(n)), "{names:?}");
}

/// A relay that speaks by a script: what it sends after the client's REQ.
fn relay(lines: &'static [&'static str], more: bool) -> u16 {
    use tokio_tungstenite::tungstenite::{Message, accept};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut socket) = accept(stream.unwrap()) else { continue };
            let _ = socket.read();
            for line in lines {
                let _ = socket.send(Message::text(*line));
            }
            while more && socket.send(Message::text(lines[0])).is_ok() {}
            thread::sleep(Duration::from_secs(5));
        }
    });
    port
}

#[test]
fn relays_that_misbehave() {
    let ask = |port: u16| {
        fetch(&native(true), &from_relay(port)).map(|a| a.body).map_err(|f| (f.code, f.detail))
    };
    let code = |port: u16| ask(port).map_err(|(code, _)| code);
    for (line, expected) in [
        (r#"["CLOSED","kez1","auth-required: who are you?"]"#, Code::AuthRequired),
        (r#"["CLOSED","kez1","rate-limited: slow down"]"#, Code::RateLimited),
        (r#"["CLOSED","kez1","error: no"]"#, Code::RelayRefused),
        (r#"["CLOSED","kez1"]"#, Code::RelayRefused),
    ] {
        assert_eq!(code(relay(Box::leak(Box::new([line])), false)), Err(expected), "{line}");
    }
    // A relay that answers by a notice only has said what it does not like.
    let notice = relay(&[r#"["NOTICE","full of herrings"]"#], false);
    let (code_of_notice, words) = ask(notice).unwrap_err();
    assert_eq!((code_of_notice, words.as_deref()), (Code::RelayRefused, Some("full of herrings")));
    // It never ends: the answer is cut.
    let endless = relay(&[r#"["EVENT","kez1",{"kind":1}]"#], true);
    assert!(matches!(code(endless), Err(Code::SearchIncomplete | Code::Timeout)));
    // It says nothing that makes sense, and then the end.
    let odd = relay(&["[]", "{}", "nonsense", r#"["NOTICE","hi"]"#, r#"["EOSE","kez1"]"#], false);
    assert!(ask(odd).is_ok_and(|body| body.relay_events().next().is_none()));
    let silent = relay(&[r#"["EVENT","other",{}]"#], false);
    assert_eq!(code(silent), Err(Code::Timeout));
    assert_eq!(code(says(ok("text/html", "hello"))), Err(Code::ConnectFailed));
}

/// Events count when they came, however the conversation ends.
#[test]
fn relays_that_break_off() {
    const EVENT: &str = r#"["EVENT","kez1",{"id":"a","created_at":1}]"#;
    let ask = |lines: &'static [&'static str]| {
        let answer = fetch(&native(true), &from_relay(relay(lines, false))).unwrap();
        let Body::Relay { answers } = answer.body else { panic!() };
        assert_eq!(answers[0].events.len(), 1);
        answers[0].failure.as_ref().map(|failure| failure.code)
    };
    assert_eq!(ask(&[EVENT]), Some(Code::Timeout));
    let closed = Some(Code::RelayRefused);
    assert_eq!(ask(&[EVENT, r#"["CLOSED","kez1","error: shutting down"]"#]), closed);
    assert_eq!(ask(&[EVENT, r#"["EOSE","kez1"]"#]), None);
}

#[test]
fn answers_that_are_not_what_they_should_be() {
    let me = |port: u16| {
        let config =
            format!("danger_allow_loopback = true\ngithub = \"http://127.0.0.1:{port}\"\n");
        User::new("hostile-github", &config)
    };
    for body in ["<html>", "{", "[1]", r#"[{"files":{}}]"#, &"[".repeat(100_000)] {
        let port = says(ok("application/json", body));
        me(port).verify("github:a", &[]).expect(5, "unreachable", Some("response_refused"));
    }
    let html = says(ok("text/html", "[]"));
    me(html).verify("github:a", &[]).expect(5, "unreachable", Some("response_refused"));
    // KEZ-GH-02: the list is of somebody else.
    let other = r#"[{"owner":{"login":"b","id":1},"files":{"kez.md":{}},"id":"aa"}]"#;
    let port = says(ok("application/json", other));
    me(port).verify("github:a", &[]).expect(1, "invalid", Some("wrong_owner"));
}

#[test]
fn files_that_are_too_much() {
    let me = User::new("hostile-files", "");
    let run = |text: &str| me.run_with(text, &["verify", "file", "-"]);
    run(&"x".repeat(300 * 1024)).fails(1, "too_large");
    run(&"[".repeat(10_000)).fails(1, "proof_not_found");
    run(&format!("{{\"kez\":1,\"payload\":{}", "[".repeat(8000))).fails(1, "json_depth");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("long-line.jsonl");
    // A sparse file is one line of 100 MB that this process never holds.
    let mut file = std::fs::File::create(&path).unwrap();
    file.set_len(100 << 20).unwrap();
    let start = Instant::now();
    me.run(&["sigchain", "verify", path.to_str().unwrap()]).fails(1, "too_large");
    file.set_len(30 << 20).unwrap();
    me.run(&["sigchain", "verify", path.to_str().unwrap()]).fails(1, "line_syntax");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(b"\n").unwrap();
    me.run(&["sigchain", "verify", path.to_str().unwrap()]).fails(1, "too_large");
    assert!(start.elapsed() < Duration::from_secs(20));
    std::fs::remove_file(path).unwrap();
}
