//! Conditions on fields of JSON columns, in PostgreSQL's JSON operators.
//!
//! `->` with a name gives NULL for anything but an object with that field, so a chain of them is NULL where the field is
//! missing, and the kind of its value is asked before the value is cast: `CASE` evaluates nothing else. `json` (not `jsonb`)
//! may hold what its operators refuse and our reader does not: rows with a `\u` escape, and numbers with an exponent, are kept
//! without a look.

use super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::relational::embedded::Source;
use super::super::relational::field::{self, Condition, Range, Words, condition, digits};
use super::super::relational::{Sql, Unwritable, like, literal};
use super::super::value::Value;

/// The column that a predicate on one column is about.
pub(super) fn subject(predicate: &Predicate) -> Option<&ColumnRef> {
    match predicate {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => Some(column),
        Predicate::Rows(_) | Predicate::And(_) | Predicate::Or(_) => None,
    }
}

/// Writes a condition on a field of a document.
///
/// # Errors
/// A condition that [`condition`] refuses, or a value that cannot be written.
pub(super) fn write(source: &Source<'_>, is_jsonb: bool, predicate: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
    let at = subject(predicate).ok_or(Unwritable("belongs to no field"))?;
    let condition = condition(source, at, predicate).map_err(Unwritable)?;
    field::write(&condition, &mut Writer { source, is_jsonb, condition: &condition, sql })
}

struct Writer<'w> {
    source: &'w Source<'w>,
    is_jsonb: bool,
    condition: &'w Condition<'w>,
    sql: &'w mut Sql,
}

impl field::Writer for Writer<'_> {
    fn words(&self) -> Words {
        Words { object: "'object'", null: "'null'", boolean: "'boolean'", string: "'string'", truth: ["TRUE", "FALSE"] }
    }

    fn sql(&mut self) -> &mut Sql {
        self.sql
    }

    fn unreadable(&mut self) -> Result<(), Unwritable> {
        if self.is_jsonb {
            return Ok(());
        }
        self.sql.push(" WHEN pg_catalog.strpos(");
        self.path(0)?;
        self.sql.push("::pg_catalog.text, ");
        self.literal("\\u")?;
        self.sql.push(") > 0 THEN TRUE");
        Ok(())
    }

    /// `jsonb_typeof("doc" -> 'a')`
    fn kind(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push(if self.is_jsonb { "pg_catalog.jsonb_typeof(" } else { "pg_catalog.json_typeof(" });
        self.path(level)?;
        self.sql.push(")");
        Ok(())
    }

    fn truth(&mut self, level: usize) -> Result<(), Unwritable> {
        self.scalar(level)
    }

    fn number(&mut self, level: usize, ranges: &[Range]) -> Result<(), Unwritable> {
        if !self.is_jsonb {
            field::when(self, level)?;
            self.sql.push(" = 'number' AND ");
            self.scalar(level)?;
            self.sql.push(" !~ '^[-0-9.]{1,250}$' THEN TRUE");
        }
        field::when(self, level)?;
        self.sql.push(" = 'number' THEN ");
        for (place, range) in ranges.iter().enumerate() {
            self.sql.push(if place == 0 { "" } else { " OR " });
            for (place, (op, bound)) in field::bounds(range).enumerate() {
                self.sql.push(if place == 0 { "" } else { " AND " });
                self.scalar(level)?;
                self.sql.push("::pg_catalog.numeric");
                self.sql.push(op);
                self.sql.push_value(Value::Numeric(digits(bound)))?;
            }
        }
        self.sql.push(if ranges.is_empty() { "FALSE" } else { "" });
        Ok(())
    }

    fn text(&mut self, level: usize, predicate: &Predicate) -> Result<(), Unwritable> {
        self.sql.push("(");
        // The field has a name, so there is a level above it.
        self.path(level.saturating_sub(1))?;
        self.sql.push(" ->> ");
        self.name(level.saturating_sub(1))?;
        self.sql.push(")");
        match predicate {
            Predicate::Compare { op, value, .. } => {
                self.sql.push(if *op == Comparison::Equal { " " } else { " COLLATE pg_catalog.\"C\" " });
                self.sql.push(op.sql());
                self.sql.push(" ");
                self.value(value)
            }
            Predicate::In { values, negated, .. } => {
                self.sql.push(if *negated { " NOT IN (" } else { " IN (" });
                for (place, value) in values.iter().enumerate() {
                    self.sql.push(if place == 0 { "" } else { ", " });
                    self.value(value)?;
                }
                self.sql.push(")");
                Ok(())
            }
            Predicate::Like { pattern, negated, .. } => {
                like::parts(pattern).ok_or(Unwritable("ends with the escape character"))?;
                self.sql.push(if *negated { " NOT LIKE " } else { " LIKE " });
                self.value(&Value::Text(pattern.clone()))
            }
            Predicate::IsNull { .. } | Predicate::Rows(_) | Predicate::And(_) | Predicate::Or(_) => {
                Err(Unwritable("is not a text"))
            }
        }
    }
}

