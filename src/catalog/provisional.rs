//! Snapshots for single transactions: the catalog with the tables of some stores as a transaction that has defined something sees them.
//!
//! Their versions are of a range of their own, so that no plan over one is taken for a plan over another. Nothing of them stays: when the
//! transaction is committed its stores are read anew, and an object gets the id then that it has had here, unless others have taken it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::builder::Builder;
use super::discover::Catalog;
use super::entry::StoreEntry;
use super::kept;
use super::object::{self, Objects};
use super::oid::Allocator;
use super::snapshot::{Relation, RelationBody, Schema, Snapshot};
use crate::error::Diagnosis;
use crate::pgtype::PgType;
use crate::stores::{StoreName, StoreSchema};

/// The first version of a snapshot for a single transaction.
const FIRST: u64 = 1 << 62;

impl Snapshot {
    /// Whether it is one for a single transaction.
    pub fn is_provisional(&self) -> bool {
        self.version >= FIRST
    }

    /// The same with other schemas and objects.
    fn with(&self, version: u64, schemas: BTreeMap<String, Schema>, objects: Objects) -> Self {
        Self {
            version,
            database: self.database.clone(),
            schemas,
            objects,
            connectors: Arc::clone(&self.connectors),
            reach: Arc::clone(&self.reach),
            retired: self.retired.clone(),
        }
    }
}

impl Catalog {
    /// A snapshot with the tables of some stores as `own` describes them, and all else as in `base`. The columns of views are told anew.
    ///
    /// # Errors
    /// 42710 when two relations or schemas would have the same name.
    pub fn provisional(
        &self,
        base: &Arc<Snapshot>,
        own: &BTreeMap<StoreName, Arc<StoreSchema>>,
    ) -> Result<Arc<Snapshot>, Diagnosis> {
        let (entries, views, kept, describe, oids) = {
            let sources = self.lock();
            let entry = |store: &StoreName| Some((store.clone(), sources.stores.get(store)?.clone()));
            let entries: Vec<(StoreName, StoreEntry)> = own.keys().filter_map(entry).collect();
            (entries, sources.views.clone(), sources.kept.clone(), sources.describe.clone(), sources.oids.clone())
        };
        let mut builder = Builder { oids: Allocator::resume(oids), schemas: base.schemas.clone() };
        for (store, entry) in &entries {
            let Some(found) = own.get(store) else { continue };
            make_room(&mut builder.schemas, (store, entry), found);
            builder.store(store, entry, found)?;
        }
        let objects = object::derive(&builder.schemas, &mut builder.oids);
        let version = FIRST + self.provisional.fetch_add(1, Ordering::Relaxed);
        let mut schemas = builder.schemas;
        let Some(describe) = describe.filter(|_| has_views(&schemas)) else {
            return Ok(Arc::new(base.with(version, schemas, objects)));
        };
        // Views are planned over one another, and not by the columns that they had.
        let mut bare = schemas.clone();
        tell_columns(&mut bare, |_, _| Vec::new());
        let bare = Arc::new(base.with(version, bare, objects.clone()));
        let (columns, _broken) = kept::describe_all(&views, &kept, &describe, &bare);
        tell_columns(&mut schemas, |schema, name| {
            // One that cannot be planned has none.
            columns.get(&(schema.to_owned(), name.to_owned())).cloned().unwrap_or_default()
        });
        Ok(Arc::new(base.with(version, schemas, objects)))
    }
}

/// Takes what a store has now out of its schemas, and what stands in the place of what it is going to have there.
fn make_room(schemas: &mut BTreeMap<String, Schema>, (store, entry): (&StoreName, &StoreEntry), found: &StoreSchema) {
    let default = found.default_namespace.as_str();
    let place = |namespace: &str| entry.naming.schema_of(store, default, namespace);
    let named = found.tables.iter().filter_map(|table| Some((place(&table.id.namespace)?, table.id.name.as_str())));
    let named: BTreeSet<(String, &str)> = named.collect();
    for Schema { name: schema, relations, unavailable, .. } in
        schemas.values_mut().filter(|schema| schema.store.as_ref() == Some(store))
    {
        *unavailable = None;
        relations.retain(|name, relation| {
            let is_of_store = matches!(&relation.body, RelationBody::Stored { .. });
            !is_of_store && !named.contains(&(schema.clone(), name.as_str()))
        });
    }
}

