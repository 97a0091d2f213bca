//! What `ANALYZE` found of columns, as `pg_stats` shows it to the role.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveDateTime};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::schema::ColumnStatistics;

/// A row of `pg_stats`.
#[derive(Debug)]
pub(super) struct RawStatistics {
    null_fraction: f64,
    width: i32,
    /// Above zero a count; below, the part of the rows.
    distinct: f64,
    range: Option<(f64, f64)>,
}

impl RawStatistics {
    /// The statistics of a table with so many rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; the cast saturates")]
    pub(super) fn of_rows(&self, rows: Option<u64>) -> ColumnStatistics {
        let distinct = match self.distinct {
            count if count > 0.0 => Some(count as u64),
            part if part < 0.0 => rows.map(|rows| (rows as f64 * -part) as u64),
            _ => None,
        };
        ColumnStatistics {
            distinct,
            null_fraction: Some(self.null_fraction),
            range: self.range,
            width: u32::try_from(self.width).ok(),
        }
    }
}

/// Reads the rows by table and column number; of two rows for one column the later wins.
pub(super) fn read(rows: &[PgRow]) -> Result<HashMap<(i64, i32), RawStatistics>, sqlx::Error> {
    let mut statistics = HashMap::with_capacity(rows.len());
    for row in rows {
        let type_oid: i64 = row.try_get(2)?;
        let values: Option<String> = row.try_get(6)?;
        let raw = RawStatistics {
            null_fraction: row.try_get(3)?,
            width: row.try_get(4)?,
            distinct: row.try_get(5)?,
            range: values.and_then(|values| range(type_oid, &values)),
        };
        statistics.insert((row.try_get(0)?, row.try_get(1)?), raw);
    }
    Ok(statistics)
}

/// The least and the greatest of some values, given as a JSON array of texts.
fn range(type_oid: i64, values: &str) -> Option<(f64, f64)> {
    let values: Vec<String> = serde_json::from_str(values).ok()?;
    let places = values.iter().filter_map(|value| place(type_oid, value));
    places.fold(None, |range: Option<(f64, f64)>, place| {
        Some(range.map_or((place, place), |(least, greatest)| (least.min(place), greatest.max(place))))
    })
}

/// Where a value is on the line of `Value::place`; `None` for infinity and NaN.
fn place(type_oid: i64, text: &str) -> Option<f64> {
    let place = match type_oid {
        1082 => text.parse::<NaiveDate>().ok()?.signed_duration_since(NaiveDate::default()).num_days() as f64,
        // Sessions are in UTC, so that the zone of every value is `+00`.
        1114 | 1184 => {
            let clock = text.strip_suffix("+00").unwrap_or(text);
            NaiveDateTime::parse_from_str(clock, "%Y-%m-%d %H:%M:%S%.f").ok()?.and_utc().timestamp_micros() as f64
        }
        _ => text.parse::<f64>().ok()?,
    };
    place.is_finite().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_column_are_places_on_a_line() {
        let rows = [
            (23, r#"["5","-3","40"]"#, Some((-3.0, 40.0))),
            (1700, r#"["1.5","NaN","Infinity"]"#, Some((1.5, 1.5))),
            (1082, r#"["1970-01-02","1969-12-31","infinity"]"#, Some((-1.0, 1.0))),
            (1114, r#"["1970-01-01 00:00:01.5"]"#, Some((1_500_000.0, 1_500_000.0))),
            (1184, r#"["1970-01-01 00:00:01+00","0044-01-01 00:00:00+00 BC"]"#, Some((1_000_000.0, 1_000_000.0))),
            (23, "[]", None),
        ];
        for (type_oid, values, expected) in rows {
            assert_eq!(range(type_oid, values), expected, "{values}");
        }
    }

    #[test]
    fn different_values_are_counted_or_a_part_of_the_rows() {
        let raw = |distinct| RawStatistics { null_fraction: 0.25, width: 8, distinct, range: None };
        let rows = [(7.0, Some(100), Some(7)), (-0.5, Some(100), Some(50)), (-1.0, None, None), (0.0, Some(100), None)];
        for (distinct, rows, expected) in rows {
            assert_eq!(raw(distinct).of_rows(rows).distinct, expected);
        }
        assert_eq!(raw(1.0).of_rows(None).null_fraction, Some(0.25));
    }
}
