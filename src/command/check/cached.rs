//! What `tributary check` tells of copies: which tables would be cached, as files and clients have asked for it, and what keeps the others
//! from it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::changes::{Looked, named};
use super::{Found, is_served, problem};
use crate::cache::version;
use crate::catalog::cached::Asked;
use crate::command::print::{Align, table};
use crate::config::StoreConfig;
use crate::server;
use crate::stores::Table;
use crate::stores::capture::{Judged, Survey, TablePattern};

/// A table by the name in its store.
struct Row {
    table: String,
    copy: &'static str,
    reason: String,
    mend: String,
}

/// It would be cached.
const CACHED: &str = "cached";
/// It is read in its store.
const STORE_ONLY: &str = "store-only";
/// Nobody knows.
const UNKNOWN: &str = "unknown";
/// There is nothing to be cached.
const NONE: &str = "none";

/// Tells it of every store that answers. Gives how many problems there are: a table that is kept back is none.
pub(super) fn tell(
    output: &mut dyn Write,
    answers: &[(&StoreConfig, &Found)],
    looked: &[(&StoreConfig, Looked)],
    directory: &Path,
) -> io::Result<usize> {
    let asked = match server::asked_cached(directory) {
        Ok(asked) => asked,
        Err(error) => {
            writeln!(output, "\nproblem: {}", problem(&error))?;
            return Ok(1);
        }
    };
    let mut rows = Vec::new();
    for (store, found) in answers {
        let Ok(schema) = found else { continue };
        let tables: Vec<Arc<Table>> = schema.tables.iter().filter(|table| is_served(store, schema, &table.id)).cloned().collect();
        let looked = looked.iter().find(|(known, _)| known.name == store.name).map(|(_, looked)| looked);
        rows.extend(of_store(store, &tables, looked, &asked).into_iter().map(|row| {
            let Row { table, copy, reason, mend } = row;
            vec![store.name.to_string(), table, copy.to_owned(), reason, mend]
        }));
    }
    if !rows.is_empty() {
        let head = [
            ("copies of", Align::Left),
            ("table", Align::Left),
            ("copy", Align::Left),
            ("reason", Align::Left),
            ("what to do", Align::Left),
        ];
        writeln!(output)?;
        table(output, &head, &rows)?;
    }
    Ok(0)
}

fn of_store(store: &StoreConfig, tables: &[Arc<Table>], looked: Option<&Looked>, asked: &Asked) -> Vec<Row> {
    let (wanted, kept_back) = server::judge_cached(&store.entry, tables, asked);
    let mut rows: Vec<Row> = wanted.iter().map(|table| row(table, looked)).collect();
    rows.extend(kept_back.into_iter().map(|(table, reason)| Row {
        table: named(&table),
        copy: STORE_ONLY,
        reason,
        mend: String::new(),
    }));
    let is_met = |pattern: &&TablePattern| tables.iter().any(|table| pattern.matches(&table.id));
    rows.extend(store.entry.cached.iter().filter(|pattern| !is_met(pattern)).map(|pattern| Row {
        table: pattern.to_string(),
        copy: NONE,
        reason: "no table that is served has this name".to_owned(),
        mend: format!("Look at changes.cached in stores/{}.toml.", store.name),
    }));
    rows
}

/// A table that is wanted, as its feed stands to it.
fn row(table: &Table, looked: Option<&Looked>) -> Row {
    let (copy, reason, mend) = match looked {
        Some(Looked::Surveyed(survey)) => surveyed(table, survey),
        Some(Looked::Unknown(reason)) => (UNKNOWN, reason.clone(), String::new()),
        Some(Looked::Left(_)) | None => (UNKNOWN, "its store has no feed of changes".to_owned(), String::new()),
    };
    Row { table: named(&table.id), copy, reason, mend }
}

fn surveyed(table: &Table, survey: &Survey) -> (&'static str, String, String) {
    if let Some((reason, mend)) = &survey.refused {
        return (STORE_ONLY, reason.clone(), mend.clone());
    }
    match survey.tables.iter().find(|judged| *judged.table() == table.id) {
        Some(Judged::Followed(followed)) => match version::refusal(&followed.table, &followed.shape) {
            Some(reason) => (STORE_ONLY, reason, String::new()),
            None => (CACHED, String::new(), String::new()),
        },
        Some(Judged::StoreOnly { reason, mend, .. }) => (STORE_ONLY, reason.clone(), mend.clone().unwrap_or_default()),
        None => (UNKNOWN, "its store has not told whether it can be followed".to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{shape_of, table_of};
    use crate::stores::capture::Followed;
    use crate::stores::change::Shape;

    fn told(looked: Option<Looked>) -> String {
        let Row { table, copy, reason, mend } = row(&table_of("orders"), looked.as_ref());
        format!("{table}|{copy}|{reason}|{mend}")
    }

    fn surveyed(judged: Judged) -> Option<Looked> {
        Some(Looked::Surveyed(Survey { tables: vec![judged], ..Survey::default() }))
    }

    #[test]
    fn a_table_that_is_followed_and_has_a_key_would_be_cached() {
        let table = table_of("orders");
        let followed = Followed { table: Arc::clone(&table), shape: shape_of("orders") };
        assert_eq!(told(surveyed(Judged::Followed(followed))), "public.orders|cached||");
        let keyless = Followed { shape: Shape::of(&table, Vec::new(), vec![true, true]), table };
        let said = told(surveyed(Judged::Followed(keyless)));
        assert!(said.starts_with("public.orders|store-only|") && said.contains("key"), "{said}");
    }

    #[test]
    fn what_keeps_a_table_from_its_feed_keeps_it_from_a_copy() {
        let refused = Survey { refused: Some(("no log".to_owned(), "Switch it on.".to_owned())), ..Survey::default() };
        assert_eq!(told(Some(Looked::Surveyed(refused))), "public.orders|store-only|no log|Switch it on.");
        let only = Judged::StoreOnly { table: table_of("orders").id.clone(), reason: "it has no key".to_owned(), mend: None };
        assert_eq!(told(surveyed(only)), "public.orders|store-only|it has no key|");
        let silent = "public.orders|unknown|its store has not told whether it can be followed|";
        assert_eq!(told(Some(Looked::Surveyed(Survey::default()))), silent);
        assert_eq!(told(Some(Looked::Unknown("no answer".to_owned()))), "public.orders|unknown|no answer|");
        assert_eq!(told(None), "public.orders|unknown|its store has no feed of changes|");
    }
}
