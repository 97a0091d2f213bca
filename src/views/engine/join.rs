//! Joins on equal keys: the rows of both sides by their keys, and which of one side have met some of the other.
//!
//! ```text
//! rows that left one side, then the other; then rows that came ── with the rows of the other side as they are at that moment ──> pairs
//! ```
//!
//! In this order every pair that is looked at is one of the query before the step or after it, so that a condition on pairs fails for none
//! that the query would not have met.
//!
//! The side whose rows are kept without a match, or told by whether they have one, is called *own*. Where pairs must meet a condition
//! besides, each of its rows is kept with the number of rows that it has met; without one, any row under its key is a match.
//!
//! Keys are equal where all of their bits are, as for the engine's own joins: where PostgreSQL takes two values for one, the plan joins by
//! a function of them that is the same for both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use tokio_util::sync::CancellationToken;

use super::Broken;
use super::expression::{Computed, met, values};
use super::node::Node;
use super::zset::{Codec, Delta, batch_of, consolidated};
use crate::error::{Diagnosis, sqlstate};

/// Pairs that are put together at a time.
const PAIRS: usize = 8_192;
/// What a row takes besides its bytes, about.
const ENTRY_BYTES: usize = 72;

/// What a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// Pairs.
    Pairs,
    /// Pairs, and own rows that are in none beside NULL.
    PairsAndLone,
    /// Own rows that are in some pair.
    Matched,
    /// Own rows that are in no pair.
    Lone,
}

/// A join. See the module.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) slot: usize,
    pub(super) gives: Gives,
    pub(super) own: Node,
    pub(super) other: Node,
    pub(super) own_keys: Vec<Computed>,
    pub(super) other_keys: Vec<Computed>,
    /// Whether NULL is equal to NULL.
    pub(super) null_meets: bool,
    /// Whether the own side stands on the right in pairs.
    pub(super) is_swapped: bool,
    /// What pairs must meet besides.
    pub(super) condition: Option<Computed>,
    pub(super) key_codec: Codec,
    pub(super) own_codec: Codec,
    /// Of no columns where nothing but keys is asked of the other side.
    pub(super) other_codec: Codec,
    /// Whether the other side's rows are kept, and not its keys alone.
    pub(super) keeps_other: bool,
    /// The types of the other side's columns.
    pub(super) other_types: Vec<DataType>,
    /// Of pairs, in the order of the query.
    pub(super) pair_schema: SchemaRef,
    pub(super) schema: SchemaRef,
}

/// What both sides of a join have.
#[derive(Default)]
pub(super) struct Sides {
    own: Side,
    other: Side,
    pub(super) limit: Limit,
}

/// How much a join may give in one step, and whether anybody waits for it still: few rows of both sides may make very many pairs.
pub(super) struct Limit {
    most: usize,
    given: AtomicUsize,
    cancel: CancellationToken,
}

impl Default for Limit {
    /// None.
    fn default() -> Self {
        Self::new(usize::MAX, CancellationToken::new())
    }
}

impl Limit {
    /// Of so many bytes, until this is cancelled.
    pub(super) fn new(most: usize, cancel: CancellationToken) -> Self {
        Self { most, given: AtomicUsize::new(0), cancel }
    }

    /// A step begins.
    fn begin(&self) {
        self.given.store(0, Ordering::Relaxed);
    }

    /// Takes note of so many bytes more.
    ///
    /// # Errors
    /// 53200 beyond the limit, 57014 where nobody waits any more.
    fn take(&self, bytes: usize) -> Result<(), Broken> {
        if self.cancel.is_cancelled() {
            return Err(Broken { diagnosis: Diagnosis::new(sqlstate::QUERY_CANCELED, "nobody waits for the rows any more") });
        }
        if self.given.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.most {
            return Err(Broken {
                diagnosis: Diagnosis::new(sqlstate::OUT_OF_MEMORY, "a join gives more than there is memory for"),
            });
        }
        Ok(())
    }
}

impl Sides {
    pub(super) fn bytes(&self) -> usize {
        self.own.bytes + self.other.bytes
    }
}

/// The rows of a side, as the bytes of their keys with those of their columns after them.
#[derive(Default)]
struct Side {
    rows: BTreeMap<Box<[u8]>, Entry>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    weight: i64,
    /// How many rows of the other side it has met; counted where pairs must meet a condition.
    matches: i64,
}

