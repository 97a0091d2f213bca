//! Two instances of Tributary over the same stores: only who holds the log of a transaction decides over it.

use std::time::Duration;

use super::bank::settled;
use super::stage::{Hold, Lines, Stage, address, start};
use super::{Said, ask, eventually};
use crate::support::proxy::{self, OWNER, Place, Session};

const BOTH: &str = "BEGIN; UPDATE pg.accounts SET balance = balance - 5 WHERE _id = 1; \
    UPDATE maria.accounts SET balance = balance + 5 WHERE _id = 1";
const SEEN: &str = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM maria.accounts WHERE _id = 1)";
/// Longer than a round of the recovery.
const ROUND: Duration = Duration::from_secs(8);
/// The log is a table of PostgreSQL.
pub const TABLE: &str = "commit.log = \"pg\"\n";

/// Another catalog directory with the same stores.
pub fn beside(stage: &Stage) -> Place {
    let place = Place::new();
    for entry in std::fs::read_dir(stage.place.path().join("stores")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        place.write(&format!("stores/{name}"), &std::fs::read_to_string(&path).unwrap());
    }
    place
}

/// A transaction over both stores whose COMMIT ends with Tributary.
async fn commit_and_die(stage: &Stage) {
    let session = stage.session().await;
    session.answer(BOTH).await;
    assert_eq!(ask(&session, "COMMIT").await, Err(Said::Lost));
    eventually("the end of Tributary", async || stage.proxy.has_ended().then_some(())).await;
}

async fn session(proxy: &tributary::sandbox::Tributary) -> Session {
    proxy::open(&proxy::login(address(proxy), OWNER)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_the_log_leaves_postgres_and_mariadb_in_doubt() {
    let mut stage = Stage::start(&["pg", "maria"], "after_decision=kill@1").await;
    commit_and_die(&stage).await;
    assert_eq!(stage.prepared().await.len(), 2);
    let place = beside(&stage);
    let second = start(&place, "", "").await;
    let watcher = session(&second).await;
    let listed = "SELECT store, is_ours, state FROM tributary.in_doubt ORDER BY store";
    let expected = "maria|f|waiting for its log\npg|f|waiting for its log";
    eventually("the list of what is in doubt", async || (watcher.answer(listed).await == expected).then_some(())).await;
    tokio::time::sleep(ROUND).await;
    assert_eq!(stage.prepared().await.len(), 2, "a decision without the log");
    assert_eq!(watcher.answer(SEEN).await, "1000|1000");
    // Its rows stay locked, whoever asks.
    watcher.answer("SET statement_timeout = '1s'").await;
    assert_eq!(watcher.failure("UPDATE pg.accounts SET balance = 0 WHERE _id = 1").await.code, "57014");
    // The holder of the log knows that it was committed.
    stage.proxy.again(&[]).await.unwrap();
    let holder = stage.session().await;
    eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
    settled(&holder).await;
    assert_eq!(holder.answer(SEEN).await, "995|1005");
    eventually("an empty list", async || watcher.answer(listed).await.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_resolve_postgres_and_mariadb_without_the_log_does_and_writes_it_down() {
    let stage = Stage::start(&["pg", "maria"], "after_prepare=kill@1").await;
    commit_and_die(&stage).await;
    let place = beside(&stage);
    let second = start(&place, "", "").await;
    let watcher = session(&second).await;
    let listed = "SELECT branch FROM tributary.in_doubt ORDER BY store";
    let branches = eventually("the list of what is in doubt", async || {
        Some(watcher.rows(listed).await.unwrap()).filter(|rows| rows.len() == 2)
    })
    .await;
    let guest = proxy::open(&proxy::login(address(&second), "guest")).await.unwrap();
    for branch in &branches {
        let refused = guest.failure(&format!("CALL tributary.resolve('{branch}', 'rollback')")).await;
        assert_eq!(refused.code, "42501");
        assert_eq!(watcher.failure(&format!("CALL tributary.resolve('{branch}', 'perhaps')")).await.code, "22023");
        watcher.answer(&format!("CALL tributary.resolve('{branch}', 'rollback')")).await;
    }
    assert!(stage.prepared().await.is_empty());
    assert_eq!(watcher.answer(SEEN).await, "1000|1000");
    // Who has done it, and who was refused.
    let file = place.path().join(".state/audit.jsonl");
    for (role, outcome) in [(OWNER, "done"), ("guest", "failed")] {
        for branch in &branches {
            let words = ["\"resolve\"".to_owned(), format!("\"{role}\""), format!("\"outcome\":\"{outcome}\""), branch.clone()];
            let told = async || {
                let audit = std::fs::read_to_string(&file).unwrap();
                let lines = audit.lines().filter(|line| words.iter().all(|word| line.contains(word)));
                (lines.count() == 1).then_some(())
            };
            eventually(outcome, told).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_postgres_is_taken_over_with_what_it_has_decided_for_mariadb() {
    let lines = Lines { server: TABLE, ..Lines::default() };
    let stage = Stage::start_with(&["pg", "maria"], lines, "after_decision=kill@1").await;
    let place = beside(&stage);
    let second = start(&place, TABLE, "").await;
    commit_and_die(&stage).await;
    let watcher = session(&second).await;
    eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
    settled(&watcher).await;
    assert_eq!(watcher.answer(SEEN).await, "995|1005");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_resolves_in_postgres_and_mariadb_what_a_living_instance_decides() {
    let lines = Lines { server: TABLE, ..Lines::default() };
    let hold = Hold::new();
    let stage = Stage::start_with(&["pg", "maria"], lines, &hold.at("after_prepare")).await;
    let place = beside(&stage);
    let second = start(&place, TABLE, "").await;
    let (writer, watcher) = (stage.session().await, session(&second).await);
    writer.answer(BOTH).await;
    let (answered, ()) = tokio::join!(ask(&writer, "COMMIT"), async {
        let branches = eventually("the list of what is in doubt", async || {
            let rows = watcher.rows("SELECT branch FROM tributary.in_doubt WHERE NOT is_ours").await.unwrap();
            (rows.len() == 2).then_some(rows)
        })
        .await;
        for branch in branches {
            let refused = watcher.failure(&format!("CALL tributary.resolve('{branch}', 'rollback')")).await;
            assert_eq!(refused.code, "55006", "{refused:?}");
        }
        hold.let_go();
    });
    assert_eq!(answered, Ok(Vec::new()));
    assert_eq!(watcher.answer(SEEN).await, "995|1005");
}
