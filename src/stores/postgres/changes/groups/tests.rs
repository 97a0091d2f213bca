//! Messages in every order that a server may send them in, and what becomes of them.

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;

use super::super::super::super::capture::Followed;
use super::super::super::super::change::Shape;
use super::super::decode::{Relation, RelationColumn};
use super::super::facts::Facts;
use super::super::facts::tests::{facts, table};
use super::super::position::Checkpoint;
use super::super::tuples::Tuple;
use super::*;
use crate::stores::position::Coverage;

fn followed() -> Followed {
    let table = Arc::new(table());
    let shape = Shape::of(&table, vec![0], vec![true, false]);
    Followed { table, shape }
}

fn all() -> AllFacts {
    AllFacts::from([(table().id, facts())])
}

fn origin() -> Origin {
    Origin { store: StoreName::new("shop"), how: How::Log, cluster: 5, timeline: 1 }
}

fn groups() -> Groups {
    let mut groups = Groups::new(origin(), 100, None, (7, 0), (&[followed()], &[]), &all());
    groups.begin(8, None, 1).unwrap();
    describe(&mut groups, 25);
    groups.commit(16).unwrap();
    groups
}

fn describe(groups: &mut Groups, second_type: u32) {
    let column = |name, type_oid, is_key| RelationColumn { is_key, name, type_oid, typmod: -1 };
    let columns = vec![column("id", 23, true), column("note", second_type, false)];
    let relation = Relation { id: 7, namespace: "public", name: "t", columns };
    groups.take(&Message::Relation(relation), 10).unwrap();
}

