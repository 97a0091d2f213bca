//! What undoes an edit: statements over the same table, one for each row, made of the rows as they were before and as they are since.
//!
//! **Invariants:** a statement names its row by a key that no other row has, and a row that somebody has changed since is not met; names
//! are quoted and values are written as the texts of their types, which sessions read back as they were. An edit that nobody could undo
//! exactly is refused.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};

use crate::catalog::QualifiedName;
use crate::catalog::keyword::quote_identifier;
use crate::pgtype::PgType;
use crate::stores::Refusal;
use crate::stores::cell::{Cell, Cells, write_text};
use crate::stores::edit::{Conflict, ConflictAction, DeleteRows, Edit, Insert, UpdateRows};
use crate::stores::schema::{Column, Generated, Key, Table, TableKind};

/// How a statement begins that is to change one row exactly; anything else is a failure.
pub const ONE_ROW: &str = "/* one row */ ";

/// Types (`pg_type.oid`) whose values are compared as their texts: `json` and `xml` have no equality, and that of figures is not one of
/// the same figure.
const COMPARED_AS_TEXT: &[u32] = &[114, 142, 600, 601, 602, 603, 604, 628, 718];

/// The statements that undo an edit that was written, in the order in which they are to run. `before` are the rows of an update or a
/// deletion as they were, with all columns of the table in their order; `returned` are those that an insertion gave back. `name` is the
/// table as every session knows it.
///
/// # Errors
/// Why nobody could undo it exactly.
pub fn undo(
    edit: &Edit,
    before: Option<&RecordBatch>,
    returned: Option<&RecordBatch>,
    name: &QualifiedName,
) -> Result<Vec<String>, Refusal> {
    let name = quoted(name);
    let mut texts = match edit {
        Edit::Insert(insert) => of_insert(insert, returned, &name)?,
        Edit::UpdateRows(update) => of_update(update, before, &name)?,
        Edit::DeleteRows(delete) => of_delete(delete, before, &name)?,
        Edit::Update(_) | Edit::Delete(_) => return Err(refused(edit.verb(), "its store has found the rows by itself")),
    };
    // What was written last is undone first.
    texts.reverse();
    Ok(texts)
}

/// The key by which single rows of a table are named.
///
/// # Errors
/// It has none to rely on.
pub fn key_of(table: &Table) -> Result<&Key, Refusal> {
    let mut keys = table.primary_key.iter().chain(&table.unique_keys);
    let key = keys.find(|key| key.proven && !key.columns.is_empty());
    key.ok_or_else(|| refused(&table.id.name, "the table has no key by which rows could be named"))
}

/// Removes the rows that were added.
fn of_insert(insert: &Insert, returned: Option<&RecordBatch>, name: &str) -> Result<Vec<String>, Refusal> {
    let (table, key) = (&insert.table, key_of(&insert.table)?);
    match &insert.conflict {
        Some(Conflict { action: ConflictAction::Update(_), .. }) => {
            return Err(refused("ON CONFLICT DO UPDATE", "nobody tells which rows were there before"));
        }
        Some(_) if returned.is_none() => return Err(refused("ON CONFLICT", "nobody tells which rows were added")),
        _ => {}
    }
    // The rows as they came back have the values that the store has made.
    let (ordinals, rows) = match returned {
        Some(returned) => (&insert.returning, returned),
        None => (&insert.columns, &insert.rows),
    };
    let keys = Values::of(table, ordinals, rows, &key.columns)?;
    let removal = |condition: String| format!("{ONE_ROW}DELETE FROM {name} WHERE {condition}");
    (0..rows.num_rows()).map(|row| keys.equals(row).map(removal)).collect()
}

