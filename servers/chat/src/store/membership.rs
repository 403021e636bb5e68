//! Who receives the entries of a conversation.
//!
//! A commit names its recipients, and the server cannot verify a commit. So one commit never ends
//! the delivery to a member: the server compares what the members accept. Each member has an
//! *opinion*, the recipients of the last commit that it accepted. *Electors* are the members whose
//! opinions count. A handle becomes an elector, or stops to be one, by the majority of the others.
//! The rules are in SPEC.md ("Membership").

use super::{Refusal, directory};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// The most electors of a conversation.
const ELECTORS: usize = 256;
/// The most handles to which a conversation is delivered: all electors, and all recipients of the
/// last commit.
const DELIVERED: usize = 2 * ELECTORS;
/// How many of the others have to omit an elector, at least: the committer alone is not enough.
const OMIT: usize = 2;

/// A handle to which a conversation is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Member {
    /// Of an elector, the newest commit whose recipients made it one. Opinions older than that say
    /// nothing about it.
    elector: Option<u64>,
    /// The position of the last commit that it accepted, 0 for none.
    accepted: u64,
    /// Whether one of its devices was here within the retention time.
    active: bool,
}

impl Member {
    const fn votes(&self) -> bool {
        self.elector.is_some() && self.active
    }
}

/// The opinions of the voters: electors that were here within the retention time.
struct Votes<'a> {
    voters: usize,
    /// The opinions by their positions, each with the number of voters that have it. Most members
    /// have the same one.
    opinions: Vec<(u64, &'a BTreeSet<String>, usize)>,
}

/// What voters, the handle itself apart, say about a handle.
struct Count {
    /// How many of them name it, and in which commit at most.
    name: usize,
    named_at: u64,
    /// How many of them omit it, and in which commit at most.
    omit: usize,
    omitted_at: u64,
    /// How many there are.
    all: usize,
}

impl<'a> Votes<'a> {
    fn count(membership: &'a Membership) -> Self {
        let voters = || membership.members.values().filter(|member| member.votes());
        let mut weights: BTreeMap<u64, usize> = BTreeMap::new();
        for member in voters() {
            *weights.entry(member.accepted).or_default() += 1;
        }
        let opinion = |(position, weight)| {
            membership.rosters.get(&position).map(|roster| (position, roster, weight))
        };
        Self {
            voters: voters().count(),
            opinions: weights.into_iter().filter_map(opinion).collect(),
        }
    }

    /// The handles that at least half of the voters name.
    fn candidates(&self) -> impl Iterator<Item = &'a String> {
        let mut names: BTreeMap<&String, usize> = BTreeMap::new();
        for (_, roster, weight) in &self.opinions {
            for handle in *roster {
                *names.entry(handle).or_default() += weight;
            }
        }
        let voters = self.voters;
        names.into_iter().filter(move |(_, weight)| 2 * weight >= voters).map(|(handle, _)| handle)
    }

    fn of_others(&self, handle: &String, member: Option<&Member>) -> Count {
        let voter = member.filter(|member| member.votes());
        let since = member.and_then(|member| member.elector).unwrap_or_default();
        let all = self.voters - usize::from(voter.is_some());
        let mut count = Count { name: 0, named_at: 0, omit: 0, omitted_at: 0, all };
        for (position, roster, weight) in &self.opinions {
            let own = voter.is_some_and(|voter| voter.accepted == *position);
            let weight = weight - usize::from(own);
            if weight == 0 {
                continue;
            }
            if roster.contains(handle) {
                count.name += weight;
                count.named_at = *position;
            } else if *position > since {
                count.omit += weight;
                count.omitted_at = *position;
            }
        }
        count
    }
}

/// What becomes of a handle.
enum Decision {
    /// It becomes an elector, by commits up to a position.
    Join(u64),
    /// It is no elector any more, and recipients of commits up to a position no longer have it.
    Leave(u64),
}

/// The members of a conversation and their opinions.
#[derive(Debug, Default)]
pub(super) struct Membership {
    members: BTreeMap<String, Member>,
    /// The recipients of the commits that are a member's opinion, and of the last one.
    rosters: BTreeMap<u64, BTreeSet<String>>,
    /// The position of the last commit.
    changed: u64,
    creator: String,
    stored: Stored,
}

