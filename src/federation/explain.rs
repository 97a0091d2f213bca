//! `EXPLAIN`: the physical plan as text or as a tree in JSON, what each store is asked, and where scans of one store do not share
//! a snapshot.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::ast::HIDDEN;
use super::branches::Branches;
use super::copy::{CopyExec, Served};
use super::materialized::{Chosen, Told};
use super::pauses::PACED;
use super::placement::Residual;
use super::plan::Bound;
use super::scan::{Asked, asked};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;

/// What `EXPLAIN` says of a statement that is not planned.
const FAST_PATH: &str = "Fast path: the statement goes to its store without being planned";
/// The same of one whose table is kept here as a copy.
const FAST_PATH_OF_COPY: &str = "Fast path: the statement is answered from a copy, or goes to its store, without being planned";

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
    let mut lines: Vec<String> = without_keys(&text).lines().map(without_hidden).collect();
    lines.extend(notes(bound, branches).await?);
    Ok(lines)
}

/// The whole answer of `EXPLAIN (FORMAT json)`: nodes have `Node Type`, `Details`, `Plans`, and after a run `Actual Rows`; those
/// that ask a store also `Store`, `Asked`, `Estimated Rows`, and after a run `Bytes Pulled`, `Round Trips`, `Remote Time` in
/// milliseconds, and `Ranges` of a table that was read side by side; those that may read a copy `Table`, `Copy`, and after a run `Source`,
/// `Age` in milliseconds and `Position`, or `Reason`. `Not Asked` lists what no store was asked for, with the refused
/// expression and the rule, `Checked Again` the conditions of which a store evaluates only about what is meant, `Views` the materialized
/// views with how they are `Maintained` and what they are read from: `Source`, `Age` in milliseconds and `Position`, or `Reason`.
///
/// # Errors
/// As [`lines`].
pub async fn json(bound: &Bound, branches: &Arc<Branches>, analyzed: bool) -> Result<String, Diagnosis> {
    let notes = notes(bound, branches).await?;
    let mut whole = serde_json::json!({ "Plan": node(bound.physical.as_ref(), analyzed), "Stores": notes });
    let (checked, refused) = residuals(bound);
    let views: Vec<serde_json::Value> = branches.told_views().iter().map(shown_view).collect();
    for (name, found) in [("Not Asked", refused), ("Checked Again", checked), ("Views", views)] {
        if let (Some(fields), false) = (whole.as_object_mut(), found.is_empty()) {
            fields.insert(name.to_owned(), found.into());
        }
    }
    let whole = serde_json::Value::Array(vec![whole]);
    serde_json::to_string_pretty(&whole).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))
}

/// Nodes that only let other tasks run, and tell nothing of the statement.
const PAUSING: [&str; 2] = ["CooperativeExec", PACED];

fn node(plan: &dyn ExecutionPlan, analyzed: bool) -> serde_json::Value {
    if let [only] = plan.children().as_slice()
        && PAUSING.contains(&plan.name())
    {
        return node(only.as_ref(), analyzed);
    }
    let details = without_keys(&displayable(plan).one_line().to_string());
    let mut shown = serde_json::json!({ "Node Type": plan.name(), "Details": without_hidden(details.trim_end()) });
    if let Some(fields) = shown.as_object_mut() {
        let rows = plan.metrics().filter(|_| analyzed).and_then(|metrics| metrics.output_rows());
        fields.extend(rows.map(|rows| ("Actual Rows".to_owned(), rows.into())));
        if let Some(asked) = Asked::of(plan) {
            fields.extend(remote(&asked, analyzed));
        }
        if let Some(copy) = (plan as &dyn Any).downcast_ref::<CopyExec>() {
            fields.extend(copied(copy));
        }
        let below: Vec<serde_json::Value> = plan.children().into_iter().map(|child| node(child.as_ref(), analyzed)).collect();
        if !below.is_empty() {
            fields.insert("Plans".to_owned(), below.into());
        }
    }
    shown
}

