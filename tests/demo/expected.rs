//! The answers to the demo's three queries, worked out row by row in plain Rust, without any query engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row as _};

/// A result as text.
type Table = Vec<Vec<String>>;

struct River {
    id: i64,
    name: String,
    flows_into: Option<i64>,
    /// In tenths.
    discharge: i64,
}

struct Station {
    id: i64,
    river: i64,
    name: String,
    mean: i64,
    regime: String,
}

/// Flow and temperature of a station on a day, in tenths.
#[derive(Clone, Copy)]
struct Reading {
    flow: i64,
    water: i64,
}

/// All rows of the demo.
pub struct Rows {
    rivers: Vec<River>,
    stations: Vec<Station>,
    people: BTreeMap<i64, String>,
    /// Station, person, day, cents.
    visits: Vec<(i64, i64, String, i64)>,
    reports: Vec<Value>,
    readings: BTreeMap<(i64, String), Reading>,
}

fn lines(file: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog/demo").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn whole(text: &str) -> i64 {
    text.parse().unwrap()
}

/// `12.5` as 125 for one digit, `12.50` as 1250 for two.
fn scaled(text: &str, digits: usize) -> i64 {
    let (units, rest) = text.split_once('.').unwrap();
    assert_eq!(rest.len(), digits, "{text}");
    whole(&format!("{units}{rest}"))
}

/// 125 as `12.5`.
fn decimal(scaled: i64, digits: usize) -> String {
    let unit = 10_i64.pow(u32::try_from(digits).unwrap());
    let sign = if scaled < 0 { "-" } else { "" };
    format!("{sign}{}.{:0digits$}", scaled.abs() / unit, scaled.abs() % unit)
}

/// Rounds a positive quotient half up.
fn rounded(dividend: i128, divisor: i128) -> i64 {
    i64::try_from((2 * dividend + divisor) / (2 * divisor)).unwrap()
}

impl Rows {
    /// Reads the files of the checkout, and the readings from the archive that the demo has built.
    pub fn read(databases: &Path) -> Self {
        let rivers = lines("hydro/rivers.csv").into_iter().map(|row| River {
            id: whole(&row[0]),
            name: row[1].clone(),
            flows_into: row[2].parse().ok(),
            discharge: scaled(&row[5], 1),
        });
        let stations = lines("hydro/stations.csv").into_iter().map(|row| Station {
            id: whole(&row[0]),
            river: whole(&row[1]),
            name: row[2].clone(),
            mean: whole(&row[5]),
            regime: row[6].clone(),
        });
        let visits = lines("crew/visits.csv").into_iter();
        let visits = visits.map(|row| (whole(&row[1]), whole(&row[2]), row[3].clone(), scaled(&row[4], 2)));
        let reports = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog/demo/field/reports.jsonl");
        let reports = std::fs::read_to_string(reports).unwrap();
        Self {
            rivers: rivers.collect(),
            stations: stations.collect(),
            people: lines("crew/people.csv").into_iter().map(|row| (whole(&row[0]), row[1].clone())).collect(),
            visits: visits.collect(),
            reports: reports.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            readings: readings(&databases.join("archive.db")),
        }
    }

    fn river(&self, id: i64) -> &River {
        self.rivers.iter().find(|river| river.id == id).unwrap()
    }

    /// The river's names from its system's main stem down to it.
    fn course(&self, river: &River) -> Vec<String> {
        let mut course = river.flows_into.map(|next| self.course(self.river(next))).unwrap_or_default();
        course.push(river.name.clone());
        course
    }

