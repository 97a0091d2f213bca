//! Computed values, constants that look like operators, errors of arithmetic, refusals, and streams that are dropped.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{Bson, Decimal128, Document, doc};
use tributary::error::Diagnose;
use tributary::pgtype::PgType;
use tributary::stores::connector::ScanLimits;
use tributary::stores::fragment::{Aggregate, Expression, Function, Node};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Purpose, Relation};

use super::super::World;
use super::conditions::mixed;
use super::{Cell, Room, call, compare, filter, fragment, grouped, literal, project};

fn function(pg_type: PgType, function: Function, arguments: Vec<Expression>) -> Expression {
    Expression::new(pg_type, Node::Call { function, arguments })
}

fn text(text: &str) -> Expression {
    literal(PgType::TEXT, Some(Value::Text(text.to_owned())))
}

fn int(number: i64) -> Expression {
    literal(PgType::INT8, Some(Value::Int(number)))
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

/// One document, and a computed value of it as text; or the error's code and message.
async fn computed(room: &Room, expression: Expression) -> Result<String, (String, String)> {
    let pg_type = expression.pg_type;
    let relation = project(room.all("v"), vec![expression]);
    match room.run(&relation).await {
        Ok(batches) => Ok(super::super::shown(&batches)[0][0].clone()),
        Err(error) => Err((error.sqlstate().to_owned(), format!("{error} {pg_type}"))),
    }
}

async fn one_document() -> Room {
    let options = "sample = 0\n[collections.v.columns]\n_id = \"bigint\"\na = \"bigint\"\nb = \"bigint\"\nf = \"double precision\"\n\
                   g = \"double precision\"\np = \"numeric(38,2)\"\nq = \"numeric(38,2)\"\nt = \"text\"\nn = \"bigint\"\n";
    let world = World::new(options).await;
    let document = doc! {
        "_id": 1_i64, "a": i64::MAX, "b": 7_i32, "f": 1e308, "g": 1e-300, "p": decimal("1.50"), "q": decimal("9.9E+31"),
        "t": "  Grüße  ",
    };
    world.fill("v", vec![document]).await;
    Room::new(world, &["v"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_those_of_postgres() {
    use Function as F;
    let room = one_document().await;
    let column = |name: &str| room.column("v", name);
    let cast = |to: PgType, inner: Expression| Expression::new(to, Node::Cast(Box::new(inner)));
    let numeric = |unscaled, scale| literal(PgType::NUMERIC, Some(Value::Decimal { unscaled, scale }));
    let int4 = |number| literal(PgType::INT4, Some(Value::Int(number)));
    let rows: Vec<(Expression, Result<&str, &str>)> = vec![
        (function(PgType::INT8, F::Add, vec![column("b"), int(3)]), Ok("10")),
        (function(PgType::INT8, F::Add, vec![column("a"), int(1)]), Err("22003")),
        (function(PgType::INT8, F::Subtract, vec![column("a"), column("a")]), Ok("0")),
        (function(PgType::INT8, F::Multiply, vec![column("a"), column("a")]), Err("22003")),
        (function(PgType::INT8, F::Add, vec![column("n"), int(1)]), Ok("NULL")),
        (function(PgType::INT8, F::Modulo, vec![column("b"), int(-4)]), Ok("3")),
        (function(PgType::INT8, F::Negate, vec![column("b")]), Ok("-7")),
        (function(PgType::FLOAT8, F::Multiply, vec![column("f"), column("f")]), Err("22003")),
        (function(PgType::FLOAT8, F::Multiply, vec![column("g"), column("g")]), Err("22003")),
        (function(PgType::FLOAT8, F::Add, vec![column("f"), column("f")]), Err("22003")),
        (function(PgType::FLOAT8, F::Floor, vec![column("g")]), Ok("0.0")),
        (function(PgType::NUMERIC, F::Multiply, vec![column("p"), numeric(105, 2)]), Ok("1.5750")),
        (function(PgType::NUMERIC, F::Subtract, vec![numeric(1, 0), column("p")]), Ok("-0.50")),
        (function(PgType::NUMERIC, F::Multiply, vec![column("q"), column("q")]), Err("22003")),
        (function(PgType::NUMERIC, F::Add, vec![column("p"), cast(PgType::NUMERIC, column("b"))]), Ok("8.50")),
        (cast(PgType::INT4, column("a")), Err("22003")),
        (cast(PgType::INT4, column("b")), Ok("7")),
        (cast(PgType::TEXT, column("a")), Ok("9223372036854775807")),
        (cast(PgType::FLOAT8, column("p")), Ok("1.5")),
        (function(PgType::INT4, F::Length, vec![column("t")]), Ok("9")),
        (function(PgType::INT4, F::OctetLength, vec![column("t")]), Ok("11")),
        (function(PgType::TEXT, F::Trim, vec![column("t")]), Ok("Grüße")),
        (function(PgType::TEXT, F::Concat, vec![column("t"), text("$b")]), Ok("  Grüße  $b")),
        (function(PgType::TEXT, F::Substring, vec![column("t"), int4(-1), int4(6)]), Ok("  Gr")),
        (function(PgType::TEXT, F::Right, vec![column("t"), int4(4)]), Ok("ße  ")),
        (function(PgType::INT4, F::Position, vec![column("t"), text("ß")]), Ok("6")),
        (function(PgType::INT4, F::Position, vec![column("t"), text("")]), Ok("1")),
        (function(PgType::BOOL, F::StartsWith, vec![column("t"), text("  G")]), Ok("true")),
        (function(PgType::BOOL, F::StartsWith, vec![column("t"), text("  Grüße   ")]), Ok("false")),
        (function(PgType::TEXT, F::Replace, vec![column("t"), text(" "), text("$")]), Ok("$$Grüße$$")),
        (function(PgType::INT8, F::Coalesce, vec![column("n"), column("b")]), Ok("7")),
        (function(PgType::INT8, F::NullIf, vec![column("b"), int(7)]), Ok("NULL")),
        (function(PgType::INT8, F::Greatest, vec![column("n"), column("b"), int(5)]), Ok("7")),
        (text("$a"), Ok("$a")),
        (text("$$ROOT"), Ok("$$ROOT")),
        (text("{\"$gt\": \"\"}"), Ok("{\"$gt\": \"\"}")),
        (text("$where"), Ok("$where")),
    ];
    for (expression, expected) in rows {
        let shown = expression.to_string();
        let found = computed(&room, expression).await;
        match expected {
            Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{shown}"),
            Err(code) => assert_eq!(found.as_ref().map_err(|error| error.0.as_str()), Err(code), "{shown}: {found:?}"),
        }
    }
}

/// The branch of a CASE that a row does not take raises no error of that row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_that_are_not_taken_fail_for_nobody() {
    let room = one_document().await;
    let overflows = function(PgType::INT8, Function::Add, vec![room.column("v", "a"), int(1)]);
    let small = compare(Comparison::Less, room.column("v", "a"), int(5));
    let case = |otherwise: Option<Expression>| {
        let branches = vec![(small.clone(), overflows.clone())];
        Expression::new(PgType::INT8, Node::Case { branches, otherwise: otherwise.map(Box::new) })
    };
    assert_eq!(computed(&room, case(None)).await.as_deref(), Ok("NULL"));
    assert_eq!(computed(&room, case(Some(room.column("v", "b")))).await.as_deref(), Ok("7"));
    assert!(computed(&room, case(Some(overflows.clone()))).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_differ_is_refused() {
    let room = mixed(9).await;
    let column = |name: &str| room.column("c", name);
    let sum = |name: &str| grouped(room.all("c"), Vec::new(), vec![call(Aggregate::Sum, Some(column(name)), column(name).pg_type)]);
    let by = |name: &str| grouped(room.all("c"), vec![column(name)], Vec::new());
    let upper = function(PgType::TEXT, Function::Upper, vec![column("t")]);
    let values = Relation::Values { types: vec![PgType::INT8], rows: Vec::new() };
    let average = grouped(room.all("c"), Vec::new(), vec![call(Aggregate::Average, Some(column("i")), PgType::NUMERIC)]);
    let deep = (0..60).fold(column("i"), |inner, _| function(PgType::INT8, Function::Add, vec![inner, int(1)]));
    let rows = [
        (sum("f"), "compensation"),
        (sum("n"), "doubles and decimals"),
        (by("x"), "length and subtype"),
        (by("m"), "several types"),
        (by("l"), "arrays and documents"),
        (by("n"), "doubles and decimals"),
        (project(room.all("c"), vec![upper]), "computed here"),
        (project(room.all("c"), vec![deep]), "too deeply"),
        (values, "starts from a collection"),
        (average, "divided here"),
    ];
    for (relation, rule) in rows {
        let refusal = room.accepts(&relation).unwrap_err();
        assert!(refusal.to_string().contains(rule), "{refusal}");
    }
}

/// A name that the server would read as a path or an operator reaches no pipeline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_cannot_be_named_are_refused() {
    let world = World::new("").await;
    let insert = doc! { "_id": 1, "$a": "x", "b.c": "y", "plain": "z" };
    world.database.run_command(doc! { "insert": "odd", "documents": [insert] }).await.unwrap();
    let room = Room::new(world, &["odd"]).await;
    assert!(room.accepts(&room.all("odd")).is_err());
    let Relation::Table(scan) = room.all("odd") else { panic!("no table") };
    let plain = vec![super::super::ordinal(room.table("odd"), "plain")];
    assert_eq!(room.rows(&Relation::Table(tributary::stores::Scan { columns: plain, ..scan })).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn constants_are_shown_apart_and_code_never_runs() {
    let room = one_document().await;
    let condition = compare(Comparison::Equal, room.column("v", "t"), text("secret $where {\"$function\": 1}"));
    let relation = filter(room.all("v"), condition);
    let shown = room.described(&relation);
    let (pipeline, parameters) = shown.split_once(" {\"parameters\":").unwrap();
    assert!(!pipeline.contains("secret") && parameters.contains("secret"), "{shown}");
    assert!(!pipeline.contains("$where") && !pipeline.contains("$function"), "{shown}");
    assert!(room.rows(&relation).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_stream_ends_its_cursor() {
    let world = World::new("").await;
    world.fill("many", (0..20_000_i64).map(|number| doc! { "_id": number }).collect()).await;
    let room = Room::new(world, &["many"]).await;
    let relation = project(room.all("many"), vec![function(PgType::INT8, Function::Add, vec![room.column("many", "_id"), int(1)])]);
    let schema = room.schema(&relation);
    for purpose in [Purpose::Statement { scans: 1 }, Purpose::Transaction { read_only: false, repeatable: true }] {
        let branch = room.world.connector.open(purpose).await.unwrap();
        let limits = ScanLimits { batch_rows: 100, batch_bytes: 1 << 20 };
        let mut stream = branch.run(&fragment(&relation), &room.tables, &schema, limits).await.unwrap();
        assert_eq!(stream.try_next().await.unwrap().unwrap().num_rows(), 100);
        until(&room, |busy| busy > 0).await;
        drop(stream);
        until(&room, |busy| busy == 0).await;
    }
}

/// Waits for a number of operations and cursors, and fails when it does not come. A cursor that passes from an operation to
/// rest, or back, is for a moment neither to `$currentOp`.
async fn until(room: &Room, wanted: impl Fn(usize) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = busy(room).await;
        if wanted(now) {
            return;
        }
        assert!(Instant::now() < end, "there are still {now}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Operations and idle cursors on the collections of the room.
async fn busy(room: &Room) -> usize {
    let stages = vec![
        doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
        doc! { "$match": { "ns": format!("{}.many", room.world.database.name()), "type": { "$in": ["op", "idleCursor"] } } },
    ];
    let cursor = room.world.client.database("admin").aggregate(stages).await.unwrap();
    cursor.try_collect::<Vec<Document>>().await.unwrap().len()
}

/// Sums of decimals keep their digits; a sum that has more of them than the server is an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_of_decimals_are_exact_or_errors() {
    let options = "sample = 0\n[collections.v.columns]\nd = \"numeric(38,2)\"\n";
    let world = World::new(options).await;
    let documents = ["0.10", "12345678901234567890.12", "-0.3", "7"].map(|text| doc! { "d": decimal(text) });
    let collection = world.fill("v", documents.to_vec()).await;
    let room = Room::new(world, &["v"]).await;
    let sum = grouped(room.all("v"), Vec::new(), vec![call(Aggregate::Sum, Some(room.column("v", "d")), PgType::NUMERIC)]);
    assert_eq!(super::super::shown(&room.run(&sum).await.unwrap()), [["12345678901234567896.92"]]);
    collection.insert_one(doc! { "d": decimal("9E+31") }).await.unwrap();
    let error = room.run(&sum).await.unwrap_err();
    assert_eq!(error.sqlstate(), "22003", "{error:?}");
    let Cell::Int(count) =
        room.rows(&grouped(room.all("v"), Vec::new(), vec![call(Aggregate::CountRows, None, PgType::INT8)])).await[0][0]
    else {
        panic!("no count")
    };
    assert_eq!(count, 5);
}
