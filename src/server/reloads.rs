//! What the audit log is told of a catalog directory that was read again: names of what has changed, and no values.

use std::collections::{BTreeMap, BTreeSet};

use super::ServerError;
use crate::config::{Config, Fingerprint};
use crate::error::Diagnose as _;
use crate::session::role::{Role, Roles};
use crate::stores::StoreName;
use crate::telemetry::{Audit, Event};

/// What the files of stores and views said when they were read last.
#[derive(Debug, Default)]
pub(super) struct Files {
    stores: BTreeMap<StoreName, Fingerprint>,
    views: BTreeMap<String, String>,
}

impl Files {
    /// Those of a catalog directory.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            stores: config.stores.iter().map(|store| (store.name.clone(), store.fingerprint.clone())).collect(),
            views: config.views.iter().map(|view| (view.name.clone(), view.sql.clone())).collect(),
        }
    }
}

/// Tells what became of reading the catalog directory again.
pub(super) async fn tell_reload(audit: &Audit, outcome: Result<Changes, &ServerError>) {
    let event = Event::new("reload");
    let event = match outcome {
        Ok(changes) => changes.0.into_iter().fold(event.done(), |event, (key, names)| event.with(key, names)),
        Err(error) => event.failed(error.sqlstate()),
    };
    audit.tell(event).await;
}

/// The names of what a reload has changed, and no values; lists without a name are left out.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<(&'static str, Vec<String>)>);

impl Changes {
    /// What differs between two sets of roles.
    pub(super) fn of_roles(before: &Roles, after: &Roles) -> Self {
        let is_other = |name: &String, role: &Role| {
            let told = |role: &Role| (role.verifier.clone(), role.superuser, role.read_only);
            before.get(name).is_some_and(|was| told(was) != told(role))
        };
        let added = after.keys().filter(|name| !before.contains_key(*name)).cloned();
        let removed = before.keys().filter(|name| !after.contains_key(*name)).cloned();
        let changed = after.iter().filter(|(name, role)| is_other(name, role)).map(|(name, _)| name.clone());
        Self::default()
            .and("roles_added", added.collect())
            .and("roles_removed", removed.collect())
            .and("roles_changed", changed.collect())
    }

    /// The same and the stores that are there now or no more, and keys that wait for the next start.
    pub(super) fn and_stores(self, before: &BTreeSet<StoreName>, after: &BTreeSet<StoreName>, keys: &[&'static str]) -> Self {
        let names = |some: &BTreeSet<StoreName>, others: &BTreeSet<StoreName>| {
            some.difference(others).map(ToString::to_string).collect::<Vec<_>>()
        };
        self.and("stores_added", names(after, before))
            .and("stores_removed", names(before, after))
            .and("at_next_start", keys.iter().map(|key| (*key).to_owned()).collect())
    }

    /// The same and the stores and views whose files say something else now.
    pub(super) fn and_files(self, before: &Files, after: &Files) -> Self {
        let is_other = |(name, file): &(&StoreName, &Fingerprint)| before.stores.get(*name).is_some_and(|was| was != *file);
        let stores = after.stores.iter().filter(is_other).map(|(name, _)| name.to_string());
        let is_new = |name: &&String| !before.views.contains_key(*name);
        let is_gone = |name: &&String| !after.views.contains_key(*name);
        let has_other_text = |(name, text): &(&String, &String)| before.views.get(*name).is_some_and(|was| was != *text);
        let changed = after.views.iter().filter(has_other_text).map(|(name, _)| name.clone());
        self.and("stores_changed", stores.collect())
            .and("views_added", after.views.keys().filter(is_new).cloned().collect())
            .and("views_removed", before.views.keys().filter(is_gone).cloned().collect())
            .and("views_changed", changed.collect())
    }

    fn and(mut self, key: &'static str, names: Vec<String>) -> Self {
        if !names.is_empty() {
            self.0.push((key, names));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::role::Verifier;

    #[test]
    fn what_a_reload_has_changed_is_told_by_names() {
        let verifier = |text: &str| {
            let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [text.as_bytes()[0]; 32]);
            Verifier::parse(&format!("SCRAM-SHA-256$4096:c2FsdHNhbHQ=${key}:{key}"))
        };
        let role = |name: &str, superuser, password: &str| {
            let role = Role { name: name.to_owned(), verifier: verifier(password), superuser, read_only: false };
            (name.to_owned(), role)
        };
        let before =
            Roles::from([role("ada", false, "a"), role("bob", false, "b"), role("eve", true, "e"), role("pat", true, "p")]);
        let after = Roles::from([role("ada", true, "a"), role("bob", false, "x"), role("pat", true, "p"), role("zoe", false, "z")]);
        let stores = |names: &[&str]| names.iter().map(|name| StoreName::new(name)).collect::<BTreeSet<_>>();
        let changes = Changes::of_roles(&before, &after).and_stores(&stores(&["a", "b"]), &stores(&["b", "c"]), &["listen"]);
        let expected = [
            ("roles_added", vec!["zoe".to_owned()]),
            ("roles_removed", vec!["eve".to_owned()]),
            ("roles_changed", vec!["ada".to_owned(), "bob".to_owned()]),
            ("stores_added", vec!["c".to_owned()]),
            ("stores_removed", vec!["a".to_owned()]),
            ("at_next_start", vec!["listen".to_owned()]),
        ];
        assert_eq!(changes.0, expected);
        assert!(Changes::of_roles(&after, &after).and_stores(&stores(&["a"]), &stores(&["a"]), &[]).0.is_empty());
    }

    #[test]
    fn files_that_say_something_else_are_told_by_names() {
        let files = |stores: &[(&str, &str)], views: &[(&str, &str)]| {
            let print = |text: &str| Fingerprint::of(&toml::from_str(text).unwrap());
            Files {
                stores: stores.iter().map(|(name, text)| (StoreName::new(name), print(text))).collect(),
                views: views.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            }
        };
        let before = files(
            &[("a", "host = 'x'"), ("b", "read_only = true\nport = 1"), ("c", "")],
            &[("kept", "SELECT 1"), ("other", "SELECT 1"), ("gone", "SELECT 1")],
        );
        let after = files(
            &[("a", "host = 'y'"), ("b", "# The same.\nread_only = true\nport = 1"), ("d", "")],
            &[("kept", "SELECT 1"), ("other", "SELECT 2"), ("new", "SELECT 1")],
        );
        let expected = [
            ("stores_changed", vec!["a".to_owned()]),
            ("views_added", vec!["new".to_owned()]),
            ("views_removed", vec!["gone".to_owned()]),
            ("views_changed", vec!["other".to_owned()]),
        ];
        assert_eq!(Changes::default().and_files(&before, &after).0, expected);
        assert!(Changes::default().and_files(&after, &after).0.is_empty());
        assert!(!format!("{after:?}").contains("host"), "{after:?}");
    }
}
