//! `generate_series`, one value at a time (manual, "Set Returning Functions").

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::logical_expr::Expr;

use crate::error::{Diagnosis, sqlstate};
use crate::format::TimeZone;
use crate::pgtype::PgType;

use super::super::clock;
use super::super::datum::Datum;
use super::super::functions::SERIES;
use super::super::numeric::Numeric;
use super::super::settings::SessionValues;
use super::super::typed::{Typed, TypedFunction};

/// A resolved call.
#[derive(Debug, Clone)]
pub(super) struct SeriesCall {
    /// What the arguments are read as.
    pub(super) reads: Vec<Typed>,
    /// The type of the values.
    pub(super) returns: PgType,
}

impl SeriesCall {
    /// The call in `expr` with its arguments, when it is one.
    pub(super) fn of(expr: &Expr) -> Option<(Self, &[Expr])> {
        match expr {
            Expr::Alias(alias) => Self::of(&alias.expr),
            Expr::ScalarFunction(call) if call.func.name() == SERIES => {
                let function = call.func.inner().downcast_ref::<TypedFunction>()?;
                let found = Self { reads: function.arguments().to_vec(), returns: function.returns().pg_type };
                Some((found, &call.args))
            }
            _ => None,
        }
    }

    /// The series of one row's arguments; `None` when one of them is NULL.
    ///
    /// # Errors
    /// 22023 for a step of zero, and for bounds that are no numbers.
    pub(super) fn open(&self, arguments: &[Datum<'_>], session: &SessionValues) -> Result<Option<Series>, Diagnosis> {
        let [start, stop, rest @ ..] = arguments else { return Ok(None) };
        if arguments.iter().any(Datum::is_null) {
            return Ok(None);
        }
        let step = rest.first();
        match self.returns.oid {
            1700 => exact(start.as_numeric(), stop.as_numeric(), step.map(Datum::as_numeric)).map(Some),
            1114 | 1184 => {
                let zone = (self.returns.oid == 1184).then_some(session.display.time_zone);
                let step = step.map_or(IntervalMonthDayNano::new(0, 0, 0), Datum::as_interval);
                instants([start.as_int(), stop.as_int()], step, zone).map(Some)
            }
            _ => whole(start.as_int(), stop.as_int(), step.map_or(1, Datum::as_int)).map(Some),
        }
    }
}

/// A series on its way; `next` is what it gives next, `None` at its end.
#[derive(Debug)]
pub(super) enum Series {
    Whole { next: Option<i64>, stop: i64, step: i64 },
    Exact { next: Option<Numeric>, stop: Numeric, step: Numeric },
    Instants { next: Option<i64>, stop: i64, step: IntervalMonthDayNano, forward: bool, zone: Option<TimeZone> },
}

fn refuse(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn whole(start: i64, stop: i64, step: i64) -> Result<Series, Diagnosis> {
    if step == 0 {
        return Err(refuse("step size cannot equal zero"));
    }
    Ok(Series::Whole { next: Some(start).filter(|next| within(*next, stop, step > 0)), stop, step })
}

fn within<T: PartialOrd>(next: T, stop: T, forward: bool) -> bool {
    if forward { next <= stop } else { next >= stop }
}

fn exact(start: Numeric, stop: Numeric, step: Option<Numeric>) -> Result<Series, Diagnosis> {
    let step = step.unwrap_or_else(|| Numeric::from_parts(1, 0));
    for (what, value) in [("start value", &start), ("stop value", &stop), ("step size", &step)] {
        match value {
            Numeric::Finite(_) => {}
            Numeric::NotANumber => return Err(refuse(&format!("{what} cannot be NaN"))),
            _ => return Err(refuse(&format!("{what} cannot be infinity"))),
        }
    }
    if step.compare(&Numeric::from_parts(0, 0)).is_eq() {
        return Err(refuse("step size cannot equal zero"));
    }
    let next = Some(start).filter(|next| exact_within(next, &stop, &step));
    Ok(Series::Exact { next, stop, step })
}

fn exact_within(next: &Numeric, stop: &Numeric, step: &Numeric) -> bool {
    let forward = step.compare(&Numeric::from_parts(0, 0)).is_gt();
    if forward { next.compare(stop).is_le() } else { next.compare(stop).is_ge() }
}

/// A month counts thirty days when the direction of a step is decided, as intervals compare.
fn instants([start, stop]: [i64; 2], step: IntervalMonthDayNano, zone: Option<TimeZone>) -> Result<Series, Diagnosis> {
    let days = i128::from(step.months) * 30 + i128::from(step.days);
    let length = days * 86_400_000_000_000 + i128::from(step.nanoseconds);
    if length == 0 {
        return Err(refuse("step size cannot equal zero"));
    }
    let forward = length > 0;
    Ok(Series::Instants { next: Some(start).filter(|next| within(*next, stop, forward)), stop, step, forward, zone })
}

impl Series {
    /// Whether a value is left.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Whole { next, .. } | Self::Instants { next, .. } => next.is_none(),
            Self::Exact { next, .. } => next.is_none(),
        }
    }

