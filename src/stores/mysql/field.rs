//! Conditions on fields of JSON columns, in the JSON functions that MySQL and MariaDB share.
//!
//! The kind of a value is asked before the value is compared, and `CASE` evaluates nothing else. How escapes are read depends
//! on the server and on the session's SQL mode, so a document that holds a backslash is kept without a look.

use super::super::predicate::{ColumnRef, Predicate};
use super::super::relational::embedded::Source;
use super::super::relational::field::{self, Condition, Range, Test, Words, condition};
use super::super::relational::{Sql, Unwritable, like};
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

/// Takes a condition on a field apart.
///
/// # Errors
/// The reason why the server cannot evaluate it.
pub(super) fn judge<'p>(source: &Source<'_>, predicate: &'p Predicate) -> Result<Condition<'p>, &'static str> {
    let condition = condition(source, subject(predicate).ok_or("the field is not known")?, predicate)?;
    if !condition.names.iter().all(|name| is_plain(name)) {
        return Err("the field's name cannot be written in a JSON path");
    }
    // Of two nested documents with one name MariaDB finds the field in either, where we read the first alone.
    if condition.test == Test::Null && condition.names.len() > 1 {
        return Err("the store may find the field in a repeated document");
    }
    Ok(condition)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|character| matches!(character, '"' | '\\' | '*') || character < ' ')
}

/// Writes a condition on a field of a document.
///
/// # Errors
/// A condition that [`judge`] refuses, or a value that cannot be sent.
pub(super) fn write(source: &Source<'_>, predicate: &Predicate, sql: &mut Sql) -> Result<(), Unwritable> {
    let condition = judge(source, predicate).map_err(Unwritable)?;
    field::write(&condition, &mut Writer { column: source.column, condition: &condition, sql })
}

struct Writer<'w> {
    column: &'w str,
    condition: &'w Condition<'w>,
    sql: &'w mut Sql,
}

impl field::Writer for Writer<'_> {
    fn words(&self) -> Words {
        Words { object: "'OBJECT'", null: "'NULL'", boolean: "'BOOLEAN'", string: "'STRING'", truth: ["1", "0"] }
    }

    fn sql(&mut self) -> &mut Sql {
        self.sql
    }

    fn unreadable(&mut self) -> Result<(), Unwritable> {
        self.sql.push(" WHEN LOCATE(");
        self.sql.push_value(Value::Text("\\".to_owned()))?;
        self.sql.push(", ");
        self.sql.push_name(self.column);
        self.sql.push(") > 0 THEN 1");
        Ok(())
    }

    fn kind(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push("JSON_TYPE(");
        self.value_at(level)?;
        self.sql.push(")");
        Ok(())
    }

    fn truth(&mut self, level: usize) -> Result<(), Unwritable> {
        self.sql.push("JSON_UNQUOTE(");
        self.value_at(level)?;
        self.sql.push(")");
        Ok(())
    }

    fn number(&mut self, level: usize, ranges: &[Range]) -> Result<(), Unwritable> {
        field::when(self, level)?;
        self.sql.push(" IN ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL') THEN ");
        for (place, range) in ranges.iter().enumerate() {
            self.sql.push(if place == 0 { "" } else { " OR " });
            for (place, (op, bound)) in field::bounds(range).enumerate() {
                // Adding zero makes a double of what is text on MariaDB and JSON on MySQL.
                self.sql.push(if place == 0 { "(" } else { " AND (" });
                self.value_at(level)?;
                self.sql.push(" + 0e0)");
                self.sql.push(op);
                self.sql.push_value(Value::Float(bound))?;
            }
        }
        self.sql.push(if ranges.is_empty() { "0" } else { "" });
        Ok(())
    }

    fn text(&mut self, level: usize, predicate: &Predicate) -> Result<(), Unwritable> {
        let by_bytes = !matches!(predicate, Predicate::Like { .. });
        self.sql.push(if by_bytes { "CAST(CONVERT(JSON_UNQUOTE(" } else { "CONVERT(JSON_UNQUOTE(" });
        self.value_at(level)?;
        self.sql.push(if by_bytes { ") USING utf8mb4) AS BINARY)" } else { ") USING utf8mb4) COLLATE utf8mb4_bin" });
        match predicate {
            Predicate::Compare { op, value, .. } => {
                self.sql.push(" ");
                self.sql.push(op.sql());
                self.sql.push(" ");
                self.sql.push_value(value.clone())
            }
            Predicate::In { values, negated, .. } => {
                self.sql.push(if *negated { " NOT IN (" } else { " IN (" });
                for (place, value) in values.iter().enumerate() {
                    self.sql.push(if place == 0 { "" } else { ", " });
                    self.sql.push_value(value.clone())?;
                }
                self.sql.push(")");
                Ok(())
            }
            Predicate::Like { pattern, negated, .. } => {
                self.sql.push(if *negated { " NOT LIKE " } else { " LIKE " });
                let pattern = like::with_escape(pattern, '!').ok_or(Unwritable("ends with the escape character"))?;
                self.sql.push_value(Value::Text(pattern))?;
                self.sql.push(" ESCAPE '!'");
                Ok(())
            }
            Predicate::IsNull { .. } | Predicate::Rows(_) | Predicate::And(_) | Predicate::Or(_) => {
                Err(Unwritable("is not a text"))
            }
        }
    }
}

