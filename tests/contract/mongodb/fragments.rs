//! Parts of plans as pipelines: what they give is what the same computation gives over everything that a scan reads.

mod conditions;
mod groups;
mod joins;
mod values;

use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use bigdecimal::BigDecimal;
use futures::TryStreamExt;
use tributary::pgtype::{PgField, PgType};
use tributary::stores::connector::{Scan, ScanLimits};
use tributary::stores::fragment::{Aggregate, AggregateCall, Expression, Node, shapes};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{Fragment, Refusal, Relation, StoreError, StoreName, Table, Tables};

use super::World;

/// A value that compares as PostgreSQL compares it; `None` is NULL.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Number(BigDecimal),
    Text(String),
}

impl Cell {
    fn of(array: &ArrayRef, row: usize, pg_type: PgType) -> Self {
        if array.is_null(row) {
            return Self::Null;
        }
        match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::Timestamp(..) => Self::Int(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            DataType::Decimal128(..) => {
                let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
                Self::Number(BigDecimal::from_str(&text).unwrap())
            }
            _ if pg_type.oid == PgType::NUMERIC.oid => {
                Self::Number(BigDecimal::from_str(array.as_string::<i32>().value(row)).unwrap())
            }
            _ => Self::Text(array.as_string::<i32>().value(row).to_owned()),
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The order among values of one column; NULL is above all others.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => super::filters::floats(*left, *right),
            (Self::Number(left), Self::Number(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
            (left, right) => left.is_null().cmp(&right.is_null()),
        }
    }
}

fn order_rows(left: &[Cell], right: &[Cell]) -> Ordering {
    left.iter().zip(right).map(|(left, right)| left.order(right)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Whether two lists of rows are the same, in any order.
#[track_caller]
fn assert_same(mut found: Vec<Vec<Cell>>, mut expected: Vec<Vec<Cell>>, what: &str) {
    found.sort_by(|left, right| order_rows(left, right));
    expected.sort_by(|left, right| order_rows(left, right));
    let same = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(left, right)| left.len() == right.len() && order_rows(left, right).is_eq());
    assert!(same, "{what}\nfound    {found:?}\nexpected {expected:?}");
}

/// A world with its tables, and the fragments over them.
struct Room {
    world: World,
    tables: Tables,
}

impl Room {
    async fn new(world: World, names: &[&str]) -> Self {
        let mut tables = Tables::new();
        for name in names {
            let table = world.table(name).await;
            tables.insert(table.id.clone(), table);
        }
        Self { world, tables }
    }

    fn table(&self, name: &str) -> &Arc<Table> {
        self.tables.values().find(|table| table.id.name == name).unwrap()
    }

    /// All of a table's columns.
    fn all(&self, name: &str) -> Relation {
        let table = self.table(name);
        let columns = (0..table.columns.len()).collect();
        Relation::Table(Scan { store: StoreName::new("docs"), table: table.id.clone(), columns, filter: Vec::new(), limit: None })
    }

    fn column(&self, table: &str, name: &str) -> Expression {
        let table = self.table(table);
        let ordinal = super::ordinal(table, name);
        Expression::column(ordinal, table.columns[ordinal].pg_type())
    }

    fn accepts(&self, relation: &Relation) -> Result<(), Refusal> {
        self.world.connector.accepts(relation, &self.tables)
    }

    fn described(&self, relation: &Relation) -> String {
        self.world.connector.describe_fragment(&fragment(relation), &self.tables)
    }

    /// Runs a relation that must be accepted.
    async fn run(&self, relation: &Relation) -> Result<Vec<RecordBatch>, StoreError> {
        self.accepts(relation).unwrap_or_else(|refusal| panic!("{refusal}"));
        let branch = self.world.branch(1).await;
        let schema = self.schema(relation);
        let fragment = fragment(relation);
        let stream = branch.run(&fragment, &self.tables, &schema, ScanLimits::default()).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        assert!(batches.iter().all(|batch| batch.schema() == schema));
        Ok(batches)
    }

    /// The carriers of a relation's columns; of stored columns their own fields.
    fn schema(&self, relation: &Relation) -> SchemaRef {
        let fields = shapes(relation, &self.tables).into_iter().enumerate().map(|(place, shape)| {
            let stored = shape.origin.map(|origin| self.tables[&origin.table].columns[origin.column].field.clone());
            stored.unwrap_or_else(|| Field::new(format!("x{place}"), shape.pg_type.carrier(), true).with_pg_type(shape.pg_type))
        });
        Arc::new(Schema::new(fields.map(|field| field.with_nullable(true)).collect::<Vec<_>>()))
    }

    async fn rows(&self, relation: &Relation) -> Vec<Vec<Cell>> {
        let found = self.run(relation).await.unwrap_or_else(|error| panic!("{error:?}\n{}", self.described(relation)));
        let types: Vec<PgType> = shapes(relation, &self.tables).iter().map(|shape| shape.pg_type).collect();
        cells(&found, &types)
    }

    /// Everything that a scan reads.
    async fn read(&self, name: &str) -> Vec<RecordBatch> {
        let table = self.table(name);
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name()).collect();
        self.world.read(table, &columns, Vec::new()).await.unwrap()
    }
}

fn fragment(relation: &Relation) -> Fragment {
    Fragment::new(StoreName::new("docs"), relation.clone())
}

fn cells(batches: &[RecordBatch], types: &[PgType]) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().zip(types).map(|(array, pg_type)| Cell::of(array, row, *pg_type)).collect());
        }
    }
    rows
}

