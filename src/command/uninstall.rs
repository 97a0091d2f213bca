//! `tributary uninstall`: removes from a store what following its changes has left there.
//!
//! What is ours is found by its name, which says of which server and which store's file it is, so that it is found also when the file
//! is switched off, and what is of other servers stays. Tables that commits need go with it where nobody writes through them any more:
//! the store is switched off, also under other names of the directory, no server of another directory has left anything, and none of them
//! has a promise in it that is open.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{CommandError, Outcome};
use crate::catalog::StoreEntry;
use crate::config::{self, State, StateError, StoreConfig};
use crate::server;
use crate::stores::capture::{Capture, InstanceId, OwnObject};
use crate::stores::commit::{DECISIONS, LOGS, OwnTable};
use crate::stores::connector::ScanLimits;
use crate::stores::define::{Define, What};
use crate::stores::{Connector, Purpose, Scan, StoreError, Table};
use crate::write::recover::retention;

/// Arguments of `tributary uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    /// The catalog directory.
    pub(super) directory: PathBuf,
    /// The store: the name of its file in stores/, without the ending. It may be switched off.
    pub(super) store: String,
    /// Print what would be removed, with its statements, and remove nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing of this server is left in the store but what is told to be needed, or with --dry-run: it was printed
  1  something is left, or the store cannot be asked
  2  wrong arguments";

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How old a key is at least before nobody is taken to send its transaction again: what files say that say nothing, since those of other
/// servers are not known.
const KEYS_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes what is ours.
///
/// # Errors
/// The output cannot be written, or a server still follows the store.
pub async fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<Outcome, CommandError> {
    let (store, is_enabled) = match config::one_store(&arguments.directory, &arguments.store) {
        Ok(read) => read,
        Err(problems) => {
            problems.iter().try_for_each(|problem| writeln!(output, "problem: {problem}"))?;
            return Ok(Outcome::Problems);
        }
    };
    // Held until the end, so that no server begins to follow meanwhile.
    let (_state, is_in_use) = if arguments.dry_run { (None, false) } else { hold(arguments, &store)? };
    let who = server::known_instance(&arguments.directory).unwrap_or(InstanceId(0));
    let connector = &store.entry.connector;
    let (mut outcome, others) = match connector.capture() {
        Some(capture) => clear(output, capture.as_ref(), who, (connector, arguments.dry_run)).await?,
        None => {
            writeln!(output, "nothing that follows changes can be in the store")?;
            (Outcome::Success, false)
        }
    };
    let needed = if is_enabled {
        Some("which commits through this store need; write enabled = false into its file to have it removed:".to_owned())
    } else if let Some(other) = config::others_of(&arguments.directory, &arguments.store).first() {
        Some(format!("which commits through store \"{other}\" may need, since its file names the same store:"))
    } else if is_in_use {
        Some("which commits of the server that has the directory may still need:".to_owned())
    } else if others {
        Some("which all servers of the store share, and others have left something here:".to_owned())
    } else {
        None
    };
    if clear_shared(output, &store.entry, needed.as_deref(), arguments.dry_run).await? == Outcome::Problems {
        outcome = Outcome::Problems;
    }
    if tell_logs(output, connector).await? == Outcome::Problems {
        outcome = Outcome::Problems;
    }
    connector.close().await;
    Ok(outcome)
}

/// Holds the state directory, so that no server has it; nothing where there is none yet. Whether a server has it that follows nothing of
/// the store.
fn hold(arguments: &Arguments, store: &StoreConfig) -> Result<(Option<State>, bool), CommandError> {
    if !arguments.directory.join(".state").is_dir() {
        return Ok((None, false));
    }
    match State::open(&arguments.directory) {
        Ok(state) => Ok((Some(state), false)),
        Err(StateError::InUse { .. }) if store.entry.follow.is_none() => Ok((None, true)),
        Err(error @ StateError::InUse { .. }) => Err(CommandError::Refused(format!(
            "{error}, which follows the store. Write changes.mode = \"off\" into stores/{}.toml and have the directory read again \
             (SIGHUP), or stop the server",
            store.name
        ))),
        Err(error) => Err(CommandError::Refused(error.to_string())),
    }
}

