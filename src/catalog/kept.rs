//! Views that clients have made, materialized ones among them: what is kept of each, their place in snapshots, and how they come and go.
//!
//! Those of the catalog directory are read as a whole and only by the server; these change one at a time, and outlive the process. A change
//! is on disk before the snapshot with it is served. A view of the directory, or a table that a store has got since, comes before one of
//! these with the same name, which then is not there but stays kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;

use super::builder::Builder;
use super::discover::{Catalog, DescribeView, Sources, build};
use super::entry::ViewSource;
use super::keyword::quote_identifier;
use super::snapshot::{RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

/// Most views that are kept: all of them are planned for each snapshot.
const KEPT_MAX: usize = 1_000;

/// Most bytes of their queries together: all of them are written for each change.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// What rows that are written through a view must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CheckOption {
    /// Nothing.
    #[default]
    None,
    /// The view's own condition.
    Local,
    /// Its condition and those of the views below it.
    Cascaded,
}

impl CheckOption {
    /// `information_schema.views.check_option`
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Local => "LOCAL",
            Self::Cascaded => "CASCADED",
        }
    }
}

/// A column of a view: those are fixed when the view is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptColumn {
    /// How the query names it.
    pub inner: String,
    /// How the view names it.
    pub name: String,
}

/// An index on the rows of a materialized view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptIndex {
    /// Its name, in the schema of the view.
    pub name: String,
    /// The columns of the view.
    pub columns: Vec<String>,
    /// Whether no two rows may have the same values there.
    pub unique: bool,
}

/// What a materialized view has besides its query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Materialization {
    /// Whether it is to have rows, and not only to be filled by a later REFRESH.
    pub with_data: bool,
    /// Its indexes, in the order in which they were made.
    #[serde(default)]
    pub indexes: Vec<KeptIndex>,
}

/// A view that a client has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptView {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its query, in which every relation is named with its schema.
    pub sql: String,
    /// Its columns.
    pub columns: Vec<KeptColumn>,
    /// Whose it is: with this role's rights it reaches what it reads.
    pub owner: String,
    /// What rows written through it must satisfy.
    #[serde(default)]
    pub check: CheckOption,
    /// What makes it a materialized one, whose rows are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub materialized: Option<Materialization>,
}

impl KeptView {
    fn key(&self) -> Key {
        (self.schema.clone(), self.name.clone())
    }

    /// The query that gives its columns by their names.
    fn definition(&self) -> Cow<'_, str> {
        if self.columns.iter().all(|column| column.inner == column.name) {
            return Cow::Borrowed(&self.sql);
        }
        let names: Vec<String> = self.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        Cow::Owned(format!("SELECT * FROM (\n{}\n) AS {}({})", self.sql, quote_identifier(&self.name), names.join(", ")))
    }

    /// The query that asks for all of it.
    fn whole(&self) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        format!("SELECT * FROM {}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl RelationBody {
    /// The query of a view as clients see it.
    pub fn definition(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::View { kept: Some(kept), .. } => Some(kept.definition()),
            Self::View { sql, kept: None, .. } => Some(Cow::Borrowed(sql)),
            Self::Stored { .. } | Self::Rows(_) => None,
        }
    }

    /// What is kept of a materialized view.
    pub fn materialized(&self) -> Option<(&Arc<KeptView>, &Materialization)> {
        let kept = self.kept()?;
        kept.materialized.as_ref().map(|materialized| (kept, materialized))
    }

    /// What is kept of a view that a client has made.
    pub fn kept(&self) -> Option<&Arc<KeptView>> {
        match self {
            Self::View { kept, .. } => kept.as_ref(),
            Self::Stored { .. } | Self::Rows(_) => None,
        }
    }
}

/// Schema and name.
type Key = (String, String);

/// All of them.
pub(super) type Kept = BTreeMap<Key, Arc<KeptView>>;

/// The columns of views.
pub(super) type Described = BTreeMap<Key, Vec<(String, PgType)>>;

