//! `tributary.changes`: what is retained of the changes of all stores, as a relation that is read as it is asked for.
//!
//! One partition for each store, from a place that conditions name, or from the beginning, up to what was published when it is read.
//! Conditions only leave out what cannot satisfy them; the engine asks them again.

mod names;
mod rows;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;

use super::branches::Branches;
use super::pushdown::to_predicate;
use crate::catalog::Snapshot;
use crate::catalog::snapshot::SessionFacts;
use crate::changes::text::Malformed;
use crate::changes::{Hub, Place};
use crate::error::Diagnosis;
use crate::stores::StoreName;
use crate::stores::predicate::{Comparison, Predicate};
use crate::stores::value::Value;
use names::{Label, Names};
use rows::Reader;

/// The ordinals of columns that conditions are looked at for.
const STORE: usize = 0;
const POSITION: usize = 1;
const TABLE_SCHEMA: usize = 6;
const TABLE_NAME: usize = 7;

/// The relation for a session: it knows what that may see.
pub fn table(snapshot: &Snapshot, facts: &SessionFacts, schema: SchemaRef) -> Arc<dyn TableProvider> {
    let is_known = facts.roles.contains(&facts.role);
    let hubs = if is_known { facts.feeds.hubs() } else { Vec::new() };
    let sees_all = facts.superusers.contains(&facts.role);
    let sources = hubs.into_iter().map(|(store, hub)| {
        let names = Arc::new(Names::of(snapshot, &store, sees_all));
        Source { store, hub, names }
    });
    Arc::new(LogTable { schema, sources: sources.collect() })
}

struct LogTable {
    schema: SchemaRef,
    sources: Vec<Source>,
}

impl LogTable {
    /// # Errors
    /// 55000 when conditions name a place of a log that no store has any more.
    fn check_log(&self, wanted: &Wanted) -> std::result::Result<(), Diagnosis> {
        let Some((place, _)) = wanted.from else { return Ok(()) };
        let is_known = |source: &Source| source.hub.generation() == place.generation;
        // Of a store that is named, that one's log says it.
        let (Some(first), None) = (self.sources.first(), &wanted.store) else { return Ok(()) };
        if self.sources.iter().any(is_known) {
            return Ok(());
        }
        first.hub.at(&place).map(drop).map_err(|told| Diagnosis::of(&told))
    }

    /// # Errors
    /// 22P02 for a lower bound that is no place, and would leave out rows as a place that is not retained would. What comes before all
    /// places, such as an empty text, leaves out nothing.
    fn check_bound(&self, wanted: &Wanted) -> std::result::Result<(), Diagnosis> {
        let Some(bound) = &wanted.no_place else { return Ok(()) };
        let leaves_out = |source: &Source| bound.0 > format!("{:08x}", source.hub.generation());
        if self.sources.iter().any(|source| wanted.asks(source) && leaves_out(source)) {
            return Err(Diagnosis::of(bound));
        }
        Ok(())
    }
}

/// The changes of one store.
#[derive(Clone)]
struct Source {
    store: StoreName,
    hub: Arc<Hub>,
    names: Arc<Names>,
}

impl fmt::Debug for LogTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<&StoreName> = self.sources.iter().map(|source| &source.store).collect();
        f.debug_struct("LogTable").field("stores", &stores).finish_non_exhaustive()
    }
}

/// What of the rows can satisfy the conditions, as far as they tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    store: Option<String>,
    /// Behind it, or at it.
    from: Option<(Place, bool)>,
    /// The greatest lower bound that is none.
    no_place: Option<Malformed>,
    schema: Option<String>,
    name: Option<String>,
}

impl Wanted {
    fn of(filters: &[Expr], schema: &SchemaRef) -> Self {
        let mut wanted = Self::default();
        for predicate in filters.iter().filter_map(|filter| to_predicate(filter, schema)) {
            wanted.narrow(&predicate);
        }
        wanted
    }

    fn narrow(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::And(parts) => parts.iter().for_each(|part| self.narrow(part)),
            Predicate::Compare { column, op, value: Value::Text(text) } if column.path.is_empty() => {
                self.narrow_by(column.column, *op, text);
            }
            _ => {}
        }
    }

    /// Of two conditions over one column either may be heeded: the other one is asked again.
    fn narrow_by(&mut self, column: usize, op: Comparison, text: &str) {
        let slot = match (column, op) {
            (STORE, Comparison::Equal) => &mut self.store,
            (TABLE_SCHEMA, Comparison::Equal) => &mut self.schema,
            (TABLE_NAME, Comparison::Equal) => &mut self.name,
            (POSITION, Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Equal) => {
                match text.parse::<Place>() {
                    Ok(place) if self.from.is_none_or(|(known, _)| known < place) => {
                        self.from = Some((place, op == Comparison::Greater));
                    }
                    Err(told) if op != Comparison::Equal && self.no_place.as_ref().is_none_or(|known| known.0 < told.0) => {
                        self.no_place = Some(told);
                    }
                    // What is no place is a text as any other, and compared as one.
                    Ok(_) | Err(_) => {}
                }
                return;
            }
            _ => return,
        };
        slot.get_or_insert_with(|| text.to_owned());
    }

    /// Whether rows of a store may be wanted.
    fn asks(&self, source: &Source) -> bool {
        self.store.as_deref().is_none_or(|store| store == source.store.as_str())
    }

    fn is_anything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry about a table of this label, or about none, may be among the rows.
    fn takes(&self, label: Option<&Label>) -> bool {
        let is_alike = |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
        is_alike(&self.schema, label.map(|label| &label.0)) && is_alike(&self.name, label.map(|label| &label.1))
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Beginning,
    Behind(Place),
}

