//! Names, votes and marks of commits over several stores. Knows no store: who decides is in `write`, how a store takes part in its
//! connector.
//!
//! Every name says whose it is: the log in it is the one whose holder alone decides, and names of another log are looked at and never
//! ended. A branch that is prepared under such a name waits for that decision, also after a crash.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::connector::StoreName;
use super::error::StoreError;
use crate::error::{Diagnosis, sqlstate};

/// How every name begins.
const PREFIX: &str = "tributary";

/// How many bits of a number count within one start of the process; those above count the starts. At ten thousand transactions a
/// second they last for three years.
const COUNT_BITS: u32 = 40;

/// The log whose holder alone decides over the names that carry it. Shown as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LogId(pub u64);

impl LogId {
    /// The log that 16 lowercase hex digits name.
    pub fn parse(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<LogId> for String {
    fn from(log: LogId) -> Self {
        log.to_string()
    }
}

impl TryFrom<String> for LogId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("\"{text}\" is not the name of a log"))
    }
}

/// A transaction over several stores: `tributary:<log>:<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid {
    /// Who decides over it.
    pub log: LogId,
    /// Its number in that log.
    pub number: u64,
}

impl Gid {
    /// The transaction that a text names.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (prefix, log, number) = (parts.next()?, parts.next()?, parts.next()?);
        let is_ours = prefix == PREFIX && parts.next().is_none();
        is_ours.then(|| Some(Self { log: LogId::parse(log)?, number: hex(number)? })).flatten()
    }

    /// The name of the branch of a store.
    #[must_use]
    pub fn of_store(self, store: &StoreName) -> BranchId {
        BranchId { log: self.log, number: self.number, branch: store_hash(store) }
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}:{}:{:016x}", self.log, self.number)
    }
}

/// What a store calls its part of one: the same with `:<branch>` behind it. Lowercase hex, 16 digits each; nothing else is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId {
    /// Who decides over it.
    pub log: LogId,
    /// A number in that log: that of the transaction, or one of its own where the store wants the name when the branch begins.
    pub number: u64,
    /// Which store's.
    pub branch: u64,
}

impl BranchId {
    /// The branch that a text names.
    pub fn parse(text: &str) -> Option<Self> {
        let (gid, branch) = text.rsplit_once(':')?;
        let (gid, branch) = (Gid::parse(gid)?, hex(branch)?);
        Some(Self { log: gid.log, number: gid.number, branch })
    }

    /// The branch whose two parts an XA store lists.
    pub fn from_xa(gtrid: &[u8], bqual: &[u8]) -> Option<Self> {
        let gid = Gid::parse(std::str::from_utf8(gtrid).ok()?)?;
        let branch = hex(std::str::from_utf8(bqual).ok()?)?;
        Some(Self { log: gid.log, number: gid.number, branch })
    }

    /// The first part of an XA name.
    pub fn gtrid(&self) -> String {
        Gid { log: self.log, number: self.number }.to_string()
    }

    /// The second part of an XA name.
    pub fn bqual(&self) -> String {
        format!("{:016x}", self.branch)
    }
}

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}:{}:{:016x}:{:016x}", self.log, self.number, self.branch)
    }
}

/// The branch part of the names of a store: FNV-1a of its name, the same in every process.
pub fn store_hash(store: &StoreName) -> u64 {
    let bytes = store.as_str().bytes();
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// 16 lowercase hex digits.
fn hex(text: &str) -> Option<u64> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Numbers that were never given before, also by earlier processes: which start of the log it is, and a count.
#[derive(Debug)]
pub struct Numbers {
    log: LogId,
    first: u64,
    given: AtomicU64,
}

impl Numbers {
    /// Numbers of the start of a log that was never before.
    pub fn new(log: LogId, start: u32) -> Self {
        Self { log, first: u64::from(start) << COUNT_BITS, given: AtomicU64::new(0) }
    }

    /// Whose they are.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// A number that was not given.
    pub fn next(&self) -> Gid {
        Gid { log: self.log, number: self.first.wrapping_add(self.given.fetch_add(1, Ordering::Relaxed)) }
    }

    /// Whether a name was given from here, since this start of the log.
    pub fn gave(&self, gid: Gid) -> bool {
        gid.log == self.log && gid.number.wrapping_sub(self.first) < self.given.load(Ordering::Relaxed)
    }
}

/// How a branch takes part in a commit of several stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Prepared first, and committed or rolled back afterwards, also after a crash.
    Prepared,
    /// Not prepared: the only one that is committed in between, with a mark of the commit among its own writes.
    Last,
    /// Committed alone or not at all, for this reason (a clause).
    Alone(&'static str),
}

/// What a branch answered to being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// It will commit, whatever happens.
    Yes,
    /// It had nothing to keep and has ended.
    ReadOnly,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What it has written is kept.
    Commit,
    /// It is not.
    Abort,
}

