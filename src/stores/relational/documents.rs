//! Tables with a JSON column declared as a document: which they are, what discovery makes of them, and how a scan reads them.
//!
//! ```text
//! store file → read_options → Sampler (rows of the JSON column) → replace: the column becomes its fields
//! scan: select → one selected item per plain column and per JSON column → DocumentCells → arrays of the fields
//! ```

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use super::super::document::build::Conversion;
use super::super::document::json_text::{self, Json, Repeated};
use super::super::document::options::{missing, read_tables, unseen};
use super::super::document::{DocumentBuilder, DocumentField, DocumentOptions, Learning, OnMismatch, Sample};
use super::super::schema::{Refused, StoreSchema, Table, TableId};
use super::embedded::{self, Source};
use crate::error::sqlstate;
use crate::options::{OptionSpec, Problem, Secrets};
use crate::spelling::nearest;

/// The key of a relational store file that declares documents.
pub const OPTION: OptionSpec = OptionSpec {
    key: "tables",
    form: crate::options::Form::Table,
    default: Some(""),
    meaning: "For tables with a JSON column whose fields become columns: [tables.<name>] document = \"<column>\" and more.",
};

/// Options of tables by name, as the store file names them.
pub type TableOptions = BTreeMap<String, DocumentOptions>;

/// Reads what stands under [`OPTION`] in the store file at `path`; what is wrong is added to `problems`.
pub fn read_options(path: &str, found: Option<&toml::Table>, secrets: &dyn Secrets, problems: &mut Vec<Problem>) -> TableOptions {
    let path = format!("{path}.tables");
    let tables = found.map(|tables| read_tables(&path, tables, secrets, problems)).unwrap_or_default();
    for table in tables.iter().filter(|(_, options)| options.column.is_none()).map(|(table, _)| table) {
        let rule = "needs document = \"<column>\": a relational table has no other options".to_owned();
        problems.push(Problem { path: format!("{path}.{table}"), value: String::new(), rule });
    }
    tables
}

/// A document that the store file declares.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'o> {
    /// How the store file names the table.
    pub key: &'o str,
    /// The JSON column.
    pub column: &'o str,
    /// Its options.
    pub options: &'o DocumentOptions,
}

impl Declared<'_> {
    /// That the column is none whose fields could become columns.
    pub fn unmet(&self, rule: impl Into<String>) -> Findings {
        let path = format!("tables.{}.document", self.key);
        let unmet = vec![Problem { path, value: format!("\"{}\"", self.column), rule: rule.into() }];
        Findings { unmet, ..Findings::default() }
    }
}

/// What a look at the declared documents of a store has shown.
#[derive(Debug, Default)]
pub struct Findings {
    /// Fields that cannot be offered.
    pub refused: Vec<Refused>,
    /// As [`StoreSchema::unmet`].
    pub unmet: Vec<Problem>,
    /// As [`StoreSchema::unseen`].
    pub unseen: Vec<Problem>,
}

impl Findings {
    /// Puts them to what was found before.
    pub fn add_to(self, schema: &mut StoreSchema) {
        schema.refused.extend(self.refused);
        schema.unmet.extend(self.unmet);
        schema.unseen.extend(self.unseen);
    }
}

/// The document of a table: by `namespace.table`, or by the bare name in the default namespace.
pub fn declared_of<'o>(options: &'o TableOptions, default_namespace: &str, id: &TableId) -> Option<Declared<'o>> {
    let whole = options.get_key_value(&format!("{}.{}", id.namespace, id.name));
    let bare = || options.get_key_value(&id.name).filter(|_| id.namespace == default_namespace);
    let (key, options) = whole.or_else(bare)?;
    Some(Declared { key, column: options.column.as_deref()?, options })
}

/// Names of the store file that are no tables. A table that is refused exists.
pub fn tell_missing(options: &TableOptions, schema: &mut StoreSchema) {
    let default = schema.default_namespace.as_str();
    let found = schema.tables.iter().map(|table| &table.id).chain(schema.refused.iter().map(|refused| &refused.table));
    let names = |id: &TableId| {
        let bare = (id.namespace == default).then(|| id.name.clone());
        [Some(format!("{}.{}", id.namespace, id.name)), bare]
    };
    let existing: BTreeSet<String> = found.flat_map(names).flatten().collect();
    let unmet = missing("tables", options.keys(), &existing);
    schema.unmet.extend(unmet);
}

