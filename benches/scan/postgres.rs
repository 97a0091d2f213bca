//! PostgreSQL: a binary COPY, each message decoded where it lies.

use arrow::datatypes::Int32Type;
use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tributary::sandbox::{Durability, Postgres, Setup};

use super::columns::{Columns, Depth, Digest};
use super::made::{COLUMNS, inserts};
use super::measure::must;
use super::ours::Ours;
use super::rounds::{Bare, Subject};

const TABLE: &str = "CREATE UNLOGGED TABLE sales (id int8 PRIMARY KEY, quantity int4 NOT NULL, price numeric(12,2), title text NOT NULL, \
    placed timestamp NOT NULL, score float8 NOT NULL, paid bool NOT NULL, remark text)";

/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A filled table on a server of its own.
pub async fn subject(rows: u64) -> Subject {
    let setup = Setup { durability: Durability::Forgone, ..Setup::default() };
    let server = must(Postgres::start_with(&setup).await);
    let options = PgConnectOptions::new_without_pgpass()
        .host(server.host())
        .port(server.port())
        .username(server.user())
        .password(server.password())
        .database(server.database())
        .disable_statement_logging();
    let mut connection = must(options.connect().await);
    must(connection.execute(TABLE).await);
    must(connection.execute("BEGIN").await);
    for insert in inserts(rows) {
        must(connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await);
    }
    must(connection.execute("COMMIT").await);
    must(connection.execute("VACUUM (FREEZE, ANALYZE) sales").await);
    let file = format!(
        "host = '{}'\nport = {}\nuser = '{}'\npassword = '{}'\ndatabase = '{}'\n",
        server.host(),
        server.port(),
        server.user(),
        server.password(),
        server.database()
    );
    let ours = Ours::new("postgres", &file).await;
    Subject { name: "postgres", ours, bare: Box::new(Copy { connection }), keeper: Box::new(server) }
}

struct Copy {
    connection: PgConnection,
}

#[async_trait]
impl Bare for Copy {
    async fn read(&mut self, depth: Depth) -> Digest {
        let (mut columns, mut digest) = (Columns::<Int32Type>::default(), Digest::new(depth));
        let statement = format!("COPY (SELECT {COLUMNS} FROM sales) TO STDOUT (FORMAT BINARY)");
        let mut chunks = must(self.connection.copy_out_raw(&statement).await);
        // The header stands before the first row, in the same message.
        let mut header = 19;
        while let Some(chunk) = must(chunks.try_next().await) {
            let row = chunk.get(header..).unwrap_or_default();
            header = 0;
            if row == [0xff, 0xff] {
                continue;
            }
            must(decode(row, &mut columns).ok_or("a row is not in the form of COPY"));
            if columns.is_full() {
                digest.take(&mut columns);
            }
        }
        digest.take(&mut columns);
        digest
    }
}

#[inline]
fn decode(row: &[u8], columns: &mut Columns<Int32Type>) -> Option<()> {
    let (count, mut rest) = row.split_first_chunk::<2>()?;
    (*count == [0, 8]).then_some(())?;
    columns.ids.push(i64::from_be_bytes(fixed(&mut rest)?));
    columns.quantities.push(i32::from_be_bytes(fixed(&mut rest)?));
    let price = match value(&mut rest)? {
        Some(bytes) => Some(numeric(bytes)?),
        None => None,
    };
    columns.prices.push(price);
    columns.titles.push(Some(std::str::from_utf8(value(&mut rest)??).ok()?));
    columns.placed.push(moment(i64::from_be_bytes(fixed(&mut rest)?))?);
    columns.scores.push(f64::from_be_bytes(fixed(&mut rest)?));
    columns.paid.push(fixed::<1>(&mut rest)? != [0]);
    let remark = match value(&mut rest)? {
        Some(bytes) => Some(std::str::from_utf8(bytes).ok()?),
        None => None,
    };
    columns.remarks.push(remark);
    rest.is_empty().then_some(())
}

/// A value that is not NULL and has this width.
#[inline]
fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    value(rest)??.try_into().ok()
}

#[inline]
fn value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let len = i32::from_be_bytes(*len);
    if len < 0 {
        *rest = after;
        return Some(None);
    }
    let (value, after) = after.split_at_checked(len as usize)?;
    *rest = after;
    Some(Some(value))
}

/// Microseconds since 2000 as such since 1970. The two ends of the range are infinities, and its last 30 years do not fit.
#[inline]
fn moment(micros: i64) -> Option<i64> {
    match micros {
        i64::MIN | i64::MAX => Some(micros),
        _ => micros.checked_add(EPOCH_MICROS),
    }
}

/// `numeric(12,2)` in hundredths: base-10000 digits, of which at most one stands behind the point.
#[inline]
fn numeric(bytes: &[u8]) -> Option<i128> {
    let ([_, _, w0, w1, s0, s1, _, _], digits) = bytes.split_first_chunk::<8>()?;
    let weight = i16::from_be_bytes([*w0, *w1]);
    let mut number = 0_i64;
    for digit in digits.chunks_exact(2) {
        number = number * 10_000 + i64::from(u16::from_be_bytes([*digit.first()?, *digit.get(1)?]));
    }
    // How many base-10000 places the last digit stands above the hundredths.
    let places = i64::from(weight) + 1 - (digits.len() / 2) as i64;
    let number = match places {
        -1 => number / 100,
        0 => number * 100,
        1 => number * 1_000_000,
        2 => number * 10_000_000_000,
        _ => return digits.is_empty().then_some(0),
    };
    match u16::from_be_bytes([*s0, *s1]) {
        0 => Some(number.into()),
        0x4000 => Some((-number).into()),
        _ => None,
    }
}
