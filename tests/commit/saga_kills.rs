//! Commits in steps of which somebody is killed: Tributary at every step, also while it goes back, and stores; and what becomes of steps
//! that nobody can undo.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use bytes::Bytes;
use futures::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bank::settled;
use super::holds::Holds;
use super::saga::{SAGA, WAL};
use super::stage::{Lines, Stage, fill_mongodb, variables};
use super::storm::{kill, revive};
use super::{Said, ask, eventually};
use crate::support::proxy::{self, Session};

/// A table of a file whose rows are refused at COMMIT.
const DOGS: &str = "CREATE TABLE owner (_id INTEGER PRIMARY KEY); CREATE TABLE dog (_id INTEGER PRIMARY KEY, \
    owner INTEGER REFERENCES owner DEFERRABLE INITIALLY DEFERRED)";

/// A stage, and the steps of its process.
struct Steps {
    stage: Stage,
    holds: Holds,
}

impl Steps {
    /// Starts the stores, of which the file `refusing` has a table that refuses its rows at COMMIT.
    async fn over(stores: &[&str], lines: Lines<'_>, refusing: &str) -> Self {
        let holds = Holds::new();
        let stage = Stage::start_with(stores, lines, &holds.failpoints()).await;
        proxy::sqlite(&stage.place.path().join(format!("{refusing}.db")), DOGS).await;
        stage.session().await.answer(&format!("CALL tributary.refresh('{refusing}')")).await;
        Self { stage, holds }
    }

    /// A session whose block has written so, and is to be committed in steps. Of a server that was killed there may be connections that
    /// nobody has found broken yet.
    async fn written(&self, statements: &[String]) -> Session {
        let write = async || {
            let session = self.stage.session().await;
            session.answer(SAGA).await;
            session.answer("BEGIN").await;
            for sql in statements {
                if let Err(failure) = session.rows(sql).await {
                    eprintln!("{sql}: {failure:?}");
                    return None;
                }
            }
            Some(session)
        };
        eventually("a block that has written", write).await
    }

    /// Sends COMMIT, which ends with Tributary when it is at the step for the `nth` time; and starts Tributary again.
    async fn commit_and_die(&mut self, session: &Session, (point, nth): (&str, usize)) {
        let (stage, holds) = (&self.stage, &self.holds);
        let say = |turn: usize| if turn == nth { holds.kill(point) } else { holds.hold(point) };
        say(1);
        let (answered, ()) = tokio::join!(ask(session, "COMMIT"), async {
            for turn in 2..=nth {
                eventually(point, async || holds.is_held(point).then_some(())).await;
                say(turn);
                holds.release(point);
            }
            eventually(point, async || stage.proxy.has_ended().then_some(())).await;
        });
        // Behind the last step it may have been answered before.
        assert!(answered == Err(Said::Lost) || ["before_done", "after_done"].contains(&point), "{point} {nth}: {answered:?}");
        self.again().await;
    }

    /// Starts Tributary again.
    async fn again(&mut self) {
        self.stage.proxy.kill().await.unwrap();
        self.holds.clear();
        self.stage.proxy.again(&variables(&self.holds.failpoints())).await.unwrap();
    }

    /// Sends COMMIT, kills a server while it is held at the step, lets it go on, and starts the server again.
    async fn commit_without(&mut self, session: &Session, (point, server): (&str, &str)) -> Result<Vec<String>, Said> {
        let (stage, holds) = (&mut self.stage, &self.holds);
        holds.hold(point);
        let (answered, ()) = tokio::join!(ask(session, "COMMIT"), async {
            eventually(point, async || holds.is_held(point).then_some(())).await;
            kill(stage, server).await;
            holds.release(point);
            revive(stage, server).await;
        });
        answered
    }

    /// What a query says when everything has ended, and nothing is in doubt.
    async fn seen(&self, sql: &str) -> String {
        let session = self.stage.session().await;
        settled(&session).await;
        let open = "SELECT count(*) FROM tributary.in_doubt";
        eventually("an empty list of what is in doubt", async || (session.answer(open).await == "0").then_some(())).await;
        eventually(sql, async || session.rows(sql).await.ok()).await.join("\n")
    }
}

/// The first balance of each store.
fn balances(stores: &[&str]) -> String {
    let each: Vec<String> = stores.iter().map(|store| format!("(SELECT balance FROM {store}.accounts WHERE _id = 1)")).collect();
    format!("SELECT {}", each.join(", "))
}

fn add(store: &str, amount: i64) -> String {
    format!("UPDATE {store}.accounts SET balance = balance + {amount} WHERE _id = 1")
}

