//! Parts of plans as aggregation pipelines.
//!
//! ```text
//! Relation → relation (stages; aggregate, join) over cells ─ stored fields and computed values
//! Expression → expression (values: convert, constant, cast, call) and truth (conditions)
//! pipeline's documents c0 … cn → output → Arrow batches
//! ```
//!
//! A column is passed on as it is stored for as long as nothing is computed of it, and the reader of scans reads it in the end.
//! What is computed is computed of what the reader would have read ([`convert`]): a value that does not fit its column is
//! NULL or raises the reader's error ([`raise`]). Computed values are never missing, so that the server's null is SQL's NULL.
//!
//! **Invariants:** every name of a document that a pipeline makes is generated, and every constant is a `$literal`, so that no
//! text of a query is taken for an operator or a path; functions that run code are never written; what is not proved to be
//! PostgreSQL's answer is refused. Deliberately absent: sums of floats, which the server adds with a compensation that
//! PostgreSQL does not have; averages, which the engine splits; binary values and mixed columns, which compare otherwise.

mod aggregate;
mod call;
mod cast;
mod cell;
mod constant;
mod convert;
mod expression;
mod join;
mod output;
mod prefilter;
pub(super) mod raise;
mod relation;
mod truth;

use mongodb::bson::{Bson, Decimal128, Document, doc};

use super::pool::Deployment;
use super::types::relaxed_json;
use crate::stores::document::OnMismatch;
use crate::stores::fragment::{Fragment, Refusal, Relation, Tables, shapes};
use crate::stores::schema::TableId;

pub(super) use output::{Output, carried};

/// Documents nested deeper than this are refused by the server in a command (`BSONDepth`, 200 less what is around a pipeline).
const DEPTH_MAX: usize = 150;
/// The largest pipeline, in bytes; a command may have 16 MiB.
const SIZE_MAX: usize = 8 << 20;

/// What the writer knows of the deployment and the store file.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// What the store's last answer said of it.
    pub(super) deployment: Option<Deployment>,
    /// What becomes of values of a collection that do not fit.
    pub(super) on_mismatch: &'a (dyn Fn(&TableId) -> OnMismatch + Sync),
}

/// A fragment in the words of the server.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    /// The collection that it starts from.
    pub(super) table: TableId,
    /// All collections that it reads.
    pub(super) tables: Vec<TableId>,
    /// The stages.
    pub(super) stages: Vec<Document>,
    /// Whether the collation can be told: a view has its own.
    pub(super) collation: bool,
    /// What the fields `c0` … of its documents hold.
    pub(super) output: Output,
    /// Whether there are rows even when the collections have none.
    pub(super) always_rows: bool,
}

/// Whether the server runs `relation` ([`crate::stores::Connector::accepts`]).
pub(super) fn accepts(relation: &Relation, tables: &Tables, surroundings: Surroundings<'_>) -> Result<(), Refusal> {
    write(relation, tables, surroundings).map(|_pipeline| ())
}

/// The pipeline of a relation.
pub(super) fn write(relation: &Relation, tables: &Tables, surroundings: Surroundings<'_>) -> Result<Pipeline, Refusal> {
    // `$getField`, `$lookup` with both a key and a pipeline, and snapshots came with 5.0, whose wire version is 13.
    let modern = surroundings.deployment.is_some_and(|deployment| deployment.wire_version >= 13);
    if !modern {
        return Err(Refusal::new(relation.name(), "MongoDB servers before 5.0 run no parts of plans"));
    }
    let writer = relation::Writer { tables, surroundings };
    let types: Vec<_> = shapes(relation, tables).into_iter().map(|shape| shape.pg_type).collect();
    let rows = writer.rows(relation)?;
    let output = Output::of(&rows, &types).map_err(|(column, rule)| Refusal::new(format!("column {column}"), rule))?;
    let pipeline = Pipeline {
        collation: writer.collation(&rows),
        table: rows.table.clone(),
        tables: rows.tables.clone(),
        always_rows: rows.always_rows,
        stages: rows.into_stages(),
        output,
    };
    let stages = doc! { "pipeline": pipeline.stages.clone() };
    if depth(&stages) > DEPTH_MAX {
        return Err(Refusal::new(relation.name(), "the pipeline is nested too deeply for MongoDB"));
    }
    if stages.to_vec().map_or(usize::MAX, |bytes| bytes.len()) > SIZE_MAX {
        return Err(Refusal::new(relation.name(), "the pipeline is too long for MongoDB"));
    }
    Ok(pipeline)
}

/// The command that a fragment sends, with `?` for the constants of the query, and these after it.
pub(super) fn describe(fragment: &Fragment, tables: &Tables, surroundings: Surroundings<'_>) -> String {
    let pipeline = match write(&fragment.root, tables, surroundings) {
        Ok(pipeline) => pipeline,
        Err(refusal) => return format!("not sent: {refusal}"),
    };
    let mut constants = Vec::new();
    let stages: Vec<Document> = pipeline.stages.iter().map(|stage| shown(stage, &mut constants)).collect();
    let mut command = doc! { "aggregate": &pipeline.table.name, "pipeline": stages };
    if pipeline.collation {
        command.insert("collation", doc! { "locale": "simple" });
    }
    let text = relaxed_json(&command);
    if constants.is_empty() { text } else { format!("{text} {}", relaxed_json(&doc! { "parameters": constants })) }
}

fn shown(document: &Document, constants: &mut Vec<Bson>) -> Document {
    if let (1, Some(value)) = (document.len(), document.get("$literal")) {
        constants.push(value.clone());
        return doc! { "$literal": format!("?{}", constants.len()) };
    }
    document
        .iter()
        .map(|(key, value)| {
            let value = match (key.as_str(), value) {
                ("$match", Bson::Document(filter)) if !filter.contains_key("$expr") => {
                    Bson::Document(super::pushdown::without_values(filter))
                }
                (_, value) => shown_value(value, constants),
            };
            (key.clone(), value)
        })
        .collect()
}

fn shown_value(value: &Bson, constants: &mut Vec<Bson>) -> Bson {
    match value {
        Bson::Document(inner) => Bson::Document(shown(inner, constants)),
        Bson::Array(items) => Bson::Array(items.iter().map(|item| shown_value(item, constants)).collect()),
        other => other.clone(),
    }
}

/// How deep documents and arrays are nested.
fn depth(document: &Document) -> usize {
    fn of(value: &Bson) -> usize {
        match value {
            Bson::Document(inner) => depth(inner),
            Bson::Array(items) => 1 + items.iter().map(of).max().unwrap_or(0),
            _ => 0,
        }
    }
    1 + document.values().map(of).max().unwrap_or(0)
}

/// A decimal of the server, `unscaled × 10^exponent`; `None` when it has more than 34 digits.
fn decimal(unscaled: i128, exponent: i32) -> Option<Bson> {
    let fits = unscaled.unsigned_abs() < 10_u128.pow(call::DIGITS_MAX.unsigned_abs());
    fits.then(|| format!("{unscaled}E{exponent}").parse::<Decimal128>().ok().map(Bson::Decimal128)).flatten()
}
