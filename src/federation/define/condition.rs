//! Conditions of CHECK, in the few forms that every store reads alike.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, UnaryOperator, Value,
};

use super::super::ast::name::fold;
use super::super::ast::regroup;
use super::unsupported;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::define::Condition;

/// The type of a column by its name; `None` when there is none.
pub(super) type TypeOf<'t> = &'t dyn Fn(&str) -> Option<PgType>;

/// Reads a condition over the columns of a table.
///
/// # Errors
/// 42703, 42804 for one that is no truth value, 0A000 for other forms.
pub(super) fn read(expr: &Expr, type_of: TypeOf<'_>) -> Result<Condition, Diagnosis> {
    let mut expr = expr.clone();
    regroup(&mut expr);
    truth(part(&expr, type_of)?, "CHECK")
}

/// The condition, if it is a truth value as the word before it demands.
fn truth(condition: Condition, word: &str) -> Result<Condition, Diagnosis> {
    let is_truth = match &condition {
        Condition::Column(_, pg_type) => *pg_type == PgType::BOOL,
        Condition::Between(_, operator, _) => !["+", "-", "*"].contains(operator),
        Condition::Number(_) | Condition::Text(_) | Condition::Length(_) => false,
        Condition::Null | Condition::Truth(_) | Condition::Not(_) | Condition::IsNull(..) | Condition::In(..) => true,
    };
    if is_truth {
        return Ok(condition);
    }
    Err(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, format!("argument of {word} must be type boolean")))
}

fn part(expr: &Expr, type_of: TypeOf<'_>) -> Result<Condition, Diagnosis> {
    let inner = |expr: &Expr| part(expr, type_of).map(Box::new);
    Ok(match expr {
        Expr::Nested(nested) => part(nested, type_of)?,
        Expr::Identifier(name) => column(name, type_of)?,
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [_, name] => column(name, type_of)?,
            _ => return Err(unsupported("such a name in CHECK")),
        },
        Expr::Value(value) => constant(&value.value)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Condition::Not(Box::new(truth(part(expr, type_of)?, "NOT")?)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match part(expr, type_of)? {
            Condition::Number(digits) if !digits.starts_with('-') => Condition::Number(format!("-{digits}")),
            _ => return Err(unsupported("a sign before an expression in CHECK")),
        },
        Expr::IsNull(expr) => Condition::IsNull(inner(expr)?, true),
        Expr::IsNotNull(expr) => Condition::IsNull(inner(expr)?, false),
        Expr::InList { expr, list, negated } => {
            let list = list.iter().map(|item| part(item, type_of)).collect::<Result<Vec<Condition>, Diagnosis>>()?;
            Condition::In(inner(expr)?, list, !*negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let both = Condition::Between(
                Box::new(Condition::Between(inner(expr)?, ">=", inner(low)?)),
                "AND",
                Box::new(Condition::Between(inner(expr)?, "<=", inner(high)?)),
            );
            if *negated { Condition::Not(Box::new(both)) } else { both }
        }
        Expr::BinaryOp { left, op, right } => {
            let (left, word, right) = (part(left, type_of)?, operator(op)?, part(right, type_of)?);
            let joins = ["AND", "OR"].contains(&word);
            let (left, right) = if joins { (truth(left, word)?, truth(right, word)?) } else { (left, right) };
            Condition::Between(Box::new(left), word, Box::new(right))
        }
        Expr::Function(function) => length(function, type_of)?,
        _ => return Err(unsupported("such an expression in CHECK")),
    })
}

fn column(name: &Ident, type_of: TypeOf<'_>) -> Result<Condition, Diagnosis> {
    let name = fold(name);
    match type_of(&name) {
        Some(pg_type) => Ok(Condition::Column(name, pg_type)),
        None => Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))),
    }
}

fn constant(value: &Value) -> Result<Condition, Diagnosis> {
    Ok(match value {
        Value::Null => Condition::Null,
        Value::Boolean(truth) => Condition::Truth(*truth),
        // Other spellings of numbers mean something else to some stores.
        Value::Number(digits, false) if is_plain(digits) => Condition::Number(digits.clone()),
        Value::SingleQuotedString(text) => Condition::Text(text.clone()),
        _ => return Err(unsupported("such a constant in CHECK")),
    })
}

fn is_plain(digits: &str) -> bool {
    digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.ends_with(|last: char| last.is_ascii_digit())
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

fn operator(op: &BinaryOperator) -> Result<&'static str, Diagnosis> {
    Ok(match op {
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::Lt => "<",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Gt => ">",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::And => "AND",
        BinaryOperator::Or => "OR",
        _ => return Err(unsupported(&format!("the operator {op} in CHECK"))),
    })
}

/// `length(text)`, also by its longer names.
fn length(function: &Function, type_of: TypeOf<'_>) -> Result<Condition, Diagnosis> {
    let name = function.name.to_string().to_lowercase();
    let argument = match &function.args {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some(argument),
            _ => None,
        },
        _ => None,
    };
    match argument {
        Some(argument) if ["length", "char_length", "character_length"].contains(&name.as_str()) => {
            let text = part(argument, type_of)?;
            match &text {
                Condition::Column(_, pg_type) if [PgType::TEXT.oid, PgType::VARCHAR.oid].contains(&pg_type.oid) => {
                    Ok(Condition::Length(Box::new(text)))
                }
                _ => Err(unsupported("the length of anything but a text column in CHECK")),
            }
        }
        _ => Err(unsupported(&format!("the function {name} in CHECK"))),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn told(sql: &str) -> String {
        let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        let type_of = |name: &str| match name {
            "n" => Some(PgType::INT4),
            "t" => Some(PgType::TEXT),
            "b" => Some(PgType::BOOL),
            _ => None,
        };
        match read(&expr, &type_of) {
            Ok(condition) => {
                let mut parts = 0;
                condition.visit(&mut |_| parts += 1);
                format!("{parts}")
            }
            Err(error) => error.sqlstate,
        }
    }

    #[test]
    fn forms_that_every_store_reads_alike_are_taken() {
        let rows = [
            ("n > -1 AND (t IN ('a', 'b''c') OR b)", "10"),
            ("n BETWEEN 1 AND 2.5", "7"),
            ("length(t) <= 3 AND t IS NOT NULL", "7"),
            ("NOT b", "2"),
            ("x = 1", "42703"),
            ("n + 1", "42804"),
            ("t", "42804"),
            ("NOT n", "42804"),
            ("b AND n", "42804"),
            ("n + 1 OR b", "42804"),
            ("n / 2 = 1", "0A000"),
            ("t ~ 'a'", "0A000"),
            ("now() > n", "0A000"),
            ("n = ANY (ARRAY[1])", "0A000"),
            ("n = 1e3", "0A000"),
            ("EXISTS (SELECT 1)", "0A000"),
        ];
        for (sql, expected) in rows {
            assert_eq!(told(sql), expected, "{sql}");
        }
    }
}
