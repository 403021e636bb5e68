//! Publish and subscribe by topic, within one process. A publication wakes the subscribers of its
//! topic and no others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast::{self, error::RecvError};

type Channels<T> = Mutex<HashMap<Box<str>, broadcast::Sender<T>>>;

/// Topics with subscribers. Clones share them.
pub struct Topics<T> {
    channels: Arc<Channels<T>>,
    slots: usize,
}

impl<T> Clone for Topics<T> {
    fn clone(&self) -> Self {
        Self { channels: self.channels.clone(), slots: self.slots }
    }
}

fn lock<T>(channels: &Channels<T>) -> MutexGuard<'_, HashMap<Box<str>, broadcast::Sender<T>>> {
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone> Topics<T> {
    /// Topics whose subscribers may each be `slots` publications behind.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { channels: Arc::default(), slots }
    }

    /// Sends to the subscribers of a topic. Without any, nothing happens.
    pub fn publish(&self, topic: &str, news: T) {
        if let Some(channel) = lock(&self.channels).get(topic) {
            // The last subscriber may be about to drop its subscription.
            let _ = channel.send(news);
        }
    }

    /// Subscribes to a topic, for all publications from now on.
    #[must_use]
    pub fn subscribe(&self, topic: &str) -> Subscription<T> {
        let mut channels = lock(&self.channels);
        let channel = channels.entry(topic.into());
        let receiver = channel.or_insert_with(|| broadcast::channel(self.slots).0).subscribe();
        let channels = self.channels.clone();
        Subscription { receiver: Some(receiver), topic: topic.into(), channels }
    }

    /// The number of topics with subscribers.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.channels).len()
    }

    /// Whether no topic has a subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A subscription, until it is dropped.
pub struct Subscription<T> {
    receiver: Option<broadcast::Receiver<T>>,
    topic: Box<str>,
    channels: Arc<Channels<T>>,
}

impl<T: Clone> Subscription<T> {
    /// Waits for the next publication. `None` means that some were lost, because this subscriber
    /// was too slow.
    pub async fn next(&mut self) -> Option<T> {
        match self.receiver.as_mut()?.recv().await {
            Ok(news) => Some(news),
            Err(RecvError::Lagged(_)) => None,
            // The sender lives as long as this subscription.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let mut channels = lock(&self.channels);
        self.receiver = None;
        if channels.get(&*self.topic).is_some_and(|channel| channel.receiver_count() == 0) {
            channels.remove(&*self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn topics_are_apart_and_end_with_their_last_subscriber() {
        let topics = Topics::new(2);
        let (mut one, two) = (topics.subscribe("one"), topics.subscribe("two"));
        topics.publish("two", 2);
        topics.publish("one", 1);
        assert_eq!(one.next().await, Some(1));
        drop(two);
        assert_eq!(topics.len(), 1);
        for n in 0..4 {
            topics.publish("one", n);
        }
        assert_eq!(one.next().await, None);
        assert_eq!(one.next().await, Some(2));
        drop(one);
        assert!(topics.is_empty());
    }
}
