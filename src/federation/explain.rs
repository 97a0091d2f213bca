//! `EXPLAIN`: the physical plan as text, what each store is asked, and where scans of one store do not share a snapshot.

use std::sync::Arc;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::ast::HIDDEN;
use super::branches::Branches;
use super::plan::Bound;
use super::scan::{count_scans, scans};
use crate::error::Diagnosis;

/// The lines of `EXPLAIN`; with `analyzed` the plan has run and shows its metrics.
///
/// # Errors
/// What opening a branch failed with, for stores whose snapshot sharing must be asked.
pub async fn lines(bound: &Bound, branches: &Arc<Branches>, analyzed: bool) -> Result<Vec<String>, Diagnosis> {
    let text = if analyzed {
        DisplayableExecutionPlan::with_metrics(bound.physical.as_ref()).indent(false).to_string()
    } else {
        displayable(bound.physical.as_ref()).indent(false).to_string()
    };
    let mut lines: Vec<String> = text.lines().map(without_hidden).collect();
    for scan in scans(&bound.physical) {
        lines.push(format!("Asked of {}: {}", scan.scan().store, scan.described()));
    }
    for (store, count) in count_scans(&bound.physical) {
        if count < 2 {
            continue;
        }
        let branch = branches.get(&store).await.map_err(|error| Diagnosis::of(&error))?;
        match branch.shared_snapshot() {
            Ok(()) => lines.push(format!("Snapshot: the {count} scans of {store} see one state")),
            Err(reason) => lines.push(format!("Snapshot: the {count} scans of {store} may see different states ({reason})")),
        }
    }
    Ok(lines)
}

/// A line without the numbers that make names unique, which may stand anywhere in it.
fn without_hidden(line: &str) -> String {
    let mut parts = line.split(HIDDEN);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| shown.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit())));
    shown
}

/// Rows that the stores sent for a plan that has run: store, what it was asked, rows, bytes.
pub fn pulled(physical: &Arc<dyn ExecutionPlan>) -> Vec<Pulled> {
    let counted = scans(physical).into_iter().map(|scan| {
        let metrics = scan.metrics();
        let rows = metrics.as_ref().and_then(datafusion::physical_plan::metrics::MetricsSet::output_rows).unwrap_or(0);
        let bytes = metrics.and_then(|set| set.sum_by_name("bytes_pulled")).map_or(0, |value| value.as_usize());
        Pulled { store: scan.scan().store.to_string(), asked: scan.described().to_owned(), rows, bytes }
    });
    counted.collect()
}

/// What one scan brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The store.
    pub store: String,
    /// What it was asked.
    pub asked: String,
    /// Rows it sent.
    pub rows: usize,
    /// Bytes they took in memory.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_what_follows_a_hidden_number() {
        let rows = [
            ("expr=[name@0 as name, name@2 as name\u{1}12]", "expr=[name@0 as name, name@2 as name]"),
            ("a\u{1}1, b\u{1}2@3", "a, b@3"),
            ("plain", "plain"),
            ("end\u{1}7", "end"),
        ];
        for (line, expected) in rows {
            assert_eq!(without_hidden(line), expected);
        }
    }
}
