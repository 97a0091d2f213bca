//! What connectors ask of a node before they accept it.

use super::super::super::fragment::{Bound, Expression, Frame, FrameUnit, Node, Refusal, Relation, Shape, Tables, shapes};
use super::super::super::predicate::Comparison;

/// The shapes of the columns that the expressions of a node are over: those of its inputs, one after the other.
pub fn input_shapes(relation: &Relation, tables: &Tables) -> Vec<Shape> {
    relation.inputs().into_iter().flat_map(|input| shapes(input, tables)).collect()
}

/// What a connector says of an expression over columns of these shapes.
pub type Judge<'j> = dyn Fn(&Expression, &[Shape]) -> Result<(), Refusal> + 'j;

/// Asks `judge` about every expression of the node itself, the inner ones first, over the shapes of the node's input. Relations of
/// subqueries are left out.
///
/// # Errors
/// The first refusal.
pub fn visit_expressions(relation: &Relation, inputs: &[Shape], judge: &Judge<'_>) -> Result<(), Refusal> {
    relation.expressions().into_iter().try_for_each(|expression| visit(expression, inputs, judge))
}

fn visit(expression: &Expression, inputs: &[Shape], judge: &Judge<'_>) -> Result<(), Refusal> {
    for operand in expression.operands() {
        visit(operand, inputs, judge)?;
    }
    judge(expression, inputs)
}

/// Whether the ends of a frame are rows, groups of peers, or the peers of the row: not distances between values.
pub fn is_counted(frame: &Frame) -> bool {
    let far = |bound| matches!(bound, Bound::Preceding(_) | Bound::Following(_));
    frame.unit != FrameUnit::Range || !far(frame.start) && !far(frame.end)
}

/// The parts of a conjunction, at any depth; the expression itself when it is none.
pub fn conjuncts(expression: &Expression) -> Vec<&Expression> {
    match &expression.node {
        Node::And(parts) => parts.iter().flat_map(conjuncts).collect(),
        _ => vec![expression],
    }
}

/// Whether the expression is `a = b` with a column of the left input on one side and one of the right input on the other,
/// where the left input has so many columns, and both sides have columns of that input only.
pub fn is_equality_of_sides(expression: &Expression, left_columns: usize) -> bool {
    let Node::Compare { op: Comparison::Equal, left, right } = &expression.node else { return false };
    let side = |expression: &Expression| {
        let (mut of_left, mut of_right) = (false, false);
        expression.visit(&mut |inner| match inner.node {
            Node::Column(ordinal) if ordinal < left_columns => of_left = true,
            Node::Column(_) => of_right = true,
            _ => {}
        });
        (of_left != of_right).then_some(of_left)
    };
    matches!((side(left), side(right)), (Some(one), Some(other)) if one != other)
}
