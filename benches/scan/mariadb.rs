//! MariaDB: a prepared statement, whose binary rows are decoded from the bytes that the driver keeps of them.

use arrow::datatypes::Int32Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Decode, Executor, Row as _, ValueRef};
use tributary::sandbox::{Durability, MariaDb, Setup};

use super::columns::{Columns, Depth, Digest};
use super::made::{COLUMNS, inserts};
use super::measure::must;
use super::ours::Ours;
use super::rounds::{Bare, Subject};

const TABLE: &str = "CREATE TABLE sales (id bigint PRIMARY KEY, quantity int NOT NULL, price decimal(12,2), title varchar(200) NOT NULL, \
    placed datetime(6) NOT NULL, score double NOT NULL, paid tinyint(1) NOT NULL, remark varchar(200)) CHARACTER SET utf8mb4";

/// A filled table on a server of its own.
pub async fn subject(rows: u64) -> Subject {
    let setup =
        Setup { durability: Durability::Forgone, arguments: vec!["--innodb-buffer-pool-size=512M".to_owned()], ..Setup::default() };
    let server = must(MariaDb::start_with(&setup).await);
    let options = MySqlConnectOptions::new()
        .host(server.host())
        .port(server.port())
        .username(server.user())
        .password(server.password())
        .database(server.database())
        .charset("utf8mb4")
        .disable_statement_logging();
    let mut connection = must(options.connect().await);
    must(connection.execute(TABLE).await);
    must(connection.execute(sqlx::raw_sql("BEGIN")).await);
    for insert in inserts(rows) {
        must(connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await);
    }
    must(connection.execute(sqlx::raw_sql("COMMIT")).await);
    let file = format!(
        "host = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\ntinyint1 = \"bool\"\n",
        server.host(),
        server.port(),
        server.user(),
        server.password(),
        server.database()
    );
    let ours = Ours::new("mariadb", &file).await;
    Subject { name: "mariadb", ours, bare: Box::new(Prepared { connection }), keeper: Box::new(server) }
}

struct Prepared {
    connection: MySqlConnection,
}

#[async_trait]
impl Bare for Prepared {
    async fn read(&mut self, depth: Depth) -> Digest {
        let (mut columns, mut digest) = (Columns::<Int32Type>::default(), Digest::new(depth));
        let statement = format!("SELECT {COLUMNS} FROM sales");
        let mut rows = sqlx::query(AssertSqlSafe(statement)).fetch(&mut self.connection);
        while let Some(row) = must(rows.try_next().await) {
            must(decode(&row, &mut columns).ok_or("a row is not in the form of its columns"));
            if columns.is_full() {
                digest.take(&mut columns);
            }
        }
        digest.take(&mut columns);
        digest
    }
}

#[inline]
fn decode(row: &MySqlRow, columns: &mut Columns<Int32Type>) -> Option<()> {
    columns.ids.push(i64::from_le_bytes(fixed(row, 0)?));
    columns.quantities.push(i32::from_le_bytes(fixed(row, 1)?));
    let price = match value(row, 2)? {
        Some(bytes) => Some(decimal(bytes)?),
        None => None,
    };
    columns.prices.push(price);
    columns.titles.push(Some(std::str::from_utf8(value(row, 3)??).ok()?));
    columns.placed.push(moment(value(row, 4)??)?);
    columns.scores.push(f64::from_le_bytes(fixed(row, 5)?));
    columns.paid.push(fixed::<1>(row, 6)? != [0]);
    let remark = match value(row, 7)? {
        Some(bytes) => Some(std::str::from_utf8(bytes).ok()?),
        None => None,
    };
    columns.remarks.push(remark);
    Some(())
}

#[inline]
fn fixed<const N: usize>(row: &MySqlRow, column: usize) -> Option<[u8; N]> {
    value(row, column)??.try_into().ok()
}

/// The bytes of a value as the server sent them.
#[inline]
fn value(row: &MySqlRow, column: usize) -> Option<Option<&[u8]>> {
    let value = row.try_get_raw(column).ok()?;
    if value.is_null() {
        return Some(None);
    }
    <&[u8] as Decode<'_, MySql>>::decode(value).ok().map(Some)
}

/// `decimal(12,2)`, which travels as text, in hundredths.
#[inline]
fn decimal(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut number = 0_i64;
    for byte in digits {
        match byte {
            b'0'..=b'9' => number = number * 10 + i64::from(byte - b'0'),
            b'.' => {}
            _ => return None,
        }
    }
    Some(if negative { -number } else { number }.into())
}

/// `datetime(6)` in microseconds since 1970: a length, then as much of year, month, day, hour, minute, second and
/// microsecond as is not zero.
#[inline]
fn moment(bytes: &[u8]) -> Option<i64> {
    let [_, y0, y1, month, day, clock @ ..] = bytes else { return None };
    let seconds_of = |hour: u8, minute: u8, second: u8| i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    let micros = match clock {
        [hour, minute, second, fraction @ ..] => {
            let fraction = fraction.try_into().map_or(0, u32::from_le_bytes);
            seconds_of(*hour, *minute, *second) * 1_000_000 + i64::from(fraction)
        }
        _ => 0,
    };
    Some(days(u16::from_le_bytes([*y0, *y1]).into(), (*month).into(), (*day).into()) * 86_400_000_000 + micros)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, counted in years that begin in March.
#[inline]
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (month * 153 + 2) / 5 + day - 1 - 719_468
}
