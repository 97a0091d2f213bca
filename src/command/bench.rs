//! `tributary bench`: TPC-H and a set of federated queries over stores that are made for the run, checked, measured, and run
//! on peers side by side.
//!
//! ```text
//! placement (data) ─► stage: servers or files, loaded from made (generator) ─► reference: the right answers
//! catalog ─► a process of this program that serves the stores ┐
//! peer: DuckDB, foreign data wrappers, one PostgreSQL         ┴─► measure: query by query, taking turns ─► report
//! ```
//!
//! **Invariants:** every answer of every run is compared with the reference, and a wrong, missing or uncomparable one makes the run fail;
//! queries are sent by the Postgres protocol over loopback; nothing is left behind but the files that were asked for and
//! DuckDB's packages in the cache directory.

mod answer;
mod catalog;
mod client;
mod dialect;
mod load;
mod made;
mod measure;
mod memory;
pub mod outline;
mod peer;
mod placement;
mod plan;
mod query;
mod reference;
mod report;
mod stage;
mod statistic;
mod table;

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub use peer::{Peer, duckdb_python};

use client::Client;
use load::{Site, Size};
use measure::{Arena, WatchedStore, tell};
use peer::{Contender, Reached};
use placement::Placement;
use query::{Query, queries};
use reference::Reference;
use report::{Report, Summary};
use stage::Stage;

use super::{CommandError, Outcome};
use crate::options::{parse_duration, parse_size};
use crate::sandbox::{SandboxError, Tributary, Wire};

/// Below the least, the rule by which TPC-H gives each part four suppliers (clause 4.2.3) gives it one of them twice.
const SCALES: RangeInclusive<f64> = 0.01..=1000.0;

/// Which indexes tables get besides their primary keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Indexes {
    /// None.
    Primary,
    /// On foreign keys, as TPC-H allows.
    Foreign,
}

/// Arguments of `tributary bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How much data: 1 is about a gigabyte, 8.6 million rows.
    #[arg(long, default_value_t = 0.1)]
    pub scale: f64,
    /// Which table is where: embedded (SQLite alone), postgres, split, documents, scattered, or a .toml file of your own.
    #[arg(long, default_value = "embedded")]
    pub placement: String,
    /// Only these queries: q1 to q22, f1 to f12, tpch, federated. f11 and f12 read documents and run in that placement alone.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<String>,
    /// Measured runs of each query, after one that is not measured; 0 only checks the answers.
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,
    /// A query that takes longer counts as so long.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// A delay put into every round trip to a store, such as 10ms.
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub latency: Duration,
    /// Peers to run the same queries on.
    #[arg(long, value_delimiter = ',')]
    pub against: Vec<Peer>,
    /// Indexes besides primary keys.
    #[arg(long, value_enum, default_value_t = Indexes::Foreign)]
    pub indexes: Indexes,
    /// Tributary's limits.query_memory, such as 1GiB.
    #[arg(long, value_parser = size)]
    pub memory: Option<String>,
    /// Write everything that was measured to this JSON file.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Draw the times into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
}

/// A duration with its unit: a bare number is milliseconds in PostgreSQL's settings, and seconds to most people who type one.
fn duration(text: &str) -> Result<Duration, String> {
    if text.trim().ends_with(|letter: char| letter.is_ascii_digit()) {
        return Err("a duration needs a unit, such as 500ms, 30s or 5m".to_owned());
    }
    parse_duration(text).ok_or_else(|| "not a duration such as 500ms, 30s or 5m".to_owned())
}

fn size(text: &str) -> Result<String, String> {
    parse_size(text).map(|_bytes| text.to_owned()).ok_or_else(|| "not a size such as 64KiB, 10MiB or 2GiB".to_owned())
}

/// Builds the stage, runs the queries and reports.
///
/// # Errors
/// Arguments that make no sense, a server or package that is missing, a store that cannot be loaded.
pub async fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<Outcome, CommandError> {
    if !SCALES.contains(&arguments.scale) {
        let (least, most) = (SCALES.start(), SCALES.end());
        return Err(CommandError::Arguments(format!("--scale must be from {least} to {most}")));
    }
    let placement = Placement::find(&arguments.placement)?;
    let queries = queries(&arguments.queries, arguments.scale, &placement.name)?;
    writeln!(output, "Placement {}: {}. Loading at scale {} …", placement.name, placement.title, arguments.scale)?;
    output.flush()?;
    let mut peers = Vec::new();
    for peer in &arguments.against {
        match peer.missing(&placement) {
            Some(why) => writeln!(output, "  {why}")?,
            None => peers.push(*peer),
        }
    }
    let needs_postgres = peers.iter().any(|peer| *peer != Peer::Duckdb);
    let size = Size { scale: arguments.scale, indexes: arguments.indexes };
    let stage = Box::pin(Stage::build(&placement, size, needs_postgres, output)).await?;
    let mut ground = Box::pin(Ground::prepare(arguments, &placement, &stage, &peers)).await?;
    let report = Box::pin(measure(arguments, &placement, &mut ground.arena, &queries, output)).await?;
    report.print(output)?;
    if let Some(path) = &arguments.out {
        report.write_json(path)?;
    }
    if let Some(path) = &arguments.chart {
        report.write_chart(path)?;
    }
    Ok(if report.summary.is_sound() { Outcome::Success } else { Outcome::Problems })
}

