//! Places in the binlog: sets of global transaction ids, as positions, as what a feed goes on from, and as servers write them.
//!
//! MariaDB numbers the transactions of each domain, so that a place is the last one of each; MySQL gives every one a number of the
//! server that wrote it, so that a place is a set. Files and offsets are no places: another server has others. A position names the
//! history that its place is of ([`super::histories`]): places of two histories do not compare.

use std::collections::BTreeMap;
use std::fmt;

use super::super::super::change::{RESUME_BYTES_MAX, Resume};
use super::super::super::connector::StoreName;
use super::super::super::position::{Coverage, Position};
use super::super::super::schema::TableId;
use super::bytes::{Bytes, Malformed};
use super::histories;

/// The name of a server in ids of MySQL.
pub(super) type Source = [u8; 16];

/// The last transaction of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// The number of the server that wrote it.
    pub(super) server: u32,
    /// Its number in the domain.
    pub(super) seq: u64,
}

/// The id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gtid {
    /// MariaDB's.
    Maria {
        /// The domain.
        domain: u32,
        /// Which transaction of it.
        last: Last,
    },
    /// MySQL's.
    MySql {
        /// The server that wrote it.
        source: Source,
        /// Which transaction of that server.
        number: u64,
    },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maria { domain, last } => write!(f, "{domain}-{}-{}", last.server, last.seq),
            Self::MySql { source, number } => write!(f, "{}:{number}", uuid(source)),
        }
    }
}

/// Everything up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gtids {
    /// The last of each domain.
    Maria(BTreeMap<u32, Last>),
    /// Numbers of each server: disjoint ranges without their ends, in order, none of which touch.
    MySql(BTreeMap<Source, Vec<(u64, u64)>>),
}

/// How long the name of a server is in an id as MySQL writes it.
const NAME_BYTES: usize = 36;
/// Marks the encoding of MariaDB's places.
const MARIA: u8 = 1;
/// Marks the encoding of MySQL's.
const MYSQL: u8 = 2;
/// Marks a place of a history.
const PLACED: u8 = 3;

