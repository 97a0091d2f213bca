//! Faults of feeds under what is kept: a copy of a table, a view over it, and the result of a query of it. What is written while a feed has
//! lost its place is told by nobody; whoever reads meanwhile and behind it is given what the store has, and in the end all of it is kept again.
//!
//! A result is kept again a minute behind a gap at the latest, which is not waited for here: it must be right all the time.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::copies::{FROM_COPY, FROM_STORE, analyzed, reader, served, shown, until_copied, until_state};
use super::views::{standing, until_kept};
use super::world::{self, World};
use crate::changes::check::Deed;
use crate::changes::follow::{barriers, until_feed};
use crate::changes::native::{Native, sql};
use crate::changes::room;
use crate::commit::stage::ACCOUNTS;
use crate::commit::{ask, eventually};
use crate::support::proxy::{PATIENCE, Session};

/// The table, the view over it, and the query whose result is kept.
fn asked(store: &str) -> [String; 3] {
    [
        format!("SELECT _id, balance FROM {store}.accounts ORDER BY _id, balance"),
        "SELECT _id, twice FROM doubled ORDER BY _id, twice".to_owned(),
        format!("SELECT count(*), sum(balance) FROM {store}.accounts"),
    ]
}

/// Sessions that ask for all of that.
struct Readers {
    /// Sees what anybody has written.
    strong: Session,
    /// Sees what it has written itself, at the level that everybody has.
    own: Session,
    /// Asks the store.
    of_store: Session,
}

/// A world with a view of `accounts` and a result.
struct Kept {
    world: World,
    /// None while nobody listens.
    readers: Option<Readers>,
    /// How often something was written.
    number: i64,
    /// Whether rows of `accounts` are told apart by their key.
    has_key: bool,
}

impl Kept {
    async fn over(world: World) -> Self {
        let (store, session) = (world.store, world.room.session());
        let query = format!("SELECT _id, balance * 2 AS twice FROM {store}.accounts");
        session.answer(&format!("CREATE MATERIALIZED VIEW doubled AS {query}")).await;
        session.answer(&format!("CREATE CACHE FOR {}", asked(store)[2])).await;
        until_kept(session, "doubled").await;
        let mut kept = Self { world, readers: None, number: 0, has_key: true };
        kept.open().await;
        kept.until_whole("at first").await;
        // There is one that would be wrong behind a change that nobody tells.
        let is_hit = async || analyzed(&kept.readers().strong, &asked(store)[2]).await.contains("Cache: hit").then_some(());
        eventually("a result that is kept", is_hit).await;
        kept
    }

    async fn open(&mut self) {
        let address = self.world.address();
        let strong = reader(address, &[("consistency", "strong")]).await;
        let (own, of_store) = (reader(address, &[]).await, reader(address, &FROM_STORE).await);
        self.readers = Some(Readers { strong, own, of_store });
    }

    fn readers(&self) -> &Readers {
        self.readers.as_ref().unwrap()
    }

    fn session(&self) -> &Session {
        self.world.room.session()
    }

    /// What is written next: rows that are there, where they have a key, and new ones.
    fn next(&mut self) -> Deed {
        self.number += 1;
        let key = if self.has_key && self.number % 4 < 2 { 1 + self.number % ACCOUNTS } else { 1_000 + self.number };
        Deed::Put { key, value: 10_000 + self.number }
    }

    /// Writes past Tributary.
    async fn past(&mut self) {
        let deed = self.next();
        self.world.does(deed).await;
    }

    /// Writes past Tributary, then through it, and looks at all that is kept.
    async fn writes(&mut self, step: &str) {
        self.past().await;
        let deed = self.next();
        let statement = sql(&format!("{}.accounts", self.world.store), deed, &self.world.rows);
        self.readers().own.answer(&statement).await;
        deed.apply(&mut self.world.rows);
        self.assert_right(step).await;
    }

    /// Neither who asks for everything nor who was the last to write is given anything but what the store has.
    async fn assert_right(&self, step: &str) {
        let Readers { strong, own, of_store } = self.readers();
        for (place, statement) in asked(self.world.store).iter().enumerate() {
            let truth = self.listed(&of_store.answer(statement).await);
            if place == 0 && self.has_key {
                assert_eq!(truth, self.world.listed(), "{step}: a write is not in the store");
            }
            assert_eq!(self.listed(&strong.answer(statement).await), truth, "{step}: {statement} at strong");
            assert_eq!(self.listed(&own.answer(statement).await), truth, "{step}: {statement} at session");
        }
    }

    /// The rows of an answer. Two with one value of what was a key until just now have no order: who has discovered the key orders by it alone.
    fn listed(&self, answer: &str) -> Vec<String> {
        let mut rows: Vec<String> = answer.lines().map(str::to_owned).collect();
        if !self.has_key {
            rows.sort();
        }
        rows
    }

    /// How many gaps were told.
    async fn gaps(&self) -> usize {
        let told = barriers(self.session(), self.world.store).await;
        told.iter().filter(|row| row.starts_with("gap|")).count()
    }

