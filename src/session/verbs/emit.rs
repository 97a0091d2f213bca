//! `CALL tributary.emit(topic, key, payload[, store])`, and the same as a query, which gives the id: an event of the application, in the
//! outbox of a store that the transaction writes to.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Function;

use super::select::SELECTED;
use super::transaction::{begin_implicit, own_block};
use super::{Bound, call, text_rows};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::pgtype::PgType;
use crate::session::output::{Execution, Guard, OutputColumn};
use crate::session::replay::Attempt;
use crate::session::statement::emit::EMIT;
use crate::session::transaction::Block;
use crate::session::{Session, Shared};
use crate::stores::commit::{Gid, OwnTable};
use crate::stores::{Edit, StoreError, StoreName};
use crate::write::outbox::{Event, new_id};

/// What the audit log is told: what is done, and to which table.
const TOLD: (&str, &str) = ("EMIT", OwnTable::Outbox.name());

/// The columns of the query.
pub(super) fn columns() -> Vec<OutputColumn> {
    vec![OutputColumn { name: "emit".to_owned(), pg_type: PgType::UUID, table_oid: 0, column_number: 0 }]
}

/// The query. Outside of a block its transaction ends when the id has been sent.
pub(super) async fn query(
    session: &mut Session,
    text: &str,
    function: &Function,
    bound: Bound<'_>,
) -> Result<Execution, Diagnosis> {
    let arguments = call::texts(function, bound)?;
    session.check_repeatable("SELECT tributary.emit")?;
    let asked = Asked::of(session, text, arguments).await?;
    begin_implicit(session)?;
    let id = new_id();
    Box::pin(asked.emit(session, (text, bound), &id)).await?;
    Ok(Execution::Rows(text_rows(session, SELECTED, columns(), &[vec![id]])?))
}

/// The procedure.
pub(super) async fn call(
    session: &mut Session,
    statement: (&str, Bound<'_>),
    arguments: Vec<Option<String>>,
) -> Result<(), Diagnosis> {
    let asked = Asked::of(session, statement.0, arguments).await?;
    Box::pin(asked.emit(session, statement, &new_id())).await
}

/// What is to be told, and by which store.
struct Asked {
    event: Event,
    store: Option<StoreName>,
}

impl Asked {
    async fn of(session: &mut Session, text: &str, arguments: Vec<Option<String>>) -> Result<Self, Diagnosis> {
        let (event, store) = parsed(arguments)?;
        if let Err(refused) = call::check_writes(session, EMIT) {
            let setting = session.setting();
            session.tell_refused(TOLD, (known(&setting, store.as_ref()), text), &refused).await;
            return Err(refused);
        }
        event.check()?;
        Ok(Self { event, store })
    }

    async fn emit(&self, session: &mut Session, (text, bound): (&str, Bound<'_>), id: &str) -> Result<(), Diagnosis> {
        let (shared, setting) = (Arc::clone(&session.shared), session.setting());
        let attempt = session.attempt(text, bound, setting.now)?;
        let store = match &self.store {
            Some(store) => store.clone(),
            None => only_outbox(session, &shared)?,
        };
        // All events of a transaction carry one name, which its commit gets if several stores take part in it.
        let gid = session.block.as_ref().and_then(|block| block.gid).unwrap_or_else(|| shared.commitment.coordinator.name());
        let edit = match self.edit((id, gid), &store, &setting, &shared) {
            Ok(edit) => edit,
            Err(refused) => {
                session.tell_refused(TOLD, (known(&setting, Some(&store)), text), &refused).await;
                return Err(refused);
            }
        };
        let sending = Sending { store: &store, edit, guard: session.guard.clone(), setting: &setting };
        let ended = match session.writing_block() {
            Some(block) => {
                block.gid = Some(gid);
                Box::pin(sending.run(block, &shared, &attempt)).await
            }
            None => {
                let mut own = own_block(session, setting.now)?;
                own.gid = Some(gid);
                let ended = Box::pin(sending.run(&mut own, &shared, &attempt)).await;
                let finished = Box::pin(session.end_block(&own, (ended.is_ok(), None))).await;
                ended.and(finished)
            }
        };
        let told = ended.as_ref().map(|_done| "CALL".to_owned());
        session.tell_write(TOLD, (&store, text), told).await;
        ended
    }

    /// The row of the outbox.
    fn edit(&self, named: (&str, Gid), store: &StoreName, setting: &Setting, shared: &Shared) -> Result<Edit, Diagnosis> {
        let Some(connector) = setting.snapshot.connectors.get(store) else {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{store}\" does not exist")));
        };
        if connector.is_read_only() {
            return Err(Diagnosis::of(&StoreError::ReadOnly { store: store.to_string() }));
        }
        let table = connector.own_table(OwnTable::Outbox).filter(|_| has_outbox(shared, store));
        let table = table.ok_or_else(|| {
            Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("store \"{store}\" has no outbox"))
                .with_hint(format!("Set outbox = true in stores/{store}.toml."))
        })?;
        self.event.edit(named, store, &table, setting.now)
    }
}

