//! Errors of the planner that arrive as prose only, in PostgreSQL's words. What they are recognised by is the planner's own
//! wording (DataFusion 55.2).

use crate::error::{Diagnosis, sqlstate};

/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";
/// PostgreSQL's `ERRCODE_DUPLICATE_ALIAS`.
const DUPLICATE_ALIAS: &str = "42712";

/// The error that PostgreSQL has for what the planner says; `None` when it has none of these.
pub(super) fn translate(message: &str) -> Option<Diagnosis> {
    grouping(message)
        .or_else(|| positions(message))
        .or_else(|| names(message))
        .or_else(|| types(message))
        .or_else(|| shapes(message))
}

fn grouping(message: &str) -> Option<Diagnosis> {
    let is_ungrouped =
        ["must appear in the GROUP BY clause", "must be in GROUP BY", "could not be resolved from available columns"];
    if !is_ungrouped.iter().any(|words| message.contains(words)) {
        return None;
    }
    let name = quoted(message, "column \"").or_else(|| {
        let expression = between(message, "HAVING clause references: ", " must appear")?;
        expression.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).then_some(expression)
    })?;
    let told = format!("column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function", relative(name));
    Some(Diagnosis::new(sqlstate::GROUPING_ERROR, told))
}

fn positions(message: &str) -> Option<Diagnosis> {
    if message.starts_with("For SELECT DISTINCT, ORDER BY expressions ") {
        let told = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
        return Some(Diagnosis::new(INVALID_COLUMN_REFERENCE, told));
    }
    let told = |clause: &str, number: &str| {
        Diagnosis::new(INVALID_COLUMN_REFERENCE, format!("{clause} position {number} is not in select list"))
    };
    if let Some(number) = between(message, "Order by column out of bounds, specified: ", ",") {
        return Some(told("ORDER BY", number));
    }
    if let Some(number) = between(message, "Cannot find column with position ", " in SELECT clause") {
        return Some(told("GROUP BY", number));
    }
    if message.contains("Order by index starts at 1") {
        return Some(told("ORDER BY", "0"));
    }
    if message.contains("LIMIT must be >= 0") {
        return Some(Diagnosis::new("2201W", "LIMIT must not be negative"));
    }
    message.contains("OFFSET must be >=0").then(|| Diagnosis::new("2201X", "OFFSET must not be negative"))
}

fn names(message: &str) -> Option<Diagnosis> {
    if let Some(qualifier) = message.strip_prefix("Invalid qualifier ") {
        let told = format!("missing FROM-clause entry for table \"{}\"", relative(qualifier.trim()));
        return Some(Diagnosis::new(sqlstate::UNDEFINED_TABLE, told));
    }
    if let Some(name) = between(message, "WITH query name \"", "\" specified more than once") {
        return Some(Diagnosis::new(DUPLICATE_ALIAS, format!("WITH query name \"{name}\" specified more than once")));
    }
    if let Some(name) = between(message, "The window ", " is not defined") {
        return Some(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist")));
    }
    let (columns, names) = (between(message, "Source table contains ", " columns")?, between(message, "but only ", " names")?);
    let told = format!("table has {columns} columns available but {names} columns specified");
    Some(Diagnosis::new(INVALID_COLUMN_REFERENCE, told))
}

fn types(message: &str) -> Option<Diagnosis> {
    let mismatch = |told: String| Some(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, told));
    if message.contains("non-boolean predicate") {
        let found = message.rsplit_once(" returning ").map(|(_, carrier)| type_name(carrier))?;
        // The planner counts in eight bytes what the client wrote as a small number.
        let found = if message.contains("predicate 'Int64(") { "integer" } else { found };
        return mismatch(format!("argument of WHERE must be type boolean, not type {found}"));
    }
    if let Some((_, carrier)) = message.split_once("Unary operator 'NOT' requires a boolean expression, got ") {
        return mismatch(format!("argument of NOT must be type boolean, not type {}", type_name(carrier)));
    }
    if let Some((_, sides)) = message.split_once("Cannot infer common argument type for logical boolean operation ") {
        let (left, operator, right) = ["AND", "OR"].into_iter().find_map(|operator| {
            let (left, right) = sides.split_once(&format!(" {operator} "))?;
            Some((left, operator, right))
        })?;
        let wrong = if left.trim() == "Boolean" { right } else { left };
        return mismatch(format!("argument of {operator} must be type boolean, not type {}", type_name(wrong)));
    }
    if let Some(carrier) = between(message, "array_element does not support type ", ".") {
        let name = type_name(carrier);
        return mismatch(format!("cannot subscript type {name} because it does not support subscripting"));
    }
    if let Some(carrier) = between(message, "Cannot access field at argument 1: type ", " is not Struct") {
        let told = format!("column notation applied to type {}, which is not a composite type", type_name(carrier));
        return Some(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, told));
    }
    if let Some(field) = between(message, "Field ", " not found in ") {
        let told = format!("column \"{field}\" not found in data type json");
        return Some(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, told));
    }
    None
}

