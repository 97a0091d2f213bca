//! XA transactions of MariaDB that are prepared, and marks of transactions that are not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Executor, Row};
use tributary::error::Diagnose;
use tributary::stores::commit::{BranchId, Gid, Hint, LogId, MarkId, MarkOf, Numbers, OwnTable, Part, Resolved, Verdict, Vote};
use tributary::stores::connector::{Branch, Connector, ScanLimits};
use tributary::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit};
use tributary::stores::schema::{Column, ColumnStatistics};
use tributary::stores::{Purpose, StoreError, StoreName, Table};

use super::super::{Room, all_columns, parse, scan_of};
use super::{WRITE, insert, ints, run, seen, simple, state, stored, until_it_waits, update};
use crate::support::gate::Gate;

const REPEATABLE: Purpose = Purpose::Transaction { read_only: false, repeatable: true };

/// Names that no other test gives.
fn numbered(store: &Arc<dyn Connector>) -> Arc<Numbers> {
    let numbers = Arc::new(Numbers::new(LogId(rand::random()), 1));
    store.number_with(&numbers);
    numbers
}

fn one(table: &Arc<Table>, id: i32) -> Edit {
    Edit::Insert(insert(table, &[0], vec![ints([id])]))
}

/// The name that a branch has taken.
fn name_of(branch: &Arc<dyn Branch>, numbers: &Numbers) -> BranchId {
    branch.branch_id(&StoreName::new("shop"), numbers.next())
}

/// The names of this log that the server lists.
async fn listed(store: &Arc<dyn Connector>, numbers: &Numbers) -> Vec<BranchId> {
    let all = store.in_doubt().await.unwrap();
    all.into_iter().map(|one| one.id).filter(|id| id.log == numbers.log()).collect()
}

