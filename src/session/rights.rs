//! Who may follow changes of what, and when that is to be asked again: at every version of the catalog, when the roles are others, and when
//! there are stores whose events were not there before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::role::Roles;
use crate::catalog::{Relation, RelationBody};
use crate::changes::NotFollowed;
use crate::error::{Diagnose, Diagnosis, sentence, sqlstate};

/// How often it is looked whether the roles or the logs are others, which nobody tells.
const TICK: Duration = Duration::from_secs(1);

/// Whether a role may be told of changes of these columns of a relation. Every role reads everything that is shown.
///
/// # Errors
/// 42501 for a role that is not there any more, 42809 for what has no changes of its own.
pub fn may_follow(roles: &Roles, role: &str, relation: &Relation, columns: &[usize]) -> Result<(), Diagnosis> {
    // Rights on single columns would be asked for here.
    let _ = columns;
    may_anything(roles, role, &relation.name)?;
    let what = match &relation.body {
        RelationBody::Stored { .. } => return Ok(()),
        RelationBody::View { .. } if relation.body.materialized().is_some() => return Ok(()),
        RelationBody::View { .. } => "a view",
        RelationBody::Rows(_) => "a system relation",
    };
    Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", relation.name))
        .with_detail(format!("It is {what}; what changes are the tables of stores, and materialized views.")))
}

/// Whether a role may be told of anything at all. Asked before the table is looked for, which fails while its store cannot be looked at.
///
/// # Errors
/// 42501 for a role that is not there any more.
pub fn may_anything(roles: &Roles, role: &str, table: &str) -> Result<(), Diagnosis> {
    if roles.contains_key(role) {
        return Ok(());
    }
    let message = format!("permission denied for table {table}");
    Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).with_detail("The role does not exist any more."))
}

/// What is told of a table without events, by its schema and name.
pub fn not_followed((schema, name): (&str, &str), why: &NotFollowed) -> Diagnosis {
    let told = format!("changes of table \"{schema}.{name}\" are not followed");
    let told = Diagnosis::new(why.sqlstate(), told).with_detail(sentence(&why.reason));
    match &why.mend {
        Some(mend) => told.with_hint(mend.clone()),
        None => told,
    }
}

/// What rights stand on, as it was when they were asked for last.
#[derive(Debug)]
pub struct Grounds {
    versions: watch::Receiver<u64>,
    roles: Arc<Roles>,
    /// How many stores have events. A log is opened some time behind the version of the catalog that its store came with.
    logs: usize,
    /// When that is looked at next.
    due: Instant,
    /// Whether a version was seen that nobody has asked for yet.
    is_seen: bool,
}

impl Grounds {
    /// As they are now. Made before the rights are asked for.
    pub fn of(shared: &Shared) -> Self {
        let (versions, roles) = (shared.catalog.versions(), shared.roles.load_full());
        Self { versions, roles, logs: shared.feeds.hubs().len(), due: Instant::now() + TICK, is_seen: false }
    }

    /// The same, which are to be asked for once more: they were asked for under an older version, perhaps.
    pub fn unasked(shared: &Shared) -> Self {
        Self { is_seen: true, ..Self::of(shared) }
    }

    /// Whether they are others than they were when this was made, or asked last.
    pub fn have_moved(&mut self, shared: &Shared) -> bool {
        let roles = shared.roles.load_full();
        let are_others = self.versions.has_changed().unwrap_or(false) || !Arc::ptr_eq(&roles, &self.roles);
        self.versions.mark_unchanged();
        self.roles = roles;
        let has_moved = std::mem::take(&mut self.is_seen) || are_others;
        if has_moved {
            self.logs = shared.feeds.hubs().len();
        }
        has_moved
    }

    /// Returns when they are others. Cancel-safe; [`Grounds::have_moved`] still says so then.
    pub async fn moved(&mut self, shared: &Shared) {
        loop {
            if self.is_seen || !Arc::ptr_eq(&shared.roles.load_full(), &self.roles) {
                return;
            }
            if Instant::now() >= self.due {
                self.due = Instant::now() + TICK;
                self.is_seen = shared.feeds.hubs().len() != self.logs;
                continue;
            }
            // Cancel-safe: what is seen here is noted at once. A catalog that tells of no versions any more ends with its server.
            tokio::select! {
                Ok(()) = self.versions.changed() => self.is_seen = true,
                () = tokio::time::sleep_until(self.due) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::role::Role;
    use crate::stores::{StoreName, Table};

    fn relation(body: RelationBody) -> Relation {
        Relation { oid: 1, schema: "shop".to_owned(), name: "orders".to_owned(), body }
    }

    #[test]
    fn tables_are_followed_by_roles_that_exist() {
        let role = Role { name: "ada".to_owned(), verifier: None, superuser: false, read_only: true };
        let roles: Roles = [(role.name.clone(), role)].into_iter().collect();
        let table = Arc::new(Table::plain("public", "orders", Vec::new()));
        let stored = relation(RelationBody::Stored { store: StoreName::new("shop"), table });
        let view = relation(RelationBody::View { sql: "SELECT 1".to_owned(), columns: Vec::new(), kept: None });
        let code = |role: &str, relation: &Relation| may_follow(&roles, role, relation, &[]).map_err(|error| error.sqlstate);
        assert_eq!(code("ada", &stored), Ok(()));
        assert_eq!(code("bob", &stored), Err("42501".to_owned()));
        assert_eq!(code("ada", &view), Err("42809".to_owned()));
        let anything = |role: &str| may_anything(&roles, role, "orders").map_err(|error| error.sqlstate);
        assert_eq!((anything("ada"), anything("bob")), (Ok(()), Err("42501".to_owned())));
    }

    #[test]
    fn reasons_are_sentences() {
        let why = NotFollowed { reason: "it has no key".to_owned(), mend: Some("Add one.".to_owned()), is_passing: false };
        let told = not_followed(("shop", "orders"), &why);
        assert_eq!((told.sqlstate.as_str(), told.detail.as_deref()), ("55000", Some("It has no key.")));
        assert_eq!(
            (told.message.as_str(), told.hint.as_deref()),
            ("changes of table \"shop.orders\" are not followed", Some("Add one."))
        );
        // Whoever comes back at a position is told apart from whoever has to start over.
        assert_eq!(not_followed(("shop", "orders"), &NotFollowed { is_passing: true, ..why }).sqlstate, "57P03");
    }
}
