//! Parts of plans: what a store accepts is run there and on PostgreSQL, which holds the same rows, and must give the same rows or the
//! same error.

mod plans;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::pgtype::{PgField, PgType};
use tributary::stores::connector::ScanLimits;
use tributary::stores::fragment::shapes;
use tributary::stores::value::Value;
use tributary::stores::{Connector, Fragment, Relation, StoreError, Table, Tables};

use super::oracle;
use super::reading::{self, ALONE};
use super::sample;
use super::world::{BIG, Kind, Sample, World, until};
use super::worlds::postgres;
use plans::Plan;

pub async fn check(world: &dyn World) {
    let kinds = world.kinds();
    let all = sample::of_kinds(world, "kinds", &kinds);
    // Some of the same values, in another order, beside other keys.
    let rows = all.rows.iter().rev().step_by(2).cloned().collect();
    let some = Sample { table: "others".to_owned(), rows, ..all.clone() };
    let server = postgres::start().await;
    let (here, there) = (Side::new(world, &[&all, &some]).await, Side::new(&*server, &[&all, &some]).await);
    for (plan, oracle) in plans::all(&here, &kinds).into_iter().zip(plans::all(&there, &kinds)) {
        let accepted = here.accepts(&plan.relation).is_ok();
        if let Some(expected) = world.runs(&plan.name) {
            assert_eq!(accepted, expected, "{}: {:?}", plan.name, here.accepts(&plan.relation));
        }
        if accepted && there.accepts(&oracle.relation).is_ok() {
            let (found, wanted) = (here.outcome(&plan).await, there.outcome(&oracle).await);
            assert_eq!(found, wanted, "{}\n{}", plan.name, here.shown(&plan.relation));
        }
    }
    a_dropped_part_stops(world).await;
    a_changed_table_is_told(world, &here).await;
}

/// One store with the tables `kinds` and `others`.
pub struct Side {
    connector: Arc<dyn Connector>,
    key: &'static str,
    pub tables: [Arc<Table>; 2],
    known: Tables,
}

impl Side {
    async fn new(world: &dyn World, samples: &[&Sample; 2]) -> Self {
        for sample in samples {
            world.make(sample).await;
        }
        let connector = world.open("");
        let tables = [
            reading::table(&connector, &world.namespace(), &samples[0].table).await,
            reading::table(&connector, &world.namespace(), &samples[1].table).await,
        ];
        let known = tables.iter().map(|table| (table.id.clone(), table.clone())).collect();
        Self { connector, key: world.key(), tables, known }
    }

    pub fn store(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// The ordinal of the column of a kind, or of the key.
    pub fn ordinal(&self, kind: Option<Kind>) -> usize {
        let name = kind.map_or_else(|| self.key.to_owned(), Kind::column);
        self.tables[0].columns.iter().position(|column| column.name() == name).unwrap()
    }

    fn accepts(&self, relation: &Relation) -> Result<(), String> {
        accepts(&self.connector, relation, &self.known)
    }

    fn shown(&self, relation: &Relation) -> String {
        self.connector.describe_fragment(&self.fragment(relation), &self.known)
    }

    fn fragment(&self, relation: &Relation) -> Fragment {
        Fragment::new(self.connector.name().clone(), relation.clone())
    }

    async fn run(&self, relation: &Relation) -> Result<Vec<RecordBatch>, StoreError> {
        let branch = self.connector.open(ALONE).await?;
        let schema = schema(relation, &self.known);
        let stream = branch.run(&self.fragment(relation), &self.known, &schema, ScanLimits::default()).await?;
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        assert!(batches.iter().all(|batch| batch.schema() == schema), "batches are of another schema");
        Ok(batches)
    }

    /// The rows as texts, in their order where the plan has one; or the SQLSTATE.
    async fn outcome(&self, plan: &Plan) -> Result<Vec<String>, String> {
        let batches = self.run(&plan.relation).await.map_err(|error| match error {
            StoreError::Remote { .. } | StoreError::Value { .. } => error.sqlstate().to_owned(),
            other => panic!("{}: {other:?}\n{}", plan.name, self.shown(&plan.relation)),
        })?;
        let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
        if !plan.ordered {
            rows.sort();
        }
        Ok(rows)
    }
}

/// Whether a store accepts every node.
fn accepts(connector: &Arc<dyn Connector>, relation: &Relation, tables: &Tables) -> Result<(), String> {
    let mut answer = Ok(());
    relation.visit(&mut |node| {
        if let (Ok(()), Err(refusal)) = (&answer, connector.accepts(node, tables)) {
            answer = Err(refusal.to_string());
        }
    });
    answer
}

/// The columns of a relation in the carriers of their types. Names and types that only a store knows are not the plan's.
fn schema(relation: &Relation, tables: &Tables) -> SchemaRef {
    let field = |(place, pg_type): (usize, PgType)| Field::new(format!("f{place}"), pg_type.carrier(), true).with_pg_type(pg_type);
    let types = shapes(relation, tables).into_iter().map(|shape| shape.pg_type);
    Arc::new(Schema::new(types.enumerate().map(field).collect::<Vec<_>>()))
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let cell = |row: usize, column: usize| {
        let pg_type = batch.schema().field(column).pg_type();
        let value = oracle::value(batch.column(column), row, pg_type).map(|value| value.expect("a value of a known carrier"));
        match value {
            // Which of two equal values stands for a group is not said.
            Some(Value::Float(0.0)) => "Float(0.0)".to_owned(),
            Some(value) => format!("{value:?}"),
            None => "NULL".to_owned(),
        }
    };
    (0..batch.num_rows())
        .map(|row| (0..batch.num_columns()).map(|column| cell(row, column)).collect::<Vec<_>>().join(", "))
        .collect()
}

async fn a_dropped_part_stops(world: &dyn World) {
    world.make_big().await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "big").await;
    let tables: Tables = [(table.id.clone(), table.clone())].into();
    let relation = plans::unfiltered(&connector, &table);
    if accepts(&connector, &relation, &tables).is_err() {
        return;
    }
    let fragment = Fragment::new(connector.name().clone(), relation);
    let schema = schema(&fragment.root, &tables);
    let branch = connector.open(ALONE).await.unwrap();
    let mut stream = branch.run(&fragment, &tables, &schema, ScanLimits::default()).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0 && first.num_rows() <= ScanLimits::default().batch_rows);
    drop((stream, branch));
    until("the end of the query", async || world.busy().await == 0).await;
    let branch = connector.open(ALONE).await.unwrap();
    let stream = branch.run(&fragment, &tables, &schema, ScanLimits { batch_rows: 1_000, ..ScanLimits::default() }).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 1_000));
    assert_eq!(reading::count(&batches), BIG);
}

async fn a_changed_table_is_told(world: &dyn World, side: &Side) {
    let kind = Kind::Int;
    let relation = plans::of_column(side, kind);
    if !world.tells().columns || side.accepts(&relation).is_err() {
        return;
    }
    assert!(side.run(&relation).await.is_ok());
    world.drop_column("others", &kind.column()).await;
    let error = side.run(&relation).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::SchemaChanged { table, .. } if ["kinds", "others"].contains(&table.as_str())),
        "{error:?}"
    );
}
