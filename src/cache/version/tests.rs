//! What states are after changes and fills, what is read of them, and what breaks a copy.

mod compared;
mod costs;
mod differences;
mod histories;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use datafusion::scalar::ScalarValue;

use super::{Broken, TableVersion, refusal};
use crate::pgtype::{PgField, PgType};
use crate::stores::change::Operation::{self, Delete, Insert, Update, Upsert};
use crate::stores::change::builder::{Cell, RowsBuilder};
use crate::stores::change::{Rows, Shape};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Key, Table, TableKind};

/// What a change does not tell, and NULL.
const UNTOLD: &str = "?";
const NULL: &str = "NULL";

fn column(name: &str, pg_type: PgType, nullable: bool) -> Column {
    Column {
        field: Field::new(name, pg_type.carrier(), nullable).with_pg_type(pg_type),
        native_type: pg_type.to_string(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    }
}

/// Two columns of a key, one that large values are kept elsewhere of, and a number.
fn table() -> Table {
    let columns = vec![
        column("a", PgType::INT8, false),
        column("b", PgType::TEXT, false),
        column("note", PgType::TEXT, true),
        column("n", PgType::INT8, true),
    ];
    Table::plain("public", "t", columns)
}

fn shape_of(table: &Table) -> Arc<Shape> {
    Shape::of(table, vec![0, 1], vec![true, true, false, true])
}

fn empty() -> TableVersion {
    let table = Arc::new(table());
    TableVersion::empty(&table, &shape_of(&table)).unwrap()
}

fn cells<'a>(texts: &[&'a str]) -> Vec<Cell<'a>> {
    let cell = |text: &&'a str| match *text {
        UNTOLD => Cell::Unknown,
        NULL => Cell::Null,
        text => Cell::Text(text),
    };
    texts.iter().map(cell).collect()
}

fn push(builder: &mut RowsBuilder, operation: Operation, new: &[&str], old: Option<&[&str]>) -> u32 {
    let mut new = cells(new).into_iter();
    match old.map(cells) {
        Some(old) => builder.push(operation, &mut new, Some(&mut old.into_iter())).unwrap(),
        None => builder.push(operation, &mut new, None).unwrap(),
    }
}

