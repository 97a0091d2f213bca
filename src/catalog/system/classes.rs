//! Schemas, relations and columns: `pg_namespace`, `pg_class`, `pg_attribute`, `pg_attrdef`, `pg_description`, `pg_tables`,
//! `pg_views`, `pg_matviews`.

use super::table::{Cell, NAMES, TEXTS, live, relation};
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{Relation, RelationBody, SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::{PgField, PgType};
use crate::stores::schema::{Generated, TableKind};

/// The oid of the role that owns everything: the first role by name has it too.
pub(super) const OWNER: u32 = 10;
/// `pg_class.oid` of `pg_class` itself, the `classoid` of descriptions.
pub(super) const PG_CLASS: u32 = 1259;
const HEAP: u32 = 2;
const BTREE: u32 = 403;

/// One column as `pg_attribute` tells it.
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) number: i16,
    pub(super) pg_type: PgType,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    pub(super) generated: Generated,
    pub(super) comment: Option<String>,
}

/// The columns of a relation.
pub(super) fn attributes(relation: &Relation) -> Vec<Attribute> {
    let number = |place: usize| i16::try_from(place + 1).unwrap_or(i16::MAX);
    let plain = |place: usize, name: &str, pg_type: PgType| Attribute {
        name: name.to_owned(),
        number: number(place),
        pg_type,
        not_null: false,
        default: None,
        generated: Generated::No,
        comment: None,
    };
    match &relation.body {
        RelationBody::Stored { table, .. } => {
            let columns = table.columns.iter().enumerate().map(|(place, column)| Attribute {
                not_null: !column.field.is_nullable(),
                default: column.default.clone().filter(|_| column.generated == Generated::No),
                generated: column.generated,
                comment: column.comment.clone(),
                ..plain(place, column.name(), column.pg_type())
            });
            columns.collect()
        }
        RelationBody::View { columns, .. } => {
            columns.iter().enumerate().map(|(place, (name, pg_type))| plain(place, name, *pg_type)).collect()
        }
        RelationBody::Rows(rows) => {
            let schema = rows.schema();
            schema.fields().iter().enumerate().map(|(place, field)| plain(place, field.name(), field.pg_type())).collect()
        }
    }
}

/// Every relation of a snapshot.
pub(super) fn all_relations(snapshot: &Snapshot) -> impl Iterator<Item = &Relation> {
    snapshot.schemas.values().flat_map(|schema| schema.relations.values()).map(AsRef::as_ref)
}

/// `pg_class.relkind`
pub(super) fn kind(relation: &Relation) -> &'static str {
    match &relation.body {
        RelationBody::Stored { table, .. } => match table.kind {
            TableKind::Table | TableKind::Collection => "r",
            TableKind::View => "v",
            TableKind::MaterializedView => "m",
        },
        RelationBody::View { .. } if relation.body.materialized().is_some() => "m",
        RelationBody::View { .. } => "v",
        RelationBody::Rows(_) => "r",
    }
}

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        relation("pg_catalog", "pg_namespace", 2615, NAMESPACE, namespaces),
        relation("pg_catalog", "pg_class", PG_CLASS, CLASS, classes),
        relation("pg_catalog", "pg_attribute", 1249, ATTRIBUTE, attribute_rows),
        relation("pg_catalog", "pg_attrdef", 2604, ATTRDEF, defaults),
        relation("pg_catalog", "pg_description", 2609, DESCRIPTION, descriptions),
        relation("pg_catalog", "pg_tables", 0, TABLES, tables),
        relation("pg_catalog", "pg_views", 0, VIEWS, views),
        live("pg_catalog", "pg_matviews", MATVIEWS, materialized_views),
    ]
}

const NAMESPACE: &[(&str, PgType)] =
    &[("oid", PgType::OID), ("nspname", PgType::NAME), ("nspowner", PgType::OID), ("nspacl", TEXTS)];

