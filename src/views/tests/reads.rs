//! What reads of views are given under each guarantee.

use super::*;

#[tokio::test]
async fn a_session_reads_what_it_has_written_or_the_query_is_run() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(4, "orders", "a", 4).await;
    stage.has("sales", &["a|4|10"]).await;
    let asks = wants(Consistency::Session, OnStale::Store);
    assert_eq!(texts(&read(stage.decide("sales", &asks).await)), ["a|4|10"]);
    asks.session.raise(stage.shop.name(), position_of(stage.shop.name(), 5));
    assert!(queried(stage.decide("sales", &asks).await).contains("not got everything"));
    let error = refused(stage.decide("sales", &Wants { on_stale: OnStale::Error, ..asks.clone() }).await);
    assert_eq!(error.sqlstate, sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let waiting = {
        let (views, asks) = (Arc::clone(&stage.views), Wants { on_stale: OnStale::Wait, ..asks.clone() });
        OwnedTask::spawn(async move { views.decide(&name("sales"), &asks).await })
    };
    stage.shop.puts(5, "orders", "a", 5).await;
    let reading = read(waiting.join().await.unwrap());
    assert_eq!((texts(&reading), at(&reading, stage.shop.name())), (vec!["a|5|10".to_owned()], 5));
    let shown = stage.shown("sales");
    assert!(shown.served >= 2 && shown.fell_through >= 1, "{shown:?}");
}

#[tokio::test]
async fn each_guarantee_is_kept_for_all_stores() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(1, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
    // A store that has gone on, and one that has not.
    let strong = wants(Consistency::Strong, OnStale::Store);
    stage.shop.store.ends_at(Some(1));
    stage.crm.store.ends_at(Some(2));
    assert!(matches!(stage.decide("sales", &strong).await, ViewDecision::Query { .. }));
    let waiting = {
        let (views, asks) = (Arc::clone(&stage.views), wants(Consistency::Strong, OnStale::Wait));
        OwnedTask::spawn(async move { views.decide(&name("sales"), &asks).await })
    };
    stage.crm.puts(2, "orders", "a", 20).await;
    let reading = read(waiting.join().await.unwrap());
    assert_eq!((texts(&reading), at(&reading, stage.crm.name())), (vec!["a|1|20".to_owned()], 2));
    assert!(reading.age().is_some(), "both stores were asked");
    let store = wants(Consistency::Store, OnStale::Error);
    assert!(queried(stage.decide("sales", &store).await).contains("tributary.consistency"));
    let other = wants(Consistency::Eventual, OnStale::Error);
    other.session.raise(stage.shop.name(), position_of(stage.shop.name(), 99));
    assert_eq!(texts(&read(stage.decide("sales", &other).await)), ["a|1|20"]);
    // Older than asked for, and no store says where it is.
    stage.shop.store.ends_at(None);
    let bounded = Wants { max_staleness: Some(Duration::from_nanos(1)), ..wants(Consistency::Bounded, OnStale::Error) };
    assert_eq!(refused(stage.decide("sales", &bounded).await).sqlstate, sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let bounded = Wants { on_stale: OnStale::Store, ..bounded };
    assert!(matches!(stage.decide("sales", &bounded).await, ViewDecision::Query { .. }));
}
