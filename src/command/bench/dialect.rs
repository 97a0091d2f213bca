//! The spellings of PostgreSQL that the bundled queries use and SQLite lacks, as SQLite's own.
//!
//! Not a translator of SQL: days and intervals as literals, `extract(year …)` and `substring(… from … for …)`. What it does not
//! know stays and is refused by SQLite, so a query that needs more is noticed.

/// The same query for SQLite.
pub(super) fn for_sqlite(sql: &str) -> String {
    let sql = calls(sql, "extract(year from ", |inner| format!("cast(strftime('%Y', {inner}) as integer)"));
    let sql = calls(&sql, "substring(", |inner| {
        let parts = inner.split_once(" from ").and_then(|(text, rest)| Some((text, rest.split_once(" for ")?)));
        parts.map_or_else(|| format!("substring({inner})"), |(text, (start, length))| format!("substr({text}, {start}, {length})"))
    });
    days(&sql)
}

/// Replaces every call that starts with `start` by what `written` makes of the text up to its closing parenthesis.
fn calls(sql: &str, start: &str, written: impl Fn(&str) -> String) -> String {
    let mut made = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find(start) {
        let (before, call) = rest.split_at(at);
        let inner = call.get(start.len()..).unwrap_or_default();
        let Some(end) = inner.find(')') else { break };
        made.push_str(before);
        made.push_str(&written(inner.get(..end).unwrap_or_default()));
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    made + rest
}

/// `date '…'` becomes a text, which SQLite keeps days as; with an interval behind it, a call that computes one.
fn days(sql: &str) -> String {
    let mut made = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find("date '") {
        let (before, literal) = rest.split_at(at);
        made.push_str(before);
        let literal = literal.get("date ".len()..).unwrap_or_default();
        let (day, after) = literal.split_at(literal.len().min("'1994-01-01'".len()));
        match moved(after) {
            Some((by, behind)) => {
                made.push_str(&format!("date({day}, '{by}')"));
                rest = behind;
            }
            None => {
                made.push_str(day);
                rest = after;
            }
        }
    }
    made + rest
}

/// Reads ` + interval '3' month` as `+3 month`, with the text behind it.
fn moved(text: &str) -> Option<(String, &str)> {
    let sign = ["+", "-"].into_iter().find(|sign| text.starts_with(&format!(" {sign} interval '")))?;
    let (number, rest) = text.get(" + interval '".len()..)?.split_once("' ")?;
    let end = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    Some((format!("{sign}{number} {unit}"), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_those_of_sqlite() {
        let rows = [
            ("a < date '1994-01-01' and b", "a < '1994-01-01' and b"),
            ("a <= date '1998-12-01' - interval '90' day\ngroup", "a <= date('1998-12-01', '-90 day')\ngroup"),
            ("a < date '1994-01-01' + interval '1' year", "a < date('1994-01-01', '+1 year')"),
            ("extract(year from l_shipdate) as l_year", "cast(strftime('%Y', l_shipdate) as integer) as l_year"),
            ("substring(c_phone from 1 for 2) in ('13')", "substr(c_phone, 1, 2) in ('13')"),
            ("select 'plain'", "select 'plain'"),
        ];
        for (sql, expected) in rows {
            assert_eq!(for_sqlite(sql), expected);
        }
    }
}
