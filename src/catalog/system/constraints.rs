//! Keys: `pg_index`, `pg_constraint`, `pg_indexes`.

use super::table::{Cell, INT2S, INT2VECTOR, OIDS, OIDVECTOR, relation};
use super::text;
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        relation("pg_catalog", "pg_index", 2610, INDEX, indexes),
        relation("pg_catalog", "pg_constraint", 2606, CONSTRAINT, constraints),
        relation("pg_catalog", "pg_indexes", 0, INDEXES, index_definitions),
    ]
}

const INDEX: &[(&str, PgType)] = &[
    ("indexrelid", PgType::OID),
    ("indrelid", PgType::OID),
    ("indnatts", PgType::INT2),
    ("indnkeyatts", PgType::INT2),
    ("indisunique", PgType::BOOL),
    ("indnullsnotdistinct", PgType::BOOL),
    ("indisprimary", PgType::BOOL),
    ("indisexclusion", PgType::BOOL),
    ("indimmediate", PgType::BOOL),
    ("indisclustered", PgType::BOOL),
    ("indisvalid", PgType::BOOL),
    ("indcheckxmin", PgType::BOOL),
    ("indisready", PgType::BOOL),
    ("indislive", PgType::BOOL),
    ("indisreplident", PgType::BOOL),
    ("indkey", INT2VECTOR),
    ("indcollation", OIDVECTOR),
    ("indclass", OIDVECTOR),
    ("indoption", INT2VECTOR),
    ("indexprs", PgType::TEXT),
    ("indpred", PgType::TEXT),
];

fn indexes(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |index: &crate::catalog::object::Index| {
        let count = i16::try_from(index.columns.len()).unwrap_or(i16::MAX);
        let zeros = Cell::Ints(vec![0; index.columns.len()]);
        cells![
            index.oid,
            index.table_oid,
            count,
            count,
            index.unique,
            false,
            index.primary,
            false,
            true,
            false,
            true,
            false,
            true,
            true,
            false,
            index.columns.as_slice(),
            zeros.clone(),
            zeros.clone(),
            zeros,
            Cell::Null,
            Cell::Null,
        ]
    };
    snapshot.objects.indexes.iter().map(row).collect()
}

const CONSTRAINT: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("conname", PgType::NAME),
    ("connamespace", PgType::OID),
    ("contype", PgType::CHAR),
    ("condeferrable", PgType::BOOL),
    ("condeferred", PgType::BOOL),
    ("convalidated", PgType::BOOL),
    ("conrelid", PgType::OID),
    ("contypid", PgType::OID),
    ("conindid", PgType::OID),
    ("conparentid", PgType::OID),
    ("confrelid", PgType::OID),
    ("confupdtype", PgType::CHAR),
    ("confdeltype", PgType::CHAR),
    ("confmatchtype", PgType::CHAR),
    ("conislocal", PgType::BOOL),
    ("coninhcount", PgType::INT4),
    ("connoinherit", PgType::BOOL),
    ("conkey", INT2S),
    ("confkey", INT2S),
    ("conpfeqop", OIDS),
    ("conppeqop", OIDS),
    ("conffeqop", OIDS),
    ("confdelsetcols", INT2S),
    ("conexclop", OIDS),
    ("conbin", PgType::TEXT),
];

fn constraints(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |constraint: &crate::catalog::object::Constraint| {
        let far = constraint.references.as_ref();
        let matching = if far.is_some() { "s" } else { " " };
        cells![
            constraint.oid,
            constraint.name.as_str(),
            constraint.schema_oid,
            constraint.kind.letter(),
            false,
            false,
            true,
            constraint.table_oid,
            0,
            constraint.index_oid,
            0,
            far.map_or(0, |far| far.table_oid),
            far.map_or(" ", |far| far.on_update.letter()),
            far.map_or(" ", |far| far.on_delete.letter()),
            matching,
            true,
            0,
            true,
            constraint.columns.as_slice(),
            far.map(|far| far.columns.as_slice()),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Null,
            constraint.condition.as_deref(),
        ]
    };
    snapshot.objects.constraints.iter().map(row).collect()
}

const INDEXES: &[(&str, PgType)] = &[
    ("schemaname", PgType::NAME),
    ("tablename", PgType::NAME),
    ("indexname", PgType::NAME),
    ("tablespace", PgType::NAME),
    ("indexdef", PgType::TEXT),
];

fn index_definitions(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |index: &crate::catalog::object::Index| {
        cells![index.schema.as_str(), index.table.as_str(), index.name.as_str(), Cell::Null, text::index(index)]
    };
    snapshot.objects.indexes.iter().map(row).collect()
}
