//! Whether a session may write to a relation: asked before anything is planned. The audit log is told of a write that is refused so.

use crate::catalog::{Relation, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::federation::updatable::Chain;
use crate::session::Session;
use crate::stores::StoreName;
use crate::write::access::{self, Asked};

/// Who asks and what for.
pub(super) fn check(session: &Session, setting: &Setting, verb: &'static str, relation: &Relation) -> Result<(), Diagnosis> {
    let connector = store_of(relation).and_then(|store| setting.snapshot.connectors.get(store));
    let read_only_block = match &session.block {
        Some(block) => block.modes.read_only,
        None => session.settings.is_on("default_transaction_read_only"),
    };
    // Asked of the roles as they are now: a reload may have changed them. A role that is gone writes no more.
    let role_read_only = session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only);
    access::check(&Asked { verb, relation, connector, read_only_block, role_read_only })
}

/// [`check`] for the table below views, which they reach with the rights of their owners.
pub(super) fn check_through(session: &Session, setting: &Setting, verb: &'static str, chain: &Chain) -> Result<(), Diagnosis> {
    check(session, setting, verb, &chain.base)?;
    let roles = session.shared.roles.load();
    let only_reads = |owner: &&String| roles.get(*owner).is_none_or(|role| role.read_only);
    match chain.owners.iter().find(only_reads) {
        None => Ok(()),
        Some(owner) => {
            let message = format!("permission denied for table {}", chain.base.name);
            Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
                .with_detail(format!("The owner of the view, \"{owner}\", does not write.")))
        }
    }
}

/// The store that owns a relation, if one does.
pub(super) fn store_of(relation: &Relation) -> Option<&StoreName> {
    match &relation.body {
        RelationBody::Stored { store, .. } => Some(store),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    }
}
