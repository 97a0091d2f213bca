//! Conditions on one row, as they stand in CHECK.

use super::super::super::define::Condition;
use super::super::super::fragment::Refusal;
use super::super::dialect::Dialect;
use super::quoted_text;
use crate::pgtype::PgType;

/// Writes a condition; every part stands in parentheses of its own.
///
/// # Errors
/// What the store does not judge as PostgreSQL does.
pub(super) fn write(condition: &Condition, dialect: Dialect) -> Result<String, Refusal> {
    judge(condition, dialect)?;
    text(condition, dialect)
}

/// Types whose values the store compares as PostgreSQL does, whatever it makes of constants beside them.
fn judge(condition: &Condition, dialect: Dialect) -> Result<(), Refusal> {
    if dialect == Dialect::Postgres {
        return Ok(());
    }
    let numbers = [PgType::INT2, PgType::INT4, PgType::INT8, PgType::FLOAT8, PgType::NUMERIC];
    let mut refused = None;
    condition.visit(&mut |part| {
        if let Condition::Column(name, pg_type) = part {
            let plain = PgType::with_typmod(pg_type.oid, -1);
            let is_text = [PgType::TEXT, PgType::VARCHAR].contains(&plain);
            if !(numbers.contains(&plain) || is_text || plain == PgType::BOOL) {
                refused = Some(Refusal::new(name, "conditions on values of its type mean something else in the store"));
            }
        }
    });
    // A text beside a number is read as a number by one and not by the other.
    condition.visit(&mut |part| {
        let parts: Vec<&Condition> = match part {
            Condition::Between(left, _, right) => vec![left.as_ref(), right.as_ref()],
            Condition::In(item, list, _) => std::iter::once(item.as_ref()).chain(list).collect(),
            _ => return,
        };
        let kinds: Vec<&str> = parts.into_iter().filter_map(kind).collect();
        if matches!(part, Condition::Between(_, "+" | "-" | "*", _)) && kinds.iter().any(|kind| *kind != "number") {
            refused = Some(Refusal::new("CHECK", "something is computed of what is no number"));
        }
        if kinds.windows(2).any(|pair| pair.first() != pair.last()) {
            refused = Some(Refusal::new("CHECK", "values of different kinds are compared"));
        }
        if dialect == Dialect::Sqlite && is_exact(part) {
            refused = Some(Refusal::new("CHECK", "the store would round what it computes of decimals"));
        }
    });
    refused.map_or(Ok(()), Err)
}

/// Whether something is computed that PostgreSQL computes digit by digit.
fn is_exact(part: &Condition) -> bool {
    if !matches!(part, Condition::Between(_, "+" | "-" | "*", _)) {
        return false;
    }
    let (mut has_digits, mut has_floats) = (false, false);
    part.visit(&mut |inner| match inner {
        Condition::Column(_, pg_type) => {
            has_digits |= pg_type.oid == PgType::NUMERIC.oid;
            has_floats |= pg_type.oid == PgType::FLOAT8.oid;
        }
        Condition::Number(digits) => has_digits |= digits.contains('.'),
        _ => {}
    });
    has_digits && !has_floats
}

/// What a part is as a value; `None` of NULL.
fn kind(part: &Condition) -> Option<&'static str> {
    match part {
        Condition::Null => None,
        Condition::Text(_) => Some("text"),
        Condition::Column(_, pg_type) if [PgType::TEXT.oid, PgType::VARCHAR.oid].contains(&pg_type.oid) => Some("text"),
        Condition::Column(_, pg_type) if *pg_type == PgType::BOOL => Some("truth"),
        Condition::Column(..) | Condition::Number(_) | Condition::Length(_) => Some("number"),
        Condition::Between(_, "+" | "-" | "*", _) => Some("number"),
        Condition::Truth(_) | Condition::Not(_) | Condition::Between(..) | Condition::IsNull(..) | Condition::In(..) => {
            Some("truth")
        }
    }
}

fn text(condition: &Condition, dialect: Dialect) -> Result<String, Refusal> {
    let inner = |part: &Condition| text(part, dialect);
    Ok(match condition {
        Condition::Column(name, _) => dialect.quote(name),
        Condition::Null => "NULL".to_owned(),
        Condition::Truth(truth) => dialect.truth(*truth).to_owned(),
        Condition::Number(digits) => digits.clone(),
        Condition::Text(constant) => quoted_text(constant, dialect)?,
        Condition::Not(part) => format!("(NOT {})", inner(part)?),
        Condition::Between(left, operator, right) => format!("({} {operator} {})", inner(left)?, inner(right)?),
        Condition::IsNull(part, is_null) => format!("({} IS {}NULL)", inner(part)?, if *is_null { "" } else { "NOT " }),
        Condition::In(part, list, is_in) => {
            let list: Vec<String> = list.iter().map(inner).collect::<Result<_, _>>()?;
            format!("({} {}IN ({}))", inner(part)?, if *is_in { "" } else { "NOT " }, list.join(", "))
        }
        Condition::Length(part) => {
            let function = match dialect {
                Dialect::Postgres => "pg_catalog.length",
                Dialect::MySql => "char_length",
                Dialect::Sqlite => "length",
            };
            format!("{function}({})", inner(part)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_computed_by_no_store_that_rounds() {
        let column = |pg_type: PgType| Box::new(Condition::Column("a".to_owned(), pg_type));
        let number = |digits: &str| Box::new(Condition::Number(digits.to_owned()));
        let compared = |left: Box<Condition>, operator: &'static str, right: Box<Condition>| {
            Condition::Between(Box::new(Condition::Between(left, operator, right)), "<>", number("0.3"))
        };
        let rows = [
            (compared(column(PgType::numeric(5, 2)), "+", column(PgType::NUMERIC)), false),
            (compared(column(PgType::INT4), "*", number("1.1")), false),
            (compared(column(PgType::INT4), "*", number("2")), true),
            (compared(column(PgType::FLOAT8), "*", number("1.1")), true),
            (Condition::Between(column(PgType::NUMERIC), "<", number("0.3")), true),
        ];
        for (condition, expected) in rows {
            assert_eq!(write(&condition, Dialect::Sqlite).is_ok(), expected, "{condition:?}");
            assert!(write(&condition, Dialect::MySql).is_ok(), "{condition:?}");
        }
    }
}
