//! Aggregations: the totals of each group, and the rows that groups have before a step and after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;

use super::Broken;
use super::expression::{Computed, values};
use super::node::Node;
use super::total::{Arguments, Call, Run, Total};
use super::zset::{Codec, Delta, batch_of};

/// What a group takes besides its key and its totals, about.
const GROUP_BYTES: usize = 96;

/// An aggregation.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) slot: usize,
    pub(super) below: Node,
    /// Without any there is one group, whose row is there also when it has no rows.
    pub(super) keys: Vec<Computed>,
    pub(super) codec: Codec,
    pub(super) calls: Vec<Call>,
    pub(super) schema: SchemaRef,
}

/// The groups of an aggregation, by the bytes of their keys.
#[derive(Default)]
pub(super) struct Groups {
    groups: HashMap<Box<[u8]>, Totals>,
    bytes: usize,
}

impl Groups {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// One group.
struct Totals {
    rows: i64,
    totals: Vec<Total>,
}

impl Totals {
    fn bytes(&self, key: &[u8]) -> usize {
        GROUP_BYTES + key.len() + self.totals.iter().map(Total::bytes).sum::<usize>()
    }
}

/// A group that a step touches.
struct Touched {
    key: Box<[u8]>,
    group: Totals,
    /// Its row before the step, where it had one.
    before: Option<Vec<ScalarValue>>,
}

/// Changed rows, each with the group that it is in.
struct Part<'a> {
    weights: &'a [i64],
    places: Vec<usize>,
    /// For each call.
    arguments: Vec<Arguments>,
}

impl Group {
    /// What changed rows make of the result.
    ///
    /// # Errors
    /// What computing an expression or a total failed with; rows that left and were not there.
    pub(super) fn step(&self, groups: &mut Groups, deltas: &[Delta]) -> Result<Vec<Delta>, Broken> {
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<Box<[u8]>, usize> = HashMap::new();
        if self.keys.is_empty() && groups.groups.is_empty() {
            self.touch(groups, &[], (&mut touched, &mut places))?;
        }
        let mut parts = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let keys = self.keys.iter().map(|key| values(key, &delta.batch)).collect::<Result<Vec<_>, _>>()?;
            let encoded = self.codec.encode(&keys)?;
            let in_groups = (0..delta.weights.len()).map(|row| self.touch(groups, encoded.row(row), (&mut touched, &mut places)));
            let in_groups = in_groups.collect::<Result<Vec<_>, _>>()?;
            let arguments = self.calls.iter().map(|call| call.arguments(&delta.batch)).collect::<Result<Vec<_>, _>>()?;
            parts.push(Part { weights: &delta.weights, places: in_groups, arguments });
        }
        // What comes is let in first: a value that also leaves is there then.
        for sign in [1, -1] {
            for part in &parts {
                self.change(&mut touched, part, sign)?;
            }
        }
        self.end(groups, touched)
    }

    /// The place of a group among those that are touched.
    fn touch(
        &self,
        groups: &mut Groups,
        key: &[u8],
        (touched, places): (&mut Vec<Touched>, &mut HashMap<Box<[u8]>, usize>),
    ) -> Result<usize, Broken> {
        if let Some(place) = places.get(key) {
            return Ok(*place);
        }
        let (group, before) = match groups.groups.remove(key) {
            Some(mut group) => {
                groups.bytes = groups.bytes.saturating_sub(group.bytes(key));
                let before = self.results(&mut group)?;
                (group, Some(before))
            }
            None => {
                let totals = self.calls.iter().map(Call::total).collect::<Result<Vec<_>, _>>()?;
                (Totals { rows: 0, totals }, None)
            }
        };
        let place = touched.len();
        places.insert(key.into(), place);
        touched.push(Touched { key: key.into(), group, before });
        Ok(place)
    }

    fn results(&self, group: &mut Totals) -> Result<Vec<ScalarValue>, Broken> {
        self.calls.iter().zip(&mut group.totals).map(|(call, total)| call.result(total)).collect()
    }

    /// Lets the rows of a part in that came, or those out that left.
    fn change(&self, touched: &mut [Touched], part: &Part<'_>, sign: i64) -> Result<(), Broken> {
        let mut by_group: Vec<(usize, (usize, i64))> = Vec::new();
        for (row, (weight, place)) in part.weights.iter().zip(&part.places).enumerate() {
            let times = weight.saturating_mul(sign);
            if times > 0 {
                by_group.push((*place, (row, times)));
            }
        }
        by_group.sort_unstable();
        for run in by_group.chunk_by(|left, right| left.0 == right.0) {
            let group = run.first().and_then(|(place, _)| touched.get_mut(*place));
            let group = &mut group.ok_or_else(|| Broken::lost("a group is lost"))?.group;
            let rows: Vec<(usize, i64)> = run.iter().map(|(_, row)| *row).collect();
            group.rows += sign * rows.iter().map(|(_, times)| times).sum::<i64>();
            // What comes was let in before: an accumulator would count below nothing.
            if group.rows < 0 {
                return Err(Broken::lost("a row left a group that was not there"));
            }
            for ((call, total), arguments) in self.calls.iter().zip(&mut group.totals).zip(&part.arguments) {
                call.change(total, &Run { arguments, rows: &rows, sign })?;
            }
        }
        Ok(())
    }

    /// The rows of the groups before the step, and after it.
    fn end(&self, groups: &mut Groups, touched: Vec<Touched>) -> Result<Vec<Delta>, Broken> {
        let mut rows: Vec<(Box<[u8]>, Vec<ScalarValue>, i64)> = Vec::new();
        for Touched { key, mut group, before } in touched {
            let stays = group.rows > 0 || self.keys.is_empty();
            let after = if stays { Some(self.results(&mut group)?) } else { None };
            if before != after {
                rows.extend(before.map(|results| (key.clone(), results, -1)));
                rows.extend(after.map(|results| (key.clone(), results, 1)));
            }
            if stays {
                groups.bytes += group.bytes(&key);
                match groups.groups.entry(key) {
                    Entry::Vacant(place) => place.insert(group),
                    Entry::Occupied(_) => return Err(Broken::lost("a group is there twice")),
                };
            }
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns: Vec<ArrayRef> = self.codec.decode(rows.iter().map(|(key, ..)| key.as_ref()))?;
        for call in 0..self.calls.len() {
            let results: Option<Vec<ScalarValue>> = rows.iter().map(|(_, results, _)| results.get(call).cloned()).collect();
            let results = results.ok_or_else(|| Broken::lost("a group lacks a total"))?;
            columns.push(ScalarValue::iter_to_array(results)?);
        }
        let weights: Vec<i64> = rows.iter().map(|(.., weight)| *weight).collect();
        Ok(vec![Delta { batch: batch_of(&self.schema, columns, weights.len())?, weights }])
    }
}
