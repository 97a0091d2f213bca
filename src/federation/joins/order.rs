//! The order of inner joins: what one store can join by itself first, then always the two parts that give the fewest rows.
//!
//! The engine keeps the order of the query, and only chooses which side of a join is read first. Here the clusters of a plan are
//! taken apart ([`super::cluster`]) and put together again; their columns come out as they did before.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinConstraint, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection};

use super::super::estimate::CONDITION_UNKNOWN;
use super::cardinality::{self, Cardinality, Pair, Side};
use super::cluster::Cluster;
use super::{implied, reduce, semi};
use crate::stores::StoreName;

/// Puts the inner joins of an optimised plan into a good order.
///
/// # Errors
/// What building the new nodes fails with.
pub fn order(plan: LogicalPlan) -> Result<LogicalPlan> {
    ordered(reduce::reduce(plan)?)
}

fn ordered(plan: LogicalPlan) -> Result<LogicalPlan> {
    let ordered = plan.transform_down_with_subqueries(|node| {
        let (mut node, mut sunk) = (node, false);
        // Below one that has sunk there may be another at the top.
        while let Some(changed) = semi::sink(&node)? {
            (node, sunk) = (changed, true);
        }
        let unchanged = |node| Ok(Transformed::new(node, sunk, TreeNodeRecursion::Continue));
        let Some(cluster) = Cluster::of(&node) else { return unchanged(node) };
        if !cluster.relations.iter().any(|relation| reads_stores(relation)) {
            return unchanged(node);
        }
        let relations = cluster.relations.into_iter().map(|relation| Ok(Arc::new(self::ordered(Arc::unwrap_or_clone(relation))?)));
        let cluster = Cluster { relations: relations.collect::<Result<Vec<_>>>()?, ..cluster };
        let rebuilt = Assembly::new(cluster, &node).assemble()?;
        Ok(Transformed::new(rebuilt, true, TreeNodeRecursion::Jump))
    })?;
    Ok(ordered.data)
}

/// Whether a plan reads a table of a store. Of system relations nothing is known that an order could be based on.
fn reads_stores(plan: &LogicalPlan) -> bool {
    let is_scan = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::TableScan(scan) if cardinality::stored(scan).is_some()));
    plan.exists(is_scan).unwrap_or(false)
}

/// The one store whose tables a plan reads; `None` when there are several, or other relations.
pub(super) fn store_of(plan: &LogicalPlan) -> Option<StoreName> {
    let (mut found, mut mixed): (Option<StoreName>, bool) = (None, false);
    let walked = plan.apply(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let provider = cardinality::stored(scan);
        let store = provider.as_ref().and_then(cardinality::as_stored).map(|stored| stored.store().clone());
        mixed |= store.is_none() || found.is_some() && found != store;
        found = store;
        Ok(TreeNodeRecursion::Continue)
    });
    found.filter(|_| walked.is_ok() && !mixed)
}

/// A part of the new plan: one relation, or several that are joined.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its plan.
    pub(super) plan: LogicalPlan,
    /// Places of its relations in the query.
    pub(super) relations: BTreeSet<usize>,
    /// The store whose tables it reads; `None` for several, or none.
    pub(super) store: Option<StoreName>,
    /// About how many rows it gives.
    pub(super) rows: f64,
}

/// A condition with the relations that it reads.
#[derive(Debug)]
struct Condition {
    expr: Expr,
    relations: BTreeSet<usize>,
}

/// An equality with the relations that its sides read.
#[derive(Debug)]
struct Equality {
    sides: (Expr, Expr),
    relations: (BTreeSet<usize>, BTreeSet<usize>),
}

struct Assembly {
    parts: Vec<Part>,
    /// Parts of one store that have been joined to others since.
    made: Vec<Part>,
    /// Columns that are equal in all rows that come out.
    classes: Vec<Vec<Column>>,
    /// The store of each relation.
    stores: Vec<Option<StoreName>>,
    equalities: Vec<Equality>,
    conditions: Vec<Condition>,
    /// Every column of the relations: which relation, and which of its columns.
    places: HashMap<Column, (usize, usize)>,
    /// What each relation gives by itself.
    known: Vec<Cardinality>,
    /// The fewest different values among the columns that a column must equal, where they are known: a column without statistics
    /// that is joined with a key has at most the values of the key.
    fewest: HashMap<Column, f64>,
    /// The columns that come out, in order.
    wanted: Vec<Column>,
}