/// A refusal of a document or a part of it.
pub fn refusal(table: &TableId, column: Option<&str>, native_type: &str, reason: &str) -> Refused {
    Refused {
        table: table.clone(),
        column: column.map(str::to_owned),
        native_type: native_type.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The ordinal of a JSON column that can become its fields.
///
/// # Errors
/// That it is none.
pub fn place(table: &Table, declared: Declared<'_>) -> Result<usize, Findings> {
    let names = || table.columns.iter().map(super::super::schema::Column::name);
    let Some(place) = names().position(|name| name == declared.column) else {
        let near = nearest(declared.column, names()).map(|near| format!("; perhaps \"{near}\"")).unwrap_or_default();
        return Err(declared.unmet(format!("is no column of the table{near}")));
    };
    let keys = [table.primary_key.as_ref()].into_iter().flatten().chain(&table.unique_keys).chain(&table.indexes);
    let mut in_key = keys.map(|key| &key.columns).chain(table.foreign_keys.iter().map(|key| &key.columns)).flatten();
    if in_key.any(|ordinal| *ordinal == place) {
        return Err(declared.unmet("is part of a key or index and stays one column"));
    }
    Ok(place)
}

/// Looks at rows of a JSON column.
#[derive(Debug)]
pub struct Sampler {
    sample: Sample,
    repeated: Repeated,
    rows: u64,
    unreadable: u64,
}

impl Sampler {
    /// A sampler that has seen nothing.
    pub fn new(repeated: Repeated) -> Self {
        Self { sample: Sample::new(), repeated, rows: 0, unreadable: 0 }
    }

    /// Takes one row into account; `None` for a value that is not text.
    pub fn observe(&mut self, text: Option<&[u8]>) {
        self.rows += 1;
        let value = text.and_then(|text| json_text::parse(text, self.repeated).ok());
        let observed = value.as_ref().and_then(Json::as_fields).map(|document| self.sample.observe(document));
        if !matches!(observed, Some(Ok(()))) {
            self.unreadable += 1;
        }
    }
}

/// Puts the fields of the JSON column at `place` in its place.
pub fn replace(table: &mut Table, place: usize, sampler: Sampler, declared: Declared<'_>, learning: &mut Learning) -> Findings {
    let options = declared.options;
    let mut refused = Vec::new();
    let from = table.columns.remove(place);
    let (id, column) = (table.id.clone(), from.name().to_owned());
    if sampler.unreadable > 0 {
        let reason = format!("holds no JSON object in {} of {} sampled rows", sampler.unreadable, sampler.rows);
        refused.push(refusal(&id, Some(&column), "document", &reason));
    }
    let schema = learning.learn((id.clone(), column.clone()), &options.declared, sampler.sample.into_fields());
    let (unmet, unseen) = unseen("tables", declared.key, schema.unseen(&options.declared));
    let taken: Vec<&str> = table.columns.iter().map(super::super::schema::Column::name).collect();
    let (columns, without_name) = embedded::expand(&from, &taken, &schema.fields, options);
    for field in without_name {
        refused.push(refusal(&id, Some(&format!("{column}.{field}")), "document field", "has no free column name"));
    }
    // The new columns go to the end, so that ordinals in keys stay as they are up to the one that went.
    table.columns.extend(columns);
    let keys = table.primary_key.iter_mut().chain(&mut table.unique_keys).chain(&mut table.indexes);
    let ordinals = keys.map(|key| &mut key.columns).chain(table.foreign_keys.iter_mut().map(|key| &mut key.columns));
    // A check of the document as a whole says nothing about what is left of it.
    table.checks.retain(|check| !check.columns.contains(&place));
    let ordinals = ordinals.chain(table.checks.iter_mut().map(|check| &mut check.columns));
    ordinals.flatten().filter(|ordinal| **ordinal > place).for_each(|ordinal| *ordinal -= 1);
    table.schema = Table::arrow_schema(&table.columns);
    Findings { refused, unmet, unseen }
}

/// One thing that a scan selects.
#[derive(Debug)]
pub enum Selected {
    /// A column of the table as it is.
    Plain {
        /// Its place in the batch.
        output: usize,
        /// Its place in the table.
        ordinal: usize,
    },
    /// A JSON column of which fields are read.
    Document(Part),
}

/// The fields that a scan reads of one JSON column.
#[derive(Debug)]
pub struct Part {
    /// The JSON column.
    pub column: String,
    /// One of the table's columns that come from it.
    pub ordinal: usize,
    on_mismatch: OnMismatch,
    fields: Vec<DocumentField>,
    /// Where the fields go in the batch.
    outputs: Vec<usize>,
    /// Where the whole document goes in the batch.
    whole: Option<usize>,
}

impl Part {
    fn add(&mut self, output: usize, source: Source<'_>) {
        match source.field {
            Some(field) => {
                self.fields.push(field);
                self.outputs.push(output);
            }
            None => self.whole = Some(output),
        }
    }
}

/// What a scan of the columns `ordinals` selects: each JSON column once. `None` when an ordinal is not in the table.
pub fn select(table: &Table, ordinals: &[usize]) -> Option<Vec<Selected>> {
    let mut selected = Vec::with_capacity(ordinals.len());
    for (output, ordinal) in ordinals.iter().copied().enumerate() {
        let Some(source) = embedded::source(&table.columns.get(ordinal)?.field) else {
            selected.push(Selected::Plain { output, ordinal });
            continue;
        };
        let known = selected.iter_mut().find_map(|item| match item {
            Selected::Document(part) if part.column == source.column => Some(part),
            Selected::Document(_) | Selected::Plain { .. } => None,
        });
        match known {
            Some(part) => part.add(output, source),
            None => {
                let (column, on_mismatch) = (source.column.to_owned(), source.on_mismatch);
                let mut part = Part { column, ordinal, on_mismatch, fields: vec![], outputs: vec![], whole: None };
                part.add(output, source);
                selected.push(Selected::Document(part));
            }
        }
    }
    Some(selected)
}

/// A document that does not fit its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The JSON column and the field in it: `doc.address.zip`.
    pub path: String,
    /// SQLSTATE of the failure.
    pub sqlstate: &'static str,
    /// The broken rule as a clause.
    pub rule: String,
}

/// Grows the arrays of one JSON column's fields.
#[derive(Debug)]
pub struct DocumentCells {
    column: String,
    on_mismatch: OnMismatch,
    repeated: Repeated,
    builder: DocumentBuilder,
    outputs: Vec<usize>,
}

impl DocumentCells {
    /// Cells without rows.
    pub fn new(part: &Part, repeated: Repeated) -> Self {
        let conversion = Conversion { on_mismatch: part.on_mismatch, texts: true };
        Self {
            column: part.column.clone(),
            on_mismatch: part.on_mismatch,
            repeated,
            builder: DocumentBuilder::new(&part.fields, part.whole.is_some(), conversion),
            outputs: part.outputs.iter().copied().chain(part.whole).collect(),
        }
    }

    /// About how many bytes the rows so far hold.
    pub fn bytes(&self) -> usize {
        self.builder.bytes()
    }

    /// Adds a row whose JSON column is NULL.
    pub fn append_null(&mut self) {
        self.builder.append_null();
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Text that is no JSON object, or whose values do not fit, unless misfits are read as NULL.
    pub fn append(&mut self, text: &[u8]) -> Result<(), Misfit> {
        match json_text::parse(text, self.repeated) {
            Ok(value) => match value.as_fields() {
                Some(document) => self.builder.append(document).map_err(|mismatch| Misfit {
                    path: format!("{}.{}", self.column, mismatch.path),
                    sqlstate: mismatch.sqlstate,
                    rule: mismatch.rule,
                }),
                None => self.append_unfit("is not a JSON object".to_owned()),
            },
            Err(error) => self.append_unfit(format!("is {error}")),
        }
    }

    /// Adds a row whose JSON column holds no document at all.
    ///
    /// # Errors
    /// Always, unless misfits are read as NULL.
    pub fn append_unfit(&mut self, rule: String) -> Result<(), Misfit> {
        if self.on_mismatch != OnMismatch::Null {
            let sqlstate = sqlstate::INVALID_TEXT_REPRESENTATION;
            return Err(Misfit { path: self.column.clone(), sqlstate, rule });
        }
        self.builder.append_null();
        Ok(())
    }

    /// The arrays of the rows so far with their places in the batch; the cells are empty then.
    ///
    /// # Errors
    /// When an array would not fit Arrow's offsets.
    pub fn finish(&mut self) -> Result<Vec<(usize, ArrayRef)>, ArrowError> {
        Ok(self.outputs.iter().copied().zip(self.builder.finish()?).collect())
    }
}

/// The arrays in the order of the batch.
pub fn in_order(mut arrays: Vec<(usize, ArrayRef)>) -> Vec<ArrayRef> {
    arrays.sort_by_key(|(output, _)| *output);
    arrays.into_iter().map(|(_, array)| array).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_bare_only_in_the_default_namespace() {
        let options = |column: &str| DocumentOptions { column: Some(column.to_owned()), ..DocumentOptions::default() };
        let named = TableOptions::from([("t".to_owned(), options("a")), ("other.t".to_owned(), options("b"))]);
        let id = |namespace: &str| TableId { namespace: namespace.to_owned(), name: "t".to_owned() };
        let column = |namespace: &str| declared_of(&named, "public", &id(namespace)).map(|declared| declared.column);
        assert_eq!((column("public"), column("other"), column("third")), (Some("a"), Some("b"), None));
        let refused = ["public", "othr"].map(|namespace| refusal(&id(namespace), None, "", "may not be read")).to_vec();
        let mut schema = StoreSchema { default_namespace: "public".to_owned(), refused, ..StoreSchema::default() };
        tell_missing(&named, &mut schema);
        let told: Vec<String> = schema.unmet.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["tables.other.t: names nothing that the store has; perhaps \"othr.t\""]);
    }
}
