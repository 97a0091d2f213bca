//! Samples the documents of a JSON column: half from the start of the table and half from its end, because old and new
//! documents differ more than neighbours do.

use super::super::super::document::json_text::Repeated;
use super::super::super::relational::Dialect;
use super::super::super::relational::documents::Sampler;
use super::super::super::value::Value;
use super::super::scan::{Database, Failure};
use super::super::types::read::Cell;

/// Looks at up to `size` documents of a column.
pub(super) fn sample(database: &Database<'_>, table: &str, column: &str, size: usize) -> Result<Sampler, Failure> {
    let mut sampler = Sampler::new(Repeated::First);
    let half = i64::try_from(size.div_ceil(2)).unwrap_or(i64::MAX);
    let (table, column) = (Dialect::Sqlite.quote(table), Dialect::Sqlite.quote(column));
    let item = super::super::layout::json_item(&format!("t.{column}"));
    // Tables without rowids have no cheap other end; they are sampled from the start only.
    let newest = format!("SELECT {item} FROM main.{table} AS t WHERE t.{column} IS NOT NULL ORDER BY t.rowid DESC LIMIT ?1");
    let oldest = format!("SELECT {item} FROM main.{table} AS t WHERE t.{column} IS NOT NULL LIMIT ?1");
    for sql in [oldest, newest] {
        let mut statement = match database.prepare(&sql) {
            Ok(statement) => statement,
            Err(failure) if failure.message.contains("rowid") => continue,
            Err(failure) => return Err(failure),
        };
        statement.bind(&[Value::Int(half)])?;
        while size > 0 && statement.step()? {
            sampler.observe(match statement.cell(0)? {
                Cell::Text(bytes) => Some(bytes),
                Cell::Null | Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => None,
            });
        }
    }
    Ok(sampler)
}
