//! The cut: one pass from the leaves upwards, in which a node joins the part that its input belongs to, or ends it.
//!
//! A part under construction is a [`Piece`]. Columns are not moved while it grows: [`Slot`]s tell where the columns of the plan
//! are in the relation, so that projections of columns cost the store nothing.

mod aggregate;
mod checked;
mod join;
mod rows;
mod window;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Distinct, Expr, Filter, LogicalPlan, Projection, TableScan};

use super::expression::{Subqueries, Translator, address, is_key};
use super::node::{Order, RemoteFragment};
use super::scope::{Input, Scope, Slot};
use super::{Copies, Residual, estimate};
use crate::federation::provider::StoredTable;
use crate::federation::semantics::may_fail;
use crate::federation::semantics::types::schema_after;
use crate::pgtype::{PgField, PgType};
use crate::stores::fragment::{Expression, Node, Refusal};
use crate::stores::value::Value;
use crate::stores::{Connector, Fragment, Relation, Scan, Tables, collation};

/// The most constants of one part: SQLite takes 32,766 parameters in a statement.
const CONSTANTS_MAX: usize = 30_000;
/// The most nodes that one statement may have visited. A part that turns out to be unsendable is cut again below.
const VISITS_MAX: usize = 20_000;
/// The deepest nesting of nodes and operators in one part; SQLite refuses expressions deeper than 1000.
const DEPTH_MAX: usize = 400;

/// A part of the plan under construction.
pub(super) struct Piece<'p> {
    /// The topmost node that it stands for.
    original: &'p LogicalPlan,
    connector: Arc<dyn Connector>,
    relation: Relation,
    /// Where the columns of `original` are in `relation`.
    slots: Vec<Slot>,
    /// The columns of `original` with their right types.
    schema: DFSchema,
    tables: Tables,
    /// Whether it does more than a scan could.
    is_worthy: bool,
    /// The order of its rows, as far as plain columns show it.
    order: Vec<Order>,
    /// About how many rows it has.
    rows: Option<u64>,
}

impl Piece<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope::new(vec![Input { schema: &self.schema, slots: &self.slots, offset: 0 }])
    }

    /// The names of the relation's columns, for refusals.
    fn names(&self) -> Vec<String> {
        let mut names = vec![String::new(); estimate::width(&self.relation)];
        for (slot, field) in self.slots.iter().zip(self.schema.fields()) {
            if let Some(name) = names.get_mut(slot.place) {
                name.clone_from(field.name());
            }
        }
        names
    }

    /// Whether the relation has exactly the columns of the plan.
    fn is_straight(&self) -> bool {
        self.slots.len() == estimate::width(&self.relation)
            && self.slots.iter().enumerate().all(|(place, slot)| slot.place == place && !slot.keyed)
    }
}

/// What became of a node.
pub(super) enum Cut<'p> {
    /// It belongs to a part that may still grow.
    Open(Box<Piece<'p>>),
    /// It stays, with parts below; `None` when nothing has changed.
    Closed(Option<LogicalPlan>),
}

/// How much of a statement a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it: nothing of the engine stands above.
    Statement,
    /// Less.
    Part,
}

/// Who needs the order of a node's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordered {
    /// Nobody.
    Free,
    /// A limit directly above.
    Limit,
    /// The client.
    Kept,
}

/// The pass.
pub(super) struct Cutter<'c> {
    copies: &'c dyn Copies,
    /// Whether an order for the client may be made by a store.
    sends_order: bool,
    /// Whether one is.
    has_sent_order: bool,
    visits: usize,
    residuals: Vec<Residual>,
}

impl<'c> Cutter<'c> {
    pub(super) fn new(copies: &'c dyn Copies, sends_order: bool) -> Self {
        Self { copies, sends_order, has_sent_order: false, visits: 0, residuals: Vec::new() }
    }

    pub(super) fn into_residuals(self) -> Vec<Residual> {
        self.residuals
    }

