//! Who is killed, cut off or silenced, and at which step of a commit: the table of all pairs, and the order in which a run takes them.

use std::collections::BTreeSet;
use std::fmt;

use tributary::write::failpoint::Point;

use super::stage::{FILES, SERVERS, UNPREPARED};
use crate::differential::random::Random;

/// Steps that only a commit meets which the log alone decides.
const BY_LOG: [&str; 2] = ["before_decision", "after_decision"];
/// Steps of a commit that one of its stores decides.
const BY_LAST: [&str; 4] = ["after_begin_record", "after_mark", "before_last_commit", "after_last_commit"];

/// Somebody on the way of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// Tributary ends as by SIGKILL.
    Tributary,
    /// The connections of all clients break.
    Clients,
    /// A server is killed by SIGKILL, and started again.
    Server(&'static str),
    /// All connections to a server break, and there are no new ones for a while.
    Cut(&'static str),
    /// A server says nothing any more for a while, and then all connections to it break.
    Freeze(&'static str),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tributary => f.write_str("tributary killed"),
            Self::Clients => f.write_str("clients cut off"),
            Self::Server(store) => write!(f, "{store} killed"),
            Self::Cut(store) => write!(f, "{store} cut off"),
            Self::Freeze(store) => write!(f, "{store} silent"),
        }
    }
}

/// Who, and when.
pub type Pair = (Victim, &'static str);

/// Stores between which money is moved, and how that is decided.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    pub name: &'static str,
    /// As they are started (`Stage::start`).
    pub started: &'static [&'static str],
    /// Their names.
    pub stores: &'static [&'static str],
    /// Whether two of them can be prepared, so that the log decides alone.
    pub by_log: bool,
    /// Whether one of them cannot, and decides where it takes part.
    pub by_last: bool,
}

/// Three kinds of servers, of which one cannot be prepared.
pub const OF_SERVERS: Set =
    Set { name: "PostgreSQL, MariaDB and MongoDB", started: &SERVERS, stores: &SERVERS, by_log: true, by_last: true };
/// Files decide every commit that they take part in; without a second server none is decided by the log alone.
pub const OF_FILES: Set = Set { name: "PostgreSQL and two files", started: &FILES, stores: &FILES, by_log: false, by_last: true };
const FILE_BESIDE: [&str; 3] = ["pg", "maria", "east"];
/// Two servers that prepare and a file.
pub const OF_A_FILE: Set =
    Set { name: "PostgreSQL, MariaDB and a file", started: &FILE_BESIDE, stores: &FILE_BESIDE, by_log: true, by_last: true };
const DOCUMENTS_BESIDE: [&str; 2] = ["pg", "mongo"];
/// One that prepares and one that does not.
pub const OF_MONGODB: Set =
    Set { name: "PostgreSQL and MongoDB", started: &DOCUMENTS_BESIDE, stores: &DOCUMENTS_BESIDE, by_log: false, by_last: true };
/// A PostgreSQL that cannot prepare, and so decides.
pub const OF_UNPREPARED: Set = Set {
    name: "MariaDB and a PostgreSQL without prepared transactions",
    started: &[UNPREPARED, "maria"],
    stores: &["pg", "maria"],
    by_log: false,
    by_last: true,
};
/// Two that prepare: the log decides everything.
pub const OF_TWO: Set =
    Set { name: "PostgreSQL and MariaDB", started: &["pg", "maria"], stores: &["pg", "maria"], by_log: true, by_last: false };

impl Set {
    /// The steps that a commit of them meets, in their order.
    pub fn points(&self) -> Vec<&'static str> {
        let named = Point::ALL.into_iter().filter(|(point, _)| !point.is_of_sagas()).map(|(_, name)| name);
        named.filter(|name| (self.by_log || !BY_LOG.contains(name)) && (self.by_last || !BY_LAST.contains(name))).collect()
    }

    /// Everybody who can be killed, Tributary first.
    pub fn victims(&self) -> Vec<Victim> {
        let servers = self.stores.iter().copied().filter(|store| SERVERS.contains(store));
        let of_servers = servers.flat_map(|store| [Victim::Server(store), Victim::Cut(store), Victim::Freeze(store)]);
        [Victim::Tributary, Victim::Clients].into_iter().chain(of_servers).collect()
    }

    /// All pairs.
    pub fn table(&self) -> BTreeSet<Pair> {
        let points = self.points();
        let of = |victim: Victim| points.iter().map(move |point| (victim, *point));
        self.victims().into_iter().flat_map(of).collect()
    }

    /// So many pairs in an order by chance: the whole table over and over, and then a part of it. They come in rounds, each of which ends
    /// with Tributary itself. A part of the table that is long enough has Tributary at every step.
    pub fn rounds(&self, kills: usize, random: &mut Random) -> Vec<Vec<Pair>> {
        let (mut rounds, mut left) = (Vec::new(), kills);
        while left > 0 {
            let (own, others): (Vec<Pair>, Vec<Pair>) =
                self.table().into_iter().partition(|(victim, _)| *victim == Victim::Tributary);
            let (own, others) = (shuffled(own, random), shuffled(others, random));
            let taken = left.min(own.len() + others.len());
            let ends = own.len().min(taken.div_ceil(2));
            let beside = taken - ends;
            rounds.extend(in_rounds(&own[..ends], &others[..beside]));
            left -= taken;
        }
        rounds
    }

    /// What an ordinary run takes of the table where it has every step: Tributary at each of them, and everybody else once, at a step by
    /// chance.
    pub fn slice(&self, random: &mut Random) -> Vec<Vec<Pair>> {
        let points = self.points();
        let own = shuffled(points.iter().map(|point| (Victim::Tributary, *point)).collect(), random);
        let others = self.victims().into_iter().filter(|victim| *victim != Victim::Tributary);
        let others = others.map(|victim| (victim, *random.pick(&points))).collect();
        in_rounds(&own, &shuffled(others, random))
    }
}

