//! Events of the binlog: what each kind holds, read from its bytes. What follows from one is decided in `groups.rs`.
//!
//! The layouts are those of the MySQL manual ("Binary Log Event") and of the MariaDB knowledge base ("Replication Protocol"). No bytes
//! make a reader here panic; what does not fit is [`Malformed`].

use std::borrow::Cow;

use super::bytes::{Bytes, Malformed};
use super::inflate::inflate;
use super::position::{Gtid, Last, Source};

/// Kinds of events.
pub(super) mod kind {
    /// `QUERY_EVENT`
    pub(in super::super) const QUERY: u8 = 2;
    /// `ROTATE_EVENT`
    pub(in super::super) const ROTATE: u8 = 4;
    /// `FORMAT_DESCRIPTION_EVENT`
    pub(in super::super) const FORMAT: u8 = 15;
    /// `XID_EVENT`
    pub(in super::super) const XID: u8 = 16;
    /// `EXECUTE_LOAD_QUERY_EVENT`
    pub(in super::super) const LOAD_QUERY: u8 = 18;
    /// `TABLE_MAP_EVENT`
    pub(in super::super) const TABLE_MAP: u8 = 19;
    /// `INCIDENT_EVENT`
    pub(in super::super) const INCIDENT: u8 = 26;
    /// `HEARTBEAT_EVENT`
    pub(in super::super) const HEARTBEAT: u8 = 27;
    /// `GTID_EVENT` of MySQL
    pub(in super::super) const GTID: u8 = 33;
    /// `ANONYMOUS_GTID_EVENT`
    pub(in super::super) const ANONYMOUS: u8 = 34;
    /// `XA_PREPARE_LOG_EVENT`
    pub(in super::super) const XA_PREPARE: u8 = 38;
    /// `PARTIAL_UPDATE_ROWS_EVENT` of MySQL
    pub(in super::super) const PARTIAL_UPDATE: u8 = 39;
    /// `HEARTBEAT_LOG_EVENT_V2`
    pub(in super::super) const HEARTBEAT_LONG: u8 = 41;
    /// `GTID_TAGGED_LOG_EVENT`
    pub(in super::super) const TAGGED: u8 = 42;
    /// `GTID_EVENT` of MariaDB
    pub(in super::super) const MARIA_GTID: u8 = 162;
    /// `QUERY_COMPRESSED_EVENT`
    pub(in super::super) const QUERY_COMPRESSED: u8 = 165;
    /// `PARTIAL_ROW_DATA_EVENT` of MariaDB
    pub(in super::super) const PARTIAL_ROW: u8 = 172;
}

/// Kinds that change nothing that a feed gives: parts of statements that are told by others, notes, and marks of files.
const WITHOUT_MEANING: &[u8] = &[3, 5, 9, 11, 13, 14, 17, 28, 29, 35, 36, 37, 40, 160, 161, 163, 164];

/// Set on events that a reader may pass over when it does not know them.
const IGNORABLE: u16 = 0x80;

/// One event without its header and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What it is.
    pub(super) kind: u8,
    /// When, in seconds since 1970, by the server's clock.
    pub(super) seconds: u32,
    /// The server that wrote it first.
    pub(super) server: u32,
    /// Flags.
    pub(super) flags: u16,
    /// Where it ends in its file; zero where it is in none.
    pub(super) end: u32,
    /// The rest.
    pub(super) body: Vec<u8>,
}

impl Event {
    /// Whether it can be passed over.
    pub(super) fn is_without_meaning(&self) -> bool {
        WITHOUT_MEANING.contains(&self.kind) || (self.flags & IGNORABLE != 0 && self.rows_kind().is_none())
    }

