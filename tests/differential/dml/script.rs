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

use std::path::Path;

use super::tables::{self, STORES, TABLES, Table};

/// A file.
pub struct Topic {
    pub name: String,
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
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path.file_stem().unwrap().to_str().unwrap(), &text)
    }

    /// Reads a file's content.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut over: Vec<usize> = (0..STORES.len()).collect();
        let (mut refused, mut steps) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if let Some(names) = line.strip_prefix("-- over:") {
                over = stores(names);
            } else if let Some(told) = line.strip_prefix("-- refused by ") {
                let (names, reason) = told.split_once(':').unwrap_or_else(|| panic!("{name}: no reason in {line}"));
                assert!(!reason.trim().is_empty(), "{name}: no reason in {line}");
                refused = stores(names);
            } else if !line.is_empty() && !line.starts_with("--") {
                steps.push(Step::parse(name, line, &over, std::mem::take(&mut refused)));
            }
        }
        assert!(refused.is_empty(), "{name}: a refusal without a statement");
        Self { name: name.to_owned(), steps }
    }
}

impl Step {
    fn parse(topic: &str, line: &str, over: &[usize], refused: Vec<usize>) -> Self {
        let (only, statement) = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((names, statement)) => (stores(names), statement),
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

    /// Whether it runs over a store.
    pub fn is_over(&self, store: usize) -> bool {
        self.over.contains(&store)
    }

    /// Whether a store does not take it.
    pub fn is_refused(&self, store: usize) -> bool {
        self.refused.contains(&store)
    }

    /// Its text over a store.
    pub fn sql(&self, store: usize) -> String {
        let other = STORES[(store + 1) % STORES.len()];
        self.sql.replace("target.", &format!("{}.", STORES[store])).replace("other.", &format!("{other}."))
    }

    /// The tables that it may write to.
    pub fn tables(&self) -> Vec<&'static Table> {
        let word = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
        self.sql.split("target.").skip(1).map(|rest| &TABLES[tables::place(&word(rest))]).collect()
    }
}

/// Places of stores by name.
fn stores(names: &str) -> Vec<usize> {
    let place = |name: &str| STORES.iter().position(|store| *store == name).unwrap_or_else(|| panic!("there is no store {name}"));
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
    assert_eq!((copy.sql(3).as_str(), copy.rows.as_deref()), ("COPY field.people FROM STDIN", Some("1\ta\n\\N\tb\n")));
    assert_eq!(first.rows, None);
    assert_eq!((first.sql(1).as_str(), first.parameters.len()), ("DELETE FROM crm.things WHERE _id = $1", 1));
    assert_eq!([0, 1, 2, 3].map(|store| first.is_over(store)), [true, true, false, true]);
    assert_eq!([0, 1, 2, 3].map(|store| second.is_over(store)), [true, false, false, true]);
    assert_eq!([0, 3].map(|store| second.is_refused(store)), [false, true]);
    assert!(!first.is_refused(3));
    assert_eq!(second.sql(3), "INSERT INTO field.people SELECT * FROM shop.people");
    assert_eq!(second.tables().iter().map(|table| table.name).collect::<Vec<_>>(), ["people"]);
}
