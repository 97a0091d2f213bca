//! Tables that clients have asked to be cached, or not to be: what is kept of that, and how it changes.
//!
//! Store files ask by patterns (`changes.cached`); what is kept here is about single tables, and comes before them. It outlives the process: a
//! change is on disk before it counts. Tables are called as their store calls them, as in the patterns, so that they are the same ones
//! under another SQL schema. Whether a table that is asked for can be cached is not decided here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::discover::Catalog;
use super::snapshot::{RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::capture::TablePattern;
use crate::stores::commit::is_own_name;
use crate::stores::schema::TableId;

/// Most tables of which something is kept: all of them are written for each change.
const KEPT_MAX: usize = 10_000;

/// What is kept of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCached {
    /// Its store.
    pub store: String,
    /// The table as the store calls it.
    pub table: TableId,
    /// Whether it is to be cached.
    pub cached: bool,
}

/// What clients have asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<(StoreName, TableId), bool>);

impl Asked {
    /// What was kept.
    pub fn of(kept: Vec<KeptCached>) -> Self {
        let tables = kept.into_iter().map(|KeptCached { store, table, cached }| ((StoreName::new(&store), table), cached));
        Self(tables.collect())
    }

    /// Whether a table is to be cached, where these patterns are those of its store's file.
    pub fn wants(&self, store: &StoreName, table: &TableId, patterns: &[TablePattern]) -> bool {
        // Nobody reads the tables of ours as often as they change.
        let is_named = || !is_own_name(&table.name) && patterns.iter().any(|pattern| pattern.matches(table));
        self.0.get(&(store.clone(), table.clone())).copied().unwrap_or_else(is_named)
    }

    /// Whether a client has said that a table is not to be cached.
    pub fn refuses(&self, store: &StoreName, table: &TableId) -> bool {
        self.0.get(&(store.clone(), table.clone())) == Some(&false)
    }

    fn listed(&self) -> Vec<KeptCached> {
        let kept = |((store, table), cached): (&(StoreName, TableId), &bool)| KeptCached {
            store: store.to_string(),
            table: table.clone(),
            cached: *cached,
        };
        self.0.iter().map(kept).collect()
    }

    /// Drops what is about tables that their store does not have any more, as far as it can be asked.
    fn forget_gone(&mut self, snapshot: &Snapshot) {
        self.0.retain(|(store, table), _| {
            let mut of_store = snapshot.schemas.values().filter(|schema| schema.store.as_ref() == Some(store)).peekable();
            let is_unknown = of_store.peek().is_none();
            is_unknown
                || of_store.any(|schema| {
                    let is_it =
                        |body: &RelationBody| matches!(body, RelationBody::Stored { table: found, .. } if found.id == *table);
                    schema.unavailable.is_some() || schema.relations.values().any(|relation| is_it(&relation.body))
                })
        });
    }
}

/// Writes all that is kept to where it outlives the process. Waits for the disk.
pub type KeepCached = Arc<dyn Fn(&[KeptCached]) -> Result<(), Diagnosis> + Send + Sync>;

/// Is called behind every change.
pub type TellCached = Arc<dyn Fn() + Send + Sync>;

/// What a client asks of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedChange {
    /// Its store.
    pub store: StoreName,
    /// The table as the store calls it.
    pub table: TableId,
    /// Whether it is to be cached; `None` leaves it to the store's file.
    pub wanted: Option<bool>,
}

/// What clients have asked for, with the means to keep it.
#[derive(Default)]
pub(super) struct CachedTables {
    asked: ArcSwap<Asked>,
    keep: OnceLock<KeepCached>,
    told: OnceLock<TellCached>,
    /// One change at a time: the later one is written over the earlier.
    turn: Mutex<()>,
}