/// Prints what is there and removes what is ours. Also whether there is something of other servers.
async fn clear(
    output: &mut dyn Write,
    capture: &dyn Capture,
    who: InstanceId,
    (connector, is_dry): (&Arc<dyn Connector>, bool),
) -> io::Result<(Outcome, bool)> {
    let objects = match in_time(connector, capture.objects(who)).await {
        Ok(objects) => objects,
        // What is not known of others is not taken for nothing.
        Err(error) => return Ok((failed(output, &error)?, true)),
    };
    let is_foreign =
        |object: &OwnObject| !object.ours && InstanceId::parse_object(&object.name).is_none_or(|(owner, _)| owner != who);
    let others = objects.iter().any(is_foreign);
    if objects.is_empty() {
        writeln!(output, "nothing of ours is in the store")?;
    }
    let verb = if is_dry { "would remove" } else { "removes" };
    for object in &objects {
        match whose(object, who) {
            None => tell(output, verb, object, "")?,
            Some(owner) => tell(output, "leaves", object, owner)?,
        }
    }
    if is_dry || !objects.iter().any(|object| object.ours) {
        return Ok((Outcome::Success, others));
    }
    if let Err(error) = in_time(connector, capture.remove(who, false)).await {
        failed(output, &error)?;
    }
    let left = match in_time(connector, capture.objects(who)).await {
        Ok(objects) => objects.into_iter().filter(|object| object.ours),
        Err(error) => return Ok((failed(output, &error)?, others)),
    };
    let mut outcome = Outcome::Success;
    for OwnObject { what, name, remove, .. } in left {
        writeln!(output, "problem: {what} {name} is still there; remove it with: {remove}")?;
        outcome = Outcome::Problems;
    }
    Ok((outcome, others))
}

/// Whose an object is that is not ours.
fn whose(object: &OwnObject, who: InstanceId) -> Option<&'static str> {
    if object.ours {
        return None;
    }
    let is_renamed = InstanceId::parse_object(&object.name).is_some_and(|(instance, _)| instance == who);
    Some(if is_renamed { ", of this server under another name of the store" } else { ", of another server" })
}

fn tell(output: &mut dyn Write, verb: &str, object: &OwnObject, owner: &str) -> io::Result<()> {
    let OwnObject { what, name, remove, .. } = object;
    writeln!(output, "{verb} {what} {name}{owner}\n    {remove}")
}

fn failed(output: &mut dyn Write, error: &StoreError) -> io::Result<Outcome> {
    let detail = crate::error::Diagnose::detail(error).map(|detail| format!(": {detail}")).unwrap_or_default();
    writeln!(output, "problem: {error}{detail}")?;
    Ok(Outcome::Problems)
}

/// A table that may be there, and that the store does not let us look at.
fn not_known(output: &mut dyn Write, (what, name): (&str, &str), error: &StoreError) -> io::Result<Outcome> {
    writeln!(output, "problem: whether {what} {name} is there and needed is not known, and nothing was done about it:")?;
    failed(output, error)
}

