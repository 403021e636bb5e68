//! Every order of things: persisting, publishing and subscribing, in all schedules that there are;
//! commits that race, in thousands of them; and the broker under threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use kez_chat_server::{
    broker::{Broker, Local, News},
    feed::{Feed, Step},
};
use shuttle::{
    sync::{Arc, Mutex},
    thread,
};
use std::collections::VecDeque;

/// How often a model with too many schedules to try them all is run.
const SCHEDULES: usize = 3000;
/// How many items come in.
const ITEMS: u64 = 5;
/// How many the channel holds for a subscriber.
const SLOTS: usize = 2;

/// A channel of the broker, as a subscriber sees it: what is too much for it is lost, and it says
/// so.
#[derive(Default)]
struct Channel {
    subscribed: bool,
    queue: VecDeque<u64>,
    lost: bool,
}

/// One writes, and one reads by a stream, with the real decisions of [`Feed`].
fn deliver(subscribe_first: bool) {
    let disk: Arc<Mutex<Vec<u64>>> = Arc::default();
    let channel: Arc<Mutex<Channel>> = Arc::default();
    let writer = {
        let (disk, channel) = (disk.clone(), channel.clone());
        thread::spawn(move || {
            for item in 1..=ITEMS {
                disk.lock().unwrap().push(item);
                let mut channel = channel.lock().unwrap();
                if channel.subscribed {
                    if channel.queue.len() == SLOTS {
                        channel.queue.pop_front();
                        channel.lost = true;
                    }
                    channel.queue.push_back(item);
                }
            }
        })
    };
    let read = |feed: &mut Feed, sent: &mut Vec<u64>| {
        let items = disk.lock().unwrap().clone();
        let since = feed.position();
        for item in items.iter().filter(|item| **item > since) {
            if feed.read(*item) {
                sent.push(*item);
            }
        }
        feed.complete(items.last().copied().unwrap_or_default());
    };
    let (mut feed, mut sent) = (Feed::since(0), Vec::new());
    if subscribe_first {
        channel.lock().unwrap().subscribed = true;
        read(&mut feed, &mut sent);
    } else {
        read(&mut feed, &mut sent);
        channel.lock().unwrap().subscribed = true;
    }
    writer.join().unwrap();
    loop {
        let (next, lost) = {
            let mut channel = channel.lock().unwrap();
            (channel.queue.pop_front(), std::mem::take(&mut channel.lost))
        };
        if lost {
            read(&mut feed, &mut sent);
        }
        let Some(item) = next else { break };
        match feed.told(item) {
            Step::Send => sent.push(item),
            Step::Skip => {}
            Step::Read => read(&mut feed, &mut sent),
        }
    }
    let all: Vec<u64> = (1..=ITEMS).collect();
    assert_eq!(sent, all);
}

/// KEZ-DELIVER-04
#[test]
fn whatever_the_order_every_item_is_sent_once() {
    shuttle::check_dfs(|| deliver(true), None);
}

/// The model finds the order that loses messages: it is no model that cannot fail.
#[test]
#[should_panic(expected = "left == right")]
fn who_reads_before_subscribing_loses_some() {
    shuttle::check_dfs(|| deliver(false), None);
}

/// The heads of a conversation, changed as the server changes them: in one step.
#[derive(Default)]
struct Heads {
    position: u64,
    changed: u64,
    log: Vec<(u64, usize)>,
}

impl Heads {
    fn commit(&mut self, expect: u64, who: usize) -> Result<u64, u64> {
        if self.changed != expect {
            return Err(self.changed);
        }
        self.position += 1;
        self.changed = self.position;
        self.log.push((self.position, who));
        Ok(self.position)
    }

    fn message(&mut self) {
        self.position += 1;
    }
}

/// KEZ-DELIVER-01
#[test]
fn of_racing_commits_each_is_built_on_the_one_before() {
    let race = || {
        let heads: Arc<Mutex<Heads>> = Arc::default();
        let clients: Vec<_> = (0..3)
            .map(|who| {
                let heads = heads.clone();
                thread::spawn(move || {
                    let mut expect = heads.lock().unwrap().changed;
                    // Each makes two changes, and writes in between.
                    for _ in 0..2 {
                        loop {
                            let done = heads.lock().unwrap().commit(expect, who);
                            match done {
                                Ok(position) => {
                                    expect = position;
                                    break;
                                }
                                Err(changed) => expect = changed,
                            }
                        }
                        heads.lock().unwrap().message();
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let heads = heads.lock().unwrap();
        assert_eq!((heads.log.len(), heads.position), (6, 12));
        assert!(heads.log.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!((0..3).all(|who| heads.log.iter().filter(|entry| entry.1 == who).count() == 2));
    };
    shuttle::check_random(race, SCHEDULES);
}

/// Subscribers that come and go while others are told lose nothing that is published after they
/// came, and leave nothing behind.
#[test]
fn subscribers_come_and_go() {
    let broker = Local::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::thread::scope(|scope| {
        for who in 0..4_u64 {
            let (broker, runtime) = (&broker, &runtime);
            scope.spawn(move || {
                let inbox = format!("inbox{}", who % 2);
                for n in 0..2000 {
                    let mark = who * 1_000_000 + n;
                    let mut subscription = broker.subscribe(&inbox);
                    let frame = axum::body::Bytes::new();
                    broker.publish(&inbox, News::Item { position: mark, frame });
                    let own = async {
                        loop {
                            match subscription.next().await {
                                Some(News::Item { position, .. }) if position == mark => return,
                                Some(_) => {}
                                // Others published more than the channel holds.
                                None => return,
                            }
                        }
                    };
                    let handle = runtime.handle();
                    handle.block_on(own);
                }
            });
        }
    });
    assert_eq!(broker.inboxes(), 0);
}
