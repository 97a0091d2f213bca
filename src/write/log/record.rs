//! Records of the log as bytes, and what remains open after a row of them.
//!
//! A record is its kind, the length of what follows, and its fields in their order: numbers little-endian, texts and lists with their
//! length before them. The form is the same in a file and in a row of a table, and does not change: a later version adds kinds, which
//! an earlier one refuses to read past.

use std::collections::BTreeMap;
use std::fmt;

use super::{Fate, Left, LoggedStep, Named, Record, SagaLeft};
use crate::stores::StoreName;
use crate::stores::commit::{BranchId, Gid, Hint, LogId};

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A kind that this version does not know.
    Kind(u8),
    /// They end too early, or hold something else than their kind says.
    Content,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "it holds a record of the kind {kind}, which this version does not know"),
            Self::Content => f.write_str("a record in it is not what its kind says"),
        }
    }
}

/// The record as bytes.
pub fn to_bytes(record: &Record) -> Vec<u8> {
    let mut bytes = vec![kind(record), 0, 0, 0, 0];
    put_gid(&mut bytes, record.gid());
    match record {
        Record::Begin { last, hint, branches, .. } => {
            put_bytes(&mut bytes, last.as_str().as_bytes());
            put_bytes(&mut bytes, &hint.0);
            put_branches(&mut bytes, branches);
        }
        Record::Commit { branches, .. } => put_branches(&mut bytes, branches),
        Record::Abort { .. } | Record::Done { .. } => {}
        Record::Saga { role, steps, .. } => {
            put_bytes(&mut bytes, role.as_bytes());
            put_length(&mut bytes, steps.len());
            for step in steps {
                put_bytes(&mut bytes, step.store.as_str().as_bytes());
                put_length(&mut bytes, step.undo.len());
                step.undo.iter().for_each(|sql| put_bytes(&mut bytes, sql.as_bytes()));
                put_bytes(&mut bytes, &step.hint.0);
            }
        }
        Record::Stepped { step, .. } | Record::Undone { step, .. } => bytes.extend(step.to_le_bytes()),
        Record::Stuck { step, reason, .. } => {
            bytes.extend(step.to_le_bytes());
            put_bytes(&mut bytes, reason.as_bytes());
        }
    }
    let length = length_of(bytes.len().saturating_sub(5)).to_le_bytes();
    if let Some(place) = bytes.get_mut(1..5) {
        place.copy_from_slice(&length);
    }
    bytes
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Begin { .. } => 1,
        Record::Commit { .. } => 2,
        Record::Abort { .. } => 3,
        Record::Done { .. } => 4,
        Record::Saga { .. } => 5,
        Record::Stepped { .. } => 6,
        Record::Undone { .. } => 7,
        Record::Stuck { .. } => 8,
    }
}

/// What is longer is refused before it is written ([`RECORD_BYTES_MAX`]).
fn length_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn put_length(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(length_of(count).to_le_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, content: &[u8]) {
    put_length(bytes, content.len());
    bytes.extend(content);
}

fn put_gid(bytes: &mut Vec<u8>, gid: Gid) {
    bytes.extend(gid.log.0.to_le_bytes());
    bytes.extend(gid.number.to_le_bytes());
}

fn put_branches(bytes: &mut Vec<u8>, branches: &[Named]) {
    put_length(bytes, branches.len());
    for Named { store, id } in branches {
        put_bytes(bytes, store.as_str().as_bytes());
        put_gid(bytes, Gid { log: id.log, number: id.number });
        bytes.extend(id.branch.to_le_bytes());
    }
}

/// Takes the record at the beginning of `bytes`, and leaves what follows it.
///
/// # Errors
/// What the bytes are instead; how many were taken is not said then.
pub fn take(bytes: &mut &[u8]) -> Result<Record, Fault> {
    let [kind] = array::<1>(bytes)?;
    let length = length(bytes)?;
    if length > RECORD_BYTES_MAX {
        return Err(Fault::Content);
    }
    let mut body = split(bytes, length)?;
    let record = fields(kind, &mut body)?;
    if body.is_empty() { Ok(record) } else { Err(Fault::Content) }
}

/// Every record of `bytes`.
///
/// # Errors
/// As [`take`].
pub fn take_all(mut bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        records.push(take(&mut bytes)?);
    }
    Ok(records)
}