fn shapes(message: &str) -> Option<Diagnosis> {
    if message.contains("Inconsistent data length across values list") {
        return Some(Diagnosis::new(sqlstate::SYNTAX_ERROR, "VALUES lists must all be the same length"));
    }
    if message.contains("join condition should not be empty") {
        return Some(Diagnosis::new(sqlstate::SYNTAX_ERROR, "syntax error: JOIN needs ON, USING or NATURAL"));
    }
    if message.contains("Substring without for/from") {
        return Some(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "function substring(unknown) does not exist"));
    }
    if let Some((operator, _)) = message.split_once(" queries have different number of columns") {
        let told = format!("each {operator} query must have the same number of columns");
        return Some(Diagnosis::new(sqlstate::SYNTAX_ERROR, told));
    }
    if message.contains("should only return one column") {
        return Some(Diagnosis::new(sqlstate::SYNTAX_ERROR, "subquery must return only one column"));
    }
    if message.contains("SELECT * with no tables specified is not valid") {
        return Some(Diagnosis::new(sqlstate::SYNTAX_ERROR, "SELECT * with no tables specified is not valid"));
    }
    let ordered = "ggregate ORDER BY is not implemented for window functions";
    if message.contains(ordered) {
        return Some(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("a{ordered}")));
    }
    if message.contains("FILTER clause can only be used with aggregate window functions") {
        let told = "FILTER is not implemented for non-aggregate window functions";
        return Some(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, told));
    }
    let distinct_on = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
    if message.contains(distinct_on) {
        return Some(Diagnosis::new(INVALID_COLUMN_REFERENCE, distinct_on));
    }
    let is_subquery = [
        "Correlated scalar subquery",
        "In/Exist/SetComparison subquery",
        "scalar correlated subquery",
        "Accessing outer reference columns",
        "outer references and inner columns",
        "Physical plan does not support logical expression",
        "Unsupported Subquery plan",
    ];
    let told = "this form of a correlated subquery is not supported";
    is_subquery.iter().any(|words| message.contains(words)).then(|| Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, told))
}

/// The SQL name behind a carrier in the planner's messages.
fn type_name(carrier: &str) -> &str {
    match carrier.trim() {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Date32" => "date",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        carrier if carrier.starts_with("Decimal") => "numeric",
        carrier if carrier.starts_with("Timestamp") => "timestamp",
        other => other,
    }
}

fn quoted<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    between(message, before, "\"")
}

fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// `shop.customers.name` as PostgreSQL names the column: `customers.name`.
fn relative(name: &str) -> &str {
    let name = super::visible(name);
    let mut dots = name.rmatch_indices('.').skip(1);
    dots.next().map_or(name, |(place, _)| name.get(place + 1..).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planners_words_become_those_of_postgres() {
        let rows = [
            (
                "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"shop.t.a\" must \
                 appear in the GROUP BY clause or must be part of an aggregate function, currently only \"b\" appears",
                "42803",
                "column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function",
            ),
            ("Order by column out of bounds, specified: 9, max: 3", "42P10", "ORDER BY position 9 is not in select list"),
            (
                "Cannot find column with position 4 in SELECT clause. Valid columns: 1 to 2",
                "42P10",
                "GROUP BY position 4 is not in select list",
            ),
            ("Invalid qualifier x", "42P01", "missing FROM-clause entry for table \"x\""),
            ("UNION queries have different number of columns", "42601", "each UNION query must have the same number of columns"),
            (
                "Cannot create filter with non-boolean predicate 't.a' returning Int64",
                "42804",
                "argument of WHERE must be type boolean, not type bigint",
            ),
            ("LIMIT must be >= 0, '-1' was provided", "2201W", "LIMIT must not be negative"),
            (
                "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                "42P10",
                "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
            ),
            (
                "For SELECT DISTINCT, ORDER BY expressions k.name must appear in select list",
                "42P10",
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            ),
            (
                "FILTER clause can only be used with aggregate window functions. Found in 'lag(t.x)'",
                "0A000",
                "FILTER is not implemented for non-aggregate window functions",
            ),
        ];
        for (said, code, message) in rows {
            let told = translate(said).unwrap_or_else(|| panic!("{said}"));
            assert_eq!((told.sqlstate.as_str(), told.message.as_str()), (code, message));
        }
        assert!(translate("something else").is_none());
    }
}
