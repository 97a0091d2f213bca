//! What undoes an edit: statements over the same table, one for each row, made of the rows as they were before and as they are since.
//!
//! **Invariants:** a statement names its row by a key that no other row has, and by what the store had in it after the edit, so that a row
//! that somebody has changed since is not met; names
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
use crate::stores::relational::embedded::source;
use crate::stores::schema::{Action, Column, ForeignKey, Generated, Key, Table, TableKind};

/// How a statement begins that is to change one row exactly; anything else is a failure.
pub const ONE_ROW: &str = "/* one row */ ";

/// Types (`pg_type.oid`) whose values are compared as their texts: `json`, `xml` and `jsonpath` have no equality, and that of figures is
/// not one of the same figure. Behind them their arrays.
const COMPARED_AS_TEXT: &[u32] =
    &[114, 142, 600, 601, 602, 603, 604, 628, 718, 4072, 199, 143, 1017, 1018, 1019, 1020, 1027, 629, 719, 4073];

/// What the store has told of the rows of an edit.
#[derive(Debug, Default)]
pub struct Seen {
    /// Those of an update or a deletion before it, with all columns of the table in their order.
    pub before: Option<RecordBatch>,
    /// The keys of those that an insertion or an update has written, as [`keys_after`] gives them.
    pub keys: Option<RecordBatch>,
    /// The rows of these keys after it, with all columns of the table in their order.
    pub after: Option<RecordBatch>,
    /// A key beside proven ones by which the store changes single rows of the table.
    pub row_key: Option<Key>,
}

/// The statements that undo an edit that was written, in the order in which they are to run. `name` is the table as every session knows
/// it.
///
/// # Errors
/// Why nobody could undo it exactly.
pub fn undo(edit: &Edit, seen: &Seen, name: &QualifiedName) -> Result<Vec<String>, Refusal> {
    let name = quoted(name);
    let mut texts = match edit {
        Edit::Insert(insert) => of_insert(insert, seen, &name)?,
        Edit::UpdateRows(update) => of_update(update, seen, &name)?,
        Edit::DeleteRows(delete) => of_delete(delete, seen, &name)?,
        Edit::Update(_) | Edit::Delete(_) => return Err(refused(edit.verb(), "its store has found the rows by itself")),
    };
    // What was written last is undone first.
    texts.reverse();
    Ok(texts)
}

/// Refuses an edit with which the store may have changed rows that refer to those of the edit. Nobody has seen these. `referring` are the
/// foreign keys that refer to its table.
///
/// # Errors
/// Why nobody could undo it exactly.
pub fn check_references(edit: &Edit, referring: &[ForeignKey]) -> Result<(), Refusal> {
    let changes = |action: Action| matches!(action, Action::Cascade | Action::SetNull | Action::SetDefault);
    let follows = match edit {
        Edit::DeleteRows(_) => referring.iter().any(|key| changes(key.on_delete)),
        Edit::UpdateRows(UpdateRows { table, set, .. }) => {
            let names: Vec<&str> = set.iter().filter_map(|ordinal| table.columns.get(*ordinal)).map(Column::name).collect();
            let is_set = |key: &ForeignKey| key.referenced_columns.iter().any(|name| names.contains(&name.as_str()));
            referring.iter().any(|key| changes(key.on_update) && is_set(key))
        }
        Edit::Insert(_) | Edit::Update(_) | Edit::Delete(_) => false,
    };
    if follows { Err(refused(edit.verb(), "rows that refer to it may have been changed with it")) } else { Ok(()) }
}