/// What must live as long as the runs.
struct Ground {
    arena: Arena,
    // Processes and forwarders that end when they are dropped.
    _servers: Vec<Tributary>,
    _wires: Vec<Wire>,
}

impl Ground {
    async fn prepare(arguments: &Arguments, placement: &Placement, stage: &Stage, peers: &[Peer]) -> Result<Self, CommandError> {
        let program = std::env::current_exe()?;
        let memory = arguments.memory.as_deref();
        // With a delay everybody speaks to the stores through wires that have it; without one, nothing stands in between.
        let mut wires = Vec::new();
        let is_late = !arguments.latency.is_zero();
        let sites = if is_late { behind(&stage.sites, arguments.latency, &mut wires).await? } else { stage.sites.clone() };
        let everything = match &stage.everything {
            Some(endpoint) if is_late => {
                let wire = Wire::to(endpoint, arguments.latency).await?;
                let reached = wire.in_front_of(endpoint);
                wires.push(wire);
                Some(reached)
            }
            other => other.clone(),
        };
        let measured = Tributary::start(&program, &catalog::catalog(placement, &sites, memory)).await.map_err(not_started)?;
        let mut counting = Vec::new();
        let counted = behind(&stage.sites, Duration::ZERO, &mut counting).await?;
        let watched = Tributary::start(&program, &catalog::catalog(placement, &counted, memory)).await.map_err(not_started)?;
        let limit = arguments.timeout;
        let mut contenders = vec![Contender::served("tributary", &measured, limit)];
        let reached = Reached { placement, sites: &sites, everything: everything.as_ref(), limit };
        for peer in peers {
            contenders.push(Box::pin(peer.prepare(stage, &reached)).await?);
        }
        let reference = match &stage.everything {
            Some(endpoint) => Reference::postgres(endpoint),
            None => Reference::Sqlite(stage.sqlite_files()),
        };
        let arena = Arena {
            contenders,
            reference,
            watched: Client::new(&watched, limit),
            stores: watched_stores(placement, &stage.sites, counting),
            process_id: measured.process_id(),
            repeat: arguments.repeat,
            limit,
        };
        Ok(Self { arena, _servers: vec![measured, watched], _wires: wires })
    }
}

/// The same sites, the servers among them behind forwarders of their own.
async fn behind(sites: &[Site], round_trip: Duration, wires: &mut Vec<Wire>) -> Result<Vec<Site>, CommandError> {
    let mut reached = Vec::new();
    for site in sites {
        let site = match site {
            Site::File(path) => Site::File(path.clone()),
            Site::Server(endpoint) => {
                let wire = Wire::to(endpoint, round_trip).await?;
                let in_front = wire.in_front_of(endpoint);
                wires.push(wire);
                Site::Server(in_front)
            }
        };
        reached.push(site);
    }
    Ok(reached)
}

/// Stores with their forwarders; files have none.
fn watched_stores(placement: &Placement, sites: &[Site], wires: Vec<Wire>) -> Vec<WatchedStore> {
    let mut wires = wires.into_iter();
    let stores = placement.stores.iter().zip(sites).map(|(store, site)| {
        let wire = if matches!(site, Site::Server(_)) { wires.next() } else { None };
        WatchedStore { name: store.name.clone(), kind: store.kind.word(), wire }
    });
    stores.collect()
}

async fn measure(
    arguments: &Arguments,
    placement: &Placement,
    arena: &mut Arena,
    queries: &[Query],
    output: &mut dyn Write,
) -> Result<Report, CommandError> {
    let names: Vec<&str> = arena.contenders.iter().map(|contender| contender.name.as_str()).collect();
    let runs = if arguments.repeat == 1 { "run" } else { "runs" };
    writeln!(output, "{} queries, {} measured {runs} each, on {} …", queries.len(), arguments.repeat, names.join(", "))?;
    output.flush()?;
    let mut progress = load::Progress::new();
    let mut results = Vec::new();
    for query in queries {
        progress.say(&format!("{} {}", query.name, query.title));
        let result = Box::pin(arena.run(query)).await;
        progress.clear();
        tell(&result, output)?;
        results.push(result);
    }
    let summary = Summary::of(&results);
    Ok(Report {
        command: command_line(),
        made: chrono::Utc::now().format("%Y-%m-%d").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        placement: placement.name.clone(),
        placement_title: placement.title.clone(),
        scale: arguments.scale,
        repeat: arguments.repeat,
        limit_ms: arguments.timeout.as_millis(),
        latency_ms: arguments.latency.as_secs_f64() * 1e3,
        indexes: format!("{:?}", arguments.indexes).to_lowercase(),
        reference: arena.reference.described(),
        queries: results,
        summary,
    })
}

/// The command as it was given, without the place of the program.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("tributary {}", words.join(" "))
}

fn not_started(error: SandboxError) -> CommandError {
    CommandError::Refused(format!("Tributary itself could not be started: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_the_command_line_has_a_unit() {
        let rows = [
            ("10ms", Ok(10)),
            ("0ms", Ok(0)),
            ("60s", Ok(60_000)),
            ("10", Err("needs a unit")),
            ("0", Err("needs a unit")),
            (" 60 ", Err("needs a unit")),
            ("soon", Err("not a duration")),
            ("", Err("not a duration")),
        ];
        for (text, expected) in rows {
            match (duration(text), expected) {
                (Ok(found), Ok(millis)) => assert_eq!(found, Duration::from_millis(millis), "{text}"),
                (Err(told), Err(words)) => assert!(told.contains(words), "{text}: {told}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
