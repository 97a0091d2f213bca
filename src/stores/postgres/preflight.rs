//! Settings of the server that weaken what a commit of several stores promises.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::commit::Caution;
use super::super::error::StoreError;
use super::branch::Inner;
use super::error;

const SETTINGS: &str = "SELECT pg_catalog.current_setting('max_prepared_transactions', true), pg_catalog.current_setting('fsync', true), \
     pg_catalog.current_setting('full_page_writes', true)";

/// What is to be told of the server's settings.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn cautions(inner: &Inner) -> Result<Vec<Caution>, StoreError> {
    let (_lease, rows) = Box::pin(inner.pools.control.acquire_with(SETTINGS)).await?;
    let Some(row) = rows.iter().flatten().next() else { return Ok(Vec::new()) };
    let settings = read(row).map_err(|problem| error::running(&inner.name, &problem))?;
    Ok(judge(&settings))
}

/// In the order of [`SETTINGS`]; `None` where the server does not know one.
fn read(row: &PgRow) -> Result<[Option<String>; 3], sqlx::Error> {
    Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?])
}

fn judge([prepared, fsync, pages]: &[Option<String>; 3]) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if prepared.as_deref().is_none_or(|most| most == "0") {
        cautions.push(Caution {
            key: "max_prepared_transactions",
            told: "the server prepares no transactions, so only one such store can take part in a commit of several".to_owned(),
            mend: "Set max_prepared_transactions to as many as transactions may write at a time (max_connections), and restart the server."
                .to_owned(),
        });
    }
    for (key, setting) in [("fsync", fsync), ("full_page_writes", pages)] {
        if setting.as_deref() == Some("off") {
            cautions.push(Caution {
                key,
                told: "what the server has said to be prepared or committed may be lost when its machine fails".to_owned(),
                mend: format!("Set {key} to on, and reload the server's configuration."),
            });
        }
    }
    cautions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_commits_are_told() {
        let keys = |prepared: Option<&str>, fsync: &str, pages: &str| {
            let settings = [prepared.map(str::to_owned), Some(fsync.to_owned()), Some(pages.to_owned())];
            judge(&settings).iter().map(|caution| caution.key).collect::<Vec<_>>()
        };
        assert!(keys(Some("64"), "on", "on").is_empty());
        assert_eq!(keys(Some("0"), "on", "on"), ["max_prepared_transactions"]);
        assert_eq!(keys(None, "off", "off"), ["max_prepared_transactions", "fsync", "full_page_writes"]);
    }
}