/// What a node that asks a store shows besides.
fn remote(asked: &Asked, analyzed: bool) -> Vec<(String, serde_json::Value)> {
    let mut shown = vec![("Store".to_owned(), asked.store.as_str().into()), ("Asked".to_owned(), asked.described.as_str().into())];
    shown.extend(asked.estimate.map(|rows| ("Estimated Rows".to_owned(), rows.into())));
    let Some(metrics) = asked.metrics.as_ref().filter(|_| analyzed) else { return shown };
    let counted = |name: &str| metrics.sum_by_name(name).map(|value| value.as_usize());
    shown.extend(counted("bytes_pulled").map(|bytes| ("Bytes Pulled".to_owned(), bytes.into())));
    shown.extend(counted("round_trips").map(|trips| ("Round Trips".to_owned(), trips.into())));
    shown.extend(counted("ranges_read").map(|ranges| ("Ranges".to_owned(), ranges.into())));
    shown.extend(counted("remote_time").map(|nanos| ("Remote Time".to_owned(), (nanos as f64 / 1e6).into())));
    shown
}

/// What a node that reads a copy shows besides.
fn copied(copy: &CopyExec) -> Vec<(String, serde_json::Value)> {
    let mut shown = vec![("Table".to_owned(), copy.named().into())];
    match copy.served() {
        None => shown.push(("Copy".to_owned(), "offered".into())),
        Some(Served::Store(reason)) => {
            shown.extend([("Source".to_owned(), "store".into()), ("Reason".to_owned(), reason.into())]);
        }
        Some(Served::Copy { age, position }) => {
            shown.push(("Source".to_owned(), "copy".into()));
            shown.extend(age.map(|age| ("Age".to_owned(), (age.as_secs_f64() * 1e3).into())));
            shown.extend(position.map(|position| ("Position".to_owned(), position.into())));
        }
    }
    shown
}

/// A materialized view that the statement reads.
fn shown_view(told: &Told) -> serde_json::Value {
    let mut shown = serde_json::json!({ "View": told.view, "Maintained": told.maintained });
    let Some(fields) = shown.as_object_mut() else { return shown };
    match &told.chosen {
        Chosen::Rows(rows) => {
            fields.insert("Source".to_owned(), "rows".into());
            fields.extend(rows.age.map(|age| ("Age".to_owned(), (age.as_secs_f64() * 1e3).into())));
            fields.extend(rows.position.as_deref().map(|position| ("Position".to_owned(), position.into())));
        }
        Chosen::Query(reason) => {
            fields.insert("Source".to_owned(), "query".into());
            fields.insert("Reason".to_owned(), (*reason).into());
        }
        // It has ended the statement.
        Chosen::Refused(_) => {}
    }
    shown
}

/// The same as lines.
fn view_lines(told: &Told) -> Vec<String> {
    let view = &told.view;
    let source = match &told.chosen {
        Chosen::Rows(rows) => {
            let age = rows
                .age
                .map_or_else(|| "of unknown age".to_owned(), |age| format!("at most {} ms old", age.as_micros().div_ceil(1000)));
            let position = rows.position.as_ref().map(|position| format!(", position {position}")).unwrap_or_default();
            Some(format!("Source: rows of the view, {age}{position} ({view})"))
        }
        Chosen::Query(reason) => Some(format!("Source: query of the view, {reason} ({view})")),
        Chosen::Refused(_) => None,
    };
    let maintained = told.maintained.as_ref().map(|how| format!("Maintained: {how} ({view})"));
    maintained.into_iter().chain(source).collect()
}

/// The nodes of a plan that may read copies.
fn copies(plan: &dyn ExecutionPlan) -> Vec<CopyExec> {
    let mut found: Vec<CopyExec> = (plan as &dyn Any).downcast_ref::<CopyExec>().cloned().into_iter().collect();
    for child in plan.children() {
        found.extend(copies(child.as_ref()));
    }
    found
}

