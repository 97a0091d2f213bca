//! Views over tables that are read in their store only, for a while or for good.

use super::*;

const REASON: &str = "it has no primary key";

impl Stage {
    /// The next look of the feed finds that the table of orders cannot be followed, or again that it can.
    fn judges(&self, reason: Option<&str>) {
        self.shop.store.judge(&id_of("orders"), reason);
        let tables: Vec<Arc<Table>> = ALL.iter().map(|table| described(table)).collect();
        self.feeds.described(self.shop.name(), &tables);
    }

    fn is_only_refreshed(&self, view: &str) -> bool {
        matches!(self.views.upkeep(&name(view)), Some(Upkeep::Refresh { reason }) if reason.contains(REASON))
    }
}

#[tokio::test]
async fn a_view_over_a_table_that_is_not_followed_is_kept_by_refresh_until_it_is() {
    let stage = Stage::over(&[("sales", JOINED)], settings()).await;
    stage.judges(Some(REASON));
    stage.cache(&TABLES);
    stage.views.replace(vec![entry("sales", true)]);
    stage.holds(|| stage.is_only_refreshed("sales")).await;
    // It reads the stores, and those of these tests cannot be read.
    stage.views.refresh(&name("sales"), false).await.unwrap_err();
    // It is asked to be cached all the same: it may be followed later.
    assert_eq!(stage.views.inputs()[stage.shop.name()], BTreeSet::from([id_of("orders")]));
    stage.judges(None);
    stage.shop.idle(1).await;
    stage.stands("sales", ViewState::Kept).await;
    assert_eq!(stage.views.upkeep(&name("sales")), Some(Upkeep::Incremental));
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(2, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
}

#[tokio::test]
async fn rows_of_a_table_that_is_not_followed_any_more_are_read_by_nobody() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(1, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
    stage.judges(Some(REASON));
    stage.holds(|| stage.is_only_refreshed("sales")).await;
    stage.holds(|| stage.shown("sales").reason.is_some_and(|reason| reason.contains("REFRESH fills it"))).await;
    assert_eq!((stage.rows("sales"), stage.shown("sales").state), (None, ViewState::Waiting));
    let decision = stage.decide("sales", &wants(Consistency::Eventual, OnStale::Store)).await;
    assert_eq!(queried(decision), "its rows are not there now");
    stage.shop.store.fills_of(&id_of("orders"), &[("a", 2)], 1);
    stage.shop.store.ends_at(Some(1));
    stage.judges(None);
    stage.shop.idle(2).await;
    stage.has("sales", &["a|2|10"]).await;
    assert_eq!(stage.views.upkeep(&name("sales")), Some(Upkeep::Incremental));
}
