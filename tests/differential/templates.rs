//! Statements over templates of `to_char`, `to_number`, `to_date` and `to_timestamp`, made by a fixed seed.
//!
//! Templates that only write stand in one VALUES list per statement; where an error is likely, a statement has one template.

use super::random::Random;

/// The seed of the first statement; each statement has its own.
const SEED: u64 = 20_241_130;
/// Rows of a VALUES list.
const ROWS: usize = 12;

const DATE_PATTERNS: &[&str] = &[
    "YYYY", "YYY", "YY", "Y", "Y,YYY", "IYYY", "IYY", "IY", "I", "MM", "MONTH", "Month", "month", "MON", "Mon", "mon", "RM", "rm",
    "DD", "DDD", "D", "IDDD", "ID", "DAY", "Day", "day", "DY", "Dy", "dy", "WW", "IW", "W", "Q", "CC", "J", "HH", "HH12", "HH24",
    "MI", "SS", "SSSS", "SSSSS", "MS", "US", "FF1", "FF3", "FF6", "AM", "p.m.", "A.D.", "bc", "TZH", "TZM", "yyyy", "mm", "dd",
    "hh24", "mi", "ss", "TZ", "tz", "OF",
];
/// Patterns that belong to one calendar and can be read.
const READ_PATTERNS: &[&str] = &[
    "YYYY", "YY", "YYY", "Y", "Y,YYY", "MM", "Month", "MON", "RM", "DD", "DDD", "D", "Day", "dy", "WW", "W", "Q", "CC", "J",
    "HH12", "HH24", "MI", "SS", "SSSS", "MS", "US", "FF2", "FF6", "AM", "B.C.", "TZH", "TZM", "FX", "IYYY", "IW", "ID", "IDDD",
    "TZ",
];
const INTERVAL_PATTERNS: &[&str] = &[
    "YYYY", "YY", "Y,YYY", "MM", "RM", "DD", "DDD", "WW", "W", "Q", "CC", "HH", "HH12", "HH24", "MI", "SS", "SSSS", "MS", "US",
    "FF2", "PM", "a.m.", "J", "Day", "IYYY", "IW",
];
const MARKS: &[&str] = &["-", "/", ":", " ", ".", ", ", "", "\"T\"", "x", "\"of \\\"\"", "  ", "é", "\\\"", "5"];
const MOMENTS: &[&str] = &[
    "2024-02-29 13:14:15.123456",
    "1999-12-31 23:59:59.999999",
    "2000-01-01 00:00:00",
    "2021-01-03 12:00:00.5",
    "0001-01-01 00:00:00",
    "0044-03-15 11:30:00 BC",
    "4714-11-24 00:00:00 BC",
    "2400-07-04 01:02:03.000004",
    "9999-06-15 18:45:30.25",
    "12345-10-11 09:08:07",
    "1900-01-31 00:00:01",
    "infinity",
    "2011-03-22 21:00:00",
];
const INTERVALS: &[&str] = &[
    "1 year 2 months 3 days 04:05:06.789",
    "-1 year -2 months 3 days -04:05:06.789",
    "0",
    "100 hours 59 minutes",
    "12 months",
    "-12 months",
    "-5 days 11:00:00",
    "12:00:00",
    "-00:00:00.5",
    "1234 years",
    "36 hours",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "12",
    "-12.34",
    "485",
    "-485",
    "148.5",
    "0.1",
    "-0.1",
    "0.05",
    "1234567.891",
    "-0.5",
    "9.99",
    "99.995",
    "3999",
    "4000",
    "1E-5",
    "12345",
    "0.00",
    "100",
    "21",
    "111",
];
const FLOATS: &[&str] =
    &["NaN", "Infinity", "-Infinity", "-0", "0.1", "12345.678", "-1e10", "1e20", "2.5", "-99.95", "1e-7", "3.5"];
const NUMBER_PARTS: &[&str] = &[
    "9", "9", "9", "99", "999", "0", "0", "00", ",", ".", "D", "G", "FM", "S", "MI", "PL", "SG", "PR", "TH", "th", "V", "L", "B",
    "RN", "rn", "EEEE", " ", "\"x\"", "-", "é", "SP", "C",
];
const NUMBER_TEXTS: &[&str] = &[
    "485",
    "-485",
    "485-",
    "<485>",
    "1,234.5",
    "+12",
    " 12 ",
    "12.34",
    "-12.34",
    "$ 12.30",
    "1 2 3",
    "0012",
    "abc",
    "",
    "12th",
    "1.2.3",
    "- 5",
    "5 -",
    ".5",
    "9,9",
    "12345678901",
    "4é5",
    "-.7",
    "1-",
    "7+",
];
const DATE_TEXTS: &[&str] = &[
    "2024-02-29",
    "20240229",
    "29 Feb 2024",
    "2024/366",
    "February",
    "12:34 PM",
    "2024-W09-4",
    "99",
    "1 BC",
    "  2024  2 3",
    "xii",
    "2,024",
    "13:14:15.5 -05:30",
    "J2451187",
    "0",
    "2024-13-45",
    "feb2024",
    "Thursday",
    "7",
    "2024-2",
    "-44",
    "21st",
    "9999999",
    "24:00:00",
    "3661",
];

