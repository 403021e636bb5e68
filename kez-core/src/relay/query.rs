//! The conversation that asks a relay for everything that matches some filters.

use super::{
    Next, array, closed,
    paging::{Paging, Turn, incomplete},
};
use crate::{
    json::Value,
    transport::{Body, Failure, RelayAnswer},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

/// The most that one relay may send in all, in bytes.
const MAX_TOTAL: usize = 32 * 1024 * 1024;

/// The request that follows a NOTICE for the last filter: the relay answers it after the filter,
/// so that a NOTICE that ended nothing is told from one in the place of an answer.
const PROBE: &str = r#"["REQ","kez0",{"ids":["0000000000000000000000000000000000000000000000000000000000000000"],"limit":1}]"#;

/// Asks for everything that matches the filters: each is a REQ of its own (`kez1`, `kez2`, …),
/// one after another, and is paged by itself.
///
/// ```
/// use kez_core::{json::Value, relay::{Next, Query}};
/// let mut query = Query::new(vec![Value::object([("kinds", Value::Array(vec![0.into()]))])]);
/// assert_eq!(query.start(), [r#"["REQ","kez1",{"kinds":[0]}]"#]);
/// assert!(matches!(query.receive(r#"["AUTH","challenge"]"#), Next::Wait));
/// let Next::Done(answers) = query.receive(r#"["EOSE","kez1"]"#) else { panic!() };
/// assert!(answers[0].events.is_empty() && answers[0].failure.is_none());
/// ```
#[derive(Debug)]
pub struct Query {
    parts: Vec<Part>,
    probe: Probe,
    /// The bytes that came.
    total: usize,
}

/// One filter.
#[derive(Debug)]
struct Part {
    paging: Paging,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not yet asked.
    Waiting,
    /// Asked. A NOTICE that came in the place of an answer ends it, unless an answer follows.
    Open(Option<Failure>),
    /// Read to its end, or ended by a failure.
    Over(Option<Failure>),
}

#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Unsent,
    Open,
    Over,
}

impl Query {
    /// A conversation about these filters.
    #[must_use]
    pub fn new(filters: Vec<Value>) -> Self {
        let part = |filter| Part { paging: Paging::new(filter), state: State::Waiting };
        Self { parts: filters.into_iter().map(part).collect(), probe: Probe::Unsent, total: 0 }
    }

    /// The texts to send when the socket is open.
    #[must_use]
    pub fn start(&mut self) -> Vec<String> {
        match self.go_on(Vec::new()) {
            Next::Send(texts) => texts,
            _ => Vec::new(),
        }
    }

    /// Takes a message of the relay. Messages about other subscriptions, and those that are not
    /// messages of NIP-01, are ignored.
    pub fn receive(&mut self, text: &str) -> Next<Vec<RelayAnswer>> {
        self.total += text.len();
        if self.total > MAX_TOTAL {
            return Next::Done(self.stop(&incomplete("the relay sends too much")));
        }
        let message = array(text);
        let [Value::String(kind), rest @ ..] = &message[..] else { return Next::Wait };
        match (&**kind, rest) {
            ("NOTICE", words) => self.notice(closed(words.first())),
            ("EVENT", [Value::String(name), event, ..]) => self.event(name, event),
            ("EOSE", [Value::String(name), ..]) => self.eose(name),
            ("CLOSED", [Value::String(name), words @ ..]) => self.closed(name, words.first()),
            _ => Next::Wait,
        }
    }

    /// Ends the conversation early: what came, and the failure for the filters that are not over.
    pub fn stop(&mut self, failure: &Failure) -> Vec<RelayAnswer> {
        let parts = core::mem::take(&mut self.parts);
        let answer = |mut part: Part| RelayAnswer {
            events: part.paging.take(),
            failure: match part.state {
                State::Over(failure) => failure,
                State::Open(notice) => Some(notice.unwrap_or_else(|| failure.clone())),
                State::Waiting => Some(failure.clone()),
            },
        };
        parts.into_iter().map(answer).collect()
    }

    /// The part of a subscription that is open.
    fn open(&mut self, name: &str) -> Option<(usize, &mut Part)> {
        let n: usize = name.strip_prefix("kez")?.parse().ok()?;
        let n = n.checked_sub(1)?;
        let part = self.parts.get_mut(n)?;
        matches!(part.state, State::Open(_)).then_some((n, part))
    }