    /// What kind of rows it holds, when it holds rows.
    pub(super) fn rows_kind(&self) -> Option<RowsKind> {
        let (change, is_second, is_compressed) = match self.kind {
            23 => (Change::Insert, false, false),
            24 => (Change::Update, false, false),
            25 => (Change::Delete, false, false),
            30 => (Change::Insert, true, false),
            31 => (Change::Update, true, false),
            32 => (Change::Delete, true, false),
            166 => (Change::Insert, false, true),
            167 => (Change::Update, false, true),
            168 => (Change::Delete, false, true),
            169 => (Change::Insert, true, true),
            170 => (Change::Update, true, true),
            171 => (Change::Delete, true, true),
            _ => return None,
        };
        Some(RowsKind { change, is_second, is_compressed })
    }
}

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// They appeared.
    Insert,
    /// They changed.
    Update,
    /// They went.
    Delete,
}

/// The kind of an event with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowsKind {
    /// What happened.
    pub(super) change: Change,
    /// Whether it has the second form of the header, with room for more.
    is_second: bool,
    is_compressed: bool,
}

/// An event with rows.
#[derive(Debug)]
pub(super) struct RowsEvent<'a> {
    /// How many columns the table has.
    pub(super) width: usize,
    /// Which columns the first image of each row has.
    pub(super) first: &'a [u8],
    /// Which columns the second one has, in updates.
    pub(super) second: &'a [u8],
    /// The images.
    pub(super) images: Cow<'a, [u8]>,
}

impl<'a> RowsEvent<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// It has not the form of one.
    pub(super) fn read(kind: RowsKind, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(body, "an event with rows");
        let _table = bytes.number(6)?;
        let _flags = bytes.u16()?;
        if kind.is_second {
            let length = usize::from(bytes.u16()?).checked_sub(2).ok_or_else(|| bytes.malformed())?;
            let _more = bytes.take(length)?;
        }
        let width = bytes.count()?;
        let first = bytes.take(width.div_ceil(8))?;
        let second = if kind.change == Change::Update { bytes.take(width.div_ceil(8))? } else { &[] };
        let images = if kind.is_compressed { Cow::Owned(inflate(bytes.rest())?) } else { Cow::Borrowed(bytes.rest()) };
        Ok(Self { width, first, second, images })
    }

    /// The number of the table alone.
    pub(super) fn table(body: &[u8]) -> Result<u64, Malformed> {
        Bytes::new(body, "an event with rows").number(6)
    }
}

/// The name of a transaction of XA.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Xid {
    /// `formatID`
    pub(super) format: u32,
    /// Its first part.
    pub(super) global: Vec<u8>,
    /// Its second part.
    pub(super) branch: Vec<u8>,
}

impl Xid {
    /// FNV-1a, the same in every process.
    pub(super) fn hash(&self) -> u64 {
        let length = (self.global.len() as u64).to_le_bytes();
        let parts = self.format.to_le_bytes().into_iter().chain(length);
        let all = parts.chain(self.global.iter().chain(&self.branch).copied());
        all.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What a group of events begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    /// The id of the transaction.
    pub(super) gtid: Gtid,
    /// Whether it is one statement without an end (MariaDB).
    pub(super) is_standalone: bool,
    /// Whether it is prepared and not committed (MariaDB).
    pub(super) is_prepared: bool,
    /// When it was committed, in microseconds, where the server says so (MySQL).
    pub(super) committed_us: Option<i64>,
}

/// `FL_STANDALONE`
const STANDALONE: u8 = 0x01;
/// `FL_PREPARED_XA`
const PREPARED: u8 = 0x40;
/// Set in the moment of a commit when that of the first server follows.
const HAS_FIRST: u64 = 1 << 55;

impl Begin {
    /// Reads an event that begins a group.
    ///
    /// # Errors
    /// It has not the form of one.
    pub(super) fn read(event: &Event) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(&event.body, "an event with a GTID");
        if event.kind == kind::MARIA_GTID {
            let (seq, domain, flags) = (bytes.u64()?, bytes.u32()?, bytes.u8()?);
            let gtid = Gtid::Maria { domain, last: Last { server: event.server, seq } };
            return Ok(Self {
                gtid,
                is_standalone: flags & STANDALONE != 0,
                is_prepared: flags & PREPARED != 0,
                committed_us: None,
            });
        }
        let _flags = bytes.u8()?;
        let source: Source = bytes.take(16)?.try_into().map_err(|_other_length| bytes.malformed())?;
        let gtid = Gtid::MySql { source, number: bytes.u64()? };
        // Behind it: the kind of a logical clock, two numbers of it, and the moment of the commit in seven bytes.
        let committed = bytes.take(17).and_then(|_clock| bytes.number(7)).ok();
        let committed_us = committed.and_then(|moment| i64::try_from(moment & (HAS_FIRST - 1)).ok()).filter(|moment| *moment > 0);
        Ok(Self { gtid, is_standalone: false, is_prepared: false, committed_us })
    }
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// The database that unqualified names are in.
    pub(super) database: Cow<'a, str>,
    /// Its text; what is no UTF-8 is replaced, because names are all that matters.
    pub(super) text: Cow<'a, str>,
}

