//! The rows of the table, made by a fixed rule, and their SQL.

use std::fmt::Write as _;

/// The columns, in the order of the table and of every bare loop.
pub const COLUMNS: &str = "id, quantity, price, title, placed, score, paid, remark";

/// Rows of one INSERT.
pub const ROWS_PER_INSERT: u64 = 500;

/// 2000-01-01 00:00:00 in microseconds since 1970.
const FIRST_MOMENT: i64 = 946_684_800_000_000;
/// Thirty years in microseconds.
const MOMENTS: i64 = 30 * 365 * 86_400_000_000;

/// One row.
#[derive(Debug)]
pub struct Row {
    pub id: i64,
    pub quantity: i32,
    /// In hundredths; NULL in one row of 13.
    pub price: Option<i64>,
    /// 5 to about 30 bytes, some of them outside ASCII in one row of eight.
    pub title: String,
    /// Microseconds since 1970.
    pub placed: i64,
    /// A multiple of an eighth, which every store reads back as written.
    pub score: f64,
    pub paid: bool,
    /// Up to 64 bytes; NULL in one row of three.
    pub remark: Option<String>,
    pub zip: i32,
}

/// Spreads row numbers over 64 bits (the finaliser of splitmix64).
fn scatter(row: i64) -> i64 {
    let value = row.wrapping_mul(-7_046_029_254_386_353_131);
    let value = (value ^ (value >> 30)).wrapping_mul(-4_658_895_280_553_007_687);
    let value = (value ^ (value >> 27)).wrapping_mul(-7_723_592_293_110_705_685);
    value ^ (value >> 31)
}

impl Row {
    /// The row with this number, from 1.
    pub fn new(id: i64) -> Self {
        let chance = scatter(id);
        let title = format!("{}item {:x}", if id % 8 == 0 { "né " } else { "" }, (chance as u64) >> (id % 48));
        let remark = "delivered to the neighbour on the second floor, left of the lift!";
        Self {
            id,
            quantity: (chance % 1_000_000) as i32,
            price: (id % 13 != 0).then_some((chance % 1_000_000_000_000) >> (id % 30)),
            title,
            placed: FIRST_MOMENT + chance.rem_euclid(MOMENTS),
            score: (chance >> 24) as f64 / 8.0,
            paid: chance & 64 != 0,
            remark: (id % 3 != 0).then(|| remark.chars().take(chance.rem_euclid(65) as usize).collect()),
            zip: (chance.rem_euclid(90_000) + 10_000) as i32,
        }
    }

    fn write(&self, sql: &mut String) {
        // Writing into a `String` cannot fail.
        let _ = write!(sql, "({}, {}, ", self.id, self.quantity);
        let _ = match self.price {
            Some(cents) => {
                let sign = if cents < 0 { "-" } else { "" };
                write!(sql, "{sign}{}.{:02}, ", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
            }
            None => write!(sql, "NULL, "),
        };
        let moment = chrono::DateTime::from_timestamp_micros(self.placed).unwrap_or_default();
        let _ = write!(sql, "'{}', '{}', {}, {}", self.title, moment.format("%Y-%m-%d %H:%M:%S%.6f"), self.score, self.paid);
        let _ = match &self.remark {
            Some(remark) => write!(sql, ", '{remark}')"),
            None => write!(sql, ", NULL)"),
        };
    }
}

/// One statement that inserts the rows from `first` on, `ROWS_PER_INSERT` of them or up to `last`.
pub fn insert(first: u64, last: u64) -> String {
    let mut sql = format!("INSERT INTO sales ({COLUMNS}) VALUES ");
    for number in first..=last.min(first + ROWS_PER_INSERT - 1) {
        sql.push_str(if number == first { "" } else { ", " });
        Row::new(i64::try_from(number).unwrap_or(i64::MAX)).write(&mut sql);
    }
    sql
}

/// Every statement that fills a table of `rows` rows.
pub fn inserts(rows: u64) -> impl Iterator<Item = String> + Send {
    (0..rows.div_ceil(ROWS_PER_INSERT)).map(move |batch| insert(batch * ROWS_PER_INSERT + 1, rows))
}
