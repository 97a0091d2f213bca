//! Copies as clients see them: a table's row of `tributary.freshness`, and reads of which it is certain where they came from.

use std::net::SocketAddr;
use std::time::Duration;

use crate::commit::{ask, eventually};
use crate::support::proxy::{self, OWNER, PATIENCE, Session};

/// A table's row of `tributary.freshness`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// `loading`, `cached`, `store-only` or `waiting`.
    pub state: String,
    /// Why it is not cached.
    pub reason: String,
    pub rows: u64,
    pub bytes: u64,
    /// Reads from the copy, reads from the store in its stead, and reads that waited for it.
    pub served: u64,
    pub fell_through: u64,
    pub waited: u64,
    /// When it began to stand so.
    pub since: String,
}

/// A store and its table.
pub type Named<'n> = (&'n str, &'n str);

/// How a session reads whose rows come from the copy, and are those that the store has now.
pub const FROM_COPY: [(&str, &str); 2] = [("consistency", "strong"), ("on_stale", "wait")];
/// The store itself.
pub const FROM_STORE: [(&str, &str); 1] = [("consistency", "store")];
/// The copy, however old it is.
pub const OF_ANY_AGE: [(&str, &str); 1] = [("consistency", "eventual")];

/// A session with these settings of `tributary`.
pub async fn reader(address: SocketAddr, settings: &[(&str, &str)]) -> Session {
    let session = proxy::open(&proxy::login(address, OWNER)).await.unwrap();
    reads_by(&session, settings).await;
    session
}

/// Sets them in a session.
pub async fn reads_by(session: &Session, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        session.answer(&format!("SET tributary.{name} = '{value}'")).await;
    }
}

/// How a table's copy stands; `None`: it is not to be cached.
pub async fn shown(session: &Session, (store, table): Named<'_>) -> Option<Shown> {
    let sql = format!(
        "SELECT state, rows, bytes, served, fell_through, waited, since, coalesce(reason, '') FROM tributary.freshness \
         WHERE schema_name::text = '{store}' AND table_name::text = '{table}'"
    );
    let row = ask(session, &sql).await.unwrap_or_else(|said| panic!("{sql}: {said:?}")).pop()?;
    let fields: Vec<&str> = row.splitn(8, '|').collect();
    let number = |place: usize| fields[place].parse().unwrap_or(0);
    Some(Shown {
        state: fields[0].to_owned(),
        rows: number(1),
        bytes: number(2),
        served: number(3),
        fell_through: number(4),
        waited: number(5),
        since: fields[6].to_owned(),
        reason: fields[7].to_owned(),
    })
}

/// How often a copy was read.
pub async fn served(session: &Session, table: Named<'_>) -> u64 {
    shown(session, table).await.unwrap_or_default().served
}

/// Waits until a copy stands so; tells its reason.
pub async fn until_state(session: &Session, table: Named<'_>, state: &str) -> String {
    let mut last = None;
    let asking = async {
        loop {
            last = shown(session, table).await;
            if let Some(shown) = last.as_ref().filter(|shown| shown.state == state) {
                return shown.reason.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(PATIENCE, asking).await;
    reason.unwrap_or_else(|_elapsed| panic!("{table:?} is {last:?} and never {state}"))
}

/// Loads a copy again, and waits until it is there.
pub async fn reload(session: &Session, table: Named<'_>) {
    let before = shown(session, table).await.unwrap().since;
    session.answer(&format!("CALL tributary.reload_cache('{}.{}')", table.0, table.1)).await;
    let loaded = async || shown(session, table).await.filter(|shown| shown.state == "cached" && shown.since != before).map(drop);
    eventually(&format!("{table:?} anew"), loaded).await;
}

/// Waits until tables of a store have copies.
pub async fn until_cached(session: &Session, store: &str, tables: &[&str]) {
    for table in tables {
        until_state(session, (store, table), "cached").await;
    }
}

/// Rows of a statement over a table, which must come from its copy. Nobody else reads that meanwhile.
pub async fn copied(session: &Session, table: Named<'_>, sql: &str) -> Vec<String> {
    let before = served(session, table).await;
    let rows = session.rows(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"));
    let after = shown(session, table).await;
    assert!(after.as_ref().is_some_and(|shown| shown.served > before), "{sql} is not of the copy: {before} were, now {after:?}");
    rows
}

/// Asks until the answer comes from the copy. Every answer must be this one, wherever it comes from.
pub async fn until_copied(session: &Session, table: Named<'_>, sql: &str, expected: &[String]) {
    let from_copy = async || {
        let before = served(session, table).await;
        let rows = session.rows(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"));
        assert_eq!(rows, expected, "{sql}");
        (served(session, table).await > before).then_some(())
    };
    eventually(&format!("an answer from the copy of {table:?}"), from_copy).await;
}

/// The plan of a statement that was run, with where its tables were read.
pub async fn analyzed(session: &Session, sql: &str) -> String {
    session.answer(&format!("EXPLAIN ANALYZE {sql}")).await
}