fn namespaces(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    snapshot.schemas.values().map(|schema| cells![schema.oid, schema.name.as_str(), OWNER, Cell::Null]).collect()
}

const CLASS: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("relname", PgType::NAME),
    ("relnamespace", PgType::OID),
    ("reltype", PgType::OID),
    ("reloftype", PgType::OID),
    ("relowner", PgType::OID),
    ("relam", PgType::OID),
    ("relfilenode", PgType::OID),
    ("reltablespace", PgType::OID),
    ("relpages", PgType::INT4),
    ("reltuples", PgType::FLOAT4),
    ("relallvisible", PgType::INT4),
    ("reltoastrelid", PgType::OID),
    ("relhasindex", PgType::BOOL),
    ("relisshared", PgType::BOOL),
    ("relpersistence", PgType::CHAR),
    ("relkind", PgType::CHAR),
    ("relnatts", PgType::INT2),
    ("relchecks", PgType::INT2),
    ("relhasrules", PgType::BOOL),
    ("relhastriggers", PgType::BOOL),
    ("relhassubclass", PgType::BOOL),
    ("relrowsecurity", PgType::BOOL),
    ("relforcerowsecurity", PgType::BOOL),
    ("relispopulated", PgType::BOOL),
    ("relreplident", PgType::CHAR),
    ("relispartition", PgType::BOOL),
    ("relrewrite", PgType::OID),
    ("relfrozenxid", PgType { oid: 28, typmod: -1 }),
    ("relminmxid", PgType { oid: 28, typmod: -1 }),
    ("relacl", TEXTS),
    ("reloptions", TEXTS),
    ("relpartbound", PgType::TEXT),
];

struct Class<'a> {
    oid: u32,
    name: &'a str,
    schema: u32,
    access: u32,
    rows: f32,
    has_index: bool,
    kind: &'static str,
    columns: usize,
    checks: usize,
    has_rules: bool,
    has_triggers: bool,
}

fn class_row(class: &Class<'_>) -> Vec<Cell> {
    let columns = i16::try_from(class.columns).unwrap_or(i16::MAX);
    cells![
        class.oid,
        class.name,
        class.schema,
        0,
        0,
        OWNER,
        class.access,
        0,
        0,
        0,
        Cell::Real(class.rows),
        0,
        0,
        class.has_index,
        false,
        "p",
        class.kind,
        columns,
        i16::try_from(class.checks).unwrap_or(i16::MAX),
        class.has_rules,
        class.has_triggers,
        false,
        false,
        false,
        true,
        "n",
        false,
        0,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
    ]
}

fn classes(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let schema_oid = |name: &str| snapshot.schemas.get(name).map_or(0, |schema| schema.oid);
    let mut rows: Vec<Vec<Cell>> = all_relations(snapshot)
        .map(|relation| {
            let kind = kind(relation);
            class_row(&Class {
                oid: relation.oid,
                name: &relation.name,
                schema: schema_oid(&relation.schema),
                access: if matches!(kind, "r" | "m") { HEAP } else { 0 },
                rows: estimate(relation),
                has_index: snapshot.objects.indexes.iter().any(|index| index.table_oid == relation.oid),
                kind,
                columns: attributes(relation).len(),
                checks: snapshot.objects.checks(relation.oid),
                has_rules: kind == "v",
                has_triggers: has_foreign_key(snapshot, relation.oid),
            })
        })
        .collect();
    rows.extend(snapshot.objects.indexes.iter().map(|index| {
        class_row(&Class {
            oid: index.oid,
            name: &index.name,
            schema: index.schema_oid,
            access: BTREE,
            rows: -1.0,
            has_index: false,
            kind: "i",
            columns: index.columns.len(),
            checks: 0,
            has_rules: false,
            has_triggers: false,
        })
    }));
    rows
}