impl fmt::Debug for CachedTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedTables").field("asked", &self.asked.load_full()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Takes over what clients have asked of an earlier process, and the means to keep it. Done once, at the start.
    pub fn keep_cached(&self, kept: Vec<KeptCached>, keep: KeepCached) {
        self.cached.asked.store(Arc::new(Asked::of(kept)));
        // Who comes second changes nothing.
        let _ = self.cached.keep.set(keep);
    }

    /// Has every later change told. Done once, at the start.
    pub fn tell_cached(&self, told: TellCached) {
        let _ = self.cached.told.set(told);
    }

    /// What clients have asked for until now.
    pub fn asked_cached(&self) -> Arc<Asked> {
        self.cached.asked.load_full()
    }

    /// Changes it: it is on disk, and was told of, when this returns. Waits for the disk.
    ///
    /// # Errors
    /// 54000 for too many tables, 0A000 where nothing is kept, what the disk said. Nothing has changed then.
    pub fn change_cached(&self, change: CachedChange) -> Result<(), Diagnosis> {
        self.write_cached(change)?;
        if let Some(told) = self.cached.told.get() {
            told();
        }
        Ok(())
    }

    fn write_cached(&self, change: CachedChange) -> Result<(), Diagnosis> {
        let CachedTables { asked, keep, turn, .. } = &self.cached;
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = keep
            .get()
            .ok_or_else(|| Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "this server does not keep which tables are cached"))?;
        let mut next = Asked::clone(&asked.load());
        let table = (change.store, change.table);
        let before = match change.wanted {
            Some(wanted) => next.0.insert(table, wanted),
            None => next.0.remove(&table),
        };
        if before == change.wanted {
            return Ok(());
        }
        if next.0.len() > KEPT_MAX {
            next.forget_gone(&self.snapshot());
        }
        if next.0.len() > KEPT_MAX {
            let message = format!("tributary.cached cannot be kept of more than {KEPT_MAX} tables");
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Name tables in the file of their store: changes.cached takes patterns."));
        }
        keep(&next.listed())?;
        asked.store(Arc::new(next));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::catalog::Known;

    fn id(name: &str) -> TableId {
        TableId { namespace: "main".to_owned(), name: name.to_owned() }
    }

    fn change(name: &str, wanted: Option<bool>) -> CachedChange {
        CachedChange { store: StoreName::new("shop"), table: id(name), wanted }
    }

    fn kept(name: &str, cached: bool) -> KeptCached {
        KeptCached { store: "shop".to_owned(), table: id(name), cached }
    }

    /// A catalog of nothing, and what it has written.
    fn catalog(before: Vec<KeptCached>) -> (Catalog, Arc<Mutex<Vec<Vec<KeptCached>>>>) {
        let catalog = Catalog::of_known("tributary", (Vec::new(), Known::new()), Vec::new(), Vec::new()).unwrap();
        let written: Arc<Mutex<Vec<Vec<KeptCached>>>> = Arc::default();
        let to = Arc::clone(&written);
        let keep: KeepCached = Arc::new(move |tables| {
            if tables.iter().any(|kept| kept.table.name == "unwritable") {
                return Err(Diagnosis::new(sqlstate::SYSTEM_ERROR, "the disk is full"));
            }
            to.lock().unwrap().push(tables.to_vec());
            Ok(())
        });
        catalog.keep_cached(before, keep);
        (catalog, written)
    }

    fn wants(catalog: &Catalog, name: &str, patterns: &[&str]) -> bool {
        let patterns: Vec<TablePattern> = patterns.iter().map(|text| TablePattern::parse(text).unwrap()).collect();
        catalog.asked_cached().wants(&StoreName::new("shop"), &id(name), &patterns)
    }

    #[test]
    fn what_clients_ask_comes_before_the_file_and_goes_with_reset() {
        let (catalog, written) = catalog(vec![kept("earlier", false)]);
        assert!(!wants(&catalog, "earlier", &["*"]) && wants(&catalog, "other", &["*"]) && !wants(&catalog, "other", &["main.o"]));
        catalog.change_cached(change("orders", Some(true))).unwrap();
        assert!(wants(&catalog, "orders", &[]));
        catalog.change_cached(change("orders", Some(false))).unwrap();
        assert!(!wants(&catalog, "orders", &["orders"]));
        catalog.change_cached(change("orders", None)).unwrap();
        assert!(wants(&catalog, "orders", &["orders"]) && !wants(&catalog, "orders", &[]));
        let expected = vec![
            vec![kept("earlier", false), kept("orders", true)],
            vec![kept("earlier", false), kept("orders", false)],
            vec![kept("earlier", false)],
        ];
        assert_eq!(*written.lock().unwrap(), expected);
        // Of another store nothing was said.
        assert!(!catalog.asked_cached().wants(&StoreName::new("crm"), &id("orders"), &[]));
    }

    #[test]
    fn what_cannot_be_written_does_not_count_and_is_not_told() {
        let (catalog, written) = catalog(Vec::new());
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        catalog.tell_cached(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(catalog.change_cached(change("unwritable", Some(true))).unwrap_err().sqlstate, "58000");
        assert!(!wants(&catalog, "unwritable", &[]));
        assert_eq!((told.load(Ordering::Relaxed), written.lock().unwrap().len()), (0, 0));
        catalog.change_cached(change("orders", Some(true))).unwrap();
        assert_eq!((told.load(Ordering::Relaxed), written.lock().unwrap().len()), (1, 1));
        // The same once more is not written.
        catalog.change_cached(change("orders", Some(true))).unwrap();
        catalog.change_cached(change("other", None)).unwrap();
        assert_eq!(written.lock().unwrap().len(), 1);
    }

    #[test]
    fn patterns_do_not_name_the_tables_of_ours() {
        let (catalog, _) = catalog(Vec::new());
        assert!(!wants(&catalog, "tributary_outbox", &["*"]) && !wants(&catalog, "tributary_outbox", &["tributary_outbox"]));
    }

    #[test]
    fn there_are_only_so_many() {
        let many = (0..KEPT_MAX).map(|number| kept(&format!("t{number}"), true)).collect();
        let (catalog, written) = catalog(many);
        let error = catalog.change_cached(change("one_more", Some(true))).unwrap_err();
        assert_eq!(error.sqlstate, "54000");
        assert!(error.hint.unwrap().contains("changes.cached"));
        catalog.change_cached(change("t0", Some(false))).unwrap();
        catalog.change_cached(change("t1", None)).unwrap();
        catalog.change_cached(change("one_more", Some(true))).unwrap();
        assert_eq!(written.lock().unwrap().last().unwrap().len(), KEPT_MAX);
    }

    #[test]
    fn tables_that_are_gone_make_room() {
        let mut asked = Asked::of(vec![kept("orders", true), kept("gone", true)]);
        let of_crm = KeptCached { store: "crm".to_owned(), ..kept("gone", true) };
        asked.0.extend(Asked::of(vec![of_crm.clone()]).0);
        let table = Arc::new(crate::stores::Table::plain("main", "orders", Vec::new()));
        let body = RelationBody::Stored { store: StoreName::new("shop"), table };
        let relation = crate::catalog::Relation { oid: 1, schema: "shop".to_owned(), name: "orders".to_owned(), body };
        let schema = |unavailable| crate::catalog::Schema {
            name: "shop".to_owned(),
            oid: 1,
            store: Some(StoreName::new("shop")),
            namespace: "main".to_owned(),
            relations: BTreeMap::new(),
            unavailable,
        };
        let (catalog, _) = catalog(Vec::new());
        let snapshot = |schema: crate::catalog::Schema| {
            let base = catalog.snapshot();
            Snapshot {
                version: 1,
                database: String::new(),
                schemas: BTreeMap::from([("shop".to_owned(), schema)]),
                objects: crate::catalog::object::Objects::default(),
                connectors: Arc::default(),
                reach: Arc::clone(&base.reach),
                retired: base.retired.clone(),
            }
        };
        let mut away = asked.clone();
        away.forget_gone(&snapshot(schema(Some(Diagnosis::new("08006", "away")))));
        assert_eq!(away, asked, "of a store that is away nothing is known");
        let mut there = schema(None);
        there.relations.insert("orders".to_owned(), Arc::new(relation));
        asked.forget_gone(&snapshot(there));
        assert_eq!(asked.listed(), [of_crm, kept("orders", true)]);
    }
}
