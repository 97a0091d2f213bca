//! Rules that are left out on purpose: each of them is missed by what is checked of histories. What finds nothing then proves nothing.
//! What a store has told of and does not show yet takes a commit that waits: that rule is left out in `gap`.

use super::checker::Level;
use super::client::{Focus, Source};
use super::histories::found_without;

/// Histories that are tried before a rule counts as one that nobody misses.
const TRIES: usize = 12;

/// The bound of reads with one, in microseconds: shorter than something is frozen, and longer than a feed is behind.
const BOUND: u64 = 100_000;
/// What a checker says of what a session has seen before, of what was committed before, and of parts of transactions.
const OF_SESSION: &str = "where the session";
const OF_STRONG: &str = "by Strong";
const OF_BOUNDED: &str = "by Bounded";
const OF_PARTS: [&str; 2] = ["in one table and", "is there at"];

/// Reads of a level, and of what is answered from something.
fn reads(level: Level) -> Focus {
    Focus { level: Some(level), source: None }
}

fn reads_of(source: Source) -> Focus {
    Focus { level: Some(Level::Session), source: Some(source) }
}

/// Without a rule something is found that is said in one of these words.
async fn is_missed(rule: &str, focus: Focus, words: &[&str]) {
    let mut found = Vec::new();
    for _ in 0..TRIES {
        found = Box::pin(found_without(rule, focus)).await;
        if found.iter().any(|complaint| words.iter().any(|word| complaint.contains(word))) {
            return;
        }
    }
    panic!("nobody misses the rule \"{rule}\": {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_told_apart_is_found_over_postgres() {
    is_missed("session", reads(Level::Session), &[OF_SESSION]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_asked_is_found_over_postgres() {
    is_missed("strong", reads(Level::Strong), &[OF_STRONG]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_does_not_hold_is_found_over_postgres() {
    is_missed("bounded", reads(Level::Bounded(BOUND)), &[OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_published_in_part_is_found_over_postgres() {
    is_missed("whole", reads(Level::Eventual), &OF_PARTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_claimed_before_it_is_reached_is_found_over_postgres() {
    is_missed("applied", reads(Level::Strong), &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_outlives_a_change_is_found_over_postgres() {
    is_missed("unchanged", reads_of(Source::Result), &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_view_that_do_not_follow_are_found_over_postgres() {
    is_missed("follows", reads_of(Source::View), &[OF_SESSION, OF_STRONG, OF_BOUNDED]).await;
}
