//! Fields of documents in SQL: `address.city` is named `city`, as PostgreSQL names the field of a composite.

use arrow::datatypes::Field;
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

/// Plans `column.field.field` as field access under the last field's name.
#[derive(Debug)]
pub struct NamedFields;

impl ExprPlanner for NamedFields {
    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let column = Expr::Column(Column::from((qualifier, field)));
        let path = nested_names.iter().fold(column, |expr, name| {
            let arguments = vec![expr, lit(ScalarValue::from(name.clone()))];
            Expr::ScalarFunction(ScalarFunction::new_udf(get_field(), arguments))
        });
        Ok(PlannerResult::Planned(match nested_names.last() {
            Some(name) => path.alias(name),
            None => path,
        }))
    }
}
