//! The server itself: `pg_database`, `pg_roles`, `pg_user`, `pg_settings`, `pg_am`, `pg_timezone_names`, `tributary.stores`.

use super::classes::OWNER;
use super::table::{Cell, NAMES, TEXTS, relation};
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::error::Diagnosis;
use crate::pgtype::PgType;

/// `pg_database.oid` of the one database.
pub(super) const DATABASE: u32 = 5;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        relation("pg_catalog", "pg_database", 1262, DATABASES, databases),
        relation("pg_catalog", "pg_roles", 0, ROLES, roles),
        relation("pg_catalog", "pg_authid", 1260, ROLES, roles),
        relation("pg_catalog", "pg_user", 0, USERS, users),
        relation("pg_catalog", "pg_settings", 0, SETTINGS, settings),
        relation("pg_catalog", "pg_am", 2601, METHODS, methods),
        relation("pg_catalog", "pg_tablespace", 1213, TABLESPACES, tablespaces),
        relation("pg_catalog", "pg_timezone_names", 0, ZONES, zones),
        relation("tributary", "stores", 0, STORES, stores),
    ]
}

/// Names with object ids; the first is the owner of everything.
fn numbered(facts: &SessionFacts) -> impl Iterator<Item = (u32, &String)> {
    (OWNER..).zip(&facts.roles)
}

/// The role name behind an oid.
pub(super) fn role_name(facts: &SessionFacts, oid: i64) -> Option<&String> {
    numbered(facts).find(|(known, _)| i64::from(*known) == oid).map(|(_, name)| name)
}

/// The role oid behind a name.
pub(super) fn role_oid(facts: &SessionFacts, name: &str) -> Option<u32> {
    numbered(facts).find(|(_, known)| *known == name).map(|(oid, _)| oid)
}

/// The name of the role that owns everything.
pub(super) fn owner_name(facts: &SessionFacts) -> String {
    facts.roles.first().unwrap_or(&facts.role).clone()
}

const DATABASES: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("datname", PgType::NAME),
    ("datdba", PgType::OID),
    ("encoding", PgType::INT4),
    ("datlocprovider", PgType::CHAR),
    ("datistemplate", PgType::BOOL),
    ("datallowconn", PgType::BOOL),
    ("datconnlimit", PgType::INT4),
    ("dattablespace", PgType::OID),
    ("datcollate", PgType::TEXT),
    ("datctype", PgType::TEXT),
    ("daticulocale", PgType::TEXT),
    ("datcollversion", PgType::TEXT),
    ("datacl", TEXTS),
];

/// 6 is the number of UTF8 among PostgreSQL's encodings. Text is ordered by its bytes (`C`); what a letter is, and its other
/// case, is decided as `C.UTF-8` does.
fn databases(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    vec![cells![
        DATABASE,
        snapshot.database.as_str(),
        OWNER,
        6,
        "c",
        false,
        true,
        -1,
        1663,
        "C",
        "C.UTF-8",
        Cell::Null,
        Cell::Null,
        Cell::Null
    ]]
}

const ROLES: &[(&str, PgType)] = &[
    ("oid", PgType::OID),
    ("rolname", PgType::NAME),
    ("rolsuper", PgType::BOOL),
    ("rolinherit", PgType::BOOL),
    ("rolcreaterole", PgType::BOOL),
    ("rolcreatedb", PgType::BOOL),
    ("rolcanlogin", PgType::BOOL),
    ("rolreplication", PgType::BOOL),
    ("rolconnlimit", PgType::INT4),
    ("rolpassword", PgType::TEXT),
    ("rolvaliduntil", PgType::TIMESTAMPTZ),
    ("rolbypassrls", PgType::BOOL),
    ("rolconfig", TEXTS),
];

fn roles(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |(oid, name): (u32, &String)| {
        let superuser = facts.superusers.contains(name);
        cells![oid, name.as_str(), superuser, true, false, false, true, false, -1, "********", Cell::Null, false, Cell::Null]
    };
    numbered(facts).map(row).collect()
}

