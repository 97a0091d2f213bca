//! Answers of plans for all values and of plans for these, over rows that no store has, and what is planned for which execution.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::template::Template;
use super::{PlanMode, REFUSALS_MAX, Reuse};
use crate::catalog::object::Objects;
use crate::catalog::snapshot::Snapshot;
use crate::federation::branches::Branches;
use crate::federation::engine::{Engine, Limits};
use crate::federation::error::diagnose;
use crate::federation::plan::{Planned, Setting, bind, parse_query, plan};

fn engine() -> Engine {
    Engine::new(&Limits::default()).unwrap()
}

fn setting(plan_mode: PlanMode) -> Setting {
    let snapshot = Snapshot {
        version: 1,
        database: "tributary".to_owned(),
        schemas: BTreeMap::new(),
        objects: Objects::default(),
        connectors: Arc::default(),
        reach: Arc::default(),
        retired: tokio_util::sync::CancellationToken::new(),
    };
    Setting { plan_mode, ..Setting::of_server(Arc::new(snapshot)) }
}

fn planned(engine: &Engine, setting: &Setting, sql: &str) -> Planned {
    plan(engine, setting, parse_query(sql).unwrap(), &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

/// The rows as text, or the SQLSTATE.
async fn answer(engine: &Engine, setting: &Setting, planned: &Planned, values: &[Option<&str>]) -> Result<Vec<String>, String> {
    let given = values.iter().zip(&planned.parameters).map(|(value, pg_type)| match value {
        Some(text) => ScalarValue::try_from_string((*text).to_owned(), &pg_type.carrier()).unwrap(),
        None => ScalarValue::try_from(&pg_type.carrier()).unwrap(),
    });
    let given: Vec<ScalarValue> = given.collect();
    let branches = Arc::new(Branches::none());
    let bound = bind(engine, setting, planned, &given, &branches).await.map_err(|error| error.sqlstate)?;
    let stream = bound.run().map_err(|error| error.sqlstate)?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| diagnose(&error).sqlstate)?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let fields = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
            rows.push(fields.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    Ok(rows)
}

/// Analyses, optimisations, physical plans, bindings.
fn steps(engine: &Engine) -> [u64; 4] {
    let steps = engine.steps();
    [&steps.analysis, &steps.optimisation, &steps.physical, &steps.bind].map(|step| step.get())
}

type Asked = (&'static str, &'static [&'static [Option<&'static str>]]);

const NUMBERS: &str = "(VALUES (1, 'a'), (2, 'ab'), (3, NULL), (NULL, 'b')) v(x, t)";

/// Statements over `{v}` that have a plan for all values, and values for them.
const STATEMENTS: &[Asked] = &[
    ("SELECT x + $1 AS a FROM {v} WHERE x >= $2", &[&[Some("10"), Some("2")], &[None, Some("2")], &[Some("10"), None]]),
    ("SELECT x FROM {v} WHERE x = $1 OR x = $1 + 1", &[&[Some("1")], &[None], &[Some("2147483647")]]),
    ("SELECT x FROM {v} WHERE x BETWEEN $1 AND $2", &[&[Some("1"), Some("2")], &[Some("2"), Some("1")], &[Some("1"), None]]),
    ("SELECT x FROM {v} WHERE x IN ($1, $2, 3)", &[&[Some("1"), Some("1")], &[Some("9"), None]]),
    ("SELECT x FROM {v} WHERE x NOT IN ($1, $2)", &[&[Some("1"), Some("1")], &[Some("9"), None]]),
    ("SELECT x FROM {v} WHERE t LIKE $1", &[&[Some("a%")], &[Some("%")], &[Some("a")], &[Some("")], &[None], &[Some("a\\")]]),
    ("SELECT x FROM {v} WHERE $1::boolean", &[&[Some("true")], &[Some("false")], &[None]]),
    ("SELECT x FROM {v} WHERE $1::boolean OR x = 1", &[&[Some("true")], &[Some("false")], &[None]]),
    ("SELECT x FROM {v} WHERE ($1::int IS NULL) OR x = $1", &[&[Some("1")], &[None]]),
    ("SELECT x FROM {v} WHERE x IS DISTINCT FROM $1", &[&[Some("1")], &[None]]),
    ("SELECT x FROM {v} WHERE x = 1 AND x = $1", &[&[Some("1")], &[Some("2")], &[None]]),
    ("SELECT x FROM {v} WHERE x > $1 AND x > $2", &[&[Some("1"), Some("2")], &[Some("2"), None]]),
    (
        "SELECT count(*) AS n, sum(x + $1) AS s FROM {v} WHERE t <> $2",
        &[&[Some("1"), Some("a")], &[Some("1"), None], &[None, Some("")]],
    ),
    ("SELECT n FROM (SELECT count(*) AS n FROM {v}) s WHERE n >= 0 AND $1::boolean", &[&[Some("true")], &[Some("false")], &[None]]),
    ("SELECT x % $1 AS k, count(*) AS n FROM {v} GROUP BY x % $1", &[&[Some("2")], &[Some("1")], &[None], &[Some("0")]]),
    ("SELECT DISTINCT x / $1 AS k FROM {v}", &[&[Some("2")], &[None], &[Some("0")]]),
    ("SELECT t || $1 AS a, upper($1) AS b, $2::text AS c FROM {v}", &[&[Some("ß"), Some("")], &[None, None]]),
    (
        "SELECT CASE WHEN x = $1 THEN 1 / $2 ELSE 0 END AS a FROM {v}",
        &[&[Some("9"), Some("1")], &[Some("1"), Some("1")], &[Some("1"), Some("0")]],
    ),
    ("SELECT x FROM {v} WHERE x > 10 / $1", &[&[Some("5")], &[Some("0")], &[None]]),
    ("SELECT $1::int + 1 AS a", &[&[Some("1")], &[None], &[Some("2147483647")]]),
    ("SELECT 1 AS a WHERE $1::int = $2::int", &[&[Some("1"), Some("1")], &[Some("1"), Some("2")], &[None, None]]),
    ("SELECT x FROM {v} ORDER BY x LIMIT $1", &[&[Some("2")], &[Some("0")], &[None], &[Some("-1")]]),
    ("SELECT x FROM {v} ORDER BY x DESC OFFSET $1", &[&[Some("2")], &[Some("0")], &[None], &[Some("-1")], &[Some("9")]]),
    ("SELECT x FROM {v} ORDER BY x LIMIT $1 OFFSET $2", &[&[Some("2"), Some("1")], &[None, None], &[Some("1"), Some("-1")]]),
    (
        "SELECT count(*) AS n FROM (SELECT x FROM {v} UNION ALL SELECT g FROM generate_series(1, 3) g LIMIT $1 OFFSET $2) s",
        &[
            &[Some("9223372036854775807"), Some("5")],
            &[Some("2"), Some("9223372036854775807")],
            &[Some("3"), Some("1")],
            &[None, None],
        ],
    ),
    ("SELECT x FROM (SELECT x FROM {v} ORDER BY x LIMIT $1) s WHERE x >= $2", &[&[Some("2"), Some("2")], &[Some("0"), Some("1")]]),
    (
        "SELECT a.x, b.t FROM {v} LEFT JOIN (SELECT x AS y, t AS u FROM {v}) b(y, t) ON y = a.x AND b.t = $1",
        &[&[Some("a")], &[Some("zz")], &[None]],
    ),
    (
        "SELECT x FROM {v} WHERE EXISTS (SELECT 1 FROM generate_series(1, $1::int) g WHERE g = x)",
        &[&[Some("2")], &[Some("0")], &[None]],
    ),
    ("SELECT x FROM {v} WHERE x IN (SELECT g + $1 FROM generate_series(1, 2) g)", &[&[Some("1")], &[None]]),
    ("SELECT (SELECT max(x) FROM {v} WHERE x < $1) AS m", &[&[Some("3")], &[Some("1")], &[None]]),
    ("SELECT g FROM generate_series($1::int, $2::int) g", &[&[Some("1"), Some("3")], &[Some("3"), Some("1")], &[None, Some("1")]]),
    ("SELECT x FROM {v} WHERE x = $1 UNION ALL SELECT $2::int", &[&[Some("1"), Some("7")], &[None, None]]),
    ("SELECT x, sum(x) OVER (ORDER BY x + $1) AS s FROM {v}", &[&[Some("1")], &[None]]),
    (
        "WITH RECURSIVE r(n) AS (SELECT $1::int UNION ALL SELECT n + 1 FROM r WHERE n < $2) SELECT n FROM r",
        &[&[Some("1"), Some("3")], &[Some("5"), Some("3")], &[None, Some("3")]],
    ),
];

/// The statement over its rows; the first of several is called `a` where a statement says so.
fn filled(sql: &str) -> String {
    let named = NUMBERS.replace(" v(x, t)", " a(x, t)");
    let first = if sql.contains("a.x") { named.as_str() } else { NUMBERS };
    sql.replacen("{v}", first, 1).replace("{v}", NUMBERS)
}

#[tokio::test]
async fn a_plan_for_all_values_answers_as_one_for_each() {
    let (custom, generic) = (setting(PlanMode::Custom), setting(PlanMode::Generic));
    for (sql, rounds) in STATEMENTS {
        let (engine, sql) = (engine(), filled(sql));
        let planned = planned(&engine, &custom, &sql);
        for values in *rounds {
            let wanted = answer(&engine, &custom, &planned, values).await;
            assert_eq!(answer(&engine, &generic, &planned, values).await, wanted, "{sql} {values:?}");
        }
        // The first values are no mistake: nothing but binding and the physical plan is left to do for them.
        let before = steps(&engine);
        answer(&engine, &generic, &planned, rounds[0]).await.unwrap();
        let [analysis, optimisation, physical, bind] = before;
        assert_eq!(steps(&engine), [analysis, optimisation, physical + 1, bind + 1], "{sql}");
    }
}

/// A statement, the values of its parameters, and the answer.
type Valued = (&'static str, &'static [Option<&'static str>], &'static [&'static str]);

#[tokio::test]
async fn rows_of_values_may_tell_of_their_types_in_different_ways() {
    let rows: [Valued; 6] = [
        ("SELECT x FROM (VALUES ($1, 'a'), (2, 'b')) v(x, t)", &[Some("1")], &["1", "2"]),
        ("SELECT x FROM (VALUES (2), ($1)) v(x)", &[None], &["2", "NULL"]),
        ("SELECT x FROM (VALUES (1), (length('ab'))) v(x) WHERE x = $1", &[Some("2")], &["2"]),
        ("SELECT t FROM (VALUES ('a'), (lower('AB'))) v(t) WHERE t <> $1", &[Some("a")], &["ab"]),
        (
            "SELECT x FROM (VALUES (date '2020-01-01'), ('2020-01-02')) v(x) WHERE $1::boolean",
            &[Some("true")],
            &["2020-01-01", "2020-01-02"],
        ),
        ("SELECT x + 1 AS y FROM (VALUES (1), ($1), (3)) v(x) WHERE x IN (VALUES ($1), (3))", &[Some("2")], &["3", "4"]),
    ];
    for mode in [PlanMode::Custom, PlanMode::Generic] {
        let setting = setting(mode);
        for (sql, values, wanted) in rows {
            let engine = engine();
            let planned = planned(&engine, &setting, sql);
            assert_eq!(answer(&engine, &setting, &planned, values).await.unwrap(), wanted, "{sql}");
        }
    }
}

#[tokio::test]
async fn what_has_no_plan_for_all_values_is_planned_for_each() {
    let (engine, generic) = (engine(), setting(PlanMode::Generic));
    let planned = planned(&engine, &generic, "SELECT current_user::text = $1 AS a");
    for _ in 0..2 {
        answer(&engine, &generic, &planned, &[Some("ada")]).await.unwrap();
    }
    let [_, optimisation, physical, bind] = steps(&engine);
    assert_eq!((optimisation, physical, bind), (2, 2, 0));
}

/// Statements over `{v}` in which analysis reads a number of rows, and numbers for them.
const COUNTED: &[Asked] = &[
    ("SELECT x FROM {v} WHERE EXISTS (SELECT 1 FROM generate_series(1, 3) g WHERE g >= x LIMIT $1)", &[&[Some("1")], &[Some("0")]]),
    (
        "SELECT a.x, s.g FROM {v} CROSS JOIN LATERAL (SELECT g FROM generate_series(1, 3) g WHERE g >= a.x ORDER BY g LIMIT $1 OFFSET $2) s",
        &[&[Some("1"), Some("1")], &[Some("1"), None], &[None, Some("1")]],
    ),
    ("SELECT x, lag(x, $1) OVER (ORDER BY x) AS l FROM {v}", &[&[Some("1")], &[Some("0")], &[Some("-1")]]),
    ("SELECT x, lead(x, $1::int, 9) OVER (ORDER BY x) AS l FROM {v}", &[&[Some("1")], &[Some("2")]]),
    ("SELECT x, nth_value(x, $1) OVER (ORDER BY x) AS l FROM {v}", &[&[Some("2")], &[Some("0")], &[Some("-1")]]),
    ("SELECT x, ntile($1) OVER (ORDER BY x) AS l FROM {v}", &[&[Some("2")], &[Some("0")]]),
];

#[tokio::test]
async fn numbers_of_rows_that_analysis_reads_are_planned_for_each() {
    let (custom, generic, auto) = (setting(PlanMode::Custom), setting(PlanMode::Generic), setting(PlanMode::Auto));
    for (sql, rounds) in COUNTED {
        let (engine, sql) = (engine(), filled(sql));
        let planned = planned(&engine, &custom, &sql);
        for _ in 0..6 {
            answer(&engine, &auto, &planned, rounds[0]).await.unwrap_or_else(|code| panic!("{sql}: {code}"));
        }
        let nulls = vec![None; planned.parameters.len()];
        for values in rounds.iter().copied().chain([nulls.as_slice()]) {
            let wanted = answer(&engine, &custom, &planned, values).await;
            for mode in [&generic, &auto] {
                assert_eq!(answer(&engine, mode, &planned, values).await, wanted, "{sql} {values:?}");
            }
        }
        assert_eq!(steps(&engine)[3], 0, "{sql}");
    }
}

#[tokio::test]
async fn null_is_no_limit_and_no_number_of_rows_after_many_plans() {
    let (engine, auto) = (engine(), setting(PlanMode::Auto));
    let limited = "SELECT count(*) AS n FROM (VALUES (1), (2)) v(x) WHERE EXISTS (SELECT 1 FROM generate_series(1, 3) g WHERE g >= x LIMIT $1)";
    let shifted = "SELECT lag(x, $1) OVER (ORDER BY x) AS n FROM (VALUES (1), (2)) v(x)";
    for (sql, value, first, null) in [(limited, "1", vec!["2"], vec!["2"]), (shifted, "0", vec!["1", "2"], vec!["NULL", "NULL"])] {
        let planned = planned(&engine, &auto, sql);
        for _ in 0..8 {
            assert_eq!(answer(&engine, &auto, &planned, &[Some(value)]).await.unwrap(), first, "{sql}");
        }
        assert_eq!(answer(&engine, &auto, &planned, &[None]).await.unwrap(), null, "{sql}");
    }
    let counted = planned(&engine, &auto, "SELECT nth_value(x, $1) OVER (ORDER BY x) AS n FROM (VALUES (1), (2)) v(x)");
    for _ in 0..8 {
        answer(&engine, &auto, &counted, &[Some("1")]).await.unwrap();
    }
    assert_eq!(answer(&engine, &auto, &counted, &[Some("0")]).await, Err("22016".to_owned()));
}

#[test]
fn a_template_that_takes_no_values_is_given_up() {
    let reuse = Reuse::default();
    let template = || Some(Template { optimized: LogicalPlan::default(), checked: Vec::new(), limits: false });
    assert!(reuse.template(PlanMode::Generic, template).is_some());
    for _ in 0..2 {
        for _ in 1..REFUSALS_MAX {
            reuse.refused();
            assert!(reuse.template(PlanMode::Generic, || None).is_some());
        }
        reuse.took();
    }
    for _ in 0..REFUSALS_MAX {
        reuse.refused();
    }
    assert!(reuse.template(PlanMode::Generic, template).is_none());
    assert!(reuse.template(PlanMode::Auto, template).is_none() && !reuse.is_open());
}

#[tokio::test]
async fn the_sixth_execution_is_optimised_no_more() {
    let (engine, auto) = (engine(), setting(PlanMode::Auto));
    let planned = planned(&engine, &auto, "SELECT x FROM (VALUES (1), (2), (3)) v(x) WHERE x > $1");
    for execution in 1..=5 {
        let [_, optimisation, _, bind] = steps(&engine);
        assert_eq!(answer(&engine, &auto, &planned, &[Some("1")]).await.unwrap().len(), 2);
        // The fifth also makes the plan for all values, and compares it with its own.
        let tried = u64::from(execution == 5);
        let now = steps(&engine);
        assert_eq!((now[1], now[3]), (optimisation + 1 + tried, bind + tried), "execution {execution}");
    }
    for rows in 0..=3_u64 {
        let [analysis, optimisation, physical, bind] = steps(&engine);
        let least = 3 - rows;
        let least = least.to_string();
        assert_eq!(answer(&engine, &auto, &planned, &[Some(least.as_str())]).await.unwrap().len() as u64, rows);
        assert_eq!(steps(&engine), [analysis, optimisation, physical + 1, bind + 1]);
    }
    let custom = setting(PlanMode::Custom);
    let [_, optimisation, _, bind] = steps(&engine);
    answer(&engine, &custom, &planned, &[Some("1")]).await.unwrap();
    let now = steps(&engine);
    assert_eq!((now[1], now[3]), (optimisation + 1, bind));
}

#[tokio::test]
async fn plans_that_look_different_for_different_values_stay() {
    let (engine, auto) = (engine(), setting(PlanMode::Auto));
    let planned = planned(&engine, &auto, "SELECT x FROM (VALUES (1), (2)) v(x) WHERE $1::boolean OR x = 1");
    for execution in 0..12 {
        let all = execution % 2 == 0;
        let rows = answer(&engine, &auto, &planned, &[Some(if all { "true" } else { "false" })]).await.unwrap();
        assert_eq!(rows.len(), if all { 2 } else { 1 });
    }
    let [_, optimisation, physical, bind] = steps(&engine);
    assert_eq!((optimisation, physical, bind), (12, 12, 0));
}

#[tokio::test]
async fn a_plan_for_all_values_knows_no_time() {
    let (engine, first) = (engine(), setting(PlanMode::Generic));
    let later = Setting { now: first.now + TimeDelta::days(800), ..first.clone() };
    let custom = Setting { plan_mode: PlanMode::Custom, ..later.clone() };
    let year = chrono::Datelike::year(&first.now).to_string();
    let rows: [(&str, &[Option<&str>]); 3] = [
        ("SELECT now() AS at", &[]),
        ("SELECT current_date + $1::int AS day", &[Some("1")]),
        ("SELECT x FROM (VALUES (1), (2)) v(x) WHERE extract(year FROM now()) > $1::int + x", &[Some(year.as_str())]),
    ];
    for (sql, values) in rows {
        let planned = planned(&engine, &first, sql);
        let one = answer(&engine, &first, &planned, values).await.unwrap();
        let other = answer(&engine, &later, &planned, values).await.unwrap();
        assert_ne!(one, other, "{sql}");
        assert_eq!(answer(&engine, &custom, &planned, values).await.unwrap(), other, "{sql}");
    }
    assert_eq!(steps(&engine)[3], 6, "all of them were bound");
}

#[test]
fn words_of_the_setting_name_their_mode() {
    let modes: Vec<PlanMode> = PlanMode::WORDS.iter().map(|word| PlanMode::of_word(word)).collect();
    assert_eq!(modes, [PlanMode::Auto, PlanMode::Generic, PlanMode::Custom]);
}
