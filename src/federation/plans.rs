//! Plans that all sessions share: a bounded set of planned statements, each under everything that it was planned with.
//!
//! The key holds the statement as a tree, so that spaces, comments and the case of key words make no difference, the types
//! that the client gave, the values of every setting that results depend on, the search path as the session resolves it, the role
//! and the version of the catalog.
//!
//! With a plan goes what its executions have shown, and its optimised form for all values once there is one (`generic`).
//!
//! **Invariants:** what is kept has no placeholder filled and no time evaluated: `now()` and its like are calls in it. Nothing
//! is kept that holds what one session may know: functions and relations of the system answer from facts of the session that
//! planned them. Plans of an earlier catalog go when one of a later catalog comes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::Query;

use super::materialized::MaterializedTable;
use super::plan::{Planned, Setting};
use crate::catalog::{RelationBody, SearchPath, system};

/// Most plans that are kept.
pub const ENTRIES_MAX: usize = 2_000;
/// Most bytes that they take together, as [`bytes_of`] guesses them.
pub const BYTES_MAX: usize = 128 << 20;
/// What a plan takes for each byte of its statement, roughly: nodes, expressions and schemas, and again for all values.
const BYTES_PER_LETTER: usize = 128;
/// What a plan takes whatever it says.
const BYTES_PER_PLAN: usize = 8 << 10;

/// What a statement was planned with.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    query: Query,
    given: Vec<u32>,
    /// The session's own schema stands for `$user` in it.
    path: SearchPath,
    /// Also what may be pushed: the tables of a plan say by it what they take.
    affecting: Arc<[String]>,
    role: String,
    version: u64,
}

impl Key {
    pub(super) fn new(query: &Query, given: &[u32], setting: &Setting) -> Self {
        Self {
            query: query.clone(),
            given: given.to_vec(),
            path: setting.path.clone(),
            affecting: Arc::clone(&setting.affecting),
            role: setting.facts.role.clone(),
            version: setting.snapshot.version,
        }
    }

    /// A number that equal keys share.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.query.hash(&mut hasher);
        (&self.given, &self.affecting, &self.role, self.version).hash(&mut hasher);
        hasher.finish()
    }
}

/// The plans. What does not fit pushes out what was not used for the longest time.
#[derive(Debug, Default)]
pub struct Plans(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<u64, Entry>,
    /// Digests by when they were last used.
    used: BTreeMap<u64, u64>,
    clock: u64,
    bytes: usize,
    /// The latest catalog seen.
    version: u64,
    hits: u64,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    planned: Planned,
    bytes: usize,
    used: u64,
}

/// How full the plans are and how often they served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling {
    /// Plans kept.
    pub entries: usize,
    /// Bytes they are guessed to take.
    pub bytes: usize,
    /// Statements that found their plan.
    pub hits: u64,
}

impl Plans {
    /// The plan of an equal statement under equal settings.
    pub(super) fn find(&self, key: &Key) -> Option<Planned> {
        let mut kept = self.lock();
        let kept = &mut *kept;
        let digest = key.digest();
        let entry = kept.entries.get_mut(&digest).filter(|entry| entry.key == *key)?;
        kept.used.remove(&entry.used);
        kept.clock += 1;
        entry.used = kept.clock;
        kept.used.insert(entry.used, digest);
        kept.hits += 1;
        Some(entry.planned.clone())
    }

    /// Keeps a plan, unless it is one session's own, belongs to an earlier catalog, or is too large.
    pub(super) fn keep(&self, key: Key, planned: &Planned) {
        let bytes = bytes_of(&key, planned);
        if bytes > BYTES_MAX / 8 || !is_shareable(planned) {
            return;
        }
        let mut kept = self.lock();
        if key.version < kept.version {
            return;
        }
        if key.version > kept.version {
            *kept = Kept { version: key.version, hits: kept.hits, ..Kept::default() };
        }
        let digest = key.digest();
        kept.remove(digest);
        while kept.entries.len() >= ENTRIES_MAX || kept.bytes + bytes > BYTES_MAX {
            let Some((_, oldest)) = kept.used.pop_first() else { break };
            kept.remove(oldest);
        }
        kept.clock += 1;
        let used = kept.clock;
        kept.used.insert(used, digest);
        kept.bytes += bytes;
        kept.entries.insert(digest, Entry { key, planned: planned.clone(), bytes, used });
    }

