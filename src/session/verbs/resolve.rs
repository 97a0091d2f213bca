//! `CALL tributary.resolve(name, word)`: somebody decides over what is in doubt and waits for nobody else.

use super::call;
use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::stores::StoreName;
use crate::telemetry::audit::Event;
use crate::write::resolve::by_hand;

const PROCEDURE: &str = "tributary.resolve";

/// Ends branches, or goes on with a saga that waits for help. It is no part of the session's transaction.
pub(super) async fn run(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    let [name, word] = arguments else {
        let message = "tributary.resolve takes two arguments, a name and one of commit, rollback, retry, forget";
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
    };
    call::check_writes(session, PROCEDURE)?;
    call::check_superuser(session, PROCEDURE)?;
    let (commitment, snapshot) = (session.shared.commitment.clone(), session.shared.catalog.snapshot());
    // In the words of SQL and in those of stores.
    let word = if word == "rollback" { "abort" } else { word.as_str() };
    let resolved = by_hand(&commitment.coordinator, &snapshot.connectors, name, word).await;
    let event = Event::new("resolve").by(&session.role).process(session.process_id);
    let event = event.with("name", name.as_str()).with("word", word);
    let event = match &resolved {
        Ok(stores) => {
            let stores: Vec<&str> = stores.iter().map(StoreName::as_str).collect();
            event.with("stores", stores.join(", ")).done()
        }
        Err(error) => event.failed(&error.sqlstate),
    };
    commitment.audit.tell(event).await;
    resolved.map(drop)
}
