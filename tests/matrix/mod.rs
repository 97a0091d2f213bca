//! What each store does of a plan: operation by type, read from EXPLAIN and proved against one PostgreSQL.
//!
//! Every cell is asked three times: as it is, with pushdown held back, and of the copy (`differential::stage`). A cell is
//! written down only if all three answers are one, so that `pushed` means pushed and equal. The result is `docs/pushdown.md`:
//! the test fails when it differs, `BLESS=1 cargo test --test main matrix` writes it.

mod operations;
mod page;

use std::path::Path;

use tributary::config::environment;

use crate::differential::ask::{Answer, Asked};
use crate::differential::stage::Stage;
use crate::differential::typed::Quality;
use crate::differential::{compare, estimate};
use operations::{Operation, SAMPLES, SECTIONS, STORES, Sample};

/// Connections that work at the same time.
const WORKERS: usize = 4;

/// What of a plan stays here when a store does not do an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stays {
    Filter,
    Join,
    Aggregate,
    Sort,
    Limit,
    Union,
    Window,
}

impl Stays {
    /// Names of the nodes that do it here.
    fn nodes(self) -> &'static [&'static str] {
        match self {
            Self::Filter => &["FilterExec"],
            Self::Join => &["JoinExec", "Join:", "BindJoin"],
            Self::Aggregate => &["AggregateExec"],
            Self::Sort => &["SortExec", "SortPreservingMergeExec"],
            Self::Limit => &["GlobalLimitExec", "LocalLimitExec", "fetch="],
            Self::Union => &["UnionExec"],
            Self::Window => &["WindowAggExec"],
        }
    }
}

/// What became of a cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// The store has no such type.
    Absent,
    /// The store did it.
    Pushed,
    /// The store was asked for at least the right rows, and they were checked here.
    Checked,
    /// It was done here, for a reason.
    Local(String),
}