/// A row in its form in messages: `~` is NULL, `=` what was left as it was.
fn row(texts: &[&str]) -> Vec<u8> {
    let mut bytes = u16::try_from(texts.len()).unwrap().to_be_bytes().to_vec();
    for text in texts {
        match *text {
            "~" => bytes.push(b'n'),
            "=" => bytes.push(b'u'),
            text => {
                bytes.push(b't');
                bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

fn tuple(bytes: &[u8]) -> Tuple<'_> {
    Tuple::read(&mut super::super::decode::Bytes::new(bytes)).unwrap()
}

fn insert(groups: &mut Groups, texts: &[&str]) {
    let bytes = row(texts);
    groups.take(&Message::Insert { relation: 7, new: tuple(&bytes) }, bytes.len()).unwrap();
}

fn begin(groups: &mut Groups, commit: u64, xid: u32) {
    groups.take(&Message::Begin { commit, committed_us: Some(1), xid }, 20).unwrap();
}

fn commit(groups: &mut Groups, end: u64) {
    groups.take(&Message::Commit { end }, 25).unwrap();
}

fn closed(groups: &mut Groups) -> Group {
    groups.close().unwrap().unwrap()
}

fn place_of(resume: &Resume) -> u64 {
    Checkpoint::read(resume).unwrap().place
}

#[test]
fn transactions_come_whole_and_in_order() {
    let mut groups = groups();
    assert!(groups.close().unwrap().is_none(), "a transaction without rows leaves no trace");
    begin(&mut groups, 200, 9);
    insert(&mut groups, &["1", "a"]);
    assert!(!groups.can_close());
    insert(&mut groups, &["2", "~"]);
    commit(&mut groups, 208);
    begin(&mut groups, 216, 8);
    assert!(groups.can_close());
    insert(&mut groups, &["3", "c"]);
    assert!(!groups.can_close(), "its rows are among the others");
    commit(&mut groups, 224);
    let group = closed(&mut groups);
    let told: Vec<_> =
        group.transactions.iter().map(|each| (each.id.as_str(), each.entries.len(), each.first, each.ends)).collect();
    assert_eq!(told, [("9", 2, 0, true), ("8", 1, 0, true)]);
    assert_eq!(group.transactions[1].position, origin().position(224));
    assert_eq!((group.rows.len(), place_of(&group.resume), &*group.identity), (1, 224, "5"));
    assert_eq!(group.rows[0].new.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert!(matches!(group.transactions[1].entries[0], Entry::Row { rows: 0, row: 2 }));
    assert!(groups.close().unwrap().is_none());
}

#[test]
fn a_large_transaction_comes_in_pieces() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    insert(&mut groups, &["0", "x"]);
    commit(&mut groups, 216);
    begin(&mut groups, 216, 10);
    for number in 1..GROUP_ROWS_MAX {
        assert!(!groups.must_close());
        insert(&mut groups, &[&number.to_string(), "x"]);
    }
    assert!(groups.must_close());
    let group = closed(&mut groups);
    let [whole, piece] = group.transactions.as_slice() else { panic!("{}", group.transactions.len()) };
    assert_eq!((whole.ends, piece.ends, piece.first, piece.entries.len()), (true, false, 0, GROUP_ROWS_MAX - 1));
    assert_eq!(place_of(&group.resume), 216, "behind the whole one");
    // The commit of one may lie where the one before it ends.
    let covers = |applied: &Position, wanted: &Position| super::super::position::covers(applied, wanted);
    assert_eq!(covers(&whole.position, &piece.position), Coverage::Behind);
    insert(&mut groups, &["-1", "y"]);
    commit(&mut groups, 224);
    let group = closed(&mut groups);
    let last = &group.transactions[0];
    assert_eq!((last.id.as_str(), last.first, last.ends), ("10", u32::try_from(GROUP_ROWS_MAX).unwrap() - 1, true));
    assert_eq!((covers(&piece.position, &last.position), place_of(&group.resume)), (Coverage::Behind, 224));
    // The last piece may have no entry of its own.
    begin(&mut groups, 232, 11);
    (0..GROUP_ROWS_MAX).for_each(|_| insert(&mut groups, &["1", "x"]));
    assert!(!closed(&mut groups).transactions[0].ends);
    commit(&mut groups, 240);
    let group = closed(&mut groups);
    assert_eq!((group.transactions[0].entries.len(), group.transactions[0].ends), (0, true));
}

#[test]
fn keys_that_change_and_values_that_stay_are_told() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    let (key, whole) = (row(&["1", "~"]), row(&["2", "before"]));
    let (moved, kept, unknown) = (row(&["2", "="]), row(&["2", "="]), row(&["2", "="]));
    let update = |old, new| Message::Update { relation: 7, old, new };
    groups.take(&update(Some(Old::Key(tuple(&key))), tuple(&moved)), 9).unwrap();
    groups.take(&update(Some(Old::Row(tuple(&whole))), tuple(&kept)), 9).unwrap();
    groups.take(&update(None, tuple(&unknown)), 9).unwrap();
    groups.take(&Message::Delete { relation: 7, old: Old::Key(tuple(&key)) }, 9).unwrap();
    commit(&mut groups, 208);
    let rows = closed(&mut groups).rows.remove(0);
    assert_eq!([0, 1, 2, 3].map(|row| rows.moves(row)), [true, false, false, false]);
    assert_eq!([0, 1, 2, 3].map(|row| rows.new_known.has(1, row)), [false, true, false, false]);
    assert_eq!([0, 1, 2, 3].map(|row| rows.old_known.has(1, row)), [false, true, false, false]);
    assert_eq!(rows.new.column(1).as_string::<i32>().value(1), "before");
    assert_eq!([0, 1, 2, 3].map(|row| rows.key(row)), [Some((false, 0)), Some((false, 1)), Some((false, 2)), Some((true, 3))]);
    let old = rows.old.as_ref().unwrap().column(0).as_primitive::<Int32Type>();
    assert_eq!((old.value(0), old.value(3), rows.operations[3]), (1, 1, Operation::Delete));
}

#[test]
fn an_old_row_of_a_partition_may_have_its_key_alone() {
    let divided = AllFacts::from([(table().id, Facts { kind: "p".to_owned(), ..facts() })]);
    let mut groups = Groups::new(origin(), 100, None, (7, 0), (&[followed()], &[]), &divided);
    begin(&mut groups, 200, 9);
    describe(&mut groups, 25);
    let (by_key, by_another) = (row(&["1", "~"]), row(&["~", "x"]));
    groups.take(&Message::Delete { relation: 7, old: Old::Row(tuple(&by_key)) }, 9).unwrap();
    groups.take(&Message::Delete { relation: 7, old: Old::Row(tuple(&by_another)) }, 9).unwrap();
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    let rows = &group.rows[0];
    assert_eq!((rows.operations.len(), rows.old_known.has(0, 0), rows.old_known.has(1, 0)), (1, true, false));
    assert!(matches!(&barriers(&group)[..], [Barrier::Stopped { reason, .. }] if reason.contains("without the key")));
}

#[test]
fn an_old_key_that_is_missing_stops_the_table() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    let (old, new) = (row(&["~", "x"]), row(&["2", "y"]));
    groups.take(&Message::Update { relation: 7, old: Some(Old::Key(tuple(&old))), new: tuple(&new) }, 9).unwrap();
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    assert!(matches!(&barriers(&group)[..], [Barrier::Stopped { reason, .. }] if reason.contains("without the key")));
}

#[test]
fn a_table_that_is_locked_says_nothing_about_the_others() {
    let known = |locked: &[TableId]| {
        let groups = Groups::new(origin(), 100, None, (7, 0), (&[followed()], locked), &all());
        Known::of(&groups.relations.fingerprints())
    };
    let (with, without, locked) = (known(&[]), known(&[table().id]), [table().id]);
    let pending = |known: &Known| Groups::new(origin(), 100, Some(known.clone()), (7, 0), (&[followed()], &locked), &all()).pending;
    assert!(matches!(pending(&without).as_slice(), [Barrier::Stopped { .. }]) && with != without);
}

fn barriers(group: &Group) -> Vec<Barrier> {
    let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
    entries.filter_map(|entry| if let Entry::Barrier(barrier) = entry { Some(barrier.clone()) } else { None }).collect()
}

#[test]
fn a_value_that_cannot_be_read_stops_its_table_alone() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    insert(&mut groups, &["1", "a"]);
    insert(&mut groups, &["x", "secret"]);
    insert(&mut groups, &["2", "b"]);
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    let [Barrier::Stopped { reason, .. }] = &barriers(&group)[..] else { panic!("{:?}", barriers(&group)) };
    assert!(reason.contains("22P02") && !reason.contains('x'.to_string().as_str()) && !reason.contains("secret"), "{reason}");
    assert_eq!((group.rows[0].operations.len(), group.transactions[0].entries.len()), (1, 2));
    assert!(groups.take_doubts().is_empty());
}