    /// Writes and reads until one more gap is told.
    async fn until_gap(&mut self, before: usize, step: &str) {
        let told = async || {
            self.writes(step).await;
            (self.gaps().await > before).then_some(())
        };
        eventually(&format!("{step}: a gap"), told).await;
    }

    /// Waits until the copy and the rows of the view are read again, while every answer is right; then they follow as ever.
    async fn until_whole(&mut self, step: &str) {
        self.writes(step).await;
        let table = (self.world.store, "accounts");
        let mut last = String::new();
        let asking = async {
            loop {
                let before = (served(self.session(), table).await, standing(self.session(), "doubled").await.2);
                self.assert_right(step).await;
                let (copy, view) = (shown(self.session(), table).await, standing(self.session(), "doubled").await);
                if copy.as_ref().is_some_and(|copy| copy.served > before.0) && view.2 > before.1 {
                    return;
                }
                last = format!("{copy:?}, {view:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, asking).await;
        assert!(ended.is_ok(), "{step}: not all of it is kept again: {last}");
        let of_copy = self.world.reader(&FROM_COPY).await;
        for _ in 0..2 {
            self.past().await;
            until_copied(&of_copy, table, &asked(table.0)[0], &self.world.listed()).await;
            let doubled: Vec<String> = self.world.rows.iter().map(|(key, balance)| format!("{key}|{}", balance * 2)).collect();
            assert_eq!(of_copy.rows(&asked(table.0)[1]).await.unwrap(), doubled, "{step}");
        }
    }

    /// Something happens while Tributary is away, with a write before and one behind it. Who has written before goes on from there.
    async fn away(&mut self, step: &str, fault: impl AsyncFnOnce(&mut Native)) {
        let (gaps, token) = (self.gaps().await, self.readers().own.answer("SHOW tributary.token").await);
        self.readers = None;
        self.world.room.stop().await;
        self.past().await;
        fault(&mut self.world.native).await;
        self.past().await;
        Box::pin(self.world.room.start()).await;
        self.open().await;
        self.readers().own.answer(&format!("SET tributary.token = '{token}'")).await;
        self.until_gap(gaps, step).await;
        self.until_whole(step).await;
    }

    /// The table loses its key, and gets two rows that had been one. It is read in its store until it has a key again.
    async fn loses_key(&mut self, drops: &str) {
        let (step, table) = ("a table without its key", (self.world.store, "accounts"));
        self.has_key = false;
        self.world.native.run(drops).await;
        self.world.native.run("INSERT INTO accounts VALUES (1, 77)").await;
        self.writes(step).await;
        let refresh = format!("CALL tributary.refresh('{}')", table.0);
        self.session().answer(&refresh).await;
        let reason = until_feed(self.session(), table.0, table.1, "store-only").await;
        assert!(reason.contains("key") || reason.contains("identity"), "{reason}");
        let reason = until_state(self.session(), table, "store-only").await;
        assert!(!reason.is_empty(), "nobody is told why {table:?} has no copy");
        let is_left = async || (standing(self.session(), "doubled").await.0 != "kept").then_some(());
        eventually("a view whose rows are not kept", is_left).await;
        let before = served(self.session(), table).await;
        self.writes(step).await;
        assert_eq!(served(self.session(), table).await, before, "a copy is read that is not there");
        once_free(&mut self.world.native, "DELETE FROM accounts WHERE _id = 1 AND balance = 77").await;
        self.world.native.run("ALTER TABLE accounts ADD PRIMARY KEY (_id)").await;
        self.has_key = true;
        self.session().answer(&format!("CALL tributary.restart_feed('{}')", table.0)).await;
        let is_back = async || {
            ask(self.session(), &refresh).await.ok()?;
            (shown(self.session(), table).await?.state == "cached").then_some(())
        };
        eventually("a copy of the table with its key", is_back).await;
        self.until_whole("a table with its key again").await;
    }
}

/// Runs a statement that a server refuses as long as somebody uses what it is about.
async fn once_free(native: &mut Native, statement: &str) {
    eventually(statement, async || native.try_run(statement).await.ok()).await;
}

/// The name of the slot of `pg`.
async fn slot(kept: &Kept) -> String {
    let sql = "SELECT name FROM tributary.feed_objects WHERE store = 'pg' AND what = 'replication slot' AND ours";
    eventually("the slot", async || kept.session().rows(sql).await.unwrap().pop()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_postgres_is_right_when_its_slot_is_dropped_or_ahead_and_when_its_key_is_lost() {
    let world = Box::pin(world::of_postgres()).await;
    let mut kept = Box::pin(Kept::over(world)).await;
    let (name, gaps) = (slot(&kept).await, kept.gaps().await);
    let drops = format!("SELECT pg_drop_replication_slot('{name}')");
    // Whoever reads from it is ended for that.
    let ends = format!("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}' AND active");
    let native = &mut kept.world.native;
    let dropped = async || {
        native.run(&ends).await;
        native.try_run(&drops).await.ok()
    };
    eventually("the end of the slot", dropped).await;
    Box::pin(kept.until_gap(gaps, "a slot that is dropped while it is read")).await;
    Box::pin(kept.until_whole("a slot that is dropped while it is read")).await;
    let drops = format!("SELECT pg_drop_replication_slot('{}')", slot(&kept).await);
    let fault = async |native: &mut Native| once_free(native, &drops).await;
    Box::pin(kept.away("a slot that was dropped", fault)).await;
    let advances = format!("SELECT pg_replication_slot_advance('{}', pg_current_wal_lsn())", slot(&kept).await);
    let fault = async |native: &mut Native| once_free(native, &advances).await;
    Box::pin(kept.away("a slot that is ahead", fault)).await;
    Box::pin(kept.loses_key("ALTER TABLE accounts DROP CONSTRAINT accounts_pkey")).await;
}

/// Drops every file of the log but the newest, once nobody reads from them.
async fn purge(native: &mut Native) {
    native.run("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
    let Native::MariaDb(connection) = native else { panic!("this is no MariaDB") };
    let newest = async || {
        let files = sqlx::raw_sql("SHOW BINARY LOGS").fetch_all(&mut *connection).await.unwrap();
        let names: Vec<String> = files.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect();
        let purge = format!("PURGE BINARY LOGS TO '{}'", names.last().unwrap());
        sqlx::raw_sql(sqlx::AssertSqlSafe(purge)).execute(&mut *connection).await.unwrap();
        (names.len() == 1).then_some(())
    };
    eventually("a log of one file", newest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_mariadb_is_right_when_its_binlog_begins_anew_or_is_purged_and_when_its_key_is_lost() {
    let server = room::own_mariadb(&[]).await;
    let world = Box::pin(world::on_mariadb(&server)).await;
    let mut kept = Box::pin(Kept::over(world)).await;
    // So that the new file does not come to the place where the old one was read.
    for id in 901..=904 {
        kept.world.native.run(&format!("INSERT INTO lists VALUES ({id}, repeat('x', 60000))")).await;
    }
    let gaps = kept.gaps().await;
    kept.world.native.run("RESET MASTER").await;
    let step = "a binlog that begins anew while it is read";
    for _ in 0..3 {
        Box::pin(kept.writes(step)).await;
    }
    // It finds out by itself too, some seconds later.
    kept.session().answer("CALL tributary.restart_feed('maria')").await;
    Box::pin(kept.until_gap(gaps, step)).await;
    Box::pin(kept.until_whole(step)).await;
    Box::pin(kept.away("a binlog that was purged", async |native: &mut Native| purge(native).await)).await;
    Box::pin(kept.loses_key("ALTER TABLE accounts DROP PRIMARY KEY")).await;
}

/// Writes until the oplog has nothing more of before.
async fn write_over(native: &mut Native) {
    let Native::MongoDb { client, database, .. } = native else { panic!("this is no MongoDB") };
    database.collection::<Document>("lists").insert_one(doc! { "_id": 900_i64, "v": "lost" }).await.unwrap();
    let ballast = client.database("ballast").collection::<Document>("ballast");
    let pieces = vec![doc! { "v": "x".repeat(1 << 20) }; 12];
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let entry = doc! { "op": "i", "ns": format!("{}.lists", database.name()), "o._id": 900_i64 };
    let is_gone = async || {
        ballast.insert_many(&pieces).await.unwrap();
        // A reader from whom something is taken away is told so.
        matches!(oplog.find_one(entry.clone()).await, Ok(None)).then_some(())
    };
    eventually("the end of the oplog", is_gone).await;
}

/// Has MongoDB keep whole documents beside their changes, or not.
async fn keep_documents(native: &Native, is_kept: bool) {
    let Native::MongoDb { database, .. } = native else { panic!("this is no MongoDB") };
    let images = doc! { "enabled": is_kept };
    database.run_command(doc! { "collMod": "accounts", "changeStreamPreAndPostImages": images }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_mongodb_is_right_when_its_oplog_was_written_over_and_when_its_changes_come_in_parts() {
    // What is old is dropped behind a checkpoint.
    let server = room::own_mongodb(&["--syncdelay=1"]).await;
    let world = Box::pin(world::on_mongodb(&server)).await;
    let mut kept = Box::pin(Kept::over(world)).await;
    let step = "changes that come in parts";
    let refresh = "CALL tributary.refresh('mongo')";
    keep_documents(&kept.world.native, false).await;
    Box::pin(kept.writes(step)).await;
    kept.session().answer(refresh).await;
    for _ in 0..2 {
        Box::pin(kept.writes(step)).await;
    }
    keep_documents(&kept.world.native, true).await;
    let is_back = async || {
        ask(kept.session(), refresh).await.ok()?;
        (shown(kept.session(), ("mongo", "accounts")).await?.state == "cached").then_some(())
    };
    eventually("a copy of whole documents", is_back).await;
    Box::pin(kept.until_whole(step)).await;
    let fault = async |native: &mut Native| write_over(native).await;
    Box::pin(kept.away("an oplog that was written over", fault)).await;
}
