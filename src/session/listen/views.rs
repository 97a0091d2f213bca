//! What a session is told of materialized views: that their rows are others, once for all that has come until it is told.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Weak};

use futures::future::select_all;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::super::Shared;
use super::super::rights::may_anything;
use super::super::role::Roles;
use super::super::views::{ServedViews, position_of};
use super::ears::{Notification, fed};
use crate::catalog::{QualifiedName, Relation, SearchPath, Snapshot};
use crate::error::{Diagnosis, sqlstate};

/// Schema and name.
type Place = (String, String);

/// The materialized view that a name behind `view:` means.
///
/// # Errors
/// 42602 for what is no name, 42P01, 42809 for what is no materialized view, 42501 for a role that is not there any more.
pub(super) fn meant(
    name: &str,
    (snapshot, path): (&Snapshot, &SearchPath),
    (roles, role): (&Roles, &str),
) -> Result<Place, Diagnosis> {
    may_anything(roles, role, name)?;
    let named = QualifiedName::of_text(name)
        .ok_or_else(|| Diagnosis::new(sqlstate::INVALID_NAME, format!("\"{name}\" is not the name of a view")))?;
    let relation = snapshot.resolve(&named, path)?;
    check_kind(&relation)?;
    Ok((relation.schema.clone(), relation.name.clone()))
}

/// Whether a view is still one.
///
/// # Errors
/// 42P01, 42809
pub(super) fn check((schema, name): &Place, snapshot: &Snapshot) -> Result<(), Diagnosis> {
    let named = QualifiedName { database: None, schema: Some(schema.clone()), relation: name.clone() };
    check_kind(snapshot.resolve(&named, &SearchPath::Default)?.as_ref())
}

fn check_kind(relation: &Relation) -> Result<(), Diagnosis> {
    if relation.body.materialized().is_some() {
        return Ok(());
    }
    let message = format!("\"{}\" is not a materialized view", relation.name);
    Err(Diagnosis::new(sqlstate::WRONG_OBJECT_TYPE, message))
}

/// The channel of a view.
#[derive(Debug)]
pub(super) struct ViewEar {
    view: Place,
    moved: watch::Receiver<u64>,
    views: Weak<ServedViews>,
}

impl ViewEar {
    /// From now on; `None` where nothing is known of the view yet.
    pub(super) fn of(view: &Place, shared: &Shared) -> Option<Self> {
        let mut moved = shared.views.moved((view.0.as_str(), view.1.as_str()))?;
        moved.mark_unchanged();
        Some(Self { view: view.clone(), moved, views: Arc::downgrade(&shared.views) })
    }

    pub(super) fn is_of(&self, view: &Place) -> bool {
        self.view == *view
    }

    /// Whether nothing is told of it any more: another one has its name.
    pub(super) fn is_over(&self) -> bool {
        self.moved.has_changed().is_err()
    }

    /// Whether its rows are others than when it was asked last.
    pub(super) fn has_moved(&mut self) -> bool {
        let has_moved = self.moved.has_changed().unwrap_or(false);
        self.moved.mark_unchanged();
        has_moved
    }

    /// What is told then.
    pub(super) fn told(&self, shown: &str) -> Notification {
        let (schema, name) = (self.view.0.as_str(), self.view.1.as_str());
        let reading = self.views.upgrade().and_then(|views| views.reading((schema, name)));
        fed(shown, payload((schema, name), reading.and_then(|reading| position_of(&reading))))
    }
}

fn payload((schema, name): (&str, &str), position: Option<String>) -> String {
    let mut told = Map::new();
    told.insert("op".to_owned(), Value::from("changed"));
    told.insert("schema".to_owned(), Value::from(schema));
    told.insert("view".to_owned(), Value::from(name));
    told.insert("position".to_owned(), position.map_or(Value::Null, Value::from));
    Value::Object(told).to_string()
}

/// What comes first of all views. Cancel-safe.
pub(super) async fn next_of(views: &mut BTreeMap<String, ViewEar>) -> Notification {
    if views.is_empty() {
        return pending().await;
    }
    let waits = views.iter_mut().map(|(shown, ear)| {
        Box::pin(async move {
            if ear.moved.changed().await.is_err() {
                // Whether another one has its name is seen with the next version of the catalog.
                return pending().await;
            }
            ear.told(shown)
        })
    });
    let (told, _, _) = select_all(waits).await;
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_told_by_its_names() {
        let told: Value = serde_json::from_str(&payload(("public", "totals"), Some("shop: p".to_owned()))).unwrap();
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        assert_eq!((text("op"), text("schema"), text("view")), ("changed".to_owned(), "public".to_owned(), "totals".to_owned()));
        assert_eq!(text("position"), "shop: p");
        let unknown: Value = serde_json::from_str(&payload(("public", "totals"), None)).unwrap();
        assert!(unknown["position"].is_null());
    }
}
