//! Rules that no vector can express: sizes beyond what a file of this repository may have, and what
//! a reader never does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use kez_core::{Code, Fork, Timestamp, transport::check_url};

/// KEZ-TRN-09
#[test]
fn urls_with_credentials() {
    for url in
        ["https://user@example.com/", "https://user:word@example.com/", "https://:w@a.example/"]
    {
        assert_eq!(check_url(url, true).unwrap_err().code, Code::AddressRefused, "{url}");
    }
    assert!(check_url("https://example.com/user@x", false).is_ok());
}

/// KEZ-FRK-06
#[test]
fn a_fork_object_of_64_mib() {
    let now = Timestamp::from_seconds(1_795_262_400);
    let read = |length: usize| Fork::from_json(&vec![b' '; length], now).unwrap_err().code();
    assert_eq!(read(64 * 1024 * 1024), Code::JsonSyntax);
    assert_eq!(read(64 * 1024 * 1024 + 1), Code::TooLarge);
}
