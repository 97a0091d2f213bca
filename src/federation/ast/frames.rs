//! Frames of windows: their ends as PostgreSQL's grammar has them, and offsets as plain numbers.
//!
//! The planner knows numbers alone, tells mistakes in its own words, and no frame that ends before it begins.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, Interval, Query, UnaryOperator, Value, VisitMut, VisitorMut, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowSpec, WindowType,
};

use crate::error::{Diagnosis, sqlstate};

/// PostgreSQL's `ERRCODE_INVALID_PRECEDING_OR_FOLLOWING_SIZE`.
const INVALID_SIZE: &str = "22013";
/// PostgreSQL's `ERRCODE_NULL_VALUE_NOT_ALLOWED`.
const NULL_NOT_ALLOWED: &str = "22004";
/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";

/// Settles the frames of a query and of every query inside it. Windows have no names any more.
///
/// # Errors
/// 42P20 for ends that no frame has, 22013, 22004, 42P10, 22P02 and 22003 for offsets, 0A000 for those that are no constants.
pub(super) fn settle(query: &mut Query) -> Result<(), Diagnosis> {
    match VisitMut::visit(query, &mut Frames) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Frames;

impl VisitorMut for Frames {
    type Break = Box<Diagnosis>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) = expr else {
            return ControlFlow::Continue(());
        };
        frame_of(window).map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }
}

fn frame_of(window: &mut WindowSpec) -> Result<(), Diagnosis> {
    let keys = window.order_by.len();
    let Some(frame) = &mut window.window_frame else { return Ok(()) };
    check_ends(frame)?;
    match frame.units {
        WindowFrameUnits::Range => distances(frame, keys),
        WindowFrameUnits::Groups if keys == 0 => Err(wrong("GROUPS mode requires an ORDER BY clause")),
        WindowFrameUnits::Groups => counts(frame, "GROUPS"),
        WindowFrameUnits::Rows => counts(frame, "ROWS"),
    }
}

fn check_ends(frame: &WindowFrame) -> Result<(), Diagnosis> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let told = match (&frame.start_bound, &frame.end_bound) {
        (Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Some(Preceding(None))) => "frame end cannot be UNBOUNDED PRECEDING",
        (Following(Some(_)), None) => "frame starting from following row cannot end with current row",
        (CurrentRow, Some(Preceding(Some(_)))) => "frame starting from current row cannot have preceding rows",
        (Following(Some(_)), Some(CurrentRow | Preceding(Some(_)))) => {
            "frame starting from following row cannot have preceding rows"
        }
        _ => return Ok(()),
    };
    Err(wrong(told))
}

fn wrong(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::WINDOWING_ERROR, message)
}

/// Offsets that count rows or groups of equal ones.
fn counts(frame: &mut WindowFrame, mode: &'static str) -> Result<(), Diagnosis> {
    use WindowFrameBound::{Following, Preceding};
    let start = counted(&mut frame.start_bound, Place { mode, end: "starting" })?;
    let end = frame.end_bound.as_mut().map(|bound| counted(bound, Place { mode, end: "ending" })).transpose()?.flatten();
    let is_empty = match (&frame.start_bound, &frame.end_bound) {
        (Preceding(_), Some(Preceding(_))) => start.zip(end).is_some_and(|(start, end)| start < end),
        (Following(_), Some(Following(_))) => start.zip(end).is_some_and(|(start, end)| start > end),
        _ => false,
    };
    if is_empty {
        // No row has so many before it.
        let nowhere = || Preceding(Some(Box::new(number(i64::MAX.to_string()))));
        frame.start_bound = nowhere();
        frame.end_bound = Some(nowhere());
    }
    Ok(())
}

