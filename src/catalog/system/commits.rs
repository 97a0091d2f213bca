//! `tributary.transactions` and `tributary.in_doubt`: commits over several stores, and what the stores still hold of them.
//!
//! A role sees what it has written itself, and a superuser all.

use super::table::{Cell, TEXTS, live};
use crate::catalog::commits::{Doubt, Transaction};
use crate::catalog::discover::SystemRelation;
use crate::catalog::snapshot::{SessionFacts, Snapshot};
use crate::cells;
use crate::pgtype::PgType;
use crate::stores::StoreName;

pub(super) fn relations() -> Vec<SystemRelation> {
    vec![live("tributary", "transactions", TRANSACTIONS, transactions), live("tributary", "in_doubt", IN_DOUBT, in_doubt)]
}

const TRANSACTIONS: &[(&str, PgType)] = &[
    ("gid", PgType::TEXT),
    ("state", PgType::TEXT),
    ("guarantee", PgType::TEXT),
    ("stores", TEXTS),
    ("pending", TEXTS),
    ("role", PgType::NAME),
    ("began", PgType::TIMESTAMPTZ),
    ("decided", PgType::TIMESTAMPTZ),
    ("error", PgType::TEXT),
];

fn sees_all(facts: &SessionFacts) -> bool {
    facts.superusers.contains(&facts.role)
}

fn names(stores: &[StoreName]) -> Cell {
    Cell::Texts(stores.iter().map(ToString::to_string).collect())
}

fn transactions(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let sees_all = sees_all(facts);
    let row = |shown: Transaction| {
        cells![
            shown.gid.to_string(),
            shown.state.words(),
            shown.guarantee,
            names(&shown.stores),
            names(&shown.pending),
            shown.role,
            shown.began,
            shown.decided,
            shown.error,
        ]
    };
    facts.commits.transactions().into_iter().filter(|shown| sees_all || shown.role == facts.role).map(row).collect()
}

const IN_DOUBT: &[(&str, PgType)] = &[
    ("gid", PgType::TEXT),
    ("branch", PgType::TEXT),
    ("store", PgType::NAME),
    ("log", PgType::TEXT),
    ("is_ours", PgType::BOOL),
    ("state", PgType::TEXT),
    ("prepared", PgType::TIMESTAMPTZ),
    ("seen", PgType::TIMESTAMPTZ),
    ("reason", PgType::TEXT),
];

fn in_doubt(_snapshot: &Snapshot, facts: &SessionFacts) -> Vec<Vec<Cell>> {
    let sees_all = sees_all(facts);
    let row = |doubt: Doubt| {
        cells![
            doubt.gid.map(|gid| gid.to_string()),
            doubt.branch,
            doubt.store.as_str(),
            doubt.log,
            doubt.is_ours,
            doubt.waits.words(),
            doubt.prepared,
            doubt.seen,
            doubt.reason,
        ]
    };
    let is_seen = |doubt: &Doubt| sees_all || doubt.role.as_ref() == Some(&facts.role);
    facts.commits.in_doubt().into_iter().filter(is_seen).map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use chrono::Utc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::catalog::Commits;
    use crate::catalog::commits::{State, Waits};
    use crate::catalog::object::Objects;
    use crate::stores::commit::{Gid, LogId};

    fn shown() -> Arc<Commits> {
        let (commits, now) = (Commits::default(), Utc::now());
        for (number, role) in [(1, "ada"), (2, "bob")] {
            let gid = Gid { log: LogId(7), number };
            let stores = vec![StoreName::new("a"), StoreName::new("b")];
            commits.begin(Transaction {
                gid,
                state: State::Committing,
                guarantee: "two-phase: a, b".to_owned(),
                pending: vec![StoreName::new("b")],
                stores,
                role: role.to_owned(),
                began: now,
                decided: Some(now),
                error: None,
            });
        }
        let doubt = |number, role: Option<&str>| {
            let gid = Gid { log: LogId(7), number };
            Doubt {
                gid: Some(gid),
                branch: gid.of_store(&StoreName::new("b")).to_string(),
                store: StoreName::new("b"),
                log: gid.log.to_string(),
                is_ours: true,
                waits: Waits::ForStore,
                role: role.map(str::to_owned),
                prepared: None,
                seen: now,
                reason: None,
            }
        };
        commits.found(vec![doubt(1, Some("ada")), doubt(2, None)]);
        Arc::new(commits)
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::new(),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        }
    }

    #[test]
    fn a_role_sees_its_own_transactions_and_a_superuser_all() {
        let (snapshot, commits) = (snapshot(), shown());
        let facts = |role: &str| SessionFacts {
            role: role.to_owned(),
            superusers: vec!["root".to_owned()],
            commits: Arc::clone(&commits),
            ..SessionFacts::default()
        };
        let counts = |role: &str| (transactions(&snapshot, &facts(role)).len(), in_doubt(&snapshot, &facts(role)).len());
        assert_eq!((counts("ada"), counts("bob"), counts("eve"), counts("root")), ((1, 1), (1, 0), (0, 0), (2, 2)));
    }

    #[test]
    fn rows_fit_their_columns() {
        let facts = SessionFacts {
            role: "root".to_owned(),
            superusers: vec!["root".to_owned()],
            commits: shown(),
            ..SessionFacts::default()
        };
        let row = transactions(&snapshot(), &facts).remove(0);
        assert_eq!(row.len(), TRANSACTIONS.len());
        assert_eq!(row[..2], [Cell::from("tributary:0000000000000007:0000000000000001"), Cell::from("committing")]);
        assert_eq!(row[3..5], [Cell::Texts(vec!["a".to_owned(), "b".to_owned()]), Cell::Texts(vec!["b".to_owned()])]);
        let row = in_doubt(&snapshot(), &facts).remove(0);
        assert_eq!((row.len(), &row[5]), (IN_DOUBT.len(), &Cell::from("waiting for its store")));
    }
}
