//! What the suite asks of a store besides its connector: to be filled, watched, cut off and put back by its own means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tributary::options::Problem;
use tributary::stores::capture::Follow;
use tributary::stores::value::Value;
use tributary::stores::{Connector, StoreName, kind};

use crate::support::gate::{Gate, Open};
use crate::support::secrets::NoSecrets;

/// The name that every world's store has.
pub const STORE: &str = "suite";

/// What a column of a sample holds; each store declares it in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float,
    /// `numeric(10,2)`
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
}

impl Kind {
    /// The oids that a column of this kind may be offered with.
    pub fn oids(self) -> &'static [u32] {
        match self {
            Self::Bool => &[16],
            Self::Int => &[20],
            Self::Float => &[701],
            Self::Decimal => &[1700],
            Self::Text => &[25, 1043],
            Self::Bytes => &[17],
            Self::Date => &[1082],
            Self::Time => &[1083],
            Self::Timestamp => &[1114],
            Self::TimestampTz => &[1184],
            Self::Uuid => &[2950],
        }
    }

    /// A name for a column of this kind.
    pub fn column(self) -> String {
        format!("c_{self:?}").to_lowercase()
    }
}

/// Rows to fill a table with. A key column named [`World::key`] comes first and counts from 1.
#[derive(Debug, Clone)]
pub struct Sample {
    pub table: String,
    pub columns: Vec<(String, Kind)>,
    pub rows: Vec<Vec<Option<Value>>>,
}

/// What happens to a row of a table with an integer `n`, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Key and `n`.
    Insert(i64, i64),
    /// Key and `n`.
    Update(i64, i64),
    Delete(i64),
    /// The key, and the one that it becomes.
    Move(i64, i64),
}

/// What a store's own catalog can tell, and what its transactions are.
#[derive(Debug, Clone, Copy)]
pub struct Tells {
    /// `NOT NULL` of a column that is no key.
    pub not_null: bool,
    pub defaults: bool,
    pub comments: bool,
    pub foreign_keys: bool,
    /// Whether tables have columns of their own, so that one can be missed.
    pub columns: bool,
    /// Whether an open scan keeps one of the pool's connections.
    pub scans_hold_connections: bool,
    /// Whether a closed connector leaves nothing open. A cursor that nobody reads is ended by MongoDB's own limit only.
    pub ends_readers: bool,
    /// Whether its transactions have a serial order.
    pub serializable: bool,
    /// Whether a transaction that has written can go back to a savepoint.
    pub savepoints: bool,
}

/// Where a connector is told to look; `None` is the right place.
#[derive(Debug, Clone, Copy, Default)]
pub struct At<'a> {
    pub port: Option<u16>,
    pub password: Option<&'a str>,
}

/// The way to a store, which the suite can cut and mend.
pub enum Way {
    /// To a server, and the gate's opening while there is one.
    Gate(Gate, Mutex<Option<Open>>),
    /// To a file.
    File(PathBuf),
}

impl Way {
    /// An open way to a server.
    pub async fn to(host: &str, port: u16) -> Self {
        let gate = Gate::to(host, port).await;
        let open = Mutex::new(Some(gate.open().await));
        Self::Gate(gate, open)
    }

    /// The place to give to a connector so that it takes this way.
    pub fn at(&self) -> At<'static> {
        match self {
            Self::Gate(gate, _) => At { port: Some(gate.port()), password: None },
            Self::File(_) => At::default(),
        }
    }

    /// Whether what is under way breaks when the way is cut. A file that is open outlives its name.
    pub fn breaks(&self) -> bool {
        matches!(self, Self::Gate(..))
    }

    pub async fn cut(&self) {
        match self {
            Self::Gate(_, open) => {
                if let Some(open) = open.lock().await.take() {
                    open.shut().await;
                }
            }
            Self::File(path) => std::fs::rename(path, path.with_extension("away")).unwrap(),
        }
    }

    /// After a cut: the server takes connections and says nothing. A file has no such state.
    pub async fn silence(&self) {
        if let Self::Gate(gate, open) = self {
            *open.lock().await = Some(gate.silence().await);
        }
    }

    /// After a cut.
    pub async fn mend(&self) {
        match self {
            Self::Gate(gate, open) => *open.lock().await = Some(gate.open().await),
            Self::File(path) => std::fs::rename(path.with_extension("away"), path).unwrap(),
        }
    }
}