/// Gives rows the values that they had.
fn of_update(update: &UpdateRows, before: Option<&RecordBatch>, name: &str) -> Result<Vec<String>, Refusal> {
    let UpdateRows { table, key, set, rows, .. } = update;
    let before = before.ok_or_else(|| refused("UPDATE", "nobody has seen the rows before"))?;
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let (old_keys, old) = (Values::of(table, &all, before, key)?, Values::of(table, &all, before, set)?);
    // The new values come behind the key: a column of the key may be among them.
    let keys = Values::at(table, key.iter().copied().enumerate(), rows)?;
    let new = Values::at(table, set.iter().enumerate().map(|(place, ordinal)| (key.len() + place, *ordinal)), rows)?;
    let now = Values::at(table, key.iter().enumerate().map(|(place, ordinal)| (moved(place, *ordinal, key, set), *ordinal)), rows)?;
    let places = keys.by_text(rows.num_rows())?;
    let mut texts = Vec::with_capacity(before.num_rows());
    for row in 0..before.num_rows() {
        // Rows beside those that were asked for have not been changed.
        let Some(place) = places.get(&old_keys.text(row)?) else { continue };
        if table.kind == TableKind::Collection && old.has_null(row) {
            return Err(refused("UPDATE", "a field that was absent is not told apart from one that was null"));
        }
        let (set, guards) = (old.assignments(row)?, new.alike(*place)?);
        texts.push(format!("{ONE_ROW}UPDATE {name} SET {set} WHERE {} AND {guards}", now.equals(*place)?));
    }
    Ok(texts)
}

/// Where the value of a key's column is after the update.
fn moved(place: usize, ordinal: usize, key: &[usize], set: &[usize]) -> usize {
    set.iter().position(|set| *set == ordinal).map_or(place, |at| key.len() + at)
}

/// Adds the rows that were removed.
fn of_delete(delete: &DeleteRows, before: Option<&RecordBatch>, name: &str) -> Result<Vec<String>, Refusal> {
    let DeleteRows { table, key, rows, .. } = delete;
    let before = before.ok_or_else(|| refused("DELETE", "nobody has seen the rows before"))?;
    if table.kind == TableKind::Collection {
        return Err(refused("DELETE", "a document may have more in it than its columns"));
    }
    if let Some(column) = table.columns.iter().find(|column| column.generated == Generated::Always) {
        return Err(refused(column.name(), "the store makes the values of the column always"));
    }
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let keys = Values::at(table, key.iter().copied().enumerate(), rows)?.by_text(rows.num_rows())?;
    let (old_keys, old) = (Values::of(table, &all, before, key)?, Values::of(table, &all, before, &all)?);
    let columns: Vec<String> = old.columns.iter().map(|value| value.name.clone()).collect();
    let mut texts = Vec::with_capacity(before.num_rows());
    for row in 0..before.num_rows() {
        if keys.contains_key(&old_keys.text(row)?) {
            let values: Vec<String> = old.columns.iter().map(|value| value.literal(row)).collect::<Result<_, Refusal>>()?;
            texts.push(format!("{ONE_ROW}INSERT INTO {name} ({}) VALUES ({})", columns.join(", "), values.join(", ")));
        }
    }
    Ok(texts)
}

/// Columns of a batch.
struct Values<'b> {
    columns: Vec<Named<'b>>,
}

/// One of them.
struct Named<'b> {
    name: String,
    pg_type: PgType,
    cells: Cells<'b>,
}

impl<'b> Values<'b> {
    /// The columns `wanted` of a batch whose columns have these ordinals.
    fn of(table: &Table, ordinals: &[usize], batch: &'b RecordBatch, wanted: &[usize]) -> Result<Self, Refusal> {
        let mut places = Vec::with_capacity(wanted.len());
        for ordinal in wanted {
            let place = ordinals.iter().position(|known| known == ordinal);
            places.push((place.ok_or_else(|| refused(&table.id.name, "the store did not give the key back"))?, *ordinal));
        }
        Self::at(table, places.into_iter(), batch)
    }

    /// Columns by their places in a batch and their ordinals in the table.
    fn at(table: &Table, places: impl Iterator<Item = (usize, usize)>, batch: &'b RecordBatch) -> Result<Self, Refusal> {
        let mut columns = Vec::new();
        for (place, ordinal) in places {
            let lost = || refused(&table.id.name, "a column of the rows is missing");
            let (column, array): (&Column, &'b ArrayRef) =
                table.columns.get(ordinal).zip(batch.columns().get(place)).ok_or_else(lost)?;
            let pg_type = column.pg_type();
            let cells = Cells::of(array.as_ref(), pg_type);
            let cells = cells.ok_or_else(|| refused(column.name(), "values of its type have no text"))?;
            columns.push(Named { name: quote_identifier(column.name()), pg_type, cells });
        }
        Ok(Self { columns })
    }

    fn has_null(&self, row: usize) -> bool {
        self.columns.iter().any(|column| column.cells.get(row).is_null())
    }

    /// `a = '1' AND b = '2'`
    fn equals(&self, row: usize) -> Result<String, Refusal> {
        let each = |column: &Named<'_>| {
            if column.cells.get(row).is_null() {
                return Err(refused(&column.name, "a key that is NULL names no row"));
            }
            column.literal(row).map(|literal| format!("{} = {literal}", column.name))
        };
        Ok(self.columns.iter().map(each).collect::<Result<Vec<String>, Refusal>>()?.join(" AND "))
    }