impl Side {
    /// The rows under a key. The bytes of a key are never the beginning of those of another.
    fn under<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Entry)> + 'a {
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(key), Bound::Unbounded);
        let rows = self.rows.range::<[u8], _>(bounds).take_while(move |(bytes, _)| bytes.starts_with(key));
        rows.map(move |(bytes, entry)| (bytes.get(key.len()..).unwrap_or_default(), *entry))
    }

    fn has(&self, key: &[u8]) -> bool {
        self.under(key).next().is_some()
    }

    /// Changes the weight of a row; one that has not been there has met so many.
    fn change(&mut self, bytes: &[u8], weight: i64, matches: i64) -> Result<(), Broken> {
        let gone = || Broken::lost("a row left a join that was not there");
        let Some(entry) = self.rows.get_mut(bytes) else {
            if weight < 0 {
                return Err(gone());
            }
            self.bytes += bytes.len() + ENTRY_BYTES;
            self.rows.insert(bytes.into(), Entry { weight, matches });
            return Ok(());
        };
        entry.weight += weight;
        if entry.weight < 0 {
            return Err(gone());
        }
        if entry.weight == 0 {
            self.rows.remove(bytes);
            self.bytes = self.bytes.saturating_sub(bytes.len() + ENTRY_BYTES);
        }
        Ok(())
    }
}

/// A row that came to a side or left it.
struct Moved {
    /// Its key, and then its columns.
    bytes: Box<[u8]>,
    /// How long the key is.
    key: usize,
    /// Whether its key is equal to any.
    meets: bool,
    weight: i64,
}

impl Moved {
    fn key(&self) -> &[u8] {
        self.bytes.get(..self.key).unwrap_or_default()
    }

    fn row(&self) -> &[u8] {
        self.bytes.get(self.key..).unwrap_or_default()
    }
}

/// Pairs that are looked at together.
#[derive(Default)]
struct Pairs<'a> {
    own: Vec<&'a [u8]>,
    other: Vec<&'a [u8]>,
    weights: Vec<i64>,
    /// Which moved row each is of, and which of those under its key.
    of: Vec<(usize, &'a [u8])>,
}

impl<'a> Pairs<'a> {
    fn push(&mut self, own: &'a [u8], other: &'a [u8], weight: i64, of: (usize, &'a [u8])) {
        self.own.push(own);
        self.other.push(other);
        self.weights.push(weight);
        self.of.push(of);
    }

    fn clear(&mut self) {
        self.own.clear();
        self.other.clear();
        self.weights.clear();
        self.of.clear();
    }
}

/// Own rows with their keys, how long these are, and how many more rows they have met.
type Met = HashMap<Box<[u8]>, (usize, i64)>;

/// Own rows that are given by themselves.
type Singles = Vec<(Box<[u8]>, i64)>;

impl Join {
    /// What changes of both sides make of the result.
    ///
    /// # Errors
    /// What computing a key or a condition failed with; a row that left and was not there.
    pub(super) fn step(&self, sides: &mut Sides, own: &[Delta], other: &[Delta]) -> Result<Vec<Delta>, Broken> {
        let (own_left, own_came) = self.moved(own, &self.own_keys, (&self.own_codec, true))?;
        let (other_left, other_came) = self.moved(other, &self.other_keys, (&self.other_codec, self.keeps_other))?;
        let mut given = Vec::new();
        sides.limit.begin();
        self.own_moved(sides, &own_left, &mut given)?;
        self.other_moved(sides, &other_left, &mut given)?;
        self.own_moved(sides, &own_came, &mut given)?;
        self.other_moved(sides, &other_came, &mut given)?;
        Ok(consolidated(given)?)
    }

