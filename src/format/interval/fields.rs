//! `interval` of some fields only (manual, §8.5.4): what a bare number means in it, and which parts of a value it keeps.

use super::Interval;
use super::input::Unit;
use crate::pgtype::{PgType, interval_field as field};

/// The fields of a type from the smallest on, with the unit of each.
const SMALLEST: [(u16, Unit); 6] = [
    (field::SECOND, Unit::Second),
    (field::MINUTE, Unit::Minute),
    (field::HOUR, Unit::Hour),
    (field::DAY, Unit::Day),
    (field::MONTH, Unit::Month),
    (field::YEAR, Unit::Year),
];

/// The unit of a number without one at the end of the text: the smallest field of the type.
pub(super) fn unit_of_bare_number(pg_type: PgType) -> Unit {
    let fields = pg_type.interval_shape().map_or(field::ALL, |(fields, _)| fields);
    SMALLEST.iter().find(|(bit, _)| fields & bit != 0).map_or(Unit::Second, |(_, unit)| *unit)
}

/// Whether `1:30` is minutes and seconds, not hours and minutes.
pub(super) fn starts_with_minutes(pg_type: PgType) -> bool {
    pg_type.interval_shape().is_some_and(|(fields, _)| fields == field::MINUTE | field::SECOND)
}

/// Cuts off what is smaller than the type's smallest field and rounds seconds to its digits. Larger parts stay.
pub fn adjust(value: Interval, pg_type: PgType) -> Interval {
    let Some((_, digits)) = pg_type.interval_shape() else { return value };
    let (months, days, micros) = (value.months, value.days, value.micros);
    let whole = |unit: i64| micros / unit * unit;
    let cut = match unit_of_bare_number(pg_type) {
        Unit::Year => Interval { months: months / 12 * 12, ..Interval::default() },
        Unit::Month => Interval { months, ..Interval::default() },
        Unit::Day => Interval { months, days, micros: 0 },
        Unit::Hour => Interval { micros: whole(3_600_000_000), ..value },
        Unit::Minute => Interval { micros: whole(60_000_000), ..value },
        _ => value,
    };
    match digits {
        Some(digits @ 0..=5) => {
            let unit = 10_i64.pow(6 - u32::from(digits));
            let away = if cut.micros < 0 { -(unit / 2) } else { unit / 2 };
            Interval { micros: cut.micros.saturating_add(away) / unit * unit, ..cut }
        }
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::IntervalStyle;
    use crate::format::interval::{read_as, write};

    fn check(text: &str, fields: u16, digits: Option<u8>, expected: &str) {
        let pg_type = PgType::interval(fields, digits);
        let value = adjust(read_as(text, IntervalStyle::Postgres, pg_type).unwrap(), pg_type);
        let mut out = Vec::new();
        write(value, IntervalStyle::Postgres, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} as {pg_type}");
    }

    #[test]
    fn fields_give_bare_numbers_their_unit_and_cut_the_rest() {
        check("1", field::DAY, None, "1 day");
        check("1", field::YEAR | field::MONTH, None, "1 mon");
        check("2-6", field::YEAR, None, "2 years");
        check("1:30", field::HOUR | field::MINUTE, None, "01:30:00");
        check("1:30", field::MINUTE | field::SECOND, None, "00:01:30");
        check("1:30", field::DAY | field::HOUR | field::MINUTE | field::SECOND, None, "01:30:00");
        check("1 2", field::DAY | field::HOUR, None, "1 day 02:00:00");
        check("1 day 2:03:04", field::DAY, None, "1 day");
        check("1 day 2:03:04", field::HOUR, None, "1 day 02:00:00");
        check("1 day -2:03:04", field::MINUTE, None, "1 day -02:03:00");
        check("1.2345", field::SECOND, Some(2), "00:00:01.23");
        check("-1.235", field::SECOND, Some(2), "-00:00:01.24");
        check("1.5", field::ALL, Some(0), "00:00:02");
    }
}
