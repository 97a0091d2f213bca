//! Where a store has refused a row, in the names that clients know: a store tells its own names, and a schema of it has another one here.

use super::object::ConstraintKind;
use super::snapshot::{RelationBody, Schema, Snapshot};
use crate::error::{Diagnosis, Site, sqlstate};
use crate::stores::Table;

impl Snapshot {
    /// The error with the schema that its table has for clients, without one where that is not known, and with the name that the catalog
    /// shows of the constraint.
    pub fn placed(&self, mut error: Diagnosis) -> Diagnosis {
        if let Some(site) = error.site.as_deref_mut()
            && let Some(store) = site.store.take()
        {
            let schema = self.shown(&store, site);
            if let (Some(schema), Some(table), Some(native)) = (schema, &site.table, &error.constraint)
                && let Some(known) = self.shown_constraint(schema, table, (&error.sqlstate, native))
            {
                if let Some(message) = renamed(&error.message, native, (table, known)) {
                    error.message = message;
                }
                error.constraint = Some(known.to_owned());
            }
            site.schema = schema.map(|schema| schema.name.clone());
        }
        error
    }

    /// The schema that the table of a store is in, by the store's name of it, or else by that of the table alone.
    fn shown(&self, store: &str, site: &Site) -> Option<&Schema> {
        let is_meant = |schema: &&Schema| match (&site.schema, &site.table) {
            (Some(namespace), _) => schema.namespace == *namespace,
            (None, Some(table)) => schema.relations.contains_key(table),
            (None, None) => false,
        };
        let of_store = self.schemas.values().filter(|schema| schema.store.as_ref().is_some_and(|owner| owner.as_str() == store));
        let mut meant = of_store.filter(is_meant);
        let first = meant.next()?;
        // Tables of one name say nothing of their schema.
        meant.next().is_none().then_some(first)
    }

    /// The name that clients are shown of a key or a condition: on MySQL every primary key is `PRIMARY`, and two tables may have keys of
    /// one name.
    fn shown_constraint(&self, schema: &Schema, table: &str, (code, native): (&str, &str)) -> Option<&str> {
        let relation = schema.relations.get(table)?;
        let RelationBody::Stored { table: stored, .. } = &relation.body else { return None };
        // MySQL, unlike MariaDB, has the name of the table before that of the key.
        let prefixed = native.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
        let (kind, place) = [Some(native), prefixed].into_iter().flatten().find_map(|name| place_of(stored, code, name))?;
        // They are derived in the order in which the table has them.
        let is_such = |kind_of: ConstraintKind, oid: u32| kind_of == kind && oid == relation.oid;
        let mut such = self.objects.constraints.iter().filter(|known| is_such(known.kind, known.table_oid));
        such.nth(place).map(|known| known.name.as_str())
    }
}

/// Which of the keys or conditions of a table has a name in its store. A key, a condition and a foreign key may have one name there, so
/// the code tells which of them is meant. Foreign keys have their names here too.
fn place_of(table: &Table, code: &str, name: &str) -> Option<(ConstraintKind, usize)> {
    match code {
        sqlstate::UNIQUE_VIOLATION if table.primary_key.as_ref().is_some_and(|key| key.name == name) => {
            Some((ConstraintKind::Primary, 0))
        }
        sqlstate::UNIQUE_VIOLATION => {
            let place = table.unique_keys.iter().position(|key| key.name == name);
            place.map(|place| (ConstraintKind::Unique, place))
        }
        sqlstate::CHECK_VIOLATION => {
            // MariaDB tells the condition of a column by the name of the column.
            let of_column = format!("{}_{name}_check", table.id.name);
            let check = |name: &str| table.checks.iter().position(|check| check.name == name);
            check(name).or_else(|| check(&of_column)).map(|place| (ConstraintKind::Check, place))
        }
        _ => None,
    }
}