    /// `a IS NOT DISTINCT FROM '1' AND …`
    fn alike(&self, row: usize) -> Result<String, Refusal> {
        let each = |column: &Named<'_>| {
            let compared = if COMPARED_AS_TEXT.contains(&column.pg_type.oid) { "::text" } else { "" };
            column.literal(row).map(|literal| format!("{}{compared} IS NOT DISTINCT FROM {literal}", column.name))
        };
        Ok(self.columns.iter().map(each).collect::<Result<Vec<String>, Refusal>>()?.join(" AND "))
    }

    /// `a = '1', b = NULL`
    fn assignments(&self, row: usize) -> Result<String, Refusal> {
        let each = |column: &Named<'_>| column.literal(row).map(|literal| format!("{} = {literal}", column.name));
        Ok(self.columns.iter().map(each).collect::<Result<Vec<String>, Refusal>>()?.join(", "))
    }

    /// The values of a row as one text, which no other values have.
    fn text(&self, row: usize) -> Result<String, Refusal> {
        let each = |column: &Named<'_>| column.literal(row);
        Ok(self.columns.iter().map(each).collect::<Result<Vec<String>, Refusal>>()?.join(","))
    }

    /// The rows by their texts.
    fn by_text(&self, rows: usize) -> Result<BTreeMap<String, usize>, Refusal> {
        (0..rows).map(|row| self.text(row).map(|text| (text, row))).collect()
    }
}

impl Named<'_> {
    /// The value as a literal that is read in the type of its column.
    fn literal(&self, row: usize) -> Result<String, Refusal> {
        let cell: Cell<'_> = self.cells.get(row);
        if cell.is_null() {
            return Ok("NULL".to_owned());
        }
        let mut text = String::new();
        write_text(&cell, self.pg_type, &mut text).map_err(|unwritable| Refusal::new(&self.name, unwritable.0))?;
        Ok(format!("'{}'", text.replace('\'', "''")))
    }
}

fn quoted(name: &QualifiedName) -> String {
    let parts = [name.database.as_deref(), name.schema.as_deref(), Some(name.relation.as_str())];
    let parts: Vec<String> = parts.into_iter().flatten().map(quote_identifier).collect();
    parts.join(".")
}

