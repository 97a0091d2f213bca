//! How much memory a part of a statement takes once more when it is copied. Where parts are copied as often as a client says, their
//! number alone says nothing: a literal of a megabyte is one expression.

use std::fmt::{self, Display, Write};

/// Most bytes that the copies a pass makes of parts of a statement take together, about.
pub(super) const COPIED_MAX: usize = 64 << 20;

/// What the tree takes for each piece of its text, about.
const PIECE: usize = 128;

/// The size of a part in bytes, about.
pub(super) fn of(part: &impl Display) -> usize {
    let mut size = Size(0);
    let _: fmt::Result = write!(size, "{part}");
    size.0
}

struct Size(usize);

impl Write for Size {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(PIECE).saturating_add(piece.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    #[test]
    fn texts_and_nodes_are_measured() {
        let size = |sql: &str| of(&Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_expr().unwrap());
        let long = "x".repeat(100_000);
        assert!(size("a") >= PIECE && size("a") < 10 * PIECE);
        assert!(size(&format!("'{long}'")) > 100_000);
        assert!(size(&format!("\"{long}\"")) > 100_000);
        assert!(size(&format!("ARRAY[{}]", vec!["1"; 1_000].join(", "))) > 1_000 * PIECE);
        assert!(size(&format!("(SELECT 1 FROM {})", vec!["t"; 1_000].join(", "))) > 1_000 * PIECE);
        assert!(size(&format!("(SELECT {} FROM t)", vec!["*"; 1_000].join(", "))) > 1_000 * PIECE);
    }
}
