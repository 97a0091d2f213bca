//! A join of three stores: computed from copies, given as a result that is kept, read from a materialized view, and asked of the stores.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::measure::{Verdicts, knob, median, must, say};
use super::results::Results;
use super::stores::{Stores, check_time};

/// Least speed of the result that is kept for each unit of the stores'.
const RATIO_BUDGET: f64 = 20.0;
/// All rows of all three.
const WHOLE: &str = "SELECT c.region, count(*) AS orders, sum(o.total)::bigint AS total, max(p.score) AS score \
    FROM postgres.orders AS o JOIN mariadb.customers AS c ON c.id = o.customer JOIN mongodb.profiles AS p ON p._id = c.id \
    GROUP BY c.region ORDER BY c.region";
/// The end of it that a view has nothing of.
const ORDER: &str = " ORDER BY c.region";
/// The same of the view.
const VIEWED: &str = "SELECT region, orders, total, score FROM joined ORDER BY region";
/// One row of each.
const ONE: &str = "SELECT c.region, 1::bigint AS orders, o.total, p.score \
    FROM postgres.orders AS o JOIN mariadb.customers AS c ON c.id = o.customer JOIN mongodb.profiles AS p ON p._id = c.id \
    WHERE o.id = 7";
const TABLES: [&str; 3] = ["postgres.orders", "mariadb.customers", "mongodb.profiles"];
/// How often runs in a round what takes little, and what takes long.
const OFTEN: u64 = 200;
const SELDOM: u64 = 3;
/// How many queries were given a result that was kept.
const HITS: &str = "tributary_results_hits_total";
/// How often is looked whether something is kept.
const LOOK: Duration = Duration::from_millis(50);

type Row = (i64, i64, i64, i64);

/// Measures both joins and judges them.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let whole = Box::pin(whole(stores, verdicts)).await;
    let one_row = Box::pin(one_row(stores, verdicts)).await;
    results.put("join_of_three_stores", json!({ "whole": whole, "one_row": one_row }));
}

async fn whole(stores: &Stores, verdicts: &mut Verdicts) -> Value {
    let mut pair = Pair::open(stores, WHOLE).await;
    let (copies, mut direct) = of_copies(&mut pair, "whole", SELDOM, verdicts).await;
    let (kept, beside) = of_result(&mut pair, verdicts).await;
    direct.extend(beside);
    let (view, beside) = of_view(&mut pair, verdicts).await;
    direct.extend(beside);
    let [copies, kept, view, direct] = [copies, kept, view, direct].map(|figures| median(&figures));
    let claim = |what: &str, time: f64| {
        let ratio = direct / time;
        format!("join of three stores, whole: {time:.2} ms {what}, {direct:.2} ms of the stores, {ratio:.1} times as fast")
    };
    let is_kept = direct / kept >= RATIO_BUDGET;
    verdicts.judge(is_kept, &format!("{}, at least {RATIO_BUDGET}", claim("of the result that is kept", kept)));
    say(format_args!("      {}", claim("of copies", copies)));
    say(format_args!("      {}", claim("of a materialized view", view)));
    json!({
        "copies_ms": copies,
        "kept_ms": kept,
        "view_ms": view,
        "stores_ms": direct,
        "ratio_copies": direct / copies,
        "ratio_kept": direct / kept,
        "ratio_view": direct / view,
    })
}

async fn one_row(stores: &Stores, verdicts: &mut Verdicts) -> Value {
    let mut pair = Pair::open(stores, ONE).await;
    let (copies, direct) = of_copies(&mut pair, "one row", OFTEN, verdicts).await;
    let (copies, direct) = (median(&copies), median(&direct));
    let ratio = direct / copies;
    say(format_args!(
        "      join of three stores, one row: {copies:.2} ms of copies, {direct:.2} ms of the stores, {ratio:.1} times as fast"
    ));
    json!({ "copies_ms": copies, "stores_ms": direct, "ratio": ratio })
}

/// Computes it from copies and asks the stores by turns, and gives the milliseconds of either.
async fn of_copies(pair: &mut Pair<'_>, name: &str, repeats: u64, verdicts: &mut Verdicts) -> (Vec<f64>, Vec<f64>) {
    let (before, sql) = (pair.stores.answered(&TABLES).await, pair.sql);
    let figures = pair.by_turns(sql, (repeats, repeats)).await;
    let after = pair.stores.answered(&TABLES).await;
    verdicts.judge(
        after.0 > before.0 && after.1 == before.1,
        &format!("join of three stores, {name}: copies answered all that they were asked"),
    );
    figures
}

