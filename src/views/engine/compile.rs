//! From an optimised plan to the tree of a program, or why there is none.
//!
//! Each node is taken for what it gives, never for what it was written as: a subquery that has become a join is a join. Order is dropped,
//! as rows of a view have none. With each node goes a key of its rows where one is known, from the keys of tables, which only those that
//! are proven are told as, and from groups.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use datafusion::common::{Constraint, DFSchema, JoinType, NullEquality};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{self, Distinct, Expr, LogicalPlan, TableScan};

use super::expression::{Computed, computed, unplanned};
use super::group::Group;
use super::join::{Gives, Join};
use super::node::{Node, Scan};
use super::total::Call;
use super::zset::{Codec, has_bytes, has_float, is_told_apart, loose};
use super::{Input, InputId};

/// What a node keeps from step to step.
#[derive(Debug)]
pub(super) enum Slot {
    Once,
    Join,
    Group,
}

/// A node, with columns in which no two of its rows agree, where some are known.
pub(super) struct Built {
    pub(super) node: Node,
    pub(super) key: Option<Vec<usize>>,
}

/// A side of a join.
struct SideOf<'p> {
    plan: &'p LogicalPlan,
    built: Built,
    keys: Vec<Computed>,
    /// The columns that are keys as they are.
    columns: Vec<usize>,
}

impl SideOf<'_> {
    /// Whether no two of its rows meet one row of the other side.
    fn is_unique(&self) -> bool {
        self.built.key.as_ref().is_some_and(|key| key.iter().all(|column| self.columns.contains(column)))
    }
}

/// What expressions are computed under.
pub(super) fn props_of(state: &SessionState) -> ExecutionProps {
    let mut props = state.execution_props().clone();
    props.config_options = Some(Arc::clone(state.config_options()));
    props
}

