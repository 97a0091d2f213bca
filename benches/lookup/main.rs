//! **Question:** what does a point lookup by primary key cost through the proxy, against a pooler that understands nothing of
//! the statements, and against no proxy at all?
//!
//! **Data:** one table of a million rows as pgbench makes it (`aid`, `bid`, `abalance`, a filler of 84 letters) in a private
//! PostgreSQL without TLS. `TRIBUTARY_BENCH_ROWS`, `TRIBUTARY_BENCH_ROUNDS` and `TRIBUTARY_BENCH_SECONDS` change size,
//! repetitions and the length of each.
//!
//! **Baseline:** pgbouncer in session pooling and the server itself, both for the same pgbench with the same script. The
//! programs `pgbench` and `pgbouncer` must be installed.
//!
//! **Measured:** what pgbench prints: average latency with one client, transactions a second with sixteen; prepared
//! statements, all parties in turn within each round, the medians over the rounds. Tributary is the built program in a
//! process of its own, as the others are.
//!
//! **Budget:** latency at one client at most 1.25 times pgbouncer's; throughput at sixteen at least 0.8 times.

#[path = "../measure/mod.rs"]
mod measure;
mod parties;
mod pgbench;

use std::process::ExitCode;

use measure::{Verdicts, is_wanted, knob, median, must, say, say_machine};
use parties::Parties;
use pgbench::Figures;

/// Most latency of ours for each unit of pgbouncer's.
const LATENCY_BUDGET: f64 = 1.25;
/// Least throughput of ours for each unit of pgbouncer's.
const THROUGHPUT_BUDGET: f64 = 0.8;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("lookup");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    let rows = knob("TRIBUTARY_BENCH_ROWS", 1_000_000);
    let parties = runtime.block_on(Box::pin(Parties::start(rows)));
    let mut verdicts = Verdicts::default();
    let lone = compare(&parties, 1);
    let crowded = compare(&parties, 16);
    if let (Some(lone), Some(crowded)) = (lone, crowded) {
        let (latency, throughput) = (lone.latency_ms, crowded.per_second);
        verdicts.judge(
            latency <= LATENCY_BUDGET,
            &format!("latency at 1 client: {latency:.3} times pgbouncer's, at most {LATENCY_BUDGET}"),
        );
        verdicts.judge(
            throughput >= THROUGHPUT_BUDGET,
            &format!("throughput at 16 clients: {throughput:.3} times pgbouncer's, at least {THROUGHPUT_BUDGET}"),
        );
    }
    verdicts.end()
}

/// Runs all parties with so many clients, prints the medians, and gives ours in multiples of pgbouncer's.
fn compare(parties: &Parties, clients: usize) -> Option<Figures> {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 5);
    let seconds = knob("TRIBUTARY_BENCH_SECONDS", 5);
    let all = parties.all();
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (party, figures) in all.iter().zip(&mut figures) {
            figures.push(pgbench::run(party, &parties.script(), clients, seconds));
        }
    }
    let medians: Vec<Figures> = figures
        .iter()
        .map(|figures| Figures {
            latency_ms: median(&figures.iter().map(|figure| figure.latency_ms).collect::<Vec<_>>()),
            per_second: median(&figures.iter().map(|figure| figure.per_second).collect::<Vec<_>>()),
        })
        .collect();
    let [_, pooled, ours] = medians.as_slice() else { return None };
    for (party, figure) in all.iter().zip(&medians) {
        say(format_args!(
            "{clients:>3} clients  {:<10}  {:>8.3} ms  {:>9.0} a second  {:>6.3} × latency  {:>6.3} × throughput of pgbouncer",
            party.name,
            figure.latency_ms,
            figure.per_second,
            figure.latency_ms / pooled.latency_ms,
            figure.per_second / pooled.per_second
        ));
    }
    Some(Figures { latency_ms: ours.latency_ms / pooled.latency_ms, per_second: ours.per_second / pooled.per_second })
}
