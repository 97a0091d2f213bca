//! Gathers the schemas and relations of the next snapshot, each with its object id.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::discover::{SystemBody, SystemRelation};
use super::entry::StoreEntry;
use super::object;
use super::oid::{Allocator, Oids};
use super::snapshot::{Relation, RelationBody, Schema};
use crate::error::Diagnosis;
use crate::stores::{StoreName, StoreSchema};

/// What the next snapshot holds so far.
pub(super) struct Builder {
    /// Ids that were given out before are given out again.
    pub(super) oids: Allocator,
    /// By name.
    pub(super) schemas: BTreeMap<String, Schema>,
}

impl Builder {
    /// The schemas that there are without any store. `pg_catalog` and `public` have the ids that clients know from PostgreSQL.
    pub(super) fn begin(oids: Oids) -> Self {
        let mut schemas = BTreeMap::new();
        for (name, oid) in [("pg_catalog", 11), ("public", 2200), ("information_schema", 13_000), ("tributary", 13_001)] {
            let schema = Schema {
                name: name.to_owned(),
                oid,
                store: None,
                namespace: String::new(),
                relations: BTreeMap::new(),
                unavailable: None,
            };
            schemas.insert(name.to_owned(), schema);
        }
        Self { oids: Allocator::resume(oids), schemas }
    }

    /// A relation of the system.
    ///
    /// # Errors
    /// 42710 when there is one of the name already.
    pub(super) fn system(&mut self, relation: &SystemRelation) -> Result<(), Diagnosis> {
        let body = match &relation.body {
            SystemBody::Rows(rows) => RelationBody::Rows(Arc::clone(rows)),
        };
        if relation.oid == 0 {
            return self.insert(relation.schema, &relation.name, body);
        }
        self.insert_with_oid(relation.schema, &relation.name, relation.oid, body)
    }

    /// A relation of a schema that exists.
    ///
    /// # Errors
    /// As [`Builder::system`].
    pub(super) fn insert(&mut self, schema: &str, name: &str, body: RelationBody) -> Result<(), Diagnosis> {
        let owner = self.schemas.get(schema).map_or("", object::owner_of);
        let oid = self.oids.allocate(owner, &["relation", schema, name]);
        self.insert_with_oid(schema, name, oid, body)
    }

    fn insert_with_oid(&mut self, schema: &str, name: &str, oid: u32, body: RelationBody) -> Result<(), Diagnosis> {
        let relation = Relation { oid, schema: schema.to_owned(), name: name.to_owned(), body };
        let Some(place) = self.schemas.get_mut(schema) else { return Ok(()) };
        match place.relations.insert(name.to_owned(), Arc::new(relation)) {
            None => Ok(()),
            Some(_) => Err(Diagnosis::new("42710", format!("relation \"{schema}.{name}\" is defined twice"))),
        }
    }

    fn open_schema(&mut self, name: &str, store: &StoreName, namespace: &str) -> Result<(), Diagnosis> {
        let oid = self.oids.allocate(store.as_str(), &["schema", name]);
        let schema = Schema {
            name: name.to_owned(),
            oid,
            store: Some(store.clone()),
            namespace: namespace.to_owned(),
            relations: BTreeMap::new(),
            unavailable: None,
        };
        match self.schemas.get(name) {
            None => {
                self.schemas.insert(name.to_owned(), schema);
                Ok(())
            }
            Some(other) if other.store.as_ref() == Some(store) && other.namespace == namespace => Ok(()),
            Some(other) => {
                let owner = other.store.as_ref().map_or_else(|| "the system".to_owned(), |other| format!("store \"{other}\""));
                let message = format!("schema \"{name}\" of store \"{store}\" collides with {owner}");
                Err(Diagnosis::new("42710", message).with_hint("Rename one of them with schema or namespaces in the store file."))
            }
        }
    }

    /// What was found of a store.
    ///
    /// # Errors
    /// 42710 when two relations or schemas would have the same name.
    pub(super) fn store(&mut self, store: &StoreName, entry: &StoreEntry, found: &StoreSchema) -> Result<(), Diagnosis> {
        let default = found.default_namespace.as_str();
        if let Some(schema) = entry.naming.schema_of(store, default, default) {
            self.open_schema(&schema, store, default)?;
        }
        for table in &found.tables {
            let Some(schema) = entry.naming.schema_of(store, default, &table.id.namespace) else { continue };
            self.open_schema(&schema, store, &table.id.namespace)?;
            self.insert(&schema, &table.id.name, RelationBody::Stored { store: store.clone(), table: Arc::clone(table) })?;
        }
        Ok(())
    }

    /// The schema of a store that could not be discovered.
    ///
    /// # Errors
    /// As [`Builder::store`].
    pub(super) fn away(&mut self, store: &StoreName, entry: &StoreEntry, reason: Diagnosis) -> Result<(), Diagnosis> {
        let schema = entry.naming.schema.clone().unwrap_or_else(|| store.to_string());
        self.open_schema(&schema, store, "")?;
        if let Some(place) = self.schemas.get_mut(&schema) {
            place.unavailable = Some(reason);
        }
        Ok(())
    }
}
