//! PostgreSQL: COPY into a table of the same transaction, then keys and statistics.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use super::super::Indexes;
use super::super::client;
use super::super::made::Blocks;
use super::super::table::{Kind, Table};
use super::{LoadError, Progress, Size};
use crate::sandbox::Endpoint;

/// Loads a table.
pub(super) async fn load(
    endpoint: &Endpoint,
    table: &'static Table,
    size: Size,
    progress: &mut Progress,
) -> Result<u64, LoadError> {
    let mut connection = client::open(endpoint, Duration::ZERO).await?;
    // Pages of a table that was made in the same transaction need no log and are written as visible to everybody.
    run(&mut connection, "BEGIN").await?;
    run(&mut connection, &table.create(word, "")).await?;
    let copy = format!("COPY {} FROM STDIN WITH (DELIMITER '|', FREEZE)", table.name);
    let mut target = connection.copy_in_raw(&copy).await?;
    let mut blocks = Blocks::of(table, size.scale);
    while let Some(block) = blocks.next().await {
        target.send(block.text.into_bytes()).await?;
        progress.add(block.rows);
    }
    let rows = target.finish().await?;
    run(&mut connection, "COMMIT").await?;
    progress.say("keys and statistics");
    run(&mut connection, &format!("ALTER TABLE {} ADD PRIMARY KEY ({})", table.name, table.primary_key.join(", "))).await?;
    if size.indexes == Indexes::Foreign {
        for index in table.foreign_indexes() {
            run(&mut connection, &index).await?;
        }
    }
    run(&mut connection, &format!("VACUUM ANALYZE {}", table.name)).await?;
    connection.close().await?;
    Ok(rows)
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(drop)
}

fn word(kind: Kind) -> String {
    match kind {
        Kind::Integer => "integer".to_owned(),
        Kind::Key => "bigint".to_owned(),
        Kind::Decimal => "numeric(15,2)".to_owned(),
        Kind::Text(length) => format!("varchar({length})"),
        Kind::Day => "date".to_owned(),
    }
}
