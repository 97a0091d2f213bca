//! `information_schema`, as the SQL standard and PostgreSQL's manual (chapter 37) define it, over the same snapshot.

use super::classes::{all_relations, attributes, kind};
use super::server::owner_name;
use super::table::{Cell, relation};
use crate::catalog::discover::SystemRelation;
use crate::catalog::object::{Constraint, ConstraintKind};
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;
use crate::stores::schema::Generated;

const SCHEMA: &str = "information_schema";
const NAME: PgType = PgType::NAME;
const WORD: PgType = PgType::VARCHAR;
const INT4: PgType = PgType::INT4;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        relation(SCHEMA, "schemata", 0, SCHEMATA, schemata),
        relation(SCHEMA, "tables", 0, TABLES, tables),
        relation(SCHEMA, "views", 0, VIEWS, views),
        relation(SCHEMA, "columns", 0, COLUMNS, columns),
        relation(SCHEMA, "table_constraints", 0, TABLE_CONSTRAINTS, table_constraints),
        relation(SCHEMA, "key_column_usage", 0, KEY_COLUMN_USAGE, key_column_usage),
        relation(SCHEMA, "constraint_column_usage", 0, CONSTRAINT_COLUMN_USAGE, constraint_column_usage),
        relation(SCHEMA, "check_constraints", 0, CHECK_CONSTRAINTS, check_constraints),
        relation(SCHEMA, "referential_constraints", 0, REFERENTIAL, referential_constraints),
        relation(SCHEMA, "information_schema_catalog_name", 0, &[("catalog_name", NAME)], |snapshot, _| {
            vec![cells![snapshot.database.as_str()]]
        }),
        relation(
            SCHEMA,
            "sequences",
            0,
            &[("sequence_catalog", NAME), ("sequence_schema", NAME), ("sequence_name", NAME), ("data_type", WORD)],
            |_, _| Vec::new(),
        ),
        relation(
            SCHEMA,
            "routines",
            0,
            &[
                ("routine_catalog", NAME),
                ("routine_schema", NAME),
                ("routine_name", NAME),
                ("routine_type", WORD),
                ("data_type", WORD),
            ],
            |_, _| Vec::new(),
        ),
    ]
}

const SCHEMATA: &[(&str, PgType)] = &[
    ("catalog_name", NAME),
    ("schema_name", NAME),
    ("schema_owner", NAME),
    ("default_character_set_name", NAME),
    ("sql_path", WORD),
];

fn schemata(snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let owner = owner_name(facts);
    snapshot
        .schemas
        .keys()
        .map(|name| cells![snapshot.database.as_str(), name.as_str(), owner.as_str(), Cell::Null, Cell::Null])
        .collect()
}

const TABLES: &[(&str, PgType)] = &[
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("table_type", WORD),
    ("self_referencing_column_name", NAME),
    ("reference_generation", WORD),
    ("user_defined_type_catalog", NAME),
    ("user_defined_type_schema", NAME),
    ("user_defined_type_name", NAME),
    ("is_insertable_into", WORD),
    ("is_typed", WORD),
    ("commit_action", WORD),
];

fn tables(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let listed = all_relations(snapshot).filter(|relation| matches!(kind(relation), "r" | "v"));
    listed
        .map(|relation| {
            let base = kind(relation) == "r";
            cells![
                snapshot.database.as_str(),
                relation.schema.as_str(),
                relation.name.as_str(),
                if base { "BASE TABLE" } else { "VIEW" },
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                if base { "YES" } else { "NO" },
                "NO",
                Cell::Null,
            ]
        })
        .collect()
}

const VIEWS: &[(&str, PgType)] = &[
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("view_definition", WORD),
    ("check_option", WORD),
    ("is_updatable", WORD),
    ("is_insertable_into", WORD),
];

fn views(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let listed = all_relations(snapshot).filter(|relation| kind(relation) == "v");
    listed
        .map(|relation| {
            let sql = relation.body.definition();
            let check = relation.body.kept().map_or("NONE", |kept| kept.check.words());
            cells![snapshot.database.as_str(), relation.schema.as_str(), relation.name.as_str(), sql.as_deref(), check, "NO", "NO"]
        })
        .collect()
}

