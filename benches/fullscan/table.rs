//! The table that both sides read: `lineitem` of TPC-H in a PostgreSQL of its own.

use std::fmt::Write as _;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, raw_sql};
use tpchgen::generators::LineItemGenerator;
use tributary::sandbox::{Durability, Postgres, Setup};

use super::measure::must;

const CREATE: &str = "CREATE TABLE lineitem (l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
    l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
    l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag varchar(1) NOT NULL, l_linestatus varchar(1) NOT NULL, \
    l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct varchar(25) NOT NULL, \
    l_shipmode varchar(10) NOT NULL, l_comment varchar(44) NOT NULL)";

/// Settings for much data that is worthless afterwards.
const SETTINGS: [&str; 4] = ["wal_level=minimal", "max_wal_senders=0", "max_wal_size=16GB", "checkpoint_timeout=1h"];
/// Memory for cached data: the table is in it.
const CACHE_MIB: u32 = 1024;
/// A little less than the rows of scale 1, so that a scale has as many as are wanted.
const ROWS_OF_SCALE: f64 = 5_900_000.0;
/// The least scale that the generator is used with.
const SCALE_MIN: f64 = 0.01;
/// Bytes that are sent at a time.
const BLOCK_BYTES: usize = 256 << 10;

/// A server with the table, of so many rows.
pub async fn filled(rows: u64) -> Postgres {
    let arguments = SETTINGS.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
    let setup = Setup { durability: Durability::Forgone, cache_mib: Some(CACHE_MIB), arguments, ..Setup::default() };
    let server = must(Postgres::start_with(&setup).await);
    must(fill(&server, rows).await);
    server
}

async fn fill(server: &Postgres, rows: u64) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&server.postgres_options()).await?;
    run(&mut connection, "BEGIN").await?;
    run(&mut connection, CREATE).await?;
    let mut target = connection.copy_in_raw("COPY lineitem FROM STDIN WITH (DELIMITER '|', FREEZE)").await?;
    let scale = (rows as f64 / ROWS_OF_SCALE).max(SCALE_MIN);
    let generator = LineItemGenerator::new(scale, 1, 1);
    let mut block = String::with_capacity(2 * BLOCK_BYTES);
    for row in generator.iter().take(usize::try_from(rows).unwrap_or(usize::MAX)) {
        // Writing into a `String` cannot fail.
        let _ = write!(block, "{row}");
        // The generator puts a separator behind the last field too.
        if block.ends_with('|') {
            block.pop();
        }
        block.push('\n');
        if block.len() >= BLOCK_BYTES {
            target.send(block.as_bytes()).await?;
            block.clear();
        }
    }
    target.send(block.as_bytes()).await?;
    target.finish().await?;
    run(&mut connection, "COMMIT").await?;
    run(&mut connection, "ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)").await?;
    run(&mut connection, "VACUUM (FREEZE, ANALYZE) lineitem").await?;
    connection.close().await
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(drop)
}
