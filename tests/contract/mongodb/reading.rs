//! Discovery and scans: every type, nesting, keys, views, snapshots.

use std::sync::Arc;

use futures::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc};
use mongodb::{Collection, IndexModel, options::IndexOptions};
use tributary::error::Diagnose;
use tributary::pgtype::{PgField, PgType};
use tributary::stores::connector::{Purpose, ScanLimits, Serial};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use tributary::stores::schema::TableKind;
use tributary::stores::value::Value;

use super::super::suite::walk::{Tally, Visit, as_arrow, both_ways, came_everywhere};
use super::{World, collect, ordinal, row_count, scan, shown, text};

fn equals(column: usize, value: &str) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Equal, value: Value::Text(value.to_owned()) }
}

fn every_type() -> Vec<(&'static str, Bson, PgType, &'static str)> {
    let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
    let regex = Regex { pattern: "a.b".try_into().unwrap(), options: "i".try_into().unwrap() };
    let text_array = PgType::TEXT.array().unwrap();
    let pointed = serde_json::json!({ "$dbPointer": { "$ref": "a.b", "$id": { "$oid": "000000000000000000000000" } } });
    let pointer: Bson = serde_json::from_value(pointed).unwrap();
    vec![
        ("int32", 7_i32.into(), PgType::INT8, "7"),
        ("int64", i64::MIN.into(), PgType::INT8, "-9223372036854775808"),
        ("double", 0.1.into(), PgType::FLOAT8, "0.1"),
        ("negative_zero", (-0.0).into(), PgType::FLOAT8, "-0.0"),
        ("nan", f64::NAN.into(), PgType::FLOAT8, "NaN"),
        ("infinite", f64::NEG_INFINITY.into(), PgType::FLOAT8, "-inf"),
        ("decimal", Bson::Decimal128("1.50".parse().unwrap()), PgType::numeric(38, 2), "1.50"),
        ("wide", Bson::Decimal128("1E+40".parse().unwrap()), PgType::NUMERIC, "10000000000000000000000000000000000000000"),
        ("decimal_nan", Bson::Decimal128("NaN".parse().unwrap()), PgType::NUMERIC, "NaN"),
        ("decimal_infinite", Bson::Decimal128("-Infinity".parse().unwrap()), PgType::NUMERIC, "-Infinity"),
        ("text", "ü\u{1F600}' \" \\ $ {}".into(), PgType::TEXT, "ü\u{1F600}' \" \\ $ {}"),
        ("truth", true.into(), PgType::BOOL, "true"),
        ("date", DateTime::from_millis(-1).into(), PgType::TIMESTAMPTZ, "1969-12-31T23:59:59.999Z"),
        ("object_id", ObjectId::from_bytes([0xab; 12]).into(), PgType::TEXT, "abababababababababababab"),
        ("uuid", binary(BinarySubtype::Uuid, &[0x11; 16]), PgType::UUID, "11111111-1111-1111-1111-111111111111"),
        ("bytes", binary(BinarySubtype::Generic, b"\0hi"), PgType::BYTEA, "006869"),
        ("old_uuid", binary(BinarySubtype::UuidOld, &[1; 16]), PgType::BYTEA, "01010101010101010101010101010101"),
        ("list", vec!["a", "b"].into(), text_array, "[a, b]"),
        ("nested", doc! { "a": 1, "b": { "c": "d" } }.into(), PgType::JSON, "{a: 1, b: {c: d}}"),
        ("regex", regex.into(), PgType::TEXT, "{\"$regularExpression\":{\"pattern\":\"a.b\",\"options\":\"i\"}}"),
        ("moment", Timestamp { time: 5, increment: 6 }.into(), PgType::TEXT, "{\"$timestamp\":{\"t\":5,\"i\":6}}"),
        (
            "code",
            JavaScriptCodeWithScope { code: "f()".to_owned(), scope: doc! { "x": 1 } }.into(),
            PgType::TEXT,
            "{\"$code\":\"f()\",\"$scope\":{\"x\":1}}",
        ),
        ("least", Bson::MinKey, PgType::TEXT, "{\"$minKey\":1}"),
        ("most", Bson::MaxKey, PgType::TEXT, "{\"$maxKey\":1}"),
        ("symbol", Bson::Symbol("old".to_owned()), PgType::TEXT, "old"),
        ("script", Bson::JavaScriptCode("g()".to_owned()), PgType::TEXT, "{\"$code\":\"g()\"}"),
        ("undefined", Bson::Undefined, PgType::TEXT, "NULL"),
        ("pointer", pointer, PgType::TEXT, "{\"$dbPointer\":{\"$ref\":\"a.b\",\"$id\":{\"$oid\":\"000000000000000000000000\"}}}"),
        ("nothing", Bson::Null, PgType::TEXT, "NULL"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_discovered_and_read_both_ways() {
    let world = World::new("").await;
    for (name, value, ..) in every_type() {
        world.fill(name, vec![doc! { "_id": 1, "v": value }, doc! { "_id": 2 }]).await;
    }
    let schema = world.connector.discover().await.unwrap();
    let (mut visited, mut tally) = (Vec::new(), Tally::default());
    for (name, _, pg_type, shown) in every_type() {
        let found = schema.tables.iter().find(|table| table.id.namespace == world.database.name() && table.id.name == name);
        let table = found.unwrap_or_else(|| panic!("{name}: {:?}", schema.refused)).clone();
        assert_eq!(table.columns[ordinal(&table, "v")].field.pg_type(), pg_type, "{name}");
        let expected = [(shown != "NULL").then(|| shown.to_owned()), None];
        let visit = Visit { native: name, oid: pg_type.oid, table, expected: &expected, show: as_arrow };
        tally += Box::pin(both_ways(&world.connector, &visit)).await;
        // The server's own word for what was written.
        let stages = [doc! { "$match": { "_id": 1 } }, doc! { "$project": { "word": { "$type": "$v" } } }];
        let mut words = world.database.collection::<Document>(name).aggregate(stages).await.unwrap();
        visited.push(words.try_next().await.unwrap().unwrap().get_str("word").unwrap().to_owned());
    }
    came_everywhere("mongodb", visited.iter().map(String::as_str), |visited, row| visited == row);
    assert!(tally.exact + tally.superset > 100, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_mixed_and_odd_fields_have_their_place() {
    let world = World::new("doc_column = true\n").await;
    let documents = vec![
        doc! { "_id": 1, "größe": "L", "mixed": 1, "later": Bson::Null, "o": { "a": 1 } },
        doc! { "_id": 2, "mixed": "one", "later": 2.5, "o": { "b": "x" } },
        doc! { "_id": 3, "mixed": Bson::Null, "later": 1, "o": Bson::Null },
    ];
    world.fill("odd", documents).await;
    let table = world.table("odd").await;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, ["_id", "größe", "mixed", "later", "o", "_doc"]);
    let rows = world.rows(&table, &["_id", "größe", "mixed", "later", "o"], Vec::new()).await;
    let expected = [
        ["1", "L", "1", "NULL", "{a: 1, b: NULL}"],
        ["2", "NULL", "\"one\"", "2.5", "{a: NULL, b: x}"],
        ["3", "NULL", "NULL", "1.0", "NULL"],
    ];
    assert_eq!(rows, expected);
    // The document column in the middle, and the same column set in another order.
    let rows = world.rows(&table, &["mixed", "_doc", "_id"], Vec::new()).await;
    let expected = "{\"_id\":1,\"größe\":\"L\",\"mixed\":1,\"later\":null,\"o\":{\"a\":1}}";
    assert!(rows.contains(&vec!["1".to_owned(), expected.to_owned(), "1".to_owned()]), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_a_value() {
    let world = World::new("on_mismatch = \"null\"\n").await;
    let hostile = ["{\"$gt\": \"\"}", "$where", "'; drop", "a'b\"c\\", "\u{0}x".trim_start_matches('\0')];
    let documents = hostile.iter().map(|text| doc! { "v": *text }).chain([doc! { "v": "plain" }]).collect();
    world.fill("hostile", documents).await;
    let table = world.table("hostile").await;
    let column = ordinal(&table, "v");
    for text in hostile {
        let Pushdown::Exact(pushed) = world.connector.pushdown(&table, &equals(column, text)) else { panic!("not exact") };
        let sent = world.connector.describe_scan(&table, &scan(&table, &["v"], vec![pushed.clone()]));
        assert!(!sent.contains("drop") && !sent.contains("$where"), "{sent}");
        assert_eq!(world.rows(&table, &["v"], vec![pushed]).await, [[text]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_views_validators_and_estimates_are_discovered() {
    let world = World::new("").await;
    let validator = doc! { "$jsonSchema": { "bsonType": "object", "properties": { "sku": { "bsonType": "string" }, "price": { "bsonType": "double" } } } };
    world.database.create_collection("goods").validator(validator).await.unwrap();
    let goods =
        world.fill("goods", vec![doc! { "sku": "a", "price": 1.0, "n": 1 }, doc! { "sku": "b", "price": 2.0, "n": 2 }]).await;
    let unique = IndexOptions::builder().unique(true).name("by_sku".to_owned()).build();
    goods.create_index(IndexModel::builder().keys(doc! { "sku": 1, "n": -1 }).options(unique).build()).await.unwrap();
    goods.create_index(IndexModel::builder().keys(doc! { "price": 1 }).build()).await.unwrap();
    let stage = vec![doc! { "$match": { "n": 2 } }, doc! { "$project": { "_id": 0 } }];
    world.database.create_collection("dear").view_on("goods").pipeline(stage).await.unwrap();
    world.fill("empty", Vec::new()).await;

    let table = world.table("goods").await;
    assert_eq!(table.kind, TableKind::Collection);
    assert_eq!(table.row_estimate, Some(2));
    assert_eq!(table.columns[ordinal(&table, "price")].field.pg_type(), PgType::FLOAT8);
    assert_eq!(table.primary_key.as_ref().unwrap().columns, [0]);
    let key = &table.unique_keys[0];
    assert_eq!((key.name.as_str(), key.columns.as_slice()), ("by_sku", &[ordinal(&table, "sku"), ordinal(&table, "n")][..]));
    assert_eq!(table.indexes.len(), 1);

    let view = world.table("dear").await;
    assert_eq!((view.kind, view.primary_key.is_none()), (TableKind::View, true));
    assert_eq!(world.rows(&view, &["sku", "n"], Vec::new()).await, [["b", "2"]]);
    let filter = vec![equals(ordinal(&view, "sku"), "a")];
    assert!(world.rows(&view, &["sku"], filter).await.is_empty());
    assert_eq!(row_count(&world.read(&view, &[], Vec::new()).await.unwrap()), 1);

    let empty = world.table("empty").await;
    assert!(world.rows(&empty, &["_id"], Vec::new()).await.is_empty());
    assert_eq!(row_count(&world.read(&empty, &[], Vec::new()).await.unwrap()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_identifies_documents_is_a_key() {
    let world = World::new("").await;
    let goods = world.fill("goods", vec![doc! { "a": 1, "b": "x", "c": 2, "l": [1, 2], "o": { "n": 1 } }, doc! { "a": 2 }]).await;
    let unique = |name: &str| IndexOptions::builder().unique(true).name(name.to_owned()).build();
    let folded = mongodb::options::Collation::builder().locale("en").build();
    let (mut sparse, mut partial, mut loose) = (unique("sparse"), unique("partial"), unique("folded"));
    sparse.sparse = Some(true);
    partial.partial_filter_expression = Some(doc! { "c": { "$gt": 1 } });
    loose.collation = Some(folded);
    for (keys, options) in [
        (doc! { "a": 1 }, unique("plain")),
        (doc! { "a": -1, "b": 1 }, unique("pair")),
        (doc! { "c": 1 }, sparse),
        (doc! { "c": -1 }, partial),
        (doc! { "b": 1 }, loose),
        (doc! { "o.n": 1 }, unique("deep")),
        (doc! { "l": 1 }, unique("elements")),
        (doc! { "b": "hashed" }, IndexOptions::builder().name("hashed".to_owned()).build()),
    ] {
        goods.create_index(IndexModel::builder().keys(keys).options(options).build()).await.unwrap();
    }
    let table = world.table("goods").await;
    let keys: Vec<(&str, bool)> = table.unique_keys.iter().map(|key| (key.name.as_str(), key.proven)).collect();
    // Fields may be missing, and a missing field is NULL: the planner may rely on none of them.
    assert_eq!(keys, [("plain", false), ("pair", false)]);
    assert!(table.indexes.is_empty(), "{:?}", table.indexes);
    assert!(table.primary_key.as_ref().is_some_and(|key| key.proven && key.columns == [0]));
    let series = doc! { "create": "series", "timeseries": { "timeField": "at" } };
    world.database.run_command(series).await.unwrap();
    for _ in 0..2 {
        // The server keeps nothing unique in a time series, its `_id` neither.
        world.database.collection("series").insert_one(doc! { "_id": 1, "at": DateTime::from_millis(0) }).await.unwrap();
    }
    let series = world.table("series").await;
    assert!(series.primary_key.as_ref().is_none_or(|key| !key.proven), "{:?}", series.primary_key);
    assert_eq!(world.rows(&series, &["_id"], Vec::new()).await, [["1"], ["1"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collations_do_not_change_answers() {
    let world = World::new("on_mismatch = \"null\"\n").await;
    let folded =
        mongodb::options::Collation::builder().locale("en").strength(mongodb::options::CollationStrength::Secondary).build();
    world.database.create_collection("words").collation(folded.clone()).await.unwrap();
    world.fill("words", vec![doc! { "w": "Ab" }, doc! { "w": "ab" }]).await;
    world.database.create_collection("seen").view_on("words").pipeline(Vec::new()).collation(folded).await.unwrap();
    let table = world.table("words").await;
    let predicate = equals(ordinal(&table, "w"), "ab");
    assert!(matches!(world.connector.pushdown(&table, &predicate), Pushdown::Exact(_)));
    assert_eq!(world.rows(&table, &["w"], vec![predicate]).await, [["ab"]]);
    let view = world.table("seen").await;
    let predicate = equals(ordinal(&view, "w"), "ab");
    assert!(matches!(world.connector.pushdown(&view, &predicate), Pushdown::Refused(_)));
    assert_eq!(world.rows(&view, &["w"], Vec::new()).await, [["Ab"], ["ab"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_the_store_file_that_the_server_does_not_have_are_told() {
    let options = "[collections.visits.columns]\nmood = \"text\"\nmodo = \"text\"\n[collections.visist]\nsample = 5\n\
                   [collections.\"elsewhere.visits\"]\nsample = 5\n";
    let world = World::new(options).await;
    world.fill("visits", vec![doc! { "_id": 1, "mood": "good" }]).await;
    let schema = world.connector.discover().await.unwrap();
    let unmet: Vec<String> = schema.unmet.iter().map(ToString::to_string).collect();
    let other = format!("{}_other", world.database.name());
    let [database, elsewhere, misspelt] = unmet.as_slice() else { panic!("{unmet:?}") };
    assert!(database.starts_with(&format!("databases: \"{other}\" is no database that the server tells of")), "{database}");
    assert_eq!(elsewhere, "collections.elsewhere.visits: names nothing that the store has");
    assert_eq!(misspelt, "collections.visist: names nothing that the store has; perhaps \"visits\"");
    let unseen: Vec<String> = schema.unseen.iter().map(ToString::to_string).collect();
    assert_eq!(unseen, ["collections.visits: \"modo\" is declared, and no document that was looked at has it"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_database_that_holds_nothing_is_served_and_told() {
    let world = World::new("").await;
    let schema = world.connector.discover().await.unwrap();
    assert!(!schema.tables.iter().any(|table| table.id.namespace == world.database.name()));
    let told = schema.unmet.first().map(ToString::to_string).unwrap();
    let expected = format!("database: \"{}\" is no database that the server tells of", world.database.name());
    assert!(told.starts_with(&expected), "{told}");
    world.fill("visits", vec![doc! { "_id": 1 }]).await;
    let schema = world.connector.discover().await.unwrap();
    assert!(!schema.unmet.iter().any(|problem| problem.path == "database"), "{:?}", schema.unmet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_databases_are_namespaces_and_samples_only_widen() {
    let world = World::new("").await;
    world.fill("here", vec![doc! { "a": 1 }]).await;
    let other = format!("{}_other", world.database.name());
    world.client.database(&other).collection("there").insert_one(doc! { "b": 1 }).await.unwrap();
    let schema = world.connector.discover().await.unwrap();
    assert!(schema.server_version.starts_with("MongoDB "));
    assert_eq!(schema.default_namespace, world.database.name());
    assert!(schema.tables.iter().any(|table| table.id.namespace == other && table.id.name == "there"));
    assert!(!schema.tables.iter().any(|table| ["admin", "local", "config"].contains(&table.id.namespace.as_str())));

    let here: Collection<Document> = world.database.collection("here");
    here.delete_many(doc! {}).await.unwrap();
    here.insert_one(doc! { "c": 1.5 }).await.unwrap();
    let table = world.table("here").await;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
    assert_eq!(names, ["_id", "a", "c"]);
    world.client.database(&other).drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_limits_and_batches_are_kept() {
    let world = World::new("on_mismatch = \"null\"\n").await;
    let documents =
        (0..25_000_i64).map(|number| doc! { "_id": number, "t": if number % 2 == 0 { "even" } else { "odd" } }).collect();
    world.fill("many", documents).await;
    let table = world.table("many").await;
    let filter = vec![equals(ordinal(&table, "t"), "odd")];
    let counted = world.read(&table, &[], filter.clone()).await.unwrap();
    assert_eq!(row_count(&counted), 12_500);
    assert!(counted.iter().all(|batch| batch.num_rows() <= ScanLimits::default().batch_rows && batch.num_columns() == 0));

    let branch = world.branch(1).await;
    for (limit, expected) in [(0, 0), (1, 1), (9_000, 9_000), (30_000, 25_000)] {
        for columns in [&["_id"][..], &[]] {
            let mut limited = scan(&table, columns, Vec::new());
            limited.limit = Some(limit);
            assert_eq!(row_count(&collect(&*branch, &table, limited).await.unwrap()), expected, "{limit} {columns:?}");
        }
    }
    let limits = ScanLimits { batch_rows: 1_000, batch_bytes: 1 << 20 };
    let batches: Vec<_> =
        branch.scan(&table, &scan(&table, &["t", "_id"], filter), limits).await.unwrap().try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 1_000));
    assert!((0..batches[0].num_rows()).all(|row| text(&batches[0], 0, row) == Some("odd")));
    assert_eq!(row_count(&batches), 12_500);
}

async fn ids(branch: &dyn tributary::stores::Branch, table: &Arc<tributary::stores::Table>) -> Vec<Vec<String>> {
    let mut rows = shown(&collect(branch, table, scan(table, &["_id"], Vec::new())).await.unwrap());
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_of_one_statement_share_a_snapshot() {
    let world = World::new("").await;
    let left = world.fill("left", vec![doc! { "_id": 1 }]).await;
    let right = world.fill("right", vec![doc! { "_id": 1 }]).await;
    let (left_table, right_table) = (world.table("left").await, world.table("right").await);
    for serial in [Serial::Write, Serial::Read, Serial::ReadDeferred] {
        let refused = world.connector.open(Purpose::Serializable(serial)).await.err().unwrap();
        assert_eq!(refused.sqlstate(), "0A000", "its transactions have snapshots, which is less");
    }
    for purpose in [Purpose::Statement { scans: 2 }, Purpose::Transaction { read_only: true, repeatable: true }] {
        let before = ids(&*world.branch(1).await, &left_table).await;
        let branch = world.connector.open(purpose).await.unwrap();
        assert_eq!(ids(&*branch, &left_table).await, before);
        let next = i32::try_from(before.len()).unwrap() + 1;
        left.insert_one(doc! { "_id": next }).await.unwrap();
        right.insert_one(doc! { "_id": next }).await.unwrap();
        assert_eq!(ids(&*branch, &right_table).await, before, "{purpose:?}");
        assert_eq!(ids(&*branch, &left_table).await, before, "{purpose:?}");
        assert_eq!(branch.shared_snapshot(), Ok(()));
        assert_eq!(branch.commit().await.unwrap(), None);
        assert_eq!(ids(&*world.branch(1).await, &right_table).await.len(), before.len() + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_scan_keeps_its_snapshot_through_all_batches() {
    let world = World::new("").await;
    let documents = (0..20_000_i64).map(|number| doc! { "_id": number, "v": 1 }).collect();
    let collection = world.fill("large", documents).await;
    let table = world.table("large").await;
    let branch = world.branch(1).await;
    let limits = ScanLimits { batch_rows: 1_000, batch_bytes: 1 << 20 };
    let mut stream = branch.scan(&table, &scan(&table, &["v"], Vec::new()), limits).await.unwrap();
    let first = stream.try_next().await.unwrap().unwrap();
    collection.update_many(doc! {}, doc! { "$set": { "v": 2 } }).await.unwrap();
    let rest: Vec<_> = stream.try_collect().await.unwrap();
    let rows: Vec<_> = shown(&[first]).into_iter().chain(shown(&rest)).collect();
    assert_eq!(rows.len(), 20_000);
    assert!(rows.iter().all(|row| row == &["1"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reads_one_state_and_ends() {
    let world = World::new("").await;
    let collection = world.fill("t", vec![doc! { "_id": 1 }]).await;
    let table = world.table("t").await;
    let purpose = Purpose::Transaction { read_only: false, repeatable: true };
    let branch = world.connector.open(purpose).await.unwrap();
    assert_eq!(ids(&*branch, &table).await.len(), 1);
    collection.insert_one(doc! { "_id": 2 }).await.unwrap();
    // A block that may write keeps its state too, and holds no transaction that the server would end after a minute.
    let open = doc! { "aggregate": 1, "pipeline": [doc! { "$currentOp": { "idleSessions": true } }, doc! { "$match": {
    "transaction": { "$exists": true }, "ns": format!("{}.t", world.database.name()) } }], "cursor": {} };
    let answer = world.client.database("admin").run_command(open).await.unwrap();
    assert!(answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap().is_empty());
    let (first, second) = tokio::join!(ids(&*branch, &table), ids(&*branch, &table));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(branch.commit().await.unwrap(), None);
    let branch = world.connector.open(purpose).await.unwrap();
    assert_eq!(ids(&*branch, &table).await.len(), 2);
    branch.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capped_collections_are_read_and_said_to_be_torn() {
    let world = World::new("").await;
    world.database.create_collection("log").capped(true).size(1 << 16).await.unwrap();
    world.fill("log", vec![doc! { "_id": 1 }, doc! { "_id": 2 }]).await;
    let table = world.table("log").await;
    for scans in [1, 2] {
        let branch = world.branch(scans).await;
        assert_eq!(ids(&*branch, &table).await.len(), 2);
        assert!(branch.shared_snapshot().is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_command_without_values() {
    let world = World::new("on_mismatch = \"null\"\n").await;
    world.fill("c", vec![doc! { "_id": 1, "name": "secret" }]).await;
    let table = world.table("c").await;
    let filter = vec![equals(ordinal(&table, "name"), "secret")];
    assert_eq!(
        world.connector.describe_scan(&table, &scan(&table, &["name"], filter.clone())),
        "{\"find\":\"c\",\"filter\":{\"name\":{\"$eq\":\"?\",\"$not\":{\"$type\":\"array\"}}},\"projection\":{\"name\":1,\"_id\":0},\
         \"collation\":{\"locale\":\"simple\"}}"
    );
    assert_eq!(
        world.connector.describe_scan(&table, &scan(&table, &[], filter.clone())),
        "{\"aggregate\":\"c\",\"pipeline\":[{\"$match\":{\"name\":{\"$eq\":\"?\",\"$not\":{\"$type\":\"array\"}}}},{\"$count\":\"n\"}],\
         \"collation\":{\"locale\":\"simple\"}}"
    );
    for columns in [&["name"][..], &[]] {
        let (_, values) = world.connector.describe_with_values(&table, &scan(&table, columns, filter.clone()));
        assert_eq!(values, " {\"parameters\":[\"secret\"]}");
    }
}