/// The same with its result, which is kept meanwhile.
async fn of_result(pair: &mut Pair<'_>, verdicts: &mut Verdicts) -> (Vec<f64>, Vec<f64>) {
    pair.define(&format!("CREATE CACHE joined FOR {WHOLE}")).await;
    let (began, started) = (pair.stores.number(HITS).await, Instant::now());
    let before = loop {
        pair.ask(WHOLE).await;
        let hits = pair.stores.number(HITS).await;
        if hits > began {
            break hits;
        }
        check_time(started, "the result of the join is not kept");
        tokio::time::sleep(LOOK).await;
    };
    let figures = pair.by_turns(WHOLE, (OFTEN, SELDOM)).await;
    let (given, asked) = (pair.stores.number(HITS).await.saturating_sub(before), pair.rounds * OFTEN);
    verdicts.judge(
        given == asked,
        &format!("join of three stores, whole: of {asked} queries {given} were given the result that is kept"),
    );
    pair.define("DROP CACHE joined").await;
    figures
}

/// The same from a view, which is there meanwhile.
async fn of_view(pair: &mut Pair<'_>, verdicts: &mut Verdicts) -> (Vec<f64>, Vec<f64>) {
    let query = must(WHOLE.strip_suffix(ORDER).ok_or("the join has another order"));
    pair.define(&format!("CREATE MATERIALIZED VIEW joined AS {query}")).await;
    let started = Instant::now();
    loop {
        let (state, ..) = pair.view().await;
        if state.starts_with("kept ") {
            break;
        }
        check_time(started, &format!("the view of the join is {state}"));
        tokio::time::sleep(LOOK).await;
    }
    pair.ask(VIEWED).await;
    let (_, served_before, fell_before) = pair.view().await;
    let figures = pair.by_turns(VIEWED, (OFTEN, SELDOM)).await;
    let (state, served, fell) = pair.view().await;
    let (given, asked) = (served - served_before, pair.rounds * OFTEN);
    verdicts.judge(
        u64::try_from(given).is_ok_and(|given| given >= asked) && fell == fell_before,
        &format!("join of three stores, whole: of {asked} reads of a view {given} were of its rows ({state})"),
    );
    pair.define("DROP MATERIALIZED VIEW joined").await;
    figures
}

/// A client that is given what is kept, and one that is given what the stores answer.
struct Pair<'s> {
    stores: &'s Stores,
    of_kept: PgConnection,
    of_stores: PgConnection,
    rounds: u64,
    /// What the stores are asked, and what they answer.
    sql: &'static str,
    expected: Vec<Row>,
}

impl<'s> Pair<'s> {
    /// Plans are made and connections open before anything counts.
    async fn open(stores: &'s Stores, sql: &'static str) -> Self {
        let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
        let (of_kept, mut of_stores) = (stores.connect("session").await, stores.connect("store").await);
        let expected = run(&mut of_stores, sql).await;
        must(if expected.is_empty() { Err("a join found nothing") } else { Ok(()) });
        let mut pair = Self { stores, of_kept, of_stores, rounds, sql, expected };
        pair.ask(sql).await;
        pair
    }

    /// Asks for what is kept once, which does not count.
    async fn ask(&mut self, sql: &'static str) {
        let answer = run(&mut self.of_kept, sql).await;
        compare(&answer, &self.expected);
    }

    /// The milliseconds of each round: of what is kept, which is asked for in these words, and of the stores.
    async fn by_turns(&mut self, sql: &'static str, repeats: (u64, u64)) -> (Vec<f64>, Vec<f64>) {
        let (mut kept, mut direct) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            kept.push(time(&mut self.of_kept, (sql, repeats.0), &self.expected).await);
            direct.push(time(&mut self.of_stores, (self.sql, repeats.1), &self.expected).await);
        }
        (kept, direct)
    }

    async fn define(&mut self, sql: &str) {
        must(raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.of_kept).await);
    }

    /// How the view stands, how many reads its rows have answered, and how many its query.
    async fn view(&mut self) -> (String, i64, i64) {
        let sql = "SELECT state || ' ' || coalesce(reason, ''), served, fell_through FROM tributary.freshness \
                   WHERE store IS NULL AND table_name = 'joined'";
        must(sqlx::query_as(sql).fetch_one(&mut self.of_kept).await)
    }
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Vec<Row> {
    must(sqlx::query_as(sql).fetch_all(connection).await)
}

/// Whoever answers, the answer is the same.
fn compare(answer: &[Row], expected: &[Row]) {
    must(if answer == expected { Ok(()) } else { Err("a join is answered differently") });
}

/// Milliseconds of one, in the middle of some.
async fn time(connection: &mut PgConnection, (sql, repeats): (&'static str, u64), expected: &[Row]) -> f64 {
    let mut times = Vec::new();
    for _ in 0..repeats {
        let started = Instant::now();
        let answer = run(&mut *connection, sql).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        compare(&answer, expected);
    }
    median(&times)
}
