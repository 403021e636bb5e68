//! Signatures count once: at this server, after its restart, and at all servers that share a stream
//! with it.

use crate::{
    journal::{Journal, Nonce},
    store::Store,
};
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kez_core::chat::auth::WINDOW_MS;
use kez_server::nats;
use sha2::Sha256;
use std::{
    collections::HashSet,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Where servers tell each other what they have seen.
const SUBJECT: &str = "kez.chat.seen";
/// What of the servers' key they know each other by here.
const PURPOSE: &[u8] = b"KEZ-SEEN";
/// How long nothing is tried after a failure, and how often the clock is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Signatures that were used, for as long as they would count: two generations, each of a whole
/// window in both directions.
pub(crate) struct Seen {
    own: Mutex<Generations>,
    /// Signatures up to this time, in milliseconds since 1970, may have been used before the start.
    doubtful: u64,
    /// How the others are told, and what they know this server by.
    others: Option<(nats::Client, Hmac<Sha256>)>,
}

struct Generations {
    since: u64,
    now: HashSet<Nonce>,
    before: HashSet<Nonce>,
    journal: Journal,
}

impl Seen {
    /// What was seen by this server, and by those that share the store's stream.
    ///
    /// # Errors
    /// What the file system says of the files in the store's folder.
    pub(crate) fn of(store: &Store) -> io::Result<Self> {
        let (journal, found) = Journal::open(store.dir())?;
        let since = crate::now_ms();
        let doubtful = if found.incomplete { since + WINDOW_MS } else { 0 };
        if found.incomplete {
            tracing::warn!(
                "the machine stopped before used signatures were on the disk: requests are \
                 answered in {} s",
                WINDOW_MS / 1000
            );
        }
        let own = Generations { since, now: HashSet::new(), before: found.nonces, journal };
        let others = store.others().and_then(|(client, key)| {
            let key = Hmac::new_from_slice(&[PURPOSE, key.as_bytes()].concat()).ok()?;
            Some((client, key))
        });
        Ok(Self { own: Mutex::new(own), doubtful, others })
    }

    /// For how many seconds a signature of a time is refused, because it may have been used before
    /// the start.
    pub(crate) fn wait(&self, signed_ms: u64, now_ms: u64) -> Option<u64> {
        let wait = (signed_ms <= self.doubtful).then(|| self.doubtful.saturating_sub(now_ms));
        wait.map(|ms| ms / 1000 + 1)
    }

    /// Whether a signature is new. The other servers are told of it; who uses it at two of them in
    /// the moment that this takes is let in twice.
    pub(crate) async fn insert(&self, nonce: Nonce, now_ms: u64) -> bool {
        let new = self.note(nonce, now_ms);
        if let Some((client, key)) = self.others.as_ref().filter(|_| new) {
            let tag = key.clone().chain_update(nonce).finalize().into_bytes();
            let message = [&nonce[..], &tag].concat();
            // Where NATS is gone, nobody is let in anyway: the store is not current.
            let _ = client.publish(SUBJECT, message.into()).await;
        }
        new
    }

    fn note(&self, nonce: Nonce, now_ms: u64) -> bool {
        let mut seen = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(seen.since) > 2 * WINDOW_MS {
            seen.before = std::mem::take(&mut seen.now);
            seen.journal.rotate();
            // After a silence, what was seen before counts no more either.
            if now_ms.saturating_sub(seen.since) > 4 * WINDOW_MS {
                seen.before.clear();
            }
            seen.since = now_ms;
        }
        let new = !seen.before.contains(&nonce) && seen.now.insert(nonce);
        if new {
            seen.journal.note(&nonce);
        }
        new
    }

    /// Hears of what others have seen, without an end, and settles the doubt when its time is over.
    pub(crate) async fn listen(&self) {
        tokio::join!(self.hear(), self.settle());
    }

    /// A signature of before the start can have a time of up to [`Seen::doubtful`], and counts for a
    /// window after that. Until then another start must doubt, too.
    async fn settle(&self) {
        if self.doubtful > 0 {
            while crate::now_ms() <= self.doubtful + WINDOW_MS {
                sleep(PAUSE).await;
            }
            self.own.lock().unwrap_or_else(PoisonError::into_inner).journal.settle();
        }
    }

    async fn hear(&self) {
        let Some((client, key)) = &self.others else { return std::future::pending().await };
        loop {
            match client.subscribe(SUBJECT).await {
                Ok(mut told) => {
                    while let Some(message) = told.next().await {
                        let Some((nonce, tag)) = message.payload.split_first_chunk() else {
                            continue;
                        };
                        if key.clone().chain_update(nonce).verify_slice(tag).is_ok() {
                            self.note(*nonce, crate::now_ms());
                        }
                    }
                }
                Err(error) => tracing::warn!("NATS: {SUBJECT}: {error}"),
            }
            sleep(PAUSE).await;
        }
    }
}
