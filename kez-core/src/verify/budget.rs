//! What one question about an identity may cost. A stranger decides which accounts a chain lists, so
//! the reader decides how many of them it asks for (SPEC.md, "The graph").

use crate::{
    Code,
    map::Map,
    transport::{Answer, Failure, Request, Via},
};
use alloc::format;
use core::cell::RefCell;

/// The number of accounts that are looked up, if the caller does not say.
pub const DEFAULT_ACCOUNTS: usize = 100;
/// Requests to one host, for each 100 accounts.
const HOST_REQUESTS: usize = 256;
/// Hosts in all, for each 100 accounts.
const HOSTS: usize = 256;
/// Requests in all, for each 100 accounts.
const REQUESTS: usize = 2048;
/// Milliseconds for the lookups of a chain's accounts, for each 100 accounts.
const MILLISECONDS: usize = 20_000;
/// A host that has not answered this many requests in time is asked no more. One is enough if it has
/// never answered.
const MAX_TIMEOUTS: usize = 2;

/// The limits of the requests for one identity, and what has been used of them. Beyond a limit a
/// request fails with `search_incomplete`, so that what was not checked is never taken for absent.
///
/// Several questions may share a budget. Answers from a cache do not count.
///
/// ```
/// use kez_core::Budget;
/// assert_eq!(Budget::default().accounts(), 100);
/// // Four times as many requests, hosts and seconds as by default.
/// assert_eq!(Budget::for_accounts(400).accounts(), 400);
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    accounts: usize,
    used: RefCell<Used>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::for_accounts(DEFAULT_ACCOUNTS)
    }
}

#[derive(Clone, Debug, Default)]
struct Used {
    requests: usize,
    hosts: usize,
    by_host: Map<Host>,
}

#[derive(Clone, Debug, Default)]
struct Host {
    requests: usize,
    timeouts: usize,
    answers: usize,
}

impl Host {
    const fn hangs(&self) -> bool {
        self.timeouts >= MAX_TIMEOUTS || (self.timeouts > 0 && self.answers == 0)
    }
}

impl Budget {
    /// A budget for a chain that lists up to this many accounts in force. The other limits grow with
    /// it; they are never smaller than those for 100 accounts.
    #[must_use]
    pub fn for_accounts(accounts: usize) -> Self {
        Self { accounts, used: RefCell::default() }
    }

    /// The number of accounts that are looked up at most.
    #[must_use]
    pub const fn accounts(&self) -> usize {
        self.accounts
    }

    /// The milliseconds that the lookups of a chain's accounts may take in all.
    pub(super) fn milliseconds(&self) -> u32 {
        u32::try_from(self.scaled(MILLISECONDS)).unwrap_or(u32::MAX)
    }

    fn scaled(&self, limit: usize) -> usize {
        limit.saturating_mul(self.accounts.div_ceil(DEFAULT_ACCOUNTS).max(1))
    }

    /// Counts a request before it is made.
    ///
    /// # Errors
    /// `search_incomplete` if a limit is reached.
    pub(super) fn take(&self, request: &Request) -> Result<(), Failure> {
        let host = host(request);
        let used = &mut *self.used.borrow_mut();
        let known = used.by_host.get(host).cloned().unwrap_or_default();
        let why = if known.hangs() {
            format!("{host} did not answer in time and was not asked again")
        } else if known.requests >= self.scaled(HOST_REQUESTS) {
            format!("{host} was asked {} times and was not asked again", known.requests)
        } else if known.requests == 0 && used.hosts >= self.scaled(HOSTS) {
            format!("{} hosts were asked, and {host} was not", used.hosts)
        } else if used.requests >= self.scaled(REQUESTS) {
            format!("{} requests were made, and {host} was not asked again", used.requests)
        } else {
            used.requests += 1;
            used.hosts += usize::from(known.requests == 0);
            used.by_host.insert(host, Host { requests: known.requests + 1, ..known });
            return Ok(());
        };
        Err(Failure::new(Code::SearchIncomplete, why))
    }

    /// Counts what came of a request.
    pub(super) fn answered(&self, request: &Request, answer: &Result<Answer, Failure>) {
        let used = &mut *self.used.borrow_mut();
        let Some(host) = used.by_host.get_mut(host(request)) else { return };
        match answer {
            // Nothing was asked.
            Ok(answer) if answer.via == Via::Cache => {
                host.requests = host.requests.saturating_sub(1);
                used.requests = used.requests.saturating_sub(1);
            }
            Err(failure) if failure.code == Code::Timeout => host.timeouts += 1,
            _ => host.answers += 1,
        }
    }
}

/// Who is asked: the host and port of a URL. All DNS questions go to the same resolvers.
fn host(request: &Request) -> &str {
    match request {
        Request::Http { url, .. } | Request::Relay { url, .. } => {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            rest.split(['/', '?', '#']).next().unwrap_or(rest)
        }
        Request::Txt { .. } => "the DNS resolver",
    }
}