/// Makes `count` statements.
pub fn statements(count: usize) -> Vec<String> {
    let of = |number: usize| {
        let mut random = Random::new(SEED.wrapping_add(u64::try_from(number).unwrap()));
        let random = &mut random;
        match number % 10 {
            0 => written(random, "timestamp", MOMENTS, |random| date_template(random, DATE_PATTERNS)),
            1 => written(random, "timestamptz", MOMENTS, |random| date_template(random, DATE_PATTERNS)),
            2 => written(random, "numeric", NUMBERS, plain_number_template),
            3 => written(random, ["float8", "float4", "integer", "bigint"][number / 10 % 4], &[], plain_number_template),
            4 => one(random, "to_char", "interval", INTERVALS, |random| date_template(random, INTERVAL_PATTERNS)),
            5 => one(random, "to_char", "numeric", NUMBERS, number_template),
            6 => one(random, "to_number", "text", NUMBER_TEXTS, number_template),
            7 => one(random, "to_timestamp", "text", DATE_TEXTS, |random| date_template(random, READ_PATTERNS)),
            8 => one(random, "to_date", "text", DATE_TEXTS, |random| date_template(random, READ_PATTERNS)),
            _ => returned(random),
        }
    };
    (0..count).map(of).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Many values written by many templates.
fn written(random: &mut Random, type_name: &str, values: &[&str], template: impl Fn(&mut Random) -> String) -> String {
    let rows: Vec<String> = (0..ROWS)
        .map(|_| {
            let value = match type_name {
                "float8" | "float4" => (*random.pick(FLOATS)).to_owned(),
                "integer" | "bigint" => format!("{}", random.below(20_000).cast_signed() - 4_000),
                _ => (*random.pick(values)).to_owned(),
            };
            format!("({}::{type_name}, {})", quoted(&value), quoted(&template(random)))
        })
        .collect();
    format!("SELECT v, t, to_char(v, t) AS a FROM (VALUES {}) AS x(v, t)", rows.join(", "))
}

/// One value and one template, which may not fit each other.
fn one(random: &mut Random, function: &str, type_name: &str, values: &[&str], template: impl Fn(&mut Random) -> String) -> String {
    let value = quoted(random.pick::<&str>(values));
    format!("SELECT {function}({value}::{type_name}, {}) AS a", quoted(&template(random)))
}

/// What was written is read again.
fn returned(random: &mut Random) -> String {
    let (moment, template) = (quoted(random.pick::<&str>(MOMENTS)), quoted(&date_template(random, READ_PATTERNS)));
    format!("SELECT to_timestamp(to_char({moment}::timestamp, {template}), {template}) AS a")
}

fn date_template(random: &mut Random, patterns: &[&str]) -> String {
    let mut template = String::new();
    for _ in 0..=random.below(5) {
        let prefix = if random.chance(25) {
            "FM"
        } else if random.chance(5) {
            "TM"
        } else {
            ""
        };
        let postfix = if random.chance(10) { *random.pick(&["TH", "th", "SP"]) } else { "" };
        template.push_str(&format!("{prefix}{}{postfix}{}", random.pick(patterns), random.pick(MARKS)));
    }
    template
}

/// A template whose patterns do not exclude each other.
fn plain_number_template(random: &mut Random) -> String {
    let digits = |random: &mut Random, most: usize| {
        let mut text = String::new();
        for _ in 0..random.below(most) {
            text.push_str(random.pick::<&str>(&["9", "9", "0", "9", ","]));
        }
        text
    };
    let whole = digits(random, 8);
    let fill = if random.chance(40) { "FM" } else { "" };
    let point = if random.chance(60) {
        format!("{}{}", random.pick(&[".", "D"]), digits(random, 5).replace(',', ""))
    } else {
        String::new()
    };
    match random.below(6) {
        0 => format!("{fill}S{whole}{point}"),
        1 => format!("{fill}{whole}{point}S"),
        2 => format!("{fill}{whole}{point}{}", random.pick(&["MI", "PL", "SG", "PR"])),
        3 => format!("{fill}{}{whole}{point}", random.pick(&["MI", "PL", "SG", "L", "\"n \""])),
        _ => format!("{fill}{whole}{point}"),
    }
}

fn number_template(random: &mut Random) -> String {
    if random.chance(50) {
        return plain_number_template(random);
    }
    (0..=random.below(6)).map(|_| *random.pick(NUMBER_PARTS)).collect()
}
