//! MariaDB: one INSERT of some thousand rows for each block; the driver has no LOAD DATA LOCAL.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use super::super::Indexes;
use super::super::made::{Block, Blocks};
use super::super::table::{Kind, Table};
use super::{LoadError, Progress, Size};
use crate::sandbox::Endpoint;

/// What the session need not do for rows that come from a generator.
const SESSION: &str = "SET SESSION sql_log_bin = 0, SESSION unique_checks = 0, SESSION foreign_key_checks = 0";

/// Loads a table.
pub(super) async fn load(
    endpoint: &Endpoint,
    table: &'static Table,
    size: Size,
    progress: &mut Progress,
) -> Result<u64, LoadError> {
    let mut connection = MySqlConnection::connect_with(&endpoint.mysql_options()).await?;
    run(&mut connection, SESSION.to_owned()).await?;
    let key = format!(", PRIMARY KEY ({})", table.primary_key.join(", "));
    run(&mut connection, table.create(word, &key)).await?;
    let mut rows = 0;
    let mut blocks = Blocks::of(table, size.scale);
    while let Some(block) = blocks.next().await {
        run(&mut connection, insert(table, &block)).await?;
        rows += block.rows;
        progress.add(block.rows);
    }
    progress.say("keys and statistics");
    if size.indexes == Indexes::Foreign {
        for index in table.foreign_indexes() {
            run(&mut connection, index).await?;
        }
    }
    run(&mut connection, format!("ANALYZE TABLE {}", table.name)).await?;
    connection.close().await?;
    Ok(rows)
}

async fn run(connection: &mut MySqlConnection, sql: String) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

fn insert(table: &Table, block: &Block) -> String {
    let mut sql = format!("INSERT INTO {} VALUES ", table.name);
    sql.reserve(block.text.len() * 2);
    for (place, line) in block.text.lines().enumerate() {
        sql.push_str(if place == 0 { "(" } else { ",(" });
        for (place, (field, column)) in line.split('|').zip(table.columns).enumerate() {
            if place > 0 {
                sql.push(',');
            }
            match column.kind {
                Kind::Integer | Kind::Key | Kind::Decimal => sql.push_str(field),
                Kind::Text(_) | Kind::Day => push_quoted(&mut sql, field),
            }
        }
        sql.push(')');
    }
    sql
}

fn push_quoted(sql: &mut String, field: &str) {
    sql.push('\'');
    for letter in field.chars() {
        if matches!(letter, '\'' | '\\') {
            sql.push(letter);
        }
        sql.push(letter);
    }
    sql.push('\'');
}

fn word(kind: Kind) -> String {
    match kind {
        Kind::Integer => "int".to_owned(),
        Kind::Key => "bigint".to_owned(),
        Kind::Decimal => "decimal(15,2)".to_owned(),
        Kind::Text(length) => format!("varchar({length})"),
        Kind::Day => "date".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::table::table;
    use super::*;

    #[test]
    fn rows_become_one_insert() {
        let block = Block { text: "0|AFRICA|it's\n1|ASIA|a\\b\n".to_owned(), rows: 2 };
        let expected = "INSERT INTO region VALUES (0,'AFRICA','it''s'),(1,'ASIA','a\\\\b')";
        assert_eq!(insert(table("region").unwrap(), &block), expected);
    }
}
