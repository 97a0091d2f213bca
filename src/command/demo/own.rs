//! The numbers of the rows that the demo writes and takes back: free ones, so that no row of a user is in the way or taken for
//! one of the demo. A number is noted in a file for as long as such rows may be there: what a demo that was killed has left is
//! taken back by the next one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io, iter};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, query_scalar};

use super::place::write_private;

/// How many numbers are looked at together.
const TOGETHER: i64 = 1000;

/// Where the number is noted.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
}

impl Note {
    /// The one of the demo over files or of that over servers: each has databases of its own.
    pub(super) fn new(directory: &Path, servers: bool) -> Self {
        Self { path: directory.join(if servers { "shown-of-servers" } else { "shown" }) }
    }

    /// The number that an earlier demo has not crossed out.
    pub(super) fn left(&self) -> Option<i64> {
        fs::read_to_string(&self.path).ok()?.parse().ok()
    }

    /// Notes it, before anything is written.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn write(&self, id: i64) -> io::Result<()> {
        write_private(&self.path, &id.to_string())
    }

    /// Crosses it out, after everything was taken back.
    ///
    /// # Errors
    /// What the operating system answered.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The first number from this one on that no station, visit or reading has. Where a thousand are taken it goes on much further
/// up, so that a table that somebody has filled does not take long.
///
/// # Errors
/// The server has refused the question, or there is none.
pub(super) async fn free(connection: &mut PgConnection, from: i64) -> Result<i64, sqlx::Error> {
    for first in iter::successors(Some(from), |first| first.checked_mul(10)) {
        let last = first.saturating_add(TOGETHER);
        let taken: Vec<i64> = query_scalar(AssertSqlSafe(used(first, last))).fetch_all(&mut *connection).await?;
        if let Some(id) = first_free(first, last, taken) {
            return Ok(id);
        }
    }
    Err(sqlx::Error::RowNotFound)
}

fn used(first: i64, last: i64) -> String {
    let column = |table: &str, id: &str| format!("SELECT {id} FROM {table} WHERE {id} BETWEEN {first} AND {last}");
    let tables = [("hydro.stations", "id"), ("crew.visits", "id"), ("archive.readings", "station_id")];
    tables.map(|(table, id)| column(table, id)).join(" UNION ")
}

fn first_free(first: i64, last: i64, taken: Vec<i64>) -> Option<i64> {
    let taken: BTreeSet<i64> = taken.into_iter().collect();
    (first..last).find(|id| !taken.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_nobody_has_is_free() {
        assert_eq!(first_free(1001, 2001, vec![]), Some(1001));
        assert_eq!(first_free(1001, 2001, vec![1002, 1001, 1004]), Some(1003));
        assert_eq!(first_free(1001, 1003, vec![1001, 1002]), None);
    }

    #[test]
    fn a_note_stays_until_it_is_removed() {
        let outside = tempfile::tempdir().unwrap();
        let note = Note::new(outside.path(), false);
        assert_eq!(note.left(), None);
        note.write(1003).unwrap();
        assert_eq!(Note::new(outside.path(), false).left(), Some(1003));
        assert_eq!(Note::new(outside.path(), true).left(), None);
        note.remove().unwrap();
        note.remove().unwrap();
        assert_eq!(note.left(), None);
    }
}
