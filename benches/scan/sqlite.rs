//! SQLite: a handle of its own, stepped without any driver between.
#![expect(unsafe_code, reason = "the baseline is the C interface itself")]

use std::ffi::CString;
use std::path::Path;
use std::ptr::{self, NonNull};

use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use libsqlite3_sys as ffi;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tributary::task::OwnedTask;

use super::columns::{Columns, Depth, Digest};
use super::made::{COLUMNS, inserts};
use super::mariadb::days;
use super::measure::must;
use super::ours::Ours;
use super::rounds::{Bare, Subject};

const TABLE: &str = "CREATE TABLE sales (id INTEGER PRIMARY KEY, quantity INTEGER NOT NULL, price DECIMAL(12,2), title TEXT NOT NULL, \
    placed TIMESTAMP NOT NULL, score DOUBLE PRECISION NOT NULL, paid BOOLEAN NOT NULL, remark TEXT)";

/// A filled table in a file of its own.
pub async fn subject(rows: u64) -> Subject {
    let directory = must(tempfile::tempdir());
    let path = directory.path().join("sales.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .disable_statement_logging();
    let mut connection = must(options.connect().await);
    must(connection.execute(TABLE).await);
    must(connection.execute("BEGIN").await);
    for insert in inserts(rows) {
        must(connection.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await);
    }
    must(connection.execute("COMMIT").await);
    must(connection.close().await);
    let ours = Ours::new("sqlite", &format!("path = {:?}\n", path.display().to_string())).await;
    let bare = Box::new(Stepped { handle: Some(Handle::open(&path)) });
    Subject { name: "sqlite", ours, bare, keeper: Box::new(directory) }
}

struct Stepped {
    /// Absent while it is read.
    handle: Option<Handle>,
}

#[async_trait]
impl Bare for Stepped {
    async fn read(&mut self, depth: Depth) -> Digest {
        let handle = must(self.handle.take().ok_or("the handle is in use"));
        let reading = OwnedTask::spawn_blocking(move || {
            let digest = handle.read(depth);
            (handle, digest)
        });
        let (handle, digest) = must(reading.join().await.ok_or("a pass has failed"));
        self.handle = Some(handle);
        digest
    }
}

/// An open database.
struct Handle(NonNull<ffi::sqlite3>);

// SAFETY: the handle is used by one thread at a time, which is all that SQLITE_OPEN_NOMUTEX asks for.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and its statements are finalised at the end of each read.
        unsafe { ffi::sqlite3_close(self.0.as_ptr()) };
    }
}

impl Handle {
    fn open(path: &Path) -> Self {
        let path = must(CString::new(path.display().to_string()));
        let mut handle = ptr::null_mut();
        let flags = ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_NOMUTEX;
        // SAFETY: the path is NUL-terminated and the out-pointer is valid.
        let code = unsafe { ffi::sqlite3_open_v2(path.as_ptr(), &raw mut handle, flags, ptr::null()) };
        must(if code == ffi::SQLITE_OK { Ok(()) } else { Err(format!("SQLite said {code} to opening")) });
        Self(must(NonNull::new(handle).ok_or("SQLite gave no handle")))
    }

    fn read(&self, depth: Depth) -> Digest {
        let sql = must(CString::new(format!("SELECT {COLUMNS} FROM sales")));
        let mut statement = ptr::null_mut();
        // SAFETY: the handle is open, the text is NUL-terminated and the out-pointer is valid.
        let code = unsafe { ffi::sqlite3_prepare_v2(self.0.as_ptr(), sql.as_ptr(), -1, &raw mut statement, ptr::null_mut()) };
        must(if code == ffi::SQLITE_OK { Ok(()) } else { Err(format!("SQLite said {code} to the statement")) });
        let (mut columns, mut digest) = (Columns::<Int64Type>::default(), Digest::new(depth));
        loop {
            // SAFETY: the statement is prepared and not yet finalised.
            match unsafe { ffi::sqlite3_step(statement) } {
                ffi::SQLITE_ROW => {}
                ffi::SQLITE_DONE => break,
                code => must(Err(format!("SQLite said {code} to a step"))),
            }
            // SAFETY: the statement stands on a row of eight columns.
            let decoded = unsafe { decode(statement, &mut columns) };
            must(decoded.ok_or("a cell has another kind than its column"));
            if columns.is_full() {
                digest.take(&mut columns);
            }
        }
        // SAFETY: the statement is prepared and not used after this.
        unsafe { ffi::sqlite3_finalize(statement) };
        digest.take(&mut columns);
        digest
    }
}

