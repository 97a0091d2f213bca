//! `pg_catalog`, `information_schema` and `tributary`: the relations that describe everything else.

use super::discover::SystemRelation;

/// All system relations that are made of the snapshot alone. Live ones (`pg_stat_activity`) are added by `server.rs`.
pub fn relations() -> Vec<SystemRelation> {
    Vec::new()
}

/// Functions that describe the catalog and the session: `pg_get_userbyid`, `current_schema`, ….
pub fn functions() -> Vec<std::sync::Arc<datafusion::logical_expr::ScalarUDF>> {
    Vec::new()
}
