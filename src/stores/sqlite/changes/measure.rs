//! How much the table of changes keeps, and what proves that a row of it is the one that was read.
//!
//! Every row carries the bytes that were written to the table up to and with it (`z`), so that what is kept is the difference of two
//! numbers, and what was drawn for it (`w`): in a file that was brought back in an older state, other rows come to have the numbers of
//! those that were read, and nothing else tells them apart. Of the last row that was removed the owner's line keeps both.

use super::super::super::change::Resume;
use super::super::super::relational::Dialect;
use super::super::super::value::Value;
use super::super::own::first;
use super::super::scan::{Database, Failure};
use super::Place;
use super::triggers::{int, last_seq, number, rows};

/// What a row counts as besides its cells: about what SQLite adds to it, and the cells of ours.
pub(super) const ROW_BYTES: u64 = 32;

/// A row with as many bytes or more is not kept: SQLite takes none of more than 1,000,000,000 (`SQLITE_LIMIT_LENGTH`), and one of ours has
/// the row before a change and the one after it, so that whoever writes could fail because of it.
pub(super) const CELLS_MAX: u64 = 900_000_000;

/// Bytes that were ever written to the table, for a place where `tributary_feed` is what is read.
pub(super) const WRITTEN: &str = "coalesce((SELECT c.z FROM tributary_changes AS c ORDER BY c.seq DESC LIMIT 1), kept)";

/// How to go on behind a row: where it is, and what was drawn for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) place: Place,
    pub(super) drawn: i64,
}

impl Stand {
    pub(super) fn read(resume: &Resume) -> Option<Self> {
        let (place, drawn) = resume.0.split_at_checked(16)?;
        Some(Self { place: Place::read(place)?, drawn: i64::from_be_bytes(drawn.try_into().ok()?) })
    }

    pub(super) fn resume(self) -> Resume {
        let mut bytes = self.place.token();
        bytes.extend(self.drawn.to_be_bytes());
        Resume(bytes)
    }
}

/// The bytes of these cells, as an expression; a number counts as eight, and only of text a number of bytes has to be found out. It is put together as a tree: SQLite takes no deep chains.
pub(super) fn bytes(cells: &[String]) -> String {
    match cells {
        [] => "0".to_owned(),
        [cell] => format!(
            "CASE typeof({cell}) WHEN 'blob' THEN length({cell}) WHEN 'text' THEN length(CAST({cell} AS BLOB)) \
             WHEN 'null' THEN 0 ELSE 8 END"
        ),
        _ => {
            let (first, rest) = cells.split_at(cells.len() / 2);
            format!("({} + {})", bytes(first), bytes(rest))
        }
    }
}

/// The cell of a row, before or after.
pub(super) fn cell(row: &str, column: &str) -> String {
    format!("{row}.{}", Dialect::Sqlite.quote(column))
}

/// Columns that tables of an older version of ours do not have.
const ADDED: [(&str, &str); 4] =
    [("tributary_changes", "w"), ("tributary_changes", "z"), ("tributary_feed", "w"), ("tributary_feed", "kept")];

fn has(database: &Database<'_>, table: &str, column: &str) -> Result<bool, Failure> {
    let sql = format!("SELECT count(*) FROM pragma_table_xinfo('{table}', 'main') AS x WHERE x.name = '{column}'");
    Ok(number(database, &sql)? != Some(0))
}

/// Whether the tables have all columns.
pub(super) fn is_complete(database: &Database<'_>) -> Result<bool, Failure> {
    for (table, column) in ADDED {
        if !has(database, table, column)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives tables that were made without them the columns of ours, which triggers name.
pub(super) fn complete(database: &Database<'_>) -> Result<(), Failure> {
    for (table, column) in ADDED {
        if !has(database, table, column)? {
            database.run(&format!("ALTER TABLE main.{table} ADD COLUMN {column} INTEGER"))?;
        }
    }
    Ok(())
}

/// What was drawn for a row that is kept, or for the last one that was removed.
pub(super) fn drawn(database: &Database<'_>, object: &str, seq: i64) -> Result<Option<i64>, Failure> {
    let sql = "SELECT CASE WHEN f.handed = ?2 THEN f.w ELSE (SELECT c.w FROM main.tributary_changes AS c WHERE c.seq = ?2) END \
               FROM main.tributary_feed AS f WHERE f.id = ?1";
    let values = [Value::Text(object.to_owned()), Value::Int(seq)];
    Ok(rows(database, sql, &values, |row| int(row, 0))?.into_iter().next().flatten())
}

/// Removes the rows up to one, in the open transaction.
pub(super) fn hand_over(database: &Database<'_>, object: &str, upto: i64) -> Result<(), Failure> {
    let of_row = |what: &str| format!("(SELECT c.{what} FROM main.tributary_changes AS c WHERE c.seq = ?2)");
    let sql = format!(
        "UPDATE main.tributary_feed SET w = coalesce({}, w), kept = coalesce({}, kept), handed = ?2 WHERE id = ?1",
        of_row("w"),
        of_row("z")
    );
    first(database, &sql, &[Value::Text(object.to_owned()), Value::Int(upto)])?;
    first(database, "DELETE FROM main.tributary_changes WHERE seq <= ?1", &[Value::Int(upto)]).map(drop)
}

/// Removes all rows, in the open transaction, also of tables that were made without what is counted of them.
pub(super) fn hand_over_all(database: &Database<'_>, object: &str) -> Result<(), Failure> {
    complete(database)?;
    let sql = "SELECT f.handed FROM main.tributary_feed AS f WHERE f.id = ?1";
    let found = rows(database, sql, &[Value::Text(object.to_owned())], |row| int(row, 0))?;
    // What was handed over stays so, wherever the numbers are.
    let handed = found.into_iter().flatten().next().unwrap_or_default();
    hand_over(database, object, last_seq(database)?.max(handed))?;
    database.run("DELETE FROM main.tributary_changes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_go_on_are_read_back() {
        let stand = Stand { place: Place { history: 7, seq: 300 }, drawn: -5 };
        assert_eq!(Stand::read(&stand.resume()), Some(stand));
        for bytes in [&[][..], &[0; 16], &[0; 23], &[0; 25]] {
            assert_eq!(Stand::read(&Resume(bytes.to_vec())), None, "{bytes:?}");
        }
    }

    #[test]
    fn sums_of_many_cells_are_not_deep() {
        let cells: Vec<String> = (0..1_800).map(|place| cell("NEW", &format!("c{place}"))).collect();
        let sum = bytes(&cells);
        assert_eq!(sum.matches("typeof(").count(), cells.len());
        let mut depth = (0_usize, 0_usize);
        for character in sum.chars() {
            match character {
                '(' => depth.0 += 1,
                ')' => depth.0 -= 1,
                _ => {}
            }
            depth.1 = depth.1.max(depth.0);
        }
        assert!(depth.0 == 0 && depth.1 < 20, "{depth:?}");
        assert_eq!(bytes(&[]), "0");
        let one = "CASE typeof(NEW.\"c0\") WHEN 'blob' THEN length(NEW.\"c0\") \
                   WHEN 'text' THEN length(CAST(NEW.\"c0\" AS BLOB)) WHEN 'null' THEN 0 ELSE 8 END";
        assert_eq!(bytes(&cells[..1]), one);
    }
}