impl Gtids {
    /// Whether the transaction is part of it. Of a domain all up to the last one are.
    pub(super) fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (Self::Maria(lasts), Gtid::Maria { domain, last }) => lasts.get(domain).is_some_and(|known| known.seq >= last.seq),
            (Self::MySql(sets), Gtid::MySql { source, number }) => {
                sets.get(source).is_some_and(|ranges| ranges.iter().any(|(start, end)| (*start..*end).contains(number)))
            }
            _ => false,
        }
    }

    /// Adds a transaction.
    pub(super) fn add(&mut self, gtid: &Gtid) {
        match (self, gtid) {
            (Self::Maria(lasts), Gtid::Maria { domain, last }) => {
                lasts.insert(*domain, *last);
            }
            (Self::MySql(sets), Gtid::MySql { source, number }) => {
                add_range(sets.entry(*source).or_default(), (*number, number.saturating_add(1)));
            }
            _ => {}
        }
    }

    /// What stands in front of a transaction of a domain: its last one, if there is any.
    pub(super) fn last_of(&self, gtid: &Gtid) -> Option<Last> {
        match (self, gtid) {
            (Self::Maria(lasts), Gtid::Maria { domain, .. }) => lasts.get(domain).copied(),
            _ => None,
        }
    }

    /// The same without some transactions, so that they are read again: `before` is what stood in front of each.
    pub(super) fn without<'g>(&self, held: impl Iterator<Item = (&'g Gtid, Option<Last>)>) -> Self {
        let mut less = self.clone();
        for (gtid, before) in held {
            match (&mut less, gtid) {
                (Self::Maria(lasts), Gtid::Maria { domain, .. }) => match (lasts.get(domain).copied(), before) {
                    (Some(known), Some(before)) if before.seq < known.seq => {
                        lasts.insert(*domain, before);
                    }
                    (Some(_), None) => {
                        lasts.remove(domain);
                    }
                    _ => {}
                },
                (Self::MySql(sets), Gtid::MySql { source, number }) => {
                    let left = sets.get(source).map(|ranges| cut(ranges, *number)).unwrap_or_default();
                    match left.is_empty() {
                        true => sets.remove(source),
                        false => sets.insert(*source, left),
                    };
                }
                _ => {}
            }
        }
        less
    }

    /// Whether everything of `wanted` is part of it.
    pub(super) fn covers(&self, wanted: &Self) -> Coverage {
        let is_covered = match (self, wanted) {
            (Self::Maria(applied), Self::Maria(wanted)) => {
                wanted.iter().all(|(domain, last)| applied.get(domain).is_some_and(|known| known.seq >= last.seq))
            }
            (Self::MySql(applied), Self::MySql(wanted)) => wanted.iter().all(|(source, ranges)| {
                let known = applied.get(source).map(Vec::as_slice).unwrap_or_default();
                ranges.iter().all(|(start, end)| known.iter().any(|(from, to)| from <= start && end <= to))
            }),
            _ => return Coverage::Incomparable,
        };
        if is_covered { Coverage::Covered } else { Coverage::Behind }
    }

    /// As it is kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut token = Vec::new();
        match self {
            Self::Maria(lasts) => {
                token.push(MARIA);
                for (domain, last) in lasts {
                    token.extend_from_slice(&domain.to_le_bytes());
                    token.extend_from_slice(&last.server.to_le_bytes());
                    token.extend_from_slice(&last.seq.to_le_bytes());
                }
            }
            Self::MySql(sets) => {
                token.push(MYSQL);
                for (source, ranges) in sets {
                    token.extend_from_slice(source);
                    token.extend_from_slice(&u32::try_from(ranges.len()).unwrap_or(u32::MAX).to_le_bytes());
                    for (start, end) in ranges {
                        token.extend_from_slice(&start.to_le_bytes());
                        token.extend_from_slice(&end.to_le_bytes());
                    }
                }
            }
        }
        token
    }

    /// The place that was kept.
    ///
    /// # Errors
    /// It is no position of ours.
    pub(super) fn decode(token: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(token, "a position");
        match bytes.u8()? {
            MARIA => {
                let mut lasts = BTreeMap::new();
                while !bytes.is_empty() {
                    lasts.insert(bytes.u32()?, Last { server: bytes.u32()?, seq: bytes.u64()? });
                }
                Ok(Self::Maria(lasts))
            }
            MYSQL => {
                let mut sets = BTreeMap::new();
                while !bytes.is_empty() {
                    let source: Source = bytes.take(16)?.try_into().map_err(|_other_length| bytes.malformed())?;
                    let count = bytes.u32()?;
                    let ranges = (0..count).map(|_| Ok((bytes.u64()?, bytes.u64()?))).collect::<Result<Vec<_>, Malformed>>()?;
                    sets.insert(source, ranges);
                }
                Ok(Self::MySql(sets))
            }
            _ => Err(bytes.malformed()),
        }
    }

    /// What MariaDB writes: `0-1-270,5-1-1`. Empty where nothing has happened.
    pub(super) fn of_mariadb(text: &str) -> Option<Self> {
        let mut lasts = BTreeMap::new();
        for (domain, last) in entries(text)? {
            lasts.insert(domain, last);
        }
        Some(Self::Maria(lasts))
    }

    /// What MySQL writes: `uuid:1-5:7,uuid:1-3`, with line ends.
    pub(super) fn of_mysql(text: &str) -> Option<Self> {
        let mut sets: BTreeMap<Source, Vec<(u64, u64)>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, ranges) = part.split_once(':')?;
            let known = sets.entry(source(name)?).or_default();
            for range in ranges.split(':') {
                let (start, end) = range.split_once('-').unwrap_or((range, range));
                let (start, end) = (start.trim().parse::<u64>().ok()?, end.trim().parse::<u64>().ok()?);
                add_range(known, (start, end.checked_add(1)?));
            }
        }
        Some(Self::MySql(sets))
    }

    /// The same with ids that somebody owns, as MySQL writes them: `uuid:9#12:10#13`, with or without a comma in front of the next server.
    pub(super) fn with_owned(mut self, text: &str) -> Option<Self> {
        let Self::MySql(sets) = &mut self else { return None };
        let mut parts = text.trim().split(':');
        let mut name = parts.next().unwrap_or_default();
        for part in parts {
            let (number, owner) = part.split_once('#')?;
            let number = number.parse::<u64>().ok()?;
            add_range(sets.entry(source(name)?).or_default(), (number, number.checked_add(1)?));
            // The number of a thread, and the name behind it where another server comes.
            let (thread, next) =
                owner.len().checked_sub(NAME_BYTES).and_then(|at| owner.split_at_checked(at)).unwrap_or((owner, name));
            thread.trim_end_matches([',', '\n', ' ']).parse::<u64>().ok()?;
            name = next;
        }
        Some(self)
    }

    /// How MariaDB wants to be told where to begin.
    pub(super) fn to_mariadb(&self) -> Option<String> {
        let Self::Maria(lasts) = self else { return None };
        Some(lasts.iter().map(|(domain, last)| format!("{domain}-{}-{}", last.server, last.seq)).collect::<Vec<_>>().join(","))
    }

    /// Whether a place in the files of a server is this one, when `found` is what stands in front of it there: domains may have been
    /// deleted since, nothing else is missing.
    pub(super) fn is_at(&self, found: &Self) -> bool {
        let (Self::Maria(lasts), Self::Maria(found)) = (self, found) else { return false };
        found.iter().all(|(domain, last)| lasts.get(domain) == Some(last)) && (lasts.is_empty() || !found.is_empty())
    }

    /// Whether a server with this state has all of it: MariaDB's last number of each server in each domain.
    pub(super) fn is_within(&self, state: &str) -> bool {
        let (Self::Maria(lasts), Some(state)) = (self, entries(state)) else { return false };
        let has = |(domain, last): (&u32, &Last)| {
            state.iter().any(|(of, known)| of == domain && known.server == last.server && known.seq >= last.seq)
        };
        lasts.iter().all(has)
    }
}

