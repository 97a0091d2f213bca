//! Row stepping on the raw SQLite handle: the only unsafe file of the crate.
//!
//! The driver copies every value (`sqlite3_value_dup`) and sends each row through a channel; here rows go from
//! `sqlite3_step` straight into Arrow builders. Callers see [`Database`] and [`Statement`], which are safe to use.
//!
//! **Invariants:** a [`Database`] exists only while its connection's handle is locked, so nobody else calls SQLite on it; a
//! [`Statement`] is finalised before its `Database` ends (it borrows it), because the driver panics when it closes a
//! connection with open statements; a [`Held`] or [`Cell`] borrows its statement mutably, so it ends before the next step.
#![expect(unsafe_code, reason = "row stepping on the raw handle, see the module's invariants")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use super::super::value::Value;
use super::types::read::Cell;

/// What SQLite said: an extended result code and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The extended result code (<https://www.sqlite.org/rescode.html>).
    pub(super) code: i32,
    /// SQLite's message.
    pub(super) message: String,
}

/// A locked connection.
pub(super) struct Database<'lock> {
    handle: NonNull<ffi::sqlite3>,
    lock: PhantomData<&'lock mut ()>,
}

impl<'lock> Database<'lock> {
    /// The connection behind a lock, for as long as the lock is borrowed.
    pub(super) fn new(lock: &'lock mut LockedSqliteHandle<'_>) -> Self {
        Self { handle: lock.as_raw_handle(), lock: PhantomData }
    }

    /// Prepares one statement.
    ///
    /// # Errors
    /// What SQLite says of the text.
    pub(super) fn prepare(&self, sql: &str) -> Result<Statement<'_>, Failure> {
        let length = c_int::try_from(sql.len()).map_err(|_too_long| Failure::ours("the statement is too long"))?;
        let mut statement = ptr::null_mut();
        // SAFETY: the handle is open and locked; the text pointer and its length belong together; SQLite reads no further
        // than that length and keeps no pointer to the text.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                self.handle.as_ptr(),
                sql.as_ptr().cast::<c_char>(),
                length,
                0,
                &raw mut statement,
                ptr::null_mut(),
            )
        };
        self.check(code)?;
        let handle = NonNull::new(statement).ok_or_else(|| Failure::ours("the statement is empty"))?;
        Ok(Statement { handle, database: self })
    }

    /// Runs a statement that returns no rows that matter.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) fn run(&self, sql: &str) -> Result<(), Failure> {
        let mut statement = self.prepare(sql)?;
        while statement.step()? {}
        Ok(())
    }

    /// Whether no transaction is open.
    pub(super) fn is_autocommit(&self) -> bool {
        // SAFETY: the handle is open and locked.
        unsafe { ffi::sqlite3_get_autocommit(self.handle.as_ptr()) != 0 }
    }

    /// How many rows the last statement that ended has added, changed or removed, without those of triggers and foreign keys.
    pub(super) fn changes(&self) -> u64 {
        // SAFETY: the handle is open and locked.
        u64::try_from(unsafe { ffi::sqlite3_changes64(self.handle.as_ptr()) }).unwrap_or(0)
    }

    /// The collation of a base table's column; `None` for views and unknown names.
    pub(super) fn collation(&self, table: &str, column: &str) -> Option<String> {
        let (table, column) = (CString::new(table).ok()?, CString::new(column).ok()?);
        let mut collation: *const c_char = ptr::null();
        // SAFETY: the handle is open and locked; the names are NUL-terminated and outlive the call; the out-pointers that
        // are not null point to a local of the right type.
        let code = unsafe {
            ffi::sqlite3_table_column_metadata(
                self.handle.as_ptr(),
                c"main".as_ptr(),
                table.as_ptr(),
                column.as_ptr(),
                ptr::null_mut(),
                &raw mut collation,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if code != ffi::SQLITE_OK || collation.is_null() {
            return None;
        }
        // SAFETY: on success SQLite gives a NUL-terminated name that lives until the schema changes, which nobody can do
        // while the handle is locked and no statement runs.
        Some(unsafe { CStr::from_ptr(collation) }.to_string_lossy().into_owned())
    }

    fn check(&self, code: c_int) -> Result<(), Failure> {
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.failure(code)) }
    }

    /// The failure that the connection reports after a call gave `code`.
    #[cold]
    fn failure(&self, code: c_int) -> Failure {
        // SAFETY: the handle is open and locked; the message is NUL-terminated and is copied before the next call.
        let (extended, message) = unsafe {
            let message = ffi::sqlite3_errmsg(self.handle.as_ptr());
            let message = if message.is_null() { c"no message" } else { CStr::from_ptr(message) };
            (ffi::sqlite3_extended_errcode(self.handle.as_ptr()), message.to_string_lossy().into_owned())
        };
        // The connection's own code is finer, unless it speaks of another call.
        let code = if extended & 0xff == code & 0xff { extended } else { code };
        Failure { code, message }
    }
}

