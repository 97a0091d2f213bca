//! Groups, orders and unions over values of every type in every field.

use std::cmp::Ordering;

use mongodb::bson::{Document, doc};
use tributary::pgtype::PgType;
use tributary::stores::fragment::{Aggregate, AggregateCall, Expression, Node, SortKey};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Relation, StoreError};

use super::super::World;
use super::conditions::mixed;
use super::{Cell, Room, assert_same, call, cells, compare, filter, grouped, literal, order_rows, project};

/// Columns whose values a pipeline computes with.
const READ: [&str; 8] = ["t", "i", "f", "d", "b", "w", "o", "u"];

/// All rows of the collection, each cell by the column's place.
async fn everything(room: &Room) -> Vec<Vec<Cell>> {
    let types: Vec<PgType> = room.table("c").columns.iter().map(|column| column.pg_type()).collect();
    let batches = room.read("c").await;
    let plain: Vec<usize> = (0..types.len()).filter(|place| !matches!(types[*place].oid, 17 | 114 | 1016)).collect();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cell = |place: usize| match plain.contains(&place) && types[place] != PgType::NUMERIC {
                true => Cell::of(batch.column(place), row, types[place]),
                false => Cell::Null,
            };
            rows.push((0..types.len()).map(cell).collect());
        }
    }
    rows
}

/// The groups of some rows by one column.
fn groups(rows: &[Vec<Cell>], by: usize) -> Vec<Vec<&Vec<Cell>>> {
    let mut sorted: Vec<&Vec<Cell>> = rows.iter().collect();
    sorted.sort_by(|left, right| left[by].order(&right[by]));
    sorted.chunk_by(|left, right| left[by].order(&right[by]).is_eq()).map(<[_]>::to_vec).collect()
}

fn extreme(cells: &[&Cell], wanted: Ordering) -> Cell {
    let present = cells.iter().filter(|cell| !cell.is_null());
    let found = present.reduce(|best, next| if next.order(best) == wanted { next } else { best });
    found.map_or(Cell::Null, |cell| (*cell).clone())
}

fn sum(cells: &[&Cell]) -> Cell {
    let numbers = cells.iter().filter_map(|cell| match cell {
        Cell::Int(number) => Some((*number).into()),
        Cell::Number(number) => Some(number.clone()),
        _ => None,
    });
    numbers.reduce(|sum: bigdecimal::BigDecimal, number| sum + number).map_or(Cell::Null, Cell::Number)
}

