//! What `check` says about following the changes of real servers: each setting, grant and key that is missing, with what mends it, which
//! is then done as it is written; and what was left in a store, with the statements that remove it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mongodb::bson::{Document, doc};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tributary::sandbox::{Mongo, Postgres, free_port};

use super::feeds::said;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::eventually;
use crate::commit::stage::mongodb_client;
use crate::support::proxy::{self, Place};

/// What `check` says of a directory, and its exit code.
fn checked(place: &Place) -> (String, Option<i32>) {
    said(&["check", place.path().to_str().unwrap()])
}

/// One line about changes.
#[derive(Debug)]
struct Line {
    state: String,
    reason: String,
    mend: String,
}

impl Line {
    /// The first part of what is to be done.
    fn statement(&self) -> &str {
        let end = [";", ", and"].iter().filter_map(|behind| self.mend.find(behind)).min();
        &self.mend[..end.unwrap_or(self.mend.len())]
    }
}

const STATES: [&str; 5] = ["ok", "caution", "store-only", "refused", "unknown"];

/// The line about a table or a setting; that about the store itself where its name is empty.
fn line(told: &str, about: &str) -> Option<Line> {
    let (_, section) = told.split_once("\nchanges of ").unwrap_or_else(|| panic!("nothing about changes: {told}"));
    section.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let state = cells.iter().position(|cell| STATES.contains(cell))?;
        let is_about = if about.is_empty() { state == 1 } else { cells[1] == about && state == 2 };
        let cell = |place: usize| cells.get(place).copied().unwrap_or_default().to_owned();
        is_about.then(|| Line { state: cell(state), reason: cell(state + 1), mend: cell(state + 2) })
    })
}

/// The line, which must be there and say this.
fn expect(told: &str, about: &str, (state, reason, mend): (&str, &str, &str)) -> Line {
    let line = line(told, about).unwrap_or_else(|| panic!("nothing about {about:?}: {told}"));
    let is_said = line.state == state && line.reason.contains(reason) && line.mend.contains(mend);
    assert!(is_said, "{state} {reason:?} {mend:?} is not {line:?}");
    line
}

/// Nothing follows there: the store is refused for this.
fn refused(place: &Place, reason: &str, mend: &str) -> Line {
    let (told, code) = checked(place);
    assert_eq!(code, Some(1), "{told}");
    expect(&told, "", ("refused", reason, mend))
}

/// It is not refused.
fn served(place: &Place) -> String {
    let (told, code) = checked(place);
    assert_eq!(code, Some(0), "{told}");
    assert!(line(&told, "").is_none(), "{told}");
    told
}