/// A mark: a row that is there when what it marks has been committed. As text at most 50 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkId {
    /// The transaction.
    pub gid: Gid,
    /// What of it.
    pub of: MarkOf,
}

/// What of a transaction a mark is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkOf {
    /// The whole commit: `<gid>`.
    All,
    /// A step of a saga: `<gid>/<step>`.
    Step(u16),
    /// The compensation of one: `<gid>/<step>u`.
    Undo(u16),
}

impl MarkId {
    /// The mark that a text names.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((gid, step)) = text.split_once('/') else { return Some(Self { gid: Gid::parse(text)?, of: MarkOf::All }) };
        let (digits, is_undo) = step.strip_suffix('u').map_or((step, false), |digits| (digits, true));
        let number: u16 = digits.parse().ok()?;
        let of = if is_undo { MarkOf::Undo(number) } else { MarkOf::Step(number) };
        let mark = Self { gid: Gid::parse(gid)?, of };
        // Digits have other spellings (`+1`, `01`), which are no marks of ours.
        (mark.to_string() == text).then_some(mark)
    }
}

impl fmt::Display for MarkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            MarkOf::All => write!(f, "{}", self.gid),
            MarkOf::Step(step) => write!(f, "{}/{step}", self.gid),
            MarkOf::Undo(step) => write!(f, "{}/{step}u", self.gid),
        }
    }
}

/// What became of a branch that was to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// It has ended so.
    Done,
    /// The store does not know it (any more).
    Gone,
    /// Somebody still holds it; ask again.
    Busy,
}

/// A prepared branch as its store lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDoubt {
    /// Its name.
    pub id: BranchId,
    /// When it was prepared, where the store tells.
    pub prepared: Option<DateTime<Utc>>,
}

/// What ends an unfinished [`Part::Last`] sooner after a crash (MongoDB: the session's id), as it stands in the log. At most 64 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hint(pub Vec<u8>);

/// A table of ours in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnTable {
    /// `tributary_marks (id, state, at)`
    Marks,
    /// `tributary_keys (key, hash, outcome, at)`
    Keys,
    /// `tributary_outbox (id, topic, key, payload, at, transaction)`
    Outbox,
}

impl OwnTable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Marks, Self::Keys, Self::Outbox];

    /// Its name in every store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Marks => "tributary_marks",
            Self::Keys => "tributary_keys",
            Self::Outbox => "tributary_outbox",
        }
    }
}

/// The table of logs in a store that keeps one.
pub const LOGS: &str = "tributary_logs";
/// The table of their records.
pub const DECISIONS: &str = "tributary_decisions";
/// The table into which triggers of ours write what has changed, in a store whose log is not read.
pub const CHANGES: &str = "tributary_changes";
/// What is known of whoever reads that table.
pub const FEED: &str = "tributary_feed";

/// Whether a table of ours has the name in some store. Some stores do not tell letters by their case, and a NUL is left out of names.
pub fn is_own_name(name: &str) -> bool {
    let name = name.replace('\0', "");
    let owns = OwnTable::ALL.iter().map(|own| own.name());
    owns.chain([LOGS, DECISIONS, CHANGES, FEED]).any(|own| own.eq_ignore_ascii_case(&name))
}

/// What operators are told of a table of ours that stands among theirs, as a clause.
pub const OF_OURS: &str = "is of Tributary itself, for events of tributary.emit";

/// Something about the store that weakens a promise, for `check`, the log at start and `tributary.stores`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caution {
    /// The setting of the store that it is about.
    pub key: &'static str,
    /// What it means for a commit.
    pub told: String,
    /// What to do about it.
    pub mend: String,
}

