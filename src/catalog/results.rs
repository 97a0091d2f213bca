//! Of which queries clients have asked that their results are kept: by name (`CREATE CACHE`), and by tables
//! (`ALTER TABLE … SET (tributary.cached_results)`).
//!
//! It outlives the process: a change is on disk before it counts. Whether the result of such a query can be kept is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::discover::Catalog;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// Most queries, and most tables.
const KEPT_MAX: usize = 1_000;
/// Most bytes of all queries together: all of them are written for each change.
const QUERY_BYTES_MAX: usize = 4 << 20;

/// A query whose result is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptQuery {
    /// What it is called.
    pub name: String,
    /// Its text, as the parser writes it.
    pub sql: String,
    /// The relations that its names stand for: schemas and names.
    pub relations: BTreeSet<(String, String)>,
    /// The role that has made it.
    pub owner: String,
}

/// A table the results of whose queries are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptTable {
    /// Its store.
    pub store: String,
    /// The table as the store calls it.
    pub table: TableId,
}

/// What is kept of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRules {
    /// The queries.
    pub queries: Vec<KeptQuery>,
    /// The tables.
    pub tables: Vec<KeptTable>,
}

/// Of which queries results are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultRules {
    queries: BTreeMap<String, Arc<KeptQuery>>,
    /// Names by texts; several queries may be written alike.
    by_text: BTreeMap<String, Vec<String>>,
    tables: BTreeSet<(StoreName, TableId)>,
}

impl ResultRules {
    /// What was kept.
    pub fn of(kept: KeptRules) -> Self {
        let mut rules = Self::default();
        kept.queries.into_iter().for_each(|query| rules.add(query));
        rules.tables.extend(kept.tables.into_iter().map(|kept| (StoreName::new(&kept.store), kept.table)));
        rules
    }

    fn add(&mut self, query: KeptQuery) {
        self.by_text.entry(query.sql.clone()).or_default().push(query.name.clone());
        self.queries.insert(query.name.clone(), Arc::new(query));
    }

    fn listed(&self) -> KeptRules {
        let table = |(store, table): &(StoreName, TableId)| KeptTable { store: store.to_string(), table: table.clone() };
        KeptRules {
            queries: self.queries.values().map(|query| KeptQuery::clone(query)).collect(),
            tables: self.tables.iter().map(table).collect(),
        }
    }

    /// Whether no results are kept.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.tables.is_empty()
    }

    /// Whether any are kept by their tables.
    pub fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Whether the results of a table's queries are kept.
    pub fn has_table(&self, store: &StoreName, table: &TableId) -> bool {
        self.tables.contains(&(store.clone(), table.clone()))
    }

    /// The queries, by their names.
    pub fn queries(&self) -> impl Iterator<Item = &Arc<KeptQuery>> {
        self.queries.values()
    }

    /// Those with this text.
    pub fn with_text<'r>(&'r self, sql: &str) -> impl Iterator<Item = &'r Arc<KeptQuery>> {
        let names = self.by_text.get(sql).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(move |name| self.queries.get(name))
    }
}

/// Writes all that is kept to where it outlives the process. Waits for the disk.
pub type KeepRules = Arc<dyn Fn(&KeptRules) -> Result<(), Diagnosis> + Send + Sync>;

/// A change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// `CREATE CACHE`
    Create {
        /// The query.
        query: KeptQuery,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
    },
    /// `DROP CACHE`
    Drop(String),
    /// `ALTER TABLE … SET (tributary.cached_results = …)`
    Table {
        /// Its store.
        store: StoreName,
        /// The table.
        table: TableId,
        /// Whether results are kept.
        wanted: bool,
    },
}

