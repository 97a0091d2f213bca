//! Groups from events, by hand: the bytes of rows and descriptions are those that a MariaDB 10.11 writes.

use super::super::charsets::Charsets;
use super::super::events::samples::{event, hex};
use super::super::rows::samples::{POLICY, followed};
use super::*;
use crate::stores::change::{GROUP_ROWS_MAX, Group, Operation, Transaction};
use crate::stores::connector::StoreName;

mod spoilt;

const COLUMNS: [(&str, &str); 2] = [("id", "int(11)"), ("at", "datetime")];

fn of(text: &str) -> Gtids {
    Gtids::of_mariadb(text).unwrap()
}

/// The token of the position of a place.
fn token(text: &str) -> Vec<u8> {
    super::super::position::position(&StoreName::new("s"), 7, &of(text)).token
}

fn begun(applied: &str, from: &str) -> Begun {
    Begun { applied: of(applied), from: of(from), ended: Vec::new(), stopped: Stopped::Some(Vec::new()), mark: None }
}

fn machine_from(begun: Begun) -> Machine {
    let mut tables = Tables::new(POLICY, Charsets::samples(), true);
    assert!(tables.replace(&[followed("d", "z", &COLUMNS)]).is_empty());
    Machine::new(About { store: StoreName::new("s"), identity: "mariadb-1".into(), history: 7 }, tables, begun)
}

fn machine() -> Machine {
    machine_from(begun("0-1-9", "0-1-9"))
}

/// A beginning in domain 0: its number and its flags.
fn gtid(seq: u64, flags: u8) -> Event {
    let mut body = seq.to_le_bytes().to_vec();
    body.extend_from_slice(&[0, 0, 0, 0, flags, 0, 0, 0, 0, 0, 0]);
    event(kind::MARIA_GTID, body)
}

const PLAIN: u8 = 0x0c;
const ALONE: u8 = 0x29;
const PREPARED: u8 = 0x4c;
const DECIDED: u8 = 0x8d;

/// `z (id int, at datetime)`
fn map() -> Event {
    event(kind::TABLE_MAP, hex("1d0000000000 0100 01 64 00 01 7a 00 02 0312 01 00 02 01 01 00 04 06 026964 026174"))
}

/// The same table after its second column became a `time`.
fn other_map() -> Event {
    event(kind::TABLE_MAP, hex("1e0000000000 0100 01 64 00 01 7a 00 02 0313 01 00 02 01 01 00 04 06 026964 026174"))
}

/// Rows that appear, at 1999-12-31 23:59:59.
fn inserted(ids: impl IntoIterator<Item = u32>) -> Event {
    let mut body = hex("1d0000000000 0100 02 03");
    for id in ids {
        body.push(0xfc);
        body.extend_from_slice(&id.to_le_bytes());
        body.extend_from_slice(&hex("9963ff7efb"));
    }
    event(23, body)
}

fn xid() -> Event {
    event(kind::XID, vec![0; 8])
}

fn query(text: &str) -> Event {
    let mut body = hex("0a00000000000000 01 0000 0000 64 00");
    body.extend_from_slice(text.as_bytes());
    event(kind::QUERY, body)
}

fn prepare_x() -> Event {
    event(kind::XA_PREPARE, hex("00 01000000 01000000 00000000 78"))
}

fn feed(machine: &mut Machine, events: impl IntoIterator<Item = Event>) {
    for event in events {
        machine.event(event).unwrap();
    }
}

fn group(machine: &mut Machine) -> Group {
    match machine.pause().unwrap() {
        Some(Step::Group(group)) => group,
        other => panic!("{other:?} is no group"),
    }
}

/// `true` for a row, else what stands in its place.
fn shown(transaction: &Transaction) -> Vec<String> {
    let one = |entry: &Entry| match entry {
        Entry::Row { rows, row } => format!("row {rows}.{row}"),
        Entry::Barrier(Barrier::Truncated { .. }) => "truncated".to_owned(),
        Entry::Barrier(Barrier::Reshaped { .. }) => "reshaped".to_owned(),
        Entry::Barrier(Barrier::Stopped { .. }) => "stopped".to_owned(),
        Entry::Barrier(Barrier::Gap { .. }) => "gap".to_owned(),
    };
    transaction.entries.iter().map(one).collect()
}

