//! From the engine's errors to diagnoses with the SQLSTATE that Postgres would give.

mod planner;

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError, TableReference};
use datafusion::error::DataFusionError;

use super::ast::visible;
use crate::catalog::keyword::quote_identifier;
use crate::error::{Diagnosis, Limit, find_diagnosis, sqlstate};
use crate::spelling::nearest;

/// Maps any engine error to what the client is told; `ast::locate` finds its place in the statement's text.
pub fn diagnose(error: &DataFusionError) -> Diagnosis {
    if let Some(found) = find_diagnosis(error) {
        return found.clone();
    }
    match root(error) {
        full @ (DataFusionError::IoError(_) | DataFusionError::ArrowError(..)) if is_spill_limit(full) => spill_limit(),
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::ResourcesExhausted(message) => Diagnosis::new(sqlstate::OUT_OF_MEMORY, "out of memory")
            .with_detail(message.clone())
            .with_hint("All queries share limits.query_memory: raise it, run fewer at a time, or filter earlier.")
            .at(Limit::QueryMemory),
        DataFusionError::NotImplemented(message) => {
            let plain = || Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, first_line(message));
            planner::translate(message).unwrap_or_else(plain)
        }
        DataFusionError::Plan(message) => from_plan(message),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::SQL(inner, _) => Diagnosis::new(sqlstate::SYNTAX_ERROR, inner.to_string()),
        other => Diagnosis::new(sqlstate::INTERNAL_ERROR, first_line(&other.strip_backtrace())),
    }
}

/// The engine's disk manager tells its bound by words of its own, as an error of reading and writing.
fn is_spill_limit(error: &DataFusionError) -> bool {
    error.strip_backtrace().contains("used disk space during the spilling process has exceeded")
}

/// As PostgreSQL says that `temp_file_limit` was reached.
fn spill_limit() -> Diagnosis {
    Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, "temporary file size exceeds limits.spill")
        .with_hint("All queries share limits.spill: raise it, run fewer at a time, or filter earlier.")
        .at(Limit::Spill)
}

/// The first error that is not a wrapper.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(all) => all.first().map_or(error, root),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::ExternalError(external) => external.downcast_ref::<DataFusionError>().map_or(error, root),
            _ => error,
        },
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, root),
        other => other,
    }
}

fn from_schema(error: &SchemaError) -> Diagnosis {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = visible(&field.name);
            let shown = field
                .relation
                .as_ref()
                .map_or_else(|| format!("\"{name}\""), |relation| format!("{}.{name}", visible(relation.table())));
            let missing_table = field.relation.as_ref().filter(|relation| {
                !valid_fields.iter().any(|valid| valid.relation.as_ref().is_some_and(|known| known.table() == relation.table()))
            });
            if let Some(relation) = missing_table {
                return Diagnosis::new(
                    sqlstate::UNDEFINED_TABLE,
                    format!("missing FROM-clause entry for table \"{}\"", visible(relation.table())),
                );
            }
            // Outputs of a subquery that share a name are all hidden, so that none of them is found by it.
            let is_repeated = valid_fields.iter().any(|valid| {
                let of_same = field.relation.is_none() || field.relation.as_ref() == valid.relation.as_ref();
                of_same && valid.name != name && visible(&valid.name) == name
            });
            if is_repeated {
                return Diagnosis::new(sqlstate::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"));
            }
            let unknown = Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column {shown} does not exist"));
            match meant(field, valid_fields) {
                Some(valid) => {
                    let table = valid
                        .relation
                        .as_ref()
                        .map(|relation| format!("{}.", quote_identifier(visible(relation.table()))))
                        .unwrap_or_default();
                    unknown.with_hint(format!("Perhaps you meant to reference the column \"{table}{}\".", visible(&valid.name)))
                }
                None => unknown,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            Diagnosis::new(sqlstate::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", visible(&field.name)))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Diagnosis::new("42701", format!("column name \"{}\" appears more than once", visible(name)))
        }
    }
}

/// The column that an unknown name probably means: one of the relation that it is qualified with, if one of these is near.
fn meant<'f>(field: &Column, valid_fields: &'f [Column]) -> Option<&'f Column> {
    let near = |is_meant: &dyn Fn(&Column) -> bool| {
        let mut fields = valid_fields.iter().filter(|valid| is_meant(valid));
        let name = nearest(visible(&field.name), fields.clone().map(|valid| valid.name.as_str()))?;
        fields.find(|valid| valid.name == name)
    };
    let table = field.relation.as_ref().map(TableReference::table);
    let of_same = |valid: &Column| table.is_some() && valid.relation.as_ref().map(TableReference::table) == table;
    near(&of_same).or_else(|| near(&|_| true))
}

