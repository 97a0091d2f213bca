//! What a join has learnt of its keys, as conditions for the store that the other side is read from.
//!
//! A hash join that has read its first side knows the keys that can match, and hands a *dynamic filter* to the leaves of the second.
//! The leaf answers that it cannot evaluate it, so that whoever is above still checks, and sends the store what it can say of it. A condition made here
//! may therefore keep too much, and must never leave out a row that the filter would keep.
//!
//! | Filter | Condition |
//! |---|---|
//! | `k IN (…)` | the list, however long ([`super::keys`]) |
//! | `struct(a, b) IN (…)` | the rows of values: `(a, b) IN (…)` |
//! | `k >= a AND k <= b` | the same, except of texts: stores have orders of their own |
//! | `CASE hash % n WHEN i THEN … END` | one of the branches |
//! | a look into the join's own table | nothing |
//!
//! **Traps** (all found by running them): a filter of a TopK or of MIN and MAX comes through the same door, and is complete only when the scan
//! is; whoever waits for it waits for ever. A join fills a filter only when it finds it below itself ([`Received::apply`]). The engine hands
//! filters down through nodes that stop after some rows ([`await_joins`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, StructArray};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, Literal,
};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::scalar::ScalarValue;

use super::super::copy::CopyExec;
use super::super::materialized::ViewExec;
use super::super::placement::exec::FragmentExec;
use super::super::pushdown::{comparison, flip, value};
use super::super::scan::ScanExec;
use super::super::semantics::floats;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Rows};
use crate::stores::value::Value;

/// How long a leaf that is read early waits for its join. The join would wait as long for its own first side.
const PATIENCE: Duration = Duration::from_secs(10);

/// The filters that a leaf has received.
#[derive(Debug, Clone, Default)]
pub struct Received {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Those that a hash join completes before its second side is needed.
    awaited: BTreeSet<u64>,
}

/// What is known of the rows that can pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Nothing: any row may.
    Nothing,
    /// No row can.
    Never,
    /// Rows for which the condition is true. Its columns are the leaf's output columns, by place.
    Rows(Predicate),
}

impl Received {
    /// Takes the filters that a leaf is offered; `None` when there are none. The answer is that all of them must still be checked above.
    pub fn offered(
        &self,
        phase: FilterPushdownPhase,
        offer: &ChildPushdownResult,
    ) -> (FilterPushdownPropagation<Arc<dyn ExecutionPlan>>, Option<Self>) {
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; offer.parent_filters.len()]);
        if !matches!(phase, FilterPushdownPhase::Post) || offer.parent_filters.is_empty() {
            return (answer, None);
        }
        let mut received = self.clone();
        let dynamic = offer.parent_filters.iter().map(|offered| &offered.filter).filter(|filter| !dynamic_parts(filter).is_empty());
        received.filters.extend(dynamic.cloned());
        (answer, (received.filters.len() > self.filters.len()).then_some(received))
    }

    /// Shows the filters to whoever looks for them, as a leaf's `apply_expressions` must: without it a join takes its filter for unused.
    ///
    /// # Errors
    /// What `f` fails with.
    pub fn apply(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        for filter in &self.filters {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// The filters with these ids, which are worth waiting for; `None` when there are no filters. Others would say nothing
    /// at the first poll, and a filter that nobody looks for is not computed either.
    pub fn awaiting(&self, ids: &BTreeSet<u64>) -> Option<Self> {
        let usable = |filter: &&Arc<dyn PhysicalExpr>| {
            dynamic_parts(filter).iter().all(|part| part.expression_id().is_some_and(|id| ids.contains(&id)))
        };
        let filters = self.filters.iter().filter(usable).cloned().collect();
        (!self.filters.is_empty()).then(|| Self { filters, awaited: ids.clone() })
    }

    /// The columns whose keys joins will tell, for `EXPLAIN`.
    pub fn columns(&self) -> BTreeSet<String> {
        let columns = self.filters.iter().flat_map(collect_columns);
        columns.map(|column| column.name().to_owned()).collect()
    }

    /// What the filters say of a leaf with this schema, once the joins behind them know. To be asked at the leaf's first poll.
    pub async fn told(&self, schema: &Schema) -> Told {
        let wait = async {
            for filter in self.filters.iter().flat_map(dynamic_parts) {
                let Some(dynamic) = as_dynamic(&filter) else { continue };
                if filter.expression_id().is_some_and(|id| self.awaited.contains(&id)) {
                    dynamic.wait_complete().await;
                }
            }
        };
        if !self.awaited.is_empty() {
            // Too late is as good as nothing known: the store then sends more than is needed.
            tokio::time::timeout(PATIENCE, wait).await.ok();
        }
        all(self.filters.iter().map(|filter| told(filter, schema)))
    }
}

/// Tells every leaf of a finished plan which of its filters it may use: those of hash joins that it stands below, with nothing in between that
/// stops after some rows. The engine hands filters down through such nodes, which would then find other rows.
///
/// # Errors
/// What building the new nodes fails with.
pub fn await_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let usable = usable_filters(&plan);
    if usable.is_empty() {
        return Ok(plan);
    }
    let marked = plan.transform_up(|node| {
        let leaf: &dyn std::any::Any = node.as_ref();
        if leaf.is::<RecursiveQueryExec>() {
            return silenced(node);
        }
        let Some(ids) = usable.get(&address(&node)) else { return Ok(Transformed::no(node)) };
        let scan = leaf.downcast_ref::<ScanExec>().and_then(|scan| scan.awaiting(ids));
        let scan = scan.map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>);
        let part = || leaf.downcast_ref::<FragmentExec>()?.awaiting(ids);
        let copy = || leaf.downcast_ref::<CopyExec>()?.awaiting(ids);
        let view = || leaf.downcast_ref::<ViewExec>()?.awaiting(ids);
        let marked = scan.or_else(|| part().map(|part| Arc::new(part) as Arc<dyn ExecutionPlan>));
        let marked = marked.or_else(|| copy().map(|copy| Arc::new(copy) as Arc<dyn ExecutionPlan>));
        let marked = marked.or_else(|| view().map(|view| Arc::new(view) as Arc<dyn ExecutionPlan>));
        Ok(marked.map_or(Transformed::no(node), Transformed::yes))
    })?;
    Ok(marked.data)
}