fn fields(kind: u8, body: &mut &[u8]) -> Result<Record, Fault> {
    if !(1..=8).contains(&kind) {
        return Err(Fault::Kind(kind));
    }
    let gid = gid(body)?;
    Ok(match kind {
        1 => Record::Begin { gid, last: store(body)?, hint: hint(body)?, branches: list(body, branch)? },
        2 => Record::Commit { gid, branches: list(body, branch)? },
        3 => Record::Abort { gid },
        4 => Record::Done { gid },
        5 => Record::Saga { gid, role: text(body)?, steps: list(body, step)? },
        6 => Record::Stepped { gid, step: number(body)? },
        7 => Record::Undone { gid, step: number(body)? },
        8 => Record::Stuck { gid, step: number(body)?, reason: text(body)? },
        other => return Err(Fault::Kind(other)),
    })
}

fn split<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Fault::Content)?;
    *bytes = rest;
    Ok(taken)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(Fault::Content)?;
    *bytes = rest;
    Ok(*taken)
}

fn length(bytes: &mut &[u8]) -> Result<usize, Fault> {
    usize::try_from(u32::from_le_bytes(array(bytes)?)).ok().ok_or(Fault::Content)
}

fn number(bytes: &mut &[u8]) -> Result<u16, Fault> {
    Ok(u16::from_le_bytes(array(bytes)?))
}

fn gid(bytes: &mut &[u8]) -> Result<Gid, Fault> {
    Ok(Gid { log: LogId(u64::from_le_bytes(array(bytes)?)), number: u64::from_le_bytes(array(bytes)?) })
}

fn text(bytes: &mut &[u8]) -> Result<String, Fault> {
    let length = length(bytes)?;
    let text = std::str::from_utf8(split(bytes, length)?).ok().ok_or(Fault::Content)?;
    Ok(text.to_owned())
}

fn store(bytes: &mut &[u8]) -> Result<StoreName, Fault> {
    Ok(StoreName::new(&text(bytes)?))
}

fn hint(bytes: &mut &[u8]) -> Result<Hint, Fault> {
    let length = length(bytes)?;
    Ok(Hint(split(bytes, length)?.to_vec()))
}

fn branch(bytes: &mut &[u8]) -> Result<Named, Fault> {
    let (store, gid) = (store(bytes)?, gid(bytes)?);
    let id = BranchId { log: gid.log, number: gid.number, branch: u64::from_le_bytes(array(bytes)?) };
    Ok(Named { store, id })
}

fn step(bytes: &mut &[u8]) -> Result<LoggedStep, Fault> {
    Ok(LoggedStep { store: store(bytes)?, undo: list(bytes, text)?, hint: hint(bytes)? })
}

/// Memory is taken for what has come, not for what is announced.
fn list<T>(bytes: &mut &[u8], item: impl Fn(&mut &[u8]) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    let count = length(bytes)?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(bytes)?);
    }
    Ok(items)
}

/// The transactions that have begun and not ended, after a row of records.
#[derive(Debug, Clone, Default)]
pub struct Unfinished {
    left: BTreeMap<Gid, Left>,
    /// About how many bytes they are in the log.
    bytes: usize,
}

impl Unfinished {
    /// What is open after these.
    pub fn of(records: &[Record]) -> Self {
        let mut unfinished = Self::default();
        records.iter().for_each(|record| unfinished.apply(record));
        unfinished
    }