    /// The Rhine and its tributaries.
    pub fn tree(&self) -> Table {
        let below = self.rivers.iter().map(|river| (self.course(river), river)).filter(|(course, _)| course[0] == "Rhine");
        let mut below: Vec<_> = below.map(|(course, river)| (course.join(" < "), course.len() - 1, river)).collect();
        below.sort_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
        let row = |(_, depth, river): (String, usize, &River)| {
            let brought: Vec<i64> = self.rivers.iter().filter(|r| r.flows_into == Some(river.id)).map(|r| r.discharge).collect();
            let at: BTreeSet<i64> = self.stations.iter().filter(|station| station.river == river.id).map(|s| s.id).collect();
            let flows = self.readings.iter().filter(|((station, _), _)| at.contains(station)).map(|(_, reading)| reading.flow);
            let flows: Vec<i128> = flows.map(i128::from).collect();
            let some = |is_some: bool, text: String| if is_some { text } else { String::new() };
            let mean = if flows.is_empty() { 0 } else { rounded(flows.iter().sum(), flows.len() as i128) };
            vec![
                format!("{}{}", "  ".repeat(depth), river.name),
                decimal(river.discharge, 1),
                some(!brought.is_empty(), brought.len().to_string()),
                some(!brought.is_empty(), decimal(brought.iter().sum(), 1)),
                some(!at.is_empty(), at.len().to_string()),
                some(!at.is_empty(), decimal(mean, 1)),
            ]
        };
        below.into_iter().map(row).collect()
    }

    /// Otters and salmon where the air was below six degrees and the water below seven.
    pub fn sightings(&self) -> Table {
        let mut rows = Vec::new();
        for report in &self.reports {
            let Some(air) = report["weather"]["air_c"].as_f64().filter(|air| *air < 6.0) else { continue };
            let station = self.stations.iter().find(|station| report["station"] == station.id).unwrap();
            let day = report["at"].as_str().unwrap()[..10].to_owned();
            let reading = self.readings[&(station.id, day.clone())];
            if reading.water >= 70 || !["rain", "mixed"].contains(&station.regime.as_str()) {
                continue;
            }
            let visits = self.visits.iter().filter(|(at, _, on, cents)| *at == station.id && *on <= day && *cents >= 30_000);
            let last = visits.max_by(|one, other| one.2.cmp(&other.2));
            for animal in report["species"].as_array().into_iter().flatten().map(|animal| animal.as_str().unwrap()) {
                if ["otter", "salmon"].contains(&animal) {
                    rows.push(vec![
                        day.clone(),
                        format!("{} at {}", self.river(station.river).name, station.name),
                        animal.to_owned(),
                        air.to_string(),
                        decimal(reading.water, 1),
                        decimal(reading.flow, 1),
                        report["observer"]["name"].as_str().unwrap().to_owned(),
                        last.map(|visit| self.people[&visit.1].clone()).unwrap_or_default(),
                        last.map(|visit| visit.2.clone()).unwrap_or_default(),
                    ]);
                }
            }
        }
        rows.sort_by(|one, other| one[..3].cmp(&other[..3]));
        rows
    }

    /// Costs and low water of each river system.
    pub fn costs(&self) -> Table {
        let system = |station: i64| {
            let station = self.stations.iter().find(|other| other.id == station).unwrap();
            self.course(self.river(station.river)).swap_remove(0)
        };
        let mut cents: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (station, _, _, cost) in &self.visits {
            cents.entry(system(*station)).or_default().push(*cost);
        }
        let mut rows: Vec<(i64, Vec<String>)> = Vec::new();
        for (name, costs) in cents {
            let stations: Vec<&Station> = self.stations.iter().filter(|station| system(station.id) == name).collect();
            let (mut low, mut lowest) = (0, f64::INFINITY);
            for station in &stations {
                let flows = self.readings.iter().filter(|((id, _), _)| *id == station.id).map(|(_, reading)| reading.flow);
                for flow in flows {
                    // Below 0.4 of the mean: tenths against tenths.
                    low += usize::from(flow < 4 * station.mean);
                    lowest = f64::min(lowest, flow as f64 / 10.0 / station.mean as f64);
                }
            }
            let (total, count) = (costs.iter().sum::<i64>(), i128::try_from(stations.len()).unwrap());
            let row = vec![
                name,
                count.to_string(),
                costs.len().to_string(),
                decimal(total, 2),
                decimal(rounded(total.into(), count), 2),
                low.to_string(),
                format!("{:.1}", 100.0 * lowest),
            ];
            rows.push((total, row));
        }
        rows.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1[0].cmp(&other.1[0])));
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn readings(archive: &Path) -> BTreeMap<(i64, String), Reading> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(archive).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let sql =
            "SELECT station_id, day, CAST(round(flow_m3s * 10) AS INTEGER), CAST(round(water_c * 10) AS INTEGER) FROM readings";
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| ((row.get(0), row.get(1)), Reading { flow: row.get(2), water: row.get(3) })).collect()
    })
}
