//! What is wrong with how stores and their namespaces are named, once it is known which namespaces the stores have: two that
//! claim one SQL schema, and names of none.
//!
//! How a namespace is named is `catalog::name::Naming`.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::name::Naming;
use crate::options::Problem;
use crate::spelling::nearest;
use crate::stores::{StoreName, StoreSchema};

/// Every native namespace that holds a table, with its SQL schema; left-out ones are absent.
fn schemas(store: &StoreName, naming: &Naming, discovered: &StoreSchema) -> BTreeMap<String, String> {
    let default = discovered.default_namespace.as_str();
    let tables = discovered.tables.iter().map(|table| table.id.namespace.as_str());
    let named = |namespace: &str| Some((namespace.to_owned(), naming.schema_of(store, default, namespace)?));
    tables.chain([default]).filter_map(named).collect()
}

/// SQL schemas that more than one namespace would fill, or that Tributary itself fills.
pub fn collisions<'a>(stores: impl IntoIterator<Item = (&'a StoreName, &'a Naming, &'a StoreSchema)>) -> Vec<Problem> {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for (store, naming, discovered) in stores {
        for (namespace, schema) in schemas(store, naming, discovered) {
            let place = format!("namespace \"{namespace}\" of store \"{store}\"");
            let problem = |rule: String| Problem {
                path: format!("stores.{store}.namespaces.{namespace}"),
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

/// Keys of `namespaces` in a store file that name no namespace of the store in which there is a table.
pub fn unknown(store: &StoreName, naming: &Naming, discovered: &StoreSchema) -> Vec<Problem> {
    let tables = discovered.tables.iter().map(|table| &table.id).chain(discovered.refused.iter().map(|refused| &refused.table));
    let existing: BTreeSet<&str> = tables.map(|id| id.namespace.as_str()).chain([discovered.default_namespace.as_str()]).collect();
    let problem = |(namespace, schema): (&String, &Option<String>)| {
        let near = nearest(namespace, existing.iter().copied()).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
        Problem {
            path: format!("stores.{store}.namespaces.{namespace}"),
            value: schema.as_ref().map_or_else(|| "false".to_owned(), |schema| format!("\"{schema}\"")),
            rule: format!("is set for a namespace in which the store has no table{near}"),
        }
    };
    naming.namespaces.iter().filter(|(namespace, _)| !existing.contains(namespace.as_str())).map(problem).collect()
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
                checks: Vec::new(),
                indexes: Vec::new(),
                comment: None,
                row_estimate: None,
                division: None,
                schema: Table::arrow_schema(&[]),
            })
        };
        StoreSchema {
            default_namespace: default.to_owned(),
            tables: namespaces.iter().map(table).collect(),
            ..StoreSchema::default()
        }
    }

    #[test]
    fn two_namespaces_cannot_fill_one_schema() {
        let (shop, other, crm) = (StoreName::new("shop"), StoreName::new("shop_eu"), StoreName::new("crm"));
        let naming = Naming::default();
        let schemas = (discovered("public", &["public", "eu"]), discovered("main", &["main"]));
        let said: Vec<String> =
            collisions([(&shop, &naming, &schemas.0), (&other, &naming, &schemas.1)]).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["stores.shop_eu.namespaces.main: \"shop_eu\" is already the schema of namespace \"eu\" of store \"shop\""]
        );
        assert!(collisions([(&shop, &naming, &schemas.0), (&crm, &naming, &schemas.1)]).is_empty());
        let hidden = Naming { namespaces: BTreeMap::from([("eu".to_owned(), None)]), ..Naming::default() };
        assert!(collisions([(&shop, &hidden, &schemas.0), (&other, &naming, &schemas.1)]).is_empty());
    }

    #[test]
    fn a_key_that_names_no_namespace_is_told() {
        let named = |pairs: &[(&str, Option<&str>)]| Naming {
            namespaces: pairs.iter().map(|(from, to)| ((*from).to_owned(), to.map(str::to_owned))).collect(),
            ..Naming::default()
        };
        let schema = discovered("public", &["audit"]);
        let naming = named(&[("audti", None), ("audit", None), ("public", Some("front")), ("stock", Some("goods"))]);
        let said: Vec<String> = unknown(&StoreName::new("shop"), &naming, &schema).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "stores.shop.namespaces.audti: false is set for a namespace in which the store has no table; perhaps \"audit\"",
                "stores.shop.namespaces.stock: \"goods\" is set for a namespace in which the store has no table",
            ]
        );
    }

    #[test]
    fn no_namespace_fills_a_schema_of_ours() {
        let (pg, naming, schema) = (StoreName::new("pg"), Naming::default(), discovered("public", &["public", "temp"]));
        let said: Vec<String> = collisions([(&pg, &naming, &schema)]).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["stores.pg.namespaces.temp: \"pg_temp\" is the name of a schema that Tributary itself fills"]);
    }
}
