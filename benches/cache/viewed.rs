//! What one change costs a materialized view of few rows, and one of many.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{AssertSqlSafe, raw_sql};

use super::measure::{Verdicts, knob, median, must};
use super::numbers::quantiles;
use super::results::Results;
use super::stores::{FEW, Stores, check_time};

/// At most so much more may a change of the larger view cost.
const RATIO_BUDGET: f64 = 2.0;
/// Changes before anything counts.
const WARMING: u64 = 20;
/// Less than what a machine does beside takes in the time of all changes.
const LEAST: Duration = Duration::from_micros(1);

/// What a change of one of the views took.
#[derive(Debug, Default)]
struct Figures {
    /// From the answer to the commit until a client was told that the rows are others, in milliseconds.
    told: Vec<f64>,
    /// Of Tributary for each change, in milliseconds.
    processor: Vec<f64>,
}

/// Measures both and judges them.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let changes = knob("TRIBUTARY_BENCH_CHANGES", 300).max(1);
    let tables = [("few", stores.rows_of_views / FEW), ("many", stores.rows_of_views)];
    let mut client = stores.connect("session").await;
    for (table, _) in tables {
        make(&mut client, table).await;
    }
    let mut connection = stores.in_postgres().await;
    let mut figures = [Figures::default(), Figures::default()];
    for round in 0..rounds {
        // Who goes first changes.
        let order = if round.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for party in order {
            let (table, rows) = tables[party];
            let mut listener = stores.listener(&format!("view:public.{table}_shown")).await;
            change(&mut connection, &mut listener, (table, rows), WARMING).await;
            let before = stores.processor_time();
            figures[party].told.extend(change(&mut connection, &mut listener, (table, rows), changes).await);
            let spent = (stores.processor_time() - before).max(LEAST);
            figures[party].processor.push(spent.as_secs_f64() * 1e3 / changes as f64);
        }
    }
    let [few, many] = &figures;
    let processor = (median(&few.processor), median(&many.processor));
    let told = (quantiles(&few.told), quantiles(&many.told));
    let [smaller, larger] = tables.map(|(_, rows)| rows);
    let ratio = processor.1 / processor.0;
    verdicts.judge(
        ratio <= RATIO_BUDGET,
        &format!(
            "one change of a view over two stores: {:.3} ms of processor time with {larger} rows, {:.3} ms with {smaller}: {ratio:.2} \
             times as much, at most {RATIO_BUDGET}",
            processor.1, processor.0
        ),
    );
    let slower = told.1.0 / told.0.0;
    verdicts.judge(
        slower <= RATIO_BUDGET,
        &format!(
            "      a client is told after {:.2} ms (99 of 100: {:.2}) and {:.2} ms ({:.2}): {slower:.2} times as late, at most \
             {RATIO_BUDGET}",
            told.1.0, told.1.1, told.0.0, told.0.1
        ),
    );
    results.put(
        "view_change",
        json!({
            "rows": [smaller, larger],
            "processor_ms": [processor.0, processor.1],
            "told_p50_ms": [told.0.0, told.1.0],
            "told_p99_ms": [told.0.1, told.1.1],
            "ratio": ratio,
        }),
    );
}

/// Makes the view over a table of PostgreSQL and one of MariaDB, and waits until it is kept.
async fn make(client: &mut PgConnection, table: &str) {
    let sql = format!(
        "CREATE MATERIALIZED VIEW {table}_shown AS SELECT o.id, o.total, c.region FROM postgres.{table} AS o \
         JOIN mariadb.customers AS c ON c.id = o.customer"
    );
    must(raw_sql(AssertSqlSafe(sql)).execute(&mut *client).await);
    let sql = format!(
        "SELECT state || ' ' || coalesce(reason, '') FROM tributary.freshness WHERE store IS NULL AND table_name = '{table}_shown'"
    );
    let started = Instant::now();
    loop {
        let state: String = must(sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&mut *client).await);
        if state.starts_with("kept ") {
            let is_followed = state.contains("incrementally");
            return must(if is_followed { Ok(()) } else { Err(format!("the view over {table} is not maintained: {state}")) });
        }
        check_time(started, &format!("the view over {table} is {state}"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Changes rows one by one, each when a client was told of the one before, and gives the milliseconds that took.
async fn change(connection: &mut PgConnection, listener: &mut PgListener, (table, rows): (&str, u64), changes: u64) -> Vec<f64> {
    let sql = format!("UPDATE {table} SET total = total + 1 WHERE id = $1");
    let mut times = Vec::new();
    for change in 0..changes {
        // Neighbours in time lie elsewhere.
        let id = i64::try_from(1 + change * 7_919 % rows).unwrap_or(1);
        let changed = must(sqlx::query(AssertSqlSafe(sql.clone())).bind(id).execute(&mut *connection).await).rows_affected();
        let committed = Instant::now();
        must(if changed == 1 { Ok(()) } else { Err(format!("{table} has no row {id}")) });
        must(listener.recv().await);
        times.push(committed.elapsed().as_secs_f64() * 1e3);
    }
    times
}
