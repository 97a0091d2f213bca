//! What SQLite knows of the values of columns: what `ANALYZE` left behind, and the ends of the rowid.

use super::super::super::relational::Dialect;
use super::super::super::schema::Column;
use super::super::super::value::Value;
use super::super::scan::{Database, Failure};
use super::{rows, texts};

/// Reads how many different values the first column of each index has. A line of `sqlite_stat1` is the number of rows, then the
/// average number of rows that agree in the first column, in the first two, … (manual, "The sqlite_stat1 table").
pub(super) fn read(database: &Database<'_>, table: &str, columns: &mut [Column], has_statistics: bool) -> Result<(), Failure> {
    if !has_statistics {
        return Ok(());
    }
    let sql = "SELECT idx, stat FROM main.sqlite_stat1 WHERE tbl = ?1 AND idx IS NOT NULL AND stat IS NOT NULL";
    let lines = rows(database, sql, &[Value::Text(table.to_owned())], |row| {
        Ok((row.text(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default()))
    })?;
    for (index, line) in lines {
        let Some(distinct) = distinct(&line) else { continue };
        let sql = "SELECT name FROM pragma_index_xinfo(?1, 'main') WHERE key = 1 AND seqno = 0";
        let Some(name) = texts(database, sql, &[Value::Text(index)])?.into_iter().flatten().next() else { continue };
        if let Some(column) = columns.iter_mut().find(|column| column.name().eq_ignore_ascii_case(&name)) {
            column.statistics.distinct = column.statistics.distinct.max(Some(distinct));
        }
    }
    Ok(())
}

/// The number of different values in the first column of an index.
fn distinct(line: &str) -> Option<u64> {
    let mut numbers = line.split(' ').map(|word| word.parse::<u64>().ok());
    let (rows, alike) = (numbers.next()??, numbers.next()??);
    Some(rows.div_ceil(alike.max(1)))
}

/// Reads the least and the greatest rowid under the name of its column: both ends of the table's own tree.
pub(super) fn read_range(database: &Database<'_>, table: &str, rowid: &mut Column) -> Result<(), Failure> {
    let (table, column) = (Dialect::Sqlite.quote(table), Dialect::Sqlite.quote(rowid.name()));
    let end = |function: &str| format!("(SELECT {function}(t.{column}) FROM main.{table} AS t)");
    let sql = format!("SELECT {}, {}", end("min"), end("max"));
    let ends = rows(database, &sql, &[], |row| Ok((row.int(0)?, row.int(1)?)))?;
    if let Some((Some(least), Some(greatest))) = ends.into_iter().next() {
        rowid.statistics.range = Value::Int(least).place().zip(Value::Int(greatest).place());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_analyze_tell_how_many_values_there_are() {
        let rows = [
            ("1000 10 1", Some(100)),
            ("1000 1 unordered", Some(1000)),
            ("0 0", Some(0)),
            ("5 2", Some(3)),
            ("1000", None),
            ("", None),
            ("x 1", None),
        ];
        for (line, expected) in rows {
            assert_eq!(distinct(line), expected, "{line}");
        }
    }
}
