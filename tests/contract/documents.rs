//! Documents in JSON columns, for every relational store alike: what is pushed against what the engine would find itself.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bigdecimal::BigDecimal;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::{self, Edit, Insert};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::relational::like;
use tributary::stores::value::Value;
use tributary::stores::{Connector, Predicate, Purpose, Pushdown, Scan, StoreError, Table};

/// The store file's lines for the table `docs (id, doc)`.
pub fn declared(on_mismatch: &str) -> String {
    format!(
        "[tables.docs]\ndocument = \"doc\"\nsample = 0\ninclude_document = true\non_mismatch = \"{on_mismatch}\"\n\
         [tables.docs.columns]\nt = \"text\"\ni = \"bigint\"\nf = \"double precision\"\nn = \"numeric\"\nb = \"boolean\"\n\
         l = \"bigint[]\"\ns = {{ a = \"bigint\", t = \"text\" }}\n\"odd'key\" = \"text\"\n"
    )
}

/// Adds rows to a table of [`declared`] by their fields, and gives a document as a scan reads it. What no field reads is refused.
pub async fn check_inserted(connector: &Arc<dyn Connector>, table: &Arc<Table>) -> String {
    let ordinal = |name: &str| table.columns.iter().position(|column| column.name() == name).unwrap();
    let once = async |edit: Edit| {
        assert_eq!(connector.accepts_edit(&edit), Ok(()));
        let branch = connector.open(Purpose::Once).await.unwrap();
        branch.edit(&edit, &CancellationToken::new()).await
    };
    let given: &[(&str, &[&str], &str)] =
        &[("t", &[], "a\"b"), ("n", &[], "1.50"), ("i", &[], "9007199254740993"), ("s", &["t"], "x"), ("odd'key", &[], "q")];
    let edited = once(new_row(connector, table, 1, given)).await.unwrap();
    assert_eq!((edited.rows, show(&edited.returned.unwrap())), (1, vec![vec!["a\"b".to_owned(), "1.5".to_owned()]]));
    assert_eq!(once(new_row(connector, table, 2, &[("s", &[], "{\"a\": 5}")])).await.unwrap().rows, 1);
    for (name, text) in [("s", "{\"a\": \"no number\"}"), ("s", "[]"), ("n", "NaN")] {
        let error = once(new_row(connector, table, 3, &[(name, &[], text)])).await.unwrap_err();
        assert!(matches!(error.sqlstate(), "22P02" | "22003"), "{text}: {error}");
    }
    let columns = ["id", "i", "s", "_doc"].map(ordinal).to_vec();
    let rows = show(&read(connector, table, columns, vec![]).await.unwrap());
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["1", "2"]));
    let first = rows.iter().find(|row| row[0] == "1").unwrap();
    assert_eq!(first[1..3], ["9007199254740993", "{a: ~, t: x}"]);
    first[3].clone()
}

/// An insertion of a row with these fields, by their columns and paths, which gives `t` and `n` back.
fn new_row(connector: &Arc<dyn Connector>, table: &Arc<Table>, id: i64, given: &[(&str, &[&str], &str)]) -> Edit {
    let ordinal = |name: &str| table.columns.iter().position(|column| column.name() == name).unwrap();
    let mut columns = vec![ordinal("id")];
    let mut paths: Vec<edit::Path> = vec![Vec::new()];
    let mut fields = vec![edit::field(&table.columns[columns[0]])];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![id]))];
    for (name, path, text) in given {
        let path: edit::Path = path.iter().map(|name| (*name).to_owned()).collect();
        let field = edit::field(&edit::part(table, ordinal(name), &path).unwrap());
        let texts: ArrayRef = Arc::new(StringArray::from(vec![*text]));
        arrays.push(cast(&texts, field.data_type()).unwrap());
        fields.push(field);
        columns.push(ordinal(name));
        paths.push(path);
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let (store, table, returning) = (connector.name().clone(), table.clone(), vec![ordinal("t"), ordinal("n")]);
    Edit::Insert(Insert { store, table, columns, paths, rows, conflict: None, returning })
}

/// What a column of JSON text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// Whatever is valid JSON.
    Any,
    /// Nothing that only readers of raw text meet.
    Plain,
}

const TEXTS: &[&str] = &[
    "",
    "a",
    "ab",
    "AB",
    "ab ",
    "ž",
    "it's",
    "a%b",
    "a_b",
    "b\\\\s",
    "x\\ny",
    "\\u0041b",
    "5",
    "true",
    "null",
    "日本\\ud83d\\ude00",
];
const INTEGERS: &[&str] =
    &["0", "5", "-5", "6", "5.0", "5e0", "50e-1", "1e2", "9007199254740993", "9223372036854775807", "-9223372036854775808", "-0"];
