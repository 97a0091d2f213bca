//! Relations of a fragment as stages.

use mongodb::bson::{Bson, Document, doc};

use super::super::columns::ID;
use super::super::pushdown::{Mismatch, addressable, filter_document};
use super::super::types::Shape;
use super::cell::{Cell, Kind, Raw, Value, literal};
use super::expression::{cell, value};
use super::{Surroundings, convert, prefilter, truth};
use crate::stores::connector::Scan;
use crate::stores::document::schema::DOCUMENT_COLUMN;
use crate::stores::fragment::{Expression, Node, Refusal, Relation, SortKey, Tables};
use crate::stores::schema::{Collation, TableId, TableKind};

/// The most keys of a sort.
const SORT_KEYS_MAX: usize = 30;

/// Writes the stages of relations.
pub(super) struct Writer<'a> {
    pub(super) tables: &'a Tables,
    pub(super) surroundings: Surroundings<'a>,
}

/// Rows on their way through a pipeline.
pub(super) struct Rows {
    /// The collection that the pipeline starts from.
    pub(super) table: TableId,
    /// All collections that it reads.
    pub(super) tables: Vec<TableId>,
    /// The stages so far.
    pub(super) stages: Vec<Document>,
    /// Where the columns are in the documents that the last stage gives.
    pub(super) cells: Vec<Cell>,
    /// Whether there is a row even when the collection has none.
    pub(super) always_rows: bool,
    /// Whether the documents are those of the collection.
    pub(super) stored: bool,
}

impl Rows {
    /// Adds a stage that leaves the columns where they are.
    fn then(mut self, stage: Document) -> Self {
        self.stages.push(stage);
        self
    }

    /// Makes documents of nothing but `columns`, as `c0`, `c1` …, and of `more`.
    pub(super) fn project(&mut self, columns: Vec<Cell>, more: Vec<(String, Bson)>) {
        let mut stage = doc! { ID: 0_i32 };
        let mut cells = Vec::with_capacity(columns.len());
        for (place, column) in columns.into_iter().enumerate() {
            let (name, path) = (format!("c{place}"), format!("$c{place}"));
            match column {
                Cell::Raw(raw) => {
                    stage.insert(name, convert::unread(&raw));
                    cells.push(Cell::Raw(Box::new(raw.at(path))));
                }
                Cell::Value(value) => {
                    stage.insert(name, value.bson);
                    cells.push(Cell::Value(Value { bson: Bson::String(path), ..value }));
                }
            }
        }
        stage.extend(more);
        if stage.len() == 1 {
            // Nothing but an exclusion would keep all other fields.
            stage.insert("c", literal(true));
        }
        self.stages.push(doc! { "$project": stage });
        self.cells = cells;
        self.stored = false;
    }

    /// Leaves out some rows, then all after so many.
    fn cut(&mut self, offset: u64, limit: Option<u64>) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        if offset > 0 {
            self.stages.push(doc! { "$skip": number(offset) });
        }
        match limit {
            // The server takes no limit of zero.
            Some(0) => self.stages.push(doc! { "$match": { "$expr": false } }),
            Some(limit) => self.stages.push(doc! { "$limit": number(limit) }),
            None => {}
        }
    }

    /// The stages, the last of which gives documents `c0` … in order.
    pub(super) fn into_stages(mut self) -> Vec<Document> {
        let in_place = |(place, cell): (usize, &Cell)| {
            let path = format!("$c{place}");
            match cell {
                Cell::Raw(raw) => raw.path == path,
                Cell::Value(value) => value.bson == Bson::String(path),
            }
        };
        let projected = self.stages.iter().rev().find(|stage| !is_cut(stage)).is_some_and(|stage| stage.contains_key("$project"));
        let done = projected && self.cells.iter().enumerate().all(in_place);
        if !done {
            let cells = std::mem::take(&mut self.cells);
            self.project(cells, Vec::new());
        }
        self.stages
    }
}

/// Whether a stage leaves documents as they are.
fn is_cut(stage: &Document) -> bool {
    ["$limit", "$skip", "$match"].iter().any(|name| stage.contains_key(name))
}

