//! Which rows of tables those rows of a view come from that have one value in one of its columns, as far as its plan proves it.
//!
//! ```text
//! a column of the view ── down the plan, node by node: which columns below have the same value? ──> a column of a scan
//!                      └─ none of them: the part below is one for all values, and must be settled by its tables alone
//! ```
//!
//! **Invariants:** whatever the value, NULL as well: the rows of the view that have it are the same where of each table that is told only
//! the rows with that value in the column that is told were there, the other tables being as they are. So a change of these tables changes
//! no row of the view but those with a value that the changed rows have, or had. A part that is one for all values gives the same rows
//! whenever it is computed, since rows of several computations stand beside each other. What fails for a row of a table that is told fails
//! also where only the rows with its value were there. Where any of this is not certain nothing is told.
//! Deliberately absent: how a plan with a condition on the column is made fast, which is the optimiser's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Constraint, DFSchema, JoinType};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, TableScan, Window};

use crate::federation::kept_query;
use crate::pgtype::{ENUM_KEY, PgField, PgType};
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::views::engine::column_of;

/// A table, by its store and its name there.
pub(in crate::views) type TableKey = (StoreName, TableId);

/// Columns, by their places among those of a node.
type Places = BTreeSet<usize>;

/// Most columns of which one is chosen with each change.
const COLUMNS_MAX: usize = 8;

/// Types whose values are equal where their bytes are: no floats (-0, NaN), no numbers with several forms, no padded text.
const KEY_TYPES: [PgType; 10] = [
    PgType::BOOL,
    PgType::INT2,
    PgType::INT4,
    PgType::INT8,
    PgType::TEXT,
    PgType::VARCHAR,
    PgType::DATE,
    PgType::TIMESTAMP,
    PgType::TIMESTAMPTZ,
    PgType::UUID,
];

/// By which column rows of a view can be computed anew, and which values of it a change of a table concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::views) struct Lineage {
    /// The place of the column among those of the view.
    pub(in crate::views) column: usize,
    /// Its type.
    pub(in crate::views) data_type: DataType,
    /// The columns of tables whose values are those of the column, as ordinals; one for each time that the table is read.
    pub(in crate::views) tables: BTreeMap<TableKey, BTreeSet<usize>>,
    /// Whether no two rows of one of the tables have the same value.
    is_unique: bool,
}

impl Lineage {
    /// The less the sooner it is chosen: what most tables have, and few rows share. Half of all rows have one boolean.
    fn rank(&self) -> (bool, Reverse<usize>, bool) {
        (self.data_type == DataType::Boolean, Reverse(self.tables.len()), !self.is_unique)
    }

    fn knows_all(&self, tables: &[&TableKey]) -> bool {
        tables.iter().all(|table| self.tables.contains_key(*table))
    }
}

/// The columns by which rows of a view can be computed anew, of which there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::views) struct Lineages {
    /// In the order in which they are chosen, each with a table that none before it has beside all others of its own; bounded.
    columns: Vec<Lineage>,
    /// All tables that the view reads, with the columns that it reads of them.
    reads: BTreeMap<TableKey, BTreeSet<usize>>,
}