    /// The rows of a side that left, and those that came, each once.
    fn moved(
        &self,
        deltas: &[Delta],
        keys: &[Computed],
        (codec, keeps): (&Codec, bool),
    ) -> Result<(Vec<Moved>, Vec<Moved>), Broken> {
        let mut net: HashMap<Box<[u8]>, (usize, bool, i64)> = HashMap::new();
        for delta in deltas {
            let columns = keys.iter().map(|key| values(key, &delta.batch)).collect::<Result<Vec<_>, _>>()?;
            let keys = self.key_codec.encode(&columns)?;
            let rows = codec.encode(if keeps { delta.batch.columns() } else { &[] })?;
            for (row, weight) in delta.weights.iter().enumerate() {
                let (key, columns_bytes) = (keys.row(row), rows.row(row));
                let mut bytes = Vec::with_capacity(key.len() + columns_bytes.len());
                bytes.extend_from_slice(key);
                bytes.extend_from_slice(columns_bytes);
                let meets = self.null_meets || columns.iter().all(|column| column.is_valid(row));
                net.entry(bytes.into_boxed_slice()).or_insert((key.len(), meets, 0)).2 += weight;
            }
        }
        let moved = net.into_iter().filter(|(_, (_, _, weight))| *weight != 0);
        let moved = moved.map(|(bytes, (key, meets, weight))| Moved { bytes, key, meets, weight });
        Ok(moved.partition(|row| row.weight < 0))
    }

    /// Whether pairs are put together, and not only looked for.
    fn makes_pairs(&self) -> bool {
        self.gives_pairs() || self.condition.is_some()
    }

    fn gives_pairs(&self) -> bool {
        matches!(self.gives, Gives::Pairs | Gives::PairsAndLone)
    }

    /// How often an own row of a weight is given by itself.
    fn single(&self, weight: i64, is_matched: bool) -> i64 {
        match self.gives {
            Gives::Pairs => 0,
            Gives::PairsAndLone | Gives::Lone if is_matched => 0,
            Gives::PairsAndLone | Gives::Lone => weight,
            Gives::Matched if is_matched => weight,
            Gives::Matched => 0,
        }
    }

    fn own_moved(&self, sides: &mut Sides, moved: &[Moved], given: &mut Vec<Delta>) -> Result<(), Broken> {
        let mut matches = vec![0_i64; moved.len()];
        if self.makes_pairs() {
            let mut pairs = Pairs::default();
            for (at, row) in moved.iter().enumerate().filter(|(_, row)| row.meets) {
                for (other, entry) in sides.other.under(row.key()) {
                    pairs.push(row.row(), other, row.weight * entry.weight, (at, other));
                    if let Some(matches) = matches.get_mut(at).filter(|_| self.condition.is_none()) {
                        *matches += entry.weight;
                    }
                    if pairs.weights.len() >= PAIRS {
                        self.meet(&mut pairs, (given, &sides.limit), |at, _, weight| count(&mut matches, moved, at, weight))?;
                    }
                }
            }
            self.meet(&mut pairs, (given, &sides.limit), |at, _, weight| count(&mut matches, moved, at, weight))?;
        } else {
            for (matches, row) in matches.iter_mut().zip(moved) {
                *matches = i64::from(row.meets && sides.other.has(row.key()));
            }
        }
        let mut singles = Singles::new();
        for (matches, row) in matches.iter().zip(moved) {
            let weight = self.single(row.weight, *matches > 0);
            if weight != 0 {
                singles.push((row.row().into(), weight));
            }
            if row.meets {
                sides.own.change(&row.bytes, row.weight, *matches)?;
            }
        }
        self.give(singles, given)
    }

    fn other_moved(&self, sides: &mut Sides, moved: &[Moved], given: &mut Vec<Delta>) -> Result<(), Broken> {
        let mut met_more = Met::new();
        if self.makes_pairs() {
            let mut pairs = Pairs::default();
            for (at, row) in moved.iter().enumerate().filter(|(_, row)| row.meets) {
                for (own, entry) in sides.own.under(row.key()) {
                    pairs.push(own, row.row(), row.weight * entry.weight, (at, own));
                    if pairs.weights.len() >= PAIRS {
                        self.meet(&mut pairs, (given, &sides.limit), |at, own, _| count_own(&mut met_more, moved, at, own))?;
                    }
                }
            }
            self.meet(&mut pairs, (given, &sides.limit), |at, own, _| count_own(&mut met_more, moved, at, own))?;
        }
        let keys: BTreeSet<&[u8]> = moved.iter().filter(|row| row.meets).map(Moved::key).collect();
        let had: Vec<bool> = keys.iter().map(|key| sides.other.has(key)).collect();
        for row in moved.iter().filter(|row| row.meets) {
            sides.other.change(&row.bytes, row.weight, 0)?;
        }
        let mut singles = Singles::new();
        if self.condition.is_some() {
            for (bytes, (key, more)) in met_more {
                let entry = sides.own.rows.get_mut(&bytes).ok_or_else(|| Broken::lost("a join has lost a row"))?;
                let before = entry.matches;
                entry.matches += more;
                let (weight, after) = (entry.weight, entry.matches);
                let change = self.single(weight, after > 0) - self.single(weight, before > 0);
                if change != 0 {
                    singles.push((bytes.get(key..).unwrap_or_default().into(), change));
                }
            }
        } else if self.gives != Gives::Pairs {
            for (key, had) in keys.into_iter().zip(had) {
                let has = sides.other.has(key);
                if has == had {
                    continue;
                }
                for (own, entry) in sides.own.under(key) {
                    singles.push((own.into(), self.single(entry.weight, has) - self.single(entry.weight, had)));
                }
            }
        }
        self.give(singles, given)
    }

