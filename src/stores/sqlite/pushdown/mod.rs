//! Which conditions SQLite can evaluate, and how they are written.
//!
//! SQLite compares cells by kind first (NULL < numbers < text < blobs) and any column may hold any kind, so a condition is
//! exact only where a cell of the wrong kind can never be kept by it: such a cell is an error when it is read, and must not
//! be counted silently. Columns whose cells are all of the right kind by guarantee (STRICT tables, rowids) are exact wherever
//! the comparison itself is Postgres'.
//!
//! | Type | Pushed | Exact |
//! |---|---|---|
//! | bigint | all comparisons, IN | `=`, IN always; others when guaranteed |
//! | double precision | all comparisons, IN; not NaN | when guaranteed |
//! | boolean | `=`, `<>`, IN | no |
//! | numeric | `=`, IN, ranges up to 2^53, bounds widened to doubles; not on views | no |
//! | text | all comparisons, IN, LIKE as GLOB | `=`, IN, `<`, `<=` by bytes; others when guaranteed |
//! | bytea | all comparisons, IN | `=`, IN, `>`, `>=` |
//! | uuid | `=`, IN in every stored form | yes |
//! | moments, json, columns without a type | only IS NULL | yes |
//! | document fields | bigint, boolean, double, text by `json_extract` ([`field`]) | no |
//!
//! Where the collation of a text column counts (`stores/collation`), SQLite compares by it whatever is exact in the table above, but
//! not `LIKE`, whose operator looks at no collation; the rest is compared by bytes, because it is checked again.
//!
//! Columns of views have no affinity and no collation of their own, so nothing on them is exact.

mod field;

use std::collections::BTreeSet;

use super::super::document::OnMismatch;
use super::super::document::types::{DocumentType, NATIVE_KEY};
use super::super::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use super::super::relational::predicate::{Like, write};
use super::super::relational::{Spelling, Sql, Unwritable, Use, embedded, like, rows};
use super::super::schema::{Collation, Column, Table, TableKind};
use super::super::value::Value;
use super::types::read::EXACT_DOUBLE;
use super::types::{Affinity, OF_A_VIEW, affinity, is_any, is_proven};
use crate::pgtype::PgType;

/// Most values of one IN list; SQLite takes 32 766 parameters in a statement.
const VALUES_MAX: usize = 10_000;
/// Most parts of one AND or OR; SQLite refuses expressions deeper than 1000.
const PARTS_MAX: usize = 400;
/// Longest GLOB pattern; SQLite refuses patterns above 50 000 bytes.
pub(super) const PATTERN_MAX: usize = 40_000;

/// How SQLite can evaluate `predicate` on `table`.
pub(super) fn pushdown(table: &Table, predicate: &Predicate) -> Pushdown {
    match predicate {
        Predicate::And(parts) => all(table, parts),
        Predicate::Or(parts) => any(table, parts),
        Predicate::Rows(found) => rows::judge(table, found, rows::VALUES_MAX, &|part| pushdown(table, part)),
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => match table.columns.get(column.column) {
            Some(found) => downgrade(table, one(found, column, predicate)),
            None => Pushdown::Refused("the column is not known"),
        },
    }
}

/// Parts of a conjunction that SQLite cannot evaluate are left to the engine.
fn all(table: &Table, parts: &[Predicate]) -> Pushdown {
    let mut kept = Vec::new();
    let mut exact = parts.len() <= PARTS_MAX;
    for part in parts.iter().take(PARTS_MAX) {
        match pushdown(table, part) {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                exact = false;
                kept.push(part);
            }
            Pushdown::Refused(_) => exact = false,
        }
    }
    match (kept.is_empty(), exact) {
        (false, true) | (true, true) => Pushdown::Exact(Predicate::And(kept)),
        (false, false) => Pushdown::Superset(Predicate::And(kept)),
        (true, false) => Pushdown::Refused("no part of the condition can be evaluated"),
    }
}

/// A disjunction is only as good as its worst part.
fn any(table: &Table, parts: &[Predicate]) -> Pushdown {
    if parts.len() > PARTS_MAX {
        return Pushdown::Refused("the condition has too many alternatives");
    }
    let mut kept = Vec::with_capacity(parts.len());
    let mut exact = true;
    for part in parts {
        match pushdown(table, part) {
            Pushdown::Exact(part) => kept.push(part),
            Pushdown::Superset(part) => {
                exact = false;
                kept.push(part);
            }
            Pushdown::Refused(reason) => return Pushdown::Refused(reason),
        }
    }
    let kept = Predicate::Or(kept);
    if exact { Pushdown::Exact(kept) } else { Pushdown::Superset(kept) }
}