#[test]
fn columns_that_change_inside_a_transaction_are_noticed_there() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    insert(&mut groups, &["1", "a"]);
    describe(&mut groups, 1043);
    insert(&mut groups, &["2", "b"]);
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    assert!(matches!(&barriers(&group)[..], [Barrier::Stopped { .. }]));
    assert_eq!((group.rows[0].operations.len(), groups.take_doubts()), (1, vec![table().id]));
    begin(&mut groups, 216, 10);
    describe(&mut groups, 25);
    insert(&mut groups, &["3", "c"]);
    commit(&mut groups, 224);
    let group = closed(&mut groups);
    assert!(matches!(group.transactions[0].entries.as_slice(), [Entry::Barrier(Barrier::Reshaped { .. }), Entry::Row { .. }]));
}

#[test]
fn progress_without_rows_is_told_when_nothing_is_open() {
    let mut groups = groups();
    let steps = groups.idle(300).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Idle { position, resume }]
        if *position == origin().position(300) && place_of(resume) == 300));
    begin(&mut groups, 304, 9);
    assert!(groups.idle(400).unwrap().is_empty(), "the open transaction would be passed over");
    insert(&mut groups, &["1", "a"]);
    commit(&mut groups, 312);
    let steps = groups.idle(312).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Group(_)]), "{steps:?}");
    begin(&mut groups, 320, 9);
    insert(&mut groups, &["2", "b"]);
    commit(&mut groups, 328);
    let steps = groups.idle(400).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Group(group), Step::Idle { .. }] if place_of(&group.resume) == 328), "{steps:?}");
}