impl Writer<'_> {
    /// JSON_EXTRACT(`doc`, '$."a"."b"'), with the first `level` names.
    fn value_at(&mut self, level: usize) -> Result<(), Unwritable> {
        if level == 0 {
            self.sql.push_name(self.column);
            return Ok(());
        }
        let names = self.condition.names.iter().take(level);
        let path = names.fold("$".to_owned(), |path, name| format!("{path}.\"{name}\""));
        self.sql.push("JSON_EXTRACT(");
        self.sql.push_name(self.column);
        self.sql.push(", ");
        self.sql.push_value(Value::Text(path))?;
        self.sql.push(")");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::document::{DocumentField, DocumentType, OnMismatch};
    use super::super::super::predicate::Comparison;
    use super::super::super::relational::Dialect;
    use super::*;

    fn source(name: &str, kind: DocumentType, on_mismatch: OnMismatch) -> Source<'static> {
        let field = Some(DocumentField { name: name.to_owned(), kind });
        Source { column: "doc", native_type: "json", field, on_mismatch }
    }

    #[test]
    fn kinds_are_asked_before_values() {
        let equal = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Text("x".to_owned()) };
        let mut sql = Sql::bound(Dialect::MySql);
        write(&source("a", DocumentType::Text, OnMismatch::Error), &equal, &mut sql).unwrap();
        assert_eq!(
            sql.text(),
            "CASE WHEN LOCATE(?, `doc`) > 0 THEN 1 WHEN JSON_TYPE(`doc`) <> 'OBJECT' THEN 1 \
             WHEN JSON_TYPE(JSON_EXTRACT(`doc`, ?)) = 'STRING' \
             THEN CAST(CONVERT(JSON_UNQUOTE(JSON_EXTRACT(`doc`, ?)) USING utf8mb4) AS BINARY) = ? \
             ELSE coalesce(JSON_TYPE(JSON_EXTRACT(`doc`, ?)) <> 'NULL', 0) END"
        );
        assert_eq!(sql.values()[1], Value::Text("$.\"a\"".to_owned()));
        for name in ["", "a\"b", "a\\", "*", "tab\t"] {
            assert!(judge(&source(name, DocumentType::Text, OnMismatch::Error), &equal).is_err(), "{name}");
        }
    }

    #[test]
    fn missing_nested_fields_are_found_by_the_engine() {
        let inner = DocumentType::Struct(vec![DocumentField { name: "b".to_owned(), kind: DocumentType::Text }]);
        let source = source("a", inner, OnMismatch::Error);
        let deep = ColumnRef { column: 0, path: vec!["b".to_owned()] };
        assert!(judge(&source, &Predicate::IsNull { column: deep.clone(), negated: false }).is_err());
        assert!(judge(&source, &Predicate::IsNull { column: deep, negated: true }).is_ok());
    }
}