const COLUMNS: &[(&str, PgType)] = &[
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("column_name", NAME),
    ("ordinal_position", INT4),
    ("column_default", WORD),
    ("is_nullable", WORD),
    ("data_type", WORD),
    ("character_maximum_length", INT4),
    ("character_octet_length", INT4),
    ("numeric_precision", INT4),
    ("numeric_precision_radix", INT4),
    ("numeric_scale", INT4),
    ("datetime_precision", INT4),
    ("interval_type", WORD),
    ("collation_name", NAME),
    ("domain_name", NAME),
    ("udt_catalog", NAME),
    ("udt_schema", NAME),
    ("udt_name", NAME),
    ("is_identity", WORD),
    ("identity_generation", WORD),
    ("is_generated", WORD),
    ("generation_expression", WORD),
    ("is_updatable", WORD),
];

fn columns(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    // PostgreSQL's information schema knows no materialized views.
    for relation in all_relations(snapshot).filter(|relation| kind(relation) != "m") {
        for attribute in attributes(relation) {
            let shape = Shape::of(attribute.pg_type);
            let identity = attribute.generated != Generated::No;
            let generation = match attribute.generated {
                Generated::No => None,
                Generated::ByDefault => Some("BY DEFAULT"),
                Generated::Always => Some("ALWAYS"),
            };
            rows.push(cells![
                snapshot.database.as_str(),
                relation.schema.as_str(),
                relation.name.as_str(),
                attribute.name,
                attribute.number,
                attribute.default,
                if attribute.not_null { "NO" } else { "YES" },
                shape.data_type,
                shape.length,
                shape.octets,
                shape.precision,
                shape.radix,
                shape.scale,
                shape.fraction,
                Cell::Null,
                Cell::Null,
                Cell::Null,
                snapshot.database.as_str(),
                "pg_catalog",
                attribute.pg_type.name(),
                if identity { "YES" } else { "NO" },
                generation,
                "NEVER",
                Cell::Null,
                if kind(relation) == "r" { "YES" } else { "NO" },
            ]);
        }
    }
    rows
}

/// The parts of a type that `information_schema.columns` spells out.
struct Shape {
    data_type: String,
    length: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    fraction: Option<i32>,
}

impl Shape {
    fn of(pg_type: PgType) -> Self {
        let data_type =
            if pg_type.element().is_some() { "ARRAY".to_owned() } else { PgType::with_typmod(pg_type.oid, -1).to_string() };
        let mut shape = Self { data_type, length: None, octets: None, precision: None, radix: None, scale: None, fraction: None };
        let integer = |bits: i32| (Some(bits), Some(2), Some(0));
        (shape.precision, shape.radix, shape.scale) = match pg_type.oid {
            21 => integer(16),
            23 => integer(32),
            20 => integer(64),
            700 => (Some(24), Some(2), None),
            701 => (Some(53), Some(2), None),
            1700 => match pg_type.numeric_shape() {
                Some((precision, scale)) => (Some(i32::from(precision)), Some(10), Some(i32::from(scale))),
                None => (None, Some(10), None),
            },
            _ => (None, None, None),
        };
        match pg_type.oid {
            1042 | 1043 if pg_type.typmod >= 4 => shape.length = Some(pg_type.typmod - 4),
            1082 => shape.fraction = Some(0),
            1083 | 1114 | 1184 | 1186 | 1266 => shape.fraction = Some(if pg_type.typmod >= 0 { pg_type.typmod } else { 6 }),
            _ => {}
        }
        shape.octets = match pg_type.oid {
            25 | 1042 | 1043 => Some(shape.length.map_or(1 << 30, |length| length.saturating_mul(4))),
            _ => None,
        };
        shape
    }
}

const TABLE_CONSTRAINTS: &[(&str, PgType)] = &[
    ("constraint_catalog", NAME),
    ("constraint_schema", NAME),
    ("constraint_name", NAME),
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("constraint_type", WORD),
    ("is_deferrable", WORD),
    ("initially_deferred", WORD),
    ("enforced", WORD),
];