/// Removes the tables that commits have left, unless somebody needs them (`needed` says who, before a statement), or what is in them.
async fn clear_shared(output: &mut dyn Write, entry: &StoreEntry, needed: Option<&str>, is_dry: bool) -> io::Result<Outcome> {
    let (connector, mut outcome) = (&entry.connector, Outcome::Success);
    for which in OwnTable::ALL {
        let Some(table) = connector.own_table(which) else { continue };
        let name = &table.id.name;
        let (what, statement) = dropped(connector, name);
        let has_rows = match in_time(connector, rows_of(connector, &table, vec![0])).await {
            Ok(Some(has_rows)) => has_rows,
            Ok(None) => continue,
            Err(error) => {
                outcome = not_known(output, (what, name), &error)?;
                continue;
            }
        };
        let is_open = match needed {
            None if has_rows => is_open(entry, which, &table).await,
            _ => Ok(has_rows),
        };
        let is_open = match is_open {
            Ok(is_open) => is_open,
            Err(error) => {
                outcome = not_known(output, (what, name), &error)?;
                continue;
            }
        };
        match needed.or_else(|| is_open.then(|| open_promise(which))) {
            Some(reason) => writeln!(output, "leaves {what} {name}, {reason}\n    {statement}")?,
            None if is_dry => writeln!(output, "would remove {what} {name}\n    {statement}")?,
            None => {
                writeln!(output, "removes {what} {name}\n    {statement}")?;
                let tables = vec![table.id.clone()];
                let define = Define { store: connector.name().clone(), what: What::DropTables { tables, cascades: false } };
                if let Err(error) = in_time(connector, connector.define(&define, &CancellationToken::new())).await {
                    outcome = failed(output, &error)?;
                }
            }
        }
    }
    Ok(outcome)
}

/// Whether a table of ours that has rows means something to somebody who is not here.
async fn is_open(entry: &StoreEntry, which: OwnTable, table: &Arc<Table>) -> Result<bool, StoreError> {
    match which {
        OwnTable::Marks | OwnTable::Outbox => Ok(true),
        // A client may send its transaction again, to a server of another directory of which nothing tells here.
        OwnTable::Keys => {
            let age = entry.own.keys.unwrap_or(KEYS_AGE).max(KEYS_AGE);
            in_time(&entry.connector, retention::has_young(&entry.connector, table, age)).await
        }
    }
}

/// What that is, before a statement.
fn open_promise(which: OwnTable) -> &'static str {
    match which {
        OwnTable::Marks => "by whose rows the ends of commits are told that were interrupted; when none is open any more:",
        OwnTable::Outbox => "in which there are events that were not handed over; when nobody wants them:",
        OwnTable::Keys => {
            "in which there are keys of transactions that may be sent again, perhaps to another server; when none is younger than \
             idempotency_retention, or than a day:"
        }
    }
}

/// Tables in which servers keep the log of their commits: nobody can tell from here whose are in them.
async fn tell_logs(output: &mut dyn Write, connector: &Arc<dyn Connector>) -> io::Result<Outcome> {
    let mut outcome = Outcome::Success;
    let Some(own) = connector.own_table(OwnTable::Marks).filter(|_| connector.ledger().is_some()) else { return Ok(outcome) };
    for name in [DECISIONS, LOGS] {
        let mut table = Table::clone(&own);
        name.clone_into(&mut table.id.name);
        let (what, statement) = dropped(connector, name);
        match in_time(connector, rows_of(connector, &Arc::new(table), Vec::new())).await {
            Ok(Some(_)) => {
                writeln!(
                    output,
                    "leaves {what} {name}, with the log of commits of every server that keeps it here:\n    {statement}"
                )?;
            }
            Ok(None) => {}
            Err(error) => outcome = not_known(output, (what, name), &error)?,
        }
    }
    Ok(outcome)
}

/// What such a table is called in the store, and the statement that removes it.
fn dropped(connector: &Arc<dyn Connector>, name: &str) -> (&'static str, String) {
    if connector.kind() == "mongodb" {
        return ("collection", format!("db.{name}.drop()"));
    }
    ("table", format!("DROP TABLE {name}"))
}

