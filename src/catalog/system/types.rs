//! Types and collations: `pg_type`, `pg_range`, `pg_collation`.

use super::classes::OWNER;
use super::table::{Cell, TEXTS, relation};
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::{BUILTINS, Builtin, PgType};

/// `pg_collation.oid` of `default`.
const DEFAULT_COLLATION: u32 = 100;
/// `pg_collation.oid` of `C`.
const C_COLLATION: u32 = 950;
/// `pg_namespace.oid` of `pg_catalog`.
const PG_CATALOG: u32 = 11;

/// `typcollation` of a type, which is also `attcollation` of every column of it.
pub(super) fn collation(pg_type: PgType) -> u32 {
    let base = pg_type.element().unwrap_or(pg_type);
    match base.oid {
        25 | 1042 | 1043 => DEFAULT_COLLATION,
        19 => C_COLLATION,
        _ => 0,
    }
}

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        relation("pg_catalog", "pg_type", 1247, TYPE, types),
        relation("pg_catalog", "pg_range", 3541, RANGE, ranges),
        relation("pg_catalog", "pg_collation", 3456, COLLATION, collations),
    ]
}

const TYPE: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("typname", PgType::NAME),
    ("typnamespace", PgType::OID),
    ("typowner", PgType::OID),
    ("typlen", PgType::INT2),
    ("typbyval", PgType::BOOL),
    ("typtype", PgType::CHAR),
    ("typcategory", PgType::CHAR),
    ("typispreferred", PgType::BOOL),
    ("typisdefined", PgType::BOOL),
    ("typdelim", PgType::CHAR),
    ("typrelid", PgType::OID),
    ("typsubscript", PgType::OID),
    ("typelem", PgType::OID),
    ("typarray", PgType::OID),
    ("typinput", PgType::OID),
    ("typoutput", PgType::OID),
    ("typreceive", PgType::OID),
    ("typsend", PgType::OID),
    ("typmodin", PgType::OID),
    ("typmodout", PgType::OID),
    ("typanalyze", PgType::OID),
    ("typalign", PgType::CHAR),
    ("typstorage", PgType::CHAR),
    ("typnotnull", PgType::BOOL),
    ("typbasetype", PgType::OID),
    ("typtypmod", PgType::INT4),
    ("typndims", PgType::INT4),
    ("typcollation", PgType::OID),
    ("typdefaultbin", PgType::TEXT),
    ("typdefault", PgType::TEXT),
    ("typacl", TEXTS),
];

struct Row<'a> {
    oid: u32,
    name: &'a str,
    len: i16,
    kind: &'a str,
    category: char,
    element: u32,
    array: u32,
}

fn type_row(row: &Row<'_>) -> Vec<Cell> {
    let preferred = matches!(row.oid, 16 | 25 | 26 | 701 | 869 | 1184 | 1186 | 1562);
    let collation = collation(PgType::with_typmod(row.oid, -1));
    // `array_in` and its like, by which clients know arrays; other types' functions are not listed.
    let function = |oid: u32| if row.category == 'A' && row.element != 0 { oid } else { 0 };
    cells![
        row.oid,
        row.name,
        PG_CATALOG,
        OWNER,
        row.len,
        (1..=8).contains(&row.len),
        row.kind,
        row.category.to_string(),
        preferred,
        true,
        ",",
        0,
        0,
        row.element,
        row.array,
        function(750),
        function(751),
        function(2400),
        function(2401),
        0,
        0,
        0,
        if row.len == 8 { "d" } else { "i" },
        if row.len < 0 { "x" } else { "p" },
        false,
        0,
        -1,
        0,
        collation,
        Cell::Null,
        Cell::Null,
        Cell::Null,
    ]
}

fn types(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let scalars = BUILTINS.iter().map(|row| {
        let kind = match row.category {
            'P' | 'X' => "p",
            'R' => "r",
            _ => "b",
        };
        type_row(&Row {
            oid: row.oid,
            name: row.name,
            len: row.len,
            kind,
            category: row.category,
            element: PgType::with_typmod(row.oid, -1).element().map_or(0, |element| element.oid),
            array: row.array_oid,
        })
    });
    let arrays = BUILTINS.iter().filter(|row| row.array_oid != 0).map(|row: &Builtin| {
        let name = format!("_{}", row.name);
        type_row(&Row { oid: row.array_oid, name: &name, len: -1, kind: "b", category: 'A', element: row.oid, array: 0 })
    });
    scalars.chain(arrays).collect()
}

const RANGE: &[(&str, PgType)] = &[
    ("rngtypid", PgType::OID),
    ("rngsubtype", PgType::OID),
    ("rngmultitypid", PgType::OID),
    ("rngcollation", PgType::OID),
    ("rngsubopc", PgType::OID),
    ("rngcanonical", PgType::OID),
    ("rngsubdiff", PgType::OID),
];

fn ranges(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let pairs =
        [(3904, 23, 4451), (3906, 1700, 4532), (3908, 1114, 4533), (3910, 1184, 4534), (3912, 1082, 4535), (3926, 20, 4536)];
    pairs.iter().map(|(range, subtype, multi)| cells![*range, *subtype, *multi, 0, 0, 0, 0]).collect()
}

const COLLATION: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("collname", PgType::NAME),
    ("collnamespace", PgType::OID),
    ("collowner", PgType::OID),
    ("collprovider", PgType::CHAR),
    ("collisdeterministic", PgType::BOOL),
    ("collencoding", PgType::INT4),
    ("collcollate", PgType::TEXT),
    ("collctype", PgType::TEXT),
    ("colliculocale", PgType::TEXT),
    ("collversion", PgType::TEXT),
];

fn collations(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |oid: u32, name: &str, provider: &str, locale: Option<&str>| {
        cells![oid, name, PG_CATALOG, OWNER, provider, true, -1, locale, locale, Cell::Null, Cell::Null]
    };
    vec![row(DEFAULT_COLLATION, "default", "d", None), row(C_COLLATION, "C", "c", Some("C")), row(951, "POSIX", "c", Some("POSIX"))]
}