/// The joins of a recursive term without filters: nobody would make them new for the next round.
fn silenced(recursive: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    recursive.transform_up(|node| {
        let join = (node.as_ref() as &dyn std::any::Any).downcast_ref::<HashJoinExec>();
        let silent = join.map(|join| join.builder().reset_state().build_exec()).transpose()?;
        Ok(silent.map_or(Transformed::no(node), Transformed::yes))
    })
}

/// The nodes of recursive terms, by address. They run once for every round of rows.
pub(in crate::federation) fn repeated(plan: &Arc<dyn ExecutionPlan>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut pending = vec![(plan, false)];
    while let Some((node, within)) = pending.pop() {
        if within {
            found.insert(address(node));
        }
        let within = within || (node.as_ref() as &dyn std::any::Any).is::<RecursiveQueryExec>();
        pending.extend(node.children().into_iter().map(|child| (child, within)));
    }
    found
}

/// The filters of hash joins that each leaf may use, by the leaf's address. A filter that a join of a recursive term made in one round says
/// nothing of the next, so that leaves below use none.
fn usable_filters(plan: &Arc<dyn ExecutionPlan>) -> HashMap<usize, BTreeSet<u64>> {
    let repeated = repeated(plan);
    let mut usable: HashMap<usize, BTreeSet<u64>> = HashMap::new();
    let mut pending = vec![(Arc::clone(plan), Arc::new(BTreeSet::new()))];
    while let Some((node, above)) = pending.pop() {
        let is_repeated = repeated.contains(&address(&node));
        let mut ids = if node.fetch().is_some() || is_repeated { BTreeSet::new() } else { above.as_ref().clone() };
        if !is_repeated && (node.as_ref() as &dyn std::any::Any).is::<HashJoinExec>() {
            ids.extend(node.dynamic_expressions_produced().iter().filter_map(|filter| filter.expression_id()));
        }
        if node.children().is_empty() {
            // A leaf that stands in two places may use what both may.
            usable.entry(address(&node)).and_modify(|known| known.retain(|id| ids.contains(id))).or_insert(ids);
            continue;
        }
        let ids = Arc::new(ids);
        pending.extend(node.children().into_iter().map(|child| (Arc::clone(child), Arc::clone(&ids))));
    }
    usable
}