fn downgrade(table: &Table, pushdown: Pushdown) -> Pushdown {
    match pushdown {
        Pushdown::Exact(predicate) if table.kind == TableKind::View => Pushdown::Superset(predicate),
        other => other,
    }
}

/// A condition on one column.
fn one(column: &Column, at: &ColumnRef, predicate: &Predicate) -> Pushdown {
    if let Some(source) = embedded::source(&column.field) {
        return field::pushdown(&source, at, predicate);
    }
    if !at.path.is_empty() {
        return Pushdown::Refused("fields inside a value are not reached");
    }
    if let Predicate::IsNull { .. } = predicate {
        return Pushdown::Exact(predicate.clone());
    }
    if let Predicate::In { values, .. } = predicate
        && (values.is_empty() || values.len() > VALUES_MAX)
    {
        return Pushdown::Refused("the list of values has no size that SQLite takes");
    }
    if is_any(&column.field) || column.field.metadata().contains_key(NATIVE_KEY) {
        return Pushdown::Refused("the column's declared type promises nothing");
    }
    let kind = affinity(&column.native_type);
    match column.pg_type() {
        PgType::INT8 => on_int(column, predicate),
        PgType::FLOAT8 => on_double(column, predicate),
        PgType::BOOL => on_bool(predicate),
        PgType::TEXT if kind == Affinity::Text => on_text(column, predicate),
        PgType::BYTEA => on_blob(predicate),
        PgType::UUID => on_uuid(predicate),
        // A number in text is read as that number, but has no place among the numbers unless a column's affinity made it one.
        PgType { oid: 1700, .. } if kind == Affinity::Numeric && !has_no_affinity(column) => on_numeric(predicate),
        _ => Pushdown::Refused("SQLite stores the type in several forms"),
    }
}

/// Whether the column is one of a view or a virtual table, whose cells are as their makers please.
fn has_no_affinity(column: &Column) -> bool {
    matches!(&column.collation, Collation::Loose(name) if name == OF_A_VIEW)
}

fn verdict(exact: bool, predicate: Predicate) -> Pushdown {
    if exact { Pushdown::Exact(predicate) } else { Pushdown::Superset(predicate) }
}

/// Whether every value of the condition is of the wanted kind.
fn values_are(predicate: &Predicate, wanted: fn(&Value) -> bool) -> bool {
    match predicate {
        Predicate::Compare { value, .. } => wanted(value),
        Predicate::In { values, .. } => values.iter().all(wanted),
        _ => false,
    }
}

fn is_equality(predicate: &Predicate) -> bool {
    matches!(predicate, Predicate::Compare { op: Comparison::Equal, .. } | Predicate::In { negated: false, .. })
}

fn on_int(column: &Column, predicate: &Predicate) -> Pushdown {
    if !values_are(predicate, |value| matches!(value, Value::Int(_))) {
        return Pushdown::Refused("the value is not an integer");
    }
    verdict(is_equality(predicate) || is_proven(&column.field), predicate.clone())
}

fn on_double(column: &Column, predicate: &Predicate) -> Pushdown {
    if !values_are(predicate, |value| matches!(value, Value::Float(number) if !number.is_nan())) {
        return Pushdown::Refused("SQLite has no NaN");
    }
    verdict(is_proven(&column.field), predicate.clone())
}

fn on_bool(predicate: &Predicate) -> Pushdown {
    let ordered = matches!(
        predicate,
        Predicate::Compare {
            op: Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual,
            ..
        }
    );
    if ordered || !values_are(predicate, |value| matches!(value, Value::Bool(_))) {
        return Pushdown::Refused("booleans are compared by the engine");
    }
    Pushdown::Superset(predicate.clone())
}