/// Asks again as long as somebody holds it.
async fn resolved(store: &Arc<dyn Connector>, id: &BranchId, verdict: Verdict, patience: Duration) -> Resolved {
    let begun = Instant::now();
    loop {
        match store.resolve(id, verdict).await.unwrap() {
            Resolved::Busy => {}
            ended => return ended,
        }
        assert!(begun.elapsed() < patience, "{id} is still held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn decide(store: &Arc<dyn Connector>, mark: MarkId) -> Result<Verdict, StoreError> {
    store.decide(mark, &Hint::default()).await
}

fn whole(gid: Gid) -> MarkId {
    MarkId { gid, of: MarkOf::All }
}

/// The same store through a gate.
fn behind(gate: &Gate, room: &Room) -> Arc<dyn Connector> {
    parse(&format!(
        "host = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\nquery_timeout = \"2s\"\n\
         connect_timeout = \"2s\"\n",
        gate.port(),
        room.server.user(),
        room.server.password(),
        room.database
    ))
}

#[tokio::test]
async fn what_is_prepared_is_kept_or_dropped_on_its_connection() {
    let mut room = Room::new("pool.size = 1").await;
    let table = simple(&mut room).await;
    assert!(matches!(room.store.part(), Part::Alone(_)), "nobody has named a log yet");
    let numbers = numbered(&room.store);
    assert_eq!(room.store.part(), Part::Prepared);
    for (verdict, expected) in [(Verdict::Abort, 2), (Verdict::Commit, 3)] {
        let branch = room.store.open(WRITE).await.unwrap();
        assert_eq!(branch.part(), Part::Prepared);
        let id = name_of(&branch, &numbers);
        assert_eq!((id.log, id), (numbers.log(), name_of(&branch, &numbers)), "it is one for good");
        run(&branch, one(&table, 7)).await.unwrap();
        assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
        assert_eq!(listed(&room.store, &numbers).await, [id]);
        assert_eq!(stored(&room, &table).await.len(), 2);
        assert!(run(&branch, one(&table, 8)).await.is_err());
        // The server says that it knows no such name, although it lists it.
        assert_eq!(room.store.resolve(&id, verdict).await.unwrap(), Resolved::Busy);
        match verdict {
            Verdict::Commit => assert_eq!(branch.commit_prepared().await.unwrap(), None),
            Verdict::Abort => branch.roll_back_prepared().await.unwrap(),
        }
        assert_eq!(room.store.resolve(&id, verdict).await.unwrap(), Resolved::Gone);
        assert!(listed(&room.store, &numbers).await.is_empty() && !branch.has_written());
        assert_eq!(stored(&room, &table).await.len(), expected);
        // The only slot is free again, with the patience of any other connection.
        let next = room.store.open(WRITE).await.unwrap();
        assert_eq!(seen(&next, &table).await.len(), expected);
        next.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_keeps_the_name_of_the_log_that_it_began_under() {
    let room = Room::new("").await;
    let before = numbered(&room.store);
    let branch = room.store.open(WRITE).await.unwrap();
    let after = numbered(&room.store);
    // Whoever commits several stores sees by the name that it cannot be prepared, and it is committed alone as ever.
    assert_eq!((branch.part(), name_of(&branch, &after).log), (Part::Prepared, before.log()));
    branch.rollback().await.unwrap();
    let branch = room.store.open(WRITE).await.unwrap();
    assert_eq!(name_of(&branch, &after).log, after.log());
    branch.rollback().await.unwrap();
}

#[tokio::test]
async fn what_is_prepared_outlives_its_connection() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    for (key, verdict) in [(7, Verdict::Commit), (8, Verdict::Abort)] {
        let branch = room.store.open(WRITE).await.unwrap();
        let id = name_of(&branch, &numbers);
        run(&branch, one(&table, key)).await.unwrap();
        assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
        drop(branch);
        assert_eq!(resolved(&room.store, &id, verdict, Duration::from_secs(20)).await, Resolved::Done);
        assert_eq!(room.store.resolve(&id, verdict).await.unwrap(), Resolved::Gone);
    }
    assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y", "7 ∅ dflt"]);
    // One that has not come so far goes with its connection.
    let branch = room.store.open(WRITE).await.unwrap();
    let id = name_of(&branch, &numbers);
    run(&branch, one(&table, 9)).await.unwrap();
    drop(branch);
    assert_eq!(room.store.resolve(&id, Verdict::Commit).await.unwrap(), Resolved::Gone);
    assert_eq!(stored(&room, &table).await.len(), 3);
}

/// The server keeps a transaction for the connection that has prepared it, and does not notice that nobody is behind it any more.
#[tokio::test]
async fn a_client_that_falls_silent_is_not_taken_for_gone() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let gate = Gate::to(room.server.host(), room.server.port()).await;
    let open = gate.open().await;
    let store = behind(&gate, &room);
    store.number_with(&numbers);
    let branch = store.open(WRITE).await.unwrap();
    let id = name_of(&branch, &numbers);
    run(&branch, one(&table, 7)).await.unwrap();
    assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
    open.freeze();
    let error = branch.commit_prepared().await.unwrap_err();
    assert!(matches!(error, StoreError::Deadline { .. } | StoreError::ConnectionLost { .. }), "{error:?}");
    drop(branch);
    assert_eq!(room.store.resolve(&id, Verdict::Commit).await.unwrap(), Resolved::Busy);
    assert_eq!(resolved(&room.store, &id, Verdict::Commit, Duration::from_secs(60)).await, Resolved::Done);
    assert_eq!(stored(&room, &table).await.len(), 3);
    open.shut().await;
}

#[tokio::test]
async fn a_transaction_that_has_changed_nothing_is_not_prepared() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let none = Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([99]), ints([5])]));
    let mut met = insert(&table, &[0], vec![ints([1])]);
    met.conflict = Some(Conflict { target: ConflictTarget::Columns(vec![0]), action: ConflictAction::Nothing });
    // Each of them answers later that it was rolled back, when it is prepared.
    for edits in [Vec::new(), vec![none.clone()], vec![Edit::Insert(met)]] {
        let branch = room.store.open(WRITE).await.unwrap();
        let scan = scan_of(&table, all_columns(&table), vec![]);
        let locked = branch.scan_for_update(&table, &scan, ScanLimits::default()).await.unwrap();
        assert_eq!(locked.try_collect::<Vec<_>>().await.unwrap().len(), 1);
        for edit in edits {
            assert_eq!(run(&branch, edit).await.unwrap().rows, 0);
        }
        branch.savepoint(1).await.unwrap();
        run(&branch, one(&table, 50)).await.unwrap();
        branch.roll_back_to(1).await.unwrap();
        assert_eq!(branch.prepare(&name_of(&branch, &numbers)).await.unwrap(), Vote::ReadOnly);
        assert!(!branch.has_written());
    }
    assert!(listed(&room.store, &numbers).await.is_empty());
    // A row that stays as it is counts, and is committed well.
    let branch = room.store.open(WRITE).await.unwrap();
    run(&branch, Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([1]), ints([10])]))).await.unwrap();
    branch.savepoint(1).await.unwrap();
    run(&branch, one(&table, 50)).await.unwrap();
    branch.roll_back_to(1).await.unwrap();
    run(&branch, none).await.unwrap();
    let id = name_of(&branch, &numbers);
    assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
    drop(branch);
    assert_eq!(resolved(&room.store, &id, Verdict::Commit, Duration::from_secs(20)).await, Resolved::Done);
    assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"]);
}

