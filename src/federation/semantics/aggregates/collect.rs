//! `array_agg(DISTINCT …)`: values without duplicates by their typed keys, in their order, as PostgreSQL's sort leaves them.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::super::datum::{Column, Datum};
use super::super::key::encode;
use super::super::typed::Typed;
use super::accumulate::lost;

/// The order of the collected values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Order {
    pub(in super::super) descending: bool,
    pub(in super::super) nulls_first: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct DistinctValues {
    reads: Typed,
    item: DataType,
    order: Order,
    values: BTreeMap<Vec<u8>, ScalarValue>,
    has_null: bool,
    bytes: usize,
}

impl DistinctValues {
    pub(super) fn new(reads: Typed, item: DataType, order: Order) -> Self {
        Self { reads, item, order, values: BTreeMap::new(), has_null: false, bytes: 0 }
    }

    fn add_all(&mut self, array: &ArrayRef) -> Result<()> {
        let column = Column::new(array, Some(&self.reads))?;
        for row in 0..array.len() {
            let value = column.get(row);
            if matches!(value, Datum::Null) {
                self.has_null = true;
                continue;
            }
            let mut key = Vec::new();
            encode(&self.reads, &value, &mut key)?;
            if !self.values.contains_key(&key) {
                let value = ScalarValue::try_from_array(array, row)?;
                self.bytes += key.len() + value.size();
                self.values.insert(key, value);
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<ScalarValue> {
        let null = if self.has_null { vec![ScalarValue::try_from(&self.item)?] } else { Vec::new() };
        let values = self.values.values().cloned();
        let sorted: Vec<ScalarValue> = if self.order.descending { values.rev().collect() } else { values.collect() };
        let all = if self.order.nulls_first { [null, sorted].concat() } else { [sorted, null].concat() };
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&all, &self.item)))
    }
}

impl Accumulator for DistinctValues {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values.first().ok_or_else(lost)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() && !self.has_null {
            return ScalarValue::try_from(&DataType::new_list(self.item.clone(), true));
        }
        self.list()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for list in states.first().ok_or_else(lost)?.as_list::<i32>().iter().flatten() {
            self.add_all(&list)?;
        }
        Ok(())
    }
}