impl Assembly {
    fn new(cluster: Cluster, top: &LogicalPlan) -> Self {
        let mut places = HashMap::new();
        for (relation, plan) in cluster.relations.iter().enumerate() {
            places.extend(plan.schema().columns().into_iter().enumerate().map(|(place, column)| (column, (relation, place))));
        }
        let known: Vec<Cardinality> = cluster.relations.iter().map(|plan| cardinality::of(plan)).collect();
        let parts = cluster.relations.into_iter().enumerate().map(|(place, plan)| Part {
            store: store_of(&plan),
            plan: Arc::unwrap_or_clone(plan),
            relations: BTreeSet::from([place]),
            rows: known.get(place).map_or(1.0, |known| known.rows),
        });
        let parts: Vec<Part> = parts.collect();
        let relations = |expr: &Expr| -> BTreeSet<usize> {
            expr.column_refs().into_iter().filter_map(|column| places.get(column)).map(|(relation, _)| *relation).collect()
        };
        let mut conditions: Vec<Condition> =
            cluster.conditions.into_iter().map(|expr| Condition { relations: relations(&expr), expr }).collect();
        let mut equalities = Vec::new();
        for (one, other) in cluster.pairs {
            let both = (relations(&one), relations(&other));
            if both.0.is_empty() || both.1.is_empty() || !both.0.is_disjoint(&both.1) {
                let (relations, expr) = (both.0.union(&both.1).copied().collect(), one.eq(other));
                conditions.push(Condition { expr, relations });
            } else {
                equalities.push(Equality { sides: (one, other), relations: both });
            }
        }
        let fewest = fewest_values(&equalities, &places, &known);
        let classes = implied::classes(equalities.iter().map(|equality| &equality.sides), &parts);
        let wanted = top.schema().columns();
        let stores = parts.iter().map(|part| part.store.clone()).collect();
        Self { parts, made: Vec::new(), classes, stores, equalities, conditions, places, known, fewest, wanted }
    }

    fn assemble(mut self) -> Result<LogicalPlan> {
        for place in 0..self.parts.len() {
            self.filter(place)?;
        }
        while let Some((one, other)) = self.next(true) {
            self.join(one, other)?;
        }
        self.keep_implied()?;
        while let Some((one, other)) = self.next(false) {
            self.join(one, other)?;
        }
        let Some(part) = self.parts.pop() else {
            return datafusion::common::internal_err!("a cluster of joins has no relations");
        };
        project(part.plan, &self.wanted)
    }

    /// Keeps of each part the rows whose columns may equal those that the conditions of another relation of its store have left: a
    /// customer whose nation must be the supplier's, which must be one of five.
    fn keep_implied(&mut self) -> Result<()> {
        for place in 0..self.parts.len() {
            let Some(part) = self.parts.get(place) else { continue };
            let values = |column: &Column| {
                let (relation, column) = self.places.get(column)?;
                self.known.get(*relation)?.known(*column)
            };
            let others = self.made.iter().chain(self.parts.iter());
            if let Some(narrowed) = implied::narrowed(part, others, &self.classes, &values)?
                && let Some(part) = self.parts.get_mut(place)
            {
                *part = narrowed;
            }
        }
        Ok(())
    }

