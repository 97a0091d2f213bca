//! The demo's tables: rows of the files in `catalog/demo`, embedded in the program, and `INSERT` statements of them.
//!
//! Not here: the readings, which are computed (`season.rs`), and the databases that take the rows.

use std::fmt::Write as _;

/// Rows of one `INSERT` statement.
const ROWS_MAX: usize = 500;

/// One table's content.
#[derive(Debug)]
pub(super) struct Rows<T> {
    table: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<T>>,
}

/// `hydro.rivers`
pub(super) fn rivers() -> Rows<&'static str> {
    read("rivers", include_str!("../../../catalog/demo/hydro/rivers.csv"))
}

/// `hydro.stations`
pub(super) fn stations() -> Rows<&'static str> {
    read("stations", include_str!("../../../catalog/demo/hydro/stations.csv"))
}

/// `crew.people`
pub(super) fn people() -> Rows<&'static str> {
    read("people", include_str!("../../../catalog/demo/crew/people.csv"))
}

/// `crew.visits`
pub(super) fn visits() -> Rows<&'static str> {
    read("visits", include_str!("../../../catalog/demo/crew/visits.csv"))
}

/// How much water each kind of river carries in each month, in percent of its mean.
pub(super) fn regimes() -> Rows<&'static str> {
    read("regimes", include_str!("../../../catalog/demo/archive/regimes.csv"))
}

/// `field.reports`: one JSON document to a line.
pub(super) fn reports() -> impl Iterator<Item = &'static str> {
    include_str!("../../../catalog/demo/field/reports.jsonl").lines()
}

/// Reads lines of values between commas, the first line names the columns. The files hold no quoted values, as a test says.
fn read(table: &'static str, text: &'static str) -> Rows<&'static str> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap_or_default();
    Rows { table, columns, rows: lines.collect() }
}

impl<T: AsRef<str>> Rows<T> {
    /// Rows of a table whose content is not in a file.
    pub(super) fn new(table: &'static str, columns: &[&'static str], rows: Vec<Vec<T>>) -> Self {
        Self { table, columns: columns.to_vec(), rows }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, values in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[T]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// `INSERT` statements for all rows. Every value is a quoted literal, which PostgreSQL, MariaDB and SQLite each turn into
    /// the type of the column; a value without characters is NULL.
    pub(super) fn inserts(&self) -> Vec<String> {
        let statement = |rows: &[Vec<T>]| {
            let mut sql = format!("INSERT INTO {} ({}) VALUES", self.table, self.columns.join(", "));
            for (number, row) in rows.iter().enumerate() {
                let values: Vec<String> = row.iter().map(|value| literal(value.as_ref())).collect();
                // Writing to a text cannot fail.
                let _ = write!(sql, "{}\n({})", if number == 0 { "" } else { "," }, values.join(", "));
            }
            sql
        };
        self.rows.chunks(ROWS_MAX).map(statement).collect()
    }
}

fn literal(value: &str) -> String {
    if value.is_empty() { "NULL".to_owned() } else { format!("'{}'", value.replace('\'', "''")) }
}

/// The statements of a schema file, without its comments.
pub(super) fn statements(script: &str) -> Vec<String> {
    let code: Vec<&str> = script.lines().filter(|line| !line.starts_with("--")).collect();
    let parts = code.join("\n");
    parts.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_need_no_quoting_and_have_full_rows() {
        for (rows, least) in [(rivers(), 60), (stations(), 40), (people(), 10), (visits(), 300), (regimes(), 4)] {
            assert!(rows.len() >= least, "{}", rows.table);
            for row in rows.iter() {
                assert_eq!(row.len(), rows.columns.len(), "{} {row:?}", rows.table);
                // A backslash would mean something to MariaDB inside a literal.
                assert!(row.iter().all(|value| !value.contains(['"', '\\']) && value.trim() == *value), "{row:?}");
            }
        }
        assert!(reports().count() >= 150);
        assert!(reports().all(|line| !line.contains('\\') && serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn rivers_flow_into_rivers_that_exist_and_end_in_a_sea() {
        let rivers = rivers();
        for row in rivers.iter() {
            let flows_on = rivers.iter().any(|other| other[0] == row[2]);
            assert!(if row[2].is_empty() { !row[7].is_empty() } else { flows_on && row[7].is_empty() }, "{row:?}");
        }
        for station in stations().iter() {
            assert!(rivers.iter().any(|river| river[0] == station[1]), "{station:?}");
            assert!(regimes().iter().any(|regime| regime[0] == station[6]), "{station:?}");
        }
    }

    #[test]
    fn inserts_quote_values_and_stop_at_a_bounded_number_of_rows() {
        let rows = Rows::new("t", &["a", "b"], vec![vec!["it's", ""]; 501]);
        let inserts = rows.inserts();
        assert_eq!(inserts.len(), 2);
        assert_eq!(inserts[1], "INSERT INTO t (a, b) VALUES\n('it''s', NULL)");
        assert!(inserts[0].ends_with("NULL),\n('it''s', NULL)"));
    }

    #[test]
    fn scripts_are_split_at_semicolons() {
        assert_eq!(statements("-- a; b\nCREATE TABLE t (a int);\n\nSELECT 1\n"), ["CREATE TABLE t (a int)", "SELECT 1"]);
    }
}
