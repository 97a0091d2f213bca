//! Indexes and constraints as objects with ids of their own, derived from the keys of stored tables and from what is kept of materialized views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::oid::Allocator;
use super::snapshot::{Relation, RelationBody, Schema};
use crate::stores::Table;
use crate::stores::schema::{Action, Key};

/// An index as `pg_index` tells it.
#[derive(Debug, Clone)]
pub struct Index {
    /// `pg_class.oid` of the index.
    pub oid: u32,
    /// Its name, unique in its schema.
    pub name: String,
    /// `pg_namespace.oid`
    pub schema_oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The table's oid.
    pub table_oid: u32,
    /// The table's name.
    pub table: String,
    /// Column numbers, from 1.
    pub columns: Vec<i16>,
    /// Names of the columns.
    pub column_names: Vec<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it is the primary key's.
    pub primary: bool,
}

/// What a constraint demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// `PRIMARY KEY`
    Primary,
    /// `UNIQUE`
    Unique,
    /// `FOREIGN KEY`
    Foreign,
    /// `CHECK`
    Check,
}

impl ConstraintKind {
    /// `pg_constraint.contype`
    pub fn letter(self) -> &'static str {
        match self {
            Self::Primary => "p",
            Self::Unique => "u",
            Self::Foreign => "f",
            Self::Check => "c",
        }
    }

    /// `information_schema.table_constraints.constraint_type`
    pub fn words(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY KEY",
            Self::Unique => "UNIQUE",
            Self::Foreign => "FOREIGN KEY",
            Self::Check => "CHECK",
        }
    }
}

/// A constraint as `pg_constraint` tells it.
#[derive(Debug, Clone)]
pub struct Constraint {
    /// `pg_constraint.oid`
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// What it demands.
    pub kind: ConstraintKind,
    /// The schema's oid.
    pub schema_oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The table's oid.
    pub table_oid: u32,
    /// The table's name.
    pub table: String,
    /// Column numbers, from 1.
    pub columns: Vec<i16>,
    /// Names of the columns.
    pub column_names: Vec<String>,
    /// The index that backs it, or 0.
    pub index_oid: u32,
    /// The referenced table: oid, schema, name; for foreign keys only.
    pub references: Option<Referenced>,
    /// The condition of a check, in the store's own language.
    pub condition: Option<String>,
}

/// The far side of a foreign key.
#[derive(Debug, Clone)]
pub struct Referenced {
    /// The table's oid.
    pub table_oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Column numbers, from 1.
    pub columns: Vec<i16>,
    /// Names of the columns.
    pub column_names: Vec<String>,
    /// What happens when they change.
    pub on_update: Action,
    /// What happens when their row goes.
    pub on_delete: Action,
}

/// All derived objects of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// Indexes in schema and table order.
    pub indexes: Vec<Index>,
    /// Constraints in schema and table order.
    pub constraints: Vec<Constraint>,
}

impl Objects {
    /// How many CHECK constraints a table has.
    pub fn checks(&self, table_oid: u32) -> usize {
        let of_table = self.constraints.iter().filter(|constraint| constraint.table_oid == table_oid);
        of_table.filter(|constraint| constraint.kind == ConstraintKind::Check).count()
    }
}

/// Derives the objects of all schemas.
pub fn derive(schemas: &BTreeMap<String, Schema>, oids: &mut Allocator) -> Objects {
    let mut objects = Objects::default();
    for schema in schemas.values() {
        let mut names: BTreeSet<String> = schema.relations.keys().cloned().collect();
        for relation in schema.relations.values() {
            if let RelationBody::Stored { table, .. } = &relation.body {
                let mut place = Place { schema, relation, table, names: &mut names, oids };
                place.keys(&mut objects);
                place.foreign_keys(schemas, &mut objects);
                place.checks(&mut objects);
            }
        }
        for relation in schema.relations.values() {
            objects.indexes.extend(of_view((schema, relation), &names, oids));
        }
    }
    objects
}

/// The indexes of a materialized view. A name that a table of its schema, or an index of one, has got since is not shown twice.
fn of_view((schema, relation): (&Schema, &Relation), taken: &BTreeSet<String>, oids: &mut Allocator) -> Vec<Index> {
    let Some((kept, materialized)) = relation.body.materialized() else { return Vec::new() };
    let number = |name: &String| {
        let place = kept.columns.iter().position(|column| column.name == *name)?;
        i16::try_from(place + 1).ok()
    };
    let free = materialized.indexes.iter().filter(|index| !taken.contains(&index.name));
    let shown = free.filter_map(|index| {
        let columns = index.columns.iter().map(number).collect::<Option<Vec<i16>>>()?;
        Some(Index {
            oid: oids.allocate(owner_of(schema), &["index", &schema.name, &index.name]),
            name: index.name.clone(),
            schema_oid: schema.oid,
            schema: schema.name.clone(),
            table_oid: relation.oid,
            table: relation.name.clone(),
            columns,
            column_names: index.columns.clone(),
            unique: index.unique,
            primary: false,
        })
    });
    shown.collect()
}

struct Place<'a> {
    schema: &'a Schema,
    relation: &'a Arc<Relation>,
    table: &'a Arc<Table>,
    names: &'a mut BTreeSet<String>,
    oids: &'a mut Allocator,
}

