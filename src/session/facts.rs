//! What a session tells system relations and functions of itself.

use std::sync::Arc;

use super::Session;
use crate::catalog::snapshot::SessionFacts;
use crate::catalog::{SearchPath, Snapshot};

impl Session {
    /// The facts as they are now.
    pub(super) fn make_facts(&self, snapshot: &Snapshot, path: &SearchPath) -> SessionFacts {
        let views = Arc::clone(&self.shared.views);
        SessionFacts {
            role: self.role.clone(),
            roles: self.shared.roles.load().keys().cloned().collect(),
            superusers: self.shared.roles.load().values().filter(|role| role.superuser).map(|role| role.name.clone()).collect(),
            search_path: snapshot.effective_path(path).into_iter().map(|schema| schema.name.clone()).collect(),
            process_id: self.process_id,
            settings: self.settings.all(),
            server_version: crate::SERVER_VERSION.to_owned(),
            sessions: Arc::clone(&self.shared.sessions),
            named: Arc::clone(self.names.shown()),
            commits: Arc::clone(self.shared.commitment.coordinator.shown()),
            feeds: Arc::clone(&self.shared.feeds),
            caches: Arc::clone(&self.shared.caches),
            views,
        }
    }
}
