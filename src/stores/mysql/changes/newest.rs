//! Positions behind everything that can be read of a server ([`crate::stores::Connector::position`]).
//!
//! MariaDB counts a transaction among its last ones when it writes it to the log, in front of the commit, so that nothing is visible that is
//! not counted. MySQL counts it once it is committed; in between its id is owned by whoever commits it. So what is owned is asked for
//! first and what has ended behind it: an id that was owned then is among one of them.
//!
//! All of it is in the log that is read, also what is in tables that nobody follows, and a transaction that is prepared, whose end has an id of
//! its own. What the log is still to be synced for is read once it is; an id that its owner gives up is never read, and whoever waits for it
//! waits in vain. **Not covered:** what is written beside the log (`sql_log_bin`), and tables of engines without transactions, which show
//! rows before they are logged: neither is followed.

use std::sync::Arc;

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::super::super::capture::{Follow, How};
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::Shared;
use super::super::pool::{Lease, Server};
use super::histories::Before;
use super::identity_of;
use super::position::{Gtids, position};

/// Asks for the newest ids; the answers are the last rows.
pub(in super::super) fn question(server: &Server) -> &'static str {
    match server.is_mariadb {
        true => "SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.server_id",
        // Two statements: what one of them reads first is not said.
        false => "SELECT @@GLOBAL.gtid_owned; SELECT @@GLOBAL.gtid_executed, @@GLOBAL.server_uuid",
    }
}

/// The position that the server has answered with; `before` was taken before it was asked.
pub(in super::super) fn answered(shared: &Shared, before: &Before, server: &Server, rows: &[MySqlRow]) -> Option<Position> {
    let text = |row: &MySqlRow, place: usize| row.try_get_unchecked::<String, _>(place).ok();
    let (logged, owned, named) = match (server.is_mariadb, rows) {
        (true, [.., last]) => (Gtids::of_mariadb(&text(last, 0)?)?, None, last),
        (false, [.., owned, executed]) => (Gtids::of_mysql(&text(executed, 0)?)?, Some(text(owned, 0)?), executed),
        _ => return None,
    };
    // What is owned may be given up: whoever has it not later has lost nothing.
    let history = shared.histories.note(before, &identity_of(server.is_mariadb, &text(named, 1)?), &logged)?;
    let gtids = match owned {
        Some(owned) => logged.with_owned(&owned)?,
        None => logged,
    };
    Some(position(&shared.name, history, &gtids))
}

/// A position at or behind all that is committed and visible now.
///
/// # Errors
/// What the server answered; [`StoreError::Unsupported`] where it writes no log that can be followed.
pub(in super::super) async fn newest(shared: &Arc<Shared>, follow: &Follow) -> Result<Position, StoreError> {
    let unsupported = |feature| StoreError::Unsupported { store: shared.name.to_string(), feature };
    if follow.how == How::Outbox {
        return Err(unsupported("positions of an outbox"));
    }
    let mut before = shared.histories.before();
    // Scans may hold all connections of their pool for long.
    let mut lease = shared.control.lease().await?;
    let rows = match ask(&mut lease).await {
        Err(StoreError::ConnectionLost { .. }) if lease.reused => {
            drop(lease);
            shared.control.forget_idle();
            lease = shared.control.lease().await?;
            before = shared.histories.before();
            ask(&mut lease).await?
        }
        rows => rows?,
    };
    let server = Arc::clone(&lease.session.server);
    lease.release();
    if !server.has_binary_log {
        return Err(unsupported("positions without a binary log"));
    }
    answered(shared, &before, &server, &rows).ok_or_else(|| shared.place().lost("the server does not tell its last GTIDs"))
}

async fn ask(lease: &mut Lease) -> Result<Vec<MySqlRow>, StoreError> {
    let question = question(&lease.session.server);
    lease.rows(question).await
}
