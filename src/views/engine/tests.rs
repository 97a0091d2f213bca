//! Results that machines keep up to date, against the same query over tables with the same rows after every step.

mod costs;
mod errors;
mod kinds;
mod random;
mod typed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::SchemaProvider;
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::TableScan;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

use super::{Broken, Change, InputChange, InputId, Kind, Machine, Program, program};
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::views::output::Output;

/// A row of a table.
type Row = Vec<ScalarValue>;
/// Rows as texts, with how often each is there.
type Counted = BTreeMap<Vec<String>, i64>;

/// A table with its rows by their keys, which are the first column.
struct Table {
    name: &'static str,
    schema: SchemaRef,
    rows: BTreeMap<i64, Row>,
    /// Rows that left and came since the last step.
    removed: Vec<Row>,
    added: Vec<Row>,
}

impl Table {
    fn new(name: &'static str, fields: Vec<Field>) -> Self {
        let (rows, removed, added) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { name, schema: Arc::new(Schema::new(fields)), rows, removed, added }
    }

    /// Puts a row under a key, or takes the one there away.
    fn put(&mut self, key: i64, row: Option<Row>) {
        let before = match row {
            Some(row) => {
                self.added.push(row.clone());
                self.rows.insert(key, row)
            }
            None => self.rows.remove(&key),
        };
        // One that came in this step has never been there.
        if let Some(before) = before {
            match self.added.iter().position(|row| *row == before).filter(|_| self.rows.get(&key) != Some(&before)) {
                Some(place) => drop(self.added.remove(place)),
                None => self.removed.push(before),
            }
        }
    }

    fn batch(&self, rows: &[Row]) -> RecordBatch {
        batch(&self.schema, rows)
    }

    fn provider(&self) -> Arc<MemTable> {
        let rows: Vec<Row> = self.rows.values().cloned().collect();
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![vec![self.batch(&rows)]]).unwrap();
        Arc::new(table.with_constraints(Constraints::new_unverified(vec![Constraint::PrimaryKey(vec![0])])))
    }
}

fn batch(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    if rows.is_empty() {
        return RecordBatch::new_empty(Arc::clone(schema));
    }
    let column = |at: usize| ScalarValue::iter_to_array(rows.iter().map(|row| row[at].clone())).unwrap();
    let columns: Vec<ArrayRef> = (0..schema.fields().len()).map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn plain() -> SessionState {
    let config = SessionConfig::new().with_target_partitions(1);
    SessionStateBuilder::new().with_config(config).with_default_features().build()
}

/// A query with what keeps its result up to date.
struct View {
    sql: String,
    machine: Machine,
    output: Output,
    kept: Counted,
}

/// Tables, and queries over them.
struct Stage {
    state: SessionState,
    tables: Vec<Table>,
    views: Vec<View>,
}

fn id_of(scan: &TableScan) -> Option<InputId> {
    let table = TableId { namespace: "public".to_owned(), name: scan.table_name.table().to_owned() };
    Some(InputId { store: StoreName::new("s"), table })
}

fn counted(batches: &[RecordBatch]) -> Counted {
    let mut found = Counted::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = |column: &ArrayRef| format!("{:?}", ScalarValue::try_from_array(column, row).unwrap());
            *found.entry(batch.columns().iter().map(text).collect()).or_default() += 1;
        }
    }
    found
}

impl Stage {
    fn new(state: SessionState, tables: Vec<Table>) -> Self {
        let stage = Self { state, tables, views: Vec::new() };
        stage.register();
        stage
    }

    /// Makes the tables' rows of now those that queries read.
    fn register(&self) {
        let schema: Arc<dyn SchemaProvider> = self.state.schema_for_ref("any").unwrap();
        for table in &self.tables {
            schema.deregister_table(table.name).unwrap();
            schema.register_table(table.name.to_owned(), table.provider()).unwrap();
        }
    }

    async fn kind(&self, sql: &str) -> Kind {
        let plan = self.state.create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        program(&self.state.optimize(&plan).unwrap(), &self.state, &id_of)
    }

    async fn program(&self, sql: &str) -> Program {
        match self.kind(sql).await {
            Kind::Incremental(program) => program,
            Kind::Whole { reason } => panic!("{sql}: {reason}"),
        }
    }

    async fn add(&mut self, sql: &str) {
        let program = self.program(sql).await;
        let id = TableId { namespace: "public".to_owned(), name: "view".to_owned() };
        let output = Output::new(id, program.schema(), program.key().as_deref()).unwrap();
        let machine = Machine::new(Arc::new(program));
        self.views.push(View { sql: sql.to_owned(), machine, output, kept: Counted::new() });
    }