    /// Conditions on one relation alone.
    fn filter(&mut self, place: usize) -> Result<()> {
        let Some(part) = self.parts.get(place) else { return Ok(()) };
        let own = self.take_conditions(&part.relations.clone());
        let count = own.len();
        let Some(predicate) = conjunction(own) else { return Ok(()) };
        if let Some(part) = self.parts.get_mut(place) {
            part.plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(part.plan.clone()))?);
            part.rows = (part.rows * unknown(count)).max(1.0);
        }
        Ok(())
    }

    /// The next two parts to join: those that give the fewest rows, and of equals those that the query names first. Parts without
    /// an equality between them only when there are no others. `within` one store a join may not give more rows than it reads.
    fn next(&self, within: bool) -> Option<(usize, usize)> {
        let mut best: Option<((bool, f64), (usize, usize))> = None;
        for (place, one) in self.parts.iter().enumerate() {
            for (other_place, other) in self.parts.iter().enumerate().skip(place + 1) {
                let (rows, connected) = self.estimate(one, other);
                if within && (!connected || one.store.is_none() || one.store != other.store || rows > one.rows + other.rows) {
                    continue;
                }
                let rank = (!connected, rows);
                if best.as_ref().is_none_or(|(known, _)| rank.partial_cmp(known).is_some_and(std::cmp::Ordering::is_lt)) {
                    best = Some((rank, (place, other_place)));
                }
            }
        }
        best.map(|(_, places)| places)
    }

    /// The rows of a join of two parts, and whether an equality connects them.
    fn estimate(&self, one: &Part, other: &Part) -> (f64, bool) {
        let pairs: Vec<Pair> = self
            .equalities
            .iter()
            .filter_map(|equality| {
                let (left, right) = oriented(equality, one, other)?;
                Some(Pair { left: self.distinct(left, one), right: self.distinct(right, other) })
            })
            .collect();
        let both: BTreeSet<usize> = one.relations.union(&other.relations).copied().collect();
        let conditions = self.conditions.iter().filter(|condition| condition.relations.is_subset(&both)).count();
        let rows = cardinality::joined(&self.side(one), &self.side(other), &pairs) * unknown(conditions);
        (rows.max(1.0), !pairs.is_empty())
    }

    fn side(&self, part: &Part) -> Side {
        let domains = part.relations.iter().map(|relation| self.known.get(*relation).map_or(1.0, |known| known.domain));
        Side { rows: part.rows, domains: domains.collect() }
    }

    /// Which relation of a part a key is of, counted within the part, and its different values.
    fn distinct(&self, key: &Expr, part: &Part) -> Option<(usize, f64)> {
        let name = cardinality::column_of(key)?;
        let (relation, column) = *self.places.get(name)?;
        let within = part.relations.iter().position(|own| *own == relation)?;
        let known = self.known.get(relation)?;
        let inferred = || self.fewest.get(name).map(|values| values.clamp(1.0, known.domain.max(1.0)));
        Some((within, known.known(column).or_else(inferred).unwrap_or_else(|| known.distinct(column))))
    }

    /// Joins two parts under all conditions that can be evaluated now; the smaller side is named first.
    fn join(&mut self, one: usize, other: usize) -> Result<()> {
        let (rows, _) = match (self.parts.get(one), self.parts.get(other)) {
            (Some(left), Some(right)) => self.estimate(left, right),
            _ => return Ok(()),
        };
        let right = self.parts.remove(other);
        let left = self.parts.remove(one);
        let (left, right) = if right.rows < left.rows { (right, left) } else { (left, right) };
        let mut on = Vec::new();
        self.equalities.retain(|equality| match oriented(equality, &left, &right) {
            Some((first, second)) => {
                on.push((first.clone(), second.clone()));
                false
            }
            None => true,
        });
        let relations: BTreeSet<usize> = left.relations.union(&right.relations).copied().collect();
        let within =
            |equality: &mut Equality| equality.relations.0.is_subset(&relations) && equality.relations.1.is_subset(&relations);
        // A side that read both parts could be no key of this join.
        let astride: Vec<Expr> =
            self.equalities.extract_if(.., within).map(|equality| equality.sides.0.eq(equality.sides.1)).collect();
        let store = left.store.clone().filter(|store| right.store.as_ref() == Some(store));
        if store.is_some() {
            self.made.extend([left.clone(), right.clone()]);
        }
        let beside = if store.is_none() { self.beside_a_key(&left, &mut on) } else { Vec::new() };
        let filter = conjunction(self.take_conditions(&relations).into_iter().chain(astride).chain(beside));
        let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
        let joined =
            Join::try_new(Arc::new(left.plan), Arc::new(right.plan), on, filter, JoinType::Inner, constraint, nulls, false)?;
        let plan = if self.parts.is_empty() { LogicalPlan::Join(joined) } else { self.narrow(LogicalPlan::Join(joined))? };
        self.parts.insert(one.min(self.parts.len()), Part { plan, relations, store, rows });
        Ok(())
    }

    /// Takes from the pairs of a join those beside a key of its first side that compare columns of another store than the key is compared
    /// with. The join tells its other side which keys it has read, and can tell only a side that has all the columns of its pairs: the
    /// key alone reaches the store. It finds its row by it as well.
    fn beside_a_key(&self, left: &Part, on: &mut Vec<(Expr, Expr)>) -> Vec<Expr> {
        let is_key = |expr: &Expr| {
            let place = cardinality::column_of(expr).and_then(|column| self.places.get(column));
            let known = place.and_then(|(relation, column)| Some((self.known.get(*relation)?, *column)));
            left.relations.len() == 1
                && known.is_some_and(|(known, column)| known.known(column).is_some_and(|all| all >= known.domain))
        };
        let store_of = |expr: &Expr| {
            let (relation, _) = self.places.get(cardinality::column_of(expr)?)?;
            self.stores.get(*relation)?.as_ref()
        };
        let Some(found) = on.iter().find(|(own, _)| is_key(own)).map(|(_, other)| store_of(other)) else { return Vec::new() };
        on.extract_if(.., |(own, other)| !is_key(own) && store_of(other) != found).map(|(own, other)| own.eq(other)).collect()
    }

    /// Takes the conditions that read nothing but these relations.
    fn take_conditions(&mut self, relations: &BTreeSet<usize>) -> Vec<Expr> {
        let all = std::mem::take(&mut self.conditions);
        let (now, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|condition| condition.relations.is_subset(relations));
        self.conditions = later;
        now.into_iter().map(|condition| condition.expr).collect()
    }

    /// Leaves out the columns that nothing above reads.
    fn narrow(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let read = self.equalities.iter().flat_map(|equality| [&equality.sides.0, &equality.sides.1]);
        let read = read.chain(self.conditions.iter().map(|condition| &condition.expr));
        let needed: HashSet<&Column> = read.flat_map(Expr::column_refs).chain(&self.wanted).collect();
        let kept: Vec<Column> = plan.schema().columns().into_iter().filter(|column| needed.contains(column)).collect();
        project(plan, &kept)
    }
}