fn place(group: &Group) -> (Gtids, Gtids) {
    let kept = Checkpoint::decode(&group.resume).unwrap();
    (kept.applied, kept.from)
}

fn table() -> TableId {
    TableId { namespace: "d".to_owned(), name: "z".to_owned() }
}

fn is_doubt(step: Option<Step>) -> bool {
    matches!(step, Some(Step::Doubt(tables)) if tables == [table()])
}

#[test]
fn whole_transactions_are_given_together_in_their_order() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1, 2]), xid(), gtid(11, PLAIN), map(), inserted([3])]);
    assert!(machine.pause().unwrap().is_none(), "its end is on the way");
    feed(&mut machine, [xid()]);
    let given = group(&mut machine);
    let ids: Vec<&str> = given.transactions.iter().map(|each| each.id.as_str()).collect();
    assert_eq!(ids, ["0-1-10", "0-1-11"]);
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0", "row 0.1"], vec!["row 0.2"]]);
    assert_eq!(given.transactions[0].position.token, token("0-1-10"));
    assert_eq!((given.transactions[0].ends, given.transactions[0].committed_us), (true, Some(1_700_000_000_000_000)));
    assert_eq!((given.rows.len(), given.rows[0].operations.as_slice()), (1, [Operation::Insert; 3].as_slice()));
    assert_eq!(place(&given), (of("0-1-11"), of("0-1-11")));
    assert!(machine.pause().unwrap().is_none(), "it has not moved since");
}

#[test]
fn what_is_not_followed_moves_the_place_alone() {
    let mut machine = machine();
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { position, .. }) if position.token == token("0-1-9")));
    let other = event(kind::TABLE_MAP, hex("1d0000000000 0100 01 64 00 01 79 00 02 0312 01 00 02 01 01 00 04 06 026964 026174"));
    feed(&mut machine, [gtid(10, PLAIN), other, inserted([1])]);
    // A heartbeat in the middle is no progress.
    feed(&mut machine, [event(kind::HEARTBEAT, Vec::new())]);
    assert!(machine.pause().unwrap().is_none());
    feed(&mut machine, [xid()]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { position, .. }) if position.token == token("0-1-10")));
    feed(&mut machine, [event(kind::HEARTBEAT, Vec::new())]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })));
}

#[test]
fn a_place_is_kept_with_where_it_ends_in_the_files_of_the_server() {
    let mut machine = machine_from(begun("0-1-11", "0-1-9"));
    let mark = |file: &str, offset: u64| Some(Mark { file: file.to_owned(), offset });
    machine.mark = mark("binlog.000001", 900);
    let rotate = event(kind::ROTATE, [4_u64.to_le_bytes().as_slice(), b"binlog.000002".as_slice()].concat());
    let end = |end: u32, event: Event| Event { end, ..event };
    feed(&mut machine, [rotate, end(20, gtid(10, PLAIN)), end(40, map()), end(60, inserted([1])), end(80, xid())]);
    let Some(Step::Idle { resume, .. }) = machine.pause().unwrap() else { panic!("it was given before") };
    assert_eq!(Checkpoint::decode(&resume).unwrap().mark, mark("binlog.000001", 900), "what was given ends there still");
    feed(&mut machine, [end(200, gtid(12, PLAIN)), end(300, map()), end(400, inserted([1])), end(500, xid())]);
    machine.reached.look(&end(600, gtid(13, PLAIN)));
    assert_eq!(Checkpoint::decode(&group(&mut machine).resume).unwrap().mark, mark("binlog.000002", 500));
}

#[test]
fn a_large_transaction_is_given_in_pieces() {
    let mut machine = machine();
    let most = u32::try_from(GROUP_ROWS_MAX).unwrap();
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted(0..most + 1)]);
    let Some(Step::Group(piece)) = machine.ready() else { panic!("no piece") };
    assert_eq!(
        (piece.transactions[0].ends, piece.transactions[0].first, piece.rows[0].operations.len()),
        (false, 0, GROUP_ROWS_MAX)
    );
    assert_eq!(place(&piece).0, of("0-1-9"), "it is not whole yet");
    feed(&mut machine, [xid()]);
    let rest = group(&mut machine);
    assert_eq!((rest.transactions[0].ends, rest.transactions[0].first), (true, most));
    assert_eq!((shown(&rest.transactions[0]), place(&rest).0), (vec!["row 0.0".to_owned()], of("0-1-10")));
}

