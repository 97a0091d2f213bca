//! `LISTEN`, `UNLISTEN`, `NOTIFY`, and `pg_notify` as a query. What they ask for happens when their transaction is committed.

use datafusion::sql::sqlparser::ast::Function;

use super::select::SELECTED;
use super::{Bound, call, text_rows};
use crate::changes::channel::{Channel, NAME_BYTES_MAX, Note, alias};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::session::Session;
use crate::session::listen::{CHANNELS_MAX, Pending, Wish};
use crate::session::output::{Execution, OutputColumn};
use crate::session::statement::Kind;

/// A payload has fewer bytes.
const PAYLOAD_BYTES: usize = 8_000;

/// Whether a statement asks for something that happens at the commit.
pub(super) fn is_one(kind: &Kind) -> bool {
    matches!(kind, Kind::Listen(_) | Kind::Unlisten(_) | Kind::Notify { .. } | Kind::PgNotify(_))
}

/// `LISTEN`
pub(super) fn listen(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    check_name(name)?;
    let heard = session.channel(name)?;
    let shown = heard.shown();
    if !session.hears_channel(&shown) && session.channels_asked() >= CHANNELS_MAX {
        let message = format!("a session may listen to at most {CHANNELS_MAX} channels");
        return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    tell_alias(session, name, &shown);
    if heard.is_fed() {
        session.take_place()?;
    }
    ask(session, Wish::Listen(heard))?;
    Ok(Execution::Done("LISTEN".to_owned()))
}

/// `UNLISTEN`; `None` is `*`.
pub(super) fn unlisten(session: &mut Session, name: Option<&str>) -> Result<Execution, Diagnosis> {
    let wish = match name {
        Some(name) => Wish::Unlisten(Channel::of(name).shown()),
        None => Wish::UnlistenAll,
    };
    ask(session, wish)?;
    Ok(Execution::Done("UNLISTEN".to_owned()))
}

fn ask(session: &mut Session, wish: Wish) -> Result<(), Diagnosis> {
    if let Some(block) = &mut session.block {
        return block.pending.wish(block.savepoints_asked(), wish);
    }
    let mut pending = Pending::default();
    pending.wish(0, wish)?;
    session.settle_channels(pending);
    Ok(())
}

/// `NOTIFY`
pub(super) fn notify(session: &mut Session, name: &str, payload: &str) -> Result<Execution, Diagnosis> {
    tell_alias(session, name, &alias(name));
    tell(session, name, payload)?;
    Ok(Execution::Done("NOTIFY".to_owned()))
}

/// The columns of the query.
pub(super) fn columns() -> Vec<OutputColumn> {
    vec![OutputColumn { name: "pg_notify".to_owned(), pg_type: PgType::VOID, table_oid: 0, column_number: 0 }]
}

/// `SELECT pg_notify(channel, payload)`
pub(super) fn pg_notify(session: &mut Session, function: &Function, bound: Bound<'_>) -> Result<Execution, Diagnosis> {
    let Ok([name, payload]) = <[Option<String>; 2]>::try_from(call::texts(function, bound)?) else {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "pg_notify takes a channel and a payload"));
    };
    // As PostgreSQL: NULL is no name, and no payload.
    let name = name.unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "channel name too long"));
    }
    tell(session, &name, &payload.unwrap_or_default())?;
    Ok(Execution::Rows(text_rows(session, SELECTED, columns(), &[vec![String::new()]])?))
}

fn tell(session: &mut Session, name: &str, payload: &str) -> Result<(), Diagnosis> {
    check_name(name)?;
    if payload.len() >= PAYLOAD_BYTES {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "payload string too long"));
    }
    // What is told ends at the first one on the wire, and the rest would be read as another message.
    if payload.contains('\0') {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message));
    }
    if !Channel::of(name).is_plain() {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for channel \"{name}\""))
            .with_detail("What is told there are changes in stores, and nothing else."));
    }
    let note = Note { channel: alias(name).into_owned(), payload: payload.to_owned(), process_id: session.process_id };
    if let Some(block) = &mut session.block {
        return block.pending.notify(block.savepoints_asked(), note);
    }
    let board = session.shared.feeds.board();
    board.check_room(std::slice::from_ref(&note))?;
    board.tell(vec![note]);
    Ok(())
}

fn check_name(name: &str) -> Result<(), Diagnosis> {
    if name.is_empty() {
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, "channel name cannot be empty"));
    }
    Ok(())
}

/// Tells of what a name is known as that is too long.
fn tell_alias(session: &mut Session, name: &str, shown: &str) {
    if name.len() > NAME_BYTES_MAX {
        session.warn(sqlstate::NAME_TOO_LONG, &format!("channel \"{name}\" is known as \"{shown}\""));
    }
}
