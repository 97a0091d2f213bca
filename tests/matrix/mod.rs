//! What each store does of a plan: operation by type, read from EXPLAIN and proved against one PostgreSQL.
//!
//! Every cell is asked three times: as it is, with pushdown held back, and of the copy (`differential::stage`). A cell is
//! written down only if all three answers are one, so that `pushed` means pushed and equal. The result is `docs/pushdown.md`:
//! the test fails when it differs, `BLESS=1 cargo test --test main matrix` writes it.
//!
//! ```text
//! samples      columns of every type in every store
//! operations   templates of statements, for every type that fits
//! collations   text under the policy `native`, where the answer may be the store's own
//! ranges       scans that are read as several ranges
//! page         all of it in Markdown
//! ```

mod collations;
mod operations;
mod page;
mod ranges;
mod samples;

use std::path::Path;

use tributary::config::environment;

use crate::differential::ask::{Answer, Asked};
use crate::differential::stage::Stage;
use crate::differential::typed::Quality;
use crate::differential::{compare, estimate};
use operations::{Operation, SECTIONS};
use samples::{SAMPLES, STORES, Sample};

/// Connections that work at the same time.
const WORKERS: usize = 4;

/// Why a table of the stage with such columns is only scanned, where no node above the scan is asked for.
const DOCUMENT: &str = "Scan (it is a field of a document, which is taken apart here)";

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
    /// Columns that are computed.
    Projection,
    /// Rows that are made of the elements of arrays.
    Unnest,
    /// The rows that a join looks up, whose keys the store is told or not.
    Keys,
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
            Self::Projection => &["ProjectionExec"],
            Self::Unnest => &["ProjectSetExec", "UnnestExec"],
            Self::Keys => &["ScanExec"],
        }
    }

    /// Why it stays here though no store refused it.
    fn reason(self) -> &'static str {
        match self {
            Self::Projection => "Projection (a part that only filters and computes columns of one table is read as a scan)",
            Self::Union => "Union (branches that are only filtered are read side by side, and sent on as they come)",
            Self::Keys => "Join (rows without a partner count, so that the store is told no keys)",
            Self::Unnest => "Set (functions that make rows are run here)",
            Self::Filter | Self::Join | Self::Aggregate | Self::Sort | Self::Limit | Self::Window => "",
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
    /// Something of one section, for a reason or none.
    Other(&'static str, String),
    /// One of the others, with what is to be said of it.
    Said(Box<Cell>, &'static str),
}

impl Cell {
    fn with(self, word: &'static str) -> Self {
        Self::Said(Box::new(self), word)
    }
}

/// A cell to be tried.
struct Tried {
    section: usize,
    operation: usize,
    ty: &'static str,
    store: usize,
    stays: Stays,
    zone: &'static str,
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
    let (mut tables, differences) = Box::pin(collations::proved()).await;
    wrong.extend(differences);
    let (table, differences) = Box::pin(ranges::proved()).await;
    wrong.extend(differences);
    tables.push(table);
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    let of = |section, operation, ty, store| {
        let found = proved
            .iter()
            .find(|(tried, _)| (tried.section, tried.operation, tried.ty, tried.store) == (section, operation, ty, store));
        found.map_or(Cell::Absent, |(_, cell)| cell.clone())
    };
    let written = page::written(&of, &tables);
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
                    let (stays, zone) = (operation.stays, operation.zone);
                    tried.push(Tried { section, operation: number, ty: sample.ty, store, stays, zone, sql });
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
    let expected = copy.extended_in(cell.zone, &cell.sql).await;
    if let Answer::Error { state, message } = &expected {
        return Err(format!("PostgreSQL fails with {state}: {message}"));
    }
    let ordered = compare::is_ordered(&cell.sql);
    // Sums of floats depend on the order of rows; which of equal values is the least, too.
    let is_float = cell.ty.starts_with("double precision");
    let sums = cell.sql.contains("sum(") || cell.sql.contains("avg(");
    let quality = if is_float && sums { Quality::Approximate } else { Quality::Chosen };
    for (what, asked) in [("pushed", &mut *ours), ("not pushed", held)] {
        let found = asked.extended_in(cell.zone, &cell.sql).await;
        if let Some(difference) = estimate::difference(&found, &expected, ordered, &[quality; 4]) {
            return Err(format!("{what}: {difference}"));
        }
    }
    if cell.stays == Stays::Keys {
        return looked_up(ours, &cell.sql, &expected).await;
    }
    let is_nested = cell.ty.ends_with("[]") || cell.ty.ends_with("in a document");
    Ok(match judged(&explained(ours, &cell.sql).await?, cell.stays) {
        Cell::Local(reason) if reason.is_empty() && is_nested => Cell::Local(DOCUMENT.to_owned()),
        found => found,
    })
}

/// The lines of EXPLAIN.
async fn explained(asked: &mut Asked, sql: &str) -> Result<Vec<String>, String> {
    match asked.simple(&format!("EXPLAIN {sql}")).await {
        Answer::Error { state, message } => Err(format!("EXPLAIN fails with {state}: {message}")),
        Answer::Rows { rows, .. } => {
            Ok(rows.into_iter().flatten().flatten().map(|line| String::from_utf8_lossy(&line).into_owned()).collect())
        }
    }
}

/// What became of the keys of a join, by the rows that the store has sent: those that have a partner, or more. In the answer
/// these have a key, which is the last column.
async fn looked_up(asked: &mut Asked, sql: &str, answer: &Answer) -> Proof {
    let lines = explained(asked, &format!("(ANALYZE, FORMAT json) {sql}")).await?;
    let plan: serde_json::Value = serde_json::from_str(&lines.join("\n")).map_err(|error| error.to_string())?;
    let wanted = match answer {
        Answer::Rows { rows, .. } => rows.iter().filter(|row| row.last().is_some_and(Option::is_some)).count(),
        Answer::Error { .. } => 0,
    };
    let scans = scans(&plan);
    let is_told = scans.iter().any(|scan| scan["Details"].as_str().is_some_and(|details| details.contains(", keys=")));
    let sent: u64 = scans.iter().filter_map(|scan| scan["Actual Rows"].as_u64()).sum();
    Ok(match is_told {
        false => Cell::Local(Stays::Keys.reason().to_owned()),
        true if usize::try_from(sent).is_ok_and(|sent| sent <= wanted) => Cell::Pushed,
        true => Cell::Checked,
    })
}

/// The nodes of a plan that ask a store.
fn scans(node: &serde_json::Value) -> Vec<&serde_json::Value> {
    let below: Vec<&serde_json::Value> = match node {
        serde_json::Value::Array(elements) => elements.iter().flat_map(scans).collect(),
        serde_json::Value::Object(fields) => {
            ["Plan", "Plans"].iter().filter_map(|name| fields.get(*name)).flat_map(scans).collect()
        }
        _ => Vec::new(),
    };
    let own = Some(node).filter(|node| node.get("Store").is_some());
    own.into_iter().chain(below).collect()
}

/// What the lines of EXPLAIN say about an operation.
fn judged(lines: &[String], stays: Stays) -> Cell {
    let is_note =
        |line: &str| ["Asked of", "Not asked of", "Re-checked here:", "Snapshot:"].iter().any(|word| line.starts_with(word));
    let stayed = lines.iter().filter(|line| !is_note(line)).any(|line| {
        let node = line.trim_start();
        let is_kind = !node.starts_with("ScanExec") && !node.starts_with("FragmentExec");
        is_kind && stays.nodes().iter().any(|name| node.contains(name)) && (stays != Stays::Projection || computes(node))
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
    Cell::Local(lines.iter().find_map(|line| refusal(line)).unwrap_or_else(|| stays.reason().to_owned()))
}

/// What a line of EXPLAIN tells of work that a store does not do, without the names that this test has chosen.
fn refusal(line: &str) -> Option<String> {
    if let Some(rest) = line.strip_prefix("Not asked of ") {
        return rest.split_once(": ").map(|(_, reason)| reason.to_owned());
    }
    let checked = line.strip_prefix("Re-checked here: ")?;
    // The reason is the last thing in parentheses, which may have some of its own.
    let mut depth = 0;
    let start = checked.rfind(|c| {
        depth += i32::from(c == ')') - i32::from(c == '(');
        depth == 0
    })?;
    Some(format!("Filter {}", checked.get(start..)?))
}

/// Whether a projection does more than to choose, order and name columns.
fn computes(node: &str) -> bool {
    let columns = node.split_once("expr=[").map(|(_, columns)| columns.trim_end_matches(']')).unwrap_or_default();
    let is_column = |expression: &str| {
        let column = expression.split_once(" as ").map_or(expression, |(column, _)| column);
        column.split_once('@').is_some_and(|(_, place)| place.parse::<usize>().is_ok())
    };
    !columns.split(", ").all(is_column)
}

#[test]
fn reasons_are_those_that_explain_tells() {
    let rows = [
        ("Not asked of a: Projection (why: it (a))", Some("Projection (why: it (a))")),
        ("Re-checked here: (x + 1) > f(2) (a constant (of numeric))", Some("Filter (a constant (of numeric))")),
        ("Asked of a: SELECT 1", None),
    ];
    for (line, expected) in rows {
        assert_eq!(refusal(line).as_deref(), expected);
    }
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
        ("ProjectionExec: expr=[b@1 as b, a@0 as c]\n  FragmentExec: store=a", Stays::Projection, Cell::Pushed),
        (
            "ProjectionExec: expr=[b@1 as b, pg_add(a@0, 1) as c]\n  ScanExec: store=a\nNot asked of a: Projection (why)",
            Stays::Projection,
            Cell::Local("Projection (why)".to_owned()),
        ),
        ("UnionExec\n  ScanExec: store=a", Stays::Union, Cell::Local(Stays::Union.reason().to_owned())),
    ];
    for (text, stays, expected) in cases {
        assert_eq!(judged(&lines(text), stays), expected, "{text}");
    }
}

#[test]
fn nodes_that_ask_a_store_are_found_wherever_they_are() {
    let plan = serde_json::json!([{ "Plan": {
        "Node Type": "HashJoinExec",
        "Plans": [
            { "Node Type": "ProjectionExec", "Plans": [{ "Node Type": "ScanExec", "Store": "a", "Actual Rows": 3 }] },
            { "Node Type": "FragmentExec", "Store": "b" },
        ],
    } }]);
    let stores: Vec<&str> = scans(&plan).iter().filter_map(|scan| scan["Store"].as_str()).collect();
    assert_eq!(stores, ["a", "b"]);
}
