//! `SELECT … FOR UPDATE` and its like: the rows of the tables that are named come through the branch that writes to their store, locked, and
//! stay so until the transaction ends. Outside of a block it ends when all rows have been sent.

use std::sync::Arc;

use super::Bound;
use super::select::{self, SELECTED};
use super::transaction::begin_implicit;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::Branches;
use crate::federation::digits;
use crate::federation::generic::PlanMode;
use crate::federation::locks::{self, Locked, Locking};
use crate::federation::plan::{Planned, Setting};
use crate::federation::ranges::Reading;
use crate::session::Session;
use crate::session::output::{Execution, Rows};
use crate::stores::StoreName;
use crate::write::access::{self, Asked};

/// Plans a query that locks rows.
pub(super) async fn plan(
    session: &mut Session,
    setting: &Setting,
    text: &Arc<str>,
    locking: &Locking,
    given: &[u32],
) -> Result<Planned, Diagnosis> {
    let setting = alone(setting);
    let planned = select::plan(session, &setting, text, &locking.query, given).await?;
    tables(session, &setting, text, locking)?;
    Ok(planned)
}

/// A plan that others share may leave a locked table to a part that its store runs, without a lock.
fn alone(setting: &Setting) -> Setting {
    Setting { shares_plans: false, plan_mode: PlanMode::Custom, ..setting.clone() }
}

fn tables(session: &Session, setting: &Setting, text: &str, locking: &Locking) -> Result<Vec<Locked>, Diagnosis> {
    locks::tables(locking, setting, text, &|name| session.shared.engine.is_aggregate(name))
}

/// Runs one.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    locking: &Locking,
    bound: Bound<'_>,
    reading: Reading,
) -> Result<Execution, Diagnosis> {
    let setting = alone(&Setting { reading, ..session.setting() });
    let query = &locking.query;
    let planned = select::current_plan(session, &setting, text, query, bound).await?;
    if !select::is_as_told(bound, &planned.columns) {
        session.shared.doubt(&planned);
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
    }
    let locked = tables(session, &setting, text, locking)?;
    check(session, &setting, locking, &locked)?;
    let branches = match owner(&locked)? {
        Some(store) => Box::pin(hold(session, &setting, &store, &locked)).await?,
        None => session.branches(&setting.snapshot)?,
    };
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let ready = digits::bind(&session.shared.engine, &setting, &planned, values, (&branches, None)).await;
    let stream = ready.map_err(|error| select::located(error, query, text))?.run()?;
    let rows = Rows::new(planned.columns, session.settings.display(), stream, SELECTED, session.guard.clone());
    Ok(Execution::Rows(rows.noted(session.past.through(&branches))))
}

/// Who asks, and whether the stores can.
fn check(session: &Session, setting: &Setting, locking: &Locking, locked: &[Locked]) -> Result<(), Diagnosis> {
    let read_only_block = match &session.block {
        Some(block) => block.modes.read_only,
        None => session.settings.is_on("default_transaction_read_only"),
    };
    let role_read_only = session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only);
    for Locked { relation, store, table, lock } in locked {
        let connector = setting.snapshot.connectors.get(store);
        access::check(&Asked { verb: locking.verb(), relation, connector, read_only_block, role_read_only })?;
        let refusal = connector.and_then(|connector| connector.accepts_lock(table, *lock).err());
        if let Some(refusal) = refusal {
            let message = format!("rows of table \"{}\" cannot be locked so in store \"{store}\"", relation.name);
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(format!("{refusal}.")));
        }
    }
    Ok(())
}

/// The one store whose rows are locked.
fn owner(locked: &[Locked]) -> Result<Option<StoreName>, Diagnosis> {
    let Some(first) = locked.first() else { return Ok(None) };
    match locked.iter().find(|other| other.store != first.store) {
        None => Ok(Some(first.store.clone())),
        Some(other) => {
            let message = format!("a statement cannot lock rows of several stores (\"{}\", \"{}\")", first.store, other.store);
            Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Name those of one store behind OF."))
        }
    }
}

/// Branches whose scans lock, in the transaction of the session.
async fn hold(session: &mut Session, setting: &Setting, store: &StoreName, locked: &[Locked]) -> Result<Arc<Branches>, Diagnosis> {
    begin_implicit(session)?;
    let shared = Arc::clone(&session.shared);
    let Some(block) = session.writing_block() else { return Err(super::internal("rows are locked outside of a transaction")) };
    let (writers, branches) = block.write_branches(store, &setting.snapshot, &shared).await?;
    writers.open_to_lock(store).await?;
    Ok(Arc::new(branches.locking_rows(locked)))
}