fn counted(bound: &mut WindowFrameBound, place: Place) -> Result<Option<i64>, Diagnosis> {
    let (WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound else { return Ok(None) };
    let count = whole(offset, place)?;
    if count < 0 {
        return Err(Diagnosis::new(INVALID_SIZE, format!("frame {} offset must not be negative", place.end)));
    }
    **offset = number(count.to_string());
    Ok(Some(count))
}

/// Where an offset stands, for errors.
#[derive(Debug, Clone, Copy)]
struct Place {
    mode: &'static str,
    end: &'static str,
}

impl Place {
    fn null(self) -> Diagnosis {
        Diagnosis::new(NULL_NOT_ALLOWED, format!("frame {} offset must not be null", self.end))
    }

    fn variable(self) -> Diagnosis {
        Diagnosis::new(INVALID_COLUMN_REFERENCE, format!("argument of {} must not contain variables", self.mode))
    }

    fn unsupported(self) -> Diagnosis {
        let message = format!("an offset of {} that is no constant number is not supported", self.mode);
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
    }
}

fn number(digits: String) -> Expr {
    Expr::value(Value::Number(digits, false))
}

fn whole(offset: &Expr, place: Place) -> Result<i64, Diagnosis> {
    match offset {
        Expr::Nested(inner) => whole(inner, place),
        // A text that stands alone has been read as an interval.
        Expr::Interval(Interval { value, leading_field: None, .. }) => whole(value, place),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => whole(expr, place),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => whole(expr, place)?.checked_neg().ok_or_else(|| place.unsupported()),
        Expr::Cast { expr, data_type, .. } if is_integer(data_type) => whole(expr, place),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.chars().all(|letter| letter.is_ascii_digit()) => {
                let out_of_range = || Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range");
                digits.parse().ok().ok_or_else(out_of_range)
            }
            Value::SingleQuotedString(text) => text.trim().parse().ok().ok_or_else(|| {
                Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type bigint: \"{text}\""))
            }),
            Value::Null => Err(place.null()),
            _ => Err(place.unsupported()),
        },
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(place.variable()),
        _ => Err(place.unsupported()),
    }
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::SmallInt(_)
            | DataType::Int2(_)
            | DataType::Int(_)
            | DataType::Integer(_)
            | DataType::Int4(_)
            | DataType::BigInt(_)
            | DataType::Int8(_)
    )
}