#[test]
fn a_table_that_is_added_while_nothing_is_under_way_is_told_of_once() {
    let mut groups = Groups::new(origin(), 100, None, (7, 0), (&[], &[]), &all());
    assert!(groups.reshape(&[followed()], &all(), 0));
    groups.settle();
    begin(&mut groups, 200, 9);
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    assert!(matches!(&barriers(&group)[..], [Barrier::Reshaped { .. }]), "{:?}", barriers(&group));
}

#[test]
fn tables_that_are_added_are_told_of_twice() {
    let mut groups = Groups::new(origin(), 100, None, (7, 0), (&[], &[]), &all());
    let before = Checkpoint::read(&groups.origin.resume(0, &groups.tables)).unwrap().tables;
    assert!(groups.reshape(&[followed()], &all(), 0));
    let steps = groups.idle(100).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Idle { .. }]), "there is no place for it yet: {steps:?}");
    let steps = groups.idle(108).unwrap();
    let [Step::Group(group)] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(matches!(&barriers(group)[..], [Barrier::Reshaped { .. }]));
    let known = |resume: &Resume| Checkpoint::read(resume).unwrap().tables;
    assert_eq!(known(&group.resume), before, "a restart must tell it again");
    groups.settle();
    begin(&mut groups, 200, 9);
    commit(&mut groups, 208);
    let group = closed(&mut groups);
    assert!(matches!(&barriers(&group)[..], [Barrier::Reshaped { .. }]));
    let now = known(&group.resume);
    assert_ne!(now, before);
    // After a restart the tables are as they were known, or are told of.
    let count = |known: &Known| Groups::new(origin(), 208, Some(known.clone()), (7, 0), (&[followed()], &[]), &all()).pending.len();
    assert_eq!((count(&now), count(&before)), (0, 1));
    // One that was altered meanwhile, alone.
    let (mut one, mut other) = (followed(), followed());
    Arc::make_mut(&mut one.table).id.name = "u".to_owned();
    one.shape = Shape::of(&one.table, vec![0], vec![true, false]);
    let mut facts = all();
    facts.insert(one.table.id.clone(), Facts { oid: 8, ..facts[&table().id].clone() });
    let groups = Groups::new(origin(), 208, None, (7, 0), (&[one.clone(), other.clone()], &[]), &facts);
    let known = Known::of(&groups.relations.fingerprints());
    other.shape = Shape::of(&other.table, vec![0, 1], vec![true, false]);
    let told = Groups::new(origin(), 208, Some(known), (7, 0), (&[one, other], &[]), &facts).pending;
    assert!(matches!(&told[..], [Barrier::Reshaped { table: told, .. }] if *told == table().id), "{told:?}");
}

#[test]
fn a_table_that_was_defined_anew_is_told_behind_the_rows_of_before() {
    let anew = || AllFacts::from([(table().id, Facts { fingerprint: "2".to_owned(), ..facts() })]);
    let row_at = |groups: &mut Groups, commit_at: u64| {
        begin(groups, commit_at, 9);
        insert(groups, &["1", "a"]);
        commit(groups, commit_at + 8);
    };
    let words = |group: &Group| -> Vec<&'static str> {
        let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
        let word = |entry: &Entry| match entry {
            Entry::Row { .. } => "row",
            Entry::Barrier(Barrier::Reshaped { .. }) => "reshaped",
            Entry::Barrier(_) => "another",
        };
        entries.map(word).collect()
    };
    let known = |resume: &Resume| Checkpoint::read(resume).unwrap().tables;
    // While it is followed.
    let mut running = groups();
    row_at(&mut running, 200);
    let before = known(&closed(&mut running).resume);
    assert!(!running.reshape(&[followed()], &anew(), 400));
    row_at(&mut running, 300);
    let steps = running.idle(320).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Group(group), Step::Idle { .. }] if words(group) == ["row"]), "{steps:?}");
    row_at(&mut running, 400);
    let group = closed(&mut running);
    assert_eq!(words(&group), ["reshaped", "row"]);
    let now = known(&group.resume);
    assert_ne!(now, before);
    // While nobody follows it. Without a row of it too, and not twice.
    let start = |known: &Known| {
        let mut groups = Groups::new(origin(), 208, Some(known.clone()), (7, 400), (&[followed()], &[]), &anew());
        begin(&mut groups, 216, 9);
        describe(&mut groups, 25);
        insert(&mut groups, &["1", "a"]);
        commit(&mut groups, 224);
        groups
    };
    let mut later = start(&before);
    let group = closed(&mut later);
    assert_eq!((words(&group), known(&group.resume)), (vec!["row"], before), "a restart must tell it");
    let steps = later.idle(400).unwrap();
    let [Step::Group(group)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((words(group), known(&group.resume)), (vec!["reshaped"], now.clone()));
    let mut again = start(&now);
    row_at(&mut again, 400);
    assert_eq!(words(&closed(&mut again)), ["row", "row"]);
}

