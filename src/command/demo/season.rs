//! Two years of daily readings for every station, made from its mean flow and the regime of its river.
//!
//! Snow-fed rivers are high in June, rain-fed ones in January; every August is dry, the second one more. Whole numbers only,
//! so that every machine makes the same readings. Weather is drawn for each river and week and is linear in between.

use chrono::{Datelike, Days, NaiveDate};

use super::rows::{self, Rows};

/// Rises with every change of how readings are computed, so that a newer program builds its archive anew.
pub(super) const VERSION: &str = "1";
/// Days from the first of January 2023 to the end of 2024.
const DAYS: u64 = 731;
/// Weekly weather of a river, in thousandths of its flow.
const RIVER_WEATHER: (i64, i64) = (-230, 250);
/// Weekly difference between the stations of a river.
const STATION_WEATHER: (i64, i64) = (-50, 50);
/// One week in so many brings a flood, of so many thousandths more.
const FLOOD: (u64, i64) = (23, 850);
/// The least that flows, in thousandths of the mean.
const FLOW_MIN: i64 = 90;
/// How much the dry summers of both years take at their height, in thousandths, and how many days from it they end.
const DROUGHTS: [(i64, i64); 2] = [(280, 38), (470, 52)];
/// Mean water temperature of each month in tenths of a degree.
const WATER: [i64; 12] = [40, 42, 66, 104, 150, 190, 212, 210, 174, 128, 84, 52];

/// The columns of `archive.readings`.
const COLUMNS: [&str; 5] = ["station_id", "day", "level_m", "flow_m3s", "water_c"];

/// One station as the readings need it.
struct Station {
    id: u64,
    river: u64,
    mean_m3s: i64,
    /// Percent of the mean in each month.
    months: Vec<i64>,
    snow_fed: bool,
}

/// `archive.readings`: a row for every station and day.
pub(super) fn readings() -> Rows<String> {
    let regimes = rows::regimes();
    let stations = rows::stations();
    let stations = stations.iter().filter_map(|row| {
        let [id, river, _, _, _, mean, regime] = row else { return None };
        let months = regimes.iter().find(|line| line.first() == Some(regime))?;
        Some(Station {
            id: id.parse().ok()?,
            river: river.parse().ok()?,
            mean_m3s: mean.parse().ok()?,
            months: months.iter().skip(1).filter_map(|percent| percent.parse().ok()).collect(),
            snow_fed: *regime == "snow",
        })
    });
    let rows = stations.flat_map(|station| (0..DAYS).filter_map(move |day| station.reading(day)));
    Rows::new("readings", &COLUMNS, rows.collect())
}

impl Station {
    /// The row of the day that many days after the first.
    fn reading(&self, day: u64) -> Option<Vec<String>> {
        let date = NaiveDate::from_ymd_opt(2023, 1, 1)?.checked_add_days(Days::new(day))?;
        let season = between_months(date, |month| self.months.get(month).copied().unwrap_or(100) * 10);
        let weather = between_weeks(day, |week| self.weather(week));
        let share = (season * (1000 + weather) / 1000 * (1000 - drought(date)) / 1000).max(FLOW_MIN);
        // In tenths of a cubic metre a second; a drop of noise keeps neighbouring days apart.
        let flow = (self.mean_m3s * share / 100).max(1) + drawn(&[self.id, day, 1], (0, 3));
        let base_cm = drawn(&[self.id, 2], (60, 190));
        let level_cm = base_cm + 2 * u64::try_from(share).map_or(0, |share| (share * 100).isqrt()).cast_signed();
        let warmth = between_months(date, |month| WATER.get(month).copied().unwrap_or(100));
        let water = (if self.snow_fed { warmth * 3 / 4 } else { warmth }) + drawn(&[self.river, day, 3], (-9, 9));
        Some(vec![self.id.to_string(), date.to_string(), decimal(level_cm, 2), decimal(flow, 1), decimal(water.max(1), 1)])
    }

