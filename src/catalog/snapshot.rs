//! One immutable picture of every name that can be queried.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio_util::sync::CancellationToken;

use super::commits::Commits;
use super::kept::KeptView;
use super::keyword::quote_identifier;
use super::live::{Named, Sessions};
use super::materialized::{MaterializedViews, NoViews};
use super::name::{ALL_STORES, QualifiedName, SearchPath};
use super::object::Objects;
use super::reach::Reach;
use crate::cache::Caches;
use crate::changes::Feeds;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::spelling::nearest;
use crate::stores::{Connector, StoreName, Table};

/// Everything that exists, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every change; part of plan cache keys.
    pub version: u64,
    /// The one database clients see.
    pub database: String,
    /// Schemas by name.
    pub schemas: BTreeMap<String, Schema>,
    /// Indexes and constraints.
    pub objects: Objects,
    /// Connectors by store name; shared, because every statement holds them.
    pub connectors: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
    /// Whether the stores answer; shared by all snapshots, because it is of now.
    pub reach: Arc<Reach>,
    /// Cancelled when the connectors are closed under whatever still runs on them.
    pub retired: CancellationToken,
}

/// One SQL schema.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its object id.
    pub oid: u32,
    /// The store whose namespace it is; `None` for `public` and the system schemas.
    pub store: Option<StoreName>,
    /// The store's own name of the namespace; empty without a store.
    pub namespace: String,
    /// Relations by name.
    pub relations: BTreeMap<String, Arc<Relation>>,
    /// Why its relations cannot be served now.
    pub unavailable: Option<Diagnosis>,
}

/// One relation.
#[derive(Debug)]
pub struct Relation {
    /// Its object id.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub body: RelationBody,
}

/// What a relation is made of.
pub enum RelationBody {
    /// A table, view or collection of a store.
    Stored {
        /// The owner.
        store: StoreName,
        /// The table as discovered.
        table: Arc<Table>,
    },
    /// A query of ours over other relations.
    View {
        /// The query's text.
        sql: String,
        /// Its columns; empty while it cannot be planned.
        columns: Vec<(String, PgType)>,
        /// What is kept of it, when a client has made it; it is one of the catalog directory else.
        kept: Option<Arc<KeptView>>,
    },
    /// Rows computed from the snapshot and the asking session.
    Rows(Arc<dyn RowFunction>),
}

impl fmt::Debug for RelationBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { store, table } => write!(f, "Stored({store}, {:?})", table.id),
            Self::View { .. } => f.write_str("View"),
            Self::Rows(_) => f.write_str("Rows"),
        }
    }
}

/// A system relation whose rows are made on demand, without touching a store.
pub trait RowFunction: Send + Sync {
    /// Its columns, each marked with its Postgres type.
    fn schema(&self) -> SchemaRef;

    /// Its rows now, for this session.
    ///
    /// # Errors
    /// Internal errors only.
    fn rows(&self, snapshot: &Snapshot, facts: &SessionFacts) -> Result<RecordBatch, Diagnosis>;

    /// Whether the rows may be others at the next statement though neither the catalog nor a setting has changed.
    fn is_live(&self) -> bool {
        false
    }

    /// Whether its rows are those of the log of changes, which are read as they are asked for and not from here.
    fn is_log(&self) -> bool {
        false
    }
}

/// What system relations and functions may know of the session that asks.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The authenticated role.
    pub role: String,
    /// All role names, for `pg_roles`.
    pub roles: Vec<String>,
    /// Those of them that may change what all sessions share.
    pub superusers: Vec<String>,
    /// The effective search path, schemas that exist only.
    pub search_path: Vec<String>,
    /// The backend's process id.
    pub process_id: i32,
    /// All settings: name, value, description.
    pub settings: Vec<(String, String, String)>,
    /// What `server_version` says.
    pub server_version: String,
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// What this one keeps by name.
    pub named: Arc<Named>,
    /// Commits over several stores.
    pub commits: Arc<Commits>,
    /// What the stores tell of changes.
    pub feeds: Arc<Feeds>,
    /// Copies of tables.
    pub caches: Arc<Caches>,
    /// Materialized views.
    pub views: Arc<dyn MaterializedViews>,
}