/// Rounds that end so, with the others spread over them.
fn in_rounds(ends: &[Pair], others: &[Pair]) -> Vec<Vec<Pair>> {
    let part = |place: usize| &others[place * others.len() / ends.len()..(place + 1) * others.len() / ends.len()];
    ends.iter().enumerate().map(|(place, end)| part(place).iter().chain([end]).copied().collect()).collect()
}

fn shuffled(mut pairs: Vec<Pair>, random: &mut Random) -> Vec<Pair> {
    for place in (1..pairs.len()).rev() {
        pairs.swap(place, random.below(place + 1));
    }
    pairs
}

#[test]
fn a_run_of_postgres_mariadb_and_mongodb_has_every_pair_as_often_as_any_other() {
    for set in [OF_SERVERS, OF_FILES, OF_A_FILE, OF_MONGODB, OF_UNPREPARED, OF_TWO] {
        let (table, points) = (set.table(), set.points());
        assert_eq!(table.len(), set.victims().len() * points.len(), "{}", set.name);
        for kills in [1, 2, 2 * points.len(), table.len(), 1_000] {
            let rounds = set.rounds(kills, &mut Random::new(3));
            let pairs: Vec<Pair> = rounds.iter().flatten().copied().collect();
            assert_eq!(pairs.len(), kills, "{}", set.name);
            for round in &rounds {
                let own = round.iter().filter(|(victim, _)| *victim == Victim::Tributary).count();
                assert!(own == 1 && round.last().is_some_and(|(victim, _)| *victim == Victim::Tributary), "{round:?}");
            }
            let often = |pair: &Pair| pairs.iter().filter(|other| *other == pair).count();
            let counts: Vec<usize> = table.iter().map(often).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1 && *least == kills / table.len(), "{}: from {least} to {most} of {kills}", set.name);
            let at_all = points.iter().all(|point| pairs.contains(&(Victim::Tributary, *point)));
            assert!(at_all || kills < 2 * points.len(), "{}: {kills} are too few for every step", set.name);
        }
    }
    for set in [OF_SERVERS, OF_FILES, OF_A_FILE, OF_MONGODB, OF_UNPREPARED, OF_TWO] {
        let rounds = set.slice(&mut Random::new(3));
        let pairs: BTreeSet<Pair> = rounds.iter().flatten().copied().collect();
        let (points, victims) = (set.points(), set.victims());
        assert_eq!((rounds.len(), rounds.concat().len()), (points.len(), points.len() + victims.len() - 1), "{}", set.name);
        assert!(points.iter().all(|point| pairs.contains(&(Victim::Tributary, *point))), "{}: not at every step", set.name);
        assert!(victims.iter().all(|victim| pairs.iter().any(|(met, _)| met == victim)), "{}: not everybody", set.name);
        assert!(rounds.iter().all(|round| round.last().is_some_and(|(victim, _)| *victim == Victim::Tributary)), "{}", set.name);
    }
    // The same seed gives the same run.
    let of = |seed: u64| OF_SERVERS.rounds(40, &mut Random::new(seed));
    let first = of(1);
    assert!(first == of(1) && first != of(2));
}

#[test]
fn every_step_of_the_protocol_is_one_at_which_postgres_mariadb_and_mongodb_are_met() {
    let of_sagas = Point::ALL.iter().filter(|(point, _)| point.is_of_sagas()).count();
    assert_eq!(OF_SERVERS.points().len() + of_sagas, Point::ALL.len());
    assert_eq!(OF_FILES.points().len() + of_sagas + BY_LOG.len(), Point::ALL.len());
    assert_eq!(OF_TWO.points().len() + of_sagas + BY_LAST.len(), Point::ALL.len());
    assert_eq!(OF_SERVERS.table().len(), 143);
}
