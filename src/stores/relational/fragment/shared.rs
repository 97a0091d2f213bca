//! Relations that a statement reads more than once, and that a store would compute each time.
//!
//! Those are aggregates, windows and rows without repetitions, also below filters and columns of their own. Joins are not among
//! them: a store finds few rows of a join by what stands around it, and all of them when it has to be kept.

use super::super::super::fragment::{Node, Relation};

/// The relations that occur more than once, each behind those that it reads. Of what is inside equal relations only one counts.
pub(super) fn repeated(root: &Relation) -> Vec<&Relation> {
    let mut seen = Vec::new();
    visit(root, &mut seen);
    let mut repeated: Vec<&Relation> = seen.into_iter().filter(|(_, count)| *count > 1).map(|(relation, _)| relation).collect();
    repeated.sort_by_cached_key(|relation| nodes(relation));
    repeated
}

fn nodes(relation: &Relation) -> usize {
    let mut count = 0;
    relation.visit(&mut |_| count += 1);
    count
}

/// Counts relations from the outermost inwards.
fn visit<'r>(relation: &'r Relation, seen: &mut Vec<(&'r Relation, usize)>) {
    if is_costly(relation) {
        if let Some((_, count)) = seen.iter_mut().find(|(known, _)| *known == relation) {
            *count += 1;
            return;
        }
        seen.push((relation, 1));
    }
    for input in relation.inputs() {
        visit(input, seen);
    }
    for expression in relation.expressions() {
        expression.visit(&mut |inner| {
            if let Node::Subquery(subquery) = &inner.node {
                visit(subquery, seen);
            }
        });
    }
}

fn is_costly(relation: &Relation) -> bool {
    match relation {
        Relation::Aggregate { .. } | Relation::Distinct { .. } | Relation::Window { .. } => true,
        Relation::Filter { input, .. } | Relation::Project { input, .. } => is_costly(input),
        Relation::Table(_)
        | Relation::Values { .. }
        | Relation::Join { .. }
        | Relation::Sort { .. }
        | Relation::Limit { .. }
        | Relation::Union { .. } => false,
    }
}
