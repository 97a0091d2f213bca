//! `tributary serve DIR`: serves a catalog directory until it is told to stop.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CommandError, Outcome};
use crate::config;
use crate::error::Diagnose;
use crate::options::Problem;
use crate::server::{Server, ServerError};
use crate::telemetry::log;

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SIGNALS)]
pub struct Arguments {
    /// The catalog directory: tributary.toml, stores/, views/.
    pub directory: PathBuf,
}

const SIGNALS: &str = "\
Signals:
  SIGHUP           reads the directory again: roles, stores and views change, all or none; other keys are named and wait
                   for the next start
  SIGTERM, SIGINT  no new sessions; running statements may go on for limits.drain_grace

Exit codes:
  0  stopped by a signal
  1  could not start, with the reasons on standard error
  2  wrong arguments";

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration is not valid, or the server cannot start.
pub async fn run(arguments: &Arguments) -> Result<Outcome, CommandError> {
    let config = config::load(&arguments.directory).map_err(|problems| refused(&problems))?;
    start_logs(&config)?;
    // Watched before anybody can know that the server is there: a signal that nobody watches ends the process.
    let mut signals = Signals::watch()?;
    let server = tokio::select! {
        started = Box::pin(Server::start(config)) => started.map_err(|error| told(&error))?,
        () = signals.stop() => return Ok(Outcome::Success),
    };
    for address in server.addresses() {
        tracing::info!(%address, "serving the Postgres protocol");
    }
    if let Some(address) = server.http_address() {
        tracing::info!(%address, "serving health and metrics");
    }
    until_stopped(&server, signals).await;
    server.stop().await;
    Ok(Outcome::Success)
}

/// Starts log lines on standard error as the configuration asks.
///
/// # Errors
/// When the process logs already.
pub(super) fn start_logs(config: &config::Config) -> Result<(), CommandError> {
    let wanted = config.settings.log;
    log::start(wanted).map_err(|error| CommandError::Refused(error.to_string()))
}

/// The signals that a running server heeds.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// When signals cannot be watched.
    pub(super) fn watch() -> Result<Self, CommandError> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: signal(SignalKind::hangup())? })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(super) async fn stop(&mut self) {
        // Cancel-safe: receiving a signal holds no state of its own.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for SIGTERM or SIGINT, and reads the catalog directory again at each SIGHUP.
pub(super) async fn until_stopped(server: &Server, mut signals: Signals) {
    loop {
        // Cancel-safe: receiving a signal holds no state of its own.
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {}
        }
        // A reload takes as long as the slowest store, and must not keep the server from stopping. Dropped halfway it has changed
        // nothing, or all that is left of it is to close what the end of the server closes too.
        tokio::select! {
            () = signals.stop() => break,
            outcome = server.reload() => tell_reload(outcome),
        }
    }
    tracing::info!("stopping: no new sessions, running statements may end");
}

fn tell_reload(outcome: Result<Vec<&'static str>, ServerError>) {
    match outcome {
        Ok(waiting) => {
            tracing::info!("the catalog directory was read again");
            if !waiting.is_empty() {
                let keys = waiting.join(", ");
                tracing::warn!(keys, "these keys of tributary.toml have changed and take effect at the next start");
            }
        }
        Err(error) => tracing::error!(error = %told(&error), "the catalog directory was not taken over"),
    }
}

/// Every problem of a configuration, one to a line.
pub(super) fn refused(problems: &[Problem]) -> CommandError {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    CommandError::Refused(format!("the catalog directory is not valid:\n{}", lines.join("\n")))
}

/// A server's error with everything it knows.
pub(super) fn told(error: &ServerError) -> CommandError {
    match error {
        ServerError::Config(problems) => refused(problems),
        other => CommandError::Refused(explained(other)),
    }
}

/// An error with what is known of it and what helps, in one line.
pub(super) fn explained(error: &dyn Diagnose) -> String {
    let more = [error.detail(), error.hint()].into_iter().flatten();
    let mut line = error.to_string();
    for (place, sentence) in more.enumerate() {
        line.push_str(if place == 0 { ". " } else { " " });
        line.push_str(&sentence);
    }
    line
}