fn has_views(schemas: &BTreeMap<String, Schema>) -> bool {
    let mut relations = schemas.values().flat_map(|schema| schema.relations.values());
    relations.any(|relation| matches!(relation.body, RelationBody::View { .. }))
}

/// Gives all views other columns, by their schemas and names.
fn tell_columns(schemas: &mut BTreeMap<String, Schema>, columns: impl Fn(&str, &str) -> Vec<(String, PgType)>) {
    for relation in schemas.values_mut().flat_map(|schema| schema.relations.values_mut()) {
        let Relation { oid, schema, name, body } = &**relation;
        let RelationBody::View { sql, kept, .. } = body else { continue };
        let body = RelationBody::View { sql: sql.clone(), columns: columns(schema, name), kept: kept.clone() };
        let told = Relation { oid: *oid, schema: schema.clone(), name: name.clone(), body };
        *relation = Arc::new(told);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::catalog::{Known, Naming, OwnTables, ViewSource};
    use crate::options::Secrets;
    use crate::stores::Table;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from(path)
        }
    }

    fn schema(tables: &[&str]) -> Arc<StoreSchema> {
        let tables = tables.iter().map(|name| Arc::new(Table::plain("main", name, Vec::new()))).collect();
        Arc::new(StoreSchema { default_namespace: "main".to_owned(), tables, ..StoreSchema::default() })
    }

    fn names(snapshot: &Snapshot, schema: &str) -> Vec<String> {
        snapshot.schemas.get(schema).map(|schema| schema.relations.keys().cloned().collect()).unwrap_or_default()
    }

    /// A catalog of a store that does not exist, and of a view.
    fn catalog(tables: &[&str]) -> Catalog {
        let kind = crate::stores::kind("sqlite").unwrap();
        let options = toml::from_str::<toml::Table>("path = 'nowhere.db'").unwrap();
        let store = StoreName::new("shop");
        let connector = kind.parse(&store, "stores.shop", &options, &NoSecrets).unwrap();
        let (naming, own) = (Naming::default(), OwnTables::default());
        let entry =
            StoreEntry { connector, naming, discovery_timeout: Duration::from_secs(1), own, follow: None, cached: Vec::new() };
        let known = Known::from([(store, Ok(schema(tables)))]);
        let views = vec![ViewSource { name: "filed".to_owned(), sql: "SELECT 1".to_owned() }];
        Catalog::of_known("tributary", (vec![entry], known), views, Vec::new()).unwrap()
    }

    fn own(tables: &[&str]) -> BTreeMap<StoreName, Arc<StoreSchema>> {
        BTreeMap::from([(StoreName::new("shop"), schema(tables))])
    }

    #[test]
    fn a_transaction_has_its_own_tables_and_nobody_else() {
        let catalog = catalog(&["a", "b"]);
        let base = catalog.snapshot();
        let first = catalog.provisional(&base, &own(&["a", "c"])).unwrap();
        assert_eq!(names(&first, "shop"), ["a", "c"]);
        assert_eq!(names(&first, "public"), ["filed"]);
        assert_eq!(names(&catalog.snapshot(), "shop"), ["a", "b"]);
        assert!(first.is_provisional() && !base.is_provisional());
        let second = catalog.provisional(&base, &own(&["a", "c"])).unwrap();
        assert_ne!(first.version, second.version);
        let oid = |snapshot: &Snapshot, name: &str| snapshot.schemas["shop"].relations[name].oid;
        assert_eq!((oid(&first, "a"), oid(&first, "c")), (oid(&base, "a"), oid(&second, "c")));
        // As it will be when it is committed.
        assert_eq!(oid(&first, "c"), oid(&self::catalog(&["a", "c"]).snapshot(), "c"));
    }

    #[test]
    fn columns_of_views_are_told_anew() {
        let catalog = catalog(&["a"]);
        let describe = |snapshot: &Arc<Snapshot>, _sql: &str| -> Result<Vec<(String, PgType)>, Diagnosis> {
            let tables = names(snapshot, "shop").into_iter();
            Ok(tables.map(|name| (name, PgType::INT4)).collect())
        };
        catalog.describe_views(Arc::new(describe)).unwrap();
        let columns = |snapshot: &Snapshot| match &snapshot.schemas["public"].relations["filed"].body {
            RelationBody::View { columns, .. } => columns.len(),
            _ => panic!("no view"),
        };
        let base = catalog.snapshot();
        let made = catalog.provisional(&base, &own(&["a", "b", "c"])).unwrap();
        assert_eq!((columns(&base), columns(&made)), (1, 3));
    }
}