impl Lineages {
    /// Those of the columns of a view.
    ///
    /// `plan` is the optimised plan of the view, and `schema` has its columns with their Postgres types. `table_of` tells which table a scan
    /// reads, `is_settled` whether a part of the plan always gives the same rows over the same tables.
    ///
    /// # Errors
    /// Why there is none, as a clause.
    pub(in crate::views) fn of(
        plan: &LogicalPlan,
        schema: &Schema,
        table_of: &dyn Fn(&TableScan) -> Option<TableKey>,
        is_settled: &dyn Fn(&LogicalPlan) -> bool,
    ) -> Result<Self, &'static str> {
        let scans = Scans::of(plan, table_of).ok_or("a subquery in it is no join, or a part of it is no table")?;
        let (mut all, mut has_keys) = (Vec::new(), false);
        for (column, (field, own)) in schema.fields().iter().zip(plan.schema().fields()).enumerate() {
            if !is_key(field) || field.data_type() != own.data_type() {
                continue;
            }
            has_keys = true;
            let mut tracer = Tracer { data_type: field.data_type(), table_of, is_settled, found: Vec::new() };
            if tracer.node(plan, &Places::from([column])).is_none() {
                continue;
            }
            let is_unique = tracer.found.iter().any(|found| found.is_unique);
            let tables = of_all_scans(tracer.found, &scans.times);
            if !tables.is_empty() {
                all.push(Lineage { column, data_type: field.data_type().clone(), tables, is_unique });
            }
        }
        if !has_keys {
            return Err("it has no column of a type whose values are told apart by their bytes");
        }
        all.sort_by_key(Lineage::rank);
        let mut columns: Vec<Lineage> = Vec::new();
        for lineage in all {
            let tables: Vec<&TableKey> = lineage.tables.keys().collect();
            // One that is before it is chosen wherever it could be.
            if columns.len() < COLUMNS_MAX && !columns.iter().any(|known| known.knows_all(&tables)) {
                columns.push(lineage);
            }
        }
        if columns.is_empty() {
            return Err("no column of it tells which of its rows a change concerns");
        }
        Ok(Self { columns, reads: scans.reads })
    }

    /// The column that is chosen where all of them would serve.
    pub(in crate::views) fn first(&self) -> Option<&Lineage> {
        self.columns.first()
    }

    #[cfg(test)]
    pub(in crate::views) fn all(&self) -> &[Lineage] {
        &self.columns
    }

    /// The first column that is known of all of these tables.
    pub(in crate::views) fn of_all(&self, tables: &[&TableKey]) -> Option<&Lineage> {
        self.columns.iter().find(|lineage| lineage.knows_all(tables))
    }

    /// Whether some column is known of a table.
    pub(in crate::views) fn knows(&self, table: &TableKey) -> bool {
        self.columns.iter().any(|lineage| lineage.tables.contains_key(table))
    }

    /// The tables whose changes take the whole query.
    pub(in crate::views) fn unknown(&self) -> impl Iterator<Item = &TableKey> {
        self.reads.keys().filter(|table| !self.knows(table))
    }

    /// The columns of a table that the view reads, as ordinals; `None` where it is none of its tables.
    pub(in crate::views) fn read_of(&self, table: &TableKey) -> Option<&BTreeSet<usize>> {
        self.reads.get(table)
    }
}

/// The tables of a plan.
#[derive(Default)]
struct Scans {
    /// How often each of them is read.
    times: BTreeMap<TableKey, usize>,
    /// The columns that are read, by conditions as well.
    reads: BTreeMap<TableKey, BTreeSet<usize>>,
}