pub(in crate::federation) fn address(node: &Arc<dyn ExecutionPlan>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

fn as_dynamic(filter: &Arc<dyn PhysicalExpr>) -> Option<&DynamicFilterPhysicalExpr> {
    (filter.as_ref() as &dyn std::any::Any).downcast_ref()
}

/// The dynamic filters inside an expression.
fn dynamic_parts(filter: &Arc<dyn PhysicalExpr>) -> Vec<Arc<dyn PhysicalExpr>> {
    let mut found = Vec::new();
    let walk = filter.apply(|part| {
        if as_dynamic(part).is_some() {
            found.push(Arc::clone(part));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walk.is_err() { Vec::new() } else { found }
}

/// What one filter says now.
pub fn told(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Told {
    let any = expr.as_ref() as &dyn std::any::Any;
    if let Some(dynamic) = any.downcast_ref::<DynamicFilterPhysicalExpr>() {
        return dynamic.current().map_or(Told::Nothing, |current| told(&current, schema));
    }
    if let Some(literal) = any.downcast_ref::<Literal>() {
        return match literal.value() {
            ScalarValue::Boolean(Some(true)) => Told::Nothing,
            // NULL keeps no row either.
            ScalarValue::Boolean(_) => Told::Never,
            _ => Told::Nothing,
        };
    }
    if let Some(binary) = any.downcast_ref::<BinaryExpr>() {
        return match binary.op() {
            Operator::And => all(chain(expr, Operator::And).iter().map(|part| told(part, schema))),
            Operator::Or => one_of(chain(expr, Operator::Or).iter().map(|part| told(part, schema))),
            op => comparison(*op).map_or(Told::Nothing, |op| compared(binary, op, schema)),
        };
    }
    if let Some(list) = any.downcast_ref::<InListExpr>() {
        return if list.negated() { Told::Nothing } else { listed(list, schema) };
    }
    if let Some(case) = any.downcast_ref::<CaseExpr>() {
        let branches = case.when_then_expr().iter().map(|(_, then)| told(then, schema));
        // A row that meets no branch is not kept.
        return one_of(branches.chain(case.else_expr().map(|other| told(other, schema))));
    }
    let tested = any.downcast_ref::<IsNullExpr>().map(|test| (test.arg(), false));
    let tested = tested.or_else(|| any.downcast_ref::<IsNotNullExpr>().map(|test| (test.arg(), true)));
    let null = tested.and_then(|(argument, negated)| {
        let column = ColumnRef::of(Key::of(argument, schema)?.place);
        Some(Told::Rows(Predicate::IsNull { column, negated }))
    });
    null.unwrap_or(Told::Nothing)
}

/// The ends of a list, for when the list is too long to be sent; `None` for values that a store may order in its own way.
pub fn ends(list: &Predicate) -> Option<Predicate> {
    let Predicate::In { column, values, negated: false } = list else { return None };
    let place = |value: &Value| match value {
        Value::Int(number) | Value::Timestamp(number) | Value::TimestampTz(number) => Some(*number),
        Value::Date(days) => Some(i64::from(*days)),
        _ => None,
    };
    let placed = values.iter().map(|value| Some((place(value)?, value))).collect::<Option<Vec<_>>>()?;
    let least = placed.iter().min_by_key(|(place, _)| *place)?.1.clone();
    let greatest = placed.iter().max_by_key(|(place, _)| *place)?.1.clone();
    let compare = |op, value| Predicate::Compare { column: column.clone(), op, value };
    Some(Predicate::And(vec![compare(Comparison::GreaterOrEqual, least), compare(Comparison::LessOrEqual, greatest)]))
}

/// The parts of a chain of one operator, without recursion: a chain is as deep as it is long.
fn chain(expr: &Arc<dyn PhysicalExpr>, op: Operator) -> Vec<Arc<dyn PhysicalExpr>> {
    let (mut parts, mut pending) = (Vec::new(), vec![Arc::clone(expr)]);
    while let Some(next) = pending.pop() {
        match (next.as_ref() as &dyn std::any::Any).downcast_ref::<BinaryExpr>() {
            Some(binary) if *binary.op() == op => pending.extend([Arc::clone(binary.right()), Arc::clone(binary.left())]),
            _ => parts.push(next),
        }
    }
    parts
}

/// Everything that is said must hold. A list of a column makes the bounds of the same column superfluous.
fn all(parts: impl Iterator<Item = Told>) -> Told {
    let mut conditions = Vec::new();
    for part in parts {
        match part {
            Told::Nothing => {}
            Told::Never => return Told::Never,
            Told::Rows(Predicate::And(inner)) => conditions.extend(inner),
            Told::Rows(condition) => conditions.push(condition),
        }
    }
    let listed: Vec<ColumnRef> = conditions
        .iter()
        .flat_map(|condition| match condition {
            Predicate::In { column, negated: false, .. } => std::slice::from_ref(column),
            Predicate::Rows(rows) => rows.columns.as_slice(),
            _ => &[],
        })
        .cloned()
        .collect();
    conditions.retain(|condition| !matches!(condition, Predicate::Compare { column, .. } if listed.contains(column)));
    match conditions.len() {
        0 => Told::Nothing,
        1 => conditions.pop().map_or(Told::Nothing, Told::Rows),
        _ => Told::Rows(Predicate::And(conditions)),
    }
}

/// One of these holds: lists of one column become one list, and bounds one pair of bounds.
fn one_of(parts: impl Iterator<Item = Told>) -> Told {
    let mut conditions = Vec::new();
    for part in parts {
        match part {
            Told::Nothing => return Told::Nothing,
            Told::Never => {}
            Told::Rows(Predicate::Or(inner)) => conditions.extend(inner),
            Told::Rows(condition) => conditions.push(condition),
        }
    }
    if conditions.len() < 2 {
        return conditions.pop().map_or(Told::Never, Told::Rows);
    }
    Told::Rows(union(conditions).unwrap_or_else(Predicate::Or))
}

/// The branches of a partitioned join, each a list over the same columns, as one list for each column.
fn union(conditions: Vec<Predicate>) -> std::result::Result<Predicate, Vec<Predicate>> {
    let conditions = match one_list_of_rows(conditions) {
        Ok(rows) => return Ok(Predicate::Rows(rows)),
        Err(conditions) => conditions,
    };
    let columns = |condition: &Predicate| listed_columns(condition).filter(|columns| !columns.is_empty());
    let first = conditions.first().and_then(columns);
    if first.is_none() || conditions.iter().any(|condition| columns(condition) != first) {
        return Err(conditions);
    }
    let mut lists: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for condition in conditions {
        let parts = match condition {
            Predicate::And(parts) => parts,
            single => vec![single],
        };
        for part in parts {
            if let Predicate::In { column, mut values, .. } = part {
                lists.entry(column.column).or_default().append(&mut values);
            }
        }
    }
    let lists = lists.into_iter().map(|(column, values)| Predicate::In { column: ColumnRef::of(column), values, negated: false });
    let mut lists: Vec<Predicate> = lists.collect();
    Ok(if lists.len() > 1 { Predicate::And(lists) } else { lists.remove(0) })
}

/// Lists of rows over the same columns as one. The branches of a join have no rows in common.
fn one_list_of_rows(conditions: Vec<Predicate>) -> std::result::Result<Rows, Vec<Predicate>> {
    let columns = |condition: &Predicate| match condition {
        Predicate::Rows(rows) => Some(rows.columns.clone()),
        _ => None,
    };
    let Some(first) = conditions.first().and_then(columns) else { return Err(conditions) };
    if conditions.iter().any(|condition| columns(condition).as_ref() != Some(&first)) {
        return Err(conditions);
    }
    let rows = conditions.into_iter().flat_map(|condition| match condition {
        Predicate::Rows(rows) => rows.rows,
        _ => Vec::new(),
    });
    Ok(Rows { columns: first, rows: rows.collect() })
}

/// The columns of a condition that is nothing but one list for each of them.
fn listed_columns(condition: &Predicate) -> Option<BTreeSet<usize>> {
    let parts = match condition {
        Predicate::And(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    let column = |part: &Predicate| match part {
        Predicate::In { column, negated: false, .. } if column.path.is_empty() => Some(column.column),
        _ => None,
    };
    let columns = parts.iter().map(column).collect::<Option<BTreeSet<usize>>>()?;
    (columns.len() == parts.len()).then_some(columns)
}

/// An output column of the leaf as a join's key reads it.
struct Key {
    place: usize,
    /// The column's own type.
    data_type: DataType,
    /// Whether the key is the float's canonical form, which is compared as PostgreSQL compares floats.
    canonical: bool,
}

impl Key {
    fn of(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let any = expr.as_ref() as &dyn std::any::Any;
        if let Some(column) = any.downcast_ref::<Column>() {
            let data_type = schema.fields().get(column.index())?.data_type().clone();
            return Some(Self { place: column.index(), data_type, canonical: false });
        }
        if let Some(call) = any.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == floats::NAME) {
            return Some(Self { canonical: true, ..Self::of(call.args().first()?, schema)? });
        }
        // A wider integer has the same value and order; no other cast is looked through.
        let cast = any.downcast_ref::<CastExpr>()?;
        let inner = Self::of(cast.expr(), schema)?;
        let widens = matches!(
            (&inner.data_type, cast.cast_type()),
            (DataType::Int16, DataType::Int32 | DataType::Int64) | (DataType::Int32, DataType::Int64)
        );
        widens.then_some(inner)
    }

    /// A literal as a value of the column. The column cannot have it when this is an error.
    fn value(&self, literal: &ScalarValue) -> Option<std::result::Result<Value, OutOfRange>> {
        let integer = match literal {
            ScalarValue::Int16(Some(number)) => Some(i64::from(*number)),
            ScalarValue::Int32(Some(number)) => Some(i64::from(*number)),
            ScalarValue::Int64(Some(number)) => Some(*number),
            _ => None,
        };
        let fits = |integer: i64| match self.data_type {
            DataType::Int16 => i16::try_from(integer).is_ok(),
            DataType::Int32 => i32::try_from(integer).is_ok(),
            _ => true,
        };
        match (integer, &self.data_type) {
            (Some(integer), DataType::Int16 | DataType::Int32 | DataType::Int64) => {
                Some(if fits(integer) { Ok(Value::Int(integer)) } else { Err(OutOfRange) })
            }
            _ => value(literal, &self.data_type).map(Ok),
        }
    }

    /// Whether the store compares values of the column by order as the engine does.
    fn is_ordered(&self) -> bool {
        match self.data_type {
            DataType::Float32 | DataType::Float64 => self.canonical,
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) | DataType::Date32 => true,
            DataType::Time64(_) | DataType::Timestamp(..) => true,
            _ => false,
        }
    }

    fn is_equated(&self) -> bool {
        self.canonical || !self.data_type.is_floating()
    }
}

/// A number that is no value of a narrower column.
struct OutOfRange;

fn compared(binary: &BinaryExpr, op: Comparison, schema: &Schema) -> Told {
    let literal = |expr: &Arc<dyn PhysicalExpr>| {
        (expr.as_ref() as &dyn std::any::Any).downcast_ref::<Literal>().map(|literal| literal.value().clone())
    };
    let (side, op, found) = match (literal(binary.left()), literal(binary.right())) {
        (None, Some(found)) => (binary.left(), op, found),
        (Some(found), None) => (binary.right(), flip(op), found),
        _ => return Told::Nothing,
    };
    let Some(key) = Key::of(side, schema) else { return Told::Nothing };
    let by_order = matches!(op, Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual);
    if op == Comparison::NotEqual || by_order && !key.is_ordered() || !key.is_equated() {
        return Told::Nothing;
    }
    if found.is_null() {
        return Told::Never;
    }
    match key.value(&found) {
        Some(Ok(value)) => Told::Rows(Predicate::Compare { column: ColumnRef::of(key.place), op, value }),
        Some(Err(OutOfRange)) if op == Comparison::Equal => Told::Never,
        _ => Told::Nothing,
    }
}

fn listed(list: &InListExpr, schema: &Schema) -> Told {
    let literals: Option<Vec<&ScalarValue>> = list
        .list()
        .iter()
        .map(|item| (item.as_ref() as &dyn std::any::Any).downcast_ref::<Literal>().map(Literal::value))
        .collect();
    let Some(literals) = literals else { return Told::Nothing };
    if let Some(key) = Key::of(list.expr(), schema) {
        let given: Vec<&ScalarValue> = literals.into_iter().filter(|literal| !literal.is_null()).collect();
        return column_list(&key, &given);
    }
    // Several keys at once are a row: `struct(a, b) IN ({1, 2}, …)`.
    let any = list.expr().as_ref() as &dyn std::any::Any;
    let Some(call) = any.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == "struct") else {
        return Told::Nothing;
    };
    let rows: Option<Vec<&Arc<StructArray>>> = literals
        .into_iter()
        .map(|literal| match literal {
            ScalarValue::Struct(row) if row.len() == 1 => Some(row),
            _ => None,
        })
        .collect();
    rows.map_or(Told::Nothing, |rows| listed_rows(call.args(), &rows, schema))
}

/// Rows of keys, as far as the keys are columns with values that a store can be told.
///
/// A row with a NULL is left out, as a NULL of a single key is: it is equal to nothing, and a join for which NULLs are equal asks for
/// the rows where one of its keys `IS NULL` beside the list (`preserve_probe_nulls` of the engine).
fn listed_rows(keys: &[Arc<dyn PhysicalExpr>], rows: &[&Arc<StructArray>], schema: &Schema) -> Told {
    let mut columns = Vec::new();
    for (place, argument) in keys.iter().enumerate() {
        let Some(key) = Key::of(argument, schema).filter(Key::is_equated) else { continue };
        let cells: Option<Vec<ScalarValue>> =
            rows.iter().map(|row| ScalarValue::try_from_array(row.columns().get(place)?, 0).ok()).collect();
        let is_known = |cell: &ScalarValue| cell.is_null() || key.value(cell).is_some();
        if let Some(cells) = cells.filter(|cells| cells.iter().all(is_known)) {
            columns.push((key, cells));
        }
    }
    if let [(key, cells)] = columns.as_slice() {
        let given: Vec<&ScalarValue> = cells.iter().filter(|cell| !cell.is_null()).collect();
        return column_list(key, &given);
    }
    if columns.is_empty() {
        return Told::Nothing;
    }
    let mut seen = HashSet::with_capacity(rows.len());
    let mut found = Vec::with_capacity(rows.len());
    for place in 0..rows.len() {
        let cells: Option<Vec<&ScalarValue>> = columns.iter().map(|(_, cells)| cells.get(place)).collect();
        // A value that the column cannot have is in no row either.
        let value = |(key, cells): &(Key, Vec<ScalarValue>)| key.value(cells.get(place).filter(|cell| !cell.is_null())?)?.ok();
        let (Some(cells), Some(row)) = (cells, columns.iter().map(value).collect::<Option<Vec<Value>>>()) else { continue };
        if seen.insert(cells) {
            found.push(row);
        }
    }
    if found.is_empty() {
        return Told::Never;
    }
    let columns = columns.iter().map(|(key, _)| ColumnRef::of(key.place)).collect();
    Told::Rows(Predicate::Rows(Rows { columns, rows: found }))
}

/// `column IN (…)`
fn column_list(key: &Key, given: &[&ScalarValue]) -> Told {
    if !key.is_equated() {
        return Told::Nothing;
    }
    let mut distinct = HashSet::with_capacity(given.len());
    let mut values = Vec::with_capacity(given.len());
    for literal in given.iter().copied() {
        match key.value(literal) {
            Some(Ok(value)) if distinct.insert(literal) => values.push(value),
            Some(_) => {}
            None => return Told::Nothing,
        }
    }
    let column = ColumnRef::of(key.place);
    if values.is_empty() { Told::Never } else { Told::Rows(Predicate::In { column, values, negated: false }) }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array};
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, case, cast, col, in_list, is_null, lit};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
            Field::new("f", DataType::Float64, true),
        ])
    }

    fn column(name: &str) -> Arc<dyn PhysicalExpr> {
        col(name, &schema()).unwrap()
    }

    fn compare(name: &str, op: Operator, value: impl Into<ScalarValue>) -> Arc<dyn PhysicalExpr> {
        binary(column(name), op, lit(value.into()), &schema()).unwrap()
    }

    fn both(left: Arc<dyn PhysicalExpr>, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        binary(left, Operator::And, right, &schema()).unwrap()
    }

    fn list(expr: Arc<dyn PhysicalExpr>, values: &[ScalarValue]) -> Arc<dyn PhysicalExpr> {
        let values = values.iter().cloned().map(|value| lit(value)).collect();
        in_list(expr, values, &false, &schema()).unwrap()
    }

    fn is_in(column: usize, values: &[i64]) -> Told {
        let values = values.iter().map(|value| Value::Int(*value)).collect();
        Told::Rows(Predicate::In { column: ColumnRef::of(column), values, negated: false })
    }

    fn is(column: usize, op: Comparison, value: i64) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value: Value::Int(value) }
    }

    fn check(expr: &Arc<dyn PhysicalExpr>, expected: &Told) {
        assert_eq!(&told(expr, &schema()), expected, "{expr}");
    }

    #[test]
    fn lists_and_bounds_are_told() {
        use Operator::{GtEq, LtEq};
        let keys = [1_i32, 2, 3].map(ScalarValue::from);
        let bounds = both(compare("a", GtEq, 1_i32), compare("a", LtEq, 3_i32));
        check(&bounds, &Told::Rows(Predicate::And(vec![is(0, Comparison::GreaterOrEqual, 1), is(0, Comparison::LessOrEqual, 3)])));
        check(&both(bounds.clone(), list(column("a"), &keys)), &is_in(0, &[1, 2, 3]));
        check(&both(bounds, lit(false)), &Told::Never);
        check(&both(lit(true), list(column("a"), &keys)), &is_in(0, &[1, 2, 3]));
        check(&list(column("a"), &[ScalarValue::from(1_i32), ScalarValue::Int32(None), ScalarValue::from(1_i32)]), &is_in(0, &[1]));
        let null = binary(is_null(column("a")).unwrap(), Operator::Or, list(column("a"), &keys), &schema()).unwrap();
        assert!(matches!(told(&null, &schema()), Told::Rows(Predicate::Or(parts)) if parts.len() == 2));
    }

    #[test]
    fn texts_and_floats_have_no_bounds_and_floats_no_equality_of_their_own() {
        check(&compare("t", Operator::GtEq, "a"), &Told::Nothing);
        assert!(matches!(told(&list(column("t"), &[ScalarValue::from("a")]), &schema()), Told::Rows(Predicate::In { .. })));
        check(&compare("f", Operator::GtEq, 1.5_f64), &Told::Nothing);
        check(&list(column("f"), &[ScalarValue::from(1.5_f64)]), &Told::Nothing);
        check(
            &both(compare("t", Operator::GtEq, "a"), compare("a", Operator::Eq, 5_i32)),
            &Told::Rows(is(0, Comparison::Equal, 5)),
        );
    }

    #[test]
    fn wider_integers_are_read_as_the_columns_own() {
        let wide = cast(column("a"), &schema(), DataType::Int64).unwrap();
        let values = [5_i64, 1 << 40].map(ScalarValue::from);
        check(&list(Arc::clone(&wide), &values), &is_in(0, &[5]));
        let above = binary(wide, Operator::LtEq, lit(1_i64 << 40), &schema()).unwrap();
        check(&above, &Told::Nothing);
        let narrow = cast(column("b"), &schema(), DataType::Int32).unwrap();
        check(&list(narrow, &[ScalarValue::from(5_i32)]), &Told::Nothing);
    }

    #[test]
    fn branches_of_a_partitioned_join_are_one_list() {
        let branch = |keys: &[i32]| {
            let keys: Vec<ScalarValue> = keys.iter().copied().map(ScalarValue::from).collect();
            both(compare("a", Operator::GtEq, keys[0].clone()), list(column("a"), &keys))
        };
        let by_hash = |branches: Vec<Arc<dyn PhysicalExpr>>, otherwise: Arc<dyn PhysicalExpr>| {
            let whens = branches.into_iter().enumerate().map(|(place, then)| (lit(place as i64), then)).collect();
            case(Some(column("b")), whens, Some(otherwise)).unwrap()
        };
        check(&by_hash(vec![branch(&[1, 2]), branch(&[7])], lit(false)), &is_in(0, &[1, 2, 7]));
        check(&by_hash(vec![branch(&[1, 2]), lit(false)], lit(false)), &is_in(0, &[1, 2]));
        check(&by_hash(vec![branch(&[1, 2]), branch(&[7])], lit(true)), &Told::Nothing);
        check(&by_hash(vec![branch(&[1, 2]), compare("t", Operator::GtEq, "a")], lit(false)), &Told::Nothing);
        check(&by_hash(vec![lit(false)], lit(false)), &Told::Never);
        let bounds = by_hash(vec![compare("a", Operator::GtEq, 1_i32), compare("a", Operator::LtEq, -5_i32)], lit(false));
        assert!(matches!(told(&bounds, &schema()), Told::Rows(Predicate::Or(parts)) if parts.len() == 2));
    }

    #[test]
    fn rows_of_keys_are_rows_of_values() {
        let row = |a: Option<i32>, b: i64| {
            let fields = vec![
                (Arc::new(Field::new("c0", DataType::Int32, true)), Arc::new(Int32Array::from(vec![a])) as ArrayRef),
                (Arc::new(Field::new("c1", DataType::Int64, true)), Arc::new(Int64Array::from(vec![b])) as ArrayRef),
            ];
            ScalarValue::Struct(Arc::new(StructArray::from(fields)))
        };
        let config = Arc::new(datafusion::config::ConfigOptions::default());
        let pair = |arguments| {
            let function = datafusion::functions::core::r#struct();
            Arc::new(ScalarFunctionExpr::try_new(function, arguments, &schema(), Arc::clone(&config)).unwrap())
                as Arc<dyn PhysicalExpr>
        };
        let told_of = |rows: &[ScalarValue]| told(&list(pair(vec![column("a"), column("b")]), rows), &schema());
        let rows = |rows: &[[i64; 2]]| {
            let rows = rows.iter().map(|row| row.map(Value::Int).to_vec()).collect();
            Told::Rows(Predicate::Rows(Rows { columns: vec![ColumnRef::of(0), ColumnRef::of(1)], rows }))
        };
        assert_eq!(told_of(&[row(Some(1), 10), row(Some(2), 10), row(Some(1), 10)]), rows(&[[1, 10], [2, 10]]));
        assert_eq!(told_of(&[row(None, 10), row(Some(2), 11)]), rows(&[[2, 11]]));
        assert_eq!(told_of(&[row(None, 10)]), Told::Never);
        // A float is equal to what its key says; without one it takes no part.
        let beside = list(pair(vec![column("a"), column("f")]), &[row_of_floats(1, 0.5), row_of_floats(2, 0.5)]);
        check(&beside, &is_in(0, &[1, 2]));
        // A join in partitions tells of one list for each; one for which NULLs are equal asks for NULLs beside it.
        let list_of = |row: ScalarValue| list(pair(vec![column("a"), column("b")]), &[row]);
        let whens = vec![(lit(0_i64), list_of(row(Some(1), 10))), (lit(1_i64), list_of(row(Some(2), 11)))];
        check(&case(Some(column("b")), whens, Some(lit(false))).unwrap(), &rows(&[[1, 10], [2, 11]]));
        let equal = binary(is_null(column("a")).unwrap(), Operator::Or, list_of(row(Some(1), 10)), &schema()).unwrap();
        assert!(
            matches!(told(&equal, &schema()), Told::Rows(Predicate::Or(parts)) if matches!(parts.as_slice(), [Predicate::IsNull { .. }, Predicate::Rows(_)]))
        );
    }

    fn row_of_floats(a: i32, f: f64) -> ScalarValue {
        let fields = vec![
            (Arc::new(Field::new("c0", DataType::Int32, true)), Arc::new(Int32Array::from(vec![a])) as ArrayRef),
            (Arc::new(Field::new("c1", DataType::Float64, true)), Arc::new(Float64Array::from(vec![f])) as ArrayRef),
        ];
        ScalarValue::Struct(Arc::new(StructArray::from(fields)))
    }

    #[test]
    fn a_list_has_ends() {
        let Told::Rows(list) = is_in(0, &[5, -3, 9]) else { panic!() };
        let expected = Predicate::And(vec![is(0, Comparison::GreaterOrEqual, -3), is(0, Comparison::LessOrEqual, 9)]);
        assert_eq!(ends(&list), Some(expected));
        let texts = Predicate::In { column: ColumnRef::of(0), values: vec![Value::Text("a".to_owned())], negated: false };
        assert_eq!(ends(&texts), None);
    }
}