impl Writer<'_> {
    /// The rows of a relation.
    pub(super) fn rows(&self, relation: &Relation) -> Result<Rows, Refusal> {
        match relation {
            Relation::Table(scan) => self.table(scan),
            Relation::Filter { input, condition } => self.filter(input, condition),
            Relation::Project { input, expressions } => self.projection(input, expressions),
            Relation::Aggregate { input, groups, calls } => self.aggregate(input, groups, calls),
            Relation::Distinct { input } => self.distinct(input),
            Relation::Sort { input, keys, offset, limit } => self.sort(input, keys, *offset, *limit),
            Relation::Limit { input, offset, limit } => {
                let mut rows = self.rows(input)?;
                rows.cut(*offset, *limit);
                Ok(rows)
            }
            Relation::Union { inputs } => self.union(inputs),
            Relation::Join { left, right, kind, condition } => self.join((left, right), *kind, condition.as_ref()),
            Relation::Values { .. } => Err(Refusal::new(relation.name(), "a pipeline starts from a collection")),
            Relation::Window { .. } => Err(Refusal::new(relation.name(), "windows are computed here")),
        }
    }

    /// Whether the collation of comparisons can be told.
    pub(super) fn collation(&self, rows: &Rows) -> bool {
        rows.tables.iter().all(|id| self.tables.get(id).is_none_or(|table| table.kind != TableKind::View))
    }

    fn table(&self, scan: &Scan) -> Result<Rows, Refusal> {
        let refused = |rule: &'static str| Refusal::new(format!("table {}", scan.table.name), rule);
        let table = self.tables.get(&scan.table).ok_or_else(|| refused("the collection is not known"))?;
        if table.columns.iter().any(|column| matches!(column.collation, Collation::Loose(_) | Collation::Linguistic(_))) {
            return Err(refused("the view compares text by its own collation"));
        }
        let on_mismatch = (self.surroundings.on_mismatch)(&scan.table);
        let mut cells = Vec::with_capacity(scan.columns.len());
        for ordinal in &scan.columns {
            let column = table.columns.get(*ordinal).ok_or_else(|| refused("the column is not known"))?;
            let name = addressable(column.name()).map_err(|rule| Refusal::new(format!("column {ordinal}"), rule))?;
            if name == DOCUMENT_COLUMN && Shape::of(&column.field) == Shape::Document {
                return Err(Refusal::new(format!("column {ordinal}"), "the document as a whole is no field of it"));
            }
            cells.push(Cell::Raw(Box::new(Raw {
                path: format!("${name}"),
                ancestors: Vec::new(),
                field: column.field.clone(),
                table: table.id.name.clone(),
                column: name.to_owned(),
                on_mismatch,
            })));
        }
        let filter = filter_document(table, Mismatch::of(on_mismatch), &scan.filter);
        let stages = if filter.is_empty() { Vec::new() } else { vec![doc! { "$match": filter }] };
        let tables = vec![scan.table.clone()];
        let mut rows = Rows { table: scan.table.clone(), tables, stages, cells, always_rows: false, stored: true };
        rows.cut(0, scan.limit);
        Ok(rows)
    }

    fn filter(&self, input: &Relation, condition: &Expression) -> Result<Rows, Refusal> {
        let mut rows = self.rows(input)?;
        if let Relation::Table(scan) = input
            && let Some(table) = self.tables.get(&scan.table)
        {
            let mismatch = Mismatch::of((self.surroundings.on_mismatch)(&scan.table));
            rows.stages.extend(prefilter::superset(condition, scan, table, mismatch).map(|filter| doc! { "$match": filter }));
        }
        let condition = truth::holds(condition, true, &rows.cells)?;
        Ok(rows.then(doc! { "$match": { "$expr": condition } }))
    }

    fn projection(&self, input: &Relation, expressions: &[Expression]) -> Result<Rows, Refusal> {
        let mut rows = self.rows(input)?;
        let cells = expressions.iter().map(|expression| column(expression, &rows.cells)).collect::<Result<Vec<_>, _>>()?;
        if expressions.iter().all(|expression| matches!(expression.node, Node::Column(_))) {
            rows.cells = cells;
        } else {
            rows.project(cells, Vec::new());
        }
        Ok(rows)
    }

    fn sort(&self, input: &Relation, keys: &[SortKey], offset: u64, limit: Option<u64>) -> Result<Rows, Refusal> {
        let mut rows = self.rows(input)?;
        if keys.len() > SORT_KEYS_MAX {
            return Err(Refusal::new("sort", "MongoDB sorts by 32 keys at most"));
        }
        if let Some(order) = by_key_of_collection(&rows, keys) {
            rows.stages.push(doc! { "$sort": order });
            rows.cut(offset, limit);
            return Ok(rows);
        }
        let (mut order, mut ranks) = (Document::new(), Vec::with_capacity(keys.len()));
        for (place, key) in keys.iter().enumerate() {
            let ranked = rank(&value(&key.expression, &rows.cells)?, key);
            ranks.push((format!("k{place}"), ranked));
            order.insert(format!("k{place}"), if key.descending { -1_i32 } else { 1 });
        }
        let cells = std::mem::take(&mut rows.cells);
        rows.project(cells, ranks);
        if !order.is_empty() {
            rows.stages.push(doc! { "$sort": order });
        }
        rows.cut(offset, limit);
        Ok(rows)
    }

    fn union(&self, inputs: &[Relation]) -> Result<Rows, Refusal> {
        let refused = |rule: &'static str| Refusal::new("union", rule);
        let mut inputs = inputs.iter().map(|input| self.rows(input).and_then(read_all));
        let mut rows = inputs.next().ok_or_else(|| refused("there is no input"))??;
        for input in inputs {
            let mut input = input?;
            self.same_place(&rows, &input).map_err(refused)?;
            let kinds = rows.cells.iter().zip(&input.cells).all(|cells| match cells {
                (Cell::Value(one), Cell::Value(other)) => one.kind == other.kind,
                _ => false,
            });
            if !kinds || rows.cells.len() != input.cells.len() {
                return Err(refused("the inputs have columns of different types"));
            }
            rows.tables.append(&mut input.tables);
            rows.always_rows |= input.always_rows;
            rows.stages.push(doc! { "$unionWith": { "coll": &input.table.name, "pipeline": input.stages } });
            for (cell, other) in rows.cells.iter_mut().zip(input.cells) {
                if let (Cell::Value(value), Cell::Value(other)) = (cell, other) {
                    value.nullable |= other.nullable;
                }
            }
        }
        Ok(rows)
    }

    /// Pipelines over several collections stay in one database, and on one server.
    pub(super) fn same_place(&self, one: &Rows, other: &Rows) -> Result<(), &'static str> {
        if one.table.namespace != other.table.namespace {
            return Err("MongoDB reads several collections of one database only");
        }
        if self.surroundings.deployment.is_none_or(|deployment| deployment.sharded) {
            return Err("the collections may lie on different shards");
        }
        Ok(())
    }
}

