//! An identity with all its edges.

use super::{
    Budget, History, Lookup, Memory, Question, Report, Status, Verifier, report::compare_beacons,
};
use crate::{
    Chain, Code, Error, Identity, Scheme, Timestamp,
    chain::{Device, Era},
    map::Map,
    transport::{MAX_CONCURRENCY, Transport},
};
use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
    stream,
};

/// An identity with all its edges. The JSON form is versioned by `schema`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "types", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Graph {
    /// `kez.graph/1`.
    pub schema: &'static str,
    /// What was asked for.
    pub query: Identity,
    /// The identity's name, if one was found.
    pub primary: Option<Identity>,
    /// The other owners that have a valid proof of what was asked for.
    pub contested_by: Vec<Identity>,
    /// `known`, `absent`, `unchecked`, `unknown` or `fork`.
    pub chain: &'static str,
    /// Why that may not be the chain, or not all of it.
    pub reason: Option<Code>,
    /// The reason in more detail.
    pub detail: Option<String>,
    /// The chain's head.
    pub head: Option<crate::Head>,
    /// The keys that were current, in order.
    pub keys: Vec<Era>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Whether the next key is committed to.
    pub pre_rotation: bool,
    /// One report an edge.
    pub edges: Vec<Report>,
    /// When this was made.
    pub checked_at: Timestamp,
}

impl Graph {
    /// The graph's own status: `fork` if the chain has one, else the worst of what its sources
    /// were caught at and of the edges that the owner did not revoke.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.chain == "fork" {
            return Status::Fork;
        }
        let caught = self.reason.map(Code::status);
        let rank = |s: &Status| match s {
            Status::Revoked => 0,
            Status::Valid => 1,
            Status::Expired => 2,
            Status::Unreachable => 3,
            Status::Invalid => 4,
            Status::Fork => 5,
        };
        let worst = self.edges.iter().map(|e| e.status).chain(caught).max_by_key(rank);
        worst.unwrap_or(if self.chain == "known" { Status::Valid } else { Status::Unreachable })
    }
}