/// Whether a table of ours has rows; `None` where there is no such table. A relational store answers that there is none; a collection
/// that is not there is an empty one.
async fn rows_of(connector: &Arc<dyn Connector>, table: &Arc<Table>, columns: Vec<usize>) -> Result<Option<bool>, StoreError> {
    let names_column = !columns.is_empty();
    match first_of(connector, table, columns).await {
        Ok(has_rows) => Ok((has_rows || connector.kind() != "mongodb").then_some(has_rows)),
        // The same is said of a table of another form, which is there: without a column there is nothing else that can be missing.
        Err(changed @ StoreError::SchemaChanged { .. }) if names_column => match first_of(connector, table, Vec::new()).await {
            Ok(_) => Err(changed),
            Err(StoreError::SchemaChanged { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        Err(StoreError::SchemaChanged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a table has a row.
async fn first_of(connector: &Arc<dyn Connector>, table: &Arc<Table>, columns: Vec<usize>) -> Result<bool, StoreError> {
    let branch = connector.open(Purpose::Statement { scans: 1 }).await?;
    let scan = Scan { store: connector.name().clone(), table: table.id.clone(), columns, filter: Vec::new(), limit: Some(1) };
    let mut batches = branch.scan(table, &scan, ScanLimits::default()).await?;
    let mut has_rows = false;
    while let Some(batch) = batches.next().await.transpose()? {
        has_rows |= batch.num_rows() > 0;
    }
    drop(batches);
    // Nothing of it may stand in the way of what drops the table.
    branch.rollback().await?;
    Ok(has_rows)
}

async fn in_time<T>(connector: &Arc<dyn Connector>, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Deadline {
        store: connector.name().to_string(),
        limit_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
        waiting_for: "what of ours is there",
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_elapsed| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::StoreName;

    fn object(name: &str, ours: bool) -> OwnObject {
        OwnObject { what: "trigger", name: name.to_owned(), remove: format!("DROP TRIGGER {name}"), ours, holds_bytes: None }
    }

    #[test]
    fn it_is_told_whose_an_object_is() {
        let us = InstanceId(7);
        let (mine, renamed) = (us.object(&StoreName::new("shop")), us.object(&StoreName::new("crm")));
        let rows = [
            (object(&mine, true), None),
            (object(&renamed, false), Some(", of this server under another name of the store")),
            (object(&InstanceId(8).object(&StoreName::new("shop")), false), Some(", of another server")),
            (object("tributary_x", false), Some(", of another server")),
        ];
        for (object, expected) in rows {
            assert_eq!(whose(&object, us), expected, "{object:?}");
        }
        let mut output = Vec::new();
        tell(&mut output, "removes", &object("x", true), "").unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), "removes trigger x\n    DROP TRIGGER x\n");
    }

    #[tokio::test]
    async fn a_store_that_a_server_follows_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("stores")).unwrap();
        let write = |mode: &str| {
            let text = format!("kind = \"sqlite\"\npath = \"x.db\"\nenabled = false\nchanges.mode = \"{mode}\"");
            std::fs::write(directory.path().join("stores/shop.toml"), text).unwrap();
        };
        std::fs::write(directory.path().join("x.db"), "").unwrap();
        let arguments = Arguments { directory: directory.path().to_owned(), store: "shop".to_owned(), dry_run: false };
        let state = State::open(directory.path()).unwrap();
        write("outbox");
        let refused = run(&arguments, &mut Vec::new()).await.unwrap_err().to_string();
        assert!(refused.contains("changes.mode = \"off\" into stores/shop.toml"), "{refused}");
        // One that it does not follow is looked at beside it.
        write("off");
        let mut output = Vec::new();
        assert_eq!(run(&arguments, &mut output).await.unwrap(), Outcome::Success);
        drop(state);
        write("outbox");
        assert_eq!(run(&arguments, &mut output).await.unwrap(), Outcome::Success);
        let other = Arguments { store: "shpo".to_owned(), ..arguments };
        assert_eq!(run(&other, &mut output).await.unwrap(), Outcome::Problems);
        let said = String::from_utf8(output).unwrap();
        assert!(said.ends_with("is not the name of a file there; perhaps \"shop\"\n"), "{said}");
    }
}
