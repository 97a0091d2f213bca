//! The plain columns that bare loops fill, and the digest by which both sides are compared.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

use super::measure::must;

/// Rows that are decoded before the columns are used again; as many as a batch of ours has.
pub const BATCH_ROWS: usize = 8_192;

/// Values of one width; NULL is a zero that is not valid.
#[derive(Debug, Default)]
pub struct Fixed<T> {
    pub values: Vec<T>,
    pub valid: Vec<bool>,
}

impl<T: Default> Fixed<T> {
    /// Adds a value or NULL.
    #[inline]
    pub fn push(&mut self, value: Option<T>) {
        self.valid.push(value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    fn clear(&mut self) {
        self.values.clear();
        self.valid.clear();
    }
}

/// Texts end to end, each with the place where it ends.
#[derive(Debug, Default)]
pub struct Texts {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    pub valid: Vec<bool>,
}

impl Texts {
    /// Adds a text or NULL.
    #[inline]
    pub fn push(&mut self, text: Option<&str>) {
        self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.ends.push(self.bytes.len());
        self.valid.push(text.is_some());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.valid.clear();
    }

    fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.ends.iter().zip(&self.valid).map(move |(end, valid)| {
            let text = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            valid.then_some(text)
        })
    }
}

/// The columns of the table, as a bare loop fills them.
#[derive(Debug, Default)]
pub struct Columns {
    pub ids: Vec<i64>,
    pub quantities: Vec<i64>,
    pub prices: Fixed<i128>,
    pub titles: Texts,
    pub placed: Vec<i64>,
    pub scores: Vec<f64>,
    pub paid: Vec<bool>,
    pub remarks: Texts,
    /// The nested field; empty for stores without documents.
    pub zips: Vec<i64>,
}

impl Columns {
    /// Whether a batch is complete.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.ids.len() >= BATCH_ROWS
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.quantities.clear();
        self.prices.clear();
        self.titles.clear();
        self.placed.clear();
        self.scores.clear();
        self.paid.clear();
        self.remarks.clear();
        self.zips.clear();
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
    pub fn take(&mut self, columns: &mut Columns) {
        self.rows += columns.ids.len();
        self.ids = columns.ids.iter().fold(self.ids, |sum, id| sum.wrapping_add(*id));
        if self.depth == Depth::Everything {
            let [quantities, prices, titles, placed, scores, paid, remarks, zips] = &mut self.others;
            mix(quantities, columns.quantities.iter().map(|value| Some(value.to_le_bytes())));
            let valid_prices = columns.prices.values.iter().zip(&columns.prices.valid);
            mix(prices, valid_prices.map(|(value, valid)| valid.then_some(value.to_le_bytes())));
            mix(titles, columns.titles.iter());
            mix(placed, columns.placed.iter().map(|value| Some(value.to_le_bytes())));
            mix(scores, columns.scores.iter().map(|value| Some(value.to_le_bytes())));
            mix(paid, columns.paid.iter().map(|value| Some([u8::from(*value)])));
            mix(remarks, columns.remarks.iter());
            mix(zips, columns.zips.iter().map(|value| Some(value.to_le_bytes())));
        }
        columns.clear();
    }

    /// Takes one of our batches.
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
