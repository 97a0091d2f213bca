//! The same rows through arrow-pg, framed by its own pgwire.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_pg_pgwire::api::portal::Format;
use arrow_pg_pgwire::api::results::FieldInfo;
use arrow_pg_pgwire::messages::Message;
use bytes::BytesMut;

use super::measure::must;

/// What arrow-pg calls the columns of a result.
pub fn fields(schema: &Schema, is_binary: bool) -> Arc<Vec<FieldInfo>> {
    let format = if is_binary { Format::UnifiedBinary } else { Format::UnifiedText };
    Arc::new(must(arrow_pg::datatypes::arrow_schema_to_pg_fields(schema, &format, None)))
}

/// Appends one `DataRow` for each row.
pub fn encode(fields: &Arc<Vec<FieldInfo>>, batch: &RecordBatch, out: &mut BytesMut) {
    for row in arrow_pg::encode_recordbatch(Arc::clone(fields), batch.clone()) {
        must(must(row).encode(out));
    }
}