const USERS: &[(&str, PgType)] = &[
    ("usename", PgType::NAME),
    ("usesysid", PgType::OID),
    ("usecreatedb", PgType::BOOL),
    ("usesuper", PgType::BOOL),
    ("userepl", PgType::BOOL),
    ("usebypassrls", PgType::BOOL),
    ("passwd", PgType::TEXT),
    ("valuntil", PgType::TIMESTAMPTZ),
    ("useconfig", TEXTS),
];

fn users(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |(oid, name): (u32, &String)| {
        cells![name.as_str(), oid, false, facts.superusers.contains(name), false, false, "********", Cell::Null, Cell::Null]
    };
    numbered(facts).map(row).collect()
}

const SETTINGS: &[(&str, PgType)] = &[
    ("name", PgType::TEXT),
    ("setting", PgType::TEXT),
    ("unit", PgType::TEXT),
    ("category", PgType::TEXT),
    ("short_desc", PgType::TEXT),
    ("extra_desc", PgType::TEXT),
    ("context", PgType::TEXT),
    ("vartype", PgType::TEXT),
    ("source", PgType::TEXT),
    ("min_val", PgType::TEXT),
    ("max_val", PgType::TEXT),
    ("enumvals", NAMES),
    ("boot_val", PgType::TEXT),
    ("reset_val", PgType::TEXT),
    ("sourcefile", PgType::TEXT),
    ("sourceline", PgType::INT4),
    ("pending_restart", PgType::BOOL),
];

fn settings(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |(name, value, meaning): &(String, String, String)| {
        cells![
            name.as_str(),
            value.as_str(),
            Cell::Null,
            "Tributary",
            meaning.as_str(),
            Cell::Null,
            "user",
            "string",
            "default",
            Cell::Null,
            Cell::Null,
            Cell::Null,
            value.as_str(),
            value.as_str(),
            Cell::Null,
            Cell::Null,
            false,
        ]
    };
    facts.settings.iter().map(row).collect()
}

const METHODS: &[(&str, PgType)] =
    &[("oid", PgType::OID), ("amname", PgType::NAME), ("amhandler", PgType::OID), ("amtype", PgType::CHAR)];

fn methods(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    vec![cells![2, "heap", 3, "t"], cells![403, "btree", 330, "i"]]
}

const TABLESPACES: &[(&str, PgType)] =
    &[("oid", PgType::OID), ("spcname", PgType::NAME), ("spcowner", PgType::OID), ("spcacl", TEXTS), ("spcoptions", TEXTS)];

fn tablespaces(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    vec![cells![1663, "pg_default", OWNER, Cell::Null, Cell::Null]]
}

const ZONES: &[(&str, PgType)] = &[("name", PgType::TEXT)];

fn zones(_snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    chrono_tz::TZ_VARIANTS.iter().map(|zone| cells![zone.name()]).collect()
}

const STORES: &[(&str, PgType)] = &[
    ("name", PgType::TEXT),
    ("kind", PgType::TEXT),
    ("schemas", TEXTS),
    ("tables", PgType::INT8),
    ("available", PgType::BOOL),
    ("reason", PgType::TEXT),
];

/// Tells what is known, and has stores looked at again for the next time: rows of the system wait for no store.
fn stores(snapshot: &Snapshot, _facts: &SessionFacts) -> Vec<Vec<Cell>> {
    snapshot.reach.ask();
    let row = |(name, connector): (&crate::stores::StoreName, &std::sync::Arc<dyn crate::stores::Connector>)| {
        let schemas: Vec<_> = snapshot.schemas.values().filter(|schema| schema.store.as_ref() == Some(name)).collect();
        let tables = schemas.iter().map(|schema| i64::try_from(schema.relations.len()).unwrap_or(i64::MAX)).sum::<i64>();
        let undiscovered = schemas.iter().find_map(|schema| schema.unavailable.clone());
        let reason = undiscovered.or_else(|| snapshot.reach.away(name).map(|error| Diagnosis::of(&error)));
        let told = reason.map(|reason| reason.detail.unwrap_or(reason.message));
        let names = Cell::Texts(schemas.iter().map(|schema| schema.name.clone()).collect());
        cells![name.as_str(), connector.kind(), names, tables, told.is_none(), told]
    };
    snapshot.connectors.iter().map(row).collect()
}
