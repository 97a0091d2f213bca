//! What a bench has measured as JSON in `benches/results`, beside what it prints.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tributary::config::environment;

use super::measure::{KNOBS, is_optimised, must, say};

/// The figures of a run.
#[derive(Debug)]
pub struct Results {
    bench: &'static str,
    figures: Map<String, Value>,
}

impl Results {
    /// None yet.
    pub fn of(bench: &'static str) -> Self {
        Self { bench, figures: Map::new() }
    }

    /// Adds a figure, or some.
    pub fn put(&mut self, name: &str, figure: Value) {
        self.figures.insert(name.to_owned(), figure);
    }

    /// Writes the file. Figures of code that is not optimised mean nothing and are not kept, nor are those of a run whose knobs were turned,
    /// which nobody could compare with the ones that are there.
    pub fn write(self) {
        if !is_optimised() {
            return;
        }
        let turned: Vec<&str> = KNOBS.into_iter().filter(|knob| environment::text(knob).is_some()).collect();
        if !turned.is_empty() {
            say(format_args!("nothing is written: the run is not as it is by default ({})", turned.join(", ")));
            return;
        }
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
        let made = chrono::Utc::now().date_naive().to_string();
        let report = json!({
            "command": format!("cargo bench --bench {}", self.bench),
            "made": made,
            "version": env!("CARGO_PKG_VERSION"),
            "processors": cores,
            "figures": self.figures,
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/results/{}.json", self.bench));
        let text = must(serde_json::to_string_pretty(&report));
        must(fs::write(&path, format!("{text}\n")));
        say(format_args!("written to {}", path.display()));
    }
}
