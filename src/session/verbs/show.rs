//! `SHOW`.

use super::{result_rules, text_column, text_rows};
use crate::error::Diagnosis;
use crate::session::Session;
use crate::session::output::{Execution, OutputColumn, Tag};
use crate::session::settings;

/// What is no setting.
const CACHES: &str = "caches";

/// The columns of `SHOW name`, named as the setting is; of `SHOW ALL`, three.
pub(super) fn columns(name: &str) -> Vec<OutputColumn> {
    if name == "all" {
        return ["name", "setting", "description"].into_iter().map(text_column).collect();
    }
    if name == CACHES {
        return result_rules::columns();
    }
    vec![text_column(settings::find(name).map_or(name, |spec| spec.name))]
}

/// `SHOW`
pub(super) async fn run(session: &mut Session, name: &str) -> Result<Execution, Diagnosis> {
    let rows: Vec<Vec<String>> = if name == "all" {
        session.settings.all().into_iter().map(|(name, value, meaning)| vec![name, value, meaning]).collect()
    } else if name == CACHES {
        result_rules::shown(session)
    } else if settings::find(name).is_some_and(|spec| spec.name == settings::TOKEN) {
        vec![vec![session.token().await?]]
    } else {
        vec![vec![session.settings.show(name)?.to_owned()]]
    };
    Ok(Execution::Rows(text_rows(session, Tag::Whole("SHOW"), columns(name), &rows)?))
}