impl<'a> Query<'a> {
    /// Reads the statement of an event.
    ///
    /// # Errors
    /// It has not the form of one.
    pub(super) fn read(event: &'a Event) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(&event.body, "an event with a statement");
        let _thread_and_time = bytes.take(8)?;
        let database = usize::from(bytes.u8()?);
        let _error = bytes.u16()?;
        let variables = usize::from(bytes.u16()?);
        if event.kind == kind::LOAD_QUERY {
            let _file = bytes.take(13)?;
        }
        let _variables = bytes.take(variables)?;
        let database = String::from_utf8_lossy(bytes.take(database)?);
        let _end = bytes.u8()?;
        let text = match event.kind {
            kind::QUERY_COMPRESSED => Cow::Owned(String::from_utf8_lossy(&inflate(bytes.rest())?).into_owned()),
            _ => String::from_utf8_lossy(bytes.rest()),
        };
        Ok(Self { database, text })
    }
}

/// Where a transaction is prepared; `true` when it is committed by that at once.
///
/// # Errors
/// It has not the form of such an event.
pub(super) fn prepared(body: &[u8]) -> Result<(Xid, bool), Malformed> {
    let mut bytes = Bytes::new(body, "an event that prepares a transaction");
    let (one_phase, format, global, branch) = (bytes.u8()?, bytes.u32()?, bytes.u32()?, bytes.u32()?);
    let length = |length: u32| usize::try_from(length).map_err(|_too_long| Malformed("an event that prepares a transaction"));
    let global = bytes.take(length(global)?)?.to_vec();
    let branch = bytes.take(length(branch)?)?.to_vec();
    Ok((Xid { format, global, branch }, one_phase != 0))
}