    /// How full they are.
    pub fn filling(&self) -> Filling {
        let kept = self.lock();
        Filling { entries: kept.entries.len(), bytes: kept.bytes, hits: kept.hits }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, digest: u64) {
        if let Some(entry) = self.entries.remove(&digest) {
            self.used.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

fn bytes_of(key: &Key, planned: &Planned) -> usize {
    let letters = key.query.to_string().len() + planned.columns.iter().map(|column| column.name.len() + 64).sum::<usize>();
    BYTES_PER_PLAN + letters * BYTES_PER_LETTER
}

/// Whether a plan says the same to every session with the same settings and role.
pub(super) fn is_shareable(planned: &Planned) -> bool {
    let is_of_stores = planned.relations.values().all(|relation| !matches!(relation.body, RelationBody::Rows(_)));
    is_of_stores && !calls_system(planned.logical())
}

/// Whether a function that answers from the session is called anywhere in the plan, also in views.
fn calls_system(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= scan.source.get_logical_plan().is_some_and(|inner| calls_system(&inner));
            found |= MaterializedTable::of(scan).is_some_and(|view| calls_system(view.query()));
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found |= matches!(part, Expr::ScalarFunction(call) if system::is_of_session(&call.func));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found || walked.is_err()
}

#[cfg(test)]
mod tests {
    use super::super::engine::{Engine, Limits};
    use super::super::plan::{parse_query, plan};
    use super::*;
    use crate::catalog::object::Objects;
    use crate::catalog::snapshot::{SessionFacts, Snapshot};

    fn setting(version: u64, role: &str) -> Setting {
        let snapshot = Snapshot {
            version,
            database: "tributary".to_owned(),
            schemas: BTreeMap::new(),
            objects: Objects::default(),
            connectors: Arc::default(),
            reach: Arc::default(),
            retired: tokio_util::sync::CancellationToken::new(),
        };
        let facts = SessionFacts { role: role.to_owned(), ..SessionFacts::default() };
        Setting { facts: Arc::new(facts), ..Setting::of_server(Arc::new(snapshot)) }
    }

    fn keep(plans: &Plans, setting: &Setting, sql: &str) {
        let engine = Engine::new(&Limits::default()).unwrap();
        let query = parse_query(sql).unwrap();
        let planned = plan(&engine, setting, query.clone(), &[]).unwrap();
        plans.keep(Key::new(&query, &[], setting), &planned);
    }

    fn finds(plans: &Plans, setting: &Setting, sql: &str, given: &[u32]) -> bool {
        plans.find(&Key::new(&parse_query(sql).unwrap(), given, setting)).is_some()
    }

    #[test]
    fn a_plan_is_found_under_what_it_was_planned_with_only() {
        let (plans, setting) = (Plans::default(), setting(1, "ada"));
        keep(&plans, &setting, "SELECT 1 AS a, now()");
        assert!(finds(&plans, &setting, "select  1 /* one */ as a,\n now()", &[]));
        assert!(!finds(&plans, &setting, "SELECT 1 AS \"A\", now()", &[]));
        assert!(!finds(&plans, &setting, "SELECT '1' AS a, now()", &[]));
        assert!(!finds(&plans, &setting, "SELECT 1 AS a, now()", &[23]));
        let others = [
            self::setting(2, "ada"),
            self::setting(1, "guest"),
            Setting { affecting: Arc::from(["Asia/Tokyo".to_owned()]), ..setting.clone() },
            Setting { path: SearchPath::Named(vec!["shop".to_owned()]), ..setting.clone() },
        ];
        for other in others {
            assert!(!finds(&plans, &other, "SELECT 1 AS a, now()", &[]), "{other:?}");
        }
        assert!(finds(&plans, &setting, "SELECT 1 AS a, now()", &[]));
        assert_eq!((plans.filling().entries, plans.filling().hits), (1, 2));
    }

    #[test]
    fn what_a_session_knows_is_not_shared() {
        let (plans, setting) = (Plans::default(), setting(1, "ada"));
        for sql in ["SELECT current_user", "SELECT 1 WHERE pg_backend_pid() = 1", "SELECT (SELECT current_setting('TimeZone'))"] {
            keep(&plans, &setting, sql);
            assert!(!finds(&plans, &setting, sql, &[]), "{sql}");
        }
        assert_eq!(plans.filling().entries, 0);
    }

    #[test]
    fn a_later_catalog_empties_them_and_an_earlier_one_adds_nothing() {
        let plans = Plans::default();
        keep(&plans, &setting(1, "ada"), "SELECT 1");
        keep(&plans, &setting(2, "ada"), "SELECT 2");
        assert!(!finds(&plans, &setting(1, "ada"), "SELECT 1", &[]) && finds(&plans, &setting(2, "ada"), "SELECT 2", &[]));
        keep(&plans, &setting(1, "ada"), "SELECT 1");
        assert_eq!(plans.filling().entries, 1);
    }

    #[test]
    fn they_are_bounded_by_number_and_by_bytes() {
        let (plans, setting) = (Plans::default(), setting(1, "ada"));
        let engine = Engine::new(&Limits::default()).unwrap();
        let planned = plan(&engine, &setting, parse_query("SELECT 1").unwrap(), &[]).unwrap();
        let key = |sql: &str| Key::new(&parse_query(sql).unwrap(), &[], &setting);
        for number in 0..ENTRIES_MAX {
            plans.keep(key(&format!("SELECT {number}")), &planned);
        }
        assert!(finds(&plans, &setting, "SELECT 0", &[]));
        plans.keep(key("SELECT 'one more'"), &planned);
        assert_eq!(plans.filling().entries, ENTRIES_MAX);
        assert!(finds(&plans, &setting, "SELECT 0", &[]), "what was used last stays");
        assert!(!finds(&plans, &setting, "SELECT 1", &[]), "what was not used for the longest time goes");
        let long = "x".repeat(BYTES_MAX / BYTES_PER_LETTER / 10);
        for number in 0..30 {
            plans.keep(key(&format!("SELECT '{number}{long}'")), &planned);
            assert!(plans.filling().bytes <= BYTES_MAX);
        }
        assert!(plans.filling().entries < 12);
        plans.keep(key(&format!("SELECT '{long}{long}{long}'")), &planned);
        assert!(!finds(&plans, &setting, &format!("SELECT '{long}{long}{long}'"), &[]), "too large for any place");
    }
}
