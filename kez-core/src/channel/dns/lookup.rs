//! `dns:` — TXT records at `_kez.<domain>`.

use crate::channel::{Fetched, Finding, Lookup, Miss, Step, Text, failed};
use crate::{
    Code, Identity,
    transport::{Body, Request},
};
use alloc::{format, string::String, vec, vec::Vec};

pub(crate) struct DnsLookup {
    name: String,
}

impl DnsLookup {
    pub(crate) fn new(subject: &Identity) -> Self {
        Self { name: format!("_kez.{}", subject.value()) }
    }
}

impl Lookup for DnsLookup {
    fn step(&mut self, answers: Vec<Fetched>) -> Step {
        let Some((request, answer)) = answers.into_iter().next() else {
            return Step::Ask(vec![Request::Txt { name: self.name.clone() }]);
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return failed(&request, failure).into(),
        };
        let place = answer.place(&request);
        let Body::Txt { rcode, mut records, authentic, ttl } = answer.body else {
            return Miss::at(Code::ResponseRefused, place).into();
        };
        // A bogus DNSSEC chain shows as a failure too, so it never counts as "no proof".
        if rcode != 0 && rcode != 3 {
            return Miss::at(Code::DnsFailed, place).because(format!("rcode {rcode}")).into();
        }
        // The order of records changes from query to query.
        records.sort();
        let texts = records.into_iter().filter_map(|r| String::from_utf8(r).ok());
        let texts = texts
            .filter(|text| text.starts_with("kez:"))
            .map(|text| Text { text, place: place.clone() })
            .collect();
        Step::Done(Ok(Finding {
            account: None,
            texts,
            place: Some(place),
            dnssec: Some(authentic),
            source: Some((answer.via, answer.fetched_at)),
            lasts_until: ttl.map(|ttl| answer.fetched_at.plus(ttl.into())),
            ..Finding::default()
        }))
    }
}