#[test]
fn what_an_older_version_knew_is_no_reason_to_tell_of_a_table() {
    let start = |oldest: bool, facts: &AllFacts| {
        let older = groups().relations.older_fingerprints();
        let [without, with] = older.map(|kind| {
            // As one table was kept: how many, its number and its fingerprint.
            let mut bytes = vec![0, 0, 0, 0, 1];
            for (number, print) in kind {
                bytes.extend(number.to_be_bytes());
                bytes.extend(print.to_be_bytes());
            }
            Known::read(&bytes).unwrap()
        });
        let known = if oldest { without } else { with };
        let mut groups = Groups::new(origin(), 208, Some(known), (7, 400), (&[followed()], &[]), facts);
        groups.pass(400);
        (groups.pending.len(), groups.tables == Arc::new(Known::of(&groups.relations.fingerprints())))
    };
    let anew = AllFacts::from([(table().id, Facts { fingerprint: "2".to_owned(), ..facts() })]);
    assert_eq!((start(true, &all()), start(false, &all())), ((0, true), (0, true)));
    // One of them did not know that.
    assert_eq!((start(true, &anew), start(false, &anew)), ((0, true), (1, false)));
    let another = AllFacts::from([(table().id, Facts { oid: 8, ..facts() })]);
    assert_eq!((start(true, &another), start(false, &another)), ((1, false), (1, false)));
}

#[test]
fn truncated_tables_are_told_one_by_one() {
    let mut groups = groups();
    begin(&mut groups, 200, 9);
    groups.take(&Message::Truncate(vec![7]), 9).unwrap();
    assert_eq!(groups.take(&Message::Truncate(vec![8]), 9), Err(UNKNOWN));
    commit(&mut groups, 208);
    assert_eq!(barriers(&closed(&mut groups)), [Barrier::Truncated { table: table().id }]);
}

#[test]
fn messages_in_no_order_are_refused() {
    let mut groups = groups();
    let bytes = row(&["1", "a"]);
    let new = tuple(&bytes);
    assert_eq!(groups.take(&Message::Insert { relation: 7, new }, 9), Err(OUTSIDE));
    assert_eq!(groups.take(&Message::Commit { end: 1 }, 9), Err(OUTSIDE));
    begin(&mut groups, 200, 9);
    assert_eq!(groups.take(&Message::Insert { relation: 9, new }, 9), Err(UNKNOWN));
    assert!(groups.take(&Message::Begin { commit: 1, committed_us: None, xid: 1 }, 9).is_err());
    let short = row(&["1"]);
    assert!(groups.take(&Message::Insert { relation: 7, new: tuple(&short) }, 9).is_err());
}

#[test]
fn numbers_of_transactions_get_their_upper_half_back() {
    let around = 1 << 32;
    let rows = [
        (5, 7, 5),
        (7, 5, 7),
        // One around the other: numbers start again at 3.
        (3, around - 2, around + 3),
        (u32::MAX, around + 3, around - 1),
        (100, 5 * around + 90, 5 * around + 100),
        (u32::MAX, 3, 0),
    ];
    for (xid, near, expected) in rows {
        assert_eq!(extend(xid, near), expected, "{xid} near {near}");
    }
}

#[test]
fn names_are_cut_at_a_letter() {
    assert_eq!(cut("abc"), "abc");
    let long = "é".repeat(ID_BYTES_MAX);
    assert_eq!(cut(&long).len(), ID_BYTES_MAX);
}
