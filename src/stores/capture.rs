//! The contract of change feeds between a store and the room `changes`: what can be followed, how a feed begins, goes on and ends,
//! and what of ours it leaves in the store.
//!
//! ```text
//! Capture::survey(tables) → Survey → Capture::start(from) → Feed → Step … → Feed::acknowledge
//!                                    Capture::fill(table) → Fill, placed among the events by Capture::contains
//! ```
//!
//! **Invariants:** a feed gives whole transactions in commit order, each once between a [`Resume`] and the next; what it has not been
//! told is durable it gives again after a restart; a survey changes nothing in the store.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::change::{Group, Resume, Shape, Transaction};
use super::commit::Caution;
use super::connector::{Branch, StoreName};
use super::error::StoreError;
use super::position::Position;
use super::schema::{Table, TableId};

/// How every object of ours in a store begins.
const PREFIX: &str = "tributary_";

/// Which changes of a store are followed, from its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    /// By what.
    pub how: How,
    /// The tables that are.
    pub only: Vec<TablePattern>,
    /// Those among them that are not.
    pub except: Vec<TablePattern>,
    /// The most bytes that the store may keep for us.
    pub max_retained: u64,
    /// How often an outbox is looked at.
    pub poll: Duration,
    /// A publication that the owner of the tables has made (PostgreSQL).
    pub publication: Option<String>,
    /// By which number we are a replica (MySQL, MariaDB); one of our own when absent.
    pub server_id: Option<u32>,
}

impl Follow {
    /// Whether the file asks for this table.
    pub fn wants(&self, table: &TableId) -> bool {
        let names = |patterns: &[TablePattern]| patterns.iter().any(|pattern| pattern.matches(table));
        names(&self.only) && !names(&self.except)
    }
}

/// By what changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The store's own log: logical replication, binlog, change streams.
    Log,
    /// Triggers that write to a table of ours.
    Outbox,
}

/// Some tables of a store by their own names, with or without the namespace before a dot; `*` at the end stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern(String);

impl TablePattern {
    /// What a text in a store file names. `None`: it is empty, or there is a `*` that is not at its end.
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        (!text.is_empty() && !stem.contains('*')).then(|| Self(text.to_owned()))
    }

    /// Whether the table is one of them. A name may hold dots of its own (MongoDB), so the pattern is compared and not taken apart.
    pub fn matches(&self, table: &TableId) -> bool {
        let whole = format!("{}.{}", table.namespace, table.name);
        let is_one = |name: &str| match self.0.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => name == self.0,
        };
        is_one(&table.name) || is_one(&whole)
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table with what its events look like.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The table as it was discovered.
    pub table: Arc<Table>,
    /// Its columns in events.
    pub shape: Arc<Shape>,
}

/// Whose objects in stores are: made once and kept in the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceId(pub u64);

impl InstanceId {
    /// The instance that 16 lowercase hex digits name.
    pub fn parse(text: &str) -> Option<Self> {
        hex(text, 16).map(Self)
    }

    /// The name of its objects in a store: 35 bytes of lowercase letters, digits and underscores.
    pub fn object(self, store: &StoreName) -> String {
        format!("{PREFIX}{self}_{:08x}", store_hash(store))
    }

    /// Whose an object is, and of which store's name, when its name begins so; what comes behind another underscore tells objects of
    /// one store apart.
    pub fn parse_object(name: &str) -> Option<(Self, u32)> {
        let (instance, rest) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let store = rest.split('_').next().unwrap_or(rest);
        Some((Self::parse(instance)?, u32::try_from(hex(store, 8)?).ok()?))
    }