fn refused(subject: &str, rule: &'static str) -> Refusal {
    Refusal::new(subject, rule)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::pgtype::PgField;
    use crate::stores::StoreName;
    use crate::stores::edit::{self, ConflictTarget};
    use crate::stores::schema::{Collation, ColumnStatistics, TableId};

    fn column(name: &str, data_type: DataType, pg_type: PgType) -> Column {
        Column {
            field: Field::new(name, data_type, true).with_pg_type(pg_type),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// `t (id bigint primary key, "Name" text)`
    fn table(kind: TableKind) -> Table {
        let columns = vec![column("id", DataType::Int64, PgType::INT8), column("Name", DataType::Utf8, PgType::TEXT)];
        Table {
            id: TableId { namespace: "public".to_owned(), name: "t".to_owned() },
            kind,
            schema: Table::arrow_schema(&columns),
            columns,
            primary_key: Some(Key { name: "t_pkey".to_owned(), columns: vec![0], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
        }
    }

    fn rows(table: &Table, ordinals: &[usize], columns: Vec<ArrayRef>) -> RecordBatch {
        let fields: Vec<Field> = ordinals.iter().map(|ordinal| edit::field(&table.columns[*ordinal])).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn ids(ids: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(ids.to_vec()))
    }

    fn names(names: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(names.to_vec()))
    }

    fn name() -> QualifiedName {
        QualifiedName { database: None, schema: Some("shop".to_owned()), relation: "Order".to_owned() }
    }

    fn insert(table: Table, conflict: Option<Conflict>) -> Edit {
        let rows = rows(&table, &[1], vec![names(&[Some("x"), Some("y")])]);
        let (store, returning) = (StoreName::new("shop"), vec![0]);
        Edit::Insert(Insert { store, table: Arc::new(table), columns: vec![1], rows, conflict, returning })
    }

    #[test]
    fn rows_that_were_added_are_removed_by_the_keys_that_came_back() {
        let table = table(TableKind::Table);
        let returned = rows(&table, &[0], vec![ids(&[7, 8])]);
        let undone = undo(&insert(table.clone(), None), None, Some(&returned), &name()).unwrap();
        let expected = [8, 7].map(|id| format!("/* one row */ DELETE FROM shop.\"Order\" WHERE id = '{id}'"));
        assert_eq!(undone, expected);
        assert!(undo(&insert(table.clone(), None), None, None, &name()).is_err(), "the keys are the store's own");
        let nothing = Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing };
        assert!(undo(&insert(table.clone(), Some(nothing.clone())), None, Some(&returned), &name()).is_ok());
        assert!(undo(&insert(table.clone(), Some(nothing)), None, None, &name()).is_err());
        let update = ConflictAction::Update(Vec::new());
        let changing = Conflict { target: ConflictTarget::Columns(vec![0]), action: update };
        assert!(undo(&insert(table, Some(changing)), None, Some(&returned), &name()).is_err());
    }

    #[test]
    fn rows_that_were_changed_get_back_what_they_had_unless_somebody_has_changed_them_since() {
        let table = table(TableKind::Table);
        let given = rows(&table, &[0, 1, 0], vec![ids(&[1, 2]), names(&[Some("it's"), None]), ids(&[11, 2])]);
        let update = UpdateRows {
            store: StoreName::new("shop"),
            table: Arc::new(table.clone()),
            key: vec![0],
            set: vec![1, 0],
            rows: given,
            returning: Vec::new(),
        };
        let before = rows(&table, &[0, 1], vec![ids(&[2, 1, 3]), names(&[Some("b"), None, Some("c")])]);
        let undone = undo(&Edit::UpdateRows(update.clone()), Some(&before), None, &name()).unwrap();
        let expected = [
            "/* one row */ UPDATE shop.\"Order\" SET \"Name\" = NULL, id = '1' WHERE id = '11' \
             AND \"Name\" IS NOT DISTINCT FROM 'it''s' AND id IS NOT DISTINCT FROM '11'",
            "/* one row */ UPDATE shop.\"Order\" SET \"Name\" = 'b', id = '2' WHERE id = '2' \
             AND \"Name\" IS NOT DISTINCT FROM NULL AND id IS NOT DISTINCT FROM '2'",
        ];
        assert_eq!(undone, expected);
        assert!(undo(&Edit::UpdateRows(update.clone()), None, None, &name()).is_err());
        let documents = UpdateRows { table: Arc::new(self::table(TableKind::Collection)), ..update };
        assert!(undo(&Edit::UpdateRows(documents), Some(&before), None, &name()).is_err(), "NULL or absent");
    }

    #[test]
    fn rows_that_were_removed_are_added_whole() {
        let table = table(TableKind::Table);
        let delete = |table: &Table| {
            let keys = rows(table, &[0], vec![ids(&[1])]);
            let (store, key) = (StoreName::new("shop"), vec![0]);
            Edit::DeleteRows(DeleteRows { store, table: Arc::new(table.clone()), key, rows: keys, returning: Vec::new() })
        };
        let before = rows(&table, &[0, 1], vec![ids(&[1, 2]), names(&[Some("a\\"), Some("b")])]);
        let undone = undo(&delete(&table), Some(&before), None, &name()).unwrap();
        assert_eq!(undone, ["/* one row */ INSERT INTO shop.\"Order\" (id, \"Name\") VALUES ('1', 'a\\')"]);
        assert!(undo(&delete(&self::table(TableKind::Collection)), Some(&before), None, &name()).is_err());
        let mut made = table.clone();
        made.columns[1].generated = Generated::Always;
        assert!(undo(&delete(&made), Some(&before), None, &name()).is_err());
        let mut without = table;
        without.primary_key = None;
        assert!(key_of(&without).is_err());
    }
}
