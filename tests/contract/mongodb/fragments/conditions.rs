//! Conditions in `$expr`: over values of every type in every field, true and not true, and errors that must be noticed.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mongodb::bson::doc;
use mongodb::bson::oid::ObjectId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tributary::error::Diagnose;
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::value::Value;

use super::super::World;
use super::super::filters::{COLUMNS, NAMES, PLACES, documents, holds, pool, predicate, stray};
use super::{Cell, Room, expression, filter, project};

const PREDICATES: usize = 500;

/// The documents of the filters' tests, under a store file that makes NULL of what does not fit.
pub(super) async fn mixed(seed: u64) -> Room {
    let options = format!("on_mismatch = \"null\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"{COLUMNS}");
    let world = World::new(&options).await;
    world.fill("c", documents(&mut StdRng::seed_from_u64(seed), &NAMES)).await;
    Room::new(world, &["c"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_agree_with_local_ones() {
    let room = mixed(20_261_121).await;
    let mut rng = StdRng::seed_from_u64(5);
    let all = room.read("c").await;
    let table = room.table("c").clone();
    let mut taken = 0;
    for _ in 0..PREDICATES {
        let predicate = predicate(&mut rng, &table, &PLACES, 0);
        let truth = expression(&table, &predicate);
        // The condition, its opposite, and whether it is unknown.
        let (condition, wanted) = match rng.random_range(0..4) {
            0 => (Expression::condition(Node::Not(Box::new(truth))), Some(false)),
            1 => {
                let unknown = Node::IsTruth { operand: Box::new(truth), truth: None, negated: false };
                (Expression::condition(unknown), None)
            }
            _ => (truth, Some(true)),
        };
        let relation = project(filter(room.all("c"), condition), vec![room.column("c", "_id")]);
        if room.accepts(&relation).is_err() {
            continue;
        }
        taken += 1;
        let mut expected: Vec<i64> = Vec::new();
        for batch in &all {
            let ids = batch.column(0).as_primitive::<Int64Type>();
            expected.extend(
                (0..batch.num_rows()).filter(|row| holds(&table, batch, *row, &predicate) == wanted).map(|row| ids.value(row)),
            );
        }
        expected.sort_unstable();
        let mut found: Vec<i64> = room
            .rows(&relation)
            .await
            .into_iter()
            .map(|row| match row[0] {
                Cell::Int(id) => id,
                ref other => panic!("{other:?}"),
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{wanted:?} {predicate:?}\n{}", room.described(&relation));
    }
    assert!(taken > PREDICATES / 4, "{taken} conditions were taken");
}

/// A broken value in a tested column is an error, as when it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_notice_values_that_do_not_fit() {
    let options = format!("on_mismatch = \"error\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"{COLUMNS}");
    let world = World::new(&options).await;
    let collection = world.fill("c", vec![doc! { "_id": 0_i64 }]).await;
    let room = Room::new(world, &["c"]).await;
    let table = room.table("c").clone();
    let mut rng = StdRng::seed_from_u64(11);
    let (mut broken, mut whole) = (0, 0);
    for round in 0..150 {
        let name = ["t", "i", "f", "d", "b", "w", "o", "u"][round % 8];
        let value = if rng.random_bool(0.5) {
            stray(&mut rng)
        } else {
            let all = pool(name);
            all[rng.random_range(0..all.len())].clone()
        };
        collection.replace_one(doc! { "_id": 0_i64 }, doc! { "_id": 0_i64, name: value.clone() }).await.unwrap();
        let read = room.world.read(&table, &[name], Vec::new()).await;
        let tested = Node::IsNull { operand: Box::new(room.column("c", name)), negated: rng.random_bool(0.5) };
        let relation = project(filter(room.all("c"), Expression::condition(tested)), vec![room.column("c", "_id")]);
        let found = room.run(&relation).await;
        match read {
            Err(error) => {
                broken += 1;
                let noticed = found.expect_err(&format!("{value:?} is read as {name}"));
                assert_eq!(noticed.sqlstate(), error.sqlstate(), "{value:?}");
                assert!(noticed.to_string().starts_with(&format!("a value of docs.c.{name} is a value of type ")), "{noticed}");
            }
            Ok(_) => {
                whole += 1;
                assert!(found.is_ok(), "{value:?} in {name}: {found:?}");
            }
        }
    }
    assert!(broken > 20 && whole > 20, "{broken} broken and {whole} whole values");
}

/// So it is for a list with NULL, which holds nothing that it is not known to hold, whatever the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_with_null_notice_values_that_do_not_fit() {
    let options = format!("on_mismatch = \"error\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"{COLUMNS}");
    let world = World::new(&options).await;
    let collection = world.fill("c", vec![doc! { "_id": 0_i64, "i": 7 }]).await;
    let room = Room::new(world, &["c"]).await;
    let subject = room.column("c", "i");
    let list = vec![super::literal(subject.pg_type, Some(Value::Int(5))), super::literal(subject.pg_type, None)];
    let unlisted = Node::In { subject: Box::new(subject), list, negated: true };
    let relation = project(filter(room.all("c"), Expression::condition(unlisted)), vec![room.column("c", "_id")]);
    assert_eq!(room.rows(&relation).await.len(), 0);
    collection.replace_one(doc! { "_id": 0_i64 }, doc! { "_id": 0_i64, "i": "seven" }).await.unwrap();
    let noticed = room.run(&relation).await.expect_err("a text is no integer");
    assert!(noticed.to_string().starts_with("a value of docs.c.i is a value of type "), "{noticed}");
}

/// A key is found by its index, whatever else stands in the condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_use_indexes() {
    for on_mismatch in ["null", "error"] {
        let world = World::new(&format!("on_mismatch = \"{on_mismatch}\"\n")).await;
        let key = |number| ObjectId::from_parts(number, [0; 5], [0; 3]);
        world.fill("c", (0..2_000_u32).map(|number| doc! { "_id": key(number), "n": i64::from(number) }).collect()).await;
        let room = Room::new(world, &["c"]).await;
        room.world.database.run_command(doc! { "profile": 2 }).await.unwrap();
        let equal = |name: &str, value| {
            let column = room.column("c", name);
            let value = super::literal(column.pg_type, Some(value));
            super::compare(tributary::stores::predicate::Comparison::Equal, column, value)
        };
        let both = vec![equal("_id", Value::Text(key(77).to_hex())), equal("n", Value::Int(77))];
        let relation = filter(room.all("c"), Expression::condition(Node::And(both)));
        assert_eq!(room.rows(&relation).await.len(), 1);
        let namespace = format!("{}.c", room.world.database.name());
        let profile = room.world.database.collection::<mongodb::bson::Document>("system.profile");
        let entry = profile.find_one(doc! { "ns": namespace, "command.aggregate": "c" }).await.unwrap().unwrap();
        assert!(entry.get_i32("docsExamined").unwrap() < 5, "{on_mismatch}: {entry}");
    }
}
