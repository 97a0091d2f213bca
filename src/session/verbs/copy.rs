//! `COPY … TO STDOUT`: a query whose rows leave in another wrapping.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::select;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ranges::Reading;
use crate::session::Session;
use crate::session::output::{Execution, Tag};
use crate::session::statement::copy::{CopyFormat, ForceQuote};

/// Runs the query; the wire wraps its rows.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    format: &CopyFormat,
) -> Result<Execution, Diagnosis> {
    let Execution::Rows(rows) = select::run(session, text, query, None, Reading::Whole).await? else {
        return Err(super::internal("a query gave no rows to copy"));
    };
    if let CopyFormat::Csv { force: ForceQuote::Columns(names), .. } = format {
        let known: BTreeSet<&str> = rows.columns().iter().map(|column| column.name.as_str()).collect();
        if let Some(missing) = names.iter().find(|name| !known.contains(name.as_str())) {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{missing}\" does not exist")));
        }
    }
    Ok(Execution::Copy { rows: rows.with_tag(Tag::Counted("COPY")), format: format.clone() })
}
