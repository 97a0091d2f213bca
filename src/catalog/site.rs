//! Where a store has refused a row, in the names that clients know: a store tells its own names, and a schema of it has another one here.

use super::snapshot::{Schema, Snapshot};
use crate::error::{Diagnosis, Site};

impl Snapshot {
    /// The error with the schema that its table has for clients; without one where that is not known.
    pub fn placed(&self, mut error: Diagnosis) -> Diagnosis {
        if let Some(site) = error.site.as_deref_mut()
            && let Some(store) = site.store.take()
        {
            site.schema = self.shown(&store, site);
        }
        error
    }

    /// The schema that the table of a store is in, by the store's name of it, or else by that of the table alone.
    fn shown(&self, store: &str, site: &Site) -> Option<String> {
        let is_meant = |schema: &&Schema| match (&site.schema, &site.table) {
            (Some(namespace), _) => schema.namespace == *namespace,
            (None, Some(table)) => schema.relations.contains_key(table),
            (None, None) => false,
        };
        let of_store = self.schemas.values().filter(|schema| schema.store.as_ref().is_some_and(|owner| owner.as_str() == store));
        let mut meant = of_store.filter(is_meant);
        let first = meant.next()?;
        // Tables of one name say nothing of their schema.
        meant.next().is_none().then(|| first.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::object::Objects;
    use super::super::snapshot::{Relation, RelationBody};
    use super::*;
    use crate::stores::StoreName;

    fn schema(name: &str, store: &str, namespace: &str, tables: &[&str]) -> (String, Schema) {
        let relation = |table: &&str| {
            let body = RelationBody::View { sql: String::new(), columns: Vec::new(), kept: None };
            let relation = Relation { oid: 1, schema: name.to_owned(), name: (*table).to_owned(), body };
            ((*table).to_owned(), Arc::new(relation))
        };
        let schema = Schema {
            name: name.to_owned(),
            oid: 1,
            store: Some(StoreName::new(store)),
            namespace: namespace.to_owned(),
            relations: tables.iter().map(relation).collect(),
            unavailable: None,
        };
        (name.to_owned(), schema)
    }

    fn snapshot() -> Snapshot {
        let schemas = BTreeMap::from([
            schema("shop", "shop", "public", &["t", "u"]),
            schema("shop_audit", "shop", "audit", &["t"]),
            schema("crm", "old", "public", &["t"]),
        ]);
        Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas,
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: tokio_util::sync::CancellationToken::new(),
        }
    }

    #[test]
    fn schemas_are_told_as_clients_see_them() {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        for (store, schema, table, expected) in [
            ("shop", "public", "t", Some("shop")),
            ("shop", "audit", "t", Some("shop_audit")),
            ("shop", "hidden", "t", None),
            ("shop", "", "u", Some("shop")),
            ("shop", "", "t", None),
            ("shop", "", "", None),
            ("old", "public", "t", Some("crm")),
            ("old", "", "t", Some("crm")),
            ("gone", "public", "t", None),
            // Names that are told already stay.
            ("", "public", "t", Some("public")),
        ] {
            let site = Site { store: named(store), schema: named(schema), table: named(table), ..Site::default() };
            let placed = snapshot().placed(Diagnosis::new("23505", "no").with_site(site));
            let site = placed.site.unwrap_or_default();
            assert_eq!((site.store, site.schema.as_deref()), (None, expected), "{store}.{schema}.{table}");
            assert_eq!(site.table, named(table));
        }
    }
}
