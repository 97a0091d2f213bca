//! **Question:** how many values a second does one core turn from Arrow into `DataRow` bytes, for each common type and
//! both formats?
//!
//! **Data:** batches of 8192 rows with one column, made by a fixed rule, every 17th value NULL: `int4`, `int8`, `float8`,
//! `text` (3 to 34 bytes), `numeric(18,2)`, `timestamp`.
//!
//! **Baseline:** arrow-pg 0.16 with pgwire 0.41, the encoder a DataFusion server gets off the shelf; in the same run:
//! `cargo bench --bench encode --features arrow_pg_baseline`. It is behind a feature because it switches on features of
//! shared dependencies that nothing else here uses.
//!
//! **Budget:** at least three times the baseline's values a second.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary::format::{DisplaySettings, Format};
use tributary::pgtype::PgType;
use tributary::session::output::OutputColumn;
use tributary::wire::encode::RowEncoder;

const ROWS: i32 = 8_192;

/// A bench has nobody to answer an error to.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "a bench that cannot run must say so")]
        Err(error) => panic!("{error}"),
    }
}

/// Spreads row numbers over all magnitudes of 64 bits (the finaliser of splitmix64).
fn scatter(row: i32) -> i64 {
    let mut value = i64::from(row).wrapping_mul(-7_046_029_254_386_353_131);
    value = (value ^ (value >> 30)).wrapping_mul(-4_658_895_280_553_007_687);
    value >> (row.rem_euclid(48))
}

fn column<T>(make: impl Fn(i32) -> T) -> Vec<Option<T>> {
    (0..ROWS).map(|row| (row % 17 != 16).then(|| make(row))).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any value will do")]
fn columns() -> Vec<(&'static str, PgType, ArrayRef)> {
    let cents = Decimal128Array::from(column(|row| i128::from(scatter(row) % 1_000_000_000_000_000)));
    let text = column(|row| format!("row {:x} {}", scatter(row), "é".repeat(usize::from(row % 3 == 0))));
    vec![
        ("int4", PgType::INT4, Arc::new(Int32Array::from(column(|row| scatter(row) as i32)))),
        ("int8", PgType::INT8, Arc::new(Int64Array::from(column(scatter)))),
        ("float8", PgType::FLOAT8, Arc::new(Float64Array::from(column(|row| scatter(row) as f64 / 1_000.0)))),
        ("text", PgType::TEXT, Arc::new(StringArray::from(text))),
        ("numeric(18,2)", PgType::numeric(18, 2), Arc::new(must(cents.with_precision_and_scale(18, 2)))),
        (
            "timestamp",
            PgType::TIMESTAMP,
            Arc::new(TimestampMicrosecondArray::from(column(|row| scatter(row).rem_euclid(4_000_000_000_000_000)))),
        ),
    ]
}

fn encoding(criterion: &mut Criterion) {
    for (name, pg_type, array) in columns() {
        let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
        let batch = must(RecordBatch::try_new(Arc::clone(&schema), vec![array]));
        let output = [OutputColumn { name: "v".to_owned(), pg_type, table_oid: 0, column_number: 0 }];
        for (format, format_name) in [(Format::Text, "text"), (Format::Binary, "binary")] {
            let mut group = criterion.benchmark_group(format!("encode/{name}/{format_name}"));
            group.throughput(Throughput::Elements(u64::from(ROWS.unsigned_abs())));
            let mut encoder = must(RowEncoder::new(&output, &schema, &[format], &DisplaySettings::default()));
            let mut out = BytesMut::with_capacity(1 << 20);
            group.bench_function("tributary", |bencher| {
                bencher.iter(|| {
                    out.clear();
                    must(encoder.encode(&batch, &mut out));
                    out.len()
                });
            });
            #[cfg(feature = "arrow_pg_baseline")]
            group.bench_function("arrow-pg", |bencher| {
                let fields = baseline::fields(&schema, format == Format::Binary);
                bencher.iter(|| {
                    out.clear();
                    baseline::encode(&fields, &batch, &mut out);
                    out.len()
                });
            });
            group.finish();
        }
    }
}

/// The same rows through arrow-pg, framed by its own pgwire.
#[cfg(feature = "arrow_pg_baseline")]
mod baseline {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use arrow_pg_pgwire::api::portal::Format;
    use arrow_pg_pgwire::api::results::FieldInfo;
    use arrow_pg_pgwire::messages::Message;
    use bytes::BytesMut;

    use super::must;

    pub fn fields(schema: &Schema, is_binary: bool) -> Arc<Vec<FieldInfo>> {
        let format = if is_binary { Format::UnifiedBinary } else { Format::UnifiedText };
        Arc::new(must(arrow_pg::datatypes::arrow_schema_to_pg_fields(schema, &format, None)))
    }

    pub fn encode(fields: &Arc<Vec<FieldInfo>>, batch: &RecordBatch, out: &mut BytesMut) {
        for row in arrow_pg::encode_recordbatch(Arc::clone(fields), batch.clone()) {
            must(must(row).encode(out));
        }
    }
}

criterion_group!(benches, encoding);
criterion_main!(benches);