#[test]
fn what_was_prepared_is_given_once_it_is_committed() {
    let mut machine = machine();
    let prepared = || [gtid(10, PREPARED), map(), inserted([1]), query("XA END X'78',X'',1"), prepare_x()];
    feed(&mut machine, prepared());
    feed(&mut machine, [gtid(11, PLAIN), map(), inserted([2]), xid()]);
    let first = group(&mut machine);
    assert_eq!((first.transactions.len(), place(&first)), (1, (of("0-1-11"), of("0-1-9"))), "reading begins in front of it");
    // After a restart it is read again, and what came behind it is not given again.
    let mut again = machine_from(begun("0-1-11", "0-1-9"));
    for machine in [&mut machine, &mut again] {
        if machine.read == of("0-1-9") {
            feed(machine, prepared());
            feed(machine, [gtid(11, PLAIN), map(), inserted([2]), xid()]);
            let Some(Step::Idle { position, resume }) = machine.pause().unwrap() else { panic!("something was given again") };
            assert_eq!((position.token, Checkpoint::decode(&resume).unwrap().from), (token("0-1-11"), of("0-1-9")));
        }
        feed(machine, [gtid(12, DECIDED), query("XA COMMIT X'78',X'',1")]);
        let committed = group(machine);
        assert_eq!(
            (committed.transactions[0].id.as_str(), shown(&committed.transactions[0])),
            ("0-1-12", vec!["row 0.0".to_owned()])
        );
        assert_eq!(place(&committed), (of("0-1-12"), of("0-1-12")));
        // Servers write the end again that was found after a crash.
        feed(machine, [gtid(13, DECIDED), query("XA COMMIT X'78',X'',1")]);
        assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })));
    }
}

#[test]
fn what_was_prepared_and_dropped_is_not_given_and_what_is_not_known_is_a_gap() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PREPARED), map(), inserted([1]), query("XA END X'78',X'',1"), prepare_x()]);
    feed(&mut machine, [gtid(11, DECIDED), query("XA ROLLBACK X'78',X'',1")]);
    let Some(Step::Idle { resume, .. }) = machine.pause().unwrap() else { panic!("something was given") };
    assert_eq!(Checkpoint::decode(&resume).unwrap().from, of("0-1-11"));
    feed(&mut machine, [gtid(12, DECIDED), query("XA COMMIT X'79',X'',1")]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["gap"]);
}

#[test]
fn what_was_prepared_as_a_statement_stops_its_table_once_it_is_committed() {
    let mut machine = machine();
    let prepared = |seq: u64| [gtid(seq, PREPARED), query("insert into z values (1)"), query("XA END X'78',X'',1"), prepare_x()];
    feed(&mut machine, prepared(10));
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })), "nothing has happened yet");
    feed(&mut machine, [gtid(11, DECIDED), query("XA ROLLBACK X'78',X'',1")]);
    feed(&mut machine, prepared(12));
    feed(&mut machine, [gtid(13, PLAIN), map(), inserted([2]), xid(), gtid(14, DECIDED), query("XA COMMIT X'78',X'',1")]);
    let Some(Step::Group(given)) = machine.ready() else { panic!("no group") };
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0"], vec!["stopped"]]);
    assert!(is_doubt(machine.ready()));
}

#[test]
fn statements_truncate_reshape_and_stop() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, ALONE), query("truncate z")]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["truncated"]);
    feed(&mut machine, [gtid(11, ALONE), query("alter table z add c int")]);
    let Some(Step::Group(altered)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&altered.transactions[0]), ["reshaped"]);
    assert!(is_doubt(machine.ready()));
    feed(&mut machine, [gtid(12, ALONE), query("alter table y add c int"), gtid(13, ALONE), query("create index i on z (at)")]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })), "neither is about its rows");
    feed(&mut machine, [gtid(14, PLAIN), query("update z set at = now()"), xid()]);
    let Some(Step::Group(stopped)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&stopped.transactions[0]), ["stopped"]);
    assert!(is_doubt(machine.ready()));
    feed(&mut machine, [gtid(15, PLAIN), map(), inserted([1]), xid()]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })), "it stands still");
    machine.reshape(vec![followed("d", "z", &COLUMNS)]);
    feed(&mut machine, [gtid(16, PLAIN), map(), inserted([2]), xid()]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["reshaped", "row 0.0"]);
}

