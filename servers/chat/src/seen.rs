//! Signatures count once: at this server, and at all that share a stream with it.

use crate::store::Store;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use futures_util::StreamExt as _;
use kez_core::chat::auth::WINDOW_MS;
use kez_server::nats;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Where servers tell each other what they have seen.
const SUBJECT: &str = "kez.chat.seen";
/// What is signed of a nonce: the servers' key signs commands, too, and none begins so.
const PURPOSE: &[u8] = b"KEZ-SEEN";
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Signatures that were used, for as long as they would count: two generations, each of a whole
/// window in both directions.
#[derive(Default)]
pub(crate) struct Seen {
    own: Mutex<Generations>,
    others: Option<(nats::Client, SigningKey)>,
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
        Self { others: store.others(), ..Self::default() }
    }

    /// Whether a signature is new. The other servers are told of it; who uses it at two of them in
    /// the moment that this takes is let in twice.
    pub(crate) async fn insert(&self, nonce: [u8; 32], now_ms: u64) -> bool {
        let new = self.note(nonce, now_ms);
        if let Some((client, key)) = self.others.as_ref().filter(|_| new) {
            let signature = key.sign(&[PURPOSE, &nonce].concat()).to_bytes();
            let message = [&nonce[..], &signature].concat();
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
        let public = key.verifying_key();
        loop {
            match client.subscribe(SUBJECT).await {
                Ok(mut told) => {
                    while let Some(message) = told.next().await {
                        let Some((nonce, signature)) = message.payload.split_first_chunk() else {
                            continue;
                        };
                        let Ok(signature) = Signature::from_slice(signature) else { continue };
                        let text = [PURPOSE, nonce].concat();
                        if public.verify_strict(&text, &signature).is_ok() {
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
