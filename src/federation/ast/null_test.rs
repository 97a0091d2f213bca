//! `IS NULL` and `IS NOT NULL` of rows (manual, "Comparison Functions and Operators"): true when all fields are, so that both are
//! false for a row of NULLs and others. The planner would ask whether the row itself is NULL, which it never is.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, SetExpr, Value,
};

use super::name::fold;
use super::tuple;
use crate::error::{Diagnosis, sqlstate};

/// Functions that give one of their arguments.
const HAND_ON: &[&str] =
    &["coalesce", "nullif", "greatest", "least", "min", "max", "first_value", "last_value", "nth_value", "lag", "lead"];

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Test {
    Null,
    NotNull,
}

impl Test {
    /// The question that an expression is, and of what.
    pub(super) fn of(expr: &Expr) -> Option<(Self, &Expr)> {
        match expr {
            Expr::IsNull(operand) => Some((Self::Null, operand.as_ref())),
            Expr::IsNotNull(operand) => Some((Self::NotNull, operand.as_ref())),
            _ => None,
        }
    }

    fn ask(self, field: Expr) -> Expr {
        // A row that is a field is not NULL, whatever is in it.
        if is_written_out(&field) {
            return Expr::value(Value::Boolean(self == Self::NotNull));
        }
        match self {
            Self::Null => Expr::IsNull(Box::new(field)),
            Self::NotNull => Expr::IsNotNull(Box::new(field)),
        }
    }
}

/// Writes a test of a row out, field by field.
///
/// # Errors
/// 0A000 for rows whose fields are not to be seen.
pub(super) fn rewrite(expr: &mut Expr) -> Result<(), Diagnosis> {
    let Some((test, operand)) = Test::of(expr) else { return Ok(()) };
    if let Some(fields) = fields(operand) {
        *expr = of_fields(fields, test);
    } else if is_row(operand) {
        let message = "IS NULL and IS NOT NULL are supported for rows that are written out field by field";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_detail("Of any other row only the row itself could be tested, and not its fields."));
    }
    Ok(())
}

/// The test of a row with these fields; a row without any passes both.
pub(super) fn of_fields(fields: Vec<Expr>, test: Test) -> Expr {
    let mut tests: Vec<Expr> = fields.into_iter().map(|field| test.ask(field)).collect();
    // In pairs, so that the tree of a long row is not as deep as the row is long.
    while tests.len() > 1 {
        let mut rest = tests.into_iter();
        let mut pairs = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) },
                None => left,
            });
        }
        tests = pairs;
    }
    Expr::Nested(Box::new(tests.pop().unwrap_or_else(|| Expr::value(Value::Boolean(true)))))
}

/// The fields of a row that is written out. Those of `row(t.*)` are not.
fn fields(operand: &Expr) -> Option<Vec<Expr>> {
    match operand {
        Expr::Nested(inner) => fields(inner),
        other => tuple::columns(other).filter(|fields| !fields.iter().any(|field| matches!(field, Expr::QualifiedWildcard(..)))),
    }
}

/// Whether the value is a row, as far as the expression tells.
fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::QualifiedWildcard(..) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_row(inner),
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter().any(|case| is_row(&case.result)) || else_result.as_deref().is_some_and(is_row)
        }
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(only) | SelectItem::ExprWithAlias { expr: only, .. }] => is_row(only),
                _ => false,
            },
            _ => false,
        },
        Expr::Function(function) if hands_on_row(function) => true,
        other => is_written_out(other),
    }
}

/// `(a, b)` and `row(a, b)`.
fn is_written_out(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(_) => true,
        Expr::Nested(inner) => is_written_out(inner),
        Expr::Function(function) => function.name.0.len() == 1 && name(function) == "row",
        _ => false,
    }
}

/// Whether a function gives one of its arguments, and that is a row.
fn hands_on_row(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    HAND_ON.contains(&name(function).as_str())
        && list.args.iter().any(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(given)) => is_row(given),
            _ => false,
        })
}

fn name(function: &Function) -> String {
    function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    fn parsed(text: &str) -> Expr {
        Parser::new(&Postgres).try_with_sql(text).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn rows_are_tested_field_by_field() {
        for (text, expected) in [
            ("(a, b) IS NULL", "(a IS NULL AND b IS NULL)"),
            ("((a, b, 1)) IS NOT NULL", "(a IS NOT NULL AND b IS NOT NULL AND 1 IS NOT NULL)"),
            ("ROW(a) IS NULL", "(a IS NULL)"),
            ("row() IS NULL", "(true)"),
            ("row() IS NOT NULL", "(true)"),
            ("row(row(NULL)) IS NULL", "(false)"),
            ("(a, (b, c)) IS NOT NULL", "(a IS NOT NULL AND true)"),
            ("a IS NULL", "a IS NULL"),
            ("(a) IS NULL", "(a) IS NULL"),
            ("coalesce(a, b) IS NULL", "coalesce(a, b) IS NULL"),
        ] {
            let mut expr = parsed(text);
            rewrite(&mut expr).unwrap();
            assert_eq!(expr.to_string(), expected);
        }
    }

    #[test]
    fn rows_that_are_not_written_out_are_refused() {
        for text in [
            "t.* IS NULL",
            "(t.*) IS NOT NULL",
            "row(t.*) IS NULL",
            "row(t.*, 1) IS NULL",
            "CASE WHEN a THEN (b, c) END IS NULL",
            "coalesce((a, b), (c, d)) IS NOT NULL",
            "(SELECT row(a, b) FROM t) IS NULL",
        ] {
            assert_eq!(rewrite(&mut parsed(text)).unwrap_err().sqlstate, "0A000", "{text}");
        }
    }

    #[test]
    fn long_rows_do_not_nest_deep() {
        let fields = (0..5_000).map(|_| parsed("a")).collect();
        let mut depth = 0;
        let mut test = of_fields(fields, Test::Null);
        while let Expr::Nested(inner) | Expr::BinaryOp { left: inner, .. } = test {
            test = *inner;
            depth += 1;
        }
        assert!(depth < 16, "{depth}");
    }
}