    /// What a query gives over the rows of now.
    async fn answer(&self, sql: &str) -> Result<Vec<RecordBatch>, Broken> {
        let plan = self.state.create_logical_plan(sql).await?;
        let physical = self.state.create_physical_plan(&plan).await?;
        Ok(collect(physical, self.state.task_ctx()).await?)
    }

    /// Takes one step with all that has changed, which must make every view what its query gives.
    async fn step(&mut self) {
        self.register();
        for at in 0..self.views.len() {
            let answer = self.answer(&self.views[at].sql).await.unwrap();
            let changes = changes(&self.tables, self.views[at].machine.inputs());
            let view = &mut self.views[at];
            let change = view.machine.step(&changes).unwrap_or_else(|broken| panic!("{}: {broken}", view.sql));
            view.check(&change, &answer);
        }
        for table in &mut self.tables {
            table.removed.clear();
            table.added.clear();
        }
    }
}

/// What has changed in the inputs of a machine.
fn changes(tables: &[Table], inputs: &[super::Input]) -> Vec<InputChange> {
    let of = |(at, input): (usize, &super::Input)| {
        let table = tables.iter().find(|table| table.name == input.id.table.name).unwrap();
        // In several batches, as fills give them.
        let batches = |rows: &[Row]| rows.chunks(3).map(|rows| table.batch(rows).project(&input.columns).unwrap()).collect();
        InputChange { input: at, removed: batches(&table.removed), added: batches(&table.added) }
    };
    inputs.iter().enumerate().map(of).collect()
}

impl View {
    fn check(&mut self, change: &Change, answer: &[RecordBatch]) {
        let (left, came) = (counted(&change.removed), counted(&change.added));
        assert!(left.keys().all(|row| !came.contains_key(row)), "{}: rows both left and came", self.sql);
        for (row, times) in left {
            let kept = self.kept.entry(row.clone()).or_default();
            *kept -= times;
            assert!(*kept >= 0, "{}: {row:?} left and was not there", self.sql);
        }
        for (row, times) in came {
            *self.kept.entry(row).or_default() += times;
        }
        self.kept.retain(|_, times| *times != 0);
        assert_eq!(self.kept, counted(answer), "{}", self.sql);
        let types =
            |batch: &RecordBatch| batch.columns().iter().map(|column| column.data_type().clone()).collect::<Vec<DataType>>();
        if let (Some(given), Some(answered)) = (change.added.first(), answer.first()) {
            assert_eq!(types(given), types(answered), "{}", self.sql);
        }
        self.output.apply(change).unwrap_or_else(|broken| panic!("{}: {broken}", self.sql));
        let columns: Vec<usize> = (0..self.output.schema().fields().len()).collect();
        let read: Vec<RecordBatch> = self.output.version().read(&columns, 5).map(Result::unwrap).collect();
        assert_eq!(counted(&read), self.kept, "{}", self.sql);
        let key = self.machine.key().unwrap_or_default();
        if !key.is_empty() {
            let keys: BTreeSet<Vec<&String>> =
                self.kept.keys().map(|row| key.iter().map(|column| &row[*column]).collect()).collect();
            let rows: i64 = self.kept.values().sum();
            assert_eq!(keys.len() as i64, rows, "{}: {key:?} is no key", self.sql);
        }
    }
}

/// Two tables whose second refers to the first, as no foreign key makes it.
fn two_tables() -> Vec<Table> {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, name != "id");
    vec![
        Table::new(
            "a",
            vec![
                field("id", DataType::Int64),
                field("g", DataType::Utf8),
                field("n", DataType::Int32),
                field("d", DataType::Decimal128(10, 2)),
                field("ok", DataType::Boolean),
            ],
        ),
        Table::new(
            "b",
            vec![
                field("id", DataType::Int64),
                field("a_id", DataType::Int64),
                field("v", DataType::Int32),
                field("s", DataType::Utf8),
            ],
        ),
    ]
}

fn int(value: impl Into<Option<i64>>) -> ScalarValue {
    ScalarValue::Int64(value.into())
}

fn small(value: impl Into<Option<i32>>) -> ScalarValue {
    ScalarValue::Int32(value.into())
}

fn text<'a>(value: impl Into<Option<&'a str>>) -> ScalarValue {
    ScalarValue::Utf8(value.into().map(str::to_owned))
}

fn decimal(value: impl Into<Option<i128>>) -> ScalarValue {
    ScalarValue::Decimal128(value.into(), 10, 2)
}

fn truth(value: impl Into<Option<bool>>) -> ScalarValue {
    ScalarValue::Boolean(value.into())
}