fn parsed(arguments: Vec<Option<String>>) -> Result<(Event, Option<StoreName>), Diagnosis> {
    let mut arguments = arguments;
    let store = if arguments.len() == 4 { arguments.pop().flatten() } else { None };
    let Ok([topic, key, payload]) = <[Option<String>; 3]>::try_from(arguments) else {
        return Err(Diagnosis::new(
            sqlstate::UNDEFINED_FUNCTION,
            "tributary.emit takes a topic, a key, a payload, and perhaps a store",
        ));
    };
    let (Some(topic), Some(payload)) = (topic, payload) else {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "the topic and the payload of an event are not NULL"));
    };
    Ok((Event { topic, key, payload }, store.map(|store| StoreName::new(&store))))
}

/// The store if there is one of that name: what a client has written in its place is a value like any other, which the audit log is not
/// told.
fn known<'s>(setting: &Setting, store: Option<&'s StoreName>) -> Option<&'s StoreName> {
    store.filter(|store| setting.snapshot.connectors.contains_key(*store))
}

fn has_outbox(shared: &Shared, store: &StoreName) -> bool {
    shared.commitment.own.load().get(store).is_some_and(|own| own.outbox)
}

/// The store that an event is kept in when none is named: the one that the transaction writes to, of several the first one with an
/// outbox.
fn only_outbox(session: &Session, shared: &Shared) -> Result<StoreName, Diagnosis> {
    let written = session.block.as_ref().map(Block::written).unwrap_or_default();
    written.into_iter().find(|store| has_outbox(shared, store)).ok_or_else(|| {
        let message = "the transaction has written to no store that has an outbox";
        Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_hint("Name the store behind the payload, or write to it before; outbox = true in its file gives it one.")
    })
}

/// An event on its way.
struct Sending<'a> {
    store: &'a StoreName,
    edit: Edit,
    guard: Guard,
    setting: &'a Setting,
}

impl Sending<'_> {
    /// Writes it in a block, unless that has been done before.
    async fn run(self, block: &mut Block, shared: &Shared, attempt: &Attempt) -> Result<(), Diagnosis> {
        let (writers, branches) = block.write_branches(self.store, &self.setting.snapshot, shared).await?;
        let since = block.savepoints_asked();
        if block.admit(attempt, self.store, &writers, shared).await?.is_some() {
            block.undone.repeated(self.store, since);
            return Ok(());
        }
        let branch = self.guard.run(writers.open(self.store)).await??;
        let stop = self.guard.stop();
        let sending = async {
            let answer = branch.edit(&self.edit, &stop).await;
            branches.heard(self.store, &answer);
            answer.map(|_edited| ()).map_err(|error| Diagnosis::of(&error))
        };
        let sent = self.guard.wait_for(&stop, sending).await;
        sent.inspect_err(|error| block.keyed.failed(attempt.hash(), error))?;
        // Whoever has read it cannot be made to forget it.
        block.undone.wrote(self.store, since, None)?;
        block.keyed.answered(attempt.hash(), "CALL", None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_topic_and_a_payload_and_perhaps_a_key_and_a_store() {
        let given = |arguments: &[Option<&str>]| {
            parsed(arguments.iter().map(|argument| argument.map(str::to_owned)).collect()).map_err(|error| error.sqlstate)
        };
        let (event, store) = given(&[Some("t"), None, Some("{}")]).unwrap();
        assert_eq!((event.topic.as_str(), event.key, event.payload.as_str(), store), ("t", None, "{}", None));
        let (_, store) = given(&[Some("t"), Some("k"), Some("{}"), Some("shop")]).unwrap();
        assert_eq!(store, Some(StoreName::new("shop")));
        assert_eq!(given(&[Some("t"), Some("k")]).unwrap_err(), "42883");
        assert_eq!(given(&[None, Some("k"), Some("{}")]).unwrap_err(), "22023");
        assert_eq!(given(&[Some("t"), Some("k"), Some("{}"), None]).unwrap().1, None);
    }
}