impl Default for SessionFacts {
    fn default() -> Self {
        Self {
            role: String::new(),
            roles: Vec::new(),
            superusers: Vec::new(),
            search_path: Vec::new(),
            process_id: 0,
            settings: Vec::new(),
            server_version: String::new(),
            sessions: Arc::default(),
            named: Arc::default(),
            commits: Arc::default(),
            feeds: Feeds::none(),
            caches: Caches::none(),
            views: Arc::new(NoViews),
        }
    }
}

impl Snapshot {
    /// The schemas that an unqualified name is looked up in, each once. `pg_catalog` comes before all of them unless it is
    /// among them.
    pub fn effective_path<'a>(&'a self, path: &'a SearchPath) -> Vec<&'a Schema> {
        let stores = || self.schemas.values().filter(|schema| schema.store.is_some());
        let SearchPath::Named(names) = path else {
            return self.schemas.get("public").into_iter().chain(stores()).collect();
        };
        let mut found: Vec<&Schema> = Vec::new();
        for name in names {
            let meant: Vec<&Schema> =
                if name == ALL_STORES { stores().collect() } else { self.schemas.get(name).into_iter().collect() };
            for schema in meant {
                if !found.iter().any(|known| known.name == schema.name) {
                    found.push(schema);
                }
            }
        }
        found
    }

    /// Finds a relation by the name a client wrote.
    ///
    /// # Errors
    /// 42P01 with the nearest name as hint, 3F000 for an unknown schema, 0A000 for another database, or why the owning
    /// store cannot be served.
    pub fn resolve(&self, name: &QualifiedName, path: &SearchPath) -> Result<Arc<Relation>, Diagnosis> {
        if let Some(database) = &name.database
            && *database != self.database
        {
            let message = format!("cross-database references are not implemented: \"{name}\"");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        match &name.schema {
            Some(schema) => self.resolve_in(schema, name),
            None => self.resolve_on_path(name, path),
        }
    }

    fn resolve_in(&self, schema: &str, name: &QualifiedName) -> Result<Arc<Relation>, Diagnosis> {
        let Some(found) = self.schemas.get(schema) else {
            let unknown = Diagnosis::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
            let owner = self.schemas.values().find(|candidate| {
                candidate.unavailable.is_some()
                    && candidate
                        .store
                        .as_ref()
                        .is_some_and(|store| schema.strip_prefix(store.as_str()).is_some_and(|rest| rest.starts_with('_')))
            });
            if let Some(reason) = owner.and_then(|owner| owner.unavailable.clone()) {
                return Err(reason);
            }
            return Err(match nearest(schema, self.schemas.keys().map(String::as_str)) {
                Some(near) => unknown.with_hint(format!("Perhaps you meant the schema {}.", quote_identifier(near))),
                None => unknown.with_detail(format!("There is no schema \"{schema}\".")),
            });
        };
        if let Some(relation) = found.relations.get(&name.relation) {
            return Ok(Arc::clone(relation));
        }
        if let Some(reason) = &found.unavailable {
            return Err(reason.clone());
        }
        let unknown = Diagnosis::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
        Err(match nearest(&name.relation, found.relations.keys().map(String::as_str)) {
            Some(near) => unknown.with_hint(format!("Perhaps you meant {}.{}.", quote_identifier(schema), quote_identifier(near))),
            None => unknown,
        })
    }

    fn resolve_on_path(&self, name: &QualifiedName, path: &SearchPath) -> Result<Arc<Relation>, Diagnosis> {
        let path = self.effective_path(path);
        let system = self.schemas.get("pg_catalog").filter(|system| path.iter().all(|schema| schema.name != system.name));
        let searched = system.into_iter().chain(path);
        let mut unavailable = None;
        let mut known = Vec::new();
        for schema in searched {
            if let Some(relation) = schema.relations.get(&name.relation) {
                return Ok(Arc::clone(relation));
            }
            unavailable = unavailable.or(schema.unavailable.as_ref());
            known.extend(schema.relations.keys().map(|relation| (schema.name.as_str(), relation.as_str())));
        }
        let unknown = Diagnosis::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", name.relation));
        if let Some(reason) = unavailable {
            let detail = format!("It may belong to a store that is not served now: {}.", reason.message);
            return Err(unknown.with_detail(detail));
        }
        let near = nearest(&name.relation, known.iter().map(|(_, relation)| *relation));
        let place = near.and_then(|near| known.iter().find(|(_, relation)| *relation == near));
        Err(match place {
            Some((schema, relation)) => {
                unknown.with_hint(format!("Perhaps you meant {}.{}.", quote_identifier(schema), quote_identifier(relation)))
            }
            None => unknown,
        })
    }

    /// Finds a relation by its object id.
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.schemas.values().flat_map(|schema| schema.relations.values()).find(|relation| relation.oid == oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let view = |schema: &str, name: &str, oid| {
            let relation = Relation {
                oid,
                schema: schema.to_owned(),
                name: name.to_owned(),
                body: RelationBody::View { sql: "SELECT 1".to_owned(), columns: Vec::new(), kept: None },
            };
            (name.to_owned(), Arc::new(relation))
        };
        let schema = |name: &str, store: Option<&str>, relations: Vec<(String, Arc<Relation>)>, unavailable| Schema {
            name: name.to_owned(),
            oid: 1,
            store: store.map(StoreName::new),
            namespace: String::new(),
            relations: relations.into_iter().collect(),
            unavailable,
        };
        let down = Diagnosis::new(sqlstate::UNABLE_TO_CONNECT, "store \"zoo\" cannot be reached");
        let schemas = [
            schema("public", None, vec![view("public", "totals", 20_001)], None),
            schema("b_store", Some("b_store"), vec![view("b_store", "orders", 20_002)], None),
            schema("a_store", Some("a_store"), vec![view("a_store", "orders", 20_003)], None),
            schema("zoo", Some("zoo"), vec![], Some(down)),
        ];
        Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: schemas.into_iter().map(|schema| (schema.name.clone(), schema)).collect(),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        }
    }