    /// Whether an object with such a name is of this instance and this store's name.
    pub fn owns(self, store: &StoreName, name: &str) -> bool {
        Self::parse_object(name) == Some((self, store_hash(store)))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a of a store's name.
pub fn store_hash(store: &StoreName) -> u32 {
    store.as_str().bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// How a table stands to being followed.
#[derive(Debug, Clone)]
pub enum Judged {
    /// It can be.
    Followed(Followed),
    /// It is read in its store only.
    StoreOnly {
        /// Which.
        table: TableId,
        /// Why, as a clause.
        reason: String,
        /// What to do about it: a statement where one mends it.
        mend: Option<String>,
    },
}

impl Judged {
    /// The table.
    pub fn table(&self) -> &TableId {
        match self {
            Self::Followed(followed) => &followed.table.id,
            Self::StoreOnly { table, .. } => table,
        }
    }
}

/// What preflight found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every table that [`Follow::wants`], and tables of ours that were asked about.
    pub tables: Vec<Judged>,
    /// What weakens the feed.
    pub cautions: Vec<Caution>,
    /// Nothing can be followed: the reason, and what mends it, a statement where one does.
    pub refused: Option<(String, String)>,
    /// What of ours is there, of any instance.
    pub objects: Vec<OwnObject>,
}

/// Something of ours in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnObject {
    /// "replication slot", "publication", "trigger", "table", "function".
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The statement that removes it.
    pub remove: String,
    /// Whether it is of this instance and this store's name.
    pub ours: bool,
    /// How many bytes the store keeps because of it.
    pub holds_bytes: Option<u64>,
}

/// What a feed gives next.
#[derive(Debug)]
pub enum Step {
    /// Changes.
    Group(Group),
    /// Nothing of ours up to here.
    Idle {
        /// Where that is.
        position: Position,
        /// How to go on from there.
        resume: Resume,
    },
    /// Tables may have changed: discover again, then [`Feed::reshape`].
    Doubt(Vec<TableId>),
}

/// How a store stands with what it keeps for us.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// What it keeps because of us.
    pub retained_bytes: Option<u64>,
    /// How much of its history we have not read.
    pub lag_bytes: Option<u64>,
    /// How much may be written until it drops history that we need.
    pub left_bytes: Option<u64>,
    /// The same as time.
    pub left: Option<Duration>,
    /// What holds the feed back, when something does; a sentence.
    pub detail: String,
}

/// Why a feed ended.
#[derive(Debug)]
pub enum Ended {
    /// Try again from the checkpoint.
    Again(StoreError),
    /// History is missing, for this reason (a clause): begin from now, behind a gap.
    Lost(String),
    /// Nothing helps but somebody.
    Refused {
        /// Why, as a clause.
        reason: String,
        /// What to do: a statement where one mends it.
        mend: String,
    },
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Again(error)
    }
}

/// A read with an exact place among the events.
#[derive(Debug)]
pub struct Fill {
    /// One state of the store, that of `version`.
    pub branch: Arc<dyn Branch>,
    /// Which state; read by [`Capture::contains`] alone.
    pub version: Vec<u8>,
    /// Events that are not in it may have been given so long before.
    pub look_back: Duration,
    /// When the store stops showing this state.
    pub ends: Instant,
}

