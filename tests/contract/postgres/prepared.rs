//! Transactions that are prepared, and marks of those that are not.

use std::sync::Arc;

use tributary::error::Diagnose;
use tributary::sandbox::{Postgres, Setup};
use tributary::stores::commit::{BranchId, Gid, Hint, LogId, MarkId, MarkOf, Numbers, OwnTable, Part, Resolved, Verdict, Vote};
use tributary::stores::connector::{Connector, Purpose};
use tributary::stores::{Branch, StoreError, StoreName};

use super::writes::{END_WRITERS, ROWS, WRITE, one, read, renumber, run, three, until};
use super::{Fixture, connector};
use crate::support::throwaway;

/// Names that no other test gives.
fn numbered(connector: &Arc<dyn Connector>) -> Arc<Numbers> {
    let numbers = Arc::new(Numbers::new(LogId(rand::random()), 1));
    connector.number_with(&numbers);
    numbers
}

fn branch_of(numbers: &Numbers) -> BranchId {
    numbers.next().of_store(&StoreName::new("crm"))
}

/// The names of this log that the connector lists.
async fn listed(connector: &Arc<dyn Connector>, numbers: &Numbers) -> Vec<BranchId> {
    let all = connector.in_doubt().await.unwrap();
    assert!(all.iter().all(|one| one.prepared.is_some()), "{all:?}");
    all.into_iter().map(|one| one.id).filter(|id| id.log == numbers.log()).collect()
}

async fn decide(connector: &Arc<dyn Connector>, mark: MarkId) -> Result<Verdict, StoreError> {
    connector.decide(mark, &Hint::default()).await
}

fn whole(gid: Gid) -> MarkId {
    MarkId { gid, of: MarkOf::All }
}

const IDLE_IN_BLOCK: &str =
    "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";

const WAITS: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test]
async fn what_is_prepared_is_kept_or_dropped_by_whoever_is_asked() {
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    assert!(matches!(store.part(), Part::Alone(_)), "nobody has named a log yet");
    let numbers = numbered(&store);
    assert_eq!(store.part(), Part::Prepared);
    for (verdict, by_itself) in [(Verdict::Commit, true), (Verdict::Commit, false), (Verdict::Abort, true), (Verdict::Abort, false)]
    {
        let before = fixture.ask("SELECT count(*)::text FROM t").await.unwrap();
        let branch = store.open(WRITE).await.unwrap();
        assert_eq!(branch.part(), Part::Prepared);
        let gid = numbers.next();
        let id = branch.branch_id(&StoreName::new("crm"), gid);
        assert_eq!(id, gid.of_store(&StoreName::new("crm")));
        let key = 100 + i32::try_from(id.number % 1_000).unwrap();
        run(&branch, &one(&table, key)).await.unwrap();
        assert!(listed(&store, &numbers).await.is_empty());
        assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
        assert_eq!(listed(&store, &numbers).await, [id]);
        assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.unwrap(), before);
        // It is the server's now: the branch takes no other end.
        assert!(run(&branch, &one(&table, 99)).await.is_err());
        match (verdict, by_itself) {
            (Verdict::Commit, true) => assert_eq!(branch.commit_prepared().await.unwrap(), None),
            (Verdict::Abort, true) => branch.roll_back_prepared().await.unwrap(),
            (verdict, false) => assert_eq!(store.resolve(&id, verdict).await.unwrap(), Resolved::Done),
        }
        assert!(listed(&store, &numbers).await.is_empty());
        assert_eq!(store.resolve(&id, verdict).await.unwrap(), Resolved::Gone);
        let added = usize::from(verdict == Verdict::Commit);
        let after = (before.parse::<usize>().unwrap() + added).to_string();
        assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await, Some(after));
    }
    until(&mut fixture, IDLE_IN_BLOCK, "0").await;
}

#[tokio::test]
async fn names_of_others_are_listed_only_where_they_are_ours() {
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    numbered(&store);
    let another = Numbers::new(LogId(rand::random()), 1);
    let id = branch_of(&another);
    for name in [id.to_string(), format!("{id}0"), format!("someone-{}", another.log())] {
        fixture.run(&format!("BEGIN; UPDATE t SET n = n WHERE false; SELECT; PREPARE TRANSACTION '{name}'")).await;
    }
    // Also those of a log that is not ours, so that they are seen.
    assert_eq!(listed(&store, &another).await, [id]);
    assert_eq!(store.resolve(&id, Verdict::Abort).await.unwrap(), Resolved::Done);
    for name in [format!("{id}0"), format!("someone-{}", another.log())] {
        fixture.run(&format!("ROLLBACK PREPARED '{name}'")).await;
    }
    assert_eq!(read(&store.open(WRITE).await.unwrap(), &table).await.unwrap(), 3);
}