/// The way from a plan to a program.
pub(super) struct Compiler<'a> {
    props: ExecutionProps,
    input_of: &'a dyn Fn(&TableScan) -> Option<InputId>,
    pub(super) inputs: Vec<Input>,
    pub(super) slots: Vec<Slot>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(state: &SessionState, input_of: &'a dyn Fn(&TableScan) -> Option<InputId>) -> Self {
        Self { props: props_of(state), input_of, inputs: Vec::new(), slots: Vec::new() }
    }

    /// The whole plan.
    ///
    /// # Errors
    /// Why its result cannot be kept up to date by changed rows, as a clause.
    pub(super) fn root(&mut self, plan: &LogicalPlan) -> Result<Built, String> {
        told_apart(plan.schema())?;
        self.node(plan, &[])
    }

    fn slot(&mut self, slot: Slot) -> usize {
        self.slots.push(slot);
        self.slots.len() - 1
    }

    fn computed(&self, expr: &Expr, schema: &DFSchema) -> Result<Computed, String> {
        computed(expr, schema, &self.props)
    }

    /// `checked`: conditions on the rows of a scan that are checked above it.
    fn node(&mut self, plan: &LogicalPlan, checked: &[&Expr]) -> Result<Built, String> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, checked),
            LogicalPlan::Filter(filter) => {
                let parts = split_conjunction(&filter.predicate);
                let below = self.node(&filter.input, &parts)?;
                let schema = filter.input.schema();
                let conditions = parts.iter().map(|part| self.computed(part, schema)).collect::<Result<Vec<_>, _>>()?;
                Ok(Built { node: Node::Filter { below: Box::new(below.node), conditions }, key: below.key })
            }
            LogicalPlan::Projection(projection) => {
                let below = self.node(&projection.input, &[])?;
                let schema = projection.input.schema();
                let outputs = projection.expr.iter().map(|expr| self.computed(expr, schema)).collect::<Result<Vec<_>, _>>()?;
                let places: Vec<Option<usize>> = projection.expr.iter().map(|expr| column_of(expr, schema)).collect();
                let kept = |column: &usize| places.iter().position(|place| *place == Some(*column));
                let key: Option<Vec<usize>> = below.key.and_then(|key| key.iter().map(kept).collect());
                let (below, schema) = (Box::new(below.node), loose(projection.schema.fields()));
                Ok(Built { node: Node::Project { below, outputs, schema }, key })
            }
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, &[]),
            LogicalPlan::Repartition(repartition) => self.node(&repartition.input, &[]),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.node(&sort.input, &[]),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                self.group(input, &columns, &[], plan.schema())
            }
            LogicalPlan::Aggregate(aggregate) => {
                self.group(&aggregate.input, &aggregate.group_expr, &aggregate.aggr_expr, &aggregate.schema)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                let node = Node::Once { slot: self.slot(Slot::Once), schema: loose(empty.schema.fields()) };
                Ok(Built { node, key: None })
            }
            LogicalPlan::EmptyRelation(_) => Ok(Built { node: Node::Nothing, key: None }),
            other => Err(whole(other)),
        }
    }

    fn scan(&mut self, scan: &TableScan, checked: &[&Expr]) -> Result<Built, String> {
        if scan.fetch.is_some() {
            return Err(LIMITED.to_owned());
        }
        let id = (self.input_of)(scan).ok_or_else(|| format!("{} is no table whose changes are followed", scan.table_name))?;
        let whole = scan.source.schema();
        let asked: Vec<usize> = scan.projection.clone().unwrap_or_else(|| (0..whole.fields().len()).collect());
        let mut read = asked.clone();
        // A scan is told of conditions that are checked above it as well, where they may stand behind others.
        let filters: Vec<&Expr> = scan.filters.iter().filter(|filter| !checked.contains(filter)).collect();
        for column in filters.iter().flat_map(|filter| filter.column_refs()) {
            let ordinal = whole.index_of(&column.name).map_err(|error| unplanned(&DataFusionError::from(error)))?;
            if !read.contains(&ordinal) {
                read.push(ordinal);
            }
        }
        let fields: Vec<Arc<Field>> = read.iter().filter_map(|ordinal| whole.fields().get(*ordinal).cloned()).collect();
        let over = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &Schema::new(fields.clone()));
        let over = over.map_err(|error| unplanned(&error))?;
        told_apart(&over)?;
        let conditions = filters.into_iter().map(|filter| self.computed(filter, &over)).collect::<Result<Vec<_>, _>>()?;
        let (input, columns) = self.input(id, &read);
        let constraints: &[Constraint] = match scan.source.constraints() {
            Some(constraints) => constraints,
            None => &[],
        };
        let key: Option<Vec<usize>> = constraints.iter().find_map(|constraint| match constraint {
            Constraint::PrimaryKey(key) => key.iter().map(|ordinal| asked.iter().position(|asked| asked == ordinal)).collect(),
            Constraint::Unique(_) => None,
        });
        let (schema, output) = (loose(&fields), loose(fields.iter().take(asked.len())));
        Ok(Built { node: Node::Scan(Scan { input, columns, schema, conditions, output }), key })
    }

    /// The place of a table among the inputs, and those of some of its columns among the columns that it has here.
    fn input(&mut self, id: InputId, read: &[usize]) -> (usize, Vec<usize>) {
        let known = self.inputs.iter().position(|input| input.id == id);
        let place = known.unwrap_or_else(|| {
            self.inputs.push(Input { id, columns: Vec::new() });
            self.inputs.len() - 1
        });
        let Some(input) = self.inputs.get_mut(place) else { return (place, Vec::new()) };
        let column = |ordinal: &usize| {
            input.columns.iter().position(|known| known == ordinal).unwrap_or_else(|| {
                input.columns.push(*ordinal);
                input.columns.len() - 1
            })
        };
        (place, read.iter().map(column).collect())
    }

    fn union(&mut self, union: &logical_expr::Union) -> Result<Built, String> {
        let schema = loose(union.schema.fields());
        let mut below = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let fields = input.schema().fields();
            let is_same = fields.len() == schema.fields().len()
                && fields.iter().zip(schema.fields()).all(|(own, field)| own.data_type().equals_datatype(field.data_type()));
            if !is_same {
                return Err("the parts of its union have different types".to_owned());
            }
            below.push(self.node(input, &[])?.node);
        }
        Ok(Built { node: Node::Union { below, schema }, key: None })
    }

    fn group(&mut self, input: &LogicalPlan, groups: &[Expr], calls: &[Expr], schema: &DFSchema) -> Result<Built, String> {
        let over = input.schema();
        let keys = groups.iter().map(|group| self.computed(group, over)).collect::<Result<Vec<_>, _>>()?;
        let calls = calls.iter().map(|call| Call::new(call, over, &self.props)).collect::<Result<Vec<_>, _>>()?;
        if schema.fields().len() != keys.len() + calls.len() {
            return Err("its groups are named twice".to_owned());
        }
        let types = types_of(&keys, over)?;
        if types.iter().any(has_float) {
            return Err("floats that are equal may differ within a group".to_owned());
        }
        if !types.iter().all(is_told_apart) {
            return Err("a group has a type by whose bytes rows cannot be told apart".to_owned());
        }
        let codec = Codec::new(types).map_err(|error| unplanned(&DataFusionError::from(error)))?;
        let key = (!keys.is_empty()).then(|| (0..keys.len()).collect());
        let below = self.node(input, &[])?.node;
        let group = Group { slot: self.slot(Slot::Group), below, keys, codec, calls, schema: loose(schema.fields()) };
        Ok(Built { node: Node::Group(Box::new(group)), key })
    }

    fn join(&mut self, join: &logical_expr::Join) -> Result<Built, String> {
        let (gives, is_swapped) = match join.join_type {
            JoinType::Inner => (Gives::Pairs, false),
            JoinType::Left => (Gives::PairsAndLone, false),
            JoinType::Right => (Gives::PairsAndLone, true),
            JoinType::LeftSemi => (Gives::Matched, false),
            JoinType::RightSemi => (Gives::Matched, true),
            JoinType::LeftAnti if join.null_aware => return Err("NOT IN asks all rows for NULL".to_owned()),
            JoinType::LeftAnti => (Gives::Lone, false),
            JoinType::RightAnti => (Gives::Lone, true),
            other => return Err(format!("a join of type {other} is computed of all rows")),
        };
        if join.on.is_empty() {
            return Err("a join without an equality compares all rows".to_owned());
        }
        told_apart(join.left.schema())?;
        told_apart(join.right.schema())?;
        let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) = join.on.iter().map(|(left, right)| (left, right)).unzip();
        let left = self.side(&join.left, &left_keys)?;
        let right = self.side(&join.right, &right_keys)?;
        let types = types_of(&left.keys, left.plan.schema())?;
        let is_same = types.iter().zip(types_of(&right.keys, right.plan.schema())?).all(|(left, right)| *left == right);
        if !is_same || !types.iter().all(has_bytes) {
            return Err("the keys of a join have types that cannot be compared by their bytes".to_owned());
        }
        let pairs: Vec<Arc<Field>> = join.left.schema().fields().iter().chain(join.right.schema().fields()).cloned().collect();
        let condition = match &join.filter {
            Some(filter) => {
                let over = both(join.left.schema(), join.right.schema())?;
                Some(self.computed(filter, &over)?)
            }
            None => None,
        };
        let key = key_of(gives, is_swapped, &left, &right);
        let (own, other) = if is_swapped { (right, left) } else { (left, right) };
        let keeps_other = matches!(gives, Gives::Pairs | Gives::PairsAndLone) || condition.is_some();
        let other_types: Vec<DataType> = other.plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let codec = |codec: Result<Codec, ArrowError>| codec.map_err(|error| unplanned(&DataFusionError::from(error)));
        let node = Join {
            slot: self.slot(Slot::Join),
            gives,
            key_codec: codec(Codec::new(types))?,
            own_codec: codec(Codec::of(own.plan.schema().as_arrow()))?,
            other_codec: codec(if keeps_other { Codec::new(other_types.clone()) } else { Codec::new([]) })?,
            own: own.built.node,
            other: other.built.node,
            own_keys: own.keys,
            other_keys: other.keys,
            null_meets: matches!(join.null_equality, NullEquality::NullEqualsNull),
            is_swapped,
            condition,
            keeps_other,
            other_types,
            pair_schema: loose(&pairs),
            schema: loose(join.schema.fields()),
        };
        Ok(Built { node: Node::Join(Box::new(node)), key })
    }

    fn side<'p>(&mut self, plan: &'p LogicalPlan, keys: &[&Expr]) -> Result<SideOf<'p>, String> {
        let built = self.node(plan, &[])?;
        let schema = plan.schema();
        let columns = keys.iter().filter_map(|key| column_of(key, schema)).collect();
        let keys = keys.iter().map(|key| self.computed(key, schema)).collect::<Result<Vec<_>, _>>()?;
        Ok(SideOf { plan, built, keys, columns })
    }
}

