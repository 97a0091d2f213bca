//! Conditions: what a store is pushed against the same condition worked out here.

use std::sync::Arc;

use tributary::stores::predicate::{ColumnRef, Comparison, Rows};
use tributary::stores::value::Value;
use tributary::stores::{Connector, Predicate, Pushdown, Table};

use super::oracle::OPERATORS;
use super::reading::{self, Filled, Tally};
use super::sample::{self, PATTERNS, TEXTS};
use super::world::{Kind, World};

pub async fn check(world: &dyn World) {
    let kinds = world.kinds();
    world.make(&sample::of_kinds(world, "kinds", &kinds)).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "kinds").await;
    let filled = Filled::new(&connector, table).await;
    every_condition_on_every_kind_agrees(world, &filled).await;
    combined_conditions_agree(world, &filled).await;
    rows_of_values_agree(world, &filled).await;
    hostile_texts_find_only_themselves(&filled).await;
    what_is_not_there_is_refused(&connector, &filled.table);
}

fn column(table: &Table, kind: Kind) -> ColumnRef {
    ColumnRef::of(table.columns.iter().position(|column| column.name() == kind.column()).unwrap())
}

async fn every_condition_on_every_kind_agrees(world: &dyn World, filled: &Filled<'_>) {
    for kind in world.kinds() {
        let column = column(&filled.table, kind);
        let probes = sample::probes(world, kind);
        let mut tally = Tally::default();
        for negated in [false, true] {
            filled.check(&Predicate::IsNull { column: column.clone(), negated }, &mut tally).await;
            for values in [probes.clone(), probes[..1].to_vec(), probes[probes.len() - 2..].to_vec()] {
                filled.check(&Predicate::In { column: column.clone(), values, negated }, &mut tally).await;
            }
        }
        assert!(tally.exact + tally.superset >= 2, "{kind:?}: not even IS NULL is pushed: {tally:?}");
        for value in probes {
            for op in OPERATORS {
                filled.check(&Predicate::Compare { column: column.clone(), op, value: value.clone() }, &mut tally).await;
            }
        }
        // Every store finds numbers and texts by themselves; the rest is left to each.
        let is_basic = matches!(kind, Kind::Int | Kind::Text | Kind::Float);
        assert!(!is_basic || tally.exact + tally.superset > 12, "{kind:?}: {tally:?}");
    }
}

async fn combined_conditions_agree(world: &dyn World, filled: &Filled<'_>) {
    let (number, text) = (column(&filled.table, Kind::Int), column(&filled.table, Kind::Text));
    let above = |value| Predicate::Compare { column: number.clone(), op: Comparison::Greater, value: Value::Int(value) };
    let equal =
        |value: &str| Predicate::Compare { column: text.clone(), op: Comparison::Equal, value: Value::Text(value.to_owned()) };
    let null = |column: &ColumnRef, negated| Predicate::IsNull { column: column.clone(), negated };
    let key = |op, value| Predicate::Compare { column: ColumnRef::of(0), op, value: Value::Int(value) };
    let mut tally = Tally::default();
    for predicate in [
        Predicate::And(vec![above(0), equal("a")]),
        Predicate::And(vec![above(0), null(&text, true), null(&number, true)]),
        Predicate::Or(vec![above(i64::MAX - 1), equal("B"), null(&number, false)]),
        Predicate::Or(vec![Predicate::And(vec![above(-1), equal("b")]), Predicate::And(vec![equal("it's"), null(&number, true)])]),
        Predicate::And(vec![Predicate::Or(vec![above(5), equal("ž")]), Predicate::Or(vec![null(&text, true), above(-5)])]),
        Predicate::Or((1..=30).map(|value| key(Comparison::Equal, value)).collect()),
        Predicate::And((1..=30).map(|value| key(Comparison::NotEqual, 100 + value)).collect()),
    ] {
        filled.check(&predicate, &mut tally).await;
    }
    assert_eq!(tally.refused, 0, "{}: {tally:?}", world.word());
}

