//! The types of a statement's parameters: what a client gives, else what their first use tells.

use std::collections::BTreeMap;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::error::diagnose;
use super::plan::placeholder_number;
use super::semantics::types::{expr_type, parameter_types};
use crate::error::Diagnosis;
use crate::pgtype::PgType;

/// What the uses of parameters in a resolved plan tell of their types, by number. A row count is `bigint`.
///
/// # Errors
/// As resolving types.
pub(super) fn uses(resolved: &LogicalPlan) -> Result<BTreeMap<usize, PgType>, Diagnosis> {
    let mut found = parameter_types(resolved).map_err(|error| diagnose(&error))?;
    found.extend(special(resolved)?);
    Ok(found)
}

/// The type of every parameter: the client's, else what its use tells, else `text`. It is of any length: what a cast such as
/// `$1::varchar(3)` says of that is done by the cast, and the value stays as it is where it is used otherwise.
pub(super) fn types(found: &BTreeMap<usize, PgType>, known: &[Option<PgType>]) -> Vec<PgType> {
    let count = found.keys().max().copied().unwrap_or(0).max(known.len());
    let types = (1..=count).map(|number| {
        let given = known.get(number - 1).copied().flatten();
        let pg_type = given.or_else(|| found.get(&number).copied()).unwrap_or(PgType::TEXT);
        PgType::with_typmod(pg_type.oid, -1)
    });
    types.collect()
}

/// Parameters whose use resolution does not look at: row counts of LIMIT and OFFSET, and the array in `x = ANY ($1)` and its like.
fn special(plan: &LogicalPlan) -> Result<Vec<(usize, PgType)>, Diagnosis> {
    let mut found = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        let counts_rows = matches!(node, LogicalPlan::Limit(_));
        let schema = input_schema(node)?;
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                match inner {
                    // Inside of an expression it has the type of that use.
                    Expr::Placeholder(placeholder) if counts_rows && inner == expr => {
                        found.extend(placeholder_number(&placeholder.id).map(|number| (number, PgType::INT8)));
                    }
                    Expr::ScalarFunction(call) => found.extend(any_array(call, &schema)),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map_err(|error| diagnose(&error))?;
    Ok(found)
}

/// `x = ANY ($1)` and its like: an array of what `x` is.
fn any_array(call: &ScalarFunction, schema: &DFSchema) -> Option<(usize, PgType)> {
    let is_quantified = ["operator any ", "operator all "].iter().any(|start| call.func.name().starts_with(start));
    let ([item, Expr::Placeholder(array)], true) = (call.args.as_slice(), is_quantified) else { return None };
    let number = placeholder_number(&array.id).filter(|_| array.field.is_none())?;
    let item = expr_type(item, schema).ok().filter(|typed| typed.pg_type.oid != PgType::UNKNOWN.oid)?;
    Some((number, PgType::with_typmod(item.pg_type.oid, -1).array()?))
}

/// The columns that the expressions of a node see.
fn input_schema(node: &LogicalPlan) -> datafusion::error::Result<DFSchema> {
    let mut schema = DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_of_any_length() {
        let found = BTreeMap::from([(1, PgType::with_typmod(1043, 7)), (3, PgType::INT8)]);
        let given = [None, None, Some(PgType::with_typmod(1042, -1))];
        let expected = [PgType::with_typmod(1043, -1), PgType::TEXT, PgType::with_typmod(1042, -1)];
        assert_eq!(types(&found, &given), expected);
    }
}