/// What the file has, so that only what differs is written: a large group has hundreds of handles,
/// and a commit or an acknowledgement changes few of them.
#[derive(Debug, Default)]
struct Stored {
    members: BTreeMap<String, Member>,
    /// The commits whose recipients are stored as they are here.
    rosters: BTreeSet<u64>,
    /// The commits whose recipients are not, or no longer.
    other: BTreeSet<u64>,
}

impl Stored {
    /// The recipients of a commit change.
    fn differs(&mut self, position: u64) {
        self.rosters.remove(&position);
        self.other.insert(position);
    }
}

impl Membership {
    /// Reads the members of a conversation. Members that were last here before `since`, in seconds
    /// since 1970, do not vote.
    pub(super) fn load(
        db: &Connection,
        conversation: &str,
        changed: u64,
        since: i64,
    ) -> Result<Self, Refusal> {
        let mut query = db.prepare_cached(
            "SELECT members.handle, elector, accepted, seen >= ?2 FROM members
             JOIN handles ON handles.handle = members.handle WHERE conversation = ?1",
        )?;
        let members = query.query_map(params![conversation, since], |row| {
            let (elector, accepted, active) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, Member { elector, accepted, active }))
        })?;
        let members: BTreeMap<String, Member> = members.collect::<Result<_, _>>()?;
        let creator = db
            .prepare_cached("SELECT creator FROM conversations WHERE id = ?")?
            .query_row([conversation], |row| row.get(0))?;
        let mut query =
            db.prepare_cached("SELECT position, handles FROM rosters WHERE conversation = ?")?;
        let rosters = query.query_map([conversation], |row| {
            let handles: String = row.get(1)?;
            Ok((row.get(0)?, handles.split_whitespace().map(str::to_owned).collect()))
        })?;
        let rosters: BTreeMap<u64, BTreeSet<String>> = rosters.collect::<Result<_, _>>()?;
        let positions = rosters.keys().copied().collect();
        let stored = Stored { members: members.clone(), rosters: positions, ..Stored::default() };
        Ok(Self { members, rosters, changed, creator, stored })
    }

    /// A member posts a commit, and accepts it thereby.
    pub(super) fn commit(&mut self, by: &str, position: u64, recipients: BTreeSet<String>) {
        self.rosters.insert(position, recipients);
        self.stored.differs(position);
        self.changed = position;
        self.accept(by, position);
    }

    /// A member accepts a commit. A commit that is no longer known, or older than one that the
    /// member accepted, changes nothing.
    /// Gives whether it changed the member's opinion.
    pub(super) fn accept(&mut self, by: &str, position: u64) -> bool {
        match self.members.get_mut(by) {
            Some(member) if position > member.accepted && self.rosters.contains_key(&position) => {
                member.accepted = position;
                true
            }
            _ => false,
        }
    }

    /// Counts the opinions, until nothing changes.
    pub(super) fn settle(&mut self) {
        // A round changes the electorate, which may decide more. Rounds are bounded, since members
        // may contradict each other.
        for _ in 0..8 {
            let decisions = self.decide();
            if decisions.is_empty() {
                break;
            }
            for (handle, decision) in decisions {
                let member = self.members.entry(handle.clone()).or_default();
                match decision {
                    Decision::Join(since) => member.elector = Some(since),
                    Decision::Leave(until) => {
                        member.elector = None;
                        for (position, roster) in self.rosters.range_mut(..=until) {
                            if roster.remove(&handle) {
                                self.stored.differs(*position);
                            }
                        }
                    }
                }
            }
        }
        let delivered = self.delivered();
        self.members.retain(|handle, _| delivered.contains(handle));
        for handle in delivered {
            self.members.entry(handle).or_default();
        }
        let Self { members, rosters, changed, .. } = self;
        rosters.retain(|position, _| {
            position == changed || members.values().any(|member| member.accepted == *position)
        });
    }

    fn opinion(&self, member: &Member) -> Option<&BTreeSet<String>> {
        self.rosters.get(&member.accepted)
    }

    /// The handles that become electors, or stop to be, by the opinions as they are.
    fn decide(&self) -> Vec<(String, Decision)> {
        let votes = Votes::count(self);
        let electors = self.members.values().filter(|member| member.elector.is_some()).count();
        let mut room = ELECTORS.saturating_sub(electors);
        let all: BTreeSet<&String> = self.members.keys().chain(votes.candidates()).collect();
        let mut decisions = Vec::new();
        for handle in all {
            let member = self.members.get(handle);
            let own = member.and_then(|member| self.opinion(member));
            let agrees = own.is_some_and(|opinion| !opinion.contains(handle));
            let count = votes.of_others(handle, member);
            if let Some(member) = member.filter(|member| member.elector.is_some()) {
                // Of two, the creator decides: otherwise each could keep the other for good.
                let creator = self.members.get(&self.creator).is_some_and(Member::votes);
                let decides =
                    creator && *handle != self.creator && (count.omit, count.all) == (1, 1);
                if agrees {
                    decisions.push((handle.clone(), Decision::Leave(member.accepted)));
                } else if decides || (count.omit >= OMIT && 2 * count.omit > count.all) {
                    decisions.push((handle.clone(), Decision::Leave(count.omitted_at)));
                }
            } else if !agrees && 2 * count.name > count.all && room > 0 {
                room -= 1;
                decisions.push((handle.clone(), Decision::Join(count.named_at)));
            }
        }
        decisions
    }

    /// The electors, the handles that their opinions name, and the recipients of the last commit if
    /// one of these accepts it, up to the limit.
    fn delivered(&self) -> BTreeSet<String> {
        let electors = || self.members.iter().filter(|(_, member)| member.elector.is_some());
        let opinions = || electors().filter_map(|(_, member)| self.opinion(member)).flatten();
        let accepts = |handle: &String| {
            self.members.get(handle).is_some_and(|member| member.accepted == self.changed)
        };
        let known = || electors().map(|(handle, _)| handle).chain(opinions());
        let last = self.rosters.get(&self.changed).filter(|_| known().any(accepts));
        let mut all = BTreeSet::new();
        // A member of long standing comes before those that the last commit brings, and these come
        // before those that only some other member names.
        let order = electors().map(|(handle, _)| handle).chain(last.into_iter().flatten());
        for handle in order.chain(opinions()) {
            if all.len() == DELIVERED {
                break;
            }
            all.insert(handle.clone());
        }
        all
    }

    /// Writes the members and the recipients of their commits, as far as they changed.
    pub(super) fn save(&self, db: &Connection, conversation: &str) -> Result<(), Refusal> {
        let before = &self.stored.members;
        for gone in before.keys().filter(|handle| !self.members.contains_key(*handle)) {
            db.prepare_cached("DELETE FROM members WHERE conversation = ?1 AND handle = ?2")?
                .execute([conversation, gone])?;
        }
        for (handle, member) in &self.members {
            let old = before.get(handle);
            // A released handle receives nothing.
            if old == Some(member) || directory::has_owner(db, handle)? != Some(true) {
                continue;
            }
            db.prepare_cached(
                "INSERT INTO members (conversation, handle, elector, accepted)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET elector = ?3, accepted = ?4",
            )?
            .execute(params![
                conversation,
                handle,
                member.elector,
                member.accepted
            ])?;
        }
        self.save_rosters(db, conversation)
    }

    fn save_rosters(&self, db: &Connection, conversation: &str) -> Result<(), Refusal> {
        let Stored { rosters, other, .. } = &self.stored;
        for gone in rosters.union(other).filter(|position| !self.rosters.contains_key(position)) {
            db.prepare_cached("DELETE FROM rosters WHERE conversation = ?1 AND position = ?2")?
                .execute(params![conversation, gone])?;
        }
        for (position, handles) in self.rosters.iter().filter(|(at, _)| !rosters.contains(at)) {
            let handles: Vec<&str> = handles.iter().map(String::as_str).collect();
            db.prepare_cached(
                "INSERT INTO rosters (conversation, position, handles) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET handles = ?3",
            )?
            .execute(params![conversation, position, handles.join(" ")])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    /// A conversation whose members have accepted the first commit, which names all of them.
    fn group(names: &[&str]) -> Membership {
        let mut group = Membership { creator: names[0].into(), ..Membership::default() };
        let creator = Member { elector: Some(0), accepted: 0, active: true };
        group.members.insert(names[0].into(), creator);
        post(&mut group, names[0], 1, names);
        for name in names {
            accept(&mut group, name, 1);
        }
        group
    }

    fn post(group: &mut Membership, by: &str, position: u64, names: &[&str]) {
        group.commit(by, position, names.iter().map(|&name| name.into()).collect());
        group.settle();
        group.members.values_mut().for_each(|member| member.active = true);
    }

    fn accept(group: &mut Membership, by: &str, position: u64) {
        group.accept(by, position);
        group.settle();
    }

    fn delivered(group: &Membership) -> Vec<&str> {
        group.members.keys().map(String::as_str).collect()
    }

    fn electors(group: &Membership) -> Vec<&str> {
        let electors = group.members.iter().filter(|(_, member)| member.elector.is_some());
        electors.map(|(handle, _)| handle.as_str()).collect()
    }

    #[test]
    fn one_member_ends_no_delivery() {
        for names in [&["m"][..], &["a", "m"], &[], &["m", "x", "y"]] {
            let mut group = group(&["a", "b", "m"]);
            for position in 2..20 {
                post(&mut group, "m", position, names);
            }
            assert_eq!(electors(&group)[..2], ["a", "b"], "{names:?}");
            // The members go on from where they were.
            post(&mut group, "a", 20, &["a", "b", "m"]);
            accept(&mut group, "b", 20);
            assert!(delivered(&group).contains(&"b"));
        }
    }

    #[test]
    fn handles_that_one_member_names_do_not_vote() {
        let mut group = group(&["a", "b", "m"]);
        post(&mut group, "m", 2, &["m", "x", "y", "z"]);
        assert_eq!(delivered(&group), ["a", "b", "m", "x", "y", "z"]);
        for name in ["x", "y", "z"] {
            accept(&mut group, name, 2);
        }
        assert_eq!(electors(&group), ["a", "b", "m"]);
        // They are gone with the next commits of the others.
        post(&mut group, "a", 3, &["a", "b"]);
        accept(&mut group, "b", 3);
        assert_eq!(delivered(&group), ["a", "b"]);
    }

    #[test]
    fn a_removal_ends_delivery_when_most_of_the_others_accept() {
        let mut group = group(&["a", "b", "c", "m"]);
        post(&mut group, "a", 2, &["a", "b", "c"]);
        assert_eq!(delivered(&group), ["a", "b", "c", "m"]);
        // The removed member cannot bring others in or itself back, and not every member has to
        // accept.
        post(&mut group, "m", 3, &["a", "b", "c", "m", "x"]);
        assert_eq!(delivered(&group), ["a", "b", "c", "m", "x"]);
        accept(&mut group, "b", 2);
        assert_eq!(electors(&group), ["a", "b", "c"]);
        assert_eq!(delivered(&group), ["a", "b", "c"]);
        // Until a member adds it again.
        post(&mut group, "a", 4, &["a", "b", "c", "m"]);
        assert_eq!(delivered(&group), ["a", "b", "c", "m"]);
    }

    #[test]
    fn opinions_older_than_a_member_say_nothing_about_it() {
        let mut group = group(&["a", "b", "c", "d", "m"]);
        post(&mut group, "a", 2, &["a", "b", "c", "d", "m", "x"]);
        accept(&mut group, "b", 2);
        accept(&mut group, "m", 2);
        assert_eq!(electors(&group), ["a", "b", "c", "d", "m", "x"]);
        // c and d have not seen that x joined. That helps nobody to remove x.
        post(&mut group, "m", 3, &["m"]);
        assert_eq!(electors(&group), ["a", "b", "c", "d", "m", "x"]);
    }

    #[test]
    fn a_new_member_stays_whatever_comes_next() {
        let mut group = group(&["a", "b", "m"]);
        post(&mut group, "a", 2, &["a", "b", "m", "x"]);
        post(&mut group, "m", 3, &["m"]);
        assert_eq!(delivered(&group), ["a", "b", "m", "x"]);
        // It may bring a device of its own, and with it nobody is lost either.
        post(&mut group, "x", 4, &["a", "b", "m", "x", "y"]);
        assert_eq!(delivered(&group), ["a", "b", "m", "x", "y"]);
    }

    #[test]
    fn a_member_that_agrees_to_its_removal_leaves_at_once() {
        let mut group = group(&["a", "b", "c"]);
        post(&mut group, "a", 2, &["a", "c"]);
        assert_eq!(delivered(&group), ["a", "b", "c"]);
        accept(&mut group, "b", 2);
        assert_eq!(delivered(&group), ["a", "c"]);
        // Added again, it votes again once others accept.
        post(&mut group, "a", 3, &["a", "b", "c"]);
        assert_eq!((delivered(&group), electors(&group)), (vec!["a", "b", "c"], vec!["a", "c"]));
        accept(&mut group, "c", 3);
        assert_eq!(electors(&group), ["a", "b", "c"]);
    }

    #[test]
    fn of_two_the_creator_decides() {
        let mut group = group(&["a", "b"]);
        // The other one does not.
        post(&mut group, "b", 2, &["b", "x"]);
        assert_eq!(electors(&group), ["a", "b"]);
        post(&mut group, "a", 3, &["a", "c"]);
        assert_eq!((delivered(&group), electors(&group)), (vec!["a", "c"], vec!["a", "c"]));
    }

    #[test]
    fn members_who_are_long_gone_do_not_stop_a_removal() {
        let mut group = group(&["a", "b", "c", "d", "e", "f", "m"]);
        post(&mut group, "a", 2, &["a", "b", "c", "d", "e", "f"]);
        for name in ["c", "d", "e", "f"] {
            group.members.get_mut(name).unwrap().active = false;
        }
        accept(&mut group, "b", 2);
        assert_eq!(delivered(&group), ["a", "b", "c", "d", "e", "f"]);
        // Nor does it where only the creator is left.
        let mut group = self::group(&["a", "b", "m"]);
        group.members.get_mut("b").unwrap().active = false;
        group.commit("a", 2, ["a".to_owned(), "b".to_owned()].into());
        group.settle();
        assert_eq!(delivered(&group), ["a", "b"]);
    }

    #[test]
    fn delivery_is_bounded() {
        let names: Vec<String> = (0..256).map(|n| format!("n{n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut group = group(&names);
        assert_eq!(electors(&group).len(), 256);
        for (n, name) in names.iter().enumerate() {
            let strangers: Vec<String> = (0..256).map(|s| format!("s{n}-{s}")).collect();
            let strangers: Vec<&str> = strangers.iter().map(String::as_str).collect();
            let position = 2 + u64::try_from(n).unwrap();
            group.commit(name, position, strangers.iter().map(|&s| s.into()).collect());
        }
        group.settle();
        assert!(group.members.len() <= DELIVERED, "{}", group.members.len());
    }

    /// What is written is what is read again, whatever members do.
    #[test]
    fn the_file_has_what_memory_has() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::TABLES).unwrap();
        let names = ["a", "b", "c", "d", "e", "f"];
        for name in names {
            let sql = "INSERT INTO handles (handle, person, created, seen) VALUES (?1, ?1, 0, ?2)";
            db.execute(sql, params![name, i64::from(name != "f")]).unwrap();
        }
        crate::store::conversation::create(&db, "talk", "a", 1).unwrap();
        let (mut changed, mut state) = (0, 7_u64);
        let mut roll = |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % sides
        };
        let mut electors = BTreeSet::new();
        for position in 1..2000 {
            let mut members = Membership::load(&db, "talk", changed, 1).unwrap();
            let by = names[usize::try_from(roll(6)).unwrap()];
            if roll(2) == 0 && members.members.contains_key(by) {
                let named = names.iter().filter(|_| roll(4) > 0).map(|&name| name.into());
                members.commit(by, position, named.collect());
                changed = position;
            } else if !members.accept(by, roll(position)) {
                continue;
            }
            members.settle();
            members.save(&db, "talk").unwrap();
            let again = Membership::load(&db, "talk", changed, 1).unwrap();
            let known = |members: &Membership| -> Vec<_> {
                let all = members.members.iter();
                all.map(|(handle, m)| (handle.clone(), m.elector, m.accepted)).collect()
            };
            assert_eq!((known(&again), &again.rosters), (known(&members), &members.rosters));
            electors.insert(again.members.values().filter(|m| m.elector.is_some()).count());
        }
        // It was not always the same.
        assert!(electors.len() > 2, "{electors:?}");
    }
}
