//! What the tables of a store are called in `tributary.changes`, and of which of them a role is told.
//!
//! A table that is shown is told of to everybody, by its name in SQL. One that is not shown any more has been dropped, renamed, or left
//! out of its store's file: its rows are for superusers then. That it ends there is told to all, since only tables that are shown are
//! followed, and whoever was told of its rows must learn that no more come. Our own tables are nobody's.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::catalog::{RelationBody, Snapshot};
use crate::stores::StoreName;
use crate::stores::commit::is_own_name;
use crate::stores::schema::TableId;

/// The SQL schema and name of a table.
pub(super) type Label = (String, String);

/// The tables of one store, as a role is told of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    shown: HashMap<TableId, Label>,
    /// What the store's own namespaces are called in SQL.
    schemas: HashMap<String, String>,
    sees_all: bool,
}

impl Names {
    /// The names of now. `sees_all`: also the rows of what is not shown any more.
    pub(super) fn of(snapshot: &Snapshot, store: &StoreName, sees_all: bool) -> Self {
        let mut names = Self { sees_all, ..Self::default() };
        for schema in snapshot.schemas.values().filter(|schema| schema.store.as_ref() == Some(store)) {
            names.schemas.insert(schema.namespace.clone(), schema.name.clone());
            for relation in schema.relations.values() {
                if let RelationBody::Stored { table, .. } = &relation.body {
                    names.shown.insert(table.id.clone(), (relation.schema.clone(), relation.name.clone()));
                }
            }
        }
        names
    }

    /// What is said of the table of a row; `None`: the role is not told of it.
    pub(super) fn of_row(&self, table: &TableId) -> Option<Cow<'_, Label>> {
        let shown = self.shown.get(table).map(Cow::Borrowed);
        shown.or_else(|| self.former(table).filter(|_| self.sees_all))
    }

    /// The same of something that is no row: what a table was, and that it ended.
    pub(super) fn of_barrier(&self, table: &TableId) -> Option<Cow<'_, Label>> {
        self.shown.get(table).map(Cow::Borrowed).or_else(|| self.former(table))
    }

    /// What a table that is not shown was called: its schema's name in SQL, or the store's own where that is gone too.
    fn former(&self, table: &TableId) -> Option<Cow<'_, Label>> {
        if is_own_name(&table.name) {
            return None;
        }
        let schema = self.schemas.get(&table.namespace).unwrap_or(&table.namespace);
        Some(Cow::Owned((schema.clone(), table.name.clone())))
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The names of a store with these tables, shown in the schema `shop`.
    pub(in super::super) fn names(shown: &[(TableId, &str)], schemas: &[(&str, &str)], sees_all: bool) -> Names {
        let labels = shown.iter().map(|(table, name)| (table.clone(), ("shop".to_owned(), (*name).to_owned())));
        let schemas = schemas.iter().map(|(namespace, schema)| ((*namespace).to_owned(), (*schema).to_owned()));
        Names { shown: labels.collect(), schemas: schemas.collect(), sees_all }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::catalog::Relation;
    use crate::catalog::object::Objects;
    use crate::catalog::snapshot::Schema;
    use crate::stores::Table;

    fn id(namespace: &str, name: &str) -> TableId {
        TableId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn schema(name: &str, store: &str, namespace: &str, table: &str) -> (String, Schema) {
        let stored = Arc::new(Table::plain(namespace, table, Vec::new()));
        let body = RelationBody::Stored { store: StoreName::new(store), table: stored };
        let relation = Relation { oid: 1, schema: name.to_owned(), name: table.to_owned(), body };
        let schema = Schema {
            name: name.to_owned(),
            oid: 1,
            store: Some(StoreName::new(store)),
            namespace: namespace.to_owned(),
            relations: BTreeMap::from([(table.to_owned(), Arc::new(relation))]),
            unavailable: None,
        };
        (name.to_owned(), schema)
    }

    fn names(sees_all: bool) -> Names {
        let snapshot = Snapshot {
            version: 1,
            database: String::new(),
            schemas: BTreeMap::from([schema("goods", "shop", "main", "orders"), schema("crm", "crm", "main", "people")]),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        };
        Names::of(&snapshot, &StoreName::new("shop"), sees_all)
    }

    fn told(label: Option<Cow<'_, Label>>) -> Option<String> {
        label.map(|label| format!("{}.{}", label.0, label.1))
    }

    #[test]
    fn rows_of_what_is_gone_are_for_superusers_and_its_end_is_for_all() {
        let gone = [
            (id("main", "notes"), "goods.notes"),
            // Another store's, which this one has had too.
            (id("main", "people"), "goods.people"),
            // Its schema is gone as well.
            (id("audit", "entries"), "audit.entries"),
        ];
        for sees_all in [false, true] {
            let names = names(sees_all);
            assert_eq!(told(names.of_row(&id("main", "orders"))).as_deref(), Some("goods.orders"));
            assert_eq!(told(names.of_barrier(&id("main", "orders"))).as_deref(), Some("goods.orders"));
            for (table, expected) in &gone {
                assert_eq!(told(names.of_row(table)).as_deref(), sees_all.then_some(*expected), "{table:?}");
                assert_eq!(told(names.of_barrier(table)).as_deref(), Some(*expected), "{table:?}");
            }
            let own = id("main", "tributary_outbox");
            assert_eq!((told(names.of_row(&own)), told(names.of_barrier(&own))), (None, None));
        }
    }
}
