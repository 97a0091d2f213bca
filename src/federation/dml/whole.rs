//! The whole form: an edit that the store evaluates by itself, because the query that a statement stands for is conditions and
//! expressions over the target alone, all of which the store computes as PostgreSQL does.

use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use super::super::digits::computes_decimals;
use super::super::error::diagnose;
use super::super::placement;
use super::super::plan::{Planned, optimized_aside};
use super::assign::Binding;
use crate::error::Diagnosis;
use crate::pgtype::PgType;
use crate::stores::fragment::{Expression, Node};
use crate::stores::schema::TableId;
use crate::stores::{Relation, Tables};

/// What a query over the target is to its store.
pub(super) enum Whole {
    /// It has no rows whatever the table holds.
    Nothing,
    /// Something that the store finds by itself.
    Rows(Box<Found>),
    /// Something else.
    No,
}

/// Rows of the target that its store finds by itself.
pub(super) struct Found {
    /// The rows: conditions over the table.
    pub(super) relation: Relation,
    /// The outputs of the query over these rows.
    pub(super) outputs: Vec<Expression>,
    /// The target.
    pub(super) tables: Tables,
}

/// Looks at a query for the values of one execution. `has_condition` tells whether the statement has any: only one without may
/// come to an edit without.
///
/// # Errors
/// As planning.
pub(super) async fn look(binding: &Binding<'_>, planned: &Planned, has_condition: bool) -> Result<Whole, Diagnosis> {
    let plan = optimized_aside(binding.engine, binding.setting, planned, binding.values()).await?;
    if let LogicalPlan::EmptyRelation(empty) = &plan
        && !empty.produce_one_row
    {
        return Ok(Whole::Nothing);
    }
    let told = |error: DataFusionError| diagnose(&error);
    let target = &binding.common().target;
    let Some((fragment, tables)) = placement::whole(&plan).map_err(told)? else { return Ok(Whole::No) };
    if fragment.store != target.store || tables.len() != 1 || !tables.contains_key(&target.table.id) {
        return Ok(Whole::No);
    }
    if binding.common().connector.has_few_digits() && computes_decimals(&fragment.root) {
        return Ok(Whole::No);
    }
    Ok(match split(fragment.root, &tables) {
        Some((relation, outputs)) if is_found(&relation, &target.table.id, has_condition) && !outputs.iter().any(reads_more) => {
            Whole::Rows(Box::new(Found { relation, outputs, tables }))
        }
        _ => Whole::No,
    })
}

/// The rows of a relation, and what it makes of each.
fn split(relation: Relation, tables: &Tables) -> Option<(Relation, Vec<Expression>)> {
    match relation {
        Relation::Project { input, expressions } => Some((*input, expressions)),
        other => {
            let types = types_of(&other, tables)?;
            let columns = types.into_iter().enumerate().map(|(place, pg_type)| Expression::column(place, pg_type));
            Some((other, columns.collect()))
        }
    }
}

/// The types of the columns of filtered rows of a table.
fn types_of(relation: &Relation, tables: &Tables) -> Option<Vec<PgType>> {
    match relation {
        Relation::Filter { input, .. } => types_of(input, tables),
        Relation::Table(scan) => {
            let table = tables.get(&scan.table)?;
            scan.columns.iter().map(|ordinal| table.columns.get(*ordinal).map(|column| column.pg_type())).collect()
        }
        _ => None,
    }
}

/// Whether a relation is rows of the table under conditions that read nothing else, and has some where the statement has.
fn is_found(relation: &Relation, table: &TableId, has_condition: bool) -> bool {
    let (mut nodes, mut visited, mut is_narrowed) = (0_usize, 0_usize, false);
    relation.visit(&mut |_| visited += 1);
    let mut below = relation;
    loop {
        nodes += 1;
        match below {
            Relation::Filter { input, .. } => {
                is_narrowed = true;
                below = input;
            }
            // What a walk visits besides these nodes are subqueries.
            Relation::Table(scan) => {
                is_narrowed |= !scan.filter.is_empty();
                return scan.table == *table && scan.limit.is_none() && nodes == visited && is_narrowed == has_condition;
            }
            _ => return false,
        }
    }
}

/// Whether an expression reads rows of its own.
fn reads_more(expression: &Expression) -> bool {
    let mut reads = false;
    expression.visit(&mut |inner| reads |= matches!(inner.node, Node::Subquery(_)));
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::predicate::Comparison;
    use crate::stores::value::Value;
    use crate::stores::{Scan, StoreName};

    fn id(name: &str) -> TableId {
        TableId { namespace: "public".to_owned(), name: name.to_owned() }
    }

    fn table(name: &str) -> Relation {
        let (store, filter) = (StoreName::new("shop"), Vec::new());
        Relation::Table(Scan { store, table: id(name), columns: vec![0], filter, limit: None })
    }

    fn filter(input: Relation, node: Node) -> Relation {
        Relation::Filter { input: Box::new(input), condition: Expression::condition(node) }
    }

    fn equals(right: Node) -> Node {
        let side = |node: Node| Box::new(Expression::new(PgType::INT4, node));
        Node::Compare { op: Comparison::Equal, left: side(Node::Column(0)), right: side(right) }
    }

    #[test]
    fn an_edit_without_a_condition_comes_of_a_statement_without_one_only() {
        let narrowed = filter(table("t"), equals(Node::Literal(Some(Value::Int(1)))));
        assert!(is_found(&narrowed, &id("t"), true));
        assert!(!is_found(&narrowed, &id("t"), false), "a condition that nobody wrote");
        assert!(is_found(&table("t"), &id("t"), false));
        assert!(!is_found(&table("t"), &id("t"), true), "a condition that was lost");
        assert!(!is_found(&table("u"), &id("t"), false));
    }

    #[test]
    fn nothing_but_the_target_is_read() {
        let subquery = filter(table("t"), equals(Node::Subquery(Box::new(table("t")))));
        assert!(!is_found(&subquery, &id("t"), true));
        assert!(reads_more(&Expression::condition(equals(Node::Subquery(Box::new(table("t")))))));
        assert!(!reads_more(&Expression::condition(equals(Node::Literal(None)))));
        let distinct = Relation::Distinct { input: Box::new(table("t")) };
        assert!(!is_found(&distinct, &id("t"), false));
        let Relation::Table(scan) = table("t") else { panic!("no table") };
        assert!(!is_found(&Relation::Table(Scan { limit: Some(1), ..scan }), &id("t"), false));
    }
}
