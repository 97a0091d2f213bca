//! What the file says of its table of changes: whose it is, and whether it still has all that was not read.

use super::super::super::capture::Ended;
use super::super::super::value::Value;
use super::super::own::{first, one};
use super::super::scan::{Database, Failure, Statement};
use super::triggers::{int, rows, text};

/// What goes wrong in a look.
pub(super) enum Trouble {
    Store(Failure),
    Ended(Ended),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

/// The number that moves with every commit of somebody else. Its statement is prepared once, because every look steps it.
pub(super) struct Counter<'open> {
    database: &'open Database<'open>,
    statement: Option<Statement<'open>>,
}

impl<'open> Counter<'open> {
    pub(super) fn new(database: &'open Database<'open>) -> Self {
        Self { database, statement: None }
    }

    pub(super) fn read(&mut self) -> Result<Option<i64>, Failure> {
        let statement = match &mut self.statement {
            Some(statement) => statement,
            empty => empty.insert(self.database.prepare("PRAGMA main.data_version")?),
        };
        let found = one(statement);
        // It holds the file until then.
        statement.reset();
        Ok(found?.and_then(|text| text.parse().ok()))
    }
}

/// What is known of the table of changes.
pub(super) struct Head {
    pub(super) uuid: String,
    pub(super) handed: i64,
    pub(super) is_overflowed: bool,
    /// The first row that is there.
    pub(super) first: Option<i64>,
    pub(super) last: i64,
}

/// Whether the table of changes still has all that lies behind a row.
pub(super) fn follows(head: &Head, seq: i64) -> Result<(), Trouble> {
    let reason = if head.is_overflowed {
        "more was written than the file keeps for us (changes.max_retained, and no row of 900 MB)"
    } else if head.first.is_some_and(|first| first <= head.handed) {
        // Of what was removed no row is left, and no number is given twice while SQLite counts them.
        "the numbers of changes began anew: somebody has reset sqlite_sequence"
    } else if head.handed > seq {
        "changes that were not read yet have been removed"
    } else if head.last < seq {
        "the file is in an older state than it was"
    } else {
        return Ok(());
    };
    Err(Trouble::Ended(Ended::Lost(reason.to_owned())))
}

/// What is known of the table of changes; `None`: the owner has no line there.
pub(super) fn head(database: &Database<'_>, object: &str) -> Result<Option<Head>, Failure> {
    let sql = "SELECT f.uuid, f.handed, f.overflowed, (SELECT max(c.seq) FROM main.tributary_changes AS c), \
               (SELECT min(c.seq) FROM main.tributary_changes AS c) FROM main.tributary_feed AS f WHERE f.id = ?1";
    let found = rows(database, sql, &[Value::Text(object.to_owned())], |row| {
        let handed = int(row, 1)?.unwrap_or_default();
        Ok(Head {
            uuid: text(row, 0)?.unwrap_or_default(),
            handed,
            is_overflowed: int(row, 2)? != Some(0),
            first: int(row, 4)?,
            // Where all were removed, the last one of those.
            last: int(row, 3)?.unwrap_or(handed),
        })
    })?;
    Ok(found.into_iter().next())
}

/// Somebody else who follows the file.
pub(super) fn stranger(database: &Database<'_>, object: &str) -> Result<Option<String>, Failure> {
    let sql = "SELECT f.id FROM main.tributary_feed AS f WHERE f.id LIKE 'tributary!_%' ESCAPE '!' AND f.id <> ?1 LIMIT 1";
    first(database, sql, &[Value::Text(object.to_owned())])
}

/// Why a file that somebody else follows is not followed, and what frees it.
pub(super) fn of_another(id: &str) -> (String, String) {
    let quoted = id.replace('\'', "''");
    (
        format!("another instance follows the file, as {id}, and one alone can"),
        format!("Where that instance is gone: DELETE FROM tributary_feed WHERE id = '{quoted}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_with_a_hole_is_not_gone_on_with() {
        let begins = |first, handed, last, is_overflowed| Head { uuid: String::new(), handed, is_overflowed, first, last };
        let head =
            |handed: i64, last: i64, is_overflowed| begins((last > handed).then_some(handed + 1), handed, last, is_overflowed);
        let is_lost = |head: &Head, seq| matches!(follows(head, seq), Err(Trouble::Ended(Ended::Lost(_))));
        assert!(!is_lost(&head(3, 9, false), 3) && !is_lost(&head(3, 9, false), 9));
        assert!(is_lost(&head(4, 9, false), 3), "rows were removed");
        assert!(is_lost(&head(3, 9, false), 10), "an older state");
        assert!(is_lost(&head(3, 9, true), 5), "too much was written");
        assert!(!is_lost(&head(3, 3, false), 3) && !is_lost(&begins(Some(7), 3, 9, false), 3));
        for first in [1, 3] {
            assert!(is_lost(&begins(Some(first), 3, 5, false), 3), "row {first} has a number that was given before");
        }
    }

    #[test]
    fn what_frees_the_file_is_said() {
        assert!(of_another("tributary_o'x").1.ends_with("id = 'tributary_o''x'"));
    }
}