    /// Takes the next value; NULL after the last.
    ///
    /// # Errors
    /// 22008 when a step leaves the range of timestamps.
    pub(super) fn take(&mut self) -> Result<Datum<'static>, Diagnosis> {
        match self {
            Self::Whole { next, stop, step } => {
                let Some(value) = *next else { return Ok(Datum::Null) };
                // A step beyond the type's range ends the series: its end is within the range.
                *next = value.checked_add(*step).filter(|next| within(*next, *stop, *step > 0));
                Ok(Datum::Int(value))
            }
            Self::Exact { next, stop, step } => {
                let Some(value) = next.take() else { return Ok(Datum::Null) };
                *next = Some(value.add(step)?).filter(|next| exact_within(next, stop, step));
                Ok(Datum::Numeric(value))
            }
            Self::Instants { next, stop, step, forward, zone } => {
                let Some(value) = *next else { return Ok(Datum::Null) };
                let moved = match zone {
                    Some(zone) => clock::add_in_zone(value, *step, *zone)?,
                    None => clock::add(value, *step)?,
                };
                *next = Some(moved).filter(|next| within(*next, *stop, *forward));
                Ok(Datum::Timestamp(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pg_type: PgType, arguments: &[Datum<'_>], expected: Result<&[&str], &str>) {
        let call = SeriesCall { reads: Vec::new(), returns: pg_type };
        let run = || -> Result<Vec<String>, Diagnosis> {
            let mut values = Vec::new();
            let Some(mut series) = call.open(arguments, &SessionValues::default())? else { return Ok(values) };
            while !series.is_ended() && values.len() < 9 {
                values.push(match series.take()? {
                    Datum::Numeric(value) => value.to_canonical(),
                    other => other.as_int().to_string(),
                });
            }
            Ok(values)
        };
        let found = run().map_err(|error| error.message);
        let found: Result<Vec<&str>, &str> =
            found.as_ref().map(|values| values.iter().map(String::as_str).collect()).map_err(String::as_str);
        assert_eq!(found, expected.map(<[&str]>::to_vec), "{arguments:?}");
    }

    fn number(text: &str) -> Datum<'static> {
        Datum::Numeric(Numeric::from_canonical(text).unwrap())
    }

    #[test]
    fn whole_numbers_end_at_their_stop() {
        let int = |value: i64| Datum::Int(value);
        check(PgType::INT4, &[int(1), int(3)], Ok(&["1", "2", "3"]));
        check(PgType::INT4, &[int(5), int(1), int(-2)], Ok(&["5", "3", "1"]));
        check(PgType::INT4, &[int(3), int(1)], Ok(&[]));
        check(PgType::INT4, &[Datum::Null, int(1)], Ok(&[]));
        check(PgType::INT8, &[int(i64::MAX - 1), int(i64::MAX)], Ok(&["9223372036854775806", "9223372036854775807"]));
        check(PgType::INT4, &[int(1), int(3), int(0)], Err("step size cannot equal zero"));
    }

    #[test]
    fn exact_numbers_keep_their_digits() {
        check(PgType::NUMERIC, &[number("1.0"), number("2"), number("0.50")], Ok(&["1.0", "1.50", "2.00"]));
        check(PgType::NUMERIC, &[number("1"), number("-1"), number("-1.5")], Ok(&["1", "-0.5"]));
        check(PgType::NUMERIC, &[number("NaN"), number("2")], Err("start value cannot be NaN"));
        check(PgType::NUMERIC, &[number("1"), number("2"), number("0.0")], Err("step size cannot equal zero"));
    }

    #[test]
    fn months_move_from_the_last_value() {
        let at = |year, month, day| Datum::Timestamp(clock::days_of(year, month, day) * 86_400_000_000);
        let month = Datum::Interval(IntervalMonthDayNano::new(1, 0, 0));
        let expected: Vec<String> = [(1, 31), (2, 29), (3, 29)]
            .iter()
            .map(|(month, day)| (clock::days_of(2024, *month, *day) * 86_400_000_000).to_string())
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(PgType::TIMESTAMP, &[at(2024, 1, 31), at(2024, 3, 30), month], Ok(&expected));
        let nothing = Datum::Interval(IntervalMonthDayNano::new(1, -30, 0));
        check(PgType::TIMESTAMP, &[at(2024, 1, 31), at(2024, 3, 30), nothing], Err("step size cannot equal zero"));
    }
}
