//! Whole forms: the store finds the rows and computes the values itself.

use super::super::super::edit::{Delete, Update};
use super::super::super::fragment::{Expression, Node, Relation};
use super::super::super::schema::TableId;
use super::super::fragment::{Phrasing, Target, write_delete, write_update};
use super::super::sql::{Sql, Unwritable};

const NOT_PLAIN: Unwritable = Unwritable("is set in rows that the table alone does not tell");

/// Writes `UPDATE table SET column = value, … WHERE …`.
///
/// # Errors
/// A value or column that cannot be written; a relation that is not [plain](is_plain).
pub fn update(edit: &Update, phrasing: &dyn Phrasing, sql: &mut Sql) -> Result<(), Unwritable> {
    if !is_plain(&edit.relation, &edit.table.id) {
        return Err(NOT_PLAIN);
    }
    let target = Target { table: &edit.table, relation: &edit.relation, tables: &edit.tables };
    write_update(target, &edit.set, phrasing, sql)
}

/// Writes `DELETE FROM table WHERE …`.
///
/// # Errors
/// As [`update`].
pub fn delete(edit: &Delete, phrasing: &dyn Phrasing, sql: &mut Sql) -> Result<(), Unwritable> {
    if !is_plain(&edit.relation, &edit.table.id) {
        return Err(NOT_PLAIN);
    }
    let target = Target { table: &edit.table, relation: &edit.relation, tables: &edit.tables };
    write_delete(target, phrasing, sql)
}

/// Whether the relation is rows of the table under conditions, and values computed of each: it has no limit, and nothing in it reads
/// another table or the same one again.
pub fn is_plain(relation: &Relation, target: &TableId) -> bool {
    let (values, rows) = parts(relation);
    let mut below = rows;
    while let Relation::Filter { input, condition } = below {
        if reads_more(condition) {
            return false;
        }
        below = input;
    }
    let is_table = matches!(below, Relation::Table(scan) if scan.table == *target && scan.limit.is_none());
    is_table && !values.iter().any(reads_more)
}

/// Whether an expression reads a column that one before it sets: where columns are set from left to right, it would see the new value.
pub fn reads_assigned(edit: &Update) -> bool {
    let (values, mut below) = parts(&edit.relation);
    while let Relation::Filter { input, .. } = below {
        below = input;
    }
    let Relation::Table(scan) = below else { return true };
    let assigned_before = |ordinal: usize, place: usize| {
        let column = scan.columns.get(ordinal);
        column.is_none_or(|column| edit.set.iter().take(place).any(|set| set == column))
    };
    if !matches!(edit.relation, Relation::Project { .. }) {
        return (0..edit.set.len()).any(|place| assigned_before(place, place));
    }
    values.iter().enumerate().any(|(place, value)| {
        let mut is_read = false;
        value.visit(&mut |inner| {
            if let Node::Column(ordinal) = inner.node {
                is_read |= assigned_before(ordinal, place);
            }
        });
        is_read
    })
}

/// The computed values, none where the columns are those of the rows, and the rows.
fn parts(relation: &Relation) -> (&[Expression], &Relation) {
    match relation {
        Relation::Project { input, expressions } => (expressions, input),
        rows => (&[], rows),
    }
}

fn reads_more(expression: &Expression) -> bool {
    let mut reads = false;
    expression.visit(&mut |inner| reads |= matches!(inner.node, Node::Subquery(_)));
    reads
}