    /// Cuts a statement: the changed plan if it is changed. `None` when an order was left to a store that does not run the whole.
    pub(super) fn statement(&mut self, plan: &LogicalPlan) -> Result<Option<Option<LogicalPlan>>> {
        match self.cut(plan, Ordered::Kept)? {
            Cut::Open(piece) if !piece.is_worthy => Ok(Some(None)),
            Cut::Open(piece) => match self.seal_as(*piece, plan.schema(), Extent::Statement)? {
                Some(sealed) => Ok(Some(Some(sealed))),
                None if self.has_sent_order => Ok(None),
                None => self.below(plan).map(Some),
            },
            Cut::Closed(_) if self.has_sent_order => Ok(None),
            Cut::Closed(changed) => Ok(Some(changed)),
        }
    }

    /// The part that a plan is as a whole, whether or not it is worth one.
    pub(super) fn whole(&mut self, plan: &LogicalPlan) -> Result<Option<(Fragment, Tables)>> {
        let Cut::Open(piece) = self.cut(plan, Ordered::Free)? else { return Ok(None) };
        if piece.slots.iter().any(|slot| slot.keyed) {
            return Ok(None);
        }
        let (store, tables) = (piece.connector.name().clone(), piece.tables.clone());
        Ok(self.straight(*piece).ok().map(|relation| (Fragment::new(store, relation), tables)))
    }

