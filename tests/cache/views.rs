//! Materialized views over two stores: they have what their query gives after every write, whoever writes, and say how they are kept.

use mongodb::bson::{Document, doc};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;

use super::copies::{FROM_COPY, FROM_STORE, OF_ANY_AGE, reader};
use super::world::cached;
use crate::behaviour::watching::number;
use crate::changes::follow::until_streaming;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::eventually;
use crate::commit::stage::{keep_images, mongodb_client};
use crate::differential::random::Random;
use crate::support;
use crate::support::proxy::{self, Place, Session};

const CUSTOMERS: &str = "PRAGMA journal_mode = wal; CREATE TABLE customers (id INTEGER PRIMARY KEY, region TEXT, grade INTEGER); \
    INSERT INTO customers VALUES (1, 'north', 1), (2, 'south', 2), (3, 'north', NULL)";
const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, amount bigint NOT NULL, price numeric(12, 2)); \
    INSERT INTO orders VALUES (1, 1, 10, 1.50), (2, 1, 20, NULL), (3, 2, 5, 0.25), (4, NULL, 7, 9.99)";

/// Orders by the region of their customers.
pub const TOTALS: &str = "SELECT c.region, count(*) AS orders, sum(o.amount) AS total FROM pg.orders o \
    JOIN file.customers c ON c.id = o.customer GROUP BY c.region";

/// A Tributary over PostgreSQL with `orders` and a file with `customers`, and writers to both themselves.
pub struct Market {
    pub room: Room,
    pub pg: Native,
    pub file: Native,
}

impl Market {
    /// One whose stores are followed.
    pub async fn open() -> Self {
        Self::with(LOG, OUTBOX).await
    }

    async fn with(pg: &str, file: &str) -> Self {
        let (server, place) = (room::postgres().await, Place::new());
        let database = proxy::fresh(server, ORDERS).await;
        place.postgres("pg", server, &database, pg);
        place.sqlite_with("file", CUSTOMERS, file).await;
        let file_of = room::in_file(&place).await;
        place.show_metrics();
        let room = Box::pin(Room::open(place)).await;
        if !pg.is_empty() {
            until_streaming(room.session(), "pg", &["orders"]).await;
            until_streaming(room.session(), "file", &["customers"]).await;
        }
        Self { room, pg: Native::Postgres(proxy::direct(server, &database).await), file: file_of }
    }

    pub fn session(&self) -> &Session {
        self.room.session()
    }

    pub async fn reader(&self, settings: &[(&str, &str)]) -> Session {
        reader(self.room.server().addresses()[0], settings).await
    }

    /// Makes a materialized view and waits until its rows are kept.
    pub async fn view(&self, name: &str, query: &str) {
        make(self.session(), name, query).await;
    }
}

/// How often a view of `public` was computed for keys alone.
async fn keyed(room: &Room, name: &str) -> u64 {
    let http = room.server().http_address().unwrap();
    number(http, &format!("tributary_view_keyed_total{{view=\"public.{name}\"}}")).await
}

