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
    let relay = Request::Relay { url: format!("ws://127.0.0.1:{port}"), filters: vec![] };
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

/// KEZ-TRN-03
#[test]
fn redirects() {
    let redirect = |to: String| {
        says(format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
    };
    let target = says(ok("application/json", "{}"));
    // Another port is another server, and so is another host or scheme.
    for to in [
        local(target),
        "https://example.com/".into(),
        "file:///etc/passwd".into(),
        "//127.0.0.1:1/".into(),
    ] {
        let port = redirect(to);
        assert_eq!(get(&native(true), local(port)), Err(Code::RedirectRefused));
    }
    let looping = redirect("/again".into());
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
    assert!(matches!(get(&native(true), local(port)), Ok(Body::Http { status: 200, .. })));
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
        let request = Request::Relay {
            url: format!("ws://127.0.0.1:{port}"),
            filters: vec![Value::object([("limit", Value::Int(1))])],
        };
        fetch(&native(true), &request).map(|a| a.body).map_err(|f| f.code)
    };
    for (line, code) in [
        (r#"["CLOSED","kez","auth-required: who are you?"]"#, Code::AuthRequired),
        (r#"["CLOSED","kez","rate-limited: slow down"]"#, Code::RateLimited),
        (r#"["CLOSED","kez","error: no"]"#, Code::RelayRefused),
    ] {
        assert_eq!(ask(relay(Box::leak(Box::new([line])), false)), Err(code), "{line}");
    }
    // It never ends: the answer is refused, or the time is up.
    let endless = relay(&[r#"["EVENT","kez",{"kind":1}]"#], true);
    assert!(matches!(ask(endless), Err(Code::BodyTooLarge | Code::Timeout)));
    // It says nothing that makes sense, and then the end.
    let odd = relay(&["[]", "{}", "nonsense", r#"["NOTICE","hi"]"#, r#"["EOSE","kez"]"#], false);
    assert!(ask(odd).is_ok_and(|body| body.relay_events().next().is_none()));
    let silent = relay(&[r#"["EVENT","other",{}]"#], false);
    assert_eq!(ask(silent), Err(Code::Timeout));
    assert_eq!(ask(says(ok("text/html", "hello"))), Err(Code::ConnectFailed));
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
    run(&format!("{{\"a\":{}", "[".repeat(8000))).fails(1, "json_depth");
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
