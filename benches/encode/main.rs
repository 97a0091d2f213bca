//! **Question:** how many values a second does one core turn from Arrow into `DataRow` bytes, for each common type and
//! both formats?
//!
//! **Data:** batches of 8192 rows made by a fixed rule, every 17th value NULL: `int4`, `int8`, `float8`, `text` (3 to 34 bytes),
//! `numeric(18,2)`, `timestamp`; each alone, and all six in one row.
//!
//! **Baseline:** arrow-pg 0.16 with pgwire 0.41, the encoder a DataFusion server gets off the shelf; in the same run:
//! `cargo bench --bench encode --features arrow_pg_baseline`. It is behind a feature because it switches on features of
//! shared dependencies that nothing else here uses. Both sides write into one buffer that is used again, and their messages
//! are compared value by value before anything is timed: the same bytes, or the same value in another spelling, which is
//! printed.
//!
//! **Measured:** wall time on one thread, the two sides in turn; of each the median over the rounds.
//!
//! **Budget:** at least three times the baseline's values a second, in each format: for the row of six columns, and for the six
//! single columns taken together. Single types are shown without a verdict.

#[cfg(feature = "arrow_pg_baseline")]
mod baseline;
mod columns;
#[path = "../measure/mod.rs"]
mod measure;
#[cfg(feature = "arrow_pg_baseline")]
mod spelling;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use bytes::BytesMut;
use tributary::format::{DisplaySettings, Format};
use tributary::session::output::OutputColumn;
use tributary::wire::encode::RowEncoder;

use columns::Column;
use measure::{Verdicts, is_wanted, knob, median, must, say, say_machine};

/// How many times faster than the baseline we must be.
#[cfg(feature = "arrow_pg_baseline")]
const BUDGET: f64 = 3.0;
/// Encodings of one batch between two looks at the clock.
const BATCHES: usize = 16;

/// One shape of rows in one format.
struct Case {
    name: String,
    format: Format,
    output: Vec<OutputColumn>,
    batch: RecordBatch,
}

/// Seconds of one encoding of the batch.
struct Times {
    ours: f64,
    #[cfg(feature = "arrow_pg_baseline")]
    theirs: f64,
}

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("encode");
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 31).max(1);
    let mut verdicts = Verdicts::default();
    for format in [Format::Text, Format::Binary] {
        let columns = columns::all();
        let single: Vec<Times> = columns.iter().map(|column| run(&Case::of(&[column], format), rounds)).collect();
        let row = run(&Case::of(&columns.iter().collect::<Vec<_>>(), format), rounds);
        judge(format, &single, &row, &mut verdicts);
    }
    verdicts.end()
}

#[cfg(feature = "arrow_pg_baseline")]
fn judge(format: Format, single: &[Times], row: &Times, verdicts: &mut Verdicts) {
    let word = word(format);
    let together = single.iter().map(|times| times.theirs).sum::<f64>() / single.iter().map(|times| times.ours).sum::<f64>();
    verdicts
        .judge(together >= BUDGET, &format!("{word}, single columns together: {together:.2} times arrow-pg, at least {BUDGET}"));
    let wide = row.theirs / row.ours;
    verdicts.judge(wide >= BUDGET, &format!("{word}, a row of six columns: {wide:.2} times arrow-pg, at least {BUDGET}"));
}

#[cfg(not(feature = "arrow_pg_baseline"))]
fn judge(format: Format, single: &[Times], row: &Times, verdicts: &mut Verdicts) {
    let seconds = single.iter().map(|times| times.ours).sum::<f64>() + row.ours;
    // Without its baseline the bench has nothing to judge, and must not look as if it had passed.
    let claim = format!("{}: {:.2} ms for all, judged only with --features arrow_pg_baseline", word(format), seconds * 1e3);
    verdicts.judge(false, &claim);
}

fn word(format: Format) -> &'static str {
    if format == Format::Text { "text" } else { "binary" }
}

impl Case {
    fn of(columns: &[&Column], format: Format) -> Self {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(column.name, column.array.data_type().clone(), true)).collect();
        let arrays = columns.iter().map(|column| Arc::clone(&column.array)).collect();
        let output = columns.iter().map(|column| OutputColumn {
            name: column.name.to_owned(),
            pg_type: column.pg_type,
            table_oid: 0,
            column_number: 0,
        });
        Self {
            name: format!("{} {}", names.join(" + "), word(format)),
            format,
            output: output.collect(),
            batch: must(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)),
        }
    }

    fn values(&self) -> usize {
        self.batch.num_rows() * self.batch.num_columns()
    }

    fn encoder(&self) -> RowEncoder {
        must(RowEncoder::new(&self.output, &self.batch.schema(), &[self.format], &DisplaySettings::default()))
    }
}

/// The median time of one encoding on each side.
fn run(case: &Case, rounds: u64) -> Times {
    let mut encoder = case.encoder();
    let mut out = BytesMut::with_capacity(1 << 20);
    let mut ours = Vec::new();
    #[cfg(feature = "arrow_pg_baseline")]
    let (fields, mut theirs) = {
        let fields = baseline::fields(&case.batch.schema(), case.format == Format::Binary);
        must(encoder.encode(&case.batch, &mut out));
        let mut other = BytesMut::new();
        baseline::encode(&fields, &case.batch, &mut other);
        spelling::compare(case, &out, &other);
        (fields, Vec::new())
    };
    for _ in 0..rounds {
        ours.push(seconds(|| {
            out.clear();
            must(encoder.encode(&case.batch, &mut out));
        }));
        #[cfg(feature = "arrow_pg_baseline")]
        theirs.push(seconds(|| {
            out.clear();
            baseline::encode(&fields, &case.batch, &mut out);
        }));
    }
    let times = Times {
        ours: median(&ours),
        #[cfg(feature = "arrow_pg_baseline")]
        theirs: median(&theirs),
    };
    say_times(case, &times);
    times
}

/// Seconds of one call, over several.
fn seconds(mut encode: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..BATCHES {
        encode();
    }
    started.elapsed().as_secs_f64() / BATCHES as f64
}

fn say_times(case: &Case, times: &Times) {
    let millions = |seconds: f64| case.values() as f64 / seconds / 1e6;
    #[cfg(feature = "arrow_pg_baseline")]
    let beside = format!(", arrow-pg {:.1}, ratio {:.2}", millions(times.theirs), times.theirs / times.ours);
    #[cfg(not(feature = "arrow_pg_baseline"))]
    let beside = "";
    say(format_args!("{}: {:.1} million values a second{beside}", case.name, millions(times.ours)));
}
