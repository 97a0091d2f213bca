//! What a statement has read of other tables beside the rows that it changes, for its `RETURNING`: found again by the key of a row that
//! comes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::memory_pool::MemoryReservation;

use super::super::error::diagnose;
use super::super::semantics::typed::Typed;
use super::distinct::{KEY_BYTES, forms};
use super::rows::told;
use crate::error::{Diagnosis, sqlstate};

/// Values of other tables, by the keys of changed rows. Handles are of the same values.
#[derive(Debug, Clone)]
pub struct Beside(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    /// Keys as they are after the change, and the values beside them.
    batches: Vec<(RecordBatch, RecordBatch)>,
    reservation: MemoryReservation,
}

impl Beside {
    /// Nothing yet.
    pub(super) fn new(reservation: MemoryReservation) -> Self {
        Self(Arc::new(Mutex::new(Kept { batches: Vec::new(), reservation })))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the values of some rows.
    ///
    /// # Errors
    /// 53200 for more than the queries of all sessions may take.
    pub(super) fn keep(&self, keys: &RecordBatch, values: RecordBatch) -> Result<(), Diagnosis> {
        let mut kept = self.lock();
        let bytes = keys.get_array_memory_size() + values.get_array_memory_size() + keys.num_rows() * KEY_BYTES;
        kept.reservation.try_grow(bytes).map_err(|error| diagnose(&error).with_hint("Return fewer rows at a time."))?;
        kept.batches.push((keys.clone(), values));
        Ok(())
    }

    /// The values by their keys, whose columns have these types; `None` when nothing was kept.
    ///
    /// # Errors
    /// Keys that are no values of their types.
    pub(super) fn found(&self, types: &[Typed]) -> Result<Option<Found>, Diagnosis> {
        let kept = self.lock();
        let Some((first_keys, first_values)) = kept.batches.first() else { return Ok(None) };
        let keys = concat_batches(&first_keys.schema(), kept.batches.iter().map(|(keys, _)| keys)).map_err(told)?;
        let values = concat_batches(&first_values.schema(), kept.batches.iter().map(|(_, values)| values)).map_err(told)?;
        let forms = forms(keys.columns(), types)?;
        let fields = forms.iter().map(|form| SortField::new(form.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(told)?;
        let converted = converter.convert_columns(&forms).map_err(told)?;
        let places = converted.iter().zip(0..).map(|(key, place)| (key.data().into(), place)).collect();
        Ok(Some(Found { types: types.to_vec(), converter, places, values }))
    }
}

/// Values that can be looked up.
pub(super) struct Found {
    types: Vec<Typed>,
    converter: RowConverter,
    places: HashMap<Box<[u8]>, u32>,
    values: RecordBatch,
}

impl Found {
    /// The values of rows with these keys, in their order.
    ///
    /// # Errors
    /// 0A000 for a key that no row was given.
    pub(super) fn of(&self, keys: &[ArrayRef]) -> Result<RecordBatch, Diagnosis> {
        let converted = self.converter.convert_columns(&forms(keys, &self.types)?).map_err(told)?;
        let place = |key: arrow::row::Row<'_>| self.places.get(key.data()).copied().ok_or_else(changed);
        let places: UInt32Array = converted.iter().map(place).collect::<Result<Vec<u32>, Diagnosis>>()?.into();
        take_record_batch(&self.values, &places).map_err(told)
    }
}

fn changed() -> Diagnosis {
    let message = "columns of other tables in RETURNING are not supported where the store changes the key by itself";
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};

    use super::*;
    use crate::pgtype::PgType;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        let field = Field::new(name, column.data_type().clone(), true);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap()
    }

    fn keys(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn values_are_found_by_the_key_of_their_row() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let beside = Beside::new(MemoryConsumer::new("test").register(&pool));
        let types = [Typed::from(PgType::INT8)];
        assert!(beside.found(&types).unwrap().is_none());
        let texts = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        assert_eq!(DataType::Utf8, *texts(&[]).data_type());
        beside.keep(&batch("k", keys(&[1, 2])), batch("v", texts(&["a", "b"]))).unwrap();
        beside.keep(&batch("k", keys(&[3])), batch("v", texts(&["c"]))).unwrap();
        let found = beside.found(&types).unwrap().unwrap();
        let values = found.of(&[keys(&[3, 1])]).unwrap();
        let values = values.column(0).as_string::<i32>();
        assert_eq!((values.value(0), values.value(1)), ("c", "a"));
        assert_eq!(found.of(&[keys(&[4])]).unwrap_err().sqlstate, "0A000");
        assert!(pool.reserved() > 0);
    }
}