/// One change: what it does, the new row and the old one.
type Change<'a> = (Operation, &'a [&'a str], Option<&'a [&'a str]>);

fn rows_of(shape: &Arc<Shape>, changes: &[Change<'_>]) -> Rows {
    let mut builder = RowsBuilder::new(shape);
    for (operation, new, old) in changes {
        push(&mut builder, *operation, new, *old);
    }
    builder.finish().unwrap()
}

fn apply(version: &TableVersion, changes: &[Change<'_>]) -> Result<TableVersion, Broken> {
    let rows = rows_of(version.shape(), changes);
    version.applied(&(0..).zip(changes).map(|(row, _)| (&rows, row)).collect::<Vec<_>>())
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let text = |column: &ArrayRef, row: usize| ScalarValue::try_from_array(column, row).unwrap().to_string();
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| text(column, row)).collect()).collect()
}

/// All rows, of which no two are equal, in order.
fn contents(version: &TableVersion, batch_rows: usize) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for batch in Arc::new(version.clone()).read(&[0, 1, 2, 3], batch_rows) {
        let batch = batch.unwrap();
        assert!(batch.num_rows() > 0 && batch.num_rows() <= batch_rows);
        for row in texts(&batch) {
            assert!(found.insert(row.clone()), "twice: {row:?}");
        }
    }
    found
}

fn expect(version: &TableVersion, rows: &[[&str; 4]]) {
    let expected: BTreeSet<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    assert_eq!(contents(version, 7), expected);
    assert_eq!(version.rows(), rows.len());
}

fn batch(rows: &[(i64, &str, Option<&str>, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(table().schema, columns).unwrap()
}

fn key_batch(keys: &[(i64, &str)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys.iter().map(|key| key.0).collect::<Int64Array>()),
        Arc::new(keys.iter().map(|key| Some(key.1)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(table().project(&[0, 1]), columns).unwrap()
}

#[test]
fn a_state_is_what_its_changes_left() {
    let first = apply(
        &empty(),
        &[
            (Insert, &["1", "x", "one", "10"], None),
            (Insert, &["2", "x", NULL, "20"], None),
            (Upsert, &["3", "x", "three", "30"], None),
            (Update, &["2", "x", "two", "21"], None),
            (Delete, &[], Some(&["1", "x"])),
        ],
    )
    .unwrap();
    expect(&first, &[["2", "x", "two", "21"], ["3", "x", "three", "30"]]);
    // What is there is inserted, and what is not is deleted: a fill has seen it.
    let overlapping: [Change<'_>; 2] = [(Insert, &["2", "x", "two", "22"], None), (Delete, &[], Some(&["9", "x"]))];
    let second = apply(&first, &overlapping).unwrap();
    expect(&second, &[["2", "x", "two", "22"], ["3", "x", "three", "30"]]);
    expect(&first, &[["2", "x", "two", "21"], ["3", "x", "three", "30"]]);
    // One that came and went within the step.
    let third = apply(&second, &[(Insert, &["5", "x", "", "1"], None), (Delete, &[], Some(&["5", "x"]))]).unwrap();
    expect(&third, &[["2", "x", "two", "22"], ["3", "x", "three", "30"]]);
    assert_eq!(apply(&third, &[]).unwrap().rows(), 2);
}

#[test]
fn cells_that_are_not_told_are_those_of_the_row_before() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "large", "1"], None), (Insert, &["2", "x", NULL, "2"], None)]).unwrap();
    let second = apply(
        &first,
        &[
            // Twice in one step: the second takes from the first.
            (Update, &["1", "x", UNTOLD, "11"], None),
            (Update, &["1", "x", UNTOLD, "12"], None),
            // NULL is a value.
            (Update, &["2", "x", UNTOLD, "22"], None),
            // Inserted and changed in one step.
            (Insert, &["3", "x", "third", "3"], None),
            (Update, &["3", "x", UNTOLD, "33"], None),
        ],
    )
    .unwrap();
    expect(&second, &[["1", "x", "large", "12"], ["2", "x", NULL, "22"], ["3", "x", "third", "33"]]);
    // With a move it is the row under the old key, and what the old row tells goes first.
    let third = apply(
        &second,
        &[
            (Update, &["4", "x", UNTOLD, "14"], Some(&["1", "x"])),
            (Update, &["5", "x", UNTOLD, "15"], Some(&["4", "x"])),
            (Update, &["6", "x", UNTOLD, "36"], Some(&["3", "x", "as told", "33"])),
        ],
    )
    .unwrap();
    expect(&third, &[["5", "x", "large", "15"], ["2", "x", NULL, "22"], ["6", "x", "as told", "36"]]);
}

#[test]
fn a_part_of_a_key_may_be_told_with_the_old_row_only() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "n", "1"], None)]).unwrap();
    let second = apply(&first, &[(Update, &["2", UNTOLD, "n", "2"], Some(&["1", "x"]))]).unwrap();
    expect(&second, &[["2", "x", "n", "2"]]);
}

#[test]
fn rows_exchange_their_keys() {
    let first = apply(
        &empty(),
        &[
            (Insert, &["1", "x", "one", "1"], None),
            (Insert, &["2", "x", "two", "2"], None),
            (Insert, &["3", "x", "three", "3"], None),
        ],
    )
    .unwrap();
    let two: [Change<'_>; 2] =
        [(Update, &["2", "x", UNTOLD, "1"], Some(&["1", "x"])), (Update, &["1", "x", UNTOLD, "2"], Some(&["2", "x"]))];
    let second = apply(&first, &two).unwrap();
    expect(&second, &[["2", "x", "one", "1"], ["1", "x", "two", "2"], ["3", "x", "three", "3"]]);
    // And back in another step.
    let third = apply(&second, &[two[1], two[0]]).unwrap();
    expect(&third, &[["1", "x", "one", "2"], ["2", "x", "two", "1"], ["3", "x", "three", "3"]]);
    let round = apply(
        &first,
        &[
            (Update, &["2", "x", "one", "1"], Some(&["1", "x"])),
            (Update, &["3", "x", "two", "2"], Some(&["2", "x"])),
            (Update, &["1", "x", "three", "3"], Some(&["3", "x"])),
        ],
    )
    .unwrap();
    expect(&round, &[["2", "x", "one", "1"], ["3", "x", "two", "2"], ["1", "x", "three", "3"]]);
    // Which of two rows goes here nobody can tell.
    let unclear: [Change<'_>; 2] = [(Update, &["2", "x", "one", "1"], Some(&["1", "x"])), (Delete, &[], Some(&["2", "x"]))];
    assert!(apply(&first, &unclear).unwrap_err().reason.contains("the same key"));
}

#[test]
fn a_key_that_is_taken_by_another_row_after_its_own_left_is_no_exchange() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "one", "1"], None), (Insert, &["2", "x", "two", "2"], None)]).unwrap();
    // As `id = id + 1` in falling order.
    let shifted: [Change<'_>; 3] = [
        (Update, &["3", "x", UNTOLD, "2"], Some(&["2", "x"])),
        (Update, &["2", "x", UNTOLD, "1"], Some(&["1", "x"])),
        (Insert, &["1", "x", "new", "0"], None),
    ];
    expect(&apply(&first, &shifted).unwrap(), &[["3", "x", "two", "2"], ["2", "x", "one", "1"], ["1", "x", "new", "0"]]);
    // Deleted, then taken.
    let replaced: [Change<'_>; 2] = [(Delete, &[], Some(&["2", "x"])), (Update, &["2", "x", UNTOLD, "9"], Some(&["1", "x"]))];
    expect(&apply(&first, &replaced).unwrap(), &[["2", "x", "one", "9"]]);
    // The old row is not here, so that the one there is the same row as a fill has seen it later.
    let seen = apply(&first, &[(Update, &["2", "x", "later", "7"], Some(&["8", "x"])), (Delete, &[], Some(&["2", "x"]))]).unwrap();
    expect(&seen, &[["1", "x", "one", "1"]]);
}

