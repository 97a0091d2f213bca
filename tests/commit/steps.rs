//! One commit over several stores that is held at a step, and what others see and do meanwhile.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor};
use tokio_postgres::{AsyncMessage, Client, NoTls};
use tributary::task::OwnedTask;

use super::bank::settled;
use super::stage::{Hold, Stage, variables};
use super::{Said, ask, eventually};
use crate::support::proxy::{self, OWNER, Session};

/// Statements of a transaction over two stores that prepare.
const BOTH: [&str; 3] = [
    "BEGIN",
    "UPDATE pg.accounts SET balance = balance - 5 WHERE _id = 1",
    "UPDATE maria.accounts SET balance = balance + 5 WHERE _id = 1",
];
const SEEN: &str = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM maria.accounts WHERE _id = 1)";
const UNDER_WAY: &str = "SELECT state FROM tributary.transactions WHERE state NOT IN ('committed', 'rolled back')";

async fn stage(failpoints: &str) -> Stage {
    Stage::start(&["pg", "maria"], failpoints).await
}

/// Writes to both stores and sends COMMIT, which is answered in the background.
async fn committing(session: Session) -> OwnedTask<(Result<Vec<String>, Said>, Session)> {
    for sql in BOTH {
        session.answer(sql).await;
    }
    OwnedTask::spawn(async move {
        let answered = ask(&session, "COMMIT").await;
        (answered, session)
    })
}

/// Waits until the audit log of Tributary has a line of an event.
async fn audited(stage: &Stage, event: &str) -> String {
    let (file, wanted) = (stage.place.path().join(".state/audit.jsonl"), format!("\"event\":\"{event}\""));
    let line = async || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().find(|line| line.contains(&wanted)).map(str::to_owned)
    };
    eventually(event, line).await
}

/// What both stores hold once everything has ended.
async fn at_the_end(stage: &Stage, expected: &str) {
    let session = stage.session().await;
    eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
    settled(&session).await;
    assert_eq!(session.answer(SEEN).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_postgres_and_mariadb_goes_on_without_its_client() {
    let hold = Hold::new();
    let stage = stage(&hold.at("after_prepare")).await;
    let watcher = stage.session().await;
    let commit = committing(stage.session().await).await;
    hold.reached().await;
    assert_eq!(stage.prepared().await.len(), 2);
    assert_eq!(watcher.answer(UNDER_WAY).await.lines().count(), 1);
    // The session goes, and its connection with it; nobody says when that is heard of.
    drop(commit);
    tokio::time::sleep(Duration::from_millis(500)).await;
    hold.let_go();
    eventually("the end of the commit", async || watcher.rows(UNDER_WAY).await.unwrap().is_empty().then_some(())).await;
    at_the_end(&stage, "995|1005").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_timeout_and_no_cancel_cuts_a_commit_of_postgres_and_mariadb() {
    let hold = Hold::new();
    let stage = stage(&hold.at("after_prepare")).await;
    let session = stage.session().await;
    // For COMMIT alone: the others may take longer than that.
    for sql in BOTH.into_iter().chain(["SET LOCAL statement_timeout = '300ms'"]) {
        session.answer(sql).await;
    }
    let (answered, ()) = tokio::join!(ask(&session, "COMMIT"), async {
        hold.reached().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        hold.let_go();
    });
    assert_eq!(answered, Ok(Vec::new()));
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "two-phase: pg, maria");
    at_the_end(&stage, "995|1005").await;
    for sql in BOTH {
        session.answer(sql).await;
    }
    let (answered, ()) = tokio::join!(ask(&session, "COMMIT"), async {
        hold.reached().await;
        assert_eq!(stage.prepared().await.len(), 2);
        session.cancel().await;
        hold.let_go();
    });
    assert_eq!(answered, Ok(Vec::new()));
    at_the_end(&stage, "990|1010").await;
}

/// What is promised of reads across stores is no one moment: this is what may be seen.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_a_file_may_be_seen_before_and_after_one_commit() {
    let hold = Hold::new();
    let stage = Stage::start(&["pg", "east"], &hold.at("after_last_commit")).await;
    let (writer, reader) = (stage.session().await, stage.session().await);
    let seen = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM east.accounts WHERE _id = 1)";
    writer
        .answer("BEGIN; UPDATE pg.accounts SET balance = 1 WHERE _id = 1; UPDATE east.accounts SET balance = 1 WHERE _id = 1")
        .await;
    let (answered, ()) = tokio::join!(ask(&writer, "COMMIT"), async {
        // The file decides, and shows it at once; the server is told afterwards.
        hold.reached().await;
        assert_eq!(reader.answer(seen).await, "1000|1");
        hold.let_go();
    });
    assert_eq!(answered, Ok(Vec::new()));
    assert_eq!(writer.answer("SHOW tributary.last_commit").await, "last resource: pg; last: east");
    settled(&reader).await;
    assert_eq!(reader.answer(seen).await, "1|1");
}

