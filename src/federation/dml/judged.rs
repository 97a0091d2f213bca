//! Rows to be inserted that meet others, judged as new ones: PostgreSQL looks at NOT NULL and CHECK of a row before it looks for what the
//! row meets.
//!
//! The store judges, as it does for any new row: it is asked to insert the rows and to leave alone what they meet. They meet rows that
//! are locked, so nothing is added. Where nothing can be wrong with them the store is not asked.

use arrow::array::{Array, RecordBatch};

use super::rows::Common;
use crate::error::Diagnosis;
use crate::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Insert};
use crate::stores::schema::{Generated, Table, TableKind};

/// The edit by which the store judges `rows`, all of which meet others by `key`; `None` where nothing is to be judged.
///
/// # Errors
/// 0A000 where the store does not judge them.
pub(super) fn edit(common: &Common, insert: &Insert, key: &[usize], rows: RecordBatch) -> Result<Option<Edit>, Diagnosis> {
    // Domains, and triggers that run before the rules are looked at, are known to PostgreSQL alone.
    let is_hidden = common.connector.kind() == "postgres";
    if rows.num_rows() == 0 || !(is_hidden || may_break(&insert.table, &insert.columns, &rows)) {
        return Ok(None);
    }
    let conflict = Some(Conflict { target: ConflictTarget::Columns(key.to_vec()), action: ConflictAction::Nothing });
    let edit = Edit::Insert(Insert { rows, conflict, returning: Vec::new(), ..insert.clone() });
    common.check(&edit)?;
    Ok(Some(edit))
}

/// Whether some of these new rows may break a rule of the table, besides its keys.
fn may_break(table: &Table, columns: &[usize], rows: &RecordBatch) -> bool {
    // A view does not tell the rules of its tables.
    if table.kind == TableKind::View || !table.checks.is_empty() {
        return true;
    }
    table.columns.iter().enumerate().filter(|(_, column)| !column.field.is_nullable()).any(|(ordinal, column)| {
        match columns.iter().position(|given| *given == ordinal) {
            Some(place) => rows.columns().get(place).is_some_and(|values| values.null_count() > 0),
            None => column.generated == Generated::No && column.default.is_none(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::pgtype::{PgField, PgType};
    use crate::stores::schema::{Check, Collation, Column, ColumnStatistics};

    fn column(name: &str, nullable: bool, default: Option<&str>, generated: Generated) -> Column {
        Column {
            field: Field::new(name, DataType::Int64, nullable).with_pg_type(PgType::INT8),
            native_type: String::new(),
            default: default.map(str::to_owned),
            generated,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn table(kind: TableKind, columns: Vec<Column>, checks: Vec<Check>) -> Table {
        Table { kind, checks, ..Table::plain("public", "t", columns) }
    }

    fn rows(columns: &[&[Option<i64>]]) -> RecordBatch {
        let fields: Vec<Field> = (0..columns.len()).map(|place| Field::new(format!("c{place}"), DataType::Int64, true)).collect();
        let arrays = columns.iter().map(|values| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    #[test]
    fn rows_are_judged_where_a_rule_may_be_broken() {
        let of = |second: Column, kind, checks| table(kind, vec![column("id", false, None, Generated::No), second], checks);
        let free = || column("a", true, None, Generated::No);
        let bound = |default, generated| column("a", false, default, generated);
        let check = Check { name: "c".to_owned(), expression: "a > 0".to_owned(), columns: vec![1] };
        let (key, both, lacking): (RecordBatch, RecordBatch, RecordBatch) =
            (rows(&[&[Some(1)]]), rows(&[&[Some(1)], &[Some(2)]]), rows(&[&[Some(1), Some(2)], &[Some(2), None]]));
        let plain = TableKind::Table;
        let cases = [
            (of(free(), plain, vec![]), &lacking, false),
            (of(free(), plain, vec![check]), &both, true),
            (of(free(), TableKind::View, vec![]), &both, true),
            (of(bound(None, Generated::No), plain, vec![]), &both, false),
            (of(bound(None, Generated::No), plain, vec![]), &lacking, true),
            (of(bound(None, Generated::No), plain, vec![]), &key, true),
            (of(bound(Some("1"), Generated::No), plain, vec![]), &key, false),
            (of(bound(None, Generated::ByDefault), plain, vec![]), &key, false),
        ];
        for (place, (table, rows, expected)) in cases.iter().enumerate() {
            let columns: Vec<usize> = (0..rows.num_columns()).collect();
            assert_eq!(may_break(table, &columns, rows), *expected, "case {place}");
        }
    }
}