#[test]
fn what_the_copy_cannot_follow_breaks_it() {
    let first = apply(&empty(), &[(Insert, &["1", "x", "one", "1"], None)]).unwrap();
    let reason = |change: Change<'_>| apply(&first, &[change]).unwrap_err().reason;
    // Cells of a row that is not there, also where it was there until just now, and cells of a new row.
    assert!(reason((Update, &["2", "x", UNTOLD, "2"], None)).contains("neither told nor in the copy"));
    assert!(reason((Update, &["1", "x", UNTOLD, "2"], Some(&["7", "x"]))).contains("neither told nor in the copy"));
    assert!(reason((Insert, &["1", "x", UNTOLD, "2"], None)).contains("not told whole"));
    let gone: [Change<'_>; 2] = [(Delete, &[], Some(&["1", "x"])), (Update, &["1", "x", UNTOLD, "2"], None)];
    assert!(apply(&first, &gone).unwrap_err().reason.contains("neither told nor in the copy"));
    // A cell that every change tells as a rule: it is not known why this one does not.
    assert!(reason((Update, &["1", "x", "one", UNTOLD], None)).contains("neither told nor in the copy"));
    // Keys that are not told, and NULL in them.
    assert!(reason((Update, &["1", UNTOLD, "n", "2"], None)).contains("key was not told"));
    assert!(reason((Delete, &[], Some(&["1"]))).contains("key was not told"));
    assert!(reason((Insert, &[NULL, "x", "n", "2"], None)).contains("NULL in its key"));
    assert!(reason((Delete, &[], Some(&["1", NULL]))).contains("NULL in its key"));
    // Another shape, and rows that are not there.
    let mut other = table();
    other.columns[3].native_type = "something else".to_owned();
    let rows = rows_of(&shape_of(&other), &[(Insert, &["2", "x", "n", "1"], None)]);
    assert!(first.applied(&[(&rows, 0)]).unwrap_err().reason.contains("other columns"));
    let rows = rows_of(first.shape(), &[(Insert, &["2", "x", "n", "1"], None)]);
    assert!(first.applied(&[(&rows, 1)]).unwrap_err().reason.contains("not there"));
    expect(&first, &[["1", "x", "one", "1"]]);
}

#[test]
fn what_is_left_out_of_a_document_is_not_taken_from_the_copy() {
    let mut table = table();
    table.kind = TableKind::Collection;
    let table = Arc::new(table);
    // Documents are told whole as a rule, and not where their image was lost.
    let shape = Shape::of(&table, vec![0, 1], vec![true; 4]);
    let first = TableVersion::empty(&table, &shape).unwrap();
    let first = apply(&first, &[(Insert, &["1", "x", "one", "1"], None)]).unwrap();
    let partial: Change<'_> = (Update, &["1", "x", UNTOLD, "2"], Some(&["1", "x", "one", "1"]));
    assert!(apply(&first, &[partial]).unwrap_err().reason.contains("not told whole"));
}

#[test]
fn fills_put_rows_in_the_place_of_those_that_are_there() {
    let first = empty().filled(&batch(&[(1, "x", Some("one"), 1), (2, "x", None, 2), (1, "x", Some("again"), 3)])).unwrap();
    expect(&first, &[["1", "x", "again", "3"], ["2", "x", NULL, "2"]]);
    let second = first.filled(&batch(&[(2, "x", Some("two"), 2), (3, "y", None, 0)])).unwrap();
    expect(&second, &[["1", "x", "again", "3"], ["2", "x", "two", "2"], ["3", "y", NULL, "0"]]);
    assert!(second.filled(&batch(&[]).project(&[0, 1]).unwrap()).is_err());
    assert_eq!(second.filled(&batch(&[])).unwrap().rows(), 3);
}

#[test]
fn rows_of_other_types_and_null_where_there_is_none_do_not_fit() {
    let table = Table::plain("public", "t", vec![column("a", PgType::INT8, false), column("b", PgType::INT8, false)]);
    let table = Arc::new(table);
    let version = TableVersion::empty(&table, &Shape::of(&table, vec![0], vec![true; 2])).unwrap();
    let loose = |array: ArrayRef| {
        let fields = vec![Field::new("a", PgType::INT8.carrier(), true), Field::new("b", array.data_type().clone(), true)];
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![keys, array]).unwrap()
    };
    let of_another_type = version.filled(&loose(Arc::new(StringArray::from(vec!["1"])))).unwrap_err();
    assert!(of_another_type.reason.contains("\"b\" came as Utf8"), "{of_another_type}");
    let null = version.filled(&loose(Arc::new(Int64Array::from(vec![None::<i64>])))).unwrap_err();
    assert!(null.reason.contains("cannot be put together"), "{null}");
    assert_eq!(version.filled(&loose(Arc::new(Int64Array::from(vec![2])))).unwrap().rows(), 1);
}