impl Source {
    /// # Errors
    /// 55000 when what stands behind the place is not retained, and the place is of this store: it is named, or the place is of its log.
    fn start(&self, wanted: &Wanted) -> std::result::Result<Start, Diagnosis> {
        let Some((place, is_behind)) = wanted.from else { return Ok(Start::Beginning) };
        match self.hub.at(&place) {
            Err(told) if wanted.store.is_some() || place.generation == self.hub.generation() => Err(Diagnosis::of(&told)),
            // Another store's: texts are compared then.
            Err(_) => Ok(Start::Beginning),
            Ok(_) if is_behind => Ok(Start::Behind(place)),
            Ok(_) => Ok(match place.ordinal.checked_sub(1) {
                Some(ordinal) => Start::Behind(Place { ordinal, ..place }),
                None => Start::Beginning,
            }),
        }
    }
}

#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| {
            let wanted = Wanted::of(std::slice::from_ref(*filter), &self.schema);
            if wanted.is_anything() { TableProviderFilterPushDown::Unsupported } else { TableProviderFilterPushDown::Inexact }
        });
        Ok(answers.collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::of(filters, &self.schema);
        self.check_bound(&wanted).and_then(|()| self.check_log(&wanted)).map_err(DataFusionError::from)?;
        let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for source in self.sources.iter().filter(|source| wanted.asks(source)) {
            let start = source.start(&wanted).map_err(DataFusionError::from)?;
            let (schema, source, wanted) = (Arc::clone(&self.schema), source.clone(), wanted.clone());
            partitions.push(Arc::new(Partition { schema, source, wanted, start }));
        }
        if partitions.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let limit = limit.filter(|_| filters.is_empty());
        let exec = StreamingTableExec::try_new(Arc::clone(&self.schema), partitions, projection, Vec::new(), false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// The retained changes of one store, read once for each execution.
struct Partition {
    schema: SchemaRef,
    source: Source,
    wanted: Wanted,
    start: Start,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, start, .. } = self;
        f.debug_struct("Partition").field("store", &source.store).field("start", start).finish_non_exhaustive()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let Source { store, hub, names } = self.source.clone();
        // Who is told of a change and looks for the row must find it as it is told.
        if let Some(branches) = context.session_config().get_extension::<Branches>() {
            branches.reads_directly(&store);
        }
        let last = hub.last();
        let cursor = match self.start {
            Start::Beginning => Ok(hub.at_start()),
            Start::Behind(place) => hub.at(&place),
        };
        let schema = Arc::clone(&self.schema);
        let reader = Reader::new(schema, (cursor, last), store, (names, self.wanted.clone()));
        let reader = if self.wanted.from.is_none() { reader.retrying(&hub) } else { reader };
        let batches = stream::try_unfold(reader, |mut reader| async move {
            let next = Box::pin(reader.next()).await;
            next.map(|batch| batch.map(|batch| (batch, reader))).map_err(DataFusionError::from)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::catalog::system::feeds::CHANGES;
    use crate::catalog::system::table::schema_of;

    const PLACE: &str = "00000001-0000000000000002-00000003-00000007";
    const LATER: &str = "00000001-0000000000000009-00000000-00000007";

    fn wanted(filters: &[Expr]) -> Wanted {
        Wanted::of(filters, &schema_of(CHANGES))
    }

    #[test]
    fn columns_are_where_conditions_look_for_them() {
        let names: Vec<&str> = [STORE, POSITION, TABLE_SCHEMA, TABLE_NAME].map(|column| CHANGES[column].0).to_vec();
        assert_eq!(names, ["store", "position", "table_schema", "table_name"]);
    }

    #[test]
    fn conditions_name_where_reading_begins() {
        let place = PLACE.parse::<Place>().unwrap();
        let from = |filters: &[Expr]| wanted(filters).from;
        assert_eq!(from(&[col("position").gt(lit(PLACE))]), Some((place, true)));
        assert_eq!(from(&[col("position").gt_eq(lit(PLACE))]), Some((place, false)));
        assert_eq!(from(&[col("position").between(lit(PLACE), lit(LATER))]), Some((place, false)));
        let both = [col("position").gt(lit(PLACE)), col("position").gt(lit(LATER))];
        assert_eq!(from(&both), Some((LATER.parse().unwrap(), true)));
        for other in [col("position").lt(lit(PLACE)), col("position").gt(lit("0")), col("transaction").gt(lit(PLACE))] {
            assert_eq!(from(&[other]), None);
        }
    }

    #[test]
    fn lower_bounds_that_are_no_places_are_kept_apart() {
        let no_place = |filters: &[Expr]| wanted(filters).no_place.map(|told| told.0);
        assert_eq!(no_place(&[col("position").gt(lit("abc"))]), Some("abc".to_owned()));
        assert_eq!(no_place(&[col("position").gt_eq(lit("abd")), col("position").gt(lit("abc"))]), Some("abd".to_owned()));
        assert_eq!(no_place(&[col("position").between(lit("x"), lit(PLACE))]), Some("x".to_owned()));
        for other in [col("position").gt(lit(PLACE)), col("position").lt(lit("abc")), col("position").eq(lit("abc"))] {
            assert_eq!(no_place(&[other]), None);
        }
    }

    #[test]
    fn tables_and_stores_are_left_out_by_their_names() {
        let wanted = wanted(&[col("store").eq(lit("shop")).and(col("table_name").eq(lit("orders")))]);
        assert_eq!((wanted.store.as_deref(), wanted.schema.as_deref()), (Some("shop"), None));
        let label = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
        assert!(wanted.takes(Some(&label("a", "orders"))) && wanted.takes(Some(&label("b", "orders"))));
        assert!(!wanted.takes(Some(&label("a", "notes"))) && !wanted.takes(None));
        assert!(Wanted::default().takes(None) && Wanted::default().is_anything());
    }
}