    fn weather(&self, week: u64) -> i64 {
        let is_flood = mix(&[self.river, week, 4]).is_multiple_of(FLOOD.0);
        let flood = if is_flood { FLOOD.1 } else { 0 };
        drawn(&[self.river, week, 5], RIVER_WEATHER) + drawn(&[self.id, week, 6], STATION_WEATHER) + flood
    }
}

/// A value that each month has in its middle, on a day between two middles.
fn between_months(date: NaiveDate, value: impl Fn(usize) -> i64) -> i64 {
    let (month, day) = (date.month0() as usize, i64::from(date.day()));
    let (from, to, done) = if day < 15 { ((month + 11) % 12, month, day + 15) } else { (month, (month + 1) % 12, day - 15) };
    value(from) + (value(to) - value(from)) * done.min(30) / 30
}

/// A value that each week begins with, on a day between two beginnings.
fn between_weeks(day: u64, value: impl Fn(u64) -> i64) -> i64 {
    let (from, to) = (value(day / 7), value(day / 7 + 1));
    from + (to - from) * (day % 7).cast_signed() / 7
}

/// What the dry summer takes on a day, in thousandths: most on 18 August.
fn drought(date: NaiveDate) -> i64 {
    let Some(height) = NaiveDate::from_ymd_opt(date.year(), 8, 18) else { return 0 };
    let away = (date - height).num_days().abs();
    let year = usize::try_from(date.year() - 2023).unwrap_or_default();
    DROUGHTS.get(year).map_or(0, |(most, days)| (most * (days - away) / days).max(0))
}

/// A number of the closed range that always is the same for the same seed.
fn drawn(seed: &[u64], (least, most): (i64, i64)) -> i64 {
    let width = (most - least + 1).unsigned_abs();
    least + (mix(seed) % width).cast_signed()
}

/// SplitMix64 over the parts of the seed (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(seed: &[u64]) -> u64 {
    seed.iter().fold(0x5455, |state: u64, part| {
        let z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A whole number of hundredths or tenths, not negative, as a decimal.
fn decimal(scaled: i64, digits: u32) -> String {
    let unit = 10_i64.pow(digits);
    format!("{}.{:0width$}", scaled / unit, scaled % unit, width = digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean flow of a station in a month of both years, in percent of its mean.
    fn percent(readings: &Rows<String>, station: &[&str], month: &str) -> f64 {
        let flows: Vec<f64> = readings
            .iter()
            .filter(|row| row[0] == station[0] && row[1].get(5..7) == Some(month))
            .map(|row| row[3].parse().unwrap())
            .collect();
        100.0 * flows.iter().sum::<f64>() / flows.len() as f64 / station[5].parse::<f64>().unwrap()
    }

    #[test]
    fn snow_is_high_in_june_and_rain_in_january_and_august_is_dry() {
        let readings = readings();
        let stations = rows::stations();
        assert_eq!(readings.len(), stations.len() * 731);
        for station in stations.iter() {
            let [january, june, august] = ["01", "06", "08"].map(|month| percent(&readings, station, month));
            match station[6] {
                "snow" => assert!(june > 1.6 * january && june > 1.3 * august, "{station:?} {january} {june} {august}"),
                "rain" => assert!(january > 1.6 * june && january > 3.0 * august, "{station:?} {january} {june} {august}"),
                _ => assert!(august < june, "{station:?} {june} {august}"),
            }
        }
    }

    #[test]
    fn every_value_fits_its_column_and_no_river_is_dry_or_frozen() {
        for row in readings().iter() {
            let [level, flow, water] = [2, 3, 4].map(|place| row[place].parse::<f64>().unwrap());
            assert!((0.5..30.0).contains(&level) && (0.1..100_000.0).contains(&flow) && (0.1..30.0).contains(&water), "{row:?}");
        }
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!((decimal(1205, 2), decimal(7, 1), decimal(5, 2)), ("12.05".into(), "0.7".into(), "0.05".into()));
    }
}
