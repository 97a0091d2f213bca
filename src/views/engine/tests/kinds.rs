//! Which queries follow changes, which are run again and why, and what is known of the rows of either.

use super::{Kind, Stage, plain, two_tables};

async fn reason(stage: &Stage, sql: &str) -> String {
    match stage.kind(sql).await {
        Kind::Whole { reason } => reason,
        Kind::Incremental(program) => panic!("{sql} is {program:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_told_from_changed_rows_says_why() {
    let stage = Stage::new(plain(), two_tables());
    let rows = [
        ("SELECT id, row_number() OVER (ORDER BY id) AS r FROM a", "window"),
        ("SELECT id FROM a ORDER BY n LIMIT 3", "LIMIT"),
        ("SELECT id FROM a LIMIT 3", "LIMIT"),
        ("SELECT DISTINCT ON (g) g, n FROM a ORDER BY g, n", "order"),
        ("SELECT sum(CAST(n AS double)) AS s FROM a", "sums of floats depend on their order"),
        ("SELECT avg(n) AS m FROM a", "sums of floats depend on their order"),
        ("SELECT min(CAST(n AS double)) AS l FROM a", "depends on their order"),
        ("SELECT CAST(n AS double) AS f, count(*) AS c FROM a GROUP BY CAST(n AS double)", "floats that are equal"),
        ("SELECT count(DISTINCT CAST(n AS double)) AS c, count(DISTINCT g) AS k FROM a", "floats"),
        ("SELECT array_agg(n) AS l FROM a", "array_agg() needs all rows"),
        ("SELECT stddev(n) AS d FROM a", "stddev() needs all rows"),
        ("SELECT a.id, b.id AS other FROM a FULL JOIN b ON a.id = b.a_id", "a join of type Full"),
        ("SELECT a.id, b.id AS other FROM a JOIN b ON a.n < b.v", "without an equality"),
        ("SELECT a.id, b.id AS other FROM a CROSS JOIN b", "without an equality"),
        ("SELECT id FROM a WHERE n NOT IN (SELECT v FROM b)", "NOT IN"),
        ("SELECT id, random() AS r FROM a", "random() gives other values"),
        ("SELECT g, count(*) AS c FROM a GROUP BY ROLLUP (g)", "grouping sets"),
    ];
    for (sql, expected) in rows {
        let found = reason(&stage, sql).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[tokio::test]
async fn tables_that_nobody_follows_are_named() {
    let stage = Stage::new(plain(), two_tables());
    let plan = stage.state.create_logical_plan("SELECT a.id FROM a JOIN b ON a.id = b.id").await.unwrap();
    let known = |scan: &datafusion::logical_expr::TableScan| super::id_of(scan).filter(|id| id.table.name == "a");
    match super::program(&stage.state.optimize(&plan).unwrap(), &stage.state, &known) {
        Kind::Whole { reason } => assert_eq!(reason, "b is no table whose changes are followed"),
        Kind::Incremental(program) => panic!("{program:?}"),
    }
}

#[tokio::test]
async fn a_table_that_is_read_twice_is_one_input_with_the_columns_of_both() {
    let stage = Stage::new(plain(), two_tables());
    let program = stage.program("SELECT x.id, y.d FROM a x JOIN a y ON x.n = y.id WHERE x.ok").await;
    let [input] = program.inputs() else { panic!("{:?}", program.inputs()) };
    let mut columns = input.columns.clone();
    columns.sort_unstable();
    assert_eq!(columns, [0, 2, 3, 4]);
    let names: Vec<&str> = program.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "d"]);
}

#[tokio::test]
async fn keys_of_results_come_from_tables_and_groups() {
    let stage = Stage::new(plain(), two_tables());
    let rows: [(&str, Option<&[usize]>); 12] = [
        ("SELECT n, id FROM a WHERE n > 1", Some(&[1])),
        ("SELECT n FROM a", None),
        ("SELECT g, count(*) AS c FROM a GROUP BY g", Some(&[0])),
        ("SELECT count(*) AS c, g FROM a GROUP BY g", Some(&[1])),
        ("SELECT count(*) AS c FROM a GROUP BY g", None),
        ("SELECT count(*) AS c FROM a", None),
        ("SELECT DISTINCT g, ok FROM a", Some(&[0, 1])),
        // A row of b meets at most one of a.
        ("SELECT b.id, a.g FROM b JOIN a ON b.a_id = a.id", Some(&[0])),
        ("SELECT b.id, a.g FROM b LEFT JOIN a ON b.a_id = a.id", Some(&[0])),
        ("SELECT b.id, a.id AS other FROM b JOIN a ON b.s = a.g", Some(&[0, 1])),
        ("SELECT b.id, a.g FROM b JOIN a ON b.s = a.g", None),
        ("SELECT id FROM a UNION ALL SELECT id FROM b", None),
    ];
    for (sql, expected) in rows {
        let mut key = stage.program(sql).await.key();
        if let Some(key) = &mut key {
            key.sort_unstable();
        }
        assert_eq!(key.as_deref(), expected, "{sql}");
    }
}