    fn event(&mut self, name: &str, event: &Value) -> Next<Vec<RelayAnswer>> {
        let Some((_, part)) = self.open(name) else { return Next::Wait };
        match part.paging.push(event.clone()) {
            Ok(()) => {
                part.state = State::Open(None);
                Next::Wait
            }
            Err(failure) => {
                part.state = State::Over(Some(failure));
                self.go_on(Vec::from([close(name)]))
            }
        }
    }

    fn eose(&mut self, name: &str) -> Next<Vec<RelayAnswer>> {
        if name == "kez0" && self.probe == Probe::Open {
            self.probe = Probe::Over;
            return self.go_on(Vec::new());
        }
        let Some((_, part)) = self.open(name) else { return Next::Wait };
        match part.paging.turn() {
            Turn::Again => {
                part.state = State::Open(None);
                Next::Send(Vec::from([close(name), part.paging.request(name)]))
            }
            Turn::Over(failure) => {
                part.state = State::Over(failure);
                self.go_on(Vec::from([close(name)]))
            }
        }
    }

    fn closed(&mut self, name: &str, words: Option<&Value>) -> Next<Vec<RelayAnswer>> {
        if name == "kez0" {
            return self.eose(name);
        }
        let Some((_, part)) = self.open(name) else { return Next::Wait };
        part.state = State::Over(Some(closed(words)));
        self.go_on(Vec::new())
    }

    /// A NOTICE names no subscription: it is taken for the answer to the newest open one.
    fn notice(&mut self, failure: Failure) -> Next<Vec<RelayAnswer>> {
        if self.probe == Probe::Open {
            self.probe = Probe::Over;
        } else if let Some(part) = self.parts.iter_mut().rev().find(|part| part.in_progress()) {
            part.state = State::Open(Some(failure));
        }
        self.go_on(Vec::new())
    }

    /// Asks for the next filter once none is in progress, and ends after the last.
    fn go_on(&mut self, mut texts: Vec<String>) -> Next<Vec<RelayAnswer>> {
        if !self.parts.iter().any(Part::in_progress) {
            let mut parts = self.parts.iter_mut().zip(1..);
            if let Some((part, n)) = parts.find(|(part, _)| matches!(part.state, State::Waiting)) {
                part.state = State::Open(None);
                texts.push(part.paging.request(&format!("kez{n}")));
            } else if self.parts.iter().all(|part| matches!(part.state, State::Over(_)))
                || self.probe == Probe::Over
            {
                return Next::Done(self.stop(&closed(None)));
            } else if self.probe == Probe::Unsent {
                self.probe = Probe::Open;
                texts.push(PROBE.to_owned());
            }
        }
        if texts.is_empty() { Next::Wait } else { Next::Send(texts) }
    }
}

impl Part {
    /// Whether an answer is to be expected.
    const fn in_progress(&self) -> bool {
        matches!(self.state, State::Open(None))
    }
}

fn close(name: &str) -> String {
    format!("[\"CLOSE\",\"{name}\"]")
}

