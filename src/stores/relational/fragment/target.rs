//! Statements that change the rows of one table: a relation over it says which rows, and what becomes of them.
//!
//! The table is called by its own name, without an alias: `DELETE` takes none on MariaDB before 11.6.

use super::super::super::fragment::{Expression, Relation, Tables};
use super::super::super::schema::Table;
use super::super::sql::{Sql, Unwritable};
use super::block::{Block, Source};
use super::pen::{Pen, TARGET};
use super::phrasing::Phrasing;

const NOT_ALONE: Unwritable = Unwritable("is set in rows that the table alone does not tell");
const NO_COLUMN: Unwritable = Unwritable("is set in no column of the table");

/// The table that is changed, with the relation over it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Target<'e> {
    /// The table.
    pub table: &'e Table,
    /// Its rows that are meant. It reads no other table.
    pub relation: &'e Relation,
    /// The tables that the relation reads.
    pub tables: &'e Tables,
}

/// Writes `UPDATE table SET column = value, … WHERE …`. The values are the columns of the relation, one for each of `set`.
///
/// # Errors
/// A value or column that cannot be written; a relation that is more than conditions on the table and values of its rows.
pub(in super::super) fn write_update(
    target: Target<'_>,
    set: &[usize],
    phrasing: &dyn Phrasing,
    sql: &mut Sql,
) -> Result<(), Unwritable> {
    let mut pen = Pen::new(phrasing, target.tables, sql).changing(target.table);
    let block = pen.chosen(target)?;
    if set.is_empty() || set.len() != block.output.len() {
        return Err(NO_COLUMN);
    }
    pen.push("UPDATE ");
    pen.named(target.table);
    pen.push(" SET ");
    for (place, (ordinal, term)) in set.iter().zip(&block.output).enumerate() {
        let column = target.table.columns.get(*ordinal).ok_or(NO_COLUMN)?;
        pen.push(if place == 0 { "" } else { ", " });
        pen.sql().push_name(column.name());
        pen.push(" = ");
        let value = Expression::column(*term, pen.shape_of(*term).pg_type);
        phrasing.write_assigned(column, &value, &mut pen)?;
    }
    pen.conditions(" WHERE ", &block.conditions, None)
}

/// Writes `DELETE FROM table WHERE …`.
///
/// # Errors
/// As [`write_update`].
pub(in super::super) fn write_delete(target: Target<'_>, phrasing: &dyn Phrasing, sql: &mut Sql) -> Result<(), Unwritable> {
    let mut pen = Pen::new(phrasing, target.tables, sql).changing(target.table);
    let block = pen.chosen(target)?;
    pen.push("DELETE FROM ");
    pen.named(target.table);
    pen.conditions(" WHERE ", &block.conditions, None)
}

impl Pen<'_> {
    /// The block of the relation, which joins, groups and leaves out nothing.
    fn chosen(&mut self, target: Target<'_>) -> Result<Block, Unwritable> {
        let block = self.block(target.relation)?;
        let is_alone = match block.from.as_slice() {
            [Source::Table { table, alias }] => *table == target.table.id && *alias == TARGET,
            _ => false,
        };
        if is_alone && block.is_plain() { Ok(block) } else { Err(NOT_ALONE) }
    }

    fn named(&mut self, table: &Table) {
        let name = self.sql.dialect().table(&table.id);
        self.push(&name);
    }
}