/// The file that the next events are in, and where they begin.
///
/// # Errors
/// It has not the form of such an event.
pub(super) fn rotated(body: &[u8]) -> Result<(String, u64), Malformed> {
    let mut bytes = Bytes::new(body, "an event that names a file");
    let begin = bytes.u64()?;
    Ok((String::from_utf8_lossy(bytes.rest()).into_owned(), begin))
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// Bytes of hex digits.
    pub(in super::super) fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// An event of server 1.
    pub(in super::super) fn event(kind: u8, body: Vec<u8>) -> Event {
        Event { kind, seconds: 1_700_000_000, server: 1, flags: 0, end: 100, body }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{event, hex};
    use super::*;

    // All bytes here were written by a MariaDB 10.11.

    fn begin(body: &str) -> Begin {
        Begin::read(&event(kind::MARIA_GTID, hex(body))).unwrap()
    }

    #[test]
    fn groups_begin() {
        let plain = begin("0300000000000000 00000000 0c 000000000000");
        assert_eq!((plain.gtid.to_string().as_str(), plain.is_standalone, plain.is_prepared), ("0-1-3", false, false));
        let ddl = begin("0100000000000000 05000000 29 000000000000");
        assert_eq!((ddl.gtid.to_string().as_str(), ddl.is_standalone), ("5-1-1", true));
        assert!(begin("0800000000000000 00000000 4c 01000000 01 01 7862 01ff").is_prepared);
        assert!(Begin::read(&event(kind::MARIA_GTID, hex("03000000"))).is_err());
        let of_mysql =
            format!("00{}0700000000000000 02{}{}", "11".repeat(16), "00".repeat(16), "00e40b5402000000".get(..14).unwrap());
        let of_mysql = Begin::read(&event(kind::GTID, hex(&of_mysql))).unwrap();
        assert_eq!(of_mysql.gtid.to_string(), "11111111-1111-1111-1111-111111111111:7");
        assert_eq!(of_mysql.committed_us, Some(10_000_000_000));
    }

    #[test]
    fn statements_are_read_plain_and_compressed() {
        let plain =
            "0a00000000000000 01 0000 1a00 000000000101000020540000000006037374640421002100080064 00 53415645504f494e5420606160";
        let query = event(kind::QUERY, hex(plain));
        let query = Query::read(&query).unwrap();
        assert_eq!((query.database.as_ref(), query.text.as_ref()), ("d", "SAVEPOINT `a`"));
        let packed = "0a00000000000000 01 0000 1a00 0000000001010000205400000000060373746404210021000800 6400\
                      810a789c2b292acd4b4e2c4955280100172803fb";
        let query = event(kind::QUERY_COMPRESSED, hex(packed));
        assert_eq!(Query::read(&query).unwrap().text, "truncate t");
        assert!(Query::read(&event(kind::QUERY, hex("0a000000"))).is_err());
    }

    #[test]
    fn prepared_transactions_are_named() {
        let (xid, one_phase) = prepared(&hex("00 01000000 01000000 01000000 7862")).unwrap();
        assert_eq!(
            (xid.format, xid.global.as_slice(), xid.branch.as_slice(), one_phase),
            (1, b"x".as_slice(), b"b".as_slice(), false)
        );
        assert!(prepared(&hex("01 01000000 01000000 00000000 72")).unwrap().1);
        assert!(prepared(&hex("00 01000000 ff000000 01000000 7862")).is_err());
        let other = Xid { format: 1, global: b"xb".to_vec(), branch: Vec::new() };
        assert_ne!(xid.hash(), other.hash());
        assert_eq!(xid.hash(), xid.clone().hash());
    }

    #[test]
    fn rows_are_taken_apart() {
        let inserted = hex("120000000000 0100 22 ffffffff03 feffff7ffe0a0000000b0000000c000000");
        let kind = event(23, Vec::new()).rows_kind().unwrap();
        let rows = RowsEvent::read(kind, &inserted).unwrap();
        assert_eq!((rows.width, rows.first.len(), rows.second.len()), (34, 5, 0));
        assert_eq!(RowsEvent::table(&inserted), Ok(18));
        assert!(RowsEvent::read(kind, &inserted[..10]).is_err());
        let second = event(31, Vec::new()).rows_kind().unwrap();
        let rows = hex("120000000000 0100 0300ff 01 01 01 fe05000000fe06000000");
        let rows = RowsEvent::read(second, &rows).unwrap();
        assert_eq!((rows.width, rows.images.len()), (1, 10));
        assert!(RowsEvent::read(second, &hex("120000000000 0100 0100")).is_err());
    }

    #[test]
    fn what_is_not_known_is_passed_over_only_when_it_says_so() {
        assert!(event(160, Vec::new()).is_without_meaning() && !event(173, Vec::new()).is_without_meaning());
        let ignorable = Event { flags: 0x80, ..event(173, Vec::new()) };
        assert!(ignorable.is_without_meaning());
        assert!(!Event { flags: 0x80, ..event(23, Vec::new()) }.is_without_meaning());
    }
}