fn from_arrow(error: &ArrowError) -> Diagnosis {
    match error {
        ArrowError::DivideByZero => Diagnosis::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(message.clone())
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, first_line(message))
        }
        ArrowError::ComputeError(message) => from_execution(message),
        ArrowError::NotYetImplemented(message) => Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, first_line(message)),
        other => Diagnosis::new(sqlstate::INTERNAL_ERROR, first_line(&other.to_string())),
    }
}

/// Planner errors that arrive as prose only; the words are the planner's own (DataFusion 55.2).
fn from_plan(message: &str) -> Diagnosis {
    let message = message.strip_prefix("Error during planning: ").unwrap_or(message);
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or_default();
        return Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
            .with_hint("No function matches the given name and argument types.");
    }
    if let Some(translated) = planner::translate(message) {
        return translated;
    }
    let rules: [(&str, &str); 9] = [
        ("Invalid placeholder", sqlstate::UNDEFINED_PARAMETER),
        ("No value found for placeholder", sqlstate::UNDEFINED_PARAMETER),
        ("must appear in the GROUP BY clause", sqlstate::GROUPING_ERROR),
        ("must be in GROUP BY", sqlstate::GROUPING_ERROR),
        ("could not be resolved from available columns", sqlstate::GROUPING_ERROR),
        ("Cannot coerce", sqlstate::DATATYPE_MISMATCH),
        ("Cannot infer common argument type", sqlstate::UNDEFINED_FUNCTION),
        ("does not support zero arguments", sqlstate::UNDEFINED_FUNCTION),
        ("Function '", sqlstate::UNDEFINED_FUNCTION),
    ];
    let code = rules.iter().find(|(words, _)| message.contains(words)).map_or("42000", |(_, code)| *code);
    Diagnosis::new(code, first_line(message))
}

fn from_execution(message: &str) -> Diagnosis {
    if let Some(translated) = planner::translate(message) {
        return translated;
    }
    let lower = message.to_lowercase();
    if lower.contains("divide by zero") {
        return Diagnosis::new(sqlstate::DIVISION_BY_ZERO, "division by zero");
    }
    if lower.contains("more than one row") || lower.contains("more than 1 row") {
        return Diagnosis::new(sqlstate::CARDINALITY_VIOLATION, "more than one row returned by a subquery used as an expression");
    }
    if lower.contains("overflow") {
        return Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(first_line(message));
    }
    Diagnosis::new(sqlstate::DATA_EXCEPTION, first_line(message))
}

fn first_line(text: &str) -> String {
    visible(text.lines().next().unwrap_or_default()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &DataFusionError, code: &str, message: &str) {
        let said = diagnose(error);
        assert_eq!((said.sqlstate.as_str(), said.message.as_str()), (code, message));
    }

    #[test]
    fn engine_errors_have_postgres_codes() {
        check(&DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None), "22012", "division by zero");
        check(
            &DataFusionError::Plan("Invalid function 'nope'.\nDid you mean 'note'?".to_owned()),
            "42883",
            "function nope does not exist",
        );
        check(&DataFusionError::NotImplemented("x".to_owned()), "0A000", "x");
        let wrapped = DataFusionError::Context(
            "optimizer".to_owned(),
            Box::new(DataFusionError::Execution("Divide by zero error".to_owned())),
        );
        check(&wrapped, "22012", "division by zero");
    }

    #[test]
    fn a_qualified_name_is_looked_for_in_its_relation_first() {
        let column = |relation: &str, name: &str| Column::new(Some(relation), name);
        let hint = |asked: Column| {
            let valid_fields = vec![column("b", "name"), column("a", "name"), column("b", "worth")];
            from_schema(&SchemaError::FieldNotFound { field: Box::new(asked), valid_fields }).hint
        };
        let meant = |name: &str| Some(format!("Perhaps you meant to reference the column \"{name}\"."));
        assert_eq!(hint(column("a", "nme")), meant("a.name"));
        assert_eq!(hint(column("b", "nme")), meant("b.name"));
        assert_eq!(hint(column("a", "wort")), meant("b.worth"));
        assert_eq!(hint(column("a", "other")), None);
    }
}