/// Rows of a log in a store.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Takes a log nobody holds (the one asked for, else any left by a dead instance with open records, else a new one), raising its
    /// epoch.
    ///
    /// # Errors
    /// What the store answered; 55006 where the one asked for is held.
    async fn take(&self, wanted: Option<LogId>) -> Result<Held, StoreError>;

    /// Appends all of them in one transaction if the epoch still stands. `false`: it does not, and nothing was written.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] as of any commit; after every other error nothing was written.
    async fn append(&self, log: LogId, epoch: i64, records: &[Vec<u8>]) -> Result<bool, StoreError>;

    /// Removes what is kept of transactions that have ended everywhere. `false`: the epoch does not stand any more.
    ///
    /// # Errors
    /// What the store answered.
    async fn remove(&self, log: LogId, epoch: i64, gids: &[Gid]) -> Result<bool, StoreError>;

    /// Proves that the log is still ours, over the connection that holds its lock: that the lock is, and that the epoch stands. `false`:
    /// it does not.
    ///
    /// # Errors
    /// The lock is not ours, or nobody knows.
    async fn holds(&self, log: LogId, epoch: i64) -> Result<bool, StoreError>;

    /// Lets go of a log: whoever asks for it next has it. Nothing happens where it is not held.
    async fn release(&self, log: LogId);

    /// The logs in which records are, of whatever instance; some of them, where there are very many.
    ///
    /// # Errors
    /// What the store answered.
    async fn left(&self) -> Result<Vec<LogId>, StoreError>;
}

/// A log that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub log: LogId,
    /// What every decision is conditional on.
    pub epoch: i64,
    /// Which start of the log it is.
    pub start: u32,
    /// The records that are in it, in their order.
    pub records: Vec<Vec<u8>>,
}

/// Whether these parts can be committed together: any number that is prepared, and one that is not. Stores on one connection are given
/// once, by their leader. One store alone always can.
///
/// # Errors
/// 0A000 with the reason.
pub fn check_together(parts: &[(&StoreName, Part)], next: (&StoreName, Part)) -> Result<(), Diagnosis> {
    let (name, part) = next;
    let others: Vec<(&StoreName, Part)> = parts.iter().copied().filter(|(other, _)| *other != name).collect();
    if others.is_empty() {
        return Ok(());
    }
    let all = || others.iter().copied().chain([next]);
    let alone = all().find_map(|(store, part)| if let Part::Alone(reason) = part { Some((store, reason)) } else { None });
    let earlier = others.iter().find(|(_, other)| *other == Part::Last).map(|(store, _)| *store);
    let detail = match (alone, earlier) {
        (Some((store, reason)), _) => format!("Store \"{store}\" cannot take part: {reason}."),
        (None, Some(other)) if part == Part::Last => {
            format!("Neither \"{other}\" nor \"{name}\" can be prepared, and only one such store can take part.")
        }
        (None, _) => return Ok(()),
    };
    let beside: Vec<&StoreName> = others.iter().map(|(store, _)| *store).collect();
    let message = format!("a transaction cannot write to store \"{name}\" beside {}", listed(&beside));
    let saga = "Write to each store in a transaction of its own, or SET tributary.cross_store_commit = 'saga'.";
    let hint = if alone.is_some() {
        saga.to_owned()
    } else {
        format!("A PostgreSQL store can be prepared where its max_prepared_transactions is more than 0. {saga}")
    };
    Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(detail).with_hint(hint))
}

/// The same of all that will be committed, in the order in which they were written to.
///
/// # Errors
/// As [`check_together`].
pub fn check_all(parts: &[(&StoreName, Part)]) -> Result<(), Diagnosis> {
    parts.iter().enumerate().try_for_each(|(place, next)| check_together(parts.get(..place).unwrap_or_default(), *next))
}