/// `(a, b) IN (…)` over every pair of kinds: few rows, more than are written as they are, and rows that are nearly there. A row of NULLs
/// and pairs of values that no row has are among what is looked for.
async fn rows_of_values_agree(world: &dyn World, filled: &Filled<'_>) {
    let (mut tally, mut basic) = (Tally::default(), Tally::default());
    let is_basic = |kind: Kind| matches!(kind, Kind::Int | Kind::Text);
    for first in world.kinds() {
        for second in world.kinds().into_iter().filter(|second| *second != first) {
            let columns = vec![column(&filled.table, first), column(&filled.table, second)];
            let (left, right) = (sample::probes(world, first), sample::probes(world, second));
            let stored =
                (0..left.len().max(right.len())).map(|row| vec![left[row % left.len()].clone(), right[row % right.len()].clone()]);
            let crossed = left.iter().flat_map(|one| right.iter().rev().map(move |other| vec![one.clone(), other.clone()]));
            for rows in [stored.clone().take(2).collect(), stored.collect(), crossed.take(300).collect::<Vec<_>>()] {
                let rows = Predicate::Rows(Rows { columns: columns.clone(), rows });
                let tally = if is_basic(first) && is_basic(second) { &mut basic } else { &mut tally };
                filled.check(&rows, tally).await;
            }
        }
    }
    assert_eq!((basic.refused, basic.exact + basic.superset), (0, 6), "{}: {basic:?}", world.word());
    assert!(tally.exact + tally.superset > 0, "{}: {tally:?}", world.word());
    // A key beside a column that is NULL in one row finds that row by nothing.
    let null = filled.rows.iter().position(|row| row[1].is_none()).unwrap();
    let Some(Some(key)) = filled.rows[null][0].clone() else { panic!("no key") };
    let probe = sample::probes(world, world.kinds()[0]).remove(0);
    let rows = Rows { columns: vec![ColumnRef::of(0), ColumnRef::of(1)], rows: vec![vec![key, probe]] };
    assert!(filled.expected(&Predicate::Rows(rows.clone())).is_empty());
    filled.check(&Predicate::Rows(rows), &mut tally).await;
}

async fn hostile_texts_find_only_themselves(filled: &Filled<'_>) {
    let column = column(&filled.table, Kind::Text);
    let mut tally = Tally::default();
    for text in TEXTS {
        let equal = Predicate::Compare { column: column.clone(), op: Comparison::Equal, value: Value::Text(text.to_owned()) };
        filled.check(&equal, &mut tally).await;
        let pattern: String = text.chars().flat_map(|letter| ['\\', letter]).collect();
        for pattern in [pattern, format!("%{}%", text.replace(['%', '_', '\\'], "_"))] {
            let like = Predicate::Like { column: column.clone(), pattern, negated: false, case_insensitive: false };
            filled.check(&like, &mut tally).await;
        }
    }
    for pattern in PATTERNS {
        for (negated, case_insensitive) in [(false, false), (true, false), (false, true)] {
            let like = Predicate::Like { column: column.clone(), pattern: pattern.to_owned(), negated, case_insensitive };
            filled.check(&like, &mut tally).await;
        }
    }
    assert!(tally.exact + tally.superset >= TEXTS.len(), "{tally:?}");
}

fn what_is_not_there_is_refused(connector: &Arc<dyn Connector>, table: &Table) {
    let text = column(table, Kind::Text);
    let nowhere = ColumnRef::of(table.columns.len());
    let inside = ColumnRef { path: vec!["a".to_owned()], ..text.clone() };
    let equal = |column: &ColumnRef, value| Predicate::Compare { column: column.clone(), op: Comparison::Equal, value };
    for predicate in [
        equal(&nowhere, Value::Int(1)),
        equal(&inside, Value::Text("a".to_owned())),
        equal(&text, Value::Int(1)),
        Predicate::Like { column: text, pattern: "a\\".to_owned(), negated: false, case_insensitive: false },
    ] {
        assert!(matches!(connector.pushdown(table, &predicate), Pushdown::Refused(_)), "{predicate:?}");
    }
}