fn on_text(column: &Column, predicate: &Predicate) -> Pushdown {
    let proven = is_proven(&column.field);
    if let Predicate::Like { pattern, case_insensitive, .. } = predicate {
        return match like::as_glob(pattern) {
            _ if *case_insensitive => Pushdown::Refused("SQLite folds the case of ASCII letters only"),
            Some(glob) if glob.len() <= PATTERN_MAX && !glob.contains('\0') => verdict(proven, predicate.clone()),
            Some(_) => Pushdown::Refused("the pattern is too long for SQLite"),
            None => Pushdown::Refused("the pattern ends with the escape character"),
        };
    }
    if !values_are(predicate, |value| matches!(value, Value::Text(text) if !text.contains('\0'))) {
        return Pushdown::Refused("the value is not a text that SQLite compares whole");
    }
    // What stands before IN is written with the column's own collation, which for its opposite would leave out too much.
    let counts = matches!(column.collation, Collation::Native { .. });
    if let (Predicate::In { column: at, values, negated: true }, Collation::Loose(_) | Collation::Native { .. }) =
        (predicate, &column.collation)
        && !(counts && proven)
    {
        let unequal = |value: &Value| Predicate::Compare { column: at.clone(), op: Comparison::NotEqual, value: value.clone() };
        return match values.len() {
            ..=PARTS_MAX => verdict(proven, Predicate::And(values.iter().map(unequal).collect())),
            _ => Pushdown::Refused("the list of values is too long to be compared one by one"),
        };
    }
    let below = matches!(predicate, Predicate::Compare { op: Comparison::Less | Comparison::LessOrEqual, .. });
    match &column.collation {
        Collation::Bytes => verdict(is_equality(predicate) || below || proven, predicate.clone()),
        Collation::Linguistic(_) if is_equality(predicate) => Pushdown::Exact(predicate.clone()),
        Collation::Linguistic(_) => Pushdown::Refused("the database stores text in UTF-16, which sorts otherwise"),
        // The column's own collation is kept for equality, so that its indexes are used.
        Collation::Loose(_) if is_equality(predicate) => Pushdown::Superset(predicate.clone()),
        Collation::Loose(_) => verdict(below || proven, predicate.clone()),
        Collation::Native { .. } => verdict(is_equality(predicate) || below || proven, predicate.clone()),
    }
}

fn on_blob(predicate: &Predicate) -> Pushdown {
    if !values_are(predicate, |value| matches!(value, Value::Bytes(_))) {
        return Pushdown::Refused("the value is not bytes");
    }
    let above = matches!(predicate, Predicate::Compare { op: Comparison::Greater | Comparison::GreaterOrEqual, .. });
    verdict(is_equality(predicate) || above, predicate.clone())
}

/// A UUID is stored as lower-case text, upper-case text or bytes, so it is looked for in all three forms.
fn on_uuid(predicate: &Predicate) -> Pushdown {
    const REFUSED: Pushdown = Pushdown::Refused("the value is not a uuid to be found by equality");
    let (column, values) = match predicate {
        Predicate::Compare { column, op: Comparison::Equal, value } => (column, std::slice::from_ref(value)),
        Predicate::In { column, values, negated: false } if values.len() <= VALUES_MAX / 3 => (column, values.as_slice()),
        _ => return REFUSED,
    };
    let mut forms = Vec::with_capacity(values.len() * 3);
    for value in values {
        let Value::Text(text) = value else { return REFUSED };
        let Some(bytes) = super::super::document::scalar::parse_uuid(text) else { return REFUSED };
        let mut canonical = String::with_capacity(36);
        super::super::document::scalar::write_uuid(&bytes, &mut canonical);
        forms.push(Value::Text(canonical.to_ascii_uppercase()));
        forms.push(Value::Text(canonical));
        forms.push(Value::Bytes(bytes.to_vec()));
    }
    Pushdown::Exact(Predicate::In { column: column.clone(), values: forms, negated: false })
}

/// Decimals are stored as integers or as the nearest double. Rounding keeps order, so a bound rounded to the nearest double
/// and made inclusive keeps every row that the decimal bound keeps, as long as doubles still tell integers apart.
fn on_numeric(predicate: &Predicate) -> Pushdown {
    const REFUSED: Pushdown = Pushdown::Refused("the number is compared by the engine");
    match predicate {
        Predicate::Compare { column, op, value } => {
            let op = match op {
                Comparison::Equal => Comparison::Equal,
                Comparison::Less | Comparison::LessOrEqual => Comparison::LessOrEqual,
                Comparison::Greater | Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
                Comparison::NotEqual => return REFUSED,
            };
            match nearest_double(value) {
                Some(value) => Pushdown::Superset(Predicate::Compare { column: column.clone(), op, value }),
                None => REFUSED,
            }
        }
        Predicate::In { column, values, negated: false } => match values.iter().map(nearest_double).collect() {
            Some(values) => Pushdown::Superset(Predicate::In { column: column.clone(), values, negated: false }),
            None => REFUSED,
        },
        _ => REFUSED,
    }
}

fn nearest_double(value: &Value) -> Option<Value> {
    let text = match value {
        Value::Int(number) => number.to_string(),
        Value::Decimal { unscaled, scale } => {
            let mut text = String::new();
            super::super::relational::literal::write_decimal(*unscaled, *scale, &mut text);
            text
        }
        Value::Numeric(text) => text.clone(),
        _ => return None,
    };
    // Rust reads decimal text to the nearest double exactly; SQLite's own reader may be off by one.
    let number: f64 = text.parse().ok()?;
    // The next whole number is rounded to this one.
    (number.abs() < EXACT_DOUBLE as f64).then_some(Value::Float(number))
}