/// PostgreSQL keeps foreign keys by triggers on both tables, so clients look for keys only where there are triggers.
fn has_foreign_key(snapshot: &Snapshot, table_oid: u32) -> bool {
    let foreign = snapshot.objects.constraints.iter().filter_map(|constraint| Some((constraint, constraint.references.as_ref()?)));
    foreign.into_iter().any(|(constraint, far)| constraint.table_oid == table_oid || far.table_oid == table_oid)
}

/// `reltuples`: -1 when the store does not tell.
#[expect(clippy::cast_precision_loss, reason = "pg_class.reltuples is a real, an estimate")]
fn estimate(relation: &Relation) -> f32 {
    match &relation.body {
        RelationBody::Stored { table, .. } => table.row_estimate.map_or(-1.0, |rows| rows as f32),
        RelationBody::View { .. } | RelationBody::Rows(_) => -1.0,
    }
}

const ATTRIBUTE: &[(&str, PgType)] = &[
    ("attrelid", PgType::OID),
    ("attname", PgType::NAME),
    ("atttypid", PgType::OID),
    ("attstattarget", PgType::INT4),
    ("attlen", PgType::INT2),
    ("attnum", PgType::INT2),
    ("attndims", PgType::INT4),
    ("attcacheoff", PgType::INT4),
    ("atttypmod", PgType::INT4),
    ("attbyval", PgType::BOOL),
    ("attalign", PgType::CHAR),
    ("attstorage", PgType::CHAR),
    ("attcompression", PgType::CHAR),
    ("attnotnull", PgType::BOOL),
    ("atthasdef", PgType::BOOL),
    ("atthasmissing", PgType::BOOL),
    ("attidentity", PgType::CHAR),
    ("attgenerated", PgType::CHAR),
    ("attisdropped", PgType::BOOL),
    ("attislocal", PgType::BOOL),
    ("attinhcount", PgType::INT4),
    ("attcollation", PgType::OID),
    ("attacl", TEXTS),
    ("attoptions", TEXTS),
    ("attfdwoptions", TEXTS),
    ("attmissingval", NAMES),
];

fn attribute_row(table: u32, attribute: &Attribute) -> Vec<Cell> {
    let identity = match attribute.generated {
        Generated::No => "",
        Generated::ByDefault => "d",
        Generated::Always => "a",
    };
    let len = attribute.pg_type.typlen();
    let dimensions = i32::from(attribute.pg_type.element().is_some());
    cells![
        table,
        attribute.name.as_str(),
        attribute.pg_type.oid,
        -1,
        len,
        attribute.number,
        dimensions,
        -1,
        attribute.pg_type.typmod,
        (1..=8).contains(&len),
        "i",
        if len < 0 { "x" } else { "p" },
        "",
        attribute.not_null,
        attribute.default.is_some(),
        false,
        identity,
        "",
        false,
        true,
        0,
        super::types::collation(attribute.pg_type),
        Cell::Null,
        Cell::Null,
        Cell::Null,
        Cell::Null,
    ]
}

fn attribute_rows(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for relation in all_relations(snapshot) {
        rows.extend(attributes(relation).iter().map(|attribute| attribute_row(relation.oid, attribute)));
    }
    for index in &snapshot.objects.indexes {
        let Some(table) = snapshot.relation_by_oid(index.table_oid) else { continue };
        let columns = attributes(table);
        for (place, number) in index.columns.iter().enumerate() {
            let Some(column) = columns.iter().find(|column| column.number == *number) else { continue };
            let number = i16::try_from(place + 1).unwrap_or(i16::MAX);
            let attribute = Attribute {
                name: column.name.clone(),
                number,
                pg_type: column.pg_type,
                not_null: false,
                default: None,
                generated: Generated::No,
                comment: None,
            };
            rows.push(attribute_row(index.oid, &attribute));
        }
    }
    rows
}

const ATTRDEF: &[(&str, PgType)] =
    &[("oid", PgType::OID), ("adrelid", PgType::OID), ("adnum", PgType::INT2), ("adbin", PgType::TEXT)];