/// The store file of an account.
fn account((kind, port): (&str, u16), user: &str, database: &str, lines: &str) -> String {
    format!("kind = \"{kind}\"\nport = {port}\nuser = \"{user}\"\npassword = \"secret\"\ndatabase = \"{database}\"\n{lines}")
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_the_log_of_postgres_tells_of_no_rows() {
    let server = room::own_postgres(&["-c", "wal_level=replica"]).await;
    let database = proxy::fresh(&server, "CREATE TABLE orders (id bigint PRIMARY KEY)").await;
    let place = Place::new();
    place.postgres("pg", &server, &database, LOG);
    refused(&place, "wal_level", "ALTER SYSTEM SET wal_level = logical");
    place.postgres("pg", &server, &database, OUTBOX);
    expect(&served(&place), "public.orders", ("ok", "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_an_account_of_postgres_lacks_and_each_statement_mends_it() {
    let server = room::postgres().await;
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE keyless (v text NOT NULL)";
    let database = proxy::fresh(server, tables).await;
    let role = format!("reader_of_{database}");
    let mut owner = Native::Postgres(proxy::direct(server, &database).await);
    owner.run(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret'")).await;
    let place = Place::new();
    let write = |lines: &str| place.write("stores/pg.toml", &account(("postgres", server.port()), &role, &database, lines));
    write(LOG);
    let (told, _) = checked(&place);
    let line = expect(&told, "changes.tables", ("caution", "2 of the tables in schema public", "GRANT SELECT"));
    assert_eq!(line.mend, format!("GRANT SELECT ON \"public\".\"keyless\", \"public\".\"orders\" TO \"{role}\""));
    owner.run(&line.mend).await;
    let line = refused(&place, "may not read the server's log", "REPLICATION");
    assert_eq!(line.statement(), format!("ALTER ROLE \"{role}\" REPLICATION"));
    owner.run(line.statement()).await;
    let line = refused(&place, "may not make a publication", "changes.publication");
    assert_eq!(line.statement(), format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\""));
    owner.run(line.statement()).await;
    let told = served(&place);
    expect(&told, "public.orders", ("store-only", "not owned", "changes.publication"));
    expect(&told, "max_slot_wal_keep_size", ("caution", "without a bound", "max_slot_wal_keep_size"));
    // A publication that its owner makes, step by step.
    write(&format!("{LOG}changes.publication = \"told\"\n"));
    refused(&place, "is not there", "CREATE PUBLICATION \"told\" FOR TABLE \"public\".\"orders\" WITH");
    expect(&checked(&place).0, "public.orders", ("ok", "", ""));
    owner.run("CREATE PUBLICATION told FOR TABLE orders WITH (publish = 'insert')").await;
    let line = refused(&place, "leaves out some changes", "ALTER PUBLICATION");
    owner.run(line.statement()).await;
    let told = served(&place);
    expect(&told, "public.orders", ("ok", "", ""));
    // Put there before it has a key, its rows could not be changed any more.
    let line = expect(&told, "public.keyless", ("store-only", "no key", "ADD PRIMARY KEY (…)"));
    owner.run(&line.statement().replace("(…)", "(v)")).await;
    let about = ("store-only", "not in the publication", "ALTER PUBLICATION \"told\" ADD TABLE");
    let line = expect(&served(&place), "public.keyless", about);
    owner.run(line.statement()).await;
    expect(&served(&place), "public.keyless", ("ok", "", ""));
    // By triggers it would have to own what it follows.
    write(OUTBOX);
    let line = refused(&place, "may make no tables", "GRANT CREATE ON SCHEMA public");
    owner.run(line.statement()).await;
    let line = expect(&served(&place), "public.orders", ("store-only", "not owned", "OWNER TO"));
    assert_eq!(line.statement(), format!("ALTER TABLE \"public\".\"orders\" OWNER TO \"{role}\""));
    assert!(line.mend.ends_with(&format!("or GRANT \"{}\" TO \"{role}\"", server.user())), "{line:?}");
    owner.run(line.statement()).await;
    expect(&served(&place), "public.orders", ("ok", "", ""));
    // Row security says who may see a row, and events do not know for whom they are.
    owner.run("ALTER TABLE orders ENABLE ROW LEVEL SECURITY").await;
    let line = expect(&served(&place), "public.orders", ("store-only", "row security", "DISABLE ROW LEVEL SECURITY"));
    owner.run(line.statement()).await;
    expect(&served(&place), "public.orders", ("ok", "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_all_slots_of_postgres_are_in_use() {
    let server = room::own_postgres(&["-c", "max_replication_slots=1"]).await;
    let database = proxy::fresh(&server, "CREATE TABLE orders (id bigint PRIMARY KEY)").await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    native.run("SELECT pg_create_physical_replication_slot('of_somebody')").await;
    let place = Place::new();
    place.postgres("pg", &server, &database, LOG);
    refused(&place, "max_replication_slots", "ALTER SYSTEM SET max_replication_slots = 2");
    native.run("SELECT pg_drop_replication_slot('of_somebody')").await;
    served(&place);
}

/// A database of a MariaDB of its own, a connection to it, and its name.
async fn in_mariadb(server: &tributary::sandbox::MariaDb, tables: &str) -> (Native, String) {
    let database = server.fresh_database().await.unwrap();
    let options = server.mysql_options().database(&database);
    let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
    native.run(tables).await;
    (native, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_settings_of_mariadb_are_wrong_and_each_statement_mends_it() {
    let server = room::own_mariadb(&[]).await;
    let (mut native, database) = in_mariadb(&server, "CREATE TABLE orders (id bigint PRIMARY KEY)").await;
    let place = Place::new();
    place.mariadb("maria", &server, &database, LOG);
    let rows = [("binlog_format", "STATEMENT"), ("binlog_row_image", "MINIMAL"), ("binlog_row_metadata", "NO_LOG")];
    for (name, wrong) in rows {
        native.run(&format!("SET GLOBAL {name} = '{wrong}'")).await;
        let line = refused(&place, &format!("{name} is {wrong}"), "SET GLOBAL");
        native.run(line.statement()).await;
        expect(&served(&place), &format!("{database}.orders"), ("ok", "", ""));
    }
    native.run("SET GLOBAL gtid_strict_mode = OFF; SET GLOBAL binlog_expire_logs_seconds = 3600").await;
    let told = served(&place);
    for (name, reason) in [("gtid_strict_mode", "out of order"), ("binlog_expire_logs_seconds", "less than a day")] {
        let line = expect(&told, name, ("caution", reason, &format!("SET GLOBAL {name}")));
        native.run(line.statement()).await;
        let told = served(&place);
        assert!(self::line(&told, name).is_none(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_a_mariadb_writes_no_binlog() {
    let server = room::own_mariadb(&["--skip-log-bin"]).await;
    let (_native, database) = in_mariadb(&server, "CREATE TABLE orders (id bigint PRIMARY KEY)").await;
    let place = Place::new();
    place.mariadb("maria", &server, &database, LOG);
    refused(&place, "writes no binlog", "Set log_bin");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_an_account_and_tables_of_mariadb_lack_and_each_statement_mends_it() {
    let server = room::own_mariadb(&[]).await;
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY); CREATE TABLE keyless (n bigint NOT NULL); \
        CREATE TABLE other_engine (id bigint PRIMARY KEY) ENGINE = MyISAM; CREATE TABLE children (id bigint PRIMARY KEY, parent bigint, \
        CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES orders (id) ON DELETE CASCADE)";
    let (mut native, database) = in_mariadb(&server, tables).await;
    native.run("CREATE USER 'plain'@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON *.* TO 'plain'@'%'").await;
    let place = Place::new();
    place.write("stores/maria.toml", &account(("mariadb", server.port()), "plain", &database, LOG));
    let line = refused(&place, "may not read the binlog", "REPLICATION SLAVE");
    assert_eq!(line.statement(), "GRANT REPLICATION SLAVE ON *.* TO 'plain'@'%'");
    native.run(line.statement()).await;
    let told = served(&place);
    let line = expect(&told, "BINLOG MONITOR", ("caution", "may not see", "GRANT BINLOG MONITOR ON *.* TO 'plain'@'%'"));
    native.run(line.statement()).await;
    let told = served(&place);
    assert!(self::line(&told, "BINLOG MONITOR").is_none(), "{told}");
    expect(&told, &format!("{database}.orders"), ("ok", "", ""));
    for (table, reason, mend) in [
        ("keyless", "no primary key", "ADD PRIMARY KEY (…)"),
        ("other_engine", "MyISAM", "ENGINE = InnoDB"),
        ("children", "of_parent", "DROP FOREIGN KEY"),
    ] {
        let table = format!("{database}.{table}");
        let line = expect(&told, &table, ("store-only", reason, mend));
        native.run(&line.statement().replace("(…)", "(n)")).await;
        expect(&served(&place), &table, ("ok", "", ""));
    }
}

/// A mongod without a replica set, which ends with us.
struct Standalone {
    guard: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Standalone {
    /// Starts the program that a replica set runs.
    async fn like(server: &Mongo) -> Self {
        let admin = mongodb_client(server).await.database("admin");
        let options = admin.run_command(doc! { "getCmdLineOpts": 1 }).await.unwrap();
        let program = options.get_array("argv").unwrap()[0].as_str().unwrap().to_owned();
        let (data, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
        // The shell ends it when nobody holds the other end of its input.
        let guarded = "\"$@\" >/dev/null 2>&1 & server=$!; read -r _; kill -s KILL $server; wait $server";
        let arguments = ["--bind_ip=127.0.0.1", "--nounixsocket", "--oplogSize=64", "--wiredTigerCacheSizeGB=0.25"];
        let guard = Command::new("sh")
            .args(["-c", guarded, "sh", &program])
            .args(arguments)
            .args([format!("--port={port}"), format!("--dbpath={}", data.path().display())])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { guard, port, _data: data }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_a_standalone_mongodb_has_no_change_streams() {
    let server = room::own_mongodb(&[]).await;
    let standalone = Standalone::like(&server).await;
    let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true", standalone.port);
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let orders = client.database("shop").collection::<Document>("orders");
    let inserted = async || orders.insert_one(doc! { "n": 1_i64 }).await.ok().map(drop);
    eventually("a server that answers", inserted).await;
    let place = Place::new();
    let hosts = format!("kind = \"mongodb\"\nhosts = [\"127.0.0.1:{}\"]\ndirect = true\n", standalone.port);
    place.write("stores/mongo.toml", &format!("{hosts}database = \"shop\"\ndatabases = [\"shop\"]\n{LOG}"));
    refused(&place, "standalone", "rs.initiate()");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_collections_of_mongodb_cannot_be_followed() {
    let server = room::own_mongodb(&[]).await;
    let database = mongodb_client(&server).await.database("shop");
    database.collection::<Document>("orders").insert_one(doc! { "n": 1_i64 }).await.unwrap();
    for command in [
        doc! { "create": "ring", "capped": true, "size": 4096 },
        doc! { "create": "seen", "viewOn": "orders", "pipeline": [] },
        doc! { "create": "metrics", "timeseries": { "timeField": "at" } },
    ] {
        database.run_command(command).await.unwrap();
    }
    for collection in ["ring", "metrics"] {
        database.collection::<Document>(collection).insert_one(doc! { "at": mongodb::bson::DateTime::now() }).await.unwrap();
    }
    let place = Place::new();
    place.mongodb("mongo", &server, "shop", LOG);
    let told = served(&place);
    expect(&told, "shop.orders", ("ok", "", ""));
    expect(&told, "shop.ring", ("store-only", "capped", ""));
    expect(&told, "shop.seen", ("store-only", "view", ""));
    expect(&told, "shop.metrics", ("store-only", "", ""));
    // How far back its history reaches says nothing as long as all of it is there.
    assert!(!told.contains("oplogMinRetentionHours"), "{told}");
    // It has no triggers that an outbox could be made of.
    place.mongodb("mongo", &server, "shop", OUTBOX);
    let (told, code) = checked(&place);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("changes.mode"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_an_account_of_mongodb_lacks_and_what_collections_without_images_cost() {
    let server = room::own_mongodb(&[]).await;
    let client = mongodb_client(&server).await;
    let (admin, shop) = (client.database("admin"), client.database("shop"));
    shop.collection::<Document>("orders").insert_one(doc! { "n": 1_i64 }).await.unwrap();
    let finds =
        doc! { "resource": { "db": "shop", "collection": "" }, "actions": ["find", "listCollections", "listIndexes", "collStats"] };
    let run = async |command: Document| drop(admin.run_command(command).await.unwrap());
    run(doc! { "createRole": "finder", "privileges": [finds], "roles": [] }).await;
    run(doc! { "createUser": "reader", "pwd": "secret", "roles": ["finder"] }).await;
    let place = Place::new();
    let account = format!(
        "kind = \"mongodb\"\nhosts = [\"{}:{}\"]\nuser = \"reader\"\npassword = \"secret\"\nauth_source = \"admin\"\nreplica_set = \"{}\"\n",
        server.host(),
        server.port(),
        server.replica_set(),
    );
    place.write("stores/mongo.toml", &format!("{account}database = \"shop\"\ndatabases = [\"shop\"]\n{LOG}"));
    refused(&place, "may not open change streams", "the role read on the databases");
    run(doc! { "grantRolesToUser": "reader", "roles": [{ "role": "read", "db": "shop" }] }).await;
    let told = served(&place);
    expect(&told, "shop.orders", ("ok", "", ""));
    expect(&told, "changeStreamPreAndPostImages", ("caution", "no copy can be kept: shop.orders", "collMod: \"orders\""));
    shop.run_command(doc! { "collMod": "orders", "changeStreamPreAndPostImages": { "enabled": true } }).await.unwrap();
    assert!(line(&served(&place), "changeStreamPreAndPostImages").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_tables_of_a_file_cannot_be_followed() {
    let tables = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT UNIQUE); CREATE TABLE keyless (v TEXT); \
        CREATE TABLE days (day DATE PRIMARY KEY); CREATE VIEW seen AS SELECT * FROM orders";
    let place = Place::new();
    place.sqlite_with("file", tables, OUTBOX).await;
    let told = served(&place);
    expect(&told, "main.orders", ("ok", "", ""));
    expect(&told, "main.keyless", ("store-only", "primary key", "primary key"));
    expect(&told, "main.days", ("store-only", "primary key", "Declare the columns"));
    expect(&told, "main.seen", ("store-only", "view", ""));
    expect(&told, "changes.tables", ("caution", "REPLACE", "ON CONFLICT"));
}

/// The statements that `check` gives for what is left.
fn removals(told: &str) -> Vec<String> {
    let lines: Vec<&str> = told.lines().collect();
    let left = lines.windows(2).filter(|pair| pair[0].starts_with("left in store "));
    left.map(|pair| pair[1].trim().to_owned()).collect()
}

/// What is told of objects of a store, while its file asks for a feed under another name, by another server, and for none; the statements
/// then remove all of them.
async fn assert_left(room: &mut Room, native: &mut Native, (store, mode, whats): (&str, &str, &[&str])) {
    room.stop().await;
    let named = |store: &str| format!("stores/{store}.toml");
    let file = std::fs::read_to_string(room.place.path().join(named(store))).unwrap();
    assert_eq!(removals(&checked(&room.place).0), Vec::<String>::new(), "what its feed uses");
    let absolute = format!("path = \"{}/", room.place.path().display());
    let other = Place::new();
    other.write(&named(store), &file.replace(mode, "").replace("path = \"", &absolute));
    let (told, _) = checked(&other);
    for what in whats {
        assert!(told.contains(&format!("left in store \"{store}\": {what} ")), "{what}: {told}");
    }
    assert!(told.contains("of another server, which may use it"), "{told}");
    rename(room.place.path(), (&named(store), &named("renamed")), &file);
    let (told, _) = checked(&room.place);
    assert!(told.contains("left in store \"renamed\": ") && told.contains("made when the store had another name here"), "{told}");
    rename(room.place.path(), (&named("renamed"), &named(store)), &file.replace(mode, ""));
    let (told, _) = checked(&room.place);
    for what in whats {
        assert!(told.contains(&format!("left in store \"{store}\": {what} ")), "{what}: {told}");
    }
    assert!(told.contains("which no feed uses: changes.mode is off"), "{told}");
    for statement in removals(&told) {
        native.run(&statement).await;
    }
    let (told, code) = checked(&room.place);
    assert_eq!((code, removals(&told)), (Some(0), Vec::new()), "{told}");
}

fn rename(directory: &Path, (from, to): (&str, &str), content: &str) {
    std::fs::remove_file(directory.join(from)).unwrap();
    std::fs::write(directory.join(to), content).unwrap();
}

/// Waits until nobody reads from a slot.
async fn released(server: &Postgres) {
    let mut connection = proxy::direct(server, server.database()).await;
    let ended = async || {
        let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
        let active: i64 = sqlx::query_scalar(active).fetch_one(&mut connection).await.unwrap();
        (active == 0).then_some(())
    };
    eventually("the end of the slot's reader", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_lists_what_is_left_in_postgres_with_the_statements_that_remove_it() {
    let server = room::own_postgres(&[]).await;
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY)";
    let (mut room, mut native) = room::on_postgres(&server, tables, LOG, &["orders"]).await;
    room.stop().await;
    released(&server).await;
    Box::pin(assert_left(&mut room, &mut native, ("pg", LOG, &["replication slot", "publication"]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_lists_triggers_that_are_left_in_postgres_with_the_statements_that_remove_them() {
    let server = room::own_postgres(&[]).await;
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY)";
    let (mut room, mut native) = room::on_postgres(&server, tables, OUTBOX, &["orders"]).await;
    Box::pin(assert_left(&mut room, &mut native, ("pg", OUTBOX, &["trigger", "function", "table", "sequence"]))).await;
    native.run("INSERT INTO orders VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_lists_what_is_left_in_a_file_with_the_statements_that_remove_it() {
    let tables = "CREATE TABLE orders (id INTEGER PRIMARY KEY)";
    let (mut room, mut native) = room::of_sqlite(tables, OUTBOX, &["orders"]).await;
    Box::pin(assert_left(&mut room, &mut native, ("file", OUTBOX, &["trigger", "table"]))).await;
    native.run("INSERT INTO orders VALUES (1)").await;
}