/// The fewest different values of the columns that each column must equal, through any number of equalities.
fn fewest_values(equalities: &[Equality], places: &HashMap<Column, (usize, usize)>, known: &[Cardinality]) -> HashMap<Column, f64> {
    let mut classes: Vec<HashSet<&Column>> = Vec::new();
    for equality in equalities {
        let sides = (cardinality::column_of(&equality.sides.0), cardinality::column_of(&equality.sides.1));
        let (Some(one), Some(other)) = sides else { continue };
        let touched = |class: &mut HashSet<&Column>| class.contains(one) || class.contains(other);
        let mut merged: HashSet<&Column> = classes.extract_if(.., touched).flatten().collect();
        merged.extend([one, other]);
        classes.push(merged);
    }
    let values = |column: &&Column| places.get(*column).and_then(|(relation, place)| known.get(*relation)?.known(*place));
    let mut fewest = HashMap::new();
    for class in classes {
        if let Some(least) = class.iter().filter_map(values).reduce(f64::min) {
            fewest.extend(class.into_iter().map(|column| (column.clone(), least)));
        }
    }
    fewest
}

/// An equality between two parts with its sides in their order; `None` when it is not between them.
fn oriented<'a>(equality: &'a Equality, one: &Part, other: &Part) -> Option<(&'a Expr, &'a Expr)> {
    let (first, second) = (&equality.sides.0, &equality.sides.1);
    let (reads_first, reads_second) = (&equality.relations.0, &equality.relations.1);
    if reads_first.is_subset(&one.relations) && reads_second.is_subset(&other.relations) {
        Some((first, second))
    } else if reads_second.is_subset(&one.relations) && reads_first.is_subset(&other.relations) {
        Some((second, first))
    } else {
        None
    }
}

fn unknown(conditions: usize) -> f64 {
    CONDITION_UNKNOWN.powi(i32::try_from(conditions).unwrap_or(i32::MAX))
}

/// The plan with just these columns; the plan itself when it has no others and the same order.
fn project(plan: LogicalPlan, columns: &[Column]) -> Result<LogicalPlan> {
    if plan.schema().columns() == columns {
        return Ok(plan);
    }
    let columns = columns.iter().cloned().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