/// Writes all kept views to where they outlive the process. Waits for the disk.
pub type KeepViews = Arc<dyn Fn(&[&KeptView]) -> Result<(), Diagnosis> + Send + Sync>;

/// Is called behind every change of them.
pub type TellViews = Arc<dyn Fn() + Send + Sync>;

/// A change of the kept views.
#[derive(Debug)]
pub enum ViewChange {
    /// A view is made.
    Put {
        /// It.
        view: KeptView,
        /// Whether it takes the place of one of its name that is kept.
        replaces: bool,
    },
    /// Views are dropped, by schema and name.
    Drop(Vec<(String, String)>),
}

impl Catalog {
    /// Takes over the views of an earlier process, and the means to keep them.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn keep_views(&self, views: Vec<KeptView>, keep: KeepViews) -> Result<(), Diagnosis> {
        let mut sources = self.lock();
        sources.kept = views.into_iter().map(|view| (view.key(), Arc::new(view))).collect();
        sources.keep = Some(keep);
        let next = build(&mut sources, self.snapshot().version + 1)?;
        self.publish(next);
        Ok(())
    }

    /// The views of clients that cannot be planned now, by schema and name, with the reason.
    pub fn broken_of_clients(&self) -> Vec<(String, Diagnosis)> {
        let sources = self.lock();
        let Some(describe) = &sources.describe else { return Vec::new() };
        let snapshot = self.snapshot();
        let broken = |view: &Arc<KeptView>| {
            let error = describe(&snapshot, &view.whole()).err()?;
            Some((format!("{}.{}", view.schema, view.name), error))
        };
        sources.kept.values().filter_map(broken).collect()
    }

    /// Held from the look at the views that there are to their change: nobody else changes them meanwhile.
    pub async fn views_turn(&self) -> MutexGuard<'_, ()> {
        self.views.lock().await
    }

    /// Changes the kept views, for who has the turn ([`Catalog::views_turn`]): it is on disk and in the snapshot when this returns. Waits for the disk.
    ///
    /// # Errors
    /// 42P07 for a name that is taken, 42P01 for one that is not there; why the view cannot be planned; what the disk said. Nothing has
    /// changed then.
    pub fn change_views(&self, change: ViewChange) -> Result<(), Diagnosis> {
        self.write_views(change)?;
        if let Some(told) = self.told_views.get() {
            told();
        }
        Ok(())
    }

    /// Has every later change of these views told, behind it. Done once, at the start.
    pub fn tell_views(&self, told: TellViews) {
        // Who comes second changes nothing.
        let _ = self.told_views.set(told);
    }

    fn write_views(&self, change: ViewChange) -> Result<(), Diagnosis> {
        let mut sources = self.lock();
        let current = self.snapshot();
        let mut kept = sources.kept.clone();
        let made = changed(&mut kept, change, &current)?;
        let before = (std::mem::replace(&mut sources.kept, kept), sources.oids.clone(), sources.broken.clone());
        let next = build(&mut sources, current.version + 1).and_then(|next| {
            check(&sources, &next, made.as_deref())?;
            let all: Vec<&KeptView> = sources.kept.values().map(AsRef::as_ref).collect();
            let keep = sources
                .keep
                .as_ref()
                .ok_or_else(|| Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "this server keeps no views of clients"))?;
            keep(all.as_slice())?;
            Ok(next)
        });
        match next {
            Ok(next) => {
                self.publish(next);
                Ok(())
            }
            Err(error) => {
                (sources.kept, sources.oids, sources.broken) = before;
                Err(error)
            }
        }
    }
}