const NUMBERS: &[&str] =
    &["0.1", "1e-400", "5.5", "1.00000000000000000001", "0.30000000000000004", "18446744073709551615", "1e300"];
const STRAYS: &[&str] = &["\"stray\"", "true", "7", "7.25", "[1, 2]", "{\"a\": 5, \"t\": \"ab\"}", "[]", "{}", "[{\"a\": 5}]"];

fn one_of<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn fitting(rng: &mut StdRng, name: &str) -> String {
    match name {
        "t" | "odd'key" => format!("\"{}\"", one_of(rng, TEXTS)),
        "i" => one_of(rng, INTEGERS).to_owned(),
        "f" => one_of(rng, &["0", "5", "-5.5", "5.0", "0.1", "1e300", "0.30000000000000004", "1e-400"]).to_owned(),
        "n" => one_of(rng, &[INTEGERS, NUMBERS].concat()).to_owned(),
        "b" => one_of(rng, &["true", "false"]).to_owned(),
        "l" => one_of(rng, &["[]", "[1]", "[5, null]"]).to_owned(),
        _ => {
            let a = one_of(rng, &["\"a\": 5", "\"a\": 6", "\"a\": null", "\"x\": 1"]);
            let t = one_of(rng, &["\"t\": \"ab\"", "\"t\": \"a\"", "\"t\": null", "\"y\": 1"]);
            format!("{{{a}, {t}}}")
        }
    }
}

/// Documents as JSON text. `strays` adds values that fit no column, and texts that are no documents.
pub fn documents(seed: u64, count: usize, strays: bool, texts: Texts) -> Vec<Option<String>> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| document(&mut rng, strays, texts)).collect()
}