impl Place<'_> {
    fn keys(&mut self, objects: &mut Objects) {
        if let Some(key) = &self.table.primary_key {
            let fallback = format!("{}_pkey", self.relation.name);
            let index = self.index(key, &fallback, true, true);
            objects.constraints.push(self.constraint(&index, ConstraintKind::Primary));
            objects.indexes.push(index);
        }
        for key in &self.table.unique_keys {
            let fallback = format!("{}_{}_key", self.relation.name, self.column_names(&key.columns).join("_"));
            let index = self.index(key, &fallback, true, false);
            objects.constraints.push(self.constraint(&index, ConstraintKind::Unique));
            objects.indexes.push(index);
        }
        for key in &self.table.indexes {
            let fallback = format!("{}_{}_idx", self.relation.name, self.column_names(&key.columns).join("_"));
            let index = self.index(key, &fallback, false, false);
            objects.indexes.push(index);
        }
    }

    fn column_names(&self, ordinals: &[usize]) -> Vec<String> {
        ordinals.iter().filter_map(|ordinal| self.table.columns.get(*ordinal)).map(|column| column.name().to_owned()).collect()
    }

    /// The store's own name where it is free, else one in Postgres' manner: on MySQL every primary key is `PRIMARY`.
    fn free_name(&mut self, wanted: &str, fallback: &str) -> String {
        let usable = !wanted.is_empty() && wanted != "PRIMARY" && !wanted.starts_with("sqlite_autoindex");
        let base = if usable { wanted } else { fallback };
        let mut name = base.to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{base}{number}");
            number += 1;
        }
        name
    }

    fn index(&mut self, key: &Key, fallback: &str, unique: bool, primary: bool) -> Index {
        let name = self.free_name(&key.name, fallback);
        Index {
            oid: self.oids.allocate(owner_of(self.schema), &["index", &self.schema.name, &name]),
            schema_oid: self.schema.oid,
            schema: self.schema.name.clone(),
            table_oid: self.relation.oid,
            table: self.relation.name.clone(),
            columns: numbers(&key.columns),
            column_names: self.column_names(&key.columns),
            name,
            unique,
            primary,
        }
    }

    fn constraint(&mut self, index: &Index, kind: ConstraintKind) -> Constraint {
        Constraint {
            oid: self.oids.allocate(owner_of(self.schema), &["constraint", &self.schema.name, &self.relation.name, &index.name]),
            name: index.name.clone(),
            kind,
            schema_oid: index.schema_oid,
            schema: index.schema.clone(),
            table_oid: index.table_oid,
            table: index.table.clone(),
            columns: index.columns.clone(),
            column_names: index.column_names.clone(),
            index_oid: index.oid,
            references: None,
            condition: None,
        }
    }

    /// Names of constraints are unique in their table only.
    fn checks(&mut self, objects: &mut Objects) {
        for check in &self.table.checks {
            let mut name = check.name.clone();
            let mut number = 1;
            while objects.constraints.iter().rev().any(|known| known.table_oid == self.relation.oid && known.name == name) {
                name = format!("{}{number}", check.name);
                number += 1;
            }
            objects.constraints.push(Constraint {
                oid: self.oids.allocate(owner_of(self.schema), &["constraint", &self.schema.name, &self.relation.name, &name]),
                name,
                kind: ConstraintKind::Check,
                schema_oid: self.schema.oid,
                schema: self.schema.name.clone(),
                table_oid: self.relation.oid,
                table: self.relation.name.clone(),
                columns: numbers(&check.columns),
                column_names: self.column_names(&check.columns),
                index_oid: 0,
                references: None,
                condition: Some(check.expression.clone()),
            });
        }
    }

    fn foreign_keys(&mut self, schemas: &BTreeMap<String, Schema>, objects: &mut Objects) {
        for key in &self.table.foreign_keys {
            let target_schema =
                schemas.values().find(|schema| schema.store == self.schema.store && schema.namespace == key.references.namespace);
            let Some(target) = target_schema.and_then(|schema| schema.relations.get(&key.references.name)) else { continue };
            let RelationBody::Stored { table, .. } = &target.body else { continue };
            let place = |name: &String| table.columns.iter().position(|column| column.name() == name);
            let far: Vec<usize> = key.referenced_columns.iter().filter_map(place).collect();
            let name = if key.name.is_empty() {
                format!("{}_{}_fkey", self.relation.name, self.column_names(&key.columns).join("_"))
            } else {
                key.name.clone()
            };
            objects.constraints.push(Constraint {
                oid: self.oids.allocate(owner_of(self.schema), &["constraint", &self.schema.name, &self.relation.name, &name]),
                name,
                kind: ConstraintKind::Foreign,
                schema_oid: self.schema.oid,
                schema: self.schema.name.clone(),
                table_oid: self.relation.oid,
                table: self.relation.name.clone(),
                columns: numbers(&key.columns),
                column_names: self.column_names(&key.columns),
                index_oid: objects
                    .indexes
                    .iter()
                    .find(|index| index.table_oid == target.oid && index.columns == numbers(&far))
                    .map_or(0, |index| index.oid),
                references: Some(Referenced {
                    table_oid: target.oid,
                    schema: target.schema.clone(),
                    table: target.name.clone(),
                    columns: numbers(&far),
                    column_names: key.referenced_columns.clone(),
                    on_update: key.on_update,
                    on_delete: key.on_delete,
                }),
                condition: None,
            });
        }
    }
}

/// Whose object ids the objects of a schema have.
pub fn owner_of(schema: &Schema) -> &str {
    schema.store.as_ref().map_or("", |store| store.as_str())
}

fn numbers(ordinals: &[usize]) -> Vec<i16> {
    ordinals.iter().filter_map(|ordinal| i16::try_from(ordinal + 1).ok()).collect()
}