/// The keys of the rows that an edit has added or changed, as they are after it and in its order, with the ordinals of their columns.
/// `returned` are the rows that an insertion gave back, `row_key` is as in [`key_of`]. `None` where nobody could tell.
pub fn keys_after(edit: &Edit, returned: Option<&RecordBatch>, row_key: Option<&Key>) -> Option<(Vec<usize>, RecordBatch)> {
    let (key, places, rows): (&[usize], Vec<usize>, &RecordBatch) = match edit {
        Edit::Insert(insert) => {
            let key = key_of(&insert.table, row_key).ok()?;
            // The rows as they came back have the values that the store has made.
            let (ordinals, rows) = match returned {
                Some(returned) => (&insert.returning, returned),
                // Some of them were left out perhaps.
                None if insert.conflict.is_some() => return None,
                None => (&insert.columns, &insert.rows),
            };
            let place = |ordinal: &usize| ordinals.iter().position(|known| known == ordinal);
            (key.columns.as_slice(), key.columns.iter().map(place).collect::<Option<Vec<usize>>>()?, rows)
        }
        Edit::UpdateRows(UpdateRows { key, set, rows, .. }) => {
            let places = key.iter().enumerate().map(|(place, ordinal)| moved(place, *ordinal, key, set)).collect();
            (key.as_slice(), places, rows)
        }
        Edit::DeleteRows(_) | Edit::Update(_) | Edit::Delete(_) => return None,
    };
    Some((key.to_vec(), rows.project(&places).ok()?))
}

/// The key by which single rows of a table are named. `row_key` is one that the store takes for that, where none is proven.
///
/// # Errors
/// It has none to rely on.
pub fn key_of<'k>(table: &'k Table, row_key: Option<&'k Key>) -> Result<&'k Key, Refusal> {
    let mut keys = table.primary_key.iter().chain(&table.unique_keys);
    let key = keys.find(|key| key.proven && !key.columns.is_empty());
    key.or(row_key).ok_or_else(|| refused(&table.id.name, "the table has no key by which rows could be named"))
}

/// Removes the rows that were added, unless somebody has changed them since.
fn of_insert(insert: &Insert, seen: &Seen, name: &str) -> Result<Vec<String>, Refusal> {
    let (table, key) = (&insert.table, key_of(&insert.table, seen.row_key.as_ref())?);
    if let Some(Conflict { action: ConflictAction::Update(_), .. }) = &insert.conflict {
        return Err(refused("ON CONFLICT DO UPDATE", "nobody tells which rows were there before"));
    }
    let written = Written::of(table, &key.columns, seen)?;
    let others: Vec<usize> = (0..table.columns.len()).filter(|ordinal| !key.columns.contains(ordinal)).collect();
    let others = Values::with_text(table, written.after, &others);
    let mut texts = Vec::with_capacity(written.places.len());
    for row in 0..written.places.len() {
        let place = written.place(row)?;
        let guards = if others.columns.is_empty() { String::new() } else { format!(" AND {}", others.alike(place)?) };
        texts.push(format!("{ONE_ROW}DELETE FROM {name} WHERE {}{guards}", written.keys.equals(place)?));
    }
    Ok(texts)
}

/// Gives rows the values that they had.
fn of_update(update: &UpdateRows, seen: &Seen, name: &str) -> Result<Vec<String>, Refusal> {
    let UpdateRows { table, key, set, rows, .. } = update;
    let before = seen.before.as_ref().ok_or_else(|| refused("UPDATE", "nobody has seen the rows before"))?;
    if update.paths.iter().any(|path| !path.is_empty()) {
        return Err(refused("UPDATE", "a field inside of a document that was absent is not told apart from one that was null"));
    }
    let all = ordinals(table);
    let (old_keys, old) = (Values::of(table, &all, before, key)?, Values::of(table, &all, before, set)?);
    let places = Values::at(table, key.iter().copied().enumerate(), rows)?.by_text(rows.num_rows())?;
    // What the store has is what it has made of what it was sent.
    let written = Written::of(table, key, seen)?;
    let new = Values::of(table, &all, written.after, set)?;
    let is_field = |ordinal: &usize| table.columns.get(*ordinal).is_some_and(|column| source(&column.field).is_some());
    let holds_fields = table.kind == TableKind::Collection || set.iter().any(is_field);
    let (mut texts, mut pairs) = (Vec::with_capacity(before.num_rows()), Vec::with_capacity(before.num_rows()));
    for row in 0..before.num_rows() {
        // Rows beside those that were asked for have not been changed.
        let Some(place) = places.get(&old_keys.text(row)?) else { continue };
        if holds_fields && old.has_null(row) {
            return Err(refused("UPDATE", "a field that was absent is not told apart from one that was null"));
        }
        let now = written.place(*place)?;
        pairs.push((row, now));
        let (set, guards) = (old.assignments(row)?, new.alike(now)?);
        texts.push(format!("{ONE_ROW}UPDATE {name} SET {set} WHERE {} AND {guards}", written.keys.equals(now)?));
    }
    check_exchange(table, set, (before, written.after), &pairs)?;
    Ok(texts)
}