#[tokio::test]
async fn what_has_failed_or_is_named_otherwise_is_not_prepared() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let branch = room.store.open(WRITE).await.unwrap();
    let id = name_of(&branch, &numbers);
    run(&branch, one(&table, 7)).await.unwrap();
    let another = numbers.next().of_store(&StoreName::new("shop"));
    assert_eq!(branch.prepare(&another).await.unwrap_err().sqlstate(), "XX000");
    assert_eq!(state(run(&branch, one(&table, 1)).await), "23505");
    assert_eq!(branch.prepare(&id).await.unwrap_err().sqlstate(), "25P02");
    assert!(branch.commit_prepared().await.is_err());
    assert!(listed(&room.store, &numbers).await.is_empty());
    assert_eq!(stored(&room, &table).await.len(), 2);
    // A name of the log before is none of this one's.
    let earlier = room.store.open(WRITE).await.unwrap();
    let later = numbered(&room.store);
    assert_ne!(name_of(&earlier, &later).log, later.log());
    let branch = room.store.open(WRITE).await.unwrap();
    assert_eq!((branch.part(), name_of(&branch, &later).log), (Part::Prepared, later.log()));
    branch.rollback().await.unwrap();
    // It is committed alone all the same.
    run(&earlier, one(&table, 7)).await.unwrap();
    earlier.commit().await.unwrap();
    assert_eq!(stored(&room, &table).await.len(), 3);
}

#[tokio::test]
async fn a_block_that_has_read_is_the_last_and_leaves_a_mark() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let reading = room.store.open(Purpose::Statement { scans: 1 }).await.unwrap();
    assert!(matches!(reading.part(), Part::Alone(_)));
    room.store.install(OwnTable::Marks).await.unwrap();
    let branch = room.store.open(REPEATABLE).await.unwrap();
    assert_eq!((branch.part(), seen(&branch, &table).await.len()), (Part::Last, 2));
    run(&branch, one(&table, 7)).await.unwrap();
    let gid = numbers.next();
    let id = branch.branch_id(&StoreName::new("shop"), gid);
    assert_eq!(id, gid.of_store(&StoreName::new("shop")));
    assert_eq!(branch.prepare(&id).await.unwrap_err().sqlstate(), "XX000");
    branch.mark(whole(gid)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(decide(&room.store, whole(gid)).await.unwrap(), Verdict::Commit);
    assert_eq!(stored(&room, &table).await.len(), 3);
}

#[tokio::test]
async fn a_mark_is_there_for_good_or_never_will_be() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let store = Arc::clone(&room.store);
    let [before, during, undone, other] = [0; 4].map(|_| numbers.next());
    let branch = store.open(WRITE).await.unwrap();
    assert_eq!(branch.mark(whole(before)).await.unwrap_err().sqlstate(), "42P01", "as long as it is not there");
    assert_eq!(state(run(&branch, one(&table, 4)).await), "25P02");
    branch.rollback().await.unwrap();
    assert_eq!(decide(&store, whole(before)).await.unwrap_err().sqlstate(), "42P01");
    let (first, second) = tokio::join!(store.install(OwnTable::Marks), store.install(OwnTable::Marks));
    first.unwrap();
    second.unwrap();
    // Asked first: whoever comes later with the mark fails.
    let answers = tokio::join!(decide(&store, whole(before)), decide(&store, whole(before)));
    assert_eq!((answers.0.unwrap(), answers.1.unwrap()), (Verdict::Abort, Verdict::Abort));
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, one(&table, 4)).await.unwrap();
    assert_eq!(branch.mark(whole(before)).await.unwrap_err().sqlstate(), "23505");
    branch.rollback().await.unwrap();
    // Asked meanwhile: the answer waits for the end, whichever it is.
    for (key, gid, verdict) in [(5, during, Verdict::Commit), (6, undone, Verdict::Abort)] {
        let branch = store.open(WRITE).await.unwrap();
        run(&branch, one(&table, key)).await.unwrap();
        branch.mark(whole(gid)).await.unwrap();
        let ending = async {
            until_it_waits(&mut room).await;
            match verdict {
                Verdict::Commit => branch.commit().await.map(drop),
                Verdict::Abort => branch.rollback().await,
            }
        };
        let (decided, ended) = tokio::join!(decide(&store, whole(gid)), ending);
        ended.unwrap();
        assert_eq!(decided.unwrap(), verdict);
        assert_eq!(decide(&store, whole(gid)).await.unwrap(), verdict);
    }
    // A step's mark is another one.
    let step = MarkId { gid: other, of: MarkOf::Step(1) };
    let branch = store.open(WRITE).await.unwrap();
    branch.mark(step).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(decide(&store, whole(other)).await.unwrap(), Verdict::Abort);
    assert_eq!(decide(&store, step).await.unwrap(), Verdict::Commit);
    // What says abort is kept for a day.
    store.forget(&[whole(during), step, whole(undone)]).await.unwrap();
    assert_eq!(states(&mut room).await, ["abort", "abort", "abort"]);
    room.run("UPDATE tributary_marks SET at = at - INTERVAL 25 HOUR").await;
    store.forget(&[whole(during)]).await.unwrap();
    assert!(states(&mut room).await.is_empty());
}

