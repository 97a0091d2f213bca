//! Streams with bytes in them that are no message, read as often as a feed would read them.

use std::sync::Arc;

use super::super::super::super::capture::{Followed, How, Step};
use super::super::super::super::change::{Barrier, Entry, Group, Shape};
use super::super::super::super::connector::StoreName;
use super::super::facts::tests::{facts, table};
use super::super::facts::{AllFacts, Facts};
use super::super::groups::Origin;
use super::*;

const SHORT: Fate = Fate::Again("ends too early");

/// `public.t (id integer primary key, note text)` has number 7, `public.u` 8.
fn followed(name: &str) -> Followed {
    let mut table = table();
    table.id.name = name.to_owned();
    let shape = Shape::of(&table, vec![0], vec![true, false]);
    Followed { table: Arc::new(table), shape }
}

fn groups(names: &[&str], from: u64) -> Groups {
    let origin = Origin { store: StoreName::new("shop"), how: How::Log, cluster: 5, timeline: 1 };
    let tables: Vec<Followed> = names.iter().map(|name| followed(name)).collect();
    let all =
        AllFacts::from([(followed("t").table.id.clone(), facts()), (followed("u").table.id.clone(), Facts { oid: 8, ..facts() })]);
    Groups::new(origin, from, None, (7, 0), (&tables, &[]), &all)
}

fn begin(commit: u64) -> Vec<u8> {
    [b"B".as_slice(), &commit.to_be_bytes(), &1_i64.to_be_bytes(), &9_u32.to_be_bytes()].concat()
}

fn commit(end: u64) -> Vec<u8> {
    [b"C\0".as_slice(), &(end - 8).to_be_bytes(), &end.to_be_bytes(), &1_i64.to_be_bytes()].concat()
}

/// The second column has a type of this number.
fn relation(number: u32, name: &str, note: u32) -> Vec<u8> {
    let column = |flags: u8, name: &str, kind: u32| {
        [[flags].as_slice(), name.as_bytes(), b"\0", &kind.to_be_bytes(), &(-1_i32).to_be_bytes()].concat()
    };
    let columns = [column(1, "id", 23), column(0, "note", note)].concat();
    [b"R".as_slice(), &number.to_be_bytes(), b"public\0", name.as_bytes(), b"\0d\0\x02", columns.as_slice()].concat()
}

