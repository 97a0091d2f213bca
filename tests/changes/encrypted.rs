//! Feeds over encrypted connections, which they open for themselves beside those of scans.

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tributary::sandbox::{MariaDb, Postgres, Setup};

use super::follow::{until_streaming, until_told};
use super::native::Native;
use super::room::{LOG, Room};
use crate::support::authority::Authority;
use crate::support::proxy::{self, Place};
use crate::support::throwaway;

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text)";
const SHOWN: &str = "op, key->>'id', new->>'v'";

/// A store file whose server has to prove who it is.
fn file((kind, port): (&str, u16), (user, password): (&str, &str), (database, tls): (&str, &str)) -> String {
    format!(
        "kind = \"{kind}\"\nhost = \"localhost\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\n\
         database = \"{database}\"\n{tls}{LOG}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_postgres_come_encrypted_where_its_file_says_so() {
    let authority = Authority::new();
    let setup = Setup { tls: Some(authority.certify(&["localhost"])), ..throwaway() };
    let server = Postgres::start_with(&setup).await.unwrap();
    let database = proxy::fresh(&server, ORDERS).await;
    let tls = format!("tls = \"verify-full\"\ntls_ca = \"{}\"\n", authority.file().display());
    let place = Place::new();
    place.write(
        "stores/pg.toml",
        &file(("postgres", server.port()), (server.user(), server.password()), (database.as_str(), tls.as_str())),
    );
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    let mut direct = proxy::direct(&server, &database).await;
    let sql = "SELECT concat(count(*), ' ', bool_and(ssl)) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    let streams: String = sqlx::query_scalar(sql).fetch_one(&mut direct).await.unwrap();
    assert_eq!(streams, "1 t");
    // More than a buffer of the way holds.
    let mut native = Native::Postgres(direct);
    native.run("INSERT INTO orders SELECT n, repeat('x', 1000) FROM generate_series(1, 2000) AS n").await;
    native.run("UPDATE orders SET v = 'last' WHERE id = 2000").await;
    assert_eq!(until_told(room.session(), ("pg", SHOWN), 2_001).await[2_000], "update|2000|last");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_mariadb_come_encrypted_where_its_file_says_so() {
    let authority = Authority::new();
    // Whoever does not encrypt is not let in.
    let arguments = vec!["--require-secure-transport=ON".to_owned()];
    let setup = Setup { tls: Some(authority.certify(&["localhost"])), arguments, ..throwaway() };
    let server = MariaDb::start_with(&setup).await.unwrap();
    let database = server.fresh_database().await.unwrap();
    let options = server.mysql_options().database(&database);
    let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
    native.run(ORDERS).await;
    let tls = format!("tls = \"verify-identity\"\ntls_ca = \"{}\"\n", authority.file().display());
    let place = Place::new();
    place.write(
        "stores/maria.toml",
        &file(("mariadb", server.port()), (server.user(), server.password()), (database.as_str(), tls.as_str())),
    );
    let room = Room::open(place).await;
    until_streaming(room.session(), "maria", &["orders"]).await;
    native.run("INSERT INTO orders VALUES (1, 'a'); UPDATE orders SET v = 'last'").await;
    assert_eq!(until_told(room.session(), ("maria", SHOWN), 2).await, ["insert|1|a", "update|1|last"]);
}