/// How the changes of a store are followed.
#[async_trait]
pub trait Capture: fmt::Debug + Send + Sync {
    /// What can be followed and what keeps the rest from it. Changes nothing. Also for `check`. Tables of ours among `tables` are
    /// judged as any other, whatever `follow` says of names.
    ///
    /// # Errors
    /// What the store answered.
    async fn survey(&self, who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError>;

    /// Makes what is missing (publication, triggers, slot), then streams from `from`, or from now. One feed at a time.
    ///
    /// # Errors
    /// See [`Ended`].
    async fn start(
        &self,
        who: InstanceId,
        follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn Feed>, Ended>;

    /// Whether a feed that begins again gives what it has not been told is durable as the same transactions, under the same ids: it does not
    /// where one look at the store finds what several commits did as one. Pure.
    fn gives_alike(&self) -> bool {
        true
    }

    /// Somebody has looked at what keeps a feed from going on: it is tried again, whatever was remembered of it.
    fn look_again(&self) {}

    /// Opens one state of a table with its place among the events.
    ///
    /// # Errors
    /// What the store answered.
    async fn fill(&self, table: &Arc<Table>) -> Result<Fill, StoreError>;

    /// The same of several tables, which its branch shows in one state, where no writer has to wait for that; `None` where the store has no
    /// such state of them.
    ///
    /// # Errors
    /// What the store answered.
    async fn state(&self, tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        let _ = tables;
        Ok(None)
    }

    /// Whether the state of a [`Fill`] has a transaction in it. Pure; `false` where unknown.
    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool;

    /// How much history the store keeps for us, and how far we are behind.
    ///
    /// # Errors
    /// What the store answered.
    async fn watch(&self, who: InstanceId, follow: &Follow) -> Result<Watch, StoreError>;

    /// What is in the store under our prefix, of any instance.
    ///
    /// # Errors
    /// What the store answered.
    async fn objects(&self, who: InstanceId) -> Result<Vec<OwnObject>, StoreError>;

    /// Removes what is of this instance and this store's name, and gives what it removed; `slot_only`: what makes the store keep its
    /// log, or keeps what happens. Safe to repeat.
    ///
    /// # Errors
    /// What the store answered; some may be removed.
    async fn remove(&self, who: InstanceId, slot_only: bool) -> Result<Vec<OwnObject>, StoreError>;
}

/// The changes of a store on their way.
#[async_trait]
pub trait Feed: Send {
    /// The next step. Cancel-safe. Ends by itself after a silence longer than the store's heartbeat promises.
    ///
    /// # Errors
    /// See [`Ended`]; the feed gives nothing after it.
    async fn next(&mut self) -> Result<Step, Ended>;

    /// Everything up to here is durable with us.
    ///
    /// # Errors
    /// What the store answered; it is told again with the next one.
    async fn acknowledge(&mut self, position: &Position, resume: &Resume) -> Result<(), StoreError>;

    /// The tables as they are now: those that are not among them are not followed any more. Who calls it tells of those that are others than
    /// before, and of those that come back after they were stopped, in front of what comes next; the feed may leave that out.
    ///
    /// # Errors
    /// See [`Ended`].
    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended>;

    /// Ends it and waits until the store has let go of it, within a deadline.
    async fn close(self: Box<Self>);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> TableId {
        TableId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn patterns_name_tables_with_and_without_their_namespace() {
        let rows = [
            ("*", id("public", "orders"), true),
            ("orders", id("public", "orders"), true),
            ("public.orders", id("public", "orders"), true),
            ("audit.orders", id("public", "orders"), false),
            ("or*", id("public", "orders"), true),
            ("public.*", id("public", "orders"), true),
            ("audit.*", id("public", "orders"), false),
            ("Orders", id("public", "orders"), false),
            ("a.b", id("db", "a.b"), true),
            ("db.a.*", id("db", "a.b"), true),
        ];
        for (text, table, expected) in rows {
            assert_eq!(TablePattern::parse(text).unwrap().matches(&table), expected, "{text} {table:?}");
        }
        for text in ["", "a*b", "**", "*a"] {
            assert_eq!(TablePattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_not_wanted() {
        let patterns = |texts: &[&str]| texts.iter().filter_map(|text| TablePattern::parse(text)).collect::<Vec<_>>();
        let follow = Follow {
            how: How::Log,
            only: patterns(&["*"]),
            except: patterns(&["audit.*", "notes"]),
            max_retained: 1 << 30,
            poll: Duration::from_millis(20),
            publication: None,
            server_id: None,
        };
        assert!(follow.wants(&id("public", "orders")));
        assert!(!follow.wants(&id("audit", "orders")) && !follow.wants(&id("public", "notes")));
    }

    #[test]
    fn objects_say_whose_they_are() {
        let (us, shop, crm) = (InstanceId(0xab), StoreName::new("shop"), StoreName::new("crm"));
        let name = us.object(&shop);
        assert!(name.starts_with("tributary_00000000000000ab_") && name.len() == 35, "{name}");
        assert!(us.owns(&shop, &name) && !us.owns(&crm, &name) && !InstanceId(0xac).owns(&shop, &name));
        // Several objects of one store.
        assert!(us.owns(&shop, &format!("{name}_i")));
        assert_eq!(InstanceId::parse(&us.to_string()), Some(us));
        for other in ["tributary_changes", "tributary_00ab_00000000", "tributary_00000000000000AB_00000000", "x", ""] {
            assert_eq!(InstanceId::parse_object(other), None, "{other}");
        }
        assert_eq!(InstanceId::parse_object(&format!("{name}0")), None);
    }
}