/// Makes a change, and gives the view that is new.
fn changed(kept: &mut Kept, change: ViewChange, current: &Snapshot) -> Result<Option<Arc<KeptView>>, Diagnosis> {
    match change {
        ViewChange::Put { view, replaces } => {
            let Some(schema) = current.schemas.get(&view.schema) else {
                let message = format!("schema \"{}\" does not exist", view.schema);
                return Err(Diagnosis::new(sqlstate::INVALID_SCHEMA_NAME, message));
            };
            let taken = schema.relations.get(&view.name);
            if taken.is_some_and(|relation| !replaces || relation.body.kept().is_none()) {
                return Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{}\" already exists", view.name)));
            }
            if kept.len() >= KEPT_MAX && !kept.contains_key(&view.key()) {
                let message = format!("more than {KEPT_MAX} views cannot be kept");
                return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
            }
            let others = kept.iter().filter(|(key, _)| **key != view.key()).map(|(_, known)| known.sql.len());
            if others.sum::<usize>() + view.sql.len() > KEPT_BYTES_MAX {
                let message = format!("more than {KEPT_BYTES_MAX} bytes of views cannot be kept");
                return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
            }
            let view = Arc::new(view);
            kept.insert(view.key(), Arc::clone(&view));
            Ok(Some(view))
        }
        ViewChange::Drop(names) => {
            for key in names {
                if kept.remove(&key).is_none() {
                    let message = format!("view \"{}\" does not exist", key.1);
                    return Err(Diagnosis::new(sqlstate::UNDEFINED_TABLE, message));
                }
            }
            Ok(None)
        }
    }
}

/// A new view must be there and have its columns.
fn check(sources: &Sources, next: &Arc<Snapshot>, made: Option<&KeptView>) -> Result<(), Diagnosis> {
    let (Some(made), Some(describe)) = (made, &sources.describe) else { return Ok(()) };
    let found = next.schemas.get(&made.schema).and_then(|schema| schema.relations.get(&made.name));
    match found.map(|relation| &relation.body) {
        Some(RelationBody::View { columns, kept: Some(_), .. }) if !columns.is_empty() => Ok(()),
        Some(RelationBody::View { kept: Some(_), .. }) => describe(next, &made.whole()).map(|_| ()),
        _ => Err(Diagnosis::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{}\" already exists", made.name))),
    }
}

/// Puts the kept views among the relations of the next snapshot.
///
/// # Errors
/// None that can be: a name that is taken is passed over.
pub(super) fn insert(builder: &mut Builder, kept: &Kept, columns: &Described) -> Result<(), Diagnosis> {
    for (key, view) in kept {
        let is_free = builder.schemas.get(&view.schema).is_some_and(|schema| !schema.relations.contains_key(&view.name));
        if is_free {
            let columns = columns.get(key).cloned().unwrap_or_default();
            let body = RelationBody::View { sql: view.sql.clone(), columns, kept: Some(Arc::clone(view)) };
            builder.insert(&view.schema, &view.name, body)?;
        }
    }
    Ok(())
}

