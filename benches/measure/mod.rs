//! What every bench needs: what it runs on, its knobs, its printed lines and its verdict. What is measured, and how, is in
//! the benches themselves.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use tributary::config::environment;

/// A bench has nobody to answer an error to.
pub fn must<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "a bench that cannot run must say so")]
        Err(error) => panic!("{error}"),
    }
}

/// Prints one line. A closed standard output ends nothing: the verdict is also the exit code.
pub fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// The knobs of all benches: variables of the environment.
pub const KNOBS: [&str; 11] = [
    "TRIBUTARY_BENCH_BACKLOG",
    "TRIBUTARY_BENCH_CHANGES",
    "TRIBUTARY_BENCH_COMMITS",
    "TRIBUTARY_BENCH_INSERTS",
    "TRIBUTARY_BENCH_OTHERS",
    "TRIBUTARY_BENCH_ROUNDS",
    "TRIBUTARY_BENCH_ROWS",
    "TRIBUTARY_BENCH_SECONDS",
    "TRIBUTARY_BENCH_SINGLES",
    "TRIBUTARY_BENCH_VIEW",
    "TRIBUTARY_BENCH_WRITES",
];

/// A whole number from the environment, by the name of one of [`KNOBS`].
pub fn knob(variable: &str, default: u64) -> u64 {
    assert!(KNOBS.contains(&variable), "{variable} is not among the knobs of benches");
    match environment::text(variable) {
        Some(text) => must(text.replace('_', "").parse().map_err(|_not_a_number| format!("{variable} is not a whole number"))),
        None => default,
    }
}

/// Whether the code was built to be measured.
pub fn is_optimised() -> bool {
    !cfg!(debug_assertions)
}

/// Whether `cargo bench` started us; `cargo test --all-targets` starts benches too, without the word.
pub fn is_wanted() -> bool {
    let wanted = std::env::args().any(|argument| argument == "--bench");
    if !wanted {
        say(format_args!("nothing is measured without --bench, which `cargo bench` gives"));
    }
    wanted
}

/// What the figures below it were measured on.
pub fn say_machine(bench: &str) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let description = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = description.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let profile = if is_optimised() { "optimised" } else { "not optimised: figures mean nothing and are not judged" };
    say(format_args!("{bench}: {cores} cores of {}, {profile}", processor.unwrap_or("an unknown processor")));
}

/// The middle of some figures, of an even number the mean of the two in the middle; zero of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at((sorted.len() / 2).saturating_sub(1)), at(sorted.len() / 2))
    } else {
        at(sorted.len() / 2)
    }
}

/// The verdicts of a run.
#[derive(Debug, Default)]
pub struct Verdicts {
    failed: Vec<String>,
}

impl Verdicts {
    /// Judges one figure: `holds` is what the budget says of it, `claim` the two in words.
    pub fn judge(&mut self, holds: bool, claim: &str) {
        let word = if holds { "PASS" } else { "FAIL" };
        say(format_args!("{word}  {claim}"));
        if !holds {
            self.failed.push(claim.to_owned());
        }
    }

    /// The last line, and the exit code.
    pub fn end(&self) -> ExitCode {
        if self.failed.is_empty() {
            say(format_args!("all budgets are kept"));
            return ExitCode::SUCCESS;
        }
        say(format_args!("{} budget(s) are not kept", self.failed.len()));
        if is_optimised() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
