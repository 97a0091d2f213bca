//! The stores by their own drivers, past Tributary: tables are made and filled here, and read back as they lie there.
//!
//! A value is told as a text of one form for all stores, so that rows of a store and of the copy can be compared. A value that a
//! store keeps in another form than its column asks for, say a number as text, is told as such and never equal.

use std::str::FromStr;
use std::time::Duration;

use bigdecimal::BigDecimal;
use futures::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor, Row as _, TypeInfo as _, ValueRef as _};

use super::tables::{Column, Kind, LEVEL, Table};

/// A row as it is compared.
pub type Row = Vec<Option<String>>;

/// The longest that emptying and filling a table may take; a transaction that was left open would make it wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is set on connections to MariaDB.
pub const MARIADB_SESSION: &str = "SET sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', time_zone = '+00:00', \
                                   lock_wait_timeout = 20, innodb_lock_wait_timeout = 20";

/// What is set on connections to PostgreSQL.
pub const POSTGRES_SESSION: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET lock_timeout = '20s'";

/// A connection to a store.
pub enum Owner {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
    MongoDb(Database),
}

impl Owner {
    /// Makes a table.
    pub async fn create(&mut self, table: &Table, store: usize) {
        let sql = table.definition(table.name, store, false);
        match self {
            Self::Postgres(connection) => {
                if table.name == "kinds" {
                    in_postgres(connection, LEVEL.to_owned()).await.unwrap();
                }
                in_postgres(connection, sql).await.unwrap();
            }
            Self::MariaDb(connection) => in_mariadb(connection, &format!("{sql} CHARACTER SET utf8mb4")).await,
            Self::Sqlite(connection) => in_sqlite(connection, &sql).await,
            Self::MongoDb(database) => {
                database.create_collection(table.name).await.unwrap();
                if let Some(column) = table.unique {
                    let options = IndexOptions::builder().unique(true).name(format!("{}_{column}", table.name)).build();
                    let index = IndexModel::builder().keys(doc! { column: 1 }).options(options).build();
                    database.collection::<Document>(table.name).create_index(index).await.unwrap();
                }
            }
        }
    }

    /// Puts a table back to the rows that it began with.
    pub async fn refill(&mut self, table: &Table, store: usize) {
        let filling = tokio::time::timeout(PATIENCE, self.fill(table, store)).await;
        assert!(filling.is_ok(), "{} is held by somebody", table.name);
    }

    async fn fill(&mut self, table: &Table, store: usize) {
        let rows = table.rows_of(store);
        match self {
            Self::Postgres(connection) => refill_postgres(connection, table.name, table, store, &rows).await.unwrap(),
            Self::MariaDb(connection) => {
                for sql in statements(table, store, &rows, mariadb_literal, "ALTER TABLE journal AUTO_INCREMENT = 1") {
                    in_mariadb(connection, &sql).await;
                }
            }
            Self::Sqlite(connection) => {
                for sql in statements(table, store, &rows, sqlite_literal, "SELECT 1") {
                    in_sqlite(connection, &sql).await;
                }
            }
            Self::MongoDb(database) => {
                let collection = database.collection::<Document>(table.name);
                collection.delete_many(doc! {}).await.unwrap();
                let of_row = |row: &Row| {
                    let mut document = Document::new();
                    for ((_, column), cell) in table.columns_of(store).zip(row) {
                        if let Some(text) = cell {
                            document.insert(column.name, bson(column.kind, text));
                        }
                    }
                    document
                };
                let documents: Vec<Document> = rows.iter().map(of_row).collect();
                collection.insert_many(documents).await.unwrap();
            }
        }
    }