/// The entries of a list of MariaDB; a domain may be there for several servers.
fn entries(text: &str) -> Option<Vec<(u32, Last)>> {
    let read = |part: &str| {
        let mut numbers = part.split('-');
        let (domain, server) = (numbers.next()?.parse::<u32>().ok()?, numbers.next()?.parse::<u32>().ok()?);
        let seq = numbers.next()?.parse::<u64>().ok()?;
        numbers.next().is_none().then_some((domain, Last { server, seq }))
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(read).collect()
}

fn source(text: &str) -> Option<Source> {
    let digits: String = text.trim().chars().filter(|character| *character != '-').collect();
    let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten()?;
    Some(number.to_be_bytes())
}

fn uuid(source: &Source) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*source));
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// Adds a range to ranges in order, and joins those that touch.
fn add_range(ranges: &mut Vec<(u64, u64)>, added: (u64, u64)) {
    // Nearly always the next number of the last range.
    match ranges.last_mut() {
        Some(last) if last.1 == added.0 => {
            last.1 = added.1;
            return;
        }
        _ => ranges.push(added),
    }
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges.drain(..) {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    *ranges = joined;
}

/// Ranges without one number.
fn cut(ranges: &[(u64, u64)], number: u64) -> Vec<(u64, u64)> {
    let around = |(start, end): &(u64, u64)| match (*start..*end).contains(&number) {
        true => [(*start, number), (number + 1, *end)],
        false => [(*start, *end), (0, 0)],
    };
    ranges.iter().flat_map(around).filter(|(start, end)| start < end).collect()
}

/// A place of a history as others keep it.
pub(super) fn position(store: &StoreName, history: u64, place: &Gtids) -> Position {
    let mut token = vec![PLACED];
    token.extend_from_slice(&history.to_le_bytes());
    token.extend(place.encode());
    Position { store: store.clone(), token }
}

/// The history and the place that a position keeps; no history of one from before positions had any.
///
/// # Errors
/// It is no position of ours.
fn placed(token: &[u8]) -> Result<(Option<u64>, Gtids), Malformed> {
    let mut bytes = Bytes::new(token, "a position");
    match bytes.u8()? {
        PLACED => {
            let history = bytes.u64()?;
            Ok((Some(history), Gtids::decode(bytes.rest())?))
        }
        _ => Ok((None, Gtids::decode(token)?)),
    }
}

/// The place that a position keeps.
///
/// # Errors
/// It is no position of ours.
pub(super) fn place_of(position: &Position) -> Result<Gtids, Malformed> {
    placed(&position.token).map(|(_, place)| place)
}

/// Whether everything up to `wanted` is part of `applied`.
pub(in super::super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    let (Ok((of, known)), Ok((other, asked))) = (placed(&applied.token), placed(&wanted.token)) else {
        return Coverage::Incomparable;
    };
    match (of, other) {
        _ if applied.store != wanted.store => Coverage::Incomparable,
        (Some(of), Some(other)) if of == other => known.covers(&asked),
        // It is older than what names a history.
        (None, Some(_)) => Coverage::Behind,
        _ => Coverage::Incomparable,
    }
}

/// What a feed goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The server that it is about.
    pub(super) identity: String,
    /// The history that it is in.
    pub(super) history: u64,
    /// Everything up to here was given.
    pub(super) applied: Gtids,
    /// From here it is read again: in front of the prepared transactions that were open.
    pub(super) from: Gtids,
    /// Hashes of prepared transactions that have ended lately.
    pub(super) ended: Vec<u64>,
    /// Tables whose rows are not given until they are loaded again.
    pub(super) stopped: Stopped,
    /// Where `applied` ends in the files of the server, where that is known.
    pub(super) mark: Option<Mark>,
}