/// What the marks say.
async fn states(room: &mut Room) -> Vec<String> {
    let rows = room.writer.fetch_all("SELECT state FROM tributary_marks").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn tables_of_ours_look_as_they_are_described() {
    let mut room = Room::new("").await;
    let store = Arc::clone(&room.store);
    store.ping().await.unwrap();
    for which in OwnTable::ALL {
        store.install(which).await.unwrap();
        store.install(which).await.unwrap();
    }
    let found = room.table("tributary_outbox").await;
    let described = store.own_table(OwnTable::Outbox).unwrap();
    assert_eq!((&described.id, &described.schema), (&found.id, &found.schema));
    // What is known of their rows does not count.
    let plain = |table: &Table| -> Vec<Column> {
        table.columns.iter().map(|column| Column { statistics: ColumnStatistics::default(), ..column.clone() }).collect()
    };
    assert_eq!((plain(&described), &described.primary_key), (plain(&found), &found.primary_key));
    let tables = store.discover().await.unwrap().tables;
    let own: Vec<&str> =
        tables.iter().filter(|table| table.id.namespace == room.database).map(|table| table.id.name.as_str()).collect();
    assert_eq!(own, ["tributary_outbox"], "the others are nobody's");
    for which in [OwnTable::Marks, OwnTable::Keys] {
        let described: Vec<String> = store
            .own_table(which)
            .unwrap()
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name(), column.native_type))
            .collect();
        let sql = format!(
            "SELECT CONCAT(COLUMN_NAME, ' ', COLUMN_TYPE), ENGINE FROM information_schema.COLUMNS JOIN information_schema.TABLES \
             USING (TABLE_SCHEMA, TABLE_NAME) WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{}' ORDER BY ORDINAL_POSITION",
            which.name()
        );
        let rows = room.writer.fetch_all(AssertSqlSafe(sql)).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), described);
        assert!(rows.iter().all(|row| row.get::<String, _>(1) == "InnoDB"));
    }
}

#[tokio::test]
async fn a_user_that_may_not_mark_is_told_so_before_anything_is_prepared() {
    let mut room = Room::new("").await;
    room.store.install(OwnTable::Marks).await.unwrap();
    let (host, port, database) = (room.server.host().to_owned(), room.server.port(), room.database.clone());
    let user = format!("m{}", &database[database.len().saturating_sub(12)..]);
    room.run(format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'own'")).await;
    room.run(format!("GRANT SELECT ON `{database}`.tributary_marks TO '{user}'@'%'")).await;
    let file = format!("host = \"{host}\"\nport = {port}\nuser = \"{user}\"\npassword = \"own\"\ndatabase = \"{database}\"");
    let modest = parse(&file);
    assert_eq!(modest.install(OwnTable::Marks).await.unwrap_err().sqlstate(), "42501");
    assert_eq!(modest.install(OwnTable::Keys).await.unwrap_err().sqlstate(), "42501", "nor make any");
    room.run(format!("GRANT INSERT ON `{database}`.tributary_marks TO '{user}'@'%'")).await;
    parse(&file).install(OwnTable::Marks).await.unwrap();
}

#[tokio::test]
async fn settings_of_mariadb_that_lose_commits_are_told() {
    let room = Room::alone("").await;
    let cautions = room.store.preflight().await.unwrap();
    let keys: Vec<&str> = cautions.iter().map(|caution| caution.key).collect();
    assert_eq!(keys, ["innodb_flush_log_at_trx_commit", "sync_binlog"]);
    assert!(room.store.capabilities().prepare);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_vote_leaves_nothing() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let numbers = numbered(&room.store);
    let gate = Gate::to(room.server.host(), room.server.port()).await;
    let open = gate.open().await;
    let store = behind(&gate, &room);
    store.number_with(&numbers);
    let branch = store.open(WRITE).await.unwrap();
    let id = name_of(&branch, &numbers);
    run(&branch, one(&table, 7)).await.unwrap();
    open.shut().await;
    let error = branch.prepare(&id).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    assert_eq!(room.store.resolve(&id, Verdict::Abort).await.unwrap(), Resolved::Gone);
    assert_eq!(stored(&room, &table).await.len(), 2);
}
