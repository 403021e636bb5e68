//! Who is told of what came in: a channel for each inbox that somebody listens to.

use axum::body::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::broadcast;

/// How many items may wait for a subscriber. One that is slower reads from the storage.
pub const SLOTS: usize = 64;

/// What subscribers are told.
#[derive(Clone, Debug)]
pub enum News {
    /// An item, as it is sent: rendered once for all.
    Item {
        /// Its position in the inbox.
        position: u64,
        /// The event of the stream.
        frame: Bytes,
    },
    /// The devices of the inbox's owner changed: whoever listens has to be let in again.
    Devices,
}

/// Tells the subscribers of an inbox. The storage is the truth: what is lost here is read there.
pub trait Broker: Send + Sync {
    /// Tells whoever listens now. Nobody listening is no error.
    fn publish(&self, inbox: &str, news: News);
    /// Listens from now on.
    fn subscribe(&self, inbox: &str) -> Subscription;
    /// How many inboxes somebody listens to.
    fn inboxes(&self) -> usize;
}

type Channels = Mutex<HashMap<String, broadcast::Sender<News>>>;

/// The broker of a server that is alone.
#[derive(Clone, Default)]
pub struct Local(Arc<Channels>);

fn lock(
    channels: &Channels,
) -> std::sync::MutexGuard<'_, HashMap<String, broadcast::Sender<News>>> {
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker for Local {
    fn publish(&self, inbox: &str, news: News) {
        if let Some(channel) = lock(&self.0).get(inbox) {
            // The last subscriber may be leaving.
            let _ = channel.send(news);
        }
    }

    fn subscribe(&self, inbox: &str) -> Subscription {
        let mut channels = lock(&self.0);
        let channel = channels.entry(inbox.to_owned());
        let receiver = channel.or_insert_with(|| broadcast::channel(SLOTS).0).subscribe();
        Subscription { receiver: Some(receiver), inbox: inbox.into(), channels: self.0.clone() }
    }

    fn inboxes(&self) -> usize {
        lock(&self.0).len()
    }
}

/// A subscriber, until it is dropped.
pub struct Subscription {
    receiver: Option<broadcast::Receiver<News>>,
    inbox: Box<str>,
    channels: Arc<Channels>,
}

impl Subscription {
    /// The next news. `None` means that some were lost: there were too many, or the broker is
    /// gone.
    pub async fn next(&mut self) -> Option<News> {
        self.receiver.as_mut()?.recv().await.ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut channels = lock(&self.channels);
        self.receiver = None;
        if channels.get(&*self.inbox).is_some_and(|channel| channel.receiver_count() == 0) {
            channels.remove(&*self.inbox);
        }
    }
}
