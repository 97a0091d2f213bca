//! One run of pgbench, and what it prints.

use std::path::Path;
use std::process::Command;

use super::measure::must;
use super::parties::Party;

/// What one run measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Average time of a transaction as its client sees it.
    pub latency_ms: f64,
    /// Transactions a second of all clients together.
    pub per_second: f64,
}

/// Threads that drive the clients; the rest of the machine belongs to the parties.
const THREADS_MAX: usize = 2;

/// Lets `clients` run the script for so many seconds.
pub fn run(party: &Party, script: &Path, clients: usize, seconds: u64) -> Figures {
    let mut program = Command::new("pgbench");
    program
        .args(["--no-vacuum", "--protocol=prepared", "--host=127.0.0.1"])
        .args([format!("--port={}", party.port), format!("--username={}", party.user), format!("--time={seconds}")])
        .args([format!("--client={clients}"), format!("--jobs={}", clients.min(THREADS_MAX))])
        .arg(format!("--file={}", script.display()))
        .arg(&party.database)
        .env("PGPASSWORD", &party.password)
        .env("PGSSLMODE", "disable");
    let output = must(program.output());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    must(if output.status.success() { Ok(()) } else { Err(format!("pgbench over {}: {said}", party.name)) });
    let figure = |start: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        must(number.ok_or(format!("pgbench over {} printed no \"{start}\":\n{text}", party.name)))
    };
    Figures { latency_ms: figure("latency average = "), per_second: figure("tps = ") }
}