/// Conditions that are checked again here, and what stays with the engine though its input is a store's; and why.
fn residuals(bound: &Bound) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
    let shown = |residual: &Residual| {
        let mut shown = serde_json::json!({
            "Operation": residual.operation,
            "Store": residual.store,
            "Refused": without_hidden(&residual.refusal.subject),
            "Rule": residual.refusal.rule,
        });
        if let (Some(fields), Some(condition)) = (shown.as_object_mut(), &residual.checked) {
            fields.insert("Condition".to_owned(), without_hidden(condition).into());
        }
        shown
    };
    let (checked, refused): (Vec<&Residual>, Vec<&Residual>) =
        bound.residuals.iter().partition(|residual| residual.checked.is_some());
    (checked.into_iter().map(shown).collect(), refused.into_iter().map(shown).collect())
}

/// What each store is asked, and where scans of one store do not share a snapshot.
async fn notes(bound: &Bound, branches: &Arc<Branches>) -> Result<Vec<String>, Diagnosis> {
    let mut lines = Vec::new();
    let copies = copies(bound.physical.as_ref());
    if bound.is_fast {
        lines.push(if copies.is_empty() { FAST_PATH } else { FAST_PATH_OF_COPY }.to_owned());
    }
    lines.extend(copies.iter().map(|copy| match copy.served() {
        None => format!("Copy: offered ({})", copy.named()),
        Some(served) => format!("Source: {served} ({})", copy.named()),
    }));
    let passed = branches.passed_copies().into_iter();
    lines.extend(passed.map(|(store, table, reason)| format!("Source: {} ({store}.{})", Served::Store(reason), table.name)));
    lines.extend(branches.told_views().iter().flat_map(view_lines));
    // What a store would be asked in the place of a copy that serves is nothing it is asked.
    let asked: Vec<Asked> = asked(&bound.physical).into_iter().filter(|asked| !asked.is_spared).collect();
    lines.extend(asked.iter().map(|asked| format!("Asked of {}: {}", asked.store, asked.described)));
    for residual in &bound.residuals {
        let refusal = without_hidden(&residual.refusal.to_string());
        lines.push(match &residual.checked {
            Some(condition) => format!("Re-checked here: {} ({refusal})", without_hidden(condition)),
            None => format!("Not asked of {}: {} ({refusal})", residual.store, residual.operation),
        });
    }
    let mut counts: BTreeMap<&StoreName, usize> = BTreeMap::new();
    asked.iter().for_each(|asked| *counts.entry(&asked.store).or_default() += 1);
    for (store, count) in counts {
        if count < 2 {
            continue;
        }
        let branch = branches.get(store).await.map_err(|error| Diagnosis::of(&error))?;
        match branch.shared_snapshot() {
            Ok(()) => lines.push(format!("Snapshot: the {count} scans of {store} see one state")),
            Err(reason) => lines.push(format!("Snapshot: the {count} scans of {store} may see different states ({reason})")),
        }
    }
    Ok(lines)
}

/// The text of a plan with the number of the keys that a join has read instead of the keys, which may be thousands. Their number is
/// that of their commas: it may be larger for texts that hold some.
fn without_keys(text: &str) -> String {
    const LIST: &str = "(SET) ([";
    let mut parts = text.split(LIST);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_read = shown.lines().next_back().is_some_and(|line| line.contains("DynamicFilter ["));
        shown.push_str(LIST);
        match part.split_once("])") {
            Some((keys, after)) if is_read => {
                let count = keys.split(", ").count();
                shown.push_str(&format!("{count} keys])"));
                shown.push_str(after);
            }
            _ => shown.push_str(part),
        }
    }
    shown
}

/// A line without the numbers that make names and calls unique, which may stand anywhere in it.
fn without_hidden(line: &str) -> String {
    let mut parts = line.split(HIDDEN);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| shown.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit())));
    without_numbered(&shown)
}

/// A line with the first argument of each `pg_evaluated(value, number)` in its place.
fn without_numbered(line: &str) -> String {
    const CALL: &str = "pg_evaluated(";
    let (mut shown, mut rest) = (String::new(), line.to_owned());
    while let Some((before, after)) = rest.split_once(CALL) {
        shown.push_str(before);
        // The value may be such a call too.
        rest = if let Some((value, behind)) = numbered(after) {
            format!("{value}{behind}")
        } else {
            shown.push_str(CALL);
            after.to_owned()
        };
    }
    shown + &rest
}