    fn cut<'p>(&mut self, plan: &'p LogicalPlan, ordered: Ordered) -> Result<Cut<'p>> {
        self.visits += 1;
        if self.visits > VISITS_MAX {
            return Ok(Cut::Closed(None));
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(plan, scan),
            LogicalPlan::Filter(filter) => self.filter(plan, filter),
            LogicalPlan::Projection(projection) => self.projection(plan, projection, ordered),
            LogicalPlan::SubqueryAlias(alias) => match self.cut(&alias.input, ordered)? {
                Cut::Open(piece) => {
                    let schema = schema_after(plan, std::slice::from_ref(&piece.schema))?;
                    Ok(Cut::Open(Box::new(Piece { original: plan, schema, ..*piece })))
                }
                closed @ Cut::Closed(_) => self.around(plan, vec![closed]),
            },
            LogicalPlan::Join(join) => self.join(plan, join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(plan, aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(plan, input),
            LogicalPlan::Sort(sort) => self.sort(plan, sort, ordered),
            LogicalPlan::Limit(limit) => self.limit(plan, limit, ordered),
            LogicalPlan::Union(union) => self.union(plan, union),
            LogicalPlan::Window(window) => self.window(plan, window),
            _ => self.below(plan).map(Cut::Closed),
        }
    }

    /// A node that stays: its inputs are cut on their own.
    fn below(&mut self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        // Whether the node shows the order of its input is not asked: what it may need stays here.
        let inputs = plan.inputs().into_iter().map(|input| self.cut(input, Ordered::Kept)).collect::<Result<Vec<_>>>()?;
        match self.around(plan, inputs)? {
            Cut::Closed(changed) => Ok(changed),
            Cut::Open(_) => Ok(None),
        }
    }

    /// A node that stays, around what became of its inputs.
    fn around<'p>(&mut self, plan: &LogicalPlan, inputs: Vec<Cut<'_>>) -> Result<Cut<'p>> {
        let inputs = inputs.into_iter().map(|input| self.close(input)).collect::<Result<Vec<_>>>()?;
        let subqueries = has_subqueries(plan)?;
        if !subqueries && inputs.iter().all(Option::is_none) {
            return Ok(Cut::Closed(None));
        }
        let mut inputs = inputs.into_iter();
        let mut node = plan.clone().map_children(|child| {
            Ok(match inputs.next().flatten() {
                Some(changed) => Transformed::yes(changed),
                None => Transformed::no(child),
            })
        })?;
        if subqueries {
            node = node.data.map_subqueries(|subquery| {
                let changed = self.below(&subquery)?;
                Ok(changed.map_or_else(|| Transformed::no(subquery), Transformed::yes))
            })?;
        }
        Ok(Cut::Closed(Some(node.data)))
    }

    /// Ends what became of a node; `None` when the node stays as it is.
    fn close(&mut self, cut: Cut<'_>) -> Result<Option<LogicalPlan>> {
        match cut {
            Cut::Closed(changed) => Ok(changed),
            Cut::Open(piece) if !piece.is_worthy => Ok(None),
            Cut::Open(piece) => {
                let original = piece.original;
                match self.seal(*piece, original.schema())? {
                    Some(sealed) => Ok(Some(sealed)),
                    None => self.below(original),
                }
            }
        }
    }

    /// The part as a node with the columns of `schema`; `None` when one of them cannot be sent.
    fn seal(&mut self, piece: Piece<'_>, schema: &DFSchemaRef) -> Result<Option<LogicalPlan>> {
        self.seal_as(piece, schema, Extent::Part)
    }

    fn seal_as(&mut self, piece: Piece<'_>, schema: &DFSchemaRef, extent: Extent) -> Result<Option<LogicalPlan>> {
        let fits = |(slot, field): (&Slot, &arrow::datatypes::FieldRef)| !slot.keyed && is_sent_as(slot.pg_type, field.data_type());
        if !piece.slots.iter().zip(schema.fields()).all(fits) {
            return Ok(None);
        }
        let (rows, order, types) = (piece.rows, piece.order.clone(), piece.slots.iter().map(|slot| slot.pg_type).collect());
        let places: Vec<usize> = piece.slots.iter().map(|slot| slot.place).collect();
        let (connector, tables) = (Arc::clone(&piece.connector), piece.tables.clone());
        let Ok(relation) = self.straight(piece) else { return Ok(None) };
        let by_own_collations = extent == Extent::Statement && collation::settles(&relation, &tables);
        let fragment = Fragment { store: connector.name().clone(), root: relation, by_own_collations };
        // Nothing may rely on an order that a store makes by its own rules.
        let order = order
            .into_iter()
            .filter(|_| !by_own_collations)
            .map_while(|key| Some(Order { place: places.iter().position(|place| *place == key.place)?, ..key }))
            .collect();
        let described = connector.describe_fragment(&fragment, &tables);
        let node = RemoteFragment::new((fragment, tables), described, (Arc::clone(schema), types), (order, rows));
        Ok(Some(node.into_plan()))
    }

    /// The relation with exactly the columns of the plan; one constant where there are none.
    fn straight(&mut self, piece: Piece<'_>) -> std::result::Result<Relation, Refusal> {
        if piece.is_straight() && !piece.slots.is_empty() {
            return Ok(piece.relation);
        }
        let mut expressions: Vec<Expression> =
            piece.slots.iter().map(|slot| Expression::column(slot.place, slot.pg_type)).collect();
        if expressions.is_empty() {
            expressions.push(Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(1)))));
        }
        let (connector, tables) = (piece.connector, piece.tables);
        let projected = Relation::Project { input: Box::new(piece.relation), expressions };
        offer(connector.as_ref(), projected, &tables).map_err(|(_, refusal)| refusal)
    }

    fn scan<'p>(&mut self, plan: &'p LogicalPlan, scan: &TableScan) -> Result<Cut<'p>> {
        let provider = source_as_provider(&scan.source)?;
        let provider: &dyn std::any::Any = provider.as_ref();
        let Some(stored) = provider.downcast_ref::<StoredTable>() else { return Ok(Cut::Closed(None)) };
        let Some(connector) = stored.connector() else { return Ok(Cut::Closed(None)) };
        if self.copies.offered(connector.name(), stored.table()) {
            return Ok(Cut::Closed(None));
        }
        let (mut described, exact) = stored.scan_of(scan.projection.as_ref(), &scan.filters);
        let slots = scan.projected_schema.fields().iter().enumerate();
        let slots = slots.map(|(place, field)| Slot::plain(place, field.pg_type())).collect();
        if described.columns.is_empty() {
            // Rows without columns are written by no store.
            described.columns.push(0);
        }
        let tables = Tables::from([(stored.table().id.clone(), Arc::clone(stored.table()))]);
        let schema = scan.projected_schema.as_ref().clone();
        // Conditions that the store evaluates only about are checked above in any case, and some stores want none of them.
        let bare = Scan { filter: described.filter.iter().take(exact).cloned().collect(), ..described.clone() };
        let offered = [described, bare].into_iter().map(|scan| offer(connector.as_ref(), Relation::Table(scan), &tables));
        let Some(relation) = offered.into_iter().find_map(std::result::Result::ok) else { return Ok(Cut::Closed(None)) };
        let rows = estimate::rows(&relation, &tables);
        let piece = Piece { original: plan, connector, relation, slots, schema, tables, is_worthy: false, order: Vec::new(), rows };
        Ok(Cut::Open(Box::new(piece)))
    }

    fn filter<'p>(&mut self, plan: &'p LogicalPlan, filter: &'p Filter) -> Result<Cut<'p>> {
        let mut piece = match self.cut(&filter.input, Ordered::Free)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        let subqueries = self.subqueries(plan, &mut piece)?;
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        let conditions = split_conjunction(&filter.predicate).into_iter();
        let (failing, safe): (Vec<_>, Vec<_>) = conditions.partition(|condition| may_fail(condition, filter.input.schema()));
        let safe_count = safe.len();
        for (place, condition) in safe.into_iter().chain(failing).enumerate() {
            if place >= safe_count && !refused.is_empty() {
                refused.push((condition.clone(), held_back()));
                continue;
            }
            let translated = Translator { scope: &piece.scope(), subqueries: &subqueries }.condition(condition);
            let judged = translated.and_then(|translated| judge(&mut piece, translated));
            match judged {
                Ok(translated) => taken.push(translated),
                Err(refusal) => refused.push((condition.clone(), refusal)),
            }
        }
        let rest: Vec<Expr> = refused.iter().map(|(condition, _)| condition.clone()).collect();
        self.conditions_refused(&filter.input, &piece, refused, !taken.is_empty());
        if taken.is_empty() {
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        let condition = if taken.len() == 1 { taken.remove(0) } else { Expression::condition(Node::And(taken)) };
        let relation = std::mem::replace(&mut piece.relation, nothing());
        piece.relation = Relation::Filter { input: Box::new(relation), condition };
        piece.rows = estimate::rows(&piece.relation, &piece.tables);
        (piece.is_worthy, piece.order) = (true, Vec::new());
        match conjunction(rest) {
            None => Ok(Cut::Open(Box::new(Piece { original: plan, ..piece }))),
            Some(rest) => self.with_rest(plan, piece, rest, filter.input.schema()),
        }
    }

    /// A part with a condition above it that its store does not take.
    fn with_rest<'p>(&mut self, plan: &'p LogicalPlan, piece: Piece<'_>, rest: Expr, schema: &DFSchemaRef) -> Result<Cut<'p>> {
        let Some(sealed) = self.seal(piece, schema)? else { return self.below(plan).map(Cut::Closed) };
        let kept = LogicalPlan::Filter(Filter::try_new(rest, Arc::new(sealed))?);
        // Subqueries of the rest have plans of their own.
        let changed = if has_subqueries(&kept)? { self.subplans(kept)? } else { kept };
        Ok(Cut::Closed(Some(changed)))
    }

    /// Cuts the plans inside the expressions of a node.
    fn subplans(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let changed = plan.map_subqueries(|subquery| {
            let changed = self.below(&subquery)?;
            Ok(changed.map_or_else(|| Transformed::no(subquery), Transformed::yes))
        })?;
        Ok(changed.data)
    }

    fn projection<'p>(&mut self, plan: &'p LogicalPlan, projection: &'p Projection, ordered: Ordered) -> Result<Cut<'p>> {
        let mut piece = match self.cut(&projection.input, ordered)? {
            Cut::Open(piece) => *piece,
            closed @ Cut::Closed(_) => return self.around(plan, vec![closed]),
        };
        let subqueries = self.subqueries(plan, &mut piece)?;
        let mut outputs = Vec::with_capacity(projection.expr.len());
        for expr in &projection.expr {
            let scope = piece.scope();
            let translator = Translator { scope: &scope, subqueries: &subqueries };
            let keyed = is_key(expr);
            let known = bare_slot(expr, &scope);
            let output = match known {
                Some(slot) => Ok((Expression::column(slot.place, slot.pg_type), slot.keyed)),
                None if keyed => translator.operand(expr).map(|key| (key, true)),
                None => translator.expression(expr).map(|value| (value, false)),
            };
            match output {
                Ok(output) => outputs.push(output),
                Err(refusal) => {
                    drop(scope);
                    self.refused("Projection", &piece, refusal);
                    return self.around(plan, vec![Cut::Open(Box::new(piece))]);
                }
            }
        }
        let schema = schema_after(plan, std::slice::from_ref(&piece.schema))?;
        if let Some(slots) = outputs.iter().map(as_slot).collect::<Option<Vec<Slot>>>() {
            return Ok(Cut::Open(Box::new(Piece { original: plan, slots, schema, ..piece })));
        }
        self.computed(plan, piece, outputs, schema)
    }

    /// A projection that computes.
    fn computed<'p>(
        &mut self,
        plan: &'p LogicalPlan,
        mut piece: Piece<'p>,
        outputs: Vec<(Expression, bool)>,
        schema: DFSchema,
    ) -> Result<Cut<'p>> {
        let slots = outputs.iter().enumerate();
        let slots: Vec<Slot> =
            slots.map(|(place, (output, keyed))| Slot { place, pg_type: output.pg_type, keyed: *keyed }).collect();
        if let Err(refusal) = agrees(&slots, &schema) {
            self.refused("Projection", &piece, refusal);
            return self.around(plan, vec![Cut::Open(Box::new(piece))]);
        }
        let expressions: Vec<Expression> = outputs.into_iter().map(|(output, _)| output).collect();
        let place_of = |key: &Order| {
            let found = expressions.iter().position(|output| matches!(output.node, Node::Column(place) if place == key.place));
            found.map(|place| Order { place, ..*key })
        };
        let order = piece.order.iter().map_while(place_of).collect();
        let relation = std::mem::replace(&mut piece.relation, nothing());
        let projected = Relation::Project { input: Box::new(relation), expressions };
        match offer(piece.connector.as_ref(), projected, &piece.tables) {
            Ok(relation) => Ok(Cut::Open(Box::new(Piece { original: plan, relation, slots, schema, order, ..piece }))),
            Err((projected, refusal)) => {
                piece.relation = only_input(projected);
                self.refused("Projection", &piece, refusal);
                self.around(plan, vec![Cut::Open(Box::new(piece))])
            }
        }
    }

    /// The subqueries in a node's expressions that the piece's store can run, whose tables become the piece's.
    fn subqueries(&mut self, plan: &LogicalPlan, piece: &mut Piece<'_>) -> Result<Subqueries> {
        let mut found = Subqueries::new();
        if !has_subqueries(plan)? {
            return Ok(found);
        }
        let mut plans: Vec<Arc<LogicalPlan>> = Vec::new();
        plan.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarSubquery(subquery) = part
                    && subquery.outer_ref_columns.is_empty()
                {
                    plans.push(Arc::clone(&subquery.subquery));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        for subquery in plans {
            let said = self.residuals.len();
            let Cut::Open(inner) = self.cut(&subquery, Ordered::Free)? else {
                // What is refused inside is told again when the subquery is placed on its own.
                self.residuals.truncate(said);
                continue;
            };
            let [slot] = inner.slots.as_slice() else { continue };
            if inner.connector.name() != piece.connector.name() || slot.keyed {
                continue;
            }
            let (pg_type, tables) = (slot.pg_type, inner.tables.clone());
            if let Ok(relation) = self.straight(*inner) {
                piece.tables.extend(tables);
                found.insert(address(&subquery), (pg_type, relation));
            }
        }
        Ok(found)
    }

    /// Keeps a refusal for `EXPLAIN`, with names in the place of ordinals.
    fn refused(&mut self, operation: &'static str, piece: &Piece<'_>, refusal: Refusal) {
        self.told(operation, piece.connector.name().as_str(), refusal, &piece.names());
    }

    fn told(&mut self, operation: &'static str, store: &str, refusal: Refusal, names: &[String]) {
        let refusal = Refusal { subject: named(&refusal.subject, names), rule: refusal.rule };
        self.kept(Residual { operation, checked: None, store: store.to_owned(), refusal });
    }

    fn kept(&mut self, residual: Residual) {
        if !self.residuals.contains(&residual) {
            self.residuals.push(residual);
        }
    }
}