/// The column that an expression gives.
fn column(expression: &Expression, cells: &[Cell]) -> Result<Cell, Refusal> {
    match expression.node {
        Node::Column(_) | Node::Field { .. } => cell(expression, cells),
        _ => value(expression, cells).map(Cell::Value),
    }
}

/// Documents of nothing but values.
pub(super) fn read_all(mut rows: Rows) -> Result<Rows, Refusal> {
    let cells = std::mem::take(&mut rows.cells);
    let values = cells.into_iter().enumerate().map(|(place, cell)| match cell {
        Cell::Raw(raw) => convert::read(&raw).map(Cell::Value).map_err(|rule| Refusal::new(format!("#{place}"), rule)),
        value @ Cell::Value(_) => Ok(value),
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    rows.project(values, Vec::new());
    Ok(rows)
}

/// What the server sorts by so that the order is PostgreSQL's: null is the lowest value for it.
fn rank(value: &Value, key: &SortKey) -> Bson {
    let ranked = if value.kind == Kind::Float { truth::float_key(&value.bson) } else { value.bson.clone() };
    if value.nullable && key.descending == key.nulls_first {
        return Bson::Document(doc! { "$ifNull": [ranked, Bson::MaxKey] });
    }
    ranked
}

/// The order by the key of the collection, whose index gives it. The key is never missing and never an array; a key of a type
/// that does not fit the column is an error as soon as it is read.
fn by_key_of_collection(rows: &Rows, keys: &[SortKey]) -> Option<Document> {
    let [SortKey { expression: Expression { node: Node::Column(ordinal), .. }, descending, .. }] = keys else { return None };
    let Some(Cell::Raw(raw)) = rows.cells.get(*ordinal) else { return None };
    let ordered = matches!(raw.shape(), Shape::ObjectId | Shape::Int | Shape::Text | Shape::Date | Shape::Uuid);
    let key = rows.stored && raw.path == "$_id" && !raw.field.is_nullable() && ordered;
    key.then(|| doc! { ID: if *descending { -1_i32 } else { 1 } })
}
