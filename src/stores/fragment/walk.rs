//! Walks over the expressions of a fragment.

use super::expression::{Expression, Node};
use super::relation::{Relation, SortKey};

impl Expression {
    /// The expressions directly below, in order. The relation of a [`Node::Subquery`] is not among them.
    pub fn operands(&self) -> Vec<&Self> {
        match &self.node {
            Node::Column(_) | Node::Literal(_) | Node::Subquery(_) => Vec::new(),
            Node::And(parts) | Node::Or(parts) => parts.iter().collect(),
            Node::Not(operand)
            | Node::Cast(operand)
            | Node::IsNull { operand, .. }
            | Node::IsTruth { operand, .. }
            | Node::Field { operand, .. } => vec![operand],
            Node::Compare { left, right, .. } | Node::Distinct { left, right, .. } => vec![left, right],
            Node::In { subject, list, .. } => std::iter::once(subject.as_ref()).chain(list).collect(),
            Node::Like { subject, pattern, .. } => vec![subject, pattern],
            Node::Case { branches, otherwise } => {
                let pairs = branches.iter().flat_map(|(condition, value)| [condition, value]);
                pairs.chain(otherwise.as_deref()).collect()
            }
            Node::Call { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// The expressions directly below, to be changed.
    pub fn operands_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.node {
            Node::Column(_) | Node::Literal(_) | Node::Subquery(_) => Vec::new(),
            Node::And(parts) | Node::Or(parts) => parts.iter_mut().collect(),
            Node::Not(operand)
            | Node::Cast(operand)
            | Node::IsNull { operand, .. }
            | Node::IsTruth { operand, .. }
            | Node::Field { operand, .. } => vec![operand],
            Node::Compare { left, right, .. } | Node::Distinct { left, right, .. } => vec![left, right],
            Node::In { subject, list, .. } => std::iter::once(subject.as_mut()).chain(list).collect(),
            Node::Like { subject, pattern, .. } => vec![subject, pattern],
            Node::Case { branches, otherwise } => {
                let pairs = branches.iter_mut().flat_map(|(condition, value)| [condition, value]);
                pairs.chain(otherwise.as_deref_mut()).collect()
            }
            Node::Call { arguments, .. } => arguments.iter_mut().collect(),
        }
    }

    /// Calls `visit` for this expression and all below it, outermost first.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        for operand in self.operands() {
            operand.visit(visit);
        }
    }

    /// Gives every column another ordinal.
    pub fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        if let Node::Column(ordinal) = &mut self.node {
            *ordinal = number(*ordinal);
        }
        for operand in self.operands_mut() {
            operand.renumber(number);
        }
    }
}

impl Relation {
    /// The expressions of this node itself, in order; not those of its inputs.
    pub fn expressions(&self) -> Vec<&Expression> {
        fn keys(keys: &[SortKey]) -> impl Iterator<Item = &Expression> {
            keys.iter().map(|key| &key.expression)
        }
        match self {
            Self::Table(_) | Self::Values { .. } | Self::Distinct { .. } | Self::Limit { .. } | Self::Union { .. } => Vec::new(),
            Self::Filter { condition, .. } => vec![condition],
            Self::Project { expressions, .. } => expressions.iter().collect(),
            Self::Join { condition, .. } => condition.iter().collect(),
            Self::Aggregate { groups, calls, .. } => {
                let calls = calls.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
                groups.iter().chain(calls).collect()
            }
            Self::Sort { keys: sorted, .. } => keys(sorted).collect(),
            Self::Window { calls, .. } => {
                calls.iter().flat_map(|call| call.arguments.iter().chain(&call.partition_by).chain(keys(&call.order_by))).collect()
            }
        }
    }

    /// Calls `visit` for this node and all below it, subqueries in expressions too; outermost first.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        let mut subqueries = Vec::new();
        for expression in self.expressions() {
            expression.visit(&mut |inner| {
                if let Node::Subquery(relation) = &inner.node {
                    subqueries.push(relation.as_ref());
                }
            });
        }
        for below in subqueries.into_iter().chain(self.inputs()) {
            below.visit(visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::predicate::Comparison;
    use super::super::super::value::Value;
    use super::super::{Function, Shape, Tables, shapes};
    use super::*;
    use crate::pgtype::PgType;

    fn column(ordinal: usize) -> Expression {
        Expression::column(ordinal, PgType::INT4)
    }

    fn sum() -> Expression {
        Expression::new(PgType::INT4, Node::Call { function: Function::Add, arguments: vec![column(1), column(3)] })
    }

    #[test]
    fn columns_are_renumbered_wherever_they_stand() {
        let one = Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(1))));
        let less = Node::Compare { op: Comparison::Less, left: Box::new(sum()), right: Box::new(one.clone()) };
        let condition = Expression::condition(less);
        let mut case =
            Expression::new(PgType::INT4, Node::Case { branches: vec![(condition, column(2))], otherwise: Some(Box::new(one)) });
        case.renumber(&|ordinal| ordinal * 10);
        let mut found = Vec::new();
        case.visit(&mut |inner| {
            if let Node::Column(ordinal) = inner.node {
                found.push(ordinal);
            }
        });
        assert_eq!(found, [10, 30, 20]);
        assert_eq!(sum().to_string(), "(#1 + #3)");
    }

    #[test]
    fn a_walk_finds_relations_inside_expressions() {
        let values = |number| Relation::Values { types: vec![PgType::INT4], rows: vec![vec![Some(Value::Int(number))]] };
        let subquery = Expression::new(PgType::INT4, Node::Subquery(Box::new(values(2))));
        let equal = Node::Compare { op: Comparison::Equal, left: Box::new(column(0)), right: Box::new(subquery) };
        let filter = Relation::Filter { input: Box::new(values(1)), condition: Expression::condition(equal) };
        let mut names = Vec::new();
        filter.visit(&mut |relation| names.push(relation.name()));
        assert_eq!(names, ["filter", "values", "values"]);
        let known: Vec<Shape> = shapes(&filter, &Tables::new());
        assert_eq!((known.len(), known[0].pg_type, known[0].nullable), (1, PgType::INT4, false));
    }
}
