//! What goes on: `pg_stat_activity`, `pg_prepared_statements`, `pg_cursors`.
//!
//! A role sees its own sessions only, and a superuser all of them: of others PostgreSQL shows that they are there, and we do not.

use std::sync::Arc;

use super::server::{DATABASE, role_oid};
use super::table::{Cell, TEXTS, live};
use crate::catalog::discover::SystemRelation;
use crate::catalog::live::Activity;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;

/// `xid`
const XID: PgType = PgType { oid: 28, typmod: -1 };

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![
        live("pg_catalog", "pg_stat_activity", ACTIVITY, activity),
        live("pg_catalog", "pg_prepared_statements", STATEMENTS, statements),
        live("pg_catalog", "pg_cursors", CURSORS, cursors),
    ]
}

const ACTIVITY: &[(&str, PgType)] = &[
    ("datid", PgType::OID),
    ("datname", PgType::NAME),
    ("pid", PgType::INT4),
    ("leader_pid", PgType::INT4),
    ("usesysid", PgType::OID),
    ("usename", PgType::NAME),
    ("application_name", PgType::TEXT),
    ("client_addr", PgType::INET),
    ("client_hostname", PgType::TEXT),
    ("client_port", PgType::INT4),
    ("backend_start", PgType::TIMESTAMPTZ),
    ("xact_start", PgType::TIMESTAMPTZ),
    ("query_start", PgType::TIMESTAMPTZ),
    ("state_change", PgType::TIMESTAMPTZ),
    ("wait_event_type", PgType::TEXT),
    ("wait_event", PgType::TEXT),
    ("state", PgType::TEXT),
    ("backend_xid", XID),
    ("backend_xmin", XID),
    ("query_id", PgType::INT8),
    ("query", PgType::TEXT),
    ("backend_type", PgType::TEXT),
];

/// The sessions that a role may see.
fn seen(facts: &SessionFacts) -> Vec<Arc<Activity>> {
    let sees_all = facts.superusers.contains(&facts.role);
    facts.sessions.all().into_iter().filter(|session| sees_all || session.role == facts.role).collect()
}

fn activity(snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |session: Arc<Activity>| {
        let doing = session.doing();
        // A session that waits in no transaction waits for its client.
        let waits = (doing.state != "active").then_some(());
        cells![
            DATABASE,
            snapshot.database.as_str(),
            session.process_id,
            Cell::Null,
            role_oid(facts, &session.role),
            session.role.as_str(),
            doing.application_name.as_str(),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            session.began,
            doing.transaction_start,
            doing.query_start,
            doing.since,
            waits.map(|()| "Client"),
            waits.map(|()| "ClientRead"),
            doing.state,
            Cell::Null,
            Cell::Null,
            Cell::Null,
            &*doing.query,
            "client backend",
        ]
    };
    seen(facts).into_iter().map(row).collect()
}

const STATEMENTS: &[(&str, PgType)] = &[
    ("name", PgType::TEXT),
    ("statement", PgType::TEXT),
    ("prepare_time", PgType::TIMESTAMPTZ),
    ("parameter_types", TEXTS),
    ("from_sql", PgType::BOOL),
    ("generic_plans", PgType::INT8),
    ("custom_plans", PgType::INT8),
];

/// How often a plan has served is counted for all sessions together, so not here.
fn statements(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |(name, statement): (&String, &crate::catalog::live::Statement)| {
        let types = Cell::Texts(statement.parameters.iter().map(ToString::to_string).collect());
        cells![name.as_str(), &*statement.text, statement.prepared, types, statement.from_sql, Cell::Null, Cell::Null]
    };
    facts.named.statements().iter().map(row).collect()
}

const CURSORS: &[(&str, PgType)] = &[
    ("name", PgType::TEXT),
    ("statement", PgType::TEXT),
    ("is_holdable", PgType::BOOL),
    ("is_binary", PgType::BOOL),
    ("is_scrollable", PgType::BOOL),
    ("creation_time", PgType::TIMESTAMPTZ),
];

fn cursors(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let row = |(name, cursor): (&String, &crate::catalog::live::Cursor)| {
        cells![name.as_str(), &*cursor.text, false, cursor.is_binary, false, cursor.opened]
    };
    facts.named.cursors().iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::live::Sessions;

    #[test]
    fn sessions_of_others_are_for_superusers() {
        let sessions: Arc<Sessions> = Arc::default();
        let kept = [(1, "ada"), (2, "bob"), (3, "ada")].map(|(process, role)| sessions.enter(Activity::new(process, role, "")));
        let facts = |role: &str| SessionFacts {
            role: role.to_owned(),
            superusers: vec!["root".to_owned()],
            sessions: Arc::clone(&sessions),
            ..SessionFacts::default()
        };
        let seen_by = |role: &str| seen(&facts(role)).iter().map(|session| session.process_id).collect::<Vec<_>>();
        assert_eq!(seen_by("ada"), [1, 3]);
        assert_eq!(seen_by("bob"), [2]);
        assert_eq!(seen_by("root"), [1, 2, 3]);
        assert_eq!(seen_by("nobody"), [0; 0]);
        drop(kept);
        assert_eq!(seen_by("root"), [0; 0]);
    }
}
