//! `array_agg` and `string_agg` that order their values by themselves, so that calls with different orders can stand side by side.
//!
//! The engine sorts the input of an aggregation, which it can do in one order only. The keys come here as arguments behind the
//! call's own.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::super::typed::Typed;
use super::accumulate::lost;
use super::collect::Order;

/// What becomes of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) enum Collected {
    /// `array_agg(value)`
    List,
    /// `string_agg(value, delimiter)`
    Text,
}

impl Collected {
    /// Of the engine's aggregate of that name.
    pub(in super::super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "array_agg" => Some(Self::List),
            "string_agg" => Some(Self::Text),
            _ => None,
        }
    }

    /// How many arguments stand before the keys.
    fn arguments(self) -> usize {
        match self {
            Self::List => 1,
            Self::Text => 2,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct OrderedAggregate {
    collected: Collected,
    /// Of each key.
    order: Vec<Order>,
    distinct: bool,
    returns: Typed,
    carrier: DataType,
    signature: Signature,
}

impl OrderedAggregate {
    pub(in super::super) fn new(collected: Collected, order: Vec<Order>, distinct: bool, returns: (Typed, DataType)) -> Self {
        let (returns, carrier) = returns;
        Self { collected, order, distinct, returns, carrier, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn list_of(item: &DataType) -> FieldRef {
    Arc::new(Field::new_list_field(item.clone(), true))
}

impl AggregateUDFImpl for OrderedAggregate {
    fn name(&self) -> &str {
        match self.collected {
            Collected::List => "array_agg",
            Collected::Text => "string_agg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.carrier.clone())
    }

    fn return_field(&self, _arguments: &[FieldRef]) -> Result<FieldRef> {
        Ok(self.returns.field(self.name(), self.carrier.clone()))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> = arguments.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Box::new(OrderedValues { function: self.clone(), batches: vec![Vec::new(); types.len()], types, bytes: 0 }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let part = |(index, field): (usize, &FieldRef)| {
            let name = format_state_name(arguments.name, &format!("part{index}"));
            Arc::new(Field::new(name, DataType::List(list_of(field.data_type())), true))
        };
        Ok(arguments.input_fields.iter().enumerate().map(part).collect())
    }
}

/// The rows of a group, column by column.
#[derive(Debug)]
struct OrderedValues {
    function: OrderedAggregate,
    types: Vec<DataType>,
    batches: Vec<Vec<ArrayRef>>,
    bytes: usize,
}

impl OrderedValues {
    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        if columns.len() != self.batches.len() {
            return Err(lost());
        }
        for (batches, column) in self.batches.iter_mut().zip(columns) {
            self.bytes += column.to_data().get_slice_memory_size()?;
            batches.push(Arc::clone(column));
        }
        Ok(())
    }

    /// Each column as one array.
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let column = |(batches, data_type): (&Vec<ArrayRef>, &DataType)| {
            if batches.is_empty() {
                return Ok(new_empty_array(data_type));
            }
            let parts: Vec<&dyn Array> = batches.iter().map(AsRef::as_ref).collect();
            Ok(concat(&parts)?)
        };
        self.batches.iter().zip(&self.types).map(column).collect()
    }

    /// The places of rows in the order asked for; rows with equal keys in the order in which they came.
    fn places(&self, keys: &[ArrayRef]) -> Result<UInt32Array> {
        let fields = keys.iter().zip(&self.function.order).map(|(key, order)| {
            let options = arrow::compute::SortOptions { descending: order.descending, nulls_first: order.nulls_first };
            SortField::new_with_options(key.data_type().clone(), options)
        });
        let rows = RowConverter::new(fields.collect())?.convert_columns(keys)?;
        let count = u32::try_from(rows.num_rows()).map_err(|_many| DataFusionError::ResourcesExhausted(TOO_MANY.to_owned()))?;
        let mut places: Vec<(u32, _)> = (0..count).zip(rows.iter()).collect();
        places.sort_by_key(|(_, keys)| *keys);
        Ok(places.into_iter().map(|(place, _)| place).collect())
    }

    fn list(&self, values: ArrayRef) -> Result<ScalarValue> {
        let DataType::List(item) = &self.function.carrier else { return Err(lost()) };
        let lengths = OffsetBuffer::from_lengths([values.len()]);
        Ok(ScalarValue::List(Arc::new(ListArray::try_new(Arc::clone(item), lengths, values, None)?)))
    }

    /// Each value but the first behind its delimiter.
    fn text(&self, values: &ArrayRef, delimiters: &ArrayRef) -> Result<ScalarValue> {
        let (values, delimiters) = (cast(values, &DataType::Utf8)?, cast(delimiters, &DataType::Utf8)?);
        let (mut joined, mut seen) = (None::<String>, HashSet::new());
        for (value, delimiter) in values.as_string::<i32>().iter().zip(delimiters.as_string::<i32>()) {
            let Some(value) = value else { continue };
            if self.function.distinct && !seen.insert((value, delimiter)) {
                continue;
            }
            match &mut joined {
                None => joined = Some(value.to_owned()),
                Some(text) => {
                    text.push_str(delimiter.unwrap_or_default());
                    text.push_str(value);
                }
            }
        }
        ScalarValue::Utf8(joined).cast_to(&self.function.carrier)
    }
}

/// What an array takes beside its values: its struct, and the counts of its buffers.
const ARRAY_BYTES: usize = 160;

const TOO_MANY: &str = "a group has too many values to be ordered";

impl Accumulator for OrderedValues {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = self.columns()?;
        let (arguments, keys) = columns.split_at_checked(self.function.collected.arguments()).ok_or_else(lost)?;
        if arguments.first().is_none_or(|values| values.is_empty()) {
            return ScalarValue::try_from(&self.function.carrier);
        }
        let places = self.places(keys)?;
        let sorted = arguments.iter().map(|values| Ok(take(values, &places, None)?)).collect::<Result<Vec<_>>>()?;
        match (self.function.collected, sorted.as_slice()) {
            (Collected::List, [values]) => self.list(Arc::clone(values)),
            (Collected::Text, [values, delimiters]) => self.text(values, delimiters),
            _ => Err(lost()),
        }
    }

    fn size(&self) -> usize {
        let lists = self.batches.iter().map(|batches| batches.capacity() * size_of::<ArrayRef>() + batches.len() * ARRAY_BYTES);
        size_of_val(self) + self.bytes + lists.sum::<usize>() + self.batches.capacity() * size_of::<Vec<ArrayRef>>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let listed = |values: ArrayRef| {
            let lengths = OffsetBuffer::from_lengths([values.len()]);
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(list_of(values.data_type()), lengths, values, None)?)))
        };
        self.columns()?.into_iter().map(listed).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().ok_or_else(lost)?.len();
        for row in 0..rows {
            let columns: Vec<ArrayRef> = states.iter().map(|state| state.as_list::<i32>().value(row)).collect();
            self.add(&columns)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;
    use crate::pgtype::PgType;

    fn values(collected: Collected, order: &[(bool, bool)], distinct: bool) -> OrderedValues {
        let order: Vec<Order> = order.iter().map(|&(descending, nulls_first)| Order { descending, nulls_first }).collect();
        let carrier = match collected {
            Collected::List => DataType::List(list_of(&DataType::Utf8)),
            Collected::Text => DataType::Utf8,
        };
        let types = [vec![DataType::Utf8; collected.arguments()], vec![DataType::Int32; order.len()]].concat();
        let function = OrderedAggregate::new(collected, order, distinct, (PgType::TEXT.into(), carrier));
        OrderedValues { function, batches: vec![Vec::new(); types.len()], types, bytes: 0 }
    }

    fn texts(texts: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    fn numbers(numbers: &[Option<i32>]) -> ArrayRef {
        Arc::new(Int32Array::from(numbers.to_vec()))
    }

    #[test]
    fn values_come_in_the_order_of_their_keys_and_equal_ones_as_they_came() {
        let rows = [((false, false), "b,d,a,c"), ((true, true), "c,a,b,d"), ((false, true), "c,b,d,a"), ((true, false), "a,b,d,c")];
        for (order, expected) in rows {
            let mut first = values(Collected::Text, &[order], false);
            let comma = |count: usize| texts(&vec![Some(","); count]);
            first.update_batch(&[texts(&[Some("a"), Some("b")]), comma(2), numbers(&[Some(2), Some(1)])]).unwrap();
            let mut second = values(Collected::Text, &[order], false);
            second.update_batch(&[texts(&[Some("c"), None, Some("d")]), comma(3), numbers(&[None, Some(0), Some(1)])]).unwrap();
            let states = [first.state().unwrap(), second.state().unwrap()];
            let mut all = values(Collected::Text, &[order], false);
            for state in states {
                let state: Vec<ArrayRef> = state.into_iter().map(|part| part.to_array().unwrap()).collect();
                all.merge_batch(&state).unwrap();
            }
            assert_eq!(all.evaluate().unwrap(), ScalarValue::Utf8(Some(expected.to_owned())), "{order:?}");
        }
    }

    #[test]
    fn nothing_gives_null_and_repeated_texts_count_once() {
        for collected in [Collected::List, Collected::Text] {
            assert!(values(collected, &[(false, false)], false).evaluate().unwrap().is_null());
        }
        let mut distinct = values(Collected::Text, &[(false, false)], true);
        let keys = numbers(&[Some(1), Some(1), Some(2)]);
        distinct.update_batch(&[texts(&[Some("x"), Some("x"), Some("y")]), texts(&[Some("-"); 3]), keys]).unwrap();
        assert_eq!(distinct.evaluate().unwrap(), ScalarValue::Utf8(Some("x-y".to_owned())));
        let mut list = values(Collected::List, &[(true, true)], false);
        list.update_batch(&[texts(&[None, Some("y")]), numbers(&[Some(1), Some(2)])]).unwrap();
        let ScalarValue::List(found) = list.evaluate().unwrap() else { panic!("no list") };
        assert_eq!(found.value(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("y"), None]);
    }
}
