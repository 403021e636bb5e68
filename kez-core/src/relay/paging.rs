//! Reading all events that match one filter, page by page (SPEC.md, "Asking a relay").
//!
//! A relay clamps how many events it sends at once, often silently, and NIP-01 has no cursor. The
//! next page is asked for by date: `until` is the oldest date of the last page, so that pages
//! overlap by the events of that date.

use crate::{
    Code,
    json::Value,
    map::Map,
    transport::{Failure, MAX_RELAY_EVENTS},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

/// How many pages of one filter are asked for.
const MAX_PAGES: usize = 100;
/// How many events of strangers are read: those of a filter that names no author.
const MAX_STRANGERS: usize = 2000;
/// No relay is known to send fewer events at once than this. If all visible events have one date
/// and there are fewer of them, there are no others with that date.
const LEAST_CLAMP: usize = 10;

/// What to do after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask for the next page.
    Again,
    /// All matching events of the relay were read, or why not.
    Over(Option<Failure>),
}

/// The progress of one filter.
#[derive(Debug, Default)]
pub(super) struct Paging {
    /// The filter's members.
    filter: Vec<(String, Value)>,
    /// The page that is being read.
    page: Page,
    /// How many pages were read.
    pages: usize,
    /// The number of events of the largest page: the relay sends at least this many at once.
    largest: usize,
    /// Whether a page brought events that the page before should have had: the relay clamps.
    clamped: bool,
    /// Whether events may have been skipped.
    skipped: bool,
    /// The order in which the relay sends events, as far as it shows.
    order: Order,
    /// Whether pages now lead from older to newer events.
    forward: bool,
    /// `until`, or `since` where pages lead forward.
    bound: Option<i64>,
    /// A page was full of known events, so that the page after it leaves out their date.
    stepped: Option<usize>,
    newest: Option<i64>,
    seen: Map<()>,
    /// How many ids are in `seen`.
    known: usize,
    /// How many of the events match the filter.
    matching: usize,
    events: Vec<Value>,
}

/// One page.
#[derive(Debug, Default)]
struct Page {
    count: usize,
    /// How many of its events were not known before.
    fresh: usize,
    oldest: Option<i64>,
    newest: Option<i64>,
    last: Option<i64>,
}

/// The orders that pages had.
#[derive(Debug, Default)]
struct Order {
    /// An event was followed by an older one.
    falls: bool,
    /// An event was followed by a newer one.
    rises: bool,
}

impl Paging {
    pub(super) fn new(filter: Value) -> Self {
        let Value::Object(filter) = filter else { return Self::default() };
        Self { filter, ..Self::default() }
    }

