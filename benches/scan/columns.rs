//! The Arrow columns that bare loops fill, and the digest by which both sides are compared.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, RecordBatch, StringBuilder,
    StructArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

use super::measure::must;

/// Rows that are decoded into one batch; as many as a batch of ours has.
pub const BATCH_ROWS: usize = 8_192;

/// Bytes of text for each row that there is room for from the start; more than either column has on average.
const TEXT_BYTES: usize = 32;

/// Values of one width.
#[derive(Debug)]
pub struct Fixed<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Fixed<T> {
    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: T::Native) {
        self.0.append_value(value);
    }

    /// Adds a value or NULL.
    #[inline]
    pub fn push_option(&mut self, value: Option<T::Native>) {
        self.0.append_option(value);
    }
}

impl<T: ArrowPrimitiveType> Default for Fixed<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::with_capacity(BATCH_ROWS))
    }
}

/// `numeric(12,2)` in hundredths.
#[derive(Debug)]
pub struct Prices(Decimal128Builder);

impl Prices {
    /// Adds a number of hundredths or NULL.
    #[inline]
    pub fn push(&mut self, hundredths: Option<i128>) {
        self.0.append_option(hundredths);
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self(Decimal128Builder::with_capacity(BATCH_ROWS).with_data_type(DataType::Decimal128(12, 2)))
    }
}

/// Texts.
#[derive(Debug)]
pub struct Texts(StringBuilder);

impl Texts {
    /// Adds a text or NULL.
    #[inline]
    pub fn push(&mut self, text: Option<&str>) {
        self.0.append_option(text);
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self(StringBuilder::with_capacity(BATCH_ROWS, BATCH_ROWS * TEXT_BYTES))
    }
}

/// Truth values.
#[derive(Debug)]
pub struct Truths(BooleanBuilder);

impl Truths {
    /// Adds a truth value.
    #[inline]
    pub fn push(&mut self, truth: bool) {
        self.0.append_value(truth);
    }

    /// Adds a truth value or NULL.
    #[inline]
    pub fn push_option(&mut self, truth: Option<bool>) {
        self.0.append_option(truth);
    }
}

impl Default for Truths {
    fn default() -> Self {
        Self(BooleanBuilder::with_capacity(BATCH_ROWS))
    }
}

/// The columns of the table, as a bare loop fills them. `Q` is what the store's integer becomes.
#[derive(Debug)]
pub struct Columns<Q: ArrowPrimitiveType = Int64Type> {
    pub ids: Fixed<Int64Type>,
    pub quantities: Fixed<Q>,
    pub prices: Prices,
    pub titles: Texts,
    pub placed: Fixed<TimestampMicrosecondType>,
    pub scores: Fixed<Float64Type>,
    pub paid: Truths,
    pub remarks: Texts,
    /// The nested field; empty for stores without documents.
    pub zips: Fixed<Int64Type>,
}

impl<Q: ArrowPrimitiveType> Default for Columns<Q> {
    fn default() -> Self {
        Self {
            ids: Fixed::default(),
            quantities: Fixed::default(),
            prices: Prices::default(),
            titles: Texts::default(),
            placed: Fixed::default(),
            scores: Fixed::default(),
            paid: Truths::default(),
            remarks: Texts::default(),
            zips: Fixed(PrimitiveBuilder::new()),
        }
    }
}

impl<Q: ArrowPrimitiveType> Columns<Q> {
    /// Whether a batch is complete.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.ids.0.values_slice().len() >= BATCH_ROWS
    }

    /// The batch of what has been decoded, and new columns with room for as much.
    fn finish(&mut self) -> RecordBatch {
        let mut full = std::mem::take(self);
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("id", Arc::new(full.ids.0.finish()), false),
            ("quantity", Arc::new(full.quantities.0.finish()), false),
            ("price", Arc::new(full.prices.0.finish()), true),
            ("title", Arc::new(full.titles.0.finish()), false),
            ("placed", Arc::new(full.placed.0.finish()), false),
            ("score", Arc::new(full.scores.0.finish()), false),
            ("paid", Arc::new(full.paid.0.finish()), false),
            ("remark", Arc::new(full.remarks.0.finish()), true),
        ];
        let zips = full.zips.0.finish();
        if !zips.is_empty() {
            let zip = Arc::new(Field::new("zip", DataType::Int64, false));
            columns.push(("place", Arc::new(StructArray::from(vec![(zip, Arc::new(zips) as ArrayRef)])), false));
        }
        must(RecordBatch::try_from_iter_with_nullable(columns))
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The number of rows and the sum of the key: cheap enough to be timed.
    Key,
    /// Every value of every column.
    Everything,
}

/// What one pass over the table has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    depth: Depth,
    pub rows: usize,
    ids: i64,
    /// One number for each other column.
    others: [u64; 8],
}

/// Mixes the values of a column, with their place among themselves, into one number.
fn mix<T: AsRef<[u8]>>(number: &mut u64, values: impl Iterator<Item = Option<T>>) {
    for value in values {
        *number = number.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match value {
            Some(bytes) => {
                bytes.as_ref().iter().for_each(|byte| *number = number.wrapping_mul(31).wrapping_add(u64::from(*byte) + 1))
            }
            None => *number = number.wrapping_add(0x5555),
        }
    }
}

impl Digest {
    /// Of no rows.
    pub fn new(depth: Depth) -> Self {
        Self { depth, rows: 0, ids: 0, others: [0; 8] }
    }

    /// Takes what a bare loop has decoded; the columns are empty then.
    pub fn take<Q: ArrowPrimitiveType>(&mut self, columns: &mut Columns<Q>) {
        self.take_batch(&columns.finish());
    }

    /// Takes one batch.
    pub fn take_batch(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        let ids = batch.column_by_name("id").or_else(|| batch.column_by_name("_id"));
        let ids = must(ids.ok_or("the batch has no key")).as_primitive::<Int64Type>();
        self.ids = ids.values().iter().fold(self.ids, |sum, id| sum.wrapping_add(*id));
        if self.depth == Depth::Everything {
            self.take_values(batch);
        }
    }

    fn take_values(&mut self, batch: &RecordBatch) {
        let column = |name: &str| must(batch.column_by_name(name).ok_or_else(|| format!("the batch has no {name}")));
        let [quantities, prices, titles, placed, scores, paid, remarks, zips] = &mut self.others;
        mix_integers(quantities, column("quantity"));
        mix(prices, column("price").as_primitive::<Decimal128Type>().iter().map(|value| value.map(i128::to_le_bytes)));
        mix(titles, column("title").as_string::<i32>().iter());
        mix(placed, column("placed").as_primitive::<TimestampMicrosecondType>().iter().map(|value| value.map(i64::to_le_bytes)));
        mix(scores, column("score").as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_le_bytes)));
        mix(paid, column("paid").as_boolean().iter().map(|value| value.map(|truth| [u8::from(truth)])));
        mix(remarks, column("remark").as_string::<i32>().iter());
        if let Some(place) = batch.column_by_name("place") {
            let nested = must(place.as_struct().column_by_name("zip").ok_or("the nested document has no zip"));
            mix_integers(zips, nested);
        }
    }
}

fn mix_integers(number: &mut u64, column: &ArrayRef) {
    match column.data_type() {
        DataType::Int32 => {
            mix(number, column.as_primitive::<Int32Type>().iter().map(|value| value.map(|value| i64::from(value).to_le_bytes())));
        }
        _ => mix(number, column.as_primitive::<Int64Type>().iter().map(|value| value.map(i64::to_le_bytes))),
    }
}