/// A cell to be tried.
struct Tried {
    section: usize,
    operation: usize,
    ty: &'static str,
    store: usize,
    stays: Stays,
    sql: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stores_do_is_proved_and_written_down() {
    let stage = Box::pin(Stage::set("full".to_owned())).await;
    let tried = cells();
    let slices = (0..WORKERS).map(|worker| prove_all(&stage, tried.iter().skip(worker).step_by(WORKERS)));
    let mut proved = Vec::new();
    let mut wrong = Vec::new();
    for (index, outcome) in futures::future::join_all(slices).await.into_iter().enumerate() {
        for (step, outcome) in outcome.into_iter().enumerate() {
            let tried = &tried[index + step * WORKERS];
            match outcome {
                Ok(cell) => proved.push((tried, cell)),
                Err(difference) => wrong.push(format!("{}\n    {difference}", tried.sql)),
            }
        }
    }
    stage.clear().await;
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    let of = |section, operation, ty, store| {
        let found = proved
            .iter()
            .find(|(tried, _)| (tried.section, tried.operation, tried.ty, tried.store) == (section, operation, ty, store));
        found.map_or(Cell::Absent, |(_, cell)| cell.clone())
    };
    let written = page::written(&of);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pushdown.md");
    if environment::text("BLESS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<&str> = written.lines().filter(|line| !known.lines().any(|known| known == *line)).collect();
    assert!(known == written, "docs/pushdown.md is not what was found (BLESS=1 writes it); new lines:\n{}", changed.join("\n"));
}

fn cells() -> Vec<Tried> {
    let mut tried = Vec::new();
    for (section, (_, operations)) in SECTIONS.iter().enumerate() {
        for (number, operation) in operations.iter().enumerate() {
            for sample in SAMPLES.iter().filter(|sample| operation.types.contains(&sample.ty)) {
                for store in 0..STORES.len() {
                    let Some(sql) = statement(operation, sample, store) else { continue };
                    tried.push(Tried { section, operation: number, ty: sample.ty, store, stays: operation.stays, sql });
                }
            }
        }
    }
    tried
}

fn statement(operation: &Operation, sample: &Sample, store: usize) -> Option<String> {
    let (table, key, column) = sample.columns[store]?;
    let [first, second] = sample.literals;
    let sql = operation.sql.replace("{t}", table).replace("{k}", key).replace("{c}", column);
    Some(sql.replace("{l}", first).replace("{m}", second))
}

type Proof = Result<Cell, String>;

async fn prove_all(stage: &Stage, cells: impl Iterator<Item = &Tried>) -> Vec<Proof> {
    let mut ours = stage.ours_with("SET tributary.pushdown = full");
    let mut held = stage.ours_with("SET tributary.pushdown = none");
    let mut copy = stage.copy_with("SET statement_timeout = '20s'");
    let mut proofs = Vec::new();
    for cell in cells {
        proofs.push(prove(&mut ours, &mut held, &mut copy, cell).await);
    }
    proofs
}

async fn prove(ours: &mut Asked, held: &mut Asked, copy: &mut Asked, cell: &Tried) -> Proof {
    let expected = copy.extended(&cell.sql, &[]).await;
    if let Answer::Error { state, message } = &expected {
        return Err(format!("PostgreSQL fails with {state}: {message}"));
    }
    let ordered = compare::is_ordered(&cell.sql);
    // Sums of floats depend on the order of rows; which of equal values is the least, too.
    let is_float = cell.ty == "double precision";
    let sums = cell.sql.contains("sum(") || cell.sql.contains("avg(");
    let quality = if is_float && sums { Quality::Approximate } else { Quality::Chosen };
    for (what, asked) in [("pushed", &mut *ours), ("not pushed", held)] {
        let found = asked.extended(&cell.sql, &[]).await;
        if let Some(difference) = estimate::difference(&found, &expected, ordered, &[quality; 4]) {
            return Err(format!("{what}: {difference}"));
        }
    }
    match ours.simple(&format!("EXPLAIN {}", cell.sql)).await {
        Answer::Error { state, message } => Err(format!("EXPLAIN fails with {state}: {message}")),
        Answer::Rows { rows, .. } => {
            let lines: Vec<String> =
                rows.into_iter().flatten().flatten().map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
            Ok(judged(&lines, cell.stays))
        }
    }
}

/// What the lines of EXPLAIN say about an operation.
fn judged(lines: &[String], stays: Stays) -> Cell {
    let is_note = |line: &str| ["Asked of", "Not asked of", "Snapshot:"].iter().any(|word| line.starts_with(word));
    let stayed = lines.iter().filter(|line| !is_note(line)).any(|line| {
        let node = line.trim_start();
        !node.starts_with("ScanExec") && !node.starts_with("FragmentExec") && stays.nodes().iter().any(|name| node.contains(name))
    });
    if !stayed {
        return Cell::Pushed;
    }
    let asked = lines.iter().any(|line| {
        let filters = line.split_once("\"filter\":").is_some_and(|(_, filter)| !filter.starts_with("{}"));
        line.starts_with("Asked of") && (filters || line.contains("WHERE") || line.contains("$match"))
    });
    if stays == Stays::Filter && asked {
        return Cell::Checked;
    }
    let reasons = lines.iter().filter_map(|line| line.strip_prefix("Not asked of ")).filter_map(|rest| rest.split_once(": "));
    Cell::Local(reasons.map(|(_, reason)| reason.to_owned()).next().unwrap_or_default())
}

#[test]
fn explain_is_understood() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let cases = [
        ("ScanExec: store=a\nAsked of a: SELECT 1 WHERE x", Stays::Filter, Cell::Pushed),
        ("FilterExec: x\n  ScanExec: store=a\nAsked of a: SELECT 1 WHERE x", Stays::Filter, Cell::Checked),
        ("FilterExec: x\nAsked of a: {\"find\":\"t\",\"filter\":{\"x\":\"?\"}}", Stays::Filter, Cell::Checked),
        ("FilterExec: x\nAsked of a: {\"find\":\"t\",\"filter\":{}}", Stays::Filter, Cell::Local(String::new())),
        (
            "FilterExec: x\n  ScanExec: store=a\nAsked of a: SELECT 1\nNot asked of a: filter (why)",
            Stays::Filter,
            Cell::Local("filter (why)".to_owned()),
        ),
        ("AggregateExec: x\n  ScanExec: store=a\nAsked of a: SELECT 1", Stays::Aggregate, Cell::Local(String::new())),
        ("FragmentExec: store=a, AggregateExec\nAsked of a: SELECT count(*)", Stays::Aggregate, Cell::Pushed),
    ];
    for (text, stays, expected) in cases {
        assert_eq!(judged(&lines(text), stays), expected, "{text}");
    }
}
