//! `dns:` — TXT records at `_kez.<domain>`.

use super::near;
use crate::channel::{Fetched, Finding, Lookup, Miss, Step, Text, failed};
use crate::{
    Code, Identity,
    transport::Place,
    transport::{Body, Request},
};
use alloc::{
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

pub(crate) struct DnsLookup {
    subject: Identity,
    name: String,
    /// What was found at the right name, while the wrong names are asked.
    finding: Option<Finding>,
}

impl DnsLookup {
    pub(crate) fn new(subject: &Identity) -> Self {
        Self { subject: subject.clone(), name: format!("_kez.{}", subject.value()), finding: None }
    }

    /// Names at which a record for this domain ends up by mistake: without `_kez`, without the
    /// underscore, with the domain appended by a provider that expects a relative name, or at the
    /// domain above, for a provider that was given `_kez` alone.
    fn wrong_names(&self) -> Vec<String> {
        let domain = self.subject.value();
        let mut names =
            vec![domain.to_string(), format!("kez.{domain}"), format!("{}.{domain}", self.name)];
        if let Some((_, above)) = domain.split_once('.').filter(|(_, above)| above.contains('.')) {
            names.push(format!("_kez.{above}"));
        }
        // A name has at most 253 characters (RFC 1035, section 2.3.4).
        names.retain(|name| name.len() <= 253);
        names
    }

    fn read(&mut self, (request, answer): Fetched) -> Result<Finding, Miss> {
        let answer = answer.map_err(|failure| failed(&request, failure))?;
        let place = answer.place(&request);
        let Body::Txt { rcode, mut records, authentic, ttl } = answer.body else {
            return Err(Miss::at(Code::ResponseRefused, place));
        };
        // A bogus DNSSEC chain shows as a failure too, so it never counts as "no proof".
        if rcode != 0 && rcode != 3 {
            return Err(Miss::at(Code::DnsFailed, place).because(format!("rcode {rcode}")));
        }
        // The order of records changes from query to query.
        records.sort();
        let mut finding = Finding {
            place: Some(place.clone()),
            dnssec: Some(authentic),
            source: Some((answer.via, answer.fetched_at)),
            lasts_until: ttl.map(|ttl| answer.fetched_at.plus(ttl.into())),
            ..Finding::default()
        };
        for record in records {
            let text = String::from_utf8_lossy(&record).into_owned();
            match near::diagnose(&text) {
                None if text.starts_with("kez:") => {
                    finding.texts.push(Text { text, place: place.clone() });
                }
                None => {}
                Some(why) => {
                    let mut miss = Miss::at(Code::ProofMalformed, place.clone()).because(why);
                    miss.retry_at = finding.lasts_until;
                    finding.fail(miss);
                }
            }
        }
        Ok(finding)
    }

    /// Looks for the record at wrong names. Whatever they answer, the finding stands; only its
    /// explanation may change.
    fn misplaced(&self, mut finding: Finding, answers: Vec<Fetched>) -> Finding {
        for (request, answer) in answers {
            let (Request::Txt { name }, Ok(answer)) = (&request, answer) else { continue };
            let Body::Txt { rcode: 0, records, .. } = &answer.body else { continue };
            let mut texts = records.iter().filter_map(|record| core::str::from_utf8(record).ok());
            // The domain above has a record of its own at that name.
            let others = name.starts_with("_kez.") && !name.ends_with(self.subject.value());
            if texts.any(|text| near::is_of(text, &self.subject, others)) {
                let place = Place { url: request.place(), ..Place::default() };
                let mut miss = Miss::at(Code::ProofMalformed, place).because(format!(
                    "a KEZ record is at {name}{}; it belongs at {}",
                    if *name == self.subject.value() { " itself" } else { "" },
                    self.name
                ));
                miss.retry_at = finding.lasts_until;
                finding.fail(miss);
            }
        }
        finding
    }
}

impl Lookup for DnsLookup {
    fn step(&mut self, mut answers: Vec<Fetched>) -> Step {
        if let Some(finding) = self.finding.take() {
            return Step::Done(Ok(self.misplaced(finding, answers)));
        }
        if answers.is_empty() {
            return Step::Ask(vec![Request::Txt { name: self.name.clone() }]);
        }
        match self.read(answers.remove(0)) {
            Err(miss) => miss.into(),
            Ok(finding) if !finding.texts.is_empty() || finding.failed.is_some() => {
                Step::Done(Ok(finding))
            }
            Ok(finding) => {
                self.finding = Some(finding);
                let names = self.wrong_names().into_iter();
                Step::Ask(names.map(|name| Request::Txt { name }).collect())
            }
        }
    }
}