/// The message with the name that is shown in the place of the store's own; `None` where that is not in it.
fn renamed(message: &str, native: &str, (table, shown): (&str, &str)) -> Option<String> {
    if message.starts_with("E11000 ") {
        // MongoDB tells the values behind the name.
        let (before, after) = message.split_once(&format!(" index: {native} "))?;
        return Some(format!("{before} index: {shown} {after}"));
    }
    // Others tell them before it, if at all.
    let in_quotes = |name: &str, quote: char| {
        let (before, after) = message.rsplit_once(format!("{quote}{name}{quote}").as_str())?;
        Some(format!("{before}{quote}{shown}{quote}{after}"))
    };
    let names = [native.to_owned(), format!("{table}.{native}")];
    names.iter().find_map(|name| ['\'', '"', '`'].into_iter().find_map(|quote| in_quotes(name, quote)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::object::{Objects, derive};
    use super::super::oid::Allocator;
    use super::super::snapshot::Relation;
    use super::*;
    use crate::stores::StoreName;
    use crate::stores::schema::{Check, Key};

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

    /// A catalog in which `people` and `users` of a MySQL have keys of the same names, and conditions.
    fn with_keys() -> Snapshot {
        let (name, mut of_store) = schema("crm", "crm", "crm", &[]);
        let key = |name: &str, columns: &[usize]| Key { name: name.to_owned(), columns: columns.to_vec(), proven: true };
        let check = |name: &str| Check { name: name.to_owned(), columns: Vec::new(), expression: "1".to_owned() };
        for (oid, table) in [(1, "people"), (2, "users")] {
            let stored = Table {
                primary_key: Some(key("PRIMARY", &[0])),
                unique_keys: vec![key("nick", &[1]), key("email", &[2])],
                checks: vec![check("whole"), check(&format!("{table}_age_check")), check(&format!("{table}_email_check"))],
                ..Table::plain("crm", table, Vec::new())
            };
            let body = RelationBody::Stored { store: StoreName::new("crm"), table: Arc::new(stored) };
            let relation = Relation { oid, schema: name.clone(), name: table.to_owned(), body };
            of_store.relations.insert(table.to_owned(), Arc::new(relation));
        }
        let schemas = BTreeMap::from([(name, of_store)]);
        let objects = derive(&schemas, &mut Allocator::default());
        Snapshot { schemas, objects, ..snapshot() }
    }

    #[test]
    fn constraints_are_told_by_the_names_that_are_shown() {
        let snapshot = with_keys();
        for (table, message, native, shown) in [
            ("people", "Duplicate entry '1' for key '{}'", "PRIMARY", "people_pkey"),
            ("users", "Duplicate entry 'PRIMARY' for key '{}'", "PRIMARY", "users_pkey"),
            ("users", "Duplicate entry '1' for key '{}'", "users.PRIMARY", "users_pkey"),
            ("people", "Duplicate entry 'x' for key '{}'", "email", "email"),
            ("users", "Duplicate entry 'x' for key '{}'", "email", "email1"),
            ("users", "duplicate key value violates unique constraint \"{}\"", "nick", "nick1"),
            ("users", "E11000 duplicate key error collection: crm.users index: {} dup key: { n: \"'nick'\" }", "nick", "nick1"),
            ("users", "CONSTRAINT `users.{}` failed for `crm`.`users`", "age", "users_age_check"),
            ("users", "CONSTRAINT `{}` failed for `crm`.`users`", "whole", "whole"),
            ("people", "CONSTRAINT `{}` FOREIGN KEY", "one_of_ours", "one_of_ours"),
            // One name of several kinds.
            ("users", "CONSTRAINT `users.{}` failed for `crm`.`users`", "email", "users_email_check"),
            ("users", "CONSTRAINT `{}` FOREIGN KEY", "email", "email"),
            ("users", "CONSTRAINT `{}` failed for `crm`.`users`", "nick", "nick"),
            ("users", "Duplicate entry '1' for key '{}'", "age", "age"),
            ("nothing", "Duplicate entry '1' for key '{}'", "PRIMARY", "PRIMARY"),
        ] {
            let site = Site { store: Some("crm".to_owned()), table: Some(table.to_owned()), ..Site::default() };
            let code = match message.strip_prefix("CONSTRAINT ") {
                Some(rest) if rest.ends_with("FOREIGN KEY") => "23503",
                Some(_) => "23514",
                None => "23505",
            };
            let mut error = Diagnosis::new(code, message.replace("{}", native)).with_site(site);
            error.constraint = Some(native.to_owned());
            let placed = snapshot.placed(error);
            assert_eq!(placed.constraint.as_deref(), Some(shown), "{table}: {message}");
            let expected = message.replace("users.{}", "{}").replace("{}", shown);
            let kept = message.replace("{}", native);
            assert_eq!(placed.message, if native == shown { kept } else { expected }, "{table}: {message}");
            // Once is enough.
            assert_eq!(snapshot.placed(placed.clone()), placed);
        }
    }
}
