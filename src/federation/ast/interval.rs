//! `INTERVAL 'text' [fields]` is a cast of the text to `interval`, whose own reader knows every form (`format::interval`).

use datafusion::sql::sqlparser::ast::{
    DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, IntervalFields, Value,
};

use super::literal::cast;
use crate::error::{Diagnosis, sqlstate};

/// The cast that an interval literal stands for.
///
/// # Errors
/// 42601 for a value that is no text, and for fields that PostgreSQL's grammar does not have.
pub(super) fn rewrite(interval: &Interval) -> Result<Expr, Diagnosis> {
    let syntax = |found: &dyn std::fmt::Display| {
        Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", found.to_string().to_lowercase()))
    };
    let is_text = matches!(
        interval.value.as_ref(),
        Expr::Value(value)
            if matches!(
                value.value,
                Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::DollarQuotedString(_)
            )
    );
    if !is_text {
        return Err(syntax(&interval.value).with_hint("The value of an interval literal is a text: INTERVAL '1 day'."));
    }
    let (first, last) = (interval.leading_field.as_ref(), interval.last_field.as_ref());
    let fields = match first {
        None => None,
        Some(first) => Some(fields(first, last).ok_or_else(|| syntax(last.unwrap_or(first)))?),
    };
    // `SECOND(3)`: the parser takes the digits of a second for those of the field.
    let digits = match (first, last) {
        (Some(DateTimeField::Second), None) => interval.leading_precision.or(interval.fractional_seconds_precision),
        _ if interval.leading_precision.is_some() => return Err(syntax(&"(")),
        _ => interval.fractional_seconds_precision,
    };
    Ok(cast((*interval.value).clone(), DataType::Interval { fields, precision: digits }))
}

fn fields(first: &DateTimeField, last: Option<&DateTimeField>) -> Option<IntervalFields> {
    use DateTimeField::{Day, Hour, Minute, Month, Second, Year};
    Some(match (first, last) {
        (Year, None) => IntervalFields::Year,
        (Year, Some(Month)) => IntervalFields::YearToMonth,
        (Month, None) => IntervalFields::Month,
        (Day, None) => IntervalFields::Day,
        (Day, Some(Hour)) => IntervalFields::DayToHour,
        (Day, Some(Minute)) => IntervalFields::DayToMinute,
        (Day, Some(Second)) => IntervalFields::DayToSecond,
        (Hour, None) => IntervalFields::Hour,
        (Hour, Some(Minute)) => IntervalFields::HourToMinute,
        (Hour, Some(Second)) => IntervalFields::HourToSecond,
        (Minute, None) => IntervalFields::Minute,
        (Minute, Some(Second)) => IntervalFields::MinuteToSecond,
        (Second, None) => IntervalFields::Second,
        _ => return None,
    })
}

/// The parameters of `make_interval` in order; those that are not given are zero.
const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Puts named arguments of `make_interval` at their places, as the function takes them.
///
/// # Errors
/// 42883 for an unknown name, 42601 for a name given twice or before an argument without one.
pub(super) fn place_arguments(function: &mut Function) -> Result<(), Diagnosis> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let named = list.args.iter().position(|argument| matches!(argument, FunctionArg::Named { .. }));
    let Some(first_named) = named else { return Ok(()) };
    let named = list.args.split_off(first_named);
    let mut parts: Vec<Option<FunctionArg>> = list.args.drain(..).map(Some).collect();
    parts.resize_with(PARTS.len().max(parts.len()), || None);
    for argument in named {
        let FunctionArg::Named { name, arg, .. } = argument else {
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "positional argument cannot follow named argument"));
        };
        let place = PARTS.iter().position(|part| name.value.eq_ignore_ascii_case(part));
        let Some(slot) = place.and_then(|place| parts.get_mut(place)) else {
            let message = format!("function make_interval({} => unknown) does not exist", name.value);
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
        };
        if slot.replace(FunctionArg::Unnamed(arg)).is_some() {
            let message = format!("argument name \"{}\" used more than once", name.value);
            return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, message));
        }
    }
    let zero = || FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::Number("0".to_owned(), false))));
    list.args = parts.into_iter().map(|part| part.unwrap_or_else(zero)).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
        let Expr::Interval(interval) = expr else { panic!("{text} is no interval") };
        let found = rewrite(&interval).map(|expr| expr.to_string()).map_err(|error| error.message);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn literals_are_casts_of_their_text() {
        check("INTERVAL '1 day 02:00'", Ok("CAST('1 day 02:00' AS INTERVAL)"));
        check("INTERVAL '1' DAY", Ok("CAST('1' AS INTERVAL DAY)"));
        check("INTERVAL '1:30' HOUR TO MINUTE", Ok("CAST('1:30' AS INTERVAL HOUR TO MINUTE)"));
        check("INTERVAL '1.234' SECOND(2)", Ok("CAST('1.234' AS INTERVAL SECOND(2))"));
        check("INTERVAL '1 2' DAY TO SECOND(3)", Ok("CAST('1 2' AS INTERVAL DAY TO SECOND(3))"));
        check("INTERVAL '5' DAYS", Err("syntax error at or near \"days\""));
        check("INTERVAL 5 DAY", Err("syntax error at or near \"5\""));
        check("INTERVAL '1' DAY TO MONTH", Err("syntax error at or near \"month\""));
    }
}