/// Of which queries results are kept, with the means to keep that.
#[derive(Default)]
pub(super) struct Kept {
    rules: ArcSwap<ResultRules>,
    keep: OnceLock<KeepRules>,
    /// One change at a time: the later one is written over the earlier.
    turn: Mutex<()>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("rules", &self.rules.load_full()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Takes over what clients have asked of an earlier process, and the means to keep it. Done once, at the start.
    pub fn keep_results(&self, kept: KeptRules, keep: KeepRules) {
        self.results.rules.store(Arc::new(ResultRules::of(kept)));
        // Who comes second changes nothing.
        let _ = self.results.keep.set(keep);
    }

    /// Of which queries results are kept now.
    pub fn result_rules(&self) -> Arc<ResultRules> {
        self.results.rules.load_full()
    }

    /// Changes it: it is on disk when this returns. `false`: it was so already. Waits for the disk.
    ///
    /// # Errors
    /// 42710 for a name that is taken, 42704 for one that is not there, 54000 for too much, 0A000 where nothing is kept, what the disk said.
    /// Nothing has changed then.
    pub fn change_results(&self, change: RuleChange) -> Result<bool, Diagnosis> {
        let Kept { rules, keep, turn } = &self.results;
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = keep
            .get()
            .ok_or_else(|| Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "this server does not keep which results are cached"))?;
        let before = rules.load_full();
        let mut next = ResultRules::clone(&before);
        match change {
            RuleChange::Create { query, if_not_exists } => {
                if next.queries.contains_key(&query.name) {
                    if if_not_exists {
                        return Ok(false);
                    }
                    let message = format!("cache \"{}\" already exists", query.name);
                    return Err(Diagnosis::new(sqlstate::DUPLICATE_OBJECT, message));
                }
                next.add(query);
            }
            RuleChange::Drop(name) => {
                if next.queries.remove(&name).is_none() {
                    return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("cache \"{name}\" does not exist")));
                }
                next = ResultRules::of(next.listed());
            }
            RuleChange::Table { store, table, wanted: true } => drop(next.tables.replace((store, table))),
            RuleChange::Table { store, table, wanted: false } => drop(next.tables.take(&(store, table))),
        }
        if next == *before {
            return Ok(false);
        }
        let bytes: usize = next.queries.values().map(|query| query.sql.len()).sum();
        if next.queries.len() > KEPT_MAX || next.tables.len() > KEPT_MAX || bytes > QUERY_BYTES_MAX {
            let message = format!(
                "results cannot be kept of more than {KEPT_MAX} queries, of more than {KEPT_MAX} tables, or of longer queries"
            );
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        keep(&next.listed())?;
        rules.store(Arc::new(next));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Known;

    fn query(name: &str, sql: &str) -> KeptQuery {
        let relations = [("shop".to_owned(), "orders".to_owned())].into_iter().collect();
        KeptQuery { name: name.to_owned(), sql: sql.to_owned(), relations, owner: "ann".to_owned() }
    }

    fn create(name: &str, sql: &str) -> RuleChange {
        RuleChange::Create { query: query(name, sql), if_not_exists: false }
    }

    fn table(wanted: bool) -> RuleChange {
        let table = TableId { namespace: "main".to_owned(), name: "orders".to_owned() };
        RuleChange::Table { store: StoreName::new("shop"), table, wanted }
    }

    /// A catalog of nothing, and what it has written.
    fn catalog() -> (Catalog, Arc<Mutex<Vec<KeptRules>>>) {
        let catalog = Catalog::of_known("tributary", (Vec::new(), Known::new()), Vec::new(), Vec::new()).unwrap();
        let written: Arc<Mutex<Vec<KeptRules>>> = Arc::default();
        let to = Arc::clone(&written);
        let keep: KeepRules = Arc::new(move |rules| {
            if rules.queries.iter().any(|query| query.name == "unwritable") {
                return Err(Diagnosis::new(sqlstate::SYSTEM_ERROR, "the disk is full"));
            }
            to.lock().unwrap().push(rules.clone());
            Ok(())
        });
        catalog.keep_results(KeptRules::default(), keep);
        (catalog, written)
    }

    #[test]
    fn queries_and_tables_come_and_go_and_are_written_before_they_count() {
        let (catalog, written) = catalog();
        assert!(catalog.result_rules().is_empty());
        assert!(catalog.change_results(create("a", "SELECT 1")).unwrap());
        assert!(catalog.change_results(create("b", "SELECT 1")).unwrap());
        assert!(catalog.change_results(table(true)).unwrap());
        let code = |change: RuleChange| catalog.change_results(change).unwrap_err().sqlstate;
        assert_eq!(code(create("a", "SELECT 2")), "42710");
        assert_eq!(code(RuleChange::Drop("c".to_owned())), "42704");
        assert_eq!(code(create("unwritable", "SELECT 3")), "58000");
        assert_eq!(code(create("long", &" ".repeat(QUERY_BYTES_MAX + 1))), "54000");
        assert!(!catalog.change_results(RuleChange::Create { query: query("a", "SELECT 2"), if_not_exists: true }).unwrap());
        assert!(!catalog.change_results(table(true)).unwrap(), "it was so already");
        let rules = catalog.result_rules();
        assert_eq!(rules.with_text("SELECT 1").map(|query| query.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(rules.with_text("SELECT 3").count(), 0);
        assert!(catalog.change_results(RuleChange::Drop("a".to_owned())).unwrap());
        assert!(catalog.change_results(table(false)).unwrap());
        let rules = catalog.result_rules();
        assert_eq!(rules.with_text("SELECT 1").map(|query| query.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(!rules.has_tables());
        let written = written.lock().unwrap();
        assert_eq!(written.len(), 5);
        assert_eq!(ResultRules::of(written.last().unwrap().clone()), *rules, "what is written is what is read again");
    }
}