#[test]
fn what_is_told_where_a_table_was_looked_at_is_not_told_again_with_its_next_row() {
    let newer = || vec![followed("d", "z", &[("id", "int(11)"), ("at", "time")])];
    // It stood still, and that was given.
    let mut machine = machine();
    feed(&mut machine, [gtid(10, ALONE), query("alter table z modify at time"), gtid(11, PLAIN), other_map(), xid()]);
    let Some(Step::Group(altered)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&altered.transactions[0]), ["reshaped"]);
    assert!(is_doubt(machine.ready()));
    let Some(Step::Group(stopped)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&stopped.transactions[0]), ["stopped"]);
    assert!(is_doubt(machine.ready()));
    machine.looked_at(newer());
    feed(&mut machine, [gtid(12, PLAIN), other_map(), xid()]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })), "it goes on without a word");
    assert!(machine.tables.halted().is_empty());
    // Something of before is to be given still: behind that it is told.
    let mut machine = machine_from(begun("0-1-9", "0-1-9"));
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1]), xid()]);
    machine.looked_at(newer());
    feed(&mut machine, [gtid(11, PLAIN), other_map(), xid()]);
    let given = group(&mut machine);
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0"], vec!["reshaped"]]);
    // One that stands still and is as it was goes on standing still, which is told.
    let mut machine = machine_from(begun("0-1-9", "0-1-9"));
    feed(&mut machine, [gtid(10, PLAIN), other_map(), xid()]);
    let Some(Step::Group(_)) = machine.ready() else { panic!("no group") };
    assert!(is_doubt(machine.ready()));
    machine.looked_at(vec![followed("d", "z", &COLUMNS)]);
    feed(&mut machine, [gtid(11, PLAIN), other_map(), xid()]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["stopped"]);
}

#[test]
fn a_statement_stops_the_tables_of_its_database_and_those_that_it_names() {
    let stopped = |text: &str| {
        let mut machine = machine();
        // Those of "d" may be changed through a view or by a trigger, whose names tell nothing.
        let tables = [("d", "z"), ("d", "y"), ("e", "x"), ("e", "w")];
        machine.reshape(tables.map(|(namespace, name)| followed(namespace, name, &COLUMNS)).into());
        feed(&mut machine, [gtid(10, PLAIN), query(text), xid()]);
        let Some(Step::Group(stopped)) = machine.ready() else { panic!("no group") };
        let entries = stopped.transactions.iter().flat_map(|transaction| &transaction.entries);
        let table = |entry: &Entry| match entry {
            Entry::Barrier(Barrier::Stopped { table, .. }) => format!("{}.{}", table.namespace, table.name),
            other => panic!("{other:?}"),
        };
        entries.map(table).collect::<Vec<_>>()
    };
    assert_eq!(stopped("update seen set at = now()"), ["d.y", "d.z"]);
    assert_eq!(stopped("update z, `x` set at = now()"), ["d.y", "d.z", "e.x"]);
    assert_eq!(stopped("update e.seen set at = now()"), ["d.y", "d.z", "e.w", "e.x"]);
}

#[test]
fn a_table_that_is_described_otherwise_stands_still_until_it_fits() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1]), other_map(), xid()]);
    let Some(Step::Group(given)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&given.transactions[0]), ["row 0.0", "stopped"]);
    assert_eq!(Checkpoint::decode(&given.resume).unwrap().stopped, Stopped::Some(vec![table()]));
    assert!(is_doubt(machine.ready()));
    // Looked at again, it is as the log describes it now.
    machine.reshape(vec![followed("d", "z", &[("id", "int(11)"), ("at", "time")])]);
    feed(&mut machine, [gtid(11, PLAIN), other_map(), xid()]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["reshaped"]);
}

