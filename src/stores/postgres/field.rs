//! Conditions on fields of JSON columns, in PostgreSQL's JSON operators.
//!
//! `->` with a name gives NULL for anything but an object with that field, so a chain of them is NULL where the field is
//! missing, and the kind of its value is asked before the value is cast: `CASE` evaluates nothing else. `json` (not `jsonb`)
//! may hold what its operators refuse and our reader does not: rows with a `\u` escape, and numbers with an exponent, are kept
//! without a look.

use super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::relational::embedded::Source;
use super::super::relational::field::{Condition, Range, Test, condition, digits};
use super::super::relational::{Sql, Unwritable, like, literal};
use super::super::value::Value;

/// The column that a predicate on one column is about.
pub(super) fn subject(predicate: &Predicate) -> Option<&ColumnRef> {
    match predicate {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => Some(column),
        Predicate::And(_) | Predicate::Or(_) => None,
    }
}

/// Writes a condition on a field of a document.
///
/// # Errors
/// A condition that [`condition`] refuses, or a value that cannot be written.
pub(super) fn write(source: &Source<'_>, is_jsonb: bool, predicate: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
    let at = subject(predicate).ok_or(Unwritable("belongs to no field"))?;
    let condition = condition(source, at, predicate).map_err(Unwritable)?;
    Writer { source, is_jsonb, condition: &condition, sql }.write()
}

struct Writer<'w> {
    source: &'w Source<'w>,
    is_jsonb: bool,
    condition: &'w Condition<'w>,
    sql: &'w mut Sql,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), Unwritable> {
        let depth = self.condition.names.len();
        self.sql.push("CASE");
        if !self.is_jsonb {
            self.sql.push(" WHEN pg_catalog.strpos(");
            self.path(0)?;
            self.sql.push("::pg_catalog.text, ");
            self.text("\\u")?;
            self.sql.push(") > 0 THEN TRUE");
        }
        if self.condition.keeps_misfits {
            for level in 0..depth {
                self.when(level)?;
                self.sql.push(if level == 0 { " <> 'object' THEN TRUE" } else { " NOT IN ('object', 'null') THEN TRUE" });
            }
        }
        self.test(depth)?;
        self.otherwise(depth)?;
        self.sql.push(" END");
        Ok(())
    }

    fn test(&mut self, depth: usize) -> Result<(), Unwritable> {
        match &self.condition.test {
            Test::Null | Test::NotNull => Ok(()),
            Test::Truth(wanted) => {
                self.when(depth)?;
                self.sql.push(" = 'boolean' THEN ");
                self.scalar(depth)?;
                self.sql.push(match wanted.as_slice() {
                    [] => " IS NULL",
                    [true] => " = 'true'",
                    [false] => " = 'false'",
                    _ => " IS NOT NULL",
                });
                Ok(())
            }
            Test::Number(ranges) => self.number(depth, ranges),
            Test::Text(predicate) => {
                self.when(depth)?;
                self.sql.push(" = 'string' THEN ");
                self.compare_text(depth, predicate)
            }
        }
    }

    fn number(&mut self, depth: usize, ranges: &[Range]) -> Result<(), Unwritable> {
        if !self.is_jsonb {
            self.when(depth)?;
            self.sql.push(" = 'number' AND ");
            self.scalar(depth)?;
            self.sql.push(" !~ '^[-0-9.]{1,250}$' THEN TRUE");
        }
        self.when(depth)?;
        self.sql.push(" = 'number' THEN ");
        for (place, range) in ranges.iter().enumerate() {
            self.sql.push(if place == 0 { "" } else { " OR " });
            for (place, (op, bound)) in
                [(" >= ", range.low), (" <= ", range.high)].into_iter().filter_map(|(op, bound)| Some((op, bound?))).enumerate()
            {
                self.sql.push(if place == 0 { "" } else { " AND " });
                self.scalar(depth)?;
                self.sql.push("::pg_catalog.numeric");
                self.sql.push(op);
                self.sql.push_value(Value::Numeric(digits(bound)))?;
            }
        }
        self.sql.push(if ranges.is_empty() { "FALSE" } else { "" });
        Ok(())
    }

    fn compare_text(&mut self, depth: usize, predicate: &Predicate) -> Result<(), Unwritable> {
        self.sql.push("(");
        self.path(depth - 1)?;
        self.sql.push(" ->> ");
        self.name(depth - 1)?;
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
            Predicate::IsNull { .. } | Predicate::And(_) | Predicate::Or(_) => Err(Unwritable("is not a text")),
        }
    }

    /// What becomes of values that the test does not look at.
    fn otherwise(&mut self, depth: usize) -> Result<(), Unwritable> {
        let (missing, op) = match (&self.condition.test, self.condition.keeps_misfits) {
            (Test::Null, _) => ("TRUE", " = 'null'"),
            (_, true) => ("FALSE", " <> 'null'"),
            (_, false) => {
                self.sql.push(" ELSE FALSE");
                return Ok(());
            }
        };
        self.sql.push(" ELSE coalesce(");
        self.kind(depth)?;
        self.sql.push(op);
        self.sql.push(", ");
        self.sql.push(missing);
        self.sql.push(")");
        Ok(())
    }

    fn when(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push(" WHEN ");
        self.kind(level)
    }

    /// `jsonb_typeof("doc" -> 'a')`
    fn kind(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push(if self.is_jsonb { "pg_catalog.jsonb_typeof(" } else { "pg_catalog.json_typeof(" });
        self.path(level)?;
        self.sql.push(")");
        Ok(())
    }

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
        self.text(name)
    }

    fn text(&mut self, content: &str) -> Result<(), Unwritable> {
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