impl Failure {
    fn ours(message: &str) -> Self {
        Self { code: ffi::SQLITE_ERROR, message: message.to_owned() }
    }
}

/// A prepared statement; dropping it finalises it, which ends its read of the database.
pub(super) struct Statement<'database> {
    handle: NonNull<ffi::sqlite3_stmt>,
    database: &'database Database<'database>,
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: the statement was prepared and is finalised only here. The code repeats the last step's failure, which
        // was already reported.
        unsafe { ffi::sqlite3_finalize(self.handle.as_ptr()) };
    }
}

impl Statement<'_> {
    /// Binds the parameters `?1`, `?2`, … in order.
    ///
    /// # Errors
    /// A value that SQLite has no form for (see [`Bound`]), or what SQLite says.
    pub(super) fn bind(&mut self, values: &[Value]) -> Result<(), Failure> {
        for (number, value) in (1_i32..).zip(values) {
            let bound = Bound::of(value).ok_or_else(|| Failure::ours("a parameter has no form in SQLite"))?;
            self.bind_one(number, bound)?;
        }
        Ok(())
    }

    /// Binds the parameter with this number, from 1.
    ///
    /// # Errors
    /// A number that no statement has, or what SQLite says.
    pub(super) fn bind_at(&mut self, number: usize, bound: Bound<'_>) -> Result<(), Failure> {
        let number = c_int::try_from(number).map_err(|_too_many| Failure::ours("the statement has too many parameters"))?;
        self.bind_one(number, bound)
    }

    /// Makes the statement ready to be bound and stepped again. What it has done stays done.
    pub(super) fn reset(&mut self) {
        // SAFETY: the statement is prepared. The code repeats the last step's failure, which was already reported.
        unsafe { ffi::sqlite3_reset(self.handle.as_ptr()) };
    }

    fn bind_one(&mut self, number: c_int, bound: Bound<'_>) -> Result<(), Failure> {
        let statement = self.handle.as_ptr();
        // SAFETY: the statement is prepared; pointers and lengths belong together; SQLITE_TRANSIENT makes SQLite copy the
        // bytes before the call returns. An empty slice's pointer is not null, so it is bound as empty and not as NULL.
        let code = unsafe {
            match bound {
                Bound::Null => ffi::sqlite3_bind_null(statement, number),
                Bound::Int(number_value) => ffi::sqlite3_bind_int64(statement, number, number_value),
                Bound::Real(real) => ffi::sqlite3_bind_double(statement, number, real),
                Bound::Text(text) => ffi::sqlite3_bind_text64(
                    statement,
                    number,
                    text.as_ptr().cast::<c_char>(),
                    text.len() as u64,
                    ffi::SQLITE_TRANSIENT(),
                    ENCODING_UTF8,
                ),
                Bound::Blob(bytes) => {
                    ffi::sqlite3_bind_blob64(statement, number, bytes.as_ptr().cast(), bytes.len() as u64, ffi::SQLITE_TRANSIENT())
                }
            }
        };
        self.database.check(code)
    }

    /// Moves to the next row; false when there is none.
    ///
    /// # Errors
    /// What SQLite says; a failed step never looks like the end.
    #[inline]
    pub(super) fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: the statement is prepared and its connection locked.
        match unsafe { ffi::sqlite3_step(self.handle.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(self.database.failure(code)),
        }
    }

    /// How many columns a row has.
    pub(super) fn columns(&self) -> usize {
        // SAFETY: the statement is prepared.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.handle.as_ptr()) }).unwrap_or(0)
    }

    /// A cell of the current row, by position from 0; NULL beyond the last column or without a row, as SQLite answers.
    ///
    /// # Errors
    /// Out of memory while SQLite makes the text readable.
    pub(super) fn cell(&mut self, column: usize) -> Result<Cell<'_>, Failure> {
        self.held(column).cell().ok_or_else(|| Failure { code: ffi::SQLITE_NOMEM, message: "out of memory".to_owned() })
    }

    /// The same before anybody has looked what it is.
    #[inline]
    pub(super) fn held(&mut self, column: usize) -> Held<'_> {
        // No statement has so many columns, and of a negative one SQLite says NULL as well.
        let column = c_int::try_from(column).unwrap_or(-1);
        // SAFETY: the statement is prepared. SQLite calls such a value "unprotected" because another thread could touch the
        // connection meanwhile, which the lock excludes; this saves a lookup of the column on every further call.
        let value = unsafe { ffi::sqlite3_column_value(self.handle.as_ptr(), column) };
        Held { value, row: PhantomData }
    }
}

