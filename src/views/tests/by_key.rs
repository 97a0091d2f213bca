//! Views whose query is run for the keys of what has changed.

use super::*;

const PLACED: &str = "SELECT total, name, row_number() OVER (PARTITION BY total ORDER BY name) AS place FROM shop.orders";

/// How often a view was computed by key, and how often in any way since it was built.
fn counts(stage: &Stage, view: &str) -> (u64, u64) {
    (stage.tally(view, |tally| tally.keyed.get()), stage.tally(view, |tally| tally.steps.get()))
}

#[tokio::test]
async fn a_row_that_moves_is_placed_anew_with_the_rows_of_both_keys() {
    let stage = Stage::kept(&[("placed", PLACED)]).await;
    let reason = "a window function needs all rows".to_owned();
    assert_eq!(stage.views.upkeep(&name("placed")), Some(Upkeep::Key { column: "total".to_owned(), whole: Vec::new(), reason }));
    stage.shop.does(1, vec![("orders", Did::Put("a", 1)), ("orders", Did::Put("b", 1)), ("orders", Did::Put("c", 2))]).await;
    stage.has("placed", &["1|a|1", "1|b|2", "2|c|1"]).await;
    stage.shop.puts(2, "orders", "a", 2).await;
    stage.has("placed", &["1|b|1", "2|a|1", "2|c|2"]).await;
    stage.shop.does(3, vec![("orders", Did::Gone("a"))]).await;
    stage.has("placed", &["1|b|1", "2|c|1"]).await;
    let (keyed, steps) = counts(&stage, "placed");
    assert!(keyed == steps && keyed >= 3, "{keyed} of {steps} by key");
    assert_eq!(stage.tally("placed", |tally| tally.built.get()), 1, "it was computed anew");
    let reading = stage.views.reading(&name("placed")).unwrap();
    assert_eq!(at(&reading, stage.shop.name()), 3);
    let refreshed = stage.views.refresh(&name("placed"), true).await.unwrap();
    assert_eq!(refreshed, Refreshed { rows: Some(2), differed: Some(0), waits: None });
    // What it was filled with anew is gone on with.
    assert_eq!(stage.views.refresh(&name("placed"), false).await.unwrap().rows, Some(2));
    stage.shop.puts(4, "orders", "a", 1).await;
    stage.has("placed", &["1|a|1", "1|b|2", "2|c|1"]).await;
    assert_eq!(counts(&stage, "placed").0, keyed + 1);
}

#[tokio::test]
async fn a_change_of_a_table_without_the_key_takes_the_whole_query() {
    const OF_BOTH: &str = "SELECT o.total, o.name, c.total AS other, row_number() OVER (PARTITION BY o.total ORDER BY o.name) AS place \
                           FROM shop.orders o JOIN crm.orders c ON c.name = o.name";
    let stage = Stage::kept(&[("placed", OF_BOTH)]).await;
    assert!(matches!(stage.views.upkeep(&name("placed")), Some(Upkeep::Key { column, .. }) if column == "total"));
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(1, "orders", "a", 1).await;
    stage.has("placed", &["1|a|10|1"]).await;
    let (keyed, steps) = counts(&stage, "placed");
    stage.crm.puts(2, "orders", "a", 20).await;
    stage.has("placed", &["1|a|20|1"]).await;
    assert_eq!(counts(&stage, "placed"), (keyed, steps + 1));
    stage.shop.puts(2, "orders", "a", 3).await;
    stage.has("placed", &["3|a|20|1"]).await;
    assert_eq!(counts(&stage, "placed"), (keyed + 1, steps + 2));
}

#[tokio::test]
async fn a_step_with_a_table_that_has_the_key_and_one_that_has_not_takes_the_whole_query() {
    const OF_BOTH: &str = "SELECT o.total, o.name, i.total AS other, row_number() OVER (PARTITION BY o.total ORDER BY o.name) AS place \
                           FROM shop.orders o JOIN shop.items i ON i.name = o.name";
    let stage = Stage::kept(&[("placed", OF_BOTH)]).await;
    let told = stage.views.upkeep(&name("placed")).unwrap().to_string();
    assert!(told.starts_with("by key (total); changes of shop.items take the whole query: "), "{told}");
    stage.shop.does(1, vec![("orders", Did::Put("a", 1)), ("items", Did::Put("a", 10))]).await;
    stage.has("placed", &["1|a|10|1"]).await;
    let (keyed, steps) = counts(&stage, "placed");
    stage.shop.does(2, vec![("orders", Did::Put("a", 2)), ("items", Did::Put("a", 20))]).await;
    stage.has("placed", &["2|a|20|1"]).await;
    assert_eq!(counts(&stage, "placed"), (keyed, steps + 1));
    stage.shop.puts(3, "orders", "a", 3).await;
    stage.has("placed", &["3|a|20|1"]).await;
    assert_eq!(counts(&stage, "placed"), (keyed + 1, steps + 2));
}

#[tokio::test]
async fn a_row_for_which_the_query_fails_has_it_run_until_the_row_is_gone() {
    const PARTS: &str = "SELECT total, name, 10 / total AS part, row_number() OVER (PARTITION BY total ORDER BY name) AS place \
                         FROM shop.orders";
    let stage = Stage::kept(&[("parts", PARTS)]).await;
    assert!(matches!(stage.views.upkeep(&name("parts")), Some(Upkeep::Key { .. })));
    stage.shop.puts(1, "orders", "a", 5).await;
    stage.has("parts", &["5|a|2|1"]).await;
    stage.shop.puts(2, "orders", "b", 0).await;
    stage.stands("parts", ViewState::Waiting).await;
    assert!(stage.shown("parts").reason.is_some_and(|reason| reason.contains("22012")));
    assert_eq!(stage.tally("parts", metrics::Tally::keyed_failures), 1, "it failed for the key first");
    stage.shop.puts(3, "orders", "b", 2).await;
    stage.has("parts", &["2|b|5|1", "5|a|2|1"]).await;
}