/// Refuses rows that have taken the keys of one another: changed back one by one, they would meet. `rows` are their places before and
/// after.
fn check_exchange(
    table: &Table,
    set: &[usize],
    (before, after): (&RecordBatch, &RecordBatch),
    rows: &[(usize, usize)],
) -> Result<(), Refusal> {
    let all = ordinals(table);
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    for key in keys.filter(|key| key.columns.iter().any(|ordinal| set.contains(ordinal))) {
        let (old, new) = (Values::of(table, &all, before, &key.columns)?, Values::of(table, &all, after, &key.columns)?);
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for (was, _) in rows {
            owners.insert(old.text(*was)?, *was);
        }
        for (was, now) in rows {
            if !new.has_null(*now) && owners.get(&new.text(*now)?).is_some_and(|owner| owner != was) {
                return Err(refused("UPDATE", "rows have taken the keys of one another"));
            }
        }
    }
    Ok(())
}

fn ordinals(table: &Table) -> Vec<usize> {
    (0..table.columns.len()).collect()
}

/// The rows that an edit has written, as they are after it.
struct Written<'s> {
    after: &'s RecordBatch,
    keys: Values<'s>,
    /// Where those of the edit are among them, in its order.
    places: Vec<Option<usize>>,
    table: String,
}

impl<'s> Written<'s> {
    fn of(table: &Table, key: &[usize], seen: &'s Seen) -> Result<Self, Refusal> {
        let found = seen.after.as_ref().zip(seen.keys.as_ref());
        let (after, given) = found.ok_or_else(|| unseen(&table.id.name))?;
        let keys = Values::of(table, &ordinals(table), after, key)?;
        let known = keys.by_text(after.num_rows())?;
        let wanted = Values::at(table, key.iter().copied().enumerate(), given)?;
        let place = |row: usize| wanted.text(row).map(|text| known.get(&text).copied());
        let places = (0..given.num_rows()).map(place).collect::<Result<Vec<Option<usize>>, Refusal>>()?;
        Ok(Self { after, keys, places, table: table.id.name.clone() })
    }

    /// Where a row of the edit is.
    fn place(&self, row: usize) -> Result<usize, Refusal> {
        self.places.get(row).copied().flatten().ok_or_else(|| unseen(&self.table))
    }
}

fn unseen(table: &str) -> Refusal {
    refused(table, "nobody has seen the rows afterwards")
}

/// Where the value of a key's column is after the update.
fn moved(place: usize, ordinal: usize, key: &[usize], set: &[usize]) -> usize {
    set.iter().position(|set| *set == ordinal).map_or(place, |at| key.len() + at)
}