impl Scans {
    /// `None` for a plan that reads something else, or has a plan inside of an expression.
    fn of(plan: &LogicalPlan, table_of: &dyn Fn(&TableScan) -> Option<TableKey>) -> Option<Self> {
        let (mut scans, mut is_plain) = (Self::default(), true);
        let walked = plan.apply(|node| {
            node.apply_subqueries(|_subquery| {
                is_plain = false;
                Ok(TreeNodeRecursion::Stop)
            })?;
            if let LogicalPlan::TableScan(scan) = node {
                match table_of(scan) {
                    Some(table) => {
                        *scans.times.entry(table.clone()).or_insert(0) += 1;
                        scans.reads.entry(table).or_default().extend(read_by(scan));
                    }
                    None => is_plain = false,
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        (walked.is_ok() && is_plain).then_some(scans)
    }
}

/// The columns that a scan reads, as ordinals of its table.
fn read_by(scan: &TableScan) -> BTreeSet<usize> {
    let whole = scan.source.schema();
    let all = || (0..whole.fields().len()).collect::<BTreeSet<usize>>();
    let Some(projection) = &scan.projection else { return all() };
    let mut read: BTreeSet<usize> = projection.iter().copied().collect();
    for column in scan.filters.iter().flat_map(|filter| filter.column_refs()) {
        let Ok(ordinal) = whole.index_of(&column.name) else { return all() };
        read.insert(ordinal);
    }
    read
}

/// Those tables whose column is known wherever they are read.
fn of_all_scans(found: Vec<Found>, scans: &BTreeMap<TableKey, usize>) -> BTreeMap<TableKey, BTreeSet<usize>> {
    let (mut tables, mut times): (BTreeMap<TableKey, BTreeSet<usize>>, BTreeMap<TableKey, usize>) = Default::default();
    for Found { table, ordinal, .. } in found {
        *times.entry(table.clone()).or_insert(0) += 1;
        tables.entry(table).or_default().insert(ordinal);
    }
    tables.retain(|table, _| times.get(table) == scans.get(table));
    tables
}

/// Whether values of a column are told apart by their bytes, and by nothing else.
fn is_key(field: &Field) -> bool {
    let pg_type = field.pg_type();
    KEY_TYPES.iter().any(|known| known.oid == pg_type.oid)
        && *field.data_type() == pg_type.carrier()
        && !field.metadata().contains_key(ENUM_KEY)
}

/// The column of a scan that has the value.
struct Found {
    table: TableKey,
    ordinal: usize,
    /// Whether no two rows of the table have the same.
    is_unique: bool,
}

/// The way down a plan.
struct Tracer<'a> {
    data_type: &'a DataType,
    table_of: &'a dyn Fn(&TableScan) -> Option<TableKey>,
    is_settled: &'a dyn Fn(&LogicalPlan) -> bool,
    /// A column for each scan that has one.
    found: Vec<Found>,
}

impl Tracer<'_> {
    /// Goes on with the rows that have the value in all of these columns, of which there is at least one; `None` where there is a part that is
    /// not settled, or that may fail where nobody sees it.
    fn node(&mut self, plan: &LogicalPlan, places: &Places) -> Option<()> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, places),
            // Rows are taken or left one by one.
            LogicalPlan::Filter(filter) => self.node(&filter.input, places),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input, places),
            LogicalPlan::Repartition(repartition) => self.node(&repartition.input, places),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.node(&sort.input, places),
            LogicalPlan::Projection(projection) => {
                let below = columns_at(&projection.expr, places, projection.input.schema());
                self.below(plan, &projection.input, &below)
            }
            LogicalPlan::Union(union) => union.inputs.iter().try_for_each(|input| self.node(input, places)),
            // Equal rows have equal keys.
            LogicalPlan::Distinct(Distinct::All(input)) => self.node(input, places),
            LogicalPlan::Aggregate(aggregate) => self.below(plan, &aggregate.input, &grouped(aggregate, places)),
            LogicalPlan::Window(window) => self.below(plan, &window.input, &partitioned(window, places)),
            LogicalPlan::Join(join) => self.join(plan, join, places),
            // What takes some of all rows, goes on in rounds, or is of some other kind.
            other => self.settled(other),
        }
    }

    /// Goes on below a node. Without a column it is one for all values, the node itself included.
    fn below(&mut self, plan: &LogicalPlan, input: &LogicalPlan, places: &Places) -> Option<()> {
        if places.is_empty() { self.settled(plan) } else { self.node(input, places) }
    }

    fn settled(&self, part: &LogicalPlan) -> Option<()> {
        (self.is_settled)(part).then_some(())
    }

    fn scan(&mut self, scan: &TableScan, places: &Places) -> Option<()> {
        if scan.fetch.is_some() {
            return None;
        }
        let (table, whole, data_type) = ((self.table_of)(scan)?, scan.source.schema(), self.data_type);
        let ordinal = |place: &usize| match &scan.projection {
            Some(projection) => projection.get(*place).copied(),
            None => Some(*place),
        };
        let has_keys =
            |ordinal: &usize| whole.fields().get(*ordinal).is_some_and(|field| is_key(field) && field.data_type() == data_type);
        if let Some(ordinal) = places.iter().filter_map(ordinal).find(has_keys) {
            let tells_apart = |constraint: &Constraint| match constraint {
                Constraint::PrimaryKey(columns) | Constraint::Unique(columns) => *columns == [ordinal],
            };
            let is_unique = scan.source.constraints().is_some_and(|constraints| constraints.iter().any(tells_apart));
            self.found.push(Found { table, ordinal, is_unique });
        }
        Some(())
    }

    fn join(&mut self, plan: &LogicalPlan, join: &Join, places: &Places) -> Option<()> {
        let (left, right) = sides(join, places, self.data_type);
        if left.is_empty() && right.is_empty() {
            return self.settled(plan);
        }
        let (gives_left, gives_right) = gives_all(join);
        let keys = |is_left: bool| join.on.iter().map(move |(left, right)| if is_left { left } else { right });
        // A join does not ask for rows of one side that meet none of the other one, once it knows that: of one key fewer are asked for.
        let may_be_left =
            |side: &LogicalPlan, is_left: bool| may_fail(side) || keys(is_left).any(|key| kept_query::may_fail(key, side.schema()));
        let is_missed = |side: &LogicalPlan, places: &Places, is_left: bool| !places.is_empty() && may_be_left(side, is_left);
        if !gives_left && is_missed(&join.left, &left, true) || !gives_right && is_missed(&join.right, &right, false) {
            return None;
        }
        for (side, places) in [(&join.left, left), (&join.right, right)] {
            // One side has no column of the key, and all of it may meet any row of the other one.
            self.below(side, side, &places)?;
        }
        Some(())
    }
}

/// Of which sides a join asks for every row, whatever the other one has.
fn gives_all(join: &Join) -> (bool, bool) {
    match join.join_type {
        // One NULL on the other side is enough for no row at all.
        _ if join.null_aware => (false, false),
        JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => (true, false),
        JoinType::Right | JoinType::RightAnti | JoinType::RightMark => (false, true),
        JoinType::Full => (true, true),
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (false, false),
    }
}

