//! Guesses over relations: how many rows, whether columns are unique, how large the statement becomes. They decide only what is
//! worth a round trip, never what is right.

use crate::stores::fragment::{Expression, JoinKind, Node, Tables};
use crate::stores::predicate::{Comparison, Predicate};
use crate::stores::{Relation, Scan};

/// Rows that may travel without a second thought.
pub(super) const FEW_ROWS: u64 = 10_000;
/// Groups from which a store's grouping no longer stays in its caches: PostgreSQL 15 makes 1.5 million groups of 6 million rows
/// in 5.5 s, and sends the rows in 1.9 s.
const MANY_GROUPS: f64 = 200_000.0;
/// With more rows to a group than this, sending the groups saves more than making them costs.
const GROUP_LARGE: f64 = 24.0;
/// The part of rows that have a partner when nothing is known.
const MATCHED: f64 = 0.5;
/// The part of rows without a partner that an anti join is taken to keep at least.
const UNMATCHED_LEAST: f64 = 0.1;
/// Values that may travel instead of groups, about 256 MB of them.
const CELLS_MAX: u64 = 16_000_000;

/// How many columns a relation has.
pub(super) fn width(relation: &Relation) -> usize {
    match relation {
        Relation::Table(scan) => scan.columns.len(),
        Relation::Values { types, .. } => types.len(),
        Relation::Filter { input, .. }
        | Relation::Distinct { input }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. } => width(input),
        Relation::Project { expressions, .. } => expressions.len(),
        Relation::Join { left, kind: JoinKind::Semi | JoinKind::Anti, .. } => width(left),
        Relation::Join { left, right, .. } => width(left) + width(right),
        Relation::Aggregate { groups, calls, .. } => groups.len() + calls.len(),
        Relation::Union { inputs } => inputs.first().map_or(0, width),
        Relation::Window { input, calls } => width(input) + calls.len(),
    }
}

/// About how many rows a relation has; `None` when a table says nothing.
pub(super) fn rows(relation: &Relation, tables: &Tables) -> Option<u64> {
    let limited = |rows: Option<u64>, limit: Option<u64>| match (rows, limit) {
        (Some(rows), Some(limit)) => Some(rows.min(limit)),
        (rows, limit) => rows.or(limit),
    };
    match relation {
        Relation::Table(scan) => of_scan(scan, tables),
        Relation::Values { rows, .. } => u64::try_from(rows.len()).ok(),
        // Each condition is guessed to keep a third, which is enough to order joins.
        Relation::Filter { input, condition } => Some(rows(input, tables)? / 3_u64.saturating_pow(parts(condition)) + 1),
        Relation::Project { input, .. } | Relation::Window { input, .. } => rows(input, tables),
        Relation::Distinct { input } => Some(rows(input, tables)? / 3 + 1),
        Relation::Aggregate { groups, .. } if groups.is_empty() => Some(1),
        Relation::Aggregate { input, .. } => Some(rows(input, tables)? / 10 + 1),
        Relation::Sort { input, limit, .. } | Relation::Limit { input, limit, .. } => limited(rows(input, tables), *limit),
        Relation::Union { inputs } => inputs.iter().map(|input| rows(input, tables)).sum(),
        Relation::Join { left, right, kind, condition } => joined_rows((left, right), *kind, condition.as_ref(), tables),
    }
}

/// The rows of a join. A row has at most one partner on a side that is unique in the keys, and has it as often as that side has kept
/// its rows; of sides that are not unique nothing is known.
fn joined_rows(
    (left, right): (&Relation, &Relation),
    kind: JoinKind,
    condition: Option<&Expression>,
    tables: &Tables,
) -> Option<u64> {
    let (of_left, of_right) = (rows(left, tables)? as f64, rows(right, tables)? as f64);
    let (low, high) = keys(left, condition);
    let share = |side: &Relation, rows: f64, keys: &[usize]| {
        is_unique(side, keys, tables).then(|| all_rows(side, tables).map(|all| (rows / all.max(1.0)).min(1.0))).flatten()
    };
    let partners = (share(left, of_left, &low), share(right, of_right, &high));
    let inner = match partners {
        (Some(of_a_right), Some(of_a_left)) => (of_right * of_a_right).min(of_left * of_a_left),
        (Some(of_a_right), None) => of_right * of_a_right,
        (None, Some(of_a_left)) => of_left * of_a_left,
        (None, None) => of_left.max(of_right),
    };
    let kept = match kind {
        JoinKind::Semi => of_left * partners.1.unwrap_or(MATCHED),
        JoinKind::Anti => of_left * (1.0 - partners.1.unwrap_or(MATCHED)).max(UNMATCHED_LEAST),
        JoinKind::Left => of_left.max(inner),
        JoinKind::Right => of_right.max(inner),
        JoinKind::Full => of_left.max(of_right).max(inner),
        JoinKind::Inner => inner,
    };
    Some((kept as u64).max(1))
}