#[tokio::test]
async fn what_has_failed_is_not_prepared_and_leaves_nothing() {
    let (mut fixture, table) = three().await;
    fixture.run("ALTER TABLE t ADD CONSTRAINT up FOREIGN KEY (n) REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED NOT VALID").await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let failed = store.open(WRITE).await.unwrap();
    run(&failed, &renumber(&table, &[1], &[2], &[])).await.unwrap();
    assert_eq!(run(&failed, &one(&table, 2)).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(failed.prepare(&branch_of(&numbers)).await.unwrap_err().sqlstate(), "25P02");
    assert!(!failed.has_written());
    // What the server finds only at the end.
    let deferred = store.open(WRITE).await.unwrap();
    run(&deferred, &one(&table, 4)).await.unwrap();
    let error = deferred.prepare(&branch_of(&numbers)).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23503", Some("up")));
    assert!(!deferred.has_written() && deferred.commit_prepared().await.is_err());
    assert!(listed(&store, &numbers).await.is_empty());
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,10) (2,b,20) (3,,30)"));
    until(&mut fixture, IDLE_IN_BLOCK, "0").await;
}

#[tokio::test]
async fn nothing_is_not_prepared_and_a_name_is_given_once() {
    let (fixture, table) = three().await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let nothing = store.open(WRITE).await.unwrap();
    read(&nothing, &table).await.unwrap();
    assert_eq!(nothing.prepare(&branch_of(&numbers)).await.unwrap(), Vote::ReadOnly);
    let id = branch_of(&numbers);
    let [first, second] = [store.open(WRITE).await.unwrap(), store.open(WRITE).await.unwrap()];
    run(&first, &one(&table, 4)).await.unwrap();
    run(&second, &one(&table, 5)).await.unwrap();
    assert_eq!(first.prepare(&id).await.unwrap(), Vote::Yes);
    assert_eq!(second.prepare(&id).await.unwrap_err().sqlstate(), "42710");
    assert_eq!(listed(&store, &numbers).await, [id]);
    first.roll_back_prepared().await.unwrap();
    assert_eq!(read(&store.open(WRITE).await.unwrap(), &table).await.unwrap(), 3);
}

#[tokio::test]
async fn a_connection_that_is_lost_takes_nothing_with_it_that_is_prepared() {
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    let id = branch_of(&numbers);
    assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
    let end = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'tributary'";
    fixture.ask(end).await;
    until(&mut fixture, end, "0").await;
    let error = branch.commit_prepared().await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    drop(branch);
    assert_eq!(listed(&store, &numbers).await, [id]);
    assert_eq!(store.resolve(&id, Verdict::Commit).await.unwrap(), Resolved::Done);
    assert_eq!(store.resolve(&id, Verdict::Commit).await.unwrap(), Resolved::Gone);
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("4"));
    // Somebody else may have ended it.
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 6)).await.unwrap();
    let id = branch_of(&numbers);
    assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
    fixture.run(&format!("ROLLBACK PREPARED '{id}'")).await;
    assert_eq!(branch.commit_prepared().await.unwrap_err().sqlstate(), "42704");
    drop(branch);
    // One that was lost before is gone.
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 5)).await.unwrap();
    assert_eq!(fixture.ask(END_WRITERS).await.as_deref(), Some("1"));
    until(&mut fixture, END_WRITERS, "0").await;
    let error = branch.prepare(&branch_of(&numbers)).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    assert!(listed(&store, &numbers).await.is_empty());
}

/// A transaction that has exported its snapshot cannot be prepared; a block that has read has exported it.
#[tokio::test]
async fn a_block_that_has_read_hands_its_snapshot_over_and_is_prepared() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "pool = { size = 1, wait = '5s' }").await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(19), n int DEFAULT 7 NOT NULL)").await;
    fixture.run("INSERT INTO t VALUES (1, 'a', 10)").await;
    let table = fixture.table("t").await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    for round in 0..3 {
        let branch = store.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
        assert_eq!(branch.part(), Part::Prepared);
        let seen = read(&branch, &table).await.unwrap();
        fixture.run(&format!("INSERT INTO t VALUES ({}, 'later', 1)", 1_000 + round)).await;
        branch.savepoint(1).await.unwrap();
        assert_eq!(read(&branch, &table).await.unwrap(), seen, "the state of before");
        run(&branch, &one(&table, 10 + round)).await.unwrap();
        assert_eq!(read(&branch, &table).await.unwrap(), seen + 1);
        branch.release(1).await.unwrap();
        let id = branch_of(&numbers);
        assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
        assert_eq!(listed(&store, &numbers).await, [id]);
        branch.commit_prepared().await.unwrap();
        // The only slot is free again, and what it held is in no transaction.
        drop(branch);
        until(&mut fixture, IDLE_IN_BLOCK, "0").await;
    }
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("7"));
    // Somebody else has changed the row since.
    let branch = store.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    read(&branch, &table).await.unwrap();
    fixture.run("UPDATE t SET n = 11 WHERE id = 1").await;
    assert_eq!(run(&branch, &renumber(&table, &[1], &[12], &[])).await.unwrap_err().sqlstate(), "40001");
    branch.rollback().await.unwrap();
    // The leader is gone: that is what is told.
    let branch = store.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    read(&branch, &table).await.unwrap();
    fixture.ask(END_WRITERS).await;
    until(&mut fixture, END_WRITERS, "0").await;
    let error = run(&branch, &one(&table, 99)).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
}