fn document(rng: &mut StdRng, strays: bool, texts: Texts) -> Option<String> {
    match rng.random_range(0..40) {
        0 => return None,
        1 if strays => {
            return Some(one_of(rng, &["null", "5", "\"t\"", "[]", "[{\"t\": \"ab\"}]", "{\"i\": 5, \"x\": 1e400}"]).to_owned());
        }
        _ => {}
    }
    let mut fields = Vec::new();
    for name in ["t", "i", "f", "n", "b", "l", "s", "odd'key"] {
        let times = if texts == Texts::Any && rng.random_ratio(1, 10) { 2 } else { 1 };
        for _ in 0..times {
            let value = match rng.random_range(0..10) {
                0 | 1 => continue,
                2 => "null".to_owned(),
                3 if strays => one_of(rng, STRAYS).to_owned(),
                _ => fitting(rng, name),
            };
            let key = if name == "t" && texts == Texts::Any && rng.random_ratio(1, 10) { "\\u0074" } else { name };
            fields.push(format!("\"{key}\": {value}"));
        }
    }
    if texts == Texts::Any && rng.random_ratio(1, 30) {
        fields.push("\"other\": \"\\u0000\"".to_owned());
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

/// Reads some columns of a table in a statement of its own.
pub async fn read(
    connector: &Arc<dyn Connector>,
    table: &Arc<Table>,
    columns: Vec<usize>,
    filter: Vec<Predicate>,
) -> Result<RecordBatch, StoreError> {
    let scan = Scan { store: connector.name().clone(), table: table.id.clone(), columns, filter, limit: None };
    let branch = connector.open(Purpose::Statement { scans: 1 }).await?;
    let limits = ScanLimits { batch_rows: 64, ..ScanLimits::default() };
    let batches: Vec<RecordBatch> = branch.scan(table, &scan, limits).await?.try_collect().await?;
    Ok(concat_batches(&table.project(&scan.columns), &batches).unwrap())
}

/// Every column of every row as text, `~` for NULL.
pub fn show(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("~");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}

fn place(table: &Table, path: &str) -> ColumnRef {
    let mut names = path.split('.');
    let first = names.next().unwrap();
    let column = table.columns.iter().position(|column| column.name() == first).unwrap_or_else(|| panic!("no column {first}"));
    ColumnRef { column, path: names.map(str::to_owned).collect() }
}

fn literals(path: &str) -> Vec<Value> {
    match path {
        "t" | "s.t" | "odd'key" => ["", "a", "ab", "AB", "ab ", "ž", "Ab", "it's", "5", "true", "b\\s", "日本😀"]
            .map(|text| Value::Text(text.to_owned()))
            .to_vec(),
        "i" | "s.a" => [0, 5, -5, 6, 1, 100, i64::MAX, i64::MIN, 9_007_199_254_740_992].map(Value::Int).to_vec(),
        "f" => [0.0, 5.0, -5.5, 0.1, 1e300, f64::MAX, f64::NAN, f64::INFINITY, 0.3].map(Value::Float).to_vec(),
        "n" => vec![
            Value::Decimal { unscaled: 1, scale: 1 },
            Value::Decimal { unscaled: 500, scale: 2 },
            Value::Decimal { unscaled: i128::from(u64::MAX), scale: 0 },
            Value::Numeric("1000000000000000000000".to_owned()),
        ],
        "b" => vec![Value::Bool(true), Value::Bool(false)],
        _ => Vec::new(),
    }
}

const PLACES: [&str; 9] = ["t", "i", "f", "n", "b", "l", "s.a", "s.t", "odd'key"];
const OPERATORS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// Every shape of condition on every column; a third of them, so that a run stays short, another third for another seed.
fn predicates(table: &Table, seed: u64) -> Vec<Predicate> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut all = every_predicate(table, rng);
    all.retain(|_| rng.random_ratio(1, 3));
    all
}

fn every_predicate(table: &Table, rng: &mut StdRng) -> Vec<Predicate> {
    let mut all = Vec::new();
    for path in PLACES {
        let column = place(table, path);
        all.extend([true, false].map(|negated| Predicate::IsNull { column: column.clone(), negated }));
        let values = literals(path);
        for value in &values {
            let of = |op| Predicate::Compare { column: column.clone(), op, value: value.clone() };
            all.extend(OPERATORS.map(of));
        }
        for negated in [true, false] {
            let some: Vec<Value> = values.iter().filter(|_| rng.random_bool(0.4)).cloned().collect();
            if !some.is_empty() {
                all.push(Predicate::In { column: column.clone(), values: some, negated });
            }
        }
        if matches!(path, "t" | "s.t") {
            for pattern in ["a%", "%b", "_b", "a\\%b", "", "%", "a\\_b", "%\\\\%", "ž", "_"] {
                for negated in [true, false] {
                    let (column, pattern) = (column.clone(), pattern.to_owned());
                    all.push(Predicate::Like { column, pattern, negated, case_insensitive: false });
                }
            }
        }
    }
    for _ in 0..40 {
        let parts: Vec<Predicate> = (0..3).map(|_| all[rng.random_range(0..all.len())].clone()).collect();
        all.push(if rng.random() { Predicate::And(parts) } else { Predicate::Or(parts) });
    }
    all
}

fn values_of(batch: &RecordBatch, column: &ColumnRef) -> (ArrayRef, Vec<bool>) {
    let mut array = Arc::clone(batch.column(column.column));
    let mut valid: Vec<bool> = (0..array.len()).map(|row| array.is_valid(row)).collect();
    for name in &column.path {
        array = Arc::clone(array.as_struct().column_by_name(name).unwrap());
        valid = valid.iter().enumerate().map(|(row, valid)| *valid && array.is_valid(row)).collect();
    }
    (array, valid)
}

fn order(array: &ArrayRef, row: usize, value: &Value) -> Ordering {
    let numeric = |text: &str| BigDecimal::from_str(text).unwrap();
    match (array.data_type(), value) {
        (DataType::Utf8, Value::Text(text)) => array.as_string::<i32>().value(row).as_bytes().cmp(text.as_bytes()),
        (DataType::Int64, Value::Int(number)) => array.as_primitive::<Int64Type>().value(row).cmp(number),
        (DataType::Float64, Value::Float(number)) => {
            let found = array.as_primitive::<Float64Type>().value(row);
            // NaN is equal to itself and above everything.
            found.partial_cmp(number).unwrap_or_else(|| found.is_nan().cmp(&number.is_nan()))
        }
        (DataType::Boolean, Value::Bool(truth)) => array.as_boolean().value(row).cmp(truth),
        (DataType::Utf8, Value::Decimal { unscaled, scale }) => {
            numeric(array.as_string::<i32>().value(row)).cmp(&BigDecimal::new((*unscaled).into(), i64::from(*scale)))
        }
        (DataType::Utf8, Value::Numeric(digits)) => numeric(array.as_string::<i32>().value(row)).cmp(&numeric(digits)),
        other => panic!("{other:?}"),
    }
}

fn is_like(text: &[char], parts: &[like::Part]) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((like::Part::Any, rest)) => (0..=text.len()).any(|skipped| is_like(&text[skipped..], rest)),
        Some((like::Part::One, rest)) => !text.is_empty() && is_like(&text[1..], rest),
        Some((like::Part::Exactly(wanted), rest)) => text.first() == Some(wanted) && is_like(&text[1..], rest),
    }
}

