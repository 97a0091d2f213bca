//! psql: what its descriptions of the catalog look like.

use std::process::Stdio;

use mongodb::bson::{Document, doc};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::process::Command;

use super::{Stage, text};
use crate::support;
use crate::support::proxy::{self, PATIENCE, Place};

const INSTALL: &str = "install the Debian package postgresql-client";

impl Stage {
    /// What psql prints for a script, which must succeed.
    async fn psql(&self, script: &str) -> String {
        self.place.write("script.sql", script);
        let file = self.place.path().join("script.sql");
        let arguments = ["-X", "-At", "-v", "ON_ERROR_STOP=1", "-f", file.to_str().unwrap()];
        let output = self.run("psql", &arguments, INSTALL).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_gives_parameters_and_reads_a_large_result_of_postgres_over_tls() {
    const ROWS: usize = 300_000;
    let (place, postgres) = (Place::new(), support::postgres().await);
    let big = format!(
        "CREATE TABLE big AS SELECT n, md5(n::text) AS word FROM generate_series(1, {ROWS}) AS n; ALTER TABLE big ADD PRIMARY KEY (n)"
    );
    place.postgres("shop", postgres, &proxy::fresh(postgres, &big).await, "");
    let server = place.serve().await;
    let stage = Stage { place, server };
    let secured = stage.run("psql", &["-X", "-c", "\\conninfo"], INSTALL).await;
    assert!(text(&secured.stdout).contains("SSL connection"), "{}", text(&secured.stdout));

    // A quote in the value would end a literal that is put together carelessly.
    let given = "\\set word 'c81e728d9d4c2f636f067f89cc14862c'\n\\set odd 'it''s'\n\
                 PREPARE one (int, text) AS SELECT n, word, $2 FROM shop.big WHERE n = $1 AND word <> $2;\n\
                 EXECUTE one(1, :'odd');\nSELECT n FROM shop.big WHERE word = :'word' AND word <> :'odd';\n";
    assert_eq!(stage.psql(given).await, "PREPARE\n1|c4ca4238a0b923820dcc509a6f75849b|it's\n2\n");

    let whole = "SELECT n, word FROM shop.big ORDER BY n;\n";
    let in_parts = format!("\\set FETCH_COUNT 1000\n{whole}");
    let rows = stage.psql(whole).await;
    assert_eq!(rows.lines().count(), ROWS);
    assert!(rows.lines().enumerate().all(|(at, line)| line.split('|').next() == Some((at + 1).to_string().as_str())));
    assert!(rows.lines().all(|line| line.split('|').nth(1).is_some_and(|word| word.len() == 32)));
    assert!(stage.psql(&in_parts).await == rows, "a cursor gives other rows than the statement");
}

/// One insert for every store and for the copy.
fn rows_of(table: &str, row: impl Fn(i64) -> String) -> String {
    let rows: Vec<String> = (1..=200).map(|n| format!("({})", row(n))).collect();
    format!("INSERT INTO {table} VALUES {}", rows.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_joins_postgres_mariadb_sqlite_and_mongodb_over_tls_as_one_postgres_does() {
    let (place, postgres, mariadb, mongo) =
        (Place::new(), support::postgres().await, support::mariadb().await, support::mongodb().await);
    let people = "(id int PRIMARY KEY, name varchar(40), town varchar(40))";
    let orders = "(id int PRIMARY KEY, person int, total numeric(10,2), day date)";
    let parcels = "(id int PRIMARY KEY, order_id int, weight double precision)";
    let person = rows_of("people", |n| {
        format!("{n}, 'näme {}', {}", n % 17, if n % 9 == 0 { "NULL".to_owned() } else { format!("'town {}'", n % 5) })
    });
    let order = rows_of("orders", |n| {
        format!("{n}, {}, {}.{:02}, '2024-{:02}-{:02}'", n * 7 % 200 + 1, n * 13 % 400, n % 100, n % 12 + 1, n % 28 + 1)
    });
    let parcel = rows_of("parcels", |n| {
        format!("{n}, {}, {}", n * 3 % 200 + 1, if n % 11 == 0 { "NULL".to_owned() } else { format!("{}.5", n % 40) })
    });

    place.postgres("shop", postgres, &proxy::fresh(postgres, &format!("CREATE TABLE people {people}; {person}")).await, "");
    let database = mariadb.fresh_database().await.unwrap();
    let login = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(&database);
    let mut connection = MySqlConnection::connect_with(&login.username(mariadb.user()).password(mariadb.password())).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE TABLE orders {orders}"))).await.unwrap();
    connection.execute(AssertSqlSafe(order.clone())).await.unwrap();
    place.mariadb("crm", mariadb, &database, "");
    place.sqlite("depot", &format!("CREATE TABLE parcels {parcels}; {parcel};")).await;
    let database = mongo.fresh_database().await.unwrap();
    let url = format!(
        "mongodb://{}:{}@{}:{}/?authSource=admin&directConnection=true",
        mongo.user(),
        mongo.password(),
        mongo.host(),
        mongo.port()
    );
    let reviews = mongodb::Client::with_uri_str(url).await.unwrap().database(&database).collection::<Document>("reviews");
    reviews.insert_many((1..=200).map(|n: i64| doc! { "_id": n, "parcel": n * 9 % 200 + 1, "stars": n % 5 + 1 })).await.unwrap();
    place.mongodb("field", mongo, &database, "");
    let server = place.serve().await;
    let stage = Stage { place, server };

    let review = rows_of("reviews", |n| format!("{n}, {}, {}", n * 9 % 200 + 1, n % 5 + 1));
    let copied = [
        ("shop", format!("people {people}; {person}")),
        ("crm", format!("orders {orders}; {order}")),
        ("depot", format!("parcels {parcels}; {parcel}")),
        ("field", format!("reviews (_id bigint PRIMARY KEY, parcel bigint, stars bigint); {review}")),
    ];
    let copied = copied.map(|(schema, table)| format!("CREATE SCHEMA {schema}; SET search_path = {schema}; CREATE TABLE {table};"));
    let copy = proxy::fresh(postgres, &copied.concat()).await;
    let sql = "SELECT p.name, p.town, o.id, o.total, o.day, c.weight, r.stars \
               FROM shop.people p JOIN crm.orders o ON o.person = p.id JOIN depot.parcels c ON c.order_id = o.id \
               JOIN field.reviews r ON r.parcel = c.id \
               WHERE p.town <> 'town 3' AND o.total > 50.25 AND o.day >= DATE '2024-03-01' AND c.weight < 30 AND r.stars BETWEEN 2 AND 4 \
               ORDER BY o.id, c.weight, r._id;\n";
    let found = stage.psql(sql).await;
    let login = format!(
        "host={} port={} user={} password={} dbname={copy} sslmode=prefer sslrootcert=/nowhere",
        postgres.host(),
        postgres.port(),
        postgres.user(),
        postgres.password()
    );
    let file = stage.place.path().join("script.sql");
    let mut command = Command::new("psql");
    command.args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-f", file.to_str().unwrap(), "-d", &login]).stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(found.lines().count() > 20, "{found}");
    assert_eq!(found, text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_the_catalog() {
    let stage = Stage::set().await;
    let cases = [
        ("\\dt", "shop | orders | table | ada"),
        ("\\d", "public | spending | view | ada"),
        ("\\dv", "shop | totals | view | ada"),
        ("\\dn", "notes | ada"),
        ("\\l", "tributary | ada | UTF8 | C | C"),
        ("\\di", "shop | orders_customer_idx | index | ada | orders"),
        ("\\du", "ada | Superuser"),
        ("\\dt+", "shop | customers | table | ada | permanent | heap | | Who buys"),
        ("\\d spending", "name | character varying(40)"),
        ("\\d+ spending", "View definition:"),
        ("\\d notes.reviews", "stars | bigint"),
        ("\\d shop.kinds", "exact | numeric(20,5)"),
        ("\\d shop.orders", "\"orders_pkey\" PRIMARY KEY, btree (id)"),
        ("\\d shop.orders", "FOREIGN KEY (customer_id) REFERENCES customers(id)"),
        ("\\d shop.customers", "name | character varying(40) | | | 'nobody'::character varying"),
        ("\\d shop.customers", "\"customers_email_key\" UNIQUE CONSTRAINT, btree (email)"),
        ("\\d shop.customers", "TABLE \"orders\" CONSTRAINT \"orders_customer_id_fkey\""),
        ("\\d+ shop.customers", "In lower case"),
        ("\\d shop.orders_pkey", "primary key, btree, for table \"shop.orders\""),
        ("\\d shop.orders", "\"orders_total_check\" CHECK ((total >= (0)::numeric))"),
        ("\\d shop.refunds", "REFERENCES orders(id) ON UPDATE CASCADE ON DELETE SET NULL"),
        ("\\d notes.stars", "\"stars_stars_check\" CHECK (stars BETWEEN 1 AND 5)"),
        ("\\d notes.stars", "REFERENCES reviews(id) ON DELETE CASCADE"),
        ("\\d+ shop.orders", "orders_customer_idx"),
        ("\\di+", "shop | orders_pkey | index | ada | orders | permanent | btree"),
        ("\\l+", "tributary | ada | UTF8 | C | C"),
        ("\\dn+", "shop | ada"),
        ("\\du+", "ada | Superuser"),
        ("\\dd", "(0 rows)"),
        ("\\dd orders", "(0 rows)"),
        ("\\dx", "(0 rows)"),
        ("\\dT+", "(0 rows)"),
        ("\\df+", "(0 rows)"),
        ("\\dAf", "(0 rows)"),
        ("\\dFp", "(0 rows)"),
        ("\\dp", "shop | orders | table"),
        ("\\sv spending", "SELECT c.name, o.total"),
        ("\\df", "(0 rows)"),
        ("\\dT", "(0 rows)"),
        ("\\dD", "(0 rows)"),
        ("\\conninfo", "SSL connection"),
    ];
    for (command, expected) in cases {
        let output = stage.run("psql", &["-X", "-c", command], "install the Debian package postgresql-client").await;
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        // Widths follow the widest row; only words and their order count.
        let shown: Vec<String> =
            text(&output.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(shown.iter().any(|line| line.contains(expected)), "{command} lacks {expected}:\n{}", shown.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_is_told_that_a_function_has_no_source() {
    let stage = Stage::set().await;
    let output = stage.run("psql", &["-X", "-c", "\\sf now"], "install the Debian package postgresql-client").await;
    assert_eq!(text(&output.stderr).trim(), "ERROR:  function \"now\" does not exist");
}