/// Offers a relation to a store, which has accepted what is below.
fn offer(connector: &dyn Connector, relation: Relation, tables: &Tables) -> std::result::Result<Relation, (Relation, Refusal)> {
    let (constants, depth) = estimate::size(&relation);
    if constants > CONSTANTS_MAX || depth > DEPTH_MAX {
        let refusal = Refusal::new(relation.name(), "the statement would be too large for the store");
        return Err((relation, refusal));
    }
    match connector.accepts(&relation, tables) {
        Ok(()) => Ok(relation),
        Err(refusal) => Err((relation, refusal)),
    }
}

/// Why a condition that may fail is not asked of a store that does not know all those before it.
fn held_back() -> Refusal {
    Refusal::new("a condition that may fail", "another that may keep rows from it is evaluated here")
}

/// Whether the store takes one more condition.
fn judge(piece: &mut Piece<'_>, condition: Expression) -> std::result::Result<Expression, Refusal> {
    let relation = std::mem::replace(&mut piece.relation, nothing());
    let filter = Relation::Filter { input: Box::new(relation), condition };
    let (filter, refusal) = match offer(piece.connector.as_ref(), filter, &piece.tables) {
        Ok(filter) => (filter, None),
        Err((filter, refusal)) => (filter, Some(refusal)),
    };
    match filter {
        Relation::Filter { input, condition } => {
            piece.relation = *input;
            refusal.map_or(Ok(condition), Err)
        }
        other => {
            piece.relation = other;
            Err(Refusal::new("filter", "it was lost"))
        }
    }
}

