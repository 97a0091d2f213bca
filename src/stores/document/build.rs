//! Turns documents into Arrow arrays, walking each document once in its own field order. The columns are in `structs.rs` and `cells.rs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::error::ArrowError;

use super::cells::State;
use super::extended;
use super::options::OnMismatch;
use super::structs::StructCells;
use super::types::DocumentField;
use super::value::{Fields, Mismatch};

/// How values are converted.
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    /// What becomes of values that do not fit.
    pub on_mismatch: OnMismatch,
    /// Whether the documents are JSON: texts may stand for moments and UUIDs, and numbers have no width. Off for stores that
    /// have such types, where a condition evaluated by the store would not match the text.
    pub texts: bool,
}

/// Builds the columns of some document fields, and the whole document as JSON when asked.
#[derive(Debug)]
pub struct DocumentBuilder {
    top: StructCells,
    document: Option<StringBuilder>,
    state: State,
    rows: usize,
}

impl DocumentBuilder {
    /// A builder whose arrays follow `fields`, and then the document itself when `with_document`.
    pub fn new(fields: &[DocumentField], with_document: bool, conversion: Conversion) -> Self {
        Self {
            top: StructCells::new(fields),
            document: with_document.then(StringBuilder::new),
            state: State::new(conversion),
            rows: 0,
        }
    }

    /// Adds one row.
    ///
    /// # Errors
    /// A value that its column cannot hold, when `on_mismatch` says so; the builder must not be used further then.
    pub fn append(&mut self, document: &dyn Fields) -> Result<(), Box<Mismatch>> {
        if let Some(column) = &mut self.document {
            self.state.text.clear();
            extended::write_document(document, &mut self.state.text)?;
            self.state.bytes += self.state.text.len();
            column.append_value(&self.state.text);
        }
        self.top.append_fields(document, &mut self.state)?;
        self.rows += 1;
        Ok(())
    }

    /// Adds one row without a document: every column is NULL.
    pub fn append_null(&mut self) {
        if let Some(column) = &mut self.document {
            column.append_null();
        }
        self.top.append_missing();
        self.rows += 1;
    }

    /// Rows since the last [`DocumentBuilder::finish`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes those rows hold.
    pub fn bytes(&self) -> usize {
        self.state.bytes
    }

    /// The arrays of the rows so far; the builder is empty then.
    ///
    /// # Errors
    /// When an array would not fit Arrow's offsets.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.state.bytes = 0;
        self.rows = 0;
        let mut arrays = self.top.finish_columns()?;
        arrays.extend(self.document.as_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        Ok(arrays)
    }
}