/// The rows that a relation would have without its conditions.
fn all_rows(relation: &Relation, tables: &Tables) -> Option<f64> {
    match relation {
        Relation::Table(scan) => tables.get(&scan.table).map(|table| crate::federation::estimate::rows(table)),
        Relation::Filter { input, .. }
        | Relation::Project { input, .. }
        | Relation::Sort { input, .. }
        | Relation::Window { input, .. }
        | Relation::Join { left: input, kind: JoinKind::Semi | JoinKind::Anti | JoinKind::Left, .. } => all_rows(input, tables),
        Relation::Join { left, right, .. } => Some(all_rows(left, tables)?.max(all_rows(right, tables)?)),
        other => rows(other, tables).map(|rows| rows as f64),
    }
}

/// How many different values a column of a relation has; `None` when that is not known.
pub(super) fn distinct(relation: &Relation, place: usize, tables: &Tables) -> Option<f64> {
    match relation {
        Relation::Table(scan) => {
            let table = tables.get(&scan.table)?;
            table.row_estimate?;
            crate::federation::estimate::distinct(table, *scan.columns.get(place)?)
        }
        Relation::Filter { input, .. }
        | Relation::Distinct { input }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. }
        | Relation::Join { left: input, kind: JoinKind::Semi | JoinKind::Anti, .. } => distinct(input, place, tables),
        Relation::Project { input, expressions: outputs } | Relation::Aggregate { input, groups: outputs, .. } => {
            match outputs.get(place)?.node {
                Node::Column(place) => distinct(input, place, tables),
                _ => None,
            }
        }
        Relation::Join { left, right, .. } => match place.checked_sub(width(left)) {
            Some(place) => distinct(right, place, tables),
            None => distinct(left, place, tables),
        },
        Relation::Window { input, .. } => (place < width(input)).then(|| distinct(input, place, tables)).flatten(),
        Relation::Values { .. } | Relation::Union { .. } => None,
    }
}

/// Whether so many small groups of a table are sooner made here, of its rows, than by its store.
pub(super) fn is_grouped_here(relation: &Relation, tables: &Tables) -> bool {
    let Relation::Aggregate { input, groups, .. } = relation else { return false };
    let Relation::Table(scan) = input.as_ref() else { return false };
    let (Some(table), Some(rows)) = (tables.get(&scan.table), rows(input, tables)) else { return false };
    let mut expected = 1.0;
    for group in groups {
        let Node::Column(place) = group.node else { return false };
        let distinct = scan.columns.get(place).and_then(|ordinal| crate::federation::estimate::distinct(table, *ordinal));
        let Some(distinct) = distinct else { return false };
        expected *= distinct;
    }
    are_sooner_here(rows, scan.columns.len(), expected)
}

fn are_sooner_here(rows: u64, columns: usize, groups: f64) -> bool {
    let cells = u64::try_from(columns).map_or(u64::MAX, |columns| rows.saturating_mul(columns));
    let groups = groups.min(rows as f64);
    groups >= MANY_GROUPS && rows as f64 <= groups * GROUP_LARGE && cells <= CELLS_MAX
}

fn of_scan(scan: &Scan, tables: &Tables) -> Option<u64> {
    let table = tables.get(&scan.table)?;
    table.row_estimate?;
    Some(crate::federation::estimate::scan_rows(table, scan) as u64)
}

/// The column that a condition holds at one value.
fn fixed_column(predicate: &Predicate) -> Option<usize> {
    match predicate {
        Predicate::Compare { column, op: Comparison::Equal, .. } if column.path.is_empty() => Some(column.column),
        _ => None,
    }
}

fn parts(condition: &Expression) -> u32 {
    match &condition.node {
        Node::And(parts) => u32::try_from(parts.len()).unwrap_or(u32::MAX),
        _ => 1,
    }
}