/// Whether the relation's columns have the types that the engine gives those of the plan.
fn agrees(slots: &[Slot], schema: &DFSchema) -> std::result::Result<(), Refusal> {
    let stray = slots.iter().zip(schema.fields()).find(|(slot, field)| !slot.keyed && field.pg_type().oid != slot.pg_type.oid);
    match stray {
        None => Ok(()),
        Some((slot, _)) => Err(Refusal::new(format!("a value of type {}", slot.pg_type), "the engine has it as another type")),
    }
}

/// No rows, in the place of a relation that is being moved.
fn nothing() -> Relation {
    Relation::Values { types: Vec::new(), rows: Vec::new() }
}

/// The input of a relation that has one.
fn only_input(relation: Relation) -> Relation {
    match relation {
        Relation::Filter { input, .. }
        | Relation::Project { input, .. }
        | Relation::Aggregate { input, .. }
        | Relation::Distinct { input }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. }
        | Relation::Window { input, .. } => *input,
        other => other,
    }
}

/// The slot of an expression that is a column.
fn bare_slot(expr: &Expr, scope: &Scope<'_>) -> Option<Slot> {
    match expr {
        Expr::Alias(alias) => bare_slot(&alias.expr, scope),
        Expr::Column(column) => scope.slot(column),
        _ => None,
    }
}