fn count(number: usize) -> Cell {
    Cell::Int(i64::try_from(number).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_agree_with_local_ones() {
    let room = mixed(3).await;
    let rows = everything(&room).await;
    let place = |name: &str| super::super::ordinal(room.table("c"), name);
    for by in READ {
        for of in READ {
            let argument = || Some(room.column("c", of));
            let plain = PgType::with_typmod(room.column("c", of).pg_type.oid, -1);
            let mut calls = vec![
                call(Aggregate::CountRows, None, PgType::INT8),
                call(Aggregate::Count, argument(), PgType::INT8),
                AggregateCall { distinct: true, ..call(Aggregate::Count, argument(), PgType::INT8) },
            ];
            if matches!(of, "i") {
                calls.push(call(Aggregate::Sum, argument(), PgType::NUMERIC));
            }
            if !matches!(of, "b" | "u") {
                calls.extend([call(Aggregate::Minimum, argument(), plain), call(Aggregate::Maximum, argument(), plain)]);
            }
            if of == "b" {
                calls.extend([call(Aggregate::BoolAnd, argument(), plain), call(Aggregate::BoolOr, argument(), plain)]);
            }
            let relation = grouped(room.all("c"), vec![room.column("c", by)], calls.clone());
            let expected = groups(&rows, place(by)).into_iter().map(|group| {
                let cells: Vec<&Cell> = group.iter().map(|row| &row[place(of)]).collect();
                let present: Vec<Vec<Cell>> =
                    cells.iter().filter(|cell| !cell.is_null()).map(|cell| vec![(*cell).clone()]).collect();
                let results = calls.iter().map(|call| match (call.aggregate, call.distinct) {
                    (Aggregate::CountRows, _) => count(group.len()),
                    (Aggregate::Count, false) => count(present.len()),
                    (Aggregate::Count, true) => count(groups(&present, 0).len()),
                    (Aggregate::Sum, _) => sum(&cells),
                    (Aggregate::Minimum | Aggregate::BoolAnd, _) => extreme(&cells, Ordering::Less),
                    _ => extreme(&cells, Ordering::Greater),
                });
                std::iter::once(group[0][place(by)].clone()).chain(results).collect()
            });
            assert_same(room.rows(&relation).await, expected.collect(), &format!("{of} by {by}\n{}", room.described(&relation)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_those_of_postgres() {
    let room = mixed(4).await;
    let rows = everything(&room).await;
    for name in READ {
        let place = super::super::ordinal(room.table("c"), name);
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let keys = vec![SortKey { expression: room.column("c", name), descending, nulls_first }];
            let sorted = Relation::Sort { input: Box::new(room.all("c")), keys, offset: 3, limit: Some(200) };
            let found = room.rows(&project(sorted, vec![room.column("c", name)])).await;
            let mut expected: Vec<Cell> = rows.iter().map(|row| row[place].clone()).collect();
            expected.sort_by(|left, right| {
                let order = if descending { right.order(left) } else { left.order(right) };
                // NULL is above all others, unless it is asked for elsewhere.
                match (left.is_null(), right.is_null()) {
                    (true, false) => {
                        if nulls_first {
                            Ordering::Less
                        } else {
                            Ordering::Greater
                        }
                    }
                    (false, true) => {
                        if nulls_first {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    _ => order,
                }
            });
            let expected: Vec<Cell> = expected.into_iter().skip(3).take(200).collect();
            let same =
                found.len() == expected.len() && found.iter().zip(&expected).all(|(left, right)| left[0].order(right).is_eq());
            assert!(same, "{name} {descending} {nulls_first}\nfound    {found:?}\nexpected {expected:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_rows_and_unions_agree_with_local_ones() {
    let room = mixed(6).await;
    let rows = everything(&room).await;
    let place = |name: &str| super::super::ordinal(room.table("c"), name);
    let two = |one: &str, other: &str| project(room.all("c"), vec![room.column("c", one), room.column("c", other)]);
    let pairs = |one: &str, other: &str| -> Vec<Vec<Cell>> {
        rows.iter().map(|row| vec![row[place(one)].clone(), row[place(other)].clone()]).collect()
    };
    for (one, other) in [("t", "b"), ("f", "i"), ("u", "w"), ("o", "d")] {
        let mut expected = pairs(one, other);
        let both = Relation::Union { inputs: vec![two(one, other), two(one, other)] };
        let twice = [expected.clone(), expected.clone()].concat();
        assert_same(room.rows(&both).await, twice, &format!("{one} and {other} twice"));
        expected.sort_by(|left, right| order_rows(left, right));
        expected.dedup_by(|left, right| order_rows(left, right).is_eq());
        let distinct = Relation::Distinct { input: Box::new(both) };
        assert_same(room.rows(&distinct).await, expected, &format!("{one} and {other} once"));
    }
    let unlike = Relation::Union { inputs: vec![two("t", "b"), two("i", "b")] };
    assert!(room.accepts(&unlike).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_one_row_without_groups_and_none_with_them() {
    let options = "sample = 0\n[collections.empty.columns]\nn = \"bigint\"\nd = \"numeric(38,2)\"\n";
    let world = World::new(options).await;
    world.fill("empty", Vec::new()).await;
    let room = Room::new(world, &["empty"]).await;
    let n = || Some(room.column("empty", "n"));
    let calls = || {
        vec![
            call(Aggregate::CountRows, None, PgType::INT8),
            call(Aggregate::Count, n(), PgType::INT8),
            call(Aggregate::Sum, n(), PgType::NUMERIC),
            call(Aggregate::Sum, Some(room.column("empty", "d")), PgType::NUMERIC),
            call(Aggregate::Maximum, n(), PgType::INT8),
            AggregateCall { distinct: true, ..call(Aggregate::Count, n(), PgType::INT8) },
        ]
    };
    let nothing = vec![count(0), count(0), Cell::Null, Cell::Null, Cell::Null, count(0)];
    let whole = grouped(room.all("empty"), Vec::new(), calls());
    assert_same(room.rows(&whole).await, vec![nothing.clone()], "no documents");
    let by = grouped(room.all("empty"), vec![room.column("empty", "n")], calls());
    assert_same(room.rows(&by).await, Vec::new(), "no groups");
    let more = compare(Comparison::Greater, Expression::column(0, PgType::INT8), literal(PgType::INT8, Some(Value::Int(0))));
    assert_same(room.rows(&filter(whole.clone(), more)).await, Vec::new(), "HAVING");
    for place in [2, 3] {
        let sum = || Expression::column(place, PgType::NUMERIC);
        let less = compare(Comparison::Less, sum(), literal(PgType::NUMERIC, Some(Value::Decimal { unscaled: 5, scale: 0 })));
        assert_same(room.rows(&filter(whole.clone(), less)).await, Vec::new(), &format!("HAVING sum {place}"));
        let is_null = Expression::condition(Node::IsNull { operand: Box::new(sum()), negated: false });
        assert_same(room.rows(&filter(whole.clone(), is_null.clone())).await, vec![nothing.clone()], &format!("no sum {place}"));
        let (yes, no) = (literal(PgType::INT8, Some(Value::Int(1))), literal(PgType::INT8, Some(Value::Int(0))));
        let case = Node::Case { branches: vec![(is_null, yes)], otherwise: Some(Box::new(no)) };
        let shown = project(whole.clone(), vec![Expression::new(PgType::INT8, case)]);
        assert_same(room.rows(&shown).await, vec![vec![count(1)]], &format!("CASE over sum {place}"));
    }
    // Documents without the fields are rows, and have no values.
    room.world.database.collection::<Document>("empty").insert_many(vec![doc! { "_id": 1 }, doc! { "n": null }]).await.unwrap();
    let mut expected = nothing;
    expected[0] = count(2);
    assert_same(room.rows(&whole).await, vec![expected], "documents without values");
    room.world.database.collection::<Document>("empty").drop().await.unwrap();
    let error = room.run(&whole).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_groups_travel() {
    let world = World::new("").await;
    world.fill("c", (0..5_000_i64).map(|number| doc! { "_id": number, "k": number % 7, "p": "x".repeat(50) }).collect()).await;
    let room = Room::new(world, &["c"]).await;
    room.world.database.run_command(doc! { "profile": 2 }).await.unwrap();
    let relation = grouped(
        room.all("c"),
        vec![room.column("c", "k")],
        vec![
            call(Aggregate::CountRows, None, PgType::INT8),
            AggregateCall {
                filter: Some(compare(Comparison::Less, room.column("c", "_id"), literal(PgType::INT8, Some(Value::Int(700))))),
                ..call(Aggregate::Sum, Some(room.column("c", "k")), PgType::NUMERIC)
            },
        ],
    );
    let expected = (0..7_i64).map(|k| vec![Cell::Int(k), count(if k < 2 { 715 } else { 714 }), Cell::Number((k * 100).into())]);
    assert_same(room.rows(&relation).await, expected.collect(), "seven groups");
    let namespace = format!("{}.c", room.world.database.name());
    let profile = room.world.database.collection::<Document>("system.profile");
    let entry = profile.find_one(doc! { "ns": namespace, "command.aggregate": "c" }).await.unwrap().unwrap();
    assert_eq!(entry.get_i32("nreturned").unwrap(), 7);
    let types = [PgType::INT8, PgType::INT8, PgType::NUMERIC];
    assert_eq!(cells(&room.run(&relation).await.unwrap(), &types).len(), 7);
}
