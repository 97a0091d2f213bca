//! `tributary demo`: rivers, the crews that visit them, what was measured and what was seen, in four stores behind one
//! address.
//!
//! ```text
//! place      the user's own directory, locked → password
//! databases  rows (embedded) + season (computed) → four SQLite files   servers  the same in real servers
//! catalog    tributary.toml, stores/, views/ → Server → showcase: three queries → commit: writes to all stores that take them
//!            → behind: writes past the server that a client hears of → kept: a view that follows one → serves until it is told to stop
//! ```
//!
//! **Invariants:** nothing is written outside the demo's directory and the servers' temporary ones; a second start finds the
//! same rows and the same password; the rows that the demo writes have free numbers (own), so that those of the user stay as they
//! are; the demo needs no network and no file of the checkout.

mod behind;
mod catalog;
mod commit;
mod databases;
mod grid;
mod kept;
mod own;
mod place;
mod rows;
mod season;
mod servers;
mod showcase;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use behind::Stores;
use own::Note;
use place::Place;
use servers::Servers;

use super::serve::{Signals, refused, start_logs, told, until_stopped};
use super::{CommandError, Outcome};
use crate::config;
use crate::options::Secret;
use crate::server::{Server, ServerError};

/// Where health is told when nobody else does there.
const HTTP_PORT: u16 = 8455;
/// How many ports after the wanted one are tried.
const PORTS_TRIED: u16 = 100;
/// How often the server is started anew when a port was taken between choosing and binding it.
const STARTS_TRIED: usize = 3;

/// Arguments of `tributary demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Use a real PostgreSQL, MariaDB and MongoDB, started for this and ended with it, instead of SQLite files.
    #[arg(long)]
    pub servers: bool,
    /// Where the demo keeps its databases and its password [default: tributary/demo below $XDG_DATA_HOME or ~/.local/share].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The port to serve on; the next free one is taken when it is busy.
    #[arg(long, default_value_t = 5455, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Show the queries and end: nobody can connect then.
    #[arg(long)]
    pub once: bool,
}

/// Sets the demo up, shows three queries, writes to several stores and who hears of a write, and serves until SIGTERM or SIGINT.
///
/// # Errors
/// The directory cannot be used, no port is free, or a server is missing.
pub async fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<Outcome, CommandError> {
    let place = Place::take(arguments.data_dir.as_deref())?;
    let password = place.password()?;
    databases::prepare(&place, output).await?;
    if !arguments.servers {
        let catalog = place.catalog("catalog")?;
        catalog::write_stores(&catalog, None)?;
        let stores = Stores::File(place.directory().join("databases/crew.db"));
        let note = Note::new(place.directory(), false);
        return present(arguments, &catalog, (&password, &stores, &note), output).await;
    }
    let servers = Box::pin(Servers::start(output)).await?;
    let catalog = place.directory().join("catalog-of-servers");
    // An earlier demo that was killed left the passwords of servers that are gone.
    place::remove(&catalog)?;
    catalog::write_stores(&place.catalog("catalog-of-servers")?, Some(&servers))?;
    let stores = Stores::Servers(Box::new(servers));
    let note = Note::new(place.directory(), true);
    let ended = present(arguments, &catalog, (&password, &stores, &note), output).await;
    place::remove(&catalog)?;
    drop(stores);
    ended
}

/// Serves the catalog, shows the queries, and goes on serving unless that was all that was asked for.
async fn present(
    arguments: &Arguments,
    catalog: &Path,
    (password, stores, note): (&Secret, &Stores, &Note),
    output: &mut dyn Write,
) -> Result<Outcome, CommandError> {
    let server = start(arguments.port, catalog, password, output).await?;
    let mut signals = Signals::watch()?;
    let shown = tokio::select! {
        shown = Box::pin(introduce(arguments, &server, (password, stores, note), output)) => Some(shown),
        () = signals.stop() => None,
    };
    let ended = match shown {
        Some(Ok(())) if !arguments.once => {
            until_stopped(&server, signals).await;
            Ok(())
        }
        Some(other) => other,
        None => Ok(()),
    };
    server.stop().await;
    ended.map(|()| Outcome::Success)
}

async fn introduce(
    arguments: &Arguments,
    server: &Server,
    (password, stores, note): (&Secret, &Stores, &Note),
    output: &mut dyn Write,
) -> Result<(), CommandError> {
    if let Some((store, error)) = server.catalog().unavailable().first() {
        return Err(CommandError::Refused(format!("the demo's store {store} is not served: {error}")));
    }
    showcase::show(&server.catalog().snapshot(), output).await?;
    if let Some(address) = server.addresses().first() {
        let id = Box::pin(commit::show(*address, password, arguments.servers, note, output)).await?;
        let id = Box::pin(behind::show(*address, password, stores, (note, id.saturating_add(1)), output)).await?;
        Box::pin(kept::show(*address, password, stores, (note, id.saturating_add(1)), output)).await?;
    }
    if arguments.once {
        writeln!(output, "\nStarted without --once, the demo goes on serving and prints the psql line to connect with.")?;
        return Ok(output.flush()?);
    }
    let Some(address) = server.addresses().first() else { return Ok(()) };
    writeln!(output, "\nConnect with\n\n    psql \"postgresql://demo:{}@{address}/tributary\"\n", password.expose())?;
    if let Some(http) = server.http_address() {
        writeln!(output, "Health: http://{http}/health\n")?;
    }
    writeln!(
        output,
        "and try \\dn, \\d hydro.rivers, SELECT * FROM low_water LIMIT 5, or EXPLAIN ANALYZE on a query of your own."
    )?;
    writeln!(output, "Ctrl-C ends the demo.")?;
    Ok(output.flush()?)
}

/// Starts the server on the first free ports.
async fn start(wanted: u16, catalog: &Path, password: &Secret, output: &mut dyn Write) -> Result<Server, CommandError> {
    let mut attempt = 1;
    loop {
        let (port, http_port) = (free_port(wanted)?, free_port(HTTP_PORT)?);
        catalog::write_settings(catalog, port, http_port, password)?;
        let config = config::load(catalog).map_err(|problems| refused(&problems))?;
        // A process that logs already goes on as it does.
        start_logs(&config).ok();
        match Box::pin(Server::start(config)).await {
            Ok(server) => {
                if port != wanted {
                    writeln!(output, "Port {wanted} is busy; the demo serves on {port}.")?;
                }
                if http_port != HTTP_PORT {
                    writeln!(output, "Port {HTTP_PORT} is busy; health is told on {http_port}.")?;
                }
                return Ok(server);
            }
            // Somebody was faster.
            Err(ServerError::Wire(_) | ServerError::Http(_)) if attempt < STARTS_TRIED => attempt += 1,
            Err(error) => return Err(told(&error)),
        }
    }
}

/// The first free port of the loopback address from `wanted` on.
fn free_port(wanted: u16) -> Result<u16, CommandError> {
    let mut tried = wanted..=wanted.saturating_add(PORTS_TRIED);
    let free = |port: &u16| match TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
        Ok(_listener) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrInUse,
    };
    let none = || CommandError::Refused(format!("no port from {wanted} to {} is free", wanted.saturating_add(PORTS_TRIED)));
    tried.find(free).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_passed_over() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = busy.local_addr().unwrap().port();
        let found = free_port(wanted).unwrap();
        assert!(found > wanted && found <= wanted.saturating_add(PORTS_TRIED));
    }
}
