//! Joins: both sides belong to one store, the condition is one it takes, and the result is not larger than what it is made of.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};

use super::super::estimate;
use super::super::expression::{Subqueries, Translator};
use super::super::scope::{Input, Scope, Slot};
use super::{Cut, Cutter, Ordered, Piece, held_back, nothing, offer};
use crate::federation::semantics::may_fail;
use crate::federation::semantics::types::schema_after;
use crate::stores::Relation;
use crate::stores::fragment::{Expression, JoinKind, Node, Refusal};
use crate::stores::predicate::Comparison;

/// The condition of a join in parts, over the columns of both relations.
struct Conditions {
    /// The part that the store is offered.
    taken: Vec<Expression>,
    /// What stays above an inner join.
    rest: Vec<Expr>,
    /// The columns of equalities between plain columns: left and right, each in its own relation.
    pairs: Vec<(usize, usize)>,
}

impl Cutter<'_> {
    pub(super) fn join<'p>(&mut self, plan: &'p LogicalPlan, join: &'p Join) -> Result<Cut<'p>> {
        let left = self.cut(&join.left, Ordered::Free)?;
        let right = self.cut(&join.right, Ordered::Free)?;
        let (mut left, right) = match (left, right) {
            (Cut::Open(left), Cut::Open(right)) if left.connector.name() == right.connector.name() => (left, right),
            (left, right) => return self.around(plan, vec![left, right]),
        };
        let subqueries = self.subqueries(plan, &mut left)?;
        let said = self.residuals.len();
        let conditions = match self.conditions(join, (&left, &right), &subqueries) {
            Ok(conditions) => conditions,
            Err(refusal) => {
                self.refused("Join", &left, refusal);
                return self.around(plan, vec![Cut::Open(left), Cut::Open(right)]);
            }
        };
        let schema = schema_after(plan, &[left.schema.clone(), right.schema.clone()])?;
        match joined(join, *left, *right, &conditions.taken) {
            Ok((piece, is_taken)) if is_taken.is_none() => {
                let piece = Piece { original: plan, schema, ..piece };
                match conjunction(conditions.rest) {
                    None => Ok(Cut::Open(Box::new(piece))),
                    Some(rest) => self.with_rest(plan, piece, rest, &join.schema),
                }
            }
            Ok((piece, refusal)) => {
                // The condition that could not stay inside was told for nothing.
                self.residuals.truncate(said);
                let names = piece.names();
                let refusal = refusal.unwrap_or_else(|| Refusal::new("join", "it is refused"));
                self.told("Join", piece.connector.name().as_str(), refusal, &names);
                self.below(plan).map(Cut::Closed)
            }
            Err(refusal) => {
                self.residuals.truncate(said);
                self.told("Join", "", refusal, &[]);
                self.below(plan).map(Cut::Closed)
            }
        }
    }

    fn conditions(
        &mut self,
        join: &Join,
        (left, right): (&Piece<'_>, &Piece<'_>),
        subqueries: &Subqueries,
    ) -> std::result::Result<Conditions, Refusal> {
        let is_swapped = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti);
        let (left_width, right_width) = (estimate::width(&left.relation), estimate::width(&right.relation));
        let scope = Scope::new(vec![
            Input { schema: &left.schema, slots: &left.slots, offset: if is_swapped { right_width } else { 0 } },
            Input { schema: &right.schema, slots: &right.slots, offset: if is_swapped { 0 } else { left_width } },
        ]);
        let translator = Translator { scope: &scope, subqueries };
        let mut found = Conditions { taken: Vec::new(), rest: Vec::new(), pairs: Vec::new() };
        for (low, high) in &join.on {
            knows_nulls(join, low, high)?;
            let equality = translator.equality(low, high)?;
            found.pairs.extend(column_pair(&equality).map(|(low, high)| {
                if is_swapped { (low.wrapping_sub(right_width), high) } else { (low, high.wrapping_sub(left_width)) }
            }));
            found.taken.push(equality);
        }
        guard(join, (left, right), &found.pairs)?;
        let conditions = join.filter.iter().flat_map(split_conjunction);
        let (failing, safe): (Vec<_>, Vec<_>) = conditions.partition(|condition| may_fail(condition, &join.schema));
        let safe_count = safe.len();
        for (place, condition) in safe.into_iter().chain(failing).enumerate() {
            let is_held_back = place >= safe_count && !found.rest.is_empty();
            let translated = if is_held_back { Err(held_back()) } else { translator.condition(condition) };
            match translated {
                Ok(condition) => found.taken.push(condition),
                Err(refusal) if join.join_type == JoinType::Inner => {
                    let names = [left.names(), right.names()].concat();
                    self.told("Filter", left.connector.name().as_str(), refusal, &names);
                    found.rest.push(condition.clone());
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(found)
    }
}

/// Refuses keys for which NULL is more than a value that equals nothing. NOT IN finds nothing where its list has a NULL;
/// INTERSECT finds NULL in NULL, which stores do only pair by pair.
fn knows_nulls(join: &Join, left: &Expr, right: &Expr) -> std::result::Result<(), Refusal> {
    let plain = !join.null_aware && join.null_equality == NullEquality::NullEqualsNothing;
    let never = |expr: &Expr, plan: &LogicalPlan| expr.nullable(plan.schema()).is_ok_and(|nullable| !nullable);
    if plain || never(left, &join.left) && never(right, &join.right) {
        return Ok(());
    }
    Err(Refusal::new("join", "its keys may be NULL, and NULL counts"))
}

/// Refuses a join whose result may be larger than both of its inputs: it would travel instead of them.
fn guard(join: &Join, (left, right): (&Piece<'_>, &Piece<'_>), pairs: &[(usize, usize)]) -> std::result::Result<(), Refusal> {
    match join.join_type {
        JoinType::LeftMark | JoinType::RightMark => return Err(Refusal::new("mark join", "stores have none")),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti => return Ok(()),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {}
    }
    if join.on.is_empty() {
        return Err(Refusal::new("join", "it compares no columns for equality, so that its result may be large"));
    }
    let (low, high): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
    if estimate::is_unique(&left.relation, &low, &left.tables) || estimate::is_unique(&right.relation, &high, &right.tables) {
        return Ok(());
    }
    let fits = left
        .rows
        .zip(right.rows)
        .is_some_and(|(left, right)| left.saturating_mul(right) <= left.saturating_add(right).saturating_add(estimate::FEW_ROWS));
    if fits { Ok(()) } else { Err(Refusal::new("join", "neither side is unique in its keys, so that its result may be large")) }
}

fn column_pair(equality: &Expression) -> Option<(usize, usize)> {
    match &equality.node {
        Node::Compare { op: Comparison::Equal, left, right } => match (&left.node, &right.node) {
            (Node::Column(left), Node::Column(right)) => Some((*left, *right)),
            _ => None,
        },
        _ => None,
    }
}

/// The joined piece, with the refusal when the store refused it.
fn joined<'p>(
    join: &Join,
    left: Piece<'p>,
    right: Piece<'p>,
    taken: &[Expression],
) -> std::result::Result<(Piece<'p>, Option<Refusal>), Refusal> {
    let is_swapped = matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti);
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi | JoinType::RightSemi => JoinKind::Semi,
        JoinType::LeftAnti | JoinType::RightAnti => JoinKind::Anti,
        JoinType::LeftMark | JoinType::RightMark => return Err(Refusal::new("mark join", "stores have none")),
    };
    let (mut first, mut second) = if is_swapped { (right, left) } else { (left, right) };
    let offset = estimate::width(&first.relation);
    let condition = match taken {
        [] => None,
        [only] => Some(only.clone()),
        parts => Some(Expression::condition(Node::And(parts.to_vec()))),
    };
    let (low, high) = (std::mem::replace(&mut first.relation, nothing()), std::mem::replace(&mut second.relation, nothing()));
    first.tables.extend(std::mem::take(&mut second.tables));
    let relation = Relation::Join { left: Box::new(low), right: Box::new(high), kind, condition };
    let slots = match kind {
        JoinKind::Semi | JoinKind::Anti => first.slots.clone(),
        _ => {
            let shifted = second.slots.iter().map(|slot| Slot { place: slot.place + offset, ..*slot });
            first.slots.iter().copied().chain(shifted).collect()
        }
    };
    let (relation, refusal) = match offer(first.connector.as_ref(), relation, &first.tables) {
        Ok(relation) => (relation, None),
        Err((relation, refusal)) => (relation, Some(refusal)),
    };
    let rows = estimate::rows(&relation, &first.tables);
    let connector = Arc::clone(&first.connector);
    Ok((Piece { connector, relation, slots, rows, is_worthy: true, order: Vec::new(), ..first }, refusal))
}