/// A place in the files of a server. Reading never begins at one: it only tells whether the server is the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The file.
    pub(super) file: String,
    /// Where in it.
    pub(super) offset: u64,
}

/// Tables that stand still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// These.
    Some(Vec<TableId>),
    /// So many that they were not kept: perhaps all.
    All,
}

/// The first byte of what is kept, so that another form can follow.
const FORM: u8 = 3;
/// The same when histories had no numbers.
const FORM_BEFORE: u8 = 2;
/// The most tables that are kept by name.
const STOPPED_MAX: usize = 100;

impl Checkpoint {
    /// As it is kept; `None` when it is too long for that.
    pub(super) fn encode(&self) -> Option<Resume> {
        let mut kept = vec![FORM];
        let mut put = |part: &[u8]| {
            kept.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            kept.extend_from_slice(part);
        };
        put(self.identity.as_bytes());
        put(&self.history.to_le_bytes());
        put(&self.applied.encode());
        put(&self.from.encode());
        put(&self.ended.iter().flat_map(|hash| hash.to_le_bytes()).collect::<Vec<u8>>());
        match &self.mark {
            Some(mark) => put(&[mark.offset.to_le_bytes().as_slice(), mark.file.as_bytes()].concat()),
            None => put(b""),
        }
        match &self.stopped {
            Stopped::Some(tables) if tables.len() <= STOPPED_MAX => {
                for table in tables {
                    put(table.namespace.as_bytes());
                    put(table.name.as_bytes());
                }
            }
            // A name alone, which no table has.
            Stopped::Some(_) | Stopped::All => put(b""),
        }
        (kept.len() <= RESUME_BYTES_MAX).then_some(Resume(kept))
    }

