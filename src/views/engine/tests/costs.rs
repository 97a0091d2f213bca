//! What machines keep of rows that are gone, and what of a step's work depends on rows that it does not touch.

use super::{Row, Stage, changes, decimal, int, plain, small, text, truth, two_tables};

const QUERIES: &[&str] = &[
    "SELECT id, g FROM a WHERE n > 2",
    "SELECT g, count(*) AS c, sum(d) AS s, min(n) AS l, count(DISTINCT n) AS k, count(DISTINCT g) AS h FROM a GROUP BY g",
    "SELECT a.id, b.v FROM a LEFT JOIN b ON a.id = b.a_id AND b.v >= a.n",
    "SELECT id FROM a WHERE id IN (SELECT a_id FROM b)",
    "SELECT count(*) AS c, max(g) AS h FROM a",
];

fn a(key: i64) -> Row {
    let name = format!("a group of some length with the number {}", key % 7);
    let number = i32::try_from(key % 5).unwrap();
    vec![int(key), text(name.as_str()), small(number), decimal(i128::from(key)), truth(true)]
}

fn b(key: i64) -> Row {
    vec![int(key), int(key % 50), small(3), text("x")]
}

#[tokio::test]
async fn memory_is_given_back_with_the_rows() {
    let mut stage = Stage::new(plain(), two_tables());
    for sql in QUERIES {
        stage.add(sql).await;
    }
    stage.step().await;
    let before: Vec<usize> = stage.views.iter().map(|view| view.machine.bytes()).collect();
    for round in 0..3 {
        for key in 0..200 {
            stage.tables[0].put(key, Some(a(key + round)));
            stage.tables[1].put(key, Some(b(key)));
        }
        stage.step().await;
        let full: Vec<usize> = stage.views.iter().map(|view| view.machine.bytes()).collect();
        // A filter keeps nothing, whatever passes it.
        assert_eq!(full[0], before[0]);
        assert!(full.iter().zip(&before).skip(1).all(|(full, before)| full > before), "{full:?} {before:?}");
        for table in &mut stage.tables {
            let keys: Vec<i64> = table.rows.keys().copied().collect();
            keys.into_iter().for_each(|key| table.put(key, None));
        }
        stage.step().await;
        let after: Vec<usize> = stage.views.iter().map(|view| view.machine.bytes()).collect();
        assert_eq!(after, before);
    }
}

#[tokio::test]
async fn a_row_that_changes_where_nobody_looks_changes_nothing() {
    let mut stage = Stage::new(plain(), two_tables());
    stage.add("SELECT id, n FROM a WHERE n > 0").await;
    stage.tables[0].put(6, Some(a(6)));
    stage.step().await;
    let mut row = a(6);
    row[1] = text("another group");
    stage.tables[0].put(6, Some(row));
    let changes = changes(&stage.tables, stage.views[0].machine.inputs());
    assert_eq!(changes[0].removed.len(), 1);
    assert!(stage.views[0].machine.step(&changes).unwrap().is_empty());
}
