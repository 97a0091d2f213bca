//! Aggregates: groups by what the types themselves call equal, and the calls that stores have too.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate as AggregateNode, Expr, LogicalPlan, Projection};

use super::super::estimate;
use super::super::expression::{Translator, is_key};
use super::super::scope::Slot;
use super::{Cut, Cutter, Ordered, Piece, agrees, bare_slot, nothing, offer, only_input};
use crate::federation::ast::HIDDEN;
use crate::federation::semantics::aggregates::meaning;
use crate::federation::semantics::typed::Typed;
use crate::federation::semantics::types::schema_after;
use crate::federation::semantics::{needs_key, quotient};
use crate::pgtype::{PgField, PgType};
use crate::stores::Relation;
use crate::stores::fragment::{Aggregate, AggregateCall, Expression, Node, Refusal};

/// An output of the node after its groups.
enum Output {
    /// A call, by its place among the calls.
    Call(AggregateCall),
    /// The value of a group, which the engine takes from the group's first row because it groups by a key.
    Group(usize),
}

/// A translated node.
struct Parts {
    groups: Vec<Expression>,
    keyed: Vec<bool>,
    outputs: Vec<Output>,
}

impl Cutter<'_> {
    pub(super) fn aggregate<'p>(&mut self, plan: &'p LogicalPlan, node: &'p AggregateNode) -> Result<Cut<'p>> {
        let mut piece = match self.cut(&node.input, Ordered::Free)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        let subqueries = self.subqueries(plan, &mut piece)?;
        let parts = {
            let scope = piece.scope();
            parts(&Translator { scope: &scope, subqueries: &subqueries }, node)
        };
        let Parts { groups, keyed, outputs } = match parts {
            Ok(parts) => parts,
            Err(refusal) => {
                self.refused("Aggregate", &piece, refusal);
                return self.around(plan, vec![Cut::Open(Box::new(piece))]);
            }
        };
        let schema = schema_after(plan, std::slice::from_ref(&piece.schema))?;
        let slots = slots_of(&groups, &keyed, &outputs);
        let calls = outputs.iter().filter_map(call_of).cloned().collect::<Vec<_>>();
        let fits = agrees(&slots, &schema).and_then(|()| are_told_apart(&keyed, &schema));
        if let Err(refusal) = fits {
            self.refused("Aggregate", &piece, refusal);
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        let relation = std::mem::replace(&mut piece.relation, nothing());
        let grouped = Relation::Aggregate { input: Box::new(relation), groups: groups.clone(), calls: calls.clone() };
        if estimate::is_grouped_here(&grouped, &piece.tables) {
            piece.relation = only_input(grouped);
            self.refused(
                "Aggregate",
                &piece,
                Refusal::new("groups", "so many small groups are sooner made here than by the store"),
            );
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        match offer(piece.connector.as_ref(), grouped, &piece.tables) {
            Ok(relation) => {
                let rows = estimate::rows(&relation, &piece.tables);
                let piece = Piece { original: plan, relation, slots, schema, rows, is_worthy: true, order: Vec::new(), ..piece };
                Ok(Cut::Open(Box::new(piece)))
            }
            Err((grouped, refusal)) => {
                piece.relation = only_input(grouped);
                if calls.iter().any(|call| call.aggregate == Aggregate::Average) && !keyed.contains(&true) {
                    return self.averages_apart(plan, (piece, &Arc::new(schema)), (groups, outputs), refusal);
                }
                self.refused("Aggregate", &piece, refusal);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }

    /// Averages that the store refuses, from sums and counts that it may have: divided here, by PostgreSQL's own rule.
    fn averages_apart<'p>(
        &mut self,
        plan: &'p LogicalPlan,
        (mut piece, whole): (Piece<'p>, &DFSchemaRef),
        (groups, outputs): (Vec<Expression>, Vec<Output>),
        refusal: Refusal,
    ) -> Result<Cut<'p>> {
        let Some((calls, shapes)) = apart(&outputs) else {
            self.refused("Aggregate", &piece, refusal);
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        };
        let relation = std::mem::replace(&mut piece.relation, nothing());
        let grouped = Relation::Aggregate { input: Box::new(relation), groups: groups.clone(), calls };
        match offer(piece.connector.as_ref(), grouped, &piece.tables) {
            Ok(relation) => {
                let rows = estimate::rows(&relation, &piece.tables);
                let schema = between(whole, groups.len(), &shapes)?;
                let slots = schema.fields().iter().enumerate().map(|(place, field)| Slot::plain(place, field.pg_type()));
                let piece = Piece { relation, slots: slots.collect(), rows, is_worthy: true, order: Vec::new(), ..piece };
                let Some(sealed) = self.seal(piece, &schema)? else { return self.below(plan).map(Cut::Closed) };
                let outputs = finished(whole, &schema, groups.len(), &shapes);
                Ok(Cut::Closed(Some(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(sealed))?))))
            }
            Err((grouped, _)) => {
                piece.relation = only_input(grouped);
                self.refused("Aggregate", &piece, refusal);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }
}

/// Whether a store tells values of columns apart as the engine would. Where a type calls values equal that look different, a
/// store makes one of them, and the engine does so only by a key.
pub(super) fn are_told_apart(keyed: &[bool], schema: &DFSchema) -> std::result::Result<(), Refusal> {
    for (keyed, field) in keyed.iter().zip(schema.fields()) {
        let typed = Typed::of_field(field);
        if !keyed && needs_key(&typed, field.data_type()) {
            return Err(Refusal::new(field.name(), "equal values of its type are kept apart here"));
        }
    }
    Ok(())
}

fn call_of(output: &Output) -> Option<&AggregateCall> {
    match output {
        Output::Call(call) => Some(call),
        Output::Group(_) => None,
    }
}

fn slots_of(groups: &[Expression], keyed: &[bool], outputs: &[Output]) -> Vec<Slot> {
    let shown = groups.iter().zip(keyed).enumerate();
    let mut slots: Vec<Slot> = shown.map(|(place, (group, keyed))| Slot { place, pg_type: group.pg_type, keyed: *keyed }).collect();
    let mut next = groups.len();
    for output in outputs {
        match output {
            Output::Group(place) => {
                slots.push(Slot::plain(*place, groups.get(*place).map_or(PgType::UNKNOWN, |group| group.pg_type)))
            }
            Output::Call(call) => {
                slots.push(Slot::plain(next, call.pg_type));
                next += 1;
            }
        }
    }
    slots
}

fn parts(translator: &Translator<'_>, node: &AggregateNode) -> std::result::Result<Parts, Refusal> {
    let mut groups = Vec::with_capacity(node.group_expr.len());
    let mut keyed = Vec::with_capacity(node.group_expr.len());
    for group in &node.group_expr {
        if matches!(group, Expr::GroupingSet(_)) {
            return Err(Refusal::new("grouping sets", "the engine has no store-neutral form for them"));
        }
        keyed.push(is_key(group) || bare_slot(group, translator.scope).is_some_and(|slot| slot.keyed));
        groups.push(translator.operand(group)?);
    }
    let outputs = node.aggr_expr.iter().map(|call| output(translator, call, &groups)).collect::<std::result::Result<_, _>>()?;
    Ok(Parts { groups, keyed, outputs })
}

fn output(translator: &Translator<'_>, expr: &Expr, groups: &[Expression]) -> std::result::Result<Output, Refusal> {
    let call = match expr {
        Expr::Alias(alias) => return output(translator, &alias.expr, groups),
        Expr::AggregateFunction(call) => call,
        other => return Err(Refusal::new(other.variant_name(), "it is not an aggregate")),
    };
    let (name, drops_repeated) = meaning(&call.func);
    if !call.params.order_by.is_empty() || call.params.null_treatment.is_some() {
        return Err(Refusal::new(name, "it asks for an order of its rows"));
    }
    let filter = call.params.filter.as_ref().map(|filter| translator.condition(filter)).transpose()?;
    if name == "first_value" && filter.is_none() {
        let [argument] = call.params.args.as_slice() else { return Err(Refusal::new(name, "it has not one argument")) };
        let argument = translator.operand(argument)?;
        return match groups.iter().position(|group| *group == argument) {
            Some(place) => Ok(Output::Group(place)),
            None => Err(Refusal::new(name, "which row is the first is not certain")),
        };
    }
    let distinct = call.params.distinct || drops_repeated;
    let (aggregate, argument, pg_type) = aggregate(translator, name, call)?;
    let distinct = distinct && !matches!(aggregate, Aggregate::Minimum | Aggregate::Maximum);
    Ok(Output::Call(AggregateCall { aggregate, argument, distinct, filter, pg_type }))
}

/// What a call computes, over which argument, of which type.
pub(super) fn aggregate(
    translator: &Translator<'_>,
    name: &str,
    call: &AggregateFunction,
) -> std::result::Result<(Aggregate, Option<Expression>, PgType), Refusal> {
    let [argument] = call.params.args.as_slice() else {
        return match (name, call.params.args.is_empty()) {
            ("count", true) => Ok((Aggregate::CountRows, None, PgType::INT8)),
            _ => Err(Refusal::new(name, "it has not one argument")),
        };
    };
    of_argument(translator, name, argument, call.params.distinct)
}

/// The same for a call with one argument.
pub(super) fn of_argument(
    translator: &Translator<'_>,
    name: &str,
    argument: &Expr,
    distinct: bool,
) -> std::result::Result<(Aggregate, Option<Expression>, PgType), Refusal> {
    if name == "count" {
        return Ok(match argument {
            Expr::Literal(value, _) if !value.is_null() && !distinct => (Aggregate::CountRows, None, PgType::INT8),
            _ => (Aggregate::Count, Some(translator.operand(argument)?), PgType::INT8),
        });
    }
    let argument = translator.expression(argument)?;
    let rank = crate::federation::semantics::numeric_rank(argument.pg_type);
    let plain = PgType::with_typmod(argument.pg_type.oid, -1);
    Ok(match (name, rank) {
        ("sum", Some(_)) => {
            let (argument, pg_type) = summed(argument)?;
            (Aggregate::Sum, Some(argument), pg_type)
        }
        ("avg", Some(0..=3)) => (Aggregate::Average, Some(argument), PgType::NUMERIC),
        ("avg", Some(_)) => (Aggregate::Average, Some(argument), PgType::FLOAT8),
        ("min", _) => (Aggregate::Minimum, Some(argument), plain),
        ("max", _) => (Aggregate::Maximum, Some(argument), plain),
        ("bool_and", _) if plain == PgType::BOOL => (Aggregate::BoolAnd, Some(argument), PgType::BOOL),
        ("bool_or", _) if plain == PgType::BOOL => (Aggregate::BoolOr, Some(argument), PgType::BOOL),
        _ => return Err(Refusal::new(name, "it is not among the aggregates that stores may run")),
    })
}

/// The argument of a sum without the cast by which the engine adds in a wider type, and the type of the sum.
fn summed(argument: Expression) -> std::result::Result<(Expression, PgType), Refusal> {
    let argument = match argument.node {
        Node::Cast(inner) if matches!((inner.pg_type.oid, argument.pg_type.oid), (21 | 23, 20) | (20, 1700)) => *inner,
        node => Expression { node, ..argument },
    };
    let pg_type = match argument.pg_type.oid {
        21 | 23 => PgType::INT8,
        // The engine's own sum of `bigint` is `bigint`; that of PostgreSQL is not.
        20 => PgType::NUMERIC,
        1700 => PgType::NUMERIC,
        other => PgType::with_typmod(other, -1),
    };
    Ok((argument, pg_type))
}

/// What each output is when averages are computed apart: a call as it was, or the types of a sum beside its count.
enum Shape {
    Same,
    Quotient(PgType),
}

/// The calls with a sum and a count for each average; `None` when an average is not one of exact numbers.
fn apart(outputs: &[Output]) -> Option<(Vec<AggregateCall>, Vec<Shape>)> {
    let (mut calls, mut shapes) = (Vec::new(), Vec::new());
    for output in outputs {
        let Output::Call(call) = output else { return None };
        if call.aggregate != Aggregate::Average {
            calls.push(call.clone());
            shapes.push(Shape::Same);
            continue;
        }
        let argument = call.argument.clone().filter(|_| call.pg_type.oid == PgType::NUMERIC.oid)?;
        let (argument, sum_type) = summed(argument).ok()?;
        let made = |aggregate, pg_type| AggregateCall { aggregate, argument: Some(argument.clone()), pg_type, ..call.clone() };
        calls.extend([made(Aggregate::Sum, sum_type), made(Aggregate::Count, PgType::INT8)]);
        shapes.push(Shape::Quotient(sum_type));
    }
    Some((calls, shapes))
}

/// The columns of the part below the division.
fn between(schema: &DFSchemaRef, groups: usize, shapes: &[Shape]) -> Result<DFSchemaRef> {
    let mut fields: Vec<_> = schema.iter().take(groups).map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
    for (index, ((qualifier, field), shape)) in schema.iter().skip(groups).zip(shapes).enumerate() {
        match shape {
            Shape::Same => fields.push((qualifier.cloned(), Arc::clone(field))),
            Shape::Quotient(sum_type) => {
                let sum = Typed::from(*sum_type).field(&format!("sum{HIDDEN}{index}"), sum_type.carrier());
                let count = Field::new(format!("count{HIDDEN}{index}"), DataType::Int64, false).with_pg_type(PgType::INT8);
                fields.extend([(None, sum), (None, Arc::new(count))]);
            }
        }
    }
    Ok(Arc::new(DFSchema::new_with_metadata(fields, schema.metadata().clone())?))
}

/// The outputs of the node over those columns.
fn finished(schema: &DFSchemaRef, below: &DFSchemaRef, groups: usize, shapes: &[Shape]) -> Vec<Expr> {
    let column = |place: usize| Expr::Column(Column::from(below.qualified_field(place)));
    let mut outputs: Vec<Expr> = (0..groups).map(column).collect();
    let mut place = groups;
    for ((qualifier, field), shape) in schema.iter().skip(groups).zip(shapes) {
        match shape {
            Shape::Same => {
                outputs.push(column(place));
                place += 1;
            }
            Shape::Quotient(_) => {
                let divided = quotient(column(place), column(place + 1));
                outputs.push(divided.alias_qualified(qualifier.cloned(), field.name()));
                place += 2;
            }
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(pg_type: PgType) -> Expression {
        Expression::column(0, pg_type)
    }

    #[test]
    fn sums_have_the_type_of_their_bare_argument() {
        let cast = |inner: PgType, to: PgType| Expression::new(to, Node::Cast(Box::new(column(inner))));
        let rows = [
            (cast(PgType::INT4, PgType::INT8), PgType::INT4, PgType::INT8),
            (cast(PgType::INT8, PgType::NUMERIC), PgType::INT8, PgType::NUMERIC),
            (column(PgType::numeric(12, 2)), PgType::numeric(12, 2), PgType::NUMERIC),
            (column(PgType::FLOAT8), PgType::FLOAT8, PgType::FLOAT8),
            (cast(PgType::TEXT, PgType::INT8), PgType::INT8, PgType::NUMERIC),
        ];
        for (argument, bare, sum) in rows {
            let (found, pg_type) = summed(argument).unwrap();
            assert_eq!((found.pg_type, pg_type), (bare, sum));
        }
    }

    #[test]
    fn averages_are_sums_over_counts() {
        let call = |aggregate, argument, pg_type| {
            Output::Call(AggregateCall { aggregate, argument: Some(argument), distinct: true, filter: None, pg_type })
        };
        let outputs = [
            call(Aggregate::Maximum, column(PgType::TEXT), PgType::TEXT),
            call(Aggregate::Average, column(PgType::INT4), PgType::NUMERIC),
        ];
        let (calls, shapes) = apart(&outputs).unwrap();
        let found: Vec<_> = calls.iter().map(|call| (call.aggregate, call.pg_type, call.distinct)).collect();
        assert_eq!(
            found,
            [
                (Aggregate::Maximum, PgType::TEXT, true),
                (Aggregate::Sum, PgType::INT8, true),
                (Aggregate::Count, PgType::INT8, true)
            ]
        );
        assert_eq!(shapes.len(), 2);
        assert!(apart(&[call(Aggregate::Average, column(PgType::FLOAT8), PgType::FLOAT8)]).is_none());
    }
}