/// Adds the rows that were removed.
fn of_delete(delete: &DeleteRows, seen: &Seen, name: &str) -> Result<Vec<String>, Refusal> {
    let DeleteRows { table, key, rows, .. } = delete;
    let before = seen.before.as_ref().ok_or_else(|| refused("DELETE", "nobody has seen the rows before"))?;
    if table.kind == TableKind::Collection {
        return Err(refused("DELETE", "a document may have more in it than its columns"));
    }
    if let Some(column) = table.columns.iter().find(|column| column.generated == Generated::Always) {
        return Err(refused(column.name(), "the store makes the values of the column always"));
    }
    let all = ordinals(table);
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

    /// Those of the columns `wanted` whose values have a text, of rows with all columns.
    fn with_text(table: &Table, batch: &'b RecordBatch, wanted: &[usize]) -> Self {
        let each = wanted.iter().filter_map(|ordinal| Self::at(table, [(*ordinal, *ordinal)].into_iter(), batch).ok());
        Self { columns: each.flat_map(|values| values.columns).collect() }
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
        Edit::Insert(Insert { store, table: Arc::new(table), columns: vec![1], rows, conflict, paths: Vec::new(), returning })
    }

    /// What is seen of rows with all columns that were written by these keys.
    fn written(keys: &[i64], after: RecordBatch) -> Seen {
        let table = table(TableKind::Table);
        Seen { keys: Some(rows(&table, &[0], vec![ids(keys)])), after: Some(after), ..Seen::default() }
    }

    #[test]
    fn rows_that_were_added_are_removed_by_the_keys_that_came_back_unless_somebody_has_changed_them_since() {
        let table = table(TableKind::Table);
        let returned = rows(&table, &[0], vec![ids(&[7, 8])]);
        let (key, keys) = keys_after(&insert(table.clone(), None), Some(&returned), None).unwrap();
        assert_eq!((key, &keys), (vec![0], &returned));
        // The store has made something else of the first value.
        let after = rows(&table, &[0, 1], vec![ids(&[8, 7]), names(&[Some("y"), Some("x!")])]);
        let seen = written(&[7, 8], after);
        let undone = undo(&insert(table.clone(), None), &seen, &name()).unwrap();
        let expected = [("8", "y"), ("7", "x!")].map(|(id, name)| {
            format!("/* one row */ DELETE FROM shop.\"Order\" WHERE id = '{id}' AND \"Name\" IS NOT DISTINCT FROM '{name}'")
        });
        assert_eq!(undone, expected);
        assert!(undo(&insert(table.clone(), None), &Seen::default(), &name()).is_err(), "nobody has looked");
        assert!(keys_after(&insert(table.clone(), None), None, None).is_none(), "the keys are the store's own");
        let gone = written(&[7, 9], rows(&table, &[0, 1], vec![ids(&[7]), names(&[None])]));
        assert!(undo(&insert(table.clone(), None), &gone, &name()).is_err(), "one of them is not there");
        let nothing = Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing };
        assert!(undo(&insert(table.clone(), Some(nothing.clone())), &seen, &name()).is_ok());
        let left_out = insert(table.clone(), Some(nothing));
        assert!(keys_after(&left_out, Some(&returned), None).is_some() && keys_after(&left_out, None, None).is_none());
        assert!(undo(&left_out, &Seen::default(), &name()).is_err());
        let update = ConflictAction::Update(Vec::new());
        let changing = Conflict { target: ConflictTarget::Columns(vec![0]), action: update };
        assert!(undo(&insert(table, Some(changing)), &seen, &name()).is_err());
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
            paths: Vec::new(),
            returning: Vec::new(),
        };
        let before = rows(&table, &[0, 1], vec![ids(&[2, 1, 3]), names(&[Some("b"), None, Some("c")])]);
        let edit = Edit::UpdateRows(update.clone());
        let (key, keys) = keys_after(&edit, None, None).unwrap();
        assert_eq!((key, keys.column(0)), (vec![0], &ids(&[11, 2])));
        let after = rows(&table, &[0, 1], vec![ids(&[2, 11]), names(&[None, Some("it's")])]);
        let seen = Seen { before: Some(before.clone()), ..written(&[11, 2], after) };
        let undone = undo(&edit, &seen, &name()).unwrap();
        let expected = [
            "/* one row */ UPDATE shop.\"Order\" SET \"Name\" = NULL, id = '1' WHERE id = '11' \
             AND \"Name\" IS NOT DISTINCT FROM 'it''s' AND id IS NOT DISTINCT FROM '11'",
            "/* one row */ UPDATE shop.\"Order\" SET \"Name\" = 'b', id = '2' WHERE id = '2' \
             AND \"Name\" IS NOT DISTINCT FROM NULL AND id IS NOT DISTINCT FROM '2'",
        ];
        assert_eq!(undone, expected);
        // What the store has made of a value is what a row is known by.
        let fitted = rows(&table, &[0, 1], vec![ids(&[2, 11]), names(&[None, Some("its")])]);
        let fitted = Seen { before: Some(before.clone()), ..written(&[11, 2], fitted) };
        let undone = undo(&edit, &fitted, &name()).unwrap();
        assert!(undone[0].contains("AND \"Name\" IS NOT DISTINCT FROM 'its' AND"), "{undone:?}");
        assert!(undo(&edit, &Seen::default(), &name()).is_err());
        assert!(undo(&edit, &Seen { before: Some(before), ..Seen::default() }, &name()).is_err());
        let documents = UpdateRows { table: Arc::new(self::table(TableKind::Collection)), ..update };
        assert!(undo(&Edit::UpdateRows(documents), &seen, &name()).is_err(), "NULL or absent");
    }

    #[test]
    fn rows_that_take_the_keys_of_one_another_are_not_changed_back() {
        let table = table(TableKind::Table);
        let check = |to: &[i64]| {
            let rows_given = rows(&table, &[0, 0], vec![ids(&[1, 2]), ids(to)]);
            let edit = Edit::UpdateRows(UpdateRows {
                store: StoreName::new("shop"),
                table: Arc::new(table.clone()),
                key: vec![0],
                set: vec![0],
                rows: rows_given,
                paths: Vec::new(),
                returning: Vec::new(),
            });
            let batch = |of: &[i64]| rows(&table, &[0, 1], vec![ids(of), names(&[None, None])]);
            undo(&edit, &Seen { before: Some(batch(&[1, 2])), ..written(to, batch(to)) }, &name()).map(|texts| texts.len()).ok()
        };
        assert_eq!(check(&[3, 4]), Some(2));
        assert_eq!(check(&[1, 2]), Some(2), "each has its own");
        assert_eq!(check(&[2, 1]), None);
        assert_eq!(check(&[2, 3]), None, "one after the other");
    }

    #[test]
    fn what_a_store_has_changed_beside_the_rows_is_not_undone() {
        let table = Arc::new(table(TableKind::Table));
        let referring = |on_update: Action, on_delete: Action| ForeignKey {
            name: "dog_owner".to_owned(),
            columns: vec![0],
            references: table.id.clone(),
            referenced_columns: vec!["id".to_owned()],
            on_update,
            on_delete,
        };
        let given = rows(&table, &[0], vec![ids(&[1])]);
        let (store, key) = (StoreName::new("shop"), vec![0]);
        let delete = DeleteRows { store, table: Arc::clone(&table), key, rows: given, returning: Vec::new() };
        let update = |set: usize, value: ArrayRef| {
            let rows = rows(&table, &[0, set], vec![ids(&[1]), value]);
            let (store, key) = (StoreName::new("shop"), vec![0]);
            Edit::UpdateRows(UpdateRows {
                store,
                table: Arc::clone(&table),
                key,
                set: vec![set],
                rows,
                paths: Vec::new(),
                returning: Vec::new(),
            })
        };
        let (delete, of_key, of_name) = (Edit::DeleteRows(delete), update(0, ids(&[2])), update(1, names(&[None])));
        for action in [Action::Cascade, Action::SetNull, Action::SetDefault] {
            assert!(check_references(&delete, &[referring(Action::NoAction, action)]).is_err(), "{action:?}");
            assert!(check_references(&delete, &[referring(action, Action::NoAction)]).is_ok(), "{action:?}");
            assert!(check_references(&of_key, &[referring(action, Action::NoAction)]).is_err(), "{action:?}");
            assert!(check_references(&of_key, &[referring(Action::NoAction, action)]).is_ok(), "{action:?}");
            assert!(check_references(&of_name, &[referring(action, action)]).is_ok(), "{action:?}");
        }
        for edit in [&delete, &of_key, &of_name] {
            assert!(check_references(edit, &[referring(Action::NoAction, Action::Restrict)]).is_ok());
        }
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
        let before = Seen { before: Some(before), ..Seen::default() };
        let undone = undo(&delete(&table), &before, &name()).unwrap();
        assert_eq!(undone, ["/* one row */ INSERT INTO shop.\"Order\" (id, \"Name\") VALUES ('1', 'a\\')"]);
        assert!(undo(&delete(&self::table(TableKind::Collection)), &before, &name()).is_err());
        let mut made = table.clone();
        made.columns[1].generated = Generated::Always;
        assert!(undo(&delete(&made), &before, &name()).is_err());
        let mut without = table;
        without.primary_key = None;
        assert!(key_of(&without, None).is_err());
        // One that the store relies on, though it proves nothing to a planner.
        let key = Key { name: String::new(), columns: vec![0], proven: false };
        without.primary_key = Some(key.clone());
        assert!(key_of(&without, None).is_err());
        assert_eq!(key_of(&without, Some(&key)).unwrap().columns, [0]);
    }
}