/// A cell where SQLite holds it, until the next step, which its borrow of the statement excludes.
#[derive(Clone, Copy)]
pub struct Held<'row> {
    value: *mut ffi::sqlite3_value,
    row: PhantomData<&'row ()>,
}

impl<'row> Held<'row> {
    /// What the cell holds; `None` when SQLite has no memory to make it readable. Meant to become part of the reader that asks,
    /// which then decides once what it has before it.
    #[inline(always)]
    pub fn cell(self) -> Option<Cell<'row>> {
        let value = self.value;
        // SAFETY: `value` stays valid until the next step, which 'row excludes. Its text or bytes stay at their place for as
        // long as it is not converted, and it is asked for its own kind only. SQLite gives the length of a text or blob after
        // its address.
        unsafe {
            Some(match ffi::sqlite3_value_type(value) {
                ffi::SQLITE_INTEGER => Cell::Int(ffi::sqlite3_value_int64(value)),
                ffi::SQLITE_FLOAT => Cell::Real(ffi::sqlite3_value_double(value)),
                ffi::SQLITE_TEXT => {
                    let start = ffi::sqlite3_value_text(value);
                    Cell::Text(bytes(start, ffi::sqlite3_value_bytes(value))?)
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_value_blob(value);
                    let length = ffi::sqlite3_value_bytes(value);
                    // An empty blob has no address.
                    Cell::Blob(if length == 0 { &[] } else { bytes(start.cast(), length)? })
                }
                _ => Cell::Null,
            })
        }
    }
}

/// The bytes of a value that SQLite has just given.
///
/// # Safety
/// Address and length must be of one value, which lives for `'row`.
#[inline(always)]
unsafe fn bytes<'row>(start: *const u8, length: c_int) -> Option<&'row [u8]> {
    let length = usize::try_from(length).ok()?;
    // SAFETY: as the caller promises; an address that is not null is that of so many bytes.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

/// `SQLITE_UTF8` in the width that `sqlite3_bind_text64` takes.
const ENCODING_UTF8: u8 = 1;

/// A parameter as SQLite takes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound<'a> {
    /// NULL
    Null,
    /// INTEGER
    Int(i64),
    /// REAL; NaN would silently become NULL.
    Real(f64),
    /// TEXT
    Text(&'a str),
    /// BLOB
    Blob(&'a [u8]),
}

impl<'a> Bound<'a> {
    /// Push-down sends only these; NaN would silently become NULL, and moments have no one form.
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Bool(truth) => Some(Self::Int(i64::from(*truth))),
            Value::Int(number) => Some(Self::Int(*number)),
            Value::Float(number) => (!number.is_nan()).then_some(Self::Real(*number)),
            Value::Text(text) => Some(Self::Text(text)),
            Value::Bytes(bytes) => Some(Self::Blob(bytes)),
            Value::Decimal { .. }
            | Value::Numeric(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Timestamp(_)
            | Value::TimestampTz(_) => None,
        }
    }
}