/// The native side of one store, on a database of its own.
#[async_trait]
pub trait World: Send + Sync {
    /// The word of its kind.
    fn word(&self) -> &'static str;

    /// Its store file.
    fn file(&self, at: At<'_>) -> String;

    /// Lines for the store file that make connecting give up after half a second.
    fn quick(&self) -> &'static str;

    /// A way to the store.
    async fn way(&self) -> Way;

    /// Where its tables are.
    fn namespace(&self) -> String;

    /// The name of key columns.
    fn key(&self) -> &'static str {
        "id"
    }

    /// The kinds of columns that it has.
    fn kinds(&self) -> Vec<Kind>;

    /// Whether it can hold a value of the pools in `sample.rs`.
    fn holds(&self, kind: Kind, value: &Value) -> bool;

    fn tells(&self) -> Tells;

    /// Makes and fills a table.
    async fn make(&self, sample: &Sample);

    /// Makes the table `big` of [`BIG`] rows: a key and `filler`, a text of 1000 characters.
    async fn make_big(&self);

    /// Makes the view `slow` of a column `x`, whose query runs for minutes before its first row. Gives the lines of the store
    /// file that it needs.
    async fn make_slow(&self) -> String;

    /// Makes the tables `author` (key, `name` unique and not null, `note` with the default `'none'` and the comment
    /// `a remark`; itself with the comment `who writes`) of three rows and `book` (key, `author` that refers to it, `title`
    /// with an index) of four, and the view `titles` of `title`.
    async fn make_library(&self);

    /// Makes the table `docs` whose documents have an integer at `o.a` (5, 7, none, null in this order of keys), and gives
    /// the lines of the store file that make their fields columns; the column is `o`.
    async fn make_documents(&self) -> String;

    /// Adds a row with this key and nothing else, by a connection of its own.
    async fn append(&self, table: &str, key: i64);

    /// Deletes all rows.
    async fn clear(&self, table: &str);

    async fn drop_column(&self, table: &str, column: &str);

    async fn drop_table(&self, table: &str);

    /// Adds 100 to an integer of a row by a connection of its own, which does not wait for long where somebody holds the row; tells
    /// whether it could.
    async fn touch(&self, table: &str, column: &str, key: i64) -> bool;

    /// Holds a row as somebody does who has changed it and not committed, until what is given is dropped.
    async fn hold(&self, table: &str, column: &str, key: i64) -> Box<dyn Send>;

    /// Whether a part of a plan, by its name in `fragments/plans.rs`, must be accepted or refused; `None` leaves it to the store.
    fn runs(&self, plan: &str) -> Option<bool> {
        let _ = plan;
        None
    }

    /// How its changes are followed.
    fn follow(&self) -> Follow;

    /// Does all of this in one transaction, which is then undone unless it is to be kept.
    async fn deeds(&self, table: &str, deeds: &[Deed], is_kept: bool);

    /// Whether keys can be changed.
    fn moves_keys(&self) -> bool {
        true
    }

    /// Adds a column of integers; tells whether tables have columns of their own.
    async fn add_column(&self, table: &str, column: &str) -> bool;

    /// Takes all rows out at once; tells whether the store has a way to, which it tells of as such.
    async fn truncate(&self, table: &str) -> bool;

    /// Whether following it leaves something in the store.
    fn leaves_objects(&self) -> bool;

    /// How many queries of connectors the store is running, or how many of their readers hold a state.
    async fn busy(&self) -> usize;
}

/// How many rows `big` has: more bytes than all buffers on the way to a reader hold.
pub const BIG: usize = 40_000;

impl dyn World + '_ {
    /// A connector, with further lines in its store file.
    pub fn open(&self, lines: &str) -> Arc<dyn Connector> {
        self.open_at(At::default(), lines)
    }

    /// A connector that looks elsewhere.
    pub fn open_at(&self, at: At<'_>, lines: &str) -> Arc<dyn Connector> {
        self.parse(at, lines).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// A connector as its store file would make it.
    pub fn parse(&self, at: At<'_>, lines: &str) -> Result<Arc<dyn Connector>, Vec<Problem>> {
        let file = format!("{}\n{lines}", self.file(at));
        let table: toml::Table = toml::from_str(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        kind(self.word()).unwrap().parse(&StoreName::new(STORE), "stores.suite", &table, &NoSecrets)
    }
}

/// Asks until the answer is yes; the asking itself is the wait.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), asking).await.is_ok(), "{what} did not come about");
}