    /// Takes one more record. One that does not fit to what was before changes nothing: of a transaction that has ended, or was never
    /// decided to commit, there is nothing to remember.
    pub fn apply(&mut self, record: &Record) {
        let gid = record.gid();
        match record {
            Record::Begin { last, hint, branches, .. } => {
                let fate = Fate::AskLast { store: last.clone(), hint: hint.clone() };
                self.keep(Left { gid, fate, branches: branches.clone(), mark: Some(last.clone()) });
            }
            Record::Commit { branches, .. } => match self.left.get_mut(&gid) {
                Some(left) => left.fate = Fate::Commit,
                None => self.keep(Left { gid, fate: Fate::Commit, branches: branches.clone(), mark: None }),
            },
            Record::Abort { .. } => {
                if let Some(left) = self.left.get_mut(&gid).filter(|left| left.fate != Fate::Commit) {
                    left.fate = Fate::Abort;
                }
            }
            Record::Done { .. } => {
                if let Some(left) = self.left.remove(&gid) {
                    self.bytes = self.bytes.saturating_sub(size(&left));
                }
            }
            Record::Saga { role, steps, .. } => {
                let saga = SagaLeft { role: role.clone(), steps: steps.clone(), ..SagaLeft::default() };
                self.keep(Left { gid, fate: Fate::Saga(saga), branches: Vec::new(), mark: None });
            }
            Record::Stepped { step, .. } => self.change(gid, |saga| {
                saga.stepped.insert(*step);
            }),
            Record::Undone { step, .. } => self.change(gid, |saga| {
                saga.undone.insert(*step);
                saga.stuck = saga.stuck.take().filter(|(stuck, _)| stuck != step);
            }),
            Record::Stuck { step, reason, .. } => self.change(gid, |saga| saga.stuck = Some((*step, reason.clone()))),
        }
    }

    fn keep(&mut self, left: Left) {
        self.bytes += size(&left);
        if let Some(before) = self.left.insert(left.gid, left) {
            self.bytes = self.bytes.saturating_sub(size(&before));
        }
    }

