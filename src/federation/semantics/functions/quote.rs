//! Quoting of literals for SQL text, as `quote_literal` and `format` show them. Names are quoted by `catalog::keyword`.

/// Quotes a literal; backslashes make it an escape string.
pub(super) fn quote_literal(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''").replace('\\', "\\\\"));
    if text.contains('\\') { format!("E{quoted}") } else { quoted }
}