    /// All rows of a table, sorted.
    pub async fn content(&mut self, table: &Table, store: usize) -> Vec<Row> {
        match self {
            Self::Postgres(connection) => postgres_content(connection, table.name, table, store).await,
            Self::MariaDb(connection) => {
                let sql = select(table, store, |column| match column.kind {
                    Kind::Bytes => format!("CONCAT('\\x', LOWER(HEX({})))", column.name),
                    _ => format!("CONVERT(CAST({} AS CHAR) USING utf8mb4)", column.name),
                });
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
                let cell = |row: &sqlx::mysql::MySqlRow, place: usize| row.try_get::<Option<String>, _>(place).unwrap();
                sorted(rows.iter().map(|row| canonical_row(table, store, |place| cell(row, place))).collect())
            }
            Self::Sqlite(connection) => {
                let sql = select(table, store, |column| match column.kind {
                    Kind::Float => column.name.to_owned(),
                    _ => sqlite_text(column.name),
                });
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
                let cell = |row: &sqlx::sqlite::SqliteRow, place: usize| row.try_get::<Option<String>, _>(place).unwrap();
                let of_row = |row: &sqlx::sqlite::SqliteRow| {
                    let columns: Vec<&Column> = table.columns_of(store).map(|(_, column)| column).collect();
                    canonical_row(table, store, |place| match columns[place].kind {
                        Kind::Float => float_in_sqlite(row, place),
                        kind => cell(row, place).map(|text| stored_in_sqlite(kind, &text)),
                    })
                };
                sorted(rows.iter().map(of_row).collect())
            }
            Self::MongoDb(database) => {
                let cursor = database.collection::<Document>(table.name).find(doc! {}).await.unwrap();
                let documents: Vec<Document> = cursor.try_collect().await.unwrap();
                sorted(documents.iter().map(|document| row_of_document(table, store, document)).collect())
            }
        }
    }
}

async fn in_postgres(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}

