//! The time of what is signed. A wrong clock must not date an event so that others refuse the chain,
//! and a date must not lock owners out of their own chain.
//!
//! The hint for the right time is the `Date` of answers by the servers that the user configured.
//! Other servers do not count: the author of a claim chooses them.

use crate::{
    home::Home,
    host::{Access, Net},
    output::Out,
    run::Context,
};
use kez_core::{
    Chain, Code, Endpoints, Error, MAX_SKEW, Op, Result, Timestamp, human_span,
    transport::{Answer, Body, Request, Via, header},
};
use serde::{Deserialize, Serialize};
use std::time::UNIX_EPOCH;

/// The file with the last observation.
const FILE: &str = "clock.json";
/// An observation of the same kind is stored again after this many seconds.
const AGAIN: i64 = 3600;

/// A configured server's date, and the clock when it came. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Observation {
    served: i64,
    clock: i64,
}

impl Observation {
    /// How many seconds the clock was ahead; negative if it was behind.
    const fn ahead(self) -> i64 {
        self.clock - self.served
    }

    /// 1 if the clock was ahead by more than readers accept, -1 if it was behind, else 0.
    const fn fault(self) -> i64 {
        if self.ahead().abs() > MAX_SKEW { self.ahead().signum() } else { 0 }
    }
}

/// The URLs of the servers whose dates count.
pub(crate) fn trusted(endpoints: &Endpoints) -> Vec<String> {
    let servers = endpoints.sig_servers.iter().map(|server| &server.url);
    let platforms = [&endpoints.github, &endpoints.plc, &endpoints.bluesky];
    servers.chain(platforms).cloned().collect()
}

/// Stores the date of an answer, if its server counts.
pub(crate) fn observe(home: &Home<'_>, trusted: &[String], request: &Request, answer: &Answer) {
    let (Request::Http { url, .. }, Body::Http { headers, redirected_to: None, .. }) =
        (request, &answer.body)
    else {
        return;
    };
    let below = |base: &String| {
        url.strip_prefix(base.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if answer.via != Via::Direct || !trusted.iter().any(below) {
        return;
    }
    let date = header(headers, "date").and_then(|date| httpdate::parse_http_date(date).ok());
    let served = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    let Some(served) = served.and_then(|since| i64::try_from(since.as_secs()).ok()) else { return };
    let new = Observation { served, clock: home.host.now().seconds() };
    let known = stored(home);
    let same = |old: Observation| {
        old.fault() == new.fault() && (0..AGAIN).contains(&(new.clock - old.clock))
    };
    if known.is_some_and(same) {
        return;
    }
    // Without the file the clock is only trusted more.
    if let Ok(text) = serde_json::to_vec(&new) {
        let _ = home.write(&home.path(FILE), &text, Access::Private);
    }
}

fn stored(home: &Home<'_>) -> Option<Observation> {
    let text = home.look_up(&home.path(FILE), 1024).ok()??;
    serde_json::from_slice(&text).ok()
}

/// The time to sign with: that of `--at`, else the clock's.
///
/// # Errors
/// `chain_future` if the clock is ahead of the last date of a configured server, `chain_time` if it
/// is behind it, each by more than readers accept; `chain_future` if `--at` is more than 31 days
/// ahead of both.
pub(crate) fn signing_time(context: &Context<'_, impl Net>) -> Result<Timestamp> {
    let now = context.host.now();
    if let Some(at) = context.global.at {
        return check_given(context, at, now);
    }
    let Some(seen) = stored(context.home) else { return Ok(now) };
    let repair = "set the clock, or give the right time with --at";
    if now.seconds() < seen.served - MAX_SKEW {
        let behind = human_span(seen.served - now.seconds());
        let why = format!("your clock is at least {behind} behind: {repair}");
        return Err(Error::about(Code::ChainTime, why));
    }
    // A clock that was set back since is no longer the one that was observed.
    if seen.fault() > 0 && now.seconds() >= seen.clock {
        let ahead = human_span(seen.ahead());
        let why =
            format!("your clock was {ahead} ahead of the last server that was asked: {repair}");
        return Err(Error::about(Code::ChainFuture, why));
    }
    Ok(now)
}

/// How far ahead of the clock, or of a server's date, `--at` may sign, in seconds.
const MAX_AHEAD: i64 = 31 * 86_400;

/// A typing error in `--at` must not end a chain: others refuse an event, and all that follow it,
/// until its date.
fn check_given(
    context: &Context<'_, impl Net>,
    at: Timestamp,
    now: Timestamp,
) -> Result<Timestamp> {
    let served = stored(context.home).map_or(i64::MIN, |seen| seen.served);
    let ahead = at.seconds() - now.seconds().max(served);
    if ahead <= MAX_AHEAD {
        return Ok(at);
    }
    let why = format!(
        "--at is {} ahead of your clock: others would refuse the chain until then. If the clock is \
         wrong, set it",
        human_span(ahead)
    );
    Err(Error::about(Code::ChainFuture, why))
}

/// The date of the chain's next event: the time to sign with, but never before the last event.
///
/// What protects the owner is signed even if the last event has a date in the future, with that
/// date: `revoke`, `revoke_device` and `rotate`.
///
/// # Errors
/// As [`signing_time`]; `chain_time` if the last event is later by more than readers accept.
pub(crate) fn event_time(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    op: &Op,
) -> Result<Timestamp> {
    let now = signing_time(context)?;
    let Some(last) = chain.events().last().map(|event| event.created_at) else { return Ok(now) };
    let ahead = last.seconds() - now.seconds();
    if ahead <= 0 {
        return Ok(now);
    }
    let protects = matches!(op, Op::Revoke { .. } | Op::RevokeDevice { .. } | Op::Rotate { .. });
    if ahead > MAX_SKEW && !protects {
        let why = format!(
            "the last event is dated {last}, {} ahead of your clock. If the clock is wrong, set it; \
             if the event is, wait until then, or sign with its date: --at {last}",
            human_span(ahead)
        );
        return Err(Error::about(Code::ChainTime, why));
    }
    if ahead > MAX_SKEW {
        out.hint(&format!(
            "kez: warning: the event is dated {last}, as the last one: others accept neither before then"
        ));
    }
    Ok(last)
}

/// Warns if other readers refuse a part of the chain, because it is dated in the future.
pub(crate) fn warn(context: &Context<'_, impl Net>, out: &Out<'_>, chain: &Chain) {
    let now = context.host.now();
    let future = chain.events().iter().find(|event| event.created_at.is_future(now));
    if let Some(event) = future {
        out.hint(&format!(
            "kez: warning: others refuse your chain from event {} on until {}, its date",
            event.seq, event.created_at
        ));
    }
}