const LIMITED: &str = "LIMIT takes the first of all rows";

/// Why a node needs all rows.
fn whole(node: &LogicalPlan) -> String {
    let reason = match node {
        LogicalPlan::Window(_) => "a window function needs all rows",
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => LIMITED,
        LogicalPlan::Distinct(_) => "DISTINCT ON takes the first rows of groups",
        LogicalPlan::RecursiveQuery(_) => "a recursive query is computed in rounds",
        LogicalPlan::Unnest(_) => "a function in it gives several rows",
        LogicalPlan::Values(_) => "a list of values in it is no table",
        LogicalPlan::Extension(node) => return format!("{} is computed of all rows", node.node.name()),
        _ => "a part of it is computed of all rows",
    };
    reason.to_owned()
}

/// Checks that rows of a schema have a form as bytes.
///
/// # Errors
/// The column that has none.
fn told_apart(schema: &DFSchema) -> Result<(), String> {
    match schema.fields().iter().find(|field| !has_bytes(field.data_type())) {
        Some(field) => Err(format!("rows cannot be told apart by its column \"{}\" of type {}", field.name(), field.data_type())),
        None => Ok(()),
    }
}

fn types_of(keys: &[Computed], schema: &DFSchema) -> Result<Vec<DataType>, String> {
    keys.iter().map(|key| key.data_type(schema.as_arrow()).map_err(|error| unplanned(&error))).collect()
}