fn table_constraints(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let database = snapshot.database.as_str();
    let row = |found: &Constraint| {
        let schema = found.schema.as_str();
        cells![database, schema, found.name.as_str(), database, schema, found.table.as_str(), found.kind.words(), "NO", "NO", "YES"]
    };
    snapshot.objects.constraints.iter().map(row).collect()
}

const KEY_COLUMN_USAGE: &[(&str, PgType)] = &[
    ("constraint_catalog", NAME),
    ("constraint_schema", NAME),
    ("constraint_name", NAME),
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("column_name", NAME),
    ("ordinal_position", INT4),
    ("position_in_unique_constraint", INT4),
];

fn place(index: usize) -> i32 {
    i32::try_from(index + 1).unwrap_or(i32::MAX)
}

fn key_column_usage(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let database = snapshot.database.as_str();
    let mut rows = Vec::new();
    for found in snapshot.objects.constraints.iter().filter(|found| found.kind != ConstraintKind::Check) {
        for (index, column) in found.column_names.iter().enumerate() {
            let far = found.references.as_ref().map(|_| place(index));
            let schema = found.schema.as_str();
            rows.push(cells![
                database,
                schema,
                found.name.as_str(),
                database,
                schema,
                found.table.as_str(),
                column.as_str(),
                place(index),
                far
            ]);
        }
    }
    rows
}

const CONSTRAINT_COLUMN_USAGE: &[(&str, PgType)] = &[
    ("table_catalog", NAME),
    ("table_schema", NAME),
    ("table_name", NAME),
    ("column_name", NAME),
    ("constraint_catalog", NAME),
    ("constraint_schema", NAME),
    ("constraint_name", NAME),
];

fn constraint_column_usage(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let database = snapshot.database.as_str();
    let mut rows = Vec::new();
    for found in &snapshot.objects.constraints {
        let (schema, table, columns) = match &found.references {
            Some(far) => (&far.schema, &far.table, &far.column_names),
            None => (&found.schema, &found.table, &found.column_names),
        };
        for column in columns {
            rows.push(cells![
                database,
                schema.as_str(),
                table.as_str(),
                column.as_str(),
                database,
                found.schema.as_str(),
                found.name.as_str()
            ]);
        }
    }
    rows
}

const CHECK_CONSTRAINTS: &[(&str, PgType)] =
    &[("constraint_catalog", NAME), ("constraint_schema", NAME), ("constraint_name", NAME), ("check_clause", PgType::VARCHAR)];

fn check_constraints(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let database = snapshot.database.as_str();
    let checks = snapshot.objects.constraints.iter().filter(|found| found.kind == ConstraintKind::Check);
    checks.map(|found| cells![database, found.schema.as_str(), found.name.as_str(), found.condition.as_deref()]).collect()
}

const REFERENTIAL: &[(&str, PgType)] = &[
    ("constraint_catalog", NAME),
    ("constraint_schema", NAME),
    ("constraint_name", NAME),
    ("unique_constraint_catalog", NAME),
    ("unique_constraint_schema", NAME),
    ("unique_constraint_name", NAME),
    ("match_option", WORD),
    ("update_rule", WORD),
    ("delete_rule", WORD),
];

fn referential_constraints(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let database = snapshot.database.as_str();
    let foreign = snapshot.objects.constraints.iter().filter(|found| found.kind == ConstraintKind::Foreign);
    foreign
        .map(|found| {
            let target = snapshot.objects.constraints.iter().find(|other| {
                matches!(other.kind, ConstraintKind::Primary | ConstraintKind::Unique)
                    && other.index_oid == found.index_oid
                    && found.index_oid != 0
            });
            let (schema, name) = target.map_or((None, None), |target| (Some(target.schema.as_str()), Some(target.name.as_str())));
            cells![
                database,
                found.schema.as_str(),
                found.name.as_str(),
                schema.map(|_| database),
                schema,
                name,
                "NONE",
                found.references.as_ref().map(|far| far.on_update.words()),
                found.references.as_ref().map(|far| far.on_delete.words())
            ]
        })
        .collect()
}