/// Makes a materialized view and waits until its rows are kept.
async fn make(session: &Session, name: &str, query: &str) {
    session.answer(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    until_kept(session, name).await;
}

/// Waits until a view of `public` has rows that are read.
pub async fn until_kept(session: &Session, name: &str) {
    eventually(&format!("the rows of {name}"), async || (standing(session, name).await.0 == "kept").then_some(())).await;
}

/// How a view of `public` stands, why, and how often its rows were read.
pub async fn standing(session: &Session, name: &str) -> (String, String, u64) {
    let row = session
        .answer(&format!(
            "SELECT state, served, coalesce(reason, '') FROM tributary.freshness WHERE schema_name::text = 'public' \
             AND table_name::text = '{name}' AND store IS NULL"
        ))
        .await;
    let fields: Vec<&str> = row.splitn(3, '|').collect();
    match fields.as_slice() {
        [state, served, reason] => ((*state).to_owned(), (*reason).to_owned(), served.parse().unwrap()),
        _ => (String::new(), String::new(), 0),
    }
}

/// A view whose column is gone from its table says so at every level, and a neighbour that does not name it goes on; it is kept again when
/// the column is back.
async fn assert_misses(market: &Market, (column, neighbour, query): (&str, &str, &str)) {
    let gone = async || standing(market.session(), "totals").await.1.contains("cannot be planned").then_some(());
    eventually("a view that knows that its column is gone", gone).await;
    for settings in [&FROM_COPY[..], &[], &OF_ANY_AGE, &[("consistency", "bounded"), ("max_staleness", "60s")]] {
        let session = market.reader(settings).await;
        for sql in ["SELECT * FROM totals", "SELECT count(*) FROM totals"] {
            let failure = session.failure(sql).await;
            assert_eq!(failure.code, "42703", "{settings:?}, {sql}: {failure:?}");
            assert!(failure.message.contains("totals") && failure.detail.contains(column), "{settings:?}, {sql}: {failure:?}");
        }
    }
    assert_eq!(standing(market.session(), "totals").await.0, "waiting");
    until_kept(market.session(), neighbour).await;
    let (kept, stores) = (market.reader(&FROM_COPY).await, market.reader(&FROM_STORE).await);
    compare((&kept, &stores), neighbour, query, "the end of a column that it does not name").await;
}

/// It is kept again, and has what its query gives.
async fn assert_is_back(market: &Market, name: &str, query: &str) {
    until_kept(market.session(), name).await;
    let (kept, stores) = (market.reader(&FROM_COPY).await, market.reader(&FROM_STORE).await);
    compare((&kept, &stores), name, query, "the column is back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_dropped_column_of_postgres_says_so_and_shows_nothing_old() {
    const COUNTS: &str = "SELECT customer, count(*) AS n FROM pg.orders GROUP BY customer";
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    market.view("counts", COUNTS).await;
    // What is told of the next change has other columns.
    market.pg.run("ALTER TABLE orders DROP COLUMN amount; INSERT INTO orders VALUES (50, 1, 1.00)").await;
    assert_misses(&market, ("amount", "counts", COUNTS)).await;
    market
        .pg
        .run("ALTER TABLE orders ADD COLUMN amount bigint NOT NULL DEFAULT 3; UPDATE orders SET amount = 4 WHERE id = 1")
        .await;
    market.session().answer("CALL tributary.refresh('pg')").await;
    assert_is_back(&market, "totals", TOTALS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_dropped_column_of_a_file_beside_postgres_says_so_and_shows_nothing_old() {
    const GRADES: &str = "SELECT grade, count(*) AS n FROM file.customers GROUP BY grade";
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    market.view("grades", GRADES).await;
    let Native::Sqlite(connection) = &mut market.file else { panic!("this is no file") };
    let named = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'customers'";
    let triggers: Vec<String> = sqlx::query_scalar(named).fetch_all(connection).await.unwrap();
    assert!(!triggers.is_empty(), "nothing tells of its changes");
    // SQLite keeps a column that a trigger names.
    let dropped: String = triggers.iter().map(|trigger| format!("DROP TRIGGER \"{trigger}\"; ")).collect();
    market.file.run(&format!("BEGIN IMMEDIATE; {dropped}ALTER TABLE customers DROP COLUMN region; COMMIT")).await;
    market.session().answer("CALL tributary.refresh('file')").await;
    assert_misses(&market, ("region", "grades", GRADES)).await;
    market.file.run("ALTER TABLE customers ADD COLUMN region TEXT DEFAULT 'north'").await;
    market.session().answer("CALL tributary.refresh('file')").await;
    assert_is_back(&market, "totals", TOTALS).await;
}

/// The rows, sorted, since a view has no order.
async fn sorted(session: &Session, sql: &str) -> Vec<String> {
    let mut rows = session.rows(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"));
    rows.sort();
    rows
}

/// The view has what its query gives in the stores, as read with everything that was committed before.
async fn compare(market: (&Session, &Session), name: &str, query: &str, step: &str) {
    let (kept, stores) = market;
    let expected = sorted(stores, query).await;
    assert_eq!(sorted(kept, &format!("SELECT * FROM {name}")).await, expected, "{name} after {step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_postgres_and_a_file_follows_writes_behind_the_proxy_and_through_it() {
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    let (kept, stores) = (market.reader(&FROM_COPY).await, market.reader(&FROM_STORE).await);
    compare((&kept, &stores), "totals", TOTALS, "its filling").await;
    let before = standing(market.session(), "totals").await.2;
    let of_pg =
        ["INSERT INTO orders VALUES (10, 2, 100, 1)", "UPDATE orders SET amount = amount + 1", "DELETE FROM orders WHERE id = 1"];
    for sql in of_pg {
        market.pg.run(sql).await;
        compare((&kept, &stores), "totals", TOTALS, sql).await;
    }
    let of_file = [
        "UPDATE customers SET region = 'west' WHERE id = 1",
        "INSERT INTO customers VALUES (9, 'east', 3)",
        "DELETE FROM customers WHERE id = 2",
    ];
    for sql in of_file {
        market.file.run(sql).await;
        compare((&kept, &stores), "totals", TOTALS, sql).await;
    }
    // A session sees what it has written itself.
    let session = market.reader(&[]).await;
    session.answer("INSERT INTO pg.orders VALUES (20, 9, 7, NULL)").await;
    assert_eq!(session.answer("SELECT orders, total FROM totals WHERE region = 'east'").await, "1|7");
    assert!(standing(market.session(), "totals").await.2 > before, "its rows were never read");
    let (_, reason, _) = standing(market.session(), "totals").await;
    assert_eq!(reason, "maintained incrementally");
}

/// Views of every kind over orders and customers, whose names are put in.
const EVERY_KIND: [(&str, &str); 11] = [
    ("joined", "SELECT o.id, o.amount * 2 AS twice, c.region FROM @orders o LEFT JOIN @customers c ON @id = o.customer"),
    (
        "grouped",
        "SELECT c.region, count(*) AS n, sum(o.price) AS s, min(o.amount) AS a, max(o.amount) AS b, \
        count(DISTINCT o.amount) AS d FROM @orders o JOIN @customers c ON @id = o.customer GROUP BY c.region",
    ),
    ("whole_of_it", "SELECT count(*) AS n, sum(amount) AS s, avg(amount) AS a FROM @orders WHERE amount > 10"),
    ("several", "SELECT region FROM @customers UNION ALL SELECT 'none' FROM @orders WHERE customer IS NULL"),
    ("regions", "SELECT DISTINCT region FROM @customers"),
    ("many", "SELECT customer, sum(amount) AS s FROM @orders GROUP BY customer HAVING sum(amount) > 15"),
    // What is computed for the customers of what has changed.
    ("placed", "SELECT customer, id, row_number() OVER (PARTITION BY customer ORDER BY amount DESC, id) AS place FROM @orders"),
    (
        "listed",
        "SELECT o.customer, string_agg(c.region, ',' ORDER BY o.id) AS regions FROM @orders o \
        LEFT JOIN @customers c ON @id = o.customer GROUP BY o.customer",
    ),
    // What is computed as a whole.
    ("ranked", "SELECT id, rank() OVER (ORDER BY amount DESC, id) AS place FROM @orders"),
    ("first_two", "SELECT id, amount FROM @orders ORDER BY amount DESC, id LIMIT 2"),
    // Of another view.
    ("over", "SELECT region, n * 10 AS tens FROM public.grouped"),
];

/// What is done to a customer.
#[derive(Debug)]
enum Change {
    /// It is added with a region and a grade, where it is not there.
    Added(String, i64),
    /// It has another region.
    Moved(String),
    Gone,
}

impl Change {
    /// Does it past Tributary.
    async fn run(&self, native: &mut Native, id: i64) {
        let sql = match self {
            Self::Added(region, grade) => format!("INSERT OR IGNORE INTO customers VALUES ({id}, '{region}', {grade})"),
            Self::Moved(region) => format!("UPDATE customers SET region = '{region}' WHERE id = {id}"),
            Self::Gone => format!("DELETE FROM customers WHERE id = {id}"),
        };
        let Native::MongoDb { database, .. } = native else { return native.run(&sql).await };
        let (customers, which) = (database.collection::<Document>("customers"), doc! { "_id": id });
        match self {
            Self::Added(region, grade) => {
                let set = doc! { "$setOnInsert": { "region": region.as_str(), "grade": *grade } };
                customers.update_one(which, set).upsert(true).await.unwrap();
            }
            Self::Moved(region) => {
                customers.update_one(which, doc! { "$set": { "region": region.as_str() } }).await.unwrap();
            }
            Self::Gone => {
                customers.delete_one(which).await.unwrap();
            }
        }
    }
}

/// The names of both tables, and of the column by which customers are told apart.
struct Stores {
    orders: &'static str,
    customers: &'static str,
    id: &'static str,
}

/// Compares views of every kind with their queries after each of some writes that look random.
async fn follow_of_every_kind(room: &Room, (orders, customers): (&mut Native, &mut Native), stores: Stores, writes: usize) {
    let session = room.session();
    let put_in =
        |query: &str| query.replace("@orders", stores.orders).replace("@customers", stores.customers).replace("@id", stores.id);
    let views = EVERY_KIND.map(|(name, query)| (name, put_in(query)));
    for (name, query) in &views {
        make(session, name, query).await;
    }
    let address = room.server().addresses()[0];
    let (kept, of_stores) = (reader(address, &FROM_COPY).await, reader(address, &FROM_STORE).await);
    let mut random = Random::new(7);
    for number in 0..writes {
        let (id, customer) = (random.below(30) + 1, random.below(6) + 1);
        let amount = random.below(50);
        let of_customer = i64::try_from(customer).unwrap();
        let step = match random.below(7) {
            0 => Ok(format!("INSERT INTO orders VALUES ({}, {customer}, {amount}, {amount}.5)", 100 + number)),
            1 => Ok(format!("UPDATE orders SET amount = {amount}, customer = NULL WHERE id = {id}")),
            2 => Ok(format!("UPDATE orders SET customer = {customer} WHERE id >= {id}")),
            3 => Ok(format!("DELETE FROM orders WHERE id = {}", 100 + random.below(number + 1))),
            4 => Err(Change::Added(format!("r{}", amount % 3), i64::try_from(amount).unwrap())),
            5 => Err(Change::Moved(format!("r{}", amount % 4))),
            _ => Err(Change::Gone),
        };
        match &step {
            Ok(sql) => orders.run(sql).await,
            Err(change) => change.run(customers, of_customer).await,
        }
        for (name, query) in &views {
            compare((&kept, &of_stores), name, query, &format!("write {number}: {step:?}")).await;
        }
    }
    for (name, _) in &views {
        assert_kept_as(room, name).await;
    }
}

/// A view of [`EVERY_KIND`] is read, and kept as it can be.
async fn assert_kept_as(room: &Room, name: &str) {
    let (state, reason, served) = standing(room.session(), name).await;
    assert!(state == "kept" && served > 0, "{name} is {state} ({reason}), read {served} times");
    let how = match name {
        "ranked" | "first_two" => "maintained whole: ",
        "placed" | "listed" => "maintained by key (customer): ",
        _ => "maintained incrementally",
    };
    assert!(reason.starts_with(how), "{name}: {reason}");
    let keyed = keyed(room, name).await;
    assert_eq!(keyed > 0, how.contains("by key"), "{name} was computed for keys {keyed} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_every_kind_have_what_their_queries_give_on_postgres_and_a_file_after_each_write() {
    let Market { room, mut pg, mut file } = Box::pin(Market::open()).await;
    let stores = Stores { orders: "pg.orders", customers: "file.customers", id: "c.id" };
    Box::pin(follow_of_every_kind(&room, (&mut pg, &mut file), stores, 40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_every_kind_have_what_their_queries_give_on_mariadb_and_mongodb_after_each_write() {
    let (mariadb, mongodb, place) = (room::mariadb().await, support::mongodb().await, Place::new());
    let database = mariadb.fresh_database().await.unwrap();
    let options = mariadb.mysql_options().database(&database);
    let mut orders = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
    orders.run(ORDERS).await;
    place.mariadb("maria", mariadb, &database, &format!("changes.tables = [\"{database}.*\"]\n{LOG}"));
    let (client, name) = (mongodb_client(mongodb).await, mongodb.fresh_database().await.unwrap());
    let database = client.database(&name);
    let first =
        [doc! { "_id": 1_i64, "region": "north", "grade": 1_i64 }, doc! { "_id": 2_i64, "region": "south", "grade": 2_i64 }];
    let collection = database.collection::<Document>("customers");
    collection.insert_many(first).await.unwrap();
    collection.insert_one(doc! { "_id": 3_i64, "region": "north" }).await.unwrap();
    let columns = "_id = \"bigint\"\nregion = \"text\"\ngrade = \"bigint\"\n";
    let lines = format!("{LOG}{}sample = 0\n[collections.customers.columns]\n{columns}", cached(&["customers"]));
    keep_images(&database, &["customers"], &lines).await;
    place.mongodb("mongo", mongodb, &name, &lines);
    place.show_metrics();
    let room = Box::pin(Room::open(place)).await;
    until_streaming(room.session(), "maria", &["orders"]).await;
    until_streaming(room.session(), "mongo", &["customers"]).await;
    let mut customers = Native::MongoDb { client, database, open: None };
    let stores = Stores { orders: "maria.orders", customers: "mongo.customers", id: "c._id" };
    Box::pin(follow_of_every_kind(&room, (&mut orders, &mut customers), stores, 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_say_how_a_view_over_postgres_is_kept_and_what_was_read() {
    let market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    let kept = market.reader(&FROM_COPY).await;
    let plan = kept.answer("EXPLAIN ANALYZE SELECT * FROM totals").await;
    assert!(plan.contains("Maintained: incrementally (public.totals)"), "{plan}");
    assert!(plan.contains("Source: rows of the view, at most ") && plan.contains("ViewExec: public.totals"), "{plan}");
    let stores = market.reader(&FROM_STORE).await;
    let plan = stores.answer("EXPLAIN SELECT * FROM totals").await;
    assert!(plan.contains("Source: query of the view, ") && !plan.contains("ViewExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_postgres_with_a_window_says_that_it_is_kept_by_key_and_follows_writes_behind_the_proxy() {
    const PLACED: &str =
        "SELECT customer, id, row_number() OVER (PARTITION BY customer ORDER BY amount DESC, id) AS place FROM pg.orders";
    let mut market = Box::pin(Market::open()).await;
    market.view("placed", PLACED).await;
    let (kept, stores) = (market.reader(&FROM_COPY).await, market.reader(&FROM_STORE).await);
    let plan = kept.answer("EXPLAIN ANALYZE SELECT * FROM placed").await;
    assert!(plan.contains("Maintained: by key (customer): a window function needs all rows (public.placed)"), "{plan}");
    let before = keyed(&market.room, "placed").await;
    let writes = [
        "UPDATE orders SET customer = 2 WHERE id = 1",
        "UPDATE orders SET customer = NULL WHERE id = 2",
        "INSERT INTO orders VALUES (10, NULL, 50, NULL), (11, 2, 50, NULL)",
        "DELETE FROM orders WHERE id = 4",
    ];
    for sql in writes {
        market.pg.run(sql).await;
        compare((&kept, &stores), "placed", PLACED, sql).await;
    }
    assert_eq!(kept.answer("SELECT place FROM placed WHERE id = 1").await, "2");
    assert!(standing(market.session(), "placed").await.2 > 0, "its rows were never read");
    assert!(keyed(&market.room, "placed").await > before, "nothing was computed for keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_keep_a_state_or_have_written_run_the_query_of_a_view_over_postgres() {
    let mut market = Box::pin(Market::open()).await;
    market.view("amounts", "SELECT id, amount FROM pg.orders").await;
    let session = market.reader(&FROM_COPY).await;
    let sql = "SELECT amount FROM amounts WHERE id = 1";
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(session.answer(sql).await, "10");
    market.pg.run("UPDATE orders SET amount = 11 WHERE id = 1").await;
    assert_eq!(session.answer(sql).await, "10", "a block has one state of its stores");
    session.answer("COMMIT").await;
    assert_eq!(session.answer(sql).await, "11");
    session.answer("BEGIN").await;
    session.answer("UPDATE pg.orders SET amount = 12 WHERE id = 1").await;
    assert_eq!(session.answer(sql).await, "12", "a block sees what it has written");
    session.answer("ROLLBACK").await;
    assert_eq!(session.answer(sql).await, "11");
    // What is written stands on the stores.
    session.answer("UPDATE pg.orders SET amount = (SELECT max(amount) FROM amounts) WHERE id = 1").await;
    assert_eq!(session.answer(sql).await, "20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_postgres_has_what_came_while_the_server_was_away() {
    let mut market = Box::pin(Market::open()).await;
    market.view("totals", TOTALS).await;
    market.session().answer("CREATE UNIQUE INDEX totals_region ON totals (region)").await;
    market.room.stop().await;
    market.pg.run("INSERT INTO orders VALUES (30, 3, 1000, NULL)").await;
    Box::pin(market.room.start()).await;
    until_kept(market.session(), "totals").await;
    let (kept, stores) = (market.reader(&FROM_COPY).await, market.reader(&FROM_STORE).await);
    compare((&kept, &stores), "totals", TOTALS, "a restart").await;
    assert_eq!(kept.answer("SELECT total FROM totals WHERE region = 'north'").await, "1030");
    assert_eq!(market.session().answer("SELECT indexname FROM pg_indexes WHERE tablename = 'totals'").await, "totals_region");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_feeds_a_view_over_postgres_is_as_old_as_its_last_refresh() {
    let mut market = Box::pin(Market::with("", "")).await;
    market.view("totals", TOTALS).await;
    let (_, reason, _) = standing(market.session(), "totals").await;
    assert!(reason.starts_with("maintained by REFRESH only: "), "{reason}");
    let sql = "SELECT total FROM totals WHERE region = 'north'";
    assert_eq!(market.session().answer(sql).await, "30");
    market.pg.run("UPDATE orders SET amount = 100 WHERE id = 1").await;
    assert_eq!(market.session().answer(sql).await, "30");
    let strong = market.reader(&[("consistency", "strong")]).await;
    assert_eq!(strong.answer(sql).await, "120", "nothing that is older is strong");
    market.session().answer("REFRESH MATERIALIZED VIEW totals").await;
    assert_eq!(market.session().answer(sql).await, "120");
    market.pg.run("UPDATE orders SET amount = 200 WHERE id = 1").await;
    market.session().answer("REFRESH MATERIALIZED VIEW CONCURRENTLY totals").await;
    assert_eq!(market.session().answer(sql).await, "220");
    // What the session itself has written since is not kept from it.
    let other = market.reader(&[]).await;
    for statements in
        ["UPDATE pg.orders SET amount = 300 WHERE id = 1", "BEGIN; UPDATE pg.orders SET amount = 300 WHERE id = 1; COMMIT"]
    {
        market.session().answer(statements).await;
        assert_eq!(market.session().answer(sql).await, "320", "{statements}");
        assert_eq!(other.answer(sql).await, "220", "{statements}");
        market.session().answer("SET tributary.consistency = 'eventual'").await;
        assert_eq!(market.session().answer(sql).await, "220", "{statements}");
        market.session().answer("SET tributary.consistency = 'session'").await;
    }
    market.session().answer("REFRESH MATERIALIZED VIEW totals").await;
    assert_eq!((market.session().answer(sql).await, other.answer(sql).await), ("320".to_owned(), "320".to_owned()));
    let served = standing(market.session(), "totals").await.2;
    market.session().answer(sql).await;
    assert!(standing(market.session(), "totals").await.2 > served, "it is not read again");
}
