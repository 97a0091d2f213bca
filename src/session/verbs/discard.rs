//! `DISCARD` and `DEALLOCATE`, which pools send when a connection changes hands.

use datafusion::sql::sqlparser::ast::DiscardObject;

use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::session::output::Execution;

/// `DISCARD ALL | PLANS | SEQUENCES | TEMP`
pub(super) fn run(session: &mut Session, object: DiscardObject) -> Result<Execution, Diagnosis> {
    let tag = match object {
        DiscardObject::ALL => {
            // Also in the implicit block of a text, whose earlier statements it would half undo.
            if session.block.is_some() {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(Diagnosis::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
            }
            session.names.clear_portals();
            session.names.clear_statements();
            session.unlisten_all();
            session.settings.reset_all()?;
            session.settings.set("role", None, false)?;
            session.facts = None;
            "DISCARD ALL"
        }
        DiscardObject::PLANS => "DISCARD PLANS",
        DiscardObject::SEQUENCES => "DISCARD SEQUENCES",
        DiscardObject::TEMP => "DISCARD TEMP",
    };
    Ok(Execution::Done(tag.to_owned()))
}

/// `DEALLOCATE name`, `DEALLOCATE ALL`
pub(super) fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Execution, Diagnosis> {
    match name {
        Some(name) => {
            session.names.statement(name)?;
            session.names.remove_statement(name);
            Ok(Execution::Done("DEALLOCATE".to_owned()))
        }
        None => {
            session.names.clear_statements();
            Ok(Execution::Done("DEALLOCATE ALL".to_owned()))
        }
    }
}
