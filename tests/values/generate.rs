//! Seeded text of every type, leaning towards the edges.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tributary::pgtype::PgType;

/// The source of all choices; the same seed gives the same values.
pub struct Random(StdRng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// A number whose magnitude is spread over all sizes.
    fn sized(&mut self, bits: u32) -> i64 {
        let shift = 64 - u32::try_from(self.below(u64::from(bits))).unwrap() - 1;
        let value = self.0.random::<i64>() >> shift;
        value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    }

    fn digits(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap())).collect()
    }

    fn hex(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from_digit(u32::try_from(self.below(16)).unwrap(), 16).unwrap()).collect()
    }
}

type Make = fn(&mut Random) -> String;

/// SQL name, Postgres type, generator of valid text.
pub const TYPES: &[(&str, PgType, Make)] = &[
    ("bool", PgType::BOOL, |random| random.pick(&["t", "f", "yes", "off", "1", "TRUE"]).to_owned()),
    ("int2", PgType::INT2, |random| random.sized(16).to_string()),
    ("int4", PgType::INT4, |random| random.sized(32).to_string()),
    ("int8", PgType::INT8, |random| random.0.random::<i64>().to_string()),
    ("oid", PgType::OID, |random| random.0.random::<u32>().to_string()),
    ("float4", PgType::FLOAT4, float4),
    ("float8", PgType::FLOAT8, float8),
    ("numeric", PgType::NUMERIC, numeric),
    ("numeric(18,2)", PgType::numeric(18, 2), |random| numeric_of(random, 16)),
    ("numeric(38,10)", PgType::numeric(38, 10), |random| numeric_of(random, 27)),
    ("numeric(60,20)", PgType::numeric(60, 20), |random| numeric_of(random, 39)),
    ("numeric(7,-3)", PgType::numeric(7, -3), |random| numeric_of(random, 9)),
    ("text", PgType::TEXT, text),
    ("varchar", PgType::VARCHAR, text),
    ("bytea", PgType::BYTEA, bytea),
    ("date", PgType::DATE, date),
    ("time", PgType::TIME, time),
    ("timetz", PgType::TIMETZ, |random| format!("{}{}", time(random), offset(random))),
    ("timestamp", PgType::TIMESTAMP, timestamp),
    ("timestamptz", PgType::TIMESTAMPTZ, |random| {
        let (moment, era) = (moment(random), random.below(6) == 0);
        if era { format!("{moment}{} BC", offset(random)) } else { format!("{moment}{}", offset(random)) }
    }),
    ("interval", PgType::INTERVAL, interval),
    ("uuid", PgType::UUID, |random| random.hex(32)),
    ("json", PgType::JSON, |random| json(random, 3)),
    ("jsonb", PgType::JSONB, |random| json(random, 3)),
    ("inet", PgType::INET, inet),
    ("macaddr", PgType { oid: 829, typmod: -1 }, |random| random.hex(12)),
    ("macaddr8", PgType { oid: 774, typmod: -1 }, |random| random.hex(16)),
    ("cidr", PgType { oid: 650, typmod: -1 }, |random| format!("{}.{}.0.0/16", random.below(256), random.below(256))),
    ("varbit", PgType::VARBIT, |random| (0..random.below(40)).map(|_| if random.below(2) == 0 { '0' } else { '1' }).collect()),
    ("money", PgType { oid: 790, typmod: -1 }, |random| format!("{}.{:02}", random.sized(50), random.below(100))),
    ("pg_lsn", PgType { oid: 3220, typmod: -1 }, |random| format!("{}/{}", random.hex(8), random.hex(3))),
];