#[test]
fn zeros_are_one_key_and_so_is_what_is_no_number() {
    let table = Arc::new(Table::plain("public", "t", vec![column("k", PgType::FLOAT8, false)]));
    let shape = Shape::of(&table, vec![0], vec![true]);
    let floats = |values: &[f64]| {
        RecordBatch::try_new(Arc::clone(&table.schema), vec![Arc::new(Float64Array::from(values.to_vec()))]).unwrap()
    };
    let odd = f64::from_bits(f64::NAN.to_bits() | 1);
    let version = TableVersion::empty(&table, &shape).unwrap().filled(&floats(&[0.0, -0.0, f64::NAN, odd, -odd, 1.0])).unwrap();
    assert_eq!(version.rows(), 3);
    assert_eq!(version.look_up(&floats(&[-0.0, 0.0, odd, 2.0]), &[0]).unwrap().num_rows(), 2);
    let gone = apply(&version, &[(Delete, &[], Some(&["-0"])), (Delete, &[], Some(&["NaN"]))]).unwrap();
    assert_eq!(gone.rows(), 1);
}

#[test]
fn rows_are_found_by_their_keys_once_each_and_in_their_order() {
    let long = "a key that is longer than what is kept in place";
    let rows: Vec<(i64, &str, Option<&str>, i64)> = (0..500).map(|n| (n, "x", Some("note"), n * 2)).collect();
    let version = empty().filled(&batch(&rows)).unwrap().filled(&batch(&[(1, long, None, 7)])).unwrap();
    let keys = key_batch(&[(499, "x"), (1, long), (3, "y"), (0, "x"), (499, "x"), (1, "x")]);
    let found = version.look_up(&keys, &[3, 0]).unwrap();
    assert_eq!(texts(&found), [["998", "499"], ["7", "1"], ["0", "0"], ["2", "1"]]);
    assert_eq!(found.schema().as_ref(), table().project(&[3, 0]).as_ref());
    assert_eq!([0, 1, 2, 6].map(|row| version.has(&keys, row).unwrap()), [true, true, false, false]);
    // One row, none, and no columns.
    assert_eq!(texts(&version.look_up(&key_batch(&[(7, "x")]), &[1, 3]).unwrap()), [["x", "14"]]);
    assert_eq!(version.look_up(&key_batch(&[(7, "z")]), &[1, 3]).unwrap().num_rows(), 0);
    assert_eq!(version.look_up(&keys, &[]).unwrap().num_rows(), 4);
    assert!(version.look_up(&batch(&[(1, "x", None, 1)]), &[0]).is_err() && version.look_up(&keys, &[9]).is_err());
    // Counting needs no columns either, and a table without such a column has no batches.
    let version = Arc::new(version);
    assert_eq!(version.read(&[], 64).map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 501);
    assert!(version.read(&[9], 64).all(|batch| batch.is_err()));
}

/// The number of the row that a key has.
fn number_of(version: &TableVersion, id: i64) -> Option<u64> {
    version.number_of(key_batch(&[(id, "x")]).columns()).unwrap()
}

/// The key and the number in the row that lies there.
fn row_at(version: &TableVersion, number: u64) -> (i64, i64) {
    let (columns, place) = version.at(number).unwrap();
    assert_eq!(columns.len(), 4);
    let value = |column: usize| columns[column].as_any().downcast_ref::<Int64Array>().unwrap().value(place);
    (value(0), value(3))
}

