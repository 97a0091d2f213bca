//! Rows for which an expression fails, and those for which it only would.

use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::{Machine, Stage, changes, decimal, int, plain, small, text, truth, two_tables};
use crate::error::{Diagnose, sqlstate};

fn a(key: i64, n: i32) -> super::Row {
    vec![int(key), text("x"), small(n), decimal(0_i128), truth(true)]
}

fn b(key: i64, a_id: i64, v: i32) -> super::Row {
    vec![int(key), int(a_id), small(v), text("x")]
}

/// Takes a step with one view, which fails as its query does.
async fn fails(stage: &mut Stage, expected: &str) {
    stage.register();
    let answer = stage.answer(&stage.views[0].sql).await.unwrap_err();
    assert_eq!(answer.sqlstate(), expected);
    let changes = changes(&stage.tables, stage.views[0].machine.inputs());
    let machine = &mut stage.views[0].machine;
    assert_eq!(machine.step(&changes).unwrap_err().sqlstate(), expected);
    // It is of no further use, and keeps no rows.
    assert_eq!(machine.step(&[]).unwrap_err().sqlstate(), expected);
    assert!(machine.bytes() < 1_000);
}

#[tokio::test]
async fn a_row_that_an_expression_fails_for_breaks_the_result_as_it_breaks_the_query() {
    for sql in [
        "SELECT id, 10 / n AS q FROM a",
        "SELECT id FROM a WHERE 10 / n > 1",
        "SELECT g, sum(10 / n) AS s FROM a GROUP BY g",
        "SELECT g, 10 / min(n) AS q FROM a GROUP BY g",
        "SELECT a.id, b.v FROM a JOIN b ON a.id = b.a_id AND 10 / (a.n + b.v) > 0",
    ] {
        let mut stage = Stage::new(plain(), two_tables());
        stage.add(sql).await;
        stage.tables[0].put(1, Some(a(1, 2)));
        stage.tables[1].put(1, Some(b(1, 1, 0)));
        stage.step().await;
        stage.tables[0].put(2, Some(a(2, 0)));
        stage.tables[1].put(2, Some(b(2, 2, 0)));
        fails(&mut stage, sqlstate::DIVISION_BY_ZERO).await;
    }
}

#[tokio::test]
async fn few_rows_that_make_very_many_pairs_break_it_before_there_are_too_many() {
    let mut stage = Stage::new(plain(), two_tables());
    stage.add("SELECT a.id, b.id AS other FROM a JOIN b ON a.n = b.v").await;
    for key in 1..=300 {
        stage.tables[0].put(key, Some(a(key, 1)));
        stage.tables[1].put(key, Some(b(key, 1, 1)));
    }
    stage.register();
    let changes = changes(&stage.tables, stage.views[0].machine.inputs());
    let (machine, cancel) = (&mut stage.views[0].machine, CancellationToken::new());
    machine.limit(1 << 20, &cancel);
    assert_eq!(machine.step(&changes).unwrap_err().sqlstate(), sqlstate::OUT_OF_MEMORY);
    assert!(machine.bytes() < 1_000);
    let mut machine = Machine::new(Arc::clone(machine.program()));
    machine.limit(1 << 30, &cancel);
    let added: usize = machine.step(&changes).unwrap().added.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(added, 90_000);
    let mut machine = Machine::new(Arc::clone(machine.program()));
    machine.limit(1 << 30, &cancel);
    cancel.cancel();
    assert_eq!(machine.step(&changes).unwrap_err().sqlstate(), sqlstate::QUERY_CANCELED);
}

#[tokio::test]
async fn pairs_of_a_row_of_before_and_a_row_of_after_are_never_looked_at() {
    let mut stage = Stage::new(plain(), two_tables());
    stage.add("SELECT a.id, 10 / (a.n - b.v) AS q FROM a JOIN b ON a.id = b.a_id").await;
    stage.add("SELECT a.id, b.id AS other FROM a JOIN b ON a.id = b.a_id AND 10 / (a.n - b.v) < 100").await;
    stage.add("SELECT a.id, b.id AS other FROM a LEFT JOIN b ON a.id = b.a_id AND 10 / (a.n - b.v) < 100").await;
    stage.add("SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id AND 10 / (a.n - b.v) > 4)").await;
    stage.tables[0].put(1, Some(a(1, 1)));
    stage.tables[1].put(1, Some(b(1, 1, 2)));
    stage.step().await;
    // 1 - 2 becomes 2 - 3, and back, with 2 - 2 and 1 - 1 … between them.
    for (n, v) in [(2, 3), (1, 2), (2, 1), (3, 2)] {
        stage.tables[0].put(1, Some(a(1, n)));
        stage.tables[1].put(1, Some(b(1, 1, v)));
        stage.step().await;
    }
}

#[tokio::test]
async fn a_total_is_computed_of_the_rows_after_a_step_and_not_on_the_way() {
    let mut stage = Stage::new(plain(), two_tables());
    stage.add("SELECT g, 10 / sum(n) AS q FROM a GROUP BY g").await;
    stage.tables[0].put(1, Some(a(1, 3)));
    stage.tables[0].put(2, Some(a(2, -2)));
    stage.step().await;
    // Any part of this alone comes to nothing.
    stage.tables[0].put(1, Some(a(1, 2)));
    stage.tables[0].put(2, Some(a(2, -3)));
    stage.step().await;
    stage.tables[0].put(3, Some(a(3, -4)));
    stage.tables[0].put(4, Some(a(4, 5)));
    stage.tables[0].put(5, Some(a(5, 1)));
    stage.step().await;
}

#[tokio::test]
async fn rows_that_leave_and_were_not_there_are_noticed() {
    for sql in [
        "SELECT g, count(*) AS c FROM a GROUP BY g",
        "SELECT a.id, b.v FROM a JOIN b ON a.id = b.a_id",
        "SELECT min(n) AS l FROM a",
    ] {
        let mut stage = Stage::new(plain(), two_tables());
        stage.add(sql).await;
        stage.tables[0].put(1, Some(a(1, 1)));
        stage.step().await;
        stage.tables[0].removed.push(a(2, 2));
        let changes = changes(&stage.tables, stage.views[0].machine.inputs());
        let table = &stage.tables[0];
        let twice = [changes.clone(), changes].concat();
        assert_eq!(stage.views[0].machine.step(&twice).unwrap_err().sqlstate(), sqlstate::INTERNAL_ERROR, "{sql} {}", table.name);
    }
}