impl Writer<'_> {
    /// `("doc" -> 'a')::text`
    fn scalar(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push("(");
        self.path(level)?;
        self.sql.push(")::pg_catalog.text");
        Ok(())
    }

    /// `"doc" -> 'a' -> 'b'`, with the first `level` names.
    fn path(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push_name(self.source.column);
        for place in 0..level {
            self.sql.push(" -> ");
            self.name(place)?;
        }
        Ok(())
    }

    /// Names are part of the statement and not values, so they are shown in it.
    fn name(&mut self, place: usize) -> Result<(), Unwritable> {
        let name = self.condition.names.get(place).ok_or(Unwritable("belongs to no field"))?;
        self.literal(name)
    }

    fn literal(&mut self, content: &str) -> Result<(), Unwritable> {
        let mut text = String::new();
        literal::write_text(content, &mut text)?;
        text.push_str("::pg_catalog.text");
        self.sql.push(&text);
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Unwritable> {
        self.sql.push_value(value.clone())?;
        self.sql.push("::pg_catalog.text");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::document::{DocumentField, DocumentType, OnMismatch};
    use super::super::super::relational::Dialect;
    use super::*;

    fn check(kind: DocumentType, on_mismatch: OnMismatch, predicate: &Predicate, expected: &str) {
        let field = Some(DocumentField { name: "it's".to_owned(), kind });
        let source = Source { column: "doc", native_type: "jsonb", field, on_mismatch };
        let mut sql = Sql::bound(Dialect::Postgres);
        write(&source, true, predicate, &mut sql).unwrap();
        assert_eq!(sql.text().replace("pg_catalog.", ""), expected);
    }

    #[test]
    fn kinds_are_asked_before_values() {
        let column = ColumnRef::of(0);
        let below = Predicate::Compare { column: column.clone(), op: Comparison::Less, value: Value::Int(5) };
        let at = "\"doc\" -> 'it''s'::text";
        check(
            DocumentType::Int,
            OnMismatch::Null,
            &below,
            &format!("CASE WHEN jsonb_typeof({at}) = 'number' THEN ({at})::text::numeric <= $1 ELSE FALSE END"),
        );
        let is_null = Predicate::IsNull { column, negated: false };
        check(
            DocumentType::Text,
            OnMismatch::Error,
            &is_null,
            &format!("CASE WHEN jsonb_typeof(\"doc\") <> 'object' THEN TRUE ELSE coalesce(jsonb_typeof({at}) = 'null', TRUE) END"),
        );
        let inner = DocumentType::Struct(vec![DocumentField { name: "b".to_owned(), kind: DocumentType::Text }]);
        let deep = ColumnRef { column: 0, path: vec!["b".to_owned()] };
        let equal = Predicate::Compare { column: deep, op: Comparison::Equal, value: Value::Text("x".to_owned()) };
        check(
            inner,
            OnMismatch::Error,
            &equal,
            &format!(
                "CASE WHEN jsonb_typeof(\"doc\") <> 'object' THEN TRUE WHEN jsonb_typeof({at}) NOT IN ('object', 'null') THEN TRUE \
                 WHEN jsonb_typeof({at} -> 'b'::text) = 'string' THEN ({at} ->> 'b'::text) = $1::text \
                 ELSE coalesce(jsonb_typeof({at} -> 'b'::text) <> 'null', FALSE) END"
            ),
        );
    }
}