fn defaults(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for relation in all_relations(snapshot) {
        for attribute in attributes(relation) {
            if let Some(default) = attribute.default {
                // Nothing joins on the oid of a default, so it is derived instead of kept.
                let oid = relation.oid.wrapping_mul(31).wrapping_add(u32::from(attribute.number.unsigned_abs()));
                rows.push(cells![oid, relation.oid, attribute.number, default]);
            }
        }
    }
    rows
}

const DESCRIPTION: &[(&str, PgType)] =
    &[("objoid", PgType::OID), ("classoid", PgType::OID), ("objsubid", PgType::INT4), ("description", PgType::TEXT)];

fn descriptions(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for relation in all_relations(snapshot) {
        if let RelationBody::Stored { table, .. } = &relation.body
            && let Some(comment) = &table.comment
        {
            rows.push(cells![relation.oid, PG_CLASS, 0, comment.as_str()]);
        }
        for attribute in attributes(relation) {
            if let Some(comment) = attribute.comment {
                rows.push(cells![relation.oid, PG_CLASS, attribute.number, comment]);
            }
        }
    }
    rows
}

const TABLES: &[(&str, PgType)] = &[
    ("schemaname", PgType::NAME),
    ("tablename", PgType::NAME),
    ("tableowner", PgType::NAME),
    ("tablespace", PgType::NAME),
    ("hasindexes", PgType::BOOL),
    ("hasrules", PgType::BOOL),
    ("hastriggers", PgType::BOOL),
    ("rowsecurity", PgType::BOOL),
];

fn tables(snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let owner = super::server::owner_name(facts);
    let stored = all_relations(snapshot).filter(|relation| kind(relation) == "r");
    stored
        .map(|relation| {
            let has_index = snapshot.objects.indexes.iter().any(|index| index.table_oid == relation.oid);
            cells![relation.schema.as_str(), relation.name.as_str(), owner.as_str(), Cell::Null, has_index, false, false, false]
        })
        .collect()
}

const VIEWS: &[(&str, PgType)] =
    &[("schemaname", PgType::NAME), ("viewname", PgType::NAME), ("viewowner", PgType::NAME), ("definition", PgType::TEXT)];

fn views(snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let owner = super::server::owner_name(facts);
    let kept = all_relations(snapshot).filter(|relation| kind(relation) == "v");
    kept.map(|relation| {
        let definition = relation.body.definition();
        let owner = relation.body.kept().map_or(owner.as_str(), |kept| kept.owner.as_str());
        cells![relation.schema.as_str(), relation.name.as_str(), owner, definition.as_deref()]
    })
    .collect()
}

const MATVIEWS: &[(&str, PgType)] = &[
    ("schemaname", PgType::NAME),
    ("matviewname", PgType::NAME),
    ("matviewowner", PgType::NAME),
    ("tablespace", PgType::NAME),
    ("hasindexes", PgType::BOOL),
    ("ispopulated", PgType::BOOL),
    ("definition", PgType::TEXT),
];

/// Those of ours, and those of stores, of which their own store knows more.
fn materialized_views(snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let (owner, states) = (super::server::owner_name(facts), facts.views.states());
    let listed = all_relations(snapshot).filter(|relation| kind(relation) == "m");
    listed
        .map(|relation| {
            let (schema, name) = (relation.schema.as_str(), relation.name.as_str());
            let state = states.iter().find(|state| state.schema == schema && state.name == name);
            let is_populated = match (&relation.body, state) {
                (RelationBody::Stored { .. }, _) => true,
                (_, Some(state)) => state.is_populated,
                (body, None) => body.materialized().is_some_and(|(_, materialized)| materialized.with_data),
            };
            let definition = relation.body.definition();
            let owner = relation.body.kept().map_or(owner.as_str(), |kept| kept.owner.as_str());
            let has_index = snapshot.objects.indexes.iter().any(|index| index.table_oid == relation.oid);
            cells![schema, name, owner, Cell::Null, has_index, is_populated, definition.as_deref()]
        })
        .collect()
}
