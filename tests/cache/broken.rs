//! Rules that are left out on purpose: each of them is missed by what is checked of histories. What finds nothing then proves nothing.

use super::histories::found_without;

/// Histories that are tried before a rule counts as one that nobody misses.
const TRIES: usize = 4;

/// What a checker says of what a session has seen before, of what was committed before, and of parts of transactions.
const OF_SESSION: &str = "where the session";
const OF_STRONG: &str = "by Strong";
const OF_BOUNDED: &str = "by Bounded";
const OF_PARTS: [&str; 2] = ["in one table and", "is there at"];

/// Without a rule something is found that is said in one of these words.
async fn is_missed(rule: &str, words: &[&str]) {
    let mut found = Vec::new();
    for _ in 0..TRIES {
        found = Box::pin(found_without(rule)).await;
        if found.iter().any(|complaint| words.iter().any(|word| complaint.contains(word))) {
            return;
        }
    }
    panic!("nobody misses the rule \"{rule}\": {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_told_apart_is_found_over_postgres() {
    is_missed("session", &[OF_SESSION]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_asked_is_found_over_postgres() {
    is_missed("strong", &[OF_STRONG]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_does_not_hold_is_found_over_postgres() {
    is_missed("bounded", &[OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_published_in_part_is_found_over_postgres() {
    is_missed("whole", &OF_PARTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_claimed_before_it_is_reached_is_found_over_postgres() {
    is_missed("applied", &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_outlives_a_change_is_found_over_postgres() {
    is_missed("unchanged", &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_view_that_do_not_follow_are_found_over_postgres() {
    is_missed("follows", &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}