/// The columns of the views that can be planned, and the errors of those of the catalog directory that cannot, by name.
pub(super) fn describe_all(
    views: &[ViewSource],
    kept: &Kept,
    describe: &DescribeView,
    bare: &Arc<Snapshot>,
) -> (Described, BTreeMap<String, Diagnosis>) {
    let (mut columns, mut broken) = (Described::new(), BTreeMap::new());
    for view in views {
        match describe(bare, &view.sql) {
            Ok(described) => drop(columns.insert(("public".to_owned(), view.name.clone()), described)),
            Err(error) => drop(broken.insert(view.name.clone(), error)),
        }
    }
    for (key, view) in kept {
        // What cannot be planned answers with its error when it is asked for.
        if !columns.contains_key(key)
            && let Ok(described) = describe(bare, &view.whole())
        {
            columns.insert(key.clone(), described);
        }
    }
    (columns, broken)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::catalog::Known;

    fn view(name: &str) -> KeptView {
        let column = KeptColumn { inner: "a".to_owned(), name: "b".to_owned() };
        KeptView {
            schema: "public".to_owned(),
            name: name.to_owned(),
            sql: "SELECT 1 AS a".to_owned(),
            columns: vec![column],
            owner: "ann".to_owned(),
            check: CheckOption::None,
            materialized: None,
        }
    }

    fn put(name: &str, replaces: bool) -> ViewChange {
        ViewChange::Put { view: view(name), replaces }
    }

    /// A catalog with a view of the directory, and what it has written.
    fn catalog() -> (Catalog, Arc<Mutex<Vec<Vec<String>>>>) {
        let of_directory = vec![ViewSource { name: "filed".to_owned(), sql: "SELECT 2".to_owned() }];
        let catalog = Catalog::of_known("tributary", (Vec::new(), Known::new()), of_directory, Vec::new()).unwrap();
        let written: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let to = Arc::clone(&written);
        let keep: KeepViews = Arc::new(move |views| {
            if views.iter().any(|view| view.name == "unwritable") {
                return Err(Diagnosis::new(sqlstate::SYSTEM_ERROR, "the disk is full"));
            }
            to.lock().unwrap().push(views.iter().map(|view| view.name.clone()).collect());
            Ok(())
        });
        catalog.keep_views(vec![view("earlier")], keep).unwrap();
        (catalog, written)
    }

    fn names(catalog: &Catalog) -> Vec<String> {
        catalog.snapshot().schemas["public"].relations.keys().cloned().collect()
    }

    #[test]
    fn views_come_and_go_and_are_written_before_they_are_served() {
        let (catalog, written) = catalog();
        assert_eq!(names(&catalog), ["earlier", "filed"]);
        let version = catalog.snapshot().version;
        catalog.change_views(put("new", false)).unwrap();
        assert_eq!(names(&catalog), ["earlier", "filed", "new"]);
        assert!(catalog.snapshot().version > version);
        let code = |change: ViewChange| catalog.change_views(change).unwrap_err().sqlstate;
        assert_eq!(code(put("new", false)), "42P07");
        assert_eq!(code(put("filed", true)), "42P07", "a view of the directory stays");
        assert_eq!(code(put("unwritable", false)), "58000");
        let long = KeptView { sql: " ".repeat(KEPT_BYTES_MAX), ..view("long") };
        assert_eq!(code(ViewChange::Put { view: long, replaces: false }), "54000");
        assert_eq!(names(&catalog), ["earlier", "filed", "new"]);
        catalog.change_views(put("new", true)).unwrap();
        let dropped = |name: &str| ViewChange::Drop(vec![("public".to_owned(), name.to_owned())]);
        assert_eq!(code(dropped("filed")), "42P01");
        catalog.change_views(dropped("earlier")).unwrap();
        assert_eq!(names(&catalog), ["filed", "new"]);
        let expected: Vec<Vec<&str>> = vec![vec!["earlier", "new"], vec!["earlier", "new"], vec!["new"]];
        assert_eq!(*written.lock().unwrap(), expected);
    }

    #[test]
    fn other_names_are_in_the_definition() {
        let body = RelationBody::View { sql: String::new(), columns: Vec::new(), kept: Some(Arc::new(view("v"))) };
        assert_eq!(body.definition().unwrap(), "SELECT * FROM (\nSELECT 1 AS a\n) AS v(b)");
        let plain = RelationBody::View { sql: "SELECT 1".to_owned(), columns: Vec::new(), kept: None };
        assert_eq!(plain.definition().unwrap(), "SELECT 1");
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let text = serde_json::to_string(&view("v")).unwrap();
        assert_eq!(serde_json::from_str::<KeptView>(&text).unwrap(), view("v"));
        let index = KeptIndex { name: "v_b_idx".to_owned(), columns: vec!["b".to_owned()], unique: true };
        let materialized = Some(Materialization { with_data: true, indexes: vec![index] });
        let kept = KeptView { materialized, ..view("v") };
        let written = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<KeptView>(&written).unwrap(), kept);
    }

    #[test]
    fn what_was_kept_before_there_were_materialized_views_is_none_of_them() {
        let text = serde_json::to_string(&view("v")).unwrap();
        assert!(!text.contains("materialized"));
        let body = |kept: KeptView| RelationBody::View { sql: String::new(), columns: Vec::new(), kept: Some(Arc::new(kept)) };
        assert!(body(serde_json::from_str(&text).unwrap()).materialized().is_none());
        let kept = KeptView { materialized: Some(Materialization::default()), ..view("v") };
        assert!(body(kept).materialized().is_some_and(|(_, materialized)| !materialized.with_data));
    }
}