#[test]
fn a_row_lies_where_its_number_says_whatever_has_died_around_it() {
    const KEYS: i64 = 23;
    let (mut version, mut known) = (empty(), BTreeMap::new());
    for step in 0..600_i64 {
        let (id, is_gone) = (step * 7 % KEYS, step % 3 == 0 || (300..340).contains(&step));
        let (id_text, n) = (id.to_string(), step.to_string());
        if is_gone {
            version = apply(&version, &[(Delete, &[], Some(&[id_text.as_str(), "x"]))]).unwrap();
            known.remove(&id);
        } else {
            version = apply(&version, &[(Upsert, &[id_text.as_str(), "x", NULL, n.as_str()], None)]).unwrap();
            known.insert(id, step);
        }
        for id in 0..KEYS {
            let found = number_of(&version, id).map(|number| row_at(&version, number));
            assert_eq!(found, known.get(&id).map(|n| (id, *n)), "step {step}, key {id}");
        }
    }
    assert!(!known.is_empty());
}

#[test]
fn a_row_of_a_state_stays_where_it_is_while_later_ones_lose_it() {
    let rows: Vec<(i64, &str, Option<&str>, i64)> = (0..500).map(|n| (n, "x", None, n * 2)).collect();
    let held = empty().filled(&batch(&rows)).unwrap();
    let number = number_of(&held, 7).unwrap();
    let mut later = held.clone();
    // Most of the rows die, so that what is left of them is put together anew.
    for id in (0..490_i64).filter(|id| *id != 300) {
        let id = id.to_string();
        later = apply(&later, &[(Delete, &[], Some(&[id.as_str(), "x"]))]).unwrap();
    }
    assert_eq!((number_of(&later, 7), row_at(&held, number)), (None, (7, 14)));
    assert_eq!(number_of(&later, 300).map(|number| row_at(&later, number)), Some((300, 600)));
    // Under NULL there is no row, and a key of other columns is none.
    let none: [ArrayRef; 2] = [Arc::new(Int64Array::from(vec![None::<i64>])), Arc::new(StringArray::from(vec!["x"]))];
    assert_eq!(later.number_of(&none).unwrap(), None);
    assert!(later.number_of(&none[1..]).is_err());
}

#[test]
fn tables_that_could_not_be_followed_are_refused() {
    let table = table();
    assert_eq!(refusal(&table, &shape_of(&table)), None);
    let refused = |table: &Table, shape: &Shape| {
        let reason = refusal(table, shape).unwrap();
        assert!(TableVersion::empty(&Arc::new(table.clone()), &Arc::new(shape_like(shape))).is_err());
        reason
    };
    assert!(refused(&table, &Shape::of(&table, Vec::new(), vec![true; 4])).contains("no key"));
    let mut other = table.clone();
    other.columns.pop();
    assert!(refused(&other, &shape_of(&table)).contains("columns are not those"));
    // What the store computes is told by no change, unless it is always told.
    let mut computed = table.clone();
    computed.columns[2].generated = Generated::Always;
    assert!(refused(&computed, &shape_of(&computed)).contains("computes the column \"note\""));
    assert_eq!(refusal(&computed, &Shape::of(&computed, vec![0, 1], vec![true; 4])), None);
    let mut documents = table.clone();
    documents.kind = TableKind::Collection;
    assert!(refused(&documents, &shape_of(&documents)).contains("changeStreamPreAndPostImages"));
    assert_eq!(refusal(&documents, &Shape::of(&documents, vec![0, 1], vec![true; 4])), None);
    // Many numbers are true, unless the key is known to tell rows apart as it is read.
    let mut truths = Table::plain("d", "t", vec![column("k", PgType::BOOL, false)]);
    let shape = Shape::of(&truths, vec![0], vec![true]);
    assert!(refused(&truths, &shape).contains("read as one"));
    truths.primary_key = Some(Key { name: "PRIMARY".to_owned(), columns: vec![0], proven: true });
    assert_eq!(refusal(&truths, &shape), None);
    let floats = Table::plain("d", "t", vec![column("k", PgType::FLOAT8.array().unwrap(), false)]);
    assert!(refused(&floats, &Shape::of(&floats, vec![0], vec![true])).contains("told apart"));
}

/// The same shape once more: they are not cloned elsewhere.
fn shape_like(shape: &Shape) -> Shape {
    Shape {
        id: shape.id.clone(),
        schema: Arc::clone(&shape.schema),
        key: shape.key.clone(),
        always_known: shape.always_known.clone(),
        unseen: None,
        digest: shape.digest,
    }
}