/// `"a"`, `"a" and "b"`, `"a", "b" and "c"`.
pub fn listed(stores: &[&StoreName]) -> String {
    let quoted: Vec<String> = stores.iter().map(|store| format!("\"{store}\"")).collect();
    match quoted.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Taking<'a> = (&'a StoreName, Part);

    fn gid() -> Gid {
        Gid { log: LogId(0x00ff), number: 7 }
    }

    #[test]
    fn names_come_back_from_their_texts() {
        let branch = gid().of_store(&StoreName::new("shop"));
        assert_eq!(gid().to_string(), "tributary:00000000000000ff:0000000000000007");
        assert_eq!(Gid::parse(&gid().to_string()), Some(gid()));
        assert_eq!(BranchId::parse(&branch.to_string()), Some(branch));
        assert_eq!(BranchId::from_xa(branch.gtrid().as_bytes(), branch.bqual().as_bytes()), Some(branch));
        // A gid of PostgreSQL has 199 bytes, a part of an XA name 64.
        assert_eq!((branch.to_string().len(), branch.gtrid().len(), branch.bqual().len()), (60, 43, 16));
        assert_ne!(branch, gid().of_store(&StoreName::new("crm")));
        for of in [MarkOf::All, MarkOf::Step(0), MarkOf::Step(65_535), MarkOf::Undo(0), MarkOf::Undo(65_535)] {
            let mark = MarkId { gid: gid(), of };
            assert_eq!(MarkId::parse(&mark.to_string()), Some(mark));
            assert!(mark.to_string().len() <= 50, "{mark}");
        }
        let log: LogId = serde_json::from_str("\"00000000000000ff\"").unwrap();
        assert_eq!((log, serde_json::to_string(&log).unwrap().as_str()), (LogId(0xff), "\"00000000000000ff\""));
    }

    #[test]
    fn what_only_resembles_a_name_is_none() {
        let good = gid().to_string();
        for text in [
            String::new(),
            "tributary".to_owned(),
            good.to_uppercase(),
            good.replace("tributary", "tributary2"),
            good.replacen(':', "::", 1),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.replace("ff", "+f"),
            format!("{good}:"),
            format!(" {good}"),
        ] {
            assert_eq!(Gid::parse(&text), None, "{text}");
            assert_eq!(BranchId::parse(&format!("{text}:0000000000000001")), None, "{text}");
        }
        assert_eq!(Gid::parse(&format!("{good}:0000000000000001")), None);
        assert_eq!(BranchId::parse(&good), None);
        for step in ["", "u", "+1", "01", "1U", "1uu", "65536", "-1", "1/2"] {
            assert_eq!(MarkId::parse(&format!("{good}/{step}")), None, "{step}");
        }
        assert_eq!(BranchId::from_xa(b"tributary", &[0xff]), None);
        assert!(serde_json::from_str::<LogId>("\"ff\"").is_err());
    }

    #[test]
    fn numbers_of_two_starts_never_meet() {
        let (first, second) = (Numbers::new(LogId(1), 1), Numbers::new(LogId(1), 2));
        let given = [first.next(), first.next(), second.next(), second.next()].map(|gid| gid.number);
        assert_eq!(given, [1 << 40, (1 << 40) + 1, 2 << 40, (2 << 40) + 1]);
        assert_eq!(first.next().log, first.log());
    }

    #[test]
    fn one_store_at_most_is_not_prepared() {
        let names = ["a", "b", "c"].map(StoreName::new);
        let [a, b, c] = &names;
        let reason = "it keeps notes";
        type Row<'t> = (Vec<Taking<'t>>, Taking<'t>, Option<(&'static str, &'static str)>);
        let rows: Vec<Row<'_>> = vec![
            (vec![], (a, Part::Alone(reason)), None),
            (vec![], (a, Part::Last), None),
            (vec![(a, Part::Alone(reason))], (a, Part::Alone(reason)), None),
            (vec![(a, Part::Prepared), (b, Part::Prepared)], (c, Part::Prepared), None),
            (vec![(a, Part::Prepared), (b, Part::Prepared)], (c, Part::Last), None),
            (vec![(a, Part::Last), (b, Part::Prepared)], (c, Part::Prepared), None),
            (
                vec![(a, Part::Last), (b, Part::Prepared)],
                (c, Part::Last),
                Some(("\"c\" beside \"a\" and \"b\"", "Neither \"a\" nor \"c\"")),
            ),
            (
                vec![(a, Part::Prepared)],
                (b, Part::Alone(reason)),
                Some(("\"b\" beside \"a\"", "\"b\" cannot take part: it keeps notes.")),
            ),
            (
                vec![(a, Part::Alone(reason))],
                (b, Part::Prepared),
                Some(("\"b\" beside \"a\"", "\"a\" cannot take part: it keeps notes.")),
            ),
        ];
        for (parts, next, expected) in rows {
            let told = check_together(&parts, next).map_err(|error| (error.sqlstate, error.message, error.detail.unwrap()));
            match expected {
                None => assert_eq!(told, Ok(()), "{parts:?} {next:?}"),
                Some((message, detail)) => {
                    let (code, said, facts) = told.unwrap_err();
                    assert_eq!(code, "0A000");
                    assert!(said.ends_with(message) && facts.contains(detail), "{said} {facts}");
                }
            }
        }
        assert!(check_all(&[(a, Part::Last), (b, Part::Prepared)]).is_ok());
        assert!(check_all(&[(a, Part::Last), (b, Part::Prepared), (c, Part::Last)]).is_err());
        assert_eq!(listed(&[a, b, c]), "\"a\", \"b\" and \"c\"");
    }
}
