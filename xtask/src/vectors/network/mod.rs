//! Vectors that need a network: each lists what every place answers.

mod ap;
mod bluesky;
mod dns;
mod github;
mod log;
mod nostr;
mod sources;
mod verify;

use super::*;

/// The input of a vector with its answers.
#[derive(Clone)]
struct Net(Json);

/// A row: name, rules, input, the outcome in short (see [`summary`]) and a comment.
type Row<'a> = (&'a str, &'a [&'a str], Net, &'a str, &'a str);

impl Net {
    /// The question whose account that is.
    fn about(subject: &str) -> Self {
        Self(json!({ "subject": subject, "answers": {} }))
    }

    /// The question what the history of that primary is.
    fn of(primary: &Identity) -> Self {
        Self(json!({ "primary": primary.as_str(), "answers": {} }))
    }

    fn set(mut self, member: &str, value: impl Into<Json>) -> Self {
        self.0[member] = value.into();
        self
    }

    fn answer(mut self, place: &str, answer: Json) -> Self {
        self.0["answers"][place] = answer;
        self
    }

    /// An HTTP answer with a text.
    fn http(self, url: &str, status: u16, body: &str) -> Self {
        self.answer(url, json!({ "status": status, "body": body }))
    }

    fn status(self, url: &str, status: u16) -> Self {
        self.http(url, status, "")
    }

    /// An HTML page, as web servers send one in the place of an answer.
    fn page(self, url: &str, status: u16, title: &str) -> Self {
        let body = format!("<!doctype html><title>{title}</title>");
        let headers = json!({ "content-type": "text/html" });
        self.answer(url, json!({ "status": status, "headers": headers, "body": body }))
    }

    fn json(self, url: &str, status: u16, value: Json) -> Self {
        let headers = json!({ "content-type": "application/json" });
        self.answer(url, json!({ "status": status, "headers": headers, "json": value }))
    }

    /// A header of an answer that is there already.
    fn header(mut self, url: &str, name: &str, value: &str) -> Self {
        self.0["answers"][url]["headers"][name] = value.into();
        self
    }

    fn fail(self, place: &str, code: &str) -> Self {
        self.answer(place, json!({ "fails": code }))
    }

    fn txt(self, name: &str, rcode: u8, records: &[&str]) -> Self {
        self.answer(&format!("dns:{name}?type=TXT"), json!({ "rcode": rcode, "records": records }))
    }

    /// A configured relay with events; filters fail as listed.
    fn relay(self, url: &str, events: &[Json], failed: Json) -> Self {
        self.named(url).answer(url, json!({ "events": events, "failed": failed }))
    }

    /// Adds a relay to the configured ones.
    fn named(mut self, url: &str) -> Self {
        match self.0["relays"].as_array_mut() {
            Some(relays) => relays.push(url.into()),
            None => self.0["relays"] = json!([url]),
        }
        self
    }
}

fn emit(v: &mut Vectors, kind: &str, rows: Vec<Row<'_>>) {
    for (name, rules, net, summary, comment) in rows {
        v.outcome(name, rules, kind, net.0, summary, comment);
    }
}

/// The owner of the accounts: an Ed25519 key, whose chain no relay is asked for.
fn owner() -> SecretKey {
    key(Scheme::Ed25519, 1)
}

/// A claim of an account by a key, an hour old.
fn claim_by(key: &SecretKey, subject: &str, change: impl FnOnce(&mut Claim)) -> Result<SignedClaim> {
    let mut claim = Claim::new(id(subject)?, name(key), now().plus(-3600));
    change(&mut claim);
    sign_claim(&claim, key)
}

/// A claim of an account by the owner, as a compact form.
fn proof_of(subject: &str) -> Result<String> {
    Ok(compact(&claim_by(&owner(), subject, |_| {})?))
}

fn compact(signed: &SignedClaim) -> String {
    proof::to_compact(signed.envelope())
}

pub(super) fn networks(v: &mut Vectors) -> Result<()> {
    sources::sources(v)?;
    verify::verifications(v)?;
    dns::dns(v)?;
    github::github(v)?;
    bluesky::bluesky(v)?;
    ap::ap(v)?;
    nostr::nostr(v)?;
    log::logs(v)
}