/// Inputs that readers treat specially or refuse: SQL name, oid, texts.
pub const CURIOUS: &[(&str, u32, &[&str])] = &[
    ("bool", 16, &["", "o", "tru", " on ", "2", "yess"]),
    ("int2", 21, &["", "32768", "-32769", "1.5", " 7 ", "+7", "0x1", "99999999999999999999", "- 1", "1_000"]),
    ("int4", 23, &["abc", "2147483648", "1e5", "--1"]),
    ("int8", 20, &["9223372036854775808", "-9223372036854775808", "x"]),
    ("oid", 26, &["-1", "4294967296", "abc", "-2147483649"]),
    (
        "float8",
        701,
        &["", "1e400", "-1e400", "1e-400", "inf", "-Infinity", "nan", "1.", ".5", ".", "1e", "e5", "1 2", "infin", "0e999"],
    ),
    ("float4", 700, &["1e39", "1e-46", "abc", "3.4028235e38"]),
    (
        "numeric",
        1700,
        &[
            "",
            ".",
            "1e",
            "1e5",
            "1.50e1",
            "1e-3",
            "+.5",
            "5.",
            "NaN",
            "inf",
            "-inf",
            "+Infinity",
            "1e131072",
            "1e131071",
            "1e-16383",
            "1e-16384",
            "0e999999",
            "--1",
            "1 2",
            "0x1",
            "-0.00",
            "1e+3",
        ],
    ),
    ("uuid", 2950, &["", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a-0"]),
    ("bytea", 17, &["\\x1", "\\xzz", "\\8", "abc\\\\", "\\x de ad", "\\x"]),
    ("varbit", 1562, &["102", "x1f", "xg", "b01", ""]),
    (
        "inet",
        869,
        &[
            "",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.256",
            "::1/129",
            "::g",
            "10.0.0.0/8",
            "1.2.3.4/32",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "::",
        ],
    ),
    ("cidr", 650, &["10", "10.1/16", "192.168.1.5/24", "1.2.3.4", "::1", "10.0.0.0.0"]),
    (
        "macaddr",
        829,
        &["", "08:00:2b:01:02", "08-00-2b-01-02-03", "08002b:010203", "08002b-010203", "0800.2b01.0203", "0800-2b01-0203"],
    ),
    ("money", 790, &["abc", "$1,234.565", "($5)", "-$7.1", "12"]),
    ("json", 114, &["{\"a\":1}", " [1 , 2] ", "\"\\u0000\"", "1e400"]),
    (
        "jsonb",
        3802,
        &[
            "{\"b\":1,\"a\":{\"cc\":1,\"d\":2},\"b\":3}",
            "1e3",
            "-0",
            "\"\\u00e9\\ud83d\\ude00\"",
            "\"\\u0000\"",
            "[1.50, 2e-2]",
            " null ",
        ],
    ),
    (
        "date",
        1082,
        &[
            "",
            "abc",
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "1/8/1999",
            "18/1/1999",
            "01/02/03",
            "08-Jan-99",
            "Jan-08-1999",
            "1999-Jan-08",
            "January 8, 1999",
            "19990108",
            "990108",
            "J2451187",
            "January 8, 99 BC",
            "0000-01-01",
            "5874897-12-31",
            "5874898-01-01",
            "4714-11-24 BC",
            "4714-11-23 BC",
            "infinity",
            "-infinity",
            "epoch",
            "2024-01-02 03:04:05",
            "2024-1-2",
            "2024.01.02",
            "2024-01",
            "Tuesday, January 2, 2024",
            "2024-01-02 foo",
            "1999 Jan 8",
            "8 January 1999 AD",
            "2024-01-02T10:00:00Z",
            "99-01-08",
            "1-1-1",
            "12345-01-01",
        ],
    ),
    (
        "time",
        1083,
        &[
            "",
            "abc",
            "04:05",
            "040506",
            "04:05 AM",
            "12:00 am",
            "13:00 pm",
            "24:00:00",
            "24:00:01",
            "23:59:60",
            "25:00",
            "12:60",
            "04:05:06.7891234",
            "2003-04-12 04:05:06",
            "allballs",
            "1:2:3",
            "04:05:06+02",
            "0405",
            "04:05:61",
        ],
    ),
    (
        "timetz",
        1266,
        &[
            "04:05:06-08",
            "040506+0730",
            "04:05:06 PST",
            "2003-07-12 04:05:06 America/New_York",
            "00:00Z",
            "04:05:06+07:30:15",
            "04:05+17",
        ],
    ),
    (
        "timestamp",
        1114,
        &[
            "2024-01-02 03:04:05",
            "2024-01-02T03:04:05.6Z",
            "20240102T030405",
            "20240102 030405",
            "2024-01-02 24:00",
            "Jan 2 2024 3:04 PM",
            "Tue Jan 02 03:04:05 2024",
            "Tue Jan 02 03:04:05 2024 PST",
            "2024-01-02 25:00",
            "03:04:05",
            "2024-01-02 03:04:05 +02",
            "-infinity",
            "4714-11-23 23:59:59 BC",
            "4714-11-24 BC",
            "2024-01-02 03:04:05.1234567",
            "2024-01-02 03:04:05.9999999",
            "10000-01-01",
            "2/1/2024 5:00",
            "2024-01-02 03:04:05 BC",
            "294277-01-01",
            "epoch",
            "2024-01-02 3",
            "2024-01-02 03:04:60",
        ],
    ),
    (
        "timestamptz",
        1184,
        &[
            "2024-01-01 00:00+17",
            "2024-01-01 00:00+05:30",
            "2024-07-01 12:00 America/New_York",
            "2024-01-01 12:00 PST",
            "2024-01-01 12:00-03:30",
            "2024-03-10 02:30 America/New_York",
            "2024-11-03 01:30 America/New_York",
            "2024-01-01 00:00 Nowhere/Land",
            "2024-01-01 00:00 foo",
            "1800-01-01 00:00 Europe/Paris",
            "2024-01-01 00:00 europe/berlin",
            "2024-01-01 00:00:00 +0530",
            "2024-01-01 00:00:00Z",
        ],
    ),
    (
        "interval",
        1186,
        &[
            "",
            "abc",
            "1 day 02:03:04",
            "1.5 days",
            "1.5 months",
            "1.55 years",
            "2 weeks",
            "1.5 weeks",
            "1 century 2 decades",
            "90 minutes",
            "1h 30m 5s",
            "P1Y2M3DT4H5M6S",
            "P0001-02-03T04:05:06",
            "PT1.5S",
            "P2W",
            "P",
            "-P1Y",
            "1 day ago",
            "@ 1 minute 30 secs",
            "30",
            "10 milliseconds 5 us",
            "1-2",
            "-1-2",
            "-1 day +02:03:04",
            "3 4:05:06",
            "04:05",
            "1 day 2",
            "1 day 1 day",
            "3000000000 months",
            "1 foo",
            "1.5 s",
            "-1.5 s",
            "1 mon -1 days",
            "04:05.5",
            "1 year 1-2",
            "1e3 s",
            "0.1 microseconds",
            "1.0000005 s",
        ],
    ),
    ("int4[]", 1007, &["{}", "{1,NULL,3}", " { 1 , 2 } ", "{1,}", "{1", "1", "", "{a}", "[1:2]={1,2}", "{1}x", "{\"1\"}"]),
    ("text[]", 1009, &["{a b, c ,\"d,e\"}", "{NULL,\"NULL\",null}", "{\"a\\\"b\",c\\,d}", "{\"\"}", "{,}", "{\"a}", "{é}"]),
];

fn float4(random: &mut Random) -> String {
    match random.below(4) {
        0 => f32::from_bits(random.0.random()).to_string(),
        1 => 2f32.powi(i32::try_from(random.between(-149, 127)).unwrap()).to_string(),
        2 => random.sized(32).to_string(),
        _ => format!("{}e{}", random.digits(7), random.between(-30, 30)),
    }
}

pub fn float8(random: &mut Random) -> String {
    match random.below(5) {
        0 => f64::from_bits(random.0.random()).to_string(),
        1 => 2f64.powi(i32::try_from(random.between(-1074, 1023)).unwrap()).to_string(),
        2 => random.sized(60).to_string(),
        3 => random
            .pick(&[
                "NaN",
                "inf",
                "-inf",
                "-0",
                "1e15",
                "1e14",
                "999999999999999.9",
                "0.0001",
                "0.00001",
                "5e-324",
                "9007199254740993",
            ])
            .to_owned(),
        _ => format!("{}.{}e{}", random.below(10), random.digits(16), random.between(-290, 290)),
    }
}

fn numeric(random: &mut Random) -> String {
    let sign = random.pick(&["", "-", "+"]);
    let (whole, fraction) = (random.below(40), random.below(40));
    match random.below(12) {
        0 => random.pick(&["NaN", "Infinity", "-inf", "0", "-0.000", "1e-20", "1.5e30", "10000", "0.0001", "100000000"]).to_owned(),
        1 => format!("{sign}{}e{}", random.digits(1 + whole), random.between(-60, 60)),
        _ => format!("{sign}{}.{}", random.digits(1 + whole), random.digits(fraction)),
    }
}

fn numeric_of(random: &mut Random, whole: u64) -> String {
    let (whole, fraction) = (random.below(whole + 1), random.below(30));
    format!("{}{}.{}", random.pick(&["", "-"]), random.digits(whole.max(1)), random.digits(fraction))
}

fn text(random: &mut Random) -> String {
    let words =
        ["a", "NULL", "null", "", " ", "é", "日本", "😀", "\\", "\"", "{", "}", ",", "'", "\n", "\t", "x y", "\u{b}", "\u{a0}"];
    (0..random.below(6)).map(|_| random.pick(&words)).collect()
}

pub fn bytea(random: &mut Random) -> String {
    let count = random.below(40) * 2;
    format!("\\x{}", random.hex(count))
}

fn date(random: &mut Random) -> String {
    match random.below(12) {
        0 => random
            .pick(&["infinity", "-infinity", "epoch", "4714-11-24 BC", "5874897-12-31", "0001-01-01", "0001-12-31 BC"])
            .to_owned(),
        1 => format!("{:04}-{:02}-{:02} BC", random.between(1, 4713), random.between(1, 12), random.between(1, 28)),
        2 => format!("{}-{:02}-{:02}", random.between(10_000, 5_874_896), random.between(1, 12), random.between(1, 28)),
        _ => format!("{:04}-{:02}-{:02}", random.between(1, 9_999), random.between(1, 12), random.between(1, 28)),
    }
}

fn time(random: &mut Random) -> String {
    let places = random.below(7);
    let fraction = if places == 0 { String::new() } else { format!(".{}", random.digits(places)) };
    if random.below(50) == 0 {
        return "24:00:00".to_owned();
    }
    format!("{:02}:{:02}:{:02}{fraction}", random.below(24), random.below(60), random.below(60))
}

fn offset(random: &mut Random) -> String {
    match random.below(3) {
        0 => format!("{}{:02}", random.pick(&["+", "-"]), random.below(16)),
        1 => format!("{}{:02}:{:02}", random.pick(&["+", "-"]), random.below(15), random.below(60)),
        _ => format!("{}{:02}:{:02}:{:02}", random.pick(&["+", "-"]), random.below(15), random.below(60), random.below(60)),
    }
}

fn moment(random: &mut Random) -> String {
    format!("{:04}-{:02}-{:02} {}", random.between(1, 4_000), random.between(1, 12), random.between(1, 28), time(random))
}

fn timestamp(random: &mut Random) -> String {
    match random.below(12) {
        0 => random.pick(&["infinity", "-infinity", "epoch", "4714-11-24 00:00:00 BC"]).to_owned(),
        1 => format!("{} BC", moment(random)),
        2 => format!(
            "{}-{:02}-{:02} {}",
            random.between(10_000, 294_246),
            random.between(1, 12),
            random.between(1, 28),
            time(random)
        ),
        _ => moment(random),
    }
}

/// A wall-clock time in ISO form, mostly of years in which zones changed.
pub fn local_timestamp(random: &mut Random) -> String {
    let year = match random.below(6) {
        0 => random.between(1, 1_800),
        1 => random.between(2_040, 2_099),
        2 => random.between(2_100, 9_000),
        _ => random.between(1_850, 2_040),
    };
    format!("{year:04}-{:02}-{:02} {}", random.between(1, 12), random.between(1, 28), time(random))
}

pub fn interval(random: &mut Random) -> String {
    let mut parts = Vec::new();
    for unit in ["years", "mons", "days", "hours", "mins"] {
        if random.below(2) == 0 {
            parts.push(format!("{} {unit}", random.between(-120, 120)));
        }
    }
    if parts.is_empty() || random.below(2) == 0 {
        let places = random.below(7);
        let fraction = random.digits(places);
        let point = if places == 0 { "" } else { "." };
        parts.push(format!("{}{}{point}{fraction} secs", random.pick(&["", "-"]), random.below(300)));
    }
    parts.join(" ")
}

fn json(random: &mut Random, depth: u64) -> String {
    match random.below(if depth == 0 { 4 } else { 6 }) {
        0 => random.pick(&["null", "true", "false"]).to_owned(),
        1 => random.sized(40).to_string(),
        2 => format!("{}.{}e{}", random.below(100), random.digits(3), random.between(-20, 20)),
        3 => random
            .pick(&["\"\"", "\"a\"", "\"\\n\\u00e9\\\"\"", "\"日本\"", "\"\\ud83d\\ude00\"", "\"a/b\\/c\"", "\"\\u001f\""])
            .to_owned(),
        4 => {
            let items: Vec<String> = (0..random.below(4)).map(|_| json(random, depth - 1)).collect();
            format!("[{}]", items.join(random.pick(&[",", " , "])))
        }
        _ => {
            let keys = ["a", "b", "aa", "", "é", "long key", "Z"];
            let entries: Vec<String> =
                (0..random.below(5)).map(|_| format!("\"{}\":{}", random.pick(&keys), json(random, depth - 1))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

fn inet(random: &mut Random) -> String {
    if random.below(2) == 0 {
        let host = format!("{}.{}.{}.{}", random.below(256), random.below(256), random.below(256), random.below(256));
        return if random.below(2) == 0 { host } else { format!("{host}/{}", random.below(33)) };
    }
    let group = |random: &mut Random| if random.below(2) == 0 { "0".to_owned() } else { random.hex(4) };
    let groups: Vec<String> = (0..8).map(|_| group(random)).collect();
    let host = groups.join(":");
    if random.below(2) == 0 { host } else { format!("{host}/{}", random.below(129)) }
}

/// An array literal of generated elements, all quoted, with NULLs.
pub fn array(random: &mut Random, make: Make) -> String {
    let elements: Vec<String> = (0..random.below(6))
        .map(|_| {
            if random.below(5) == 0 {
                return "NULL".to_owned();
            }
            format!("\"{}\"", make(random).replace('\\', "\\\\").replace('"', "\\\""))
        })
        .collect();
    format!("{{{}}}", elements.join(","))
}
