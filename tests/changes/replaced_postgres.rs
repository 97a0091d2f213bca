//! The data of another server takes the place of PostgreSQL's at the same address while Tributary runs: whoever follows is told to start
//! over, and nobody is told a row of the one as if it were of the other.

use tributary::sandbox::Postgres;

use super::follow::{Live, told, until_barrier, until_streaming, until_told};
use super::native::Native;
use super::room::{self, LOG};
use super::{ask, eventually};
use crate::support::proxy::{self, OWNER};

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text)";
const SHOWN: &str = "op, key->>'id', new->>'v'";

/// Copies a directory with the owners of its files.
fn copy(from: &str, to: &str) {
    assert!(std::process::Command::new("cp").args(["-a", from, to]).status().unwrap().success());
}

async fn data_directory(server: &Postgres) -> String {
    let mut connection = proxy::direct(server, server.database()).await;
    sqlx::query_scalar("SHOW data_directory").fetch_one(&mut connection).await.unwrap()
}

/// Makes a server hold the same database, table and role as another one, with another row, and ends it.
async fn like(mut second: Postgres, first: &Postgres, database: &str) -> (Postgres, String) {
    let mut admin = Native::Postgres(proxy::direct(&second, second.database()).await);
    admin.run(&format!("CREATE DATABASE \"{database}\" TEMPLATE template0")).await;
    let mut native = Native::Postgres(proxy::direct(&second, database).await);
    native.run(&format!("{ORDERS}; INSERT INTO orders VALUES (1, 'of the second')")).await;
    let data = data_directory(&second).await;
    admin.run(&format!("ALTER ROLE \"{}\" PASSWORD '{}'", first.user(), first.password())).await;
    admin.run("CHECKPOINT").await;
    drop((admin, native));
    second.kill().await.unwrap();
    (second, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_data_directory_at_the_address_of_postgres_is_told_to_all_and_starts_over() {
    let mut server = room::own_postgres(&[]).await;
    let (room, mut native) = room::on_postgres(&server, ORDERS, LOG, &["orders"]).await;
    native.run("INSERT INTO orders VALUES (1, 'of the first')").await;
    let Native::Postgres(connection) = &mut native else { panic!("this is no PostgreSQL") };
    let database: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(connection).await.unwrap();
    let place = until_told(room.session(), ("pg", "position"), 1).await.remove(0);
    let mut listener = room.listener(&["pg.orders"]).await;
    let client = proxy::connect(room.server(), OWNER).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO pg.orders WITH SNAPSHOT").await;
    assert!(live.next_of(2).await[1].starts_with("snapshot_end|"));
    let own = data_directory(&server).await;
    let second = room::own_postgres(&[]).await;
    let (_second, other) = Box::pin(like(second, &server, &database)).await;
    drop(native);
    server.kill().await.unwrap();
    std::fs::remove_dir_all(&own).unwrap();
    copy(&other, &own);
    server.again().await.unwrap();
    until_barrier(room.session(), "pg", &["gap", "another one"]).await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    assert_eq!(listener.next().await.member("op"), "reset");
    assert_eq!(live.failure().await.code, "55000");
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    native.run("INSERT INTO orders VALUES (2, 'told again')").await;
    let mut note = listener.next().await;
    while note.member("op") == "reset" {
        note = listener.next().await;
    }
    assert_eq!((note.member("op").as_str(), note.member("key").as_str()), ("insert", "{\"id\":2}"));
    let last = async || told(room.session(), "pg", SHOWN).await.pop().filter(|row| row == "insert|2|told again");
    eventually("the row behind the gap", last).await;
    let rows = told(room.session(), "pg", SHOWN).await;
    assert_eq!(rows[0], "insert|1|of the first");
    assert!(!rows.iter().any(|row| row.ends_with("|of the second")), "{rows:?}");
    // Who comes with a place of before is told to start over too, and reads what is there now.
    let client = proxy::connect(room.server(), OWNER).await;
    let mut behind = Live::start(&client, &format!("SUBSCRIBE TO pg.orders FROM '{place}'")).await;
    assert_eq!(behind.failure().await.code, "55000");
    // There may be connections that nobody has found broken yet.
    let both = async || (ask(room.session(), "SELECT count(*) FROM pg.orders").await == Ok(vec!["2".to_owned()])).then_some(());
    eventually("the rows of the second", both).await;
    let client = proxy::connect(room.server(), OWNER).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO pg.orders WITH SNAPSHOT").await;
    assert!(live.next_of(2).await.iter().any(|row| row.ends_with("|1|of the second")));
}