/// Offsets that are distances between values; whether the values have such is known when their type is.
fn distances(frame: &mut WindowFrame, keys: usize) -> Result<(), Diagnosis> {
    use WindowFrameBound::{Following, Preceding};
    let start = measured(&mut frame.start_bound, Place { mode: "RANGE", end: "starting" })?;
    let end = frame.end_bound.as_mut().map(|bound| measured(bound, Place { mode: "RANGE", end: "ending" })).transpose()?.flatten();
    if (start.is_some() || end.is_some()) && keys != 1 {
        return Err(wrong("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"));
    }
    let is_reversed = match (&frame.start_bound, &frame.end_bound) {
        (Preceding(_), Some(Preceding(_))) => start.zip(end).is_some_and(|(start, end)| start < end),
        (Following(_), Some(Following(_))) => start.zip(end).is_some_and(|(start, end)| start > end),
        _ => false,
    };
    // Rows without a value have a frame all the same: the rows without a value.
    if is_reversed {
        let message = "a RANGE that ends before it begins is not supported";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(())
}

/// The distance as a number, nearly: for comparing it with another.
fn measured(bound: &mut WindowFrameBound, place: Place) -> Result<Option<f64>, Diagnosis> {
    let (WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound else { return Ok(None) };
    let digits = distance(offset, place)?;
    let size = digits.parse::<f64>().ok().ok_or_else(|| place.unsupported())?;
    **offset = number(digits);
    Ok(Some(size))
}

fn distance(offset: &Expr, place: Place) -> Result<String, Diagnosis> {
    match offset {
        Expr::Nested(inner) => distance(inner, place),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => distance(expr, place),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let digits = distance(expr, place)?;
            if digits.chars().all(|letter| matches!(letter, '0' | '.')) {
                return Ok(digits);
            }
            Err(Diagnosis::new(INVALID_SIZE, "invalid preceding or following size in window function"))
        }
        Expr::Cast { expr, data_type, .. } if is_integer(data_type) => Ok(whole(expr, place)?.to_string()),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Ok(digits.clone()),
            Value::Null => Err(place.null()),
            _ => Err(place.unsupported()),
        },
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(place.variable()),
        _ => Err(place.unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::postgres::Postgres;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(window: &str, expected: Result<&str, &str>) {
        let sql = format!("SELECT sum(x) OVER ({window}) FROM t");
        let mut query = *Parser::new(&Postgres).try_with_sql(&sql).unwrap().parse_query().unwrap();
        match (settle(&mut query), expected) {
            (Ok(()), Ok(expected)) => assert_eq!(query.to_string(), format!("SELECT sum(x) OVER ({expected}) FROM t")),
            (Err(error), Err(expected)) => assert_eq!(error.sqlstate.as_str(), expected, "{window}: {error:?}"),
            (found, _) => panic!("{window}: {found:?}"),
        }
    }

    #[test]
    fn offsets_become_plain_numbers() {
        check("ORDER BY x ROWS (2) PRECEDING", Ok("ORDER BY x ROWS 2 PRECEDING"));
        check("ORDER BY x ROWS 2::bigint PRECEDING", Ok("ORDER BY x ROWS 2 PRECEDING"));
        check("ORDER BY x ROWS BETWEEN -0 PRECEDING AND +1 FOLLOWING", Ok("ORDER BY x ROWS BETWEEN 0 PRECEDING AND 1 FOLLOWING"));
        check(
            "ORDER BY x RANGE BETWEEN 5::int PRECEDING AND 1.5 FOLLOWING",
            Ok("ORDER BY x RANGE BETWEEN 5 PRECEDING AND 1.5 FOLLOWING"),
        );
        check("RANGE UNBOUNDED PRECEDING", Ok("RANGE UNBOUNDED PRECEDING"));
    }

    #[test]
    fn frames_that_end_before_they_begin_have_no_rows() {
        let nowhere = "BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 PRECEDING";
        check("ORDER BY x ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING", Ok(&format!("ORDER BY x ROWS {nowhere}")));
        check("ORDER BY x GROUPS BETWEEN 2 FOLLOWING AND 1 FOLLOWING", Ok(&format!("ORDER BY x GROUPS {nowhere}")));
        check("ROWS BETWEEN 2 PRECEDING AND 2 PRECEDING", Ok("ROWS BETWEEN 2 PRECEDING AND 2 PRECEDING"));
        check("ORDER BY x RANGE BETWEEN 1 PRECEDING AND 2 PRECEDING", Err("0A000"));
    }

    #[test]
    fn mistakes_have_the_codes_of_postgres() {
        for (window, code) in [
            ("ROWS BETWEEN UNBOUNDED FOLLOWING AND CURRENT ROW", "42P20"),
            ("ROWS BETWEEN CURRENT ROW AND UNBOUNDED PRECEDING", "42P20"),
            ("ROWS BETWEEN CURRENT ROW AND 1 PRECEDING", "42P20"),
            ("ROWS BETWEEN 1 FOLLOWING AND CURRENT ROW", "42P20"),
            ("ROWS 1 FOLLOWING", "42P20"),
            ("GROUPS 1 PRECEDING", "42P20"),
            ("RANGE 1 PRECEDING", "42P20"),
            ("ORDER BY x, y RANGE 1 PRECEDING", "42P20"),
            ("ROWS -1 PRECEDING", "22013"),
            ("ORDER BY x RANGE -1 PRECEDING", "22013"),
            ("ROWS NULL PRECEDING", "22004"),
            ("ROWS x PRECEDING", "42P10"),
            ("ROWS 9223372036854775808 PRECEDING", "22003"),
            ("ROWS 1 + 1 PRECEDING", "0A000"),
            ("ROWS 1.5 PRECEDING", "0A000"),
        ] {
            check(window, Err(code));
        }
    }
}