impl<T: Transport, M: Memory> Verifier<'_, T, M> {
    /// The whole identity behind anything: its primary, its chain, and every claim verified.
    pub async fn identity(&self, query: &Identity) -> Graph {
        self.identity_question(&Question::about(query)).await
    }

    /// As [`Verifier::identity`], for one owner or with further facts. The verifier's budget bounds
    /// the requests, or the default one; accounts beyond it are edges with `search_incomplete`.
    pub async fn identity_question(&self, question: &Question<'_>) -> Graph {
        let bounded;
        let verifier = if self.budget.is_some() {
            self
        } else {
            bounded = Verifier {
                transport: self.transport,
                memory: self.memory,
                endpoints: self.endpoints.clone(),
                sources: self.sources.clone(),
                bundles: self.bundles.clone(),
                now: self.now,
                clock: self.clock,
                progress: self.progress,
                budget: Some(Budget::default()),
            };
            &bounded
        };
        verifier.identity_within(question, verifier.budget.as_ref()).await
    }

    async fn identity_within(&self, question: &Question<'_>, budget: Option<&Budget>) -> Graph {
        let query = question.subject;
        let mut histories = Map::default();
        let mut edges = Vec::new();
        let mut primary = None;
        let mut contested_by = Vec::new();
        if query.is_key() {
            let history = self.history(query, &[], None).await;
            // A nostr key without a chain of its own may be an account of another owner.
            let account = query.scheme() == Scheme::Nostr
                && !matches!(history, History::Known(_) | History::Forked(_));
            histories.insert(query, history);
            primary = (!account).then(|| query.clone());
        }
        if primary.is_none() {
            let mut reports = self.verify_with(question, &mut histories).await;
            let best = reports.remove(0);
            primary = best.primary.clone();
            if best.status == Status::Valid {
                let others = reports.into_iter().filter(|report| report.status == Status::Valid);
                contested_by = others.filter_map(|report| report.primary).collect();
            }
            if primary.is_some() || !query.is_key() {
                edges.push(best);
            } else {
                primary = Some(query.clone());
            }
        }
        let history = primary.as_ref().and_then(|primary| histories.remove(primary));
        let nothing = Error::from(Code::ChainUnreachable);
        let history = history.unwrap_or(History::Unknown(nothing));
        let mut graph = self.graph_of(query, primary, &history);
        graph.contested_by = contested_by;
        graph.edges = edges;
        if let (Some(primary), Some(budget)) = (graph.primary.clone(), budget) {
            self.add_edges(&mut graph, &primary, &history, budget).await;
        }
        graph
    }

    /// The graph without its edges.
    fn graph_of(&self, query: &Identity, primary: Option<Identity>, history: &History) -> Graph {
        let doubt = history.doubt().filter(|_| primary.is_some());
        let chain = shown_chain(history);
        Graph {
            schema: "kez.graph/1",
            query: query.clone(),
            contested_by: Vec::new(),
            chain: match history {
                History::Known(_) => "known",
                History::Absent => "absent",
                History::Unchecked => "unchecked",
                History::Unknown(_) => "unknown",
                History::Forked(_) => "fork",
            },
            reason: doubt.as_ref().map(Error::code),
            detail: doubt.as_ref().and_then(Error::context).map(ToOwned::to_owned),
            head: chain.and_then(Chain::head),
            keys: chain.map(|chain| chain.eras().to_vec()).unwrap_or_default(),
            devices: chain.iter().flat_map(|chain| chain.devices()).cloned().collect(),
            pre_rotation: chain.is_some_and(|chain| chain.next().is_some()),
            edges: Vec::new(),
            checked_at: self.now,
            primary,
        }
    }

    /// Looks up the accounts that the chain lists, as far as the budget goes.
    async fn add_edges(
        &self,
        graph: &mut Graph,
        primary: &Identity,
        history: &History,
        budget: &Budget,
    ) {
        let (mut live, mut dead) = self.listed(shown_chain(history), primary, &graph.edges);
        let left = live.split_off(live.len().min(budget.accounts()));
        let limit = format!("the sigchain lists more than {} accounts", budget.accounts());
        dead.extend(left.into_iter().map(|(subject, _)| self.unchecked(subject, &limit)));
        let found = self.look_up_all(&live, primary, history, budget).await;
        for ((subject, _), report) in live.into_iter().zip(found) {
            let late = "the time for one identity was over";
            graph.edges.push(report.unwrap_or_else(|| self.unchecked(subject, late)));
        }
        compare_beacons(&mut graph.edges);
        graph.edges.append(&mut dead);
        graph.edges.sort_by(|a, b| a.subject.cmp(&b.subject));
    }

    /// The owner's report on each account; none where the time of the budget was over before.
    async fn look_up_all(
        &self,
        accounts: &[(Identity, Vec<String>)],
        primary: &Identity,
        history: &History,
        budget: &Budget,
    ) -> Vec<Option<Report>> {
        let mut found: Vec<Option<Report>> = accounts.iter().map(|_| None).collect();
        if accounts.is_empty() {
            return found;
        }
        let mut end = Box::pin(self.transport.pause(budget.milliseconds()));
        let open =
            stream::iter(accounts.iter().enumerate()).map(|(n, (subject, hints))| async move {
                let mut known = Map::default();
                known.insert(primary, history.clone());
                let question = Question { hints: hints.clone(), ..Question::about(subject) };
                let reports = self.verify_with(&question, &mut known).await;
                (n, self.edge_of(reports, subject, primary))
            });
        let mut open = Box::pin(open.buffer_unordered(MAX_CONCURRENCY));
        while let Either::Left((Some((n, report)), _)) = select(open.next(), &mut end).await {
            found[n] = Some(report);
        }
        found
    }

    /// The report on an account that the budget left out.
    fn unchecked(&self, subject: Identity, why: &str) -> Report {
        Lookup::of(subject, self.now).failed(&Error::about(Code::SearchIncomplete, why))
    }

    /// The owner's report among those on an account.
    fn edge_of(&self, reports: Vec<Report>, subject: &Identity, primary: &Identity) -> Report {
        let own = |report: &&Report| report.primary.as_ref() == Some(primary);
        let failed = |report: &&Report| report.primary.is_none();
        let found = reports.iter().find(own).or_else(|| reports.iter().find(failed));
        if let Some(report) = found {
            return report.clone();
        }
        let other = reports.iter().find_map(|report| report.primary.as_ref());
        let why = other.map_or_else(String::new, |other| format!("it shows a proof by {other}"));
        let mut lookup = Lookup::of(subject.clone(), self.now);
        lookup.place = reports.first().and_then(|report| report.place.clone());
        lookup.failed(&Error::about(Code::ProofNotFound, why))
    }

    /// The listed accounts that are still in force, to be looked up, each with where its proofs
    /// were published, and reports on those that the owner revoked, which need no look. Accounts
    /// that are verified already are left out.
    fn listed(
        &self,
        chain: Option<&Chain>,
        primary: &Identity,
        done: &[Report],
    ) -> (Vec<(Identity, Vec<String>)>, Vec<Report>) {
        let mut live: Vec<(Identity, Vec<String>)> = Vec::new();
        let mut dead: Vec<Report> = Vec::new();
        let listings = chain.map(Chain::listings).unwrap_or_default();
        for (listing, revocation) in listings.into_iter().rev() {
            let subject = &listing.subject;
            if let Some((_, hints)) = live.iter_mut().find(|(other, _)| other == subject) {
                hints.extend(listing.url.clone());
                continue;
            }
            let about = |report: &Report| {
                report.subject == *subject || report.claimed_as.as_ref() == Some(subject)
            };
            if dead.iter().chain(done).any(about) {
                continue;
            }
            match revocation {
                None => live.push((subject.clone(), listing.url.iter().cloned().collect())),
                Some(revocation) => {
                    let mut lookup = Lookup::of(subject.clone(), self.now);
                    lookup.account.clone_from(&listing.account);
                    let head = chain.and_then(Chain::head);
                    dead.push(lookup.revoked(primary, listing, revocation, head));
                }
            }
        }
        (live, dead)
    }
}

/// The chain that a graph shows. Of a fork it is the first branch, so that its edges can be named
/// at all.
fn shown_chain(history: &History) -> Option<&Chain> {
    match history {
        History::Forked(fork) => Some(fork.branches().0),
        other => other.chain(),
    }
}
