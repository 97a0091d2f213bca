//! The text of statements that change rows.
//!
//! All say `OR ABORT`, because a table of SQLite may be declared to replace or pass over rows that break its rules.

use super::super::super::cell::of_value;
use super::super::super::edit::{Conflict, ConflictAction, ConflictTarget, DeleteRows, Insert, UpdateRows};
use super::super::super::relational::edit::{conflict, insert_head};
use super::super::super::relational::{Dialect, Sql, Unwritable};
use super::super::super::schema::Table;
use super::super::super::value::Value;
use super::cells::stored;

/// The most parameters of one statement.
const PARAMETERS_MAX: usize = 32_766;

const NO_COLUMN: Unwritable = Unwritable("is set in no column of the table");

/// A statement for some of the rows of an edit at a time.
#[derive(Debug)]
pub(super) struct Repeated {
    /// Up to the rows.
    before: String,
    /// Behind the rows.
    after: String,
    /// Whether the values of rows stand between both; otherwise it is a statement for one row, whose parameters are in `before`.
    lists: bool,
    /// The first parameters of each statement.
    pub(super) constants: Vec<Value>,
    /// Values of a row.
    width: usize,
}

impl Repeated {
    /// `INSERT … VALUES … ON CONFLICT …`; SQLite looks at rules between tables when all rows of a statement are there.
    pub(super) fn insert(insert: &Insert) -> Result<Self, Unwritable> {
        let mut head = Sql::bound(Dialect::Sqlite);
        insert_head(&insert.table, &insert.columns, &mut head)?;
        let mut tail = Sql::bound(Dialect::Sqlite);
        if let Some(clause) = &insert.conflict {
            conflict(clause, &insert.table, &|column, value, sql| constant(&insert.table, column, value, sql), &mut tail)?;
        }
        let (after, constants) = tail.into_parts();
        let before = aborting(&head.into_parts().0, "INSERT ");
        let width = insert.columns.len();
        let lists = width > 0;
        let before = format!("{before} {}", if lists { "VALUES " } else { "DEFAULT VALUES" });
        Ok(Self { before, after, lists, constants, width })
    }

    /// `UPDATE … SET … WHERE key = …`, for one row.
    pub(super) fn update(update: &UpdateRows) -> Result<Self, Unwritable> {
        let table = &update.table;
        let mut sql = Sql::bound(Dialect::Sqlite);
        sql.push("UPDATE OR ABORT ");
        sql.push(&Dialect::Sqlite.table(&table.id));
        for (place, ordinal) in update.set.iter().enumerate() {
            sql.push(if place == 0 { " SET " } else { ", " });
            sql.push_name(table.columns.get(*ordinal).ok_or(NO_COLUMN)?.name());
            sql.push(&format!(" = ?{}", update.key.len() + place + 1));
        }
        for (place, ordinal) in update.key.iter().enumerate() {
            sql.push(if place == 0 { " WHERE " } else { " AND " });
            sql.push(&format!("{} = ?{}", qualified(table, *ordinal)?, place + 1));
        }
        if update.set.is_empty() || update.key.is_empty() {
            return Err(NO_COLUMN);
        }
        let width = update.key.len() + update.set.len();
        Ok(Self { before: sql.into_parts().0, after: String::new(), lists: false, constants: Vec::new(), width })
    }

    /// `DELETE … WHERE key IN …`
    pub(super) fn delete(delete: &DeleteRows) -> Result<Self, Unwritable> {
        let names = delete.key.iter().map(|ordinal| qualified(&delete.table, *ordinal)).collect::<Result<Vec<_>, _>>()?;
        let subject = match names.as_slice() {
            [] => return Err(NO_COLUMN),
            [only] => only.clone(),
            several => format!("({})", several.join(", ")),
        };
        let before = format!("DELETE FROM {} WHERE {subject} IN (VALUES ", Dialect::Sqlite.table(&delete.table.id));
        Ok(Self { before, after: ")".to_owned(), lists: true, constants: Vec::new(), width: names.len() })
    }

    /// How many rows one statement takes at most.
    pub(super) fn rows_max(&self) -> usize {
        let room = PARAMETERS_MAX.saturating_sub(self.constants.len());
        if self.lists { (room / self.width.max(1)).max(1) } else { 1 }
    }

    /// The statement for so many rows, whose values follow the constants.
    pub(super) fn text(&self, rows: usize) -> String {
        let mut text = self.before.clone();
        if self.lists {
            let mut number = self.constants.len();
            for row in 0..rows {
                text.push_str(if row == 0 { "(" } else { ", (" });
                for place in 0..self.width {
                    number += 1;
                    text.push_str(if place == 0 { "?" } else { ", ?" });
                    text.push_str(itoa::Buffer::new().format(number));
                }
                text.push(')');
            }
        }
        text.push_str(&self.after);
        text
    }
}

/// The same statement, under which a broken rule always undoes it.
pub(super) fn aborting(text: &str, verb: &str) -> String {
    match text.strip_prefix(verb) {
        Some(rest) => format!("{verb}OR ABORT {rest}"),
        None => text.to_owned(),
    }
}

/// The columns by which rows of an insertion find the row that they update; none where they update none.
pub(super) fn meeting(conflict: Option<&Conflict>) -> &[usize] {
    match conflict {
        Some(Conflict { target: ConflictTarget::Columns(key), action: ConflictAction::Update(_) }) => key,
        _ => &[],
    }
}

