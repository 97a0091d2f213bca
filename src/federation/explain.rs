//! `EXPLAIN`: the physical plan as text or as a tree in JSON, what each store is asked, and where scans of one store do not share
//! a snapshot.

use std::sync::Arc;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::ast::HIDDEN;
use super::branches::Branches;
use super::plan::Bound;
use super::scan::{asked, count_scans};
use crate::error::{Diagnosis, sqlstate};

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
    lines.extend(notes(bound, branches).await?);
    Ok(lines)
}

/// The whole answer of `EXPLAIN (FORMAT json)`: nodes have `Node Type`, `Details`, `Plans`, and after a run `Actual Rows`.
///
/// # Errors
/// As [`lines`].
pub async fn json(bound: &Bound, branches: &Arc<Branches>, analyzed: bool) -> Result<String, Diagnosis> {
    let notes = notes(bound, branches).await?;
    let whole = serde_json::json!([{ "Plan": node(bound.physical.as_ref(), analyzed), "Stores": notes }]);
    serde_json::to_string_pretty(&whole).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))
}

fn node(plan: &dyn ExecutionPlan, analyzed: bool) -> serde_json::Value {
    let details = displayable(plan).one_line().to_string();
    let mut shown = serde_json::json!({ "Node Type": plan.name(), "Details": without_hidden(details.trim_end()) });
    if let Some(fields) = shown.as_object_mut() {
        let rows = plan.metrics().filter(|_| analyzed).and_then(|metrics| metrics.output_rows());
        fields.extend(rows.map(|rows| ("Actual Rows".to_owned(), rows.into())));
        let below: Vec<serde_json::Value> = plan.children().into_iter().map(|child| node(child.as_ref(), analyzed)).collect();
        if !below.is_empty() {
            fields.insert("Plans".to_owned(), below.into());
        }
    }
    shown
}

/// What each store is asked, and where scans of one store do not share a snapshot.
async fn notes(bound: &Bound, branches: &Arc<Branches>) -> Result<Vec<String>, Diagnosis> {
    let mut lines = Vec::new();
    for asked in asked(&bound.physical) {
        lines.push(format!("Asked of {}: {}", asked.store, asked.described));
    }
    for residual in &bound.residuals {
        lines.push(format!("Not asked of {}: {} ({})", residual.store, residual.operation, residual.refusal));
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
    let counted = asked(physical).into_iter().map(|asked| {
        let rows = asked.metrics.as_ref().and_then(datafusion::physical_plan::metrics::MetricsSet::output_rows).unwrap_or(0);
        let bytes = asked.metrics.and_then(|set| set.sum_by_name("bytes_pulled")).map_or(0, |value| value.as_usize());
        Pulled { store: asked.store.to_string(), asked: asked.described, rows, bytes }
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
