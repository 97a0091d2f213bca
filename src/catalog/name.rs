//! Names as clients write them: qualified names, the search path, and how store namespaces become schemas.

use std::collections::BTreeMap;
use std::fmt;

use crate::stores::StoreName;

/// A relation's name as written, after Postgres' folding: `[database.][schema.]relation`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QualifiedName {
    /// The database, when written; it must be the catalog's.
    pub database: Option<String>,
    /// The schema, when written.
    pub schema: Option<String>,
    /// The relation.
    pub relation: String,
}

impl QualifiedName {
    /// The name that a text holds, as `to_regclass` reads one. `None`: it has no relation, or too many parts.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut parts = split_name(text);
        if parts.len() > 3 || parts.iter().any(String::is_empty) {
            return None;
        }
        let relation = parts.pop()?;
        Some(Self { schema: parts.pop(), database: parts.pop(), relation })
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.database, &self.schema].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(&self.relation)
    }
}

/// Splits a dotted name in a text, with quotes, and folds the unquoted parts. There is one at least, which may be empty.
pub fn split_name(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => {
                if let Some(last) = parts.last_mut() {
                    if quoted { last.push(other) } else { last.extend(other.to_lowercase()) }
                }
            }
        }
    }
    parts
}

/// Where unqualified names are looked up, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchPath {
    /// `public`, then every store's schemas in alphabetical order.
    Default,
    /// As set by the session; [`ALL_STORES`] stands for many schemas, and names without a schema are passed over.
    Named(Vec<String>),
}

/// The word in a search path that stands for every store's schemas in alphabetical order.
pub const ALL_STORES: &str = "$stores";

/// How a store's namespaces appear as SQL schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// Another name for the default namespace's schema than the store's own.
    pub schema: Option<String>,
    /// Native namespace → schema, or `None` to leave it out.
    pub namespaces: BTreeMap<String, Option<String>>,
}

impl Naming {
    /// The schema in which `namespace` of `store` appears, or `None` when the store file leaves it out.
    pub fn schema_of(&self, store: &StoreName, default_namespace: &str, namespace: &str) -> Option<String> {
        if let Some(chosen) = self.namespaces.get(namespace) {
            return chosen.clone();
        }
        if namespace == default_namespace {
            return Some(self.schema.clone().unwrap_or_else(|| store.to_string()));
        }
        Some(format!("{store}_{namespace}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_texts() {
        let read = |text: &str| QualifiedName::of_text(text).map(|name| name.to_string());
        assert_eq!(read("Shop.Orders").as_deref(), Some("shop.orders"));
        assert_eq!(read("\"Shop.x\".\"Orders\"").as_deref(), Some("Shop.x.Orders"));
        assert_eq!(read("tributary.shop.orders").as_deref(), Some("tributary.shop.orders"));
        for wrong in ["", " ", "shop.", ".orders", "a.b.c.d"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn namespaces_become_schemas() {
        let store = StoreName::new("shop");
        let naming = Naming {
            schema: None,
            namespaces: BTreeMap::from([("hidden".to_owned(), None), ("old".to_owned(), Some("archive".to_owned()))]),
        };
        let rows = [("public", Some("shop")), ("audit", Some("shop_audit")), ("hidden", None), ("old", Some("archive"))];
        for (namespace, expected) in rows {
            assert_eq!(naming.schema_of(&store, "public", namespace).as_deref(), expected, "{namespace}");
        }
        let renamed = Naming { schema: Some("crm".to_owned()), ..Naming::default() };
        assert_eq!(renamed.schema_of(&store, "public", "public").as_deref(), Some("crm"));
    }
}