fn literal(pg_type: PgType, value: Option<Value>) -> Expression {
    Expression::new(pg_type, Node::Literal(value))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn filter(input: Relation, condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(input), condition }
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn call(aggregate: Aggregate, argument: Option<Expression>, pg_type: PgType) -> AggregateCall {
    AggregateCall { aggregate, argument, distinct: false, filter: None, pg_type }
}

fn grouped(input: Relation, groups: Vec<Expression>, calls: Vec<AggregateCall>) -> Relation {
    Relation::Aggregate { input: Box::new(input), groups, calls }
}

/// A condition of a scan over all columns of its table as an expression.
fn expression(table: &Table, predicate: &Predicate) -> Expression {
    let place = |reference: &ColumnRef| {
        let column = &table.columns[reference.column];
        let mut found = Expression::column(reference.column, column.pg_type());
        let mut field = column.field.clone();
        for name in &reference.path {
            let DataType::Struct(fields) = field.data_type() else { panic!("{field} is no document") };
            let inner = fields.iter().find(|field| field.name() == name).unwrap().as_ref().clone();
            found = Expression::new(inner.pg_type(), Node::Field { operand: Box::new(found), name: name.clone() });
            field = inner;
        }
        found
    };
    let constant = |subject: &Expression, value: &Value| literal(subject.pg_type, Some(value.clone()));
    let each = |parts: &[Predicate]| parts.iter().map(|part| expression(table, part)).collect();
    Expression::condition(match predicate {
        Predicate::And(parts) => Node::And(each(parts)),
        Predicate::Or(parts) => Node::Or(each(parts)),
        Predicate::Rows(rows) => return expression(table, &rows.alternatives()),
        Predicate::IsNull { column, negated } => Node::IsNull { operand: Box::new(place(column)), negated: *negated },
        Predicate::Compare { column, op, value } => {
            let left = place(column);
            let right = constant(&left, value);
            Node::Compare { op: *op, left: Box::new(left), right: Box::new(right) }
        }
        Predicate::In { column, values, negated } => {
            let subject = place(column);
            let list = values.iter().map(|value| constant(&subject, value)).collect();
            Node::In { subject: Box::new(subject), list, negated: *negated }
        }
        Predicate::Like { column, pattern, negated, case_insensitive } => {
            let pattern = literal(PgType::TEXT, Some(Value::Text(pattern.clone())));
            Node::Like {
                subject: Box::new(place(column)),
                pattern: Box::new(pattern),
                negated: *negated,
                case_insensitive: *case_insensitive,
            }
        }
    })
}