/// Whether at most one row of the relation has given values in these columns, as far as keys tell.
pub(super) fn is_unique(relation: &Relation, columns: &[usize], tables: &Tables) -> bool {
    if columns.is_empty() {
        return false;
    }
    match relation {
        Relation::Table(scan) => tables.get(&scan.table).is_some_and(|table| {
            let known: Vec<usize> = columns.iter().filter_map(|place| scan.columns.get(*place)).copied().collect();
            let fixed = scan.filter.iter().filter_map(fixed_column);
            let known: Vec<usize> = known.into_iter().chain(fixed).collect();
            table.primary_key.iter().chain(&table.unique_keys).any(|key| key.columns.iter().all(|column| known.contains(column)))
        }),
        Relation::Filter { input, .. } | Relation::Sort { input, .. } | Relation::Limit { input, .. } => {
            is_unique(input, columns, tables)
        }
        Relation::Window { input, .. } => {
            let inner = width(input);
            let known: Vec<usize> = columns.iter().copied().filter(|place| *place < inner).collect();
            is_unique(input, &known, tables)
        }
        Relation::Project { input, expressions } => {
            let known = columns.iter().filter_map(|place| match expressions.get(*place).map(|output| &output.node) {
                Some(Node::Column(place)) => Some(*place),
                _ => None,
            });
            is_unique(input, &known.collect::<Vec<_>>(), tables)
        }
        Relation::Aggregate { groups, .. } => (0..groups.len()).all(|place| columns.contains(&place)),
        Relation::Distinct { input } => {
            (0..width(input)).all(|place| columns.contains(&place)) || is_unique(input, columns, tables)
        }
        Relation::Join { left, kind: JoinKind::Semi | JoinKind::Anti, .. } => is_unique(left, columns, tables),
        Relation::Join { left, right, condition, .. } => joined_unique((left, right), condition.as_ref(), columns, tables),
        Relation::Values { .. } | Relation::Union { .. } => false,
    }
}

/// A join keeps the keys of a side when the other side has at most one partner for each of its rows.
fn joined_unique(
    (left, right): (&Relation, &Relation),
    condition: Option<&Expression>,
    columns: &[usize],
    tables: &Tables,
) -> bool {
    let boundary = width(left);
    let (low, high) = keys(left, condition);
    let of_left: Vec<usize> = columns.iter().copied().filter(|place| *place < boundary).collect();
    let of_right: Vec<usize> = columns.iter().filter_map(|place| place.checked_sub(boundary)).collect();
    is_unique(left, &of_left, tables) && is_unique(right, &high, tables)
        || is_unique(right, &of_right, tables) && is_unique(left, &low, tables)
}

/// The columns that a join's condition compares for equality: those of the left side, and their partners.
fn keys(left: &Relation, condition: Option<&Expression>) -> (Vec<usize>, Vec<usize>) {
    let boundary = width(left);
    let (mut low, mut high) = (Vec::new(), Vec::new());
    let conditions = match condition.map(|condition| &condition.node) {
        Some(Node::And(parts)) => parts.iter().collect(),
        Some(_) => condition.into_iter().collect(),
        None => Vec::new(),
    };
    for condition in conditions {
        if let Node::Compare { op: Comparison::Equal, left, right } = &condition.node
            && let (Node::Column(one), Node::Column(other)) = (&left.node, &right.node)
        {
            let (first, second) = (*one.min(other), *one.max(other));
            if first < boundary && second >= boundary {
                low.push(first);
                high.push(second - boundary);
            }
        }
    }
    (low, high)
}

/// How many constants a relation has, and how deep its nodes and operators are nested.
pub(super) fn size(relation: &Relation) -> (usize, usize) {
    let (mut constants, mut depth) = (0, 0);
    for expression in relation.expressions() {
        let (more, height) = expression_size(expression);
        constants += more;
        depth = depth.max(height);
    }
    if let Relation::Table(scan) = relation {
        constants += scan.filter.iter().map(predicate_size).sum::<usize>();
    }
    for input in relation.inputs() {
        let (more, height) = size(input);
        constants += more;
        depth = depth.max(height);
    }
    (constants, depth + 1)
}

fn expression_size(expression: &Expression) -> (usize, usize) {
    let own = match &expression.node {
        Node::Literal(_) => (1, 0),
        Node::Subquery(relation) => size(relation),
        _ => (0, 0),
    };
    let below = expression.operands().into_iter().map(expression_size);
    let (constants, depth) = below.fold(own, |(all, deepest), (more, depth)| (all + more, deepest.max(depth)));
    (constants, depth + 1)
}

fn predicate_size(predicate: &Predicate) -> usize {
    match predicate {
        Predicate::Compare { .. } | Predicate::IsNull { .. } | Predicate::Like { .. } => 1,
        Predicate::In { values, .. } => values.len(),
        Predicate::Rows(rows) => rows.values(),
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().map(predicate_size).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_groups_of_a_table_that_may_travel_are_made_here() {
        let check = |rows, columns, groups, expected| {
            assert_eq!(are_sooner_here(rows, columns, groups), expected, "{rows} rows of {columns}, {groups} groups");
        };
        check(6_000_000, 2, 400_000.0, true);
        check(6_000_000, 2, 1e9, true);
        check(300_000, 1, 250_000.0, true);
        check(6_000_000, 2, 200_000.0, false);
        check(6_000_000, 3, 400_000.0, false);
        check(60_000_000, 1, 4_000_000.0, false);
        check(150_000, 1, 150_000.0, false);
    }
}