    /// Puts pairs together, tells of those that meet the condition, and gives them where pairs are given.
    fn meet<'a>(
        &self,
        pairs: &mut Pairs<'a>,
        (given, limit): (&mut Vec<Delta>, &Limit),
        mut tell: impl FnMut(usize, &'a [u8], i64),
    ) -> Result<(), Broken> {
        if pairs.weights.is_empty() {
            return Ok(());
        }
        let own = self.own_codec.decode(pairs.own.iter().copied())?;
        let other = self.other_codec.decode(pairs.other.iter().copied())?;
        let batch = self.pair(own, other, pairs.weights.len())?;
        let mut delta = Delta { batch, weights: pairs.weights.clone() };
        if let Some(condition) = &self.condition {
            let mask = met(condition, &delta.batch)?;
            for (((at, bytes), weight), is_met) in pairs.of.iter().zip(&pairs.weights).zip(&mask) {
                if *is_met {
                    tell(*at, bytes, *weight);
                }
            }
            delta = delta.kept(&mask)?;
        }
        pairs.clear();
        if self.gives_pairs() && !delta.weights.is_empty() {
            let batch = batch_of(&self.schema, delta.batch.columns().to_vec(), delta.weights.len())?;
            limit.take(batch.get_array_memory_size() + size_of_val(delta.weights.as_slice()))?;
            given.push(Delta { batch, weights: delta.weights });
            return Ok(());
        }
        limit.take(0)
    }

    /// Columns of both sides beside each other, as the query has them.
    fn pair(&self, own: Vec<ArrayRef>, other: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Broken> {
        let (first, second) = if self.is_swapped { (other, own) } else { (own, other) };
        Ok(batch_of(&self.pair_schema, first.into_iter().chain(second).collect(), rows)?)
    }

    /// Gives own rows by themselves.
    fn give(&self, singles: Singles, given: &mut Vec<Delta>) -> Result<(), Broken> {
        for part in singles.chunks(PAIRS) {
            let own = self.own_codec.decode(part.iter().map(|(bytes, _)| bytes.as_ref()))?;
            let batch = if self.gives_pairs() {
                let other = self.other_types.iter().map(|data_type| new_null_array(data_type, part.len())).collect();
                let pair = self.pair(own, other, part.len())?;
                batch_of(&self.schema, pair.columns().to_vec(), part.len())?
            } else {
                batch_of(&self.schema, own, part.len())?
            };
            given.push(Delta { batch, weights: part.iter().map(|(_, weight)| *weight).collect() });
        }
        Ok(())
    }
}

/// Counts what an own row has met: the weight of a pair is that of both.
fn count(matches: &mut [i64], moved: &[Moved], at: usize, weight: i64) {
    if let (Some(matches), Some(row)) = (matches.get_mut(at), moved.get(at)) {
        *matches += weight.checked_div(row.weight).unwrap_or_default();
    }
}

/// Counts that an own row has met a row of the other side, which came or left as often as its weight says.
fn count_own(met_more: &mut Met, moved: &[Moved], at: usize, own: &[u8]) {
    if let Some(row) = moved.get(at) {
        let bytes: Box<[u8]> = [row.key(), own].concat().into();
        met_more.entry(bytes).or_insert((row.key, 0)).1 += row.weight;
    }
}
