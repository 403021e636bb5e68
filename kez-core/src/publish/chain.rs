//! What a place does not have of a chain (SPEC.md, "Sigchain server").

use crate::{
    Chain, Code, Error, Result, Timestamp,
    fork::{Merge, merge},
    json::Value,
};
use alloc::{
    format,
    string::{String, ToString as _},
};

/// Where a sigchain server has that chain: its events are read with `GET`, and appended with
/// `POST` as `application/jsonl`.
#[must_use]
pub fn server_url(base: &str, chain: &Chain) -> String {
    format!("{}/v1/sigchains/{}", base.trim_end_matches('/'), chain.name())
}

/// The lines that a server lacks, by its answer to a `GET`; empty if it has all. If it has another
/// history, and the key that was committed to settles the fork for this chain, these are the lines
/// from the divergence on: the server settles the fork, too.
///
/// # Errors
/// `head_conflict` if it has newer events, or others that nothing settles, `publish_refused` for an answer that is none,
/// and those of [`Chain::replay`].
///
/// ```
/// use kez_core::{Chain, Scheme, SecretKey, Timestamp, publish};
///
/// let key = SecretKey::from_bytes(Scheme::Ed25519, [7; 32]).unwrap();
/// let chain = Chain::new(key.public().identity()).unwrap();
/// let now = Timestamp::from_seconds(1_767_225_600);
/// assert_eq!(publish::missing_at_server(&chain, 404, b"", now).unwrap(), "");
/// assert!(publish::missing_at_server(&chain, 500, b"", now).is_err());
/// ```
pub fn missing_at_server(
    chain: &Chain,
    status: u16,
    body: &[u8],
    now: Timestamp,
) -> Result<String> {
    let have = match status {
        200 => {
            let theirs = Chain::replay(body, Some(chain.name()), now)?;
            let seq = theirs.head().map_or(0, |h| h.seq);
            let shared = |seq: &u64| chain.id_at(*seq).filter(|id| theirs.id_at(*seq) == Some(*id));
            let common = (1..=seq).take_while(|seq| shared(seq).is_some()).last().unwrap_or(0);
            match merge(alloc::vec![chain.clone(), theirs.clone()])? {
                Merge::Same(longest) if longest.head() == chain.head() => seq,
                Merge::Settled(settled) if settled.head() == chain.head() => common,
                _ => return Err(Error::about(Code::HeadConflict, chain.name().to_string())),
            }
        }
        404 => 0,
        _ => return Err(Error::about(Code::PublishRefused, format!("HTTP status {status}"))),
    };
    let skip = usize::try_from(have).unwrap_or(usize::MAX);
    Ok(chain.lines().iter().skip(skip).map(|l| format!("{l}\n")).collect())
}

/// Whether a server took lines that diverge from its chain as evidence of a fork, by its answer to
/// the `POST`.
///
/// # Errors
/// As [`appended_at_server`].
pub fn given_as_evidence(status: u16, body: &[u8]) -> Result<bool> {
    let problem = Value::parse_foreign(body).ok().filter(|_| status == 409);
    let code = problem.as_ref().and_then(|problem| problem.get("code")).and_then(Value::as_str);
    if code == Some(Code::Forked.as_str()) {
        return Ok(true);
    }
    appended_at_server(status, body).map(|()| false)
}

/// What a server's answer to the `POST` means.
///
/// # Errors
/// `head_conflict`, `publish_refused`.
pub fn appended_at_server(status: u16, body: &[u8]) -> Result<()> {
    match status {
        200 | 201 => Ok(()),
        409 => Err(Error::about(Code::HeadConflict, "the server has newer events")),
        _ => {
            let body: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Err(Error::about(Code::PublishRefused, format!("HTTP status {status}: {body}")))
        }
    }
}