    fn change(&mut self, gid: Gid, change: impl FnOnce(&mut SagaLeft)) {
        if let Some(Left { fate: Fate::Saga(saga), .. }) = self.left.get_mut(&gid) {
            change(saga);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// About how many bytes they are in the log.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this one is among them.
    pub fn has(&self, gid: Gid) -> bool {
        self.left.contains_key(&gid)
    }

    /// All of them.
    pub fn left(&self) -> Vec<Left> {
        self.left.values().cloned().collect()
    }

    /// Records after which the same is open: what a new file begins with.
    pub fn records(&self) -> Vec<Record> {
        self.left.values().flat_map(records_of).collect()
    }
}

/// About how many bytes a transaction is in the log: of what can be long, the statements of its steps.
fn size(left: &Left) -> usize {
    let branches = left.branches.iter().map(|branch| branch.store.as_str().len() + 32).sum::<usize>();
    let steps = match &left.fate {
        Fate::Saga(saga) => saga.steps.iter().map(|step| 64 + step.undo.iter().map(|sql| sql.len() + 4).sum::<usize>()).sum(),
        _ => 0_usize,
    };
    128 + branches + steps
}

fn records_of(left: &Left) -> Vec<Record> {
    let gid = left.gid;
    // What has a mark has begun with it; the hint is of no use any more once it is decided.
    let begun = |hint: Hint| {
        let last = left.mark.clone()?;
        Some(Record::Begin { gid, last, hint, branches: left.branches.clone() })
    };
    match &left.fate {
        Fate::AskLast { store, hint } => {
            vec![Record::Begin { gid, last: store.clone(), hint: hint.clone(), branches: left.branches.clone() }]
        }
        Fate::Commit => {
            let commit = Record::Commit { gid, branches: left.branches.clone() };
            begun(Hint::default()).into_iter().chain([commit]).collect()
        }
        Fate::Abort => begun(Hint::default()).into_iter().chain([Record::Abort { gid }]).collect(),
        Fate::Saga(saga) => {
            let mut records = vec![Record::Saga { gid, role: saga.role.clone(), steps: saga.steps.clone() }];
            records.extend(saga.stepped.iter().map(|&step| Record::Stepped { gid, step }));
            records.extend(saga.undone.iter().map(|&step| Record::Undone { gid, step }));
            let stuck = saga.stuck.clone();
            records.extend(stuck.map(|(step, reason)| Record::Stuck { gid, step, reason }));
            records
        }
        // What may be in the log or not is no record of its own.
        Fate::Unwritten => Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! A record of every kind.

    use super::*;

    pub(in crate::write::log) fn gid(number: u64) -> Gid {
        Gid { log: LogId(0xfeed_0000_0000_0001), number }
    }

    pub(in crate::write::log) fn records() -> Vec<Record> {
        let (shop, crm) = (StoreName::new("shop"), StoreName::new("crm"));
        let branch = |store: &StoreName, number| Named { store: store.clone(), id: gid(number).of_store(store) };
        let steps = vec![
            LoggedStep { store: shop.clone(), undo: vec!["DELETE FROM a".to_owned(), String::new()], hint: Hint::default() },
            LoggedStep { store: crm.clone(), undo: Vec::new(), hint: Hint(vec![0, 255]) },
        ];
        vec![
            Record::Begin { gid: gid(1), last: shop.clone(), hint: Hint(vec![7; 64]), branches: vec![branch(&crm, 9)] },
            Record::Commit { gid: gid(2), branches: vec![branch(&crm, 2), branch(&shop, u64::MAX)] },
            Record::Abort { gid: gid(1) },
            Record::Saga { gid: gid(3), role: "ädä".to_owned(), steps },
            Record::Stepped { gid: gid(3), step: 0 },
            Record::Undone { gid: gid(3), step: 0 },
            Record::Stuck { gid: gid(3), step: u16::MAX, reason: "no such row".to_owned() },
            Record::Done { gid: gid(2) },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{gid, records};
    use super::*;

    #[test]
    fn every_record_comes_back_and_no_part_of_one_does() {
        let mut all = Vec::new();
        for record in records() {
            let bytes = to_bytes(&record);
            let mut rest = bytes.as_slice();
            assert_eq!((take(&mut rest), rest.len()), (Ok(record.clone()), 0));
            for end in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..end]), Err(Fault::Content), "{record:?} up to {end}");
            }
            all.extend(bytes);
        }
        assert_eq!(take_all(&all), Ok(records()));
        assert_eq!(take_all(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_known_is_refused_and_takes_no_memory() {
        let mut unknown = to_bytes(&Record::Done { gid: gid(1) });
        unknown[0] = 9;
        assert_eq!(take_all(&unknown), Err(Fault::Kind(9)));
        unknown[0] = 2;
        assert_eq!(take_all(&unknown), Err(Fault::Content), "no list of branches");
        let mut long = to_bytes(&Record::Done { gid: gid(1) });
        long[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(take_all(&long), Err(Fault::Content));
        let mut many = to_bytes(&Record::Commit { gid: gid(1), branches: Vec::new() });
        let end = many.len();
        many[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(take_all(&many), Err(Fault::Content));
        let mut more = to_bytes(&Record::Abort { gid: gid(1) });
        more[1] += 1;
        more.push(0);
        assert_eq!(take_all(&more), Err(Fault::Content), "a byte too many");
    }

    #[test]
    fn what_is_open_is_known_again_from_its_own_records() {
        let open = Unfinished::of(&records());
        let fates: Vec<(u64, Fate)> = open.left().into_iter().map(|left| (left.gid.number, left.fate)).collect();
        let [(1, Fate::Abort), (3, Fate::Saga(saga))] = fates.as_slice() else { panic!("{fates:?}") };
        assert_eq!((saga.stepped.len(), saga.undone.len()), (1, 1));
        assert_eq!(saga.stuck, Some((u16::MAX, "no such row".to_owned())));
        assert_eq!(open.left()[0].mark, Some(StoreName::new("shop")));
        assert_eq!(Unfinished::of(&open.records()).left(), open.left());
        assert!(open.has(gid(1)) && !open.has(gid(2)) && open.len() == 2 && open.bytes() > 100);
    }

    #[test]
    fn a_decision_keeps_its_branches_and_its_mark() {
        let all = records();
        let decided = Record::Commit { gid: gid(1), branches: Vec::new() };
        let mut open = Unfinished::of(&[all[0].clone(), decided, Record::Abort { gid: gid(1) }]);
        let left = open.left();
        assert_eq!((left[0].fate.clone(), left[0].branches.len(), left[0].mark.is_some()), (Fate::Commit, 1, true));
        assert_eq!(Unfinished::of(&open.records()).left(), left);
        open.apply(&Record::Done { gid: gid(1) });
        assert!(open.is_empty() && open.bytes() == 0);
        // Presumed to be rolled back: nothing is remembered.
        for record in [Record::Abort { gid: gid(5) }, Record::Done { gid: gid(5) }, Record::Stepped { gid: gid(5), step: 1 }] {
            open.apply(&record);
            assert!(open.is_empty());
        }
    }
}