fn as_slot((output, keyed): &(Expression, bool)) -> Option<Slot> {
    match output.node {
        Node::Column(place) => Some(Slot { place, pg_type: output.pg_type, keyed: *keyed }),
        _ => None,
    }
}

/// Whether a store may send values of a type in a carrier: its own, or for `numeric` any that shows all digits.
fn is_sent_as(pg_type: PgType, carrier: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType;
    match carrier {
        DataType::Decimal128(..) | DataType::Utf8 if pg_type.oid == PgType::NUMERIC.oid => true,
        DataType::Struct(_) => pg_type.oid == PgType::JSON.oid,
        DataType::List(_) => pg_type.element().is_some(),
        other => *other == pg_type.carrier(),
    }
}

fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_subqueries(|_| {
        found = true;
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}

/// The text with the names of columns for `#n`.
fn named(text: &str, names: &[String]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut parts = text.split('#');
    shown.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        match number.parse::<usize>().ok().and_then(|place| names.get(place)).filter(|name| !name.is_empty()) {
            Some(name) => shown.push_str(name),
            None => {
                shown.push('#');
                shown.push_str(number);
            }
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_columns() {
        let names = ["id".to_owned(), String::new(), "name".to_owned()];
        for (text, expected) in [("(#0 = #2)", "(id = name)"), ("#1", "#1"), ("#12", "#12"), ("upper", "upper")] {
            assert_eq!(named(text, &names), expected);
        }
    }

    #[test]
    fn carriers_show_all_of_a_value() {
        use arrow::datatypes::DataType;
        let rows = [
            (PgType::INT4, DataType::Int32, true),
            (PgType::INT8, DataType::UInt64, false),
            (PgType::NUMERIC, DataType::Decimal128(38, 2), true),
            (PgType::numeric(12, 2), DataType::Utf8, true),
            (PgType::NUMERIC, DataType::Binary, false),
            (PgType::JSON, DataType::Utf8, true),
        ];
        for (pg_type, carrier, expected) in rows {
            assert_eq!(is_sent_as(pg_type, &carrier), expected, "{pg_type} {carrier}");
        }
    }
}
