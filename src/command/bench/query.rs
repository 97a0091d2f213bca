//! The bundled queries: TPC-H with its validation parameters, and the federated set. Each is one text for all placements.
//!
//! The first line of a file is the query's title in a comment; comments below it may be `sorted by 1, 2` (positions of the
//! columns that ORDER BY sorts by) and `only in` with the names of placements.

use crate::command::CommandError;

macro_rules! queries {
    ($($set:literal / $name:literal),* $(,)?) => {
        [$(($set, $name, include_str!(concat!("../../../benches/queries/", $set, "/", $name, ".sql")))),*]
    };
}

const BUNDLED: [(&str, &str, &str); 34] = queries![
    "tpch" / "q1",
    "tpch" / "q2",
    "tpch" / "q3",
    "tpch" / "q4",
    "tpch" / "q5",
    "tpch" / "q6",
    "tpch" / "q7",
    "tpch" / "q8",
    "tpch" / "q9",
    "tpch" / "q10",
    "tpch" / "q11",
    "tpch" / "q12",
    "tpch" / "q13",
    "tpch" / "q14",
    "tpch" / "q15",
    "tpch" / "q16",
    "tpch" / "q17",
    "tpch" / "q18",
    "tpch" / "q19",
    "tpch" / "q20",
    "tpch" / "q21",
    "tpch" / "q22",
    "federated" / "f1",
    "federated" / "f2",
    "federated" / "f3",
    "federated" / "f4",
    "federated" / "f5",
    "federated" / "f6",
    "federated" / "f7",
    "federated" / "f8",
    "federated" / "f9",
    "federated" / "f10",
    "federated" / "f11",
    "federated" / "f12",
];

/// Other spellings with the same answer for the reference, where the query's own takes PostgreSQL hours or names what it lacks.
const FOR_POSTGRES: [(&str, &str); 4] = [
    ("q17", include_str!("../../../benches/queries/reference/q17.sql")),
    ("q20", include_str!("../../../benches/queries/reference/q20.sql")),
    ("f11", include_str!("../../../benches/queries/reference/f11.sql")),
    ("f12", include_str!("../../../benches/queries/reference/f12.sql")),
];

/// The same for SQLite, where translating is not enough: names for the columns of a subquery, and sums of decimals, which are
/// floats there (0.06 + 0.01 is less than 0.07).
const FOR_SQLITE: [(&str, &str); 2] = [
    ("q6", include_str!("../../../benches/queries/reference/sqlite/q6.sql")),
    ("q13", include_str!("../../../benches/queries/reference/sqlite/q13.sql")),
];

/// A query as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) sql: String,
    /// Positions of the columns by which the answer is ordered, from 0.
    pub(super) sorted_by: Vec<usize>,
    /// What PostgreSQL is asked for the reference.
    pub(super) for_postgres: String,
    /// The query of its own for SQLite; `None` where the text is translated.
    pub(super) for_sqlite: Option<&'static str>,
    set: &'static str,
    only_in: Vec<String>,
}

/// The queries that `wanted` names (`q1`, `tpch`, `federated`), in their own order; all when it is empty. Those that a placement
/// cannot run are left out.
///
/// # Errors
/// A name that is none.
pub(super) fn queries(wanted: &[String], scale: f64, placement: &str) -> Result<Vec<Query>, CommandError> {
    let all: Vec<Query> = BUNDLED.iter().map(|(set, name, text)| read(set, name, text, scale)).collect();
    let is_meant = |query: &Query, word: &String| word == query.name || word == query.set;
    if let Some(word) = wanted.iter().find(|word| !all.iter().any(|query| is_meant(query, word))) {
        return Err(CommandError::Arguments(format!("there is no query {word}: take q1 to q22, f1 to f12, tpch or federated")));
    }
    let is_wanted = |query: &Query| wanted.is_empty() || wanted.iter().any(|word| is_meant(query, word));
    let runs = |query: &Query| query.only_in.is_empty() || query.only_in.iter().any(|name| name == placement);
    let chosen: Vec<Query> = all.into_iter().filter(|query| is_wanted(query) && runs(query)).collect();
    if chosen.is_empty() {
        return Err(CommandError::Arguments(format!("none of these queries can run in the placement {placement}")));
    }
    Ok(chosen)
}

fn read(set: &'static str, name: &'static str, text: &str, scale: f64) -> Query {
    let comments = text.lines().map_while(|line| line.strip_prefix("-- "));
    let title = comments.clone().next().unwrap_or_default().to_owned();
    let words = |start: &str| -> Vec<String> {
        let rest = comments.clone().find_map(|line| line.strip_prefix(start));
        rest.map(|rest| rest.split(',').map(|word| word.trim().to_owned()).collect()).unwrap_or_default()
    };
    let sorted_by = words("sorted by ").iter().filter_map(|word| word.parse::<usize>().ok()?.checked_sub(1)).collect();
    let only_in = words("only in ");
    let sql: Vec<&str> = text.lines().skip_while(|line| line.starts_with("-- ")).collect();
    // Clause 2.4.11.3: the fraction is 0.0001 divided by the scale.
    let fraction = format!("{:.10}", 0.0001 / scale);
    let sql = sql.join("\n").trim().replace(":fraction", &fraction);
    let other = |list: &[(&str, &'static str)]| list.iter().find(|(of, _)| *of == name).map(|(_, text)| *text);
    let for_postgres = other(&FOR_POSTGRES).map_or_else(|| sql.clone(), str::to_owned);
    Query { name, title, sql, sorted_by, for_postgres, for_sqlite: other(&FOR_SQLITE), set, only_in }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_chosen_by_name_set_and_placement() {
        let names = |wanted: &[&str], placement: &str| -> Vec<&str> {
            let wanted: Vec<String> = wanted.iter().map(|word| (*word).to_owned()).collect();
            queries(&wanted, 1.0, placement).unwrap().iter().map(|query| query.name).collect()
        };
        assert_eq!(names(&["q5", "q1"], "split"), ["q1", "q5"]);
        assert_eq!(names(&["tpch"], "split").len(), 22);
        assert_eq!(names(&[], "split").len(), 32);
        assert_eq!(names(&["federated"], "documents").len(), 12);
        for placement in ["embedded", "postgres", "split", "scattered"] {
            assert_eq!(names(&["federated"], placement).len(), 10, "{placement}: README names the number");
        }
        assert!(queries(&["q23".to_owned()], 1.0, "split").is_err());
        assert!(queries(&["f11".to_owned()], 1.0, "split").is_err());
    }

    #[test]
    fn a_file_is_its_title_its_order_and_its_text() {
        let query = read("tpch", "q1", "-- A title\n-- sorted by 2, 1\n-- only in a, b\nselect :fraction\n", 0.5);
        assert_eq!((query.title.as_str(), query.sql.as_str()), ("A title", "select 0.0002000000"));
        assert_eq!((query.sorted_by, query.only_in), (vec![1, 0], vec!["a".to_owned(), "b".to_owned()]));
        for query in queries(&[], 1.0, "documents").unwrap() {
            assert!(!query.title.is_empty() && !query.sql.contains("--") && !query.sql.contains(':'), "{}", query.name);
        }
    }
}
