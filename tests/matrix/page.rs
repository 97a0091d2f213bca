//! The matrix as a page of Markdown.

use std::fmt::Write as _;

use super::Cell;
use super::operations::SECTIONS;
use super::samples::{SAMPLES, STORES};

const HEAD: &str = "# What stores do

Made by `tests/matrix`, which asks every cell three times (as it is, with `tributary.pushdown = none`, and of one PostgreSQL with a
copy of all data) over NULL and missing values, text in the store's own collation, trailing spaces, NaN, −0, infinities, wide
numbers, extreme dates, arrays, nested documents and values of mixed types. A cell is here only because the three answers were one.
Sections that prove theirs in another way say so.

**pushed** the store does it · **re-checked** the store sends at least the right rows, and they are checked again here ·
**local** it is done here; the number names the reason at the end of the page, where the plan gives one · — the store has no
such type.
";

/// A section that has columns of its own.
pub struct Table {
    pub title: &'static str,
    pub about: &'static str,
    /// What stands above the first columns, and above those of the stores.
    pub heads: Vec<&'static str>,
    pub stores: Vec<&'static str>,
    /// The first columns of each row, and its cells.
    pub rows: Vec<(Vec<&'static str>, Vec<Cell>)>,
}

/// The page; `of` gives the cell of a section, operation, type and store.
pub fn written(of: &dyn Fn(usize, usize, &'static str, usize) -> Cell, tables: &[Table]) -> String {
    let mut page = HEAD.to_owned();
    let mut reasons: Vec<String> = Vec::new();
    for (section, (title, operations)) in SECTIONS.iter().enumerate() {
        let stores: Vec<&str> = STORES.iter().map(|(_, kind)| *kind).collect();
        write!(page, "\n## {title}\n\n| Operation | Type | {} |\n|---|---|{}\n", stores.join(" | "), "---|".repeat(stores.len()))
            .unwrap();
        for (number, operation) in operations.iter().enumerate() {
            for sample in SAMPLES.iter().filter(|sample| operation.types.contains(&sample.ty)) {
                let cells: Vec<String> =
                    (0..stores.len()).map(|store| shown(&of(section, number, sample.ty, store), &mut reasons)).collect();
                let name = operation.name.replace('|', "\\|");
                writeln!(page, "| {name} | {} | {} |", sample.ty, cells.join(" | ")).unwrap();
            }
        }
    }
    let mut about = "";
    for table in tables {
        write!(page, "\n## {}\n\n", table.title).unwrap();
        // Said once for all sections that follow one another.
        if about != table.about {
            about = table.about;
            write!(page, "{about}\n\n").unwrap();
        }
        let heads: Vec<&str> = table.heads.iter().chain(&table.stores).copied().collect();
        writeln!(page, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len())).unwrap();
        for (names, cells) in &table.rows {
            let names = names.iter().map(|name| name.replace('|', "\\|"));
            let shown: Vec<String> = names.chain(cells.iter().map(|cell| shown(cell, &mut reasons))).collect();
            writeln!(page, "| {} |", shown.join(" | ")).unwrap();
        }
    }
    page.push_str("\n## Reasons\n\n");
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(page, "{}. {reason}", number + 1).unwrap();
    }
    page
}

fn shown(cell: &Cell, reasons: &mut Vec<String>) -> String {
    match cell {
        Cell::Absent => "—".to_owned(),
        Cell::Pushed => "pushed".to_owned(),
        Cell::Checked => "re-checked".to_owned(),
        Cell::Local(reason) => numbered("local", reason, reasons),
        Cell::Other(word, reason) => numbered(word, reason, reasons),
        Cell::Said(cell, word) => format!("{}, {word}", shown(cell, reasons)),
    }
}

/// A word, with the number of its reason where it has one.
fn numbered(word: &str, reason: &str, reasons: &mut Vec<String>) -> String {
    if reason.is_empty() {
        return word.to_owned();
    }
    let reason = unnumbered(reason);
    let known = reasons.iter().position(|known| *known == reason);
    let number = known.unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    });
    format!("{word} ({})", number + 1)
}

/// The planner numbers what it computes once; the number is another one in every run.
fn unnumbered(reason: &str) -> String {
    const NAME: &str = "__common_expr_";
    let mut parts = reason.split(NAME);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "common" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