#[test]
fn a_table_that_goes_on_being_described_otherwise_is_not_taken_for_one_that_goes_on() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PLAIN), other_map(), xid()]);
    let Some(Step::Group(given)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&given.transactions[0]), ["stopped"]);
    assert!(is_doubt(machine.ready()));
    // Looked at again, it is as it was: its rows would be passed over without a word.
    machine.reshape(vec![followed("d", "z", &COLUMNS)]);
    feed(&mut machine, [gtid(11, PLAIN), other_map(), xid()]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["stopped"]);
    assert!(machine.ready().is_none(), "looking once more would not help");
    // It was described by an older part of the log.
    feed(&mut machine, [gtid(12, ALONE), query("alter table z modify at datetime"), gtid(13, PLAIN), map(), inserted([1]), xid()]);
    let Some(Step::Group(altered)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&altered.transactions[0]), ["reshaped"]);
    assert!(is_doubt(machine.ready()));
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["row 0.0"]);
}

#[test]
fn rows_that_cannot_be_read_stop_their_table_alone() {
    let mut machine = machine();
    let cut = event(23, hex("1d0000000000 0100 02 03 fc 01000000 9963ff7efb fc 02000000 99"));
    feed(&mut machine, [gtid(10, PLAIN), map(), cut, xid(), gtid(11, PLAIN), map(), inserted([3]), xid()]);
    let given = group(&mut machine);
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0", "stopped"]]);
    assert_eq!(place(&given).0, of("0-1-11"), "the feed goes on");
}

#[test]
fn what_truncates_a_table_whose_name_differs_by_case_is_not_told_as_one_of_this() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, ALONE), query("truncate Z")]);
    let Some(Step::Group(given)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&given.transactions[0]), ["reshaped"]);
    assert!(is_doubt(machine.ready()));
    feed(&mut machine, [gtid(11, ALONE), query("truncate d.other"), gtid(12, ALONE), query("truncate other.z")]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { .. })));
}

#[test]
fn a_value_that_cannot_be_given_stops_its_table_alone() {
    let mut machine = machine();
    let zero_date = event(23, hex("1d0000000000 0100 02 03 fc 02000000 8000000000 fc 03000000 9963ff7efb"));
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1]), zero_date, xid()]);
    let given = group(&mut machine);
    assert_eq!(
        (shown(&given.transactions[0]), given.rows[0].new.num_rows()),
        (vec!["row 0.0".to_owned(), "stopped".to_owned()], 1)
    );
    assert!(machine.ready().is_none(), "looking again would not help");
}

#[test]
fn rows_without_all_columns_stop_their_table() {
    let mut machine = machine();
    let minimal = event(24, hex("1d0000000000 0100 02 01 02 fe 01000000 fe 9963ff7efb"));
    feed(&mut machine, [gtid(10, PLAIN), map(), minimal, xid()]);
    let Some(Step::Group(given)) = machine.ready() else { panic!("no group") };
    assert_eq!(shown(&given.transactions[0]), ["stopped"]);
}

#[test]
fn tables_change_between_transactions_and_not_within_one() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1])]);
    machine.reshape(Vec::new());
    feed(&mut machine, [inserted([2]), xid(), gtid(11, PLAIN), map(), inserted([3]), xid()]);
    let given = group(&mut machine);
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0", "row 0.1"]]);
}

#[test]
fn what_does_not_make_sense_ends_the_feed() {
    let broken = |events: Vec<Event>| {
        let mut machine = machine();
        events.into_iter().find_map(|event| machine.event(event).err())
    };
    assert!(matches!(broken(vec![gtid(10, PLAIN), gtid(11, PLAIN)]), Some(Ended::Again(_))));
    assert!(matches!(broken(vec![xid()]), Some(Ended::Again(_))));
    assert!(matches!(broken(vec![gtid(10, PLAIN), inserted([1])]), Some(Ended::Again(_))), "of a table that is not described");
    assert!(matches!(broken(vec![gtid(10, PREPARED), map(), inserted([1]), xid()]), Some(Ended::Again(_))));
    assert!(matches!(broken(vec![gtid(10, PLAIN), xid(), gtid(10, PLAIN)]), Some(Ended::Lost(_))), "it would come again for ever");
    assert!(matches!(broken(vec![event(kind::INCIDENT, Vec::new())]), Some(Ended::Lost(_))));
    assert!(matches!(broken(vec![event(173, Vec::new())]), Some(Ended::Lost(_))));
    assert!(broken(vec![event(160, Vec::new()), event(161, Vec::new())]).is_none());
}