fn holds(op: Comparison, ordering: Ordering) -> bool {
    match op {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

/// For each row whether the predicate is true. Only what is true counts, because nothing here is negated as a whole.
fn truths(batch: &RecordBatch, predicate: &Predicate) -> Vec<bool> {
    let each = |column: &ColumnRef, test: &dyn Fn(&ArrayRef, usize) -> bool| {
        let (array, valid) = values_of(batch, column);
        valid.iter().enumerate().map(|(row, valid)| *valid && test(&array, row)).collect::<Vec<bool>>()
    };
    let joined = |parts: &[Predicate], all: bool| {
        let parts: Vec<Vec<bool>> = parts.iter().map(|part| truths(batch, part)).collect();
        let row_of = |row: usize| if all { parts.iter().all(|part| part[row]) } else { parts.iter().any(|part| part[row]) };
        (0..batch.num_rows()).map(row_of).collect()
    };
    match predicate {
        Predicate::Compare { column, op, value } => each(column, &|array, row| holds(*op, order(array, row, value))),
        Predicate::In { column, values, negated } => {
            each(column, &|array, row| values.iter().any(|value| order(array, row, value).is_eq()) != *negated)
        }
        Predicate::IsNull { column, negated } => values_of(batch, column).1.iter().map(|valid| valid == negated).collect(),
        Predicate::Like { column, pattern, negated, .. } => each(column, &|array, row| {
            let text: Vec<char> = array.as_string::<i32>().value(row).chars().collect();
            is_like(&text, &like::parts(pattern).unwrap()) != *negated
        }),
        Predicate::Rows(rows) => truths(batch, &rows.alternatives()),
        Predicate::And(parts) => joined(parts, true),
        Predicate::Or(parts) => joined(parts, false),
    }
}

fn kept(batch: &RecordBatch, predicate: &Predicate) -> BTreeSet<Vec<String>> {
    let truths = truths(batch, predicate);
    show(batch).into_iter().zip(truths).filter_map(|(row, keep)| keep.then_some(row)).collect()
}

/// Reads the table with every predicate that the store accepts, and demands what the engine would have kept of everything.
pub async fn check_pushed(connector: &Arc<dyn Connector>, table: &Arc<Table>, seed: u64) {
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let everything = read(connector, table, columns.clone(), vec![]).await.unwrap();
    let (mut pushed, mut rows) = (0, 0);
    for predicate in predicates(table, seed) {
        let accepted = match connector.pushdown(table, &predicate) {
            Pushdown::Refused(_) => continue,
            Pushdown::Exact(_) => panic!("{predicate:?} is claimed to be exact"),
            Pushdown::Superset(accepted) => accepted,
        };
        let found = read(connector, table, columns.clone(), vec![accepted])
            .await
            .unwrap_or_else(|error| panic!("{predicate:?}: {error:?}"));
        assert_eq!(kept(&found, &predicate), kept(&everything, &predicate), "{predicate:?}");
        pushed += 1;
        rows += found.num_rows();
    }
    assert!(pushed > 50, "only {pushed} predicates were pushed");
    assert!(rows < pushed * everything.num_rows() * 3 / 4, "{rows} rows of {pushed} reads: nothing is filtered");
}

/// Where a read of one column fails, the read with a condition on that column must fail too.
pub async fn check_errors(connector: &Arc<dyn Connector>, table: &Arc<Table>, seed: u64) {
    let mut failed = 0;
    let mut unfiltered = BTreeMap::new();
    for predicate in predicates(table, seed) {
        let (Predicate::Compare { column, .. } | Predicate::IsNull { column, .. } | Predicate::Like { column, .. }) = &predicate
        else {
            continue;
        };
        let Pushdown::Superset(accepted) = connector.pushdown(table, &predicate) else { continue };
        let without = match unfiltered.get(&column.column) {
            Some(fails) => *fails,
            None => read(connector, table, vec![column.column], vec![]).await.is_err(),
        };
        unfiltered.insert(column.column, without);
        let with = read(connector, table, vec![column.column], vec![accepted]).await;
        assert_eq!(without, with.is_err(), "{predicate:?}: {with:?}");
        failed += usize::from(with.is_err());
    }
    assert!(failed > 15, "only {failed} reads failed");
}