/// A column by its table's name: SQLite reads a bare name that is no column as a text.
pub(super) fn qualified(table: &Table, ordinal: usize) -> Result<String, Unwritable> {
    let column = table.columns.get(ordinal).ok_or(NO_COLUMN)?;
    Ok(format!("{}.{}", Dialect::Sqlite.quote(&table.id.name), Dialect::Sqlite.quote(column.name())))
}

fn constant(table: &Table, ordinal: usize, value: Option<&Value>, sql: &mut Sql) -> Result<(), Unwritable> {
    let column = table.columns.get(ordinal).ok_or(NO_COLUMN)?;
    let Some(value) = value else {
        sql.push("NULL");
        return Ok(());
    };
    let kept = stored(&of_value(value), column).map_err(|_fault| Unwritable("has no form in SQLite"))?;
    match kept.into_value() {
        Some(value) => sql.push_value(value),
        None => {
            sql.push("NULL");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::super::super::super::connector::StoreName;
    use super::super::super::super::edit::Proposed;
    use super::super::super::super::schema::{Collation, Column, ColumnStatistics, Generated};
    use super::super::super::types;
    use super::*;

    fn table() -> Arc<Table> {
        let column = |(name, declared): (&str, &str)| Column {
            field: types::field(name, declared, true, false),
            native_type: declared.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns: Vec<Column> = [("id", "INTEGER"), ("a\"b", "TEXT"), ("day", "DATE")].into_iter().map(column).collect();
        Arc::new(Table::plain("main", "t\"t", columns))
    }

    fn insert(columns: Vec<usize>, conflict: Option<Conflict>) -> Repeated {
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let insert = Insert {
            store: StoreName::new("s"),
            table: table(),
            columns,
            rows,
            conflict,
            paths: Vec::new(),
            returning: Vec::new(),
        };
        Repeated::insert(&insert).unwrap()
    }

    #[test]
    fn rows_are_inserted_many_at_a_time_and_rules_always_count() {
        let plain = insert(vec![0, 1], None);
        let head = "INSERT OR ABORT INTO \"main\".\"t\"\"t\" (\"id\", \"a\"\"b\") VALUES ";
        assert_eq!(plain.text(2), format!("{head}(?1, ?2), (?3, ?4)"));
        assert_eq!(plain.rows_max(), 16_383);
        let defaults = insert(Vec::new(), None);
        assert_eq!(
            (defaults.text(1), defaults.rows_max()),
            ("INSERT OR ABORT INTO \"main\".\"t\"\"t\" DEFAULT VALUES".to_owned(), 1)
        );
    }

    #[test]
    fn constants_of_an_update_come_before_the_rows() {
        let set = vec![(1, Proposed::Excluded(1)), (2, Proposed::Constant(Some(Value::Date(0)))), (0, Proposed::Constant(None))];
        let conflict = Conflict { target: ConflictTarget::Columns(vec![0]), action: ConflictAction::Update(set) };
        assert_eq!(meeting(Some(&conflict)), [0]);
        let upsert = insert(vec![0], Some(conflict));
        let expected = "INSERT OR ABORT INTO \"main\".\"t\"\"t\" (\"id\") VALUES (?2) ON CONFLICT (\"id\") DO UPDATE SET \
                        \"a\"\"b\" = excluded.\"a\"\"b\", \"day\" = ?1, \"id\" = NULL";
        assert_eq!(upsert.text(1), expected);
        assert_eq!(upsert.constants, [Value::Text("1970-01-01".to_owned())]);
        let nothing = Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing };
        assert!(meeting(Some(&nothing)).is_empty() && meeting(None).is_empty());
        assert!(insert(vec![0], Some(nothing)).text(1).ends_with("(?1) ON CONFLICT DO NOTHING"));
    }

    #[test]
    fn keys_are_qualified_so_that_none_becomes_a_text() {
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let store = StoreName::new("s");
        let update = UpdateRows {
            store: store.clone(),
            table: table(),
            key: vec![0],
            set: vec![1, 2],
            rows: rows.clone(),
            paths: Vec::new(),
            returning: Vec::new(),
        };
        let expected = "UPDATE OR ABORT \"main\".\"t\"\"t\" SET \"a\"\"b\" = ?2, \"day\" = ?3 WHERE \"t\"\"t\".\"id\" = ?1";
        assert_eq!(Repeated::update(&update).unwrap().text(1), expected);
        let delete = |key: Vec<usize>| {
            let delete = DeleteRows { store: store.clone(), table: table(), key, rows: rows.clone(), returning: Vec::new() };
            Repeated::delete(&delete).map(|repeated| repeated.text(2))
        };
        let from = "DELETE FROM \"main\".\"t\"\"t\" WHERE";
        assert_eq!(delete(vec![0]).unwrap(), format!("{from} \"t\"\"t\".\"id\" IN (VALUES (?1), (?2))"));
        let both = "(\"t\"\"t\".\"id\", \"t\"\"t\".\"day\")";
        assert_eq!(delete(vec![0, 2]).unwrap(), format!("{from} {both} IN (VALUES (?1, ?2), (?3, ?4))"));
        assert!(delete(Vec::new()).is_err());
    }
}