    fn check(written: &str, path: &SearchPath, expected: Result<u32, &str>) {
        let mut parts: Vec<String> = written.split('.').map(str::to_owned).collect();
        let relation = parts.pop().unwrap();
        let schema = parts.pop();
        let name = QualifiedName { database: parts.pop(), schema, relation };
        let found = snapshot().resolve(&name, path).map(|relation| relation.oid);
        assert_eq!(found.as_ref().map_err(|error| error.sqlstate.as_str()), expected.as_ref().map_err(|code| *code), "{written}");
    }

    #[test]
    fn names_resolve_along_the_path() {
        check("totals", &SearchPath::Default, Ok(20_001));
        check("orders", &SearchPath::Default, Ok(20_003));
        check("orders", &SearchPath::Named(vec!["b_store".to_owned()]), Ok(20_002));
        let named = |names: &[&str]| SearchPath::Named(names.iter().map(|name| (*name).to_owned()).collect());
        check("orders", &named(&["nowhere", "b_store", "a_store"]), Ok(20_002));
        check("orders", &named(&["public", ALL_STORES]), Ok(20_003));
        check("orders", &named(&["b_store", ALL_STORES]), Ok(20_002));
        check("orders", &named(&["public"]), Err("42P01"));
        check("orders", &named(&[]), Err("42P01"));
        check("totals", &named(&[""]), Err("42P01"));
        check("b_store.orders", &SearchPath::Default, Ok(20_002));
        check("tributary.b_store.orders", &SearchPath::Default, Ok(20_002));
        check("elsewhere.b_store.orders", &SearchPath::Default, Err("0A000"));
        check("nowhere.orders", &SearchPath::Default, Err("42P01"));
        check("zoo.animals", &SearchPath::Default, Err("08001"));
        check("zoo_north.animals", &SearchPath::Default, Err("08001"));
    }

    #[test]
    fn a_path_names_each_schema_once() {
        let snapshot = snapshot();
        let path = SearchPath::Named(["b_store", "x", ALL_STORES, "public", "public"].map(str::to_owned).to_vec());
        let names: Vec<&str> = snapshot.effective_path(&path).into_iter().map(|schema| schema.name.as_str()).collect();
        assert_eq!(names, ["b_store", "a_store", "zoo", "public"]);
    }

    #[test]
    fn an_unknown_name_hints_at_the_nearest() {
        let name = QualifiedName { database: None, schema: Some("a_store".to_owned()), relation: "ordrs".to_owned() };
        let error = snapshot().resolve(&name, &SearchPath::Default).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("Perhaps you meant a_store.orders."));
    }
}