/// What undoes it, and shows when it is done twice.
fn and_back(store: &str, amount: i64) -> [String; 2] {
    [add(store, amount), format!("CALL tributary.compensate('{}')", add(store, -amount))]
}

const THREE: [&str; 3] = ["east", "middle", "west"];

#[tokio::test(flavor = "multi_thread")]
async fn three_steps_are_all_kept_or_all_undone_once_wherever_tributary_is_killed() {
    let mut steps = Steps::over(&THREE, WAL, "west").await;
    let mut kept = 0;
    for (point, nth, is_kept) in [
        ("before_prepare", 1, false),
        ("saga_marked", 1, false),
        ("saga_step", 1, false),
        ("saga_step", 2, false),
        ("saga_step", 3, true),
        ("before_done", 1, true),
        ("after_done", 1, true),
    ] {
        let session = steps.written(&[and_back("east", -5), and_back("middle", 2), and_back("west", 3)].concat()).await;
        steps.commit_and_die(&session, (point, nth)).await;
        kept += i64::from(is_kept);
        let expected = format!("{}|{}|{}", 1_000 - 5 * kept, 1_000 + 2 * kept, 1_000 + 3 * kept);
        assert_eq!(steps.seen(&balances(&THREE)).await, expected, "{point} {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_before_a_refused_one_are_undone_once_wherever_tributary_is_killed_meanwhile() {
    let mut steps = Steps::over(&THREE, WAL, "west").await;
    for point in ["before_undo", "undo_marked", "before_undo_commit", "after_undo"] {
        for nth in [1, 2] {
            let refused = vec!["INSERT INTO west.dog VALUES (1, 1)".to_owned()];
            let written = [and_back("east", -5).to_vec(), and_back("middle", 2).to_vec(), refused].concat();
            let session = steps.written(&written).await;
            steps.commit_and_die(&session, (point, nth)).await;
            assert_eq!(steps.seen(&balances(&THREE)).await, "1000|1000|1000", "{point} {nth}");
            assert_eq!(steps.seen("SELECT count(*) FROM west.dog").await, "0", "{point} {nth}");
        }
    }
    // The log has nothing left that another start would do again.
    steps.again().await;
    assert_eq!(steps.seen(&balances(&THREE)).await, "1000|1000|1000");
}

const TWO: [&str; 2] = ["east", "mongo"];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_mongodb_keep_both_steps_or_none_wherever_tributary_or_mongodb_is_killed() {
    let mut steps = Steps::over(&TWO, Lines::default(), "east").await;
    let there = |first: &str, second: &str| [add(first, -5), add(second, 5)];
    // The file first: when MongoDB is gone, so is its transaction.
    for point in ["saga_marked", "saga_step"] {
        let session = steps.written(&there("east", "mongo")).await;
        let answered = steps.commit_without(&session, (point, "mongo")).await;
        assert!(answered.is_err(), "{point}: {answered:?}");
        assert_eq!(steps.seen(&balances(&TWO)).await, "1000|1000", "{point}");
        let session = steps.written(&there("east", "mongo")).await;
        steps.commit_and_die(&session, (point, 1)).await;
        assert_eq!(steps.seen(&balances(&TWO)).await, "1000|1000", "{point}");
    }
    // MongoDB first: what it has committed it keeps.
    let session = steps.written(&there("mongo", "east")).await;
    assert_eq!(steps.commit_without(&session, ("saga_step", "mongo")).await, Ok(Vec::new()));
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "saga: mongo, east");
    assert_eq!(steps.seen(&balances(&TWO)).await, "1005|995");
    // And has it undone when the file refuses its step, also if it is away then, or Tributary is.
    for point in ["before_undo", "undo_marked", "before_undo_commit"] {
        let refused = [add("mongo", 5), "INSERT INTO east.dog VALUES (1, 1)".to_owned()];
        let session = steps.written(&refused).await;
        let answered = steps.commit_without(&session, (point, "mongo")).await;
        assert_eq!(answered, Err(Said::Code("23503".to_owned())), "{point}");
        assert_eq!(steps.seen(&balances(&TWO)).await, "1005|995", "{point}");
        let session = steps.written(&refused).await;
        steps.commit_and_die(&session, (point, 1)).await;
        assert_eq!(steps.seen(&balances(&TWO)).await, "1005|995", "{point}");
    }
}

/// Two databases of one server as stores of their own.
async fn two_databases() -> Steps {
    let holds = Holds::new();
    let mut stage = Stage::start(&["mongo"], "").await;
    let (server, _) = stage.mongodb.as_ref().unwrap();
    let (own, other) = (server.database().to_owned(), server.fresh_database().await.unwrap());
    fill_mongodb(server, &other).await;
    let text = std::fs::read_to_string(stage.place.path().join("stores/mongo.toml")).unwrap();
    let text = text.replace(&format!("database = \"{own}\""), &format!("database = \"{other}\""));
    let text = text.replace(&format!("databases = [\"{own}\"]"), &format!("databases = [\"{other}\"]"));
    stage.place.write("stores/second.toml", &text);
    stage.proxy.again(&variables(&holds.failpoints())).await.unwrap();
    Steps { stage, holds }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_of_mongodb_keep_both_steps_or_none_wherever_tributary_or_mongodb_is_killed() {
    let both = ["mongo", "second"];
    let mut steps = Box::pin(two_databases()).await;
    let written = [and_back("mongo", -5), and_back("second", 5)].concat();
    let session = steps.written(&written).await;
    session.answer("COMMIT").await;
    assert_eq!(session.answer("SHOW tributary.last_commit").await, "saga: mongo, second");
    assert_eq!(steps.seen(&balances(&both)).await, "995|1005");
    for (point, nth, expected) in [("saga_marked", 1, "995|1005"), ("saga_step", 1, "995|1005"), ("saga_step", 2, "990|1010")] {
        let session = steps.written(&written).await;
        steps.commit_and_die(&session, (point, nth)).await;
        assert_eq!(steps.seen(&balances(&both)).await, expected, "{point} {nth}");
    }
    for point in ["saga_marked", "saga_step"] {
        let session = steps.written(&written).await;
        let answered = steps.commit_without(&session, (point, "mongo")).await;
        assert!(answered.is_err(), "{point}: {answered:?}");
        assert_eq!(steps.seen(&balances(&both)).await, "990|1010", "{point}");
    }
    // Nobody sees anything before COMMIT.
    let session = steps.written(&written).await;
    assert_eq!(steps.stage.session().await.answer(&balances(&both)).await, "990|1010");
    session.answer("ROLLBACK").await;
    assert_eq!(steps.seen(&balances(&both)).await, "990|1010");
}

/// A block over two files of which the second refuses its step, and what the first one has afterwards.
async fn refused(steps: &Steps, statements: &[&str]) -> (String, String) {
    let mut written: Vec<String> = statements.iter().map(|&sql| sql.to_owned()).collect();
    written.push("INSERT INTO west.dog VALUES (1, 1)".to_owned());
    let session = steps.written(&written).await;
    let code = session.rows("COMMIT").await.unwrap_err().code;
    (code, steps.seen("SELECT _id, account, amount FROM east.moves ORDER BY _id").await)
}

const MOVES: &str = "1|1|5\n2|1|6\n3|2|7";

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_every_kind_are_undone_as_rows_or_not_committed_at_all() {
    let steps = Steps::over(&["east", "west"], WAL, "west").await;
    steps.stage.session().await.answer("INSERT INTO east.moves VALUES (1, 1, 5), (2, 1, 6), (3, 2, 7)").await;
    for statements in [
        // One row is there already, and stays.
        &["INSERT INTO east.moves VALUES (1, 9, 9), (4, 1, 8) ON CONFLICT DO NOTHING"][..],
        &["INSERT INTO east.moves VALUES (2, 9, 9) ON CONFLICT (_id) DO NOTHING"],
        &["UPDATE east.moves SET _id = 10, amount = 0 WHERE _id = 1"],
        &["UPDATE east.moves SET _id = _id + 100"],
        &[
            "UPDATE east.moves SET amount = amount + 1",
            "UPDATE east.moves SET _id = 11 WHERE _id = 3",
            "DELETE FROM east.moves WHERE _id = 11",
        ],
        &["DELETE FROM east.moves", "INSERT INTO east.moves VALUES (1, 7, 7)"],
        &["MERGE INTO east.moves m USING (VALUES (1), (12)) AS v (id) ON m._id = v.id WHEN MATCHED THEN UPDATE SET amount = 0 \
            WHEN NOT MATCHED THEN INSERT (_id, account, amount) VALUES (v.id, 1, 1)"],
        &["SAVEPOINT s", "DELETE FROM east.moves", "ROLLBACK TO s", "UPDATE east.moves SET amount = 1 WHERE _id = 2"],
    ] {
        assert_eq!(refused(&steps, statements).await, ("23503".to_owned(), MOVES.to_owned()), "{statements:?}");
    }
    // Nobody has seen the rows.
    let told = refused(&steps, &["TRUNCATE east.moves"]).await;
    assert_eq!(told, ("0A000".to_owned(), MOVES.to_owned()));
    let (told, said) = (copied(&steps, None).await, copied(&steps, Some("DELETE FROM east.moves WHERE _id = 20")).await);
    assert_eq!(told, ("0A000".to_owned(), MOVES.to_owned()));
    assert_eq!(said, ("23503".to_owned(), MOVES.to_owned()));
}

/// The same as [`refused`] with a COPY, and what is said to undo it.
async fn copied(steps: &Steps, undo: Option<&str>) -> (String, String) {
    let session = steps.written(&[]).await;
    let mut sink = std::pin::pin!(session.copy_in::<str, Bytes>("COPY east.moves FROM STDIN").await.unwrap());
    sink.send(Bytes::from_static(b"20\t1\t1\n")).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1);
    if let Some(undo) = undo {
        session.answer(&format!("CALL tributary.compensate('{undo}')")).await;
    }
    session.answer("INSERT INTO west.dog VALUES (1, 1)").await;
    let code = session.rows("COMMIT").await.unwrap_err().code;
    (code, steps.seen("SELECT _id, account, amount FROM east.moves ORDER BY _id").await)
}

/// What `/metrics` says of steps and branches that nobody has ended.
async fn in_doubt(http: SocketAddr) -> String {
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().find_map(|line| line.strip_prefix("tributary_in_doubt ")).unwrap_or_default().to_owned()
}

/// Lets Tributary serve HTTP from its next start on.
fn with_http(steps: &Steps) -> SocketAddr {
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(steps.stage.place.path().join("tributary.toml")).unwrap();
    let changed = text.replace("http.listen = \"off\"", &format!("http.listen = \"{http}\""));
    assert_ne!(text, changed);
    steps.stage.place.write("tributary.toml", &changed);
    http
}

/// The lines of the audit log about an event of a transaction.
fn audited(steps: &Steps, event: &str, gid: &str) -> Vec<String> {
    let text = std::fs::read_to_string(steps.stage.place.path().join(".state/audit.jsonl")).unwrap();
    let words = [format!("\"event\":\"{event}\""), format!("\"gid\":\"{gid}\"")];
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_stuck_is_told_to_everybody_until_it_is_undone() {
    let mut steps = Steps::over(&["east", "west"], WAL, "west").await;
    let http = with_http(&steps);
    steps.again().await;
    assert_eq!(in_doubt(http).await, "0");
    // What undoes the step meets a row that is there.
    let session = steps.stage.session().await;
    session.answer("INSERT INTO east.moves VALUES (50, 1, 1)").await;
    let undo = "CALL tributary.compensate('INSERT INTO east.moves VALUES (50, 2, 2)')".to_owned();
    let session = steps.written(&[add("east", -5), undo, "INSERT INTO west.dog VALUES (1, 1)".to_owned()]).await;
    assert_eq!(session.rows("COMMIT").await.unwrap_err().code, "23503");
    let said = session.answer("SHOW tributary.last_commit").await;
    let gid = said.strip_prefix("saga, not undone: ").unwrap_or_else(|| panic!("{said}")).to_owned();
    eventually("the number of what is in doubt", async || (in_doubt(http).await == "1").then_some(())).await;
    let told = eventually("a line of the audit log", async || audited(&steps, "stuck", &gid).pop()).await;
    assert!(["\"store\":\"east\"", "\"step\":0", "\"role\":\"ada\""].iter().all(|word| told.contains(word)), "{told}");
    // Another start knows of it, and tells it again.
    steps.again().await;
    let session = steps.stage.session().await;
    let shown = "SELECT gid, state FROM tributary.in_doubt";
    let expected = format!("{gid}|compensation failed");
    eventually("the step that is stuck", async || (session.answer(shown).await == expected).then_some(())).await;
    eventually("the number of what is in doubt", async || (in_doubt(http).await == "1").then_some(())).await;
    eventually("another line", async || (audited(&steps, "stuck", &gid).len() == 2).then_some(())).await;
    // Somebody makes room for it, and has it tried again.
    session.answer("DELETE FROM east.moves WHERE _id = 50").await;
    session.answer(&format!("CALL tributary.resolve('{gid}', 'retry')")).await;
    assert_eq!(steps.seen("SELECT _id, account, amount FROM east.moves").await, "50|2|2");
    eventually("the number of what is in doubt", async || (in_doubt(http).await == "0").then_some(())).await;
    assert_eq!(session.answer("SELECT balance FROM east.accounts WHERE _id = 1").await, "995", "what was said is what was done");
    assert_eq!(audited(&steps, "stuck", &gid).len(), 2);
}
