//! SQLite: prepared statements of many rows each, in one transaction.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use super::super::Indexes;
use super::super::made::Blocks;
use super::super::table::{Column, Kind, Table};
use super::{LoadError, Progress, Size};

/// Rows of one statement: each statement is a message to the driver's thread, which costs more than a row.
const ROWS_MAX: usize = 200;

/// Loads a table into a file, which is made when it is not there.
pub(super) async fn load(path: &Path, table: &'static Table, size: Size, progress: &mut Progress) -> Result<u64, LoadError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let key = format!(", PRIMARY KEY ({})", table.primary_key.join(", "));
    run(&mut connection, table.create(word, &key)).await?;
    run(&mut connection, "BEGIN".to_owned()).await?;
    let mut rows = 0;
    let mut blocks = Blocks::of(table, size.scale);
    while let Some(block) = blocks.next().await {
        let lines: Vec<&str> = block.text.lines().collect();
        for some in lines.chunks(ROWS_MAX) {
            insert(&mut connection, table, some).await?;
        }
        rows += block.rows;
        progress.add(block.rows);
    }
    run(&mut connection, "COMMIT".to_owned()).await?;
    progress.say("keys and statistics");
    if size.indexes == Indexes::Foreign {
        for index in table.foreign_indexes() {
            run(&mut connection, index).await?;
        }
    }
    run(&mut connection, format!("ANALYZE {}", table.name)).await?;
    connection.close().await?;
    Ok(rows)
}

async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

async fn insert(connection: &mut SqliteConnection, table: &Table, lines: &[&str]) -> Result<(), LoadError> {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let sql = format!("INSERT INTO {} VALUES {}", table.name, vec![row; lines.len()].join(", "));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for line in lines {
        for (field, column) in line.split('|').zip(table.columns) {
            query = match column.kind {
                Kind::Integer | Kind::Key => query.bind(whole(field, column)?),
                // The affinity of the column makes numbers of amounts.
                Kind::Decimal | Kind::Text(_) | Kind::Day => query.bind(field.to_owned()),
            };
        }
    }
    query.execute(connection).await?;
    Ok(())
}

fn whole(field: &str, column: &Column) -> Result<i64, LoadError> {
    field
        .parse()
        .map_err(|_not_a_number: std::num::ParseIntError| LoadError::Field { column: column.name, value: field.to_owned() })
}

fn word(kind: Kind) -> String {
    match kind {
        Kind::Integer | Kind::Key => "INTEGER".to_owned(),
        Kind::Decimal => "DECIMAL(15,2)".to_owned(),
        Kind::Text(length) => format!("VARCHAR({length})"),
        Kind::Day => "DATE".to_owned(),
    }
}