#[test]
fn what_has_no_end_in_its_file_was_never_committed() {
    let mut machine = machine();
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1]), event(kind::FORMAT, Vec::new())]);
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([2]), xid()]);
    let given = group(&mut machine);
    assert_eq!((given.transactions.len(), given.transactions[0].id.as_str()), (1, "0-1-10"));
    // A group that is taken back keeps its id.
    feed(&mut machine, [gtid(11, PLAIN), map(), inserted([3]), query("ROLLBACK")]);
    assert!(matches!(machine.pause().unwrap(), Some(Step::Idle { position, .. }) if position.token == token("0-1-11")));
}

#[test]
fn a_large_group_without_an_end_stops_its_tables_before_they_are_looked_at() {
    for end in [event(kind::FORMAT, Vec::new()), query("ROLLBACK")] {
        let is_taken_back = end.kind == kind::QUERY;
        let mut machine = machine();
        let rows = u32::try_from(GROUP_ROWS_MAX).unwrap();
        feed(&mut machine, [gtid(10, PLAIN), map(), inserted(0..rows), inserted([1])]);
        let Some(Step::Group(piece)) = machine.ready() else { panic!("it is large") };
        assert!(!piece.transactions[0].ends);
        feed(&mut machine, [end]);
        let Some(Step::Group(told)) = machine.ready() else { panic!("whoever has the piece is told") };
        // A whole one, so that the pieces are dropped; its own id may come again.
        assert_eq!((told.transactions.len(), told.transactions[0].first, told.transactions[0].ends), (1, 0, true));
        assert_eq!((shown(&told.transactions[0]), told.rows.len()), (vec!["stopped".to_owned()], 0));
        assert_eq!((&told.transactions[0].position.token, place(&told).0), (&token("0-1-9"), of("0-1-9")));
        assert!(is_doubt(machine.ready()) && machine.ready().is_none());
        machine.reshape(vec![followed("d", "z", &COLUMNS)]);
        let next = if is_taken_back { 11 } else { 10 };
        feed(&mut machine, [gtid(next, PLAIN), map(), inserted([2]), xid()]);
        assert_eq!(shown(&group(&mut machine).transactions[0]), ["reshaped", "row 0.0"]);
    }
}

#[test]
fn tables_that_stood_still_begin_again_by_being_told() {
    let mut begun = begun("0-1-9", "0-1-9");
    begun.stopped = Stopped::Some(vec![table(), TableId { namespace: "d".to_owned(), name: "gone".to_owned() }]);
    let mut machine = machine_from(begun);
    feed(&mut machine, [gtid(10, PLAIN), map(), inserted([1]), xid()]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["reshaped", "row 0.0"]);
}

#[test]
fn of_mysql_the_first_statement_tells_whether_it_is_alone() {
    let source = [0x11; 16];
    let begin = |number: u64| {
        let mut body = vec![0];
        body.extend_from_slice(&source);
        body.extend_from_slice(&number.to_le_bytes());
        event(kind::GTID, body)
    };
    let text = |range: &str| Gtids::of_mysql(&format!("11111111-1111-1111-1111-111111111111:{range}")).unwrap();
    let applied =
        || Begun { applied: text("1-9"), from: text("1-9"), ended: Vec::new(), stopped: Stopped::Some(Vec::new()), mark: None };
    let mut machine = machine_from(applied());
    feed(&mut machine, [begin(10), query("BEGIN"), map(), inserted([1]), xid(), begin(11), query("truncate z")]);
    let given = group(&mut machine);
    assert_eq!(given.transactions.iter().map(shown).collect::<Vec<_>>(), [vec!["row 0.0"], vec!["truncated"]]);
    feed(&mut machine, [begin(12), query("XA START X'78',X'',1"), map(), inserted([2]), query("XA END X'78',X'',1"), prepare_x()]);
    let Some(Step::Idle { resume, .. }) = machine.pause().unwrap() else { panic!("it is only prepared") };
    let kept = Checkpoint::decode(&resume).unwrap();
    assert_eq!((kept.applied, kept.from), (text("1-12"), text("1-11")));
    feed(&mut machine, [begin(13), query("XA COMMIT X'78',X'',1")]);
    assert_eq!(shown(&group(&mut machine).transactions[0]), ["row 0.0"]);
}