    /// What was kept.
    ///
    /// # Errors
    /// It is nothing of ours.
    pub(super) fn decode(resume: &Resume) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(&resume.0, "a kept place");
        let form = bytes.u8()?;
        if ![FORM, FORM_BEFORE].contains(&form) {
            return Err(bytes.malformed());
        }
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).map_err(|_no_text| Malformed("a kept place"));
        let identity = text(bytes.prefixed(4)?)?;
        let history = if form == FORM {
            let history = bytes.prefixed(4)?;
            u64::from_le_bytes(history.try_into().map_err(|_other_length| bytes.malformed())?)
        } else {
            histories::first_of(&identity)
        };
        let applied = Gtids::decode(bytes.prefixed(4)?)?;
        let from = Gtids::decode(bytes.prefixed(4)?)?;
        let (hashes, rest) = bytes.prefixed(4)?.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(bytes.malformed());
        }
        let ended = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        let mark = match bytes.prefixed(4)? {
            [] => None,
            mark => {
                let mut mark = Bytes::new(mark, "a kept place");
                Some(Mark { offset: mark.u64()?, file: text(mark.rest())? })
            }
        };
        let mut tables = Vec::new();
        while !bytes.is_empty() {
            let namespace = text(bytes.prefixed(4)?)?;
            if namespace.is_empty() && bytes.is_empty() {
                return Ok(Self { identity, history, applied, from, ended, stopped: Stopped::All, mark });
            }
            tables.push(TableId { namespace, name: text(bytes.prefixed(4)?)? });
        }
        Ok(Self { identity, history, applied, from, ended, stopped: Stopped::Some(tables), mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maria(text: &str) -> Gtids {
        Gtids::of_mariadb(text).unwrap()
    }

    fn mysql(text: &str) -> Gtids {
        Gtids::of_mysql(text).unwrap()
    }

    fn of(domain: u32, server: u32, seq: u64) -> Gtid {
        Gtid::Maria { domain, last: Last { server, seq } }
    }

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn places_are_compared_by_domain_and_by_set_and_not_as_texts() {
        let b = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        let rows = [
            (maria("0-1-10,5-1-1"), maria("0-1-9"), Coverage::Covered),
            (maria("0-1-9"), maria("0-1-10"), Coverage::Behind),
            (maria("0-2-10"), maria("0-1-10"), Coverage::Covered),
            (maria("0-1-10"), maria("5-1-1"), Coverage::Behind),
            (maria("0-1-10"), maria(""), Coverage::Covered),
            (mysql(&format!("{A}:1-10")), mysql(&format!("{A}:2-9")), Coverage::Covered),
            (mysql(&format!("{A}:1-5:7-10")), mysql(&format!("{A}:6")), Coverage::Behind),
            (mysql(&format!("{A}:1-10")), mysql(&format!("{A}:1-10,\n{b}:1")), Coverage::Behind),
            (mysql(&format!("{A}:1-10")), maria("0-1-1"), Coverage::Incomparable),
        ];
        let position = |gtids: &Gtids| super::position(&StoreName::new("s"), 7, gtids);
        for (applied, wanted, expected) in rows {
            assert_eq!(applied.covers(&wanted), expected, "{applied:?} {wanted:?}");
            assert_eq!(covers(&position(&applied), &position(&wanted)), expected);
            assert_eq!(Gtids::decode(&applied.encode()), Ok(applied));
        }
        let other = super::position(&StoreName::new("other"), 7, &maria("0-1-1"));
        assert_eq!(covers(&position(&maria("0-1-1")), &other), Coverage::Incomparable);
        assert_eq!(covers(&Position { token: vec![9], ..other.clone() }, &other), Coverage::Incomparable);
    }

    #[test]
    fn places_of_two_histories_are_not_compared() {
        let store = StoreName::new("s");
        for place in [maria("0-1-10"), mysql(&format!("{A}:1-10"))] {
            let at = |history: u64| super::position(&store, history, &place);
            assert_eq!(covers(&at(7), &at(7)), Coverage::Covered);
            assert_eq!(covers(&at(7), &at(8)), Coverage::Incomparable, "the same ids, written by another history");
            assert_eq!(place_of(&at(8)), Ok(place.clone()));
            // What was kept when positions had no histories.
            let old = Position { store: store.clone(), token: place.encode() };
            assert_eq!((covers(&old, &at(7)), covers(&at(7), &old)), (Coverage::Behind, Coverage::Incomparable));
            assert_eq!(place_of(&old), Ok(place));
        }
    }

    #[test]
    fn a_checkpoint_of_before_is_of_the_first_history() {
        let mut kept = vec![FORM_BEFORE];
        for part in [b"mariadb-1".to_vec(), maria("0-1-4").encode(), maria("0-1-3").encode(), Vec::new(), Vec::new()] {
            kept.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
            kept.extend_from_slice(&part);
        }
        let read = Checkpoint::decode(&Resume(kept)).unwrap();
        assert_eq!((read.history, read.applied), (histories::first_of("mariadb-1"), maria("0-1-4")));
    }

    #[test]
    fn texts_of_servers_are_read() {
        assert_eq!(maria("5-1-1, 0-1-40").to_mariadb().as_deref(), Some("0-1-40,5-1-1"));
        assert_eq!(mysql(&format!("{A}:1-3:4-5:9")), mysql(&format!("{A}:9:1-5")));
        for text in ["0-1", "0-1-1-1", "x", "0-1-18446744073709551616"] {
            assert_eq!(Gtids::of_mariadb(text), None, "{text}");
        }
        // Ids with tags are of newer servers, and mean something else.
        assert_eq!(Gtids::of_mysql(&format!("{A}:tag:1-3")), None);
        let reached = maria("0-1-40,5-1-1");
        assert!(reached.is_at(&maria("5-1-1,0-1-40")) && reached.is_at(&maria("0-1-40")) && maria("").is_at(&maria("")));
        for other in ["0-1-39,5-1-1", "0-2-40", "0-1-40,6-1-1", ""] {
            assert!(!reached.is_at(&maria(other)), "{other}");
        }
        let state = "0-1-40,0-2-7,5-1-1";
        assert!(maria("0-2-7,5-1-1").is_within(state) && maria("").is_within(state));
        assert!(!maria("0-2-8").is_within(state) && !maria("1-1-1").is_within(state) && !maria("0-3-1").is_within(state));
    }

    #[test]
    fn transactions_are_added_and_left_out() {
        let mut gtids = maria("0-1-10");
        let prepared = of(0, 1, 11);
        let before = gtids.last_of(&prepared);
        gtids.add(&prepared);
        gtids.add(&of(0, 2, 12));
        gtids.add(&of(7, 1, 1));
        assert!(gtids.contains(&of(0, 1, 3)) && gtids.contains(&of(7, 1, 1)) && !gtids.contains(&of(0, 2, 13)));
        assert_eq!(gtids.without([(&prepared, before)].into_iter()).to_mariadb().as_deref(), Some("0-1-10,7-1-1"));
        assert_eq!(gtids.without([(&of(7, 1, 1), None)].into_iter()).to_mariadb().as_deref(), Some("0-2-12"));
        let mut gtids = mysql(&format!("{A}:1-10"));
        let id = |number| Gtid::MySql { source: source(A).unwrap(), number };
        gtids.add(&id(11));
        gtids.add(&id(13));
        assert_eq!(gtids, mysql(&format!("{A}:1-11:13")));
        assert_eq!(gtids.without([(&id(5), None)].into_iter()), mysql(&format!("{A}:1-4:6-11:13")));
        assert!(gtids.contains(&id(11)) && !gtids.contains(&id(12)));
        assert_eq!(id(3).to_string(), format!("{A}:3"));
        assert_eq!(of(0, 1, 3).to_string(), "0-1-3");
    }

    #[test]
    fn ids_that_are_owned_are_added() {
        let executed = mysql(&format!("{A}:1-7"));
        let with = |owned: &str| executed.clone().with_owned(owned);
        assert_eq!(with(""), Some(executed.clone()));
        assert_eq!(with(&format!("{A}:8#12:10#7")), Some(mysql(&format!("{A}:1-8:10"))));
        let other = A.replace("3e11", "0e11");
        for between in ["", ",", ",\n"] {
            let owned = format!("{A}:8#12{between}{other}:3#4:4#91");
            assert_eq!(with(&owned), Some(mysql(&format!("{A}:1-8,{other}:3-4"))), "{between:?}");
        }
        for broken in [format!("{A}:tag:8#12"), format!("{A}:8"), format!("{A}:8#x"), "x:8#1".to_owned(), ":8#1".to_owned()] {
            assert_eq!(with(&broken), None, "{broken}");
        }
        assert_eq!(maria("0-1-1").with_owned(""), None);
    }

    #[test]
    fn checkpoints_are_kept_whole_or_not_at_all() {
        let table = |name: &str| TableId { namespace: "d".to_owned(), name: name.to_owned() };
        let mut checkpoint = Checkpoint {
            identity: "mariadb-1".to_owned(),
            history: u64::MAX - 1,
            applied: maria("0-1-40,5-1-1"),
            from: maria("0-1-38"),
            ended: vec![1, u64::MAX],
            stopped: Stopped::Some(vec![table("a"), table("b")]),
            mark: Some(Mark { file: "binlog.000007".to_owned(), offset: 5_019 }),
        };
        let kept = checkpoint.encode().unwrap();
        assert_eq!(Checkpoint::decode(&kept), Ok(checkpoint.clone()));
        checkpoint.mark = None;
        assert_eq!(Checkpoint::decode(&checkpoint.encode().unwrap()), Ok(checkpoint.clone()));
        for end in 0..kept.0.len() {
            // A table less is all that a cut may look like.
            if let Ok(cut) = Checkpoint::decode(&Resume(kept.0[..end].to_vec())) {
                assert_ne!(cut.stopped, checkpoint.stopped);
            }
        }
        checkpoint.stopped = Stopped::Some((0..=STOPPED_MAX).map(|number| table(&number.to_string())).collect());
        assert_eq!(Checkpoint::decode(&checkpoint.encode().unwrap()).unwrap().stopped, Stopped::All);
        checkpoint.ended = vec![0; RESUME_BYTES_MAX];
        assert_eq!(checkpoint.encode(), None);
    }
}
