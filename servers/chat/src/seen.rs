//! Signatures count once: at this server, and at all that share a stream with it.

use crate::store::Store;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kez_core::chat::auth::WINDOW_MS;
use kez_server::nats;
use sha2::Sha256;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Where servers tell each other what they have seen.
const SUBJECT: &str = "kez.chat.seen";
/// What of the servers' key they know each other by here.
const PURPOSE: &[u8] = b"KEZ-SEEN";
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Signatures that were used, for as long as they would count: two generations, each of a whole
/// window in both directions.
#[derive(Default)]
pub(crate) struct Seen {
    own: Mutex<Generations>,
    /// How the others are told, and what they know this server by.
    others: Option<(nats::Client, Hmac<Sha256>)>,
}

#[derive(Default)]
struct Generations {
    since: u64,
    now: HashSet<[u8; 32]>,
    before: HashSet<[u8; 32]>,
}

impl Seen {
    /// What was seen by this server, and by those that share the store's stream.
    pub(crate) fn of(store: &Store) -> Self {
        let others = store.others().and_then(|(client, key)| {
            let key = Hmac::new_from_slice(&[PURPOSE, key.as_bytes()].concat()).ok()?;
            Some((client, key))
        });
        Self { others, ..Self::default() }
    }

    /// Whether a signature is new. The other servers are told of it; who uses it at two of them in
    /// the moment that this takes is let in twice.
    pub(crate) async fn insert(&self, nonce: [u8; 32], now_ms: u64) -> bool {
        let new = self.note(nonce, now_ms);
        if let Some((client, key)) = self.others.as_ref().filter(|_| new) {
            let tag = key.clone().chain_update(nonce).finalize().into_bytes();
            let message = [&nonce[..], &tag].concat();
            // Where NATS is gone, nobody is let in anyway: the store is not current.
            let _ = client.publish(SUBJECT, message.into()).await;
        }
        new
    }

    fn note(&self, nonce: [u8; 32], now_ms: u64) -> bool {
        let mut seen = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(seen.since) > 2 * WINDOW_MS {
            seen.before = std::mem::take(&mut seen.now);
            // After a silence, what was seen before counts no more either.
            if now_ms.saturating_sub(seen.since) > 4 * WINDOW_MS {
                seen.before.clear();
            }
            seen.since = now_ms;
        }
        !seen.before.contains(&nonce) && seen.now.insert(nonce)
    }

    /// Hears of what others have seen, for ever.
    pub(crate) async fn listen(&self) {
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
