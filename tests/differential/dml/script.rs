//! Statements of one topic, which build upon one another, as a file has them.
//!
//! ```text
//! -- over: shop, crm                      the topic runs over these stores only (at the top)
//! INSERT INTO target.things …             `target` is the store that is written to, `other` the one after it
//! [shop, crm] UPDATE target.pairs …       over these stores only
//! -- refused by field: why                the next statement is 0A000 over these stores, and changes nothing
//! DELETE … WHERE _id = $1 <- 5            binds a parameter (`\N` is NULL); ⏎ is a line break
//! COPY … FROM STDIN <<< 1⇥a⏎2⇥b⏎          sends rows; ⇥ is a tabulator
//! ```
//!
//! A topic of `two/` runs over pairs of stores, `target` and `other`, and writes to both; it calls them `shop+crm` and so on.

use std::path::Path;

use super::tables::{STORES, TABLES, Table};

/// A file.
pub struct Topic {
    pub name: String,
    /// Whether a seed has made it: a store may refuse what it lacks then.
    pub made: bool,
    pub steps: Vec<Step>,
}

/// A statement.
pub struct Step {
    /// As the file has it.
    pub line: String,
    pub parameters: Vec<Option<String>>,
    /// What a COPY is sent.
    pub rows: Option<String>,
    sql: String,
    over: Vec<usize>,
    refused: Vec<usize>,
}

impl Topic {
    /// Reads a file about places of these names.
    pub fn read(path: &Path, places: &[&str]) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse_over(path.file_stem().unwrap().to_str().unwrap(), &text, places)
    }

    /// Reads a file's content, about single stores.
    pub fn parse(name: &str, text: &str) -> Self {
        Self::parse_over(name, text, &STORES)
    }

    fn parse_over(name: &str, text: &str, places: &[&str]) -> Self {
        let mut over: Vec<usize> = (0..places.len()).collect();
        let (mut refused, mut steps) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if let Some(names) = line.strip_prefix("-- over:") {
                over = named(names, places);
            } else if let Some(told) = line.strip_prefix("-- refused by ") {
                let (names, reason) = told.split_once(':').unwrap_or_else(|| panic!("{name}: no reason in {line}"));
                assert!(!reason.trim().is_empty(), "{name}: no reason in {line}");
                refused = named(names, places);
            } else if !line.is_empty() && !line.starts_with("--") {
                steps.push(Step::parse(name, line, (places, &over), std::mem::take(&mut refused)));
            }
        }
        assert!(refused.is_empty(), "{name}: a refusal without a statement");
        Self { name: name.to_owned(), made: false, steps }
    }
}

impl Step {
    fn parse(topic: &str, line: &str, (places, over): (&[&str], &[usize]), refused: Vec<usize>) -> Self {
        let (only, statement) = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((names, statement)) => (named(names, places), statement),
            None => (over.to_vec(), line),
        };
        let (statement, rows) = match statement.split_once(" <<< ") {
            Some((statement, rows)) => (statement, Some(rows.replace('⏎', "\n").replace('⇥', "\t"))),
            None => (statement, None),
        };
        let query = super::super::query(topic, statement);
        assert!(only.iter().all(|store| over.contains(store)), "{topic}: {line}");
        Self { line: line.to_owned(), parameters: query.parameters, rows, sql: query.sql, over: only, refused }
    }

    /// Whether it runs over the place of this number.
    pub fn is_over(&self, place: usize) -> bool {
        self.over.contains(&place)
    }

    /// Whether it is refused there.
    pub fn is_refused(&self, place: usize) -> bool {
        self.refused.contains(&place)
    }

    /// Its text over a store, and the one after it or another.
    pub fn sql(&self, store: usize, second: Option<usize>) -> String {
        let other = STORES[second.unwrap_or((store + 1) % STORES.len())];
        self.sql.replace("target.", &format!("{}.", STORES[store])).replace("other.", &format!("{other}."))
    }

    /// The tables that it may write to, each with 0 for `target` and 1 for `other`. What it defines itself is none of them.
    pub fn tables(&self) -> Vec<(usize, &'static Table)> {
        let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
        let mut found = Vec::new();
        for (side, schema) in ["target.", "other."].into_iter().enumerate() {
            for name in self.sql.split(schema).skip(1).map(word) {
                found.extend(TABLES.iter().find(|table| table.name == name).map(|table| (side, table)));
            }
        }
        found
    }
}

/// Numbers of places by name.
fn named(names: &str, places: &[&str]) -> Vec<usize> {
    let place = |name: &str| places.iter().position(|known| *known == name).unwrap_or_else(|| panic!("there is no store {name}"));
    names.split(',').map(|name| place(name.trim())).collect()
}

#[test]
fn topics_are_read() {
    let text = "-- a comment\n-- over: shop, crm, field\nDELETE FROM target.things WHERE _id = $1 <- 5\n\n\
                COPY target.people FROM STDIN <<< 1⇥a⏎\\N⇥b⏎\n\
                -- refused by field: it has none\n[shop, field] INSERT INTO target.people SELECT * FROM other.people\n";
    let topic = Topic::parse("t", text);
    assert_eq!((topic.name.as_str(), topic.steps.len()), ("t", 3));
    let [first, copy, second] = &topic.steps[..] else { panic!("three steps") };
    assert_eq!((copy.sql(3, None).as_str(), copy.rows.as_deref()), ("COPY field.people FROM STDIN", Some("1\ta\n\\N\tb\n")));
    assert_eq!(first.rows, None);
    assert_eq!((first.sql(1, None).as_str(), first.parameters.len()), ("DELETE FROM crm.things WHERE _id = $1", 1));
    assert_eq!([0, 1, 2, 3].map(|store| first.is_over(store)), [true, true, false, true]);
    assert_eq!([0, 1, 2, 3].map(|store| second.is_over(store)), [true, false, false, true]);
    assert_eq!([0, 3].map(|store| second.is_refused(store)), [false, true]);
    assert!(!first.is_refused(3));
    assert_eq!(second.sql(3, None), "INSERT INTO field.people SELECT * FROM shop.people");
    assert_eq!(second.sql(0, Some(2)), "INSERT INTO shop.people SELECT * FROM archive.people");
    let tables = |step: &Step| step.tables().into_iter().map(|(side, table)| (side, table.name)).collect::<Vec<_>>();
    assert_eq!(tables(second), [(0, "people"), (1, "people")]);
    let pairs =
        Topic::parse_over("t", "[a+b] DROP TABLE target.made\n-- refused by b+c: why\nDELETE FROM other.pairs\n", &["a+b", "b+c"]);
    let [first, second] = &pairs.steps[..] else { panic!("two steps") };
    assert_eq!((first.is_over(0), first.is_over(1), second.is_refused(0), second.is_refused(1)), (true, false, false, true));
    assert_eq!((tables(first), tables(second)), (vec![], vec![(1, "pairs")]));
}