/// Adds the current row.
///
/// # Safety
/// The statement must stand on a row with the columns of the table.
#[inline]
unsafe fn decode(statement: *mut ffi::sqlite3_stmt, columns: &mut Columns) -> Option<()> {
    // SAFETY: as the caller promises. A value is valid until the next step, and its text is copied before.
    unsafe {
        let value = |column| ffi::sqlite3_column_value(statement, column);
        columns.ids.push(integer(value(0))?);
        columns.quantities.push(integer(value(1))?);
        let price = value(2);
        columns.prices.push(match ffi::sqlite3_value_type(price) {
            ffi::SQLITE_INTEGER => Some(i128::from(ffi::sqlite3_value_int64(price)) * 100),
            ffi::SQLITE_FLOAT => Some(hundredths(ffi::sqlite3_value_double(price))?),
            ffi::SQLITE_NULL => None,
            _ => return None,
        });
        columns.titles.push(Some(std::str::from_utf8(text(value(3))??).ok()?));
        columns.placed.push(moment(text(value(4))??)?);
        let score = value(5);
        (ffi::sqlite3_value_type(score) == ffi::SQLITE_FLOAT).then_some(())?;
        columns.scores.push(ffi::sqlite3_value_double(score));
        columns.paid.push(integer(value(6))? != 0);
        let remark = match text(value(7))? {
            Some(bytes) => Some(std::str::from_utf8(bytes).ok()?),
            None => None,
        };
        columns.remarks.push(remark);
    }
    Some(())
}

/// The integer in a value; nothing when it holds something else.
///
/// # Safety
/// The value must belong to the current row.
#[inline]
unsafe fn integer(value: *mut ffi::sqlite3_value) -> Option<i64> {
    // SAFETY: as the caller promises.
    unsafe { (ffi::sqlite3_value_type(value) == ffi::SQLITE_INTEGER).then(|| ffi::sqlite3_value_int64(value)) }
}

/// The text in a value, `None` inside for NULL; nothing when it holds something else.
///
/// # Safety
/// The value must belong to the current row, and the bytes must not be used after the next step.
#[inline]
unsafe fn text<'a>(value: *mut ffi::sqlite3_value) -> Option<Option<&'a [u8]>> {
    // SAFETY: as the caller promises; SQLite gives address and length of one text, the length after the address.
    unsafe {
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_TEXT => {
                let start = ffi::sqlite3_value_text(value);
                let length = usize::try_from(ffi::sqlite3_value_bytes(value)).ok()?;
                (!start.is_null()).then(|| Some(std::slice::from_raw_parts(start, length)))
            }
            ffi::SQLITE_NULL => Some(None),
            _ => None,
        }
    }
}

/// A real with at most two digits behind the point, exactly in hundredths.
#[inline]
fn hundredths(real: f64) -> Option<i128> {
    let whole = (real * 100.0).round();
    // Both sides of the division are exact, so it gives back the very real that the number reads as.
    (whole.abs() < 1e15 && whole / 100.0 == real).then_some((whole as i64).into())
}

/// `YYYY-MM-DD HH:MM:SS.ffffff` in microseconds since 1970.
#[inline]
fn moment(text: &[u8]) -> Option<i64> {
    let (date, clock) = text.split_first_chunk::<10>()?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else { return None };
    let [b' ', h0, h1, b':', n0, n1, b':', s0, s1, b'.', fraction @ ..] = clock else { return None };
    let fraction: &[u8; 6] = fraction.try_into().ok()?;
    let (year, month, day) = (number([y0, y1, y2, y3])?, number([m0, m1])?, number([d0, d1])?);
    let (hour, minute, second) = (number([*h0, *h1])?, number([*n0, *n1])?, number([*s0, *s1])?);
    (is_day(year, month, day) && hour < 24 && minute < 60 && second < 60).then_some(())?;
    let clock = (hour * 60 + minute) * 60 + second;
    Some(days(year, month, day) * 86_400_000_000 + clock * 1_000_000 + number(*fraction)?)
}

#[inline]
fn number<const N: usize>(digits: [u8; N]) -> Option<i64> {
    digits.into_iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

#[inline]
fn is_day(year: i64, month: i64, day: i64) -> bool {
    let last = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}