/// A client that keeps what it is told beside its answers: codes and messages.
struct Told {
    client: Client,
    notices: Arc<Mutex<Vec<(String, String)>>>,
    _connection: OwnedTask<()>,
}

impl Told {
    async fn connect(stage: &Stage) -> Self {
        let (client, mut connection) = proxy::login(stage.address(), OWNER).connect(NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        let task = OwnedTask::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    kept.lock().unwrap().push((notice.code().code().to_owned(), notice.message().to_owned()));
                }
            }
        });
        Self { client, notices, _connection: task }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_is_cut_off_after_it_prepared_follows_postgres_when_it_is_back() {
    let hold = Hold::new();
    let mut stage = stage(&hold.at("after_decision")).await;
    let (watcher, told) = (stage.session().await, Told::connect(&stage).await);
    for sql in BOTH {
        told.client.simple_query(sql).await.unwrap();
    }
    let door = &mut stage.mariadb.as_mut().unwrap().1;
    let (answered, ()) = tokio::join!(told.client.simple_query("COMMIT"), async {
        hold.reached().await;
        door.cut().await;
        hold.let_go();
    });
    assert!(answered.is_ok(), "the decision is on disk: {answered:?}");
    let notices = told.notices.lock().unwrap().clone();
    assert!(notices.iter().any(|(code, message)| code == "01000" && message.contains("\"maria\"")), "{notices:?}");
    let last = told.client.query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(last.get::<_, i32>(0), 1, "the session goes on");
    assert_eq!(stage.prepared().await.len(), 1, "of MariaDB alone");
    let pending = "SELECT array_to_string(pending, ',') FROM tributary.transactions WHERE state = 'committing'";
    assert_eq!(watcher.answer(pending).await, "maria");
    // Another start finds it in its log.
    stage.proxy.again(&variables("")).await.unwrap();
    stage.mariadb.as_mut().unwrap().1.mend().await;
    at_the_end(&stage, "995|1005").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_in_which_somebody_rolls_back_what_mariadb_commits_is_told_of() {
    let hold = Hold::new();
    let stage = stage(&hold.at("after_decision")).await;
    let told = Told::connect(&stage).await;
    for sql in BOTH {
        told.client.simple_query(sql).await.unwrap();
    }
    let (answered, ()) = tokio::join!(told.client.simple_query("COMMIT"), async {
        hold.reached().await;
        let mut inside = stage.in_postgres().await;
        let name: String = sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts").fetch_one(&mut inside).await.unwrap();
        inside.execute(AssertSqlSafe(format!("ROLLBACK PREPARED '{name}'"))).await.unwrap();
        hold.let_go();
    });
    assert!(answered.is_ok(), "the decision is on disk: {answered:?}");
    let notices = told.notices.lock().unwrap().clone();
    let is_told = |(code, message): &(String, String)| code == "01000" && message.contains("\"pg\" does not have");
    assert!(notices.iter().any(is_told), "{notices:?}");
    assert!(notices.iter().all(|(_, message)| !message.contains("follows")), "{notices:?}");
    let line = audited(&stage, "heuristic").await;
    assert!(line.contains("\"store\":\"pg\"") && line.contains("\"gid\":\"tributary:"), "{line}");
    at_the_end(&stage, "1000|1005").await;
    let shown = stage.session().await.answer("SELECT state, error FROM tributary.transactions").await;
    assert!(shown.starts_with("committed|store \"pg\" does not have"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_never_answers_to_being_prepared_takes_postgres_back_with_it() {
    let hold = Hold::new();
    let mut stage = stage(&hold.at("before_prepare")).await;
    let watcher = stage.session().await;
    let commit = committing(stage.session().await).await;
    hold.reached().await;
    stage.mariadb.as_ref().unwrap().1.freeze();
    hold.let_go();
    let (answered, session) = commit.join().await.unwrap();
    let Err(Said::Code(code)) = answered else { panic!("{answered:?}") };
    assert_eq!(code, "08006");
    assert_eq!(session.answer("SELECT 'usable'").await, "usable");
    stage.mariadb.as_mut().unwrap().1.mend().await;
    eventually("the way back", async || watcher.rows(SEEN).await.ok()).await;
    at_the_end(&stage, "1000|1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_between_prepare_and_commit_of_postgres_and_mariadb_changes_nothing() {
    let hold = Hold::new();
    let stage = stage(&hold.at("after_prepare")).await;
    let commit = committing(stage.session().await).await;
    hold.reached().await;
    assert_eq!(stage.prepared().await.len(), 2);
    let process = stage.proxy.process_id().unwrap().to_string();
    assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
    let reload = audited(&stage, "reload").await;
    assert!(reload.contains("\"outcome\":\"done\""), "{reload}");
    hold.let_go();
    let (answered, _session) = commit.join().await.unwrap();
    assert_eq!(answered, Ok(Vec::new()));
    at_the_end(&stage, "995|1005").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transactions_that_wait_for_each_other_in_postgres_and_mariadb_are_ended_by_a_timeout() {
    let stage = stage("").await;
    let (left, right) = (stage.session().await, stage.session().await);
    for session in [&left, &right] {
        session.answer("SET statement_timeout = '2s'; BEGIN").await;
    }
    left.answer(BOTH[1]).await;
    right.answer(BOTH[2]).await;
    let (first, second) = tokio::join!(ask(&left, BOTH[2]), ask(&right, BOTH[1]));
    let failed: Vec<&Said> = [&first, &second].into_iter().filter_map(|asked| asked.as_ref().err()).collect();
    assert!(!failed.is_empty(), "nobody was ended");
    for said in failed {
        let Said::Code(code) = said else { panic!("a connection was lost") };
        assert!(["57014", "55P03", "40001"].contains(&code.as_str()), "{code}");
    }
    for session in [&left, &right] {
        // The one that failed is rolled back by it.
        session.answer("COMMIT").await;
    }
    let kept = [&first, &second].into_iter().filter(|asked| asked.is_ok()).count();
    let expected = if kept == 1 { "995|1005" } else { "1000|1000" };
    at_the_end(&stage, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_mongodb_has_given_up_keeps_nothing_in_postgres() {
    let stage = Stage::start(&["pg", "mongo"], "").await;
    let session = stage.session().await;
    let change = |store: &str| format!("UPDATE {store}.accounts SET balance = 1 WHERE _id = 1");
    session.answer("BEGIN").await;
    session.answer(&change("mongo")).await;
    session.answer(&change("pg")).await;
    // Longer than the server lets a transaction live, and looks for those that have.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(session.failure("COMMIT").await.code, "40001");
    let seen = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM mongo.accounts WHERE _id = 1)";
    assert_eq!(session.answer(seen).await, "1000|1000");
    assert!(stage.prepared().await.is_empty());
    for sql in ["BEGIN".to_owned(), change("mongo"), change("pg"), "COMMIT".to_owned()] {
        session.answer(&sql).await;
    }
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "last resource: pg; last: mongo");
    assert_eq!(session.answer(seen).await, "1|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_reads_takes_postgres_back_with_it() {
    let stage = Stage::start(&["pg", "east"], "").await;
    let (session, reader) = (stage.session().await, stage.session().await);
    let change = |store: &str| format!("UPDATE {store}.accounts SET balance = 1 WHERE _id = 1");
    let seen = "SELECT (SELECT balance FROM pg.accounts WHERE _id = 1), (SELECT balance FROM east.accounts WHERE _id = 1)";
    reader.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(reader.answer("SELECT count(*) FROM east.accounts").await, "12");
    session.answer("BEGIN").await;
    session.answer(&change("pg")).await;
    session.answer(&change("east")).await;
    assert_eq!(session.failure("COMMIT").await.code, "55P03");
    assert!(stage.prepared().await.is_empty());
    reader.answer("COMMIT").await;
    assert_eq!(session.answer(seen).await, "1000|1000");
    for sql in ["BEGIN".to_owned(), change("pg"), change("east"), "COMMIT".to_owned()] {
        session.answer(&sql).await;
    }
    assert_eq!(session.answer(seen).await, "1|1");
}