    /// The request for the next page.
    pub(super) fn request(&self, subscription: &str) -> String {
        let members = self.filter.iter().cloned();
        let name = if self.forward { "since" } else { "until" };
        let bound = self.bound.map(|date| (name.to_owned(), Value::Int(date)));
        let filter = Value::object(members.chain(bound));
        Value::Array(Vec::from(["REQ".into(), subscription.into(), filter])).to_canonical()
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.filter.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The events so far.
    pub(super) fn take(&mut self) -> Vec<Value> {
        core::mem::take(&mut self.events)
    }

    /// Takes an event of the page. An event without id or date, which no relay sends, is ignored.
    ///
    /// # Errors
    /// `search_incomplete` at a limit.
    pub(super) fn push(&mut self, event: Value) -> Result<(), Failure> {
        let id = event.get("id").and_then(Value::as_str);
        let date = event.get("created_at").and_then(Value::as_int);
        let (Some(id), Some(date)) = (id, date) else { return Ok(()) };
        let page = &mut self.page;
        page.count += 1;
        page.oldest = Some(page.oldest.map_or(date, |oldest| oldest.min(date)));
        page.newest = Some(page.newest.map_or(date, |newest| newest.max(date)));
        self.newest = self.newest.max(page.newest);
        self.order.falls |= page.last.is_some_and(|last| date < last);
        self.order.rises |= page.last.is_some_and(|last| date > last);
        page.last = Some(date);
        if page.count > MAX_RELAY_EVENTS {
            return Err(incomplete("the relay's page does not end"));
        }
        if !self.seen.contains(id) {
            self.seen.insert(id, ());
            page.fresh += 1;
            self.known += 1;
            // A relay that does not keep to the filter is still paged through.
            self.matching += usize::from(matches(&self.filter, &event));
            self.events.push(event);
        }
        if self.known > MAX_STRANGERS && self.member("authors").is_none() {
            return Err(incomplete(&format!("more than {MAX_STRANGERS} events by strangers")));
        }
        Ok(())
    }

    /// Ends the page.
    pub(super) fn turn(&mut self) -> Turn {
        let page = core::mem::take(&mut self.page);
        self.pages += 1;
        self.clamped |= page.fresh > 0 && self.pages > 1;
        let full = page.count >= self.largest;
        self.largest = self.largest.max(page.count);
        let doubt = self.stepped.take();
        // A page that leaves out the date of a full page of known events brought something: that
        // page was cut, and may have been cut within its date.
        self.skipped |= doubt.is_some_and(|count| self.clamped || count >= LEAST_CLAMP);
        let one = self.member("limit") == Some(&Value::Int(1));
        if one && page.count == 1 && self.matching == 1 {
            return Turn::Over(None);
        }
        let edge = if self.forward { page.newest } else { page.oldest };
        let next = match edge {
            Some(date) if page.fresh > 0 => Some(date),
            Some(date) if full && doubt.is_none() => {
                self.stepped = Some(page.count);
                Some(if self.forward { date.saturating_add(1) } else { date.saturating_sub(1) })
            }
            _ => None,
        };
        if next.is_some() {
            self.bound = next;
        } else if !self.turn_round() {
            return Turn::Over(self.skipped().then(|| {
                incomplete("the relay sends fewer events at once than it has with one date")
            }));
        }
        if self.pages >= MAX_PAGES {
            return Turn::Over(Some(incomplete(&format!("more than {MAX_PAGES} pages"))));
        }
        Turn::Again
    }

    /// Leads forward from the newest event, if the relay did not show that it sends the newest
    /// events first. Whether it does.
    fn turn_round(&mut self) -> bool {
        let newest_first = self.order.falls && !self.order.rises;
        if self.forward || newest_first || self.known < 2 {
            return false;
        }
        self.forward = true;
        self.bound = self.newest;
        true
    }

    fn skipped(&self) -> bool {
        // Pages of a relay without any order may leave out events between others.
        self.skipped || (self.clamped && self.order.falls && self.order.rises)
    }
}

/// A limit ended the search.
pub(super) fn incomplete(why: &str) -> Failure {
    Failure::new(Code::SearchIncomplete, why)
}

/// Whether an event matches a filter (NIP-01). Members that do not choose events are ignored.
fn matches(filter: &[(String, Value)], event: &Value) -> bool {
    let tags = event.get("tags").and_then(Value::as_array).unwrap_or_default();
    let tagged = |name: &str, wanted: &[Value]| {
        let mut named = tags.iter().filter_map(Value::as_array);
        named.any(|tag| {
            tag.first().and_then(Value::as_str) == Some(name)
                && tag.get(1).is_some_and(|value| wanted.contains(value))
        })
    };
    filter.iter().all(|(name, wanted)| {
        let wanted = wanted.as_array().unwrap_or_default();
        let among = |member| event.get(member).is_some_and(|value| wanted.contains(value));
        match (&**name, name.strip_prefix('#')) {
            (_, Some(tag)) => tagged(tag, wanted),
            ("ids", _) => among("id"),
            ("authors", _) => among("pubkey"),
            ("kinds", _) => among("kind"),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeSet, string::ToString as _, vec};
    use proptest::prelude::*;

    /// A relay with events of these dates.
    struct Relay {
        dates: Vec<i64>,
        /// How many events it sends at once.
        clamp: usize,
        oldest_first: bool,
    }

    impl Relay {
        fn answer(&self, request: &str) -> Vec<Value> {
            let Ok(Value::Array(request)) = Value::parse_foreign(request.as_bytes()) else {
                panic!()
            };
            let date = |name| request[2].get(name).and_then(Value::as_int);
            let (since, until) = (date("since").unwrap_or(0), date("until").unwrap_or(i64::MAX));
            let all = self.dates.iter().enumerate().filter(|(_, d)| (since..=until).contains(*d));
            let mut all: Vec<_> = all.map(|(n, date)| (*date, n)).collect();
            all.sort_unstable();
            if !self.oldest_first {
                all.reverse();
            }
            let event = |(date, n): (i64, usize)| {
                Value::object([
                    ("created_at", Value::Int(date)),
                    ("id", n.to_string().as_str().into()),
                ])
            };
            all.into_iter().take(self.clamp).map(event).collect()
        }
    }

    /// How many events were found, in how many pages, and how it ended.
    fn read(relay: &Relay, filter: Value) -> (usize, usize, Option<Failure>) {
        let mut paging = Paging::new(filter);
        loop {
            for event in relay.answer(&paging.request("kez1")) {
                paging.push(event).unwrap();
            }
            if let Turn::Over(failure) = paging.turn() {
                let ids: BTreeSet<String> = paging.take().iter().map(Value::to_canonical).collect();
                return (ids.len(), paging.pages, failure);
            }
        }
    }

    fn newest_first(dates: impl IntoIterator<Item = i64>, clamp: usize) -> Relay {
        Relay { dates: dates.into_iter().collect(), clamp, oldest_first: false }
    }

    fn any() -> Value {
        Value::object::<&str>([])
    }

    #[test]
    fn short_pages_are_followed() {
        assert_eq!(read(&newest_first([], 25), any()), (0, 1, None));
        assert_eq!(read(&newest_first([7], 25), any()), (1, 3, None));
        assert_eq!(read(&newest_first(100..103, 25), any()), (3, 2, None));
        assert_eq!(read(&newest_first(100..160, 15), any()).0, 60);
        assert_eq!(read(&newest_first(100..160, 15), any()).2, None);
        // With one event at once each date may hide others.
        let (found, _, failure) = read(&newest_first(100..103, 1), any());
        assert_eq!((found, failure.map(|f| f.code)), (3, Some(Code::SearchIncomplete)));
        let first = Value::object([("limit", Value::Int(1))]);
        assert_eq!(read(&newest_first([7], 25), first), (1, 1, None));
    }

    #[test]
    fn a_page_of_one_date_is_no_end() {
        let dates = [300, 299].into_iter().chain([200; 60]).chain([100, 99]);
        let (found, _, failure) = read(&newest_first(dates, 25), any());
        assert_eq!((found, failure.map(|f| f.code)), (2 + 25 + 2, Some(Code::SearchIncomplete)));
        let (found, _, failure) = read(&newest_first([200; 60], 25), any());
        assert_eq!((found, failure.map(|f| f.code)), (25, Some(Code::SearchIncomplete)));
        assert_eq!(read(&newest_first([200; 5], 25), any()).2, None);
        assert_eq!(read(&newest_first([200, 200, 200, 100], 25), any()).2, None);
    }

    #[test]
    fn limits_are_no_end() {
        let code = |relay: &Relay| {
            let mut paging = Paging::new(any());
            loop {
                for event in relay.answer(&paging.request("kez1")) {
                    if let Err(failure) = paging.push(event) {
                        return Some(failure.code);
                    }
                }
                if let Turn::Over(failure) = paging.turn() {
                    return failure.map(|f| f.code);
                }
            }
        };
        assert_eq!(code(&newest_first(0..3000, 500)), Some(Code::SearchIncomplete));
        assert_eq!(code(&newest_first(0..1900, 10)), Some(Code::SearchIncomplete));
        assert_eq!(code(&newest_first(0..3000, 1500)), Some(Code::SearchIncomplete));
        assert_eq!(code(&newest_first(0..1900, 500)), None);
    }

    #[test]
    fn only_what_was_asked_for_counts() {
        let list = |text: &str| Value::Array(vec![text.into()]);
        let filter =
            Value::object([("authors", list("aa")), ("#d", list("kez")), ("limit", Value::Int(1))]);
        let event = |n: i64, author: &str, d: &str| {
            Value::object([
                ("created_at", Value::Int(n)),
                ("id", n.to_string().as_str().into()),
                ("pubkey", author.into()),
                ("tags", Value::Array(vec![Value::Array(vec!["d".into(), d.into()])])),
            ])
        };
        let mut paging = Paging::new(filter);
        for (n, author, d) in [(9, "bb", "kez"), (8, "aa", "other")] {
            paging.push(event(n, author, d)).unwrap();
            assert_eq!(paging.turn(), Turn::Again, "the one event is not the wanted one");
        }
        paging.push(event(7, "aa", "kez")).unwrap();
        assert_eq!(paging.turn(), Turn::Over(None));
        assert_eq!(paging.take().len(), 3);
    }

    proptest! {
        #[test]
        fn everything_or_incomplete(
            dates in prop::collection::vec(1_i64..40, 0..200),
            clamp in 1_usize..50,
            oldest_first: bool,
        ) {
            let one_date = dates.iter().all(|date| *date == dates[0]);
            prop_assume!(!one_date || clamp >= LEAST_CLAMP);
            prop_assume!(!oldest_first || clamp > 1);
            let all = dates.len();
            let (found, _, failure) = read(&Relay { dates, clamp, oldest_first }, any());
            match failure {
                None => prop_assert_eq!(found, all),
                Some(failure) => prop_assert_eq!(failure.code, Code::SearchIncomplete),
            }
        }

        #[test]
        fn different_dates_are_all_found(
            dates in prop::collection::btree_set(1_i64..1000, 0..90),
            clamp in 2_usize..50,
            oldest_first: bool,
        ) {
            let all = dates.len();
            let relay = Relay { dates: dates.into_iter().collect(), clamp, oldest_first };
            let (found, _, failure) = read(&relay, any());
            prop_assert_eq!(found, all);
            prop_assert_eq!(failure, None);
        }
    }
}