/// Whether computing a part of a plan may fail for a row.
fn may_fail(part: &LogicalPlan) -> bool {
    let fails = part.exists(|node| {
        let schema = match node {
            LogicalPlan::TableScan(scan) => DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?,
            other => merge_schema(&other.inputs()),
        };
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= kept_query::may_fail(expr, &schema);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    });
    fails.unwrap_or(true)
}

/// The columns below that expressions at some places are.
fn columns_at(exprs: &[Expr], places: &Places, below: &DFSchema) -> Places {
    places.iter().filter_map(|place| exprs.get(*place)).filter_map(|expr| column_of(expr, below)).collect()
}

/// The columns below that rows are grouped by. A row of grouping sets belongs to rows of several values.
fn grouped(aggregate: &Aggregate, places: &Places) -> Places {
    let groups = &aggregate.group_expr;
    let has_sets = groups.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
    // Where an expression is there twice its place is another one.
    if has_sets || aggregate.schema.fields().len() != groups.len() + aggregate.aggr_expr.len() {
        return Places::new();
    }
    columns_at(groups, places, aggregate.input.schema())
}

/// The columns that all windows of a node are divided by: a row's window has rows with its own value only.
fn partitioned(window: &Window, places: &Places) -> Places {
    fn columns(call: &Expr, schema: &DFSchema) -> Places {
        match call {
            Expr::Alias(alias) => columns(&alias.expr, schema),
            Expr::WindowFunction(call) => call.params.partition_by.iter().filter_map(|expr| column_of(expr, schema)).collect(),
            _ => Places::new(),
        }
    }
    let schema = window.input.schema();
    // What the calls give stands behind the columns of the input, and no window is divided by it.
    let all: Vec<Places> = window.window_expr.iter().map(|call| columns(call, schema)).collect();
    places.iter().copied().filter(|place| all.iter().all(|columns| columns.contains(place))).collect()
}

/// The columns of both sides of a join that have the value in all rows that it gives with it.
fn sides(join: &Join, places: &Places, data_type: &DataType) -> (Places, Places) {
    let width = join.left.schema().fields().len();
    let of_left = || places.iter().copied().filter(|place| *place < width).collect::<Places>();
    let equal = equal_columns(join, data_type);
    let met = |known: &Places, is_left: bool| {
        let pairs = equal.iter().map(|(left, right)| if is_left { (left, right) } else { (right, left) });
        pairs.filter(|(own, _)| known.contains(*own)).map(|(_, other)| *other).collect::<Places>()
    };
    match join.join_type {
        JoinType::Inner => {
            let of_right = places.iter().filter_map(|place| place.checked_sub(width)).collect();
            closed(&equal, of_left(), of_right)
        }
        // A row that meets none has NULL for the other side, which is no value of that side.
        JoinType::Left => {
            let left = of_left();
            let right = met(&left, true);
            (left, right)
        }
        JoinType::Right => {
            let right: Places = places.iter().filter_map(|place| place.checked_sub(width)).collect();
            (met(&right, false), right)
        }
        // NOT IN asks all rows for NULL.
        JoinType::LeftSemi | JoinType::LeftAnti if join.null_aware => (places.clone(), Places::new()),
        JoinType::RightSemi | JoinType::RightAnti if join.null_aware => (Places::new(), places.clone()),
        JoinType::LeftSemi | JoinType::LeftAnti => (places.clone(), met(places, true)),
        JoinType::RightSemi | JoinType::RightAnti => (met(places, false), places.clone()),
        // Whether a row met one is a column, which may be NULL for what other rows are.
        JoinType::LeftMark => (of_left(), Places::new()),
        JoinType::RightMark => {
            let width = join.right.schema().fields().len();
            (Places::new(), places.iter().copied().filter(|place| *place < width).collect())
        }
        JoinType::Full => (Places::new(), Places::new()),
    }
}

/// The columns of both sides that a join has equal, where those are of the type of the key.
fn equal_columns(join: &Join, data_type: &DataType) -> Vec<(usize, usize)> {
    let place = |expr: &Expr, schema: &DFSchema| {
        let place = column_of(expr, schema)?;
        schema.fields().get(place).is_some_and(|field| field.data_type() == data_type).then_some(place)
    };
    let pair = |(left, right): &(Expr, Expr)| Some((place(left, join.left.schema())?, place(right, join.right.schema())?));
    join.on.iter().filter_map(pair).collect()
}

/// All columns of an inner join that have the value where these have it.
fn closed(equal: &[(usize, usize)], mut left: Places, mut right: Places) -> (Places, Places) {
    loop {
        let known = left.len() + right.len();
        for (own, other) in equal {
            if left.contains(own) || right.contains(other) {
                left.insert(*own);
                right.insert(*other);
            }
        }
        if left.len() + right.len() == known {
            return (left, right);
        }
    }
}