/// To take the snapshot over needs a second connection for a moment.
#[tokio::test]
async fn a_block_that_has_read_writes_also_where_there_is_no_other_connection() {
    const ADMIT: &str = "UPDATE pg_database SET datallowconn = ";
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    store.install(OwnTable::Marks).await.unwrap();
    let branch = store.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    assert_eq!(read(&branch, &table).await.unwrap(), 3);
    fixture.run("INSERT INTO t VALUES (4, 'later', 1)").await;
    fixture.run(&format!("{ADMIT} false WHERE datname = current_database()")).await;
    let written = run(&branch, &one(&table, 5)).await;
    fixture.run(&format!("{ADMIT} true WHERE datname = current_database()")).await;
    written.unwrap();
    assert_eq!(branch.part(), Part::Last, "it has exported its snapshot");
    assert_eq!(read(&branch, &table).await.unwrap(), 4, "the state of before, and what was written");
    let gid = numbers.next();
    branch.mark(whole(gid)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(decide(&store, whole(gid)).await.unwrap(), Verdict::Commit);
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("5"));
    assert_eq!(store.open(WRITE).await.unwrap().part(), Part::Prepared);
}

#[tokio::test]
async fn a_server_that_prepares_nothing_is_the_last() {
    let arguments = ["-c", "max_prepared_transactions=0"].map(str::to_owned).to_vec();
    let server = Postgres::start_with(&Setup { arguments, ..throwaway() }).await.unwrap();
    let mut fixture = Fixture::on(&server, "").await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(19), n int DEFAULT 7 NOT NULL)").await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let table = fixture.table("t").await;
    assert_eq!((store.part(), store.capabilities().prepare), (Part::Last, false));
    let keys: Vec<&str> = store.preflight().await.unwrap().iter().map(|caution| caution.key).collect();
    assert!(keys.contains(&"max_prepared_transactions") && keys.contains(&"fsync"), "{keys:?}");
    for purpose in [WRITE, Purpose::Transaction { read_only: false, repeatable: true }] {
        let gid = numbers.next();
        let branch = store.open(purpose).await.unwrap();
        read(&branch, &table).await.unwrap();
        assert_eq!(branch.part(), Part::Last);
        run(&branch, &one(&table, i32::try_from(gid.number % 1_000).unwrap())).await.unwrap();
        store.install(OwnTable::Marks).await.unwrap();
        branch.mark(whole(gid)).await.unwrap();
        branch.commit().await.unwrap();
        assert_eq!(decide(&store, whole(gid)).await.unwrap(), Verdict::Commit);
    }
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 900)).await.unwrap();
    assert_eq!(branch.prepare(&branch_of(&numbers)).await.unwrap_err().sqlstate(), "55000");
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_mark_is_there_for_good_or_never_will_be() {
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let [before, during, undone, committed] = [0; 4].map(|_| numbers.next());
    let branch = store.open(WRITE).await.unwrap();
    // As long as it is not there.
    assert_eq!(branch.mark(whole(before)).await.unwrap_err().sqlstate(), "42P01");
    assert_eq!(run(&branch, &one(&table, 4)).await.unwrap_err().sqlstate(), "25P02");
    branch.rollback().await.unwrap();
    let (first, second) = tokio::join!(store.install(OwnTable::Marks), store.install(OwnTable::Marks));
    first.unwrap();
    second.unwrap();
    // Asked first: whoever comes later with the mark fails.
    let answers = tokio::join!(decide(&store, whole(before)), decide(&store, whole(before)));
    assert_eq!((answers.0.unwrap(), answers.1.unwrap()), (Verdict::Abort, Verdict::Abort));
    let branch = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    assert_eq!(branch.mark(whole(before)).await.unwrap_err().sqlstate(), "23505");
    branch.rollback().await.unwrap();
    // Asked meanwhile: the answer waits for the end, whichever it is.
    for (key, gid, verdict) in [(5, during, Verdict::Commit), (6, undone, Verdict::Abort)] {
        let branch = store.open(WRITE).await.unwrap();
        run(&branch, &one(&table, key)).await.unwrap();
        branch.mark(whole(gid)).await.unwrap();
        let ending = async {
            until(&mut fixture, WAITS, "1").await;
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
    let step = MarkId { gid: committed, of: MarkOf::Step(1) };
    let branch = store.open(WRITE).await.unwrap();
    branch.mark(step).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(decide(&store, whole(committed)).await.unwrap(), Verdict::Abort);
    assert_eq!(decide(&store, step).await.unwrap(), Verdict::Commit);
    // What says abort is kept for a day.
    store.forget(&[whole(during), step, whole(undone)]).await.unwrap();
    let left = "SELECT string_agg(state, ' ') FROM tributary_marks";
    assert_eq!(fixture.ask(left).await.as_deref(), Some("abort abort abort"));
    fixture.run("UPDATE tributary_marks SET at = at - interval '25 hours'").await;
    store.forget(&[whole(during)]).await.unwrap();
    assert_eq!(fixture.ask(left).await, None);
}

#[tokio::test]
async fn tables_of_ours_look_as_they_are_described() {
    let mut fixture = Fixture::new().await;
    let store = fixture.connector.clone();
    for which in OwnTable::ALL {
        store.install(which).await.unwrap();
        store.install(which).await.unwrap();
    }
    let found = store.discover().await.unwrap();
    let names: Vec<&str> = found.tables.iter().map(|table| table.id.name.as_str()).collect();
    assert_eq!(names, ["tributary_outbox"], "the others are nobody's");
    let described = store.own_table(OwnTable::Outbox).unwrap();
    let outbox = &found.tables[0];
    assert_eq!((&described.id, &described.columns), (&outbox.id, &outbox.columns));
    assert_eq!((&described.primary_key, &described.schema), (&outbox.primary_key, &outbox.schema));
    let columns = "SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a \
         WHERE a.attnum > 0 AND a.attrelid = ";
    for which in OwnTable::ALL {
        let table = store.own_table(which).unwrap();
        let described: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", column.name(), column.native_type)).collect();
        let stored = fixture.ask(&format!("{columns}'public.{}'::regclass", which.name())).await;
        assert_eq!(stored, Some(described.join(", ")));
    }
}

#[tokio::test]
async fn a_role_that_may_not_mark_is_told_so_before_anything_is_prepared() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "").await;
    fixture.connector.install(OwnTable::Marks).await.unwrap();
    let database = fixture.ask("SELECT current_database()::text").await.unwrap();
    let role = format!("modest_{database}");
    fixture.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'own'; GRANT SELECT ON tributary_marks TO {role}")).await;
    let file = format!(
        "host = '{}'\nport = {}\nuser = '{role}'\npassword = 'own'\ndatabase = '{database}'\n",
        server.host(),
        server.port()
    );
    let table: toml::Table = toml::from_str(&file).unwrap();
    let kind = tributary::stores::kind("postgres").unwrap();
    let modest = kind.parse(&StoreName::new("crm"), "stores.crm", &table, &crate::support::secrets::NoSecrets).unwrap();
    assert_eq!(modest.install(OwnTable::Marks).await.unwrap_err().sqlstate(), "42501");
    assert_eq!(modest.install(OwnTable::Keys).await.unwrap_err().sqlstate(), "42501", "nor make any");
    fixture.run(&format!("GRANT INSERT ON tributary_marks TO {role}")).await;
    assert_eq!(modest.install(OwnTable::Marks).await.unwrap_err().sqlstate(), "42501", "nor remove what has ended");
    fixture.run(&format!("GRANT DELETE ON tributary_marks TO {role}")).await;
    modest.install(OwnTable::Marks).await.unwrap();
    // It sees what another role has prepared, and cannot end it.
    let owner = connector(server, &database, server.password(), "").unwrap();
    let numbers = numbered(&owner);
    let id = branch_of(&numbers);
    fixture.run(&format!("BEGIN; UPDATE tributary_marks SET at = at; SELECT; PREPARE TRANSACTION '{id}'")).await;
    assert_eq!(listed(&modest, &numbers).await, [id]);
    assert_eq!(modest.resolve(&id, Verdict::Abort).await.unwrap_err().sqlstate(), "42501");
    assert_eq!(owner.resolve(&id, Verdict::Abort).await.unwrap(), Resolved::Done);
}

#[tokio::test]
async fn a_reload_between_prepare_and_commit_changes_nothing() {
    let (mut fixture, table) = three().await;
    let store = fixture.connector.clone();
    let numbers = numbered(&store);
    let branch: Arc<dyn Branch> = store.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    assert_eq!(branch.prepare(&branch_of(&numbers)).await.unwrap(), Vote::Yes);
    store.close().await;
    branch.commit_prepared().await.unwrap();
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("4"));
}