/// The column that an expression is, by its place.
pub(in crate::views) fn column_of(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => column_of(&alias.expr, schema),
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// The columns of both sides of a join, which a condition may read.
///
/// # Errors
/// That two of them have one name.
fn both(left: &DFSchema, right: &DFSchema) -> Result<DFSchema, String> {
    let fields = left.iter().chain(right.iter());
    let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(|error| unplanned(&error))
}

/// Columns in which no two rows of a join agree. A row that meets no more than one of the other side is told by its own key.
fn key_of(gives: Gives, is_swapped: bool, left: &SideOf<'_>, right: &SideOf<'_>) -> Option<Vec<usize>> {
    let own = if is_swapped { right } else { left };
    if matches!(gives, Gives::Matched | Gives::Lone) {
        return own.built.key.clone();
    }
    let width = left.plan.schema().fields().len();
    let of_right = |key: &Vec<usize>| key.iter().map(|column| column + width).collect::<Vec<usize>>();
    let (left_key, right_key) = (left.built.key.clone(), right.built.key.as_ref().map(of_right));
    // Rows without a match have NULL for the other side's key, all alike.
    let may_be_alone = gives == Gives::PairsAndLone;
    if left_key.is_some() && right.is_unique() && !(may_be_alone && is_swapped) {
        return left_key;
    }
    if right_key.is_some() && left.is_unique() && (is_swapped || !may_be_alone) {
        return right_key;
    }
    Some([left_key?, right_key?].concat())
}
