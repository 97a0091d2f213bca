//! Which SQL schema each namespace of a store appears as, and whether two stores claim one schema.

use std::collections::BTreeMap;

use crate::options::Problem;
use crate::stores::{StoreName, StoreSchema};

/// How the namespaces of one store are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceMap {
    store: StoreName,
    default_schema: Option<String>,
    named: BTreeMap<String, Option<String>>,
}

impl NamespaceMap {
    /// The map of a store whose file renames nothing.
    pub fn new(store: StoreName) -> Self {
        Self { store, default_schema: None, named: BTreeMap::new() }
    }

    /// Names the schema of the store's default namespace.
    #[must_use]
    pub fn with_default_schema(mut self, schema: Option<String>) -> Self {
        self.default_schema = schema;
        self
    }

    /// Names the schema of one native namespace; `None` leaves the namespace out.
    #[must_use]
    pub fn with(mut self, namespace: &str, schema: Option<String>) -> Self {
        self.named.insert(namespace.to_owned(), schema);
        self
    }

    /// The SQL schema of a native namespace, or `None` when the store file leaves it out. A namespace named in the file
    /// wins; then the default namespace has the store's own name and every other one `<store>_<namespace>`.
    pub fn schema(&self, namespace: &str, default_namespace: &str) -> Option<String> {
        if let Some(named) = self.named.get(namespace) {
            return named.clone();
        }
        if namespace == default_namespace {
            return Some(self.default_schema.clone().unwrap_or_else(|| self.store.as_str().to_owned()));
        }
        Some(format!("{}_{namespace}", self.store))
    }

    /// Native namespaces that the store file names.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Every native namespace that holds a table, with its SQL schema; left-out ones are absent.
    pub fn schemas(&self, discovered: &StoreSchema) -> BTreeMap<String, String> {
        let default = discovered.default_namespace.as_str();
        let tables = discovered.tables.iter().map(|table| table.id.namespace.as_str());
        tables.chain([default]).filter_map(|namespace| Some((namespace.to_owned(), self.schema(namespace, default)?))).collect()
    }
}

/// SQL schemas that more than one namespace would fill, or that Tributary itself fills.
pub fn collisions<'a>(stores: impl IntoIterator<Item = (&'a NamespaceMap, &'a StoreSchema)>) -> Vec<Problem> {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for (map, discovered) in stores {
        for (namespace, schema) in map.schemas(discovered) {
            let place = format!("namespace \"{namespace}\" of store \"{}\"", map.store);
            let problem = |rule: String| Problem {
                path: format!("stores.{}.namespaces.{namespace}", map.store),
                value: format!("\"{schema}\""),
                rule,
            };
            if let Some(rule) = own_schema_rule(&schema) {
                problems.push(problem(rule));
            }
            match taken.get(&schema) {
                Some(first) => problems.push(problem(format!("is already the schema of {first}"))),
                None => drop(taken.insert(schema, place)),
            }
        }
    }
    problems
}

/// A native namespace may have any characters: they are reached by quoting. Only our own schemas are refused.
fn own_schema_rule(schema: &str) -> Option<String> {
    let rule = super::name::broken_schema_rule(schema)?;
    rule.contains("Tributary itself").then_some(rule)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::Table;
    use crate::stores::schema::{TableId, TableKind};

    fn discovered(default: &str, namespaces: &[&str]) -> StoreSchema {
        let table = |namespace: &&str| {
            Arc::new(Table {
                id: TableId { namespace: (*namespace).to_owned(), name: "t".to_owned() },
                kind: TableKind::Table,
                columns: Vec::new(),
                primary_key: None,
                unique_keys: Vec::new(),
                foreign_keys: Vec::new(),
                indexes: Vec::new(),
                comment: None,
                row_estimate: None,
                schema: Table::arrow_schema(&[]),
            })
        };
        StoreSchema {
            default_namespace: default.to_owned(),
            tables: namespaces.iter().map(table).collect(),
            ..StoreSchema::default()
        }
    }

    fn map(store: &str) -> NamespaceMap {
        NamespaceMap::new(StoreName::new(store))
    }

    #[test]
    fn the_default_namespace_has_the_name_of_the_store() {
        let shop = map("shop").with("audit", None).with("hr", Some("staff".to_owned()));
        let rows = [
            ("public", Some("shop")),
            ("sales", Some("shop_sales")),
            ("Odd Name", Some("shop_Odd Name")),
            ("audit", None),
            ("hr", Some("staff")),
        ];
        for (namespace, expected) in rows {
            assert_eq!(shop.schema(namespace, "public").as_deref(), expected, "{namespace}");
        }
        let renamed = map("shop").with_default_schema(Some("store".to_owned()));
        assert_eq!(renamed.schema("public", "public").as_deref(), Some("store"));
        assert_eq!(renamed.with("public", None).schema("public", "public"), None);
    }

    #[test]
    fn two_namespaces_cannot_fill_one_schema() {
        let (shop, other) = (map("shop"), map("shop_eu"));
        let schemas = (discovered("public", &["public", "eu"]), discovered("main", &["main"]));
        let said: Vec<String> = collisions([(&shop, &schemas.0), (&other, &schemas.1)]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["stores.shop_eu.namespaces.main: \"shop_eu\" is already the schema of namespace \"eu\" of store \"shop\""]
        );
        assert!(collisions([(&shop, &schemas.0), (&map("crm"), &schemas.1)]).is_empty());
    }
}
