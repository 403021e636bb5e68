//! A delivery simulation: ten devices of five people in one group, a member whose device posts
//! garbage and altered copies, commits that race, and machines that are cut off at every step. In
//! the end all are in one epoch, and have the same messages, each once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{
    Person, Server, base64,
    client::{Seat, run, texts},
    id,
};
use serde_json::json;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A small generator, so that a seed repeats a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// KEZ-CONV-05, KEZ-DELIVER-01, KEZ-MSG-02
#[test]
fn all_end_alike() {
    let seed = std::env::var("KEZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_125);
    let steps: usize = std::env::var("KEZ_STEPS").ok().and_then(|s| s.parse().ok()).unwrap_or(120);
    let dir = TempDir::new().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut dice = Dice(seed);
    let mut people: Vec<Person> = Vec::new();
    let mut seats: Vec<Seat> = Vec::new();
    for n in 0..5 {
        let (person, seat) = Seat::join(&format!("person{n}"), &server);
        people.push(person);
        seats.push(seat);
    }
    let others: Vec<_> = (1..5).map(|n| format!("person{n}").parse().unwrap()).collect();
    let group = run(seats[0].client.create_group("simulation", &others)).unwrap();
    let log = format!("/v1/conversations/{group}/log?since=0");
    let path = format!("/v1/conversations/{group}/commits");
    let (mut sent, mut crashes, mut garbage, mut conflicts) = (Vec::new(), 0, 0, 0);
    for step in 0..steps {
        // Every person's second device comes at some time.
        if step % 20 == 10 && seats.len() < 10 {
            let whose = seats.len() - 5;
            seats.push(Seat::register(&mut people[whose], 1, &server));
        }
        let who = usize::try_from(dice.roll(seats.len() as u64)).unwrap();
        let cut = dice.roll(3) == 0;
        if cut {
            seats[who].cut_after(dice.roll(40));
            crashes += 1;
        }
        match dice.roll(10) {
            0 => drop(run(seats[who].client.renew(&group))),
            1..=3 => drop(seats[who].sync()),
            4 => {
                // Person 4 is hostile: it posts garbage, and altered copies of what others wrote.
                let items = people[4].send(&server, "GET", &log, None).1;
                let items = items["items"].as_array().unwrap();
                let mut body = vec![0; 100];
                getrandom::fill(&mut body).unwrap();
                if let Some(item) = items.last().filter(|_| dice.roll(2) == 0) {
                    body = common::unbase64(&item["body"]);
                    let at = usize::try_from(dice.roll(body.len() as u64)).unwrap();
                    body[at] ^= 1 << dice.roll(8);
                }
                let stand =
                    people[4].send(&server, "GET", &format!("/v1/conversations/{group}"), None);
                let answer = if dice.roll(2) == 0 {
                    let body = json!({
                        "expect": stand.1["changed"], "id": id(16), "body": base64(&body),
                        "recipients": stand.1["recipients"],
                    });
                    people[4].send(&server, "POST", &path, Some(&body))
                } else {
                    let body =
                        json!({ "conversation": group, "id": id(16), "body": base64(&body) });
                    people[4].send(&server, "POST", "/v1/messages", Some(&body))
                };
                assert_eq!(answer.0, 201);
                garbage += 1;
            }
            5 => {
                // Two at once: they prepare a change for the same epoch.
                let other = usize::try_from(dice.roll(seats.len() as u64)).unwrap();
                if other != who {
                    let (low, high) = (who.min(other), who.max(other));
                    let (left, right) = seats.split_at_mut(high);
                    let group = &group;
                    std::thread::scope(|scope| {
                        let renew = |seat: &mut Seat| drop(run(seat.client.renew(group)));
                        let one = &mut left[low];
                        let two = &mut right[0];
                        scope.spawn(move || renew(one));
                        scope.spawn(move || renew(two));
                    });
                    conflicts += 1;
                }
            }
            _ => {
                let text = format!("{who} at {step}");
                // One that was not invited yet knows no such group.
                let _ = seats[who].send(&group, &text);
                sent.push((text, who));
            }
        }
        if cut {
            seats[who].reopen();
        }
    }
    // Everybody comes home. A device that was invited last hears of it now.
    for _ in 0..3 {
        for seat in &mut seats {
            seat.sync().unwrap();
        }
        for seat in &mut seats {
            let _ = run(seat.client.renew(&group));
        }
    }
    for seat in &mut seats {
        seat.sync().unwrap();
    }
    let conversation = |seat: &Seat| {
        let all = run(seat.client.conversations()).unwrap();
        all.into_iter().find(|c| c.id == group)
    };
    let first = conversation(&seats[0]).unwrap();
    assert_eq!(seats.len(), 10);
    for seat in &seats {
        let own = conversation(seat).expect("everybody is in it");
        assert_eq!((own.epoch, own.devices, own.waiting), (first.epoch, 10, 0), "{}", seat.person);
    }
    // What a device kept, all have that were in it by then, in one order; each once.
    let kept: Vec<String> = sent
        .iter()
        .filter(|(text, who)| seats[*who].texts().contains(text))
        .map(|(text, _)| text.clone())
        .collect();
    let order = texts(&seats[0].entries(&group));
    let mut count: BTreeMap<&String, usize> = BTreeMap::new();
    order.iter().for_each(|text| *count.entry(text).or_default() += 1);
    assert!(count.values().all(|n| *n == 1));
    let mut all = kept.clone();
    all.sort();
    let mut got = order.clone();
    got.sort();
    assert_eq!(got, all);
    // One's own messages stand where they were written, others' where they came.
    for (n, seat) in seats.iter().enumerate() {
        let others: Vec<String> =
            sent.iter().filter(|(_, w)| *w != n).map(|s| s.0.clone()).collect();
        let theirs: Vec<String> =
            texts(&seat.entries(&group)).into_iter().filter(|t| others.contains(t)).collect();
        let reference: Vec<&String> = order.iter().filter(|t| others.contains(t)).collect();
        if n < 5 && n > 0 {
            let zero: Vec<&String> = sent.iter().filter(|(_, w)| *w == 0).map(|s| &s.0).collect();
            let without: Vec<&String> = theirs.iter().filter(|text| !zero.contains(text)).collect();
            let reference: Vec<&String> =
                reference.into_iter().filter(|text| !zero.contains(text)).collect();
            assert_eq!(without, reference, "{n}");
            assert_eq!(theirs.len(), others.iter().filter(|t| kept.contains(t)).count());
        } else if n >= 5 {
            // From the moment on when it was invited.
            let tail: Vec<String> = order.iter().rev().take(theirs.len()).cloned().collect();
            let late = theirs.iter().filter(|text| tail.contains(text)).count();
            assert!(late * 10 >= theirs.len() * 8, "{n}: {late} of {}", theirs.len());
        }
    }
    eprintln!(
        "seed {seed}: {} epochs, {} messages, {crashes} crashes, {garbage} pieces of garbage, \
         {conflicts} races",
        first.epoch,
        kept.len()
    );
}
