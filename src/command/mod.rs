//! The command line: a file for each subcommand.
//!
//! ```text
//! arguments → Command → the subcommand's run(…, output) → exit code
//! ```
//!
//! **Invariants:** a subcommand writes its result to the output it is given and nothing else to standard output; problems
//! go to standard error; exit code 0 is success, 1 a problem that was told, 2 wrong arguments.
//! Not here: what a subcommand starts (`server.rs`), what a log line looks like (`telemetry/`).

pub mod bench;
pub mod check;
pub mod demo;
pub mod password;
pub mod serve;
pub mod uninstall;

mod print;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry::log;

/// Joins PostgreSQL, MySQL, MariaDB, SQLite and MongoDB behind one Postgres address.
#[derive(Debug, Parser)]
#[command(name = "tributary", version, propagate_version = true, after_help = EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What the parser of arguments ends with too.
const WRONG_ARGUMENTS: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0  done as asked
  1  problems, told on standard output by check and on standard error by the others
  2  wrong arguments";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a catalog directory until SIGTERM or Ctrl-C; SIGHUP reads it again.
    Serve(serve::Arguments),
    /// Validate a catalog directory, try its addresses, stores and views, and print what was found.
    Check(check::Arguments),
    /// Try Tributary on rivers, crews and field reports in four stores; needs nothing installed.
    Demo(demo::Arguments),
    /// Run TPC-H and federated queries over stores made for it, check every answer, and measure peers side by side.
    Bench(bench::Arguments),
    /// Make a SCRAM-SHA-256 verifier for a role's password, typed twice or read as one line from standard input.
    Password(password::Arguments),
    /// Remove from a store what following its changes has left there, or print it.
    Uninstall(uninstall::Arguments),
}

/// How a subcommand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// Problems were found and told.
    Problems,
}

/// Why a subcommand could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Reading or writing on the terminal failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What was given cannot be used.
    #[error("{0}")]
    Refused(String),
    /// An argument names nothing that there is.
    #[error("{0}")]
    Arguments(String),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    if matches!(line.command, Command::Serve(_) | Command::Demo(_)) {
        log::hide_panic_messages();
    }
    match on_own_stack(line.command) {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Problems) => ExitCode::FAILURE,
        // Whoever read our output has seen enough (`tributary check … | head`).
        Err(CommandError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // When standard error is gone too there is nobody left to tell.
            let _ = writeln!(io::stderr(), "tributary: {error}");
            if matches!(error, CommandError::Arguments(_)) { ExitCode::from(WRONG_ARGUMENTS) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs a subcommand on a thread whose stack is as large as those that plan statements: views are planned at start.
fn on_own_stack(command: Command) -> Result<Outcome, CommandError> {
    let work = move || {
        let mut output = io::stdout().lock();
        let outcome = command.run(&mut output)?;
        output.flush()?;
        Ok(outcome)
    };
    let ended = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?.join();
    // The panic has been told where it happened.
    ended.unwrap_or_else(|_panic| Err(CommandError::Refused("the program failed".to_owned())))
}

impl Command {
    fn run(self, output: &mut dyn io::Write) -> Result<Outcome, CommandError> {
        match self {
            Self::Serve(arguments) => runtime()?.block_on(serve::run(&arguments)),
            Self::Check(arguments) => runtime()?.block_on(check::run(&arguments, output)),
            Self::Demo(arguments) => runtime()?.block_on(demo::run(&arguments, output)),
            Self::Bench(arguments) => runtime()?.block_on(bench::run(&arguments, output)),
            Self::Password(arguments) => password::run(&arguments, output),
            Self::Uninstall(arguments) => runtime()?.block_on(uninstall::run(&arguments, output)),
        }
    }
}

/// Planning a statement recurses over its expressions, in frames that are large without optimisation.
const STACK_BYTES: usize = 16 << 20;

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    Ok(tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn subcommands_are_told_apart() {
        let check = CommandLine::try_parse_from(["tributary", "check", "shop", "--security"]).unwrap().command;
        assert!(matches!(check, Command::Check(check::Arguments { security: true, .. })));
        let uninstall = CommandLine::try_parse_from(["tributary", "uninstall", "shop", "crm", "--dry-run"]).unwrap().command;
        assert!(matches!(uninstall, Command::Uninstall(uninstall::Arguments { dry_run: true, .. })));
        assert!(CommandLine::try_parse_from(["tributary", "uninstall", "shop"]).is_err());
        assert!(CommandLine::try_parse_from(["tributary", "check"]).is_err());
        assert!(CommandLine::try_parse_from(["tributary", "surprise"]).is_err());
    }
}