async fn in_mariadb(connection: &mut MySqlConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn in_sqlite(connection: &mut SqliteConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Empties a table of PostgreSQL under any name, and fills it.
///
/// # Errors
/// A row that the table does not take.
pub async fn refill_postgres(
    connection: &mut PgConnection,
    name: &str,
    table: &Table,
    store: usize,
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    let restart = format!("ALTER TABLE {name} ALTER COLUMN _id RESTART WITH 1");
    for sql in statements(table, store, rows, |_, text| quoted(text), &restart) {
        let named = sql
            .replace(&format!("FROM {}", table.name), &format!("FROM {name}"))
            .replace(&format!("INTO {} ", table.name), &format!("INTO {name} "));
        in_postgres(connection, named).await?;
    }
    Ok(())
}

/// All rows of a table of PostgreSQL under any name, sorted.
pub async fn postgres_content(connection: &mut PgConnection, name: &str, table: &Table, store: usize) -> Vec<Row> {
    let sql = select(table, store, |column| format!("{}::text", column.name));
    let sql = sql.replace(&format!("FROM {}", table.name), &format!("FROM {name}"));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    let cell = |row: &sqlx::postgres::PgRow, place: usize| row.try_get::<Option<String>, _>(place).unwrap();
    sorted(rows.iter().map(|row| canonical_row(table, store, |place| cell(row, place))).collect())
}

/// What empties a table, begins its keys anew where it counts, and fills it.
fn statements(table: &Table, store: usize, rows: &[Row], literal: impl Fn(&Column, &str) -> String, restart: &str) -> Vec<String> {
    let mut statements = vec![format!("DELETE FROM {}", table.name)];
    if table.counts {
        statements.push(restart.to_owned());
    }
    let of_row = |row: &Row| {
        let cells = table.columns_of(store).zip(row);
        let cells = cells.map(|((_, column), cell)| cell.as_ref().map_or("NULL".to_owned(), |text| literal(column, text)));
        format!("({})", cells.collect::<Vec<_>>().join(", "))
    };
    if !rows.is_empty() {
        let names: Vec<&str> = table.columns_of(store).map(|(_, column)| column.name).collect();
        let values: Vec<String> = rows.iter().map(of_row).collect();
        statements.push(format!("INSERT INTO {} ({}) VALUES {}", table.name, names.join(", "), values.join(", ")));
    }
    statements
}

fn select(table: &Table, store: usize, text: impl Fn(&Column) -> String) -> String {
    let columns: Vec<String> = table.columns_of(store).map(|(_, column)| text(column)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), table.name)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn mariadb_literal(column: &Column, text: &str) -> String {
    match column.kind {
        Kind::Bool | Kind::Int | Kind::Numeric | Kind::Float => text.to_owned(),
        Kind::Bytes => format!("x'{}'", text.trim_start_matches("\\x")),
        Kind::Text | Kind::Date | Kind::Moment | Kind::Clock | Kind::Person | Kind::Uuid | Kind::Json | Kind::Array => quoted(text),
    }
}

fn sqlite_literal(column: &Column, text: &str) -> String {
    match column.kind {
        Kind::Bool => i32::from(text == "true").to_string(),
        Kind::Int | Kind::Numeric | Kind::Float => text.to_owned(),
        Kind::Bytes => format!("x'{}'", text.trim_start_matches("\\x")),
        Kind::Moment if column.stored.contains(&"TIMESTAMPTZ") => quoted(&format!("{text}Z")),
        Kind::Text | Kind::Date | Kind::Moment | Kind::Clock | Kind::Person | Kind::Uuid | Kind::Json | Kind::Array => quoted(text),
    }
}

/// The class of a value, a colon and its text.
fn sqlite_text(name: &str) -> String {
    format!(
        "CASE typeof({name}) WHEN 'null' THEN NULL WHEN 'blob' THEN 'blob:\\x' || lower(hex({name})) \
         WHEN 'real' THEN 'real:' || printf('%!.17g', {name}) ELSE typeof({name}) || ':' || CAST({name} AS TEXT) END"
    )
}

/// The text of a value that has a class which its column may have.
fn stored_in_sqlite(kind: Kind, told: &str) -> String {
    let (class, text) = told.split_once(':').unwrap();
    let classes: &[&str] = match kind {
        Kind::Bool | Kind::Int => &["integer"],
        Kind::Numeric => &["integer", "real", "text"],
        Kind::Float => &["real"],
        Kind::Text | Kind::Date | Kind::Moment | Kind::Clock | Kind::Person | Kind::Uuid | Kind::Json | Kind::Array => &["text"],
        Kind::Bytes => &["blob"],
    };
    if !classes.contains(&class) {
        return format!("not of its class: {told}");
    }
    // The fewest digits that mean this number, which are those of the decimal that was stored.
    if kind == Kind::Numeric && class == "real" { text.parse::<f64>().unwrap().to_string() } else { text.to_owned() }
}

/// A float as it lies there: the texts that SQLite makes of large ones are not exact.
fn float_in_sqlite(row: &sqlx::sqlite::SqliteRow, place: usize) -> Option<String> {
    let value = row.try_get_raw(place).unwrap();
    if value.is_null() {
        return None;
    }
    let class = value.type_info().name().to_owned();
    let told = if class == "REAL" { row.get::<f64, _>(place).to_string() } else { format!("not of its class: {class}") };
    Some(told)
}

fn bson(kind: Kind, text: &str) -> Bson {
    match kind {
        Kind::Bool => Bson::Boolean(text == "true"),
        Kind::Int => Bson::Int64(text.parse().unwrap()),
        Kind::Numeric => Bson::Decimal128(text.parse().unwrap()),
        Kind::Float => Bson::Double(text.parse().unwrap()),
        Kind::Text => Bson::String(text.to_owned()),
        Kind::Moment => Bson::DateTime(DateTime::parse_rfc3339_str(format!("{}Z", text.replace(' ', "T"))).unwrap()),
        Kind::Person => Bson::Document(person(text)),
        Kind::Array => Bson::Array(elements(text).into_iter().map(|element| element.map_or(Bson::Null, Bson::String)).collect()),
        Kind::Bytes | Kind::Date | Kind::Clock | Kind::Uuid | Kind::Json => panic!("no column of MongoDB is {kind:?}"),
    }
}

/// The elements of an array as the rows of [`Table`] write it: without quotes in quotes.
fn elements(text: &str) -> Vec<Option<String>> {
    let inside = text.trim_start_matches('{').trim_end_matches('}');
    let elements = inside.split(',').filter(|element| !element.is_empty());
    elements.map(|element| (element != "NULL").then(|| element.trim_matches('"').to_owned())).collect()
}

/// An array as PostgreSQL writes it.
fn array(values: &[Bson]) -> String {
    let element = |value: &Bson| match value {
        Bson::Null => "NULL".to_owned(),
        Bson::String(text) => {
            let is_plain = !text.is_empty() && !text.eq_ignore_ascii_case("null");
            if is_plain && !text.contains(|c: char| c.is_whitespace() || "{},\"\\".contains(c)) {
                return text.clone();
            }
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        other => format!("not of its type: {other:?}"),
    };
    format!("{{{}}}", values.iter().map(element).collect::<Vec<_>>().join(","))
}

/// `(36,Ada)` as a document, without the fields that are NULL.
fn person(text: &str) -> Document {
    let (age, name) = text.trim_matches(['(', ')']).split_once(',').unwrap();
    let mut person = Document::new();
    if !age.is_empty() {
        person.insert("age", age.parse::<i64>().unwrap());
    }
    if !name.is_empty() {
        person.insert("name", name);
    }
    person
}

fn stored_person(person: &Document) -> String {
    let field = |name: &str| match person.get(name) {
        None | Some(Bson::Null) => String::new(),
        Some(Bson::Int64(age)) if name == "age" => age.to_string(),
        Some(Bson::String(text)) if name == "name" => text.clone(),
        Some(other) => format!("not of its type: {other:?}"),
    };
    let besides: String = person.keys().filter(|key| !["age", "name"].contains(&key.as_str())).cloned().collect();
    format!("({},{}){besides}", field("age"), field("name"))
}

fn row_of_document(table: &Table, store: usize, document: &Document) -> Row {
    let columns: Vec<&Column> = table.columns_of(store).map(|(_, column)| column).collect();
    let mut row = canonical_row(table, store, |place| match document.get(columns[place].name) {
        None | Some(Bson::Null) => None,
        Some(value) => Some(stored_in_mongodb(columns[place].kind, value)),
    });
    let besides = document.keys().filter(|key| columns.iter().all(|column| column.name != key.as_str()));
    row.extend(besides.map(|key| Some(format!("a field besides: {key}"))));
    row
}

fn stored_in_mongodb(kind: Kind, value: &Bson) -> String {
    match (kind, value) {
        (Kind::Bool, Bson::Boolean(truth)) => truth.to_string(),
        (Kind::Int, Bson::Int64(number)) => number.to_string(),
        (Kind::Numeric, Bson::Decimal128(number)) => number.to_string(),
        (Kind::Float, Bson::Double(number)) => format!("{number:?}"),
        (Kind::Text, Bson::String(text)) => text.clone(),
        (Kind::Array, Bson::Array(values)) => array(values),
        (Kind::Moment, Bson::DateTime(moment)) => moment.try_to_rfc3339_string().unwrap(),
        (Kind::Person, Bson::Document(person)) => stored_person(person),
        (_, other) => format!("not of its type: {other:?}"),
    }
}

fn canonical_row(table: &Table, store: usize, cell: impl Fn(usize) -> Option<String>) -> Row {
    let columns = table.columns_of(store).enumerate();
    columns.map(|(place, (_, column))| cell(place).map(|text| canonical(column.kind, &text))).collect()
}

/// One text for all texts of a value.
fn canonical(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Bool => match text {
            "t" | "true" | "1" => "true".to_owned(),
            "f" | "false" | "0" => "false".to_owned(),
            other => format!("no truth: {other}"),
        },
        Kind::Numeric => BigDecimal::from_str(text).map_or(text.to_owned(), |number| number.normalized().to_plain_string()),
        Kind::Float => text.parse::<f64>().map_or(text.to_owned(), |number| format!("{number:?}")),
        Kind::Moment | Kind::Clock => {
            let plain = text.replace('T', " ");
            let plain = ["+00:00", "+00", "Z"].iter().find_map(|zone| plain.strip_suffix(*zone)).unwrap_or(&plain);
            match plain.split_once('.') {
                Some((whole, fraction)) if fraction.trim_end_matches('0').is_empty() => whole.to_owned(),
                Some((whole, fraction)) => format!("{whole}.{}", fraction.trim_end_matches('0')),
                None => plain.to_owned(),
            }
        }
        Kind::Int | Kind::Text | Kind::Bytes | Kind::Date | Kind::Person | Kind::Uuid | Kind::Json | Kind::Array => text.to_owned(),
    }
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

#[test]
fn texts_of_one_value_are_made_one() {
    let same = [
        (Kind::Bool, "t", "1"),
        (Kind::Numeric, "12.50", "12.5"),
        (Kind::Numeric, "1E+3", "1000"),
        (Kind::Numeric, "0.00", "0"),
        (Kind::Float, "1e300", "1e+300"),
        (Kind::Float, "3", "3.0"),
        (Kind::Moment, "2024-02-29T12:30:45.120Z", "2024-02-29 12:30:45.12+00"),
        (Kind::Moment, "2024-02-29 12:30:45.000000", "2024-02-29 12:30:45"),
        (Kind::Clock, "26:00:00.000000", "26:00:00"),
    ];
    for (kind, left, right) in same {
        assert_eq!(canonical(kind, left), canonical(kind, right), "{kind:?}");
    }
    let different = [
        (Kind::Float, "0", "-0"),
        (Kind::Text, "a", "a "),
        (Kind::Moment, "2024-02-29 12:30:45+00", "2024-02-29 12:30:45+01"),
        (Kind::Numeric, "1", "1.01"),
        (Kind::Bool, "1", "2"),
    ];
    for (kind, left, right) in different {
        assert_ne!(canonical(kind, left), canonical(kind, right), "{kind:?}");
    }
}

#[test]
fn values_in_another_form_than_their_column_asks_for_are_told() {
    assert_eq!(stored_in_sqlite(Kind::Int, "integer:5"), "5");
    assert_eq!(stored_in_sqlite(Kind::Numeric, "real:12.340000000000000"), "12.34");
    assert!(stored_in_sqlite(Kind::Int, "text:5").starts_with("not"));
    assert!(stored_in_mongodb(Kind::Int, &Bson::Int32(5)).starts_with("not"));
    assert_eq!(stored_in_mongodb(Kind::Int, &Bson::Int64(5)), "5");
    for text in ["(36,Ada)", "(,bob)", "(7,)", "(,)"] {
        assert_eq!(stored_in_mongodb(Kind::Person, &bson(Kind::Person, text)), text);
    }
    assert!(stored_in_mongodb(Kind::Person, &Bson::Document(doc! { "age": 5_i32 })).contains("not"));
    for text in ["{a,b}", "{}", "{x,NULL,\"y z\"}"] {
        assert_eq!(stored_in_mongodb(Kind::Array, &bson(Kind::Array, text)), text);
    }
    assert_eq!(array(&[Bson::String(String::new()), Bson::String("a\"\\".to_owned())]), "{\"\",\"a\\\"\\\\\"}");
    assert!(array(&[Bson::Int32(1)]).contains("not of its type"));
    let table = &super::tables::TABLES[super::tables::place("people")];
    let row = row_of_document(table, 3, &doc! { "_id": 1_i64, "email": "a", "surprise": 1 });
    assert_eq!(row.last().unwrap().as_deref(), Some("a field besides: surprise"));
}