fn insert(number: u32, texts: &[&str]) -> Vec<u8> {
    let mut bytes = [b"I".as_slice(), &number.to_be_bytes(), b"N"].concat();
    bytes.extend(u16::try_from(texts.len()).unwrap().to_be_bytes());
    for text in texts {
        bytes.push(b't');
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// Without its last byte.
fn short(mut message: Vec<u8>) -> Vec<u8> {
    message.pop();
    message
}

/// A transaction in which both tables are described first.
fn transaction(at: u64, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let described = [begin(at), relation(7, "t", 25), relation(8, "u", 25)];
    described.into_iter().chain(messages.iter().cloned()).chain([commit(at + 8)]).collect()
}

fn feed(groups: &mut Groups, strikes: &Strikes, messages: &[Vec<u8>]) -> Result<(), Fate> {
    messages.iter().try_for_each(|content| match content.first() {
        Some(b'B' | b'C') => take_bound(groups, strikes, &decode::read(content).unwrap()),
        _ => take(groups, strikes, content),
    })
}

/// Reads a stream as a new feed does.
fn attempt(strikes: &Strikes, messages: &[Vec<u8>]) -> (Groups, Result<(), Fate>) {
    let mut groups = groups(&["t", "u"], 100);
    let taken = feed(&mut groups, strikes, messages);
    (groups, taken)
}

/// Each entry of a group: the table of a row, or what is told of a table, and the reasons.
fn told(group: &Group) -> (Vec<String>, Vec<String>) {
    let mut reasons = Vec::new();
    let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
    let words = entries.map(|entry| match entry {
        Entry::Row { rows, .. } => group.rows[*rows as usize].shape.id.name.clone(),
        Entry::Barrier(Barrier::Stopped { table, reason }) => {
            reasons.push(reason.clone());
            format!("{} stops", table.name)
        }
        Entry::Barrier(other) => format!("{other:?}"),
    });
    (words.collect(), reasons)
}

fn closed(groups: &mut Groups) -> Group {
    groups.close().unwrap().unwrap()
}

#[test]
fn a_row_that_cannot_be_read_three_times_stops_its_table_alone() {
    let good = insert(7, &["1", "a"]);
    let mut odd = good.clone();
    odd[8] = b'x';
    let rows: [(Vec<u8>, &'static str); 5] = [
        (short(good.clone()), "ends too early"),
        (good[..6].to_vec(), "ends too early"),
        ([good.as_slice(), b"\0"].concat(), "has bytes behind its end"),
        (odd, "has a value of unknown form"),
        (insert(7, &["1"]), "has another number of columns than its table"),
    ];
    for (bad, what) in rows {
        let strikes = Strikes::default();
        let messages = [good.clone(), bad.clone(), bad.clone(), good.clone(), insert(8, &["2", "b"])];
        let stream = [transaction(200, &messages), transaction(216, &[bad.clone(), insert(8, &["3", "c"])])].concat();
        assert_eq!(attempt(&strikes, &stream).1, Err(Fate::Again(what)));
        assert_eq!(attempt(&strikes, &stream).1, Err(Fate::Again(what)));
        let (mut groups, taken) = attempt(&strikes, &stream);
        assert_eq!(taken, Ok(()), "{what}");
        let (words, reasons) = told(&closed(&mut groups));
        assert_eq!(words, ["t", "t stops", "u", "u"]);
        assert!(reasons[0].contains(what), "{reasons:?}");
        assert!(groups.take_doubts().is_empty());
        // Its rows are left out from there on, whatever they are.
        assert_eq!(feed(&mut groups, &strikes, &transaction(232, &[bad, good.clone()])), Ok(()));
        assert!(groups.close().unwrap().is_none());
        // Read again from there, as when that was not kept, it is the same at once; another place is not.
        assert_eq!(attempt(&strikes, &stream).1, Ok(()));
        assert_eq!(attempt(&strikes, &transaction(400, &messages)).1, Err(Fate::Again(what)));
    }
}

#[test]
fn what_is_about_no_known_table_is_a_gap_the_third_time() {
    let rows: [(Vec<u8>, &'static str); 5] = [
        (b"Z\0\0\0\x07".to_vec(), "is of an unknown kind"),
        (Vec::new(), "ends too early"),
        (insert(9, &["1", "a"]), "is about a table that was not described"),
        (short(relation(9, "v", 25)), "ends too early"),
        (b"T\0\0\0\x01\0\0\0\0".to_vec(), "ends too early"),
    ];
    for (bad, what) in rows {
        let strikes = Strikes::default();
        let before = transaction(200, &[insert(7, &["1", "a"])]);
        let stream = [before, transaction(216, &[insert(7, &["2", "b"]), bad])].concat();
        for _ in 0..2 {
            assert_eq!(attempt(&strikes, &stream).1, Err(Fate::Again(what)));
            // Behind the gap it begins to be counted anew.
            assert_eq!(attempt(&strikes, &stream).1, Err(Fate::Again(what)));
            assert!(strikes.is_in(216) && !strikes.is_in(200));
            assert_eq!(attempt(&strikes, &stream).1, Err(Fate::Lost(what)));
            assert!(!strikes.is_in(216));
        }
    }
}

#[test]
fn only_tries_of_one_place_are_counted() {
    let (good, bad) = ([insert(7, &["1", "a"])], [short(insert(7, &["1", "a"]))]);
    let strikes = Strikes::default();
    let stream = transaction(200, &bad);
    assert_eq!((attempt(&strikes, &stream).1, attempt(&strikes, &stream).1), (Err(SHORT), Err(SHORT)));
    // It could be read after all.
    assert_eq!(attempt(&strikes, &transaction(200, &good)).1, Ok(()));
    assert_eq!((attempt(&strikes, &stream).1, attempt(&strikes, &stream).1), (Err(SHORT), Err(SHORT)));
    // Another place comes between.
    let other = [transaction(200, &good), transaction(216, &bad)].concat();
    assert_eq!(attempt(&strikes, &other).1, Err(SHORT));
    assert_eq!(attempt(&strikes, &stream).1, Err(SHORT));
    // What comes before the place, and is read again each time, is no way past it.
    let strikes = Strikes::default();
    let stream = [transaction(120, &good), transaction(200, &bad)].concat();
    let taken = [0; 3].map(|_| attempt(&strikes, &stream).1);
    assert_eq!(taken, [Err(SHORT), Err(SHORT), Ok(())]);
}

#[test]
fn places_behind_one_another_are_all_passed() {
    let (bad, good) = (|number| short(insert(number, &["1", "a"])), |number| insert(number, &["2", "b"]));
    let strikes = Strikes::default();
    let stream = [transaction(200, &[bad(7), good(8)]), transaction(216, &[good(7), bad(8)])].concat();
    // The second place lies in a transaction that is open, so that the first one is read again.
    for at in [200, 200, 216, 216] {
        assert_eq!(attempt(&strikes, &stream).1, Err(SHORT));
        assert!(strikes.is_in(at));
    }
    let (mut groups, taken) = attempt(&strikes, &stream);
    assert_eq!(taken, Ok(()));
    assert_eq!(told(&closed(&mut groups)).0, ["t stops", "u", "u stops"]);
    // Of however many only the last are kept, and the last one counts.
    for commit in (1..=100).map(|number| 1000 + 16 * number) {
        let stream = transaction(commit, &[bad(7)]);
        let taken = [0; 3].map(|_| attempt(&strikes, &stream).1);
        assert_eq!(taken, [Err(SHORT), Err(SHORT), Ok(())]);
    }
    assert_eq!(strikes.lock().len(), PLACES_MAX);
}

#[test]
fn between_transactions_what_has_ended_is_given_first() {
    let strikes = Strikes::default();
    let mut stream = transaction(200, &[insert(7, &["1", "a"])]);
    stream.push(b"Z".to_vec());
    let (mut groups, taken) = attempt(&strikes, &stream);
    assert_eq!(taken, Err(Fate::Again("is of an unknown kind")));
    assert!(matches!(groups.ended().unwrap().as_slice(), [Step::Group(group)] if told(group).0 == ["t"]));
    // The feed goes on from there, and the server has told meanwhile that nothing else is there.
    let try_from = |from: u64, stream: &[Vec<u8>]| feed(&mut self::groups(&["t", "u"], from), &strikes, stream);
    assert_eq!(try_from(208, &[b"Z".to_vec()]), Err(Fate::Again("is of an unknown kind")));
    assert_eq!(try_from(240, &[insert(7, &["1", "a"])]), Err(Fate::Lost("stands outside of a transaction")));
    // A transaction behind it is another place.
    assert_eq!(try_from(240, &[b"Z".to_vec()]), Err(Fate::Again("is of an unknown kind")));
    let stream = [transaction(248, &[]), vec![b"Z".to_vec()]].concat();
    assert_eq!(try_from(240, &stream), Err(Fate::Again("is of an unknown kind")));
    assert_eq!(try_from(256, &[b"Z".to_vec()]), Err(Fate::Again("is of an unknown kind")));
    assert_eq!(try_from(256, &[b"Z".to_vec()]), Err(Fate::Lost("is of an unknown kind")));
    // Of one that is open nothing is given.
    let (mut groups, taken) = attempt(&strikes, &[begin(300), relation(7, "t", 25), insert(7, &["1", "a"]), begin(300)]);
    assert_eq!(taken, Err(Fate::Again("begins a transaction inside of another one")));
    assert!(groups.ended().unwrap().is_empty());
}

#[test]
fn a_table_that_gives_no_rows_is_left_out_at_once() {
    let strikes = Strikes::default();
    let mut groups = groups(&["t"], 100);
    let messages = [short(insert(8, &["1", "a"])), short(relation(8, "u", 25)), insert(8, &["1", "a"]), insert(7, &["1", "a"])];
    assert_eq!(feed(&mut groups, &strikes, &transaction(200, &messages)), Ok(()));
    assert_eq!(told(&closed(&mut groups)).0, ["t"]);
}

#[test]
fn behind_a_description_that_cannot_be_read_rows_are_not_read_by_an_older_one() {
    for is_known in [true, false] {
        let strikes = Strikes::default();
        let described = if is_known { vec![relation(7, "t", 25), insert(7, &["1", "a"])] } else { Vec::new() };
        let rest = [short(relation(7, "t", 25)), insert(7, &["2", "b"]), relation(8, "u", 25), insert(8, &["3", "c"])];
        let stream = [vec![begin(200)], described, rest.to_vec(), vec![commit(208)]].concat();
        assert_eq!((attempt(&strikes, &stream).1, attempt(&strikes, &stream).1), (Err(SHORT), Err(SHORT)));
        let (mut groups, taken) = attempt(&strikes, &stream);
        assert_eq!(taken, Ok(()));
        let expected: &[&str] = if is_known { &["t", "t stops", "u"] } else { &["t stops", "u"] };
        assert_eq!(told(&closed(&mut groups)).0, expected);
    }
    // Whether a table that waits for its columns gives rows again is not known then.
    let strikes = Strikes::default();
    let stream = transaction(200, &[relation(7, "t", 1043), short(relation(7, "t", 25))]);
    let taken = [0; 3].map(|_| attempt(&strikes, &stream).1);
    assert_eq!(taken, [Err(SHORT), Err(SHORT), Err(Fate::Lost("ends too early"))]);
}

#[test]
fn a_text_that_is_no_value_of_its_type_is_no_message_that_cannot_be_read() {
    let strikes = Strikes::default();
    let mut letters = insert(7, &["4", "a"]);
    *letters.last_mut().unwrap() = 0xff;
    for bad in [insert(7, &["x", "secret"]), letters] {
        let stream = transaction(200, &[insert(7, &["1", "a"]), bad, insert(7, &["2", "b"]), insert(8, &["3", "c"])]);
        let (mut groups, taken) = attempt(&strikes, &stream);
        assert_eq!(taken, Ok(()), "at once");
        let (words, reasons) = told(&closed(&mut groups));
        assert_eq!(words, ["t", "t stops", "u"]);
        assert!(!reasons[0].contains("secret") && !reasons[0].contains("message"), "{reasons:?}");
    }
    assert!(!strikes.is_in(200));
}