/// Whether a column is compared under its own collation because it counts: what is exact, or else would be checked again by bytes.
pub(super) fn compares_by_own(column: &Column, purpose: Use) -> bool {
    let is_exact = match purpose {
        Use::Compare(Comparison::Equal | Comparison::Less | Comparison::LessOrEqual) | Use::Member => true,
        Use::Compare(_) => is_proven(&column.field),
        Use::NullTest | Use::Pattern => false,
    };
    is_exact && matches!(column.collation, Collation::Native { .. })
}

/// How the columns of a table are written in SQLite.
pub(super) struct Columns<'a> {
    /// The table.
    pub(super) table: &'a Table,
}

impl Columns<'_> {
    /// Whether the column's own collation must not be used.
    pub(super) fn compares_otherwise(&self, column: &Column, purpose: Use) -> bool {
        let by_bytes = match purpose {
            Use::Compare(Comparison::Equal) | Use::Member => self.table.kind == TableKind::View,
            Use::Compare(_) => !compares_by_own(column, purpose),
            Use::NullTest | Use::Pattern => false,
        };
        let is_other = matches!(column.collation, Collation::Loose(_) | Collation::Native { .. });
        by_bytes && is_other && column.pg_type() == PgType::TEXT
    }
}

impl Spelling for Columns<'_> {
    fn write_column(&self, column: &ColumnRef, purpose: Use, sql: &mut Sql) -> Result<(), Unwritable> {
        let found = self.table.columns.get(column.column).ok_or(Unwritable("belongs to no column"))?;
        if let Some(source) = embedded::source(&found.field) {
            return field::write(&source, column, sql);
        }
        // Qualified for the reason given in `layout.rs`.
        sql.push("t.");
        sql.push_name(found.name());
        if self.compares_otherwise(found, purpose) {
            sql.push(" COLLATE BINARY");
        }
        Ok(())
    }

    /// `LIKE` of SQLite ignores the case of ASCII letters; `GLOB` does not.
    fn write_like(&self, column: &ColumnRef, like: Like<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
        self.write_column(column, Use::Pattern, sql)?;
        sql.push(if like.negated { " NOT GLOB " } else { " GLOB " });
        let glob = like::as_glob(like.pattern).ok_or(Unwritable("ends with the escape character"))?;
        sql.push_value(Value::Text(glob))
    }
}

/// Writes ` WHERE …` for the conjuncts of a scan, or nothing. A conjunct on documents is put to rows whose documents can be
/// read; the others are kept, because the reader must see them to refuse them.
///
/// # Errors
/// A predicate that [`pushdown`] refuses.
pub(super) fn write_filter(table: &Table, filter: &[Predicate], sql: &mut Sql) -> Result<(), Unwritable> {
    let mut pending: Vec<&Predicate> = filter.iter().rev().collect();
    let mut word = " WHERE ";
    while let Some(conjunct) = pending.pop() {
        if let Predicate::And(parts) = conjunct
            && !parts.is_empty()
        {
            pending.extend(parts.iter().rev());
            continue;
        }
        sql.push(std::mem::replace(&mut word, " AND "));
        let mut documents = BTreeSet::new();
        gather_documents(table, conjunct, &mut documents);
        if documents.is_empty() {
            write(conjunct, &Columns { table }, sql)?;
            continue;
        }
        sql.push("CASE WHEN ");
        for (number, column) in documents.into_iter().enumerate() {
            sql.push(if number == 0 { "" } else { " AND " });
            field::write_readable(column, sql);
        }
        sql.push(" THEN ");
        write(conjunct, &Columns { table }, sql)?;
        sql.push(" ELSE 1 END");
    }
    Ok(())
}

/// The document columns of a condition whose unreadable documents are an error.
fn gather_documents<'t>(table: &'t Table, predicate: &Predicate, found: &mut BTreeSet<&'t str>) {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| gather_documents(table, part, found)),
        // Fields of documents stand in no rows.
        Predicate::Rows(_) => {}
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => {
            let source = table.columns.get(column.column).and_then(|column| embedded::source(&column.field));
            found.extend(source.filter(|source| source.on_mismatch != OnMismatch::Null).map(|source| source.column));
        }
    }
}

/// Whether a document type is one whose fields are compared by [`field`].
fn is_comparable(kind: &DocumentType) -> bool {
    matches!(kind, DocumentType::Bool | DocumentType::Int | DocumentType::Double | DocumentType::Text)
}

#[cfg(test)]
mod tests;