/// The body of a relay's answers.
///
/// # Errors
/// The first failure, if every filter failed before an event came: the relay did not answer.
pub fn answered(answers: Vec<RelayAnswer>) -> Result<Body, Failure> {
    let empty = answers.iter().all(|answer| answer.events.is_empty() && answer.failure.is_some());
    match answers.first().and_then(|first| first.failure.clone()) {
        Some(failure) if empty => Err(failure),
        _ => Ok(Body::Relay { answers }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use alloc::{collections::VecDeque, vec};
    use proptest::prelude::*;

    fn query(filters: usize) -> Query {
        let filter = Value::object([("limit", Value::Int(1))]);
        Query::new(vec![filter; filters])
    }

    fn event(subscription: usize, n: i64) -> String {
        format!(r#"["EVENT","kez{subscription}",{{"created_at":{n},"id":"{n}"}}]"#)
    }

    fn request(n: usize) -> String {
        format!(r#"["REQ","kez{n}",{{"limit":1}}]"#)
    }

    /// What is sent after these messages, and the answers.
    fn after(query: &mut Query, messages: &[&str]) -> (Vec<String>, Option<Vec<RelayAnswer>>) {
        let mut sent = query.start();
        for message in messages {
            match query.receive(message) {
                Next::Wait => {}
                Next::Send(texts) => sent.extend(texts),
                Next::Done(answers) => return (sent, Some(answers)),
            }
        }
        (sent, None)
    }

    #[test]
    fn each_filter_is_asked_for_by_itself() {
        let messages =
            [&*event(1, 7), r#"["EOSE","kez1"]"#, &event(1, 8), &event(2, 9), r#"["EOSE","kez2"]"#];
        let (sent, answers) = after(&mut query(2), &messages);
        assert_eq!(sent, [request(1), close("kez1"), request(2)]);
        let counts: Vec<_> = answers.unwrap().iter().map(|a| a.events.len()).collect();
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn the_next_page_closes_the_last() {
        let mut query = Query::new(vec![Value::object([("kinds", Value::Array(vec![]))])]);
        assert_eq!(query.start().len(), 1);
        query.receive(r#"["EVENT","kez1",{"created_at":9,"id":"a","kind":1}]"#);
        let Next::Send(texts) = query.receive(r#"["EOSE","kez1"]"#) else { panic!() };
        assert_eq!(texts, [close("kez1"), r#"["REQ","kez1",{"kinds":[],"until":9}]"#.into()]);
    }

    #[test]
    fn refusals_have_codes() {
        let failure = |text: &str| {
            let (_, answers) = after(&mut query(1), &[text]);
            answers.unwrap()[0].failure.clone().unwrap()
        };
        let closed = |why: &str| failure(&format!(r#"["CLOSED","kez1","{why}"]"#)).code;
        assert_eq!(closed("auth-required: sign in"), Code::AuthRequired);
        assert_eq!(closed("restricted: paid"), Code::AuthRequired);
        assert_eq!(closed("rate-limited: slow down"), Code::RateLimited);
        assert_eq!(closed("error: no"), Code::RelayRefused);
        let silent = failure(r#"["CLOSED","kez1"]"#);
        assert_eq!(silent.code, Code::RelayRefused);
        assert!(silent.detail.is_some_and(|words| !words.is_empty()));
    }

    #[test]
    fn one_refused_filter_is_not_all() {
        let messages = [r#"["CLOSED","kez1","error: no"]"#, &*event(2, 1), r#"["EOSE","kez2"]"#];
        let answers = after(&mut query(2), &messages).1.unwrap();
        assert_eq!(answers[0].failure.as_ref().unwrap().detail.as_deref(), Some("error: no"));
        assert_eq!((answers[1].events.len(), &answers[1].failure), (1, &None));
        assert!(answered(answers).is_ok());
    }

    #[test]
    fn a_notice_ends_a_filter_unless_an_answer_follows() {
        // Two greetings, then the usual.
        let notice = r#"["NOTICE","herrings"]"#;
        let eose = [r#"["EOSE","kez1"]"#, r#"["EOSE","kez2"]"#];
        let (sent, answers) = after(&mut query(2), &[notice, notice, eose[0], eose[1]]);
        assert_eq!(sent[..3], [request(1), request(2), PROBE.into()]);
        assert!(answers.unwrap().iter().all(|answer| answer.failure.is_none()));
        // A relay that answers nothing else.
        let (_, answers) = after(&mut query(2), &[notice, notice, notice]);
        let failure = answered(answers.unwrap()).unwrap_err();
        assert_eq!(
            (failure.code, failure.detail.as_deref()),
            (Code::RelayRefused, Some("herrings"))
        );
        // One that answers the probe only, and one that goes silent.
        let (_, answers) = after(&mut query(1), &[notice, r#"["EOSE","kez0"]"#]);
        assert!(answers.unwrap()[0].failure.is_some());
        let mut silent = query(1);
        assert!(after(&mut silent, &[notice]).1.is_none());
        let timeout = Failure::new(Code::Timeout, "after 10 s");
        assert_eq!(silent.stop(&timeout)[0].failure.as_ref().unwrap().code, Code::RelayRefused);
    }

    #[test]
    fn what_came_stays() {
        let mut cut = query(2);
        assert!(after(&mut cut, &[&event(1, 7)]).1.is_none());
        let answers = cut.stop(&Failure::new(Code::Timeout, "after 10 s"));
        assert_eq!(answers[0].events.len(), 1);
        assert!(
            answers.iter().all(|a| a.failure.as_ref().is_some_and(|f| f.code == Code::Timeout))
        );
        let messages = [&*event(1, 7), r#"["CLOSED","kez1","error: shutting down"]"#];
        let answers = after(&mut query(1), &messages).1.unwrap();
        assert_eq!((answers[0].events.len(), answers[0].failure.is_some()), (1, true));
    }

    #[test]
    fn a_relay_that_never_ends_is_stopped() {
        let mut query = query(1);
        assert_eq!(query.start().len(), 1);
        let answers = (0..).find_map(|n| match query.receive(&event(1, n)) {
            Next::Done(answers) => Some(answers),
            _ => None,
        });
        assert_eq!(answers.unwrap()[0].failure.as_ref().unwrap().code, Code::SearchIncomplete);
    }

    #[test]
    fn garbage_is_ignored() {
        let mut query = query(1);
        assert_eq!(query.start().len(), 1);
        for text in [
            "",
            "[]",
            "{}",
            "nonsense",
            r#"["EVENT"]"#,
            r#"["EVENT","kez1"]"#,
            r#"["EVENT","kez1",7]"#,
            r#"["EVENT","kez9",{"created_at":1,"id":"a"}]"#,
            r#"["EOSE"]"#,
            r#"["EOSE","kez0"]"#,
            r#"["EOSE","kez"]"#,
            r#"["EOSE","kez99999999999999999999999"]"#,
            r#"["CLOSED"]"#,
            r#"["OK","a",true,""]"#,
        ] {
            assert!(matches!(query.receive(text), Next::Wait), "{text}");
        }
    }

    /// A relay's messages in answer to a REQ, with at most so many events.
    fn answer(dates: &[Vec<i64>; 2], clamp: usize, request: &str) -> Vec<String> {
        let request = array(request);
        let [Value::String(kind), Value::String(name), filter] = &request[..] else {
            return Vec::new();
        };
        if kind != "REQ" {
            return Vec::new();
        }
        let date = |bound| filter.get(bound).and_then(Value::as_int);
        let (since, until) = (date("since").unwrap_or(0), date("until").unwrap_or(i64::MAX));
        let wanted =
            filter.get("kinds").and_then(Value::as_array).and_then(|kinds| kinds[0].as_int());
        let kind = usize::try_from(wanted.unwrap()).unwrap();
        let mut all: Vec<_> = dates[kind].iter().zip(0..).collect();
        all.retain(|(date, _)| (since..=until).contains(*date));
        all.sort_unstable_by_key(|(date, n): &(&i64, i32)| (-**date, *n));
        let event = |(date, n)| {
            format!(r#"["EVENT","{name}",{{"created_at":{date},"id":"{kind}/{n}","kind":{kind}}}]"#)
        };
        let events = all.into_iter().take(clamp).map(event);
        events.chain([format!(r#"["EOSE","{name}"]"#)]).collect()
    }

    proptest! {
        /// Each of two filters is read to its end, or says that it is not.
        #[test]
        fn two_filters(
            first in prop::collection::vec(1_i64..40, 0..120),
            second in prop::collection::vec(1_i64..40, 0..120),
            clamp in 10_usize..50,
        ) {
            let dates = [first, second];
            let filter = |kind: i64| {
                Value::object([
                    ("authors", Value::Array(vec![])),
                    ("kinds", Value::Array(vec![Value::Int(kind)])),
                ])
            };
            let mut query = Query::new(vec![filter(0), filter(1)]);
            let mut sent: VecDeque<String> = query.start().into();
            let answers = 'talk: loop {
                let Some(request) = sent.pop_front() else { panic!("silence") };
                for message in answer(&dates, clamp, &request) {
                    match query.receive(&message) {
                        Next::Wait => {}
                        Next::Send(texts) => sent.extend(texts),
                        Next::Done(answers) => break 'talk answers,
                    }
                }
            };
            for (answer, dates) in answers.iter().zip(&dates) {
                match &answer.failure {
                    None => prop_assert_eq!(answer.events.len(), dates.len()),
                    Some(failure) => prop_assert_eq!(failure.code, Code::SearchIncomplete),
                }
            }
        }
    }
}
