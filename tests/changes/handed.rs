//! The server is killed when events are durable in its log and their rows are still in the outbox: the next start removes them, none is
//! lost, and the log has each of them once.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use sqlx::AssertSqlSafe;

use super::eventually;
use super::native::Native;
use super::process::Process;
use super::room;

/// What lets nobody remove a row from the outbox, and counts who tries.
const REFUSE: &str = "CREATE SEQUENCE public.tries; CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM nextval('public.tries'); RAISE EXCEPTION 'it stays'; END $$; \
    CREATE TRIGGER keep BEFORE DELETE ON tributary_outbox FOR EACH ROW EXECUTE FUNCTION public.refuse()";

/// From now on no row is removed from the outbox.
async fn keep(native: &mut Native) {
    match native {
        Native::Postgres(_) => native.run(REFUSE).await,
        // What keeps rows is nobody's change.
        Native::MariaDb(_) => {
            native.run("SET sql_log_bin = 0").await;
            native.run("CREATE TRIGGER keep BEFORE DELETE ON tributary_outbox FOR EACH ROW SIGNAL SQLSTATE '45000'").await;
            native.run("SET sql_log_bin = 1").await;
        }
        Native::Sqlite(_) => {
            native.run("CREATE TRIGGER keep BEFORE DELETE ON tributary_outbox BEGIN SELECT RAISE(ABORT, 'it stays'); END").await;
        }
        Native::MongoDb { client, .. } => {
            let data = doc! { "failCommands": ["delete"], "errorCode": 2 };
            command(client, doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data }).await;
        }
    }
}

/// They may be removed again.
async fn let_go(native: &mut Native) {
    match native {
        Native::Postgres(_) => native.run("DROP TRIGGER keep ON tributary_outbox").await,
        Native::MariaDb(_) => {
            native.run("SET sql_log_bin = 0").await;
            native.run("DROP TRIGGER keep").await;
            native.run("SET sql_log_bin = 1").await;
        }
        Native::Sqlite(_) => native.run("DROP TRIGGER keep").await,
        Native::MongoDb { client, .. } => {
            command(client, doc! { "configureFailPoint": "failCommand", "mode": "off" }).await;
        }
    }
}

async fn command(client: &Client, command: Document) {
    client.database("admin").run_command(command).await.unwrap();
}

/// How often somebody has tried to remove a row. Of a file, how many changes are durable in our log, behind which that is done; of
/// MongoDB nothing: one waits for it there.
async fn tries(native: &mut Native) -> i64 {
    let sql = match native {
        Native::Postgres(_) => "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.tries",
        Native::MariaDb(_) => {
            "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_DELETE'"
        }
        Native::Sqlite(_) => "SELECT coalesce(max(handed), 0) FROM tributary_feed",
        Native::MongoDb { .. } => return 0,
    };
    let asked = AssertSqlSafe(sql.to_owned());
    let found = match native {
        Native::Postgres(connection) => sqlx::query_scalar(asked).fetch_one(connection).await,
        Native::MariaDb(connection) => sqlx::query_scalar(asked).fetch_one(connection).await,
        Native::Sqlite(connection) => sqlx::query_scalar(asked).fetch_one(connection).await,
        Native::MongoDb { .. } => Ok(0),
    };
    found.unwrap()
}

/// Waits until somebody has tried since.
async fn tried(native: &mut Native, before: i64) {
    if let Native::MongoDb { client, .. } = native {
        command(client, doc! { "waitForFailPoint": "failCommand", "timesEntered": 1, "maxTimeMS": 100_000 }).await;
        return;
    }
    eventually("an attempt to remove events", async || (tries(native).await > before).then_some(())).await;
}

async fn kill_between(mut process: Process) {
    process.kill().await;
    keep(&mut process.native).await;
    process.again().await;
    let before = tries(&mut process.native).await;
    let mut listener = process.listener(&["topic:t"]).await;
    let session = process.session().await;
    let all = ["a", "b", "c"].map(|key| process.emit(key)).join("; ");
    session.answer(&format!("BEGIN; {all}")).await;
    session.answer("COMMIT").await;
    for key in ["a", "b", "c"] {
        assert_eq!(listener.next().await.member("key"), key);
    }
    tried(&mut process.native, before).await;
    assert_eq!(process.waiting(&session).await, "3");
    process.kill().await;
    let_go(&mut process.native).await;
    process.again().await;
    let session = process.session().await;
    eventually("an empty outbox", async || (process.waiting(&session).await == "0").then_some(())).await;
    assert_eq!(process.events(&session).await, ["a", "b", "c"]);
    // What comes next is told as ever.
    let mut listener = process.listener(&["topic:t"]).await;
    session.answer(&process.emit("d")).await;
    assert_eq!(listener.next().await.member("key"), "d");
    eventually("an empty outbox", async || (process.waiting(&session).await == "0").then_some(())).await;
    assert_eq!(process.events(&session).await, ["a", "b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_postgres_survive_a_kill_before_they_are_removed() {
    let server = room::own_postgres(&[]).await;
    let process = Box::pin(Process::of_postgres(&server, "")).await;
    Box::pin(kill_between(process)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mariadb_survive_a_kill_before_they_are_removed() {
    let server = room::own_mariadb(&[]).await;
    let process = Box::pin(Process::of_mariadb(&server, "")).await;
    Box::pin(kill_between(process)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mongodb_survive_a_kill_before_they_are_removed() {
    let server = room::own_mongodb(&["--setParameter=enableTestCommands=1"]).await;
    let process = Box::pin(Process::of_mongodb(&server, "")).await;
    Box::pin(kill_between(process)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_file_survive_a_kill_before_they_are_removed() {
    let process = Box::pin(Process::of_sqlite("")).await;
    Box::pin(kill_between(process)).await;
}