/// The value of a call whose parenthesis is open, and what follows the call.
fn numbered(arguments: &str) -> Option<(&str, &str)> {
    let (mut depth, mut comma) = (0_usize, None);
    for (place, letter) in arguments.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => {
                let (value, number) = arguments.get(..place)?.split_at_checked(comma?)?;
                let number = number.trim_start_matches([',', ' ']);
                let is_number = number.starts_with("Int") || number.starts_with("CAST(Int");
                return is_number.then_some((value, arguments.get(place + 1..)?));
            }
            ')' => depth -= 1,
            ',' if depth == 0 => comma = Some(place),
            _ => {}
        }
    }
    None
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
    fn keys_that_a_join_has_read_are_counted() {
        let rows = [
            (
                "FilterExec: DynamicFilter [ a@0 >= 3 AND a@0 <= 397 AND a@0 IN (SET) ([3, 5, 397]) ], metrics=[]\n  ScanExec: store=b",
                "FilterExec: DynamicFilter [ a@0 >= 3 AND a@0 <= 397 AND a@0 IN (SET) ([3 keys]) ], metrics=[]\n  ScanExec: store=b",
            ),
            (
                "X: DynamicFilter [ a@0 IN (SET) ([1, 2]) AND b@1 IN (SET) ([x]) ]",
                "X: DynamicFilter [ a@0 IN (SET) ([2 keys]) AND b@1 IN (SET) ([1 keys]) ]",
            ),
            // What the statement says is shown.
            (
                "X: DynamicFilter [ empty ]\n  FilterExec: a@0 IN (SET) ([1, 2])",
                "X: DynamicFilter [ empty ]\n  FilterExec: a@0 IN (SET) ([1, 2])",
            ),
            ("X: DynamicFilter [ empty ]", "X: DynamicFilter [ empty ]"),
        ];
        for (text, expected) in rows {
            assert_eq!(without_keys(text), expected);
        }
    }

    #[test]
    fn a_view_says_how_it_is_kept_and_why_its_query_is_run() {
        let told = |maintained: Option<&str>, chosen| Told {
            view: "public.totals".to_owned(),
            maintained: maintained.map(str::to_owned),
            chosen,
        };
        let query = told(Some("whole: it has ORDER BY"), Chosen::Query("it is not kept yet"));
        let expected =
            ["Maintained: whole: it has ORDER BY (public.totals)", "Source: query of the view, it is not kept yet (public.totals)"];
        assert_eq!(view_lines(&query), expected);
        let shown = shown_view(&query);
        assert_eq!((&shown["Source"], &shown["Reason"]), (&"query".into(), &"it is not kept yet".into()));
        let unknown = told(None, Chosen::Query("the statement reads its stores"));
        assert_eq!(view_lines(&unknown), ["Source: query of the view, the statement reads its stores (public.totals)"]);
        assert!(shown_view(&unknown)["Maintained"].is_null());
    }

    #[test]
    fn a_line_keeps_what_follows_a_hidden_number() {
        let rows = [
            ("expr=[name@0 as name, name@2 as name\u{1}12]", "expr=[name@0 as name, name@2 as name]"),
            ("a\u{1}1, b\u{1}2@3", "a, b@3"),
            ("plain", "plain"),
            ("end\u{1}7", "end"),
            (
                "aggr=[sum(random()) as sum(pg_evaluated(random(),Int64(1))), max(pg_evaluated(f(a, b), CAST(Int64(2) AS Int32)))]",
                "aggr=[sum(random()) as sum(random()), max(f(a, b))]",
            ),
            ("pg_evaluated(pg_evaluated(random(), Int32(1)) + x,Int64(2)) > 1", "random() + x > 1"),
            ("a = 'pg_evaluated(', b = 'pg_evaluated(1, x)'", "a = 'pg_evaluated(', b = 'pg_evaluated(1, x)'"),
        ];
        for (line, expected) in rows {
            assert_eq!(without_hidden(line), expected);
        }
    }
}
